//! Where something stands in a settings file, and what is wrong there.

use std::fmt;
use std::ops::Range;
use std::sync::Arc;

/// A place in a settings file; line and column count from 1, columns in characters.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Place {
    /// The file as it was named.
    pub file: Arc<str>,
    /// Line and column; `None` for the file as a whole.
    pub at: Option<(usize, usize)>,
}

impl Place {
    /// The file as a whole.
    pub(super) fn of_file(file: &Arc<str>) -> Self {
        Self {
            file: Arc::clone(file),
            at: None,
        }
    }

    /// The beginning of `span` in `text`.
    pub(super) fn of_span(file: &Arc<str>, text: &str, span: &Range<usize>) -> Self {
        // An error at the very end points behind the last byte.
        let start = (0..=span.start.min(text.len()))
            .rev()
            .find(|at| text.is_char_boundary(*at));
        let before = &text[..start.unwrap_or(0)];
        let line = before.matches('\n').count() + 1;
        let column = before.rsplit('\n').next().unwrap_or("").chars().count() + 1;
        Self {
            file: Arc::clone(file),
            at: Some((line, column)),
        }
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { file, at } = self;
        f.write_str(file)?;
        match at {
            Some((line, column)) => write!(f, ":{line}:{column}"),
            None => Ok(()),
        }
    }
}

/// A value and where it stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct At<T> {
    pub(super) value: T,
    pub(super) place: Place,
}

impl<T> At<T> {
    /// A value that no file gave.
    pub(super) fn default_of(value: T) -> Self {
        let file = Arc::from("the default");
        Self {
            value,
            place: Place::of_file(&file),
        }
    }

    /// Where a file gave the value; `None` for a default.
    pub(super) fn given(&self) -> Option<&Place> {
        Some(&self.place).filter(|it| it.at.is_some())
    }
}

/// One thing that is wrong in the settings.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Problem {
    /// Where.
    pub place: Place,
    /// What.
    pub problem: String,
    /// What to do.
    pub help: Option<String>,
}

impl Problem {
    pub(super) fn new(place: Place, problem: impl Into<String>) -> Self {
        Self {
            place,
            problem: problem.into(),
            help: None,
        }
    }

    pub(super) fn help(mut self, help: impl Into<String>) -> Self {
        self.help = Some(help.into());
        self
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            place,
            problem,
            help,
        } = self;
        write!(f, "{place}: {problem}")?;
        match help {
            Some(help) => write!(f, "\n  help: {help}"),
            None => Ok(()),
        }
    }
}
