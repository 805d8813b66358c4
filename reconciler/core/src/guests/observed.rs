//! What was read on a hypervisor, just now.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::action::Marker;
use crate::reading::Reading;

/// What a hypervisor is asked: always for all its guests, which is one request.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Question;

/// A whole hypervisor.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Observed {
    /// Its guests, by vmid or name.
    pub guests: Reading<BTreeMap<String, Guest>>,
}

/// One guest.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Guest {
    /// Whether it runs.
    pub running: bool,
    /// What tells it from a later one under the same number.
    pub made: Marker,
}
