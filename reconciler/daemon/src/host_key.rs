//! The key of this host, in its state directory, for root alone: `muster init` makes it, and whoever holds the lock makes it
//! where an older version did not.

use std::fs;
use std::io::{self, Read as _, Write as _};
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

use muster_core::host_key::HostKey;
use nix::fcntl::OFlag;

use crate::state_dir::{Lock, StateDir};

/// A host key that cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum HostKeyError {
    /// The system said no.
    #[error("cannot {act} {}", path.display())]
    Io {
        /// What was tried.
        act: &'static str,
        /// On what.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// Somebody else may have read or written it.
    #[error(
        "{} {what}, so others may have the key: move it away, `muster status` then shows a new one, and tell the bot about it",
        path.display()
    )]
    Exposed {
        /// The file.
        path: PathBuf,
        /// How.
        what: String,
    },
    /// It is not what was written.
    #[error(
        "{} holds no key: put it back from a backup, or move it away, and tell the bot about the new key",
        path.display()
    )]
    Damaged {
        /// The file.
        path: PathBuf,
    },
}

impl HostKeyError {
    fn io(act: &'static str, path: &Path) -> impl FnOnce(io::Error) -> Self {
        move |source| Self::Io {
            act,
            path: path.to_owned(),
            source,
        }
    }
}

/// Reads the key; `None` where there is none yet.
///
/// # Errors
/// When there is one that cannot be used: a key is never replaced by itself.
pub fn read(state: &StateDir) -> Result<Option<HostKey>, HostKeyError> {
    let path = state.host_key();
    let opened = fs::OpenOptions::new()
        .read(true)
        .custom_flags((OFlag::O_NOFOLLOW | OFlag::O_NONBLOCK | OFlag::O_CLOEXEC).bits())
        .open(&path);
    let mut file = match opened {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(HostKeyError::io("read", &path)(error)),
    };
    let meta = file
        .metadata()
        .map_err(HostKeyError::io("look at", &path))?;
    let us = nix::unistd::geteuid().as_raw();
    let exposed = if meta.uid() != us {
        Some(format!("belongs to uid {}", meta.uid()))
    } else if meta.mode() & 0o077 != 0 {
        Some(format!(
            "is open to others (mode {:04o})",
            meta.mode() & 0o7777
        ))
    } else {
        None
    };
    if let Some(what) = exposed {
        return Err(HostKeyError::Exposed { path, what });
    }
    let mut bytes = Vec::new();
    (&mut file)
        .take(4_096)
        .read_to_end(&mut bytes)
        .map_err(HostKeyError::io("read", &path))?;
    match HostKey::read(&bytes) {
        Ok(key) => Ok(Some(key)),
        Err(_) => Err(HostKeyError::Damaged { path }),
    }
}

/// Reads the key, and makes one where there is none.
///
/// # Errors
/// As for [`read`], and when it cannot be written.
pub fn read_or_make(state: &StateDir, _lock: &Lock) -> Result<HostKey, HostKeyError> {
    if let Some(key) = read(state)? {
        return Ok(key);
    }
    let path = state.host_key();
    let mut seed = [0; 32];
    getrandom::fill(&mut seed)
        .map_err(|error| HostKeyError::io("make", &path)(io::Error::other(error.to_string())))?;
    let write = || -> io::Result<()> {
        // Made for its owner alone.
        let mut file = tempfile::NamedTempFile::new_in(state.path())?;
        file.write_all(&HostKey::file_of(&seed))?;
        file.as_file().sync_all()?;
        file.persist(&path).map_err(|error| error.error)?;
        fs::File::open(state.path())?.sync_all()
    };
    write().map_err(HostKeyError::io("write", &path))?;
    Ok(HostKey::from_seed(&seed))
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;
    use crate::state_dir::Purpose;

    #[test]
    fn it_is_made_once_and_kept_for_its_owner() {
        let dir = tempfile::tempdir().unwrap();
        let state = StateDir::at(&dir.path().join("state"));
        assert!(read(&state).unwrap().is_none());
        state.make().unwrap();
        let lock = Lock::take(&state, Purpose::Other("init")).unwrap();
        let made = read_or_make(&state, &lock).unwrap().public();
        assert_eq!(read_or_make(&state, &lock).unwrap().public(), made);
        assert_eq!(read(&state).unwrap().unwrap().public(), made);
        let mode = fs::metadata(state.host_key()).unwrap().mode();
        assert_eq!(mode & 0o7777, 0o600);

        fs::set_permissions(state.host_key(), fs::Permissions::from_mode(0o640)).unwrap();
        assert!(matches!(read(&state), Err(HostKeyError::Exposed { .. })));
        fs::set_permissions(state.host_key(), fs::Permissions::from_mode(0o600)).unwrap();
        fs::write(state.host_key(), "").unwrap();
        // What is damaged is not replaced.
        assert!(matches!(
            read_or_make(&state, &lock),
            Err(HostKeyError::Damaged { .. })
        ));
        fs::remove_file(state.host_key()).unwrap();
        assert_ne!(read_or_make(&state, &lock).unwrap().public(), made);
    }
}
