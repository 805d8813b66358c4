//! What is known of guests, as it is kept.

use std::collections::BTreeMap;

use muster_core::facts::Removal;
use muster_core::guests::action::Standing;
use muster_core::guests::mark::Mark;
use muster_core::guests::observed::{NOT_ASKED, Observed, Question};
use muster_core::guests::policy::Policy;
use muster_core::id::StepId;
use muster_core::journal::{Authority, Entry, OutOfOrder, StepResult};
use muster_core::ledger::inventory::Inventory;
use muster_core::ledger::{self, Through, policy as policy_file};
use muster_core::rooms::{self, Mark as AnyMark};
use muster_core::time::Time;

use super::{House, NOW, commit, desired, pve1, size};

const END: &str = "guests: {old: {destroy: true}}\n";

/// One of each.
fn every_mark() -> Vec<Mark> {
    let task = || "UPID:pve1:0001:".to_owned();
    vec![
        Mark::TaskBegun { task: task() },
        Mark::TaskEnded {
            task: task(),
            how: "WARNINGS: 1".into(),
            well: true,
        },
        Mark::Unheeded {},
        Mark::Refused {
            why: "no quorum".into(),
        },
        Mark::BackedUp {
            backup: "pbs:backup/1".into(),
            bytes: 7,
            seal: None,
        },
        Mark::ScratchTaken {
            scratch: "9000".into(),
            made: muster_core::guests::action::Marker("muster-0123456789abcdef".into()),
        },
        Mark::Rehearsed { started: false },
        Mark::ScratchGone {
            scratch: "9000".into(),
        },
        Mark::SetAside {
            standing: Standing {
                name: Some("web".into()),
                onboot: true,
                protection: false,
            },
            stance: None,
        },
        Mark::RanAgain {},
        Mark::BackedUp {
            backup: "pbs:backup/2".into(),
            bytes: 8,
            seal: Some("made=7".into()),
        },
        Mark::Spoilt {
            backup: "pbs:backup/1".into(),
            why: "is empty".into(),
        },
    ]
}

/// A house in which an end was begun, and every mark was made.
fn marked() -> House {
    let mut house = House::with(&[("old", true)]);
    let record = house.step(END, "guest.record");
    house.done(&record);
    let destroy = house.step(END, "guest.destroy");
    let failed = StepResult::Unfinished("interrupted".into());
    house.journal(&destroy, &every_mark(), failed);
    house
}

/// G23, H12: a mark stands between the intent and the outcome of its batch, is of a step of it, and of the executor's kind.
#[test]
fn a_mark_stands_in_an_open_batch_and_is_of_a_step_of_it() {
    let mut house = House::with(&[("old", true)]);
    let record = house.step(END, "guest.record");
    let mark = |step: StepId| Entry::Marked {
        at: NOW,
        step,
        mark: Mark::Unheeded {}.into(),
    };
    let before = house.past.clone();
    assert_eq!(house.past.apply(&mark(record.id)), Err(OutOfOrder::Mark));
    let intended = Entry::Intended {
        at: NOW,
        steps: vec![std::sync::Arc::clone(&record)],
        authority: Authority::Benign { commit: commit() },
    };
    assert_eq!(house.past, before, "nothing has changed");
    house.past.apply(&intended).unwrap();
    let other = house.step(END, "guest.destroy").id;
    assert_eq!(house.past.apply(&mark(other)), Err(OutOfOrder::Mark));
    house.past.apply(&mark(record.id)).unwrap();
    assert_eq!(house.of("old").unheeded, Some(NOW));
    let results = vec![StepResult::Done];
    house
        .past
        .apply(&Entry::Outcome { at: NOW, results })
        .unwrap();
    assert_eq!(house.past.apply(&mark(record.id)), Err(OutOfOrder::Mark));
}

/// Invariant 11: marks are flat in a journal, each is read back as it was, and what is not known is refused by its name.
#[test]
fn marks_are_what_they_were_when_they_are_read_back() {
    let golden = [
        r#"{"task_begun":{"task":"UPID:pve1:0001:"}}"#,
        r#"{"task_ended":{"task":"UPID:pve1:0001:","how":"WARNINGS: 1","well":true}}"#,
        r#"{"unheeded":{}}"#,
        r#"{"refused":{"why":"no quorum"}}"#,
        r#"{"backed_up":{"backup":"pbs:backup/1","bytes":7}}"#,
        r#"{"scratch_taken":{"scratch":"9000","made":"muster-0123456789abcdef"}}"#,
        r#"{"rehearsed":{"started":false}}"#,
        r#"{"scratch_gone":{"scratch":"9000"}}"#,
        r#"{"set_aside":{"standing":{"name":"web","onboot":true,"protection":false}}}"#,
        r#"{"ran_again":{}}"#,
        r#"{"backed_up":{"backup":"pbs:backup/2","bytes":8,"seal":"made=7"}}"#,
        r#"{"spoilt":{"backup":"pbs:backup/1","why":"is empty"}}"#,
    ];
    for (mark, text) in every_mark().into_iter().zip(golden) {
        let mark = AnyMark::Guest(mark);
        assert_eq!(serde_json::to_string(&mark).unwrap(), text);
        assert_eq!(serde_json::from_str::<AnyMark>(text).unwrap(), mark);
    }
    // One of them as earlier versions wrote it, too.
    assert_eq!(golden.len(), Mark::TAGS.len() + 1);
    let entry = Entry::Marked {
        at: Time(7),
        step: "0123456789abcdef0123456789abcdef".parse().unwrap(),
        mark: Mark::Unheeded {}.into(),
    };
    let text =
        r#"{"marked":{"at":7,"step":"0123456789abcdef0123456789abcdef","mark":{"unheeded":{}}}}"#;
    assert_eq!(serde_json::to_string(&entry).unwrap(), text);
    assert_eq!(serde_json::from_str::<Entry>(text).unwrap(), entry);
    assert!(serde_json::from_str::<AnyMark>(r#"{"unheeded":{"more":1}}"#).is_err());
}

/// H12: all of it is in the ledger, and reads back.
#[test]
fn the_facts_of_a_hypervisor_read_back_out_of_the_files_of_a_ledger() {
    let house = marked();
    assert_ne!(house.of("old"), Default::default());
    let through = Through {
        sequence: 3,
        chain: "c".into(),
    };
    let files = ledger::files(house.facts(), &through);
    assert!(files.contains_key("guests.jsonl"), "{:?}", files.keys());
    assert!(files.keys().all(|it| !it.starts_with("people/")));
    assert_eq!(
        ledger::facts(&files).unwrap(),
        (house.facts().clone(), through.clone())
    );
    let only = ledger::files_of(house.facts(), &through, &["old".to_owned()].into());
    for (path, content) in only {
        assert_eq!(content.as_ref(), files.get(&path), "{path}");
    }
    // A line that was not written so is told with its place.
    let mut broken = files;
    let lines = broken.get_mut("guests.jsonl").expect("a file");
    *lines = String::from_utf8(lines.clone())
        .unwrap()
        .replace("\"scratch\"", "\"scratches\"")
        .replace("\"unheeded\"", "\"heeded\"")
        .into_bytes();
    let error = ledger::facts(&broken).unwrap_err();
    assert_eq!(error.to_string(), "guests.jsonl of the ledger, line 1");
}

/// H12: tasks are bounded, open ones are asked for once, and what a later step began makes earlier ones over.
#[test]
fn open_tasks_are_asked_for_and_ended_ones_are_bounded() {
    let mut house = House::with(&[("old", true)]);
    let text = "guests: {old: {run: stopped}}\n";
    let shutdown = house.step(text, "guest.shutdown");
    let begun = |task: &str| Mark::TaskBegun { task: task.into() };
    let ended = |task: &str| Mark::TaskEnded {
        task: task.into(),
        how: "OK".into(),
        well: true,
    };
    for number in 0..20 {
        let task = format!("UPID:{number}");
        let failed = StepResult::Failed("it did not".into());
        house.journal(&shutdown, &[begun(&task), ended(&task)], failed);
    }
    house.journal(&shutdown, &[begun("UPID:open")], StepResult::NotBegun);
    assert_eq!(house.of("old").tasks.len(), 9);
    let facts = house.facts();
    let desired = rooms::Desired::Guests(desired(text));
    let asked = rooms::question_of_plan(&desired, &facts.known);
    let rooms::Question::Guests(Question {
        everybody,
        configs,
        tasks,
        backups: _,
        starts: _,
        expected,
    }) = asked
    else {
        panic!("{asked:?}")
    };
    assert_eq!(tasks, [("UPID:open".to_owned(), "old".to_owned())].into());
    assert_eq!(expected, ["old".to_owned()].into());
    // Where only run state is managed no configuration is asked for (H15).
    assert!(!everybody && configs.is_empty(), "{configs:?}");
    let start = house.step("guests: {old: {cores: 2}}\n", "guest.cores");
    house.journal(&start, &[begun("UPID:next")], StepResult::NotBegun);
    let open: Vec<String> = house
        .known()
        .open_tasks()
        .map(|it| it.0.task.clone())
        .collect();
    assert_eq!(open, ["UPID:next"]);
}

/// H7: what the first try noted counts, since a second one may see the guest halfway.
#[test]
fn how_it_stood_is_what_the_first_try_saw() {
    let mut house = marked();
    let destroy = house.step(END, "guest.destroy");
    let standing = Standing {
        name: Some("aside-01234567-old".into()),
        onboot: false,
        protection: true,
    };
    let again = [Mark::SetAside {
        standing,
        stance: None,
    }];
    house.journal(&destroy, &again, StepResult::Done);
    let aside = house.of("old").aside.expect("aside");
    assert_eq!(aside.standing.name.as_deref(), Some("web"));
    assert!(aside.standing.onboot && !aside.standing.protection);
    assert_eq!(aside.since, NOW);
    // A clock that was set back by a person begins the time of grace anew.
    let accepted = Entry::ClockAccepted {
        at: NOW.plus(-7),
        who: "root".into(),
        reason: "it was wrong".into(),
        latest: NOW,
    };
    house.past.apply(&accepted).unwrap();
    assert_eq!(house.of("old").aside.expect("aside").since, NOW.plus(-7));
}

#[test]
fn an_inventory_of_a_hypervisor_reads_back_as_it_was_and_so_do_the_facts_in_it() {
    let house = marked();
    let unread = Observed::unread("the token was refused".into());
    for observed in [house.observed(), unread] {
        let inventory = Inventory {
            executor: pve1(),
            recorded: Some(NOW),
            observed: observed.into(),
            facts: Some(house.facts().clone()),
        };
        let bytes = inventory.to_bytes();
        assert_eq!(Inventory::read(&bytes).unwrap(), inventory);
    }
    let bytes = Inventory::bytes_in_ledger(&pve1(), &house.observed().into());
    let read = Inventory::read(&bytes).unwrap();
    assert_eq!((read.observed, read.facts), (house.observed().into(), None));
    let text = String::from_utf8(bytes).unwrap();
    for (from, to) in [
        ("\"format\":1", "\"format\":2"),
        ("guests/pve1", "moon/pve1"),
        // Of another kind of executor: nothing of it is taken for accounts, or for something that this version keeps.
        ("guests/pve1", "host/pve1"),
        ("guests/pve1", "cluster/pve1"),
        ("\"hypervisor\"", "\"machine\""),
        ("\"run\"", "\"runs\""),
    ] {
        let changed = text.replace(from, to);
        assert_ne!(changed, text, "{from}");
        assert!(Inventory::read(changed.as_bytes()).is_err(), "{to}");
    }
}

/// A ledger commit for every write of somebody else would be noise: what changes with each write is not kept.
#[test]
fn a_digest_is_not_kept() {
    let mut house = House::with(&[("old", true)]);
    let bytes = |house: &House| Inventory::bytes_in_ledger(&pve1(), &house.observed().into());
    let before = bytes(&house);
    house.config("old").digest = Some("0123".into());
    assert_eq!(bytes(&house), before);
}

#[test]
fn what_an_administrator_decided_about_guests_reads_back_as_it_was() {
    let mut policy = House::new().policy;
    policy.protected = ["104".to_owned(), "muster".to_owned()].into();
    policy.own = Some("muster".into());
    policy.node = Some("pve1".into());
    policy.limits.removals = 1;
    policy.limits.share = 2;
    policy.limits.retry_after = 3;
    policy.create.sizes = vec![size(1, 512)];
    policy.force_stop = true;
    policy.rehearse_start = false;
    policy.grace_days = 30;
    for policy in [policy.clone(), Policy::new(pve1())] {
        let bytes = policy_file::to_bytes(&policy.clone().into());
        assert_eq!(policy_file::read(&bytes).unwrap(), policy.into());
    }
    let text = String::from_utf8(policy_file::to_bytes(&policy.into())).unwrap();
    for (from, to) in [
        ("\"format\": 1", "\"format\": 2"),
        ("\"share\": 2", "\"share\": -2"),
        ("\"protected\"", "\"guarded\""),
        ("\"force_stop\"", "\"kill\""),
        ("\"templates\"", "\"moulds\""),
        ("guests/pve1", "guests/../pve1"),
        ("guests/pve1", "host/pve1"),
        ("guests/pve1", "ca/pve1"),
    ] {
        let changed = text.replace(from, to);
        assert_ne!(changed, text, "{from}");
        assert!(policy_file::read(changed.as_bytes()).is_err(), "{to}");
    }
}

/// H13: what stopped or ended counts for a day.
#[test]
fn a_guest_that_stopped_counts_for_a_day() {
    let mut house = House::with(&[("a", true), ("b", true), ("c", true), ("d", true)]);
    let text = "guests: {a: {run: stopped}, b: {run: stopped}}\n";
    for step in house.steps(text, "guest.shutdown") {
        house.done(&step);
    }
    let of = |it: &str| Removal {
        at: NOW,
        of: Some(it.to_owned()),
    };
    assert_eq!(house.facts().removals, [of("a"), of("b")]);
    for name in ["a", "b"] {
        house.guest(name).run = Some(muster_core::guests::desired::Run::Stopped);
    }
    let one = "guests: {c: {run: stopped}}\n";
    assert_eq!(
        house.told(one).1,
        [("guest.shutdown c".to_owned(), "limit")]
    );
    house.past.facts.removals.clear();
    assert_eq!(house.told(one).0, ["guest.shutdown c"]);
}

/// H13: who stops, is started and stops again is one guest, however often; what an earlier version noted counts as it did.
#[test]
fn a_guest_that_stopped_three_times_is_one_guest() {
    let names = ["a", "b", "c", "d", "e", "f", "g", "h"];
    let mut house = House::with(&names.map(|it| (it, true)));
    let text = "guests: {a: {run: stopped}}\n";
    for _ in 0..3 {
        let step = house.step(text, "guest.shutdown");
        house.done(&step);
    }
    assert_eq!(house.told(text).0, ["guest.shutdown a"], "1 of 8");
    let two = "guests: {a: {run: stopped}, b: {run: stopped}}\n";
    assert_eq!(house.told(two).0.len(), 2, "2 of 8");
    let three = "guests: {b: {run: stopped}, c: {run: stopped}}\n";
    assert!(
        house.told(three).0.is_empty(),
        "3 of 8 are more than a quarter"
    );
    // The ledger keeps of whom; without that, each event counts.
    let files = muster_core::ledger::files(house.facts(), &muster_core::ledger::Through::default());
    let (facts, _) = muster_core::ledger::facts(&files).unwrap();
    assert_eq!(&facts, house.facts());
    house
        .past
        .facts
        .removals
        .iter_mut()
        .for_each(|it| it.of = None);
    assert!(house.told(text).0.is_empty());
}

/// Which guests to look at closely: of whom the row says more than whether they run, and those that muster made or set aside (H15).
#[test]
fn only_what_is_managed_is_looked_at_closely() {
    let mut house = House::with(&[("a", true), ("b", true), ("c", true)]);
    house.make("m", true);
    let text = "guests: {a: {run: stopped}, b: {cores: 2}, c: {destroy: true}, d: {owner: ann}}\n";
    let desired = rooms::Desired::Guests(desired(text));
    let asked = rooms::question_of_plan(&desired, &house.facts().known);
    let rooms::Question::Guests(asked) = asked else {
        panic!("{asked:?}")
    };
    // Whoever plans a proposal from the inventory needs all of them.
    assert!(asked.asks_for("a") && asked.asks_for("stranger"));
    let nothing: BTreeMap<String, String> = BTreeMap::new();
    assert_eq!(asked.tasks, nothing);
    let power = rooms::Desired::Guests(super::desired(
        "guests: {a: {run: stopped}, d: {owner: ann}}\n",
    ));
    let rooms::Question::Guests(mut asked) = rooms::question_of_plan(&power, &house.facts().known)
    else {
        panic!("it is of guests")
    };
    let told = |asked: &Question| ["a", "b", "m"].map(|it| asked.asks_for(it));
    assert_eq!(told(&asked), [false, false, true]);
    asked.everybody = true;
    asked.narrow(&["b".to_owned()].into());
    assert_eq!(told(&asked), [false, true, false]);
    // What is not in the inventory is told, and is no part that could not be read.
    house.guest("b").config = muster_core::reading::Reading::Unknown(NOT_ASKED.into());
    for text in [
        "guests: {b: {cores: 2}}\n",
        "guests: {b: {destroy: true}}\n",
    ] {
        let plan = house.plan(text);
        assert!(plan.steps().is_empty());
        let [note] = plan.notes() else {
            panic!("{:?}", plan.notes())
        };
        assert!(
            note.kind() == "not_in_inventory" && !note.is_unread(),
            "{note}"
        );
    }
}
