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
    /// Whether there is a mark outside the state directory (F5). Older versions made none.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub(super) marked: bool,
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
            marked: true,
        })
    }

    /// Who it is: by the pinned name, whatever the settings say now.
    ///
    /// # Panics
    /// When it was neither made nor read by this module, which both look at the name.
    pub fn executor(&self) -> Executor {
        Executor::of_pinned(&self.name).expect("BUG: a pinned name is looked at when it is read")
    }

    /// The text of `executor.toml`.
    pub(super) fn text(&self) -> String {
        let Self {
            format,
            id,
            name,
            marked,
        } = self;
        let marked = if *marked { "marked = true\n" } else { "" };
        format!(
            "# Who this executor is. Made by `muster init`; do not edit, and do not copy to another host.\n\
             format = {format}\nid = \"{id}\"\nname = \"{name}\"\n{marked}"
        )
    }

    /// The ref of its ledger.
    pub fn ledger_ref(&self) -> String {
        self.executor().ledger_ref()
    }
}
