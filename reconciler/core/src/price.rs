//! What a step costs if it is wrong.

use std::fmt;

use serde::{Deserialize, Serialize};

/// What losing a wrong step costs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Class {
    /// Reversible, and touches no data.
    Benign,
    /// Makes somebody root-equivalent, or hands an account to another identity.
    Privileged,
    /// Loses data or cannot be undone.
    Destructive,
}

impl fmt::Display for Class {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Benign => "benign",
            Self::Privileged => "privileged",
            Self::Destructive => "destructive",
        })
    }
}
