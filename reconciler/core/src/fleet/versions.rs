//! Which version of muster reads what. An executor says in its sign of life which one it is; what an older one cannot read is
//! told before it is merged, and kept apart from what it can.

use std::collections::{BTreeMap, BTreeSet};

use crate::executor::{Executor, ExecutorKind};
use crate::report::{Audience, Problem};
use crate::world::Files;

/// A version, as far as it counts for what is read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Version {
    major: u32,
    minor: u32,
    patch: u32,
}

impl Version {
    /// The version of these numbers.
    pub const fn of(major: u32, minor: u32, patch: u32) -> Self {
        Self {
            major,
            minor,
            patch,
        }
    }

    /// Reads `1.2.3`, with or without what follows `-` or `+`; numbers that are left out are 0.
    pub fn parse(text: &str) -> Option<Self> {
        let plain = text.split(['-', '+']).next()?;
        let mut numbers = [0; 3];
        for (index, part) in plain.split('.').enumerate() {
            *numbers.get_mut(index)? = part.parse().ok()?;
        }
        let [major, minor, patch] = numbers;
        Some(Self::of(major, minor, patch))
    }
}

impl std::fmt::Display for Version {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}.{}.{}", self.major, self.minor, self.patch)
    }
}

/// Something in a state repository that not every version reads.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Feature {
    /// The directory it stands in, with the slash; or the file.
    pub path: &'static str,
    /// The field of that file, where only one is meant.
    pub field: Option<&'static str>,
    /// The first version that reads it.
    pub since: Version,
}

/// The first version that reads statements and repositories about more than hosts.
const MORE_THAN_HOSTS: Version = Version::of(0, 2, 0);

/// All of them. What every version reads is not here.
pub const FEATURES: [Feature; 4] = [
    Feature {
        path: "guests/",
        field: None,
        since: MORE_THAN_HOSTS,
    },
    Feature {
        path: "clusters/",
        field: None,
        since: MORE_THAN_HOSTS,
    },
    Feature {
        path: "services/",
        field: None,
        since: MORE_THAN_HOSTS,
    },
    // What ties an answer to a person (LB9). Whoever does not know the field refuses the whole roster.
    Feature {
        path: "roster.yaml",
        field: Some("forge_user"),
        since: MORE_THAN_HOSTS,
    },
];

/// What these executors could not read of a state repository with these files: a problem for each feature, which in public
/// names nobody.
pub fn unread(
    versions: &BTreeMap<Executor, Version>,
    files: &Files,
    audience: Audience,
) -> Vec<Problem> {
    let is_used = |it: &&Feature| match it.field {
        None => files.keys().any(|path| path.starts_with(it.path)),
        Some(field) => files
            .get(it.path)
            .is_some_and(|bytes| has_field(bytes, field)),
    };
    let problem = |feature: &Feature| {
        let old: Vec<String> = versions
            .iter()
            .filter(|(_, version)| **version < feature.since)
            .map(|(executor, version)| format!("{executor} ({version})"))
            .collect();
        let who = match (old.len(), audience) {
            (0, _) => return None,
            (_, Audience::Team) => old.join(", "),
            (1, Audience::Public) => "1 executor".to_owned(),
            (many, Audience::Public) => format!("{many} executors"),
        };
        Some(Problem {
            place: feature.path.to_owned(),
            rule: "newer-version".to_owned(),
            text: format!(
                "{} be read everywhere: {who} would have to run muster {} or later, and would not adopt this commit",
                match feature.field {
                    Some(field) => format!("the field {field} cannot"),
                    None => "cannot".to_owned(),
                },
                feature.since
            ),
            help: Some("update muster there first".to_owned()),
            more: 0,
        })
    };
    FEATURES
        .iter()
        .filter(is_used)
        .filter_map(problem)
        .collect()
}

/// Whether a document in YAML has a key of this name somewhere: the word, quoted or not, with a colon behind it. What only looks like
/// one, in a comment or a text, is taken for one; that costs an update, and no host its roster.
fn has_field(bytes: &[u8], field: &str) -> bool {
    let finder = memchr::memmem::Finder::new(field);
    finder.find_iter(bytes).any(|at| {
        let before = at.checked_sub(1).and_then(|it| bytes.get(it));
        let is_word = |b: &u8| b.is_ascii_alphanumeric() || *b == b'_';
        let rest = &bytes[at + field.len()..];
        let next = rest
            .iter()
            .find(|b| !matches!(b, b' ' | b'\t' | b'"' | b'\''));
        before.is_none_or(|b| !is_word(b)) && next == Some(&b':')
    })
}

/// Who can be named together in one statement. A version that knows hosts alone finds a statement malformed that names anything
/// else, so its host is named apart from the others; one that never said which version it is may be old.
pub fn named_together(executors: &BTreeMap<Executor, Option<Version>>) -> Vec<BTreeSet<Executor>> {
    let all = || executors.keys().cloned();
    if all().all(|it| it.kind() == ExecutorKind::Host) {
        return vec![all().collect()];
    }
    let is_old = |executor: &Executor| {
        executor.kind() == ExecutorKind::Host
            && executors[executor].is_none_or(|version| version < MORE_THAN_HOSTS)
    };
    let (old, others): (BTreeSet<_>, BTreeSet<_>) = all().partition(is_old);
    [old, others]
        .into_iter()
        .filter(|it| !it.is_empty())
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn executor(name: &str) -> Executor {
        name.parse().unwrap()
    }

    #[test]
    fn versions_are_read_and_ordered() {
        for (text, version) in [
            ("0.2.0", Some(Version::of(0, 2, 0))),
            ("1", Some(Version::of(1, 0, 0))),
            ("0.10.1-rc.1+git", Some(Version::of(0, 10, 1))),
            ("1.2.3.4", None),
            ("new", None),
            ("", None),
        ] {
            assert_eq!(Version::parse(text), version, "{text}");
        }
        assert!(Version::of(0, 10, 0) > Version::of(0, 9, 9));
    }

    #[test]
    fn what_an_older_host_cannot_read_is_told_and_nothing_else() {
        let versions = BTreeMap::from([
            (executor("host/old"), Version::of(0, 1, 0)),
            (executor("host/new"), MORE_THAN_HOSTS),
        ]);
        let files = |paths: &[&str]| -> Files {
            paths
                .iter()
                .map(|it| ((*it).to_owned(), Vec::new()))
                .collect()
        };
        let accounts = files(&["roster.yaml", "tiers.yaml", "hosts/old.yaml", "guestsbook"]);
        assert_eq!(unread(&versions, &accounts, Audience::Team), []);
        let guests = files(&["roster.yaml", "guests/tool.yaml", "guests/web.yaml"]);
        let [told] = unread(&versions, &guests, Audience::Team)
            .try_into()
            .unwrap();
        assert_eq!(told.place, "guests/");
        assert!(
            told.text.contains("host/old (0.1.0) would have"),
            "{}",
            told.text
        );
        assert!(!told.text.contains("host/new"), "{}", told.text);
        let [told] = unread(&versions, &guests, Audience::Public)
            .try_into()
            .unwrap();
        assert!(
            told.text.contains(": 1 executor would have"),
            "{}",
            told.text
        );
        let new = BTreeMap::from([(executor("host/new"), MORE_THAN_HOSTS)]);
        assert_eq!(unread(&new, &guests, Audience::Team), []);
    }

    /// LB9: a roster that ties people to accounts of the forge is red for hosts that would refuse it, and says so.
    #[test]
    fn a_field_that_an_older_host_refuses_is_told_with_its_name() {
        let versions = BTreeMap::from([(executor("host/old"), Version::of(0, 1, 0))]);
        let files = |roster: &str| Files::from([("roster.yaml".to_owned(), roster.into())]);
        for roster in [
            "users:\n  emo: {tier: admin, forge_user: emo}\n",
            "users:\n  emo:\n    'forge_user' : emo\n",
        ] {
            let [told] = unread(&versions, &files(roster), Audience::Team)
                .try_into()
                .unwrap();
            assert_eq!(told.place, "roster.yaml");
            assert!(
                told.text.starts_with(
                    "the field forge_user cannot be read everywhere: host/old (0.1.0) would have"
                ),
                "{}",
                told.text
            );
        }
        for roster in [
            "users:\n  forge_user2: {tier: admin}\n",
            "users: {}\n# forge_user\n",
        ] {
            assert_eq!(
                unread(&versions, &files(roster), Audience::Team),
                [],
                "{roster}"
            );
        }
    }

    #[test]
    fn old_hosts_are_named_apart_where_others_than_hosts_are_named() {
        let together = |all: &[(&str, Option<Version>)]| -> Vec<Vec<String>> {
            let all = all.iter().map(|(name, it)| (executor(name), *it)).collect();
            let groups = named_together(&all).into_iter();
            groups
                .map(|it| it.iter().map(ToString::to_string).collect())
                .collect()
        };
        let (old, new) = (Some(Version::of(0, 1, 9)), Some(MORE_THAN_HOSTS));
        assert_eq!(
            together(&[("host/a", old), ("host/b", new), ("host/c", None)]),
            [["host/a", "host/b", "host/c"]]
        );
        assert_eq!(
            together(&[("guests/p", None), ("host/b", new)]),
            [["host/b", "guests/p"]]
        );
        assert_eq!(
            together(&[
                ("guests/p", new),
                ("host/a", old),
                ("host/b", new),
                ("host/c", None)
            ]),
            [["host/a", "host/c"], ["host/b", "guests/p"]]
        );
        assert_eq!(together(&[("ca/x", None)]), [["ca/x"]]);
    }
}
