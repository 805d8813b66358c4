//! The right to change a state directory, and the process that has it.

use std::fs::{File, OpenOptions, TryLockError};
use std::io::{self, Read as _, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;

use nix::fcntl::OFlag;

use super::{StateDir, StateError};

/// What a process wants the state directory for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Purpose {
    /// The daemon, which is woken by SIGHUP.
    Run,
    /// Anything else; a signal would end it.
    Other(&'static str),
}

impl Purpose {
    /// How it is called in the lock.
    pub fn word(self) -> &'static str {
        match self {
            Self::Run => "run",
            Self::Other(word) => word,
        }
    }
}

/// The process that has the lock, as it said itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Holder {
    /// Its process id, if it had said so yet.
    pub pid: Option<i32>,
    /// Which command it runs.
    pub command: String,
}

impl std::fmt::Display for Holder {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { pid, command } = self;
        match pid {
            Some(pid) => write!(f, "`muster {command}` (process {pid})"),
            None => f.write_str("another muster"),
        }
    }
}

/// The right to change a state directory; given back when dropped.
#[derive(Debug)]
#[must_use = "the lock is given back as soon as this is dropped"]
pub struct Lock {
    /// Closing it gives the lock back. Asking for that beforehand could fail, and nothing would be left to do about it.
    _file: File,
}

impl Lock {
    /// Takes the lock of `state`, without waiting.
    ///
    /// # Errors
    /// [`StateError::Held`] says by whom it is held.
    pub fn take(state: &StateDir, purpose: Purpose) -> Result<Self, StateError> {
        let path = state.lock_file();
        let mut file = lock_options()
            .create(true)
            .open(&path)
            .map_err(StateError::io("open", &path))?;
        match file.try_lock() {
            Ok(()) => {
                let said = format!("{} {}\n", std::process::id(), purpose.word());
                file.set_len(0)
                    .and_then(|()| file.write_all(said.as_bytes()))
                    .map_err(StateError::io("write", &path))?;
                Ok(Self { _file: file })
            }
            Err(TryLockError::WouldBlock) => Err(StateError::Held {
                holder: read_holder(file),
            }),
            Err(TryLockError::Error(error)) => Err(StateError::io("lock", &path)(error)),
        }
    }

    /// Who has the lock of `state` now, if anybody.
    ///
    /// # Errors
    /// When the lock file could not be opened.
    pub fn holder(state: &StateDir) -> Result<Option<Holder>, StateError> {
        let path = state.lock_file();
        let file = match lock_options().open(&path) {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(StateError::io("open", &path)(error)),
        };
        // A shared lock is given back at once; two that ask at the same time do not see each other.
        match file.try_lock_shared() {
            Ok(()) => Ok(None),
            Err(TryLockError::WouldBlock) => Ok(Some(read_holder(file))),
            Err(TryLockError::Error(error)) => Err(StateError::io("lock", &path)(error)),
        }
    }
}

fn lock_options() -> OpenOptions {
    let mut options = OpenOptions::new();
    options
        .read(true)
        .append(true)
        .mode(0o600)
        .custom_flags((OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC).bits());
    options
}

fn read_holder(file: File) -> Holder {
    let mut text = String::new();
    // A holder that has not said who it is yet, or never will, is still a holder.
    let _ = file.take(256).read_to_string(&mut text);
    let (pid, command) = text.trim_end().split_once(' ').unwrap_or_default();
    Holder {
        pid: pid.parse().ok().filter(|pid| *pid > 1),
        command: command.to_owned(),
    }
}

/// Wakes the daemon that holds the lock of `state`, and says which process that is.
///
/// # Errors
/// [`StateError::NotRunning`] when nobody does, or not the daemon.
pub fn poke(state: &StateDir) -> Result<i32, StateError> {
    match Lock::holder(state)? {
        Some(Holder {
            pid: Some(pid),
            command,
        }) if command == Purpose::Run.word() => {
            nix::sys::signal::kill(
                nix::unistd::Pid::from_raw(pid),
                nix::sys::signal::Signal::SIGHUP,
            )
            .map_err(|errno| {
                StateError::io("wake the process of", &state.lock_file())(errno.into())
            })?;
            Ok(pid)
        }
        Some(holder) => Err(StateError::Held { holder }),
        None => Err(StateError::NotRunning(state.path().to_owned())),
    }
}
