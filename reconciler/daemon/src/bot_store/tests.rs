use super::*;
use crate::scene::Scene;

const NOW: Time = Time(1_000_000);

fn open(scene: &Scene, me: &str) -> GitStore {
    GitStore::open(
        &scene.path(&format!("{me}.git")),
        Some(scene.there()),
        me,
        30,
    )
    .unwrap()
}

fn files(list: &[(&str, Option<&str>)]) -> BTreeMap<String, Option<Vec<u8>>> {
    let one = |(path, text): &(&str, Option<&str>)| {
        ((*path).to_owned(), text.map(|it| it.as_bytes().to_vec()))
    };
    list.iter().map(one).collect()
}

fn term(lead: &Lead) -> u64 {
    match lead {
        Lead::Ours { term, .. } => *term,
        other @ Lead::Others { .. } => panic!("{other:?}"),
    }
}

fn leads(store: &mut GitStore, now: Time) -> bool {
    matches!(store.lead(now), Ok(Lead::Ours { until, .. }) if until > now)
}

fn text(store: &mut GitStore, path: &str) -> Option<String> {
    let files = store.read(&|it| it == path).unwrap();
    files
        .get(path)
        .map(|it| String::from_utf8(it.clone()).unwrap())
}

#[test]
fn one_leads_the_other_waits_and_reads() {
    let scene = Scene::new();
    let (mut a, mut b) = (open(&scene, "a"), open(&scene, "b"));
    assert_eq!(term(&a.lead(NOW).unwrap()), 1);
    assert_eq!(
        b.lead(NOW.plus(1)).unwrap(),
        Lead::Others {
            who: "a".to_owned(),
            until: NOW.plus(30)
        }
    );
    a.write(
        &files(&[("told/1", Some("x")), ("told/2", Some("y"))]),
        "told",
        NOW.plus(2),
    )
    .unwrap();
    assert_eq!(text(&mut a, "told/1").as_deref(), Some("x"));
    assert_eq!(text(&mut b, "told/1").as_deref(), Some("x"));
    assert_eq!(b.read(&|_| true).unwrap().len(), 2);
    a.write(&files(&[("told/1", None)]), "told", NOW.plus(3))
        .unwrap();
    assert_eq!(text(&mut b, "told/1"), None);
    let error = b.write(&files(&[("told/3", Some("z"))]), "told", NOW.plus(4));
    assert!(matches!(error, Err(StoreError::NotLeading)), "{error:?}");
    let log = scene.git("there.git", &["log", "--format=%s", STATE]);
    assert_eq!(log, "told\ntold");
}

#[test]
fn a_lead_that_ran_out_is_taken_over_and_the_deposed_writes_nothing() {
    let scene = Scene::new();
    let (mut a, mut b) = (open(&scene, "a"), open(&scene, "b"));
    assert_eq!(term(&a.lead(NOW).unwrap()), 1);
    a.write(&files(&[("told", Some("by a"))]), "told", NOW)
        .unwrap();
    assert!(!leads(&mut b, NOW.plus(29)));
    assert_eq!(term(&b.lead(NOW.plus(30)).unwrap()), 2);
    assert_eq!(text(&mut b, "told").as_deref(), Some("by a"));
    // Its clock stood still, so it still believes that it leads.
    let error = a.write(&files(&[("told", Some("by a again"))]), "told", NOW.plus(5));
    assert!(matches!(error, Err(StoreError::NotLeading)), "{error:?}");
    assert_eq!(text(&mut b, "told").as_deref(), Some("by a"));
    b.write(&files(&[("told", Some("by b"))]), "told", NOW.plus(31))
        .unwrap();
    assert_eq!(text(&mut a, "told").as_deref(), Some("by b"));
    assert!(!leads(&mut a, NOW.plus(32)));
    // Time ran out for it by its own clock, too.
    let error = b.write(&files(&[("told", Some("late"))]), "told", NOW.plus(61));
    assert!(matches!(error, Err(StoreError::NotLeading)), "{error:?}");
}

#[test]
fn a_lead_is_kept_with_few_pushes_and_given_back_at_once() {
    let scene = Scene::new();
    let (mut a, mut b) = (open(&scene, "a"), open(&scene, "b"));
    assert!(leads(&mut a, NOW));
    let lease = |scene: &Scene| scene.at(LEASE).unwrap();
    let first = lease(&scene);
    for second in 0..20 {
        assert!(leads(&mut a, NOW.plus(second)));
    }
    assert_eq!(lease(&scene), first, "it was renewed too early");
    assert!(leads(&mut a, NOW.plus(20)));
    assert_ne!(lease(&scene), first);
    assert_eq!(term(&a.lead(NOW.plus(45)).unwrap()), 1);
    // What leads is told to stop before others may begin.
    let Lead::Ours { until, .. } = a.lead(NOW.plus(46)).unwrap() else {
        panic!("it leads")
    };
    assert_eq!(until, NOW.plus(70));
    assert!(!leads(&mut b, NOW.plus(74)));
    a.resign(NOW.plus(47));
    assert_eq!(term(&b.lead(NOW.plus(47)).unwrap()), 2);
    assert!(!leads(&mut a, NOW.plus(48)));
}

#[test]
fn of_two_that_take_the_lead_at_once_one_has_it() {
    for round in 0..4 {
        let scene = Scene::new();
        let stores = [open(&scene, "a"), open(&scene, "b")];
        let leads = std::thread::scope(|scope| {
            stores
                .map(|mut store| scope.spawn(move || store.lead(NOW).unwrap()))
                .map(|thread| thread.join().unwrap())
        });
        let ours = leads.iter().filter(|it| matches!(it, Lead::Ours { .. }));
        assert_eq!(ours.count(), 1, "{round}: {leads:?}");
    }
}

#[test]
fn a_clock_ahead_of_all_others_does_not_lead_for_ever() {
    let scene = Scene::new();
    let (mut a, mut b) = (open(&scene, "a"), open(&scene, "b"));
    assert!(leads(&mut a, NOW.plus(1_000_000)));
    assert!(!leads(&mut b, NOW));
    assert!(!leads(&mut b, NOW.plus(29)));
    // Nobody has renewed it for its whole length.
    assert_eq!(term(&b.lead(NOW.plus(30)).unwrap()), 2);
}

#[test]
fn a_bot_that_starts_again_goes_on_at_once() {
    let scene = Scene::new();
    let mut a = open(&scene, "a");
    assert!(leads(&mut a, NOW));
    a.write(&files(&[("told", Some("1"))]), "told", NOW)
        .unwrap();
    let mut again = open(&scene, "a");
    assert_eq!(term(&again.lead(NOW.plus(1)).unwrap()), 2);
    assert_eq!(text(&mut again, "told").as_deref(), Some("1"));
    // On another machine, where nothing is known.
    std::fs::remove_dir_all(scene.path("a.git")).unwrap();
    let mut elsewhere = open(&scene, "a");
    assert_eq!(term(&elsewhere.lead(NOW.plus(2)).unwrap()), 3);
    assert_eq!(text(&mut elsewhere, "told").as_deref(), Some("1"));
}

#[test]
fn a_store_that_does_not_answer_lets_nobody_act() {
    let scene = Scene::new();
    let (mut a, mut b) = (open(&scene, "a"), open(&scene, "b"));
    assert!(leads(&mut a, NOW));
    std::fs::rename(scene.path("there.git"), scene.path("away.git")).unwrap();
    // It is ours for as long as was said, and no longer.
    assert!(leads(&mut a, NOW.plus(19)));
    assert!(
        a.write(&files(&[("told", Some("1"))]), "told", NOW.plus(19))
            .is_err()
    );
    assert!(a.lead(NOW.plus(28)).is_err());
    assert!(b.lead(NOW).is_err());
    std::fs::rename(scene.path("away.git"), scene.path("there.git")).unwrap();
    assert_eq!(b.read(&|_| true).unwrap(), Files::new());
    assert!(leads(&mut a, NOW.plus(29)));
}

#[test]
fn alone_it_needs_no_ledger_repository() {
    let scene = Scene::new();
    let dir = scene.path("alone.git");
    let mut store = GitStore::open(&dir, None, "a", 30).unwrap();
    assert_eq!(store.read(&|_| true).unwrap(), Files::new());
    assert_eq!(term(&store.lead(NOW).unwrap()), 1);
    store
        .write(&files(&[("told", Some("1"))]), "told", NOW)
        .unwrap();
    assert_eq!(text(&mut store, "told").as_deref(), Some("1"));
    // Another process on the same directory, which should not be.
    let mut other = GitStore::open(&dir, None, "b", 30).unwrap();
    assert!(!leads(&mut other, NOW.plus(1)));
    assert!(leads(&mut other, NOW.plus(30)));
    let error = store.write(&files(&[("told", Some("2"))]), "told", NOW.plus(2));
    assert!(matches!(error, Err(StoreError::NotLeading)), "{error:?}");
    assert_eq!(text(&mut other, "told").as_deref(), Some("1"));
    assert_eq!(term(&other.lead(NOW.plus(31)).unwrap()), 2);
}

#[test]
fn a_lease_that_cannot_be_read_is_said() {
    let scene = Scene::new();
    let mut a = open(&scene, "a");
    assert!(leads(&mut a, NOW));
    let path = scene.path("lease.json");
    std::fs::write(&path, "{\"format\": 9}").unwrap();
    let blob = scene.git("there.git", &["hash-object", "-w", path.to_str().unwrap()]);
    let tree = scene.path("tree");
    std::fs::write(&tree, format!("100644 blob {blob}\tlease.json\n")).unwrap();
    let tree = {
        let output = std::process::Command::new("git")
            .args([
                "--git-dir",
                scene.path("there.git").to_str().unwrap(),
                "mktree",
            ])
            .stdin(std::fs::File::open(&tree).unwrap())
            .output()
            .unwrap();
        String::from_utf8(output.stdout).unwrap().trim().to_owned()
    };
    let commit = scene.git(
        "there.git",
        &[
            "-c",
            "user.name=x",
            "-c",
            "user.email=x@x",
            "commit-tree",
            "-m",
            "x",
            &tree,
        ],
    );
    scene.set(LEASE, &commit.parse().unwrap());
    let error = a.lead(NOW.plus(25)).unwrap_err();
    assert!(matches!(error, StoreError::Lease { .. }), "{error}");
}

#[test]
fn a_lead_that_ran_out_goes_on_in_its_term_where_nobody_took_it() {
    let scene = Scene::new();
    let (mut a, mut b) = (open(&scene, "a"), open(&scene, "b"));
    assert!(leads(&mut a, NOW));
    a.write(&files(&[("told", Some("1"))]), "told", NOW)
        .unwrap();
    assert_eq!(term(&a.lead(NOW.plus(100)).unwrap()), 1);
    assert_eq!(text(&mut a, "told").as_deref(), Some("1"));
    a.write(&files(&[("told", Some("2"))]), "told", NOW.plus(101))
        .unwrap();
    // Somebody led meanwhile, though it is over.
    assert_eq!(term(&b.lead(NOW.plus(200)).unwrap()), 2);
    b.resign(NOW.plus(200));
    assert_eq!(term(&a.lead(NOW.plus(300)).unwrap()), 3);
    assert_eq!(text(&mut a, "told").as_deref(), Some("2"));
}

#[test]
fn between_turns_a_lead_is_renewed_before_a_turn_has_to() {
    let scene = Scene::new();
    let (mut a, mut b) = (open(&scene, "a"), open(&scene, "b"));
    assert!(leads(&mut a, NOW));
    let lease = |scene: &Scene| scene.at(LEASE).unwrap();
    let first = lease(&scene);
    a.renew(NOW.plus(9));
    assert_eq!(lease(&scene), first, "it was renewed too early");
    a.renew(NOW.plus(10));
    let second = lease(&scene);
    assert_ne!(second, first);
    assert!(leads(&mut a, NOW.plus(29)));
    assert_eq!(lease(&scene), second);
    assert!(!leads(&mut b, NOW.plus(39)));
    assert_eq!(term(&b.lead(NOW.plus(40)).unwrap()), 2);
    // It is another one's.
    a.renew(NOW.plus(41));
    assert!(!leads(&mut a, NOW.plus(42)));
    assert!(leads(&mut b, NOW.plus(43)));
}

#[test]
fn to_lead_for_days_takes_no_room() {
    let scene = Scene::new();
    let mut store = GitStore::open(&scene.path("own.git"), None, "a", 30).unwrap();
    let loose = || {
        let objects = std::fs::read_dir(scene.path("own.git/objects")).unwrap();
        let dirs = objects.map(|it| it.unwrap().path());
        let dirs = dirs.filter(|it| it.file_name().unwrap().len() == 2);
        let files = dirs.flat_map(|it| std::fs::read_dir(it).unwrap());
        files.map(|it| it.unwrap().path()).collect::<Vec<_>>()
    };
    let mut renewed = 0..;
    let mut renew = |times: usize| {
        for renewal in renewed.by_ref().take(times) {
            assert!(leads(&mut store, NOW.plus(renewal * 25)));
        }
    };
    renew(120);
    assert!(loose().len() > 300);
    // What nothing leads to any more is kept for an hour: somebody may be about to need it.
    let long_ago = std::time::SystemTime::now() - std::time::Duration::from_secs(7_200);
    for object in loose() {
        let file = std::fs::File::open(object).unwrap();
        file.set_modified(long_ago).unwrap();
    }
    renew(20);
    assert!(loose().len() < 80, "{}", loose().len());
}
