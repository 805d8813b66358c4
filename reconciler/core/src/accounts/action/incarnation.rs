//! Which account, and which home, a step is about.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::accounts::facts::HomeId;
use crate::id::{StepId, digits};

/// Which resource, beyond its name, a step is about. Holds only what no benign step writes, so that an approval
/// outlives everything benign and dies with the resource.
///
/// | resource | incarnation |
/// |---|---|
/// | an account to be created | how often one of that name was created here before |
/// | an account found, not yet kept | the uid found |
/// | an account kept | uid, and the id of the step that created or adopted it |
/// | a home | the account's, and inode, birth time and filesystem |
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum Incarnation {
    /// Not there yet.
    New {
        /// How often an account of this name was created here before.
        generation: u32,
    },
    /// There, but not kept by muster.
    Found {
        /// The uid it has.
        uid: u32,
    },
    /// An account that muster keeps.
    Account {
        /// Its uid.
        uid: u32,
        /// The step that created or adopted it.
        entry: StepId,
    },
    /// The home of an account that muster keeps.
    Home {
        /// The account's uid.
        uid: u32,
        /// The step that created or adopted the account.
        entry: StepId,
        /// The directory, if there is one. Few steps are about one: without the box, each would be larger by
        /// three words (`tests/bench/bench plan`).
        home: Option<Box<HomeId>>,
    },
}

impl Incarnation {
    /// The tags of incarnations in journals and ledgers.
    pub const TAGS: &[&str] = &["new", "found", "account", "home"];
}

impl fmt::Display for Incarnation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            // Of every new account: two writes, and not the machinery that knows of widths and signs.
            Self::New { generation } => {
                f.write_str("new generation=")?;
                write_digits(*generation, f)
            }
            Self::Found { uid } => write!(f, "found uid={uid}"),
            // Of every step that follows one of those.
            Self::Account { uid, entry } => {
                f.write_str("account uid=")?;
                write_digits(*uid, f)?;
                f.write_str(" entry=")?;
                fmt::Display::fmt(entry, f)
            }
            Self::Home {
                uid,
                entry,
                home: None,
            } => write!(f, "home uid={uid} entry={entry} absent"),
            Self::Home {
                uid,
                entry,
                home: Some(home),
            } => {
                let HomeId {
                    inode,
                    born,
                    filesystem,
                } = &**home;
                write!(
                    f,
                    "home uid={uid} entry={entry} inode={inode} born={born} filesystem={filesystem}"
                )
            }
        }
    }
}

fn write_digits(number: u32, f: &mut fmt::Formatter<'_>) -> fmt::Result {
    f.write_str(digits(u64::from(number), &mut [0; 20]))
}
