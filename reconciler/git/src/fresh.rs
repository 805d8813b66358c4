//! Files that were copied into the mirror a moment ago are read from memory: those of 10,000 people need not be inflated and hashed
//! once more right after they were written (S6).

use std::cell::RefCell;
use std::collections::BTreeMap;

use gix::hash::{Kind, ObjectId, oid};
use gix::objs;

use crate::objects::{CommitParts, Source};
use crate::read_error::ReadError;

/// Files that were hashed and copied, and not read yet.
#[derive(Default)]
pub(crate) struct Fresh {
    files: BTreeMap<ObjectId, Vec<u8>>,
    bytes: usize,
}

impl Fresh {
    /// All of them together, in bytes.
    const MOST: usize = 8 << 20;

    pub(crate) fn keep(&mut self, id: ObjectId, bytes: Vec<u8>) {
        if self.bytes + bytes.len() <= Self::MOST {
            self.bytes += bytes.len();
            self.files.insert(id, bytes);
        }
    }

    fn take(&mut self, id: &oid) -> Option<Vec<u8>> {
        let bytes = self.files.remove(id)?;
        self.bytes -= bytes.len();
        Some(bytes)
    }
}

/// Objects, and files that are at hand.
pub(crate) struct WithFresh<'m> {
    pub(crate) objects: &'m dyn Source,
    pub(crate) fresh: &'m RefCell<Fresh>,
}

impl Source for WithFresh<'_> {
    fn kind(&self) -> Kind {
        self.objects.kind()
    }

    fn read(&self, id: &oid, expected: objs::Kind, limit: u64) -> Result<Vec<u8>, ReadError> {
        let fresh = match expected {
            objs::Kind::Blob => self.fresh.borrow_mut().take(id),
            objs::Kind::Commit | objs::Kind::Tree | objs::Kind::Tag => None,
        };
        match fresh {
            Some(bytes) if bytes.len() as u64 <= limit => Ok(bytes),
            _ => self.objects.read(id, expected, limit),
        }
    }

    fn most_bytes(&self) -> u64 {
        self.objects.most_bytes()
    }

    fn commit(&self, id: &oid) -> Result<CommitParts, ReadError> {
        self.objects.commit(id)
    }
}
