//! One change to one resource, with every choice already made.

mod incarnation;
mod spell;

use serde::{Deserialize, Serialize};

use super::facts::{HomeId, IdRange, MoreRanges};
use super::observed::Remains;
use super::policy::{Aggregate, Ports};
use super::verbs::Verb;
use crate::id::StepId;
use crate::people::{Identity, Parking};

pub use incarnation::Incarnation;

/// A change to one resource of this host.
///
/// Adding a variant does not compile until it has a verb, a spelling, a price, words, and a way to see how it came out: an action
/// is priced before it exists.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum Action {
    /// Creates an account with its private group, locked password and subordinate ranges.
    CreateAccount {
        /// Its name.
        user: String,
        /// Its uid, for ever (R14, invariant 10).
        uid: u32,
        /// The gid of its private group.
        gid: u32,
        /// Its home directory; not created here.
        home: String,
        /// Its login shell.
        shell: String,
        /// Its subordinate uids, when the host hands them out.
        subuid: Option<IdRange>,
        /// Its subordinate gids, when the host hands them out.
        subgid: Option<IdRange>,
        /// The identity login recorded with it.
        authentik_user: String,
        /// The cluster identity recorded with it.
        k8s_user: String,
    },
    /// Takes over an account that exists: from here on muster keeps it.
    AdoptAccount {
        /// Its name.
        user: String,
        /// The uid that the roster says it has, and that was observed.
        uid: u32,
        /// Its primary gid, as observed.
        gid: u32,
        /// Its home, as observed.
        home: String,
        /// The identity login recorded with it.
        authentik_user: String,
        /// The cluster identity recorded with it.
        k8s_user: String,
    },
    /// Renames an account; uid, gid, home and ports stay.
    RenameAccount {
        /// The name until now.
        from: String,
        /// The name from now on.
        user: String,
        /// Its uid.
        uid: u32,
    },
    /// Hands an account to another uid. Planned and shown, never run: files would change owner.
    ChangeUid {
        /// The account.
        user: String,
        /// Its uid now.
        from: u32,
        /// The uid asked for.
        to: u32,
    },
    /// Hands an account to another identity.
    ChangeIdentity {
        /// The account.
        user: String,
        /// Which identity.
        identity: Identity,
        /// The one recorded now.
        from: String,
        /// The one asked for.
        to: String,
    },
    /// Sets the login shell.
    SetShell {
        /// The account.
        user: String,
        /// The shell now.
        from: String,
        /// The shell asked for.
        to: String,
    },
    /// Puts `!` before a usable password field, and nothing more (R15).
    LockPassword {
        /// The account.
        user: String,
    },
    /// Adds a supplementary group (R17).
    JoinGroup {
        /// The account.
        user: String,
        /// The group.
        group: String,
        /// Its gid, as observed.
        gid: u32,
    },
    /// Takes back a membership that muster gave.
    LeaveGroup {
        /// The account.
        user: String,
        /// The group.
        group: String,
        /// Why it is taken back.
        because: Leave,
    },
    /// Pins a person's ports.
    AssignPorts {
        /// The account.
        user: String,
        /// One port for each family.
        ports: Ports,
    },
    /// Records that a person's instance is to stand still while all else stays.
    Park {
        /// The account.
        user: String,
        /// Why.
        because: Parking,
    },
    /// Records that a parked person's instance is to run again.
    Unpark {
        /// The account.
        user: String,
    },
    /// Records that a person's login is shut for as long as the row says so; the parts that shut it follow. Unlike a cut it takes no
    /// group, and nothing of theirs is ever deleted.
    Disable {
        /// The account.
        user: String,
        /// Why.
        because: Parking,
        /// Whether it can become root today.
        root_equivalent: bool,
    },
    /// Records that a person whose login was shut is back; what was set aside is then put back.
    Enable {
        /// The account.
        user: String,
        /// Whether the account would afterwards be root-equivalent.
        root_equivalent: bool,
    },
    /// Records that somebody was told, before the login of an account is shut: of whom an earlier version had parked when
    /// their last valid day had passed, and let sign in all the same.
    GiveNotice {
        /// The account.
        user: String,
    },
    /// Takes one `!` off the password field that [`Action::LockPassword`] put there when the account was taken over.
    RestorePassword {
        /// The account.
        user: String,
        /// Whether the account is root-equivalent.
        root_equivalent: bool,
    },
    /// Begins the reversible half of offboarding: a tombstone that the parts of the cut follow.
    Cut {
        /// The account.
        user: String,
        /// Whether it can become root today.
        root_equivalent: bool,
    },
    /// Records that a person who was cut is back; what was set aside is then put back.
    Return {
        /// The account.
        user: String,
        /// Whether the account would afterwards be root-equivalent.
        root_equivalent: bool,
    },
    /// Locks, expires and unshells the account (R34); what was there is saved root-only first.
    LockLogin {
        /// The account.
        user: String,
        /// Which cut of this account it belongs to, counted from 1: saves of one cut are never taken for another.
        cut: u32,
    },
    /// Puts back exactly what [`Action::LockLogin`] saved.
    UnlockLogin {
        /// The account.
        user: String,
        /// Which cut of this account it belongs to, counted from 1: saves of one cut are never taken for another.
        cut: u32,
    },
    /// Sets one trace of a login aside, or puts it back.
    Trace {
        /// The account.
        user: String,
        /// Which trace.
        trace: Trace,
        /// Which way.
        direction: Direction,
        /// Which cut of this account it belongs to, counted from 1.
        cut: u32,
    },
    /// Ends the account's sessions and processes.
    EndSessions {
        /// The account.
        user: String,
    },
    /// Makes the home directory from the skeleton, where there is none.
    CreateHome {
        /// The account.
        user: String,
        /// Where.
        home: String,
    },
    /// Writes the environment file of a person's instance.
    WriteEnvironment {
        /// The account.
        user: String,
        /// SHA-256 of the content.
        digest: String,
    },
    /// Changes one unit of a person's instance.
    Unit {
        /// The account.
        user: String,
        /// The unit, instance name filled in.
        unit: String,
        /// What happens to it.
        change: UnitChange,
    },
    /// Adds, changes or removes one entry of an aggregate file.
    Entry {
        /// The person whose entry it is.
        user: String,
        /// Which file.
        file: Aggregate,
        /// The entry's key.
        key: String,
        /// Its value now; `None` when it is not there.
        from: Option<String>,
        /// The value asked for; `None` to remove it.
        to: Option<String>,
    },
    /// Archives the home, deletes it and the account.
    ArchiveDelete {
        /// The account.
        user: String,
        /// Its uid.
        uid: u32,
        /// Its home.
        home: String,
        /// The home that was seen, so that no other is deleted.
        home_id: Option<HomeId>,
        /// Its primary gid, as observed: what an interrupted removal left is told by it.
        #[serde(default)]
        gid: u32,
        /// Its subordinate uids, as observed: nobody else's for ever (invariant 10).
        #[serde(default)]
        subuid: Option<IdRange>,
        /// Its subordinate gids, as observed.
        #[serde(default)]
        subgid: Option<IdRange>,
        /// Its further ranges, as observed.
        #[serde(default, skip_serializing_if = "MoreRanges::is_empty")]
        more: MoreRanges,
    },
    /// Records where the archive of a home is, and its digest.
    RecordArchive {
        /// The person.
        user: String,
        /// SHA-256 of the file.
        sha256: String,
        /// Its size.
        bytes: u64,
    },
    /// Makes the account of somebody who was archived again: the ids and the home path it had, password locked, no groups.
    RestoreAccount {
        /// Its name.
        user: String,
        /// The uid it had.
        uid: u32,
        /// The gid it had.
        gid: u32,
        /// The home path it had; the home is put back by a step of its own.
        home: String,
        /// Its login shell.
        shell: String,
        /// The subordinate uids it had.
        subuid: Option<IdRange>,
        /// The subordinate gids it had.
        subgid: Option<IdRange>,
        /// Whether the account would be root-equivalent, by its primary group.
        root_equivalent: bool,
    },
    /// Puts a home back that a removal kept.
    RestoreHome {
        /// The account.
        user: String,
        /// Where it belongs.
        home: String,
        /// From where.
        from: HomeSource,
        /// The entry under which the removal kept it.
        of: StepId,
    },
    /// Takes out of the account databases what an interrupted step left under a name that has no account.
    ClearRemains {
        /// The name.
        user: String,
        /// The gid that the private group of the account was to have: another group of that name is somebody else's.
        gid: u32,
        /// The account that was to get the name, where the step was a rename: it has a group with that gid of its own.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        beside: Option<String>,
    },
    /// Removes the home of an archived account from quarantine, for ever; the archive stays.
    PurgeHome {
        /// The person.
        user: String,
        /// The uid the account had.
        uid: u32,
        /// Where the home was.
        home: String,
        /// The directory in quarantine, so that no other is removed.
        home_id: HomeId,
        /// SHA-256 of the archive that holds it.
        sha256: String,
    },
}

/// Where a home comes back from.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum HomeSource {
    /// It is still in quarantine, just as it was.
    Quarantine {
        /// The directory.
        home_id: HomeId,
    },
    /// Out of the archive; what did not belong to the person stays in there.
    Archive {
        /// SHA-256 of the file.
        sha256: String,
    },
}

/// Why a membership is taken back.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Leave {
    /// The roster no longer asks for it: counts as a removal.
    NotAsked,
    /// Part of a cut, and counted with it.
    Cut,
}

/// What a login leaves behind outside the account databases (R34).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Trace {
    /// User services that outlive the session.
    Linger,
    /// Keys that `sshd` accepts.
    AuthorizedKeys,
    /// The user's crontab.
    Crontab,
}

impl Trace {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Linger, Self::AuthorizedKeys, Self::Crontab];

    /// The word before the dot in a verb.
    pub fn word(self) -> &'static str {
        match self {
            Self::Linger => "linger",
            Self::AuthorizedKeys => "keys",
            Self::Crontab => "crontab",
        }
    }
}

/// Which way a trace goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Direction {
    /// Saved root-only, then taken away.
    SetAside,
    /// Put back as it was.
    Restore,
}

/// What happens to a unit.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum UnitChange {
    /// Stopped now.
    Stop,
    /// Not started at boot.
    Disable,
    /// Started at boot.
    Enable,
    /// Started now.
    Start,
}

/// A home that a step takes away.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TakenHome<'a> {
    /// Whose.
    pub user: &'a str,
    /// The uid of the account.
    pub uid: u32,
    /// Where it is.
    pub home: &'a str,
}

/// What few actions have.
#[derive(Default)]
struct Aspects<'a> {
    former_name: Option<&'a str>,
    entry: Option<(Aggregate, &'a str, Option<&'a str>)>,
    taken_home: Option<TakenHome<'a>>,
    remains: Option<Remains<'a>>,
    way_back: bool,
}

impl Action {
    /// The tags of actions in journals and ledgers; each tag belongs to one room.
    pub const TAGS: &[&str] = &[
        "create_account",
        "adopt_account",
        "rename_account",
        "change_uid",
        "change_identity",
        "set_shell",
        "lock_password",
        "join_group",
        "leave_group",
        "assign_ports",
        "park",
        "unpark",
        "disable",
        "enable",
        "give_notice",
        "restore_password",
        "cut",
        "return",
        "lock_login",
        "unlock_login",
        "trace",
        "end_sessions",
        "create_home",
        "write_environment",
        "unit",
        "entry",
        "archive_delete",
        "record_archive",
        "restore_account",
        "restore_home",
        "clear_remains",
        "purge_home",
    ];

    /// The verb.
    pub fn verb(&self) -> Verb {
        match self {
            Self::CreateAccount { .. } => Verb::UserCreate,
            Self::AdoptAccount { .. } => Verb::UserAdopt,
            Self::RenameAccount { .. } => Verb::UserRename,
            Self::ChangeUid { .. } => Verb::UserUid,
            Self::ChangeIdentity { .. } => Verb::UserIdentity,
            Self::SetShell { .. } => Verb::UserShell,
            Self::LockPassword { .. } => Verb::UserLockPassword,
            Self::JoinGroup { .. } => Verb::GroupJoin,
            Self::LeaveGroup { .. } => Verb::GroupLeave,
            Self::AssignPorts { .. } => Verb::PortsAssign,
            Self::Park { .. } => Verb::UserPark,
            Self::Unpark { .. } => Verb::UserUnpark,
            Self::Disable { .. } => Verb::UserDisable,
            Self::Enable { .. } => Verb::UserEnable,
            Self::GiveNotice { .. } => Verb::UserNotice,
            Self::RestorePassword { .. } => Verb::PasswordRestore,
            Self::Cut { .. } => Verb::UserCut,
            Self::Return { .. } => Verb::UserReturn,
            Self::LockLogin { .. } => Verb::LoginLock,
            Self::UnlockLogin { .. } => Verb::LoginUnlock,
            Self::Trace {
                trace, direction, ..
            } => match (trace, direction) {
                (Trace::Linger, Direction::SetAside) => Verb::LingerSetAside,
                (Trace::Linger, Direction::Restore) => Verb::LingerRestore,
                (Trace::AuthorizedKeys, Direction::SetAside) => Verb::KeysSetAside,
                (Trace::AuthorizedKeys, Direction::Restore) => Verb::KeysRestore,
                (Trace::Crontab, Direction::SetAside) => Verb::CrontabSetAside,
                (Trace::Crontab, Direction::Restore) => Verb::CrontabRestore,
            },
            Self::EndSessions { .. } => Verb::SessionsEnd,
            Self::CreateHome { .. } => Verb::HomeCreate,
            Self::WriteEnvironment { .. } => Verb::EnvWrite,
            Self::Unit { change, .. } => match change {
                UnitChange::Stop => Verb::InstanceStop,
                UnitChange::Disable => Verb::InstanceDisable,
                UnitChange::Enable => Verb::InstanceEnable,
                UnitChange::Start => Verb::InstanceStart,
            },
            Self::Entry { file, from, to, .. } => match (file, from, to) {
                (Aggregate::LoginMap, _, None) => Verb::MapRemove,
                (Aggregate::LoginMap, None, Some(_)) => Verb::MapAdd,
                (Aggregate::LoginMap, Some(_), Some(_)) => Verb::MapChange,
                (Aggregate::Dispatch, _, None) => Verb::DispatchRemove,
                (Aggregate::Dispatch, None, Some(_)) => Verb::DispatchAdd,
                (Aggregate::Dispatch, Some(_), Some(_)) => Verb::DispatchChange,
                (Aggregate::Admins, _, None) => Verb::AdminsRemove,
                (Aggregate::Admins, _, Some(_)) => Verb::AdminsAdd,
            },
            Self::ArchiveDelete { .. } => Verb::UserArchiveDelete,
            Self::RecordArchive { .. } => Verb::ArchiveRecord,
            Self::RestoreAccount { .. } => Verb::UserRestore,
            Self::RestoreHome { .. } => Verb::HomeRestore,
            Self::PurgeHome { .. } => Verb::UserPurge,
            Self::ClearRemains { .. } => Verb::UserClear,
        }
    }

    /// The person or account concerned: the resource of the step.
    pub fn user(&self) -> &str {
        match self {
            Self::CreateAccount { user, .. }
            | Self::AdoptAccount { user, .. }
            | Self::RenameAccount { user, .. }
            | Self::ChangeUid { user, .. }
            | Self::ChangeIdentity { user, .. }
            | Self::SetShell { user, .. }
            | Self::LockPassword { user }
            | Self::JoinGroup { user, .. }
            | Self::LeaveGroup { user, .. }
            | Self::AssignPorts { user, .. }
            | Self::Park { user, .. }
            | Self::Unpark { user }
            | Self::Disable { user, .. }
            | Self::Enable { user, .. }
            | Self::GiveNotice { user, .. }
            | Self::RestorePassword { user, .. }
            | Self::Cut { user, .. }
            | Self::Return { user, .. }
            | Self::LockLogin { user, .. }
            | Self::UnlockLogin { user, .. }
            | Self::Trace { user, .. }
            | Self::EndSessions { user }
            | Self::CreateHome { user, .. }
            | Self::WriteEnvironment { user, .. }
            | Self::Unit { user, .. }
            | Self::Entry { user, .. }
            | Self::RecordArchive { user, .. }
            | Self::RestoreAccount { user, .. }
            | Self::RestoreHome { user, .. }
            | Self::PurgeHome { user, .. }
            | Self::ClearRemains { user, .. }
            | Self::ArchiveDelete { user, .. } => user,
        }
    }

    /// The entry of an aggregate file that it changes, if it changes one: the file, the key, and the value asked for.
    pub fn entry(&self) -> Option<(Aggregate, &str, Option<&str>)> {
        self.aspects().entry
    }

    /// The name that its account had until now, where a step is about two.
    pub fn former_name(&self) -> Option<&str> {
        self.aspects().former_name
    }

    /// The home that it takes away, if it takes one.
    pub fn taken_home(&self) -> Option<TakenHome<'_>> {
        self.aspects().taken_home
    }

    /// The remains that it clears away, if it clears any.
    pub fn remains(&self) -> Option<Remains<'_>> {
        self.aspects().remains
    }

    /// Whether it is a part of bringing somebody back who was cut or deleted.
    pub fn is_way_back(&self) -> bool {
        self.aspects().way_back
    }

    /// What few actions have. No wildcard: of a new action it is said here.
    fn aspects(&self) -> Aspects<'_> {
        match self {
            Self::RenameAccount { from, .. } => Aspects {
                former_name: Some(from),
                ..Aspects::default()
            },
            Self::Entry { file, key, to, .. } => Aspects {
                entry: Some((*file, key, to.as_deref())),
                ..Aspects::default()
            },
            Self::ArchiveDelete {
                user, uid, home, ..
            } => Aspects {
                taken_home: Some(TakenHome {
                    user,
                    uid: *uid,
                    home,
                }),
                ..Aspects::default()
            },
            Self::ClearRemains {
                user: _,
                gid,
                beside,
            } => Aspects {
                remains: Some(Remains {
                    gid: *gid,
                    beside: beside.as_deref(),
                }),
                ..Aspects::default()
            },
            Self::RestoreAccount { .. } | Self::RestoreHome { .. } | Self::Return { .. } => {
                Aspects {
                    way_back: true,
                    ..Aspects::default()
                }
            }
            Self::CreateAccount { .. }
            | Self::AdoptAccount { .. }
            | Self::ChangeUid { .. }
            | Self::ChangeIdentity { .. }
            | Self::SetShell { .. }
            | Self::LockPassword { .. }
            | Self::JoinGroup { .. }
            | Self::LeaveGroup { .. }
            | Self::AssignPorts { .. }
            | Self::Park { .. }
            | Self::Unpark { .. }
            | Self::Disable { .. }
            | Self::Enable { .. }
            | Self::GiveNotice { .. }
            | Self::RestorePassword { .. }
            | Self::Cut { .. }
            | Self::LockLogin { .. }
            | Self::UnlockLogin { .. }
            | Self::Trace { .. }
            | Self::EndSessions { .. }
            | Self::CreateHome { .. }
            | Self::WriteEnvironment { .. }
            | Self::Unit { .. }
            | Self::RecordArchive { .. }
            | Self::PurgeHome { .. } => Aspects::default(),
        }
    }
}

#[cfg(test)]
pub(crate) mod tests;
