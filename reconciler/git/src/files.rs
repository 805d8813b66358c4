//! The files of a commit that muster reads, and no others.
//!
//! ```text
//! roster.yaml   tiers.yaml   hosts/*   guests/*   clusters/*   services/**
//! ```
//!
//! Only plain files are read there. A symbolic link, a submodule, an executable file or an odd name in one of these
//! places is refused with its path, all of them together; whatever stands elsewhere in the repository is not looked at.

use std::collections::BTreeMap;
use std::fmt;

use gix::hash::ObjectId;
use gix::objs;

use muster_core::services::names::shown;

use crate::objects::{Source, TreeEntry};
pub use crate::read_error::{
    COUNT_LIMIT, DEPTH_LIMIT, FILE_LIMIT, Found, PathProblem, ReadError, TOTAL_LIMIT,
};

const FILES: [&str; 2] = ["roster.yaml", "tiers.yaml"];
const FLAT_DIRS: [&str; 3] = ["hosts", "guests", "clusters"];
const DEEP_DIRS: [&str; 1] = ["services"];

/// The id of a file's content. Equal ids mean equal bytes, so that what was parsed once need not be parsed again.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct BlobId(pub(crate) ObjectId);

impl fmt::Display for BlobId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// One file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct File {
    /// The id of its content.
    pub id: BlobId,
    /// Its content.
    pub bytes: Vec<u8>,
}

/// The files of a commit by path (`hosts/devvm.yaml`).
pub type Files = BTreeMap<String, File>;

/// What a tree holds in the places that muster reads.
#[derive(Default)]
pub(crate) struct Listing {
    pub(crate) files: BTreeMap<String, ObjectId>,
    /// The trees that were read, a parent before its children.
    pub(crate) trees: Vec<ObjectId>,
    pub(crate) problems: Vec<PathProblem>,
}

impl Listing {
    /// Reads the trees below `root`.
    pub(crate) fn read(objects: &impl Source, root: ObjectId) -> Result<Listing, ReadError> {
        let mut listing = Listing::default();
        listing.trees.push(root);
        for entry in objects.tree(&root)? {
            let Ok(name) = std::str::from_utf8(&entry.name) else {
                continue;
            };
            if FILES.contains(&name) {
                listing.file(name.to_owned(), &entry)?;
            } else if FLAT_DIRS.contains(&name) {
                listing.dir(objects, name, &entry, None)?;
            } else if DEEP_DIRS.contains(&name) {
                listing.dir(objects, name, &entry, Some(1))?;
            }
        }
        listing.problems.sort();
        Ok(listing)
    }

    /// `depth` is how deep this directory is, or `None` when the directories in it are not looked at.
    fn dir(
        &mut self,
        objects: &impl Source,
        path: &str,
        entry: &TreeEntry,
        depth: Option<usize>,
    ) -> Result<(), ReadError> {
        match entry.mode {
            0o040000 => {}
            0o120000 => return self.problem(path, Found::Symlink),
            0o160000 => return self.problem(path, Found::Submodule),
            _ => return self.problem(path, Found::NotDirectory),
        }
        self.trees.push(entry.id);
        for entry in objects.tree(&entry.id)? {
            let is_dir = entry.mode == 0o040000;
            let below = format!("{path}/{}", entry.name.escape_ascii());
            match (is_dir, depth) {
                (true, None) => {}
                _ if !is_plain_name(&entry.name) => self.problem(&below, Found::OddName)?,
                (true, Some(depth)) if depth >= DEPTH_LIMIT => {
                    self.problem(&below, Found::TooDeep)?
                }
                (true, Some(depth)) => self.dir(objects, &below, &entry, Some(depth + 1))?,
                (false, _) => self.file(below, &entry)?,
            }
        }
        Ok(())
    }

    fn file(&mut self, path: String, entry: &TreeEntry) -> Result<(), ReadError> {
        match entry.mode {
            0o100644 => {
                self.files.insert(path, entry.id);
            }
            0o100755 => self.problem(&path, Found::Executable)?,
            0o120000 => self.problem(&path, Found::Symlink)?,
            0o160000 => self.problem(&path, Found::Submodule)?,
            0o040000 => self.problem(&path, Found::Directory)?,
            odd => self.problem(&path, Found::OddMode(odd))?,
        }
        self.check_count()
    }

    fn problem(&mut self, path: &str, found: Found) -> Result<(), ReadError> {
        self.problems.push(PathProblem {
            // A name can be a secret itself (LB5).
            path: shown(path).to_owned(),
            found,
        });
        self.check_count()
    }

    fn check_count(&self) -> Result<(), ReadError> {
        if self.files.len() + self.problems.len() + self.trees.len() > COUNT_LIMIT {
            return Err(ReadError::TooMuch {
                what: "files",
                limit: COUNT_LIMIT as u64,
            });
        }
        Ok(())
    }

    /// The files, unless one of the places holds something else.
    pub(crate) fn into_files(self) -> Result<BTreeMap<String, ObjectId>, ReadError> {
        if self.problems.is_empty() {
            Ok(self.files)
        } else {
            Err(ReadError::Paths(self.problems))
        }
    }
}

pub(crate) fn is_plain_name(name: &[u8]) -> bool {
    let plain = |byte: &u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'_' | b'-');
    !name.is_empty()
        && name != b"."
        && name != b".."
        && !name.eq_ignore_ascii_case(b".git")
        && name.iter().all(plain)
}

/// The content of every file of a listing, of at most `limit` bytes together.
pub(crate) fn load(
    files: BTreeMap<String, ObjectId>,
    limit: u64,
    mut read: impl FnMut(&ObjectId) -> Result<Vec<u8>, ReadError>,
) -> Result<Files, ReadError> {
    let mut total = 0;
    let mut loaded = Files::new();
    for (path, id) in files {
        let bytes = read(&id)?;
        total += bytes.len() as u64;
        if total > limit {
            return Err(ReadError::TooMuch {
                what: "bytes",
                limit,
            });
        }
        loaded.insert(
            path,
            File {
                id: BlobId(id),
                bytes,
            },
        );
    }
    Ok(loaded)
}

/// Every file of `tree` in the places that muster reads.
pub(crate) fn files_of(objects: &impl Source, tree: ObjectId) -> Result<Files, ReadError> {
    let listing = Listing::read(objects, tree)?;
    load(listing.into_files()?, objects.most_bytes(), |id| {
        objects.read(id, objs::Kind::Blob, FILE_LIMIT)
    })
}

/// The content of the plain file at a path, wherever in the tree that is.
pub(crate) fn blob_in(
    objects: &impl Source,
    root: ObjectId,
    path: &str,
) -> Result<Option<Vec<u8>>, ReadError> {
    let mut tree = root;
    let mut parts = path.split('/').take(DEPTH_LIMIT).peekable();
    while let Some(part) = parts.next() {
        let entries = objects.tree(&tree)?;
        let Some(entry) = entries.iter().find(|it| it.name == part.as_bytes()) else {
            return Ok(None);
        };
        match (entry.mode, parts.peek()) {
            (0o040000, Some(_)) => tree = entry.id,
            (0o100644 | 0o100755, None) => {
                let bytes = objects.read(&entry.id, objs::Kind::Blob, FILE_LIMIT)?;
                return Ok(Some(bytes));
            }
            _ => return Ok(None),
        }
    }
    Ok(None)
}
