//! Drafts the steps, person by person.

use std::collections::{BTreeMap, BTreeSet};

use super::allocate::{Ids, PortTable};
use super::{Input, Note, Plan, PlannedStep};
use crate::action::{Action, Direction, Identity, Leave, Trace, UnitChange};
use crate::desired::Wanted;
use crate::facts::{PersonFacts, Stage};
use crate::observed::{Account, Accounts, Home, Manager, Password, Reading, Traces, Units};
use crate::policy::{Aggregate, Ports};
use crate::render;
use crate::repo::Tier;
use crate::settle::{is_shut, trace_reading};
use crate::step::{Incarnation, Step, StepId};

/// Everything that is gathered while people are gone through.
struct Draft<'a> {
    input: &'a Input<'a>,
    accounts: &'a Accounts,
    ids: Option<Ids>,
    ports: PortTable,
    steps: Vec<PlannedStep>,
    notes: Vec<Note>,
    environments: BTreeMap<String, String>,
    first_ports: BTreeMap<String, u16>,
    /// Entries wanted in the aggregate files: whose, and the steps they build on.
    entries: BTreeMap<(Aggregate, String), WantedEntry>,
    missing_groups: BTreeMap<String, Vec<String>>,
    /// The steps that cut somebody in this plan, by person.
    cuts: BTreeMap<String, StepId>,
}

struct WantedEntry {
    user: String,
    value: String,
    ground: Ground,
}

/// What a person's further steps stand on: which account, and which steps come first.
#[derive(Clone)]
struct Ground {
    incarnation: Incarnation,
    needs: Vec<StepId>,
}

pub(super) fn draft(input: &Input<'_>) -> Plan {
    let mut plan = Plan {
        commit: input.commit.clone(),
        today: input.today,
        steps: Vec::new(),
        notes: Vec::new(),
        environments: BTreeMap::new(),
        ports: BTreeMap::new(),
    };
    let accounts = match &input.observed.accounts {
        Reading::Known(accounts) => accounts,
        Reading::Unknown(why) => {
            // Whoever cannot be seen can be neither made nor cut.
            plan.notes.push(Note::Unread {
                part: "the account databases".into(),
                why: why.clone(),
            });
            return plan;
        }
    };
    let mut draft = Draft {
        input,
        accounts,
        ids: None,
        ports: PortTable::new(input.policy, input.facts, input.observed),
        steps: Vec::new(),
        notes: Vec::new(),
        environments: BTreeMap::new(),
        first_ports: BTreeMap::new(),
        entries: BTreeMap::new(),
        missing_groups: BTreeMap::new(),
        cuts: BTreeMap::new(),
    };
    draft.note_unread_parts();
    let mut kept: BTreeSet<&str> = BTreeSet::new();
    for (user, wanted) in &input.desired.people {
        if let Some(under) = draft.keep(user, wanted) {
            kept.insert(under);
        }
    }
    draft.cut_whoever_left(&kept);
    draft.plan_entries();
    draft.notes.extend(
        std::mem::take(&mut draft.missing_groups)
            .into_iter()
            .map(|(group, users)| Note::NoSuchGroup { group, users }),
    );
    // One order for equal inputs: by phase, then by person; a person's own steps stay as they were drafted.
    draft.steps.sort_by(|a, b| {
        let key = |it: &PlannedStep| it.step.action.phase();
        key(a)
            .cmp(&key(b))
            .then_with(|| a.step.action.user().cmp(b.step.action.user()))
    });
    draft.notes.sort();
    plan.steps = draft.steps;
    plan.notes = draft.notes;
    plan.environments = draft.environments;
    plan.ports = draft.first_ports;
    plan
}

impl<'a> Draft<'a> {
    fn push(&mut self, action: Action, ground: &Ground) -> StepId {
        self.push_blocked(action, ground, None)
    }

    fn push_blocked(&mut self, action: Action, ground: &Ground, blocked: Option<String>) -> StepId {
        let step = Step::new(
            &self.input.policy.executor,
            action,
            ground.incarnation.clone(),
        );
        let id = step.id;
        self.steps.push(PlannedStep {
            step,
            needs: ground.needs.clone(),
            blocked,
        });
        id
    }

    fn refuse(&mut self, user: &str, why: String) {
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
        for file in &self.input.policy.aggregates {
            if let Some(why) = observed.aggregates.get(file).and_then(unread) {
                self.notes.push(Note::Unread {
                    part: format!("the {} file", file.word()),
                    why: why.to_owned(),
                });
            }
        }
    }

    /// Plans for somebody the roster asks for; returns the name under which they are kept here today.
    fn keep(&mut self, user: &'a str, wanted: &'a Wanted) -> Option<&'a str> {
        let people = &self.input.facts.people;
        if let Some((days, contact)) = &wanted.expiring {
            self.notes.push(Note::Expiring {
                user: user.to_owned(),
                days: *days,
                contact: contact.clone(),
            });
        }
        if let Some(person) = people.get(user) {
            self.keep_known(user, wanted, person);
            return Some(user);
        }
        let before = wanted
            .previously
            .as_deref()
            .and_then(|old| people.get_key_value(old));
        if let Some((old, person)) =
            before.filter(|(_, it)| !matches!(it.stage, Stage::Archived | Stage::Deleted))
        {
            self.rename(old, user, wanted, person);
            return Some(old);
        }
        self.welcome(user, wanted);
        Some(user)
    }

    fn rename(&mut self, old: &'a str, user: &str, wanted: &Wanted, person: &PersonFacts) {
        let incarnation = Incarnation::Account {
            uid: person.uid,
            entry: person.entry,
        };
        let taken = self
            .accounts
            .by_name
            .get(user)
            .filter(|it| it.renaming_from.as_deref() != Some(old));
        if let Some(account) = taken {
            self.refuse(
                user,
                format!(
                    "cannot be the new name of {old}: an account of that name exists with uid {}",
                    account.uid
                ),
            );
        } else {
            let ground = Ground {
                incarnation,
                needs: Vec::new(),
            };
            let action = Action::RenameAccount {
                from: old.to_owned(),
                user: user.to_owned(),
                uid: person.uid,
            };
            self.push(action, &ground);
        }
        // Until the rename is done the person goes on under the old name: a rename is never remove and add.
        self.keep_known(old, wanted, person);
    }

    /// Plans for somebody who was never here.
    fn welcome(&mut self, user: &str, wanted: &Wanted) {
        if let Some(account) = self.accounts.by_name.get(user) {
            match wanted.adopt {
                Some(uid) if uid == account.uid => self.adopt(user, wanted, account),
                Some(uid) => self.refuse(
                    user,
                    format!("the row adopts uid {uid}, and the account has uid {}; put the right one in the row", account.uid),
                ),
                None => self.refuse(
                    user,
                    format!(
                        "an account of that name exists that muster neither created nor adopted; it is left alone. To take \
                         it over, add `adopt: {{uid: {}}}` to the row",
                        account.uid
                    ),
                ),
            }
            return;
        }
        if let Some(uid) = self.accounts.foreign.get(user) {
            self.refuse(
                user,
                format!(
                    "a name service of this host knows that name, with uid {uid}; it is left alone"
                ),
            );
            return;
        }
        if let Some(uid) = wanted.adopt {
            self.refuse(
                user,
                format!("the row adopts uid {uid}, and there is no account of that name here"),
            );
            return;
        }
        if let Some(uid) = wanted.uid {
            let owner = self
                .accounts
                .by_name
                .iter()
                .find(|(_, it)| it.uid == uid)
                .map(|(name, _)| name.clone());
            let kept = self
                .input
                .facts
                .people
                .iter()
                .find(|(_, it)| it.uid == uid)
                .map(|(name, _)| name.clone());
            if let Some(name) = owner.or(kept) {
                self.refuse(user, format!("the row asks for uid {uid}, which is or was {name}'s; ids are never given twice"));
                return;
            }
            let (first, last) = self.accounts.defaults.uids;
            if !(first..=last).contains(&uid) {
                self.refuse(user, format!("the row asks for uid {uid}, outside UID_MIN {first} to UID_MAX {last} of login.defs"));
                return;
            }
        }
        self.create(user, wanted, None);
    }

    fn adopt(&mut self, user: &str, wanted: &Wanted, account: &Account) {
        let (first, last) = self.accounts.defaults.uids;
        if !(first..=last).contains(&account.uid) {
            self.refuse(
                user,
                format!(
                    "uid {} is a system account's, and those are never adopted",
                    account.uid
                ),
            );
            return;
        }
        if let Some((name, _)) = self
            .input
            .facts
            .people
            .iter()
            .find(|(_, it)| it.uid == account.uid)
        {
            let why = format!(
                "uid {} is or was {name}'s here; ids are never given twice",
                account.uid
            );
            self.refuse(user, why);
            return;
        }
        let ground = Ground {
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
            &ground,
        );
        let ground = Ground {
            incarnation: Incarnation::Account {
                uid: account.uid,
                entry: adopted,
            },
            needs: vec![adopted],
        };
        self.converge(user, wanted, account, None, &ground);
    }

    /// Creates an account; `before` is what the ledger knows of one that vanished behind our back.
    fn create(&mut self, user: &str, wanted: &Wanted, before: Option<&PersonFacts>) {
        let ids = match before {
            Some(person) => Ok(super::allocate::NewIds {
                uid: person.uid,
                gid: person.gid,
                subuid: person.subuid,
                subgid: person.subgid,
            }),
            None => {
                let asked = self.asked_uids();
                let (accounts, facts) = (self.accounts, self.input.facts);
                self.ids
                    .get_or_insert_with(|| Ids::new(accounts, facts, &asked))
                    .take(wanted.uid)
            }
        };
        let ids = match ids {
            Ok(ids) => ids,
            Err(why) => return self.refuse(user, format!("no room on this host: {why}")),
        };
        let home = before.map_or_else(
            || format!("{}/{user}", self.accounts.defaults.home_base),
            |person| person.home.clone(),
        );
        let generation = before.map_or(0, |it| it.generation);
        let blocked = (!self.accounts.shells.contains(&wanted.shell))
            .then(|| format!("shell {} is not installed on this host", wanted.shell));
        let ground = Ground {
            incarnation: Incarnation::New { generation },
            needs: Vec::new(),
        };
        let created = self.push_blocked(
            Action::CreateAccount {
                user: user.to_owned(),
                uid: ids.uid,
                gid: ids.gid,
                home: home.clone(),
                shell: wanted.shell.clone(),
                subuid: ids.subuid,
                subgid: ids.subgid,
                authentik_user: wanted.authentik_user.clone(),
                k8s_user: wanted.k8s_user.clone(),
            },
            &ground,
            blocked,
        );
        let ground = Ground {
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
            shell: wanted.shell.clone(),
            password: Password::Locked,
            expires: None,
            groups: BTreeSet::new(),
            subuid: ids.subuid,
            subgid: ids.subgid,
            renaming_from: None,
        };
        self.converge(user, wanted, &account, before, &ground);
    }

    fn asked_uids(&self) -> BTreeSet<u32> {
        self.input
            .desired
            .people
            .values()
            .filter_map(|it| it.uid)
            .collect()
    }

    /// Plans for somebody the ledger knows.
    fn keep_known(&mut self, user: &str, wanted: &Wanted, person: &PersonFacts) {
        let same_identity =
            person.authentik_user == wanted.authentik_user && person.k8s_user == wanted.k8s_user;
        match person.stage {
            Stage::Archived | Stage::Deleted => {
                let why = if same_identity {
                    "was deleted here; the home is in the archive, and bringing it back waits for an operator"
                } else {
                    "that name belonged to somebody else here, and names are never given to another; choose another name"
                };
                return self.refuse(user, why.to_owned());
            }
            Stage::Cut if !same_identity => {
                return self.refuse(
                    user,
                    "was cut here with another identity, and an account is never handed to another person by re-adding \
                     its name; choose another name, or restore authentik_user and k8s_user"
                        .to_owned(),
                );
            }
            Stage::Cut | Stage::Active | Stage::Parked => {}
        }
        let Some(account) = self.accounts.by_name.get(user) else {
            return match person.stage {
                Stage::Cut => self.refuse(
                    user,
                    "was cut, and its account has been removed by hand".to_owned(),
                ),
                _ => self.create(user, wanted, Some(person)),
            };
        };
        if account.uid != person.uid {
            return self.refuse(
                user,
                format!(
                    "the account has uid {} and the ledger says {}: it was replaced behind muster's back; nothing is \
                     changed on it",
                    account.uid, person.uid
                ),
            );
        }
        let mut ground = Ground {
            incarnation: Incarnation::Account {
                uid: person.uid,
                entry: person.entry,
            },
            needs: Vec::new(),
        };
        if person.stage == Stage::Cut {
            let mut groups = account.groups.iter().chain(&person.aside.groups);
            let root_equivalent = groups.any(|it| self.input.policy.is_privileged_group(it));
            let back = self.push(
                Action::Return {
                    user: user.to_owned(),
                    root_equivalent,
                },
                &ground,
            );
            ground.needs.push(back);
        }
        if !person.aside.is_empty() {
            self.put_back(user, person, &ground);
        }
        self.converge(user, wanted, account, Some(person), &ground);
    }

    /// Puts back what a cut set aside.
    fn put_back(&mut self, user: &str, person: &PersonFacts, ground: &Ground) {
        if person.aside.login {
            self.push(
                Action::UnlockLogin {
                    user: user.to_owned(),
                },
                ground,
            );
        }
        for trace in &person.aside.traces {
            let action = Action::Trace {
                user: user.to_owned(),
                trace: *trace,
                direction: Direction::Restore,
            };
            self.push(action, ground);
        }
    }

    /// Brings an account that is, or is about to be, ours to what the row wants.
    fn converge(
        &mut self,
        user: &str,
        wanted: &Wanted,
        account: &Account,
        person: Option<&PersonFacts>,
        ground: &Ground,
    ) {
        self.converge_identity(user, wanted, person, ground);
        self.converge_login(user, wanted, account, person, ground);
        self.converge_groups(user, wanted, account, person, ground);
        self.converge_home(user, account, person, ground);
        let was_parked = person.is_some_and(|it| it.stage == Stage::Parked);
        match (&wanted.parked, was_parked) {
            (Some(because), false) => {
                self.push(
                    Action::Park {
                        user: user.to_owned(),
                        because: *because,
                    },
                    ground,
                );
            }
            (None, true) => {
                self.push(
                    Action::Unpark {
                        user: user.to_owned(),
                    },
                    ground,
                );
            }
            (Some(_), true) | (None, false) => {}
        }
        self.converge_instance(user, wanted, person, ground);
        if wanted.tier == Tier::Admin {
            self.want_entry(
                Aggregate::Admins,
                user.to_owned(),
                user,
                String::new(),
                ground,
            );
        }
    }

    fn converge_identity(
        &mut self,
        user: &str,
        wanted: &Wanted,
        person: Option<&PersonFacts>,
        ground: &Ground,
    ) {
        // An account that is only now created or adopted takes its identities with it.
        let Some(person) =
            person.filter(|_| !matches!(ground.incarnation, Incarnation::New { .. }))
        else {
            return;
        };
        if self.accounts.by_name.contains_key(user) {
            for (identity, from, to) in [
                (
                    Identity::AuthentikUser,
                    &person.authentik_user,
                    &wanted.authentik_user,
                ),
                (Identity::K8sUser, &person.k8s_user, &wanted.k8s_user),
            ] {
                if from != to {
                    let action = Action::ChangeIdentity {
                        user: user.to_owned(),
                        identity,
                        from: from.clone(),
                        to: to.clone(),
                    };
                    self.push(action, ground);
                }
            }
            if let Some(uid) = wanted.uid.filter(|uid| *uid != person.uid) {
                self.push(
                    Action::ChangeUid {
                        user: user.to_owned(),
                        from: person.uid,
                        to: uid,
                    },
                    ground,
                );
            }
        }
    }

    fn converge_login(
        &mut self,
        user: &str,
        wanted: &Wanted,
        account: &Account,
        person: Option<&PersonFacts>,
        ground: &Ground,
    ) {
        if person.is_some_and(|it| it.aside.login) {
            return; // first the saved login comes back
        }
        if account.shell != wanted.shell {
            let blocked = (!self.accounts.shells.contains(&wanted.shell))
                .then(|| format!("shell {} is not installed on this host", wanted.shell));
            let action = Action::SetShell {
                user: user.to_owned(),
                from: account.shell.clone(),
                to: wanted.shell.clone(),
            };
            self.push_blocked(action, ground, blocked);
        }
        if account.password == Password::Usable {
            self.push(
                Action::LockPassword {
                    user: user.to_owned(),
                },
                ground,
            );
        }
    }

    fn converge_groups(
        &mut self,
        user: &str,
        wanted: &Wanted,
        account: &Account,
        person: Option<&PersonFacts>,
        ground: &Ground,
    ) {
        let mut asked: BTreeSet<&str> = wanted.groups.iter().map(String::as_str).collect();
        if wanted.instance {
            asked.extend(self.input.policy.service_group.as_deref());
        }
        for group in &asked {
            if account.groups.contains(*group) {
                continue;
            }
            match self.accounts.groups.get(*group) {
                Some(gid) => {
                    let action = Action::JoinGroup {
                        user: user.to_owned(),
                        group: (*group).to_owned(),
                        gid: *gid,
                    };
                    self.push(action, ground);
                }
                None => self
                    .missing_groups
                    .entry((*group).to_owned())
                    .or_default()
                    .push(user.to_owned()),
            }
        }
        for group in account
            .groups
            .iter()
            .filter(|it| !asked.contains(it.as_str()))
        {
            if person.is_some_and(|it| it.given.contains(group)) {
                let action = Action::LeaveGroup {
                    user: user.to_owned(),
                    group: group.clone(),
                    because: Leave::NotAsked,
                };
                self.push(action, ground);
            } else {
                self.notes.push(Note::NotFromRoster {
                    user: user.to_owned(),
                    group: group.clone(),
                });
            }
        }
    }

    /// An empty home is made once. One that vanished later may be a file system that is not mounted.
    fn converge_home(
        &mut self,
        user: &str,
        account: &Account,
        person: Option<&PersonFacts>,
        ground: &Ground,
    ) {
        let home = self.input.observed.people.get(user).map(|it| &it.home);
        let made = person.is_some_and(|it| it.home_made);
        let adopting = person.is_none() && self.accounts.by_name.contains_key(user);
        match home {
            Some(Reading::Known(Home::Directory(_))) if person.is_some() || adopting => {}
            Some(Reading::Known(Home::Absent)) if made || adopting => {
                self.refuse(
                    user,
                    format!(
                        "home {} is gone; an empty one is not put in its place",
                        account.home
                    ),
                );
            }
            Some(Reading::Known(Home::Odd(what))) => {
                self.refuse(user, format!("home {}: {what}", account.home))
            }
            Some(Reading::Unknown(why)) => {
                self.notes.push(Note::Unread {
                    part: format!("the home of {user}"),
                    why: why.clone(),
                });
            }
            Some(Reading::Known(Home::Absent)) | None => {
                self.push(
                    Action::CreateHome {
                        user: user.to_owned(),
                        home: account.home.clone(),
                    },
                    ground,
                );
            }
            // A directory that was there before the account keeps its content and is not touched (R37).
            Some(Reading::Known(Home::Directory(_))) => self.refuse(
                user,
                format!(
                    "{} was there before the account; it is used as it is, and not handed over",
                    account.home
                ),
            ),
        }
    }

    fn converge_instance(
        &mut self,
        user: &str,
        wanted: &Wanted,
        person: Option<&PersonFacts>,
        ground: &Ground,
    ) {
        if !self.input.policy.runs_instances() {
            return;
        }
        if !wanted.instance {
            return self.still_units(user, ground);
        }
        let mut ports = person.map(|it| it.ports.clone()).unwrap_or_default();
        let mut ground = ground.clone();
        match self.ports.complete(user, person) {
            Ok(missing) if missing.is_empty() => {}
            Ok(missing) => {
                ports.extend(missing.clone());
                let assigned = self.push(
                    Action::AssignPorts {
                        user: user.to_owned(),
                        ports: missing,
                    },
                    &ground,
                );
                ground.needs.push(assigned);
            }
            Err(why) => {
                return self.refuse(
                    user,
                    format!("no port: {why}; people who have theirs keep them"),
                );
            }
        }
        let authentik_user = person
            .map_or(&wanted.authentik_user, |it| &it.authentik_user)
            .clone();
        self.converge_environment(user, wanted, person, &ports, &ground);
        let first = self
            .input
            .policy
            .families
            .first()
            .and_then(|family| ports.get(&family.name))
            .copied();
        if let Some(port) = first {
            self.first_ports.insert(user.to_owned(), port);
            let value = render::dispatch_value(user, port);
            self.want_entry(
                Aggregate::Dispatch,
                authentik_user.clone(),
                user,
                value,
                &ground,
            );
        }
        self.want_entry(
            Aggregate::LoginMap,
            authentik_user,
            user,
            user.to_owned(),
            &ground,
        );
        if wanted.parked.is_some() {
            self.still_units(user, &ground);
        } else {
            self.run_units(user, &ground);
        }
    }

    fn converge_environment(
        &mut self,
        user: &str,
        wanted: &Wanted,
        person: Option<&PersonFacts>,
        ports: &Ports,
        ground: &Ground,
    ) {
        let Reading::Known(found) = &self.input.observed.environments else {
            return;
        };
        if !self.input.policy.environment {
            return;
        }
        let content = match person {
            // An identity that waits for a release is not handed to the instance before.
            Some(it)
                if it.authentik_user != wanted.authentik_user || it.k8s_user != wanted.k8s_user =>
            {
                let mut held = wanted.clone();
                held.authentik_user.clone_from(&it.authentik_user);
                held.k8s_user.clone_from(&it.k8s_user);
                render::environment(user, &held, ports)
            }
            _ => render::environment(user, wanted, ports),
        };
        let digest = render::digest(&content);
        if found.get(user) != Some(&digest) {
            self.push(
                Action::WriteEnvironment {
                    user: user.to_owned(),
                    digest,
                },
                ground,
            );
            self.environments.insert(user.to_owned(), content);
        }
    }

    fn units(&self) -> Option<&'a Units> {
        self.input.observed.units.known()
    }

    fn run_units(&mut self, user: &str, ground: &Ground) {
        let Some(units) = self.units() else { return };
        for template in &self.input.policy.units {
            let unit = unit_name(template, user);
            let state = units.by_name.get(&unit).copied().unwrap_or_default();
            let blocked = (!units.templates.contains(template))
                .then(|| format!("unit {template} is not installed on this host"));
            if !state.enabled {
                let action = Action::Unit {
                    user: user.to_owned(),
                    unit: unit.clone(),
                    change: UnitChange::Enable,
                };
                self.push_blocked(action, ground, blocked.clone());
            }
            if !state.active && units.manager == Manager::Running {
                let action = Action::Unit {
                    user: user.to_owned(),
                    unit,
                    change: UnitChange::Start,
                };
                self.push_blocked(action, ground, blocked);
            }
        }
    }

    fn still_units(&mut self, user: &str, ground: &Ground) {
        let Some(units) = self.units() else { return };
        for template in &self.input.policy.units {
            let unit = unit_name(template, user);
            let state = units.by_name.get(&unit).copied().unwrap_or_default();
            if state.active {
                let action = Action::Unit {
                    user: user.to_owned(),
                    unit: unit.clone(),
                    change: UnitChange::Stop,
                };
                self.push(action, ground);
            }
            if state.enabled {
                let action = Action::Unit {
                    user: user.to_owned(),
                    unit,
                    change: UnitChange::Disable,
                };
                self.push(action, ground);
            }
        }
    }

    fn want_entry(
        &mut self,
        file: Aggregate,
        key: String,
        user: &str,
        value: String,
        ground: &Ground,
    ) {
        if self.input.policy.aggregates.contains(&file) {
            let entry = WantedEntry {
                user: user.to_owned(),
                value,
                ground: ground.clone(),
            };
            self.entries.insert((file, key), entry);
        }
    }

    /// Cuts whoever is known here and not kept: level-triggered, from the ledger, until it is observed done (R33, R34).
    fn cut_whoever_left(&mut self, kept: &BTreeSet<&str>) {
        let gone: Vec<(&'a String, &'a PersonFacts)> = self
            .input
            .facts
            .people
            .iter()
            .filter(|(user, it)| {
                !kept.contains(user.as_str())
                    && !matches!(it.stage, Stage::Archived | Stage::Deleted)
            })
            .collect();
        let active = gone.iter().filter(|(_, it)| it.stage != Stage::Cut).count();
        if !self.input.desired.anybody && active > 0 {
            self.notes.push(Note::EmptyRoster { kept: active });
        }
        for (user, person) in gone {
            if person.stage != Stage::Cut && !self.input.desired.anybody {
                self.keep_entries_of(user, person);
            } else {
                self.cut(user, person);
            }
        }
    }

    fn cut(&mut self, user: &str, person: &PersonFacts) {
        let mut ground = Ground {
            incarnation: Incarnation::Account {
                uid: person.uid,
                entry: person.entry,
            },
            needs: Vec::new(),
        };
        let account = self
            .accounts
            .by_name
            .get(user)
            .filter(|it| it.uid == person.uid);
        if person.stage != Stage::Cut {
            let policy = self.input.policy;
            let root_equivalent = account.is_some_and(|it| {
                it.groups
                    .iter()
                    .any(|group| policy.is_privileged_group(group))
            });
            let cut = self.push(
                Action::Cut {
                    user: user.to_owned(),
                    root_equivalent,
                },
                &ground,
            );
            self.cuts.insert(user.to_owned(), cut);
            ground.needs.push(cut);
        }
        self.still_units(user, &ground);
        let Some(account) = account else { return };
        if let Some(group) = self
            .input
            .policy
            .service_group
            .as_ref()
            .filter(|it| account.groups.contains(*it))
        {
            let action = Action::LeaveGroup {
                user: user.to_owned(),
                group: group.clone(),
                because: Leave::Cut,
            };
            self.push(action, &ground);
        }
        let mut locking = None;
        if !is_shut(account, &self.input.policy.nologin) {
            locking = Some(self.push(
                Action::LockLogin {
                    user: user.to_owned(),
                },
                &ground,
            ));
        }
        let seen = self.input.observed.people.get(user);
        if let Some(traces) = seen.and_then(|it| it.traces.as_ref()) {
            self.set_traces_aside(user, traces, locking, &ground);
        }
        let home_id = match seen.map(|it| &it.home) {
            Some(Reading::Known(Home::Directory(id))) => Some(id.clone()),
            _ => None,
        };
        ground.incarnation = Incarnation::Home {
            uid: person.uid,
            entry: person.entry,
            home: home_id.clone(),
        };
        let action = Action::ArchiveDelete {
            user: user.to_owned(),
            uid: person.uid,
            home: account.home.clone(),
            home_id,
        };
        self.push(action, &ground);
    }

    fn set_traces_aside(
        &mut self,
        user: &str,
        traces: &Traces,
        locking: Option<StepId>,
        ground: &Ground,
    ) {
        for trace in Trace::ALL {
            match trace_reading(traces, trace) {
                Reading::Known(true) => {
                    let action = Action::Trace {
                        user: user.to_owned(),
                        trace,
                        direction: Direction::SetAside,
                    };
                    self.push(action, ground);
                }
                Reading::Known(false) => {}
                Reading::Unknown(why) => {
                    let part = format!("{} of {user}", trace.word());
                    self.notes.push(Note::Unread {
                        part,
                        why: why.clone(),
                    });
                }
            }
        }
        match &traces.processes {
            Reading::Known(0) => {}
            Reading::Known(_) => {
                // Ended sessions come back while the login is open.
                let mut ground = ground.clone();
                ground.needs.extend(locking);
                self.push(
                    Action::EndSessions {
                        user: user.to_owned(),
                    },
                    &ground,
                );
            }
            Reading::Unknown(why) => {
                let part = format!("processes of {user}");
                self.notes.push(Note::Unread {
                    part,
                    why: why.clone(),
                });
            }
        }
    }

    /// Wants the entries that somebody has today, so that an empty roster unmaps nobody.
    fn keep_entries_of(&mut self, user: &str, person: &PersonFacts) {
        let ground = Ground {
            incarnation: Incarnation::Account {
                uid: person.uid,
                entry: person.entry,
            },
            needs: Vec::new(),
        };
        for (file, entries) in &self.input.observed.aggregates {
            for (key, value) in entries.known().into_iter().flatten() {
                if owner(*file, key, value).as_deref() == Some(user) {
                    self.want_entry(*file, key.clone(), user, value.clone(), &ground);
                }
            }
        }
    }

    /// Compares the entries wanted with those observed. Entries of nobody we know stay.
    fn plan_entries(&mut self) {
        let wanted = std::mem::take(&mut self.entries);
        let policy = self.input.policy;
        let observed = self.input.observed;
        let formerly: BTreeMap<&str, &str> = self
            .input
            .facts
            .people
            .iter()
            .flat_map(|(user, it)| {
                it.formerly
                    .iter()
                    .map(move |old| (old.as_str(), user.as_str()))
            })
            .collect();
        for file in Aggregate::ALL
            .into_iter()
            .filter(|it| policy.aggregates.contains(it))
        {
            let Some(Reading::Known(found)) = observed.aggregates.get(&file) else {
                continue;
            };
            for ((_, key), entry) in wanted
                .range((file, String::new())..)
                .take_while(|((it, _), _)| *it == file)
            {
                let now = found.get(key);
                if now != Some(&entry.value) {
                    let action = Action::Entry {
                        user: entry.user.clone(),
                        file,
                        key: key.clone(),
                        from: now.cloned(),
                        to: Some(entry.value.clone()),
                    };
                    self.push(action, &entry.ground);
                }
            }
            for (key, value) in found
                .iter()
                .filter(|(key, _)| !wanted.contains_key(&(file, (*key).clone())))
            {
                let owner = owner(file, key, value);
                let user = owner
                    .as_deref()
                    .map(|it| formerly.get(it).copied().unwrap_or(it));
                let known = user.and_then(|user| Some((user, self.input.facts.people.get(user)?)));
                let Some((user, person)) = known else {
                    self.notes.push(Note::ForeignEntry {
                        file,
                        key: key.clone(),
                    });
                    continue;
                };
                let ground = Ground {
                    incarnation: Incarnation::Account {
                        uid: person.uid,
                        entry: person.entry,
                    },
                    needs: self.cuts.get(user).copied().into_iter().collect(),
                };
                let action = Action::Entry {
                    user: user.to_owned(),
                    file,
                    key: key.clone(),
                    from: Some(value.clone()),
                    to: None,
                };
                self.push(action, &ground);
            }
        }
    }
}

/// The os_user that an entry belongs to.
fn owner(file: Aggregate, key: &str, value: &str) -> Option<String> {
    match file {
        Aggregate::LoginMap => Some(value.to_owned()),
        Aggregate::Dispatch => render::dispatch_entry(value).map(|(user, _)| user),
        Aggregate::Admins => Some(key.to_owned()),
    }
}

fn unread<T>(reading: &Reading<T>) -> Option<&str> {
    match reading {
        Reading::Known(_) => None,
        Reading::Unknown(why) => Some(why),
    }
}

/// `t3-serve@.service` and `emo` make `t3-serve@emo.service`. The grammar of os_user needs no escaping by systemd,
/// save for `-`, which systemd keeps in instance names.
pub(super) fn unit_name(template: &str, user: &str) -> String {
    match template.split_once('@') {
        Some((name, suffix)) => format!("{name}@{user}{suffix}"),
        None => template.to_owned(),
    }
}
