//! What a person decides at the console of a host whose lock this process has: into the journal, and into the history of
//! the ledger, with the words.

use std::sync::Arc;

use muster_core::journal::Entry;
use muster_core::ledger;
use muster_core::world::{Journal as _, Ledger as _};

use super::{CommandError, now, output};
use crate::cycle::chain;
use crate::executors::AssembleError;
use crate::host_key;
use crate::journal::Opened;
use crate::outside::LedgerRepository;
use crate::settings::ExecutorSettings;
use crate::state_dir::{Identity, Lock, Purpose, StateDir, StateError};
use crate::tell;

/// An executor at rest, for as long as somebody decides about it: nobody else has its lock.
pub(super) struct Console {
    pub(super) state: StateDir,
    pub(super) opened: Opened,
    identity: Identity,
    _lock: Lock,
}

impl Console {
    /// Takes the lock, for a command of that name, and reads what is known.
    ///
    /// # Errors
    /// When there is no executor here, a daemon is at work, or its records cannot be read.
    pub(super) fn open(
        here: &ExecutorSettings,
        command: &'static str,
    ) -> Result<Self, CommandError> {
        let state = here.state();
        let identity = state
            .identity()?
            .ok_or_else(|| StateError::NotInitialised(here.dir.clone()))?;
        let lock = Lock::take(&state, Purpose::Other(command))?;
        let opened = state.open(&lock, &here.executor, state.read_ledger()?, now())?;
        Ok(Self {
            state,
            opened,
            identity,
            _lock: lock,
        })
    }

    /// Writes a decision down.
    ///
    /// # Errors
    /// As for [`write()`].
    pub(super) fn write(&mut self, entry: Entry) -> Result<(), CommandError> {
        write([entry], &mut self.opened, &self.state, &self.identity)
    }
}

/// Writes decisions down, in their order.
///
/// # Errors
/// When the journal does not take one. The journal is what counts: a ledger that cannot be written is said, and the next
/// cycle brings it there.
pub(super) fn write(
    entries: impl IntoIterator<Item = Entry>,
    opened: &mut Opened,
    state: &StateDir,
    identity: &Identity,
) -> Result<(), CommandError> {
    let mut any = false;
    for entry in entries {
        opened.journal.append(&entry).map_err(StateError::Journal)?;
        any |= tell::decision(&entry).is_some();
        opened
            .replayed
            .apply(&entry)
            .expect("BUG: a decision can stand anywhere");
    }
    // A ledger ends where nothing is in doubt: what a process left open is looked at by the next cycle.
    if !any || opened.replayed.open.is_some() {
        return Ok(());
    }
    let told = LedgerRepository::open(&state.ledger(), &identity.ledger_ref()).and_then(
        |(repository, files)| {
            let mut repository = match host_key::read(state) {
                Ok(Some(key)) => repository.signing_with(Arc::new(key)),
                // The next cycle has one, or says what is wrong with it.
                Ok(None) | Err(_) => repository,
            };
            let facts = &opened.replayed.facts;
            let after = ledger::files(facts, &opened.journal.through());
            let untold = &opened.replayed.untold;
            let decided: Vec<String> = untold.others.iter().filter_map(tell::decision).collect();
            let message = tell::ledger_message(facts, &decided, &untold.results, &[]);
            repository.commit(&ledger::changes(&files, &after), &message, now())
        },
    );
    if let Err(error) = told.map_err(AssembleError::Repositories) {
        output::note(&format!(
            "warning: the ledger could not be told yet: {}\n",
            chain(&error)
        ));
    }
    Ok(())
}
