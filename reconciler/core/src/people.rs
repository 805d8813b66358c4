//! How far a person has come, and who they are elsewhere: the same on a host and on a cluster.

use serde::{Deserialize, Serialize};

/// Where a person stands on this executor.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Stage {
    /// Everything runs.
    Active,
    /// The instance stands still; account, home, groups and ports stay.
    Parked,
    /// Nobody gets in, nothing runs; account, home, groups and ports stay.
    Disabled,
    /// The reversible half of offboarding, since a moment.
    Cut,
    /// The home is in an archive; the account is gone.
    Archived,
    /// Only the tombstone is left.
    Deleted,
}

/// Which of a person's identities.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Identity {
    /// The identity login.
    AuthentikUser,
    /// The cluster identity.
    K8sUser,
}

/// Why a person is parked, or disabled.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Parking {
    /// The row says `parked: true`.
    Asked,
    /// The row's last valid day has passed.
    Expired,
}
