//! The table of executors on top of a text about several of them: those that read the same share a row.

use std::fmt::Write as _;

use super::UnknownHost;
use super::deed::resources;
use super::escape;
use super::group::{self, Group};
use super::noun::Noun;
use super::page::Block;
use super::view::{Origin, Shown, Sum, View};
use crate::executor::Executor;
use crate::ink::count;

/// Rows of a table; of more, the rest is counted. Each has its section below.
const ROWS: usize = 40;

/// A table that is written row by row; its first column has the names.
pub(super) struct Table {
    noun: Noun,
    columns: Vec<&'static str>,
    /// The names of each row, and its cells; of too many rows, the first.
    rows: Vec<(String, Vec<String>)>,
    /// How many rows there would be.
    all: usize,
}

impl Table {
    /// Of what `noun` stands for; `columns` are the headings of the others.
    pub(super) fn of(noun: Noun, columns: &[&'static str]) -> Self {
        Self {
            noun,
            columns: columns.to_vec(),
            rows: Vec::new(),
            all: 0,
        }
    }

    /// A row about some of them. The cells are ours.
    pub(super) fn row<'a>(
        &mut self,
        executors: impl ExactSizeIterator<Item = &'a Executor>,
        cells: &[String],
    ) {
        self.all += 1;
        if self.all > ROWS {
            return;
        }
        let mut names = String::new();
        group::names(executors, &mut names);
        self.rows.push((escape::in_cell(&names), cells.to_vec()));
    }

    /// The table, without columns in which nothing stands, and with a last row that counts those that it has no room for.
    pub(super) fn into_block(self) -> Block {
        let Self {
            noun,
            columns,
            rows,
            all,
        } = self;
        let is_empty = |at: &usize| {
            rows.iter()
                .all(|(_, cells)| cells.get(*at).is_none_or(String::is_empty))
        };
        let kept: Vec<usize> = (0..columns.len()).filter(|it| !is_empty(it)).collect();
        let mut head = noun.one.to_owned();
        head[..1].make_ascii_uppercase();
        let mut text = format!("\n| {head} |");
        for at in &kept {
            let _ = write!(text, " {} |", columns[*at]);
        }
        text.push_str("\n|");
        text.push_str(&" --- |".repeat(kept.len() + 1));
        text.push('\n');
        for (names, cells) in &rows {
            let _ = write!(text, "| {names} |");
            for at in &kept {
                let _ = write!(text, " {} |", cells[*at]);
            }
            text.push('\n');
        }
        if all > rows.len() {
            let _ = write!(text, "| {} more, each below |", all - rows.len());
            text.push_str(&"  |".repeat(kept.len()));
            text.push('\n');
        }
        Block::body(text)
    }
}

/// What a change does on each executor, in numbers; nothing where one alone is told of.
pub(super) fn executors(
    groups: &[Group<'_, '_>],
    calm: &[&View<'_>],
    unknown: &[UnknownHost<'_>],
) -> Option<Block> {
    let planned = groups.iter().flat_map(Group::executors);
    let calm_ones = calm.iter().map(|it| it.executor);
    let all: Vec<&Executor> = planned
        .chain(calm_ones.clone())
        .chain(unknown.iter().map(|it| it.executor))
        .collect();
    if all.len() < 2 {
        return None;
    }
    let columns = ["Runs at once", "Waits", "Not by this change"];
    let mut table = Table::of(Noun::of(all), &columns);
    for group in groups {
        let view = group.first();
        let [runs, waits, already] = cells(view);
        table.row(group.executors(), &[runs, waits, already]);
    }
    let nothing = || ["nothing".to_owned(), String::new(), String::new()];
    if !calm.is_empty() {
        table.row(calm_ones, &nothing());
    }
    for host in unknown {
        let mut cells = nothing();
        cells[0] = format!("not known: {}", host.why.word());
        table.row([host.executor].into_iter(), &cells);
    }
    Some(table.into_block())
}

/// What runs at once by the change, what waits by it, and what is there without it.
fn cells(view: &View<'_>) -> [String; 3] {
    let by_change = |it: &&Shown<'_>| it.origin != Origin::Drift;
    let change = Sum::of(view.steps.iter().filter(by_change));
    let other = Sum::of(view.steps.iter().filter(|it| !by_change(it)));
    let runs = match change.runs {
        _ if view.is_unread() => "not known: unreadable".to_owned(),
        0 => "nothing".to_owned(),
        number => {
            let runs = view.steps.iter().filter(|it| it.held.is_none());
            let about = resources(runs.filter(by_change).map(Shown::counted));
            format!("{} for {about}", count(number, "step"))
        }
    };
    let mut already: Vec<String> = Vec::new();
    if other.runs > 0 {
        already.push(format!("{} repaired", other.runs));
    }
    if other.held() > 0 {
        already.push(format!("{} waiting", other.held()));
    }
    [runs, change.classes(), already.join(", ")]
}
