//! What muster knows of the people it keeps on a host.

use std::collections::BTreeSet;
use std::fmt;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::accounts::action::Trace;
use crate::accounts::policy::Ports;
use crate::id::StepId;
use crate::people::Stage;
use crate::time::Time;

/// A run of subordinate ids: `first` and how many.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct IdRange {
    /// First id.
    pub first: u32,
    /// How many.
    pub count: u32,
}

impl IdRange {
    /// One past the last id.
    pub fn end(self) -> u64 {
        u64::from(self.first) + u64::from(self.count)
    }
}

impl fmt::Display for IdRange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}+{}", self.first, self.count)
    }
}

/// The ids of one account.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AccountIds {
    /// Its uid.
    pub uid: u32,
    /// The gid of its private group.
    pub gid: u32,
    /// Its subordinate uids, if any.
    pub subuid: Option<IdRange>,
    /// Its subordinate gids, if any.
    pub subgid: Option<IdRange>,
}

/// Which directory a home is. Never the device number, which changes from boot to boot.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct HomeId {
    /// Its inode number.
    pub inode: u64,
    /// Its birth time, seconds since 1970; 0 where the filesystem keeps none.
    pub born: i64,
    /// The filesystem's UUID, or what stands for it: the same for nearly everybody.
    pub filesystem: Arc<str>,
}

/// The file of the archive of an account's home, in the store of archives of its host.
pub fn archive_name(uid: u32, entry: StepId) -> String {
    format!("{uid}.{entry}.tar.zst")
}

/// An archive of a home, as it was read back and recorded.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ArchiveFacts {
    /// The account's entry at that time; with the uid it names the file.
    pub entry: StepId,
    /// SHA-256 of the file.
    pub sha256: String,
    /// Its size.
    pub bytes: u64,
}

/// How an account came to be muster's.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum How {
    /// muster created it.
    Created,
    /// It was there, and a row's `adopt` took it over.
    Adopted,
}

/// What a cut set aside and a way back has to restore.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct SetAside {
    /// Password field, expiry and shell are saved.
    pub login: bool,
    /// Traces that were there, and are saved.
    pub traces: BTreeSet<Trace>,
    /// Groups the cut took.
    pub groups: BTreeSet<String>,
}

impl SetAside {
    /// Whether nothing waits to be put back.
    pub fn is_empty(&self) -> bool {
        let Self {
            login,
            traces,
            groups,
        } = self;
        !login && traces.is_empty() && groups.is_empty()
    }
}

/// What muster knows of one person here; after a cut, their tombstone. Never removed (invariant 10).
///
/// What few people have is written only where it is: a ledger of many people is read at every start.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PersonFacts {
    /// The step that created or adopted the account.
    pub entry: StepId,
    /// How it came to be muster's.
    pub how: How,
    /// How often an account of this name was created here.
    pub generation: u32,
    /// How often it was cut.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub cuts: u32,
    /// Its uid.
    pub uid: u32,
    /// The gid of its primary group.
    pub gid: u32,
    /// Its home directory.
    pub home: String,
    /// Subordinate uids, if any.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub subuid: Option<IdRange>,
    /// Subordinate gids, if any.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub subgid: Option<IdRange>,
    /// Identity login, as last released.
    pub authentik_user: String,
    /// Cluster identity, as last released.
    pub k8s_user: String,
    /// Where the person stands.
    pub stage: Stage,
    /// Since when.
    pub since: Time,
    /// Whether a home was made or found: an empty one is made only once.
    pub home_made: bool,
    /// Ports, by family.
    #[serde(default, skip_serializing_if = "Ports::is_empty")]
    pub ports: Ports,
    /// Memberships that muster gave.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub given: BTreeSet<String>,
    /// Memberships that were begun and not seen whole: a half of one that is found is muster's to take back.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub joining: BTreeSet<String>,
    /// What the cut set aside.
    #[serde(default, skip_serializing_if = "SetAside::is_empty")]
    pub aside: SetAside,
    /// Names the account had before.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub formerly: BTreeSet<String>,
    /// The latest archive of the home; it outlives the account, and a way back.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub archive: Option<ArchiveFacts>,
    /// The entry of the account before it was restored, until the home of that one is back, too.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub home_owed: Option<StepId>,
}

impl PersonFacts {
    /// The account whose home the quarantine and the store of archives would have.
    pub fn kept_of(&self) -> KeptOf {
        KeptOf {
            uid: self.uid,
            gid: self.gid,
            entry: self.home_owed.unwrap_or(self.entry),
        }
    }
}

/// Names what a removal keeps of one account.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct KeptOf {
    /// Its uid.
    pub uid: u32,
    /// Its primary gid.
    pub gid: u32,
    /// The step that created, adopted or restored it.
    pub entry: StepId,
}

fn is_zero(number: &u32) -> bool {
    *number == 0
}
