use std::os::unix::fs::PermissionsExt as _;

use muster_core::executor::Executor;
use muster_core::world::Journal as _;

use super::*;

fn commit(digit: char) -> CommitId {
    digit.to_string().repeat(40).parse().unwrap()
}

fn guests(name: &str) -> Executor {
    Executor::Guests(name.to_owned())
}

fn host(name: &str) -> Executor {
    Executor::Host(name.to_owned())
}

struct Fixture {
    _dir: tempfile::TempDir,
    state: StateDir,
}

fn fixture() -> Fixture {
    let dir = tempfile::tempdir().unwrap();
    let state = StateDir::at(&dir.path().join("muster"));
    state.make().unwrap();
    Fixture { _dir: dir, state }
}

fn initialised() -> (Fixture, Lock, Identity) {
    let it = fixture();
    let lock = Lock::take(&it.state, Purpose::Run).unwrap();
    let identity = Identity::random(&host("devvm")).unwrap();
    it.state
        .create(&lock, &identity, &commit('a'), Time(1_000))
        .unwrap();
    (it, lock, identity)
}

#[test]
fn an_executor_is_made_once_and_opened_again() {
    let (it, lock, identity) = initialised();
    assert_eq!(it.state.identity().unwrap(), Some(identity.clone()));
    let opened = it
        .state
        .open(&lock, &host("devvm"), None, Time(2_000))
        .unwrap();
    assert_eq!(
        opened.replayed.facts,
        Facts::genesis(
            &identity.id,
            Executor::Host("devvm".into()),
            commit('a'),
            Time(1_000)
        )
    );
    let again = it
        .state
        .create(
            &lock,
            &Identity::random(&host("other")).unwrap(),
            &commit('b'),
            Time(2_000),
        )
        .unwrap_err();
    assert!(
        matches!(&again, StateError::Exists { name, .. } if name == "devvm"),
        "{again}"
    );
    assert_eq!(
        fs::metadata(it.state.path()).unwrap().permissions().mode() & 0o777,
        0o700
    );
    assert_ne!(
        Identity::random(&host("a")).unwrap().id,
        Identity::random(&host("a")).unwrap().id
    );
}

#[test]
fn nothing_is_made_by_opening() {
    let it = fixture();
    let lock = Lock::take(&it.state, Purpose::Run).unwrap();
    let error = it
        .state
        .open(&lock, &host("devvm"), None, Time(1))
        .unwrap_err();
    assert!(matches!(error, StateError::NotInitialised(_)), "{error}");
    assert!(error.help().unwrap().contains("muster init"));
    assert!(!it.state.journal().exists());
}

#[test]
fn an_init_that_was_cut_short_is_begun_anew_and_a_history_is_not() {
    let (it, lock, _) = initialised();
    fs::remove_file(it.state.identity_file()).unwrap();
    let error = it
        .state
        .open(&lock, &host("devvm"), None, Time(1))
        .unwrap_err();
    assert!(matches!(error, StateError::NotInitialised(_)), "{error}");
    let identity = Identity::random(&host("devvm")).unwrap();
    it.state
        .create(&lock, &identity, &commit('b'), Time(1_000))
        .unwrap();
    let mut opened = it.state.open(&lock, &host("devvm"), None, Time(1)).unwrap();
    opened
        .journal
        .append(&Entry::Adopted {
            at: Time(1_001),
            commit: commit('c'),
        })
        .unwrap();
    fs::remove_file(it.state.identity_file()).unwrap();
    let error = it
        .state
        .create(&lock, &identity, &commit('b'), Time(1_000))
        .unwrap_err();
    assert!(matches!(error, StateError::Orphaned(_)), "{error}");
}

#[test]
fn a_changed_name_freezes_until_it_is_put_back() {
    let (it, lock, _) = initialised();
    let renamed = it
        .state
        .open(&lock, &host("other"), None, Time(1))
        .unwrap()
        .replayed
        .facts;
    assert_eq!(
        renamed.frozen,
        Some(Frozen::Renamed {
            pinned: "devvm".into(),
            found: "other".into()
        })
    );
    let ledger = (
        renamed,
        it.state
            .open(&lock, &host("devvm"), None, Time(1))
            .unwrap()
            .journal
            .through(),
    );
    assert_eq!(
        it.state
            .look(&host("devvm"), Some(ledger))
            .unwrap()
            .facts
            .frozen,
        None
    );
}

#[test]
fn without_its_journal_an_executor_is_lost_and_goes_on_from_the_ledger() {
    let (it, lock, identity) = initialised();
    let opened = it.state.open(&lock, &host("devvm"), None, Time(1)).unwrap();
    let ledger = (opened.replayed.facts.clone(), opened.journal.through());
    drop(opened);
    fs::remove_dir_all(it.state.journal()).unwrap();
    let error = it
        .state
        .open(&lock, &host("devvm"), None, Time(1))
        .unwrap_err();
    assert!(
        matches!(&error, StateError::Lost { id } if *id == identity.id),
        "{error}"
    );
    assert!(!it.state.journal().exists());
    assert_eq!(
        it.state
            .look(&host("devvm"), Some(ledger.clone()))
            .unwrap()
            .facts
            .frozen,
        Some(Frozen::Lost)
    );
    for _ in 0..2 {
        let opened = it
            .state
            .open(&lock, &host("devvm"), Some(ledger.clone()), Time(2_000))
            .unwrap();
        assert_eq!(opened.replayed.facts.frozen, Some(Frozen::Lost));
        assert_eq!(opened.journal.through().sequence, 2);
    }
}

#[test]
fn parts_of_two_executors_do_not_mix() {
    let (it, lock, _) = initialised();
    let (other, other_lock, _) = initialised();
    let opened = other
        .state
        .open(&other_lock, &host("devvm"), None, Time(1))
        .unwrap();
    let ledger = (opened.replayed.facts, opened.journal.through());
    let error = it
        .state
        .open(&lock, &host("devvm"), Some(ledger), Time(1))
        .unwrap_err();
    assert!(
        matches!(error, StateError::Mixed { what: "ledger", .. }),
        "{error}"
    );
    fs::copy(other.state.identity_file(), it.state.identity_file()).unwrap();
    // As on a machine where neither of the two ran.
    fs::remove_file(mark_of(&it)).unwrap();
    let error = it
        .state
        .open(&lock, &host("devvm"), None, Time(1))
        .unwrap_err();
    assert!(
        matches!(
            error,
            StateError::Mixed {
                what: "journal",
                ..
            }
        ),
        "{error}"
    );
}

#[test]
fn an_identity_that_is_damaged_or_newer_is_not_taken_for_none() {
    let (it, _lock, _) = initialised();
    for (text, says) in [
        ("format = 1\nid = \"\"\nname = \"a\"\n", "32 hex digits"),
        ("format = 1\n", "missing field"),
        ("", "missing field"),
        ("format = 2\nwhatever = true\n", "has format 2"),
    ] {
        fs::write(it.state.identity_file(), text).unwrap();
        let error = it.state.identity().unwrap_err().to_string();
        assert!(error.contains(says), "{error}");
    }
}

#[test]
fn the_second_process_learns_who_has_the_lock() {
    let it = fixture();
    assert_eq!(Lock::holder(&it.state).unwrap(), None);
    let lock = Lock::take(&it.state, Purpose::Other("init")).unwrap();
    let error = Lock::take(&it.state, Purpose::Run).unwrap_err();
    assert_eq!(
        error.to_string(),
        format!(
            "`muster init` (process {}) is at work here",
            std::process::id()
        )
    );
    // Only the daemon is woken: the signal would end anything else.
    assert!(matches!(poke(&it.state), Err(StateError::Held { .. })));
    drop(lock);
    assert_eq!(Lock::holder(&it.state).unwrap(), None);
    assert!(matches!(poke(&it.state), Err(StateError::NotRunning(_))));
    let _lock = Lock::take(&it.state, Purpose::Run).unwrap();
}

#[test]
fn a_directory_that_is_open_to_others_is_refused() {
    let it = fixture();
    fs::set_permissions(it.state.path(), fs::Permissions::from_mode(0o750)).unwrap();
    let error = it.state.make().unwrap_err();
    assert!(
        error.to_string().ends_with("is open to others (mode 0750)"),
        "{error}"
    );
}

fn adopting(digit: char, at: i64) -> Entry {
    Entry::Adopted {
        at: Time(at),
        commit: commit(digit),
    }
}

/// What the journal of `it` says so far, as the ledger would have it.
fn ledger_of(it: &Fixture, lock: &Lock, ledger: Option<LedgerFacts>) -> LedgerFacts {
    let opened = it
        .state
        .open(lock, &host("devvm"), ledger, Time(1))
        .unwrap();
    (opened.replayed.facts, opened.journal.through())
}

#[test]
fn an_older_copy_of_the_journal_freezes_on_what_the_ledger_says() {
    let (it, lock, _) = initialised();
    let segment = it.state.journal().join("00000001.log");
    let old = fs::read(&segment).unwrap();
    let mut opened = it.state.open(&lock, &host("devvm"), None, Time(1)).unwrap();
    opened.journal.append(&adopting('b', 1_001)).unwrap();
    drop(opened);
    let ledger = ledger_of(&it, &lock, None);
    fs::write(&segment, &old).unwrap();
    let why = Some(Frozen::Behind {
        journal: 1,
        ledger: 2,
    });
    let looked = it.state.look(&host("devvm"), Some(ledger.clone())).unwrap();
    assert_eq!(looked.facts.frozen, why);
    assert_eq!(fs::read(&segment).unwrap(), old, "a look changes nothing");
    for _ in 0..2 {
        let ledger = Some(ledger.clone());
        let opened = it
            .state
            .open(&lock, &host("devvm"), ledger, Time(2_000))
            .unwrap();
        let facts = &opened.replayed.facts;
        assert_eq!((&facts.frozen, &facts.adopted), (&why, &commit('b')));
        assert_eq!(opened.journal.through().sequence, 3);
    }
    let aside = it.state.path().join("journal.old-1");
    assert_eq!(fs::read(aside.join("00000001.log")).unwrap(), old);
    assert!(!it.state.path().join("journal.old-2").exists());
}

#[test]
fn an_older_copy_of_the_ledger_freezes_on_the_commit_that_the_journal_says() {
    let (it, lock, _) = initialised();
    let old = ledger_of(&it, &lock, None);
    let mut opened = it.state.open(&lock, &host("devvm"), None, Time(1)).unwrap();
    opened.journal.append(&adopting('b', 1_001)).unwrap();
    drop(opened);
    let newer = ledger_of(&it, &lock, None);
    // While the journal has it all, an older ledger costs nothing.
    let whole = it.state.look(&host("devvm"), Some(old.clone())).unwrap();
    assert_eq!(whole.facts, newer.0);

    // What the ledger had taken in is gone from the journal, which says nothing more: not to be guessed.
    fs::remove_dir_all(it.state.journal()).unwrap();
    make_private(&it.state.journal()).unwrap();
    let behind = Entry::Attempted {
        at: Time(1_002),
        commit: commit('c'),
        problem: "no".into(),
    };
    let mut journal = Journal::create(&it.state.journal(), &newer.1, &behind).unwrap();
    let error = it
        .state
        .open(&lock, &host("devvm"), Some(old.clone()), Time(1))
        .unwrap_err();
    assert!(
        matches!(error, StateError::Journal(JournalError::Gap { .. })),
        "{error}"
    );
    assert!(error.help().unwrap().contains("ledger.git"), "{error}");

    // It tells what was enforced last, and that goes on.
    journal.append(&adopting('d', 1_003)).unwrap();
    drop(journal);
    let why = Some(Frozen::Gap {
        journal: 3,
        ledger: 1,
    });
    let looked = it
        .state
        .look(&host("devvm"), Some(old.clone()))
        .unwrap()
        .facts;
    assert_eq!((looked.frozen, looked.adopted), (why.clone(), commit('d')));
    for _ in 0..2 {
        let facts = ledger_of(&it, &lock, Some(old.clone())).0;
        assert_eq!((facts.frozen, facts.adopted), (why.clone(), commit('d')));
    }
}

#[test]
fn a_directory_of_another_kind_or_name_is_refused() {
    let it = fixture();
    let lock = Lock::take(&it.state, Purpose::Run).unwrap();
    let identity = Identity::random(&guests("pve1")).unwrap();
    it.state
        .create(&lock, &identity, &commit('a'), Time(1_000))
        .unwrap();
    let text = fs::read_to_string(it.state.identity_file()).unwrap();
    assert!(text.contains("name = \"guests/pve1\"\n"), "{text}");
    let opened = it
        .state
        .open(&lock, &guests("pve1"), None, Time(1))
        .unwrap();
    assert_eq!(opened.replayed.facts.executor.to_string(), "guests/pve1");
    assert_eq!(opened.replayed.facts.frozen, None);
    assert_eq!(identity.ledger_ref(), "refs/muster/guests/pve1");
    for other in [
        guests("pve2"),
        host("pve1"),
        Executor::Ca("pve1".to_owned()),
    ] {
        let errors = [
            it.state.open(&lock, &other, None, Time(1)).unwrap_err(),
            it.state.look(&other, None).unwrap_err(),
        ];
        for error in errors {
            let said = error.to_string();
            let end = format!("is the state directory of guests/pve1, not of {other}");
            assert!(said.ends_with(&end), "{said}");
        }
    }
    // And a host's is no hypervisor's.
    let (it, lock, _) = initialised();
    let error = it
        .state
        .open(&lock, &guests("devvm"), None, Time(1))
        .unwrap_err();
    assert!(matches!(error, StateError::Other { .. }), "{error}");
}

#[test]
fn a_pinned_name_that_no_executor_has_is_refused() {
    let (it, _lock, _) = initialised();
    let text = fs::read_to_string(it.state.identity_file()).unwrap();
    fs::write(
        it.state.identity_file(),
        text.replace("devvm", "moon/devvm"),
    )
    .unwrap();
    let error = it.state.identity().unwrap_err();
    assert!(matches!(error, StateError::Identity { .. }), "{error}");
}

/// A copy of a directory, as `cp -a` makes one.
fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let to = to.join(entry.file_name());
        if entry.file_type().unwrap().is_dir() {
            copy(&entry.path(), &to);
        } else {
            fs::copy(entry.path(), &to).unwrap();
        }
    }
    fs::set_permissions(to, fs::metadata(from).unwrap().permissions()).unwrap();
}

fn put_back(it: &Fixture, copied: &Path) {
    fs::remove_dir_all(it.state.path()).unwrap();
    copy(copied, it.state.path());
}

fn open(it: &Fixture, lock: &Lock) -> Result<Opened, StateError> {
    it.state.open(lock, &host("devvm"), None, Time(3_000))
}

fn adopted(digit: char) -> Entry {
    Entry::Adopted {
        at: Time(2_000),
        commit: commit(digit),
    }
}

/// What begins a batch, whatever is in it.
fn begun() -> [Entry; 2] {
    let authority = muster_core::journal::Authority::Benign {
        commit: commit('b'),
    };
    let (at, steps, results) = (Time(2_001), Vec::new(), Vec::new());
    [
        Entry::Intended {
            at,
            steps,
            authority,
        },
        Entry::Outcome { at, results },
    ]
}

fn mark_of(it: &Fixture) -> PathBuf {
    let dir = it.state.path().parent().unwrap();
    dir.join("muster-mark/host/devvm")
}

#[test]
fn an_older_copy_of_the_directory_does_nothing_until_somebody_has_looked() {
    let (it, lock, _) = initialised();
    let backup = it.state.path().with_file_name("backup");
    drop(open(&it, &lock).unwrap());
    copy(it.state.path(), &backup);
    let mut opened = open(&it, &lock).unwrap();
    opened.journal.append(&adopted('b')).unwrap();
    for entry in begun() {
        opened.journal.append(&entry).unwrap();
    }
    drop(opened);
    assert_eq!(open(&it, &lock).unwrap().replayed.facts.frozen, None);

    put_back(&it, &backup);
    let looked = it.state.look(&host("devvm"), None).unwrap();
    let why = Frozen::Older {
        journal: 1,
        mark: 4,
    };
    assert_eq!(looked.facts.frozen, Some(why.clone()));
    let mut opened = open(&it, &lock).unwrap();
    assert_eq!(opened.replayed.facts.frozen, Some(why.clone()));
    assert!(why.holds_everything());
    // It stays so, whatever is written by then, until a person says otherwise.
    for entry in begun() {
        opened.journal.append(&entry).unwrap();
    }
    drop(opened);
    let mut opened = open(&it, &lock).unwrap();
    assert_eq!(opened.replayed.facts.frozen, Some(why));
    opened
        .journal
        .append(&Entry::Reset {
            at: Time(3_000),
            commit: commit('b'),
            who: "ann".into(),
            reason: "it was put back".into(),
            nonce: None,
        })
        .unwrap();
    drop(opened);
    for _ in 0..2 {
        assert_eq!(open(&it, &lock).unwrap().replayed.facts.frozen, None);
    }
}

#[test]
fn marks_lie_beside_the_state_of_all_kinds() {
    for (dir, executor, mark) in [
        (
            "/var/lib/muster",
            host("devvm"),
            "/var/lib/muster-mark/host/devvm",
        ),
        ("/srv/state", host("devvm"), "/srv/state-mark/host/devvm"),
        ("/srv/x-host/devvm", host("devvm"), "/srv/x-mark/host/devvm"),
        (
            "/var/lib/muster-guests/pve1",
            guests("pve1"),
            "/var/lib/muster-mark/guests/pve1",
        ),
        ("/srv/pve1", guests("pve1"), "/srv/pve1-mark/guests/pve1"),
    ] {
        let identity = Identity::random(&executor).unwrap();
        assert_eq!(
            mark::path_of(Path::new(dir), &identity),
            Path::new(mark),
            "{dir}"
        );
    }
}

#[test]
fn what_a_person_decided_is_marked_without_an_effect() {
    let (it, lock, _) = initialised();
    drop(open(&it, &lock).unwrap());
    let backup = it.state.path().with_file_name("backup");
    copy(it.state.path(), &backup);
    let suspended = Entry::Suspended {
        at: Time(2_000),
        who: "ann".into(),
        reason: "a disk is changed".into(),
        until: None,
    };
    let mut opened = open(&it, &lock).unwrap();
    opened.journal.append(&suspended).unwrap();
    drop(opened);
    put_back(&it, &backup);
    let frozen = open(&it, &lock).unwrap().replayed.facts.frozen;
    assert!(matches!(frozen, Some(Frozen::Older { .. })), "{frozen:?}");
}

#[test]
fn a_mark_that_is_gone_is_noticed_and_only_an_upgrade_may_find_none() {
    let (it, lock, _) = initialised();
    drop(open(&it, &lock).unwrap());
    fs::remove_dir_all(mark_of(&it).ancestors().nth(2).unwrap()).unwrap();
    let frozen = open(&it, &lock).unwrap().replayed.facts.frozen;
    assert_eq!(frozen, Some(Frozen::Unmarked));
    assert!(mark_of(&it).exists());

    let (it, lock, identity) = initialised();
    fs::remove_dir_all(mark_of(&it).ancestors().nth(2).unwrap()).unwrap();
    // As older versions wrote it.
    let text = fs::read_to_string(it.state.identity_file()).unwrap();
    fs::write(
        it.state.identity_file(),
        text.replace("marked = true\n", ""),
    )
    .unwrap();
    assert_eq!(open(&it, &lock).unwrap().replayed.facts.frozen, None);
    assert!(mark_of(&it).exists());
    assert_eq!(it.state.identity().unwrap(), Some(identity));
}

/// F16.
#[test]
fn a_directory_of_another_machine_of_that_name_is_refused() {
    let (it, lock, identity) = initialised();
    drop(open(&it, &lock).unwrap());
    let (other, _lock, theirs) = initialised();
    put_back(&it, other.state.path());
    let error = open(&it, &lock).unwrap_err();
    assert!(
        matches!(&error, StateError::Copied { ours, theirs: by_mark, .. } if *ours == theirs.id && *by_mark == identity.id),
        "{error}"
    );
    assert!(it.state.look(&host("devvm"), None).is_err());
}

#[test]
fn whoever_begins_anew_takes_up_nothing_that_ran_before() {
    let (it, lock, identity) = initialised();
    drop(open(&it, &lock).unwrap());
    let nonce = muster_core::release::Nonce([7; 16]);
    let path = mark_of(&it);
    let found = mark::read(&path).unwrap();
    let mut mark = Mark::open(path, &identity, found).unwrap();
    mark.add(nonce);
    mark.write(&Through::default()).unwrap();
    fs::remove_dir_all(it.state.path()).unwrap();
    it.state.make().unwrap();
    let anew = Identity::random(&host("devvm")).unwrap();
    it.state
        .create(&lock, &anew, &commit('a'), Time(5_000))
        .unwrap();
    let facts = open(&it, &lock).unwrap().replayed.facts;
    assert_eq!((facts.frozen, facts.spent), (None, [nonce].into()));
}

#[test]
fn a_mark_that_was_cut_short_is_the_one_before_it_and_a_damaged_one_stops() {
    let (it, lock, identity) = initialised();
    drop(open(&it, &lock).unwrap());
    let path = mark_of(&it);
    let through = |sequence| Through {
        sequence,
        chain: "00".repeat(32),
    };
    let whole = fs::read(&path).unwrap();
    for number in 0..400_u64 {
        let found = mark::read(&path).unwrap();
        let mut mark = Mark::open(path.clone(), &identity, found.clone()).unwrap();
        let mut nonce = [0; 16];
        nonce[..8].copy_from_slice(&number.to_be_bytes());
        mark.add(muster_core::release::Nonce(nonce));
        mark.write(&through(number)).unwrap();
        let now = mark::read(&path).unwrap().unwrap();
        assert_eq!(now.through, through(number));
        // The slot that was written last is cut short anywhere.
        let bytes = fs::read(&path).unwrap();
        assert_eq!(bytes.len(), whole.len());
        if number % 50 == 0 {
            for (place, slot) in bytes.chunks(bytes.len() / 2).enumerate() {
                let mut torn = bytes.clone();
                torn[place * slot.len() + 20] ^= 1;
                fs::write(&path, &torn).unwrap();
                let read = mark::read(&path).unwrap();
                assert!(read == found || read.as_ref() == Some(&now), "{read:?}");
            }
            fs::write(&path, &bytes).unwrap();
        }
    }
    assert_eq!(mark::read(&path).unwrap().unwrap().nonces.len(), 128);
    for damage in [&b""[..], b"{}", &[0; 16_384]] {
        fs::write(&path, damage).unwrap();
        let error = open(&it, &lock).unwrap_err();
        assert!(matches!(error, StateError::Mark { .. }), "{error}");
    }
}
