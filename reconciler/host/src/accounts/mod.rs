//! The account databases: passwd, shadow, group, gshadow, subuid and subgid of a root directory.
//!
//! They are read as lines, edited in memory, and written back in one batch under the lock of the shadow suite:
//!
//! ```no_run
//! # use muster_host::{accounts::{Locked, LoginDefs}, root::{Ownership, RootDir}};
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let root = RootDir::open("/".as_ref(), Ownership::Performed)?;
//! let locked = Locked::take(&root, Locked::WAIT)?;
//! let mut databases = locked.read()?;
//! databases.join_group("emo", "docker")?;
//! locked.commit(databases)?;
//! # Ok(())
//! # }
//! ```
//!
//! Lines that no edit touches stay byte for byte: comments, blank lines, NIS entries, lines with too few or too many
//! fields, bytes that are not UTF-8. What an edit touches is written as useradd, usermod, groupadd, groupmod, gpasswd, userdel and chage of
//! shadow 4.13 (Debian 12) would have left it, given the same ids; the tests compare with them. The differences:
//!
//! | the tools | here |
//! |---|---|
//! | rewrite the line they are asked about even when nothing in it changes, and so normalise it | a line whose fields do not change keeps its bytes |
//! | keep as backup `passwd-` a copy of the file before their own call, with mode bits beyond 0664 taken off | keep the old file itself: what was there before the batch |
//! | store the backup and then the file, each with its own fsync, one program call after the other | all new files are synced together, then renamed, then the directory is synced |
//! | edit a name that stands on a line they cannot read as if it were free | refuse, naming the line |
//! | read shadow lines of five fields, an old form | such a line is kept, and refused when it is to be edited |
//! | join `group` lines that end in a backslash, which the C library does not | such a line is refused when it is to be edited |
//! | split large groups when `MAX_MEMBERS_PER_GROUP` is set | never split |
//! | allocate ids themselves: the highest one used plus one | are given ids; [`free_ids`] gives the lowest, [`free_ranges`] what useradd would |
//! | `useradd` takes over a shadow or gshadow line that stands under the name already | the same |
//! | `useradd` refuses a group of the name | the same, save for the empty one that an interrupted batch left with that gid |
//! | `useradd` sorts subuid and subgid by range before it adds to them, comments and broken lines going to the end in reverse | the same |
//! | `usermod -p` sets the date of the last change | [`Databases::restore_login`] restores the field and leaves that date alone |
//! | `usermod -L` and `-e` do nothing, or make a line, where shadow has none | refused: run `pwconv` |
//! | `userdel` warns and goes on when a private group has members | the same: the group stays |
//! | `usermod -l` leaves group, subuid and subgid under the old name | a rename moves them, as `groupmod -n` and `usermod -v -w -V -W` would |
//!
//! A missing shadow file means that passwd holds the password fields; a missing gshadow, subuid or subgid that there
//! are no group administrators or ranges. None of them is ever made: `pwconv`, `grpconv` and an administrator do that.

mod commit;
mod edit;
mod entries;
mod fields;
mod free;
mod lock;
mod login_defs;
mod names;
mod saved;
mod subordinate;
mod table;

use std::cell::OnceCell;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

pub use commit::{CommitError, Committed, forget_cached};
pub use edit::{EditError, NewAccount, PrimaryGroup, Removed};
pub use entries::{Account, Group, PasswordField};
pub use free::{IdRange, free_ids, free_ranges, lowest_free_uid};
pub use lock::{LockError, Locked};
pub use login_defs::{Aging, LoginDefs, LoginDefsError, UseraddDefaults};
pub use saved::{SavedLogin, SavedLoginError};

use crate::root::{RootDir, RootError};
use commit::Stamp;
use fields::is_nis;
use subordinate::Ranges;
use table::{Found, LineId, Table};

/// One of the six files.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum File {
    /// Subordinate uids.
    Subuid,
    /// Subordinate gids.
    Subgid,
    /// Groups and their members.
    Group,
    /// Group passwords, administrators, and members once more.
    Gshadow,
    /// Password fields and their dates.
    Shadow,
    /// Accounts.
    Passwd,
}

impl File {
    /// All of them, in the order they are written in.
    pub const ALL: [Self; 6] = [
        Self::Subuid,
        Self::Subgid,
        Self::Group,
        Self::Gshadow,
        Self::Shadow,
        Self::Passwd,
    ];

    /// Its name inside `/etc`.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Passwd => "passwd",
            Self::Shadow => "shadow",
            Self::Group => "group",
            Self::Gshadow => "gshadow",
            Self::Subuid => "subuid",
            Self::Subgid => "subgid",
        }
    }
}

impl fmt::Display for File {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "/etc/{}", self.name())
    }
}

/// Why the databases could not be read.
#[derive(Debug, thiserror::Error)]
pub enum ReadError {
    /// The file system refused.
    #[error("cannot read the account databases")]
    Root(#[from] RootError),
    /// passwd or group is missing; without them there is nothing to stand on.
    #[error("{file} does not exist; restore it, for example from {file}-")]
    Missing {
        /// The file.
        file: File,
    },
    /// passwd has no account of root, as when it was emptied or cut off.
    #[error("{file} has no account with uid 0; restore it, for example from {file}-")]
    NoRoot {
        /// The file.
        file: File,
    },
    /// A file that has lines on every system has none.
    #[error("{file} is empty; restore it, for example from {file}-")]
    Empty {
        /// The file.
        file: File,
    },
    /// A file has a NUL byte, as after a crash of the file system.
    #[error("{file}:{line}: there is a NUL byte in the file; restore it, for example from {file}-")]
    Nul {
        /// The file.
        file: File,
        /// The line, counted from 1.
        line: usize,
    },
    /// A file has more lines than there are ids.
    #[error("{file} has more lines than there can be ids; restore it, for example from {file}-")]
    TooLong {
        /// The file.
        file: File,
    },
}

/// The six files, as they were read and as they are to be.
#[derive(Debug)]
pub struct Databases {
    passwd: Table,
    shadow: Table,
    group: Table,
    gshadow: Table,
    subuid: Ranges,
    subgid: Ranges,
    stamps: BTreeMap<File, Option<Stamp>>,
    ids: OnceCell<Ids>,
    /// Names that lost their account in this batch.
    departed: BTreeSet<String>,
}

/// Ids given out by the files as read or edited; those removed since are kept, so that a batch never gives them again.
#[derive(Debug, Default)]
struct Ids {
    uids: BTreeSet<u32>,
    gids: BTreeSet<u32>,
    /// How many accounts have a gid as their primary group, now.
    primary: BTreeMap<u32, usize>,
}

/// Whether some line of passwd is an account with uid 0: on every system that runs, one is.
fn has_root(passwd: &[u8]) -> bool {
    let mut lines = passwd.split(|byte| *byte == b'\n');
    lines.any(|line| line.split(|byte| *byte == b':').nth(2) == Some(b"0"))
}

impl Databases {
    /// Reads the files of `root`. To change them, take the lock and read under it: [`Locked::read`].
    ///
    /// # Errors
    /// When a file cannot be read, or cannot be understood well enough to be edited.
    pub fn read(root: &RootDir) -> Result<Self, ReadError> {
        let etc = root.directory("etc")?;
        let mut stamps = BTreeMap::new();
        let mut bytes = |file: File| -> Result<Option<Vec<u8>>, ReadError> {
            let read = etc.read(file.name())?;
            stamps.insert(file, read.as_ref().map(|(_, stat)| Stamp::of(stat)));
            Ok(read.map(|(bytes, _)| bytes))
        };
        let mut there = |file: File| bytes(file)?.ok_or(ReadError::Missing { file });
        let (passwd, group) = (there(File::Passwd)?, there(File::Group)?);
        if group.is_empty() {
            return Err(ReadError::Empty { file: File::Group });
        }
        if !has_root(&passwd) {
            return Err(ReadError::NoRoot { file: File::Passwd });
        }
        let shadow = bytes(File::Shadow)?;
        if shadow.as_ref().is_some_and(Vec::is_empty) {
            return Err(ReadError::Empty { file: File::Shadow });
        }
        Ok(Self {
            passwd: Table::parse(File::Passwd, Some(passwd))?,
            shadow: Table::parse(File::Shadow, shadow)?,
            group: Table::parse(File::Group, Some(group))?,
            gshadow: Table::parse(File::Gshadow, bytes(File::Gshadow)?)?,
            subuid: Ranges::parse(File::Subuid, bytes(File::Subuid)?)?,
            subgid: Ranges::parse(File::Subgid, bytes(File::Subgid)?)?,
            stamps,
            ids: OnceCell::new(),
            departed: BTreeSet::new(),
        })
    }

    /// Whether the file exists.
    #[must_use]
    pub fn has(&self, file: File) -> bool {
        match file {
            File::Passwd => self.passwd.is_present(),
            File::Shadow => self.shadow.is_present(),
            File::Group => self.group.is_present(),
            File::Gshadow => self.gshadow.is_present(),
            File::Subuid => self.subuid.is_present(),
            File::Subgid => self.subgid.is_present(),
        }
    }

    /// Owner and range of every line of subuid. An owner is a name or a uid in digits.
    pub fn subuids(&self) -> impl Iterator<Item = (&str, IdRange)> {
        self.subuid.ranges()
    }

    /// Owner and range of every line of subgid. An owner is a name or a uid in digits.
    pub fn subgids(&self) -> impl Iterator<Item = (&str, IdRange)> {
        self.subgid.ranges()
    }

    /// Every uid that passwd has, also on a line that cannot be read otherwise, and those that edits removed.
    #[must_use]
    pub fn uids_in_use(&self) -> &BTreeSet<u32> {
        &self.ids().uids
    }

    /// Name and uid of every line of passwd that has a uid, also of one that cannot be read otherwise.
    pub fn claimed_uids(&self) -> impl Iterator<Item = (&str, u32)> {
        let lines = self.passwd.lines().map(|(_, line)| line);
        lines.filter(|line| !is_nis(line)).filter_map(|line| {
            let (uid, _) = fields::apparent_ids(line)?;
            // A name that is not UTF-8 is somebody's all the same.
            let name = std::str::from_utf8(fields::first(line)).unwrap_or("somebody");
            Some((name, uid))
        })
    }

    /// The gids that lines of group have and accounts have as their primary one, also of lines that cannot be read otherwise; one
    /// may come more than once.
    pub fn claimed_gids(&self) -> impl Iterator<Item = u32> {
        let primary = self.passwd.lines().filter_map(|(_, line)| {
            let (_, gid) = fields::apparent_ids(line)?;
            Some(gid)
        });
        let groups = self.group.lines();
        primary.chain(groups.filter_map(|(_, line)| fields::apparent_id(line)))
    }

    /// Every gid that group has or an account has as its primary one, and those that edits removed.
    #[must_use]
    pub fn gids_in_use(&self) -> &BTreeSet<u32> {
        &self.ids().gids
    }

    /// Every range of subuid, and those that edits removed.
    pub fn subuid_ranges_in_use(&self) -> impl Iterator<Item = IdRange> {
        self.subuid.ranges_ever()
    }

    /// Every range of subgid, and those that edits removed.
    pub fn subgid_ranges_in_use(&self) -> impl Iterator<Item = IdRange> {
        self.subgid.ranges_ever()
    }

    /// Lines of the four tables that are neither an entry nor a comment, blank or for NIS: file and line number. `pwck`
    /// and `grpck` would offer to delete them.
    #[must_use]
    pub fn odd_lines(&self) -> Vec<(File, usize)> {
        let tables = [
            (File::Passwd, &self.passwd),
            (File::Shadow, &self.shadow),
            (File::Group, &self.group),
            (File::Gshadow, &self.gshadow),
        ];
        tables
            .into_iter()
            .flat_map(|(file, table)| {
                table
                    .lines()
                    .filter(move |(_, line)| {
                        !line.is_empty()
                            && !is_nis(line)
                            && line[0] != b'#'
                            && !table::is_entry(file, line)
                    })
                    .filter_map(move |(id, _)| Some((file, table.number(id)?)))
            })
            .collect()
    }

    fn ids(&self) -> &Ids {
        self.ids.get_or_init(|| {
            let ids = |line| fields::apparent_ids(line);
            let (uids, _): (Vec<u32>, Vec<u32>) = self.passwd.lines_ever().filter_map(ids).unzip();
            let (_, mut primary): (Vec<u32>, Vec<u32>) = self
                .passwd
                .lines()
                .filter_map(|(_, line)| ids(line))
                .unzip();
            let groups = self.group.lines_ever().filter_map(fields::apparent_id);
            let gids = groups.chain(primary.iter().copied()).collect();
            primary.sort_unstable();
            let primary = primary
                .chunk_by(|a, b| a == b)
                .map(|same| (same[0], same.len()))
                .collect();
            Ids {
                uids: uids.into_iter().collect(),
                gids,
                primary,
            }
        })
    }
}

#[cfg(test)]
mod tests;
