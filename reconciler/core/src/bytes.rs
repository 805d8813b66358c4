//! What is done byte by byte: hex digits, sets of bytes, and names put in their order.

/// The two hex digits of a byte, in lower case.
#[inline]
pub fn hex_pair(byte: u8) -> [u8; 2] {
    // By arithmetic, not from a table: so the compiler makes all digits of a step id at once (`tests/bench/bench plan`).
    [byte >> 4, byte & 15].map(|half| half + if half < 10 { b'0' } else { b'a' - 10 })
}

/// Bytes as hex digits, in lower case: how digests and random numbers are written everywhere.
pub fn hex(bytes: &[u8]) -> String {
    let digits = bytes.iter().flat_map(|byte| hex_pair(*byte));
    let mut text = String::with_capacity(bytes.len() * 2);
    text.extend(digits.map(char::from));
    text
}

/// A set of bytes, as a table: membership is one lookup.
#[derive(Debug)]
pub(crate) struct ByteSet([bool; 256]);

impl ByteSet {
    /// The bytes of `pattern`, which is written as between the brackets of a regular expression: `a-z` is a range, and a
    /// `-` at the end is itself.
    pub(crate) const fn of(pattern: &str) -> Self {
        let pattern = pattern.as_bytes();
        let mut set = [false; 256];
        let mut at = 0;
        while at < pattern.len() {
            let is_range = at + 2 < pattern.len() && pattern[at + 1] == b'-';
            let last = if is_range {
                pattern[at + 2]
            } else {
                pattern[at]
            };
            let mut byte = pattern[at];
            assert!(
                byte <= last,
                "a range goes from the lower byte to the higher"
            );
            while byte < last {
                set[byte as usize] = true;
                byte += 1;
            }
            set[last as usize] = true;
            at += if is_range { 3 } else { 1 };
        }
        Self(set)
    }

    /// Whether `byte` is in it.
    #[inline]
    pub(crate) fn has(&self, byte: u8) -> bool {
        self.0[usize::from(byte)]
    }

    /// Whether each byte of `text` is in it; so it is of an empty one.
    #[inline]
    pub(crate) fn has_all(&self, text: &str) -> bool {
        // To its end in any case: a name is short and nearly always right, and two instructions a byte are less than four.
        text.bytes().fold(true, |all, byte| all & self.has(byte))
    }
}

/// The places of `count` names in the order of the names; of equal ones the first comes first.
pub(crate) fn places_in_order<N: AsRef<[u8]>>(count: usize, name: impl Fn(u32) -> N) -> Vec<u32> {
    // The first 16 bytes are kept beside the place, so that most comparisons need not follow a pointer to the name.
    let prefix = |name: &[u8]| match (name.first_chunk(), name.first_chunk(), name.last_chunk()) {
        (Some(letters), ..) => u128::from_be_bytes(*letters),
        // Two words that overlap, of which the second loses what the first has: of eight bytes that is all of it. To load those is faster
        // than to copy as many bytes as there are (`tests/bench/bench plan`).
        (None, Some(first), Some(last)) => {
            let rest = u64::from_be_bytes(*last).checked_shl(8 * (16 - name.len() as u32));
            u128::from(u64::from_be_bytes(*first)) << 64 | u128::from(rest.unwrap_or(0))
        }
        (None, ..) => {
            let mut letters = [0; 16];
            letters[..name.len()].copy_from_slice(name);
            u128::from_be_bytes(letters)
        }
    };
    let mut keyed: Vec<(u128, u32)> = (0..)
        .take(count)
        .map(|place| (prefix(name(place).as_ref()), place))
        .collect();
    // Names mostly come in sorted runs, which a stable (merge) sort makes use of.
    keyed.sort_by(|a, b| {
        let rest = || name(a.1).as_ref().cmp(name(b.1).as_ref());
        a.0.cmp(&b.0).then_with(rest)
    });
    keyed.into_iter().map(|(_, place)| place).collect()
}

/// The lines that are not empty, each with its place, from 0.
pub(crate) fn lines_of(content: &[u8]) -> impl Iterator<Item = (usize, &[u8])> {
    let ends = memchr::memchr_iter(b'\n', content).chain([content.len()]);
    let lines = ends.scan(0, |begin, end| {
        Some(&content[std::mem::replace(begin, end + 1)..end])
    });
    lines.enumerate().filter(|(_, it)| !it.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_byte_has_its_two_digits() {
        assert_eq!(hex(&[]), "");
        for byte in 0..=255_u8 {
            assert_eq!(hex(&[byte]), format!("{byte:02x}"));
        }
        assert_eq!(hex(&[0, 0xa5, 0xff]), "00a5ff");
    }

    #[test]
    fn a_set_is_what_its_pattern_says() {
        static SET: ByteSet = ByteSet::of("a-cx0-1_-");
        let found: String = (0..=255)
            .filter(|byte| SET.has(*byte))
            .map(char::from)
            .collect();
        assert_eq!(found, "-01_abcx");
        assert!(SET.has_all("") && SET.has_all("-a_0") && !SET.has_all("ad"));
        assert!(!ByteSet::of("").has(0) && ByteSet::of("-").has(b'-'));
    }

    #[test]
    fn names_are_put_in_the_order_that_sorting_gives() {
        let mut names = ["b", "", "a", "a", "a\0", "\u{e9}", "z"]
            .map(str::to_owned)
            .to_vec();
        // Of each length up to two words and beyond, and with another letter at their end.
        for length in (1..=18).rev() {
            let name = &"abcdefghijklmnopqr"[..length];
            let others = ["", "\0", "a", "z"].map(|end| format!("{}{end}", &name[..length - 1]));
            names.extend(others.into_iter().chain([name.to_owned()]));
        }
        let count = names.len();
        let mut expected: Vec<u32> = (0..).take(count).collect();
        expected.sort_by_key(|place| &names[*place as usize]);
        assert_eq!(
            places_in_order(count, |place| &names[place as usize]),
            expected
        );
    }
}
