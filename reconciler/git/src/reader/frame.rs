//! How messages cross between the one who reads git and the one who acts: a list of byte strings. All sizes come first, and are
//! checked before anything is kept.
//!
//! ```text
//! count: u32   size: u64 × count   bytes …        all numbers little-endian
//! ```

use std::io::{self, BufWriter, Read, Write};

/// The most that is taken in with one message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Room {
    /// Parts.
    pub(crate) parts: u32,
    /// Bytes in all of them.
    pub(crate) bytes: u64,
}

/// How much is asked for at once: what a size says is only believed as far as bytes arrive.
const PIECE: u64 = 1 << 20;

/// Messages up to this go in one piece: the other side is woken once, not for each part (`tests/bench/bench converge`).
const SMALL: usize = 16 << 10;

/// Sends one message.
pub(crate) fn write(to: &mut impl Write, parts: &[impl AsRef<[u8]>]) -> io::Result<()> {
    let count = u32::try_from(parts.len()).map_err(io::Error::other)?;
    let mut to = BufWriter::with_capacity(SMALL, to);
    to.write_all(&count.to_le_bytes())?;
    for part in parts {
        to.write_all(&(part.as_ref().len() as u64).to_le_bytes())?;
    }
    for part in parts {
        to.write_all(part.as_ref())?;
    }
    to.flush()
}

/// Takes in one message; `None` where the other side has ended before one began.
pub(crate) fn read(from: &mut impl Read, room: Room) -> io::Result<Option<Vec<Vec<u8>>>> {
    let mut count = [0; 4];
    match from.read(&mut count[..1])? {
        0 => return Ok(None),
        _ => from.read_exact(&mut count[1..])?,
    }
    let count = u32::from_le_bytes(count);
    if count > room.parts {
        return Err(too_much("parts", count.into(), room.parts.into()));
    }
    let mut head = Vec::new();
    let length = 8 * u64::from(count);
    if from.by_ref().take(length).read_to_end(&mut head)? as u64 != length {
        return Err(io::ErrorKind::UnexpectedEof.into());
    }
    let mut sizes = Vec::with_capacity(count as usize);
    let mut total = 0_u64;
    for size in head.as_chunks::<8>().0 {
        let size = u64::from_le_bytes(*size);
        total = total.saturating_add(size);
        if total > room.bytes {
            return Err(too_much("bytes", total, room.bytes));
        }
        sizes.push(size);
    }
    let mut parts = Vec::with_capacity(sizes.len());
    for size in sizes {
        let mut part = Vec::new();
        // Room that nothing is written to costs nothing; growing to a roster of a million people took a third more than it.
        part.try_reserve_exact(usize::try_from(size).unwrap_or(usize::MAX))
            .map_err(|_| io::ErrorKind::OutOfMemory)?;
        while (part.len() as u64) < size {
            let piece = PIECE.min(size - part.len() as u64);
            if from.by_ref().take(piece).read_to_end(&mut part)? as u64 != piece {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
        }
        parts.push(part);
    }
    Ok(Some(parts))
}

fn too_much(what: &str, found: u64, limit: u64) -> io::Error {
    let why = format!("a message of {found} {what}, more than the limit of {limit}");
    io::Error::new(io::ErrorKind::InvalidData, why)
}

#[cfg(test)]
mod tests {
    use super::*;

    const ROOM: Room = Room {
        parts: 3,
        bytes: 5_000_000,
    };

    #[test]
    fn whatever_is_sent_arrives() {
        let parts = [b"".to_vec(), b"a\0\xff".to_vec(), vec![7; 3 << 20]];
        let mut sent = Vec::new();
        write(&mut sent, &parts).unwrap();
        write(&mut sent, &[b"next"]).unwrap();
        let mut sent = sent.as_slice();
        assert_eq!(read(&mut sent, ROOM).unwrap().unwrap(), parts);
        assert_eq!(read(&mut sent, ROOM).unwrap().unwrap(), [b"next".to_vec()]);
        assert_eq!(read(&mut sent, ROOM).unwrap(), None);
    }

    #[test]
    fn sizes_are_checked_before_anything_is_kept() {
        let mut many = Vec::new();
        write(&mut many, &[b""; 4]).unwrap();
        assert!(read(&mut many.as_slice(), ROOM).is_err());
        // Nothing follows these sizes, and nobody waits for it or makes room for it.
        for sizes in [vec![5_000_001], vec![u64::MAX, 2], vec![1, u64::MAX]] {
            let mut head = (sizes.len() as u32).to_le_bytes().to_vec();
            head.extend(sizes.iter().flat_map(|size: &u64| size.to_le_bytes()));
            let error = read(&mut head.as_slice(), ROOM).unwrap_err();
            assert_eq!(error.kind(), io::ErrorKind::InvalidData, "{sizes:?}");
        }
    }

    #[test]
    fn a_torn_message_is_an_error() {
        let mut whole = Vec::new();
        write(&mut whole, &[b"hello".as_slice(), b"world"]).unwrap();
        for len in 1..whole.len() {
            assert!(read(&mut &whole[..len], ROOM).is_err(), "{len}");
        }
    }
}
