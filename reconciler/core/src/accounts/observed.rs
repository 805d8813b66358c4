//! What was read on a host, just now.

use crate::reading::Reading;
use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use crate::accounts::facts::{HomeId, IdRange, KeptOf, MoreRanges};
use crate::accounts::hindrances::Hindrances;
use crate::accounts::policy::Aggregate;
use crate::accounts::root::Sources;

/// Why something of a host that was written down is unknown: nobody looked that closely then.
pub const NOT_RECORDED: &str = "it was not written down";

/// What a host is asked. Says whom to look at, never what changed. Borrows from what is asked about.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Question<'q> {
    /// Everybody the roster or the ledger names, and how closely to look.
    pub people: BTreeMap<&'q str, Subject<'q>>,
    /// How many uids will be needed: so many free ones are checked with the name services.
    pub new: usize,
    /// Uids that are asked for by number: whether a name service has them.
    pub uids: BTreeSet<u32>,
    /// Shells that somebody is to have: whether each is installed.
    pub shells: BTreeSet<String>,
    /// Which parts to read.
    pub parts: Parts,
    /// Whose accounts to tell of.
    pub accounts_of: AccountsOf,
    /// Names under which an interrupted step may have left lines in the account databases.
    pub remains: BTreeMap<&'q str, Remains<'q>>,
}

/// What tells the lines that an interrupted step left under a name from somebody else's.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Remains<'q> {
    /// The gid that the private group was to have.
    pub gid: u32,
    /// The account that was to get the name, where the step was a rename: it has a group with that gid of its own.
    pub beside: Option<&'q str>,
}

/// Whose accounts a host is asked for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum AccountsOf {
    /// Everybody's, whoever made them: a plan needs them all.
    #[default]
    Everybody,
    /// At least those of [`Question::people`]: enough to see how a batch came out, and it costs what changed.
    Asked,
}

impl Question<'_> {
    /// Asks about those of `names` alone: enough to see how their steps came out.
    pub fn narrow(&mut self, names: &BTreeSet<String>) {
        self.people.retain(|user, _| names.contains(*user));
        self.remains.retain(|user, _| names.contains(*user));
        self.accounts_of = AccountsOf::Asked;
        self.new = 0;
        self.uids.clear();
    }

    /// Asks what `other` asks, too.
    pub fn widen(&mut self, other: Self) {
        let Self {
            people,
            new,
            uids,
            shells,
            parts: _,
            accounts_of: _,
            remains,
        } = other;
        self.remains.extend(remains);
        for (user, more) in people {
            let subject = self.people.entry(user).or_default();
            subject.traces |= more.traces;
            subject.ask_name_services |= more.ask_name_services;
            subject.home = subject.home.take().or(more.home);
            subject.cuts = subject.cuts.max(more.cuts);
            subject.kept = subject.kept.take().or(more.kept);
        }
        self.new = self.new.max(new);
        self.uids.extend(uids);
        self.shells.extend(shells);
    }
}

/// One person to look at.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Subject<'q> {
    /// Whether login traces are wanted: linger, keys, crontab, processes.
    pub traces: bool,
    /// Whether the name services have to be asked whether they know the name: it has no account of ours, or no longer.
    pub ask_name_services: bool,
    /// The home to look at, when the account databases have none.
    pub home: Option<&'q str>,
    /// How often the person was cut, and so which saves may be theirs.
    pub cuts: u32,
    /// The account whose removal is to be looked at, if any is.
    pub kept: Option<KeptOf>,
}

/// The parts of a host that can be read on their own.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Parts {
    /// Account databases and login.defs.
    pub accounts: bool,
    /// Homes and login traces.
    pub homes: bool,
    /// Rendered files.
    pub files: bool,
    /// Units.
    pub units: bool,
}

impl Default for Parts {
    fn default() -> Self {
        Self::ALL
    }
}

impl Parts {
    /// Everything.
    pub const ALL: Self = Self {
        accounts: true,
        homes: true,
        files: true,
        units: true,
    };
    /// Nothing.
    pub const NONE: Self = Self {
        accounts: false,
        homes: false,
        files: false,
        units: false,
    };
}

/// A whole host. A part that was not asked for is [`Reading::Unknown`].
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Observed {
    /// The account databases.
    pub accounts: Reading<Accounts>,
    /// Homes and login traces of the people asked about, by name.
    pub people: BTreeMap<String, Person>,
    /// SHA-256 of each environment file that is there, by person.
    pub environments: Reading<BTreeMap<String, String>>,
    /// The entries of each aggregate file; an absent file has none.
    pub aggregates: BTreeMap<Aggregate, Reading<BTreeMap<String, String>>>,
    /// The cluster's tiers by k8s_user, where the host is told of them (R10–R12).
    pub cluster_tiers: Option<Reading<BTreeMap<String, String>>>,
    /// Units of instances, by full unit name; one that is neither enabled nor active may be missing.
    pub units: Reading<Units>,
}

impl Observed {
    /// Makes of what was written down an answer to `question`: of whoever was not looked at so closely then, that is said
    /// ([`NOT_RECORDED`]), so that nothing is planned on what is not known. Somebody without an account had no home.
    #[must_use]
    pub fn recalled<'a>(&'a self, question: &Question<'_>) -> Cow<'a, Self> {
        let missing: Vec<(&str, Person)> = question
            .people
            .iter()
            .filter_map(|(user, subject)| {
                let seen = self.people.get(*user);
                let complete = seen.is_some_and(|it| {
                    (subject.kept.is_none() || it.kept.is_some())
                        && (!subject.traces || it.traces.is_some())
                });
                (!complete).then(|| (*user, self.recall(user, subject, seen)))
            })
            .collect();
        if missing.is_empty() {
            return Cow::Borrowed(self);
        }
        let mut whole = self.clone();
        for (user, person) in missing {
            whole.people.insert(user.to_owned(), person);
        }
        Cow::Owned(whole)
    }

    fn recall(&self, user: &str, subject: &Subject<'_>, seen: Option<&Person>) -> Person {
        fn unknown<T>() -> Reading<T> {
            Reading::Unknown(NOT_RECORDED.to_owned())
        }
        let accounts = self.accounts.known();
        let has_account = accounts.is_some_and(|it| it.by_name.contains_key(user));
        let mut person = seen.cloned().unwrap_or_else(|| Person {
            home: if has_account {
                unknown()
            } else {
                Reading::Known(Home::Absent)
            },
            traces: None,
            kept: None,
        });
        if subject.kept.is_some() {
            person.kept.get_or_insert_with(|| {
                Box::new(RemovedAccount {
                    quarantined: unknown(),
                    purging: None,
                    archive: unknown(),
                    remnants: unknown(),
                })
            });
        }
        if subject.traces {
            person.traces.get_or_insert_with(|| {
                Box::new(Traces {
                    linger: unknown(),
                    keys: unknown(),
                    crontab: unknown(),
                    processes: unknown(),
                    login_saved: unknown(),
                })
            });
        }
        person
    }

    /// Takes in a later look at some of the people: what it tells of them and of everything that is not anybody's own
    /// takes the place of what was known. `asked` is whom that look was about, of whose accounts alone it may tell.
    pub fn renew(&mut self, asked: &Question<'_>, newer: Self) {
        let Self {
            accounts,
            people,
            environments,
            aggregates,
            cluster_tiers,
            units,
        } = newer;
        match (&mut self.accounts, accounts) {
            (Reading::Known(known), Reading::Known(mut newer)) => {
                for user in asked.people.keys().copied() {
                    match newer.by_name.remove(user) {
                        Some(account) => known.by_name.insert(user.to_owned(), account),
                        None => known.by_name.remove(user),
                    };
                }
                let Accounts {
                    by_name: _,
                    groups,
                    subuids,
                    subgids,
                    // Name services and shells are no part of what was changed.
                    foreign: _,
                    foreign_uids: _,
                    defaults,
                    shells: _,
                    root,
                    // A look at some does not see what is in the way of others.
                    hindrances: _,
                    remains,
                } = newer;
                for user in asked.remains.keys().copied() {
                    known.remains.remove(user);
                }
                known.remains.extend(remains);
                (known.groups, known.subuids, known.subgids) = (groups, subuids, subgids);
                (known.defaults, known.root) = (defaults, root);
            }
            // A few accounts are not all of them.
            (Reading::Unknown(_), Reading::Known(_)) => {}
            (known, unknown @ Reading::Unknown(_)) => *known = unknown,
        }
        self.people.extend(people);
        match (&mut self.environments, environments) {
            (Reading::Known(known), Reading::Known(mut newer)) => {
                for user in asked.people.keys().copied() {
                    match newer.remove(user) {
                        Some(digest) => known.insert(user.to_owned(), digest),
                        None => known.remove(user),
                    };
                }
            }
            (Reading::Unknown(_), Reading::Known(_)) => {}
            (known, unknown @ Reading::Unknown(_)) => *known = unknown,
        }
        self.aggregates = aggregates;
        self.cluster_tiers = cluster_tiers;
        self.units = units;
    }
}

/// The account databases, and what the host's own settings say about new accounts.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Accounts {
    /// By name.
    pub by_name: BTreeMap<String, Box<Account>>,
    /// Gid of each local group, by name.
    pub groups: BTreeMap<String, u32>,
    /// Every subordinate uid range that is taken.
    pub subuids: Vec<IdRange>,
    /// Every subordinate gid range that is taken.
    pub subgids: Vec<IdRange>,
    /// Names of those asked about that a name service knows and the local files do not, with their uid.
    pub foreign: BTreeMap<String, u32>,
    /// Uids of the range that a name service has and the local files have not, as far as asked.
    pub foreign_uids: BTreeSet<u32>,
    /// What login.defs and useradd's defaults say.
    pub defaults: Defaults,
    /// Those of the shells asked about that are installed.
    pub shells: BTreeSet<String>,
    /// What bears on root beside all that.
    pub root: Sources,
    /// What stands in the way beside all that.
    pub hindrances: Hindrances,
    /// Names without an account under which there are lines of one, of those asked about.
    pub remains: BTreeSet<String>,
}

/// One local account.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Account {
    /// Its uid.
    pub uid: u32,
    /// Its primary gid.
    pub gid: u32,
    /// Its home directory.
    pub home: String,
    /// Its login shell.
    pub shell: String,
    /// Whether a password opens it.
    pub password: Password,
    /// Whether the account has expired by `shadow(5)`, as the day it did.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expires: Option<i64>,
    /// Supplementary groups, by group and gshadow alike.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub groups: BTreeSet<String>,
    /// Those of them that only one of group and gshadow lists, where gshadow has the group: what is left when the
    /// machine goes down between the two files, or when somebody edits one of them.
    pub half_groups: BTreeSet<String>,
    /// Its subordinate uids.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub subuid: Option<IdRange>,
    /// Its subordinate gids.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub subgid: Option<IdRange>,
    /// Its further subordinate ranges, by its name or by its uid.
    #[serde(default, skip_serializing_if = "MoreRanges::is_empty")]
    pub more: MoreRanges,
    /// Whether a rename of this account was begun and not finished: the name it still has beside this one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub renaming_from: Option<String>,
}

/// A password field, without what is in it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Password {
    /// Begins with `!` or `*`: no password opens it.
    Locked,
    /// A hash, or empty: something opens it.
    Usable,
}

/// Ranges and places for new accounts.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Defaults {
    /// UID_MIN and UID_MAX.
    pub uids: (u32, u32),
    /// GID_MIN and GID_MAX.
    pub gids: (u32, u32),
    /// SUB_UID_MIN, SUB_UID_MAX and SUB_UID_COUNT; no count, no ranges.
    pub subuids: (u32, u32, u32),
    /// SUB_GID_MIN, SUB_GID_MAX and SUB_GID_COUNT.
    pub subgids: (u32, u32, u32),
    /// Where homes are made.
    pub home_base: String,
}

impl Default for Defaults {
    fn default() -> Self {
        Self {
            uids: (1_000, 60_000),
            gids: (1_000, 60_000),
            subuids: (100_000, 600_100_000, 65_536),
            subgids: (100_000, 600_100_000, 65_536),
            home_base: "/home".to_owned(),
        }
    }
}

/// What belongs to one person outside the account databases.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Person {
    /// The home directory.
    pub home: Reading<Home>,
    /// Traces of a login; `None` when they were not asked for, as for nearly everybody.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub traces: Option<Box<Traces>>,
    /// What a removal keeps, or left; `None` when it was not asked for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub kept: Option<Box<RemovedAccount>>,
}

/// What there is of an account that was removed, or is being removed.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RemovedAccount {
    /// The home in quarantine, if it is there, and whole.
    pub quarantined: Reading<Option<HomeId>>,
    /// The home in quarantine whose removal for ever was begun: what is left of it is never put back.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub purging: Option<HomeId>,
    /// The archive of the home, if it is there and complete.
    pub archive: Reading<Option<ArchiveSeen>>,
    /// Whether any of the account databases still has something under the name although passwd has no such account.
    pub remnants: Reading<bool>,
}

/// An archive, as the digest beside it says.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ArchiveSeen {
    /// SHA-256 of the file.
    pub sha256: String,
    /// Its size.
    pub bytes: u64,
}

/// A home directory.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Home {
    /// Nothing there.
    Absent,
    /// A directory of the account's own.
    Directory(HomeId),
    /// Something else: a link, another's, a file.
    Odd(String),
}

/// What a login leaves behind.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Traces {
    /// Whether user services outlive the session.
    pub linger: Reading<bool>,
    /// Whether there are authorized keys.
    pub keys: Reading<bool>,
    /// Whether there is a crontab.
    pub crontab: Reading<bool>,
    /// Processes that run under the uid. Written down as whether there are any: how many is nobody's business.
    #[serde(with = "some_or_none")]
    pub processes: Reading<usize>,
    /// Whether a login that a cut saved has not been put back in full.
    pub login_saved: Reading<bool>,
}

/// The state of units.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Units {
    /// Whether a service manager runs, or only its files are there (an image, a container).
    pub manager: Manager,
    /// By full unit name.
    pub by_name: BTreeMap<String, UnitState>,
    /// Templates that exist, such as `t3-serve@.service`.
    pub templates: BTreeSet<String>,
}

/// Whether units can run.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Manager {
    /// systemd answers.
    Running,
    /// Only files: units can be enabled, not started.
    #[default]
    Files,
}

/// One unit.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct UnitState {
    /// Started at boot.
    pub enabled: bool,
    /// Running, or on its way up.
    pub active: bool,
    /// Gave up.
    pub failed: bool,
}

/// A count that is kept as 0 or 1.
mod some_or_none {
    use serde::{Deserialize as _, Deserializer, Serialize as _, Serializer};

    use super::Reading;

    pub(super) fn serialize<S: Serializer>(
        count: &Reading<usize>,
        to: S,
    ) -> Result<S::Ok, S::Error> {
        match count {
            Reading::Known(count) => Reading::Known(*count > 0),
            Reading::Unknown(why) => Reading::Unknown(why.clone()),
        }
        .serialize(to)
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(
        from: D,
    ) -> Result<Reading<usize>, D::Error> {
        Ok(match Reading::<bool>::deserialize(from)? {
            Reading::Known(some) => Reading::Known(usize::from(some)),
            Reading::Unknown(why) => Reading::Unknown(why),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn account(uid: u32) -> Account {
        Account {
            more: Default::default(),
            uid,
            gid: uid,
            home: String::new(),
            shell: String::new(),
            password: Password::Locked,
            expires: None,
            groups: BTreeSet::new(),
            half_groups: BTreeSet::new(),
            subuid: None,
            subgid: None,
            renaming_from: None,
        }
    }

    fn observed(accounts: &[(&str, u32)]) -> Observed {
        let by_name = accounts
            .iter()
            .map(|(name, uid)| ((*name).to_owned(), Box::new(account(*uid))));
        Observed {
            accounts: Reading::Known(Accounts {
                by_name: by_name.collect(),
                ..Accounts::default()
            }),
            people: BTreeMap::new(),
            environments: Reading::Known(BTreeMap::new()),
            aggregates: BTreeMap::new(),
            cluster_tiers: None,
            units: Reading::Known(Units::default()),
        }
    }

    #[test]
    fn a_later_look_at_some_leaves_the_others_as_they_were_seen() {
        let question = Question {
            people: ["ann", "emo"].map(|user| (user, Subject::default())).into(),
            ..Question::default()
        };
        let mut known = observed(&[("ann", 1), ("bob", 2)]);
        known.renew(&question, observed(&[("emo", 3), ("eve", 4)]));
        assert_eq!(known, observed(&[("bob", 2), ("emo", 3)]));

        let mut nothing = observed(&[]);
        nothing.accounts = Reading::Unknown("locked".to_owned());
        let mut unknown = nothing.clone();
        unknown.renew(&question, observed(&[("emo", 3)]));
        assert_eq!(unknown, nothing, "a few accounts are not all of them");
        known.renew(&question, nothing.clone());
        assert_eq!(known, nothing);
    }
}
