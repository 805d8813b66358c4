//! The issue about what was found on hosts and no proposal caused.

use std::collections::BTreeSet;

use super::group::{self, Group};
use super::markdown::{ages, counted_blocks, full_report, whole_blocks};
use super::noun::Noun;
use super::page::{self, Block};
use super::view::{Sum, View};
use super::{Audience, Comment, FullReport, Host, Operator, ReportState, public};
use crate::commit::CommitId;
use crate::id::StepId;

/// What was found.
#[derive(Clone, Copy, Debug)]
pub struct Drift<'a> {
    /// The commit of the protected branch that the plans are for.
    pub commit: &'a CommitId,
    /// Each executor's plan for that commit. Where there is a base, steps that it has not are no drift.
    pub hosts: &'a [Host<'a>],
    /// Steps that the record of a merged proposal tells already: they are no drift either.
    pub told: &'a BTreeSet<StepId>,
    /// Who can read the text.
    pub audience: Audience,
    /// Where the whole report is.
    pub full: Option<FullReport<'a>>,
    /// How an operator elsewhere releases what waits.
    pub operator: Option<Operator<'a>>,
}

/// The issue: its line is the title, its pages are the body and what does not fit there. `None` when there is no drift,
/// and an issue that is open can be closed.
///
/// `limit` is in bytes, as for [`super::comment`].
pub fn drift(drift: &Drift<'_>, limit: usize) -> Option<Comment> {
    let Drift {
        commit,
        hosts,
        told,
        audience,
        full,
        operator,
    } = drift;
    let limit = limit.max(page::MIN_LIMIT);
    let mut views: Vec<View<'_>> = hosts.iter().map(View::of).collect();
    for view in &mut views {
        view.keep_drift(told);
        view.operator = *operator;
    }
    views.retain(|it| !it.steps.is_empty());
    views.sort_by(|a, b| a.executor.cmp(b.executor));
    if views.is_empty() {
        return None;
    }
    let sum = Sum::of(views.iter().flat_map(|it| &it.steps));
    let title = format!(
        "Drift on {}: {}",
        Noun::of(views.iter().map(|it| it.executor)).counted(views.len()),
        sum.outlook(("is repaired", "are repaired"))
    );
    let head = format!(
        "**{title}.**\n\nWhat is there is not what the protected branch asks for, and no proposal made it so.\n"
    );
    let mut foot = String::new();
    if let Some(full) = full {
        full_report(full, &mut foot);
    }
    // Where the branch goes on and the drift stays, nothing else is to be said.
    let since = format!("\nSeen first at commit `{commit}`.\n");
    let (mut blocks, ages) = match audience {
        Audience::Public => (public::blocks(&views, full.is_some()), String::new()),
        Audience::Team => {
            let ages = ages(&views);
            let mut groups = group::fold(views.iter());
            let worst = |it: &Group<'_, '_>| it.first().held().map(|it| it.class).max();
            groups.sort_by_key(|it| std::cmp::Reverse(worst(it)));
            let room = limit.saturating_sub(head.len() + foot.len() + since.len() + ages.len());
            let whole = whole_blocks(&groups, Vec::new(), room);
            (
                whole.unwrap_or_else(|| counted_blocks(&groups, &views)),
                ages,
            )
        }
    };
    blocks.push(Block::body(foot));
    let said = blocks.iter().map(|it| it.text.as_str());
    let content = super::content([head.as_str()].into_iter().chain(said));
    blocks.push(Block::body(since));
    blocks.push(Block::body(ages));
    let pages = page::pages(&head, &blocks, limit);
    Some(Comment::naming(
        content,
        pages,
        ReportState::Failure,
        &title,
    ))
}
