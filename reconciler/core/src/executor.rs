//! Who runs steps, and where what it knows is kept. The only place that spells executors and their refs.

use std::fmt;
use std::str::FromStr;

use crate::repo::names::is_host_name;

/// What an executor keeps. Each keeps one subject.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum ExecutorKind {
    /// The accounts of one machine. The only kind that needs root.
    Host,
    /// The guests of one hypervisor.
    Guests,
    /// The users of one Kubernetes cluster.
    Cluster,
    /// The agents that one certificate authority enrols.
    Ca,
}

impl ExecutorKind {
    /// All of them.
    pub const ALL: [Self; 4] = [Self::Host, Self::Guests, Self::Cluster, Self::Ca];

    /// The word before the slash.
    pub fn word(self) -> &'static str {
        match self {
            Self::Host => "host",
            Self::Guests => "guests",
            Self::Cluster => "cluster",
            Self::Ca => "ca",
        }
    }

    /// What stands for one and for several executors of this kind in a sentence: `1 hypervisor`, `2 hosts`.
    pub fn nouns(self) -> (&'static str, &'static str) {
        match self {
            Self::Host => ("host", "hosts"),
            Self::Guests => ("hypervisor", "hypervisors"),
            Self::Cluster => ("cluster", "clusters"),
            Self::Ca => ("certificate authority", "certificate authorities"),
        }
    }

    /// The folder of ledger references below which those of this kind stand: `refs/muster/host/`.
    pub fn ledgers(self) -> String {
        format!("{LEDGERS}{}/", self.word())
    }

    /// The same for signs of life: `refs/muster/alive/host/`.
    pub fn signs_of_life(self) -> String {
        format!("{ALIVE}{}/", self.word())
    }
}

/// Below this stand the ledgers, by kind and name.
const LEDGERS: &str = "refs/muster/";
/// Below this stand the signs of life, by kind and name.
const ALIVE: &str = "refs/muster/alive/";

/// Who runs steps: `host/<name>`, `guests/<name>`, `cluster/<name>` or `ca/<name>`. Its settings, state directory, journal,
/// lock and references carry this name. A name is a lower-case DNS name.
#[derive(
    Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, serde::Serialize, serde::Deserialize,
)]
#[serde(try_from = "String", into = "String")]
pub enum Executor {
    /// Keeps the accounts of the machine of this name.
    Host(String),
    /// Keeps the guests of the hypervisor of this name.
    Guests(String),
    /// Keeps the users of the cluster of this name.
    Cluster(String),
    /// Enrols agents with the certificate authority of this name.
    Ca(String),
}

impl Executor {
    /// The executor of a kind with this name, if it is a name.
    pub fn of(kind: ExecutorKind, name: &str) -> Option<Self> {
        is_host_name(name).then(|| Self::named(kind, name.to_owned()))
    }

    fn named(kind: ExecutorKind, name: String) -> Self {
        match kind {
            ExecutorKind::Host => Self::Host(name),
            ExecutorKind::Guests => Self::Guests(name),
            ExecutorKind::Cluster => Self::Cluster(name),
            ExecutorKind::Ca => Self::Ca(name),
        }
    }

    /// The executor of the same kind that is called `name`, which was pinned or read before and is not looked at again.
    #[must_use]
    pub fn renamed(&self, name: &str) -> Self {
        Self::named(self.kind(), name.to_owned())
    }

    /// The executor whose pinned name this is, as a journal and a ledger have it: a host's stands there alone, any other one's
    /// with its kind before it. It was checked when it was pinned.
    pub fn from_pin(text: &str) -> Self {
        let other = text.split_once('/').and_then(|(word, name)| {
            let kind = ExecutorKind::ALL.into_iter().find(|it| it.word() == word)?;
            Some(Self::named(kind, name.to_owned()))
        });
        other.unwrap_or_else(|| Self::Host(text.to_owned()))
    }

    /// What it keeps.
    pub fn kind(&self) -> ExecutorKind {
        match self {
            Self::Host(_) => ExecutorKind::Host,
            Self::Guests(_) => ExecutorKind::Guests,
            Self::Cluster(_) => ExecutorKind::Cluster,
            Self::Ca(_) => ExecutorKind::Ca,
        }
    }

    /// Its name, without the kind.
    pub fn name(&self) -> &str {
        match self {
            Self::Host(name) | Self::Guests(name) | Self::Cluster(name) | Self::Ca(name) => name,
        }
    }

    /// How it is written where it is pinned (`executor.toml`, the genesis record): a host by its name alone, as it ever was,
    /// all others in full.
    pub fn pinned(&self) -> String {
        match self {
            Self::Host(name) => name.clone(),
            Self::Guests(_) | Self::Cluster(_) | Self::Ca(_) => self.to_string(),
        }
    }

    /// Whom a pinned name means, if anybody.
    pub fn of_pinned(text: &str) -> Option<Self> {
        if !text.contains('/') {
            return Self::of(ExecutorKind::Host, text);
        }
        text.parse().ok().filter(|it: &Self| it.pinned() == text)
    }

    /// The reference of its ledger: `refs/muster/host/devvm`.
    pub fn ledger_ref(&self) -> String {
        format!("{LEDGERS}{self}")
    }

    /// The reference of its signs of life: `refs/muster/alive/host/devvm`.
    pub fn alive_ref(&self) -> String {
        format!("{ALIVE}{self}")
    }

    /// The branch that follows its ledger in a ledger repository: forges tell of branches and tags alone, and show no other
    /// reference.
    pub fn ledger_branch(&self) -> String {
        format!("refs/heads/muster/{self}")
    }

    /// Whose ledger a reference is, if it is one.
    pub fn of_ledger_ref(reference: &str) -> Option<Self> {
        reference.strip_prefix(LEDGERS)?.parse().ok()
    }

    /// Whose signs of life a reference holds, if it does.
    pub fn of_alive_ref(reference: &str) -> Option<Self> {
        reference.strip_prefix(ALIVE)?.parse().ok()
    }
}

impl fmt::Display for Executor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.kind().word(), self.name())
    }
}

/// Not the name of an executor.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "{0:?} is no executor that this version of muster knows; it knows host/<name>, guests/<name>, cluster/<name> and \
     ca/<name>, with a lower-case DNS name"
)]
pub struct NotAnExecutor(String);

impl FromStr for Executor {
    type Err = NotAnExecutor;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let found = text.split_once('/').and_then(|(word, name)| {
            let kind = ExecutorKind::ALL.into_iter().find(|it| it.word() == word)?;
            Self::of(kind, name)
        });
        found.ok_or_else(|| NotAnExecutor(text.chars().take(300).collect()))
    }
}

impl TryFrom<String> for Executor {
    type Error = NotAnExecutor;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        text.parse()
    }
}

impl From<Executor> for String {
    fn from(executor: Executor) -> Self {
        executor.to_string()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_executor_reads_back_as_itself_and_so_do_its_refs() {
        for kind in ExecutorKind::ALL {
            let executor = Executor::of(kind, "pve1.example.org").unwrap();
            assert_eq!(executor.to_string().parse(), Ok(executor.clone()));
            assert_eq!(
                Executor::of_ledger_ref(&executor.ledger_ref()),
                Some(executor.clone())
            );
            assert_eq!(
                Executor::of_alive_ref(&executor.alive_ref()),
                Some(executor.clone())
            );
            assert!(executor.ledger_ref().starts_with(&kind.ledgers()));
            assert!(executor.alive_ref().starts_with(&kind.signs_of_life()));
            assert_eq!(Executor::from_pin(&executor.pinned()), executor);
            // A sign of life is no ledger.
            assert_eq!(Executor::of_ledger_ref(&executor.alive_ref()), None);
        }
    }

    #[test]
    fn a_host_is_pinned_by_its_name_alone() {
        let host = Executor::of_pinned("devvm").unwrap();
        assert_eq!(host, Executor::Host("devvm".to_owned()));
        assert_eq!(host.pinned(), "devvm");
        for text in ["host/devvm", "Devvm", "", "moon/devvm"] {
            assert_eq!(Executor::of_pinned(text), None, "{text}");
        }
    }

    #[test]
    fn what_is_no_executor_is_refused() {
        for text in [
            "",
            "host",
            "host/",
            "/devvm",
            "vm/devvm",
            "host/Devvm",
            "host/a/b",
            "host/../x",
            "HOST/devvm",
            " host/devvm",
        ] {
            assert!(text.parse::<Executor>().is_err(), "{text}");
        }
    }
}
