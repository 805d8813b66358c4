//! Kinds of value that occur in several sections.

use std::fmt::Display;
use std::ops::RangeInclusive;
use std::path::{Component, Path, PathBuf};
use std::str::FromStr;
use std::time::Duration;

use muster_forge::secret::SecretFile;
use muster_git::Origin;

use super::Ambient;
use super::place::{At, Problem};

/// An absolute path, written in the one way there is.
pub(super) fn path(text: &At<String>, problems: &mut Vec<Problem>) -> Option<PathBuf> {
    if is_clean(&text.value) {
        return Some(PathBuf::from(&text.value));
    }
    problems.push(
        Problem::new(
            text.place.clone(),
            format!("`{}` is no plain absolute path", text.value.escape_debug()),
        )
        .help("begin with /, without `.`, `..`, `//` or a / at the end"),
    );
    None
}

fn is_clean(text: &str) -> bool {
    let path = Path::new(text);
    text.len() <= 4_000
        && !text.chars().any(char::is_control)
        && path.is_absolute()
        && path.components().all(|it| matches!(it, Component::RootDir | Component::Normal(_)))
        // Components are tidied up while they are taken apart; the text has to be tidy by itself.
        && path.components().collect::<PathBuf>().as_os_str() == text
}

/// A repository, on this machine or elsewhere.
pub(super) fn origin(url: &At<String>, problems: &mut Vec<Problem>) -> Option<Origin> {
    Origin::parse(&url.value)
        .map_err(|error| problems.push(Problem::new(url.place.clone(), error.to_string())))
        .ok()
}

/// A length of time in whole seconds, minutes or hours; `seconds` are its bounds.
pub(super) fn duration(
    text: &At<String>,
    key: &str,
    seconds: RangeInclusive<u64>,
    problems: &mut Vec<Problem>,
) -> Option<Duration> {
    let At { value, place } = text;
    let digits = value.trim_end_matches(|c: char| c.is_ascii_lowercase());
    let unit = match &value[digits.len()..] {
        "s" => Some(1),
        "m" => Some(60),
        "h" => Some(3_600),
        _ => None,
    };
    let number = Some(digits)
        .filter(|it| it.bytes().all(|b| b.is_ascii_digit()))
        .and_then(|it| it.parse::<u64>().ok());
    let problem = match number
        .zip(unit)
        .and_then(|(number, unit)| number.checked_mul(unit))
    {
        Some(length) if seconds.contains(&length) => return Some(Duration::from_secs(length)),
        Some(_) => Problem::new(
            place.clone(),
            format!(
                "`{key}` must be {} to {} seconds long",
                seconds.start(),
                seconds.end()
            ),
        ),
        None => Problem::new(
            place.clone(),
            format!("`{}` is no length of time", value.escape_debug()),
        )
        .help("a whole number and s, m or h, such as \"30s\""),
    };
    problems.push(problem);
    None
}

/// A number within bounds; `help` says what it is for, or why there is a bound.
pub(super) fn within<T: TryFrom<i64>>(
    number: &At<i64>,
    bounds: RangeInclusive<i64>,
    help: &str,
    problems: &mut Vec<Problem>,
) -> Option<T> {
    let At { value, place } = number;
    let found = Some(*value).filter(|it| bounds.contains(it));
    let found = found.and_then(|it| T::try_from(it).ok());
    if found.is_none() {
        let what = format!(
            "{value} is out of bounds: {} to {} can be set",
            bounds.start(),
            bounds.end()
        );
        problems.push(Problem::new(place.clone(), what).help(help));
    }
    found
}

/// One of a few words.
pub(super) fn one_of<T: Copy, const N: usize>(
    word: &At<String>,
    key: &str,
    all: [T; N],
    word_of: fn(T) -> &'static str,
    problems: &mut Vec<Problem>,
) -> Option<T> {
    let found = all.into_iter().find(|it| word_of(*it) == word.value);
    if found.is_none() {
        let problem = Problem::new(
            word.place.clone(),
            format!("`{}` is no {key}", word.value.escape_debug()),
        );
        let words = all.map(word_of).join(", ");
        problems.push(problem.help(format!("it is one of: {words}")));
    }
    found
}

/// A file, or the name of a credential that the service manager hands over.
pub(super) fn secret(
    text: &At<String>,
    ambient: &Ambient,
    problems: &mut Vec<Problem>,
) -> Option<SecretFile> {
    if text.value.contains('/') {
        return path(text, problems).map(SecretFile::at);
    }
    SecretFile::credential(ambient.credentials.as_deref(), &text.value)
        .map_err(|error| {
            let help = "or name a file by its absolute path";
            problems.push(Problem::new(text.place.clone(), error.to_string()).help(help));
        })
        .ok()
}

/// Something with a grammar of its own.
pub(super) fn parsed<T: FromStr<Err: Display>>(
    text: &At<String>,
    problems: &mut Vec<Problem>,
) -> Option<T> {
    text.value
        .parse()
        .map_err(|error: T::Err| problems.push(Problem::new(text.place.clone(), error.to_string())))
        .ok()
}
