//! Carries out one batch. It returns what went wrong with each step; whether a step is done, the next observation says.

mod rename;

use std::collections::BTreeMap;

use muster_core::accounts::action::Incarnation;
use muster_core::accounts::action::{Action, Direction, Trace, UnitChange};
use muster_core::gate::Intent;
use muster_core::id::StepId;
use muster_core::rooms::Material;
use muster_core::turn::Turn;
use muster_core::world::Complaints;

use crate::accounts::{self, Databases, Locked, LoginDefs, NewAccount, PrimaryGroup, SavedLogin};
use crate::dir::with_causes;
use crate::homes::{self, NewHome, Skeleton};
use crate::saved::{LOGIN, Shelf};
use crate::sessions::{self, Claims, Owner};
use crate::step::Step;
use crate::traces::{self, Whose};
use crate::{Host, files, units};

type Progress<'a> = &'a mut dyn FnMut(usize, usize);

impl Host {
    pub(crate) fn carry_out(&mut self, intent: &Intent, progress: Progress<'_>) -> Complaints {
        let (steps, mut complaints) = crate::step::of(intent);
        let steps = steps.as_slice();
        let result = match intent.turn() {
            // The record is the effect.
            Turn::Record | Turn::Assign | Turn::Make | Turn::Configure => Ok(Complaints::new()),
            Turn::Quiesce | Turn::Start => self.change_units(steps, progress),
            Turn::Accounts => self.change_accounts(steps, intent.at().days(), progress),
            Turn::Homes => self.change_homes(steps, progress),
            Turn::Files => {
                let places = files::Places {
                    root: &self.dir,
                    ownership: self.settings.ownership,
                    environment: self.environment.as_ref(),
                    aggregates: &self.settings.aggregates,
                };
                let writes = match intent.material() {
                    Material::Files(writes) => writes.as_slice(),
                    Material::Guests(_) | Material::Nothing => &[],
                };
                Ok(files::write(&places, steps, writes, progress))
            }
            Turn::Sessions => self.end_sessions(steps, progress),
            Turn::Rename => self.rename(steps, progress),
            Turn::Destroy => Ok(self.destroy(steps, intent.at(), progress)),
        };
        // What stops a whole batch is said of each of its steps, so that each is tried again later and shows why.
        let of_steps =
            result.unwrap_or_else(|why| steps.iter().map(|step| (step.id, why.clone())).collect());
        complaints.extend(of_steps);
        complaints
    }

    fn change_units(
        &mut self,
        steps: &[Step<'_>],
        progress: Progress<'_>,
    ) -> Result<Complaints, String> {
        let bus = self.bus()?;
        let mut changes: Vec<(&str, UnitChange)> = Vec::new();
        for step in steps {
            match step.action {
                Action::Unit { unit, change, user } => {
                    crate::check_name(user)?;
                    changes.push((unit, *change));
                }
                other => return Err(misplaced(other)),
            }
        }
        let results = units::change(&self.dir, bus.as_ref(), &changes);
        progress(steps.len(), steps.len());
        Ok(collect(steps, results))
    }

    /// One lock, one read, one commit for all steps. What a cut takes of a login is saved and durable before the
    /// databases are written, and what a way back restores is dropped only after they are durable.
    fn change_accounts(
        &mut self,
        steps: &[Step<'_>],
        today: i64,
        progress: Progress<'_>,
    ) -> Result<Complaints, String> {
        let (defs, _, wrong) = LoginDefs::read_what_can_be(&self.root);
        let locked = Locked::take(&self.root, Locked::WAIT).map_err(|error| with_causes(&error))?;
        let mut databases = locked.read().map_err(|error| with_causes(&error))?;
        let mut complaints = Complaints::new();
        let mut restored: Vec<(StepId, Shelf)> = Vec::new();
        for (done, step) in steps.iter().enumerate() {
            // Settings that cannot be read are about new accounts alone.
            let made = match (step.action, &wrong) {
                (Action::CreateAccount { .. }, Some(why)) => Err(why.clone()),
                (_, _) => self.edit(&mut databases, step, &defs.aging, today),
            };
            match made {
                Ok(None) => {}
                Ok(Some(shelf)) => restored.push((step.id, shelf)),
                Err(why) => {
                    complaints.insert(step.id, why);
                }
            }
            progress(done + 1, steps.len());
        }
        locked
            .commit(databases)
            .map_err(|error| with_causes(&error))?;
        for (step, shelf) in restored {
            if let Err(error) = shelf.drop_save(LOGIN) {
                complaints.insert(step, with_causes(&error));
            }
        }
        Ok(complaints)
    }

    /// Makes one edit; the shelf of a saved login that is to be dropped once the edit is durable.
    fn edit(
        &self,
        databases: &mut Databases,
        step: &Step<'_>,
        aging: &accounts::Aging,
        today: i64,
    ) -> Result<Option<Shelf>, String> {
        let said = |error: accounts::EditError| with_causes(&error);
        crate::check_name(step.action.user())?;
        let uid = expect(databases, step)?;
        match step.action {
            Action::CreateAccount {
                user,
                uid,
                gid,
                home,
                shell,
                subuid,
                subgid,
                authentik_user: _,
                k8s_user: _,
            }
            | Action::RestoreAccount {
                user,
                uid,
                gid,
                home,
                shell,
                subuid,
                subgid,
                root_equivalent: _,
            } => {
                homes::check(home)?;
                let comes_back = matches!(step.action, Action::RestoreAccount { .. });
                let account = NewAccount {
                    name: user,
                    uid: *uid,
                    gid: *gid,
                    gecos: "",
                    home,
                    shell,
                    subuids: subuid.as_ref().map(widened),
                    subgids: subgid.as_ref().map(widened),
                    primary: if comes_back {
                        PrimaryGroup::AsFound
                    } else {
                        PrimaryGroup::Own
                    },
                };
                databases.create(&account, aging, today).map_err(said)?;
            }
            Action::SetShell { user, from: _, to } => {
                databases.set_shell(user, to).map_err(said)?
            }
            Action::LockPassword { user } => databases.lock_password(user).map_err(said)?,
            Action::RestorePassword {
                user,
                root_equivalent: _,
            } => databases.unlock_password(user).map_err(said)?,
            Action::JoinGroup { user, group, gid } => {
                let found = databases.group(group).map(|it| it.gid);
                if found != Some(*gid) {
                    return Err(format!(
                        "group {group} was to have gid {gid} and has {}",
                        shown(found)
                    ));
                }
                databases.join_group(user, group).map_err(said)?;
            }
            Action::LeaveGroup {
                user,
                group,
                because: _,
            } => databases.leave_group(user, group).map_err(said)?,
            Action::ClearRemains { user, gid, beside } => databases
                .clear_remains(user, *gid, beside.as_deref())
                .map_err(said)?,
            Action::LockLogin { user, cut } => {
                let uid = uid.ok_or("there is no such account")?;
                self.lock_login(databases, user, uid, *cut)?;
            }
            Action::UnlockLogin { user, cut } => {
                let uid = uid.ok_or("there is no such account")?;
                return self.unlock_login(databases, user, uid, *cut).map(Some);
            }
            other => return Err(misplaced(other)),
        }
        Ok(None)
    }

    /// Saves a login durably, then shuts it.
    fn lock_login(
        &self,
        databases: &mut Databases,
        user: &str,
        uid: u32,
        cut: u32,
    ) -> Result<(), String> {
        let said = |error: accounts::EditError| with_causes(&error);
        // Whoever's lines are broken leaves as others do, as far as it goes.
        let whole = databases.check_login_lines(user);
        let saved = match &whole {
            Ok(()) => databases.saved_login(user).map_err(said)?,
            Err(_) => databases
                .apparent_login(user)
                .ok_or("there is no such account")?,
        };
        self.saved
            .shelf(uid, cut)
            .map_err(|error| with_causes(&error))?
            .keep_text(LOGIN, &saved.to_secret_text())
            .map_err(|error| with_causes(&error))?;
        if whole.is_err() {
            return databases
                .shut_every_line(user, &self.settings.nologin)
                .map_err(|error| format!("{}; every other line is shut", with_causes(&error)));
        }
        databases
            .lock_login(user, &self.settings.nologin)
            .map(drop)
            .map_err(said)
    }

    /// Opens a login as it was saved; the shelf of the save, which is dropped once the edit is durable.
    fn unlock_login(
        &self,
        databases: &mut Databases,
        user: &str,
        uid: u32,
        cut: u32,
    ) -> Result<Shelf, String> {
        let gone = "the login that the cut saved is not on this host any more; set shell, expiry and password by hand";
        let shelf = self
            .saved
            .holding(uid, cut, LOGIN)
            .map_err(|error| with_causes(&error))?
            .ok_or(gone)?;
        let text = shelf
            .text(LOGIN)
            .map_err(|error| with_causes(&error))?
            .ok_or(gone)?;
        let saved = SavedLogin::from_secret_text(&text).map_err(|error| with_causes(&error))?;
        databases
            .restore_login(user, &saved)
            .map_err(|error| with_causes(&error))?;
        Ok(shelf)
    }

    fn change_homes(
        &mut self,
        steps: &[Step<'_>],
        progress: Progress<'_>,
    ) -> Result<Complaints, String> {
        let databases = Databases::read(&self.root).map_err(|error| with_causes(&error))?;
        let (defs, useradd, wrong) = LoginDefs::read_what_can_be(&self.root);
        let mut complaints = Complaints::new();
        let mut created: Vec<(&Step<'_>, NewHome<'_>)> = Vec::new();
        let mut changed = Vec::new();
        let mut restored = Vec::new();
        for step in steps {
            let sorted = whose(&databases, step).and_then(|whose| match step.action {
                Action::CreateHome { user: _, home } if home != whose.home => Err(format!(
                    "the home was to be {home}, and the account has {}",
                    whose.home
                )),
                Action::CreateHome { .. } if wrong.is_some() => {
                    Err(wrong.clone().unwrap_or_default())
                }
                Action::CreateHome { .. } => {
                    created.push((
                        step,
                        NewHome {
                            home: whose.home,
                            uid: whose.uid,
                            gid: whose.gid,
                        },
                    ));
                    Ok(())
                }
                Action::RestoreHome { home, .. } if home != whose.home => Err(format!(
                    "the home was to be {home}, and the account has {}",
                    whose.home
                )),
                Action::RestoreHome { from, of, .. } => {
                    restored.push((step, whose, from, *of));
                    Ok(())
                }
                Action::Trace {
                    user: _,
                    trace,
                    direction,
                    cut,
                } => {
                    changed.push((step, whose, *trace, *direction, *cut));
                    Ok(())
                }
                other => Err(misplaced(other)),
            });
            if let Err(why) = sorted {
                complaints.insert(step.id, why);
            }
        }
        let total = created.len() + changed.len();
        for (step, whose, from, of) in restored {
            // Whose home is not back has nothing put into it.
            if let Err(why) = self.restore_home(&databases, &whose, from, of, progress) {
                changed.retain(|(_, other, ..)| other.uid != whose.uid);
                complaints.insert(step.id, why);
            }
        }
        if !created.is_empty() {
            match Skeleton::read(&self.dir, useradd.skel.trim_start_matches('/')) {
                Ok(skeleton) => {
                    let homes: Vec<NewHome<'_>> = created.iter().map(|(_, home)| *home).collect();
                    let mut progress = |done| progress(done, total);
                    let made = homes::create(
                        &self.dir,
                        &self.root,
                        &skeleton,
                        defs.home_mode,
                        &homes,
                        &mut progress,
                    );
                    for ((step, _), result) in created.iter().zip(made) {
                        complaints.extend(result.err().map(|why| (step.id, why)));
                    }
                }
                Err(error) => complaints.extend(
                    created
                        .iter()
                        .map(|(step, _)| (step.id, with_causes(&error))),
                ),
            }
        }
        let context = traces::Context {
            root: &self.dir,
            owners: &self.root,
            saved: &self.saved,
            keys: &self.settings.keys,
        };
        for (done, (step, whose, trace, direction, cut)) in changed.into_iter().enumerate() {
            let result = traces::change(&context, &whose, trace, direction, cut)
                .map_err(|error| with_causes(&error))
                .and_then(|()| self.tell_logind(&whose, trace, direction));
            complaints.extend(result.err().map(|why| (step.id, why)));
            progress(created.len() + done + 1, total);
        }
        Ok(complaints)
    }

    /// logind keeps a user manager running until it is told, whatever its file says.
    fn tell_logind(
        &self,
        whose: &Whose<'_>,
        trace: Trace,
        direction: Direction,
    ) -> Result<(), String> {
        if trace != Trace::Linger {
            return Ok(());
        }
        match self.bus()? {
            Some(bus) => bus.set_linger(whose.uid, direction == Direction::Restore),
            None => Ok(()),
        }
    }

    fn end_sessions(
        &mut self,
        steps: &[Step<'_>],
        progress: Progress<'_>,
    ) -> Result<Complaints, String> {
        let databases = Databases::read(&self.root).map_err(|error| with_causes(&error))?;
        let claims = Claims::of(&databases);
        let bus = self.bus()?;
        let mut complaints = Complaints::new();
        for (done, step) in steps.iter().enumerate() {
            let result = whose(&databases, step).and_then(|whose| {
                if !matches!(step.action, Action::EndSessions { .. }) {
                    return Err(misplaced(step.action));
                }
                if !self.live {
                    return Ok(());
                }
                let owner = Owner::new(&claims, whose.user, whose.uid);
                // logind ends all that runs under a uid, whoever else has it.
                let told = bus
                    .as_ref()
                    .filter(|_| owner.has_uid_alone())
                    .map_or(Ok(()), |bus| bus.terminate_user(whose.uid));
                sessions::end(&owner).map_err(|why| match told {
                    Ok(()) => why,
                    Err(also) => format!("{why}; {also}"),
                })
            });
            complaints.extend(result.err().map(|why| (step.id, why)));
            progress(done + 1, steps.len());
        }
        Ok(complaints)
    }
}

fn widened(range: &muster_core::accounts::facts::IdRange) -> accounts::IdRange {
    accounts::IdRange {
        first: u64::from(range.first),
        count: u64::from(range.count),
    }
}

/// The unit of a person.
fn unit_name(template: &str, user: &str) -> String {
    match template.split_once('@') {
        Some((name, suffix)) => format!("{name}@{user}{suffix}"),
        None => template.to_owned(),
    }
}

/// The account of a step, as it is now: another than the one planned is not touched.
fn whose<'a>(databases: &'a Databases, step: &Step<'a>) -> Result<Whose<'a>, String> {
    crate::check_name(step.action.user())?;
    expect(databases, step)?;
    let account = databases
        .apparent_account(step.action.user())
        .ok_or("there is no such account")?;
    Ok(Whose {
        user: account.name,
        uid: account.uid,
        gid: account.gid,
        home: account.home,
    })
}

/// The uid of the step's account, which must be the one that the step expects; `None` when it is to be created.
fn expect(databases: &Databases, step: &Step<'_>) -> Result<Option<u32>, String> {
    let expected = match step.incarnation {
        Incarnation::New { generation: _ } => return Ok(None),
        Incarnation::Found { uid }
        | Incarnation::Account { uid, entry: _ }
        | Incarnation::Home {
            uid,
            entry: _,
            home: _,
        } => *uid,
    };
    let found = databases.apparent_account(step.action.user());
    let found = found.map(|it| it.uid);
    if found == Some(expected) {
        Ok(found)
    } else {
        Err(format!(
            "{} was to have uid {expected} and has {}; nothing was done",
            step.action.user(),
            shown(found)
        ))
    }
}

pub(crate) fn shown(id: Option<u32>) -> String {
    id.map_or("none".to_owned(), |id| id.to_string())
}

fn collect(steps: &[Step<'_>], results: Vec<Result<(), String>>) -> Complaints {
    let failed: BTreeMap<StepId, String> = steps
        .iter()
        .zip(results)
        .filter_map(|(step, result)| Some((step.id, result.err()?)))
        .collect();
    failed
}

pub(crate) fn misplaced(action: &Action) -> String {
    format!("BUG: {} is no step of this phase", action.verb())
}
