//! Two questions about root, never mixed, and each answered here alone:
//!
//! - [`Roots::may_become_root`] decides class and quorum, and errs towards yes.
//! - [`Admins::surely_can`] decides the minimum of admins, and errs towards no.
//!
//! | | may become root | surely can |
//! |---|---|---|
//! | uid 0, or a uid shared with somebody who may | yes | not counted: root itself is no admin |
//! | primary group, supplementary group or administrator (gshadow) of a privileged group | yes | no |
//! | mentioned in sudoers | yes | by a rule that is understood ([`super::sudoers`]) |
//! | login shut, expired, no password | yes, still | no |
//! | sudoers is not there | as above | member of `sudo`, `wheel` or `admin` who can sign in, whatever the password: how a host without sudo, or a directory that stands for one, was counted before sudoers was read |
//! | sudoers or an include of it cannot be read | nobody for that alone; the plan says so | not known: whoever is in such a group counts ([`Admins::unread`]) |
//!
//! A group is privileged by its name (the host's settings, which always hold [`super::policy::ROOT_EQUIVALENT_GROUPS`]), by a static
//! gid below 100, by having the gid of such a group, and when sudoers mentions it.

use std::cell::OnceCell;
use std::collections::{BTreeMap, BTreeSet};

use super::action::Action;
use super::facts::{Known, PersonFacts};
use super::observed::{Account, Accounts, Password};
use super::policy::{Aggregate, Policy};
use super::sudoers::{Asked, RuleEffect, Sudoers};
use super::verbs::Verb;
use crate::reading::Reading;

/// What a host has that bears on root, beside its accounts and groups.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Sources {
    /// Administrators of groups, which gshadow has: whoever is one can make themself a member.
    pub administrators: BTreeMap<String, BTreeSet<String>>,
    /// Names that group or gshadow list as members and that have no account: an account of that name is a member at once.
    pub awaited: BTreeMap<String, BTreeSet<String>>,
    /// What sudoers says; `None` where there is none.
    pub sudoers: Reading<Option<Sudoers>>,
}

impl Default for Sources {
    fn default() -> Self {
        Self {
            administrators: BTreeMap::new(),
            awaited: BTreeMap::new(),
            sudoers: Reading::Known(None),
        }
    }
}

impl Sources {
    fn sudoers(&self) -> Option<&Sudoers> {
        self.sudoers.known()?.as_ref()
    }

    /// What of sudoers could not be read, and why: part and reason.
    pub fn unread(&self) -> Vec<(&'static str, &str)> {
        match &self.sudoers {
            Reading::Unknown(why) => vec![("sudoers", why.as_str())],
            Reading::Known(None) => Vec::new(),
            Reading::Known(Some(sudoers)) => {
                let parts = sudoers.unread.iter();
                parts
                    .map(|why| ("a part of sudoers", why.as_str()))
                    .collect()
            }
        }
    }
}

/// What a step has to do with root.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RootEffect {
    /// It is about nobody who may become root, before it or after it.
    Apart,
    /// It is about somebody who may become root, before it or after it: it takes the quorum of admins.
    Touches,
    /// It also puts root into somebody's hands: it is privileged whatever else it is.
    Makes,
}

/// Somebody who is, or would be, on a host.
#[derive(Clone, Copy, Debug)]
pub struct Candidate<'c> {
    /// The name.
    pub name: &'c str,
    /// The uid.
    pub uid: u32,
    /// The gid of the primary group.
    pub gid: u32,
    /// Supplementary groups: those there are, and those that come back.
    pub groups: [&'c BTreeSet<String>; 2],
    /// Whether the primary group is, or is going to be, one of the person's own name.
    pub private_group: bool,
    /// Whether muster began to make the account and was interrupted: the lists that already have the name may then be its own
    /// work, and what they give was asked about when that began.
    pub begun: bool,
}

impl<'c> Candidate<'c> {
    fn account(name: &'c str, account: &'c Account) -> Self {
        Self {
            name,
            uid: account.uid,
            gid: account.gid,
            groups: [&account.groups, &NO_GROUPS],
            private_group: false,
            begun: false,
        }
    }
}

static NO_GROUPS: BTreeSet<String> = BTreeSet::new();

/// What some names look like: a bit for each length and first letter. Most other names are told from them by that alone, and only
/// the rest is compared: each new person's own group is asked about (`tests/bench/bench plan`). Case does not count, as groups that
/// sudoers mentions are compared without it.
#[derive(Debug)]
struct Likeness(u128);

impl Likeness {
    fn of<'n>(names: impl Iterator<Item = &'n str>) -> Self {
        Self(names.fold(0, |all, name| all | Self::bit(name)))
    }

    /// Whether `name` may be one of them, which has to be looked up. If not, it is none of them.
    fn may_have(&self, name: &str) -> bool {
        self.0 & Self::bit(name) != 0
    }

    fn bit(name: &str) -> u128 {
        let first = name.bytes().next().unwrap_or_default();
        1 << ((usize::from(first.to_ascii_lowercase()) + 7 * name.len()) % 128)
    }
}

/// Who may become root on one host.
#[derive(Debug)]
pub struct Roots<'a> {
    policy: &'a Policy,
    accounts: &'a Accounts,
    /// The gids of groups that are privileged by name, and those that sudoers mentions.
    gids: BTreeSet<u32>,
    /// The groups that are privileged by their gid.
    by_gid: BTreeSet<&'a str>,
    /// What the names of all privileged groups look like.
    names: Likeness,
    /// The uids of those who may become root by themselves; worked out when somebody asks.
    uids: OnceCell<BTreeSet<u32>>,
}

impl<'a> Roots<'a> {
    /// Of the host that `policy` binds, as its accounts were read.
    pub fn new(policy: &'a Policy, accounts: &'a Accounts) -> Self {
        let sudoers = accounts.root.sudoers();
        let named = || {
            let mentioned = sudoers.into_iter().flat_map(|it| &it.mentioned.groups);
            policy.privileged_groups.iter().chain(mentioned)
        };
        let mut gids: BTreeSet<u32> = named()
            .filter_map(|group| accounts.groups.get(group).copied())
            .collect();
        gids.extend(sudoers.into_iter().flat_map(|it| &it.mentioned.gids));
        let by_gid = accounts.groups.iter();
        let by_gid = by_gid.filter(|(_, gid)| is_privileged_gid(**gid, &gids));
        let by_gid: BTreeSet<&str> = by_gid.map(|(name, _)| name.as_str()).collect();
        let names = named().map(String::as_str).chain(by_gid.iter().copied());
        Self {
            policy,
            accounts,
            names: Likeness::of(names),
            by_gid,
            gids,
            uids: OnceCell::new(),
        }
    }

    /// Whether whoever is in a group may become root.
    pub fn is_privileged_group(&self, group: &str, gid: Option<u32>) -> bool {
        if let Some(gid) = gid
            && self.is_privileged_gid(gid)
        {
            return true;
        }
        let by_gid = || gid.is_none() && self.by_gid.contains(group);
        self.names.may_have(group) && (by_gid() || self.is_privileged_name(group))
    }

    fn is_privileged_name(&self, group: &str) -> bool {
        let sudoers = self.accounts.root.sudoers();
        self.policy.is_privileged_group(group)
            || sudoers.is_some_and(|it| it.mentioned.groups.contains(&group.to_ascii_lowercase()))
    }

    fn is_privileged_gid(&self, gid: u32) -> bool {
        is_privileged_gid(gid, &self.gids)
    }

    /// **Whether somebody may become root**: see the table above. Errs towards yes.
    pub fn may_become_root(&self, who: &Candidate<'_>) -> bool {
        self.has_grounds(who) || self.uids().contains(&who.uid)
    }

    fn uids(&self) -> &BTreeSet<u32> {
        self.uids.get_or_init(|| {
            let accounts = self.accounts.by_name.iter();
            let roots = accounts
                .filter(|(name, account)| self.has_grounds(&Candidate::account(name, account)));
            roots.map(|(_, account)| account.uid).collect()
        })
    }

    /// Whether somebody may become root by themself, not by sharing a uid.
    fn has_grounds(&self, who: &Candidate<'_>) -> bool {
        let Candidate {
            name,
            uid,
            gid,
            groups,
            private_group,
            begun,
        } = *who;
        let Sources {
            administrators,
            awaited,
            sudoers: _,
        } = &self.accounts.root;
        let privileged = |group: &str| self.is_privileged_group(group, None);
        uid == 0
            || self.is_privileged_gid(gid)
            || groups.into_iter().flatten().any(|it| privileged(it))
            || (private_group && privileged(name))
            || listing(name, administrators).any(privileged)
            || (!begun && listing(name, awaited).any(privileged))
            || self.accounts.root.sudoers().is_some_and(|sudoers| {
                // Groups that are mentioned are privileged, and were asked about above.
                sudoers.mentions(&Asked {
                    name,
                    uid,
                    gids: &[gid],
                    groups: &[],
                })
            })
    }

    /// Whether the account of that name may become root, if there is one.
    pub fn account_may(&self, name: &str) -> bool {
        let account = self.accounts.by_name.get(name);
        account.is_some_and(|it| self.may_become_root(&Candidate::account(name, it)))
    }

    /// Whether somebody whom muster keeps may become root: by the account, or by what they had and may have again.
    pub fn person_may(&self, name: &str, facts: Option<&PersonFacts>) -> bool {
        self.account_may(name)
            || facts.is_some_and(|person| {
                self.may_become_root(&Candidate {
                    name,
                    uid: person.uid,
                    gid: person.gid,
                    groups: [&person.given, &person.aside.groups],
                    private_group: false,
                    begun: false,
                })
            })
    }

    /// Whether an account that is only now made may become root at once: it gets a private group of its name.
    pub fn newcomer_would(&self, name: &str, uid: u32, gid: u32, begun: bool) -> bool {
        self.may_become_root(&Candidate {
            name,
            uid,
            gid,
            groups: [&NO_GROUPS; 2],
            private_group: true,
            begun,
        })
    }

    /// Whether an account would be one that may become root under another name; its private group is renamed with it.
    fn renamed_would(&self, account: &Account, name: &str) -> bool {
        self.may_become_root(&Candidate {
            private_group: true,
            ..Candidate::account(name, account)
        })
    }

    /// What a step has to do with root; `known` is whom muster keeps.
    ///
    /// No wildcard: a new action does not compile until it is said here.
    pub fn of_step(&self, action: &Action, known: &Known) -> RootEffect {
        let user = action.user();
        let may = |name: &str| self.person_may(name, known.people.get(name).map(Box::as_ref));
        let touches = |yes: bool| {
            if yes {
                RootEffect::Touches
            } else {
                RootEffect::Apart
            }
        };
        let makes =
            |yes: bool, otherwise: RootEffect| if yes { RootEffect::Makes } else { otherwise };
        match action {
            Action::CreateAccount { uid, gid, .. } => {
                let begun = known.begun.contains_key(user);
                makes(
                    self.newcomer_would(user, *uid, *gid, begun),
                    touches(may(user)),
                )
            }
            Action::RestoreAccount {
                uid,
                gid,
                root_equivalent,
                ..
            } => makes(
                *root_equivalent || self.newcomer_would(user, *uid, *gid, false),
                touches(may(user)),
            ),
            // Whoever may become root under the old name counts under the new one, too: the account goes along.
            Action::RenameAccount { from, .. } => {
                let account = self.accounts.by_name.get(from);
                let would = account.is_some_and(|it| self.renamed_would(it, user));
                makes(would || may(from) || may(user), RootEffect::Apart)
            }
            // Root changes hands with the account.
            Action::AdoptAccount { .. } | Action::ChangeIdentity { .. } => {
                makes(may(user), RootEffect::Apart)
            }
            Action::ChangeUid { to, .. } => makes(
                may(user) || *to == 0 || self.uids().contains(to),
                RootEffect::Apart,
            ),
            Action::JoinGroup { group, gid, .. } => makes(
                self.is_privileged_group(group, Some(*gid)),
                touches(may(user)),
            ),
            Action::LeaveGroup { group, .. } => {
                touches(self.is_privileged_group(group, None) || may(user))
            }
            Action::Entry { file, .. } => touches(*file == Aggregate::Admins || may(user)),
            Action::Cut {
                root_equivalent, ..
            }
            | Action::Disable {
                root_equivalent, ..
            }
            | Action::Enable {
                root_equivalent, ..
            }
            | Action::RestorePassword {
                root_equivalent, ..
            }
            | Action::Return {
                root_equivalent, ..
            } => touches(*root_equivalent || may(user)),
            Action::SetShell { .. }
            | Action::LockPassword { .. }
            | Action::AssignPorts { .. }
            | Action::Park { .. }
            | Action::Unpark { .. }
            | Action::GiveNotice { .. }
            | Action::LockLogin { .. }
            | Action::UnlockLogin { .. }
            | Action::Trace { .. }
            | Action::EndSessions { .. }
            | Action::CreateHome { .. }
            | Action::WriteEnvironment { .. }
            | Action::Unit { .. }
            | Action::ArchiveDelete { .. }
            | Action::RecordArchive { .. }
            | Action::RestoreHome { .. }
            | Action::ClearRemains { .. }
            | Action::PurgeHome { .. } => touches(may(user)),
        }
    }
}

/// Whether a group of this gid is privileged, where those of `gids` are. Debian's statically allocated groups (below 100) guard devices
/// and logs: none is ordinary.
fn is_privileged_gid(gid: u32, gids: &BTreeSet<u32>) -> bool {
    gid < 100 || gids.contains(&gid)
}

/// The groups whose list has the name.
fn listing<'l>(
    name: &'l str,
    lists: &'l BTreeMap<String, BTreeSet<String>>,
) -> impl Iterator<Item = &'l str> {
    let lists = lists.iter().filter(move |(_, names)| names.contains(name));
    lists.map(|(group, _)| group.as_str())
}

/// Whether the administrator of a host declared a step of this kind benign although it puts root into somebody's hands:
/// only joining a group, which is about nothing else.
pub fn may_be_declared(verb: Verb) -> bool {
    verb == Verb::GroupJoin
}

/// Groups by which `sudo` gives root where no sudoers says so.
const ADMIN_GROUPS: [&str; 3] = ["sudo", "wheel", "admin"];

/// Who surely can become root on one host.
#[derive(Debug)]
pub struct Admins<'a> {
    accounts: &'a Accounts,
    nologin: &'a str,
    today: i64,
    /// Why it is not known what sudoers says, if it is not.
    unread: Option<String>,
    /// The groups that sudoers mentions, by gid.
    groups: BTreeMap<u32, &'a str>,
}

impl<'a> Admins<'a> {
    /// Of a host as its accounts were read; `nologin` is the shell of who was cut, `today` is counted from 1970-01-01.
    pub fn new(accounts: &'a Accounts, nologin: &'a str, today: i64) -> Self {
        let unread = accounts.root.unread();
        let mentioned = accounts.root.sudoers().into_iter();
        let groups = mentioned
            .flat_map(|it| &it.mentioned.groups)
            .filter_map(|group| Some((*accounts.groups.get(group)?, group.as_str())));
        Self {
            accounts,
            nologin,
            today,
            unread: unread
                .first()
                .map(|(part, why)| format!("{part} could not be read: {why}")),
            groups: groups.collect(),
        }
    }

    /// Why it is not known what sudoers says, if it is not: then whoever is in an admin group is taken for one who could,
    /// so that none of them is taken away.
    pub fn unread(&self) -> Option<&str> {
        self.unread.as_deref()
    }

    /// **Whether an account surely can become root**: it signs in, and sudo lets it, by a rule that is understood, with a
    /// usable password or without one. Errs towards no.
    pub fn surely_can(&self, name: &str, account: &Account) -> bool {
        let Self {
            accounts,
            nologin,
            today,
            unread,
            groups,
        } = self;
        let signs_in = account.uid != 0
            && account.expires.is_none_or(|last| last > *today)
            && is_real_shell(&account.shell, nologin);
        if !signs_in {
            return false;
        }
        let sudoers = match accounts.root.sudoers() {
            Some(sudoers) if unread.is_none() => sudoers,
            Some(_) | None => return ADMIN_GROUPS.iter().any(|it| account.groups.contains(*it)),
        };
        let primary = groups.get(&account.gid).copied();
        let named: Vec<&str> = account
            .groups
            .iter()
            .map(String::as_str)
            .chain(primary)
            .collect();
        let gids = named
            .iter()
            .filter_map(|it| accounts.groups.get(*it).copied());
        let gids: Vec<u32> = gids.chain([account.gid]).collect();
        let asked = Asked {
            name,
            uid: account.uid,
            gids: &gids,
            groups: &named,
        };
        match sudoers.grants(&asked) {
            Some(RuleEffect::WithoutPassword) => true,
            Some(RuleEffect::WithPassword) => {
                account.password == Password::Usable && !sudoers.asks_anothers_password
            }
            Some(RuleEffect::Void) | None => false,
        }
    }
}

/// Whether a login shell lets somebody in. An empty one means `/bin/sh`.
fn is_real_shell(shell: &str, nologin: &str) -> bool {
    let program = shell.rsplit('/').next().unwrap_or_default();
    shell != nologin
        && !matches!(
            program,
            "nologin" | "false" | "true" | "sync" | "halt" | "shutdown"
        )
}
