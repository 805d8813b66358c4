//! When in a cycle a step runs, and what one act covers.

use serde::{Deserialize, Serialize};

/// When in a cycle an action runs. Everything of one turn is one batch: one intent, one act, one outcome.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Turn {
    /// Facts that only the ledger holds.
    Record,
    /// Units stopped and disabled.
    Quiesce,
    /// passwd, shadow, group, gshadow, subuid, subgid.
    Accounts,
    /// Facts about accounts that exist by now: ports, and who stands still.
    Assign,
    /// Homes, crontabs, keys, linger.
    Homes,
    /// Environment files and aggregate files.
    Files,
    /// Guests made, or given back.
    Make,
    /// Guests' sizes, descriptions and tags.
    Configure,
    /// Units enabled and started.
    Start,
    /// Sessions ended; after the login is shut, so that nothing can begin a new one.
    Sessions,
    /// Accounts renamed; last, so that everything before ran under the old name.
    Rename,
    /// What cannot be undone; last of all. Like any other turn it is one batch, so a crash in the middle of it leaves all of its
    /// steps in doubt, and each is settled by what the world shows of it.
    Destroy,
}

impl Turn {
    /// What people are told is going on.
    pub fn word(self) -> &'static str {
        match self {
            Self::Record | Self::Assign => "recording",
            Self::Quiesce => "stopping instances",
            Self::Accounts => "writing the account databases",
            Self::Homes => "homes",
            Self::Files => "writing files",
            Self::Make => "making guests",
            Self::Configure => "setting guests up",
            Self::Start => "starting instances",
            Self::Sessions => "ending sessions",
            Self::Rename => "renaming",
            Self::Destroy => "archiving and deleting",
        }
    }

    /// All of them, in order.
    pub const ALL: [Self; 12] = [
        Self::Record,
        Self::Quiesce,
        Self::Accounts,
        Self::Assign,
        Self::Homes,
        Self::Files,
        Self::Make,
        Self::Configure,
        Self::Start,
        Self::Sessions,
        Self::Rename,
        Self::Destroy,
    ];
}
