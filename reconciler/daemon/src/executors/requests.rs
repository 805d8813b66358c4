//! What somebody asked at the console of a daemon at work: into the journal, or answered with why not.

use muster_core::clock::{Accepted, NotAccepted};
use muster_core::commit::CommitId;
use muster_core::journal::Entry;
use muster_core::time::Time;
use muster_core::world::World;

use super::Worker;
use crate::clock;
use crate::cycle::{self, CycleError};
use crate::suspension::{self, Decision, Request};

/// What became of a request: it is in the journal, or why it is not.
type Answer = Result<(), String>;

impl<W: World> Worker<W> {
    /// Takes in what somebody asked at the console since: first the journal, then the request goes.
    pub(super) fn take_requests(&mut self, now: Time) -> Result<(), CycleError> {
        for (path, request) in suspension::asked(&self.state) {
            let at = now.max(self.memory.facts().latest);
            let answer = match &request.decision {
                Decision::Suspend { .. } | Decision::Resume => {
                    self.suspend_or_resume(&request, at)?
                }
                Decision::AcceptClock => self.accept_clock(&request)?,
                Decision::Adopt { commit } => self.adopt(&request, commit, at)?,
            };
            match answer {
                Ok(()) => suspension::forget(&path),
                Err(why) => suspension::refuse(&path, &why),
            }
        }
        Ok(())
    }

    fn suspend_or_resume(&mut self, request: &Request, at: Time) -> Result<Answer, CycleError> {
        if let Some(entry) = request.entry(at) {
            cycle::take_decision(&mut self.memory, &mut self.outside.journal, &entry)?;
            match &self.memory.facts().suspended {
                Some(suspended) => tracing::warn!("From here on, nothing is done: {suspended}."),
                None => tracing::info!("Resumed."),
            }
        }
        Ok(Ok(()))
    }

    /// Goes by the clock from here on, because somebody at the console said that it is right.
    fn accept_clock(&mut self, request: &Request) -> Result<Answer, CycleError> {
        let reading = clock::read(self.now);
        let facts = &self.memory.replayed.facts;
        let latest = facts.latest;
        let look = || clock::jump_in_records(&self.state, facts, reading.wall);
        let mut known = self.memory.clock.clone();
        match known.accept(latest, &reading, clock::BUILT, look) {
            Ok(Accepted { at }) => {
                let entry = Entry::ClockAccepted {
                    at,
                    who: request.who.clone(),
                    reason: request.reason.clone(),
                    latest,
                };
                cycle::take_decision(&mut self.memory, &mut self.outside.journal, &entry)?;
                self.memory.clock = known;
                tracing::warn!("The clock is right, says {}: it is {at}.", request.who);
                Ok(Ok(()))
            }
            // It has believed the clock since somebody asked: that is what was asked for.
            Err(NotAccepted::Well(_)) => Ok(Ok(())),
            Err(why @ (NotAccepted::BeforeBuild { .. } | NotAccepted::NoJump { .. })) => {
                tracing::warn!("The clock is not taken as right: {why}.");
                Ok(Err(why.to_string()))
            }
        }
    }

    /// Goes on from a commit, because somebody at the console decided for it.
    fn adopt(
        &mut self,
        request: &Request,
        commit: &CommitId,
        at: Time,
    ) -> Result<Answer, CycleError> {
        let Request { who, reason, .. } = request;
        let entry = Entry::Reset {
            at,
            commit: commit.clone(),
            who: who.clone(),
            reason: reason.clone(),
            nonce: None,
        };
        let horizon = cycle::tags_wanted(&self.memory, &mut self.trust, at);
        let adopted = cycle::adopt_as_decided(
            &mut self.memory,
            &mut self.outside,
            &self.policy,
            &horizon,
            &entry,
        )?;
        match &adopted {
            Ok(()) => tracing::warn!("From here on {commit} counts, decided {who}: {reason}."),
            Err(why) => tracing::warn!("{commit} is not adopted, for which {who} decided: {why}."),
        }
        Ok(adopted)
    }
}
