//! What is watched: where the state repository is, and whether anything has moved there.

use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;

use crate::layout::{Layout, LayoutError};
use crate::signature::Signature;

/// Where the state repository is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Origin {
    /// A repository on this machine: bare, with a `.git`, or a linked work tree.
    Local(PathBuf),
    /// A repository that git fetches from.
    Remote(RemoteUrl),
}

/// An `https://`, `ssh://` or `git://` URL without credentials.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RemoteUrl {
    text: String,
    scheme: &'static str,
}

/// Why a text names no origin.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum OriginError {
    /// Nothing was written.
    #[error(
        "no origin is given; write the absolute path of the state repository or its https://, ssh:// or git:// URL"
    )]
    Empty,
    /// A character that has no place in a path or a URL.
    #[error(
        "the origin holds a control character, a space or a character outside ASCII; write it without"
    )]
    BadCharacter,
    /// It would be read as an option by somebody.
    #[error("the origin {0:?} begins with '-'; write an absolute path or a URL")]
    Option(String),
    /// A relative path.
    #[error(
        "the origin {0:?} is no absolute path and no URL; write the whole path, beginning with '/'"
    )]
    Relative(String),
    /// `http://`, over which anybody can change what arrives.
    #[error("the origin uses http://, which anybody on the way can change; write https://{0}")]
    PlainHttp(String),
    /// `file://`.
    #[error("the origin uses file://; write the path alone: {0}")]
    FileUrl(String),
    /// `host:path`.
    #[error("the origin {found:?} is in the short form of ssh; write {instead}")]
    ShortSsh {
        /// What was written.
        found: String,
        /// The URL for it.
        instead: String,
    },
    /// `ext::` and other helpers run programs.
    #[error(
        "the origin names the transport helper {0:?}, which runs a program; write an https://, ssh:// or git:// URL"
    )]
    Helper(String),
    /// Another scheme.
    #[error(
        "the scheme {0:?} is not one of https, ssh and git; write an https://, ssh:// or git:// URL"
    )]
    Scheme(String),
    /// A user or a password in the URL (it is not repeated here).
    #[error(
        "the origin's URL holds {what}, which would be seen in process lists and logs; leave it out and configure a git credential helper or an ssh key"
    )]
    Credentials {
        /// What it holds.
        what: &'static str,
    },
    /// No host, or one that begins with '-'.
    #[error(
        "the origin's URL names no usable host; write it like https://example.org/team/state.git"
    )]
    Host,
    /// A URL without a path, or with a query or a fragment.
    #[error(
        "the origin's URL names no usable path; write it like https://example.org/team/state.git"
    )]
    Path,
}

impl Origin {
    /// Reads what an administrator wrote: an absolute path or a URL.
    pub fn parse(text: &str) -> Result<Origin, OriginError> {
        if text.is_empty() {
            return Err(OriginError::Empty);
        }
        if text.starts_with('-') {
            return Err(OriginError::Option(text.to_owned()));
        }
        if text.starts_with('/') {
            // A line feed would be read as the end of an entry in the list of alternates.
            if text.chars().any(char::is_control) {
                return Err(OriginError::BadCharacter);
            }
            let trimmed = text.trim_end_matches('/');
            return Ok(Origin::Local(PathBuf::from(if trimmed.is_empty() {
                "/"
            } else {
                trimmed
            })));
        }
        if !text.bytes().all(|byte| byte.is_ascii_graphic()) {
            return Err(OriginError::BadCharacter);
        }
        match text.split_once("://") {
            Some((scheme, rest)) if !scheme.contains(':') => {
                RemoteUrl::parse(scheme, rest).map(Origin::Remote)
            }
            _ => Err(refuse_other_forms(text)),
        }
    }

    /// Everything that tells whether a branch of a local origin has moved; `None` for a remote one.
    ///
    /// Take it *before* reading the heads: what moves afterwards then changes it. `protected` is the full name of the
    /// protected branch, whose file is looked at by itself.
    pub fn signature(&self, protected: &str) -> Option<Result<Signature, LayoutError>> {
        match self {
            Origin::Local(path) => {
                let taken = |layout: Layout| {
                    Signature::take(&layout, protected).reached_by(path, &layout.common)
                };
                Some(Layout::of(path).map(taken))
            }
            Origin::Remote(_) => None,
        }
    }

    /// The directories in which something is made, renamed or removed whenever a branch of a local origin moves. Empty
    /// for a remote origin, and for a local one that cannot be read.
    pub fn watch_paths(&self) -> Vec<PathBuf> {
        match self {
            Origin::Local(path) => Layout::of(path)
                .map(|layout| layout.watched_dirs())
                .unwrap_or_default(),
            Origin::Remote(_) => Vec::new(),
        }
    }
}

fn refuse_other_forms(text: &str) -> OriginError {
    if let Some((helper, _)) = text.split_once("::") {
        return OriginError::Helper(helper.to_owned());
    }
    match text.split_once(':') {
        Some((host, path)) if !host.contains('/') && !path.is_empty() => {
            let instead = format!("ssh://{host}/{}", path.trim_start_matches('/'));
            OriginError::ShortSsh {
                found: text.to_owned(),
                instead,
            }
        }
        _ => OriginError::Relative(text.to_owned()),
    }
}

impl RemoteUrl {
    fn parse(scheme: &str, rest: &str) -> Result<Self, OriginError> {
        let (authority, path) = rest.split_once('/').unwrap_or((rest, ""));
        let (user, host) = match authority.rsplit_once('@') {
            Some((user, host)) => (Some(user), host),
            None => (None, authority),
        };
        let scheme = match scheme.to_ascii_lowercase().as_str() {
            "https" => "https",
            "ssh" => "ssh",
            "git" => "git",
            "http" => return Err(OriginError::PlainHttp(format!("{host}/{path}"))),
            "file" => return Err(OriginError::FileUrl(format!("/{path}"))),
            other => return Err(OriginError::Scheme(other.to_owned())),
        };
        match user {
            Some(user) if user.contains(':') => {
                return Err(OriginError::Credentials { what: "a password" });
            }
            // The user of https can be a token as well.
            Some(_) if scheme != "ssh" => {
                return Err(OriginError::Credentials {
                    what: "a user name",
                });
            }
            Some(user) if user.is_empty() || user.starts_with('-') => {
                return Err(OriginError::Host);
            }
            _ => {}
        }
        if host.is_empty() || host.starts_with(['-', ':']) {
            return Err(OriginError::Host);
        }
        if path.is_empty() || path.contains(['?', '#']) {
            return Err(OriginError::Path);
        }
        Ok(RemoteUrl {
            text: format!("{scheme}://{rest}"),
            scheme,
        })
    }

    /// The URL.
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// `https`, `ssh` or `git`.
    pub fn scheme(&self) -> &'static str {
        self.scheme
    }
}

impl FromStr for Origin {
    type Err = OriginError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Origin::parse(text)
    }
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Origin::Local(path) => path.display().fmt(f),
            Origin::Remote(url) => f.write_str(&url.text),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_and_urls_are_read() {
        assert_eq!(
            Origin::parse("/srv/state.git/").unwrap(),
            Origin::Local("/srv/state.git".into())
        );
        for url in [
            "https://example.org/team/state.git",
            "ssh://git@example.org:2222/~/state",
            "git://[::1]:9418/state",
        ] {
            assert_eq!(Origin::parse(url).unwrap().to_string(), url);
        }
        assert_eq!(
            Origin::parse("HTTPS://example.org/x").unwrap().to_string(),
            "https://example.org/x"
        );
    }

    #[test]
    fn what_is_refused_says_what_to_write_instead() {
        let cases = [
            ("", "no origin is given"),
            ("-oProxyCommand=x", "begins with '-'"),
            ("state.git", "write the whole path"),
            ("../state", "write the whole path"),
            ("http://example.org/x", "write https://example.org/x"),
            ("file:///srv/x", "write the path alone: /srv/x"),
            (
                "git@example.org:team/x.git",
                "write ssh://git@example.org/team/x.git",
            ),
            ("ext::sh -c id", "a space"),
            ("ext::id", "transport helper"),
            ("ext::https://example.org/x", "transport helper"),
            ("ftp://example.org/x", "\"ftp\""),
            ("https://canary@example.org/x", "a user name"),
            ("https://u:canary@example.org/x", "a password"),
            ("ssh://u:canary@example.org/x", "a password"),
            (
                "http://u:canary@example.org/x",
                "write https://example.org/x",
            ),
            ("git://u@example.org/x", "a user name"),
            ("ssh://-oProxyCommand=x/y", "no usable host"),
            ("ssh://-l@example.org/y", "no usable host"),
            ("https:///x", "no usable host"),
            ("https://example.org", "no usable path"),
            ("https://example.org/x?token=canary", "no usable path"),
            ("https://example.org/x\n", "a control character"),
            ("/srv/x\ny", "a control character"),
        ];
        for (text, says) in cases {
            let error = Origin::parse(text).unwrap_err().to_string();
            assert!(error.contains(says), "{text:?} gave {error:?}");
            assert!(!error.contains("canary"), "{text:?} gave {error:?}");
        }
    }
}
