//! The edits. Each checks everything first, so that one that fails has changed nothing; none of them does I/O.

mod account;
mod groups;
mod login;
mod rename;

pub use account::{NewAccount, PrimaryGroup, Removed};

use super::fields::{Group as GroupLine, Gshadow, Passwd, Shadow};
use super::{Databases, File, Found, IdRange, LineId, Table};

/// Why an edit was refused. Nothing was changed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum EditError {
    /// The name could be taken for something else.
    #[error("{name:?} cannot be the name of an account or a group")]
    BadName {
        /// The name.
        name: String,
    },
    /// A field would spoil its line, or is no absolute path.
    #[error("{value:?} cannot be written as the {field} of an account")]
    BadField {
        /// Which field.
        field: &'static str,
        /// What was asked for.
        value: String,
    },
    /// There is no such entry.
    #[error("there is no {name} in {file}")]
    NotFound {
        /// Where it was looked for.
        file: File,
        /// The name.
        name: String,
    },
    /// There is such an entry already.
    #[error("{name} is in {file} already")]
    Exists {
        /// Where it was found.
        file: File,
        /// The name.
        name: String,
    },
    /// Several lines have the name.
    #[error("{file} has more than one line for {name}; remove all but one with vipw or vigr")]
    Repeated {
        /// The file.
        file: File,
        /// The name.
        name: String,
    },
    /// The line of that name cannot be read.
    #[error("{file}:{line}: the line of {name} is malformed; correct it with vipw or vigr")]
    Malformed {
        /// The file.
        file: File,
        /// The line as it was read, counted from 1.
        line: usize,
        /// The name.
        name: String,
    },
    /// An id belongs to somebody, or did until this batch.
    #[error("id {id} is in use in {file}")]
    IdInUse {
        /// passwd for a uid, group for a gid.
        file: File,
        /// The id.
        id: u32,
    },
    /// A range of subordinate ids shares one with somebody else's.
    #[error("the range {}:{} overlaps {}:{}, which {file} gives to {owner}", range.first, range.count, theirs.first, theirs.count)]
    RangeInUse {
        /// subuid or subgid.
        file: File,
        /// What was asked for.
        range: IdRange,
        /// What is there.
        theirs: IdRange,
        /// To whom it belongs.
        owner: String,
    },
    /// A range was asked for, and there is no file to write it to.
    #[error(
        "{file} does not exist, so no range can be given to {name}; create the file, empty, or set the count to 0 in /etc/login.defs"
    )]
    NoFile {
        /// subuid or subgid.
        file: File,
        /// The account.
        name: String,
    },
    /// The password cannot be locked or unlocked because shadow has no line for the account.
    #[error("{} has no line for {name}; run pwconv", File::Shadow)]
    NoShadowLine {
        /// The account.
        name: String,
    },
    /// Unlocking would leave no password at all.
    #[error(
        "nothing is behind the lock of {name}'s password, so unlocking it would let anybody in"
    )]
    NothingToUnlock {
        /// The account.
        name: String,
    },
    /// The account is not the one that was meant.
    #[error("{name} has gid {found}, not {expected}; it is another account than the one meant")]
    OtherAccount {
        /// The account.
        name: String,
        /// Its primary gid.
        found: u32,
        /// The gid that was expected.
        expected: u32,
    },
    /// The name lost its account earlier in the same batch.
    #[error("{name} was removed in this batch; it can be used again in the next one")]
    JustRemoved {
        /// The name.
        name: String,
    },
}

impl Databases {
    fn table(&self, file: File) -> &Table {
        match file {
            File::Shadow => &self.shadow,
            File::Group => &self.group,
            File::Gshadow => &self.gshadow,
            File::Passwd | File::Subuid | File::Subgid => &self.passwd,
        }
    }

    fn optional_line_of(&self, file: File, name: &str) -> Result<Option<LineId>, EditError> {
        let table = self.table(file);
        match table.find(name) {
            Found::Nothing => Ok(None),
            Found::Entry(id) => Ok(Some(id)),
            Found::Repeated => Err(EditError::Repeated {
                file,
                name: name.to_owned(),
            }),
            Found::Odd(id) => Err(EditError::Malformed {
                file,
                line: table.number(id).unwrap_or_default(),
                name: name.to_owned(),
            }),
        }
    }

    fn line_of(&self, file: File, name: &str) -> Result<LineId, EditError> {
        self.optional_line_of(file, name)?
            .ok_or_else(|| EditError::NotFound {
                file,
                name: name.to_owned(),
            })
    }

    /// Whether passwd has at most one line of that name, and one that can be read.
    pub(crate) fn check_account_line(&self, name: &str) -> Result<(), EditError> {
        self.check_readable(File::Passwd, name)
    }

    fn check_readable(&self, file: File, name: &str) -> Result<(), EditError> {
        self.optional_line_of(file, name).map(drop)
    }

    fn check_new(&self, file: File, name: &str) -> Result<(), EditError> {
        match self.optional_line_of(file, name)? {
            Some(_) => Err(EditError::Exists {
                file,
                name: name.to_owned(),
            }),
            None if self.table(file).has_removed(name) && file == File::Group => {
                Err(EditError::JustRemoved {
                    name: name.to_owned(),
                })
            }
            None => Ok(()),
        }
    }

    fn check_gid(&self, gid: u32) -> Result<(), EditError> {
        if self.ids().gids.contains(&gid) {
            Err(EditError::IdInUse {
                file: File::Group,
                id: gid,
            })
        } else {
            Ok(())
        }
    }

    fn note_ids(&mut self, uid: Option<u32>, gid: u32, primary: Primary) {
        let Some(ids) = self.ids.get_mut() else {
            return;
        };
        ids.uids.extend(uid);
        ids.gids.insert(gid);
        match primary {
            Primary::Gained => *ids.primary.entry(gid).or_default() += 1,
            Primary::Lost => {
                if let Some(count) = ids.primary.get_mut(&gid) {
                    *count -= 1;
                }
            }
            Primary::Same => {}
        }
    }
}

#[derive(Clone, Copy)]
enum Primary {
    Gained,
    Lost,
    Same,
}

trait Line<'a>: Sized {
    fn parse_line(line: &'a [u8]) -> Option<Self>;
}

macro_rules! line {
    ($($type:ident),*) => {
        $(impl<'a> Line<'a> for $type<'a> {
            fn parse_line(line: &'a [u8]) -> Option<Self> {
                Self::parse(line)
            }
        })*
    };
}

line!(Passwd, Shadow, GroupLine, Gshadow);

/// A line that is known to be an entry: that is what its [`LineId`] was found as.
fn parsed<'a, L: Line<'a>>(line: &'a [u8]) -> L {
    L::parse_line(line).expect("BUG: only entries are found by name")
}
