//! One change to one guest, with every choice already made.

use std::fmt;

use serde::{Deserialize, Serialize};

use super::verbs::Verb;
use crate::id::{Parameter, Spell};

/// A change to one guest of this hypervisor.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum Action {
    /// Starts a guest that stands still.
    StartGuest {
        /// The guest, by its vmid or its name there.
        guest: String,
    },
    /// Asks a guest to shut down.
    ShutdownGuest {
        /// The guest.
        guest: String,
    },
    /// Ends a guest with all that it holds.
    DestroyGuest {
        /// The guest.
        guest: String,
        /// What tells this guest from another one under the same number.
        made: Marker,
    },
}

/// What tells a guest from a later one with the same vmid or name: a word that the hypervisor keeps with it since its creation.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Marker(pub String);

impl fmt::Display for Marker {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Which guest a step is about: `guest made=…` (DESIGN.md, "Steps").
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum Incarnation {
    /// A guest that is there.
    Guest {
        /// What tells it from another one under the same number.
        made: Marker,
    },
}

impl fmt::Display for Incarnation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Guest { made } => write!(f, "guest made={made}"),
        }
    }
}

impl Action {
    /// The tags of actions in journals and ledgers; each tag belongs to one room.
    pub const TAGS: &[&str] = &["start_guest", "shutdown_guest", "destroy_guest"];

    /// The verb.
    pub fn verb(&self) -> Verb {
        match self {
            Self::StartGuest { .. } => Verb::Start,
            Self::ShutdownGuest { .. } => Verb::Shutdown,
            Self::DestroyGuest { .. } => Verb::Destroy,
        }
    }

    /// The guest concerned: the resource of the step.
    pub fn guest(&self) -> &str {
        match self {
            Self::StartGuest { guest }
            | Self::ShutdownGuest { guest }
            | Self::DestroyGuest { guest, .. } => guest,
        }
    }
}

impl Incarnation {
    /// The tags of incarnations in journals and ledgers.
    pub const TAGS: &[&str] = &["guest"];
}

impl Spell for Action {
    fn word(&self) -> &'static str {
        self.verb().word()
    }

    fn resource(&self) -> &str {
        self.guest()
    }

    fn parameters(&self, put: &mut dyn FnMut(&'static str, Parameter<'_>)) {
        match self {
            Self::StartGuest { guest: _ } | Self::ShutdownGuest { guest: _ } => {}
            Self::DestroyGuest { guest: _, made } => put("made", Parameter::Text(&made.0)),
        }
    }
}
