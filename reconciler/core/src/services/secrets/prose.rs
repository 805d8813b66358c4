//! Secrets that are told in a sentence: "the password is …", "pw: …", "Passwort lautet …", "密码是…" (W5). What is told is a secret
//! where it looks like none of a language: it has a digit, or a sign that words have not, or stands by itself: in quotes, or behind the
//! name of a password and a sign.

use super::Found;
use super::called::{
    AUXILIARY, CHANGED, IS, IS_WIDE, Kind, OF, SAID, SAID_AT, STILL, TO, is_place, is_placeholder,
    is_ticket, says_of_it,
};

/// What stands between a value and the name behind it: "hunter22 is the password".
static BEHIND: [&str; 6] = ["is", "as", "was", "ist", "als", "war"];
/// How many words lie between a name and what it is at most: "the password of the staging database is".
const BETWEEN: usize = 6;
/// How long a value in a sentence is at least.
const LEAST: usize = 6;
/// How long a password is at least where a sign stands before it, as in `pw: 4711`.
const LEAST_AFTER_SIGN: usize = 4;

/// How a value is told.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Told {
    /// By a sign behind the name itself: `password: …`.
    BySign,
    /// By a word, or by a sign behind other words.
    InWords,
}

impl Kind {
    /// How long it is at least.
    fn least(self, told: Told) -> usize {
        match (self, told) {
            (Kind::Password | Kind::Pair, Told::BySign) => LEAST_AFTER_SIGN,
            (Kind::Other, Told::BySign) | (_, Told::InWords) => LEAST,
        }
    }
}

/// Looks for secrets that a sentence tells.
pub(super) fn told(text: &str, found: &mut Vec<Found>) {
    let bytes = text.as_bytes();
    for (at, called) in SAID_AT.all_in(bytes) {
        let name = &SAID[called];
        let first = name.text.chars().next().unwrap_or(WIDE);
        let is_wide = first >= WIDE;
        let goes_on = |c: Option<char>| c.is_some_and(|c| c.is_alphanumeric() && c < WIDE);
        if !is_wide && goes_on(text[..at].chars().next_back()) {
            continue;
        }
        let mut end = at + name.text.len();
        if name.text.ends_with([':', ' ', '=']) {
            end -= 1;
        }
        if matches!(bytes.get(end), Some(b's' | b'S')) && !is_wide {
            end += 1;
        }
        if name.is_stem {
            let letters = text[end..].find(|c: char| !c.is_alphabetic());
            end += letters.unwrap_or(text.len() - end);
        }
        if !is_wide && goes_on(text[end..].chars().next()) {
            continue;
        }
        let behind = clause(&text[end..]);
        let value = after(behind, name.kind).or_else(|| ahead(&text[..at], &text[end..], is_wide));
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
            let mut called = SAID_AT.all_in(it.as_bytes());
            it == "pw" || called.any(|(_, number)| SAID_AT.length(number) == it.len())
        })
    };
    let mut pairs = words.iter().zip(words.iter().skip(1));
    pairs.any(|(name, value)| is_called(name) && is_secret(value, LEAST_AFTER_SIGN, Kind::Other))
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
    let text = text.trim_start_matches(['"', '\'', '`', '*', ')', '」', '』']);
    let text = text.trim_start();
    for wide in IS_WIDE {
        if let Some(rest) = text.strip_prefix(wide) {
            // Korean and Chinese say both that it is and that it was changed.
            let rest = rest.trim_start_matches([':', '：']);
            return value(rest, Told::BySign, kind);
        }
    }
    let is_of = |word: &str| {
        let word = word.to_lowercase();
        let mut all = [&OF[..], &IS[..], &AUXILIARY[..], &CHANGED[..]].into_iter();
        all.any(|it| it.contains(&word.as_str()))
    };
    let mut rest = text;
    let (mut is_told, mut is_changed) = (false, false);
    for between in 0..=BETWEEN {
        rest = rest.trim_start();
        let word = rest.split(char::is_whitespace).next().unwrap_or_default();
        // `pw:x` and `password (root): x` end in the sign.
        if let Some(at) = word
            .find([':', '='])
            .filter(|at| !is_told && !word[..*at].contains(['/', '"', '\'']))
        {
            let sign = &word[at..=at];
            let rest = &rest[at + sign.len()..];
            let rest = rest.trim_start_matches(['=', '>', ':']);
            return match at == 0 || between > 0 || word.starts_with('(') {
                true => value(rest, Told::BySign, kind),
                // "password rotation: OPS-412" is about something else.
                false => value(rest, Told::InWords, Kind::Other),
            };
        }
        if between == 0 && !word.starts_with('(') && !is_of(word) {
            return None;
        }
        rest = &rest[word.len()..];
        let bare = word.to_lowercase();
        let bare = bare.as_str();
        is_changed |= CHANGED.contains(&bare);
        // "to" is one right behind the name alone, or behind what says that it was changed: "we set the password to …".
        let is_near = |it: &str| !matches!(it, "to" | "from") || between == 0;
        let is_it =
            !is_told && IS.contains(&bare) && is_near(bare) || is_changed && TO.contains(&bare);
        if is_it {
            if let Some(value) = value(rest, Told::InWords, kind) {
                return Some(value);
            }
            is_told = true;
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
        return is_secret(trimmed(value), LEAST, Kind::Other).then(|| trimmed(value));
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
    is_secret(value, LEAST, Kind::Other).then_some(value)
}

/// A value, if what stands there is one.
fn value(text: &str, told: Told, kind: Kind) -> Option<&str> {
    let mut rest = text
        .trim_start()
        .trim_start_matches(['「', '『', '《', '【'])
        .trim_start();
    if kind == Kind::Pair {
        return pair(rest, told);
    }
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
        let stands_alone = || rest[word.len()..].trim_matches(is_around).is_empty();
        let is_opaque = kind == Kind::Password
            && (is_quoted && inner.len() >= LEAST
                || told == Told::BySign
                    && inner.chars().count() >= LEAST_AFTER_SIGN
                    && stands_alone())
            && !says_of_it(inner)
            && !is_placeholder(inner)
            && !is_code(inner);
        return (is_secret(inner, kind.least(told), kind) || is_opaque).then_some(inner);
    }
}

/// What lets somebody in, behind who that is: `mira / …`.
fn pair(text: &str, told: Told) -> Option<&str> {
    let is_end = |c: char| c.is_whitespace() || matches!(c, '/' | ':' | ',' | '|');
    let text = text.trim_start();
    let (user, rest) = text.split_at(text.find(is_end)?);
    let sign = rest.trim_start();
    let behind = sign.trim_start_matches(['/', ':', ',', '|']);
    let is_joined = sign.len() == rest.len() && !behind.starts_with(char::is_whitespace);
    if user.is_empty()
        || behind.len() == sign.len()
        || is_joined && is_place(text.split_whitespace().next()?, Kind::Other)
    {
        return None;
    }
    let word = trimmed(behind.split_whitespace().next()?);
    is_secret(word, Kind::Pair.least(told), Kind::Pair).then_some(word)
}

/// From here on are scripts that put no space behind a word.
const WIDE: char = '\u{2e80}';

/// Without the quotes and the ends of sentences around it.
fn trimmed(word: &str) -> &str {
    let word = word.trim_start_matches(is_around);
    let word = word.trim_end_matches(|c: char| is_around(c) || matches!(c, '.' | ',' | ';' | ':'));
    // What ends a sentence may end a secret, too; either way there is enough of it.
    word.trim_end_matches(['!', '?'])
}

/// What stands around a word.
fn is_around(c: char) -> bool {
    c.is_whitespace()
        || matches!(
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
                | '{'
                | '}'
                | '*'
                | '.'
                | ','
                | '。'
        )
}

/// A path, or a line of a program.
fn is_code(word: &str) -> bool {
    word.contains(['/', '(', ')', '<', '>', '[', ']', '{', '}'])
}

/// Whether a word is none of a language, no date, no number of a version and no reference.
fn is_secret(word: &str, least: usize, kind: Kind) -> bool {
    if word.len() < least || is_placeholder(word) || is_code(word) || !word.is_ascii() {
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
    let is_ticket = kind != Kind::Password && is_ticket(word);
    let is_span = word.split_once('-').is_some_and(|(number, rest)| {
        number.len() <= 3
            && number.bytes().all(|b| b.is_ascii_digit())
            && rest.bytes().all(|b| b.is_ascii_lowercase())
    });
    let is_address = word.split_once('@').is_some_and(|(_, it)| it.contains('.'));
    !(is_version || is_ticket || is_span || is_address)
}
