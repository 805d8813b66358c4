//! What the administrator decided about everything beyond this host: roles, the forge, and the one HTTP server.

use std::net::SocketAddr;
use std::path::PathBuf;

use muster_forge::secret::SecretFile;
use muster_forge::{Repository, forgejo, github, webhook};

/// What a process does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Role {
    /// Keeps this host.
    Agent,
    /// Speaks to the forge, for every host there is; has nothing to do where there is no forge.
    Bot,
}

impl Role {
    /// Both of them.
    pub const ALL: [Self; 2] = [Self::Agent, Self::Bot];

    /// The word in the settings.
    pub fn word(self) -> &'static str {
        match self {
            Self::Agent => "agent",
            Self::Bot => "bot",
        }
    }
}

/// The forge where people propose changes, and how much is said there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ForgeSettings {
    /// Which one, and who muster is there.
    pub place: ForgePlace,
    /// The name of the commit status and of the check run.
    pub context: String,
    /// What becomes of drift there.
    pub drift: DriftIssue,
}

/// A hosted forge of one of the two kinds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ForgePlace {
    /// GitHub, on github.com or Enterprise.
    GitHub(github::Settings),
    /// Forgejo or Gitea.
    Forgejo(forgejo::Settings),
}

impl ForgePlace {
    /// The state repository, as the forge calls it.
    pub fn repository(&self) -> &Repository {
        match self {
            Self::GitHub(github::Settings { repository, .. })
            | Self::Forgejo(forgejo::Settings { repository, .. }) => repository,
        }
    }

    /// Whose deliveries are listened to.
    pub fn sender(&self) -> webhook::Sender {
        match self {
            Self::GitHub(_) => webhook::Sender::GitHub,
            Self::Forgejo(_) => webhook::Sender::Forgejo,
        }
    }
}

/// Which kind of forge.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum ForgeKind {
    GitHub,
    Forgejo,
}

impl ForgeKind {
    pub(super) const ALL: [Self; 2] = [Self::GitHub, Self::Forgejo];

    pub(super) fn word(self) -> &'static str {
        match self {
            Self::GitHub => "github",
            Self::Forgejo => "forgejo",
        }
    }
}

/// What becomes of drift that no proposal caused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DriftIssue {
    /// One issue on the forge tells of it, and is closed when it is gone.
    Open,
    /// Nothing is said there.
    Omit,
}

/// The one HTTP server.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HttpSettings {
    /// Where it listens.
    pub listen: SocketAddr,
    /// Its certificate; without one it speaks plain HTTP, and belongs behind a proxy that does not.
    pub tls: Option<TlsFiles>,
    /// What deliveries are checked with. There whenever there is a forge.
    pub webhook_secret: Option<SecretFile>,
}

/// A certificate and its key, as PEM.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TlsFiles {
    /// The certificate, and those between it and its root.
    pub certificate: PathBuf,
    /// Its private key.
    pub key: SecretFile,
}
