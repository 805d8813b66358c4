//! The lock of the shadow suite: a record lock on `/etc/.pwd.lock`, as `lckpwdf(3)` takes it, and beside each file a
//! `.lock` with the id of the process that holds it, as the tools have it even where they do not call `lckpwdf`.

use std::io::{self, Write as _};
use std::os::fd::AsFd as _;
use std::path::PathBuf;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::fcntl::{FcntlArg, fcntl};
use nix::libc;
use nix::sys::signal::kill;
use nix::unistd::{Pid, getpid};

use super::commit::{self, Committed};
use super::{CommitError, Databases, File, ReadError};
use crate::root::{Directory, RootDir, RootError};

const RECORD: &str = ".pwd.lock";
const PID: &str = ".pwd.lock.muster-new";
const POLL: Duration = Duration::from_millis(50);

/// The order in which the tools lock.
const ORDER: [File; 6] = [
    File::Passwd,
    File::Group,
    File::Gshadow,
    File::Shadow,
    File::Subuid,
    File::Subgid,
];

/// Directories whose lock this process holds, by device and inode. A record lock belongs to the whole process, which
/// would lose it when a second holder closes the file.
static HELD: Mutex<Vec<(u64, u64)>> = Mutex::new(Vec::new());

/// Why the lock was not taken. Nothing was changed.
#[derive(Debug, thiserror::Error)]
pub enum LockError {
    /// Somebody else holds it, and did for as long as we waited.
    #[error("{} is held by {}; try again when it has finished", path.display(), holder(*pid))]
    Busy {
        /// What is locked.
        path: PathBuf,
        /// The process that holds it, if that can be told.
        pid: Option<i32>,
    },
    /// A lock file that is older than this boot names a process that runs now, and cannot be the one that made it.
    #[error(
        "{} was left behind before this machine booted, and the process {pid} that it names is another one now; remove it, once no \
         account tool runs",
        path.display()
    )]
    LeftBehind {
        /// The lock file.
        path: PathBuf,
        /// The process whose number it has.
        pid: i32,
    },
    /// A lock file names no process.
    #[error("{} is a lock file that names no process; remove it if no account tool is running", path.display())]
    Strange {
        /// The lock file.
        path: PathBuf,
    },
    /// The file system refused.
    #[error("cannot lock the account databases")]
    Root(#[from] RootError),
}

fn holder(pid: Option<i32>) -> String {
    match pid {
        Some(pid) if pid == getpid().as_raw() => "this very process".to_owned(),
        Some(pid) => format!("process {pid}"),
        None => "another process".to_owned(),
    }
}

/// The account databases of a root, locked against the shadow suite and against other holders of this type. Dropping it
/// unlocks.
#[derive(Debug)]
#[must_use = "the lock ends when this is dropped"]
pub struct Locked<'root> {
    root: &'root RootDir,
    held: Held<'root>,
}

impl<'root> Locked<'root> {
    /// How long `lckpwdf` waits, and so do we where nobody knows better.
    pub const WAIT: Duration = Duration::from_secs(15);

    /// Takes the lock, waiting for it at most `wait`, and removes what an interrupted commit left.
    ///
    /// # Errors
    /// When somebody else holds it all the time, or the files that stand for it cannot be made.
    pub fn take(root: &'root RootDir, wait: Duration) -> Result<Self, LockError> {
        let deadline = Instant::now() + wait;
        let mut held = Held::claim(root.directory("etc")?, deadline)?;
        held.lock_record(deadline)?;
        held.make_pid_file()?;
        for file in ORDER {
            held.lock_file(file, deadline)?;
        }
        held.etc.remove(PID)?;
        for leftover in commit::temporaries() {
            held.etc.remove(&leftover)?;
        }
        Ok(Self { root, held })
    }

    /// Removes what a process that died while it held the lock left behind, if there is anything: lock files above all,
    /// which hold up the tools of the system for as long as the process number is in use again.
    ///
    /// # Errors
    /// When somebody holds the lock just now, or `etc` cannot be looked at or changed.
    pub fn clear_leftovers(root: &'root RootDir) -> Result<(), LockError> {
        let etc = root.directory("etc")?;
        let locks = ORDER.map(|file| format!("{}.lock", file.name()));
        for name in locks
            .into_iter()
            .chain([PID.to_owned()])
            .chain(commit::temporaries())
        {
            if etc.stat(&name)?.is_some() {
                drop(Self::take(root, Duration::ZERO)?);
                break;
            }
        }
        Ok(())
    }

    /// Reads the databases, as they stay until the lock ends.
    ///
    /// # Errors
    /// As [`Databases::read`].
    pub fn read(&self) -> Result<Databases, ReadError> {
        Databases::read(self.root)
    }

    /// Writes what was edited, unlocks, and on the running machine tells the daemons that cache accounts.
    ///
    /// # Errors
    /// When the files cannot be written; the error says whether any was.
    pub fn commit(self, databases: Databases) -> Result<Committed, CommitError> {
        let committed = commit::commit(&self.held.etc, databases)?;
        let live = committed != Committed::Unchanged && self.root.is_live().unwrap_or(false);
        drop(self);
        if live {
            commit::forget_cached();
        }
        Ok(committed)
    }
}

/// What is to be undone: each part is noted as soon as it is done, so that a failure on the way undoes it too.
#[derive(Debug)]
struct Held<'root> {
    etc: Directory<'root>,
    identity: (u64, u64),
    record: Option<std::fs::File>,
    files: Vec<String>,
}

impl<'root> Held<'root> {
    fn claim(etc: Directory<'root>, deadline: Instant) -> Result<Self, LockError> {
        let stat = etc.stat_self()?;
        let identity = (stat.st_dev, stat.st_ino);
        loop {
            let mut held = HELD.lock().unwrap_or_else(PoisonError::into_inner);
            if !held.contains(&identity) {
                held.push(identity);
                return Ok(Self {
                    etc,
                    identity,
                    record: None,
                    files: Vec::new(),
                });
            }
            drop(held);
            let busy = || LockError::Busy {
                path: etc.path_of(RECORD),
                pid: Some(getpid().as_raw()),
            };
            wait(deadline).map_err(|()| busy())?;
        }
    }

    fn lock_record(&mut self, deadline: Instant) -> Result<(), LockError> {
        let file = self.etc.open_or_create(RECORD)?;
        let failed = |errno: Errno, etc: &Directory<'_>| RootError {
            verb: "lock",
            path: etc.path_of(RECORD),
            source: errno.into(),
        };
        loop {
            match fcntl(file.as_fd(), FcntlArg::F_SETLK(&write_lock())) {
                Ok(_) => break,
                Err(Errno::EACCES | Errno::EAGAIN) => {}
                Err(errno) => return Err(failed(errno, &self.etc).into()),
            }
            if wait(deadline).is_err() {
                let mut found = write_lock();
                let asked = fcntl(file.as_fd(), FcntlArg::F_GETLK(&mut found));
                let pid = asked.ok().map(|_| found.l_pid).filter(|pid| *pid > 0);
                return Err(LockError::Busy {
                    path: self.etc.path_of(RECORD),
                    pid,
                });
            }
        }
        self.record = Some(file);
        Ok(())
    }

    /// One file serves all six locks: they are further names of it. It is made durable, as a lock file that a power cut
    /// left empty would block the tools until somebody removes it.
    fn make_pid_file(&self) -> Result<(), LockError> {
        self.etc.remove(PID)?;
        let mut file = self.etc.create(PID)?;
        file.write_all(format!("{}\0", getpid()).as_bytes())
            .and_then(|()| file.sync_data())
            .map_err(|source| RootError {
                verb: "write",
                path: self.etc.path_of(PID),
                source,
            })?;
        Ok(())
    }

    fn lock_file(&mut self, file: File, deadline: Instant) -> Result<(), LockError> {
        let name = format!("{}.lock", file.name());
        loop {
            match self.etc.link(PID, &name) {
                Ok(()) => break,
                Err(error) if error.source.kind() == io::ErrorKind::AlreadyExists => {}
                Err(error) => return Err(error.into()),
            }
            let path = || self.etc.path_of(&name);
            let Some((text, stat)) = self.etc.read(&name)? else {
                continue;
            };
            let Some(pid) = pid_in(&text) else {
                return Err(LockError::Strange { path: path() });
            };
            // Only a process that is surely gone has lost its lock; one of another user is not gone.
            if kill(Pid::from_raw(pid), None) == Err(Errno::ESRCH) {
                self.etc.remove(&name)?;
                continue;
            }
            // It is not removed here: where the clock was wrong, it may be younger than it looks.
            if boot().is_some_and(|boot| stat.st_mtime < boot) {
                return Err(LockError::LeftBehind { path: path(), pid });
            }
            wait(deadline).map_err(|()| LockError::Busy {
                path: path(),
                pid: Some(pid),
            })?;
        }
        self.files.push(name);
        Ok(())
    }
}

impl Drop for Held<'_> {
    fn drop(&mut self) {
        let unlocked = self.files.iter().rev().map(String::as_str).chain([PID]);
        if self.record.is_some() {
            for name in unlocked {
                if let Err(error) = self.etc.remove(name) {
                    tracing::warn!(path = %self.etc.path_of(name).display(), %error, "A lock file stays behind.");
                }
            }
        }
        // Closing the file ends the record lock; only then may another thread of ours claim it.
        self.record = None;
        HELD.lock()
            .unwrap_or_else(PoisonError::into_inner)
            .retain(|identity| *identity != self.identity);
    }
}

fn wait(deadline: Instant) -> Result<(), ()> {
    let left = deadline.saturating_duration_since(Instant::now());
    if left.is_zero() {
        return Err(());
    }
    std::thread::sleep(POLL.min(left));
    Ok(())
}

/// When this machine booted, by its clock as it is now; a little earlier, so as not to accuse what was made right then.
fn boot() -> Option<i64> {
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    let now = i64::try_from(now.ok()?.as_secs()).ok()?;
    let uptime = rustix::time::clock_gettime(rustix::time::ClockId::Boottime).tv_sec;
    Some(now - uptime - 60)
}

/// The shadow suite ends the number with a NUL byte.
fn pid_in(text: &[u8]) -> Option<i32> {
    let text = text.split(|byte| *byte == 0).next()?;
    std::str::from_utf8(text)
        .ok()?
        .trim()
        .parse()
        .ok()
        .filter(|pid| *pid > 0)
}

fn write_lock() -> libc::flock {
    libc::flock {
        l_type: i16::try_from(libc::F_WRLCK).unwrap_or_default(),
        l_whence: i16::try_from(libc::SEEK_SET).unwrap_or_default(),
        l_start: 0,
        l_len: 0,
        l_pid: 0,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::root::Ownership;

    fn scratch() -> (tempfile::TempDir, RootDir) {
        let scratch = tempfile::tempdir().unwrap();
        std::fs::create_dir(scratch.path().join("etc")).unwrap();
        let root = RootDir::open(scratch.path(), Ownership::Performed).unwrap();
        (scratch, root)
    }

    fn names(scratch: &tempfile::TempDir) -> Vec<String> {
        let entries = std::fs::read_dir(scratch.path().join("etc")).unwrap();
        let mut names: Vec<_> = entries
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .collect();
        names.sort();
        names
    }

    #[test]
    fn is_held_once() {
        let (scratch, root) = scratch();
        let locked = Locked::take(&root, Duration::ZERO).unwrap();
        assert_eq!(names(&scratch).len(), 7, "{:?}", names(&scratch));
        let error = Locked::take(&root, Duration::ZERO).unwrap_err();
        assert!(
            error.to_string().contains("held by this very process"),
            "{error}"
        );
        drop(locked);
        assert_eq!(names(&scratch), [".pwd.lock"]);
        drop(Locked::take(&root, Duration::ZERO).unwrap());
    }

    #[test]
    fn what_the_dead_left_is_cleared_and_what_the_living_hold_stays() {
        let (scratch, root) = scratch();
        Locked::clear_leftovers(&root).unwrap();
        assert!(names(&scratch).is_empty(), "looking leaves nothing");
        let mut child = std::process::Command::new("/bin/true").spawn().unwrap();
        let dead = child.id();
        child.wait().unwrap();
        let lock = scratch.path().join("etc/group.lock");
        std::fs::write(&lock, format!("{dead}\0")).unwrap();
        Locked::clear_leftovers(&root).unwrap();
        assert_eq!(names(&scratch), [".pwd.lock"]);
        std::fs::write(&lock, "1\0").unwrap();
        assert!(matches!(
            Locked::clear_leftovers(&root),
            Err(LockError::Busy { .. })
        ));
        assert_eq!(names(&scratch), [".pwd.lock", "group.lock"]);
    }

    #[test]
    fn a_lock_from_before_the_boot_is_told_as_that_and_stays() {
        let (scratch, root) = scratch();
        let lock = scratch.path().join("etc/gshadow.lock");
        std::fs::write(&lock, "1\0").unwrap();
        let set = |age: u64| {
            let at = std::time::SystemTime::now() - Duration::from_secs(age);
            let file = std::fs::File::options().write(true).open(&lock).unwrap();
            file.set_modified(at).unwrap();
        };
        let uptime = rustix::time::clock_gettime(rustix::time::ClockId::Boottime).tv_sec;
        set(u64::try_from(uptime).unwrap() + 3_600);
        // At once: it does not go away by waiting.
        let error = Locked::take(&root, Locked::WAIT).unwrap_err().to_string();
        assert!(
            error.contains("left behind before this machine booted"),
            "{error}"
        );
        assert!(lock.exists());
        set(0);
        let error = Locked::take(&root, Duration::ZERO).unwrap_err();
        assert!(matches!(error, LockError::Busy { .. }), "{error}");
    }

    #[test]
    fn takes_over_from_the_dead_alone() {
        let (scratch, root) = scratch();
        let lock = scratch.path().join("etc/shadow.lock");
        let mut child = std::process::Command::new("/bin/true").spawn().unwrap();
        let dead = child.id();
        child.wait().unwrap();
        std::fs::write(&lock, format!("{dead}\0")).unwrap();
        std::fs::write(scratch.path().join("etc/group.muster-new"), "half").unwrap();
        drop(Locked::take(&root, Duration::ZERO).unwrap());
        assert_eq!(names(&scratch), [".pwd.lock"]);

        std::fs::write(&lock, "1\0").unwrap();
        let error = Locked::take(&root, Duration::ZERO).unwrap_err();
        assert!(
            error
                .to_string()
                .contains("shadow.lock is held by process 1"),
            "{error}"
        );
        std::fs::write(&lock, "").unwrap();
        let error = Locked::take(&root, Duration::ZERO).unwrap_err();
        assert!(matches!(error, LockError::Strange { .. }), "{error}");
        assert_eq!(names(&scratch), [".pwd.lock", "shadow.lock"]);
    }
}
