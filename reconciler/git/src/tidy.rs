//! Packing the mirror, and letting go of what branches left behind: who may push could otherwise fill the disk with branches that
//! are gone. What was adopted stays.

use std::fs;
use std::path::Path;
use std::time::Duration;

use gix::hash::ObjectId;
use muster_core::commit::CommitId;

use crate::fetch_error::FetchError;
use crate::mirror::Mirror;
use crate::objects::object_id;
use crate::pack::{self, Keep, PackError, PackFormat, Packed};
use crate::refs;
use crate::sync::Durability;
use crate::tags;

/// When a mirror is packed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Untidy {
    /// With more loose objects than these.
    pub loose: usize,
    /// With more packs than these.
    pub packs: usize,
    /// With packs of more bytes than these, where branches of a remote origin are gone or lead elsewhere: what only they led to
    /// goes with it.
    pub dropped: u64,
    /// How long the last packing has to be ago for that.
    pub rest: Duration,
}

impl Default for Untidy {
    fn default() -> Self {
        Untidy {
            loose: pack::LOOSE_LIMIT,
            packs: pack::PACK_LIMIT,
            dropped: 64 << 20,
            rest: Duration::from_secs(3_600),
        }
    }
}

/// Below the mirror: there when a reference is gone or leads elsewhere since it was packed.
const DROPPED: &str = "dropped";
/// Below the mirror: made when it was last packed.
const PACKED: &str = "packed";
/// The reference to what is in force.
const HELD: &str = "refs/muster/held";

/// Whether this note was made longer ago, or never, or by a clock that has been set back since.
fn packed_before(note: &Path, rest: Duration) -> bool {
    let made = note.metadata().and_then(|meta| meta.modified());
    !made.is_ok_and(|made| made.elapsed().is_ok_and(|ago| ago < rest))
}

impl Mirror {
    /// The mirror of a server's repository and of no other: what no reference leads to goes when it is packed.
    pub(crate) fn of_a_server(mut self) -> Mirror {
        self.keep = Keep::Referenced;
        self
    }

    /// Puts the mirror's objects into one pack when it is time to: see [`Untidy`]. Tells whether it did. Everything that a reference
    /// leads to stays, the protected branch as it was at any time, and what [`Mirror::hold`] was told of.
    pub fn maintain(&mut self) -> Result<Packed, FetchError> {
        self.maintain_when(Untidy::default())
    }

    /// Like [`Mirror::maintain`], with other limits.
    pub fn maintain_when(&mut self, untidy: Untidy) -> Result<Packed, FetchError> {
        let failed = self.failed();
        let objects = self.own.dir().to_owned();
        let packs = pack::packs(&objects).map_err(&failed)?;
        let dropped = || {
            self.keep == Keep::Referenced
                && self.dir.join(DROPPED).exists()
                && pack::bytes(&packs) > untidy.dropped
                && packed_before(&self.dir.join(PACKED), untidy.rest)
        };
        let many = packs.len() > untidy.packs
            || pack::count_loose(&objects).map_err(&failed)? > untidy.loose;
        if !many && !dropped() {
            return Ok(Packed::NotNeeded);
        }
        // Before it is tried: what fails is not tried with every cycle.
        fs::write(self.dir.join(PACKED), b"").map_err(&failed)?;
        let tags = tags::kept(self)?.into_values();
        let apart: Vec<ObjectId> = tags.filter(|id| self.own.has(id)).collect();
        let packed = pack::pack(&self.dir, self.keep, PackFormat::Compressed, &apart);
        packed.map_err(|error| match error {
            PackError::Io(source) => failed(source),
            PackError::Git(source) => FetchError::Git {
                origin: self.dir.display().to_string(),
                source,
            },
        })?;
        if self.keep == Keep::Referenced {
            refs::forget(&self.dir, DROPPED).map_err(&failed)?;
        }
        self.reopen()?;
        Ok(Packed::Done)
    }

    /// Keeps this commit, which is in force, and what it leads to, until another one is.
    ///
    /// # Errors
    /// When that cannot be written down.
    pub fn hold(&mut self, adopted: &CommitId) -> Result<(), FetchError> {
        let id = object_id(adopted);
        if self.keep != Keep::Referenced || id.kind() != self.own.kind() || !self.own.has(&id) {
            return Ok(());
        }
        let held = refs::read(&self.dir, HELD, id.kind()).ok().flatten();
        if held != Some(id) {
            refs::replace(&self.dir, HELD, held, id, Durability::Cache)?;
            if held.is_some() {
                self.has_dropped()?;
            }
        }
        Ok(())
    }

    /// Notes that a reference is gone or leads elsewhere.
    pub(crate) fn has_dropped(&self) -> Result<(), FetchError> {
        let note = self.dir.join(DROPPED);
        if note.exists() {
            return Ok(());
        }
        fs::write(note, b"").map_err(self.failed())
    }
}
