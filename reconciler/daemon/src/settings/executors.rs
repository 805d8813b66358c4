//! The executors that this machine keeps, and where each of them keeps what is its own.

use std::path::{Path, PathBuf};
use std::time::Duration;

use muster_core::executor::{Executor, ExecutorKind};
use muster_core::rooms::Policy;

use super::table::{Reader, Table};
use super::{GuestsSettings, Inputs, Role, Settings};
use crate::executors::AssembleError;

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

/// The unit that keeps an executor, as `systemctl` is told of it.
pub fn unit_of(executor: &Executor) -> String {
    match executor {
        Executor::Host(_) => "muster".to_owned(),
        Executor::Guests(name) | Executor::Cluster(name) | Executor::Ca(name) => {
            format!("muster-{}@{name}", executor.kind().word())
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
    /// The executors that this machine keeps, in the order of [`ExecutorKind::ALL`] and then of their names; none on a machine that
    /// only runs a bot.
    pub fn executors(&self) -> Vec<ExecutorSettings> {
        if !self.fleet.roles.contains(&Role::Agent) {
            return Vec::new();
        }
        let host = self.keeps_host.then(|| self.host_executor());
        let guests = self.guests.iter().map(|it| ExecutorSettings {
            executor: it.policy.executor.clone(),
            dir: it.dir.clone(),
            poll: self.state.poll,
            drift: it.drift,
            log: it.policy.executor.to_string(),
        });
        host.into_iter().chain(guests).collect()
    }

    /// The executor of this machine's accounts, whether they are kept or not.
    pub fn host_executor(&self) -> ExecutorSettings {
        let executor = self.policy.executor.clone();
        ExecutorSettings {
            dir: self.state.dir.clone(),
            poll: self.state.poll,
            drift: self.state.drift,
            log: executor.to_string(),
            executor,
        }
    }

    /// The section of a hypervisor, by its executor.
    ///
    /// # Errors
    /// When there is none.
    pub fn guests_of(&self, executor: &Executor) -> Result<&GuestsSettings, AssembleError> {
        let mut all = self.guests.iter();
        all.find(|it| it.policy.executor == *executor)
            .ok_or_else(|| AssembleError::NotKept(executor.clone()))
    }

    /// What was decided about an executor of this machine; of one that it does not keep, what holds without settings.
    pub fn policy_of(&self, executor: &Executor) -> Policy {
        let policy = match executor {
            Executor::Host(_) => Some(Policy::from(self.policy.clone())),
            Executor::Guests(_) => {
                let section = self.guests_of(executor).ok();
                section.map(|it| Policy::from(it.policy.clone()))
            }
            Executor::Cluster(_) | Executor::Ca(_) => None,
        };
        let policy = policy.unwrap_or_else(|| Policy::built_in(executor));
        policy.binding(executor)
    }
}

impl Inputs {
    /// Whether this machine's accounts are kept.
    pub(super) fn keeps_host(&self) -> bool {
        self.guests.is_empty() || self.host.is_named()
    }
}

/// What people call what an executor keeps, for a kind that this version does not keep.
fn not_kept(kind: ExecutorKind) -> Option<&'static str> {
    match kind {
        ExecutorKind::Host | ExecutorKind::Guests => None,
        ExecutorKind::Cluster => Some("clusters"),
        ExecutorKind::Ca => Some("certificate authorities"),
    }
}

/// Refuses the sections of executors that only a newer version keeps.
pub(super) fn refuse_those_not_kept(top: &mut Table<'_>, reader: &mut Reader<'_>) {
    for kind in ExecutorKind::ALL {
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
        let dirs = ExecutorKind::ALL.map(|it| {
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

    #[test]
    fn where_there_are_guests_a_host_is_kept_only_if_it_is_named() {
        let guests = "[[guests]]\nname = \"lab\"\nkind = \"incus\"\nurl = \"unix:/run/incus\"\ndrift = \"20s\"\n\
                      [[guests]]\nname = \"air\"\nkind = \"incus\"\nurl = \"unix:/run/incus\"\ndir = \"/srv/air\"\n";
        let kept = |text: &str| {
            let settings = load_copy(&format!("{text}{guests}")).unwrap();
            let all = settings.executors().into_iter();
            let all = all.map(|it| (it.executor.to_string(), it.dir.display().to_string()));
            all.collect::<Vec<_>>()
        };
        let pair = |name: &str, dir: &str| (name.to_owned(), dir.to_owned());
        let two = [
            pair("guests/air", "/srv/air"),
            pair("guests/lab", "/var/lib/muster-guests/lab"),
        ];
        assert_eq!(kept(""), two);
        // What else is said of a host does not name one.
        assert_eq!(kept("[host]\nroot = \"/\"\n[limits]\nremovals = 4\n"), two);
        let host = pair("host/devvm", "/var/lib/muster");
        assert_eq!(
            kept("[host]\nname = \"devvm\"\n"),
            [&[host][..], &two].concat()
        );
        assert_eq!(kept("[fleet]\nroles = [\"bot\"]\n"), []);
        let settings = load_copy(guests).unwrap();
        let drift = settings
            .executors()
            .into_iter()
            .map(|it| it.drift.as_secs());
        assert_eq!(drift.collect::<Vec<_>>(), [60, 20]);
    }
}
