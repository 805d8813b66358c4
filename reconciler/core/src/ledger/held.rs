//! What waits, as a file of the ledger: for people who look from outside, and while the daemon runs.
//!
//! The executor itself never reads it back to decide anything: what is held is worked out anew in each cycle. Only since
//! when a step waits is carried from one file to the next.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::LedgerError;
use crate::commit::CommitId;
use crate::executor::Executor;
use crate::facts::{Facts, Failure};
use crate::gate;
use crate::id::StepId;
use crate::price::Class;
use crate::step::Step;
use crate::time::Time;

/// Its path in the ledger.
pub const FILE: &str = "held.json";

/// The format this version writes.
const FORMAT: u32 = 1;

/// A step that waits, since when, and why.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Waiting {
    /// The step.
    pub step: Arc<Step>,
    /// Its words, as they are shown and signed; always those of `step`.
    pub words: String,
    /// Its class by the policy of the host that wrote this.
    pub class: Class,
    /// The code of the reason, such as `pending_signature`.
    pub reason: String,
    /// The reason in words.
    pub text: String,
    /// Steps that must be done before it.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub needs: Vec<StepId>,
    /// Since when it waits without a break.
    pub since: Time,
}

/// Everything that waits on one executor, in the order of the plan.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct HeldSteps {
    format: u32,
    /// The executor, such as `host/devvm`.
    pub executor: String,
    /// The commit whose plan it is.
    pub commit: CommitId,
    /// What could not be read: what waits there is not known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub unread: Option<Unread>,
    /// The steps.
    pub held: Vec<Waiting>,
}

/// What becomes of a step that did not come out as meant, by what its executor planned last (O4).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Prospect<'w> {
    /// A later cycle tries it again by itself.
    TriedAgain,
    /// It was refused in the same words again and again, and somebody has to look (GB12).
    Blocked(&'w Waiting),
    /// It waits for something else than its next try: most often for another release, as the one it ran by is used up.
    Waits(&'w Waiting),
    /// Nobody asks for it any more: the history tells of it, and nothing is wrong now.
    NotPlanned,
}

impl Prospect<'_> {
    /// Whether its executor is not in order because of it.
    pub fn is_failing(&self) -> bool {
        match self {
            Self::TriedAgain | Self::Blocked(_) => true,
            Self::Waits(_) | Self::NotPlanned => false,
        }
    }
}

/// Every failure that is remembered, with what becomes of its step. What nobody has said yet (`held` is `None`) is tried again.
///
/// A failed step that is still planned is held at the end of each cycle, until its next try at the least. Where failures are tried in
/// each cycle (`retry_after` is 0) nothing holds it, and the outcome of its last try is as new as anything that is recorded.
pub fn prospects<'w>(
    facts: &'w Facts,
    held: Option<&'w HeldSteps>,
    retry_after: u32,
) -> Vec<(StepId, &'w Failure, Prospect<'w>)> {
    let of = |id: &StepId, failure: &Failure| {
        let Some(held) = held else {
            return Prospect::TriedAgain;
        };
        match held.held.iter().find(|it| it.step.id == *id) {
            // A suspension holds what would have run, and only for a while.
            Some(it) if [gate::RETRY, gate::SUSPENDED].contains(&&*it.reason) => {
                Prospect::TriedAgain
            }
            Some(it) if it.reason == gate::BLOCKED => Prospect::Blocked(it),
            Some(it) => Prospect::Waits(it),
            None if retry_after == 0 && failure.last == facts.latest => Prospect::TriedAgain,
            None => Prospect::NotPlanned,
        }
    };
    let failures = facts.failures.iter();
    failures.map(|(id, it)| (*id, it, of(id, it))).collect()
}

/// Parts of the world that could not be read, so that nothing was planned on them.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Unread {
    /// Since when, without a break.
    pub since: Time,
    /// Which, each in a sentence with the reason.
    pub what: Vec<String>,
}

/// How many parts that could not be read are told.
const UNREAD_LIMIT: usize = 8;

impl HeldSteps {
    /// What waits now. Whatever waited `before` keeps its time; the rest waits since `now`. `needs` says for a step which
    /// others must be done first.
    pub fn now(
        executor: &Executor,
        commit: &CommitId,
        held: &[gate::Held],
        needs: impl Fn(StepId) -> Vec<StepId>,
        before: &BTreeMap<StepId, Time>,
        now: Time,
    ) -> Self {
        let held = held.iter().map(|it| Waiting {
            step: Arc::clone(&it.step),
            words: it.step.words(),
            class: it.price.class,
            reason: it.reason.code().to_owned(),
            text: it.reason.to_string(),
            needs: needs(it.step.id),
            since: before.get(&it.step.id).copied().unwrap_or(now),
        });
        Self {
            format: FORMAT,
            executor: executor.to_string(),
            commit: commit.clone(),
            unread: None,
            held: held.collect(),
        }
    }

    /// The same, where these parts of the world could not be read now. Whatever could not be read `before` keeps its time, and its
    /// words: those of one reason may differ from cycle to cycle.
    pub fn without_sight_of(
        self,
        what: impl Iterator<Item = String>,
        before: Option<&Unread>,
        now: Time,
    ) -> Self {
        let what: Vec<String> = what.take(UNREAD_LIMIT).collect();
        let unread = match before {
            _ if what.is_empty() => None,
            Some(before) if before.what.len() == what.len() => Some(before.clone()),
            Some(before) => Some(Unread {
                since: before.since,
                what,
            }),
            None => Some(Unread { since: now, what }),
        };
        Self { unread, ..self }
    }

    /// Whether a step is among them, so that somebody still asks for it.
    pub fn waits_for(&self, step: StepId) -> bool {
        self.held.iter().any(|it| it.step.id == step)
    }

    /// Since when each of the steps waits.
    pub fn since(&self) -> BTreeMap<StepId, Time> {
        self.held.iter().map(|it| (it.step.id, it.since)).collect()
    }

    /// The file.
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut text = serde_json::to_vec_pretty(self).expect("plain records always serialise");
        text.push(b'\n');
        text
    }

    /// What this executor wrote last, if it can be read: to carry on since when something waits or is unread, and to see whether anything
    /// is new. No step, words or id of it is shown or signed, so they are not worked out again to be compared.
    pub fn recall(bytes: &[u8], executor: &Executor) -> Option<Self> {
        let read: Self = serde_json::from_slice(bytes).ok()?;
        let is_ours = read.format == FORMAT && read.executor == executor.to_string();
        is_ours.then_some(read)
    }

    /// Reads the file.
    ///
    /// # Errors
    /// When it is of a newer format, not what was written, has a step that another kind of executor carries out, or one whose
    /// words or id are not its own.
    pub fn read(bytes: &[u8]) -> Result<Self, LedgerError> {
        super::check_format(FILE, bytes, FORMAT)?;
        let read: Self =
            serde_json::from_slice(bytes).map_err(|source| super::malformed(FILE, source))?;
        let executor: Executor = read.executor.parse().map_err(|_| LedgerError::Executor {
            found: read.executor.clone(),
        })?;
        for waiting in &read.held {
            let Waiting { step, words, .. } = waiting;
            if step.action.executor_kind() != executor.kind() {
                return Err(LedgerError::Foreign {
                    executor,
                    what: format!("step {}", step.id),
                });
            }
            // Shown = signed = run: what is shown out of this file is what the id binds.
            if *words != step.words()
                || step.id != StepId::of(&executor, step.action.spelled(), &step.incarnation)
            {
                return Err(LedgerError::NotItsOwn { step: step.id });
            }
        }
        Ok(read)
    }
}
