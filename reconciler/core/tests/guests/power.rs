//! Guests that run and stand still, and what is told of them.

use muster_core::gate::{self, Reason};
use muster_core::guests::action::{Action, Found, Incarnation};
use muster_core::guests::desired::Run;
use muster_core::guests::limits::limits;
use muster_core::guests::mark::Mark;
use muster_core::guests::observed::{Ha, Observed, Sight, TaskState};
use muster_core::guests::policy::Policy;
use muster_core::journal::StepResult;
use muster_core::limits::{Bound, Recent};
use muster_core::plan::{Input, plan};
use muster_core::price::Takes;
use muster_core::rooms;
use muster_core::sheet::Hold;
use muster_core::step::Step;

use super::{DAY, House, NOW, begin, commit, desired, down, pve1};

/// G1, G2, G5, GB6, GB10: what the file names and nothing else, and of that only what it says.
#[test]
fn a_plan_starts_and_stops_what_the_file_names_and_nothing_else() {
    let text = "\
guests:
  104: {run: running}
  105: {run: running}
  bak: {run: stopped}
  web: {run: stopped}
  told: {}
  gone: {run: running}
  ended: {destroy: true}
";
    let house = House::with(&[
        ("104", false),
        ("105", true),
        ("bak", false),
        ("web", true),
        ("told", false),
        ("stranger", false),
    ]);
    assert_eq!(house.words(text), ["guest.shutdown web", "guest.start 104"]);
    assert_eq!(
        house.notes(text),
        [
            "gone: there is no such guest here; take the row out, or make the guest (`create` in the row says how)"
        ]
    );
    let plan = house.plan(text);
    for planned in plan.steps() {
        let again = Step::new(
            &pve1(),
            planned.step.action.clone(),
            planned.step.incarnation.clone(),
        );
        assert_eq!(*planned.step, again);
    }
}

/// G1: "running" and "stopped" are words; every other one says nothing, and power is left alone.
#[test]
fn a_word_that_is_neither_running_nor_stopped_leaves_power_alone() {
    for (status, run) in [
        ("running", Some(Run::Running)),
        ("stopped", Some(Run::Stopped)),
        ("", None),
        ("paused", None),
        ("Running", None),
        ("unknown", None),
    ] {
        assert_eq!(Run::of_status(status), run, "{status}");
    }
    let mut house = House::with(&[("104", true)]);
    house.guest("104").run = None;
    for wanted in ["running", "stopped"] {
        let text = format!("guests: {{104: {{run: {wanted}}}}}\n");
        assert_eq!(house.words(&text), [] as [&str; 0]);
        assert_eq!(
            house.notes(&text),
            ["104: it neither runs nor stands still, so its power is left alone"]
        );
    }
    assert_eq!(house.notes("guests: {104: {}}\n"), [] as [&str; 0]);
}

/// G5, G8: a file that asks for nothing changes nothing, and planning changes nothing of what it is given.
#[test]
fn an_empty_file_is_a_no_op_and_a_plan_changes_none_of_its_inputs() {
    let house = House::with(&[("104", true), ("web", false)]);
    for text in ["guests: {}\n", "guests:\n"] {
        let plan = house.plan(text);
        assert!(plan.steps().is_empty() && plan.notes().is_empty());
    }
    let asked = desired("guests: {104: {run: stopped}, web: {destroy: true}}\n");
    let given = (asked.clone(), house.observed(), house.facts().clone());
    let input = (
        rooms::Desired::Guests(asked),
        house.observed().into(),
        house.policy.clone().into(),
    );
    let make = || {
        plan(&Input {
            policy: &input.2,
            commit: &commit(),
            today: NOW.date(),
            desired: &input.0,
            observed: &input.1,
            facts: house.facts(),
        })
    };
    assert_eq!(make(), make());
    assert_eq!(input.0, rooms::Desired::Guests(given.0));
    assert_eq!(input.1, given.1.into());
    assert_eq!(*house.facts(), given.2);
}

/// H2: of a hypervisor that cannot be read nothing is concluded.
#[test]
fn a_hypervisor_that_cannot_be_read_is_not_planned_on() {
    let house = House::with(&[("104", true)]);
    let plan = plan(&Input {
        policy: &house.policy.clone().into(),
        commit: &commit(),
        today: NOW.date(),
        desired: &rooms::Desired::Guests(desired(
            "guests: {104: {run: stopped}, old: {destroy: true}}\n",
        )),
        observed: &Observed::unread("the token was refused".into()).into(),
        facts: house.facts(),
    });
    assert!(plan.steps().is_empty());
    let note = &plan.notes()[0];
    assert_eq!(
        note.to_string(),
        "the guests could not be read (the token was refused); nothing is planned on them"
    );
    assert_eq!(note.kind(), "unread");
    assert!(note.is_unread() && note.leaves_world_unknown() && note.needs_attention());
}

/// H2, GB4, GB3: a node that is down makes its guests unknown, and none of them missing or new; the others are planned as ever.
#[test]
fn a_node_that_is_down_makes_its_guests_unknown_and_holds_up_no_other() {
    let text = "\
guests:
  104: {run: stopped}
  105: {run: running}
  106: {run: running, create: {template: debian-13, storage: local-lvm}}
  107: {destroy: true}
";
    let mut house = House::with(&[("104", true)]);
    let unknown = Sight::Unknown {
        node: Some("pve2".into()),
        down: down(),
    };
    house.guests.insert("105".into(), unknown);
    house.down.insert("pve2".into(), down());
    assert_eq!(house.words(text), ["guest.shutdown 104"]);
    let since = "2026-11-22T00:00:00Z";
    let why = "595: no route to host";
    let of = |guest: &str| {
        format!(
            "{guest}: unknown since {since}: it is or may be on node pve2, which does not answer ({why}); nothing is planned for it"
        )
    };
    assert_eq!(
        house.notes(text),
        [
            format!(
                "node pve2 does not answer since {since} ({why}); nothing is planned for the guests on it"
            ),
            of("105"),
            of("106"),
            of("107"),
        ]
    );
    assert!(house.plan(text).notes().iter().all(rooms::Note::is_unread));
    assert!(
        !house
            .plan(text)
            .notes()
            .iter()
            .any(rooms::Note::leaves_world_unknown)
    );
    // The node answers again, and neither is there.
    house.down.clear();
    house.guests.remove("105");
    assert_eq!(house.steps(text, "guest.create").len(), 1);
}

/// GB3: on another node it is the same guest: the node is told, and there is no step.
#[test]
fn a_guest_on_another_node_is_the_same_guest() {
    let text = "guests: {104: {run: running, cores: 1}}\n";
    let mut house = House::with(&[("104", true)]);
    house.policy.node = Some("pve1".into());
    let here = found_of(&house);
    house.guest("104").node = Some("pve2".into());
    assert_eq!(house.words(text), [] as [&str; 0]);
    assert_eq!(
        house.notes(text),
        ["104: it is on node pve2, and kept there"]
    );
    assert_eq!(found_of(&house), here);
}

fn found_of(house: &House) -> Incarnation {
    super::found(house, "104")
}

/// H5: a guest that does not heed a shutdown is stopped by force only where the settings say so.
#[test]
fn force_is_only_what_settings_allow() {
    let text = "guests: {104: {run: stopped}}\n";
    let mut house = House::with(&[("104", true)]);
    house.policy.force_stop = true;
    let shutdown = house.step(text, "guest.shutdown");
    let why = StepResult::Failed("it did not within 60 s".into());
    // That it failed is not enough: it has to have been asked.
    house.journal(&shutdown, &[], why.clone());
    assert_eq!(house.words(text), ["guest.shutdown 104"]);
    house.journal(&shutdown, &[Mark::Unheeded {}], why);
    assert_eq!(house.words(text), ["guest.stop 104"]);
    house.policy.force_stop = false;
    assert_eq!(house.words(text), ["guest.shutdown 104"]);
    // Once it stands still, the next time it is asked again.
    house.policy.force_stop = true;
    let stop = house.step(text, "guest.stop");
    house.done(&stop);
    assert_eq!(house.words(text), ["guest.shutdown 104"]);
}

/// H10, GB2: what the hypervisor is in the middle of is waited for, with that reason.
#[test]
fn a_guest_that_is_locked_busy_or_moved_by_ha_waits() {
    let text = "guests: {104: {run: stopped}}\n";
    let mut house = House::with(&[("104", true)]);
    house.guest("104").lock = Some("backup".into());
    assert_eq!(
        house.why(text),
        "the hypervisor has locked the guest (backup); it waits until that is over"
    );
    house.guest("104").lock = None;
    house.guest("104").busy = Some("UPID:7".into());
    assert!(house.why(text).contains("at work on the guest (UPID:7)"));
    house.guest("104").busy = None;
    let ha = |state: &str| {
        Some(Ha {
            state: state.into(),
            asked: Some(Run::Running),
        })
    };
    house.guest("104").ha = ha("migrate");
    assert!(
        house
            .why(text)
            .contains("manager is at work on the guest (migrate)")
    );
    house.guest("104").ha = ha("started");
    assert_eq!(house.told(text).0, ["guest.shutdown 104"]);
    house.guest("104").template = true;
    assert!(house.why(text).contains("the guest is a template"));
}

/// H12, G25: a task of ours that is open holds the guest's next step until the hypervisor shows its end.
#[test]
fn a_task_that_still_runs_is_not_begun_anew() {
    let text = "guests: {104: {run: stopped}}\n";
    let mut house = House::with(&[("104", true)]);
    let shutdown = house.step(text, "guest.shutdown");
    let task = Mark::TaskBegun {
        task: "UPID:1:".into(),
    };
    house.journal(&shutdown, &[task], StepResult::NotBegun);
    let open = |house: &House| house.known().open_tasks().count();
    assert_eq!(open(&house), 1);
    house.tasks.insert("UPID:1:".into(), TaskState::Running);
    assert!(house.why(text).contains("(UPID:1:)"));
    for state in [
        TaskState::Ended,
        TaskState::Lost,
        TaskState::Failed("timeout".into()),
    ] {
        house.tasks.insert("UPID:1:".into(), state);
        assert_eq!(house.told(text).0, ["guest.shutdown 104"]);
    }
    let ended = Mark::TaskEnded {
        task: "UPID:1:".into(),
        how: "OK".into(),
        well: true,
    };
    house.journal(&shutdown, &[ended], StepResult::Done);
    assert_eq!(open(&house), 0);
    // How it ended outlives what the hypervisor remembers.
    assert_eq!(house.of("104").tasks[0].end.as_deref(), Some("OK"));
}

/// GB12: the same refusal three times makes the step blocked with its words, and it is tried once a day.
#[test]
fn what_is_refused_three_times_in_the_same_words_is_tried_once_a_day() {
    let text = "guests: {104: {run: running}}\n";
    let mut house = House::with(&[("104", false)]);
    house.policy.limits.retry_after = 0;
    let start = house.step(text, "guest.start");
    let refuse = |house: &mut House, why: &str| {
        let refused = Mark::Refused { why: why.into() };
        house.journal(&start, &[refused], StepResult::Failed(why.into()));
    };
    // What was not sent, or perhaps carried out, is no refusal, however often (H11).
    for _ in 0..5 {
        let failed = StepResult::Failed("no route to host".into());
        house.journal(&start, &[], failed);
    }
    assert_eq!(house.told(text).0, ["guest.start 104"]);
    refuse(&mut house, "no quorum");
    refuse(&mut house, "no quorum");
    assert_eq!(house.told(text).0, ["guest.start 104"]);
    // Other words are another refusal.
    refuse(&mut house, "no space");
    refuse(&mut house, "no quorum");
    refuse(&mut house, "no quorum");
    assert_eq!(house.told(text).0, ["guest.start 104"]);
    refuse(&mut house, "no quorum");
    assert_eq!(
        house.why(text),
        "the hypervisor refused it 3 times in the same words, so it is tried once a day: no quorum"
    );
    // It failed and is still asked for, so nothing is in order until it is done or taken out.
    let plan = house.plan(text);
    let reason = plan.steps().iter().find_map(|it| match it.hold.as_deref() {
        Some(Hold::Lacks(what)) => Some(Reason::Precondition(what.clone())),
        _ => None,
    });
    let reason = reason.expect("it is held");
    assert!(reason.is_failing() && reason.code() == gate::BLOCKED);
    // Another step of the guest is not meant.
    assert_eq!(
        house.told("guests: {104: {cores: 2}}\n").0,
        ["guest.cores 104"]
    );
    house.now = NOW.plus(DAY);
    assert_eq!(house.told(text).0, ["guest.start 104"]);
    refuse(&mut house, "no quorum");
    assert!(house.why(text).contains("4 times"));
    house.now = NOW.plus(2 * DAY);
    house.done(&start);
    assert_eq!(house.of("104"), Default::default());
}

/// H13: guests that are protected, and the one that muster runs in, are refused even when signed.
#[test]
fn a_protected_guest_and_ones_own_are_refused_signed_or_not() {
    let text = "guests: {104: {run: running}, 105: {run: running}, old: {destroy: true}, own: {run: stopped, cores: 2}}\n";
    let mut house = House::with(&[("104", false), ("105", false), ("old", true), ("own", true)]);
    house.policy.protected = ["104".to_owned(), "old".to_owned()].into();
    house.policy.own = Some("own".into());
    let refused = |house: &House| {
        let (admitted, held) = house.told(text);
        assert_eq!(admitted, ["guest.start 105"]);
        let codes: Vec<&str> = held.iter().map(|it| it.1).collect();
        assert_eq!(codes, ["guardrail"; 5], "{held:?}");
    };
    refused(&house);
    assert_eq!(
        house.notes(text),
        ["own: muster itself runs in it, so no step touches it, signed or not"]
    );
    let destroy = house.step(text, "guest.destroy");
    begin(&mut house, &[destroy]);
    refused(&house);
}

/// H13: stops count like removals, against the guests that run.
#[test]
fn more_stops_and_ends_than_a_share_of_what_runs_are_over_the_limit() {
    let names: Vec<String> = (100..110).map(|it| it.to_string()).collect();
    let mut house = House::new();
    for (at, name) in names.iter().enumerate() {
        house.add(name, at < 8);
    }
    let policy = Policy::new(pve1());
    let over = |removals: usize, recent: usize| {
        let names: Vec<String> = (0..removals).map(|it| format!("p{it}")).collect();
        let planned = names.iter().map(|it| (it.as_str(), Takes::Removal));
        let planned = planned.chain([("q", Takes::Nothing); 9]);
        let recent = Recent {
            unnamed: recent,
            ..Recent::default()
        };
        limits(planned, &policy, &house.observed(), &recent)
    };
    // Fewer than three are never too many, and two of eight are a quarter; three are more.
    assert_eq!(over(0, 9), []);
    assert_eq!(over(2, 0), []);
    let [three] = &over(3, 0)[..] else {
        panic!("{:?}", over(3, 0))
    };
    assert_eq!(three.bound, Bound::Share);
    assert_eq!(
        three.why,
        "over the limit: 3 of 8 running guests stop or end (0 of them in the last 24 hours), and more than 25 % is held as a whole; split \
         the change over days, or sign a release for exactly these steps"
    );
    // What stopped or ended a day ago at most is counted with them.
    assert_eq!(over(1, 1), []);
    assert_eq!(over(1, 2).len(), 1);
    let three = "guests: {100: {run: stopped}, 101: {run: stopped}, 102: {run: stopped}, 108: {run: running}}\n";
    let (admitted, held) = house.told(three);
    assert_eq!(admitted, ["guest.start 108"]);
    assert!(
        held.len() == 3 && held.iter().all(|it| it.1 == "limit"),
        "{held:?}"
    );
    // Those of which a release names all go together; what is begun is brought to its end.
    let steps = house.steps(three, "guest.shutdown");
    begin(&mut house, &steps);
    assert_eq!(house.told(three).0.len(), 4);
}

/// H8: a step is for one guest on one hypervisor, and not for a later one under its number.
#[test]
fn a_step_is_signed_for_one_guest_and_not_for_a_later_one_of_the_same_number() {
    let id = |executor: &muster_core::executor::Executor, nic: &str| {
        let mut house = House::with(&[("104", true)]);
        house.config("104").identity = Found {
            nic: Some(nic.into()),
            ..house.config("104").identity.clone()
        };
        let incarnation = super::found(&house, "104");
        let guest = "104".to_owned();
        Step::new(executor, Action::StartGuest { guest }, incarnation).id
    };
    let other = muster_core::executor::Executor::Guests("pve2".into());
    assert_eq!(id(&pve1(), "a"), id(&pve1(), "a"));
    assert_ne!(id(&pve1(), "a"), id(&pve1(), "b"));
    assert_ne!(id(&pve1(), "a"), id(&other, "a"));
}
