//! Diagnostics as a forge shows them beside the lines they are about.

use std::fmt::Write as _;

use crate::diagnostic::{Diagnostic, Severity, visible};

/// Characters of a title; more is cut by forges without a word.
const TITLE: usize = 200;

/// Characters of a message.
const MESSAGE: usize = 4_000;

/// One remark beside one line. Plain text: no forge reads markup in it, and no character of it is hidden.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Annotation {
    /// The path inside the state repository.
    pub path: String,
    /// The line, from 1; 1 when the file as a whole is meant.
    pub line: u32,
    /// The column in characters, from 1, when the place is known.
    pub column: Option<u32>,
    /// How bad it is.
    pub level: Level,
    /// The name of the rule.
    pub title: String,
    /// What is wrong, and on a second line what to do.
    pub message: String,
}

/// How bad it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Level {
    /// The commit is not adopted.
    Failure,
    /// Worth a look.
    Warning,
}

/// All diagnostics as annotations, in the order of files, lines and columns. Forges take 50 in one call.
pub fn annotations<'a>(diagnostics: impl IntoIterator<Item = &'a Diagnostic>) -> Vec<Annotation> {
    let mut sorted: Vec<&Diagnostic> = diagnostics.into_iter().collect();
    sorted.sort();
    sorted.into_iter().map(annotation).collect()
}

fn annotation(diagnostic: &Diagnostic) -> Annotation {
    let Diagnostic {
        file,
        at,
        severity,
        rule,
        problem,
        help,
    } = diagnostic;
    let mut message = visible(problem);
    if let Some(help) = help {
        let _ = write!(message, "\nhelp: {}", visible(help));
    }
    Annotation {
        path: visible(file),
        line: at.map_or(1, |at| at.line),
        column: at.map(|at| at.column),
        level: match severity {
            Severity::Error => Level::Failure,
            Severity::Warning => Level::Warning,
        },
        title: cut(visible(rule), TITLE),
        message: cut(message, MESSAGE),
    }
}

fn cut(mut text: String, most: usize) -> String {
    if let Some((end, _)) = text.char_indices().nth(most) {
        text.truncate(end);
        text.push('…');
    }
    text
}
