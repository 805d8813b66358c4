//! The executors that this machine keeps, and where each of them keeps what is its own.

use std::path::{Path, PathBuf};
use std::time::Duration;

use muster_core::executor::{Executor, Kind};

use super::table::{Reader, Table};
use super::{Role, Settings};

/// Where the executor of a host keeps its state unless the settings say otherwise.
pub(super) const HOST_DIR: &str = "/var/lib/muster";

/// Where an executor keeps identity, lock, journal, ledger and mirror, unless its section says otherwise.
///
/// A host has `/var/lib/muster`, which only root may enter. The others run as users of their own, so theirs lie beside it, in
/// a directory for each kind: `/var/lib/muster-guests/pve`. That is what `StateDirectory=muster-guests/%i` of a template
/// unit makes. The name of an executor is a DNS name, and so one part of a path.
pub fn default_dir(executor: &Executor) -> PathBuf {
    match executor {
        Executor::Host(_) => HOST_DIR.into(),
        Executor::Guests(name) | Executor::Cluster(name) | Executor::Ca(name) => {
            Path::new(&format!("{HOST_DIR}-{}", executor.kind().word())).join(name)
        }
    }
}

/// One executor that this machine keeps, as far as all kinds have it in common.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ExecutorSettings {
    /// Its kind and name.
    pub executor: Executor,
    /// Where it keeps identity, lock, journal, ledger and mirror.
    pub dir: PathBuf,
    /// How often it looks for a new commit.
    pub poll: Duration,
    /// How often it looks at what it keeps although nothing is known to have moved.
    pub drift: Duration,
    /// What it is called in the log.
    pub log: String,
}

impl Settings {
    /// The executors that this machine keeps, in the order of [`Kind::ALL`] and then of their names; none on a machine that
    /// only runs a bot.
    pub fn executors(&self) -> Vec<ExecutorSettings> {
        if !self.fleet.roles.contains(&Role::Agent) {
            return Vec::new();
        }
        let executor = self.policy.executor.clone();
        vec![ExecutorSettings {
            dir: self.state.dir.clone(),
            poll: self.state.poll,
            drift: self.state.drift,
            log: executor.to_string(),
            executor,
        }]
    }
}

/// What people call what an executor keeps, for a kind that this version does not keep.
fn not_kept(kind: Kind) -> Option<&'static str> {
    match kind {
        Kind::Host => None,
        Kind::Guests => Some("guests"),
        Kind::Cluster => Some("clusters"),
        Kind::Ca => Some("certificate authorities"),
    }
}

/// Refuses the sections of executors that only a newer version keeps.
pub(super) fn refuse_those_not_kept(top: &mut Table<'_>, reader: &mut Reader<'_>) {
    for kind in Kind::ALL {
        let Some(what) = not_kept(kind) else {
            continue;
        };
        let problem = format!("this version of muster does not keep {what}");
        top.refuse_sections(reader, kind.word(), &problem, |section| {
            format!("install a newer one, or remove the section {section}")
        });
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::load_copy;
    use super::*;

    #[test]
    fn a_host_keeps_its_directory_and_the_others_lie_beside_it() {
        let dirs = Kind::ALL.map(|it| {
            let executor = Executor::of(it, "pve").unwrap();
            default_dir(&executor).display().to_string()
        });
        assert_eq!(
            dirs,
            [
                "/var/lib/muster",
                "/var/lib/muster-guests/pve",
                "/var/lib/muster-cluster/pve",
                "/var/lib/muster-ca/pve",
            ]
        );
    }

    #[test]
    fn a_machine_keeps_its_host_unless_it_only_runs_a_bot() {
        let text = "[state]\npoll = \"10s\"\ndrift = \"1h\"\ndir = \"/srv/muster\"\n[host]\nname = \"devvm\"\n";
        let [host] = load_copy(text).unwrap().executors().try_into().unwrap();
        assert_eq!(
            host,
            ExecutorSettings {
                executor: "host/devvm".parse().unwrap(),
                dir: "/srv/muster".into(),
                poll: Duration::from_secs(10),
                drift: Duration::from_secs(3_600),
                log: "host/devvm".into(),
            }
        );
        let bot = load_copy("[fleet]\nroles = [\"bot\"]\n").unwrap();
        assert_eq!(bot.executors(), []);
    }
}
