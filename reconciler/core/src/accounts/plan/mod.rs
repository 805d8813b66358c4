//! Drafts the steps, person by person.

mod converge;
mod cut;
mod disable;
mod entries;
mod instance;
mod remains;
mod restore;

use crate::accounts::refusal::{Refusal, UidRefused};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::action::{Action, Direction, HomeSource, Incarnation};
use super::blocked::Blocked;
use super::desired::{Desired, Wanted};
use super::facts::{AccountIds, Known, PersonFacts};
use super::hindrances::Hindrances;
use super::ids::{Ids, PortTable, not_for_accounts};
use super::note::{ACCOUNT_DATABASES, Note};
use super::observed::{Account, Accounts, Observed, Password, Person};
use super::own_groups::OwnGroups;
use super::policy::{Aggregate, Policy};
use super::price::{Context, Occasion, price};
use super::root::{Candidate, Roots};
use crate::compat::{Compared, compare};
use crate::id::StepId;
use crate::merge_join::MergeJoin;
use crate::people::Stage;
use crate::reading::Reading;
use crate::sheet::{Hold, Sheet};
use crate::time::Date;

/// Everything that a plan about accounts depends on.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Input<'a> {
    /// What the host's administrator decided.
    pub(crate) policy: &'a Policy,
    /// Today, in UTC.
    pub(crate) today: Date,
    /// What the commit asks for.
    pub(crate) desired: &'a Desired,
    /// What was read on the host.
    pub(crate) observed: &'a Observed,
    /// Whom muster keeps here.
    pub(crate) known: &'a Known,
}

/// Everything that is gathered while people are gone through.
struct Draft<'a, 's> {
    input: &'a Input<'a>,
    sheet: &'s mut Sheet<'a, Action, Incarnation, Blocked>,
    accounts: &'a Accounts,
    roots: &'s Roots<'a>,
    own_groups: OwnGroups,
    /// The uids of accounts that no step may touch: whoever shares one is the same.
    protected_uids: BTreeSet<u32>,
    /// People, accounts, homes, groups and files, for those who are gone through in the order of their names.
    known: MergeJoin<'a, Box<PersonFacts>>,
    by_name: MergeJoin<'a, Box<Account>>,
    seen: MergeJoin<'a, Person>,
    found_environments: Option<MergeJoin<'a, String>>,
    ids: Option<Ids>,
    moved_homes: Option<BTreeMap<String, String>>,
    groups: MergeJoin<'a, u32>,
    /// Groups by gid and name.
    groups_by_gid: Option<Vec<(u32, &'a str)>>,
    ports: PortTable,
    notes: Vec<Note>,
    first_ports: BTreeMap<String, u16>,
    /// Entries wanted in the aggregate files: whose, and the steps they build on.
    /// By file and key; nothing of an entry that is there as it is wanted.
    entries: BTreeMap<Aggregate, BTreeMap<String, Option<WantedEntry>>>,
    missing_groups: BTreeMap<String, Vec<String>>,
    /// For each name that somebody had before: under which they are kept now.
    renamed: BTreeMap<&'a str, &'a str>,
    /// The steps that cut or disable somebody in this plan, by person.
    cuts: BTreeMap<String, StepId>,
    /// Whose account this plan takes over.
    adopting: BTreeSet<String>,
    /// Whose login is shut because their date has come.
    expired: BTreeSet<String>,
    /// Whose row is disabled and who has no account.
    not_made: Vec<String>,
}

struct WantedEntry {
    user: String,
    value: String,
    anchor: Anchor,
}

/// What a person's further steps stand on: which account, and which steps come first.
#[derive(Clone)]
struct Anchor {
    incarnation: Incarnation,
    needs: Vec<StepId>,
}

/// The uids of root and of the accounts that the settings protect.
fn protected_uids(policy: &Policy, accounts: &Accounts) -> BTreeSet<u32> {
    let names = policy.protected.iter().map(String::as_str).chain(["root"]);
    let found = names.filter_map(|name| accounts.by_name.get(name));
    found.map(|it| it.uid).chain([0]).collect()
}

/// Drafts the steps of one host; gives what is to be said beside them, and each person's first port.
pub(crate) fn draft<'a>(
    input: &'a Input<'a>,
    sheet: &mut Sheet<'a, Action, Incarnation, Blocked>,
) -> (Vec<Note>, BTreeMap<String, u16>) {
    let accounts = match &input.observed.accounts {
        Reading::Known(accounts) => accounts,
        Reading::Unknown(why) => {
            // Whoever cannot be seen can be neither made nor cut.
            let unread = Note::Unread {
                part: ACCOUNT_DATABASES.to_owned(),
                why: why.clone(),
            };
            return (vec![unread], BTreeMap::new());
        }
    };
    let roots = Roots::new(input.policy, accounts);
    let mut draft = Draft {
        input,
        sheet,
        accounts,
        roots: &roots,
        own_groups: OwnGroups::default(),
        protected_uids: protected_uids(input.policy, accounts),
        known: MergeJoin::new(&input.known.people),
        by_name: MergeJoin::new(&accounts.by_name),
        seen: MergeJoin::new(&input.observed.people),
        found_environments: input.observed.environments.known().map(MergeJoin::new),
        ids: None,
        moved_homes: None,
        groups: MergeJoin::new(&accounts.groups),
        groups_by_gid: None,
        ports: PortTable::new(input.policy, input.known, input.observed),
        notes: Vec::new(),
        first_ports: BTreeMap::new(),
        entries: BTreeMap::new(),
        missing_groups: BTreeMap::new(),
        renamed: remains::renamed(&input.known.people),
        cuts: BTreeMap::new(),
        adopting: BTreeSet::new(),
        expired: BTreeSet::new(),
        not_made: Vec::new(),
    };
    draft.note_unread_parts();
    let half = draft.finish_renames();
    let mut kept: Vec<&str> = Vec::with_capacity(input.desired.people.len());
    kept.extend(half.keys());
    for (user, wanted) in &input.desired.people {
        let names = std::iter::once(user.as_str()).chain(wanted.previously.as_deref());
        let is_half = |name: &str| half.iter().any(|(old, new)| [*old, *new].contains(&name));
        if !half.is_empty() && names.into_iter().any(is_half) {
            continue;
        }
        if let Some(under) = draft.keep(user, wanted, &half) {
            kept.push(under);
        }
    }
    kept.sort_unstable();
    draft.cut_whoever_left(&kept);
    draft.attend_archived();
    draft.clear_remains(&half);
    draft.plan_entries();
    let missing = std::mem::take(&mut draft.missing_groups);
    let missing = missing
        .into_iter()
        .map(|(group, users)| Note::NoSuchGroup { group, users });
    draft.notes.extend(missing);
    if !draft.not_made.is_empty() {
        let users = std::mem::take(&mut draft.not_made);
        draft.notes.push(Note::NotMade { users });
    }
    (draft.notes, draft.first_ports)
}

impl<'a> Draft<'a, '_> {
    fn push(&mut self, action: Action, anchor: &Anchor) -> StepId {
        self.push_blocked(action, anchor, None)
    }

    fn push_blocked(
        &mut self,
        action: Action,
        anchor: &Anchor,
        blocked: Option<Blocked>,
    ) -> StepId {
        self.push_whole(action, anchor, blocked.map(Hold::Lacks), None)
    }

    /// Every step passes here: it gets its price, and a name that no step may touch holds it.
    fn push_whole(
        &mut self,
        action: Action,
        anchor: &Anchor,
        hold: Option<Hold<Blocked>>,
        content: Option<Arc<str>>,
    ) -> StepId {
        let Input { policy, known, .. } = *self.input;
        let context = Context {
            policy,
            roots: Some(self.roots),
            known,
            occasion: Occasion {
                adopting: self.adopting.contains(action.user()),
                expired: self.expired.contains(action.user()),
            },
        };
        let price = price(&action, &context);
        let hold = self.protected(&action).or(hold);
        let (incarnation, needs) = (anchor.incarnation.clone(), anchor.needs.clone());
        self.sheet
            .draft(action, incarnation, price, needs, hold, content)
    }

    /// What stands against touching a protected account, under every name that it has (F4).
    fn protected(&self, action: &Action) -> Option<Hold<Blocked>> {
        let policy = self.input.policy;
        let mut names = std::iter::once(action.user()).chain(action.former_name());
        names.find_map(|name| {
            let account = self.accounts.by_name.get(name);
            if policy.is_protected(name) {
                Some(Hold::Protected(name.to_owned()))
            } else if account.is_some_and(|it| self.protected_uids.contains(&it.uid)) {
                Some(Hold::SharesProtected(name.to_owned()))
            } else {
                None
            }
        })
    }

    fn refuse(&mut self, user: &str, why: Refusal) {
        self.notes.push(Note::Refused {
            user: user.to_owned(),
            why,
        });
    }

    fn note_unread_parts(&mut self) {
        let observed = self.input.observed;
        for (part, why) in [
            (
                "environment files",
                self.input
                    .policy
                    .environment
                    .then_some(&observed.environments)
                    .and_then(unread),
            ),
            (
                "units",
                self.input
                    .policy
                    .runs_instances()
                    .then_some(&observed.units)
                    .and_then(unread),
            ),
        ] {
            if let Some(why) = why {
                self.notes.push(Note::Unread {
                    part: part.to_owned(),
                    why: why.to_owned(),
                });
            }
        }
        if let Some(why) = observed.cluster_tiers.as_ref().and_then(unread) {
            self.notes.push(Note::Unread {
                part: "k8s_users".to_owned(),
                why: why.to_owned(),
            });
        }
        for (part, why) in self.accounts.root.unread() {
            self.notes.push(Note::Unread {
                part: part.to_owned(),
                why: why.to_owned(),
            });
        }
        let Hindrances {
            newcomers, silent, ..
        } = &self.accounts.hindrances;
        for (part, why) in [
            ("what new accounts need", newcomers),
            ("who else knows names and ids", silent),
        ] {
            if let Some(why) = why {
                self.notes.push(Note::Unread {
                    part: part.to_owned(),
                    why: why.clone(),
                });
            }
        }
        for file in &self.input.policy.aggregates {
            if let Some(why) = observed.aggregates.get(file).and_then(unread) {
                self.notes.push(Note::Unread {
                    part: format!("the {} file", file.word()),
                    why: why.to_owned(),
                });
            }
        }
    }

    /// Plans for somebody the roster asks for; returns the name under which they are kept here today. Who is in `half`, the
    /// renames that are brought to their end, has nothing else planned.
    fn keep(
        &mut self,
        user: &'a str,
        wanted: &'a Wanted,
        half: &BTreeMap<&'a str, &'a str>,
    ) -> Option<&'a str> {
        let people = &self.input.known.people;
        if let Some((days, contact)) = &wanted.expiring {
            self.notes.push(Note::Expiring {
                user: user.to_owned(),
                days: *days,
                contact: contact.clone(),
            });
        }
        // Whoever is to be kept out is, whatever the cluster says of them.
        if wanted.disabled.is_none() && self.differs_from_cluster(user, wanted) {
            // Left as they are until somebody says which of the two is right.
            let previously = wanted.previously.as_deref().unwrap_or_default();
            let kept = people
                .get_key_value(user)
                .or_else(|| people.get_key_value(previously));
            return kept.map(|(name, person)| {
                self.keep_entries_of(name, person);
                name.as_str()
            });
        }
        if let Some(person) = self.known.get(user) {
            self.keep_known(user, wanted, person);
            return Some(user);
        }
        let before = wanted
            .previously
            .as_deref()
            .and_then(|old| people.get_key_value(old));
        let before = before.map(|(old, person)| (old, &**person));
        if let Some((old, person)) = before
            .filter(|(_, it)| !matches!(it.stage, Stage::Archived | Stage::Deleted))
            .or_else(|| self.renamed_since(user, wanted))
        {
            if half.contains_key(old.as_str()) {
                return Some(old);
            }
            self.rename(old, user, wanted, person);
            return Some(old);
        }
        self.welcome(user, wanted);
        Some(user)
    }

    /// Whether the cluster has another tier for a person; says so, and says when it has none yet (R10, R11).
    fn differs_from_cluster(&mut self, user: &str, wanted: &Wanted) -> bool {
        let Some(Reading::Known(tiers)) = &self.input.observed.cluster_tiers else {
            return false;
        };
        match compare(wanted.tier, &wanted.k8s_user, tiers) {
            Compared::Same => false,
            Compared::Absent(what) => {
                self.notes.push(Note::ClusterPending {
                    user: user.to_owned(),
                    what,
                });
                false
            }
            Compared::Differs(what) => {
                self.refuse(user, Refusal::OtherTier(what));
                true
            }
        }
    }

    fn rename(&mut self, old: &'a str, user: &str, wanted: &Wanted, person: &PersonFacts) {
        let incarnation = Incarnation::Account {
            uid: person.uid,
            entry: person.entry,
        };
        let anchor = Anchor {
            incarnation,
            needs: Vec::new(),
        };
        let action = Action::RenameAccount {
            from: old.to_owned(),
            user: user.to_owned(),
            uid: person.uid,
        };
        match self.by_name.get(user) {
            None => match self.known_elsewhere(user) {
                Some(why) => self.refuse(user, why),
                None => {
                    self.push(action, &anchor);
                }
            },
            // A rename that was cut short stands between the names: it is brought to its end before anything else.
            Some(account) if account.uid == person.uid => {
                self.push(action, &anchor);
                return;
            }
            Some(account) => {
                let (old, uid) = (old.to_owned(), account.uid);
                self.refuse(user, Refusal::NewNameTaken { old, uid });
            }
        }
        // Until the rename is done the person goes on under the old name: a rename is never remove and add.
        self.keep_known(old, wanted, person);
    }

    /// Why nobody gets a name that has no account here: somebody else knows it, or nobody can tell (F23).
    fn known_elsewhere(&self, user: &str) -> Option<Refusal> {
        let hindrances = &self.accounts.hindrances;
        if let Some(why) = &hindrances.silent {
            return Some(Refusal::NameServicesSilent { why: why.clone() });
        }
        match self.accounts.foreign.get(user) {
            Some(uid) => Some(Refusal::KnownToNameService { uid: *uid }),
            None => hindrances.names.get(user).cloned().map(Refusal::NameKnown),
        }
    }

    /// What has a uid that no account has, if something does: what is called after the person may be theirs.
    fn has_uid_beside(&self, uid: u32, user: &str) -> Option<&'a str> {
        let places = self.accounts.hindrances.uids.get(&uid)?;
        let mut places = places.iter().map(String::as_str);
        places.find(|place| !place.starts_with('/') || place.rsplit('/').next() != Some(user))
    }

    /// Why a group keeps an account from being made with `gid` and a group of its own: one of that name has another gid, or one of
    /// another name has that gid. Where the primary group may be `shared`, the latter is what the account had.
    fn group_in_the_way(&mut self, user: &str, gid: u32, shared: bool) -> Option<Refusal> {
        let groups = &self.accounts.groups;
        // Each new person asks, and there may be a group for each of the others.
        let by_gid = self.groups_by_gid.get_or_insert_with(|| {
            let mut by_gid: Vec<(u32, &str)> = groups
                .iter()
                .map(|(name, gid)| (*gid, name.as_str()))
                .collect();
            by_gid.sort_unstable();
            by_gid
        });
        let first = by_gid.partition_point(|(it, _)| *it < gid);
        let mut of_the_gid = by_gid[first..].iter().take_while(|(it, _)| *it == gid);
        if let Some((_, name)) = of_the_gid.find(|(_, name)| *name != user) {
            let by = (*name).to_owned();
            return (!shared).then_some(Refusal::GidTaken { gid, by });
        }
        let found = self.groups.get(user).filter(|found| **found != gid)?;
        Some(Refusal::GroupOfThatName {
            group: user.to_owned(),
            gid: *found,
        })
    }

    /// Plans for somebody who was never here.
    fn welcome(&mut self, user: &str, wanted: &Wanted) {
        if let Some(why) = self.accounts.hindrances.lines.get(user) {
            return self.refuse(user, Refusal::Lines(why.clone()));
        }
        if let Some(account) = self.by_name.get(user) {
            match wanted.adopt {
                Some(uid) if uid == account.uid => self.adopt(user, wanted, account),
                Some(asked) => {
                    let found = account.uid;
                    self.refuse(user, Refusal::AdoptsOtherUid { asked, found });
                }
                None => self.refuse(user, Refusal::NotOurs { uid: account.uid }),
            }
            return;
        }
        if let Some(why) = &self.accounts.hindrances.newcomers {
            return self.refuse(user, Refusal::NoNewcomers { why: why.clone() });
        }
        if let Some(why) = self.known_elsewhere(user) {
            return self.refuse(user, why);
        }
        if let Some(asked) = wanted.adopt {
            return self.refuse(user, Refusal::AdoptsNobody { asked });
        }
        if let Some(uid) = wanted.uid
            && let Some(why) = self.uid_refused(uid, user)
        {
            return self.refuse(user, Refusal::AskedUid { uid, why });
        }
        if wanted.disabled.is_some() {
            self.not_made.push(user.to_owned());
            return;
        }
        self.create(user, wanted, None);
    }

    /// Why nobody new gets a uid that their row asks for, if there is a reason.
    fn uid_refused(&self, uid: u32, user: &str) -> Option<UidRefused> {
        let mut accounts = self.accounts.by_name.iter();
        let owner = accounts.find(|(_, it)| it.uid == uid).map(|(name, _)| name);
        let mut people = self.input.known.people.iter();
        let kept = || people.find(|(_, it)| it.uid == uid).map(|(name, _)| name);
        if let Some(name) = owner.or_else(kept) {
            return Some(UidRefused::Somebodys { name: name.clone() });
        }
        if self.accounts.foreign_uids.contains(&uid) {
            return Some(UidRefused::KnownToNameService);
        }
        if let Some(place) = self.has_uid_beside(uid, user) {
            return Some(UidRefused::Elsewhere {
                place: place.to_owned(),
            });
        }
        if let Some(why) = not_for_accounts(uid, self.accounts, self.input.known) {
            return Some(why);
        }
        let (first, last) = self.accounts.defaults.uids;
        (!(first..=last).contains(&uid)).then_some(UidRefused::OutOfBounds { first, last })
    }

    fn adopt(&mut self, user: &str, wanted: &Wanted, account: &Account) {
        // Whether it is a person's account is told by the same settings.
        if let Some(why) = &self.accounts.hindrances.newcomers {
            return self.refuse(user, Refusal::NoAdoptions { why: why.clone() });
        }
        let (first, last) = self.accounts.defaults.uids;
        if !(first..=last).contains(&account.uid) {
            return self.refuse(user, Refusal::SystemAccount { uid: account.uid });
        }
        if let Some((name, _)) = self
            .input
            .known
            .people
            .iter()
            .find(|(_, it)| it.uid == account.uid)
        {
            let (uid, by) = (account.uid, name.clone());
            return self.refuse(user, Refusal::AdoptedUidKnown { uid, by });
        }
        let anchor = Anchor {
            incarnation: Incarnation::Found { uid: account.uid },
            needs: Vec::new(),
        };
        let adopted = self.push(
            Action::AdoptAccount {
                user: user.to_owned(),
                uid: account.uid,
                gid: account.gid,
                home: account.home.clone(),
                authentik_user: wanted.authentik_user.clone(),
                k8s_user: wanted.k8s_user.clone(),
            },
            &anchor,
        );
        let anchor = Anchor {
            incarnation: Incarnation::Account {
                uid: account.uid,
                entry: adopted,
            },
            needs: vec![adopted],
        };
        self.adopting.insert(user.to_owned());
        if let Some(because) = wanted.disabled {
            return self.disable(user, wanted, because, Some(account), None, &anchor);
        }
        self.converge(user, wanted, account, None, &anchor);
    }

    /// Whose home is not called after them, by home: such a one is where somebody else's would be made.
    fn moved_homes(&mut self) -> &BTreeMap<String, String> {
        let (known, accounts) = (self.input.known, self.accounts);
        self.moved_homes.get_or_insert_with(|| {
            let base = accounts.defaults.home_base.as_str();
            let called = |home: &'a str| {
                let name = home.strip_prefix(base)?.strip_prefix('/')?;
                Some(name.trim_end_matches('/'))
            };
            let people = known.people.iter().map(|(name, it)| (name, &it.home));
            let accounts = accounts.by_name.iter().map(|(name, it)| (name, &it.home));
            accounts
                .chain(people)
                .filter_map(|(name, home)| Some((name, called(home)?)))
                .filter(|(name, called)| *name != called)
                .map(|(name, called)| (format!("{base}/{called}"), name.clone()))
                .collect()
        })
    }

    /// Creates an account; `before` is what the ledger knows of one that vanished behind our back.
    fn create(&mut self, user: &str, wanted: &Wanted, before: Option<&PersonFacts>) {
        let begun = self.input.known.begun.get(user).copied();
        let kept = before.map(|person| AccountIds {
            uid: person.uid,
            gid: person.gid,
            subuid: person.subuid,
            subgid: person.subgid,
        });
        let Input { desired, known, .. } = self.input;
        let accounts = self.accounts;
        let ids = match kept.or(begun.filter(|ids| wanted.uid.is_none_or(|uid| uid == ids.uid))) {
            Some(ids) => Ok(ids),
            None => self
                .ids
                .get_or_insert_with(|| {
                    let asked = desired.people.values().filter_map(|it| it.uid).collect();
                    Ids::new(accounts, known, &asked)
                })
                .take(wanted.uid),
        };
        let ids = match ids {
            Ok(ids) => ids,
            Err(why) => return self.refuse(user, Refusal::NoRoom(why)),
        };
        if self.clear_the_way(user, ids.gid) {
            return;
        }
        if let Some(why) = self.group_in_the_way(user, ids.gid, false) {
            return self.refuse(user, why);
        }
        let home = before.map_or_else(
            || [&self.accounts.defaults.home_base, "/", user].concat(),
            |person| person.home.clone(),
        );
        if before.is_none()
            && let Some(whose) = self.moved_homes().get(&home)
        {
            let of = whose.clone();
            return self.refuse(user, Refusal::HomeOfAnother { home, of });
        }
        let generation = before.map_or(0, |it| it.generation);
        let blocked = (!self.accounts.shells.contains(&wanted.grant.shell))
            .then(|| Blocked::NoShell(wanted.grant.shell.clone()));
        let anchor = Anchor {
            incarnation: Incarnation::New { generation },
            needs: Vec::new(),
        };
        let created = self.push_blocked(
            Action::CreateAccount {
                user: user.to_owned(),
                uid: ids.uid,
                gid: ids.gid,
                home: home.clone(),
                shell: wanted.grant.shell.clone(),
                subuid: ids.subuid,
                subgid: ids.subgid,
                authentik_user: wanted.authentik_user.clone(),
                k8s_user: wanted.k8s_user.clone(),
            },
            &anchor,
            blocked,
        );
        let anchor = Anchor {
            incarnation: Incarnation::Account {
                uid: ids.uid,
                entry: created,
            },
            needs: vec![created],
        };
        let account = Account {
            uid: ids.uid,
            gid: ids.gid,
            home,
            shell: wanted.grant.shell.clone(),
            password: Password::Locked,
            expires: None,
            groups: BTreeSet::new(),
            half_groups: BTreeSet::new(),
            subuid: ids.subuid,
            subgid: ids.subgid,
            more: Default::default(),
            renaming_from: None,
        };
        self.converge(user, wanted, &account, before, &anchor);
    }

    /// Plans for somebody the ledger knows.
    fn keep_known(&mut self, user: &str, wanted: &Wanted, person: &PersonFacts) {
        let same_identity =
            person.authentik_user == wanted.authentik_user && person.k8s_user == wanted.k8s_user;
        match person.stage {
            Stage::Archived | Stage::Deleted => {
                if wanted.disabled.is_some() {
                    return self.not_made.push(user.to_owned());
                }
                if same_identity {
                    return self.restore(user, wanted, person);
                }
                return self.refuse(user, Refusal::NameOfAnother);
            }
            Stage::Cut if !same_identity => {
                self.refuse(user, Refusal::CutWithAnotherIdentity);
                // The cut goes on as if the row were not there.
                return self.cut(user, person);
            }
            Stage::Cut | Stage::Active | Stage::Parked | Stage::Disabled => {}
        }
        let mut anchor = Anchor {
            incarnation: Incarnation::Account {
                uid: person.uid,
                entry: person.entry,
            },
            needs: Vec::new(),
        };
        let Some(account) = self.by_name.get(user) else {
            if let Some(why) = self.accounts.hindrances.lines.get(user) {
                // A line that is no account, and that keeps one from being made.
                return self.refuse(user, Refusal::Lines(why.clone()));
            }
            return match (person.stage, wanted.disabled) {
                // Home and archive of an interrupted removal stay where they are until the row asks for somebody who gets in.
                (Stage::Cut, Some(_)) => self.not_made.push(user.to_owned()),
                (_, Some(because)) => {
                    self.disable(user, wanted, because, None, Some(person), &anchor);
                }
                // The removal was interrupted: the account is gone already, and the home is not lost.
                (Stage::Cut, None) if self.quarantined(user).is_some() => {
                    self.restore(user, wanted, person)
                }
                (Stage::Cut, None) => self.refuse(user, Refusal::RemovedByHand),
                (
                    Stage::Active
                    | Stage::Parked
                    | Stage::Disabled
                    | Stage::Archived
                    | Stage::Deleted,
                    None,
                ) => self.create(user, wanted, Some(person)),
            };
        };
        if account.uid != person.uid {
            let (found, recorded) = (account.uid, person.uid);
            return self.refuse(user, Refusal::Replaced { found, recorded });
        }
        if person.stage == Stage::Cut
            && let Some(home_id) = self.quarantined(user)
        {
            // First what an interrupted removal took away; the cut stands until then.
            let from = HomeSource::Quarantine {
                home_id: home_id.clone(),
            };
            self.push_home(user, person, from, &anchor, None);
            return;
        }
        // Nothing of theirs is changed by halves; what they have they keep.
        if let Some(why) = self.accounts.hindrances.lines.get(user) {
            self.refuse(user, Refusal::Lines(why.clone()));
            return self.keep_entries_of(user, person);
        }
        if let Some(because) = wanted.disabled {
            if self.has_notice(user, because, person, &anchor) {
                return self.disable(user, wanted, because, Some(account), Some(person), &anchor);
            }
        } else if matches!(person.stage, Stage::Cut | Stage::Disabled) {
            let root_equivalent = self.roots.may_become_root(&Candidate {
                name: user,
                uid: account.uid,
                gid: account.gid,
                groups: [&account.groups, &person.aside.groups],
                private_group: false,
                begun: false,
            });
            let user = user.to_owned();
            let back = if person.stage == Stage::Cut {
                Action::Return {
                    user,
                    root_equivalent,
                }
            } else {
                Action::Enable {
                    user,
                    root_equivalent,
                }
            };
            let back = self.push(back, &anchor);
            anchor.needs.push(back);
        }
        if !person.aside.is_empty() {
            self.put_back(user, person, &anchor);
        }
        self.converge(user, wanted, account, Some(person), &anchor);
    }

    /// Puts back what a cut set aside.
    fn put_back(&mut self, user: &str, person: &PersonFacts, anchor: &Anchor) {
        if person.aside.login {
            self.push(
                Action::UnlockLogin {
                    user: user.to_owned(),
                    cut: person.cuts,
                },
                anchor,
            );
        }
        for trace in &person.aside.traces {
            let action = Action::Trace {
                user: user.to_owned(),
                trace: *trace,
                direction: Direction::Restore,
                cut: person.cuts,
            };
            self.push(action, anchor);
        }
    }
}

fn unread<T>(reading: &Reading<T>) -> Option<&str> {
    match reading {
        Reading::Known(_) => None,
        Reading::Unknown(why) => Some(why),
    }
}
