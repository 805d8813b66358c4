//! Whole-system tests: scenario scripts over the simulation, crashes at every effect, and the real program.
//!
//! What lies here is shared by them; the tests are in `tests/`.

pub mod operator;
pub mod oracle;
pub mod signer;
pub mod site;
pub mod story;
pub mod town;
