//! Whole texts about executors of several rooms at once.

use std::sync::Arc;

use muster_core::executor::Executor;
use muster_core::facts::Facts;
use muster_core::guests::action::{Found, Volume, Volumes};
use muster_core::guests::desired::{Desired, Run, Wanted};
use muster_core::guests::observed::{Config, Form, Guest, Observed, Sight};
use muster_core::guests::policy::Policy;
use muster_core::journal::StepResult;
use muster_core::people::Stage;
use muster_core::reading::Reading;
use muster_core::repo::Tier;
use muster_core::report::{
    Audience, Comment, FORGE_LIMIT, Host, HostRecord, Outcome, Paper, Proposal, Reached, Record,
    ReportState, comment, outcome, record, text,
};
use muster_core::rooms;
use muster_core::time::Time;

use crate::golden::check;
use crate::reader::commands;
use crate::world::{NOW, Planned, World, about, commit, planned};

/// A hypervisor with these guests, running or not, of which these are wanted.
fn hypervisor(name: &str, there: &[(&str, bool)], wanted: &[(&str, Option<Run>, bool)]) -> Planned {
    let executor = Executor::Guests(name.to_owned());
    let guests = there.iter().map(|(name, running)| {
        let volume = Volume {
            size: Some(8 << 30),
            storage: "local-lvm".to_owned(),
        };
        let config = Config {
            identity: Found {
                uuid: Some(format!("made-{name}")),
                ..Found::default()
            },
            volumes: Volumes([(format!("local-lvm:vm-{name}-disk-0"), volume)].into()),
            ..Config::default()
        };
        let run = if *running { Run::Running } else { Run::Stopped };
        let guest = Guest::new(Form::Container, Some(run), Reading::Known(config));
        ((*name).to_owned(), Sight::Seen(Box::new(guest)))
    });
    let observed = Observed::of(guests.collect());
    let wanted = wanted.iter().map(|(name, run, destroy)| {
        let wanted = Wanted {
            run: *run,
            destroy: *destroy,
            ..Wanted::default()
        };
        ((*name).to_owned(), wanted)
    });
    let desired = Desired {
        guests: wanted.collect(),
        ..Desired::default()
    };
    let mut policy = Policy::new(executor.clone());
    policy.create_token = true;
    let facts = Facts::genesis(&"f".repeat(32), executor.clone(), commit('a'), Time(0));
    planned(
        &policy.into(),
        &rooms::Desired::Guests(desired),
        &observed.into(),
        &facts,
    )
}

/// Two guests start, one is shut down, one is to end, and one is not there.
fn pve1() -> (Planned, Planned) {
    let there = [
        ("104", false),
        ("105", true),
        ("old", true),
        ("web", false),
        ("odd", true),
    ];
    let (run, stop) = (Some(Run::Running), Some(Run::Stopped));
    let before = [("104", run, false)];
    let after = [
        ("104", run, false),
        ("105", stop, false),
        ("gone", run, false),
        ("old", None, true),
        ("web", run, false),
    ];
    (
        hypervisor("pve1", &there, &after),
        hypervisor("pve1", &there, &before),
    )
}

/// An admin is new.
fn devvm() -> (Planned, Planned) {
    let mut world = World::bare("devvm");
    world.kept("ann", 1001, Stage::Active);
    world.want("ann", Tier::PowerUser);
    let base = world.plan();
    world.want("emo", Tier::Admin);
    (world.plan(), base)
}

fn commented(audience: Audience, hosts: &[Host<'_>]) -> Comment {
    let proposal = Proposal::Planned {
        hosts,
        unknown: &[],
        warnings: &[],
    };
    about(Some("emo-and-his-guests"), audience, |about| {
        comment(about, &proposal, FORGE_LIMIT)
    })
}

#[test]
fn one_comment_tells_of_a_host_and_of_a_hypervisor() {
    let (devvm, pve1) = (devvm(), pve1());
    let hosts = [
        devvm.0.host(Some(&devvm.1.plan)),
        pve1.0.host(Some(&pve1.1.plan)),
    ];
    let comment = commented(Audience::Team, &hosts);
    assert_eq!(comment.state, ReportState::Success);
    assert_eq!(comment.pages.len(), 1);
    check("rooms.md", &comment.pages[0]);
    check("rooms.line", &format!("{}\n", comment.line));
    check("rooms.txt", &text(&hosts, Paper::PLAIN));
    let turned = [hosts[1], hosts[0]];
    assert_eq!(commented(Audience::Team, &turned), comment, "in any order");
    check(
        "rooms-public.md",
        &commented(Audience::Public, &hosts).pages.concat(),
    );
}

/// A name alone is a host's: the same name may be a hypervisor's, too.
#[test]
fn a_command_names_the_executor_that_holds_the_step() {
    let mut world = World::bare("pve1");
    world.want("emo", Tier::Admin);
    let (host, hypervisor) = (world.plan(), pve1().0);
    let comment = commented(Audience::Team, &[host.host(None), hypervisor.host(None)]);
    let given = commands(&comment.pages);
    let of = |planned: &Planned, name: &str| {
        let ids = planned.verdict.held.iter().map(|it| it.step.id.to_string());
        let start = format!("muster release propose --host {name} ");
        let commands = given.iter().filter_map(|it| it.strip_prefix(&start));
        let named: Vec<&str> = commands.flat_map(|it| it.split(' ')).collect();
        assert!(ids.clone().count() > 0);
        assert!(
            ids.clone().all(|id| named.contains(&id.as_str())),
            "{given:?}"
        );
        assert_eq!(named.len(), ids.count(), "{given:?}");
    };
    of(&host, "pve1");
    of(&hypervisor, "guests/pve1");
}

#[test]
fn what_is_counted_says_of_what_it_is() {
    let mut world = World::bare("devvm");
    for i in 0..2_000 {
        world.want(&format!("u{i}"), Tier::PowerUser);
    }
    let run = Some(Run::Running);
    let pve = |name: &str, wanted: &[(&str, Option<Run>, bool)]| {
        hypervisor(name, &[("104", false), ("web", false)], wanted)
    };
    let many = world.plan();
    let two = pve("pve1", &[("104", run, false), ("web", run, false)]);
    let one = pve("pve2", &[("104", run, false)]);
    let hosts = [many.host(None), two.host(None)];
    let page = commented(Audience::Team, &hosts).pages.concat();
    let counted = "create 2000 accounts, make 2000 homes, start 2 guests (4002 steps for 2000 people and 2 guests)";
    assert!(page.contains(counted), "{page}");
    let hosts = [many.host(None), one.host(None)];
    let page = commented(Audience::Team, &hosts).pages.concat();
    assert!(page.contains("for 2000 people and 1 guest)"), "{page}");
    let alone = commented(Audience::Team, &[two.host(None)]).pages.concat();
    assert!(
        alone.contains("Runs at once: 2 steps for 2 guests"),
        "{alone}"
    );
}

/// Two hypervisors are told of once when their plans are alike; whoever is called like a guest is no guest.
#[test]
fn equal_plans_are_folded_within_a_room_and_not_across_rooms() {
    let run = Some(Run::Running);
    let pve = |name: &str| hypervisor(name, &[("emo", false)], &[("emo", run, false)]);
    let mut world = World::bare("devvm");
    world.want("emo", Tier::PowerUser);
    let (one, two, host) = (pve("pve1"), pve("pve2"), world.plan());
    let hosts = [one.host(None), two.host(None), host.host(None)];
    let page = commented(Audience::Team, &hosts).pages.concat();
    assert!(
        page.contains("### 2 hypervisors alike: `guests/pve1`, `guests/pve2`\n"),
        "{page}"
    );
    assert!(page.contains("\n### `host/devvm`\n"), "{page}");
    assert!(
        page.contains("on each hypervisor: 1 step for 1 guest\n"),
        "{page}"
    );
    assert!(page.contains(": 2 steps for 1 person\n"), "{page}");
}

#[test]
fn what_became_of_guests_is_told_after_the_merge() {
    let (planned, _) = pve1();
    let steps = planned.verdict.admitted.iter();
    let results: Vec<_> = steps
        .map(|it| (Arc::new(it.step().clone()), StepResult::Done))
        .collect();
    let adopted = commit('b');
    let told = outcome(
        &Outcome {
            executor: &planned.executor,
            adopted: &adopted,
            at: NOW,
            results: &results,
            held: &planned.verdict.held,
            notes: planned.plan.notes(),
        },
        usize::MAX,
    );
    let page = told.pages.concat();
    assert!(page.contains("Done: 4 steps for 4 guests"), "{page}");
    assert!(
        page.contains("muster release propose --host guests/pve1 "),
        "{page}"
    );

    let done: Vec<_> = results.iter().map(|(step, _)| Arc::clone(step)).collect();
    let host = HostRecord {
        executor: &planned.executor,
        seen: Ok(NOW),
        adopted: Some(&adopted),
        reached: Reached::At,
        done: &done,
        undone: &[],
        held: &planned.verdict.held,
        releases: &[],
    };
    let of = Record {
        commit: &adopted,
        hosts: &[host],
        about: None,
        audience: Audience::Team,
        full: None,
        operator: None,
    };
    let page = record(&of, FORGE_LIMIT).pages.concat();
    assert!(page.contains("Done: 4 steps for 4 guests"), "{page}");
}
