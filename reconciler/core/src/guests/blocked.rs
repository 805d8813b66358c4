//! What stands against a step about a guest, beyond a protected name.

use std::collections::BTreeMap;
use std::fmt;

use super::say::memory;
use super::used::told;

/// What stands against a step about a guest.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Blocked {
    /// The hypervisor locked it for something else (H10).
    Locked(String),
    /// The hypervisor works at it (H10).
    Busy(String),
    /// The high availability manager looks after it, so it cannot be deleted or overwritten (GB2).
    HighlyAvailable,
    /// The high availability manager is in the middle of something: its word for it.
    HaAtWork(String),
    /// It is a template.
    Template,
    /// Somebody protected it at the hypervisor.
    Protection,
    /// There is no token that may make guests (H9).
    NoCreateToken,
    /// There is no token that may delete (H9).
    NoReleaseToken,
    /// The settings do not list what it is to be made of (H4).
    NotListed {
        /// What: `template`, `storage`.
        what: &'static str,
        /// Its name in the row.
        name: String,
    },
    /// The settings list sizes, and this is none of them (H4).
    Size {
        /// Cores, where the row says how many.
        cores: Option<u32>,
        /// Memory, in MiB, where the row says how much.
        memory: Option<u64>,
    },
    /// Muster would have made more guests than the settings let it.
    TooManyGuests {
        /// How many they let it.
        most: usize,
    },
    /// The guests that muster made would have more memory than the settings let them.
    TooMuchMemory {
        /// How much they would have, in MiB.
        memory: u64,
        /// How much they may have, in MiB.
        most: u64,
    },
    /// The same refusal came back several times (GB12).
    Refused {
        /// How often.
        times: u32,
        /// In the hypervisor's words.
        why: String,
    },
    /// No backup of it is in the journal, so nothing would be left.
    NoBackup,
    /// No backup of it holds some of its volumes, which would be lost (H7, GB8).
    Unsaved(Unsaved),
    /// Somebody used it since it was set aside: the signs of it (H7).
    Used(Vec<String>),
    /// Whether somebody started it since it was set aside cannot be seen: why (H7).
    UseUnseen(String),
    /// A backup on which the step relies is not as it should be.
    Spoilt {
        /// Which.
        backup: String,
        /// How it is.
        why: String,
    },
    /// The backup that is to be put in its place is another guest's (H8).
    OthersBackup {
        /// Which.
        backup: String,
        /// Whose.
        owner: String,
    },
    /// Another guest has its name meanwhile, so it cannot be given back.
    NameTaken,
}

impl fmt::Display for Blocked {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Locked(why) => write!(f, "the hypervisor has locked the guest ({why}); it waits until that is over"),
            Self::Busy(task) => write!(f, "the hypervisor is at work on the guest ({task}); it waits until that is over"),
            Self::HighlyAvailable => f.write_str(
                "the high availability manager looks after the guest; take it out there first",
            ),
            Self::HaAtWork(state) => write!(
                f,
                "the high availability manager is at work on the guest ({state}); it waits until that is over"
            ),
            Self::Template => f.write_str("the guest is a template, which neither runs nor changes"),
            Self::Protection => f.write_str(
                "the guest is protected at the hypervisor; take the protection off there, if its end is meant",
            ),
            Self::NoCreateToken => f.write_str(
                "the settings have no create_token with a scratch (on a socket: no scratch), without which muster makes, discards and tries no guest",
            ),
            Self::NoReleaseToken => f.write_str(
                "the settings have no release_token, without which muster deletes and overwrites no guest",
            ),
            Self::NotListed { what, name } => write!(
                f,
                "the settings list no {what} {name:?} that guests may be made with; an administrator can add it to [guests.create]"
            ),
            Self::Size { cores, memory: mebibytes } => {
                let cores = cores.map_or("no number of cores".to_owned(), |it| format!("{it} cores"));
                let size = mebibytes.map_or("no memory".to_owned(), memory);
                write!(f, "the settings list the sizes of guests that muster makes, and {cores} with {size} is none of them")
            }
            Self::TooManyGuests { most } => {
                write!(f, "the settings let muster make {most} guests, and this would be one more")
            }
            Self::TooMuchMemory { memory: wanted, most } => write!(
                f,
                "the guests that muster made would have {} of memory together, and the settings let them have {}",
                memory(*wanted),
                memory(*most)
            ),
            Self::Refused { times, why } => write!(
                f,
                "the hypervisor refused it {times} times in the same words, so it is tried once a day: {why}"
            ),
            Self::NoBackup => f.write_str("the journal knows of no backup of it that was tried, so nothing would be left"),
            Self::Used(signs) => f.write_str(&told(signs)),
            Self::UseUnseen(why) => write!(
                f,
                "whether somebody started it since it was set aside cannot be seen ({why}), and what was done then would be in no backup"
            ),
            Self::Unsaved(unsaved) => unsaved.fmt(f),
            Self::Spoilt { backup, why } => write!(
                f,
                "the backup {backup} {why}; bring back the one that was meant, or take the wish out of the row"
            ),
            Self::OthersBackup { backup, owner } => write!(
                f,
                "the backup {backup} is of guest {owner}, and would make another {owner} of it; name a backup of the guest itself, or bring that \
                 one up by hand"
            ),
            Self::NameTaken => f.write_str(
                "another guest has its name meanwhile; rename that one, or take it away",
            ),
        }
    }
}

/// Volumes of a guest that no backup of it holds, so that they would be lost with it (GB8).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unsaved {
    /// Each of them, with the key of the configuration that names it.
    volumes: BTreeMap<String, String>,
    /// Whether the guest was set aside already, and the backup that stays made.
    is_aside: bool,
}

impl Unsaved {
    /// What is lost with a guest of which a backup is still to be made.
    pub fn of(volumes: &BTreeMap<String, String>) -> Option<Self> {
        (!volumes.is_empty()).then(|| Self {
            volumes: volumes.clone(),
            is_aside: false,
        })
    }

    /// What is lost with a guest that was set aside.
    pub fn of_aside(volumes: &BTreeMap<String, String>) -> Option<Self> {
        let unsaved = Self::of(volumes)?;
        Some(Self {
            is_aside: true,
            ..unsaved
        })
    }
}

/// One sentence, which says what to do.
impl fmt::Display for Unsaved {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { volumes, is_aside } = self;
        f.write_str("no backup of it holds ")?;
        for (index, (volume, key)) in volumes.iter().enumerate() {
            let between = if index == 0 { "" } else { ", " };
            write!(f, "{between}{volume} ({key})")?;
        }
        f.write_str(", which would be lost; ")?;
        if *is_aside {
            f.write_str("take `destroy: true` out of its row to have the guest back first, then ")?;
        }
        f.write_str("add `backup=1` to what is to be kept (`pct set` or `qm set`; what is unused has to be attached again), and remove or move what is not")?;
        if *is_aside {
            f.write_str(", and ask for its end again")?;
        }
        Ok(())
    }
}
