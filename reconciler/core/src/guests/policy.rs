//! What the administrator of a hypervisor's executor decided: read from settings, never from the state repository (invariant 3).

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};

use crate::executor::Executor;
use crate::limits::Limits;

/// Everything that a plan or a verdict about guests depends on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Policy {
    /// Whom this policy binds.
    pub executor: Executor,
    /// Guests that no step may touch, signed or not (H13).
    pub protected: BTreeSet<String>,
    /// The guest that muster itself runs in, if it runs in one of these: no step may touch it, signed or not (H13).
    pub own: Option<String>,
    /// The node that this executor is for, where the hypervisor has several: a guest that is on another one is told as that (GB3).
    pub node: Option<String>,
    /// Bounds on a whole plan. The least number of admins means nothing here.
    pub limits: Limits,
    /// What guests may be made of (H4).
    pub create: CreatePolicy,
    /// Whether there is a token that may make guests in the scratch pool. Without it creating, discarding and trying a backup are
    /// blocked (H9).
    pub create_token: bool,
    /// Whether there is a token that may delete and overwrite. It is opened only for a release that was claimed (H9).
    pub release_token: bool,
    /// Whether a guest that does not heed a shutdown is stopped by force (H5).
    pub force_stop: bool,
    /// Whether a backup is tried by starting what comes of it, and not only by restoring it (H7).
    pub rehearse_start: bool,
    /// How many days a guest stays set aside before the step that deletes it is planned (H7).
    pub grace_days: u32,
}

/// What guests may be made of: names that the hypervisor knows, and bounds (H4).
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct CreatePolicy {
    /// Templates of containers.
    pub templates: BTreeSet<String>,
    /// Images.
    pub images: BTreeSet<String>,
    /// Guests that may be cloned.
    pub clones: BTreeSet<String>,
    /// Storages.
    pub storages: BTreeSet<String>,
    /// Networks.
    pub networks: BTreeSet<String>,
    /// Words for devices and mounts; what they stand for is the settings' affair.
    pub devices: BTreeSet<String>,
    /// Sizes; without any, each is right.
    pub sizes: Vec<Size>,
    /// How many guests muster makes at most; 0 is none.
    pub guests: usize,
    /// How much memory those have at most together, in MiB.
    pub memory: u64,
}

/// How large a guest may be made.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Size {
    /// Cores.
    pub cores: u32,
    /// Memory, in MiB.
    pub memory: u64,
}

impl Policy {
    /// The policy of a hypervisor whose settings say no more than its name.
    pub fn new(executor: Executor) -> Self {
        Self {
            executor,
            protected: BTreeSet::new(),
            own: None,
            node: None,
            limits: Limits::default(),
            create: CreatePolicy::default(),
            create_token: false,
            release_token: false,
            force_stop: false,
            rehearse_start: true,
            grace_days: 14,
        }
    }
}

/// The format of the file that this version writes.
pub(crate) const FORMAT: u32 = 1;

/// The file of the ledger that holds it.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Wire {
    format: u32,
    executor: Executor,
    protected: BTreeSet<String>,
    removals: usize,
    share: usize,
    retry_after: u32,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    own: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    node: Option<String>,
    create: CreatePolicy,
    create_token: bool,
    release_token: bool,
    force_stop: bool,
    rehearse_start: bool,
    grace_days: u32,
}

/// The file.
pub(crate) fn to_bytes(policy: &Policy) -> Vec<u8> {
    let Policy {
        executor,
        protected,
        own,
        node,
        limits,
        create,
        create_token,
        release_token,
        force_stop,
        rehearse_start,
        grace_days,
    } = policy.clone();
    let wire = Wire {
        format: FORMAT,
        executor,
        protected,
        removals: limits.removals,
        share: limits.share,
        retry_after: limits.retry_after,
        own,
        node,
        create,
        create_token,
        release_token,
        force_stop,
        rehearse_start,
        grace_days,
    };
    let mut text = serde_json::to_vec_pretty(&wire).expect("plain records always serialise");
    text.push(b'\n');
    text
}

/// Reads it back.
///
/// # Errors
/// When it is not what was written.
pub(crate) fn read(bytes: &[u8]) -> Result<Policy, serde_json::Error> {
    let Wire {
        format: _,
        executor,
        protected,
        removals,
        share,
        retry_after,
        own,
        node,
        create,
        create_token,
        release_token,
        force_stop,
        rehearse_start,
        grace_days,
    } = serde_json::from_slice(bytes)?;
    Ok(Policy {
        executor,
        protected,
        own,
        node,
        limits: Limits {
            removals,
            share,
            retry_after,
            ..Limits::default()
        },
        create,
        create_token,
        release_token,
        force_stop,
        rehearse_start,
        grace_days,
    })
}
