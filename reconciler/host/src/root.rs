//! The file system that a host is made of: `/`, or any directory that looks like one.
//!
//! Everything is done relative to an open directory, so that nothing renamed or linked underneath can lead a write
//! elsewhere: [`RootDir::directory`] resolves a path inside the root without following one symbolic link, and a
//! [`Directory`] touches names directly inside itself, never a path.

use std::ffi::OsStr;
use std::fs::File;
use std::io::{self, Read as _, Write as _};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Component, Path, PathBuf};

use nix::errno::Errno;
use nix::fcntl::{AtFlags, OFlag, OpenHow, ResolveFlag, openat, openat2, renameat};
use nix::sys::stat::{FileStat, Mode, fchmod, fstat, fstatat};
use nix::unistd::{Gid, Uid, UnlinkatFlags, fchown, linkat, unlinkat};

/// Where [`Ownership::Recorded`] writes what it did not do, directly inside the root.
const RECORD: &str = ".muster-ownership";

/// Something about a root directory that could not be opened, read or changed.
#[derive(Debug, thiserror::Error)]
#[error("cannot {verb} {}{}", path.display(), help(verb, source))]
pub struct RootError {
    /// What was tried, as a verb: `open`, `rename`.
    pub verb: &'static str,
    /// The path as a person would name it, with the root's own path in front.
    pub path: PathBuf,
    /// What the kernel said.
    pub source: io::Error,
}

/// What stands in the way and what to do, where what the kernel says does not tell (F27).
fn help(verb: &str, source: &io::Error) -> &'static str {
    match (verb, source.raw_os_error().map(Errno::from_raw)) {
        // Within one directory, what cannot be linked or renamed across mounts is a mount itself.
        ("link" | "replace" | "remove", Some(Errno::EBUSY | Errno::EXDEV)) => {
            ", which is a mount point: a file that is mounted by itself can be neither replaced nor removed. Unmount it, or mount the \
             directory that it is in"
        }
        (_, Some(Errno::ELOOP)) => {
            ", which is a symbolic link or lies behind one, and none is followed here: put the file itself in its place"
        }
        _ => "",
    }
}

/// What is done with a change of owner.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ownership {
    /// It is made. Needs the right to: root, or root of a user namespace that maps the ids.
    Performed,
    /// It is written to `.muster-ownership` in the root instead, one line `uid:gid path` each, the last line of a path
    /// being the valid one. For a root directory that an ordinary user owns.
    Recorded,
}

/// An opened root directory.
#[derive(Debug)]
pub struct RootDir {
    directory: OwnedFd,
    path: PathBuf,
    ownership: Ownership,
}

impl RootDir {
    /// Opens the directory `path` as the root of a host.
    ///
    /// # Errors
    /// When it is not a directory that can be opened.
    pub fn open(path: &Path, ownership: Ownership) -> Result<Self, RootError> {
        let flags = OFlag::O_DIRECTORY | OFlag::O_RDONLY | OFlag::O_CLOEXEC;
        let directory = nix::fcntl::open(path, flags, Mode::empty())
            .map_err(|errno| failed("open the root directory", path, errno))?;
        Ok(Self {
            directory,
            path: path.to_owned(),
            ownership,
        })
    }

    /// Whether this is the root of the running machine, whose daemons cache what is read from it.
    ///
    /// # Errors
    /// When either directory cannot be examined.
    pub fn is_live(&self) -> Result<bool, RootError> {
        let live =
            nix::sys::stat::stat("/").map_err(|errno| failed("examine", Path::new("/"), errno))?;
        let own = fstat(&self.directory).map_err(|errno| failed("examine", &self.path, errno))?;
        Ok((live.st_dev, live.st_ino) == (own.st_dev, own.st_ino))
    }

    /// The path it was opened by, for messages.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// What is done with changes of owner.
    #[must_use]
    pub fn ownership(&self) -> Ownership {
        self.ownership
    }

    /// Opens a directory inside the root; `path` is relative to it, and no component may be a symbolic link.
    ///
    /// # Errors
    /// When a component is missing, is a symbolic link or leads out of the root.
    pub fn directory(&self, path: &str) -> Result<Directory<'_>, RootError> {
        let shown = self.path.join(path.trim_start_matches('/'));
        let how = OpenHow::new()
            .flags(OFlag::O_DIRECTORY | OFlag::O_RDONLY | OFlag::O_CLOEXEC)
            .resolve(
                ResolveFlag::RESOLVE_IN_ROOT
                    | ResolveFlag::RESOLVE_NO_SYMLINKS
                    | ResolveFlag::RESOLVE_NO_MAGICLINKS,
            );
        let directory = openat2(&self.directory, path, how)
            .map_err(|errno| failed("open the directory", &shown, errno))?;
        Ok(Directory {
            directory,
            path: shown,
            root: self,
        })
    }

    /// Reads a file inside the root; `None` when the file or a directory on the way is missing.
    ///
    /// # Errors
    /// When it exists and cannot be read, or is no regular file.
    pub fn read(&self, path: &str) -> Result<Option<Vec<u8>>, RootError> {
        let (directory, name) = path.rsplit_once('/').unwrap_or((".", path));
        match self.directory(directory) {
            Ok(directory) => Ok(directory.read(name)?.map(|(bytes, _)| bytes)),
            Err(error) if error.source.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// The owner and group recorded for `path` (relative to the root) in place of a change of owner; the latest one.
    ///
    /// # Errors
    /// When the record exists and cannot be read.
    pub fn recorded_owner(&self, path: &Path) -> Result<Option<(u32, u32)>, RootError> {
        let Some(record) = self.read(RECORD)? else {
            return Ok(None);
        };
        let wanted = path.as_os_str().as_bytes();
        let mut found = None;
        for line in record.split(|byte| *byte == b'\n') {
            let Some(space) = line.iter().position(|byte| *byte == b' ') else {
                continue;
            };
            if &line[space + 1..] != wanted {
                continue;
            }
            let ids = std::str::from_utf8(&line[..space])
                .ok()
                .and_then(|ids| ids.split_once(':'));
            if let Some((Ok(uid), Ok(gid))) = ids.map(|(uid, gid)| (uid.parse(), gid.parse())) {
                found = Some((uid, gid));
            }
        }
        Ok(found)
    }

    fn record_owner(&self, path: &Path, uid: u32, gid: u32) -> Result<(), RootError> {
        let relative = path.strip_prefix(&self.path).unwrap_or(path);
        let record = self.path.join(RECORD);
        let flags = OFlag::O_WRONLY
            | OFlag::O_CREAT
            | OFlag::O_APPEND
            | OFlag::O_NOFOLLOW
            | OFlag::O_CLOEXEC;
        let file = openat(
            &self.directory,
            RECORD,
            flags,
            Mode::from_bits_truncate(0o600),
        )
        .map_err(|errno| failed("open", &record, errno))?;
        let mut line = format!("{uid}:{gid} ").into_bytes();
        line.extend_from_slice(relative.as_os_str().as_bytes());
        line.push(b'\n');
        File::from(file)
            .write_all(&line)
            .map_err(|source| RootError {
                verb: "write",
                path: record,
                source,
            })
    }
}

/// An open directory inside a [`RootDir`]. Names are single components; a name with a slash is refused.
#[derive(Debug)]
pub struct Directory<'root> {
    directory: OwnedFd,
    path: PathBuf,
    root: &'root RootDir,
}

impl Directory<'_> {
    /// The path of `name` inside this directory, for messages.
    #[must_use]
    pub fn path_of(&self, name: &str) -> PathBuf {
        self.path.join(name)
    }

    /// What the directory itself is.
    ///
    /// # Errors
    /// When it cannot be examined.
    pub fn stat_self(&self) -> Result<FileStat, RootError> {
        fstat(&self.directory).map_err(|errno| failed("examine", &self.path, errno))
    }

    /// Reads a regular file whole, with what it was when it was read; `None` when there is none.
    ///
    /// # Errors
    /// When it is a symbolic link, is no regular file, or cannot be read.
    pub fn read(&self, name: &str) -> Result<Option<(Vec<u8>, FileStat)>, RootError> {
        let flags = OFlag::O_RDONLY
            | OFlag::O_NOFOLLOW
            | OFlag::O_NONBLOCK
            | OFlag::O_NOCTTY
            | OFlag::O_CLOEXEC;
        let file = match openat(&self.directory, one(name)?, flags, Mode::empty()) {
            Ok(file) => file,
            Err(Errno::ENOENT) => return Ok(None),
            Err(errno) => return Err(self.failed("open", name, errno)),
        };
        let stat = fstat(&file).map_err(|errno| self.failed("examine", name, errno))?;
        if stat.st_mode & libc_file_type() != REGULAR {
            return Err(self.failed(
                "read a file that is not a regular file,",
                name,
                Errno::EINVAL,
            ));
        }
        let mut bytes = Vec::with_capacity(usize::try_from(stat.st_size).unwrap_or(0) + 1);
        File::from(file)
            .read_to_end(&mut bytes)
            .map_err(|source| RootError {
                verb: "read",
                path: self.path_of(name),
                source,
            })?;
        Ok(Some((bytes, stat)))
    }

    /// What `name` is, without following it; `None` when there is nothing.
    ///
    /// # Errors
    /// When it cannot be examined.
    pub fn stat(&self, name: &str) -> Result<Option<FileStat>, RootError> {
        match fstatat(&self.directory, one(name)?, AtFlags::AT_SYMLINK_NOFOLLOW) {
            Ok(stat) => Ok(Some(stat)),
            Err(Errno::ENOENT) => Ok(None),
            Err(errno) => Err(self.failed("examine", name, errno)),
        }
    }

    /// Opens an existing file for reading its attributes.
    ///
    /// # Errors
    /// When it is missing, a symbolic link, or cannot be opened.
    pub fn open(&self, name: &str) -> Result<File, RootError> {
        let flags = OFlag::O_RDONLY
            | OFlag::O_NOFOLLOW
            | OFlag::O_NONBLOCK
            | OFlag::O_NOCTTY
            | OFlag::O_CLOEXEC;
        let file = openat(&self.directory, one(name)?, flags, Mode::empty())
            .map_err(|errno| self.failed("open", name, errno))?;
        Ok(File::from(file))
    }

    /// Makes a new file, which only its owner may read until its mode is set; one that exists is an error.
    ///
    /// # Errors
    /// When `name` exists or cannot be made.
    pub fn create(&self, name: &str) -> Result<File, RootError> {
        let flags =
            OFlag::O_WRONLY | OFlag::O_CREAT | OFlag::O_EXCL | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC;
        let file = openat(
            &self.directory,
            one(name)?,
            flags,
            Mode::from_bits_truncate(0o600),
        )
        .map_err(|errno| self.failed("create", name, errno))?;
        Ok(File::from(file))
    }

    /// Opens a file for writing, and makes it (mode 0600) when there is none; what it holds stays.
    ///
    /// # Errors
    /// When it is a symbolic link or cannot be opened.
    pub fn open_or_create(&self, name: &str) -> Result<File, RootError> {
        let flags = OFlag::O_WRONLY | OFlag::O_CREAT | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC;
        let file = openat(
            &self.directory,
            one(name)?,
            flags,
            Mode::from_bits_truncate(0o600),
        )
        .map_err(|errno| self.failed("open", name, errno))?;
        Ok(File::from(file))
    }

    /// Gives `file`, which is `name` here, an owner and a group, or records them (see [`Ownership`]). Nothing happens
    /// when it has them already.
    ///
    /// # Errors
    /// When the kernel refuses, as it does for ids that a user namespace does not map.
    pub fn set_owner(&self, file: &File, name: &str, uid: u32, gid: u32) -> Result<(), RootError> {
        let stat = fstat(file).map_err(|errno| self.failed("examine", name, errno))?;
        if (stat.st_uid, stat.st_gid) == (uid, gid) {
            return Ok(());
        }
        match self.root.ownership {
            Ownership::Performed => {
                fchown(file, Some(Uid::from_raw(uid)), Some(Gid::from_raw(gid)))
                    .map_err(|errno| self.failed("change the owner of", name, errno))
            }
            Ownership::Recorded => self.root.record_owner(&self.path_of(name), uid, gid),
        }
    }

    /// Sets the permission bits of `file`, which is `name` here.
    ///
    /// # Errors
    /// When the kernel refuses.
    pub fn set_mode(&self, file: &File, name: &str, mode: u32) -> Result<(), RootError> {
        fchmod(file, Mode::from_bits_truncate(mode))
            .map_err(|errno| self.failed("change the mode of", name, errno))
    }

    /// Renames `from` to `to`, replacing it.
    ///
    /// # Errors
    /// When the kernel refuses.
    pub fn rename(&self, from: &str, to: &str) -> Result<(), RootError> {
        renameat(&self.directory, one(from)?, &self.directory, one(to)?).map_err(
            |errno| match errno {
                // It is the other one that is in the way.
                Errno::EBUSY | Errno::EXDEV => self.failed("replace", to, errno),
                _ => self.failed("rename", from, errno),
            },
        )
    }

    /// Makes `to` a second name of the file `from`.
    ///
    /// # Errors
    /// [`io::ErrorKind::AlreadyExists`] when `to` exists; otherwise when the kernel refuses.
    pub fn link(&self, from: &str, to: &str) -> Result<(), RootError> {
        linkat(
            &self.directory,
            one(from)?,
            &self.directory,
            one(to)?,
            AtFlags::empty(),
        )
        .map_err(|errno| match errno {
            Errno::EXDEV => self.failed("link", from, errno),
            _ => self.failed("link", to, errno),
        })
    }

    /// The names in here that are UTF-8, sorted.
    ///
    /// # Errors
    /// When the directory cannot be listed.
    pub fn names(&self) -> Result<Vec<String>, RootError> {
        let listed = rustix::fs::Dir::read_from(&self.directory)
            .and_then(|entries| entries.collect::<Result<Vec<_>, _>>())
            .map_err(|errno| self.failed("list", ".", Errno::from_raw(errno.raw_os_error())))?;
        let names = listed.iter().filter_map(|it| it.file_name().to_str().ok());
        let mut names: Vec<String> = names.map(str::to_owned).collect();
        names.sort();
        Ok(names)
    }

    /// Removes `name`; nothing happens when there is none.
    ///
    /// # Errors
    /// When the kernel refuses.
    pub fn remove(&self, name: &str) -> Result<(), RootError> {
        match unlinkat(&self.directory, one(name)?, UnlinkatFlags::NoRemoveDir) {
            Ok(()) | Err(Errno::ENOENT) => Ok(()),
            Err(errno) => Err(self.failed("remove", name, errno)),
        }
    }

    /// Makes the names in this directory durable.
    ///
    /// # Errors
    /// When the disk fails.
    pub fn sync(&self) -> Result<(), RootError> {
        nix::unistd::fsync(self.directory.as_fd())
            .map_err(|errno| failed("make durable the directory", &self.path, errno))
    }

    fn failed(&self, verb: &'static str, name: &str, errno: Errno) -> RootError {
        failed(verb, &self.path_of(name), errno)
    }
}

const REGULAR: u32 = 0o100_000;

const fn libc_file_type() -> u32 {
    0o170_000
}

fn one(name: &str) -> Result<&str, RootError> {
    let mut components = Path::new(OsStr::new(name)).components();
    match (components.next(), components.next()) {
        (Some(Component::Normal(component)), None) if component.len() == name.len() => Ok(name),
        _ => Err(failed(
            "use as the name of a file",
            Path::new(name),
            Errno::EINVAL,
        )),
    }
}

fn failed(verb: &'static str, path: &Path, errno: Errno) -> RootError {
    RootError {
        verb,
        path: path.to_owned(),
        source: errno.into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_stands_in_the_way_is_said_and_what_to_do() {
        let said = |verb, errno| failed(verb, Path::new("/etc/passwd"), errno).to_string();
        for (verb, errno) in [
            ("replace", Errno::EBUSY),
            ("link", Errno::EXDEV),
            ("remove", Errno::EBUSY),
        ] {
            let said = said(verb, errno);
            assert!(
                said.contains("/etc/passwd, which is a mount point"),
                "{said}"
            );
        }
        assert!(said("open", Errno::ELOOP).contains("symbolic link"));
        assert_eq!(said("open", Errno::EACCES), "cannot open /etc/passwd");
    }

    #[test]
    fn follows_no_symbolic_link() {
        let scratch = tempfile::tempdir().unwrap();
        std::fs::create_dir(scratch.path().join("real")).unwrap();
        std::fs::write(scratch.path().join("real/file"), "text").unwrap();
        std::os::unix::fs::symlink("real", scratch.path().join("linked")).unwrap();
        std::os::unix::fs::symlink("file", scratch.path().join("real/link")).unwrap();
        let root = RootDir::open(scratch.path(), Ownership::Performed).unwrap();
        assert_eq!(root.read("real/file").unwrap().unwrap(), b"text");
        assert!(root.read("real/none").unwrap().is_none());
        assert!(root.read("none/file").unwrap().is_none());
        assert!(root.read("linked/file").is_err());
        assert!(root.read("real/link").is_err());
        assert!(!root.is_live().unwrap());
    }

    #[test]
    fn stays_inside() {
        let scratch = tempfile::tempdir().unwrap();
        std::fs::create_dir(scratch.path().join("inner")).unwrap();
        std::fs::write(scratch.path().join("secret"), "text").unwrap();
        let root = RootDir::open(&scratch.path().join("inner"), Ownership::Performed).unwrap();
        assert!(root.read("../secret").unwrap().is_none());
        let here = root.directory(".").unwrap();
        for name in ["../secret", "a/b", "..", ".", "", "a/"] {
            assert!(here.read(name).is_err(), "{name:?}");
        }
    }

    #[test]
    fn records_owners_it_may_not_change() {
        let scratch = tempfile::tempdir().unwrap();
        let root = RootDir::open(scratch.path(), Ownership::Recorded).unwrap();
        let here = root.directory(".").unwrap();
        let file = here.create("file").unwrap();
        here.set_owner(&file, "file", 4711, 42).unwrap();
        here.set_owner(&file, "file", 4712, 42).unwrap();
        assert_eq!(
            root.recorded_owner(Path::new("file")).unwrap(),
            Some((4712, 42))
        );
        assert_eq!(root.recorded_owner(Path::new("other")).unwrap(), None);
    }
}
