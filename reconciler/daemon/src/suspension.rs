//! What is decided at the console while a daemon is at work, from there into the journal.
//!
//! Whoever holds the lock writes the journal. Where that is a daemon at work, the console leaves a *request*, a file that
//! appears whole or not at all, and wakes the daemon, which takes it in before its next batch. A request that nobody has
//! taken in yet is not lost: whoever opens the journal next finds it. One that is not followed is replaced by the words that
//! say why, for whoever asked.

use std::fs::{self, DirBuilder};
use std::io::{self, Write as _};
use std::os::unix::fs::DirBuilderExt as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use muster_core::commit::CommitId;
use muster_core::journal::Entry;
use muster_core::time::Time;
use muster_git::folder;
use serde::{Deserialize, Serialize};

use crate::cycle::chain;
use crate::state_dir::{StateDir, StateError};

/// What a person at the console decided.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Request {
    /// Who, as the console knew them.
    pub who: String,
    /// Why, in their words.
    pub reason: String,
    /// What.
    pub decision: Decision,
}

/// What can be decided.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum Decision {
    /// Nothing runs from here on.
    Suspend {
        /// The first moment at which that no longer holds, if it ends by itself.
        until: Option<Time>,
    },
    /// It goes on.
    Resume,
    /// The clock is right; whether that can be is looked at by whoever takes it in.
    AcceptClock,
    /// This commit counts from here on; whether anything can be kept by it is looked at by whoever takes it in.
    Adopt {
        /// Which.
        commit: CommitId,
    },
}

impl Request {
    /// The record of it; `None` where that follows from more than the moment.
    pub fn entry(&self, at: Time) -> Option<Entry> {
        let Self {
            who,
            reason,
            decision,
        } = self.clone();
        match decision {
            Decision::Suspend { until } => Some(Entry::Suspended {
                at,
                who,
                reason,
                until,
            }),
            Decision::Resume => Some(Entry::Resumed { at, who, reason }),
            Decision::AcceptClock | Decision::Adopt { .. } => None,
        }
    }
}

const ENDING: &str = "json";
const ANSWER: &str = "refused";
/// Nobody waits longer for an answer.
const LONGEST_WAIT: Duration = Duration::from_secs(60);

/// Leaves a request for the process that holds the lock; gives the file, which is gone once the request is in the journal or
/// was refused: [`answer_to`] has the words then.
///
/// # Errors
/// When it cannot be written.
pub fn ask(state: &StateDir, request: &Request, now: Time) -> Result<PathBuf, StateError> {
    let dir = state.requests();
    let failed = |act: &'static str, path: &Path| {
        let path = path.to_owned();
        move |source| StateError::Io { act, path, source }
    };
    DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(&dir)
        .map_err(failed("create", &dir))?;
    let text = serde_json::to_vec(request).expect("plain records always serialise");
    // Taken in by the order of the names.
    let path = dir.join(format!("{:020}-{}.{ENDING}", now.0, std::process::id()));
    put(&path, &text).map_err(failed("write", &path))?;
    Ok(path)
}

/// Writes a file that appears whole or not at all.
fn put(path: &Path, text: &[u8]) -> io::Result<()> {
    let dir = path.parent().unwrap_or(path);
    let mut file = tempfile::NamedTempFile::new_in(dir)?;
    file.write_all(text)?;
    file.as_file().sync_all()?;
    file.persist(path).map_err(|error| error.error)?;
    fs::File::open(dir)?.sync_all()
}

/// Whether a request waits.
pub fn is_asked(state: &StateDir) -> bool {
    !paths(state).is_empty()
}

/// The requests that wait, oldest first. One that cannot be read is put aside, and said.
pub fn asked(state: &StateDir) -> Vec<(PathBuf, Request)> {
    let mut found = Vec::new();
    for path in paths(state) {
        let read = fs::read(&path).and_then(|text| {
            serde_json::from_slice(&text)
                .map_err(|error| io::Error::new(io::ErrorKind::InvalidData, error))
        });
        match read {
            Ok(request) => found.push((path, request)),
            Err(error) => {
                tracing::error!(
                    "The request {} cannot be read ({}); it is put aside.",
                    path.display(),
                    chain(&error)
                );
                let _ = fs::rename(&path, path.with_extension("bad"));
            }
        }
    }
    found
}

/// Removes a request that is in the journal. Should that fail, it is taken in once more, which changes nothing.
pub fn forget(path: &Path) {
    if let Err(error) = fs::remove_file(path)
        && error.kind() != io::ErrorKind::NotFound
    {
        tracing::warn!("{} cannot be removed: {error}.", path.display());
    }
}

/// Says to whoever left a request why it is not followed, and removes it.
pub fn refuse(path: &Path, why: &str) {
    // Who asked long before has read the answer, or gave up waiting.
    let dir = path.parent().unwrap_or(path);
    for entry in folder::entries(dir).unwrap_or_default() {
        let written = entry.path.metadata().and_then(|it| it.modified());
        let age = written.ok().and_then(|it| it.elapsed().ok());
        if entry.path.extension().is_some_and(|it| it == ANSWER)
            && age.is_some_and(|it| it > LONGEST_WAIT)
        {
            forget(&entry.path);
        }
    }
    let answer = path.with_extension(ANSWER);
    if let Err(error) = put(&answer, why.as_bytes()) {
        tracing::warn!("{} cannot be written: {error}.", answer.display());
    }
    forget(path);
}

/// Why a request that is gone was not followed, if it was not. Whoever asked asks once.
pub fn answer_to(path: &Path) -> Option<String> {
    let answer = path.with_extension(ANSWER);
    let why = fs::read_to_string(&answer).ok()?;
    forget(&answer);
    Some(why)
}

fn paths(state: &StateDir) -> Vec<PathBuf> {
    let entries = folder::entries(&state.requests()).unwrap_or_default();
    let mut paths: Vec<PathBuf> = entries
        .into_iter()
        .map(|entry| entry.path)
        .filter(|path| path.extension().is_some_and(|it| it == ENDING))
        .collect();
    paths.sort();
    paths
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_is_found_in_order_and_a_broken_one_is_put_aside() {
        let dir = tempfile::tempdir().unwrap();
        let state = StateDir::at(dir.path());
        assert!(!is_asked(&state));
        let request = |decision| Request {
            who: "root".into(),
            reason: "a disk is changed".into(),
            decision,
        };
        let until = Some(Time(99));
        let suspend = request(Decision::Suspend { until });
        let second = ask(&state, &request(Decision::Resume), Time(20)).unwrap();
        let first = ask(&state, &suspend, Time(3)).unwrap();
        fs::write(state.requests().join("1.json"), "{").unwrap();
        let found = asked(&state);
        assert_eq!(
            found.iter().map(|it| &it.0).collect::<Vec<_>>(),
            [&first, &second]
        );
        assert_eq!(found[0].1, suspend);
        assert_eq!(
            found[0].1.entry(Time(5)),
            Some(Entry::Suspended {
                at: Time(5),
                who: "root".into(),
                reason: "a disk is changed".into(),
                until
            })
        );
        assert!(state.requests().join("1.bad").exists());
        forget(&first);
        forget(&first);
        refuse(&second, "it does not suit");
        assert!(!is_asked(&state));
        assert_eq!(answer_to(&first), None);
        assert_eq!(answer_to(&second).as_deref(), Some("it does not suit"));
        assert_eq!(answer_to(&second), None, "it is told once");
    }
}
