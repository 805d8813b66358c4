//! The entries of the journal, in order of time, and the fold that reads them back.
//!
//! How they are kept on disk (length, checksum, chain) is the daemon's affair; what may follow what is decided here,
//! by one function that guards the live path and replays the log.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::commit::CommitId;
use crate::executor::Executor;
use crate::facts::{Facts, Frozen};
use crate::id::StepId;
use crate::release::Nonce;
use crate::release::claim::{Claim, RefusedRelease, TrustFacts};
use crate::rooms::Mark;
use crate::step::Step;
use crate::time::Time;

/// One record.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum Entry {
    /// The first record of every journal.
    Genesis {
        /// When.
        at: Time,
        /// Random, 32 hex digits.
        executor_id: String,
        /// The pinned name.
        name: String,
        /// The first commit to adopt, as a person confirmed it.
        adopt: CommitId,
    },
    /// A commit was adopted: what it asks for is what is enforced.
    Adopted {
        /// When.
        at: Time,
        /// Which.
        commit: CommitId,
    },
    /// A commit was looked at and not adopted.
    Attempted {
        /// When.
        at: Time,
        /// Which.
        commit: CommitId,
        /// Why not.
        problem: String,
    },
    /// Only benign repairs run from here on.
    Frozen {
        /// When.
        at: Time,
        /// Why.
        why: Frozen,
    },
    /// A person at the console decided which commit counts.
    Reset {
        /// When.
        at: Time,
        /// The commit adopted from here on.
        commit: CommitId,
        /// Who, as the console knew them.
        who: String,
        /// Why, in their words.
        reason: String,
        /// The nonce of the signed reset, when it was one.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        nonce: Option<Nonce>,
    },
    /// Another root of trust is in force from here on.
    Trusted {
        /// When.
        at: Time,
        /// Which.
        root: TrustFacts,
        /// Who saw to it: principals who signed a rotation, or the one at the console.
        by: Vec<String>,
    },
    /// A release is taken up: its nonce permits this run and no other (invariant 6).
    Claimed {
        /// When.
        at: Time,
        /// What it permits here.
        claim: Claim,
        /// What was signed, word for word.
        statement: String,
    },
    /// A release is at its end; what it did not do needs a new one.
    Finished {
        /// When.
        at: Time,
        /// Which.
        nonce: Nonce,
        /// Why what is left does not run, when something is left.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        why: Option<String>,
    },
    /// A release that an operator signed was refused.
    Refused {
        /// When.
        at: Time,
        /// Which, and why.
        release: RefusedRelease,
    },
    /// A person at the console decided that nothing runs from here on.
    Suspended {
        /// When.
        at: Time,
        /// Who, as the console knew them.
        who: String,
        /// Why, in their words.
        reason: String,
        /// The first moment at which it no longer holds, if it ends by itself.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        until: Option<Time>,
    },
    /// What was suspended goes on: a person decided so, or its time was over.
    Resumed {
        /// When.
        at: Time,
        /// Who; `muster` itself when the time was over.
        who: String,
        /// Why, in their words.
        reason: String,
    },
    /// A person at the console said that the clock is right, although records were written later: time goes on from here, and
    /// what was recorded later counts as of now. Versions before this one do not know it, and stop where they find it.
    ClockAccepted {
        /// What the clock said: the only record that may be earlier than the one before it.
        at: Time,
        /// Who, as the console knew them.
        who: String,
        /// Why, in their words.
        reason: String,
        /// The latest moment that had been recorded.
        latest: Time,
    },
    /// A batch is about to run.
    Intended {
        /// When.
        at: Time,
        /// Its steps, in order.
        steps: Vec<Arc<Step>>,
        /// By what right.
        authority: Authority,
    },
    /// What an act noted of a step while it was at work, between the intent of its batch and the outcome. Versions before this one do
    /// not know it, and stop where they find it.
    Marked {
        /// When.
        at: Time,
        /// Of which step of the open batch.
        step: StepId,
        /// What.
        mark: Mark,
    },
    /// What the world showed after the batch before this entry: one result for each of its steps.
    Outcome {
        /// When.
        at: Time,
        /// In the order of the steps.
        results: Vec<StepResult>,
    },
}

impl Entry {
    /// When it was written.
    pub fn at(&self) -> Time {
        match self {
            Self::Genesis { at, .. }
            | Self::Adopted { at, .. }
            | Self::Attempted { at, .. }
            | Self::Frozen { at, .. }
            | Self::Reset { at, .. }
            | Self::Trusted { at, .. }
            | Self::Claimed { at, .. }
            | Self::Finished { at, .. }
            | Self::Refused { at, .. }
            | Self::Suspended { at, .. }
            | Self::Resumed { at, .. }
            | Self::ClockAccepted { at, .. }
            | Self::Intended { at, .. }
            | Self::Marked { at, .. }
            | Self::Outcome { at, .. } => *at,
        }
    }
}

/// By what right a batch runs.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum Authority {
    /// Every step is benign, and the commit asks for it.
    Benign {
        /// The adopted commit.
        commit: CommitId,
    },
    /// Some steps are what a claimed release permits; the others are benign.
    Released {
        /// The adopted commit.
        commit: CommitId,
        /// Which step runs by which release.
        by: BTreeMap<StepId, Nonce>,
    },
}

impl Authority {
    /// The release that a step runs by, if it needs one.
    pub fn release_of(&self, step: StepId) -> Option<Nonce> {
        match self {
            Self::Benign { .. } => None,
            Self::Released { by, .. } => by.get(&step).copied(),
        }
    }
}

/// How a step came out, as the world showed it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum StepResult {
    /// The world is as the step wanted it.
    Done,
    /// It is not, for a reason.
    Failed(String),
    /// Nothing of it has happened; it may be planned again at once.
    NotBegun,
    /// A part of it has happened, and it goes on from there: it is tried again until it is done.
    Unfinished(String),
    /// Something of it has happened that the ordinary path does not finish.
    NeedsOperator(String),
    /// It was done, and somebody has changed what it did since: how that is now. For the audit trail it is done.
    Overtaken(String),
}

/// Facts, and the batch that has an intent and no outcome yet, if there is one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Replayed {
    /// What is known.
    pub facts: Facts,
    /// The one batch in doubt.
    pub open: Option<Open>,
    /// What the ledger does not tell yet.
    pub untold: Untold,
}

/// What was written to the journal since the last commit of the ledger: its next message tells it, whatever happened in between.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Untold {
    /// How steps came out, in the order of time.
    pub results: Vec<(Arc<Step>, StepResult)>,
    /// The entries that are not about steps.
    pub others: Vec<Entry>,
}

/// A batch that has an intent and no outcome yet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Open {
    /// Its steps, in order.
    pub steps: Vec<Arc<Step>>,
    /// By what right it runs.
    pub authority: Authority,
}

/// An entry that cannot follow the ones before it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum OutOfOrder {
    /// The first entry is not a genesis, or a later one is.
    #[error("a journal begins with one genesis record, and has no other")]
    Genesis,
    /// An intent while another is open.
    #[error("a batch was intended while another was open")]
    Intent,
    /// An outcome without an intent.
    #[error("an outcome was recorded with no batch open")]
    Outcome,
    /// A mark of a step that is not in the open batch.
    #[error("a mark was recorded of a step that is not in the open batch")]
    Mark,
    /// A step that another kind of executor carries out.
    #[error("a step was intended that is not for this kind of executor")]
    Foreign,
    /// An outcome with more or fewer results than the batch has steps.
    #[error("an outcome has {results} results for {steps} steps")]
    Results {
        /// Steps of the open batch.
        steps: usize,
        /// Results recorded.
        results: usize,
    },
}

impl Replayed {
    /// Begins with the first entry of a journal.
    ///
    /// # Errors
    /// [`OutOfOrder::Genesis`] when that is no genesis record.
    pub fn begin(first: &Entry) -> Result<Self, OutOfOrder> {
        match first {
            Entry::Genesis {
                at,
                executor_id,
                name,
                adopt,
            } => Ok(Self {
                facts: Facts::genesis(executor_id, Executor::from_pin(name), adopt.clone(), *at),
                open: None,
                untold: Untold::default(),
            }),
            _ => Err(OutOfOrder::Genesis),
        }
    }

    /// Goes on from what the ledger holds.
    pub fn from_ledger(facts: Facts) -> Self {
        Self {
            facts,
            open: None,
            untold: Untold::default(),
        }
    }

    /// Takes in the next entry: the same function live and in replay.
    ///
    /// # Errors
    /// [`OutOfOrder`] when `entry` cannot stand here; nothing has changed then.
    pub fn apply(&mut self, entry: &Entry) -> Result<(), OutOfOrder> {
        match (entry, &self.open) {
            (Entry::Genesis { .. }, _) => return Err(OutOfOrder::Genesis),
            (Entry::Intended { .. }, Some(_)) => return Err(OutOfOrder::Intent),
            (
                Entry::Intended {
                    steps, authority, ..
                },
                None,
            ) => {
                let kind = self.facts.executor.kind();
                if steps.iter().any(|step| step.action.executor_kind() != kind) {
                    return Err(OutOfOrder::Foreign);
                }
                self.facts.apply(entry, None);
                self.open = Some(Open {
                    steps: steps.clone(),
                    authority: authority.clone(),
                });
            }
            (Entry::Marked { step, mark, .. }, open) => {
                let open = open
                    .as_ref()
                    .filter(|it| it.steps.iter().any(|at| at.id == *step));
                let open = open.ok_or(OutOfOrder::Mark)?;
                if mark.executor_kind() != self.facts.executor.kind() {
                    return Err(OutOfOrder::Foreign);
                }
                self.facts.apply(entry, Some(open));
                self.untold.others.push(entry.clone());
            }
            (Entry::Outcome { .. }, None) => return Err(OutOfOrder::Outcome),
            (Entry::Outcome { results, .. }, Some(open)) => {
                if open.steps.len() != results.len() {
                    return Err(OutOfOrder::Results {
                        steps: open.steps.len(),
                        results: results.len(),
                    });
                }
                self.facts.apply(entry, Some(open));
                let steps = open.steps.iter().cloned();
                self.untold
                    .results
                    .extend(steps.zip(results.iter().cloned()));
                self.open = None;
            }
            (
                Entry::Adopted { .. }
                | Entry::Attempted { .. }
                | Entry::Frozen { .. }
                | Entry::Reset { .. }
                | Entry::Trusted { .. }
                | Entry::Claimed { .. }
                | Entry::Finished { .. }
                | Entry::Refused { .. }
                | Entry::Suspended { .. }
                | Entry::Resumed { .. }
                | Entry::ClockAccepted { .. },
                _,
            ) => {
                self.facts.apply(entry, None);
                self.untold.others.push(entry.clone());
            }
        }
        Ok(())
    }
}
