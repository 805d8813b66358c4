//! What muster knows of its own doing on one executor: the ledger folded with the journal's tail.
//!
//! Facts change only by [`Facts::apply`], with an entry that is already durable. The same fold runs live and at
//! recovery, so the two cannot disagree.

use crate::accounts::facts::{AccountIds, ArchiveFacts, How, PersonFacts, SetAside};
use crate::people::Stage;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use serde::{Deserialize, Serialize};

use crate::accounts::action::{Action, Leave};
use crate::accounts::policy::Ports;
use crate::commit::CommitId;
use crate::id::StepId;
use crate::journal::{Entry, Open, StepResult};
use crate::limits::Limits;
use crate::people::{Identity, Parking};
use crate::release::Nonce;
use crate::release::claim::{Claim, Progress, REFUSED_LIMIT, RefusedRelease, TrustFacts};
use crate::step::Step;
use crate::time::Time;

/// A step that did not come out as meant.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Failure {
    /// How often in a row.
    pub times: u32,
    /// When last.
    pub last: Time,
    /// Why.
    pub reason: String,
}

impl Failure {
    /// When the next try is due: after [`Limits::retry_after`], doubled each time, an hour at most.
    pub fn retry_at(&self, limits: &Limits) -> Time {
        let doublings = self.times.saturating_sub(1).min(12);
        let wait = i64::from(limits.retry_after) << doublings;
        self.last.plus(wait.min(3_600))
    }
}

/// A commit that was looked at and not adopted.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Attempted {
    /// Which.
    pub commit: CommitId,
    /// Why not.
    pub problem: String,
}

/// Why an executor runs nothing but benign repairs.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum Frozen {
    /// The protected branch no longer descends from the adopted commit.
    Rewritten {
        /// What was adopted.
        adopted: CommitId,
        /// What the branch shows now.
        found: CommitId,
    },
    /// The pinned name is not the name in the settings.
    Renamed {
        /// The pinned name.
        pinned: String,
        /// The name in the settings.
        found: String,
    },
    /// An executor id without its journal: what ran before is not known.
    Lost,
    /// The journal was put back from an older copy: what ran after that copy is known as far as the ledger tells it.
    Behind {
        /// The last record of the journal.
        journal: u64,
        /// The last record that the ledger contains.
        ledger: u64,
    },
    /// The ledger was put back from an older copy, and the journal no longer has the records after it.
    Gap {
        /// The first record of the journal.
        journal: u64,
        /// The last record that the ledger contains.
        ledger: u64,
    },
    /// The ledger repository holds another ledger in this executor's name than the one that is kept here.
    Elsewhere {
        /// How it differs.
        how: Misfit,
        /// Its newest commit.
        found: CommitId,
    },
}

/// How a ledger in the ledger repository differs from the one that is kept here.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Misfit {
    /// It goes on from here: what is here is an older copy.
    Ahead,
    /// It is this executor's and does not go on from here.
    Rewritten,
    /// It is another executor's.
    Another,
}

impl fmt::Display for Frozen {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Rewritten { adopted, found } => write!(
                f,
                "the protected branch was rewritten: {} does not descend from the adopted {}; look at both, then \
                 `muster adopt {found} --reason …`",
                found.short(),
                adopted.short()
            ),
            Self::Renamed { pinned, found } => write!(
                f,
                "this executor is pinned to the name {pinned}, and the settings say {found}; put the name back, or \
                 `muster init` a new state directory"
            ),
            Self::Lost => f.write_str(
                "the journal of this executor id is gone, so what ran before is not known; `muster adopt SHA --reason …`",
            ),
            Self::Behind { journal, ledger } => write!(
                f,
                "the journal is an older copy: it ended with record {journal}, and the ledger contains {ledger}, so what ran last \
                 is not known; look at what runs here, then `muster adopt SHA --reason …`"
            ),
            Self::Gap { journal, ledger } => write!(
                f,
                "the ledger is an older copy: it ends with record {ledger}, and the journal began with record {journal}, so what \
                 ran between them is not known; look at what runs here, then `muster adopt SHA --reason …`"
            ),
            Self::Elsewhere { how, found } => {
                match how {
                    Misfit::Ahead => write!(
                        f,
                        "the ledger repository is ahead of this host: {found} goes on from what is here, so this host was put back \
                         from an older copy, or runs twice"
                    )?,
                    Misfit::Rewritten => write!(
                        f,
                        "the ledger repository holds {found} in this host's name, which does not go on from what is here: it was \
                         rewritten, or this host runs twice"
                    )?,
                    Misfit::Another => write!(
                        f,
                        "the ledger repository holds {found} in this host's name, which is another executor's: two hosts have one \
                         name, or this one was initialised anew"
                    )?,
                }
                f.write_str(
                    "; look at both, and stop the other one; then `muster adopt SHA --reason …`, and the ledger that is kept here \
                     takes its place",
                )
            }
        }
    }
}

/// A person at the console decided that an executor acts on nothing for a while: it looks, plans and tells, no more.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Suspended {
    /// Who, as the console knew them.
    pub who: String,
    /// Why, in their words.
    pub reason: String,
    /// Since when.
    pub since: Time,
    /// The first moment at which it no longer holds; without one, until somebody resumes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub until: Option<Time>,
}

impl Suspended {
    /// Whether it holds at a moment.
    pub fn holds_at(&self, now: Time) -> bool {
        self.until.is_none_or(|until| now < until)
    }
}

impl fmt::Display for Suspended {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            who,
            reason,
            since: _,
            until,
        } = self;
        match until {
            Some(until) => write!(f, "suspended by {who} until {until}: {reason}"),
            None => write!(f, "suspended by {who} until `muster resume`: {reason}"),
        }
    }
}

/// A step that was done.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Recorded {
    /// Which.
    pub step: Step,
    /// When.
    pub at: Time,
    /// The release it ran by, if it needed one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub by: Option<Nonce>,
}

/// How many done steps are kept word for word.
pub const RECORD_LIMIT: usize = 1_000;

/// All that is known.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Facts {
    /// Random, made once by `muster init`.
    pub executor_id: String,
    /// The pinned name.
    pub name: String,
    /// The commit last adopted.
    pub adopted: CommitId,
    /// A newer commit that was not adopted.
    pub attempted: Option<Attempted>,
    /// Why only benign repairs run.
    pub frozen: Option<Frozen>,
    /// Why nothing runs, as long as [`Suspended::holds_at`] says so.
    pub suspended: Option<Suspended>,
    /// Everybody ever kept here, by name. Each in a box: put into their order, many of them would be moved byte for byte.
    pub people: BTreeMap<String, Box<PersonFacts>>,
    /// Ids of accounts whose creation was begun and not seen done: theirs when it is tried again, and nobody else's.
    pub begun: BTreeMap<String, AccountIds>,
    /// When removals ran, for the limit over a day; a day old at most.
    pub removals: Vec<Time>,
    /// Steps that did not come out as meant, since they last did.
    pub failures: BTreeMap<StepId, Failure>,
    /// Steps that were brought to no end and that a person has to look at.
    pub needs_operator: BTreeMap<StepId, String>,
    /// Steps done since the adopted commit was adopted, the first [`RECORD_LIMIT`] of them: what its outcome report tells.
    pub record: Vec<Recorded>,
    /// How many more were done.
    pub record_more: u64,
    /// The latest moment the journal has seen: no later one may be before it.
    pub latest: Time,
    /// Which root of trust is in force, once there was one.
    pub trust: Option<TrustFacts>,
    /// Every release that was ever taken up here. Never removed (invariant 6).
    pub claims: BTreeMap<Nonce, Claim>,
    /// Nonces of signed resets. Never removed.
    pub resets: BTreeSet<Nonce>,
    /// Releases that operators signed and that were refused, oldest first; [`REFUSED_LIMIT`] of them.
    pub refused: Vec<RefusedRelease>,
}

impl Facts {
    /// The facts of an executor that has just been initialised.
    pub fn genesis(executor_id: &str, name: &str, adopt: CommitId, at: Time) -> Self {
        Self {
            executor_id: executor_id.to_owned(),
            name: name.to_owned(),
            adopted: adopt,
            attempted: None,
            frozen: None,
            suspended: None,
            people: BTreeMap::new(),
            begun: BTreeMap::new(),
            removals: Vec::new(),
            failures: BTreeMap::new(),
            needs_operator: BTreeMap::new(),
            record: Vec::new(),
            record_more: 0,
            latest: at,
            trust: None,
            claims: BTreeMap::new(),
            resets: BTreeSet::new(),
            refused: Vec::new(),
        }
    }

    /// The suspension that holds at a moment, if one does.
    pub fn suspension_at(&self, now: Time) -> Option<&Suspended> {
        self.suspended.as_ref().filter(|it| it.holds_at(now))
    }

    /// Takes in one durable entry; `open` is the batch that the entry closes, if it closes one.
    pub fn apply(&mut self, entry: &Entry, open: Option<&Open>) {
        self.latest = self.latest.max(entry.at());
        match entry {
            Entry::Genesis {
                executor_id,
                name,
                adopt,
                at,
            } => {
                *self = Self::genesis(executor_id, name, adopt.clone(), *at);
            }
            Entry::Adopted { commit, .. } => {
                self.adopt(commit);
            }
            Entry::Attempted {
                commit, problem, ..
            } => {
                self.attempted = Some(Attempted {
                    commit: commit.clone(),
                    problem: problem.clone(),
                });
            }
            Entry::Frozen { why, .. } => self.frozen = Some(why.clone()),
            Entry::Reset { commit, nonce, .. } => {
                self.resets.extend(nonce);
                self.adopt(commit);
                self.frozen = None;
                // Whoever resets an executor has looked at what was stuck.
                self.needs_operator.clear();
            }
            Entry::Trusted { root, .. } => self.trust = Some(root.clone()),
            Entry::Claimed { claim, .. } => {
                self.refused.retain(|it| it.nonce != claim.nonce);
                self.claims.insert(claim.nonce, claim.clone());
            }
            Entry::Finished { nonce, .. } => {
                if let Some(claim) = self.claims.get_mut(nonce) {
                    claim.finished = true;
                }
            }
            Entry::Refused { release, .. } => {
                self.refused.retain(|it| it.statement != release.statement);
                if self.refused.len() >= REFUSED_LIMIT {
                    self.refused.remove(0);
                }
                self.refused.push(release.clone());
            }
            Entry::Intended {
                steps, authority, ..
            } => {
                for step in steps {
                    if let Some(nonce) = authority.release_of(step.id) {
                        self.progress(nonce, step.id, Progress::Begun);
                    }
                }
            }
            Entry::Suspended {
                at,
                who,
                reason,
                until,
            } => {
                self.suspended = Some(Suspended {
                    who: who.clone(),
                    reason: reason.clone(),
                    since: *at,
                    until: *until,
                });
            }
            Entry::Resumed { .. } => self.suspended = None,
            Entry::Outcome { at, results } => {
                let open = open.expect("invariant: an outcome closes a batch");
                for (step, result) in open.steps.iter().zip(results) {
                    let by = open.authority.release_of(step.id);
                    self.apply_result(step, result, *at, by);
                }
                self.removals.retain(|then| then.plus(86_400) > *at);
                // A step that was not tried for a week is no longer planned, or is somebody's new concern.
                self.failures
                    .retain(|_, failure| failure.last.plus(604_800) > *at);
            }
        }
    }

    fn progress(&mut self, nonce: Nonce, step: StepId, progress: Progress) {
        let claim = self.claims.get_mut(&nonce);
        if let Some(it) = claim.and_then(|claim| claim.steps.get_mut(&step)) {
            *it = progress;
        }
    }

    fn apply_result(&mut self, step: &Step, result: &StepResult, at: Time, by: Option<Nonce>) {
        if let Some(nonce) = by {
            let progress = match result {
                StepResult::Done => Progress::Done,
                StepResult::NotBegun => Progress::Waiting,
                StepResult::Unfinished(_) => Progress::Begun,
                StepResult::Failed(_) | StepResult::NeedsOperator(_) => Progress::Failed,
            };
            self.progress(nonce, step.id, progress);
        }
        if let Action::CreateAccount {
            user,
            uid,
            gid,
            subuid,
            subgid,
            ..
        } = &step.action
        {
            if *result == StepResult::Done {
                self.begun.remove(user);
            } else {
                let ids = AccountIds {
                    uid: *uid,
                    gid: *gid,
                    subuid: *subuid,
                    subgid: *subgid,
                };
                self.begun.insert(user.clone(), ids);
            }
        }
        if let Action::JoinGroup { user, group, .. } = &step.action
            && *result != StepResult::Done
        {
            self.on(user, |person| {
                person.joining.insert(group.clone());
            });
        }
        match result {
            StepResult::Done => {
                self.failures.remove(&step.id);
                self.needs_operator.remove(&step.id);
                self.apply_done(step, at, by);
            }
            StepResult::Failed(reason) | StepResult::Unfinished(reason) => {
                let failure = self.failures.entry(step.id).or_insert(Failure {
                    times: 0,
                    last: at,
                    reason: String::new(),
                });
                failure.times = failure.times.saturating_add(1);
                failure.last = at;
                failure.reason.clone_from(reason);
            }
            StepResult::NotBegun => {}
            StepResult::NeedsOperator(reason) => {
                self.needs_operator.insert(step.id, reason.clone());
            }
        }
    }

    fn adopt(&mut self, commit: &CommitId) {
        self.adopted = commit.clone();
        self.attempted = None;
        self.record.clear();
        self.record_more = 0;
    }

    fn apply_done(&mut self, step: &Step, at: Time, by: Option<Nonce>) {
        if step.action.is_removal() {
            self.removals.push(at);
        }
        if self.record.len() < RECORD_LIMIT {
            self.record.push(Recorded {
                step: step.clone(),
                at,
                by,
            });
        } else {
            self.record_more += 1;
        }
        let user = step.action.user().to_owned();
        match &step.action {
            Action::CreateAccount {
                user: _,
                uid,
                gid,
                home,
                shell: _,
                subuid,
                subgid,
                authentik_user,
                k8s_user,
            } => {
                let before = self.people.remove(&user);
                let generation = before.as_ref().map_or(0, |it| it.generation) + 1;
                let (ports, cuts, home_made, formerly, archive, home_owed) =
                    before.map_or_else(Default::default, |it| {
                        // The account was deleted behind our back: its memberships went with it, its ports and home did not.
                        (
                            it.ports,
                            it.cuts,
                            it.home_made,
                            it.formerly,
                            it.archive,
                            it.home_owed,
                        )
                    });
                self.people.insert(
                    user,
                    Box::new(PersonFacts {
                        entry: step.id,
                        how: How::Created,
                        generation,
                        cuts,
                        uid: *uid,
                        gid: *gid,
                        home: home.clone(),
                        subuid: *subuid,
                        subgid: *subgid,
                        authentik_user: authentik_user.clone(),
                        k8s_user: k8s_user.clone(),
                        stage: Stage::Active,
                        since: at,
                        home_made,
                        ports,
                        given: BTreeSet::new(),
                        joining: BTreeSet::new(),
                        aside: SetAside::default(),
                        formerly,
                        archive,
                        home_owed,
                    }),
                );
            }
            Action::AdoptAccount {
                user: _,
                uid,
                gid,
                home,
                authentik_user,
                k8s_user,
            } => {
                self.people.insert(
                    user,
                    Box::new(PersonFacts {
                        entry: step.id,
                        how: How::Adopted,
                        generation: 1,
                        cuts: 0,
                        uid: *uid,
                        gid: *gid,
                        home: home.clone(),
                        subuid: None,
                        subgid: None,
                        authentik_user: authentik_user.clone(),
                        k8s_user: k8s_user.clone(),
                        stage: Stage::Active,
                        since: at,
                        home_made: true,
                        ports: Ports::new(),
                        given: BTreeSet::new(),
                        joining: BTreeSet::new(),
                        aside: SetAside::default(),
                        formerly: BTreeSet::new(),
                        archive: None,
                        home_owed: None,
                    }),
                );
            }
            Action::RenameAccount {
                from,
                user: _,
                uid: _,
            } => {
                if let Some(mut person) = self.people.remove(from) {
                    person.formerly.insert(from.clone());
                    self.people.insert(user, person);
                }
            }
            Action::ChangeIdentity { identity, to, .. } => {
                self.on(&user, |person| match identity {
                    Identity::AuthentikUser => person.authentik_user.clone_from(to),
                    Identity::K8sUser => person.k8s_user.clone_from(to),
                })
            }
            Action::JoinGroup { group, .. } => self.on(&user, |person| {
                person.given.insert(group.clone());
                person.joining.remove(group);
                person.aside.groups.remove(group);
            }),
            Action::LeaveGroup { group, because, .. } => self.on(&user, |person| {
                person.given.remove(group);
                person.joining.remove(group);
                if *because == Leave::Cut {
                    person.aside.groups.insert(group.clone());
                }
            }),
            Action::AssignPorts { ports, .. } => {
                self.on(&user, |person| person.ports.extend(ports.clone()))
            }
            Action::Park {
                because: Parking::Asked | Parking::Expired,
                ..
            } => self.stand(&user, Stage::Parked, at),
            Action::Unpark { .. } => self.stand(&user, Stage::Active, at),
            Action::Cut { .. } => {
                self.stand(&user, Stage::Cut, at);
                self.on(&user, |person| person.cuts += 1);
            }
            Action::Return { .. } => self.stand(&user, Stage::Active, at),
            Action::LockLogin { .. } => self.on(&user, |person| person.aside.login = true),
            Action::UnlockLogin { .. } => self.on(&user, |person| person.aside.login = false),
            Action::Trace {
                trace, direction, ..
            } => self.on(&user, |person| match direction {
                crate::accounts::action::Direction::SetAside => {
                    person.aside.traces.insert(*trace);
                }
                crate::accounts::action::Direction::Restore => {
                    person.aside.traces.remove(trace);
                }
            }),
            Action::CreateHome { .. } => self.on(&user, |person| person.home_made = true),
            Action::ArchiveDelete {
                home_id,
                subuid,
                subgid,
                ..
            } => {
                self.stand(&user, Stage::Archived, at);
                self.on(&user, |person| {
                    // Ranges of an account that was adopted are reserved from here on (invariant 10).
                    person.subuid = person.subuid.or(*subuid);
                    person.subgid = person.subgid.or(*subgid);
                    person.home_made &= home_id.is_some();
                    // Memberships and the saved login went with the account; what came from the home can go back into it.
                    person.given.clear();
                    person.aside.login = false;
                    person.aside.groups.clear();
                });
            }
            Action::RecordArchive { sha256, bytes, .. } => self.on(&user, |person| {
                person.archive = Some(ArchiveFacts {
                    entry: person.entry,
                    sha256: sha256.clone(),
                    bytes: *bytes,
                });
            }),
            Action::PurgeHome { .. } => self.stand(&user, Stage::Deleted, at),
            Action::RestoreAccount { .. } => {
                self.stand(&user, Stage::Active, at);
                self.on(&user, |person| {
                    person.home_owed = person.home_made.then_some(person.entry);
                    person.entry = step.id;
                    person.generation += 1;
                    person.given.clear();
                    person.aside.login = false;
                    person.aside.groups.clear();
                });
            }
            Action::RestoreHome { .. } => self.on(&user, |person| person.home_owed = None),
            // Read back from the world each cycle; the ledger keeps no second copy.
            Action::ChangeUid { .. }
            | Action::SetShell { .. }
            | Action::LockPassword { .. }
            | Action::EndSessions { .. }
            | Action::WriteEnvironment { .. }
            | Action::Unit { .. }
            | Action::Entry { .. } => {}
        }
    }

    fn on(&mut self, user: &str, change: impl FnOnce(&mut PersonFacts)) {
        if let Some(person) = self.people.get_mut(user) {
            change(person);
        }
    }

    fn stand(&mut self, user: &str, stage: Stage, at: Time) {
        self.on(user, |person| {
            person.stage = stage;
            person.since = at;
        });
    }
}
