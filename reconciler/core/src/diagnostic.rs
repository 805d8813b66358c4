//! What is wrong in a file, where it stands, and what to do about it.
//!
//! A reader collects [`Faults`] by byte offset, which costs nothing while all is well. Only at the end are they turned
//! into [`Diagnostics`] with line and column, in one walk over the file.

mod fold;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::{self, Write as _};

use serde::Serialize;

/// How many diagnostics are shown to people; the rest is counted, so that a hostile file cannot flood a comment.
pub const SHOWN: usize = 1_000;

/// How many of one rule in one file are shown to people, before "and 219 more like it".
pub const ALIKE: usize = 10;

/// What the faults of all files may take in memory, in bytes, beside [`ROOM_FOR_EACH_BYTE`]. What finds no room is counted,
/// so that a hostile file cannot fill the memory (F7).
pub(crate) const ROOM: usize = 256 << 10;

/// What the faults of a file may take for each of its bytes.
pub(crate) const ROOM_FOR_EACH_BYTE: usize = 2;

/// What is left free for the first fault of each kind, when those of other kinds take the rest: each has an example with its place.
const ROOM_FOR_EXAMPLES: usize = 32 << 10;

/// So many kinds are told apart while there is little room, so that telling them apart takes little, too.
const MANY_KINDS: usize = 2_000;

/// What is left free for the last fault of a file, which says where its reading ended.
const ROOM_FOR_THE_LAST: usize = 1 << 10;

/// How many errors of one file are enough: the rest of it is not read.
pub(crate) const ENOUGH: usize = 10_000;

/// A place in a text file. Both numbers start at 1; columns count characters, not bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Pos {
    /// The line.
    pub line: u32,
    /// The column, in characters.
    pub column: u32,
}

impl fmt::Display for Pos {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { line, column } = self;
        write!(f, "{line}:{column}")
    }
}

/// Whether a diagnostic stops the commit.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Severity {
    /// The commit is not adopted.
    Error,
    /// Worth a look; the commit is adopted all the same.
    Warning,
}

impl Severity {
    /// The word that is shown.
    pub fn as_str(self) -> &'static str {
        match self {
            Severity::Error => "error",
            Severity::Warning => "warning",
        }
    }
}

/// One thing that is wrong.
///
/// The order of the fields is the order in which diagnostics are shown.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Diagnostic {
    /// The path inside the state repository.
    pub file: String,
    /// The place in that file; `None` when the file as a whole is meant.
    pub at: Option<Pos>,
    /// Whether it stops the commit.
    pub severity: Severity,
    /// The name of the rule, as in the table of checks.
    pub rule: &'static str,
    /// What is wrong, as one sentence fragment.
    pub problem: String,
    /// What to do about it.
    pub help: Option<String>,
}

impl Diagnostic {
    /// What it says, wherever in the file it stands.
    fn said(&self) -> (&str, &str, &str) {
        (&self.file, self.rule, &self.problem)
    }
}

impl fmt::Display for Diagnostic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            file,
            at,
            severity,
            rule,
            problem,
            help: _,
        } = self;
        f.write_str(&visible(file))?;
        if let Some(at) = at {
            write!(f, ":{at}")?;
        }
        write!(f, ": {}: {} [{rule}]", severity.as_str(), visible(problem))
    }
}

/// What diagnostics have in common that are alike.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Sort {
    /// The path inside the state repository.
    pub file: String,
    /// Whether they stop the commit.
    pub severity: Severity,
    /// The name of the rule.
    pub rule: &'static str,
}

/// Diagnostics in the order in which they are shown, without repetitions.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[must_use = "unread diagnostics help nobody"]
pub struct Diagnostics {
    list: Vec<Diagnostic>,
    left_out: BTreeMap<Sort, usize>,
}

impl Diagnostics {
    /// Sorts `list` and drops repetitions; `left_out` more errors were found but not kept.
    pub fn new(list: Vec<Diagnostic>, left_out: usize) -> Self {
        let unnamed = Sort {
            file: String::new(),
            severity: Severity::Error,
            rule: "more",
        };
        let left_out = (left_out > 0).then_some((unnamed, left_out));
        Self::of(list, left_out.into_iter().collect())
    }

    /// Sorts `list` and drops repetitions; `left_out` more of each sort were found but not kept.
    pub(crate) fn of(mut list: Vec<Diagnostic>, left_out: BTreeMap<Sort, usize>) -> Self {
        list.sort_unstable();
        list.dedup();
        Self { list, left_out }
    }

    /// Both, in the order in which they are shown.
    pub fn and(mut self, mut others: Self) -> Self {
        self.list.append(&mut others.list);
        for (sort, number) in others.left_out {
            *self.left_out.entry(sort).or_default() += number;
        }
        Self::of(self.list, self.left_out)
    }

    /// Those that `others` has not, and those that it has too, wherever in the file they stand. Of what is only counted, `others` has
    /// as many as it counted.
    pub fn beside(self, others: &Self) -> (Self, Self) {
        let said: BTreeSet<(&str, &str, &str)> = others.list.iter().map(Diagnostic::said).collect();
        let is_known = |it: &Diagnostic| said.contains(&it.said());
        let (known, new) = self.list.into_iter().partition(is_known);
        let (mut more_known, mut more_new) = (BTreeMap::new(), BTreeMap::new());
        for (sort, count) in self.left_out {
            let both = others.left_out.get(&sort).map_or(0, |it| count.min(*it));
            for (more, count) in [(&mut more_known, both), (&mut more_new, count - both)] {
                if count > 0 {
                    more.insert(sort.clone(), count);
                }
            }
        }
        (Self::of(new, more_new), Self::of(known, more_known))
    }

    /// Whether there is an error in a file of this kind, be it kept or only counted.
    pub fn has_error(&self, is_meant: impl Fn(&str) -> bool) -> bool {
        let is_error = |severity, file| severity == Severity::Error && is_meant(file);
        let mut counted = self.left_out.keys();
        self.list.iter().any(|it| is_error(it.severity, &it.file))
            || counted.any(|it| is_error(it.severity, &it.file))
    }

    /// All that were kept, sorted by file and place.
    pub fn iter(&self) -> impl Iterator<Item = &Diagnostic> {
        self.list.iter()
    }

    /// How many were kept.
    pub fn len(&self) -> usize {
        self.list.len()
    }

    /// How many errors were found, warnings apart: those that were not kept, too.
    pub fn errors(&self) -> usize {
        let counts = self.counts().into_iter();
        let errors = counts.filter(|((_, severity, _), _)| *severity == Severity::Error);
        errors.map(|(_, count)| count).sum()
    }

    /// Whether there is nothing to say.
    pub fn is_empty(&self) -> bool {
        self.list.is_empty() && self.left_out.is_empty()
    }

    /// How many were found but not kept.
    pub fn left_out(&self) -> usize {
        self.left_out.values().sum()
    }

    /// How many there are of each sort, those that were not kept among them.
    pub fn counts(&self) -> BTreeMap<(&str, Severity, &'static str), usize> {
        let mut counts = BTreeMap::new();
        for it in &self.list {
            *counts.entry((&*it.file, it.severity, it.rule)).or_default() += 1;
        }
        for (sort, more) in &self.left_out {
            *counts
                .entry((&*sort.file, sort.severity, sort.rule))
                .or_default() += more;
        }
        counts
    }
}

impl fmt::Display for Diagnostics {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (mut errors, mut warnings) = (0, 0);
        for ((_, severity, _), count) in self.counts() {
            match severity {
                Severity::Error => errors += count,
                Severity::Warning => warnings += count,
            }
        }
        write!(
            f,
            "{errors} errors and {warnings} warnings in the state repository"
        )
    }
}

impl std::error::Error for Diagnostics {}

/// Renders for a terminal: each diagnostic with its source line and a caret under the place.
pub fn human(diagnostics: &Diagnostics, files: &BTreeMap<String, Vec<u8>>) -> String {
    let mut out = String::new();
    let mut lines: Option<(&str, Lines<'_>)> = None;
    let (shown, rest) = diagnostics.folded(ALIKE);
    for (diagnostic, more) in shown {
        let _ = writeln!(out, "{diagnostic}");
        if let (Some(at), Some(text)) = (diagnostic.at, files.get(&diagnostic.file)) {
            if lines
                .as_ref()
                .is_none_or(|(file, _)| *file != diagnostic.file)
            {
                lines = Some((&diagnostic.file, Lines::new(text)));
            }
            if let Some((_, lines)) = &mut lines {
                write_excerpt(&mut out, lines.line(at.line), at);
            }
        }
        if let Some(help) = &diagnostic.help {
            let _ = writeln!(out, "      = {}", visible(help));
        }
        if more > 0 {
            let _ = writeln!(out, "      … and {more} more like it");
        }
    }
    if rest > 0 {
        let _ = writeln!(out, "… and {rest} more");
    }
    out
}

/// Renders as JSON: an object with `counts` (file, severity, rule, count), `diagnostics` (file, line, column, severity, rule,
/// problem, help: all that were kept) and `left_out` (how many were not). The shape is stable: keys are only ever added.
pub fn json(diagnostics: &Diagnostics) -> String {
    #[derive(Serialize)]
    struct Count<'d> {
        count: usize,
        file: &'d str,
        rule: &'d str,
        severity: &'d str,
    }
    #[derive(Serialize)]
    struct One<'d> {
        column: Option<u32>,
        file: &'d str,
        help: Option<&'d str>,
        line: Option<u32>,
        problem: &'d str,
        rule: &'d str,
        severity: &'d str,
    }
    // One at a time: thousands of them are never there as values at once.
    let mut out = String::from("{\n  \"counts\": [");
    let counts = diagnostics.counts();
    append(
        &mut out,
        counts.iter().map(|((file, severity, rule), count)| Count {
            count: *count,
            file,
            rule,
            severity: severity.as_str(),
        }),
    );
    out.push_str("],\n  \"diagnostics\": [");
    let ones = diagnostics.list.iter().map(
        |Diagnostic {
             file,
             at,
             severity,
             rule,
             problem,
             help,
         }| One {
            column: at.map(|at| at.column),
            file,
            help: help.as_deref(),
            line: at.map(|at| at.line),
            problem,
            rule,
            severity: severity.as_str(),
        },
    );
    append(&mut out, ones);
    let _ = write!(out, "],\n  \"left_out\": {}\n}}\n", diagnostics.left_out());
    out
}

/// Writes values as the items of an indented list.
fn append(out: &mut String, values: impl Iterator<Item = impl Serialize>) {
    let mut is_empty = true;
    for value in values {
        out.push_str(if is_empty { "\n" } else { ",\n" });
        is_empty = false;
        let text = serde_json::to_string_pretty(&value).unwrap_or_default();
        for (number, line) in text.lines().enumerate() {
            let _ = write!(out, "{}    {line}", if number == 0 { "" } else { "\n" });
        }
    }
    if !is_empty {
        out.push_str("\n  ");
    }
}

/// Renders as workflow commands, which a hosted forge shows as annotations beside the changed lines.
pub fn github(diagnostics: &Diagnostics) -> String {
    let mut out = String::new();
    let (shown, rest) = diagnostics.folded(ALIKE);
    for (diagnostic, more) in shown {
        let Diagnostic {
            file,
            at,
            severity,
            rule,
            problem,
            help,
        } = diagnostic;
        let _ = write!(
            out,
            "::{} file={}",
            severity.as_str(),
            command_property(file)
        );
        if let Some(Pos { line, column }) = at {
            let _ = write!(out, ",line={line},col={column}");
        }
        let _ = write!(
            out,
            ",title={}::{}",
            command_property(rule),
            command_data(problem)
        );
        if let Some(help) = help {
            let _ = write!(out, "%0A{}", command_data(help));
        }
        if more > 0 {
            let _ = write!(out, "%0Aand {more} more like it");
        }
        out.push('\n');
    }
    if rest > 0 {
        let _ = writeln!(out, "::error title=more::and {rest} more");
    }
    out
}

/// Makes every character of `text` visible: control characters and those that reorder or hide text become `\u{…}`.
pub fn visible(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        if is_hidden(c) {
            let _ = write!(out, "\\u{{{:x}}}", u32::from(c));
        } else {
            out.push(c);
        }
    }
    out
}

/// Whether a reader would not see `c`, or would see other characters in another order because of it.
pub fn is_hidden(c: char) -> bool {
    c.is_control()
        || matches!(c, '\u{ad}' | '\u{61c}' | '\u{180e}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}'
            | '\u{2060}'..='\u{206f}' | '\u{feff}' | '\u{fff9}'..='\u{fffb}' | '\u{e0000}'..='\u{e007f}')
}

fn command_data(text: &str) -> String {
    // A line break inside the message stays one, so it is escaped before the invisible rest.
    let escaped = text
        .replace('%', "%25")
        .replace('\r', "%0D")
        .replace('\n', "%0A");
    visible(&escaped)
}

fn command_property(text: &str) -> String {
    command_data(text).replace(':', "%3A").replace(',', "%2C")
}

/// How many characters of a source line are shown around the place.
const EXCERPT: usize = 100;

fn write_excerpt(out: &mut String, line: &[u8], at: Pos) {
    let column = at.column as usize - 1;
    let from = column.saturating_sub(EXCERPT / 2);
    // A line can be as long as the file: never look further than the window reaches.
    let window = &line[..line.len().min((from + EXCERPT) * 4)];
    let window = String::from_utf8_lossy(window).replace('\t', " ");
    let before: String = window.chars().skip(from).take(column - from).collect();
    let after: String = window
        .chars()
        .skip(column)
        .take(EXCERPT - (column - from))
        .collect();
    let before = visible(&before);
    let _ = writeln!(
        out,
        "{:>5} | {before}{}",
        at.line,
        visible(after.trim_end())
    );
    let _ = writeln!(
        out,
        "      | {:>width$}",
        "^",
        width = before.chars().count() + 1
    );
}

/// One fault, by byte offset.
#[derive(Clone, Debug)]
pub struct Fault {
    rule: &'static str,
    severity: Severity,
    offset: Option<u32>,
    first: Option<u32>,
    problem: String,
    help: Option<String>,
}

impl Fault {
    /// An error at a byte offset.
    pub fn error(rule: &'static str, offset: u32, problem: impl Into<String>) -> Self {
        let (problem, offset) = (problem.into(), Some(offset));
        Self {
            rule,
            severity: Severity::Error,
            offset,
            first: None,
            problem,
            help: None,
        }
    }

    /// A warning at a byte offset.
    pub fn warning(rule: &'static str, offset: u32, problem: impl Into<String>) -> Self {
        Self {
            severity: Severity::Warning,
            ..Self::error(rule, offset, problem)
        }
    }

    /// An error of the file as a whole.
    pub fn of_file(rule: &'static str, problem: impl Into<String>) -> Self {
        Self::error(rule, 0, problem).of_whole_file()
    }

    /// Means the file and no place in it.
    pub fn of_whole_file(self) -> Self {
        Self {
            offset: None,
            ..self
        }
    }

    /// Says what to do about it.
    pub fn help(mut self, help: impl Into<String>) -> Self {
        self.help = Some(help.into());
        self
    }

    /// Points at an earlier place that this one repeats; its line is appended to the problem.
    pub fn first_at(mut self, offset: u32) -> Self {
        self.first = Some(offset);
        self
    }

    /// What it takes in memory, in bytes, until it is shown: twice in a list that grows, and as a [`Diagnostic`].
    fn cost(&self) -> usize {
        let text = self.problem.len() + self.help.as_ref().map_or(0, String::len);
        2 * size_of::<Self>() + size_of::<Diagnostic>() + text
    }
}

/// The faults of one file, in the order in which they were found.
#[derive(Debug)]
pub struct Faults {
    list: Vec<Fault>,
    /// How many found no room.
    left_out: BTreeMap<(Severity, &'static str), usize>,
    errors: usize,
    /// Memory for more of them, in bytes.
    room: usize,
    /// Of which kinds there is one in the list, as soon as there is little room; before that all are.
    kinds: Option<BTreeSet<(Severity, &'static str, String)>>,
}

impl Default for Faults {
    fn default() -> Self {
        Self::within(ROOM)
    }
}

impl Faults {
    /// None yet, with so many bytes of memory for them.
    pub(crate) fn within(room: usize) -> Self {
        Self {
            list: Vec::new(),
            left_out: BTreeMap::new(),
            errors: 0,
            room,
            kinds: None,
        }
    }

    /// None yet of a file of so many bytes, which is read by itself.
    pub(crate) fn of_length(length: usize) -> Self {
        Self::within(ROOM + ROOM_FOR_EACH_BYTE * length)
    }

    /// Forgets them all.
    pub(crate) fn clear(&mut self) {
        self.room += self.list.drain(..).map(|it| it.cost()).sum::<usize>();
        self.left_out.clear();
        self.errors = 0;
        self.kinds = None;
    }

    /// How many bytes of memory there are for more of them.
    pub(crate) fn room(&self) -> usize {
        self.room
    }

    /// Keeps `fault`, or counts it when there is no room for more.
    pub fn add(&mut self, fault: Fault) {
        let needs = fault.cost() + ROOM_FOR_THE_LAST;
        let is_kept = needs + ROOM_FOR_EXAMPLES <= self.room
            || (needs <= self.room && self.is_first_of_its_kind(&fault));
        self.add_if(is_kept, fault);
    }

    /// The same for the last one, for which there is some room left.
    pub(crate) fn add_last(&mut self, fault: Fault) {
        let is_kept = fault.cost() <= self.room;
        self.add_if(is_kept, fault);
    }

    fn add_if(&mut self, is_kept: bool, fault: Fault) {
        if fault.severity == Severity::Error {
            self.errors += 1;
        }
        if is_kept {
            self.room -= fault.cost();
            self.list.push(fault);
        } else {
            *self
                .left_out
                .entry((fault.severity, fault.rule))
                .or_default() += 1;
        }
    }

    /// Whether the list has none of the kind of `fault`, which it has from here on.
    fn is_first_of_its_kind(&mut self, fault: &Fault) -> bool {
        let kind = |it: &Fault| (it.severity, it.rule, fold::kind_of(&it.problem));
        let list = &self.list;
        let kinds =
            (self.kinds).get_or_insert_with(|| list.iter().take(MANY_KINDS).map(kind).collect());
        kinds.len() < MANY_KINDS && kinds.insert(kind(fault))
    }

    /// The same faults without anything that the file says: each is told by the sentence of its rule, and what to do about it is left
    /// out. That a field is missing quotes nothing, and stays as it is.
    pub(crate) fn by_rule(mut self, sentence: impl Fn(&str) -> Option<&'static str>) -> Self {
        for fault in &mut self.list {
            if fault.rule == "missing-field" {
                continue;
            }
            let rule = sentence(fault.rule).unwrap_or("The file is not as it has to be.");
            fault.problem = format!("against the rule: {rule}");
            fault.help = None;
        }
        self
    }

    /// Where the errors are that were kept, in the order in which they were found.
    pub(crate) fn error_offsets(&self) -> Vec<Option<u32>> {
        let errors = self.list.iter().filter(|it| it.severity == Severity::Error);
        errors.map(|it| it.offset).collect()
    }

    /// How many errors there are.
    pub(crate) fn errors(&self) -> usize {
        self.errors
    }

    /// Whether there are so many errors that the file need not be read on.
    pub(crate) fn are_enough(&self) -> bool {
        self.errors >= ENOUGH
    }

    /// Whether one of them stops the commit.
    pub fn has_errors(&self) -> bool {
        self.errors > 0
    }

    /// Turns offsets into lines and columns of `file`, whose bytes are `text`. Also tells how many were not kept.
    pub(crate) fn resolve(
        self,
        file: &str,
        text: &[u8],
    ) -> (Vec<Diagnostic>, BTreeMap<Sort, usize>) {
        let mut offsets: Vec<u32> = self
            .list
            .iter()
            .flat_map(|fault| [fault.offset, fault.first])
            .flatten()
            .collect();
        offsets.sort_unstable();
        offsets.dedup();
        let places: Vec<Pos> = places_of(text, &offsets);
        let place = |offset: u32| offsets.binary_search(&offset).ok().map(|i| places[i]);
        let diagnostics = self
            .list
            .into_iter()
            .map(
                |Fault {
                     rule,
                     severity,
                     offset,
                     first,
                     mut problem,
                     help,
                 }| {
                    if let Some(first) = first.and_then(place) {
                        let _ = write!(problem, " (first on line {})", first.line);
                    }
                    Diagnostic {
                        file: file.to_owned(),
                        at: offset.and_then(place),
                        severity,
                        rule,
                        problem,
                        help,
                    }
                },
            )
            .collect();
        let sort = |(severity, rule)| Sort {
            file: file.to_owned(),
            severity,
            rule,
        };
        let left_out = self.left_out.into_iter();
        let left_out = left_out.map(|(kind, count)| (sort(kind), count)).collect();
        (diagnostics, left_out)
    }
}

/// The places of byte `offsets` (ascending) in `text`, in one walk.
pub fn places_of(text: &[u8], offsets: &[u32]) -> Vec<Pos> {
    let (mut line, mut column, mut at) = (1_u32, 1_u32, 0_usize);
    let mut places = Vec::with_capacity(offsets.len());
    for &offset in offsets {
        let end = (offset as usize).min(text.len()).max(at);
        let passed = &text[at..end];
        let breaks = passed.iter().filter(|&&b| b == b'\n').count();
        if let Some(last) = passed.iter().rposition(|&b| b == b'\n') {
            column = 1 + characters(&passed[last + 1..]);
        } else {
            column += characters(passed);
        }
        line += u32::try_from(breaks).unwrap_or(u32::MAX);
        places.push(Pos { line, column });
        at = end;
    }
    places
}

fn characters(bytes: &[u8]) -> u32 {
    u32::try_from(bytes.iter().filter(|&&b| b & 0xc0 != 0x80).count()).unwrap_or(u32::MAX)
}

/// The lines of a file, asked for in ascending order.
struct Lines<'t> {
    rest: &'t [u8],
    line: u32,
}

impl<'t> Lines<'t> {
    fn new(text: &'t [u8]) -> Self {
        Self {
            rest: text,
            line: 1,
        }
    }

    fn line(&mut self, wanted: u32) -> &'t [u8] {
        while self.line < wanted {
            let Some(end) = self.rest.iter().position(|&b| b == b'\n') else {
                return &[];
            };
            self.rest = &self.rest[end + 1..];
            self.line += 1;
        }
        let end = self
            .rest
            .iter()
            .position(|&b| b == b'\n')
            .unwrap_or(self.rest.len());
        &self.rest[..end]
    }
}

#[cfg(test)]
mod tests;
