//! One conversation with a reader: a socket, the child behind it where there is one, and the time that an answer may take.

use std::io::{self, BufRead as _, Read, Write};
use std::os::unix::net::UnixStream;
use std::process::Child;
use std::sync::Arc;
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, killpg};
use nix::unistd::Pid;
use tempfile::TempDir;

use super::frame::{self, Room};
use super::message::{self, ReaderError};
use crate::fetch_error::FetchError;
use crate::merge::MergeError;
use crate::read_error::{COUNT_LIMIT, ReadError};

/// How often it is looked whether whoever waits for an origin is wanted elsewhere.
const LOOK: Duration = Duration::from_millis(200);

/// Whether whoever waits for an origin is wanted elsewhere.
pub type IsWanted = Arc<dyn Fn() -> bool + Send + Sync>;

/// Why there is no answer from a reader.
#[derive(Debug, thiserror::Error)]
pub enum Lost {
    /// It died, took too long, or said something that is no answer.
    #[error("the reader gave no answer: {0}")]
    Gone(String),
    /// Nobody was there to be asked, so that nothing is known of what would have been.
    #[error("there is no reader: {0}")]
    Absent(String),
    /// It has not answered yet, and is not waited for now. What it is asked meanwhile is not asked.
    #[error("the origin has not answered yet, and somebody at the console asks for something else")]
    NotYet,
    /// It gave none a short while ago.
    #[error("the reader gave no answer ({why}); it is started again in {} s", wait.as_secs().max(1))]
    Waiting {
        /// What became of it.
        why: String,
        /// How long it is left alone.
        wait: Duration,
    },
}

/// What became of a question.
pub(super) enum Asked {
    Read(ReadError),
    Told(ReaderError),
    Lost(Lost),
}

impl From<Asked> for FetchError {
    fn from(asked: Asked) -> Self {
        match asked {
            Asked::Told(told) => FetchError::Told(told),
            Asked::Lost(lost) => FetchError::Reader(lost),
            Asked::Read(source) => FetchError::Reader(Lost::Gone(source.to_string())),
        }
    }
}

impl From<Asked> for ReadError {
    fn from(asked: Asked) -> Self {
        match asked {
            Asked::Read(error) => error,
            Asked::Told(told) => ReadError::Store(io::Error::other(told)),
            Asked::Lost(lost @ Lost::Gone(_)) => ReadError::Reader {
                why: lost.to_string(),
            },
            Asked::Lost(lost) => ReadError::Store(io::Error::other(lost)),
        }
    }
}

impl From<Asked> for MergeError {
    fn from(asked: Asked) -> Self {
        match asked {
            Asked::Told(told) => MergeError::Told(told),
            other @ (Asked::Read(_) | Asked::Lost(_)) => MergeError::Read(other.into()),
        }
    }
}

/// One conversation.
pub(super) struct Link {
    pub(super) stream: UnixStream,
    /// Until when an answer may come that was no longer waited for.
    pub(super) owes: Option<Instant>,
    pub(super) child: Option<Child>,
    pub(super) _scratch: Option<TempDir>,
}

impl Drop for Link {
    fn drop(&mut self) {
        if let Some(child) = &mut self.child {
            // It ends by itself when nobody asks any more, unless it hangs; whatever it started is in its group.
            let _ = killpg(Pid::from_raw(child.id() as i32), Signal::SIGKILL);
            let _ = child.wait();
        }
    }
}

/// A stream with an end of its time, and of each read.
struct Timed<'s> {
    stream: &'s UnixStream,
    end: Instant,
    each: Option<Duration>,
}

impl<'s> Timed<'s> {
    fn until(end: Instant, stream: &'s UnixStream) -> Self {
        let each = None;
        Timed { stream, end, each }
    }

    fn left(&self) -> io::Result<Duration> {
        let left = self.end.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return Err(io::ErrorKind::TimedOut.into());
        }
        Ok(left)
    }
}

impl Read for Timed<'_> {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        let left = self.left()?;
        let each = self.each.map_or(left, |each| each.min(left));
        self.stream.set_read_timeout(Some(each))?;
        (&mut &*self.stream).read(buf)
    }
}

impl Write for Timed<'_> {
    fn write(&mut self, buf: &[u8]) -> io::Result<usize> {
        self.stream.set_write_timeout(Some(self.left()?))?;
        (&mut &*self.stream).write(buf)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// One question and its answer.
pub(super) fn converse(
    link: &mut Link,
    asked: &[Vec<u8>],
    most: u64,
    within: Duration,
    is_wanted: Option<&IsWanted>,
) -> Result<Vec<Vec<u8>>, Asked> {
    let room = Room {
        parts: 3 * COUNT_LIMIT as u32 + 16,
        // All files of a commit with their paths, or the names of everything that somebody pushed.
        bytes: most.saturating_add(64 << 20),
    };
    let end = Instant::now() + within;
    let mut asked_and_heard = || {
        // What was asked before comes first; nobody waits for it any more.
        if let Some(end) = link.owes
            && let early @ (None | Some(Heard::NotYet)) = hear(link, end, room, is_wanted)?
        {
            return Ok(early);
        }
        frame::write(&mut Timed::until(end, &link.stream), asked)?;
        hear(link, end, room, is_wanted)
    };
    let answer = match asked_and_heard() {
        Ok(Some(Heard::NotYet)) => return Err(Asked::Lost(Lost::NotYet)),
        Ok(Some(Heard::Answer(parts))) => Ok(Some(parts)),
        Ok(None) => Ok(None),
        Err(error) => Err(error),
    };
    let why = match answer {
        Ok(Some(mut parts)) => match parts.first().map(Vec::as_slice) {
            Some(b"ok") => return Ok(parts),
            Some(b"failed") => return Err(Asked::Told(ReaderError::of(&parts.split_off(1)))),
            Some(b"unread") => match message::read_error(&parts[1..]) {
                Some(error) => return Err(Asked::Read(error)),
                None => "what it said is no answer".to_owned(),
            },
            _ => "what it said is no answer".to_owned(),
        },
        Ok(None) => ended(link),
        Err(error) => match error.kind() {
            io::ErrorKind::TimedOut | io::ErrorKind::WouldBlock => {
                format!("it took longer than {} s", within.as_secs())
            }
            io::ErrorKind::InvalidData => format!("it sent {error}"),
            _ => ended(link),
        },
    };
    Err(Asked::Lost(Lost::Gone(why)))
}

/// What is heard of a reader.
enum Heard {
    Answer(Vec<Vec<u8>>),
    /// It has not begun to answer.
    NotYet,
}

/// Waits for one answer, at most until `end`; `None` where the other side has ended before. Once an answer has begun, it is
/// taken in whole.
fn hear(
    link: &mut Link,
    end: Instant,
    room: Room,
    is_wanted: Option<&IsWanted>,
) -> io::Result<Option<Heard>> {
    // Nothing is said without being asked, so that nothing of a later answer can be in the buffer.
    let mut answer = io::BufReader::new(Timed::until(end, &link.stream));
    if let Some(is_wanted) = is_wanted {
        answer.get_mut().each = Some(LOOK);
        while let Err(error) = answer.fill_buf() {
            let is_over = Instant::now() >= end;
            match error.kind() {
                io::ErrorKind::Interrupted => {}
                io::ErrorKind::WouldBlock if !is_over && !is_wanted() => {}
                io::ErrorKind::WouldBlock if !is_over => {
                    link.owes = Some(end);
                    return Ok(Some(Heard::NotYet));
                }
                _ => return Err(error),
            }
        }
        answer.get_mut().each = None;
    }
    let parts = frame::read(&mut answer, room)?;
    link.owes = None;
    Ok(parts.map(Heard::Answer))
}

/// How a reader ended that closed its side.
fn ended(link: &mut Link) -> String {
    let Some(child) = &mut link.child else {
        return "it ended; see `journalctl -u muster-reader`".to_owned();
    };
    let pid = Pid::from_raw(child.id() as i32);
    // It may have closed its side without ending.
    let _ = killpg(pid, Signal::SIGKILL);
    match child.wait() {
        Ok(status) => format!(
            "it ended ({status}); what it read may need more memory than the {} MiB that it has",
            super::serve::MEMORY >> 20
        ),
        Err(error) => format!("it ended ({error})"),
    }
}
