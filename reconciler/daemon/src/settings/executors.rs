//! The executors that this machine keeps, and where each of them keeps what is its own.

use std::path::PathBuf;
use std::time::Duration;

use muster_core::executor::Executor;

use super::Settings;

/// One executor that this machine keeps, as far as all kinds have it in common.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ExecutorSettings {
    /// Its name.
    pub executor: Executor,
    /// Where it keeps identity, lock, journal, ledger and mirror; no two have the same.
    pub dir: PathBuf,
    /// How often it looks for a new commit.
    pub poll: Duration,
    /// How often it looks at what it keeps although nothing is known to have moved.
    pub drift: Duration,
}

impl Settings {
    /// The executors that this machine keeps, in their order; none on a machine that only runs a bot.
    pub fn executors(&self) -> Vec<ExecutorSettings> {
        if !self.roles.contains(&super::Role::Agent) {
            return Vec::new();
        }
        vec![ExecutorSettings {
            executor: self.policy.executor.clone(),
            dir: self.dir.clone(),
            poll: self.poll,
            drift: self.drift,
        }]
    }
}
