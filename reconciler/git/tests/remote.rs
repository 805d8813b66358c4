//! Fetching from a server: a real `git daemon` on the loopback.

mod support;

use std::fs;
use std::net::TcpListener;
use std::time::Duration;

use muster_core::commit::CommitId;
use muster_git::run::{Limits, RunError};
use muster_git::{Ancestry, FetchError, Merged, Mirror, Origin, Packed, Proposals, Untidy};
use support::daemon::Daemon;
use support::{MAIN, Scene, texts};

#[test]
fn branches_arrive_move_merge_and_vanish() {
    let scene = Scene::with_roster();
    let daemon = Daemon::start(&scene);
    let first: CommitId = scene.git("origin", &["rev-parse", MAIN]).parse().unwrap();
    let side = scene.commit(
        "side",
        Some(&first),
        &[("roster.yaml", "emo: {}\n"), ("hosts/h.yaml", "h\n")],
    );
    scene.git("origin", &["update-ref", "refs/tags/main", side.as_str()]);
    scene.git(
        "origin",
        &["update-ref", "refs/x/refs/heads/main", side.as_str()],
    );
    let mut mirror = scene.mirror();
    let alone = mirror
        .fetch(&daemon.origin(), MAIN, Proposals::Ignore)
        .unwrap();
    assert_eq!(
        (alone.protected.as_ref(), alone.branches.len()),
        (Some(&first), 0)
    );
    let heads = mirror
        .fetch(&daemon.origin(), MAIN, Proposals::Include)
        .unwrap();
    assert_eq!(heads.protected.as_ref(), Some(&first));
    assert_eq!(
        heads.branches.into_iter().collect::<Vec<_>>(),
        [("refs/heads/side".to_owned(), side.clone())]
    );
    assert!(!scene.path("mirror/refs/tags").exists() && !scene.path("mirror/FETCH_HEAD").exists());

    let second = scene.commit("main", Some(&first), &[("roster.yaml", "emo: {uid: 1}\n")]);
    scene.git("origin", &["update-ref", "-d", "refs/heads/side"]);
    let other = scene.commit(
        "other",
        Some(&first),
        &[("roster.yaml", "emo: {}\n"), ("hosts/i.yaml", "i\n")],
    );
    let heads = mirror
        .fetch(&daemon.origin(), MAIN, Proposals::Include)
        .unwrap();
    assert_eq!(heads.protected.as_ref(), Some(&second));
    assert_eq!(
        heads.branches.into_keys().collect::<Vec<_>>(),
        ["refs/heads/other"]
    );
    assert_eq!(mirror.ancestry(&first, &second), Ancestry::Descends);
    let Merged::Clean { files, .. } = mirror.merge(&second, &other).unwrap() else {
        panic!("not clean")
    };
    assert_eq!(texts(&files)["hosts/i.yaml"], "i\n");
    scene.git("mirror", &["fsck", "--strict", "--no-dangling"]);

    scene.git("origin", &["update-ref", "-d", MAIN]);
    assert_eq!(
        mirror
            .fetch(&daemon.origin(), MAIN, Proposals::Ignore)
            .unwrap()
            .protected,
        None
    );
    let forced = scene.commit("main", None, &[("roster.yaml", "mallory: {}\n")]);
    assert_eq!(
        mirror
            .fetch(&daemon.origin(), MAIN, Proposals::Include)
            .unwrap()
            .protected
            .as_ref(),
        Some(&forced)
    );
    assert_eq!(mirror.ancestry(&second, &forced), Ancestry::Diverged);
    assert!(
        mirror.files(&second).is_ok(),
        "what was adopted stays readable"
    );
}

#[test]
fn a_merge_queue_is_fetched_without_the_other_branches() {
    let scene = Scene::with_roster();
    let daemon = Daemon::start(&scene);
    let first: CommitId = scene.git("origin", &["rev-parse", MAIN]).parse().unwrap();
    let commit = |branch: &str| {
        let file = format!("hosts/{}.yaml", branch.len());
        scene.commit(branch, Some(&first), &[(&file, "h\n")])
    };
    let side = commit("side");
    let stable = commit("gh-readonly-queue/stable/pr-7-1");
    let queued = commit("gh-readonly-queue/main/pr-7-1");
    for (dir, origin) in [("mirror", daemon.origin()), ("other", scene.origin())] {
        let mut mirror = scene.mirror_at(dir);
        let branches = |mirror: &mut Mirror| {
            let heads = mirror.fetch(&origin, MAIN, Proposals::Queued).unwrap();
            assert_eq!(heads.protected.as_ref(), Some(&first));
            heads.branches.into_iter().collect::<Vec<_>>()
        };
        let queue = "refs/heads/gh-readonly-queue/main/pr-7-1".to_owned();
        for _ in 0..2 {
            assert_eq!(branches(&mut mirror), [(queue.clone(), queued.clone())]);
        }
        assert!(mirror.merge(&first, &queued).is_ok());
        if dir == "mirror" {
            for other in [&side, &stable] {
                assert!(mirror.merge(&first, other).is_err(), "nobody asked for it");
            }
        }
        scene.git("origin", &["update-ref", "-d", &queue]);
        assert_eq!(branches(&mut mirror), []);
        scene.git("origin", &["update-ref", &queue, queued.as_str()]);
    }
}

#[test]
fn a_damaged_mirror_is_filled_again() {
    let scene = Scene::with_roster();
    let daemon = Daemon::start(&scene);
    let mut mirror = scene.mirror();
    let tip = mirror
        .fetch(&daemon.origin(), MAIN, Proposals::Include)
        .unwrap()
        .protected
        .unwrap();
    drop(mirror);
    // Once empty files, as after a power loss, once files with other content.
    for content in ["", "garbled"] {
        for entry in fs::read_dir(scene.path("mirror/objects/pack")).unwrap() {
            let path = entry.unwrap().path();
            fs::remove_file(&path).unwrap();
            fs::write(&path, content).unwrap();
        }
        let mut mirror = scene.mirror();
        assert_eq!(
            mirror
                .fetch(&daemon.origin(), MAIN, Proposals::Include)
                .unwrap()
                .protected
                .as_ref(),
            Some(&tip)
        );
        assert!(mirror.files(&tip).is_ok(), "{content:?}");
    }
}

#[test]
fn a_malformed_proposal_does_not_keep_the_protected_branch_from_arriving() {
    let scene = Scene::with_roster();
    let daemon = Daemon::start(&scene);
    let first: CommitId = scene.git("origin", &["rev-parse", MAIN]).parse().unwrap();
    let mut mirror = scene.mirror();
    mirror
        .fetch(&daemon.origin(), MAIN, Proposals::Include)
        .unwrap();
    let tree = scene.git_with_input(
        "origin",
        &["mktree"],
        format!("100644 blob {}\t.git\n", scene.blob("x")).as_bytes(),
    );
    let bad = scene.git(
        "origin",
        &["commit-tree", "-m", "bad", "-p", first.as_str(), &tree],
    );
    scene.git("origin", &["update-ref", "refs/heads/bad", &bad]);
    scene.commit("good", Some(&first), &[("roster.yaml", "good: {}\n")]);
    let second = scene.commit("main", Some(&first), &[("roster.yaml", "b: {}\n")]);
    let heads = mirror
        .fetch(&daemon.origin(), MAIN, Proposals::Include)
        .unwrap();
    assert_eq!(heads.protected.as_ref(), Some(&second));
    assert_eq!(
        heads.branches.into_keys().collect::<Vec<_>>(),
        ["refs/heads/good"]
    );
    assert_eq!(heads.unread.len(), 1);
    assert!(
        heads.unread[0].starts_with("refs/heads/bad: git fetch failed"),
        "{:?}",
        heads.unread
    );
    assert!(
        !scene
            .try_git("mirror", &["cat-file", "-e", &bad])
            .status
            .success(),
        "the malformed object was kept"
    );
}

#[test]
fn a_server_that_says_nothing_is_given_up() {
    let scene = Scene::new();
    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    let origin = Origin::parse(&format!(
        "git://127.0.0.1:{}/origin",
        silent.local_addr().unwrap().port()
    ))
    .unwrap();
    let limits = Limits {
        wall: Duration::from_millis(300),
        ..Limits::default()
    };
    let error = scene
        .mirror()
        .with_limits(limits)
        .unwrap()
        .fetch(&origin, MAIN, Proposals::Ignore)
        .unwrap_err();
    assert!(
        matches!(
            error,
            FetchError::Git {
                source: RunError::TimedOut { .. },
                ..
            }
        ),
        "{error:?}"
    );
}

#[test]
fn a_server_that_is_not_there_is_an_error_and_changes_nothing() {
    let scene = Scene::with_roster();
    let daemon = Daemon::start(&scene);
    let mut mirror = scene.mirror();
    let tip = mirror
        .fetch(&daemon.origin(), MAIN, Proposals::Ignore)
        .unwrap()
        .protected
        .unwrap();
    let origin = daemon.origin();
    drop(daemon);
    let error = mirror.fetch(&origin, MAIN, Proposals::Ignore).unwrap_err();
    assert!(
        matches!(
            error,
            FetchError::Git {
                source: RunError::Failed { .. },
                ..
            }
        ),
        "{error:?}"
    );
    assert!(mirror.files(&tip).is_ok());
}

#[test]
fn a_fetch_that_is_killed_half_way_leaves_a_mirror_that_can_be_used() {
    let scene = Scene::with_roster();
    let daemon = Daemon::start(&scene);
    let mut mirror = scene.mirror();
    let first = mirror
        .fetch(&daemon.origin(), MAIN, Proposals::Ignore)
        .unwrap()
        .protected
        .unwrap();
    let second = scene.commit("main", Some(&first), &[("roster.yaml", "b: {}\n")]);
    for milliseconds in [1, 5, 10, 20, 40] {
        let limits = Limits {
            wall: Duration::from_millis(milliseconds),
            ..Limits::default()
        };
        mirror = mirror.with_limits(limits).unwrap();
        // Whether it gets through depends on the machine; either way what was there stays readable.
        let _ = mirror.fetch(&daemon.origin(), MAIN, Proposals::Ignore);
        assert!(mirror.files(&first).is_ok());
    }
    drop(mirror);
    let mut mirror = scene.mirror();
    assert_eq!(
        mirror
            .fetch(&daemon.origin(), MAIN, Proposals::Ignore)
            .unwrap()
            .protected
            .as_ref(),
        Some(&second)
    );
    assert!(mirror.files(&second).is_ok());
}

#[test]
fn many_fetches_become_one_pack_and_lose_nothing() {
    let scene = Scene::with_roster();
    let daemon = Daemon::start(&scene);
    let mut mirror = scene.mirror();
    let first = mirror
        .fetch(&daemon.origin(), MAIN, Proposals::Ignore)
        .unwrap()
        .protected
        .unwrap();
    // A force-push: nothing leads to the first commit any more, and it may be the adopted one.
    let mut tip = scene.commit("main", None, &[("roster.yaml", "other: {}\n")]);
    for n in 0..4 {
        mirror
            .fetch(&daemon.origin(), MAIN, Proposals::Ignore)
            .unwrap();
        tip = scene.commit(
            "main",
            Some(&tip),
            &[("roster.yaml", &format!("p{n}: {{}}\n"))],
        );
    }
    let few = Untidy {
        packs: 3,
        ..Untidy::default()
    };
    assert_eq!(mirror.maintain().unwrap(), Packed::NotNeeded);
    assert_eq!(mirror.maintain_when(few).unwrap(), Packed::Done);
    assert_eq!(mirror.maintain_when(few).unwrap(), Packed::NotNeeded);
    assert_eq!(
        fs::read_dir(scene.path("mirror/objects/pack"))
            .unwrap()
            .filter(|entry| entry
                .as_ref()
                .unwrap()
                .path()
                .extension()
                .is_some_and(|end| end == "pack"))
            .count(),
        1
    );
    assert!(mirror.files(&first).is_ok());
    assert_eq!(
        mirror
            .fetch(&daemon.origin(), MAIN, Proposals::Ignore)
            .unwrap()
            .protected
            .as_ref(),
        Some(&tip)
    );
    assert_eq!(
        texts(&mirror.files(&tip).unwrap())["roster.yaml"],
        "p3: {}\n"
    );
}

#[test]
fn wanted_tags_arrive_and_vanish_and_a_bad_one_keeps_nothing_else_away() {
    let scene = Scene::with_roster();
    let daemon = Daemon::start(&scene);
    let tag = |name: &str| scene.git("origin", &["tag", "-a", "-m", "words", name, MAIN]);
    for name in ["release/a", "release/b", "release/deep/c", "other"] {
        tag(name);
    }
    // git stores it when told not to look, and refuses to fetch it.
    let main = scene.git("origin", &["rev-parse", MAIN]);
    let broken = format!("object {main}\ntype commit\ntag release/bad\n\nno tagger\n");
    let broken = scene.git_with_input(
        "origin",
        &["hash-object", "-t", "tag", "-w", "--literally", "--stdin"],
        broken.replace("object ", "objekt ").as_bytes(),
    );
    std::fs::write(
        scene.path("origin/refs/tags/release/bad"),
        format!("{broken}\n"),
    )
    .unwrap();
    let mut mirror = scene.mirror();
    mirror.want_tags(muster_git::WantedTags {
        below: vec!["refs/tags/release/".to_owned()],
        wanted: |_, _| true,
        horizon: muster_core::release::TagHorizon::ALL,
    });
    let fetch = |mirror: &mut muster_git::Mirror| {
        mirror
            .fetch(&daemon.origin(), MAIN, Proposals::Include)
            .unwrap()
    };
    let heads = fetch(&mut mirror);
    assert!(heads.protected.is_some());
    assert_eq!(
        heads.tags.keys().collect::<Vec<_>>(),
        ["refs/tags/release/a", "refs/tags/release/b"]
    );
    assert_eq!(heads.unread.len(), 1, "{:?}", heads.unread);
    assert_eq!(
        mirror
            .tag(&heads.tags["refs/tags/release/a"], 1 << 20)
            .unwrap()
            .kind,
        "tag"
    );
    // Told once, and not asked for again.
    assert!(fetch(&mut mirror).unread.is_empty());
    scene.git("origin", &["tag", "-d", "release/a"]);
    assert_eq!(
        fetch(&mut mirror).tags.keys().collect::<Vec<_>>(),
        ["refs/tags/release/b"]
    );
}

#[test]
fn nothing_is_kept_for_a_tag_that_cannot_be_a_release() {
    let scene = Scene::with_roster();
    let daemon = Daemon::start(&scene);
    let mut state = 1_u64;
    let mut noise = |bytes: usize| -> String {
        let letters = std::iter::repeat_with(|| {
            state = state
                .wrapping_mul(6_364_136_223_846_793_005)
                .wrapping_add(1);
            char::from(b'a' + u8::try_from((state >> 33) % 26).unwrap_or_default())
        });
        letters.take(bytes).collect()
    };
    let point = |name: &str, id: &str| {
        scene.git("origin", &["update-ref", &format!("refs/tags/{name}"), id]);
    };
    let blob = scene.blob(&noise(3 << 20));
    let main = scene.git("origin", &["rev-parse", MAIN]);
    let make = |object: &str, kind: &str, words: &str| {
        let text =
            format!("object {object}\ntype {kind}\ntag x\ntagger a <a@x> 1 +0000\n\n{words}\n");
        scene.git_with_input("origin", &["mktag", "--no-strict"], text.as_bytes())
    };
    // Anything at all; a tag of a blob; a tag of a commit that nobody reads; and a tag that is too long.
    point("release/2-blob-known", &blob);
    let elsewhere = scene.commit("side", None, &[("large", &noise(3 << 20))]);
    scene.git("origin", &["update-ref", "-d", "refs/heads/side"]);
    point("release/3-tag-known", &make(&blob, "blob", "words"));
    point(
        "release/4-tag-known",
        &make(elsewhere.as_str(), "commit", "words"),
    );
    point(
        "release/5-long-known",
        &make(&main, "commit", &noise(3 << 20)),
    );
    point("release/6-good-known", &make(&main, "commit", "words"));
    point(
        "release/7-good-stranger",
        &make(&main, "commit", "more words"),
    );
    point(
        "root/2-good-stranger",
        &make(&main, "commit", "other words"),
    );

    let wanted = || muster_git::WantedTags {
        below: ["refs/tags/release/", "refs/tags/root/"]
            .map(str::to_owned)
            .into(),
        wanted: |_, _| true,
        horizon: muster_core::release::TagHorizon {
            signers: Some(["known".to_owned()].into()),
            ..muster_core::release::TagHorizon::ALL
        },
    };
    let mut mirror = scene.mirror();
    mirror.want_tags(wanted());
    let mut fetch = || {
        mirror
            .fetch(&daemon.origin(), MAIN, Proposals::Ignore)
            .unwrap()
    };
    let found = |heads: &muster_git::Heads| -> Vec<String> {
        let names = heads
            .tags
            .keys()
            .map(|name| name["refs/tags/".len()..].to_owned());
        names.collect()
    };
    let heads = fetch();
    let good = [
        "release/3-tag-known",
        "release/4-tag-known",
        "release/6-good-known",
        "root/2-good-stranger",
    ];
    assert_eq!(found(&heads), good);
    assert_eq!(heads.unread.len(), 2, "{:?}", heads.unread);
    let again = fetch();
    assert_eq!(found(&again), good);
    assert!(again.unread.is_empty(), "told once: {:?}", again.unread);
    // Tag objects are here, and not what they are about.
    for id in heads.tags.values() {
        assert_eq!(mirror.tag(id, 1 << 20).unwrap().kind, "tag");
    }
    assert!(size_of(&scene.path("mirror")) < 1 << 20);
    // Nor does another process fetch again what was given up, until it points elsewhere.
    let mut mirror = scene.mirror();
    mirror.want_tags(wanted());
    let origin = daemon.origin();
    let after = mirror.fetch(&origin, MAIN, Proposals::Ignore).unwrap();
    assert!(after.unread.is_empty(), "{:?}", after.unread);
    point("release/2-blob-known", &scene.blob("another blob"));
    let after = mirror.fetch(&origin, MAIN, Proposals::Ignore).unwrap();
    assert_eq!(after.unread.len(), 1, "{:?}", after.unread);
    mirror
        .maintain_when(Untidy {
            loose: 0,
            packs: 0,
            ..Untidy::default()
        })
        .unwrap();
    for id in heads.tags.values() {
        assert_eq!(
            mirror.tag(id, 1 << 20).unwrap().kind,
            "tag",
            "packing keeps it"
        );
    }
    // git is not troubled by tags of what is not here.
    let next = scene.commit(
        "main",
        Some(heads.protected.as_ref().unwrap()),
        &[("roster.yaml", "b: {}\n")],
    );
    let moved = mirror
        .fetch(&daemon.origin(), MAIN, Proposals::Ignore)
        .unwrap();
    assert_eq!(moved.protected, Some(next));
}

fn size_of(path: &std::path::Path) -> u64 {
    match std::fs::read_dir(path) {
        Ok(entries) => entries.map(|it| size_of(&it.unwrap().path())).sum(),
        Err(_) => path.metadata().unwrap().len(),
    }
}
