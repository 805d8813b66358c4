//! What `git rev-parse --short HEAD` says in a directory, without running git.
//!
//! This is for whoever must say it as git does, with rights of their own, about a repository of their own: it is found as git finds it, and
//! `core.abbrev` counts wherever git would read it. Nothing else of muster asks here.
//!
//! One thing is not as git has it: references in the format `reftable` are not read, and such a repository has no commit here.

use std::path::Path;

use gix::odb::store::prefix::disambiguate::Candidate;
use gix::open::Options;
use gix::sec::Trust;
use gix::sec::trust::Mapping;

/// As few digits as git takes by itself.
const SHORTEST: usize = 7;
/// As few digits as git takes at all.
const FEWEST: i64 = 4;

/// The abbreviated id of HEAD of the repository that `directory` lies in; `None` where git would say that there is none: no repository,
/// one of somebody else, no commit yet, a setting or a format that git stops at.
pub fn short_head(directory: &Path) -> Option<String> {
    let repository = found(directory)?;
    if !is_known_format(&repository) {
        return None;
    }
    let digits = digits(&repository)?;
    let head = repository.head().ok()?;
    let id = head.id()?;
    let all = id.kind().len_in_hex();
    let shortened = match digits {
        Digits::Own => id.shorten().ok(),
        Digits::Given(digits) => {
            let candidate = Candidate::new(id.detach(), digits.min(all)).ok()?;
            let found = repository.objects.disambiguate_prefix(candidate);
            found.ok().flatten()
        }
    };
    // HEAD may name an object that is not there; git abbreviates it all the same.
    let shortest = match digits {
        Digits::Own => SHORTEST,
        Digits::Given(digits) => digits.min(all),
    };
    Some(match shortened {
        Some(prefix) => prefix.to_string(),
        None => id.to_hex_with_len(shortest).to_string(),
    })
}

fn found(directory: &Path) -> Option<gix::Repository> {
    let options = Options::default().bail_if_untrusted(true);
    // Git looks for it from where it was started, which is that directory, and asks nobody whose it is.
    if let Some(named) = std::env::var_os("GIT_DIR") {
        let options = options.with(Trust::Full).open_path_as_is(true);
        return options.open(directory.join(named)).ok().map(Into::into);
    }
    let map = Mapping {
        full: options.clone(),
        reduced: options,
    };
    let found = gix::ThreadSafeRepository::discover_with_environment_overrides_opts(
        directory,
        gix::discover::upwards::Options::default(),
        map,
    );
    Some(found.ok()?.to_thread_local())
}

/// How many digits are asked for.
#[derive(Clone, Copy)]
enum Digits {
    /// As many as git takes by itself.
    Own,
    /// So many, and more where fewer would name several.
    Given(usize),
}

/// What `core.abbrev` asks for. Git reads every one that is set, and stops at the first that is none.
fn digits(repository: &gix::Repository) -> Option<Digits> {
    let config = repository.config_snapshot();
    let mut digits = Digits::Own;
    for section in config.sections_by_name("core").into_iter().flatten() {
        if section.header().subsection_name().is_some() {
            continue;
        }
        if section.value_implicit("abbrev") == Some(None) {
            return None;
        }
        for value in section.values("abbrev") {
            digits = of_setting(std::str::from_utf8(&value).ok()?)?;
        }
    }
    Some(digits)
}

fn of_setting(value: &str) -> Option<Digits> {
    let lower = value.to_ascii_lowercase();
    match lower.as_str() {
        "auto" => Some(Digits::Own),
        "" | "no" | "false" | "off" => Some(Digits::Given(usize::MAX)),
        number => {
            let number = whole_number(number)?;
            (number >= FEWEST).then(|| Digits::Given(usize::try_from(number).unwrap_or(usize::MAX)))
        }
    }
}

/// A whole number as git reads one: decimal, octal behind a 0 and hexadecimal behind 0x, with k, m or g behind it.
fn whole_number(text: &str) -> Option<i64> {
    let text = text.trim_start();
    let (text, unit) = match text.strip_suffix(['k', 'm', 'g']) {
        Some(rest) if text.ends_with('k') => (rest, 1 << 10),
        Some(rest) if text.ends_with('m') => (rest, 1 << 20),
        Some(rest) => (rest, 1 << 30),
        None => (text, 1),
    };
    let (sign, text) = match text.strip_prefix('-') {
        Some(rest) => (-1, rest),
        None => (1, text.strip_prefix('+').unwrap_or(text)),
    };
    let number = match (text.strip_prefix("0x"), text.strip_prefix('0')) {
        (Some(digits), _) => i64::from_str_radix(digits, 16),
        (None, Some(digits)) if !digits.is_empty() => i64::from_str_radix(digits, 8),
        (None, _) => text.parse(),
    };
    let number = number.ok().filter(|_| !text.starts_with(['+', '-']))?;
    let number = number.checked_mul(sign * unit)?;
    i32::try_from(number).is_ok().then_some(number)
}

/// Whether git knows the format of a repository: it stops at what it does not know.
fn is_known_format(repository: &gix::Repository) -> bool {
    const OF_ANY: [&str; 4] = ["noop", "preciousobjects", "partialclone", "worktreeconfig"];
    const SINCE_ONE: [&str; 4] = [
        "noop-v1",
        "objectformat",
        "compatobjectformat",
        "refstorage",
    ];
    let config = repository.config_snapshot();
    let version = config.integer("core.repositoryFormatVersion").unwrap_or(0);
    let sections = config.sections_by_name("extensions").into_iter().flatten();
    let own = sections.filter(|it| it.meta().source == gix::config::Source::Local);
    let names: Vec<String> = own
        .flat_map(|it| it.value_names().collect::<Vec<_>>())
        .map(|it| it.to_ascii_lowercase())
        .collect();
    let is = |list: &[&str], name: &String| list.contains(&name.as_str());
    match version {
        0 => !names.iter().any(|it| is(&SINCE_ONE, it)),
        _ => names.iter().all(|it| is(&OF_ANY, it) || is(&SINCE_ONE, it)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A11: each as git 2.47 takes it.
    #[test]
    fn a11_a_number_is_one_that_git_reads() {
        for (text, number) in [
            ("7", Some(7)),
            (" 9", Some(9)),
            ("+8", Some(8)),
            ("010", Some(8)),
            ("0x10", Some(16)),
            ("1k", Some(1_024)),
            ("0", Some(0)),
            ("-1", Some(-1)),
            ("", None),
            ("abc", None),
            ("true", None),
            ("7 7", None),
            ("+-7", None),
            ("99999999999", None),
            ("4g", None),
        ] {
            assert_eq!(whole_number(text), number, "{text:?}");
        }
    }
}
