//! Notes in a local origin: readable by git, owned by whom the repository belongs to.

mod support;

use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::Path;

use muster_core::commit::CommitId;
use muster_git::notes::Written;
use muster_git::{Notes, NotesError, Origin, Writer};
use support::{MAIN, Scene, command, helper, is_root, newest_git};

const PLAN: &str = "refs/notes/muster/host/devvm/plan";
const TIME: i64 = 1_795_000_000;
const NOBODY: u32 = 54_321;

fn tip(scene: &Scene) -> CommitId {
    scene.git("origin", &["rev-parse", MAIN]).parse().unwrap()
}

fn notes(scene: &Scene) -> Notes {
    Notes::open(&scene.origin(), Writer::InProcess).unwrap()
}

#[test]
fn git_shows_what_was_written_and_the_same_text_writes_nothing() {
    let scene = Scene::with_roster();
    let (notes, commit) = (notes(&scene), tip(&scene));
    assert_eq!(notes.read(PLAN, &commit).unwrap(), None);
    assert_eq!(
        notes.write(PLAN, &commit, "the plan\n", TIME).unwrap(),
        Written::Changed
    );
    assert_eq!(
        scene.git(
            "origin",
            &["notes", &format!("--ref={PLAN}"), "show", commit.as_str()]
        ),
        "the plan"
    );
    let before = scene.git("origin", &["rev-parse", PLAN]);
    assert_eq!(
        notes.write(PLAN, &commit, "the plan\n", TIME + 1).unwrap(),
        Written::Unchanged
    );
    assert_eq!(scene.git("origin", &["rev-parse", PLAN]), before);
    assert_eq!(
        notes.write(PLAN, &commit, "another\n", TIME + 2).unwrap(),
        Written::Changed
    );
    assert_eq!(
        notes.read(PLAN, &commit).unwrap().as_deref(),
        Some("another\n")
    );
    assert_eq!(
        scene.git("origin", &["log", "--format=%an %ae %ct", "-1", PLAN]),
        format!("muster muster@devvm {}", TIME + 2)
    );
    assert_eq!(notes.remove(PLAN, &commit, TIME).unwrap(), Written::Changed);
    assert_eq!(
        notes.remove(PLAN, &commit, TIME).unwrap(),
        Written::Unchanged
    );
    assert_eq!(notes.read(PLAN, &commit).unwrap(), None);
    scene.git("origin", &["fsck", "--strict"]);
}

#[test]
fn notes_that_git_spread_over_directories_are_read_kept_and_pruned() {
    let scene = Scene::with_roster();
    let notes = notes(&scene);
    let commits: Vec<CommitId> = (0..5)
        .map(|n| {
            scene.commit(
                &format!("b{n}"),
                None,
                &[("roster.yaml", &format!("p{n}: {{}}\n"))],
            )
        })
        .collect();
    // Two levels of directories, as git makes them for many notes, and a file that is no note.
    let entries: Vec<_> = commits
        .iter()
        .map(|id| {
            (
                format!(
                    "{}/{}/{}",
                    &id.as_str()[..2],
                    &id.as_str()[2..4],
                    &id.as_str()[4..]
                ),
                scene.blob(&format!("note of {id}\n")),
            )
        })
        .chain([("README".to_owned(), scene.blob("mine\n"))])
        .collect();
    let entries: Vec<_> = entries
        .iter()
        .map(|(path, id)| ("100644", path.as_str(), id.clone()))
        .collect();
    let spread = scene.commit_entries("spread", None, &entries);
    scene.git("origin", &["update-ref", PLAN, spread.as_str()]);
    scene.git("origin", &["update-ref", "-d", "refs/heads/spread"]);
    assert_eq!(
        notes.read(PLAN, &commits[2]).unwrap().unwrap(),
        format!("note of {}\n", commits[2])
    );
    notes.write(PLAN, &commits[2], "new\n", TIME).unwrap();
    for id in &commits {
        let expected = if *id == commits[2] {
            "new".to_owned()
        } else {
            format!("note of {id}")
        };
        assert_eq!(
            scene.git(
                "origin",
                &["notes", &format!("--ref={PLAN}"), "show", id.as_str()]
            ),
            expected
        );
    }
    let keep: BTreeSet<_> = commits[..2].iter().cloned().collect();
    assert_eq!(notes.prune(PLAN, &keep, TIME).unwrap(), Written::Changed);
    assert_eq!(notes.prune(PLAN, &keep, TIME).unwrap(), Written::Unchanged);
    assert_eq!(
        scene
            .git("origin", &["notes", &format!("--ref={PLAN}"), "list"])
            .lines()
            .count(),
        2
    );
    assert_eq!(
        scene.git("origin", &["cat-file", "-p", &format!("{PLAN}:README")]),
        "mine"
    );
    notes.prune(PLAN, &BTreeSet::new(), TIME).unwrap();
    scene.git("origin", &["fsck", "--strict"]);
}

#[test]
fn writers_that_race_lose_nothing() {
    let scene = Scene::with_roster();
    let commits: Vec<CommitId> = (0..4)
        .map(|n| {
            scene.commit(
                &format!("b{n}"),
                None,
                &[("roster.yaml", &format!("p{n}: {{}}\n"))],
            )
        })
        .collect();
    std::thread::scope(|scope| {
        for commit in &commits {
            let notes = notes(&scene);
            // Whoever loses every attempt is told so, and tries again.
            scope.spawn(move || {
                while let Err(error) = notes.write(PLAN, commit, "mine\n", TIME) {
                    assert!(matches!(error, NotesError::Busy(_)), "{error}");
                }
            });
        }
    });
    for commit in &commits {
        assert_eq!(
            notes(&scene).read(PLAN, commit).unwrap().as_deref(),
            Some("mine\n")
        );
    }
    scene.git("origin", &["fsck", "--strict"]);
}

#[test]
fn packed_notes_a_lock_and_other_references_are_respected() {
    let scene = Scene::with_roster();
    let (notes, commit) = (notes(&scene), tip(&scene));
    notes.write(PLAN, &commit, "one\n", TIME).unwrap();
    scene.git("origin", &["pack-refs", "--all", "--prune"]);
    assert_eq!(
        notes.write(PLAN, &commit, "two\n", TIME).unwrap(),
        Written::Changed
    );
    assert_eq!(
        scene.git(
            "origin",
            &["notes", &format!("--ref={PLAN}"), "show", commit.as_str()]
        ),
        "two"
    );
    fs::write(scene.path("origin").join(format!("{PLAN}.lock")), "").unwrap();
    assert!(matches!(
        notes.write(PLAN, &commit, "three\n", TIME),
        Err(NotesError::Busy(_))
    ));
    for wrong in [
        "refs/heads/main",
        "refs/notes/../heads/main",
        "HEAD",
        "refs/notes/",
    ] {
        assert!(
            matches!(
                notes.write(wrong, &commit, "x", TIME),
                Err(NotesError::Reference(_))
            ),
            "{wrong}"
        );
    }
    let remote = Origin::parse("https://example.org/x").unwrap();
    assert!(matches!(
        Notes::open(&remote, Writer::InProcess),
        Err(NotesError::NotLocal(_))
    ));
}

#[test]
fn a_reftable_and_a_sha256_origin_get_notes() {
    for format in ["--ref-format=reftable", "--object-format=sha256"] {
        let scene = Scene::new();
        if !scene
            .try_git(
                "",
                &["init", "-q", "--bare", "-b", "main", format, "origin"],
            )
            .status
            .success()
        {
            continue; // This git cannot make one.
        }
        let commit = scene.commit("main", None, &[("roster.yaml", "a: {}\n")]);
        let notes = notes(&scene);
        assert_eq!(
            notes.write(PLAN, &commit, "one\n", TIME).unwrap(),
            Written::Changed,
            "{format}"
        );
        assert_eq!(
            notes.write(PLAN, &commit, "two\n", TIME).unwrap(),
            Written::Changed,
            "{format}"
        );
        assert_eq!(
            scene.git(
                "origin",
                &["notes", &format!("--ref={PLAN}"), "show", commit.as_str()]
            ),
            "two"
        );
    }
}

fn owners(dir: &Path, found: &mut BTreeSet<u32>) {
    found.insert(dir.symlink_metadata().unwrap().uid());
    if dir.is_dir() {
        for entry in fs::read_dir(dir).unwrap() {
            owners(&entry.unwrap().path(), found);
        }
    }
}

#[test]
fn in_somebody_elses_repository_everything_is_written_as_its_owner() {
    if !is_root() {
        return; // Only root can give a repository away.
    }
    let scene = Scene::with_roster();
    let commit = tip(&scene);
    scene.give("origin", NOBODY);
    assert!(matches!(
        notes(&scene).write(PLAN, &commit, "x\n", TIME),
        Err(NotesError::NotWritable(_))
    ));
    // The helper must be where the owner can run it, as /usr/bin/muster is.
    let exe = scene.path("helper");
    fs::copy(helper(), &exe).unwrap();
    fs::set_permissions(&exe, fs::Permissions::from_mode(0o755)).unwrap();
    let notes = Notes::open(
        &scene.origin(),
        Writer::Child {
            exe,
            args: vec!["serve-notes".into()],
        },
    )
    .unwrap();
    assert_eq!(
        notes.write(PLAN, &commit, "the plan\n", TIME).unwrap(),
        Written::Changed
    );
    assert_eq!(
        notes.write(PLAN, &commit, "the plan\n", TIME).unwrap(),
        Written::Unchanged
    );
    assert_eq!(
        notes.read(PLAN, &commit).unwrap().as_deref(),
        Some("the plan\n")
    );
    assert_eq!(
        notes
            .prune(PLAN, &BTreeSet::from([commit.clone()]), TIME)
            .unwrap(),
        Written::Unchanged
    );
    let mut found = BTreeSet::new();
    owners(&scene.path("origin"), &mut found);
    assert_eq!(found, BTreeSet::from([NOBODY]));
    let shown = command(newest_git(), &scene.path("origin"))
        .args([
            "--git-dir",
            ".",
            "notes",
            &format!("--ref={PLAN}"),
            "show",
            commit.as_str(),
        ])
        .output()
        .unwrap();
    assert_eq!(String::from_utf8(shown.stdout).unwrap(), "the plan\n");
    // A directory that its owner may not write.
    for below in [
        "origin/objects",
        "origin/refs",
        "origin/refs/notes/muster/host/devvm",
    ] {
        fs::set_permissions(scene.path(below), fs::Permissions::from_mode(0o555)).unwrap();
    }
    let error = notes.write(PLAN, &commit, "another\n", TIME).unwrap_err();
    assert!(matches!(error, NotesError::NotWritable(_)), "{error:?}");
}

#[test]
fn a_shared_repository_stays_shared() {
    let scene = Scene::with_roster();
    for below in ["objects", "refs"] {
        fs::set_permissions(
            scene.path("origin").join(below),
            fs::Permissions::from_mode(0o2775),
        )
        .unwrap();
    }
    notes(&scene)
        .write(PLAN, &tip(&scene), "x\n", TIME)
        .unwrap();
    let mode = |below: &str| scene.path("origin").join(below).metadata().unwrap().mode() & 0o7777;
    assert_eq!(mode("refs/notes/muster/host/devvm"), 0o2775);
    assert_eq!(mode(PLAN), 0o664);
    let commit = scene.git("origin", &["rev-parse", PLAN]);
    assert_eq!(
        mode(&format!("objects/{}/{}", &commit[..2], &commit[2..])),
        0o444
    );
}
