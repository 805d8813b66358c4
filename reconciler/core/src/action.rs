//! One change to one resource, with every choice already made.

mod kind;

use std::collections::BTreeMap;
use std::fmt;

use serde::{Deserialize, Serialize};

use crate::facts::{HomeId, IdRange};
use crate::policy::{Aggregate, Policy, Ports};
use crate::step::StepId;

pub use kind::Kind;

/// A change to one resource of this host.
///
/// Adding a variant does not compile until [`Action::kind`], [`Action::class`], [`Action::phase`],
/// [`Action::parameters`] and the settling of it are written: an action is priced before it exists.
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

/// Which of a person's identities.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Identity {
    /// The identity login.
    AuthentikUser,
    /// The cluster identity.
    K8sUser,
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

/// Why a person is parked.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Parking {
    /// The row says `parked: true`.
    Asked,
    /// The row's last valid day has passed.
    Expired,
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

/// What losing a wrong step costs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Class {
    /// Reversible, and touches no data.
    Benign,
    /// Makes somebody root-equivalent, or hands an account to another identity.
    Privileged,
    /// Loses data or cannot be undone.
    Destructive,
}

impl fmt::Display for Class {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Benign => "benign",
            Self::Privileged => "privileged",
            Self::Destructive => "destructive",
        })
    }
}

/// When in a cycle an action runs. Everything of one phase is one batch: one intent, one act, one outcome.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Phase {
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
    /// Units enabled and started.
    Start,
    /// Sessions ended; after the login is shut, so that nothing can begin a new one.
    Sessions,
    /// Accounts renamed; last, so that everything before ran under the old name.
    Rename,
    /// What cannot be undone; each on its own.
    Destroy,
}

impl Phase {
    /// What people are told is going on.
    pub fn word(self) -> &'static str {
        match self {
            Self::Record | Self::Assign => "recording",
            Self::Quiesce => "stopping instances",
            Self::Accounts => "writing the account databases",
            Self::Homes => "homes",
            Self::Files => "writing files",
            Self::Start => "starting instances",
            Self::Sessions => "ending sessions",
            Self::Rename => "renaming",
            Self::Destroy => "archiving and deleting",
        }
    }

    /// All of them, in order.
    pub const ALL: [Self; 10] = [
        Self::Record,
        Self::Quiesce,
        Self::Accounts,
        Self::Assign,
        Self::Homes,
        Self::Files,
        Self::Start,
        Self::Sessions,
        Self::Rename,
        Self::Destroy,
    ];
}

impl Action {
    /// The verb.
    pub fn kind(&self) -> Kind {
        match self {
            Self::CreateAccount { .. } => Kind::UserCreate,
            Self::AdoptAccount { .. } => Kind::UserAdopt,
            Self::RenameAccount { .. } => Kind::UserRename,
            Self::ChangeUid { .. } => Kind::UserUid,
            Self::ChangeIdentity { .. } => Kind::UserIdentity,
            Self::SetShell { .. } => Kind::UserShell,
            Self::LockPassword { .. } => Kind::UserLockPassword,
            Self::JoinGroup { .. } => Kind::GroupJoin,
            Self::LeaveGroup { .. } => Kind::GroupLeave,
            Self::AssignPorts { .. } => Kind::PortsAssign,
            Self::Park { .. } => Kind::UserPark,
            Self::Unpark { .. } => Kind::UserUnpark,
            Self::Cut { .. } => Kind::UserCut,
            Self::Return { .. } => Kind::UserReturn,
            Self::LockLogin { .. } => Kind::LoginLock,
            Self::UnlockLogin { .. } => Kind::LoginUnlock,
            Self::Trace {
                trace, direction, ..
            } => match (trace, direction) {
                (Trace::Linger, Direction::SetAside) => Kind::LingerSetAside,
                (Trace::Linger, Direction::Restore) => Kind::LingerRestore,
                (Trace::AuthorizedKeys, Direction::SetAside) => Kind::KeysSetAside,
                (Trace::AuthorizedKeys, Direction::Restore) => Kind::KeysRestore,
                (Trace::Crontab, Direction::SetAside) => Kind::CrontabSetAside,
                (Trace::Crontab, Direction::Restore) => Kind::CrontabRestore,
            },
            Self::EndSessions { .. } => Kind::SessionsEnd,
            Self::CreateHome { .. } => Kind::HomeCreate,
            Self::WriteEnvironment { .. } => Kind::EnvWrite,
            Self::Unit { change, .. } => match change {
                UnitChange::Stop => Kind::InstanceStop,
                UnitChange::Disable => Kind::InstanceDisable,
                UnitChange::Enable => Kind::InstanceEnable,
                UnitChange::Start => Kind::InstanceStart,
            },
            Self::Entry { file, from, to, .. } => match (file, from, to) {
                (Aggregate::LoginMap, _, None) => Kind::MapRemove,
                (Aggregate::LoginMap, None, Some(_)) => Kind::MapAdd,
                (Aggregate::LoginMap, Some(_), Some(_)) => Kind::MapChange,
                (Aggregate::Dispatch, _, None) => Kind::DispatchRemove,
                (Aggregate::Dispatch, None, Some(_)) => Kind::DispatchAdd,
                (Aggregate::Dispatch, Some(_), Some(_)) => Kind::DispatchChange,
                (Aggregate::Admins, _, None) => Kind::AdminsRemove,
                (Aggregate::Admins, _, Some(_)) => Kind::AdminsAdd,
            },
            Self::ArchiveDelete { .. } => Kind::UserArchiveDelete,
            Self::RecordArchive { .. } => Kind::ArchiveRecord,
            Self::RestoreAccount { .. } => Kind::UserRestore,
            Self::RestoreHome { .. } => Kind::HomeRestore,
            Self::PurgeHome { .. } => Kind::UserPurge,
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
            | Self::ArchiveDelete { user, .. } => user,
        }
    }

    /// The name that it takes from an account, if it takes one: the step is about whoever has that name, too.
    pub fn former_name(&self) -> Option<&str> {
        match self {
            Self::RenameAccount { from, .. } => Some(from),
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
            | Self::Cut { .. }
            | Self::Return { .. }
            | Self::LockLogin { .. }
            | Self::UnlockLogin { .. }
            | Self::Trace { .. }
            | Self::EndSessions { .. }
            | Self::CreateHome { .. }
            | Self::WriteEnvironment { .. }
            | Self::Unit { .. }
            | Self::Entry { .. }
            | Self::RecordArchive { .. }
            | Self::RestoreAccount { .. }
            | Self::RestoreHome { .. }
            | Self::PurgeHome { .. }
            | Self::ArchiveDelete { .. } => None,
        }
    }

    /// What it costs if it is wrong (DESIGN: judged by provenance and data, and what is unknown is destructive).
    ///
    /// No wildcard: a new action does not compile until it has been priced.
    pub fn class(&self, policy: &Policy) -> Class {
        let class = match self {
            Self::ArchiveDelete { .. } | Self::PurgeHome { .. } => Class::Destructive,
            Self::RestoreAccount {
                root_equivalent,
                shell,
                ..
            } => {
                if *root_equivalent || !policy.shells.contains(shell) {
                    Class::Privileged
                } else {
                    Class::Benign
                }
            }
            Self::AdoptAccount { .. }
            | Self::RenameAccount { .. }
            | Self::ChangeUid { .. }
            | Self::ChangeIdentity { .. } => Class::Privileged,
            Self::SetShell { to, .. } | Self::CreateAccount { shell: to, .. } => {
                if policy.shells.contains(to) {
                    Class::Benign
                } else {
                    Class::Privileged
                }
            }
            Self::JoinGroup { group, gid, .. } => {
                // Debian's statically allocated groups (below 100) guard devices and logs: none is ordinary.
                if policy.is_privileged_group(group) || *gid < 100 {
                    Class::Privileged
                } else {
                    Class::Benign
                }
            }
            Self::Return {
                root_equivalent, ..
            } => {
                if *root_equivalent {
                    Class::Privileged
                } else {
                    Class::Benign
                }
            }
            Self::Entry {
                file: Aggregate::Admins,
                to: Some(_),
                ..
            } => Class::Privileged,
            Self::Entry {
                file: Aggregate::LoginMap | Aggregate::Dispatch | Aggregate::Admins,
                ..
            }
            | Self::LockPassword { .. }
            | Self::LeaveGroup { .. }
            | Self::AssignPorts { .. }
            | Self::Park { .. }
            | Self::Unpark { .. }
            | Self::Cut { .. }
            | Self::LockLogin { .. }
            | Self::UnlockLogin { .. }
            | Self::Trace { .. }
            | Self::EndSessions { .. }
            | Self::CreateHome { .. }
            | Self::RestoreHome { .. }
            | Self::RecordArchive { .. }
            | Self::WriteEnvironment { .. }
            | Self::Unit { .. } => Class::Benign,
        };
        let kind = self.kind();
        let declared = policy.declared_benign.contains(&kind) && !Kind::FLOOR.contains(&kind);
        if class == Class::Privileged && declared {
            Class::Benign
        } else {
            class
        }
    }

    /// When in a cycle it runs.
    pub fn phase(&self) -> Phase {
        match self {
            Self::AdoptAccount { .. }
            | Self::ChangeIdentity { .. }
            | Self::RecordArchive { .. }
            | Self::Cut { .. }
            | Self::Return { .. } => Phase::Record,
            Self::AssignPorts { .. } | Self::Park { .. } | Self::Unpark { .. } => Phase::Assign,
            Self::Unit { change, .. } => match change {
                UnitChange::Stop | UnitChange::Disable => Phase::Quiesce,
                UnitChange::Enable | UnitChange::Start => Phase::Start,
            },
            Self::RenameAccount { .. } => Phase::Rename,
            Self::CreateAccount { .. }
            | Self::RestoreAccount { .. }
            | Self::SetShell { .. }
            | Self::LockPassword { .. }
            | Self::JoinGroup { .. }
            | Self::LeaveGroup { .. }
            | Self::LockLogin { .. }
            | Self::UnlockLogin { .. } => Phase::Accounts,
            Self::CreateHome { .. } | Self::RestoreHome { .. } | Self::Trace { .. } => Phase::Homes,
            Self::WriteEnvironment { .. } | Self::Entry { .. } => Phase::Files,
            Self::EndSessions { .. } => Phase::Sessions,
            Self::ChangeUid { .. } | Self::ArchiveDelete { .. } | Self::PurgeHome { .. } => {
                Phase::Destroy
            }
        }
    }

    /// Whether the limits count it as a removal.
    pub fn is_removal(&self) -> bool {
        matches!(
            self,
            Self::Cut { .. }
                | Self::LeaveGroup {
                    because: Leave::NotAsked,
                    ..
                }
        )
    }

    /// What a person signs beside verb and resource, sorted by name.
    pub fn parameters(&self) -> BTreeMap<&'static str, String> {
        let mut all = BTreeMap::new();
        self.each_parameter(&mut |name, value| {
            all.insert(name, value.to_string());
        });
        all
    }

    /// Tells each of [`Self::parameters`], sorted by name: a plan has tens of thousands of steps, and their ids and words
    /// need no copy of them.
    pub(crate) fn each_parameter(&self, put: &mut impl FnMut(&'static str, Parameter<'_>)) {
        use Parameter::{Id, Number, Ports, Range, Text};
        let number = |number: &u32| Number(u64::from(*number));
        match self {
            Self::CreateAccount {
                user: _,
                uid,
                gid,
                home,
                shell,
                subuid,
                subgid,
                authentik_user,
                k8s_user,
            } => {
                put("authentik_user", Text(authentik_user));
                put("gid", number(gid));
                put("home", Text(home));
                put("k8s_user", Text(k8s_user));
                put("shell", Text(shell));
                if let Some(range) = subgid {
                    put("subgid", Range(*range));
                }
                if let Some(range) = subuid {
                    put("subuid", Range(*range));
                }
                put("uid", number(uid));
            }
            Self::AdoptAccount {
                user: _,
                uid,
                gid,
                home,
                authentik_user,
                k8s_user,
            } => {
                put("authentik_user", Text(authentik_user));
                put("gid", number(gid));
                put("home", Text(home));
                put("k8s_user", Text(k8s_user));
                put("uid", number(uid));
            }
            Self::RenameAccount { from, user: _, uid } => {
                put("from", Text(from));
                put("uid", number(uid));
            }
            Self::ChangeUid { user: _, from, to } => {
                put("from", number(from));
                put("to", number(to));
            }
            Self::ChangeIdentity {
                user: _,
                identity,
                from,
                to,
            } => {
                put("from", Text(from));
                let identity = match identity {
                    Identity::AuthentikUser => "authentik_user",
                    Identity::K8sUser => "k8s_user",
                };
                put("identity", Text(identity));
                put("to", Text(to));
            }
            Self::SetShell { user: _, from, to } => {
                put("from", Text(from));
                put("to", Text(to));
            }
            Self::JoinGroup {
                user: _,
                group,
                gid,
            } => {
                put("gid", number(gid));
                put("group", Text(group));
            }
            Self::LeaveGroup {
                user: _,
                group,
                because,
            } => {
                if *because == Leave::Cut {
                    put("because", Text("cut"));
                }
                put("group", Text(group));
            }
            Self::AssignPorts { user: _, ports } => put("ports", Ports(ports)),
            Self::Park { user: _, because } => {
                let because = match because {
                    Parking::Asked => "asked",
                    Parking::Expired => "expired",
                };
                put("because", Text(because));
            }
            Self::Cut {
                user: _,
                root_equivalent,
            }
            | Self::Return {
                user: _,
                root_equivalent,
            } => {
                if *root_equivalent {
                    put("root_equivalent", Text("yes"));
                }
            }
            Self::CreateHome { user: _, home } => put("home", Text(home)),
            Self::WriteEnvironment { user: _, digest } => put("sha256", Text(digest)),
            Self::Unit {
                user: _,
                unit,
                change: _,
            } => put("unit", Text(unit)),
            Self::Entry {
                user: _,
                file: _,
                key,
                from,
                to,
            } => {
                if let Some(from) = from.as_deref().filter(|it| !it.is_empty()) {
                    put("from", Text(from));
                }
                put("key", Text(key));
                if let Some(to) = to.as_deref().filter(|it| !it.is_empty()) {
                    put("to", Text(to));
                }
            }
            Self::ArchiveDelete {
                user: _,
                uid,
                home,
                home_id: _,
                gid: _,
                subuid: _,
                subgid: _,
            } => {
                put("home", Text(home));
                put("uid", number(uid));
            }
            Self::PurgeHome {
                user: _,
                uid,
                home,
                home_id: _,
                sha256,
            } => {
                put("home", Text(home));
                put("sha256", Text(sha256));
                put("uid", number(uid));
            }
            Self::RecordArchive {
                user: _,
                sha256,
                bytes,
            } => {
                put("bytes", Number(*bytes));
                put("sha256", Text(sha256));
            }
            Self::RestoreAccount {
                user: _,
                uid,
                gid,
                home,
                shell,
                subuid,
                subgid,
                root_equivalent,
            } => {
                put("gid", number(gid));
                put("home", Text(home));
                if *root_equivalent {
                    put("root_equivalent", Text("yes"));
                }
                put("shell", Text(shell));
                if let Some(range) = subgid {
                    put("subgid", Range(*range));
                }
                if let Some(range) = subuid {
                    put("subuid", Range(*range));
                }
                put("uid", number(uid));
            }
            Self::RestoreHome {
                user: _,
                home,
                from,
                of,
            } => match from {
                HomeSource::Quarantine { home_id } => {
                    put("from", Text("quarantine"));
                    put("home", Text(home));
                    put("inode", Number(home_id.inode));
                    put("of", Id(*of));
                }
                HomeSource::Archive { sha256 } => {
                    put("from", Text("archive"));
                    put("home", Text(home));
                    put("of", Id(*of));
                    put("sha256", Text(sha256));
                }
            },
            Self::LockLogin { user: _, cut }
            | Self::UnlockLogin { user: _, cut }
            | Self::Trace {
                user: _,
                trace: _,
                direction: _,
                cut,
            } => put("cut", number(cut)),
            Self::LockPassword { user: _ }
            | Self::Unpark { user: _ }
            | Self::EndSessions { user: _ } => {}
        }
    }
}

/// The value of one parameter.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Parameter<'a> {
    Text(&'a str),
    Number(u64),
    Range(IdRange),
    Ports(&'a Ports),
    Id(StepId),
}

impl fmt::Display for Parameter<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Text(text) => f.write_str(text),
            Self::Number(number) => number.fmt(f),
            Self::Range(range) => range.fmt(f),
            Self::Ports(ports) => ports
                .iter()
                .enumerate()
                .try_for_each(|(i, (family, port))| {
                    let before = if i == 0 { "" } else { "/" };
                    write!(f, "{before}{family}:{port}")
                }),
            Self::Id(id) => id.fmt(f),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_floor_cannot_be_declared_benign() {
        assert!(
            Kind::DECLARABLE
                .iter()
                .all(|kind| !Kind::FLOOR.contains(kind))
        );
        let mut policy = Policy::for_host("devvm");
        policy.declared_benign = Kind::FLOOR.into();
        let deletion = Action::ArchiveDelete {
            user: "emo".into(),
            uid: 1004,
            home: "/home/emo".into(),
            home_id: None,
            gid: 1004,
            subuid: None,
            subgid: None,
        };
        assert_eq!(deletion.class(&policy), Class::Destructive);
        let uid = Action::ChangeUid {
            user: "emo".into(),
            from: 1004,
            to: 1005,
        };
        assert_eq!(uid.class(&policy), Class::Privileged);
    }

    #[test]
    fn every_root_equivalent_group_is_privileged_and_so_is_every_static_group() {
        let policy = Policy::for_host("devvm");
        for group in crate::policy::ROOT_EQUIVALENT_GROUPS {
            let join = Action::JoinGroup {
                user: "emo".into(),
                group: group.into(),
                gid: 999,
            };
            assert_eq!(join.class(&policy), Class::Privileged, "{group}");
        }
        let audio = Action::JoinGroup {
            user: "emo".into(),
            group: "audio".into(),
            gid: 29,
        };
        assert_eq!(audio.class(&policy), Class::Privileged);
        let shared = Action::JoinGroup {
            user: "emo".into(),
            group: "code-shared".into(),
            gid: 999,
        };
        assert_eq!(shared.class(&policy), Class::Benign);
    }

    #[test]
    fn a_verb_reads_back_as_itself() {
        for kind in Kind::DECLARABLE.into_iter().chain(Kind::FLOOR) {
            let json = serde_json::to_string(&kind).unwrap();
            assert_eq!(json, format!("\"{}\"", kind.word()));
            assert_eq!(serde_json::from_str::<Kind>(&json).unwrap(), kind);
        }
    }
}
