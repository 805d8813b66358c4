//! Words that are too random for a language, and no reference (LB6).

use super::Found;
use super::forms::{is_base64, is_hex};
use crate::services::refs;

/// What a word ends at.
static ENDS: [bool; 256] = super::bytes_of(b" \t\n\x0b\x0c\r\"',;()[]{}<>`|");

/// All other bytes.
static GOES_ON: [bool; 256] = {
    let mut table = [false; 256];
    let mut byte = 0;
    while byte < 256 {
        table[byte] = !ENDS[byte];
        byte += 1;
    }
    table
};

/// Words that are too random for a language, and no reference.
pub(super) fn words(text: &str, found: &mut Vec<Found>) {
    if text.is_ascii() {
        let runs = super::runs(text.as_bytes(), &GOES_ON, LEAST);
        runs.for_each(|it| look(text, &text[it], found));
    } else {
        let long = super::split(text, &ENDS).filter(|it| it.len() >= LEAST);
        long.for_each(|it| look(text, it, found));
    }
}

/// How long a word is at least of which that can be said.
const LEAST: usize = 16;

/// Looks whether a word is too random.
fn look(text: &str, word: &str, found: &mut Vec<Found>) {
    if !is_named(text, word) {
        let at = word.as_ptr() as usize - text.as_ptr() as usize;
        // A word of several parts is as random as its most random part: a path is not.
        for part in word.split(['=', ':', '.', '/', '@', '&', '?', '#', '\\']) {
            if part.len() >= LEAST && is_random(part) {
                found.push(Found {
                    rule: "random-word",
                    at,
                    length: word.len(),
                });
                break;
            }
        }
        // Padding and slashes are part of Base64.
        let plain = word.trim_end_matches('=');
        if plain.len() >= 32
            && plain.bytes().all(is_base64)
            && classes(plain) == 3
            && entropy(plain) > 4.2
            && !plain.contains("//")
        {
            found.push(Found {
                rule: "random-word",
                at,
                length: word.len(),
            });
        }
    }
}

/// Whether a word says by its form what it is: a reference, the digest of an image, the fingerprint of an SSH key, or a commit that the
/// word before it calls so.
fn is_named(text: &str, word: &str) -> bool {
    let bare = word.trim_end_matches(['.', ':']);
    let digest = bare.rsplit_once('@').map_or(bare, |(_, it)| it);
    if refs::is_ref(bare) || refs::is_digest(digest) {
        return true;
    }
    let is_fingerprint = |it: &str| it.len() == 43 && it.bytes().all(is_base64);
    if bare.strip_prefix("SHA256:").is_some_and(is_fingerprint) {
        return true;
    }
    let at = word.as_ptr() as usize - text.as_ptr() as usize;
    let before = text[..at].trim_end();
    let is_called = ["commit", "revision"].iter().any(|it| before.ends_with(it));
    is_called && (refs::is_hex(bare, 40) || refs::is_hex(bare, 64))
}

fn is_random(word: &str) -> bool {
    if word.bytes().all(is_hex) {
        return word.len() >= 24 && entropy(word) > 2.8;
    }
    let alphabet = word
        .bytes()
        .all(|b| is_base64(b) || matches!(b, b'!' | b'$' | b'%' | b'^' | b'*' | b'~'));
    if !alphabet {
        return false;
    }
    let words = word.split(['-', '_']).filter(|it| !it.is_empty());
    let longest = words.map(str::len).max().unwrap_or(0);
    match classes(word) {
        // Upper, lower and digits, not in the shape of words.
        3 => longest >= 12 && entropy(word) > 3.4,
        2 => longest >= 20 && entropy(word) > 3.8,
        _ => longest >= 28 && entropy(word) > 4.0,
    }
}

/// How many kinds of characters there are: upper, lower, digits.
fn classes(word: &str) -> usize {
    let has = |is: fn(&u8) -> bool| usize::from(word.as_bytes().iter().any(is));
    has(u8::is_ascii_uppercase) + has(u8::is_ascii_lowercase) + has(u8::is_ascii_digit)
}

/// Bits for each character.
fn entropy(word: &str) -> f64 {
    let mut counts = [0_u32; 256];
    for byte in word.bytes() {
        counts[usize::from(byte)] += 1;
    }
    let all = f64::from(u32::try_from(word.len()).unwrap_or(u32::MAX));
    counts
        .iter()
        .filter(|it| **it > 0)
        .map(|it| f64::from(*it) / all)
        .map(|part| -part * part.log2())
        .sum()
}
