//! What a cut takes away, kept for root alone until a way back restores exactly that.
//!
//! One directory for each cut of each uid, `UID.CUT`, and in it one file for each thing:
//!
//! | name | meaning |
//! |---|---|
//! | `KEY` | the save that a way back restores; written once, never overwritten |
//! | `KEY.1`, `KEY.2`, … | what reappeared while the person was cut; kept, never restored by itself |
//!
//! A save is durable before what it saves is removed, and removed only after what it restores is durable: at every
//! instant one of the two is whole. A cut has a number, so that what an interrupted way back left is never taken for
//! what a later cut saved.

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::fs::File;
use std::io::{self, BufRead as _, BufReader, Read, Seek as _, SeekFrom, Write};
use std::os::fd::AsFd as _;
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};

use nix::fcntl::AtFlags;
use nix::sys::stat::{UtimensatFlags, futimens, utimensat};
use nix::sys::time::TimeSpec;
use nix::unistd::{Gid, Uid};
use rustix::fs::XattrFlags;
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

use crate::dir::{Dir, Kind, Seen, seen_of};
use crate::root::{Ownership, RootError};

const VERSION: u32 = 1;
/// The digest at the end of a save: 64 hex digits and a line end.
const TAIL: u64 = 65;
const CHUNK: usize = 64 * 1024;
/// Different versions of one thing that are kept beside the first.
const BESIDE: usize = 99;
/// The longest header that is read: what extended attributes can hold, in hex, and room for the rest.
const HEADER: u64 = 512 * 1024;

/// Why something could not be set aside or put back. Nothing is lost then: it is where it was, or saved, or both.
#[derive(Debug, thiserror::Error)]
pub enum SaveError {
    /// The file system refused.
    #[error("cannot set aside or put back")]
    Root(#[from] RootError),
    /// Something that no program of this kind would have made.
    #[error("{} is {what}; it is left alone, look at it and remove it by hand", path.display())]
    Odd {
        /// Where.
        path: PathBuf,
        /// What it is.
        what: String,
    },
    /// It was written to at the same moment.
    #[error("{} was changed while it was set aside; the next cycle tries again", path.display())]
    Changing {
        /// Where.
        path: PathBuf,
    },
    /// Something stands where the saved one belongs.
    #[error("{} is there again and differs from what was saved, which stays in {}; compare the two and remove one", path.display(), saved.display())]
    Occupied {
        /// Where.
        path: PathBuf,
        /// The save.
        saved: PathBuf,
    },
    /// The save is not what was written.
    #[error("the save {} is damaged; restore it from a backup of this host, or remove it", path.display())]
    Damaged {
        /// The save.
        path: PathBuf,
    },
    /// Too many versions.
    #[error("{} came back in more than {BESIDE} different versions since the cut; something on this host writes it", path.display())]
    TooMany {
        /// Where.
        path: PathBuf,
    },
}

/// What came of putting back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum PutBack {
    /// It is there again, as it was.
    Done,
    /// Nothing was saved.
    NothingSaved,
}

/// The directory of all saves.
#[derive(Debug)]
pub(crate) struct Saved {
    dir: Dir,
}

/// The saves of one uid.
#[derive(Debug)]
pub(crate) struct Shelf {
    dir: Dir,
}

/// Everything about a file but its content.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Header {
    version: u32,
    path: String,
    uid: u32,
    gid: u32,
    mode: u32,
    accessed: (i64, u32),
    modified: (i64, u32),
    /// Bytes of content that follow; `None` for a symbolic link.
    size: Option<u64>,
    /// Where a symbolic link points, in hex.
    target: Option<String>,
    /// Extended attributes, values in hex.
    attributes: BTreeMap<String, String>,
}

impl Saved {
    /// Opens the directory, or makes it for root alone.
    pub(crate) fn open(path: &Path) -> Result<Self, RootError> {
        let dir = Dir::open_private(path)?;
        Ok(Self { dir })
    }

    /// Where the saves of one cut go; the directory is made when there is none.
    pub(crate) fn shelf(&self, uid: u32, cut: u32) -> Result<Shelf, RootError> {
        let name = shelf_name(uid, cut);
        match self.dir.make_dir(&name, 0o700) {
            Ok(dir) => {
                self.dir.sync()?;
                Ok(Shelf { dir })
            }
            Err(error) if error.source.kind() == io::ErrorKind::AlreadyExists => Ok(Shelf {
                dir: self.dir.dir(&name)?,
            }),
            Err(error) => Err(error),
        }
    }

    /// The shelves of every cut of a uid.
    pub(crate) fn of(&self, uid: u32) -> Result<Vec<Shelf>, RootError> {
        let prefix = format!("{uid}.");
        let names = self.dir.names()?.into_iter();
        names
            .filter(|name| name.as_bytes().starts_with(prefix.as_bytes()))
            .map(|name| {
                Ok(Shelf {
                    dir: self.dir.dir(&name)?,
                })
            })
            .collect()
    }

    /// The shelf of the latest cut of a uid; of its first, when there was none.
    pub(crate) fn latest(&self, uid: u32) -> Result<Shelf, RootError> {
        let prefix = format!("{uid}.");
        let names = self.dir.names()?.into_iter();
        let cuts = names.filter_map(|name| name.to_str()?.strip_prefix(&prefix)?.parse().ok());
        self.shelf(uid, cuts.max().unwrap_or(1))
    }

    /// The shelf from which `key` is put back: that of this cut, or of the latest before it. A cut that found a thing
    /// still set aside from an earlier one, whose way back was interrupted, saved none of its own.
    pub(crate) fn holding(
        &self,
        uid: u32,
        cut: u32,
        key: &str,
    ) -> Result<Option<Shelf>, RootError> {
        for cut in (1..=cut).rev() {
            let dir = match self.dir.dir(shelf_name(uid, cut)) {
                Ok(dir) => dir,
                Err(error) if error.source.kind() == io::ErrorKind::NotFound => continue,
                Err(error) => return Err(error),
            };
            if dir.see(key)?.is_some() {
                return Ok(Some(Shelf { dir }));
            }
        }
        Ok(None)
    }
}

fn shelf_name(uid: u32, cut: u32) -> String {
    format!("{uid}.{cut}")
}

/// The name of a save of the thing at `path`.
pub(crate) fn key(word: &str, path: &str) -> String {
    format!(
        "{word}-{}",
        muster_core::id::percent_encode(path).replace('/', "%2F")
    )
}

fn new(key: &str) -> String {
    format!("{key}.new")
}

impl Shelf {
    /// Saves a short text under `key`, unless there is a save already; durable when this returns.
    pub(crate) fn keep_text(&self, key: &str, text: &str) -> Result<(), SaveError> {
        if self.dir.see(key)?.is_some() {
            return Ok(());
        }
        self.write(&new(key), |file| file.write_all(text.as_bytes()))?;
        self.dir.place(new(key), key)?;
        self.dir.sync()?;
        Ok(())
    }

    /// The text under `key`; `None` when there is none.
    pub(crate) fn text(&self, key: &str) -> Result<Option<String>, SaveError> {
        let Some((bytes, _)) = self.dir.read(key, HEADER)? else {
            return Ok(None);
        };
        String::from_utf8(bytes)
            .map(Some)
            .map_err(|_| SaveError::Damaged {
                path: self.dir.path_of(key),
            })
    }

    /// Drops a save, once what it restored is durable.
    pub(crate) fn drop_save(&self, key: &str) -> Result<(), SaveError> {
        if self.dir.remove(key)? {
            self.dir.sync()?;
        }
        Ok(())
    }

    fn place_beside(&self, from: &str, key: &str) -> Result<(), SaveError> {
        for number in 1..=BESIDE {
            match self.dir.place(from, format!("{key}.{number}")) {
                Err(error) if error.source.kind() == io::ErrorKind::AlreadyExists => {}
                result => return Ok(result?),
            }
        }
        Err(SaveError::TooMany {
            path: self.dir.path_of(key),
        })
    }

    fn write(
        &self,
        name: &str,
        fill: impl FnOnce(&mut File) -> io::Result<()>,
    ) -> Result<(), RootError> {
        self.dir.remove(name)?;
        let mut file = self.dir.create(name)?;
        fill(&mut file)
            .and_then(|()| file.sync_all())
            .map_err(|source| RootError {
                verb: "write",
                path: self.dir.path_of(name),
                source,
            })
    }

    /// Saves `name` of `from`, then removes it there; nothing happens when it is not there. It must belong to `owner`
    /// or to root.
    pub(crate) fn set_aside(
        &self,
        key: &str,
        from: &Dir,
        name: &str,
        owner: u32,
        ownership: Ownership,
    ) -> Result<(), SaveError> {
        let path = from.path_of(name);
        let odd = |what: &str| SaveError::Odd {
            path: path.clone(),
            what: what.to_owned(),
        };
        clear_leftovers(from)?;
        let Some(before) = from.see(name)? else {
            return Ok(());
        };
        if ownership == Ownership::Performed && before.uid != owner {
            if before.uid != 0 {
                return Err(odd(&format!("a file of uid {}", before.uid)));
            }
            if before.kind == Kind::File && before.links > 1 {
                return Err(odd("a second name of a file of root"));
            }
        }
        let temporary = new(key);
        match before.kind {
            Kind::File => {
                let Some((mut file, seen)) = from.open_file(name)? else {
                    return Ok(());
                };
                let header = Header::of(&path, &seen, Some(seen.size), None, attributes(&file));
                self.write(&temporary, |save| {
                    header.write(save, &mut (&mut file).take(seen.size))
                })?;
                if !seen_of(&file, &path)?.is_unchanged(&seen) {
                    return Err(SaveError::Changing { path });
                }
            }
            Kind::Link => {
                let target = from.read_link(name)?;
                let header = Header::of(
                    &path,
                    &before,
                    None,
                    Some(hex(target.as_bytes())),
                    BTreeMap::new(),
                );
                self.write(&temporary, |save| header.write(save, &mut io::empty()))?;
            }
            Kind::Directory | Kind::Other => return Err(odd(before.kind.said())),
        }
        self.file_away(key, &temporary)?;
        match from.see(name)? {
            Some(now) if now.is_unchanged(&before) => from.remove(name)?,
            Some(_) => return Err(SaveError::Changing { path }),
            None => false,
        };
        from.sync()?;
        Ok(())
    }

    /// Gives a new save its name: the first is the one that is restored, others are kept beside it once each.
    fn file_away(&self, key: &str, temporary: &str) -> Result<(), SaveError> {
        let tail = self.tail(temporary)?;
        let first = self.dir.see(key)?.is_some();
        if first {
            let beside = (1..=BESIDE).map(|number| format!("{key}.{number}"));
            for name in std::iter::once(key.to_owned()).chain(beside) {
                if self.dir.see(&name)?.is_none() {
                    break;
                }
                if self.tail(&name)? == tail {
                    self.dir.remove(temporary)?;
                    return Ok(());
                }
            }
            self.place_beside(temporary, key)?;
        } else {
            self.dir.place(temporary, key)?;
        }
        self.dir.sync()?;
        Ok(())
    }

    /// The digest of content and kind at the end of a save.
    fn tail(&self, name: &str) -> Result<Vec<u8>, SaveError> {
        let broken = |source| RootError {
            verb: "read",
            path: self.dir.path_of(name),
            source,
        };
        let damaged = || SaveError::Damaged {
            path: self.dir.path_of(name),
        };
        let (mut file, seen) = self.dir.open_file(name)?.ok_or_else(damaged)?;
        file.seek(SeekFrom::Start(
            seen.size.checked_sub(TAIL).ok_or_else(damaged)?,
        ))
        .map_err(broken)?;
        let mut tail = Vec::new();
        file.read_to_end(&mut tail).map_err(broken)?;
        Ok(tail)
    }

    /// Puts back what was saved under `key` as `name` of `to`, with owner, mode, times and attributes, then drops the
    /// save. Whatever stands there is not touched.
    pub(crate) fn put_back(
        &self,
        key: &str,
        to: &Dir,
        name: &str,
        ownership: Ownership,
    ) -> Result<PutBack, SaveError> {
        let Some((file, _)) = self.dir.open_file(key)? else {
            return Ok(PutBack::NothingSaved);
        };
        clear_leftovers(to)?;
        let mut reader = BufReader::new(file);
        let damaged = || SaveError::Damaged {
            path: self.dir.path_of(key),
        };
        let header = Header::read(&mut reader).ok_or_else(damaged)?;
        if to.see(name)?.is_some() {
            if !self.stands(&header, key, to, name)? {
                return Err(SaveError::Occupied {
                    path: to.path_of(name),
                    saved: self.dir.path_of(key),
                });
            }
        } else {
            let temporary = free_name(to)?;
            let restored = header.restore(&mut reader, to, &temporary, ownership);
            match restored {
                Ok(true) => {}
                Ok(false) => {
                    to.remove(&temporary)?;
                    return Err(damaged());
                }
                Err(error) => {
                    let _ = to.remove(&temporary);
                    return Err(error.into());
                }
            }
            if let Err(error) = to.place(&temporary, name) {
                let _ = to.remove(&temporary);
                return Err(error.into());
            }
        }
        to.sync()?;
        self.drop_save(key)?;
        Ok(PutBack::Done)
    }

    /// Whether what stands there is what was saved: a restore that was interrupted at its very end.
    fn stands(&self, header: &Header, save: &str, to: &Dir, name: &str) -> Result<bool, SaveError> {
        let path = to.path_of(name);
        let Some(seen) = to.see(name)? else {
            return Ok(false);
        };
        let mut digest = Sha256::new();
        match (seen.kind, header.size) {
            (Kind::File, Some(size)) if size == seen.size => {
                let Some((mut file, _)) = to.open_file(name)? else {
                    return Ok(false);
                };
                copy(&mut file, &mut io::sink(), &mut digest).map_err(|source| RootError {
                    verb: "read",
                    path,
                    source,
                })?;
            }
            (Kind::Link, None) => {
                let target = hex(to.read_link(name)?.as_bytes());
                if header.target.as_deref() != Some(&target) {
                    return Ok(false);
                }
                digest.update(target.as_bytes());
            }
            _ => return Ok(false),
        }
        Ok(self.tail(save)? == tail_of(digest))
    }
}

impl Header {
    fn of(
        path: &Path,
        seen: &Seen,
        size: Option<u64>,
        target: Option<String>,
        attributes: BTreeMap<String, String>,
    ) -> Self {
        Self {
            version: VERSION,
            path: path.to_string_lossy().into_owned(),
            uid: seen.uid,
            gid: seen.gid,
            mode: seen.mode,
            accessed: seen.accessed,
            modified: seen.modified,
            size,
            target,
            attributes,
        }
    }

    fn write(&self, save: &mut File, content: &mut impl Read) -> io::Result<()> {
        let mut line = serde_json::to_vec(self)?;
        line.push(b'\n');
        save.write_all(&line)?;
        let mut digest = Sha256::new();
        if let Some(target) = &self.target {
            digest.update(target.as_bytes());
        }
        let copied = copy(content, save, &mut digest)?;
        if copied != self.size.unwrap_or(0) {
            return Err(io::Error::other("it became shorter while it was read"));
        }
        save.write_all(&tail_of(digest))
    }

    fn read(reader: &mut BufReader<File>) -> Option<Self> {
        let mut line = Vec::new();
        reader
            .by_ref()
            .take(HEADER)
            .read_until(b'\n', &mut line)
            .ok()?;
        let header: Self = serde_json::from_slice(&line).ok()?;
        (header.version == VERSION && header.size.is_some() != header.target.is_some())
            .then_some(header)
    }

    /// Makes the saved thing under a temporary name; whether the save was whole.
    fn restore(
        &self,
        reader: &mut impl Read,
        to: &Dir,
        temporary: &str,
        ownership: Ownership,
    ) -> Result<bool, RootError> {
        let path = to.path_of(temporary);
        let refused = |verb| move |errno: nix::errno::Errno| crate::dir::failed(verb, &path, errno);
        let owner = (ownership == Ownership::Performed)
            .then(|| (Some(Uid::from_raw(self.uid)), Some(Gid::from_raw(self.gid))));
        let times = (spec(self.accessed), spec(self.modified));
        let mut digest = Sha256::new();
        let (Some(size), None) = (self.size, &self.target) else {
            let Some(target) = self.target.as_deref().and_then(unhex) else {
                return Ok(false);
            };
            digest.update(hex(&target).as_bytes());
            to.link_to(OsStr::from_bytes(&target), temporary)?;
            if let Some((uid, gid)) = owner {
                nix::unistd::fchownat(to, temporary, uid, gid, AtFlags::AT_SYMLINK_NOFOLLOW)
                    .map_err(refused.clone()("change the owner of"))?;
            }
            utimensat(
                to,
                temporary,
                &times.0,
                &times.1,
                UtimensatFlags::NoFollowSymlink,
            )
            .map_err(refused("change the times of"))?;
            return Ok(rest(reader).is_some_and(|it| it == tail_of(digest)));
        };
        let mut file = to.create(temporary)?;
        let broken = |source| RootError {
            verb: "write",
            path: to.path_of(temporary),
            source,
        };
        let copied =
            copy(&mut reader.by_ref().take(size), &mut file, &mut digest).map_err(broken)?;
        if copied != size || rest(reader).is_none_or(|it| it != tail_of(digest)) {
            return Ok(false);
        }
        if let Some((uid, gid)) = owner {
            nix::unistd::fchown(&file, uid, gid).map_err(refused.clone()("change the owner of"))?;
        }
        // Nothing that ran as somebody else is made anew.
        let mode = nix::sys::stat::Mode::from_bits_truncate(self.mode & 0o1777);
        nix::sys::stat::fchmod(&file, mode).map_err(refused.clone()("change the mode of"))?;
        for (name, value) in &self.attributes {
            let Some(value) = unhex(value) else {
                return Ok(false);
            };
            rustix::fs::fsetxattr(&file, name.as_str(), &value, XattrFlags::empty()).map_err(
                |errno| RootError {
                    verb: "set an attribute of",
                    path: to.path_of(temporary),
                    source: errno.into(),
                },
            )?;
        }
        futimens(&file, &times.0, &times.1).map_err(refused("change the times of"))?;
        file.sync_all().map_err(broken)?;
        Ok(true)
    }
}

/// What every name begins with under which something is put together before it gets its own.
const RESTORE: &str = ".muster-restore.";

/// Removes what a process that died while it put something back left in `dir`: logind and cron read all that lies in
/// theirs. One executor works at a time, so nobody is at it still.
fn clear_leftovers(dir: &Dir) -> Result<(), RootError> {
    for name in dir.names()? {
        let is_plain = |seen: Seen| matches!(seen.kind, Kind::File | Kind::Link);
        if name.as_bytes().starts_with(RESTORE.as_bytes()) && dir.see(&name)?.is_some_and(is_plain)
        {
            dir.remove(&name)?;
        }
    }
    Ok(())
}

/// A name that nobody has taken; the directory may be a user's, who could take any of them first.
fn free_name(dir: &Dir) -> Result<String, RootError> {
    for number in 0..1_000 {
        let name = format!("{RESTORE}{}.{number}", std::process::id());
        if dir.see(&name)?.is_none() {
            return Ok(name);
        }
    }
    let source = io::Error::other("a thousand names are taken");
    Err(RootError {
        verb: "find a free name in",
        path: dir.path().to_owned(),
        source,
    })
}

fn spec(time: (i64, u32)) -> TimeSpec {
    TimeSpec::new(time.0, i64::from(time.1))
}

fn tail_of(digest: Sha256) -> Vec<u8> {
    let mut tail = hex(&digest.finalize()).into_bytes();
    tail.push(b'\n');
    tail
}

/// What is left to read, when that is as short as the end of a save.
fn rest(reader: &mut impl Read) -> Option<Vec<u8>> {
    let mut rest = Vec::new();
    reader.take(TAIL + 1).read_to_end(&mut rest).ok()?;
    Some(rest)
}

fn copy(from: &mut impl Read, to: &mut impl Write, digest: &mut Sha256) -> io::Result<u64> {
    let mut buffer = vec![0; CHUNK];
    let mut copied = 0;
    loop {
        let read = match from.read(&mut buffer) {
            Ok(0) => return Ok(copied),
            Ok(read) => read,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            Err(error) => return Err(error),
        };
        digest.update(&buffer[..read]);
        to.write_all(&buffer[..read])?;
        copied += read as u64;
    }
}

/// The extended attributes of a file; those that cannot be read (another security module's) are not ours to keep.
fn attributes(file: &File) -> BTreeMap<String, String> {
    let mut names = vec![0_u8; 64 * 1024];
    let length = rustix::fs::flistxattr(file.as_fd(), names.as_mut_slice()).unwrap_or(0);
    let mut found = BTreeMap::new();
    for name in names[..length]
        .split(|byte| *byte == 0)
        .filter_map(|it| std::str::from_utf8(it).ok())
    {
        let mut value = vec![0_u8; 64 * 1024];
        if !name.is_empty()
            && let Ok(length) = rustix::fs::fgetxattr(file.as_fd(), name, value.as_mut_slice())
        {
            found.insert(name.to_owned(), hex(&value[..length]));
        }
    }
    found
}

pub(crate) fn hex(bytes: &[u8]) -> String {
    let digit = |half: u8| char::from_digit(u32::from(half), 16).expect("half a byte is a digit");
    let digits = bytes.iter().flat_map(|byte| [byte >> 4, byte & 15]);
    digits.map(digit).collect()
}

fn unhex(text: &str) -> Option<Vec<u8>> {
    let pairs = text.as_bytes().chunks(2);
    pairs
        .map(|pair| u8::from_str_radix(std::str::from_utf8(pair).ok()?, 16).ok())
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _, symlink};

    struct Place {
        _scratch: tempfile::TempDir,
        home: PathBuf,
        dir: Dir,
        saved: Saved,
        shelf: Shelf,
        uid: u32,
    }

    fn place() -> Place {
        let scratch = tempfile::tempdir().unwrap();
        let home = scratch.path().join("home");
        std::fs::create_dir(&home).unwrap();
        let saved = Saved::open(&scratch.path().join("saved")).unwrap();
        let shelf = saved.shelf(1004, 1).unwrap();
        let uid = nix::unistd::geteuid().as_raw();
        Place {
            dir: Dir::open(&home).unwrap(),
            home,
            saved,
            shelf,
            uid,
            _scratch: scratch,
        }
    }

    impl Place {
        fn aside(&self) -> Result<(), SaveError> {
            self.shelf.set_aside(
                "keys-file",
                &self.dir,
                "file",
                self.uid,
                Ownership::Performed,
            )
        }

        fn back(&self) -> Result<PutBack, SaveError> {
            self.shelf
                .put_back("keys-file", &self.dir, "file", Ownership::Performed)
        }

        fn file(&self) -> PathBuf {
            self.home.join("file")
        }

        fn saves(&self) -> Vec<String> {
            self.shelf
                .dir
                .names()
                .unwrap()
                .into_iter()
                .map(|it| it.into_string().unwrap())
                .collect()
        }
    }

    #[test]
    fn a_file_comes_back_as_it_was() {
        let it = place();
        let content: Vec<u8> = (0..3_000_000_u32).map(|n| (n % 251) as u8).collect();
        std::fs::write(it.file(), &content).unwrap();
        std::fs::set_permissions(it.file(), std::fs::Permissions::from_mode(0o640)).unwrap();
        let file = File::open(it.file()).unwrap();
        futimens(
            &file,
            &TimeSpec::new(1_000, 7),
            &TimeSpec::new(2_000, 123_456_789),
        )
        .unwrap();
        let kept =
            rustix::fs::fsetxattr(&file, "user.note", b"kept\0", XattrFlags::empty()).is_ok();
        it.aside().unwrap();
        assert!(!it.file().exists());
        assert_eq!(it.back().unwrap(), PutBack::Done);
        assert_eq!(std::fs::read(it.file()).unwrap(), content);
        let meta = std::fs::metadata(it.file()).unwrap();
        assert_eq!(
            (meta.mode() & 0o7777, meta.mtime(), meta.mtime_nsec()),
            (0o640, 2_000, 123_456_789)
        );
        if kept {
            assert_eq!(
                attributes(&File::open(it.file()).unwrap())["user.note"],
                hex(b"kept\0")
            );
        }
        assert_eq!(it.saves(), Vec::<String>::new());
        assert_eq!(it.back().unwrap(), PutBack::NothingSaved);
    }

    #[test]
    fn a_link_comes_back_as_a_link_and_is_never_followed() {
        let it = place();
        std::fs::write(it.home.join("secret"), "text").unwrap();
        symlink("secret", it.file()).unwrap();
        it.aside().unwrap();
        assert_eq!(std::fs::read(it.home.join("secret")).unwrap(), b"text");
        it.back().unwrap();
        assert_eq!(std::fs::read_link(it.file()).unwrap(), Path::new("secret"));
    }

    #[test]
    fn the_first_save_is_the_one_that_comes_back() {
        let it = place();
        for content in ["first", "second", "second", "third"] {
            std::fs::write(it.file(), content).unwrap();
            it.aside().unwrap();
        }
        assert_eq!(it.saves(), ["keys-file", "keys-file.1", "keys-file.2"]);
        it.back().unwrap();
        assert_eq!(std::fs::read(it.file()).unwrap(), b"first");
        assert_eq!(it.saves(), ["keys-file.1", "keys-file.2"]);
    }

    #[test]
    fn what_one_cut_left_is_never_taken_for_what_another_saved() {
        let it = place();
        std::fs::write(it.file(), "old").unwrap();
        it.aside().unwrap();
        // A way back that was interrupted before it dropped the save; then another cut.
        std::fs::write(it.file(), "new").unwrap();
        let second = it.saved.shelf(1004, 2).unwrap();
        second
            .set_aside("keys-file", &it.dir, "file", it.uid, Ownership::Performed)
            .unwrap();
        let holding = it.saved.holding(1004, 2, "keys-file").unwrap().unwrap();
        holding
            .put_back("keys-file", &it.dir, "file", Ownership::Performed)
            .unwrap();
        assert_eq!(std::fs::read(it.file()).unwrap(), b"new");
        let earlier = it.saved.holding(1004, 2, "keys-file").unwrap().unwrap();
        assert_eq!(earlier.dir.path(), it.shelf.dir.path());
        assert!(it.saved.holding(1004, 2, "other").unwrap().is_none());
    }

    #[test]
    fn a_restore_that_was_interrupted_at_its_end_is_brought_to_it() {
        let it = place();
        std::fs::write(it.file(), "keys").unwrap();
        it.aside().unwrap();
        std::fs::write(it.file(), "keys").unwrap();
        assert_eq!(it.back().unwrap(), PutBack::Done);
        assert_eq!(it.saves(), Vec::<String>::new());
    }

    #[test]
    fn what_stands_in_the_way_is_left_alone() {
        let it = place();
        std::fs::write(it.file(), "mine").unwrap();
        it.aside().unwrap();
        symlink("/etc/passwd", it.file()).unwrap();
        assert!(matches!(it.back(), Err(SaveError::Occupied { .. })));
        assert_eq!(
            std::fs::read_link(it.file()).unwrap(),
            Path::new("/etc/passwd")
        );
        std::fs::remove_file(it.file()).unwrap();
        assert_eq!(it.back().unwrap(), PutBack::Done);
    }

    #[test]
    fn directories_and_fifos_are_refused() {
        let it = place();
        std::fs::create_dir(it.file()).unwrap();
        assert!(matches!(it.aside(), Err(SaveError::Odd { .. })));
        std::fs::remove_dir(it.file()).unwrap();
        nix::unistd::mkfifo(&it.file(), nix::sys::stat::Mode::S_IRUSR).unwrap();
        assert!(matches!(it.aside(), Err(SaveError::Odd { .. })));
        assert!(it.file().symlink_metadata().is_ok());
    }

    #[test]
    fn a_hard_link_to_somebody_elses_file_is_refused() {
        let it = place();
        if it.uid != 0 {
            return;
        }
        std::fs::write(it.home.join("shadow"), "secret").unwrap();
        std::fs::hard_link(it.home.join("shadow"), it.file()).unwrap();
        let refused = it
            .shelf
            .set_aside("keys-file", &it.dir, "file", 4_711, Ownership::Performed);
        assert!(matches!(refused, Err(SaveError::Odd { .. })), "{refused:?}");
        assert!(it.file().exists());
    }

    #[test]
    fn a_damaged_save_restores_nothing() {
        let it = place();
        std::fs::write(it.file(), "content").unwrap();
        it.aside().unwrap();
        let save = it.shelf.dir.path_of("keys-file");
        let mut bytes = std::fs::read(&save).unwrap();
        let middle = bytes.len() - 70;
        bytes[middle] ^= 1;
        std::fs::write(&save, bytes).unwrap();
        assert!(matches!(it.back(), Err(SaveError::Damaged { .. })));
        assert_eq!(it.dir.names().unwrap(), Vec::<std::ffi::OsString>::new());
    }

    #[test]
    fn saves_are_for_root_alone() {
        let it = place();
        std::fs::write(it.file(), "content").unwrap();
        it.aside().unwrap();
        assert_eq!(it.shelf.dir.itself().unwrap().mode, 0o700);
        assert_eq!(it.shelf.dir.see("keys-file").unwrap().unwrap().mode, 0o600);
    }

    #[test]
    fn a_text_is_written_once() {
        let it = place();
        it.shelf.keep_text("login", "first").unwrap();
        it.shelf.keep_text("login", "second").unwrap();
        assert_eq!(it.shelf.text("login").unwrap().as_deref(), Some("first"));
        it.shelf.drop_save("login").unwrap();
        assert_eq!(it.shelf.text("login").unwrap(), None);
    }
}
