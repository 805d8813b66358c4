//! What is hidden by how it is written: over several lines, or in Base64.

use super::{Found, anchored, assignments, env_dump};

static IS_BASE64: [bool; 256] =
    super::bytes_of(b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/=_-");

/// What joins lines.
static IS_JOINT: [bool; 256] = super::bytes_of(b" \t\n\x0b\x0c\r\"'\\+|>");

/// The text as one word: without what joins lines.
pub(super) fn joined(text: &str) -> String {
    if text.is_ascii() {
        let mut kept = vec![0; text.len()];
        let mut length = 0;
        // Written each time, as a branch on every byte costs more than that (W9).
        for byte in text.bytes() {
            kept[length] = byte;
            length += usize::from(!IS_JOINT[usize::from(byte)]);
        }
        kept.truncate(length);
        return String::from_utf8(kept).unwrap_or_default();
    }
    let mut joined = String::with_capacity(text.len());
    joined.extend(
        text.chars()
            .filter(|c| !c.is_whitespace() && !matches!(c, '"' | '\'' | '\\' | '+' | '|' | '>')),
    );
    joined
}

/// Looks through what is Base64.
pub(super) fn decoded(text: &str, found: &mut Vec<Found>) {
    let bytes = text.as_bytes();
    for run in super::runs(bytes, &IS_BASE64, 16) {
        let word = &bytes[run];
        if !is_text(word) {
            continue;
        }
        let Some(inner) = base64(word) else { continue };
        let Ok(inner) = String::from_utf8(inner) else {
            continue;
        };
        let before = found.len();
        anchored(&inner, found);
        assignments(&inner, found);
        env_dump(&inner, found);
        if found.len() > before {
            found.truncate(before);
            found.push(Found {
                rule: "base64",
                at: 0,
                length: word.len(),
            });
        }
    }
}

fn base64(word: &[u8]) -> Option<Vec<u8>> {
    let mut out = Vec::with_capacity(word.len());
    let (mut bits, mut held) = (0_u32, 0_u32);
    for byte in without_padding(word) {
        bits = bits << 6 | six(*byte)?;
        held += 6;
        if held >= 8 {
            held -= 8;
            out.push(u8::try_from(bits >> held & 0xff).ok()?);
        }
    }
    Some(out)
}

/// Whether the first four characters give text, as far as they tell: nearly every word is given up here (W9).
fn is_text(word: &[u8]) -> bool {
    let Some(&[a, b, c, d]) = word.get(..4) else {
        return false;
    };
    let (Some(a), Some(b), Some(c), Some(d)) = (six(a), six(b), six(c), six(d)) else {
        return false;
    };
    let bits = a << 18 | b << 12 | c << 6 | d;
    let [_, first, second, third] = bits.to_be_bytes();
    match std::str::from_utf8(&[first, second, third]) {
        Ok(_) => true,
        // The rest of the last character is still to come.
        Err(error) => error.error_len().is_none(),
    }
}

fn without_padding(word: &[u8]) -> &[u8] {
    let end = word.iter().rposition(|b| *b != b'=');
    &word[..end.map_or(0, |it| it + 1)]
}

/// The six bits of a character.
fn six(byte: u8) -> Option<u32> {
    let six = match byte {
        b'A'..=b'Z' => byte - b'A',
        b'a'..=b'z' => byte - b'a' + 26,
        b'0'..=b'9' => byte - b'0' + 52,
        b'+' | b'-' => 62,
        b'/' | b'_' => 63,
        _ => return None,
    };
    Some(u32::from(six))
}
