//! One cycle: read, decide, act. Takes no hint about what changed, and a second one does nothing.
//!
//! Generic over the traits of the outside (`muster_core::world`), so that the simulation runs exactly this code.

mod releases;

use std::collections::{BTreeMap, BTreeSet};

use muster_core::action::Action;
use muster_core::commit::{CommitId, TagId};
use muster_core::desired::{self, Desired};
use muster_core::diagnostic::Diagnostics;
use muster_core::facts::{Attempted, Facts, Frozen, Suspended};
use muster_core::gate::{Approvals, Batch, Held, Verdict, judge};
use muster_core::journal::{Entry, Open, OutOfOrder, Replayed, StepResult};
use muster_core::ledger::held::{self, HeldSteps};
use muster_core::ledger::{self, inventory};
use muster_core::observed::{AccountsOf, Observed, Parts, Question};
use muster_core::plan::{self, Input, Note, Plan, question};
use muster_core::policy::Policy;
use muster_core::release::{Code, Refusal};
use muster_core::render;
use muster_core::repo;
use muster_core::settle::settle;
use muster_core::step::{Step, StepId};
use muster_core::time::{Date, Time};
use muster_core::world::{
    Ancestry, Complaints, Files, Heads, Journal, Ledger, ReportSink, Source, TrustStore, World,
};

use crate::tell;

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

/// What was last written into the ledger beside the facts.
#[derive(Debug)]
struct Kept {
    fingerprint: u64,
    since: BTreeMap<StepId, Time>,
}

/// How things stand at the end of a cycle.
struct Standing {
    observed: Observed,
    plan: Plan,
    held: Vec<Held>,
}

/// What a proposal's report was worked out from: as long as it stays, so does the report.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Premises {
    protected: CommitId,
    world: u64,
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
    pub recovered: Vec<(Step, StepResult)>,
    /// What ran, and how it came out.
    pub ran: Vec<(Step, StepResult)>,
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
        let unread = |note: &&Note| matches!(note, Note::Unread { .. });
        self.notes.iter().filter(unread).count()
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
        let before = summary.ran.len();
        carry_out(
            memory,
            outside,
            &mut run,
            &ground,
            batches,
            &mut approvals,
            &mut summary,
        )?;
        let uncovered = summary.ran[before..]
            .iter()
            .any(|(step, result)| *result == StepResult::Done && uncovers(&step.action));
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
    let mut ran = summary.ran.iter().map(|(step, _)| step);
    if ran.clone().any(|step| uncovers(&step.action)) {
        *observed = observe(outside, &question)?;
        return Ok(());
    }
    let mut touched = BTreeSet::new();
    touch(&mut touched, &mut ran);
    question.people.retain(|user, _| touched.contains(user));
    question.accounts_of = AccountsOf::Asked;
    question.new = 0;
    let newer = observe(outside, &question)?;
    observed.renew(&question, newer);
    Ok(())
}

/// A step that uncovers what was hidden is followed by one more look within the cycle.
const PASSES: usize = 2;

/// Whether, once it is done, the host shows something that could not be planned on before: what a cut had saved, and
/// everything under a new name.
fn uncovers(action: &Action) -> bool {
    matches!(
        action,
        Action::UnlockLogin { .. } | Action::RenameAccount { .. }
    )
}

/// What an adopted or proposed commit would do, without doing it: the plan and everything it was made from.
#[derive(Debug)]
pub struct Preview {
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
    let observed = world
        .observe(&question(&desired, facts))
        .map_err(world_error("the host could not be observed"))?;
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
    })
}

/// What `files` ask of the host that `policy` binds.
fn read_host(files: &Files, policy: &Policy, today: Date) -> Result<Desired, Diagnostics> {
    let (repo, _warnings) = repo::read(files)?;
    Ok(desired::for_host(&repo, policy, today))
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
    judge(
        plan,
        run.policy,
        memory.facts(),
        observed,
        approvals,
        run.now,
    )
}

fn observe<S, W: World, J, L, R>(
    outside: &mut Outside<S, W, J, L, R>,
    question: &Question,
) -> Result<Observed, CycleError> {
    outside
        .world
        .observe(question)
        .map_err(world_error("the host could not be observed"))
}

/// What an executor is asked, beside what a plan needs: whether the shells that anybody may be given are installed, so that
/// the inventory serves for plans that give them.
fn everything(desired: &Desired, facts: &Facts, policy: &Policy) -> Question {
    let mut question = question(desired, facts);
    question.shells.extend(policy.shells.iter().cloned());
    question
}

/// Records that a suspension is over, once its time is.
fn end_suspension<S, W, J: Journal, L, R>(
    memory: &mut Memory,
    outside: &mut Outside<S, W, J, L, R>,
    run: &Run<'_>,
) -> Result<(), CycleError> {
    match &memory.facts().suspended {
        Some(over) if !over.holds_at(run.now) => {
            let entry = Entry::Resumed {
                at: run.now,
                who: "muster".to_owned(),
                reason: "the time was over".to_owned(),
            };
            record(memory, &mut outside.journal, &entry)
        }
        _ => Ok(()),
    }
}

/// Writes down what a person decided at the console of a daemon at work.
///
/// # Errors
/// [`CycleError::Records`] when the journal did not take it; nothing has changed then.
pub fn take_decision<J: Journal>(
    memory: &mut Memory,
    journal: &mut J,
    decision: &Entry,
) -> Result<(), CycleError> {
    record(memory, journal, decision)
}

/// Writes one entry, and takes it in once it is durable.
fn record<J: Journal>(
    memory: &mut Memory,
    journal: &mut J,
    entry: &Entry,
) -> Result<(), CycleError> {
    journal.append(entry).map_err(|error| CycleError::Records {
        what: "the journal could not be written; nothing more is done until it can".to_owned(),
        source: Box::new(error),
    })?;
    memory.dirty = true;
    memory.decided.extend(tell::decision(entry));
    if let Some(touched) = &mut memory.touched {
        match entry {
            // Its steps are those of the batch that is open.
            Entry::Outcome { .. } => touch(
                touched,
                memory.replayed.open.iter().flat_map(|it| &it.steps),
            ),
            // Everybody's facts begin anew.
            Entry::Genesis { .. } => memory.touched = None,
            Entry::Adopted { .. }
            | Entry::Attempted { .. }
            | Entry::Frozen { .. }
            | Entry::Reset { .. }
            | Entry::Suspended { .. }
            | Entry::Resumed { .. }
            | Entry::Trusted { .. }
            | Entry::Claimed { .. }
            | Entry::Finished { .. }
            | Entry::Refused { .. }
            | Entry::Intended { .. } => {}
        }
    }
    memory.replayed.apply(entry).map_err(CycleError::Order)
}

/// Adds whom the outcome of `steps` can change in the facts.
fn touch<'a>(touched: &mut BTreeSet<String>, steps: impl Iterator<Item = &'a Step>) {
    for step in steps {
        touched.insert(step.action.user().to_owned());
        if let Action::RenameAccount { from, .. } = &step.action {
            touched.insert(from.clone());
        }
    }
}

/// Brings the one batch in doubt to an outcome, by looking.
fn recover<S, W: World, J: Journal, L, R>(
    memory: &mut Memory,
    outside: &mut Outside<S, W, J, L, R>,
    run: &Run<'_>,
    summary: &mut Summary,
) -> Result<(), CycleError> {
    let Some(Open { steps, .. }) = memory.replayed.open.clone() else {
        return Ok(());
    };
    let observed = observe(outside, &question_about(&steps, memory.facts(), Parts::ALL))?;
    let results = close(memory, outside, run, &steps, &observed, &Complaints::new())?;
    summary.recovered = steps.into_iter().zip(results).collect();
    Ok(())
}

/// Records what the world shows of the open batch.
fn close<S, W, J: Journal, L, R>(
    memory: &mut Memory,
    outside: &mut Outside<S, W, J, L, R>,
    run: &Run<'_>,
    steps: &[Step],
    observed: &Observed,
    complaints: &Complaints,
) -> Result<Vec<StepResult>, CycleError> {
    let results: Vec<StepResult> = steps
        .iter()
        .map(|step| {
            settle(
                step,
                observed,
                &run.policy.nologin,
                complaints.get(&step.id).map(String::as_str),
            )
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

/// Whom to look at to see what became of `steps`.
fn question_about(steps: &[Step], facts: &Facts, parts: Parts) -> Question {
    let mut question = Question {
        parts,
        accounts_of: AccountsOf::Asked,
        ..Question::default()
    };
    for step in steps {
        let user = step.action.user();
        if let Action::RenameAccount { from, .. } = &step.action {
            question.people.entry(from.clone()).or_default();
        }
        let subject = question.people.entry(user.to_owned()).or_default();
        subject.traces |= needs_traces(&step.action);
        let known = facts.people.get(user);
        subject.home = known.map(|it| it.home.clone());
        subject.cuts = known.map_or(0, |it| it.cuts);
        let destroyed = step.action.phase() == muster_core::action::Phase::Destroy;
        subject.kept = known.filter(|_| destroyed).map(|it| it.kept_of());
    }
    question
}

/// Whether it takes a look at what logins left behind to see how a step came out.
fn needs_traces(action: &Action) -> bool {
    matches!(
        action,
        Action::Trace { .. }
            | Action::EndSessions { .. }
            | Action::LockLogin { .. }
            | Action::UnlockLogin { .. }
    )
}

/// The branches and tags, if the origin answered.
fn heads<S: Source, W, J, L, R>(
    memory: &Memory,
    outside: &mut Outside<S, W, J, L, R>,
    run: &Run<'_>,
    summary: &mut Summary,
) -> Option<Heads> {
    match outside.source.heads(&releases::horizon(memory, run.wall)) {
        Ok(heads) => Some(heads),
        Err(error) => {
            summary.warnings.push(format!(
                "the state repository did not answer ({}); the adopted commit stays in force",
                chain(&error)
            ));
            None
        }
    }
}

/// Adopts the head of the protected branch when it is valid and descends from what was adopted (invariant 7).
fn adopt<S: Source, W, J: Journal, L, R: ReportSink>(
    memory: &mut Memory,
    outside: &mut Outside<S, W, J, L, R>,
    run: &Run<'_>,
    heads: &Heads,
    summary: &mut Summary,
) -> Result<(), CycleError> {
    let Some(head) = heads.protected.clone() else {
        summary.warnings.push(
            "the protected branch is not there; the adopted commit stays in force".to_owned(),
        );
        return Ok(());
    };
    let adopted = memory.facts().adopted.clone();
    if memory.facts().frozen.is_some() || head == adopted {
        return Ok(());
    }
    let ancestry = match outside.source.ancestry(&adopted, &head) {
        Ok(ancestry) => ancestry,
        Err(error) => {
            summary.warnings.push(format!(
                "the history of {head} could not be read ({})",
                chain(&error)
            ));
            return Ok(());
        }
    };
    match ancestry {
        Ancestry::Same => {}
        Ancestry::Diverged => {
            let why = Frozen::Rewritten {
                adopted,
                found: head,
            };
            record(
                memory,
                &mut outside.journal,
                &Entry::Frozen { at: run.now, why },
            )?;
        }
        Ancestry::Descends
            if memory
                .facts()
                .attempted
                .as_ref()
                .is_some_and(|it| it.commit == head) => {}
        Ancestry::Descends => consider(memory, outside, run, &head, summary)?,
    }
    Ok(())
}

/// Adopts a descendant if it is valid; otherwise records it as attempted, and tells why.
fn consider<S: Source, W, J: Journal, L, R: ReportSink>(
    memory: &mut Memory,
    outside: &mut Outside<S, W, J, L, R>,
    run: &Run<'_>,
    head: &CommitId,
    summary: &mut Summary,
) -> Result<(), CycleError> {
    let files = match outside.source.files(head) {
        Ok(files) => files,
        Err(error) => {
            summary.warnings.push(format!(
                "the files of {head} could not be read ({})",
                chain(&error)
            ));
            return Ok(());
        }
    };
    let refused = match files.and_then(|files| read_host(&files, run.policy, run.now.date())) {
        Ok(desired) => {
            memory.desired = Some((head.clone(), run.now.date(), desired));
            None
        }
        Err(problems) => {
            let first = problems
                .iter()
                .next()
                .map(ToString::to_string)
                .unwrap_or_default();
            let adopted = memory.facts().adopted.clone();
            tell::refusal(outside, run.policy, head, &adopted, &problems, summary);
            Some(format!("{} errors, the first: {first}", problems.len()))
        }
    };
    let entry = match refused {
        None => Entry::Adopted {
            at: run.now,
            commit: head.clone(),
        },
        Some(problem) => Entry::Attempted {
            at: run.now,
            commit: head.clone(),
            problem,
        },
    };
    record(memory, &mut outside.journal, &entry)
}

fn desired_of_adopted<S: Source, W, J, L, R>(
    memory: &mut Memory,
    outside: &mut Outside<S, W, J, L, R>,
    run: &Run<'_>,
) -> Result<Desired, CycleError> {
    let adopted = memory.facts().adopted.clone();
    let today = run.now.date();
    if let Some((commit, day, desired)) = memory.desired.take()
        && (commit == adopted && day == today)
    {
        return Ok(desired);
    }
    let files = outside.source.files(&adopted).map_err(world_error(
        "the files of the adopted commit could not be read",
    ))?;
    files
        .and_then(|files| read_host(&files, run.policy, today))
        .map_err(|problems| CycleError::Repository {
            commit: adopted,
            problems,
        })
}

/// Runs the batches, one intent at a time, and observes after each.
fn carry_out<S, W: World, J: Journal, L, R>(
    memory: &mut Memory,
    outside: &mut Outside<S, W, J, L, R>,
    run: &mut Run<'_>,
    ground: &releases::Ground<'_>,
    batches: Vec<Batch>,
    approvals: &mut Approvals,
    summary: &mut Summary,
) -> Result<(), CycleError> {
    let mut undone: BTreeSet<StepId> = BTreeSet::new();
    for mut batch in batches {
        if (run.stop)() {
            summary.stopped = true;
            return Ok(());
        }
        let trusted = ground.trusted;
        let left = releases::withdraw(memory, run, trusted, approvals, &mut batch, summary);
        undone.extend(left);
        let left = batch.without_dependents_of(&undone);
        undone.extend(left);
        if batch.is_empty() {
            continue;
        }
        let writes = {
            let steps: Vec<&Step> = batch.steps().collect();
            let plan = ground.plan;
            render::writes(&steps, ground.observed, plan.environments(), plan.ports())
        };
        let commit = memory.facts().adopted.clone();
        let intent = batch.intend(&commit, run.now, writes, |entry| {
            record(memory, &mut outside.journal, entry)
        })?;
        let phase = intent.phase().word();
        let acted = outside
            .world
            .act(&intent, &mut |done, all| (run.progress)(phase, done, all));
        let complaints = match acted {
            Ok(complaints) => complaints,
            // The act as a whole went wrong: every step that the world does not show done has that reason.
            Err(error) => intent
                .steps()
                .iter()
                .map(|step| (step.id, chain(&error)))
                .collect(),
        };
        let mut parts = parts_of(intent.phase());
        parts.homes |= intent.steps().iter().any(|step| needs_traces(&step.action));
        let question = question_about(intent.steps(), memory.facts(), parts);
        let after = observe(outside, &question)?;
        let results = close(memory, outside, run, intent.steps(), &after, &complaints)?;
        for (step, result) in intent.steps().iter().zip(results) {
            if result != StepResult::Done {
                undone.insert(step.id);
            }
            summary.ran.push((step.clone(), result));
        }
    }
    Ok(())
}

/// The parts of the host that a phase can have changed.
fn parts_of(phase: muster_core::action::Phase) -> Parts {
    use muster_core::action::Phase;
    match phase {
        Phase::Record | Phase::Assign => Parts::NONE,
        Phase::Quiesce | Phase::Start => Parts {
            units: true,
            ..Parts::NONE
        },
        Phase::Accounts => Parts {
            accounts: true,
            ..Parts::NONE
        },
        // Whose a home is, is judged by the uid in the account databases.
        Phase::Homes | Phase::Sessions => Parts {
            accounts: true,
            homes: true,
            ..Parts::NONE
        },
        Phase::Files => Parts {
            files: true,
            ..Parts::NONE
        },
        Phase::Rename | Phase::Destroy => Parts::ALL,
    }
}

/// Commits to the ledger what the journal gained and how things stand, and lets the journal go of what it has.
fn commit_ledger<S, W, J: Journal, L: Ledger, R>(
    memory: &mut Memory,
    outside: &mut Outside<S, W, J, L, R>,
    run: &Run<'_>,
    summary: &Summary,
    standing: Option<&Standing>,
) -> Result<(), CycleError> {
    let through = outside.journal.through();
    // Whoever has just started does not know whether anything is new, and mostly nothing is.
    let learned = memory.dirty && !ledger::holds(&memory.ledger_files, memory.facts(), &through);
    let mut changes = match &memory.touched {
        _ if !learned => Changes::new(),
        Some(touched) => ledger::files_of(memory.facts(), &through, touched),
        None => ledger::changes(
            &memory.ledger_files,
            &ledger::files(memory.facts(), &through),
        ),
    };
    let kept = standing
        .filter(|_| learned || run.inventory == Inventory::Current)
        .and_then(|standing| keep(memory, outside, run, standing, &mut changes));
    if !changes.is_empty() {
        let message = tell::ledger_message(memory.facts(), &memory.decided, summary);
        outside
            .ledger
            .commit(&changes, &message, run.now)
            .map_err(|error| CycleError::Records {
                what: "the ledger could not be written; what was done is in the journal".to_owned(),
                source: Box::new(error),
            })?;
        memory.decided.clear();
        for (path, content) in changes {
            match content {
                // The others are never compared, so that nobody has to have read them.
                _ if !ledger::is_of_facts(&path) => None,
                Some(content) => memory.ledger_files.insert(path, content),
                None => memory.ledger_files.remove(&path),
            };
        }
    }
    if kept.is_some() {
        memory.kept = kept;
    }
    if !memory.dirty {
        return Ok(());
    }
    memory.touched = Some(BTreeSet::new());
    memory.dirty = false;
    outside
        .journal
        .release(&through)
        .map_err(|error| CycleError::Records {
            what: "old journal segments could not be removed".to_owned(),
            source: Box::new(error),
        })
}

/// New contents of files by their path; `None` for one that is gone.
type Changes = BTreeMap<String, Option<Vec<u8>>>;

/// Adds to `changes` what was read on the host and what waits, unless this process wrote just that before.
fn keep<S, W, J, L: Ledger, R>(
    memory: &Memory,
    outside: &mut Outside<S, W, J, L, R>,
    run: &Run<'_>,
    standing: &Standing,
    changes: &mut Changes,
) -> Option<Kept> {
    let Standing {
        observed,
        plan,
        held,
    } = standing;
    let fingerprint = standing_fingerprint(observed, held, &memory.facts().adopted);
    let written = memory.kept.as_ref().map(|it| it.fingerprint);
    if written == Some(fingerprint) {
        return None;
    }
    let before = match &memory.kept {
        Some(kept) => kept.since.clone(),
        // Another process may have written what waits. Since when is worth no failure.
        None => outside
            .ledger
            .read(held::FILE)
            .ok()
            .flatten()
            .and_then(|bytes| HeldSteps::read(&bytes).ok())
            .map_or_else(BTreeMap::new, |it| it.since()),
    };
    let waits: BTreeSet<StepId> = held.iter().map(|it| it.step.id).collect();
    let needs: BTreeMap<StepId, &[StepId]> = plan
        .steps()
        .iter()
        .filter(|it| waits.contains(&it.step.id))
        .map(|it| (it.step.id, it.needs.as_slice()))
        .collect();
    let waiting = HeldSteps::now(
        &run.policy.executor,
        &memory.facts().adopted,
        held,
        |id| needs.get(&id).map_or_else(Vec::new, |it| it.to_vec()),
        &before,
        run.now,
    );
    changes.insert(held::FILE.to_owned(), Some(waiting.to_bytes()));
    let inventory = inventory::Inventory::bytes_in_ledger(&run.policy.executor, observed);
    changes.insert(inventory::FILE.to_owned(), Some(inventory));
    Some(Kept {
        fingerprint,
        since: waiting.since(),
    })
}

/// A number that differs when what was read or what waits does.
fn standing_fingerprint(observed: &Observed, held: &[Held], adopted: &CommitId) -> u64 {
    use std::hash::{DefaultHasher, Hash as _, Hasher as _};
    let mut hasher = DefaultHasher::new();
    observed.hash(&mut hasher);
    adopted.hash(&mut hasher);
    for held in held {
        held.step.id.hash(&mut hasher);
        held.reason.to_string().hash(&mut hasher);
    }
    hasher.finish()
}

/// Tells each proposal what its merge would do. All of them are planned against one observation.
fn tell_proposals<S: Source, W: World, J, L, R: ReportSink>(
    memory: &mut Memory,
    outside: &mut Outside<S, W, J, L, R>,
    run: &Run<'_>,
    heads: &Option<Heads>,
    desired: &Desired,
    observed: &Observed,
    summary: &mut Summary,
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
        let mut question = question(desired, memory.facts());
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
                Ok(looked) => {
                    if let tell::Looked::Valid(desired, _) = &looked {
                        question.widen(plan::question(desired, memory.facts()));
                    }
                    due.push((about, looked));
                }
                Err(warning) => summary.warnings.push(warning),
            }
        }
        if !due.is_empty() {
            let observed = observe(outside, &question)?;
            let base = make_plan(memory, run, &memory.facts().adopted, desired, &observed);
            for (about, looked) in due {
                let ground = tell::Ground {
                    facts: &memory.replayed.facts,
                    observed: &observed,
                    base: &base,
                };
                if tell::proposal(&about, &looked, ground, outside, run, summary) {
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
fn world_fingerprint(observed: &Observed, facts: &Facts, today: Date) -> u64 {
    use std::hash::{DefaultHasher, Hash as _, Hasher as _};
    let mut hasher = DefaultHasher::new();
    today.hash(&mut hasher);
    observed.hash(&mut hasher);
    facts.people.hash(&mut hasher);
    facts.begun.hash(&mut hasher);
    facts.failures.hash(&mut hasher);
    facts.needs_operator.hash(&mut hasher);
    facts.frozen.hash(&mut hasher);
    facts.adopted.hash(&mut hasher);
    hasher.finish()
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
