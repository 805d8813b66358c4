//! What all parts of a cycle stand on: the outside, what is remembered, how a cycle is run, what it came to, and why it stopped.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use muster_core::clock::{Clock, Matter, Moment, Reading, TimeService};
use muster_core::commit::{CommitId, TagId};
use muster_core::diagnostic::Diagnostics;
use muster_core::facts::{Attempted, Facts, Frozen, Suspended};
use muster_core::gate::{Approvals, Held, Verdict, judge};
use muster_core::id::StepId;
use muster_core::journal::{OutOfOrder, Replayed, StepResult};
use muster_core::ledger;
use muster_core::ledger::held::Unread;
use muster_core::plan::{self, Input, Note, Plan};
use muster_core::release::Refusal;
use muster_core::rooms::{self, Desired, Observed, Policy, Question};
use muster_core::step::Step;
use muster_core::time::{Date, Time};
use muster_core::world::{Files, RawTag, TrustStore, World};

use crate::tell;

/// Everything outside this process that a cycle touches.
#[derive(Debug)]
pub struct Outside<S, W, J, L, R> {
    /// Where people edit.
    pub source: S,
    /// The machine.
    pub world: W,
    /// The write-ahead log.
    pub journal: J,
    /// The git-backed state.
    pub ledger: L,
    /// Where reports go, if anywhere.
    pub sink: Option<R>,
}

/// What is remembered from one cycle to the next. All of it can be lost: it is read back or worked out again.
#[derive(Debug)]
pub struct Memory {
    /// The ledger folded with the journal's tail.
    pub replayed: Replayed,
    /// The files of the ledger as last committed.
    pub(super) ledger_files: Files,
    /// Whose facts may differ from those files; nobody knows before the first commit, or the first look that finds none
    /// due.
    pub(super) touched: Option<BTreeSet<String>>,
    /// Whether an entry was written since.
    pub(super) dirty: bool,
    /// What was decided since, in words, for the message of the next commit.
    pub(super) decided: Vec<String>,
    /// What this process last wrote beside the facts.
    pub(super) kept: Option<LastWritten>,
    /// What a commit asks for, as of a day: read once.
    pub(super) desired: Option<(CommitId, Date, Desired)>,
    /// What is told of each proposal's head, and what that was worked out from.
    pub(super) told: BTreeMap<CommitId, Premises>,
    /// Whether this process has already dropped the reports of heads that are gone.
    pub(super) pruned: bool,
    /// Tags that were looked at.
    pub(super) seen: TagCache,
    /// What is known of this machine's clock.
    pub clock: Clock,
}

impl Memory {
    /// Begins with what the ledger and the journal hold.
    pub fn new(replayed: Replayed, ledger_files: Files) -> Self {
        Self {
            // What nobody told before the process died.
            decided: replayed
                .untold
                .others
                .iter()
                .filter_map(tell::decision)
                .collect(),
            replayed,
            // The others are never compared, so that nobody has to have read them.
            ledger_files: ledger_files
                .into_iter()
                .filter(|(path, _)| ledger::is_of_facts(path))
                .collect(),
            touched: None,
            dirty: true,
            kept: None,
            desired: None,
            told: BTreeMap::new(),
            pruned: false,
            seen: TagCache::default(),
            clock: Clock::default(),
        }
    }

    /// What is known.
    pub fn facts(&self) -> &Facts {
        &self.replayed.facts
    }

    /// The moment to go by, out of what the clocks say; `ask` asks the time service, where the clock is doubted.
    pub fn hear(&mut self, reading: &Reading, ask: &mut dyn FnMut() -> TimeService) -> Moment {
        let latest = self.replayed.facts.latest;
        self.clock.hear(latest, reading, ask)
    }
}

/// What a proposal's report was worked out from: as long as it stays, so does the report.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Premises {
    pub(super) protected: CommitId,
    pub(super) world: u64,
}

/// What was last written into the ledger beside the facts.
#[derive(Debug)]
pub(super) struct LastWritten {
    pub(super) fingerprint: u64,
    pub(super) since: BTreeMap<StepId, Time>,
    pub(super) unread: Option<Unread>,
}

/// What is remembered of tags from one cycle to the next. All of it can be lost: tags are then read again.
#[derive(Debug, Default)]
pub(super) struct TagCache {
    /// Tags whose signature was good when they were last looked at, as they were read: never read again (P6).
    pub(super) raw: BTreeMap<String, (TagId, RawTag)>,
    /// Tags that will not become good, with the version of the root by which that was found.
    pub(super) refused: BTreeMap<String, (TagId, u64)>,
    /// Tags that nobody gave an answer about; they are asked for last, and one by one.
    pub(super) lost: BTreeSet<TagId>,
}

impl TagCache {
    /// Remembers that a tag will not become good under this version of the root.
    pub(super) fn refuse(&mut self, name: &str, id: &TagId, version: u64) {
        self.refused.insert(name.to_owned(), (id.clone(), version));
    }

    /// How many tags were refused before their signature was good, of those that are there now.
    pub(super) fn refused(&self) -> usize {
        self.refused.len()
    }
}

/// Why a cycle stopped, by who has to act.
#[derive(Debug, thiserror::Error)]
pub enum CycleError {
    /// The next cycle may fare better.
    #[error("{what}")]
    World {
        /// What did not work.
        what: String,
        /// Why.
        source: Box<dyn std::error::Error>,
    },
    /// The adopted commit cannot be read any more; only a new commit, or another version of muster, helps.
    #[error("the adopted commit {commit} is not valid for this version of muster ({} errors)", .problems.len())]
    Repository {
        /// Which.
        commit: CommitId,
        /// What is wrong with it.
        problems: Diagnostics,
    },
    /// The journal or the ledger cannot be written; only a person helps, and nothing more is done before.
    #[error("{what}")]
    Records {
        /// What could not be written.
        what: String,
        /// Why.
        source: Box<dyn std::error::Error>,
    },
    /// An entry that cannot follow the ones before it.
    #[error("programming error: an entry out of order")]
    Order(#[source] OutOfOrder),
}

pub(super) fn world_error<E: std::error::Error + 'static>(
    what: &str,
) -> impl FnOnce(E) -> CycleError {
    let what = what.to_owned();
    move |error| CycleError::World {
        what,
        source: Box::new(error),
    }
}

/// How a cycle is run, beside what it reads.
pub struct Run<'a> {
    /// What the host's administrator decided.
    pub policy: &'a Policy,
    /// The moment of this cycle, which never goes back: what was made of this machine's clocks, by [`Memory::hear`].
    pub now: Time,
    /// What is the matter with the clock.
    pub matter: Option<Matter>,
    /// The clocks: asked again before a step that a release permits.
    pub clock: &'a dyn Fn() -> Reading,
    /// Whom this host trusts.
    pub trust: &'a mut dyn TrustStore,
    /// When the ledger is told what was read on the host and what waits.
    pub inventory: Inventory,
    /// Whether this executor has no other cycle in this process: what is known of tens of thousands of people is then not taken apart.
    pub is_last: bool,
    /// Asked between batches: whether to leave the rest to the next cycle.
    pub stop: &'a dyn Fn() -> bool,
    /// Told about long batches: phase word, steps done, steps in all.
    pub progress: &'a mut dyn FnMut(&str, usize, usize),
}

impl Run<'_> {
    /// The moment, and whether it is doubted.
    pub(super) fn moment(&self) -> Moment {
        Moment {
            now: self.now,
            matter: self.matter,
        }
    }
}

/// When the ledger is told what was read on the host and what waits, beside the facts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Inventory {
    /// Together with facts that changed: a cycle in which nothing happened costs nothing.
    WithFacts,
    /// Also when it is not what this process wrote last.
    Current,
}

/// What a cycle came to.
#[derive(Debug, Default)]
#[must_use = "a cycle that nobody hears of cannot be acted on"]
pub struct CycleSummary {
    /// The commit that is enforced.
    pub adopted: Option<CommitId>,
    /// A newer commit that is not, and why.
    pub attempted: Option<Attempted>,
    /// Why only benign repairs run.
    pub frozen: Option<Frozen>,
    /// Why nothing runs.
    pub suspended: Option<Suspended>,
    /// What is the matter with this machine's clock.
    pub clock: Option<Matter>,
    /// What was left open by a process that died, as the world showed it.
    pub recovered: Vec<(Arc<Step>, StepResult)>,
    /// What ran, and how it came out.
    pub ran: Vec<(Arc<Step>, StepResult)>,
    /// Whether something that ran lets the world show more than the step itself.
    pub(crate) shows_more: bool,
    /// What waits, and why.
    pub held: Vec<Held>,
    /// What became of releases, rotations and resets.
    pub releases: Vec<String>,
    /// Tags that nobody who may signed and that were not told before: for the log alone, since anybody can push them.
    pub unauthenticated: Vec<Unauthenticated>,
    /// How many tags were refused before their signature was good, of those that are there; `None` when the origin did not
    /// answer.
    pub refused_tags: Option<usize>,
    /// In how many seconds tags that nobody read yet are to be read on; `None` where there are none.
    pub read_tags_in: Option<u32>,
    /// What people should know beside.
    pub notes: Vec<Note>,
    /// Why the origin did not answer, if it did not.
    pub unanswered: Option<String>,
    /// What did not work without stopping the cycle: the origin did not answer, a report was not taken.
    pub warnings: Vec<String>,
    /// How many reports were written.
    pub told: usize,
    /// Whether the cycle was asked to stop before its end.
    pub stopped: bool,
}

/// A tag that was refused before its signature was good.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unauthenticated {
    /// Its full name, as somebody pushed it.
    pub name: String,
    /// The object that it points to.
    pub id: TagId,
    /// Why.
    pub refusal: Refusal,
}

impl CycleSummary {
    /// Whether anything changed, here or in the ledger.
    pub fn is_quiet(&self) -> bool {
        self.ran.is_empty() && self.recovered.is_empty() && self.told == 0
    }

    /// Whether whoever ran this one cycle need not look at anything (F30): all that could be done is done, and it was done by the
    /// newest commit and a clock that is right. What waits for a signature is in order.
    pub fn is_in_order(&self) -> bool {
        let failed = (self.ran.iter()).any(|(_, result)| *result != StepResult::Done);
        // One that failed before and waits for its next try is not done either. Whose release is used up waits as before it was signed.
        let retries = (self.held.iter()).any(|it| it.reason.is_failing());
        let stands_off = self.frozen.is_some() || self.attempted.is_some();
        let is_blind = self.unread() > 0 || self.unanswered.is_some() || self.clock.is_some();
        let is_amiss = self.notes.iter().any(Note::is_amiss);
        !(failed || retries || stands_off || is_blind || is_amiss)
    }

    /// How many parts of the world could not be read, so that nothing was planned on them.
    pub fn unread(&self) -> usize {
        self.notes.iter().filter(|note| note.is_unread()).count()
    }
}

/// What `files` ask of the executor that `policy` binds.
pub(super) fn read_host(
    files: &Files,
    policy: &Policy,
    today: Date,
) -> Result<Desired, Diagnostics> {
    // What is wrong in another executor's file is that one's affair, and makes the proposal red (invariant 7).
    let (repo, _elsewhere) = rooms::read(files, policy.executor())?;
    Ok(rooms::desired(&repo, policy, today))
}

/// The plan of a commit, out of what was read in this cycle.
pub(super) fn make_plan(
    memory: &Memory,
    run: &Run<'_>,
    commit: &CommitId,
    desired: &Desired,
    observed: &Observed,
) -> Plan {
    plan::plan(&Input {
        policy: run.policy,
        commit,
        today: run.now.date(),
        desired,
        observed,
        facts: memory.facts(),
    })
}

/// Which of its steps may run now.
pub(super) fn verdict_of(
    plan: &Plan,
    memory: &Memory,
    run: &Run<'_>,
    observed: &Observed,
    approvals: &Approvals,
) -> Verdict {
    let facts = memory.facts();
    let bounds = plan.bounds(run.policy, observed, facts, run.now);
    judge(plan, &bounds, facts, approvals, run.now)
}

/// Asks the world.
pub(super) fn observe<S, W: World, J, L, R>(
    outside: &mut Outside<S, W, J, L, R>,
    question: &Question<'_>,
) -> Result<Observed, CycleError> {
    outside
        .world
        .observe(question)
        .map_err(world_error(&unobserved(question)))
}

/// That the world does not answer.
pub(super) fn unobserved(question: &Question<'_>) -> String {
    format!("the {} could not be observed", question.kind().nouns().0)
}

/// What an executor is asked: what a plan needs, and what makes the inventory serve for other plans.
pub(super) fn everything<'q>(
    desired: &'q Desired,
    facts: &'q Facts,
    policy: &Policy,
) -> Question<'q> {
    rooms::question(desired, &facts.known, policy)
}

/// An error and its causes, in one line.
pub fn chain(error: &dyn std::error::Error) -> String {
    let mut out = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        out.push_str(": ");
        out.push_str(&error.to_string());
        cause = error.source();
    }
    out
}
