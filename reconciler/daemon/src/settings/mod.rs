//! What the administrator of this host decided: `/etc/muster/muster.toml` and `muster.toml.d/*.toml` beside it.
//!
//! Three stages, each a type of its own: *fragments* are one file, every value with its place; *inputs* are all files laid
//! over one another in order, with the defaults below; *settings* are checked and complete. Every problem of a stage is told
//! at once. Nothing of the state repository reaches this module (invariant 3).
//!
//! Each section has a file that says everything of it: keys, defaults, what people read about them, checks, and what it
//! comes to. A new key is a line in its section's table; a new section is a file, named here twice. `[[guests]]` may stand there
//! several times: one for each executor of that kind.

mod place;
mod section;
mod source;
mod table;
mod values;

mod ambient;
mod executors;
mod shipped;

mod accounts;
mod archives;
mod files;
mod fleet;
mod forge;
mod guests;
mod host;
mod http;
mod instance;
mod limits;
mod log;
mod ports;
mod report;
mod services;
mod state;

use std::fmt;
use std::path::{Path, PathBuf};

use muster_core::accounts::policy::Policy;

pub use ambient::Ambient;
pub use archives::ArchivesSettings;
pub use executors::{ExecutorSettings, default_dir, unit_of};
pub use files::FilesSettings;
pub use fleet::{FleetSettings, Role};
pub use forge::{DriftIssue, ForgePlace, ForgeSettings};
pub use guests::{Authority, Credential, Entrance, GuestsSettings};
pub use host::HostSettings;
pub use http::{HttpSettings, TlsFiles};
pub use instance::{InstanceSettings, PathTemplate};
pub use log::{Level, LogFormat, LogSettings};
pub use place::{Place, Problem};
pub use report::{Notes, ReportSettings};
use section::{Check as _, Checks, Heading, Key, Named as _, Section as _};
pub use services::ServicesSettings;
pub use shipped::shipped;
pub(crate) use source::read_guarded;
pub use state::StateSettings;
use table::{Reader, Table};

/// Where the settings are unless the command line says otherwise.
pub const DEFAULT_PATH: &str = "/etc/muster/muster.toml";

section::sections! {
    state: StateSettings,
    host: HostSettings,
    accounts,
    instance: InstanceSettings,
    files: FilesSettings,
    ports,
    limits,
    archives: ArchivesSettings,
    report: ReportSettings,
    fleet: FleetSettings,
    forge: Option<ForgeSettings>,
    services: ServicesSettings,
    http: Option<HttpSettings>,
    log: LogSettings,;
    guests: GuestsSettings,
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
    let mut fragments = Fragments::default();
    for source in source::read_all(path, &mut problems) {
        let (mut reader, mut top) = Reader::open(&source.name, &source.text, &mut problems);
        let later = Fragments::read(&mut top, &mut reader);
        executors::refuse_those_not_kept(&mut top, &mut reader);
        top.refuse_the_rest(&mut reader);
        fragments = later.laid_over(fragments);
    }
    // What was not understood is not checked: the second kind of complaint would often be a shadow of the first.
    let settings = if problems.is_empty() {
        // Who may write the directories above it is asked, so they are named, whatever the settings were named by.
        let absolute = std::path::absolute(path).unwrap_or_else(|_| path.to_owned());
        let trust = absolute.with_file_name("trust").join("root.toml");
        fragments.complete().check(ambient, trust, &mut problems)
    } else {
        None
    };
    match settings {
        Some(settings) if problems.is_empty() => Ok(settings),
        _ => {
            problems.sort();
            problems.dedup();
            Err(SettingsError { problems })
        }
    }
}

#[cfg(test)]
mod tests;
