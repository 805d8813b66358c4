//! What Incus answers, as narrow as it is needed.

use std::collections::BTreeMap;

use serde::Deserialize;

/// Every answer.
#[derive(Deserialize)]
pub(super) struct Envelope<T> {
    pub(super) metadata: T,
}

/// An error, and an operation that was begun.
#[derive(Default, Deserialize)]
#[serde(default)]
pub(super) struct Head {
    /// `sync`, `async` or `error`.
    #[serde(rename = "type")]
    pub(super) kind: String,
    pub(super) error: String,
    pub(super) operation: String,
    pub(super) metadata: Option<serde_json::Value>,
}

/// An operation.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct Operation {
    pub(super) id: String,
    pub(super) description: String,
    pub(super) created_at: String,
    pub(super) status_code: u16,
    pub(super) err: String,
    pub(super) location: String,
    pub(super) resources: Option<BTreeMap<String, Vec<String>>>,
}

/// A device of an instance.
pub(super) type Device = BTreeMap<String, String>;

/// An instance.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct Instance {
    pub(super) name: String,
    pub(super) project: String,
    pub(super) location: String,
    pub(super) status: String,
    #[serde(rename = "type")]
    pub(super) kind: String,
    pub(super) description: String,
    pub(super) last_used_at: String,
    pub(super) config: BTreeMap<String, String>,
    pub(super) expanded_config: BTreeMap<String, String>,
    pub(super) expanded_devices: BTreeMap<String, Device>,
}

/// A volume of a pool.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct StorageVolume {
    pub(super) name: String,
    #[serde(rename = "type")]
    pub(super) kind: String,
    pub(super) config: BTreeMap<String, String>,
}

/// The server.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct ServerInfo {
    pub(super) auth: String,
    pub(super) auth_user_name: String,
    pub(super) auth_user_method: String,
    pub(super) environment: Environment,
}

/// Where it runs.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct Environment {
    pub(super) server_version: String,
    pub(super) server_name: String,
    pub(super) server_clustered: bool,
}

/// A member of a cluster.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct Member {
    pub(super) server_name: String,
    pub(super) status: String,
}

/// A certificate that the server trusts.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct Certificate {
    pub(super) restricted: bool,
    pub(super) projects: Vec<String>,
}

/// A backup of an instance, as the server keeps it.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct ServerBackup {
    pub(super) created_at: String,
}
