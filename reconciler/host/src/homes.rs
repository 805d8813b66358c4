//! Home directories: which one is there, and making one from the skeleton.

mod filesystems;
mod make;
mod skeleton;

use std::collections::{BTreeMap, HashMap, HashSet};
use std::ffi::{OsStr, OsString};

use muster_core::accounts::observed::Home;
use muster_core::reading::Reading;
use nix::sys::statfs::FsType;

pub(crate) use filesystems::Filesystems;
pub(crate) use make::{NewHome, create};
pub(crate) use skeleton::Skeleton;

use crate::dir::{Dir, FileKind, FileStat, is_name, split, with_causes};
use crate::root::{Ownership, RootDir, RootError};

/// From how many homes on one flush of the file system is cheaper than one for each file.
const MANY: usize = 16;
/// The file system of an automounter: `AUTOFS_SUPER_MAGIC` of linux/magic.h.
const AUTOFS: FsType = FsType(0x0187);
/// Looks at many homes, and opens what they share once.
#[derive(Debug)]
pub(crate) struct Homes<'a> {
    root: &'a Dir,
    /// By their path without slashes around it; there are few.
    parents: BTreeMap<String, Result<Option<Parent>, String>>,
    /// The last home that was looked at, up to its name: most homes stand side by side.
    last: Option<String>,
    filesystems: Filesystems,
    recorded: Option<HashMap<Vec<u8>, (u32, u32)>>,
    strays: Vec<Stray>,
}

/// A home that is not owned by whose it is.
#[derive(Debug)]
pub(crate) struct Stray {
    pub(crate) path: String,
    pub(crate) uid: u32,
    pub(crate) gid: u32,
}

/// A directory that homes stand in.
#[derive(Debug)]
struct Parent {
    dir: Dir,
    absent: Absent,
}

/// How a directory is asked whether a name is missing.
#[derive(Debug)]
enum Absent {
    /// One `statx` a name; the number of names that were missing so far.
    Asked(usize),
    /// By a list of all names. Where many homes are still to be made, one listing is cheaper than a system call a name.
    Unlisted(HashSet<OsString>),
}

impl Parent {
    fn of(dir: Dir) -> Self {
        let absent = Absent::Asked(0);
        Self { dir, absent }
    }

    /// What stands at `name`, if anything.
    fn see(&mut self, name: &str) -> Result<Option<FileStat>, RootError> {
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

/// Whether a listing of the directory is complete. An automounter lists a name only after it was asked for.
pub(crate) fn lists_everything(dir: &Dir) -> bool {
    nix::sys::statfs::fstatfs(dir).is_ok_and(|it| it.filesystem_type() != AUTOFS)
}

impl<'a> Homes<'a> {
    pub(crate) fn new(root: &'a Dir, owners: &RootDir) -> Self {
        let recorded = (owners.ownership() == Ownership::Recorded).then(|| recorded(root));
        Self {
            root,
            parents: BTreeMap::new(),
            last: None,
            filesystems: Filesystems::default(),
            recorded,
            strays: Vec::new(),
        }
    }

    /// The homes that were looked at and are somebody else's.
    pub(crate) fn into_strays(self) -> Vec<Stray> {
        self.strays
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
                    Err(error) => Err(with_causes(&error)),
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
            Err(error) => return Reading::Unknown(with_causes(&error)),
        };
        if seen.kind != FileKind::Directory {
            return Reading::Known(Home::Odd(format!(
                "it is {}, not a directory",
                seen.kind.with_article()
            )));
        }
        let (owner, gid) = match &self.recorded {
            Some(owners) => owners
                .get(home.trim_start_matches('/').as_bytes())
                .copied()
                .unwrap_or((uid.unwrap_or(seen.uid), seen.gid)),
            None => (seen.uid, seen.gid),
        };
        if uid.is_some_and(|uid| uid != owner) {
            self.strays.push(Stray {
                path: home.to_owned(),
                uid: owner,
                gid,
            });
            return Reading::Known(Home::Odd(format!("it is owned by uid {owner}")));
        }
        match self.filesystems.identify(&parent.dir, name, &seen) {
            Some(id) => Reading::Known(Home::Directory(id)),
            None => Reading::Unknown(format!("the file system of {home} cannot be told")),
        }
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

/// The owners and groups that are written down instead of being set, by path without a slash before it.
pub(crate) fn recorded(root: &Dir) -> HashMap<Vec<u8>, (u32, u32)> {
    let Ok(Some((bytes, _))) = root.read(".muster-ownership", u64::MAX - 1) else {
        return HashMap::new();
    };
    let lines = bytes.split(|byte| *byte == b'\n').filter_map(|line| {
        let at = line.iter().position(|byte| *byte == b' ')?;
        let (uid, gid) = std::str::from_utf8(&line[..at]).ok()?.split_once(':')?;
        let ids = (uid.parse().ok()?, gid.parse().ok()?);
        Some((line[at + 1..].to_vec(), ids))
    });
    lines.collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _, symlink};
    use std::path::Path;

    struct Scratch {
        scratch: tempfile::TempDir,
        dir: Dir,
        root: RootDir,
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
        let root = RootDir::open(scratch.path(), ownership).unwrap();
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
