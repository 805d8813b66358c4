//! A step: an action, the incarnation of the resource it expects, and the id that is signed.

use serde::{Deserialize, Serialize};

use crate::executor::Executor;
use crate::id::{self, StepId};
use crate::rooms::{Action, Incarnation};

/// One change to one resource, with the incarnation it expects.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Step {
    /// Its name: what is signed.
    pub id: StepId,
    /// What it does.
    pub action: Action,
    /// To which incarnation of the resource.
    pub incarnation: Incarnation,
}

impl Step {
    /// The step that carries out `action` on this incarnation of its resource.
    pub fn new(
        executor: &Executor,
        action: impl Into<Action>,
        incarnation: impl Into<Incarnation>,
    ) -> Self {
        let (action, incarnation) = (action.into(), incarnation.into());
        Self {
            id: StepId::of(executor, action.spelled(), &incarnation),
            action,
            incarnation,
        }
    }

    /// The one resource that it is about.
    pub fn resource(&self) -> &str {
        self.action.spelled().resource()
    }

    /// The words of the step: `user.archive_delete emo home=/home/emo uid=1004`. What is shown is what is signed.
    pub fn words(&self) -> String {
        id::words(self.action.spelled())
    }
}
