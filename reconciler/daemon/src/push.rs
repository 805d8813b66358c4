//! Bringing this host's ledger to the ledger repository: after a cycle, on a thread of its own, and again later where it
//! failed. No step waits for it.
//!
//! What is there is moved only from where it was seen. Where something else is there than this host put there, and it is no
//! part of the history here, the host is frozen; after `muster adopt` that very thing may be replaced, and nothing else.

use std::fs;
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};
use std::sync::mpsc::{Receiver, TryRecvError, channel};
use std::time::Duration;

use muster_core::commit::CommitId;
use muster_core::executor::Executor;
use muster_core::facts::{Frozen, Misfit};
use muster_core::ledger;
use muster_core::time::Time;
use muster_git::folder;
use muster_git::run::Limits;
use muster_git::{Counterpart, Ledger, Move, Origin, PushError};
use serde::{Deserialize, Serialize};

use crate::cycle::chain;
use crate::outside::Elsewhere;
use crate::state_dir::StateDir;

/// The format of `pushed.json` that this version writes.
const FORMAT: u32 = 1;

/// How long the first cycle waits to hear whether the ledger repository is ahead of this host.
const FIRST_WORD: Duration = Duration::from_secs(10);

/// How long one conversation may take.
const CONVERSATION: Duration = Duration::from_secs(300);

/// How the directories begin in which one looks at what is elsewhere.
const SCRATCH: &str = "elsewhere-";

/// After how many seconds a push that failed is tried again; doubled with each further one, up to the longest.
const RETRY: i64 = 15;
const LONGEST_RETRY: i64 = 600;

/// How far the ledger has arrived. All of it can be lost: it is then asked for.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Record {
    format: u32,
    /// The ledger repository.
    to: String,
    /// Where the ledger's reference is there.
    ledger: Option<CommitId>,
    /// Where the sign of life is there.
    alive: Option<CommitId>,
    /// What was found there instead of ours, and froze this host.
    refused: Option<CommitId>,
    /// Where the branch that follows the ledger is there.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    branch: Option<CommitId>,
}

/// Where the ledger was seen in the ledger repository last, for those who only look; `None` when it never was.
pub fn last_seen(state: &StateDir, origin: &Origin) -> Option<CommitId> {
    read_record(&state.pushed(), &origin.to_string()).ledger
}

/// What is pushed, and where to.
#[derive(Clone)]
struct Setup {
    dir: PathBuf,
    state: PathBuf,
    ledger: String,
    alive: String,
    branch: String,
    executor_id: String,
    there: Counterpart,
}

/// Pushes one executor's ledger.
pub struct Pusher {
    setup: Setup,
    file: PathBuf,
    record: Record,
    /// Whether this process has heard what is there.
    asked: bool,
    running: Option<Receiver<Outcome>>,
    failures: u32,
    due: Time,
}

/// What a push came to, for whoever keeps journal and facts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum News {
    /// The ledger has arrived as far as it was when the push began.
    Arrived,
    /// Something else is there.
    Misfit(Frozen),
    /// It failed, which was said, and is tried again.
    Failed,
}

enum Outcome {
    Arrived(Record),
    Misfit(Frozen),
    Failed(String),
}

impl Pusher {
    /// For the executor of this id in the state directory `state`, to `origin`. Nothing is asked or pushed yet.
    pub fn open(state: &StateDir, origin: Origin, executor: &Executor, executor_id: &str) -> Self {
        clear_leftovers(state.path());
        let file = state.pushed();
        let to = origin.to_string();
        let limits = Limits {
            wall: CONVERSATION,
            ..Limits::default()
        };
        Self {
            setup: Setup {
                dir: state.ledger(),
                state: state.path().to_owned(),
                ledger: executor.ledger_ref(),
                alive: executor.alive_ref(),
                branch: executor.ledger_branch(),
                executor_id: executor_id.to_owned(),
                there: Counterpart::of(&state.ledger(), origin).with_limits(limits),
            },
            record: read_record(&file, &to),
            file,
            asked: false,
            running: None,
            failures: 0,
            due: Time(0),
        }
    }

    /// How far the ledger has arrived, so far as that is known.
    pub fn arrived(&self) -> Elsewhere {
        Elsewhere::Pushed(self.record.ledger.clone())
    }

    /// Asks what is there, before anything is done here: a host that was put back from an older copy must not do again what it
    /// did before. A repository that does not answer soon keeps nobody waiting.
    pub fn ask(&mut self, frozen: Option<&Frozen>) -> Option<News> {
        if self.is_refused(frozen) {
            return None;
        }
        let limits = Limits {
            wall: FIRST_WORD,
            ..Limits::default()
        };
        let setup = Setup {
            there: self.setup.there.clone().with_limits(limits),
            ..self.setup.clone()
        };
        let outcome = match setup.head() {
            Ok(head) => setup.ask(&self.record, head.as_ref()),
            Err(outcome) => Err(outcome),
        };
        match outcome {
            Ok(record) => {
                self.asked = true;
                self.keep(record);
                None
            }
            Err(outcome) => {
                let news = self.take(outcome, Time(0));
                // The next push asks again.
                self.due = Time(0);
                Some(news)
            }
        }
    }

    /// Begins to push what is new, unless that is going on, was not to be tried yet, or must not be.
    pub fn start(&mut self, frozen: Option<&Frozen>, now: Time) {
        if self.is_refused(frozen) || self.running.is_some() || self.is_due_later(now) {
            return;
        }
        let (setup, record, asked) = (self.setup.clone(), self.record.clone(), self.asked);
        match setup.has_news(&record) {
            Ok(false) if asked => return,
            _ => {}
        }
        let (done, running) = channel();
        self.running = Some(running);
        std::thread::spawn(move || {
            // Nobody listens any more when the process ends.
            let _ = done.send(setup.push(record, asked));
        });
    }

    /// Whether the next try is not to be made yet. One that is due later than any can be was put off by a clock that was set
    /// back since.
    fn is_due_later(&self, now: Time) -> bool {
        self.due > now && self.due <= now.plus(LONGEST_RETRY)
    }

    /// What came of a push, if one has ended.
    pub fn poll(&mut self, now: Time) -> Option<News> {
        let outcome = match self.running.as_ref()?.try_recv() {
            Ok(outcome) => outcome,
            Err(TryRecvError::Empty) => return None,
            Err(TryRecvError::Disconnected) => ended_early(),
        };
        self.running = None;
        Some(self.take(outcome, now))
    }

    /// Waits for the push that is going on, if there is one.
    pub fn wait(&mut self, now: Time) -> Option<News> {
        let running = self.running.take()?;
        let outcome = running.recv().unwrap_or_else(|_| ended_early());
        Some(self.take(outcome, now))
    }

    /// Whether this host is frozen by what is in the ledger repository. What that was is remembered, so that it is what may be
    /// replaced once a person has decided so.
    fn is_refused(&mut self, frozen: Option<&Frozen>) -> bool {
        let Some(Frozen::Elsewhere { found, .. }) = frozen else {
            return false;
        };
        if self.record.refused.as_ref() != Some(found) {
            let record = Record {
                refused: Some(found.clone()),
                ..self.record.clone()
            };
            self.keep(record);
        }
        true
    }

    fn take(&mut self, outcome: Outcome, now: Time) -> News {
        match outcome {
            Outcome::Arrived(record) => {
                if self.failures > 0 {
                    tracing::info!("The ledger repository has the ledger again.");
                }
                self.asked = true;
                self.failures = 0;
                self.due = Time(0);
                self.keep(record);
                News::Arrived
            }
            Outcome::Misfit(frozen) => {
                self.asked = false;
                News::Misfit(frozen)
            }
            Outcome::Failed(why) => {
                let wait = RETRY << self.failures.min(10);
                self.failures = self.failures.saturating_add(1);
                self.due = now.plus(wait.min(LONGEST_RETRY));
                // What is there may not be what it was.
                self.asked = false;
                tracing::warn!(
                    "The ledger could not be pushed to {}, and is again at one of the next looks: {why}.",
                    self.setup.there.origin()
                );
                News::Failed
            }
        }
    }

    fn keep(&mut self, record: Record) {
        if record == self.record {
            return;
        }
        if let Err(error) = write_record(&self.file, &record) {
            tracing::warn!("{} cannot be written: {error}.", self.file.display());
        }
        self.record = record;
    }
}

/// Removes what a process that was killed was looking at.
fn clear_leftovers(state: &Path) {
    for entry in folder::entries(state).unwrap_or_default() {
        if entry
            .name()
            .as_encoded_bytes()
            .starts_with(SCRATCH.as_bytes())
        {
            // The next one has its own.
            let _ = fs::remove_dir_all(entry.path);
        }
    }
}

fn ended_early() -> Outcome {
    Outcome::Failed("it ended early".to_owned())
}

impl Setup {
    fn open(&self) -> Result<Ledger, Outcome> {
        Ledger::open(&self.dir, &self.ledger).map_err(failed)
    }

    fn head(&self) -> Result<Option<CommitId>, Outcome> {
        self.open()?.head().map_err(failed)
    }

    /// The newest sign of life and the newest commit. In this order: a sign of life never speaks of a later ledger.
    fn tips(&self) -> Result<(Option<CommitId>, Option<CommitId>), Outcome> {
        let alive = Ledger::open(&self.dir, &self.alive).and_then(|it| it.head());
        Ok((alive.map_err(failed)?, self.head()?))
    }

    /// Whether something is here that is not there.
    fn has_news(&self, record: &Record) -> Result<bool, Outcome> {
        let (alive, head) = self.tips()?;
        let is_new =
            |here: Option<CommitId>, there: &Option<CommitId>| here.is_some() && here != *there;
        Ok(is_new(head, &record.ledger) || is_new(alive, &record.alive))
    }

    /// What is there, which is what may be replaced; or why it may not.
    fn ask(&self, record: &Record, head: Option<&CommitId>) -> Result<Record, Outcome> {
        let names = [self.ledger.as_str(), self.alive.as_str()];
        let mut found = self.there.ask(&names).map_err(failed)?;
        let ledger = found.remove(&self.ledger);
        self.may_replace(record, ledger.as_ref(), head)?;
        Ok(Record {
            ledger,
            alive: found.remove(&self.alive),
            ..record.clone()
        })
    }

    /// Whether `found` may be replaced by the history that ends with `head`: it is a part of it, or was decided about.
    fn may_replace(
        &self,
        record: &Record,
        found: Option<&CommitId>,
        head: Option<&CommitId>,
    ) -> Result<(), Outcome> {
        let Some(found) = found else {
            if record.ledger.is_some() {
                tracing::warn!("The ledger repository has lost the ledger; it is pushed again.");
            }
            return Ok(());
        };
        if record.refused.as_ref() == Some(found) {
            tracing::warn!("{found} in the ledger repository is replaced, as was decided.");
            return Ok(());
        }
        if let Some(head) = head
            && self.open()?.has_within(head, found).map_err(failed)?
        {
            if record.ledger.as_ref().is_some_and(|before| before != found) {
                tracing::warn!(
                    "The ledger repository was set back to {found}; the ledger is pushed again."
                );
            }
            return Ok(());
        }
        let scratch = tempfile::Builder::new()
            .prefix(SCRATCH)
            .tempdir_in(&self.state)
            .map_err(failed)?;
        let theirs = self
            .there
            .look_into(&self.ledger, scratch.path())
            .map_err(failed)?;
        // It may have moved on since it was asked for.
        let found = theirs
            .head()
            .map_err(failed)?
            .unwrap_or_else(|| found.clone());
        let files = theirs
            .files_at(&found, &|path| path == ledger::STATE)
            .unwrap_or_default();
        let how = match ledger::executor_id(&files) {
            Ok(id) if id == self.executor_id => {
                let goes_on =
                    head.is_none_or(|head| theirs.has_within(&found, head).unwrap_or(false));
                if goes_on {
                    Misfit::Ahead
                } else {
                    Misfit::Rewritten
                }
            }
            Ok(_) | Err(_) => Misfit::Another,
        };
        Err(Outcome::Misfit(Frozen::Elsewhere { how, found }))
    }

    /// Pushes what is here.
    fn push(&self, mut record: Record, asked: bool) -> Outcome {
        match self.try_push(&mut record, asked) {
            Ok(()) => {
                self.move_branch(&mut record);
                Outcome::Arrived(record)
            }
            Err(outcome) => outcome,
        }
    }

    /// Has the branch follow the ledger that has arrived, for a forge to tell whoever hears its webhooks (F39). It is nothing
    /// else: whoever moves it deceives nobody, and a rule that refuses it costs a bot half a minute.
    fn move_branch(&self, record: &mut Record) {
        let Some(to) = record
            .ledger
            .clone()
            .filter(|it| record.branch.as_ref() != Some(it))
        else {
            return;
        };
        let moved = |from: Option<CommitId>| {
            let (name, to) = (self.branch.clone(), to.clone());
            self.there.push(&[Move { name, from, to }])
        };
        let moved = match moved(record.branch.clone()) {
            Err(PushError::Raced { .. }) => match self.there.ask(&[&self.branch]) {
                Ok(mut found) => moved(found.remove(&self.branch)),
                Err(error) => {
                    tracing::debug!("No branch follows the ledger: {}.", chain(&error));
                    return;
                }
            },
            first => first,
        };
        match moved {
            Ok(()) => record.branch = Some(to),
            Err(error) => tracing::debug!("No branch follows the ledger: {}.", chain(&error)),
        }
    }

    fn try_push(&self, record: &mut Record, asked: bool) -> Result<(), Outcome> {
        let (alive, head) = self.tips()?;
        if !asked {
            *record = self.ask(record, head.as_ref())?;
        }
        for again in [true, false] {
            let mut moves = Vec::new();
            for (name, from, to) in [
                (&self.ledger, &record.ledger, &head),
                (&self.alive, &record.alive, &alive),
            ] {
                moves.extend(to.as_ref().map(|to| Move {
                    name: name.clone(),
                    from: from.clone(),
                    to: to.clone(),
                }));
            }
            if moves.is_empty() {
                return Ok(());
            }
            match self.there.push(&moves) {
                Ok(()) => {
                    record.ledger.clone_from(&head);
                    record.alive = alive.or_else(|| record.alive.take());
                    record.refused = None;
                    return Ok(());
                }
                // It is elsewhere than it was: looked at, and tried once more.
                Err(PushError::Raced { .. }) if again => {
                    *record = self.ask(record, head.as_ref())?;
                }
                Err(error) => return Err(failed(error)),
            }
        }
        Ok(())
    }
}

fn failed(error: impl std::error::Error) -> Outcome {
    Outcome::Failed(chain(&error))
}

/// What is remembered, if it is about this ledger repository and can be read.
fn read_record(path: &Path, to: &str) -> Record {
    let empty = Record {
        format: FORMAT,
        to: to.to_owned(),
        ..Record::default()
    };
    let bytes = match fs::read(path) {
        Ok(bytes) => bytes,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return empty,
        Err(error) => {
            tracing::warn!("{} cannot be read: {error}.", path.display());
            return empty;
        }
    };
    match serde_json::from_slice::<Record>(&bytes) {
        Ok(record) if record.format == FORMAT && record.to == to => record,
        Ok(_) => empty,
        Err(error) => {
            tracing::warn!("{} cannot be understood: {error}.", path.display());
            empty
        }
    }
}

fn write_record(path: &Path, record: &Record) -> io::Result<()> {
    let dir = path.parent().unwrap_or(Path::new("."));
    let mut text = serde_json::to_vec_pretty(record).map_err(io::Error::other)?;
    text.push(b'\n');
    let mut file = tempfile::NamedTempFile::new_in(dir)?;
    file.write_all(&text)?;
    file.as_file().sync_all()?;
    file.persist(path).map_err(|error| error.error)?;
    fs::File::open(dir)?.sync_all()
}

#[cfg(test)]
mod tests;
