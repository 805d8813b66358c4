//! Heads of pull requests: brought one by one, merged, and let go of.

mod support;

use std::collections::BTreeMap;
use std::fs;

use muster_core::commit::CommitId;
use muster_git::{FetchError, Merged, Mirror, Origin, Packed, Proposals, Untidy};
use support::daemon::Daemon;
use support::{MAIN, Scene, texts};

/// A pull request: a branch of somebody's, known to the forge by a number alone.
fn pull(scene: &Scene, number: u64, text: &str) -> CommitId {
    let main: CommitId = scene.git("origin", &["rev-parse", MAIN]).parse().unwrap();
    let head = scene.commit("scratch", Some(&main), &[("roster.yaml", text)]);
    let name = format!("refs/pull/{number}/head");
    scene.git("origin", &["update-ref", &name, head.as_str()]);
    scene.git("origin", &["update-ref", "-d", "refs/heads/scratch"]);
    head
}

fn merged(mirror: &Mirror, main: &CommitId, head: &CommitId) -> String {
    match mirror.merge(main, head).unwrap() {
        Merged::FastForward { files } | Merged::Clean { files, .. } => {
            texts(&files)["roster.yaml"].to_owned()
        }
        other => panic!("{other:?}"),
    }
}

fn come_and_go(scene: &Scene, origin: &Origin) {
    let mut mirror = scene.mirror();
    let (one, two) = (pull(scene, 1, "a: {}\n"), pull(scene, 2, "b: {}\n"));
    let main = mirror
        .fetch(origin, MAIN, Proposals::Ignore)
        .unwrap()
        .protected
        .unwrap();
    let wanted = BTreeMap::from([(1, one.clone()), (2, two.clone()), (3, one.clone())]);
    let reasons = mirror.bring(origin, &wanted).unwrap();
    assert_eq!(reasons.len(), 1, "{reasons:?}");
    assert!(
        reasons[&3].contains("couldn't find remote ref") || reasons[&3].contains("no such"),
        "{reasons:?}"
    );
    assert_eq!(merged(&mirror, &main, &one), "a: {}\n");
    assert_eq!(merged(&mirror, &main, &two), "b: {}\n");

    // One moves between the question to the forge and ours.
    let moved = pull(scene, 1, "a: {uid: 1}\n");
    let wanted = BTreeMap::from([(1, one.clone()), (2, two.clone())]);
    let mut again = scene.mirror_at("again");
    again.fetch(origin, MAIN, Proposals::Ignore).unwrap();
    let reasons = again.bring(origin, &wanted).unwrap();
    assert_eq!(reasons.len(), 1, "{reasons:?}");
    assert!(reasons[&1].contains(moved.short()), "{reasons:?}");
    assert_eq!(merged(&again, &main, &two), "b: {}\n");
    let reasons = again
        .bring(origin, &BTreeMap::from([(1, moved.clone())]))
        .unwrap();
    assert_eq!(reasons, BTreeMap::new());
    assert_eq!(merged(&again, &main, &moved), "a: {uid: 1}\n");
    assert_eq!(
        again.bring(origin, &BTreeMap::new()).unwrap(),
        BTreeMap::new()
    );
    assert!(!scene.path("again/refs/muster/fetched/pull").exists());
}

#[test]
fn they_come_from_a_local_repository() {
    let scene = Scene::with_roster();
    come_and_go(&scene, &scene.origin());
}

#[test]
fn they_come_from_a_local_repository_with_packed_references() {
    let scene = Scene::with_roster();
    pull(&scene, 9, "z: {}\n");
    scene.git("origin", &["pack-refs", "--all"]);
    come_and_go(&scene, &scene.origin());
}

#[test]
fn they_come_from_one_whose_objects_are_elsewhere() {
    let scene = Scene::with_roster();
    fs::rename(scene.path("origin/objects"), scene.path("objects")).unwrap();
    std::os::unix::fs::symlink(scene.path("objects"), scene.path("origin/objects")).unwrap();
    come_and_go(&scene, &scene.origin());
}

#[test]
fn they_come_from_a_server() {
    let scene = Scene::with_roster();
    let daemon = Daemon::start(&scene);
    come_and_go(&scene, &daemon.origin());
}

#[test]
fn one_that_git_refuses_keeps_no_other_from_coming() {
    let scene = Scene::with_roster();
    let daemon = Daemon::start(&scene);
    let mut wanted: BTreeMap<u64, CommitId> = (1..=9)
        .map(|number| (number, pull(&scene, number, &format!("p{number}: {{}}\n"))))
        .collect();
    // git stores it when told not to look, and refuses to fetch it.
    let tree = scene.git("origin", &["rev-parse", &format!("{MAIN}^{{tree}}")]);
    let bad = format!("tree {tree}\nauthor nobody\ncommitter nobody\n\nno time\n");
    let bad = scene.git_with_input(
        "origin",
        &[
            "hash-object",
            "-t",
            "commit",
            "-w",
            "--literally",
            "--stdin",
        ],
        bad.as_bytes(),
    );
    fs::create_dir_all(scene.path("origin/refs/pull/5")).unwrap();
    fs::write(scene.path("origin/refs/pull/5/head"), format!("{bad}\n")).unwrap();
    wanted.insert(5, bad.parse().unwrap());
    let mut mirror = scene.mirror();
    let main = mirror
        .fetch(&daemon.origin(), MAIN, Proposals::Ignore)
        .unwrap()
        .protected
        .unwrap();
    for round in 0..2 {
        let reasons = mirror.bring(&daemon.origin(), &wanted).unwrap();
        assert_eq!(
            reasons.keys().collect::<Vec<_>>(),
            [&5],
            "{round}: {reasons:?}"
        );
        for number in [1, 4, 6, 9] {
            let text = merged(&mirror, &main, &wanted[&number]);
            assert_eq!(text, format!("p{number}: {{}}\n"));
        }
    }
}

#[test]
fn a_server_that_does_not_answer_is_an_error_and_no_reason() {
    let scene = Scene::with_roster();
    let mut daemon = Daemon::start(&scene);
    let origin = daemon.origin();
    let one = pull(&scene, 1, "a: {}\n");
    let mut mirror = scene.mirror();
    mirror.fetch(&origin, MAIN, Proposals::Ignore).unwrap();
    daemon.stop();
    for heads in [
        BTreeMap::from([(1, one.clone())]),
        BTreeMap::from([(1, one.clone()), (2, one)]),
    ] {
        let error = mirror.bring(&origin, &heads).unwrap_err();
        assert!(matches!(error, FetchError::Git { .. }), "{error}");
    }
}

#[test]
fn what_pull_requests_leave_behind_goes_and_what_was_enforced_stays() {
    let scene = Scene::with_roster();
    let daemon = Daemon::start(&scene);
    let mut mirror = scene.mirror();
    let first = mirror
        .fetch(&daemon.origin(), MAIN, Proposals::Ignore)
        .unwrap()
        .protected
        .unwrap();
    let one = pull(&scene, 1, "a: {}\n");
    mirror
        .bring(&daemon.origin(), &BTreeMap::from([(1, one.clone())]))
        .unwrap();
    mirror.bring(&daemon.origin(), &BTreeMap::new()).unwrap();
    // The protected branch is rewritten, too.
    let second = scene.commit("main", None, &[("roster.yaml", "other: {}\n")]);
    let heads = mirror
        .fetch(&daemon.origin(), MAIN, Proposals::Ignore)
        .unwrap();
    assert_eq!(heads.protected.as_ref(), Some(&second));
    assert_eq!(
        mirror
            .maintain_when(Untidy {
                loose: 0,
                packs: 0,
                ..Untidy::default()
            })
            .unwrap(),
        Packed::Done
    );
    assert!(mirror.files(&one).is_err(), "nobody wants it any more");
    assert_eq!(
        texts(&mirror.files(&first).unwrap())["roster.yaml"],
        "emo: {}\n"
    );
    assert!(mirror.files(&second).is_ok());
    scene.git("mirror", &["fsck", "--strict", "--no-dangling"]);
}
