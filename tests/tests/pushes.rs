//! A host that pushes its ledger, and what others then read: real git on both sides, and a host in a directory.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{SystemTime, UNIX_EPOCH};

use muster::fleet::GitFleet;
use muster::host_key;
use muster::settings::{self, Ambient};
use muster::state_dir::StateDir;
use muster_core::accounts::policy::Policy;
use muster_core::executor::Executor as Name;
use muster_core::fleet::{ExecutorReport, Fleet as _};
use muster_core::ledger::inventory;
use muster_core::time::Time;
use muster_git::Origin;
use muster_sim::{Repository, Sim, SimHost};
use muster_tests::site::{ANN, ANN_AND_BOB, Site, needs, wait_until};

fn now() -> Time {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
    Time(i64::try_from(since.as_secs()).unwrap())
}

fn git(dir: &Path, arguments: &[&str]) -> Option<String> {
    let output = Command::new("git")
        .arg("--git-dir")
        .arg(dir)
        .args(arguments)
        .env_clear()
        .env("PATH", "/usr/local/bin:/usr/bin:/bin")
        .output()
        .expect("git");
    let text = String::from_utf8(output.stdout).expect("text");
    output.status.success().then(|| text.trim().to_owned())
}

/// A host that pushes into `there.git`.
fn site() -> (Site, PathBuf) {
    needs(&["git"]);
    let site = Site::new();
    let there = site.path("there.git");
    assert!(git(&there, &["init", "--quiet", "--bare"]).is_some());
    let fleet = format!("[fleet]\nledger = \"{}\"\n[state]\n", there.display());
    site.change_settings("[state]\n", &fleet);
    (site, there)
}

const LEDGER: &str = "refs/muster/host/devvm";

fn head(site: &Site) -> Option<String> {
    git(&site.path("state/ledger.git"), &["rev-parse", LEDGER])
}

#[test]
fn a_host_tells_the_ledger_repository_and_a_bot_believes_it() {
    let (site, there) = site();
    site.commit(ANN_AND_BOB, "ann and bob");
    let mut host = site.daemon();
    wait_until("ann and bob have arrived", || {
        let there = git(&there, &["show", "refs/muster/alive/host/devvm:alive.json"]);
        let alive = there.and_then(|it| serde_json::from_str::<serde_json::Value>(&it).ok());
        alive.is_some_and(|it| it["ledger"].as_str() == head(&site).as_deref())
            && site.uid("bob").is_some()
    });
    assert_eq!(host.stop(), Some(0));
    let key = host_key::read(&StateDir::at(&site.path("state")))
        .unwrap()
        .unwrap()
        .public();
    assert_eq!(site.status()["key"], key.to_string());
    std::fs::create_dir(site.path("etc")).unwrap();
    std::fs::write(site.path("etc/hosts"), format!("host/devvm {key}\n")).unwrap();
    let origin = Origin::parse(there.to_str().unwrap()).unwrap();
    let mut fleet = GitFleet::open(&site.path("fleet"), origin, &site.path("etc/hosts")).unwrap();
    let name: Name = "host/devvm".parse().unwrap();
    let standing = fleet.look().unwrap().remove(&name).unwrap().unwrap();
    assert!(standing.read <= now() && standing.read.plus(300) > now());
    let told = fleet.told(&name, &standing.ledger).unwrap();
    let told = ExecutorReport::read(&name, &told).unwrap();
    let settings = settings::load(&site.path("muster.toml"), &Ambient::ask()).unwrap();
    assert_eq!(told.policy, settings.policy.into());
    let bytes = inventory::Inventory::bytes_in_ledger(&name, &told.observed);
    let written = git(&there, &["show", &format!("{LEDGER}:inventory.json")]).unwrap();
    assert_eq!(String::from_utf8(bytes).unwrap().trim(), written);
    assert!(told.facts.known.accounts().people.contains_key("bob"));
    let adopted = told.facts.adopted.clone();
    let past = fleet
        .past(&name, &standing.ledger, &adopted)
        .unwrap()
        .unwrap();
    assert_eq!(past.facts, told.facts);

    // The sign of life tells more than a commit does.
    let alive = git(&there, &["show", "refs/muster/alive/host/devvm:alive.json"]).unwrap();
    let alive: serde_json::Value = serde_json::from_str(&alive).unwrap();
    assert_eq!(alive["ledger"], standing.ledger.as_str());
    for field in ["at", "read", "adopted", "version", "line"] {
        assert!(alive[field].is_string(), "{field}: {alive:#}");
    }
}

#[test]
fn another_policy_reaches_the_ledger_by_itself() {
    let (site, there) = site();
    let share_in = |there: &Path| {
        let text = git(there, &["show", &format!("{LEDGER}:policy.json")])?;
        let policy: serde_json::Value = serde_json::from_str(&text).ok()?;
        policy["limits"]["share"].as_u64()
    };
    for share in [99, 42] {
        site.change_settings("share = 99", &format!("share = {share}"));
        let mut host = site.daemon();
        wait_until("the policy has arrived", || share_in(&there) == Some(share));
        assert_eq!(host.stop(), Some(0));
    }
}

#[test]
fn a_ledger_repository_that_is_gone_stops_nobody() {
    let (site, there) = site();
    std::fs::rename(&there, site.path("away.git")).unwrap();
    site.commit(ANN_AND_BOB, "ann and bob");
    let _ = site.once().ok();
    assert!(site.uid("bob").is_some());
    assert!(head(&site).is_some());
    let pushed = |site: &Site| site.status()["pushed"].clone();
    assert_eq!(pushed(&site)["has"], serde_json::Value::Null);
    std::fs::rename(site.path("away.git"), &there).unwrap();
    // What was left out is caught up with, although nothing else is new.
    let _ = site.once().ok();
    assert_eq!(pushed(&site)["has"], pushed(&site)["ledger"]);
    let said = site.muster(&["status"]).ok().out;
    let flowing = said.split_whitespace().collect::<Vec<_>>().join(" ");
    assert!(flowing.contains("has all of the ledger"), "{said}");
    assert_eq!(git(&there, &["rev-parse", LEDGER]), head(&site));
}

/// A state directory alone is known by the mark beside it; with that, as where a whole machine is put back, by the ledger repository.
#[test]
fn a_host_that_was_put_back_does_nothing_new_until_somebody_has_looked() {
    for (parts, known_by) in [
        (&["state"][..], "older copy"),
        (&["state", "state-mark"], "ahead of this host"),
    ] {
        does_nothing_new(parts, known_by);
    }
}

fn does_nothing_new(parts: &[&str], known_by: &str) {
    let (site, there) = site();
    let _ = site.once().ok();
    let copy = |from: &Path, to: &Path| {
        let _ = std::fs::remove_dir_all(to);
        let done = Command::new("cp").arg("-a").arg(from).arg(to).status();
        assert!(done.unwrap().success());
    };
    let kept = |part: &str| site.path(&format!("{part}.kept"));
    for part in parts {
        copy(&site.path(part), &kept(part));
    }
    site.commit(ANN_AND_BOB, "ann and bob");
    let _ = site.once().ok();
    let newer = head(&site);
    for part in parts {
        copy(&kept(part), &site.path(part));
    }
    assert_ne!(head(&site), newer);

    let adopt = site.commit(ANN, "bob leaves");
    assert_eq!(site.once().code, Some(1));
    let frozen = site.status()["frozen"]
        .as_str()
        .unwrap_or_default()
        .to_owned();
    assert!(frozen.contains(known_by), "{frozen}");
    assert_eq!(
        git(&there, &["rev-parse", LEDGER]),
        newer,
        "it was overwritten"
    );
    assert_eq!(site.once().code, Some(1));
    assert_eq!(git(&there, &["rev-parse", LEDGER]), newer);
    assert!(site.uid("bob").is_some());

    let looked = || {
        let _ = site
            .muster(&["adopt", &adopt, "--reason", "put back from a backup"])
            .ok();
        site.once()
    };
    let mut last = looked();
    // That the ledger repository is ahead as well is another decision.
    if !site.status()["frozen"].is_null() {
        assert_eq!(git(&there, &["rev-parse", LEDGER]), newer);
        last = looked();
    }
    let _ = last.ok();
    assert_eq!(site.status()["frozen"], serde_json::Value::Null);
    assert_eq!(git(&there, &["rev-parse", LEDGER]), head(&site));
}

#[test]
fn the_journal_is_let_go_of_as_far_as_the_ledger_has_arrived() {
    let mut repository = Repository::default();
    let roster = ("roster.yaml".to_owned(), b"users: {}\n".to_vec());
    repository.commit("main", [roster].into());
    let sim = Sim::new(repository, SimHost::debian(), "devvm", Time(0));
    sim.with(|it| it.ledger_arrives = false);
    let policy = Policy::for_host("devvm").into();
    let _ = sim.cycle(&policy, Time(1)).unwrap();
    assert_eq!(sim.with(|it| it.released), 0);
    sim.with(|it| it.ledger_arrives = true);
    let _ = sim.cycle(&policy, Time(2)).unwrap();
    sim.with(|it| assert_eq!(it.released, it.journal.len()));
}
