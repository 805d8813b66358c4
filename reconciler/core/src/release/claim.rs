//! What an executor remembers of releases: a nonce once claimed is never free again (invariant 6).

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use super::{Code, Nonce, RepoId};
use crate::commit::CommitId;
use crate::id::StepId;
use crate::time::Time;

/// A release that this executor took up.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Claim {
    /// What makes it one of its kind.
    pub nonce: Nonce,
    /// SHA-256 of the statement, 64 hex digits.
    pub statement: String,
    /// The commit it is about.
    pub commit: CommitId,
    /// Until when a step of it may begin.
    pub not_after: Time,
    /// Who signed.
    pub principals: Vec<String>,
    /// Under which names, without `refs/tags/`.
    pub tags: Vec<String>,
    /// The signers' words.
    pub reason: String,
    /// When it was claimed.
    pub at: Time,
    /// Its steps for this executor, and how far each is.
    pub steps: BTreeMap<StepId, Progress>,
    /// Whether it is at its end: what it did not do needs a new release.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub finished: bool,
}

/// How far a released step is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Progress {
    /// It has no intent yet: everything is checked again before it gets one.
    Waiting,
    /// It has an intent, and is brought to an end.
    Begun,
    /// It is done.
    Done,
    /// It did not come out as meant.
    Failed,
}

impl Claim {
    /// Whether a step of it is still to be begun.
    pub fn is_waiting(&self) -> bool {
        !self.finished && self.steps.values().any(|it| *it == Progress::Waiting)
    }

    /// The steps that have an intent and no end, of a claim that goes on.
    pub fn begun(&self) -> impl Iterator<Item = StepId> {
        self.at(Progress::Begun)
    }

    /// The steps that are still to be begun, of a claim that goes on.
    pub fn waiting(&self) -> impl Iterator<Item = StepId> {
        self.at(Progress::Waiting)
    }

    fn at(&self, progress: Progress) -> impl Iterator<Item = StepId> {
        let steps = self.steps.iter().filter(|_| !self.finished);
        steps
            .filter(move |(_, it)| **it == progress)
            .map(|(step, _)| *step)
    }
}

/// Proof that a release's nonce is durably taken here.
///
/// ```compile_fail
/// fn forge(nonce: muster_core::release::Nonce) -> muster_core::release::claim::Claimed {
///     muster_core::release::claim::Claimed { nonce, steps: Default::default() }
/// }
/// ```
#[derive(Debug)]
pub struct Claimed {
    nonce: Nonce,
    steps: BTreeSet<StepId>,
}

impl Claimed {
    /// The proof, where the journal took the claim; `written` says what came of that.
    ///
    /// # Errors
    /// The one of `written`.
    pub(super) fn once_written<E>(
        written: Result<(), E>,
        nonce: Nonce,
        steps: BTreeSet<StepId>,
    ) -> Result<Self, E> {
        written.map(|()| Self { nonce, steps })
    }

    /// The release's nonce.
    pub fn nonce(&self) -> Nonce {
        self.nonce
    }

    /// The steps that may begin.
    pub fn steps(&self) -> &BTreeSet<StepId> {
        &self.steps
    }
}

/// A release that an operator signed and this executor refused.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RefusedRelease {
    /// SHA-256 of the statement, 64 hex digits.
    pub statement: String,
    /// What made it one of its kind.
    pub nonce: Nonce,
    /// The name of the tag, without `refs/tags/`.
    pub tag: String,
    /// The commit it is about.
    pub commit: CommitId,
    /// Who signed.
    pub principals: Vec<String>,
    /// The word.
    pub code: Code,
    /// What is wrong, and what to do.
    pub why: String,
}

/// Which root of trust is in force.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TrustFacts {
    /// Its version: an older one is never taken again.
    pub version: u64,
    /// The state repository it is for: another one is never taken.
    pub repo: RepoId,
    /// SHA-256 of the root file, 64 hex digits.
    pub digest: String,
}

/// How many refused releases are remembered; the oldest is forgotten first.
pub const REFUSED_LIMIT: usize = 1_000;
