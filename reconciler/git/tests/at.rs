//! Files of a revision that somebody names.
#![allow(missing_docs)]

mod support;

use std::fs;

use muster_git::at::{AtError, at};
use muster_git::files::ReadError;
use support::{Scene, texts};

const ROSTER: &str = "emo: {}\n";

#[test]
fn a_push_in_quarantine_is_read_through_alternates() {
    let scene = Scene::with_roster();
    let head = scene.git("origin", &["rev-parse", "main"]);
    // As the hook makes it: nothing of its own, objects borrowed from elsewhere.
    scene.git("", &["init", "-q", "--bare", "scratch"]);
    fs::write(
        scene.path("scratch/objects/info/alternates"),
        format!("{}\n", scene.path("origin/objects").display()),
    )
    .unwrap();
    let files = at(&scene.path("scratch"), &head).unwrap();
    assert_eq!(texts(&files), [("roster.yaml", ROSTER)].into());
    let unborn = at(&scene.path("scratch"), "HEAD").unwrap_err();
    assert!(matches!(unborn, AtError::Unknown { .. }), "{unborn}");
}

#[test]
fn a_work_tree_of_its_own_has_a_head_of_its_own() {
    let scene = Scene::with_roster();
    let first = scene.git("origin", &["rev-parse", "main"]);
    let second = scene.commit(
        "main",
        Some(&first.parse().unwrap()),
        &[("roster.yaml", "{}\n")],
    );
    scene.git(
        "origin",
        &["worktree", "add", "-q", "--detach", "../linked", &first],
    );
    let linked = at(&scene.path("linked"), "HEAD").unwrap();
    assert_eq!(texts(&linked), [("roster.yaml", ROSTER)].into());
    for revision in ["HEAD", "main", "refs/heads/main", second.as_str()] {
        let files = at(&scene.path("origin"), revision).unwrap();
        assert_eq!(
            texts(&files),
            [("roster.yaml", "{}\n")].into(),
            "{revision}"
        );
    }
}

#[test]
fn what_is_no_commit_or_tree_is_refused() {
    let scene = Scene::with_roster();
    let blob = scene.blob("x");
    for (revision, missing) in [(blob, false), ("1".repeat(40), true)] {
        let Err(AtError::Objects { source, .. }) = at(&scene.path("origin"), &revision) else {
            panic!("{revision} was read")
        };
        match source {
            ReadError::Missing { .. } => assert!(missing),
            ReadError::WrongKind { .. } => assert!(!missing),
            other => panic!("{other}"),
        }
    }
    for revision in ["", "-h", "main~1", "../HEAD", "refs/../HEAD", "main@{0}"] {
        let found = at(&scene.path("origin"), revision);
        assert!(matches!(found, Err(AtError::Unknown { .. })), "{revision}");
    }
}

#[test]
fn a_commit_says_who_made_it() {
    let scene = Scene::with_roster();
    let mut mirror = scene.mirror();
    let head = scene.fetch(&mut mirror).protected.unwrap();
    let about = mirror.about(&head).unwrap();
    assert_eq!(about.author, "a <a@example.org>");
    assert_eq!(about.committed, 1_795_309_200);
    assert_eq!(about.subject, "a change");
}
