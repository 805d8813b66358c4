//! Ledgers that executors pushed, the bot's own store, and a state repository that several look at.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use muster_core::commit::{CommitId, TagId};
use muster_core::diagnostic::Diagnostics;
use muster_core::executor::Executor;
use muster_core::fleet::{BotStore, Fleet, Lead, LedgerHead, Past};
use muster_core::release::TagHorizon;
use muster_core::rooms::Policy;
use muster_core::time::Time;
use muster_core::world::{Ancestry, Files, Heads, Merge, Pulls, RawTag, Source, Version};

use crate::{Repository, Sim, SimError};

/// What executors pushed, each state of it.
#[derive(Clone, Debug, Default)]
pub struct Pushed {
    ledgers: BTreeMap<Executor, Vec<Push>>,
    /// Whether the ledger repository answers.
    pub down: bool,
    /// Executors whose ledger is not to be taken at its word, and why.
    pub refused: BTreeMap<Executor, String>,
}

#[derive(Clone, Debug)]
struct Push {
    files: Files,
    commit: CommitId,
    read: Time,
}

/// A handle on pushed ledgers; clones share them.
#[derive(Clone, Debug, Default)]
pub struct SimFleet(Arc<Mutex<Pushed>>);

impl SimFleet {
    /// Looks at it, or changes it.
    pub fn with<T>(&self, look: impl FnOnce(&mut Pushed) -> T) -> T {
        look(&mut self.lock())
    }

    fn lock(&self) -> MutexGuard<'_, Pushed> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// An executor pushes its ledger, or says that it lives.
    pub fn push(&self, sim: &Sim, policy: &Policy, now: Time) {
        let files = sim.with(|universe| universe.ledger.clone());
        let mut pushed = self.lock();
        let pushes = pushed.ledgers.entry(policy.executor().clone()).or_default();
        match pushes.last_mut() {
            Some(last) if last.files == files => last.read = now,
            _ => {
                let commit = format!("{:040x}", pushes.len() + 1);
                pushes.push(Push {
                    files,
                    commit: commit.parse().expect("forty digits"),
                    read: now,
                });
            }
        }
    }
}

impl Pushed {
    fn at(&self, executor: &Executor, commit: &CommitId) -> Result<&Push, String> {
        let pushes = self.ledgers.get(executor).ok_or("there is none")?;
        let found = pushes.iter().find(|it| it.commit == *commit);
        found.ok_or_else(|| "it is gone".to_owned())
    }
}

impl Fleet for SimFleet {
    type Error = SimError;

    fn look(&mut self) -> Result<BTreeMap<Executor, Result<LedgerHead, String>>, SimError> {
        let pushed = self.lock();
        if pushed.down {
            return Err(SimError::Down("the ledger repository is down".to_owned()));
        }
        let standing = |(executor, pushes): (&Executor, &Vec<Push>)| {
            let last = pushes.last()?;
            let standing = match pushed.refused.get(executor) {
                Some(why) => Err(why.clone()),
                None => Ok(LedgerHead {
                    ledger: last.commit.clone(),
                    read: last.read,
                    version: None,
                }),
            };
            Some((executor.clone(), standing))
        };
        Ok(pushed.ledgers.iter().filter_map(standing).collect())
    }

    fn told(&self, executor: &Executor, commit: &CommitId) -> Result<Files, String> {
        let pushed = self.lock();
        Ok(pushed.at(executor, commit)?.files.clone())
    }

    fn past(
        &self,
        executor: &Executor,
        _: &CommitId,
        commit: &CommitId,
    ) -> Result<Option<Past>, String> {
        let pushed = self.lock();
        let pushes = pushed.ledgers.get(executor).ok_or("there is none")?;
        for push in pushes.iter().rev() {
            let past = Past::read(executor, &push.files)?;
            if past.facts.adopted == *commit {
                return Ok(Some(past));
            }
        }
        Ok(None)
    }
}

/// What bots wrote.
#[derive(Clone, Debug, Default)]
pub struct Stored {
    /// The files.
    pub files: Files,
    /// Who leads, in which term, until when.
    pub lease: Option<(String, u64, Time)>,
    /// How often something was written.
    pub writes: usize,
    /// Whether the store answers.
    pub down: bool,
}

/// One bot's handle on the store that bots share.
#[derive(Clone, Debug)]
pub struct SimStore {
    stored: Arc<Mutex<Stored>>,
    me: String,
    term: u64,
}

/// How long a lead lasts, in seconds.
const LEASE: i64 = 30;

impl SimStore {
    /// A store with nothing in it.
    pub fn new(me: &str) -> Self {
        Self {
            stored: Arc::default(),
            me: me.to_owned(),
            term: 0,
        }
    }

    /// Another bot on the same store.
    #[must_use]
    pub fn another(&self, me: &str) -> Self {
        Self {
            stored: Arc::clone(&self.stored),
            me: me.to_owned(),
            term: 0,
        }
    }

    /// Looks at it, or changes it.
    pub fn with<T>(&self, look: impl FnOnce(&mut Stored) -> T) -> T {
        look(&mut self.lock())
    }

    fn lock(&self) -> MutexGuard<'_, Stored> {
        self.stored.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn store_is_down() -> SimError {
    SimError::Down("the store is down".to_owned())
}

impl BotStore for SimStore {
    type Error = SimError;

    fn lead(&mut self, now: Time) -> Result<Lead, SimError> {
        let stored = Arc::clone(&self.stored);
        let mut stored = stored.lock().unwrap_or_else(PoisonError::into_inner);
        if stored.down {
            return Err(store_is_down());
        }
        let term = match &stored.lease {
            Some((who, term, until)) if *who == self.me && *term == self.term && *until > now => {
                *term
            }
            Some((who, _, until)) if *until > now && *who != self.me => {
                return Ok(Lead::Others {
                    who: who.clone(),
                    until: *until,
                });
            }
            Some((_, term, _)) => term + 1,
            None => 1,
        };
        self.term = term;
        let until = now.plus(LEASE);
        stored.lease = Some((self.me.clone(), term, until));
        Ok(Lead::Ours { term, until })
    }

    fn resign(&mut self, now: Time) {
        let me = self.me.clone();
        let mut stored = self.lock();
        if let Some((who, _, until)) = &mut stored.lease
            && *who == me
        {
            *until = now;
        }
    }

    fn read(&mut self, wanted: &dyn Fn(&str) -> bool) -> Result<Files, SimError> {
        let stored = self.lock();
        if stored.down {
            return Err(store_is_down());
        }
        let files = stored.files.iter().filter(|(path, _)| wanted(path));
        Ok(files
            .map(|(path, bytes)| (path.clone(), bytes.clone()))
            .collect())
    }

    fn write(
        &mut self,
        changes: &BTreeMap<String, Option<Vec<u8>>>,
        _: &str,
        now: Time,
    ) -> Result<(), SimError> {
        let (me, mine) = (self.me.clone(), self.term);
        let mut stored = self.lock();
        let leads = matches!(&stored.lease, Some((who, term, _)) if *who == me && *term == mine);
        if stored.down || !leads {
            return Err(store_is_down());
        }
        for (path, content) in changes {
            match content {
                Some(content) => stored.files.insert(path.clone(), content.clone()),
                None => stored.files.remove(path),
            };
        }
        stored.writes += 1;
        stored.lease = Some((me, mine, now.plus(LEASE)));
        Ok(())
    }
}

/// A state repository with pull requests.
#[derive(Clone, Debug, Default)]
pub struct SimOrigin(Arc<Mutex<(Repository, bool)>>);

impl SimOrigin {
    /// Looks at it, or changes it.
    pub fn with<T>(&self, look: impl FnOnce(&mut Repository) -> T) -> T {
        look(&mut self.lock().0)
    }

    /// Whether it answers from now on.
    pub fn answers(&self, answers: bool) {
        self.lock().1 = !answers;
    }

    fn lock(&self) -> MutexGuard<'_, (Repository, bool)> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn asked(&self) -> Result<MutexGuard<'_, (Repository, bool)>, SimError> {
        let origin = self.lock();
        match origin.1 {
            true => Err(SimError::Down("the origin is down".to_owned())),
            false => Ok(origin),
        }
    }
}

impl Source for SimOrigin {
    type Error = SimError;

    fn heads(&mut self, horizon: &TagHorizon) -> Result<Heads, SimError> {
        Ok(self.asked()?.0.heads(horizon))
    }

    fn tag(&mut self, id: &TagId) -> Result<RawTag, SimError> {
        let found = self.asked()?.0.tag(id);
        found.ok_or_else(|| SimError::Down(format!("no object {id}")))
    }

    fn ancestry(&mut self, old: &CommitId, new: &CommitId) -> Result<Ancestry, SimError> {
        Ok(self.asked()?.0.ancestry(old, new))
    }

    fn files(&mut self, commit: &CommitId) -> Result<Result<Files, Diagnostics>, SimError> {
        Ok(Ok(self.asked()?.0.files(commit)))
    }

    fn merge(&mut self, protected: &CommitId, head: &CommitId) -> Result<Merge, SimError> {
        Ok(self.asked()?.0.merge(protected, head))
    }

    fn versions(
        &mut self,
        protected: &CommitId,
        head: &CommitId,
        dir: &str,
    ) -> Result<Option<Vec<Version>>, SimError> {
        Ok(Some(self.asked()?.0.versions(protected, head, dir)))
    }
}

impl Pulls for SimOrigin {
    fn answer_tags(&mut self) -> BTreeMap<String, TagId> {
        self.lock().0.answer_tags()
    }

    fn bring(
        &mut self,
        heads: &BTreeMap<u64, CommitId>,
    ) -> Result<BTreeMap<u64, String>, SimError> {
        let origin = self.asked()?;
        let gone = heads.iter().filter(|(_, head)| !origin.0.has(head));
        Ok(gone
            .map(|(number, _)| (*number, "it is gone".to_owned()))
            .collect())
    }
}
