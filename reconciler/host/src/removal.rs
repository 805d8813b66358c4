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

use std::ffi::OsStr;
use std::path::{Path, PathBuf};

use muster_core::accounts::action::Incarnation;
use muster_core::accounts::action::{Action, HomeSource};
use muster_core::accounts::facts::{HomeId, IdRange, KeptOf, archive_name};
use muster_core::accounts::observed::{ArchiveSeen, Home, Kept};
use muster_core::id::StepId;
use muster_core::reading::Reading;
use muster_core::time::Time;
use muster_core::world::Complaints;
use rustix::fs::{RenameFlags, renameat_with};

use crate::accounts::{Account, Databases, EditError, Locked};
use crate::archive::tree::{self, Cursor};
use crate::archive::{Job, Names, Point, Room, Store, Subject, manifest};
use crate::dir::{Dir, Kind, split, told};
use crate::homes::{Filesystems, Homes};
use crate::root::Ownership;
use crate::sessions::{self, Owner, Processes};
use crate::step::Step;
use crate::traces::{self, Whose};
use crate::{Host, act, homes, mounts};

/// The directory beside the homes.
const QUARANTINE: &str = ".muster-quarantine";
/// What a home is called in there.
const HOME: &str = "home";
const MIB: u64 = 1024 * 1024;

type Told = Result<(), String>;

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

/// The quarantine of one account.
struct Quarantine {
    /// The directory that the home was in.
    parent: Dir,
    /// The home's name there.
    name: String,
    uid: u32,
    entry: StepId,
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
    ) -> Told {
        crate::check_name(it.user)?;
        self.check_place(it.home)?;
        let databases = Databases::read(&self.root).map_err(|error| told(&error))?;
        let account = databases.account(it.user);
        if let Some(account) = &account {
            self.check_account(&databases, account, it)?;
            self.end_everything(it)?;
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

    /// Whether a home may be removed by its path alone.
    fn check_place(&self, home: &str) -> Told {
        homes::check(home)?;
        let below = |root: &String| {
            home.strip_prefix(root.as_str())
                .and_then(|rest| rest.strip_prefix('/'))
                .is_some_and(|rest| !rest.is_empty())
        };
        if self.settings.home_roots.iter().any(below) {
            return Ok(());
        }
        Err(format!(
            "{home} is not below {}; list its parent in [archives] homes to have it archived and removed",
            self.settings.home_roots.join(" or ")
        ))
    }

    fn check_account(
        &self,
        databases: &Databases,
        account: &Account<'_>,
        it: &Removal<'_>,
    ) -> Told {
        if account.uid != it.uid {
            return Err(format!(
                "{} was to have uid {} and has {}; nothing was done",
                it.user, it.uid, account.uid
            ));
        }
        if account.home != it.home {
            return Err(format!(
                "the home was to be {}, and the account has {}",
                it.home, account.home
            ));
        }
        if it.uid == 0
            || it.uid == nix::unistd::geteuid().as_raw()
                && self.root.ownership() == Ownership::Performed
        {
            return Err(format!("the account of uid {} is never removed", it.uid));
        }
        let shut = account.password.is_locked()
            && account.expires.is_some()
            && account.shell == self.settings.nologin;
        if !shut {
            return Err(format!(
                "the login of {} is open again; the next cycle shuts it first",
                it.user
            ));
        }
        let real = self.real_home(it.home)?;
        for other in databases.accounts().filter(|other| other.name != it.user) {
            if other.uid == it.uid {
                return Err(format!(
                    "{} has the uid {}, too; give one of them another",
                    other.name, it.uid
                ));
            }
            let inside = |home: &Path| {
                let other = Path::new(other.home.trim_end_matches('/'));
                other.starts_with(home)
            };
            if inside(Path::new(it.home)) || real.as_deref().is_some_and(inside) {
                return Err(format!(
                    "the home of {}, {}, is at or below it; move that one first",
                    other.name, other.home
                ));
            }
        }
        Ok(())
    }

    /// A home by its real path inside the root, where its parent can be told.
    fn real_home(&self, home: &str) -> Result<Option<PathBuf>, String> {
        let (parent, name) = split(home);
        let Some(dir) = self.parent(parent)? else {
            return Ok(None);
        };
        let real = real_path(&dir)?;
        let top = real_path(&self.dir)?;
        let inside = real.strip_prefix(&top).unwrap_or(&real);
        Ok(Some(Path::new("/").join(inside).join(name)))
    }

    fn parent(&self, parent: &str) -> Result<Option<Dir>, String> {
        match self.dir.below_trusted(parent) {
            Ok(dir) => Ok(Some(dir)),
            Err(error) if error.source.kind() == std::io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(told(&error)),
        }
    }

    /// Ends what runs, and makes sure that nothing can begin to.
    fn end_everything(&self, it: &Removal<'_>) -> Told {
        let mut homes = Homes::new(&self.dir, &self.root);
        let whose = Whose {
            user: it.user,
            uid: it.uid,
            gid: it.gid,
            home: it.home,
        };
        for trace in [
            muster_core::accounts::action::Trace::Linger,
            muster_core::accounts::action::Trace::Crontab,
        ] {
            match traces::look(&self.dir, &mut homes, &whose, trace, &[]) {
                Reading::Known(false) => {}
                Reading::Known(true) => {
                    return Err(format!(
                        "there is a {} of {} again; the next cycle sets it aside first",
                        trace.word(),
                        it.user
                    ));
                }
                Reading::Unknown(why) => return Err(why),
            }
        }
        self.set_at_jobs_aside(it.uid)?;
        if !self.live {
            return Ok(());
        }
        let owner = Owner {
            uid: it.uid,
            subuid: it.subuid,
        };
        let asked = self.bus()?.map_or(Ok(()), |bus| bus.terminate_user(it.uid));
        let ended = sessions::end(&owner);
        let left = Processes::read().map_err(|error| format!("cannot read /proc: {error}"))?;
        quiet(&left, &owner, it.user).map_err(|why| {
            let more = [ended.err(), asked.err()].into_iter().flatten();
            more.fold(why, |why, more| format!("{why}; {more}"))
        })
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
            .map_err(|error| told(&error))?;
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
                .map_err(|error| told(&error))
        });
        Ok(kept.transpose()?.flatten().is_some())
    }

    /// Everything that must hold of a home before it is moved, read just now.
    fn check_home(&self, quarantine: &Quarantine, it: &Removal<'_>) -> Told {
        let mut homes = Homes::new(&self.dir, &self.root);
        match homes.look(it.home, Some(it.uid)) {
            Reading::Known(Home::Directory(found)) if Some(&found) == it.home_id => {}
            Reading::Known(Home::Directory(_)) => {
                return Err(format!(
                    "{} is another directory than the one that was planned",
                    it.home
                ));
            }
            Reading::Known(Home::Absent) => return Err(format!("the home {} is gone", it.home)),
            Reading::Known(Home::Odd(what)) => return Err(format!("the home {}: {what}", it.home)),
            Reading::Unknown(why) => return Err(why),
        }
        let real = real_path(&quarantine.parent)?.join(&quarantine.name);
        not_mounted(&real)?;
        let store = self
            .store(Make::IfMissing)?
            .ok_or("there is no store of archives")?;
        let dir = quarantine
            .parent
            .dir(&quarantine.name)
            .map_err(|error| told(&error))?;
        let mut cursor = Cursor::new(dir.open_again().map_err(|error| told(&error))?, b"")
            .map_err(|error| told(&error))?;
        let census = tree::census(&mut cursor).map_err(|error| told(&error))?;
        store.check_room(&census).map_err(|error| told(&error))
    }

    fn archive(
        &self,
        (quarantine, room): (&Quarantine, Room),
        databases: &Databases,
        it: &Removal<'_>,
        at: Time,
        point: Point<'_>,
        progress: &mut dyn FnMut(usize, usize),
    ) -> Told {
        let store = self
            .store(Make::IfMissing)?
            .ok_or("there is no store of archives")?;
        let shelf = quarantine.shelf()?.ok_or("the quarantine is gone")?;
        // Whoever moved it may have been killed before this.
        shelf.sync().map_err(|error| told(&error))?;
        quarantine.parent.sync().map_err(|error| told(&error))?;
        let home = shelf
            .dir(HOME)
            .and_then(|dir| dir.open_again())
            .map_err(|error| told(&error))?;
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
            .map_err(|error| told(&error))
    }

    /// Removes whatever the six databases have of the account.
    fn remove_account(&self, it: &Removal<'_>) -> Told {
        let locked = Locked::take(&self.root, Locked::WAIT).map_err(|error| told(&error))?;
        let mut databases = locked.read().map_err(|error| told(&error))?;
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
            Err(error) => return Err(told(&error)),
        }
        locked
            .commit(databases)
            .map(drop)
            .map_err(|error| told(&error))
    }

    /// The password that a cut saved goes with the account; a way back from here has none.
    fn forget_login(&self, uid: u32) -> Told {
        for shelf in self.saved.of(uid).map_err(|error| told(&error))? {
            shelf.drop_save(act::LOGIN).map_err(|error| told(&error))?;
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
    ) -> Told {
        self.check_place(home)?;
        let databases = Databases::read(&self.root).map_err(|error| told(&error))?;
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
        if let Some(found) = quarantine.identify()? {
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
                .map_err(|error| told(&error))?;
            if verified.sha256 != sha256 {
                return Err("its archive is another than the one that was recorded".to_owned());
            }
            not_mounted(&real_path(&shelf)?.join(HOME))?;
            point("purge: checked");
            let all = usize::try_from(verified.entries).unwrap_or(usize::MAX);
            tree::remove(&shelf, OsStr::new(HOME), &mut |removed| {
                let removed = usize::try_from(removed).unwrap_or(usize::MAX);
                progress(removed.min(all), all);
            })
            .map_err(|error| told(&error))?;
            shelf.sync().map_err(|error| told(&error))?;
        }
        point("purge: removed");
        quarantine.drop_shelf()
    }

    /// Puts a home back in its place.
    pub(crate) fn restore_home(
        &self,
        databases: &Databases,
        whose: &Whose<'_>,
        from: &HomeSource,
        of: StepId,
        progress: &mut dyn FnMut(usize, usize),
    ) -> Told {
        self.check_place(whose.home)?;
        let quarantine = self
            .quarantine(whose.home, whose.uid, of)?
            .ok_or_else(|| format!("the directory of {} is gone", whose.home))?;
        match from {
            HomeSource::Quarantine { home_id } => {
                if quarantine.identify()?.is_none() {
                    let mut filesystems = Filesystems::default();
                    let seen = quarantine
                        .parent
                        .see(&quarantine.name)
                        .map_err(|error| told(&error))?;
                    let here = seen.and_then(|seen| {
                        filesystems.identify(&quarantine.parent, &quarantine.name, &seen)
                    });
                    if here.as_ref() == Some(home_id) {
                        return quarantine.drop_shelf();
                    }
                }
                quarantine.put_back(Some(home_id))
            }
            HomeSource::Archive { sha256 } => {
                self.restore_from_archive(databases, &quarantine, whose, sha256, progress)
            }
        }
    }

    fn restore_from_archive(
        &self,
        databases: &Databases,
        quarantine: &Quarantine,
        whose: &Whose<'_>,
        sha256: &str,
        progress: &mut dyn FnMut(usize, usize),
    ) -> Told {
        let said = |error: crate::root::RootError| told(&error);
        if quarantine
            .parent
            .see(&quarantine.name)
            .map_err(said)?
            .is_some()
        {
            return Err(format!("something stands at {}; move it away", whose.home));
        }
        let store = self
            .store(Make::No)?
            .ok_or("the store of archives is gone")?;
        let base = quarantine
            .base(Make::IfMissing)?
            .ok_or("the quarantine is gone")?;
        let work = format!("restore.{}.{}", quarantine.uid, quarantine.entry);
        // What an interrupted try left is a copy, and incomplete.
        tree::remove(&base, OsStr::new(&work), &mut |_| {}).map_err(|error| told(&error))?;
        let dir = base.make_dir(&work, 0o700).map_err(said)?;
        let home = dir.make_dir(HOME, 0o700).map_err(said)?;
        let range =
            |mut ranges: Box<dyn Iterator<Item = (&str, crate::accounts::IdRange)> + '_>| {
                ranges
                    .find(|(owner, _)| *owner == whose.user)
                    .map(|(_, it)| crate::observe::range(it))
            };
        let person = Subject {
            format: manifest::FORMAT,
            user: whose.user.to_owned(),
            uid: whose.uid,
            gid: whose.gid,
            subuid: range(Box::new(databases.subuids())),
            subgid: range(Box::new(databases.subgids())),
            home: whose.home.to_owned(),
            entry: quarantine.entry.to_string(),
            at: String::new(),
        };
        let name = archive_name(quarantine.uid, quarantine.entry);
        let into = home.open_again().map_err(said)?;
        let given = store.give_back(
            &name,
            sha256,
            into,
            &person,
            self.root.ownership(),
            &mut |bytes, _| {
                let done = usize::try_from(bytes / MIB).unwrap_or(usize::MAX);
                progress(done, done + 1);
            },
        );
        let placed = given.map_err(|error| told(&error)).and_then(|given| {
            for line in &given.named {
                tracing::warn!("Left out of the restored home, and still in the archive: {line}");
            }
            rename(&dir, HOME, &quarantine.parent, &quarantine.name)?;
            quarantine.parent.sync().map_err(said)
        });
        tree::remove(&base, OsStr::new(&work), &mut |_| {}).map_err(|error| told(&error))?;
        placed
    }

    /// What a removal kept of an account, or left.
    pub(crate) fn look_at_kept(
        &self,
        databases: &Databases,
        user: &str,
        home: &str,
        of: KeptOf,
    ) -> Kept {
        let KeptOf { uid, gid, entry } = of;
        let quarantined = homes::check(home)
            .and_then(|()| self.quarantine(home, uid, entry))
            .and_then(|it| it.map_or(Ok(None), |it| it.identify()));
        let archive = self.store(Make::No).and_then(|store| match store {
            Some(store) => store
                .kept(&archive_name(uid, entry))
                .map_err(|error| told(&error)),
            None => Ok(None),
        });
        let archive = archive.map(|kept| {
            kept.map(|kept| ArchiveSeen {
                sha256: kept.sha256,
                bytes: kept.bytes,
            })
        });
        Kept {
            quarantined: quarantined.map_or_else(Reading::Unknown, Reading::Known),
            archive: archive.map_or_else(Reading::Unknown, Reading::Known),
            remnants: Reading::Known(databases.has_remnants(user, gid)),
        }
    }

    fn store(&self, make: Make) -> Result<Option<Store>, String> {
        let path = &self.settings.archives;
        if make == Make::No && !path.exists() {
            return Ok(None);
        }
        let store = Store::open(path).map_err(|error| told(&error))?;
        Ok(Some(store.sealed_by(self.settings.seal.clone())))
    }
}

/// Whether a directory is made when there is none.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Make {
    IfMissing,
    No,
}

/// Refuses while processes of somebody are left, and names them.
fn quiet(processes: &Processes, owner: &Owner, user: &str) -> Told {
    let left = processes.of(owner);
    if left.is_empty() {
        return Ok(());
    }
    let shown: Vec<String> = left.iter().take(20).map(ToString::to_string).collect();
    Err(format!(
        "{} processes of {user} or of their subordinate ids run: {}",
        left.len(),
        shown.join(", ")
    ))
}

fn not_mounted(path: &Path) -> Told {
    match mounts::at_or_below(path)
        .map_err(|error| format!("cannot read the table of mounts: {error}"))?
    {
        None => Ok(()),
        Some(point) => Err(format!("something is mounted at {point}; unmount it first")),
    }
}

fn real_path(dir: &Dir) -> Result<PathBuf, String> {
    use std::os::fd::{AsFd as _, AsRawFd as _};
    let link = format!("/proc/self/fd/{}", dir.as_fd().as_raw_fd());
    std::fs::read_link(link).map_err(|error| {
        format!(
            "cannot tell the real path of {}: {error}",
            dir.path().display()
        )
    })
}

/// Moves `name` of one directory to a free name of another.
fn rename(from: &Dir, name: &str, to: &Dir, new: &str) -> Told {
    renameat_with(from, name, to, new, RenameFlags::NOREPLACE).map_err(|errno| {
        format!(
            "cannot move {} to {}: {errno}",
            from.path_of(name).display(),
            to.path_of(new).display()
        )
    })
}

fn subject(it: &Removal<'_>, at: Time) -> Subject {
    Subject {
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

impl Quarantine {
    fn base(&self, make: Make) -> Result<Option<Dir>, String> {
        let said = |error: crate::root::RootError| told(&error);
        if self.parent.see(QUARANTINE).map_err(said)?.is_none() {
            if make == Make::No {
                return Ok(None);
            }
            self.parent.make_dir(QUARANTINE, 0o700).map_err(said)?;
            self.parent.sync().map_err(said)?;
        }
        let base = self.parent.dir(QUARANTINE).map_err(said)?;
        base.make_private().map_err(said)?;
        Ok(Some(base))
    }

    fn shelf_name(&self) -> String {
        format!("{}.{}", self.uid, self.entry)
    }

    fn shelf(&self) -> Result<Option<Dir>, String> {
        let Some(base) = self.base(Make::No)? else {
            return Ok(None);
        };
        let name = self.shelf_name();
        if base.see(&name).map_err(|error| told(&error))?.is_none() {
            return Ok(None);
        }
        base.dir(&name).map(Some).map_err(|error| told(&error))
    }

    /// The home that is in quarantine, if one is.
    fn identify(&self) -> Result<Option<HomeId>, String> {
        let Some(shelf) = self.shelf()? else {
            return Ok(None);
        };
        match shelf.see(HOME).map_err(|error| told(&error))? {
            None => Ok(None),
            Some(seen) if seen.kind == Kind::Directory => Filesystems::default()
                .identify(&shelf, HOME, &seen)
                .map(Some)
                .ok_or_else(|| "the file system of the quarantine cannot be told".to_owned()),
            Some(_) => Err(format!("{} is no directory", shelf.path_of(HOME).display())),
        }
    }

    /// Moves the home in; what was moved must be what was planned.
    fn put_in(&self, home_id: Option<&HomeId>, point: Point<'_>) -> Told {
        let said = |error: crate::root::RootError| told(&error);
        let base = self
            .base(Make::IfMissing)?
            .ok_or("the quarantine is gone")?;
        let name = self.shelf_name();
        let shelf = match base.see(&name).map_err(said)? {
            None => {
                let shelf = base.make_dir(&name, 0o700).map_err(said)?;
                base.sync().map_err(said)?;
                shelf
            }
            Some(_) => base.dir(&name).map_err(said)?,
        };
        shelf.make_private().map_err(said)?;
        point("removal: quarantine made");
        rename(&self.parent, &self.name, &shelf, HOME)?;
        point("removal: moved");
        if self.identify()?.as_ref() != home_id {
            rename(&shelf, HOME, &self.parent, &self.name)?;
            return Err("the home was replaced while it was moved, and is where it was".to_owned());
        }
        shelf.sync().map_err(said)?;
        self.parent.sync().map_err(said)
    }

    /// Moves the home back.
    fn put_back(&self, home_id: Option<&HomeId>) -> Told {
        let said = |error: crate::root::RootError| told(&error);
        let found = self.identify()?.ok_or("there is no home in quarantine")?;
        if Some(&found) != home_id {
            return Err("the directory in quarantine is not the home that was planned".to_owned());
        }
        let shelf = self.shelf()?.ok_or("the quarantine is gone")?;
        rename(&shelf, HOME, &self.parent, &self.name)?;
        self.parent.sync().map_err(said)?;
        shelf.sync().map_err(said)?;
        self.drop_shelf()
    }

    /// Removes the empty directory that held a home.
    fn drop_shelf(&self) -> Told {
        let Some(base) = self.base(Make::No)? else {
            return Ok(());
        };
        match nix::unistd::unlinkat(
            &base,
            self.shelf_name().as_str(),
            nix::unistd::UnlinkatFlags::RemoveDir,
        ) {
            Ok(()) | Err(nix::errno::Errno::ENOENT) => base.sync().map_err(|error| told(&error)),
            Err(errno) => Err(format!(
                "cannot remove {}: {errno}",
                base.path_of(self.shelf_name()).display()
            )),
        }
    }
}

#[cfg(test)]
mod tests;
