//! What became of a commit of the protected branch: a note on that commit.

use std::fmt::Write as _;
use std::sync::Arc;

use super::group::Group;
use super::ink::Markdown;
use super::markdown::{how_many, problem_item};
use super::page::{self, Block};
use super::section::{Fold, counted_steps, first_blocks, note_item, steps_text};
use super::view::View;
use super::{Comment, Problem, ReportState, attention_first, escape};
use crate::commit::CommitId;
use crate::executor::Executor;
use crate::facts::Frozen;
use crate::gate::Held;
use crate::ink::count;
use crate::journal::StepResult;
use crate::plan::Note;
use crate::release::claim::RefusedRelease;
use crate::rooms::say;
use crate::step::Step;
use crate::time::Time;

/// One cycle at an adopted commit, as the world showed it afterwards.
#[derive(Clone, Copy, Debug)]
pub struct Outcome<'a> {
    /// Who ran it.
    pub executor: &'a Executor,
    /// The commit that was adopted.
    pub adopted: &'a CommitId,
    /// When the cycle began.
    pub at: Time,
    /// The steps that had an intent, and how each came out.
    pub results: &'a [(Arc<Step>, StepResult)],
    /// The steps that wait.
    pub held: &'a [Held],
    /// What people should know beside them.
    pub notes: &'a [Note],
}

/// Why a commit of the protected branch was not adopted.
#[derive(Clone, Copy, Debug)]
pub enum Refused<'a> {
    /// It does not validate.
    Invalid(&'a [Problem]),
    /// The executor is frozen.
    Frozen(&'a Frozen),
}

/// Tells what was done, what failed and why, and what waits for which command.
///
/// `limit` is in bytes, as for [`super::comment`].
pub fn outcome(outcome: &Outcome<'_>, limit: usize) -> Comment {
    let Outcome {
        executor,
        adopted,
        at,
        results,
        held,
        notes,
    } = outcome;
    let limit = limit.max(page::MIN_LIMIT);
    let mut done: Vec<&Step> = Vec::new();
    let mut undone: Vec<(&Step, &'static str, &str)> = Vec::new();
    for (step, result) in *results {
        match result {
            StepResult::Done => done.push(step),
            StepResult::NeedsOperator(why) => {
                undone.push((step, "stopped halfway; needs an operator", why))
            }
            StepResult::Unfinished(why) => undone.push((step, "begun, and goes on", why)),
            StepResult::Failed(why) => undone.push((step, "failed", why)),
            StepResult::Overtaken(why) => undone.push((step, "done, and changed since", why)),
            StepResult::NotBegun => {
                undone.push((step, "not begun", "tried again in the next cycle"))
            }
        }
    }
    let mut line = if results.is_empty() && held.is_empty() {
        "nothing to change".to_owned()
    } else {
        format!("{} done", count(done.len(), "step"))
    };
    if !undone.is_empty() {
        let _ = write!(line, ", {} not done", undone.len());
    }
    if !held.is_empty() {
        let _ = write!(line, ", {} held", held.len());
    }
    let mut head = "**".to_owned();
    escape::value(&mut head, &executor.to_string());
    let _ = writeln!(head, " adopted `{}`: {line}.**", adopted.short());

    let mut blocks = Vec::new();
    if !undone.is_empty() {
        blocks.push(Block::section("\n#### Not done\n\n".to_owned()));
    }
    for (step, how, why) in &undone {
        let mut text = "- ".to_owned();
        say(&step.action, &mut Markdown(&mut text));
        let _ = write!(text, ": {how}: ");
        escape::prose(&mut text, why);
        let _ = writeln!(text, " (step `{}`)", step.id);
        blocks.push(Block::body(text));
    }
    let waiting = View::waiting(executor, held, |_| true);
    let alone = Group {
        views: vec![&waiting],
    };
    first_blocks(&alone, &mut blocks);
    let attention: Vec<Block> = attention_first(notes)
        .filter(|it| it.needs_attention())
        .map(|it| Block::body(note_item(it)))
        .collect();
    if !attention.is_empty() {
        blocks.push(Block::section("\n#### Needs attention\n\n".to_owned()));
        blocks.extend(attention);
    }
    let foot = format!("\nCommit `{adopted}`, cycle of {at}.\n");
    let room = limit.saturating_sub(head.len() + page::length(&blocks) + foot.len());
    let told = steps_text("Done", &done, Fold::IfLong, room);
    blocks.push(Block::body(
        told.unwrap_or_else(|| format!("\n{}", counted_steps("Done", &done))),
    ));
    blocks.push(Block::body(foot));
    let state = if undone.is_empty() {
        ReportState::Success
    } else {
        ReportState::Failure
    };
    Comment::new(
        page::pages(&head, &blocks, limit),
        state,
        &format!("{executor}: {line}"),
    )
}

/// Tells why `refused` was not adopted, and which commit is enforced instead.
pub fn refusal(
    executor: &Executor,
    refused: &CommitId,
    adopted: &CommitId,
    why: &Refused<'_>,
    limit: usize,
) -> Comment {
    let limit = limit.max(page::MIN_LIMIT);
    let mut head = "**".to_owned();
    escape::value(&mut head, &executor.to_string());
    let _ = write!(head, " did not adopt `{}`**: ", refused.short());
    let (line, items) = match why {
        Refused::Invalid(problems) => (
            format!(
                "{} in the state repository",
                count(how_many(problems), "error")
            ),
            problems.iter().map(problem_item).collect(),
        ),
        Refused::Frozen(frozen) => {
            let mut item = "- ".to_owned();
            escape::prose(&mut item, &frozen.to_string());
            item.push('\n');
            ("it is frozen".to_owned(), vec![item])
        }
    };
    let _ = write!(head, "{line}.\n\n");
    let foot = format!("\nIt goes on enforcing `{adopted}`. Refused: `{refused}`.\n");
    let rest = |more: usize| format!("- and {more} more; `muster check` shows all\n");
    let page = page::one_page(&head, &items, rest, &foot, limit);
    let line = format!("{executor} did not adopt {}: {line}", refused.short());
    Comment::new(vec![page], ReportState::Failure, &line)
}

/// Tells, where a refusal of it was told, that a release runs: nothing stale stays there.
pub fn release_claimed(executor: &Executor, tag: &str, principals: &[String]) -> String {
    let mut out = "**".to_owned();
    escape::value(&mut out, &executor.to_string());
    let _ = write!(out, " takes up the release `{tag}`**.\n\nSigned by ");
    escape::prose(&mut out, &principals.join(", "));
    out.push_str(". `muster release list` shows how far it is.\n");
    out
}

/// Tells on the commit that a signed release names why the release does not run.
pub fn release_refused(executor: &Executor, refused: &RefusedRelease) -> String {
    let RefusedRelease {
        tag,
        principals,
        code,
        why,
        ..
    } = refused;
    let mut out = "**".to_owned();
    escape::value(&mut out, &executor.to_string());
    let how = match code.waits() {
        true => "waits for another signature on",
        false => "refuses",
    };
    let _ = write!(out, " {how} the release `{tag}`**: `{code}`.\n\n");
    escape::prose(&mut out, why);
    out.push_str(".\n\nSigned by ");
    escape::prose(&mut out, &principals.join(", "));
    let _ = writeln!(out, ". `muster release verify {tag}` shows every check.");
    out
}
