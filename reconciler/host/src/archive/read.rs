//! Reads an archive, from one end to the other.

use std::collections::HashMap;
use std::fs::File;
use std::io::{self, BufRead, Read};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, Sender, channel, sync_channel};
use std::thread::JoinHandle;

use sha2::{Digest as _, Sha256};

use super::behind::{Behind, Written};
use super::echo::{Digest, Echo};
use super::manifest::{self, ArchivedAccount, Bytes, FORMAT, Line, SOCKET};
use super::tar::{self, Member, Pieces, Type, broken};
use super::{Error, HOME, MANIFEST, Progress, SUBJECT, Verified};

const CHUNK: usize = 256 * 1024;
/// How many of them a thread is ahead.
const AHEAD: usize = 4;
/// The longest first member, and the longest line of a manifest.
const LONGEST: u64 = 64 * 1024 * 1024;

/// What is done with what an archive holds. Everything is called in the order of the archive.
pub(crate) trait Sink {
    /// The archive is this person's.
    fn begin(&mut self, _: &ArchivedAccount) -> Result<(), Error> {
        Ok(())
    }
    /// A member begins.
    fn member(&mut self, _: &Member) -> Result<(), Error> {
        Ok(())
    }
    /// A part of the content of the member that began last, at this offset of the file.
    fn data(&mut self, _: u64, _: &[u8]) -> Result<(), Error> {
        Ok(())
    }
    /// The member that began last ends.
    fn end(&mut self, _: &Member) -> Result<(), Error> {
        Ok(())
    }
    /// A line of the manifest.
    fn line(&mut self, _: &Line) -> Result<(), Error> {
        Ok(())
    }
    /// Whether lines of members are of use to it. All are checked, but those that are not need not be taken apart.
    fn takes_lines(&self) -> bool {
        false
    }
}

/// Only checks.
pub(crate) struct Nothing;

impl Sink for Nothing {}

/// Reads all of `file`, hands it to `sink`, and checks it against itself: every member against its line in the manifest,
/// content and all.
///
/// # Errors
/// When anything is not as the manifest says, or the sink says no.
pub(crate) fn read(
    file: File,
    sink: &mut dyn Sink,
    progress: Progress<'_>,
) -> Result<Verified, Error> {
    // A hint: the kernel reads further ahead.
    let _ = rustix::fs::fadvise(&file, 0, None, rustix::fs::Advice::Sequential);
    read_from(file, sink, Contents::Digested(Sha256::new()), progress)
}

/// Reads a file while it is written, as [`read`] does; what is read is durable.
pub(super) fn read_behind(
    file: File,
    written: Arc<Written>,
    echo: Echo,
) -> Result<Verified, Error> {
    let behind = Behind::new(file, written);
    let contents = Contents::Written(Box::new(echo));
    read_from(behind, &mut Nothing, contents, &mut |_, _| {})
}

/// Where the digest of a content comes from.
enum Contents {
    /// SHA-256, computed while reading.
    Digested(Sha256),
    /// From the writer: the fast hash showed that this is the same content.
    Written(Box<Echo>),
}

impl Contents {
    fn update(&mut self, part: &[u8]) {
        match self {
            Self::Digested(hash) => hash.update(part),
            Self::Written(echo) => echo.update(part),
        }
    }

    fn digest(&mut self) -> io::Result<Digest> {
        match self {
            Self::Digested(hash) => Ok(std::mem::take(hash).finalize().into()),
            Self::Written(echo) => echo.digest(),
        }
    }
}

fn read_from(
    from: impl Read + Send + 'static,
    sink: &mut dyn Sink,
    contents: Contents,
    progress: Progress<'_>,
) -> Result<Verified, Error> {
    let mut ahead = Ahead::start(from)?;
    let (subject, fingerprint, entries) = Reader {
        from: &mut ahead,
        sink,
        contents,
        progress,
        made: Sha256::new(),
        line: Vec::new(),
        linked: HashMap::new(),
        read: 0,
        entries: 0,
    }
    .all()?;
    let (sha256, bytes) = ahead.finish()?;
    Ok(Verified {
        sha256: muster_core::bytes::hex(&sha256),
        bytes,
        subject,
        entries,
        fingerprint,
    })
}

struct Reader<'a, 'p> {
    from: &'a mut Ahead,
    sink: &'a mut dyn Sink,
    contents: Contents,
    progress: Progress<'p>,
    /// Over the lines as they follow from the members.
    made: Sha256,
    line: Vec<u8>,
    linked: HashMap<Vec<u8>, (u32, u32)>,
    read: u64,
    entries: u64,
}

impl Reader<'_, '_> {
    fn all(&mut self) -> Result<(ArchivedAccount, String, u64), Error> {
        let subject = first_member(self.from)?;
        self.sink.begin(&subject)?;
        loop {
            let member = self
                .next()?
                .ok_or_else(|| Error::Reading(broken("no manifest; it was cut off")))?;
            if member.path == MANIFEST.as_bytes() {
                let (fingerprint, entries) = self.manifest(&member)?;
                if self.next()?.is_some() {
                    return Err(Error::Reading(broken("something after its manifest")));
                }
                let mut rest = [0];
                if self.from.read(&mut rest).map_err(Error::Reading)? != 0 {
                    return Err(Error::Reading(broken("something after its end")));
                }
                return Ok((subject, fingerprint, entries));
            }
            check(&member)?;
            self.member(&member, &subject)?;
        }
    }

    fn next(&mut self) -> Result<Option<Member>, Error> {
        Member::read(self.from).map_err(Error::Reading)
    }

    fn member(&mut self, member: &Member, subject: &ArchivedAccount) -> Result<(), Error> {
        self.sink.member(member)?;
        let mut digest = None;
        if member.kind == Type::File {
            match member.sparse {
                None => self.content(0, member.stored)?,
                Some(size) => {
                    let (pieces, map) =
                        tar::read_sparse_map(self.from, size).map_err(Error::Reading)?;
                    self.contents.update(&map);
                    check_sum(&pieces, map.len() as u64, member.stored)?;
                    for (offset, length) in pieces {
                        self.content(offset, length)?;
                    }
                }
            }
            tar::skip_padding(self.from, member.stored).map_err(Error::Reading)?;
            digest = Some(self.contents.digest().map_err(Error::Reading)?);
        } else if member.stored != 0 {
            return Err(Error::Reading(broken("content where none belongs")));
        }
        if member.links > 1 {
            let first = if member.kind == Type::Link {
                &member.link
            } else {
                &member.path
            };
            let seen = self
                .linked
                .entry(first.clone())
                .or_insert((member.links, 0));
            seen.1 += 1;
        }
        self.sink.end(member)?;
        self.line.clear();
        manifest::write_member(&mut self.line, member, digest, subject);
        self.made.update(&self.line);
        self.entries += 1;
        (self.progress)(self.read, self.entries);
        Ok(())
    }

    fn content(&mut self, mut offset: u64, length: u64) -> Result<(), Error> {
        let mut left = length;
        while left > 0 {
            let chunk = self.from.fill_buf().map_err(Error::Reading)?;
            if chunk.is_empty() {
                return Err(Error::Reading(broken("an early end")));
            }
            let part = &chunk[..chunk.len().min(usize::try_from(left).unwrap_or(usize::MAX))];
            self.contents.update(part);
            self.sink.data(offset, part)?;
            let length = part.len();
            self.from.consume(length);
            left -= length as u64;
            offset += length as u64;
            self.read += length as u64;
            (self.progress)(self.read, self.entries);
        }
        Ok(())
    }

    /// Compares the manifest with what was read.
    fn manifest(&mut self, member: &Member) -> Result<(String, u64), Error> {
        let mut said = Sha256::new();
        let mut left = member.stored;
        let mut sockets = 0;
        let mut outside = Vec::new();
        let mut end = None;
        let mut text = Vec::new();
        let all = self.sink.takes_lines();
        while left > 0 {
            text.clear();
            let read = self
                .from
                .take(left.min(LONGEST))
                .read_until(b'\n', &mut text)
                .map_err(Error::Reading)?;
            if read == 0 || !text.ends_with(b"\n") || end.is_some() {
                return Err(Error::Reading(broken("a manifest that is cut off")));
            }
            left -= read as u64;
            // What must be equal, byte by byte, to the line that was made of a member needs no other look at it.
            if !all && is_of_member(&text) {
                said.update(&text);
                continue;
            }
            let line: Line = serde_json::from_slice(&text).map_err(|error| {
                Error::Reading(io::Error::new(io::ErrorKind::InvalidData, error))
            })?;
            self.sink.line(&line)?;
            match line {
                Line::Entry(entry) if entry.kind == SOCKET => sockets += 1,
                Line::Entry(_) => said.update(&text),
                Line::Outside { path, links, found } => outside.push((path, links, found)),
                Line::End {
                    entries,
                    fingerprint,
                } => end = Some((entries, fingerprint)),
            }
        }
        tar::skip_padding(self.from, member.stored).map_err(Error::Reading)?;
        let differs = |what| Error::Reading(broken(what));
        let (entries, fingerprint) = end.ok_or_else(|| differs("a manifest that is cut off"))?;
        if said.finalize() != std::mem::take(&mut self.made).finalize()
            || entries != self.entries + sockets
        {
            return Err(differs("members that differ from its manifest"));
        }
        let mut seen: Vec<(Bytes, u32, u32)> = std::mem::take(&mut self.linked)
            .into_iter()
            .filter(|(_, (links, found))| found < links)
            .map(|(path, (links, found))| (Bytes::of(&path), links, found))
            .collect();
        seen.sort();
        outside.sort();
        // Names of sockets stand in the manifest alone.
        if sockets == 0 && seen != outside {
            return Err(differs("links that differ from its manifest"));
        }
        Ok((fingerprint, entries))
    }
}

/// Whether it can only be the line of a member, if it is one at all: one of an entry, and of no socket.
pub(super) fn is_of_member(line: &[u8]) -> bool {
    let Some(path) = line.strip_prefix(manifest::ENTRY) else {
        return false;
    };
    // What follows the path says what it is. No quote within a text is without a backslash before it.
    let (mut at, mut quotes) = (0, 0);
    let wanted = if path.starts_with(b"\"") { 2 } else { 4 };
    while quotes < wanted {
        match path.get(at) {
            Some(b'\\') => at += 1,
            Some(b'"') => quotes += 1,
            Some(_) => {}
            None => return false,
        }
        at += 1;
    }
    let rest = &path[at..];
    !rest
        .strip_prefix(b"}")
        .unwrap_or(rest)
        .starts_with(manifest::OF_SOCKET)
}

/// Whose home it is.
pub(crate) fn subject(file: File) -> Result<ArchivedAccount, Error> {
    let mut zstd = zstd::stream::read::Decoder::new(file).map_err(Error::Reading)?;
    first_member(&mut zstd)
}

fn first_member(from: &mut impl Read) -> Result<ArchivedAccount, Error> {
    let first = Member::read(from).map_err(Error::Reading)?;
    let first = first.filter(|it| it.path == SUBJECT.as_bytes() && it.stored < LONGEST);
    let first = first
        .ok_or_else(|| Error::Reading(broken("another first member than a muster archive has")))?;
    let mut text = Vec::new();
    from.by_ref()
        .take(first.stored)
        .read_to_end(&mut text)
        .map_err(Error::Reading)?;
    tar::skip_padding(from, first.stored).map_err(Error::Reading)?;
    let subject: ArchivedAccount = serde_json::from_slice(&text)
        .map_err(|error| Error::Reading(io::Error::new(io::ErrorKind::InvalidData, error)))?;
    if subject.format == FORMAT {
        Ok(subject)
    } else {
        Err(Error::Reading(broken(
            "a format that this version does not know",
        )))
    }
}

fn check_sum(pieces: &Pieces, map: u64, stored: u64) -> Result<(), Error> {
    let sum = pieces
        .iter()
        .try_fold(map, |sum, (_, length)| sum.checked_add(*length));
    if sum == Some(stored) {
        Ok(())
    } else {
        Err(Error::Reading(broken("a map of holes that makes no sense")))
    }
}

/// Whether a member lies where the members of a home do.
fn check(member: &Member) -> Result<(), Error> {
    let plain = |path: &[u8]| {
        path.split(|byte| *byte == b'/')
            .all(|it| !it.is_empty() && it != b"." && it != b"..")
            && !path.contains(&0)
            && (path == HOME.as_bytes() || path.starts_with(b"home/"))
    };
    if !plain(&member.path) || (member.kind == Type::Link && !plain(&member.link)) {
        return Err(Error::Reading(broken("a path that leads out of it")));
    }
    Ok(())
}

/// A pipeline: one thread reads and hashes the file, another decompresses, and the caller takes the text, so that neither
/// disk nor processor waits.
struct Ahead {
    text: Chunks,
    digest: Option<JoinHandle<([u8; 32], u64)>>,
    decompressed: Option<JoinHandle<()>>,
}

impl Ahead {
    fn start(from: impl Read + Send + 'static) -> Result<Self, Error> {
        let hashed = Hashed {
            from,
            hash: Sha256::new(),
            bytes: 0,
        };
        let (raw, digest) = beside(hashed, |it| (it.hash.finalize().into(), it.bytes))?;
        let zstd = zstd::stream::read::Decoder::with_buffer(raw).map_err(Error::Reading)?;
        let (text, decompressed) = beside(zstd, drop)?;
        Ok(Self {
            text,
            digest: Some(digest),
            decompressed: Some(decompressed),
        })
    }

    /// Digest and size of the file, once all of it was read.
    fn finish(mut self) -> Result<([u8; 32], u64), Error> {
        self.text.from = None;
        let thread = self.digest.take().expect("BUG: finished once");
        thread
            .join()
            .map_err(|_| Error::Reading(io::Error::other("BUG: the reader panicked")))
    }
}

impl Drop for Ahead {
    fn drop(&mut self) {
        // Each thread ends when nobody takes what it hands on.
        self.text.from = None;
        if let Some(thread) = self.decompressed.take() {
            let _ = thread.join();
        }
        if let Some(thread) = self.digest.take() {
            let _ = thread.join();
        }
    }
}

/// Reads `from` in a thread of its own, a few buffers ahead; what `last` makes of it is what the thread ends with.
fn beside<R: Read + Send + 'static, T: Send + 'static>(
    mut from: R,
    last: impl FnOnce(R) -> T + Send + 'static,
) -> Result<(Chunks, JoinHandle<T>), Error> {
    let (to, chunks) = sync_channel(AHEAD);
    let (back, empty) = channel::<Vec<u8>>();
    let thread = std::thread::Builder::new()
        .name("archive".to_owned())
        .spawn(move || {
            loop {
                // The same few buffers go round: new ones would have to be cleared by the kernel.
                let mut buffer = empty.try_recv().unwrap_or_else(|_| vec![0; CHUNK]);
                let read = fill(&mut from, &mut buffer).map(|length| (buffer, length));
                let is_last = read.as_ref().map_or(true, |(_, length)| *length == 0);
                if to.send(read).is_err() || is_last {
                    return last(from);
                }
            }
        });
    let chunks = Chunks {
        from: Some(chunks),
        back,
        chunk: Vec::new(),
        length: 0,
        at: 0,
    };
    Ok((chunks, thread.map_err(Error::Reading)?))
}

/// Reads until the buffer is full, or nothing is left.
fn fill(from: &mut impl Read, buffer: &mut [u8]) -> io::Result<usize> {
    let mut filled = 0;
    while filled < buffer.len() {
        match from.read(&mut buffer[filled..]) {
            Ok(0) => break,
            Ok(read) => filled += read,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(filled)
}

/// A buffer, and how much of it is filled.
type Filled = (Vec<u8>, usize);

/// What another thread reads. An empty chunk is the end.
struct Chunks {
    from: Option<Receiver<io::Result<Filled>>>,
    back: Sender<Vec<u8>>,
    chunk: Vec<u8>,
    length: usize,
    at: usize,
}

impl BufRead for Chunks {
    fn fill_buf(&mut self) -> io::Result<&[u8]> {
        if self.at == self.length
            && let Some(from) = &self.from
        {
            let done = std::mem::take(&mut self.chunk);
            (self.at, self.length) = (0, 0);
            if !done.is_empty() {
                // Nobody waits for it at the end.
                let _ = self.back.send(done);
            }
            if let Ok(next) = from.recv() {
                (self.chunk, self.length) = next?;
            }
        }
        Ok(&self.chunk[self.at..self.length])
    }

    fn consume(&mut self, amount: usize) {
        self.at = (self.at + amount).min(self.length);
    }
}

impl Read for Chunks {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let chunk = self.fill_buf()?;
        let length = chunk.len().min(buffer.len());
        buffer[..length].copy_from_slice(&chunk[..length]);
        self.consume(length);
        Ok(length)
    }
}

impl BufRead for Ahead {
    fn fill_buf(&mut self) -> io::Result<&[u8]> {
        self.text.fill_buf()
    }

    fn consume(&mut self, amount: usize) {
        self.text.consume(amount);
    }
}

impl Read for Ahead {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.text.read(buffer)
    }
}

struct Hashed<R> {
    from: R,
    hash: Sha256,
    bytes: u64,
}

impl<R: Read> Read for Hashed<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let length = self.from.read(buffer)?;
        self.hash.update(&buffer[..length]);
        self.bytes += length as u64;
        Ok(length)
    }
}
