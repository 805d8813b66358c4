//! Texts that are looked for all at once: one look at each byte, and a comparison only where one of them can begin. Ten thousand
//! answers are looked through for some fifty of them (W9).

/// Up to 32 ASCII texts in lower case, or others as they are, looked for without regard to ASCII case.
pub(super) struct Needles<const N: usize> {
    texts: [&'static str; N],
    /// Which of them can begin with a byte.
    begins: [u32; 256],
}

impl<const N: usize> Needles<N> {
    /// Of these texts, none of which is empty.
    pub(super) const fn of(texts: [&'static str; N]) -> Self {
        assert!(N <= 32, "as many as a u32 has bits");
        let mut begins = [0; 256];
        let mut at = 0;
        while at < N {
            let first = texts[at].as_bytes()[0];
            begins[first.to_ascii_lowercase() as usize] |= 1 << at;
            begins[first.to_ascii_uppercase() as usize] |= 1 << at;
            at += 1;
        }
        Self { texts, begins }
    }

    /// Those that begin at a place, by their number.
    pub(super) fn at(&self, bytes: &[u8], at: usize) -> impl Iterator<Item = usize> {
        let mut left = bytes.get(at).map_or(0, |it| self.begins[usize::from(*it)]);
        std::iter::from_fn(move || {
            while left != 0 {
                let number = left.trailing_zeros() as usize;
                left &= left - 1;
                let needle = self.texts[number].as_bytes();
                let there = bytes.get(at..at + needle.len());
                if there.is_some_and(|it| it.eq_ignore_ascii_case(needle)) {
                    return Some(number);
                }
            }
            None
        })
    }

    /// How many bytes one of them has.
    pub(super) fn length(&self, number: usize) -> usize {
        self.texts[number].len()
    }

    /// Whether any of them is in a text.
    pub(super) fn is_any_in(&self, text: &str) -> bool {
        let bytes = text.as_bytes();
        (0..bytes.len()).any(|at| self.at(bytes, at).next().is_some())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// W9: what is found is what looking for each by itself finds.
    #[test]
    fn all_at_once_finds_what_each_by_itself_does() {
        static NEEDLES: Needles<5> = Needles::of(["ab", "b", "abc", "-x", "靜默"]);
        for text in [
            "",
            "a",
            "xabcb",
            "AB-X",
            "ba靜默",
            "靜",
            "ab\u{9759}\u{9ed8}",
        ] {
            let lower = text.to_ascii_lowercase();
            for (number, needle) in NEEDLES.texts.iter().enumerate() {
                let places = |at: &usize| NEEDLES.at(text.as_bytes(), *at).any(|it| it == number);
                let found: Vec<usize> = (0..text.len()).filter(places).collect();
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
