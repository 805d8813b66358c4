//! Reads a host, part by part.

use std::cell::LazyCell;
use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};

use muster_core::accounts::action::Trace;
use muster_core::accounts::facts::{IdRange, MoreRanges};
use muster_core::accounts::hindrances::Hindrances;
use muster_core::accounts::observed::{
    Account, Accounts, AccountsOf, Defaults, Home, Observed, Password, Person, Question,
    RemovedAccount, Subject, Traces, Units,
};
use muster_core::accounts::policy::Aggregate;
use muster_core::accounts::root::Sources;
use muster_core::compat;
use muster_core::merge_join::MergeJoin;
use muster_core::reading::Reading;

use crate::accounts::{self, Databases, LoginDefs, UseraddDefaults};
use crate::dir::{Dir, with_causes};
use crate::homes::Homes;
use crate::sessions::{Claims, Owner, Processes};
use crate::traces::{self, Whose};
use crate::units::{self, dbus::Bus};
use crate::{Host, files, left_behind, name_services, saved, sudoers};

const NOT_ASKED: &str = "it was not asked for";

impl Host {
    pub(crate) fn look(&mut self, question: &Question<'_>) -> Observed {
        let parts = question.parts;
        let databases = (parts.accounts || parts.homes)
            .then(|| Databases::read(&self.root).map_err(|error| with_causes(&error)));
        let defs = (parts.accounts || parts.homes).then(|| LoginDefs::read_what_can_be(&self.root));
        let listed = accounts_asked_for(question, &databases);
        let not_asked = || Reading::Unknown(NOT_ASKED.to_owned());
        let mut accounts = match (&databases, &defs) {
            (Some(Ok(databases)), Some(defs)) if parts.accounts => self
                .look_at_accounts(question, databases, &listed, defs)
                .map_or_else(Reading::Unknown, Reading::Known),
            (Some(Err(why)), _) if parts.accounts => Reading::Unknown(why.clone()),
            _ => not_asked(),
        };
        let mut spared = BTreeMap::new();
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
                    &mut spared,
                )
            }
            _ => BTreeMap::new(),
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
        listed: &[accounts::Account<'_>],
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
        let renaming = unfinished_renames(databases, &named);
        let mut lines: BTreeMap<String, String> = BTreeMap::new();
        let accounts = first_of_each(listed).map(|(found, all)| {
            if let Some(why) = why_not_edited(all) {
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
        for name in databases.repeated_in_shadow() {
            if by_name.contains_key(name) {
                lines.entry(name.to_owned()).or_insert_with(|| {
                    let file = accounts::File::Shadow;
                    format!(
                        "{file} has more than one line for {name}; remove all but one with vipw -s"
                    )
                });
            }
        }
        for (member, joined) in databases.memberships() {
            if let Some(account) = by_name.get_mut(member) {
                account.groups.extend(joined.into_iter().map(str::to_owned));
            }
        }
        // newgrp goes by gshadow: who is listed there alone has the group all the same.
        for (group, member) in databases.shadow_members() {
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
            accounts.hindrances.uids = uids_of_other_lines(databases, &accounts.by_name);
            accounts.hindrances.names = names_with_ranges(databases, &accounts.by_name, question);
            let unread = (listed.len() < databases.account_lines())
                .then(|| databases.unread_accounts())
                .into_iter()
                .flatten();
            for (number, name) in unread {
                let file = accounts::File::Passwd;
                let why = format!(
                    "{file}:{number}: the line of {name} is malformed; correct it with vipw"
                );
                accounts.hindrances.names.insert(name.to_owned(), why);
            }
            let left = self.look_at_what_was_left(databases, &accounts, &useradd.home);
            accounts.hindrances.uids.extend(left.uids);
            let known = sorted(accounts.groups.values().copied());
            let gids = sorted(databases.claimed_gids().chain(left.gids));
            accounts.hindrances.gids = beside(gids, &known, |gid| *gid).collect();
        }
        accounts.root = self.look_at_root(databases, &accounts.by_name);
        for (new, old) in half_removed_names(question, databases, &accounts.by_name) {
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
        databases: &Databases,
        accounts: &Accounts,
        base: &str,
    ) -> left_behind::LeftBehind {
        let homes = self.settings.home_roots.iter().map(String::as_str);
        let homes: BTreeSet<&str> = homes.chain([base.trim_end_matches('/')]).collect();
        let known = || accounts.by_name.values().map(|it| &*it.home);
        // Where nobody left anything, nobody's uid is looked up.
        let uids = || databases.claimed_uids().map(|(_, uid)| uid);
        let uids: LazyCell<HashSet<u32>, _> = LazyCell::new(|| uids().collect());
        let has_account = |uid| uids.contains(&uid);
        let listed = &mut self.listed;
        left_behind::look(&self.dir, &self.root, listed, &homes, known, has_account)
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
    ) -> Sources {
        let by_group = |listed: Vec<(&str, &str)>| {
            let mut lists: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
            for (group, name) in listed {
                let names = lists.entry(group.to_owned()).or_default();
                names.insert(name.to_owned());
            }
            lists
        };
        let mut members: Vec<(&str, &str)> = databases.shadow_members().collect();
        for (member, groups) in databases.memberships() {
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
        spared: &mut BTreeMap<String, String>,
    ) -> BTreeMap<String, Person> {
        let mut homes = Homes::new(&self.dir, &self.root);
        let mut processes: Option<Result<Processes, String>> = None;
        let mut claims: Option<Claims> = None;
        // In the order of the names, as are the people: one walk finds everybody's.
        let mut accounts = first_of_each(listed).map(|(first, _)| first).peekable();
        let mut people = Vec::with_capacity(question.people.len());
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
            let default;
            let home = match (account, subject.home) {
                (Some(account), _) => account.home,
                (None, Some(home)) => home,
                (None, None) => {
                    default = format!("{home_base}/{user}");
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

/// The uids of lines that are no account's of those told of: broken ones of passwd, all but one of a name, and those of subuid and
/// subgid that have a uid in place of a name, as whoever got that uid would get the range as well (F22).
fn uids_of_other_lines(
    databases: &Databases,
    by_name: &BTreeMap<String, Box<Account>>,
) -> BTreeMap<u32, BTreeSet<String>> {
    let told = sorted(by_name.values().map(|it| it.uid));
    let of_passwd = |(name, uid)| (uid, (accounts::File::Passwd, name));
    let claimed = databases.claimed_uids().map(of_passwd);
    let claimed = claimed
        .chain(owners_by_number(
            databases.subuids(),
            accounts::File::Subuid,
        ))
        .chain(owners_by_number(
            databases.subgids(),
            accounts::File::Subgid,
        ));
    let mut found: BTreeMap<u32, BTreeSet<String>> = BTreeMap::new();
    for (uid, (file, name)) in beside(sorted(claimed), &told, |(uid, _)| *uid) {
        let line = format!("a line of {name} in {file}");
        found.entry(uid).or_default().insert(line);
    }
    found
}

/// The names that own a range of subuid or subgid and have no account: whoever got such a name would get the range as well, and what
/// belongs to ids in it (F22). What an interrupted step left is its own.
fn names_with_ranges(
    databases: &Databases,
    by_name: &BTreeMap<String, Box<Account>>,
    question: &Question<'_>,
) -> BTreeMap<String, String> {
    /// Of more names, as where a directory's people have ranges in these files, those alone are told of that somebody asks for.
    const MANY: usize = 1_000;
    let in_file = |file| move |(owner, range): (_, accounts::IdRange)| (owner, (file, range.first));
    let subuids = databases.subuids().map(in_file(accounts::File::Subuid));
    let subgids = databases.subgids().map(in_file(accounts::File::Subgid));
    let mut accounts = MergeJoin::new(by_name);
    let mut without: Vec<_> = sorted(subuids.chain(subgids));
    without.retain(|(owner, _)| {
        let is_number = owner.bytes().all(|it| it.is_ascii_digit());
        !is_number && accounts.get(owner).is_none() && !question.remains.contains_key(owner)
    });
    if without.len() > MANY {
        without.retain(|(owner, _)| question.people.contains_key(owner));
    }
    let told = without.into_iter().map(|(owner, (file, first))| {
        let why = format!(
            "{file} has a range of {owner} already, from {first}: an account of that name would get it, and what belongs to its ids; \
             remove that line, and a range of its own comes with the account"
        );
        (owner.to_owned(), why)
    });
    told.collect()
}

/// The uids that own a range by their number, and the line that says so.
fn owners_by_number<'a>(
    lines: impl Iterator<Item = (&'a str, accounts::IdRange)>,
    file: accounts::File,
) -> impl Iterator<Item = (u32, (accounts::File, &'a str))> {
    lines.filter_map(move |(owner, _)| Some((owner.parse().ok()?, (file, owner))))
}

fn sorted<T: Ord>(of: impl Iterator<Item = T>) -> Vec<T> {
    let mut all: Vec<T> = of.collect();
    // Mostly they are in order already: the stable sort takes what is in order as it is.
    all.sort();
    all
}

/// Those of a sorted list whose id is not in another: one walk over both.
fn beside<T>(list: Vec<T>, known: &[u32], id: impl Fn(&T) -> u32) -> impl Iterator<Item = T> {
    let mut known = known.iter().copied().peekable();
    list.into_iter().filter(move |it| {
        let id = id(it);
        while known.next_if(|next| *next < id).is_some() {}
        known.peek() != Some(&id)
    })
}

/// Why the lines of one name are not to be edited, if they are not.
fn why_not_edited(lines: &[accounts::Account<'_>]) -> Option<String> {
    match lines {
        [] => None,
        [only] => only.broken.map(|file| {
            let name = only.name;
            format!("the line of {name} in {file} is malformed; correct it with vipw")
        }),
        [first, ..] => Some(format!(
            "{} has more than one line for {}; remove all but one with vipw",
            accounts::File::Passwd,
            first.name
        )),
    }
}

pub(crate) fn range(range: accounts::IdRange) -> IdRange {
    let narrow = |id: u64| u32::try_from(id).unwrap_or(u32::MAX);
    IdRange {
        first: narrow(range.first),
        count: narrow(range.count),
    }
}

/// The lines of subuid or subgid by their owner, and of one owner in the order of the file.
struct ByOwner<'a> {
    lines: Vec<(&'a str, IdRange)>,
    /// How many lines belong to names before the last one that was asked for.
    passed: usize,
    /// Whether any line has a uid in place of a name; nearly nobody's has.
    has_numbers: bool,
}

impl<'a> ByOwner<'a> {
    fn of(lines: impl Iterator<Item = (&'a str, accounts::IdRange)>) -> Self {
        let mut lines: Vec<_> = lines.map(|(owner, it)| (owner, range(it))).collect();
        lines.sort_by_key(|(owner, _)| *owner);
        let is_number = |owner: &str| owner.starts_with(|c: char| c.is_ascii_digit());
        Self {
            has_numbers: lines.iter().any(|(owner, _)| is_number(owner)),
            lines,
            passed: 0,
        }
    }

    /// The first line of an account, and the ranges of all others, also of those that have its uid in place of its name. Names
    /// are asked for in their order.
    fn of_account(&mut self, name: &str, uid: u32) -> (Option<IdRange>, BTreeSet<IdRange>) {
        let ahead = &self.lines[self.passed..];
        self.passed += ahead.iter().take_while(|(owner, _)| *owner < name).count();
        let of_name = self.lines[self.passed..]
            .iter()
            .take_while(|(owner, _)| *owner == name)
            .map(|(_, range)| *range);
        let mut of_name = of_name.peekable();
        let first = of_name.peek().copied();
        let mut more: BTreeSet<IdRange> = of_name.skip(1).collect();
        if self.has_numbers {
            let uid = uid.to_string();
            let begin = self.lines.partition_point(|(owner, _)| *owner < &*uid);
            let of_uid = self.lines[begin..].iter();
            more.extend(
                of_uid
                    .take_while(|(owner, _)| *owner == uid)
                    .map(|(_, range)| *range),
            );
        }
        more.retain(|it| Some(*it) != first);
        (first, more)
    }
}

/// For each account whose rename was begun and not finished: the name under which its private group or its
/// subordinate ranges still stand beside the new one.
fn unfinished_renames(databases: &Databases, groups: &[(&str, u32)]) -> HashMap<String, String> {
    let groups = groups
        .iter()
        .map(|(name, gid)| (u64::from(*gid), *name))
        .collect();
    let ranges = databases
        .subuids()
        .map(|(owner, range)| (range.first, owner))
        .collect();
    let mut found = HashMap::new();
    for names in [groups, ranges].into_iter().flat_map(sharing) {
        let (present, gone): (Vec<&str>, Vec<&str>) = names
            .into_iter()
            .partition(|name| databases.apparent_account(name).is_some());
        if let ([new], [old]) = (present.as_slice(), gone.as_slice()) {
            found.insert((*new).to_owned(), (*old).to_owned());
        }
    }
    found
}

/// The same for a rename whose second batch stopped when neither group nor ranges tell any more: somebody the ledger
/// knows has no account, lines of theirs stand in other files, and another account has their home.
fn half_removed_names(
    question: &Question<'_>,
    databases: &Databases,
    accounts: &BTreeMap<String, Box<Account>>,
) -> Vec<(String, String)> {
    let mut by_name = MergeJoin::new(accounts);
    let gone = question.people.iter().filter(|(user, subject)| {
        let has_account = by_name.get(user).is_some();
        !has_account && !subject.ask_name_services && subject.kept.is_none()
    });
    let renamed = gone.filter_map(|(old, subject)| {
        let home = subject.home?;
        let (new, account) = accounts.iter().find(|(_, it)| it.home == home)?;
        let left = databases.has_remnants(old, account.gid, None);
        left.then(|| (new.clone(), (*old).to_owned()))
    });
    renamed.collect()
}

/// Names that stand for the same id.
fn sharing(mut ids: Vec<(u64, &str)>) -> Vec<Vec<&str>> {
    ids.sort_unstable();
    ids.chunk_by(|a, b| a.0 == b.0)
        .filter(|chunk| chunk.len() > 1)
        .map(|chunk| {
            chunk
                .iter()
                .map(|(_, name)| *name)
                .filter(|it| !it.starts_with(|c: char| c.is_ascii_digit()))
                .collect()
        })
        .collect()
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
