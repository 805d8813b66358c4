//! The end of an account, and the ways back: quarantine, archive, databases, in this order.
//!
//! | part | seen done by |
//! |---|---|
//! | login shut, sessions ended (by the cut) | shadow, `/proc`, linger, crontab |
//! | jobs of `at` set aside | none in the spool is of the uid |
//! | home moved into quarantine | the directory that was planned is there |
//! | archived, read back, made durable | file and digest in the store of archives |
//! | account removed | none of the six databases has the name |
//!
//! Each part looks first and does nothing where it is done, so that the same step goes on where a kill stopped it. Until
//! the archive is in its place the account stays; when it cannot be made, the home goes back to where it was. Quarantine
//! is a directory for root alone beside the homes, so that moving a home there is one rename. It stays there, complete,
//! until a step of its own removes it.

mod at_jobs;
mod checks;
mod quarantine;
mod restore;

use std::ffi::OsStr;

use muster_core::accounts::action::Action;
use muster_core::accounts::action::Incarnation;
use muster_core::accounts::facts::{HomeId, IdRange, KeptOf, archive_name};
use muster_core::accounts::observed::{ArchiveSeen, RemovedAccount};
use muster_core::id::StepId;
use muster_core::reading::Reading;
use muster_core::time::Time;
use muster_core::world::Complaints;

use crate::accounts::{Databases, EditError, Locked};
use crate::archive::tree;
use crate::archive::{ArchivedAccount, Job, Names, Point, Room, Store, manifest};
use crate::dir::{Dir, split, with_causes};
use crate::step::Step;
use crate::{Host, act, homes, saved};
use checks::{not_mounted, real_path};
use quarantine::Quarantine;

/// What a home is called in there.
const HOME: &str = "home";
/// What it is called from the moment on from which it is removed for ever: what has this name is never put back.
const PURGED: &str = "purged";
const MIB: u64 = 1024 * 1024;

/// One removal, as it was planned.
#[derive(Clone, Copy)]
pub(crate) struct Removal<'a> {
    pub(crate) user: &'a str,
    pub(crate) uid: u32,
    pub(crate) gid: u32,
    pub(crate) home: &'a str,
    pub(crate) home_id: Option<&'a HomeId>,
    pub(crate) subuid: Option<IdRange>,
    pub(crate) subgid: Option<IdRange>,
    pub(crate) entry: StepId,
}

/// Where a home is.
enum Where {
    /// In its place.
    Home,
    /// In quarantine.
    Quarantine,
    /// There never was one.
    Nowhere,
}

impl Host {
    /// Carries out steps that cannot be undone, each on its own.
    pub(crate) fn destroy(
        &self,
        steps: &[Step<'_>],
        at: Time,
        progress: &mut dyn FnMut(usize, usize),
    ) -> Complaints {
        let mut complaints = Complaints::new();
        for step in steps {
            let result = match (step.action, step.incarnation) {
                (
                    Action::ArchiveDelete {
                        user,
                        uid,
                        home,
                        home_id,
                        gid,
                        subuid,
                        subgid,
                        more: _,
                    },
                    Incarnation::Home { entry, .. },
                ) => {
                    let removal = Removal {
                        user,
                        uid: *uid,
                        gid: *gid,
                        home,
                        home_id: home_id.as_ref(),
                        subuid: *subuid,
                        subgid: *subgid,
                        entry: *entry,
                    };
                    self.archive_delete(&removal, at, &mut |_| {}, progress)
                }
                (
                    Action::PurgeHome {
                        user: _,
                        uid,
                        home,
                        home_id,
                        sha256,
                    },
                    Incarnation::Home { entry, .. },
                ) => self.purge(*uid, *entry, home, home_id, sha256, &mut |_| {}, progress),
                (Action::ChangeUid { .. }, _) => Err(
                    "changing a uid would leave files to another owner; this version does not do it, and nothing was touched"
                        .to_owned(),
                ),
                (other, _) => Err(act::misplaced(other)),
            };
            complaints.extend(result.err().map(|why| (step.id, why)));
        }
        complaints
    }

    /// Archives a home and removes its account. Errors say what stands against it; nothing is lost then.
    pub(crate) fn archive_delete(
        &self,
        it: &Removal<'_>,
        at: Time,
        point: Point<'_>,
        progress: &mut dyn FnMut(usize, usize),
    ) -> Result<(), String> {
        crate::check_name(it.user)?;
        self.check_place(it.home)?;
        let databases = Databases::read(&self.root).map_err(|error| with_causes(&error))?;
        // An account with two lines is there, and not gone.
        databases
            .check_account_line(it.user)
            .map_err(|error| with_causes(&error))?;
        let account = databases.account(it.user);
        if let Some(account) = &account {
            self.check_account(&databases, account, it)?;
            self.end_everything(&databases, it)?;
        }
        point("removal: quiet");
        let quarantine = self.quarantine(it.home, it.uid, it.entry)?;
        let found = self.find(quarantine.as_ref(), it, account.is_some())?;
        let mut room = Room::Unchecked;
        if let (Some(quarantine), Where::Home) = (&quarantine, &found) {
            self.check_home(quarantine, it)?;
            room = Room::Checked;
            quarantine.put_in(it.home_id, point)?;
        }
        if let (Some(quarantine), Where::Home | Where::Quarantine) = (&quarantine, &found) {
            point("removal: in quarantine");
            let home = (quarantine, room);
            if let Err(why) = self.archive(home, &databases, it, at, point, progress) {
                // Nothing was removed, so nothing is to look as if it had been.
                return match account {
                    Some(_) => match quarantine.put_back(it.home_id) {
                        Ok(()) => Err(format!("{why}; the home is where it was")),
                        Err(also) => Err(format!("{why}; the home stays in quarantine: {also}")),
                    },
                    None => Err(why),
                };
            }
        }
        point("removal: archived");
        self.remove_account(it)?;
        point("removal: account gone");
        self.forget_login(it.uid)
    }

    fn parent(&self, parent: &str) -> Result<Option<Dir>, String> {
        match self.dir.below_trusted(parent) {
            Ok(dir) => Ok(Some(dir)),
            Err(error) if error.source.kind() == std::io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(with_causes(&error)),
        }
    }

    fn quarantine(
        &self,
        home: &str,
        uid: u32,
        entry: StepId,
    ) -> Result<Option<Quarantine>, String> {
        let (parent, name) = split(home);
        let name = name.to_owned();
        Ok(self.parent(parent)?.map(|parent| Quarantine {
            parent,
            name,
            uid,
            entry,
        }))
    }

    /// Where the home is: it must be the one that was planned, in exactly one of two places.
    fn find(
        &self,
        quarantine: Option<&Quarantine>,
        it: &Removal<'_>,
        account: bool,
    ) -> Result<Where, String> {
        let Some(quarantine) = quarantine else {
            return match it.home_id {
                None => Ok(Where::Nowhere),
                Some(_) => Err(format!("the home {} is gone", it.home)),
            };
        };
        let there = quarantine
            .parent
            .see(&quarantine.name)
            .map_err(|error| with_causes(&error))?;
        let aside = quarantine.identify()?;
        match (there, aside, it.home_id) {
            (Some(_), Some(_), _) if account => Err(format!(
                "the home is in quarantine, and something stands at {}; compare the two, and move one away",
                it.home
            )),
            (_, Some(found), Some(wanted)) if found == *wanted => Ok(Where::Quarantine),
            (_, Some(_), _) => {
                Err("the directory in quarantine is not the home that was planned".to_owned())
            }
            (Some(_), None, Some(_)) if account => Ok(Where::Home),
            (Some(_), None, None) => Err(format!("{} was made since this was planned", it.home)),
            (None, None, None) => Ok(Where::Nowhere),
            (_, None, Some(_)) if !account && self.is_archived(it)? => Ok(Where::Nowhere),
            (_, None, Some(_)) => Err(format!("the home {} is gone", it.home)),
        }
    }

    fn is_archived(&self, it: &Removal<'_>) -> Result<bool, String> {
        let store = self.store(Make::No)?;
        let kept = store.map(|store| {
            store
                .kept(&archive_name(it.uid, it.entry))
                .map_err(|error| with_causes(&error))
        });
        Ok(kept.transpose()?.flatten().is_some())
    }

    fn archive(
        &self,
        (quarantine, room): (&Quarantine, Room),
        databases: &Databases,
        it: &Removal<'_>,
        at: Time,
        point: Point<'_>,
        progress: &mut dyn FnMut(usize, usize),
    ) -> Result<(), String> {
        let store = self
            .store(Make::IfMissing)?
            .ok_or("there is no store of archives")?;
        let shelf = quarantine.shelf()?.ok_or("the quarantine is gone")?;
        // Whoever moved it may have been killed before this.
        shelf.sync().map_err(|error| with_causes(&error))?;
        quarantine
            .parent
            .sync()
            .map_err(|error| with_causes(&error))?;
        let home = shelf
            .dir(HOME)
            .and_then(|dir| dir.open_again())
            .map_err(|error| with_causes(&error))?;
        let subject = subject(it, at);
        let names = Names {
            users: databases
                .accounts()
                .map(|account| (account.uid, account.name.to_owned()))
                .collect(),
            groups: databases
                .groups()
                .map(|group| (group.gid, group.name.to_owned()))
                .collect(),
        };
        let name = archive_name(it.uid, it.entry);
        let job = Job {
            name: &name,
            subject: &subject,
            names: &names,
            room,
        };
        let mut last = u64::MAX;
        let mut told_bytes = |bytes: u64, _: u64| {
            if bytes / MIB != last {
                last = bytes / MIB;
                let done = usize::try_from(last).unwrap_or(usize::MAX);
                // How much there is in all is not known before the end.
                progress(done, done + 1);
            }
        };
        store
            .keep(home, &job, point, &mut told_bytes)
            .map(drop)
            .map_err(|error| with_causes(&error))
    }

    /// Removes whatever the six databases have of the account.
    fn remove_account(&self, it: &Removal<'_>) -> Result<(), String> {
        let locked = Locked::take(&self.root, Locked::WAIT).map_err(|error| with_causes(&error))?;
        let mut databases = locked.read().map_err(|error| with_causes(&error))?;
        let account = databases
            .account(it.user)
            .map(|account| (account.uid, account.gid));
        let gid = match account {
            Some((uid, _)) if uid != it.uid => {
                return Err(format!(
                    "{} was to have uid {} and has {uid}; nothing was done",
                    it.user, it.uid
                ));
            }
            Some((_, gid)) => gid,
            None => it.gid,
        };
        match databases.delete(it.user, gid) {
            Ok(_) => {}
            Err(EditError::NotFound { .. }) => return Ok(()),
            Err(error) => return Err(with_causes(&error)),
        }
        databases.remove_ranges_of(it.uid);
        locked
            .commit(databases)
            .map(drop)
            .map_err(|error| with_causes(&error))
    }

    /// The password that a cut saved goes with the account; a way back from here has none.
    fn forget_login(&self, uid: u32) -> Result<(), String> {
        for shelf in self.saved.of(uid).map_err(|error| with_causes(&error))? {
            shelf
                .drop_save(saved::LOGIN)
                .map_err(|error| with_causes(&error))?;
        }
        Ok(())
    }

    /// Removes a home from quarantine, once its archive was read again in full.
    #[expect(
        clippy::too_many_arguments,
        reason = "everything that a signature binds, and who is told"
    )]
    pub(crate) fn purge(
        &self,
        uid: u32,
        entry: StepId,
        home: &str,
        home_id: &HomeId,
        sha256: &str,
        point: Point<'_>,
        progress: &mut dyn FnMut(usize, usize),
    ) -> Result<(), String> {
        self.check_place(home)?;
        let databases = Databases::read(&self.root).map_err(|error| with_causes(&error))?;
        if let Some(account) = databases.accounts().find(|account| account.uid == uid) {
            return Err(format!(
                "{} has the uid {uid}; a home of theirs is not removed",
                account.name
            ));
        }
        let Some(quarantine) = self.quarantine(home, uid, entry)? else {
            return Err(format!("the directory of {home} is gone"));
        };
        let Some(shelf) = quarantine.shelf()? else {
            return Ok(());
        };
        let begun = quarantine.identify_begun()?;
        if let Some(found) = begun.or(quarantine.identify()?) {
            if found != *home_id {
                return Err(
                    "the directory in quarantine is not the home that was planned".to_owned(),
                );
            }
            let store = self
                .store(Make::No)?
                .ok_or("the store of archives is gone")?;
            let verified = store
                .verify(&archive_name(uid, entry))
                .map_err(|error| with_causes(&error))?;
            if verified.sha256 != sha256 {
                return Err("its archive is another than the one that was recorded".to_owned());
            }
            if quarantine.identify()?.is_some() {
                not_mounted(&real_path(&shelf)?.join(HOME))?;
                point("purge: checked");
                quarantine.begin_purge(&shelf)?;
            }
            not_mounted(&real_path(&shelf)?.join(PURGED))?;
            point("purge: begun");
            let all = usize::try_from(verified.entries).unwrap_or(usize::MAX);
            tree::remove(&shelf, OsStr::new(PURGED), &mut |removed| {
                let removed = usize::try_from(removed).unwrap_or(usize::MAX);
                progress(removed.min(all), all);
            })
            .map_err(|error| with_causes(&error))?;
            shelf.sync().map_err(|error| with_causes(&error))?;
        }
        point("purge: removed");
        quarantine.drop_shelf()
    }

    /// What a removal kept of an account, or left.
    pub(crate) fn look_at_kept(
        &self,
        databases: &Databases,
        user: &str,
        home: &str,
        of: KeptOf,
    ) -> RemovedAccount {
        let KeptOf { uid, gid, entry } = of;
        let quarantine = homes::check(home).and_then(|()| self.quarantine(home, uid, entry));
        let looked = quarantine.and_then(|it| match it {
            Some(it) => Ok((it.identify()?, it.identify_begun()?)),
            None => Ok((None, None)),
        });
        let (quarantined, purging) = match looked {
            Ok((quarantined, purging)) => (Reading::Known(quarantined), purging),
            Err(why) => (Reading::Unknown(why), None),
        };
        let archive = self.store(Make::No).and_then(|store| match store {
            Some(store) => store
                .kept(&archive_name(uid, entry))
                .map_err(|error| with_causes(&error)),
            None => Ok(None),
        });
        let archive = archive.map(|kept| {
            kept.map(|kept| ArchiveSeen {
                sha256: kept.sha256,
                bytes: kept.bytes,
            })
        });
        RemovedAccount {
            quarantined,
            purging,
            archive: archive.map_or_else(Reading::Unknown, Reading::Known),
            remnants: Reading::Known(databases.has_remnants(user, gid, None)),
        }
    }

    fn store(&self, make: Make) -> Result<Option<Store>, String> {
        let path = &self.settings.archives;
        if make == Make::No && !path.exists() {
            return Ok(None);
        }
        let store = Store::open(path).map_err(|error| with_causes(&error))?;
        Ok(Some(store.sealed_by(self.settings.seal.clone())))
    }
}

/// Whether a directory is made when there is none.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Make {
    IfMissing,
    No,
}

fn subject(it: &Removal<'_>, at: Time) -> ArchivedAccount {
    ArchivedAccount {
        format: manifest::FORMAT,
        user: it.user.to_owned(),
        uid: it.uid,
        gid: it.gid,
        subuid: it.subuid,
        subgid: it.subgid,
        home: it.home.to_owned(),
        entry: it.entry.to_string(),
        at: at.to_string(),
    }
}

#[cfg(test)]
mod tests;
