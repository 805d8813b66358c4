//! The steps from the guests observed to those desired.

use super::action::{Action, Incarnation};
use super::desired::{Desired, Run};
use super::observed::{Guest, Observed};
use super::policy::Policy;
use super::price::price;
use super::say::{Blocked, Note};
use crate::reading::Reading;
use crate::sheet::{Hold, Sheet};

/// Drafts the steps of one hypervisor, and says what is to be known beside them.
pub(crate) fn draft(
    policy: &Policy,
    desired: &Desired,
    observed: &Observed,
    sheet: &mut Sheet<'_, Action, Incarnation, Blocked>,
) -> Vec<Note> {
    let guests = match &observed.guests {
        Reading::Known(guests) => guests,
        Reading::Unknown(why) => return vec![Note::Unread { why: why.clone() }],
    };
    let mut notes = Vec::new();
    for (name, wanted) in &desired.guests {
        let Some(Guest { running, made }) = guests.get(name) else {
            // Somebody whose end was asked for and who is gone is as the file wants it.
            if !wanted.destroy {
                notes.push(Note::Missing {
                    guest: name.clone(),
                });
            }
            continue;
        };
        let guest = name.clone();
        let action = match (wanted.destroy, wanted.run, running) {
            (true, _, _) => Action::DestroyGuest {
                guest,
                made: made.clone(),
            },
            (false, Some(Run::Running), false) => Action::StartGuest { guest },
            (false, Some(Run::Stopped), true) => Action::ShutdownGuest { guest },
            (false, Some(Run::Running), true)
            | (false, Some(Run::Stopped), false)
            | (false, None, _) => continue,
        };
        let price = price(&action);
        let hold = policy
            .protected
            .contains(name)
            .then(|| Hold::Protected(name.clone()));
        let incarnation = Incarnation::Guest { made: made.clone() };
        sheet.draft(action, incarnation, price, Vec::new(), hold, None);
    }
    notes
}
