//! Journal and ledger of which one is an older copy, or damaged: what is not known is not guessed, and what needs no
//! knowledge goes on.

use std::fs;
use std::path::Path;
use std::process::Command;

use muster_tests::site::{ANN, ANN_AND_BOB, Site, needs};

fn copied(from: &Path, to: &Path) {
    let _ = fs::remove_dir_all(to);
    let done = Command::new("cp").arg("-a").arg(from).arg(to).status();
    assert!(done.expect("cp").success());
}

/// Ann and bob are here; `kept` is `part` of the state directory as it was before they came.
fn lived_in(part: &str) -> Site {
    let site = Site::new();
    let _ = site.settles();
    copied(&site.path("state").join(part), &site.path("kept"));
    site.commit(ANN_AND_BOB, "ann and bob");
    let _ = site.settles();
    site
}

fn put_back(site: &Site, part: &str) {
    copied(&site.path("kept"), &site.path("state").join(part));
}

/// What `muster pending` shows is what a cycle at the console found, also where that cycle had nothing else to record (F6).
#[test]
fn a_cycle_at_the_console_tells_what_waits_now() {
    needs(&["git"]);
    let site = Site::new();
    site.commit(ANN_AND_BOB, "ann and bob");
    let _ = site.settles();
    site.live_in("bob");
    site.commit(ANN, "bob leaves");
    let _ = site.settles();
    let waits = || {
        let told = site.muster(&["pending", "--format", "json"]).ok();
        let told: serde_json::Value = serde_json::from_str(&told.out).unwrap();
        let held = told["executors"][0]["held"].as_array().unwrap().clone();
        let of_bob = held.into_iter().filter(|it| it["user"] == "bob");
        of_bob.map(|it| it["id"].to_string()).collect::<Vec<_>>()
    };
    let before = waits();
    assert_eq!(before.len(), 1, "{before:?}");
    // The same files in another place: a step that takes them is another step.
    let home = site.on_host("home/bob");
    copied(&home, &site.path("moved"));
    fs::remove_dir_all(&home).unwrap();
    copied(&site.path("moved"), &home);
    let _ = site.once();
    let now = waits();
    assert_ne!(now, before);
    let plan = site.muster(&["plan", "--format", "json"]).out;
    assert!(
        now.iter().all(|it| plan.contains(it.as_str())),
        "{now:?}\n{plan}"
    );
    site.is_still().unwrap();
}

#[test]
fn an_older_journal_freezes_until_somebody_has_looked() {
    needs(&["git"]);
    let site = lived_in("journal");
    put_back(&site, "journal");
    let looked = site.status();
    assert!(
        looked["frozen"].as_str().unwrap().contains("older copy"),
        "{looked:#}"
    );
    // What was given by hand is put right again; what the branch asks for since is not looked at.
    let map = site.text_on_host("etc/ttyd-user-map");
    site.write_on_host("etc/ttyd-user-map", "", 0o644);
    let adopted = site.commit(ANN, "bob leaves");
    let ran = site.once();
    assert_eq!(ran.code, Some(1), "{}", ran.said());
    assert!(ran.said().contains("Frozen"), "{}", ran.said());
    assert_eq!(site.text_on_host("etc/ttyd-user-map"), map);
    assert_eq!(site.status()["people"]["active"], 2);
    assert!(site.path("state/journal.old-1/00000001.log").exists());
    let still = site.changes_nothing().unwrap();
    assert_eq!(still.code, Some(1), "{}", still.said());
    let _ = site
        .muster(&["adopt", &adopted, "--reason", "looked at it"])
        .ok();
    assert_eq!(site.status()["frozen"], serde_json::Value::Null);
    let told = site.muster(&["history"]).ok();
    let decided = format!("decided for {adopted}: looked at it");
    assert!(told.out.contains(&decided), "{}", told.out);
    let _ = site.settles();
    assert_eq!(site.status()["people"]["cut"], 1);
}

/// Journal and ledger of an older copy agree with each other, and the mark beside them says otherwise (F5).
#[test]
fn an_older_state_directory_gives_nobody_back_what_was_taken() {
    needs(&["git"]);
    let site = Site::new();
    site.commit(ANN_AND_BOB, "ann and bob");
    let _ = site.settles();
    copied(&site.path("state"), &site.path("kept"));
    let adopted = site.commit(ANN, "bob leaves");
    let _ = site.settles();
    let taken = |when: &str| {
        let shadow = site.text_on_host("etc/shadow");
        let line = shadow.lines().find(|it| it.starts_with("bob:"));
        assert!(line.expect("bob").starts_with("bob:!"), "{when}: {shadow}");
        let map = site.text_on_host("etc/ttyd-user-map");
        assert!(!map.contains("bob"), "{when}: {map}");
    };
    taken("before");
    copied(&site.path("kept"), &site.path("state"));
    let (origin, away) = (site.path("origin"), site.path("origin.away"));
    fs::rename(&origin, &away).unwrap();
    for _ in 0..3 {
        let ran = site.once();
        assert!(ran.said().contains("older copy"), "{}", ran.said());
        taken("without an origin");
    }
    fs::rename(&away, &origin).unwrap();
    let _ = site.once();
    taken("with an origin");
    let looked = site.status();
    assert!(
        looked["frozen"].as_str().unwrap().contains("older copy"),
        "{looked:#}"
    );
    let _ = site
        .muster(&["adopt", &adopted, "--reason", "looked at it"])
        .ok();
    let _ = site.settles();
    taken("in the end");
    assert_eq!(site.status()["people"]["cut"], 1);
    site.is_still().unwrap();
}

#[test]
fn an_older_ledger_costs_nothing_while_the_journal_has_it_all() {
    needs(&["git"]);
    let site = lived_in("ledger.git");
    let before = site.status();
    put_back(&site, "ledger.git");
    assert_eq!(site.status()["people"], before["people"]);
    let ran = site.once().ok();
    assert_eq!(
        site.status()["frozen"],
        serde_json::Value::Null,
        "{}",
        ran.said()
    );
    assert_eq!(site.status()["adopted"], before["adopted"]);
    site.is_still().unwrap();
}

#[test]
fn an_older_ledger_beside_a_journal_without_what_came_between_stops_it() {
    needs(&["git"]);
    let site = Site::new();
    site.commit(ANN_AND_BOB, "ann and bob");
    let _ = site.settles();
    copied(&site.path("state/ledger.git"), &site.path("kept"));
    let crowd: String = (0..400)
        .map(|n| format!("  u{n}: {{authentik_user: u{n}.x, k8s_user: u{n}, tier: power-user}}\n"))
        .collect();
    site.commit(
        &format!("{ANN}{crowd}"),
        "bob leaves, and four hundred come",
    );
    let _ = site.settles();
    assert!(
        !site.path("state/journal/00000001.log").exists(),
        "a long journal that the ledger contains is not kept: {:?} bytes",
        fs::metadata(site.path("state/journal/00000001.log")).map(|it| it.len())
    );
    put_back(&site, "ledger.git");
    let host = site.host();
    let ran = site.once();
    assert_eq!(ran.code, Some(70), "{}", ran.said());
    assert!(
        ran.said().contains("put a newer ledger.git back"),
        "{}",
        ran.said()
    );
    // Above all, bob is not let in again.
    assert_eq!(host, site.host());
}

#[test]
fn a_damaged_journal_stops_it_and_says_what_to_do() {
    needs(&["git"]);
    let site = lived_in("journal");
    let segment = site.path("state/journal/00000001.log");
    let mut bytes = fs::read(&segment).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    fs::write(&segment, &bytes).unwrap();
    site.commit(ANN, "bob leaves");
    let host = site.host();
    let ran = site.once();
    assert!(!ran.is_ok(), "{}", ran.said());
    for word in ["damaged", "00000001.log", "put", "back from a backup"] {
        assert!(ran.said().contains(word), "{word}: {}", ran.said());
    }
    assert_eq!(host, site.host());
    assert_eq!(
        bytes,
        fs::read(&segment).unwrap(),
        "evidence stays as it is"
    );
}
