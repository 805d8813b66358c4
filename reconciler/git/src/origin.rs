//! What is watched: where the state repository is, and whether anything has moved there.

use std::fmt;
use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use gix::hash::Kind;

use crate::owner::Owner;
use crate::refs;

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
    #[error("the scheme {0:?} is not one of https, ssh and git")]
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
    #[error("the origin's URL names no usable host")]
    Host,
    /// A URL without a path, or with a query or a fragment.
    #[error("the origin's URL names no usable path")]
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
                Some(Layout::of(path).map(|layout| Signature::take(&layout, protected)))
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

/// Why a directory cannot be used as a local origin.
#[derive(Debug, thiserror::Error)]
pub enum LayoutError {
    /// There is no repository.
    #[error("{} is no git repository; name the directory that holds .git, or a bare repository", .0.display())]
    NoRepository(PathBuf),
    /// It cannot be read.
    #[error("cannot read {}", path.display())]
    Unreadable {
        /// The file or directory.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// A `.git` file leads into a repository of somebody else.
    #[error("{} leads to {}, which belongs to somebody else; name that repository itself", from.display(), to.display())]
    ForeignLink {
        /// Where the way begins.
        from: PathBuf,
        /// Where it ends.
        to: PathBuf,
    },
    /// A format that git may know and muster does not.
    #[error("{} has the {what} {value:?}, which muster does not know", path.display())]
    Unknown {
        /// The repository.
        path: PathBuf,
        /// Which setting.
        what: &'static str,
        /// Its value.
        value: String,
    },
}

/// How a local repository keeps its references.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum RefStorage {
    Files,
    Reftable,
}

/// Where the parts of a local repository are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Layout {
    /// The directory that all its work trees share.
    pub(crate) common: PathBuf,
    pub(crate) kind: Kind,
    pub(crate) refs: RefStorage,
    pub(crate) owner: Owner,
    /// Its objects are partly elsewhere (alternates, symbolic links): only its owner may follow that.
    pub(crate) elsewhere: bool,
}

impl Layout {
    pub(crate) fn of(path: &Path) -> Result<Layout, LayoutError> {
        let common = common_dir(path)?;
        let owner_of = |path: &Path| Owner::of(path).map_err(unreadable(path));
        let owner = owner_of(&common)?;
        let start = owner_of(path)?;
        if start.uid != owner.uid && start.uid != 0 {
            return Err(LayoutError::ForeignLink {
                from: path.to_owned(),
                to: common,
            });
        }
        let config_path = common.join("config");
        let config = refs::read_regular(&config_path, 1 << 20)
            .map_err(unreadable(&config_path))?
            .unwrap_or_default();
        let setting = |key: &str| extension(&config, key);
        let unknown = |what, value| LayoutError::Unknown {
            path: common.clone(),
            what,
            value,
        };
        let kind = match setting("objectformat").as_deref() {
            None | Some("sha1") => Kind::Sha1,
            Some("sha256") => Kind::Sha256,
            Some(other) => return Err(unknown("object format", other.to_owned())),
        };
        let refs = match setting("refstorage").as_deref() {
            None | Some("files") => RefStorage::Files,
            Some("reftable") => RefStorage::Reftable,
            Some(other) => return Err(unknown("reference format", other.to_owned())),
        };
        let elsewhere = ["objects", "objects/pack", "objects/info", "refs"]
            .iter()
            .any(|below| {
                common
                    .join(below)
                    .symlink_metadata()
                    .is_ok_and(|meta| meta.is_symlink())
            })
            || common
                .join("objects/info/alternates")
                .symlink_metadata()
                .is_ok_and(|meta| meta.len() > 0);
        Ok(Layout {
            common,
            kind,
            refs,
            owner,
            elsewhere,
        })
    }

    pub(crate) fn objects(&self) -> PathBuf {
        self.common.join("objects")
    }

    fn watched_dirs(&self) -> Vec<PathBuf> {
        match self.refs {
            RefStorage::Reftable => vec![self.common.join("reftable")],
            RefStorage::Files => {
                let mut dirs = vec![self.common.clone()];
                dirs.extend(refs::dirs_below(&self.common.join("refs/heads")));
                dirs.extend(tag_dirs(&self.common).filter(|dir| dir.is_dir()));
                dirs
            }
        }
    }
}

/// The directories in which tags that matter appear. Not what is below them: anyone may push tags of any depth, and a look
/// must cost the same whatever they push.
fn tag_dirs(common: &Path) -> impl Iterator<Item = PathBuf> {
    let tags = common.join("refs/tags");
    let below = ["release", "root", "reset"].map(|dir| tags.join(dir));
    std::iter::once(tags).chain(below)
}

fn unreadable(path: &Path) -> impl FnOnce(io::Error) -> LayoutError {
    move |source| LayoutError::Unreadable {
        path: path.to_owned(),
        source,
    }
}

/// The value of `extensions.<key>`, in lower case. Includes are not followed.
fn extension(config: &[u8], key: &str) -> Option<String> {
    let text = std::str::from_utf8(config).ok()?;
    let file = gix::config::File::try_from(text).ok()?;
    file.string(format!("extensions.{key}").as_str())
        .map(|value| value.to_string().to_ascii_lowercase())
}

fn common_dir(path: &Path) -> Result<PathBuf, LayoutError> {
    dirs(path).map(|(_, common)| common)
}

/// The directory that holds a work tree's own HEAD, and the one that all work trees share; the same in most repositories.
pub(crate) fn dirs(path: &Path) -> Result<(PathBuf, PathBuf), LayoutError> {
    let is_repository =
        |dir: &Path| dir.join("HEAD").symlink_metadata().is_ok() && dir.join("objects").is_dir();
    if is_repository(path) {
        return Ok((path.to_owned(), path.to_owned()));
    }
    let dot_git = path.join(".git");
    if is_repository(&dot_git) {
        return Ok((dot_git.clone(), dot_git));
    }
    let no_repository = || LayoutError::NoRepository(path.to_owned());
    let linked = |file: &Path| -> Result<Option<String>, LayoutError> {
        let bytes = refs::read_regular(file, 4_096).map_err(unreadable(file))?;
        Ok(bytes
            .and_then(|bytes| String::from_utf8(bytes).ok())
            .map(|text| text.trim_end_matches('\n').to_owned()))
    };
    let git_dir = match linked(&dot_git)?
        .as_deref()
        .and_then(|text| text.strip_prefix("gitdir:"))
    {
        Some(target) => path.join(target.trim_start()),
        None => path.to_owned(),
    };
    let common = match linked(&git_dir.join("commondir"))? {
        Some(common) => git_dir.join(common),
        None => git_dir.clone(),
    };
    if !is_repository(&common) {
        return Err(no_repository());
    }
    // `worktrees/x/../..` is made plain, so that everything names the repository in one way.
    let common = common.canonicalize().map_err(unreadable(&common))?;
    Ok((git_dir, common))
}

/// How new a change may be for another one at nearly the same instant to go unseen: some filesystems' clocks tick every
/// ten milliseconds.
const RACY: Duration = Duration::from_millis(100);

/// The state of the files in which a local origin keeps its branches: a few `stat`s, whatever the history's length.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Signature {
    stamps: Vec<(PathBuf, Stamp)>,
    settled: bool,
}

/// Device, inode, size, time of modification and of change; zeros for what is missing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
struct Stamp([i64; 7]);

impl Stamp {
    fn of(path: &Path) -> Stamp {
        let Ok(meta) = fs::symlink_metadata(path) else {
            return Stamp::default();
        };
        let (device, inode, size) = (meta.dev() as i64, meta.ino() as i64, meta.size() as i64);
        Stamp([
            device,
            inode,
            size,
            meta.mtime(),
            meta.mtime_nsec(),
            meta.ctime(),
            meta.ctime_nsec(),
        ])
    }

    fn is_older_than(&self, now: Duration) -> bool {
        let Stamp([.., seconds, nanoseconds]) = *self;
        let changed = Duration::new(seconds.max(0) as u64, nanoseconds.max(0) as u32);
        changed.abs_diff(now) > RACY
    }
}

impl Signature {
    pub(crate) fn take(layout: &Layout, protected: &str) -> Signature {
        let now = since_1970();
        let paths = match layout.refs {
            RefStorage::Reftable => vec![
                layout.common.join("reftable/tables.list"),
                layout.common.join("reftable"),
            ],
            RefStorage::Files => {
                let mut paths = vec![layout.common.join("packed-refs")];
                paths.extend(refs::dirs_below(&layout.common.join("refs/heads")));
                paths.extend(tag_dirs(&layout.common));
                // A file that is rewritten in place instead of renamed leaves its directory as it is.
                paths.push(layout.common.join(protected));
                paths
            }
        };
        Signature::of_paths(paths, now)
    }

    /// Of what is below `dirs`, such as `refs/muster/host/`.
    pub(crate) fn of_dirs(layout: &Layout, dirs: &[&str]) -> Signature {
        let now = since_1970();
        let paths = match layout.refs {
            RefStorage::Reftable => vec![
                layout.common.join("reftable/tables.list"),
                layout.common.join("reftable"),
            ],
            RefStorage::Files => {
                // That the repository is there at all shows in its HEAD.
                let mut paths = vec![
                    layout.common.join("HEAD"),
                    layout.common.join("packed-refs"),
                ];
                for dir in dirs {
                    paths.extend(refs::dirs_below(&layout.common.join(dir)));
                }
                paths
            }
        };
        Signature::of_paths(paths, now)
    }

    fn of_paths(paths: Vec<PathBuf>, now: Duration) -> Signature {
        let stamps: Vec<_> = paths
            .into_iter()
            .map(|path| {
                let stamp = Stamp::of(&path);
                (path, stamp)
            })
            .collect();
        let settled = stamps.iter().all(|(_, stamp)| stamp.is_older_than(now));
        let mut signature = Signature { stamps, settled };
        signature.forget_what_a_directory_tells();
        signature
    }

    /// Leaves out what is missing in a directory that was looked at before it: it cannot come without changing that. Most
    /// repositories have no tags of ours, and what is packed has no file.
    fn forget_what_a_directory_tells(&mut self) {
        let mut directories: Vec<PathBuf> = Vec::new();
        self.stamps.retain(|(path, stamp)| {
            if *stamp == Stamp::default() {
                return !directories.iter().any(|it| path.parent() == Some(it));
            }
            // Not a link: what it leads to changes without it.
            if fs::symlink_metadata(path).is_ok_and(|it| it.is_dir()) {
                directories.push(path.clone());
            }
            true
        });
    }

    /// Whether nothing has moved since. `false` may also mean that something moved so shortly before that a second
    /// change could have gone unseen: reading again is then right, and cheap.
    pub fn still_holds(&self) -> bool {
        self.settled
            && self
                .stamps
                .iter()
                .all(|(path, stamp)| Stamp::of(path) == *stamp)
    }

    /// How many files it is made of.
    pub fn parts(&self) -> usize {
        self.stamps.len()
    }

    /// Whether one of these files, counted from 0, has not moved since; yes for one that is none of them.
    pub fn part_still_holds(&self, part: usize) -> bool {
        let part = self.stamps.get(part);
        part.is_none_or(|(path, stamp)| Stamp::of(path) == *stamp)
    }
}

fn since_1970() -> Duration {
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap_or_default()
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
