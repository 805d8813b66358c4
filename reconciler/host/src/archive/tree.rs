//! A directory tree that people own, gone through by open directories.
//!
//! Nothing here follows a link, crosses a mount, opens what is neither file nor directory, or depends on how long a
//! path is: directories are entered one name at a time, and left through `..` only when that is the directory that was
//! entered. A tree may be any number of levels deep; at most [`WINDOW`] of its directories are open at a time.

use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::io;
use std::os::fd::{AsFd, AsRawFd as _, BorrowedFd, OwnedFd};
use std::os::unix::ffi::{OsStrExt as _, OsStringExt as _};

use rustix::fs::{
    AtFlags, FileType, Mode, OFlags, ResolveFlags, Statx, StatxAttributes, StatxFlags, openat,
    openat2, statx, unlinkat,
};
use rustix::io::Errno;
use sha2::{Digest as _, Sha256};

/// How many directories of one path are open at a time.
const WINDOW: usize = 64;

const DIRECTORY: OFlags = OFlags::DIRECTORY
    .union(OFlags::RDONLY)
    .union(OFlags::CLOEXEC)
    .union(OFlags::NOFOLLOW)
    .union(OFlags::NONBLOCK);
const READ: OFlags = OFlags::RDONLY
    .union(OFlags::NOFOLLOW)
    .union(OFlags::NONBLOCK)
    .union(OFlags::NOCTTY)
    .union(OFlags::CLOEXEC);
const INSIDE: ResolveFlags = ResolveFlags::BENEATH
    .union(ResolveFlags::NO_SYMLINKS)
    .union(ResolveFlags::NO_XDEV)
    .union(ResolveFlags::NO_MAGICLINKS);

/// What stopped a walk.
#[derive(Debug, thiserror::Error)]
pub enum TreeError {
    /// The system refused.
    #[error("cannot {verb} {}", shown(path))]
    Io {
        /// What was tried.
        verb: &'static str,
        /// On which path, seen from the top of the tree.
        path: Vec<u8>,
        /// Why not.
        #[source]
        source: io::Error,
    },
    /// Another file system begins there.
    #[error("something is mounted at {}; unmount it first", shown(path))]
    Mount {
        /// Where, seen from the top of the tree.
        path: Vec<u8>,
    },
    /// It was not still.
    #[error("{} changed while it was read; end whatever writes there", shown(path))]
    Changed {
        /// What, seen from the top of the tree.
        path: Vec<u8>,
    },
}

/// A path for a person, whatever bytes it has.
pub(crate) fn shown(path: &[u8]) -> String {
    let text = String::from_utf8_lossy(path);
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        // What would move a cursor or end a line is shown as its escape.
        if c.is_control() {
            out.extend(c.escape_default());
        } else {
            out.push(c);
        }
    }
    if out.chars().count() > 300 {
        let cut: String = out.chars().take(300).collect();
        return format!("{cut}…");
    }
    out
}

/// The type of an inode.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum InodeKind {
    File,
    Directory,
    Symlink,
    Fifo,
    Socket,
    CharDevice,
    BlockDevice,
}

/// What `statx` says of a name, links not followed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Meta {
    pub(crate) kind: InodeKind,
    pub(crate) mode: u32,
    pub(crate) uid: u32,
    pub(crate) gid: u32,
    pub(crate) links: u32,
    pub(crate) inode: u64,
    pub(crate) device: (u32, u32),
    pub(crate) rdev: (u32, u32),
    pub(crate) size: u64,
    /// In units of 512 bytes.
    pub(crate) blocks: u64,
    pub(crate) modified: (i64, u32),
    pub(crate) changed: (i64, u32),
    pub(crate) mount_root: bool,
}

impl Meta {
    fn of(it: &Statx) -> Option<Self> {
        let mode = u32::from(it.stx_mode);
        let kind = match mode & 0o170_000 {
            0o100_000 => InodeKind::File,
            0o040_000 => InodeKind::Directory,
            0o120_000 => InodeKind::Symlink,
            0o010_000 => InodeKind::Fifo,
            0o140_000 => InodeKind::Socket,
            0o020_000 => InodeKind::CharDevice,
            0o060_000 => InodeKind::BlockDevice,
            _ => return None,
        };
        Some(Self {
            kind,
            mode: mode & 0o7777,
            uid: it.stx_uid,
            gid: it.stx_gid,
            links: it.stx_nlink,
            inode: it.stx_ino,
            device: (it.stx_dev_major, it.stx_dev_minor),
            rdev: (it.stx_rdev_major, it.stx_rdev_minor),
            size: it.stx_size,
            blocks: it.stx_blocks,
            modified: (it.stx_mtime.tv_sec, it.stx_mtime.tv_nsec),
            changed: (it.stx_ctime.tv_sec, it.stx_ctime.tv_nsec),
            mount_root: it.stx_attributes.contains(StatxAttributes::MOUNT_ROOT),
        })
    }

    fn id(&self) -> ((u32, u32), u64) {
        (self.device, self.inode)
    }

    /// Whether both are the same inode in the same state, as far as the kernel keeps account of it.
    pub(crate) fn is_unchanged(&self, other: &Self) -> bool {
        self.id() == other.id()
            && (self.kind, self.mode, self.uid, self.gid, self.links)
                == (other.kind, other.mode, other.uid, other.gid, other.links)
            && (self.size, self.modified, self.changed)
                == (other.size, other.modified, other.changed)
    }
}

/// What an open file is.
pub(crate) fn meta_of(fd: impl AsFd) -> io::Result<Meta> {
    let found = statx(fd, "", AtFlags::EMPTY_PATH, StatxFlags::BASIC_STATS)?;
    Meta::of(&found).ok_or_else(|| io::Error::other("it is of a kind that is not known"))
}

/// What `name` in an open directory is, not followed.
pub(crate) fn meta_at(dir: impl AsFd, name: &OsStr) -> io::Result<Meta> {
    let found = statx(
        dir,
        name,
        AtFlags::SYMLINK_NOFOLLOW | AtFlags::NO_AUTOMOUNT,
        StatxFlags::BASIC_STATS,
    )?;
    Meta::of(&found).ok_or_else(|| io::Error::other("it is of a kind that is not known"))
}

/// A name, and what the directory says that it stands for.
type Named = (OsString, FileType);

fn names(dir: BorrowedFd<'_>) -> io::Result<Vec<Named>> {
    let mut names = Vec::new();
    for entry in rustix::fs::Dir::read_from(dir)? {
        let entry = entry?;
        let name = entry.file_name().to_bytes();
        if name != b"." && name != b".." {
            names.push((OsStr::from_bytes(name).to_owned(), entry.file_type()));
        }
    }
    names.sort_unstable_by(|(a, _), (b, _)| a.cmp(b));
    Ok(names)
}

/// A way down into a tree and back up again.
#[derive(Debug)]
pub(crate) struct Cursor {
    levels: Vec<Level>,
    path: Vec<u8>,
}

#[derive(Debug)]
struct Level {
    fd: Option<OwnedFd>,
    id: ((u32, u32), u64),
    /// How long the path is up to here.
    path: usize,
}

impl Cursor {
    /// Begins at an open directory, called `path` in what is said of it.
    pub(crate) fn new(fd: OwnedFd, path: &[u8]) -> Result<Self, TreeError> {
        let id = meta_of(&fd)
            .map_err(|source| TreeError::Io {
                verb: "examine",
                path: path.to_vec(),
                source,
            })?
            .id();
        let level = Level {
            fd: Some(fd),
            id,
            path: path.len(),
        };
        Ok(Self {
            levels: vec![level],
            path: path.to_vec(),
        })
    }

    /// The directory it is in.
    pub(crate) fn fd(&self) -> BorrowedFd<'_> {
        let level = self
            .levels
            .last()
            .expect("BUG: a cursor is always somewhere");
        level
            .fd
            .as_ref()
            .expect("BUG: the last directory is open")
            .as_fd()
    }

    /// How many directories below its first one it is.
    pub(crate) fn depth(&self) -> usize {
        self.levels.len() - 1
    }

    /// The path of the directory it is in.
    pub(crate) fn path(&self) -> &[u8] {
        &self.path
    }

    /// The path of `name` in the directory it is in.
    pub(crate) fn path_of(&self, name: &OsStr) -> Vec<u8> {
        let mut path = Vec::with_capacity(self.path.len() + 1 + name.len());
        path.extend_from_slice(&self.path);
        if !path.is_empty() {
            path.push(b'/');
        }
        path.extend_from_slice(name.as_bytes());
        path
    }

    pub(crate) fn failed(
        &self,
        verb: &'static str,
        name: &OsStr,
        source: impl Into<io::Error>,
    ) -> TreeError {
        TreeError::Io {
            verb,
            path: self.path_of(name),
            source: source.into(),
        }
    }

    fn open(&self, name: &OsStr, flags: OFlags) -> Result<OwnedFd, TreeError> {
        match openat2(self.fd(), name, flags, Mode::empty(), INSIDE) {
            Ok(fd) => Ok(fd),
            Err(Errno::XDEV) => Err(TreeError::Mount {
                path: self.path_of(name),
            }),
            // It was something else a moment ago.
            Err(Errno::LOOP | Errno::NOTDIR | Errno::NOENT | Errno::NXIO | Errno::AGAIN) => {
                Err(TreeError::Changed {
                    path: self.path_of(name),
                })
            }
            Err(errno) => Err(self.failed("open", name, errno)),
        }
    }

    /// What `name` is; anything mounted there is an error.
    pub(crate) fn see(&self, name: &OsStr) -> Result<Meta, TreeError> {
        let meta = match meta_at(self.fd(), name) {
            Ok(meta) => meta,
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                return Err(TreeError::Changed {
                    path: self.path_of(name),
                });
            }
            Err(source) => return Err(self.failed("examine", name, source)),
        };
        if meta.mount_root {
            return Err(TreeError::Mount {
                path: self.path_of(name),
            });
        }
        Ok(meta)
    }

    /// Opens what its directory says is a file.
    fn open_file(&self, name: &OsStr) -> Result<(File, Meta), TreeError> {
        let fd = self.open(name, READ)?;
        let meta = meta_of(&fd).map_err(|source| self.failed("examine", name, source))?;
        if meta.kind != InodeKind::File {
            return Err(TreeError::Changed {
                path: self.path_of(name),
            });
        }
        Ok((File::from(fd), meta))
    }

    /// Goes into the directory `name`.
    pub(crate) fn enter(&mut self, name: &OsStr) -> Result<Meta, TreeError> {
        let fd = self.open(name, DIRECTORY)?;
        let meta = meta_of(&fd).map_err(|source| self.failed("examine", name, source))?;
        self.path = self.path_of(name);
        self.levels.push(Level {
            fd: Some(fd),
            id: meta.id(),
            path: self.path.len(),
        });
        if self.levels.len() > WINDOW {
            let far = self.levels.len() - WINDOW - 1;
            // The first one stays open: it is where everything is beneath.
            if far > 0 {
                self.levels[far].fd = None;
            }
        }
        Ok(meta)
    }

    /// Goes back up.
    pub(crate) fn leave(&mut self) -> Result<(), TreeError> {
        let left = self
            .levels
            .pop()
            .expect("BUG: a cursor is always somewhere");
        let Some(level) = self.levels.last_mut() else {
            self.levels.push(left);
            return Ok(());
        };
        self.path.truncate(level.path);
        if level.fd.is_none() {
            let below = left.fd.expect("BUG: the last directory is open");
            let up =
                openat(&below, "..", DIRECTORY | OFlags::PATH, Mode::empty()).map_err(|errno| {
                    TreeError::Io {
                        verb: "open",
                        path: self.path.clone(),
                        source: errno.into(),
                    }
                })?;
            let found = meta_of(&up).map_err(|source| TreeError::Io {
                verb: "examine",
                path: self.path.clone(),
                source,
            })?;
            if found.id() != level.id {
                return Err(TreeError::Changed {
                    path: self.path.clone(),
                });
            }
            let fd = openat(&up, ".", DIRECTORY, Mode::empty()).map_err(|errno| TreeError::Io {
                verb: "open",
                path: self.path.clone(),
                source: errno.into(),
            })?;
            level.fd = Some(fd);
        }
        Ok(())
    }

    /// The names in the directory it is in, sorted.
    fn names(&self) -> Result<Vec<Named>, TreeError> {
        names(self.fd()).map_err(|source| TreeError::Io {
            verb: "list",
            path: self.path.clone(),
            source,
        })
    }

    /// What the directory it is in is now.
    pub(crate) fn here(&self) -> Result<Meta, TreeError> {
        meta_of(self.fd()).map_err(|source| TreeError::Io {
            verb: "examine",
            path: self.path.clone(),
            source,
        })
    }

    /// Extended attributes of `name`, which is not followed, in the order of their names.
    pub(crate) fn attributes_at(&self, name: &OsStr) -> Result<Attributes, TreeError> {
        // The kernel has no call that takes a directory and a name; the link in /proc leads to this very directory.
        let path = OsString::from_vec(
            [
                format!("/proc/self/fd/{}/", self.fd().as_raw_fd()).as_bytes(),
                name.as_bytes(),
            ]
            .concat(),
        );
        read_attributes(
            |buffer| rustix::fs::llistxattr(&path, buffer),
            |key, buffer| rustix::fs::lgetxattr(&path, key, buffer),
        )
        .map_err(|errno| self.failed("read the attributes of", name, errno))
    }
}

/// Names and values of extended attributes.
pub(crate) type Attributes = Vec<(Vec<u8>, Vec<u8>)>;

/// Extended attributes of an open file.
pub(crate) fn attributes_of(fd: impl AsFd) -> Result<Attributes, Errno> {
    let fd = fd.as_fd();
    read_attributes(
        |buffer| rustix::fs::flistxattr(fd, buffer),
        |key, buffer| rustix::fs::fgetxattr(fd, key, buffer),
    )
}

fn read_attributes(
    list: impl Fn(&mut [u8]) -> Result<usize, Errno>,
    get: impl Fn(&OsStr, &mut [u8]) -> Result<usize, Errno>,
) -> Result<Attributes, Errno> {
    let names = match growing(&list) {
        Ok(names) => names,
        Err(Errno::OPNOTSUPP) => return Ok(Vec::new()),
        Err(errno) => return Err(errno),
    };
    let mut found = Vec::new();
    for name in names.split(|byte| *byte == 0).filter(|it| !it.is_empty()) {
        match growing(|buffer| get(OsStr::from_bytes(name), buffer)) {
            Ok(value) => found.push((name.to_vec(), value)),
            Err(Errno::NODATA) => {}
            Err(errno) => return Err(errno),
        }
    }
    found.sort();
    Ok(found)
}

fn growing(read: impl Fn(&mut [u8]) -> Result<usize, Errno>) -> Result<Vec<u8>, Errno> {
    let mut first = [0; 256];
    match read(&mut first) {
        // Most of what is asked for is nothing, and that takes no memory.
        Ok(length) => return Ok(first[..length].to_vec()),
        Err(Errno::RANGE) => {}
        Err(errno) => return Err(errno),
    }
    let mut buffer = vec![0; 8 * first.len()];
    loop {
        match read(&mut buffer) {
            Ok(length) => {
                buffer.truncate(length);
                return Ok(buffer);
            }
            // 64 KiB is the most that the kernel takes for one; a list may be as long.
            Err(Errno::RANGE) if buffer.len() < 128 * 1024 => buffer.resize(buffer.len() * 8, 0),
            Err(errno) => return Err(errno),
        }
    }
}

/// What a visitor of a tree is shown.
pub(crate) enum Visit<'a> {
    /// A directory that was just entered; the cursor is in it.
    Directory(&'a Meta),
    /// A file, where files are opened; the cursor is in the directory that has it under this name.
    File(&'a OsStr, &'a Meta, File),
    /// Anything else; the cursor is in the directory that has it under this name.
    Entry(&'a OsStr, &'a Meta),
}

/// Whether a walk opens the files that it comes to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Files {
    Opened,
    Seen,
}

/// Shows every entry of a tree to `visit`, directories before what is in them, names in order.
///
/// # Errors
/// The first error of `visit`, or when the tree was not still: a directory that changed while it was gone through.
pub(crate) fn walk<E: From<TreeError>>(
    cursor: &mut Cursor,
    files: Files,
    mut visit: impl FnMut(&Cursor, Visit<'_>) -> Result<(), E>,
) -> Result<(), E> {
    let begin = cursor.here()?;
    visit(cursor, Visit::Directory(&begin))?;
    let mut pending = vec![(begin, cursor.names()?.into_iter())];
    while let Some((before, left)) = pending.last_mut() {
        let Some((name, kind)) = left.next() else {
            if !cursor.here()?.is_unchanged(before) {
                return Err(TreeError::Changed {
                    path: cursor.path().to_vec(),
                }
                .into());
            }
            pending.pop();
            cursor.leave()?;
            continue;
        };
        // What a file is, is asked of it once it is open: of a name it would have to be asked again. Some file systems do
        // not say in a directory what a name stands for.
        let seen = match kind {
            FileType::RegularFile if files == Files::Opened => None,
            _ => Some(cursor.see(&name)?),
        };
        let Some(meta) = seen.filter(|it| files == Files::Seen || it.kind != InodeKind::File)
        else {
            let (file, meta) = cursor.open_file(&name)?;
            visit(cursor, Visit::File(&name, &meta, file))?;
            continue;
        };
        if meta.kind == InodeKind::Directory {
            let entered = cursor.enter(&name)?;
            if !entered.is_unchanged(&meta) {
                return Err(TreeError::Changed {
                    path: cursor.path().to_vec(),
                }
                .into());
            }
            visit(cursor, Visit::Directory(&entered))?;
            pending.push((entered, cursor.names()?.into_iter()));
        } else {
            visit(cursor, Visit::Entry(&name, &meta))?;
        }
    }
    Ok(())
}

/// What a tree amounts to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Census {
    /// Bytes that it occupies; each inode once.
    pub(crate) allocated: u64,
    /// Entries, the tree's own directory among them.
    pub(crate) entries: u64,
    /// Over every path, identity, size and time: two of a tree that nobody touched in between are equal.
    pub(crate) fingerprint: [u8; 32],
}

/// Counts a tree.
///
/// # Errors
/// When it cannot be gone through, or was not still.
pub(crate) fn census(cursor: &mut Cursor) -> Result<Census, TreeError> {
    let mut counted = Counted::default();
    walk(
        cursor,
        Files::Seen,
        |cursor, visit| -> Result<(), TreeError> {
            match visit {
                Visit::Directory(meta) => counted.take(cursor.depth(), cursor.path(), meta),
                Visit::File(name, meta, _) | Visit::Entry(name, meta) => {
                    counted.take(cursor.depth() + 1, name.as_bytes(), meta)
                }
            }
            Ok(())
        },
    )?;
    Ok(counted.census())
}

/// A census in the making.
#[derive(Debug, Default)]
pub(crate) struct Counted {
    allocated: u64,
    entries: u64,
    hash: Sha256,
    linked: std::collections::HashSet<u64>,
    /// What is counted just now.
    record: Vec<u8>,
}

impl Counted {
    /// Counts the entry so many levels below the top; of `path` the last name counts, since the order says the rest.
    pub(crate) fn take(&mut self, depth: usize, path: &[u8], meta: &Meta) {
        let name = path.rsplit(|byte| *byte == b'/').next().unwrap_or_default();
        self.entries += 1;
        let again =
            meta.links > 1 && meta.kind != InodeKind::Directory && !self.linked.insert(meta.inode);
        if !again {
            self.allocated += meta.blocks * 512;
        }
        let record = &mut self.record;
        record.clear();
        record.extend_from_slice(&(depth as u64).to_be_bytes());
        record.extend_from_slice(&(name.len() as u64).to_be_bytes());
        record.extend_from_slice(name);
        for number in [
            meta.kind as u64,
            u64::from(meta.mode),
            u64::from(meta.uid),
            u64::from(meta.gid),
            meta.inode,
            meta.size,
            meta.modified.0.cast_unsigned(),
            u64::from(meta.modified.1),
            meta.changed.0.cast_unsigned(),
            u64::from(meta.changed.1),
        ] {
            record.extend_from_slice(&number.to_be_bytes());
        }
        self.hash.update(record);
    }

    pub(crate) fn census(self) -> Census {
        Census {
            allocated: self.allocated,
            entries: self.entries,
            fingerprint: self.hash.finalize().into(),
        }
    }
}

/// Removes the tree `name` of an open directory, however deep it is. Stops at anything mounted, with all of that left.
///
/// # Errors
/// When something could not be removed; what was removed before stays so.
pub(crate) fn remove(
    parent: impl AsFd,
    name: &OsStr,
    progress: &mut dyn FnMut(u64),
) -> Result<(), TreeError> {
    let parent = parent
        .as_fd()
        .try_clone_to_owned()
        .map_err(|source| TreeError::Io {
            verb: "open",
            path: name.as_bytes().to_vec(),
            source,
        })?;
    let mut cursor = Cursor::new(parent, b"")?;
    match meta_at(cursor.fd(), name) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(source) => return Err(cursor.failed("examine", name, source)),
        Ok(meta) if meta.kind != InodeKind::Directory => {
            return unlink(&cursor, name, AtFlags::empty());
        }
        Ok(_) => {}
    }
    let mut removed = 0;
    // What is mounted somewhere below is found before anything is gone.
    cursor.enter(name)?;
    let mut probe = Cursor::new(
        cursor
            .fd()
            .try_clone_to_owned()
            .map_err(|source| cursor.failed("open", name, source))?,
        name.as_bytes(),
    )?;
    walk(&mut probe, Files::Seen, |_, _| -> Result<(), TreeError> {
        Ok(())
    })?;
    let mut pending = vec![(name.to_owned(), cursor.names()?.into_iter())];
    while let Some((_, left)) = pending.last_mut() {
        let Some((name, _)) = left.next() else {
            let (directory, _) = pending.pop().expect("looked at above");
            cursor.leave()?;
            unlink(&cursor, &directory, AtFlags::REMOVEDIR)?;
            removed += 1;
            progress(removed);
            continue;
        };
        if cursor.see(&name)?.kind == InodeKind::Directory {
            cursor.enter(&name)?;
            let names = cursor.names()?.into_iter();
            pending.push((name, names));
        } else {
            unlink(&cursor, &name, AtFlags::empty())?;
            removed += 1;
            progress(removed);
        }
    }
    Ok(())
}

fn unlink(cursor: &Cursor, name: &OsStr, flags: AtFlags) -> Result<(), TreeError> {
    match unlinkat(cursor.fd(), name, flags) {
        Ok(()) | Err(Errno::NOENT) => Ok(()),
        Err(errno) => Err(cursor.failed("remove", name, errno)),
    }
}
