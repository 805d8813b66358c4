//! Databases and settings with lines that cannot be read, or that stand there twice.

use super::*;

/// Puts `new` in the place of `old` in a file of the machine.
#[track_caller]
fn edit(it: &Machine, file: &str, old: &str, new: &str) {
    let text = std::fs::read(it.path(file)).unwrap();
    let text = as_latin1(&text);
    assert!(text.contains(old), "{old:?} in {text:?}");
    let text = text.replacen(old, new, 1);
    let bytes: Vec<u8> = text
        .chars()
        .map(|c| u8::try_from(u32::from(c)).unwrap())
        .collect();
    std::fs::write(it.path(file), bytes).unwrap();
}

/// Bytes as characters of the same number, so that lines that are no UTF-8 can be edited, too.
fn as_latin1(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| char::from(*byte)).collect()
}

#[test]
fn lines_of_others_that_cannot_be_read_stop_nobody() {
    let mut it = machine();
    it.settles(&format!("{EMO}{ADA}"));
    edit(
        &it,
        "etc/passwd",
        "root:x:0:0",
        "zed:x:1002:1002::/home/zed\nz\u{e9}:x:1003:1003:::\nroot:x:0:0",
    );
    edit(
        &it,
        "etc/passwd",
        "root:x:0:0",
        "two:x:1004:1004:::/bin/sh\ntwo:x:1700:1700:::/bin/sh\nroot:x:0:0",
    );
    edit(
        &it,
        "etc/group",
        "root:x:0:",
        "gr\u{e9}:x:1005:\nbroken:x\nroot:x:0:",
    );
    let newcomers = "  bea: {authentik_user: bea.x, k8s_user: beak, tier: power-user}\n  cem: {authentik_user: cem.x, k8s_user: cemk, tier: power-user}\n";
    it.settles(&format!("users:\n{ADA}{newcomers}"));
    let passwd = as_latin1(&std::fs::read(it.path("etc/passwd")).unwrap());
    assert!(
        passwd.contains("z\u{e9}:x:1003:1003:::\n")
            && passwd.contains("zed:x:1002:1002::/home/zed\n")
    );
    assert!(
        passwd
            .lines()
            .any(|line| line.starts_with("emo:") && line.ends_with("/nologin"))
    );
    let uid = |user: &str| it.replayed.facts.known.accounts().people[user].uid;
    let given = [uid("bea"), uid("cem")];
    assert!(
        given
            .iter()
            .all(|uid| ![1002, 1003, 1004, 1700].contains(uid)),
        "{given:?}"
    );
    assert!(it.path("home/bea").exists() && it.path("home/cem").exists());
}

#[test]
fn settings_that_cannot_be_read_keep_back_newcomers_alone() {
    let mut it = machine();
    it.settles(&format!("{EMO}{ADA}"));
    edit(&it, "etc/login.defs", "HOME_MODE 0700", "HOME_MODE private");
    let newcomer = "  bea: {authentik_user: bea.x, k8s_user: beak, tier: power-user}\n";
    let roster = format!("users:\n{ADA}{newcomer}");
    it.settles(&roster);
    assert!(
        it.text("etc/passwd")
            .lines()
            .any(|line| line.starts_with("emo:") && line.ends_with("/nologin"))
    );
    assert!(!it.text("etc/passwd").contains("bea"));
    let (plan, _) = it.plan(&roster);
    let notes: Vec<String> = plan.notes().iter().map(ToString::to_string).collect();
    assert!(
        notes
            .iter()
            .any(|it| it.starts_with("bea: ") && it.contains("/etc/login.defs:1")),
        "{notes:?}"
    );
    edit(&it, "etc/login.defs", "private", "0700 # private");
    it.settles(&roster);
    assert!(it.path("home/bea").exists());
}

#[test]
fn whoever_leaves_with_a_broken_line_is_cut_and_told() {
    // What was done to the line, whether the cut can be finished, and what is told.
    type Change = (&'static str, fn(&Machine), bool, &'static str);
    let changes: [Change; 4] = [
        (
            "a second line",
            |it| {
                let passwd = it.text("etc/passwd");
                let own = passwd
                    .lines()
                    .find(|line| line.starts_with("emo:"))
                    .unwrap();
                std::fs::write(it.path("etc/passwd"), format!("{passwd}{own}\n")).unwrap();
            },
            true,
            "more than one line for emo",
        ),
        (
            "a short line",
            |it| edit(it, "etc/passwd", "/home/emo:/bin/zsh", "/home/emo"),
            true,
            "the line of emo in /etc/passwd is malformed",
        ),
        (
            "a short line in shadow",
            |it| edit(it, "etc/shadow", "emo:!:", "emo:$y$hash:20000:0\nx:!:"),
            true,
            "the line of emo in /etc/shadow is malformed",
        ),
        (
            "a long line",
            |it| {
                edit(
                    it,
                    "etc/passwd",
                    "/home/emo:/bin/zsh",
                    "/home/emo:/bin/zsh:",
                )
            },
            false,
            "the line of emo in /etc/passwd is malformed",
        ),
    ];
    for (what, change, finished, told) in changes {
        let mut it = machine();
        it.settles(&format!("{EMO}{ADA}"));
        it.put("home/emo/.ssh/authorized_keys", b"ssh-ed25519 AAAA", 0o600);
        change(&it);
        let cut = format!("users:\n{ADA}");
        let (plan, _) = it.plan(&cut);
        let notes: Vec<String> = plan.notes().iter().map(ToString::to_string).collect();
        assert!(
            notes.iter().any(|it| it.contains(told)),
            "{what}: {notes:?}"
        );
        it.cycle(&cut);
        let failed: Vec<_> = it
            .results
            .iter()
            .filter(|(_, it)| *it != StepResult::Done)
            .collect();
        assert_eq!(failed.is_empty(), finished, "{what}: {failed:?}");
        assert!(!it.path("home/emo/.ssh/authorized_keys").exists(), "{what}");
        let shut = |it: &Machine, file: &str, open: &str| {
            let text = it.text(file);
            let open = text
                .lines()
                .any(|line| line.starts_with("emo:") && line.contains(open));
            assert!(!open, "{what}: {text}");
        };
        shut(&it, "etc/shadow", ":$y$");
        if finished {
            shut(&it, "etc/passwd", "/bin/zsh");
            it.settles(&cut);
        } else {
            assert!(it.reason("login.lock").contains("malformed"), "{what}");
            edit(&it, "etc/passwd", "/bin/zsh:", "/bin/zsh");
            it.settles(&cut);
            shut(&it, "etc/passwd", "/bin/zsh");
        }
    }
}

/// F25: the C library skips blanks before a name, so a line behind one is an account, and no second one is made beside it.
#[test]
fn an_account_behind_a_blank_is_not_made_once_more() {
    for blank in [" ", "\t", " \t "] {
        let mut it = machine();
        let path = it.path("etc/passwd");
        let before = std::fs::read_to_string(&path).unwrap();
        let lines = format!("{before}{blank}emo:x:1300:1300::/srv/emo:/bin/sh\n");
        std::fs::write(&path, &lines).unwrap();
        let (plan, _) = it.plan(EMO);
        let notes = format!("{:?}", plan.notes());
        assert!(plan.steps().is_empty(), "{notes}");
        assert!(
            notes.contains("the line of emo in /etc/passwd is malformed"),
            "{notes}"
        );
        it.cycle(EMO);
        assert_eq!(std::fs::read_to_string(&path).unwrap(), lines);
        // Put right, it is an account that may be adopted, as any other.
        std::fs::write(&path, lines.replace(blank, "")).unwrap();
        let (plan, _) = it.plan(EMO);
        assert!(!format!("{:?}", plan.notes()).contains("malformed"));
    }
}

/// F25: whoever is kept and gets a blank before a line, in whichever file, is not made once more; and whoever leaves is shut out, as far as
/// the line can be told, and told of until it is put right.
#[test]
fn somebody_kept_behind_a_blank_stays_one_and_is_cut() {
    let without = format!("users:\n{ADA}");
    for file in ["etc/passwd", "etc/shadow"] {
        let mut it = machine();
        it.cycle(EMO);
        let path = it.path(file);
        let indented = std::fs::read_to_string(&path)
            .unwrap()
            .replace("\nemo:", "\n emo:");
        std::fs::write(&path, indented.replace(" emo:!", " emo:$6$salt$hash")).unwrap();
        it.cycle(EMO);
        it.cycle(&without);
        let (plan, _) = it.plan(&without);
        let notes = format!("{:?}", plan.notes());
        assert!(
            notes.contains(&format!("the line of emo in /{file} is malformed")),
            "{file}: {notes}"
        );
        let text = std::fs::read_to_string(&path).unwrap();
        let of_emo = text
            .lines()
            .filter(|it| it.trim_start().starts_with("emo:"));
        assert_eq!(of_emo.count(), 1, "{file}: {text}");
        let shadow = it.text("etc/shadow");
        let line = shadow
            .lines()
            .find(|it| it.trim_start().starts_with("emo:"))
            .unwrap();
        assert!(
            line.contains("emo:!") && line.ends_with(":1:"),
            "{file}: {line}"
        );
    }
}

/// F24: what a former account left belongs to a gid as well as to a uid, and whoever got that gid would get in.
#[test]
fn a_gid_of_what_was_left_is_not_given() {
    let both = format!("{EMO}{ADA}");
    let mut it = machine();
    it.cycle(EMO);
    let next = it.uid() + 1;
    it.put("home/old/diary", b"", 0o640);
    if nix::unistd::geteuid().is_root() {
        std::os::unix::fs::chown(it.path("home/old"), Some(0), Some(next)).unwrap();
    } else {
        let path = it.path(".muster-ownership");
        let owners = std::fs::read_to_string(&path).unwrap_or_default();
        std::fs::write(&path, format!("{owners}0:{next} home/old\n")).unwrap();
    }
    let (plan, _) = it.plan(&both);
    it.cycle(&both);
    let people = &it.replayed.facts.known.accounts().people;
    let gid = people.get("ada").map(|it| it.gid);
    assert!(
        gid.is_some_and(|it| it != next),
        "{gid:?}: {:?}",
        plan.notes()
    );
    it.settles(&both);
}

/// F22: a range that a uid owns by its number goes with the uid: nobody new gets it, whatever file it stands in.
#[test]
fn a_uid_that_owns_a_range_by_its_number_is_not_given() {
    let both = format!("{EMO}{ADA}");
    for file in ["etc/subuid", "etc/subgid"] {
        let mut it = machine();
        it.cycle(EMO);
        let next = it.uid() + 1;
        let lines = it.text(file);
        it.put(
            file,
            format!("{lines}{next}:5000000:10\n").as_bytes(),
            0o644,
        );
        let (plan, _) = it.plan(&both);
        it.cycle(&both);
        let people = &it.replayed.facts.known.accounts().people;
        let ada = people.get("ada").map(|it| it.uid);
        assert_eq!(ada, Some(next + 1), "{file}: {:?}", plan.notes());
        it.settles(&both);
    }
}

/// F25: what an edit would refuse is not promised.
#[test]
fn a_line_that_stops_an_edit_is_told_before_it_does() {
    let both = format!("{EMO}{ADA}");
    let told = |plan: &Plan, who: &str, what: &str| {
        let notes = plan.notes().iter().map(ToString::to_string);
        let told = notes.filter(|it| it.starts_with(who) && it.contains(what));
        assert_eq!(told.count(), 1, "{:?}", plan.notes());
        assert!(plan.steps().is_empty(), "{:?}", plan.steps());
    };
    // Somebody who is to come, of whose name there is a line without an id.
    let mut it = machine();
    it.cycle(EMO);
    let passwd = it.text("etc/passwd");
    it.put(
        "etc/passwd",
        format!("{passwd}ada:x:abc:7::/home/ada:/bin/sh\n").as_bytes(),
        0o644,
    );
    told(&it.plan(&both).0, "ada: ", "is malformed");
    // Two lines of shadow.
    it.put("etc/passwd", passwd.as_bytes(), 0o644);
    let shadow = it.text("etc/shadow");
    for doubled in [
        "ada:!:1::::::\nada:!:1::::::\n",
        "ada:!:1::::::\nzed:*:1::::::\nada:*::::::\n",
    ] {
        it.put("etc/shadow", format!("{shadow}{doubled}").as_bytes(), 0o640);
        told(&it.plan(&both).0, "ada: ", "more than one line for ada");
    }
    it.put("etc/shadow", shadow.as_bytes(), 0o640);
    // Somebody who was here, and whose line somebody broke; also when they leave.
    it.cycle(&both);
    let passwd = it.text("etc/passwd");
    let line = passwd
        .lines()
        .find(|line| line.starts_with("ada:"))
        .unwrap();
    it.put(
        "etc/passwd",
        passwd
            .replace(line, "ada:x:abc:7::/home/ada:/bin/sh")
            .as_bytes(),
        0o644,
    );
    for rows in [&both, EMO] {
        let (plan, _) = it.plan(rows);
        let notes: Vec<String> = plan.notes().iter().map(ToString::to_string).collect();
        assert!(
            notes
                .iter()
                .any(|it| it.starts_with("ada: ") && it.contains("is malformed")),
            "{notes:?}"
        );
        assert!(
            !plan
                .steps()
                .iter()
                .any(|it| it.step.words().starts_with("user.create"))
        );
    }
    it.put("etc/passwd", passwd.as_bytes(), 0o644);
    it.settles(&both);
}

/// F20: two lines of shadow keep nobody in who is to be shut out.
#[test]
fn two_lines_of_shadow_keep_no_login_open() {
    let shut = EMO.replace("tier:", "disabled: true, tier:");
    for is_beside in [true, false] {
        let mut it = machine();
        it.cycle(EMO);
        let open = it.text("etc/shadow").replace("emo:!:", "emo:$6$salt$hash:");
        let line = open.lines().find(|line| line.starts_with("emo:")).unwrap();
        let doubled = match is_beside {
            true => open.replace(line, &format!("{line}\n{line}")),
            false => format!("{open}zed:*:1::::::\n{line}\n"),
        };
        it.put("etc/shadow", doubled.as_bytes(), 0o640);
        it.cycle(&shut);
        let left = it.text("etc/shadow");
        assert!(
            !left.lines().any(|line| line.starts_with("emo:$")),
            "{left}"
        );
    }
}

/// F24: a home of an account that somebody else's uid owns, whose account is gone.
#[test]
fn the_uid_that_owns_somebodys_home_is_not_given() {
    let both = format!("{EMO}{ADA}");
    let mut it = machine();
    it.cycle(EMO);
    let next = it.uid() + 1;
    if std::os::unix::fs::chown(it.path("home/emo"), Some(next), Some(next)).is_err() {
        return;
    }
    it.cycle(&both);
    let people = &it.replayed.facts.known.accounts().people;
    let ada = people.get("ada").map(|it| it.uid);
    assert_eq!(ada, Some(next + 1));
}

/// F22: a former account of the name, or somebody's mistake, left a line with ids of others.
#[test]
fn a_name_that_has_a_range_without_an_account_is_not_given() {
    let both = format!("{EMO}{ADA}");
    for file in ["etc/subuid", "etc/subgid"] {
        let mut it = machine();
        it.cycle(EMO);
        let lines = it.text(file);
        let stray = |range: &str| format!("{lines}zed:7000000:10\nada:{range}\n");
        let range = lines.trim_end().rsplit_once("emo:").unwrap().1.to_owned();
        for range in ["0:65536", &range] {
            it.put(file, stray(range).as_bytes(), 0o644);
            let (plan, _) = it.plan(&both);
            let notes = plan.notes().iter().map(ToString::to_string);
            let told = notes.filter(|it| it.starts_with("ada: ") && it.contains(file));
            assert_eq!(told.count(), 1, "{:?}", plan.notes());
            it.cycle(&both);
            assert!(!it.text("etc/passwd").contains("\nada:"));
        }
        it.put(file, lines.as_bytes(), 0o644);
        it.cycle(&both);
        assert!(it.text("etc/passwd").contains("\nada:"));
        it.settles(&both);
    }
}

/// F22.
#[test]
fn every_line_of_somebodys_ranges_is_told_of() {
    let mut it = machine();
    it.cycle(EMO);
    let uid = it.uid();
    let subuid = it.text("etc/subuid");
    let more = format!("emo:4000000:65536\n{uid}:5000000:10\n{uid}7:6000000:10\n");
    it.put("etc/subuid", format!("{subuid}{more}").as_bytes(), 0o644);
    let (_, observed) = it.plan(EMO);
    let Observed::Accounts(observed) = observed else {
        unreachable!()
    };
    let found = &observed.accounts.known().unwrap().by_name["emo"];
    let firsts: Vec<u32> = found.more.subuids.iter().map(|it| it.first).collect();
    assert_eq!(firsts, [4_000_000, 5_000_000]);
    assert!(found.more.subgids.is_empty());
    it.settles(EMO);
}
