//! What a cut, or a login that is shut, sets aside, and how it comes back.

use super::*;

#[test]
fn what_a_cut_sets_aside_comes_back_byte_for_byte() {
    let mut it = machine();
    it.settles(&format!("{EMO}{ADA}"));
    it.put(
        "home/emo/.ssh/authorized_keys",
        &vec![b'k'; 2_000_000],
        0o600,
    );
    it.put("home/emo/keys", b"linked", 0o640);
    symlink("../keys", it.path("home/emo/.ssh/authorized_keys2")).unwrap();
    it.put("var/spool/cron/crontabs/emo", b"@daily true\n", 0o600);
    it.put("var/lib/systemd/linger/emo", b"", 0o644);
    let files = [
        "etc/passwd",
        "etc/shadow",
        "etc/group",
        "etc/gshadow",
        "etc/subuid",
        "etc/subgid",
        "etc/ttyd-user-map",
    ];
    let (before, traces) = (files.map(|file| it.text(file)), it.traces());
    for _ in 0..2 {
        it.settles(&format!("users:\n{ADA}"));
        assert_ne!(files.map(|file| it.text(file)), before);
        let left: Vec<_> = it.traces().into_keys().collect();
        assert_eq!(
            left,
            [it.path("home/emo/.profile"), it.path("home/emo/keys")]
        );
        it.settles(&format!("{EMO}{ADA}"));
        assert_eq!(files.map(|file| it.text(file)), before);
        assert_eq!(it.traces(), traces);
    }
}

/// Past the last valid day, and back: what stands in shadow, a day of expiry of its own among it, and every trace of the login.
#[test]
fn a_login_that_is_shut_for_a_while_comes_back_byte_for_byte() {
    let mut it = machine();
    it.settles(&format!("{EMO}{ADA}"));
    it.put("home/emo/.ssh/authorized_keys", b"ssh-ed25519 AAAA", 0o600);
    it.put("var/spool/cron/crontabs/emo", b"@daily true\n", 0o600);
    it.put("var/lib/systemd/linger/emo", b"", 0o644);
    it.edit_shadow("emo", |fields| fields[7] = "47116".to_owned());
    let files = [
        "etc/passwd",
        "etc/shadow",
        "etc/group",
        "etc/gshadow",
        "etc/ttyd-user-map",
        "etc/muster/env/emo.env",
    ];
    let (before, traces) = (files.map(|file| it.text(file)), it.traces());
    for field in ["disabled: true", "expires: 2026-11-20"] {
        let shut = EMO.replace("power-user", &format!("power-user, {field}"));
        it.settles(&format!("{shut}{ADA}"));
        let emo = it.fields("etc/shadow", "emo");
        assert_eq!((emo[1].as_str(), emo[7].as_str()), ("!", "1"), "{field}");
        assert_eq!(it.fields("etc/passwd", "emo")[6], "/usr/sbin/nologin");
        assert!(!it.text("etc/ttyd-user-map").contains("emo"));
        assert_eq!(it.text("etc/group"), before[2], "no group is taken");
        let left: Vec<_> = it.traces().into_keys().collect();
        assert_eq!(left, [it.path("home/emo/.profile")]);
        it.settles(&format!("{EMO}{ADA}"));
        assert_eq!(files.map(|file| it.text(file)), before, "{field}");
        assert_eq!(it.traces(), traces, "{field}");
    }
}

#[test]
fn a_password_that_was_set_while_the_login_was_shut_opens_it_afterwards() {
    let mut it = machine();
    it.settles(&format!("{EMO}{ADA}"));
    let disabled = format!(
        "{}{ADA}",
        EMO.replace("power-user", "power-user, disabled: true")
    );
    let password = |it: &Machine| it.fields("etc/shadow", "emo")[1].clone();
    for again in [true, false] {
        it.edit_shadow("emo", |fields| fields[1] = "$6$old$hash".to_owned());
        it.cycle(&disabled);
        assert_eq!(password(&it), "!$6$old$hash");
        it.edit_shadow("emo", |fields| fields[1] = "$6$new$hash".to_owned());
        if again {
            it.settles(&disabled);
            assert_eq!(password(&it), "!$6$new$hash");
        }
        it.cycle(&format!("{EMO}{ADA}"));
        // An account that muster made has no password that opens it: it is locked by a step of its own.
        assert_eq!(
            password(&it).trim_start_matches('!'),
            "$6$new$hash",
            "{again}"
        );
        it.settles(&format!("{EMO}{ADA}"));
    }
}

#[test]
fn keys_that_come_back_while_somebody_is_cut_are_taken_again_and_the_first_are_restored() {
    let mut it = machine();
    it.settles(&format!("{EMO}{ADA}"));
    it.put("home/emo/.ssh/authorized_keys", b"first", 0o600);
    let cut = format!("users:\n{ADA}");
    it.settles(&cut);
    it.put(
        "home/emo/.ssh/authorized_keys",
        b"by some other tool",
        0o600,
    );
    it.settles(&cut);
    it.settles(&format!("{EMO}{ADA}"));
    assert_eq!(it.text("home/emo/.ssh/authorized_keys"), "first");
}

#[test]
fn a_login_that_was_opened_again_by_hand_is_shut_again_and_the_first_is_restored() {
    let mut it = machine();
    it.settles(&format!("{EMO}{ADA}"));
    let before = it.text("etc/shadow");
    let cut = format!("users:\n{ADA}");
    it.settles(&cut);
    let opened = it
        .text("etc/passwd")
        .replace("/usr/sbin/nologin", "/bin/sh");
    std::fs::write(it.path("etc/passwd"), opened).unwrap();
    it.settles(&cut);
    it.settles(&format!("{EMO}{ADA}"));
    assert_eq!(it.text("etc/shadow"), before);
    assert!(
        it.text("etc/passwd")
            .lines()
            .any(|line| line.starts_with("emo:") && line.ends_with(":/bin/zsh"))
    );
}

#[test]
fn a_crontab_is_set_aside_where_other_systems_keep_it_and_comes_back_there() {
    for place in ["var/spool/cron", "var/spool/cron/tabs"] {
        let mut it = machine();
        let both = format!("{EMO}{ADA}");
        it.settles(&both);
        let crontab = format!("{place}/emo");
        it.put(&crontab, b"@daily true\n", 0o600);
        it.settles(&format!("users:\n{ADA}"));
        assert!(!it.path(&crontab).exists(), "{place}");
        it.settles(&both);
        assert_eq!(it.text(&crontab), "@daily true\n");
    }
}
