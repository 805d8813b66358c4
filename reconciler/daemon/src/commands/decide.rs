//! What a person decides at the console of a host: into the journal, and into the history of the ledger, with the words. Where
//! a daemon at work has the lock, it is asked to.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use muster_core::executor::Executor;
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
use crate::state_dir::{Holder, Identity, Lock, Purpose, StateDir, StateError, poke};
use crate::suspension::{self, Request};
use crate::tell;

/// How long a daemon at work is waited for: it answers between two batches.
const PATIENCE: Duration = Duration::from_secs(10);
/// How long to wait before looking again whether it answered.
const LOOK: Duration = Duration::from_millis(20);

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
        if state.identity()?.is_none() {
            return Err(StateError::NotInitialised(here.dir.clone()).into());
        }
        let lock = Lock::take(&state, Purpose::Other(command))?;
        Self::with(lock, here)
    }

    /// The same, with the lock taken already.
    ///
    /// # Errors
    /// When there is no executor here, or its records cannot be read.
    pub(super) fn with(lock: Lock, here: &ExecutorSettings) -> Result<Self, CommandError> {
        let state = here.state();
        let identity = state
            .identity()?
            .ok_or_else(|| StateError::NotInitialised(here.dir.clone()))?;
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

/// Whether a command found a daemon at work, which can be asked.
pub(super) fn is_daemon(error: &CommandError) -> bool {
    matches!(
        error,
        CommandError::State(StateError::Held {
            holder: Holder { command, .. },
        }) if command == Purpose::Run.word()
    )
}

/// What became of a request to a daemon at work.
pub(super) enum Asked {
    /// It is in the journal.
    Taken,
    /// It is not followed, and why.
    Refused(String),
    /// The daemon has not answered yet: it will before its next batch.
    NotYet,
    /// The daemon ended; the request lies in this file still, and whoever has this lock decides.
    Idle(Lock, PathBuf),
}

/// Leaves a request with the daemon at work, and waits for its answer. `command` is who waits.
///
/// # Errors
/// When it cannot be left.
pub(super) fn ask(
    state: &StateDir,
    request: &Request,
    command: &'static str,
) -> Result<Asked, CommandError> {
    let left = suspension::ask(state, request, now())?;
    // Whoever ended in this moment is found out below.
    let _ = poke(state);
    let began = Instant::now();
    while left.exists() {
        match Lock::take(state, Purpose::Other(command)) {
            Ok(lock) => return Ok(Asked::Idle(lock, left)),
            Err(StateError::Held { .. }) => {}
            Err(error) => return Err(error.into()),
        }
        if began.elapsed() > PATIENCE {
            return Ok(Asked::NotYet);
        }
        std::thread::sleep(LOOK);
    }
    Ok(suspension::answer_to(&left).map_or(Asked::Taken, Asked::Refused))
}

/// What is said of a daemon that has not answered yet.
pub(super) fn not_yet(executor: &Executor) -> String {
    format!(
        "The daemon of {executor} was told, and has not answered yet: it will before its next batch. `muster status` shows when."
    )
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
