//! What muster knows of the people it keeps on a host.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::action::{Action, Direction, Leave, Trace};
use super::observed::Remains;
use super::policy::Ports;
use super::verbs::Verb;
use crate::id::StepId;
use crate::people::{Identity, Parking, Stage};
use crate::time::Time;

/// A run of subordinate ids: `first` and how many.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct IdRange {
    /// First id.
    pub first: u32,
    /// How many.
    pub count: u32,
}

impl IdRange {
    /// One past the last id.
    pub fn end(self) -> u64 {
        u64::from(self.first) + u64::from(self.count)
    }
}

impl fmt::Display for IdRange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}+{}", self.first, self.count)
    }
}

/// Subordinate ranges of somebody beside the one that is kept as theirs: other lines of `subuid` and `subgid`, by name or by number.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct MoreRanges {
    /// Subordinate uids.
    #[serde(skip_serializing_if = "BTreeSet::is_empty")]
    pub subuids: BTreeSet<IdRange>,
    /// Subordinate gids.
    #[serde(skip_serializing_if = "BTreeSet::is_empty")]
    pub subgids: BTreeSet<IdRange>,
}

impl MoreRanges {
    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        let Self { subuids, subgids } = self;
        subuids.is_empty() && subgids.is_empty()
    }
}

/// The ids of one account.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AccountIds {
    /// Its uid.
    pub uid: u32,
    /// The gid of its private group.
    pub gid: u32,
    /// Its subordinate uids, if any.
    pub subuid: Option<IdRange>,
    /// Its subordinate gids, if any.
    pub subgid: Option<IdRange>,
}

/// Which directory a home is. Never the device number, which changes from boot to boot.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct HomeId {
    /// Its inode number.
    pub inode: u64,
    /// Its birth time, seconds since 1970; 0 where the filesystem keeps none.
    pub born: i64,
    /// The filesystem's UUID, or what stands for it: the same for nearly everybody.
    pub filesystem: Arc<str>,
}

/// The file of the archive of an account's home, in the store of archives of its host.
pub fn archive_name(uid: u32, entry: StepId) -> String {
    format!("{uid}.{entry}.tar.zst")
}

/// An archive of a home, as it was read back and recorded.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ArchiveFacts {
    /// The account's entry at that time; with the uid it names the file.
    pub entry: StepId,
    /// SHA-256 of the file.
    pub sha256: String,
    /// Its size.
    pub bytes: u64,
}

/// How an account came to be muster's.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Provenance {
    /// muster created it.
    Created,
    /// It was there, and a row's `adopt` took it over.
    Adopted,
}

/// What a cut, or a login that was shut, set aside and a way back has to restore.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct SetAside {
    /// Password field, expiry and shell are saved.
    pub login: bool,
    /// Traces that were there, and are saved.
    pub traces: BTreeSet<Trace>,
    /// Groups the cut took.
    pub groups: BTreeSet<String>,
}

impl SetAside {
    /// Whether nothing waits to be put back.
    pub fn is_empty(&self) -> bool {
        let Self {
            login,
            traces,
            groups,
        } = self;
        !login && traces.is_empty() && groups.is_empty()
    }
}

/// What muster knows of one person here; after a cut, their tombstone. Never removed (invariant 10).
///
/// What few people have is written only where it is: a ledger of many people is read at every start.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PersonFacts {
    /// The step that created or adopted the account.
    pub entry: StepId,
    /// How it came to be muster's.
    pub how: Provenance,
    /// How often an account of this name was created here.
    pub generation: u32,
    /// How often it was cut or disabled.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub cuts: u32,
    /// Its uid.
    pub uid: u32,
    /// The gid of its primary group.
    pub gid: u32,
    /// Its home directory.
    pub home: String,
    /// Subordinate uids, if any.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub subuid: Option<IdRange>,
    /// Subordinate gids, if any.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub subgid: Option<IdRange>,
    /// Further ranges that the account had when it was removed: nobody's from then on (F22).
    #[serde(default, skip_serializing_if = "MoreRanges::is_empty")]
    pub more: MoreRanges,
    /// Identity login, as last released.
    pub authentik_user: String,
    /// Cluster identity, as last released.
    pub k8s_user: String,
    /// Where the person stands.
    pub stage: Stage,
    /// Since when.
    pub since: Time,
    /// Whether a home was made or found: an empty one is made only once.
    pub home_made: bool,
    /// Ports, by family.
    #[serde(default, skip_serializing_if = "Ports::is_empty")]
    pub ports: Ports,
    /// Memberships that muster gave.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub given: BTreeSet<String>,
    /// Memberships that were begun and not seen whole: a half of one that is found is muster's to take back.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub joining: BTreeSet<String>,
    /// What the cut set aside.
    #[serde(default, skip_serializing_if = "SetAside::is_empty")]
    pub aside: SetAside,
    /// Names that a rename was begun to and not seen done: the account may have one of them by now, or lines of one beside its own.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub renaming: BTreeSet<String>,
    /// Names the account had before.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub formerly: BTreeSet<String>,
    /// The latest archive of the home; it outlives the account, and a way back.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub archive: Option<ArchiveFacts>,
    /// The entry of the account before it was restored, until the home of that one is back, too.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub home_owed: Option<StepId>,
    /// When notice was given that the login is going to be shut, until the person stands elsewhere.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub told: Option<Time>,
}

impl PersonFacts {
    /// Whether the account had a home that it is to have again when it comes back: one that was made for it, or that is
    /// archived. Ledgers of earlier versions do not tell the first of a home that was there before the account.
    pub fn had_home(&self) -> bool {
        let archived = self.archive.as_ref();
        self.home_made || archived.is_some_and(|it| it.entry == self.entry)
    }

    /// The account whose home the quarantine and the store of archives would have.
    pub fn kept_of(&self) -> KeptOf {
        KeptOf {
            uid: self.uid,
            gid: self.gid,
            entry: self.home_owed.unwrap_or(self.entry),
        }
    }
}

/// Names what a removal keeps of one account.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct KeptOf {
    /// Its uid.
    pub uid: u32,
    /// Its primary gid.
    pub gid: u32,
    /// The step that created, adopted or restored it.
    pub entry: StepId,
}

/// A step that a commit of the ledger tells was done, and its words.
fn step_done(line: &str) -> Option<(StepId, &str)> {
    let (id, words) = line.strip_suffix(" (done)")?.split_once(' ')?;
    Some((id.parse().ok()?, words))
}

fn is_zero(number: &u32) -> bool {
    *number == 0
}

/// Whom muster keeps on a host, and kept: part of the facts.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Known {
    /// Everybody ever kept here, by name. Each in a box: put into their order, many of them would be moved byte for byte.
    pub people: BTreeMap<String, Box<PersonFacts>>,
    /// Ids of accounts whose creation was begun and not seen done: theirs when it is tried again, and nobody else's.
    pub begun: BTreeMap<String, AccountIds>,
    /// Whose password muster locked after it took the account over, as far as the ledger's history tells it. It is in no file:
    /// whoever opens a ledger looks for it there ([`Known::recall_locked`]).
    pub locked: BTreeSet<String>,
}

impl Known {
    /// Nobody.
    pub const fn new() -> Self {
        Self {
            people: BTreeMap::new(),
            begun: BTreeMap::new(),
            locked: BTreeSet::new(),
        }
    }

    /// Takes out of the history of a ledger whose password muster locked after it took the account over, and did not unlock
    /// since. `messages` are those of its commits, newest first. Whether it is known of everybody by then.
    pub fn recall_locked<'m>(&mut self, messages: impl Iterator<Item = &'m str>) -> bool {
        let adopted = self.people.iter().filter(|(_, it)| {
            let here = !matches!(it.stage, Stage::Archived | Stage::Deleted);
            here && it.how == Provenance::Adopted
        });
        let mut sought: BTreeMap<StepId, &str> = BTreeMap::new();
        let mut names: BTreeMap<&str, StepId> = BTreeMap::new();
        for (user, person) in adopted {
            sought.insert(person.entry, user);
            let formerly = person.formerly.iter().map(String::as_str);
            names.extend(formerly.chain([user.as_str()]).map(|it| (it, person.entry)));
        }
        let (mut locked, mut unlocked) = (BTreeSet::new(), BTreeSet::new());
        for message in messages {
            if sought.is_empty() {
                break;
            }
            let mut begun = Vec::new();
            for (id, words) in message.lines().filter_map(step_done) {
                let mut words = words.split(' ');
                let (verb, name) = (words.next().unwrap_or_default(), words.next());
                if sought.contains_key(&id) {
                    begun.push(id);
                }
                let entry = name.and_then(|name| names.get(name));
                let Some(user) = entry.and_then(|entry| sought.get(entry)) else {
                    continue;
                };
                if verb == Verb::PasswordRestore.word() && !locked.contains(user) {
                    unlocked.insert(*user);
                } else if verb == Verb::UserLockPassword.word() && !unlocked.contains(user) {
                    locked.insert(*user);
                }
            }
            // What is older is of an account that was not ours, or of somebody who had the name before.
            sought.retain(|id, _| !begun.contains(id));
        }
        let everybody = sought.is_empty();
        self.locked = locked.into_iter().map(str::to_owned).collect();
        everybody
    }

    /// Where begun steps may have left lines of an account under a name that has none: creations, renames, and ways back of
    /// accounts that were removed. What is there, the host is asked.
    pub fn remains(&self) -> impl Iterator<Item = (&str, Remains<'_>)> {
        let created = self
            .begun
            .iter()
            .filter(|(name, _)| !self.people.contains_key(*name))
            .map(|(name, ids)| (name, ids.gid));
        let removed = self
            .people
            .iter()
            .filter(|(_, it)| matches!(it.stage, Stage::Archived | Stage::Deleted))
            .map(|(name, it)| (name, it.gid));
        let of_accounts = created
            .chain(removed)
            .map(|(name, gid)| (name.as_str(), Remains { gid, beside: None }));
        let of_names = self.people.iter().flat_map(|(old, person)| {
            let names = person.renaming.iter();
            names
                .filter(|name| !self.people.contains_key(*name))
                .map(|name| {
                    let remains = Remains {
                        gid: person.gid,
                        beside: Some(old.as_str()),
                    };
                    (name.as_str(), remains)
                })
        });
        of_accounts.chain(of_names)
    }

    /// Takes in that a step came out otherwise than done: what of it may be there is remembered.
    pub(crate) fn not_done(&mut self, action: &Action) {
        match action {
            Action::CreateAccount {
                user,
                uid,
                gid,
                subuid,
                subgid,
                ..
            } => {
                let ids = AccountIds {
                    uid: *uid,
                    gid: *gid,
                    subuid: *subuid,
                    subgid: *subgid,
                };
                self.begun.insert(user.clone(), ids);
            }
            Action::JoinGroup { user, group, .. } => self.on(user, |person| {
                person.joining.insert(group.clone());
            }),
            Action::RenameAccount { from, user, .. } => self.on(from, |person| {
                person.renaming.insert(user.clone());
            }),
            // Some of it may be shut, and the save there: a way back opens whatever of it is.
            Action::LockLogin { user, .. } => self.on(user, |person| person.aside.login = true),
            // The world alone tells how far these have come.
            Action::AdoptAccount { .. }
            | Action::ChangeUid { .. }
            | Action::ChangeIdentity { .. }
            | Action::SetShell { .. }
            | Action::LockPassword { .. }
            | Action::LeaveGroup { .. }
            | Action::AssignPorts { .. }
            | Action::Park { .. }
            | Action::Unpark { .. }
            | Action::Disable { .. }
            | Action::Enable { .. }
            | Action::GiveNotice { .. }
            | Action::RestorePassword { .. }
            | Action::Cut { .. }
            | Action::Return { .. }
            | Action::UnlockLogin { .. }
            | Action::Trace { .. }
            | Action::EndSessions { .. }
            | Action::CreateHome { .. }
            | Action::WriteEnvironment { .. }
            | Action::Unit { .. }
            | Action::Entry { .. }
            | Action::ArchiveDelete { .. }
            | Action::RecordArchive { .. }
            | Action::RestoreAccount { .. }
            | Action::RestoreHome { .. }
            | Action::ClearRemains { .. }
            | Action::PurgeHome { .. } => {}
        }
    }

    /// Takes in that a step is done.
    pub(crate) fn done(&mut self, id: StepId, action: &Action, at: Time) {
        let user = action.user().to_owned();
        match action {
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
                self.begun.remove(&user);
                let before = self.people.remove(&user);
                let generation = before.as_ref().map_or(0, |it| it.generation) + 1;
                let (ports, cuts, home_made, formerly, archive, home_owed, more) = before
                    .map_or_else(Default::default, |it| {
                        // The account was deleted behind our back: its memberships went with it, its ports and home did not.
                        (
                            it.ports,
                            it.cuts,
                            it.home_made,
                            it.formerly,
                            it.archive,
                            it.home_owed,
                            it.more,
                        )
                    });
                self.people.insert(
                    user,
                    Box::new(PersonFacts {
                        entry: id,
                        how: Provenance::Created,
                        generation,
                        cuts,
                        uid: *uid,
                        gid: *gid,
                        home: home.clone(),
                        subuid: *subuid,
                        subgid: *subgid,
                        more,
                        authentik_user: authentik_user.clone(),
                        k8s_user: k8s_user.clone(),
                        stage: Stage::Active,
                        since: at,
                        home_made,
                        ports,
                        given: BTreeSet::new(),
                        joining: BTreeSet::new(),
                        aside: SetAside::default(),
                        renaming: BTreeSet::new(),
                        formerly,
                        archive,
                        home_owed,
                        told: None,
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
                        entry: id,
                        how: Provenance::Adopted,
                        generation: 1,
                        cuts: 0,
                        uid: *uid,
                        gid: *gid,
                        home: home.clone(),
                        subuid: None,
                        subgid: None,
                        more: MoreRanges::default(),
                        authentik_user: authentik_user.clone(),
                        k8s_user: k8s_user.clone(),
                        stage: Stage::Active,
                        since: at,
                        home_made: true,
                        ports: Ports::new(),
                        given: BTreeSet::new(),
                        joining: BTreeSet::new(),
                        aside: SetAside::default(),
                        renaming: BTreeSet::new(),
                        formerly: BTreeSet::new(),
                        archive: None,
                        home_owed: None,
                        told: None,
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
                    if self.locked.remove(from) {
                        self.locked.insert(user.clone());
                    }
                    person.renaming.remove(&user);
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
            Action::Disable { .. } => {
                self.stand(&user, Stage::Disabled, at);
                // What is set aside has a number of its own, as with a cut.
                self.on(&user, |person| person.cuts += 1);
            }
            Action::Enable { .. } => self.stand(&user, Stage::Active, at),
            Action::GiveNotice { .. } => self.on(&user, |person| person.told = Some(at)),
            Action::RestorePassword { .. } => {
                self.locked.remove(&user);
            }
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
                Direction::SetAside => {
                    person.aside.traces.insert(*trace);
                }
                Direction::Restore => {
                    person.aside.traces.remove(trace);
                }
            }),
            Action::CreateHome { .. } => self.on(&user, |person| person.home_made = true),
            Action::ArchiveDelete {
                home_id,
                subuid,
                subgid,
                more,
                ..
            } => {
                self.stand(&user, Stage::Archived, at);
                self.on(&user, |person| {
                    person.more.subuids.extend(&more.subuids);
                    person.more.subuids.extend(person.subuid.and(*subuid));
                    person.more.subgids.extend(&more.subgids);
                    person.more.subgids.extend(person.subgid.and(*subgid));
                    // Ranges of an account that was adopted are reserved from here on (invariant 10).
                    person.subuid = person.subuid.or(*subuid);
                    person.subgid = person.subgid.or(*subgid);
                    let (subuid, subgid) = (person.subuid, person.subgid);
                    person.more.subuids.retain(|it| Some(*it) != subuid);
                    person.more.subgids.retain(|it| Some(*it) != subgid);
                    // Also one that was there before the account: it is kept as theirs, and comes back (F24).
                    person.home_made = home_id.is_some();
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
                    person.home_owed = person.had_home().then_some(person.entry);
                    person.entry = id;
                    person.generation += 1;
                    person.given.clear();
                    person.aside.login = false;
                    person.aside.groups.clear();
                });
            }
            Action::RestoreHome { .. } => self.on(&user, |person| person.home_owed = None),
            // The ids of a creation that was begun stay reserved.
            Action::ClearRemains { beside, .. } => {
                if let Some(beside) = beside {
                    self.on(beside, |person| {
                        person.renaming.remove(&user);
                    });
                }
            }
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

    /// What was recorded after `at` counts as recorded then: a period of grace that a wrong clock began begins anew.
    pub(crate) fn go_back_to(&mut self, at: Time) {
        for person in self.people.values_mut() {
            person.since = person.since.min(at);
        }
    }

    fn stand(&mut self, user: &str, stage: Stage, at: Time) {
        self.on(user, |person| {
            person.stage = stage;
            person.since = at;
            person.told = None;
        });
    }
}
