//! Colour, for those who see it: on a terminal, unless `NO_COLOR` is set.

use std::io::{IsTerminal as _, stdout};

/// Whether words are coloured.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Paint {
    /// They are.
    Colour,
    /// They are not.
    Plain,
}

impl Paint {
    /// As standard output wants it.
    pub(super) fn out() -> Self {
        let unwanted = std::env::var_os("NO_COLOR").is_some_and(|it| !it.is_empty());
        if stdout().is_terminal() && !unwanted {
            Self::Colour
        } else {
            Self::Plain
        }
    }

    /// What cannot be undone, or went wrong.
    pub(super) fn alarm(self, text: &str) -> String {
        self.with("31", text)
    }

    /// What somebody has to decide about.
    pub(super) fn warn(self, text: &str) -> String {
        self.with("33", text)
    }

    fn with(self, colour: &str, text: &str) -> String {
        match self {
            Self::Colour => format!("\x1b[{colour}m{text}\x1b[0m"),
            Self::Plain => text.to_owned(),
        }
    }
}
