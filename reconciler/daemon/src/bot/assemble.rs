//! Puts the bot of this process together.

use std::path::PathBuf;

use muster_core::time::Time;

use super::Hints;
use crate::daemon::{Cycle, Health, Summary, Why};
use crate::settings::Settings;
use crate::state_dir::StateDir;

/// Why a bot could not be put together.
#[derive(Debug, thiserror::Error)]
pub enum AssembleError {
    /// The settings name no forge.
    #[error("there is no forge to speak to: set [forge] in the settings")]
    NoForge,
}

/// Puts one together out of settings. `now` is the only clock.
///
/// # Errors
/// When a part of the outside cannot be used at all.
pub fn assemble(
    settings: &Settings,
    _state: &StateDir,
    hints: Hints,
    _now: fn() -> Time,
) -> Result<Box<dyn Cycle>, AssembleError> {
    match settings.forge {
        Some(_) => Ok(Box::new(Mute(hints))),
        None => Err(AssembleError::NoForge),
    }
}

/// Listens, and says nothing yet.
struct Mute(Hints);

impl Cycle for Mute {
    fn has_moved(&mut self) -> bool {
        false
    }

    fn run(&mut self, why: Why, _: &dyn Fn() -> bool) -> Summary {
        tracing::debug!(?why, hints = ?self.0.take(), "Nothing is said on the forge yet.");
        Summary {
            health: Health::Well,
            line: "nothing is said on the forge yet".into(),
            due_in: None,
        }
    }

    fn watch_paths(&self) -> Vec<PathBuf> {
        Vec::new()
    }
}
