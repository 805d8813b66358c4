//! What can be wrong with a state directory.

use std::io;
use std::path::{Path, PathBuf};

use muster_core::executor::Executor;

use super::{FORMAT, Holder, Purpose};
use crate::host_key::HostKeyError;
use crate::journal::JournalError;

/// A state directory that cannot be used as it is.
#[derive(Debug, thiserror::Error)]
pub enum StateError {
    /// The system said no.
    #[error("cannot {act} {}", path.display())]
    Io {
        /// What was tried.
        act: &'static str,
        /// On what.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// `muster init` was not run here.
    #[error("there is no executor in {}: this host was not initialised", .0.display())]
    NotInitialised(PathBuf),
    /// `muster init` was run here.
    #[error("{} already holds the executor {name}", dir.display())]
    Exists {
        /// The state directory.
        dir: PathBuf,
        /// Its pinned name.
        name: String,
    },
    /// Somebody else could write it.
    #[error("{} {what}", path.display())]
    Exposed {
        /// The directory.
        path: PathBuf,
        /// How.
        what: String,
    },
    /// `executor.toml` is not what was written.
    #[error("{} cannot be read: {what}", path.display())]
    Identity {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        what: String,
    },
    /// `executor.toml` is of a newer version.
    #[error("{} has format {found}, and this version of muster knows {FORMAT}", path.display())]
    Newer {
        /// The file.
        path: PathBuf,
        /// The format.
        found: u32,
    },
    /// `executor.toml` is of an executor of another kind or name.
    #[error("{} is the state directory of {pinned}, not of {executor}", dir.display())]
    Other {
        /// The state directory.
        dir: PathBuf,
        /// Whose it is.
        pinned: Executor,
        /// Whose the settings say that it is.
        executor: Executor,
    },
    /// A journal with a history, but nobody's.
    #[error("{} holds a journal with a history, but no executor.toml that says whose", .0.display())]
    Orphaned(PathBuf),
    /// Journal, ledger and `executor.toml` are not of one executor.
    #[error("{} is executor {ours}, and its {what} belongs to {theirs}", dir.display())]
    Mixed {
        /// The state directory.
        dir: PathBuf,
        /// The id in `executor.toml`.
        ours: String,
        /// Which part.
        what: &'static str,
        /// The id in that part.
        theirs: String,
    },
    /// The mark outside the state directory is of another executor than the directory.
    #[error("{} is executor {ours}, and the executor of that name that ran on this machine is {theirs}, by {}", dir.display(), mark.display())]
    Copied {
        /// The state directory.
        dir: PathBuf,
        /// The mark.
        mark: PathBuf,
        /// The id in `executor.toml`.
        ours: String,
        /// The id in the mark.
        theirs: String,
    },
    /// The mark is not what was written.
    #[error("{} is damaged: it says nothing that holds", path.display())]
    Mark {
        /// The mark.
        path: PathBuf,
    },
    /// Neither journal nor ledger: nothing is known.
    #[error("the executor {id} has neither journal nor ledger: what ran here before is not known")]
    Lost {
        /// The id.
        id: String,
    },
    /// Another process has the lock.
    #[error("{holder} is at work here")]
    Held {
        /// Who.
        holder: Holder,
    },
    /// Nobody has the lock.
    #[error("no muster daemon is running on {}", .0.display())]
    NotRunning(PathBuf),
    /// The journal.
    #[error("the journal cannot be used")]
    Journal(#[source] JournalError),
    /// The repository that holds the ledger.
    #[error("the ledger cannot be read")]
    Ledger(#[source] muster_git::LedgerError),
    /// The key that signs the ledger.
    #[error("the key of this host cannot be used")]
    Key(#[source] HostKeyError),
    /// What the ledger holds.
    #[error("the ledger is damaged")]
    LedgerFacts(#[source] muster_core::ledger::LedgerError),
}

impl StateError {
    pub(super) fn io(act: &'static str, path: &Path) -> impl FnOnce(io::Error) -> Self {
        move |source| Self::Io {
            act,
            path: path.to_owned(),
            source,
        }
    }

    /// What a person can do about it.
    pub fn help(&self) -> Option<String> {
        Some(match self {
            Self::Io { source, .. } if source.kind() == io::ErrorKind::PermissionDenied => "run this as root".into(),
            Self::Io { .. } => return None,
            Self::NotInitialised(_) => "run `muster init`".into(),
            Self::Exists { .. } => "nothing to do; `muster status` shows how it stands".into(),
            Self::Exposed { path, .. } => format!("chown root {0} && chmod 0700 {0}", path.display()),
            Self::Identity { .. } | Self::Orphaned(_) | Self::Mixed { .. } => {
                "put the whole directory back from one backup; its parts cannot be mixed".into()
            }
            Self::Copied { dir, mark, .. } => format!(
                "was {} copied from another machine? Then move it away, and put this machine's own back or `muster init` anew. If the \
                 machine itself is what was replaced, move {} away: muster then holds everything until somebody has looked",
                dir.display(),
                mark.display()
            ),
            Self::Mark { path } => format!(
                "look at the disk, then move it away: muster makes another, and holds everything at {} until somebody has looked",
                path.parent().unwrap_or(path).display()
            ),
            Self::Other { executor, .. } => format!("give {executor} a directory of its own in the settings"),
            Self::Newer { .. } => "install the newer version; this one changes nothing here".into(),
            Self::Lost { .. } => "put the ledger or the journal back from a backup; or move the directory away and `muster init` anew".into(),
            Self::Held { holder } if holder.command == Purpose::Run.word() => {
                "the daemon writes the records now: `systemctl stop muster`, the same command again, `systemctl start muster`".into()
            }
            Self::Held { .. } => "wait for it, and run the same command again".into(),
            Self::NotRunning(_) => "start it: `systemctl start muster`; or once: `muster run --once`".into(),
            Self::Journal(error) => error.help(),
            Self::Ledger(_) | Self::Key(_) => return None,
            Self::LedgerFacts(_) => "put ledger.git back from a backup or its remote".into(),
        })
    }
}
