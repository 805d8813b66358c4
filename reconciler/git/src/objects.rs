//! Objects of one object directory, each hashed again when it is read.

use std::io;
use std::path::{Path, PathBuf};

use gix::hash::{Kind, ObjectId, oid};
use gix::objs::{self, CommitRefIter, Find, TreeRefIter};
use muster_core::commit::CommitId;
use sha1::{Digest as _, Sha1};

use crate::read_error::{FILE_LIMIT, ReadError, TOTAL_LIMIT};

/// The largest commit or tag that is read.
pub(crate) const SMALL: u64 = 64 << 20;
/// The largest tree that is read: half a million names, which take some four times as much memory.
pub(crate) const LARGEST_TREE: u64 = 16 << 20;

/// An object directory. No configuration, replacement or graft is looked at.
pub(crate) struct Objects {
    odb: gix::odb::Handle,
    dir: PathBuf,
    kind: Kind,
    /// The largest object that is decoded, in bytes.
    largest: u64,
    hashing: Hashing,
    /// Whether nobody but muster writes there, so that what has the name of an object is a file.
    is_ours: bool,
}

/// The most memory that decoding an object of `largest` bytes may take: a change of another object needs room for both, and
/// for the changes between them.
pub(crate) fn decoding(largest: u64) -> usize {
    let room = largest.saturating_mul(2).saturating_add(1 << 20);
    usize::try_from(room).unwrap_or(usize::MAX)
}

/// How an object is hashed when it is read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Hashing {
    /// With detection of SHA-1 collisions, for objects that an attacker may have written.
    AgainstCollisions,
    /// Plain and fast, to find damage: collisions were looked for before, or do not matter.
    Plain,
    /// By another process, to which the bytes are told.
    ByWhoeverAsks,
}

/// The parts of a commit that a walk through the history needs.
#[derive(Clone)]
pub(crate) struct CommitParts {
    pub(crate) tree: ObjectId,
    pub(crate) parents: Vec<ObjectId>,
    /// The committer's time, in seconds; 0 when it cannot be read. Never more than a hint for the order of a walk.
    pub(crate) time: i64,
}

/// One entry of a tree.
pub(crate) struct TreeEntry {
    pub(crate) mode: u16,
    pub(crate) name: Vec<u8>,
    pub(crate) id: ObjectId,
}

impl Objects {
    /// Opens a directory that others write.
    pub(crate) fn open(dir: &Path, kind: Kind) -> io::Result<Self> {
        Self::open_within(dir, kind, FILE_LIMIT)
    }

    /// Opens a directory that others write, for objects of at most `largest` bytes: none is decoded whose own size, or that of
    /// any object that it is stored as a change of, is larger (F7).
    pub(crate) fn open_within(dir: &Path, kind: Kind, largest: u64) -> io::Result<Self> {
        let options = gix::odb::store::init::Options {
            alloc_limit_bytes: Some(decoding(largest)),
            ..Default::default()
        };
        Ok(Objects {
            odb: gix::odb::at_opts(dir, kind, None, options)?,
            dir: dir.to_owned(),
            kind,
            largest,
            hashing: Hashing::AgainstCollisions,
            is_ours: false,
        })
    }

    /// The same directory, of which it is known that nobody but muster can write there.
    pub(crate) fn ours(self) -> Self {
        Objects {
            is_ours: true,
            ..self
        }
    }

    /// Opens a directory without the check for SHA-1 collisions: one that only muster writes, below its own state
    /// directory (objects of others were checked before they were written there), or one whose content is only shown.
    pub(crate) fn open_plain(dir: &Path, kind: Kind) -> io::Result<Self> {
        Self::open_plain_within(dir, kind, FILE_LIMIT)
    }

    /// The same for objects of at most `largest` bytes.
    pub(crate) fn open_plain_within(dir: &Path, kind: Kind, largest: u64) -> io::Result<Self> {
        let foreign = Objects::open_within(dir, kind, largest)?;
        Ok(Objects {
            hashing: Hashing::Plain,
            ..foreign
        })
    }

    pub(crate) fn dir(&self) -> &Path {
        &self.dir
    }

    pub(crate) fn kind(&self) -> Kind {
        self.kind
    }

    pub(crate) fn odb(&self) -> &gix::odb::Handle {
        &self.odb
    }

    /// Whether the object can be read back with exactly this content.
    pub(crate) fn holds(&self, id: &oid, kind: objs::Kind, data: &[u8]) -> bool {
        let mut bytes = Vec::new();
        self.odb
            .try_find(id, &mut bytes)
            .is_ok_and(|found| found.is_some_and(|found| found.kind == kind && found.data == data))
    }

    /// That what stands in the place of a loose object is a file: opening a pipe would wait for ever. Asked of others' objects, in packs
    /// or not; a start reads some 300 of our own (`tests/bench/bench noop`).
    fn check_plain(&self, id: &oid) -> Result<(), ReadError> {
        if self.is_ours {
            return Ok(());
        }
        let hex = id.to_string();
        match self.dir.join(&hex[..2]).join(&hex[2..]).metadata() {
            Ok(meta) if !meta.is_file() => Err(ReadError::Damaged { id: hex }),
            _ => Ok(()),
        }
    }

    /// What the object says it is; its content is not looked at.
    pub(crate) fn kind_of(&self, id: &oid) -> Result<objs::Kind, ReadError> {
        use gix::odb::Header as _;
        self.check_plain(id)?;
        let header = self
            .odb
            .try_header(id)
            .map_err(|_| ReadError::Damaged { id: id.to_string() })?;
        header
            .map(|header| header.kind())
            .ok_or_else(|| ReadError::Missing { id: id.to_string() })
    }

    /// Whether the object is there; its content is not looked at.
    pub(crate) fn has(&self, id: &oid) -> bool {
        use gix::odb::Header as _;
        self.check_plain(id).is_ok() && self.odb.try_header(id).is_ok_and(|header| header.is_some())
    }
}

impl Objects {
    /// The raw bytes of what is said to be an object of this kind, and at most `limit` of them, for another process that hashes them.
    pub(crate) fn read_unhashed(
        &self,
        id: &oid,
        expected: objs::Kind,
        limit: u64,
    ) -> Result<Vec<u8>, ReadError> {
        self.check_plain(id)?;
        let hash = (self.kind, Hashing::ByWhoeverAsks);
        read_verified(&self.odb, hash, id, expected, limit.min(self.largest))
    }
}

impl Source for Objects {
    fn kind(&self) -> Kind {
        self.kind
    }

    fn read(&self, id: &oid, expected: objs::Kind, limit: u64) -> Result<Vec<u8>, ReadError> {
        self.check_plain(id)?;
        let limit = limit.min(self.largest);
        read_verified(&self.odb, (self.kind, self.hashing), id, expected, limit)
    }

    fn most_bytes(&self) -> u64 {
        self.largest.min(TOTAL_LIMIT)
    }
}

/// Where objects come from; each is hashed again when it is read.
pub(crate) trait Source {
    fn kind(&self) -> Kind;

    /// The raw bytes of an object of this kind and at most `limit` bytes, whose hash is `id`.
    fn read(&self, id: &oid, expected: objs::Kind, limit: u64) -> Result<Vec<u8>, ReadError>;

    /// The most that the files of one commit may have together, in bytes.
    fn most_bytes(&self) -> u64 {
        TOTAL_LIMIT
    }

    fn commit(&self, id: &oid) -> Result<CommitParts, ReadError> {
        parse_commit(id, &self.read(id, objs::Kind::Commit, SMALL)?)
    }

    fn tree(&self, id: &oid) -> Result<Vec<TreeEntry>, ReadError> {
        if *id == *ObjectId::empty_tree(self.kind()) {
            return Ok(Vec::new());
        }
        let bytes = self.read(id, objs::Kind::Tree, LARGEST_TREE)?;
        let entries = TreeRefIter::from_bytes(&bytes, self.kind()).map(|entry| {
            let entry = entry.map_err(|_| ReadError::Damaged { id: id.to_string() })?;
            Ok(TreeEntry {
                mode: entry.mode.value(),
                name: entry.filename.to_vec(),
                id: entry.oid.to_owned(),
            })
        });
        entries.collect()
    }
}

impl<S: Source + ?Sized> Source for &S {
    fn kind(&self) -> Kind {
        (**self).kind()
    }

    fn read(&self, id: &oid, expected: objs::Kind, limit: u64) -> Result<Vec<u8>, ReadError> {
        (**self).read(id, expected, limit)
    }

    fn most_bytes(&self) -> u64 {
        (**self).most_bytes()
    }

    fn commit(&self, id: &oid) -> Result<CommitParts, ReadError> {
        (**self).commit(id)
    }
}

/// What a walk needs of the commit with these bytes.
pub(crate) fn parse_commit(id: &oid, bytes: &[u8]) -> Result<CommitParts, ReadError> {
    let iter = || CommitRefIter::from_bytes(bytes, id.kind());
    let tree = iter()
        .tree_id()
        .map_err(|_| ReadError::Damaged { id: id.to_string() })?;
    let time = iter()
        .committer()
        .ok()
        .and_then(|who| who.time().ok())
        .map_or(0, |time| time.seconds);
    Ok(CommitParts {
        tree,
        parents: iter().parent_ids().collect(),
        time,
    })
}

/// An object of a repository that is open for a merge, with those that exist only in memory.
pub(crate) fn read_merged(
    repository: &gix::Repository,
    id: &oid,
    expected: objs::Kind,
    limit: u64,
) -> Result<Vec<u8>, ReadError> {
    let hash = (repository.object_hash(), Hashing::AgainstCollisions);
    read_verified(&repository.objects, hash, id, expected, limit)
}

/// The raw bytes of an object of this kind and at most `limit` bytes, whose hash is `id`.
fn read_verified(
    odb: &(impl Find + gix::odb::Header),
    hash: (Kind, Hashing),
    id: &oid,
    expected: objs::Kind,
    limit: u64,
) -> Result<Vec<u8>, ReadError> {
    let damaged = || ReadError::Damaged { id: id.to_string() };
    let header = odb.try_header(id).map_err(|_| damaged())?;
    let header = header.ok_or_else(|| ReadError::Missing { id: id.to_string() })?;
    if header.kind() != expected {
        let (found, expected) = (header.kind().to_string(), expected.to_string());
        return Err(ReadError::WrongKind {
            id: id.to_string(),
            found,
            expected,
        });
    }
    if header.size() > limit {
        return Err(ReadError::TooLarge {
            id: id.to_string(),
            size: header.size(),
            limit,
        });
    }
    let mut bytes = Vec::with_capacity(usize::try_from(header.size()).unwrap_or_default());
    let (kind, len) = match odb.try_find(id, &mut bytes) {
        Ok(Some(found)) => (found.kind, found.data.len()),
        Err(error) if error.is_resource_exhausted() => {
            return Err(ReadError::TooCostly { id: id.to_string() });
        }
        Ok(None) | Err(_) => return Err(damaged()),
    };
    bytes.truncate(len);
    let same = match hash {
        (_, Hashing::ByWhoeverAsks) => true,
        (Kind::Sha1, Hashing::Plain) => {
            let head = format!("{kind} {}\0", bytes.len());
            let found = Sha1::new().chain_update(head).chain_update(&bytes);
            found.finalize().as_slice() == id.as_bytes()
        }
        (hash, _) => objs::compute_hash(hash, kind, &bytes).is_ok_and(|found| *found == *id),
    };
    if kind == expected && same {
        Ok(bytes)
    } else {
        Err(damaged())
    }
}

/// The object id of a commit id.
pub(crate) fn object_id(id: &CommitId) -> ObjectId {
    ObjectId::from_hex(id.as_str().as_bytes())
        .expect("invariant: a CommitId is 40 or 64 hex digits")
}

/// The commit id of an object id.
pub(crate) fn commit_id(id: &oid) -> CommitId {
    id.to_string()
        .parse()
        .expect("invariant: an object id prints as 40 or 64 lower-case hex digits")
}
