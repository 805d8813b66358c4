//! Which steps may run now, and why the others may not.
//!
//! Only this module makes [`Admitted`], and only a durable journal record makes [`Intent`] (invariant 2); whoever
//! changes the world takes nothing else.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::sync::Arc;

use crate::commit::CommitId;
use crate::facts::{Facts, Frozen, Suspended};
use crate::id::{RunId, StepId};
use crate::journal::{Authority, Entry};
use crate::limits::{Bound, Bounds, Over};
use crate::plan::{Plan, PlannedStep};
use crate::price::{Class, Price, Takes};
use crate::release::Nonce;
use crate::release::claim::Claimed;
use crate::rooms::{Blocked, Material};
use crate::sheet::Hold;
use crate::step::Step;
use crate::time::Time;
use crate::turn::Turn;

/// The code of what waits for a release and for nothing else.
pub const PENDING_SIGNATURE: &str = "pending_signature";
/// The code of what the limit on removals holds: a release permits all of it, or none.
pub const LIMIT: &str = "limit";

/// The code of a step that follows one that is held.
pub const NEEDS: &str = "needs";

/// The code of a step that failed, and waits for its next try.
pub const RETRY: &str = "retry";

/// The code of a step that was refused in the same words again and again, so that somebody has to look (GB12).
pub const BLOCKED: &str = "blocked";

/// The code of what only a suspension keeps from running.
pub const SUSPENDED: &str = "suspended";

/// Why a step does not run now.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Reason {
    /// Not benign, and no release names it: `pending_signature`.
    PendingSignature,
    /// The plan takes away too much; all its removals wait together, and one release may permit them all: `limit`.
    Limit(String),
    /// A name no step may touch, signed or not: `guardrail`.
    Guardrail(String),
    /// A step it builds on is not admitted.
    Needs(StepId),
    /// Something it needs is not there.
    Precondition(Blocked),
    /// It is told of first, and runs from a moment on.
    Until {
        /// From when on.
        at: Time,
        /// Why it is told of.
        why: Blocked,
    },
    /// It failed, and is tried again later.
    Retry {
        /// When.
        at: Time,
        /// Why it failed.
        reason: String,
    },
    /// It stopped halfway, and a person has to look.
    NeedsOperator(String),
    /// The executor is frozen: `frozen`.
    Frozen,
    /// Nothing else holds it; somebody suspended the executor: `suspended`.
    Suspended(Suspended),
}

impl Reason {
    fn protected(name: &str) -> Self {
        Self::Guardrail(format!(
            "{name} is a protected name: no step may touch it, signed or not"
        ))
    }

    fn shares_protected(name: &str) -> Self {
        Self::Guardrail(format!(
            "{name} is another name of a protected account: no step may touch it, signed or not"
        ))
    }

    /// Whether the step failed and is still asked for, so that its executor is not in order (F30, GB12). What waits for a signature or
    /// for a precondition that people know of is.
    pub fn is_failing(&self) -> bool {
        [RETRY, BLOCKED].contains(&self.code())
    }

    /// The word for it.
    pub fn code(&self) -> &'static str {
        match self {
            Self::PendingSignature => PENDING_SIGNATURE,
            Self::Limit(_) => LIMIT,
            Self::Guardrail(_) => "guardrail",
            Self::Needs(_) => NEEDS,
            Self::Precondition(what) if what.is_refusal() => BLOCKED,
            Self::Precondition(_) => "precondition",
            Self::Until { .. } => "until",
            Self::Retry { .. } => RETRY,
            Self::NeedsOperator(_) => "needs_operator",
            Self::Frozen => "frozen",
            Self::Suspended(_) => SUSPENDED,
        }
    }
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::PendingSignature => f.write_str("waits for a signed release"),
            Self::Limit(why) | Self::Guardrail(why) => f.write_str(why),
            Self::Precondition(what) => what.fmt(f),
            Self::Until { at, why } => write!(f, "{why}; it runs from {at} on"),
            Self::Needs(step) => write!(f, "follows step {step}"),
            Self::Retry { at, reason } => write!(f, "failed: {reason}; next try at {at}"),
            Self::NeedsOperator(why) => write!(f, "needs an operator: {why}"),
            Self::Frozen => f.write_str("this executor is frozen"),
            Self::Suspended(suspended) => suspended.fmt(f),
        }
    }
}

/// A step that passed the gate.
///
/// ```compile_fail
/// fn forge(planned: std::sync::Arc<muster_core::plan::PlannedStep>) -> muster_core::gate::Admitted {
///     muster_core::gate::Admitted { planned, by: None }
/// }
/// ```
#[derive(Debug, PartialEq, Eq)]
#[must_use = "an admitted step does nothing until it is intended"]
pub struct Admitted {
    planned: Arc<PlannedStep>,
    by: Option<Nonce>,
}

/// What releases permit in this cycle. Only a release whose nonce is durably claimed adds to it.
///
/// ```compile_fail
/// let forged = muster_core::gate::Approvals { by: Default::default(), begun: Default::default() };
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Approvals {
    by: BTreeMap<StepId, Nonce>,
    begun: BTreeSet<StepId>,
}

impl Approvals {
    /// None: all that is not benign waits.
    pub fn none() -> Self {
        Self::default()
    }

    /// What claimed releases have begun, which is brought to an end whatever else changed.
    pub fn of_begun(facts: &Facts) -> Self {
        let mut approvals = Self::none();
        for claim in facts.claims.values() {
            for step in claim.begun() {
                approvals.by.insert(step, claim.nonce);
                approvals.begun.insert(step);
            }
        }
        approvals
    }

    /// Adds what a claimed release permits.
    pub fn add(&mut self, claimed: &Claimed) {
        let by = claimed.steps().iter().map(|it| (*it, claimed.nonce()));
        self.by.extend(by);
    }

    /// The same, with these steps as if `nonce` permitted them: to find out what the gate would say.
    pub(crate) fn supposing(&self, steps: &BTreeSet<StepId>, nonce: Nonce) -> Self {
        let mut supposed = self.clone();
        supposed.by.extend(steps.iter().map(|it| (*it, nonce)));
        supposed
    }

    /// Takes back what a release permits and has not begun: its key is no longer trusted, or its window is over.
    pub fn withdraw(&mut self, nonce: Nonce) {
        let begun = &self.begun;
        self.by
            .retain(|step, by| *by != nonce || begun.contains(step));
    }

    /// The release that permits a step, if one does.
    pub fn release_of(&self, step: StepId) -> Option<Nonce> {
        self.by.get(&step).copied()
    }
}

impl Admitted {
    /// The step.
    pub fn step(&self) -> &Step {
        &self.planned.step
    }
}

/// A step that does not run now.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Held {
    /// The step.
    pub step: Arc<Step>,
    /// What it costs.
    pub price: Price,
    /// Why it waits.
    pub reason: Reason,
}

/// What the gate decided about one plan.
#[derive(Debug, Default, PartialEq, Eq)]
#[must_use = "a verdict that nobody acts on or reports changes nothing"]
pub struct Verdict {
    /// May run, in the plan's order.
    pub admitted: Vec<Admitted>,
    /// Must wait, in the plan's order.
    pub held: Vec<Held>,
}

/// Judges a whole plan: what it is over first, then each step by its price.
pub fn judge(
    plan: &Plan,
    bounds: &Bounds,
    facts: &Facts,
    approvals: &Approvals,
    now: Time,
) -> Verdict {
    let permitted = permits_all_removals(plan, approvals);
    let suspended = facts.suspension_at(now);
    let mut verdict = Verdict {
        admitted: Vec::with_capacity(plan.steps().len()),
        held: Vec::new(),
    };
    // The first reason there is. A step that nothing holds, as most of tens of thousands, makes none (`tests/bench/bench plan`).
    let why_held = |planned: &PlannedStep, need: Option<&StepId>| {
        let (step, price) = (planned.step.id, &planned.price);
        let barred = barred(planned.hold.as_deref(), need, now);
        if barred.is_some() {
            return barred;
        }
        let over = over(&bounds.over, step, price.takes, permitted, approvals);
        if over.is_some() {
            return over;
        }
        let unapproved = unapproved(step, price.class, facts, approvals);
        if unapproved.is_some() {
            return unapproved;
        }
        earlier(step, facts, bounds.retry_after, approvals, now)
    };
    let mut held_ids: BTreeSet<StepId> = BTreeSet::new();
    for planned in plan.steps() {
        let PlannedStep { step, needs, .. } = &**planned;
        let need = needs.iter().find(|it| held_ids.contains(*it));
        let reason = match (why_held(planned, need), suspended) {
            (Some(reason), _) => {
                held_ids.insert(step.id);
                reason
            }
            // Last, so that what waits for something else says so; whatever would have run says who keeps it from running.
            (None, Some(suspended)) => Reason::Suspended(suspended.clone()),
            (None, None) => {
                verdict.admitted.push(Admitted {
                    planned: Arc::clone(planned),
                    by: approvals.release_of(step.id),
                });
                continue;
            }
        };
        verdict.held.push(Held {
            step: Arc::clone(step),
            price: planned.price,
            reason,
        });
    }
    verdict
}

/// What holds a step whatever releases permit of it: a protected name, then a step before it that is held, then what is not there.
fn barred(hold: Option<&Hold<Blocked>>, need: Option<&StepId>, now: Time) -> Option<Reason> {
    match (hold, need) {
        (Some(Hold::Protected(name)), _) => Some(Reason::protected(name)),
        (Some(Hold::SharesProtected(name)), _) => Some(Reason::shares_protected(name)),
        (Some(Hold::Lacks(_) | Hold::Until(..)) | None, Some(need)) => Some(Reason::Needs(*need)),
        (Some(Hold::Lacks(what)), None) => Some(Reason::Precondition(what.clone())),
        (Some(Hold::Until(at, why)), None) => (now < *at).then(|| Reason::Until {
            at: *at,
            why: why.clone(),
        }),
        (None, None) => None,
    }
}

/// Why what the plan is over holds a step back. What is begun is brought to an end.
fn over(
    over: &[Over],
    step: StepId,
    takes: Takes,
    permitted: bool,
    approvals: &Approvals,
) -> Option<Reason> {
    if approvals.begun.contains(&step) {
        return None;
    }
    let holds = over.iter().filter(|it| takes.is_held_by(it.bound));
    holds
        .filter_map(|Over { bound, why }| match bound {
            Bound::Floor => Some(Reason::Guardrail(why.clone())),
            Bound::Share => (!permitted).then(|| Reason::Limit(why.clone())),
        })
        .next()
}

/// Whether releases name exactly the removals: never a part of them. These are the steps that are counted, and those that would
/// be benign otherwise; a destructive step that comes with a removal needs a release of its own anyway. What only follows one of
/// them is no choice of its own.
fn permits_all_removals(plan: &Plan, approvals: &Approvals) -> bool {
    let removals: BTreeSet<StepId> = plan
        .steps()
        .iter()
        .filter(|it| {
            let Price { takes, class, .. } = it.price;
            it.counts()
                && takes.is_held_by(Bound::Share)
                && (takes.counts() || class == Class::Benign)
        })
        .map(|it| it.step.id)
        .collect();
    plan.steps()
        .iter()
        .filter(|it| removals.contains(&it.step.id))
        .filter(|it| !it.needs.iter().any(|need| removals.contains(need)))
        .all(|it| approvals.by.contains_key(&it.step.id))
}

/// Why a step that needs a release has none that counts.
fn unapproved(step: StepId, class: Class, facts: &Facts, approvals: &Approvals) -> Option<Reason> {
    if facts.frozen.as_ref().is_some_and(Frozen::holds_everything) {
        Some(Reason::Frozen)
    } else if class == Class::Benign {
        None
    } else if facts.frozen.is_some() {
        Some(Reason::Frozen)
    } else {
        (!approvals.by.contains_key(&step)).then_some(Reason::PendingSignature)
    }
}

/// Why a step that did not come out as meant before does not run now. A release is a new word on what failed.
fn earlier(
    step: StepId,
    facts: &Facts,
    retry_after: u32,
    approvals: &Approvals,
    now: Time,
) -> Option<Reason> {
    if approvals.by.contains_key(&step) && !approvals.begun.contains(&step) {
        return None;
    }
    if let Some(why) = facts.needs_operator.get(&step) {
        return Some(Reason::NeedsOperator(why.clone()));
    }
    let failure = facts.failures.get(&step)?;
    let at = failure.retry_at(retry_after);
    (at > now).then(|| Reason::Retry {
        at,
        reason: failure.reason.clone(),
    })
}

/// Steps that one intent covers, because one act carries them out.
#[derive(Debug)]
#[must_use = "a batch does nothing until it is intended"]
pub struct Batch {
    turn: Turn,
    admitted: Vec<Admitted>,
}

impl Verdict {
    /// Takes the admitted steps apart by turn, in the order in which they run.
    pub fn into_batches(self) -> (Vec<Batch>, Vec<Held>) {
        let mut batches: Vec<Batch> = Vec::new();
        let mut by_turn: BTreeMap<Turn, Vec<Admitted>> = BTreeMap::new();
        for admitted in self.admitted {
            by_turn
                .entry(admitted.planned.price.turn)
                .or_default()
                .push(admitted);
        }
        for (turn, admitted) in by_turn {
            batches.push(Batch { turn, admitted });
        }
        (batches, self.held)
    }
}

impl Batch {
    /// When it runs.
    pub fn turn(&self) -> Turn {
        self.turn
    }

    /// Its steps, as they were planned.
    pub fn steps(&self) -> impl Iterator<Item = &PlannedStep> {
        self.admitted.iter().map(|it| &*it.planned)
    }

    /// Leaves out what builds on a step that was not done; returns what was left out.
    pub fn without_dependents_of(&mut self, undone: &BTreeSet<StepId>) -> Vec<StepId> {
        let (kept, left): (Vec<_>, Vec<_>) = std::mem::take(&mut self.admitted)
            .into_iter()
            .partition(|it| !it.planned.needs.iter().any(|need| undone.contains(need)));
        self.admitted = kept;
        left.into_iter().map(|it| it.step().id).collect()
    }

    /// The releases that some of its steps run by.
    pub fn releases(&self) -> BTreeSet<Nonce> {
        self.admitted.iter().filter_map(|it| it.by).collect()
    }

    /// Leaves out what runs by a release that no longer counts; returns what was left out. What is begun stays.
    pub fn without_release(&mut self, nonce: Nonce, approvals: &Approvals) -> Vec<StepId> {
        let (kept, left): (Vec<_>, Vec<_>) = std::mem::take(&mut self.admitted)
            .into_iter()
            .partition(|it| it.by != Some(nonce) || approvals.begun.contains(&it.step().id));
        self.admitted = kept;
        left.into_iter().map(|it| it.step().id).collect()
    }

    /// Whether nothing is left to do.
    pub fn is_empty(&self) -> bool {
        self.admitted.is_empty()
    }

    /// Writes the intent to the journal; only if that succeeds, yields the right to act.
    ///
    /// `material` is what the act needs beyond its steps.
    ///
    /// # Errors
    /// Whatever `append` says; nothing may then be done.
    pub fn intend<E>(
        self,
        commit: &CommitId,
        at: Time,
        material: Material,
        append: impl FnOnce(&Entry) -> Result<(), E>,
    ) -> Result<Intent, E> {
        let by: BTreeMap<StepId, Nonce> = self
            .admitted
            .iter()
            .filter_map(|it| Some((it.step().id, it.by?)))
            .collect();
        let steps = self.admitted.iter();
        let steps: Vec<Arc<Step>> = steps.map(|it| Arc::clone(&it.planned.step)).collect();
        let commit = commit.clone();
        let authority = if by.is_empty() {
            Authority::Benign { commit }
        } else {
            Authority::Released { commit, by }
        };
        let entry = Entry::Intended {
            at,
            steps,
            authority,
        };
        append(&entry)?;
        let runs = self.admitted.iter();
        let runs = runs.filter_map(|it| Some((it.step().id, RunId::of(it.by?))));
        Ok(Intent {
            turn: self.turn,
            runs: runs.collect(),
            planned: self.admitted.into_iter().map(|it| it.planned).collect(),
            material,
            at,
        })
    }
}

/// The right to act: proof that the batch is in the journal.
///
/// ```compile_fail
/// use muster_core::{gate::Intent, plan::PlannedStep, rooms::Material, time::Time, turn::Turn};
/// fn act_without_a_record(planned: Vec<std::sync::Arc<PlannedStep>>, at: Time) -> Intent {
///     let runs = std::collections::BTreeMap::new();
///     Intent { turn: Turn::Record, runs, planned, material: Material::Nothing, at }
/// }
/// ```
#[derive(Debug)]
#[must_use = "an open intent must be brought to an outcome, or it is in doubt after a restart"]
pub struct Intent {
    turn: Turn,
    runs: BTreeMap<StepId, RunId>,
    planned: Vec<Arc<PlannedStep>>,
    material: Material,
    at: Time,
}

impl Intent {
    /// Which turn.
    pub fn turn(&self) -> Turn {
        self.turn
    }

    /// What to do, in order.
    pub fn steps(&self) -> impl ExactSizeIterator<Item = &Arc<Step>> + Clone {
        self.planned.iter().map(|it| &it.step)
    }

    /// The same, with what it costs.
    pub fn planned(&self) -> &[Arc<PlannedStep>] {
        &self.planned
    }

    /// The run of a step that a release permits: the same however often it is tried, and another one where it is released again (H7).
    pub fn run_of(&self, step: StepId) -> Option<&RunId> {
        self.runs.get(&step)
    }

    /// What the act needs beyond its steps.
    pub fn material(&self) -> &Material {
        &self.material
    }

    /// The moment of the cycle, for dates that an act writes.
    pub fn at(&self) -> Time {
        self.at
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::executor::Executor;
    use crate::guests;
    use crate::limits::Limits;
    use crate::plan::{Input, plan};
    use crate::reading::Reading;
    use crate::rooms::{Desired, Known, Observed, Policy};

    /// Four guests of which three are to end: more than may end at once without a release of exactly that.
    fn three_of_four() -> (Plan, Bounds, Facts) {
        three_with("")
    }

    /// The same, with one of them that another one locked.
    fn three_with(locked: &str) -> (Plan, Bounds, Facts) {
        let executor = Executor::Guests("pve1".to_owned());
        let commit: CommitId = "1".repeat(40).parse().unwrap();
        let mut facts = Facts::genesis("id", executor.clone(), commit.clone(), Time(0));
        let mut known = guests::facts::Known::new();
        let mut policy = guests::policy::Policy::new(executor);
        policy.limits = Limits::default();
        policy.create_token = true;
        let policy = Policy::from(policy);
        let mut desired = guests::desired::Desired::default();
        let mut observed = BTreeMap::new();
        for (name, destroy) in [("a", true), ("b", true), ("c", true), ("d", false)] {
            let wanted = guests::desired::Wanted {
                destroy,
                ..guests::desired::Wanted::default()
            };
            desired.guests.insert(name.to_owned(), wanted);
            let marker = guests::action::Marker(name.to_owned());
            let made = guests::facts::Made {
                marker: marker.clone(),
                finished: true,
                begun: true,
            };
            let of_guest = guests::facts::GuestFacts {
                made: Some(made),
                ..guests::facts::GuestFacts::default()
            };
            known.guests.insert(name.to_owned(), of_guest);
            let config = Reading::Known(guests::observed::Config::default());
            let run = Some(guests::desired::Run::Running);
            let form = guests::observed::Form::Container;
            let mut guest = guests::observed::Guest::new(form, run, config);
            guest.made = Some(marker);
            guest.lock = (name == locked).then(|| "backup".to_owned());
            observed.insert(
                name.to_owned(),
                guests::observed::Sight::Seen(Box::new(guest)),
            );
        }
        facts.known = Known::Guests(known);
        let observed = Observed::from(guests::observed::Observed::of(observed));
        let plan = plan(&Input {
            policy: &policy,
            commit: &commit,
            today: Time(0).date(),
            desired: &Desired::Guests(desired),
            observed: &observed,
            facts: &facts,
        });
        let bounds = plan.bounds(&policy, &observed, &facts, Time(0));
        (plan, bounds, facts)
    }

    /// What the gate says of each step when a release permits some of them.
    fn said(permitted: &[usize]) -> Vec<&'static str> {
        said_of(three_of_four(), permitted)
    }

    fn said_of(
        (plan, bounds, facts): (Plan, Bounds, Facts),
        permitted: &[usize],
    ) -> Vec<&'static str> {
        let steps = permitted.iter().map(|at| plan.steps()[*at].step.id);
        let approvals = Approvals::none().supposing(&steps.collect(), Nonce([7; 16]));
        let verdict = judge(&plan, &bounds, &facts, &approvals, Time(0));
        let held = verdict.held.iter().map(|it| it.reason.code());
        verdict
            .admitted
            .iter()
            .map(|_| "runs")
            .chain(held)
            .collect()
    }

    #[test]
    fn removals_that_are_destructive_run_all_together_or_not_at_all() {
        assert_eq!(said(&[]), [LIMIT; 3]);
        assert_eq!(said(&[0]), [LIMIT; 3]);
        assert_eq!(said(&[0, 2]), [LIMIT; 3]);
        assert_eq!(said(&[0, 1, 2]), ["runs"; 3]);
    }

    /// H13: what cannot end is none of those that end at once, so a release of the others is of all of them.
    #[test]
    fn a_guest_that_cannot_end_does_not_count_towards_the_limit() {
        let waits = [PENDING_SIGNATURE, PENDING_SIGNATURE, "precondition"];
        let mut said = said_of(three_with("c"), &[]);
        said.sort_by_key(|it| *it == "precondition");
        assert_eq!(said, waits);
        assert_eq!(
            said_of(three_with("c"), &[0, 1]),
            ["runs", "runs", "precondition"]
        );
    }
}
