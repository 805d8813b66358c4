//! The ledgers that a command looks into: this host's, or all of a repository that was named. Read only.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use muster_core::commit::CommitId;
use muster_core::diagnostic::visible;
use muster_core::executor::Executor;
use muster_core::facts::Facts;
use muster_core::ledger::held::{self, HeldSteps};
use muster_core::ledger::{self, LedgerError, policy};
use muster_core::rooms::Policy;
use muster_core::step::Step;
use muster_core::world::Files;
use muster_git::Ledger;
use muster_git::ledger::LogEntry;
use tempfile::TempDir;

use super::here::Those;
use super::plan::settings_if_any;
use super::signing::{git, read};
use super::{CommandError, Common};
use crate::settings::{ExecutorSettings, Settings};
use crate::state_dir::StateError;

/// One executor's ledger.
pub(super) struct Shelf {
    /// The executor, such as `host/devvm`.
    pub(super) executor: Executor,
    path: PathBuf,
    ledger: Ledger,
}

/// This machine, and which executors of it are looked at.
pub(super) struct Here {
    pub(super) settings: Settings,
    pub(super) executors: Vec<ExecutorSettings>,
}

/// What is looked into, and the settings where it is this machine's own.
pub(super) struct Shelves {
    pub(super) all: Vec<Shelf>,
    pub(super) here: Option<Here>,
    /// After how many seconds a host counts as silent, where settings say so.
    pub(super) stale: Option<u32>,
    /// What was fetched for this look, and goes with it.
    _copy: Option<TempDir>,
}

/// Opens the ledgers of the whole fleet: in `named`, or where the settings say that hosts push them.
pub(super) fn fleet(
    named: Option<&str>,
    those: &Those,
    common: &Common,
) -> Result<Shelves, CommandError> {
    let settings = match named {
        Some(_) => settings_if_any(common)?,
        None => Some(common.settings()?),
    };
    let stale = settings.as_ref().map(|it| it.fleet.stale.as_secs());
    let pushed = settings
        .as_ref()
        .and_then(|it| it.fleet.ledger.as_ref())
        .map(ToString::to_string);
    let shelves = anywhere(named.or(pushed.as_deref()), those, common)?;
    Ok(Shelves {
        stale: stale.and_then(|it| u32::try_from(it).ok()),
        ..shelves
    })
}

/// Opens the ledgers in `named`: a repository, a clone of one, or where git fetches one from; or this host's own.
pub(super) fn anywhere(
    named: Option<&str>,
    those: &Those,
    common: &Common,
) -> Result<Shelves, CommandError> {
    let Some(named) = named else {
        return open(None, those, common);
    };
    let copy = tempfile::tempdir().map_err(CommandError::Runtime)?;
    let found = reach(named, copy.path())?;
    Ok(Shelves {
        _copy: Some(copy),
        ..open(Some(&found), those, common)?
    })
}

/// Opens the ledgers in the repository `named`, or this host's.
pub(super) fn open(
    named: Option<&Path>,
    those: &Those,
    common: &Common,
) -> Result<Shelves, CommandError> {
    let unreadable = |path: &Path| {
        let path = path.to_owned();
        move |source| CommandError::Ledger { path, source }
    };
    let shelf = |path: &Path, executor: Executor| {
        Ok(Shelf {
            ledger: Ledger::open(path, &executor.ledger_ref()).map_err(unreadable(path))?,
            executor,
            path: path.to_owned(),
        })
    };
    if let Some(path) = named {
        let executors = Ledger::executors(path).map_err(unreadable(path))?;
        if executors.is_empty() {
            let none = muster_git::LedgerError::Absent(path.to_owned());
            return Err(unreadable(path)(none));
        }
        let holder = format!("{} holds", path.display());
        those.are_among(&executors, &holder)?;
        let wanted = executors.into_iter().filter(|it| those.wants(it));
        let all = wanted.map(|it| shelf(path, it));
        return Ok(Shelves {
            all: all.collect::<Result<_, CommandError>>()?,
            here: None,
            stale: None,
            _copy: None,
        });
    }
    let settings = common.settings()?;
    let executors = those.of(&settings)?;
    let all = executors.iter().map(|here| {
        let state = here.state();
        match state.identity()? {
            Some(identity) => shelf(&state.ledger(), identity.executor()),
            None => Err(StateError::NotInitialised(here.dir.clone()).into()),
        }
    });
    Ok(Shelves {
        all: all.collect::<Result<_, CommandError>>()?,
        here: Some(Here {
            settings,
            executors,
        }),
        stale: None,
        _copy: None,
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

    /// What its administrator decided; what the program has built in where no cycle has said so yet.
    pub(super) fn policy(&self) -> Result<Policy, CommandError> {
        let found = self.ledger.file(policy::FILE).map_err(self.unreadable())?;
        found.map_or_else(
            || Ok(Policy::built_in(&self.executor)),
            |bytes| policy::read(&bytes).map_err(self.unusable()),
        )
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

    /// The steps that one of its commits has word for word; none where that commit cannot be read any more.
    pub(super) fn steps_at(&self, commit: &CommitId) -> Vec<Arc<Step>> {
        let wanted = |path: &str| path == ledger::STATE || path == held::FILE;
        let files = self.ledger.files_at(commit, &wanted).unwrap_or_default();
        ledger::steps_in(&files)
    }

    /// Its newest commit; `None` before the first.
    pub(super) fn head(&self) -> Result<Option<LogEntry>, CommandError> {
        Ok(self.log(1)?.into_iter().next())
    }

    /// Its last sign of life, if it gave one.
    pub(super) fn alive(&self) -> Result<Option<Files>, CommandError> {
        let found = self.ledger.load_reference(&self.executor.alive_ref());
        Ok(found.map_err(self.unreadable())?.map(|it| it.files))
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

/// The ledger as a directory: one that was named, what its own origin has, or a copy of what a URL has.
pub(super) fn reach(named: &str, scratch: &Path) -> Result<PathBuf, CommandError> {
    let path = Path::new(named);
    if path.exists() {
        if Ledger::executors(path).is_ok_and(|it| !it.is_empty()) {
            return Ok(path.to_owned());
        }
        // A clone has branches alone, and knows where the rest is.
        let from = read(git(path).args(["remote", "get-url", "origin"]))
            .map_err(|_| CommandError::Refused(format!("there is no ledger in {named}")))?;
        let from = String::from_utf8_lossy(&from).trim().to_owned();
        return fetch(&from, scratch);
    }
    if named.contains(':') {
        return fetch(named, scratch);
    }
    let path = path.to_owned();
    let source = muster_git::LedgerError::Absent(path.clone());
    Err(CommandError::Ledger { path, source })
}

fn fetch(from: &str, scratch: &Path) -> Result<PathBuf, CommandError> {
    let dir = scratch.join("ledger.git");
    read(git(scratch).args(["init", "--quiet", "--bare", "ledger.git"]))?;
    read(git(&dir).args([
        "fetch",
        "--quiet",
        "--no-tags",
        "--end-of-options",
        from,
        "+refs/muster/*:refs/muster/*",
    ]))?;
    // Told of where it was looked for, and not of the copy.
    if Ledger::executors(&dir).is_ok_and(|it| it.is_empty()) {
        return Err(CommandError::Refused(format!(
            "there is no ledger in {}",
            visible(from)
        )));
    }
    Ok(dir)
}
