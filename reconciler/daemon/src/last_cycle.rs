//! How the last cycle of an executor went, left in its state directory for whoever asks `muster status`: what a journal and a
//! ledger do not say, as nothing was done.

use std::io::{self, Write as _};

use muster_core::time::Time;
use serde::{Deserialize, Serialize};

use crate::state_dir::StateDir;

/// How many parts that cannot be read, are amiss, or ask to be looked at, are told: the first ones.
const UNREAD: usize = 8;

/// Who keeps an executor.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Keeper {
    /// The daemon, which goes on. It stays the keeper where somebody runs a cycle by hand while it is not at work.
    Daemon,
    /// Whoever runs `muster run --once`.
    Once,
}

/// How the last cycle went.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LastCycle {
    /// Who keeps the executor.
    pub by: Keeper,
    /// Since when it has been so, cycle after cycle, by this machine's clock.
    pub since: Time,
    /// Why the cycle came to no end, if it did not: the journal cannot be written, the host does not answer.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub problem: Option<String>,
    /// What could not be read, so that nothing was planned on it.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub unread: Vec<String>,
    /// Why the origin did not answer, if it did not: the cycle went on with what was adopted before.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub unanswered: Option<String>,
    /// What no step mends, so that it is not in order until a person looks.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub amiss: Vec<String>,
    /// What somebody has to look at although all is done that can be: a row that was refused, a home that is gone. The first ones.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub attention: Vec<String>,
    /// How many of those there are beside the first ones.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub attention_beside: usize,
}

fn is_zero(number: &usize) -> bool {
    *number == 0
}

impl LastCycle {
    /// One that ended at `now`, and could not read some parts or the origin.
    pub fn ended(
        by: Keeper,
        now: Time,
        unread: impl Iterator<Item = String>,
        unanswered: Option<String>,
    ) -> Self {
        Self {
            by,
            since: now,
            problem: None,
            unread: unread.take(UNREAD).collect(),
            unanswered,
            amiss: Vec::new(),
            attention: Vec::new(),
            attention_beside: 0,
        }
    }

    /// The same, with what no step mends.
    pub fn with_amiss(mut self, amiss: impl Iterator<Item = String>) -> Self {
        self.amiss = amiss.take(UNREAD).collect();
        self
    }

    /// The same, with what somebody has to look at.
    pub fn with_attention(mut self, mut attention: impl Iterator<Item = String>) -> Self {
        self.attention = attention.by_ref().take(UNREAD).collect();
        self.attention_beside = attention.count();
        self
    }

    /// One that came to no end.
    pub fn failed(by: Keeper, now: Time, problem: String) -> Self {
        Self {
            by,
            since: now,
            problem: Some(problem),
            unread: Vec::new(),
            unanswered: None,
            amiss: Vec::new(),
            attention: Vec::new(),
            attention_beside: 0,
        }
    }

    /// What was left of the last one. What cannot be read was not left.
    pub fn read(state: &StateDir) -> Option<Self> {
        serde_json::from_slice(&std::fs::read(state.last_cycle()).ok()?).ok()
    }

    /// Leaves it in place of the one before. What is as it was keeps its moment, and is not written again.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn leave(mut self, before: Option<Self>, state: &StateDir) -> io::Result<Self> {
        if let Some(before) = before {
            if before.by == Keeper::Daemon {
                self.by = Keeper::Daemon;
            }
            // The words for one reason may differ from cycle to cycle; since when it has been so does not.
            let kind = |it: &Self| {
                let (problem, unanswered) = (it.problem.is_some(), it.unanswered.is_some());
                let (unread, amiss) = (it.unread.is_empty(), it.amiss.is_empty());
                (it.by, problem, unread, amiss, unanswered)
            };
            if kind(&before) == kind(&self) {
                self.since = before.since;
            }
            if self == before {
                return Ok(self);
            }
        }
        let mut file = tempfile::NamedTempFile::new_in(state.path())?;
        file.write_all(&serde_json::to_vec(&self).expect("plain records always serialise"))?;
        file.persist(state.last_cycle())
            .map_err(|error| error.error)?;
        Ok(self)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_stays_as_it_is_keeps_its_moment() {
        let dir = tempfile::tempdir().unwrap();
        let state = StateDir::at(dir.path());
        assert_eq!(LastCycle::read(&state), None);
        let gone = |now, why: &str| LastCycle::failed(Keeper::Daemon, Time(now), why.to_owned());
        let first = gone(10, "no answer").leave(None, &state).unwrap();
        let second = gone(20, "no route").leave(Some(first), &state).unwrap();
        assert_eq!(second.since, Time(10), "it has been gone since then");
        assert_eq!(LastCycle::read(&state), Some(second.clone()));
        let well = LastCycle::ended(Keeper::Daemon, Time(30), std::iter::empty(), None);
        let well = well.leave(Some(second), &state).unwrap();
        assert_eq!(well.since, Time(30));
        let again = LastCycle::ended(Keeper::Daemon, Time(40), std::iter::empty(), None);
        std::fs::remove_file(state.last_cycle()).unwrap();
        let again = again.leave(Some(well), &state).unwrap();
        assert_eq!(again.since, Time(30));
        assert_eq!(LastCycle::read(&state), None, "nothing new is not written");
    }
}
