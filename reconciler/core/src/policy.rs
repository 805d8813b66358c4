//! What a host's administrator decided: read from root-owned settings, never from the state repository (invariant 3).

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::str::FromStr;

use crate::action::Kind;
use crate::repo::names::is_host_name;

/// Who runs steps: `host/<name>`. Its journal, lock and ledger ref carry this name.
#[derive(
    Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, serde::Serialize, serde::Deserialize,
)]
#[serde(try_from = "String", into = "String")]
pub struct Executor {
    /// The host's pinned name, a lower-case DNS name.
    pub host: String,
}

impl fmt::Display for Executor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "host/{}", self.host)
    }
}

/// Not the name of an executor.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "{0:?} is no executor that this version of muster knows; it knows host/<name>, with a lower-case DNS name"
)]
pub struct NotAnExecutor(String);

impl FromStr for Executor {
    type Err = NotAnExecutor;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text.strip_prefix("host/") {
            Some(host) if is_host_name(host) => Ok(Self {
                host: host.to_owned(),
            }),
            _ => Err(NotAnExecutor(text.chars().take(300).collect())),
        }
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

/// A run of ports out of which each person gets one that stays theirs (R13, R14, R28).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PortFamily {
    /// Its name, as it appears in the environment file (`T3_PORT` for `t3`).
    pub name: String,
    /// First port handed out.
    pub first: u16,
    /// Last port handed out.
    pub last: u16,
}

/// The three files that list everybody.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, serde::Serialize, serde::Deserialize,
)]
#[serde(rename_all = "snake_case")]
pub enum Aggregate {
    /// `<authentik_user>=<os_user>` lines (R18).
    LoginMap,
    /// `{authentik_user: {os_user, port}}` as JSON (R19).
    Dispatch,
    /// The os_users of tier admin, one a line (R29).
    Admins,
}

impl Aggregate {
    /// All of them, in the order in which they are written.
    pub const ALL: [Self; 3] = [Self::LoginMap, Self::Dispatch, Self::Admins];

    /// The word before the dot in a verb.
    pub fn word(self) -> &'static str {
        match self {
            Self::LoginMap => "map",
            Self::Dispatch => "dispatch",
            Self::Admins => "admins",
        }
    }
}

/// Bounds on a whole plan.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Fewer removals than this are never held by number.
    pub removals: usize,
    /// Removals above this share, in percent of the accounts managed and active, are held.
    pub share: usize,
    /// Accounts that must remain able to become root.
    pub min_admins: usize,
    /// How many seconds after its first failure a step is tried again; doubled with each further one, an hour at most.
    /// With 0 every cycle tries it.
    pub retry_after: u32,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            removals: 3,
            share: 25,
            min_admins: 1,
            retry_after: 60,
        }
    }
}

/// Everything an administrator decided that a plan or a verdict depends on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Policy {
    /// Whom this policy binds.
    pub executor: Executor,
    /// Shells anybody may be given without a release.
    pub shells: BTreeSet<String>,
    /// Groups whose members can become root; always holds [`ROOT_EQUIVALENT_GROUPS`].
    pub privileged_groups: BTreeSet<String>,
    /// The group that says who has an instance here, when the host has one.
    pub service_group: Option<String>,
    /// Systemd template units of the per-person instance, such as `t3-serve@.service`.
    pub units: Vec<String>,
    /// Port families, disjoint.
    pub families: Vec<PortFamily>,
    /// Whether each person's instance gets an environment file.
    pub environment: bool,
    /// The aggregate files this host keeps.
    pub aggregates: BTreeSet<Aggregate>,
    /// Bounds on a whole plan.
    pub limits: Limits,
    /// Kinds of privileged step that the administrator declared benign; never one of [`Kind::FLOOR`].
    pub declared_benign: BTreeSet<Kind>,
    /// The shell of an account that is cut.
    pub nologin: String,
    /// How many days the home of an archived account stays in quarantine before its removal is planned.
    pub grace_days: u32,
    /// Names that no step may touch, beside root, system accounts and the account muster runs as.
    pub protected: BTreeSet<String>,
    /// Groups that a tier may give although they are some account's own.
    pub shared_primary_groups: BTreeSet<String>,
}

/// Groups that are as good as root; settings can add to them, not take away.
pub const ROOT_EQUIVALENT_GROUPS: [&str; 24] = [
    "root",
    "sudo",
    "wheel",
    "admin",
    "docker",
    "podman",
    "lxd",
    "lxc",
    "incus",
    "incus-admin",
    "disk",
    "shadow",
    "adm",
    "libvirt",
    "libvirt-qemu",
    "kvm",
    "kmem",
    "tty",
    "systemd-journal",
    "systemd-network",
    "staff",
    "backup",
    "operator",
    "mem",
];

impl Policy {
    /// The policy of a host whose settings file is empty.
    pub fn for_host(host: &str) -> Self {
        Self {
            executor: Executor {
                host: host.to_owned(),
            },
            shells: [
                "/bin/bash",
                "/bin/dash",
                "/bin/sh",
                "/bin/zsh",
                "/usr/bin/bash",
                "/usr/bin/fish",
                "/usr/bin/zsh",
            ]
            .map(str::to_owned)
            .into(),
            privileged_groups: ROOT_EQUIVALENT_GROUPS.map(str::to_owned).into(),
            service_group: None,
            units: Vec::new(),
            families: Vec::new(),
            environment: false,
            aggregates: BTreeSet::new(),
            limits: Limits::default(),
            declared_benign: BTreeSet::new(),
            nologin: "/usr/sbin/nologin".to_owned(),
            grace_days: 40,
            protected: BTreeSet::new(),
            shared_primary_groups: BTreeSet::new(),
        }
    }

    /// Whether membership of `group` makes somebody root-equivalent.
    pub fn is_privileged_group(&self, group: &str) -> bool {
        self.privileged_groups.contains(group)
    }

    /// Whether this host runs an instance for anybody.
    pub fn runs_instances(&self) -> bool {
        !self.units.is_empty()
    }
}

/// A port for each family.
pub type Ports = BTreeMap<String, u16>;
