//! Reads a host, part by part.

mod in_the_way;
mod ranges;
mod renames;

use std::cell::LazyCell;
use std::collections::{BTreeMap, BTreeSet, HashSet};

use muster_core::accounts::action::Trace;
use muster_core::accounts::facts::MoreRanges;
use muster_core::accounts::hindrances::Hindrances;
use muster_core::accounts::observed::{
    Account, Accounts, AccountsOf, Defaults, Home, Observed, Password, Person, Question,
    RemovedAccount, Subject, Traces, Units,
};
use muster_core::accounts::policy::Aggregate;
use muster_core::accounts::root::Sources;
use muster_core::compat;
use muster_core::reading::Reading;

use crate::accounts::{self, Databases, LoginDefs, UseraddDefaults};
use crate::dir::{Dir, with_causes};
use crate::homes::{Homes, Stray};
use crate::sessions::{Claims, Owner, Processes};
use crate::traces::{self, Whose};
use crate::units::{self, dbus::Bus};
use crate::{Host, files, left_behind, name_services, saved, sudoers};
use in_the_way::{beside, sorted};
use ranges::ByOwner;

pub(crate) use ranges::range;

const NOT_ASKED: &str = "it was not asked for";

impl Host {
    pub(crate) fn look(&mut self, question: &Question<'_>) -> Observed {
        let parts = question.parts;
        let databases = (parts.accounts || parts.homes)
            .then(|| Databases::read(&self.root).map_err(|error| with_causes(&error)));
        let defs = (parts.accounts || parts.homes).then(|| LoginDefs::read_what_can_be(&self.root));
        let listed = accounts_asked_for(question, &databases);
        let not_asked = || Reading::Unknown(NOT_ASKED.to_owned());
        let (mut spared, mut strays) = (BTreeMap::new(), Vec::new());
        let people = match &databases {
            Some(databases) if parts.homes => {
                let home_base = defs
                    .as_ref()
                    .map_or("/home", |(_, useradd, _)| &useradd.home);
                self.look_at_people(
                    question,
                    databases.as_ref().map_err(String::as_str),
                    &listed,
                    home_base,
                    (&mut spared, &mut strays),
                )
            }
            _ => BTreeMap::new(),
        };
        let mut accounts = match (&databases, &defs) {
            (Some(Ok(databases)), Some(defs)) if parts.accounts => self
                .look_at_accounts(question, databases, (&listed, &strays), defs)
                .map_or_else(Reading::Unknown, Reading::Known),
            (Some(Err(why)), _) if parts.accounts => Reading::Unknown(why.clone()),
            _ => not_asked(),
        };
        if let Reading::Known(accounts) = &mut accounts {
            accounts.hindrances.spared = spared;
        }
        let (environments, aggregates) = if parts.files {
            let names = question
                .people
                .keys()
                .copied()
                .filter(|user| crate::check_name(user).is_ok());
            let environments: Reading<BTreeMap<String, String>> = match &self.environment {
                None => Reading::Known(BTreeMap::new()),
                Some(pattern) => match self.digests.read(&self.dir, pattern, names) {
                    Ok(found) => Reading::Known(found),
                    Err(error) => Reading::Unknown(with_causes(&error)),
                },
            };
            let aggregates = &self.settings.aggregates;
            let look =
                |(file, path): (&Aggregate, &String)| (*file, files::look(&self.dir, *file, path));
            (
                environments,
                aggregates.iter().map(look).collect::<BTreeMap<_, _>>(),
            )
        } else {
            (Reading::Unknown(NOT_ASKED.to_owned()), BTreeMap::new())
        };
        let units = if parts.units {
            self.look_at_units()
                .map_or_else(Reading::Unknown, Reading::Known)
        } else {
            Reading::Unknown(NOT_ASKED.to_owned())
        };
        Observed {
            accounts,
            people,
            environments,
            aggregates,
            cluster_tiers: self
                .settings
                .k8s_users
                .as_deref()
                .filter(|_| parts.files)
                .map(|path| self.look_at_cluster_tiers(path)),
            units,
        }
    }

    /// The cluster's tiers. A file that is not there is a source that did not answer, never an empty map (R12).
    fn look_at_cluster_tiers(&self, path: &str) -> Reading<BTreeMap<String, String>> {
        match self.root.read(path) {
            Ok(Some(json)) => match compat::read_tiers(&json) {
                Ok(tiers) => Reading::Known(tiers),
                Err(error) => Reading::Unknown(format!("{path}: {error}")),
            },
            Ok(None) => Reading::Unknown(format!("{path} is not there")),
            Err(error) => Reading::Unknown(error.to_string()),
        }
    }

    pub(crate) fn look_at_units(&self) -> Result<Units, String> {
        let bus = if self.settings.units.is_empty() {
            None
        } else {
            self.bus()?
        };
        units::look(&self.dir, bus.as_ref(), &self.settings.units)
    }

    /// The system bus, where a service manager runs on this root.
    pub(crate) fn bus(&self) -> Result<Option<Bus>, String> {
        if self.live && std::path::Path::new("/run/systemd/system").is_dir() {
            Bus::connect().map(Some)
        } else {
            Ok(None)
        }
    }

    fn look_at_accounts(
        &mut self,
        question: &Question<'_>,
        databases: &Databases,
        (listed, strays): (&[accounts::Account<'_>], &[Stray]),
        (defs, useradd, wrong): &(LoginDefs, UseraddDefaults, Option<String>),
    ) -> Result<Accounts, String> {
        let named: Vec<(&str, u32)> = databases
            .groups()
            .map(|group| (group.name, group.gid))
            .collect();
        let groups: BTreeMap<String, u32> = named
            .iter()
            .map(|(name, gid)| ((*name).to_owned(), *gid))
            .collect();
        let mut subuids = ByOwner::of(databases.subuids());
        let mut subgids = ByOwner::of(databases.subgids());
        let renaming = renames::unfinished(databases, &named);
        let mut lines: BTreeMap<String, String> = BTreeMap::new();
        let accounts = first_of_each(listed).map(|(found, all)| {
            if let Some(why) = in_the_way::why_not_edited(all) {
                lines.insert(found.name.to_owned(), why);
            }
            let (subuid, more_subuids) = subuids.of_account(found.name, found.uid);
            let (subgid, more_subgids) = subgids.of_account(found.name, found.uid);
            let account = Account {
                uid: found.uid,
                gid: found.gid,
                home: found.home.to_owned(),
                shell: found.shell.to_owned(),
                password: if found.password.is_locked() {
                    Password::Locked
                } else {
                    Password::Usable
                },
                expires: found.expires,
                groups: BTreeSet::new(),
                half_groups: BTreeSet::new(),
                subuid,
                subgid,
                more: MoreRanges {
                    subuids: more_subuids,
                    subgids: more_subgids,
                },
                renaming_from: renaming.get(found.name).cloned(),
            };
            (found.name.to_owned(), Box::new(account))
        });
        let mut by_name: BTreeMap<String, Box<Account>> = accounts.collect();
        let memberships = databases.memberships();
        for (member, joined) in &memberships {
            if let Some(account) = by_name.get_mut(*member) {
                account
                    .groups
                    .extend(joined.iter().map(|it| (*it).to_owned()));
            }
        }
        // newgrp goes by gshadow: who is listed there alone has the group all the same.
        let in_gshadow: Vec<(&str, &str)> = databases.shadow_members().collect();
        for &(group, member) in &in_gshadow {
            if groups.contains_key(group)
                && let Some(account) = by_name.get_mut(member)
                && !account.groups.contains(group)
            {
                account.groups.insert(group.to_owned());
            }
        }
        for (member, halves) in databases.half_memberships() {
            if let Some(account) = by_name.get_mut(member) {
                account.half_groups = halves.into_iter().map(str::to_owned).collect();
            }
        }
        let mut shells = BTreeSet::new();
        for shell in question.shells.iter().filter(|it| it.starts_with('/')) {
            if self
                .dir
                .followed(shell)
                .map_err(|error| with_causes(&error))?
                .is_some_and(|it| it.kind == crate::dir::FileKind::File && it.mode & 0o111 != 0)
            {
                shells.insert(shell.clone());
            }
        }
        let mut accounts = Accounts {
            by_name,
            groups,
            subuids: databases.subuid_ranges_in_use().map(range).collect(),
            subgids: databases.subgid_ranges_in_use().map(range).collect(),
            foreign: BTreeMap::new(),
            foreign_uids: BTreeSet::new(),
            defaults: defaults(databases, defs, useradd),
            shells,
            root: Sources::default(),
            hindrances: Hindrances {
                newcomers: wrong.clone(),
                lines,
                ..Hindrances::default()
            },
            remains: question
                .remains
                .iter()
                .filter(|(name, it)| {
                    crate::check_name(name).is_ok()
                        && databases.has_remnants(name, it.gid, it.beside)
                })
                .map(|(name, _)| (*name).to_owned())
                .collect(),
        };
        if question.accounts_of == AccountsOf::Everybody {
            accounts.hindrances.uids = in_the_way::uids(databases, &accounts.by_name);
            let lines = in_the_way::lines_of_nobody(databases, &accounts.by_name, listed);
            accounts.hindrances.lines.extend(lines);
            accounts.hindrances.names =
                in_the_way::names_with_ranges(databases, &accounts.by_name, question);
            let left = self.look_at_what_was_left(
                question,
                databases,
                &accounts.by_name,
                (&useradd.home, strays),
            );
            for (uid, paths) in left.uids {
                let places = accounts.hindrances.uids.entry(uid).or_default();
                places.extend(paths);
            }
            let known = sorted(accounts.groups.values().copied());
            let told = (accounts.by_name.len(), accounts.groups.len());
            let lines = (databases.most_accounts(), databases.most_groups());
            // Where each line is an account, or a group, none has to be taken apart for its id once more.
            let mut gids: Vec<u32> = match told == lines {
                true => accounts.by_name.values().map(|it| it.gid).collect(),
                false => databases.claimed_gids().collect(),
            };
            gids.extend(left.gids);
            accounts.hindrances.gids =
                beside(sorted(gids.into_iter()), &known, |gid| *gid).collect();
        }
        accounts.root = self.look_at_root(databases, &accounts.by_name, memberships, in_gshadow);
        for (new, old) in renames::half_removed(question, databases, &accounts.by_name) {
            if let Some(account) = accounts.by_name.get_mut(&new) {
                account.renaming_from.get_or_insert(old);
            }
        }
        let sources = if self.live {
            name_services::Sources::of(&self.dir)
        } else {
            name_services::Sources::default()
        };
        if !sources.are_none() {
            self.ask_name_services(sources, question, &mut accounts);
        }
        Ok(accounts)
    }

    /// Ids that nobody has and that files where people keep things belong to.
    fn look_at_what_was_left(
        &mut self,
        question: &Question<'_>,
        databases: &Databases,
        by_name: &BTreeMap<String, Box<Account>>,
        (base, strays): (&str, &[Stray]),
    ) -> left_behind::LeftBehind {
        let homes = self.settings.home_roots.iter().map(String::as_str);
        let homes: BTreeSet<&str> = homes.chain([base.trim_end_matches('/')]).collect();
        let known = || by_name.values().map(|it| &*it.home);
        // Both are in the order of the names: one walk over them.
        let mut asked = question.people.keys().peekable();
        let others = by_name.iter().filter(|(name, _)| {
            while asked.next_if(|it| **it < name.as_str()).is_some() {}
            asked.peek().is_none_or(|it| **it != name.as_str())
        });
        let unseen: Vec<&str> = others.map(|(_, it)| &*it.home).collect();
        let unseen = || unseen.iter().copied();
        // Where nobody left anything, nobody's uid is looked up.
        let uids = || databases.claimed_uids().map(|(_, uid)| uid);
        let uids: LazyCell<HashSet<u32>, _> = LazyCell::new(|| uids().collect());
        let has_account = |uid| uids.contains(&uid);
        let listed = &mut self.listed;
        let homes_of = (known, unseen);
        left_behind::look(
            &self.dir,
            &self.root,
            listed,
            &homes,
            homes_of,
            strays,
            has_account,
        )
    }

    /// Asks who else knows names and ids. One that does not answer keeps back whoever would get a name or an id, and nobody else
    /// (F23).
    fn ask_name_services(
        &mut self,
        sources: name_services::Sources,
        question: &Question<'_>,
        accounts: &mut Accounts,
    ) {
        let unknown = question
            .people
            .iter()
            .filter(|(user, it)| it.ask_name_services && !accounts.by_name.contains_key(**user));
        let mut taken_uids: BTreeSet<u32> = accounts.by_name.values().map(|it| it.uid).collect();
        taken_uids.extend(accounts.hindrances.uids.keys());
        let asked = name_services::Asked {
            names: unknown.map(|(user, _)| (*user).to_owned()).collect(),
            // Whose account has it already is found without them.
            ids: question.uids.difference(&taken_uids).copied().collect(),
            new: question.new,
            uids: accounts.defaults.uids,
            gids: accounts.defaults.gids,
            taken_uids,
            taken_gids: accounts.groups.values().copied().collect(),
        };
        match self.name_services.ask(sources, &self.settings.root, asked) {
            Ok(known) => {
                (accounts.foreign, accounts.foreign_uids) = (known.names, known.uids);
                accounts.hindrances.names.extend(known.barred);
                accounts.hindrances.gids.extend(known.gids);
            }
            Err(why) => accounts.hindrances.silent = Some(why),
        }
    }

    /// What bears on root beside accounts and groups.
    fn look_at_root(
        &self,
        databases: &Databases,
        by_name: &BTreeMap<String, Box<Account>>,
        memberships: BTreeMap<&str, Vec<&str>>,
        in_gshadow: Vec<(&str, &str)>,
    ) -> Sources {
        let by_group = |listed: Vec<(&str, &str)>| {
            let mut lists: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
            for (group, name) in listed {
                let names = lists.entry(group.to_owned()).or_default();
                names.insert(name.to_owned());
            }
            lists
        };
        let mut members = in_gshadow;
        for (member, groups) in memberships {
            members.extend(groups.into_iter().map(|group| (group, member)));
        }
        members.retain(|(_, member)| !by_name.contains_key(*member));
        if !members.is_empty() {
            // Not everybody's account may have been asked for.
            let listed: BTreeSet<&str> = members.iter().map(|(_, member)| *member).collect();
            let there = databases.accounts_where(|name| listed.contains(name));
            let there: BTreeSet<String> = there.map(|it| it.name.to_owned()).collect();
            members.retain(|(_, member)| !there.contains(*member));
        }
        Sources {
            administrators: by_group(databases.administrators().collect()),
            awaited: by_group(members),
            sudoers: sudoers::read(&self.dir),
        }
    }

    fn look_at_people(
        &self,
        question: &Question<'_>,
        databases: Result<&Databases, &str>,
        listed: &[accounts::Account<'_>],
        home_base: &str,
        (spared, strays): (&mut BTreeMap<String, String>, &mut Vec<Stray>),
    ) -> BTreeMap<String, Person> {
        let mut homes = Homes::new(&self.dir, &self.root);
        let mut processes: Option<Result<Processes, String>> = None;
        let mut claims: Option<Claims> = None;
        // In the order of the names, as are the people: one walk finds everybody's.
        let mut accounts = first_of_each(listed).map(|(first, _)| first).peekable();
        let mut people = Vec::with_capacity(question.people.len());
        let mut default = String::new();
        for (user, subject) in &question.people {
            let databases = match databases {
                Ok(databases) => databases,
                Err(why) => {
                    people.push(((*user).to_owned(), unknown(why, subject)));
                    continue;
                }
            };
            if let Err(why) = crate::check_name(user) {
                people.push(((*user).to_owned(), unknown(&why, subject)));
                continue;
            }
            while accounts.next_if(|it| it.name < *user).is_some() {}
            let account = accounts.next_if(|it| it.name == *user);
            let home = match (account, subject.home) {
                (Some(account), _) => account.home,
                (None, Some(home)) => home,
                (None, None) => {
                    default.clear();
                    default.extend([home_base, "/", *user]);
                    &default
                }
            };
            let seen = homes.look(home, account.map(|it| it.uid));
            let traces = subject.traces.then(|| match account {
                Some(account) => {
                    let whose = Whose {
                        user,
                        uid: account.uid,
                        gid: account.gid,
                        home,
                    };
                    let processes = processes.get_or_insert_with(|| self.processes());
                    let claims = claims.get_or_insert_with(|| Claims::of(databases));
                    let owner = Owner::new(claims, user, account.uid);
                    if let Ok(processes) = &*processes
                        && let Some(what) = processes.spared(&owner)
                    {
                        spared.insert((*user).to_owned(), what);
                    }
                    self.look_at_traces(&mut homes, &whose, processes, &owner, subject.cuts)
                }
                // Whoever has no account has no uid that a process could run under.
                None => {
                    let whose = Whose {
                        user,
                        uid: 0,
                        gid: 0,
                        home,
                    };
                    let look = |homes: &mut Homes<'_>, trace| {
                        traces::look(&self.dir, homes, &whose, trace, &[])
                    };
                    Traces {
                        linger: look(&mut homes, Trace::Linger),
                        keys: Reading::Known(false),
                        crontab: look(&mut homes, Trace::Crontab),
                        processes: Reading::Known(0),
                        login_saved: Reading::Known(false),
                    }
                }
            });
            let kept = subject
                .kept
                .map(|of| self.look_at_kept(databases, user, home, of));
            people.push((
                (*user).to_owned(),
                Person {
                    home: seen,
                    traces: traces.map(Box::new),
                    kept: kept.map(Box::new),
                },
            ));
        }
        *strays = homes.into_strays();
        people.into_iter().collect()
    }

    /// Every process of the machine, when this root is the machine.
    fn processes(&self) -> Result<Processes, String> {
        if self.live {
            Processes::read().map_err(|error| format!("cannot read /proc: {error}"))
        } else {
            Ok(Processes::none())
        }
    }

    fn look_at_traces(
        &self,
        homes: &mut Homes<'_>,
        whose: &Whose<'_>,
        processes: &Result<Processes, String>,
        owner: &Owner<'_>,
        cuts: u32,
    ) -> Traces {
        let dir: &Dir = &self.dir;
        let mut look = |trace| traces::look(dir, homes, whose, trace, &self.settings.keys);
        Traces {
            linger: look(Trace::Linger),
            keys: look(Trace::AuthorizedKeys),
            crontab: look(Trace::Crontab),
            processes: match processes {
                Ok(processes) => Reading::Known(processes.count(owner)),
                Err(why) => Reading::Unknown(why.clone()),
            },
            login_saved: match self.saved.holding(whose.uid, cuts, saved::LOGIN) {
                Ok(shelf) => Reading::Known(shelf.is_some()),
                Err(error) => Reading::Unknown(error.to_string()),
            },
        }
    }
}

fn unknown(why: &str, subject: &Subject<'_>) -> Person {
    let home: Reading<Home> = Reading::Unknown(why.to_owned());
    let flag = || Reading::Unknown(why.to_owned());
    let traces = subject.traces.then(|| Traces {
        linger: flag(),
        keys: flag(),
        crontab: flag(),
        processes: Reading::Unknown(why.to_owned()),
        login_saved: flag(),
    });
    let kept = subject.kept.map(|_| RemovedAccount {
        quarantined: Reading::Unknown(why.to_owned()),
        purging: None,
        archive: Reading::Unknown(why.to_owned()),
        remnants: Reading::Unknown(why.to_owned()),
    });
    Person {
        home,
        traces: traces.map(Box::new),
        kept: kept.map(Box::new),
    }
}

/// The local accounts that an answer tells of, taken apart once for all of it: by name, and of one name in the order of the
/// file, so that what is also in the order of names is found by walking both.
fn accounts_asked_for<'a>(
    question: &'a Question<'_>,
    databases: &'a Option<Result<Databases, String>>,
) -> Vec<accounts::Account<'a>> {
    let Some(Ok(databases)) = databases else {
        return Vec::new();
    };
    let mut accounts = match question.accounts_of {
        AccountsOf::Everybody => {
            let mut accounts = Vec::with_capacity(databases.most_accounts());
            accounts.extend(databases.accounts_where(|_| true));
            accounts
        }
        AccountsOf::Asked => databases
            .accounts_where(|name| question.people.contains_key(name))
            .collect(),
    };
    accounts.sort_by(|a, b| a.name.cmp(b.name));
    accounts
}

/// What each name of a sorted list stands for: its first line, and whether there are more. Of several lines, the first one is
/// the account to the C library.
fn first_of_each<'a, 'l>(
    listed: &'l [accounts::Account<'a>],
) -> impl Iterator<Item = (&'l accounts::Account<'a>, &'l [accounts::Account<'a>])> {
    listed
        .chunk_by(|a, b| a.name == b.name)
        .filter_map(|of_one_name| Some((of_one_name.first()?, of_one_name)))
}

fn defaults(databases: &Databases, defs: &LoginDefs, useradd: &UseraddDefaults) -> Defaults {
    let narrow = |id: u64| u32::try_from(id).unwrap_or(u32::MAX);
    let ranges = |it: &std::ops::RangeInclusive<u64>, count: u64, file| {
        // Without the file nobody has ranges, and none is given out.
        let count = if databases.has(file) {
            narrow(count)
        } else {
            0
        };
        (narrow(*it.start()), narrow(*it.end()), count)
    };
    Defaults {
        uids: (*defs.uids.start(), *defs.uids.end()),
        gids: (*defs.gids.start(), *defs.gids.end()),
        subuids: ranges(&defs.subuids, defs.subuid_count, accounts::File::Subuid),
        subgids: ranges(&defs.subgids, defs.subgid_count, accounts::File::Subgid),
        home_base: useradd.home.trim_end_matches('/').to_owned(),
    }
}
