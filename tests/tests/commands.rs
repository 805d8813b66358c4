//! The commands that look at a host and its ledger, and those that suspend it: the real program on a scratch workstation.

use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::os::unix::process::CommandExt as _;

use muster_tests::site::{ANN, ANN_AND_BOB, Ran, Site, hermetic, needs, program, wait_until};
use serde_json::Value;

const OK: Option<i32> = Some(0);
const FAILED: Option<i32> = Some(1);
const CHANGES: Option<i32> = Some(2);

fn json(ran: &Ran) -> Value {
    serde_json::from_str(&ran.out).unwrap_or_else(|error| panic!("{error}: {}", ran.said()))
}

#[track_caller]
fn says(ran: &Ran, code: i32, words: &str) {
    assert_eq!(ran.code, Some(code), "{}", ran.said());
    assert!(ran.said().contains(words), "no {words:?}: {}", ran.said());
}

fn ledger_head(site: &Site) -> String {
    fs::read_to_string(site.path("state/ledger.git/refs/muster/host/devvm")).expect("a ledger")
}

/// A workstation on which bob was cut, so that the deletion of his home waits.
fn bob_has_gone() -> Site {
    let site = Site::new();
    site.commit(ANN_AND_BOB, "ann and bob");
    let _ = site.settles();
    fs::write(site.on_host("home/bob/thesis"), [0; 2_048]).unwrap();
    site.commit(ANN, "bob has gone");
    let _ = site.settles();
    site
}

#[test]
fn a_plan_says_by_its_exit_code_whether_there_is_anything_to_do() {
    needs(&["git"]);
    let site = Site::new();
    says(&site.muster(&["plan"]), 0, "Nothing to change");
    let first = site.git(&["rev-parse", "main"]);
    let head = site.commit(ANN_AND_BOB, "ann and bob");
    for args in [
        &["plan"][..],
        &["plan", "--rev", "main"],
        &["plan", "--rev", "refs/heads/main"],
        &["plan", "--rev", &head],
        &["plan", "--branch", "main", "--format", "text"],
        &["plan", "--commit", &head, "--format", "markdown"],
    ] {
        says(&site.muster(args), 2, "bob");
    }
    assert_eq!(site.muster(&["plan", "--rev", &first]).code, OK);
    says(&site.muster(&["plan", "--rev", "nobody"]), 1, "nobody");
    says(
        &site.muster(&["plan", "--rev", "x", "--branch", "y"]),
        64,
        "--branch",
    );
    // What is named is planned, or there is no plan; what is in force is planned all the same, and the newest commit is beside it.
    let broken = site.commit("users: [", "broken");
    let named = site.muster(&["plan", "--commit", &broken, "--format", "json"]);
    let newest = site.muster(&["plan", "--format", "json"]);
    for (ran, problems) in [
        (&named, &json(&named)["problems"]),
        (&newest, &json(&newest)["refused"]["problems"]),
    ] {
        assert_eq!(ran.code, FAILED, "{}", ran.said());
        let place = problems[0]["place"].as_str().expect("a place");
        assert!(place.starts_with("roster.yaml:"), "{place}");
    }
}

#[test]
fn a_plan_for_programs_tells_every_step_and_another_machine_makes_the_same() {
    needs(&["git"]);
    let site = bob_has_gone();
    let here = site.muster(&[
        "plan",
        "--format",
        "json",
        "--record",
        &site.path("host.json").display().to_string(),
    ]);
    assert_eq!(here.code, CHANGES, "{}", here.said());
    let plan = json(&here);
    assert_eq!(plan["format"], 1);
    assert_eq!(plan["executor"], "host/devvm");
    assert_eq!(plan["inventory"]["source"], "host");
    assert_eq!(plan["policy"], "settings");
    let step = &plan["steps"][0];
    assert_eq!(step["verb"], "user.archive_delete");
    assert_eq!(step["user"], "bob");
    assert_eq!(step["class"], "destructive");
    assert_eq!(step["verdict"], "held");
    assert_eq!(step["reason"], "pending_signature");
    assert_eq!(step["parameters"]["home"], "/home/bob");
    assert!(
        step["words"]
            .as_str()
            .unwrap()
            .starts_with("user.archive_delete bob ")
    );

    // On a laptop: a clone, the record, and neither root nor settings.
    let clone = site.path("clone");
    site.git(&["clone", "--quiet", ".", &clone.display().to_string()]);
    let elsewhere = |inventory: &str, more: &[&str]| {
        let mut muster = std::process::Command::new(muster_tests::site::program());
        muster
            .env_clear()
            .args(["plan", "--format", "json", "--rev", "main", "--repo"])
            .arg(&clone)
            .args(["--inventory", inventory])
            .args(more);
        Ran::from(muster.output().expect("muster"))
    };
    let record = site.path("host.json");
    assert_eq!(
        fs::metadata(&record).unwrap().permissions().mode() & 0o777,
        0o600
    );
    let text = fs::read_to_string(&record).unwrap();
    assert!(
        !text.contains("$6$"),
        "a password hash was recorded: {text}"
    );
    // A ledger tells its host's policy, too; of a record by itself, none is known.
    let (built_in, own) = ("the built-in policy", "its own policy");
    for (inventory, policy, word) in [
        (record, built_in, "built-in"),
        (site.path("state/ledger.git"), own, "ledger"),
    ] {
        let ran = elsewhere(&inventory.display().to_string(), &[]);
        assert_eq!(ran.code, CHANGES, "{}", ran.said());
        assert!(ran.err.contains(policy), "{}", ran.err);
        let there = json(&ran);
        assert_eq!(there["inventory"]["source"], "recorded");
        assert_eq!(there["policy"], word);
        let ids = |plan: &Value| {
            plan["steps"]
                .as_array()
                .unwrap()
                .iter()
                .map(|it| it["id"].clone())
                .collect::<Vec<_>>()
        };
        assert!(ids(&there).contains(&step["id"]), "{there:#}");
    }
    says(&elsewhere("/nowhere", &[]), 1, "/nowhere");
    says(
        &elsewhere(
            &site.path("host.json").display().to_string(),
            &["--host", "other"],
        ),
        1,
        "host/devvm, not of host/other",
    );
    let alone = site.muster(&[
        "plan",
        "--inventory",
        &site.path("host.json").display().to_string(),
    ]);
    assert_eq!(alone.code, CHANGES, "{}", alone.said());
}

#[test]
fn what_waits_is_listed_with_what_it_would_destroy_and_explained() {
    needs(&["git"]);
    let site = bob_has_gone();
    let pending = site.muster(&["pending"]).ok();
    assert!(
        pending.out.contains("user.archive_delete bob"),
        "{}",
        pending.out
    );
    assert!(
        pending.out.contains("/home/bob, 2.0 KiB"),
        "{}",
        pending.out
    );
    assert!(
        pending.out.contains("last login unknown"),
        "{}",
        pending.out
    );
    assert!(!pending.out.contains('\x1b'), "{}", pending.out);
    let ledger = site.path("state/ledger.git").display().to_string();
    let all = json(
        &site
            .muster(&["pending", "--ledger", &ledger, "--format", "json"])
            .ok(),
    );
    let held = &all["executors"][0]["held"][0];
    assert_eq!(held["reason"], "pending_signature");
    assert_eq!(held["destroys"]["path"], "/home/bob");
    assert_eq!(held["destroys"]["bytes"], Value::Null);

    let id = held["id"].as_str().unwrap();
    for prefix in [id, &id[..8]] {
        let told = site.muster(&["explain", prefix]).ok();
        for words in [
            id,
            "takes an account and its home away",
            "a signed release that names it",
            "putting the row back: account and home",
        ] {
            assert!(told.out.contains(words), "no {words:?}: {}", told.out);
        }
    }
    says(
        &site.muster(&["explain", "0000000000000000"]),
        1,
        "no step 0000000000000000",
    );
    says(&site.muster(&["explain", "abc"]), 64, "at least four");
    says(&site.muster(&["explain", "user.cut"]), 64, "is no step");
}

#[test]
fn history_tells_what_was_done_for_whom_and_a_done_step_is_explained() {
    needs(&["git"]);
    let site = bob_has_gone();
    let all = json(&site.muster(&["history", "--format", "json"]).ok());
    let events = all["events"].as_array().unwrap();
    assert_eq!(events.len(), 2, "{all:#}");
    assert!(
        events[0]["decisions"][0]
            .as_str()
            .unwrap()
            .starts_with("adopted ")
    );
    assert_eq!(events[0]["held"], 1);
    let ann = json(
        &site
            .muster(&["history", "--user", "ann", "--format", "json"])
            .ok(),
    );
    let steps = &ann["events"][0]["steps"];
    assert!(
        steps
            .as_array()
            .unwrap()
            .iter()
            .all(|it| it["user"] == "ann"),
        "{ann:#}"
    );
    let create = steps[0]["id"].as_str().unwrap();
    let told = site.muster(&["explain", create]).ok();
    assert!(told.out.contains("asked for by commit"), "{}", told.out);
    says(
        &site.muster(&["history", "-n", "1"]),
        0,
        "done     bob  cut off",
    );
    // What was done before the adopted commit reads in the same words.
    let told = site.muster(&["history"]).ok().out;
    let flowing = told.split_whitespace().collect::<Vec<_>>().join(" ");
    for words in [
        "done ann create account (uid 1000, ",
        "make the home, /home/ann",
    ] {
        assert!(flowing.contains(words), "no {words:?}: {told}");
    }
    for machine in ["user.create", "group.join", "login.lock", "gid="] {
        assert!(!told.contains(machine), "{machine}: {told}");
    }
    let mut narrow = site.command(&["history"]);
    let narrow = Ran::from(narrow.env("COLUMNS", "50").output().expect("muster")).ok();
    let longest = narrow.out.lines().map(|it| it.chars().count()).max();
    assert!(longest <= Some(50), "{}", narrow.out);
    says(
        &site.muster(&["history", "--since", "2099-01-01"]),
        0,
        "Nothing was done.",
    );
    says(
        &site.muster(&["history", "--since", "soon"]),
        64,
        "is no moment",
    );
}

#[test]
fn without_a_ledger_each_of_them_says_what_to_do() {
    needs(&["git"]);
    let site = Site::new();
    for command in [&["pending"][..], &["history"], &["explain", "abcd"]] {
        let ran = site.muster(command);
        says(&ran, 66, "there is no ledger in");
        assert!(ran.err.contains("muster run --once"), "{}", ran.said());
    }
    says(
        &site.muster(&["pending", "--ledger", "/nowhere"]),
        66,
        "/nowhere",
    );
    let bare = Site::bare("");
    says(&bare.muster(&["pending"]), 78, "muster init");
    says(
        &bare.muster(&["suspend", "--reason", "x"]),
        78,
        "muster init",
    );
}

#[test]
fn a_suspended_host_plans_and_does_nothing_until_it_is_resumed() {
    needs(&["git"]);
    let site = Site::new();
    for args in [
        &["suspend"][..],
        &["suspend", "--reason", ""],
        &["suspend", "--reason", "x", "--until", "yesterday"],
        &["suspend", "--reason", "x", "--until", "2020-01-01"],
    ] {
        assert_eq!(site.muster(args).code, Some(64), "{args:?}");
    }
    says(&site.muster(&["resume"]), 0, "was not suspended");
    says(
        &site.muster(&["suspend", "--reason", "a disk is changed", "--until", "3d"]),
        0,
        "a disk is changed",
    );
    site.commit(ANN_AND_BOB, "ann and bob");
    let before = site.host();
    let ran = site.once().ok();
    assert!(ran.out.contains("suspended by"), "{}", ran.said());
    assert_eq!(before, site.host());
    let status = site.status();
    assert_eq!(status["suspended"]["reason"], "a disk is changed");
    let held = json(&site.muster(&["pending", "--format", "json"]).ok());
    let held = held["executors"][0]["held"].as_array().unwrap();
    assert!(
        !held.is_empty() && held.iter().all(|it| it["reason"] == "suspended"),
        "{held:#?}"
    );
    if let Err(wrong) = site.is_still() {
        panic!("{wrong}");
    }
    let _ = site.muster(&["resume", "--reason", "done with it"]).ok();
    let _ = site.settles();
    assert!(site.uid("bob").is_some());
    let told = site.muster(&["history"]).ok();
    assert!(
        told.out.contains("resumed by") && told.out.contains("done with it"),
        "{}",
        told.out
    );
    assert!(told.out.contains("suspended by"), "{}", told.out);
}

#[test]
fn a_daemon_at_work_is_suspended_and_resumed_and_its_ledger_tells_how_the_host_is() {
    needs(&["git"]);
    let site = Site::new();
    site.change_settings("poll = \"1s\"", "poll = \"1h\"\ndrift = \"1h\"");
    let mut daemon = site.daemon();
    wait_until("it is at work", || site.status()["at_work"].is_object());
    says(
        &site.muster(&["suspend", "--reason", "an audit"]),
        0,
        "an audit",
    );
    assert_eq!(site.status()["suspended"]["reason"], "an audit");
    site.commit(ANN_AND_BOB, "ann and bob");
    wait_until("what waits is in the ledger", || {
        site.muster(&["pending"]).out.contains("user.create bob")
    });
    assert_eq!(site.uid("bob"), None);
    says(&site.muster(&["resume"]), 0, "goes on");
    wait_until("bob has an account", || site.uid("bob").is_some());
    // What is done by hand changes no fact of muster's, and all the same the ledger says what is there.
    wait_until("the ledger has bob", || {
        site.muster(&["pending"]).out.contains("nothing waits")
    });
    let before = ledger_head(&site);
    let passwd = site.text_on_host("etc/passwd");
    site.write_on_host(
        "etc/passwd",
        &format!("{passwd}guest:x:1700:1700::/home/guest:/bin/sh\n"),
        0o644,
    );
    let _ = site.muster(&["reconcile"]).ok();
    wait_until("the inventory has the guest", || {
        ledger_head(&site) != before
    });
    let git_dir = site.path("state/ledger.git").display().to_string();
    let inventory = site.git(&[
        "--git-dir",
        &git_dir,
        "show",
        "refs/muster/host/devvm:inventory.json",
    ]);
    assert!(inventory.contains("\n\"guest\":{"), "{inventory}");
    assert!(!inventory.contains("$6$"), "{inventory}");
    assert_eq!(daemon.stop(), Some(0), "{}", daemon.log());
    assert_eq!(
        fs::read_dir(site.path("state/requests")).unwrap().count(),
        0
    );
    if let Err(wrong) = site.is_still() {
        panic!("{wrong}");
    }
}

#[test]
fn whoever_is_not_root_is_told_so() {
    needs(&["git"]);
    let site = bob_has_gone();
    fs::set_permissions(site.path("muster.toml"), fs::Permissions::from_mode(0o644)).unwrap();
    for args in [
        &["suspend", "--reason", "x"][..],
        &["resume"],
        &["pending"],
        &["history"],
    ] {
        let mut muster = site.command(args);
        let ran = Ran::from(muster.uid(65_534).gid(65_534).output().expect("muster"));
        says(&ran, 77, "run this as root");
    }
}

#[test]
fn the_log_is_json_where_that_is_asked_for() {
    needs(&["git"]);
    let site = Site::bare("[log]\nformat = \"json\"\n");
    site.init();
    site.change_settings(
        &format!("url = \"{}", site.path("origin").display()),
        "url = \"/nowhere",
    );
    let ran = site.once();
    let line = ran.err.lines().next().expect("a line of the log");
    let record: Value = serde_json::from_str(line).unwrap_or_else(|_| panic!("{}", ran.said()));
    assert!(
        record["message"].is_string()
            && record["level"].is_string()
            && record["timestamp"].is_string(),
        "{record:#}"
    );
    let human = site.muster(&["run", "--once", "--log-format", "human"]);
    assert!(!human.err.starts_with('{'), "{}", human.said());
}

#[test]
fn a_fleet_is_looked_at_from_anywhere_out_of_a_copy_of_the_ledgers() {
    needs(&["git", "faketime"]);
    let site = bob_has_gone();
    let ledger = site.path("state/ledger.git");
    let ledger = ledger.to_str().unwrap();
    // A copy, as anybody has it who may read the ledger repository; of settings it knows none.
    let elsewhere = Site::bare("");
    let copy = elsewhere.path("ledgers.git");
    let copy = copy.to_str().unwrap();
    let _ = elsewhere.git(&["clone", "--quiet", "--mirror", ledger, copy]);
    for named in [ledger, copy, &format!("file://{copy}")] {
        let well = elsewhere.muster(&["status", "--fleet", "--ledger", named]);
        says(&well, 0, "1 of 1 host well, 1 step held");
        assert!(well.out.contains("host/devvm  well"), "{}", well.said());
        let pending = elsewhere.muster(&["pending", "--fleet", "--ledger", named]);
        says(&pending, 0, "user.archive_delete bob");
    }
    let told =
        json(&elsewhere.muster(&["status", "--fleet", "--ledger", copy, "--format", "json"]));
    let host = &told["executors"][0];
    assert_eq!(
        (
            host["executor"].as_str(),
            host["state"].as_str(),
            host["held"].as_u64()
        ),
        (Some("host/devvm"), Some("well"), Some(1))
    );

    // What it told is no news in twenty minutes, and cannot have been told in twenty minutes from now.
    for (here, word, why) in [
        ("+20m", "host/devvm  silent", "last heard of at"),
        (
            "-20m",
            "host/devvm  clock ahead",
            "its clock is wrong, or the one here",
        ),
    ] {
        let mut faketime = hermetic("faketime");
        faketime.args(["-f", here]).arg(program());
        faketime.args(["status", "--fleet", "--ledger", copy]);
        let ran = Ran::from(faketime.output().expect("faketime"));
        says(&ran, 1, word);
        says(&ran, 1, why);
    }

    // What a branch would do there, by that host's own policy.
    let repo = site.path("origin");
    let plan = elsewhere.muster(&[
        "plan",
        "--host",
        "devvm",
        "--ledger",
        copy,
        "--repo",
        repo.to_str().unwrap(),
        "--rev",
        "main",
    ]);
    says(&plan, 2, "user.archive_delete bob");
    assert!(plan.err.contains("by its own policy"), "{}", plan.said());
    let nobody = elsewhere.muster(&["plan", "--host", "web1", "--ledger", copy]);
    says(&nobody, 1, "--host");

    // A host that froze is not well, and says why.
    let _ = site.git(&["commit", "--quiet", "--amend", "-m", "another history"]);
    let _ = site.once();
    let frozen = elsewhere.muster(&["status", "--fleet", "--ledger", ledger]);
    says(&frozen, 1, "frozen");
    says(
        &elsewhere.muster(&["status", "--ledger", copy]),
        64,
        "--fleet",
    );
    says(
        &elsewhere.muster(&["status", "--fleet", "--ledger", "/nowhere"]),
        66,
        "/nowhere",
    );
}

/// The numbers of the README's paragraph on exit codes, in their order.
fn codes_of_the_readme() -> BTreeSet<i32> {
    let readme = fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/../README.md")).unwrap();
    let (_, from) = readme
        .split_once("**Exit codes.**")
        .expect("a paragraph on exit codes");
    let (paragraph, _) = from.split_once("\n\n").expect("its end");
    let numbers = paragraph.split(|it: char| !it.is_ascii_digit());
    numbers.filter_map(|it| it.parse().ok()).collect()
}

/// F34, F30.
#[test]
fn every_exit_code_of_the_readme_is_given_and_no_other() {
    needs(&["git"]);
    let site = Site::new();
    let full = || fs::File::create("/dev/full").expect("/dev/full");
    let mut given: BTreeSet<i32> = BTreeSet::new();
    let mut ends = |ran: Ran, code: i32, words: &str| {
        says(&ran, code, words);
        given.insert(code);
    };
    // A plan.
    ends(site.muster(&["plan"]), 0, "Nothing to change");
    site.commit(ANN, "ann");
    ends(site.muster(&["plan"]), 2, "ann");
    ends(site.muster(&["plan", "--rev", "nobody"]), 1, "nobody");
    ends(site.muster(&["plan", "--frobnicate"]), 64, "--frobnicate");
    // Everything else.
    ends(site.muster(&["run", "--once"]), 0, "done at");
    ends(site.muster(&["status"]), 0, "in order");
    ends(site.muster(&["status", "ann"]), 0, "ann: ");
    let nobody = "nobody of that name was ever kept here";
    ends(site.muster(&["status", "anne"]), 1, nobody);
    ends(site.muster(&["frobnicate"]), 64, "frobnicate");
    for compatible in ["validate", "derive"] {
        ends(
            site.muster(&[compatible, "--frobnicate"]),
            2,
            "--frobnicate",
        );
    }
    ends(site.muster(&["check", "/nowhere"]), 66, "/nowhere");
    ends(
        site.muster(&["reconcile"]),
        69,
        "no muster daemon is running",
    );
    let elsewhere = Site::bare("");
    let origin = elsewhere.path("origin");
    fs::rename(&origin, elsewhere.path("gone")).unwrap();
    ends(elsewhere.muster(&["init", "--yes"]), 69, "did not answer");
    fs::rename(elsewhere.path("gone"), &origin).unwrap();
    ends(elsewhere.muster(&["status"]), 78, "muster init");
    let mut nowhere = hermetic(program());
    let nowhere = nowhere.args(["--config", "/nowhere.toml", "status"]);
    ends(
        nowhere.output().expect("muster").into(),
        78,
        "/nowhere.toml",
    );
    // Nobody else may write a state directory.
    let open = elsewhere.path("state");
    fs::create_dir_all(&open).unwrap();
    fs::set_permissions(&open, fs::Permissions::from_mode(0o777)).unwrap();
    ends(
        elsewhere.muster(&["init", "--yes"]),
        70,
        "is open to others",
    );
    fs::set_permissions(&open, fs::Permissions::from_mode(0o700)).unwrap();
    ends(
        elsewhere.muster(&["init", "--yes"]),
        0,
        "begins with commit",
    );
    ends(elsewhere.muster(&["init", "--yes"]), 1, "already holds");
    // A plan that cannot be said is 1, whatever the reason.
    let unwritten = "/nowhere/record.json";
    ends(site.muster(&["plan", "--record", unwritten]), 1, unwritten);
    let mut schema = site.command(&["schema", "roster"]);
    let unwritten = schema.stdout(full()).output().expect("muster");
    ends(unwritten.into(), 74, "cannot write the output");
    let mut nobody = site.command(&["run", "--once"]);
    let refused = nobody.uid(65_534).gid(65_534).output().expect("muster");
    ends(refused.into(), 77, "ermission denied");

    // Something is not in order.
    site.commit("users: [", "nonsense");
    ends(site.muster(&["check", "origin"]), 66, "origin");
    let checked = site.path("origin").display().to_string();
    ends(site.muster(&["check", &checked]), 1, "roster.yaml");
    ends(
        site.muster(&["run", "--once"]),
        1,
        "a newer commit was refused",
    );
    ends(site.muster(&["status"]), 1, "NOT IN ORDER: commit");

    // Two at once.
    let daemon = site.daemon();
    wait_until("it is at work", || site.muster(&["reconcile"]).code == OK);
    ends(site.muster(&["run", "--once"]), 75, "is at work here");
    ends(
        site.muster(&["run", "--once"]),
        75,
        "`systemctl stop muster`, the same command again, `systemctl start muster`",
    );
    drop(daemon);

    // A step that fails is work that is done and not in order, in the cycle in which it fails and while it waits for its next try.
    let full = Site::new();
    fs::create_dir_all(full.on_host("etc/muster/instances/bob.env/in-the-way")).unwrap();
    full.commit(ANN_AND_BOB, "ann and bob");
    ends(full.muster(&["run", "--once"]), 1, "failed");
    ends(full.muster(&["run", "--once"]), 1, "bob");
    ends(full.muster(&["status"]), 1, "is tried again");
    // A ledger that is damaged, beside a journal that is not.
    let head = full.path("state/ledger.git/refs/muster/host/devvm");
    fs::write(&head, format!("{}\n", "b".repeat(40))).unwrap();
    ends(full.muster(&["status"]), 70, "the ledger cannot be read");

    // Nothing can be known any more.
    wait_until("it is gone", || {
        site.muster(&["reconcile"]).code == Some(69)
    });
    let segment = fs::read_dir(site.path("state/journal"))
        .unwrap()
        .map(|it| it.unwrap().path())
        .find(|it| it.extension().is_some_and(|it| it == "log"))
        .expect("a segment of the journal");
    let mut bytes = fs::read(&segment).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    fs::write(&segment, bytes).unwrap();
    ends(site.muster(&["status"]), 70, "damaged");

    // The demo that is interrupted has a test of its own.
    given.insert(130);
    assert_eq!(given, codes_of_the_readme());
}
