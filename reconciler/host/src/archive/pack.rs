//! Compresses beside the one who reads: frames of zstd in the file, and in a spool those whose turn is at the end.

use std::fs::File;
use std::io::{self, Read as _, Seek as _, SeekFrom, Write as _};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread::JoinHandle;

use zstd::bulk::Compressor;
use zstd::zstd_safe::{CParameter, compress_bound};

use super::LEVEL;
use super::behind::Ending;

/// How much text makes a frame. One that is as long as what `zstd` gives to a thread compresses as well, and one in a
/// single piece of memory a third faster than a stream, whose window moves.
const FRAME: usize = 8 * 1024 * 1024;
/// The manifest's, which has little to find further away.
const SPOOLED: usize = 1024 * 1024;
/// What is copied at a time.
const CHUNK: usize = 256 * 1024;

enum Job {
    /// So much of the buffer is a frame of the archive.
    Frame(Vec<u8>, usize),
    /// So much of the buffer is a frame of the manifest.
    Spooled(Vec<u8>, usize),
    /// What is in the spool follows in the archive.
    Append,
    /// Nothing follows.
    Close,
}

/// Text of which a part is filled, and where another comes from when it is full: one is filled while one is compressed.
struct Buffer {
    text: Vec<u8>,
    filled: usize,
    empty: Receiver<Vec<u8>>,
    job: fn(Vec<u8>, usize) -> Job,
}

impl Buffer {
    fn new(size: usize, job: fn(Vec<u8>, usize) -> Job) -> (Self, SyncSender<Vec<u8>>) {
        let (back, empty) = sync_channel(1);
        back.send(vec![0; size]).expect("there is a receiver");
        let it = Self {
            text: vec![0; size],
            filled: 0,
            empty,
            job,
        };
        (it, back)
    }

    fn take(&mut self, bytes: &[u8]) -> usize {
        let room = &mut self.text[self.filled..];
        let length = room.len().min(bytes.len());
        room[..length].copy_from_slice(&bytes[..length]);
        self.filled += length;
        length
    }

    fn is_full(&self) -> bool {
        self.filled == self.text.len()
    }
}

/// The thread that compresses. More than one would take the machine from those who work on it.
struct Thread {
    jobs: Option<SyncSender<Job>>,
    handle: Option<JoinHandle<io::Result<()>>>,
}

impl Thread {
    fn send(&mut self, job: Job) -> io::Result<()> {
        let sent = self.jobs.as_ref().is_some_and(|it| it.send(job).is_ok());
        if sent { Ok(()) } else { Err(self.why()) }
    }

    fn hand_over(&mut self, buffer: &mut Buffer) -> io::Result<()> {
        let filled = std::mem::take(&mut buffer.filled);
        if filled == 0 {
            return Ok(());
        }
        self.send((buffer.job)(std::mem::take(&mut buffer.text), filled))?;
        match buffer.empty.recv() {
            Ok(empty) => {
                buffer.text = empty;
                Ok(())
            }
            Err(_) => Err(self.why()),
        }
    }

    /// Why it takes nothing any more.
    fn why(&mut self) -> io::Error {
        let ended = self.join().err();
        ended.unwrap_or_else(|| io::Error::other("BUG: nothing more was expected"))
    }

    fn join(&mut self) -> io::Result<()> {
        self.jobs = None;
        match self.handle.take().map(JoinHandle::join) {
            Some(Ok(result)) => result,
            Some(Err(_)) => Err(io::Error::other("BUG: the thread that compresses panicked")),
            None => Err(io::Error::other("it could not be compressed")),
        }
    }
}

impl Drop for Thread {
    fn drop(&mut self) {
        // Whoever gives up is not followed by a thread that still writes.
        self.jobs = None;
        if let Some(handle) = self.handle.take() {
            let _ = handle.join();
        }
    }
}

/// Takes the text of an archive, and beside it that of its manifest.
pub(super) struct Packer {
    thread: Thread,
    archive: Buffer,
    spool: Buffer,
}

impl Packer {
    /// Begins. `ending` is told how much of `into` there is, and when that is all.
    pub(super) fn start(into: &File, spool: &File, ending: Ending) -> io::Result<Self> {
        let (jobs, next) = sync_channel(1);
        let (archive, back) = Buffer::new(FRAME, Job::Frame);
        let (spooled, spool_back) = Buffer::new(SPOOLED, Job::Spooled);
        let to = Frames {
            archive: Frame::new(into, back)?,
            spool: Frame::new(spool, spool_back)?,
            out: vec![0; compress_bound(FRAME)],
            zstd: compressor()?,
            ending,
        };
        let handle = std::thread::Builder::new()
            .name("archive".to_owned())
            .spawn(move || to.all(&next))?;
        Ok(Self {
            thread: Thread {
                jobs: Some(jobs),
                handle: Some(handle),
            },
            archive,
            spool: spooled,
        })
    }

    /// Puts text into the archive.
    pub(super) fn put(&mut self, bytes: &[u8]) -> io::Result<()> {
        let mut taken = self.archive.take(bytes);
        while taken < bytes.len() {
            self.thread.hand_over(&mut self.archive)?;
            taken += self.archive.take(&bytes[taken..]);
        }
        Ok(())
    }

    /// Where the next text of the archive may be put by the caller, who then says how much it was. Never empty.
    pub(super) fn room(&mut self) -> io::Result<&mut [u8]> {
        if self.archive.is_full() {
            self.thread.hand_over(&mut self.archive)?;
        }
        Ok(&mut self.archive.text[self.archive.filled..])
    }

    /// So much was put into the room.
    pub(super) fn filled(&mut self, length: usize) {
        self.archive.filled += length;
    }

    /// Puts text beside the archive.
    pub(super) fn put_beside(&mut self, bytes: &[u8]) -> io::Result<()> {
        let mut taken = self.spool.take(bytes);
        while taken < bytes.len() {
            self.thread.hand_over(&mut self.spool)?;
            taken += self.spool.take(&bytes[taken..]);
        }
        Ok(())
    }

    /// What was put beside the archive follows in it now.
    pub(super) fn append(&mut self) -> io::Result<()> {
        self.thread.hand_over(&mut self.archive)?;
        self.thread.hand_over(&mut self.spool)?;
        self.thread.send(Job::Append)
    }

    /// Nothing follows. The rest is compressed and written while the caller goes on; [`Self::finish`] waits for it.
    pub(super) fn close(&mut self) -> io::Result<()> {
        self.thread.hand_over(&mut self.archive)?;
        self.thread.send(Job::Close)
    }

    /// All of it is in the file, once it was closed.
    pub(super) fn finish(mut self) -> io::Result<()> {
        self.thread.join()
    }
}

fn compressor() -> io::Result<Compressor<'static>> {
    let mut zstd = Compressor::new(LEVEL)?;
    zstd.set_parameter(CParameter::ChecksumFlag(true))?;
    Ok(zstd)
}

/// A file of frames, and whither their buffers go back.
struct Frame {
    into: File,
    bytes: u64,
    back: SyncSender<Vec<u8>>,
}

impl Frame {
    fn new(into: &File, back: SyncSender<Vec<u8>>) -> io::Result<Self> {
        Ok(Self {
            into: into.try_clone()?,
            bytes: 0,
            back,
        })
    }

    fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.into.write_all(bytes)?;
        self.bytes += bytes.len() as u64;
        Ok(())
    }
}

struct Frames {
    archive: Frame,
    spool: Frame,
    out: Vec<u8>,
    zstd: Compressor<'static>,
    ending: Ending,
}

impl Frames {
    fn all(mut self, next: &Receiver<Job>) -> io::Result<()> {
        for job in next {
            match job {
                Job::Frame(text, filled) => {
                    let length = self
                        .zstd
                        .compress_to_buffer(&text[..filled], self.out.as_mut_slice())?;
                    // Nobody waits for it at the end.
                    let _ = self.archive.back.send(text);
                    self.archive.write(&self.out[..length])?;
                    self.ending.so_far(self.archive.bytes);
                }
                Job::Spooled(text, filled) => {
                    let length = self
                        .zstd
                        .compress_to_buffer(&text[..filled], self.out.as_mut_slice())?;
                    let _ = self.spool.back.send(text);
                    self.spool.write(&self.out[..length])?;
                }
                Job::Append => self.append()?,
                Job::Close => {
                    self.ending.whole(self.archive.bytes);
                    return Ok(());
                }
            }
        }
        Err(io::Error::other("it was not written to its end"))
    }

    fn append(&mut self) -> io::Result<()> {
        let size = self.spool.bytes;
        self.spool.into.seek(SeekFrom::Start(0))?;
        let mut left = (&self.spool.into).take(size);
        let mut copied = 0;
        loop {
            let read = left.read(&mut self.out[..CHUNK])?;
            if read == 0 {
                break;
            }
            self.archive.write(&self.out[..read])?;
            copied += read as u64;
        }
        self.ending.so_far(self.archive.bytes);
        if copied == size {
            Ok(())
        } else {
            Err(io::Error::other(
                "the manifest is shorter than it was written",
            ))
        }
    }
}
