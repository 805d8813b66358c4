//! The journal of one executor on disk.
//!
//! A directory of segments, `00000001.log` and on. A segment is a header line, which says the number of its first record
//! and the chain's value before it, and then records one after another:
//!
//! ```text
//! u32 length ‖ u32 check of the length ‖ payload (JSON of one entry) ‖ 32 bytes: SHA-256(chain before ‖ length ‖ payload)
//! ```
//!
//! The hash is both checksum and chain. The length has a check of its own: otherwise a damaged length of the last record
//! would look like one that was never finished, and a record that was already counted upon would be dropped in silence.
//!
//! What a crash can leave behind is a last record that is not all there; it was never counted upon, and is dropped.
//! Everything else that does not fit is damage: muster stops and says where. Corrupt is not absent.

mod format;
mod segment;

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use muster_core::commit::CommitId;
use muster_core::facts::Facts;
use muster_core::journal::{Authority, Entry, Open, OutOfOrder, Replayed};
use muster_core::ledger::Through;
use muster_core::time::Time;
use muster_git::folder;

use crate::state_dir::mark::Mark;
pub use format::FORMAT;
use format::{Chain, Header};
use segment::{Appended, OnDisk, Room, Segment, Tail, is_full};

/// A segment that has grown beyond this many bytes is followed by a new one.
pub const SEGMENT_BYTES: u64 = 8 << 20;

/// A last segment that the ledger contains whole is replaced by an empty one when it is longer than this: every start
/// reads what is there.
pub const CONTAINED_BYTES: u64 = 256 << 10;

/// The longest entry that is written or read.
pub const ENTRY_LIMIT: usize = 256 << 20;

/// Room kept on disk beyond the end of the last segment, so that what was begun can be recorded to its end on a full disk.
const RESERVE: u64 = 256 << 10;
/// What of it there has to be on a full disk.
const LEAST_RESERVE: u64 = 16 << 10;

/// Room kept for the result of one step.
const RESERVE_PER_STEP: u64 = 512;

/// A journal that cannot be used, or could not be written.
#[derive(Debug, thiserror::Error)]
pub enum JournalError {
    /// The system said no.
    #[error("cannot {act} {}", path.display())]
    Io {
        /// What was tried.
        act: &'static str,
        /// On what.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// There is none.
    #[error("there is no journal in {}", .0.display())]
    Absent(PathBuf),
    /// Bytes are not what was written.
    #[error("the journal is damaged: {}, byte {offset}: {what}", path.display())]
    Damaged {
        /// The segment.
        path: PathBuf,
        /// Where in it, from 0.
        offset: u64,
        /// How it shows.
        what: String,
    },
    /// Written by a newer version.
    #[error("{} was written by a newer version of muster (format {found}, and this one writes {FORMAT})", path.display())]
    Newer {
        /// The segment.
        path: PathBuf,
        /// Its format.
        found: String,
    },
    /// A whole record that this version does not understand.
    #[error("record {sequence} of the journal ({}, byte {offset}) is intact and not understood: a newer version of muster wrote it", path.display())]
    NotUnderstood {
        /// The segment.
        path: PathBuf,
        /// Where in it.
        offset: u64,
        /// Its number.
        sequence: u64,
        /// What the reader said.
        source: serde_json::Error,
    },
    /// A whole record in a place where it cannot stand.
    #[error("record {sequence} of the journal ({}, byte {offset}) cannot stand there", path.display())]
    OutOfOrder {
        /// The segment.
        path: PathBuf,
        /// Where in it.
        offset: u64,
        /// Its number.
        sequence: u64,
        /// Why not.
        source: OutOfOrder,
    },
    /// The ledger tells of records that the journal does not have: it was put back from a backup.
    #[error("the ledger contains record {ledger}, and the journal in {} ends with record {journal}", dir.display())]
    Behind {
        /// The journal.
        dir: PathBuf,
        /// Its last record.
        journal: u64,
        /// The ledger's last record.
        ledger: u64,
    },
    /// Records between the ledger and the journal are gone.
    #[error("the ledger ends with record {ledger}, and the journal in {} begins with record {journal}", dir.display())]
    Gap {
        /// The journal.
        dir: PathBuf,
        /// Its first record.
        journal: u64,
        /// The ledger's last record.
        ledger: u64,
    },
    /// The ledger was made from another journal than this one.
    #[error("the journal in {} and the ledger tell different stories from record {sequence} on", dir.display())]
    Forked {
        /// The journal.
        dir: PathBuf,
        /// The record that both have and that differs.
        sequence: u64,
    },
    /// An entry beyond [`ENTRY_LIMIT`].
    #[error("an entry of {0} bytes is too long for the journal")]
    TooLong(usize),
    /// An earlier write may or may not have reached the disk.
    #[error("an earlier write to the journal failed, so what is on disk is not known")]
    Poisoned,
}

impl JournalError {
    fn io(act: &'static str, path: &Path) -> impl FnOnce(io::Error) -> Self {
        move |source| Self::Io {
            act,
            path: path.to_owned(),
            source,
        }
    }

    /// What a person can do about it.
    pub fn help(&self) -> String {
        match self {
            Self::Io { .. } => "make room or repair the disk; nothing was done without a record".into(),
            Self::Absent(_) => "an executor without its journal has lost its memory: `muster status` says what is known".into(),
            Self::Damaged { path, .. } => format!(
                "keep a copy of {0} and look at the disk; then put {0} back from a backup that is as new as the ledger, or move it \
                 away: without a journal muster goes on from the ledger and holds everything that is not benign",
                path.parent().unwrap_or(path).display()
            ),
            Self::Newer { .. } | Self::NotUnderstood { .. } => "install that version; this one changes nothing here".into(),
            Self::OutOfOrder { .. } => "keep a copy and report it: muster never writes that".into(),
            Self::Gap { dir, .. } => format!(
                "put a newer ledger.git back, from its remote or a backup: what ran since is in neither of the two. With {0} moved \
                 away muster would go on from what the ledger says, and bring back whoever left since",
                dir.display()
            ),
            Self::Behind { dir, .. } | Self::Forked { dir, .. } => format!(
                "was {0} put back from a backup? Move it away: muster then goes on from the ledger and holds everything that is not benign",
                dir.display()
            ),
            Self::TooLong(_) => "make the change in smaller commits".into(),
            Self::Poisoned => "restart muster once the disk is well: it reads back what really is there".into(),
        }
    }
}

/// An open journal; only one process has one, by the lock of the state directory.
#[derive(Debug)]
pub struct Journal {
    dir: PathBuf,
    /// Every segment but the last, with the number of its last record.
    full: Vec<(u64, u64)>,
    last: Segment,
    /// The segment with the intent that no outcome has closed yet.
    open_in: Option<u64>,
    segment_bytes: u64,
    poisoned: bool,
    /// What tells an older copy of all this from the newest.
    mark: Option<Mark>,
    /// Whether a decision was recorded that the mark does not tell of yet.
    unmarked: bool,
}

/// A journal, what it says, and what was dropped.
#[derive(Debug)]
pub struct Opened {
    /// Ready for the next entry.
    pub journal: Journal,
    /// The ledger's facts folded with the journal's tail.
    pub replayed: Replayed,
    /// How many bytes of a record that was never finished were dropped.
    pub torn: u64,
}

impl Journal {
    /// Begins a journal in `dir`, which must have none, behind record `after`; `first` is its first entry.
    ///
    /// # Errors
    /// [`JournalError`]; the directory may then hold an unfinished file that the next attempt replaces.
    pub fn create(dir: &Path, after: &Through, first: &Entry) -> Result<Self, JournalError> {
        if let Some((number, _)) = list(dir)?.first() {
            let path = dir.join(file_name(*number));
            return Err(JournalError::Io {
                act: "create",
                path,
                source: io::ErrorKind::AlreadyExists.into(),
            });
        }
        let chain = Chain::parse(after).ok_or_else(|| JournalError::Forked {
            dir: dir.to_owned(),
            sequence: after.sequence,
        })?;
        let header = Header {
            first: after.sequence + 1,
            chain,
        };
        let last = Segment::create(dir, 1, &header)?;
        let mut journal = Self {
            dir: dir.to_owned(),
            full: Vec::new(),
            last,
            open_in: None,
            segment_bytes: SEGMENT_BYTES,
            poisoned: false,
            mark: None,
            unmarked: false,
        };
        journal.append_entry(first)?;
        Ok(journal)
    }

    /// Opens the journal in `dir` and folds it onto the `ledger`, dropping a last record that was never finished.
    ///
    /// # Errors
    /// [`JournalError`]; nothing was changed then.
    pub fn open(dir: &Path, mut ledger: Option<(Facts, Through)>) -> Result<Opened, JournalError> {
        Self::open_taking(dir, &mut ledger)
    }

    /// The same, with a ledger that stays with the caller when the two do not fit ([`JournalError::Behind`],
    /// [`JournalError::Gap`]): what is known of many people is large, and one copy is enough.
    ///
    /// # Errors
    /// As for [`Journal::open`].
    pub fn open_taking(
        dir: &Path,
        ledger: &mut Option<(Facts, Through)>,
    ) -> Result<Opened, JournalError> {
        let Read {
            replayed,
            mut segments,
            open_in,
            tail,
        } = read_all(dir, ledger)?;
        for (number, _) in leftovers(dir)? {
            let path = dir.join(new_file_name(number));
            fs::remove_file(&path).map_err(JournalError::io("remove", &path))?;
        }
        let Some((number, _)) = segments.pop() else {
            return Err(JournalError::Absent(dir.to_owned()));
        };
        let torn = tail.torn;
        let last = Segment::resume(dir, number, tail)?;
        let journal = Self {
            dir: dir.to_owned(),
            full: segments,
            last,
            open_in,
            segment_bytes: SEGMENT_BYTES,
            poisoned: false,
            mark: None,
            unmarked: false,
        };
        Ok(Opened {
            journal,
            replayed,
            torn,
        })
    }

    /// Drops every segment whose records a ledger commit through `ledger` contains, save the last one. Says how many.
    ///
    /// Call it only when that commit is durable, and pushed where a remote is set.
    ///
    /// # Errors
    /// [`JournalError::Behind`] when the ledger claims more than there is; otherwise when a file could not be removed.
    pub fn truncate_through(&mut self, ledger: &Through) -> Result<usize, JournalError> {
        let end = self.last.end();
        if ledger.sequence > end.sequence {
            return Err(JournalError::Behind {
                dir: self.dir.clone(),
                journal: end.sequence,
                ledger: ledger.sequence,
            });
        }
        let mut dropped = 0;
        // Oldest first, and never one behind which an older one stays: a crash in between leaves no gap.
        while let Some((number, last_record)) = self.full.first().copied() {
            if last_record > ledger.sequence || self.open_in.is_some_and(|open| open <= number) {
                break;
            }
            let path = self.dir.join(file_name(number));
            fs::remove_file(&path).map_err(JournalError::io("remove", &path))?;
            self.full.remove(0);
            dropped += 1;
        }
        if dropped > 0 {
            segment::sync_dir(&self.dir)?;
        }
        Ok(dropped)
    }

    /// Begins a new last segment behind the present one.
    fn begin_segment(&mut self) -> Result<(), JournalError> {
        let end = self.last.end();
        let number = self.last.number() + 1;
        let next = Segment::create(
            &self.dir,
            number,
            &Header {
                first: end.sequence + 1,
                chain: end,
            },
        )?;
        let full = std::mem::replace(&mut self.last, next);
        self.full.push((full.number(), full.end().sequence));
        Ok(())
    }

    /// A segment may be longer than it should: on a full disk the one that there is has its room.
    fn begin_segment_if_there_is_room(&mut self) -> Result<(), JournalError> {
        match self.begin_segment() {
            Err(JournalError::Io { source, .. }) if is_full(&source) => Ok(()),
            begun => begun,
        }
    }

    fn append_entry(&mut self, entry: &Entry) -> Result<(), JournalError> {
        if self.poisoned {
            return Err(JournalError::Poisoned);
        }
        let payload = serde_json::to_vec(entry).expect("plain records always serialise");
        if payload.len() > ENTRY_LIMIT {
            return Err(JournalError::TooLong(payload.len()));
        }
        // An outcome never waits for a new segment: room for it was kept in this one.
        if self.last.len() >= self.segment_bytes && !matches!(entry, Entry::Outcome { .. }) {
            self.begin_segment_if_there_is_room()?;
        }
        let room = |steps: usize| {
            let steps = RESERVE_PER_STEP * steps as u64;
            Room {
                usual: RESERVE + steps,
                least: LEAST_RESERVE + steps,
            }
        };
        let room = match entry {
            Entry::Intended { steps, .. } => Some(room(steps.len())),
            Entry::Outcome { .. } => None,
            _ => Some(room(0)),
        };
        if matches!(entry, Entry::Intended { .. }) {
            self.mark_durably()?;
        }
        match self.last.append(&payload, room) {
            Appended::Durable => {}
            Appended::Undone(error) => return Err(error),
            Appended::Unknown(error) => {
                self.poisoned = true;
                return Err(error);
            }
        }
        match entry {
            Entry::Intended { .. } => self.open_in = Some(self.last.number()),
            Entry::Outcome { .. } => self.open_in = None,
            _ => {}
        }
        self.mark_decision(entry);
        Ok(())
    }

    /// Keeps a mark from here on, which reaches to the last record.
    pub(crate) fn keep(&mut self, mark: Mark) {
        self.mark = Some(mark);
        self.unmarked = false;
    }

    /// Has the mark tell of every decision so far: before the first effect of one.
    fn mark_durably(&mut self) -> Result<(), JournalError> {
        if !self.unmarked {
            return Ok(());
        }
        if let Some(mark) = &mut self.mark {
            mark.write(&self.last.end().through())
                .map_err(JournalError::io("write", mark.path()))?;
        }
        self.unmarked = false;
        Ok(())
    }

    /// Notes that an entry is a decision, which the mark is to tell of. One that no effect may follow is marked at once; where that
    /// fails, it is marked before the next effect.
    fn mark_decision(&mut self, entry: &Entry) {
        let at_once = match entry {
            Entry::Genesis { .. } | Entry::Adopted { .. } | Entry::Claimed { .. } => false,
            Entry::Frozen { .. }
            | Entry::Reset { .. }
            | Entry::Trusted { .. }
            | Entry::Suspended { .. }
            | Entry::Resumed { .. }
            | Entry::ClockAccepted { .. } => true,
            Entry::Attempted { .. }
            | Entry::Finished { .. }
            | Entry::Refused { .. }
            | Entry::Intended { .. }
            | Entry::Marked { .. }
            | Entry::Outcome { .. } => return,
        };
        let nonce = match entry {
            Entry::Claimed { claim, .. } => Some(claim.nonce),
            Entry::Reset { nonce, .. } => *nonce,
            _ => None,
        };
        if let (Some(mark), Some(nonce)) = (&mut self.mark, nonce) {
            mark.add(nonce);
        }
        self.unmarked = true;
        if at_once && let Err(error) = self.mark_durably() {
            tracing::warn!(error = %error, "What was decided is not marked outside the state directory yet.");
        }
    }
}

impl muster_core::world::Journal for Journal {
    type Error = JournalError;

    fn append(&mut self, entry: &Entry) -> Result<(), JournalError> {
        self.append_entry(entry)
    }

    fn through(&self) -> Through {
        self.last.end().through()
    }

    fn release(&mut self, through: &Through) -> Result<(), JournalError> {
        let is_contained = self.open_in.is_none() && self.last.end().through() == *through;
        if is_contained && self.last.len() > CONTAINED_BYTES {
            self.begin_segment_if_there_is_room()?;
        }
        self.truncate_through(through).map(drop)
    }
}

/// Reads the journal in `dir` without changing anything: for those who look while another process writes.
/// A ledger that does not fit stays with the caller, as for [`Journal::open_taking`].
///
/// # Errors
/// [`JournalError`], as for [`Journal::open`].
pub fn read(dir: &Path, ledger: &mut Option<(Facts, Through)>) -> Result<Replayed, JournalError> {
    read_to_the_end(dir, ledger).map(|it| it.0)
}

/// The same, and how far the journal reaches.
///
/// # Errors
/// As for [`read()`].
pub fn read_to_the_end(
    dir: &Path,
    ledger: &mut Option<(Facts, Through)>,
) -> Result<(Replayed, Through), JournalError> {
    read_all(dir, ledger).map(|it| (it.replayed, it.tail.end.through()))
}

/// Whether the journal in `dir` says no more than that it was begun, if it says anything.
///
/// # Errors
/// [`JournalError`] when it is there and cannot be read.
pub fn has_no_history(dir: &Path) -> Result<bool, JournalError> {
    match read_all(dir, &mut None) {
        Ok(Read { tail, .. }) => Ok(tail.end.sequence <= 1),
        Err(JournalError::Absent(_)) => Ok(true),
        Err(error) => Err(error),
    }
}

/// The commit that was enforced last, as far as the journal in `dir` tells of one. Asks for no ledger: for a journal that
/// does not fit the one there is.
///
/// # Errors
/// [`JournalError`] when a record cannot be read.
pub fn latest_commit(dir: &Path) -> Result<Option<CommitId>, JournalError> {
    let mut latest = None;
    let listed = list(dir)?;
    let last_number = listed.last().map(|(number, _)| *number);
    for (number, path) in listed {
        let on_disk = OnDisk::read(&path)?;
        let mut records = on_disk.records(on_disk.header()?);
        while let Some(record) = records.next_record(Some(number) == last_number)? {
            let entry = serde_json::from_slice(record.payload).map_err(|source| {
                JournalError::NotUnderstood {
                    path: path.clone(),
                    offset: record.offset,
                    sequence: record.chain.sequence,
                    source,
                }
            })?;
            match entry {
                Entry::Genesis { adopt: commit, .. }
                | Entry::Adopted { commit, .. }
                | Entry::Reset { commit, .. }
                | Entry::Intended {
                    authority: Authority::Benign { commit } | Authority::Released { commit, .. },
                    ..
                } => latest = Some(commit),
                _ => {}
            }
        }
    }
    Ok(latest)
}

/// When each record of the journal in `dir` was written, in their order. Asks for no ledger.
///
/// # Errors
/// [`JournalError`] when a record cannot be read.
pub fn moments(dir: &Path) -> Result<Vec<Time>, JournalError> {
    let mut moments = Vec::new();
    let listed = list(dir)?;
    let last_number = listed.last().map(|(number, _)| *number);
    for (number, path) in listed {
        let on_disk = OnDisk::read(&path)?;
        let mut records = on_disk.records(on_disk.header()?);
        while let Some(record) = records.next_record(Some(number) == last_number)? {
            let entry: Entry = serde_json::from_slice(record.payload).map_err(|source| {
                JournalError::NotUnderstood {
                    path: path.clone(),
                    offset: record.offset,
                    sequence: record.chain.sequence,
                    source,
                }
            })?;
            moments.push(entry.at());
        }
    }
    Ok(moments)
}

/// Whether there is a journal in `dir`.
///
/// # Errors
/// When the directory could not be listed; that is not the same as empty.
pub fn exists(dir: &Path) -> Result<bool, JournalError> {
    list(dir).map(|segments| !segments.is_empty())
}

struct Read {
    replayed: Replayed,
    /// Number of each segment and of its last record.
    segments: Vec<(u64, u64)>,
    open_in: Option<u64>,
    tail: Tail,
}

/// Takes `ledger`; where it does not fit, no record was applied to it, and it is put back as it was.
fn read_all(dir: &Path, ledger: &mut Option<(Facts, Through)>) -> Result<Read, JournalError> {
    let listed = list(dir)?;
    let Some(first_number) = listed.first().map(|(number, _)| *number) else {
        return Err(JournalError::Absent(dir.to_owned()));
    };
    let (facts, through) = match ledger.take() {
        Some((facts, through)) => (Some(facts), through),
        None => (None, Through::default()),
    };
    let mut replayed = facts.map(Replayed::from_ledger);
    let mut segments: Vec<(u64, u64)> = Vec::new();
    let mut end: Option<Chain> = None;
    let mut open_in = None;
    let mut tail = None;
    let last_number = listed.last().map_or(first_number, |(number, _)| *number);

    for (expected, (number, path)) in (first_number..).zip(listed) {
        if number != expected {
            let path = dir.join(file_name(expected));
            return Err(JournalError::Damaged {
                path,
                offset: 0,
                what: "this segment is missing".into(),
            });
        }
        let on_disk = OnDisk::read(&path)?;
        let header = on_disk.header()?;
        match &end {
            None => {
                if header.first > through.sequence + 1 {
                    let misfit = JournalError::Gap {
                        dir: dir.to_owned(),
                        journal: header.first,
                        ledger: through.sequence,
                    };
                    *ledger = replayed.map(|it| (it.facts, through));
                    return Err(misfit);
                }
                check_fork(dir, &header.chain, &through)?;
            }
            Some(end) if header.first != end.sequence + 1 || header.chain != *end => {
                let what = "the header does not follow the segment before it".into();
                return Err(JournalError::Damaged {
                    path,
                    offset: 0,
                    what,
                });
            }
            Some(_) => {}
        }
        let mut records = on_disk.records(header);
        while let Some(record) = records.next_record(number == last_number)? {
            let sequence = record.chain.sequence;
            let (path, offset) = (&path, record.offset);
            let entry: Entry = serde_json::from_slice(record.payload).map_err(|source| {
                JournalError::NotUnderstood {
                    path: path.clone(),
                    offset,
                    sequence,
                    source,
                }
            })?;
            if sequence <= through.sequence {
                // The ledger has taken this in. Only whether a batch is open is not in its facts.
                if let Some(replayed) = &mut replayed {
                    match &entry {
                        Entry::Intended {
                            steps, authority, ..
                        } => {
                            replayed.open = Some(Open {
                                steps: steps.clone(),
                                authority: authority.clone(),
                            });
                        }
                        Entry::Outcome { .. } => replayed.open = None,
                        _ => {}
                    }
                }
            } else {
                let out_of_order = |source| JournalError::OutOfOrder {
                    path: path.clone(),
                    offset,
                    sequence,
                    source,
                };
                match &mut replayed {
                    Some(replayed) => replayed.apply(&entry).map_err(out_of_order)?,
                    None => replayed = Some(Replayed::begin(&entry).map_err(out_of_order)?),
                }
            }
            check_fork(dir, &record.chain, &through)?;
            match entry {
                Entry::Intended { .. } => open_in = Some(number),
                Entry::Outcome { .. } => open_in = None,
                _ => {}
            }
        }
        let segment_tail = records.tail();
        segments.push((number, segment_tail.end.sequence));
        end = Some(segment_tail.end.clone());
        tail = Some(segment_tail);
    }
    let (Some(tail), Some(end)) = (tail, end) else {
        return Err(JournalError::Absent(dir.to_owned()));
    };
    if end.sequence < through.sequence {
        let misfit = JournalError::Behind {
            dir: dir.to_owned(),
            journal: end.sequence,
            ledger: through.sequence,
        };
        *ledger = replayed.map(|it| (it.facts, through));
        return Err(misfit);
    }
    // The header is durable before the first record is: a crash in between leaves a journal that says nothing yet.
    let replayed = replayed.ok_or_else(|| JournalError::Absent(dir.to_owned()))?;
    Ok(Read {
        replayed,
        segments,
        open_in,
        tail,
    })
}

fn check_fork(dir: &Path, chain: &Chain, through: &Through) -> Result<(), JournalError> {
    if chain.sequence == through.sequence && chain.through() != *through && through.sequence > 0 {
        return Err(JournalError::Forked {
            dir: dir.to_owned(),
            sequence: through.sequence,
        });
    }
    Ok(())
}

fn file_name(number: u64) -> String {
    format!("{number:08}.log")
}

fn new_file_name(number: u64) -> String {
    format!("{number:08}.log.new")
}

/// The segments in `dir`, by number.
fn list(dir: &Path) -> Result<Vec<(u64, PathBuf)>, JournalError> {
    numbered(dir, file_name)
}

/// Segments whose making was cut short.
fn leftovers(dir: &Path) -> Result<Vec<(u64, PathBuf)>, JournalError> {
    numbered(dir, new_file_name)
}

fn numbered(dir: &Path, name_of: fn(u64) -> String) -> Result<Vec<(u64, PathBuf)>, JournalError> {
    let entries = match folder::entries(dir) {
        Ok(entries) => entries,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(JournalError::io("list", dir)(error)),
    };
    let mut found = Vec::new();
    for entry in entries {
        let Some(name) = entry.name().to_str() else {
            continue;
        };
        let digits = name.split('.').next().unwrap_or_default();
        if let Some(number) = digits
            .parse()
            .ok()
            .filter(|number| name_of(*number) == name)
        {
            found.push((number, dir.join(name)));
        }
    }
    found.sort();
    Ok(found)
}

#[cfg(test)]
mod tests;
