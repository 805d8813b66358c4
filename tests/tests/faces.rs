//! What a host says of itself is what is true of it now: what failed and what becomes of it, that it is frozen or suspended, which
//! commit it is kept by, and whose fault it is when nothing can be said (O4, F30, F33).

use std::fs;
use std::time::{Duration, SystemTime};

use muster_tests::operator::{self, Place, says};
use muster_tests::site::{ANN, ANN_AND_BOB, Site, hermetic, needs};
use serde_json::Value;

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
