//! Jobs of `at` and `batch`: what a person left to be run once, later.
//!
//! A cut lets them be, since atd asks PAM, and PAM lets nobody in whose account has expired. A removal frees the name, so
//! nothing may be left that runs under its uid: each job is saved root-only beside what the cut saved, and then removed.
//! A way back does not put them back. The moment that they were meant for is over, and atd would run them at once.

use crate::Host;
use crate::dir::{FileKind, with_causes};
use crate::saved::key;

/// Where they wait, and where the lines that `batch` runs are kept, on the systems there are.
const SPOOLS: [&str; 2] = ["var/spool/cron/atjobs", "var/spool/at"];
/// The word of their saves.
const WORD: &str = "at";

impl Host {
    /// Saves every job of a uid, and removes it from where atd finds it. Each save is durable before its job goes, so
    /// this goes on where a kill stopped it.
    ///
    /// # Errors
    /// What could not be saved or removed; it is where it was then.
    pub(super) fn set_at_jobs_aside(&self, uid: u32) -> Result<(), String> {
        for path in SPOOLS {
            let Some(dir) = self.parent(path)? else {
                continue;
            };
            let mut shelf = None;
            for name in dir.names().map_err(|error| with_causes(&error))? {
                let seen = dir.see(&name).map_err(|error| with_causes(&error))?;
                if !seen.is_some_and(|seen| seen.kind == FileKind::File && seen.uid == uid) {
                    continue;
                }
                let shelf = match &mut shelf {
                    Some(shelf) => shelf,
                    none => none.insert(
                        self.saved
                            .latest(uid)
                            .map_err(|error| with_causes(&error))?,
                    ),
                };
                let name = name.to_str().ok_or_else(|| {
                    format!(
                        "{} is no name that at gives; look at it and remove it",
                        dir.path_of(&name).display()
                    )
                })?;
                let key = key(WORD, &format!("/{path}/{name}"));
                shelf
                    .set_aside(&key, &dir, name, uid, self.root.ownership())
                    .map_err(|error| with_causes(&error))?;
            }
        }
        Ok(())
    }
}
