//! A host that an older version kept goes on with this one: it answers what that version answered, takes up where it
//! stopped, loses nothing, and lets people come and go. The hosts are in `tests/golden/before/<version>`; the README there
//! says how they were made.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use muster_tests::kept::{self, ARCHIVE, HERE};
use muster_tests::signer::{planned, push};
use muster_tests::site::{Site, differences, needs};

/// The hosts of older versions, as far as they have one of that name.
fn hosts(name: &str) -> Vec<PathBuf> {
    let below = Path::new(env!("CARGO_MANIFEST_DIR")).join("golden/before");
    let mut found: Vec<PathBuf> = fs::read_dir(below)
        .expect("older versions")
        .map(|it| it.expect("a directory entry").path().join(name))
        .filter(|it| it.is_dir())
        .collect();
    found.sort();
    assert!(!found.is_empty(), "there is no older version");
    found
}

fn unpacked(host: &Path) -> Site {
    Site::unpacked(&host.join(ARCHIVE), HERE)
}

/// The same, where a person has said that the clock is right: it was off for longer than is believed at once.
fn unpacked_today(host: &Path) -> Site {
    let site = unpacked(host);
    let ran = site.muster(&["clock", "accept", "--reason", "it was in a drawer"]);
    assert!(ran.out.contains("goes by its clock"), "{}", ran.said());
    site
}

/// What the ledger holds now, without what waits and what was seen, which is found out anew in each cycle.
fn ledger(site: &Site) -> BTreeMap<String, String> {
    let git_dir = format!("--git-dir={}", site.path("state/ledger.git").display());
    let list = site.git(&[
        &git_dir,
        "ls-tree",
        "-r",
        "--name-only",
        "refs/muster/host/devvm",
    ]);
    list.lines()
        .map(|path| {
            let object = format!("refs/muster/host/devvm:{path}");
            (
                path.to_owned(),
                site.git(&[&git_dir, "cat-file", "blob", &object]),
            )
        })
        .collect()
}

fn people_and_releases(mut ledger: BTreeMap<String, String>) -> BTreeMap<String, String> {
    ledger.retain(|path, _| path.starts_with("people/") || path == "releases.jsonl");
    ledger
}

/// Programs are told what they were told, and may be told more. People may be told in better words: of what is about one step,
/// the words are compared; the overviews are not.
#[track_caller]
fn same_answer(said: &Path, file: &str, now: &str) {
    let before = said.join(file);
    let text = fs::read_to_string(&before).expect("an answer");
    let overviews = ["status.txt", "history.txt", "pending.txt"];
    if overviews.contains(&file) {
        return;
    }
    if file.ends_with(".json") {
        let document = |text: &str| -> serde_json::Value {
            let (_, document) = text.split_once('\n').expect("an exit code above");
            serde_json::from_str(document).expect("JSON")
        };
        let missing = missing(&document(&text), &document(now), "");
        assert!(missing.is_empty(), "{}: {missing:#?}", before.display());
        return;
    }
    let words = |text: &str| {
        text.split_whitespace()
            .map(str::to_owned)
            .collect::<Vec<_>>()
    };
    assert_eq!(words(&text), words(now), "{}", before.display());
}

/// What of `before` is not as it was in `now`, by path. Objects may have more in them.
fn missing(before: &serde_json::Value, now: &serde_json::Value, path: &str) -> Vec<String> {
    use serde_json::Value;
    match (before, now) {
        (Value::Object(before), Value::Object(now)) => before
            .iter()
            .flat_map(|(key, value)| {
                let now = now.get(key).unwrap_or(&Value::Null);
                missing(value, now, &format!("{path}/{key}"))
            })
            .collect(),
        (Value::Array(before), Value::Array(now)) if before.len() == now.len() => before
            .iter()
            .zip(now)
            .enumerate()
            .flat_map(|(i, (before, now))| missing(before, now, &format!("{path}/{i}")))
            .collect(),
        (before, now) if before == now => Vec::new(),
        (before, now) => vec![format!("{path}: {before} is now {now}")],
    }
}

/// The same without the notice that this version gives to whom the older one parked when their day had passed.
fn untold(mut ledger: BTreeMap<String, String>) -> BTreeMap<String, String> {
    for lines in ledger.values_mut() {
        let line = |line: &str| match line.split_once(" told=") {
            Some((before, _)) => format!("{before}\""),
            None => line.to_owned(),
        };
        *lines = lines.split('\n').map(line).collect::<Vec<_>>().join("\n");
    }
    ledger
}

#[track_caller]
fn same(before: &Path, now: &str) {
    let text = fs::read_to_string(before).unwrap_or_else(|it| panic!("{}: {it}", before.display()));
    let diff = similar::TextDiff::from_lines(text.as_str(), now);
    let shown = before.display();
    assert!(
        text == now,
        "{shown} is not what it was\n{}",
        diff.unified_diff()
    );
}

#[test]
fn it_answers_what_the_older_version_answered() {
    needs(&["git", "tar"]);
    for host in [hosts("host"), hosts("in-doubt")].concat() {
        let site = unpacked(&host);
        let said = host.join("said");
        for asked in kept::asked(&said) {
            same_answer(&said, &asked.file, &asked.answer(&site));
        }
        same(
            &host.join("journal.jsonl"),
            &kept::records(&site.path("state")),
        );
    }
}

#[test]
fn it_goes_on_and_nothing_is_lost() {
    needs(&["git", "tar"]);
    for host in hosts("host") {
        let site = unpacked_today(&host);
        let (before, records) = (ledger(&site), kept::records(&site.path("state")));
        let ran = site.once();
        let status = site.status();
        assert!(status["frozen"].is_null(), "{}\n{status:#}", ran.said());
        assert_eq!(status["in_doubt"], 0, "{status:#}");
        let lost = differences(
            &people_and_releases(before),
            &untold(people_and_releases(ledger(&site))),
        );
        assert!(lost.is_empty(), "{}\n{lost}", ran.said());
        same(&host.join("after.txt"), &kept::picture(&site));
        let now = kept::records(&site.path("state"));
        assert!(
            now.starts_with(&records),
            "the journal was not gone on with"
        );
        // What was tried again and failed again is told in the cycle after it.
        let _ = site.once();
        let again = site.changes_nothing().unwrap_or_else(|why| panic!("{why}"));
        assert!(again.said().contains("held"), "{}", again.said());
    }
}

#[test]
fn what_was_begun_is_brought_to_its_end() {
    needs(&["git", "tar"]);
    for host in hosts("in-doubt") {
        let site = unpacked(&host);
        assert_ne!(site.status()["in_doubt"], 0);
        let ran = site.once();
        same(&host.join("after.txt"), &kept::picture(&site));
        assert_eq!(site.status()["in_doubt"], 0);
        // Its clock is doubted, which is not in order.
        let still = site.changes_nothing();
        let still = still.unwrap_or_else(|why| panic!("{}\n{why}", ran.said()));
        assert_eq!(still.code, Some(1), "{}", still.said());
    }
}

/// Whom the older version parked when their day had passed is told before the login is shut, and the password that it locked when it
/// took an account over is offered back: by a release, as its owner can become root.
#[test]
fn what_is_another_matter_now_is_told_before_it_is_done() {
    needs(&["git", "tar"]);
    for host in hosts("host") {
        let site = unpacked_today(&host);
        let ran = site.once();
        let told = "done       give notice to fay, whose last valid day has passed";
        assert!(ran.out.contains(told), "{}", ran.said());
        let again = site.once();
        for held in [
            "disable fay, whose last valid day has passed: nobody gets in, all else stays (benign: the last valid day was 2025-01-10",
            "who has it can become root (privileged: waits for a signed release)",
        ] {
            assert!(again.out.contains(held), "no {held}: {}", again.said());
        }
        assert!(
            site.text_on_host("etc/shadow")
                .contains("keeper:!$6$salt$hash")
        );
        let statement = planned(&site, &[("password.restore", "keeper")], 0x71);
        push(&site, &["olga", "opal"], &statement);
        let ran = site.once();
        assert!(
            ran.out.contains("done       unlock the password of keeper"),
            "{}",
            ran.said()
        );
        assert!(
            site.text_on_host("etc/shadow")
                .contains("keeper:$6$salt$hash")
        );
    }
}

/// What the older version set aside is put back, what it archived is restored, and a release of it is claimed.
#[test]
fn people_come_and_go() {
    needs(&["git", "tar"]);
    for host in hosts("host") {
        let site = unpacked_today(&host);
        fs::remove_dir_all(site.on_host("etc/muster/instances/joe.env")).expect("in the way");
        let roster = fs::read_to_string(site.path("origin/roster.yaml")).expect("a roster");
        let kept = roster.lines().filter(|it| !it.starts_with("  hal:"));
        let mut rows = kept
            .collect::<Vec<_>>()
            .join("\n")
            .replace(", parked: true", "");
        rows.push_str(
            "\n  bob: {authentik_user: bob.x, k8s_user: bob, tier: power-user}\
             \n  emo: {authentik_user: emo.x, k8s_user: emo, tier: power-user}\n",
        );
        site.commit(&rows, "bob and emo are back, cid goes on, hal leaves");
        let ran = site.once();
        for done in [
            "open the login of bob again, as it was",
            "put back the home of emo, /home/emo, from quarantine",
            "put back the crontab of emo",
            "unpark cid",
            "cut hal off",
        ] {
            let line = format!("done       {done}");
            assert!(ran.out.contains(&line), "no {done}: {}", ran.said());
        }
        let statement = planned(&site, &[("user.archive_delete", "hal")], 0x70);
        push(&site, &["olga"], &statement);
        let ran = site.once();
        assert!(
            ran.out.contains("done       archive, then delete"),
            "{}",
            ran.said()
        );
        assert_eq!(site.uid("hal"), None);
        let _ = site.once();
        for (path, is) in [
            ("home/emo/work/thesis", "all of it\n"),
            ("home/bob/.ssh/authorized_keys", "ssh-ed25519 AAAA them\n"),
            ("var/spool/cron/crontabs/bob", "@daily true\n"),
        ] {
            assert_eq!(site.text_on_host(path), is, "{path}");
        }
    }
}
