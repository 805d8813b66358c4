//! The executor of this machine's accounts: its world, its policy and what it watches, out of the settings.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use muster_core::facts::Facts;
use muster_host::{Host, HostError, HostSettings};

use super::{AssembleError, Managed};
use crate::settings::{self, Settings};
use crate::state_dir::StateDir;

/// The host that `settings` describe, for the executor whose facts these are.
///
/// # Errors
/// When a setting or a directory is unusable.
pub fn keep(
    settings: &Settings,
    state: &StateDir,
    facts: &Facts,
) -> Result<Managed<Host>, AssembleError> {
    let world = open_host(settings, state)
        .map_err(AssembleError::Host)?
        .remembering();
    world.clear_leftovers();
    Ok(Managed {
        world,
        // For the name that is pinned: another one in the settings freezes the executor, and must not have it plan as if it were
        // another host.
        policy: settings.policy_of(&facts.executor),
        watched: watched(settings),
        pulse: None,
    })
}

/// Opens the host that `settings` describe.
///
/// # Errors
/// When a setting or a directory is unusable.
pub fn open_host(settings: &Settings, state: &StateDir) -> Result<Host, HostError> {
    let text = |path: &Path| path.to_string_lossy().into_owned();
    let files: BTreeMap<_, _> = settings
        .files
        .aggregates
        .iter()
        .map(|(file, path)| (*file, text(path)))
        .collect();
    Host::open(HostSettings {
        nologin: settings.policy.nologin.clone(),
        units: settings.policy.units.clone(),
        environment: settings
            .instance
            .environment
            .as_ref()
            .map(|it| text(&it.fill(settings::PathTemplate::PLACEHOLDER))),
        aggregates: files,
        k8s_users: settings.files.k8s_users.as_deref().map(text),
        archives: settings.archives.dir.clone(),
        home_roots: settings.archives.homes.iter().map(|it| text(it)).collect(),
        seal: settings.archives.seal.clone(),
        ..HostSettings::new(&settings.host.root, &state.saved())
    })
}

/// What is looked at to see whether the host moved: renames and rewrites show in these, and the rest comes with the
/// next look for drift.
fn watched(settings: &Settings) -> Vec<PathBuf> {
    let inside = |path: &Path| {
        settings
            .host
            .root
            .join(path.strip_prefix("/").unwrap_or(path))
    };
    let databases = [
        "passwd",
        "shadow",
        "group",
        "gshadow",
        "subuid",
        "subgid",
        "login.defs",
    ];
    let mut watched: Vec<PathBuf> = databases
        .iter()
        .map(|name| inside(&Path::new("/etc").join(name)))
        .collect();
    // Where a vendor's settings count, or parts of them do.
    let others = [
        "/usr/etc/login.defs",
        "/etc/login.defs.d",
        "/usr/etc/login.defs.d",
    ];
    watched.extend(others.iter().map(|path| inside(Path::new(path))));
    watched.push(settings.trust.clone());
    watched.extend(settings.files.aggregates.values().map(|path| inside(path)));
    watched.extend(
        settings
            .instance
            .environment
            .as_ref()
            .map(|it| inside(it.dir())),
    );
    watched
}
