//! What a host told, compressed in memory. The ledgers of a fleet are needed in full whenever something is planned, and not in between.
//! Kept uncompressed they take more memory than a bot should need; read out of git again for each plan, they take most of its time.
//! Their lines are much alike, so they compress well.

use std::io;

use muster_core::world::Files;

/// The fastest level of zstd: higher ones save little more.
const LEVEL: i32 = 1;

/// Files of a ledger.
pub(super) struct Packed {
    /// The path and the length of each file, in their order.
    index: Box<[(Box<str>, usize)]>,
    /// All of them, one after the other.
    frame: Box<[u8]>,
}

impl Packed {
    /// Compresses them.
    ///
    /// # Errors
    /// When there is no memory for it.
    pub(super) fn of(files: &Files) -> io::Result<Self> {
        let entry = |(path, bytes): (&String, &Vec<u8>)| (path.as_str().into(), bytes.len());
        let plain: Vec<&[u8]> = files.values().map(Vec::as_slice).collect();
        Ok(Self {
            index: files.iter().map(entry).collect(),
            // The compressor reserves memory for the worst case: give the rest back.
            frame: zstd::bulk::compress(&plain.concat(), LEVEL)?.into_boxed_slice(),
        })
    }

    /// The files as they were.
    ///
    /// # Errors
    /// When there is no memory for it.
    pub(super) fn files(&self) -> io::Result<Files> {
        let length = self.index.iter().map(|(_, length)| length).sum();
        let plain = zstd::bulk::decompress(&self.frame, length)?;
        let mut rest = plain.as_slice();
        let file = |(path, length): &(Box<str>, usize)| {
            let (bytes, after) = rest.split_at(*length);
            rest = after;
            (path.to_string(), bytes.to_vec())
        };
        Ok(self.index.iter().map(file).collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_packed_comes_out_as_it_was() {
        let file = |path: &str, text: &str| (path.to_owned(), text.as_bytes().to_vec());
        for files in [
            Files::new(),
            Files::from([file("empty", "")]),
            Files::from([
                file("people/00.jsonl", &"{\"user\":\"bea\"}\n".repeat(1_000)),
                file("people/01.jsonl", ""),
                file("state.json", "{}\n"),
            ]),
        ] {
            let packed = Packed::of(&files).unwrap();
            assert!(packed.frame.len() < 200);
            assert_eq!(packed.files().unwrap(), files);
        }
    }
}
