//! What people are told, and where. A sink that does not answer never stops a cycle: it is told again in the next one.

use std::sync::Arc;

use muster_core::commit::CommitId;
use muster_core::diagnostic::{Diagnostics, visible};
use muster_core::facts::{Facts, Suspended};
use muster_core::gate::{Approvals, Held, judge};
use muster_core::ink::count;
use muster_core::journal::{Entry, StepResult};
use muster_core::plan::{self, Input, Note, Plan};
use muster_core::release::claim::{Claim, Progress};
use muster_core::report::{
    self, Audience, Comment, CommitContext, FORGE_LIMIT, Host, Outcome, Problem, ReadAt, Refused,
};
use muster_core::rooms::{self, Desired, Observed, Policy};
use muster_core::step::Step;
use muster_core::world::{Merge, ReportSink, Source, Topic};

use crate::answers;
use crate::cycle::ground::{CycleSummary, Outside, Run, chain};

/// A branch that somebody proposes to merge.
pub(crate) struct Proposal<'a> {
    pub(crate) branch: &'a str,
    pub(crate) head: &'a CommitId,
    pub(crate) protected: &'a CommitId,
}

/// Tells on the adopted commit what became of it: everything done since it was adopted, and what waits.
pub(crate) fn outcome<S, W, J, L, R: ReportSink>(
    facts: &Facts,
    outside: &mut Outside<S, W, J, L, R>,
    policy: &Policy,
    held: &[Held],
    notes: &[Note],
    summary: &mut CycleSummary,
) {
    let mut results: Vec<(Arc<Step>, StepResult)> = facts
        .record
        .iter()
        .map(|it| (Arc::clone(&it.step), StepResult::Done))
        .collect();
    let failed = summary
        .ran
        .iter()
        .filter(|(_, result)| !matches!(result, StepResult::Done | StepResult::Overtaken(_)));
    results.extend(failed.cloned());
    if results.is_empty() && held.is_empty() {
        return;
    }
    let at = facts.record.last().map_or(facts.latest, |it| it.at);
    let comment = report::outcome(
        &Outcome {
            executor: policy.executor(),
            adopted: &facts.adopted,
            at,
            results: &results,
            held,
            notes,
        },
        FORGE_LIMIT,
    );
    tell(outside, Topic::Outcome, &facts.adopted, &comment, summary);
}

/// Tells on a commit of the protected branch why it was not adopted.
pub(crate) fn refusal<S, W, J, L, R: ReportSink>(
    outside: &mut Outside<S, W, J, L, R>,
    policy: &Policy,
    refused: &CommitId,
    adopted: &CommitId,
    problems: &Diagnostics,
    summary: &mut CycleSummary,
) {
    let problems = Problem::folded(problems);
    let comment = report::refusal(
        policy.executor(),
        refused,
        adopted,
        &Refused::Invalid(&problems),
        FORGE_LIMIT,
    );
    tell(outside, Topic::Refusal, refused, &comment, summary);
}

/// What there is to say of a proposal before a host is looked at.
pub(crate) enum Looked {
    /// Its merge is valid: what it asks of this host, what there is to warn of, and what becomes of owner responses.
    Valid(Desired, Vec<Problem>, Option<answers::AnswersSection>),
    /// Its merge is not; owner responses are told of as far as it can be read.
    Invalid(Vec<Problem>, Option<answers::AnswersSection>),
    /// It does not merge by itself.
    Conflict(Vec<String>),
    /// It is merged already.
    Contained,
}

/// Merges a proposal in memory, and reads what the merge would ask for.
///
/// # Errors
/// When the proposal could not be read; a line for the summary.
pub(crate) fn look<S: Source>(
    about: &Proposal<'_>,
    source: &mut S,
    run: &Run<'_>,
) -> Result<Looked, String> {
    let merged = source.merge(about.protected, about.head).map_err(|error| {
        format!(
            "{} could not be merged in memory ({})",
            about.branch,
            chain(&error)
        )
    })?;
    Ok(match merged {
        Merge::Contained => Looked::Contained,
        Merge::Conflict(paths) => Looked::Conflict(paths),
        Merge::Refused(problems) => Looked::Invalid(Problem::folded(&problems), None),
        // What is wrong anywhere makes a proposal red, whoever reads it.
        Merge::Clean(files) => {
            let mut all = rooms::executors_of(&files);
            all.insert(run.policy.executor().clone());
            let (repo, problems) = rooms::read_as_far(&files, &all.iter().collect::<Vec<_>>());
            let told = match answers::with_people(repo.as_ref(), &problems) {
                Some(repo) => {
                    answers::told(about, answers::By::Merge, &files, repo, source, run.now)
                }
                None => answers::untold(&files),
            };
            let wrong = problems.has_error(|_| true);
            let problems = Problem::folded(&problems);
            match repo.filter(|_| !wrong) {
                None => Looked::Invalid(problems, told),
                Some(repo) => Looked::Valid(
                    rooms::desired(&repo, run.policy, run.now.date()),
                    problems,
                    told,
                ),
            }
        }
    })
}

/// What a proposal's plan is made from, beside its own files.
#[derive(Clone, Copy)]
pub(crate) struct Baseline<'a> {
    /// What is known.
    pub(crate) facts: &'a Facts,
    /// What was read in the world.
    pub(crate) observed: &'a Observed,
    /// What would happen without the proposal.
    pub(crate) base: &'a Plan,
}

/// Tells on a proposal's head what merging it would do. Returns whether the sink has it now.
pub(crate) fn proposal<S, W, J, L, R: ReportSink>(
    about: &Proposal<'_>,
    looked: &Looked,
    baseline: Baseline<'_>,
    outside: &mut Outside<S, W, J, L, R>,
    run: &Run<'_>,
    summary: &mut CycleSummary,
) -> bool {
    let Baseline {
        facts,
        observed,
        base,
    } = baseline;
    let header = CommitContext {
        head: about.head,
        protected: about.protected,
        branch: Some(
            about
                .branch
                .strip_prefix("refs/heads/")
                .unwrap_or(about.branch),
        ),
        today: run.now.date(),
        audience: Audience::Team,
        full: None,
        operator: None,
    };
    let comment = match looked {
        Looked::Contained => report::comment(&header, &report::Proposal::Contained, FORGE_LIMIT),
        Looked::Conflict(paths) => {
            report::comment(&header, &report::Proposal::Conflict(paths), FORGE_LIMIT)
        }
        Looked::Invalid(problems, answers) => {
            let invalid = report::Proposal::Invalid(problems);
            let comment = report::comment(&header, &invalid, FORGE_LIMIT);
            match answers {
                Some(told) => comment.with(&answers::section(told)),
                None => comment,
            }
        }
        Looked::Valid(desired, warnings, answers) => {
            let plan = plan::plan(&Input {
                policy: run.policy,
                commit: about.head,
                today: run.now.date(),
                desired,
                observed,
                facts,
            });
            let approvals = Approvals::of_begun(facts);
            let bounds = plan.bounds(run.policy, observed, facts, run.now);
            let verdict = judge(&plan, &bounds, facts, &approvals, run.now);
            let host = Host {
                executor: run.policy.executor(),
                plan: &plan,
                verdict: &verdict,
                base: Some(base),
                read: ReadAt::Live,
            };
            let comment = report::comment(
                &header,
                &report::Proposal::Planned {
                    hosts: &[host],
                    unknown: &[],
                    warnings,
                },
                FORGE_LIMIT,
            );
            match answers {
                // A note has no limit.
                Some(told) => comment.with(&answers::section(told)),
                None => comment,
            }
        }
    };
    tell(outside, Topic::Plan, about.head, &comment, summary)
}

/// Tells, unless that is what was told already. Returns whether the sink has it now.
fn tell<S, W, J, L, R: ReportSink>(
    outside: &mut Outside<S, W, J, L, R>,
    topic: Topic,
    commit: &CommitId,
    comment: &Comment,
    summary: &mut CycleSummary,
) -> bool {
    let Some(sink) = &mut outside.sink else {
        return true;
    };
    // A git note has no limit: the pages of a forge are put together again.
    let text = comment.pages.join("\n");
    let told = match sink.told(topic, commit) {
        Ok(before) if before.as_deref() == Some(&text) => return true,
        Ok(_) => sink.tell(topic, commit, &text),
        Err(error) => Err(error),
    };
    match told {
        Ok(()) => {
            summary.told += 1;
            true
        }
        Err(error) => {
            summary.warnings.push(format!(
                "the {} report on {} was not taken ({}); it is told again in the next cycle",
                topic.word(),
                commit.short(),
                chain(&error)
            ));
            false
        }
    }
}

/// What an entry decided, in a line for the message of a ledger commit; what was done stands there step by step.
pub(crate) fn decision(entry: &Entry) -> Option<String> {
    let line = match entry {
        Entry::Genesis { adopt, .. } => format!("began with {adopt}"),
        Entry::Adopted { commit, .. } => format!("adopted {commit}"),
        Entry::Attempted {
            commit, problem, ..
        } => format!("refused {commit}: {problem}"),
        Entry::Frozen { why, .. } => format!("frozen: {why}"),
        Entry::Reset {
            commit,
            who,
            reason,
            ..
        } => format!("{who} decided for {commit}: {reason}"),
        Entry::Suspended {
            at,
            who,
            reason,
            until,
        } => Suspended {
            who: who.clone(),
            reason: reason.clone(),
            since: *at,
            until: *until,
        }
        .to_string(),
        Entry::Resumed { who, reason, .. } => format!("resumed by {who}: {reason}"),
        Entry::ClockAccepted {
            at,
            who,
            reason,
            latest,
        } => format!(
            "{who} said that the clock is right, which is at {at}, though records went on to {latest}: {reason}"
        ),
        Entry::Trusted { root, by, .. } => format!(
            "version {} of the trust root in force, by {}",
            root.version,
            by.join(", ")
        ),
        Entry::Claimed { claim, .. } => format!(
            "release {} claimed: {}, signed by {}: {}",
            claim.nonce,
            count(claim.steps.len(), "step"),
            claim.principals.join(", "),
            claim.reason
        ),
        Entry::Finished { nonce, why, .. } => match why {
            None => format!("release {nonce} done"),
            Some(why) => format!("release {nonce} at its end: {why}"),
        },
        Entry::Refused { release, .. } => {
            format!("{} refused: {}: {}", release.tag, release.code, release.why)
        }
        Entry::Marked { step, mark, .. } => format!("step {step}: {}", mark.told()?),
        Entry::Intended { .. } | Entry::Outcome { .. } => return None,
    };
    Some(visible(&line))
}

/// The release by which a step was done, if it needed one.
fn released(facts: &Facts, step: &Step) -> Option<String> {
    let done = |it: &&Claim| it.steps.get(&step.id) == Some(&Progress::Done);
    let claim = facts.claims.values().filter(done).max_by_key(|it| it.at)?;
    let principals = claim.principals.join(", ");
    Some(format!(
        "by release {}, signed by {principals}",
        claim.nonce
    ))
}

/// The message of a ledger commit: `git log` on the ledger is the audit trail.
///
/// ```text
/// 0123456789ab: 2 done, 1 held
///
/// * suspended by root until `muster resume`: a disk is being changed
/// <step id> <words> (done)
/// <step id> <words> (done: by release <nonce>, signed by <principals>)
/// <step id> <words> (failed: why)
/// <step id> <words> (held: pending_signature)
///
/// Commit: <the adopted commit>
/// ```
pub(crate) fn ledger_message(
    facts: &Facts,
    decided: &[String],
    results: &[(Arc<Step>, StepResult)],
    held: &[Held],
) -> String {
    let count = |wanted: fn(&StepResult) -> bool| {
        let results = results.iter();
        results.filter(|(_, result)| wanted(result)).count()
    };
    let done = count(|it| *it == StepResult::Done);
    let failed = count(|it| match it {
        StepResult::Failed(_) | StepResult::Unfinished(_) | StepResult::NeedsOperator(_) => true,
        StepResult::Done | StepResult::NotBegun | StepResult::Overtaken(_) => false,
    });
    let mut message = format!("{}: {done} done", facts.adopted.short());
    if failed > 0 {
        message.push_str(&format!(", {failed} failed"));
    }
    if !held.is_empty() {
        message.push_str(&format!(", {} held", held.len()));
    }
    message.push_str("\n\n");
    for decision in decided {
        message.push_str(&format!("* {decision}\n"));
    }
    for (step, result) in results {
        let word = match result {
            StepResult::Done => match released(facts, step) {
                Some(by) => format!("done: {by}"),
                None => "done".to_owned(),
            },
            StepResult::Failed(reason) => format!("failed: {reason}"),
            StepResult::NotBegun => "not begun".to_owned(),
            StepResult::Unfinished(reason) => format!("unfinished: {reason}"),
            StepResult::NeedsOperator(reason) => format!("needs operator: {reason}"),
            StepResult::Overtaken(how) => match released(facts, step) {
                Some(by) => format!("done: {by}; changed since: {how}"),
                None => format!("done; changed since: {how}"),
            },
        };
        // A reason must not look like another line.
        let word = visible(&word);
        message.push_str(&format!("{} {} ({word})\n", step.id, step.words()));
    }
    for held in held {
        message.push_str(&format!(
            "{} {} (held: {})\n",
            held.step.id,
            held.step.words(),
            held.reason.code()
        ));
    }
    message.push_str(&format!("\nCommit: {}\n", facts.adopted));
    message
}
