use std::collections::BTreeSet;

use muster_core::accounts::action::Action;
use muster_core::commit::CommitId;
use muster_core::journal::{Authority, StepResult};
use muster_core::time::Time;
use muster_core::world::Journal as _;
use proptest::prelude::*;

use super::segment::Medium;
use super::*;

fn read(dir: &Path, ledger: Option<(Facts, Through)>) -> Result<Replayed, JournalError> {
    super::read(dir, &mut { ledger })
}

fn commit(digit: char) -> CommitId {
    digit.to_string().repeat(40).parse().unwrap()
}

fn genesis() -> Entry {
    Entry::Genesis {
        at: Time(1_000),
        executor_id: "ab".repeat(16),
        name: "devvm".into(),
        adopt: commit('a'),
    }
}

fn adopted(at: i64) -> Entry {
    Entry::Adopted {
        at: Time(at),
        commit: commit('b'),
    }
}

fn attempted(at: i64, problem: &str) -> Entry {
    Entry::Attempted {
        at: Time(at),
        commit: commit('c'),
        problem: problem.to_owned(),
    }
}

fn intended(at: i64, steps: usize) -> Entry {
    let executor = muster_core::executor::Executor::Host("devvm".into());
    let steps = (0..steps)
        .map(|number| {
            let action = Action::LockPassword {
                user: format!("u{number}"),
            };
            let incarnation = muster_core::accounts::action::Incarnation::New { generation: 0 };
            muster_core::step::Step::new(&executor, action, incarnation).into()
        })
        .collect();
    Entry::Intended {
        at: Time(at),
        steps,
        authority: Authority::Benign {
            commit: commit('b'),
        },
    }
}

fn outcome(at: i64, steps: usize) -> Entry {
    Entry::Outcome {
        at: Time(at),
        results: vec![StepResult::Done; steps],
    }
}

fn story() -> Vec<Entry> {
    vec![
        genesis(),
        adopted(1_001),
        intended(1_002, 2),
        outcome(1_003, 2),
        attempted(1_004, "no"),
    ]
}

fn fold(entries: &[Entry]) -> Replayed {
    let mut replayed = Replayed::begin(&entries[0]).unwrap();
    for entry in &entries[1..] {
        replayed.apply(entry).unwrap();
    }
    replayed
}

fn write(dir: &Path, entries: &[Entry]) -> Journal {
    let mut journal = Journal::create(dir, &Through::default(), &entries[0]).unwrap();
    for entry in &entries[1..] {
        journal.append(entry).unwrap();
    }
    journal
}

fn only_segment(dir: &Path) -> PathBuf {
    dir.join(file_name(1))
}

#[test]
fn what_was_appended_is_read_back_and_goes_on() {
    let dir = tempfile::tempdir().unwrap();
    let through = write(dir.path(), &story()).through();
    let Opened {
        mut journal,
        replayed,
        torn,
    } = Journal::open(dir.path(), None).unwrap();
    assert_eq!((replayed, torn), (fold(&story()), 0));
    assert_eq!(journal.through(), through);
    assert_eq!(through.sequence, 5);
    journal.append(&adopted(1_005)).unwrap();
    assert_eq!(read(dir.path(), None).unwrap().facts.latest, Time(1_005));
}

#[test]
fn the_bytes_on_disk_are_pinned() {
    let dir = tempfile::tempdir().unwrap();
    write(dir.path(), &story()[..2]);
    let bytes = fs::read(only_segment(dir.path())).unwrap();
    let hash: [u8; 32] =
        sha2::Digest::finalize(<sha2::Sha256 as sha2::Digest>::new_with_prefix(&bytes)).into();
    let hex = muster_core::bytes::hex(&hash);
    assert!(bytes.starts_with(b"muster-journal/1 00000000000000000001 0000"));
    assert_eq!(
        hex, PINNED,
        "the format changed: raise FORMAT, and read the old one as before"
    );
}

const PINNED: &str = "90530bb64e8467f421bd9b04cdc52b69e740971bc5918a837d310b0817a35b44";

#[test]
fn an_open_batch_is_in_doubt_after_a_restart() {
    let dir = tempfile::tempdir().unwrap();
    write(dir.path(), &story()[..3]);
    let replayed = read(dir.path(), None).unwrap();
    assert_eq!(replayed.open.unwrap().steps.len(), 2);
}

#[test]
fn a_record_torn_at_any_byte_is_dropped_and_nothing_else() {
    let dir = tempfile::tempdir().unwrap();
    let entries = story();
    let before = write(dir.path(), &entries[..4]);
    let good = before.last.len();
    drop(before);
    let mut journal = Journal::open(dir.path(), None).unwrap().journal;
    journal.append(&entries[4]).unwrap();
    drop(journal);
    let bytes = fs::read(only_segment(dir.path())).unwrap();
    for len in good..bytes.len() as u64 {
        let end = usize::try_from(len).unwrap();
        // Cut short, and grown without the data having arrived.
        let grown = [&bytes[..end], &vec![0; bytes.len() - end]].concat();
        for torn in [bytes[..end].to_vec(), grown] {
            // A last byte that happens to be zero makes the grown one whole.
            let whole = torn == bytes;
            let dir = tempfile::tempdir().unwrap();
            fs::write(only_segment(dir.path()), &torn).unwrap();
            let opened = Journal::open(dir.path(), None);
            // Of a hash that lacks no more than its last bytes, nobody can tell whether they are missing or damaged.
            if torn.len() == bytes.len() && !whole && end > bytes.len() - 4 {
                let error = opened.unwrap_err();
                assert!(
                    matches!(error, JournalError::Damaged { offset, .. } if offset == good),
                    "{len}: {error}"
                );
                continue;
            }
            let Opened {
                mut journal,
                replayed,
                torn: dropped,
            } = opened.unwrap_or_else(|error| panic!("{len}: {error}"));
            if whole {
                continue;
            }
            assert_eq!(replayed, fold(&entries[..4]), "{len}");
            assert_eq!(dropped, torn.len() as u64 - good);
            journal.append(&entries[4]).unwrap();
            assert_eq!(fs::read(only_segment(dir.path())).unwrap(), bytes, "{len}");
        }
    }
}

#[test]
fn every_flipped_bit_is_damage_with_a_place() {
    let dir = tempfile::tempdir().unwrap();
    write(dir.path(), &story());
    let path = only_segment(dir.path());
    let bytes = fs::read(&path).unwrap();
    for at in 0..bytes.len() {
        for bit in [0, 3, 7] {
            let mut flipped = bytes.clone();
            flipped[at] ^= 1 << bit;
            fs::write(&path, &flipped).unwrap();
            let error = Journal::open(dir.path(), None)
                .map(|it| it.replayed)
                .unwrap_err();
            match error {
                JournalError::Damaged { offset, .. } => assert!(offset <= at as u64, "{at}.{bit}"),
                // The digit of the format.
                JournalError::Newer { .. } => assert_eq!(at, 15),
                other => panic!("{at}.{bit}: {other}"),
            }
            assert_eq!(
                fs::read(&path).unwrap(),
                flipped,
                "damage is left as it was found"
            );
        }
    }
}

#[test]
fn a_newer_format_is_not_written_to() {
    let dir = tempfile::tempdir().unwrap();
    write(dir.path(), &story());
    let path = only_segment(dir.path());
    let mut bytes = fs::read(&path).unwrap();
    bytes[15] = b'2';
    fs::write(&path, &bytes).unwrap();
    let error = Journal::open(dir.path(), None).unwrap_err();
    assert!(
        matches!(&error, JournalError::Newer { found, .. } if found == "2"),
        "{error}"
    );
    assert_eq!(fs::read(&path).unwrap(), bytes);
}

#[test]
fn an_intact_record_of_the_future_is_not_called_damage() {
    let dir = tempfile::tempdir().unwrap();
    let mut journal = write(dir.path(), &story()[..1]);
    assert!(matches!(
        journal.last.append(br#"{"suspended":{"at":5}}"#, None),
        Appended::Durable
    ));
    let error = Journal::open(dir.path(), None).unwrap_err();
    assert!(
        matches!(error, JournalError::NotUnderstood { sequence: 2, .. }),
        "{error}"
    );
}

#[test]
fn entries_out_of_order_are_refused_with_their_number() {
    let dir = tempfile::tempdir().unwrap();
    write(dir.path(), &[genesis(), outcome(1_001, 1)]);
    let error = Journal::open(dir.path(), None).unwrap_err();
    assert!(
        matches!(
            error,
            JournalError::OutOfOrder {
                sequence: 2,
                source: OutOfOrder::Outcome,
                ..
            }
        ),
        "{error}"
    );
}

/// A journal of several small segments, and how far it reaches after each entry.
fn segmented(dir: &Path, entries: &[Entry]) -> (Journal, Vec<Through>) {
    let mut journal = Journal::create(dir, &Through::default(), &entries[0]).unwrap();
    journal.segment_bytes = 1;
    let mut reached = vec![journal.through()];
    for entry in &entries[1..] {
        journal.append(entry).unwrap();
        reached.push(journal.through());
    }
    (journal, reached)
}

fn names(dir: &Path) -> BTreeSet<String> {
    fs::read_dir(dir)
        .unwrap()
        .map(|it| it.unwrap().file_name().into_string().unwrap())
        .collect()
}

fn only(name: &str) -> BTreeSet<String> {
    [name.to_owned()].into()
}

#[test]
fn segments_follow_one_another_and_an_outcome_stays_with_its_intent() {
    let dir = tempfile::tempdir().unwrap();
    segmented(dir.path(), &story());
    assert_eq!(
        names(dir.path()),
        [
            "00000001.log",
            "00000002.log",
            "00000003.log",
            "00000004.log"
        ]
        .map(String::from)
        .into()
    );
    assert_eq!(read(dir.path(), None).unwrap(), fold(&story()));
    fs::write(dir.path().join("00000005.log.new"), "half a hea").unwrap();
    Journal::open(dir.path(), None).unwrap();
    assert!(!names(dir.path()).contains("00000005.log.new"));
    fs::remove_file(dir.path().join("00000002.log")).unwrap();
    let error = Journal::open(dir.path(), None).unwrap_err();
    assert!(
        error
            .to_string()
            .contains("00000002.log, byte 0: this segment is missing"),
        "{error}"
    );
}

#[test]
fn a_short_segment_in_the_middle_is_damage() {
    let dir = tempfile::tempdir().unwrap();
    segmented(dir.path(), &story());
    let path = dir.path().join("00000002.log");
    let bytes = fs::read(&path).unwrap();
    for len in 0..bytes.len() {
        fs::write(&path, &bytes[..len]).unwrap();
        let error = Journal::open(dir.path(), None).unwrap_err();
        assert!(
            matches!(error, JournalError::Damaged { .. }),
            "{len}: {error}"
        );
    }
}

#[test]
fn segments_are_dropped_only_once_the_ledger_contains_them() {
    let entries = story();
    for kept in 1..=entries.len() {
        let dir = tempfile::tempdir().unwrap();
        let (mut journal, reached) = segmented(dir.path(), &entries);
        let ledger = (fold(&entries[..kept]).facts, reached[kept - 1].clone());
        journal.truncate_through(&ledger.1).unwrap();
        let after = Journal::open(dir.path(), Some(ledger))
            .unwrap_or_else(|error| panic!("{kept}: {error}"));
        assert_eq!(after.replayed.facts, fold(&entries).facts, "{kept}");
        assert_eq!(after.journal.through(), reached[entries.len() - 1]);
    }
}

#[test]
fn an_open_batch_keeps_its_segment_although_the_ledger_is_past_it() {
    let dir = tempfile::tempdir().unwrap();
    let entries = [
        genesis(),
        intended(1_001, 1),
        adopted(1_002),
        adopted(1_003),
    ];
    let (mut journal, reached) = segmented(dir.path(), &entries);
    journal.truncate_through(&reached[3]).unwrap();
    assert!(names(dir.path()).contains("00000002.log"));
    let replayed = read(dir.path(), Some((fold(&entries).facts, reached[3].clone()))).unwrap();
    assert_eq!(replayed.open.unwrap().steps.len(), 1);
}

#[test]
fn a_journal_from_a_backup_does_not_pass_for_the_newest() {
    let dir = tempfile::tempdir().unwrap();
    let (mut journal, reached) = segmented(dir.path(), &story());
    let facts = fold(&story()).facts;
    let ahead = Through {
        sequence: 6,
        chain: "0".repeat(64),
    };
    assert!(matches!(
        journal.truncate_through(&ahead),
        Err(JournalError::Behind { .. })
    ));
    let behind = read(dir.path(), Some((facts.clone(), ahead))).unwrap_err();
    assert!(
        matches!(
            behind,
            JournalError::Behind {
                journal: 5,
                ledger: 6,
                ..
            }
        ),
        "{behind}"
    );
    let other = Through {
        sequence: 4,
        chain: reached[4].chain.clone(),
    };
    let forked = read(dir.path(), Some((facts.clone(), other))).unwrap_err();
    assert!(
        matches!(forked, JournalError::Forked { sequence: 4, .. }),
        "{forked}"
    );
    fs::remove_file(dir.path().join("00000001.log")).unwrap();
    let gap = read(dir.path(), None).unwrap_err();
    assert!(
        matches!(
            gap,
            JournalError::Gap {
                journal: 2,
                ledger: 0,
                ..
            }
        ),
        "{gap}"
    );
}

#[test]
fn a_new_journal_goes_on_behind_the_ledger() {
    let dir = tempfile::tempdir().unwrap();
    let (_, reached) = segmented(dir.path(), &story());
    let facts = fold(&story()).facts;
    let anew = tempfile::tempdir().unwrap();
    let first = Entry::Frozen {
        at: Time(2_000),
        why: muster_core::facts::Frozen::Lost,
    };
    let journal = Journal::create(anew.path(), &reached[4], &first).unwrap();
    assert_eq!(journal.through().sequence, 6);
    let replayed = read(anew.path(), Some((facts, reached[4].clone()))).unwrap();
    assert_eq!(
        replayed.facts.frozen,
        Some(muster_core::facts::Frozen::Lost)
    );
    assert!(matches!(
        Journal::create(anew.path(), &reached[4], &first),
        Err(JournalError::Io { act: "create", .. })
    ));
}

/// A medium on which one act fails, so many times.
#[derive(Debug)]
struct Failing {
    inner: Box<dyn Medium>,
    act: &'static str,
    left: u32,
}

impl Failing {
    fn fail(&mut self, act: &str) -> io::Result<()> {
        if self.left > 0 && self.act.contains(act) {
            self.left -= 1;
            return Err(io::ErrorKind::StorageFull.into());
        }
        Ok(())
    }
}

impl Medium for Failing {
    fn append(&mut self, bytes: &[u8]) -> io::Result<()> {
        if let Err(error) = self.fail("append") {
            self.inner.append(&bytes[..bytes.len() / 2])?;
            return Err(error);
        }
        self.inner.append(bytes)
    }
    fn sync(&mut self) -> io::Result<()> {
        self.fail("sync")?;
        self.inner.sync()
    }
    fn cut(&mut self, len: u64) -> io::Result<()> {
        self.fail("cut")?;
        self.inner.cut(len)
    }
    fn reserve(&mut self, len: u64) -> io::Result<()> {
        self.fail("reserve")?;
        self.inner.reserve(len)
    }
}

fn failing(dir: &Path, act: &'static str) -> Journal {
    let mut journal = write(dir, &story()[..2]);
    // Room is asked for three times, for less each time.
    let left = match act {
        "reserve" => 3,
        _ => u32::try_from(act.split('+').count()).unwrap(),
    };
    journal
        .last
        .replace_medium(|inner| Box::new(Failing { inner, act, left }));
    journal
}

#[test]
fn an_append_that_failed_is_undone_and_can_be_tried_again() {
    for act in ["append", "reserve"] {
        let dir = tempfile::tempdir().unwrap();
        let mut journal = failing(dir.path(), act);
        // More than is already kept, so that room must be asked for.
        assert!(journal.append(&intended(1_002, 4_000)).is_err(), "{act}");
        assert_eq!(
            read(dir.path(), None).unwrap(),
            fold(&story()[..2]),
            "{act}"
        );
        journal.append(&story()[2]).unwrap();
        assert_eq!(
            read(dir.path(), None).unwrap(),
            fold(&story()[..3]),
            "{act}"
        );
    }
}

#[test]
fn after_a_failed_sync_or_cut_the_file_is_not_trusted_any_more() {
    for act in ["sync", "append+cut"] {
        let dir = tempfile::tempdir().unwrap();
        let mut journal = failing(dir.path(), act);
        assert!(
            matches!(journal.append(&story()[2]), Err(JournalError::Io { .. })),
            "{act}"
        );
        assert!(
            matches!(journal.append(&story()[2]), Err(JournalError::Poisoned)),
            "{act}"
        );
        // A new process finds out what is there: the whole record or none.
        let replayed = Journal::open(dir.path(), None).unwrap().replayed;
        let whole = if act == "sync" { 3 } else { 2 };
        assert_eq!(replayed, fold(&story()[..whole]), "{act}");
    }
}

#[test]
fn an_outcome_asks_for_no_room_because_its_intent_did() {
    let dir = tempfile::tempdir().unwrap();
    let mut journal = write(dir.path(), &story()[..3]);
    journal.last.replace_medium(|inner| {
        Box::new(Failing {
            inner,
            act: "reserve+",
            left: 1,
        })
    });
    journal.segment_bytes = 1;
    journal.append(&story()[3]).unwrap();
    assert!(
        journal.append(&intended(1_005, 2_000)).is_ok(),
        "a new segment has a medium of its own"
    );
}

#[test]
fn no_journal_is_said_to_be_absent() {
    let dir = tempfile::tempdir().unwrap();
    assert!(!exists(dir.path()).unwrap());
    assert!(!exists(&dir.path().join("none")).unwrap());
    assert!(matches!(
        Journal::open(dir.path(), None),
        Err(JournalError::Absent(_))
    ));
    let header = Header {
        first: 1,
        chain: Chain {
            sequence: 0,
            hash: [0; 32],
        },
    };
    Segment::create(dir.path(), 1, &header).unwrap();
    assert!(
        matches!(
            Journal::open(dir.path(), None),
            Err(JournalError::Absent(_))
        ),
        "a header alone says nothing"
    );
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 32, ..ProptestConfig::default() })]
    #[test]
    fn any_story_is_read_back_from_any_ledger_commit(
        texts in proptest::collection::vec(".{0,40}", 0..12),
        segment_bytes in 1_u64..1_500,
        cut in 0_usize..12,
    ) {
        let dir = tempfile::tempdir().unwrap();
        let mut entries = vec![genesis()];
        for (number, text) in texts.iter().enumerate() {
            let at = 2_000 + i64::try_from(number).unwrap();
            entries.push(attempted(at, text));
            entries.push(intended(at, number % 3));
            entries.push(outcome(at, number % 3));
        }
        let mut journal = Journal::create(dir.path(), &Through::default(), &entries[0]).unwrap();
        journal.segment_bytes = segment_bytes;
        let mut reached = vec![journal.through()];
        for entry in &entries[1..] {
            journal.append(entry).unwrap();
            reached.push(journal.through());
        }
        // Between batches, as a cycle commits.
        let kept = (3 * cut).min(entries.len() - 1);
        let ledger = (fold(&entries[..=kept]).facts, reached[kept].clone());
        journal.truncate_through(&ledger.1).unwrap();
        drop(journal);
        let opened = Journal::open(dir.path(), Some(ledger)).unwrap();
        let (found, all) = (opened.replayed, fold(&entries));
        prop_assert_eq!(found.facts, all.facts);
        prop_assert_eq!(found.open, all.open);
        // What the ledger tells is told.
        let others = entries[kept + 1..].iter().filter(|it| matches!(it, Entry::Attempted { .. }));
        prop_assert_eq!(found.untold.others, others.cloned().collect::<Vec<_>>());
        prop_assert!(all.untold.results.ends_with(&found.untold.results));
        let outcomes = (kept + 1..entries.len()).filter(|it| it % 3 == 0);
        let steps: usize = outcomes.map(|it| (it / 3 - 1) % 3).sum();
        prop_assert_eq!(found.untold.results.len(), steps);
        prop_assert_eq!(opened.journal.through(), reached[entries.len() - 1].clone());
    }
}

#[test]
fn a_long_segment_that_the_ledger_contains_is_replaced_whatever_interrupts_it() {
    let long = "x".repeat(2 * CONTAINED_BYTES as usize);
    let entries = [genesis(), attempted(1_001, &long), adopted(1_002)];
    let facts = fold(&entries).facts;
    let built = || {
        let dir = tempfile::tempdir().unwrap();
        let journal = write(dir.path(), &entries);
        (dir, journal)
    };
    let (dir, mut journal) = built();
    let ledger = journal.through();
    journal.release(&ledger).unwrap();
    assert_eq!(names(dir.path()), only("00000002.log"));
    let whole = fs::read(dir.path().join("00000002.log")).unwrap();
    assert!(whole.len() < 1_000, "it holds no record");

    // What a process leaves that dies after so many of its effects: the file begun, written, named, the old one removed.
    let begun = (0..=whole.len()).map(|len| ("00000002.log.new", len, true));
    let left = begun.chain([
        ("00000002.log", whole.len(), true),
        ("00000002.log", whole.len(), false),
    ]);
    for (name, len, old_stays) in left {
        let (dir, journal) = built();
        drop(journal);
        fs::write(dir.path().join(name), &whole[..len]).unwrap();
        if !old_stays {
            fs::remove_file(only_segment(dir.path())).unwrap();
        }
        let ledger = (facts.clone(), ledger.clone());
        let mut opened = Journal::open(dir.path(), Some(ledger.clone()))
            .unwrap_or_else(|error| panic!("{name}, {len} bytes: {error}"));
        assert_eq!(opened.replayed.facts, facts, "{name}, {len} bytes");
        assert_eq!(opened.journal.through(), ledger.1);
        opened.journal.release(&ledger.1).unwrap();
        assert_eq!(
            names(dir.path()),
            only("00000002.log"),
            "{name}, {len} bytes"
        );
        opened.journal.append(&adopted(1_003)).unwrap();
        let after = read(dir.path(), Some(ledger)).unwrap();
        assert_eq!(after.facts.latest, Time(1_003));
    }

    // Neither a ledger that is not as far, nor one with a batch in doubt behind it, nor a short segment is a reason.
    let (dir, mut journal) = built();
    let earlier = Through {
        sequence: 2,
        ..ledger.clone()
    };
    journal.release(&earlier).unwrap();
    assert_eq!(names(dir.path()), only("00000001.log"));
    journal.append(&intended(1_003, 1)).unwrap();
    let through = journal.through();
    journal.release(&through).unwrap();
    assert_eq!(names(dir.path()), only("00000001.log"));
    let dir = tempfile::tempdir().unwrap();
    let mut journal = write(dir.path(), &story());
    let through = journal.through();
    journal.release(&through).unwrap();
    assert_eq!(names(dir.path()), only("00000001.log"));
}
