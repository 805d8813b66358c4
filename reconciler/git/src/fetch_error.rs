//! Why a fetch failed.

use std::io;
use std::path::PathBuf;

use muster_core::commit::CommitId;

use crate::layout::LayoutError;
use crate::owner::NotOurs;
use crate::read_error::ReadError;
use crate::reader::{Lost, ReaderError};
use crate::refs::RefError;
use crate::run::RunError;

/// Why nothing was fetched. What was fetched before stays as it is.
#[derive(Debug, thiserror::Error)]
pub enum FetchError {
    /// The local origin is not there or not readable.
    #[error("cannot read the origin")]
    Origin(#[source] LayoutError),
    /// The local origin belongs to somebody else.
    #[error("cannot act in the origin {}", origin.display())]
    NotOurs {
        /// The repository.
        origin: PathBuf,
        /// Who is who.
        source: NotOurs,
    },
    /// git did not run, or failed.
    #[error("cannot fetch from {origin}")]
    Git {
        /// The origin.
        origin: String,
        /// What went wrong.
        source: RunError,
    },
    /// The protected branch exists and cannot be read. That is not the same as a branch that does not exist.
    #[error(
        "the protected branch {name} of the origin is broken: it holds no commit id; set it again with `git update-ref` there"
    )]
    BrokenBranch {
        /// Its full name.
        name: String,
    },
    /// The references of the origin or of the mirror cannot be read or written.
    #[error("cannot read the branches: {0}")]
    Refs(String),
    /// The protected branch's commit or its files cannot be copied.
    #[error("cannot copy the commit {commit}")]
    Read {
        /// The commit.
        commit: CommitId,
        /// What is wrong with it.
        source: ReadError,
    },
    /// The protected branch is too large, or takes too long, and was not asked for again.
    #[error("{name} is not fetched: {why}")]
    Refused {
        /// Its full name.
        name: String,
        /// Why, and until when.
        why: String,
    },
    /// The reader could not: with its words.
    #[error(transparent)]
    Told(ReaderError),
    /// There is no answer from the reader.
    #[error(transparent)]
    Reader(Lost),
    /// git printed something that is no list of references.
    #[error("git printed a list of branches that cannot be read: {0:?}")]
    Unexpected(String),
    /// The mirror cannot be written.
    #[error("cannot write the mirror in {}", dir.display())]
    Mirror {
        /// The mirror's directory.
        dir: PathBuf,
        /// What the system said.
        source: io::Error,
    },
}

impl FetchError {
    /// Whether it may be about what was fetched, and not about the server: git refused it, or it was too much, or took too long.
    pub(crate) fn is_of_what_is_fetched(&self) -> bool {
        let FetchError::Git { source, .. } = self else {
            return false;
        };
        match source {
            RunError::Failed { .. } | RunError::TooMuch { .. } | RunError::TimedOut { .. } => true,
            RunError::NoGit | RunError::Start { .. } | RunError::Pipe { .. } => false,
        }
    }
}

impl From<RefError> for FetchError {
    fn from(error: RefError) -> Self {
        match error {
            RefError::Broken { name } => FetchError::BrokenBranch { name },
            RefError::Io { path, source } => {
                FetchError::Refs(format!("{}: {source}", path.display()))
            }
            other => FetchError::Refs(other.to_string()),
        }
    }
}
