//! The ledgers that a command looks into: this host's, or all of a repository that was named. Read only.

use std::path::{Path, PathBuf};

use muster_core::facts::Facts;
use muster_core::ledger::held::{self, HeldSteps};
use muster_core::ledger::{self, LedgerError};
use muster_git::Ledger;
use muster_git::ledger::LogEntry;

use super::{CommandError, Common};
use crate::settings::Settings;
use crate::state_dir::{StateDir, StateError};

/// One executor's ledger.
pub(super) struct Shelf {
    /// The executor, such as `host/devvm`.
    pub(super) executor: String,
    path: PathBuf,
    ledger: Ledger,
}

/// What is looked into, and the settings where it is this host's own.
pub(super) struct Shelves {
    pub(super) all: Vec<Shelf>,
    pub(super) here: Option<Settings>,
}

/// Opens the ledgers in the repository `named`, or this host's.
pub(super) fn open(named: Option<&Path>, common: &Common) -> Result<Shelves, CommandError> {
    let unreadable = |path: &Path| {
        let path = path.to_owned();
        move |source| CommandError::Ledger { path, source }
    };
    let shelf = |path: &Path, reference: &str| {
        Ok(Shelf {
            executor: reference
                .strip_prefix("refs/muster/")
                .unwrap_or(reference)
                .to_owned(),
            path: path.to_owned(),
            ledger: Ledger::open(path, reference).map_err(unreadable(path))?,
        })
    };
    if let Some(path) = named {
        let references = Ledger::references(path).map_err(unreadable(path))?;
        if references.is_empty() {
            let none = muster_git::LedgerError::Absent(path.to_owned());
            return Err(unreadable(path)(none));
        }
        let all = references.iter().map(|it| shelf(path, it));
        return Ok(Shelves {
            all: all.collect::<Result<_, CommandError>>()?,
            here: None,
        });
    }
    let settings = common.settings()?;
    let state = StateDir::at(&settings.dir);
    let Some(identity) = state.identity()? else {
        return Err(StateError::NotInitialised(settings.dir).into());
    };
    Ok(Shelves {
        all: vec![shelf(&state.ledger(), &identity.ledger_ref())?],
        here: Some(settings),
    })
}

impl Shelf {
    /// What waits, as of the last commit; `None` where no cycle has said so yet.
    pub(super) fn held(&self) -> Result<Option<HeldSteps>, CommandError> {
        let found = self.ledger.file(held::FILE).map_err(self.unreadable())?;
        found
            .map(|bytes| HeldSteps::read(&bytes).map_err(self.unusable()))
            .transpose()
    }

    /// What is known; `None` before the first commit.
    pub(super) fn facts(&self) -> Result<Option<Facts>, CommandError> {
        let state = self
            .ledger
            .load_where(ledger::is_of_facts)
            .map_err(self.unreadable())?;
        state
            .map(|it| ledger::facts(&it.files).map(|(facts, _)| facts))
            .transpose()
            .map_err(self.unusable())
    }

    /// The last commits, newest first.
    pub(super) fn log(&self, limit: usize) -> Result<Vec<LogEntry>, CommandError> {
        self.ledger.log(limit).map_err(self.unreadable())
    }

    fn unreadable(&self) -> impl FnOnce(muster_git::LedgerError) -> CommandError + use<> {
        let path = self.path.clone();
        move |source| CommandError::Ledger { path, source }
    }

    fn unusable(&self) -> impl FnOnce(LedgerError) -> CommandError + use<> {
        let path = self.path.clone();
        move |source| CommandError::LedgerFile { path, source }
    }
}
