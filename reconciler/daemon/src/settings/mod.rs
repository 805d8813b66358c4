//! What the administrator of this host decided: `/etc/muster/muster.toml` and `muster.toml.d/*.toml` beside it.
//!
//! Three stages, each a type of its own: a *fragment* is one file, every value with its place; *inputs* are the fragments
//! laid over one another in order; *settings* are checked and complete. Every problem of a stage is told at once. Nothing
//! of the state repository reaches this module (invariant 3).

mod executors;
mod fleet;
mod fragment;
mod inputs;
mod place;
mod source;
mod validate;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use muster_core::accounts::policy::{Aggregate, Policy};
use muster_git::Origin;

pub use executors::ExecutorSettings;
pub use fleet::{DriftIssue, ForgePlace, ForgeSettings, HttpSettings, Role, TlsFiles};
use fragment::Fragment;
use inputs::Inputs;
pub use place::{Place, Problem};
pub(crate) use source::read_guarded;

/// Where the settings are unless the command line says otherwise.
pub const DEFAULT_PATH: &str = "/etc/muster/muster.toml";

/// Where the public keys of the hosts are unless the settings say otherwise.
const DEFAULT_HOSTS: &str = "/etc/muster/hosts";

/// Checked settings: nothing in them needs a second look.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settings {
    /// What plans and verdicts depend on.
    pub policy: Policy,
    /// Where the state repository is; the one setting without a default.
    pub url: Option<Origin>,
    /// The full name of the protected branch's ref.
    pub branch: String,
    /// How often to look for a new commit.
    pub poll: Duration,
    /// How often to look at the host although nothing is known to have moved.
    pub drift: Duration,
    /// Where this executor keeps identity, lock, journal, ledger and mirror.
    pub dir: PathBuf,
    /// The tree that is managed: `/`, or a system that is not booted.
    pub root: PathBuf,
    /// Where archives of homes are kept, for root alone; its parent must exist.
    pub archives: PathBuf,
    /// Homes are archived and removed only below one of these directories, seen from [`Settings::root`].
    pub home_roots: Vec<PathBuf>,
    /// Whom archives are encrypted to, if they are.
    pub seal: Option<muster_host::archive::Seal>,
    /// Where each aggregate file is, seen from [`Settings::root`].
    pub files: BTreeMap<Aggregate, PathBuf>,
    /// Where this host finds the cluster's map from k8s_user to tier, seen from [`Settings::root`] (R10–R12).
    pub k8s_users: Option<PathBuf>,
    /// Where each person's environment file is, seen from [`Settings::root`].
    pub environment: Option<PathTemplate>,
    /// Whether reports are left as git notes.
    pub notes: Notes,
    /// What this process does.
    pub roles: BTreeSet<Role>,
    /// The repository to which hosts push their ledgers, and out of which a bot plans.
    pub ledger: Option<Origin>,
    /// The file with the public keys of the hosts, which sign their ledgers.
    pub hosts: PathBuf,
    /// A host that has not told anything for so long is not planned for.
    pub stale: Duration,
    /// How this bot calls itself where several of them decide which one acts.
    pub replica: String,
    /// The forge where people propose changes.
    pub forge: Option<ForgeSettings>,
    /// The one HTTP server, where there is one.
    pub http: Option<HttpSettings>,
    /// What the log tells.
    pub level: Level,
    /// Where the root of trust is: beside the settings, and not to be set elsewhere.
    pub trust: PathBuf,
    /// How it is written; as its reader can best use it, when nobody said.
    pub log_format: Option<LogFormat>,
}

/// Whether reports are left as notes in a local state repository.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Notes {
    /// Where the origin is local and can be written.
    Leave,
    /// Never.
    Omit,
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

/// An absolute path with one place for a person's name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PathTemplate {
    before: String,
    after: String,
}

impl PathTemplate {
    /// What stands for the name.
    pub const PLACEHOLDER: &str = "{user}";

    /// The path for one person.
    pub fn fill(&self, user: &str) -> PathBuf {
        PathBuf::from(format!("{}{user}{}", self.before, self.after))
    }

    /// The directory that holds all of them.
    pub fn dir(&self) -> &Path {
        Path::new(match self.before.rfind('/') {
            Some(0) | None => "/",
            Some(end) => &self.before[..end],
        })
    }

    /// What stands before and after the name in the file's own name.
    pub fn affixes(&self) -> (&str, &str) {
        (
            &self.before[self.before.rfind('/').map_or(0, |slash| slash + 1)..],
            &self.after,
        )
    }
}

/// What settings fall back on that is a fact of the machine or of this process, and not of a file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ambient {
    /// The machine's host name; its first label is the default name.
    pub hostname: String,
    /// The account muster runs as: always a protected name.
    pub account: Option<String>,
    /// Where the service manager put this process's credentials.
    pub credentials: Option<PathBuf>,
    /// Something that no other process has, such as on a machine of the same name.
    pub process: String,
}

impl Ambient {
    /// Asks the system.
    pub fn ask() -> Self {
        Self {
            hostname: nix::unistd::gethostname()
                .ok()
                .and_then(|name| name.into_string().ok())
                .unwrap_or_default(),
            account: nix::unistd::User::from_uid(nix::unistd::geteuid())
                .ok()
                .flatten()
                .map(|user| user.name),
            credentials: std::env::var_os("CREDENTIALS_DIRECTORY").map(PathBuf::from),
            process: {
                let mut bytes = [0; 4];
                // Without random numbers there is still the process's own, which differs on one machine.
                match getrandom::fill(&mut bytes) {
                    Ok(()) => bytes.iter().map(|byte| format!("{byte:02x}")).collect(),
                    Err(_) => std::process::id().to_string(),
                }
            },
        }
    }
}

/// Settings that cannot be used.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub struct SettingsError {
    /// All that is wrong, in the order of files and places.
    pub problems: Vec<Problem>,
}

impl fmt::Display for SettingsError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { problems } = self;
        match problems.len() {
            1 => f.write_str("the settings cannot be used:")?,
            many => write!(f, "the settings cannot be used, for {many} reasons:")?,
        }
        for problem in problems {
            write!(f, "\n{problem}")?;
        }
        Ok(())
    }
}

/// Reads, merges and checks the settings at `path` and in `path` + `.d`.
///
/// # Errors
/// [`SettingsError`] with every problem of the first stage that has any.
pub fn load(path: &Path, ambient: &Ambient) -> Result<Settings, SettingsError> {
    let mut problems = Vec::new();
    let mut inputs = Inputs::default();
    for source in source::read_all(path, &mut problems) {
        let fragment = Fragment::read(&source.name, &source.text, &mut problems);
        inputs = inputs.overlaid_with(fragment);
    }
    // What was not understood is not checked: the second kind of complaint would often be a shadow of the first.
    let settings = if problems.is_empty() {
        validate::settings(inputs, ambient, &mut problems)
    } else {
        None
    };
    match settings {
        Some(settings) if problems.is_empty() => Ok(Settings {
            trust: path.with_file_name("trust").join("root.toml"),
            ..settings
        }),
        _ => {
            problems.sort();
            problems.dedup();
            Err(SettingsError { problems })
        }
    }
}

#[cfg(test)]
mod tests;
