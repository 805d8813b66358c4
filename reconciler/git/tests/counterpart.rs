//! References that move between two repositories: one wins, all or none, and what a broken connection left is found out.

mod support;

use std::collections::BTreeMap;
use std::io::{Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::mpsc::{Receiver, channel};

use muster_core::commit::CommitId;
use muster_git::{Counterpart, Ledger, Move, Origin, PushError};
use support::Scene;
use support::daemon::Daemon;

const LEDGER: &str = "refs/muster/host/devvm";
const ALIVE: &str = "refs/muster/alive/host/devvm";
const TIME: i64 = 1_795_000_000;

/// A ledger repository that is empty, and where it is reached.
fn there(scene: &Scene) -> Origin {
    scene.git("", &["init", "-q", "--bare", "there.git"]);
    Origin::parse(scene.path("there.git").to_str().unwrap()).unwrap()
}

/// A commit more in the ledger of that name.
fn commit(scene: &Scene, name: &str, text: &str) -> CommitId {
    let ledger = Ledger::open_or_create(&scene.path(name), LEDGER).unwrap();
    let head = ledger.head().unwrap();
    let changes = BTreeMap::from([("state.json".to_owned(), Some(text.as_bytes().to_vec()))]);
    ledger.commit(head.as_ref(), &changes, text, TIME).unwrap()
}

fn alive(scene: &Scene, name: &str, text: &str) -> CommitId {
    let ledger = Ledger::open(&scene.path(name), LEDGER).unwrap();
    let files = BTreeMap::from([("alive.json".to_owned(), text.as_bytes().to_vec())]);
    ledger.put_alive(ALIVE, &files, TIME).unwrap()
}

fn moved(name: &str, from: Option<&CommitId>, to: &CommitId) -> Move {
    Move {
        name: name.to_owned(),
        from: from.cloned(),
        to: to.clone(),
    }
}

fn counterpart(scene: &Scene, name: &str, origin: &Origin) -> Counterpart {
    Counterpart::of(&scene.path(name), origin.clone())
}

/// The same for a path and for a server.
fn everywhere(test: impl Fn(&Scene, &Origin)) {
    let scene = Scene::new();
    test(&scene, &there(&scene));
    let scene = Scene::new();
    there(&scene);
    let daemon = Daemon::start(&scene);
    test(&scene, &daemon.serving("there.git"));
}

#[test]
fn what_is_pushed_is_there_and_the_next_push_goes_on_from_it() {
    everywhere(|scene, origin| {
        let one = commit(scene, "a.git", "1");
        let beat = alive(scene, "a.git", "1");
        let there = counterpart(scene, "a.git", origin);
        assert_eq!(there.ask(&[LEDGER, ALIVE]).unwrap(), BTreeMap::new());
        there
            .push(&[moved(LEDGER, None, &one), moved(ALIVE, None, &beat)])
            .unwrap();
        let found = BTreeMap::from([
            (LEDGER.to_owned(), one.clone()),
            (ALIVE.to_owned(), beat.clone()),
        ]);
        assert_eq!(there.ask(&[LEDGER, ALIVE]).unwrap(), found);
        // A sign of life has no parent, and replaces the one before; the ledger has not moved.
        let second = alive(scene, "a.git", "2");
        there
            .push(&[
                moved(LEDGER, Some(&one), &one),
                moved(ALIVE, Some(&beat), &second),
            ])
            .unwrap();
        let two = commit(scene, "a.git", "2");
        there.push(&[moved(LEDGER, Some(&one), &two)]).unwrap();
        assert_eq!(there.ask(&[LEDGER]).unwrap()[LEDGER], two);
        scene.git("there.git", &["fsck", "--strict", "--no-dangling"]);
        // A name is no pattern.
        assert_eq!(
            there.ask(&["refs/muster/host/dev"]).unwrap(),
            BTreeMap::new()
        );
    });
}

#[test]
fn all_of_them_move_or_none() {
    everywhere(|scene, origin| {
        let one = commit(scene, "a.git", "1");
        let beat = alive(scene, "a.git", "1");
        let there = counterpart(scene, "a.git", origin);
        there
            .push(&[moved(LEDGER, None, &one), moved(ALIVE, None, &beat)])
            .unwrap();
        let (two, second) = (commit(scene, "a.git", "2"), alive(scene, "a.git", "2"));
        for wrong in [None, Some(&one)] {
            let moves = [
                moved(LEDGER, Some(&one), &two),
                moved(ALIVE, wrong, &second),
            ];
            let error = there.push(&moves).unwrap_err();
            let PushError::Raced { found } = &error else {
                panic!("{error}")
            };
            assert_eq!(found[ALIVE].as_ref(), Some(&beat));
            assert_eq!(there.ask(&[LEDGER]).unwrap()[LEDGER], one);
        }
    });
}

#[test]
fn of_two_that_push_at_once_one_wins() {
    everywhere(|scene, origin| {
        let mine = ["a.git", "b.git"].map(|name| commit(scene, name, name));
        let outcomes = std::thread::scope(|scope| {
            let pushes = ["a.git", "b.git"].map(|name| {
                let mine = &mine;
                scope.spawn(move || {
                    let it = &mine[usize::from(name == "b.git")];
                    counterpart(scene, name, origin).push(&[moved(LEDGER, None, it)])
                })
            });
            pushes.map(|push| push.join().unwrap())
        });
        let won = outcomes.iter().position(Result::is_ok).expect("one wins");
        match &outcomes[1 - won] {
            Err(PushError::Raced { found }) => assert_eq!(found[LEDGER].as_ref(), Some(&mine[won])),
            other => panic!("{other:?}"),
        }
        let there = counterpart(scene, "a.git", origin);
        assert_eq!(there.ask(&[LEDGER]).unwrap()[LEDGER], mine[won]);
    });
}

#[test]
fn what_is_there_is_brought_here_and_what_is_gone_goes() {
    everywhere(|scene, origin| {
        let one = commit(scene, "a.git", "1");
        let beat = alive(scene, "a.git", "1");
        counterpart(scene, "a.git", origin)
            .push(&[moved(LEDGER, None, &one), moved(ALIVE, None, &beat)])
            .unwrap();
        Ledger::open_or_create(&scene.path("b.git"), LEDGER).unwrap();
        let other = counterpart(scene, "b.git", origin);
        let brought = other.bring("refs/muster/host/").unwrap();
        assert_eq!(brought, BTreeMap::from([(LEDGER.to_owned(), one.clone())]));
        let ledger = Ledger::open(&scene.path("b.git"), LEDGER).unwrap();
        assert_eq!(ledger.load().unwrap().unwrap().commit, one);
        // Both go on from there, in turn.
        let two = commit(scene, "b.git", "2");
        other.push(&[moved(LEDGER, Some(&one), &two)]).unwrap();
        scene.git("there.git", &["update-ref", "-d", LEDGER]);
        assert_eq!(other.bring("refs/muster/host/").unwrap(), BTreeMap::new());
    });
}

#[test]
fn one_looks_into_what_is_there_without_taking_it_in() {
    everywhere(|scene, origin| {
        let one = commit(scene, "a.git", "1");
        std::process::Command::new("cp")
            .args([
                "-a",
                scene.path("a.git").to_str().unwrap(),
                scene.path("b.git").to_str().unwrap(),
            ])
            .status()
            .unwrap();
        let ahead = commit(scene, "b.git", "2");
        counterpart(scene, "b.git", origin)
            .push(&[moved(LEDGER, None, &ahead)])
            .unwrap();
        let here = counterpart(scene, "a.git", origin);
        let theirs = here.look_into(LEDGER, &scene.path("scratch")).unwrap();
        assert_eq!(theirs.head().unwrap().as_ref(), Some(&ahead));
        assert!(theirs.has_within(&ahead, &one).unwrap());
        assert!(!theirs.has_within(&one, &ahead).unwrap());
        assert_eq!(theirs.file("state.json").unwrap().unwrap(), b"2");
        let ours = Ledger::open(&scene.path("a.git"), LEDGER).unwrap();
        assert!(ours.commit_bytes(&ahead).is_err(), "it got into our own");
    });
}

/// What a proxy does with one connection.
#[derive(Clone, Copy, PartialEq)]
enum Cut {
    /// It breaks before the server hears what is pushed.
    Question,
    /// It breaks when the server begins to answer to what was pushed.
    Answer,
    /// It is not even made.
    All,
    /// Nothing.
    Nothing,
}

/// Stands before a server, and breaks connections as it is told; those beyond the list stay whole.
fn proxy(server: &Origin, cuts: &[Cut]) -> (Origin, Receiver<()>) {
    let url = server.to_string();
    let (address, path) = url.strip_prefix("git://").unwrap().split_once('/').unwrap();
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let (address, cuts) = (address.to_owned(), cuts.to_vec());
    let (tell, told) = channel();
    std::thread::spawn(move || {
        for (index, client) in listener.incoming().enumerate() {
            let cut = cuts.get(index).copied().unwrap_or(Cut::Nothing);
            let client = client.unwrap();
            if cut == Cut::All {
                drop(client);
                continue;
            }
            let server = TcpStream::connect(&address).unwrap();
            let (mut from_client, mut to_client) = (client.try_clone().unwrap(), client);
            let (mut from_server, mut to_server) = (server.try_clone().unwrap(), server);
            // The client names the repository, in one piece or in several, and is silent until the server has listed its
            // references: what it says then is what it asks for.
            let (asked, heard) = channel();
            let (listing, listed) = channel();
            std::thread::spawn(move || {
                let mut buffer = [0; 65_536];
                let mut asks = false;
                while let Ok(count @ 1..) = from_client.read(&mut buffer) {
                    asks = asks || listed.try_recv().is_ok();
                    if asks {
                        let _ = asked.send(());
                        if cut == Cut::Question {
                            let _ = from_client.shutdown(Shutdown::Both);
                            break;
                        }
                    }
                    if to_server.write_all(&buffer[..count]).is_err() {
                        break;
                    }
                }
                let _ = to_server.shutdown(Shutdown::Write);
            });
            let tell = tell.clone();
            std::thread::spawn(move || {
                let mut buffer = [0; 65_536];
                while let Ok(count @ 1..) = from_server.read(&mut buffer) {
                    if cut == Cut::Answer && heard.try_recv().is_ok() {
                        let _ = tell.send(());
                        break;
                    }
                    let _ = listing.send(());
                    if to_client.write_all(&buffer[..count]).is_err() {
                        break;
                    }
                }
                let _ = to_client.shutdown(Shutdown::Both);
            });
        }
    });
    (
        Origin::parse(&format!("git://127.0.0.1:{port}/{path}")).unwrap(),
        told,
    )
}

#[test]
fn a_connection_that_breaks_is_asked_after() {
    let scene = Scene::new();
    there(&scene);
    let daemon = Daemon::start(&scene);
    let server = daemon.serving("there.git");
    let one = commit(&scene, "a.git", "1");
    let first = [moved(LEDGER, None, &one)];

    // It broke before anything arrived.
    let (origin, _) = proxy(&server, &[Cut::Question]);
    let error = counterpart(&scene, "a.git", &origin)
        .push(&first)
        .unwrap_err();
    assert!(matches!(error, PushError::Refused { .. }), "{error}");

    // It broke, and nobody can be asked.
    let (origin, _) = proxy(&server, &[Cut::Question, Cut::All]);
    let error = counterpart(&scene, "a.git", &origin)
        .push(&first)
        .unwrap_err();
    assert!(matches!(error, PushError::Unknown { .. }), "{error}");

    // It broke after all had arrived, and before anybody was told.
    let (origin, cut) = proxy(&server, &[Cut::Answer]);
    counterpart(&scene, "a.git", &origin).push(&first).unwrap();
    cut.try_recv().expect("the answer was let through");
    let found = counterpart(&scene, "a.git", &server)
        .ask(&[LEDGER])
        .unwrap();
    assert_eq!(found[LEDGER], one);
}

#[test]
fn nothing_that_belongs_to_the_repository_there_is_run() {
    let scene = Scene::new();
    let origin = there(&scene);
    let mark = scene.path("mark");
    for hook in [
        "pre-receive",
        "update",
        "post-receive",
        "reference-transaction",
        "post-update",
    ] {
        let path = scene.path("there.git/hooks").join(hook);
        std::fs::write(&path, format!("#!/bin/sh\ntouch {}\n", mark.display())).unwrap();
        std::fs::set_permissions(&path, std::os::unix::fs::PermissionsExt::from_mode(0o755))
            .unwrap();
    }
    if support::is_root() {
        scene.give("there.git", 54_321);
    }
    let one = commit(&scene, "a.git", "1");
    counterpart(&scene, "a.git", &origin)
        .push(&[moved(LEDGER, None, &one)])
        .unwrap();
    assert!(!mark.exists(), "a hook ran");
    let meta = std::fs::metadata(scene.path("there.git").join(LEDGER)).unwrap();
    let dir = std::fs::metadata(scene.path("there.git")).unwrap();
    use std::os::unix::fs::MetadataExt as _;
    assert_eq!(
        meta.uid(),
        dir.uid(),
        "what is written there is its owner's"
    );
}
