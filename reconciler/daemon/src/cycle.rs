//! One cycle: read, decide, act. Takes no hint about what changed, and a second one does nothing.
//!
//! Generic over the traits of the outside (`muster_core::world`), so that the simulation runs exactly this code.

mod act;
mod adoption;
mod proposals;
mod records;
mod releases;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use muster_core::commit::{CommitId, TagId};
use muster_core::diagnostic::Diagnostics;
use muster_core::facts::{Attempted, Facts, Frozen, Suspended};
use muster_core::gate::{Approvals, Held, Verdict, judge};
use muster_core::journal::{OutOfOrder, Replayed, StepResult};
use muster_core::ledger;
use muster_core::plan::{self, Input, Note, Plan};
use muster_core::release::{Code, Refusal};
use muster_core::rooms::{self, Desired, Observed, Policy, Question};
use muster_core::step::Step;
use muster_core::time::{Date, Time};
use muster_core::world::{Files, Journal, Ledger, ReportSink, Source, TrustStore, World};

use self::act::{carry_out, recover};
use self::adoption::{adopt, desired_of_adopted, heads, read_host};
use self::proposals::{Premises, tell_proposals};
use self::records::{Kept, Standing, commit_ledger, end_suspension, touch};
use crate::tell;

pub use records::take_decision;
pub(crate) use releases::{facts_of as trust_facts, is_wrong as trust_is_wrong};

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
    ledger_files: Files,
    /// Whose facts may differ from those files; nobody knows before the first commit, or the first look that finds none
    /// due.
    touched: Option<BTreeSet<String>>,
    /// Whether an entry was written since.
    dirty: bool,
    /// What was decided since, in words, for the message of the next commit.
    decided: Vec<String>,
    /// What this process last wrote beside the facts.
    kept: Option<Kept>,
    desired: Option<(CommitId, Date, Desired)>,
    told: BTreeMap<CommitId, Premises>,
    /// Whether this process has already dropped the reports of heads that are gone.
    pruned: bool,
    /// Tags that were looked at.
    seen: releases::Seen,
}

impl Memory {
    /// Begins with what the ledger and the journal hold.
    pub fn new(replayed: Replayed, ledger_files: Files) -> Self {
        Self {
            replayed,
            // The others are never compared, so that nobody has to have read them.
            ledger_files: ledger_files
                .into_iter()
                .filter(|(path, _)| ledger::is_of_facts(path))
                .collect(),
            touched: None,
            dirty: true,
            decided: Vec::new(),
            kept: None,
            desired: None,
            told: BTreeMap::new(),
            pruned: false,
            seen: releases::Seen::default(),
        }
    }

    /// What is known.
    pub fn facts(&self) -> &Facts {
        &self.replayed.facts
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

fn world_error<E: std::error::Error + 'static>(what: &str) -> impl FnOnce(E) -> CycleError {
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
    /// The moment of this cycle, which never goes back.
    pub now: Time,
    /// The moment at its beginning by this host's clock, which can be set back.
    pub wall: Time,
    /// That clock: asked again before a step that a release permits.
    pub clock: &'a dyn Fn() -> Time,
    /// Whom this host trusts.
    pub trust: &'a mut dyn TrustStore,
    /// When the ledger is told what was read on the host and what waits.
    pub inventory: Inventory,
    /// Asked between batches: whether to leave the rest to the next cycle.
    pub stop: &'a dyn Fn() -> bool,
    /// Told about long batches: phase word, steps done, steps in all.
    pub progress: &'a mut dyn FnMut(&str, usize, usize),
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
pub struct Summary {
    /// The commit that is enforced.
    pub adopted: Option<CommitId>,
    /// A newer commit that is not, and why.
    pub attempted: Option<Attempted>,
    /// Why only benign repairs run.
    pub frozen: Option<Frozen>,
    /// Why nothing runs.
    pub suspended: Option<Suspended>,
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
    /// What people should know beside.
    pub notes: Vec<Note>,
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

impl Summary {
    /// Whether anything changed, here or in the ledger.
    pub fn is_quiet(&self) -> bool {
        self.ran.is_empty() && self.recovered.is_empty() && self.told == 0
    }

    /// How many parts of the world could not be read, so that nothing was planned on them.
    pub fn unread(&self) -> usize {
        self.notes.iter().filter(|note| note.is_unread()).count()
    }
}

/// Runs one cycle.
///
/// # Errors
/// [`CycleError`] says who has to act. Whatever was begun is in the journal; the next cycle goes on from there.
pub fn cycle<S: Source, W: World, J: Journal, L: Ledger, R: ReportSink>(
    memory: &mut Memory,
    outside: &mut Outside<S, W, J, L, R>,
    mut run: Run<'_>,
) -> Result<Summary, CycleError> {
    // A clock that was set back does not make the past happen again.
    run.now = run.now.max(memory.facts().latest);
    let mut summary = Summary::default();

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
    let heads = heads(memory, outside, &run, &mut summary);
    let trusted = releases::look(memory, outside, &mut run, heads.as_ref(), &mut summary)?;
    if let Some(heads) = &heads {
        adopt(memory, outside, &run, heads, &mut summary)?;
    }
    let desired = desired_of_adopted(memory, outside, &run)?;
    let mut observed = observe(outside, &everything(&desired, memory.facts(), run.policy))?;

    let mut pass = 1;
    let plan = loop {
        // Decide.
        let plan = make_plan(memory, &run, &memory.facts().adopted, &desired, &observed);
        let ground = releases::Ground {
            trusted: &trusted,
            plan: &plan,
            observed: &observed,
        };
        let mut approvals = releases::approve(memory, outside, &run, &ground, &mut summary)?;
        let verdict = verdict_of(&plan, memory, &run, &observed, &approvals);
        let (batches, held) = verdict.into_batches();
        summary.held = held;
        summary.notes = plan.notes().to_vec();

        // Act.
        let uncovered = carry_out(
            memory,
            outside,
            &mut run,
            &ground,
            batches,
            &mut approvals,
            &mut summary,
        )?;
        if !uncovered || summary.stopped || pass == PASSES {
            if !summary.stopped {
                let steps = plan.steps().iter().map(|it| it.step.id).collect();
                releases::finish(memory, outside, &run, &trusted, &steps, &mut summary)?;
            }
            break plan;
        }
        pass += 1;
        observed = observe(outside, &everything(&desired, memory.facts(), run.policy))?;
    };

    // Keep and tell what waits now, which is not what waited before acting.
    let looked = if summary.ran.is_empty() {
        Ok(())
    } else {
        look_again(
            memory,
            outside,
            &desired,
            run.policy,
            &mut observed,
            &summary,
        )
    };
    let standing = looked.map(|()| {
        if summary.ran.is_empty() {
            let held = summary.held.clone();
            Standing {
                observed,
                plan,
                held,
            }
        } else {
            let plan = make_plan(memory, &run, &memory.facts().adopted, &desired, &observed);
            let approvals = Approvals::of_begun(memory.facts());
            let held = verdict_of(&plan, memory, &run, &observed, &approvals).held;
            Standing {
                observed,
                plan,
                held,
            }
        }
    });
    // What was done is kept even where nothing can be read any more.
    commit_ledger(memory, outside, &run, &summary, standing.as_ref().ok())?;
    if outside.sink.is_some() {
        let Standing {
            observed,
            plan,
            held,
        } = &standing?;
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
    Ok(summary)
}

/// Looks at what the batches of this cycle changed. Everybody else was looked at in this very cycle.
fn look_again<S, W: World, J, L, R>(
    memory: &Memory,
    outside: &mut Outside<S, W, J, L, R>,
    desired: &Desired,
    policy: &Policy,
    observed: &mut Observed,
    summary: &Summary,
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

fn make_plan(
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

fn verdict_of(
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

fn observe<S, W: World, J, L, R>(
    outside: &mut Outside<S, W, J, L, R>,
    question: &Question<'_>,
) -> Result<Observed, CycleError> {
    outside
        .world
        .observe(question)
        .map_err(world_error(&unobserved(question)))
}

/// That the world does not answer.
fn unobserved(question: &Question<'_>) -> String {
    format!("the {} could not be observed", question.kind().nouns().0)
}

/// What an executor is asked: what a plan needs, and what makes the inventory serve for other plans.
fn everything<'q>(desired: &'q Desired, facts: &'q Facts, policy: &Policy) -> Question<'q> {
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
