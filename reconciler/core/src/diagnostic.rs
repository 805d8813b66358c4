//! What is wrong in a file, where it stands, and what to do about it.
//!
//! A reader collects [`Faults`] by byte offset, which costs nothing while all is well. Only at the end are they turned
//! into [`Diagnostics`] with line and column, in one walk over the file.

use std::collections::BTreeMap;
use std::fmt::{self, Write as _};

/// How many diagnostics are shown; the rest is counted, so that a hostile file cannot flood a comment.
pub const SHOWN: usize = 1_000;

/// How many faults of one file are kept; the rest is counted, so that a hostile file cannot fill the memory.
const KEPT: usize = 10_000;

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

/// Diagnostics in the order in which they are shown, without repetitions.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[must_use = "unread diagnostics help nobody"]
pub struct Diagnostics {
    list: Vec<Diagnostic>,
    left_out: usize,
}

impl Diagnostics {
    /// Sorts `list` and drops repetitions; `left_out` more were found but not kept.
    pub fn new(mut list: Vec<Diagnostic>, left_out: usize) -> Self {
        list.sort();
        list.dedup();
        Self { list, left_out }
    }

    /// Both, in the order in which they are shown.
    pub fn and(mut self, mut others: Self) -> Self {
        self.list.append(&mut others.list);
        Self::new(self.list, self.left_out + others.left_out)
    }

    /// All that were kept, sorted by file and place.
    pub fn iter(&self) -> impl Iterator<Item = &Diagnostic> {
        self.list.iter()
    }

    /// How many were kept.
    pub fn len(&self) -> usize {
        self.list.len()
    }

    /// Whether there is nothing to say.
    pub fn is_empty(&self) -> bool {
        self.list.is_empty() && self.left_out == 0
    }

    /// The renderers show the first [`SHOWN`]; this is how many they leave out.
    pub fn left_out(&self) -> usize {
        self.list.len().saturating_sub(SHOWN) + self.left_out
    }

    fn shown(&self) -> &[Diagnostic] {
        &self.list[..self.list.len().min(SHOWN)]
    }
}

impl fmt::Display for Diagnostics {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let errors = self
            .list
            .iter()
            .filter(|d| d.severity == Severity::Error)
            .count();
        let warnings = self.list.len() - errors;
        write!(
            f,
            "{errors} errors and {warnings} warnings in the state repository"
        )?;
        match self.left_out {
            0 => Ok(()),
            more => write!(f, ", and {more} more"),
        }
    }
}

impl std::error::Error for Diagnostics {}

/// Renders for a terminal: each diagnostic with its source line and a caret under the place.
pub fn human(diagnostics: &Diagnostics, files: &BTreeMap<String, Vec<u8>>) -> String {
    let mut out = String::new();
    let mut lines: Option<(&str, Lines<'_>)> = None;
    for diagnostic in diagnostics.shown() {
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
    }
    if diagnostics.left_out() > 0 {
        let _ = writeln!(out, "… and {} more", diagnostics.left_out());
    }
    out
}

/// Renders as JSON: an object with `diagnostics` (file, line, column, severity, rule, problem, help) and `left_out`.
/// The shape is stable: keys are only ever added.
pub fn json(diagnostics: &Diagnostics) -> String {
    let list: Vec<_> = diagnostics
        .shown()
        .iter()
        .map(
            |Diagnostic {
                 file,
                 at,
                 severity,
                 rule,
                 problem,
                 help,
             }| {
                serde_json::json!({
                    "file": file,
                    "line": at.map(|at| at.line),
                    "column": at.map(|at| at.column),
                    "severity": severity.as_str(),
                    "rule": rule,
                    "problem": problem,
                    "help": help,
                })
            },
        )
        .collect();
    let mut out = format!(
        "{:#}",
        serde_json::json!({ "diagnostics": list, "left_out": diagnostics.left_out() })
    );
    out.push('\n');
    out
}

/// Renders as workflow commands, which a hosted forge shows as annotations beside the changed lines.
pub fn github(diagnostics: &Diagnostics) -> String {
    let mut out = String::new();
    for Diagnostic {
        file,
        at,
        severity,
        rule,
        problem,
        help,
    } in diagnostics.shown()
    {
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
        out.push('\n');
    }
    if diagnostics.left_out() > 0 {
        let _ = writeln!(
            out,
            "::error title=more::and {} more",
            diagnostics.left_out()
        );
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
}

/// The faults of one file, in the order in which they were found.
#[derive(Debug, Default)]
pub struct Faults {
    list: Vec<Fault>,
    left_out: usize,
    errors: usize,
}

impl From<Fault> for Faults {
    fn from(fault: Fault) -> Self {
        let mut faults = Self::default();
        faults.add(fault);
        faults
    }
}

impl Faults {
    /// Keeps `fault`, or counts it when there are too many already.
    pub fn add(&mut self, fault: Fault) {
        if fault.severity == Severity::Error {
            self.errors += 1;
        }
        if self.list.len() < KEPT {
            self.list.push(fault);
        } else {
            self.left_out += 1;
        }
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

    /// Whether one of them stops the commit.
    pub fn has_errors(&self) -> bool {
        self.errors > 0
    }

    /// Turns offsets into lines and columns of `file`, whose bytes are `text`. Also tells how many were not kept.
    pub fn resolve(self, file: &str, text: &[u8]) -> (Vec<Diagnostic>, usize) {
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
        (diagnostics, self.left_out)
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
mod tests {
    use super::*;

    fn one(problem: &str, at: Pos) -> Diagnostics {
        let help = Some("do: this, 100%\nnow".to_owned());
        let (file, severity, rule) = ("roster.yaml".to_owned(), Severity::Error, "some-rule");
        Diagnostics::new(
            vec![Diagnostic {
                file,
                at: Some(at),
                severity,
                rule,
                problem: problem.into(),
                help,
            }],
            0,
        )
    }

    fn files(text: &str) -> BTreeMap<String, Vec<u8>> {
        BTreeMap::from([("roster.yaml".to_owned(), text.as_bytes().to_vec())])
    }

    #[test]
    fn places_count_characters_from_one() {
        let text = "ab\nçd\n\n".as_bytes();
        let places = places_of(text, &[0, 1, 3, 5, 7, 8, 99]);
        let shown: Vec<String> = places.iter().map(ToString::to_string).collect();
        assert_eq!(shown, ["1:1", "1:2", "2:1", "2:2", "3:1", "4:1", "4:1"]);
    }

    #[test]
    fn human_points_with_a_caret() {
        let found = one("wrong", Pos { line: 2, column: 3 });
        assert_eq!(
            human(&found, &files("users:\n  ébc: x\n")),
            "roster.yaml:2:3: error: wrong [some-rule]\n    2 |   ébc: x\n      |   ^\n      = do: this, 100%\\u{a}now\n"
        );
    }

    #[test]
    fn human_shows_what_hides() {
        let found = one("a\u{202e}b\u{1b}[31m", Pos { line: 1, column: 4 });
        let shown = human(&found, &files("x\u{202e}y\u{7}z"));
        assert!(shown.contains("a\\u{202e}b\\u{1b}[31m"), "{shown}");
        assert!(
            shown.contains("    1 | x\\u{202e}y\\u{7}z\n      |           ^\n"),
            "{shown}"
        );
    }

    #[test]
    fn human_cuts_a_long_line_around_the_place() {
        let found = one(
            "wrong",
            Pos {
                line: 1,
                column: 100_001,
            },
        );
        let shown = human(&found, &files(&"é".repeat(200_000)));
        assert!(shown.len() < 1_000, "{}", shown.len());
    }

    #[test]
    fn commands_are_escaped() {
        let found = one("a%b\nc", Pos { line: 2, column: 3 });
        assert_eq!(
            github(&found),
            "::error file=roster.yaml,line=2,col=3,title=some-rule::a%25b%0Ac%0Ado: this, 100%25%0Anow\n"
        );
        assert_eq!(command_property("a:b,c"), "a%3Ab%2Cc");
    }

    #[test]
    fn json_has_the_same_keys_for_every_diagnostic() {
        let shown = json(&one("wrong", Pos { line: 2, column: 3 }));
        let value: serde_json::Value = serde_json::from_str(&shown).unwrap();
        assert_eq!(value["diagnostics"][0]["column"], 3);
        assert_eq!(value["left_out"], 0);
    }

    #[test]
    fn a_flood_is_counted_not_shown() {
        let mut faults = Faults::default();
        for i in 0..20_000_u32 {
            faults.add(Fault::error("some-rule", i, format!("fault {i}")));
        }
        let (list, left_out) = faults.resolve("roster.yaml", &b"\n".repeat(20_000));
        let found = Diagnostics::new(list, left_out);
        assert_eq!((found.len(), found.left_out()), (10_000, 19_000));
        assert!(human(&found, &BTreeMap::new()).ends_with("… and 19000 more\n"));
    }

    #[test]
    fn repetitions_are_dropped_and_the_rest_is_sorted() {
        let mut faults = Faults::default();
        for offset in [4, 0, 4] {
            faults.add(Fault::error("some-rule", offset, "same").first_at(0));
        }
        let (list, left_out) = faults.resolve("f", b"a\nb\nc");
        let shown: Vec<String> = Diagnostics::new(list, left_out)
            .iter()
            .map(ToString::to_string)
            .collect();
        assert_eq!(
            shown,
            [
                "f:1:1: error: same (first on line 1) [some-rule]",
                "f:3:1: error: same (first on line 1) [some-rule]"
            ]
        );
    }
}
