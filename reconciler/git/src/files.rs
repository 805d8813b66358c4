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

use crate::objects::{Entry, Source};

/// The largest file that is read, in bytes.
pub const FILE_LIMIT: u64 = 256 << 20;
/// The most that the files of one commit may be together, in bytes.
pub const TOTAL_LIMIT: u64 = 1 << 30;
/// The most files that are read of one commit.
pub const COUNT_LIMIT: usize = 100_000;
/// The deepest directory below `services/`.
pub const DEPTH_LIMIT: usize = 16;

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

/// Why a commit's files cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum ReadError {
    /// The object is in no repository that is looked at: a shallow or partial clone, or removed by `git gc`.
    #[error(
        "the object {id} is missing; a shallow or partial clone cannot be an origin: `git fetch --unshallow --refetch` there"
    )]
    Missing {
        /// Its id.
        id: String,
    },
    /// The object's content is not what its id says.
    #[error("the object {id} is damaged; `git fsck` in the origin tells more")]
    Damaged {
        /// Its id.
        id: String,
    },
    /// The id names an object of another kind.
    #[error("the object {id} is a {found}, not a {expected}")]
    WrongKind {
        /// Its id.
        id: String,
        /// What it is.
        found: String,
        /// What it has to be.
        expected: String,
    },
    /// The object is too large to be read.
    #[error("the object {id} has {size} bytes, more than the limit of {limit}")]
    TooLarge {
        /// Its id.
        id: String,
        /// Its size in bytes.
        size: u64,
        /// The limit in bytes.
        limit: u64,
    },
    /// Something other than a plain file stands where muster reads one.
    #[error("{}", display_problems(.0))]
    Paths(Vec<PathProblem>),
    /// The files together pass a limit.
    #[error("the commit has more {what} than the limit of {limit}")]
    TooMuch {
        /// Files or bytes.
        what: &'static str,
        /// The limit.
        limit: u64,
    },
    /// The repository itself cannot be opened.
    #[error("cannot open the objects")]
    Store(#[source] std::io::Error),
}

/// One path that cannot be read as a plain file.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct PathProblem {
    /// The path; bytes outside `[A-Za-z0-9._/-]` are escaped.
    pub path: String,
    /// What stands there.
    pub found: Found,
}

/// What stands in a place where only a plain file may.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Found {
    /// Mode 120000.
    Symlink,
    /// Mode 160000.
    Submodule,
    /// Mode 100755.
    Executable,
    /// A directory in the place of a file.
    Directory,
    /// A file in the place of a directory.
    NotDirectory,
    /// A mode that git does not write.
    OddMode(u16),
    /// A name with other characters than `[A-Za-z0-9._-]`.
    OddName,
    /// A directory deeper than [`DEPTH_LIMIT`].
    TooDeep,
}

impl fmt::Display for PathProblem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let PathProblem { path, found } = self;
        match found {
            Found::Symlink => write!(f, "{path}: is a symbolic link; make it a plain file"),
            Found::Submodule => write!(f, "{path}: is a submodule; make it a plain file"),
            Found::Executable => write!(
                f,
                "{path}: is executable; `git update-index --chmod=-x {path}`"
            ),
            Found::Directory => write!(f, "{path}: is a directory; make it a plain file"),
            Found::NotDirectory => write!(f, "{path}: is not a directory; move it away"),
            Found::OddMode(mode) => write!(f, "{path}: has the mode {mode:o}; only 100644 is read"),
            Found::OddName => write!(
                f,
                "{path}: names here may hold only letters, digits, '.', '_' and '-'; rename it"
            ),
            Found::TooDeep => write!(
                f,
                "{path}: is more than {DEPTH_LIMIT} directories deep; move it up"
            ),
        }
    }
}

fn display_problems(problems: &[PathProblem]) -> String {
    problems
        .iter()
        .map(PathProblem::to_string)
        .collect::<Vec<_>>()
        .join("\n")
}

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
        entry: &Entry,
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

    fn file(&mut self, path: String, entry: &Entry) -> Result<(), ReadError> {
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
            path: path.to_owned(),
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

/// The content of every file of a listing.
pub(crate) fn load(
    files: BTreeMap<String, ObjectId>,
    mut read: impl FnMut(&ObjectId) -> Result<Vec<u8>, ReadError>,
) -> Result<Files, ReadError> {
    let mut total = 0;
    let mut loaded = Files::new();
    for (path, id) in files {
        let bytes = read(&id)?;
        total += bytes.len() as u64;
        if total > TOTAL_LIMIT {
            return Err(ReadError::TooMuch {
                what: "bytes",
                limit: TOTAL_LIMIT,
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
    load(listing.into_files()?, |id| {
        objects.read(id, objs::Kind::Blob, FILE_LIMIT)
    })
}
