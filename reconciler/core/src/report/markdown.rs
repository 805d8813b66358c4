//! The comment on a proposal.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;

use super::page::{self, Block};
use super::phrase::{Markdown, count, phrase, tally};
use super::view::{self, Command, Counts, Origin, Shown, View};
use super::{About, Audience, Comment, Host, Problem, Proposal, State, escape};
use crate::action::{Class, Kind};
use crate::gate::Reason;
use crate::plan::Note;
use crate::step::Step;

/// Host names in the first line; the rest is counted.
const HOSTS_NAMED: usize = 5;

/// Bytes of a step's words in one code span. Longer ones continue in the next item.
const WORDS_IN_ITEM: usize = 6_000;

/// Bytes of commands in one fenced block.
const COMMANDS_IN_BLOCK: usize = 4_000;

/// Says what merging `proposal` would do, in pages of at most `limit` bytes.
///
/// The first line tells verdict, classes and hosts. Held and destructive steps come first and whole; benign steps are
/// folded, and become counts when they do not fit. Only held steps and what needs attention ever take a further page.
/// A `limit` below 16 KiB is taken as 16 KiB: less does not hold one step with its surroundings.
pub fn comment(about: &About<'_>, proposal: &Proposal<'_>, limit: usize) -> Comment {
    let limit = limit.max(page::MIN_LIMIT);
    match proposal {
        Proposal::Planned { hosts, warnings } => planned(about, hosts, warnings, limit),
        Proposal::Invalid(problems) => invalid(about, problems, limit),
        Proposal::Conflict(paths) => conflict(about, paths, limit),
        Proposal::Contained => {
            let line = "Nothing to merge: the protected branch already contains this commit";
            let page = format!("**{line}.**\n{}", foot(about, None));
            Comment::new(vec![page], State::Success, line)
        }
    }
}

fn planned(about: &About<'_>, hosts: &[Host<'_>], warnings: &[Problem], limit: usize) -> Comment {
    let mut views: Vec<View<'_>> = hosts.iter().map(View::of).collect();
    views.sort_by(|a, b| a.executor.cmp(b.executor));
    let digest = view::digest(&views);
    let counts = Counts::of(&views);
    let unread = views.iter().filter(|it| it.is_unread()).count();
    let known = unread < views.len();
    let verdict = match (known, views.len()) {
        (true, _) => counts.verdict("Merging"),
        (false, 0) => "No host was planned for, so what merging would do is not known".to_owned(),
        (false, hosts) => format!(
            "{} could not be read, so what merging would do is not known",
            count(hosts, "host")
        ),
    };
    let mut line = verdict.clone();
    if counts.steps() > 0 {
        let _ = write!(line, ": {}", counts.classes());
    }
    let mut head = format!("**{verdict}**");
    head_details(&mut head, about, &views, counts, unread);
    // The worst first.
    views.sort_by_key(|view| std::cmp::Reverse(view.held().map(|it| it.class).max()));

    let foot = Block::body(foot(about, Some(&digest)));
    let warned = warning_blocks(warnings);
    let blocks = match about.audience {
        Audience::Public => vec![Block::body(
            "\nThis repository can be read by anybody, so hosts and steps are only counted here.\n"
                .to_owned(),
        )],
        Audience::Team => {
            let room = limit.saturating_sub(head.len() + foot.text.len() + page::length(&warned));
            whole_blocks(&views, room).unwrap_or_else(|| counted_blocks(&views))
        }
    };
    let blocks: Vec<Block> = blocks.into_iter().chain(warned).chain([foot]).collect();
    let state = if known {
        State::Success
    } else {
        State::Failure
    };
    Comment::new(page::pages(&head, &blocks, limit), state, &line)
}

fn head_details(
    head: &mut String,
    about: &About<'_>,
    views: &[View<'_>],
    counts: Counts,
    unread: usize,
) {
    if counts.steps() > 0 {
        let _ = write!(head, ": {}", counts.classes());
        if views
            .iter()
            .any(|it| it.steps.iter().any(|it| it.origin != Origin::Unknown))
        {
            let change = counts.steps() - counts.drift;
            let _ = write!(
                head,
                "; {change} by this change, {} drift already there",
                counts.drift
            );
        }
    }
    let touched: Vec<&View<'_>> = views.iter().filter(|it| !it.steps.is_empty()).collect();
    if touched.len() > HOSTS_NAMED || (about.audience == Audience::Public && !touched.is_empty()) {
        let _ = write!(head, "; on {}", count(touched.len(), "host"));
    } else {
        for (i, view) in touched.iter().enumerate() {
            head.push_str(if i == 0 { "; on " } else { ", " });
            escape::value(head, &view.executor.to_string());
        }
    }
    if counts.attention > 0 {
        let need = if counts.attention == 1 {
            "needs"
        } else {
            "need"
        };
        let _ = write!(
            head,
            "; {} {need} attention",
            count(counts.attention, "note")
        );
    }
    if unread > 0 && unread < views.len() {
        let _ = write!(
            head,
            "; incomplete, as {} could not be read",
            count(unread, "host")
        );
    }
    head.push_str(".\n");
}

/// Everything, step by step; `None` when that is more than `room` bytes.
fn whole_blocks(views: &[View<'_>], room: usize) -> Option<Vec<Block>> {
    let mut blocks = Vec::new();
    let mut used = 0;
    for view in views {
        let from = blocks.len();
        if view.steps.is_empty() && view.unneeded.is_empty() && view.notes.is_empty() {
            continue;
        }
        blocks.push(host_heading(view));
        never_cut_blocks(view, &mut blocks);
        used += page::length(&blocks[from..]);
        for origin in [Origin::Change, Origin::Drift, Origin::Unknown] {
            let steps: Vec<&Step> = benign_runs(view)
                .filter(|it| it.origin == origin)
                .map(|it| it.step)
                .collect();
            let folded = folded_steps(about_origin(origin), &steps, room.checked_sub(used)?)?;
            used += folded.len();
            blocks.push(Block::body(folded));
        }
        let folded = folded_steps(
            "No longer needed after this change",
            &view.unneeded,
            room.checked_sub(used)?,
        )?;
        used += folded.len();
        blocks.push(Block::body(folded));
        let notes = folded_notes(view.notes);
        used += notes.len();
        blocks.push(Block::body(notes));
    }
    (used <= room).then_some(blocks)
}

/// What must be read, whole, and numbers for the rest.
fn counted_blocks(views: &[View<'_>]) -> Vec<Block> {
    let (told, calm): (Vec<&View<'_>>, Vec<&View<'_>>) = views.iter().partition(|it| {
        it.attention() > 0
            || it
                .steps
                .iter()
                .any(|it| it.held.is_some() || it.class != Class::Benign)
    });
    let mut blocks = Vec::new();
    for view in &told {
        blocks.push(host_heading(view));
        never_cut_blocks(view, &mut blocks);
        blocks.extend(tallies(&[view]));
    }
    if let [view] = calm.as_slice() {
        blocks.push(host_heading(view));
    } else if !calm.is_empty() {
        let further = if told.is_empty() { "" } else { "further " };
        blocks.push(Block::host(format!(
            "\n### {} {further}hosts, nothing held\n",
            calm.len()
        )));
    }
    blocks.extend(tallies(&calm));
    blocks
}

fn host_heading(view: &View<'_>) -> Block {
    let mut text = "\n### ".to_owned();
    escape::value(&mut text, &view.executor.to_string());
    text.push('\n');
    Block::host(text)
}

/// Held steps, steps that are not benign, and notes that need attention.
fn never_cut_blocks(view: &View<'_>, blocks: &mut Vec<Block>) {
    let held = view
        .held()
        .filter_map(|it| Some((it.step, it.class, it.held?)));
    let origin: BTreeMap<_, _> = view
        .steps
        .iter()
        .map(|it| (it.step.id, it.origin))
        .collect();
    held_blocks(
        held,
        |step| origin.get(&step.id).copied().unwrap_or(Origin::Unknown),
        blocks,
    );
    let held = view
        .held()
        .filter_map(|it| Some((it.step, it.class, it.held?)));
    command_blocks(&view::commands(view.executor, held), blocks);
    for class in [Class::Destructive, Class::Privileged] {
        let runs: Vec<&Shown<'_>> = view
            .steps
            .iter()
            .filter(|it| it.held.is_none() && it.class == class)
            .collect();
        if !runs.is_empty() {
            let verb = if runs.len() == 1 { "runs" } else { "run" };
            blocks.push(Block::section(format!(
                "\n#### {} {verb} on merge\n\n",
                count(runs.len(), &format!("{class} step"))
            )));
        }
        for run in runs {
            items(run.step, about_step(run.origin), |_| {}, blocks);
        }
    }
    let mut attention = view
        .notes
        .iter()
        .filter(|it| it.needs_attention())
        .peekable();
    if attention.peek().is_some() {
        blocks.push(Block::section("\n#### Needs attention\n\n".to_owned()));
    }
    blocks.extend(attention.map(|note| Block::body(note_item(note))));
}

/// Sections of held steps, the worst first, each step whole.
pub(super) fn held_blocks<'a>(
    held: impl Iterator<Item = (&'a Step, Class, &'a Reason)>,
    origin: impl Fn(&Step) -> Origin,
    blocks: &mut Vec<Block>,
) {
    let mut by_class: BTreeMap<std::cmp::Reverse<Class>, Vec<(&Step, &Reason)>> = BTreeMap::new();
    for (step, class, reason) in held {
        by_class
            .entry(std::cmp::Reverse(class))
            .or_default()
            .push((step, reason));
    }
    for (std::cmp::Reverse(class), steps) in by_class {
        let verb = if steps.len() == 1 { "is" } else { "are" };
        blocks.push(Block::section(format!(
            "\n#### {} {verb} held\n\n",
            count(steps.len(), &format!("{class} step"))
        )));
        // A limit speaks for many steps, and is told once.
        let limits: BTreeSet<&str> = steps
            .iter()
            .filter_map(|(_, reason)| match reason {
                Reason::Limit(why) => Some(why.as_str()),
                _ => None,
            })
            .collect();
        for why in limits {
            let mut text = String::new();
            escape::prose(&mut text, why);
            text.push_str(".\n\n");
            blocks.push(Block::body(text));
        }
        for (step, reason) in steps {
            let why = |out: &mut String| match reason {
                Reason::Limit(_) => out.push_str("all removals of this plan wait together"),
                _ => escape::prose(out, &reason.to_string()),
            };
            items(step, about_step(origin(step)), why, blocks);
        }
    }
}

/// One step: the sentence, its id and words, whose doing it is and why it waits.
fn items(step: &Step, origin: &str, why: impl Fn(&mut String), blocks: &mut Vec<Block>) {
    let words = step.words();
    let (first, rest) = words.split_at(words.len().min(WORDS_IN_ITEM));
    let mut text = "- ".to_owned();
    phrase(&step.action, &mut Markdown(&mut text));
    text.push_str(":\n  ");
    escape::code(&mut text, &format!("{} {first}", step.id));
    let mut because = String::new();
    why(&mut because);
    let separator = if origin.is_empty() || because.is_empty() {
        ""
    } else {
        "; "
    };
    if !(origin.is_empty() && because.is_empty()) {
        let _ = write!(text, "\n  {origin}{separator}{because}");
    }
    text.push('\n');
    blocks.push(Block::body(text));
    // Words are ASCII (what is not is percent-encoded), so any place is a place to break.
    let mut rest = rest;
    while !rest.is_empty() {
        let (part, after) = rest.split_at(rest.len().min(WORDS_IN_ITEM));
        let mut text = format!("- the words of `{}`, continued:\n  ", step.id);
        escape::code(&mut text, part);
        text.push('\n');
        blocks.push(Block::body(text));
        rest = after;
    }
}

/// The commands, in fenced blocks that fit on a page.
pub(super) fn command_blocks(commands: &[Command], blocks: &mut Vec<Block>) {
    if commands.is_empty() {
        return;
    }
    blocks.push(Block::section("\n#### To release\n".to_owned()));
    let mut text = String::new();
    for line in commands.iter().flat_map(Command::lines) {
        text.push_str(&line);
        text.push('\n');
        if text.len() > COMMANDS_IN_BLOCK {
            blocks.push(Block::body(format!("\n```sh\n{text}```\n")));
            text.clear();
        }
    }
    if !text.is_empty() {
        blocks.push(Block::body(format!("\n```sh\n{text}```\n")));
    }
}

fn about_origin(origin: Origin) -> &'static str {
    match origin {
        Origin::Change => "Applied on merge, by this change",
        Origin::Drift => "Drift already there, repaired with or without this change",
        Origin::Unknown => "Applied on merge",
    }
}

fn about_step(origin: Origin) -> &'static str {
    match origin {
        Origin::Change => "by this change",
        Origin::Drift => "already there without this change",
        Origin::Unknown => "",
    }
}

fn benign_runs<'v, 'a>(view: &'v View<'a>) -> impl Iterator<Item = &'v Shown<'a>> {
    view.steps
        .iter()
        .filter(|it| it.held.is_none() && it.class == Class::Benign)
}

/// Steps folded away under a line that counts them, person by person; `None` when that is more than `room` bytes.
pub(super) fn folded_steps(title: &str, steps: &[&Step], room: usize) -> Option<String> {
    if steps.is_empty() {
        return Some(String::new());
    }
    // No step takes less: what cannot fit is not written first.
    const LEAST: usize = 30;
    if steps.len() > room / LEAST {
        return None;
    }
    let mut people: BTreeMap<&str, Vec<&Step>> = BTreeMap::new();
    for step in steps {
        people.entry(step.action.user()).or_default().push(step);
    }
    let mut out = format!(
        "\n<details>\n<summary>{title}: {} for {}</summary>\n\n",
        count(steps.len(), "step"),
        persons(people.len())
    );
    for (user, steps) in people {
        out.push_str("- ");
        escape::name(&mut out, user);
        out.push('\n');
        for step in steps {
            out.push_str("  - ");
            phrase(&step.action, &mut Markdown(&mut out));
            out.push_str(": ");
            escape::code(&mut out, &step.words());
            out.push('\n');
        }
        if out.len() > room {
            return None;
        }
    }
    out.push_str("\n</details>\n");
    (out.len() <= room).then_some(out)
}

fn persons(number: usize) -> String {
    if number == 1 {
        "1 person".to_owned()
    } else {
        format!("{number} people")
    }
}

fn folded_notes(notes: &[Note]) -> String {
    let calm: Vec<&Note> = notes.iter().filter(|it| !it.needs_attention()).collect();
    if calm.is_empty() {
        return String::new();
    }
    let mut out = format!(
        "\n<details>\n<summary>{}</summary>\n\n",
        count(calm.len(), "note")
    );
    calm.iter().for_each(|note| out.push_str(&note_item(note)));
    out.push_str("\n</details>\n");
    out
}

pub(super) fn note_item(note: &Note) -> String {
    let mut text = "- ".to_owned();
    escape::prose(&mut text, &note.to_string());
    text.push('\n');
    text
}

/// The benign steps and calm notes of some hosts, in numbers.
fn tallies(views: &[&View<'_>]) -> Vec<Block> {
    let mut runs: BTreeMap<Origin, Vec<&Step>> = BTreeMap::new();
    for shown in views.iter().flat_map(|it| benign_runs(it)) {
        runs.entry(shown.origin).or_default().push(shown.step);
    }
    let mut lines: Vec<String> = runs
        .iter()
        .map(|(origin, steps)| counted_steps(about_origin(*origin), steps))
        .collect();
    let unneeded: Vec<&Step> = views
        .iter()
        .flat_map(|it| it.unneeded.iter().copied())
        .collect();
    if !unneeded.is_empty() {
        lines.push(counted_steps(
            "No longer needed after this change",
            &unneeded,
        ));
    }
    let notes: usize = views.iter().map(|it| it.notes.len() - it.attention()).sum();
    if notes > 0 {
        lines.push(format!("- {} that ask for nothing\n", count(notes, "note")));
    }
    if lines.is_empty() {
        return Vec::new();
    }
    vec![
        Block::section("\n#### In numbers, being too much to list\n\n".to_owned()),
        Block::body(lines.concat()),
    ]
}

/// `- Applied on merge, by this change: create 12 accounts, make 12 homes (24 steps for 12 people)`
pub(super) fn counted_steps(title: &str, steps: &[&Step]) -> String {
    let mut kinds: BTreeMap<Kind, usize> = BTreeMap::new();
    for step in steps {
        *kinds.entry(step.action.kind()).or_default() += 1;
    }
    let people: BTreeSet<&str> = steps.iter().map(|it| it.action.user()).collect();
    let kinds: Vec<String> = kinds
        .into_iter()
        .map(|(kind, number)| tally(kind, number))
        .collect();
    let (steps, people) = (count(steps.len(), "step"), persons(people.len()));
    format!("- {title}: {} ({steps} for {people})\n", kinds.join(", "))
}

fn warning_blocks(warnings: &[Problem]) -> Vec<Block> {
    /// Bytes of warnings on a page that has better things to say.
    const ROOM: usize = 4_000;
    if warnings.is_empty() {
        return Vec::new();
    }
    let items: Vec<String> = warnings.iter().map(problem_item).collect();
    let rest = |more: usize| format!("- and {more} more; `muster check` shows all\n");
    vec![
        Block::host(format!("\n### {}\n\n", count(warnings.len(), "warning"))),
        Block::body(page::one_page("", &items, rest, "", ROOM)),
    ]
}

fn invalid(about: &About<'_>, problems: &[Problem], limit: usize) -> Comment {
    let line = format!(
        "Not valid: {}; merging this would change nothing anywhere",
        count(problems.len(), "error")
    );
    let items: Vec<String> = problems.iter().map(problem_item).collect();
    let rest = |more: usize| format!("- and {more} more; `muster check` shows all\n");
    let page = page::one_page(
        &format!("**{line}.**\n\n"),
        &items,
        rest,
        &foot(about, None),
        limit,
    );
    Comment::new(vec![page], State::Failure, &line)
}

pub(super) fn problem_item(problem: &Problem) -> String {
    let Problem {
        place,
        rule,
        text,
        help,
    } = problem;
    let mut out = "- ".to_owned();
    // Whole: line and column stand at its end.
    escape::code(&mut out, place);
    out.push_str(": ");
    escape::prose(&mut out, text);
    out.push_str(" (");
    escape::value(&mut out, rule);
    out.push_str(")\n");
    if let Some(help) = help {
        out.push_str("  help: ");
        escape::prose(&mut out, help);
        out.push('\n');
    }
    out
}

fn conflict(about: &About<'_>, paths: &[String], limit: usize) -> Comment {
    let line = format!(
        "Conflict with the protected branch in {}; rebase and push again",
        count(paths.len(), "path")
    );
    let item = |path: &String| {
        let mut out = "- ".to_owned();
        escape::value(&mut out, path);
        out.push('\n');
        out
    };
    let items: Vec<String> = paths.iter().map(item).collect();
    let rest = |more: usize| format!("- and {more} more\n");
    let page = page::one_page(
        &format!("**{line}.**\n\n"),
        &items,
        rest,
        &foot(about, None),
        limit,
    );
    Comment::new(vec![page], State::Failure, &line)
}

/// Which commits, which day, which plan.
fn foot(about: &About<'_>, digest: Option<&str>) -> String {
    let About {
        head,
        protected,
        branch,
        today,
        audience: _,
    } = about;
    let mut out = format!("\nCommit `{head}`");
    if let Some(branch) = branch {
        out.push_str(" of ");
        escape::value(&mut out, branch);
    }
    let _ = write!(out, " onto `{protected}`, for {today} (UTC)");
    if let Some(digest) = digest {
        let _ = write!(out, "; plan `{digest}`");
    }
    out.push_str(".\n");
    out
}
