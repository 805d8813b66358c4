//! What each step about a guest costs.

use super::action::Action;
use super::facts::{Known, takes};
use crate::price::{Because, Doubt, Looks, Price, RootRelation, Shows};
use crate::turn::Turn;

/// What `action` costs: by provenance and by whether data is at stake, not by verb (G11). The provenance is what the local journal
/// says, and nothing else (G13).
pub fn price(action: &Action, known: &Known) -> Price {
    let because = because(action, known);
    let (turn, shows, doubt) = occasion(action);
    Price {
        turn,
        class: because.class_of(action.verb().row(), false),
        because,
        declared: false,
        takes: takes(action),
        root: RootRelation::Apart,
        shows,
        looks: Looks::AsEver,
        doubt,
    }
}

fn because(action: &Action, known: &Known) -> Because {
    match action {
        Action::RecordGuest { .. }
        | Action::NoteGuestUse { .. }
        | Action::StartGuest { .. }
        | Action::ShutdownGuest { .. }
        | Action::StopGuest { .. }
        | Action::SetGuestCores { .. }
        | Action::SetGuestMemory { .. }
        | Action::SetGuestDescription { .. }
        | Action::SetGuestTags { .. }
        | Action::SetGuestOnboot { .. } => Because::Undoable,
        Action::CreateGuest { shape, .. } if shape.is_privileged() => Because::Guarded,
        Action::CreateGuest { .. } => Because::Ordinary,
        // Ours and nobody's data, as the journal has it (G12). On anything else the same call ends a guest.
        Action::DiscardGuest { guest, made } if known.is_expendable(guest, made) => {
            Because::Ordinary
        }
        Action::DiscardGuest { .. } => Because::LosesForEver,
        // It is set aside, and can be had back for a while.
        Action::DestroyGuest { .. } => Because::TakesAway,
        Action::OverwriteGuest { .. } | Action::PurgeGuest { .. } => Because::LosesForEver,
        Action::RestoreGuest {
            privileged: true, ..
        } => Because::Guarded,
        Action::RestoreGuest { .. } => Because::Undoable,
    }
}

/// When it runs, whether the hypervisor shows more afterwards than the step, and what becomes of it where nothing can be read.
fn occasion(action: &Action) -> (Turn, Shows, Doubt) {
    match action {
        Action::RecordGuest { .. } | Action::NoteGuestUse { .. } => {
            (Turn::Record, Shows::Nothing, Doubt::TryAgain)
        }
        Action::ShutdownGuest { .. } | Action::StopGuest { .. } => {
            (Turn::Quiesce, Shows::Nothing, Doubt::TryAgain)
        }
        Action::DiscardGuest { .. } => (Turn::Quiesce, Shows::More, Doubt::BringToEnd),
        Action::CreateGuest { .. } | Action::RestoreGuest { .. } => {
            (Turn::Make, Shows::More, Doubt::BringToEnd)
        }
        Action::SetGuestCores { .. }
        | Action::SetGuestMemory { .. }
        | Action::SetGuestDescription { .. }
        | Action::SetGuestTags { .. }
        | Action::SetGuestOnboot { .. } => (Turn::Configure, Shows::Nothing, Doubt::TryAgain),
        Action::StartGuest { .. } => (Turn::Start, Shows::Nothing, Doubt::TryAgain),
        Action::OverwriteGuest { .. } => (Turn::Destroy, Shows::More, Doubt::BringToEnd),
        Action::DestroyGuest { .. } | Action::PurgeGuest { .. } => {
            (Turn::Destroy, Shows::Nothing, Doubt::BringToEnd)
        }
    }
}
