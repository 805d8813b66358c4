//! The same for a terminal: the words of the comment, person by person, in lines that fit, and no markup.

use std::collections::BTreeSet;
use std::fmt::Write as _;

use super::deed::{deed, resources};
use super::ink::{Plain, say_below};
use super::noun::Noun;
use super::view::{self, AT_ONCE, Command, Counts, Origin, Release, Shown, View};
use super::{Host, attention_first, escape, section};
use crate::commit::CommitId;
use crate::executor::Executor;
use crate::gate::Reason;
use crate::ink::count;
use crate::ledger::held::Waiting;
use crate::price::Class;
use crate::step::Step;

/// What a text is shown on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Paper {
    /// Characters in a line; below 40 it is taken as 40.
    pub width: usize,
    /// Whether colours are understood, and wanted.
    pub colour: bool,
}

/// What a colour says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Tint {
    /// It cannot be undone, or it went wrong.
    Alarm,
    /// Somebody has to decide about it.
    Warn,
    /// It stands above what follows.
    Strong,
    /// It is there for programs and for the record.
    Faint,
}

impl Paper {
    /// As a file or a pipe takes it: plain, and as wide as a terminal was for a long time.
    pub const PLAIN: Self = Self {
        width: 80,
        colour: false,
    };

    /// `text` in a colour, where there are any.
    pub fn tint(self, tint: Tint, text: &str) -> String {
        let code = match tint {
            Tint::Alarm => "31",
            Tint::Warn => "33",
            Tint::Strong => "1",
            Tint::Faint => "2",
        };
        match self.colour {
            true => format!("\x1b[{code}m{text}\x1b[0m"),
            false => text.to_owned(),
        }
    }

    /// Writes `text` behind `lead`, in lines that fit; those after the first begin `hang` characters in. A word that is
    /// longer than a line is broken.
    pub fn wrapped(self, out: &mut String, lead: &str, hang: usize, text: &str) {
        self.tinted(out, lead, hang, None, text);
    }

    /// The same in a colour, which each line has to itself.
    pub fn tinted(self, out: &mut String, lead: &str, hang: usize, tint: Option<Tint>, text: &str) {
        self.lay_out(out, lead, hang, tint, &escape::shown(text));
    }

    /// The same of a text in which every character shows.
    fn lay_out(self, out: &mut String, lead: &str, hang: usize, tint: Option<Tint>, shown: &str) {
        const LEAST: usize = 40;
        let width = self.width.max(LEAST);
        // Names can be as long as a line: what hangs below them still has room.
        let hang = hang.min(width / 2);
        let mut rest = shown;
        out.push_str(lead);
        let mut column = length_of(lead);
        let is_ascii = rest.is_ascii();
        let length_of = |rest: &str| match is_ascii {
            true => rest.len(),
            false => rest.chars().count(),
        };
        // Mostly words that fit, with one space between: each line is found at once (`tests/bench/bench plan`).
        while column + length_of(rest) > width {
            let room = width.saturating_sub(column);
            let end = is_ascii.then(|| end_of_line(rest, room, width - hang));
            let Some(end) = end.flatten() else {
                return self.word_by_word(out, (column, hang, width), tint, rest);
            };
            self.put(out, tint, &rest[..end]);
            rest = &rest[end + 1..];
            new_line(out, hang);
            column = hang;
        }
        self.put(out, tint, rest);
        out.push('\n');
    }

    /// Writes text from the column that the line has reached, of this width, whatever stands in it.
    fn word_by_word(
        self,
        out: &mut String,
        (mut column, hang, width): (usize, usize, usize),
        tint: Option<Tint>,
        shown: &str,
    ) {
        let room = width - hang;
        // The line is a piece of the text: words follow each other in both with one space between.
        let mut line = 0..0;
        let mut next = 0;
        for word in shown.split(' ') {
            let mut word = word;
            let mut at = next;
            next += word.len() + 1;
            loop {
                let length = length_of(word);
                let space = usize::from(!line.is_empty());
                let begin = if line.is_empty() { at } else { line.start };
                if column + space + length <= width {
                    line = begin..at + word.len();
                    column += space + length;
                    break;
                }
                if line.is_empty() && column <= hang || length > room {
                    // Nothing is gained by a new line: the word itself is broken.
                    let fits = width.saturating_sub(column + space);
                    if fits > 0 {
                        let end = word
                            .char_indices()
                            .nth(fits)
                            .map_or(word.len(), |(at, _)| at);
                        line = begin..at + end;
                        word = &word[end..];
                        at += end;
                    }
                }
                self.put(out, tint, &shown[line]);
                line = 0..0;
                new_line(out, hang);
                column = hang;
                if word.is_empty() {
                    break;
                }
            }
        }
        self.put(out, tint, &shown[line]);
        out.push('\n');
    }

    fn put(self, out: &mut String, tint: Option<Tint>, line: &str) {
        match tint {
            Some(tint) => out.push_str(&self.tint(tint, line)),
            None => out.push_str(line),
        }
    }
}

fn new_line(out: &mut String, hang: usize) {
    const SPACES: &str = "                                ";
    out.push('\n');
    let mut left = hang;
    while left > 0 {
        let some = &SPACES[..left.min(SPACES.len())];
        out.push_str(some);
        left -= some.len();
    }
}

/// Where a line of ASCII ends that has this much room: at the last space that lets it fit. `None` where words have to be looked at one
/// by one: with several spaces in a row, or a word that takes more than a line with `next` characters.
fn end_of_line(text: &str, room: usize, next: usize) -> Option<usize> {
    if text.len() <= room {
        return None;
    }
    let bytes = text.as_bytes();
    let end = bytes[..=room].iter().rposition(|it| *it == b' ')?;
    let (before, after) = (bytes.get(..end)?, bytes.get(end + 1..)?);
    let word = &after[..after.len().min(next + 1)];
    let fits = word.len() <= next || word.contains(&b' ');
    let is_spaced = before.starts_with(b" ") || after.starts_with(b" ");
    (end > 0 && fits && !is_spaced && !after.is_empty()).then_some(end)
}

/// How many characters a text has; nearly all have one for each byte.
fn length_of(text: &str) -> usize {
    if text.is_ascii() {
        text.len()
    } else {
        text.chars().count()
    }
}

/// Everything about some hosts' plans; the first line is [`summary`].
pub fn text(hosts: &[Host<'_>], paper: Paper) -> String {
    text_under(&[], hosts, paper)
}

/// The same; `above` are sentences that have to be read before the plan, such as those of [`super::standing()`].
pub fn text_under(above: &[String], hosts: &[Host<'_>], paper: Paper) -> String {
    let views: Vec<View<'_>> = hosts.iter().map(View::of).collect();
    let counts = Counts::of(&views);
    let mut out = String::new();
    // About a line for each step; what is not used is never touched.
    let steps: usize = views.iter().map(|it| it.steps.len()).sum();
    out.reserve(steps.saturating_mul(96));
    paper.tinted(
        &mut out,
        "",
        2,
        Some(Tint::Strong),
        &format!("{}.", line(&views, counts)),
    );
    for sentence in above {
        paper.tinted(&mut out, "", 2, Some(Tint::Alarm), sentence);
    }
    let already = counts.already();
    if !already.is_empty() {
        paper.wrapped(&mut out, "", 2, &format!("Not by this change: {already}."));
    }
    for view in &views {
        host(view, paper, &mut out);
    }
    out
}

/// One line about some hosts' plans: `This plan adds 2 people: 12 steps run at once`.
pub fn summary(hosts: &[Host<'_>]) -> String {
    let views: Vec<View<'_>> = hosts.iter().map(View::of).collect();
    line(&views, Counts::of(&views))
}

/// What a commit status says until the plan is there.
pub fn pending(head: &CommitId) -> String {
    format!("planning {}", head.short())
}

fn line(views: &[View<'_>], counts: Counts) -> String {
    let unread = views.iter().filter(|it| it.is_unread()).count();
    let mut out = match (unread, views.len()) {
        (_, 0) => "No host was planned for".to_owned(),
        (unread, hosts) if unread == hosts => {
            let noun = Noun::of(views.iter().map(|it| it.executor)).one;
            format!("The {noun} could not be read, so nothing is planned")
        }
        _ if counts.change.steps() == 0 => "Nothing to change".to_owned(),
        _ => format!(
            "This plan {}: {}",
            deed(views, Some(escape::visible)),
            counts.change.outlook(AT_ONCE)
        ),
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

fn host(view: &View<'_>, paper: Paper, out: &mut String) {
    if view.steps.is_empty() && view.notes.is_empty() && view.unneeded.is_empty() {
        return;
    }
    out.push('\n');
    let name = view.executor.to_string();
    paper.tinted(out, "", 2, Some(Tint::Strong), &name);
    held(view, true, paper, out);
    commands(&view.commands(true), paper, out);
    let runs = |wanted: &dyn Fn(&Shown<'_>) -> bool| -> Vec<&Shown<'_>> {
        // Those of some class, or by somebody else's doing, are mostly none.
        if !view.steps.iter().any(|it| it.held.is_none() && wanted(it)) {
            return Vec::new();
        }
        let steps = view.by_resource().map(|(_, it)| it);
        let steps = steps.filter(|it| it.held.is_none() && wanted(it));
        steps.collect()
    };
    for class in [Class::Destructive, Class::Privileged] {
        let steps = runs(&|it| it.class == class);
        let verb = if steps.len() == 1 { "runs" } else { "run" };
        // Nothing destructive begins without a release: what is not held goes on by one that was taken up.
        let by = match class {
            Class::Destructive => "by a release that was taken up",
            Class::Privileged | Class::Benign => "without a release",
        };
        let title = format!(
            "{} {verb} {by}",
            count(steps.len(), &format!("{class} step"))
        );
        people(&title, Some(Tint::Warn), &steps_of(&steps), paper, out);
    }
    let benign = |title: &str, drift: bool, out: &mut String| {
        let steps = runs(&|it| it.class == Class::Benign && (it.origin == Origin::Drift) == drift);
        let about = resources(steps.iter().map(|it| it.counted()));
        let title = counted(title, steps.len(), &about);
        people(&title, None, &steps_of(&steps), paper, out);
    };
    benign("Runs at once", false, out);
    held(view, false, paper, out);
    commands(&view.commands(false), paper, out);
    benign("Drift, repaired with or without this change", true, out);
    let unneeded = section::by_resource(&view.unneeded);
    let about = resources(unneeded.iter().map(|it| view::counted(it)));
    let title = counted("No longer needed after this change", unneeded.len(), &about);
    people(&title, None, &unneeded, paper, out);
    notes(view, paper, out);
}

fn steps_of<'a>(shown: &[&Shown<'a>]) -> Vec<&'a Step> {
    shown.iter().map(|it| it.step).collect()
}

fn counted(title: &str, steps: usize, about: &str) -> String {
    format!("{title}: {} for {about}", count(steps, "step"))
}

/// The steps that wait, by class and by what they wait for, each with its words and its id.
fn held(view: &View<'_>, with_change: bool, paper: Paper, out: &mut String) {
    let mut held: Vec<(&Shown<'_>, &Reason)> = view
        .steps
        .iter()
        .filter(|it| it.with_change == with_change)
        .filter_map(|it| Some((it, it.held?)))
        .collect();
    held.sort_by_key(|(it, _)| (std::cmp::Reverse(it.class), !it.waits_for_release()));
    let alike = |a: &(&Shown<'_>, _), b: &(&Shown<'_>, _)| {
        (a.0.class, a.0.waits_for_release()) == (b.0.class, b.0.waits_for_release())
    };
    // A limit speaks for many steps, and is told once.
    let mut limits: BTreeSet<&str> = BTreeSet::new();
    for same in held.chunk_by(alike) {
        let (first, _) = same[0];
        let how = match (same.len(), first.waits_for_release(), with_change) {
            (1, true, true) => "waits for a signed release",
            (_, true, true) => "wait for a signed release",
            (1, _, false) => "waits already, not by this change",
            (_, _, false) => "wait already, not by this change",
            (1, false, true) => "is held",
            (_, false, true) => "are held",
        };
        let class = first.class;
        let drift = match with_change {
            true => section::drifting(same.iter().map(|(it, _)| *it)),
            false => String::new(),
        };
        let title = format!(
            "{} {how}{drift}",
            count(same.len(), &format!("{class} step"))
        );
        let tint = match class {
            Class::Destructive => Some(Tint::Alarm),
            Class::Privileged => Some(Tint::Warn),
            Class::Benign => None,
        };
        out.push('\n');
        paper.tinted(out, "  ", 4, tint, &title);
        for (_, reason) in same {
            if let Reason::Limit(why) = reason
                && limits.insert(why)
            {
                let why = format!("{}.", section::sentence(why));
                paper.wrapped(out, "    ", 4, &why);
            }
        }
        for (shown, reason) in same {
            let mut said = String::new();
            say_below(&shown.step.action, &mut Plain(&mut said));
            match reason {
                Reason::PendingSignature | Reason::Limit(_) => {}
                Reason::Needs(before) => {
                    // As many digits as tell steps apart, and as `muster explain` takes.
                    let _ = write!(said, " (after {})", &before.to_string()[..8]);
                }
                other => {
                    let _ = write!(said, " ({other})");
                }
            }
            let mut who = String::new();
            escape::visible(&mut who, shown.step.resource());
            let lead = format!("    {who}  ");
            paper.wrapped(out, &lead, 6, &said);
            let words = format!("{} {}", shown.step.id, shown.step.words());
            paper.tinted(out, "      ", 8, Some(Tint::Faint), &words);
        }
    }
}

/// The commands, in lines that a shell takes as they are.
fn commands(commands: &[Command], paper: Paper, out: &mut String) {
    if commands.is_empty() {
        return;
    }
    out.push_str("\n  To release\n");
    // An id and the space before it.
    let fit = |taken: usize| (paper.width.saturating_sub(taken) / 33).min(3);
    for command in commands {
        let indent = "    ".len();
        let in_line = fit(indent + "  \\".len()).max(1);
        for line in command.lines_of(in_line, fit(indent + command.start.len())) {
            let _ = writeln!(out, "    {line}");
        }
    }
}

/// The commands that release what a ledger says waits; empty when no release helps.
pub fn to_release(executor: &Executor, waiting: &[Waiting], paper: Paper) -> String {
    let held = waiting
        .iter()
        .map(|it| (&*it.step, it.class, Release::of_waiting(it)));
    let mut out = String::new();
    commands(&view::commands(executor, None, held), paper, &mut out);
    out
}

/// Steps that need no id, in the order of whom they are about, person by person: what of them is to be done, in one sentence.
fn people(title: &str, tint: Option<Tint>, steps: &[&Step], paper: Paper, out: &mut String) {
    if steps.is_empty() {
        return;
    }
    out.push('\n');
    paper.tinted(out, "  ", 4, tint, title);
    let (mut lead, mut said) = (String::new(), String::new());
    for steps in steps.chunk_by(section::are_of_one_resource) {
        said.clear();
        for (i, step) in steps.iter().enumerate() {
            said.push_str(if i == 0 { "" } else { "; " });
            say_below(&step.action, &mut Plain(&mut said));
        }
        lead.clear();
        lead.push_str("    ");
        escape::visible(&mut lead, steps[0].resource());
        lead.push_str("  ");
        // Whatever is not our own words went through `Plain`, which sees to it that every character shows.
        debug_assert_eq!(escape::shown(&said), said);
        paper.lay_out(out, &lead, 6, None, &said);
    }
}

fn notes(view: &View<'_>, paper: Paper, out: &mut String) {
    let mut before = None;
    for note in attention_first(view.notes) {
        let attention = note.needs_attention();
        if before.replace(attention) != Some(attention) {
            out.push('\n');
            match attention {
                true => paper.tinted(out, "  ", 4, Some(Tint::Warn), "Needs attention"),
                false => paper.wrapped(out, "  ", 4, "Notes"),
            }
        }
        paper.wrapped(out, "    ", 6, &note.to_string());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_fit_and_lose_nothing() {
        let long = "x".repeat(150);
        for text in [
            "",
            "a",
            "one two three",
            &long,
            &format!("a {long} b {long}"),
            "\u{1b}[2J",
        ] {
            for width in [40, 41, 80, 200] {
                for (lead, hang) in [("", 0), ("  emo  ", 6), (&*" ".repeat(60), 8)] {
                    let mut out = String::new();
                    let paper = Paper {
                        width,
                        colour: false,
                    };
                    paper.wrapped(&mut out, lead, hang, text);
                    let longest = out.lines().map(|it| it.chars().count()).max().unwrap_or(0);
                    assert!(longest <= width.max(lead.len()), "{width} {lead:?}: {out}");
                    let kept = |text: &str| text.replace([' ', '\n'], "");
                    let mut shown = String::new();
                    escape::visible(&mut shown, text);
                    assert_eq!(kept(&out), kept(&format!("{lead}{shown}")));
                    assert!(out.ends_with('\n') && !out.contains('\u{1b}'));
                }
            }
        }
    }

    /// What is broken at a space that is found at once is broken where it is when words are looked at one by one.
    #[test]
    fn a_line_ends_where_it_ends_word_by_word() {
        let mut state = 7_u64;
        let mut random = |below: u64| {
            state = state
                .wrapping_mul(6_364_136_223_846_793_005)
                .wrapping_add(1);
            (state >> 33) % below
        };
        let mut at_once = 0;
        for _ in 0..4_000 {
            let longest = [4, 12, 60][random(3) as usize];
            let mut text = String::new();
            for _ in 0..random(30) {
                let length = random(longest) as usize;
                text.push_str(&"abcdefghij".repeat(6)[..length]);
                text.push_str([" ", " ", " ", "  "][random(4) as usize]);
            }
            if random(3) > 0 {
                text.truncate(text.trim_end().len());
            }
            let (lead, hang) = (" ".repeat(random(50) as usize), random(15) as usize);
            let paper = Paper {
                width: 40 + random(40) as usize,
                colour: false,
            };
            let mut found = String::new();
            paper.wrapped(&mut found, &lead, hang, &text);
            let mut expected = lead.clone();
            if lead.len() + text.len() <= paper.width {
                expected = lead + &text + "\n";
            } else {
                let places = (lead.len(), hang.min(paper.width / 2), paper.width);
                paper.word_by_word(&mut expected, places, None, &text);
                at_once += usize::from(
                    end_of_line(&text, paper.width.saturating_sub(lead.len()), 25).is_some(),
                );
            }
            assert_eq!(found, expected, "{text:?}");
        }
        assert!(at_once > 500, "{at_once}");
    }

    #[test]
    fn a_colour_ends_where_its_line_ends() {
        let paper = Paper {
            width: 40,
            colour: true,
        };
        let mut out = String::new();
        paper.tinted(&mut out, "  ", 4, Some(Tint::Alarm), &"word ".repeat(20));
        for line in out.lines() {
            assert_eq!(
                line.matches("\x1b[31m").count(),
                line.matches("\x1b[0m").count()
            );
        }
    }
}
