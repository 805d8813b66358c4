//! Values that a name stands before or around, as in a file: `password: …`, `DB_PASSWORD=…`, `<password>…</password>`, and lines of the
//! account databases.

use super::Found;
use super::called::{self, Kind, is_place, is_placeholder, is_ticket, says_of_it};

/// How long a value is at least.
const LEAST: usize = 6;
/// How long what is called a password is at least: `pw: 4711`.
const LEAST_OF_PASSWORD: usize = 4;

/// `password: hunter2`, with or without quotes.
pub(super) fn assignments(text: &str, found: &mut Vec<Found>) {
    let bytes = text.as_bytes();
    let mut may_be_account = false;
    for at in memchr::memchr2_iter(b'=', b':', bytes) {
        may_be_account |= matches!(bytes[at..], [b':', b':', ..] | [b':', b'0', b':', ..])
            || matches!(bytes[at..], [b':', b'/', next, ..] if next != b'/');
        let before = ended(&bytes[..at], |b| !matches!(b, b'"' | b'\'' | b' '));
        let is_word = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'-');
        let name = &before[ended(before, |b| !is_word(b)).len()..];
        let Some(kind) = called::written(name) else {
            continue;
        };
        // The name of a secret is part of an ARN, and nothing there is its value.
        let word_start = before.iter().rposition(u8::is_ascii_whitespace);
        let word = &before[word_start.map_or(0, |it| it + 1)..];
        if trimmed_start(word).starts_with(b"arn:") {
            continue;
        }
        let rest = text[at + 1..].trim_start_matches([' ', '=', '"', '\'']);
        let length = rest
            .find(|c: char| c.is_whitespace() || matches!(c, '"' | '\'' | ',' | ';'))
            .unwrap_or(rest.len());
        let (value, behind) = rest.split_at(length);
        let line = behind.split('\n').next().unwrap_or_default();
        let stands_alone = line
            .trim_matches([' ', '"', '\'', ',', ';', '}', '\r'])
            .is_empty();
        if is_value(value, kind, bytes[at] == b'=', stands_alone) {
            found.push(Found {
                rule: "assigned-secret",
                at: before.len() - name.len(),
                length,
            });
        }
    }
    // Most texts have no two colons beside a number (W9).
    if may_be_account {
        accounts(text, found);
    }
}

/// Whether what stands behind a name and a sign is a secret. After a colon an ordinary word of several is a sentence: "token: rotated by
/// the owner".
fn is_value(value: &str, kind: Kind, is_equal: bool, stands_alone: bool) -> bool {
    // The end of a list of parameters, or of a remark.
    let is_last = value.ends_with(')') && !value.contains('(');
    let value = value.trim_end_matches(['.', ':', ')']);
    let stands_alone = stands_alone && !is_last;
    let least = match kind {
        Kind::Password => LEAST_OF_PASSWORD,
        Kind::Other | Kind::Pair => LEAST,
    };
    let is_none = is_placeholder(value)
        || value
            .strip_prefix('&')
            .is_some_and(|it| it.bytes().all(|b| b.is_ascii_lowercase()))
        || says_of_it(value)
        || is_place(value, kind)
        || kind != Kind::Password && is_ticket(value);
    if value.len() < least || is_none {
        return false;
    }
    let is_lower = |b: u8| b.is_ascii_lowercase() || matches!(b, b'-' | b'_' | b'/');
    if value.bytes().all(|b| b.is_ascii_alphabetic()) {
        is_equal && value.len() >= LEAST || kind == Kind::Password && stands_alone
    } else if kind != Kind::Password && value.bytes().all(is_lower) {
        // A token has a name, too.
        is_equal
    } else {
        value.is_ascii() || is_equal
    }
}

/// `<password>hunter2</password>`.
pub(super) fn tagged(text: &str, found: &mut Vec<Found>) {
    let bytes = text.as_bytes();
    for close in memchr::memchr_iter(b'<', bytes) {
        if bytes.get(close + 1) != Some(&b'/') {
            continue;
        }
        let is_word = |b: &u8| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'-' | b'.');
        let rest = &bytes[close + 2..];
        let local = rest
            .iter()
            .position(|b| *b == b':')
            .filter(|it| rest[..*it].iter().all(is_word));
        let rest = &rest[local.map_or(0, |it| it + 1)..];
        let name = &rest[..rest.iter().position(|b| !is_word(b)).unwrap_or(rest.len())];
        if called::written(name).is_none() && !name.eq_ignore_ascii_case(b"pass") {
            continue;
        }
        let Some(open) = memchr::memrchr(b'>', &bytes[..close]) else {
            continue;
        };
        let value = text[open + 1..close].trim();
        if value.len() >= LEAST_OF_PASSWORD
            && !value.contains(char::is_whitespace)
            && !is_placeholder(value)
            && !says_of_it(value)
            && !is_place(value, Kind::Password)
        {
            found.push(Found {
                rule: "assigned-secret",
                at: open + 1,
                length: value.len(),
            });
        }
    }
}

/// A line of `/etc/shadow` or `/etc/passwd` with the hash of a password: `root:aB3xY9zQ1LmNo:19000:0:99999:7:::`.
fn accounts(text: &str, found: &mut Vec<Found>) {
    for word in text.split_whitespace() {
        let mut fields = word.splitn(5, ':');
        let (Some(name), Some(hash), Some(day), Some(more), Some(_)) = (
            fields.next(),
            fields.next(),
            fields.next(),
            fields.next(),
            fields.next(),
        ) else {
            continue;
        };
        let is_number = |it: &str| !it.is_empty() && it.bytes().all(|b| b.is_ascii_digit());
        let is_name =
            name.ends_with(|c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '-' | '$'));
        if is_name && is_number(day) && is_number(more) && is_hash(hash.trim_start_matches('!')) {
            found.push(Found {
                rule: "password-hash",
                at: hash.as_ptr() as usize - text.as_ptr() as usize,
                length: hash.len(),
            });
        }
    }
}

/// Whether that is the hash of a password, in one of the forms of crypt(3).
fn is_hash(hash: &str) -> bool {
    let is_crypt = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'/');
    let mixed = |it: &str| {
        it.bytes()
            .any(|b| b.is_ascii_uppercase() || b.is_ascii_digit())
            && it.bytes().any(|b| b.is_ascii_alphabetic())
    };
    hash.starts_with(['$', '_']) && hash.len() >= 8
        || hash.len() == 13 && hash.bytes().all(is_crypt) && mixed(hash)
        || hash.len() == 32 && hash.bytes().all(|b| b.is_ascii_hexdigit())
}

/// Without quotes and brackets.
fn trimmed_start(word: &[u8]) -> &[u8] {
    let start = word
        .iter()
        .position(|b| !matches!(b, b'"' | b'\'' | b'(' | b'[' | b'`'));
    &word[start.unwrap_or(word.len())..]
}

/// The bytes up to the last of which that is so.
fn ended(bytes: &[u8], is_so: impl Fn(u8) -> bool) -> &[u8] {
    let last = bytes.iter().rposition(|b| is_so(*b));
    &bytes[..last.map_or(0, |it| it + 1)]
}
