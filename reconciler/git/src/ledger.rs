//! The ledger: a bare repository in which one executor keeps what must outlive the machine.
//!
//! It has one writer, who holds the executor's lock, and any number of readers. A commit is on the disk when
//! [`Ledger::commit`] returns: a power loss at any instant leaves the old state or the new one. A ledger that cannot be
//! read is [`LedgerError::Broken`], never taken for an empty one.

use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use gix::bstr::ByteSlice;
use gix::hash::{Kind, ObjectId, oid};
use gix::objs::tree::{EntryKind, EntryMode};
use gix::objs::{self, CommitRefIter};
use muster_core::commit::CommitId;
use muster_core::executor::{self, Executor};
use muster_core::host_key::{HostKey, verify_commit};

use crate::bare;
use crate::commits::{files_where, look_back, new_commit, serialize};
use crate::files::is_plain_name;
use crate::objects::{Objects, SMALL, Source, commit_id, object_id};
use crate::pack::{self, Keep, PackError, PackFormat, Packed};
use crate::read_error::ReadError;
use crate::refs::{self, RefError};
use crate::run::RunError;
use crate::sync::{self, Durability, EmptyRefs, ObjectWriter, sync_dir};

/// From how many loose objects on the first pack is made: the first commit of a host with many people leaves a file for
/// each shard, and every start would open them all.
const FIRST_PACK: usize = 200;

/// A ledger, open for reading; its one writer also commits.
pub struct Ledger {
    dir: PathBuf,
    reference: String,
    objects: Objects,
    /// What its commits are signed with.
    key: Option<Arc<HostKey>>,
}

/// What a ledger holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LedgerState {
    /// The commit that holds it.
    pub commit: CommitId,
    /// Every file by its path.
    pub files: BTreeMap<String, Vec<u8>>,
}

/// One commit of a ledger.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LogEntry {
    /// Its id.
    pub commit: CommitId,
    /// When it was made, in seconds since 1970 (UTC).
    pub time: i64,
    /// Its message.
    pub message: String,
}

/// Why the ledger cannot be read or written.
#[derive(Debug, thiserror::Error)]
pub enum LedgerError {
    /// There is none.
    #[error("there is no ledger in {}", .0.display())]
    Absent(PathBuf),
    /// It is there and cannot be read. A person, the remote or the journal has to say what goes on.
    #[error("the ledger {reference} in {} is broken; restore it from its remote or a backup", dir.display())]
    Broken {
        /// The repository.
        dir: PathBuf,
        /// The reference.
        reference: String,
        /// What is wrong.
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// Another commit is there than the one that was to be continued.
    #[error(
        "the ledger {reference} is at {}, not at {}; read it again",
        show(found),
        show(expected)
    )]
    Raced {
        /// The reference.
        reference: String,
        /// What the writer believed.
        expected: Option<CommitId>,
        /// What is there.
        found: Option<CommitId>,
    },
    /// A name that a ledger's reference or file cannot have.
    #[error(
        "{0:?} is no name for a reference or a file of a ledger: letters, digits, '.', '_' and '-', divided by '/'"
    )]
    Name(String),
    /// It cannot be written.
    #[error("cannot write the ledger in {}", dir.display())]
    Write {
        /// The repository.
        dir: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// Another process holds the reference's lock file.
    #[error(
        "the ledger's reference {0} is locked by another process; if none runs, remove the file {0}.lock in the ledger"
    )]
    Locked(String),
    /// git could not pack it.
    #[error("cannot pack the ledger")]
    Pack(#[source] RunError),
}

fn show(commit: &Option<CommitId>) -> &str {
    commit.as_ref().map_or("no commit", CommitId::as_str)
}

impl Ledger {
    /// Opens the ledger in `dir` (such as `ledger.git`) for its writer, or makes an empty one. `reference` is
    /// `refs/muster/<kind>/<name>`. The caller holds the executor's lock, and nobody else can write there: what a crash left behind is removed.
    pub fn open_or_create(dir: &Path, reference: &str) -> Result<Ledger, LedgerError> {
        check_reference(reference)?;
        let failed = |source| LedgerError::Write {
            dir: dir.to_owned(),
            source,
        };
        bare::create(dir, Kind::Sha1, SETTINGS).map_err(failed)?;
        for made in [dir.join("objects").as_path(), dir]
            .into_iter()
            .chain(dir.parent().filter(|dir| !dir.as_os_str().is_empty()))
        {
            sync_dir(made).map_err(failed)?;
        }
        let leftovers = sync::sweep(dir, EmptyRefs::Keep).map_err(failed)?;
        if leftovers.empty > 0 {
            tracing::warn!(ledger = %dir.display(), empty = leftovers.empty, "objects without content were removed");
        }
        let ledger = Ledger::open(dir, reference)?;
        Ok(Ledger {
            objects: ledger.objects.ours(),
            ..ledger
        })
    }

    /// Opens the ledger in `dir` for reading.
    pub fn open(dir: &Path, reference: &str) -> Result<Ledger, LedgerError> {
        check_reference(reference)?;
        if !dir.join("objects").is_dir() {
            return Err(LedgerError::Absent(dir.to_owned()));
        }
        let failed = |source| LedgerError::Write {
            dir: dir.to_owned(),
            source,
        };
        let objects = Objects::open_plain(&dir.join("objects"), Kind::Sha1).map_err(failed)?;
        Ok(Ledger {
            dir: dir.to_owned(),
            reference: reference.to_owned(),
            objects,
            key: None,
        })
    }

    /// Signs every commit from here on, as git does with `gpg.format=ssh`.
    #[must_use]
    pub fn signing_with(mut self, key: Arc<HostKey>) -> Ledger {
        self.key = Some(key);
        self
    }

    /// The commit that the ledger is at; `None` before the first.
    pub fn head(&self) -> Result<Option<CommitId>, LedgerError> {
        Ok(self.tip(&self.reference)?.map(|id| commit_id(&id)))
    }

    /// Everything that the ledger holds; `None` before the first commit.
    pub fn load(&self) -> Result<Option<LedgerState>, LedgerError> {
        self.load_where(|_| true)
    }

    /// Those files of the ledger whose path is `wanted`; the others are not even opened.
    pub fn load_where(
        &self,
        wanted: impl Fn(&str) -> bool,
    ) -> Result<Option<LedgerState>, LedgerError> {
        self.load_from(&self.reference, wanted)
    }

    /// Everything that another reference of this repository holds, such as `refs/muster/alive/host/<name>`.
    pub fn load_reference(&self, reference: &str) -> Result<Option<LedgerState>, LedgerError> {
        self.load_from(reference, |_| true)
    }

    /// One file, as it stands now; `None` when there is none.
    pub fn file(&self, path: &str) -> Result<Option<Vec<u8>>, LedgerError> {
        let held = self.load_where(|it| it == path)?;
        Ok(held.and_then(|mut it| it.files.remove(path)))
    }

    /// The executors that keep their ledger in the repository in `dir`, of every kind, in their order.
    pub fn executors(dir: &Path) -> Result<Vec<Executor>, LedgerError> {
        if !dir.join("objects").is_dir() {
            return Err(LedgerError::Absent(dir.to_owned()));
        }
        let mut all = Vec::new();
        for below in executor::ExecutorKind::ALL.map(executor::ExecutorKind::ledgers) {
            let listed =
                refs::list(dir, &below, Kind::Sha1).map_err(|source| LedgerError::Broken {
                    dir: dir.to_owned(),
                    reference: below.clone(),
                    source: Box::new(source),
                })?;
            all.extend(
                listed
                    .found
                    .keys()
                    .filter_map(|it| Executor::of_ledger_ref(it)),
            );
        }
        Ok(all)
    }

    /// The raw bytes of a commit, whose hash is its id.
    ///
    /// # Errors
    /// When it is not there or cannot be read.
    pub fn commit_bytes(&self, commit: &CommitId) -> Result<Vec<u8>, ReadError> {
        self.objects
            .read(&object_id(commit), objs::Kind::Commit, SMALL)
    }

    /// Whether the history that ends with `newer` has `older` in it, along the first parents.
    ///
    /// # Errors
    /// When a commit on the way cannot be read.
    pub fn has_within(&self, newer: &CommitId, older: &CommitId) -> Result<bool, ReadError> {
        let older = object_id(older);
        let mut next = Some(object_id(newer));
        while let Some(id) = next {
            if id == older {
                return Ok(true);
            }
            next = self.objects.commit(&id)?.parents.first().copied();
        }
        Ok(false)
    }

    /// When a commit was made, in seconds since 1970 (UTC).
    ///
    /// # Errors
    /// When it is not there or cannot be read.
    pub fn committed(&self, commit: &CommitId) -> Result<i64, ReadError> {
        Ok(self.objects.commit(&object_id(commit))?.time)
    }

    /// Those files of one commit whose path is `wanted`; the others are not even opened.
    ///
    /// # Errors
    /// When something cannot be read.
    pub fn files_at(
        &self,
        commit: &CommitId,
        wanted: &dyn Fn(&str) -> bool,
    ) -> Result<BTreeMap<String, Vec<u8>>, ReadError> {
        files_where(&self.objects, &object_id(commit), wanted)
    }

    /// The first commit that is `wanted` by its message, from `commit` back along the first parents, of `limit` at most.
    ///
    /// # Errors
    /// When a commit on the way cannot be read.
    pub fn look_back(
        &self,
        commit: &CommitId,
        limit: usize,
        wanted: &dyn Fn(&[u8]) -> bool,
    ) -> Result<Option<CommitId>, ReadError> {
        look_back(&self.objects, &object_id(commit), limit, wanted)
    }

    fn load_from(
        &self,
        reference: &str,
        wanted: impl Fn(&str) -> bool,
    ) -> Result<Option<LedgerState>, LedgerError> {
        let Some(tip) = self.tip(reference)? else {
            return Ok(None);
        };
        let files = files_where(&self.objects, &tip, &wanted)
            .map_err(|source| self.broken(reference, source))?;
        Ok(Some(LedgerState {
            commit: commit_id(&tip),
            files,
        }))
    }

    /// Adds one commit to `expected`: each path gets its new content, or goes away with `None`. `time` is in seconds
    /// since 1970 (UTC).
    ///
    /// When this returns, the commit has reached the disk. Changes that change nothing make no commit: the commit that
    /// is there is given back, unless it should be signed with our key and is not.
    pub fn commit(
        &self,
        expected: Option<&CommitId>,
        changes: &BTreeMap<String, Option<Vec<u8>>>,
        message: &str,
        time: i64,
    ) -> Result<CommitId, LedgerError> {
        let found = self.tip(&self.reference)?;
        let parent = expected.map(object_id);
        if found != parent {
            return Err(self.raced(&self.reference, parent, found));
        }
        let broken = |source: ReadError| self.broken(&self.reference, source);
        let before = self.tree_of(parent)?;
        let mut writer = self.writer()?;
        let tree = self.write_tree(&mut writer, before, changes)?;
        if let Some(parent) = parent.filter(|_| tree == before)
            && self.is_ours(&parent).map_err(broken)?
        {
            return Ok(commit_id(&parent));
        }
        self.finish(writer, &self.reference, tree, parent, parent, message, time)
    }

    /// Replaces another reference (`refs/muster/alive/<kind>/<name>`) by one commit without a parent that holds exactly
    /// `files`.
    pub fn put_alive(
        &self,
        reference: &str,
        files: &BTreeMap<String, Vec<u8>>,
        time: i64,
    ) -> Result<CommitId, LedgerError> {
        check_reference(reference)?;
        let before = match self.tip(reference) {
            // A broken liveness reference is no loss: it is written anew every few minutes.
            Err(LedgerError::Broken { .. }) => {
                refs::forget(&self.dir, reference).map_err(self.failed())?;
                None
            }
            before => before?,
        };
        let changes = files
            .iter()
            .map(|(path, bytes)| (path.clone(), Some(bytes.clone())))
            .collect();
        let mut writer = self.writer()?;
        let tree = self.write_tree(&mut writer, ObjectId::empty_tree(Kind::Sha1), &changes)?;
        self.finish(writer, reference, tree, None, before, "alive", time)
    }

    /// The last commits, newest first.
    pub fn log(&self, limit: usize) -> Result<Vec<LogEntry>, LedgerError> {
        let broken = |source: ReadError| self.broken(&self.reference, source);
        let mut entries = Vec::new();
        let mut next = self.tip(&self.reference)?;
        while let Some(id) = next.filter(|_| entries.len() < limit) {
            let bytes = self
                .objects
                .read(&id, objs::Kind::Commit, SMALL)
                .map_err(broken)?;
            let message = CommitRefIter::from_bytes(&bytes, Kind::Sha1).message();
            let message = message
                .map(|text| text.to_str_lossy().into_owned())
                .unwrap_or_default();
            let commit = self.objects.commit(&id).map_err(broken)?;
            entries.push(LogEntry {
                commit: commit_id(&id),
                time: commit.time,
                message,
            });
            next = commit.parents.first().copied();
        }
        Ok(entries)
    }

    /// Packs the repository when it has more than 5,000 loose objects or 50 packs, or is large and has no pack yet; tells whether it did.
    /// Only the writer calls this. Nothing is removed before what replaces it is on the disk.
    pub fn maintain(&mut self) -> Result<Packed, LedgerError> {
        match self.packs()?.len() {
            0 => self.maintain_above(FIRST_PACK),
            1..=pack::PACK_LIMIT => self.maintain_above(pack::LOOSE_LIMIT),
            _ => self.pack(),
        }
    }

    /// Like [`Ledger::maintain`], with another limit.
    pub fn maintain_above(&mut self, loose: usize) -> Result<Packed, LedgerError> {
        let failed = self.failed();
        if pack::count_loose(self.objects.dir()).map_err(&failed)? <= loose {
            return Ok(Packed::NotNeeded);
        }
        self.pack()
    }

    fn pack(&mut self) -> Result<Packed, LedgerError> {
        let failed = self.failed();
        // Unreferenced objects are left by crashes and by liveness commits that were replaced.
        pack::pack(&self.dir, Keep::Referenced, PackFormat::Uncompressed, &[]).map_err(
            |error| match error {
                PackError::Io(source) => failed(source),
                PackError::Git(source) => LedgerError::Pack(source),
            },
        )?;
        let packed = Objects::open_plain(self.objects.dir(), Kind::Sha1).map_err(failed)?;
        self.objects = packed.ours();
        Ok(Packed::Done)
    }

    fn packs(&self) -> Result<Vec<PathBuf>, LedgerError> {
        pack::packs(self.objects.dir()).map_err(self.failed())
    }

    fn tip(&self, reference: &str) -> Result<Option<ObjectId>, LedgerError> {
        refs::read(&self.dir, reference, Kind::Sha1).map_err(|error| self.broken(reference, error))
    }

    /// The tree of a commit; the empty one for none.
    fn tree_of(&self, commit: Option<ObjectId>) -> Result<ObjectId, LedgerError> {
        match commit.map(|commit| self.objects.commit(&commit)) {
            Some(commit) => commit
                .map(|commit| commit.tree)
                .map_err(|source| self.broken(&self.reference, source)),
            None => Ok(ObjectId::empty_tree(Kind::Sha1)),
        }
    }

    fn writer(&self) -> Result<ObjectWriter<'_>, LedgerError> {
        ObjectWriter::new(&self.objects, Durability::Synced).map_err(self.failed())
    }

    fn write_tree(
        &self,
        writer: &mut ObjectWriter<'_>,
        before: ObjectId,
        changes: &BTreeMap<String, Option<Vec<u8>>>,
    ) -> Result<ObjectId, LedgerError> {
        let failed = self.failed();
        let entries = self
            .objects
            .tree(&before)
            .map_err(|source| self.broken(&self.reference, source))?;
        let entries = entries.into_iter().map(|entry| {
            let mode = EntryMode::try_from(u32::from(entry.mode)).map_err(|_| ReadError::Damaged {
                id: before.to_string(),
            });
            Ok(objs::tree::Entry {
                mode: mode?,
                filename: entry.name.into(),
                oid: entry.id,
            })
        });
        let entries = entries
            .collect::<Result<_, ReadError>>()
            .map_err(|source| self.broken(&self.reference, source))?;
        let mut editor =
            objs::tree::Editor::new(objs::Tree { entries }, self.objects.odb(), Kind::Sha1);
        for (path, content) in changes {
            if !path.split('/').all(|name| is_plain_name(name.as_bytes())) {
                return Err(LedgerError::Name(path.clone()));
            }
            let components = path.split('/').map(gix::bstr::BStr::new);
            let edited = match content {
                Some(bytes) => {
                    let id = writer.write(objs::Kind::Blob, bytes).map_err(&failed)?;
                    editor.upsert(components, EntryKind::Blob, id)
                }
                None => editor.remove(components),
            };
            edited.map_err(|error| failed(io::Error::other(error.to_string())))?;
        }
        let tree = editor.write(|tree| writer.write(objs::Kind::Tree, &serialize(tree)?));
        tree.map_err(failed)
    }

    /// Whether a commit is signed with our key, where there is one.
    fn is_ours(&self, commit: &oid) -> Result<bool, ReadError> {
        let Some(key) = &self.key else {
            return Ok(true);
        };
        let bytes = self.objects.read(commit, objs::Kind::Commit, SMALL)?;
        Ok(verify_commit(&bytes, &key.public()).is_ok())
    }

    /// Writes a commit that no reference leads to yet: `changes` to the files of `parent`, or to none. It is on the disk
    /// when this returns.
    pub(crate) fn write_commit(
        &self,
        parent: Option<&CommitId>,
        changes: &BTreeMap<String, Option<Vec<u8>>>,
        message: &str,
        time: i64,
    ) -> Result<CommitId, LedgerError> {
        let parent = parent.map(object_id);
        let before = self.tree_of(parent)?;
        let mut writer = self.writer()?;
        let tree = self.write_tree(&mut writer, before, changes)?;
        let commit = self.commit_of(&self.reference, tree, parent, message, time)?;
        let id = writer
            .write(objs::Kind::Commit, &commit)
            .map_err(self.failed())?;
        writer.finish().map_err(self.failed())?;
        Ok(commit_id(&id))
    }

    /// The raw bytes of a commit, signed where there is a key.
    fn commit_of(
        &self,
        reference: &str,
        tree: ObjectId,
        parent: Option<ObjectId>,
        message: &str,
        time: i64,
    ) -> Result<Vec<u8>, LedgerError> {
        let host = reference.rsplit('/').next().unwrap_or(reference);
        let commit = serialize(&new_commit(tree, parent, host, message, time));
        let commit = commit.map_err(self.failed())?;
        Ok(match &self.key {
            Some(key) => key.sign_commit(&commit),
            None => commit,
        })
    }

    #[expect(
        clippy::too_many_arguments,
        reason = "the parts of one commit, named at both calls"
    )]
    fn finish(
        &self,
        mut writer: ObjectWriter<'_>,
        reference: &str,
        tree: ObjectId,
        parent: Option<ObjectId>,
        before: Option<ObjectId>,
        message: &str,
        time: i64,
    ) -> Result<CommitId, LedgerError> {
        let failed = self.failed();
        let commit = self.commit_of(reference, tree, parent, message, time)?;
        let id = writer.write(objs::Kind::Commit, &commit).map_err(&failed)?;
        writer.finish().map_err(&failed)?;
        match refs::replace(&self.dir, reference, before, id, Durability::Synced) {
            Ok(()) => Ok(commit_id(&id)),
            Err(RefError::Raced { found, .. }) => Err(self.raced(reference, before, found)),
            Err(RefError::Locked { name }) => Err(LedgerError::Locked(name)),
            Err(RefError::Io { source, .. }) => Err(failed(source)),
            Err(error @ RefError::Broken { .. }) => Err(self.broken(reference, error)),
        }
    }

    fn failed(&self) -> impl Fn(io::Error) -> LedgerError + use<> {
        let dir = self.dir.clone();
        move |source| LedgerError::Write {
            dir: dir.clone(),
            source,
        }
    }

    fn broken(
        &self,
        reference: &str,
        source: impl std::error::Error + Send + Sync + 'static,
    ) -> LedgerError {
        LedgerError::Broken {
            dir: self.dir.clone(),
            reference: reference.to_owned(),
            source: Box::new(source),
        }
    }

    fn raced(
        &self,
        reference: &str,
        expected: Option<ObjectId>,
        found: Option<ObjectId>,
    ) -> LedgerError {
        let [expected, found] = [expected, found].map(|id| id.map(|id| commit_id(&id)));
        LedgerError::Raced {
            reference: reference.to_owned(),
            expected,
            found,
        }
    }
}

fn check_reference(reference: &str) -> Result<(), LedgerError> {
    let plain = reference
        .split('/')
        .all(|name| is_plain_name(name.as_bytes()));
    if plain && reference.starts_with("refs/muster/") && refs::is_legal(reference) {
        Ok(())
    } else {
        Err(LedgerError::Name(reference.to_owned()))
    }
}

const SETTINGS: &str = "\
[core]
\tbare = true
\thooksPath = /dev/null
\tattributesFile = /dev/null
\tfsmonitor = false
\tfsync = all
\tuseReplaceRefs = false
\tcommitGraph = false
\tmultiPackIndex = false
\tlogAllRefUpdates = false
[gc]
\tauto = 0
[maintenance]
\tauto = false
[repack]
\twriteBitmaps = false
[receive]
\tdenyNonFastForwards = true
\tfsckObjects = true
";
