//! What the reader said of a local origin's branches, kept in the mirror: a process that begins while nothing has moved since
//! starts no reader to be told the same once more. Of an idle cycle of 10,000 people in a new process that is a twelfth (S1).

use std::fs::{self, File};
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};

use gix::hash::{Kind, ObjectId};
use gix::objs;

use super::frame::{self, Room};
use super::message::{self, Parts};
use crate::refs;

/// The note of it, below the mirror, in a directory of its own. It can be lost; the reader is then asked.
const DIR: &str = "seen";
const NOTE: &str = "last-look";

/// The largest note that is written or read, in bytes: more than the names of thousands of proposals.
const ROOM: Room = Room {
    parts: 32,
    bytes: 1 << 20,
};

/// What stands before the words of a question: in another version they mean something else.
const WHO_ASKS: [&[u8]; 2] = [message::FORMAT, env!("CARGO_PKG_VERSION").as_bytes()];

/// How many parts of the note stand before the answer.
const HEAD: usize = 3;

/// What was asked for, in the words of the question.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Question {
    /// The origin and the references below it that were asked for; another question has another answer.
    pub(crate) words: Parts,
    /// From which time on tags mattered, in seconds since 1970, and after which version of the trust root: an answer holds for
    /// what is asked later, and leaves out what would have been told of before.
    pub(crate) since: i64,
    pub(crate) version: u64,
}

/// Where the note is; nowhere for a mirror that is thrown away.
#[derive(Debug, Default)]
pub(crate) struct LastLook {
    file: Option<PathBuf>,
    /// Whether it is another process's to write.
    is_anothers: bool,
    /// Whether it was recalled: after that, this process knows more than the note does.
    recalled: bool,
    written: Vec<u8>,
}

impl LastLook {
    pub(crate) fn in_mirror(dir: &Path) -> LastLook {
        let seen = dir.join(DIR);
        // Where it cannot be made, nothing is kept.
        let _ = fs::create_dir(&seen);
        LastLook {
            file: Some(seen.join(NOTE)),
            ..LastLook::default()
        }
    }

    /// The note of a mirror that another process may be at work on: it is read, and left as it is.
    pub(crate) fn beside(dir: &Path) -> LastLook {
        LastLook {
            file: Some(dir.join(DIR).join(NOTE)),
            is_anothers: true,
            ..LastLook::default()
        }
    }

    /// Whether another process writes it.
    pub(crate) fn is_anothers(&self) -> bool {
        self.is_anothers
    }

    /// What was answered to this question when it was asked last, by this version of the program. Once for each process.
    pub(crate) fn recall(&mut self, question: &Question) -> Option<Parts> {
        let (parts, answer) = self.read()?;
        let [since, version, asked] = parts.as_slice() else {
            return None;
        };
        let holds = *asked == head(question)[HEAD - 1]
            && message::number::<i64>(since)? <= question.since
            && message::number::<u64>(version)? <= question.version;
        holds.then_some(answer)
    }

    /// What was answered last to any question that begins with these words, by this version of the program. Once for each process.
    pub(crate) fn recall_any(&mut self, begins: &[Vec<u8>]) -> Option<Parts> {
        let (parts, answer) = self.read()?;
        let asked = frame::read(&mut parts.last()?.as_slice(), ROOM).ok()??;
        let begins = begins.iter().map(Vec::as_slice);
        let begun: Vec<&[u8]> = WHO_ASKS.into_iter().chain(begins).collect();
        let holds = asked.iter().take(begun.len()).eq(begun);
        holds.then_some(answer)
    }

    /// What stands before the answer, and the answer.
    fn read(&mut self) -> Option<(Parts, Parts)> {
        if std::mem::replace(&mut self.recalled, true) {
            return None;
        }
        let written = refs::read_regular(self.file.as_ref()?, ROOM.bytes).ok()??;
        let mut parts = frame::read(&mut written.as_slice(), ROOM).ok()??;
        let sum = parts.pop()?;
        if sum != checksum(&parts) {
            return None;
        }
        self.written = written;
        let answer = (parts.len() > HEAD).then(|| parts.split_off(HEAD))?;
        Some((parts, answer))
    }

    /// Lets go of it: what it tells of may be here no more.
    pub(crate) fn forget(&mut self) {
        self.recalled = true;
        self.written = Vec::new();
        if let Some(file) = &self.file
            && !self.is_anothers
        {
            // Nothing else has this name, and without it nothing is remembered.
            let _ = fs::remove_file(file);
        }
    }

    /// Keeps an answer, when it is another one. That it cannot be kept costs time and nothing else.
    pub(crate) fn keep(&mut self, question: &Question, answer: &[Vec<u8>]) {
        let Some(file) = self.file.as_ref().filter(|_| !self.is_anothers) else {
            return;
        };
        let mut parts = head(question).to_vec();
        parts.extend_from_slice(answer);
        parts.push(checksum(&parts));
        let mut bytes = Vec::new();
        if frame::write(&mut bytes, &parts).is_ok()
            && bytes.len() as u64 <= ROOM.bytes
            && parts.len() <= ROOM.parts as usize
            && bytes != self.written
            && replace(file, &bytes).is_ok()
        {
            self.written = bytes;
        }
    }
}

/// Always the old or the new one for whoever reads it. After a crash it may be neither: it has a checksum, and is not worth a
/// sync in each cycle.
fn replace(file: &Path, bytes: &[u8]) -> io::Result<()> {
    let new = file.with_extension("new");
    // Whatever has that name is none of ours any more, or a pipe that nobody reads.
    let _ = fs::remove_file(&new);
    File::create_new(&new)?.write_all(bytes)?;
    fs::rename(&new, file)
}

/// What stands before the answer.
fn head(question: &Question) -> [Vec<u8>; HEAD] {
    let asked = WHO_ASKS
        .into_iter()
        .chain(question.words.iter().map(Vec::as_slice));
    [
        question.since.to_string().into_bytes(),
        question.version.to_string().into_bytes(),
        packed(&asked.collect::<Vec<_>>()),
    ]
}

/// Several byte strings as one.
fn packed(parts: &[impl AsRef<[u8]>]) -> Vec<u8> {
    let mut bytes = Vec::new();
    // Writing to memory does not fail, and these are never four thousand million.
    let _ = frame::write(&mut bytes, parts);
    bytes
}

/// Of what a file can be torn into.
fn checksum(parts: &[Vec<u8>]) -> Vec<u8> {
    let id = objs::compute_hash(Kind::Sha1, objs::Kind::Blob, &packed(parts));
    id.as_ref()
        .map(ObjectId::to_string)
        .unwrap_or_default()
        .into_bytes()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn question(origin: &str, since: i64, version: u64) -> Question {
        let words = vec![origin.into(), b"refs/heads/main".to_vec()];
        Question {
            words,
            since,
            version,
        }
    }

    #[test]
    fn what_was_answered_is_known_to_the_next_process() {
        let scratch = tempfile::tempdir().unwrap();
        let answer = vec![b"ok".to_vec(), Vec::new(), vec![0, 255]];
        let recall = |question: &Question| LastLook::in_mirror(scratch.path()).recall(question);
        let asked = question("/srv/state.git", 100, 3);
        assert_eq!(recall(&asked), None);
        LastLook::in_mirror(scratch.path()).keep(&asked, &answer);
        assert_eq!(recall(&asked), Some(answer.clone()));
        assert_eq!(recall(&question("/srv/state.git", 101, 4)), Some(answer));
        for other in [
            question("/srv/other.git", 100, 3),
            // What is asked for again was left out then: the clock was ahead, or the trust root went back.
            question("/srv/state.git", 99, 3),
            question("/srv/state.git", 100, 2),
            Question {
                words: vec![b"/srv/state.git".to_vec()],
                ..asked.clone()
            },
            Question {
                words: vec![Vec::new(); 12],
                ..asked.clone()
            },
        ] {
            assert_eq!(recall(&other), None, "{other:?}");
        }
    }

    #[test]
    fn a_note_that_is_torn_or_changed_is_none() {
        let scratch = tempfile::tempdir().unwrap();
        let asked = question("/srv/state.git", 100, 3);
        LastLook::in_mirror(scratch.path()).keep(&asked, &[b"ok".to_vec(), b"one".to_vec()]);
        let file = scratch.path().join(DIR).join(NOTE);
        let whole = std::fs::read(&file).unwrap();
        let recall = |bytes: &[u8]| {
            std::fs::write(&file, bytes).unwrap();
            LastLook::in_mirror(scratch.path()).recall(&asked)
        };
        assert!(recall(&whole).is_some());
        for len in 0..whole.len() {
            assert_eq!(recall(&whole[..len]), None, "{len} bytes");
        }
        for at in 0..whole.len() {
            let mut changed = whole.clone();
            changed[at] ^= 1;
            assert_eq!(recall(&changed), None, "byte {at}");
        }
        assert_eq!(recall(&vec![0; whole.len()]), None);
        assert_eq!(recall(&vec![255; whole.len()]), None);
    }

    #[test]
    fn what_is_read_for_one_look_is_not_kept() {
        let asked = question("/srv/state.git", 100, 3);
        let mut nowhere = LastLook::default();
        nowhere.keep(&asked, &[b"ok".to_vec()]);
        assert_eq!(nowhere.recall(&asked), None);
    }
}
