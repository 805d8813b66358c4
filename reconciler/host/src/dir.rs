//! An open directory, and what is done to the names inside it.
//!
//! Beside [`crate::root::Directory`], which serves the account databases, this one also serves directories that people
//! own: nothing here follows a symbolic link, crosses a mount point on the way down, or waits for a FIFO.

use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::io::{self, Read as _};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};

use nix::errno::Errno;
use nix::fcntl::{OFlag, OpenHow, ResolveFlag, openat, openat2, readlinkat};
use nix::sys::stat::{Mode, mkdirat};
use nix::unistd::{Gid, Uid, UnlinkatFlags, symlinkat, unlinkat};
use rustix::fs::{AtFlags, RawDir, RenameFlags, StatxFlags, renameat_with, statx};

use crate::root::RootError;

/// How deep a tree may be that is read or removed.
const DEPTH: usize = 64;

/// An open directory.
#[derive(Debug)]
pub(crate) struct Dir {
    fd: OwnedFd,
    path: PathBuf,
}

/// The type of a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum FileKind {
    File,
    Directory,
    Link,
    Other,
}

impl FileKind {
    /// With its article, for a message.
    pub(crate) fn with_article(self) -> &'static str {
        match self {
            Self::File => "a file",
            Self::Directory => "a directory",
            Self::Link => "a symbolic link",
            Self::Other => "neither a file nor a directory",
        }
    }
}

/// What `statx` says of a name, links not followed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct FileStat {
    pub(crate) kind: FileKind,
    pub(crate) mode: u32,
    pub(crate) uid: u32,
    pub(crate) gid: u32,
    pub(crate) links: u32,
    pub(crate) inode: u64,
    pub(crate) size: u64,
    pub(crate) accessed: (i64, u32),
    pub(crate) modified: (i64, u32),
    pub(crate) changed: (i64, u32),
    /// Seconds since 1970; 0 where the filesystem keeps none.
    pub(crate) born: i64,
    pub(crate) device: (u32, u32),
}

impl FileStat {
    fn of(it: &rustix::fs::Statx) -> Self {
        let time = |it: rustix::fs::StatxTimestamp| (it.tv_sec, it.tv_nsec);
        let mode = u32::from(it.stx_mode);
        let kind = match mode & 0o170_000 {
            0o100_000 => FileKind::File,
            0o040_000 => FileKind::Directory,
            0o120_000 => FileKind::Link,
            _ => FileKind::Other,
        };
        let born = if it.stx_mask & StatxFlags::BTIME.bits() == 0 {
            0
        } else {
            it.stx_btime.tv_sec
        };
        Self {
            kind,
            mode: mode & 0o7777,
            uid: it.stx_uid,
            gid: it.stx_gid,
            links: it.stx_nlink,
            inode: it.stx_ino,
            size: it.stx_size,
            accessed: time(it.stx_atime),
            modified: time(it.stx_mtime),
            changed: time(it.stx_ctime),
            born,
            device: (it.stx_dev_major, it.stx_dev_minor),
        }
    }

    /// Whether both are the same file with the same content, as far as the kernel keeps account of it.
    pub(crate) fn is_unchanged(&self, other: &Self) -> bool {
        (
            self.inode,
            self.device,
            self.size,
            self.modified,
            self.changed,
        ) == (
            other.inode,
            other.device,
            other.size,
            other.modified,
            other.changed,
        )
    }
}

/// How many bytes of a listing are taken at once: of a directory of 10,000 homes, in ten calls.
const LISTED_AT_ONCE: usize = 32 << 10;
const DIRECTORY: OFlag = OFlag::O_DIRECTORY
    .union(OFlag::O_RDONLY)
    .union(OFlag::O_CLOEXEC);
const READ: OFlag = OFlag::O_RDONLY
    .union(OFlag::O_NOFOLLOW)
    .union(OFlag::O_NONBLOCK)
    .union(OFlag::O_NOCTTY)
    .union(OFlag::O_CLOEXEC);

impl Dir {
    /// Opens a directory of this machine by its real path.
    pub(crate) fn open(path: &Path) -> Result<Self, RootError> {
        let fd = nix::fcntl::open(path, DIRECTORY, Mode::empty())
            .map_err(|errno| failed("open the directory", path, errno))?;
        Ok(Self {
            fd,
            path: path.to_owned(),
        })
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    pub(crate) fn path_of(&self, name: impl AsRef<OsStr>) -> PathBuf {
        self.path.join(name.as_ref())
    }

    /// A directory below this one; no component may be a symbolic link or lead out.
    pub(crate) fn below(&self, path: &str) -> Result<Self, RootError> {
        self.resolve(
            path,
            ResolveFlag::RESOLVE_BENEATH | ResolveFlag::RESOLVE_NO_SYMLINKS,
        )
    }

    /// As [`Self::below`], and no component may be a mount point.
    pub(crate) fn below_on_this_mount(&self, path: &str) -> Result<Self, RootError> {
        self.resolve(
            path,
            ResolveFlag::RESOLVE_BENEATH
                | ResolveFlag::RESOLVE_NO_SYMLINKS
                | ResolveFlag::RESOLVE_NO_XDEV,
        )
    }

    /// A directory below this one, which is the root of a host. Symbolic links are followed only where nobody but root
    /// could have made them (`/home` that points to a larger disk).
    pub(crate) fn below_trusted(&self, path: &str) -> Result<Self, RootError> {
        match self.below(path) {
            Err(error) if error.source.raw_os_error() == Some(Errno::ELOOP as i32) => {}
            result => return result,
        }
        let mut at = self.resolve(".", ResolveFlag::RESOLVE_IN_ROOT)?;
        let mut prefix = String::new();
        for component in path.split('/').filter(|it| !it.is_empty()) {
            let seen = at.itself()?;
            if seen.uid != 0 || seen.mode & 0o022 != 0 {
                return Err(failed(
                    "follow a symbolic link that others than root could have made, in",
                    &at.path,
                    Errno::ELOOP,
                ));
            }
            if !prefix.is_empty() {
                prefix.push('/');
            }
            prefix.push_str(component);
            at = self.resolve(&prefix, ResolveFlag::RESOLVE_IN_ROOT)?;
        }
        Ok(at)
    }

    /// As [`Self::below_trusted`], and what is missing is made, owned by root and mode 0755.
    pub(crate) fn below_made(&self, path: &str) -> Result<Self, RootError> {
        match self.below_trusted(path) {
            Err(error) if error.source.kind() == io::ErrorKind::NotFound => {}
            result => return result,
        }
        let (parent, name) = split(path);
        let parent = if parent.is_empty() {
            self.below(".")?
        } else {
            self.below_made(parent)?
        };
        match parent.make_whole_dir(name, 0o755, None) {
            Err(error) if error.source.kind() == io::ErrorKind::AlreadyExists => {}
            made => {
                made?;
            }
        }
        self.below_trusted(path)
    }

    fn resolve(&self, path: &str, flags: ResolveFlag) -> Result<Self, RootError> {
        let path = path.trim_matches('/');
        let path = if path.is_empty() { "." } else { path };
        let how = OpenHow::new()
            .flags(DIRECTORY)
            .resolve(flags | ResolveFlag::RESOLVE_NO_MAGICLINKS);
        let shown = if path == "." {
            self.path.clone()
        } else {
            self.path.join(path)
        };
        let fd = openat2(&self.fd, path, how)
            .map_err(|errno| failed("open the directory", &shown, errno))?;
        Ok(Self { fd, path: shown })
    }

    /// What a path inside a root leads to in the end, links followed within the root; `None` when to nothing.
    pub(crate) fn followed(&self, path: &str) -> Result<Option<FileStat>, RootError> {
        let how = OpenHow::new()
            .flags(OFlag::O_PATH | OFlag::O_CLOEXEC)
            .resolve(ResolveFlag::RESOLVE_IN_ROOT | ResolveFlag::RESOLVE_NO_MAGICLINKS);
        match openat2(&self.fd, path, how) {
            Ok(fd) => stat_of(&fd, &self.path_of(path.trim_start_matches('/'))).map(Some),
            Err(Errno::ENOENT | Errno::ENOTDIR | Errno::ELOOP) => Ok(None),
            Err(errno) => Err(failed(
                "open",
                &self.path_of(path.trim_start_matches('/')),
                errno,
            )),
        }
    }

    /// Reads a regular file at a path inside a root, links followed within the root and never out of it; `None` when there
    /// is none.
    pub(crate) fn read_followed(
        &self,
        path: &str,
        limit: u64,
    ) -> Result<Option<Vec<u8>>, RootError> {
        let shown = self.path_of(path.trim_start_matches('/'));
        let Some(fd) = self.open_followed(path, READ.difference(OFlag::O_NOFOLLOW))? else {
            return Ok(None);
        };
        let broken = |source| RootError {
            verb: "read",
            path: shown.clone(),
            source,
        };
        let seen = stat_of(&fd, &shown)?;
        if seen.kind != FileKind::File {
            return Err(broken(io::Error::other(format!(
                "it is {}",
                seen.kind.with_article()
            ))));
        }
        let mut bytes = Vec::new();
        File::from(fd)
            .take(limit + 1)
            .read_to_end(&mut bytes)
            .map_err(broken)?;
        if bytes.len() as u64 > limit {
            return Err(broken(io::Error::other(format!(
                "it is larger than {limit} bytes"
            ))));
        }
        Ok(Some(bytes))
    }

    /// The names in a directory at a path inside a root, sorted; links are followed within the root. `None` when there is
    /// none.
    pub(crate) fn names_followed(&self, path: &str) -> Result<Option<Vec<OsString>>, RootError> {
        let Some(fd) = self.open_followed(path, DIRECTORY)? else {
            return Ok(None);
        };
        let path = self.path_of(path.trim_start_matches('/'));
        Self { fd, path }.names().map(Some)
    }

    fn open_followed(&self, path: &str, flags: OFlag) -> Result<Option<OwnedFd>, RootError> {
        let how = OpenHow::new()
            .flags(flags)
            .resolve(ResolveFlag::RESOLVE_IN_ROOT | ResolveFlag::RESOLVE_NO_MAGICLINKS);
        match openat2(&self.fd, path, how) {
            Ok(fd) => Ok(Some(fd)),
            Err(Errno::ENOENT) => Ok(None),
            Err(errno) => Err(failed(
                "open",
                &self.path_of(path.trim_start_matches('/')),
                errno,
            )),
        }
    }

    /// Opens the directory of this machine at `path`, made for root alone when there is none.
    pub(crate) fn open_private(path: &Path) -> Result<Self, RootError> {
        use std::os::unix::fs::DirBuilderExt as _;
        std::fs::DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(path)
            .map_err(|source| RootError {
                verb: "make the directory",
                path: path.to_owned(),
                source,
            })?;
        let dir = Self::open(path)?;
        dir.make_private()?;
        Ok(dir)
    }

    /// Makes sure that nobody else gets in here.
    pub(crate) fn make_private(&self) -> Result<(), RootError> {
        let seen = self.itself()?;
        if seen.uid != nix::unistd::geteuid().as_raw() {
            let source = io::Error::other(format!("it belongs to uid {}", seen.uid));
            return Err(RootError {
                verb: "keep anything in",
                path: self.path.clone(),
                source,
            });
        }
        if seen.mode & 0o077 != 0 {
            self.set_mode(0o700)?;
        }
        Ok(())
    }

    /// Another handle on this directory, with a position of its own.
    pub(crate) fn open_again(&self) -> Result<OwnedFd, RootError> {
        openat(&self.fd, ".", DIRECTORY, Mode::empty())
            .map_err(|errno| failed("open the directory", &self.path, errno))
    }

    /// This directory itself.
    pub(crate) fn itself(&self) -> Result<FileStat, RootError> {
        stat_of(&self.fd, &self.path)
    }

    /// What `name` is, not followed; `None` when there is nothing.
    pub(crate) fn see(&self, name: impl AsRef<OsStr>) -> Result<Option<FileStat>, RootError> {
        let name = one(name.as_ref())?;
        let flags = AtFlags::SYMLINK_NOFOLLOW | AtFlags::NO_AUTOMOUNT;
        match statx(
            &self.fd,
            name,
            flags,
            StatxFlags::BASIC_STATS | StatxFlags::BTIME,
        ) {
            Ok(found) => Ok(Some(FileStat::of(&found))),
            Err(rustix::io::Errno::NOENT) => Ok(None),
            Err(errno) => Err(RootError {
                verb: "examine",
                path: self.path_of(name),
                source: errno.into(),
            }),
        }
    }

    /// Opens a regular file for reading, and says what it is; `None` when there is nothing.
    pub(crate) fn open_file(
        &self,
        name: impl AsRef<OsStr>,
    ) -> Result<Option<(File, FileStat)>, RootError> {
        let name = one(name.as_ref())?;
        let fd = match openat(&self.fd, name, READ, Mode::empty()) {
            Ok(fd) => fd,
            Err(Errno::ENOENT) => return Ok(None),
            Err(errno) => return Err(failed("open", &self.path_of(name), errno)),
        };
        let seen = stat_of(&fd, &self.path_of(name))?;
        if seen.kind != FileKind::File {
            let path = self.path_of(name);
            return Err(RootError {
                verb: "read",
                path,
                source: io::Error::other(format!("it is {}", seen.kind.with_article())),
            });
        }
        Ok(Some((File::from(fd), seen)))
    }

    /// Reads a regular file of at most `limit` bytes; `None` when there is nothing.
    pub(crate) fn read(
        &self,
        name: impl AsRef<OsStr>,
        limit: u64,
    ) -> Result<Option<(Vec<u8>, FileStat)>, RootError> {
        let name = name.as_ref();
        let Some((file, seen)) = self.open_file(name)? else {
            return Ok(None);
        };
        let broken = |source| RootError {
            verb: "read",
            path: self.path_of(name),
            source,
        };
        let size = usize::try_from(seen.size.min(limit)).unwrap_or(0);
        let mut bytes = vec![0; size + 1];
        // With room for one byte more than it had: less than asked for is all there is.
        let read = (&file).read(&mut bytes).map_err(broken)?;
        bytes.truncate(read);
        if read != size {
            file.take((limit + 1).saturating_sub(read as u64))
                .read_to_end(&mut bytes)
                .map_err(broken)?;
        }
        if bytes.len() as u64 > limit {
            return Err(broken(io::Error::other(format!(
                "it is larger than {limit} bytes"
            ))));
        }
        Ok(Some((bytes, seen)))
    }

    /// Where a symbolic link points.
    pub(crate) fn read_link(&self, name: impl AsRef<OsStr>) -> Result<OsString, RootError> {
        let name = one(name.as_ref())?;
        readlinkat(&self.fd, name)
            .map_err(|errno| failed("read the link", &self.path_of(name), errno))
    }

    /// The names in here, sorted.
    pub(crate) fn names(&self) -> Result<Vec<OsString>, RootError> {
        let mut names = self.names_where(|_| true)?;
        names.sort_unstable();
        Ok(names)
    }

    /// Those of the names in here that are `wanted`, in no order.
    pub(crate) fn names_where(
        &self,
        wanted: impl Fn(&OsStr) -> bool,
    ) -> Result<Vec<OsString>, RootError> {
        let broken = |errno: Errno| failed("list", &self.path, errno);
        let fd = openat(&self.fd, ".", DIRECTORY, Mode::empty()).map_err(broken)?;
        let mut names = Vec::new();
        // Of those that list a directory, one that does not panic when it cannot be closed, and that copies no name.
        let mut room = Vec::with_capacity(LISTED_AT_ONCE);
        let mut listed = RawDir::new(fd, room.spare_capacity_mut());
        while let Some(entry) = listed.next() {
            let errno = |error: rustix::io::Errno| Errno::from_raw(error.raw_os_error());
            let entry = entry.map_err(errno).map_err(broken)?;
            let name = entry.file_name().to_bytes();
            if name != b"." && name != b".." && wanted(OsStr::from_bytes(name)) {
                names.push(OsStr::from_bytes(name).to_owned());
            }
        }
        Ok(names)
    }

    /// Makes a file that was not there, for its owner alone until its mode is set.
    pub(crate) fn create(&self, name: impl AsRef<OsStr>) -> Result<File, RootError> {
        let name = one(name.as_ref())?;
        let flags =
            OFlag::O_RDWR | OFlag::O_CREAT | OFlag::O_EXCL | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC;
        openat(&self.fd, name, flags, Mode::from_bits_truncate(0o600))
            .map(File::from)
            .map_err(|errno| failed("create", &self.path_of(name), errno))
    }

    /// Makes a directory that was not there, and opens it.
    pub(crate) fn make_dir(&self, name: impl AsRef<OsStr>, mode: u32) -> Result<Self, RootError> {
        let name = one(name.as_ref())?;
        mkdirat(&self.fd, name, Mode::from_bits_truncate(0o700))
            .map_err(|errno| failed("make the directory", &self.path_of(name), errno))?;
        let made = self.dir(name)?;
        // Whatever the umask of this process is.
        made.set_mode(mode)?;
        Ok(made)
    }

    /// Makes a directory that was not there, durably, and opens it. It has its mode and its owner before it has its
    /// name: whatever interrupts this leaves none that somebody takes for finished.
    pub(crate) fn make_whole_dir(
        &self,
        name: impl AsRef<OsStr>,
        mode: u32,
        owner: Option<(Uid, Gid)>,
    ) -> Result<Self, RootError> {
        let name = one(name.as_ref())?;
        let mut temporary = OsString::from(".");
        temporary.push(name);
        temporary.push(".muster-new");
        // What an interrupted cycle left under that name is ours.
        self.remove_tree(&temporary)?;
        let mut made = self.make_dir(&temporary, mode)?;
        let placed = match owner {
            Some((uid, gid)) => nix::unistd::fchown(&made, Some(uid), Some(gid))
                .map_err(|errno| failed("change the owner of", made.path(), errno)),
            None => Ok(()),
        }
        .and_then(|()| self.place(&temporary, name));
        if let Err(error) = placed {
            let _ = self.remove_tree(&temporary);
            return Err(error);
        }
        made.path = self.path_of(name);
        self.sync()?;
        Ok(made)
    }

    /// Opens the directory `name` in here, not followed.
    pub(crate) fn dir(&self, name: impl AsRef<OsStr>) -> Result<Self, RootError> {
        let name = one(name.as_ref())?;
        let fd = openat(&self.fd, name, DIRECTORY | OFlag::O_NOFOLLOW, Mode::empty())
            .map_err(|errno| failed("open the directory", &self.path_of(name), errno))?;
        Ok(Self {
            fd,
            path: self.path_of(name),
        })
    }

    pub(crate) fn set_mode(&self, mode: u32) -> Result<(), RootError> {
        nix::sys::stat::fchmod(&self.fd, Mode::from_bits_truncate(mode))
            .map_err(|errno| failed("change the mode of", &self.path, errno))
    }

    /// Makes a symbolic link that was not there.
    pub(crate) fn link_to(&self, target: &OsStr, name: impl AsRef<OsStr>) -> Result<(), RootError> {
        let name = one(name.as_ref())?;
        symlinkat(target, &self.fd, name)
            .map_err(|errno| failed("make the link", &self.path_of(name), errno))
    }

    /// Renames inside this directory, replacing what is there.
    pub(crate) fn replace(
        &self,
        from: impl AsRef<OsStr>,
        to: impl AsRef<OsStr>,
    ) -> Result<(), RootError> {
        self.rename(from.as_ref(), to.as_ref(), RenameFlags::empty())
    }

    /// Renames inside this directory to a name that is free.
    pub(crate) fn place(
        &self,
        from: impl AsRef<OsStr>,
        to: impl AsRef<OsStr>,
    ) -> Result<(), RootError> {
        self.rename(from.as_ref(), to.as_ref(), RenameFlags::NOREPLACE)
    }

    fn rename(&self, from: &OsStr, to: &OsStr, flags: RenameFlags) -> Result<(), RootError> {
        renameat_with(&self.fd, one(from)?, &self.fd, one(to)?, flags).map_err(|errno| RootError {
            verb: "put in place",
            path: self.path_of(to),
            source: errno.into(),
        })
    }

    /// Removes a name that is no directory; whether there was one.
    pub(crate) fn remove(&self, name: impl AsRef<OsStr>) -> Result<bool, RootError> {
        let name = one(name.as_ref())?;
        match unlinkat(&self.fd, name, UnlinkatFlags::NoRemoveDir) {
            Ok(()) => Ok(true),
            Err(Errno::ENOENT) => Ok(false),
            Err(errno) => Err(failed("remove", &self.path_of(name), errno)),
        }
    }

    /// Removes `name` and all below it, as long as that is on one file system and nothing is mounted on it.
    pub(crate) fn remove_tree(&self, name: impl AsRef<OsStr>) -> Result<(), RootError> {
        self.remove_below(name.as_ref(), DEPTH)
    }

    fn remove_below(&self, name: &OsStr, depth: usize) -> Result<(), RootError> {
        match self.see(name)? {
            None => return Ok(()),
            Some(seen) if seen.kind != FileKind::Directory => return self.remove(name).map(drop),
            Some(_) if depth == 0 => {
                return Err(failed(
                    "remove a tree this deep,",
                    &self.path_of(name),
                    Errno::ENAMETOOLONG,
                ));
            }
            Some(_) => {}
        }
        let how = OpenHow::new().flags(DIRECTORY | OFlag::O_NOFOLLOW).resolve(
            ResolveFlag::RESOLVE_BENEATH
                | ResolveFlag::RESOLVE_NO_SYMLINKS
                | ResolveFlag::RESOLVE_NO_XDEV,
        );
        let fd = openat2(&self.fd, one(name)?, how)
            .map_err(|errno| failed("open the directory", &self.path_of(name), errno))?;
        let inner = Self {
            fd,
            path: self.path_of(name),
        };
        for entry in inner.names()? {
            inner.remove_below(&entry, depth - 1)?;
        }
        match unlinkat(&self.fd, name, UnlinkatFlags::RemoveDir) {
            Ok(()) | Err(Errno::ENOENT) => Ok(()),
            Err(errno) => Err(failed("remove the directory", &self.path_of(name), errno)),
        }
    }

    /// Makes the names in here durable.
    pub(crate) fn sync(&self) -> Result<(), RootError> {
        nix::unistd::fsync(&self.fd).map_err(|errno| failed("make durable", &self.path, errno))
    }

    /// Makes everything on this file system durable that was written before.
    pub(crate) fn sync_filesystem(&self) -> Result<(), RootError> {
        nix::unistd::syncfs(&self.fd).map_err(|errno| failed("make durable", &self.path, errno))
    }
}

impl AsFd for Dir {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}

/// The names in a directory of the kernel's, in no order. The standard library's own list panics when one cannot be closed.
pub(crate) fn names_in(path: &str) -> io::Result<Vec<OsString>> {
    let mut names = Vec::new();
    for entry in rustix::fs::Dir::new(File::open(path)?)? {
        names.push(OsStr::from_bytes(entry?.file_name().to_bytes()).to_owned());
    }
    Ok(names)
}

/// What an open file is.
pub(crate) fn stat_of(fd: impl AsFd, path: &Path) -> Result<FileStat, RootError> {
    statx(
        fd,
        "",
        AtFlags::EMPTY_PATH,
        StatxFlags::BASIC_STATS | StatxFlags::BTIME,
    )
    .map(|it| FileStat::of(&it))
    .map_err(|errno| RootError {
        verb: "examine",
        path: path.to_owned(),
        source: errno.into(),
    })
}

/// `a/b/c` into `a/b` and `c`.
pub(crate) fn split(path: &str) -> (&str, &str) {
    let path = path.trim_matches('/');
    match path.bytes().rposition(|byte| byte == b'/') {
        Some(slash) => (&path[..slash], &path[slash + 1..]),
        None => ("", path),
    }
}

/// Whether a part of a path is the name of something in a directory.
pub(crate) fn is_name(part: &[u8]) -> bool {
    !matches!(part, b"" | b"." | b"..") && !part.iter().any(|byte| matches!(byte, 0 | b'/'))
}

fn one(name: &OsStr) -> Result<&OsStr, RootError> {
    if !is_name(name.as_bytes()) {
        return Err(failed(
            "use as the name of a file",
            Path::new(name),
            Errno::EINVAL,
        ));
    }
    Ok(name)
}

pub(crate) fn failed(verb: &'static str, path: &Path, errno: Errno) -> RootError {
    RootError {
        verb,
        path: path.to_owned(),
        source: errno.into(),
    }
}

/// An error and what caused it, in one line for a person.
pub(crate) fn with_causes(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        text.push_str(": ");
        text.push_str(&cause.to_string());
        source = cause.source();
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::symlink;

    #[test]
    fn a_link_is_followed_only_where_root_alone_could_have_made_it() {
        let scratch = tempfile::tempdir().unwrap();
        std::fs::create_dir_all(scratch.path().join("data/home")).unwrap();
        symlink("data/home", scratch.path().join("home")).unwrap();
        let root = Dir::open(scratch.path()).unwrap();
        assert!(root.below("home").is_err());
        let trusted = root.below_trusted("home");
        assert_eq!(trusted.is_ok(), nix::unistd::geteuid().is_root());
        Dir::open(scratch.path()).unwrap().set_mode(0o777).unwrap();
        assert!(root.below_trusted("home").is_err());
    }

    #[test]
    fn a_tree_is_removed_and_what_it_links_to_stays() {
        let scratch = tempfile::tempdir().unwrap();
        std::fs::create_dir_all(scratch.path().join("old/deep/er")).unwrap();
        std::fs::create_dir(scratch.path().join("kept")).unwrap();
        std::fs::write(scratch.path().join("kept/file"), "text").unwrap();
        symlink("../kept", scratch.path().join("old/link")).unwrap();
        let dir = Dir::open(scratch.path()).unwrap();
        dir.remove_tree("old").unwrap();
        assert!(!scratch.path().join("old").exists());
        assert_eq!(
            std::fs::read(scratch.path().join("kept/file")).unwrap(),
            b"text"
        );
    }

    #[test]
    fn a_directory_has_its_mode_before_its_name() {
        use std::os::unix::fs::PermissionsExt;
        let scratch = tempfile::tempdir().unwrap();
        // Left by a process that died between making one and giving it its mode.
        let left = scratch.path().join(".units.muster-new");
        std::fs::create_dir(&left).unwrap();
        std::fs::set_permissions(&left, PermissionsExt::from_mode(0o700)).unwrap();
        std::fs::write(left.join("half"), "").unwrap();
        let root = Dir::open(scratch.path()).unwrap();
        let made = root.make_whole_dir("units", 0o755, None).unwrap();
        assert_eq!(made.path(), scratch.path().join("units"));
        assert_eq!(made.itself().unwrap().mode & 0o7777, 0o755);
        assert!(made.names().unwrap().is_empty());
        assert_eq!(root.names().unwrap(), ["units"]);
        let error = root.make_whole_dir("units", 0o700, None).unwrap_err();
        assert_eq!(error.source.kind(), io::ErrorKind::AlreadyExists);
        assert_eq!(root.names().unwrap(), ["units"]);
        assert_eq!(made.itself().unwrap().mode & 0o7777, 0o755);
    }

    #[test]
    fn a_fifo_is_not_waited_for() {
        let scratch = tempfile::tempdir().unwrap();
        nix::unistd::mkfifo(
            &scratch.path().join("fifo"),
            Mode::from_bits_truncate(0o600),
        )
        .unwrap();
        let error = Dir::open(scratch.path())
            .unwrap()
            .read("fifo", 10)
            .unwrap_err();
        assert_eq!(
            error.source.to_string(),
            "it is neither a file nor a directory"
        );
    }
}
