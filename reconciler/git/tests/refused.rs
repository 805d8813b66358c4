//! Branches of a server that git refuses, for their size or for what is in them; and what branches leave behind that are gone. None
//! of it costs a gigabyte with every poll, holds up the others, or is kept for ever.

mod support;

use std::collections::BTreeMap;
use std::fs;
use std::io::{Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use muster_core::commit::CommitId;
use muster_git::run::Limits;
use muster_git::{Heads, Mirror, Origin, Packed, Proposals, Untidy};
use support::daemon::Daemon;
use support::{MAIN, Scene};

const MIB: usize = 1 << 20;

/// Bytes that do not press, different for each seed.
fn noise(bytes: usize, seed: u64) -> String {
    let mut state = seed;
    let letters = std::iter::repeat_with(|| {
        state = state
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1);
        char::from(b'!' + u8::try_from((state >> 33) % 90).unwrap_or_default())
    });
    letters.take(bytes).collect()
}

/// Passes everything on to the server behind it, and counts the bytes that come from there. So slowly, once much has come, that a
/// limit is passed on a fast machine, too: a mebibyte waits for the next until `Mirror` had time to look.
struct Line {
    url: String,
    bytes: Arc<AtomicUsize>,
}

impl Line {
    fn to(daemon: &Daemon, narrow: bool) -> Line {
        let behind = daemon.url.clone();
        let behind = behind.trim_start_matches("git://").split('/').next();
        let behind = behind.unwrap().to_owned();
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("git://{}/origin", listener.local_addr().unwrap());
        let bytes = Arc::new(AtomicUsize::new(0));
        let counted = Arc::clone(&bytes);
        std::thread::spawn(move || {
            for asker in listener.incoming() {
                let (asker, server) = (asker.unwrap(), TcpStream::connect(&behind).unwrap());
                pass_on(
                    asker.try_clone().unwrap(),
                    server.try_clone().unwrap(),
                    None,
                );
                let counts = Counts(Arc::clone(&counted), narrow);
                pass_on(server, asker, Some(counts));
            }
        });
        Line { url, bytes }
    }

    fn origin(&self) -> Origin {
        Origin::parse(&self.url).unwrap()
    }

    /// The bytes that came since this was asked last.
    fn came(&self) -> usize {
        self.bytes.swap(0, Ordering::Relaxed)
    }
}

struct Counts(Arc<AtomicUsize>, bool);

fn pass_on(mut from: TcpStream, mut to: TcpStream, counts: Option<Counts>) {
    std::thread::spawn(move || {
        let (mut buffer, mut all) = (vec![0; 1 << 16], 0);
        while let Ok(read @ 1..) = from.read(&mut buffer) {
            all += read;
            if let Some(Counts(bytes, narrow)) = &counts {
                bytes.fetch_add(read, Ordering::Relaxed);
                if *narrow && all > 2 * MIB {
                    // Whoever waits for the rest gives up, or is stopped.
                    let _ = from.read_to_end(&mut Vec::new());
                    std::thread::park();
                }
            }
            if to.write_all(&buffer[..read]).is_err() {
                break;
            }
        }
        let _ = to.shutdown(std::net::Shutdown::Both);
        let _ = from.shutdown(std::net::Shutdown::Both);
    });
}

fn fetch(mirror: &mut Mirror, origin: &Origin) -> Heads {
    mirror.fetch(origin, MAIN, Proposals::Include).unwrap()
}

fn branches(heads: &Heads) -> Vec<&str> {
    let names = heads.branches.keys();
    names.map(|name| &name["refs/heads/".len()..]).collect()
}

/// A mirror in which a fetch may put no more than a mebibyte.
fn narrow(scene: &Scene) -> Mirror {
    let limits = Limits {
        pack: MIB as u64,
        ..Limits::default()
    };
    scene.mirror().with_limits(limits).unwrap()
}

/// As though the time had come to ask again for all that was refused.
fn the_time_comes(scene: &Scene) {
    let path = scene.path("mirror/refused");
    let noted = fs::read_to_string(&path).unwrap();
    let due = noted.lines().map(|line| {
        let (_, rest) = line.split_once(' ').unwrap();
        format!("1 {rest}\n")
    });
    fs::write(&path, due.collect::<String>()).unwrap();
}

fn unfinished(scene: &Scene) -> Vec<String> {
    let packs = fs::read_dir(scene.path("mirror/objects/pack")).unwrap();
    let names = packs.map(|entry| entry.unwrap().file_name().into_string().unwrap());
    names.filter(|name| name.starts_with("tmp_")).collect()
}

#[test]
fn a_branch_that_is_too_large_is_fetched_once_and_holds_up_no_other() {
    let scene = Scene::with_roster();
    let daemon = Daemon::start(&scene);
    let line = Line::to(&daemon, true);
    let first: CommitId = scene.git("origin", &["rev-parse", MAIN]).parse().unwrap();
    let mut mirror = narrow(&scene);
    fetch(&mut mirror, &line.origin());
    let large = noise(5 * MIB, 1);
    let evil = scene.commit("evil", Some(&first), &[("large", &large)]);
    for good in ["a", "b", "y", "z"] {
        scene.commit(good, Some(&first), &[("roster.yaml", good)]);
    }
    line.came();
    let heads = fetch(&mut mirror, &line.origin());
    assert_eq!(branches(&heads), ["a", "b", "y", "z"]);
    let [why] = heads.unread.as_slice() else {
        panic!("{:?}", heads.unread);
    };
    assert!(
        why.starts_with("refs/heads/evil: ") && why.contains("gave more than 1048576 bytes"),
        "{why}"
    );
    assert_eq!(unfinished(&scene), Vec::<String>::new());
    assert!(line.came() > MIB);

    // From here on it is told and not fetched, by this process and by the next.
    let second = scene.commit("main", Some(&first), &[("roster.yaml", "b: {}\n")]);
    scene.commit("c", Some(&first), &[("roster.yaml", "c")]);
    let mut mirror = narrow(&scene);
    for round in 0..2 {
        let heads = fetch(&mut mirror, &line.origin());
        assert_eq!(branches(&heads), ["a", "b", "c", "y", "z"], "{round}");
        assert_eq!(heads.protected.as_ref(), Some(&second));
        let [why] = heads.unread.as_slice() else {
            panic!("{:?}", heads.unread);
        };
        assert!(
            why.contains("fetched again when it moves, or after"),
            "{why}"
        );
        assert!(line.came() < MIB / 2);
    }

    // It moves, and is as large; then its time comes; then it is small.
    scene.commit("evil", Some(&evil), &[("larger", &large)]);
    for came in [true, false] {
        assert_eq!(fetch(&mut mirror, &line.origin()).unread.len(), 1);
        assert_eq!(line.came() > MIB, came);
    }
    drop(mirror);
    the_time_comes(&scene);
    let mut mirror = narrow(&scene);
    for came in [true, false] {
        assert_eq!(fetch(&mut mirror, &line.origin()).unread.len(), 1);
        assert_eq!(line.came() > MIB, came);
    }
    scene.commit("evil", Some(&first), &[("roster.yaml", "small")]);
    let heads = fetch(&mut mirror, &line.origin());
    assert_eq!(branches(&heads), ["a", "b", "c", "evil", "y", "z"]);
    assert_eq!(heads.unread, Vec::<String>::new());
}

#[test]
fn a_protected_branch_that_is_too_large_is_fetched_once_an_hour() {
    let scene = Scene::with_roster();
    let daemon = Daemon::start(&scene);
    let line = Line::to(&daemon, true);
    let mut mirror = narrow(&scene);
    let first = fetch(&mut mirror, &line.origin()).protected.unwrap();
    let evil = scene.commit("main", Some(&first), &[("large", &noise(5 * MIB, 1))]);
    line.came();
    for came in [true, false] {
        let refused = mirror
            .fetch(&line.origin(), MAIN, Proposals::Include)
            .unwrap_err();
        let words =
            std::error::Error::source(&refused).map_or(refused.to_string(), |it| it.to_string());
        assert!(words.contains("gave more than 1048576 bytes"), "{words}");
        assert_eq!(line.came() > MIB, came);
        assert!(mirror.files(&first).is_ok());
    }
    let small = scene.commit("main", Some(&first), &[("roster.yaml", "b: {}\n")]);
    assert_eq!(fetch(&mut mirror, &line.origin()).protected, Some(small));
    scene.git("origin", &["update-ref", MAIN, evil.as_str()]);
    for came in [true, false] {
        let refused = mirror.fetch(&line.origin(), MAIN, Proposals::Include);
        assert!(refused.is_err());
        assert_eq!(line.came() > MIB, came);
    }
    // A connection that breaks says nothing of the branch.
    scene.git("origin", &["update-ref", MAIN, first.as_str()]);
    let dead = Origin::parse("git://127.0.0.1:1/origin").unwrap();
    assert!(mirror.fetch(&dead, MAIN, Proposals::Ignore).is_err());
    assert_eq!(fetch(&mut mirror, &line.origin()).protected, Some(first));
}

#[test]
fn a_pull_request_that_is_too_large_is_brought_once_and_holds_up_no_other() {
    let scene = Scene::with_roster();
    let daemon = Daemon::start(&scene);
    let line = Line::to(&daemon, true);
    let first: CommitId = scene.git("origin", &["rev-parse", MAIN]).parse().unwrap();
    let mut wanted = BTreeMap::new();
    for number in 1..=5 {
        let large = noise(5 * MIB, number);
        let text = if number == 3 { large.as_str() } else { "x" };
        let name = format!("refs/pull/{number}/head");
        let path = format!("p{number}");
        let head = scene.commit("scratch", Some(&first), &[(&path, text)]);
        scene.git("origin", &["update-ref", &name, head.as_str()]);
        scene.git("origin", &["update-ref", "-d", "refs/heads/scratch"]);
        wanted.insert(number, head);
    }
    let mut mirror = narrow(&scene);
    mirror
        .fetch(&line.origin(), MAIN, Proposals::Ignore)
        .unwrap();
    for came in [true, false] {
        line.came();
        let reasons = mirror.bring(&line.origin(), &wanted).unwrap();
        assert_eq!(reasons.keys().collect::<Vec<_>>(), [&3], "{reasons:?}");
        assert!(reasons[&3].contains("gave more than"), "{reasons:?}");
        assert_eq!(line.came() > MIB, came);
        for number in [1, 2, 4, 5] {
            assert!(mirror.merge(&first, &wanted[&number]).is_ok());
        }
    }
}

/// What is left of a large branch when it is gone, and of what was in force.
#[test]
fn what_branches_leave_behind_goes_and_what_is_in_force_stays() {
    let scene = Scene::with_roster();
    let daemon = Daemon::start(&scene);
    let origin = daemon.origin();
    let mut mirror = scene.mirror();
    let first = fetch(&mut mirror, &origin).protected.unwrap();
    let gone = scene.commit("gone", Some(&first), &[("large", &noise(3 * MIB, 1))]);
    let moves = scene.commit("moves", Some(&first), &[("large", &noise(3 * MIB, 2))]);
    let stays = scene.commit("stays", Some(&first), &[("roster.yaml", "stays")]);
    let held = scene.commit("held", Some(&first), &[("roster.yaml", "held")]);
    scene.git("origin", &["tag", "-a", "-m", "words", "release/a", MAIN]);
    let tags = || muster_git::WantedTags {
        below: vec!["refs/tags/release/".to_owned()],
        wanted: |_, _| true,
        horizon: muster_core::release::TagHorizon::ALL,
    };
    mirror.want_tags(tags());
    let heads = fetch(&mut mirror, &origin);
    let tag = &heads.tags["refs/tags/release/a"];
    mirror.hold(&held).unwrap();
    let soon = Untidy {
        dropped: MIB as u64,
        ..Untidy::default()
    };
    // Whatever size it has, as long as all of it is there still.
    assert_eq!(mirror.maintain_when(soon).unwrap(), Packed::NotNeeded);

    // Branches go and move; the protected one is rewritten, and then taken away.
    for branch in ["gone", "held"] {
        scene.git(
            "origin",
            &["update-ref", "-d", &format!("refs/heads/{branch}")],
        );
    }
    scene.git("origin", &["update-ref", "-d", "refs/heads/moves"]);
    scene.commit("moves", Some(&first), &[("roster.yaml", "moves")]);
    let second = scene.commit("main", None, &[("roster.yaml", "other: {}\n")]);
    assert_eq!(
        fetch(&mut mirror, &origin).protected.as_ref(),
        Some(&second)
    );
    scene.git("origin", &["update-ref", "-d", MAIN]);
    assert_eq!(fetch(&mut mirror, &origin).protected, None);
    assert!(mirror.files(&gone).is_ok() && mirror.files(&moves).is_ok());
    let mut mirror = scene.mirror();
    mirror.want_tags(tags());
    // A process that has fetched nothing yet knows of no server, and lets go of nothing.
    assert_eq!(mirror.maintain_when(soon).unwrap(), Packed::NotNeeded);
    fetch(&mut mirror, &origin);
    assert_eq!(mirror.maintain().unwrap(), Packed::NotNeeded, "it is small");
    grow_old(&scene.path("mirror/objects"));
    assert_eq!(mirror.maintain_when(soon).unwrap(), Packed::Done);
    assert!(pack_bytes(&scene) < MIB as u64);
    for lost in [&gone, &moves] {
        assert!(mirror.files(lost).is_err(), "nobody wants it any more");
    }
    for kept in [&first, &second, &stays, &held] {
        assert!(mirror.files(kept).is_ok());
    }
    assert_eq!(mirror.tag(tag, 1 << 20).unwrap().kind, "tag");
    scene.git("mirror", &["fsck", "--strict", "--no-dangling"]);

    // Not again within the hour, and not again without need: a second time what stays is packed as it was.
    let again = scene.commit("gone", Some(&first), &[("large", &noise(3 * MIB, 3))]);
    fetch(&mut mirror, &origin);
    scene.git("origin", &["update-ref", "-d", "refs/heads/gone"]);
    fetch(&mut mirror, &origin);
    assert_eq!(mirror.maintain_when(soon).unwrap(), Packed::NotNeeded);
    let at_once = Untidy {
        rest: Duration::ZERO,
        ..soon
    };
    assert_eq!(mirror.maintain_when(at_once).unwrap(), Packed::Done);
    assert!(pack_bytes(&scene) < MIB as u64);
    assert!(mirror.files(&again).is_err() && mirror.files(&stays).is_ok());
    assert_eq!(mirror.maintain_when(at_once).unwrap(), Packed::NotNeeded);
}

/// Whatever lies alone for long, git takes away when nothing leads to it.
fn grow_old(dir: &std::path::Path) {
    for entry in fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            grow_old(&path);
            continue;
        }
        let before = std::time::SystemTime::now() - Duration::from_secs(7_200);
        fs::File::open(&path).unwrap().set_modified(before).unwrap();
    }
}

fn pack_bytes(scene: &Scene) -> u64 {
    let packs = fs::read_dir(scene.path("mirror/objects/pack")).unwrap();
    packs.map(|it| it.unwrap().metadata().unwrap().len()).sum()
}
