//! Tags that were refused before their signature was good, in a small file of the state directory.
//!
//! Anybody can push them, so they are neither journaled nor reported: the file is bounded, the oldest go first, and losing
//! it loses nothing.

use std::fs;
use std::io::{self, Write as _};
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

use muster_core::release::Code;
use muster_core::time::Time;
use serde::{Deserialize, Serialize};

use crate::cycle::CycleSummary;

/// How many are remembered, by object id.
pub const LIMIT: usize = 1_000;

const FORMAT: u32 = 1;

/// What is remembered.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RefusedTags {
    format: u32,
    /// How many are there now.
    pub there: usize,
    /// The last of them, each once by its object id, oldest first.
    pub tags: Vec<RefusedTag>,
}

/// One of them.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RefusedTag {
    /// The object.
    pub id: String,
    /// The full name of the ref, as somebody pushed it.
    pub tag: String,
    /// The word.
    pub code: Code,
    /// What is wrong.
    pub why: String,
    /// When it was first refused.
    pub at: Time,
}

impl Default for RefusedTags {
    fn default() -> Self {
        Self {
            format: FORMAT,
            there: 0,
            tags: Vec::new(),
        }
    }
}

impl RefusedTags {
    /// What the file says; nothing, where there is none or it cannot be read.
    pub fn read(path: &Path) -> Self {
        let read = fs::read(path).ok();
        read.and_then(|bytes| serde_json::from_slice::<Self>(&bytes).ok())
            .filter(|it| it.format == FORMAT)
            .unwrap_or_default()
    }

    /// The same after a cycle.
    #[must_use]
    pub fn after(&self, summary: &CycleSummary, now: Time) -> Self {
        let mut after = self.clone();
        after.there = summary.refused_tags.unwrap_or(self.there);
        for it in &summary.unauthenticated {
            let id = it.id.as_str();
            match after.tags.iter_mut().find(|known| known.id == id) {
                Some(known) => {
                    known.code = it.refusal.code;
                    known.why.clone_from(&it.refusal.why);
                }
                None => after.tags.push(RefusedTag {
                    id: id.to_owned(),
                    tag: it.name.clone(),
                    code: it.refusal.code,
                    why: it.refusal.why.clone(),
                    at: now,
                }),
            }
        }
        let over = after.tags.len().saturating_sub(LIMIT);
        after.tags.drain(..over);
        after
    }

    /// Writes the file, whole or not at all.
    ///
    /// # Errors
    /// What the system said.
    pub fn write(&self, path: &Path) -> io::Result<()> {
        let dir = path.parent().unwrap_or(Path::new("."));
        let mut file = tempfile::NamedTempFile::new_in(dir)?;
        serde_json::to_writer(&mut file, self)?;
        file.write_all(b"\n")?;
        file.as_file()
            .set_permissions(fs::Permissions::from_mode(0o600))?;
        file.persist(path).map(drop).map_err(|error| error.error)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cycle::Unauthenticated;

    fn seen(number: usize, code: Code) -> Unauthenticated {
        Unauthenticated {
            name: format!("refs/tags/release/{number}"),
            id: format!("{number:040x}").parse().unwrap(),
            refusal: code.because("why"),
        }
    }

    #[test]
    fn each_object_stands_there_once_and_the_oldest_go_first() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("refused.json");
        assert_eq!(RefusedTags::read(&path), RefusedTags::default());
        let mut summary = CycleSummary {
            unauthenticated: (0..LIMIT).map(|it| seen(it, Code::UnknownSigner)).collect(),
            refused_tags: Some(LIMIT),
            ..CycleSummary::default()
        };
        let first = RefusedTags::default().after(&summary, Time(5));
        assert_eq!(first.after(&summary, Time(6)), first);
        summary.unauthenticated = vec![seen(7, Code::Revoked), seen(LIMIT, Code::Malformed)];
        summary.refused_tags = None;
        let second = first.after(&summary, Time(7));
        assert_eq!((second.tags.len(), second.there), (LIMIT, LIMIT));
        assert_eq!(second.tags[0].id, format!("{:040x}", 1));
        assert_eq!(
            (second.tags[6].code, second.tags[6].at),
            (Code::Revoked, Time(5))
        );
        second.write(&path).unwrap();
        assert_eq!(RefusedTags::read(&path), second);
        fs::write(&path, "{").unwrap();
        assert_eq!(RefusedTags::read(&path), RefusedTags::default());
    }
}
