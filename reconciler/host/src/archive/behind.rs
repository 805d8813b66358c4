//! Reads a file while another thread writes it. Only synced bytes are read, and from the disk rather than from the page
//! cache, as far as the kernel allows.

use std::fs::File;
use std::io::{self, Read};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};

/// The least number of bytes for which the file is synced.
const LEAST: u64 = 256 * 1024;
/// The most that is synced at a time: this much is left to read when the last byte has been written.
const MOST: u64 = 16 * 1024 * 1024;
const PAGE: u64 = 4_096;

/// How far a file has been written.
#[derive(Debug, Default)]
pub(super) struct Written {
    state: Mutex<State>,
    moved: Condvar,
}

#[derive(Clone, Copy, Debug, Default)]
struct State {
    bytes: u64,
    end: Option<End>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum End {
    Whole,
    Abandoned,
}

impl Written {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn tell(&self, bytes: Option<u64>, end: Option<End>) {
        let mut state = self.state();
        state.bytes = bytes.unwrap_or(state.bytes);
        state.end = state.end.or(end);
        drop(state);
        self.moved.notify_all();
    }

    /// Waits until there are so many bytes, or no more to come.
    fn wait_for(&self, bytes: u64) -> State {
        let waits = |it: &mut State| it.bytes < bytes && it.end.is_none();
        *self
            .moved
            .wait_while(self.state(), waits)
            .unwrap_or_else(PoisonError::into_inner)
    }
}

/// The writer's end: it reports how far the file has been written. Dropped before the file is complete, it makes the
/// reader fail.
pub(super) struct Ending(pub(super) Arc<Written>);

impl Ending {
    /// So many bytes are in the file.
    pub(super) fn so_far(&self, bytes: u64) {
        self.0.tell(Some(bytes), None);
    }

    /// All of it is written, so many bytes.
    pub(super) fn whole(&self, bytes: u64) {
        self.0.tell(Some(bytes), Some(End::Whole));
    }
}

impl Drop for Ending {
    fn drop(&mut self) {
        self.0.tell(None, Some(End::Abandoned));
    }
}

/// The reader's end. It waits for bytes, and ends where the writer said that the file is complete.
pub(super) struct Behind {
    file: File,
    written: Arc<Written>,
    at: u64,
    /// The bytes known to be synced.
    settled: u64,
    whole: bool,
}

impl Behind {
    /// `file` is at its beginning, and has its own place.
    pub(super) fn new(file: File, written: Arc<Written>) -> Self {
        Self {
            file,
            written,
            at: 0,
            settled: 0,
            whole: false,
        }
    }

    /// Makes durable what there is, when there is enough of it.
    fn settle(&mut self) -> io::Result<()> {
        let step = (self.settled / 16).clamp(LEAST, MOST);
        let State { bytes, end } = self.written.wait_for(self.settled + step);
        let synced = match end {
            None => self.file.sync_data(),
            Some(End::Whole) => self.file.sync_all(),
            Some(End::Abandoned) => Err(io::Error::other("it was not written to its end")),
        };
        synced?;
        self.whole = end.is_some();
        let from = self.settled / PAGE * PAGE;
        if let Some(length) = std::num::NonZeroU64::new(bytes - from) {
            let _ =
                rustix::fs::fadvise(&self.file, from, Some(length), rustix::fs::Advice::DontNeed);
        }
        self.settled = bytes;
        Ok(())
    }
}

impl Read for Behind {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        while self.at == self.settled && !self.whole {
            self.settle()?;
        }
        if self.at == self.settled {
            // At its end, where nothing may follow.
            return self.file.read(buffer);
        }
        let left = usize::try_from(self.settled - self.at).unwrap_or(usize::MAX);
        let wanted = left.min(buffer.len());
        let length = self.file.read(&mut buffer[..wanted])?;
        if length == 0 && wanted > 0 {
            return Err(io::Error::other("it is shorter than it was written"));
        }
        self.at += length as u64;
        Ok(length)
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;

    use super::*;

    fn file() -> (File, File) {
        let file = tempfile::NamedTempFile::new().unwrap();
        let again = file.reopen().unwrap();
        (file.into_file(), again)
    }

    #[test]
    fn what_is_read_is_what_was_written_and_no_byte_before_it_was_told() {
        let (mut to, from) = file();
        let ending = Ending(Arc::default());
        let mut behind = Behind::new(from, Arc::clone(&ending.0));
        let text: Vec<u8> = (0..3_000_001_u32).flat_map(u32::to_le_bytes).collect();
        let told = Arc::new(Mutex::new(0));
        let reader = std::thread::spawn({
            let told = Arc::clone(&told);
            move || {
                let (mut all, mut buffer) = (Vec::new(), vec![0; 70_001]);
                loop {
                    let length = behind.read(&mut buffer).unwrap();
                    all.extend_from_slice(&buffer[..length]);
                    assert!(all.len() <= *told.lock().unwrap());
                    if length == 0 {
                        return all;
                    }
                }
            }
        });
        let mut written = 0;
        for part in text.chunks(777_777) {
            to.write_all(part).unwrap();
            written += part.len();
            *told.lock().unwrap() = written;
            ending.so_far(written as u64);
        }
        ending.whole(written as u64);
        assert!(reader.join().unwrap() == text);
    }

    #[test]
    fn one_who_stops_writing_stops_the_reading() {
        let (mut to, from) = file();
        let ending = Ending(Arc::default());
        let mut behind = Behind::new(from, Arc::clone(&ending.0));
        to.write_all(b"a part").unwrap();
        ending.so_far(6);
        drop(ending);
        assert!(behind.read(&mut [0; 9]).is_err());
    }

    #[test]
    fn a_file_that_is_longer_or_shorter_than_was_told_is_not_taken_for_it() {
        for (told, whole) in [(5, b"a part"), (7, b"a part")] {
            let (mut to, from) = file();
            let ending = Ending(Arc::default());
            let mut behind = Behind::new(from, Arc::clone(&ending.0));
            to.write_all(whole).unwrap();
            ending.whole(told);
            let mut text = Vec::new();
            let read = behind.read_to_end(&mut text);
            // What is too much is handed on, to somebody who knows where the end is.
            assert!(read.is_err() || text == whole && told == 5, "{told}");
        }
    }
}
