//! The lasting identity of a home directory: inode number, birth time and file system.

use std::collections::HashMap;
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;
use std::sync::Arc;

use muster_core::accounts::facts::HomeId;

use crate::dir::{Dir, FileStat};

/// Where the kernel's device manager names file systems.
const BY_UUID: &str = "/dev/disk/by-uuid";

/// A file system, and its name if that can be told.
#[derive(Debug)]
struct Filesystem {
    device: (u32, u32),
    name: Option<Arc<str>>,
}

/// The names of file systems, each asked for once.
#[derive(Debug, Default)]
pub(crate) struct Filesystems {
    /// There are few.
    known: Vec<Filesystem>,
    by_uuid: Option<HashMap<u64, String>>,
}

impl Filesystems {
    /// Which directory `name` in `dir` is, that was seen as `seen`; `None` when its file system cannot be told.
    pub(crate) fn identify(&mut self, dir: &Dir, name: &str, seen: &FileStat) -> Option<HomeId> {
        let known = self.known.iter().find(|it| it.device == seen.device);
        let filesystem = match known {
            Some(known) => known.name.clone(),
            None => {
                let by_uuid = self.by_uuid.get_or_insert_with(devices_by_uuid);
                let device =
                    nix::sys::stat::makedev(u64::from(seen.device.0), u64::from(seen.device.1));
                let found = by_uuid
                    .get(&device)
                    .map(|it| format!("uuid:{it}"))
                    .or_else(|| fsid(&dir.dir(name).ok()?))
                    .map(Arc::from);
                self.known.push(Filesystem {
                    device: seen.device,
                    name: found.clone(),
                });
                found
            }
        };
        Some(HomeId {
            inode: seen.inode,
            born: seen.born,
            filesystem: filesystem?,
        })
    }
}

/// The UUID of the file system on each block device.
fn devices_by_uuid() -> HashMap<u64, String> {
    let Ok(names) = crate::dir::names_in(BY_UUID) else {
        return HashMap::new();
    };
    let named = names.into_iter().filter_map(|name| {
        let device = std::fs::metadata(Path::new(BY_UUID).join(&name))
            .ok()?
            .rdev();
        Some((device, name.into_string().ok()?))
    });
    named.collect()
}

/// What the file system says of itself: made from its UUID where it has one and no block device of its own.
fn fsid(home: &Dir) -> Option<String> {
    let id = nix::sys::statvfs::fstatvfs(home).ok()?.filesystem_id();
    (id != 0).then(|| format!("fsid:{id:016x}"))
}
