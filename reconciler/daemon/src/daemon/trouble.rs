//! Why the daemon cannot keep one of its executors, left in that executor's state directory for whoever asks.

use std::io::{self, Write as _};

use muster_core::time::Time;
use serde::{Deserialize, Serialize};

use crate::state_dir::StateDir;

/// What is the matter, and since when.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Trouble {
    /// Since when, by this machine's clock.
    pub since: Time,
    /// What, in words that can stand alone.
    pub why: String,
}

/// What is the matter with the executor of `state`, if the daemon has said that anything is.
pub fn read(state: &StateDir) -> Option<Trouble> {
    serde_json::from_slice(&std::fs::read(state.trouble()).ok()?).ok()
}

/// Says it. An executor that nobody initialised has no directory to say it in.
///
/// # Errors
/// When it cannot be written.
pub fn write(state: &StateDir, trouble: &Trouble) -> io::Result<()> {
    if !state.identity_file().exists() {
        return Ok(());
    }
    let mut file = tempfile::NamedTempFile::new_in(state.path())?;
    file.write_all(&serde_json::to_vec(trouble).expect("plain records always serialise"))?;
    file.persist(state.trouble()).map_err(|error| error.error)?;
    Ok(())
}

/// Says that nothing is the matter any more.
pub fn clear(state: &StateDir) {
    if let Err(error) = std::fs::remove_file(state.trouble())
        && error.kind() != io::ErrorKind::NotFound
    {
        tracing::warn!("{} cannot be removed: {error}.", state.trouble().display());
    }
}
