//! Finds names that are the same, the same but for case, or that look the same, among a million.

use super::roster::Person;

/// A name, and whose it is.
pub(super) type Named<'p, 'a> = (&'p Person<'a>, &'p str);

/// What is taken for the same when names are compared.
#[derive(Clone, Copy, Debug)]
pub(super) enum Fold {
    /// Nothing but the same letter.
    Nothing,
    /// A letter and its capital, in ASCII.
    Case,
    /// 1 and l, 0 and o.
    Look,
}

impl Fold {
    fn byte(self, byte: u8) -> u8 {
        match (self, byte) {
            (Self::Case, _) => byte.to_ascii_lowercase(),
            (Self::Look, b'1') => b'l',
            (Self::Look, b'0') => b'o',
            (Self::Nothing | Self::Look, _) => byte,
        }
    }

    /// Eight bytes at once: byte by byte, these hashes are a tenth of what reading a roster costs (`tests/bench/bench million`).
    fn word(self, word: u64) -> u64 {
        const ONES: u64 = u64::from_ne_bytes([1; 8]);
        const HIGH: u64 = ONES << 7;
        let low = word & !HIGH;
        // The highest bit of each ASCII byte that is at least `first`: the sum of two bytes below 128 stays within its byte.
        let from = |first: u8| (low + ONES * u64::from(128 - first)) & !word & HIGH;
        let between = |first: u8, last: u8| (from(first) & !from(last + 1)) >> 7;
        match self {
            Self::Nothing => word,
            // A capital becomes its letter with one bit more.
            Self::Case => word | between(b'A', b'Z') << 5,
            Self::Look => {
                let become_other = |a: u8, b: u8| between(a, a) * u64::from(a ^ b);
                word ^ become_other(b'1', b'l') ^ become_other(b'0', b'o')
            }
        }
    }
}

/// The groups of at least two names that are equal once each byte went through `fold`, each in the order of the file.
///
/// Looks for hashes that are there twice first: a million names are compared without looking at them again. Only those
/// whose hash is, by accident or by intent, are then compared by their letters.
pub(super) fn alike<'p, 'a: 'p>(
    names: impl Iterator<Item = Named<'p, 'a>> + Clone,
    fold: Fold,
) -> Vec<Vec<Named<'p, 'a>>> {
    let repeated = repeated(names.clone().map(|(_, name)| hash(name, fold)).collect());
    if repeated.is_empty() {
        return Vec::new();
    }
    let suspects = names.filter(|(_, name)| repeated.binary_search(&hash(name, fold)).is_ok());
    let mut suspects: Vec<(u32, Named<'p, 'a>)> = (0..).zip(suspects).collect();
    // Letter by letter, so that nothing is kept for each name; equal names stay in the order of the file.
    let letters = |named: &Named<'p, 'a>| named.1.bytes().map(|it| fold.byte(it));
    suspects.sort_unstable_by(|(first, a), (second, b)| {
        letters(a).cmp(letters(b)).then(first.cmp(second))
    });
    let groups = suspects
        .chunk_by(|(_, a), (_, b)| letters(a).eq(letters(b)))
        .filter(|chunk| chunk.len() > 1);
    groups
        .map(|chunk| chunk.iter().map(|(_, named)| *named).collect())
        .collect()
}

/// Those of `hashes` that are there more than once, sorted.
fn repeated(hashes: Vec<u64>) -> Vec<u64> {
    // A table of bits, so many of them that few hashes meet another one by accident; only those are sorted.
    let mut seen = Bits::of((hashes.len() * 32).next_power_of_two());
    let mut met = Bits::of(0);
    for hash in &hashes {
        if seen.set(*hash) {
            if met.is_empty() {
                met = Bits::of(seen.len());
            }
            met.set(*hash);
        }
    }
    if met.is_empty() {
        return Vec::new();
    }
    let mut suspects = hashes;
    suspects.retain(|hash| met.has(*hash));
    suspects.sort_unstable();
    let twice = suspects.windows(2).filter(|pair| pair[0] == pair[1]);
    let mut repeated: Vec<u64> = twice.map(|pair| pair[0]).collect();
    repeated.dedup();
    repeated
}

/// A bit for each hash, and the same one for some.
struct Bits(Vec<u64>);

impl Bits {
    /// `bits` is a power of two, or 0.
    fn of(bits: usize) -> Self {
        Self(vec![0; bits.div_ceil(64)])
    }

    fn len(&self) -> usize {
        self.0.len() * 64
    }

    fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The word of a hash, and its bit therein.
    fn place(&self, hash: u64) -> (usize, u64) {
        // The length is a power of two, and what is cut off is what does not matter.
        let word = (hash >> 6) as usize & (self.0.len() - 1);
        (word, 1 << (hash & 63))
    }

    fn has(&self, hash: u64) -> bool {
        let (word, bit) = self.place(hash);
        self.0[word] & bit != 0
    }

    /// Sets the bit; whether it was set before.
    fn set(&mut self, hash: u64) -> bool {
        let (word, bit) = self.place(hash);
        let before = self.0[word];
        self.0[word] = before | bit;
        before & bit != 0
    }
}

/// Spreads names so well that hardly two of a million meet by accident, numbered ones too; nothing depends on nobody finding two that do.
///
/// Whole words are loaded, of which the last two may overlap: copying what is left over cost more than the hash itself
/// (`tests/bench/bench million`).
fn hash(name: &str, fold: Fold) -> u64 {
    // Each of these steps can be undone, so that names of one length that differ in one word never meet, and others by accident alone.
    let mix = |hash: u64, word: [u8; 8]| {
        let mixed = hash ^ fold.word(u64::from_le_bytes(word));
        let mixed = (mixed ^ mixed >> 32).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        let mixed = (mixed ^ mixed >> 29).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed ^ mixed >> 32
    };
    let bytes = name.as_bytes();
    // Hashed first: it tells how much of the last word was there already.
    let length = (bytes.len() as u64).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    let Some(last) = bytes.last_chunk() else {
        return mix(length, short_word(bytes));
    };
    let (words, _) = bytes[..bytes.len() - 1].as_chunks();
    mix(
        words.iter().fold(length, |hash, word| mix(hash, *word)),
        *last,
    )
}

/// A name that is shorter than a word, as one word: among names of its length no other has it.
fn short_word(bytes: &[u8]) -> [u8; 8] {
    match (bytes, bytes.last_chunk()) {
        ([a, b, c, d, ..], Some([e, f, g, h])) => [*a, *b, *c, *d, *e, *f, *g, *h],
        ([a, b, c], _) => [*a, *b, *c, 0, 0, 0, 0, 0],
        ([a, b], _) => [*a, *b, 0, 0, 0, 0, 0, 0],
        ([a], _) => [*a, 0, 0, 0, 0, 0, 0, 0],
        _ => [0; 8],
    }
}

#[cfg(test)]
mod tests {
    use std::borrow::Cow;

    use super::*;
    use crate::repo::tiers::Tier;

    #[test]
    fn hashes_are_repeated_as_sorting_says() {
        const NONE: [u64; 0] = [];
        assert_eq!(repeated(Vec::new()), NONE);
        assert_eq!(repeated(vec![7]), NONE);
        // Of one bit, and others.
        let far = 1 << 40;
        assert_eq!(repeated(vec![7, 7 + far, 7 + 2 * far]), NONE);
        assert_eq!(repeated(vec![7 + far, 7, 9, 7, 9, 7, u64::MAX]), [7, 9]);
        let many = || (0..5_000_u64).map(|it| it.wrapping_mul(0x9e37_79b9_7f4a_7c15));
        assert_eq!(repeated(many().collect()), NONE);
        let again: Vec<u64> = many().chain(many().take(3)).collect();
        let mut expected: Vec<u64> = many().take(3).collect();
        expected.sort_unstable();
        assert_eq!(repeated(again), expected);
    }

    #[test]
    fn names_that_collide_by_hash_are_told_apart() {
        let person = |name: &'static str, at| Person {
            os_user: Cow::Borrowed(name),
            authentik_user: Cow::Borrowed(""),
            k8s_user: Cow::Borrowed(""),
            tier: Tier::Admin,
            namespaces: std::iter::empty().collect(),
            at,
            more: None,
        };
        let people = [
            person("b", 1),
            person("a", 2),
            person("B", 3),
            person("c", 4),
        ];
        let groups = alike(
            people.iter().map(|person| (person, &*person.os_user)),
            Fold::Case,
        );
        let shown: Vec<Vec<&str>> = groups
            .iter()
            .map(|group| group.iter().map(|(_, name)| *name).collect())
            .collect();
        assert_eq!(shown, [["b", "B"]]);
        assert_eq!(hash("Bb", Fold::Case), hash("bB", Fold::Case));
    }

    #[test]
    fn numbered_names_do_not_meet() {
        let numbered: [fn(u32) -> String; 4] = [
            |it| format!("user{it:07}"),
            |it| format!("user{it:07}@example.com"),
            |it| format!("ns-{it}"),
            |it| format!("{it:x}"),
        ];
        for name in numbered {
            for fold in [Fold::Nothing, Fold::Case, Fold::Look] {
                let hashes = (0..200_000).map(|it| hash(&name(it), fold)).collect();
                // Under `Look`, 1 is l and 0 is o, and no two of these names become one by it.
                assert_eq!(repeated(hashes), [0; 0], "{} {fold:?}", name(7));
            }
        }
    }

    #[test]
    fn each_byte_and_the_length_are_hashed() {
        let long = "abcdefghijklmnopqrstuvwxyz";
        let mut seen = std::collections::BTreeSet::new();
        for length in 0..=long.len() {
            let name = &long[..length];
            assert!(seen.insert(hash(name, Fold::Nothing)), "{name}");
            for place in 0..length {
                let mut other = name.to_owned();
                other.replace_range(place..=place, "Q");
                assert!(seen.insert(hash(&other, Fold::Nothing)), "{other}");
            }
        }
    }

    #[test]
    fn eight_bytes_are_folded_as_each_of_them_is() {
        for fold in [Fold::Nothing, Fold::Case, Fold::Look] {
            for byte in 0..=255_u8 {
                for place in 0..8 {
                    for other in [
                        0, 1, b'/', b'0', b'1', b'@', b'A', b'Z', b'[', b'z', 127, 255,
                    ] {
                        let mut word = [other; 8];
                        word[place] = byte;
                        let expected = u64::from_le_bytes(word.map(|it| fold.byte(it)));
                        assert_eq!(fold.word(u64::from_le_bytes(word)), expected, "{word:?}");
                    }
                }
            }
        }
    }
}
