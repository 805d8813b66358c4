//! Which commit is in force, and what it asks for (invariant 7).

use muster_core::commit::CommitId;
use muster_core::diagnostic::Severity;
use muster_core::facts::Frozen;
use muster_core::journal::Entry;
use muster_core::release::TagHorizon;
use muster_core::rooms::{Desired, Policy};
use muster_core::time::Time;
use muster_core::world::{Ancestry, Heads, Journal, ReportSink, Source};

use super::ground::{
    CycleError, CycleSummary, Memory, Outside, Run, chain, read_host, world_error,
};
use super::records::record;
use super::trust;
use crate::tell;

/// The branches and tags, if the origin answered.
pub(super) fn heads<S: Source, W, J, L, R>(
    memory: &Memory,
    outside: &mut Outside<S, W, J, L, R>,
    run: &mut Run<'_>,
    summary: &mut CycleSummary,
) -> Option<Heads> {
    match outside
        .source
        .heads(&trust::horizon(memory, run.trust, run.now))
    {
        Ok(heads) => Some(heads),
        Err(error) => {
            let why = chain(&error);
            summary.warnings.push(format!(
                "the state repository did not answer ({why}); the adopted commit stays in force"
            ));
            summary.unanswered = Some(why);
            None
        }
    }
}

/// Adopts the head of the protected branch when it is valid and descends from what was adopted (invariant 7).
pub(super) fn adopt<S: Source, W, J: Journal, L, R: ReportSink>(
    memory: &mut Memory,
    outside: &mut Outside<S, W, J, L, R>,
    run: &Run<'_>,
    heads: &Heads,
    summary: &mut CycleSummary,
) -> Result<(), CycleError> {
    let Some(head) = heads.protected.clone() else {
        summary.warnings.push(
            "the protected branch is not there; the adopted commit stays in force".to_owned(),
        );
        // Whoever took it away is not obeyed, and not passed over either.
        summary.unanswered = Some("the protected branch is not there".to_owned());
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
pub(super) fn consider<S: Source, W, J: Journal, L, R: ReportSink>(
    memory: &mut Memory,
    outside: &mut Outside<S, W, J, L, R>,
    run: &Run<'_>,
    head: &CommitId,
    summary: &mut CycleSummary,
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
            let first = problems.iter().find(|it| it.severity == Severity::Error);
            let first = first.map(ToString::to_string).unwrap_or_default();
            let adopted = memory.facts().adopted.clone();
            tell::refusal(outside, run.policy, head, &adopted, &problems, summary);
            Some(format!("{} errors, the first: {first}", problems.errors()))
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

/// Whether an executor can be kept by a commit that somebody decided for; otherwise why not. One by which nothing can be kept
/// would only freeze it again.
pub(super) fn can_be_kept_by<S: Source>(
    source: &mut S,
    policy: &Policy,
    commit: &CommitId,
    now: Time,
) -> Result<(), String> {
    let files = source.files(commit).map_err(|error| chain(&error))?;
    files
        .and_then(|files| read_host(&files, policy, now.date()))
        .map(drop)
        .map_err(|problems| format!("it has {} errors", problems.errors()))
}

/// Writes down for which commit a person decided at the console of a daemon at work: `decision`, a reset. Gives why not where
/// the executor could not be kept by it, or stayed frozen all the same (F33).
///
/// # Errors
/// [`CycleError::Records`] when the journal did not take it; nothing has changed then.
pub fn adopt_as_decided<S: Source, W, J: Journal, L, R>(
    memory: &mut Memory,
    outside: &mut Outside<S, W, J, L, R>,
    policy: &Policy,
    horizon: &TagHorizon,
    decision: &Entry,
) -> Result<Result<(), String>, CycleError> {
    if let Some(why @ Frozen::Renamed { .. }) = &memory.facts().frozen {
        return Ok(Err(why.to_string()));
    }
    if let Entry::Reset { commit, at, .. } = decision {
        // It may have been pushed since; an origin that is silent is no obstacle where the mirror has the commit.
        let _ = outside.source.heads(horizon);
        if let Err(why) = can_be_kept_by(&mut outside.source, policy, commit, *at) {
            return Ok(Err(format!("nothing can be kept by {commit}: {why}")));
        }
    }
    record(memory, &mut outside.journal, decision)?;
    Ok(Ok(()))
}

pub(super) fn desired_of_adopted<S: Source, W, J, L, R>(
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
