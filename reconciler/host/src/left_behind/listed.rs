//! What was listed of directories that homes stand in, while nothing in them has changed: which entries are nobody's home. Listing
//! 10,000 homes is a fifteenth of an idle cycle (S1).

use std::collections::BTreeMap;
use std::ffi::{OsStr, OsString};
use std::fmt::Write as _;
use std::fs::{self, File};
use std::hash::{DefaultHasher, Hasher as _};
use std::io::{self, Write as _};
use std::os::unix::ffi::{OsStrExt as _, OsStringExt as _};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use muster_core::bytes::hex;

use crate::dir::FileStat;

/// A directory that changed this shortly before may change again within the same tick of the kernel's clock; and where the time is a
/// whole number of seconds, the file system may know nothing finer.
const SETTLED: Duration = Duration::from_millis(100);
const SETTLED_IN_SECONDS: Duration = Duration::from_secs(2);
/// More entries than this in one directory are listed each time: each is looked at anyway.
const MOST: usize = 1_000;
/// The largest note that is read, in bytes: names of that many entries in a few directories.
const LARGEST: u64 = 4 << 20;
/// The first line of the note.
const FORMAT: &str = "muster-listed 1";

/// By what it can be seen that a directory has the same entries: device, inode, size, and when it was modified and changed.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Stamp([i64; 8]);

impl Stamp {
    fn of(seen: &FileStat) -> Self {
        let (major, minor) = seen.device;
        Self([
            major.into(),
            minor.into(),
            seen.inode.cast_signed(),
            seen.size.cast_signed(),
            seen.modified.0,
            seen.modified.1.into(),
            seen.changed.0,
            seen.changed.1.into(),
        ])
    }

    /// Whether the next change will show: not where the clock says that the last one is in the future.
    fn is_settled(&self, now: Duration) -> bool {
        let Self([.., seconds, nanoseconds]) = self;
        let seconds = u64::try_from(*seconds).unwrap_or_default();
        let changed = Duration::new(seconds, u32::try_from(*nanoseconds).unwrap_or_default());
        let settled = match changed.subsec_nanos() {
            0 => SETTLED_IN_SECONDS,
            _ => SETTLED,
        };
        now.checked_sub(changed).is_some_and(|ago| ago > settled)
    }
}

/// One directory, as it was listed.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Listing {
    stamp: Stamp,
    /// Of the names that were homes of accounts then: whose account is gone leaves an entry that was not looked at.
    homes: u64,
    others: Vec<OsString>,
}

/// What was listed, by the path of each directory. It is kept in a file for the process after this one; that can be lost.
#[derive(Debug, Default)]
pub(crate) struct Listed {
    file: Option<PathBuf>,
    listings: BTreeMap<String, Listing>,
    recalled: bool,
    writes: bool,
    is_new: bool,
}

impl Listed {
    /// What a process before this one wrote into `file`, if anything.
    pub(crate) fn known_from(file: &Path) -> Self {
        Self {
            file: Some(file.to_owned()),
            ..Self::default()
        }
    }

    /// Writes there what is new from here on.
    pub(crate) fn write(&mut self) {
        if let Some(dir) = self.file.as_deref().and_then(Path::parent) {
            // Where it cannot be made, nothing is written.
            let _ = fs::create_dir(dir);
        }
        self.writes = true;
    }

    /// The entries of `place` that are none of `homes`, of which the caller gives all names in one order; those are read by `list`
    /// where the directory is not as it was.
    ///
    /// # Errors
    /// Those of `list`.
    pub(super) fn others<E>(
        &mut self,
        place: &str,
        itself: &FileStat,
        homes: &[&OsStr],
        list: impl FnOnce() -> Result<Vec<OsString>, E>,
    ) -> Result<Vec<OsString>, E> {
        self.recall();
        let now = SystemTime::now().duration_since(UNIX_EPOCH);
        let stamp = Stamp::of(itself);
        let homes = hash_of(homes);
        if let Some(known) = self.listings.get(place)
            && (&known.stamp, known.homes) == (&stamp, homes)
        {
            return Ok(known.others.clone());
        }
        self.is_new |= self.listings.remove(place).is_some();
        let others = list()?;
        if others.len() <= MOST && stamp.is_settled(now.unwrap_or_default()) {
            let others = others.clone();
            let listing = Listing {
                stamp,
                homes,
                others,
            };
            self.listings.insert(place.to_owned(), listing);
            self.is_new = true;
        }
        Ok(others)
    }

    /// Reads what the process before wrote down.
    fn recall(&mut self) {
        if std::mem::replace(&mut self.recalled, true) {
            return;
        }
        let Some(file) = &self.file else { return };
        let is_note = |it: fs::Metadata| it.is_file() && it.len() <= LARGEST;
        if fs::symlink_metadata(file).is_ok_and(is_note)
            && let Ok(text) = fs::read_to_string(file)
        {
            self.listings = parse(&text).unwrap_or_default();
        }
    }

    /// Writes down what is new, for the next process. That it cannot be written costs time and nothing else.
    pub(super) fn keep(&mut self) {
        if !std::mem::take(&mut self.is_new) || !self.writes {
            return;
        }
        if let Some(file) = &self.file {
            let _ = replace(file, &render(&self.listings));
        }
    }
}

/// In one piece: two calls of the hasher for each of 10,000 names cost more than to copy them (`tests/bench/bench converge`).
fn hash_of(names: &[&OsStr]) -> u64 {
    let mut text = Vec::with_capacity(names.iter().map(|it| it.len() + 1).sum());
    for name in names {
        text.extend_from_slice(name.as_bytes());
        // What no name has.
        text.push(b'/');
    }
    let mut hasher = DefaultHasher::new();
    hasher.write(&text);
    hasher.finish()
}

/// Always the old or the new one for whoever reads it. After a crash it may be torn, which shows in it, so that it is not worth a
/// sync.
fn replace(file: &Path, text: &str) -> io::Result<()> {
    let new = file.with_extension("new");
    // Whatever has that name is none of ours any more, or a pipe that nobody reads.
    let _ = fs::remove_file(&new);
    File::create_new(&new)?.write_all(text.as_bytes())?;
    fs::rename(&new, file)
}

/// A line for each directory, one for each entry of it, and a last one.
fn render(listings: &BTreeMap<String, Listing>) -> String {
    let mut text = format!("{FORMAT}\n");
    for (place, it) in listings {
        text.push_str(&hex(place.as_bytes()));
        for number in &it.stamp.0 {
            let _ = write!(text, " {number}");
        }
        let _ = writeln!(text, " {} {}", it.homes, it.others.len());
        for other in &it.others {
            let _ = writeln!(text, "{}", hex(other.as_bytes()));
        }
    }
    text.push_str("end\n");
    text
}

/// What such a text says; `None` when it is not whole.
fn parse(text: &str) -> Option<BTreeMap<String, Listing>> {
    let mut lines = text.strip_suffix("\nend\n")?.lines();
    if lines.next() != Some(FORMAT) {
        return None;
    }
    let mut listings = BTreeMap::new();
    while let Some(line) = lines.next() {
        let words: Vec<&str> = line.split(' ').collect();
        let [place, numbers @ .., homes, count] = words.as_slice() else {
            return None;
        };
        let numbers: Vec<i64> = numbers
            .iter()
            .map(|it| it.parse().ok())
            .collect::<Option<_>>()?;
        let count: usize = count.parse().ok().filter(|it| *it <= MOST)?;
        let others: Vec<OsString> = lines
            .by_ref()
            .take(count)
            .map(|it| bytes(it).map(OsString::from_vec))
            .collect::<Option<_>>()?;
        if others.len() != count {
            return None;
        }
        let listing = Listing {
            stamp: Stamp(numbers.try_into().ok()?),
            homes: homes.parse().ok()?,
            others,
        };
        listings.insert(String::from_utf8(bytes(place)?).ok()?, listing);
    }
    Some(listings)
}

fn bytes(hex: &str) -> Option<Vec<u8>> {
    let (pairs, []) = hex.as_bytes().as_chunks::<2>() else {
        return None;
    };
    let byte = |pair: &[u8; 2]| u8::from_str_radix(std::str::from_utf8(pair).ok()?, 16).ok();
    pairs.iter().map(byte).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dir::FileKind;

    fn directory(changed: i64) -> FileStat {
        changed_at(changed, 7)
    }

    fn changed_at(seconds: i64, nanoseconds: u32) -> FileStat {
        FileStat {
            kind: FileKind::Directory,
            mode: 0o755,
            uid: 0,
            gid: 0,
            links: 2,
            inode: 12,
            size: 4_096,
            accessed: (0, 0),
            modified: (seconds, nanoseconds),
            changed: (seconds, nanoseconds),
            born: 0,
            device: (254, 0),
        }
    }

    /// What is said of entries that `there` has beside `homes`, and whether they were listed for it.
    fn others(
        listed: &mut Listed,
        itself: &FileStat,
        homes: &[&str],
        there: &[&str],
    ) -> (Vec<OsString>, bool) {
        let mut was_listed = false;
        let list = || {
            was_listed = true;
            let others = there.iter().filter(|it| !homes.contains(it));
            Ok::<_, ()>(others.map(OsString::from).collect())
        };
        let names: Vec<&OsStr> = homes.iter().map(OsStr::new).collect();
        let found = listed.others("home", itself, &names, list).unwrap();
        (found, was_listed)
    }

    fn writing(file: &Path) -> Listed {
        let mut listed = Listed::known_from(file);
        listed.write();
        listed
    }

    #[test]
    fn whoever_only_looks_writes_nothing() {
        let scratch = tempfile::tempdir().unwrap();
        let file = scratch.path().join("listed");
        let mut listed = Listed::known_from(&file);
        assert!(others(&mut listed, &directory(1_000), &[], &["zed"]).1);
        listed.keep();
        assert!(!file.exists());
    }

    #[test]
    fn what_did_not_change_is_listed_once() {
        let scratch = tempfile::tempdir().unwrap();
        let file = scratch.path().join("listed");
        let mut listed = writing(&file);
        let (amy, all) = (["amy"], ["amy", "zed", "\u{fffd} \n"]);
        let left: Vec<OsString> = ["zed", "\u{fffd} \n"].map(OsString::from).into();
        let old = directory(1_000);
        assert_eq!(others(&mut listed, &old, &amy, &all), (left.clone(), true));
        assert_eq!(others(&mut listed, &old, &amy, &all), (left.clone(), false));
        listed.keep();
        let mut next = Listed::known_from(&file);
        assert_eq!(others(&mut next, &old, &amy, &all), (left.clone(), false));
        // Somebody's account is gone, and the home stays.
        let gone = vec!["amy", "zed", "\u{fffd} \n"];
        let gone: Vec<OsString> = gone.into_iter().map(OsString::from).collect();
        assert_eq!(others(&mut next, &old, &[], &all), (gone.clone(), true));
        // An entry appears; another directory is mounted there.
        let changed = directory(1_001);
        assert!(others(&mut next, &changed, &amy, &all).1);
        let mounted = FileStat {
            device: (254, 1),
            ..changed
        };
        assert!(others(&mut next, &mounted, &amy, &all).1);
        assert!(!others(&mut next, &mounted, &amy, &all).1);
    }

    #[test]
    fn names_are_told_apart_by_where_they_end() {
        let mut listed = Listed::default();
        let old = directory(1_000);
        for homes in [
            &["amy", "bea"][..],
            &["amyb", "ea"],
            &["amybea"],
            &["bea", "amy"],
        ] {
            assert!(others(&mut listed, &old, homes, homes).1, "{homes:?}");
            assert!(!others(&mut listed, &old, homes, homes).1, "{homes:?}");
        }
    }

    #[test]
    fn what_may_change_unseen_is_listed_again() {
        let mut listed = Listed::default();
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
        let seconds = i64::try_from(now.as_secs()).unwrap();
        let just_now = changed_at(seconds, now.subsec_nanos());
        // By a clock that was ahead, the next change might have an earlier time.
        for changing in [just_now, directory(seconds + 3_600)] {
            assert!(others(&mut listed, &changing, &[], &["zed"]).1);
            assert!(others(&mut listed, &changing, &[], &["zed"]).1);
        }
    }

    #[test]
    fn a_note_that_is_torn_is_none() {
        let scratch = tempfile::tempdir().unwrap();
        let file = scratch.path().join("listed");
        let mut listed = writing(&file);
        let old = directory(1_000);
        others(&mut listed, &old, &["amy"], &["amy", "zed", "xed"]);
        listed.keep();
        let whole = fs::read_to_string(&file).unwrap();
        assert_eq!(parse(&whole), Some(listed.listings));
        for len in 0..whole.len() {
            assert_eq!(parse(&whole[..len]), None, "{len} bytes");
        }
        assert_eq!(parse(&"\0".repeat(whole.len())), None);
        for other in ["muster-listed 2\nend\n", "muster-listed 1\n zed\nend\n"] {
            assert_eq!(parse(other), None);
        }
        fs::remove_file(&file).unwrap();
        fs::create_dir(&file).unwrap();
        assert!(others(&mut Listed::known_from(&file), &old, &[], &["zed"]).1);
    }
}
