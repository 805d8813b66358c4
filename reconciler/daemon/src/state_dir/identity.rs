//! Who an executor is, as `executor.toml` says.

use std::io;

use muster_core::bytes::hex;
use muster_core::executor::Executor;
use serde::{Deserialize, Serialize};

use super::FORMAT;

/// Who an executor is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Identity {
    format: u32,
    /// Random, 32 hex digits.
    pub id: String,
    /// The name it was initialised with: a host's alone, that of any other in full, such as `guests/pve1`.
    pub name: String,
}

impl Identity {
    /// A new executor of that name.
    ///
    /// # Errors
    /// When the kernel has no randomness to give.
    pub fn random(executor: &Executor) -> io::Result<Self> {
        let mut bytes = [0; 16];
        getrandom::fill(&mut bytes).map_err(|error| io::Error::other(error.to_string()))?;
        Ok(Self {
            format: FORMAT,
            id: hex(&bytes),
            name: executor.pinned(),
        })
    }

    /// Who it is: by the pinned name, whatever the settings say now.
    ///
    /// # Panics
    /// When it was neither made nor read by this module, which both look at the name.
    pub fn executor(&self) -> Executor {
        Executor::of_pinned(&self.name).expect("BUG: a pinned name is looked at when it is read")
    }

    /// The ref of its ledger.
    pub fn ledger_ref(&self) -> String {
        self.executor().ledger_ref()
    }
}
