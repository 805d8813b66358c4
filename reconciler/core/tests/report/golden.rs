//! Whole texts. `UPDATE=1` rewrites the files under `tests/golden`.

use std::sync::Arc;

use muster_core::executor::Executor;
use muster_core::facts::Failure;
use muster_core::gate::{Held, Reason};
use muster_core::journal::StepResult;
use muster_core::people::Stage;
use muster_core::reading::Reading;
use muster_core::repo::Tier;
use muster_core::report::{
    Audience, Comment, FORGE_LIMIT, Host, Outcome, Paper, Problem, Proposal, Refused, ReportState,
    comment, outcome, pending, refusal, summary, text,
};
use muster_core::step::Step;

use crate::reader::{all_visible, structure};
use crate::world::{NOW, Planned, World, about, commit};

pub(crate) fn check(name: &str, actual: &str) {
    if name.ends_with(".md") {
        structure(actual);
        assert!(all_visible(actual), "{actual}");
    }
    let path = format!("{}/tests/golden/{name}", env!("CARGO_MANIFEST_DIR"));
    if std::env::var_os("UPDATE").is_some() {
        std::fs::write(&path, actual).unwrap();
    }
    let expected = std::fs::read_to_string(&path).unwrap_or_default();
    let diff = similar::TextDiff::from_lines(&expected, actual);
    assert!(
        expected == actual,
        "{name} differs; UPDATE=1 rewrites it\n{}",
        diff.unified_diff()
    );
}

fn planned(hosts: &[Host<'_>]) -> Comment {
    let proposal = Proposal::Planned {
        hosts,
        unknown: &[],
        warnings: &[],
    };
    about(Some("onboard-emo"), Audience::Team, |about| {
        comment(about, &proposal, FORGE_LIMIT)
    })
}

/// Two newcomers, one of them an admin; somebody's home was there before; and drift that has nothing to do with it.
pub(crate) fn onboarding() -> (Planned, Planned) {
    let mut world = World::new("devvm");
    world.kept("ann", 1001, Stage::Active);
    world.want("ann", Tier::PowerUser);
    world.accounts().by_name.get_mut("ann").unwrap().password =
        muster_core::accounts::observed::Password::Usable;
    let base = world.plan();
    world.want("emo", Tier::Admin).expiring = Some((3, "ann".into()));
    world
        .want_granted("gheorghe", Tier::NamespaceOwner)
        .groups
        .push("no_such".into());
    (world.plan(), base)
}

/// Four of five people go at once, one was cut before.
pub(crate) fn offboarding() -> (Planned, Planned) {
    let mut world = World::bare("devvm");
    for (i, user) in ["ann", "bob", "cid", "dan", "emo"].into_iter().enumerate() {
        world.kept(user, 1001 + u32::try_from(i).unwrap(), Stage::Active);
        world.want(user, Tier::PowerUser);
    }
    world.kept("zed", 1010, Stage::Cut);
    let base = world.plan();
    for user in ["bob", "cid", "dan", "emo"] {
        world.desired.people.remove(user);
    }
    (world.plan(), base)
}

fn problems() -> [Problem; 2] {
    [
        Problem {
            place: "roster.yaml:3:11".into(),
            rule: "tier".into(),
            text: "user 'emo': unknown tier 'root' (valid: ['admin', 'power-user', 'namespace-owner'])".into(),
            help: Some("write one of the three tiers".into()),
            more: 0,
        },
        Problem {
            place: "hosts/devvm.yaml".into(),
            rule: "unknown-field".into(),
            text: "unknown field `@everyone`".into(),
            help: None,
            more: 0,
        },
    ]
}

#[test]
fn an_onboarding_tells_what_waits_and_what_runs() {
    let (planned_, base) = onboarding();
    let comment = planned(&[planned_.host(Some(&base.plan))]);
    assert_eq!(comment.state, ReportState::Success);
    assert_eq!(comment.pages.len(), 1);
    check("onboarding.md", &comment.pages[0]);
    check("onboarding.line", &format!("{}\n", comment.line));
    check(
        "onboarding.txt",
        &text(&[planned_.host(Some(&base.plan))], Paper::PLAIN),
    );
}

#[test]
fn an_offboarding_over_the_limit_is_released_as_a_whole() {
    let (planned_, base) = offboarding();
    let comment = planned(&[planned_.host(Some(&base.plan))]);
    check("offboarding.md", &comment.pages.concat());
    check(
        "offboarding.txt",
        &text(&[planned_.host(Some(&base.plan))], Paper::PLAIN),
    );
}

/// Two admins wait for their release, and somebody gets another shell: none of what waits is of this change.
fn new_shell() -> (Planned, Planned) {
    let mut world = World::bare("devvm");
    world.kept("ann", 1001, Stage::Active);
    world.want("ann", Tier::PowerUser);
    world.kept("bob", 1002, Stage::Active);
    world.want("bob", Tier::Admin);
    world.want("cid", Tier::Admin);
    let base = world.plan();
    world.want_granted("ann", Tier::PowerUser).shell = "/bin/bash".into();
    world.accounts().shells.insert("/bin/bash".into());
    world.policy.shells.insert("/bin/bash".into());
    (world.plan(), base)
}

#[test]
fn what_waits_already_is_folded_and_what_changes_is_a_diff() {
    let (planned_, base) = new_shell();
    let comment = planned(&[planned_.host(Some(&base.plan))]);
    assert_eq!(comment.line, "Merging changes ann: 1 step runs at once");
    check("already.md", &comment.pages.concat());
    check(
        "already.txt",
        &text(&[planned_.host(Some(&base.plan))], Paper::PLAIN),
    );
    // Nothing of it is hidden: each step that waits stands there with its words and its id.
    for held in &planned_.verdict.held {
        let whole = format!("{} {}", held.step.id, held.step.words());
        assert!(crate::reader::spans(&comment.pages.concat()).contains(&whole));
    }
}

/// F32.
#[test]
fn the_verdict_says_what_becomes_of_whom() {
    let mut world = World::bare("devvm");
    world.kept("ann", 1001, Stage::Active);
    world.want("emo", Tier::PowerUser);
    let both = world.plan();
    let line = |planned_: &Planned| planned(&[planned_.host(None)]).line;
    assert!(
        line(&both).starts_with("Merging cuts off ann and adds emo: "),
        "{}",
        line(&both)
    );
    assert!(
        summary(&[both.host(None)]).starts_with("This plan cuts off ann and adds emo: "),
        "{}",
        summary(&[both.host(None)])
    );
    // Of more kinds, it says whom it changes, and of many people, how many; never so of whom something is taken away.
    world.kept("bob", 1002, Stage::Active);
    world.want_granted("bob", Tier::PowerUser).shell = "/bin/bash".into();
    world.accounts().shells.insert("/bin/bash".into());
    world.policy.shells.insert("/bin/bash".into());
    assert!(
        line(&world.plan()).starts_with("Merging cuts off ann and changes bob and emo: "),
        "{}",
        line(&world.plan())
    );
    // What is held is only asked for: a person who reads one line must not take it for done.
    world.desired.people.clear();
    for (at, name) in ["bob", "cid", "dan", "emo"].into_iter().enumerate() {
        world.kept(name, 1002 + u32::try_from(at).unwrap(), Stage::Active);
    }
    assert!(
        line(&world.plan()).starts_with("Merging asks to cut off 5 people: "),
        "{}",
        line(&world.plan())
    );
}

/// A release helps nobody whom no release helps, and whoever follows them least.
#[test]
fn what_follows_a_step_that_no_release_helps_waits_for_none() {
    let mut world = World::bare("devvm");
    // A shell that is none of those that anybody may have.
    world.want_granted("odd", Tier::PowerUser).shell = "/opt/odd/sh".into();
    let mut planned_ = world.plan();
    let held = &mut planned_.verdict.held;
    let followers = held
        .iter()
        .filter(|it| matches!(it.reason, Reason::Needs(_)));
    assert!(followers.count() > 0, "{held:?}");
    for held in held
        .iter_mut()
        .filter(|it| !matches!(it.reason, Reason::Needs(_)))
    {
        held.reason = Reason::Retry {
            at: NOW,
            reason: "the disk was full".to_owned(),
        };
    }
    let hosts = [planned_.host(None)];
    let (comment, text) = (planned(&hosts), text(&hosts, Paper::PLAIN));
    for said in [&comment.line, &comment.pages.concat(), &text] {
        assert!(!said.contains("for a signed release"), "{said}");
        assert!(!said.contains("release propose"), "{said}");
        assert!(said.contains("held"), "{said}");
    }
}

#[test]
fn a_step_that_the_proposal_makes_unnecessary_is_told() {
    let mut world = World::bare("devvm");
    world.want("emo", Tier::Admin);
    let base = world.plan();
    world.desired.people.clear();
    let after = world.plan();
    check(
        "unneeded.md",
        &planned(&[after.host(Some(&base.plan))]).pages.concat(),
    );
}

#[test]
fn nothing_to_change_is_said_and_is_not_the_same_as_nothing_known() {
    let world = World::bare("devvm");
    let calm = world.plan();
    let comment = planned(&[calm.host(Some(&calm.plan))]);
    assert_eq!(
        (comment.state, comment.line.as_str()),
        (ReportState::Success, "Merging changes nothing")
    );
    check("nothing.md", &comment.pages[0]);
    assert_eq!(summary(&[calm.host(None)]), "Nothing to change");

    let mut blind = World::bare("blind");
    blind.observed.accounts = Reading::Unknown("passwd: permission denied".into());
    let blind = blind.plan();
    let comment = planned(&[blind.host(None)]);
    assert_eq!(comment.state, ReportState::Failure);
    check("unread.md", &comment.pages[0]);
    assert_eq!(
        planned(&[calm.host(None), blind.host(None)]).state,
        ReportState::Failure,
        "a host that nothing is known of is not one with nothing to change"
    );
    assert_eq!(planned(&[]).state, ReportState::Failure);
}

#[test]
fn a_big_change_is_counted_and_its_held_steps_are_not() {
    let mut world = World::new("devvm");
    for i in 0..2_000 {
        world.want(&format!("u{i}"), Tier::PowerUser);
    }
    world.want("emo", Tier::Admin);
    world.want_granted("odd", Tier::PowerUser).shell = "/opt/odd/sh".into();
    let (big, small) = (world.plan(), onboarding().0);
    let executor = Executor::Host("build1".into());
    let small = Planned { executor, ..small };
    let comment = planned(&[big.host(None), small.host(None)]);
    assert_eq!(comment.pages.len(), 1);
    check("counts.md", &comment.pages[0]);
}

#[test]
fn what_cannot_be_merged_says_why() {
    let problems = problems();
    let paths = ["roster.yaml".to_owned(), "hosts/`devvm`.yaml".to_owned()];
    let of = |proposal: &Proposal<'_>| {
        about(Some("onboard-emo"), Audience::Team, |about| {
            comment(about, proposal, FORGE_LIMIT)
        })
    };
    for (name, proposal, state) in [
        (
            "invalid.md",
            Proposal::Invalid(&problems),
            ReportState::Failure,
        ),
        (
            "conflict.md",
            Proposal::Conflict(&paths),
            ReportState::Failure,
        ),
        ("contained.md", Proposal::Contained, ReportState::Success),
        ("closed.md", Proposal::Closed, ReportState::Failure),
        (
            "elsewhere.md",
            Proposal::Elsewhere("release/`1`"),
            ReportState::Failure,
        ),
    ] {
        let comment = of(&proposal);
        assert_eq!(comment.state, state, "{name}");
        check(name, &comment.pages.concat());
    }
    let many: Vec<Problem> = (0..5_000).flat_map(|_| problems.clone()).collect();
    let comment = of(&Proposal::Invalid(&many));
    assert_eq!(comment.pages.len(), 1);
    assert!(comment.pages[0].len() <= FORGE_LIMIT);
    assert!(comment.pages[0].contains(" more; `muster check` shows all"));
}

#[test]
fn an_outcome_tells_what_was_done_and_what_waits() {
    let (planned_, _) = onboarding();
    let held: Vec<Held> = planned_.verdict.held.clone();
    let mut results: Vec<(Arc<Step>, StepResult)> = planned_
        .verdict
        .admitted
        .iter()
        .map(|it| (Arc::new(it.step().clone()), StepResult::Done))
        .collect();
    results[0].1 = StepResult::Failed("passwd is locked by another program".into());
    results[1].1 = StepResult::NeedsOperator("half a home".into());
    results[2].1 = StepResult::NotBegun;
    let adopted = commit('b');
    let told = outcome(
        &Outcome {
            executor: &planned_.executor,
            adopted: &adopted,
            at: NOW,
            results: &results,
            held: &held,
            notes: planned_.plan.notes(),
        },
        usize::MAX,
    );
    assert_eq!(told.state, ReportState::Failure);
    check("outcome.md", &told.pages.concat());
    check("outcome.line", &format!("{}\n", told.line));
}

#[test]
fn a_refusal_tells_which_commit_is_enforced_instead() {
    let (refused, adopted, problems) = (commit('b'), commit('a'), problems());
    let executor = Executor::Host("devvm".into());
    let invalid = refusal(
        &executor,
        &refused,
        &adopted,
        &Refused::Invalid(&problems),
        usize::MAX,
    );
    check("refusal.md", &invalid.pages.concat());
    let frozen = muster_core::facts::Frozen::Rewritten {
        adopted: adopted.clone(),
        found: refused.clone(),
    };
    let frozen = refusal(
        &executor,
        &refused,
        &adopted,
        &Refused::Frozen(&frozen),
        usize::MAX,
    );
    check("frozen.md", &frozen.pages.concat());
    assert_eq!(pending(&refused), "planning bbbbbbbbbbbb");
}

#[test]
fn no_command_is_offered_for_what_no_release_can_permit() {
    let mut world = World::bare("devvm");
    world.want("emo", Tier::Admin);
    world.policy.protected.insert("emo".into());
    let refused = world.plan();
    assert!(!refused.verdict.held.is_empty());
    assert!(!text(&[refused.host(None)], Paper::PLAIN).contains("muster release"));

    world.policy.protected.clear();
    world.want_granted("emo", Tier::Admin).shell = "/not/there".into();
    let blocked = world.plan();
    assert!(
        !text(&[blocked.host(None)], Paper::PLAIN).contains("muster release"),
        "{}",
        text(&[blocked.host(None)], Paper::PLAIN)
    );

    world.want("emo", Tier::PowerUser);
    let creation = world.plan().verdict.admitted[0].step().id;
    let failure = Failure {
        times: 3,
        last: NOW,
        reason: "disk full".into(),
    };
    world.facts.failures.insert(creation, failure);
    let failed = world.plan();
    let told = text(&[failed.host(None)], Paper::PLAIN);
    let told: Vec<&str> = told.split_whitespace().collect();
    let why = "(failed: disk full; next try at 2026-11-22T15:29:59Z)";
    assert!(told.join(" ").contains(why));
    assert!(!text(&[failed.host(None)], Paper::PLAIN).contains("muster release"));
}
