//! Which steps may run now, and why the others may not.
//!
//! Only this module makes [`Admitted`], and only a durable journal record makes [`Intent`] (invariant 2); whoever
//! changes the world takes nothing else.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::sync::Arc;

use crate::action::{Action, Class, Kind, Leave, Phase};
use crate::commit::CommitId;
use crate::facts::{Facts, Stage, Suspended};
use crate::journal::{Authority, Entry};
use crate::observed::{Account, Accounts, Observed, Password, Reading};
use crate::plan::{Plan, PlannedStep};
use crate::policy::Policy;
use crate::release::Nonce;
use crate::release::admit::Claimed;
use crate::render::FileWrite;
use crate::root::Admins;
use crate::step::{Step, StepId};
use crate::time::Time;

/// The code of what waits for a release and for nothing else.
pub const PENDING_SIGNATURE: &str = "pending_signature";
/// The code of what the limit on removals holds: a release permits all of it, or none.
pub const LIMIT: &str = "limit";

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
    Precondition(String),
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
    /// The word for it.
    pub fn code(&self) -> &'static str {
        match self {
            Self::PendingSignature => PENDING_SIGNATURE,
            Self::Limit(_) => LIMIT,
            Self::Guardrail(_) => "guardrail",
            Self::Needs(_) => "needs",
            Self::Precondition(_) => "precondition",
            Self::Retry { .. } => "retry",
            Self::NeedsOperator(_) => "needs_operator",
            Self::Frozen => "frozen",
            Self::Suspended(_) => "suspended",
        }
    }
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::PendingSignature => f.write_str("waits for a signed release"),
            Self::Limit(why) | Self::Guardrail(why) | Self::Precondition(why) => f.write_str(why),
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
/// fn forge(step: muster_core::step::Step) -> muster_core::gate::Admitted {
///     muster_core::gate::Admitted { step }
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
    pub step: Step,
    /// Its class.
    pub class: Class,
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

/// Judges a whole plan: limits first, then each step.
pub fn judge(
    plan: &Plan,
    policy: &Policy,
    facts: &Facts,
    observed: &Observed,
    approvals: &Approvals,
    now: Time,
) -> Verdict {
    let limits = Over {
        admins: admin_limit(plan, policy, observed, now),
        removals: removal_limit(plan, policy, facts, now)
            .filter(|_| !permits_all_removals(plan, policy, approvals)),
    };
    let protected = Protected::new(policy, observed);
    let suspended = facts.suspension_at(now);
    let mut verdict = Verdict::default();
    let mut held_ids: BTreeSet<StepId> = BTreeSet::new();
    for planned in plan.steps() {
        let class = planned.class(policy);
        let needs = planned.needs.iter().find(|it| held_ids.contains(*it));
        let reason = protected
            .stands_against(&planned.step)
            .map(Reason::Guardrail)
            .or_else(|| needs.map(|need| Reason::Needs(*need)))
            .or_else(|| planned.blocked.clone().map(Reason::Precondition))
            .or_else(|| limits.hold(&planned.step, approvals))
            .or_else(|| unapproved(planned.step.id, class, facts, approvals))
            .or_else(|| earlier(planned.step.id, facts, policy, approvals, now));
        if reason.is_some() {
            held_ids.insert(planned.step.id);
        }
        // Last, so that what waits for something else says so; whatever would have run says who keeps it from running.
        match reason.or_else(|| suspended.cloned().map(Reason::Suspended)) {
            Some(reason) => {
                verdict.held.push(Held {
                    step: planned.step.clone(),
                    class,
                    reason,
                });
            }
            None => verdict.admitted.push(Admitted {
                planned: Arc::clone(planned),
                by: approvals.release_of(planned.step.id),
            }),
        }
    }
    verdict
}

/// What the whole plan is over.
struct Over {
    admins: Option<String>,
    removals: Option<String>,
}

impl Over {
    /// Why they hold a step back. What is begun is brought to an end.
    fn hold(&self, step: &Step, approvals: &Approvals) -> Option<Reason> {
        if approvals.begun.contains(&step.id) {
            return None;
        }
        let (removal, locks) = (takes_away(&step.action), locks_password(&step.action));
        let admins = self.admins.clone().filter(|_| removal || locks);
        let admins = admins.map(Reason::Guardrail);
        admins.or_else(|| self.removals.clone().filter(|_| removal).map(Reason::Limit))
    }
}

/// Whether releases name exactly the removals that would be benign otherwise: never a part of them. What only follows
/// one of them is no choice of its own.
fn permits_all_removals(plan: &Plan, policy: &Policy, approvals: &Approvals) -> bool {
    let removals: BTreeSet<StepId> = plan
        .steps()
        .iter()
        .filter(|it| takes_away(&it.step.action))
        .filter(|it| it.class(policy) == Class::Benign)
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
    if class == Class::Benign {
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
    policy: &Policy,
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
    let at = failure.retry_at(&policy.limits);
    (at > now).then(|| Reason::Retry {
        at,
        reason: failure.reason.clone(),
    })
}

/// Whether the limits hold it back: removals, and the parts of a cut.
fn takes_away(action: &Action) -> bool {
    action.is_removal()
        || matches!(
            action,
            Action::LockLogin { .. }
                | Action::LeaveGroup {
                    because: Leave::Cut,
                    ..
                }
                | Action::ArchiveDelete { .. }
        )
}

fn removal_limit(plan: &Plan, policy: &Policy, facts: &Facts, now: Time) -> Option<String> {
    let planned = plan
        .steps()
        .iter()
        .filter(|it| it.step.action.is_removal())
        .count();
    if planned == 0 {
        return None;
    }
    let recent = facts
        .removals
        .iter()
        .filter(|then| then.plus(86_400) > now)
        .count();
    let removals = planned + recent;
    let active = facts
        .people
        .values()
        .filter(|it| it.stage == Stage::Active)
        .count();
    // Those already cut today were active this morning.
    let cut_today = facts
        .people
        .values()
        .filter(|it| it.stage == Stage::Cut && it.since.plus(86_400) > now)
        .count();
    let base = active + cut_today;
    let limits = policy.limits;
    (removals >= limits.removals && removals * 100 > limits.share * base).then(|| {
        let percent = (removals * 100).checked_div(base).unwrap_or(100);
        format!(
            "over the limit: {removals} removals ({recent} of them in the last 24 hours) are {percent} % of {base} active \
             accounts, and more than {} % is held as a whole; split the change over days, or sign a release for exactly \
             these steps",
            limits.share
        )
    })
}

/// Whether it can keep an admin from sudo who is asked for a password.
fn locks_password(action: &Action) -> bool {
    action.kind() == Kind::UserLockPassword
}

/// Whether too few accounts remain that surely can become root, of those that can now.
fn admin_limit(plan: &Plan, policy: &Policy, observed: &Observed, now: Time) -> Option<String> {
    let Reading::Known(accounts) = &observed.accounts else {
        return None;
    };
    let sure = Admins::new(accounts, &policy.nologin, now.days());
    let everybody = accounts.by_name.iter();
    let mut admins: BTreeMap<&str, Admin> = everybody
        .filter(|(name, account)| sure.surely_can(name, account))
        .map(|(name, account)| {
            let admin = Admin {
                name: name.clone(),
                account: Account::clone(account),
            };
            (name.as_str(), admin)
        })
        .collect();
    let before = admins.len();
    for planned in plan.steps() {
        let action = &planned.step.action;
        // Under its old name an account is known until it has the new one.
        let of = action.former_name().unwrap_or(action.user());
        if let Some(admin) = admins.get_mut(of)
            && !leaves_admin(action, admin)
        {
            admins.remove(of);
        }
    }
    admins.retain(|_, it| sure.surely_can(&it.name, &it.account));
    let (left, least) = (admins.len(), policy.limits.min_admins);
    (left < before && left < least).then(|| match sure.unread() {
        None => format!(
            "would leave {left} accounts that can become root, and at least {least} must remain; add another admin first"
        ),
        Some(why) => format!(
            "would leave {left} accounts that may be able to become root, and at least {least} must remain; who surely can is \
             not known ({why})"
        ),
    })
}

/// An account that surely can become root, as far as a plan has changed it.
struct Admin {
    name: String,
    account: Account,
}

/// Does to an admin what a step would, as far as it can cost them root; whether there is still an account to look at.
///
/// No wildcard: a new action does not compile until it is said here.
fn leaves_admin(action: &Action, admin: &mut Admin) -> bool {
    match action {
        Action::Cut { .. } | Action::LockLogin { .. } | Action::ArchiveDelete { .. } => {
            return false;
        }
        Action::LeaveGroup { group, .. } => drop(admin.account.groups.remove(group)),
        Action::LockPassword { .. } => admin.account.password = Password::Locked,
        Action::SetShell { to, .. } => admin.account.shell.clone_from(to),
        Action::RenameAccount { user, .. } => admin.name.clone_from(user),
        Action::ChangeUid { to, .. } => admin.account.uid = *to,
        Action::CreateAccount { .. }
        | Action::AdoptAccount { .. }
        | Action::ChangeIdentity { .. }
        | Action::JoinGroup { .. }
        | Action::AssignPorts { .. }
        | Action::Park { .. }
        | Action::Unpark { .. }
        | Action::Return { .. }
        | Action::UnlockLogin { .. }
        | Action::Trace { .. }
        | Action::EndSessions { .. }
        | Action::CreateHome { .. }
        | Action::WriteEnvironment { .. }
        | Action::Unit { .. }
        | Action::Entry { .. }
        | Action::RecordArchive { .. }
        | Action::RestoreAccount { .. }
        | Action::RestoreHome { .. }
        | Action::PurgeHome { .. } => {}
    }
    true
}

/// Names that no step may touch, under every name that their accounts have.
struct Protected<'a> {
    policy: &'a Policy,
    accounts: Option<&'a Accounts>,
    /// The uids of their accounts: whoever shares one is the same.
    uids: BTreeSet<u32>,
}

impl<'a> Protected<'a> {
    fn new(policy: &'a Policy, observed: &'a Observed) -> Self {
        let accounts = observed.accounts.known();
        let by_name = |name: &str| accounts.and_then(|it| it.by_name.get(name));
        let names = policy.protected.iter().map(String::as_str);
        let found = names.chain(["root"]).filter_map(by_name);
        Self {
            policy,
            accounts,
            uids: found.map(|it| it.uid).chain([0]).collect(),
        }
    }

    fn stands_against(&self, step: &Step) -> Option<String> {
        let user = step.action.user();
        let mut names = [user].into_iter().chain(step.action.former_name());
        let named = |it: &str| it == "root" || self.policy.protected.contains(it);
        let account = |it: &str| self.accounts.and_then(|all| all.by_name.get(it));
        let shared = |it: &str| account(it).is_some_and(|it| self.uids.contains(&it.uid));
        let name = names.find(|it| named(it) || shared(it))?;
        Some(if named(name) {
            format!("{name} is a protected name: no step may touch it, signed or not")
        } else {
            format!(
                "{name} is another name of a protected account: no step may touch it, signed or not"
            )
        })
    }
}

/// Steps that one intent covers, because one act carries them out.
#[derive(Debug)]
#[must_use = "a batch does nothing until it is intended"]
pub struct Batch {
    phase: Phase,
    admitted: Vec<Admitted>,
}

impl Verdict {
    /// Takes the admitted steps apart by phase, in the order in which they run.
    pub fn into_batches(self) -> (Vec<Batch>, Vec<Held>) {
        let mut batches: Vec<Batch> = Vec::new();
        let mut by_phase: BTreeMap<Phase, Vec<Admitted>> = BTreeMap::new();
        for admitted in self.admitted {
            by_phase
                .entry(admitted.step().action.phase())
                .or_default()
                .push(admitted);
        }
        for (phase, admitted) in by_phase {
            batches.push(Batch { phase, admitted });
        }
        (batches, self.held)
    }
}

impl Batch {
    /// When it runs.
    pub fn phase(&self) -> Phase {
        self.phase
    }

    /// Its steps.
    pub fn steps(&self) -> impl Iterator<Item = &Step> {
        self.admitted.iter().map(Admitted::step)
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
    /// `writes` are the files that the steps of [`Phase::Files`] amount to.
    ///
    /// # Errors
    /// Whatever `append` says; nothing may then be done.
    pub fn intend<E>(
        self,
        commit: &CommitId,
        at: Time,
        writes: Vec<FileWrite>,
        append: impl FnOnce(&Entry) -> Result<(), E>,
    ) -> Result<Intent, E> {
        let by: BTreeMap<StepId, Nonce> = self
            .admitted
            .iter()
            .filter_map(|it| Some((it.step().id, it.by?)))
            .collect();
        let steps: Vec<Step> = self.admitted.iter().map(|it| it.step().clone()).collect();
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
        let Entry::Intended { steps, .. } = entry else {
            unreachable!("made two lines above")
        };
        Ok(Intent {
            phase: self.phase,
            steps,
            writes,
            at,
        })
    }
}

/// The right to act: proof that the batch is in the journal.
///
/// ```compile_fail
/// fn act_without_a_record(step: muster_core::step::Step) -> muster_core::gate::Intent {
///     muster_core::gate::Intent { steps: vec![step] }
/// }
/// ```
#[derive(Debug)]
#[must_use = "an open intent must be brought to an outcome, or it is in doubt after a restart"]
pub struct Intent {
    phase: Phase,
    steps: Vec<Step>,
    writes: Vec<FileWrite>,
    at: Time,
}

impl Intent {
    /// Which phase.
    pub fn phase(&self) -> Phase {
        self.phase
    }

    /// What to do, in order.
    pub fn steps(&self) -> &[Step] {
        &self.steps
    }

    /// The files that the steps amount to.
    pub fn writes(&self) -> &[FileWrite] {
        &self.writes
    }

    /// The moment of the cycle, for dates that an act writes.
    pub fn at(&self) -> Time {
        self.at
    }
}
