//! What somebody who looks at the machine sees.

use super::*;

impl SimHost {
    pub(super) fn observe_accounts(&self, question: &Question<'_>) -> Accounts {
        let by_name =
            self.accounts
                .iter()
                .map(|(name, it)| {
                    let groups = self
                        .groups
                        .iter()
                        .filter(|(_, (_, members))| members.contains(name))
                        .map(|(group, _)| group.clone())
                        .collect();
                    // A name beside it that has lines of the same account, and no account.
                    let twin = self.lines.iter().find(|(other, gid)| {
                        **gid == it.gid && !self.accounts.contains_key(*other)
                    });
                    let account = Account {
                        more: Default::default(),
                        uid: it.uid,
                        gid: it.gid,
                        home: it.home.clone(),
                        shell: it.shell.clone(),
                        password: if it.password.starts_with(['!', '*']) {
                            Password::Locked
                        } else {
                            Password::Usable
                        },
                        expires: it.expires,
                        groups,
                        half_groups: self
                            .half
                            .iter()
                            .filter(|(_, members)| members.contains(name))
                            .map(|(group, _)| group.clone())
                            .collect(),
                        subuid: it.ranges.0,
                        subgid: it.ranges.1,
                        renaming_from: twin.map(|(other, _)| other.clone()),
                    };
                    (name.clone(), Box::new(account))
                })
                .collect();
        let asked = |name: &String| {
            question
                .people
                .get(name.as_str())
                .is_some_and(|it| it.ask_name_services)
        };
        Accounts {
            by_name,
            groups: self
                .groups
                .iter()
                .map(|(group, (gid, _))| (group.clone(), *gid))
                .collect(),
            subuids: self
                .accounts
                .values()
                .filter_map(|it| it.ranges.0)
                .collect(),
            subgids: self
                .accounts
                .values()
                .filter_map(|it| it.ranges.1)
                .collect(),
            foreign: self
                .name_service
                .iter()
                .filter(|(name, _)| asked(name))
                .map(|(name, uid)| (name.clone(), *uid))
                .collect(),
            foreign_uids: self.name_service.values().copied().collect(),
            defaults: Defaults::default(),
            shells: self
                .shells
                .intersection(&question.shells)
                .cloned()
                .collect(),
            root: self.observe_root(),
            hindrances: Default::default(),
            remains: question
                .remains
                .iter()
                .filter(|(name, it)| self.has_lines(name, it.gid))
                .map(|(name, _)| (*name).to_owned())
                .collect(),
        }
    }

    /// Whether there are lines of an account under a name that has none.
    pub(super) fn has_lines(&self, name: &str, gid: u32) -> bool {
        let private = self.groups.get(name).is_some_and(|(it, _)| *it == gid);
        !self.accounts.contains_key(name)
            && (private
                || self.lines.contains_key(name)
                || self.groups.values().any(|(_, it)| it.contains(name)))
    }

    pub(super) fn observe_root(&self) -> Sources {
        let mut awaited: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
        for (group, (_, members)) in &self.groups {
            for name in members.iter().filter(|it| !self.accounts.contains_key(*it)) {
                awaited
                    .entry(group.clone())
                    .or_default()
                    .insert(name.clone());
            }
        }
        let sudoers = self.sudoers.as_ref().map(|text| {
            let lines = sudoers::lines(text.as_bytes());
            let entries = lines.iter().filter_map(|line| match line {
                sudoers::Line::Entry(entry) => Some(entry.as_str()),
                sudoers::Line::Include(_) | sudoers::Line::IncludeDir(_) => None,
            });
            Sudoers::of(entries, BTreeSet::new())
        });
        Sources {
            administrators: self.administrators.clone(),
            awaited,
            sudoers: match self.unreadable.get("sudoers") {
                Some(why) => Reading::Unknown(why.clone()),
                None => Reading::Known(sudoers),
            },
        }
    }

    pub(super) fn observe_person(&self, user: &str, subject: &Subject) -> Person {
        let default = || {
            subject
                .home
                .map_or_else(|| format!("/home/{user}"), str::to_owned)
        };
        let path = self
            .accounts
            .get(user)
            .map_or_else(default, |it| it.home.clone());
        let home = match (self.homes.get(&path), self.accounts.get(user)) {
            (None, _) => Home::Absent,
            (Some(owner), Some(account)) if *owner != account.uid => {
                Home::Odd(format!("owned by uid {owner}"))
            }
            (Some(owner), _) => Home::Directory(home_id(*owner)),
        };
        let kept = subject.kept.map(|of| RemovedAccount {
            quarantined: Reading::Known(
                self.quarantine
                    .get(&shelf(of.uid, of.entry))
                    .filter(|_| !self.purging.contains(&shelf(of.uid, of.entry)))
                    .map(|(_, owner)| home_id(*owner)),
            ),
            purging: self
                .quarantine
                .get(&shelf(of.uid, of.entry))
                .filter(|_| self.purging.contains(&shelf(of.uid, of.entry)))
                .map(|(_, owner)| home_id(*owner)),
            archive: Reading::Known(self.archives.get(&archive_name(of.uid, of.entry)).map(
                |sha256| ArchiveSeen {
                    sha256: sha256.clone(),
                    bytes: 1,
                },
            )),
            remnants: Reading::Known(
                !self.accounts.contains_key(user)
                    && self
                        .groups
                        .iter()
                        .any(|(group, (_, members))| group == user || members.contains(user)),
            ),
        });
        let left = self.traces.get(user).cloned().unwrap_or_default();
        let traces = subject.traces.then(|| Traces {
            linger: Reading::Known(left.linger),
            keys: Reading::Known(left.keys.is_some()),
            crontab: Reading::Known(left.crontab.is_some()),
            processes: Reading::Known(left.processes),
            login_saved: Reading::Known(self.saved.get(user).is_some_and(|it| it.login.is_some())),
        });
        Person {
            home: Reading::Known(home),
            traces: traces.map(Box::new),
            kept: kept.map(Box::new),
        }
    }

    /// The effects of a batch, each of which a crash can precede or follow.
    pub(crate) fn effects_of(&self, intent: &Intent) -> Vec<Effect> {
        let mut effects: Vec<Effect> = Vec::new();
        let mut sound = Vec::new();
        for step in intent.steps() {
            match self.broken.get(step.resource()) {
                Some(why) => {
                    let complaint = (step.id, why.clone());
                    effects.push(Box::new(move |_| [complaint].into()));
                }
                None => sound.extend(Of::this(step)),
            }
        }
        match intent.turn() {
            Turn::Record | Turn::Assign | Turn::Make | Turn::Configure => {}
            // One batch, file by file, in the order in which the databases are renamed into place.
            Turn::Accounts => {
                for file in [
                    Database::Saved,
                    Database::Lines,
                    Database::Group,
                    Database::Gshadow,
                    Database::Shadow,
                    Database::Passwd,
                ] {
                    let steps = sound.clone();
                    effects.push(Box::new(move |host| {
                        steps
                            .iter()
                            .for_each(|step| host.write_database(file, step));
                        Complaints::new()
                    }));
                }
            }
            Turn::Files => {
                let Material::Files(writes) = intent.material() else {
                    return effects;
                };
                for write in writes.iter().cloned() {
                    effects.push(Box::new(move |host| {
                        host.write_file(write);
                        Complaints::new()
                    }));
                }
            }
            Turn::Quiesce
            | Turn::Homes
            | Turn::Start
            | Turn::Sessions
            | Turn::Rename
            | Turn::Destroy => {
                for step in sound {
                    for part in Part::of(&step.action) {
                        let step = step.clone();
                        effects.push(Box::new(move |host| {
                            host.remove(part, &step);
                            Complaints::new()
                        }));
                    }
                    for part in NamePart::of(&step.action) {
                        let step = step.clone();
                        effects.push(Box::new(move |host| {
                            host.rename(part, &step.action);
                            Complaints::new()
                        }));
                    }
                    for part in PurgePart::of(&step.action) {
                        let step = step.clone();
                        effects.push(Box::new(move |host| {
                            host.purge(part, &step);
                            Complaints::new()
                        }));
                    }
                    effects.push(Box::new(move |host| {
                        host.act(&step.action);
                        Complaints::new()
                    }));
                }
            }
        }
        effects
    }
}
