//! Decides; never does.
//!
//! ```text
//! commit ─▶ bytes ─▶ StateRepo ─▶ Desired ┐
//!                                         ├─▶ Plan ─▶ Verdict ─▶ Admitted ─▶ Intent   (others act on intents)
//! world  ─▶ Observed ─────────────────────┤       └─▶ Held
//! ledger + journal ─▶ Facts ──────────────┘
//! ```
//!
//! **Invariant:** nothing in this crate reads a clock, a file, an environment variable or a socket. Every function is
//! total over its arguments, and equal arguments give equal bytes.
//!
//! Modules are listed in the order in which data passes through them.

pub mod action;
pub mod commit;
pub mod desired;
pub mod facts;
pub mod gate;
pub mod journal;
pub mod ledger;
pub mod observed;
pub mod plan;
pub mod policy;
pub mod render;
pub mod repo;
pub mod report;
pub mod settle;
pub mod step;
pub mod time;
pub mod world;
