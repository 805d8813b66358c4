//! What muster knows of its own doing on one executor: the ledger folded with the journal's tail.
//!
//! Facts change only by [`Facts::apply`], with an entry that is already durable. The same fold runs live and at
//! recovery, so the two cannot disagree.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::commit::CommitId;
use crate::executor::Executor;
use crate::id::{RunId, StepId};
use crate::journal::{Entry, Open, StepResult};
use crate::limits::Recent;
use crate::release::Nonce;
use crate::release::claim::{Claim, Progress, REFUSED_LIMIT, RefusedRelease, TrustFacts};
use crate::rooms::Known;
use crate::step::Step;
use crate::time::Time;

/// A step that did not come out as meant.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Failure {
    /// How often in a row.
    pub times: u32,
    /// When last.
    pub last: Time,
    /// Why.
    pub reason: String,
}

impl Failure {
    /// When the next try is due: after `retry_after` seconds, doubled each time, an hour at most.
    pub fn retry_at(&self, retry_after: u32) -> Time {
        let doublings = self.times.saturating_sub(1).min(12);
        let wait = i64::from(retry_after) << doublings;
        self.last.plus(wait.min(3_600))
    }
}

/// A commit that was looked at and not adopted.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Attempted {
    /// Which.
    pub commit: CommitId,
    /// Why not.
    pub problem: String,
}

/// Why an executor runs nothing but benign repairs.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum Frozen {
    /// The protected branch no longer descends from the adopted commit.
    Rewritten {
        /// What was adopted.
        adopted: CommitId,
        /// What the branch shows now.
        found: CommitId,
    },
    /// The pinned name is not the name in the settings.
    Renamed {
        /// The pinned name.
        pinned: String,
        /// The name in the settings.
        found: String,
    },
    /// An executor id without its journal: what ran before is not known.
    Lost,
    /// The journal was put back from an older copy: what ran after that copy is known as far as the ledger tells it.
    Behind {
        /// The last record of the journal.
        journal: u64,
        /// The last record that the ledger contains.
        ledger: u64,
    },
    /// The ledger was put back from an older copy, and the journal no longer has the records after it.
    Gap {
        /// The first record of the journal.
        journal: u64,
        /// The last record that the ledger contains.
        ledger: u64,
    },
    /// The state directory is an older copy: what happened after it is known by a mark beside it alone (F5).
    Older {
        /// The last record of the journal.
        journal: u64,
        /// The last record that the mark tells of.
        mark: u64,
    },
    /// The mark that tells an older copy of the state directory from the newest is gone.
    Unmarked,
    /// The ledger repository holds another ledger in this executor's name than the one that is kept here.
    Elsewhere {
        /// How it differs.
        how: Misfit,
        /// Its newest commit.
        found: CommitId,
    },
}

/// How a ledger in the ledger repository differs from the one that is kept here.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Misfit {
    /// It goes on from here: what is here is an older copy.
    Ahead,
    /// It is this executor's and does not go on from here.
    Rewritten,
    /// It is another executor's.
    Another,
}

impl Frozen {
    /// Whether nothing runs, not even what is benign: whoever knows only what was once true would give back what was taken since.
    pub fn holds_everything(&self) -> bool {
        match self {
            Self::Older { .. } | Self::Unmarked => true,
            Self::Rewritten { .. }
            | Self::Renamed { .. }
            | Self::Lost
            | Self::Behind { .. }
            | Self::Gap { .. }
            | Self::Elsewhere { .. } => false,
        }
    }
}

impl fmt::Display for Frozen {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Rewritten { adopted, found } => write!(
                f,
                "the protected branch was rewritten: {} does not descend from the adopted {}; look at both, then \
                 `muster adopt {found} --reason …`",
                found.short(),
                adopted.short()
            ),
            Self::Renamed { pinned, found } => write!(
                f,
                "this executor is pinned to the name {pinned}, and the settings say {found}; put the name back, or \
                 `muster init` a new state directory"
            ),
            Self::Lost => f.write_str(
                "the journal of this executor id is gone, so what ran before is not known; `muster adopt SHA --reason …`",
            ),
            Self::Behind { journal, ledger } => write!(
                f,
                "the journal is an older copy: it ended with record {journal}, and the ledger contains {ledger}, so what ran last \
                 is not known; look at what runs here, then `muster adopt SHA --reason …`"
            ),
            Self::Gap { journal, ledger } => write!(
                f,
                "the ledger is an older copy: it ends with record {ledger}, and the journal began with record {journal}, so what \
                 ran between them is not known; look at what runs here, then `muster adopt SHA --reason …`"
            ),
            Self::Older { journal, mark } => write!(
                f,
                "the state directory is an older copy: its journal ended with record {journal}, and there was a record {mark}, so what \
                 ran last is not known, and nothing is changed here; look at what runs here, then `muster adopt SHA --reason …`"
            ),
            Self::Unmarked => f.write_str(
                "the mark beside the state directory is gone, so the directory may be an older copy, and nothing is changed here; look at \
                 what runs here, then `muster adopt SHA --reason …`",
            ),
            Self::Elsewhere { how, found } => {
                match how {
                    Misfit::Ahead => write!(
                        f,
                        "the ledger repository is ahead of this host: {found} goes on from what is here, so this host was put back \
                         from an older copy, or runs twice"
                    )?,
                    Misfit::Rewritten => write!(
                        f,
                        "the ledger repository holds {found} in this host's name, which does not go on from what is here: it was \
                         rewritten, or this host runs twice"
                    )?,
                    Misfit::Another => write!(
                        f,
                        "the ledger repository holds {found} in this host's name, which is another executor's: two hosts have one \
                         name, or this one was initialised anew"
                    )?,
                }
                f.write_str(
                    "; look at both, and stop the other one; then `muster adopt SHA --reason …`, and the ledger that is kept here \
                     takes its place",
                )
            }
        }
    }
}

/// A person at the console decided that an executor acts on nothing for a while: it looks, plans and tells, no more.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Suspended {
    /// Who, as the console knew them.
    pub who: String,
    /// Why, in their words.
    pub reason: String,
    /// Since when.
    pub since: Time,
    /// The first moment at which it no longer holds; without one, until somebody resumes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub until: Option<Time>,
}

impl Suspended {
    /// Whether it holds at a moment.
    pub fn holds_at(&self, now: Time) -> bool {
        self.until.is_none_or(|until| now < until)
    }
}

impl fmt::Display for Suspended {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            who,
            reason,
            since: _,
            until,
        } = self;
        match until {
            Some(until) => write!(f, "suspended by {who} until {until}: {reason}"),
            None => write!(f, "suspended by {who} until `muster resume`: {reason}"),
        }
    }
}

/// Something that was taken away, as the limits count it (F29, H13).
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Removal {
    /// When last.
    pub at: Time,
    /// From whom: the resource of the step. Earlier versions kept no more than the moment.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub of: Option<String>,
}

/// A step that was done.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DoneStep {
    /// Which.
    pub step: Arc<Step>,
    /// When.
    pub at: Time,
    /// The release it ran by, if it needed one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub by: Option<Nonce>,
}

/// How many done steps are kept word for word.
pub const RECORD_LIMIT: usize = 1_000;

/// All that is known.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Facts {
    /// Random, made once by `muster init`.
    pub executor_id: String,
    /// Whose facts these are, as it was pinned by `muster init`.
    pub executor: Executor,
    /// The commit last adopted.
    pub adopted: CommitId,
    /// A newer commit that was not adopted.
    pub attempted: Option<Attempted>,
    /// Why only benign repairs run.
    pub frozen: Option<Frozen>,
    /// Why nothing runs, as long as [`Suspended::holds_at`] says so.
    pub suspended: Option<Suspended>,
    /// What the executor's room knows of what it keeps.
    pub known: Known,
    /// What was taken from whom, for the limit over a day; a day old at most.
    pub removals: Vec<Removal>,
    /// Steps that did not come out as meant, since they last did.
    pub failures: BTreeMap<StepId, Failure>,
    /// Steps that were brought to no end and that a person has to look at.
    pub needs_operator: BTreeMap<StepId, String>,
    /// Steps done since the adopted commit was adopted, the first [`RECORD_LIMIT`] of them: what its outcome report tells.
    pub record: Vec<DoneStep>,
    /// How many more were done.
    pub record_more: u64,
    /// The latest moment the journal has seen: no later one may be before it.
    pub latest: Time,
    /// Which root of trust is in force, once there was one.
    pub trust: Option<TrustFacts>,
    /// Every release that was ever taken up here. Never removed (invariant 6).
    pub claims: BTreeMap<Nonce, Claim>,
    /// Nonces of signed resets, and of what was taken up here that no claim tells of any more (F5). Never removed.
    pub spent: BTreeSet<Nonce>,
    /// Releases that operators signed and that were refused, oldest first; [`REFUSED_LIMIT`] of them.
    pub refused: Vec<RefusedRelease>,
}

impl Facts {
    /// The facts of an executor that has just been initialised.
    pub fn genesis(executor_id: &str, executor: Executor, adopt: CommitId, at: Time) -> Self {
        Self {
            executor_id: executor_id.to_owned(),
            known: Known::new(executor.kind()),
            executor,
            adopted: adopt,
            attempted: None,
            frozen: None,
            suspended: None,
            removals: Vec::new(),
            failures: BTreeMap::new(),
            needs_operator: BTreeMap::new(),
            record: Vec::new(),
            record_more: 0,
            latest: at,
            trust: None,
            claims: BTreeMap::new(),
            spent: BTreeSet::new(),
            refused: Vec::new(),
        }
    }

    /// From whom something was taken after a moment, of those of the last 24 hours that are remembered.
    pub fn recent(&self, moment: Time) -> Recent<'_> {
        let mut recent = Recent::default();
        for Removal { at: _, of } in self.removals.iter().filter(|it| it.at > moment) {
            match of {
                Some(of) => drop(recent.of.insert(of)),
                None => recent.unnamed += 1,
            }
        }
        recent
    }

    /// The suspension that holds at a moment, if one does.
    pub fn suspension_at(&self, now: Time) -> Option<&Suspended> {
        self.suspended.as_ref().filter(|it| it.holds_at(now))
    }

    /// Takes in one durable entry; `open` is the batch that the entry closes or marks a step of, if it does.
    pub fn apply(&mut self, entry: &Entry, open: Option<&Open>) {
        self.latest = self.latest.max(entry.at());
        match entry {
            Entry::Genesis {
                executor_id,
                name,
                adopt,
                at,
            } => {
                *self = Self::genesis(executor_id, Executor::from_pin(name), adopt.clone(), *at);
            }
            Entry::Adopted { commit, .. } => {
                self.adopt(commit);
            }
            Entry::Attempted {
                commit, problem, ..
            } => {
                self.attempted = Some(Attempted {
                    commit: commit.clone(),
                    problem: problem.clone(),
                });
            }
            Entry::Frozen { why, .. } => self.frozen = Some(why.clone()),
            Entry::Reset { commit, nonce, .. } => {
                self.spent.extend(nonce);
                self.adopt(commit);
                self.frozen = None;
                // Whoever resets an executor has looked at what was stuck.
                self.needs_operator.clear();
            }
            Entry::Trusted { root, .. } => self.trust = Some(root.clone()),
            Entry::Claimed { claim, .. } => {
                self.refused.retain(|it| it.nonce != claim.nonce);
                self.claims.insert(claim.nonce, claim.clone());
            }
            Entry::Finished { nonce, .. } => {
                if let Some(claim) = self.claims.get_mut(nonce) {
                    claim.finished = true;
                }
                self.known.run_ended(&RunId::of(nonce));
            }
            Entry::Refused { release, .. } => {
                self.refused.retain(|it| it.statement != release.statement);
                if self.refused.len() >= REFUSED_LIMIT {
                    self.refused.remove(0);
                }
                self.refused.push(release.clone());
            }
            Entry::Intended {
                steps, authority, ..
            } => {
                for step in steps {
                    if let Some(nonce) = authority.release_of(step.id) {
                        self.progress(nonce, step.id, Progress::Begun);
                    }
                }
            }
            Entry::Suspended {
                at,
                who,
                reason,
                until,
            } => {
                self.suspended = Some(Suspended {
                    who: who.clone(),
                    reason: reason.clone(),
                    since: *at,
                    until: *until,
                });
            }
            Entry::Resumed { .. } => self.suspended = None,
            Entry::ClockAccepted { at, .. } => self.go_back_to(*at),
            Entry::Marked { at, step, mark } => {
                let open = open.expect("invariant: a mark is of an open batch");
                if let Some(step) = open.steps.iter().find(|it| it.id == *step) {
                    let run = open.authority.release_of(step.id).map(RunId::of);
                    let step = (step.id, &step.action);
                    self.known.marked(step, mark, run, *at);
                }
            }
            Entry::Outcome { at, results } => {
                let open = open.expect("invariant: an outcome closes a batch");
                for (step, result) in open.steps.iter().zip(results) {
                    let by = open.authority.release_of(step.id);
                    self.apply_result(step, result, *at, by);
                }
                self.removals.retain(|it| it.at.plus(86_400) > *at);
                // A step that was not tried for a week is no longer planned, or is somebody's new concern.
                self.failures
                    .retain(|_, failure| failure.last.plus(604_800) > *at);
            }
        }
    }

    /// What was recorded after `at` counts as recorded then: what runs for a while after it begins to count anew.
    fn go_back_to(&mut self, at: Time) {
        let Self {
            executor_id: _,
            executor: _,
            adopted: _,
            attempted: _,
            frozen: _,
            suspended,
            known,
            removals,
            failures,
            needs_operator: _,
            record,
            record_more: _,
            latest,
            trust: _,
            // What was signed says until when it holds.
            claims,
            spent: _,
            refused: _,
        } = self;
        let back = |moment: &mut Time| *moment = (*moment).min(at);
        *latest = at;
        suspended.iter_mut().for_each(|it| back(&mut it.since));
        removals.iter_mut().for_each(|it| back(&mut it.at));
        failures.values_mut().for_each(|it| back(&mut it.last));
        record.iter_mut().for_each(|it| back(&mut it.at));
        claims.values_mut().for_each(|it| back(&mut it.at));
        known.go_back_to(at);
    }

    fn progress(&mut self, nonce: Nonce, step: StepId, progress: Progress) {
        let claim = self.claims.get_mut(&nonce);
        if let Some(it) = claim.and_then(|claim| claim.steps.get_mut(&step)) {
            *it = progress;
        }
    }

    fn apply_result(&mut self, step: &Arc<Step>, result: &StepResult, at: Time, by: Option<Nonce>) {
        if let Some(nonce) = by {
            let progress = match result {
                StepResult::Done | StepResult::Overtaken(_) => Progress::Done,
                StepResult::NotBegun => Progress::Waiting,
                StepResult::Unfinished(_) => Progress::Begun,
                StepResult::Failed(_) | StepResult::NeedsOperator(_) => Progress::Failed,
            };
            self.progress(nonce, step.id, progress);
        }
        match result {
            StepResult::Done | StepResult::Overtaken(_) => {}
            StepResult::Failed(_)
            | StepResult::NotBegun
            | StepResult::Unfinished(_)
            | StepResult::NeedsOperator(_) => {
                self.known.not_done(&step.action, &step.incarnation);
            }
        }
        match result {
            StepResult::Done | StepResult::Overtaken(_) => {
                self.failures.remove(&step.id);
                self.needs_operator.remove(&step.id);
                self.apply_done(step, at, by);
            }
            StepResult::Failed(reason) | StepResult::Unfinished(reason) => {
                let failure = self.failures.entry(step.id).or_insert(Failure {
                    times: 0,
                    last: at,
                    reason: String::new(),
                });
                failure.times = failure.times.saturating_add(1);
                failure.last = at;
                failure.reason.clone_from(reason);
            }
            StepResult::NotBegun => {}
            StepResult::NeedsOperator(reason) => {
                self.needs_operator.insert(step.id, reason.clone());
            }
        }
    }

    fn adopt(&mut self, commit: &CommitId) {
        self.adopted = commit.clone();
        self.attempted = None;
        self.record.clear();
        self.record_more = 0;
    }

    fn apply_done(&mut self, step: &Arc<Step>, at: Time, by: Option<Nonce>) {
        if self.known.takes(&step.action).counts() {
            let of = Some(step.resource().to_owned());
            self.removals.push(Removal { at, of });
        }
        if self.record.len() < RECORD_LIMIT {
            self.record.push(DoneStep {
                step: Arc::clone(step),
                at,
                by,
            });
        } else {
            self.record_more += 1;
        }
        self.known.done(step.id, &step.action, at);
    }
}
