//! The guests of a hypervisor: given a file, what runs there and a past, expect these steps, and these to wait.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use muster_core::commit::CommitId;
use muster_core::executor::Executor;
use muster_core::facts::Facts;
use muster_core::gate::{Approvals, Reason, Verdict, judge};
use muster_core::guests::action::{Action, Incarnation, Marker};
use muster_core::guests::desired::{Desired, Run, Wanted};
use muster_core::guests::limits::limits;
use muster_core::guests::observed::{Guest, Observed};
use muster_core::guests::policy::Policy;
use muster_core::guests::price::price;
use muster_core::guests::say::Note;
use muster_core::guests::verbs::Verb;
use muster_core::journal::{Authority, Entry, Replayed, StepResult};
use muster_core::ledger::inventory::Inventory;
use muster_core::ledger::{self, Through, policy as policy_file};
use muster_core::limits::Bound;
use muster_core::plan::{Input, Plan, plan};
use muster_core::price::{Class, Doubt, Root, Takes};
use muster_core::reading::Reading;
use muster_core::release::Nonce;
use muster_core::release::claim::{Claim, Progress};
use muster_core::report::sentence;
use muster_core::rooms;
use muster_core::settle::settle;
use muster_core::step::Step;
use muster_core::time::Time;
use muster_core::turn::Turn;

/// 2026-11-22T00:00:00Z.
const NOW: Time = Time(1_795_305_600);

fn pve1() -> Executor {
    Executor::Guests("pve1".into())
}

fn commit() -> CommitId {
    "1".repeat(40).parse().unwrap()
}

fn files(text: &str) -> BTreeMap<String, Vec<u8>> {
    [("roster.yaml", "users: {}\n"), ("guests/pve1.yaml", text)]
        .map(|(path, text)| (path.to_owned(), text.as_bytes().to_vec()))
        .into()
}

fn desired(text: &str) -> Desired {
    let files = files(text);
    let (repo, warnings) = rooms::read(&files, &pve1()).expect(text);
    assert!(warnings.is_empty(), "{text}");
    match rooms::desired(&repo, &Policy::new(pve1()).into(), NOW.date()) {
        rooms::Desired::Guests(desired) => desired,
        rooms::Desired::Accounts(_) => panic!("{text}"),
    }
}

/// What is wrong in the file: `line:column rule`.
fn faults(text: &str) -> Vec<String> {
    let found = match rooms::read(&files(text), &pve1()) {
        Ok(_) => panic!("{text}"),
        Err(found) => found,
    };
    let place = |it: &muster_core::diagnostic::Diagnostic| {
        assert_eq!(it.file, "guests/pve1.yaml");
        let at = it.at.map_or_else(String::new, |at| format!("{at} "));
        format!("{at}{}", it.rule)
    };
    found.iter().map(place).collect()
}

fn guest(made: &str, running: bool) -> Guest {
    Guest {
        running,
        made: Marker(made.into()),
    }
}

fn observed(guests: &[(&str, bool)]) -> Observed {
    let guests = guests
        .iter()
        .map(|(name, running)| ((*name).to_owned(), guest(&format!("m-{name}"), *running)));
    Observed {
        guests: Reading::Known(guests.collect()),
    }
}

fn unread() -> Observed {
    Observed {
        guests: Reading::Unknown("the token was refused".into()),
    }
}

fn past() -> Replayed {
    let genesis = Entry::Genesis {
        at: Time(0),
        executor_id: "0".repeat(32),
        name: "guests/pve1".into(),
        adopt: commit(),
    };
    Replayed::begin(&genesis).unwrap()
}

fn make(policy: &Policy, text: &str, observed: &Observed, facts: &Facts) -> Plan {
    plan(&Input {
        policy: &policy.clone().into(),
        commit: &commit(),
        today: NOW.date(),
        desired: &rooms::Desired::Guests(desired(text)),
        observed: &observed.clone().into(),
        facts,
    })
}

fn judged(policy: &Policy, text: &str, observed: &Observed, facts: &Facts) -> Verdict {
    let plan = make(policy, text, observed, facts);
    let bounds = plan.bounds(&policy.clone().into(), &observed.clone().into(), facts, NOW);
    judge(&plan, &bounds, facts, &Approvals::of_begun(facts), NOW)
}

/// The words of what may run, and of what waits with the code of its reason.
fn told(verdict: &Verdict) -> (Vec<String>, Vec<(String, &'static str)>) {
    let admitted = verdict.admitted.iter().map(|it| it.step().words());
    let held = verdict
        .held
        .iter()
        .map(|it| (it.step.words(), it.reason.code()));
    (admitted.collect(), held.collect())
}

fn words(plan: &Plan) -> Vec<String> {
    plan.steps().iter().map(|it| it.step.words()).collect()
}

fn destroy(name: &str) -> Action {
    Action::DestroyGuest {
        guest: name.into(),
        made: Marker(format!("m-{name}")),
    }
}

fn every_action() -> [Action; 3] {
    [
        Action::StartGuest {
            guest: "104".into(),
        },
        Action::ShutdownGuest {
            guest: "104".into(),
        },
        destroy("104"),
    ]
}

#[test]
fn everything_that_can_be_said_of_a_guest_is_read() {
    let text = "\
guests:
  104: {run: running}
  web-1:
    run: stopped
    destroy: false
  old: {destroy: true}
  told: {}
";
    let wanted = |run, destroy| Wanted { run, destroy };
    let expected = [
        ("104", wanted(Some(Run::Running), false)),
        ("web-1", wanted(Some(Run::Stopped), false)),
        ("old", wanted(None, true)),
        ("told", wanted(None, false)),
    ];
    let expected = expected.map(|(name, wanted)| (name.to_owned(), wanted));
    assert_eq!(desired(text).guests, expected.into());
    for empty in ["", "# nobody\n", "guests:\n", "guests: {}\n", "{}\n", "~\n"] {
        assert_eq!(desired(empty), Desired::default(), "{empty:?}");
    }
}

#[test]
fn each_fault_of_a_file_of_guests_has_its_place_and_its_rule() {
    for (text, expected) in [
        ("- 104\n", &["1:1 wrong-type"][..]),
        ("guests: 104\n", &["1:9 wrong-type"]),
        ("guests: [104]\n", &["1:9 wrong-type"]),
        ("guest: {}\n", &["1:1 unknown-field"]),
        ("guests: {}\nguests: {}\n", &["2:1 duplicate-key"]),
        ("guests:\n  104:\n", &["2:3 wrong-type"]),
        ("guests:\n  104: running\n", &["2:8 wrong-type"]),
        ("guests:\n  104: {run: maybe}\n", &["2:14 unknown-word"]),
        ("guests:\n  104: {run: [x]}\n", &["2:14 wrong-type"]),
        ("guests:\n  104: {destroy: yes}\n", &["2:18 wrong-type"]),
        (
            "guests:\n  104: {destroy: \"true\"}\n",
            &["2:18 wrong-type"],
        ),
        ("guests:\n  104: {cores: 2}\n", &["2:9 unknown-field"]),
        (
            "guests:\n  104: {run: running, run: stopped}\n",
            &["2:23 duplicate-key"],
        ),
        (
            "guests:\n  104: {}\n  web: {}\n  104: {}\n",
            &["4:3 duplicate-entry"],
        ),
        ("guests:\n  \"\": {}\n", &["2:3 guest-form"]),
        ("guests:\n  we_b: {}\n", &["2:3 guest-form"]),
        ("guests:\n  -web: {}\n", &["2:3 guest-form"]),
        ("guests:\n  web-: {}\n", &["2:3 guest-form"]),
        ("guests:\n  ../104: {}\n", &["2:3 guest-form"]),
        // What could be the same number in another spelling.
        ("guests:\n  0104: {}\n", &["2:3 guest-form"]),
        ("guests:\n  1e2: {}\n", &["2:3 guest-form"]),
        (
            "guests:\n  a b: {cores: 1}\n  104: {run: off, destroy: 1}\nmore: 1\n",
            &[
                "2:3 guest-form",
                "2:9 unknown-field",
                "3:14 ambiguous-scalar",
                "3:28 wrong-type",
                "4:1 unknown-field",
            ],
        ),
        ("guests:\n  104: {run: running\n", &["2:8 yaml-syntax"]),
    ] {
        assert_eq!(faults(text), expected, "{text}");
    }
    let found = match rooms::read(&files("guests:\n  104: {runs: 1}\n"), &pve1()) {
        Ok(_) => panic!("there is no such field"),
        Err(found) => found,
    };
    let problem = &found.iter().next().unwrap().problem;
    assert!(
        problem.contains("guest '104'") && problem.contains("'runs'"),
        "{problem}"
    );
}

#[test]
fn a_file_that_is_nearly_called_right_is_an_error_for_whom_it_is_meant() {
    let (other, host) = (
        Executor::Guests("pve2".into()),
        Executor::Host("pve1".into()),
    );
    for path in [
        "guests/pve1.yml",
        "guests/PVE1.yaml",
        "Guests/pve1.yaml",
        "GUESTS/PVE1.YML",
    ] {
        let mut files = files("guests: {}\n");
        files.insert(path.to_owned(), b"guests: 7\n".to_vec());
        let found = match rooms::read(&files, &pve1()) {
            Ok(_) => panic!("{path} passes silently"),
            Err(found) => found,
        };
        let told = found
            .iter()
            .map(|it| (&*it.file, it.rule, it.help.as_deref()));
        let expected = (path, "file-name", Some("rename it to guests/pve1.yaml"));
        assert_eq!(told.collect::<Vec<_>>(), [expected]);
        assert!(rooms::read(&files, &other).is_ok(), "{path}");
        assert!(rooms::read(&files, &host).is_ok(), "{path}");
        assert!(rooms::read_whole(&files, &[&host, &pve1()]).is_err());
        assert!(rooms::read_whole(&files, &[&host, &other]).is_ok());
    }
}

#[test]
fn a_plan_starts_and_stops_what_the_file_names_and_nothing_else() {
    let text = "\
guests:
  104: {run: running}
  105: {run: running}
  bak: {run: stopped}
  web: {run: stopped}
  old: {destroy: true, run: running}
  told: {}
  gone: {run: running}
  ended: {destroy: true}
";
    let host = observed(&[
        ("104", false),
        ("105", true),
        ("bak", false),
        ("web", true),
        ("old", false),
        ("told", false),
        ("stranger", false),
    ]);
    let facts = past().facts;
    let plan = make(&Policy::new(pve1()), text, &host, &facts);
    assert_eq!(
        words(&plan),
        [
            "guest.shutdown web",
            "guest.start 104",
            "guest.destroy old made=m-old"
        ]
    );
    let missing = Note::Missing {
        guest: "gone".into(),
    };
    assert_eq!(plan.notes(), [rooms::Note::Guest(missing)]);
    assert_eq!(
        plan.notes()[0].to_string(),
        "gone: there is no such guest here; take the row out, or make the guest"
    );
    for planned in plan.steps() {
        let made = Marker(format!("m-{}", planned.step.resource()));
        let incarnation = Incarnation::Guest { made };
        assert_eq!(planned.step.incarnation, incarnation.clone().into());
        let again = Step::new(&pve1(), planned.step.action.clone(), incarnation);
        assert_eq!(*planned.step, again);
    }
    assert_eq!(plan, make(&Policy::new(pve1()), text, &host, &facts));
}

#[test]
fn a_step_is_signed_for_one_guest_and_not_for_a_later_one_of_the_same_number() {
    let id = |executor: &Executor, made: &str| {
        let made = Marker(made.into());
        let guest = "104".to_owned();
        Step::new(
            executor,
            Action::StartGuest { guest },
            Incarnation::Guest { made },
        )
        .id
    };
    let other = Executor::Guests("pve2".into());
    assert_eq!(id(&pve1(), "a"), id(&pve1(), "a"));
    assert_ne!(id(&pve1(), "a"), id(&pve1(), "b"));
    assert_ne!(id(&pve1(), "a"), id(&other, "a"));
}

#[test]
fn a_hypervisor_that_cannot_be_read_is_not_planned_on() {
    let text = "guests: {104: {run: running}, old: {destroy: true}}\n";
    let plan = make(&Policy::new(pve1()), text, &unread(), &past().facts);
    assert!(plan.steps().is_empty());
    let note = &plan.notes()[0];
    assert_eq!(
        note.to_string(),
        "the guests could not be read (the token was refused); nothing is planned on them"
    );
    assert_eq!(note.kind(), "unread");
    assert!(note.is_unread() && note.leaves_world_unknown() && note.needs_attention());
}

#[test]
fn what_ends_a_guest_is_destructive_and_the_rest_is_benign() {
    let prices = every_action().map(|it| price(&it));
    assert_eq!(
        prices.map(|it| (it.turn, it.class, it.takes, it.doubt)),
        [
            (Turn::Start, Class::Benign, Takes::Nothing, Doubt::TryAgain),
            (
                Turn::Quiesce,
                Class::Benign,
                Takes::Nothing,
                Doubt::TryAgain
            ),
            (
                Turn::Destroy,
                Class::Destructive,
                Takes::Removal,
                Doubt::BringToEnd
            ),
        ]
    );
    assert!(prices.iter().all(|it| it.root == Root::Apart));
    let verbs = every_action().map(|it| it.verb());
    assert_eq!(verbs, [Verb::Start, Verb::Shutdown, Verb::Destroy]);
    assert_eq!(Verb::ALL, verbs);
}

#[test]
fn a_sentence_says_what_becomes_of_the_guest() {
    assert_eq!(
        every_action().map(|it| sentence(&it.into())),
        [
            "start guest 104",
            "shut down guest 104",
            "destroy guest 104 with all that it holds"
        ]
    );
}

#[test]
fn a_step_has_come_as_far_as_the_hypervisor_shows() {
    let [start, shutdown, destroy] = every_action();
    let result = |action: &Action, observed: &Observed| {
        let made = Marker("m-104".into());
        let step = Step::new(&pve1(), action.clone(), Incarnation::Guest { made });
        let policy = Policy::new(pve1()).into();
        settle(
            &step,
            &price(action),
            &observed.clone().into(),
            &policy,
            None,
        )
    };
    let (runs, stands) = (observed(&[("104", true)]), observed(&[("104", false)]));
    let gone = observed(&[("105", true)]);
    let strange = |why: &str| StepResult::NeedsOperator(why.to_owned());
    for (action, observed, expected) in [
        (&start, &runs, StepResult::Done),
        (&start, &stands, StepResult::NotBegun),
        (&start, &gone, strange("the guest is gone")),
        (&shutdown, &stands, StepResult::Done),
        (&shutdown, &runs, StepResult::NotBegun),
        (&shutdown, &gone, strange("the guest is gone")),
        (&destroy, &gone, StepResult::Done),
        (&destroy, &runs, StepResult::NotBegun),
    ] {
        assert_eq!(result(action, observed), expected, "{action:?}");
    }
    // Another guest was made under that number in the meantime: it is not the one that was to end.
    let another = Observed {
        guests: Reading::Known([("104".to_owned(), guest("m-later", true))].into()),
    };
    assert!(matches!(
        result(&destroy, &another),
        StepResult::NeedsOperator(why) if why.starts_with("another guest has that number now")
    ));
    assert!(matches!(result(&start, &unread()), StepResult::Failed(_)));
    assert!(
        matches!(result(&destroy, &unread()), StepResult::Unfinished(_)),
        "it may be halfway"
    );
}

#[test]
fn a_step_is_not_settled_by_a_look_at_another_world() {
    let action = destroy("104");
    let made = Marker("m-104".into());
    let step = Step::new(&pve1(), action.clone(), Incarnation::Guest { made });
    let machine = muster_core::accounts::observed::Observed {
        accounts: Reading::Unknown("not looked at".into()),
        people: BTreeMap::new(),
        environments: Reading::Known(BTreeMap::new()),
        aggregates: BTreeMap::new(),
        cluster_tiers: None,
        units: Reading::Unknown("not looked at".into()),
    };
    let policy = Policy::new(pve1()).into();
    let result = settle(&step, &price(&action), &machine.into(), &policy, None);
    assert!(matches!(result, StepResult::Unfinished(why) if why.contains("another world")));
}

#[test]
fn more_than_a_share_of_the_guests_is_over_the_limit() {
    let names: Vec<String> = (100..108).map(|it| it.to_string()).collect();
    let guests: Vec<(&str, bool)> = names.iter().map(|it| (it.as_str(), true)).collect();
    let eight = observed(&guests);
    let policy = Policy::new(pve1());
    let over = |removals: usize, recent: usize| {
        let planned = std::iter::repeat_n(Takes::Removal, removals);
        let planned = planned.chain([Takes::Nothing; 9]);
        limits(planned, &policy, &eight, recent)
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
        "over the limit: 3 removals (0 of them in the last 24 hours) are 37 % of 8 guests, and more than 25 % is held as a \
         whole; split the change over days, or sign a release for exactly these steps"
    );
    // What ended a day ago at most is counted with them.
    assert_eq!(over(1, 1), []);
    assert_eq!(over(1, 2).len(), 1);
}

#[test]
fn a_destroy_waits_for_a_release_and_the_rest_goes_on() {
    let text = "guests: {104: {run: running}, old: {destroy: true}}\n";
    let host = observed(&[("104", false), ("old", true)]);
    let verdict = judged(&Policy::new(pve1()), text, &host, &past().facts);
    assert_eq!(
        told(&verdict),
        (
            vec!["guest.start 104".to_owned()],
            vec![(
                "guest.destroy old made=m-old".to_owned(),
                "pending_signature"
            )]
        )
    );
    assert_eq!(verdict.held[0].price.class, Class::Destructive);
}

#[test]
fn a_protected_guest_is_refused_signed_or_not() {
    let text = "guests: {104: {run: running}, 105: {run: running}, old: {destroy: true}}\n";
    let host = observed(&[("104", false), ("105", false), ("old", true)]);
    let mut policy = Policy::new(pve1());
    policy.protected = BTreeSet::from(["104".to_owned(), "old".to_owned()]);
    let (admitted, held) = told(&judged(&policy, text, &host, &past().facts));
    assert_eq!(admitted, ["guest.start 105"]);
    assert_eq!(
        held,
        [
            ("guest.start 104".to_owned(), "guardrail"),
            ("guest.destroy old made=m-old".to_owned(), "guardrail"),
        ]
    );
    let mut past = past();
    begin(&mut past, &policy, text, &host, &["old"]);
    let (_, held) = told(&judged(&policy, text, &host, &past.facts));
    assert_eq!(held[1].1, "guardrail");
}

/// Lets a release permit the end of some guests, and the first of them begin: the gate asks for no more than a claim.
fn begin(past: &mut Replayed, policy: &Policy, text: &str, host: &Observed, names: &[&str]) {
    let plan = make(policy, text, host, &past.facts);
    let planned = plan.steps().iter();
    let steps: Vec<Arc<Step>> = planned
        .filter(|it| it.price.class == Class::Destructive && names.contains(&it.step.resource()))
        .map(|it| Arc::clone(&it.step))
        .collect();
    let nonce = Nonce([7; 16]);
    let claim = Claim {
        nonce,
        statement: "a".repeat(64),
        commit: commit(),
        not_after: NOW.plus(3_600),
        principals: vec!["ann@example.org".into()],
        tags: vec!["release/1".into()],
        reason: "ticket 1".into(),
        at: NOW,
        steps: steps.iter().map(|it| (it.id, Progress::Waiting)).collect(),
        finished: false,
    };
    past.apply(&Entry::Claimed {
        at: NOW,
        claim,
        statement: String::new(),
    })
    .unwrap();
    let by = steps.iter().map(|it| (it.id, nonce)).collect();
    let authority = Authority::Released {
        commit: commit(),
        by,
    };
    past.apply(&Entry::Intended {
        at: NOW,
        steps,
        authority,
    })
    .unwrap();
}

const FOUR_END: &str = "guests: {a: {destroy: true}, b: {destroy: true}, c: {destroy: true}, d: {destroy: true}, e: {run: running}}\n";

fn five() -> Observed {
    observed(&[
        ("a", true),
        ("b", true),
        ("c", true),
        ("d", true),
        ("e", false),
    ])
}

#[test]
fn too_many_ends_at_once_wait_together_and_no_part_of_them_is_let_through() {
    let policy = Policy::new(pve1());
    let verdict = judged(&policy, FOUR_END, &five(), &past().facts);
    assert_eq!(told(&verdict).0, ["guest.start e"]);
    assert_eq!(verdict.held.len(), 4);
    for held in &verdict.held {
        assert!(
            matches!(&held.reason, Reason::Limit(why) if why.contains("4 removals") && why.contains("80 % of 5 guests")),
            "{:?}",
            held.reason
        );
    }
    // A release of some of them begins with those, and what is begun is brought to its end; the others still wait together.
    let mut past = past();
    begin(&mut past, &policy, FOUR_END, &five(), &["a", "b"]);
    let (admitted, held) = told(&judged(&policy, FOUR_END, &five(), &past.facts));
    assert_eq!(
        admitted,
        [
            "guest.start e",
            "guest.destroy a made=m-a",
            "guest.destroy b made=m-b"
        ]
    );
    assert_eq!(
        held,
        [
            ("guest.destroy c made=m-c".to_owned(), "limit"),
            ("guest.destroy d made=m-d".to_owned(), "limit"),
        ]
    );
}

#[test]
fn a_guest_that_ended_counts_for_a_day() {
    let policy = Policy::new(pve1());
    let mut past = past();
    begin(&mut past, &policy, FOUR_END, &five(), &["a", "b"]);
    let results = vec![StepResult::Done; 2];
    past.apply(&Entry::Outcome { at: NOW, results }).unwrap();
    assert_eq!(past.facts.removals, [NOW, NOW]);
    let left = observed(&[("c", true), ("d", true), ("e", true)]);
    let one = "guests: {c: {destroy: true}}\n";
    let (_, held) = told(&judged(&policy, one, &left, &past.facts));
    assert_eq!(
        held,
        [("guest.destroy c made=m-c".to_owned(), "limit")],
        "three of five"
    );
    past.facts.removals.clear();
    let (_, held) = told(&judged(&policy, one, &left, &past.facts));
    assert_eq!(held[0].1, "pending_signature");
}

#[test]
fn an_inventory_of_a_hypervisor_reads_back_as_it_was_and_so_do_the_facts_in_it() {
    let mut past = past();
    let policy = Policy::new(pve1());
    begin(&mut past, &policy, FOUR_END, &five(), &["a"]);
    let results = vec![StepResult::Done];
    past.apply(&Entry::Outcome { at: NOW, results }).unwrap();
    for observed in [five(), unread()] {
        let inventory = Inventory {
            executor: pve1(),
            recorded: Some(NOW),
            observed: observed.into(),
            facts: Some(past.facts.clone()),
        };
        let bytes = inventory.to_bytes();
        assert_eq!(Inventory::read(&bytes).unwrap(), inventory);
    }
    let bytes = Inventory::bytes_in_ledger(&pve1(), &five().into());
    let read = Inventory::read(&bytes).unwrap();
    assert_eq!((read.observed, read.facts), (five().into(), None));
    let text = String::from_utf8(bytes).unwrap();
    for (from, to) in [
        ("\"format\":1", "\"format\":2"),
        ("guests/pve1", "moon/pve1"),
        // Of another kind of executor: nothing of it is taken for accounts, or for something that this version keeps.
        ("guests/pve1", "host/pve1"),
        ("guests/pve1", "cluster/pve1"),
        ("\"hypervisor\"", "\"machine\""),
        ("\"running\"", "\"runs\""),
    ] {
        let changed = text.replace(from, to);
        assert_ne!(changed, text, "{from}");
        assert!(Inventory::read(changed.as_bytes()).is_err(), "{to}");
    }
}

#[test]
fn the_facts_of_a_hypervisor_read_back_out_of_the_files_of_a_ledger() {
    let mut past = past();
    let policy = Policy::new(pve1());
    begin(&mut past, &policy, FOUR_END, &five(), &["a"]);
    let results = vec![StepResult::Done];
    past.apply(&Entry::Outcome { at: NOW, results }).unwrap();
    assert_eq!(past.facts.record.len(), 1);
    let through = Through {
        sequence: 3,
        chain: "c".into(),
    };
    let files = ledger::files(&past.facts, &through);
    assert!(files.keys().all(|it| !it.starts_with("people/")));
    assert_eq!(ledger::facts(&files).unwrap(), (past.facts, through));
}

#[test]
fn what_an_administrator_decided_about_guests_reads_back_as_it_was() {
    let mut policy = Policy::new(pve1());
    policy.protected = ["104".to_owned(), "muster".to_owned()].into();
    policy.limits.removals = 1;
    policy.limits.share = 2;
    policy.limits.retry_after = 3;
    for policy in [policy.clone(), Policy::new(pve1())] {
        let bytes = policy_file::to_bytes(&policy.clone().into());
        assert_eq!(policy_file::read(&bytes).unwrap(), policy.into());
    }
    let text = String::from_utf8(policy_file::to_bytes(&policy.into())).unwrap();
    for (from, to) in [
        ("\"format\": 1", "\"format\": 2"),
        ("\"share\": 2", "\"share\": -2"),
        ("\"protected\"", "\"guarded\""),
        ("guests/pve1", "guests/../pve1"),
        ("guests/pve1", "host/pve1"),
        ("guests/pve1", "ca/pve1"),
    ] {
        let changed = text.replace(from, to);
        assert_ne!(changed, text, "{from}");
        assert!(policy_file::read(changed.as_bytes()).is_err(), "{to}");
    }
}
