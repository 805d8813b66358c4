//! Reading local origins of every shape, and what hostile ones cannot do.

mod support;

use std::collections::BTreeSet;
use std::fs;

use muster_core::commit::CommitId;
use muster_git::LayoutError;
use muster_git::files::{Found, ReadError};
use muster_git::{Ancestry, FetchError, Mirror, Origin, Proposals};
use support::{MAIN, Scene, is_root, texts};

const NOBODY: u32 = 54_321;

fn add(scene: &Scene, tip: &CommitId, content: &str) -> CommitId {
    scene.commit("main", Some(tip), &[("roster.yaml", content)])
}

/// It was hashed when it was read, and need not be read again right after it was written.
#[test]
fn what_was_just_copied_is_read_from_memory_and_the_next_time_from_the_mirror() {
    let scene = Scene::with_roster();
    let mut mirror = scene.mirror();
    let tip = scene.fetch(&mut mirror).protected.unwrap();
    let id = mirror.listing(&tip).unwrap()["roster.yaml"].to_string();
    let kept = scene.path("mirror/objects").join(&id[..2]).join(&id[2..]);
    let bytes = fs::read(&kept).unwrap();
    fs::remove_dir_all(scene.path("origin")).unwrap();
    fs::remove_file(&kept).unwrap();
    let read = mirror.files(&tip).unwrap();
    assert_eq!(read["roster.yaml"].id.to_string(), id);
    mirror.files(&tip).unwrap_err();
    fs::write(&kept, bytes).unwrap();
    assert_eq!(mirror.files(&tip).unwrap(), read);
    // Nobody read it, and nothing is going on.
    let other = Scene::with_roster();
    let mut mirror = other.mirror();
    let tip = other.fetch(&mut mirror).protected.unwrap();
    mirror.rest();
    fs::remove_dir_all(other.path("origin")).unwrap();
    fs::remove_dir_all(other.path("mirror/objects").join(&id[..2])).unwrap();
    mirror.files(&tip).unwrap_err();
}

#[test]
fn the_tip_and_its_files_arrive_and_nothing_else_is_read() {
    let scene = Scene::new();
    scene.git("", &["init", "-q", "--bare", "-b", "main", "origin"]);
    let files = [
        ("roster.yaml", "emo: {}\n"),
        ("tiers.yaml", "t\n"),
        ("hosts/devvm.yaml", "h\n"),
        ("hosts/deep/no.yaml", "no\n"),
        ("guests/devvm.yaml", "g\n"),
        ("clusters/k.yaml", "c\n"),
        ("services/a/b/c.json", "s\n"),
        ("README.md", "no\n"),
        ("other/roster.yaml", "no\n"),
    ];
    let tip = scene.commit("main", None, &files);
    let mut mirror = scene.mirror();
    let heads = scene.fetch(&mut mirror);
    assert_eq!(heads.protected.as_ref(), Some(&tip));
    assert!(heads.branches.is_empty() && heads.unread.is_empty());
    let read = mirror.files(&tip).unwrap();
    let paths: Vec<_> = read.keys().map(String::as_str).collect();
    let expected = [
        "clusters/k.yaml",
        "guests/devvm.yaml",
        "hosts/devvm.yaml",
        "roster.yaml",
        "services/a/b/c.json",
        "tiers.yaml",
    ];
    assert_eq!(paths, expected);
    let listing = mirror.listing(&tip).unwrap();
    assert!(listing.iter().all(|(path, id)| read[path].id == *id));

    // The commit stays readable when the origin is gone.
    fs::remove_dir_all(scene.path("origin")).unwrap();
    assert!(
        mirror
            .fetch(&scene.origin(), MAIN, Proposals::Ignore)
            .is_err()
    );
    assert_eq!(
        texts(&scene.mirror().files(&tip).unwrap())["roster.yaml"],
        "emo: {}\n"
    );
}

#[test]
fn a_missing_protected_branch_is_none_and_a_broken_one_is_an_error() {
    let scene = Scene::new();
    scene.git("", &["init", "-q", "--bare", "-b", "main", "origin"]);
    let mut mirror = scene.mirror();
    assert_eq!(scene.fetch(&mut mirror).protected, None);
    fs::write(scene.path("origin/refs/heads/main"), "").unwrap();
    let error = mirror
        .fetch(&scene.origin(), MAIN, Proposals::Ignore)
        .unwrap_err();
    assert!(matches!(error, FetchError::BrokenBranch { .. }), "{error}");
}

#[test]
fn a_tag_named_like_the_branch_changes_nothing() {
    let scene = Scene::with_roster();
    let main: CommitId = scene.git("origin", &["rev-parse", MAIN]).parse().unwrap();
    let other = scene.commit("other", None, &[("roster.yaml", "mallory: {}\n")]);
    for tag in ["main", "refs/heads/main", "heads/main"] {
        scene.git(
            "origin",
            &["update-ref", &format!("refs/tags/{tag}"), other.as_str()],
        );
    }
    assert_eq!(scene.fetch(&mut scene.mirror()).protected, Some(main));
}

#[test]
fn a_force_push_diverges_and_a_push_descends() {
    let scene = Scene::with_roster();
    let mut mirror = scene.mirror();
    let first = scene.fetch(&mut mirror).protected.unwrap();
    let second = add(&scene, &first, "b: {}\n");
    let third = add(&scene, &second, "c: {}\n");
    assert_eq!(scene.fetch(&mut mirror).protected.as_ref(), Some(&third));
    assert_eq!(mirror.ancestry(&first, &third), Ancestry::Descends);
    assert_eq!(mirror.ancestry(&third, &first), Ancestry::Diverged);
    assert_eq!(mirror.ancestry(&third, &third), Ancestry::Same);
    let forced = add(&scene, &first, "d: {}\n");
    assert_eq!(scene.fetch(&mut mirror).protected.as_ref(), Some(&forced));
    assert_eq!(mirror.ancestry(&third, &forced), Ancestry::Diverged);
    // What was adopted stays readable, even after the origin forgets it.
    scene.git("origin", &["gc", "-q", "--prune=now"]);
    assert_eq!(
        texts(&scene.mirror().files(&third).unwrap())["roster.yaml"],
        "c: {}\n"
    );
}

/// Histories with merges and with times that lie, compared with what git says of every pair.
#[test]
fn ancestry_is_what_git_says_whatever_the_times() {
    let scene = Scene::with_roster();
    let tree = scene.git("origin", &["rev-parse", "main^{tree}"]);
    let mut commits: Vec<CommitId> = Vec::new();
    // A fixed sequence that looks random: parents and times of twenty-four commits.
    let mut state = 7_u32;
    let mut next = |below: usize| {
        state = state.wrapping_mul(1_103_515_245).wrapping_add(12_345);
        (state >> 16) as usize % below
    };
    for n in 0..24 {
        let count = if n == 0 { 0 } else { next(3) };
        let parents: BTreeSet<usize> = (0..count).map(|_| n - 1 - next(n.min(6))).collect();
        let mut body = format!("tree {tree}\n");
        parents
            .iter()
            .for_each(|parent| body.push_str(&format!("parent {}\n", commits[*parent])));
        let time = 1_700_000_000 + next(1_000_000);
        body.push_str(&format!("author a <a@example.org> {time} +0000\ncommitter a <a@example.org> {time} +0000\n\n{n}\n"));
        let id = scene.git_with_input(
            "origin",
            &["hash-object", "-t", "commit", "-w", "--stdin"],
            body.as_bytes(),
        );
        scene.git("origin", &["update-ref", &format!("refs/heads/c{n}"), &id]);
        commits.push(id.parse().unwrap());
    }
    let mut mirror = scene.mirror();
    scene.fetch(&mut mirror);
    for new in &commits {
        let ancestors = scene.git("origin", &["rev-list", new.as_str()]);
        let ancestors: BTreeSet<&str> = ancestors.lines().collect();
        for old in commits.iter().filter(|old| *old != new) {
            let expected = if ancestors.contains(old.as_str()) {
                Ancestry::Descends
            } else {
                Ancestry::Diverged
            };
            assert_eq!(mirror.ancestry(old, new), expected, "{old} {new}");
        }
    }
}

#[test]
fn a_shallow_origin_leaves_the_ancestry_unknown() {
    let scene = Scene::with_roster();
    let first: CommitId = scene.git("origin", &["rev-parse", MAIN]).parse().unwrap();
    let tip = add(&scene, &add(&scene, &first, "b: {}\n"), "c: {}\n");
    let url = format!("file://{}", scene.path("origin").display());
    scene.git("", &["clone", "-q", "--bare", "--depth=1", &url, "shallow"]);
    let mut mirror = scene.mirror();
    let heads = mirror
        .fetch(
            &Origin::Local(scene.path("shallow")),
            MAIN,
            Proposals::Ignore,
        )
        .unwrap();
    assert_eq!(heads.protected.as_ref(), Some(&tip));
    assert_eq!(mirror.ancestry(&first, &tip), Ancestry::Unknown);
    assert!(mirror.files(&tip).is_ok());
}

#[test]
fn replacements_grafts_and_commit_graphs_of_the_origin_have_no_effect() {
    let scene = Scene::with_roster();
    let first: CommitId = scene.git("origin", &["rev-parse", MAIN]).parse().unwrap();
    let second = add(&scene, &first, "b: {}\n");
    let forced = scene.commit("main", None, &[("roster.yaml", "mallory: {}\n")]);
    let child_of_second = scene.commit("fake", Some(&second), &[("roster.yaml", "mallory: {}\n")]);
    scene.git(
        "origin",
        &["replace", forced.as_str(), child_of_second.as_str()],
    );
    fs::write(
        scene.path("origin/info/grafts"),
        format!("{forced} {second}\n"),
    )
    .unwrap();
    scene.git("origin", &["update-ref", "-d", "refs/heads/fake"]);
    assert!(
        scene
            .try_git(
                "origin",
                &[
                    "merge-base",
                    "--is-ancestor",
                    second.as_str(),
                    forced.as_str()
                ]
            )
            .status
            .success()
    );
    let mut mirror = scene.mirror();
    assert_eq!(scene.fetch(&mut mirror).protected.as_ref(), Some(&forced));
    assert_eq!(mirror.ancestry(&second, &forced), Ancestry::Diverged);
    assert_eq!(
        texts(&mirror.files(&forced).unwrap())["roster.yaml"],
        "mallory: {}\n"
    );
}

#[test]
fn an_object_whose_content_is_not_its_id_is_refused() {
    let scene = Scene::with_roster();
    let first: CommitId = scene.git("origin", &["rev-parse", MAIN]).parse().unwrap();
    let second = add(&scene, &first, "b: {}\n");
    // The unrelated commit's file now holds what the second commit says: an ancestry that no hash vouches for.
    let forced = scene.commit("main", None, &[("roster.yaml", "mallory: {}\n")]);
    let child = scene.commit("fake", Some(&second), &[("roster.yaml", "mallory: {}\n")]);
    let loose = |id: &CommitId| {
        scene
            .path("origin/objects")
            .join(&id.as_str()[..2])
            .join(&id.as_str()[2..])
    };
    let content = fs::read(loose(&child)).unwrap();
    fs::remove_file(loose(&forced)).unwrap();
    fs::write(loose(&forced), content).unwrap();
    let mut mirror = scene.mirror();
    let error = mirror
        .fetch(&scene.origin(), MAIN, Proposals::Ignore)
        .unwrap_err();
    assert!(
        matches!(
            error,
            FetchError::Read {
                source: ReadError::Damaged { .. },
                ..
            }
        ),
        "{error:?}"
    );
    assert_ne!(mirror.ancestry(&second, &forced), Ancestry::Descends);
}

#[test]
fn packed_and_deltified_origins_read_the_same() {
    let scene = Scene::with_roster();
    let mut tip: CommitId = scene.git("origin", &["rev-parse", MAIN]).parse().unwrap();
    let first = tip.clone();
    let mut roster: String = (0..400)
        .map(|n| format!("person{n}: {{tier: a}}\n"))
        .collect();
    for n in 0..12 {
        roster.push_str(&format!("late{n}: {{}}\n"));
        tip = add(&scene, &tip, &roster);
    }
    scene.git("origin", &["gc", "-q", "--aggressive", "--prune=now"]);
    assert!(
        !scene.path("origin/refs/heads/main").exists(),
        "gc packs the references"
    );
    let mut mirror = scene.mirror();
    assert_eq!(scene.fetch(&mut mirror).protected.as_ref(), Some(&tip));
    assert_eq!(texts(&mirror.files(&tip).unwrap())["roster.yaml"], roster);
    assert_eq!(mirror.ancestry(&first, &tip), Ancestry::Descends);
    // Packing again while the mirror looks into the origin.
    let next = add(&scene, &tip, "after: {}\n");
    scene.git("origin", &["gc", "-q", "--prune=now"]);
    assert_eq!(scene.fetch(&mut mirror).protected.as_ref(), Some(&next));
    assert_eq!(mirror.ancestry(&first, &next), Ancestry::Descends);
}

#[test]
fn work_trees_linked_work_trees_and_bare_repositories_are_origins() {
    let scene = Scene::with_roster();
    let tip: CommitId = scene.git("origin", &["rev-parse", MAIN]).parse().unwrap();
    scene.git("", &["clone", "-q", "origin", "work"]);
    scene.git(
        "work",
        &["worktree", "add", "-q", "-b", "side", "../linked"],
    );
    for path in [
        "origin",
        "work",
        "work/.git",
        "linked",
        "work/.git/worktrees/linked",
    ] {
        let origin = Origin::parse(scene.path(path).to_str().unwrap()).unwrap();
        let mut mirror = Mirror::open_or_create(&scene.path("mirror")).unwrap();
        let heads = mirror.fetch(&origin, MAIN, Proposals::Include).unwrap();
        assert_eq!(heads.protected.as_ref(), Some(&tip), "{path}");
        assert_eq!(
            heads.branches.contains_key("refs/heads/side"),
            path != "origin",
            "{path}"
        );
        assert!(!origin.watch_paths().is_empty());
    }
    let error = scene
        .mirror()
        .fetch(&Origin::Local(scene.path("")), MAIN, Proposals::Ignore)
        .unwrap_err();
    assert!(
        matches!(error, FetchError::Origin(LayoutError::NoRepository(_))),
        "{error}"
    );
}

#[test]
fn hostile_branch_names_are_carried_as_they_are() {
    let scene = Scene::with_roster();
    let tip = scene.git("origin", &["rev-parse", MAIN]);
    let mut names = [
        "$(id)",
        "`id`",
        "a;b",
        "\u{202e}nimda",
        "<script>",
        "refs/heads/main",
        "-rf",
        "'\"",
        tip.as_str(),
    ];
    for name in names {
        scene.git(
            "origin",
            &["update-ref", &format!("refs/heads/{name}"), &tip],
        );
    }
    fs::write(scene.path("origin/refs/heads/..broken.lock."), &tip).unwrap();
    let heads = scene.fetch(&mut scene.mirror());
    names.sort_unstable();
    let found: Vec<_> = heads
        .branches
        .keys()
        .map(|name| name.strip_prefix("refs/heads/").unwrap())
        .collect();
    assert_eq!(found, names);
    assert_eq!(heads.unread, ["refs/heads/..broken.lock."]);
}

#[test]
fn deleted_branches_vanish_and_five_hundred_are_listed() {
    let scene = Scene::with_roster();
    let tip = scene.git("origin", &["rev-parse", MAIN]);
    let update: String = (0..500)
        .map(|n| format!("create refs/heads/team/{n:03} {tip}\n"))
        .collect();
    scene.git_with_input("origin", &["update-ref", "--stdin"], update.as_bytes());
    let mut mirror = scene.mirror();
    assert_eq!(scene.fetch(&mut mirror).branches.len(), 500);
    scene.git("origin", &["pack-refs", "--all"]);
    scene.git("origin", &["update-ref", "-d", "refs/heads/team/007"]);
    let heads = scene.fetch(&mut mirror);
    assert_eq!(heads.branches.len(), 499);
    assert!(!heads.branches.contains_key("refs/heads/team/007"));
    let alone = mirror
        .fetch(&scene.origin(), MAIN, Proposals::Ignore)
        .unwrap();
    assert!(alone.branches.is_empty() && alone.protected.is_some());
}

#[test]
fn only_plain_files_are_read_and_every_other_one_is_named() {
    let scene = Scene::with_roster();
    let tip: CommitId = scene.git("origin", &["rev-parse", MAIN]).parse().unwrap();
    let (target, plain) = (scene.blob("/etc/shadow"), scene.blob("x\n"));
    let entries = [
        ("120000", "roster.yaml", target.clone()),
        ("160000", "tiers.yaml", tip.to_string()),
        ("100755", "hosts/run.yaml", plain.clone()),
        ("100644", "hosts/a b.yaml", plain.clone()),
        ("120000", "guests", target.clone()),
        ("160000", "services/sub", tip.to_string()),
        ("100644", "services/ok.json", plain.clone()),
        ("120000", "elsewhere", target),
        (
            "100644",
            ".gitmodules",
            scene.blob("[submodule \"x\"]\n\tpath = services/sub\n\turl = ext::id\n"),
        ),
        (
            "100644",
            ".gitattributes",
            scene.blob("* filter=evil merge=evil\n"),
        ),
    ];
    let commit = scene.commit_entries("main", Some(&tip), &entries);
    let mut mirror = scene.mirror();
    assert_eq!(scene.fetch(&mut mirror).protected.as_ref(), Some(&commit));
    let Err(ReadError::Paths(problems)) = mirror.files(&commit) else {
        panic!("it was read")
    };
    let found: Vec<_> = problems
        .iter()
        .map(|problem| (problem.path.as_str(), problem.found))
        .collect();
    let expected = [
        ("guests", Found::Symlink),
        ("hosts/a b.yaml", Found::OddName),
        ("hosts/run.yaml", Found::Executable),
        ("roster.yaml", Found::Symlink),
        ("services/sub", Found::Submodule),
        ("tiers.yaml", Found::Submodule),
    ];
    assert_eq!(found, expected);
    let text = ReadError::Paths(problems).to_string();
    assert!(
        text.contains("roster.yaml: is a symbolic link; make it a plain file\n"),
        "{text}"
    );
}

#[test]
fn a_reftable_origin_is_read() {
    let scene = Scene::new();
    if !scene
        .try_git(
            "",
            &[
                "init",
                "-q",
                "--bare",
                "-b",
                "main",
                "--ref-format=reftable",
                "origin",
            ],
        )
        .status
        .success()
    {
        return; // This git cannot make one.
    }
    let first = scene.commit("main", None, &[("roster.yaml", "a: {}\n")]);
    scene.commit("side", Some(&first), &[("roster.yaml", "b: {}\n")]);
    let mut mirror = scene.mirror();
    let heads = scene.fetch(&mut mirror);
    assert_eq!(heads.protected.as_ref(), Some(&first));
    assert_eq!(heads.branches.len(), 1);
    let signature = scene.origin().signature(MAIN).unwrap().unwrap();
    let second = add(&scene, &first, "c: {}\n");
    assert!(!signature.still_holds());
    assert_eq!(scene.fetch(&mut mirror).protected.as_ref(), Some(&second));
    assert_eq!(mirror.ancestry(&first, &second), Ancestry::Descends);
}

#[test]
fn a_sha256_origin_is_read() {
    let scene = Scene::new();
    scene.git(
        "",
        &[
            "init",
            "-q",
            "--bare",
            "-b",
            "main",
            "--object-format=sha256",
            "origin",
        ],
    );
    let first = scene.commit("main", None, &[("roster.yaml", "a: {}\n")]);
    assert_eq!(first.as_str().len(), 64);
    let second = add(&scene, &first, "b: {}\n");
    let mut mirror = scene.mirror();
    assert_eq!(scene.fetch(&mut mirror).protected.as_ref(), Some(&second));
    assert_eq!(mirror.ancestry(&first, &second), Ancestry::Descends);
    assert_eq!(
        texts(&mirror.files(&second).unwrap())["roster.yaml"],
        "b: {}\n"
    );
    assert_eq!(
        texts(&scene.mirror().files(&second).unwrap())["roster.yaml"],
        "b: {}\n"
    );
}

#[test]
fn an_origin_that_borrows_objects_is_fetched_by_its_owner() {
    let scene = Scene::with_roster();
    let first: CommitId = scene.git("origin", &["rev-parse", MAIN]).parse().unwrap();
    scene.git(
        "",
        &["clone", "-q", "--bare", "--shared", "origin", "borrower"],
    );
    if is_root() {
        scene.give("borrower", NOBODY);
    }
    let origin = Origin::Local(scene.path("borrower"));
    let mut mirror = scene.mirror();
    let heads = mirror.fetch(&origin, MAIN, Proposals::Include).unwrap();
    assert_eq!(heads.protected.as_ref(), Some(&first));
    assert_eq!(
        texts(&mirror.files(&first).unwrap())["roster.yaml"],
        "emo: {}\n"
    );
    let marker = scene.path("mirror/refs/muster/fetched/heads/main");
    assert_eq!(fs::read_to_string(marker).unwrap().trim(), first.as_str());
    // The second time only what is new is asked for.
    let second = add(&scene, &first, "b: {}\n");
    fs::write(
        scene.path("borrower/refs/heads/main"),
        format!("{second}\n"),
    )
    .unwrap();
    let heads = mirror.fetch(&origin, MAIN, Proposals::Include).unwrap();
    assert_eq!(heads.protected.as_ref(), Some(&second));
    assert_eq!(mirror.ancestry(&first, &second), Ancestry::Descends);
    scene.git("mirror", &["fsck", "--strict", "--no-dangling"]);
}

#[test]
fn an_origin_of_somebody_else_runs_nothing_and_stays_as_it_is() {
    if !is_root() {
        return; // Only root can give a repository away.
    }
    let scene = Scene::with_roster();
    let tip: CommitId = scene.git("origin", &["rev-parse", MAIN]).parse().unwrap();
    let config = format!(
        "[core]\n\trepositoryformatversion = 0\n\tbare = true\n\tfsmonitor = touch {0}\n\tsshCommand = touch {0}\n\
         [uploadpack]\n\tpackObjectsHook = touch {0}\n[include]\n\tpath = /etc/shadow\n",
        scene.path("pwned").display()
    );
    fs::write(scene.path("origin/config"), config).unwrap();
    scene.give("origin", NOBODY);
    let mut mirror = scene.mirror();
    assert_eq!(scene.fetch(&mut mirror).protected.as_ref(), Some(&tip));
    assert!(mirror.files(&tip).is_ok());
    assert!(!scene.path("pwned").exists());
    let foreign = std::process::Command::new("find")
        .arg(scene.path("origin"))
        .args(["!", "-uid", "54321"])
        .output()
        .unwrap();
    assert!(
        foreign.stdout.is_empty(),
        "{}",
        String::from_utf8_lossy(&foreign.stdout)
    );
}

#[test]
fn a_link_into_somebody_elses_repository_is_not_followed() {
    if !is_root() {
        return; // Only root can give a directory away.
    }
    let scene = Scene::with_roster();
    fs::create_dir(scene.path("mallory")).unwrap();
    fs::write(
        scene.path("mallory/.git"),
        format!("gitdir: {}\n", scene.path("origin").display()),
    )
    .unwrap();
    scene.give("mallory", NOBODY);
    let error = scene
        .mirror()
        .fetch(
            &Origin::Local(scene.path("mallory")),
            MAIN,
            Proposals::Ignore,
        )
        .unwrap_err();
    assert!(
        matches!(error, FetchError::Origin(LayoutError::ForeignLink { .. })),
        "{error:?}"
    );
}

#[test]
fn a_missing_file_of_a_partial_clone_is_an_error_that_says_so() {
    let scene = Scene::with_roster();
    let tip: CommitId = scene.git("origin", &["rev-parse", MAIN]).parse().unwrap();
    let blob = scene.git("origin", &["rev-parse", &format!("{tip}:roster.yaml")]);
    fs::remove_file(
        scene
            .path("origin/objects")
            .join(&blob[..2])
            .join(&blob[2..]),
    )
    .unwrap();
    let error = scene
        .mirror()
        .fetch(&scene.origin(), MAIN, Proposals::Ignore)
        .unwrap_err();
    let FetchError::Read {
        source: source @ ReadError::Missing { .. },
        ..
    } = error
    else {
        panic!("{error:?}")
    };
    assert!(source.to_string().contains("partial clone"), "{source}");
}

#[test]
fn what_a_crash_left_in_the_mirror_is_repaired() {
    let scene = Scene::with_roster();
    let mut mirror = scene.mirror();
    let tip = scene.fetch(&mut mirror).protected.unwrap();
    drop(mirror);
    fs::write(scene.path("mirror/packed-refs.lock"), "").unwrap();
    fs::write(scene.path("mirror/refs/muster/fetched/heads/main.lock"), "").unwrap();
    fs::write(scene.path("mirror/objects/pack/tmp_pack_x"), "half").unwrap();
    for id in [
        tip.to_string(),
        scene.git("origin", &["rev-parse", &format!("{tip}:roster.yaml")]),
    ] {
        let path = scene.path("mirror/objects").join(&id[..2]).join(&id[2..]);
        fs::remove_file(&path).unwrap();
        fs::write(&path, "").unwrap();
    }
    let mut mirror = scene.mirror();
    assert!(
        !scene.path("mirror/packed-refs.lock").exists()
            && !scene.path("mirror/objects/pack/tmp_pack_x").exists()
    );
    assert_eq!(scene.fetch(&mut mirror).protected.as_ref(), Some(&tip));
    fs::rename(scene.path("origin"), scene.path("gone")).unwrap();
    assert_eq!(
        texts(&scene.mirror().files(&tip).unwrap())["roster.yaml"],
        "emo: {}\n"
    );
}

#[test]
fn the_signature_moves_with_every_kind_of_change_and_with_nothing_else() {
    let scene = Scene::with_roster();
    let tip: CommitId = scene.git("origin", &["rev-parse", MAIN]).parse().unwrap();
    scene.git("origin", &["update-ref", "refs/heads/team/a", tip.as_str()]);
    // Old enough that a change cannot share their instant.
    let settle = || {
        let status = std::process::Command::new("find")
            .arg(scene.path("origin"))
            .args(["-exec", "touch", "-d", "2026-01-01", "{}", "+"])
            .status();
        assert!(status.unwrap().success());
    };
    let moves = |change: &dyn Fn()| {
        settle();
        let before = scene.origin().signature(MAIN).unwrap().unwrap();
        change();
        let moved = scene.origin().signature(MAIN).unwrap().unwrap() != before;
        assert!(!moved || !before.still_holds());
        moved
    };
    assert!(moves(&|| drop(add(&scene, &tip, "x: {}\n"))));
    assert!(moves(&|| drop(scene.git(
        "origin",
        &["update-ref", "refs/heads/team/b", tip.as_str()]
    ))));
    assert!(moves(&|| drop(scene.git(
        "origin",
        &["update-ref", "refs/heads/team/b", "refs/heads/main"]
    ))));
    assert!(moves(&|| drop(
        scene.git("origin", &["update-ref", "-d", "refs/heads/team/b"])
    )));
    assert!(moves(&|| drop(
        scene.git("origin", &["pack-refs", "--all"])
    )));
    assert!(moves(&|| fs::write(
        scene.path("origin/refs/heads/main"),
        format!("{tip}\n")
    )
    .unwrap()));
    assert!(!moves(&|| drop(scene.git(
        "origin",
        &[
            "notes",
            "--ref=muster/host/devvm/plan",
            "add",
            "-m",
            "x",
            tip.as_str()
        ]
    ))));
    // A release wakes; other tags at most have the names read again.
    for name in ["release/a", "release/b"] {
        assert!(moves(&|| drop(
            scene.git("origin", &["tag", name, tip.as_str()])
        )));
    }
    assert!(moves(&|| drop(
        scene.git("origin", &["tag", "-d", "release/b"])
    )));
    // What a link leads to changes without it.
    let (tags, elsewhere) = (scene.path("origin/refs/tags"), scene.path("elsewhere"));
    fs::rename(&tags, &elsewhere).unwrap();
    std::os::unix::fs::symlink(&elsewhere, &tags).unwrap();
    assert!(moves(&|| fs::create_dir(elsewhere.join("reset")).unwrap()));
}
