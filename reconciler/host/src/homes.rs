//! Home directories: which one is there, and making one from the skeleton.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::io::Write as _;
use std::os::fd::AsFd;
use std::os::unix::fs::MetadataExt as _;
use std::sync::Arc;

use muster_core::accounts::facts::HomeId;
use muster_core::accounts::observed::Home;
use muster_core::reading::Reading;
use nix::fcntl::AtFlags;
use nix::sys::stat::{Mode, fchmod, futimens};
use nix::sys::statfs::FsType;
use nix::sys::time::TimeSpec;
use nix::unistd::{Gid, Uid, fchown, fchownat};

use crate::dir::{Dir, Kind, Seen, failed, is_name, split, told};
use crate::root::{Ownership, Root, RootError};

/// Bytes of files that a skeleton may hold; beyond, somebody has put something else there.
const SKELETON: u64 = 64 * 1024 * 1024;
/// Entries that it may hold.
const ENTRIES: usize = 10_000;
/// How deep it may be.
const DEPTH: usize = 16;
/// From how many homes on one flush of the file system is cheaper than one for each file.
const MANY: usize = 16;
/// The file system of an automounter: `AUTOFS_SUPER_MAGIC` of linux/magic.h.
const AUTOFS: FsType = FsType(0x0187);
/// Where the kernel's device manager names file systems.
const BY_UUID: &str = "/dev/disk/by-uuid";

/// Looks at many homes, and opens what they share once.
#[derive(Debug)]
pub(crate) struct Homes<'a> {
    root: &'a Dir,
    /// By their path without slashes around it; there are few.
    parents: BTreeMap<String, Result<Option<Parent>, String>>,
    /// The last home that was looked at, up to its name: most homes stand side by side.
    last: Option<String>,
    filesystems: Filesystems,
    recorded: Option<HashMap<Vec<u8>, u32>>,
}

/// A directory that homes stand in.
#[derive(Debug)]
struct Parent {
    dir: Dir,
    absent: Absent,
}

/// How it is found out that there is nothing under a name.
#[derive(Debug)]
enum Absent {
    /// By asking for it; so many names had nothing.
    Asked(usize),
    /// By not being in the list of all names: where many homes are still to be made, one list is cheaper than asking
    /// for each.
    Unlisted(HashSet<OsString>),
}

impl Parent {
    fn of(dir: Dir) -> Self {
        let absent = Absent::Asked(0);
        Self { dir, absent }
    }

    /// What stands at `name`, if anything.
    fn see(&mut self, name: &str) -> Result<Option<Seen>, RootError> {
        match &mut self.absent {
            Absent::Unlisted(names) if !names.contains(OsStr::new(name)) => return Ok(None),
            Absent::Unlisted(_) => {}
            Absent::Asked(none) if *none == MANY && lists_everything(&self.dir) => {
                // Once: a directory that cannot be listed is asked on.
                *none += 1;
                if let Ok(names) = self.dir.names() {
                    self.absent = Absent::Unlisted(names.into_iter().collect());
                    return self.see(name);
                }
            }
            Absent::Asked(_) => {}
        }
        let seen = self.dir.see(name)?;
        if let (None, Absent::Asked(none)) = (&seen, &mut self.absent) {
            *none += 1;
        }
        Ok(seen)
    }
}

/// Whether what is in a directory is in its list. An automounter's names stand there only once somebody asked for them.
fn lists_everything(dir: &Dir) -> bool {
    nix::sys::statfs::fstatfs(dir).is_ok_and(|it| it.filesystem_type() != AUTOFS)
}

impl<'a> Homes<'a> {
    pub(crate) fn new(root: &'a Dir, owners: &Root) -> Self {
        let recorded = (owners.ownership() == Ownership::Recorded).then(|| recorded(root));
        Self {
            root,
            parents: BTreeMap::new(),
            last: None,
            filesystems: Filesystems::default(),
            recorded,
        }
    }

    /// What stands at `home`, which is to belong to `uid`; `None` takes any owner but root.
    pub(crate) fn look(&mut self, home: &str, uid: Option<u32>) -> Reading<Home> {
        let beside = self.last.as_deref().and_then(|it| home.strip_prefix(it));
        let name = match beside.filter(|it| is_name(it.as_bytes())) {
            Some(name) => name,
            None => match check(home) {
                Ok(()) => split(home).1,
                Err(why) => return Reading::Known(Home::Odd(why)),
            },
        };
        let above = &home[..home.len() - name.len()];
        if self.last.as_deref() != Some(above) {
            self.last = Some(above.to_owned());
        }
        let parent = above.trim_matches('/');
        let opened = match self.parents.get_mut(parent) {
            Some(opened) => opened,
            None => {
                let opened = match self.root.below_trusted(parent) {
                    Ok(dir) => Ok(Some(Parent::of(dir))),
                    Err(error) if error.source.kind() == std::io::ErrorKind::NotFound => Ok(None),
                    Err(error) => Err(told(&error)),
                };
                self.parents.entry(parent.to_owned()).or_insert(opened)
            }
        };
        let parent = match opened {
            Ok(Some(parent)) => parent,
            Ok(None) => return Reading::Known(Home::Absent),
            Err(why) => return Reading::Unknown(why.clone()),
        };
        let seen = match parent.see(name) {
            Ok(Some(seen)) => seen,
            Ok(None) => return Reading::Known(Home::Absent),
            Err(error) => return Reading::Unknown(told(&error)),
        };
        if seen.kind != Kind::Directory {
            return Reading::Known(Home::Odd(format!(
                "it is {}, not a directory",
                seen.kind.said()
            )));
        }
        let owner = match &self.recorded {
            Some(owners) => owners
                .get(home.trim_start_matches('/').as_bytes())
                .copied()
                .or(uid)
                .unwrap_or(seen.uid),
            None => seen.uid,
        };
        if uid.is_some_and(|uid| uid != owner) {
            return Reading::Known(Home::Odd(format!("it is owned by uid {owner}")));
        }
        match self.filesystems.identify(&parent.dir, name, &seen) {
            Some(id) => Reading::Known(Home::Directory(id)),
            None => Reading::Unknown(format!("the file system of {home} cannot be told")),
        }
    }
}

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
    pub(crate) fn identify(&mut self, dir: &Dir, name: &str, seen: &Seen) -> Option<HomeId> {
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

/// Whether a home is a path that anything may be done at: absolute, below a directory, nothing to be resolved in it.
pub(crate) fn check(home: &str) -> Result<(), String> {
    let parts = |it: &str| it.as_bytes().split(|byte| *byte == b'/').all(is_name);
    match home.strip_prefix('/') {
        Some(rest) if parts(rest) => Ok(()),
        _ => Err(format!(
            "{home:?} is no absolute path without `.`, `..` and doubled slashes"
        )),
    }
}

fn recorded(root: &Dir) -> HashMap<Vec<u8>, u32> {
    let Ok(Some((bytes, _))) = root.read(".muster-ownership", u64::MAX - 1) else {
        return HashMap::new();
    };
    let lines = bytes.split(|byte| *byte == b'\n').filter_map(|line| {
        let at = line.iter().position(|byte| *byte == b' ')?;
        let (uid, _) = std::str::from_utf8(&line[..at]).ok()?.split_once(':')?;
        Some((line[at + 1..].to_vec(), uid.parse().ok()?))
    });
    lines.collect()
}

/// The UUID of the file system on each block device.
fn devices_by_uuid() -> HashMap<u64, String> {
    let Ok(entries) = std::fs::read_dir(BY_UUID) else {
        return HashMap::new();
    };
    let named = entries.flatten().filter_map(|entry| {
        let device = std::fs::metadata(entry.path()).ok()?.rdev();
        Some((device, entry.file_name().into_string().ok()?))
    });
    named.collect()
}

/// What the file system says of itself: made from its UUID where it has one and no block device of its own.
fn fsid(home: &Dir) -> Option<String> {
    let id = nix::sys::statvfs::fstatvfs(home).ok()?.filesystem_id();
    (id != 0).then(|| format!("fsid:{id:016x}"))
}

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
                Kind::Directory => {
                    let inner = Self::read_directory(&dir.dir(&name)?, left, depth - 1)?;
                    Node::Directory {
                        mode: seen.mode,
                        inner,
                    }
                }
                Kind::File => {
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
                Kind::Link => Node::Link {
                    target: dir.read_link(&name)?,
                },
                Kind::Other => continue,
            };
            entries.push((name, node));
        }
        Ok(Self { entries })
    }

    fn fill(&self, dir: &Dir, owner: Option<(Uid, Gid)>, each: Each) -> Result<(), RootError> {
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

fn own(fd: impl AsFd, owner: Option<(Uid, Gid)>) -> nix::Result<()> {
    match owner {
        Some((uid, gid)) => fchown(fd, Some(uid), Some(gid)),
        None => Ok(()),
    }
}

/// Whether each file is made durable by itself, or all together later.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Each {
    Synced,
    Together,
}

/// A home to be made.
#[derive(Clone, Copy, Debug)]
pub(crate) struct NewHome<'a> {
    pub(crate) home: &'a str,
    pub(crate) uid: u32,
    pub(crate) gid: u32,
}

/// Makes homes from the skeleton, each as a whole: built under a temporary name beside its place, made durable, then
/// put in place if nothing is there. Says of each, in order, why it was not made.
///
/// Guarantee: a home that is in place after a power cut has all of its skeleton, with owners and modes; when this
/// returns without a complaint, the home is in place and durable. Many homes share one flush of their file system.
pub(crate) fn create(
    root: &Dir,
    owners: &Root,
    skeleton: &Skeleton,
    mode: u32,
    homes: &[NewHome<'_>],
    progress: &mut dyn FnMut(usize),
) -> Vec<Result<(), String>> {
    let mut results: Vec<Result<(), String>> = vec![Ok(()); homes.len()];
    let mut by_parent: BTreeMap<&str, Vec<usize>> = BTreeMap::new();
    for (index, new) in homes.iter().enumerate() {
        match check(new.home) {
            Ok(()) => by_parent.entry(split(new.home).0).or_default().push(index),
            Err(why) => results[index] = Err(why),
        }
    }
    let mut done = 0;
    for (parent, indices) in by_parent {
        let dir = match root.below_trusted(parent) {
            Ok(dir) => dir,
            Err(error) => {
                for index in indices {
                    results[index] = Err(told(&error));
                }
                continue;
            }
        };
        let each = if indices.len() < MANY {
            Each::Synced
        } else {
            Each::Together
        };
        let mut built = Vec::new();
        for index in indices {
            match build(&dir, owners, skeleton, mode, &homes[index], each) {
                Ok(Built::Waits) => built.push(index),
                Ok(Built::ThereAlready) => {}
                Err(why) => results[index] = Err(why),
            }
            done += 1;
            progress(done);
        }
        let synced = match each {
            Each::Synced => Ok(()),
            Each::Together => dir.sync_filesystem(),
        };
        let placed: Vec<usize> = built
            .iter()
            .copied()
            .filter(|index| {
                let name = split(homes[*index].home).1;
                let placed = synced.as_ref().map_err(|error| told(error)).and_then(|()| {
                    dir.place(temporary(name), name)
                        .map_err(|error| told(&error))
                });
                if placed.is_err() {
                    let _ = dir.remove_tree(temporary(name));
                }
                results[*index] = placed;
                results[*index].is_ok()
            })
            .collect();
        if let Err(error) = dir.sync() {
            for index in placed {
                results[index] = Err(told(&error));
            }
        }
    }
    results
}

enum Built {
    Waits,
    ThereAlready,
}

fn temporary(name: &str) -> String {
    format!(".muster-new.{name}")
}

fn build(
    parent: &Dir,
    owners: &Root,
    skeleton: &Skeleton,
    mode: u32,
    new: &NewHome<'_>,
    each: Each,
) -> Result<Built, String> {
    let NewHome { home, uid, gid } = *new;
    let name = split(home).1;
    let said = |error: RootError| told(&error);
    match parent.see(name).map_err(said)? {
        Some(seen)
            if seen.kind == Kind::Directory
                && (seen.uid == uid || owners.ownership() == Ownership::Recorded) =>
        {
            return Ok(Built::ThereAlready);
        }
        Some(seen) => {
            return Err(format!(
                "{home} is {} of uid {} already",
                seen.kind.said(),
                seen.uid
            ));
        }
        None => {}
    }
    let temporary = temporary(name);
    // What an interrupted cycle left under that name is ours, and was never anybody's home.
    parent.remove_tree(&temporary).map_err(said)?;
    let dir = parent.make_dir(&temporary, 0o700).map_err(said)?;
    let owner = match owners.ownership() {
        Ownership::Performed => Some((Uid::from_raw(uid), Gid::from_raw(gid))),
        Ownership::Recorded => None,
    };
    let finished = skeleton.fill(&dir, owner, each).and_then(|()| {
        own(&dir, owner).map_err(|errno| failed("change the owner of", dir.path(), errno))?;
        dir.set_mode(mode)?;
        match each {
            Each::Synced => dir.sync(),
            Each::Together => Ok(()),
        }
    });
    if let Err(error) = finished {
        let _ = parent.remove_tree(&temporary);
        return Err(told(&error));
    }
    if owners.ownership() == Ownership::Recorded {
        record(owners, home, uid, gid)
            .map_err(|error| format!("the owner of {home} was not recorded: {error}"))?;
    }
    Ok(Built::Waits)
}

/// Adds a line to the record of owners; see [`Ownership::Recorded`].
fn record(owners: &Root, home: &str, uid: u32, gid: u32) -> std::io::Result<()> {
    use std::os::unix::fs::OpenOptionsExt as _;
    let mut file = File::options()
        .append(true)
        .create(true)
        .mode(0o600)
        .custom_flags(nix::fcntl::OFlag::O_NOFOLLOW.bits())
        .open(owners.path().join(".muster-ownership"))?;
    writeln!(file, "{uid}:{gid} {}", home.trim_start_matches('/'))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::{PermissionsExt as _, symlink};
    use std::path::Path;

    struct Scratch {
        scratch: tempfile::TempDir,
        dir: Dir,
        root: Root,
        uid: u32,
    }

    fn scratch() -> Scratch {
        let scratch = tempfile::tempdir().unwrap();
        for made in ["home", "etc/skel/.config"] {
            std::fs::create_dir_all(scratch.path().join(made)).unwrap();
        }
        std::fs::write(scratch.path().join("etc/skel/.profile"), "umask 022\n").unwrap();
        std::fs::write(scratch.path().join("etc/skel/.config/run"), "#!/bin/sh\n").unwrap();
        let executable = std::fs::Permissions::from_mode(0o755);
        std::fs::set_permissions(scratch.path().join("etc/skel/.config/run"), executable).unwrap();
        symlink("/etc/motd", scratch.path().join("etc/skel/link")).unwrap();
        let euid = nix::unistd::geteuid();
        let (ownership, uid) = if euid.is_root() {
            (Ownership::Performed, 4_711)
        } else {
            (Ownership::Recorded, euid.as_raw())
        };
        let dir = Dir::open(scratch.path()).unwrap();
        let root = Root::open(scratch.path(), ownership).unwrap();
        Scratch {
            scratch,
            dir,
            root,
            uid,
        }
    }

    impl Scratch {
        fn path(&self, path: &str) -> std::path::PathBuf {
            self.scratch.path().join(path)
        }

        fn look(&self, home: &str) -> Reading<Home> {
            Homes::new(&self.dir, &self.root).look(home, Some(self.uid))
        }

        fn create(&self, homes: &[&str]) -> Vec<Result<(), String>> {
            let skeleton = Skeleton::read(&self.dir, "etc/skel").unwrap();
            let homes: Vec<NewHome<'_>> = homes
                .iter()
                .map(|home| NewHome {
                    home,
                    uid: self.uid,
                    gid: self.uid,
                })
                .collect();
            create(&self.dir, &self.root, &skeleton, 0o700, &homes, &mut |_| {})
        }
    }

    #[test]
    fn a_home_is_found_whatever_was_looked_at_before() {
        let scratch = scratch();
        for made in ["home/ann", "home/team/ben", "cem"] {
            std::fs::create_dir_all(scratch.path(made)).unwrap();
        }
        let good = ["/home/ann", "/home/team/ben", "/cem", "/home/nobody"];
        let bad = [
            "ann",
            "",
            "/",
            "//cem",
            "/home/",
            "/home/.",
            "/home/..",
            "/home/team//ben",
            "/home/team/../ann",
            "/home/a\0b",
            "home/ann",
        ];
        let all = || good.iter().chain(&bad);
        for before in all() {
            for home in all() {
                let mut homes = Homes::new(&scratch.dir, &scratch.root);
                homes.look(before, None);
                let seen = homes.look(home, None);
                let fresh = Homes::new(&scratch.dir, &scratch.root).look(home, None);
                assert_eq!(seen, fresh, "{home:?} after {before:?}");
                match seen {
                    Reading::Known(Home::Odd(_)) => assert!(bad.contains(home), "{home:?}"),
                    Reading::Known(Home::Absent) => assert_eq!(*home, "/home/nobody"),
                    seen => assert!(good.contains(home), "{home:?}: {seen:?}"),
                }
            }
        }
    }

    #[test]
    fn a_home_has_its_skeleton_with_modes_and_links() {
        let it = scratch();
        assert_eq!(it.look("/home/emo"), Reading::Known(Home::Absent));
        assert_eq!(it.create(&["/home/emo"]), [Ok(())]);
        assert!(matches!(
            it.look("/home/emo"),
            Reading::Known(Home::Directory(_))
        ));
        assert_eq!(
            std::fs::read_link(it.path("home/emo/link")).unwrap(),
            Path::new("/etc/motd")
        );
        let mode = |path| {
            it.path(path)
                .symlink_metadata()
                .unwrap()
                .permissions()
                .mode()
                & 0o7777
        };
        assert_eq!(
            (mode("home/emo"), mode("home/emo/.config/run")),
            (0o700, 0o755)
        );
        if it.root.ownership() == Ownership::Performed {
            for path in [
                "home/emo",
                "home/emo/.profile",
                "home/emo/link",
                "home/emo/.config/run",
            ] {
                assert_eq!(
                    it.path(path).symlink_metadata().unwrap().uid(),
                    it.uid,
                    "{path}"
                );
            }
        }
        assert_eq!(
            it.create(&["/home/emo"]),
            [Ok(())],
            "a second time changes nothing"
        );
    }

    #[test]
    fn many_homes_and_what_an_interrupted_cycle_left() {
        let it = scratch();
        std::fs::create_dir_all(it.path("home/.muster-new.u3/half")).unwrap();
        std::fs::write(it.path("home/.muster-new.u3/half/file"), "").unwrap();
        let homes: Vec<String> = (0..40).map(|n| format!("/home/u{n}")).collect();
        let homes: Vec<&str> = homes.iter().map(String::as_str).collect();
        assert!(it.create(&homes).iter().all(Result::is_ok));
        assert!(!it.path("home/u3/half").exists());
        assert_eq!(std::fs::read_dir(it.path("home")).unwrap().count(), 40);
    }

    #[test]
    fn a_link_a_file_and_anothers_directory_are_odd_and_stay() {
        let it = scratch();
        std::fs::create_dir(it.path("elsewhere")).unwrap();
        symlink("../elsewhere", it.path("home/link")).unwrap();
        std::fs::write(it.path("home/file"), "").unwrap();
        for home in ["/home/link", "/home/file", "home/x", "/home/../etc", "/"] {
            assert!(
                matches!(it.look(home), Reading::Known(Home::Odd(_))),
                "{home}"
            );
            assert!(it.create(&[home])[0].is_err(), "{home}");
        }
        if it.root.ownership() == Ownership::Performed {
            std::fs::create_dir(it.path("home/other")).unwrap();
            assert_eq!(
                it.look("/home/other"),
                Reading::Known(Home::Odd("it is owned by uid 0".into()))
            );
            assert!(it.create(&["/home/other"])[0].is_err());
        }
        assert!(
            std::fs::read_dir(it.path("elsewhere"))
                .unwrap()
                .next()
                .is_none()
        );
    }

    #[test]
    fn a_home_is_another_when_it_was_made_anew() {
        let it = scratch();
        let _ = it.create(&["/home/emo", "/home/ema"]);
        assert_ne!(it.look("/home/emo"), it.look("/home/ema"));
        assert_eq!(it.look("/home/emo"), it.look("/home/emo"));
    }

    #[test]
    fn without_the_directory_for_homes_the_complaint_names_it() {
        let it = scratch();
        let why = it.create(&["/srv/people/emo"])[0].clone().unwrap_err();
        assert!(why.contains("srv/people"), "{why}");
    }

    #[test]
    fn among_many_absent_homes_those_that_are_there_are_seen() {
        let it = scratch();
        for name in ["zoe", "zed"] {
            std::fs::create_dir(it.path(&format!("home/{name}"))).unwrap();
        }
        std::fs::write(it.path("home/zac"), "").unwrap();
        let mut homes = Homes::new(&it.dir, &it.root);
        let mut look = |name: &str| homes.look(&format!("/home/{name}"), None);
        for index in 0..2 * MANY {
            assert_eq!(look(&format!("user{index}")), Reading::Known(Home::Absent));
        }
        let (zoe, zed) = (look("zoe"), look("zed"));
        for found in [&zoe, &zed] {
            assert!(
                matches!(found, Reading::Known(Home::Directory(_))),
                "{found:?}"
            );
        }
        assert_ne!(zoe, zed);
        assert!(matches!(look("zac"), Reading::Known(Home::Odd(_))));
        // Another look lists anew.
        std::fs::create_dir(it.path("home/user3")).unwrap();
        let mut homes = Homes::new(&it.dir, &it.root);
        let mut there = 0;
        for index in 0..2 * MANY {
            there += u32::from(
                homes.look(&format!("/home/user{index}"), None) != Reading::Known(Home::Absent),
            );
        }
        assert_eq!(there, 1);
    }
}
