//! Whole-system tests: scenario scripts over the simulation, crashes at every effect, and the real program.
//!
//! What lies here is shared by them; the tests are in `tests/`.

// The forge's own tests have a server and a judge that serve here too.
#[expect(
    dead_code,
    reason = "where there are no statuses, the judge's answer serves"
)]
#[path = "../../reconciler/forge/tests/forge/description.rs"]
mod description;
#[expect(dead_code, reason = "a model has more use for it")]
#[path = "../../reconciler/forge/tests/forge/skin.rs"]
mod skin;

pub mod agent;
pub mod hub;
pub mod kept;
pub mod of_host;
pub mod operator;
pub mod oracle;
pub mod page;
pub mod signer;
pub mod site;
pub mod story;
pub mod town;
