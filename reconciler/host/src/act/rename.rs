//! Renaming accounts, and everything that is named after them.

use muster_core::accounts::action::{Action, UnitChange};
use muster_core::id::StepId;
use muster_core::world::Complaints;

use super::{Progress, misplaced, shown, unit_name};
use crate::accounts::{Databases, Locked};
use crate::dir::{Dir, FileKind, with_causes};
use crate::sessions::{Claims, Owner, Processes};
use crate::step::Step;
use crate::traces::{CRONTABS, LINGER};
use crate::{Host, units};

impl Host {
    /// Renames accounts: instances stopped under the old name, new entries beside the old and passwd switched, what is
    /// named after the account renamed, old entries removed. Each part does nothing where it is done already, so that
    /// an interrupted rename is brought to its end by the same step.
    pub(super) fn rename(
        &mut self,
        steps: &[Step<'_>],
        progress: Progress<'_>,
    ) -> Result<Complaints, String> {
        let mut complaints = Complaints::new();
        let mut left: Vec<(StepId, &str, &str, u32)> = Vec::new();
        for step in steps {
            match step.action {
                Action::RenameAccount { from, user, uid } => {
                    match crate::check_name(user).and_then(|()| crate::check_name(from)) {
                        Ok(()) => left.push((step.id, from, user, *uid)),
                        Err(why) => complaints.extend([(step.id, why)]),
                    }
                }
                other => complaints.extend([(step.id, misplaced(other))]),
            }
        }
        let mut each =
            |left: &mut Vec<(StepId, &str, &str, u32)>,
             part: &mut dyn FnMut(&str, &str, u32) -> Result<(), String>| {
                left.retain(|(id, from, user, uid)| match part(from, user, *uid) {
                    Ok(()) => true,
                    Err(why) => {
                        complaints.insert(*id, why);
                        false
                    }
                });
            };
        let total = 4 * left.len();
        each(&mut left, &mut |from, user, uid| {
            self.quiet(from, user, uid)
        });
        progress(total / 4, total);
        for half in [Half::Begin, Half::Finish] {
            let locked =
                Locked::take(&self.root, Locked::WAIT).map_err(|error| with_causes(&error))?;
            let mut databases = locked.read().map_err(|error| with_causes(&error))?;
            each(&mut left, &mut |from, user, uid| {
                let found = databases
                    .account(from)
                    .or_else(|| databases.account(user))
                    .map(|it| it.uid);
                if found != Some(uid) {
                    return Err(format!(
                        "{from} was to have uid {uid} and has {}",
                        shown(found)
                    ));
                }
                match half {
                    Half::Begin => databases.rename_begin(from, user),
                    Half::Finish => databases.rename_finish(from, user),
                }
                .map_err(|error| with_causes(&error))
            });
            locked
                .commit(databases)
                .map_err(|error| with_causes(&error))?;
            if half == Half::Begin {
                progress(total / 2, total);
                each(&mut left, &mut |from, user, _| {
                    self.rename_files(from, user)
                });
                progress(total / 4 * 3, total);
            }
        }
        progress(total, total);
        Ok(complaints)
    }

    /// Stops and disables the instances of a name, and refuses while something else runs under the uid.
    fn quiet(&self, user: &str, new: &str, uid: u32) -> Result<(), String> {
        let found = self.look_at_units()?;
        let mut changes = Vec::new();
        let names: Vec<String> = self
            .settings
            .units
            .iter()
            .map(|template| unit_name(template, user))
            .collect();
        for name in &names {
            let state = found.by_name.get(name).copied().unwrap_or_default();
            changes.extend(state.active.then_some((name.as_str(), UnitChange::Stop)));
            changes.extend(
                state
                    .enabled
                    .then_some((name.as_str(), UnitChange::Disable)),
            );
        }
        if self.live {
            let stopping: Vec<_> = changes
                .iter()
                .copied()
                .filter(|(_, change)| *change == UnitChange::Stop)
                .collect();
            units::change(&self.dir, self.bus()?.as_ref(), &stopping)
                .into_iter()
                .collect::<Result<Vec<()>, String>>()?;
            let processes =
                Processes::read().map_err(|error| format!("cannot read /proc: {error}"))?;
            // What runs under a uid that another account has, too, is not this person's to wait for.
            let databases = Databases::read(&self.root).map_err(|error| with_causes(&error))?;
            let claims = Claims::of(&databases);
            // An interrupted rename may have switched passwd already.
            let switched = databases.account(user).is_none();
            let name = if switched { new } else { user };
            let count = processes.count(&Owner::new(&claims, name, uid));
            if count > 0 {
                return Err(format!(
                    "{count} processes of {user} run; an account is renamed when none does"
                ));
            }
        }
        let disabling: Vec<_> = changes
            .into_iter()
            .filter(|(_, change)| *change == UnitChange::Disable)
            .collect();
        units::change(&self.dir, self.bus()?.as_ref(), &disabling)
            .into_iter()
            .collect()
    }

    /// Renames what is named after the account: linger, crontab, environment file.
    fn rename_files(&self, from: &str, user: &str) -> Result<(), String> {
        let mut places = vec![(
            (LINGER.to_owned(), from.to_owned()),
            (LINGER.to_owned(), user.to_owned()),
        )];
        places.extend(CRONTABS.iter().map(|dir| {
            let in_it = |name: &str| ((*dir).to_owned(), name.to_owned());
            (in_it(from), in_it(user))
        }));
        places.extend(
            self.environment
                .as_ref()
                .map(|pattern| (pattern.place(from), pattern.place(user))),
        );
        for ((directory, old), (new_directory, new)) in places {
            // Where the directory itself is named after the person, the new one is rendered anew.
            if directory == new_directory {
                rename_one(&self.dir, &directory, &old, &new)
                    .map_err(|error| with_causes(&error))?;
            }
        }
        Ok(())
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Half {
    Begin,
    Finish,
}

fn rename_one(
    root: &Dir,
    directory: &str,
    old: &str,
    new: &str,
) -> Result<(), crate::root::RootError> {
    let dir = match root.below_trusted(directory) {
        Err(error) if error.source.kind() == std::io::ErrorKind::NotFound => return Ok(()),
        opened => opened?,
    };
    let is_file = dir
        .see(old)?
        .is_some_and(|it| it.kind != FileKind::Directory);
    if is_file && dir.see(new)?.is_none() {
        dir.place(old, new)?;
        dir.sync()?;
    }
    Ok(())
}
