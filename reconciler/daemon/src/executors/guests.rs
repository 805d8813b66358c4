//! The executor of a hypervisor's guests: its world and its policy, out of its section of the settings (H1, H2).
//!
//! It needs no root. The everyday credential is read when it begins; the two that stand behind the wall are read when a step
//! needs them, and are let go of with it (H9).

use std::collections::BTreeSet;
use std::io;
use std::path::PathBuf;

use muster_core::facts::Facts;
use muster_core::gate::Intent;
use muster_core::rooms::{Observed, Question};
use muster_core::world::{Complaints, Recorder, World};
use muster_forge::secret::{SecretError, SecretFile};
use muster_guests::doctor::{Finding, ReleaseToken};
use muster_guests::incus::{self, Incus};
use muster_guests::proxmox::{Proxmox, Token};
use muster_guests::trust::{ClientCertificate, Trust, TrustError};
use muster_guests::wire::{Limits, OpenError};
use muster_guests::{ActSettings, Guests, GuestsError, Opener};

use super::{AssembleError, Managed};
use crate::settings::{Authority, Credential, Entrance, GuestsSettings, Settings};
use crate::state_dir::StateDir;

/// Why a hypervisor cannot be spoken to.
#[derive(Debug, thiserror::Error)]
pub enum EntranceError {
    /// A credential.
    #[error(transparent)]
    Secret(#[from] SecretError),
    /// The authority that its certificate is signed by.
    #[error("the authority {} cannot be read", .path.display())]
    Authority {
        /// Where it should be.
        path: PathBuf,
        /// Why not.
        source: io::Error,
    },
    /// Address, certificate or token.
    #[error(transparent)]
    Open(#[from] OpenError),
    /// What it is spoken to with.
    #[error(transparent)]
    World(#[from] GuestsError),
}

impl From<TrustError> for EntranceError {
    fn from(error: TrustError) -> Self {
        Self::Open(error.into())
    }
}

/// A hypervisor of either kind.
#[derive(Debug)]
pub enum Hypervisor {
    /// A node of Proxmox VE.
    Proxmox(Guests<Proxmox>),
    /// A project of Incus.
    Incus(Guests<Incus>),
}

impl Hypervisor {
    /// A number that is another one when something happened to a guest: one request (H15).
    fn pulse(&self) -> Option<u64> {
        match self {
            Self::Proxmox(guests) => guests.pulse().ok(),
            Self::Incus(guests) => guests.pulse().ok(),
        }
    }

    /// What the hypervisor lets us do with the guests of these names, call by call (H1, GB9).
    pub fn examine(&self, names: &BTreeSet<String>, release: ReleaseToken) -> Vec<Finding> {
        match self {
            Self::Proxmox(guests) => guests.examine(names, release),
            Self::Incus(guests) => guests.examine(names, release),
        }
    }
}

impl World for Hypervisor {
    type Error = GuestsError;

    fn observe(&mut self, question: &Question<'_>) -> Result<Observed, GuestsError> {
        match self {
            Self::Proxmox(guests) => guests.observe(question),
            Self::Incus(guests) => guests.observe(question),
        }
    }

    fn act(
        &mut self,
        intent: &Intent,
        recorder: &mut dyn Recorder,
    ) -> Result<Complaints, GuestsError> {
        match self {
            Self::Proxmox(guests) => guests.act(intent, recorder),
            Self::Incus(guests) => guests.act(intent, recorder),
        }
    }
}

/// The hypervisor that a section describes, for the executor whose facts these are.
///
/// # Errors
/// When a setting or a credential is unusable. Whether it answers is no part of that.
pub fn keep(
    settings: &Settings,
    here: &GuestsSettings,
    state: &StateDir,
    facts: &Facts,
) -> Result<Managed<Hypervisor>, AssembleError> {
    Ok(Managed {
        world: open(here, state).map_err(AssembleError::Guests)?,
        policy: settings.policy_of(&facts.executor),
        watched: vec![settings.trust.clone()],
        pulse: Some(Hypervisor::pulse),
    })
}

/// Opens the hypervisor that a section describes; nothing is sent yet.
///
/// # Errors
/// When a setting or a credential is unusable.
pub fn open(here: &GuestsSettings, state: &StateDir) -> Result<Hypervisor, EntranceError> {
    let acts = acts(here);
    Ok(match &here.entrance {
        Entrance::Proxmox {
            url,
            node,
            authority,
            token,
        } => {
            let connect = {
                let (url, node, trust) = (url.clone(), node.clone(), trust(authority)?);
                move |token: &SecretFile| {
                    let secret = token.read().map_err(unusable)?;
                    let text = std::str::from_utf8(secret.expose()).unwrap_or_default();
                    let token = Token::parse(text)?;
                    Proxmox::new(&url, &node, &trust, &token, Limits::default())
                }
            };
            let everyday = connect(token)?;
            let opener = |credential: &Credential| -> Option<Opener<Proxmox>> {
                match credential {
                    Credential::None | Credential::Socket => None,
                    Credential::Own(file) => {
                        let (connect, file) = (connect.clone(), file.clone());
                        Some(Box::new(move || connect(&file)))
                    }
                }
            };
            let (create, release) = (opener(&here.create_token), opener(&here.release_token));
            Hypervisor::Proxmox(Guests::new(everyday, create, release, acts)?)
        }
        Entrance::Incus {
            url,
            project,
            authority,
            certificate,
        } => {
            let door = Door {
                url: url.clone(),
                project: project.clone(),
                scratch: here.scratch.clone(),
                trust: Some(trust(authority)?),
                backups: state.path().join("backups"),
            };
            incus(here, &door, Some(certificate), acts)?
        }
        Entrance::IncusHere { url, project } => {
            let door = Door {
                url: url.clone(),
                project: project.clone(),
                scratch: here.scratch.clone(),
                trust: None,
                backups: state.path().join("backups"),
            };
            incus(here, &door, None, acts)?
        }
    })
}

/// How an Incus is reached, whoever asks.
#[derive(Clone)]
struct Door {
    url: String,
    project: String,
    scratch: Option<String>,
    trust: Option<Trust>,
    backups: PathBuf,
}

impl Door {
    /// Through it, with a certificate or, by a socket, with none.
    fn open(&self, certificate: Option<&SecretFile>) -> Result<Incus, OpenError> {
        let client = certificate.map(client_certificate).transpose()?;
        let entrance = incus::Entrance {
            address: &self.url,
            project: &self.project,
            scratch: self.scratch.as_deref(),
            trust: self.trust.as_ref(),
            client: client.as_ref(),
            backups: self.backups.clone(),
        };
        Incus::new(entrance, Limits::default())
    }
}

fn incus(
    here: &GuestsSettings,
    door: &Door,
    certificate: Option<&SecretFile>,
    acts: ActSettings,
) -> Result<Hypervisor, EntranceError> {
    let opener = |credential: &Credential| -> Option<Opener<Incus>> {
        let own = match credential {
            Credential::None => return None,
            Credential::Socket => None,
            Credential::Own(file) => Some(file.clone()),
        };
        let door = door.clone();
        Some(Box::new(move || door.open(own.as_ref())))
    };
    let (create, release) = (opener(&here.create_token), opener(&here.release_token));
    let everyday = door.open(certificate)?;
    Ok(Hypervisor::Incus(Guests::new(
        everyday, create, release, acts,
    )?))
}

/// A file with a certificate and its key: both stand in it, in PEM.
fn client_certificate(file: &SecretFile) -> Result<ClientCertificate, OpenError> {
    let secret = file.read().map_err(unusable)?;
    Ok(ClientCertificate {
        certificate: secret.expose().to_vec(),
        key: secret.expose().to_vec().into(),
    })
}

fn unusable(error: SecretError) -> OpenError {
    OpenError::Credential(crate::cycle::chain(&error))
}

/// Why the hypervisor's certificate is believed; an authority is read now.
fn trust(authority: &Authority) -> Result<Trust, EntranceError> {
    Ok(match authority {
        Authority::Pinned(fingerprint) => Trust::Pinned(*fingerprint),
        Authority::Signed(path) => {
            let pem = std::fs::read(path).map_err(|source| EntranceError::Authority {
                path: path.clone(),
                source,
            })?;
            Trust::Authority(pem)
        }
    })
}

/// What the administrator decided about acts.
fn acts(here: &GuestsSettings) -> ActSettings {
    let mut acts = ActSettings::new();
    acts.node = match &here.entrance {
        Entrance::Proxmox { node, .. } => node.clone(),
        Entrance::Incus { .. } | Entrance::IncusHere { .. } => String::new(),
    };
    acts.shutdown = here.timeout;
    acts.force_stop = here.policy.force_stop;
    acts.parallel = here.parallel;
    acts.scratch = here.scratch.clone();
    acts.scratch_storage = here.scratch_storage.clone();
    if let Some(storage) = &here.backups {
        acts.backup_storage = storage.clone();
    }
    acts.rehearse_start = here.policy.rehearse_start;
    acts.rehearsal = here.rehearsal_timeout;
    acts.devices = here.devices.clone();
    acts
}
