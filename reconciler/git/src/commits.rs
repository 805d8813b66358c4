//! The commits that muster itself makes: how they are written, and how their files and history are read.

use std::collections::BTreeMap;
use std::io;

use gix::bstr::BString;
use gix::hash::{ObjectId, oid};
use gix::objs::{self, CommitRef, WriteTo};
use muster_core::commit::CommitId;

use crate::objects::{SMALL, Source, commit_id};
use crate::read_error::{FILE_LIMIT, ReadError};

/// The bytes of an object without its header.
pub(crate) fn serialize(object: &impl WriteTo) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    object.write_to(&mut bytes).map_err(io::Error::other)?;
    Ok(bytes)
}

/// A commit by muster on `host`.
pub(crate) fn new_commit(
    tree: ObjectId,
    parent: Option<ObjectId>,
    host: &str,
    message: &str,
    time: i64,
) -> objs::Commit {
    let time = gix::date::Time {
        seconds: time.max(0),
        offset: 0,
    };
    let who = gix::actor::Signature {
        name: "muster".into(),
        email: format!("muster@{host}").into(),
        time,
    };
    let mut message: BString = message.replace('\0', "\u{fffd}").into();
    if !message.ends_with(b"\n") {
        message.push(b'\n');
    }
    let (parents, extra_headers) = (parent.into_iter().collect(), Vec::new());
    objs::Commit {
        tree,
        parents,
        author: who.clone(),
        committer: who,
        encoding: None,
        message,
        extra_headers,
    }
}

/// The most that is read of one commit of a ledger: files, and bytes in all of them.
const MOST_FILES: usize = 100_000;
const MOST_BYTES: u64 = 1 << 30;

/// Those files of a commit whose path is `wanted`.
pub(crate) fn files_where(
    objects: &impl Source,
    commit: &oid,
    wanted: &dyn Fn(&str) -> bool,
) -> Result<BTreeMap<String, Vec<u8>>, ReadError> {
    let mut files = BTreeMap::new();
    let mut todo = vec![(String::new(), objects.commit(commit)?.tree)];
    let (mut entries, mut bytes) = (0, 0);
    while let Some((prefix, tree)) = todo.pop() {
        for entry in objects.tree(&tree)? {
            entries += 1;
            if entries > MOST_FILES {
                return Err(ReadError::TooMuch {
                    what: "files",
                    limit: MOST_FILES as u64,
                });
            }
            let path = format!("{prefix}{}", entry.name.escape_ascii());
            if entry.mode == 0o040000 {
                todo.push((path + "/", entry.id));
            } else if wanted(&path) {
                let content = objects.read(&entry.id, objs::Kind::Blob, FILE_LIMIT)?;
                bytes += content.len() as u64;
                if bytes > MOST_BYTES {
                    return Err(ReadError::TooMuch {
                        what: "bytes",
                        limit: MOST_BYTES,
                    });
                }
                files.insert(path, content);
            }
        }
    }
    Ok(files)
}

/// The first commit that is `wanted` by its message, from `commit` back along the first parents, of `limit` at most.
pub(crate) fn look_back(
    objects: &impl Source,
    commit: &oid,
    limit: usize,
    wanted: &dyn Fn(&[u8]) -> bool,
) -> Result<Option<CommitId>, ReadError> {
    let mut next = Some(commit.to_owned());
    for _ in 0..limit {
        let Some(id) = next else { break };
        let bytes = objects.read(&id, objs::Kind::Commit, SMALL)?;
        let commit = CommitRef::from_bytes(&bytes, objects.kind())
            .map_err(|_| ReadError::Damaged { id: id.to_string() })?;
        if wanted(commit.message) {
            return Ok(Some(commit_id(&id)));
        }
        next = commit.parents().next();
    }
    Ok(None)
}
