//! A host as it was written down: in a file of `muster plan --record`, or in a ledger.

use std::fs::File;
use std::io::{self, Read as _, Write as _};
use std::path::{Path, PathBuf};

use muster_core::executor::{Executor, ExecutorKind};
use muster_core::facts::Facts;
use muster_core::fleet::alive::{self, Alive};
use muster_core::gate::Intent;
use muster_core::ledger::inventory::{FILE, Inventory};
use muster_core::ledger::{self, LedgerError, policy};
use muster_core::rooms::{Observed, Policy, Question};
use muster_core::time::Time;
use muster_core::world::{Complaints, Recorder, World};

use super::CommandError;

/// No inventory is larger: a million accounts take less.
const LIMIT: u64 = 1 << 30;

/// What was written down, and when.
pub(super) struct Recorded {
    pub(super) executor: Executor,
    pub(super) facts: Facts,
    pub(super) at: Time,
    pub(super) observed: Observed,
    /// What its administrator decided, where that was written down too.
    pub(super) policy: Option<Policy>,
}

/// Why an inventory cannot be planned on.
#[derive(Debug, thiserror::Error)]
pub enum InventoryError {
    /// It cannot be read.
    #[error("the inventory {} cannot be read", path.display())]
    Io {
        /// Where it is.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// It is not what was written.
    #[error("{} is no inventory that can be used", path.display())]
    Content {
        /// Where it is.
        path: PathBuf,
        /// What is wrong.
        source: LedgerError,
    },
    /// The ledger that holds it.
    #[error("the ledger in {} cannot be read", path.display())]
    Ledger {
        /// Where it is.
        path: PathBuf,
        /// What is wrong.
        source: muster_git::LedgerError,
    },
    /// It says what was seen, and not what muster did before.
    #[error(
        "{} was taken out of a ledger without the facts beside it: name the ledger's directory instead, or a file of `muster plan --record`",
        .0.display()
    )]
    NoFacts(PathBuf),
    /// There is none, or there are several.
    #[error("{} holds {}", path.display(), several(executors))]
    Which {
        /// The ledger.
        path: PathBuf,
        /// The executors it has.
        executors: Vec<Executor>,
    },
    /// It is of another executor.
    #[error("{} is the inventory of {found}, not of {wanted}", path.display())]
    Other {
        /// Where it is.
        path: PathBuf,
        /// Whose it is.
        found: Executor,
        /// Whose it should be.
        wanted: Executor,
    },
}

fn several(executors: &[Executor]) -> String {
    let list = |of: &dyn Fn(&Executor) -> String| {
        let names: Vec<String> = executors.iter().map(of).collect();
        names.join(", ")
    };
    let hosts_alone = executors.iter().all(|it| it.kind() == ExecutorKind::Host);
    match (executors, hosts_alone) {
        ([], _) => "no host's ledger: say which with --host NAME".to_owned(),
        (_, true) => format!(
            "the hosts {}: say which with --host NAME",
            list(&|it| it.name().to_owned())
        ),
        (_, false) => format!(
            "the ledgers of {}: say which with --executor KIND/NAME",
            list(&ToString::to_string)
        ),
    }
}

/// Reads the inventory at `path`: a file, `-` for standard input, or a directory that is a ledger.
pub(super) fn read(path: &Path, wanted: Option<&Executor>) -> Result<Recorded, InventoryError> {
    let io = |source| InventoryError::Io {
        path: path.to_owned(),
        source,
    };
    if path.is_dir() {
        return from_ledger(path, wanted);
    }
    let mut text = Vec::new();
    if path == Path::new("-") {
        io::stdin().lock().take(LIMIT).read_to_end(&mut text)
    } else {
        File::open(path).and_then(|file| file.take(LIMIT).read_to_end(&mut text))
    }
    .map_err(io)?;
    let content = |source| InventoryError::Content {
        path: path.to_owned(),
        source,
    };
    let Inventory {
        executor,
        recorded,
        observed,
        facts,
    } = Inventory::read(&text).map_err(content)?;
    if let Some(wanted) = wanted.filter(|it| **it != executor) {
        return Err(InventoryError::Other {
            path: path.to_owned(),
            found: executor,
            wanted: wanted.clone(),
        });
    }
    let facts = facts.ok_or_else(|| InventoryError::NoFacts(path.to_owned()))?;
    Ok(Recorded {
        executor,
        at: recorded.unwrap_or(facts.latest),
        facts,
        observed,
        policy: None,
    })
}

fn from_ledger(path: &Path, wanted: Option<&Executor>) -> Result<Recorded, InventoryError> {
    let unreadable = |source| InventoryError::Ledger {
        path: path.to_owned(),
        source,
    };
    let content = |source| InventoryError::Content {
        path: path.to_owned(),
        source,
    };
    let executors = muster_git::Ledger::executors(path).map_err(unreadable)?;
    let found = match (wanted, executors.as_slice()) {
        (Some(wanted), all) => all.iter().find(|it| *it == wanted),
        (None, [only]) => Some(only),
        (None, _) => None,
    };
    let Some(wanted) = found.cloned() else {
        return Err(InventoryError::Which {
            path: path.to_owned(),
            executors,
        });
    };
    let ledger = muster_git::Ledger::open(path, &wanted.ledger_ref()).map_err(unreadable)?;
    let held = ledger.load().map_err(unreadable)?;
    let files = held.map(|it| it.files).unwrap_or_default();
    let (facts, _) = ledger::facts(&files).map_err(content)?;
    let text = files
        .get(FILE)
        .ok_or_else(|| content(LedgerError::Missing(FILE)))?;
    let Inventory {
        executor, observed, ..
    } = Inventory::read(text).map_err(content)?;
    let policy = files
        .get(policy::FILE)
        .map(|it| policy::read(it).map_err(content))
        .transpose()?;
    let newest = ledger.log(1).map_err(unreadable)?;
    let alive = ledger
        .load_reference(&wanted.alive_ref())
        .map_err(unreadable)?
        .and_then(|it| Alive::read(it.files.get(alive::FILE)?));
    let at = newest.first().map_or(facts.latest, |it| {
        Alive::read_of(alive.as_ref(), &it.commit, Time(it.time))
    });
    if executor != wanted {
        return Err(InventoryError::Other {
            path: path.to_owned(),
            found: executor,
            wanted,
        });
    }
    Ok(Recorded {
        executor,
        facts,
        at,
        observed,
        policy,
    })
}

/// Writes an inventory to `path`, for its owner alone: it names everybody who has an account.
pub(super) fn write(path: &Path, inventory: &Inventory) -> Result<(), CommandError> {
    let failed = |source| CommandError::Write {
        path: path.to_owned(),
        source,
    };
    let dir = match path.parent() {
        Some(dir) if !dir.as_os_str().is_empty() => dir,
        _ => Path::new("."),
    };
    let mut file = tempfile::NamedTempFile::new_in(dir).map_err(failed)?;
    file.write_all(&inventory.to_bytes()).map_err(failed)?;
    file.persist(path)
        .map(drop)
        .map_err(|error| failed(error.error))
}

/// A recorded host was asked to change.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a recorded host cannot be changed")]
pub(super) struct OnlyRecorded;

impl World for Recorded {
    type Error = OnlyRecorded;

    /// What was recorded.
    fn observe(&mut self, question: &Question<'_>) -> Result<Observed, OnlyRecorded> {
        Ok(self.observed.recalled(question).into_owned())
    }

    fn act(&mut self, _: &Intent, _: &mut dyn Recorder) -> Result<Complaints, OnlyRecorded> {
        Err(OnlyRecorded)
    }
}
