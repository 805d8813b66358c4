//! A machine in memory: accounts, homes, files, units, and what a login leaves behind.

mod observe;
mod parts;

use std::collections::{BTreeMap, BTreeSet};

use muster_core::accounts::action::Incarnation;
use muster_core::accounts::action::{Action, Direction, HomeSource, Trace, UnitChange};
use muster_core::accounts::facts::{HomeId, IdRange, archive_name};
use muster_core::accounts::observed::{
    Account, Accounts, ArchiveSeen, Defaults, Home, Manager, Observed, Password, Person, Question,
    RemovedAccount, Subject, Traces, UnitState, Units,
};
use muster_core::accounts::policy::Aggregate;
use muster_core::accounts::render::{self, FileWrite};
use muster_core::accounts::root::Sources;
use muster_core::accounts::sudoers::{self, Sudoers};
use muster_core::accounts::verbs::Verb;
use muster_core::gate::Intent;
use muster_core::id::StepId;
use muster_core::reading::Reading;
use muster_core::rooms::{self, Material};
use muster_core::step::Step;
use muster_core::turn::Turn;
use muster_core::world::Complaints;

use self::parts::{NamePart, Part, PurgePart};

/// A whole machine.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SimHost {
    /// Accounts by name.
    pub accounts: BTreeMap<String, SimAccount>,
    /// Gids of groups, and their members.
    pub groups: BTreeMap<String, (u32, BTreeSet<String>)>,
    /// Memberships that only one of the two group files has, by group.
    pub half: BTreeMap<String, BTreeSet<String>>,
    /// Administrators of groups, by group.
    pub administrators: BTreeMap<String, BTreeSet<String>>,
    /// The text of sudoers, if there is one; it includes nothing.
    pub sudoers: Option<String>,
    /// Homes, with the uid they belong to.
    pub homes: BTreeMap<String, u32>,
    /// Homes of which a part is missing, by their path.
    pub damaged: BTreeSet<String>,
    /// Names that have lines in subuid, subgid and shadow, with the gid of their account. Accounts made by hand have none.
    pub lines: BTreeMap<String, u32>,
    /// Shells that are installed.
    pub shells: BTreeSet<String>,
    /// Unit templates that are installed.
    pub templates: BTreeSet<String>,
    /// Units by name.
    pub units: BTreeMap<String, UnitState>,
    /// Environment files by person.
    pub environments: BTreeMap<String, String>,
    /// Aggregate files.
    pub files: BTreeMap<Aggregate, String>,
    /// What logins left behind, by account.
    pub traces: BTreeMap<String, SimTraces>,
    /// What cuts saved, by account.
    pub saved: BTreeMap<String, Saved>,
    /// Accounts whose steps fail, and why.
    pub broken: BTreeMap<String, String>,
    /// Names and uids that only a name service knows.
    pub name_service: BTreeMap<String, u32>,
    /// Homes in quarantine, by the uid and entry of their account: where each was, and whose.
    pub quarantine: BTreeMap<String, (String, u32)>,
    /// Those of them whose removal for ever was begun.
    pub purging: BTreeSet<String>,
    /// Those of them of which a part is removed.
    pub emptied: BTreeSet<String>,
    /// Archives of homes, by file name, and their digests.
    pub archives: BTreeMap<String, String>,
    /// What cannot be read, and why.
    pub unreadable: BTreeMap<String, String>,
}

/// One account.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SimAccount {
    /// Its uid.
    pub uid: u32,
    /// Its primary gid.
    pub gid: u32,
    /// Its home.
    pub home: String,
    /// Its shell.
    pub shell: String,
    /// Its password field.
    pub password: String,
    /// The day it expired.
    pub expires: Option<i64>,
    /// Its subordinate uids and gids.
    pub ranges: (Option<IdRange>, Option<IdRange>),
}

/// What a login left behind.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SimTraces {
    /// User services outlive the session.
    pub linger: bool,
    /// The authorized keys.
    pub keys: Option<String>,
    /// The crontab.
    pub crontab: Option<String>,
    /// Processes.
    pub processes: usize,
}

/// What a cut saved.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Saved {
    /// Password field, expiry and shell.
    pub login: Option<(String, Option<i64>, String)>,
    /// Traces.
    pub traces: BTreeMap<Trace, String>,
}

/// One effect of an act.
pub(crate) type Effect = Box<dyn FnOnce(&mut SimHost) -> Complaints>;

impl SimHost {
    /// A freshly installed machine with the groups and shells that tiers name.
    pub fn debian() -> Self {
        let mut host = Self::default();
        for (group, gid) in [
            ("sudo", 27),
            ("docker", 998),
            ("code-shared", 997),
            ("t3", 996),
        ] {
            host.groups.insert(group.to_owned(), (gid, BTreeSet::new()));
        }
        host.shells = ["/bin/bash", "/bin/zsh"].map(str::to_owned).into();
        host.templates = ["t3-serve@.service".to_owned()].into();
        host.add_account("root", 0, "/bin/bash");
        host.add_account("daemon", 1, "/usr/sbin/nologin");
        host
    }

    /// Adds an account by hand, behind muster's back.
    pub fn add_account(&mut self, name: &str, uid: u32, shell: &str) {
        let home = format!("/home/{name}");
        self.groups.insert(name.to_owned(), (uid, BTreeSet::new()));
        self.homes.insert(home.clone(), uid);
        let account = SimAccount {
            uid,
            gid: uid,
            home,
            shell: shell.to_owned(),
            password: "$y$secret".to_owned(),
            expires: None,
            ranges: (None, None),
        };
        self.accounts.insert(name.to_owned(), account);
    }

    pub(crate) fn observe(&self, question: &Question<'_>) -> Observed {
        let unread = || Reading::Unknown("not asked".to_owned());
        let gate = |part: &str, asked: bool| match self.unreadable.get(part) {
            Some(why) => Err(why.clone()),
            None if asked => Ok(()),
            None => Err("not asked".to_owned()),
        };
        Observed {
            accounts: match gate("accounts", question.parts.accounts) {
                Ok(()) => Reading::Known(self.observe_accounts(question)),
                Err(why) => Reading::Unknown(why),
            },
            people: if question.parts.homes {
                question
                    .people
                    .iter()
                    .map(|(user, it)| ((*user).to_owned(), self.observe_person(user, it)))
                    .collect()
            } else {
                BTreeMap::new()
            },
            environments: if question.parts.files {
                Reading::Known(
                    self.environments
                        .iter()
                        .map(|(user, text)| (user.clone(), render::digest(text)))
                        .collect(),
                )
            } else {
                unread()
            },
            aggregates: Aggregate::ALL
                .into_iter()
                .map(|file| {
                    let reading = match gate(file.word(), question.parts.files) {
                        Err(why) => Reading::Unknown(why),
                        Ok(()) => {
                            let text = self.files.get(&file).map_or("", String::as_str);
                            render::parse_aggregate(file, text)
                                .map_or_else(Reading::Unknown, Reading::Known)
                        }
                    };
                    (file, reading)
                })
                .collect(),
            cluster_tiers: None,
            units: match gate("units", question.parts.units) {
                Ok(()) => Reading::Known(Units {
                    manager: Manager::Running,
                    by_name: self.units.clone(),
                    templates: self.templates.clone(),
                }),
                Err(why) => Reading::Unknown(why),
            },
        }
    }

    fn write_database(&mut self, file: Database, step: &Of) {
        match (&step.action, file) {
            (
                Action::CreateAccount { user, gid, .. } | Action::RestoreAccount { user, gid, .. },
                Database::Lines,
            ) => {
                self.lines.insert(user.clone(), *gid);
            }
            (Action::ClearRemains { user, .. }, Database::Lines) => {
                if !self.accounts.contains_key(user) {
                    self.lines.remove(user);
                }
            }
            (Action::ClearRemains { user, gid, .. }, Database::Group) => {
                if !self.accounts.contains_key(user) {
                    if self.groups.get(user).is_some_and(|(it, _)| it == gid) {
                        self.groups.remove(user);
                    }
                    self.forget(user);
                }
            }
            (
                Action::CreateAccount { user, gid, .. } | Action::RestoreAccount { user, gid, .. },
                Database::Group,
            ) => {
                self.groups
                    .entry(user.clone())
                    .or_insert((*gid, BTreeSet::new()));
            }
            (
                Action::CreateAccount {
                    user,
                    uid,
                    gid,
                    home,
                    shell,
                    subuid,
                    subgid,
                    ..
                }
                | Action::RestoreAccount {
                    user,
                    uid,
                    gid,
                    home,
                    shell,
                    subuid,
                    subgid,
                    ..
                },
                Database::Passwd,
            ) => {
                let account = SimAccount {
                    uid: *uid,
                    gid: *gid,
                    home: home.clone(),
                    shell: shell.clone(),
                    password: "!".to_owned(),
                    expires: None,
                    ranges: (*subuid, *subgid),
                };
                self.accounts.insert(user.clone(), account);
            }
            // A membership stands in two files, and one is renamed before the other.
            (Action::JoinGroup { user, group, .. }, Database::Group) => {
                if let Some((_, members)) = self.groups.get_mut(group)
                    && members.insert(user.clone())
                {
                    self.half
                        .entry(group.clone())
                        .or_default()
                        .insert(user.clone());
                }
            }
            (Action::LeaveGroup { user, group, .. }, Database::Group)
                if self
                    .groups
                    .get(group)
                    .is_some_and(|(_, it)| it.contains(user)) =>
            {
                self.half
                    .entry(group.clone())
                    .or_default()
                    .insert(user.clone());
            }
            (Action::JoinGroup { user, group, .. }, Database::Gshadow) => {
                self.make_whole(user, group);
            }
            (Action::LeaveGroup { user, group, .. }, Database::Gshadow) => {
                if let Some((_, members)) = self.groups.get_mut(group) {
                    members.remove(user);
                }
                self.make_whole(user, group);
            }
            (Action::LockLogin { user, .. }, Database::Saved) => {
                if let Some(it) = self.accounts.get(user) {
                    let login = (it.password.clone(), it.expires, it.shell.clone());
                    self.saved
                        .entry(user.clone())
                        .or_default()
                        .login
                        .get_or_insert(login);
                }
            }
            (Action::LockPassword { user }, Database::Shadow) => self.lock_password(user),
            (Action::LockLogin { user, .. }, Database::Shadow) => {
                self.lock_password(user);
                if let Some(it) = self.accounts.get_mut(user) {
                    it.expires = Some(1);
                }
            }
            (Action::RestorePassword { user, .. }, Database::Shadow) => {
                if let Some(it) = self.accounts.get_mut(user)
                    && it.password.starts_with('!')
                {
                    it.password.remove(0);
                }
            }
            (Action::UnlockLogin { user, .. }, Database::Shadow) => {
                let saved = self.saved.get(user).and_then(|it| it.login.clone());
                if let (Some(it), Some((password, expires, _))) =
                    (self.accounts.get_mut(user), saved)
                {
                    let now = it.password.strip_prefix('!').unwrap_or(&it.password);
                    // Another one that somebody set in between stays.
                    it.password = if [it.password.as_str(), now].contains(&password.as_str()) {
                        password
                    } else {
                        now.to_owned()
                    };
                    it.expires = expires;
                }
            }
            (Action::SetShell { user, to, .. }, Database::Passwd) => {
                self.set_shell(user, to.clone())
            }
            (Action::LockLogin { user, .. }, Database::Passwd) => {
                self.set_shell(user, "/usr/sbin/nologin".to_owned())
            }
            (Action::UnlockLogin { user, .. }, Database::Passwd) => {
                if let Some((_, _, shell)) = self.saved.get_mut(user).and_then(|it| it.login.take())
                {
                    self.set_shell(user, shell);
                }
            }
            // Written to another database, or to none.
            (
                Action::CreateAccount { .. }
                | Action::AdoptAccount { .. }
                | Action::RenameAccount { .. }
                | Action::ChangeUid { .. }
                | Action::ChangeIdentity { .. }
                | Action::SetShell { .. }
                | Action::LockPassword { .. }
                | Action::JoinGroup { .. }
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
                | Action::LockLogin { .. }
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
                | Action::PurgeHome { .. },
                Database::Saved
                | Database::Lines
                | Database::Group
                | Database::Gshadow
                | Database::Shadow
                | Database::Passwd,
            ) => {}
        }
    }

    fn lock_password(&mut self, user: &str) {
        if let Some(it) = self.accounts.get_mut(user)
            && !it.password.starts_with(['!', '*'])
        {
            it.password.insert(0, '!');
        }
    }

    fn set_shell(&mut self, user: &str, shell: String) {
        if let Some(it) = self.accounts.get_mut(user) {
            it.shell = shell;
        }
    }

    fn write_file(&mut self, write: FileWrite) {
        match write {
            FileWrite::Environment { user, content } => {
                self.environments.insert(user, content);
            }
            FileWrite::Aggregate {
                file,
                before,
                content,
            } => {
                let now =
                    render::parse_aggregate(file, self.files.get(&file).map_or("", String::as_str));
                if now.as_ref() == Ok(&before) {
                    self.files.insert(file, content);
                }
            }
        }
    }

    /// One part of a removal; each does nothing where it is done.
    fn remove(&mut self, part: Part, step: &Of) {
        let (
            Action::ArchiveDelete {
                user, uid, home, ..
            },
            Incarnation::Home { entry, .. },
        ) = (&step.action, &step.incarnation)
        else {
            return;
        };
        match part {
            Part::Quarantine => {
                if let Some(owner) = self.homes.remove(home) {
                    self.quarantine
                        .insert(shelf(*uid, *entry), (home.clone(), owner));
                }
            }
            Part::Archive => {
                let name = archive_name(*uid, *entry);
                let digest = render::digest(&name);
                self.archives.entry(name).or_insert(digest);
            }
            Part::Passwd => {
                self.accounts.remove(user);
            }
            Part::Group => {
                self.groups.remove(user);
                self.lines.remove(user);
                self.forget(user);
            }
        }
    }

    /// Takes a name out of every group.
    fn forget(&mut self, user: &str) {
        for (_, members) in self.groups.values_mut() {
            members.remove(user);
        }
        for members in self.half.values_mut() {
            members.remove(user);
        }
        self.half.retain(|_, members| !members.is_empty());
    }

    /// One part of a rename; each does nothing where it is done.
    fn rename(&mut self, part: NamePart, action: &Action) {
        let Action::RenameAccount { from, user, uid } = action else {
            return;
        };
        if self
            .accounts
            .get(from)
            .or_else(|| self.accounts.get(user))
            .map(|it| it.uid)
            != Some(*uid)
        {
            return;
        }
        match part {
            NamePart::Lines => {
                if let (true, Some(gid)) = (self.accounts.contains_key(from), self.lines.get(from))
                {
                    self.lines.insert(user.clone(), *gid);
                }
            }
            NamePart::Group => {
                if !self.accounts.contains_key(from) {
                    return;
                }
                for (_, members) in self.groups.values_mut() {
                    if members.contains(from) {
                        members.insert(user.clone());
                    }
                }
                if let Some((gid, members)) = self.groups.get(from).cloned() {
                    self.groups.entry(user.clone()).or_insert((gid, members));
                }
            }
            NamePart::Passwd => {
                if let Some(account) = self.accounts.remove(from) {
                    self.accounts.insert(user.clone(), account);
                }
            }
            NamePart::Files => {
                if let Some(traces) = self.traces.remove(from) {
                    self.traces.insert(user.clone(), traces);
                }
                if let Some(saved) = self.saved.remove(from) {
                    self.saved.insert(user.clone(), saved);
                }
                self.environments.remove(from);
                self.units
                    .retain(|unit, _| !unit.contains(&format!("@{from}.")));
            }
            NamePart::Former => {
                self.groups.remove(from);
                self.lines.remove(from);
                self.forget(from);
            }
        }
    }

    /// One part of a removal for ever.
    fn purge(&mut self, part: PurgePart, step: &Of) {
        let (Action::PurgeHome { uid, .. }, Incarnation::Home { entry, .. }) =
            (&step.action, &step.incarnation)
        else {
            return;
        };
        let shelf = shelf(*uid, *entry);
        if !self.quarantine.contains_key(&shelf) {
            return;
        }
        match part {
            PurgePart::Mark => {
                self.purging.insert(shelf);
            }
            PurgePart::Half => {
                self.emptied.insert(shelf);
            }
            PurgePart::All => {
                self.quarantine.remove(&shelf);
                self.purging.remove(&shelf);
                self.emptied.remove(&shelf);
            }
        }
    }

    fn act(&mut self, action: &Action) {
        match action {
            Action::RestoreHome {
                user,
                home,
                of,
                from,
                ..
            } => {
                let Some(account) = self.accounts.get(user) else {
                    return;
                };
                let shelf = shelf(account.uid, *of);
                let was_there = self.quarantine.remove(&shelf).is_some();
                self.purging.remove(&shelf);
                let is_emptied = self.emptied.remove(&shelf);
                match from {
                    HomeSource::Quarantine { .. } if is_emptied && was_there => {
                        self.damaged.insert(home.clone());
                    }
                    HomeSource::Quarantine { .. } | HomeSource::Archive { .. } => {}
                }
                self.homes.entry(home.clone()).or_insert(account.uid);
            }
            Action::CreateHome { user, home } => {
                if let Some(account) = self.accounts.get(user) {
                    self.homes.entry(home.clone()).or_insert(account.uid);
                }
            }
            Action::Trace {
                user,
                trace,
                direction,
                ..
            } => self.move_trace(user, *trace, *direction),
            Action::EndSessions { user } => {
                self.traces.entry(user.clone()).or_default().processes = 0
            }
            Action::Unit { unit, change, .. } => {
                let state = self.units.entry(unit.clone()).or_default();
                match change {
                    UnitChange::Stop => state.active = false,
                    UnitChange::Disable => state.enabled = false,
                    UnitChange::Enable => state.enabled = true,
                    UnitChange::Start => state.active = true,
                }
            }
            // Written to the databases or to files, removed or renamed part by part, or kept in the ledger alone.
            Action::CreateAccount { .. }
            | Action::RenameAccount { .. }
            | Action::PurgeHome { .. }
            | Action::ClearRemains { .. }
            | Action::AdoptAccount { .. }
            | Action::ChangeUid { .. }
            | Action::ChangeIdentity { .. }
            | Action::SetShell { .. }
            | Action::LockPassword { .. }
            | Action::JoinGroup { .. }
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
            | Action::LockLogin { .. }
            | Action::UnlockLogin { .. }
            | Action::WriteEnvironment { .. }
            | Action::Entry { .. }
            | Action::ArchiveDelete { .. }
            | Action::RecordArchive { .. }
            | Action::RestoreAccount { .. } => {}
        }
    }

    /// Both group files say the same of this membership.
    fn make_whole(&mut self, user: &str, group: &str) {
        if let Some(members) = self.half.get_mut(group) {
            members.remove(user);
            if members.is_empty() {
                self.half.remove(group);
            }
        }
    }

    fn move_trace(&mut self, user: &str, trace: Trace, direction: Direction) {
        let left = self.traces.entry(user.to_owned()).or_default();
        let saved = &mut self.saved.entry(user.to_owned()).or_default().traces;
        match direction {
            Direction::SetAside => {
                let content = match trace {
                    Trace::Linger => std::mem::take(&mut left.linger).then(String::new),
                    Trace::AuthorizedKeys => left.keys.take(),
                    Trace::Crontab => left.crontab.take(),
                };
                if let Some(content) = content {
                    saved.entry(trace).or_insert(content);
                }
            }
            Direction::Restore => {
                let Some(content) = saved.remove(&trace) else {
                    return;
                };
                match trace {
                    Trace::Linger => left.linger = true,
                    Trace::AuthorizedKeys => left.keys = Some(content),
                    Trace::Crontab => left.crontab = Some(content),
                }
            }
        }
    }
}

fn home_id(owner: u32) -> HomeId {
    HomeId {
        inode: u64::from(owner),
        born: 1,
        filesystem: "sim".into(),
    }
}

fn shelf(uid: u32, entry: StepId) -> String {
    format!("{uid}.{entry}")
}

/// A step about an account.
#[derive(Clone)]
struct Of {
    action: Action,
    incarnation: Incarnation,
}

impl Of {
    fn this(step: &Step) -> Option<Self> {
        match (&step.action, &step.incarnation) {
            (rooms::Action::Account(action), rooms::Incarnation::Account(incarnation)) => {
                Some(Self {
                    action: action.clone(),
                    incarnation: incarnation.clone(),
                })
            }
            (rooms::Action::Account(_) | rooms::Action::Guest(_), _) => None,
        }
    }
}

/// The databases as a batch writes them.
#[derive(Clone, Copy)]
enum Database {
    Saved,
    Lines,
    Group,
    Gshadow,
    Shadow,
    Passwd,
}
