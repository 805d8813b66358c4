//! What is hidden by characters that nobody sees: the text as people read it.

use std::borrow::Cow;

/// The text without what is not seen, and with the wide forms of ASCII as ASCII; borrowed where it has neither.
pub(in crate::services) fn seen(text: &str) -> Cow<'_, str> {
    let is_plain = |b: u8| matches!(b, b' '..=b'~' | b'\t' | b'\n' | b'\r');
    // Nearly every text is ASCII (W9).
    if text.bytes().all(is_plain) {
        return Cow::Borrowed(text);
    }
    let mut seen = String::with_capacity(text.len());
    let mut rest = text.chars();
    while let Some(c) = rest.next() {
        match c {
            '\u{1b}' | '\u{9b}' => {
                let mut sequence = rest.clone();
                if skip_sequence(c, &mut sequence) {
                    rest = sequence;
                }
            }
            '\u{ff01}'..='\u{ff5e}' => {
                seen.extend(char::from_u32(c as u32 - 0xff01 + u32::from(b'!')));
            }
            '\u{3000}' => seen.push(' '),
            c if !is_unseen(c) => seen.push(c),
            _ => {}
        }
    }
    if seen == text {
        Cow::Borrowed(text)
    } else {
        Cow::Owned(seen)
    }
}

/// Whether a terminal's control sequence goes on there, which is skipped then: its parameters, and the letter at its end.
fn skip_sequence(start: char, rest: &mut std::str::Chars<'_>) -> bool {
    if start == '\u{1b}' && rest.next() != Some('[') {
        return false;
    }
    let end = rest.find(|c| !matches!(c, ' '..='?'));
    matches!(end, Some('@'..='~'))
}

/// Whether a character is not seen by itself: controls, what Unicode calls default-ignorable, marks upon the letter before, blanks that
/// are no spaces, and what stands for bytes that are no text.
fn is_unseen(c: char) -> bool {
    matches!(
        c,
        '\0'..='\u{8}' | '\u{b}' | '\u{c}' | '\u{e}'..='\u{1f}' | '\u{7f}'..='\u{9f}' | '\u{ad}' | '\u{300}'..='\u{36f}'
            | '\u{483}'..='\u{489}' | '\u{61c}' | '\u{115f}' | '\u{1160}' | '\u{17b4}' | '\u{17b5}' | '\u{180b}'..='\u{180f}'
            | '\u{1ab0}'..='\u{1aff}' | '\u{1dc0}'..='\u{1dff}' | '\u{200b}'..='\u{200f}' | '\u{202a}'..='\u{202e}'
            | '\u{2060}'..='\u{206f}' | '\u{20d0}'..='\u{20ff}' | '\u{2800}' | '\u{3164}' | '\u{fe00}'..='\u{fe0f}'
            | '\u{fe20}'..='\u{fe2f}' | '\u{feff}' | '\u{ffa0}' | '\u{fff0}'..='\u{fffd}' | '\u{1bca0}'..='\u{1bca3}'
            | '\u{1d173}'..='\u{1d17a}' | '\u{e0000}'..='\u{e0fff}'
    )
}
