//! What became of a step, judged by what the world shows afterwards: an exit code is no evidence.

use crate::journal::StepResult;
use crate::price::{Doubt, Price};
use crate::reading::StepState;
use crate::rooms::{self, Known, Observed, Policy};
use crate::step::Step;

/// What became of a step of this price. `known` is what is known of the resources, what the act noted
/// on the way among it; `complaint` is what the act said of it, if it said anything.
///
/// The same function closes a batch that has just run and one that was open when the process died.
pub fn settle(
    step: &Step,
    price: &Price,
    observed: &Observed,
    policy: &Policy,
    known: &Known,
    complaint: Option<&str>,
) -> StepResult {
    match rooms::settle(step.id, &step.action, observed, policy, known) {
        StepState::Reached => StepResult::Done,
        StepState::NotReached => match complaint {
            Some(reason) => StepResult::Failed(reason.to_owned()),
            None => StepResult::NotBegun,
        },
        StepState::Changed(how) => StepResult::Overtaken(how),
        StepState::Halfway(how_far) => StepResult::Unfinished(match complaint {
            Some(reason) => format!("{reason}; {how_far}"),
            None => format!("interrupted: {how_far}"),
        }),
        StepState::OutOfPlace(reason) => {
            StepResult::Failed(complaint.map_or(reason, str::to_owned))
        }
        StepState::Strange(reason) => StepResult::NeedsOperator(reason),
        StepState::Unknown(reason) => {
            let reason = format!("could not be observed: {reason}");
            match price.doubt {
                Doubt::BringToEnd => StepResult::Unfinished(reason),
                Doubt::TryAgain => StepResult::Failed(reason),
            }
        }
    }
}
