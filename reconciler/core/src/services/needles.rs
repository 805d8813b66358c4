//! Texts that are looked for all at once: one look at each byte, and a comparison only where one of them can begin. Ten thousand
//! answers are looked through for some hundred of them (W9).

/// How many bytes of each text are looked up before it is compared: after two, one place in ten is compared in vain.
const LOOKED_UP: usize = 3;

/// Up to 64 ASCII texts in lower case, or others as they are, looked for without regard to ASCII case.
pub(super) struct Needles<const N: usize> {
    texts: [&'static str; N],
    /// Which of them can have a byte as the first, the second, the third: a bit for each.
    begins: [[u64; 256]; LOOKED_UP],
}

/// Marks that a text begins with these bytes.
pub(super) const fn mark(tables: &mut [[u64; 256]; LOOKED_UP], text: &[u8], number: usize) {
    assert!(number < 64, "as many as a u64 has bits");
    assert!(text.len() >= LOOKED_UP, "every text has as many bytes");
    let mut at = 0;
    while at < LOOKED_UP {
        tables[at][text[at] as usize] |= 1 << number;
        at += 1;
    }
}

/// Two tables of texts as one: the second in the upper half of each number.
pub(super) const fn both(
    lower: &[[u64; 256]; LOOKED_UP],
    upper: &[[u64; 256]; LOOKED_UP],
) -> [[u64; 256]; LOOKED_UP] {
    let mut tables = [[0; 256]; LOOKED_UP];
    let mut at = 0;
    while at < LOOKED_UP {
        let mut byte = 0;
        while byte < 256 {
            assert!(lower[at][byte] >> 32 == 0 && upper[at][byte] >> 32 == 0);
            tables[at][byte] = lower[at][byte] | upper[at][byte] << 32;
            byte += 1;
        }
        at += 1;
    }
    tables
}

impl<const N: usize> Needles<N> {
    /// Of these texts, each of three bytes at least.
    pub(super) const fn of(texts: [&'static str; N]) -> Self {
        let mut begins = [[0; 256]; LOOKED_UP];
        let mut number = 0;
        while number < N {
            let text = texts[number].as_bytes();
            mark(&mut begins, text, number);
            let mut at = 0;
            while at < LOOKED_UP {
                begins[at][text[at].to_ascii_uppercase() as usize] |= 1 << number;
                at += 1;
            }
            number += 1;
        }
        Self { texts, begins }
    }

    /// Which of them can begin with three bytes.
    pub(super) const fn tables(&self) -> &[[u64; 256]; LOOKED_UP] {
        &self.begins
    }

    /// Those that begin at a place, out of the ones whose bits are set; by their number.
    pub(super) fn of_bits(&self, mut bits: u64, text: &[u8]) -> impl Iterator<Item = usize> {
        std::iter::from_fn(move || {
            while bits != 0 {
                let number = bits.trailing_zeros() as usize;
                bits &= bits - 1;
                let needle = self.texts[number].as_bytes();
                let there = text.get(..needle.len());
                if there.is_some_and(|it| it.eq_ignore_ascii_case(needle)) {
                    return Some(number);
                }
            }
            None
        })
    }

    /// Every place where one of them stands, and which it is by its number.
    pub(super) fn all_in(&self, bytes: &[u8]) -> impl Iterator<Item = (usize, usize)> {
        let [firsts, seconds, thirds] = &self.begins;
        let places = bytes.windows(LOOKED_UP).enumerate();
        let can_begin = places.filter_map(move |(at, there)| {
            let &[first, second, third] = there else {
                return None;
            };
            let bits = firsts[usize::from(first)]
                & seconds[usize::from(second)]
                & thirds[usize::from(third)];
            (bits != 0).then_some((at, bits))
        });
        can_begin.flat_map(|(at, bits)| self.of_bits(bits, &bytes[at..]).map(move |it| (at, it)))
    }

    /// How many bytes one of them has.
    pub(super) fn length(&self, number: usize) -> usize {
        self.texts[number].len()
    }

    /// Whether any of them is in a text.
    pub(super) fn is_any_in(&self, text: &str) -> bool {
        self.all_in(text.as_bytes()).next().is_some()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// W9: what is found is what looking for each by itself finds.
    #[test]
    fn all_at_once_finds_what_each_by_itself_does() {
        static NEEDLES: Needles<5> = Needles::of(["abc", "bcb", "abcb", "-xy", "靜默"]);
        for text in [
            "",
            "a",
            "ab",
            "xabcb",
            "AbC-XY",
            "bca靜默",
            "靜",
            "abc\u{9759}\u{9ed8}",
            "-x",
        ] {
            let lower = text.to_ascii_lowercase();
            for (number, needle) in NEEDLES.texts.iter().enumerate() {
                let all = NEEDLES.all_in(text.as_bytes());
                let found: Vec<usize> = all.filter(|it| it.1 == number).map(|it| it.0).collect();
                let wanted: Vec<usize> = (0..text.len())
                    .filter(|at| lower.as_bytes()[*at..].starts_with(needle.as_bytes()))
                    .collect();
                assert_eq!(found, wanted, "{needle} in {text}");
            }
            let any = NEEDLES.texts.iter().any(|it| lower.contains(it));
            assert_eq!(NEEDLES.is_any_in(text), any, "{text}");
        }
    }
}
