//! Finds what must not stand in an answer (W5): secrets, and payloads that nobody redacted. A few anchored forms of our own, and a
//! measure of randomness for words that are no reference.
//!
//! What is found is told by the name of a rule and a place, never by any part of it (LB5). A word that has the form of a reference
//! (`sha256:…`, `commit:…`, `ticket:…`, `uuid:…`) is a digest or a name, and its randomness is not held against it (LB6).

use std::borrow::Cow;
use std::ops::Range;

use assigned::assignments;
use forms::{BEGINS, FORMS, Form, PAYLOAD_RULES, PAYLOADS, is_upper_or_digit};

mod assigned;
mod called;
mod encoded;
mod forms;
mod hidden;
mod options;
mod prose;
mod random;

/// The most bytes of one text that are looked at; a longer one is a payload by that alone.
pub const LARGEST: usize = 64 << 10;

/// The rule about a text that is longer than that.
pub const TOO_LONG: &str = "too-long";

/// Something that must not be there.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Found {
    /// Which rule says so.
    pub rule: &'static str,
    /// Where it begins, in bytes.
    pub at: usize,
    /// How many bytes it has, about.
    pub length: usize,
}

/// A rule by its name, of whatever version gave it.
pub fn rule_named(name: &str) -> &'static str {
    let of_forms = FORMS.iter().map(|it| it.rule);
    let others = [
        "password-in-address",
        "assigned-secret",
        "told-secret",
        "option-secret",
        "secret-in-name",
        "env-dump",
        "random-word",
        "base64",
        TOO_LONG,
    ];
    let mut all = of_forms.chain(PAYLOAD_RULES).chain(others);
    all.find(|it| *it == name).unwrap_or("of another version")
}

/// Looks through a text: as it stands, with its lines joined, through what is Base64 in it, and as people see it, without what is
/// hidden between its letters. The places of all but the first are those of the text as a whole.
pub fn scan(text: &str) -> Vec<Found> {
    scan_with(text, |text| Cow::Borrowed(text))
}

/// The same where some of the text is no free text: it is left out of what is looked through, and keeps its length.
pub(super) fn scan_with(text: &str, free: impl Fn(&str) -> Cow<'_, str>) -> Vec<Found> {
    if text.len() > LARGEST {
        return vec![Found {
            rule: TOO_LONG,
            at: 0,
            length: text.len(),
        }];
    }
    let found = scan_as_it_is(&free(text));
    if !found.is_empty() {
        return found;
    }
    match hidden::seen(text) {
        Cow::Borrowed(_) => found,
        Cow::Owned(seen) => {
            let found = scan_as_it_is(&free(&seen)).into_iter();
            found.map(|it| Found { at: 0, ..it }).take(1).collect()
        }
    }
}

fn scan_as_it_is(text: &str) -> Vec<Found> {
    let mut found = Vec::new();
    anchored(text, &mut found);
    assignments(text, &mut found);
    assigned::tagged(text, &mut found);
    prose::told(text, &mut found);
    options::told(text, &mut found);
    env_dump(text, &mut found);
    random::words(text, &mut found);
    if found.is_empty() {
        let joined = encoded::joined(text);
        let mut hidden = Vec::new();
        if joined.len() < text.len() {
            anchored(&joined, &mut hidden);
        }
        encoded::decoded(&joined, &mut hidden);
        if joined.len() < text.len() {
            encoded::decoded(text, &mut hidden);
        }
        let whole = |it: Found| Found { at: 0, ..it };
        found.extend(hidden.into_iter().map(whole));
    }
    found.sort_unstable_by_key(|it| (it.at, it.rule));
    // One place is told of once.
    found.dedup_by_key(|it| it.at);
    found
}

/// Whether the name of a file tells a secret (LB5).
pub fn is_in_name(name: &str) -> bool {
    prose::is_in_name(name) || !scan(name).is_empty()
}

/// Whether a name has a token in it that is known by how it begins: of a surface that is asked about, which may be called as it likes
/// otherwise.
pub(super) fn is_token(name: &str) -> bool {
    let mut found = Vec::new();
    anchored(name, &mut found);
    !found.is_empty()
}

/// The tokens of a text of any length, and the keys that begin as such do. It may have digests, and words of a configuration.
pub fn tokens(text: &str) -> Vec<Found> {
    let mut found = Vec::new();
    anchored(text, &mut found);
    found.retain(|it| it.rule == "private-key" || !PAYLOAD_RULES.contains(&it.rule));
    found.sort_unstable_by_key(|it| (it.at, it.rule));
    found.dedup_by_key(|it| it.at);
    found
}

/// That the name of a file tells a secret.
pub fn of_name(name: &str) -> Found {
    Found {
        rule: "secret-in-name",
        at: 0,
        length: name.len(),
    }
}

/// Tokens known by how they begin, and payloads: in one pass, as most bytes begin none of them.
fn anchored(text: &str, found: &mut Vec<Found>) {
    let bytes = text.as_bytes();
    // Each payload is told of where it stands first.
    let mut told = [false; PAYLOAD_RULES.len()];
    let [firsts, seconds, thirds] = &BEGINS;
    for (at, there) in bytes.windows(3).enumerate() {
        let &[first, second, third] = there else {
            continue;
        };
        let can_begin = firsts[usize::from(first)] & seconds[usize::from(second)];
        let can_begin = can_begin & thirds[usize::from(third)];
        if there == b"://" {
            in_address(text, at, found);
        }
        if can_begin == 0 {
            continue;
        }
        let [payloads, mut forms] = [can_begin & u64::from(u32::MAX), can_begin >> 32];
        for payload in PAYLOADS.of_bits(payloads, &bytes[at..]) {
            if !std::mem::replace(&mut told[payload], true) {
                found.push(Found {
                    rule: PAYLOAD_RULES[payload],
                    at,
                    length: PAYLOADS.length(payload),
                });
            }
        }
        // A token begins where no other word goes on.
        let begins =
            at == 0 || !bytes[at - 1].is_ascii_alphanumeric() || matches!(first, b':' | b'$');
        while begins && forms != 0 {
            let form = &FORMS[forms.trailing_zeros() as usize];
            forms &= forms - 1;
            let rest = &bytes[at..];
            let is_there = |it: &&&str| rest.starts_with(it.as_bytes());
            let Some(begin) = form.begins.iter().find(is_there) else {
                continue;
            };
            let body = rest[begin.len()..]
                .iter()
                .take_while(|b| (form.body)(**b))
                .count();
            let is_part = || is_part(form, begin, &rest[begin.len()..], body);
            if body >= form.least || is_part() {
                found.push(Found {
                    rule: form.rule,
                    at,
                    length: begin.len() + body,
                });
            }
        }
    }
}

/// Whether a token stands there in part: a few of its characters, and dots or stars for the others. Those few are known then.
fn is_part(form: &Form, begin: &str, rest: &[u8], body: usize) -> bool {
    static LEFT_OUT: [&[u8]; 5] = ["…".as_bytes(), b"...", b"***", "•••".as_bytes(), b"xxxx"];
    let is_left_out = |rest: &[u8]| LEFT_OUT.iter().any(|it| rest.starts_with(it));
    // Where points are part of a token, they are counted among its characters.
    let points = rest[..body].windows(3).position(|it| it == b"...");
    let body = points.unwrap_or(body);
    if !is_left_out(&rest[body..]) {
        return false;
    }
    let is_mixed = |it: &[u8]| {
        it.iter()
            .any(|b| b.is_ascii_digit() || b.is_ascii_uppercase())
    };
    let shown = &rest[..body];
    // `sk-learn...` is a word.
    let is_telling = begin.len() >= 4 && form.rule != "bearer-token";
    if shown.len() >= 2 && (is_telling || is_mixed(shown)) {
        return true;
    }
    let is_mark = |b: &u8| !b.is_ascii_alphanumeric();
    let behind = &rest[body..rest.len().min(body + 24)];
    let end = &behind[behind
        .iter()
        .position(|b| !is_mark(b))
        .unwrap_or(behind.len())..];
    let end = &end[..end.iter().position(is_mark).unwrap_or(end.len())];
    end.len() >= 3 && is_mixed(end)
}

/// `scheme://user:password@host`.
fn in_address(text: &str, at: usize, found: &mut Vec<Found>) {
    let Some(rest) = text[at..].strip_prefix("://") else {
        return;
    };
    let end = rest
        .find(|c: char| c.is_whitespace() || matches!(c, '/' | '"' | '\''))
        .unwrap_or(rest.len());
    let Some((user, _)) = rest[..end].rsplit_once('@') else {
        return;
    };
    if user
        .split_once(':')
        .is_some_and(|(_, password)| !password.is_empty())
    {
        found.push(Found {
            rule: "password-in-address",
            at,
            length: end,
        });
    }
}

/// Three variables of an environment in one text.
fn env_dump(text: &str, found: &mut Vec<Found>) {
    // Most texts have none (W9).
    if memchr::memchr_iter(b'=', text.as_bytes()).nth(2).is_none() {
        return;
    }
    let is_variable = |word: &&str| {
        word.split_once('=').is_some_and(|(name, value)| {
            name.len() >= 3
                && !value.is_empty()
                && name.bytes().all(|b| is_upper_or_digit(b) || b == b'_')
        })
    };
    let mut variables = text.split_whitespace().filter(is_variable);
    if let Some(third) = variables.nth(2) {
        let at = third.as_ptr() as usize - text.as_ptr() as usize;
        found.push(Found {
            rule: "env-dump",
            at,
            length: third.len(),
        });
    }
}

/// A table that says which bytes are among these.
pub(super) const fn bytes_of(all: &[u8]) -> [bool; 256] {
    let mut table = [false; 256];
    let mut at = 0;
    while at < all.len() {
        table[all[at] as usize] = true;
        at += 1;
    }
    table
}

/// Hexadecimal digits.
pub(super) static IS_HEX: [bool; 256] = bytes_of(b"0123456789abcdefABCDEF");

/// Where so many bytes or more stand in a row that are all among these. Nearly all text has shorter words, and of that a few bytes alone
/// are looked at (W9).
pub(super) fn runs<'t>(
    bytes: &'t [u8],
    among: &'static [bool; 256],
    least: usize,
) -> impl Iterator<Item = Range<usize>> + 't {
    let is_among = |b: &u8| among[usize::from(*b)];
    let mut from = 0;
    std::iter::from_fn(move || {
        // A run that begins at `from` has all of these.
        while let Some(there) = bytes.get(from..from + least) {
            let Some(other) = there.iter().rposition(|b| !is_among(b)) else {
                let more = &bytes[from + least..];
                let more = more.iter().position(|b| !is_among(b));
                let run = from..more.map_or(bytes.len(), |it| from + least + it);
                from = run.end;
                return Some(run);
            };
            from += other + 1;
        }
        None
    })
}

/// The words of a text: what stands between these bytes, and between spaces of any script.
pub(super) fn split<'t>(
    text: &'t str,
    ends: &'static [bool; 256],
) -> impl Iterator<Item = &'t str> {
    let is_ascii = text.is_ascii();
    let mut rest = Some(text);
    std::iter::from_fn(move || {
        let text = rest?;
        // Nearly every text is ASCII, and a byte is looked up faster than a character is told (W9).
        let end = if is_ascii {
            let mut bytes = text.bytes();
            bytes.position(|b| ends[usize::from(b)]).map(|at| (at, 1))
        } else {
            let mut all = text.char_indices();
            let is_end = |c: char| c.is_whitespace() || c.is_ascii() && ends[c as usize];
            all.find(|(_, c)| is_end(*c))
                .map(|(at, c)| (at, c.len_utf8()))
        };
        let (word, more) = match end {
            Some((at, length)) => (&text[..at], Some(&text[at + length..])),
            None => (text, None),
        };
        rest = more;
        Some(word)
    })
}

#[cfg(test)]
mod tests;
