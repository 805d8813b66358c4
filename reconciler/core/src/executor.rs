//! Who runs steps.

use std::fmt;
use std::str::FromStr;

use crate::repo::names::is_host_name;

/// Who runs steps: `host/<name>`. Its journal, lock and ledger ref carry this name.
#[derive(
    Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, serde::Serialize, serde::Deserialize,
)]
#[serde(try_from = "String", into = "String")]
pub struct Executor {
    /// The host's pinned name, a lower-case DNS name.
    pub host: String,
}

impl fmt::Display for Executor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "host/{}", self.host)
    }
}

/// Not the name of an executor.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "{0:?} is no executor that this version of muster knows; it knows host/<name>, with a lower-case DNS name"
)]
pub struct NotAnExecutor(String);

impl FromStr for Executor {
    type Err = NotAnExecutor;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text.strip_prefix("host/") {
            Some(host) if is_host_name(host) => Ok(Self {
                host: host.to_owned(),
            }),
            _ => Err(NotAnExecutor(text.chars().take(300).collect())),
        }
    }
}

impl TryFrom<String> for Executor {
    type Error = NotAnExecutor;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        text.parse()
    }
}

impl From<Executor> for String {
    fn from(executor: Executor) -> Self {
        executor.to_string()
    }
}
