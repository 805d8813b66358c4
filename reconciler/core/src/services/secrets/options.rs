//! Secrets on a command line: `mysql -pX`, `curl -u name:X`, `--password X`.

use super::Found;
use super::called::{Kind, is_place, is_placeholder, says_of_it, written};

/// How a program takes a secret.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Takes {
    /// Behind the option, with or without a space.
    Value,
    /// Behind the option, without a space: with one it asks for it.
    Joined,
    /// As `name:secret`.
    AfterColon,
    /// As `name%secret`.
    AfterPercent,
}

/// Programs, the options by which they take secrets, and how. Where a second word is there, it has to stand in the line, too.
static PROGRAMS: [(&str, &str, &str, Takes); 25] = [
    ("curl", "", "-u", Takes::AfterColon),
    ("curl", "", "--user", Takes::AfterColon),
    ("curl", "", "-U", Takes::AfterColon),
    ("curl", "", "--proxy-user", Takes::AfterColon),
    ("wget", "", "--user", Takes::AfterColon),
    ("http", "", "-a", Takes::AfterColon),
    ("ab", "", "-A", Takes::AfterColon),
    ("mysql", "", "-p", Takes::Joined),
    ("mysqldump", "", "-p", Takes::Joined),
    ("mysqladmin", "", "-p", Takes::Joined),
    ("mysqlimport", "", "-p", Takes::Joined),
    ("mariadb", "", "-p", Takes::Joined),
    ("mariadb-dump", "", "-p", Takes::Joined),
    ("mariadb-admin", "", "-p", Takes::Joined),
    ("sshpass", "", "-p", Takes::Value),
    ("redis-cli", "", "-a", Takes::Value),
    ("docker", "login", "-p", Takes::Value),
    ("podman", "login", "-p", Takes::Value),
    ("mongosh", "", "-p", Takes::Value),
    ("mongo", "", "-p", Takes::Value),
    ("ldapsearch", "", "-w", Takes::Value),
    ("ldapmodify", "", "-w", Takes::Value),
    ("ldapadd", "", "-w", Takes::Value),
    ("smbclient", "", "-U", Takes::AfterPercent),
    ("rpcclient", "", "-U", Takes::AfterPercent),
];

/// How long a value is at least that could be a word of a sentence.
const LEAST: usize = 4;

/// How far before an option its program is looked for, in bytes.
const LINE: usize = 200;

/// Looks for options that tell a secret.
pub(super) fn told(text: &str, found: &mut Vec<Found>) {
    let bytes = text.as_bytes();
    for at in memchr::memchr_iter(b'-', bytes) {
        let begins = at == 0
            || matches!(
                bytes[at - 1],
                b' ' | b'\t' | b'\n' | b'"' | b'\'' | b'`' | b'[' | b','
            );
        let goes_on = bytes
            .get(at + 1)
            .is_some_and(|b| b.is_ascii_alphabetic() || *b == b'-');
        if !begins || !goes_on {
            continue;
        }
        let value = match text[at..].strip_prefix("--") {
            Some(long) => of_long(long),
            None => None,
        };
        if let Some(value) = value.or_else(|| of_program(text, at)) {
            found.push(Found {
                rule: "option-secret",
                at: value.as_ptr() as usize - text.as_ptr() as usize,
                length: value.len(),
            });
        }
    }
}

/// `--password X` and `--password=X`, of whatever program.
fn of_long(long: &str) -> Option<&str> {
    let is_name = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_');
    let end = long.find(|c| !is_name(c)).unwrap_or(long.len());
    let (name, rest) = long.split_at(end);
    let lower = name.to_ascii_lowercase();
    let kind = match lower.as_str() {
        "pass" => Kind::Password,
        _ => written(lower.as_bytes())?,
    };
    let is_equal = rest.starts_with('=');
    if !is_equal && !rest.starts_with([' ', '\t', '"', '\'']) {
        return None;
    }
    let (value, behind) = first_word(&rest[usize::from(is_equal)..]);
    let is_opaque = value.bytes().any(|b| !b.is_ascii_alphabetic());
    // Without either it may be a sentence about the option.
    let is_last = {
        let behind = behind.trim_start_matches(['"', '\'', '`', '.']);
        behind.trim().is_empty() || behind.trim_start().starts_with('-') || behind.starts_with('\n')
    };
    let is_word = [
        "option",
        "options",
        "flag",
        "argument",
        "parameter",
        "switch",
    ]
    .contains(&value);
    let is_told = value.len() >= LEAST
        && is_argument(value, kind)
        && (is_equal || is_opaque || is_last && !is_word);
    is_told.then_some(value)
}

/// What a program takes a secret by.
fn of_program(text: &str, at: usize) -> Option<&str> {
    // A command line is not long, and each of its options is looked at.
    let mut from = at.saturating_sub(LINE);
    while !text.is_char_boundary(from) {
        from += 1;
    }
    let before = &text[from..at];
    let line = from + before.rfind(['\n', ';', '|', '&']).map_or(0, |it| it + 1);
    let words = || {
        text[line..at].split_whitespace().map(|it| {
            let it = it.trim_matches(['"', '\'', '`', '(', '[', ',', ':']);
            it.rsplit('/').next().unwrap_or(it)
        })
    };
    let option = &text[at..];
    let of_option = PROGRAMS.iter().filter(|it| option.starts_with(it.2));
    for (program, second, name, takes) in of_option {
        let has = |wanted: &str| words().any(|it| it.eq_ignore_ascii_case(wanted));
        if !has(program) || !second.is_empty() && !has(second) {
            continue;
        }
        let rest = &option[name.len()..];
        let is_joined = rest.starts_with(|c: char| !c.is_whitespace());
        // `--user` goes on as `--user-agent`.
        if name.starts_with("--") && is_joined && !rest.starts_with(['=', '"', '\'']) {
            continue;
        }
        let (word, _) = first_word(rest.strip_prefix('=').unwrap_or(rest));
        let value = match takes {
            Takes::Joined if !is_joined => continue,
            Takes::Joined | Takes::Value => word,
            Takes::AfterColon => word.split_once(':').map_or("", |it| it.1),
            Takes::AfterPercent => word.split_once('%').map_or("", |it| it.1),
        };
        let least = match takes {
            Takes::Value => LEAST,
            Takes::Joined | Takes::AfterColon | Takes::AfterPercent => 1,
        };
        if value.len() >= least && is_argument(value, Kind::Password) {
            return Some(value);
        }
    }
    None
}

/// Whether an argument is a secret: not a variable, a file or another option.
fn is_argument(value: &str, kind: Kind) -> bool {
    !value.is_empty()
        && !value.starts_with(['-', '@', '/', '(', '…', '.'])
        && !is_placeholder(value)
        && !says_of_it(value)
        && !is_place(value, kind)
}

/// The word that comes first, and what stands behind it.
fn first_word(text: &str) -> (&str, &str) {
    let text = text.trim_start_matches([' ', '\t']);
    let text = text.trim_start_matches(['"', '\'']);
    let is_end = |c: char| c.is_whitespace() || matches!(c, '"' | '\'' | '`' | ',' | ')' | ']');
    let end = text.find(is_end).unwrap_or(text.len());
    let (word, behind) = text.split_at(end);
    (word.trim_end_matches(['.', ';']), behind)
}
