//! What is done, one intent at a time, and what the world shows of it.

use std::collections::BTreeSet;
use std::sync::Arc;

use muster_core::gate::{Approvals, Batch};
use muster_core::id::StepId;
use muster_core::journal::{Entry, Open, StepResult};
use muster_core::price::{Price, Shows};
use muster_core::rooms::{self, Mark, Observed};
use muster_core::settle::settle;
use muster_core::step::Step;
use muster_core::time::Time;
use muster_core::world::{Complaints, Journal, NotKept, Recorder, World};

use super::ground::{CycleError, CycleSummary, Memory, Outside, Run, chain, observe};
use super::records::record;
use super::releases;

/// Watches an act, and keeps its marks.
struct Keeper<'a, J> {
    memory: &'a mut Memory,
    journal: &'a mut J,
    at: Time,
    doing: &'static str,
    watched: &'a mut dyn FnMut(&'static str, usize, usize),
    /// Why a mark could not be kept: nothing more is done then.
    failed: Option<CycleError>,
}

impl<J: Journal> Recorder for Keeper<'_, J> {
    fn progress(&mut self, done: usize, all: usize) {
        (self.watched)(self.doing, done, all);
    }

    fn mark(&mut self, step: StepId, mark: Mark) -> Result<(), NotKept> {
        if let Some(error) = &self.failed {
            return Err(NotKept(chain(error)));
        }
        let at = self.at;
        let entry = Entry::Marked { at, step, mark };
        record(self.memory, self.journal, &entry).map_err(|error| {
            let told = NotKept(chain(&error));
            self.failed = Some(error);
            told
        })
    }
}

/// Brings the one batch in doubt to an outcome, by looking.
pub(super) fn recover<S, W: World, J: Journal, L, R>(
    memory: &mut Memory,
    outside: &mut Outside<S, W, J, L, R>,
    run: &Run<'_>,
    summary: &mut CycleSummary,
) -> Result<(), CycleError> {
    let Some(Open { steps, .. }) = memory.replayed.open.clone() else {
        return Ok(());
    };
    let priced: Vec<(Arc<Step>, Price)> = steps
        .iter()
        .map(|step| (Arc::clone(step), price_of(step, memory, run)))
        .collect();
    let asked = priced.iter().map(|(step, price)| (&step.action, *price));
    let question = rooms::question_about(asked, &memory.facts().known, None);
    let observed = observe(outside, &question)?;
    let results = close(memory, outside, run, &priced, &observed, &Complaints::new())?;
    summary.recovered = steps.into_iter().zip(results).collect();
    Ok(())
}

/// Records what the world shows of the open batch.
pub(super) fn close<S, W, J: Journal, L, R>(
    memory: &mut Memory,
    outside: &mut Outside<S, W, J, L, R>,
    run: &Run<'_>,
    steps: &[(Arc<Step>, Price)],
    observed: &Observed,
    complaints: &Complaints,
) -> Result<Vec<StepResult>, CycleError> {
    let known = &memory.facts().known;
    let results: Vec<StepResult> = steps
        .iter()
        .map(|(step, price)| {
            let complaint = complaints.get(&step.id).map(String::as_str);
            settle(step, price, observed, run.policy, known, complaint)
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

/// What a step of a batch in doubt costs, by what is known before anybody has looked.
fn price_of(step: &Step, memory: &Memory, run: &Run<'_>) -> Price {
    rooms::price(&step.action, run.policy, None, &memory.facts().known)
}

/// Runs the batches, one intent at a time, and observes after each. Whether the world shows more now than the steps themselves.
pub(super) fn carry_out<S, W: World, J: Journal, L, R>(
    memory: &mut Memory,
    outside: &mut Outside<S, W, J, L, R>,
    run: &mut Run<'_>,
    evidence: &releases::Evidence<'_>,
    batches: Vec<Batch>,
    approvals: &mut Approvals,
    summary: &mut CycleSummary,
) -> Result<bool, CycleError> {
    let mut uncovered = false;
    let mut undone: BTreeSet<StepId> = BTreeSet::new();
    for mut batch in batches {
        if (run.stop)() {
            summary.stopped = true;
            return Ok(uncovered);
        }
        let trusted = evidence.trusted;
        let left = releases::withdraw(memory, run, trusted, approvals, &mut batch, summary);
        undone.extend(left);
        let left = batch.without_dependents_of(&undone);
        undone.extend(left);
        if batch.is_empty() {
            continue;
        }
        let material = evidence.plan.material(batch.steps(), evidence.observed);
        let commit = memory.facts().adopted.clone();
        let intent = batch.intend(&commit, run.now, material, |entry| {
            record(memory, &mut outside.journal, entry)
        })?;
        let mut keeper = Keeper {
            memory: &mut *memory,
            journal: &mut outside.journal,
            at: run.now,
            doing: intent.turn().word(),
            watched: run.progress,
            failed: None,
        };
        let acted = outside.world.act(&intent, &mut keeper);
        if let Some(error) = keeper.failed {
            return Err(error);
        }
        let complaints = match acted {
            Ok(complaints) => complaints,
            // The act as a whole went wrong: every step that the world does not show done has that reason.
            Err(error) => intent
                .steps()
                .map(|step| (step.id, chain(&error)))
                .collect(),
        };
        let asked = intent.planned().iter();
        let asked = asked.map(|it| (&it.step.action, it.price));
        let question = rooms::question_about(asked, &memory.facts().known, Some(intent.turn()));
        let after = observe(outside, &question)?;
        let priced: Vec<(Arc<Step>, Price)> = intent
            .planned()
            .iter()
            .map(|it| (Arc::clone(&it.step), it.price))
            .collect();
        let results = close(memory, outside, run, &priced, &after, &complaints)?;
        for ((step, price), result) in priced.into_iter().zip(results) {
            let done = result == StepResult::Done;
            if !done {
                undone.insert(step.id);
            }
            match price.shows {
                Shows::More => {
                    summary.shows_more = true;
                    uncovered |= done;
                }
                Shows::Nothing => {}
            }
            summary.ran.push((step, result));
        }
    }
    Ok(uncovered)
}
