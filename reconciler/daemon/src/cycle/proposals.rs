//! What is told of branches that somebody proposes to merge.

use std::collections::BTreeSet;

use muster_core::commit::CommitId;
use muster_core::facts::Facts;
use muster_core::rooms::{self, Desired, Observed};
use muster_core::time::Date;
use muster_core::world::{Heads, ReportSink, Source, World};

use super::ground::{
    CycleError, CycleSummary, Memory, Outside, Premises, Run, chain, make_plan, observe,
};
use crate::tell;

/// Tells each proposal what its merge would do. All of them are planned against one observation.
pub(super) fn tell_proposals<S: Source, W: World, J, L, R: ReportSink>(
    memory: &mut Memory,
    outside: &mut Outside<S, W, J, L, R>,
    run: &Run<'_>,
    heads: &Option<Heads>,
    desired: &Desired,
    observed: &Observed,
    summary: &mut CycleSummary,
) -> Result<(), CycleError> {
    let Some(Heads {
        protected: Some(protected),
        proposals,
        tags: _,
    }) = heads
    else {
        return Ok(());
    };
    let current: BTreeSet<&CommitId> = proposals.values().collect();
    let stale = !memory.pruned || memory.told.keys().any(|head| !current.contains(head));
    memory.told.retain(|head, _| current.contains(head));
    if !proposals.is_empty() {
        let world = world_fingerprint(observed, memory.facts(), run.now.date());
        let premises = Premises {
            protected: protected.clone(),
            world,
        };
        let mut due = Vec::new();
        for (branch, head) in proposals
            .iter()
            .filter(|(_, head)| memory.told.get(*head) != Some(&premises))
        {
            let about = tell::Proposal {
                branch,
                head,
                protected,
            };
            match tell::look(&about, &mut outside.source, run) {
                Ok(looked) => due.push((about, looked)),
                Err(warning) => summary.warnings.push(warning),
            }
        }
        if !due.is_empty() {
            let known = &memory.replayed.facts.known;
            let mut asked = rooms::question_of_plan(desired, known);
            for (_, looked) in &due {
                if let tell::Looked::Valid(desired, _, _) = looked {
                    asked.widen(rooms::question_of_plan(desired, known));
                }
            }
            let observed = observe(outside, &asked)?;
            let base = make_plan(memory, run, &memory.facts().adopted, desired, &observed);
            for (about, looked) in due {
                let baseline = tell::Baseline {
                    facts: &memory.replayed.facts,
                    observed: &observed,
                    base: &base,
                };
                if tell::proposal(&about, &looked, baseline, outside, run, summary) {
                    memory.told.insert(about.head.clone(), premises.clone());
                }
            }
        }
    }
    if !stale {
        return Ok(());
    }
    if let Some(sink) = &mut outside.sink {
        let heads: Vec<CommitId> = proposals.values().cloned().collect();
        match sink.forget_plans_except(&heads) {
            Ok(()) => memory.pruned = true,
            Err(error) => {
                summary.warnings.push(format!(
                    "old plan reports could not be removed ({})",
                    chain(&error)
                ));
            }
        }
    }
    Ok(())
}

/// A number that differs when a plan could: over what was observed, what is known, and the day.
pub(super) fn world_fingerprint(observed: &Observed, facts: &Facts, today: Date) -> u64 {
    use std::hash::{DefaultHasher, Hash as _, Hasher as _};
    let mut hasher = DefaultHasher::new();
    today.hash(&mut hasher);
    observed.hash(&mut hasher);
    facts.known.hash(&mut hasher);
    facts.failures.hash(&mut hasher);
    facts.needs_operator.hash(&mut hasher);
    facts.frozen.hash(&mut hasher);
    facts.adopted.hash(&mut hasher);
    hasher.finish()
}
