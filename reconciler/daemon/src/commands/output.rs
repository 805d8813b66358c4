//! Standard output, and complaints on standard error.

use std::error::Error;
use std::ffi::OsString;
use std::fmt;
use std::io::{self, BufWriter, StdoutLock, Write};

use muster_core::diagnostic::visible;

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
pub(super) fn complain(error: &CommandError, args: &[OsString]) {
    let mut text = format!("error: {error}\n");
    let mut source = error.source();
    while let Some(cause) = source {
        text.push_str(&format!("caused by: {cause}\n"));
        source = cause.source();
    }
    if let Some(help) = error.help() {
        text.push_str(&format!("help: {help}\n"));
    }
    note(&harmless(&text, args));
}

/// `text` without anything that a terminal would obey: its lines are ours, and what it repeats of the arguments has none (F15).
fn harmless(text: &str, args: &[OsString]) -> String {
    let mut text = text.to_owned();
    for arg in args {
        let arg = arg.to_string_lossy();
        let value = arg.split_once('=').map(|(_, value)| value);
        for said in [Some(&*arg), value].into_iter().flatten() {
            let shown = visible(said);
            if shown != said && said.trim() != "" {
                text = text.replace(said, &shown);
            }
        }
    }
    let lines: Vec<String> = text.split('\n').map(visible).collect();
    lines.join("\n")
}

/// Writes `text` on standard error; nobody is left to hear when that fails.
pub(super) fn note(text: &str) {
    let _ = io::stderr().lock().write_all(text.as_bytes());
}
