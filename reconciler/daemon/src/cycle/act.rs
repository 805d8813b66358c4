//! What is done, one intent at a time, and what the world shows of it.

use std::collections::BTreeSet;

use muster_core::accounts::action::Action;
use muster_core::accounts::observed::{AccountsOf, Observed, Parts, Question};
use muster_core::accounts::render;
use muster_core::accounts::settle::settle;
use muster_core::facts::Facts;
use muster_core::gate::{Approvals, Batch};
use muster_core::id::StepId;
use muster_core::journal::{Entry, Open, StepResult};
use muster_core::step::Step;
use muster_core::turn::Turn;
use muster_core::world::{Complaints, Journal, World};

use super::records::record;
use super::{CycleError, Memory, Outside, Run, Summary, chain, observe, releases};

/// Brings the one batch in doubt to an outcome, by looking.
pub(super) fn recover<S, W: World, J: Journal, L, R>(
    memory: &mut Memory,
    outside: &mut Outside<S, W, J, L, R>,
    run: &Run<'_>,
    summary: &mut Summary,
) -> Result<(), CycleError> {
    let Some(Open { steps, .. }) = memory.replayed.open.clone() else {
        return Ok(());
    };
    let observed = observe(outside, &question_about(&steps, memory.facts(), Parts::ALL))?;
    let results = close(memory, outside, run, &steps, &observed, &Complaints::new())?;
    summary.recovered = steps.into_iter().zip(results).collect();
    Ok(())
}

/// Records what the world shows of the open batch.
pub(super) fn close<S, W, J: Journal, L, R>(
    memory: &mut Memory,
    outside: &mut Outside<S, W, J, L, R>,
    run: &Run<'_>,
    steps: &[Step],
    observed: &Observed,
    complaints: &Complaints,
) -> Result<Vec<StepResult>, CycleError> {
    let results: Vec<StepResult> = steps
        .iter()
        .map(|step| {
            settle(
                step,
                observed,
                &run.policy.nologin,
                complaints.get(&step.id).map(String::as_str),
            )
        })
        .collect();
    let entry = Entry::Outcome {
        at: run.now,
        results,
    };
    record(memory, &mut outside.journal, &entry)?;
    let Entry::Outcome { results, .. } = entry else {
        unreachable!("made three lines above")
    };
    Ok(results)
}

/// Whom to look at to see what became of `steps`.
pub(super) fn question_about<'q>(
    steps: &'q [Step],
    facts: &'q Facts,
    parts: Parts,
) -> Question<'q> {
    let mut question = Question {
        parts,
        accounts_of: AccountsOf::Asked,
        ..Question::default()
    };
    for step in steps {
        let user = step.action.user();
        if let Action::RenameAccount { from, .. } = &step.action {
            question.people.entry(from).or_default();
        }
        let subject = question.people.entry(user).or_default();
        subject.traces |= needs_traces(&step.action);
        let known = facts.people.get(user);
        subject.home = known.map(|it| it.home.as_str());
        subject.cuts = known.map_or(0, |it| it.cuts);
        let destroyed = step.action.phase() == Turn::Destroy;
        subject.kept = known.filter(|_| destroyed).map(|it| it.kept_of());
    }
    question
}

/// Whether it takes a look at what logins left behind to see how a step came out.
pub(super) fn needs_traces(action: &Action) -> bool {
    matches!(
        action,
        Action::Trace { .. }
            | Action::EndSessions { .. }
            | Action::LockLogin { .. }
            | Action::UnlockLogin { .. }
    )
}

/// Runs the batches, one intent at a time, and observes after each.
pub(super) fn carry_out<S, W: World, J: Journal, L, R>(
    memory: &mut Memory,
    outside: &mut Outside<S, W, J, L, R>,
    run: &mut Run<'_>,
    ground: &releases::Ground<'_>,
    batches: Vec<Batch>,
    approvals: &mut Approvals,
    summary: &mut Summary,
) -> Result<(), CycleError> {
    let mut undone: BTreeSet<StepId> = BTreeSet::new();
    for mut batch in batches {
        if (run.stop)() {
            summary.stopped = true;
            return Ok(());
        }
        let trusted = ground.trusted;
        let left = releases::withdraw(memory, run, trusted, approvals, &mut batch, summary);
        undone.extend(left);
        let left = batch.without_dependents_of(&undone);
        undone.extend(left);
        if batch.is_empty() {
            continue;
        }
        let writes = {
            let steps: Vec<&Step> = batch.steps().collect();
            let plan = ground.plan;
            render::writes(&steps, ground.observed, plan.environments(), plan.ports())
        };
        let commit = memory.facts().adopted.clone();
        let intent = batch.intend(&commit, run.now, writes, |entry| {
            record(memory, &mut outside.journal, entry)
        })?;
        let phase = intent.phase().word();
        let acted = outside
            .world
            .act(&intent, &mut |done, all| (run.progress)(phase, done, all));
        let complaints = match acted {
            Ok(complaints) => complaints,
            // The act as a whole went wrong: every step that the world does not show done has that reason.
            Err(error) => intent
                .steps()
                .iter()
                .map(|step| (step.id, chain(&error)))
                .collect(),
        };
        let mut parts = parts_of(intent.phase());
        parts.homes |= intent.steps().iter().any(|step| needs_traces(&step.action));
        let question = question_about(intent.steps(), memory.facts(), parts);
        let after = observe(outside, &question)?;
        let results = close(memory, outside, run, intent.steps(), &after, &complaints)?;
        for (step, result) in intent.steps().iter().zip(results) {
            if result != StepResult::Done {
                undone.insert(step.id);
            }
            summary.ran.push((step.clone(), result));
        }
    }
    Ok(())
}

/// The parts of the host that a phase can have changed.
pub(super) fn parts_of(phase: Turn) -> Parts {
    match phase {
        Turn::Record | Turn::Assign => Parts::NONE,
        Turn::Quiesce | Turn::Start => Parts {
            units: true,
            ..Parts::NONE
        },
        Turn::Accounts => Parts {
            accounts: true,
            ..Parts::NONE
        },
        // Whose a home is, is judged by the uid in the account databases.
        Turn::Homes | Turn::Sessions => Parts {
            accounts: true,
            homes: true,
            ..Parts::NONE
        },
        Turn::Files => Parts {
            files: true,
            ..Parts::NONE
        },
        Turn::Rename | Turn::Destroy => Parts::ALL,
    }
}
