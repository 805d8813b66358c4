//! The ledger: what is committed survives, what is broken is said to be.

mod support;

use std::collections::BTreeMap;
use std::fs;
use std::path::PathBuf;
use std::process::Command;
use std::sync::Arc;

use muster_core::host_key::{HostKey, PublicKey, signer_of, verify_commit};
use muster_git::{Ledger, LedgerError, Packed};
use support::{Scene, helper};

const REFERENCE: &str = "refs/muster/host/devvm";
const ALIVE: &str = "refs/muster/alive/host/devvm";
const TIME: i64 = 1_795_000_000;

type Changes = BTreeMap<String, Option<Vec<u8>>>;

fn open(scene: &Scene) -> Ledger {
    Ledger::open_or_create(&scene.path("ledger.git"), REFERENCE).unwrap()
}

fn changes(list: &[(&str, Option<&str>)]) -> Changes {
    list.iter()
        .map(|(path, content)| {
            (
                (*path).to_owned(),
                content.map(|text| text.as_bytes().to_vec()),
            )
        })
        .collect()
}

fn loose(scene: &Scene) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in fs::read_dir(scene.path("ledger.git/objects")).unwrap() {
        let entry = entry.unwrap();
        if entry.file_name().len() == 2 {
            found.extend(
                fs::read_dir(entry.path())
                    .unwrap()
                    .map(|entry| entry.unwrap().path()),
            );
        }
    }
    found
}

#[test]
fn what_is_committed_is_loaded_and_git_agrees() {
    let scene = Scene::new();
    let ledger = open(&scene);
    assert_eq!(ledger.load().unwrap(), None);
    let first = changes(&[
        ("people/emo.json", Some("{}")),
        ("people/anna.json", Some("{\"uid\":1}")),
        ("format", Some("1\n")),
    ]);
    let one = ledger.commit(None, &first, "genesis", TIME).unwrap();
    let before = loose(&scene).len();
    let second = changes(&[
        ("people/emo.json", Some("{\"uid\":2}")),
        ("people/anna.json", None),
    ]);
    let two = ledger
        .commit(Some(&one), &second, "emo gets an id\n\nmore", TIME + 60)
        .unwrap();
    assert_eq!(
        loose(&scene).len() - before,
        4,
        "one blob, two trees and one commit are new"
    );
    assert_eq!(
        ledger
            .commit(Some(&two), &second, "nothing", TIME + 90)
            .unwrap(),
        two
    );
    let some = open(&scene).load_where(|path| path == "format").unwrap();
    assert_eq!(
        some.unwrap().files.into_keys().collect::<Vec<_>>(),
        ["format"]
    );
    let state = open(&scene).load().unwrap().unwrap();
    assert_eq!(state.commit, two);
    let files: Vec<_> = state
        .files
        .iter()
        .map(|(path, bytes)| (path.as_str(), bytes.as_slice()))
        .collect();
    assert_eq!(
        files,
        [
            ("format", b"1\n".as_slice()),
            ("people/emo.json", b"{\"uid\":2}")
        ]
    );
    let log = ledger.log(10).unwrap();
    assert_eq!(log.len(), 2);
    assert_eq!(
        (log[0].time, log[0].message.as_str()),
        (TIME + 60, "emo gets an id\n\nmore\n")
    );
    assert_eq!(
        scene.git(
            "ledger.git",
            &["log", "--format=%an %ae %ct %s", "-1", REFERENCE]
        ),
        format!("muster muster@devvm {} emo gets an id", TIME + 60)
    );
    ledger
        .commit(
            Some(&two),
            &changes(&[("people/emo.json", None), ("format", None)]),
            "empty",
            TIME,
        )
        .unwrap();
    assert!(ledger.load().unwrap().unwrap().files.is_empty());
    scene.git("ledger.git", &["fsck", "--strict", "--no-dangling"]);
}

#[test]
fn only_one_of_two_writers_continues_a_commit() {
    let scene = Scene::new();
    let ledger = open(&scene);
    let base = ledger
        .commit(None, &changes(&[("a", Some("0"))]), "base", TIME)
        .unwrap();
    let outcomes: Vec<_> = std::thread::scope(|scope| {
        let (scene, base) = (&scene, &base);
        let writers = ["1", "2"].map(|text| {
            scope.spawn(move || {
                let ledger = Ledger::open(&scene.path("ledger.git"), REFERENCE).unwrap();
                ledger.commit(Some(base), &changes(&[("a", Some(text))]), text, TIME)
            })
        });
        writers
            .into_iter()
            .map(|writer| writer.join().unwrap())
            .collect()
    });
    let won: Vec<_> = outcomes.iter().flatten().collect();
    assert_eq!(won.len(), 1, "{outcomes:?}");
    let lost = outcomes
        .iter()
        .find_map(|outcome| outcome.as_ref().err())
        .unwrap();
    assert!(
        matches!(lost, LedgerError::Raced { .. } | LedgerError::Locked(_)),
        "{lost}"
    );
    assert_eq!(ledger.head().unwrap().as_ref(), Some(won[0]));
    assert!(matches!(
        ledger.commit(None, &changes(&[("a", None)]), "x", TIME),
        Err(LedgerError::Raced { .. })
    ));
}

#[test]
fn a_ledger_that_cannot_be_read_is_broken_and_never_empty() {
    let scene = Scene::new();
    let ledger = open(&scene);
    let one = ledger
        .commit(None, &changes(&[("a", Some("0"))]), "base", TIME)
        .unwrap();
    let object = scene
        .path("ledger.git/objects")
        .join(&one.as_str()[..2])
        .join(&one.as_str()[2..]);
    let content = fs::read(&object).unwrap();
    fs::remove_file(&object).unwrap();
    fs::write(&object, "").unwrap();
    assert!(matches!(ledger.load(), Err(LedgerError::Broken { .. })));
    assert!(matches!(
        open(&scene).load(),
        Err(LedgerError::Broken { .. })
    ));
    fs::write(&object, content).unwrap();
    assert!(open(&scene).load().is_ok());
    fs::write(scene.path("ledger.git").join(REFERENCE), "").unwrap();
    assert!(matches!(
        open(&scene).load(),
        Err(LedgerError::Broken { .. })
    ));
    assert!(matches!(
        open(&scene).commit(None, &changes(&[("a", None)]), "x", TIME),
        Err(LedgerError::Broken { .. })
    ));
    let absent = Ledger::open(&scene.path("nothing"), REFERENCE);
    assert!(matches!(absent, Err(LedgerError::Absent(_))));
}

#[test]
fn objects_without_content_are_written_again_and_stale_locks_go() {
    let scene = Scene::new();
    let ledger = open(&scene);
    let one = ledger
        .commit(None, &changes(&[("a", Some("0"))]), "base", TIME)
        .unwrap();
    let two = ledger
        .commit(Some(&one), &changes(&[("a", Some("1"))]), "second", TIME)
        .unwrap();
    // A crash of another program left the reference at the first commit, and the second's objects empty or garbled.
    fs::write(scene.path("ledger.git").join(REFERENCE), format!("{one}\n")).unwrap();
    for (n, id) in scene
        .git(
            "ledger.git",
            &["rev-list", "--objects", &format!("{one}..{two}")],
        )
        .lines()
        .enumerate()
    {
        let path = scene
            .path("ledger.git/objects")
            .join(&id[..2])
            .join(&id[2..40]);
        fs::remove_file(&path).unwrap();
        fs::write(path, if n == 0 { "garbled" } else { "" }).unwrap();
    }
    fs::write(
        scene.path("ledger.git").join(format!("{REFERENCE}.lock")),
        "",
    )
    .unwrap();
    assert!(matches!(
        ledger.commit(Some(&one), &changes(&[("a", Some("1"))]), "second", TIME),
        Err(LedgerError::Locked(_))
    ));
    assert_eq!(
        open(&scene)
            .commit(Some(&one), &changes(&[("a", Some("1"))]), "second", TIME)
            .unwrap(),
        two
    );
    scene.git("ledger.git", &["fsck", "--strict"]);
}

#[test]
fn signs_of_life_replace_each_other_without_a_history() {
    let scene = Scene::new();
    let ledger = open(&scene);
    let files = |text: &str| BTreeMap::from([("alive.json".to_owned(), text.as_bytes().to_vec())]);
    ledger.put_alive(ALIVE, &files("1"), TIME).unwrap();
    let second = ledger.put_alive(ALIVE, &files("2"), TIME + 300).unwrap();
    assert_eq!(
        scene.git("ledger.git", &["rev-list", "--count", ALIVE]),
        "1"
    );
    let state = ledger.load_reference(ALIVE).unwrap().unwrap();
    assert_eq!((state.commit, state.files), (second, files("2")));
    fs::write(scene.path("ledger.git").join(ALIVE), "").unwrap();
    ledger.put_alive(ALIVE, &files("3"), TIME + 600).unwrap();
    assert_eq!(
        ledger.load_reference(ALIVE).unwrap().unwrap().files,
        files("3")
    );
    assert_eq!(ledger.load().unwrap(), None);
}

#[test]
fn names_that_could_lead_elsewhere_are_refused() {
    let scene = Scene::new();
    let ledger = open(&scene);
    for path in [
        "",
        "/a",
        "a//b",
        "../a",
        "a/./b",
        ".git/config",
        "a b",
        "a\nb",
    ] {
        let refused = ledger.commit(None, &changes(&[(path, Some("x"))]), "x", TIME);
        assert!(matches!(refused, Err(LedgerError::Name(_))), "{path:?}");
    }
    for reference in [
        "refs/heads/main",
        "refs/muster/../x",
        "refs/muster/host/a b",
        "HEAD",
        "refs/muster/host/x.lock",
    ] {
        assert!(
            matches!(
                Ledger::open_or_create(&scene.path("l"), reference),
                Err(LedgerError::Name(_))
            ),
            "{reference:?}"
        );
    }
}

#[test]
fn packing_keeps_everything_that_is_referred_to() {
    let scene = Scene::new();
    let mut ledger = open(&scene);
    let mut head = None;
    for round in 0..3 {
        for n in 0..10 {
            let change = changes(&[(&format!("people/p{n}.json"), Some(&format!("{round} {n}")))]);
            head = Some(
                ledger
                    .commit(head.as_ref(), &change, "a change", TIME)
                    .unwrap(),
            );
        }
        ledger
            .put_alive(
                ALIVE,
                &BTreeMap::from([("a".to_owned(), round.to_string().into_bytes())]),
                TIME,
            )
            .unwrap();
        assert_eq!(ledger.maintain().unwrap(), Packed::NotNeeded);
        assert_eq!(ledger.maintain_above(20).unwrap(), Packed::Done);
        let packs = fs::read_dir(scene.path("ledger.git/objects/pack")).unwrap();
        let packs = packs
            .filter(|entry| {
                entry
                    .as_ref()
                    .unwrap()
                    .path()
                    .extension()
                    .is_some_and(|end| end == "pack")
            })
            .count();
        assert_eq!(packs, 1);
        let state = ledger.load().unwrap().unwrap();
        assert_eq!(
            (Some(&state.commit), state.files.len()),
            (head.as_ref(), 10)
        );
        assert_eq!(open(&scene).load().unwrap().unwrap(), state);
    }
    assert_eq!(ledger.log(100).unwrap().len(), 30);
    assert!(loose(&scene).len() < 10, "{:?}", loose(&scene));
    scene.git("ledger.git", &["fsck", "--strict", "--no-dangling"]);
}

#[test]
fn a_commit_that_is_killed_at_any_point_leaves_the_old_state_or_the_new() {
    if !std::path::Path::new("/usr/bin/strace").exists() {
        return; // Without strace there is nothing that kills at a chosen call.
    }
    let scene = Scene::new();
    let dir = scene.path("ledger.git");
    let one = open(&scene)
        .commit(
            None,
            &changes(&[("people/emo.json", Some("0"))]),
            "base",
            TIME,
        )
        .unwrap();
    let mut killed = 0;
    // Opening only reads, so the calls before the first change are left out.
    for call in [
        "write",
        "fsync",
        "rename,renameat,renameat2",
        "fchmod,chmod,fchmodat",
        "mkdir,mkdirat",
    ] {
        for when in 1..60 {
            let before = open(&scene).head().unwrap().unwrap();
            let content = format!("{call} {when}");
            let output = Command::new("/usr/bin/strace")
                .args(["-qq", "-o", "/dev/null", "-e", &format!("trace={call}")])
                .args(["-e", &format!("inject={call}:signal=KILL:when={when}")])
                .arg(helper())
                .arg("commit")
                .arg(&dir)
                .arg(&content)
                .output()
                .unwrap();
            let state = open(&scene).load().unwrap().expect("the ledger is gone");
            let now = String::from_utf8(state.files["people/emo.json"].clone()).unwrap();
            assert!(
                state.commit == before || now == content,
                "{call} {when}: {now}"
            );
            if output.status.success() {
                break;
            }
            killed += 1;
        }
    }
    assert!(killed > 15, "only {killed} kills");
    scene.git(
        "ledger.git",
        &["merge-base", "--is-ancestor", one.as_str(), REFERENCE],
    );
    scene.git("ledger.git", &["fsck", "--strict", "--no-dangling"]);
}

#[test]
fn a_large_first_commit_is_packed_at_once_and_a_small_one_is_not() {
    let scene = Scene::new();
    let mut ledger = open(&scene);
    let small = changes(&[("format", Some("1\n"))]);
    let one = ledger.commit(None, &small, "begin", TIME).unwrap();
    assert_eq!(ledger.maintain().unwrap(), Packed::NotNeeded);
    let many: Changes = (0..256)
        .map(|shard| {
            (
                format!("people/{shard}"),
                Some(shard.to_string().into_bytes()),
            )
        })
        .collect();
    let text = "what is read in every start is not inflated\n".repeat(10);
    let many = many
        .into_iter()
        .chain(changes(&[("long", Some(&text))]))
        .collect();
    ledger.commit(Some(&one), &many, "many", TIME).unwrap();
    assert_eq!(ledger.maintain().unwrap(), Packed::Done);
    assert_eq!(ledger.maintain().unwrap(), Packed::NotNeeded);
    assert_eq!(ledger.load().unwrap().unwrap().files.len(), 258);
    let packs: Vec<_> = std::fs::read_dir(scene.path("ledger.git/objects/pack"))
        .unwrap()
        .map(|it| std::fs::read(it.unwrap().path()).unwrap())
        .filter(|it| it.starts_with(b"PACK"))
        .collect();
    assert_eq!(packs.len(), 1);
    assert!(packs[0].windows(text.len()).any(|it| it == text.as_bytes()));
}

#[test]
fn what_is_signed_is_taken_by_git_and_by_openssh() {
    let scene = Scene::new();
    let key = Arc::new(HostKey::from_seed(&[7; 32]));
    let ledger = open(&scene);
    let one = ledger
        .commit(None, &changes(&[("a", Some("1"))]), "unsigned", TIME)
        .unwrap();
    let ledger = ledger.signing_with(Arc::clone(&key));
    // What is not signed yet is, even where nothing else is new.
    let two = ledger
        .commit(
            Some(&one),
            &changes(&[("a", Some("1"))]),
            "the same\n\nin words",
            TIME,
        )
        .unwrap();
    assert_ne!(one, two);
    let again = ledger.commit(Some(&two), &changes(&[("a", Some("1"))]), "the same", TIME);
    assert_eq!(again.unwrap(), two);
    let files = BTreeMap::from([("alive.json".to_owned(), b"1".to_vec())]);
    let beat = ledger.put_alive(ALIVE, &files, TIME).unwrap();

    let allowed = scene.path("allowed");
    fs::write(&allowed, format!("muster@devvm {}\n", key.public())).unwrap();
    let allowed = format!("gpg.ssh.allowedSignersFile={}", allowed.display());
    let verify = |id: &str| {
        scene.try_git(
            "ledger.git",
            &["-c", &allowed, "verify-commit", "--raw", id],
        )
    };
    for id in [&two, &beat] {
        let output = verify(id.as_str());
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(
            output.status.success() && said.contains("Good \"git\" signature for muster@devvm"),
            "{said}"
        );
        assert_eq!(
            verify_commit(&ledger.commit_bytes(id).unwrap(), &key.public()),
            Ok(())
        );
    }
    assert!(!verify(one.as_str()).status.success());
    scene.git("ledger.git", &["fsck", "--strict", "--no-dangling"]);
}

#[test]
fn what_git_signs_is_taken_here() {
    let scene = Scene::new();
    let key = scene.path("key");
    let made = Command::new("ssh-keygen")
        .args(["-q", "-t", "ed25519", "-N", "", "-C", "", "-f"])
        .arg(&key)
        .status()
        .unwrap();
    assert!(made.success());
    let public = fs::read_to_string(scene.path("key.pub")).unwrap();
    let public = PublicKey::parse(public.trim_end()).unwrap();
    let ledger = open(&scene);
    ledger
        .commit(None, &changes(&[("a", Some("1"))]), "base", TIME)
        .unwrap();
    let signing = format!("user.signingkey={}", key.display());
    let tree = scene.git(
        "ledger.git",
        &["rev-parse", &format!("{REFERENCE}^{{tree}}")],
    );
    let id = scene.git(
        "ledger.git",
        &[
            "-c",
            "gpg.format=ssh",
            "-c",
            &signing,
            "commit-tree",
            "-S",
            "-p",
            REFERENCE,
            "-m",
            "by git",
            &tree,
        ],
    );
    let bytes = ledger.commit_bytes(&id.parse().unwrap()).unwrap();
    assert_eq!(verify_commit(&bytes, &public), Ok(()));
    assert_eq!(signer_of(&bytes), Some(public));
}
