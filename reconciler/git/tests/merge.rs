//! Merging proposals in memory, compared with what git makes of them.

mod support;

use std::fs;

use muster_core::commit::CommitId;
use muster_git::Merged;
use support::{MAIN, Scene, command, newest_git, texts};

const ROSTER: &str = "anna: {}\n\n\nbob: {}\n\n\nemo: {}\n";

fn scene() -> (Scene, CommitId) {
    let scene = Scene::new();
    scene.git("", &["init", "-q", "--bare", "-b", "main", "origin"]);
    let base = scene.commit(
        "main",
        None,
        &[("roster.yaml", ROSTER), ("README.md", "one\n")],
    );
    (scene, base)
}

/// Every file below a directory with its content and time.
fn everything(dir: &std::path::Path) -> Vec<(std::path::PathBuf, Vec<u8>)> {
    let mut files = Vec::new();
    let mut todo = vec![dir.to_owned()];
    while let Some(dir) = todo.pop() {
        for entry in fs::read_dir(dir).unwrap() {
            let entry = entry.unwrap();
            if entry.file_type().unwrap().is_dir() {
                todo.push(entry.path())
            } else {
                files.push((entry.path(), fs::read(entry.path()).unwrap()))
            }
        }
    }
    files.sort();
    files
}

#[test]
fn each_way_a_proposal_can_stand_to_the_protected_branch() {
    let (scene, base) = scene();
    let ahead = scene.commit("ahead", Some(&base), &[("roster.yaml", "ahead: {}\n")]);
    let main = scene.commit(
        "main",
        Some(&base),
        &[
            ("roster.yaml", &ROSTER.replace("anna: {}", "anna: {uid: 1}")),
            ("README.md", "one\n"),
        ],
    );
    let clean = scene.commit(
        "clean",
        Some(&base),
        &[
            ("roster.yaml", &ROSTER.replace("emo: {}", "emo: {uid: 2}")),
            ("README.md", "one\n"),
            ("hosts/h.yaml", "h\n"),
        ],
    );
    let conflict = scene.commit(
        "conflict",
        Some(&base),
        &[
            ("roster.yaml", &ROSTER.replace("anna: {}", "anna: {uid: 9}")),
            ("README.md", "one\n"),
        ],
    );
    let unrelated = scene.commit("unrelated", None, &[("roster.yaml", "x: {}\n")]);
    let mut mirror = scene.mirror();
    let heads = scene.fetch(&mut mirror);
    assert_eq!(heads.branches.len(), 4);
    let (mirror_before, origin_before) = (
        everything(&scene.path("mirror")),
        everything(&scene.path("origin")),
    );

    assert_eq!(mirror.merge(&main, &base).unwrap(), Merged::UpToDate);
    assert_eq!(mirror.merge(&main, &main).unwrap(), Merged::UpToDate);
    let Merged::FastForward { files } = mirror.merge(&base, &ahead).unwrap() else {
        panic!("no fast-forward")
    };
    assert_eq!(texts(&files)["roster.yaml"], "ahead: {}\n");
    let Merged::Clean { files, base: found } = mirror.merge(&main, &clean).unwrap() else {
        panic!("not clean")
    };
    assert_eq!(found, base);
    assert_eq!(texts(&files)["hosts/h.yaml"], "h\n");
    let both = ROSTER
        .replace("anna: {}", "anna: {uid: 1}")
        .replace("emo: {}", "emo: {uid: 2}");
    assert_eq!(texts(&files)["roster.yaml"], both);
    let Merged::Conflict { paths } = mirror.merge(&main, &conflict).unwrap() else {
        panic!("no conflict")
    };
    assert_eq!(paths.into_iter().collect::<Vec<_>>(), ["roster.yaml"]);
    assert_eq!(mirror.merge(&main, &unrelated).unwrap(), Merged::Unrelated);
    assert_eq!(
        mirror.merge(&main, &clean).unwrap(),
        mirror.merge(&main, &clean).unwrap()
    );

    assert_eq!(
        everything(&scene.path("mirror")),
        mirror_before,
        "a merge wrote into the mirror"
    );
    assert_eq!(
        everything(&scene.path("origin")),
        origin_before,
        "a merge wrote into the origin"
    );
}

#[test]
fn a_conflict_outside_of_what_is_read_is_a_conflict() {
    let (scene, base) = scene();
    let main = scene.commit(
        "main",
        Some(&base),
        &[("roster.yaml", ROSTER), ("README.md", "two\n")],
    );
    let head = scene.commit(
        "head",
        Some(&base),
        &[("roster.yaml", ROSTER), ("README.md", "three\n")],
    );
    let mut mirror = scene.mirror();
    scene.fetch(&mut mirror);
    let Merged::Conflict { paths } = mirror.merge(&main, &head).unwrap() else {
        panic!("no conflict")
    };
    assert_eq!(paths.into_iter().collect::<Vec<_>>(), ["README.md"]);
}

#[test]
fn a_proposal_cannot_choose_how_it_is_merged() {
    let (scene, base) = scene();
    fs::create_dir_all(scene.path("origin/info")).unwrap();
    fs::write(scene.path("origin/info/attributes"), "* merge=union\n").unwrap();
    let attributes = "* merge=union\nroster.yaml merge=evil filter=evil\n";
    scene.git(
        "origin",
        &[
            "config",
            "merge.evil.driver",
            &format!("touch {}", scene.path("pwned").display()),
        ],
    );
    let ours = ROSTER.replace("anna: {}", "anna: {uid: 1}");
    let theirs = ROSTER.replace("anna: {}", "anna: {uid: 2}");
    let main = scene.commit(
        "main",
        Some(&base),
        &[
            ("roster.yaml", &ours),
            ("README.md", "one\n"),
            (".gitattributes", attributes),
        ],
    );
    let head = scene.commit(
        "head",
        Some(&base),
        &[
            ("roster.yaml", &theirs),
            ("README.md", "one\n"),
            (".gitattributes", attributes),
        ],
    );
    let mut mirror = scene.mirror();
    scene.fetch(&mut mirror);
    assert!(matches!(
        mirror.merge(&main, &head).unwrap(),
        Merged::Conflict { .. }
    ));
    assert!(!scene.path("pwned").exists());
}

#[test]
fn a_symbolic_link_that_a_merge_brings_is_refused() {
    let (scene, base) = scene();
    let (roster, target) = (scene.blob(ROSTER), scene.blob("/etc/shadow"));
    let main = scene.commit(
        "main",
        Some(&base),
        &[("roster.yaml", ROSTER), ("README.md", "two\n")],
    );
    let entries = [
        ("100644", "roster.yaml", roster),
        ("120000", "hosts/h.yaml", target),
        ("100644", "README.md", scene.blob("one\n")),
    ];
    let head = scene.commit_entries("head", Some(&base), &entries);
    let mut mirror = scene.mirror();
    scene.fetch(&mut mirror);
    let error = mirror.merge(&main, &head).unwrap_err();
    assert!(format!("{error:?}").contains("Symlink"), "{error:?}");
}

type Edit<'a> = &'a dyn Fn(&mut Vec<(String, String)>);

#[test]
fn merges_are_those_that_git_makes() {
    let (scene, base) = scene();
    // Each side makes three of these edits; every pair of sides is merged.
    let edits: [Edit; 5] = [
        &|files| files[0].1 = files[0].1.replace("anna: {}", "anna: {uid: 7}"),
        &|files| files[0].1 = files[0].1.replace("emo: {}\n", ""),
        &|files| files[0].1.push_str("\n\nzoe: {}\n"),
        &|files| files.push(("hosts/new.yaml".into(), "new\n".into())),
        &|files| files[0].1 = files[0].1.replace("anna: {}", "anna: {uid: 8}"),
    ];
    let mut sides = Vec::new();
    for skip in 0..edits.len() {
        let mut files = vec![
            ("roster.yaml".to_owned(), ROSTER.to_owned()),
            ("README.md".to_owned(), "one\n".to_owned()),
        ];
        edits
            .iter()
            .enumerate()
            .filter(|(n, _)| *n != skip && (*n + 1) % 5 != skip)
            .for_each(|(_, edit)| edit(&mut files));
        let files: Vec<_> = files
            .iter()
            .map(|(path, content)| (path.as_str(), content.as_str()))
            .collect();
        sides.push(scene.commit(&format!("side{skip}"), Some(&base), &files));
    }
    let mut mirror = scene.mirror();
    scene.fetch(&mut mirror);
    assert!(scene.git("origin", &["rev-parse", MAIN]) == base.as_str());
    for ours in &sides {
        for theirs in sides.iter().filter(|side| *side != ours) {
            let git = command(newest_git(), &scene.path("origin"))
                .args([
                    "merge-tree",
                    "--write-tree",
                    "--name-only",
                    ours.as_str(),
                    theirs.as_str(),
                ])
                .output()
                .unwrap();
            let tree = String::from_utf8(git.stdout)
                .unwrap()
                .lines()
                .next()
                .unwrap()
                .to_owned();
            match mirror.merge(ours, theirs).unwrap() {
                Merged::Clean { files, .. } => {
                    assert!(
                        git.status.success(),
                        "git finds a conflict between {ours} and {theirs}"
                    );
                    for (path, content) in texts(&files) {
                        let id = scene.git("origin", &["rev-parse", &format!("{tree}:{path}")]);
                        assert_eq!(scene.blob(content), id, "{path}");
                    }
                }
                Merged::Conflict { .. } => {
                    assert!(!git.status.success(), "git merges {ours} and {theirs}")
                }
                other => panic!("{other:?}"),
            }
        }
    }
}

/// What a merge leaves at any path: of what both sides changed, both.
#[test]
fn contents_of_any_path_are_those_of_the_merge() {
    let (scene, base) = scene();
    let main = scene.commit(
        "main",
        Some(&base),
        &[
            ("roster.yaml", ROSTER),
            ("README.md", "two\n"),
            ("deploy/a.yml", "a\n"),
        ],
    );
    let head = scene.commit(
        "head",
        Some(&base),
        &[
            ("roster.yaml", ROSTER),
            ("README.md", "one\n"),
            ("deploy/b.yml", "b\n"),
        ],
    );
    let mut mirror = scene.mirror();
    let _ = scene.fetch(&mut mirror);
    let paths = [
        "README.md",
        "deploy/a.yml",
        "deploy/b.yml",
        "deploy",
        "none",
        "../x",
        "",
    ];
    let paths = paths.map(str::to_owned).into();
    let shown = |found: std::collections::BTreeMap<String, Vec<u8>>| {
        let shown = found.into_iter();
        shown
            .map(|(path, bytes)| format!("{path}={}", String::from_utf8(bytes).unwrap().trim()))
            .collect::<Vec<_>>()
    };
    let merged = mirror.contents(&main, Some(&head), &paths).unwrap();
    assert_eq!(
        shown(merged),
        ["README.md=two", "deploy/a.yml=a", "deploy/b.yml=b"]
    );
    let ahead = mirror.contents(&base, Some(&head), &paths).unwrap();
    assert_eq!(shown(ahead), ["README.md=one", "deploy/b.yml=b"]);
    let plain = mirror.contents(&main, None, &paths).unwrap();
    assert_eq!(shown(plain), ["README.md=two", "deploy/a.yml=a"]);
}

/// LB8: what each commit of a proposal had is given once, and nothing that was there before it; through a merge of the protected branch,
/// too.
#[test]
fn lb8_versions_are_those_of_the_commits_that_a_proposal_brings() {
    let (scene, base) = scene();
    let at = "services/responses/a.yaml";
    let old = scene.commit(
        "main",
        Some(&base),
        &[
            ("roster.yaml", ROSTER),
            (at, "before\n"),
            ("services/x.json", "{}\n"),
        ],
    );
    let all = |text: &str| {
        let files = [
            ("roster.yaml", ROSTER),
            (at, text),
            ("services/x.json", "{}\n"),
        ];
        files.map(|(path, text)| (path.to_owned(), text.to_owned()))
    };
    let commit = |branch: &str, parent: &CommitId, text: &str, more: &[(&str, &str)]| {
        let files = all(text);
        let mut files: Vec<(&str, &str)> = files
            .iter()
            .map(|(path, text)| (path.as_str(), text.as_str()))
            .collect();
        files.extend(more);
        scene.commit(branch, Some(parent), &files)
    };
    let main = commit(
        "main",
        &old,
        "before\n",
        &[("services/later.yaml", "main\n")],
    );
    let first = commit("head", &old, "secret\n", &[("services/deep/b.yaml", "b\n")]);
    let second = commit("head", &first, "before\n", &[]);
    let head = commit("head", &second, "clean\n", &[("elsewhere.yaml", "no\n")]);
    let mut mirror = scene.mirror();
    let _ = scene.fetch(&mut mirror);
    let shown = |protected: &CommitId, head: &CommitId| {
        let found = mirror
            .versions(protected, head, "services")
            .unwrap()
            .unwrap();
        let found = found.into_iter();
        found
            .map(|(path, bytes)| format!("{path}={}", String::from_utf8(bytes).unwrap().trim()))
            .collect::<Vec<_>>()
    };
    let expected = [
        "services/deep/b.yaml=b",
        "services/responses/a.yaml=clean",
        "services/responses/a.yaml=secret",
    ];
    assert_eq!(shown(&main, &head), expected);
    assert_eq!(shown(&old, &head), expected);
    assert!(shown(&main, &main).is_empty() && shown(&head, &old).is_empty());
    assert!(shown(&main, &old).is_empty());
}
