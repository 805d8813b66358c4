//! The files of one commit or tree of a repository on this machine, wherever that is: a bare repository, a work tree, or
//! the quarantine of a push.
//!
//! Nothing is fetched, copied or run. Objects may be borrowed from other repositories (`objects/info/alternates`), since
//! whoever names the repository reads it with rights of their own; a daemon that reads for others uses a [`Mirror`].
//!
//! [`Mirror`]: crate::Mirror

use std::collections::{BTreeMap, BTreeSet, BinaryHeap};
use std::path::{Path, PathBuf};

use gix::hash::ObjectId;
use gix::objs::{self, TagRefIter};
use muster_core::commit::CommitId;

use crate::files::{self, Files};
use crate::layout::{self, Layout, LayoutError, RefStorage};
use crate::merge::blobs;
use crate::objects::{Objects, SMALL, Source, commit_id};
use crate::read_error::{FILE_LIMIT, ReadError};
use crate::refs;
use crate::versions::{self, Version};

/// Tags of tags that are followed to what they are about.
const NESTED_TAGS: usize = 5;

/// Why a revision's files cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum AtError {
    /// The repository itself.
    #[error("the repository {} cannot be read", path.display())]
    Repository {
        /// Which.
        path: PathBuf,
        /// Why.
        source: LayoutError,
    },
    /// Nothing has that name.
    #[error(
        "{} has no {revision:?}; name a commit or a tree by all digits of its id, a branch, HEAD, or a full reference such as refs/heads/main",
        path.display()
    )]
    Unknown {
        /// Which repository.
        path: PathBuf,
        /// The name.
        revision: String,
    },
    /// A name, where only ids can be used.
    #[error(
        "{} keeps its references in another format than files, so that {revision:?} cannot be looked up; name its id: `git rev-parse {revision}`",
        path.display()
    )]
    Reftable {
        /// Which repository.
        path: PathBuf,
        /// The name.
        revision: String,
    },
    /// The reference that was named.
    #[error("the reference {revision:?} cannot be read")]
    Reference {
        /// The name.
        revision: String,
        /// Why.
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// The objects.
    #[error("the files of {revision:?} cannot be read")]
    Objects {
        /// The name.
        revision: String,
        /// Why.
        source: ReadError,
    },
}

/// The files of `revision` in the places that muster reads. A revision is all digits of the id of a commit, a tree or a
/// tag, or `HEAD`, a branch, or a full reference name; no other way to name one is known.
///
/// # Errors
/// When there is no such repository or revision, or its files are not plain ones ([`ReadError::Paths`]).
pub fn at(repository: &Path, revision: &str) -> Result<Files, AtError> {
    let unreadable = |source| AtError::Repository {
        path: repository.to_owned(),
        source,
    };
    let failed = |source| AtError::Objects {
        revision: revision.to_owned(),
        source,
    };
    let layout = Layout::of(repository).map_err(unreadable)?;
    let id = resolve(repository, &layout, revision)?;
    Objects::open(&layout.objects(), layout.kind)
        .map_err(ReadError::Store)
        .and_then(|objects| files::files_of(&objects, tree_of(&objects, id)?))
        .map_err(failed)
}

/// The content of these files of `revision`, wherever they stand, where there are plain ones. It is what git keeps, before any filter.
///
/// # Errors
/// As for [`at`].
pub fn blobs_at(
    repository: &Path,
    revision: &str,
    paths: &BTreeSet<String>,
) -> Result<BTreeMap<String, Vec<u8>>, AtError> {
    let layout = Layout::of(repository).map_err(|source| AtError::Repository {
        path: repository.to_owned(),
        source,
    })?;
    let id = resolve(repository, &layout, revision)?;
    Objects::open(&layout.objects(), layout.kind)
        .map_err(ReadError::Store)
        .and_then(|objects| blobs(&objects, tree_of(&objects, id)?, paths))
        .map_err(|source| AtError::Objects {
            revision: revision.to_owned(),
            source,
        })
}

/// The commit that `revision` names, in the same ways as for [`at`]; a tag leads to what it is about.
///
/// # Errors
/// When there is no such repository or revision, or it is no commit's.
pub fn commit_at(repository: &Path, revision: &str) -> Result<CommitId, AtError> {
    let layout = Layout::of(repository).map_err(|source| AtError::Repository {
        path: repository.to_owned(),
        source,
    })?;
    let id = resolve(repository, &layout, revision)?;
    Objects::open(&layout.objects(), layout.kind)
        .map_err(ReadError::Store)
        .and_then(|objects| {
            let commit = peeled(&objects, id)?;
            objects.commit(&commit).map(|_| commit_id(&commit))
        })
        .map_err(|source| AtError::Objects {
            revision: revision.to_owned(),
            source,
        })
}

/// Each content that a plain file below the directory `dir` had in a commit that `revision` has and `before` has not; once each, by
/// path. `None` where there are more of them than are looked through; none where one of the two is no commit's.
///
/// # Errors
/// As for [`at`].
pub fn versions_at(
    repository: &Path,
    before: &str,
    revision: &str,
    dir: &str,
) -> Result<Option<Vec<Version>>, AtError> {
    let layout = Layout::of(repository).map_err(|source| AtError::Repository {
        path: repository.to_owned(),
        source,
    })?;
    let old = resolve(repository, &layout, before)?;
    let new = resolve(repository, &layout, revision)?;
    let found = Objects::open(&layout.objects(), layout.kind)
        .map_err(ReadError::Store)
        .and_then(|objects| {
            let (old, new) = (peeled(&objects, old)?, peeled(&objects, new)?);
            versions::versions(&objects, old, new, dir)
        });
    match found {
        Err(ReadError::WrongKind { .. }) => Ok(Some(Vec::new())),
        found => found.map_err(|source| AtError::Objects {
            revision: revision.to_owned(),
            source,
        }),
    }
}

/// So many commits are walked at most for what a file held earlier.
const MOST_EARLIER: usize = 10_000;

/// Shows each content that the file `name`, at the top, had in the commits that led to `revision`, the newest first and once each, until
/// `is_enough`. History that is not there, as in a shallow clone, is where it ends.
///
/// # Errors
/// As for [`at`].
pub fn earlier(
    repository: &Path,
    revision: &str,
    name: &str,
    is_enough: &mut dyn FnMut(&[u8]) -> bool,
) -> Result<(), AtError> {
    let layout = Layout::of(repository).map_err(|source| AtError::Repository {
        path: repository.to_owned(),
        source,
    })?;
    let id = resolve(repository, &layout, revision)?;
    let failed = |source| AtError::Objects {
        revision: revision.to_owned(),
        source,
    };
    let objects = Objects::open(&layout.objects(), layout.kind)
        .map_err(|error| failed(ReadError::Store(error)))?;
    let id = peeled(&objects, id).map_err(failed)?;
    let mut queue = BinaryHeap::new();
    let (mut walked, mut seen) = (BTreeSet::from([id]), BTreeSet::new());
    queue.extend(objects.commit(&id).ok().map(|it| (it.time, id)));
    while let Some((_, id)) = queue.pop() {
        let Ok(commit) = objects.commit(&id) else {
            continue;
        };
        let tree = objects.tree(&commit.tree).map_err(failed)?;
        let file = tree.iter().find(|it| it.name == name.as_bytes());
        if let Some(file) = file.filter(|it| it.mode & 0o170_000 == 0o100_000)
            && seen.insert(file.id)
        {
            let content = objects.read(&file.id, objs::Kind::Blob, FILE_LIMIT);
            if is_enough(&content.map_err(failed)?) {
                break;
            }
        }
        for parent in commit.parents {
            if walked.len() < MOST_EARLIER && walked.insert(parent) {
                let there = objects.commit(&parent).ok();
                queue.extend(there.map(|it| (it.time, parent)));
            }
        }
    }
    Ok(())
}

fn resolve(repository: &Path, layout: &Layout, revision: &str) -> Result<ObjectId, AtError> {
    let unknown = || AtError::Unknown {
        path: repository.to_owned(),
        revision: revision.to_owned(),
    };
    if revision.len() == layout.kind.len_in_hex()
        && let Ok(id) = ObjectId::from_hex(revision.as_bytes())
    {
        return Ok(id);
    }
    let name = match revision {
        "HEAD" => None,
        full if full.starts_with("refs/") => Some(full.to_owned()),
        branch => Some(format!("refs/heads/{branch}")),
    };
    if name.as_deref().is_some_and(|name| !refs::is_legal(name)) {
        return Err(unknown());
    }
    if layout.refs == RefStorage::Reftable {
        return Err(AtError::Reftable {
            path: repository.to_owned(),
            revision: revision.to_owned(),
        });
    }
    let found = match name {
        Some(name) => refs::read(&layout.common, &name, layout.kind),
        None => {
            let (git_dir, common) =
                layout::dirs(repository).map_err(|source| AtError::Repository {
                    path: repository.to_owned(),
                    source,
                })?;
            refs::head(&git_dir, &common, layout.kind)
        }
    };
    found
        .map_err(|source| AtError::Reference {
            revision: revision.to_owned(),
            source: Box::new(source),
        })?
        .ok_or_else(unknown)
}

/// The tree that an id leads to.
fn tree_of(objects: &Objects, id: ObjectId) -> Result<ObjectId, ReadError> {
    let id = peeled(objects, id)?;
    match objects.tree(&id) {
        Err(ReadError::WrongKind { .. }) => Ok(objects.commit(&id)?.tree),
        found => found.map(|_| id),
    }
}

/// What a tag is about, or the object itself.
fn peeled(objects: &Objects, mut id: ObjectId) -> Result<ObjectId, ReadError> {
    for _ in 0..NESTED_TAGS {
        let bytes = match objects.read(&id, objs::Kind::Tag, SMALL) {
            Ok(bytes) => bytes,
            Err(ReadError::WrongKind { .. }) => return Ok(id),
            Err(error) => return Err(error),
        };
        id = TagRefIter::from_bytes(&bytes, Source::kind(objects))
            .target_id()
            .map_err(|_| ReadError::Damaged { id: id.to_string() })?;
    }
    Err(ReadError::WrongKind {
        id: id.to_string(),
        found: "tag".to_owned(),
        expected: "commit".to_owned(),
    })
}
