//! The same for a terminal: a line for each step, and no markup.

use std::fmt::Write as _;

use super::ink::Plain;
use super::noun::Noun;
use super::view::{self, Counts, View};
use super::{Host, attention_first, escape};
use crate::commit::CommitId;
use crate::rooms::say;

/// Everything about some hosts' plans, line by line; the first line is [`summary`].
pub fn text(hosts: &[Host<'_>]) -> String {
    let views: Vec<View<'_>> = hosts.iter().map(View::of).collect();
    let mut out = line(&views);
    out.push('\n');
    // About a line for each step; what is not used is never touched.
    let steps: usize = views.iter().map(|it| it.steps.len()).sum();
    out.reserve(steps.saturating_mul(192));
    for view in &views {
        host(view, &mut out);
    }
    out
}

/// One line about some hosts' plans: `applies 12 steps; 1 step is held: 1 destructive, 12 benign`.
pub fn summary(hosts: &[Host<'_>]) -> String {
    let views: Vec<View<'_>> = hosts.iter().map(View::of).collect();
    line(&views)
}

/// What a commit status says until the plan is there.
pub fn pending(head: &CommitId) -> String {
    format!("planning {}", head.short())
}

fn line(views: &[View<'_>]) -> String {
    let counts = Counts::of(views);
    let unread = views.iter().filter(|it| it.is_unread()).count();
    let mut out = match (unread, views.len()) {
        (_, 0) => "no host was planned for".to_owned(),
        (unread, hosts) if unread == hosts => {
            let noun = Noun::of(views.iter().map(|it| it.executor)).one;
            format!("the {noun} could not be read, so nothing is planned")
        }
        _ => match counts.steps() {
            0 => "nothing to change".to_owned(),
            _ => format!("{}: {}", counts.verdict("this plan"), counts.classes()),
        },
    };
    if counts.attention > 0 {
        let need = if counts.attention == 1 {
            "note needs"
        } else {
            "notes need"
        };
        let _ = write!(out, "; {} {need} attention", counts.attention);
    }
    out
}

fn host(view: &View<'_>, out: &mut String) {
    if view.steps.is_empty() && view.notes.is_empty() {
        return;
    }
    escape::visible(out, &view.executor.to_string());
    out.push('\n');
    let mut held: Vec<_> = view
        .steps
        .iter()
        .filter_map(|it| Some((it, it.held?)))
        .collect();
    held.sort_by_key(|(shown, _)| std::cmp::Reverse(shown.class));
    for (shown, reason) in held {
        let _ = write!(
            out,
            "  held    {} {}  ({}: ",
            shown.step.id,
            shown.step.words(),
            shown.class
        );
        escape::visible(out, &reason.to_string());
        out.push_str(")\n");
    }
    let held = view
        .held()
        .filter_map(|it| Some((it.step, it.class, it.held?)));
    for command in view::commands(view.executor, held) {
        for (i, line) in command.lines().iter().enumerate() {
            let _ = writeln!(
                out,
                "  {} {line}",
                if i == 0 { "release" } else { "       " }
            );
        }
    }
    let mut runs: Vec<_> = view.steps.iter().filter(|it| it.held.is_none()).collect();
    runs.sort_by_key(|it| (std::cmp::Reverse(it.class), it.step.resource()));
    for shown in runs {
        out.push_str("  apply   ");
        say(&shown.step.action, &mut Plain(out));
        out.push('\n');
    }
    for note in attention_first(view.notes) {
        out.push_str(if note.needs_attention() {
            "  look    "
        } else {
            "  note    "
        });
        escape::visible(out, &note.to_string());
        out.push('\n');
    }
}
