//! Writes an archive of a tree that is still.

use std::collections::{BTreeMap, HashMap};
use std::ffi::OsStr;
use std::fs::File;
use std::io::{self, Read as _, Seek as _, SeekFrom};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::ffi::OsStrExt as _;

use rustix::fs::readlinkat;

use super::behind::Ending;
use super::echo::Call;
use super::manifest::{self, ArchivedAccount, Line};
use super::pack::Packer;
use super::tar::{self, Member, Pieces, Type};
use super::tree::{self, Attributes, Census, Counted, Cursor, InodeKind, Meta, TreeError, Visit};
use super::{Error, HOME, Progress, SUBJECT};

/// How much of a file is read, and hashed, at a time: it stays in a processor's nearest cache.
const CHUNK: usize = 128 * 1024;

/// Names of owners, for programs that go by names.
#[derive(Clone, Debug, Default)]
pub(crate) struct Names {
    pub(crate) users: BTreeMap<u32, String>,
    pub(crate) groups: BTreeMap<u32, String>,
}

/// Writes the tree at `home` into `into`, and everything about it; `spool` is an empty file on the same file system.
///
/// Guarantee: when this returns, each byte of each file was read while the file stood still, and the whole tree was the
/// same after the last as before the first.
#[cfg(test)]
pub(crate) fn write(
    home: OwnedFd,
    subject: &ArchivedAccount,
    names: &Names,
    into: &File,
    spool: &File,
    progress: Progress<'_>,
) -> Result<Census, Error> {
    let ending = Ending(std::sync::Arc::default());
    let (call, _) = super::echo::pair().map_err(Error::writing)?;
    let behind = (ending, call);
    write_ahead(home, subject, names, (into, spool), behind, progress)
}

/// Writes as [`write`] does, and tells somebody who reads behind how far it is, and what went in.
pub(super) fn write_ahead(
    home: OwnedFd,
    subject: &ArchivedAccount,
    names: &Names,
    (into, spool): (&File, &File),
    behind: (Ending, Call),
    progress: Progress<'_>,
) -> Result<Census, Error> {
    let again = home.try_clone().map_err(Error::writing)?;
    let mut writer = Writer {
        out: Packer::start(subject, into, spool, behind).map_err(Error::writing)?,
        scratch: Vec::with_capacity(4 * tar::BLOCK),
        subject,
        names,
        linked: HashMap::new(),
        counted: Counted::default(),
        bytes: 0,
        entries: 0,
        progress,
    };
    let text = serde_json::to_vec(subject).expect("strings and numbers are JSON");
    writer.whole(SUBJECT, &text)?;
    let mut cursor = Cursor::new(home, b"").map_err(Error::Tree)?;
    tree::walk(
        &mut cursor,
        tree::Files::Opened,
        |cursor, visit| match visit {
            Visit::Directory(meta) => writer.directory(cursor, meta),
            Visit::File(name, meta, file) => writer.opened(cursor, name, meta, file),
            Visit::Entry(name, meta) => writer.entry(cursor, name, meta),
        },
    )?;
    let (out, census) = writer.finish()?;
    // Beside those who still compress and write.
    let mut cursor = Cursor::new(again, b"").map_err(Error::Tree)?;
    let after = tree::census(&mut cursor).map_err(Error::Tree)?;
    out.finish().map_err(Error::writing)?;
    if after != census {
        return Err(Error::Moved);
    }
    Ok(census)
}

struct Writer<'a> {
    out: Packer,
    /// A header.
    scratch: Vec<u8>,
    subject: &'a ArchivedAccount,
    names: &'a Names,
    /// Where inodes with several names are in the archive, how many names they have, and how many were found.
    linked: HashMap<u64, Linked>,
    counted: Counted,
    bytes: u64,
    entries: u64,
    progress: Progress<'a>,
}

struct Linked {
    path: Vec<u8>,
    links: u32,
    found: u32,
}

impl Writer<'_> {
    fn pad(&mut self, stored: u64) -> Result<(), Error> {
        self.put(&[0; tar::BLOCK][..tar::padding(stored)])
    }

    fn put(&mut self, bytes: &[u8]) -> Result<(), Error> {
        self.out.put(bytes).map_err(Error::writing)
    }

    fn header(&mut self, member: &Member) -> Result<(), Error> {
        self.scratch.clear();
        member.header(&mut self.scratch);
        self.out.put(&self.scratch).map_err(Error::writing)
    }

    fn whole(&mut self, name: &str, content: &[u8]) -> Result<(), Error> {
        let member = Member::file(name.as_bytes(), content.len() as u64, (0, 0));
        self.header(&member)?;
        self.put(content)?;
        self.pad(member.stored)
    }

    fn told(&mut self, meta: &Meta, depth: usize, path: &[u8]) {
        self.counted.take(depth, path, meta);
        self.entries += 1;
        (self.progress)(self.bytes, self.entries);
    }

    /// `path` is that in the archive.
    fn member(&self, path: Vec<u8>, kind: Type, meta: &Meta, attributes: Attributes) -> Member {
        let name = |names: &BTreeMap<u32, String>, id| names.get(&id).cloned().unwrap_or_default();
        Member {
            path,
            kind,
            mode: meta.mode,
            uid: meta.uid,
            gid: meta.gid,
            user: name(&self.names.users, meta.uid),
            group: name(&self.names.groups, meta.gid),
            stored: 0,
            sparse: None,
            modified: meta.modified,
            link: Vec::new(),
            device: (0, 0),
            links: if kind == Type::Directory {
                1
            } else {
                meta.links
            },
            attributes,
        }
    }

    fn directory(&mut self, cursor: &Cursor, meta: &Meta) -> Result<(), Error> {
        let attributes = tree::attributes_of(cursor.fd()).map_err(|errno| TreeError::Io {
            verb: "read the attributes of",
            path: cursor.path().to_vec(),
            source: errno.into(),
        })?;
        let path = full_path(cursor.path(), OsStr::new(""));
        let member = self.member(path, Type::Directory, meta, attributes);
        self.header(&member)?;
        self.out.member(member);
        self.told(meta, cursor.depth(), cursor.path());
        Ok(())
    }

    fn opened(
        &mut self,
        cursor: &Cursor,
        name: &OsStr,
        meta: &Meta,
        file: File,
    ) -> Result<(), Error> {
        let path = full_path(cursor.path(), name);
        if meta.links > 1 && self.another_name(cursor, name, meta, &path)? {
            return Ok(());
        }
        self.file(cursor, name, meta, file, path)?;
        self.told(meta, cursor.depth() + 1, name.as_bytes());
        Ok(())
    }

    fn entry(&mut self, cursor: &Cursor, name: &OsStr, meta: &Meta) -> Result<(), Error> {
        let path = full_path(cursor.path(), name);
        if meta.links > 1 && self.another_name(cursor, name, meta, &path)? {
            return Ok(());
        }
        match meta.kind {
            InodeKind::Directory | InodeKind::File => {
                unreachable!("BUG: directories are entered, and files opened")
            }
            InodeKind::Symlink
            | InodeKind::Fifo
            | InodeKind::Socket
            | InodeKind::CharDevice
            | InodeKind::BlockDevice => {
                let attributes = cursor.attributes_at(name)?;
                let kind = match meta.kind {
                    InodeKind::Symlink => Type::Symlink,
                    InodeKind::CharDevice => Type::CharDevice,
                    InodeKind::BlockDevice => Type::BlockDevice,
                    _ => Type::Fifo,
                };
                let mut member = self.member(path, kind, meta, attributes);
                if meta.kind == InodeKind::Symlink {
                    let target = readlinkat(cursor.fd(), name, Vec::new())
                        .map_err(|errno| cursor.failed("read the link", name, errno))?;
                    member.link = target.into_bytes();
                }
                if matches!(kind, Type::CharDevice | Type::BlockDevice) {
                    member.device = meta.rdev;
                }
                // What was said of it must all be of one inode.
                if !cursor.see(name)?.is_unchanged(meta) {
                    return Err(changed(cursor, name));
                }
                if meta.kind == InodeKind::Socket {
                    self.out.line(Line::of_socket(&member, self.subject));
                } else {
                    self.header(&member)?;
                    self.out.member(member);
                }
            }
        }
        self.told(meta, cursor.depth() + 1, name.as_bytes());
        Ok(())
    }

    /// Notes an inode with several names; whether this is not the first of them.
    fn another_name(
        &mut self,
        cursor: &Cursor,
        name: &OsStr,
        meta: &Meta,
        path: &[u8],
    ) -> Result<bool, Error> {
        if let Some(first) = self.linked.get_mut(&meta.inode) {
            first.found += 1;
            if meta.kind == InodeKind::Socket {
                return Ok(false);
            }
            let first = first.path.clone();
            let mut member = self.member(path.to_vec(), Type::Link, meta, Vec::new());
            member.link = first;
            if !cursor.see(name)?.is_unchanged(meta) {
                return Err(changed(cursor, name));
            }
            self.header(&member)?;
            self.out.member(member);
            self.told(meta, cursor.depth() + 1, name.as_bytes());
            return Ok(true);
        }
        self.linked.insert(
            meta.inode,
            Linked {
                path: path.to_vec(),
                links: meta.links,
                found: 1,
            },
        );
        Ok(false)
    }

    fn file(
        &mut self,
        cursor: &Cursor,
        name: &OsStr,
        meta: &Meta,
        file: File,
        path: Vec<u8>,
    ) -> Result<(), Error> {
        let mut file = file;
        let attributes = tree::attributes_of(&file)
            .map_err(|errno| cursor.failed("read the attributes of", name, errno))?;
        let mut member = self.member(path, Type::File, meta, attributes);
        let pieces = if meta.blocks < meta.size.div_ceil(512) {
            pieces(&file, meta.size).map_err(|errno| cursor.failed("read", name, errno))?
        } else {
            None
        };
        match pieces {
            None => {
                member.stored = meta.size;
                self.header(&member)?;
                self.content(&mut file, meta.size, cursor, name)?;
            }
            Some(pieces) => {
                let map = tar::sparse_map(&pieces);
                member.sparse = Some(meta.size);
                member.stored =
                    map.len() as u64 + pieces.iter().map(|(_, length)| length).sum::<u64>();
                self.header(&member)?;
                self.out.put_content(&map).map_err(Error::writing)?;
                for (offset, length) in pieces {
                    file.seek(SeekFrom::Start(offset))
                        .map_err(|error| cursor.failed("read", name, error))?;
                    self.content(&mut file, length, cursor, name)?;
                }
            }
        }
        // The census at the end finds every file that changed. A file that takes long to read is checked at once as well,
        // so that the error names it.
        if meta.size > CHUNK as u64 {
            let after = tree::meta_of(file.as_fd())
                .map_err(|error| cursor.failed("examine", name, error))?;
            if !after.is_unchanged(meta) {
                return Err(changed(cursor, name));
            }
        }
        self.pad(member.stored)?;
        self.out.member(member);
        Ok(())
    }

    fn content(
        &mut self,
        file: &mut File,
        length: u64,
        cursor: &Cursor,
        name: &OsStr,
    ) -> Result<(), Error> {
        let mut left = length;
        while left > 0 {
            let room = self.out.room().map_err(Error::writing)?;
            let wanted = usize::try_from(left)
                .unwrap_or(CHUNK)
                .min(CHUNK)
                .min(room.len());
            let read = match file.read(&mut room[..wanted]) {
                Ok(0) => return Err(changed(cursor, name)),
                Ok(read) => read,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(error) => return Err(cursor.failed("read", name, error).into()),
            };
            self.out.filled(read);
            left -= read as u64;
            self.bytes += read as u64;
            (self.progress)(self.bytes, self.entries);
        }
        Ok(())
    }

    /// Writes the lines of the manifest that belong to no member, and ends the text. The packer that is returned still works.
    fn finish(mut self) -> Result<(Packer, Census), Error> {
        let census = std::mem::take(&mut self.counted).census();
        let linked = std::mem::take(&mut self.linked);
        let mut outside: Vec<Linked> = linked
            .into_values()
            .filter(|it| it.found < it.links)
            .collect();
        outside.sort_by(|a, b| a.path.cmp(&b.path));
        for Linked { path, links, found } in outside {
            self.out.line(Line::Outside {
                path: manifest::Bytes::of(&path),
                links,
                found,
            });
        }
        self.out.line(Line::End {
            entries: self.entries,
            fingerprint: muster_core::bytes::hex(&census.fingerprint),
        });
        self.out.close().map_err(Error::writing)?;
        Ok((self.out, census))
    }
}

fn changed(cursor: &Cursor, name: &OsStr) -> Error {
    let path = cursor.path_of(name);
    TreeError::Changed { path }.into()
}

/// The path in the archive of `name` in the directory at `path`, or of that directory where there is no name.
fn full_path(path: &[u8], name: &OsStr) -> Vec<u8> {
    let name = name.as_bytes();
    let mut full = Vec::with_capacity(HOME.len() + path.len() + name.len() + 2);
    full.extend_from_slice(HOME.as_bytes());
    for part in [path, name] {
        if !part.is_empty() {
            full.push(b'/');
            full.extend_from_slice(part);
        }
    }
    full
}

/// Where a file has data; `None` when it turns out to have no holes.
fn pieces(file: &File, size: u64) -> Result<Option<Pieces>, rustix::io::Errno> {
    use rustix::fs::SeekFrom::{Data, Hole, Start};
    let mut pieces = Pieces::new();
    let mut at = 0;
    while at < size {
        let begin = match rustix::fs::seek(file, Data(at)) {
            Ok(begin) => begin,
            Err(rustix::io::Errno::NXIO) => break,
            // A file system that does not tell.
            Err(rustix::io::Errno::INVAL) => return rustix::fs::seek(file, Start(0)).map(|_| None),
            Err(errno) => return Err(errno),
        };
        let end = rustix::fs::seek(file, Hole(begin))?.min(size);
        if begin >= size || end <= begin {
            break;
        }
        pieces.push((begin, end - begin));
        at = end;
    }
    rustix::fs::seek(file, Start(0))?;
    if pieces == [(0, size)] {
        return Ok(None);
    }
    // A hole at the end is told by an empty piece.
    if pieces
        .last()
        .is_none_or(|(begin, length)| begin + length < size)
    {
        pieces.push((size, 0));
    }
    Ok(Some(pieces))
}
