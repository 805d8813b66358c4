//! The verbs: one word for each kind of action.

use std::fmt;

use serde::{Deserialize, Serialize};

/// The verb of a step: the word that is signed, shown and journaled.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum Verb {
    /// `user.create`
    #[serde(rename = "user.create")]
    UserCreate,
    /// `user.adopt`
    #[serde(rename = "user.adopt")]
    UserAdopt,
    /// `user.rename`
    #[serde(rename = "user.rename")]
    UserRename,
    /// `user.uid`
    #[serde(rename = "user.uid")]
    UserUid,
    /// `user.identity`
    #[serde(rename = "user.identity")]
    UserIdentity,
    /// `user.shell`
    #[serde(rename = "user.shell")]
    UserShell,
    /// `user.lock_password`
    #[serde(rename = "user.lock_password")]
    UserLockPassword,
    /// `group.join`
    #[serde(rename = "group.join")]
    GroupJoin,
    /// `group.leave`
    #[serde(rename = "group.leave")]
    GroupLeave,
    /// `ports.assign`
    #[serde(rename = "ports.assign")]
    PortsAssign,
    /// `user.park`
    #[serde(rename = "user.park")]
    UserPark,
    /// `user.unpark`
    #[serde(rename = "user.unpark")]
    UserUnpark,
    /// `user.cut`
    #[serde(rename = "user.cut")]
    UserCut,
    /// `user.return`
    #[serde(rename = "user.return")]
    UserReturn,
    /// `login.lock`
    #[serde(rename = "login.lock")]
    LoginLock,
    /// `login.unlock`
    #[serde(rename = "login.unlock")]
    LoginUnlock,
    /// `linger.set_aside`
    #[serde(rename = "linger.set_aside")]
    LingerSetAside,
    /// `linger.restore`
    #[serde(rename = "linger.restore")]
    LingerRestore,
    /// `keys.set_aside`
    #[serde(rename = "keys.set_aside")]
    KeysSetAside,
    /// `keys.restore`
    #[serde(rename = "keys.restore")]
    KeysRestore,
    /// `crontab.set_aside`
    #[serde(rename = "crontab.set_aside")]
    CrontabSetAside,
    /// `crontab.restore`
    #[serde(rename = "crontab.restore")]
    CrontabRestore,
    /// `sessions.end`
    #[serde(rename = "sessions.end")]
    SessionsEnd,
    /// `home.create`
    #[serde(rename = "home.create")]
    HomeCreate,
    /// `env.write`
    #[serde(rename = "env.write")]
    EnvWrite,
    /// `instance.stop`
    #[serde(rename = "instance.stop")]
    InstanceStop,
    /// `instance.disable`
    #[serde(rename = "instance.disable")]
    InstanceDisable,
    /// `instance.enable`
    #[serde(rename = "instance.enable")]
    InstanceEnable,
    /// `instance.start`
    #[serde(rename = "instance.start")]
    InstanceStart,
    /// `map.add`
    #[serde(rename = "map.add")]
    MapAdd,
    /// `map.change`
    #[serde(rename = "map.change")]
    MapChange,
    /// `map.remove`
    #[serde(rename = "map.remove")]
    MapRemove,
    /// `dispatch.add`
    #[serde(rename = "dispatch.add")]
    DispatchAdd,
    /// `dispatch.change`
    #[serde(rename = "dispatch.change")]
    DispatchChange,
    /// `dispatch.remove`
    #[serde(rename = "dispatch.remove")]
    DispatchRemove,
    /// `admins.add`
    #[serde(rename = "admins.add")]
    AdminsAdd,
    /// `admins.remove`
    #[serde(rename = "admins.remove")]
    AdminsRemove,
    /// `user.archive_delete`
    #[serde(rename = "user.archive_delete")]
    UserArchiveDelete,
    /// `archive.record`
    #[serde(rename = "archive.record")]
    ArchiveRecord,
    /// `user.restore`
    #[serde(rename = "user.restore")]
    UserRestore,
    /// `home.restore`
    #[serde(rename = "home.restore")]
    HomeRestore,
    /// `user.purge`
    #[serde(rename = "user.purge")]
    UserPurge,
}

impl Verb {
    /// Kinds that no setting can declare benign: the floor.
    pub const FLOOR: [Self; 5] = [
        Self::UserArchiveDelete,
        Self::UserPurge,
        Self::UserUid,
        Self::UserReturn,
        Self::UserRestore,
    ];

    /// Kinds that a setting can declare benign.
    pub const DECLARABLE: [Self; 6] = [
        Self::UserAdopt,
        Self::UserRename,
        Self::UserIdentity,
        Self::UserShell,
        Self::GroupJoin,
        Self::AdminsAdd,
    ];

    /// The word, as signed and shown.
    pub fn word(self) -> &'static str {
        match self {
            Self::UserCreate => "user.create",
            Self::UserAdopt => "user.adopt",
            Self::UserRename => "user.rename",
            Self::UserUid => "user.uid",
            Self::UserIdentity => "user.identity",
            Self::UserShell => "user.shell",
            Self::UserLockPassword => "user.lock_password",
            Self::GroupJoin => "group.join",
            Self::GroupLeave => "group.leave",
            Self::PortsAssign => "ports.assign",
            Self::UserPark => "user.park",
            Self::UserUnpark => "user.unpark",
            Self::UserCut => "user.cut",
            Self::UserReturn => "user.return",
            Self::LoginLock => "login.lock",
            Self::LoginUnlock => "login.unlock",
            Self::LingerSetAside => "linger.set_aside",
            Self::LingerRestore => "linger.restore",
            Self::KeysSetAside => "keys.set_aside",
            Self::KeysRestore => "keys.restore",
            Self::CrontabSetAside => "crontab.set_aside",
            Self::CrontabRestore => "crontab.restore",
            Self::SessionsEnd => "sessions.end",
            Self::HomeCreate => "home.create",
            Self::EnvWrite => "env.write",
            Self::InstanceStop => "instance.stop",
            Self::InstanceDisable => "instance.disable",
            Self::InstanceEnable => "instance.enable",
            Self::InstanceStart => "instance.start",
            Self::MapAdd => "map.add",
            Self::MapChange => "map.change",
            Self::MapRemove => "map.remove",
            Self::DispatchAdd => "dispatch.add",
            Self::DispatchChange => "dispatch.change",
            Self::DispatchRemove => "dispatch.remove",
            Self::AdminsAdd => "admins.add",
            Self::AdminsRemove => "admins.remove",
            Self::UserArchiveDelete => "user.archive_delete",
            Self::ArchiveRecord => "archive.record",
            Self::UserRestore => "user.restore",
            Self::HomeRestore => "home.restore",
            Self::UserPurge => "user.purge",
        }
    }
}

impl fmt::Display for Verb {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.word())
    }
}
