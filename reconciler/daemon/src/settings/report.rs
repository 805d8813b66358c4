//! `[report]`: what is told where there is no forge.

use super::section::{Check, Checks, section};

section! {
    /// Write plan and outcome as git notes, where the state repository is local and can be written.
    notes: bool, default true;
}

/// What is told where there is no forge.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ReportSettings {
    /// Whether reports are left as git notes.
    pub notes: Notes,
}

/// Whether reports are left as notes in a local state repository.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Notes {
    /// Where the origin is local and can be written.
    Leave,
    /// Never.
    Omit,
}

impl Check for Given {
    type Value = ReportSettings;

    fn check(&self, _: &mut Checks<'_>) -> Option<ReportSettings> {
        let notes = match self.notes.value {
            true => Notes::Leave,
            false => Notes::Omit,
        };
        Some(ReportSettings { notes })
    }
}
