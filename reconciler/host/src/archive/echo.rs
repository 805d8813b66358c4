//! A fast check, while an archive is written and read back, that each file's content came through unchanged.
//!
//! The manifest has the SHA-256 of each content, computed as it was written. Reading it back need not compute SHA-256
//! again: a 128-bit hash under a random seed finds whatever a disk, memory or the compressor damaged, and is many times as
//! fast. A later reader has no such hash, and computes SHA-256.

use std::io;
use std::sync::mpsc::{Receiver, Sender, channel};

use twox_hash::xxhash3_128::Hasher;

use super::tar::broken;

/// A SHA-256.
pub(super) type Digest = [u8; 32];

/// The writer's end: hashes contents and sends the results.
pub(super) struct Call {
    hash: Seeded,
    to: Sender<(u128, Digest)>,
}

/// The reader's end: hashes contents and compares with what the writer sent.
pub(super) struct Echo {
    hash: Seeded,
    from: Receiver<(u128, Digest)>,
}

/// Both ends, under a seed of their own.
///
/// # Errors
/// When the kernel has no randomness to give.
pub(super) fn pair() -> io::Result<(Call, Echo)> {
    let seed = getrandom::u64().map_err(|error| io::Error::other(error.to_string()))?;
    // Never more than the contents that are written and not yet read back.
    let (to, from) = channel();
    let call = Call {
        hash: Seeded::new(seed),
        to,
    };
    let echo = Echo {
        hash: Seeded::new(seed),
        from,
    };
    Ok((call, echo))
}

impl Call {
    /// A part of a content.
    pub(super) fn update(&mut self, part: &[u8]) {
        self.hash.update(part);
    }

    /// That was all of it, and this is its digest.
    pub(super) fn tell(&mut self, digest: Digest) {
        // A reader that gave up reports its own error.
        let _ = self.to.send((self.hash.finish(), digest));
    }
}

impl Echo {
    /// A part of a content.
    pub(super) fn update(&mut self, part: &[u8]) {
        self.hash.update(part);
    }

    /// That was all of it: the digest of what went in, which this is.
    ///
    /// # Errors
    /// When something else went in, or nothing.
    pub(super) fn digest(&mut self) -> io::Result<Digest> {
        let found = self.hash.finish();
        match self.from.recv() {
            Ok((written, digest)) if written == found => Ok(digest),
            _ => Err(broken("content that is not what was written")),
        }
    }
}

struct Seeded {
    seed: u64,
    hash: Hasher,
}

impl Seeded {
    fn new(seed: u64) -> Self {
        let hash = Hasher::with_seed(seed);
        Self { seed, hash }
    }

    fn update(&mut self, part: &[u8]) {
        self.hash.write(part);
    }

    fn finish(&mut self) -> u128 {
        std::mem::replace(&mut self.hash, Hasher::with_seed(self.seed)).finish_128()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_went_in_is_known_again_in_whatever_pieces_it_comes() {
        let (mut call, mut echo) = pair().unwrap();
        for (digest, content) in [
            ([1; 32], &b"some content"[..]),
            ([2; 32], b""),
            ([3; 32], b"more"),
        ] {
            call.update(content);
            call.tell(digest);
            for byte in content {
                echo.update(std::slice::from_ref(byte));
            }
            assert_eq!(echo.digest().unwrap(), digest);
        }
    }

    #[test]
    fn other_content_and_content_that_nobody_wrote_are_refused() {
        let (mut call, mut echo) = pair().unwrap();
        call.update(b"some content");
        call.tell([1; 32]);
        echo.update(b"same content");
        assert!(echo.digest().is_err());
        drop(call);
        assert!(echo.digest().is_err());
    }

    #[test]
    fn no_two_archives_have_the_same_seed() {
        let (mut call, _) = pair().unwrap();
        let (_, mut echo) = pair().unwrap();
        call.update(b"some content");
        echo.update(b"some content");
        assert_ne!(call.hash.finish(), echo.hash.finish());
    }
}
