//! What muster knows of the guests it keeps: part of the facts.

use super::action::Action;
use crate::price::Takes;

/// What is known of guests beyond what the hypervisor shows: nothing, as long as muster makes none.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Known;

impl Known {
    /// Takes in that a step is done, or came out otherwise: the hypervisor shows all of it.
    pub(crate) fn apply(&mut self, action: &Action) {
        match action {
            Action::StartGuest { .. }
            | Action::ShutdownGuest { .. }
            | Action::DestroyGuest { .. } => {}
        }
    }
}

/// How the limits count a step, when the facts are folded and when it is planned.
pub(crate) fn takes(action: &Action) -> Takes {
    match action {
        Action::StartGuest { .. } | Action::ShutdownGuest { .. } => Takes::Nothing,
        Action::DestroyGuest { .. } => Takes::Removal,
    }
}
