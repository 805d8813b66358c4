//! What could be read, and what could not.

use serde::{Deserialize, Serialize};

/// A part of the world that was read, or could not be: nothing is planned on what is unknown.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Reading<T> {
    /// Read.
    Known(T),
    /// Not read, and why.
    Unknown(String),
}

impl<T> Reading<T> {
    /// What was read.
    pub fn known(&self) -> Option<&T> {
        match self {
            Self::Known(value) => Some(value),
            Self::Unknown(_) => None,
        }
    }
}

/// How far the world shows a step.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum StepState {
    /// It is as the step wanted it.
    Reached,
    /// It is not.
    NotReached,
    /// It is neither as it was before the step nor as the step wanted it: somebody has changed it since, or wrote it at the same time.
    Changed(String),
    /// A part of it is, and the same step brings it to its end.
    Halfway(String),
    /// What the step is about is not there, or something else stands in its place; the step runs again when that is over.
    OutOfPlace(String),
    /// It is in a state that running the step again does not bring to its end: a person has to look.
    Strange(String),
    /// It could not be read.
    Unknown(String),
}

impl StepState {
    /// Reached, or not.
    pub fn when(reached: bool) -> Self {
        if reached {
            Self::Reached
        } else {
            Self::NotReached
        }
    }
}

/// The facts of an executor as they stand in a file that carries them along: read again by the ledger.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RecordedFacts {
    /// All but what is kept line by line.
    pub state: serde_json::Value,
    /// Those lines.
    pub people: Vec<serde_json::Value>,
    /// The releases that were taken up, a line each.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub releases: Vec<serde_json::Value>,
}
