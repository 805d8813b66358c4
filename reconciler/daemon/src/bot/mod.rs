//! The bot: answers pull requests with the plan, and records on them what became of it. It holds no key of any host, and what it
//! tells is worked out from what hosts told.
//!
//! Read `turn.rs` first: one turn looks at everything and tells what is new. `survey.rs` knows hosts and plans for them, `post.rs` puts
//! texts where people see them, `merged.rs` and `drift.rs` are what is told when a merge is over.

mod answers;
mod assemble;
mod drift;
mod hints;
mod keep;
mod merged;
mod packed;
mod post;
mod proposals;
mod queue;
mod record;
mod survey;
mod turn;
mod vouching;

pub use assemble::{AssembleError, assemble};
pub use hints::Hints;
pub use turn::{Memory, Outside, Run, TurnError, TurnSummary, turn};
pub use vouching::Vouching;
