//! Where the parts of a repository on this machine are: found by looking, without running git in it.

use std::io;
use std::path::{Path, PathBuf};

use gix::hash::Kind;

use crate::folder;
use crate::owner::Owner;
use crate::refs;

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
    #[error("{} has the {what} {value:?}, which this version of muster does not know; use a newer one, or convert the repository", path.display())]
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

    /// The same for its owner, who may follow whatever leads elsewhere.
    pub(crate) fn followed(self, follows: bool) -> Layout {
        Layout {
            elsewhere: self.elsewhere && !(follows && self.owner.is_us()),
            ..self
        }
    }

    pub(crate) fn objects(&self) -> PathBuf {
        self.common.join("objects")
    }

    pub(crate) fn watched_dirs(&self) -> Vec<PathBuf> {
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
pub(crate) fn tag_dirs(common: &Path) -> impl Iterator<Item = PathBuf> {
    let tags = common.join("refs/tags");
    let below = ["release", "root", "reset", "answer"].map(|dir| tags.join(dir));
    std::iter::once(tags).chain(below)
}

/// That what is opened in an object directory is files: opening a pipe would wait for ever.
pub(crate) fn check_plain(objects: &Path) -> io::Result<()> {
    for dir in ["info", "pack"] {
        let dir = objects.join(dir);
        let entries = match folder::entries(&dir) {
            Ok(entries) => entries,
            Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
            Err(error) => return Err(error),
        };
        for entry in entries {
            let path = entry.path;
            if let Ok(meta) = path.metadata()
                && !meta.is_file()
                && !meta.is_dir()
            {
                let why = format!("{} is no regular file; remove it", path.display());
                return Err(io::Error::other(why));
            }
        }
    }
    Ok(())
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
