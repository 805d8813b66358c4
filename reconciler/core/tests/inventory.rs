//! What the ledger holds beside the facts: reads back as it was, and has no room for a secret.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use muster_core::accounts::action::{Action, Incarnation};
use muster_core::accounts::facts::{HomeId, IdRange, Known};
use muster_core::accounts::hindrances::Hindrances;
use muster_core::accounts::observed::{
    Account, Accounts, Defaults, Home, Manager, NOT_RECORDED, Observed, Password, Person, Question,
    Subject, Traces, UnitState, Units,
};
use muster_core::accounts::policy::{Aggregate, Policy};
use muster_core::accounts::price::{Context, Occasion, price};
use muster_core::accounts::root::Sources;
use muster_core::accounts::sudoers::Sudoers;
use muster_core::commit::CommitId;
use muster_core::executor::Executor;
use muster_core::facts::Facts;
use muster_core::gate::{Held, Reason};
use muster_core::ledger::held::HeldSteps;
use muster_core::ledger::inventory::Inventory;
use muster_core::price::Class;
use muster_core::reading::Reading;
use muster_core::release::Nonce;
use muster_core::release::claim::Claim;
use muster_core::step::Step;
use muster_core::time::Time;

fn devvm() -> Executor {
    Executor::Host("devvm".into())
}

fn commit() -> CommitId {
    "a".repeat(40).parse().unwrap()
}

fn observed(processes: usize) -> Observed {
    let range = IdRange {
        first: 100_000,
        count: 65_536,
    };
    let ann = Account {
        uid: 1000,
        gid: 1000,
        home: "/home/ann".into(),
        shell: "/bin/bash".into(),
        password: Password::Usable,
        expires: Some(20_000),
        groups: BTreeSet::from(["t3".into()]),
        half_groups: BTreeSet::new(),
        subuid: Some(range),
        subgid: None,
        more: Default::default(),
        renaming_from: None,
    };
    let traces = Traces {
        linger: Reading::Known(true),
        keys: Reading::Known(true),
        crontab: Reading::Unknown("no such\n\"thing\"".into()),
        processes: Reading::Known(processes),
        login_saved: Reading::Known(false),
    };
    let home = HomeId {
        inode: 7,
        born: 8,
        filesystem: "uuid".into(),
    };
    Observed {
        accounts: Reading::Known(Accounts {
            by_name: BTreeMap::from([("ann".into(), Box::new(ann))]),
            groups: BTreeMap::from([("t3".into(), 996)]),
            subuids: vec![range],
            subgids: vec![],
            foreign: BTreeMap::from([("zoe".into(), 9_000)]),
            foreign_uids: BTreeSet::from([1_007]),
            defaults: Defaults::default(),
            shells: BTreeSet::from(["/bin/bash".into()]),
            root: Sources::default(),
            hindrances: Hindrances::default(),
            remains: BTreeSet::new(),
        }),
        people: BTreeMap::from([
            (
                "ann".into(),
                Person {
                    home: Reading::Known(Home::Directory(home)),
                    traces: Some(Box::new(traces)),
                    kept: None,
                },
            ),
            (
                "bob".into(),
                Person {
                    home: Reading::Known(Home::Odd("a link".into())),
                    traces: None,
                    kept: None,
                },
            ),
        ]),
        environments: Reading::Known(BTreeMap::from([("ann".into(), "ab".repeat(32))])),
        aggregates: BTreeMap::from([(
            Aggregate::LoginMap,
            Reading::Known(BTreeMap::from([("ann.x".into(), "ann".into())])),
        )]),
        cluster_tiers: Some(Reading::Unknown("not there".into())),
        units: Reading::Known(Units {
            manager: Manager::Running,
            by_name: BTreeMap::from([("t3@ann.service".into(), UnitState::default())]),
            templates: BTreeSet::from(["t3@.service".into()]),
        }),
    }
}

#[test]
fn an_inventory_reads_back_as_it_was_and_so_do_the_facts_in_it() {
    let mut facts = Facts::genesis(&"0".repeat(32), devvm(), commit(), Time(5));
    let claim = Claim {
        nonce: Nonce([7; 16]),
        statement: "a".repeat(64),
        commit: commit(),
        not_after: Time(9),
        principals: vec!["ann@example.org".into()],
        tags: vec!["release/1".into()],
        reason: "ticket 1".into(),
        at: Time(6),
        steps: BTreeMap::new(),
        finished: true,
    };
    facts.claims.insert(claim.nonce, claim);
    let inventory = Inventory {
        executor: devvm(),
        recorded: Some(Time(9)),
        observed: observed(1).into(),
        facts: Some(facts),
    };
    let bytes = inventory.to_bytes();
    assert_eq!(Inventory::read(&bytes).unwrap(), inventory);
    let unread = Observed {
        accounts: Reading::Unknown("no".into()),
        cluster_tiers: None,
        ..observed(0)
    };
    let unread = unread.into();
    let bytes = Inventory::bytes_in_ledger(&devvm(), &unread);
    let read = Inventory::read(&bytes).unwrap();
    assert_eq!((read.observed, read.facts), (unread, None));
    for wrong in [
        String::from_utf8(bytes.clone())
            .unwrap()
            .replace("\"format\":1", "\"format\":2"),
        String::from_utf8(bytes.clone())
            .unwrap()
            .replace("host/devvm", "moon/devvm"),
        String::from_utf8(bytes)
            .unwrap()
            .replace("\"people\"", "\"persons\""),
    ] {
        assert!(Inventory::read(wrong.as_bytes()).is_err(), "{wrong}");
    }
}

#[test]
fn what_bears_on_root_is_a_key_of_its_own_that_is_there_where_there_is_something() {
    let plain = Inventory::bytes_in_ledger(&devvm(), &observed(0).into());
    assert!(
        !String::from_utf8(plain.clone())
            .unwrap()
            .contains("\"root\"")
    );
    let entries = [
        "User_Alias OPS = ann, !bob, #7, %#8, +net",
        "%sudo, OPS ALL=(ALL) ALL",
        "odd",
    ];
    let sudoers = Sudoers::of(entries.into_iter(), BTreeSet::from(["torn".into()]));
    let names = |group: &str, name: &str| {
        BTreeMap::from([(group.to_owned(), BTreeSet::from([name.to_owned()]))])
    };
    let mut last = Vec::new();
    for root in [
        Sources {
            administrators: names("sudo", "ann"),
            ..Sources::default()
        },
        Sources {
            awaited: names("sudo", "zoe"),
            ..Sources::default()
        },
        Sources {
            sudoers: Reading::Unknown("torn".into()),
            ..Sources::default()
        },
        Sources {
            sudoers: Reading::Known(Some(sudoers)),
            administrators: names("t3", "ann"),
            awaited: names("t3", "zoe"),
        },
    ] {
        let mut observed = observed(0);
        let Reading::Known(accounts) = &mut observed.accounts else {
            unreachable!()
        };
        accounts.root = root;
        last = Inventory::bytes_in_ledger(&devvm(), &observed.clone().into());
        assert!(
            last.starts_with(&plain[..plain.len() - 2]),
            "what was there stays as it was"
        );
        assert_eq!(Inventory::read(&last).unwrap().observed, observed.into());
    }
    let text = String::from_utf8(last).unwrap();
    for (from, to) in [
        ("\"root\":{\"format\":1", "\"root\":{\"format\":2"),
        ("\"mentioned\"", "\"mentionet\""),
        ("\"root\"", "\"roots\""),
    ] {
        let changed = text.replace(from, to);
        assert_ne!(changed, text, "{from}");
        assert!(Inventory::read(changed.as_bytes()).is_err(), "{from}");
    }
}

/// Every name that an inventory can have. Whoever adds one says here that it holds no password hash, key or session.
const NAMES: [&str; 58] = [
    "absent",
    "accounts",
    "active",
    "aggregates",
    "ann",
    "ann.x",
    "bob",
    "born",
    "by_name",
    "cluster_tiers",
    "count",
    "crontab",
    "databases",
    "defaults",
    "directory",
    "enabled",
    "environments",
    "executor",
    "expires",
    "failed",
    "filesystem",
    "first",
    "foreign",
    "foreign_uids",
    "format",
    "gid",
    "gids",
    "groups",
    "home",
    "home_base",
    "inode",
    "keys",
    "known",
    "linger",
    "login_map",
    "login_saved",
    "manager",
    "odd",
    "password",
    "people",
    "processes",
    "shell",
    "shells",
    "subgid",
    "subgids",
    "subuid",
    "subuids",
    "t3",
    "t3@ann.service",
    "templates",
    "traces",
    "uid",
    "uids",
    "units",
    "unknown",
    "zoe",
    "renaming_from",
    "half_groups",
];

#[test]
fn an_inventory_has_no_room_for_a_password_a_key_or_a_session() {
    fn names(value: &serde_json::Value, found: &mut BTreeSet<String>) {
        match value {
            serde_json::Value::Object(map) => map.iter().for_each(|(name, value)| {
                found.insert(name.clone());
                names(value, found);
            }),
            serde_json::Value::Array(list) => list.iter().for_each(|it| names(it, found)),
            _ => {}
        }
    }
    let bytes = Inventory::bytes_in_ledger(&devvm(), &observed(3).into());
    let value: serde_json::Value = serde_json::from_slice(&bytes).unwrap();
    let mut found = BTreeSet::new();
    names(&value, &mut found);
    for name in &found {
        assert!(NAMES.contains(&name.as_str()), "{name} is new");
    }
    // Of a password field, whether something opens it; of keys, whether there are any; of sessions, whether some run.
    assert_eq!(value["accounts"]["ann"]["password"], "usable");
    let traces = &value["people"]["ann"]["traces"];
    assert_eq!(traces["keys"]["known"], true);
    assert_eq!(traces["processes"]["known"], true);
    let more = Inventory::bytes_in_ledger(&devvm(), &observed(4).into());
    assert_eq!(bytes, more, "how many processes run is not written down");
}

#[test]
fn a_held_step_keeps_its_time_and_cannot_be_made_to_look_like_another() {
    let action = Action::ArchiveDelete {
        user: "emo".into(),
        uid: 1004,
        home: "/home/emo".into(),
        home_id: None,
        gid: 1004,
        subuid: None,
        subgid: None,
        more: Default::default(),
    };
    let incarnation = Incarnation::Found { uid: 1004 };
    let policy = Policy::for_host("devvm");
    let context = Context {
        policy: &policy,
        roots: None,
        known: &Known::new(),
        occasion: Occasion::default(),
    };
    let held = [Held {
        price: price(&action, &context),
        step: Arc::new(Step::new(&devvm(), action, incarnation)),
        reason: Reason::PendingSignature,
    }];
    let none = BTreeMap::new();
    let first = HeldSteps::now(&devvm(), &commit(), &held, |_| vec![], &none, Time(3));
    let later = HeldSteps::now(
        &devvm(),
        &commit(),
        &held,
        |_| vec![],
        &first.since(),
        Time(9),
    );
    assert_eq!(first, later);
    assert_eq!(later.held[0].class, Class::Destructive);
    let bytes = later.to_bytes();
    assert_eq!(HeldSteps::read(&bytes).unwrap(), later);
    let text = String::from_utf8(bytes).unwrap();
    for (from, to) in [
        (
            "\"words\": \"user.archive_delete emo",
            "\"words\": \"user.archive_delete ann",
        ),
        ("\"user\": \"emo\"", "\"user\": \"ann\""),
        ("host/devvm", "host/other"),
        ("\"format\": 1", "\"format\": 2"),
    ] {
        let changed = text.replace(from, to);
        assert_ne!(changed, text, "{from}");
        assert!(HeldSteps::read(changed.as_bytes()).is_err(), "{from}");
    }
}

#[test]
fn what_was_not_written_down_is_unknown_and_what_was_is_as_it_was() {
    let seen = observed(0);
    let ask = |user: &'static str, traces: bool| Question {
        people: BTreeMap::from([(
            user,
            Subject {
                traces,
                ask_name_services: false,
                home: None,
                cuts: 0,
                kept: None,
            },
        )]),
        ..Question::default()
    };
    // Whoever was looked at closely enough is told of as then; nothing is copied for that.
    assert!(matches!(
        seen.recalled(&ask("ann", true)),
        std::borrow::Cow::Borrowed(_)
    ));
    let recalled = seen.recalled(&ask("bob", true));
    let bob = &recalled.people["bob"];
    assert_eq!(bob.home, seen.people["bob"].home);
    let traces = bob.traces.as_ref().unwrap();
    assert_eq!(traces.linger, Reading::Unknown(NOT_RECORDED.into()));
    assert_eq!(traces.processes, Reading::Unknown(NOT_RECORDED.into()));
    // Without an account there was no home; with one that nobody looked at, nothing is known of it.
    assert_eq!(
        seen.recalled(&ask("cho", false)).people["cho"].home,
        Reading::Known(Home::Absent)
    );
    let mut unseen = seen.clone();
    unseen.people.remove("ann");
    assert_eq!(
        unseen.recalled(&ask("ann", false)).people["ann"].home,
        Reading::Unknown(NOT_RECORDED.into())
    );
}
