//! How far the hypervisor shows a step.

use super::action::Action;
use super::observed::{Guest, Observed};
use crate::reading::{Reading, State};

/// How far `action` has come, by what was observed.
pub fn settle(action: &Action, observed: &Observed) -> State {
    let guests = match &observed.guests {
        Reading::Known(guests) => guests,
        Reading::Unknown(why) => return State::Unknown(why.clone()),
    };
    let found: Option<&Guest> = guests.get(action.guest());
    match (action, found) {
        (Action::StartGuest { .. }, Some(guest)) => State::when(guest.running),
        (Action::ShutdownGuest { .. }, Some(guest)) => State::when(!guest.running),
        (Action::StartGuest { .. } | Action::ShutdownGuest { .. }, None) => {
            State::Strange("the guest is gone".to_owned())
        }
        (Action::DestroyGuest { .. }, None) => State::Reached,
        (Action::DestroyGuest { made, .. }, Some(guest)) if guest.made != *made => State::Strange(
            "another guest has that number now; look at both, and put the right one into the row"
                .to_owned(),
        ),
        (Action::DestroyGuest { .. }, Some(_)) => State::NotReached,
    }
}
