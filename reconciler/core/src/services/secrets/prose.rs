//! Secrets that are told in a sentence: "the password is …", "pw: …", "Passwort lautet …", "密码是…" (W5). What is told is a secret
//! where it looks like none of a language: it has a digit, or a sign that words have not, or stands in quotes by itself.

use super::{Found, is_placeholder};
use crate::services::needles::Needles;
use crate::services::refs;

/// What a secret is called in a sentence. `pw` is too short to be looked for without what follows it.
static CALLED: Needles<21> = Needles::of([
    "password",
    "passwd",
    "passphrase",
    "passcode",
    "passwort",
    "kennwort",
    "pwd",
    "pw:",
    "pw ",
    "pw=",
    "mot de passe",
    "contraseña",
    "contrasena",
    "密码",
    "密碼",
    "口令",
    "パスワード",
    "secret",
    "token",
    "credential",
    "api key",
]);

/// What stands between a name and what it is: words, and signs that may end a word.
static IS: [&str; 19] = [
    "is", "was", "are", "were", "to", "lautet", "ist", "war", "sind", "est", "es", "equals",
    "reads", "=", "==", ":", "->", "=>", "→",
];
/// The same in scripts that put no space there.
static IS_WIDE: [&str; 7] = ["：", "＝", "是", "为", "為", "は", "→"];
/// What may stand before the value all the same.
static STILL: [&str; 14] = [
    "now",
    "still",
    "currently",
    "set",
    "to",
    "just",
    "again",
    "simply",
    "always",
    "jetzt",
    "nun",
    "noch",
    "here:",
    "follows:",
];
/// What stands between a value and the name behind it: "hunter22 is the password".
static BEHIND: [&str; 6] = ["is", "as", "was", "ist", "als", "war"];
/// How many words lie between a name and what it is at most: "the password of the staging database is".
const BETWEEN: usize = 6;
/// How long a value in a sentence is at least.
const LEAST: usize = 6;
/// How long a password is at least where a sign stands before it, as in `pw: 4711`.
const LEAST_AFTER_SIGN: usize = 4;
/// So many of [`CALLED`] are passwords; the others have a lifetime or a number, too.
const PASSWORDS: usize = 17;
/// What stands between a name and what is told of it itself: "the password for root: …"; a "token lifetime: …" is no token.
static OF: [&str; 16] = [
    "for", "of", "on", "at", "in", "to", "is", "für", "von", "des", "der", "zu", "de", "del",
    "pour", "para",
];

/// What is told of.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    /// A password: any word that stands in quotes is one.
    Password,
    /// Something that has a lifetime, or a name.
    Other,
}

impl Kind {
    /// How long it is at least where a sign stands before it.
    fn after_sign(self) -> usize {
        match self {
            Kind::Password => LEAST_AFTER_SIGN,
            Kind::Other => LEAST,
        }
    }
}

/// Looks for secrets that a sentence tells.
pub(super) fn told(text: &str, found: &mut Vec<Found>) {
    let bytes = text.as_bytes();
    for (at, called) in CALLED.all_in(bytes) {
        let is_wide = !bytes[at].is_ascii();
        let goes_on = |b: Option<&u8>| b.is_some_and(u8::is_ascii_alphanumeric);
        let before = at.checked_sub(1).and_then(|it| bytes.get(it));
        let mut end = at + CALLED.length(called);
        if text[..end].ends_with([':', ' ', '=']) {
            end -= 1;
        }
        if matches!(bytes.get(end), Some(b's' | b'S')) {
            end += 1;
        }
        if !is_wide && (goes_on(before) || goes_on(bytes.get(end))) {
            continue;
        }
        let kind = if called < PASSWORDS {
            Kind::Password
        } else {
            Kind::Other
        };
        let value =
            after(clause(&text[end..]), kind).or_else(|| ahead(&text[..at], &text[end..], is_wide));
        if let Some(value) = value {
            found.push(Found {
                rule: "told-secret",
                at: value.as_ptr() as usize - text.as_ptr() as usize,
                length: value.len(),
            });
        }
    }
}

/// Whether the name of a file tells a secret: words stand there without spaces.
pub(super) fn is_in_name(name: &str) -> bool {
    let spaced: String = name
        .chars()
        .map(|c| {
            if matches!(c, '-' | '_' | '.' | '+' | '~') {
                ' '
            } else {
                c
            }
        })
        .collect();
    let lower = spaced.to_lowercase();
    let words: Vec<&str> = lower.split_whitespace().collect();
    let is_called = |word: &&str| {
        let mut forms = word.strip_suffix('s').into_iter().chain([*word]);
        forms.any(|it| {
            let mut called = CALLED.all_in(it.as_bytes());
            it == "pw" || called.any(|(_, number)| CALLED.length(number) == it.len())
        })
    };
    let mut pairs = words.iter().zip(words.iter().skip(1));
    pairs.any(|(name, value)| is_called(name) && is_secret(value, LEAST_AFTER_SIGN))
}

/// The sentence up to where another begins. A line that is not indented is one of another field.
fn clause(text: &str) -> &str {
    let mut from = 0;
    while let Some(at) = text[from..].find(['\n', ';']) {
        let at = from + at;
        let is_end = text.as_bytes()[at] == b';' || !text[at + 1..].starts_with([' ', '\t']);
        if is_end {
            return &text[..at];
        }
        from = at + 1;
    }
    text
}

/// The value that follows a name.
fn after(text: &str, kind: Kind) -> Option<&str> {
    let text = text.trim_start_matches(['"', '\'', '`', '*', ')']);
    let text = text.trim_start();
    for wide in IS_WIDE {
        if let Some(rest) = text.strip_prefix(wide) {
            return value(rest, kind.after_sign(), kind);
        }
    }
    let is_of = |word: &str| {
        let word = word.to_lowercase();
        OF.contains(&word.as_str()) || IS.contains(&word.as_str())
    };
    let mut rest = text;
    for between in 0..=BETWEEN {
        rest = rest.trim_start();
        let word = rest.split(char::is_whitespace).next().unwrap_or_default();
        // `pw:x` and `password (root): x` end in the sign.
        if let Some(at) = word
            .find([':', '='])
            .filter(|at| !word[..*at].contains(['/', '"', '\'']))
        {
            let sign = &word[at..=at];
            let rest = &rest[at + sign.len()..];
            return value(
                rest.trim_start_matches(['=', '>', ':']),
                kind.after_sign(),
                kind,
            );
        }
        if between == 0 && !word.starts_with('(') && !is_of(word) {
            return None;
        }
        rest = &rest[word.len()..];
        let bare = word.to_lowercase();
        // "to" is one right behind the name alone: "we set the password to …".
        if IS.contains(&bare.as_str()) && (bare != "to" || between == 0) {
            return value(rest, LEAST, kind);
        }
        if word.is_empty() || word.ends_with(['.', ',', '!', '?']) {
            return None;
        }
    }
    None
}

/// The value that stands before a name: `hunter22 is the password`, `hunter22是密码`.
fn ahead<'t>(before: &'t str, behind: &str, is_wide: bool) -> Option<&'t str> {
    let start = before.rfind(['\n', ';']).map_or(0, |it| it + 1);
    let clause = before[start..].trim_end();
    if is_wide {
        let value = clause.strip_suffix(['是', '为', '為'])?;
        let from = value.rfind(|c: char| !c.is_ascii_graphic());
        let value = &value[from.map_or(0, |it| {
            it + value[it..].chars().next().map_or(1, char::len_utf8)
        })..];
        return is_secret(trimmed(value), LEAST).then(|| trimmed(value));
    }
    // `x is the password policy` is about a policy.
    if !behind.trim_start().is_empty()
        && !behind.trim_start().starts_with(['.', ',', '!', '"', '\''])
        && !behind.starts_with('\n')
    {
        let next = behind.split_whitespace().next().unwrap_or_default();
        if !matches!(
            next,
            "for" | "of" | "on" | "and" | "for:" | "to" | "there" | "now"
        ) {
            return None;
        }
    }
    let words: Vec<&str> = clause.split_whitespace().rev().take(5).collect();
    let at = words
        .iter()
        .position(|it| BEHIND.contains(&it.to_lowercase().as_str()))?;
    let value = trimmed(words.get(at + 1)?);
    is_secret(value, LEAST).then_some(value)
}

/// A value, if what stands there is one.
fn value(text: &str, least: usize, kind: Kind) -> Option<&str> {
    let mut rest = text
        .trim_start()
        .trim_start_matches(['「', '『', '《', '【'])
        .trim_start();
    loop {
        let word = rest
            .split(|c: char| c.is_whitespace() || matches!(c, ',' | ';') || c >= WIDE)
            .next()
            .unwrap_or_default();
        if STILL.contains(&word.to_lowercase().as_str()) {
            rest = rest[word.len()..].trim_start();
            continue;
        }
        let inner = trimmed(word);
        let is_quoted = ['"', '\'', '`', '“', '„', '«', '「']
            .iter()
            .any(|it| word.starts_with(*it))
            && word
                .trim_end_matches(['.', '!', '?'])
                .ends_with(['"', '\'', '`', '”', '“', '»', '」']);
        let is_told = is_secret(inner, least)
            || is_quoted
                && kind == Kind::Password
                && inner.len() >= LEAST
                && !HARMLESS.contains(&inner.to_lowercase().as_str())
                && !is_placeholder(inner);
        return is_told.then_some(inner);
    }
}

/// From here on are scripts that put no space behind a word.
const WIDE: char = '\u{2e80}';

/// Words that stand in quotes where a secret would.
static HARMLESS: [&str; 12] = [
    "redacted",
    "hidden",
    "masked",
    "unchanged",
    "rotated",
    "unknown",
    "pending",
    "removed",
    "revoked",
    "stored",
    "pending_owner_response",
    "none",
];

/// Without the quotes and the ends of sentences around it.
fn trimmed(word: &str) -> &str {
    let around = |c: char| {
        matches!(
            c,
            '"' | '\''
                | '`'
                | '“'
                | '”'
                | '„'
                | '«'
                | '»'
                | '「'
                | '」'
                | '('
                | ')'
                | '['
                | ']'
                | '*'
        )
    };
    let word = word.trim_start_matches(around);
    let word = word.trim_end_matches(|c: char| around(c) || matches!(c, '.' | ',' | ';' | ':'));
    // What ends a sentence may end a secret, too; either way there is enough of it.
    word.trim_end_matches(['!', '?'])
}

/// Whether a word is none of a language, no date, no number of a version and no reference.
fn is_secret(word: &str, least: usize) -> bool {
    // A path, or a line of a program.
    let is_code = word.contains(['/', '(', ')', '<', '>', '[', ']', '{', '}']);
    if word.len() < least || is_placeholder(word) || is_code || !word.is_ascii() {
        return false;
    }
    let has = |is: fn(&u8) -> bool| word.as_bytes().iter().any(is);
    let (letters, digits) = (has(u8::is_ascii_alphabetic), has(u8::is_ascii_digit));
    let is_sign = |b: &u8| {
        matches!(
            b,
            b'!' | b'@' | b'#' | b'$' | b'%' | b'^' | b'&' | b'*' | b'?' | b'~' | b'+' | b'='
        )
    };
    let signs = word.as_bytes().iter().any(is_sign);
    if !letters && !signs {
        // Numbers alone; with anything between them they are a date, a time or a version.
        return word.bytes().all(|b| b.is_ascii_digit());
    }
    if !digits && (!signs || word.len() < LEAST) {
        return false;
    }
    let is_version = word
        .strip_prefix(['v', 'V'])
        .is_some_and(|it| it.bytes().all(|b| b.is_ascii_digit() || b == b'.'));
    // `OPS-1234` is a ticket, `90-day` a span, `ops@example.org` an address.
    let is_ticket = refs::is_ref(&format!("ticket:{word}"));
    let is_span = word.split_once('-').is_some_and(|(number, rest)| {
        number.len() <= 3
            && number.bytes().all(|b| b.is_ascii_digit())
            && rest.bytes().all(|b| b.is_ascii_lowercase())
    });
    let is_address = word.split_once('@').is_some_and(|(_, it)| it.contains('.'));
    !(is_version || is_ticket || is_span || is_address)
}
