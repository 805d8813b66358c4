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

pub mod commit;
pub mod time;

mod bytes;
pub mod diagnostic;
pub mod yaml;

pub mod repo;
pub mod schema;

pub mod edit;

pub mod compat;
pub mod python;

pub mod policy;

pub mod sudoers;

pub mod desired;
pub mod observed;

pub mod lockstep;

pub mod facts;

pub mod action;
pub mod step;

pub mod root;

pub mod release;

pub mod plan;

pub mod gate;

pub mod report;

pub mod render;
pub mod settle;

pub mod journal;
pub mod ledger;

pub mod fleet;
pub mod forge;
pub mod host_key;
pub mod world;
