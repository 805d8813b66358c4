//! Whether anything has moved in a local origin since it was last read, told from a few `stat`s.

use std::ffi::OsStr;
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use crate::layout::{self, Layout, RefStorage, tag_dirs};
use crate::refs;

/// A file that changed less than this long ago may change again without a new time stamp: the clocks of some file systems
/// tick only every ten milliseconds, and where a time is a whole number of seconds they may know nothing finer.
const RACY: Duration = Duration::from_millis(100);
const RACY_IN_SECONDS: Duration = Duration::from_secs(2);

/// The state of the files in which a local origin keeps its branches: a few `stat`s, whatever the history's length.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Signature {
    stamps: Vec<(PathBuf, Stamp)>,
    settled: bool,
    /// The path that was asked for, and the repository that it led to: by a link, or by what is written in a `.git` file.
    way: Option<(PathBuf, PathBuf)>,
}

/// Device, inode, size, time of modification and of change; zeros for what is missing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
struct Stamp([i64; 7]);

impl Stamp {
    fn of(path: &Path) -> Stamp {
        let Ok(meta) = fs::symlink_metadata(path) else {
            return Stamp::default();
        };
        let (device, inode, size) = (meta.dev() as i64, meta.ino() as i64, meta.size() as i64);
        Stamp([
            device,
            inode,
            size,
            meta.mtime(),
            meta.mtime_nsec(),
            meta.ctime(),
            meta.ctime_nsec(),
        ])
    }

    fn is_older_than(&self, now: Duration) -> bool {
        let Stamp([.., seconds, nanoseconds]) = *self;
        let changed = Duration::new(seconds.max(0) as u64, nanoseconds.max(0) as u32);
        let racy = match changed.subsec_nanos() {
            0 => RACY_IN_SECONDS,
            _ => RACY,
        };
        changed.abs_diff(now) > racy
    }
}

impl Signature {
    pub(crate) fn take(layout: &Layout, protected: &str) -> Signature {
        let now = since_1970();
        let paths = match layout.refs {
            RefStorage::Reftable => reftable(layout),
            RefStorage::Files => {
                let mut paths = vec![layout.common.join("packed-refs")];
                paths.extend(refs::dirs_below(&layout.common.join("refs/heads")));
                paths.extend(tag_dirs(&layout.common));
                // A file that is rewritten in place instead of renamed leaves its directory as it is.
                paths.push(layout.common.join(protected));
                paths
            }
        };
        Signature::of_paths(paths, now)
    }

    /// Of what is below `dirs`, such as `refs/muster/host/`.
    pub(crate) fn of_dirs(layout: &Layout, dirs: &[&str]) -> Signature {
        let now = since_1970();
        let paths = match layout.refs {
            RefStorage::Reftable => reftable(layout),
            RefStorage::Files => {
                // That the repository is there at all shows in its HEAD.
                let mut paths = vec![
                    layout.common.join("HEAD"),
                    layout.common.join("packed-refs"),
                ];
                for dir in dirs {
                    paths.extend(refs::dirs_below(&layout.common.join(dir)));
                }
                paths
            }
        };
        Signature::of_paths(paths, now)
    }

    fn of_paths(paths: Vec<PathBuf>, now: Duration) -> Signature {
        let stamps: Vec<_> = paths
            .into_iter()
            .map(|path| {
                let stamp = Stamp::of(&path);
                (path, stamp)
            })
            .collect();
        let settled = stamps.iter().all(|(_, stamp)| stamp.is_older_than(now));
        let mut signature = Signature {
            stamps,
            settled,
            way: None,
        };
        signature.forget_what_a_directory_tells();
        signature
    }

    /// Drops the stamps of missing files whose directory has a stamp too: making the file changes the directory. Most
    /// repositories have no tags of ours, and packed references have no file.
    fn forget_what_a_directory_tells(&mut self) {
        let mut directories: Vec<PathBuf> = Vec::new();
        self.stamps.retain(|(path, stamp)| {
            if *stamp == Stamp::default() {
                return !directories.iter().any(|it| path.parent() == Some(it));
            }
            // Symbolic links are left out: the directory behind one changes without changing the link.
            if fs::symlink_metadata(path).is_ok_and(|it| it.is_dir()) {
                directories.push(path.clone());
            }
            true
        });
    }

    /// The same, of the repository `common` to which `path` led before it was taken.
    #[must_use]
    pub(crate) fn reached_by(self, path: &Path, common: &Path) -> Signature {
        let way = Some((path.to_owned(), common.to_owned()));
        Signature { way, ..self }
    }

    /// Whether nothing has moved since. `false` may also mean that something moved so shortly before that a second
    /// change could have gone unseen: reading again is then right, and cheap.
    pub fn still_holds(&self) -> bool {
        let leads_there = |(path, common): &(PathBuf, PathBuf)| {
            layout::dirs(path).is_ok_and(|(_, now)| now == *common)
        };
        self.settled
            && self.way.as_ref().is_none_or(leads_there)
            && self
                .stamps
                .iter()
                .all(|(path, stamp)| Stamp::of(path) == *stamp)
    }

    /// As bytes, for another process on this machine.
    pub(crate) fn to_bytes(&self) -> Vec<u8> {
        let mut bytes = vec![u8::from(self.settled)];
        for (path, Stamp(numbers)) in &self.stamps {
            let path = path.as_os_str().as_encoded_bytes();
            bytes.extend_from_slice(&(path.len() as u32).to_le_bytes());
            bytes.extend_from_slice(path);
            bytes.extend(numbers.iter().flat_map(|it| it.to_le_bytes()));
        }
        bytes
    }

    /// The signature that these bytes are; `None` when they are none. Its files are only ever looked at from outside, and
    /// never opened.
    pub(crate) fn of_bytes(bytes: &[u8]) -> Option<Signature> {
        let (settled, mut rest) = bytes.split_first()?;
        let mut stamps = Vec::new();
        while !rest.is_empty() {
            let (len, after) = rest.split_first_chunk::<4>()?;
            let len = usize::try_from(u32::from_le_bytes(*len)).ok()?;
            let (path, after) = after.split_at_checked(len)?;
            let path = PathBuf::from(OsStr::from_bytes(path));
            let (numbers, after) = after.split_first_chunk::<56>()?;
            let mut stamp = [0; 7];
            for (number, bytes) in stamp.iter_mut().zip(numbers.as_chunks::<8>().0) {
                *number = i64::from_le_bytes(*bytes);
            }
            if !path.is_absolute() {
                return None;
            }
            stamps.push((path, Stamp(stamp)));
            rest = after;
        }
        Some(Signature {
            stamps,
            settled: *settled == 1,
            way: None,
        })
    }

    /// How many files it is made of.
    pub fn parts(&self) -> usize {
        self.stamps.len()
    }

    /// Whether one of these files, counted from 0, has not moved since; yes for one that is none of them.
    pub fn part_still_holds(&self, part: usize) -> bool {
        let part = self.stamps.get(part);
        part.is_none_or(|(path, stamp)| Stamp::of(path) == *stamp)
    }
}

/// The paths that change whenever a reference of a repository in the reftable format does.
fn reftable(layout: &Layout) -> Vec<PathBuf> {
    let dir = layout.common.join("reftable");
    vec![dir.join("tables.list"), dir]
}

fn since_1970() -> Duration {
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap_or_default()
}
