//! A few references that several writers share, in a repository of our own or in another one of which ours is a copy.
//! They are moved together by compare-and-swap, each from the commit where it was last seen.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use gix::hash::Kind;
use muster_core::commit::CommitId;

use crate::counterpart::{Counterpart, Move, PushError};
use crate::fetch_error::FetchError;
use crate::ledger::{Ledger, LedgerError};
use crate::objects::{commit_id, object_id};
use crate::origin::Origin;
use crate::pack::Packed;
use crate::read_error::ReadError;
use crate::refs::{self, RefError};
use crate::sync::Durability;

/// The repository, open for its one process on this machine.
pub struct Shared {
    dir: PathBuf,
    below: String,
    ledger: Ledger,
    there: Option<Counterpart>,
}

/// Why the references cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum SharedError {
    /// Another writer moved one of them; nothing of ours was moved.
    #[error("another writer moved the references first; look again and decide anew")]
    Raced,
    /// The repository elsewhere did not take them, and nothing was moved.
    #[error("the other repository did not take the references, and nothing was written")]
    Refused(#[source] Box<PushError>),
    /// The connection broke during the push; the outcome is not known.
    #[error("it is not known whether anything was written")]
    Unknown(#[source] Box<PushError>),
    /// The repository elsewhere did not answer.
    #[error("the repository did not answer")]
    Fetch(#[source] FetchError),
    /// Our own repository cannot be written.
    #[error("our own copy of the repository cannot be used")]
    Own(#[source] LedgerError),
    /// References of our own repository cannot be read or written.
    #[error("a reference of our own repository cannot be used: {0}")]
    Reference(String),
}

impl From<RefError> for SharedError {
    fn from(error: RefError) -> Self {
        match error {
            RefError::Raced { .. } | RefError::Locked { .. } => SharedError::Raced,
            other => SharedError::Reference(other.to_string()),
        }
    }
}

impl Shared {
    /// Opens the bare repository in `dir`, or makes it. The references are those below `below` (such as `refs/muster/bot/`,
    /// with the slash), and shared with `remote` where there is one. No other process uses `dir`.
    ///
    /// # Errors
    /// When the repository can be neither opened nor made.
    pub fn open_or_create(
        dir: &Path,
        below: &str,
        remote: Option<Origin>,
    ) -> Result<Shared, SharedError> {
        let ledger =
            Ledger::open_or_create(dir, &format!("{below}state")).map_err(SharedError::Own)?;
        Ok(Shared {
            dir: dir.to_owned(),
            below: below.to_owned(),
            ledger,
            there: remote.map(|origin| Counterpart::of(dir, origin)),
        })
    }

    /// Where the references are now; what they lead to can then be read here.
    ///
    /// # Errors
    /// When that could not be found out.
    pub fn look(&mut self) -> Result<BTreeMap<String, CommitId>, SharedError> {
        match &self.there {
            Some(there) => {
                let found = there.bring(&self.below).map_err(SharedError::Fetch)?;
                // What arrived in a pack is only seen when it is looked for.
                self.ledger = Ledger::open(&self.dir, &format!("{}state", self.below))
                    .map_err(SharedError::Own)?;
                Ok(found)
            }
            None => {
                let listed = refs::list(&self.dir, &self.below, Kind::Sha1)?;
                if let Some(name) = listed.unread.into_iter().next() {
                    return Err(SharedError::Reference(format!("{name} holds no commit id")));
                }
                let ids = listed.found.into_iter();
                Ok(ids.map(|(name, id)| (name, commit_id(&id))).collect())
            }
        }
    }

    /// Writes a commit that no reference leads to yet: `changes` to the files of `parent`, or to none.
    ///
    /// # Errors
    /// When it could not be written.
    pub fn commit(
        &self,
        parent: Option<&CommitId>,
        changes: &BTreeMap<String, Option<Vec<u8>>>,
        message: &str,
        time: i64,
    ) -> Result<CommitId, SharedError> {
        self.ledger
            .write_commit(parent, changes, message, time)
            .map_err(SharedError::Own)
    }

    /// Moves references: elsewhere all of them or none. In a repository of our own one after another in this order, up to the
    /// first that is not where it was seen; the first should be the one that everybody who moves any has to move.
    ///
    /// # Errors
    /// [`SharedError`] says what is known of the outcome.
    pub fn move_all(&mut self, moves: &[Move]) -> Result<(), SharedError> {
        if let Some(there) = &self.there {
            there.push(moves).map_err(|error| match error {
                PushError::Raced { .. } => SharedError::Raced,
                PushError::Refused { .. } => SharedError::Refused(Box::new(error)),
                PushError::Unknown { .. } => SharedError::Unknown(Box::new(error)),
            })?;
        }
        for Move { name, from, to } in moves {
            let before = match &self.there {
                // Ours is a copy.
                Some(_) => refs::read(&self.dir, name, Kind::Sha1)?,
                None => from.as_ref().map(object_id),
            };
            let to = object_id(to);
            refs::replace(&self.dir, name, before, to, Durability::Synced)?;
        }
        Ok(())
    }

    /// Those files of a commit whose path is `wanted`.
    ///
    /// # Errors
    /// When something cannot be read.
    pub fn files(
        &self,
        commit: &CommitId,
        wanted: &dyn Fn(&str) -> bool,
    ) -> Result<BTreeMap<String, Vec<u8>>, ReadError> {
        self.ledger.files_at(commit, wanted)
    }

    /// Packs the repository when it has grown.
    ///
    /// # Errors
    /// When it cannot be packed; nothing is lost then.
    pub fn maintain(&mut self) -> Result<Packed, SharedError> {
        self.ledger.maintain().map_err(SharedError::Own)
    }
}
