//! One file of the journal: made, read, and appended to.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

use nix::errno::Errno;
use nix::fcntl::{FallocateFlags, OFlag, fallocate};

use super::format::{Chain, HASH_BYTES, HEADER_BYTES, Header, NoHeader, PREFIX_BYTES, record};
use super::{ENTRY_LIMIT, JournalError, file_name, new_file_name};

/// What a segment needs of a file; the tests put one in its place that fails.
pub(super) trait Medium: std::fmt::Debug + Send {
    /// Appends all of `bytes` in one call; less was written when it errs.
    fn append(&mut self, bytes: &[u8]) -> io::Result<()>;
    /// Makes everything appended durable.
    fn sync(&mut self) -> io::Result<()>;
    /// Cuts back to `len`.
    fn cut(&mut self, len: u64) -> io::Result<()>;
    /// Makes sure that the file can grow to `len` on a full disk. `len` does not become its length.
    fn reserve(&mut self, len: u64) -> io::Result<()>;
}

impl Medium for File {
    fn append(&mut self, bytes: &[u8]) -> io::Result<()> {
        match self.write(bytes)? {
            written if written == bytes.len() => Ok(()),
            // The next call would say why; that it was short is enough.
            _ => Err(io::ErrorKind::StorageFull.into()),
        }
    }

    fn sync(&mut self) -> io::Result<()> {
        self.sync_data()
    }

    fn cut(&mut self, len: u64) -> io::Result<()> {
        self.set_len(len)
    }

    fn reserve(&mut self, len: u64) -> io::Result<()> {
        let len = i64::try_from(len).map_err(|_| io::ErrorKind::FileTooLarge)?;
        match fallocate(&*self, FallocateFlags::FALLOC_FL_KEEP_SIZE, 0, len) {
            Ok(()) => Ok(()),
            // Not every file system can; then there is no reserve, and writes are checked as ever.
            Err(Errno::EOPNOTSUPP | Errno::ENOSYS) => Ok(()),
            Err(errno) => Err(errno.into()),
        }
    }
}

/// The segment that is written.
#[derive(Debug)]
pub(super) struct Segment {
    path: PathBuf,
    number: u64,
    medium: Box<dyn Medium>,
    len: u64,
    reserved: u64,
    end: Chain,
}

/// The room that is kept behind a record, in bytes.
#[derive(Clone, Copy, Debug)]
pub(super) struct Room {
    /// As a rule.
    pub(super) usual: u64,
    /// On a full disk: enough for the outcome of the record's steps.
    pub(super) least: u64,
}

/// Whether there is no more room for this user on the file system.
pub(super) fn is_full(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded
    )
}

/// How an append came out.
#[must_use = "an entry that is not durable permits nothing"]
pub(super) enum Appended {
    /// It is on disk.
    Durable,
    /// It is not, and the file is as it was.
    Undone(JournalError),
    /// Nobody can say.
    Unknown(JournalError),
}

impl Segment {
    /// Makes a segment with nothing but a header. It has its name only when the header is durable.
    pub(super) fn create(dir: &Path, number: u64, header: &Header) -> Result<Self, JournalError> {
        let fresh = dir.join(new_file_name(number));
        let path = dir.join(file_name(number));
        match fs::remove_file(&fresh) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                return Err(JournalError::io("remove", &fresh)(error));
            }
            _ => {}
        }
        let mut file = options()
            .create_new(true)
            .open(&fresh)
            .map_err(JournalError::io("create", &fresh))?;
        let line = header.line();
        file.append(&line)
            .map_err(JournalError::io("write", &fresh))?;
        file.sync_all().map_err(JournalError::io("sync", &fresh))?;
        fs::rename(&fresh, &path).map_err(JournalError::io("rename", &fresh))?;
        sync_dir(dir)?;
        let len = line.len() as u64;
        Ok(Self {
            path,
            number,
            medium: Box::new(file),
            len,
            reserved: 0,
            end: header.chain.clone(),
        })
    }

    /// Goes on with the last segment, without what was never finished.
    pub(super) fn resume(dir: &Path, number: u64, tail: Tail) -> Result<Self, JournalError> {
        let path = dir.join(file_name(number));
        let file = options()
            .open(&path)
            .map_err(JournalError::io("open", &path))?;
        let Tail { len, torn, end } = tail;
        if torn > 0 {
            file.set_len(len)
                .map_err(JournalError::io("cut back", &path))?;
        }
        // What was read may never have been synced by the process that wrote it; from here on it is counted upon.
        file.sync_all().map_err(JournalError::io("sync", &path))?;
        Ok(Self {
            path,
            number,
            medium: Box::new(file),
            len,
            reserved: 0,
            end,
        })
    }

    pub(super) fn number(&self) -> u64 {
        self.number
    }

    pub(super) fn len(&self) -> u64 {
        self.len
    }

    pub(super) fn end(&self) -> Chain {
        self.end.clone()
    }

    /// Appends one record and makes it durable; afterwards at least `room.least` more bytes can be written on a full disk.
    pub(super) fn append(&mut self, payload: &[u8], room: Option<Room>) -> Appended {
        let (bytes, end) = record(&self.end, payload);
        let len = self.len + bytes.len() as u64;
        if let Some(room) = room
            && len + room.usual > self.reserved
            && let Err(error) = self.keep_room(len, room)
        {
            return Appended::Undone(JournalError::io("keep room in", &self.path)(error));
        }
        if let Err(error) = self.medium.append(&bytes) {
            let failed = JournalError::io("append to", &self.path)(error);
            return match self.medium.cut(self.len) {
                Ok(()) => {
                    // Cutting gives the reserve back as well.
                    self.reserved = 0;
                    Appended::Undone(failed)
                }
                Err(_) => Appended::Unknown(failed),
            };
        }
        // After a failed sync the kernel may have dropped the pages and call them clean: a second sync proves nothing.
        if let Err(error) = self.medium.sync() {
            return Appended::Unknown(JournalError::io("sync", &self.path)(error));
        }
        self.len = len;
        self.end = end;
        Appended::Durable
    }

    /// Reserves room behind `len`: four times the usual at once, so that a run of small records asks seldom; on a full disk what
    /// there is. What was reserved before is not asked for again: so the records go on for as long as it lasts (F12).
    fn keep_room(&mut self, len: u64, room: Room) -> io::Result<()> {
        let mut refused = None;
        for more in [4 * room.usual, room.usual, room.least] {
            if len + more <= self.reserved {
                return Ok(());
            }
            match self.medium.reserve(len + more) {
                Ok(()) => {
                    self.reserved = len + more;
                    return Ok(());
                }
                Err(error) if is_full(&error) => refused = Some(error),
                Err(error) => return Err(error),
            }
        }
        Err(refused.expect("it was asked for three times"))
    }

    #[cfg(test)]
    pub(super) fn replace_medium(&mut self, wrap: impl FnOnce(Box<dyn Medium>) -> Box<dyn Medium>) {
        let nothing: Box<dyn Medium> = Box::new(tempfile::tempfile().unwrap());
        let medium = std::mem::replace(&mut self.medium, nothing);
        self.medium = wrap(medium);
    }
}

fn options() -> OpenOptions {
    let mut options = OpenOptions::new();
    options
        .append(true)
        .mode(0o600)
        .custom_flags((OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC).bits());
    options
}

/// Makes names in `dir` durable.
pub(super) fn sync_dir(dir: &Path) -> Result<(), JournalError> {
    File::open(dir)
        .and_then(|it| it.sync_all())
        .map_err(JournalError::io("sync", dir))
}

/// The bytes of a segment.
pub(super) struct OnDisk {
    path: PathBuf,
    bytes: Vec<u8>,
}

impl OnDisk {
    pub(super) fn read(path: &Path) -> Result<Self, JournalError> {
        let mut options = OpenOptions::new();
        options
            .read(true)
            .custom_flags((OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC).bits());
        let mut file = options.open(path).map_err(JournalError::io("open", path))?;
        let mut bytes = Vec::new();
        io::Read::read_to_end(&mut file, &mut bytes).map_err(JournalError::io("read", path))?;
        Ok(Self {
            path: path.to_owned(),
            bytes,
        })
    }

    pub(super) fn header(&self) -> Result<Header, JournalError> {
        Header::parse(&self.bytes).map_err(|why| match why {
            NoHeader::Newer(found) => JournalError::Newer {
                path: self.path.clone(),
                found,
            },
            NoHeader::Damaged => JournalError::Damaged {
                path: self.path.clone(),
                offset: 0,
                what: "the header is not what was written".into(),
            },
        })
    }

    pub(super) fn records(&self, header: Header) -> Records<'_> {
        Records {
            segment: self,
            offset: HEADER_BYTES,
            chain: header.chain,
        }
    }
}

/// A whole record.
pub(super) struct Record<'b> {
    pub(super) offset: u64,
    pub(super) payload: &'b [u8],
    /// The chain after it.
    pub(super) chain: Chain,
}

/// Reads one record after another.
pub(super) struct Records<'b> {
    segment: &'b OnDisk,
    offset: usize,
    chain: Chain,
}

/// Where a segment ends.
pub(super) struct Tail {
    /// How many bytes are good.
    pub(super) len: u64,
    /// How many behind them are not.
    pub(super) torn: u64,
    pub(super) end: Chain,
}

impl<'b> Records<'b> {
    /// The next record. In the last segment, `None` also where a record begins that is not all there.
    pub(super) fn next_record(
        &mut self,
        in_last_segment: bool,
    ) -> Result<Option<Record<'b>>, JournalError> {
        let rest = &self.segment.bytes[self.offset..];
        if rest.is_empty() {
            return Ok(None);
        }
        let Some((payload, hash)) = self.split(rest)? else {
            return if in_last_segment {
                Ok(None)
            } else {
                Err(self
                    .damaged("the segment ends in the middle of a record, and is not the last one"))
            };
        };
        let chain = self.chain.after(payload);
        if chain.hash != hash {
            return Err(self.damaged(
                "a record is not what was written, or does not follow the one before it",
            ));
        }
        let offset = self.offset as u64;
        self.offset += PREFIX_BYTES + payload.len() + HASH_BYTES;
        self.chain = chain.clone();
        Ok(Some(Record {
            offset,
            payload,
            chain,
        }))
    }

    /// Payload and hash of the record that begins here; `None` when it is not all there.
    #[expect(
        clippy::type_complexity,
        reason = "two slices, and the two ways of not having them"
    )]
    fn split(&self, rest: &'b [u8]) -> Result<Option<(&'b [u8], &'b [u8])>, JournalError> {
        // The file grew and nothing arrived: the sector was never written.
        if rest.iter().all(|byte| *byte == 0) {
            return Ok(None);
        }
        let Some((prefix, behind)) = rest.split_at_checked(PREFIX_BYTES) else {
            return Ok(None);
        };
        let (length, check) = prefix.split_at(4);
        let length: [u8; 4] = length.try_into().expect("split at four");
        if self.chain.check_of(length) != check {
            // Nor did anything arrive behind it: the write was torn inside these few bytes.
            if !behind.is_empty() && behind.iter().all(|byte| *byte == 0) {
                return Ok(None);
            }
            return Err(self.damaged("the length of a record is not what was written"));
        }
        let length = u32::from_le_bytes(length) as usize;
        if length > ENTRY_LIMIT {
            return Err(self.damaged("a record is longer than any that is written"));
        }
        let Some((payload, behind)) = behind.split_at_checked(length) else {
            return Ok(None);
        };
        let Some((hash, behind)) = behind.split_at_checked(HASH_BYTES) else {
            return Ok(None);
        };
        if behind.is_empty() && self.never_arrived(payload, hash) {
            return Ok(None);
        }
        Ok(Some((payload, hash)))
    }

    /// Whether the end of the last record is zeros instead of a hash: the file grew, and the data did not follow.
    fn never_arrived(&self, payload: &[u8], hash: &[u8]) -> bool {
        let arrived = hash.len() - hash.iter().rev().take_while(|byte| **byte == 0).count();
        // A hash may well end in a zero or two; four are taken for a hole, never a single damaged byte.
        let hole = hash.len() - arrived >= 4;
        let whole = self.chain.after(payload).hash;
        hole && whole != hash && (arrived == 0 || whole[..arrived] == hash[..arrived])
    }

    fn damaged(&self, what: &str) -> JournalError {
        JournalError::Damaged {
            path: self.segment.path.clone(),
            offset: self.offset as u64,
            what: what.to_owned(),
        }
    }

    /// Where the good part ends, once there is no next record.
    pub(super) fn tail(self) -> Tail {
        let len = self.offset as u64;
        Tail {
            len,
            torn: self.segment.bytes.len() as u64 - len,
            end: self.chain,
        }
    }
}
