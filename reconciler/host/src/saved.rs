//! What a cut takes away, kept for root alone until a way back restores exactly that.
//!
//! One directory for each cut of each uid, `UID.CUT`, and in it one file for each thing:
//!
//! | name | meaning |
//! |---|---|
//! | `KEY` | the save that a way back restores; written once, never overwritten |
//! | `KEY.1`, `KEY.2`, … | what reappeared while the person was cut; kept, never restored by itself |
//!
//! A save is durable before the original is removed, and is removed only after the restored original is durable: at every
//! instant one of the two is complete. Each cut has a number, so that a save which an interrupted way back left is never
//! mistaken for one of a later cut.

mod format;

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, BufReader, Read as _, Seek as _, SeekFrom, Write as _};
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};

use muster_core::bytes::hex;
use sha2::{Digest as _, Sha256};

use format::{Header, attributes, copy, tail_of};

use crate::dir::{Dir, FileKind, FileStat, stat_of};
use crate::root::{Ownership, RootError};

/// The key of a saved login on the shelf of its uid.
pub(crate) const LOGIN: &str = "login";

const VERSION: u32 = 1;
/// The digest at the end of a save: 64 hex digits and a line end.
const TAIL: u64 = 65;
const CHUNK: usize = 64 * 1024;
/// The longest file that is set aside.
const SIZE_LIMIT: u64 = 16 * 1024 * 1024;
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
    /// More than a cut sets aside: it would take the room that everybody else's steps need (F12).
    #[error("{} has {size} bytes, and a cut sets aside at most {SIZE_LIMIT}; it is left where it is, and the login is shut all the same; make it smaller or remove it", path.display())]
    TooLarge {
        /// Where.
        path: PathBuf,
        /// How long it is; a sparse file may take less on disk.
        size: u64,
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
        let filled = fill(&mut file).and_then(|()| file.sync_all());
        drop(file);
        filled.map_err(|source| {
            // On a full disk half a save would be in the way of everybody else.
            let _ = self.dir.remove(name);
            RootError {
                verb: "write",
                path: self.dir.path_of(name),
                source,
            }
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
            if before.kind == FileKind::File && before.links > 1 {
                return Err(odd("a second name of a file of root"));
            }
        }
        let temporary = new(key);
        match before.kind {
            FileKind::File => {
                let Some((mut file, seen)) = from.open_file(name)? else {
                    return Ok(());
                };
                if seen.size > SIZE_LIMIT {
                    return Err(SaveError::TooLarge {
                        path,
                        size: seen.size,
                    });
                }
                let header = Header::of(&path, &seen, Some(seen.size), None, attributes(&file));
                self.write(&temporary, |save| {
                    header.write(save, &mut (&mut file).take(seen.size))
                })?;
                if !stat_of(&file, &path)?.is_unchanged(&seen) {
                    self.dir.remove(&temporary)?;
                    return Err(SaveError::Changing { path });
                }
            }
            FileKind::Link => {
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
            FileKind::Directory | FileKind::Other => return Err(odd(before.kind.with_article())),
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

    /// Whether the existing file equals the save: a restore that was interrupted just before it dropped the save.
    fn stands(&self, header: &Header, save: &str, to: &Dir, name: &str) -> Result<bool, SaveError> {
        let path = to.path_of(name);
        let Some(seen) = to.see(name)? else {
            return Ok(false);
        };
        let mut digest = Sha256::new();
        match (seen.kind, header.size) {
            (FileKind::File, Some(size)) if size == seen.size => {
                let Some((mut file, _)) = to.open_file(name)? else {
                    return Ok(false);
                };
                copy(&mut file, &mut io::sink(), &mut digest).map_err(|source| RootError {
                    verb: "read",
                    path,
                    source,
                })?;
            }
            (FileKind::Link, None) => {
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

/// What every name begins with under which something is put together before it gets its own.
const RESTORE: &str = ".muster-restore.";

/// Removes what a process that died while it put something back left in `dir`: logind and cron read all that lies in
/// theirs. One executor works at a time, so nobody is at it still.
fn clear_leftovers(dir: &Dir) -> Result<(), RootError> {
    for name in dir.names()? {
        let is_plain = |seen: FileStat| matches!(seen.kind, FileKind::File | FileKind::Link);
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

#[cfg(test)]
mod tests;
