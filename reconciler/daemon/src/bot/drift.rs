//! The issue about what was found on hosts and no proposal caused.

use std::collections::BTreeSet;

use muster_core::fleet::{BotStore, Fleet};
use muster_core::forge::{ForgeError, Issue, IssueNumber};
use muster_core::id::StepId;
use muster_core::ledger::told::{DRIFT_REPORT, Stage, ToldIssue};
use muster_core::report::{self, Audience, Drift, FullReport, Mark, Sticky};
use muster_core::world::Pulls;

use super::post::room;
use super::turn::{Turn, whole_or_with_report};

/// Makes the issue say what there is, or closes it.
pub(super) fn tell<S: Pulls, F: Fleet, B: BotStore>(
    turn: &mut Turn<'_, S, F, B>,
) -> Result<(), ForgeError> {
    let elsewhere: BTreeSet<StepId> = turn
        .told()
        .proposals
        .values()
        .filter_map(|it| match &it.stage {
            Stage::Merged { held, .. } => Some(held),
            Stage::Open | Stage::Closed => None,
        })
        .flatten()
        .copied()
        .collect();
    let commit = turn.protected.clone();
    let outlook = turn.memory.survey.as_it_is(&commit, turn.at);
    let hosts = outlook.hosts();
    let run = turn.run;
    let of = |audience: Audience, full: Option<FullReport<'_>>, limit: usize| {
        let drift = Drift {
            commit: &commit,
            hosts: &hosts,
            told: &elsewhere,
            audience,
            full,
            operator: run.operator("drift"),
        };
        report::drift(&drift, limit)
    };
    let before = turn.told().all.drift.clone();
    let marker = report::marker(&Mark {
        sticky: Sticky::Drift,
        repo: turn.mark(),
        page: 1,
    });
    let known = before.as_ref().map(|it| IssueNumber(it.number));
    if of(turn.audience, None, usize::MAX).is_none() {
        // What is not there on hosts that nobody heard of lately may be there all the same.
        let open = before.filter(|it| it.content.is_some());
        let all_heard = hosts.len() == turn.summary.hosts;
        let Some(open) = open.filter(|_| all_heard) else {
            return Ok(());
        };
        let closed = turn.outside.writer.close_issue(known, &marker)?;
        if matches!(closed, muster_core::forge::Closed::Closed(_)) {
            turn.summary.sent += 1;
        }
        turn.told_mut().all.drift = Some(ToldIssue {
            content: None,
            ..open
        });
        return Ok(());
    }
    let (comment, reports) = whole_or_with_report(
        turn.audience,
        room(turn.mark()),
        DRIFT_REPORT,
        |audience, full, limit| {
            of(audience, full, limit).expect("whether there is drift does not depend on who reads")
        },
    );
    let says_so = before
        .as_ref()
        .is_some_and(|it| it.content.as_deref() == Some(comment.content.as_str()));
    if says_so {
        return Ok(());
    }
    turn.reports.extend(reports);
    let issue = Issue {
        title: comment.line.clone(),
        // Held steps of thousands of hosts: the first page, and on it where all of it stands.
        text: comment.pages.first().cloned().unwrap_or_default(),
    };
    let put = turn.outside.writer.put_issue(known, &marker, &issue)?;
    if let Some(IssueNumber(number)) = put.id() {
        turn.summary.sent += 1;
        turn.told_mut().all.drift = Some(ToldIssue {
            number,
            content: Some(comment.content),
        });
    }
    Ok(())
}
