//! What each step about a guest costs.

use super::action::Action;
use super::facts::takes;
use crate::price::{Because, Doubt, Looks, Price, Root, Shows};
use crate::turn::Turn;

/// What `action` costs: by provenance and by whether data is at stake, not by verb (G11).
pub fn price(action: &Action) -> Price {
    let (turn, because, doubt) = match action {
        Action::StartGuest { .. } => (Turn::Start, Because::Undoable, Doubt::TryAgain),
        Action::ShutdownGuest { .. } => (Turn::Quiesce, Because::Undoable, Doubt::TryAgain),
        Action::DestroyGuest { .. } => (Turn::Destroy, Because::LosesForEver, Doubt::BringToEnd),
    };
    Price {
        turn,
        class: because.class_of(action.verb().row(), false),
        because,
        declared: false,
        takes: takes(action),
        root: Root::Apart,
        shows: Shows::Nothing,
        looks: Looks::AsEver,
        doubt,
    }
}
