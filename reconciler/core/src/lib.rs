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
//! The modules stand in four storeys, each built on those below it alone:
//!
//! | storey | what | knows |
//! |---|---|---|
//! | spine | from a plan to the journal, the ledger and the reports | the storeys below, and no room by its name |
//! | register | the rooms by name | the rooms |
//! | rooms | one subject each: what is asked, what is there, what can be done | the ground |
//! | ground | words, numbers and documents that every subject has | itself |

// Ground.
pub mod bytes;
pub mod clock;
pub mod commit;
pub mod compat;
pub mod diagnostic;
pub mod edit;
pub mod executor;
mod flat;
pub mod id;
pub mod ink;
pub mod key_list;
pub mod limits;
pub mod merge_join;
pub mod people;
pub mod price;
pub mod reading;
pub mod repo;
pub mod sheet;
pub mod time;
pub mod turn;
pub mod verb;
pub mod yaml;

// Rooms.
pub mod accounts;
pub mod guests;
pub mod services;

// Register.
pub mod rooms;

// Spine.
pub mod facts;
pub mod fleet;
pub mod forge;
pub mod gate;
pub mod host_key;
pub mod journal;
pub mod ledger;
pub mod plan;
pub mod release;
pub mod report;
pub mod settle;
pub mod step;
pub mod world;
