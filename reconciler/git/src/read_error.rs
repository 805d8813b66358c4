//! Why something of a commit is not read: the limits, and the errors.

use std::fmt;

/// The largest file that is read, in bytes.
pub const FILE_LIMIT: u64 = 256 << 20;
/// The most that the files of one commit may be together, in bytes.
pub const TOTAL_LIMIT: u64 = 256 << 20;
/// The most files that are read of one commit.
pub const COUNT_LIMIT: usize = 100_000;
/// The deepest directory below `services/`.
pub const DEPTH_LIMIT: usize = 16;

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
    /// The object is stored as a change of something that is too large to be read.
    #[error(
        "the object {id} is stored as a change of something too large to be read; `git repack -adF` in the origin stores it anew"
    )]
    TooCostly {
        /// Its id.
        id: String,
    },
    /// The process that reads died of it, or took too long, each time.
    #[error("{why}")]
    Reader {
        /// What became of it.
        why: String,
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

impl ReadError {
    /// Whether it is too large to be read, or costs too much.
    pub fn is_of_size(&self) -> bool {
        match self {
            ReadError::TooLarge { .. }
            | ReadError::TooCostly { .. }
            | ReadError::TooMuch { .. }
            | ReadError::Reader { .. } => true,
            ReadError::Missing { .. }
            | ReadError::Damaged { .. }
            | ReadError::WrongKind { .. }
            | ReadError::Paths(_)
            | ReadError::Store(_) => false,
        }
    }
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
