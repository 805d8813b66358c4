//! What must hold before anything of an account is moved or removed, read just then.

use std::path::{Path, PathBuf};

use muster_core::accounts::action::Trace;
use muster_core::accounts::observed::Home;
use muster_core::reading::Reading;

use super::quarantine::Quarantine;
use super::{Make, Removal};
use crate::accounts::{Account, Databases};
use crate::archive::tree::{self, Cursor};
use crate::dir::{Dir, split, with_causes};
use crate::homes::Homes;
use crate::root::Ownership;
use crate::sessions::{self, Claims, Owner, Processes};
use crate::traces::{self, Whose};
use crate::{Host, homes, mounts};

impl Host {
    /// Whether a home may be removed by its path alone.
    pub(super) fn check_place(&self, home: &str) -> Result<(), String> {
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

    pub(super) fn check_account(
        &self,
        databases: &Databases,
        account: &Account<'_>,
        it: &Removal<'_>,
    ) -> Result<(), String> {
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

    /// Everything that must hold of a home before it is moved, read just now.
    pub(super) fn check_home(
        &self,
        quarantine: &Quarantine,
        it: &Removal<'_>,
    ) -> Result<(), String> {
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
            .map_err(|error| with_causes(&error))?;
        let mut cursor = Cursor::new(dir.open_again().map_err(|error| with_causes(&error))?, b"")
            .map_err(|error| with_causes(&error))?;
        let census = tree::census(&mut cursor).map_err(|error| with_causes(&error))?;
        store
            .check_room(&census)
            .map_err(|error| with_causes(&error))
    }

    /// Ends what runs, and makes sure that nothing can begin to.
    pub(super) fn end_everything(
        &self,
        databases: &Databases,
        it: &Removal<'_>,
    ) -> Result<(), String> {
        let mut homes = Homes::new(&self.dir, &self.root);
        let whose = Whose {
            user: it.user,
            uid: it.uid,
            gid: it.gid,
            home: it.home,
        };
        for trace in [Trace::Linger, Trace::Crontab] {
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
        let claims = Claims::of(databases);
        let owner = Owner::new(&claims, it.user, it.uid);
        let asked = self.bus()?.map_or(Ok(()), |bus| bus.terminate_user(it.uid));
        let ended = sessions::end(&owner);
        let left = Processes::read().map_err(|error| format!("cannot read /proc: {error}"))?;
        quiet(&left, &owner, it.user).map_err(|why| {
            let more = [ended.err(), asked.err()].into_iter().flatten();
            more.fold(why, |why, more| format!("{why}; {more}"))
        })
    }
}

/// Refuses while processes of somebody are left, and names them.
pub(super) fn quiet(processes: &Processes, owner: &Owner<'_>, user: &str) -> Result<(), String> {
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

pub(super) fn not_mounted(path: &Path) -> Result<(), String> {
    match mounts::at_or_below(path)
        .map_err(|error| format!("cannot read the table of mounts: {error}"))?
    {
        None => Ok(()),
        Some(point) => Err(format!("something is mounted at {point}; unmount it first")),
    }
}

pub(super) fn real_path(dir: &Dir) -> Result<PathBuf, String> {
    use std::os::fd::{AsFd as _, AsRawFd as _};
    let link = format!("/proc/self/fd/{}", dir.as_fd().as_raw_fd());
    std::fs::read_link(link).map_err(|error| {
        format!(
            "cannot tell the real path of {}: {error}",
            dir.path().display()
        )
    })
}
