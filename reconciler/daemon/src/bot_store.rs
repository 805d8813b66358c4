//! What a bot remembers, and which of several bots acts, in two references of a git repository.
//!
//! ```text
//! refs/muster/bot/state   what was told: a commit for each change, so that `git log` shows it
//! refs/muster/bot/lease   one commit without a parent: who leads, in which term, until when
//! ```
//!
//! Every write moves both, each from where this bot left it. Whoever takes the lead moves the lease, so a bot that lost the
//! lead without knowing writes nothing. Clocks that differ a little do no harm: a leader stops a while before others may
//! begin, and a lease that nobody renews for its whole length is over whatever its holder's clock said.

use std::collections::BTreeMap;
use std::path::Path;

use muster_core::commit::CommitId;
use muster_core::fleet::{BotStore, Lead};
use muster_core::time::Time;
use muster_core::world::Files;
use muster_git::files::ReadError;
use muster_git::{Move, Origin, Shared, SharedError};
use serde::{Deserialize, Serialize};

use crate::cycle::chain;

/// Where both references are.
const BELOW: &str = "refs/muster/bot/";
const STATE: &str = "refs/muster/bot/state";
const LEASE: &str = "refs/muster/bot/lease";

/// The one file of a lease.
const FILE: &str = "lease.json";
/// The format this version writes.
const FORMAT: u32 = 1;

/// Times that something came or went after which the repository is looked at for packing. A lead that is renewed three times a minute
/// leaves three objects each time, and they are in nobody's way once the next one is there.
const PACK_EVERY: u32 = 64;

/// How often one tries to take a lead that others take at the same time.
const TRIES: usize = 3;

/// Why the store cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// The repository.
    #[error("what the bot remembers cannot be used")]
    Repository(#[source] SharedError),
    /// What is in it.
    #[error("what the bot remembers, {commit}, cannot be read")]
    Read {
        /// Which commit.
        commit: CommitId,
        /// Why.
        source: ReadError,
    },
    /// The lease is not what was written.
    #[error("the lease {commit} in {LEASE} cannot be read: {why}")]
    Lease {
        /// Which commit.
        commit: CommitId,
        /// How it shows.
        why: String,
    },
    /// Another one leads, or the time was over.
    #[error("this bot does not lead any more; nothing was written")]
    NotLeading,
}

/// Who leads, and until when.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Lease {
    format: u32,
    holder: String,
    term: u64,
    until: Time,
    /// How long it was given for.
    seconds: i64,
}

/// The lead, while it is ours.
#[derive(Clone, Debug)]
struct Held {
    term: u64,
    until: Time,
    lease: CommitId,
    state: Option<CommitId>,
}

/// What a bot remembers, in git.
pub struct GitStore {
    shared: Shared,
    me: String,
    seconds: i64,
    held: Option<Held>,
    /// The lease of another one, and when it was first seen.
    watched: Option<(CommitId, Time)>,
    exchanges: u32,
}

impl GitStore {
    /// Opens the store in the bare repository `dir`, which is made where it is missing and which no other process uses; shared
    /// with other bots by `remote`, the ledger repository, where there is one. `me` is a name that no other bot has; a process
    /// that finds its own name goes on in a new term at once. The lead is taken for `seconds` at a time, at least 6.
    ///
    /// # Errors
    /// When the repository can be neither opened nor made.
    pub fn open(
        dir: &Path,
        remote: Option<Origin>,
        me: &str,
        seconds: u32,
    ) -> Result<Self, StoreError> {
        let shared = Shared::open_or_create(dir, BELOW, remote).map_err(StoreError::Repository)?;
        Ok(Self {
            shared,
            me: me.to_owned(),
            seconds: i64::from(seconds.max(6)),
            held: None,
            watched: None,
            exchanges: 0,
        })
    }

    fn lease_until(&self, term: u64, until: Time) -> BTreeMap<String, Option<Vec<u8>>> {
        let lease = Lease {
            format: FORMAT,
            holder: self.me.clone(),
            term,
            until,
            seconds: self.seconds,
        };
        let mut text = serde_json::to_vec_pretty(&lease).expect("plain records always serialise");
        text.push(b'\n');
        BTreeMap::from([(FILE.to_owned(), Some(text))])
    }

    fn commit_lease(&self, term: u64, until: Time, now: Time) -> Result<CommitId, StoreError> {
        let message = format!("{} leads in term {term} until {until}", self.me);
        self.shared
            .commit(None, &self.lease_until(term, until), &message, now.0)
            .map_err(StoreError::Repository)
    }

    fn read_lease(&self, commit: &CommitId) -> Result<Lease, StoreError> {
        let files = self
            .shared
            .files(commit, &|path| path == FILE)
            .map_err(|source| StoreError::Read {
                commit: commit.clone(),
                source,
            })?;
        let wrong = |why: String| StoreError::Lease {
            commit: commit.clone(),
            why,
        };
        let bytes = files
            .get(FILE)
            .ok_or_else(|| wrong(format!("it has no {FILE}")))?;
        let lease: Lease =
            serde_json::from_slice(bytes).map_err(|error| wrong(error.to_string()))?;
        if lease.format > FORMAT {
            return Err(wrong("a newer version of muster wrote it".to_owned()));
        }
        Ok(lease)
    }

    /// Whether the lease of another one still counts.
    fn counts(&mut self, commit: &CommitId, lease: &Lease, now: Time) -> bool {
        let since = match &self.watched {
            Some((watched, since)) if watched == commit => *since,
            _ => {
                self.watched = Some((commit.clone(), now));
                now
            }
        };
        let length = lease.seconds.clamp(1, 3_600);
        lease.until > now && since.plus(length) > now
    }

    /// What is told of a lead of ours: a while less than others are told.
    fn ours(&self, held: &Held) -> Lead {
        Lead::Ours {
            term: held.term,
            until: held.until.plus(-self.seconds / 6),
        }
    }

    /// Moves the lease, and with it the state where there is a new one. Forgets the lead where it was lost, or may have been.
    fn advance(
        &mut self,
        before: Held,
        state: Option<CommitId>,
        now: Time,
    ) -> Result<Held, StoreError> {
        let until = now.plus(self.seconds);
        let lease = self.commit_lease(before.term, until, now)?;
        let mut moves = vec![Move {
            name: LEASE.to_owned(),
            from: Some(before.lease),
            to: lease.clone(),
        }];
        moves.extend(state.as_ref().map(|to| Move {
            name: STATE.to_owned(),
            from: before.state.clone(),
            to: to.clone(),
        }));
        match self.shared.move_all(&moves) {
            Ok(()) => {
                let held = Held {
                    term: before.term,
                    until,
                    lease,
                    state: state.or(before.state),
                };
                self.held = Some(held.clone());
                self.pack_now_and_then();
                Ok(held)
            }
            Err(error) => {
                match &error {
                    SharedError::Refused(_) => {}
                    SharedError::Raced
                    | SharedError::Unknown(_)
                    | SharedError::Fetch(_)
                    | SharedError::Own(_)
                    | SharedError::Reference(_) => self.held = None,
                }
                Err(match error {
                    SharedError::Raced => StoreError::NotLeading,
                    error => StoreError::Repository(error),
                })
            }
        }
    }

    /// Keeps the lead for longer before [`BotStore::lead`] has to: between two turns, where nobody waits for it. Best effort.
    pub fn renew(&mut self, now: Time) {
        let early = now.plus(self.seconds * 2 / 3);
        if let Some(held) = self.held.clone().filter(|it| it.until <= early)
            && let Err(error) = self.advance(held, None, now)
        {
            tracing::debug!(
                "The lead was not renewed before its time: {}.",
                chain(&error)
            );
        }
    }

    /// Keeps the repository small, whether or not there is anything to tell, and whoever leads.
    fn pack_now_and_then(&mut self) {
        self.exchanges = self.exchanges.wrapping_add(1);
        if self.exchanges.is_multiple_of(PACK_EVERY)
            && let Err(error) = self.shared.maintain()
        {
            tracing::warn!(
                "What the bot remembers could not be packed: {}.",
                chain(&error)
            );
        }
    }

    /// Takes the lead where nobody has it.
    fn take(&mut self, now: Time) -> Result<Lead, StoreError> {
        for _ in 0..TRIES {
            let found = self.shared.look().map_err(StoreError::Repository)?;
            self.pack_now_and_then();
            let before = found.get(LEASE).cloned();
            let lease = before.as_ref().map(|it| self.read_lease(it)).transpose()?;
            if let (Some(commit), Some(lease)) = (&before, &lease)
                && lease.holder != self.me
                && self.counts(commit, lease, now)
            {
                return Ok(Lead::Others {
                    who: lease.holder.clone(),
                    until: lease.until,
                });
            }
            let term = lease.map_or(1, |it| it.term.saturating_add(1));
            let until = now.plus(self.seconds);
            let mine = self.commit_lease(term, until, now)?;
            let moved = self.shared.move_all(&[Move {
                name: LEASE.to_owned(),
                from: before,
                to: mine.clone(),
            }]);
            match moved {
                Ok(()) => {
                    let held = Held {
                        term,
                        until,
                        lease: mine,
                        state: found.get(STATE).cloned(),
                    };
                    let lead = self.ours(&held);
                    self.held = Some(held);
                    return Ok(lead);
                }
                Err(SharedError::Raced) => {}
                Err(error) => return Err(StoreError::Repository(error)),
            }
        }
        Err(StoreError::NotLeading)
    }
}

impl BotStore for GitStore {
    type Error = StoreError;

    fn lead(&mut self, now: Time) -> Result<Lead, StoreError> {
        let Some(held) = self.held.clone() else {
            return self.take(now);
        };
        if held.until > now.plus(self.seconds / 3) {
            return Ok(self.ours(&held));
        }
        // Whoever else leads moves the lease: one that ran out and can be moved from where we left it was nobody's since.
        match self.advance(held.clone(), None, now) {
            Ok(held) => Ok(self.ours(&held)),
            Err(StoreError::NotLeading) => self.take(now),
            // It is ours for as long as was said.
            Err(error) => match self.ours(&held) {
                lead @ Lead::Ours { until, .. } if self.held.is_some() && until > now => Ok(lead),
                _ => Err(error),
            },
        }
    }

    fn resign(&mut self, now: Time) {
        let Some(held) = self.held.take().filter(|it| it.until > now) else {
            return;
        };
        let given_back = self.commit_lease(held.term, now, now).and_then(|lease| {
            let moves = [Move {
                name: LEASE.to_owned(),
                from: Some(held.lease),
                to: lease,
            }];
            self.shared.move_all(&moves).map_err(StoreError::Repository)
        });
        if let Err(error) = given_back {
            tracing::warn!(
                "The lead could not be given back, so another bot waits until {}: {}.",
                held.until,
                chain(&error)
            );
        }
    }

    fn read(&mut self, wanted: &dyn Fn(&str) -> bool) -> Result<Files, StoreError> {
        let state = match &self.held {
            Some(held) => held.state.clone(),
            None => {
                let found = self.shared.look().map_err(StoreError::Repository)?;
                found.get(STATE).cloned()
            }
        };
        let Some(commit) = state else {
            return Ok(Files::new());
        };
        self.shared
            .files(&commit, wanted)
            .map_err(|source| StoreError::Read { commit, source })
    }

    fn write(
        &mut self,
        changes: &BTreeMap<String, Option<Vec<u8>>>,
        message: &str,
        now: Time,
    ) -> Result<(), StoreError> {
        let held = self
            .held
            .clone()
            .filter(|it| it.until > now)
            .ok_or(StoreError::NotLeading)?;
        let state = self
            .shared
            .commit(held.state.as_ref(), changes, message, now.0)
            .map_err(StoreError::Repository)?;
        self.advance(held, Some(state), now)?;
        Ok(())
    }
}

#[cfg(test)]
mod tests;
