//! The way back of a home: out of quarantine, or out of its archive.

use std::ffi::OsStr;

use muster_core::accounts::action::HomeSource;
use muster_core::accounts::facts::archive_name;
use muster_core::id::StepId;

use super::quarantine::{Quarantine, rename};
use super::{HOME, MIB, Make};
use crate::Host;
use crate::accounts::Databases;
use crate::archive::tree;
use crate::archive::{ArchivedAccount, manifest};
use crate::dir::with_causes;
use crate::homes::Filesystems;
use crate::traces::Whose;

impl Host {
    /// Puts a home back in its place.
    pub(crate) fn restore_home(
        &self,
        databases: &Databases,
        whose: &Whose<'_>,
        from: &HomeSource,
        of: StepId,
        progress: &mut dyn FnMut(usize, usize),
    ) -> Result<(), String> {
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
                        .map_err(|error| with_causes(&error))?;
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
    ) -> Result<(), String> {
        let said = |error: crate::root::RootError| with_causes(&error);
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
        tree::remove(&base, OsStr::new(&work), &mut |_| {}).map_err(|error| with_causes(&error))?;
        let dir = base.make_dir(&work, 0o700).map_err(said)?;
        let home = dir.make_dir(HOME, 0o700).map_err(said)?;
        let range =
            |mut ranges: Box<dyn Iterator<Item = (&str, crate::accounts::IdRange)> + '_>| {
                ranges
                    .find(|(owner, _)| *owner == whose.user)
                    .map(|(_, it)| crate::observe::range(it))
            };
        let person = ArchivedAccount {
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
        let placed = given
            .map_err(|error| with_causes(&error))
            .and_then(|given| {
                for line in &given.named {
                    tracing::warn!(
                        "Left out of the restored home, and still in the archive: {line}"
                    );
                }
                // Before the home is back, so that a restore that is done has left nothing; what cannot be removed keeps no home away.
                if let Err(why) = quarantine.finish_purge() {
                    tracing::warn!(
                        "What a removal for ever left of the former home of {} stays in quarantine; remove it by hand: {why}",
                        whose.user
                    );
                }
                rename(&dir, HOME, &quarantine.parent, &quarantine.name)?;
                quarantine.parent.sync().map_err(said)
            });
        tree::remove(&base, OsStr::new(&work), &mut |_| {}).map_err(|error| with_causes(&error))?;
        placed
    }
}
