use std::process::Command;
use std::sync::Arc;

use super::*;
use crate::scene::{Host, Scene};

const NOW: Time = Time(1_000_000);

/// A host with two commits in its ledger, in a state directory of its own.
fn host(scene: &Scene) -> (Host, StateDir) {
    let state = StateDir::at(&scene.path("state"));
    state.make().unwrap();
    let mut host = Host::new(&state.ledger(), "a", 1);
    host.commit('b', 100);
    host.commit('c', 200);
    host.beat(250);
    (host, state)
}

fn open(scene: &Scene, host: &Host, state: &StateDir) -> Pusher {
    Pusher::open(
        state,
        scene.there(),
        &host.executor(),
        &host.facts.executor_id,
    )
}

fn head(host: &Host) -> CommitId {
    let ledger = Ledger::open(&host.dir, &host.reference()).unwrap();
    ledger.head().unwrap().unwrap()
}

/// Pushes, and waits for what comes of it; `None` when nothing was begun.
fn push(pusher: &mut Pusher, frozen: Option<&Frozen>) -> Option<News> {
    pusher.start(frozen, NOW);
    pusher.wait(NOW)
}

fn copied(from: &Path, to: &Path) {
    let done = Command::new("cp").arg("-a").arg(from).arg(to).status();
    assert!(done.unwrap().success());
}

#[test]
fn the_first_push_brings_everything_and_the_next_what_is_new() {
    let scene = Scene::new();
    let (mut host, state) = host(&scene);
    let mut pusher = open(&scene, &host, &state);
    assert_eq!(pusher.arrived(), Elsewhere::Pushed(None));
    assert_eq!(push(&mut pusher, None), Some(News::Arrived));
    assert_eq!(scene.at(&host.reference()), Some(head(&host)));
    let beat = scene.at(&host.alive_reference());
    assert!(beat.is_some());
    assert_eq!(pusher.arrived(), Elsewhere::Pushed(Some(head(&host))));
    assert_eq!(push(&mut pusher, None), None, "there is nothing new");

    host.beat(300);
    assert_eq!(push(&mut pusher, None), Some(News::Arrived));
    assert_ne!(scene.at(&host.alive_reference()), beat);
    host.commit('d', 400);
    // The process was killed between the commit and the push.
    let mut pusher = open(&scene, &host, &state);
    assert_ne!(pusher.arrived(), Elsewhere::Pushed(Some(head(&host))));
    assert_eq!(pusher.ask(None), None);
    assert_eq!(push(&mut pusher, None), Some(News::Arrived));
    assert_eq!(scene.at(&host.reference()), Some(head(&host)));
    assert_eq!(open(&scene, &host, &state).arrived(), pusher.arrived());
    scene.git("there.git", &["fsck", "--strict", "--no-dangling"]);
}

#[test]
fn a_branch_follows_the_ledger_for_a_forge_to_tell_of() {
    let scene = Scene::new();
    let (mut host, state) = host(&scene);
    let branch = host.executor().ledger_branch();
    assert_eq!(branch, "refs/heads/muster/host/a");
    let mut pusher = open(&scene, &host, &state);
    assert_eq!(push(&mut pusher, None), Some(News::Arrived));
    assert_eq!(scene.at(&branch), Some(head(&host)));
    // Whoever moved or removed it meanwhile changes nothing.
    let first = head(&host);
    for gone in [false, true] {
        match gone {
            false => scene.set(&branch, &first),
            true => {
                scene.git("there.git", &["update-ref", "-d", &branch]);
            }
        }
        host.commit(if gone { 'e' } else { 'd' }, if gone { 400 } else { 300 });
        assert_eq!(push(&mut pusher, None), Some(News::Arrived));
        assert_eq!(scene.at(&branch), Some(head(&host)));
    }
    // Where it cannot be, the ledger arrives all the same.
    let first = first.as_str();
    scene.git("there.git", &["update-ref", "-d", &branch]);
    scene.git("there.git", &["update-ref", "refs/heads/muster", first]);
    host.commit('f', 500);
    assert_eq!(push(&mut pusher, None), Some(News::Arrived));
    assert_eq!(scene.at(&host.reference()), Some(head(&host)));
    assert_eq!(scene.at(&branch), None);
}

#[test]
fn what_was_pushed_is_found_out_where_nobody_remembers() {
    let scene = Scene::new();
    let (mut host, state) = host(&scene);
    assert_eq!(
        push(&mut open(&scene, &host, &state), None),
        Some(News::Arrived)
    );
    for damaged in ["", "{", "{\"format\": 9}"] {
        fs::write(state.pushed(), damaged).unwrap();
        host.commit('d', 300);
        let mut pusher = open(&scene, &host, &state);
        assert_eq!(pusher.arrived(), Elsewhere::Pushed(None));
        assert_eq!(push(&mut pusher, None), Some(News::Arrived));
        assert_eq!(scene.at(&host.reference()), Some(head(&host)));
    }
    // What was remembered is of another ledger repository.
    scene.git("", &["init", "-q", "--bare", "other.git"]);
    let other = Origin::parse(scene.path("other.git").to_str().unwrap()).unwrap();
    let mut pusher = Pusher::open(&state, other, &host.executor(), &host.facts.executor_id);
    assert_eq!(pusher.arrived(), Elsewhere::Pushed(None));
    assert_eq!(push(&mut pusher, None), Some(News::Arrived));
    let there = scene.git("other.git", &["rev-parse", &host.reference()]);
    assert_eq!(there, head(&host).as_str());
}

#[test]
fn a_repository_that_was_set_back_or_emptied_gets_it_again() {
    let scene = Scene::new();
    let (mut host, state) = host(&scene);
    let one = head(&host);
    host.commit('d', 300);
    let mut pusher = open(&scene, &host, &state);
    assert_eq!(push(&mut pusher, None), Some(News::Arrived));
    for (at, back) in [(400, Some(&one)), (500, None)] {
        match back {
            Some(one) => scene.set(&host.reference(), one),
            None => {
                scene.git("there.git", &["update-ref", "-d", &host.reference()]);
                scene.git("there.git", &["update-ref", "-d", &host.alive_reference()]);
            }
        }
        // A sign of life is enough to find out.
        host.beat(at);
        assert_eq!(push(&mut pusher, None), Some(News::Arrived));
        assert_eq!(scene.at(&host.reference()), Some(head(&host)));
    }
}

/// What is found in the ledger repository in place of ours, after `change`.
fn misfit(change: impl Fn(&Scene, &Host)) -> (Scene, Host, StateDir, Frozen) {
    let scene = Scene::new();
    let (host, state) = host(&scene);
    let mut pusher = open(&scene, &host, &state);
    assert_eq!(push(&mut pusher, None), Some(News::Arrived));
    change(&scene, &host);
    let found = scene.at(&host.reference()).unwrap();
    // A process that starts is told before it does anything.
    let Some(News::Misfit(first)) = open(&scene, &host, &state).ask(None) else {
        panic!("it was not seen")
    };
    // One that is at work is told with the next push.
    host.beat(900);
    let Some(News::Misfit(second)) = push(&mut pusher, None) else {
        panic!("it was not seen")
    };
    assert_eq!(first, second);
    assert!(matches!(&first, Frozen::Elsewhere { found: it, .. } if *it == found));
    assert_eq!(scene.at(&host.reference()), Some(found), "it was replaced");
    let left = fs::read_dir(state.path()).unwrap();
    let left = left.filter(|it| {
        let name = it.as_ref().unwrap().file_name();
        name.to_string_lossy().starts_with(SCRATCH)
    });
    assert_eq!(left.count(), 0);
    (scene, host, state, first)
}

fn how(frozen: &Frozen) -> Misfit {
    match frozen {
        Frozen::Elsewhere { how, .. } => *how,
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_repository_that_is_ahead_freezes_and_is_replaced_only_as_decided() {
    let (scene, host, state, frozen) = misfit(|scene, host| {
        // The host was put back from an older copy.
        copied(&host.dir, &scene.path("newer.git"));
        let mut newer = Host {
            dir: scene.path("newer.git"),
            facts: host.facts.clone(),
            policy: host.policy.clone(),
            key: Arc::clone(&host.key),
            name: host.name.clone(),
        };
        newer.commit('d', 300);
        scene.push(&newer);
    });
    assert_eq!(how(&frozen), Misfit::Ahead);
    let said = frozen.to_string();
    assert!(
        said.contains("ahead of this host") && said.contains("muster adopt"),
        "{said}"
    );
    // Frozen, nothing is asked and nothing pushed.
    let mut pusher = open(&scene, &host, &state);
    assert_eq!(pusher.ask(Some(&frozen)), None);
    assert_eq!(push(&mut pusher, Some(&frozen)), None);
    // Decided, and by another process: this is replaced.
    let mut pusher = open(&scene, &host, &state);
    assert_eq!(pusher.ask(None), None);
    assert_eq!(push(&mut pusher, None), Some(News::Arrived));
    assert_eq!(scene.at(&host.reference()), Some(head(&host)));
}

#[test]
fn what_was_decided_about_is_replaced_and_nothing_else() {
    let (scene, host, state, frozen) = misfit(|scene, host| {
        let mut other = Host::new(&scene.path("other.git"), "a", 2);
        other.facts.executor_id.clone_from(&host.facts.executor_id);
        other.commit('f', 300);
        scene.push(&other);
    });
    assert_eq!(how(&frozen), Misfit::Rewritten);
    assert_eq!(push(&mut open(&scene, &host, &state), Some(&frozen)), None);
    // Meanwhile somebody wrote there again.
    let mut third = Host::new(&scene.path("third.git"), "a", 3);
    third.commit('e', 400);
    scene.push(&third);
    let mut pusher = open(&scene, &host, &state);
    let Some(News::Misfit(again)) = pusher.ask(None) else {
        panic!("it was not seen")
    };
    assert_eq!(how(&again), Misfit::Another);
    assert_eq!(scene.at(&host.reference()), Some(head(&third)));
    // What was decided before does not count for what came since.
    assert!(matches!(push(&mut pusher, None), Some(News::Misfit(_))));
    assert_eq!(scene.at(&host.reference()), Some(head(&third)));
    assert_eq!(push(&mut pusher, Some(&again)), None);
    let mut pusher = open(&scene, &host, &state);
    assert_eq!(push(&mut pusher, None), Some(News::Arrived));
    assert_eq!(scene.at(&host.reference()), Some(head(&host)));
}

#[test]
fn another_executor_of_the_same_name_freezes() {
    let (.., frozen) = misfit(|scene, _| {
        let mut other = Host::new(&scene.path("other.git"), "a", 2);
        other.commit('d', 300);
        scene.push(&other);
    });
    assert_eq!(how(&frozen), Misfit::Another);
    let (.., frozen) = misfit(|scene, host| {
        // It is not even a ledger.
        let files = [("words".to_owned(), b"none".to_vec())].into();
        let other = Host::new(&scene.path("other.git"), "a", 2);
        other.commit_files(files, 300);
        scene.push(&other);
        assert_ne!(scene.at(&host.reference()), Some(head(host)));
    });
    assert_eq!(how(&frozen), Misfit::Another);
}

#[test]
fn a_repository_that_does_not_answer_is_tried_again_more_and_more_seldom() {
    let scene = Scene::new();
    let (host, state) = host(&scene);
    fs::rename(scene.path("there.git"), scene.path("away.git")).unwrap();
    let mut pusher = open(&scene, &host, &state);
    assert_eq!(pusher.ask(None), Some(News::Failed));
    let mut tried = Vec::new();
    for second in 0..3_000 {
        pusher.start(None, NOW.plus(second));
        if pusher.wait(NOW.plus(second)).is_some() {
            tried.push(second);
        }
    }
    let waits: Vec<_> = tried.windows(2).map(|it| it[1] - it[0]).collect();
    assert_eq!(waits, [30, 60, 120, 240, 480, 600, 600, 600]);
    assert_eq!(pusher.arrived(), Elsewhere::Pushed(None));
    fs::rename(scene.path("away.git"), scene.path("there.git")).unwrap();
    pusher.start(None, NOW.plus(10_000));
    assert_eq!(pusher.wait(NOW.plus(10_000)), Some(News::Arrived));
    assert_eq!(scene.at(&host.reference()), Some(head(&host)));
    assert_eq!(push(&mut pusher, None), None);
}

#[test]
fn what_a_killed_process_was_looking_at_goes() {
    let scene = Scene::new();
    let (host, state) = host(&scene);
    fs::create_dir_all(state.path().join("elsewhere-x/objects")).unwrap();
    drop(open(&scene, &host, &state));
    assert!(!state.path().join("elsewhere-x").exists());
    assert!(state.ledger().exists());
}

#[test]
fn the_journal_keeps_what_has_not_arrived() {
    use crate::outside::LedgerRepository;
    use muster_core::ledger::Through;
    use muster_core::world::Ledger as _;

    let scene = Scene::new();
    let (mut host, state) = host(&scene);
    let mut pusher = open(&scene, &host, &state);
    let through = |sequence| Through {
        sequence,
        chain: "c".to_owned(),
    };
    let kept = |pusher: &Pusher, host: &Host| {
        let (mut ledger, _) = LedgerRepository::open(&host.dir, &host.reference()).unwrap();
        // Without a ledger repository, what is committed is safe.
        assert_eq!(ledger.keeps(&through(777)), Some(through(777)));
        ledger.has_arrived(pusher.arrived());
        (ledger.keeps(&through(777)), ledger.safe().unwrap())
    };
    assert_eq!(kept(&pusher, &host), (None, None));
    assert_eq!(push(&mut pusher, None), Some(News::Arrived));
    // All of it has arrived: what the last commit reaches, whatever the journal gained since.
    assert_eq!(
        kept(&pusher, &host),
        (Some(through(777)), Some(through(200)))
    );
    host.commit('d', 300);
    assert_eq!(
        kept(&pusher, &host),
        (Some(through(200)), Some(through(200)))
    );
    assert_eq!(push(&mut pusher, None), Some(News::Arrived));
    assert_eq!(kept(&pusher, &host).1, Some(through(300)));
}
