//! What a person at a terminal is told of a cycle.

use std::fmt::Write as _;
use std::io::{IsTerminal as _, Write as _};
use std::time::Instant;

use muster_core::gate::Held;
use muster_core::journal::StepResult;
use muster_core::price::Class;
use muster_core::report::{Paper, Tint, sentence};

use crate::cycle::CycleSummary;

/// The whole cycle: what was done, what waits, what people should know; the last line sums it up.
pub fn text(summary: &CycleSummary, paper: Paper) -> String {
    /// Where what is said begins, behind the word for it.
    const HANG: usize = 11;
    let mut out = String::new();
    let mut put = |word: &str, tint: Option<Tint>, text: &str| {
        paper.tinted(&mut out, &format!("{word:<HANG$}"), HANG, tint, text);
    };
    for (step, result) in &summary.recovered {
        let text = format!("{} ({})", sentence(&step.action), word(result));
        put("recovered", None, &text);
    }
    for (step, result) in &summary.ran {
        let said = sentence(&step.action);
        match result {
            StepResult::Done => put("done", None, &said),
            other => put(
                "failed",
                Some(Tint::Alarm),
                &format!("{said}: {}", word(other)),
            ),
        }
    }
    for release in &summary.releases {
        put("release", None, release);
    }
    for held in &summary.held {
        let Held {
            step,
            price,
            reason,
        } = held;
        let text = format!("{} ({}: {reason})", sentence(&step.action), price.class);
        let tint = (price.class != Class::Benign).then_some(Tint::Warn);
        put("held", tint, &text);
        put(
            "",
            Some(Tint::Faint),
            &format!("{} {}", step.id, step.words()),
        );
    }
    for note in &summary.notes {
        put("note", None, &note.to_string());
    }
    if let Some(attempted) = &summary.attempted {
        let text = format!("commit {}: {}", attempted.commit.short(), attempted.problem);
        put("refused", Some(Tint::Alarm), &text);
    }
    if let Some(frozen) = &summary.frozen {
        put("frozen", Some(Tint::Alarm), &frozen.to_string());
    }
    if let Some(matter) = &summary.clock {
        put("clock", Some(Tint::Warn), &matter.to_string());
    }
    if let Some(suspended) = &summary.suspended {
        put("suspended", Some(Tint::Warn), &suspended.to_string());
    }
    out.push_str(&line(summary));
    out.push('\n');
    out
}

/// One line about a cycle: for the service manager's status, and the last line for a person.
pub fn line(summary: &CycleSummary) -> String {
    let count = |done: bool| {
        summary
            .ran
            .iter()
            .filter(|(_, result)| (*result == StepResult::Done) == done)
            .count()
    };
    let (done, failed, held) = (count(true), count(false), summary.held.len());
    let at = summary
        .adopted
        .as_ref()
        .map_or("nothing", |commit| commit.short());
    let mut out = match (done, failed) {
        (0, 0) => format!("no change at {at}"),
        _ => format!("{done} done at {at}"),
    };
    if failed > 0 {
        write!(out, ", {failed} failed").expect("a String takes everything");
    }
    if held > 0 {
        write!(out, ", {held} held").expect("a String takes everything");
    }
    if let Some(note) = summary.notes.iter().find(|it| it.is_unread()) {
        let parts = match summary.unread() {
            1 => "a part".to_owned(),
            many => format!("{many} parts"),
        };
        let (noun, _) = note.executor().nouns();
        write!(out, ", {parts} of this {noun} could not be read")
            .expect("a String takes everything");
    }
    if summary.attempted.is_some() {
        out.push_str(", a newer commit was refused");
    }
    if summary.unanswered.is_some() {
        out.push_str(", the state repository did not answer");
    }
    if summary.frozen.is_some() {
        out.push_str(", frozen");
    }
    if let Some(matter) = &summary.clock {
        write!(out, ", the clock is {}", matter.in_a_word()).expect("a String takes everything");
    }
    if summary.suspended.is_some() {
        out.push_str(", suspended");
    }
    if summary.stopped {
        out.push_str(", stopped before the end");
    }
    out
}

/// How a step came out, in words.
pub fn word(result: &StepResult) -> String {
    match result {
        StepResult::Done => "done".to_owned(),
        StepResult::NotBegun => {
            "not begun: nothing of it shows; tried again in the next cycle".to_owned()
        }
        StepResult::Failed(reason) => reason.clone(),
        StepResult::Unfinished(reason) => format!("begun, and goes on: {reason}"),
        StepResult::Overtaken(how) => format!("done, and changed since: {how}"),
        StepResult::NeedsOperator(reason) => format!("needs an operator: {reason}"),
    }
}

/// A line that says how far a long batch is. Shown only to a terminal, and only after a second.
pub struct Bar {
    began: Instant,
    last: Option<Instant>,
    shown: bool,
}

impl Bar {
    /// Begins; `wanted` says whether anybody waits for it.
    pub fn new(wanted: bool) -> Self {
        let shown = wanted && std::io::stderr().is_terminal();
        Self {
            began: Instant::now(),
            last: None,
            shown,
        }
    }

    /// Says how far `phase` is, ten times a second at most.
    pub fn show(&mut self, phase: &str, done: usize, all: usize) {
        let now = Instant::now();
        let soon = now.duration_since(self.began).as_millis() < 1_000;
        let often = self
            .last
            .is_some_and(|last| now.duration_since(last).as_millis() < 100);
        if !self.shown || soon || (often && done < all) {
            return;
        }
        self.last = Some(now);
        // A terminal that went away is no reason to stop.
        let _ = write!(std::io::stderr(), "\r\x1b[K{phase}: {done} of {all}");
    }

    /// Takes the line away.
    pub fn clear(&mut self) {
        if self.last.take().is_some() {
            let _ = write!(std::io::stderr(), "\r\x1b[K");
        }
    }
}
