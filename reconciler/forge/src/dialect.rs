//! How the two kinds of forge differ in their routes, which begin after the base of the API.

use std::fmt;
use std::str::FromStr;

/// Which API a forge has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Dialect {
    /// GitHub's REST API.
    GitHub,
    /// That of Forgejo and Gitea.
    Forgejo,
}

/// A repository on a forge: `owner/name`.
#[derive(Clone, PartialEq, Eq)]
pub struct Repository {
    owner: String,
    name: String,
}

/// Not a repository's name.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{}` is no repository on a forge: write it as owner/name", .0.escape_debug())]
pub struct NotARepository(String);

impl FromStr for Repository {
    type Err = NotARepository;

    fn from_str(text: &str) -> Result<Self, NotARepository> {
        let good = |it: &str| {
            !it.is_empty()
                && it.len() <= 100
                && !matches!(it, "." | "..")
                && it
                    .bytes()
                    .all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b'.'))
        };
        match text.split_once('/') {
            Some((owner, name)) if good(owner) && good(name) => Ok(Self {
                owner: owner.to_owned(),
                name: name.to_owned(),
            }),
            _ => Err(NotARepository(text.chars().take(80).collect())),
        }
    }
}

impl Repository {
    /// The repository that a URL or path ends with, if it ends as those of a forge do: `ssh://git@code.example/team/ledger.git`.
    pub fn at_end_of(url: &str) -> Option<Self> {
        let path = url.trim_end_matches('/');
        let path = path.strip_suffix(".git").unwrap_or(path);
        let (before, name) = path.rsplit_once('/')?;
        let (before, owner) = before.rsplit_once('/')?;
        // An address with one name behind the host has no owner.
        (!before.ends_with('/')).then_some(())?;
        format!("{owner}/{name}").parse().ok()
    }

    /// Its name within its owner's.
    pub(crate) fn name(&self) -> &str {
        &self.name
    }

    /// Whether a forge means this one; forges tell names apart without regard to case.
    pub(crate) fn is(&self, full_name: &str) -> bool {
        full_name.eq_ignore_ascii_case(&self.to_string())
    }

    /// The route of something in it.
    pub(crate) fn route(&self, rest: &str) -> String {
        format!("/repos/{self}{rest}")
    }
}

impl fmt::Display for Repository {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.owner, self.name)
    }
}

impl fmt::Debug for Repository {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl Dialect {
    /// All proposals that are open.
    pub(crate) fn open_pulls(self) -> &'static str {
        match self {
            Self::GitHub => "/pulls?state=open&sort=updated&direction=desc&per_page=100",
            Self::Forgejo => "/pulls?state=open&sort=recentupdate&page=1&limit=50",
        }
    }

    /// Proposals, the one that changed last first, a few at a time: mostly none has changed, and a description can be long (F39).
    pub(crate) fn changed_pulls(self) -> &'static str {
        match self {
            Self::GitHub => "/pulls?state=all&sort=updated&direction=desc&per_page=10",
            Self::Forgejo => "/pulls?state=all&sort=recentupdate&page=1&limit=10",
        }
    }

    /// The files that a proposal touches.
    pub(crate) fn files(self, number: u64) -> String {
        match self {
            Self::GitHub => format!("/pulls/{number}/files?per_page=100"),
            Self::Forgejo => format!("/pulls/{number}/files?page=1&limit=50"),
        }
    }

    /// What reviewers said of a proposal, in the order of their saying it.
    pub(crate) fn reviews(self, number: u64) -> String {
        match self {
            Self::GitHub => format!("/pulls/{number}/reviews?per_page=100"),
            Self::Forgejo => format!("/pulls/{number}/reviews?page=1&limit=50"),
        }
    }

    /// Everything said under a proposal. Forgejo has no pages here.
    pub(crate) fn comments(self, number: u64) -> String {
        match self {
            Self::GitHub => format!("/issues/{number}/comments?per_page=100"),
            Self::Forgejo => format!("/issues/{number}/comments"),
        }
    }

    /// The statuses of a commit, the latest first.
    pub(crate) fn statuses(self, commit: &str) -> String {
        match self {
            Self::GitHub => format!("/commits/{commit}/statuses?per_page=100"),
            Self::Forgejo => {
                format!("/commits/{commit}/statuses?sort=recentupdate&page=1&limit=50")
            }
        }
    }

    /// All issues that `login` opened, the latest first.
    pub(crate) fn issues_of(self, login: &str) -> String {
        let login = encode(login);
        match self {
            Self::GitHub => {
                format!(
                    "/issues?state=all&creator={login}&sort=created&direction=desc&per_page=100"
                )
            }
            Self::Forgejo => {
                format!("/issues?state=all&type=issues&created_by={login}&page=1&limit=50")
            }
        }
    }
}

/// Percent-encodes what is no plain character of a query or a path.
pub(crate) fn encode(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.' | b'~') {
            out.push(char::from(byte));
        } else {
            out.push_str(&format!("%{byte:02X}"));
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_repository_is_two_plain_words() {
        let repository: Repository = "acme/state".parse().unwrap();
        assert!(repository.is("Acme/State") && !repository.is("acme/state2"));
        for bad in [
            "", "acme", "acme/", "/x", "a/b/c", "a/..", "./b", "a b/c", "a/b?x", "ä/b",
        ] {
            assert!(bad.parse::<Repository>().is_err(), "{bad}");
        }
    }

    #[test]
    fn a_login_cannot_end_the_query_that_it_stands_in() {
        assert_eq!(encode("muster[bot]&x=1"), "muster%5Bbot%5D%26x%3D1");
    }
}
