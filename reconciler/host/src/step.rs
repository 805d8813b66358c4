//! The steps of an intent that a host can carry out.

use muster_core::accounts::action::{Action, Incarnation};
use muster_core::gate::Intent;
use muster_core::id::StepId;
use muster_core::rooms;
use muster_core::world::Complaints;

/// One step about an account.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Step<'i> {
    /// Its name.
    pub(crate) id: StepId,
    /// What it does.
    pub(crate) action: &'i Action,
    /// To which incarnation of the account.
    pub(crate) incarnation: &'i Incarnation,
}

/// The steps of an intent, and what is said of those that are no host's: none gets here, and none is passed over in silence.
pub(crate) fn of(intent: &Intent) -> (Vec<Step<'_>>, Complaints) {
    let mut steps = Vec::with_capacity(intent.planned().len());
    let mut complaints = Complaints::new();
    for step in intent.steps() {
        match (&step.action, &step.incarnation) {
            (rooms::Action::Account(action), rooms::Incarnation::Account(incarnation)) => {
                steps.push(Step {
                    id: step.id,
                    action,
                    incarnation,
                });
            }
            (
                rooms::Action::Account(_) | rooms::Action::Guest(_),
                rooms::Incarnation::Account(_) | rooms::Incarnation::Guest(_),
            ) => {
                complaints.insert(step.id, "no host carries this out".to_owned());
            }
        }
    }
    (steps, complaints)
}
