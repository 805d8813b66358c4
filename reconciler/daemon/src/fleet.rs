//! The ledgers of executors that cannot be reached: those of a repository into which each pushes its own, or this
//! host's alone.
//!
//! A pushed ledger is taken at its word when its newest commit is signed with that host's key, and goes on from what was
//! seen before. What was seen is remembered in a file beside the copy: a line for each host, for a person to remove.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::io::Write as _;
use std::path::{Path, PathBuf};

use muster_core::commit::CommitId;
use muster_core::executor::{Executor, ExecutorKind};
use muster_core::fleet::alive::{self, Alive};
use muster_core::fleet::hosts::Hosts;
use muster_core::fleet::versions::Version;
use muster_core::fleet::{ExecutorReport, Fleet, LedgerHead, Past};
use muster_core::host_key::{PublicKey, committed_at, signer_of, verify_commit};
use muster_core::key_list::KeyListError;
use muster_core::time::Time;
use muster_core::world::Files;
use muster_git::files::ReadError;
use muster_git::{Ancestry, Ledger, Mirror, Origin};

use crate::cycle::chain;
use crate::outside::OutsideError;
use crate::settings::read_guarded;

/// How far back one looks for what an executor told of a commit, in commits of its ledger.
const FURTHEST: usize = 2_000;

/// Why nobody's ledger can be read.
#[derive(Debug, thiserror::Error)]
enum FleetError {
    /// Nobody knows whose key is whose.
    #[error("it cannot be told whose ledger is whose: {0}")]
    Guarded(String),
    /// The same, for what is written there.
    #[error("it cannot be told whose ledger is whose:\n{0}")]
    Hosts(KeyListError),
    /// What was seen before is not known.
    #[error("{}:{line}: this is no `<kind>/<name> <commit>`; remove the line", path.display())]
    Seen {
        /// The file.
        path: PathBuf,
        /// Which line, from 1.
        line: usize,
    },
    /// The file cannot be read or written.
    #[error("cannot use {}", path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
}

/// The ledgers in a repository at a URL or path.
pub struct GitFleet {
    mirror: Mirror,
    origin: Origin,
    hosts: PathBuf,
    /// Who has which key, by the text that says so.
    known: Option<(String, Hosts)>,
    seen: PathBuf,
    /// What was found at the last look, and from what.
    looked: BTreeMap<Executor, Looked>,
}

struct Looked {
    head: CommitId,
    alive: Option<CommitId>,
    keys: Vec<PublicKey>,
    /// What was seen before, when it was looked at.
    after: Option<CommitId>,
    found: Result<LedgerHead, String>,
}

impl GitFleet {
    /// Reads the ledgers at `origin` through a copy in the directory `dir`, which is made where it is missing. The file
    /// `hosts` says which key is whose; it is read at each look.
    ///
    /// # Errors
    /// When the copy can be neither opened nor made.
    pub fn open(dir: &Path, origin: Origin, hosts: &Path) -> Result<Self, OutsideError> {
        let mirror = Mirror::open_or_create(&dir.join("ledgers.git")).map_err(OutsideError::new)?;
        Ok(Self {
            mirror,
            origin,
            hosts: hosts.to_owned(),
            known: None,
            seen: dir.join("seen"),
            looked: BTreeMap::new(),
        })
    }

    /// Packs the copy when it has grown.
    pub fn maintain(&mut self) {
        if let Err(error) = self.mirror.maintain() {
            tracing::warn!(
                "The copy of the ledgers could not be packed: {}.",
                chain(&error)
            );
        }
    }

    /// Whether a ledger may have moved since the last look. Always, for a ledger repository on a server.
    pub fn has_moved(&self) -> bool {
        self.mirror.may_gather_more()
    }

    /// Who has which key, as the administrator wrote it; nobody when the file is not there.
    fn read_hosts(&mut self) -> Result<Hosts, FleetError> {
        let text = read_guarded(&self.hosts)
            .map_err(FleetError::Guarded)?
            .unwrap_or_default();
        if let Some((before, hosts)) = &self.known
            && *before == text
        {
            return Ok(hosts.clone());
        }
        let name = self.hosts.display().to_string();
        let hosts = Hosts::parse(&name, &text).map_err(FleetError::Hosts)?;
        self.known = Some((text, hosts.clone()));
        Ok(hosts)
    }

    fn examine(&self, executor: &Executor, looked: &Looked) -> Result<LedgerHead, String> {
        let Looked {
            head,
            alive,
            keys,
            after,
            ..
        } = looked;
        let unreadable = |error: ReadError| format!("its ledger cannot be read: {}", chain(&error));
        let bytes = self.mirror.commit_bytes(head).map_err(unreadable)?;
        is_signed(&bytes, keys).map_err(|why| match (keys.is_empty(), signer_of(&bytes)) {
            (true, Some(key)) => format!(
                "its key is not known here, so its ledger counts for nothing; when `muster status` on {} shows this key, add the \
                 line to {}: {executor} {key}",
                executor.name(),
                self.hosts.display()
            ),
            (true, None) => format!(
                "its key is not known here, and its ledger is not signed; update muster on {}, and add its key to {}",
                executor.name(),
                self.hosts.display()
            ),
            (false, _) => format!(
                "the newest commit of its ledger, {}, does not count: {why}; it may have a new key (`muster status` there shows \
                 it), or somebody else wrote here",
                head.short()
            ),
        })?;
        if let Some(after) = after {
            match self.mirror.ancestry(after, head) {
                Ancestry::Same | Ancestry::Descends => {}
                Ancestry::Diverged | Ancestry::Unknown => {
                    return Err(format!(
                        "its ledger was rewritten: {} does not go on from {}, which was seen before; look at both, and when it is \
                         meant so, remove the line of {executor} from {}",
                        head.short(),
                        after.short(),
                        self.seen.display()
                    ));
                }
            }
        }
        let committed = committed_at(&bytes).unwrap_or(Time(0));
        let alive = alive
            .as_ref()
            .and_then(|it| self.sign_of_life(executor, it, keys));
        Ok(LedgerHead {
            ledger: head.clone(),
            read: Alive::read_of(alive.as_ref(), head, committed),
            version: version_of(alive.as_ref()),
        })
    }

    /// What an executor's sign of life says, if it is its own.
    fn sign_of_life(
        &self,
        executor: &Executor,
        id: &CommitId,
        keys: &[PublicKey],
    ) -> Option<Alive> {
        let bytes = self.mirror.commit_bytes(id).ok()?;
        if let Err(why) = is_signed(&bytes, keys) {
            tracing::warn!("A sign of life of {executor} does not count: {why}.");
            return None;
        }
        let files = self
            .mirror
            .ledger_files(id, &|path| path == alive::FILE)
            .ok()?;
        Alive::read(files.get(alive::FILE)?)
    }

    /// What was seen of each executor before.
    fn read_seen(&self) -> Result<BTreeMap<Executor, CommitId>, FleetError> {
        let text = match std::fs::read_to_string(&self.seen) {
            Ok(text) => text,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => String::new(),
            Err(source) => {
                return Err(FleetError::Io {
                    path: self.seen.clone(),
                    source,
                });
            }
        };
        let entry = |(index, line): (usize, &str)| {
            let parsed = line
                .split_once(' ')
                .and_then(|(name, id)| Some((name.parse().ok()?, id.parse().ok()?)));
            parsed.ok_or_else(|| FleetError::Seen {
                path: self.seen.clone(),
                line: index + 1,
            })
        };
        text.lines().enumerate().map(entry).collect()
    }

    fn write_seen(&self, seen: &BTreeMap<Executor, CommitId>) -> Result<(), FleetError> {
        let failed = |source| FleetError::Io {
            path: self.seen.clone(),
            source,
        };
        let mut text = String::new();
        for (executor, commit) in seen {
            writeln!(text, "{executor} {commit}").expect("writing to a string");
        }
        let dir = self.seen.parent().unwrap_or(Path::new("."));
        let mut file = tempfile::NamedTempFile::new_in(dir).map_err(failed)?;
        file.write_all(text.as_bytes()).map_err(failed)?;
        file.as_file().sync_all().map_err(failed)?;
        file.persist(&self.seen)
            .map_err(|error| failed(error.error))?;
        Ok(())
    }
}

fn version_of(alive: Option<&Alive>) -> Option<Version> {
    Version::parse(&alive?.version)
}

fn is_signed(bytes: &[u8], keys: &[PublicKey]) -> Result<(), String> {
    let mut why = "no key is known".to_owned();
    for key in keys {
        match verify_commit(bytes, key) {
            Ok(()) => return Ok(()),
            Err(not_signed) => why = not_signed.to_string(),
        }
    }
    Err(why)
}

impl Fleet for GitFleet {
    type Error = OutsideError;

    fn look(&mut self) -> Result<BTreeMap<Executor, Result<LedgerHead, String>>, OutsideError> {
        let dirs: Vec<String> = ExecutorKind::ALL
            .iter()
            .flat_map(|kind| [kind.ledgers(), kind.signs_of_life()])
            .collect();
        let dirs: Vec<&str> = dirs.iter().map(String::as_str).collect();
        let gathered = self
            .mirror
            .gather(&self.origin, &dirs)
            .map_err(OutsideError::new)?;
        let hosts = self.read_hosts().map_err(OutsideError::new)?;
        let mut seen = self.read_seen().map_err(OutsideError::new)?;
        let mut looked = BTreeMap::new();
        for (name, head) in &gathered.found {
            let Some(executor) = Executor::of_ledger_ref(name) else {
                continue;
            };
            let mut now = Looked {
                head: head.clone(),
                alive: gathered.found.get(&executor.alive_ref()).cloned(),
                keys: hosts.keys_of(&executor).to_vec(),
                after: seen.get(&executor).cloned(),
                found: Err(String::new()),
            };
            let before = self.looked.remove(&executor).filter(|before| {
                (&before.head, &before.alive, &before.keys) == (&now.head, &now.alive, &now.keys)
                    && (before.after == now.after || now.after.as_ref() == Some(&now.head))
            });
            now.found = match before {
                Some(Looked { found, .. }) => found,
                None => self.examine(&executor, &now),
            };
            looked.insert(executor, now);
        }
        self.looked = looked;
        let mut moved = false;
        let mut found = BTreeMap::new();
        for (executor, looked) in &self.looked {
            if looked.found.is_ok() && looked.after.as_ref() != Some(&looked.head) {
                seen.insert(executor.clone(), looked.head.clone());
                moved = true;
            }
            found.insert(executor.clone(), looked.found.clone());
        }
        if moved {
            self.write_seen(&seen).map_err(OutsideError::new)?;
        }
        for (name, why) in &gathered.unread {
            if let Some(executor) = Executor::of_ledger_ref(name) {
                found.insert(
                    executor,
                    Err(format!("its ledger could not be brought here: {why}")),
                );
            }
        }
        for executor in hosts.executors() {
            found.entry(executor.clone()).or_insert_with(|| {
                Err(match seen.get(executor) {
                    Some(before) => format!(
                        "its ledger is gone from {}; {} was seen before",
                        self.origin,
                        before.short()
                    ),
                    None => format!(
                        "it has not told anything yet: {} has no ledger of it",
                        self.origin
                    ),
                })
            });
        }
        Ok(found)
    }

    fn told(&self, _: &Executor, ledger: &CommitId) -> Result<Files, String> {
        told(&self.mirror, ledger)
    }

    fn past(
        &self,
        executor: &Executor,
        ledger: &CommitId,
        commit: &CommitId,
    ) -> Result<Option<Past>, String> {
        past(&self.mirror, executor, ledger, commit)
    }
}

/// The ledgers of this machine's own executors, for a bot on the machine itself: their word needs no signature.
pub struct OwnFleet(BTreeMap<Executor, PathBuf>);

impl OwnFleet {
    /// The ledger of `executor` in the repository `dir` (such as `ledger.git` of the state directory), which need not be
    /// there yet.
    pub fn of(dir: &Path, executor: Executor) -> Self {
        Self::of_all([(executor, dir.to_owned())])
    }

    /// The ledgers of several executors, each in its repository.
    pub fn of_all(all: impl IntoIterator<Item = (Executor, PathBuf)>) -> Self {
        Self(all.into_iter().collect())
    }

    fn open(&self, executor: &Executor) -> Result<Ledger, String> {
        let dir = self.0.get(executor).ok_or("it is not kept here")?;
        Ledger::open(dir, &executor.ledger_ref()).map_err(|error| chain(&error))
    }

    fn standing(&self, executor: &Executor) -> Result<LedgerHead, String> {
        let ledger = self.open(executor)?;
        let head = ledger
            .head()
            .map_err(|error| chain(&error))?
            .ok_or("no cycle has run there yet")?;
        let committed = ledger.committed(&head).map_err(|error| chain(&error))?;
        let alive = ledger
            .load_reference(&executor.alive_ref())
            .ok()
            .flatten()
            .and_then(|it| Alive::read(it.files.get(alive::FILE)?));
        Ok(LedgerHead {
            read: Alive::read_of(alive.as_ref(), &head, Time(committed)),
            version: version_of(alive.as_ref()),
            ledger: head,
        })
    }
}

impl Fleet for OwnFleet {
    type Error = OutsideError;

    fn look(&mut self) -> Result<BTreeMap<Executor, Result<LedgerHead, String>>, OutsideError> {
        let each = self.0.keys();
        Ok(each.map(|it| (it.clone(), self.standing(it))).collect())
    }

    fn told(&self, executor: &Executor, ledger: &CommitId) -> Result<Files, String> {
        told(&self.open(executor)?, ledger)
    }

    fn past(
        &self,
        executor: &Executor,
        ledger: &CommitId,
        commit: &CommitId,
    ) -> Result<Option<Past>, String> {
        past(&self.open(executor)?, executor, ledger, commit)
    }
}

/// Where commits of ledgers are read.
trait Shelf {
    fn files(&self, commit: &CommitId, wanted: &dyn Fn(&str) -> bool) -> Result<Files, ReadError>;

    fn look_back(
        &self,
        commit: &CommitId,
        wanted: &dyn Fn(&[u8]) -> bool,
    ) -> Result<Option<CommitId>, ReadError>;
}

impl Shelf for Mirror {
    fn files(&self, commit: &CommitId, wanted: &dyn Fn(&str) -> bool) -> Result<Files, ReadError> {
        self.ledger_files(commit, wanted)
    }

    fn look_back(
        &self,
        commit: &CommitId,
        wanted: &dyn Fn(&[u8]) -> bool,
    ) -> Result<Option<CommitId>, ReadError> {
        self.look_back(commit, FURTHEST, wanted)
    }
}

impl Shelf for Ledger {
    fn files(&self, commit: &CommitId, wanted: &dyn Fn(&str) -> bool) -> Result<Files, ReadError> {
        self.files_at(commit, wanted)
    }

    fn look_back(
        &self,
        commit: &CommitId,
        wanted: &dyn Fn(&[u8]) -> bool,
    ) -> Result<Option<CommitId>, ReadError> {
        self.look_back(commit, FURTHEST, wanted)
    }
}

fn told(shelf: &impl Shelf, ledger: &CommitId) -> Result<Files, String> {
    shelf
        .files(ledger, &ExecutorReport::is_told_by)
        .map_err(|error| chain(&error))
}

fn past(
    shelf: &impl Shelf,
    executor: &Executor,
    ledger: &CommitId,
    commit: &CommitId,
) -> Result<Option<Past>, String> {
    // The last line of each message says what was enforced, so that no file need be opened on the way.
    let line = format!("\nCommit: {commit}");
    let wanted = |message: &[u8]| message.trim_ascii_end().ends_with(line.as_bytes());
    let found = shelf
        .look_back(ledger, &wanted)
        .map_err(|error| chain(&error))?;
    let Some(found) = found else { return Ok(None) };
    let files = shelf
        .files(&found, &Past::is_told_by)
        .map_err(|error| chain(&error))?;
    let past = Past::read(executor, &files)?;
    if past.facts.adopted == *commit {
        Ok(Some(past))
    } else {
        Err(format!(
            "{} of it is about another commit than it says",
            found.short()
        ))
    }
}

#[cfg(test)]
mod tests;
