//! What can go wrong in a command, what it ends with, and what a person can do about it.

use std::io;
use std::path::PathBuf;

use muster_core::commit::CommitId;
use muster_core::compat::{DeriveError, InputError};
use muster_core::diagnostic::Diagnostics;
use muster_core::edit::EditError;
use muster_core::edit::membership::GroupError;

use super::plan::InventoryError;
use crate::bot;
use crate::cycle::CycleError;
use crate::demo::DemoError;
use crate::executors::guests::EntranceError;
use crate::executors::{AssembleError, OpenError};
use crate::exit;
use crate::http::HttpError;
use crate::settings::SettingsError;
use crate::state_dir::StateError;

/// Why a command did not do its work.
#[derive(Debug, thiserror::Error)]
pub enum CommandError {
    /// A command line that is well-formed and makes no sense.
    #[error("{0}")]
    Usage(String),
    /// The settings.
    #[error(transparent)]
    Settings(SettingsError),
    /// The state directory.
    #[error(transparent)]
    State(#[from] StateError),
    /// A file or directory that was named.
    #[error("cannot read {}", path.display())]
    Input {
        /// Which.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// A file that was named to `validate` or `derive`.
    #[error("cannot read {}", path.display())]
    CompatInput {
        /// Which.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// A roster that was named is not valid; everything about it has been said.
    #[error("the roster {} cannot be used", path.display())]
    Roster {
        /// Which.
        path: PathBuf,
        /// What is wrong with it.
        source: Diagnostics,
    },
    /// A JSON file that was named.
    #[error("{} cannot be used", path.display())]
    Json {
        /// Which.
        path: PathBuf,
        /// What is wrong with it.
        source: InputError,
    },
    /// Deriving.
    #[error("nothing could be derived")]
    Derive(#[source] DeriveError),
    /// The executor.
    #[error(transparent)]
    Assemble(#[from] AssembleError),
    /// The bot.
    #[error("the bot cannot be put together")]
    Bot(#[from] bot::AssembleError),
    /// The HTTP server.
    #[error("nobody is served over HTTP")]
    Http(#[from] HttpError),
    /// A process without anything to do.
    #[error("there is nothing to do: `roles` says bot alone, and there is no forge to speak to")]
    NothingToDo,
    /// A cycle, or the look before one.
    #[error(transparent)]
    Cycle(CycleError),
    /// No randomness for an id.
    #[error("the kernel gave no random numbers")]
    Random(#[source] io::Error),
    /// No threads, timers or signals to be had.
    #[error("the daemon could not be set up")]
    Runtime(#[source] io::Error),
    /// The state repository did not answer.
    #[error("the state repository {origin} did not answer")]
    Origin {
        /// Which.
        origin: String,
        /// Why.
        source: muster_git::FetchError,
    },
    /// A commit of the state repository.
    #[error("the commit {commit} cannot be read")]
    Commit {
        /// Which.
        commit: CommitId,
        /// Why.
        source: muster_git::files::ReadError,
    },
    /// A revision of a repository that was named.
    #[error(transparent)]
    Revision(muster_git::at::AtError),
    /// A recorded inventory.
    #[error(transparent)]
    Inventory(InventoryError),
    /// A ledger that was named or is this host's.
    #[error("the ledger in {} cannot be read", path.display())]
    Ledger {
        /// Where.
        path: PathBuf,
        /// Why.
        source: muster_git::LedgerError,
    },
    /// A file of a ledger.
    #[error("the ledger in {} cannot be used", path.display())]
    LedgerFile {
        /// Where.
        path: PathBuf,
        /// Why.
        source: muster_core::ledger::LedgerError,
    },
    /// The mirror of the state repository.
    #[error("the mirror of the state repository cannot be used")]
    Mirror(#[source] muster_git::FetchError),
    /// The account databases of a tree that was named.
    #[error("the accounts below {} cannot be read", root.display())]
    Accounts {
        /// The tree.
        root: PathBuf,
        /// Why.
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// The members of a group that were named.
    #[error("{} cannot be used", path.display())]
    Group {
        /// Which file.
        path: PathBuf,
        /// What is wrong with it.
        source: GroupError,
    },
    /// A roster that cannot be edited.
    #[error("{} cannot be edited", path.display())]
    Edit {
        /// Which.
        path: PathBuf,
        /// Why.
        source: EditError,
    },
    /// A file that could not be written.
    #[error("cannot write {}", path.display())]
    Write {
        /// Which.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// An archive that was named.
    #[error("the archive {}", path.display())]
    Archive {
        /// Which.
        path: PathBuf,
        /// What is wrong with it, or stands against it.
        source: Box<muster_host::archive::Error>,
    },
    /// The demo.
    #[error(transparent)]
    Demo(#[from] DemoError),
    /// Something was looked at, and is not taken; or an operator's git did not do what it was asked.
    #[error("{0}")]
    Refused(String),
    /// Nobody confirmed.
    #[error("{0}")]
    NotConfirmed(String),
    /// Standard output.
    #[error("cannot write the output")]
    Output(#[source] io::Error),
}

impl CommandError {
    /// What `muster` ends with.
    pub fn exit_code(&self) -> u8 {
        match self {
            Self::Usage(_) => exit::USAGE,
            Self::Settings(_) | Self::NothingToDo => exit::CONFIG,
            Self::Bot(error) => bot_code(error),
            Self::Http(HttpError::Listen { .. }) => exit::IO,
            Self::Http(
                HttpError::NoSecret
                | HttpError::Secret(_)
                | HttpError::EmptySecret(_)
                | HttpError::Certificate { .. },
            ) => exit::CONFIG,
            Self::State(error) => state_code(error),
            Self::Demo(error) => error.exit_code(),
            // The numbers of the program that `validate` and `derive` replace (R25).
            Self::CompatInput { .. }
            | Self::Roster { .. }
            | Self::Json { .. }
            | Self::Derive(_)
            | Self::Refused(_)
            | Self::NotConfirmed(_) => exit::FAILED,
            Self::Ledger {
                source: muster_git::LedgerError::Absent(_),
                ..
            } => exit::NO_INPUT,
            Self::Ledger { .. } | Self::LedgerFile { .. } => exit::STATE,
            Self::Input { .. } | Self::Inventory(_) | Self::Revision(_) | Self::Accounts { .. } => {
                exit::NO_INPUT
            }
            Self::Assemble(AssembleError::NoOrigin | AssembleError::NotKept(_)) => exit::CONFIG,
            Self::Assemble(AssembleError::Repositories(_))
            | Self::Origin { .. }
            | Self::Mirror(_)
            | Self::Commit { .. } => exit::UNAVAILABLE,
            Self::Assemble(AssembleError::Guests(
                EntranceError::Secret(_) | EntranceError::Authority { .. } | EntranceError::Open(_),
            )) => exit::CONFIG,
            Self::Assemble(
                AssembleError::Host(_) | AssembleError::Guests(EntranceError::World(_)),
            )
            | Self::Cycle(_) => exit::FAILED,
            Self::Group { .. } | Self::Edit { .. } | Self::Archive { .. } => exit::FAILED,
            Self::Write { .. } | Self::Random(_) | Self::Runtime(_) | Self::Output(_) => exit::IO,
        }
    }

    /// What a person can do about it.
    pub fn help(&self) -> Option<String> {
        match self {
            Self::State(error) => error.help(),
            Self::Demo(error) => error.help(),
            Self::Ledger {
                source: muster_git::LedgerError::Absent(_),
                ..
            } => Some(
                "the first cycle makes it: `muster run --once`; or name another with --ledger"
                    .to_owned(),
            ),
            Self::NothingToDo => {
                Some("set [forge] in the settings, or give it the role of an agent".to_owned())
            }
            Self::Usage(_)
            | Self::Settings(_)
            | Self::Bot(_)
            | Self::Http(_)
            | Self::Ledger { .. }
            | Self::LedgerFile { .. }
            | Self::Input { .. }
            | Self::CompatInput { .. }
            | Self::Roster { .. }
            | Self::Json { .. }
            | Self::Derive(_)
            | Self::Origin { .. }
            | Self::Commit { .. }
            | Self::Revision(_)
            | Self::Inventory(_)
            | Self::Mirror(_)
            | Self::Accounts { .. }
            | Self::Group { .. }
            | Self::Edit { .. }
            | Self::Archive { .. }
            | Self::Write { .. }
            | Self::Assemble(_)
            | Self::Cycle(_)
            | Self::Random(_)
            | Self::Runtime(_)
            | Self::Refused(_)
            | Self::NotConfirmed(_)
            | Self::Output(_) => None,
        }
    }
}

fn bot_code(error: &bot::AssembleError) -> u8 {
    match error {
        bot::AssembleError::NoForge
        | bot::AssembleError::NoOrigin
        | bot::AssembleError::NoLedger
        | bot::AssembleError::Forge(_) => exit::CONFIG,
        bot::AssembleError::Repositories(_)
        | bot::AssembleError::Store(_)
        | bot::AssembleError::Key(_) => exit::STATE,
    }
}

impl From<OpenError> for CommandError {
    fn from(error: OpenError) -> Self {
        match error {
            OpenError::State(error) => Self::State(error),
            OpenError::Assemble(error) => Self::Assemble(error),
        }
    }
}

fn state_code(error: &StateError) -> u8 {
    match error {
        StateError::Io { source, .. } if source.kind() == io::ErrorKind::PermissionDenied => {
            exit::NO_PERMISSION
        }
        StateError::Io { .. } => exit::IO,
        StateError::NotInitialised(_) => exit::CONFIG,
        StateError::Exists { .. } => exit::FAILED,
        StateError::Held { .. } => exit::BUSY,
        StateError::NotRunning(_) => exit::UNAVAILABLE,
        StateError::Exposed { .. }
        | StateError::Identity { .. }
        | StateError::Newer { .. }
        | StateError::Orphaned(_)
        | StateError::Other { .. }
        | StateError::Copied { .. }
        | StateError::Mark { .. }
        | StateError::Mixed { .. }
        | StateError::Lost { .. }
        | StateError::Journal(_)
        | StateError::Ledger(_)
        | StateError::Key(_)
        | StateError::LedgerFacts(_) => exit::STATE,
    }
}
