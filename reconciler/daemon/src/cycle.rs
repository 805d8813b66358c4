//! One cycle: read, decide, act. Takes no hint about what changed, and a second one does nothing.
//!
//! Generic over the traits of the outside (`muster_core::world`), so that the simulation runs exactly this code.

mod act;
mod adoption;
pub(crate) mod ground;
mod proposals;
mod records;
mod releases;
mod trust;

use std::collections::BTreeSet;

use muster_core::commit::CommitId;
use muster_core::facts::Facts;
use muster_core::gate::Approvals;
use muster_core::ledger;
use muster_core::plan::{self, Input, Plan};
use muster_core::release::Code;
use muster_core::rooms::{self, Desired, Observed, Policy};
use muster_core::time::Time;
use muster_core::world::{Files, Journal, Ledger, ReportSink, Source, World};

use self::act::{carry_out, recover};
use self::adoption::{adopt, desired_of_adopted, heads};
use self::ground::{
    everything, make_plan, observe, read_host, unobserved, verdict_of, world_error,
};
use self::proposals::tell_proposals;
use self::records::{EndState, commit_ledger, end_suspension, touch};
use self::trust::Trusted;
use crate::tell;

pub use adoption::adopt_as_decided;
pub use ground::{
    CycleError, CycleSummary, Inventory, Memory, Outside, Run, Unauthenticated, chain,
};
pub use records::take_decision;
pub use trust::horizon as tags_wanted;
pub(crate) use trust::{facts_of as trust_facts, is_wrong as trust_is_wrong};

/// Runs one cycle.
///
/// # Errors
/// [`CycleError`] says who has to act. Whatever was begun is in the journal; the next cycle goes on from there.
pub fn cycle<S: Source, W: World, J: Journal, L: Ledger, R: ReportSink>(
    memory: &mut Memory,
    outside: &mut Outside<S, W, J, L, R>,
    mut run: Run<'_>,
) -> Result<CycleSummary, CycleError> {
    // A clock that was set back does not make the past happen again.
    run.now = run.now.max(memory.facts().latest);
    let mut summary = CycleSummary {
        clock: run.matter,
        ..CycleSummary::default()
    };

    if memory.touched.is_none()
        && ledger::holds(
            &memory.ledger_files,
            memory.facts(),
            &outside.journal.through(),
        )
    {
        memory.touched = Some(BTreeSet::new());
    }

    // Read.
    end_suspension(memory, outside, &run)?;
    recover(memory, outside, &run, &mut summary)?;
    let heads = heads(memory, outside, &mut run, &mut summary);
    let trusted = trust::look(memory, outside, &mut run, heads.as_ref(), &mut summary)?;
    if let Some(heads) = &heads {
        adopt(memory, outside, &run, heads, &mut summary)?;
    }
    let desired = desired_of_adopted(memory, outside, &run)?;
    let mut observed = observe(outside, &everything(&desired, memory.facts(), run.policy))?;

    let plan = decide_and_act(
        memory,
        outside,
        &mut run,
        &trusted,
        &desired,
        &mut observed,
        &mut summary,
    )?;

    // Keep and tell what waits now, which is not what waited before acting.
    let standing = end_state(memory, outside, &run, &desired, observed, plan, &summary);
    // What was done is kept even where nothing can be read any more.
    commit_ledger(memory, outside, &run, &summary, standing.as_ref().ok())?;
    let is_told = outside.sink.is_some();
    let standing = match is_told {
        true => Some(standing?),
        false => standing.ok(),
    };
    if let Some(EndState {
        observed,
        plan,
        held,
    }) = standing.as_ref().filter(|_| is_told)
    {
        tell::outcome(
            memory.facts(),
            outside,
            run.policy,
            held,
            plan.notes(),
            &mut summary,
        );
        tell_proposals(
            memory,
            outside,
            &run,
            &heads,
            &desired,
            observed,
            &mut summary,
        )?;
    }
    summary.refused_tags = heads.as_ref().map(|_| {
        // A key's validity is a matter of time, so these are looked at in every cycle.
        let not_now = |it: &&Unauthenticated| it.refusal.code == Code::KeyExpired;
        memory.seen.refused() + summary.unauthenticated.iter().filter(not_now).count()
    });
    summary.adopted = Some(memory.facts().adopted.clone());
    summary.attempted.clone_from(&memory.facts().attempted);
    summary.frozen.clone_from(&memory.facts().frozen);
    summary.suspended = memory.facts().suspension_at(run.now).cloned();
    memory.desired = Some((memory.facts().adopted.clone(), run.now.date(), desired));
    if run.is_last {
        std::mem::forget(standing);
    }
    Ok(summary)
}

/// Plans, judges and carries out, and does so once more where what was done lets the world show more. Gives the last plan.
fn decide_and_act<S: Source, W: World, J: Journal, L, R: ReportSink>(
    memory: &mut Memory,
    outside: &mut Outside<S, W, J, L, R>,
    run: &mut Run<'_>,
    trusted: &Trusted,
    desired: &Desired,
    observed: &mut Observed,
    summary: &mut CycleSummary,
) -> Result<Plan, CycleError> {
    let mut pass = 1;
    loop {
        // Decide.
        let plan = make_plan(memory, run, &memory.facts().adopted, desired, observed);
        let evidence = releases::Evidence {
            trusted,
            plan: &plan,
            observed,
        };
        let mut approvals = releases::approve(memory, outside, run, &evidence, summary)?;
        let verdict = verdict_of(&plan, memory, run, observed, &approvals);
        let (batches, held) = verdict.into_batches();
        summary.held = held;
        summary.notes = plan.notes().to_vec();

        // Act.
        let uncovered = carry_out(
            memory,
            outside,
            run,
            &evidence,
            batches,
            &mut approvals,
            summary,
        )?;
        if !uncovered || summary.stopped || pass == PASSES {
            if !summary.stopped {
                let steps = plan.steps().iter().map(|it| it.step.id).collect();
                releases::finish(memory, outside, run, trusted, &steps, summary)?;
            }
            return Ok(plan);
        }
        pass += 1;
        *observed = observe(outside, &everything(desired, memory.facts(), run.policy))?;
    }
}

/// How things stand once all that may run has run: what changed is looked at again, and planned again.
fn end_state<S, W: World, J, L, R>(
    memory: &Memory,
    outside: &mut Outside<S, W, J, L, R>,
    run: &Run<'_>,
    desired: &Desired,
    mut observed: Observed,
    plan: Plan,
    summary: &CycleSummary,
) -> Result<EndState, CycleError> {
    if summary.ran.is_empty() {
        let held = summary.held.clone();
        return Ok(EndState {
            observed,
            plan,
            held,
        });
    }
    look_again(memory, outside, desired, run.policy, &mut observed, summary)?;
    let plan = make_plan(memory, run, &memory.facts().adopted, desired, &observed);
    let approvals = Approvals::of_begun(memory.facts());
    let held = verdict_of(&plan, memory, run, &observed, &approvals).held;
    Ok(EndState {
        observed,
        plan,
        held,
    })
}

/// Looks at what the batches of this cycle changed. Everybody else was looked at in this very cycle.
fn look_again<S, W: World, J, L, R>(
    memory: &Memory,
    outside: &mut Outside<S, W, J, L, R>,
    desired: &Desired,
    policy: &Policy,
    observed: &mut Observed,
    summary: &CycleSummary,
) -> Result<(), CycleError> {
    let mut question = everything(desired, memory.facts(), policy);
    if summary.shows_more {
        *observed = observe(outside, &question)?;
        return Ok(());
    }
    let mut touched = BTreeSet::new();
    touch(&mut touched, summary.ran.iter().map(|(step, _)| &**step));
    question.narrow(&touched);
    let newer = observe(outside, &question)?;
    observed.renew(&question, newer);
    Ok(())
}

/// A step that lets the world show more is followed by one more look within the cycle.
const PASSES: usize = 2;

/// What an adopted or proposed commit would do, without doing it: the plan and everything it was made from.
#[derive(Debug)]
pub struct Preview {
    /// What the files ask for.
    pub desired: Desired,
    /// The plan.
    pub plan: Plan,
    /// What was read on the host.
    pub observed: Observed,
}

/// Plans `files` as if they were adopted, and changes nothing: it holds readers only (invariant 4).
///
/// # Errors
/// [`CycleError::Repository`] when the files are not valid, [`CycleError::World`] when the host did not answer.
pub fn preview<W: World>(
    facts: &Facts,
    world: &mut W,
    policy: &Policy,
    now: Time,
    commit: &CommitId,
    files: &Files,
) -> Result<Preview, CycleError> {
    let desired =
        read_host(files, policy, now.date()).map_err(|problems| CycleError::Repository {
            commit: commit.clone(),
            problems,
        })?;
    let question = rooms::question_of_plan(&desired, &facts.known);
    let observed = world
        .observe(&question)
        .map_err(world_error(&unobserved(&question)))?;
    let input = Input {
        policy,
        commit,
        today: now.date(),
        desired: &desired,
        observed: &observed,
        facts,
    };
    Ok(Preview {
        plan: plan::plan(&input),
        observed,
        desired,
    })
}
