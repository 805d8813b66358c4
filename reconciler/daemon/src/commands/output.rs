//! Standard output, and complaints on standard error.

use std::error::Error;
use std::fmt;
use std::io::{self, BufWriter, StdoutLock, Write};

use super::CommandError;

/// Standard output: locked once, written in large pieces. The first failure is kept and told at the end.
#[derive(Debug)]
pub struct Output {
    stdout: BufWriter<StdoutLock<'static>>,
}

impl Output {
    /// Takes standard output for this process.
    pub fn stdout() -> Self {
        Self {
            stdout: BufWriter::with_capacity(64 << 10, io::stdout().lock()),
        }
    }

    /// Writes `text`.
    ///
    /// # Errors
    /// When nobody reads it any more, or the file it goes to is full.
    pub fn text(&mut self, text: &str) -> Result<(), CommandError> {
        self.bytes(text.as_bytes())
    }

    /// Writes `bytes`.
    ///
    /// # Errors
    /// As for [`Output::text`].
    pub fn bytes(&mut self, bytes: &[u8]) -> Result<(), CommandError> {
        self.stdout.write_all(bytes).map_err(CommandError::Output)
    }

    /// Writes one line.
    ///
    /// # Errors
    /// As for [`Output::text`].
    pub fn line(&mut self, line: impl fmt::Display) -> Result<(), CommandError> {
        writeln!(self.stdout, "{line}").map_err(CommandError::Output)
    }

    /// Makes sure that everything has been taken.
    ///
    /// # Errors
    /// As for [`Output::text`].
    pub fn finish(&mut self) -> Result<(), CommandError> {
        self.stdout.flush().map_err(CommandError::Output)
    }
}

/// Writes an error with its causes and what to do, on standard error.
pub(super) fn complain(error: &CommandError) {
    let mut text = format!("error: {error}\n");
    let mut source = error.source();
    while let Some(cause) = source {
        text.push_str(&format!("caused by: {cause}\n"));
        source = cause.source();
    }
    if let Some(help) = error.help() {
        text.push_str(&format!("help: {help}\n"));
    }
    note(&text);
}

/// Writes `text` on standard error; nobody is left to hear when that fails.
pub(super) fn note(text: &str) {
    let _ = io::stderr().lock().write_all(text.as_bytes());
}
