//! How far a hypervisor shows a step.

use std::collections::BTreeMap;

use muster_core::guests::action::{Action, Marker, Standing};
use muster_core::guests::desired::Run;
use muster_core::guests::mark::Mark;
use muster_core::guests::observed::{Ha, Observed, Pending, TaskState};
use muster_core::guests::price::price;
use muster_core::journal::StepResult;
use muster_core::reading::Reading;
use muster_core::rooms;
use muster_core::settle::settle;
use muster_core::step::Step;

use super::{House, down, every_action};

/// What becomes of each of these steps in that house.
fn result(house: &House, action: &Action) -> StepResult {
    let step = step(action);
    let settled = |observed: &rooms::Observed| {
        settle(
            &step,
            &price(action, house.known()),
            observed,
            &house.policy.clone().into(),
            &house.facts().known,
            None,
        )
    };
    settled(&house.observed().into())
}

fn step(action: &Action) -> Step {
    let incarnation = muster_core::guests::action::Incarnation::NoGuest { times: 0 };
    Step::new(&super::pve1(), action.clone(), incarnation)
}

fn strange(why: &str) -> StepResult {
    StepResult::NeedsOperator(why.to_owned())
}

fn of(verb: &str) -> Action {
    let word = |it: &Action| it.verb().word() == verb;
    every_action().into_iter().find(word).expect(verb)
}

/// G9, H5: the guest's state alone says how a power step came out.
#[test]
fn power_is_what_the_guest_shows() {
    let (start, shutdown) = (of("guest.start"), of("guest.shutdown"));
    let mut house = House::with(&[("104", true)]);
    assert_eq!(result(&house, &start), StepResult::Done);
    assert_eq!(result(&house, &shutdown), StepResult::NotBegun);
    house.guest("104").run = Some(Run::Stopped);
    assert_eq!(result(&house, &start), StepResult::NotBegun);
    assert_eq!(result(&house, &shutdown), StepResult::Done);
    assert_eq!(result(&house, &of("guest.stop")), StepResult::Done);
    house.guest("104").run = None;
    assert_eq!(result(&house, &start), StepResult::NotBegun);
    house.guests.clear();
    let gone = StepResult::Failed("the guest is gone".to_owned());
    assert_eq!(result(&house, &start), gone);
}

/// GB2, G-c: a promise of the high availability manager is no stop.
#[test]
fn a_stop_of_an_ha_guest_ends_when_the_guest_shows_it() {
    let shutdown = of("guest.shutdown");
    let mut house = House::with(&[("104", true)]);
    let ended = Mark::TaskEnded {
        task: "UPID:hastop".into(),
        how: "OK".into(),
        well: true,
    };
    let journaled = std::sync::Arc::new(step(&shutdown));
    house.journal(
        &journaled,
        &[ended],
        StepResult::Unfinished("waiting".into()),
    );
    house.guest("104").ha = Some(Ha {
        state: "request_stop".into(),
        asked: Some(Run::Stopped),
    });
    let StepResult::Unfinished(why) = result(&house, &shutdown) else {
        panic!("{:?}", result(&house, &shutdown))
    };
    assert!(why.contains("does not show it yet"), "{why}");
    house.guest("104").run = Some(Run::Stopped);
    assert_eq!(result(&house, &shutdown), StepResult::Done);
}

/// G7, GB6: what is written counts, also where it waits for a reboot.
#[test]
fn a_write_is_done_when_the_value_is_there_or_waits_for_a_reboot() {
    let mut house = House::with(&[("104", true)]);
    for verb in [
        "guest.cores",
        "guest.memory",
        "guest.description",
        "guest.tags",
        "guest.onboot",
    ] {
        assert_eq!(result(&house, &of(verb)), StepResult::NotBegun, "{verb}");
    }
    let config = house.config("104");
    config.description = "the shop\r\nask ann\n".into();
    config.tags = ["new".to_owned(), "shop".to_owned()].into();
    config.onboot = true;
    config.cores = Some(2);
    let then = Some("2048".to_owned());
    config
        .pending
        .insert("memory".into(), Pending { now: None, then });
    for verb in [
        "guest.cores",
        "guest.memory",
        "guest.description",
        "guest.tags",
        "guest.onboot",
    ] {
        assert_eq!(result(&house, &of(verb)), StepResult::Done, "{verb}");
    }
    // G4: what cannot be read is not said to be done.
    house.guest("104").config = Reading::Unknown("the right is missing".into());
    assert!(
        matches!(result(&house, &of("guest.cores")), StepResult::Failed(why) if why.contains("the right is missing"))
    );
}

/// H11, GB5: a creation is done when the guest is there with our mark, and no lock and no task on it.
#[test]
fn a_creation_is_done_when_the_guest_bears_our_mark() {
    let create = of("guest.create");
    let mut house = House::new();
    assert_eq!(result(&house, &create), StepResult::NotBegun);
    house.add("104", false).made = Some(Marker("muster-0123456789abcdef".into()));
    assert_eq!(result(&house, &create), StepResult::Done);
    house.guest("104").lock = Some("create".into());
    assert!(matches!(result(&house, &create), StepResult::Unfinished(_)));
    house.guest("104").lock = None;
    house.guest("104").busy = Some("UPID:1".into());
    assert!(matches!(result(&house, &create), StepResult::Unfinished(_)));
    house.guest("104").busy = None;
    house.guest("104").made = None;
    assert!(
        matches!(result(&house, &create), StepResult::Failed(why) if why.starts_with("another guest has that number"))
    );
    // The hypervisor was seen to begin with it: it bears no mark yet.
    let begun = Mark::TaskBegun {
        task: "UPID:1".into(),
    };
    let journaled = std::sync::Arc::new(step(&create));
    house.journal(
        &journaled,
        &[begun],
        StepResult::Unfinished("interrupted".into()),
    );
    assert!(matches!(result(&house, &create), StepResult::Unfinished(_)));
}

/// H12, G25: a task of the step that still runs is not "not begun".
#[test]
fn a_task_that_still_runs_is_not_not_begun() {
    let mut house = House::with(&[("104", true)]);
    let shutdown = of("guest.shutdown");
    let begun = Mark::TaskBegun {
        task: "UPID:1".into(),
    };
    let journaled = std::sync::Arc::new(step(&shutdown));
    house.journal(&journaled, &[begun], StepResult::NotBegun);
    house.tasks.insert("UPID:1".into(), TaskState::Running);
    assert!(
        matches!(result(&house, &shutdown), StepResult::Unfinished(why) if why.contains("UPID:1"))
    );
    house.tasks.insert("UPID:1".into(), TaskState::Lost);
    assert_eq!(
        result(&house, &shutdown),
        StepResult::NotBegun,
        "the guest's state decides"
    );
}

/// H7: a guest is set aside when it stands still, protected, off-boot, under its other name; until then the marks say how far it is.
#[test]
fn an_end_is_as_far_as_its_marks_say() {
    let destroy = of("guest.destroy");
    let journaled = std::sync::Arc::new(step(&destroy));
    let mut house = House::with(&[("104", true)]);
    assert_eq!(result(&house, &destroy), StepResult::NotBegun);
    let unfinished = |house: &House| match result(house, &destroy) {
        StepResult::Unfinished(why) => why,
        other => panic!("{other:?}"),
    };
    let note = |house: &mut House, mark: Mark| {
        house.journal(
            &journaled,
            &[mark],
            StepResult::Unfinished("interrupted".into()),
        );
    };
    note(
        &mut house,
        Mark::TaskBegun {
            task: "UPID:1".into(),
        },
    );
    assert!(unfinished(&house).contains("began UPID:1 (its end was not seen)"));
    let backup = "pbs:1".to_owned();
    let (bytes, seal) = (7, None);
    note(
        &mut house,
        Mark::BackedUp {
            backup,
            bytes,
            seal,
        },
    );
    assert!(unfinished(&house).contains("the backup pbs:1 is made"));
    note(&mut house, Mark::Rehearsed { started: true });
    assert!(unfinished(&house).contains("is made and tried"));
    let standing = Standing {
        name: Some("web".into()),
        onboot: true,
        protection: false,
    };
    note(
        &mut house,
        Mark::SetAside {
            standing,
            stance: None,
        },
    );
    assert!(unfinished(&house).contains("about to be set aside"));
    house.guest("104").run = Some(Run::Stopped);
    let config = house.config("104");
    config.name = Some("aside-01234567-104".into());
    config.protection = true;
    assert_eq!(result(&house, &destroy), StepResult::Done);
    // Each of these alone is not it.
    for change in [
        (|it: &mut House| it.config("104").name = Some("web".into())) as fn(&mut House),
        |it| it.config("104").protection = false,
        |it| it.config("104").onboot = true,
        |it| it.guest("104").run = Some(Run::Running),
    ] {
        let mut house = House::with(&[("104", false)]);
        let config = house.config("104");
        config.name = Some("aside-01234567-104".into());
        config.protection = true;
        change(&mut house);
        assert_eq!(result(&house, &destroy), StepResult::NotBegun);
    }
    house.guests.clear();
    assert_eq!(result(&house, &destroy), strange("the guest is gone"));
}

/// H7: the way back, the last step, and what discards.
#[test]
fn the_other_ends_show_themselves() {
    let mut house = House::with(&[("104", false)]);
    let restore = of("guest.restore");
    assert_eq!(result(&house, &restore), StepResult::NotBegun);
    house.config("104").name = Some("web".into());
    house.config("104").onboot = true;
    assert_eq!(result(&house, &restore), StepResult::Done);
    let (purge, discard, overwrite) = (
        of("guest.purge"),
        of("guest.discard"),
        of("guest.overwrite"),
    );
    assert_eq!(result(&house, &purge), StepResult::NotBegun);
    assert_eq!(
        result(&house, &discard),
        StepResult::Done,
        "another stands there"
    );
    assert_eq!(result(&house, &overwrite), StepResult::NotBegun);
    house.guest("104").made = Some(Marker("muster-0123456789abcdef".into()));
    assert_eq!(result(&house, &discard), StepResult::NotBegun);
    assert_eq!(result(&house, &overwrite), StepResult::Done);
    assert_eq!(result(&house, &of("guest.record")), StepResult::NotBegun);
    house.guests.clear();
    assert_eq!(result(&house, &purge), StepResult::Done);
    assert_eq!(result(&house, &discard), StepResult::Done);
}

/// GB4, H2: what cannot be seen is not done, not failed for good, and not gone.
#[test]
fn what_cannot_be_seen_is_brought_to_its_end_later() {
    let mut house = House::new();
    house.down.insert("pve2".into(), down());
    for action in every_action() {
        let result = result(&house, &action);
        let brings_to_end = [
            "create",
            "discard",
            "destroy",
            "overwrite",
            "restore",
            "purge",
        ]
        .iter()
        .any(|it| action.verb().word() == format!("guest.{it}"));
        match result {
            StepResult::Unfinished(why) => assert!(brings_to_end, "{action:?}: {why}"),
            StepResult::Failed(why) => assert!(!brings_to_end, "{action:?}: {why}"),
            // It is about what was seen before.
            StepResult::Done => assert_eq!(action.verb().word(), "guest.note"),
            other => panic!("{action:?}: {other:?}"),
        }
    }
}

/// H8: what stands against a step because of what is there, or is not, ends when that ends: nobody has to adopt anything. As long as it is
/// so, the plan tells it.
#[test]
fn a_conflict_that_is_over_needs_no_operator() {
    // Another guest under the number of one that is made.
    let text = "guests: {104: {create: {template: debian-13, storage: local-lvm}}}\n";
    let mut house = House::new();
    let create = house.step(text, "guest.create");
    house.add("104", false);
    let came = result(&house, &guest_action(&create));
    assert!(matches!(came, StepResult::Failed(_)), "{came:?}");
    house.journal(&create, &[], came);
    assert!(
        house
            .notes(text)
            .concat()
            .contains("another guest has that place now")
    );
    assert_eq!(house.steps(text, "guest.create"), []);
    house.guests.remove("104");
    house.now = house.now.plus(super::DAY);
    assert_eq!(
        house.told(text),
        (vec!["guest.create 104".to_owned()], Vec::new())
    );
    // A guest that was away when a benign step looked for it, such as on its way to another node.
    let rows = [
        ("{run: stopped}", "guest.shutdown"),
        ("{cores: 3}", "guest.cores"),
        ("{memory: 2GiB}", "guest.memory"),
        ("{description: x}", "guest.description"),
        ("{tags: [x]}", "guest.tags"),
        ("{onboot: true}", "guest.onboot"),
    ];
    for (row, verb) in rows {
        let text = format!("guests: {{104: {row}}}\n");
        let mut house = House::with(&[("104", true)]);
        let step = house.step(&text, verb);
        let sight = house.guests.remove("104").unwrap();
        let came = result(&house, &guest_action(&step));
        assert!(
            matches!(&came, StepResult::Failed(why) if why == "the guest is gone"),
            "{came:?}"
        );
        house.journal(&step, &[], came);
        assert!(
            house
                .notes(&text)
                .concat()
                .contains("there is no such guest here")
        );
        house.guests.insert("104".to_owned(), sight);
        house.now = house.now.plus(super::DAY);
        assert_eq!(house.told(&text), (vec![format!("{verb} 104")], Vec::new()));
    }
    // What an end left is looked at by a person.
    let gone = result(&House::new(), &of("guest.destroy"));
    assert!(matches!(gone, StepResult::NeedsOperator(_)), "{gone:?}");
}

fn guest_action(step: &Step) -> Action {
    match &step.action {
        rooms::Action::Guest(action) => action.clone(),
        rooms::Action::Account(_) => panic!("no guest"),
    }
}

/// A step is not settled by a look at another world.
#[test]
fn a_step_is_not_settled_by_a_look_at_another_world() {
    let action = of("guest.destroy");
    let house = House::new();
    let machine = muster_core::accounts::observed::Observed {
        accounts: Reading::Unknown("not looked at".into()),
        people: BTreeMap::new(),
        environments: Reading::Known(BTreeMap::new()),
        aggregates: BTreeMap::new(),
        cluster_tiers: None,
        units: Reading::Unknown("not looked at".into()),
    };
    let result = settle(
        &step(&action),
        &price(&action, house.known()),
        &machine.into(),
        &house.policy.clone().into(),
        &house.facts().known,
        None,
    );
    assert!(matches!(result, StepResult::Unfinished(why) if why.contains("another world")));
    let unread = Observed::unread("the token was refused".into());
    let result = settle(
        &step(&action),
        &price(&action, house.known()),
        &unread.into(),
        &house.policy.clone().into(),
        &house.facts().known,
        None,
    );
    assert!(
        matches!(result, StepResult::Unfinished(_)),
        "it may be halfway"
    );
}
