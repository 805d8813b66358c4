//! The skeleton of new homes: read once, written into each.

use std::ffi::OsString;
use std::fs::File;
use std::io::Write as _;
use std::os::fd::AsFd;

use nix::fcntl::AtFlags;
use nix::sys::stat::{Mode, fchmod, futimens};
use nix::sys::time::TimeSpec;
use nix::unistd::{Gid, Uid, fchown, fchownat};

use crate::dir::{Dir, FileKind, failed};
use crate::root::RootError;

/// Bytes of files that a skeleton may hold; beyond, somebody has put something else there.
const SKELETON: u64 = 64 * 1024 * 1024;
/// Entries that it may hold.
const ENTRIES: usize = 10_000;
/// How deep it may be.
const DEPTH: usize = 16;

/// The content of a new home.
#[derive(Debug, Default)]
pub(crate) struct Skeleton {
    entries: Vec<(OsString, Node)>,
}

#[derive(Debug)]
enum Node {
    Directory {
        mode: u32,
        inner: Skeleton,
    },
    File {
        mode: u32,
        modified: (i64, u32),
        content: Vec<u8>,
    },
    Link {
        target: OsString,
    },
}

impl Skeleton {
    /// Reads the skeleton at `path` in a root; one that is missing is empty. FIFOs, sockets and devices are left out.
    pub(crate) fn read(root: &Dir, path: &str) -> Result<Self, RootError> {
        match root.below_trusted(path) {
            Ok(dir) => Self::read_directory(&dir, &mut (SKELETON, ENTRIES), DEPTH),
            Err(error) if error.source.kind() == std::io::ErrorKind::NotFound => {
                Ok(Self::default())
            }
            Err(error) => Err(error),
        }
    }

    fn read_directory(dir: &Dir, left: &mut (u64, usize), depth: usize) -> Result<Self, RootError> {
        let mut entries = Vec::new();
        for name in dir.names()? {
            let Some(seen) = dir.see(&name)? else {
                continue;
            };
            let (Some(entries_left), true) = (left.1.checked_sub(1), depth > 0) else {
                return Err(failed(
                    "use a skeleton of so many entries,",
                    dir.path(),
                    nix::errno::Errno::E2BIG,
                ));
            };
            left.1 = entries_left;
            let node = match seen.kind {
                FileKind::Directory => {
                    let inner = Self::read_directory(&dir.dir(&name)?, left, depth - 1)?;
                    Node::Directory {
                        mode: seen.mode,
                        inner,
                    }
                }
                FileKind::File => {
                    let Some((content, _)) = dir.read(&name, left.0)? else {
                        continue;
                    };
                    left.0 -= content.len() as u64;
                    Node::File {
                        mode: seen.mode,
                        modified: seen.modified,
                        content,
                    }
                }
                FileKind::Link => Node::Link {
                    target: dir.read_link(&name)?,
                },
                FileKind::Other => continue,
            };
            entries.push((name, node));
        }
        Ok(Self { entries })
    }

    pub(super) fn fill(
        &self,
        dir: &Dir,
        owner: Option<(Uid, Gid)>,
        each: Each,
    ) -> Result<(), RootError> {
        for (name, node) in &self.entries {
            let refused = |verb| move |errno| failed(verb, &dir.path_of(name), errno);
            match node {
                Node::Directory { mode, inner } => {
                    let made = dir.make_dir(name, 0o700)?;
                    inner.fill(&made, owner, each)?;
                    own(&made, owner).map_err(refused("change the owner of"))?;
                    made.set_mode(*mode)?;
                    if each == Each::Synced {
                        made.sync()?;
                    }
                }
                Node::File {
                    mode,
                    modified,
                    content,
                } => {
                    let mut file: File = dir.create(name)?;
                    let broken = |source| RootError {
                        verb: "write",
                        path: dir.path_of(name),
                        source,
                    };
                    file.write_all(content).map_err(broken)?;
                    own(&file, owner).map_err(refused("change the owner of"))?;
                    // After the change of owner, which takes bits away.
                    fchmod(&file, Mode::from_bits_truncate(*mode))
                        .map_err(refused("change the mode of"))?;
                    let time = TimeSpec::new(modified.0, i64::from(modified.1));
                    futimens(&file, &time, &time).map_err(refused("change the times of"))?;
                    if each == Each::Synced {
                        file.sync_all().map_err(broken)?;
                    }
                }
                Node::Link { target } => {
                    dir.link_to(target, name)?;
                    if let Some((uid, gid)) = owner {
                        fchownat(
                            dir,
                            name.as_os_str(),
                            Some(uid),
                            Some(gid),
                            AtFlags::AT_SYMLINK_NOFOLLOW,
                        )
                        .map_err(refused("change the owner of"))?;
                    }
                }
            }
        }
        Ok(())
    }
}

pub(super) fn own(fd: impl AsFd, owner: Option<(Uid, Gid)>) -> nix::Result<()> {
    match owner {
        Some((uid, gid)) => fchown(fd, Some(uid), Some(gid)),
        None => Ok(()),
    }
}

/// Whether each file is made durable by itself, or all together later.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Each {
    Synced,
    Together,
}
