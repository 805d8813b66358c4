//! What an executor remembers, opened by the one process that may change it.

use std::sync::Arc;

use muster_core::time::Time;
use muster_core::world::Files;

use super::AssembleError;
use crate::host_key;
use crate::journal::Opened;
use crate::outside::{LedgerRepository, facts_of};
use crate::settings::ExecutorSettings;
use crate::state_dir::{Lock, Purpose, StateDir, StateError};

/// What an executor remembers, opened by the one process that may change it.
pub struct OpenedExecutor {
    /// Where it is.
    pub state: StateDir,
    /// Its journal, and what is known.
    pub opened: Opened,
    /// Its ledger, and the files of it that a start needs.
    pub ledger: (LedgerRepository, Files),
}

impl OpenedExecutor {
    /// Takes the lock and opens the state of the executor of those settings, which `muster init` made.
    ///
    /// # Errors
    /// When there is no state, it is another executor's, somebody else is at work on it, or it cannot be used.
    pub fn open(here: &ExecutorSettings, now: Time) -> Result<(Self, Lock), OpenError> {
        let state = StateDir::at(&here.dir);
        // Looked at first, since a lock in a directory that nobody initialised would be state.
        let identity = state
            .identity()?
            .ok_or_else(|| StateError::NotInitialised(here.dir.clone()))?;
        state.make()?;
        let lock = Lock::take(&state, Purpose::Run)?;
        // Older versions made none.
        let key = host_key::read_or_make(&state, &lock).map_err(StateError::Key)?;
        let (ledger, files) = LedgerRepository::open(&state.ledger(), &identity.ledger_ref())
            .map_err(AssembleError::Repositories)?;
        let ledger = ledger.signing_with(Arc::new(key));
        let mut facts = facts_of(&files).map_err(AssembleError::Repositories)?;
        if let Some((facts, _)) = &mut facts {
            ledger
                .recall_locked(facts)
                .map_err(AssembleError::Repositories)?;
        }
        let opened = state.open(&lock, &here.executor, facts, now)?;
        if opened.torn > 0 {
            tracing::warn!(
                bytes = opened.torn,
                "The last record of the journal was never finished; it was dropped."
            );
        }
        let opened = Self {
            state,
            opened,
            ledger: (ledger, files),
        };
        Ok((opened, lock))
    }
}

/// Why what an executor remembers could not be opened.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// The state directory.
    #[error(transparent)]
    State(#[from] StateError),
    /// The ledger in it.
    #[error(transparent)]
    Assemble(#[from] AssembleError),
}
