//! The traits of the outside, as a cycle needs them. `muster-sim` has the only implementations that pretend.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use crate::commit::{CommitId, TagId};
use crate::diagnostic::Diagnostics;
use crate::gate::Intent;
use crate::id::StepId;
use crate::journal::Entry;
use crate::ledger::Through;
use crate::release::root::TrustRoot;
use crate::release::{ObjectKind, TagHorizon};
use crate::rooms::{Mark, Observed, Question};

/// A machine that is read and changed.
pub trait World {
    /// Why it did not answer.
    type Error: std::error::Error + 'static;

    /// What is there now.
    ///
    /// # Errors
    /// Only when nothing at all could be read; a part that could not is [`crate::reading::Reading::Unknown`].
    fn observe(&mut self, question: &Question<'_>) -> Result<Observed, Self::Error>;

    /// Carries out a batch. What went wrong with a step is told, not decided: the next observation decides.
    ///
    /// # Errors
    /// When the batch as a whole could not be begun or finished.
    fn act(
        &mut self,
        intent: &Intent,
        recorder: &mut dyn Recorder,
    ) -> Result<Complaints, Self::Error>;
}

/// What an act tells while it is at work: how far it is, for those who watch, and what has to be durable before it goes on.
///
/// A mark is for what nobody could find out afterwards: that the world took up something whose end it forgets (the UPID of a task),
/// or that something of ours is about to be there (a guest for a trial, before the call that makes it). It is an entry of the journal
/// of its own, [`Entry::Marked`], between the intent and the outcome of its batch; the room folds it into the facts, and the question
/// of the next observation asks for what it left open. An act that several threads carry out brings marks to the one that holds
/// the recorder, and goes on with that step once the mark is kept.
pub trait Recorder {
    /// So many parts of the batch, out of all, are through.
    fn progress(&mut self, done: usize, all: usize);

    /// Makes a mark of a step of the batch durable; it is when this returns.
    ///
    /// # Errors
    /// When it may not be durable: nothing more may be done for any step then, and the act ends.
    fn mark(&mut self, step: StepId, mark: Mark) -> Result<(), NotKept>;
}

/// A mark could not be made durable.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("what was begun could not be written down ({0}), so nothing more was done")]
pub struct NotKept(pub String);

/// Nobody watches, and nothing is kept: for acts that make no mark.
#[derive(Clone, Copy, Debug)]
pub struct Unwatched;

impl Recorder for Unwatched {
    fn progress(&mut self, _: usize, _: usize) {}

    fn mark(&mut self, _: StepId, _: Mark) -> Result<(), NotKept> {
        Err(NotKept("there is no journal here".to_owned()))
    }
}

/// What went wrong, step by step, as the act saw it.
pub type Complaints = BTreeMap<StepId, String>;

/// Where people edit: a state repository that is read and never written.
pub trait Source {
    /// Why it did not answer.
    type Error: std::error::Error + 'static;

    /// The branches as they are now, and the tags that matter at `horizon`.
    ///
    /// # Errors
    /// When the repository did not answer; the adopted commit is then enforced as before.
    fn heads(&mut self, horizon: &TagHorizon) -> Result<Heads, Self::Error>;

    /// The object that a tag points to, read once by its id, of at most [`crate::release::tag::MAX_TAG_BYTES`] bytes.
    ///
    /// # Errors
    /// When it could not be read, or is larger.
    fn tag(&mut self, id: &TagId) -> Result<RawTag, Self::Error>;

    /// The same for the first of several: as many as are given at once, and at least one of them.
    ///
    /// # Errors
    /// When nobody answered, so that nothing is known of any of them.
    fn tags(&mut self, ids: &[TagId]) -> Result<Vec<Result<RawTag, Self::Error>>, Self::Error> {
        Ok(ids.first().map(|id| self.tag(id)).into_iter().collect())
    }

    /// How `new` relates to `old`.
    ///
    /// # Errors
    /// When objects could not be read.
    fn ancestry(&mut self, old: &CommitId, new: &CommitId) -> Result<Ancestry, Self::Error>;

    /// The files of the state repository at a commit of the protected branch, or what makes the commit unreadable:
    /// something other than a plain file at a path that is read.
    ///
    /// # Errors
    /// When objects could not be read.
    fn files(&mut self, commit: &CommitId) -> Result<Result<Files, Diagnostics>, Self::Error>;

    /// What merging `head` into `protected` would give, in memory.
    ///
    /// # Errors
    /// When objects could not be read.
    fn merge(&mut self, protected: &CommitId, head: &CommitId) -> Result<Merge, Self::Error>;

    /// The plain files at these paths, wherever in the repository that is: at a commit of the protected branch, or as merging `head` into
    /// it would leave them. A source that has no more than the files that muster reads knows of none.
    ///
    /// # Errors
    /// When objects could not be read.
    fn contents(
        &mut self,
        protected: &CommitId,
        head: Option<&CommitId>,
        paths: &BTreeSet<String>,
    ) -> Result<Files, Self::Error> {
        let _ = (protected, head, paths);
        Ok(Files::new())
    }

    /// Each content that files below the directory `dir` had in a commit that `head` brings to `protected`: what stood in one of them
    /// is in git for good. `None` where there are more than can be looked through. A
    /// source that has no more than the files that muster reads knows of none.
    ///
    /// # Errors
    /// When objects could not be read.
    fn versions(
        &mut self,
        protected: &CommitId,
        head: &CommitId,
        dir: &str,
    ) -> Result<Option<Vec<Version>>, Self::Error> {
        let _ = (protected, head, dir);
        Ok(Some(Vec::new()))
    }
}

/// A path, and what stood there in some commit.
pub type Version = (String, Vec<u8>);

/// A state repository whose proposals are pull requests of a hosted forge.
pub trait Pulls: Source {
    /// The tags of owner responses that were there when [`Source::heads`] looked last, by full ref name.
    fn answer_tags(&mut self) -> BTreeMap<String, TagId>;

    /// Brings here the heads of pull requests, each from `refs/pull/<number>/head` of the origin, so that [`Source::merge`] can
    /// read them; those of any other pull request may be let go of. One that cannot be brought, such as one that moved since the
    /// forge was asked, is told with the reason, and keeps no other from coming.
    ///
    /// # Errors
    /// When the repository did not answer at all.
    fn bring(
        &mut self,
        heads: &BTreeMap<u64, CommitId>,
    ) -> Result<BTreeMap<u64, String>, Self::Error>;
}

/// Paths and contents.
pub type Files = BTreeMap<String, Vec<u8>>;

/// The branches of a state repository.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Heads {
    /// The head of the protected branch, if there is one.
    pub protected: Option<CommitId>,
    /// Every other branch, by full ref name.
    pub proposals: BTreeMap<String, CommitId>,
    /// Releases, rotations and resets, by full ref name.
    pub tags: BTreeMap<String, TagId>,
}

/// What a tag points to, as it is stored.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RawTag {
    /// What kind of object.
    pub kind: ObjectKind,
    /// Its bytes, when it is an annotated tag.
    pub bytes: Vec<u8>,
}

/// Where the root of trust lies: root-owned, outside every repository.
pub trait TrustStore {
    /// The root in force, or `None` where this host trusts no key.
    ///
    /// # Errors
    /// When there is one that cannot be used, with the reason: no release counts then.
    fn read(&mut self) -> Result<Option<Arc<TrustRoot>>, String>;

    /// Puts another root in its place; durable when this returns.
    ///
    /// # Errors
    /// When it may not be durable: the new one is not used then.
    fn replace(&mut self, root: &TrustRoot) -> Result<(), String>;
}

/// How one commit relates to an older one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ancestry {
    /// They are the same.
    Same,
    /// The newer one descends from the older one.
    Descends,
    /// It does not.
    Diverged,
}

/// What a merge in memory gave.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Merge {
    /// The proposal is already part of the protected branch.
    Contained,
    /// It merges; these would be the files.
    Clean(Files),
    /// It does not merge by itself; at these paths.
    Conflict(Vec<String>),
    /// It merges, and something other than a plain file would stand at a path that is read.
    Refused(Diagnostics),
}

/// The journal of one executor.
pub trait Journal {
    /// Why it could not be written.
    type Error: std::error::Error + 'static;

    /// Appends one entry; it is durable when this returns.
    ///
    /// # Errors
    /// When it may not be durable; nothing more may then be done.
    fn append(&mut self, entry: &Entry) -> Result<(), Self::Error>;

    /// How far the journal reaches.
    fn through(&self) -> Through;

    /// Lets go of records that a durable ledger commit contains.
    ///
    /// # Errors
    /// When old segments could not be removed; nothing is lost then.
    fn release(&mut self, through: &Through) -> Result<(), Self::Error>;
}

/// The git-backed state of one executor.
pub trait Ledger {
    /// Why it could not be written.
    type Error: std::error::Error + 'static;

    /// Commits the files of the ledger that changed; durable when this returns.
    ///
    /// # Errors
    /// When the commit may not be durable, or the ledger is not where it was left.
    fn commit(
        &mut self,
        changes: &BTreeMap<String, Option<Vec<u8>>>,
        message: &str,
        at: crate::time::Time,
    ) -> Result<(), Self::Error>;

    /// One file as last committed; `None` when there is none.
    ///
    /// # Errors
    /// When there is one and it cannot be read.
    fn read(&mut self, path: &str) -> Result<Option<Vec<u8>>, Self::Error>;

    /// How far into the journal its records can be let go of, when the last commit reaches as far as `through`: as far as the
    /// last commit that has arrived wherever it is to be kept. `None` when none has.
    fn keeps(&mut self, through: &Through) -> Option<Through> {
        Some(through.clone())
    }
}

/// Where reports go. The only writer that reporting holds (invariant 4).
pub trait ReportSink {
    /// Why it could not be told.
    type Error: std::error::Error + 'static;

    /// What was last told about a commit, if anything.
    ///
    /// # Errors
    /// When the sink did not answer.
    fn told(&mut self, topic: Topic, commit: &CommitId) -> Result<Option<String>, Self::Error>;

    /// Tells `text` about a commit, in place of what was told before.
    ///
    /// # Errors
    /// When the sink did not take it; it is told again in the next cycle.
    fn tell(&mut self, topic: Topic, commit: &CommitId, text: &str) -> Result<(), Self::Error>;

    /// Drops plans of commits that are nobody's head any more.
    ///
    /// # Errors
    /// When the sink did not answer.
    fn forget_plans_except(&mut self, heads: &[CommitId]) -> Result<(), Self::Error>;
}

/// What a report is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Topic {
    /// What a proposal would do.
    Plan,
    /// What an adopted commit did.
    Outcome,
    /// Why a commit was not adopted.
    Refusal,
}

impl Topic {
    /// The last component of the notes ref.
    pub fn word(self) -> &'static str {
        match self {
            Self::Plan => "plan",
            Self::Outcome => "outcome",
            Self::Refusal => "refusal",
        }
    }
}
