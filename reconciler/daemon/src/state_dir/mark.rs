//! The mark: a second note, outside the state directory, of how far an executor got (F5).
//!
//! Who puts a state directory back from a backup puts back journal and ledger, and both agree that nothing happened since. The
//! mark lies beside it, in `/var/lib/muster-mark/<kind>/<name>` for `/var/lib/muster`, and says otherwise: the journal's last
//! record of a decision, and the nonces of the newest releases. It is made durable before the first effect that follows one.
//!
//! The file is two slots of [`SLOT`] bytes, written in turn and in place: so a write that is cut short leaves the other one, and a
//! full disk is in the way of none. A slot is one line of JSON and a line with its SHA-256, filled up with spaces.
//!
//! What is not promised: who puts back mark *and* state directory from one backup has a host of that day.

use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io;
use std::os::unix::fs::{DirBuilderExt as _, FileExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

use muster_core::bytes::hex;
use muster_core::ledger::Through;
use muster_core::release::Nonce;
use nix::fcntl::OFlag;
use serde::{Deserialize, Serialize};

use super::{Identity, StateError};

/// The format that this version writes.
const FORMAT: u32 = 1;

/// The size of a slot, in bytes.
const SLOT: usize = 8 << 10;

/// So many nonces are remembered, the newest: they have room in a slot.
const NONCES: usize = 128;

/// What a mark says.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Marked {
    format: u32,
    /// Whose it is.
    pub(crate) executor_id: String,
    /// Counts the writes: of two slots, the one with more is the newer.
    writes: u64,
    /// The last record of the journal that the state directory must have.
    pub(crate) through: Through,
    /// Of releases and resets that were taken up here, oldest first.
    pub(crate) nonces: Vec<Nonce>,
}

/// What every format of a mark begins with.
#[derive(Deserialize)]
struct Head {
    format: u32,
    writes: u64,
}

/// A mark that can be written.
#[derive(Debug)]
pub(crate) struct Mark {
    path: PathBuf,
    file: File,
    marked: Marked,
}

/// Where the mark of an executor is whose state directory is `dir`: `/var/lib/muster-mark/host/NAME` for `/var/lib/muster`, and
/// `/var/lib/muster-mark/guests/pve` for `/var/lib/muster-guests/pve`.
pub(super) fn path_of(dir: &Path, identity: &Identity) -> PathBuf {
    let executor = identity.executor();
    let of_kind = format!("-{}", executor.kind().word());
    let stem = dir
        .parent()
        .filter(|_| dir.ends_with(executor.name()))
        .and_then(|parent| parent.to_str()?.strip_suffix(&of_kind))
        .map_or_else(|| dir.as_os_str().to_owned(), Into::into);
    let mut beside = stem;
    beside.push("-mark");
    PathBuf::from(beside)
        .join(executor.kind().word())
        .join(executor.name())
}

/// Reads what the mark at `path` says; `None` where there is none.
///
/// # Errors
/// When it cannot be read, or says nothing that holds: corrupt is not absent.
pub(super) fn read(path: &Path) -> Result<Option<Marked>, StateError> {
    let bytes = match fs::read(path) {
        Ok(bytes) => bytes,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(StateError::io("read", path)(error)),
    };
    let damaged = || StateError::Mark {
        path: path.to_owned(),
    };
    let slots = bytes.chunks(SLOT).filter_map(said_in);
    let said: Vec<(Head, &[u8])> = slots
        .filter_map(|said| Some((serde_json::from_slice(said).ok()?, said)))
        .collect();
    let (head, said) = said
        .iter()
        .max_by_key(|(head, _)| head.writes)
        .ok_or_else(damaged)?;
    if head.format > FORMAT {
        return Err(StateError::Newer {
            path: path.to_owned(),
            found: head.format,
        });
    }
    serde_json::from_slice(said)
        .map(Some)
        .map_err(|_| damaged())
}

/// What a slot says, if it was written to its end.
fn said_in(slot: &[u8]) -> Option<&[u8]> {
    let mut lines = slot.split(|byte| *byte == b'\n');
    let (said, check) = (lines.next()?, lines.next()?);
    (check == checksum(said).as_bytes()).then_some(said)
}

fn checksum(said: &[u8]) -> String {
    hex(&<sha2::Sha256 as sha2::Digest>::digest(said))
}

impl Mark {
    /// Makes a mark, or goes on with the one that is there.
    ///
    /// # Errors
    /// When a directory or the file cannot be made.
    pub(super) fn open(
        path: PathBuf,
        identity: &Identity,
        found: Option<Marked>,
    ) -> Result<Self, StateError> {
        let (kind, name) = (path.parent(), path.file_name());
        let kind = kind.expect("BUG: a mark is in the directory of its kind");
        debug_assert!(name.is_some(), "a mark has the name of its executor");
        DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(kind)
            .map_err(StateError::io("create", kind))?;
        let file = OpenOptions::new()
            .write(true)
            .create(true)
            .truncate(false)
            .mode(0o600)
            .custom_flags((OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC).bits())
            .open(&path)
            .map_err(StateError::io("open", &path))?;
        let mut marked = found.unwrap_or_else(|| Marked {
            format: FORMAT,
            executor_id: String::new(),
            writes: 0,
            through: Through::default(),
            nonces: Vec::new(),
        });
        marked.executor_id.clone_from(&identity.id);
        Ok(Self { path, file, marked })
    }

    /// Takes in a nonce that was used; it is not written before the next [`Mark::write`].
    pub(crate) fn add(&mut self, nonce: Nonce) {
        let nonces = &mut self.marked.nonces;
        if !nonces.contains(&nonce) {
            nonces.push(nonce);
        }
        let more = nonces.len().saturating_sub(NONCES);
        nonces.drain(..more);
    }

    /// Where it is.
    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// Says durably that the journal reaches to `through`.
    ///
    /// # Errors
    /// What the system said; one of the two slots is then as it was.
    pub(crate) fn write(&mut self, through: &Through) -> io::Result<()> {
        let is_new = self.marked.writes == 0;
        let mut next = self.marked.clone();
        next.writes += 1;
        next.through = through.clone();
        let mut said = serde_json::to_vec(&next).expect("plain records always serialise");
        let check = checksum(&said);
        said.push(b'\n');
        said.extend_from_slice(check.as_bytes());
        said.push(b'\n');
        assert!(
            said.len() <= SLOT,
            "BUG: {NONCES} nonces have room in a slot"
        );
        said.resize(SLOT, b' ');
        let slots: u64 = if is_new { 2 } else { 1 };
        // The first time both, so that the disk has room for either from then on.
        for slot in 0..slots {
            let number = (next.writes + slot) % 2;
            self.file.write_all_at(&said, number * SLOT as u64)?;
        }
        self.file.sync_data()?;
        if is_new {
            self.file.sync_all()?;
            for dir in self.path.ancestors().skip(1).take(3) {
                File::open(dir)?.sync_all()?;
            }
        }
        self.marked = next;
        Ok(())
    }
}
