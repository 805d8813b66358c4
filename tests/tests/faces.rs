//! What a host says of itself is what is true of it now: what failed and what becomes of it, that it is frozen or suspended, which
//! commit it is kept by, and whose fault it is when nothing can be said (O4, F30, F33).

use std::fs;
use std::time::{Duration, SystemTime};

use muster_tests::operator::{self, Place, says};
use muster_tests::site::{ANN, ANN_AND_BOB, Ran, Site, hermetic, needs, program};
use serde_json::Value;

fn json(ran: &Ran) -> Value {
    serde_json::from_str(&ran.out).unwrap_or_else(|error| panic!("{error}: {}", ran.said()))
}

/// Bob's environment file cannot be written: a directory is in its way.
fn bob_fails() -> Site {
    let site = Site::new();
    fs::create_dir_all(site.on_host("etc/muster/instances/bob.env/in-the-way")).unwrap();
    site.commit(ANN_AND_BOB, "ann and bob");
    says(&site.once(), 1, "failed");
    says(
        &site.muster(&["status"]),
        1,
        "1 step fails, and is tried again",
    );
    says(&site.muster(&["status"]), 1, "(once, next try at ");
    site
}

/// What nobody plans any more is no failure: the history tells of it (O4).
#[test]
fn a_failure_of_what_is_no_longer_planned_is_history() {
    needs(&["git"]);
    let site = bob_fails();
    let fleet = || site.muster(&["status", "--fleet"]);
    says(&fleet(), 1, "1 step fails, and is tried again");
    let failures = &site.status()["failures"];
    let failure = failures.as_object().unwrap().values().next().unwrap();
    assert!(
        failure["retry_at"].is_string() && failure["waits"].is_null(),
        "{failure}"
    );
    // His row goes, and so does the step.
    site.commit(ANN, "bob is not to come");
    let _ = site.once();
    let status = site.status();
    assert_eq!(status["failures"], serde_json::json!({}), "{status:#}");
    assert_eq!(status["matters"], serde_json::json!([]), "{status:#}");
    let said = site.muster(&["status"]);
    says(&said, 0, "in order");
    assert!(!said.out.contains("failed    "), "{}", said.out);
    says(&fleet(), 0, "well");
    let history = site.muster(&["history"]).ok();
    assert!(history.out.contains("failed   bob"), "{}", history.out);
}

/// What waits is said by the ledger, and a failure can be newer than that: whoever was killed in between left it in the journal.
#[test]
fn a_failure_that_the_ledger_does_not_have_yet_is_one() {
    needs(&["git", "cp"]);
    let site = Site::new();
    let _ = site.settles();
    let ledger = site.path("state/ledger.git");
    let before = site.path("before.git");
    let copied = hermetic("cp").arg("-a").args([&ledger, &before]).status();
    assert!(copied.expect("cp").success());
    fs::create_dir_all(site.on_host("etc/muster/instances/bob.env/in-the-way")).unwrap();
    site.commit(ANN_AND_BOB, "ann and bob");
    says(&site.once(), 1, "failed");
    fs::remove_dir_all(&ledger).unwrap();
    fs::rename(&before, &ledger).unwrap();
    says(
        &site.muster(&["status"]),
        1,
        "1 step fails, and is tried again",
    );
}

/// A step that failed under a release runs again by another one alone: no next try is promised.
#[test]
fn a_released_step_that_failed_promises_no_next_try() {
    needs(&["git", "ssh-keygen"]);
    let place = Place::new();
    let site = &place.site;
    let emo = place.operator("emo");
    let _ = site
        .muster(&["trust", "init", "--operational", &emo.spec("emo")])
        .ok();
    site.commit(operator::ANN, "ann administers");
    let _ = site.settles();
    let _ = emo.releases_all();
    // Some tool left its lock behind before the machine was booted, and its number is another process's now.
    let lock = site.on_host("etc/group.lock");
    fs::write(&lock, std::process::id().to_string()).unwrap();
    let long_ago = SystemTime::UNIX_EPOCH + Duration::from_secs(1_000_000_000);
    fs::File::options()
        .write(true)
        .open(&lock)
        .unwrap()
        .set_modified(long_ago)
        .unwrap();
    says(&site.once(), 1, "failed");
    let status = site.status();
    let failure = status["failures"].as_object().unwrap().values().next();
    let failure = failure.unwrap_or_else(|| panic!("{status:#}"));
    assert_eq!(failure["retry_at"], Value::Null, "{status:#}");
    assert_eq!(failure["waits"], "pending_signature", "{status:#}");
    let said = site.muster(&["status"]);
    says(&said, 0, "tried again by another release alone: `muster");
    assert!(!said.out.contains("next try"), "{}", said.out);
}

/// The plan of an executor that is suspended or frozen says so in every form (F33).
#[test]
fn a_plan_says_what_keeps_it_from_running() {
    needs(&["git"]);
    let site = Site::new();
    let first = site.commit(ANN, "ann");
    let _ = site.settles();
    site.commit(ANN_AND_BOB, "ann and bob");
    let _ = site
        .muster(&["suspend", "--reason", "a disk is changed"])
        .ok();
    let plan = site.muster(&["plan"]);
    says(&plan, 2, "SUSPENDED, nothing runs: suspended by");
    says(&plan, 2, "a disk is changed");
    says(
        &site.muster(&["plan", "--format", "markdown"]),
        2,
        "SUSPENDED, nothing runs",
    );
    let _ = site.muster(&["resume", "--reason", "done"]).ok();
    assert!(!site.muster(&["plan"]).out.contains("SUSPENDED"));
    let _ = site.settles();
    site.git(&["reset", "--quiet", "--hard", &first]);
    let other = site.commit("users: {}\n", "another history");
    // Before a cycle has seen it, and after that.
    let plan = site.muster(&["plan"]);
    says(&plan, 1, "does not descend from what was adopted");
    says(&plan, 1, &other[..12]);
    let _ = site.once();
    says(
        &site.muster(&["plan"]),
        0,
        "FROZEN, nothing but benign steps runs: the protected branch was rewritten",
    );
}

/// While the newest commit is refused the adopted one stays in force, and can be planned (invariant 7).
#[test]
fn what_is_in_force_is_planned_while_a_newer_commit_is_refused() {
    needs(&["git"]);
    let site = Site::new();
    site.commit(ANN_AND_BOB, "ann and bob");
    let _ = site.settles();
    site.commit(ANN, "bob leaves");
    let _ = site.settles();
    let adopted = site.status()["adopted"].as_str().unwrap().to_owned();
    let broken = site.commit("users: [\n", "nonsense");
    // Before a cycle has looked at it, and after that.
    for _ in 0..2 {
        let plan = site.muster(&["plan"]);
        says(&plan, 1, "roster.yaml");
        let why = format!("{} of refs/heads/main is refused", &broken[..12]);
        says(&plan, 1, &why);
        says(&plan, 1, "user.archive_delete bob");
        let told = json(&site.muster(&["plan", "--format", "json"]));
        assert_eq!(told["commit"], adopted.as_str());
        assert_eq!(told["refused"]["commit"], broken.as_str());
        assert!(!told["refused"]["problems"].as_array().unwrap().is_empty());
        assert_eq!(told["problems"], serde_json::json!([]));
        let restore = site.muster(&["restore", "bob"]);
        says(&restore, 1, &why);
        says(&restore, 1, "Nothing brings bob back at commit");
        let doctor = site.muster(&["doctor"]);
        says(&doctor, 1, &format!("refs/heads/main is {}", &broken[..12]));
        let _ = site.once();
    }
    // What a person names is planned as it is, or not at all.
    let named = site.muster(&["plan", "--commit", &broken]);
    assert_eq!(named.code, Some(1), "{}", named.said());
    assert!(!named.out.contains("user.archive_delete"), "{}", named.out);
}

/// All is done that can be, and something is not as the roster says: `status` does not keep it to itself.
#[test]
fn what_somebody_has_to_look_at_is_told_by_status() {
    needs(&["git"]);
    let site = Site::new();
    site.commit(ANN, "ann");
    let _ = site.settles();
    says(&site.muster(&["status"]), 0, "state     in order\n");
    let home = site.on_host("home/ann");
    fs::rename(&home, site.on_host("away")).unwrap();
    let _ = site.settles();
    let told = site.muster(&["status"]);
    says(
        &told,
        0,
        "state     in order, but for what somebody has to look at\n",
    );
    says(&told, 0, "look at   ann: home /home/ann is gone");
    assert_eq!(site.status()["attention"].as_array().unwrap().len(), 1);
    fs::rename(site.on_host("away"), &home).unwrap();
    let _ = site.settles();
    says(&site.muster(&["status"]), 0, "state     in order\n");
}

/// Somebody took the branch away: what was adopted is enforced, and that is not all well.
#[test]
fn a_branch_that_was_taken_away_is_not_in_order() {
    needs(&["git"]);
    let site = Site::new();
    let commit = site.commit(ANN, "ann");
    let _ = site.settles();
    site.git(&["update-ref", "-d", "refs/heads/main"]);
    says(&site.once(), 1, "the protected branch is not there");
    says(
        &site.muster(&["status"]),
        0,
        "the protected branch is not there",
    );
    site.git(&["update-ref", "refs/heads/main", &commit]);
    let _ = site.settles();
}

/// What an executor begins with is kept at once, and in force before anything was heard of the origin again.
#[test]
fn what_it_begins_with_outlives_the_origin() {
    needs(&["git"]);
    let site = Site::bare("");
    let commit = site.commit(ANN, "ann");
    site.init();
    let (origin, gone) = (site.path("origin"), site.path("gone"));
    fs::rename(&origin, &gone).unwrap();
    says(&site.once(), 1, "the state repository did not answer");
    assert!(site.text_on_host("etc/passwd").contains("\nann:"));
    fs::rename(&gone, &origin).unwrap();
    let _ = site.settles();
    assert_eq!(site.status()["adopted"], commit.as_str());
}

/// An older commit of the branch is no decision where all is well: the next cycle would go on from it.
#[test]
fn an_older_commit_is_not_adopted_where_the_next_cycle_would_leave_it() {
    needs(&["git"]);
    let site = Site::new();
    let older = site.commit(ANN, "ann");
    let _ = site.settles();
    let newest = site.commit(ANN_AND_BOB, "ann and bob");
    let _ = site.settles();
    let adopt = |commit: &str| site.muster(&["adopt", commit, "--reason", "go back"]);
    let refused = adopt(&older);
    says(&refused, 1, &newest[..12]);
    says(&refused, 1, "revert on refs/heads/main");
    says(&refused, 1, "muster suspend");
    assert_eq!(site.status()["adopted"], newest.as_str());
    let told = site.muster(&["history"]).ok();
    assert!(!told.out.contains("go back"), "{}", told.out);
    // The newest one itself is a decision, such as that what was stuck was looked at.
    says(&adopt(&newest), 0, "adopts");
    // Where it is frozen an older one is a way out, and where that leads is said in the same breath.
    site.git(&["reset", "--quiet", "--hard", &older]);
    let other = site.commit("users: {}\n", "another history");
    let _ = site.once();
    assert!(site.status()["frozen"].is_string());
    let out = adopt(&older);
    says(&out, 0, "adopts");
    says(&out, 0, &format!("goes on from there to {other}"));
    let _ = site.settles();
    assert_eq!(site.status()["adopted"], other.as_str());
}

/// The origin is told as it answers now, and is not blamed for what is not its fault.
#[test]
fn doctor_says_what_the_origin_shows_and_whose_fault_it_is() {
    needs(&["git"]);
    let site = Site::new();
    let first = site.commit(ANN, "ann");
    let _ = site.settles();
    site.commit(ANN_AND_BOB, "ann and bob");
    let _ = site.settles();
    site.git(&["reset", "--quiet", "--hard", &first]);
    let other = site.commit("users: {}\n", "another history");
    let _ = site.once();
    let origin = |ran: &Ran| {
        let told = json(ran);
        let sheets = told["sheets"].as_array().unwrap().clone();
        let found = sheets
            .iter()
            .flat_map(|it| it["findings"].as_array().unwrap());
        let found = found.filter(|it| it["part"] == "origin");
        found.cloned().collect::<Vec<_>>()
    };
    let told = origin(&site.muster(&["doctor", "--format", "json"]));
    let text = told[0]["text"].as_str().unwrap();
    assert!(
        text.contains(&format!("refs/heads/main is {}", &other[..12])),
        "{text}"
    );
    assert_eq!(
        told[0]["health"], "good",
        "the freeze is a finding of its own"
    );
}

#[test]
fn doctor_does_not_blame_the_origin_for_a_certificate_that_is_missing() {
    needs(&["git"]);
    let site = Site::bare("");
    let settings = site.path("guests.toml");
    let text = format!(
        "[state]\nurl = {:?}\n\n[[guests]]\nname = \"pve1\"\nkind = \"proxmox\"\nurl = \"https://pve1.example:8006\"\nnode = \"pve1\"\n\
         ca = {:?}\ntoken = {:?}\ndir = {:?}\n",
        site.path("origin"),
        site.path("no-such-ca.pem"),
        site.path("token"),
        site.path("guests-state"),
    );
    fs::write(&settings, text).unwrap();
    let muster = |args: &[&str]| {
        let mut muster = hermetic(program());
        let ran = muster.arg("--config").arg(&settings).args(args).output();
        Ran::from(ran.expect("muster"))
    };
    let began = muster(&["init", "--yes"]);
    assert!(began.is_ok(), "{}", began.said());
    let told = json(&muster(&["doctor", "--format", "json"]));
    let sheets = told["sheets"].as_array().unwrap();
    let found: Vec<&Value> = sheets
        .iter()
        .flat_map(|it| it["findings"].as_array().unwrap())
        .collect();
    let of = |part: &str| found.iter().find(|it| it["part"] == part);
    assert_eq!(
        of("origin").expect("an origin")["health"],
        "good",
        "{told:#}"
    );
    let blamed = found
        .iter()
        .filter(|it| it["text"].as_str().unwrap().contains("no-such-ca.pem"));
    assert_eq!(blamed.count(), 1, "once, where it belongs: {told:#}");
}

/// A number that no machine holds is out of range, and not of another type.
#[test]
fn a_number_of_any_size_in_the_settings_is_told_as_one() {
    let site = Site::bare("removals = 99999999999999999999999\n");
    let said = site.muster(&["status"]);
    says(
        &said,
        78,
        "`removals` is out of range: 99999999999999999999999",
    );
    assert!(!said.said().contains("not integer"), "{}", said.said());
    site.change_settings(
        "removals = 99999999999999999999999",
        "removals = 18446744073709551615",
    );
    says(&site.muster(&["status"]), 78, "`removals` is out of range");
    site.change_settings("removals = 18446744073709551615", "removals = \"many\"");
    says(
        &site.muster(&["status"]),
        78,
        "`removals` must be a whole number",
    );
}

/// With settings that say nothing, what is missing is the address of the state repository, and every command leads there (F33).
#[test]
fn empty_settings_lead_to_the_one_that_is_needed() {
    let site = Site::bare("");
    fs::write(site.path("muster.toml"), "").unwrap();
    says(&site.muster(&["init", "--yes"]), 78, "set [state] url");
    says(&site.muster(&["doctor"]), 1, "set [state] url");
}

/// What cannot be taken out leaves nothing where it was to be, and a file that is not there is told as that.
#[test]
fn an_archive_that_cannot_be_taken_out_leaves_no_directory() {
    let site = Site::bare("");
    let file = site.path("muster.toml").display().to_string();
    let into = site.path("into");
    let dir = into.display().to_string();
    says(
        &site.muster(&["archive", "extract", &file, &dir]),
        1,
        "the archive",
    );
    assert!(!into.exists(), "made for nothing");
    let absent = site.path("absent.tar.zst").display().to_string();
    for args in [
        &["archive", "extract", &absent, &dir][..],
        &["archive", "verify", &absent],
        &["archive", "list", &absent],
    ] {
        says(&site.muster(args), 66, "absent.tar.zst");
    }
    assert!(!into.exists(), "made for nothing");
    // A directory that was there stays.
    fs::create_dir(&into).unwrap();
    says(
        &site.muster(&["archive", "extract", &file, &dir]),
        1,
        "the archive",
    );
    assert!(into.exists());
}

/// What is only for muster itself is not offered to anybody (F34).
#[test]
fn commands_that_muster_starts_itself_are_not_offered() {
    let site = Site::bare("");
    for args in [&[][..], &["--help"], &["readr"], &["notes-as-ownr"]] {
        let said = site.muster(args).said();
        for hidden in ["notes-as-owner", "pretend-incus", "reader"] {
            assert!(!said.contains(hidden), "{hidden}: {said}");
        }
    }
    let code = site.muster(&[]).code;
    assert_eq!(code, Some(64));
    let none = site.muster(&["history", "-n", "0"]);
    assert_eq!(none.code, Some(64), "{}", none.said());
}
