//! What a host's administrator decided: read from root-owned settings, never from the state repository (invariant 3).

use crate::executor::Executor;
use crate::limits::Limits;
use std::collections::{BTreeMap, BTreeSet};

use crate::accounts::verbs::Verb;

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

/// What becomes of a usable password of an account that was there before muster kept it. One that muster created has none.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, Hash, serde::Serialize, serde::Deserialize,
)]
#[serde(rename_all = "snake_case")]
pub enum Passwords {
    /// It stays; what was locked when the account was taken over is offered back.
    #[default]
    Keep,
    /// A plan asks for it to be locked, which waits for a release.
    Lock,
}

impl Passwords {
    /// The word for it in settings.
    pub fn word(self) -> &'static str {
        match self {
            Self::Keep => "keep",
            Self::Lock => "lock",
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
    /// Verbs whose privileged steps the administrator declared benign; each is
    /// [`Declarable`](crate::verb::Reach::Declarable).
    pub declared_benign: BTreeSet<Verb>,
    /// The shell of an account that is cut.
    pub nologin: String,
    /// How many days the home of an archived account stays in quarantine before its removal is planned.
    pub grace_days: u32,
    /// What becomes of a password that an account had when it was taken over.
    pub passwords: Passwords,
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
            executor: Executor::Host(host.to_owned()),
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
            passwords: Passwords::Keep,
            protected: BTreeSet::new(),
            shared_primary_groups: BTreeSet::new(),
        }
    }

    /// Whether membership of `group` makes somebody root-equivalent.
    pub fn is_privileged_group(&self, group: &str) -> bool {
        // A few names, of which hardly any is as long as this one: each new person asks for their own (`tests/bench/bench plan`).
        self.privileged_groups.iter().any(|it| it == group)
    }

    /// Whether no step may touch an account of this name, signed or not.
    pub fn is_protected(&self, name: &str) -> bool {
        name == "root" || self.protected.contains(name)
    }

    /// Whether this host runs an instance for anybody.
    pub fn runs_instances(&self) -> bool {
        !self.units.is_empty()
    }
}

/// A port for each family.
pub type Ports = BTreeMap<String, u16>;
