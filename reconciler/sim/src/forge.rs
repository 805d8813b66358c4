//! A hosted forge, as far as a bot can tell: proposals, and what was told about them. Whatever the bot puts goes through one fuse,
//! and every change is counted.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use muster_core::commit::CommitId;
use muster_core::forge::{
    Approval, CheckId, CheckRun, Closed, CommentId, Cursor, ForgeError, ForgeReader, ForgeWriter,
    Issue, IssueNumber, Listing, Marker, Proposal, ProposalState, Put, Status, Visibility, Which,
};
use muster_core::time::Time;

use crate::{Fuse, Timing};

/// A comment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SimComment {
    /// On which proposal.
    pub proposal: u64,
    /// Whether the bot wrote it.
    pub ours: bool,
    /// Its text, marker and all.
    pub body: String,
}

/// What a forge knows.
#[derive(Clone, Debug)]
pub struct Forge {
    /// Pull requests by number.
    pub proposals: BTreeMap<u64, Proposal>,
    /// Comments by number.
    pub comments: BTreeMap<u64, SimComment>,
    /// The last status of each commit.
    pub statuses: BTreeMap<CommitId, Status>,
    /// The check run of each commit.
    pub checks: BTreeMap<CommitId, CheckRun>,
    /// Issues of ours, and whether they are open.
    pub issues: BTreeMap<u64, (Issue, bool)>,
    /// Who approves of each pull request.
    pub approvals: BTreeMap<u64, Vec<Approval>>,
    /// Whether anybody can read it.
    pub public: bool,
    /// The clock.
    pub now: Time,
    /// What fails, when it fails: counts what is put.
    pub fuse: Fuse,
    /// Why nothing is answered.
    pub down: Option<ForgeError>,
    /// Changes that the bot made.
    pub changes: usize,
    /// Questions that the bot asked.
    pub questions: usize,
    next: u64,
}

impl Default for Forge {
    fn default() -> Self {
        Self {
            proposals: BTreeMap::new(),
            comments: BTreeMap::new(),
            statuses: BTreeMap::new(),
            checks: BTreeMap::new(),
            issues: BTreeMap::new(),
            approvals: BTreeMap::new(),
            public: false,
            now: Time(0),
            fuse: Fuse::default(),
            down: None,
            changes: 0,
            questions: 0,
            next: 100,
        }
    }
}

/// A handle on a forge; clones share it.
#[derive(Clone, Debug, Default)]
pub struct SimForge(Arc<Mutex<Forge>>);

impl SimForge {
    /// Looks at it, or changes it as people do.
    pub fn with<T>(&self, look: impl FnOnce(&mut Forge) -> T) -> T {
        look(&mut self.lock())
    }

    fn lock(&self) -> MutexGuard<'_, Forge> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn asked(&self) -> Result<MutexGuard<'_, Forge>, ForgeError> {
        let mut forge = self.lock();
        forge.questions += 1;
        match &forge.down {
            Some(error) => Err(error.clone()),
            None => Ok(forge),
        }
    }
}

impl Forge {
    /// An account approves of a pull request as it is, or of an older head.
    pub fn approve(&mut self, number: u64, by: &str, commit: &CommitId) {
        let approvals = self.approvals.entry(number).or_default();
        approvals.push(Approval {
            review: 100 * number + u64::try_from(approvals.len()).unwrap_or_default(),
            by: by.to_owned(),
            commit: commit.clone(),
        });
        self.touch(number);
    }

    /// Opens a pull request of `head` into `main`.
    pub fn open(&mut self, number: u64, head: &CommitId, label: &str) {
        let proposal = Proposal {
            number,
            head: head.clone(),
            head_label: label.to_owned(),
            base: "main".to_owned(),
            draft: false,
            state: ProposalState::Open,
            fork: false,
            author: None,
            updated: self.now,
        };
        self.proposals.insert(number, proposal);
    }

    /// Changes a pull request as a person does.
    ///
    /// # Panics
    /// When there is none of that number.
    pub fn change(&mut self, number: u64, change: impl FnOnce(&mut Proposal)) {
        let now = self.now;
        let proposal = self.proposals.get_mut(&number).expect("a pull request");
        change(proposal);
        proposal.updated = now;
    }

    /// The bot's comments on a pull request, in their order.
    pub fn ours(&self, number: u64) -> Vec<&str> {
        self.comments
            .values()
            .filter(|it| it.ours && it.proposal == number)
            .map(|it| it.body.as_str())
            .collect()
    }

    /// One change: it may be the one at which the power goes out.
    fn put<T>(&mut self, change: impl FnOnce(&mut Self) -> T) -> Result<T, ForgeError> {
        let gone = || ForgeError::NoAnswer {
            what: "a change".to_owned(),
            why: "the power went out".to_owned(),
        };
        let effect = self.fuse.effects;
        self.fuse.effects += 1;
        let blow = self
            .fuse
            .blow
            .filter(|(at, _)| *at == effect)
            .map(|it| it.1);
        if blow == Some(Timing::Before) {
            return Err(gone());
        }
        self.changes += 1;
        let done = change(self);
        match blow {
            Some(_) => Err(gone()),
            None => Ok(done),
        }
    }

    fn touch(&mut self, proposal: u64) {
        let now = self.now;
        if let Some(proposal) = self.proposals.get_mut(&proposal) {
            proposal.updated = now;
        }
    }
}

impl ForgeReader for SimForge {
    fn proposals(&mut self, which: Which<'_>) -> Result<Listing, ForgeError> {
        let forge = self.asked()?;
        let mut proposals: Vec<Proposal> = forge.proposals.values().cloned().collect();
        proposals.sort_by_key(|it| std::cmp::Reverse(it.updated));
        let before = match which {
            Which::Open => Cursor::at(forge.now),
            Which::ChangedSince(cursor) => cursor.clone(),
        };
        let cursor = before.after(&proposals);
        proposals.retain(|it| match which {
            Which::Open => it.state == ProposalState::Open,
            Which::ChangedSince(cursor) => it.updated >= cursor.from() && !cursor.has_seen(it),
        });
        Ok(Listing {
            proposals,
            unread: Vec::new(),
            cursor,
        })
    }

    fn proposal(&mut self, number: u64) -> Result<Proposal, ForgeError> {
        let forge = self.asked()?;
        let found = forge.proposals.get(&number).cloned();
        found.ok_or_else(|| ForgeError::NotThere {
            what: format!("pull request {number}"),
        })
    }

    fn proposal_merged_as(&mut self, commit: &CommitId) -> Result<Option<Proposal>, ForgeError> {
        let forge = self.asked()?;
        let merged = ProposalState::Merged {
            commit: Some(commit.clone()),
        };
        let mut proposals = forge.proposals.values();
        Ok(proposals.find(|it| it.state == merged).cloned())
    }

    fn changed_paths(&mut self, _: u64) -> Result<Vec<String>, ForgeError> {
        drop(self.asked()?);
        Ok(Vec::new())
    }

    fn approvals(&mut self, number: u64) -> Result<Vec<Approval>, ForgeError> {
        let forge = self.asked()?;
        Ok(forge.approvals.get(&number).cloned().unwrap_or_default())
    }

    fn visibility(&mut self) -> Result<Visibility, ForgeError> {
        let forge = self.asked()?;
        Ok(match forge.public {
            true => Visibility::Public,
            false => Visibility::Private,
        })
    }
}

impl ForgeWriter for SimForge {
    fn put_comment(
        &mut self,
        proposal: u64,
        _: Option<CommentId>,
        marker: &Marker,
        text: &str,
    ) -> Result<Put<CommentId>, ForgeError> {
        let length = text.chars().count();
        if length > marker.room() {
            let limit = marker.room();
            return Err(ForgeError::TooLong { length, limit });
        }
        let mut forge = self.asked()?;
        let body = marker.above(text);
        let ours =
            |it: &SimComment| it.ours && it.proposal == proposal && marker.is_above(&it.body);
        let found = forge.comments.iter().find(|(_, it)| ours(it));
        match found.map(|(id, it)| (*id, it.body == body)) {
            Some((id, true)) => Ok(Put::Unchanged(CommentId(id))),
            Some((id, false)) => forge.put(|forge| {
                if let Some(comment) = forge.comments.get_mut(&id) {
                    comment.body = body;
                }
                forge.touch(proposal);
                Put::Updated(CommentId(id))
            }),
            None => forge.put(|forge| {
                forge.next += 1;
                let comment = SimComment {
                    proposal,
                    ours: true,
                    body,
                };
                forge.comments.insert(forge.next, comment);
                forge.touch(proposal);
                Put::Created(CommentId(forge.next))
            }),
        }
    }

    fn has_comment(
        &mut self,
        proposal: u64,
        known: CommentId,
        marker: &Marker,
    ) -> Result<bool, ForgeError> {
        let forge = self.asked()?;
        let found = forge.comments.get(&known.0);
        Ok(found.is_some_and(|it| it.ours && it.proposal == proposal && marker.is_above(&it.body)))
    }

    fn set_status(&mut self, commit: &CommitId, status: &Status) -> Result<Put<()>, ForgeError> {
        let mut forge = self.asked()?;
        if forge.statuses.get(commit) == Some(status) {
            return Ok(Put::Unchanged(()));
        }
        forge.put(|forge| {
            forge.statuses.insert(commit.clone(), status.clone());
            Put::Updated(())
        })
    }

    fn put_check(
        &mut self,
        commit: &CommitId,
        check: &CheckRun,
    ) -> Result<Put<CheckId>, ForgeError> {
        let mut forge = self.asked()?;
        if forge.checks.get(commit) == Some(check) {
            return Ok(Put::Unchanged(CheckId(1)));
        }
        forge.put(|forge| {
            forge.checks.insert(commit.clone(), check.clone());
            Put::Updated(CheckId(1))
        })
    }

    fn put_issue(
        &mut self,
        known: Option<IssueNumber>,
        _: &Marker,
        issue: &Issue,
    ) -> Result<Put<IssueNumber>, ForgeError> {
        let mut forge = self.asked()?;
        let numbers: BTreeSet<u64> = forge.issues.keys().copied().collect();
        let number = known.map(|it| it.0).filter(|it| numbers.contains(it));
        match number.or_else(|| numbers.first().copied()) {
            Some(number) if forge.issues[&number] == (issue.clone(), true) => {
                Ok(Put::Unchanged(IssueNumber(number)))
            }
            Some(number) => forge.put(|forge| {
                forge.issues.insert(number, (issue.clone(), true));
                Put::Updated(IssueNumber(number))
            }),
            None => forge.put(|forge| {
                forge.next += 1;
                forge.issues.insert(forge.next, (issue.clone(), true));
                Put::Created(IssueNumber(forge.next))
            }),
        }
    }

    fn close_issue(&mut self, _: Option<IssueNumber>, _: &Marker) -> Result<Closed, ForgeError> {
        let mut forge = self.asked()?;
        let open = forge.issues.iter().find(|(_, it)| it.1);
        let Some(number) = open.map(|it| *it.0) else {
            return Ok(Closed::NoneOpen);
        };
        forge.put(|forge| {
            if let Some(issue) = forge.issues.get_mut(&number) {
                issue.1 = false;
            }
            Closed::Closed(IssueNumber(number))
        })
    }
}
