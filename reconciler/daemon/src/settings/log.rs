//! `[log]`: what the log tells, and how it is written.

use super::section::{Check, Checks, section};
use super::values::one_of;

section! {
    /// What is told: error, warn, info, debug or trace.
    level: String, default "info";
    /// How: human (lines on standard error), json (an object in each line, there too) or journald (fields of the journal). No
    /// default: journald under systemd, human elsewhere.
    format: String, example "human";
}

/// What the log tells, and how.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LogSettings {
    /// What it tells.
    pub level: Level,
    /// How it is written; as its reader can best use it, when nobody said.
    pub format: Option<LogFormat>,
}

impl Check for Given {
    type Value = LogSettings;

    fn check(&self, checks: &mut Checks<'_>) -> Option<LogSettings> {
        let problems = &mut *checks.problems;
        let level = one_of(&self.level, "level", Level::ALL, Level::word, problems);
        let format = match &self.format {
            Some(it) => Some(one_of(
                it,
                "format",
                LogFormat::ALL,
                LogFormat::word,
                problems,
            )?),
            None => None,
        };
        Some(LogSettings {
            level: level?,
            format,
        })
    }
}

/// How much the log tells.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Level {
    /// What failed.
    Error,
    /// And what may need a person.
    Warn,
    /// And what was done.
    Info,
    /// And why.
    Debug,
    /// And everything else.
    Trace,
}

impl Level {
    /// All of them, quiet first.
    pub const ALL: [Self; 5] = [
        Self::Error,
        Self::Warn,
        Self::Info,
        Self::Debug,
        Self::Trace,
    ];

    /// The word in the settings.
    pub fn word(self) -> &'static str {
        match self {
            Self::Error => "error",
            Self::Warn => "warn",
            Self::Info => "info",
            Self::Debug => "debug",
            Self::Trace => "trace",
        }
    }
}

/// How the log is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum LogFormat {
    /// Lines for people, on standard error.
    Human,
    /// A JSON object in each line, on standard error.
    Json,
    /// Fields of the journal; as for people, where there is no journal.
    Journald,
}

impl LogFormat {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Human, Self::Json, Self::Journald];

    /// The word in the settings.
    pub fn word(self) -> &'static str {
        match self {
            Self::Human => "human",
            Self::Json => "json",
            Self::Journald => "journald",
        }
    }
}
