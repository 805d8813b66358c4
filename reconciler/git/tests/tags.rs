//! Tags: only those that are asked for, by full name, each read once by its id.

mod support;

use std::fs;

use muster_core::release::TagHorizon;
use muster_core::time::Time;
use muster_git::files::ReadError;
use muster_git::{Mirror, WantedTags};
use support::{MAIN, Scene};

/// Names below `refs/tags/release/` from `2026` on.
fn wanted() -> WantedTags {
    WantedTags {
        below: vec![
            "refs/tags/release/".to_owned(),
            "refs/tags/root/".to_owned(),
        ],
        wanted: |horizon, name| {
            name.rsplit('/')
                .next()
                .and_then(|last| last.get(..4)?.parse::<i64>().ok())
                .is_none_or(|year| year >= horizon.since.0)
        },
        horizon: TagHorizon {
            since: Time(2026),
            version: 0,
            signers: None,
        },
    }
}

fn names(scene: &Scene, mirror: &mut Mirror) -> Vec<String> {
    scene.fetch(mirror).tags.into_keys().collect()
}

fn tag(scene: &Scene, name: &str) {
    scene.git("origin", &["tag", "-a", "-m", "words", name, MAIN]);
}

#[test]
fn nothing_is_looked_at_unless_asked_for() {
    let scene = Scene::with_roster();
    tag(&scene, "release/2026-x");
    let heads = scene.fetch(&mut scene.mirror());
    assert!(heads.tags.is_empty() && heads.unread.is_empty());
}

#[test]
fn wanted_tags_appear_move_and_vanish_and_are_read_by_id() {
    let scene = Scene::with_roster();
    let mut mirror = scene.mirror();
    mirror.want_tags(wanted());
    assert!(names(&scene, &mut mirror).is_empty());
    for name in [
        "release/2026-x",
        "release/2025-stale",
        "release/2026-x.d/below",
        "v1",
        "heads",
    ] {
        tag(&scene, name);
    }
    let found = scene.fetch(&mut mirror);
    assert_eq!(
        found.tags.keys().collect::<Vec<_>>(),
        ["refs/tags/release/2026-x"]
    );
    assert_eq!(found.branches.len(), 0, "a tag is no branch");
    let id = &found.tags["refs/tags/release/2026-x"];
    let raw = mirror.tag(id, 1 << 20).unwrap();
    let printed = scene.git("origin", &["cat-file", "tag", id.as_str()]);
    assert_eq!(raw.kind, "tag");
    assert_eq!(String::from_utf8(raw.bytes).unwrap().trim_end(), printed);
    assert!(matches!(
        mirror.tag(id, 10),
        Err(ReadError::TooLarge { .. })
    ));

    scene.git(
        "origin",
        &["tag", "-f", "-a", "-m", "other", "release/2026-x", MAIN],
    );
    let moved = scene.fetch(&mut mirror);
    assert_ne!(&moved.tags["refs/tags/release/2026-x"], id);
    scene.git("origin", &["pack-refs", "--all", "--prune"]);
    assert_eq!(
        scene.fetch(&mut mirror).tags,
        moved.tags,
        "packed is the same"
    );
    scene.git("origin", &["tag", "-d", "release/2026-x"]);
    assert!(names(&scene, &mut mirror).is_empty());
}

#[test]
fn a_tag_may_point_to_anything_and_its_kind_is_told() {
    let scene = Scene::with_roster();
    for (name, of) in [
        ("2026-commit", "main"),
        ("2026-tree", "main^{tree}"),
        ("2026-blob", "main:roster.yaml"),
    ] {
        let id = scene.git("origin", &["rev-parse", of]);
        scene.git(
            "origin",
            &["update-ref", &format!("refs/tags/release/{name}"), &id],
        );
    }
    // A name whose file holds no id is nobody's promise.
    fs::write(scene.path("origin/refs/tags/release/2026-broken"), "x\n").unwrap();
    std::os::unix::fs::symlink(
        "/etc/passwd",
        scene.path("origin/refs/tags/release/2026-link"),
    )
    .unwrap();
    let mut mirror = scene.mirror();
    mirror.want_tags(wanted());
    let kinds: Vec<_> = scene
        .fetch(&mut mirror)
        .tags
        .values()
        .map(|id| mirror.tag(id, 1 << 20).unwrap().kind)
        .collect();
    assert_eq!(kinds, ["blob", "commit", "tree"]);
}

#[test]
fn tags_are_read_where_the_owners_git_has_to_read_them() {
    let scene = Scene::new();
    scene.git("", &["init", "-q", "--bare", "-b", "main", "other"]);
    scene.git("", &["init", "-q", "--bare", "-b", "main", "origin"]);
    let objects = scene.path("other/objects");
    fs::write(
        scene.path("origin/objects/info/alternates"),
        format!("{}\n", objects.display()),
    )
    .unwrap();
    scene.commit("main", None, &[("roster.yaml", "emo: {}\n")]);
    tag(&scene, "release/2026-x");
    tag(&scene, "release/2025-x");
    let mut mirror = scene.mirror();
    mirror.want_tags(wanted());
    let tags = scene.fetch(&mut mirror).tags;
    assert_eq!(tags.len(), 1);
    let id = tags.values().next().unwrap();
    assert_eq!(mirror.tag(id, 1 << 20).unwrap().kind, "tag");
}
