//! Author, time and subject of a commit, for people who decide about it.

use gix::hash::oid;
use gix::objs::{self, CommitRef};

use crate::objects::{SMALL, Source};
use crate::read_error::ReadError;

/// Who made a commit, when, and what it is called. All of it is what the commit says of itself; bytes that are no text
/// are replaced, and nothing is escaped.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CommitInfo {
    /// The author, as `Name <address>`.
    pub author: String,
    /// When it was committed, in seconds since 1970.
    pub committed: i64,
    /// The first line of its message.
    pub subject: String,
}

impl CommitInfo {
    pub(crate) fn read(objects: &impl Source, id: &oid) -> Result<CommitInfo, ReadError> {
        let bytes = objects.read(id, objs::Kind::Commit, SMALL)?;
        let damaged = || ReadError::Damaged { id: id.to_string() };
        let commit = CommitRef::from_bytes(&bytes, objects.kind()).map_err(|_| damaged())?;
        let author = commit.author().map_err(|_| damaged())?;
        let committed = commit
            .committer()
            .ok()
            .and_then(|who| who.time().ok())
            .map_or(0, |time| time.seconds);
        let message = String::from_utf8_lossy(commit.message);
        Ok(CommitInfo {
            author: format!("{} <{}>", author.name, author.email),
            committed,
            subject: message.lines().next().unwrap_or_default().trim().to_owned(),
        })
    }
}
