//! The parts of which every long text is made: held steps with their ids and commands, folded steps, counts.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;

use super::deed::resources;
use super::escape;
use super::group::Group;
use super::ink::{Markdown, say_below};
use super::page::Block;
use super::view::{Command, Origin, Shown, View, counted};
use crate::gate::Reason;
use crate::ink::{Replaced, count};
use crate::plan::Note;
use crate::price::Class;
use crate::rooms::{self, Verb, say};
use crate::step::Step;

/// Bytes of a step's words in one code span. Longer ones continue in the next item.
const WORDS_IN_ITEM: usize = 6_000;

/// Bytes of ids, host by host, in one item. More continue in the next.
const IDS_IN_ITEM: usize = 4_000;

/// Bytes of commands in one fenced block; a command is taken apart only when it is longer than the second number.
const COMMANDS_IN_BLOCK: (usize, usize) = (4_000, 9_000);

/// People whose sentences stand open; of more, they are folded.
const OPEN_PEOPLE: usize = 10;

/// Bytes of steps under one fold. More continue in the next.
const STEPS_IN_FOLD: usize = 8_000;

/// What must be read first, and is never cut: what the change makes wait and how to release it, its steps that are not
/// benign and run all the same, and notes that need attention.
pub(super) fn first_blocks(group: &Group<'_, '_>, blocks: &mut Vec<Block>) {
    let view = group.first();
    held_blocks(group, blocks);
    let commands: Vec<Command> = group
        .views
        .iter()
        .flat_map(|it| it.commands(true))
        .collect();
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
                "on merge, without a release"
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

/// What waits already and the change has nothing to do with: folded, and never cut.
pub(super) fn already_blocks(group: &Group<'_, '_>, blocks: &mut Vec<Block>) {
    let view = group.first();
    let mut inside = Vec::new();
    let held = held_places(view, false);
    for place in &held {
        let with_class = |out: &mut String| {
            let before = out.len();
            why(group, *place, out);
            let colon = if out.len() > before { "; " } else { "" };
            out.insert_str(before, &format!("{}{colon}", view.steps[*place].class));
        };
        items(group, *place, with_class, &mut inside);
    }
    let commands: Vec<Command> = group
        .views
        .iter()
        .flat_map(|it| it.commands(false))
        .collect();
    command_blocks(&commands, &mut inside);
    let title = match held.len() {
        1 => "1 step waits already, not by this change".to_owned(),
        many => format!("{many} steps wait already, not by this change"),
    };
    let mut title = title + &on_each(group);
    let mut text = String::new();
    let mut inside = inside.into_iter().peekable();
    while let Some(block) = inside.next() {
        text.push_str(&block.text);
        let next = inside.peek().map(|it| it.text.len());
        if next.is_none_or(|it| text.len() + it > STEPS_IN_FOLD) {
            blocks.push(Block::body(fold(&title, &std::mem::take(&mut text))));
            title.push_str(if title.ends_with(", continued") {
                ""
            } else {
                ", continued"
            });
        }
    }
}

/// `text` under a line that it folds away behind.
fn fold(title: &str, text: &str) -> String {
    format!("\n<details>\n<summary>{title}</summary>\n\n{text}\n</details>\n")
}

/// What a title says where it speaks for each of several executors.
pub(super) fn on_each(group: &Group<'_, '_>) -> String {
    match group.only() {
        Some(_) => String::new(),
        None => format!(", on each {}", group.noun().one),
    }
}

fn places(view: &View<'_>, wanted: impl Fn(&Shown<'_>) -> bool) -> Vec<usize> {
    let steps = view.steps.iter().enumerate();
    steps
        .filter(|(_, it)| wanted(it))
        .map(|(place, _)| place)
        .collect()
}

/// The held steps that are told with the change, or all other ones; the worst first.
fn held_places(view: &View<'_>, with_change: bool) -> Vec<usize> {
    let mut held = places(view, |it| {
        it.held.is_some() && it.with_change == with_change
    });
    held.sort_by_key(|it| std::cmp::Reverse(view.steps[*it].class));
    held
}

/// A reason where it begins a sentence.
pub(super) fn sentence(why: &str) -> String {
    let mut letters = why.chars();
    match letters.next() {
        Some(first) => first.to_uppercase().chain(letters).collect(),
        None => String::new(),
    }
}

/// Sections of the held steps that are told with the change, the worst first, each step whole.
fn held_blocks(group: &Group<'_, '_>, blocks: &mut Vec<Block>) {
    let view = group.first();
    let held = held_places(view, true);
    // A limit speaks for many steps, and is told once.
    let mut limits: BTreeSet<&str> = BTreeSet::new();
    for same in held.chunk_by(|a, b| view.steps[*a].class == view.steps[*b].class) {
        let class = view.steps[same[0]].class;
        for waits in [true, false] {
            let of: Vec<usize> = same
                .iter()
                .copied()
                .filter(|it| view.steps[*it].waits_for_release() == waits)
                .collect();
            if of.is_empty() {
                continue;
            }
            let how = match (of.len(), waits) {
                (1, true) => "waits for a signed release",
                (_, true) => "wait for a signed release",
                (1, false) => "is held",
                (_, false) => "are held",
            };
            let drift = drifting(of.iter().map(|place| &view.steps[*place]));
            blocks.push(Block::section(format!(
                "\n#### {} {how}{drift}\n\n",
                count(of.len(), &format!("{class} step"))
            )));
            let reasons = of.iter().filter_map(|place| view.steps[*place].held);
            for reason in reasons {
                if let Reason::Limit(why) = reason
                    && limits.insert(why)
                {
                    let mut text = String::new();
                    escape::prose(&mut text, &sentence(why));
                    text.push_str(".\n\n");
                    blocks.push(Block::body(text));
                }
            }
            for place in of {
                items(group, place, |out| why(group, place, out), blocks);
            }
        }
    }
}

/// How many of several steps that are told with a change are not by it: `, 1 of them not by this change`. The first line counts
/// those apart.
pub(super) fn drifting<'a>(steps: impl ExactSizeIterator<Item = &'a Shown<'a>>) -> String {
    let all = steps.len();
    match steps.filter(|it| it.origin == Origin::Drift).count() {
        0 => String::new(),
        drift if drift == all => ", not by this change".to_owned(),
        drift => format!(", {drift} of them not by this change"),
    }
}

/// Why a step waits.
fn why(group: &Group<'_, '_>, place: usize, out: &mut String) {
    let view = group.first();
    let Some(reason) = view.steps[place].held else {
        return;
    };
    match (reason, view.steps[place].after) {
        // The heading says it.
        (Reason::PendingSignature, _) => {}
        (Reason::Limit(_), _) => out.push_str("all removals of this plan wait together"),
        // The id of that step is another one on each host.
        (Reason::Needs(_), Some(after)) if group.only().is_none() => {
            let action = &view.steps[after as usize].step.action;
            let _ = write!(out, "follows `{}` of ", action.spelled().word());
            escape::name(out, action.spelled().resource());
        }
        _ => escape::prose(out, &reason.to_string()),
    }
}

/// One step: the sentence, its words and id on each host, and what is special about it: that it is there without the
/// change although it is told with it, and why it waits if not for a signature alone.
fn items(group: &Group<'_, '_>, place: usize, why: impl Fn(&mut String), blocks: &mut Vec<Block>) {
    let Shown {
        step,
        origin,
        with_change,
        ..
    } = &group.first().steps[place];
    let origin = match (origin, with_change) {
        (Origin::Drift, true) => "already there without this change",
        (Origin::Drift, false) | (Origin::Change | Origin::Unknown | Origin::Found, _) => "",
    };
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

/// What is said of steps that run, by whose doing they are.
fn about_origin(origin: Origin) -> &'static str {
    match origin {
        Origin::Change | Origin::Unknown => "Runs at once",
        Origin::Drift => "Drift, repaired with or without this change",
        Origin::Found => "Repaired by the host itself",
    }
}

pub(super) fn benign_runs<'v, 'a>(view: &'v View<'a>) -> impl Iterator<Item = &'v Shown<'a>> {
    view.steps
        .iter()
        .filter(|it| it.held.is_none() && it.class == Class::Benign)
}

/// The benign steps of a group that run by this change: a sentence for each person, and the values that change. `None`
/// when that is more than `room` bytes.
pub(super) fn change_text(group: &Group<'_, '_>, room: usize) -> Option<String> {
    let view = group.first();
    let by_change = |it: &&Shown<'_>| it.origin != Origin::Drift;
    let origin = view.steps.iter().find(by_change).map(|it| it.origin);
    let steps: Vec<&Step> = benign_runs(view)
        .filter(by_change)
        .map(|it| it.step)
        .collect();
    let title = about_origin(origin.unwrap_or(Origin::Change)).to_owned() + &on_each(group);
    let mut out = steps_text(&title, &steps, Fold::IfLong, room)?;
    let changed: Vec<&Step> = view
        .steps
        .iter()
        .filter(by_change)
        .map(|it| it.step)
        .collect();
    out.push_str(&replaced_values(&changed, room.checked_sub(out.len())?)?);
    Some(out)
}

/// The benign steps of a group that run with or without the change, folded.
pub(super) fn drift_text(group: &Group<'_, '_>, room: usize) -> Option<String> {
    let steps: Vec<&Step> = benign_runs(group.first())
        .filter(|it| it.origin == Origin::Drift)
        .map(|it| it.step)
        .collect();
    let title = about_origin(Origin::Drift).to_owned() + &on_each(group);
    steps_text(&title, &steps, Fold::Always, room)
}

/// What the protected branch's plan does and this one does not, folded.
pub(super) fn unneeded_text(group: &Group<'_, '_>, room: usize) -> Option<String> {
    let title = "No longer needed after this change".to_owned() + &on_each(group);
    steps_text(&title, &group.first().unneeded, Fold::Always, room)
}

/// Whether steps are folded away under their title.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Fold {
    /// They are.
    Always,
    /// Where they are about more than a few people.
    IfLong,
}

/// Steps in a sentence for each person, under a line that counts them; `None` when that is more than `room` bytes. The
/// words that are signed have no place here: none of this waits for a signature.
pub(super) fn steps_text(title: &str, steps: &[&Step], how: Fold, room: usize) -> Option<String> {
    if steps.is_empty() {
        return Some(String::new());
    }
    // No step takes less: what cannot fit is not written first.
    const LEAST: usize = 10;
    if steps.len() > room / LEAST {
        return None;
    }
    let in_order = by_resource(steps);
    let people = || in_order.chunk_by(are_of_one_resource);
    let many = people().count() > OPEN_PEOPLE;
    let mut list = String::new();
    for steps in people() {
        let user = steps[0].resource();
        list.push_str("- ");
        escape::name(&mut list, user);
        for (i, step) in steps.iter().enumerate() {
            list.push_str(if i == 0 { ": " } else { "; " });
            say_below(&step.action, &mut Markdown(&mut list));
        }
        list.push('\n');
        if list.len() > room {
            return None;
        }
    }
    let title = format!(
        "{title}: {} for {}",
        count(steps.len(), "step"),
        resources(in_order.iter().map(|it| counted(it)))
    );
    let out = match (how, many) {
        (Fold::Always, _) | (Fold::IfLong, true) => fold(&title, &list),
        (Fold::IfLong, false) => format!("\n#### {title}\n\n{list}"),
    };
    (out.len() <= room).then_some(out)
}

/// Steps in the order of the names of what they are about; those about one stay in the order of the plan.
pub(super) fn by_resource<'a>(steps: &[&'a Step]) -> Vec<&'a Step> {
    let mut named: Vec<(&str, &Step)> = steps.iter().map(|it| (it.resource(), *it)).collect();
    named.sort_by_key(|(name, _)| *name);
    named.into_iter().map(|(_, step)| step).collect()
}

/// Whether two steps that follow each other in [`by_resource`] are about the same.
pub(super) fn are_of_one_resource(a: &&Step, b: &&Step) -> bool {
    a.resource() == b.resource()
}

/// Values that are put in the place of others, as a diff; `None` when that is more than `room` bytes.
fn replaced_values(steps: &[&Step], room: usize) -> Option<String> {
    /// Characters of a value; the sentence or the words of its step have more of it.
    const VALUE: usize = 200;
    let mut out = String::new();
    for step in steps {
        let Some(Replaced { what, from, to }) = rooms::replaced(&step.action) else {
            continue;
        };
        let mut line = |start: char, text: &str| {
            out.push(start);
            out.push(' ');
            let shown: String = text.chars().take(VALUE).collect();
            escape::visible(&mut out, &shown);
            out.push_str(if shown.len() < text.len() {
                "…\n"
            } else {
                "\n"
            });
        };
        line(' ', &format!("{what} of {}", step.resource()));
        line('-', from);
        line('+', to);
        if out.len() > room {
            return None;
        }
    }
    if out.is_empty() {
        return Some(out);
    }
    let out = format!("\n```diff\n{out}```\n");
    (out.len() <= room).then_some(out)
}

/// Notes that ask for nothing, folded away; `None` when they are more than `room` bytes.
pub(super) fn folded_notes(notes: &[Note], room: usize) -> Option<String> {
    let calm: Vec<&Note> = notes.iter().filter(|it| !it.needs_attention()).collect();
    if calm.is_empty() {
        return Some(String::new());
    }
    let mut list = String::new();
    for note in &calm {
        list.push_str(&note_item(note));
        // What cannot fit is not written to its end.
        if list.len() > room {
            return None;
        }
    }
    let out = fold(&count(calm.len(), "note"), &list);
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
    let about = resources(steps.iter().map(|it| counted(it)));
    let verbs: Vec<String> = verbs
        .into_iter()
        .map(|(verb, number)| verb.row().tally(number))
        .collect();
    let steps = count(steps.len(), "step");
    format!("- {title}: {} ({steps} for {about})\n", verbs.join(", "))
}
