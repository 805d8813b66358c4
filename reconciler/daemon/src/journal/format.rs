//! The bytes of headers and records.

use muster_core::bytes::hex;
use muster_core::ledger::Through;
use sha2::{Digest as _, Sha256};

/// The format this version writes.
pub const FORMAT: u32 = 1;

const MAGIC: &str = "muster-journal/";

/// `muster-journal/1`, the first record, the chain before it, the check of all that, and the line's end.
pub(super) const HEADER_BYTES: usize = 16 + 1 + 20 + 1 + 64 + 1 + 64 + 1;

/// Length and its check.
pub(super) const PREFIX_BYTES: usize = 8;

/// The hash behind the payload.
pub(super) const HASH_BYTES: usize = 32;

/// The chain's value after a record; all zeros before the first.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Chain {
    pub(super) sequence: u64,
    pub(super) hash: [u8; HASH_BYTES],
}

impl Chain {
    /// `None` when the text is no hash.
    pub(super) fn parse(through: &Through) -> Option<Self> {
        let mut hash = [0; HASH_BYTES];
        if through.sequence == 0 && through.chain.is_empty() {
            return Some(Self { sequence: 0, hash });
        }
        let digits = through.chain.as_bytes();
        if digits.len() != 2 * HASH_BYTES {
            return None;
        }
        for (byte, pair) in hash.iter_mut().zip(digits.chunks_exact(2)) {
            let pair = std::str::from_utf8(pair).ok()?;
            *byte = u8::from_str_radix(pair, 16).ok()?;
        }
        (hex(&hash) == through.chain).then_some(Self {
            sequence: through.sequence,
            hash,
        })
    }

    pub(super) fn through(&self) -> Through {
        Through {
            sequence: self.sequence,
            chain: hex(&self.hash),
        }
    }

    /// The chain after one more record.
    pub(super) fn after(&self, payload: &[u8]) -> Self {
        let mut hasher = Sha256::new();
        hasher.update(self.hash);
        hasher.update(length_bytes(payload));
        hasher.update(payload);
        Self {
            sequence: self.sequence + 1,
            hash: hasher.finalize().into(),
        }
    }

    /// What stands before a payload of `length`: bound to the place in the chain, so that no other record's will do.
    pub(super) fn check_of(&self, length: [u8; 4]) -> [u8; 4] {
        let mut hasher = Sha256::new();
        hasher.update(b"length");
        hasher.update(self.hash);
        hasher.update(length);
        let hash: [u8; HASH_BYTES] = hasher.finalize().into();
        [hash[0], hash[1], hash[2], hash[3]]
    }
}

/// One whole record.
pub(super) fn record(before: &Chain, payload: &[u8]) -> (Vec<u8>, Chain) {
    let after = before.after(payload);
    let length = length_bytes(payload);
    let mut bytes = Vec::with_capacity(PREFIX_BYTES + payload.len() + HASH_BYTES);
    bytes.extend(length);
    bytes.extend(before.check_of(length));
    bytes.extend(payload);
    bytes.extend(after.hash);
    (bytes, after)
}

fn length_bytes(payload: &[u8]) -> [u8; 4] {
    u32::try_from(payload.len())
        .expect("BUG: entries are limited well below 4 GiB")
        .to_le_bytes()
}

/// The first line of a segment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Header {
    /// The number of the first record, from 1.
    pub(super) first: u64,
    /// The chain before it.
    pub(super) chain: Chain,
}

/// Why a line is no header.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum NoHeader {
    Newer(String),
    Damaged,
}

impl Header {
    pub(super) fn line(&self) -> Vec<u8> {
        let said = format!(
            "{MAGIC}{FORMAT} {:020} {}",
            self.first,
            hex(&self.chain.hash)
        );
        let check: [u8; HASH_BYTES] = Sha256::digest(said.as_bytes()).into();
        format!("{said} {}\n", hex(&check)).into_bytes()
    }

    pub(super) fn parse(bytes: &[u8]) -> Result<Self, NoHeader> {
        let line = bytes.get(..HEADER_BYTES).unwrap_or(bytes);
        let text = std::str::from_utf8(line).map_err(|_| NoHeader::Damaged)?;
        let format = text
            .strip_prefix(MAGIC)
            .and_then(|rest| rest.split([' ', '\n']).next())
            .ok_or(NoHeader::Damaged)?;
        match format.parse::<u32>() {
            Ok(FORMAT) => {}
            Ok(newer) if newer > FORMAT => return Err(NoHeader::Newer(format.to_owned())),
            _ => return Err(NoHeader::Damaged),
        }
        let mut words = text.split(' ').skip(1);
        let first = words
            .next()
            .and_then(|it| it.parse::<u64>().ok())
            .filter(|it| *it > 0)
            .ok_or(NoHeader::Damaged)?;
        let hash = words.next().ok_or(NoHeader::Damaged)?.to_owned();
        let chain = Chain::parse(&Through {
            sequence: first - 1,
            chain: hash,
        })
        .ok_or(NoHeader::Damaged)?;
        let header = Self { first, chain };
        if header.line() == line {
            Ok(header)
        } else {
            Err(NoHeader::Damaged)
        }
    }
}
