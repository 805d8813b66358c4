//! Writing objects so that a power loss finds them either whole or not at all.
//!
//! git and gix rename a loose object into place without syncing it, so that a crash can leave it with no content, which
//! then passes for the object for ever. Here a file is synced before its rename and its directory after it; an object
//! that is already there is believed only after reading it.

use std::collections::BTreeSet;
use std::fs::{self, File, Permissions};
use std::io::{self, ErrorKind, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{SystemTime, UNIX_EPOCH};

use gix::hash::ObjectId;
use gix::objs;
use gix::zlib::{Compression, stream::deflate};

use crate::folder;
use crate::objects::Objects;

/// How much of a crash a write has to survive.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Durability {
    /// It is on the disk before the call returns.
    Synced,
    /// It can be fetched again; only its order matters.
    Cache,
}

/// Makes the entries of a directory durable.
pub(crate) fn sync_dir(dir: &Path) -> io::Result<()> {
    File::open(dir)?.sync_all()
}

/// Writes loose objects into one object directory. `finish` must be called before anything refers to them.
#[must_use = "objects are durable only after finish()"]
pub(crate) struct ObjectWriter<'a> {
    objects: &'a Objects,
    durability: Durability,
    dir_mode: u32,
    touched: BTreeSet<PathBuf>,
}

impl<'a> ObjectWriter<'a> {
    /// A writer into the directory of `objects`; new directories and files get that directory's permissions.
    pub(crate) fn new(objects: &'a Objects, durability: Durability) -> io::Result<Self> {
        let dir_mode = objects.dir().metadata()?.mode() & 0o7777;
        Ok(ObjectWriter {
            objects,
            durability,
            dir_mode,
            touched: BTreeSet::new(),
        })
    }

    /// Writes one object unless it is there with this very content.
    pub(crate) fn write(&mut self, kind: objs::Kind, data: &[u8]) -> io::Result<ObjectId> {
        let id = objs::compute_hash(self.objects.kind(), kind, data).map_err(io::Error::other)?;
        self.write_verified(&id, kind, data).map(|()| id)
    }

    /// The same for an object that was hashed when it was read: a roster of 10,000 people is not hashed twice to be copied (S6).
    pub(crate) fn write_verified(
        &mut self,
        id: &ObjectId,
        kind: objs::Kind,
        data: &[u8],
    ) -> io::Result<()> {
        let hex = id.to_string();
        let fan_out = self.objects.dir().join(&hex[..2]);
        let path = fan_out.join(&hex[2..]);
        if self.objects.holds(id, kind, data) {
            // It may be the leftover of a run that was killed before it could sync the directory.
            if self.durability == Durability::Synced && path.exists() {
                self.touched.insert(fan_out);
            }
            return Ok(());
        }
        self.make_fan_out(&fan_out)?;
        let temporary = fan_out.join(temporary_name());
        let written = self
            .write_file(&temporary, kind, data)
            .and_then(|()| fs::rename(&temporary, &path));
        if written.is_err() {
            // Nobody else uses this file; if it cannot be removed now, git's housekeeping removes it.
            let _ = fs::remove_file(&temporary);
        }
        written?;
        self.touched.insert(fan_out);
        Ok(())
    }

    fn write_file(&self, path: &Path, kind: objs::Kind, data: &[u8]) -> io::Result<()> {
        let file = File::options()
            .write(true)
            .create_new(true)
            .mode(0o600)
            .open(path)?;
        let mut deflate = deflate::Write::new(file, Compression::BEST_SPEED);
        deflate.write_all(&objs::encode::loose_header(kind, data.len() as u64))?;
        deflate.write_all(data)?;
        deflate.flush()?;
        let file = deflate.into_inner();
        file.set_permissions(Permissions::from_mode(self.dir_mode & 0o444 | 0o400))?;
        match self.durability {
            Durability::Synced => file.sync_all(),
            Durability::Cache => Ok(()),
        }
    }

    fn make_fan_out(&mut self, dir: &Path) -> io::Result<()> {
        match fs::create_dir(dir) {
            Ok(()) => {
                fs::set_permissions(dir, Permissions::from_mode(self.dir_mode))?;
                self.touched.insert(self.objects.dir().to_owned());
                Ok(())
            }
            Err(error) if error.kind() == ErrorKind::AlreadyExists => Ok(()),
            Err(error) => Err(error),
        }
    }

    /// Waits until everything written can be found again after a power loss.
    pub(crate) fn finish(self) -> io::Result<()> {
        match self.durability {
            Durability::Synced => self.touched.iter().try_for_each(|dir| sync_dir(dir)),
            Durability::Cache => Ok(()),
        }
    }
}

/// A name that no other writer on this machine has: the process, the moment, and a count within both.
fn temporary_name() -> String {
    static COUNT: AtomicU32 = AtomicU32::new(0);
    let moment = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap_or_default()
        .as_nanos();
    format!(
        "tmp_obj_{}_{moment:x}_{}",
        std::process::id(),
        COUNT.fetch_add(1, Ordering::Relaxed)
    )
}

/// Replaces a small file so that it is always the old or the new one; nothing happens when it has this content already.
pub(crate) fn replace_file(path: &Path, content: &[u8]) -> io::Result<()> {
    if fs::read(path).is_ok_and(|found| found == content) {
        return Ok(());
    }
    let temporary = path.with_extension("new");
    let mut file = File::create(&temporary)?;
    file.write_all(content)?;
    file.sync_all()?;
    fs::rename(&temporary, path)?;
    path.parent().map_or(Ok(()), sync_dir)
}

/// What a crash or a killed git left behind in a repository that only we write.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Leftovers {
    /// Lock and temporary files, removed.
    pub(crate) stale: usize,
    /// Objects, packs and references without content, removed.
    pub(crate) empty: usize,
}

/// What to do with a reference that has no content.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum EmptyRefs {
    /// It can be fetched again.
    Remove,
    /// It must be found broken, not absent.
    Keep,
}

/// Removes lock files, temporary files, and objects without content from `git_dir`. The caller holds the executor's
/// lock: nobody else writes here.
pub(crate) fn sweep(git_dir: &Path, refs: EmptyRefs) -> io::Result<Leftovers> {
    let mut leftovers = Leftovers::default();
    sweep_dir(git_dir, Depth::Here, EmptyRefs::Keep, &mut leftovers)?;
    sweep_dir(
        &git_dir.join("objects"),
        Depth::Below,
        EmptyRefs::Remove,
        &mut leftovers,
    )?;
    sweep_dir(&git_dir.join("refs"), Depth::Below, refs, &mut leftovers)?;
    Ok(leftovers)
}

#[derive(Clone, Copy, PartialEq)]
enum Depth {
    Here,
    Below,
}

fn sweep_dir(
    dir: &Path,
    depth: Depth,
    empty: EmptyRefs,
    leftovers: &mut Leftovers,
) -> io::Result<()> {
    for entry in folder::entries(dir)? {
        let name = entry.name().as_encoded_bytes();
        if entry.is_dir()? {
            if depth == Depth::Below {
                sweep_dir(&entry.path, depth, empty, leftovers)?;
            }
        } else if name.ends_with(b".lock")
            || name.starts_with(b"tmp_")
            || name.starts_with(b".tmp-")
        {
            fs::remove_file(&entry.path)?;
            leftovers.stale += 1;
        } else if empty == EmptyRefs::Remove
            && entry.is_file()?
            && !dir.ends_with("info")
            && fs::symlink_metadata(&entry.path)?.len() == 0
        {
            fs::remove_file(&entry.path)?;
            leftovers.empty += 1;
        }
    }
    Ok(())
}
