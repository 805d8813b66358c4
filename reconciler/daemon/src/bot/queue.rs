//! What a merge queue waits for. It makes a commit for each proposal whose turn has come, on a branch of its own, and merges that
//! commit once the required statuses stand on it (F36).

use muster_core::commit::CommitId;
use muster_core::fleet::{BotStore, Fleet};
use muster_core::forge::{ForgeError, Proposal, ProposalState};
use muster_core::ledger::told::{self, ToldProposal};
use muster_core::time::Time;
use muster_core::world::Pulls;

use super::post::Look;
use super::proposals::Shown;
use super::turn::{Premises, Turn};
use crate::cycle::chain;

/// So many commits of a queue are told of in one turn: whoever may push can make any number of such branches.
const AT_ONCE: usize = 100;

/// After so many seconds it is looked whether what was told on a commit still stands there.
const LASTS: i64 = 60;

/// What was told on a commit of a merge queue. It is not kept over a restart: whatever is put is looked for first.
pub(super) struct Queued {
    premises: Premises,
    shown: Shown,
    told: ToldProposal,
    /// When it was looked at last.
    at: Time,
}

impl<S: Pulls, F: Fleet, B: BotStore> Turn<'_, S, F, B> {
    /// Puts status and check on every commit of the merge queue.
    pub(super) fn tell_queue(&mut self) -> Result<(), ForgeError> {
        let queued = std::mem::take(&mut self.queued);
        let is_queued = |commit: &CommitId| queued.values().any(|(_, head)| head == commit);
        self.memory.queue.retain(|commit, _| is_queued(commit));
        for (branch, (number, head)) in queued.iter().take(AT_ONCE) {
            if self.has_to_end() {
                self.summary.unfinished = true;
                break;
            }
            // The head of a proposal is told of there.
            if self.memory.open.values().any(|it| it.head == *head) {
                continue;
            }
            match self.tell_queued(branch, *number, head) {
                Ok(()) => {}
                Err(error @ (ForgeError::Pause { .. } | ForgeError::NoAnswer { .. })) => {
                    return Err(error);
                }
                // The queue may have let go of it meanwhile.
                Err(error) => {
                    let why = format!("the merge queue's commit for #{number}: {}", chain(&error));
                    self.summary.warnings.push(why);
                    self.summary.untold = true;
                }
            }
        }
        Ok(())
    }

    fn tell_queued(
        &mut self,
        branch: &str,
        number: u64,
        head: &CommitId,
    ) -> Result<(), ForgeError> {
        let premises = Premises {
            head: head.clone(),
            label: branch.to_owned(),
            base: self.run.protected.to_owned(),
            protected: self.protected.clone(),
            hosts: self.memory.survey.fingerprint(self.at),
            audience: self.audience,
            behind: self.behind(number).unwrap_or_default(),
        };
        let before = self.memory.queue.remove(head);
        let known = before.as_ref().is_some_and(|it| it.premises == premises);
        let mut queued = match before {
            Some(queued) if known => queued,
            before => Queued {
                shown: self.plan_queued(branch, number, head),
                told: before.map_or_else(
                    || ToldProposal::nothing(head, &self.protected, self.at.now),
                    |it| it.told,
                ),
                premises,
                at: self.at.now,
            },
        };
        let due = queued.at.plus(LASTS) <= self.at.now;
        let look = if known && due {
            Look::Again
        } else {
            Look::IfNew
        };
        if due {
            queued.at = self.at.now;
        }
        let verdict = queued.shown.verdict();
        let mut post = self.post();
        let put = post.status(head, &verdict, &mut queued.told, look);
        let sent = post.sent;
        self.summary.sent += sent;
        if put.is_ok() {
            self.memory.queue.insert(head.clone(), queued);
        }
        put
    }

    /// Plans a commit of the queue as the proposal that it was made for. Its report is not that proposal's.
    fn plan_queued(&mut self, branch: &str, number: u64, head: &CommitId) -> Shown {
        let label = branch.strip_prefix("refs/heads/").unwrap_or(branch);
        let proposal = Proposal {
            number,
            head: head.clone(),
            head_label: label.to_owned(),
            base: self.run.protected.to_owned(),
            draft: false,
            state: ProposalState::Open,
            fork: false,
            // Who opened the proposal that it was made for stands behind what that brings.
            author: self
                .memory
                .open
                .get(&number)
                .and_then(|it| it.author.clone()),
            updated: self.at.now,
        };
        let before = std::mem::take(&mut self.reports);
        let (comment, annotations) = self.plan_head(&proposal);
        let path = told::report_file(number);
        let made = std::mem::replace(&mut self.reports, before);
        self.reports
            .extend(made.into_iter().filter(|(it, _)| *it != path));
        Shown::new(comment, &annotations)
    }
}
