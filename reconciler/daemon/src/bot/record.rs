//! What became of a merge, host by host, out of what hosts tell.

use std::collections::{BTreeMap, BTreeSet};

use std::sync::Arc;

use muster_core::commit::CommitId;
use muster_core::executor::Executor;
use muster_core::facts::{Attempted, Facts, Frozen};
use muster_core::fleet::{Fleet, Past};
use muster_core::gate::{Held, Reason};
use muster_core::id::StepId;
use muster_core::journal::StepResult;
use muster_core::ledger::held::HeldSteps;
use muster_core::release::claim::Progress;
use muster_core::report::{self, HostRecord, Reached, ReleaseRecord, ReleaseState, Unknown};
use muster_core::rooms::Known;
use muster_core::step::Step;
use muster_core::time::Time;

use super::survey::{Brief, Moment, Planned};

/// What hosts told while they enforced a commit that they have left; it does not change any more.
#[derive(Default)]
pub(super) struct Pasts(BTreeMap<(Executor, CommitId), Option<Past>>);

impl Pasts {
    /// The last that `executor` told while it enforced `commit`.
    pub(super) fn of<F: Fleet>(
        &mut self,
        executor: &Executor,
        ledger: &CommitId,
        commit: &CommitId,
        fleet: &F,
    ) -> Result<Option<&Past>, String> {
        let key = (executor.clone(), commit.clone());
        if !self.0.contains_key(&key) {
            let past = fleet.past(executor, ledger, commit)?;
            // No record is made of what is known of people.
            let brief = past.map(|past| Past {
                facts: Facts {
                    known: Known::new(past.facts.executor.kind()),
                    ..past.facts
                },
                ..past
            });
            self.0.insert(key.clone(), brief);
        }
        Ok(self.0.get(&key).and_then(Option::as_ref))
    }

    /// Lets go of what no record is made of any more.
    pub(super) fn keep(&mut self, wanted: &BTreeSet<CommitId>) {
        self.0.retain(|(_, commit), _| wanted.contains(commit));
    }
}

/// One host's part of a record, with all that it is made of.
pub(super) struct Part {
    executor: Executor,
    seen: SeenAt,
    adopted: Option<CommitId>,
    reached: Far,
    done: Vec<Arc<Step>>,
    undone: Vec<(Arc<Step>, StepResult)>,
    pub(super) held: Vec<Held>,
    releases: Vec<Release>,
}

/// When a host told, or why that does not count.
pub(super) type SeenAt = Result<Time, Unknown<String>>;

/// How far a host is.
enum Far {
    Behind,
    At,
    Refused(Attempted),
    Frozen(Frozen),
}

struct Release {
    tag: String,
    principals: Vec<String>,
    state: How,
}

enum How {
    Claimed,
    Refused(muster_core::release::Code, String),
    Finished(Option<String>),
}

/// How a host's commit relates to the one that a record is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Relation {
    /// It enforces just that one.
    Same,
    /// It enforces a later one, which contains it.
    Later,
    /// It does not contain it.
    Before,
}

/// All that a host's part is made from.
pub(super) struct PartInput<'a> {
    pub(super) executor: &'a Executor,
    /// When its ledger was last true.
    pub(super) read: Time,
    pub(super) brief: &'a Brief,
    /// How the commit that it enforces relates to the record's.
    pub(super) relation: Relation,
    /// Whether what it refused contains the record's commit.
    pub(super) refused: bool,
    /// What it told while it enforced the record's commit, where that is over.
    pub(super) past: Option<&'a Past>,
    /// What waited there before the merge: it waits for another reason.
    pub(super) before: &'a BTreeSet<StepId>,
    /// What the commit that it enforces asks of it.
    pub(super) own: Option<&'a Planned>,
}

impl Part {
    /// Of a host that nothing is known of.
    pub(super) fn unknown(executor: &Executor, seen: SeenAt) -> Self {
        Self {
            executor: executor.clone(),
            seen,
            adopted: None,
            reached: Far::Behind,
            done: Vec::new(),
            undone: Vec::new(),
            held: Vec::new(),
            releases: Vec::new(),
        }
    }

    /// Of a host that told.
    pub(super) fn of(input: &PartInput<'_>, commit: &CommitId, at: Moment) -> Self {
        let PartInput {
            executor,
            read,
            brief,
            relation,
            refused,
            past,
            before,
            own,
        } = input;
        let facts = &brief.facts;
        let seen = report::freshness(*read, at.now, at.stale);
        let mut part = Self {
            adopted: Some(facts.adopted.clone()),
            ..Self::unknown(executor, seen)
        };
        part.reached = match (relation, &facts.attempted, &facts.frozen) {
            (Relation::Same | Relation::Later, _, _) => Far::At,
            (Relation::Before, _, Some(frozen)) => Far::Frozen(frozen.clone()),
            (Relation::Before, Some(attempted), None) if *refused => {
                Far::Refused(attempted.clone())
            }
            (Relation::Before, _, None) => Far::Behind,
        };
        if *relation == Relation::Before {
            return part;
        }
        // What it did while it enforced this commit; of one that it passed over, what it did when it came to the next.
        let then: &Facts = past.map_or(facts, |it| &it.facts);
        let then_held = past.map_or(brief.held.as_ref(), |it| it.held.as_ref());
        let mut of_then: BTreeMap<StepId, &Arc<Step>> = steps_of(then_held);
        of_then.retain(|id, _| !before.contains(id));
        part.done = then.record.iter().map(|it| Arc::clone(&it.step)).collect();
        let mut done: BTreeSet<StepId> = part.done.iter().map(|it| it.id).collect();
        for (id, step) in &of_then {
            let released = facts
                .claims
                .values()
                .any(|it| it.steps.get(id) == Some(&Progress::Done));
            if released && done.insert(*id) {
                part.done.push(Arc::clone(step));
            }
        }
        let concerns = |id: StepId| match relation {
            Relation::Same => true,
            // What a later commit brought is told there.
            Relation::Later | Relation::Before => past.is_none() || of_then.contains_key(&id),
        };
        for held in own.iter().flat_map(|it| &it.verdict.held) {
            let id = held.step.id;
            if !concerns(id) || before.contains(&id) || done.contains(&id) {
                continue;
            }
            match &held.reason {
                Reason::Retry { at, reason } => {
                    let why = format!("{reason}; it is tried again at {at}");
                    part.undone
                        .push((held.step.clone(), StepResult::Failed(why)));
                }
                Reason::NeedsOperator(why) => {
                    let how = StepResult::NeedsOperator(why.clone());
                    part.undone.push((held.step.clone(), how));
                }
                Reason::PendingSignature
                | Reason::Limit(_)
                | Reason::Guardrail(_)
                | Reason::Needs(_)
                | Reason::Precondition(_)
                | Reason::Until { .. }
                | Reason::Frozen
                | Reason::Suspended(_) => part.held.push(held.clone()),
            }
        }
        let ids: BTreeSet<StepId> = of_then
            .into_keys()
            .chain(part.held.iter().map(|it| it.step.id))
            .chain(done)
            .collect();
        part.releases = releases_of(facts, commit, &ids);
        part
    }

    /// As reports take it.
    pub(super) fn record<'a>(&'a self, releases: &'a [ReleaseRecord<'a>]) -> HostRecord<'a> {
        HostRecord {
            executor: &self.executor,
            seen: self.seen.as_ref().copied().map_err(Unknown::as_str),
            adopted: self.adopted.as_ref(),
            reached: match &self.reached {
                Far::Behind => Reached::Behind,
                Far::At => Reached::At,
                Far::Refused(attempted) => Reached::Refused(attempted),
                Far::Frozen(frozen) => Reached::Frozen(frozen),
            },
            done: &self.done,
            undone: &self.undone,
            held: &self.held,
            releases,
        }
    }

    /// Its releases as reports take them.
    pub(super) fn releases(&self) -> Vec<ReleaseRecord<'_>> {
        self.releases
            .iter()
            .map(|it| ReleaseRecord {
                tag: &it.tag,
                principals: &it.principals,
                state: match &it.state {
                    How::Claimed => ReleaseState::Claimed,
                    How::Refused(code, why) => ReleaseState::Refused { code: *code, why },
                    How::Finished(why) => ReleaseState::Finished(why.as_deref()),
                },
            })
            .collect()
    }

    /// Whether there is nothing more to come from this host.
    pub(super) fn is_through(&self) -> bool {
        self.seen.is_ok()
            && matches!(self.reached, Far::At)
            && self.undone.is_empty()
            && self.held.is_empty()
    }
}

fn steps_of(held: Option<&HeldSteps>) -> BTreeMap<StepId, &Arc<Step>> {
    let held = held.map_or(&[][..], |it| it.held.as_slice());
    held.iter().map(|it| (it.step.id, &it.step)).collect()
}

/// Releases of `commit`, or of one of its steps.
fn releases_of(facts: &Facts, commit: &CommitId, ids: &BTreeSet<StepId>) -> Vec<Release> {
    let claimed = facts
        .claims
        .values()
        .filter(|it| it.commit == *commit || it.steps.keys().any(|id| ids.contains(id)))
        .map(|it| {
            let failed = it.steps.values().filter(|it| **it == Progress::Failed);
            let (failed, waiting) = (
                failed.count(),
                it.steps
                    .values()
                    .filter(|it| **it == Progress::Waiting)
                    .count(),
            );
            let why = match (failed, waiting) {
                (0, 0) => None,
                (0, left) => Some(format!("{left} of its steps did not begin")),
                (failed, _) => Some(format!("{failed} of its steps failed")),
            };
            Release {
                tag: it.tags.first().cloned().unwrap_or_default(),
                principals: it.principals.clone(),
                state: match it.finished {
                    true => How::Finished(why),
                    false if it.steps.values().all(|it| *it == Progress::Done) => {
                        How::Finished(None)
                    }
                    false => How::Claimed,
                },
            }
        });
    let refused = facts
        .refused
        .iter()
        .filter(|it| it.commit == *commit)
        .map(|it| Release {
            tag: it.tag.clone(),
            principals: it.principals.clone(),
            state: How::Refused(it.code, it.why.clone()),
        });
    claimed.chain(refused).collect()
}
