//! The parts of which every long text is made: held steps with their ids and commands, folded steps, counts.

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;

use super::escape;
use super::group::Group;
use super::ink::Markdown;
use super::page::Block;
use super::view::{Command, Origin, Shown, View};
use crate::gate::Reason;
use crate::ink::count;
use crate::plan::Note;
use crate::price::Class;
use crate::rooms::{self, Resource, Verb, say};
use crate::step::Step;

/// Bytes of a step's words in one code span. Longer ones continue in the next item.
const WORDS_IN_ITEM: usize = 6_000;

/// Bytes of ids, host by host, in one item. More continue in the next.
const IDS_IN_ITEM: usize = 4_000;

/// Bytes of commands in one fenced block; a command is taken apart only when it is longer than the second number.
const COMMANDS_IN_BLOCK: (usize, usize) = (4_000, 9_000);

/// Held steps, steps that are not benign, and notes that need attention.
pub(super) fn never_cut_blocks(group: &Group<'_, '_>, blocks: &mut Vec<Block>) {
    let view = group.first();
    held_blocks(group, blocks);
    let commands: Vec<Command> = group.views.iter().flat_map(|it| it.commands()).collect();
    command_blocks(&commands, blocks);
    for class in [Class::Destructive, Class::Privileged] {
        let runs: Vec<usize> = places(view, |it| it.held.is_none() && it.class == class);
        if !runs.is_empty() {
            let found = runs
                .iter()
                .any(|it| view.steps[*it].origin == Origin::Found);
            let verb = if runs.len() == 1 { "runs" } else { "run" };
            let when = if found {
                "without a release"
            } else {
                "on merge"
            };
            blocks.push(Block::section(format!(
                "\n#### {} {verb} {when}\n\n",
                count(runs.len(), &format!("{class} step"))
            )));
        }
        for place in runs {
            items(group, place, |_| {}, blocks);
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

fn places(view: &View<'_>, wanted: impl Fn(&Shown<'_>) -> bool) -> Vec<usize> {
    let steps = view.steps.iter().enumerate();
    steps
        .filter(|(_, it)| wanted(it))
        .map(|(place, _)| place)
        .collect()
}

/// Sections of held steps, the worst first, each step whole.
pub(super) fn held_blocks(group: &Group<'_, '_>, blocks: &mut Vec<Block>) {
    let view = group.first();
    for class in [Class::Destructive, Class::Privileged, Class::Benign] {
        let held = places(view, |it| it.held.is_some() && it.class == class);
        if held.is_empty() {
            continue;
        }
        let verb = if held.len() == 1 { "is" } else { "are" };
        blocks.push(Block::section(format!(
            "\n#### {} {verb} held\n\n",
            count(held.len(), &format!("{class} step"))
        )));
        // A limit speaks for many steps, and is told once.
        let reasons = held.iter().filter_map(|place| view.steps[*place].held);
        let limits: BTreeSet<&str> = reasons
            .filter_map(|reason| match reason {
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
        for place in held {
            items(group, place, |out| why(group, place, out), blocks);
        }
    }
}

/// Why a step waits.
fn why(group: &Group<'_, '_>, place: usize, out: &mut String) {
    let view = group.first();
    let Some(reason) = view.steps[place].held else {
        return;
    };
    match (reason, view.steps[place].after) {
        (Reason::Limit(_), _) => out.push_str("all removals of this plan wait together"),
        // The id of that step is another one on each host.
        (Reason::Needs(_), Some(after)) if group.only().is_none() => {
            let action = &view.steps[after].step.action;
            let _ = write!(out, "follows `{}` of ", action.spelled().word());
            escape::name(out, action.spelled().resource());
        }
        _ => escape::prose(out, &reason.to_string()),
    }
}

/// One step: the sentence, its words and id on each host, whose doing it is and why it waits.
fn items(group: &Group<'_, '_>, place: usize, why: impl Fn(&mut String), blocks: &mut Vec<Block>) {
    let Shown { step, origin, .. } = &group.first().steps[place];
    let origin = about_step(*origin);
    let words = step.words();
    let (first, rest) = words.split_at(words.len().min(WORDS_IN_ITEM));
    let mut sentence = "- ".to_owned();
    say(&step.action, &mut Markdown(&mut sentence));
    let mut text = format!("{sentence}:\n  ");
    match group.only() {
        Some(_) => escape::code(&mut text, &format!("{} {first}", step.id)),
        None => escape::code(&mut text, first),
    }
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
    // Words are ASCII (what is not is percent-encoded), so any place is a place to break.
    let mut rest = rest;
    while !rest.is_empty() {
        blocks.push(Block::body(std::mem::take(&mut text)));
        let (part, after) = rest.split_at(rest.len().min(WORDS_IN_ITEM));
        let what = match group.only() {
            Some(_) => format!("the words of `{}`", step.id),
            None => "its words".to_owned(),
        };
        let _ = write!(text, "- {what}, continued:\n  ");
        escape::code(&mut text, part);
        text.push('\n');
        rest = after;
    }
    if group.only().is_none() {
        for view in &group.views {
            if text.len() > IDS_IN_ITEM {
                blocks.push(Block::body(std::mem::take(&mut text)));
                let _ = writeln!(text, "{sentence}, on further {}:", group.noun().many);
            }
            text.push_str("  - ");
            escape::executor(&mut text, view.executor);
            let _ = writeln!(text, ": `{}`", view.steps[place].step.id);
        }
    }
    blocks.push(Block::body(text));
}

/// The commands, in fenced blocks that fit on a page.
pub(super) fn command_blocks(commands: &[Command], blocks: &mut Vec<Block>) {
    if commands.is_empty() {
        return;
    }
    blocks.push(Block::section("\n#### To release\n".to_owned()));
    let fenced = |text: &str| Block::body(format!("\n```sh\n{text}```\n"));
    let (block, command) = COMMANDS_IN_BLOCK;
    let mut text = String::new();
    for lines in commands.iter().map(Command::lines) {
        let length: usize = lines.iter().map(|it| it.len() + 1).sum();
        if !text.is_empty() && text.len() + length > block {
            blocks.push(fenced(&std::mem::take(&mut text)));
        }
        let mut lines = lines.iter().peekable();
        while let Some(line) = lines.next() {
            text.push_str(line);
            text.push('\n');
            if length > command && text.len() > block && lines.peek().is_some() {
                blocks.push(fenced(&std::mem::take(&mut text)));
                blocks.push(Block::body("\nThe same command goes on:\n".to_owned()));
            }
        }
    }
    if !text.is_empty() {
        blocks.push(fenced(&text));
    }
}

pub(super) fn about_origin(origin: Origin) -> &'static str {
    match origin {
        Origin::Change => "Applied on merge, by this change",
        Origin::Drift => "Drift already there, repaired with or without this change",
        Origin::Unknown => "Applied on merge",
        Origin::Found => "Repaired by the host itself",
    }
}

pub(super) fn about_step(origin: Origin) -> &'static str {
    match origin {
        Origin::Change => "by this change",
        Origin::Drift => "already there without this change",
        Origin::Unknown | Origin::Found => "",
    }
}

pub(super) fn benign_runs<'v, 'a>(view: &'v View<'a>) -> impl Iterator<Item = &'v Shown<'a>> {
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
        people.entry(step.resource()).or_default().push(step);
    }
    let mut out = format!(
        "\n<details>\n<summary>{title}: {} for {}</summary>\n\n",
        count(steps.len(), "step"),
        resources(steps.iter().copied())
    );
    for (user, steps) in people {
        out.push_str("- ");
        escape::name(&mut out, user);
        out.push('\n');
        for step in steps {
            out.push_str("  - ");
            say(&step.action, &mut Markdown(&mut out));
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

/// What steps are about, in numbers: `1 person and 2 guests`.
fn resources<'a>(steps: impl Iterator<Item = &'a Step>) -> String {
    let mut kinds: BTreeMap<Resource, BTreeSet<Cow<'a, str>>> = BTreeMap::new();
    for step in steps {
        let (kind, name) = rooms::counted(&step.action, &step.incarnation);
        kinds.entry(kind).or_default().insert(name);
    }
    let counted: Vec<String> = kinds
        .into_iter()
        .map(|(kind, names)| kind.counted(names.len()))
        .collect();
    match counted.as_slice() {
        [all @ .., last] if !all.is_empty() => format!("{} and {last}", all.join(", ")),
        _ => counted.concat(),
    }
}

/// Notes that ask for nothing, folded away; `None` when they are more than `room` bytes.
pub(super) fn folded_notes(notes: &[Note], room: usize) -> Option<String> {
    let calm: Vec<&Note> = notes.iter().filter(|it| !it.needs_attention()).collect();
    if calm.is_empty() {
        return Some(String::new());
    }
    let mut out = format!(
        "\n<details>\n<summary>{}</summary>\n\n",
        count(calm.len(), "note")
    );
    for note in calm {
        out.push_str(&note_item(note));
        // What cannot fit is not written to its end.
        if out.len() > room {
            return None;
        }
    }
    out.push_str("\n</details>\n");
    (out.len() <= room).then_some(out)
}

pub(super) fn note_item(note: &Note) -> String {
    let mut text = "- ".to_owned();
    escape::prose(&mut text, &note.to_string());
    text.push('\n');
    text
}

/// The benign steps and calm notes of some hosts, in numbers.
pub(super) fn tallies(views: &[&View<'_>]) -> Vec<Block> {
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
    let mut verbs: BTreeMap<Verb, usize> = BTreeMap::new();
    for step in steps {
        *verbs.entry(step.action.verb()).or_default() += 1;
    }
    let about = resources(steps.iter().copied());
    let verbs: Vec<String> = verbs
        .into_iter()
        .map(|(verb, number)| verb.row().tally(number))
        .collect();
    let steps = count(steps.len(), "step");
    format!("- {title}: {} ({steps} for {about})\n", verbs.join(", "))
}
