//! Whole texts about many hosts.

use std::collections::BTreeSet;
use std::sync::Arc;

use muster_core::commit::CommitId;
use muster_core::diagnostic::{Diagnostic, Pos, Severity};
use muster_core::executor::Executor;
use muster_core::facts::Attempted;
use muster_core::forge::{Annotation, Level};
use muster_core::gate::Held;
use muster_core::id::StepId;
use muster_core::journal::StepResult;
use muster_core::people::Stage;
use muster_core::release::Code;
use muster_core::repo::Tier;
use muster_core::report::{
    Audience, Comment, CommitContext, Drift, FORGE_LIMIT, FullReport, Host, HostRecord, Proposal,
    Reached, ReadAt, Record, ReleaseRecord, ReleaseState, ReportState, Unknown, UnknownHost,
    annotations, comment, drift, record,
};
use muster_core::step::Step;
use muster_core::time::Time;

use crate::golden::check;
use crate::world::{NOW, Planned, World, about, commit};

pub(crate) const FULL: FullReport<'static> = FullReport {
    reference: "refs/muster/reports",
    path: "proposals/12.md",
};

#[test]
fn many_notes_are_counted_and_crowd_out_nothing() {
    let host = |i: usize| {
        let mut world = World::bare(&format!("h{i}"));
        for n in 0..2_000 {
            let user = format!("u{i}x{n}");
            world.kept(&user, 1_000 + n, Stage::Active);
            world.want(&user, Tier::PowerUser);
            let account = world.accounts().by_name.get_mut(&user).unwrap();
            account.groups.insert("docker".to_owned());
        }
        world.plan()
    };
    let all: Vec<Planned> = (0..3).map(host).collect();
    let hosts: Vec<Host<'_>> = all.iter().map(|it| it.host(None)).collect();
    let comment = planned(Audience::Team, &hosts, &[]);
    assert_eq!(comment.pages.len(), 1);
    let text = &comment.pages[0];
    assert!(text.contains("- 6000 notes that ask for nothing"), "{text}");
}

fn executor(host: &str) -> Executor {
    Executor::Host(host.into())
}

/// A host on which an admin is new, somebody leaves, and a password is open.
fn host(name: &str) -> (Planned, Planned) {
    let mut world = World::bare(name);
    world.kept("ann", 1001, Stage::Active);
    world.want("ann", Tier::PowerUser);
    world.kept("bob", 1002, Stage::Active);
    world.want("bob", Tier::PowerUser);
    world.accounts().by_name.get_mut("ann").unwrap().password =
        muster_core::accounts::observed::Password::Usable;
    let base = world.plan();
    world.want("emo", Tier::Admin);
    world.desired.people.remove("bob");
    (world.plan(), base)
}

fn calm(name: &str) -> (Planned, Planned) {
    let world = World::bare(name);
    (world.plan(), world.plan())
}

fn seen(at: i64, planned: &(Planned, Planned)) -> Host<'_> {
    Host {
        read: ReadAt::At(Time(at)),
        ..planned.0.host(Some(&planned.1.plan))
    }
}

fn planned(audience: Audience, hosts: &[Host<'_>], unknown: &[UnknownHost<'_>]) -> Comment {
    let proposal = Proposal::Planned {
        hosts,
        unknown,
        warnings: &[],
    };
    told(audience, &proposal)
}

fn told(audience: Audience, proposal: &Proposal<'_>) -> Comment {
    about(Some("onboard-emo"), audience, |it| {
        let full = Some(FULL);
        comment(&CommitContext { full, ..*it }, proposal, FORGE_LIMIT)
    })
}

#[test]
fn hosts_alike_share_a_section_and_each_keeps_its_ids() {
    let names = ["web1", "web2", "web3"].map(host);
    let quiet = ["db1", "db2"].map(calm);
    let mut world = World::bare("odd");
    world.want("emo", Tier::Admin);
    let odd = (world.plan(), World::bare("odd").plan());
    let all = names.iter().chain(&quiet).chain([&odd]);
    let hosts: Vec<Host<'_>> = (NOW.0 - 400..)
        .zip(all)
        .map(|(at, it)| seen(at, it))
        .collect();
    let comment = planned(Audience::Team, &hosts, &[]);
    assert_eq!(comment.state, ReportState::Success);
    assert_eq!(comment.pages.len(), 1);
    check("fleet.md", &comment.pages[0]);
    check("fleet.line", &format!("{}\n", comment.line));

    let mut turned = hosts.clone();
    turned.reverse();
    assert_eq!(
        planned(Audience::Team, &turned, &[]),
        comment,
        "in any order"
    );
    for host in &mut turned {
        host.read = ReadAt::At(NOW);
    }
    let later = planned(Audience::Team, &turned, &[]);
    assert_eq!(later.content, comment.content, "only read later");
    assert_ne!(later.pages, comment.pages);
    let fewer = planned(Audience::Team, &turned[1..], &[]);
    assert_ne!(fewer.content, comment.content);
}

#[test]
fn a_host_that_is_not_known_is_said_on_top_and_not_guessed_over() {
    let names = ["web1", "web2"].map(host);
    let hosts: Vec<Host<'_>> = names.iter().map(|it| seen(NOW.0 - 60, it)).collect();
    let [old, early, new, broken] = ["old", "early", "new", "broken"].map(executor);
    let unknown = [
        UnknownHost {
            executor: &old,
            why: Unknown::Stale {
                read: Time(NOW.0 - 90_000),
                limit: 900,
            },
        },
        UnknownHost {
            executor: &early,
            why: Unknown::Ahead {
                read: Time(NOW.0 + 1_200),
                limit: 900,
            },
        },
        UnknownHost {
            executor: &new,
            why: Unknown::NeverSeen,
        },
        UnknownHost {
            executor: &broken,
            why: Unknown::Unreadable("inventory.json: format 9 is from the future"),
        },
    ];
    let comment = planned(Audience::Team, &hosts, &unknown);
    assert_eq!(comment.state, ReportState::Failure);
    check("fleet-unknown.md", &comment.pages.concat());
    check("fleet-unknown.line", &format!("{}\n", comment.line));
    for one in &unknown {
        let comment = planned(Audience::Team, &hosts, &[*one]);
        assert_eq!(comment.state, ReportState::Failure, "{one:?}");
        let comment = planned(Audience::Team, &[], &[*one]);
        assert_eq!(comment.state, ReportState::Failure, "{one:?}");
    }
    let nobody = planned(Audience::Team, &[], &unknown);
    assert_eq!(nobody.line, "What merging would do is not known on 4 hosts");
}

#[test]
fn a_fleet_too_big_to_list_is_counted_and_its_held_steps_are_not() {
    let build = |i: usize| {
        let mut world = World::bare(&format!("h{i:02}"));
        for n in 0..300 {
            world.want(&format!("u{n}"), Tier::PowerUser);
        }
        world.want("emo", Tier::Admin);
        world.want("kept", Tier::PowerUser).uid = Some(5_000 + u32::try_from(i / 30).unwrap());
        world.plan()
    };
    let many: Vec<Planned> = (0..40).map(build).collect();
    let still: Vec<Planned> = (0..9).map(|i| calm(&format!("still{i}")).0).collect();
    let hosts: Vec<Host<'_>> = many.iter().chain(&still).map(|it| it.host(None)).collect();
    let comment = planned(Audience::Team, &hosts, &[]);
    assert_eq!(comment.pages.len(), 1);
    check("fleet-counts.md", &comment.pages[0]);
}

#[test]
fn what_is_being_planned_is_pending_and_what_could_not_be_is_a_failure() {
    let planning = told(Audience::Team, &Proposal::Planning);
    assert_eq!(planning.state, ReportState::Pending);
    assert_eq!(planning.line, "planning bbbbbbbbbbbb");
    check("planning.md", &planning.pages.concat());
    let broken = Proposal::Broken("the mirror of the state repository has no space left");
    let comment = told(Audience::Team, &broken);
    assert_eq!(comment.state, ReportState::Failure);
    check("broken.md", &comment.pages.concat());
    let public = told(Audience::Public, &broken);
    assert_eq!(public.state, ReportState::Failure);
    assert!(!public.pages.concat().contains("mirror"));
}

/// What a host did and holds, once it adopted.
struct Done {
    executor: Executor,
    done: Vec<Arc<Step>>,
    undone: Vec<(Arc<Step>, StepResult)>,
    held: Vec<Held>,
}

fn done(name: &str) -> Done {
    let (planned, _) = host(name);
    Done {
        executor: planned.executor.clone(),
        done: planned
            .verdict
            .admitted
            .iter()
            .map(|it| Arc::new(it.step().clone()))
            .collect(),
        undone: Vec::new(),
        held: planned.verdict.held.clone(),
    }
}

impl Done {
    fn record<'a>(
        &'a self,
        adopted: &'a CommitId,
        releases: &'a [ReleaseRecord<'a>],
    ) -> HostRecord<'a> {
        HostRecord {
            executor: &self.executor,
            seen: Ok(Time(NOW.0 - 60)),
            adopted: Some(adopted),
            reached: Reached::At,
            done: &self.done,
            undone: &self.undone,
            held: &self.held,
            releases,
        }
    }
}

fn recorded(audience: Audience, hosts: &[HostRecord<'_>]) -> Comment {
    let commit = commit('b');
    // Ann's steps came along.
    let about = ["bob", "emo"].map(str::to_owned).into();
    let of = Record {
        commit: &commit,
        hosts,
        about: Some(&about),
        audience,
        full: Some(FULL),
        operator: None,
    };
    record(&of, FORGE_LIMIT)
}

#[test]
fn a_record_tells_how_far_each_host_is() {
    let mut all = ["web1", "web2", "fails", "slow", "refuses", "gone"].map(done);
    let failing = all[2].done.remove(0);
    let why = "passwd is locked by another program".to_owned();
    all[2].undone.push((failing, StepResult::Failed(why)));
    for late in &mut all[3..] {
        late.done.clear();
        late.held.clear();
    }
    let (new, old) = (commit('b'), commit('a'));
    let attempted = Attempted {
        commit: new.clone(),
        problem: "roster.yaml:3:11: unknown tier 'root'".to_owned(),
    };
    let principals = ["ann@example.org".to_owned()];
    let release = |tag, state| ReleaseRecord {
        tag,
        principals: &principals,
        state,
    };
    let releases = [
        release(
            "release/20261122T152559Z-0011223344556677-89abcdef",
            ReleaseState::Claimed,
        ),
        release(
            "release/20261121T152559Z-0011223344556677-89abcdef",
            ReleaseState::Refused {
                code: Code::ALL[0],
                why: "the statement has no end",
            },
        ),
        release(
            "release/20261120T152559Z-0011223344556677-89abcdef",
            ReleaseState::Finished(None),
        ),
    ];
    let mut hosts: Vec<HostRecord<'_>> = all.iter().map(|it| it.record(&new, &[])).collect();
    hosts[2].releases = &releases;
    hosts[3].reached = Reached::Behind;
    hosts[3].adopted = Some(&old);
    hosts[4].reached = Reached::Refused(&attempted);
    hosts[4].adopted = Some(&old);
    hosts[5].reached = Reached::Behind;
    hosts[5].adopted = None;
    hosts[5].seen = Err(Unknown::NeverSeen);
    hosts[1].seen = Err(Unknown::Stale {
        read: Time(0),
        limit: 3_600,
    });
    let comment = recorded(Audience::Team, &hosts);
    assert_eq!(comment.state, ReportState::Failure);
    check("record.md", &comment.pages.concat());
    check("record.line", &format!("{}\n", comment.line));
    check(
        "record-public.md",
        &recorded(Audience::Public, &hosts).pages.concat(),
    );

    assert_eq!(
        recorded(Audience::Team, &hosts[..1]).state,
        ReportState::Success
    );
    assert_eq!(
        recorded(Audience::Team, &hosts[1..2]).state,
        ReportState::Failure
    );
    let behind = recorded(Audience::Team, &[hosts[0], hosts[3]]);
    assert_eq!(behind.state, ReportState::Pending);
    assert_eq!(recorded(Audience::Team, &[]).state, ReportState::Failure);
}

#[test]
fn a_record_says_first_when_all_is_done_and_keeps_nothing_stale() {
    let mut all = ["web1", "web2"].map(done);
    for host in &mut all {
        let held = std::mem::take(&mut host.held);
        host.done.extend(held.into_iter().map(|it| it.step));
    }
    let new = commit('b');
    let hosts = [all[0].record(&new, &[]), all[1].record(&new, &[])];
    let comment = recorded(Audience::Team, &hosts);
    assert_eq!(comment.state, ReportState::Success);
    assert!(
        comment.line.starts_with("Done on all 2 hosts: "),
        "{}",
        comment.line
    );
    check("record-done.md", &comment.pages.concat());
    assert!(!comment.pages.concat().contains("muster release"));
}

fn drifted(hosts: &[Host<'_>], told: &BTreeSet<StepId>, audience: Audience) -> Option<Comment> {
    let of = Drift {
        commit: &commit('b'),
        hosts,
        told,
        audience,
        full: Some(FULL),
        operator: None,
    };
    drift(&of, FORGE_LIMIT)
}

#[test]
fn drift_is_what_nobody_proposed() {
    let names = ["web1", "web2"].map(host);
    let quiet = calm("db1");
    let hosts = [seen(1, &names[0]), seen(2, &names[1]), seen(3, &quiet)];
    let none = BTreeSet::new();
    let issue = drifted(&hosts, &none, Audience::Team).unwrap();
    check("drift.md", &issue.pages.concat());
    check("drift.line", &format!("{}\n", issue.line));
    let public = drifted(&hosts, &none, Audience::Public).unwrap();
    check("drift-public.md", &public.pages.concat());

    let all: BTreeSet<StepId> = hosts
        .iter()
        .flat_map(|it| it.plan.steps().iter().map(|it| it.step.id))
        .collect();
    assert_eq!(drifted(&hosts, &all, Audience::Team), None);
    assert_eq!(drifted(&hosts[2..], &none, Audience::Team), None);
    assert_eq!(drifted(&[], &none, Audience::Team), None);
}

#[test]
fn drift_under_a_limit_is_released_with_all_that_waits_together() {
    let (planned, _) = crate::golden::offboarding();
    let limited = |it: &&Held| matches!(it.reason, muster_core::gate::Reason::Limit(_));
    let held: Vec<&Held> = planned.verdict.held.iter().filter(limited).collect();
    let told: BTreeSet<StepId> = held[1..].iter().map(|it| it.step.id).collect();
    let issue = drifted(&[planned.host(None)], &told, Audience::Team).unwrap();
    let commands = crate::reader::commands(&issue.pages);
    let whole = commands.iter().any(|it| {
        held.iter()
            .all(|held| it.contains(&held.step.id.to_string()))
    });
    assert!(whole, "{commands:?}");
}

#[test]
fn annotations_stand_in_file_order_and_hide_nothing() {
    let of = |file: &str, at: Option<(u32, u32)>, severity, help: Option<&str>| Diagnostic {
        file: file.to_owned(),
        at: at.map(|(line, column)| Pos { line, column }),
        severity,
        rule: "tier",
        problem: "unknown tier '\u{202e}toor'".to_owned(),
        help: help.map(str::to_owned),
    };
    let list = [
        of("roster.yaml", Some((30, 2)), Severity::Warning, None),
        of(
            "roster.yaml",
            Some((4, 11)),
            Severity::Error,
            Some("write one\nof three"),
        ),
        of("hosts/\u{200b}a.yaml", None, Severity::Error, None),
    ];
    let annotation = |path: &str, line, column, level, message: &str| Annotation {
        path: path.to_owned(),
        line,
        column,
        level,
        message: message.to_owned(),
    };
    let bare = "unknown tier '\\u{202e}toor' [tier]";
    assert_eq!(
        annotations(&list),
        [
            annotation("hosts/\\u{200b}a.yaml", 1, None, Level::Failure, bare),
            annotation(
                "roster.yaml",
                4,
                Some(11),
                Level::Failure,
                "unknown tier '\\u{202e}toor' [tier]\nhelp: write one\\u{a}of three"
            ),
            annotation("roster.yaml", 30, Some(2), Level::Warning, bare),
        ]
    );
    let mut long = list[0].clone();
    long.problem = "é".repeat(100_000);
    assert_eq!(
        annotations([&long])[0].message.chars().count(),
        4_001 + " [tier]".len()
    );
}

#[test]
fn errors_of_the_protected_branch_are_not_blamed_on_a_proposal() {
    let problem = |place: &str| muster_core::report::Problem {
        place: place.to_owned(),
        rule: "tier".to_owned(),
        text: "unknown tier 'root'".to_owned(),
        help: Some("write one of the three tiers".to_owned()),
        more: 0,
    };
    let (already, new) = ([problem("roster.yaml:3:11")], [problem("roster.yaml:9:11")]);
    let of = |new, already: &[_]| {
        let comment = told(Audience::Team, &Proposal::OnInvalid { new, already });
        assert_eq!(comment.state, ReportState::Failure);
        comment
    };
    let innocent = of(&[], &already);
    assert_eq!(
        innocent.line,
        "Not planned: the protected branch has 1 error, none of them by this change"
    );
    check("on-invalid.md", &innocent.pages.concat());
    let both = of(&new, &already);
    assert_eq!(
        both.line,
        "Not valid: 1 error by this change, beside 1 error that the protected branch has already"
    );
    check("on-invalid-too.md", &both.pages.concat());
    let missing = told(Audience::Team, &Proposal::HeadMissing("no such object"));
    check("head-missing.md", &missing.pages.concat());
}

#[test]
fn an_operator_elsewhere_pastes_the_command() {
    let (planned_, base) = host("web1");
    let operator = Some(muster_core::report::Operator {
        ledger: "ssh://git@forge.example/team/ledger.git",
        reason: "it's pull request 12",
    });
    let hosts = [planned_.host(Some(&base.plan))];
    let proposal = Proposal::Planned {
        hosts: &hosts,
        unknown: &[],
        warnings: &[],
    };
    let comment = about(None, Audience::Team, |it| {
        comment(&CommitContext { operator, ..*it }, &proposal, FORGE_LIMIT)
    });
    let commands = crate::reader::commands(&comment.pages);
    for command in &commands {
        assert!(
            command.ends_with(
                " --ledger ssh://git@forge.example/team/ledger.git --reason 'it'\\''s pull request 12' --sign --push"
            ),
            "{command}"
        );
    }
    assert_eq!(commands.len(), 2, "{commands:?}");
}
