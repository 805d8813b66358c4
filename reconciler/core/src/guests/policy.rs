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
    /// Guests that no step may touch, signed or not.
    pub protected: BTreeSet<String>,
    /// Bounds on a whole plan. The least number of admins means nothing here.
    pub limits: Limits,
}

impl Policy {
    /// The policy of a hypervisor whose settings say no more than its name.
    pub fn new(executor: Executor) -> Self {
        Self {
            executor,
            protected: BTreeSet::new(),
            limits: Limits::default(),
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
}

/// The file.
pub(crate) fn to_bytes(policy: &Policy) -> Vec<u8> {
    let Policy {
        executor,
        protected,
        limits,
    } = policy;
    let wire = Wire {
        format: FORMAT,
        executor: executor.clone(),
        protected: protected.clone(),
        removals: limits.removals,
        share: limits.share,
        retry_after: limits.retry_after,
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
    } = serde_json::from_slice(bytes)?;
    Ok(Policy {
        executor,
        protected,
        limits: Limits {
            removals,
            share,
            retry_after,
            ..Limits::default()
        },
    })
}
