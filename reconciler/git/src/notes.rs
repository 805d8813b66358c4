//! Notes on commits of a local origin: what the local forge has for comments.
//!
//! `git notes --ref=refs/notes/muster/host/devvm/plan show <commit>` shows them. They are written into the origin itself,
//! as its owner: root never leaves a file of its own in somebody's repository. When muster is not that owner, it starts
//! itself as a child that is, and the child runs the same code.

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsString;
use std::io::{self, ErrorKind, Read, Write};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use gix::hash::ObjectId;
use gix::objs;
use gix::objs::tree::{Entry, EntryKind, EntryMode};
use muster_core::commit::CommitId;

use crate::commits::{new_commit, serialize};
use crate::layout::{self, Layout, RefStorage};
use crate::objects::{Objects, SMALL, Source};
use crate::origin::Origin;
use crate::owner::Owner;
use crate::read_error::ReadError;
use crate::refs::{self, RefError};
use crate::run::{self, Limits, RunError};
use crate::sync::{Durability, ObjectWriter};
use crate::wire;

/// How often a write begins again when somebody else was faster.
const ATTEMPTS: u32 = 8;

/// The largest note, and the largest list of notes, in bytes.
const LARGEST: u64 = 16 << 20;

const PROTOCOL: &[u8] = b"muster-notes/1";

/// Who writes when the origin belongs to somebody else.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Writer {
    /// Nobody: only a repository of our own is written.
    InProcess,
    /// This program with these arguments, started as the origin's owner; it calls [`serve_child`].
    Child {
        /// Its absolute path. The owner must be able to run it.
        exe: PathBuf,
        /// The hidden subcommand.
        args: Vec<OsString>,
    },
}

/// The notes of one local origin.
#[derive(Debug, Clone)]
pub struct Notes {
    origin: PathBuf,
    writer: Writer,
}

/// Whether a write changed anything.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Written {
    /// Something was written.
    Changed,
    /// Everything was as wanted; nothing was written.
    Unchanged,
}

/// Why a note is not there. A caller can go on without it.
#[derive(Debug, thiserror::Error)]
pub enum NotesError {
    /// A remote origin has its own forge.
    #[error("notes are written into local origins only, and {0} is not one")]
    NotLocal(String),
    /// The name is no reference for notes.
    #[error("{0:?} is no reference below refs/notes/")]
    Reference(String),
    /// The origin may not be written: read-only, no permission, no space, somebody else's.
    #[error("the origin cannot be written: {0}")]
    NotWritable(String),
    /// Others wrote all the time, or left a lock file behind.
    #[error("the notes were changed or locked by somebody else each time: {0}")]
    Busy(String),
    /// The origin or its notes cannot be read.
    #[error("the origin's notes cannot be read: {0}")]
    Unreadable(String),
    /// The child could not do its work.
    #[error("the notes writer failed")]
    Child(#[source] RunError),
    /// The child answered something else.
    #[error("the notes writer gave an answer that cannot be read")]
    Answer,
}

enum Request {
    Read {
        commit: CommitId,
    },
    Write {
        commit: CommitId,
        text: String,
        time: i64,
    },
    Remove {
        commit: CommitId,
        time: i64,
    },
    Prune {
        keep: BTreeSet<CommitId>,
        time: i64,
    },
}

#[derive(Debug, PartialEq, Eq)]
enum Reply {
    Text(Option<String>),
    Written(Written),
}

impl Notes {
    /// The notes of `origin`, which must be local. Nothing is opened yet.
    pub fn open(origin: &Origin, writer: Writer) -> Result<Notes, NotesError> {
        match origin {
            Origin::Local(path) => Ok(Notes {
                origin: path.clone(),
                writer,
            }),
            Origin::Remote(url) => Err(NotesError::NotLocal(url.as_str().to_owned())),
        }
    }

    /// The note of `commit` under `reference` (`refs/notes/muster/<executor>/plan`).
    pub fn read(&self, reference: &str, commit: &CommitId) -> Result<Option<String>, NotesError> {
        match self.ask(
            reference,
            &Request::Read {
                commit: commit.clone(),
            },
        )? {
            Reply::Text(text) => Ok(text),
            Reply::Written(_) => Err(NotesError::Answer),
        }
    }

    /// Makes `text` the note of `commit`. `time` is in seconds since 1970 (UTC).
    pub fn write(
        &self,
        reference: &str,
        commit: &CommitId,
        text: &str,
        time: i64,
    ) -> Result<Written, NotesError> {
        self.change(
            reference,
            &Request::Write {
                commit: commit.clone(),
                text: text.to_owned(),
                time,
            },
        )
    }

    /// Removes the note of `commit`.
    pub fn remove(
        &self,
        reference: &str,
        commit: &CommitId,
        time: i64,
    ) -> Result<Written, NotesError> {
        self.change(
            reference,
            &Request::Remove {
                commit: commit.clone(),
                time,
            },
        )
    }

    /// Removes the notes of all commits but these.
    pub fn prune(
        &self,
        reference: &str,
        keep: &BTreeSet<CommitId>,
        time: i64,
    ) -> Result<Written, NotesError> {
        self.change(
            reference,
            &Request::Prune {
                keep: keep.clone(),
                time,
            },
        )
    }

    fn change(&self, reference: &str, request: &Request) -> Result<Written, NotesError> {
        match self.ask(reference, request)? {
            Reply::Written(written) => Ok(written),
            Reply::Text(_) => Err(NotesError::Answer),
        }
    }

    fn ask(&self, reference: &str, request: &Request) -> Result<Reply, NotesError> {
        // Nothing of somebody else's repository is read here, not even its settings.
        let unreadable = |error: &dyn std::error::Error| NotesError::Unreadable(error.to_string());
        let (_, common) = layout::dirs(&self.origin).map_err(|error| unreadable(&error))?;
        let owner = Owner::of(&common).map_err(|error| unreadable(&error))?;
        match &self.writer {
            Writer::Child { exe, args } if !owner.is_us() => {
                let mut command = run::bare_environment(exe.clone());
                command.args(args);
                let not_ours =
                    |error: crate::owner::NotOurs| NotesError::NotWritable(error.to_string());
                owner.put_on(&mut command).map_err(not_ours)?;
                let asked = encode_request(&common, reference, request);
                let limits = Limits {
                    wall: Duration::from_secs(60),
                    ..Limits::default()
                };
                let answer = run::run(command, "the notes writer", &asked, limits)
                    .map_err(NotesError::Child)?;
                decode_reply(&answer)?
            }
            _ => perform(&layout(&self.origin)?, reference, request),
        }
    }
}

/// Answers one request of [`Notes`] from another process, which started this one as the owner of the origin. The hidden
/// subcommand calls this with its standard input and output, and does nothing else.
pub fn serve_child(mut stdin: impl Read, mut stdout: impl Write) -> io::Result<()> {
    let mut asked = Vec::new();
    stdin.by_ref().take(256 << 20).read_to_end(&mut asked)?;
    let (common, reference, request) = decode_request(&asked)
        .ok_or_else(|| io::Error::new(ErrorKind::InvalidData, "this is no request for notes"))?;
    let reply = layout(&common).and_then(|layout| perform(&layout, &reference, &request));
    stdout.write_all(&encode_reply(&reply))?;
    stdout.flush()
}

fn layout(origin: &Path) -> Result<Layout, NotesError> {
    Layout::of(origin).map_err(|error| NotesError::Unreadable(error.to_string()))
}

/// Does what is asked, in a repository of our own.
fn perform(layout: &Layout, reference: &str, request: &Request) -> Result<Reply, NotesError> {
    if !reference.starts_with("refs/notes/") || !refs::is_legal(reference) {
        return Err(NotesError::Reference(reference.to_owned()));
    }
    layout::check_plain(&layout.objects()).map_err(unreadable)?;
    let objects =
        Objects::open_within(&layout.objects(), layout.kind, LARGEST).map_err(unreadable)?;
    if let Request::Read { commit } = request {
        let tree = tip(layout, reference)?
            .map(|tip| NotesTree::read(&objects, &tip))
            .transpose()?
            .unwrap_or_default();
        let blob = tree.notes.get(commit.as_str());
        let bytes = blob
            .map(|id| objects.read(id, objs::Kind::Blob, SMALL).map_err(broken))
            .transpose()?;
        return Ok(Reply::Text(
            bytes.map(|bytes| String::from_utf8_lossy(&bytes).into_owned()),
        ));
    }
    if !layout.owner.is_us() {
        return Err(NotesError::NotWritable(format!(
            "it belongs to uid {}",
            layout.owner.uid
        )));
    }
    let mut busy = String::new();
    for attempt in 0..ATTEMPTS {
        match change_once(layout, &objects, reference, request) {
            Err(Failure::Busy(why)) => busy = why,
            Err(Failure::Final(error)) => return Err(error),
            Ok(written) => return Ok(Reply::Written(written)),
        }
        std::thread::sleep(Duration::from_millis(2 << attempt));
    }
    Err(NotesError::Busy(busy))
}

enum Failure {
    Busy(String),
    Final(NotesError),
}

impl From<NotesError> for Failure {
    fn from(error: NotesError) -> Self {
        Failure::Final(error)
    }
}

fn change_once(
    layout: &Layout,
    objects: &Objects,
    reference: &str,
    request: &Request,
) -> Result<Written, Failure> {
    let parent = tip(layout, reference)?;
    let mut tree = parent
        .map(|tip| NotesTree::read(objects, &tip))
        .transpose()?
        .unwrap_or_default();
    let before = tree.notes.clone();
    let mut writer = ObjectWriter::new(objects, Durability::Synced).map_err(not_writable)?;
    let (what, time) = match request {
        Request::Write { commit, text, time } => {
            let id = objs::compute_hash(layout.kind, objs::Kind::Blob, text.as_bytes())
                .map_err(|error| unreadable(error.to_string()))?;
            if tree.notes.insert(commit.as_str().to_owned(), id) != Some(id) {
                writer
                    .write(objs::Kind::Blob, text.as_bytes())
                    .map_err(not_writable)?;
            }
            ("Notes added by muster", *time)
        }
        Request::Remove { commit, time } => {
            tree.notes.remove(commit.as_str());
            ("Notes removed by muster", *time)
        }
        Request::Prune { keep, time } => {
            let keep: BTreeSet<_> = keep.iter().map(CommitId::as_str).collect();
            tree.notes
                .retain(|commit, _| keep.contains(commit.as_str()));
            ("Notes removed by muster", *time)
        }
        Request::Read { .. } => return Ok(Written::Unchanged),
    };
    if tree.notes == before {
        return Ok(Written::Unchanged);
    }
    let tree = tree.into_tree();
    let tree = serialize(&tree)
        .and_then(|bytes| writer.write(objs::Kind::Tree, &bytes))
        .map_err(not_writable)?;
    let commit = serialize(&new_commit(tree, parent, author(reference), what, time));
    let commit = commit
        .and_then(|bytes| writer.write(objs::Kind::Commit, &bytes))
        .map_err(not_writable)?;
    writer.finish().map_err(not_writable)?;
    move_ref(layout, reference, parent, commit)?;
    Ok(Written::Changed)
}

/// `devvm` of `refs/notes/muster/host/devvm/plan`.
fn author(reference: &str) -> &str {
    reference
        .rsplit('/')
        .nth(1)
        .filter(|name| *name != "notes")
        .unwrap_or("localhost")
}

/// Notes by the hex digits of what they are about, whatever directories they were spread over.
#[derive(Default)]
struct NotesTree {
    notes: BTreeMap<String, ObjectId>,
    /// Other entries of the tree, which are somebody else's.
    others: Vec<Entry>,
}

impl NotesTree {
    fn read(objects: &Objects, tip: &ObjectId) -> Result<NotesTree, NotesError> {
        let mut read = NotesTree::default();
        let hex_len = objects.kind().len_in_hex();
        let mut todo = vec![(String::new(), objects.commit(tip).map_err(broken)?.tree)];
        while let Some((prefix, tree)) = todo.pop() {
            for entry in objects.tree(&tree).map_err(broken)? {
                let name = std::str::from_utf8(&entry.name).ok().filter(|name| {
                    name.bytes()
                        .all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'))
                });
                match (name, entry.mode) {
                    (Some(name), 0o040000) if name.len() == 2 && prefix.len() + 2 < hex_len => {
                        todo.push((format!("{prefix}{name}"), entry.id));
                    }
                    (Some(name), 0o100644) if prefix.len() + name.len() == hex_len => {
                        read.notes.insert(format!("{prefix}{name}"), entry.id);
                    }
                    _ if prefix.is_empty() => {
                        let mode = EntryMode::try_from(u32::from(entry.mode))
                            .unwrap_or(EntryKind::Blob.into());
                        read.others.push(Entry {
                            mode,
                            filename: entry.name.into(),
                            oid: entry.id,
                        });
                    }
                    _ => {}
                }
            }
        }
        Ok(read)
    }

    fn into_tree(self) -> objs::Tree {
        let notes = self.notes.into_iter();
        let notes = notes.map(|(hex, oid)| Entry {
            mode: EntryKind::Blob.into(),
            filename: hex.into(),
            oid,
        });
        let mut entries: Vec<_> = notes.chain(self.others).collect();
        entries.sort();
        objs::Tree { entries }
    }
}

fn tip(layout: &Layout, reference: &str) -> Result<Option<ObjectId>, NotesError> {
    match layout.refs {
        RefStorage::Files => refs::read(&layout.common, reference, layout.kind).map_err(unreadable),
        RefStorage::Reftable => {
            let mut command = run::git(&layout.common).map_err(NotesError::Child)?;
            // A reader that is not the owner must not run git there either.
            layout.owner.put_on(&mut command).map_err(unreadable)?;
            command.args(["for-each-ref", "--format=%(objectname)", reference]);
            let printed = run::run(command, "git for-each-ref", b"", Limits::default())
                .map_err(NotesError::Child)?;
            Ok(ObjectId::from_hex(printed.trim_ascii()).ok())
        }
    }
}

fn move_ref(
    layout: &Layout,
    reference: &str,
    before: Option<ObjectId>,
    to: ObjectId,
) -> Result<(), Failure> {
    match layout.refs {
        RefStorage::Files => {
            match refs::replace(&layout.common, reference, before, to, Durability::Synced) {
                Ok(()) => Ok(()),
                Err(error @ (RefError::Locked { .. } | RefError::Raced { .. })) => {
                    Err(Failure::Busy(error.to_string()))
                }
                Err(RefError::Io { source, .. }) => Err(not_writable(source).into()),
                Err(error @ RefError::Broken { .. }) => Err(unreadable(error).into()),
            }
        }
        RefStorage::Reftable => {
            let mut command = run::git(&layout.common).map_err(NotesError::Child)?;
            let before = before.unwrap_or(ObjectId::null(layout.kind));
            command.args([
                "update-ref",
                "--no-deref",
                reference,
                &to.to_string(),
                &before.to_string(),
            ]);
            match run::run(command, "git update-ref", b"", Limits::default()) {
                Ok(_) => Ok(()),
                Err(RunError::Failed { stderr, .. }) => Err(Failure::Busy(stderr)),
                Err(error) => Err(NotesError::Child(error).into()),
            }
        }
    }
}

fn unreadable(error: impl ToString) -> NotesError {
    NotesError::Unreadable(error.to_string())
}

fn broken(error: ReadError) -> NotesError {
    unreadable(error)
}

fn not_writable(error: io::Error) -> NotesError {
    NotesError::NotWritable(error.to_string())
}

fn encode_request(common: &Path, reference: &str, request: &Request) -> Vec<u8> {
    let mut parts = vec![
        PROTOCOL.to_vec(),
        common.as_os_str().as_bytes().to_vec(),
        reference.into(),
    ];
    match request {
        Request::Read { commit } => parts.extend([b"read".to_vec(), commit.to_string().into()]),
        Request::Write { commit, text, time } => {
            parts.extend([
                b"write".to_vec(),
                time.to_string().into(),
                commit.to_string().into(),
                text.clone().into(),
            ]);
        }
        Request::Remove { commit, time } => {
            parts.extend([
                b"remove".to_vec(),
                time.to_string().into(),
                commit.to_string().into(),
            ]);
        }
        Request::Prune { keep, time } => {
            parts.extend([b"prune".to_vec(), time.to_string().into()]);
            parts.extend(keep.iter().map(|commit| commit.to_string().into_bytes()));
        }
    }
    wire::encode(parts.iter().map(Vec::as_slice))
}

fn decode_request(bytes: &[u8]) -> Option<(PathBuf, String, Request)> {
    let parts = wire::decode(bytes)?;
    let [protocol, common, reference, verb, arguments @ ..] = parts.as_slice() else {
        return None;
    };
    if *protocol != PROTOCOL {
        return None;
    }
    let arguments: Vec<&str> = arguments
        .iter()
        .map(|part| std::str::from_utf8(part).ok())
        .collect::<Option<_>>()?;
    let request = match (*verb, arguments.as_slice()) {
        (b"read", [commit]) => Request::Read {
            commit: commit.parse().ok()?,
        },
        (b"write", [time, commit, text]) => Request::Write {
            commit: commit.parse().ok()?,
            text: (*text).to_owned(),
            time: time.parse().ok()?,
        },
        (b"remove", [time, commit]) => Request::Remove {
            commit: commit.parse().ok()?,
            time: time.parse().ok()?,
        },
        (b"prune", [time, keep @ ..]) => {
            let keep = keep
                .iter()
                .map(|commit| commit.parse().ok())
                .collect::<Option<_>>()?;
            Request::Prune {
                keep,
                time: time.parse().ok()?,
            }
        }
        _ => return None,
    };
    let common = PathBuf::from(std::ffi::OsStr::from_bytes(common));
    Some((common, String::from_utf8(reference.to_vec()).ok()?, request))
}

fn encode_reply(reply: &Result<Reply, NotesError>) -> Vec<u8> {
    let error;
    let parts: Vec<&[u8]> = match reply {
        Ok(Reply::Text(Some(text))) => vec![b"text", text.as_bytes()],
        Ok(Reply::Text(None)) => vec![b"none"],
        Ok(Reply::Written(Written::Changed)) => vec![b"changed"],
        Ok(Reply::Written(Written::Unchanged)) => vec![b"unchanged"],
        Err(NotesError::NotWritable(why)) => vec![b"not-writable", why.as_bytes()],
        Err(NotesError::Busy(why)) => vec![b"busy", why.as_bytes()],
        Err(NotesError::Reference(name)) => vec![b"reference", name.as_bytes()],
        Err(NotesError::Unreadable(why)) => vec![b"unreadable", why.as_bytes()],
        Err(other) => {
            error = other.to_string();
            vec![b"unreadable", error.as_bytes()]
        }
    };
    wire::encode(parts)
}

fn decode_reply(bytes: &[u8]) -> Result<Result<Reply, NotesError>, NotesError> {
    let parts = wire::decode(bytes).ok_or(NotesError::Answer)?;
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    Ok(match parts.as_slice() {
        [b"text", note] => Ok(Reply::Text(Some(text(note)))),
        [b"none"] => Ok(Reply::Text(None)),
        [b"changed"] => Ok(Reply::Written(Written::Changed)),
        [b"unchanged"] => Ok(Reply::Written(Written::Unchanged)),
        [b"not-writable", why] => Err(NotesError::NotWritable(text(why))),
        [b"busy", why] => Err(NotesError::Busy(text(why))),
        [b"reference", name] => Err(NotesError::Reference(text(name))),
        [b"unreadable", why] => Err(NotesError::Unreadable(text(why))),
        _ => return Err(NotesError::Answer),
    })
}
