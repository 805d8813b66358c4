//! Writes an archive of a tree that is still.

use std::collections::{BTreeMap, HashMap};
use std::ffi::OsStr;
use std::fs::File;
use std::io::{self, BufReader, BufWriter, Read, Seek as _, SeekFrom, Write};
use std::os::fd::{AsFd, OwnedFd};

use rustix::fs::readlinkat;
use sha2::{Digest as _, Sha256};

use super::manifest::{Line, Subject};
use super::tar::{self, Member, Pieces, Type};
use super::tree::{self, Attributes, Census, Counted, Cursor, Kind, Meta, TreeError, Visit};
use super::{Error, HOME, LEVEL, MANIFEST, Progress, SUBJECT};

const CHUNK: usize = 256 * 1024;

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
pub(crate) fn write(
    home: OwnedFd,
    subject: &Subject,
    names: &Names,
    into: &File,
    spool: &File,
    progress: Progress<'_>,
) -> Result<Census, Error> {
    let again = home.try_clone().map_err(Error::writing)?;
    let mut zstd = zstd::stream::write::Encoder::new(BufWriter::with_capacity(CHUNK, into), LEVEL)
        .map_err(Error::writing)?;
    zstd.include_checksum(true).map_err(Error::writing)?;
    // Compression goes on beside the reading; one more than that would take the machine from those who work on it.
    zstd.multithread(1).map_err(Error::writing)?;
    let mut writer = Writer {
        out: zstd,
        manifest: BufWriter::with_capacity(CHUNK, spool),
        manifest_hash: Sha256::new(),
        manifest_size: 0,
        subject,
        names,
        linked: HashMap::new(),
        counted: Counted::default(),
        buffer: vec![0; CHUNK],
        bytes: 0,
        entries: 0,
        progress,
    };
    let text = serde_json::to_vec(subject).expect("strings and numbers are JSON");
    writer.whole(SUBJECT, &text)?;
    let mut cursor = Cursor::new(home, b"").map_err(Error::Tree)?;
    tree::walk(&mut cursor, |cursor, visit| match visit {
        Visit::Directory(meta) => writer.directory(cursor, meta),
        Visit::Entry(name, meta) => writer.entry(cursor, name, meta),
    })?;
    let census = writer.finish()?;
    let mut cursor = Cursor::new(again, b"").map_err(Error::Tree)?;
    let after = tree::census(&mut cursor).map_err(Error::Tree)?;
    if after != census {
        return Err(Error::Moved);
    }
    Ok(census)
}

struct Writer<'a> {
    out: zstd::stream::write::Encoder<'static, BufWriter<&'a File>>,
    manifest: BufWriter<&'a File>,
    manifest_hash: Sha256,
    manifest_size: u64,
    subject: &'a Subject,
    names: &'a Names,
    /// Where inodes with several names are in the archive, how many names they have, and how many were found.
    linked: HashMap<u64, Linked>,
    counted: Counted,
    buffer: Vec<u8>,
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
    fn put(&mut self, bytes: &[u8]) -> Result<(), Error> {
        self.out.write_all(bytes).map_err(Error::writing)
    }

    fn pad(&mut self, stored: u64) -> Result<(), Error> {
        self.put(&[0; tar::BLOCK][..tar::padding(stored)])
    }

    fn line(&mut self, line: &Line) -> Result<(), Error> {
        let bytes = line.bytes();
        self.manifest_hash.update(&bytes);
        self.manifest_size += bytes.len() as u64;
        self.manifest.write_all(&bytes).map_err(Error::writing)
    }

    fn whole(&mut self, name: &str, content: &[u8]) -> Result<(), Error> {
        let member = Member::file(name.as_bytes(), content.len() as u64, (0, 0));
        self.put(&member.header())?;
        self.put(content)?;
        self.pad(member.stored)
    }

    fn told(&mut self, meta: &Meta, depth: usize, path: &[u8]) {
        self.counted.take(depth, path, meta);
        self.entries += 1;
        (self.progress)(self.bytes, self.entries);
    }

    fn member(&self, path: &[u8], kind: Type, meta: &Meta, attributes: Attributes) -> Member {
        let mut full = HOME.as_bytes().to_vec();
        if !path.is_empty() {
            full.push(b'/');
            full.extend_from_slice(path);
        }
        let name = |names: &BTreeMap<u32, String>, id| names.get(&id).cloned().unwrap_or_default();
        Member {
            path: full,
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
        let member = self.member(cursor.path(), Type::Directory, meta, attributes);
        self.put(&member.header())?;
        self.line(&Line::of(&member, None, self.subject))?;
        self.told(meta, cursor.depth(), cursor.path());
        Ok(())
    }

    fn entry(&mut self, cursor: &Cursor, name: &OsStr, meta: &Meta) -> Result<(), Error> {
        let path = cursor.path_of(name);
        if meta.links > 1 && self.another_name(cursor, name, meta, &path)? {
            return Ok(());
        }
        match meta.kind {
            Kind::Directory => unreachable!("BUG: directories are entered"),
            Kind::File => self.file(cursor, name, meta, &path)?,
            Kind::Symlink | Kind::Fifo | Kind::Socket | Kind::CharDevice | Kind::BlockDevice => {
                let attributes = cursor.attributes_at(name)?;
                let kind = match meta.kind {
                    Kind::Symlink => Type::Symlink,
                    Kind::CharDevice => Type::CharDevice,
                    Kind::BlockDevice => Type::BlockDevice,
                    _ => Type::Fifo,
                };
                let mut member = self.member(&path, kind, meta, attributes);
                if meta.kind == Kind::Symlink {
                    let target = readlinkat(cursor.fd(), name, Vec::new())
                        .map_err(|errno| cursor.failed("read the link", name, errno))?;
                    member.link = target.into_bytes();
                }
                if matches!(kind, Type::CharDevice | Type::BlockDevice) {
                    member.device = meta.rdev;
                }
                // What was said of it must all be of one inode.
                if !cursor.see(name)?.is_unchanged(meta) {
                    return Err(TreeError::Changed { path }.into());
                }
                if meta.kind == Kind::Socket {
                    self.line(&Line::of_socket(&member, self.subject))?;
                } else {
                    self.put(&member.header())?;
                    self.line(&Line::of(&member, None, self.subject))?;
                }
            }
        }
        self.told(meta, cursor.depth() + 1, &path);
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
            if meta.kind == Kind::Socket {
                return Ok(false);
            }
            let first = first.path.clone();
            let mut member = self.member(path, Type::Link, meta, Vec::new());
            member.link = first;
            if !cursor.see(name)?.is_unchanged(meta) {
                return Err(TreeError::Changed {
                    path: path.to_vec(),
                }
                .into());
            }
            self.put(&member.header())?;
            self.line(&Line::of(&member, None, self.subject))?;
            self.told(meta, cursor.depth() + 1, path);
            return Ok(true);
        }
        let full = self.member(path, Type::File, meta, Vec::new()).path;
        self.linked.insert(
            meta.inode,
            Linked {
                path: full,
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
        path: &[u8],
    ) -> Result<(), Error> {
        let mut file = cursor.open_file(name, meta)?;
        let attributes = tree::attributes_of(&file)
            .map_err(|errno| cursor.failed("read the attributes of", name, errno))?;
        let mut member = self.member(path, Type::File, meta, attributes);
        let pieces = if meta.blocks < meta.size.div_ceil(512) {
            pieces(&file, meta.size).map_err(|errno| cursor.failed("read", name, errno))?
        } else {
            None
        };
        let mut hash = Sha256::new();
        match pieces {
            None => {
                member.stored = meta.size;
                self.put(&member.header())?;
                self.content(&mut file, meta.size, &mut hash, cursor, name)?;
            }
            Some(pieces) => {
                let map = tar::sparse_map(&pieces);
                member.sparse = Some(meta.size);
                member.stored =
                    map.len() as u64 + pieces.iter().map(|(_, length)| length).sum::<u64>();
                self.put(&member.header())?;
                hash.update(&map);
                self.put(&map)?;
                for (offset, length) in pieces {
                    file.seek(SeekFrom::Start(offset))
                        .map_err(|error| cursor.failed("read", name, error))?;
                    self.content(&mut file, length, &mut hash, cursor, name)?;
                }
            }
        }
        let after =
            tree::meta_of(file.as_fd()).map_err(|error| cursor.failed("examine", name, error))?;
        if !after.is_unchanged(meta) {
            return Err(TreeError::Changed {
                path: path.to_vec(),
            }
            .into());
        }
        self.pad(member.stored)?;
        self.line(&Line::of(
            &member,
            Some(hash.finalize().into()),
            self.subject,
        ))
    }

    fn content(
        &mut self,
        file: &mut File,
        length: u64,
        hash: &mut Sha256,
        cursor: &Cursor,
        name: &OsStr,
    ) -> Result<(), Error> {
        let mut left = length;
        while left > 0 {
            let wanted = usize::try_from(left).unwrap_or(CHUNK).min(CHUNK);
            let read = match file.read(&mut self.buffer[..wanted]) {
                Ok(0) => {
                    return Err(TreeError::Changed {
                        path: cursor.path_of(name),
                    }
                    .into());
                }
                Ok(read) => read,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(error) => return Err(cursor.failed("read", name, error).into()),
            };
            hash.update(&self.buffer[..read]);
            self.out
                .write_all(&self.buffer[..read])
                .map_err(Error::writing)?;
            left -= read as u64;
            self.bytes += read as u64;
            (self.progress)(self.bytes, self.entries);
        }
        Ok(())
    }

    fn finish(mut self) -> Result<Census, Error> {
        let census = std::mem::take(&mut self.counted).census();
        let linked = std::mem::take(&mut self.linked);
        let mut outside: Vec<Linked> = linked
            .into_values()
            .filter(|it| it.found < it.links)
            .collect();
        outside.sort_by(|a, b| a.path.cmp(&b.path));
        for Linked { path, links, found } in outside {
            self.line(&Line::Outside {
                path: super::manifest::Bytes::of(&path),
                links,
                found,
            })?;
        }
        self.line(&Line::End {
            entries: self.entries,
            fingerprint: crate::saved::hex(&census.fingerprint),
        })?;
        self.manifest.flush().map_err(Error::writing)?;
        let size = self.manifest_size;
        let member = Member::file(MANIFEST.as_bytes(), size, (0, 0));
        self.put(&member.header())?;
        let mut spool = *self.manifest.get_ref();
        spool.seek(SeekFrom::Start(0)).map_err(Error::writing)?;
        let mut lines = BufReader::with_capacity(CHUNK, spool).take(size);
        let copied = io::copy(&mut lines, &mut self.out).map_err(Error::writing)?;
        if copied != size {
            return Err(Error::writing(io::Error::other(
                "the manifest is shorter than it was written",
            )));
        }
        self.pad(size)?;
        self.put(&[0; tar::BLOCK * 2])?;
        let mut file = self.out.finish().map_err(Error::writing)?;
        file.flush().map_err(Error::writing)?;
        Ok(census)
    }
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
