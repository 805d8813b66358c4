//! One who acts and a reader, over a socket: what is told is what is there, and what is not is not believed.

mod support;

use std::io::{Read as _, Write as _};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::Path;
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use muster_core::commit::{CommitId, TagId};
use muster_core::release::{RELEASES, TagHorizon};
use muster_core::time::Time;
use muster_git::files::ReadError;
use muster_git::reader::{Desk, Reader, Reads, Way};
use muster_git::run::Limits;
use muster_git::{
    Ancestry, FetchError, Heads, MergeError, Merged, Mirror, Origin, Proposals, WantedTags,
};
use nix::unistd::geteuid;
use support::daemon::Daemon;
use support::{MAIN, Scene};

/// A reader that listens below the scene, and the way to it.
fn listening(scene: &Scene, reads: Reads) -> Way {
    let desk = Arc::new(Desk::new(&scene.path("desk"), reads));
    serving(scene, move |connection| {
        // The other side may go at any time.
        let _ = desk.serve(connection);
    })
}

/// A service that does with each connection what it is told to.
fn serving(scene: &Scene, each: impl Fn(UnixStream) + Send + Sync + 'static) -> Way {
    let socket = scene.path("reader.socket");
    let listener = UnixListener::bind(&socket).unwrap();
    let each = Arc::new(each);
    thread::spawn(move || {
        for connection in listener.incoming() {
            let each = each.clone();
            thread::spawn(move || each(connection.unwrap()));
        }
    });
    Way::Service(socket)
}

fn through(scene: &Scene, origin: &Origin, way: &Way) -> Mirror {
    scene
        .mirror_at("mirror")
        .reading_through(Reader::of(origin, way.clone()))
}

fn fetch(mirror: &mut Mirror, origin: &Origin) -> muster_git::Heads {
    mirror.fetch(origin, MAIN, Proposals::Include).unwrap()
}

#[test]
fn what_a_reader_tells_is_what_this_process_reads() {
    let scene = Scene::with_roster();
    let first = scene.fetch(&mut scene.mirror_at("own")).protected.unwrap();
    let main = [("roster.yaml", "emo: {}\n"), ("hosts/a.yaml", "a: 1\n")];
    let second = scene.commit("main", Some(&first), &main);
    let forward = scene.commit("forward", Some(&second), &[("roster.yaml", "ivo: {}\n")]);
    scene.commit(
        "side",
        Some(&first),
        &[("roster.yaml", "emo: {}\n"), ("hosts/b.yaml", "b\n")],
    );
    scene.commit(
        "conflict",
        Some(&first),
        &[("roster.yaml", "x\n"), ("hosts/a.yaml", "b\n")],
    );
    let link = scene.blob("/etc/passwd");
    scene.commit_entries("link", Some(&second), &[("120000", "roster.yaml", link)]);
    scene.commit("unrelated", None, &[("roster.yaml", "y\n")]);

    let origin = scene.origin();
    let mut own = scene.mirror_at("own");
    let here = scene.fetch(&mut own);
    let mut far = through(&scene, &origin, &listening(&scene, Reads::Any));
    let there = fetch(&mut far, &origin);
    assert_eq!(there, here);
    for head in here.branches.values().chain([&first, &second]) {
        let said = |mirror: &Mirror| {
            (
                mirror.merge(&second, head).map_err(|it| it.to_string()),
                mirror.files(head).map_err(|it| it.to_string()),
                mirror.ancestry(&first, head),
                mirror.ancestry(head, &second),
                mirror.about(head).map_err(|it| it.to_string()),
            )
        };
        assert_eq!(said(&far), said(&own), "{head}");
    }
    assert!(far.last_signature().unwrap().parts() > 1);
    assert!(!far.watch_paths(&origin).is_empty());
    // What was adopted stays readable when the origin is gone, and the reader with it.
    std::fs::remove_dir_all(scene.path("origin")).unwrap();
    far.rest();
    assert_eq!(far.files(&second).unwrap(), own.files(&second).unwrap());
    assert!(far.files(&forward).is_err());
}

/// Fetches until nothing has moved so lately that it could move unseen.
fn settled(mirror: &mut Mirror, origin: &Origin) -> muster_git::Heads {
    loop {
        let heads = fetch(mirror, origin);
        if mirror.last_signature().unwrap().still_holds() {
            return heads;
        }
    }
}

fn tags_after(horizon: TagHorizon) -> WantedTags {
    WantedTags {
        below: vec![RELEASES.to_owned()],
        wanted: TagHorizon::wants,
        horizon,
    }
}

/// The mirror of one who runs what releases permit.
fn running(scene: &Scene, origin: &Origin, way: &Way) -> Mirror {
    let mut mirror = through(scene, origin, way);
    mirror.want_tags(tags_after(TagHorizon {
        since: Time(100),
        ..TagHorizon::ALL
    }));
    mirror
}

#[test]
fn nobody_is_asked_again_by_the_next_process_while_nothing_moves() {
    let scene = Scene::with_roster();
    let origin = scene.origin();
    let way = listening(&scene, Reads::Any);
    let first = settled(&mut running(&scene, &origin, &way), &origin);
    let nobody = Way::Service(scene.path("nobody"));
    let mut next = running(&scene, &origin, &nobody);
    assert_eq!(fetch(&mut next, &origin), first);
    assert!(next.last_signature().unwrap().still_holds());
    assert!(!next.watch_paths(&origin).is_empty());
    let commit = first.protected.clone().unwrap();
    assert!(next.files(&commit).unwrap().contains_key("roster.yaml"));
    // Whoever looks at branches alone asks, and leaves to others what is theirs.
    let mut look = through(&scene, &origin, &way);
    look.want_tags(tags_after(TagHorizon::NONE));
    settled(&mut look, &origin);
    let mut look = through(&scene, &origin, &nobody);
    look.want_tags(tags_after(TagHorizon::NONE));
    look.fetch(&origin, MAIN, Proposals::Include).unwrap_err();
    assert_eq!(
        fetch(&mut running(&scene, &origin, &nobody), &origin),
        first
    );
    // Another question was not answered.
    let mut other = running(&scene, &origin, &nobody);
    other.fetch(&origin, MAIN, Proposals::Ignore).unwrap_err();
    // A branch moves: what was known is the past, for this process and for the next.
    let side = scene.commit("side", Some(&commit), &[("roster.yaml", "emo: {}\n")]);
    next.fetch(&origin, MAIN, Proposals::Include).unwrap_err();
    let mut next = running(&scene, &origin, &nobody);
    next.fetch(&origin, MAIN, Proposals::Include).unwrap_err();
    let moved = settled(&mut running(&scene, &origin, &way), &origin);
    assert_eq!(moved.branches.values().next(), Some(&side));
    assert_eq!(
        fetch(&mut running(&scene, &origin, &nobody), &origin),
        moved
    );
    // A part of what was copied is gone, or all of it: it has to be copied again before anything is said of it.
    for entry in walk(&scene.path("mirror/objects")) {
        let kept = std::fs::read(&entry).unwrap();
        std::fs::remove_file(&entry).unwrap();
        let mut lacking = running(&scene, &origin, &nobody);
        lacking
            .fetch(&origin, MAIN, Proposals::Include)
            .unwrap_err();
        std::fs::write(&entry, kept).unwrap();
    }
    std::fs::remove_dir_all(scene.path("mirror/objects")).unwrap();
    let mut empty = running(&scene, &origin, &nobody);
    empty.fetch(&origin, MAIN, Proposals::Include).unwrap_err();
    let mut whole = running(&scene, &origin, &way);
    assert_eq!(fetch(&mut whole, &origin), moved);
    std::fs::remove_dir_all(scene.path("origin")).unwrap();
    assert!(whole.files(&commit).unwrap().contains_key("roster.yaml"));
}

/// A person plans beside a daemon: what the daemon keeps is read, and left as it is.
#[test]
fn what_the_daemon_keeps_is_read_beside_it_and_left_as_it_is() {
    let scene = Scene::with_roster();
    let origin = scene.origin();
    let way = listening(&scene, Reads::Any);
    scene.commit("side", None, &[("roster.yaml", "zed: {}\n")]);
    let known = settled(&mut running(&scene, &origin, &way), &origin);
    assert_eq!(known.branches.len(), 1);
    let commit = known.protected.clone().unwrap();
    let kept = || -> Vec<_> {
        let files = walk(&scene.path("mirror")).into_iter();
        files.map(|it| (std::fs::read(&it).unwrap(), it)).collect()
    };
    let before = kept();
    let beside = |way: &Way| {
        let reader = Reader::of(&origin, way.clone());
        let dir = scene.path("scratch");
        let _ = std::fs::remove_dir_all(&dir);
        let mut mirror = Mirror::beside(&scene.path("mirror"), &dir, reader).unwrap();
        mirror.want_tags(tags_after(TagHorizon::NONE));
        mirror
    };
    let nobody = Way::Service(scene.path("nobody"));
    let mut look = beside(&nobody);
    let seen = look.fetch(&origin, MAIN, Proposals::Ignore).unwrap();
    // The daemon knows of more than was asked for.
    let only_the_branch = Heads {
        protected: Some(commit.clone()),
        ..Heads::default()
    };
    assert_eq!(seen, only_the_branch);
    assert!(look.files(&commit).unwrap().contains_key("roster.yaml"));
    assert!(!scene.path("scratch").exists(), "nothing had to be made");
    // Whoever asks for more asks the reader, and so does who asks for another branch, or for tags.
    let refused = |proposals, branch, tags: TagHorizon| {
        let mut look = beside(&nobody);
        look.want_tags(tags_after(tags));
        look.fetch(&origin, branch, proposals).unwrap_err();
    };
    refused(Proposals::Include, MAIN, TagHorizon::NONE);
    refused(Proposals::Queued, MAIN, TagHorizon::NONE);
    refused(Proposals::Ignore, "refs/heads/other", TagHorizon::NONE);
    refused(Proposals::Ignore, MAIN, TagHorizon::ALL);
    // A branch moves.
    let newer = scene.commit("main", Some(&commit), &[("roster.yaml", "emo: {}\n")]);
    refused(Proposals::Ignore, MAIN, TagHorizon::NONE);
    let mut look = beside(&way);
    let seen = look.fetch(&origin, MAIN, Proposals::Ignore).unwrap();
    assert_eq!(seen.protected, Some(newer.clone()));
    assert!(look.files(&newer).unwrap().contains_key("roster.yaml"));
    assert!(look.files(&commit).unwrap().contains_key("roster.yaml"));
    assert_eq!(kept(), before, "it is the daemon's");
    // What is not kept by the one who looks is not believed, nor what a link leads to.
    settled(&mut running(&scene, &origin, &way), &origin);
    let look = |mut mirror: Mirror| mirror.fetch(&origin, MAIN, Proposals::Ignore);
    assert_eq!(look(beside(&nobody)).unwrap().protected, Some(newer));
    if geteuid().is_root() {
        std::os::unix::fs::chown(scene.path("mirror"), Some(12_345), None).unwrap();
        look(beside(&nobody)).unwrap_err();
        std::os::unix::fs::chown(scene.path("mirror"), Some(0), None).unwrap();
    }
    std::fs::rename(scene.path("mirror"), scene.path("elsewhere")).unwrap();
    std::os::unix::fs::symlink(scene.path("elsewhere"), scene.path("mirror")).unwrap();
    look(beside(&nobody)).unwrap_err();
}

/// The files below a directory.
fn walk(dir: &Path) -> Vec<std::path::PathBuf> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        match path.is_dir() {
            true => found.extend(walk(&path)),
            false => found.push(path),
        }
    }
    found
}

/// A work tree's `.git` file says where the repository is, and somebody changes it.
#[test]
fn an_origin_that_leads_elsewhere_has_moved() {
    let scene = Scene::with_roster();
    let lead = |to: &str| {
        std::fs::create_dir_all(scene.path("work")).unwrap();
        let to = scene.path(to);
        std::fs::write(
            scene.path("work/.git"),
            format!("gitdir: {}\n", to.display()),
        )
        .unwrap();
    };
    let copied = std::process::Command::new("cp")
        .args(["-a", "origin", "other"])
        .current_dir(scene.path(""))
        .status();
    assert!(copied.unwrap().success());
    lead("origin");
    let origin = Origin::Local(scene.path("work"));
    let way = listening(&scene, Reads::Any);
    let mut first = running(&scene, &origin, &way);
    settled(&mut first, &origin);
    let nobody = Way::Service(scene.path("nobody"));
    fetch(&mut running(&scene, &origin, &nobody), &origin);
    lead("other");
    assert!(!first.last_signature().unwrap().still_holds());
    let mut next = running(&scene, &origin, &nobody);
    next.fetch(&origin, MAIN, Proposals::Include).unwrap_err();
    settled(&mut running(&scene, &origin, &way), &origin);
    lead("origin");
    let mut back = running(&scene, &origin, &nobody);
    back.fetch(&origin, MAIN, Proposals::Include).unwrap_err();
}

#[test]
fn a_remote_origin_is_read_behind_a_service_that_reads_no_other() {
    let scene = Scene::with_roster();
    let daemon = Daemon::start(&scene);
    let way = listening(&scene, Reads::Remote);
    let mut mirror = through(&scene, &daemon.origin(), &way);
    let first = fetch(&mut mirror, &daemon.origin()).protected.unwrap();
    let next = scene.commit("main", Some(&first), &[("roster.yaml", "ivo: {}\n")]);
    let side = [("roster.yaml", "emo: {}\n"), ("hosts/a.yaml", "a\n")];
    let side = scene.commit("side", Some(&first), &side);
    let heads = fetch(&mut mirror, &daemon.origin());
    assert_eq!(heads.protected.as_ref(), Some(&next));
    assert_eq!(mirror.ancestry(&first, &next), Ancestry::Descends);
    assert!(matches!(
        mirror.merge(&next, &side).unwrap(),
        Merged::Clean { .. }
    ));
    // What is copied is the protected branch alone; git's own copy is the reader's.
    let packs = std::fs::read_dir(scene.path("mirror/objects/pack")).unwrap();
    assert_eq!(packs.count(), 0);

    let local = scene.origin();
    let mut mirror = Mirror::open_or_create(&scene.path("other"))
        .unwrap()
        .reading_through(Reader::of(&local, way));
    let refused = mirror.fetch(&local, MAIN, Proposals::Ignore).unwrap_err();
    assert!(matches!(&refused, FetchError::Told(_)), "{refused:?}");
    assert!(
        refused
            .to_string()
            .contains("no repository on this machine")
    );
}

/// Reads one message: a list of byte strings.
fn take(from: &mut UnixStream) -> Option<Vec<Vec<u8>>> {
    let mut count = [0; 4];
    from.read_exact(&mut count).ok()?;
    let mut sizes = Vec::new();
    for _ in 0..u32::from_le_bytes(count) {
        let mut size = [0; 8];
        from.read_exact(&mut size).ok()?;
        sizes.push(usize::try_from(u64::from_le_bytes(size)).unwrap());
    }
    let parts = sizes.into_iter().map(|size| {
        let mut part = vec![0; size];
        from.read_exact(&mut part).ok()?;
        Some(part)
    });
    parts.collect()
}

fn give(to: &mut UnixStream, parts: &[Vec<u8>]) -> Option<()> {
    let mut head = (parts.len() as u32).to_le_bytes().to_vec();
    head.extend(
        parts
            .iter()
            .flat_map(|part| (part.len() as u64).to_le_bytes()),
    );
    to.write_all(&head).ok()?;
    to.write_all(&parts.concat()).ok()
}

/// What becomes of a true answer.
enum Said {
    Answer,
    /// The connection ends.
    Nothing,
    /// It never comes.
    Silence,
}

/// A reader that has true answers, and gives what `change` makes of them.
fn forging(
    scene: &Scene,
    change: impl Fn(&[Vec<u8>], &mut Vec<Vec<u8>>) -> Said + Send + Sync + 'static,
) -> Way {
    let Way::Service(true_reader) = listening(scene, Reads::Any) else {
        unreachable!("listening gives a service");
    };
    let moved = scene.path("true.socket");
    std::fs::rename(&true_reader, &moved).unwrap();
    serving(scene, move |mut asker: UnixStream| {
        let mut reader = UnixStream::connect(&moved).unwrap();
        while let Some(asked) = take(&mut asker) {
            give(&mut reader, &asked).unwrap();
            let mut answer = take(&mut reader).unwrap();
            match change(&asked, &mut answer) {
                Said::Answer => {
                    if give(&mut asker, &answer).is_none() {
                        return;
                    }
                }
                Said::Nothing => return,
                // Whoever asks goes when its patience ends.
                Said::Silence => drop(take(&mut asker)),
            }
        }
    })
}

fn is(asked: &[Vec<u8>], word: &str) -> bool {
    asked[0] == word.as_bytes()
}

#[test]
fn a_reader_that_lies_about_files_or_history_is_not_believed() {
    let scene = Scene::with_roster();
    let first = scene.fetch(&mut scene.mirror_at("own")).protected.unwrap();
    scene.commit("main", Some(&first), &[("roster.yaml", "mallory: {}\n")]);
    let head: CommitId = scene.git("origin", &["rev-parse", MAIN]).parse().unwrap();
    let origin = scene.origin();
    type Lie = fn(&mut Vec<u8>);
    let lies: [(&str, Lie); 5] = [
        ("object", |bytes| bytes.push(b'\n')),
        ("object", |bytes| bytes.clear()),
        // Another object that is there: whoever has it is not asked for it.
        ("object", |bytes| *bytes = b"emo: {}\n".to_vec()),
        ("commits", |bytes| bytes.push(b'\n')),
        ("commits", |bytes| {
            let text = String::from_utf8(bytes.clone()).unwrap();
            *bytes = text.replace("parent ", "qarent ").into_bytes();
        }),
    ];
    for (word, lie) in lies {
        let scene = Scene::new();
        let way = forging(&scene, move |asked, answer| {
            if is(asked, word) {
                answer[1..].iter_mut().for_each(lie);
            }
            Said::Answer
        });
        let mut mirror = through(&scene, &origin, &way);
        let refused = mirror.fetch(&origin, MAIN, Proposals::Ignore).unwrap_err();
        assert!(
            matches!(
                refused,
                FetchError::Read {
                    source: ReadError::Damaged { .. },
                    ..
                }
            ),
            "{word}: {refused:?}"
        );
        assert!(mirror.files(&head).is_err());
        // It can withhold a history, and that shows; it cannot make one.
        let found = mirror.ancestry(&first, &head);
        let expected = match word {
            "commits" => Ancestry::Unknown,
            _ => Ancestry::Descends,
        };
        assert_eq!(found, expected, "{word}");
    }
}

#[test]
fn a_reader_that_makes_up_branches_is_not_believed() {
    let scene = Scene::with_roster();
    let origin = scene.origin();
    let first = scene.fetch(&mut scene.mirror_at("own")).protected.unwrap();
    let tree = scene.git("origin", &["rev-parse", "main^{tree}"]);
    let lies: [(usize, Vec<u8>); 6] = [
        (2, "ab".repeat(20).into()),
        (2, tree.into()),
        (2, "ab".repeat(32).into()),
        (3, format!("{first} refs/heads/../x\n").into()),
        (3, format!("{first} refs/heads/\u{202e}x\u{7}\n").into()),
        (1, b"sha256".to_vec()),
    ];
    for (at, lie) in lies {
        let scene = Scene::new();
        let said = String::from_utf8_lossy(&lie).into_owned();
        let way = forging(&scene, move |asked, answer| {
            if is(asked, "heads") {
                answer[at] = lie.clone();
            }
            Said::Answer
        });
        let mut mirror = through(&scene, &origin, &way);
        assert!(
            mirror.fetch(&origin, MAIN, Proposals::Include).is_err(),
            "{at}: {said}"
        );
    }
}

#[test]
fn a_reader_that_lies_about_a_proposal_is_not_believed() {
    let scene = Scene::with_roster();
    let origin = scene.origin();
    let first = scene.fetch(&mut scene.mirror_at("own")).protected.unwrap();
    let main = [("roster.yaml", "emo: {}\n"), ("hosts/a.yaml", "a: 1\n")];
    let second = scene.commit("main", Some(&first), &main);
    let ahead = scene.commit("ahead", Some(&second), &[("roster.yaml", "ivo: {}\n")]);
    let side = [("roster.yaml", "emo: {}\n"), ("hosts/b.yaml", "b: 1\n")];
    let side = scene.commit("side", Some(&first), &side);
    let answer = |words: &[&str]| -> Vec<Vec<u8>> {
        let words = ["ok"].iter().chain(words);
        words.map(|word| word.as_bytes().to_vec()).collect()
    };
    let clean = format!("clean {first}");
    let blob = scene.blob("emo: {}\n");
    for (head, lie) in [
        // What is merged already is no merge, and what is not is none either.
        (&side, answer(&["contained"])),
        (&ahead, answer(&["contained"])),
        (&side, answer(&["ahead"])),
        (&first, answer(&["ahead"])),
        (&ahead, answer(&["unrelated"])),
        // Another content than its id says.
        (&side, answer(&[&clean, "roster.yaml", &blob, "eve: {}\n"])),
        (
            &side,
            answer(&[&clean, "../roster.yaml", &blob, "emo: {}\n"]),
        ),
        (&side, answer(&[&clean, "roster.yaml", &blob])),
        (&side, answer(&["clean x"])),
        (&side, answer(&[])),
    ] {
        let scene = Scene::new();
        let told = lie.clone();
        let way = forging(&scene, move |asked, answer| {
            if is(asked, "merge") {
                answer.clone_from(&told);
            }
            Said::Answer
        });
        let mut mirror = through(&scene, &origin, &way);
        fetch(&mut mirror, &origin);
        let refused = mirror.merge(&second, head);
        assert!(
            matches!(refused, Err(MergeError::Read(ReadError::Reader { .. }))),
            "{lie:?}: {refused:?}"
        );
    }
}

#[test]
fn a_reader_that_lies_about_a_tag_is_not_believed() {
    let scene = Scene::with_roster();
    let origin = scene.origin();
    let tag = |name: &str| -> TagId {
        scene.git("origin", &["tag", "-a", "-m", name, name, "main"]);
        let name = format!("refs/tags/{name}");
        scene.git("origin", &["rev-parse", &name]).parse().unwrap()
    };
    let ids = [tag("one"), tag("two")];
    let way = forging(&scene, move |asked, answer| {
        if is(asked, "tags") && answer.len() > 4 {
            answer.swap(2, 4);
        }
        Said::Answer
    });
    let mut mirror = through(&scene, &origin, &way);
    fetch(&mut mirror, &origin);
    let found = mirror.tags(&ids, 1 << 20).unwrap();
    assert_eq!(found.len(), 2);
    for one in found {
        assert!(matches!(one, Err(ReadError::Damaged { .. })), "{one:?}");
    }
    // One by one there is nothing to be confused.
    let one = mirror.tag(&ids[0], 1 << 20).unwrap();
    assert!(String::from_utf8(one.bytes).unwrap().contains("tag one"));
    let missing: TagId = "ab".repeat(20).parse().unwrap();
    let found = mirror.tags(&[missing], 1 << 20).unwrap();
    assert!(
        matches!(found[..], [Err(ReadError::Missing { .. })]),
        "{found:?}"
    );
}

/// How long a reader may take in a test of what becomes of one that takes longer: enough for a true answer, and no time at all.
const SOON: Duration = Duration::from_secs(2);
const AT_ONCE: Duration = Duration::from_millis(1);

#[test]
fn one_that_never_answers_is_given_up_and_asked_again_later() {
    let scene = Scene::with_roster();
    let origin = scene.origin();
    let first = scene.fetch(&mut scene.mirror_at("own")).protected.unwrap();
    let side = scene.commit("side", Some(&first), &[("roster.yaml", "x\n")]);
    let scene = Scene::new();
    let way = forging(&scene, |asked, _| match asked[0].as_slice() {
        b"merge" => Said::Silence,
        _ => Said::Answer,
    });
    let mut mirror = scene
        .mirror_at("mirror")
        .reading_through(Reader::of(&origin, way).answering_within(SOON));
    fetch(&mut mirror, &origin);
    let refused = mirror.merge(&first, &side).unwrap_err();
    assert!(
        matches!(&refused, MergeError::Read(error) if error.is_of_size()),
        "{refused:?}"
    );
    // Nothing else stops.
    assert_eq!(fetch(&mut mirror, &origin).protected, Some(first.clone()));

    // One that hangs as soon as it is asked anything is an origin that does not answer.
    let scene = Scene::new();
    let way = serving(&scene, |mut asker| while take(&mut asker).is_some() {});
    let mut mirror = scene
        .mirror_at("mirror")
        .reading_through(Reader::of(&origin, way).answering_within(AT_ONCE));
    let error = mirror.fetch(&origin, MAIN, Proposals::Ignore).unwrap_err();
    assert!(error.to_string().contains("took longer"), "{error}");
    let error = mirror.fetch(&origin, MAIN, Proposals::Ignore).unwrap_err();
    assert!(error.to_string().contains("started again"), "{error}");
}

#[test]
fn an_answer_that_is_not_waited_for_is_taken_in_later() {
    let scene = Scene::with_roster();
    let origin = scene.origin();
    let first = scene.fetch(&mut scene.mirror_at("own")).protected.unwrap();
    let scene = Scene::new();
    let (let_go, held) = std::sync::mpsc::channel::<()>();
    let held = std::sync::Mutex::new(held);
    let way = forging(&scene, move |asked, _| {
        // Whoever asks for the branches hears of them when the test says so.
        if is(asked, "heads") {
            held.lock().unwrap().recv().unwrap();
        }
        Said::Answer
    });
    let wanted = Arc::new(std::sync::atomic::AtomicBool::new(true));
    let is_wanted = wanted.clone();
    let mut mirror = scene
        .mirror_at("mirror")
        .reading_through(Reader::of(&origin, way))
        .waiting_unless(Arc::new(move || {
            is_wanted.load(std::sync::atomic::Ordering::Relaxed)
        }));
    for _ in 0..3 {
        // It is no death: the next question is not put off.
        let error = mirror.fetch(&origin, MAIN, Proposals::Ignore).unwrap_err();
        assert!(error.to_string().contains("not answered yet"), "{error}");
    }
    // Nothing else is waited for meanwhile, and the answer is not taken for another's.
    let error = mirror.tag(&"ab".repeat(20).parse().unwrap(), 1 << 20);
    let error = error.unwrap_err();
    assert!(matches!(error, ReadError::Store(_)), "{error:?}");
    let_go.send(()).unwrap();
    let_go.send(()).unwrap();
    wanted.store(false, std::sync::atomic::Ordering::Relaxed);
    assert_eq!(fetch(&mut mirror, &origin).protected, Some(first));
}

#[test]
fn that_nobody_is_there_to_be_asked_says_nothing_of_a_proposal() {
    let scene = Scene::with_roster();
    let origin = scene.origin();
    let first = scene.fetch(&mut scene.mirror_at("own")).protected.unwrap();
    let side = scene.commit("side", Some(&first), &[("roster.yaml", "x\n")]);
    let scene = Scene::new();
    let way = listening(&scene, Reads::Any);
    let mut mirror = through(&scene, &origin, &way);
    fetch(&mut mirror, &origin);
    // The one that was asked goes, and no other comes.
    let other = Scene::new();
    let gone = forging(&other, |_, _| Said::Nothing);
    let nobody = through(&scene, &origin, &gone);
    let error = nobody.merge(&first, &side).unwrap_err();
    assert!(
        matches!(&error, MergeError::Read(error @ ReadError::Store(_)) if !error.is_of_size()),
        "{error:?}"
    );
    assert!(mirror.merge(&first, &side).is_ok());
}

/// Answers each connection with these bytes, whatever is asked.
fn saying(scene: &Scene, bytes: Vec<u8>) -> Way {
    serving(scene, move |mut connection| {
        let _ = connection.write_all(&bytes);
    })
}

#[test]
fn what_is_no_answer_is_an_error_and_costs_nothing() {
    let head = |sizes: &[u64]| {
        let mut bytes = (sizes.len() as u32).to_le_bytes().to_vec();
        bytes.extend(sizes.iter().flat_map(|size| size.to_le_bytes()));
        bytes
    };
    for bytes in [
        Vec::new(),
        vec![0xff; 64],
        head(&[u64::MAX]),
        head(&[1 << 40, 1 << 40]),
        head(&[500 << 20]),
        head(&[3]),
        [head(&[3]), b"???".to_vec()].concat(),
    ] {
        let scene = Scene::with_roster();
        let origin = scene.origin();
        let mut mirror = through(&scene, &origin, &saying(&scene, bytes));
        let error = mirror.fetch(&origin, MAIN, Proposals::Ignore).unwrap_err();
        assert!(matches!(error, FetchError::Reader(_)), "{error:?}");
        // It is left alone for a while before it is asked again.
        let error = mirror.fetch(&origin, MAIN, Proposals::Ignore).unwrap_err();
        assert!(error.to_string().contains("started again"), "{error}");
    }
}

#[test]
fn one_that_dies_of_a_proposal_is_started_again_and_the_proposal_is_refused() {
    let scene = Scene::with_roster();
    let way = forging(&scene, |asked, _| match asked[0].as_slice() {
        b"merge" => Said::Nothing,
        _ => Said::Answer,
    });
    let origin = scene.origin();
    let mut mirror = through(&scene, &origin, &way);
    let first = fetch(&mut mirror, &origin).protected.unwrap();
    let side = scene.commit("side", Some(&first), &[("roster.yaml", "x\n")]);
    fetch(&mut mirror, &origin);
    let refused = mirror.merge(&first, &side).unwrap_err();
    assert!(
        matches!(&refused, MergeError::Read(error) if error.is_of_size()),
        "{refused:?}"
    );
    // Nothing else stops.
    let next = scene.commit("main", Some(&first), &[("roster.yaml", "ivo: {}\n")]);
    assert_eq!(fetch(&mut mirror, &origin).protected, Some(next.clone()));
    assert!(mirror.files(&next).is_ok());
}

/// F9.
#[test]
fn a_pipe_or_a_device_in_the_origin_is_named_and_never_waited_for() {
    for below in ["info/alternates", "pack/pack-x.pack", "pack/pack-x.idx"] {
        let scene = Scene::with_roster();
        let first = scene.fetch(&mut scene.mirror_at("own")).protected.unwrap();
        scene.commit("main", Some(&first), &[("roster.yaml", "ivo: {}\n")]);
        let pipe = scene.path("origin/objects").join(below);
        make_pipe(&pipe);
        let origin = scene.origin();
        for mut mirror in [
            scene.mirror_at("own"),
            through(&scene, &origin, &listening(&scene, Reads::Any)),
        ] {
            let error = mirror.fetch(&origin, MAIN, Proposals::Ignore).unwrap_err();
            let mut said = error.to_string();
            let mut cause = std::error::Error::source(&error);
            while let Some(error) = cause {
                said = format!("{said}: {error}");
                cause = error.source();
            }
            assert!(said.contains("no regular file"), "{below}: {said}");
        }
    }
}

#[test]
fn a_pipe_in_the_place_of_an_object_is_a_damaged_object() {
    let scene = Scene::with_roster();
    let blob = scene.blob("emo: {}\n");
    let object = scene
        .path("origin/objects")
        .join(&blob[..2])
        .join(&blob[2..]);
    std::fs::remove_file(&object).unwrap();
    make_pipe(&object);
    let limits = Limits::default();
    let mut mirror = scene.mirror().with_limits(limits).unwrap();
    let error = mirror.fetch(&scene.origin(), MAIN, Proposals::Ignore);
    assert!(
        matches!(
            error,
            Err(FetchError::Read {
                source: ReadError::Damaged { .. } | ReadError::Missing { .. },
                ..
            })
        ),
        "{error:?}"
    );
}

fn make_pipe(path: &Path) {
    let mode = nix::sys::stat::Mode::from_bits_truncate(0o644);
    nix::unistd::mkfifo(path, mode).unwrap();
}

/// One that sits there no longer is started to tidy, and has fetched nothing before.
#[test]
fn a_reader_that_is_started_to_tidy_lets_go_of_branches_that_are_gone() {
    let scene = Scene::with_roster();
    let daemon = Daemon::start(&scene);
    let origin = daemon.origin();
    let mut mirror = through(&scene, &origin, &listening(&scene, Reads::Remote));
    let first = fetch(&mut mirror, &origin).protected.unwrap();
    let noise = scene.path("noise");
    let random = std::fs::File::open("/dev/urandom").unwrap();
    let mut random = std::io::Read::take(random, 66 << 20);
    std::io::copy(&mut random, &mut std::fs::File::create(&noise).unwrap()).unwrap();
    let blob = scene.git("origin", &["hash-object", "-w", noise.to_str().unwrap()]);
    scene.commit_entries("large", Some(&first), &[("100644", "large", blob)]);
    assert!(fetch(&mut mirror, &origin).unread.is_empty());
    scene.git("origin", &["update-ref", "-d", "refs/heads/large"]);
    let side = scene.commit("side", Some(&first), &[("roster.yaml", "side")]);
    assert!(fetch(&mut mirror, &origin).unread.is_empty());
    assert!(size_of(&scene.path("desk")) > 66 << 20);

    std::fs::remove_file(scene.path("reader.socket")).unwrap();
    let mut mirror = through(&scene, &origin, &listening(&scene, Reads::Remote));
    mirror.tidy_reader().unwrap();
    assert!(size_of(&scene.path("desk")) < 1 << 20);
    fetch(&mut mirror, &origin);
    assert!(mirror.merge(&first, &side).is_ok());
}

/// A child that notes that it was started, says `answer` where it is spoken to, and then nothing.
fn noting(scene: &Scene, answer: &str) -> Way {
    let script = format!(
        "echo >>{}; printf '{answer}' >&0; exec cat >/dev/null",
        scene.path("starts").display()
    );
    Way::Child {
        program: "/bin/sh".into(),
        args: ["-c", &script].map(Into::into).into(),
        keeps: None,
    }
}

#[test]
fn a_child_that_was_begun_is_the_one_that_is_asked() {
    /// A message of one part, `ok`.
    const OK: &str = "\\001\\000\\000\\000\\002\\000\\000\\000\\000\\000\\000\\000ok";
    // One that says no such thing when it is greeted has its place taken by another.
    for (answer, starts) in [(OK, 1), ("", 2)] {
        let scene = Scene::with_roster();
        let origin = scene.origin();
        let reader = Reader::of(&origin, noting(&scene, answer)).answering_within(SOON);
        let mut mirror = scene.mirror_at("mirror").reading_through(reader);
        mirror.prepare();
        mirror.prepare();
        let error = mirror.fetch(&origin, MAIN, Proposals::Ignore).unwrap_err();
        let lines = std::fs::read(scene.path("starts")).unwrap().len();
        assert_eq!(lines, starts, "{answer:?}: {error}");
    }
}

#[test]
fn a_child_that_keeps_nothing_is_not_started_to_tidy() {
    let scene = Scene::with_roster();
    let origin = scene.origin();
    let child = |keeps| Way::Child {
        program: "/nowhere/muster".into(),
        args: Vec::new(),
        keeps,
    };
    let tidy = |keeps| through(&scene, &origin, &child(keeps)).tidy_reader();
    tidy(None).unwrap();
    let error = tidy(Some(scene.path("desk"))).unwrap_err();
    assert!(error.to_string().contains("reader"), "{error}");
}

fn size_of(path: &Path) -> u64 {
    match std::fs::read_dir(path) {
        Ok(entries) => entries.map(|it| size_of(&it.unwrap().path())).sum(),
        Err(_) => path.symlink_metadata().unwrap().len(),
    }
}
