//! Diagnostics as a forge shows them beside the lines they are about.

use std::fmt::Write as _;

use crate::diagnostic::{Diagnostic, Severity, visible};
use crate::forge::{Annotation, Level};

/// Characters of a message; more is counted by nobody and read by nobody.
const MESSAGE: usize = 4_000;

/// All diagnostics as annotations, in the order of files, lines and columns. Forges take 50 in one call.
///
/// The message is plain text: the rule in brackets after what is wrong, and on a second line what to do. Nothing in it is
/// hidden. What is about a file as a whole stands on its first line.
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
    let mut message = format!("{} [{rule}]", cut(visible(problem)));
    if let Some(help) = help {
        let _ = write!(message, "\nhelp: {}", cut(visible(help)));
    }
    Annotation {
        path: visible(file),
        line: at.map_or(1, |at| at.line),
        column: at.map(|at| at.column),
        level: match severity {
            Severity::Error => Level::Failure,
            Severity::Warning => Level::Warning,
        },
        message,
    }
}

fn cut(mut text: String) -> String {
    if let Some((end, _)) = text.char_indices().nth(MESSAGE) {
        text.truncate(end);
        text.push('…');
    }
    text
}
