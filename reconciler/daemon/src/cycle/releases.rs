//! Releases in a cycle: which are claimed, which steps they permit, and when a claim is at its end.
//!
//! A sink that fails never changes a verdict.

use std::collections::BTreeSet;

use muster_core::clock::TimeService;
use muster_core::gate::{Approvals, Batch};
use muster_core::id::StepId;
use muster_core::ink::count;
use muster_core::journal::Entry;
use muster_core::plan::Plan;
use muster_core::release::admit::{AdmissionContext, CommitStanding, Release, admit, in_window};
use muster_core::release::claim::{Claim, Progress};
use muster_core::release::{Nonce, Refusal, authenticate};
use muster_core::report;
use muster_core::rooms::Observed;
use muster_core::world::{Ancestry, Journal, ReportSink, Source, Topic};

use super::ground::{CycleError, CycleSummary, Memory, Outside, Run, chain};
use super::records::record;
use super::trust::{Tags, Trusted};

/// What a decision about releases is made from.
pub(super) struct Evidence<'a> {
    pub(super) trusted: &'a Trusted,
    pub(super) plan: &'a Plan,
    pub(super) observed: &'a Observed,
}

/// Claims every release that may run now, and gives what all of them permit. A release of other executors is none of
/// ours, and is passed over in silence.
pub(super) fn approve<S: Source, W, J: Journal, L, R: ReportSink>(
    memory: &mut Memory,
    outside: &mut Outside<S, W, J, L, R>,
    run: &Run<'_>,
    evidence: &Evidence<'_>,
    summary: &mut CycleSummary,
) -> Result<Approvals, CycleError> {
    let mut approvals = Approvals::of_begun(memory.facts());
    let Some(root) = &evidence.trusted.root else {
        return Ok(approvals);
    };
    let executor = run.policy.executor().to_string();
    for release in &evidence.trusted.releases {
        let statement = &release.first().statement;
        let Some(lines) = statement.blocks.get(&executor) else {
            continue;
        };
        let known = memory.facts().claims.get(&release.nonce());
        if known.is_some_and(|it| it.statement == release.digest() && !it.is_waiting()) {
            continue;
        }
        // Two releases of one step: the first runs it, and the second finds it done.
        let taken = |id: StepId| {
            approvals
                .release_of(id)
                .is_some_and(|by| by != release.nonce())
        };
        if lines.iter().any(|line| taken(line.id)) {
            continue;
        }
        let adopted = memory.facts().adopted.clone();
        let commit = match outside.source.ancestry(&statement.commit, &adopted) {
            Ok(Ancestry::Same | Ancestry::Descends) => CommitStanding::Adopted,
            Ok(Ancestry::Diverged) => CommitStanding::NotAdopted,
            Err(error) => CommitStanding::Unknown(chain(&error)),
        };
        let moment = run.moment();
        let standing = AdmissionContext {
            root,
            policy: run.policy,
            facts: memory.facts(),
            observed: evidence.observed,
            plan: evidence.plan,
            approvals: &approvals,
            moment: &moment,
        };
        match admit(release, &commit, &standing) {
            Ok(admission) => {
                let steps = admission.claim_record().steps.len();
                let at = run.now;
                let was_refused = memory
                    .facts()
                    .refused
                    .iter()
                    .any(|it| it.statement == release.digest());
                let claimed =
                    admission.claim(at, |entry| record(memory, &mut outside.journal, entry))?;
                approvals.add(&claimed);
                summary.releases.push(format!(
                    "{} is claimed: {}, signed by {}",
                    release.tags()[0],
                    count(steps, "step"),
                    release.principals().join(", ")
                ));
                if was_refused {
                    tell_claimed(outside, run, release, summary);
                }
            }
            Err(refusal) => refuse(memory, outside, run, release, &refusal, summary)?,
        }
    }
    Ok(approvals)
}

/// Tells that a release runs after all, in place of why it did not.
fn tell_claimed<S, W, J, L, R: ReportSink>(
    outside: &mut Outside<S, W, J, L, R>,
    run: &Run<'_>,
    release: &Release,
    summary: &mut CycleSummary,
) {
    let Some(sink) = &mut outside.sink else {
        return;
    };
    let commit = &release.first().statement.commit;
    let text = report::release_claimed(
        run.policy.executor(),
        &release.tags()[0],
        &release.principals(),
    );
    match sink.tell(Topic::Refusal, commit, &text) {
        Ok(()) => summary.told += 1,
        Err(error) => summary.warnings.push(format!(
            "that a release runs could not be told on {} ({})",
            commit.short(),
            chain(&error)
        )),
    }
}

/// Records and tells a refusal, once for each reason.
fn refuse<S, W, J: Journal, L, R: ReportSink>(
    memory: &mut Memory,
    outside: &mut Outside<S, W, J, L, R>,
    run: &Run<'_>,
    release: &Release,
    refusal: &Refusal,
    summary: &mut CycleSummary,
) -> Result<(), CycleError> {
    let refused = release.refused(refusal);
    let said = memory
        .facts()
        .refused
        .iter()
        .any(|it| it.statement == refused.statement && it.code == refused.code);
    if said {
        return Ok(());
    }
    let text = report::release_refused(run.policy.executor(), &refused);
    let commit = refused.commit.clone();
    summary.releases.push(match refusal.code.waits() {
        true => format!("{} waits: {}", refused.tag, refusal.why),
        false => format!("{} is refused: {refusal}", refused.tag),
    });
    let entry = Entry::Refused {
        at: run.now,
        release: refused,
    };
    record(memory, &mut outside.journal, &entry)?;
    if let Some(sink) = &mut outside.sink {
        match sink.tell(Topic::Refusal, &commit, &text) {
            Ok(()) => summary.told += 1,
            Err(error) => summary.warnings.push(format!(
                "the refusal of a release could not be told on {} ({})",
                commit.short(),
                chain(&error)
            )),
        }
    }
    Ok(())
}

/// Asks once more, right before a batch gets its intent, whether the releases that some of it runs by still count (M63):
/// takes out of the batch what does not, and returns it.
pub(super) fn withdraw(
    memory: &Memory,
    run: &mut Run<'_>,
    trusted: &Trusted,
    approvals: &mut Approvals,
    batch: &mut Batch,
    summary: &mut CycleSummary,
) -> Vec<StepId> {
    let mut left = Vec::new();
    for nonce in batch.releases() {
        if let Err(why) = still_counts(memory, run, trusted, nonce) {
            summary.warnings.push(format!(
                "what is left of release {nonce} does not run: {why}"
            ));
            approvals.withdraw(nonce);
            left.extend(batch.without_release(nonce, approvals));
        }
    }
    left
}

fn still_counts(
    memory: &Memory,
    run: &mut Run<'_>,
    trusted: &Trusted,
    nonce: Nonce,
) -> Result<(), String> {
    // Somebody may have signed another statement with the same nonce, which permits nothing.
    let claimed = memory.facts().claims.get(&nonce);
    let is_claimed = |it: &&Release| claimed.is_some_and(|claim| claim.statement == it.digest());
    let Some(release) = trusted.releases.iter().find(is_claimed) else {
        // Only what is begun runs without its tag.
        return Ok(());
    };
    // What came of asking the time service a moment ago is remembered with the clock.
    let mut clock = memory.clock.clone();
    let latest = memory.facts().latest;
    let moment = clock.hear(latest, &(run.clock)(), &mut || TimeService::Silent);
    in_window(release, &moment).map_err(|refusal| refusal.to_string())?;
    let root = run.trust.read()?;
    for (name, (_, raw)) in &memory.seen.raw {
        if release.signed().iter().any(|it| it.ref_name == *name) {
            let signed = authenticate(name, raw.kind, &raw.bytes, root.as_deref(), moment.now);
            drop(signed.map_err(|refusal| refusal.to_string())?);
        }
    }
    Ok(())
}

/// Ends the claims of which nothing is left to run in this process or a later one. What waits has to be checked again in
/// full before it runs, which takes the tags: while the origin does not tell them it goes on waiting, until its time is over. So does
/// what is not planned because the world could not be read.
pub(super) fn finish<S, W, J: Journal, L, R>(
    memory: &mut Memory,
    outside: &mut Outside<S, W, J, L, R>,
    run: &Run<'_>,
    trusted: &Trusted,
    plan: &BTreeSet<StepId>,
    summary: &mut CycleSummary,
) -> Result<(), CycleError> {
    let may_be_checked_later = |claim: &Claim| {
        trusted.tags == Tags::Unknown && claim.is_waiting() && run.now <= claim.not_after
    };
    // Where a part of the world could not be read, nothing is planned on it: that says nothing about what is asked for.
    let is_blind = summary.unread() > 0;
    let may_be_seen_later = |claim: &Claim| {
        let waits = claim.is_waiting() && run.now <= claim.not_after;
        is_blind && (waits || claim.begun().next().is_some())
    };
    let open: Vec<(Nonce, Option<String>)> = memory
        .facts()
        .claims
        .values()
        .filter(|claim| !claim.finished)
        // What is begun and still asked for goes on in the next cycle.
        .filter(|claim| !claim.begun().any(|step| plan.contains(&step)))
        .filter(|claim| !may_be_checked_later(claim) && !may_be_seen_later(claim))
        .map(|claim| {
            let count = |wanted: Progress| claim.steps.values().filter(|it| **it == wanted).count();
            let (failed, left) = (
                count(Progress::Failed),
                count(Progress::Waiting) + count(Progress::Begun),
            );
            let why = (failed + left > 0).then(|| {
                format!("{failed} steps failed and {left} did not run; they need a new release")
            });
            (claim.nonce, why)
        })
        .collect();
    for (nonce, why) in open {
        summary.releases.push(match &why {
            None => format!("release {nonce} is done"),
            Some(why) => format!("release {nonce} is at its end: {why}"),
        });
        let entry = Entry::Finished {
            at: run.now,
            nonce,
            why,
        };
        record(memory, &mut outside.journal, &entry)?;
    }
    Ok(())
}
