//! The verbs of accounts, one row each.

crate::verb::verbs! {
    /// The verb of a step about an account: the word that is signed, shown and journaled.
    UserCreate = "user.create", Fixed, "create", "account", "accounts",
        "removing the row: the account is cut, and its ids stay reserved";
    UserAdopt = "user.adopt", Declarable, "take over", "existing account", "existing accounts",
        "removing the row: the account is cut, and its ids stay reserved";
    UserRename = "user.rename", Declarable, "rename", "account", "accounts",
        "renaming it back: a row with the old name and `previously`";
    UserUid = "user.uid", Floor, "change", "uid", "uids",
        "nothing: this version does not carry it out";
    UserIdentity = "user.identity", Declarable, "change", "identity link", "identity links",
        "putting the former identity back into the row";
    UserShell = "user.shell", Declarable, "change", "login shell", "login shells",
        "putting the former shell back into the row";
    UserLockPassword = "user.lock_password", Declarable, "lock", "password", "passwords",
        "`usermod --unlock`, by hand; muster locks it again";
    GroupJoin = "group.join", Declarable, "add", "group membership", "group memberships",
        "taking the group from the row's tier: it leaves it again";
    GroupLeave = "group.leave", Fixed, "take back", "group membership", "group memberships",
        "asking for it in the roster again";
    PortsAssign = "ports.assign", Fixed, "assign", "set of ports", "sets of ports",
        "nothing: a port once given stays with its person";
    UserPark = "user.park", Fixed, "park", "account", "accounts",
        "taking `parked` or `expires` from the row";
    UserUnpark = "user.unpark", Fixed, "unpark", "account", "accounts",
        "`parked: true` in the row";
    UserDisable = "user.disable", Fixed, "disable", "account", "accounts",
        "taking `disabled` or `expires` from the row: exactly what was set aside is restored";
    UserEnable = "user.enable", Floor, "enable", "account", "accounts",
        "`disabled: true` in the row";
    UserNotice = "user.notice", Fixed, "give notice to", "account", "accounts",
        "a later `expires` in the row, or none";
    PasswordRestore = "password.restore", Floor, "unlock", "password", "passwords",
        "`usermod --lock`, by hand";
    UserCut = "user.cut", Fixed, "cut off", "account", "accounts",
        "putting the row back: exactly what was set aside is restored";
    UserReturn = "user.return", Floor, "bring back", "account", "accounts",
        "removing the row again";
    LoginLock = "login.lock", Fixed, "shut", "login", "logins",
        "putting the row back: exactly what was set aside is restored";
    LoginUnlock = "login.unlock", Fixed, "open", "login", "logins",
        "removing the row again";
    LingerSetAside = "linger.set_aside", Fixed, "set aside", "linger setting", "linger settings",
        "putting the row back: exactly what was set aside is restored";
    LingerRestore = "linger.restore", Fixed, "put back", "linger setting", "linger settings",
        "removing the row again";
    KeysSetAside = "keys.set_aside", Fixed, "set aside", "file of authorized keys", "files of authorized keys",
        "putting the row back: exactly what was set aside is restored";
    KeysRestore = "keys.restore", Fixed, "put back", "file of authorized keys", "files of authorized keys",
        "removing the row again";
    CrontabSetAside = "crontab.set_aside", Fixed, "set aside", "crontab", "crontabs",
        "putting the row back: exactly what was set aside is restored";
    CrontabRestore = "crontab.restore", Fixed, "put back", "crontab", "crontabs",
        "removing the row again";
    SessionsEnd = "sessions.end", Fixed, "end the sessions of", "account", "accounts",
        "nothing: whoever is back logs in again";
    HomeCreate = "home.create", Fixed, "make", "home", "homes",
        "`rmdir`, by hand, while it is empty";
    EnvWrite = "env.write", Fixed, "write", "environment file", "environment files",
        "changing the row back: the file is written again";
    InstanceStop = "instance.stop", Fixed, "stop", "unit", "units",
        "taking `parked` or `expires` from the row";
    InstanceDisable = "instance.disable", Fixed, "disable", "unit", "units",
        "taking `parked` or `expires` from the row";
    InstanceEnable = "instance.enable", Fixed, "enable", "unit", "units",
        "`parked: true` in the row";
    InstanceStart = "instance.start", Fixed, "start", "unit", "units",
        "`parked: true` in the row";
    MapAdd = "map.add", Fixed, "add", "login map line", "login map lines",
        "changing the row back: the file is written again";
    MapChange = "map.change", Fixed, "change", "login map line", "login map lines",
        "changing the row back: the file is written again";
    MapRemove = "map.remove", Fixed, "remove", "login map line", "login map lines",
        "putting the row back: exactly what was set aside is restored";
    DispatchAdd = "dispatch.add", Fixed, "add", "dispatch entry", "dispatch entries",
        "changing the row back: the file is written again";
    DispatchChange = "dispatch.change", Fixed, "change", "dispatch entry", "dispatch entries",
        "changing the row back: the file is written again";
    DispatchRemove = "dispatch.remove", Fixed, "remove", "dispatch entry", "dispatch entries",
        "putting the row back: exactly what was set aside is restored";
    AdminsAdd = "admins.add", Declarable, "list", "admin", "admins",
        "another tier in the row";
    AdminsRemove = "admins.remove", Fixed, "unlist", "admin", "admins",
        "asking for it in the roster again";
    UserArchiveDelete = "user.archive_delete", Floor, "archive and delete", "account", "accounts",
        "putting the row back: account and home are restored as long as the home is kept, and from its archive afterwards";
    ArchiveRecord = "archive.record", Fixed, "record", "archive", "archives",
        "nothing: it only says which archive there is";
    UserRestore = "user.restore", Floor, "make again", "deleted account", "deleted accounts",
        "removing the row again";
    HomeRestore = "home.restore", Fixed, "put back", "home", "homes",
        "removing the row again";
    UserPurge = "user.purge", Floor, "remove for ever", "archived home", "archived homes",
        "nothing for the directory; the archive of the home stays";
    UserClear = "user.clear", Fixed, "clear away", "remains of an interrupted step", "remains of interrupted steps",
        "putting the row back: the step is begun anew";
}
