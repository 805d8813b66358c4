//! Every sentence that people read about guests.

use std::fmt;

use super::action::Action;
use crate::ink::{Ink, Replaced};
use crate::limits::Limits;
use crate::price::Because;

/// Says what `action` does.
pub fn say(action: &Action, ink: &mut dyn Ink) {
    let (before, after) = match action {
        Action::StartGuest { .. } => ("start guest ", ""),
        Action::ShutdownGuest { .. } => ("shut down guest ", ""),
        Action::DestroyGuest { .. } => ("destroy guest ", " with all that it holds"),
    };
    ink.own(before);
    ink.name(action.guest());
    ink.own(after);
}

/// What the change of a guest is called, before its name.
pub(crate) fn deed(action: &Action) -> &'static str {
    match action {
        Action::StartGuest { .. } => "start",
        Action::ShutdownGuest { .. } => "shut down",
        Action::DestroyGuest { .. } => "destroy",
    }
}

/// The value that `action` puts in the place of another.
pub(crate) fn replaced(action: &Action) -> Option<Replaced<'_>> {
    match action {
        Action::StartGuest { .. } | Action::ShutdownGuest { .. } | Action::DestroyGuest { .. } => {
            None
        }
    }
}

/// Why an action is of its class.
pub fn why(because: Because) -> String {
    match because {
        Because::LosesForEver | Because::TakesAway => "what the guest holds is gone afterwards",
        Because::Undoable | Because::Ordinary | Because::NoRoot => {
            "it can be undone, and no data is lost"
        }
        Because::NotAllowed => "it gives what the settings let nobody have",
        Because::Guarded | Because::MakesRoot => "it gives power over the hypervisor",
        Because::TakesOver
        | Because::AsFound
        | Because::AnotherIdentity
        | Because::ChangesOwner => "it hands a guest to somebody else",
    }
    .to_owned()
}

/// What people should know about guests that is no step.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Note {
    /// The hypervisor could not be read, so nothing is planned on it.
    Unread {
        /// Why.
        why: String,
    },
    /// A guest that the file names is not there.
    Missing {
        /// Which.
        guest: String,
    },
}

impl fmt::Display for Note {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unread { why } => {
                write!(
                    f,
                    "the guests could not be read ({why}); nothing is planned on them"
                )
            }
            Self::Missing { guest } => write!(
                f,
                "{guest}: there is no such guest here; take the row out, or make the guest"
            ),
        }
    }
}

/// What stands against a step about a guest: so far only what every room knows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Blocked {}

impl fmt::Display for Blocked {
    fn fmt(&self, _: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {}
    }
}

/// That a plan ends too many guests at once.
pub(super) fn too_many(removals: usize, recent: usize, base: usize, limits: &Limits) -> String {
    let percent = (removals * 100).checked_div(base).unwrap_or(100);
    format!(
        "over the limit: {removals} removals ({recent} of them in the last 24 hours) are {percent} % of {base} guests, and more \
         than {} % is held as a whole; split the change over days, or sign a release for exactly these steps",
        limits.share
    )
}
