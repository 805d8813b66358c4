//! What a step would destroy, for the people who decide about it: the size of a home and the last login. The program
//! decides nothing by these figures, so one that cannot be read is simply missing.

use std::fs::File;
use std::io::{Read as _, Seek as _, SeekFrom};
use std::path::Path;

use crate::dir::{Dir, FileKind};
use crate::root::RootError;

/// What lies below a directory, as far as it was walked.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Size {
    /// Bytes in regular files, as their owners count them.
    pub bytes: u64,
    /// Files, links and whatever else is no directory.
    pub files: u64,
    /// Whether that is all of it; otherwise it is at least that much.
    pub complete: bool,
}

/// Walks `home` inside the root directory `root`, follows nothing, stays on its file system, and stops after `limit` entries.
///
/// # Errors
/// When it is no directory that can be read.
pub fn size_of(root: &Path, home: &str, limit: u64) -> Result<Size, RootError> {
    if home.trim_matches('/').is_empty() {
        // An account without a home would be told to lose all that is on the host.
        return Err(RootError {
            verb: "measure",
            path: root.join(home),
            source: std::io::Error::other("it is nobody's home"),
        });
    }
    let mut size = Size {
        complete: true,
        ..Size::default()
    };
    let start = Dir::open(root)?.below_on_this_mount(home.trim_start_matches('/'))?;
    let device = start.itself()?.device;
    let mut todo = vec![start];
    let mut seen = 0;
    while let Some(dir) = todo.pop() {
        let Ok(names) = dir.names() else {
            size.complete = false;
            continue;
        };
        for name in names {
            seen += 1;
            if seen > limit {
                size.complete = false;
                return Ok(size);
            }
            match dir.see(&name) {
                Ok(Some(it)) if it.kind == FileKind::Directory && it.device == device => {
                    match dir.dir(&name) {
                        Ok(below) => todo.push(below),
                        Err(_) => size.complete = false,
                    }
                }
                Ok(Some(it)) => {
                    size.files += 1;
                    if it.kind == FileKind::File {
                        size.bytes = size.bytes.saturating_add(it.size);
                    }
                }
                // Gone meanwhile.
                Ok(None) => {}
                Err(_) => size.complete = false,
            }
        }
    }
    Ok(size)
}

/// When an account last logged in, in seconds since 1970, as `/var/log/lastlog` or `/var/log/wtmp` have it; `None` when
/// neither can be read or neither knows.
pub fn last_login(root: &Path, user: &str, uid: u32) -> Option<i64> {
    let log = |name: &str| root.join("var/log").join(name);
    from_lastlog(&log("lastlog"), uid).or_else(|| from_wtmp(&log("wtmp"), user))
}

/// A record for each uid: four bytes of time, then the line and the host.
const LASTLOG_RECORD: u64 = 292;

fn from_lastlog(path: &Path, uid: u32) -> Option<i64> {
    let mut file = File::open(path).ok()?;
    file.seek(SeekFrom::Start(u64::from(uid) * LASTLOG_RECORD))
        .ok()?;
    let mut time = [0; 4];
    file.read_exact(&mut time).ok()?;
    let time = i64::from(u32::from_le_bytes(time));
    (time > 0).then_some(time)
}

const WTMP_RECORD: usize = 384;
const WTMP_AT_MOST: u64 = 8 << 20;
/// A login, among the kinds of record.
const USER_PROCESS: u16 = 7;

fn from_wtmp(path: &Path, user: &str) -> Option<i64> {
    let mut file = File::open(path).ok()?;
    let length = file.metadata().ok()?.len();
    let from = length.saturating_sub(WTMP_AT_MOST) / WTMP_RECORD as u64 * WTMP_RECORD as u64;
    file.seek(SeekFrom::Start(from)).ok()?;
    let mut records = Vec::new();
    file.take(WTMP_AT_MOST + WTMP_RECORD as u64)
        .read_to_end(&mut records)
        .ok()?;
    records.chunks_exact(WTMP_RECORD).rev().find_map(|record| {
        let kind = u16::from_le_bytes([record[0], record[1]]);
        let name = record[44..76].split(|byte| *byte == 0).next()?;
        let seconds = record[340..344].try_into().ok()?;
        (kind == USER_PROCESS && name == user.as_bytes())
            .then(|| i64::from(u32::from_le_bytes(seconds)))
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;

    #[test]
    fn a_home_is_measured_without_following_anything() {
        let root = tempfile::tempdir().unwrap();
        let home = root.path().join("home/ann");
        fs::create_dir_all(home.join("work/deep")).unwrap();
        fs::write(home.join("a"), [0; 100]).unwrap();
        fs::write(home.join("work/deep/b"), [0; 23]).unwrap();
        std::os::unix::fs::symlink("/", home.join("work/everything")).unwrap();
        let all = size_of(root.path(), "/home/ann", 1_000).unwrap();
        let expected = Size {
            bytes: 123,
            files: 3,
            complete: true,
        };
        assert_eq!(all, expected);
        let some = size_of(root.path(), "/home/ann", 2).unwrap();
        assert!(!some.complete && some.files < 3);
        for nobodys in ["/home/bob", "", "/", "//"] {
            assert!(size_of(root.path(), nobodys, 9).is_err(), "{nobodys:?}");
        }
    }

    #[test]
    fn the_last_login_is_found_in_either_log() {
        let root = tempfile::tempdir().unwrap();
        assert_eq!(last_login(root.path(), "ann", 1000), None);
        fs::create_dir_all(root.path().join("var/log")).unwrap();
        let mut wtmp = Vec::new();
        for (kind, user, at) in [
            (7_u16, "ann", 100_u32),
            (7, "ann", 200),
            (8, "ann", 300),
            (7, "bob", 400),
        ] {
            let mut record = [0; WTMP_RECORD];
            record[..2].copy_from_slice(&kind.to_le_bytes());
            record[44..44 + user.len()].copy_from_slice(user.as_bytes());
            record[340..344].copy_from_slice(&at.to_le_bytes());
            wtmp.extend(record);
        }
        fs::write(root.path().join("var/log/wtmp"), wtmp).unwrap();
        assert_eq!(last_login(root.path(), "ann", 1000), Some(200));
        assert_eq!(last_login(root.path(), "an", 1000), None);
        let mut lastlog = vec![0; 1001 * 292];
        lastlog[292_000..292_004].copy_from_slice(&777_u32.to_le_bytes());
        fs::write(root.path().join("var/log/lastlog"), lastlog).unwrap();
        assert_eq!(last_login(root.path(), "ann", 1000), Some(777));
        assert_eq!(last_login(root.path(), "bob", 7), Some(400));
    }
}
