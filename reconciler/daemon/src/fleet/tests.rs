use std::fs;
use std::time::Instant;

use muster_core::accounts::policy::Policy;
use muster_core::fleet::Fleet as _;
use muster_core::ledger::policy;

use super::*;
use crate::scene::{Host, Scene, id};

fn host(scene: &Scene, name: &str, seed: u8) -> Host {
    Host::new(&scene.path(&format!("{name}.git")), name, seed)
}

fn open(scene: &Scene) -> GitFleet {
    GitFleet::open(
        &scene.path("fleet"),
        scene.there(),
        &scene.path("etc/hosts"),
    )
    .unwrap()
}

fn standing(fleet: &mut GitFleet, host: &Host) -> Result<LedgerHead, String> {
    fleet
        .look()
        .unwrap()
        .remove(&host.executor())
        .expect("it stands there")
}

#[test]
fn what_a_host_tells_is_read() {
    let scene = Scene::new();
    let mut a = host(&scene, "a", 1);
    a.policy.grace_days = 7;
    let one = a.commit('b', 100);
    scene.push(&a);
    scene.hosts(&[&a]);
    let mut fleet = open(&scene);
    let first = standing(&mut fleet, &a).unwrap();
    assert_eq!(
        first,
        LedgerHead {
            ledger: one.clone(),
            read: Time(100),
            version: None,
        }
    );
    a.beat(400);
    scene.push(&a);
    assert_eq!(standing(&mut fleet, &a).unwrap().read, Time(400));
    let told = fleet.told(&a.executor(), &one).unwrap();
    let told = ExecutorReport::read(&a.executor(), &told).unwrap();
    assert_eq!(
        told,
        ExecutorReport {
            executor: a.executor(),
            facts: a.facts.clone(),
            policy: a.policy.clone().into(),
            observed: Host::observed().into(),
            held: told.held.clone(),
        }
    );
    assert_eq!(told.held.unwrap().commit, id('b'));

    // The sign of life is of the ledger before, and makes the newer one no newer.
    let two = a.commit('c', 300);
    scene.push(&a);
    let second = standing(&mut fleet, &a).unwrap();
    assert_eq!(
        second,
        LedgerHead {
            ledger: two,
            read: Time(300),
            version: Version::parse("1"),
        }
    );
}

#[test]
fn the_past_is_the_last_that_was_told_of_a_commit() {
    let scene = Scene::new();
    let mut a = host(&scene, "a", 1);
    for (adopted, at) in [('b', 100), ('c', 200), ('c', 300), ('d', 400), ('d', 500)] {
        a.commit(adopted, at);
    }
    scene.push(&a);
    scene.hosts(&[&a]);
    let mut fleet = open(&scene);
    let own = OwnFleet::of(&a.dir, a.executor());
    let head = standing(&mut fleet, &a).unwrap().ledger;
    let past = |commit: char| {
        let past = fleet.past(&a.executor(), &head, &id(commit)).unwrap();
        assert_eq!(own.past(&a.executor(), &head, &id(commit)).unwrap(), past);
        past.map(|it| it.facts.latest)
    };
    assert_eq!(past('b'), Some(Time(100)));
    assert_eq!(past('c'), Some(Time(300)));
    assert_eq!(past('d'), Some(Time(500)));
    assert_eq!(past('e'), None);
}

#[test]
fn a_host_reads_its_own_ledger_without_a_key() {
    let scene = Scene::new();
    let mut a = host(&scene, "a", 1);
    let mut own = OwnFleet::of(&a.dir, a.executor());
    let look = |own: &mut OwnFleet| own.look().unwrap().into_values().next().unwrap();
    assert!(look(&mut own).is_err());
    let one = a.commit('b', 100);
    a.beat(150);
    assert_eq!(
        look(&mut own).unwrap(),
        LedgerHead {
            ledger: one.clone(),
            read: Time(150),
            version: Version::parse("1"),
        }
    );
    let told = own.told(&a.executor(), &one).unwrap();
    let told = ExecutorReport::read(&a.executor(), &told).unwrap();
    assert_eq!(told.facts, a.facts);
}

#[test]
fn an_unknown_host_is_told_with_the_line_to_add() {
    let scene = Scene::new();
    let (mut a, mut b) = (host(&scene, "a", 1), host(&scene, "b", 2));
    a.commit('b', 100);
    b.commit('b', 100);
    scene.push(&a);
    scene.push(&b);
    let mut fleet = open(&scene);
    // There is not even a file.
    let reason = standing(&mut fleet, &a).unwrap_err();
    let line = format!("host/a {}", a.key.public());
    assert!(reason.ends_with(&line), "{reason}");
    fs::write(scene.path("etc/hosts"), format!("{line}\n")).unwrap();
    assert!(standing(&mut fleet, &a).is_ok());
    assert!(standing(&mut fleet, &b).is_err());
    scene.hosts(&[&a, &b]);
    assert!(standing(&mut fleet, &b).is_ok());

    fs::write(scene.path("etc/hosts"), "host/a\nhost/b x\n").unwrap();
    let error = chain(&fleet.look().unwrap_err());
    for number in [1, 2] {
        let place = format!("{}:{number}: ", scene.path("etc/hosts").display());
        assert!(error.contains(&place), "{error}");
    }
    scene.hosts(&[&a, &b]);
    use std::os::unix::fs::PermissionsExt as _;
    fs::set_permissions(scene.path("etc/hosts"), fs::Permissions::from_mode(0o666)).unwrap();
    let error = chain(&fleet.look().unwrap_err());
    assert!(error.contains("can be written by others"), "{error}");
}

#[test]
fn only_what_a_host_signed_counts_as_its() {
    let scene = Scene::new();
    let (mut a, mut b) = (host(&scene, "a", 1), host(&scene, "b", 2));
    let good = a.commit('b', 100);
    a.beat(150);
    b.commit('b', 100);
    b.beat(900);
    scene.push(&a);
    scene.push(&b);
    scene.hosts(&[&a, &b]);
    let mut fleet = open(&scene);
    assert_eq!(standing(&mut fleet, &a).unwrap().ledger, good);
    let refused = |fleet: &mut GitFleet, says: &str| {
        let reason = standing(fleet, &a).unwrap_err();
        assert!(reason.contains(says), "{reason}");
        // It stops nobody else.
        assert!(standing(fleet, &b).is_ok());
    };
    // Another host's ledger.
    scene.set(&a.reference(), &scene.at(&b.reference()).unwrap());
    refused(&mut fleet, "signed with another key");
    // A commit that nobody signed, on top of what is good.
    let tree = format!("{good}^{{tree}}");
    let forge = |arguments: &[&str]| -> CommitId {
        let mut all = vec!["-c", "user.name=muster", "-c", "user.email=muster@a"];
        all.extend(arguments);
        scene.git("there.git", &all).parse().unwrap()
    };
    let unsigned = forge(&["commit-tree", "-p", good.as_str(), "-m", "words", &tree]);
    scene.set(&a.reference(), &unsigned);
    refused(&mut fleet, "not signed");
    // The host's own signature, moved to another commit.
    let bytes = fleet.mirror.commit_bytes(&good).unwrap();
    let forged = String::from_utf8(bytes)
        .unwrap()
        .replace("a cycle", "a cyclo");
    let path = scene.path("forged");
    fs::write(&path, forged).unwrap();
    let forged = forge(&["hash-object", "-t", "commit", "-w", path.to_str().unwrap()]);
    scene.set(&a.reference(), &forged);
    refused(&mut fleet, "does not fit");
    // Its own sign of life in place of its ledger.
    scene.set(&a.reference(), &scene.at(&a.alive_reference()).unwrap());
    refused(&mut fleet, "rewritten");
    // Back as it was, with another host's sign of life.
    scene.set(&a.reference(), &good);
    assert_eq!(standing(&mut fleet, &a).unwrap().read, Time(150));
    scene.set(
        &a.alive_reference(),
        &scene.at(&b.alive_reference()).unwrap(),
    );
    assert_eq!(standing(&mut fleet, &a).unwrap().read, Time(100));
}

#[test]
fn a_ledger_that_does_not_go_on_is_refused_until_a_person_says_so() {
    let scene = Scene::new();
    let mut a = host(&scene, "a", 1);
    let one = a.commit('b', 100);
    let two = a.commit('c', 200);
    scene.push(&a);
    scene.hosts(&[&a]);
    let mut fleet = open(&scene);
    assert_eq!(standing(&mut fleet, &a).unwrap().ledger, two);
    // Set back to an older commit, which is as well signed as the newer one.
    scene.set(&a.reference(), &one);
    for mut fleet in [fleet, open(&scene)] {
        let reason = standing(&mut fleet, &a).unwrap_err();
        assert!(
            reason.contains("rewritten") && reason.contains(two.short()),
            "{reason}"
        );
        scene.set(&a.reference(), &two);
        assert!(standing(&mut fleet, &a).is_ok());
        scene.set(&a.reference(), &one);
        assert!(standing(&mut fleet, &a).is_err());
    }
    // Written anew by the host itself.
    let mut anew = Host {
        dir: scene.path("anew.git"),
        ..host(&scene, "a", 1)
    };
    let other = anew.commit('d', 300);
    scene.push(&anew);
    let mut fleet = open(&scene);
    assert!(standing(&mut fleet, &a).is_err());
    let seen = fs::read_to_string(scene.path("fleet/seen")).unwrap();
    assert_eq!(seen, format!("host/a {two}\n"));
    fs::write(scene.path("fleet/seen"), "").unwrap();
    assert_eq!(standing(&mut fleet, &a).unwrap().ledger, other);

    // What cannot be understood is not passed over.
    fs::write(scene.path("fleet/seen"), "host/a\n").unwrap();
    let error = chain(&fleet.look().unwrap_err());
    assert!(error.contains("fleet/seen:1"), "{error}");
}

#[test]
fn who_is_missing_stands_there_with_the_reason() {
    let scene = Scene::new();
    let (mut a, b) = (host(&scene, "a", 1), host(&scene, "b", 2));
    a.commit('b', 100);
    scene.push(&a);
    scene.hosts(&[&a, &b]);
    let mut fleet = open(&scene);
    assert!(
        standing(&mut fleet, &b)
            .unwrap_err()
            .contains("not told anything yet")
    );
    assert!(standing(&mut fleet, &a).is_ok());
    scene.git("there.git", &["update-ref", "-d", &a.reference()]);
    assert!(standing(&mut fleet, &a).unwrap_err().contains("is gone"));

    // A repository that does not answer is nobody's reason.
    fs::rename(scene.path("there.git"), scene.path("away.git")).unwrap();
    assert!(fleet.look().is_err());
    // What was told stays readable for whoever asks.
    fs::rename(scene.path("away.git"), scene.path("there.git")).unwrap();
    assert!(fleet.look().is_ok());
}

#[test]
fn a_machine_reads_the_ledgers_of_all_its_executors() {
    let scene = Scene::new();
    let (mut a, mut b) = (host(&scene, "a", 1), host(&scene, "b", 2));
    let (of_a, of_b) = (a.commit('b', 100), b.commit('c', 200));
    let all = [&a, &b].map(|it| (it.executor(), it.dir.clone()));
    let mut own = OwnFleet::of_all(all);
    let looked = own.look().unwrap();
    let ledger = |it: &Host| looked[&it.executor()].as_ref().unwrap().ledger.clone();
    assert_eq!((ledger(&a), ledger(&b)), (of_a.clone(), of_b));
    // Each is asked for in its own.
    assert!(own.told(&b.executor(), &of_a).is_err());
    let stranger = Executor::Host("x".to_owned());
    assert!(own.told(&stranger, &of_a).is_err());
}

/// What is done to the files of a ledger.
type Change<'a> = &'a dyn Fn(&mut Files);

#[test]
fn what_is_told_is_the_hosts_own() {
    let scene = Scene::new();
    let mut a = host(&scene, "a", 1);
    a.commit('b', 100);
    let fleet = OwnFleet::of(&a.dir, a.executor());
    let told = |change: Change<'_>| {
        let mut files = a.files();
        change(&mut files);
        let gone = a.files();
        let commit = {
            // Files that are gone are taken away, too.
            let ledger = Ledger::open_or_create(&a.dir, &a.reference()).unwrap();
            let mut changes: BTreeMap<_, _> = gone.keys().map(|it| (it.clone(), None)).collect();
            changes.extend(files.into_iter().map(|(path, bytes)| (path, Some(bytes))));
            let head = ledger.head().unwrap();
            ledger.commit(head.as_ref(), &changes, "x", 1).unwrap()
        };
        let told = fleet.told(&a.executor(), &commit)?;
        ExecutorReport::read(&a.executor(), &told)
    };
    let other = Policy::for_host("b").into();
    let cases: [(&str, Change<'_>); 6] = [
        ("no policy.json", &|it| drop(it.remove("policy.json"))),
        ("no inventory.json", &|it| drop(it.remove("inventory.json"))),
        ("no state.json", &|it| drop(it.remove("state.json"))),
        ("policy.json calls itself that of host/b", &|it| {
            it.insert("policy.json".to_owned(), policy::to_bytes(&other));
        }),
        ("held.json calls itself that of", &|it| {
            let text = String::from_utf8(it["held.json"].clone()).unwrap();
            it.insert(
                "held.json".to_owned(),
                text.replace("host/a", "host/b").into(),
            );
        }),
        ("calls itself the ledger of host/b", &|it| {
            let text = String::from_utf8(it["state.json"].clone()).unwrap();
            let text = text.replace("\"name\": \"a\"", "\"name\": \"b\"");
            it.insert("state.json".to_owned(), text.into());
        }),
    ];
    for (says, change) in cases {
        let reason = told(change).unwrap_err();
        assert!(reason.contains(says), "{reason}");
    }
    assert!(told(&|_| {}).is_ok());
    let without = told(&|it| drop(it.remove("held.json"))).unwrap();
    assert_eq!(without.held, None);
}

/// Tells how long the looks take; nothing is asserted about it.
#[test]
fn a_thousand_hosts_are_looked_at() {
    let scene = Scene::new();
    let mut one = host(&scene, "all", 1);
    one.commit('b', 100);
    one.beat(150);
    let tree = |name: &str| scene.git("all.git", &["rev-parse", &format!("{name}^{{tree}}")]);
    let trees = [tree(&one.reference()), tree(&one.alive_reference())];
    // As a thousand hosts would sign them, written by one git.
    let (mut hosts, mut paths, mut names) = (String::new(), String::new(), Vec::new());
    for number in 0..1_000_u16 {
        let mut seed = [0; 32];
        seed[..2].copy_from_slice(&number.to_le_bytes());
        let key = muster_core::host_key::HostKey::from_seed(&seed);
        hosts.push_str(&format!("host/h{number} {}\n", key.public()));
        for (tree, dir) in trees.iter().zip([
            ExecutorKind::Host.ledgers(),
            ExecutorKind::Host.signs_of_life(),
        ]) {
            let who = format!("muster <muster@h{number}> 100 +0000");
            let commit = format!("tree {tree}\nauthor {who}\ncommitter {who}\n\na cycle\n");
            let path = scene.path(&format!("commit{}", names.len()));
            fs::write(&path, key.sign_commit(commit.as_bytes())).unwrap();
            paths.push_str(&format!("{}\n", path.display()));
            names.push(format!("{dir}h{number}"));
        }
    }
    fs::write(scene.path("etc/hosts"), hosts).unwrap();
    fs::write(scene.path("paths"), paths).unwrap();
    let output = std::process::Command::new("git")
        .args(["--git-dir", scene.path("all.git").to_str().unwrap()])
        .args(["hash-object", "-t", "commit", "-w", "--stdin-paths"])
        .stdin(fs::File::open(scene.path("paths")).unwrap())
        .output()
        .unwrap();
    let ids = String::from_utf8(output.stdout).unwrap();
    let mut packed: Vec<_> = names
        .iter()
        .zip(ids.lines())
        .map(|(name, id)| format!("{name} {id}"))
        .collect();
    packed.sort();
    let lines = packed.iter().map(|line| {
        let (name, id) = line.split_once(' ').unwrap();
        format!("{id} {name}\n")
    });
    fs::write(scene.path("all.git/packed-refs"), lines.collect::<String>()).unwrap();
    for name in [one.reference(), one.alive_reference()] {
        scene.git("all.git", &["update-ref", "-d", &name]);
    }

    let origin = Origin::parse(scene.path("all.git").to_str().unwrap()).unwrap();
    let mut fleet = GitFleet::open(&scene.path("fleet"), origin, &scene.path("etc/hosts")).unwrap();
    let timed = |what: &str, fleet: &mut GitFleet| {
        let began = Instant::now();
        let found = fleet.look().unwrap();
        println!("{what}: {:?}", began.elapsed());
        assert_eq!(found.values().filter(|it| it.is_ok()).count(), 1_000);
        found
    };
    timed("the first look at 1,000 hosts", &mut fleet);
    timed("when nothing moved", &mut fleet);
    let mut seed = [0; 32];
    seed[0] = 7;
    one.name = "h7".to_owned();
    one.policy.executor = Executor::Host("h7".to_owned());
    one.key = std::sync::Arc::new(muster_core::host_key::HostKey::from_seed(&seed));
    let newer = one.commit('c', 200);
    let found = timed("when one moved", &mut fleet);
    let moved = found[&"host/h7".parse().unwrap()].clone().unwrap();
    assert_eq!((moved.ledger, moved.read), (newer, Time(200)));
}

#[test]
fn ledgers_of_every_kind_are_looked_at() {
    let scene = Scene::new();
    let mut host = Host::new(&scene.path("one"), "a", 1);
    host.commit('a', 100);
    scene.push(&host);
    let reference = Executor::Guests("pve1".to_owned()).ledger_ref();
    scene.set(&reference, &scene.at(&host.reference()).unwrap());
    // What is below another word is nobody's ledger.
    scene.set("refs/muster/moon/a", &scene.at(&host.reference()).unwrap());
    let hosts = scene.hosts(&[&host]);
    let mut fleet = GitFleet::open(&scene.path("fleet"), scene.there(), &hosts).unwrap();
    let found = fleet.look().unwrap();
    let names: Vec<String> = found.keys().map(ToString::to_string).collect();
    assert_eq!(names, ["host/a", "guests/pve1"]);
    assert!(found[&"host/a".parse().unwrap()].is_ok());
    let why = found[&"guests/pve1".parse().unwrap()].clone().unwrap_err();
    assert!(why.contains("its key is not known here"), "{why}");
}
