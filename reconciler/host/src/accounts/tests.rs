//! What the databases are read as, and what is refused.

use super::*;
use crate::root::Ownership;

const PASSWD: &str = "# people\n\nroot:x:0:0:root:/root:/bin/bash\nold:$1$hash:7:7::/:/bin/sh\nopen:x:8:8:::\n\
    gone:x:9:9:::\ntwice:x:10:10:::\ntwice:x:11:10:::\nshort:x:12:12::/home\nlong:x:13:13:::::\n+nis::::::\nlate:x:14:14:::";
const SHADOW: &str =
    "late:*:1::::::\nroot:!$y$hash:19000:0:99999:7::20000:\nopen::::::::\nold:!!:::::::\n";

fn read(passwd: &[u8], shadow: &str) -> Result<Databases, ReadError> {
    let scratch = tempfile::tempdir().unwrap();
    let etc = scratch.path().join("etc");
    std::fs::create_dir(&etc).unwrap();
    std::fs::write(etc.join("passwd"), passwd).unwrap();
    std::fs::write(etc.join("shadow"), shadow).unwrap();
    std::fs::write(
        etc.join("group"),
        "root:x:0:late,root,late\nbroken:x\nstaff:x:50:late\n",
    )
    .unwrap();
    Databases::read(&RootDir::open(scratch.path(), Ownership::Performed).unwrap())
}

/// A database that was emptied, or that lost its first lines, is not taken for a host without accounts: what would be written over it
/// would also take the place of the last good copy.
#[test]
fn what_was_emptied_is_not_read_as_nobody() {
    for passwd in ["", "\n", "emo:x:1000:1000::/home/emo:/bin/sh\n"] {
        let error = read(passwd.as_bytes(), SHADOW).unwrap_err().to_string();
        assert_eq!(
            error,
            "/etc/passwd has no account with uid 0; restore it, for example from /etc/passwd-"
        );
    }
    let error = read(PASSWD.as_bytes(), "").unwrap_err().to_string();
    assert!(error.starts_with("/etc/shadow is empty"), "{error}");
    assert!(read(b"toor:x:0:0::/root:/bin/sh\n", SHADOW).is_ok());
}

#[test]
fn joins_passwd_and_shadow_whatever_their_order() {
    let databases = read(PASSWD.as_bytes(), SHADOW).unwrap();
    let accounts: Vec<_> = databases
        .accounts()
        .map(|account| (account.name, account.password, account.expires))
        .collect();
    assert_eq!(
        accounts,
        [
            ("root", PasswordField::LockedHash, Some(20_000)),
            ("old", PasswordField::Hash, None),
            ("open", PasswordField::Empty, None),
            ("gone", PasswordField::Missing, None),
            ("twice", PasswordField::Missing, None),
            ("twice", PasswordField::Missing, None),
            ("late", PasswordField::Locked, None),
        ]
    );
    for (name, password, expires) in accounts.into_iter().filter(|(name, ..)| *name != "twice") {
        let account = databases.account(name).unwrap();
        assert_eq!(
            (account.password, account.expires),
            (password, expires),
            "{name}"
        );
    }
    assert!(databases.account("twice").is_none() && databases.account("+nis").is_none());
    assert_eq!(databases.memberships()["late"], ["root", "staff"]);
    let some: Vec<_> = databases
        .accounts_where(|name| name == "late" || name == "open")
        .map(|account| (account.name, account.password))
        .collect();
    let expected = [
        ("open", PasswordField::Empty),
        ("late", PasswordField::Locked),
    ];
    assert_eq!(some, expected);
}

#[test]
fn members_are_read_from_gshadow_alone_too() {
    let mut databases = read(PASSWD.as_bytes(), SHADOW).unwrap();
    let text = b"root:*::\n#docker:!::emo\nsudo:!:adm:emo,ema\nx:!::\n+nis:!::emo\n";
    databases.gshadow = Table::parse(File::Gshadow, Some(text.to_vec())).unwrap();
    let listed: Vec<_> = databases.shadow_members().collect();
    assert_eq!(listed, [("sudo", "emo"), ("sudo", "ema")]);
}

#[test]
fn finds_memberships_that_one_of_group_and_gshadow_lacks() {
    let scratch = tempfile::tempdir().unwrap();
    let etc = scratch.path().join("etc");
    std::fs::create_dir(&etc).unwrap();
    let group = "root:x:0:\nsudo:x:27:ann,bob\ndocker:x:28:\nt3:x:96:ann\ntwice:x:30:ann\nalone:x:31:ann\nann:x:1000:\n";
    let gshadow = "root:*::\ndocker:!:eve:bob,bob\nsudo:!::bob\nt3:!:ann:ann\ntwice:!::\ntwice:!::\nann:!::\n#alone:!::\n";
    for (file, text) in [
        ("passwd", "root:x:0:0::/root:/bin/sh\n"),
        ("group", group),
        ("gshadow", gshadow),
    ] {
        std::fs::write(etc.join(file), text).unwrap();
    }
    let root = RootDir::open(scratch.path(), Ownership::Performed).unwrap();
    let read = || Databases::read(&root).unwrap();
    let halves: Vec<(String, String)> = read()
        .half_memberships()
        .into_iter()
        .map(|(user, groups)| (user.to_owned(), Vec::from_iter(groups).join(",")))
        .collect();
    let expected = [("ann", "sudo"), ("bob", "docker")];
    assert_eq!(halves, expected.map(|(a, b)| (a.to_owned(), b.to_owned())));
    // What makes one whole leaves none.
    let mut databases = read();
    databases
        .gshadow
        .push_member(databases.gshadow.entry("sudo").unwrap(), "ann");
    databases.leave_group("bob", "docker").unwrap();
    assert!(databases.half_memberships().is_empty());
    // Without gshadow there is one file only.
    std::fs::remove_file(etc.join("gshadow")).unwrap();
    assert!(read().half_memberships().is_empty());
}

#[test]
fn counts_ids_of_lines_it_cannot_read_as_used() {
    let databases = read(PASSWD.as_bytes(), SHADOW).unwrap();
    assert!(
        [0, 7, 8, 9, 10, 11, 12, 13, 14]
            .iter()
            .all(|uid| databases.uids_in_use().contains(uid))
    );
    assert!(
        [0, 7, 50, 14]
            .iter()
            .all(|gid| databases.gids_in_use().contains(gid))
    );
    assert_eq!(
        databases.odd_lines(),
        [(File::Passwd, 9), (File::Passwd, 10), (File::Group, 2)]
    );
}

#[test]
fn refuses_to_edit_what_it_cannot_read() {
    let mut databases = read(PASSWD.as_bytes(), SHADOW).unwrap();
    let mut error = |name: &str| {
        databases
            .set_shell(name, "/bin/sh")
            .unwrap_err()
            .to_string()
    };
    assert_eq!(
        error("short"),
        "/etc/passwd:9: the line of short is malformed; correct it with vipw or vigr"
    );
    assert_eq!(
        error("twice"),
        "/etc/passwd has more than one line for twice; remove all but one with vipw or vigr"
    );
    assert_eq!(error("nobody"), "there is no nobody in /etc/passwd");
    let error = databases.lock_password("gone").unwrap_err().to_string();
    assert_eq!(error, "/etc/shadow has no line for gone; run pwconv");
    assert!(databases.join_group("late", "broken").is_err());
}

#[test]
fn never_gives_what_a_batch_frees() {
    let mut databases = read(PASSWD.as_bytes(), SHADOW).unwrap();
    databases.delete("late", 14).unwrap();
    let account = |name, uid, gid| NewAccount {
        name,
        uid,
        gid,
        gecos: "",
        home: "/",
        shell: "/bin/sh",
        subuids: None,
        subgids: None,
        primary: PrimaryGroup::Own,
    };
    let mut create = |name, uid, gid| {
        databases
            .create(&account(name, uid, gid), &Aging::default(), 1)
            .unwrap_err()
    };
    assert_eq!(
        create("late", 60, 60),
        EditError::JustRemoved {
            name: "late".to_owned()
        }
    );
    assert_eq!(
        create("new", 14, 60),
        EditError::IdInUse {
            file: File::Passwd,
            id: 14
        }
    );
    assert_eq!(
        create("new", 60, 14),
        EditError::IdInUse {
            file: File::Group,
            id: 14
        }
    );
    assert_eq!(
        create("new", 12, 60),
        EditError::IdInUse {
            file: File::Passwd,
            id: 12
        }
    );
}

#[test]
fn says_where_a_file_is_damaged() {
    let error = |passwd: &[u8]| read(passwd, SHADOW).unwrap_err().to_string();
    assert!(error(b"root:x:0:0:::\n\0\0\0").starts_with("/etc/passwd:2: there is a NUL byte"));
    let latin = read(b"root:x:0:0:R\xf6\xf6t::\n", SHADOW).unwrap();
    assert_eq!(latin.account("root").unwrap().gecos, "R\u{fffd}\u{fffd}t");
}

/// What was saved comes back, unless somebody set another password in between.
#[test]
fn a_login_is_opened_with_the_password_that_was_set_last() {
    for (saved, since, opened) in [
        ("$6$old", "!$6$old", "$6$old"),
        ("$6$old", "$6$new", "$6$new"),
        ("$6$old", "!$6$new", "$6$new"),
        ("!$6$old", "!$6$old", "!$6$old"),
        ("!$6$old", "$6$new", "$6$new"),
        ("!", "!", "!"),
        ("!", "!$6$new", "$6$new"),
        ("*", "!*", "*"),
        ("", "!", ""),
        // Nothing behind a lock would let anybody in.
        ("$6$old", "!", "!"),
        ("$6$old", "", "$6$old"),
        ("$6$old", "!*", "!*"),
    ] {
        let shadow = |field: &str| format!("root:{field}:19000:0:99999:7::20000:\n");
        let mut before = read(PASSWD.as_bytes(), &shadow(saved)).unwrap();
        let login = before.lock_login("root", "/usr/sbin/nologin").unwrap();
        let mut now = read(PASSWD.as_bytes(), &shadow(since)).unwrap();
        now.restore_login("root", &login).unwrap();
        let restored = now.saved_login("root").unwrap();
        assert_eq!(restored.shadow.as_deref(), Some(opened), "{saved} {since}");
        assert_eq!(restored.expires, Some(20_000));
    }
}

#[test]
fn shows_no_hash() {
    let mut databases = read(PASSWD.as_bytes(), SHADOW).unwrap();
    let saved = databases.lock_login("root", "/usr/sbin/nologin").unwrap();
    let shown = format!("{databases:?} {saved:?} {:?}", databases.account("root"));
    assert!(
        !shown.contains("hash") && !shown.contains("36, 121, 36"),
        "{shown}"
    );
}

#[test]
fn what_a_broken_line_seems_to_say_is_told_and_stops_nobody_else() {
    let passwd = b"root:x:0:0:root:/root:/bin/bash\nshort:x:12:12::/home/short\nzo\xe9:x:13:13:::/bin/sh\n\
        odd:x:14:14::/home/\xff:/bin/sh\nfew:x:15\nmany:x:16:16::/:/bin/sh:x\nno:x:id:1:::\nlate:x:17:17:::/bin/sh\n";
    let shadow = "root:*:1::::::\nshort:$y$h:1:0:9:7:::\nlate:$y$h:1:0\n";
    let databases = read(passwd, shadow).unwrap();
    let strict: Vec<&str> = databases.accounts().map(|it| it.name).collect();
    assert_eq!(strict, ["root", "late"]);
    let all: Vec<_> = databases
        .accounts_where(|_| true)
        .map(|it| (it.name, it.uid, it.shell, it.password, it.broken))
        .collect();
    use PasswordField::{Hash, Locked, Missing};
    let passwd = Some(File::Passwd);
    assert_eq!(
        all,
        [
            ("root", 0, "/bin/bash", Locked, None),
            ("short", 12, "", Hash, passwd),
            ("odd", 14, "/bin/sh", Missing, passwd),
            ("few", 15, "", Missing, passwd),
            ("many", 16, "/bin/sh:x", Missing, passwd),
            ("late", 17, "/bin/sh", Hash, Some(File::Shadow)),
        ]
    );
    let claimed: Vec<_> = databases.claimed_uids().collect();
    assert!(claimed.contains(&("somebody", 13)) && claimed.contains(&("few", 15)));
}

#[test]
fn every_line_of_a_name_is_shut_as_far_as_fields_can_be_told() {
    let passwd = "root:x:0:0:root:/root:/bin/bash\namy:x:12:12::/home/amy:/bin/sh\namy:x:13:12::/home/amy:/bin/sh\n\
        short:x:14:14::/home/short\nlate:$y$own:15:15:::/bin/sh\nmany:x:16:16::/:/bin/sh:x\n";
    let shadow = "amy:$y$h:1:0:9:7:::\nshort:$y$h:1:0:9:7:::\namy:$y$i:1:0:9:7:::\nlate:$y$h:1:0\nmany:$y$h:1::::::\n";
    let mut databases = read(passwd.as_bytes(), shadow).unwrap();
    for name in ["amy", "short", "late", "many"] {
        assert!(databases.check_login_lines(name).is_err(), "{name}");
        assert!(databases.apparent_login(name).is_some(), "{name}");
    }
    assert_eq!(databases.check_login_lines("root"), Ok(()));
    for name in ["amy", "short", "late"] {
        databases
            .shut_every_line(name, "/usr/sbin/nologin")
            .unwrap();
    }
    let left = databases.shut_every_line("many", "/usr/sbin/nologin");
    assert!(
        matches!(left, Err(EditError::Malformed { line: 6, .. })),
        "{left:?}"
    );
    let text = |table: &Table| {
        let lines = table
            .lines()
            .map(|(_, line)| String::from_utf8_lossy(line).into_owned());
        Vec::from_iter(lines)
    };
    assert_eq!(
        text(&databases.passwd),
        [
            "root:x:0:0:root:/root:/bin/bash",
            "amy:x:12:12::/home/amy:/usr/sbin/nologin",
            "amy:x:13:12::/home/amy:/usr/sbin/nologin",
            "short:x:14:14::/home/short:/usr/sbin/nologin",
            "late:!$y$own:15:15:::/usr/sbin/nologin",
            "many:x:16:16::/:/bin/sh:x",
        ]
    );
    assert_eq!(
        text(&databases.shadow),
        [
            "amy:!$y$h:1:0:9:7::1:",
            "short:!$y$h:1:0:9:7::1:",
            "amy:!$y$i:1:0:9:7::1:",
            "late:!$y$h:1:0::::1:",
            "many:!$y$h:1:::::1:",
        ]
    );
}

#[test]
fn a_home_has_no_slash_behind_and_stays_as_it_is_written() {
    let passwd = "kai:x:1010:1010::/home/kai//:/bin/sh\nroot:x:0:0::/:/bin/sh\n";
    let mut databases = read(passwd.as_bytes(), SHADOW).unwrap();
    assert_eq!(databases.account("kai").unwrap().home, "/home/kai");
    assert_eq!(databases.account("root").unwrap().home, "/");
    databases.set_shell("kai", "/bin/bash").unwrap();
    let line = databases
        .passwd
        .line(databases.passwd.named("kai").unwrap());
    assert_eq!(line, b"kai:x:1010:1010::/home/kai//:/bin/bash");
}

#[test]
fn who_comes_back_has_the_shared_group_they_had() {
    let mut databases = read(PASSWD.as_bytes(), SHADOW).unwrap();
    let shared = databases.groups().next().unwrap().gid;
    let groups = databases.groups().count();
    let mut account = NewAccount {
        name: "kai",
        uid: 1_010,
        gid: shared,
        gecos: "",
        home: "/home/kai",
        shell: "/bin/sh",
        subuids: None,
        subgids: None,
        primary: PrimaryGroup::Own,
    };
    let refused = databases.create(&account, &Aging::default(), 1);
    assert!(
        matches!(refused, Err(EditError::IdInUse { .. })),
        "{refused:?}"
    );
    account.primary = PrimaryGroup::AsFound;
    databases.create(&account, &Aging::default(), 1).unwrap();
    assert_eq!(databases.account("kai").unwrap().gid, shared);
    assert_eq!(databases.groups().count(), groups);
    // Where there is none, it is their own again.
    account = NewAccount {
        name: "lou",
        uid: 1_011,
        gid: 1_011,
        ..account
    };
    databases.create(&account, &Aging::default(), 1).unwrap();
    assert_eq!(databases.group("lou").unwrap().gid, 1_011);
}

#[test]
fn lines_by_number_go_with_the_account() {
    let subuid = "amy:100000:9\n1001:200000:9\namy:300000:9\n10010:400000:9\n";
    let mut databases = read(
        b"root:x:0:0::/root:/bin/sh\namy:x:1001:1001::/home/amy:/bin/sh\n",
        SHADOW,
    )
    .unwrap();
    databases.subuid = Ranges::parse(File::Subuid, Some(subuid.into())).unwrap();
    databases.delete("amy", 1_001).unwrap();
    databases.remove_ranges_of(1_001);
    let left: Vec<_> = databases
        .subuids()
        .map(|(owner, it)| (owner.to_owned(), it.first))
        .collect();
    assert_eq!(left, [("10010".to_owned(), 400_000)]);
}
