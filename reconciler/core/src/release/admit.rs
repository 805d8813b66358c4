//! Whether a signed release may run on this executor, now: everything that [`authenticate`](super::authenticate) cannot
//! know.
//!
//! ```text
//! Signed, co-signatures ─▶ admit() ─▶ Admission ─▶ claim(journal) ─▶ Claimed ─▶ Approvals ─▶ judge()
//! ```
//!
//! [`Claimed`] is proof that the nonce is durably taken: only the journal's write makes one, so nothing runs by a release
//! that a crash could forget (invariant 6).

use std::collections::{BTreeMap, BTreeSet};

use super::claim::{Claim, Claimed, Progress, RefusedRelease};
use super::reset::{self, SignedReset};
use super::root::{Role, TrustRoot, Weight};
use super::statement::{LONGEST_WINDOW, Line};
use super::{Code, Nonce, Refusal, Signed, distinct_principals};
use crate::bytes::hex;
use crate::clock::Moment;
use crate::facts::Facts;
use crate::gate::{Approvals, Held, Reason, judge};
use crate::id::StepId;
use crate::journal::Entry;
use crate::plan::{Plan, PlannedStep};
use crate::price::{Class, Price, RootRelation as TouchesRoot};
use crate::rooms::{Observed, Policy};
use crate::time::Time;

/// Signatures of one statement.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Release {
    /// One for each tag; they agree in all but who signed. Never empty.
    signed: Vec<Signed>,
}

impl Release {
    /// Puts co-signatures together: tags that say the same are one release.
    pub fn group(signed: impl IntoIterator<Item = Signed>) -> Vec<Self> {
        let mut by_statement: BTreeMap<(Time, [u8; 32]), Vec<Signed>> = BTreeMap::new();
        for it in signed {
            let key = (it.statement.not_before, it.digest);
            by_statement.entry(key).or_default().push(it);
        }
        by_statement
            .into_values()
            .map(|signed| Self { signed })
            .collect()
    }

    /// What is said, by each who signed it.
    pub fn signed(&self) -> &[Signed] {
        &self.signed
    }

    /// The first signature; what it says, all say.
    pub fn first(&self) -> &Signed {
        &self.signed[0]
    }

    /// What makes it one of its kind.
    pub fn nonce(&self) -> Nonce {
        self.first().statement.nonce
    }

    /// SHA-256 of the statement, 64 hex digits.
    pub fn digest(&self) -> String {
        hex(&self.first().digest)
    }

    /// Who signed, each once.
    pub fn principals(&self) -> Vec<String> {
        let distinct = distinct_principals(&self.signed);
        distinct.into_iter().map(str::to_owned).collect()
    }

    /// The names of its tags, without `refs/tags/`.
    pub fn tags(&self) -> Vec<String> {
        let name = |it: &Signed| it.ref_name.trim_start_matches("refs/tags/").to_owned();
        self.signed.iter().map(name).collect()
    }

    /// The record of a refusal of it.
    pub fn refused(&self, refusal: &Refusal) -> RefusedRelease {
        RefusedRelease {
            statement: self.digest(),
            nonce: self.nonce(),
            tag: self.tags().swap_remove(0),
            commit: self.first().statement.commit.clone(),
            principals: self.principals(),
            code: refusal.code,
            why: refusal.why.clone(),
        }
    }
}

/// Whether the commit that a release names counts here.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum CommitStanding {
    /// It is the adopted commit or an ancestor of it.
    Adopted,
    /// It is neither.
    NotAdopted,
    /// It could not be found out.
    Unknown(String),
}

/// What a release is judged against.
#[derive(Clone, Copy, Debug)]
pub struct AdmissionContext<'a> {
    /// Whom this executor trusts.
    pub root: &'a TrustRoot,
    /// What the host's administrator decided.
    pub policy: &'a Policy,
    /// What muster knows of its own doing.
    pub facts: &'a Facts,
    /// What was read on the host.
    pub observed: &'a Observed,
    /// The plan, made just now.
    pub plan: &'a Plan,
    /// What other releases permit already.
    pub approvals: &'a Approvals,
    /// The moment, as far as this host's clock can be believed.
    pub moment: &'a Moment,
}

/// A release that may run here, before its nonce is taken.
#[derive(Debug)]
#[must_use = "an admission permits nothing until its nonce is claimed"]
pub struct Admission {
    claim: Claim,
    statement: String,
    resumed: bool,
    steps: BTreeSet<StepId>,
}

impl Admission {
    /// The claim as it is written down.
    pub fn claim_record(&self) -> &Claim {
        &self.claim
    }

    /// Whether an earlier process has claimed it already.
    pub fn is_resumed(&self) -> bool {
        self.resumed
    }

    /// Takes the nonce: writes the claim to the journal, unless it is there, and only then yields the right to run.
    ///
    /// # Errors
    /// Whatever `append` says; nothing may then be done.
    pub fn claim<E>(
        self,
        at: Time,
        append: impl FnOnce(&Entry) -> Result<(), E>,
    ) -> Result<Claimed, E> {
        let nonce = self.claim.nonce;
        let written = if self.resumed {
            Ok(())
        } else {
            append(&Entry::Claimed {
                at,
                claim: Claim { at, ..self.claim },
                statement: self.statement,
            })
        };
        Claimed::once_written(written, nonce, self.steps)
    }
}

/// Whether `release` may run here. The first failure wins, in the order of DESIGN's "Releases", save that a used nonce is
/// told before the plan is looked at: what was done is no longer planned, and `replay` is the truer word for it.
///
/// A release that an earlier process claimed and did not finish is checked in full again for the steps that have not
/// begun; only its nonce is its own.
///
/// # Errors
/// The refusal, which is authenticated.
pub fn admit(
    release: &Release,
    commit: &CommitStanding,
    standing: &AdmissionContext<'_>,
) -> Result<Admission, Refusal> {
    check(release, commit, standing).map_err(Refusal::authenticated)
}

fn check(
    release: &Release,
    commit: &CommitStanding,
    standing: &AdmissionContext<'_>,
) -> Result<Admission, Refusal> {
    let AdmissionContext {
        root,
        policy,
        facts,
        plan,
        ..
    } = *standing;
    let statement = &release.first().statement;
    in_window(release, standing.moment)?;
    if statement.repo != root.repo {
        return Err(Code::WrongRepo.because(format!(
            "it is for the state repository {}, and this host follows {}; propose it again from this repository",
            statement.repo, root.repo
        )));
    }
    match commit {
        CommitStanding::Adopted => {}
        CommitStanding::NotAdopted => {
            return Err(Code::NotAdopted.because(format!(
                "commit {} is neither the adopted commit {} nor an ancestor of it; merge it first, or propose again",
                statement.commit.short(),
                facts.adopted.short()
            )));
        }
        CommitStanding::Unknown(why) => {
            return Err(Code::NotAdopted.because(format!(
                "whether commit {} was adopted cannot be found out: {why}",
                statement.commit.short()
            )));
        }
    }
    let executor = policy.executor().to_string();
    let Some(lines) = statement.blocks.get(&executor) else {
        let named: Vec<&str> = statement.blocks.keys().map(String::as_str).collect();
        return Err(Code::WrongExecutor.because(format!(
            "it names {}, and this is {executor}",
            named.join(", ")
        )));
    };
    let resumed = nonce_is_free(release, facts)?;
    if let Some(why) = &facts.frozen {
        return Err(Code::Frozen.because(format!("this executor is frozen: {why}")));
    }
    let lines: Vec<&Line> = lines
        .iter()
        .filter(|line| resumed.is_none_or(|it| it.steps.get(&line.id) == Some(&Progress::Waiting)))
        .collect();
    let steps = bound(&lines, plan)?;
    let ids: BTreeSet<StepId> = steps.iter().map(|it| it.step.id).collect();
    within_limits(&ids, release.nonce(), standing)?;
    enough_signed(release, &steps, standing)?;
    Ok(Admission {
        claim: Claim {
            nonce: release.nonce(),
            statement: release.digest(),
            commit: statement.commit.clone(),
            not_after: statement.not_after,
            principals: release.principals(),
            tags: release.tags(),
            reason: statement.reason.clone(),
            at: standing.moment.now,
            steps: ids.iter().map(|it| (*it, Progress::Waiting)).collect(),
            finished: false,
        },
        statement: statement.render(),
        resumed: resumed.is_some(),
        steps: ids,
    })
}

/// Whether the window is open by this host's clock, and the clock is to be believed (M4, M40, M41). Also asked again
/// right before a step begins (M63).
///
/// # Errors
/// `clock`, `not_yet_valid` or `expired`.
pub fn in_window(release: &Release, moment: &Moment) -> Result<(), Refusal> {
    let statement = &release.first().statement;
    window((statement.not_before, statement.not_after), moment)
}

fn window((not_before, not_after): (Time, Time), moment: &Moment) -> Result<(), Refusal> {
    let Moment { now, matter } = moment;
    if let Some(matter) = matter {
        return Err(Code::Clock.because(matter.in_refusal()));
    }
    let longest = not_before.plus(LONGEST_WINDOW);
    if not_after > longest {
        return Err(Code::Expired.because(format!(
            "it would hold until {not_after}, and none may hold for more than 72 hours; propose it again"
        )));
    }
    if *now < not_before {
        return Err(
            Code::NotYetValid.because(format!("it holds from {not_before}, and it is {now}"))
        );
    }
    if *now > not_after {
        return Err(Code::Expired.because(format!(
            "it held until {not_after}, and it is {now}; propose it again"
        )));
    }
    Ok(())
}

/// The unfinished claim of this very release, if an earlier process made one.
fn nonce_is_free<'f>(release: &Release, facts: &'f Facts) -> Result<Option<&'f Claim>, Refusal> {
    let Some(claim) = facts.claims.get(&release.nonce()) else {
        if facts.spent.contains(&release.nonce()) {
            return Err(Code::Replay.because(
                "its nonce was used on this machine, and what is known here is older than that; propose it again",
            ));
        }
        return Ok(None);
    };
    if !claim.finished && claim.statement == release.digest() {
        return Ok(Some(claim));
    }
    Err(Code::Replay.because(format!(
        "its nonce was used at {} by {}; a nonce permits one run, so propose it again",
        claim.at,
        claim.principals.join(", ")
    )))
}

/// The steps that the lines name: each in the plan made now, with the same id and the same words.
fn bound<'p>(lines: &[&Line], plan: &'p Plan) -> Result<Vec<&'p PlannedStep>, Refusal> {
    let planned: BTreeMap<StepId, &PlannedStep> =
        plan.steps().iter().map(|it| (it.step.id, &**it)).collect();
    lines
        .iter()
        .map(|line| {
            let Some(step) = planned.get(&line.id) else {
                return Err(Code::BindingMismatch.because(format!(
                    "step {} ({}) is not in the plan made now: it is done, no longer asked for, or about something that was made \
                     anew; look at `muster pending` and propose again",
                    line.id, line.words
                )));
            };
            let words = step.step.words();
            if words != line.words {
                return Err(Code::BindingMismatch.because(format!(
                    "step {} is `{words}`, and the release calls it `{}`; propose again",
                    line.id, line.words
                )));
            }
            Ok(*step)
        })
        .collect()
}

/// Whether the gate would let all of it through, if it were permitted (M48, M49).
fn within_limits(
    ids: &BTreeSet<StepId>,
    nonce: Nonce,
    standing: &AdmissionContext<'_>,
) -> Result<(), Refusal> {
    let supposed = standing.approvals.supposing(ids, nonce);
    let AdmissionContext {
        policy,
        facts,
        observed,
        plan,
        moment,
        ..
    } = *standing;
    let bounds = plan.bounds(policy, observed, facts, moment.now);
    let verdict = judge(plan, &bounds, facts, &supposed, moment.now);
    let Some(held) = verdict.held.iter().find(|it| ids.contains(&it.step.id)) else {
        return Ok(());
    };
    let Held { step, reason, .. } = held;
    let code = match reason {
        Reason::Frozen => Code::Frozen,
        _ => Code::Guardrail,
    };
    Err(code.because(format!("step {} ({}): {reason}", step.id, step.words())))
}

/// Whether as many people signed as it takes.
fn enough_signed(
    release: &Release,
    steps: &[&PlannedStep],
    standing: &AdmissionContext<'_>,
) -> Result<(), Refusal> {
    let count =
        |wanted: &dyn Fn(&Price) -> bool| steps.iter().filter(|it| wanted(&it.price)).count();
    let destructive = count(&|it| it.class == Class::Destructive);
    // A signature permits the whole statement, so all of it counts, whichever executor a step is for; and a step that
    // would be benign is named only because it is one of too many.
    let all = release.first().statement.steps();
    let weight = Weight {
        privileged: all.saturating_sub(destructive),
        destructive,
        admin: count(&|it| it.root == TouchesRoot::Touches),
    };
    let needed = standing.root.quorum(weight);
    let principals = release.principals();
    if principals.len() >= needed {
        return Ok(());
    }
    Err(Code::QuorumPending.because(format!(
        "{} of {needed} people signed ({}); another one signs with `muster release cosign {}`",
        principals.len(),
        principals.join(", "),
        release.tags()[0]
    )))
}

/// Whether signatures of one reset let this executor leave its freeze (P8).
///
/// # Errors
/// The refusal, which is authenticated.
pub fn admit_reset(
    signed: &[&SignedReset],
    root: &TrustRoot,
    facts: &Facts,
    moment: &Moment,
) -> Result<(), Refusal> {
    let reset = &signed[0].reset;
    let checked = || {
        window((reset.not_before, reset.not_after), moment)?;
        if reset.repo != root.repo {
            return Err(Code::WrongRepo.because(format!(
                "it is for the state repository {}, and this host follows {}",
                reset.repo, root.repo
            )));
        }
        if reset.old != facts.adopted {
            return Err(Code::NotAdopted.because(format!(
                "it moves on from commit {}, and {} is adopted here",
                reset.old.short(),
                facts.adopted.short()
            )));
        }
        if facts.spent.contains(&reset.nonce) {
            return Err(Code::Replay.because("its nonce was used; propose it again"));
        }
        let (people, needed) = (
            reset::principals(signed.iter().copied()).len(),
            root.threshold(Role::Recovery),
        );
        if people < needed {
            return Err(Code::QuorumPending.because(format!(
                "{people} of {needed} holders of recovery keys signed"
            )));
        }
        Ok(())
    };
    checked().map_err(Refusal::authenticated)
}
