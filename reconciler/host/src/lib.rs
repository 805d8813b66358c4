//! The only code that reads or changes this machine.
//!
//! [`Host`] is the world of an executor `host/<name>`: it observes what it is asked for and carries out intents, and
//! decides nothing. It works on `/` or on any directory that looks like one; what needs a running machine (processes,
//! units that run, name services) is done on `/` alone.

pub mod accounts;
pub mod archive;
pub mod root;
pub mod run;
pub mod survey;
pub mod time_service;

mod act;
mod dir;
mod files;
mod homes;
mod left_behind;
mod mounts;
mod name_services;
mod observe;
mod removal;
mod saved;
mod sessions;
mod step;
mod sudoers;
mod traces;
mod units;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use muster_core::accounts::policy::Aggregate;
use muster_core::gate::Intent;
use muster_core::rooms::{Observed, Question};
use muster_core::world::{Complaints, Recorder, World};

use dir::Dir;
use root::{Ownership, RootDir, RootError};
use saved::Saved;

pub use saved::SaveError;

/// Paths and options of a host: from root-owned settings, never from the state repository (invariant 3).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HostSettings {
    /// The root directory; paths of the fields below are inside it unless they say otherwise.
    pub root: PathBuf,
    /// What is done with changes of owner.
    pub ownership: Ownership,
    /// The shell of an account that is cut.
    pub nologin: String,
    /// Systemd template units of the per-person instance, such as `t3-serve@.service`.
    pub units: Vec<String>,
    /// The environment file of each person: an absolute path with `{user}` in one component, if the host has any.
    pub environment: Option<String>,
    /// The aggregate files this host keeps, as absolute paths.
    pub aggregates: BTreeMap<Aggregate, String>,
    /// The cluster's map from k8s_user to tier, as JSON, if this host is told of it: an absolute path.
    pub k8s_users: Option<String>,
    /// Where `sshd` looks for keys: relative to the home, or absolute; `%u` stands for the user, as in `sshd_config`.
    pub keys: Vec<String>,
    /// Where what a cut sets aside is kept, for root alone: a path of this machine, not inside [`Self::root`].
    pub saved: PathBuf,
    /// Where archives of homes are kept, for root alone: a path of this machine whose parent exists.
    pub archives: PathBuf,
    /// Homes are removed only below one of these directories.
    pub home_roots: Vec<String>,
    /// Whom archives are encrypted to, if they are.
    pub seal: Option<archive::Seal>,
}

impl HostSettings {
    /// The settings of a host that keeps accounts and homes and nothing else.
    #[must_use]
    pub fn new(root: &Path, saved: &Path) -> Self {
        let root_user = nix::unistd::geteuid().is_root();
        Self {
            root: root.to_owned(),
            ownership: if root_user {
                Ownership::Performed
            } else {
                Ownership::Recorded
            },
            nologin: "/usr/sbin/nologin".to_owned(),
            units: Vec::new(),
            environment: None,
            aggregates: BTreeMap::new(),
            k8s_users: None,
            keys: [".ssh/authorized_keys", ".ssh/authorized_keys2"]
                .map(str::to_owned)
                .into(),
            saved: saved.to_owned(),
            archives: saved.with_file_name("archives"),
            home_roots: vec!["/home".to_owned()],
            seal: None,
        }
    }
}

/// Why a host could not be opened.
#[derive(Debug, thiserror::Error)]
pub enum HostError {
    /// The root directory, or the one for what a cut sets aside, is not usable.
    #[error("cannot open the host")]
    Root(#[from] RootError),
    /// A setting is not what it must be.
    #[error("the setting {name} is {value:?}: {why}")]
    Setting {
        /// Which one, as its field is called.
        name: &'static str,
        /// What stands there.
        value: String,
        /// What is wrong with it.
        why: String,
    },
    /// Something other than a host was asked for.
    #[error("this is a host, and was asked for something else")]
    NotAHost,
}

/// A machine, or a directory that looks like one.
#[derive(Debug)]
pub struct Host {
    settings: HostSettings,
    root: RootDir,
    dir: Dir,
    saved: Saved,
    /// Whether the root is the root of the running machine.
    live: bool,
    environment: Option<files::Pattern>,
    digests: files::Digests,
    listed: left_behind::Listed,
    name_services: name_services::NameServices,
}

impl Host {
    /// The same, but it writes down what it listed beside the directory for what a cut sets aside, where the process after it finds
    /// it: for whoever acts, and is alone.
    #[must_use]
    pub fn remembering(mut self) -> Self {
        self.listed.write();
        self
    }

    /// Opens a host. The directory for what a cut sets aside is made, for root alone, when there is none.
    ///
    /// # Errors
    /// When a setting is unusable, or a directory cannot be opened.
    pub fn open(settings: HostSettings) -> Result<Self, HostError> {
        let wrong = |name, value: &str, why| HostError::Setting {
            name,
            value: value.to_owned(),
            why,
        };
        homes::check(&settings.nologin).map_err(|why| wrong("nologin", &settings.nologin, why))?;
        if let Some(path) = &settings.k8s_users {
            homes::check(path).map_err(|why| wrong("k8s_users", path, why))?;
        }
        for path in settings.aggregates.values() {
            homes::check(path).map_err(|why| wrong("aggregates", path, why))?;
        }
        for path in &settings.home_roots {
            homes::check(path).map_err(|why| wrong("home_roots", path, why))?;
        }
        for pattern in &settings.keys {
            let absolute = format!("/{}", pattern.trim_start_matches('/'));
            homes::check(&absolute).map_err(|_| {
                wrong(
                    "keys",
                    pattern,
                    "it must be a path without `.`, `..` and doubled slashes".to_owned(),
                )
            })?;
        }
        for template in &settings.units {
            if template.is_empty()
                || template.contains(['/', '*', '?', '[', '\0'])
                || !template.contains('.')
            {
                return Err(wrong(
                    "units",
                    template,
                    "it must be the name of a unit, such as `t3-serve@.service`".to_owned(),
                ));
            }
        }
        let environment = match &settings.environment {
            Some(setting) => Some(
                files::Pattern::parse(setting).map_err(|why| wrong("environment", setting, why))?,
            ),
            None => None,
        };
        let root = RootDir::open(&settings.root, settings.ownership)?;
        let dir = Dir::open(&settings.root)?;
        let saved = Saved::open(&settings.saved)?;
        let live = root.is_live()?;
        let listed =
            left_behind::Listed::known_from(&settings.saved.with_file_name("seen").join("listed"));
        Ok(Self {
            settings,
            root,
            dir,
            saved,
            live,
            environment,
            digests: files::Digests::default(),
            listed,
            name_services: name_services::NameServices::default(),
        })
    }

    /// Removes what a process that died in the middle of a change left in the way of others, as far as nobody holds it.
    /// Call it under the executor's lock; it changes nothing where nothing was left.
    pub fn clear_leftovers(&self) {
        if let Err(error) = accounts::Locked::clear_leftovers(&self.root) {
            tracing::debug!("Lock files stay: {}.", dir::with_causes(&error));
        }
        for path in self.settings.aggregates.values() {
            if let Err(error) = files::clear_leftover(&self.dir, path) {
                tracing::debug!("A half file stays: {}.", dir::with_causes(&error));
            }
        }
    }
}

impl World for Host {
    type Error = HostError;

    /// Reads each part that is asked for; one that cannot be read is `Unknown` and says why. Never an error.
    fn observe(&mut self, question: &Question<'_>) -> Result<Observed, HostError> {
        match question {
            Question::Accounts(question) => Ok(Observed::Accounts(self.look(question))),
            Question::Guests(_) => Err(HostError::NotAHost),
        }
    }

    /// Carries out a batch. What stops all of it is reported for each of its steps. Never an error.
    fn act(
        &mut self,
        intent: &Intent,
        recorder: &mut dyn Recorder,
    ) -> Result<Complaints, HostError> {
        Ok(self.carry_out(intent, &mut |done, all| recorder.progress(done, all)))
    }
}

/// Whether a name can stand in a path or a unit's name without meaning anything else there.
fn check_name(user: &str) -> Result<(), String> {
    let plain = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'-' | b'.');
    if user.starts_with(|c: char| c.is_ascii_alphanumeric() || c == '_')
        && user.len() <= 32
        && user.bytes().all(plain)
    {
        Ok(())
    } else {
        Err(format!("{user:?} cannot be the name of an account here"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_setting_that_leads_elsewhere_is_refused() {
        let scratch = tempfile::tempdir().unwrap();
        let good = HostSettings::new(scratch.path(), &scratch.path().join("saved"));
        assert!(Host::open(good.clone()).is_ok());
        let environment = HostSettings {
            environment: Some("/etc/../{user}".into()),
            ..good.clone()
        };
        let keys = HostSettings {
            keys: vec!["../keys".into()],
            ..good.clone()
        };
        let units = HostSettings {
            units: vec!["t3@*.service".into()],
            ..good.clone()
        };
        let aggregates = HostSettings {
            aggregates: [(Aggregate::Admins, "etc/admins".into())].into(),
            ..good
        };
        for settings in [environment, keys, units, aggregates] {
            assert!(matches!(
                Host::open(settings),
                Err(HostError::Setting { .. })
            ));
        }
    }

    #[test]
    fn a_name_is_never_a_path() {
        for name in ["..", ".", "", "a/b", "-rf", "a\0", ".hidden", "a b", "é"] {
            assert!(check_name(name).is_err(), "{name:?}");
        }
        assert_eq!(check_name("anna-maria_2"), Ok(()));
    }
}
