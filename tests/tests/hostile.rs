//! What people and programs can put in muster's way from outside: environment, names, files, links.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::process::Command;

use muster_tests::site::{ANN, ANN_AND_BOB, Ran, Site, differences, needs, replace_by_link};

#[test]
fn the_environment_changes_nothing() {
    needs(&["git"]);
    let site = Site::new();
    site.commit(ANN_AND_BOB, "ann and bob");
    let undisturbed = site.copy();
    let _ = undisturbed.settles();
    let mut muster = site.command(&["run", "--once"]);
    let elsewhere = site.path("elsewhere");
    for variable in [
        "GIT_DIR",
        "GIT_WORK_TREE",
        "GIT_INDEX_FILE",
        "GIT_OBJECT_DIRECTORY",
        "GIT_ALTERNATE_OBJECT_DIRECTORIES",
        "GIT_CEILING_DIRECTORIES",
        "GIT_NAMESPACE",
        "GIT_CONFIG",
        "GIT_CONFIG_GLOBAL",
        "GIT_CONFIG_SYSTEM",
        "GIT_CONFIG_PARAMETERS",
        "GIT_SSH_COMMAND",
        "GIT_EXTERNAL_DIFF",
        "GIT_REPLACE_REF_BASE",
        "HOME",
        "TMPDIR",
        "XDG_CONFIG_HOME",
        "LD_LIBRARY_PATH",
        "ENV",
        "BASH_ENV",
        "SHELL",
        "EDITOR",
        "PAGER",
    ] {
        muster.env(variable, &elsewhere);
    }
    muster
        .env("TZ", "Pacific/Kiritimati")
        .env("LC_ALL", "tr_TR.UTF-8")
        .env("LANG", "junk")
        .env("PATH", &elsewhere);
    muster
        .env("GIT_CONFIG_COUNT", "1")
        .env("GIT_CONFIG_KEY_0", "core.hooksPath")
        .env("GIT_CONFIG_VALUE_0", "/junk");
    let ran = Ran::from(muster.output().unwrap()).ok();
    assert_eq!(
        differences(&undisturbed.host(), &site.host()),
        "",
        "{}",
        ran.said()
    );
    assert!(!elsewhere.exists(), "something was made there");
    site.is_still().unwrap();
}

#[test]
fn names_in_branches_and_commits_are_only_text() {
    needs(&["git"]);
    let site = Site::new();
    let odd = "x\u{202e}<script>`$(id)`</script>";
    site.git(&["checkout", "--quiet", "-b", odd]);
    site.commit(
        ANN_AND_BOB,
        "a\nb <script>`id`</script> \u{202e}txt\n\nlast\u{7}",
    );
    site.git(&["checkout", "--quiet", "main"]);
    site.git(&["merge", "--quiet", "--no-ff", "-m", "`id` \u{202e}<b>", odd]);
    site.git(&["checkout", "--quiet", odd]);
    site.commit(
        &format!("{ANN_AND_BOB}  \"<script>\\u202e`\": {{tier: admin}}\n"),
        "worse",
    );
    site.git(&["checkout", "--quiet", "main"]);
    let ran = site.once().ok();
    assert!(site.uid("bob").is_some(), "{}", ran.said());
    let notes = site.git(&["log", "-p", "--all", "--", "."]);
    let told: String = site
        .git(&["for-each-ref", "--format=%(refname)", "refs/notes/muster"])
        .lines()
        .map(|reference| site.git(&["log", "-p", "--format=", reference]))
        .collect();
    assert!(!told.is_empty() && !notes.is_empty());
    for bad in ['\u{202e}', '\u{7}', '\u{1b}'] {
        assert!(
            !told.contains(bad) && !ran.said().contains(bad),
            "{bad:?} got through"
        );
    }
    // In a code span it is text; that spans cannot be left is tested where reports are made.
    let bare = told.lines().find(|it| {
        it.contains("<script>")
            && !it
                .split("<script>")
                .next()
                .is_some_and(|it| it.contains('`'))
    });
    assert_eq!(bare, None);
    site.is_still().unwrap();
}

/// What is no roster is attempted, not adopted, and nobody is touched.
#[test]
fn what_is_no_roster_is_refused_and_nobody_is_cut() {
    needs(&["git"]);
    let site = Site::new();
    site.commit(ANN_AND_BOB, "ann and bob");
    let _ = site.settles();
    let good = site.host();
    let roster = site.path("origin/roster.yaml");
    let refused = |what: &str| {
        site.git(&["add", "--all"]);
        site.git(&["commit", "--quiet", "-m", what]);
        let head = site.git(&["rev-parse", "HEAD"]);
        let ran = site.once();
        assert_eq!(ran.signal, None, "{what}: {}", ran.said());
        assert_eq!(
            site.status()["attempted"]["commit"],
            head.as_str(),
            "{what}: {}",
            ran.said()
        );
        assert_eq!(
            differences(&good, &site.host()),
            "",
            "{what}: {}",
            ran.said()
        );
    };
    let bomb: String = (1..12)
        .map(|n| {
            format!(
                "a{n}: &a{n} [{}]\n",
                vec![format!("*a{}", n - 1); 9].join(",")
            )
        })
        .collect();
    fs::write(&roster, format!("a0: &a0 [x]\n{bomb}users: *a11\n")).unwrap();
    refused("a bomb of aliases");
    fs::write(&roster, "[".repeat(200_000)).unwrap();
    refused("a deep nest");
    fs::write(&roster, "").unwrap();
    replace_by_link(&roster, "/etc/passwd");
    refused("a link");
    fs::remove_file(&roster).unwrap();
    let head = site.git(&["rev-parse", "HEAD"]);
    site.git(&[
        "rm",
        "--quiet",
        "--cached",
        "--ignore-unmatch",
        "roster.yaml",
    ]);
    site.git(&[
        "update-index",
        "--add",
        "--cacheinfo",
        &format!("160000,{head},roster.yaml"),
    ]);
    site.git(&["commit", "--quiet", "-m", "a submodule"]);
    let head = site.git(&["rev-parse", "HEAD"]);
    let ran = site.once();
    assert_eq!(
        site.status()["attempted"]["commit"],
        head.as_str(),
        "a submodule: {}",
        ran.said()
    );
    site.git(&["rm", "--quiet", "--cached", "roster.yaml"]);
    fs::File::create(&roster)
        .unwrap()
        .set_len(300 << 20)
        .unwrap();
    refused("three hundred megabytes");
    site.commit(ANN_AND_BOB, "mended");
    let _ = site.settles();
    assert_eq!(differences(&good, &site.host()), "");
}

#[test]
fn odd_lines_and_edits_by_hand_are_lived_with() {
    needs(&["git"]);
    let site = Site::new();
    let odd = "\n# a comment\n+nis::::::\nhalf:line\n:x:9:9:::\n-@netgroup\nkeeper:x:1500:1500::/home/keeper:/bin/bash\n";
    let passwd = site.text_on_host("etc/passwd") + odd;
    site.write_on_host("etc/passwd", &passwd, 0o644);
    site.write_on_host(
        "etc/login.defs",
        "UID_MIN banana\nUID_MAX -5\nSUB_UID_COUNT 99999999999999999999\n\0\u{feff}\n",
        0o644,
    );
    site.commit(ANN_AND_BOB, "ann and bob");
    let ran = site.once();
    assert_eq!(ran.signal, None, "{}", ran.said());
    assert!(
        site.text_on_host("etc/passwd")
            .starts_with(passwd.trim_end_matches('\n')),
        "lines that are not ours: {}",
        ran.said()
    );
    assert_eq!(
        site.uid("bob"),
        None,
        "nothing is planned on what cannot be read: {}",
        ran.said()
    );
    assert!(
        !ran.is_ok() && ran.said().contains("/etc/login.defs:1:9"),
        "{}",
        ran.said()
    );

    site.write_on_host("etc/login.defs", "HOME_MODE 0700\n", 0o644);
    let ran = site.settles();
    assert!(site.uid("bob").is_some(), "{}", ran.said());
    let map = site.text_on_host("etc/ttyd-user-map");
    site.write_on_host("etc/ttyd-user-map", "stranger=root\nbob.x=ann\n", 0o644);
    let ran = site.settles();
    let now = site.text_on_host("etc/ttyd-user-map");
    assert!(
        now.contains("bob.x=bob") && now.contains("ann.x=ann"),
        "{now}\nwas {map}\n{}",
        ran.said()
    );

    let shadow = site.on_host("etc/shadow");
    fs::rename(&shadow, site.on_host("etc/shadow.away")).unwrap();
    fs::create_dir(&shadow).unwrap();
    site.commit(ANN, "bob leaves");
    let before = site.host();
    let ran = site.once();
    assert!(!ran.said().contains("panicked"), "{}", ran.said());
    assert_eq!(
        before["/etc/passwd"],
        site.host()["/etc/passwd"],
        "{}",
        ran.said()
    );
    fs::remove_dir(&shadow).unwrap();
    fs::rename(site.on_host("etc/shadow.away"), &shadow).unwrap();
    let ran = site.settles();
    assert!(
        site.text_on_host("etc/passwd").contains("nologin"),
        "{}",
        ran.said()
    );
}

#[test]
fn links_lead_nowhere() {
    needs(&["git"]);
    let site = Site::new();
    site.commit(ANN_AND_BOB, "ann and bob");
    let _ = site.settles();
    site.live_in("bob");
    // What bob might have done before he was cut.
    site.write_on_host("etc/authorized_keys", "of root\n", 0o644);
    fs::create_dir_all(site.path("outside")).unwrap();
    fs::write(site.path("outside/authorized_keys"), "outside\n").unwrap();
    let outside = site.path("outside").display().to_string();
    for target in ["/etc", "../../etc", outside.as_str()] {
        let site = site.copy();
        replace_by_link(&site.on_host("home/bob/.ssh"), target);
        site.commit(ANN, "bob leaves");
        let ran = site.once();
        assert_eq!(ran.signal, None, "{}", ran.said());
        assert_eq!(
            site.text_on_host("etc/authorized_keys"),
            "of root\n",
            "{target}: {}",
            ran.said()
        );
        assert!(
            site.text_on_host("etc/passwd").contains("nologin"),
            "bob is shut out all the same: {}",
            ran.said()
        );
        let _ = site
            .changes_nothing()
            .unwrap_or_else(|wrong| panic!("{target}: {wrong}"));
    }
    let home = site.on_host("home/bob");
    fs::rename(&home, site.path("bobs")).unwrap();
    replace_by_link(&home, &outside);
    site.commit(ANN, "bob leaves");
    let ran = site.once();
    assert_eq!(
        fs::read_to_string(site.path("outside/authorized_keys")).unwrap(),
        "outside\n",
        "{}",
        ran.said()
    );
    assert!(
        site.text_on_host("etc/passwd").contains("nologin"),
        "{}",
        ran.said()
    );
    assert_eq!(
        fs::metadata(site.path("outside"))
            .unwrap()
            .permissions()
            .mode()
            & 0o777,
        0o755
    );
    let untouched = Command::new("find")
        .arg(site.path("outside"))
        .args(["-type", "f"])
        .output()
        .unwrap();
    assert_eq!(
        String::from_utf8_lossy(&untouched.stdout).lines().count(),
        1
    );
    let _ = site.changes_nothing().unwrap();
}
