//! The quarantine of a home: a directory for root alone beside the homes, so that moving a home there is one rename.

use std::ffi::OsStr;

use muster_core::accounts::facts::HomeId;
use muster_core::id::StepId;
use rustix::fs::{RenameFlags, renameat_with};

use super::checks::{not_mounted, real_path};
use super::{HOME, Make, PURGED};
use crate::archive::{Point, tree};
use crate::dir::{Dir, FileKind, with_causes};
use crate::homes::Filesystems;

/// The directory beside the homes.
pub(super) const QUARANTINE: &str = ".muster-quarantine";

/// The quarantine of one account.
pub(super) struct Quarantine {
    /// The directory that the home was in.
    pub(super) parent: Dir,
    /// The home's name there.
    pub(super) name: String,
    pub(super) uid: u32,
    pub(super) entry: StepId,
}

impl Quarantine {
    pub(super) fn base(&self, make: Make) -> Result<Option<Dir>, String> {
        let said = |error: crate::root::RootError| with_causes(&error);
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

    pub(super) fn shelf(&self) -> Result<Option<Dir>, String> {
        let Some(base) = self.base(Make::No)? else {
            return Ok(None);
        };
        let name = self.shelf_name();
        if base
            .see(&name)
            .map_err(|error| with_causes(&error))?
            .is_none()
        {
            return Ok(None);
        }
        base.dir(&name)
            .map(Some)
            .map_err(|error| with_causes(&error))
    }

    /// The home that is in quarantine, if one is.
    pub(super) fn identify(&self) -> Result<Option<HomeId>, String> {
        self.identify_as(HOME)
    }

    /// The home in quarantine whose removal for ever was begun, if there is one.
    pub(super) fn identify_begun(&self) -> Result<Option<HomeId>, String> {
        self.identify_as(PURGED)
    }

    fn identify_as(&self, name: &str) -> Result<Option<HomeId>, String> {
        let Some(shelf) = self.shelf()? else {
            return Ok(None);
        };
        match shelf.see(name).map_err(|error| with_causes(&error))? {
            None => Ok(None),
            Some(seen) if seen.kind == FileKind::Directory => Filesystems::default()
                .identify(&shelf, name, &seen)
                .map(Some)
                .ok_or_else(|| "the file system of the quarantine cannot be told".to_owned()),
            Some(_) => Err(format!("{} is no directory", shelf.path_of(name).display())),
        }
    }

    /// Says durably, before the first file goes, that what is in there is being removed for ever (F10).
    pub(super) fn begin_purge(&self, shelf: &Dir) -> Result<(), String> {
        rename(shelf, HOME, shelf, PURGED)?;
        shelf.sync().map_err(|error| with_causes(&error))
    }

    /// Removes what a purge that was begun left, which nobody puts back.
    pub(super) fn finish_purge(&self) -> Result<(), String> {
        let Some(shelf) = self.shelf()? else {
            return Ok(());
        };
        if self.identify_begun()?.is_none() {
            return Ok(());
        }
        not_mounted(&real_path(&shelf)?.join(PURGED))?;
        tree::remove(&shelf, OsStr::new(PURGED), &mut |_| {})
            .map_err(|error| with_causes(&error))?;
        self.drop_shelf()
    }

    /// Moves the home in; what was moved must be what was planned.
    pub(super) fn put_in(&self, home_id: Option<&HomeId>, point: Point<'_>) -> Result<(), String> {
        let said = |error: crate::root::RootError| with_causes(&error);
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
    pub(super) fn put_back(&self, home_id: Option<&HomeId>) -> Result<(), String> {
        let said = |error: crate::root::RootError| with_causes(&error);
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
    pub(super) fn drop_shelf(&self) -> Result<(), String> {
        let Some(base) = self.base(Make::No)? else {
            return Ok(());
        };
        match nix::unistd::unlinkat(
            &base,
            self.shelf_name().as_str(),
            nix::unistd::UnlinkatFlags::RemoveDir,
        ) {
            Ok(()) | Err(nix::errno::Errno::ENOENT) => {
                base.sync().map_err(|error| with_causes(&error))
            }
            Err(errno) => Err(format!(
                "cannot remove {}: {errno}",
                base.path_of(self.shelf_name()).display()
            )),
        }
    }
}

/// Moves `name` of one directory to a free name of another.
pub(super) fn rename(from: &Dir, name: &str, to: &Dir, new: &str) -> Result<(), String> {
    renameat_with(from, name, to, new, RenameFlags::NOREPLACE).map_err(|errno| {
        format!(
            "cannot move {} to {}: {errno}",
            from.path_of(name).display(),
            to.path_of(new).display()
        )
    })
}
