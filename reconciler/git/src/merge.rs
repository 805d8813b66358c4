//! Merging a proposal in memory: what the protected branch would hold after the merge.

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};

use gix::hash::{Kind, ObjectId, oid};
use gix::merge::tree::TreatAsUnresolved;
use gix::objs;
use muster_core::commit::CommitId;

use crate::ancestry::Ancestry;
use crate::files::{self, Files};
use crate::mirror::Mirror;
use crate::objects::{Source, commit_id, decoding, object_id, read_merged};
use crate::read_error::ReadError;
use crate::reader::{Reader, ReaderError};

/// What merging a proposal into the protected branch gives.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Merged {
    /// The protected branch contains the proposal already.
    UpToDate,
    /// The proposal descends from the protected branch: its files are the result.
    FastForward {
        /// The files after the merge.
        files: Files,
    },
    /// Both sides changed, without a conflict.
    Clean {
        /// The files after the merge.
        files: Files,
        /// The best common ancestor (the first of several, in the order of their ids).
        base: CommitId,
    },
    /// Both sides changed the same lines of some file of the repository; it need not be one that muster reads.
    Conflict {
        /// Where; bytes that are no printable ASCII are escaped.
        paths: BTreeSet<String>,
    },
    /// The two have no common ancestor.
    Unrelated,
}

/// Why no merge was tried or finished.
#[derive(Debug, thiserror::Error)]
pub enum MergeError {
    /// A commit or a file cannot be read.
    #[error("cannot read what is to be merged")]
    Read(#[source] ReadError),
    /// The reader could not merge them: with its words.
    #[error(transparent)]
    Told(ReaderError),
    /// The merge itself failed, for instance because an object is missing.
    #[error("cannot merge {head} into {protected}")]
    Merge {
        /// The protected branch's commit.
        protected: CommitId,
        /// The proposal's commit.
        head: CommitId,
        /// What the merge said.
        source: Box<dyn std::error::Error + Send + Sync>,
    },
}

impl Mirror {
    /// Merges `head` into `protected` without writing anything to the disk. Neither attributes nor merge drivers of any
    /// repository take part: equal commits give equal results.
    pub fn merge(&self, protected: &CommitId, head: &CommitId) -> Result<Merged, MergeError> {
        if let Some(reader) = &self.far {
            return self.merge_afar(reader, protected, head);
        }
        match self.stands(protected, head) {
            Stands::Contained => return Ok(Merged::UpToDate),
            Stands::Ahead => {
                let files = self.files(head).map_err(MergeError::Read)?;
                return Ok(Merged::FastForward { files });
            }
            Stands::Apart => {}
        }
        let (merged, base) = match self.merge_trees(protected, head)? {
            Trees::Clean {
                repository,
                tree,
                base,
            } => (files::files_of(&self.merged(&repository), tree), base),
            Trees::Conflict { paths } => return Ok(Merged::Conflict { paths }),
            Trees::Unrelated => return Ok(Merged::Unrelated),
        };
        Ok(Merged::Clean {
            files: merged.map_err(MergeError::Read)?,
            base,
        })
    }

    /// What the reader says of a merge. How the two stand to each other is looked up, and what a proposal holds that needs no
    /// merge is read and hashed as any commit is; only of two that must be merged in memory is the reader taken at its word,
    /// for nothing but showing it: what is done after the merge is read anew.
    fn merge_afar(
        &self,
        reader: &RefCell<Reader>,
        protected: &CommitId,
        head: &CommitId,
    ) -> Result<Merged, MergeError> {
        let told = reader
            .borrow_mut()
            .merge(protected, head, self.limits.bytes)?;
        let claimed = match told {
            MergedAfar::Stands(claimed) => claimed,
            MergedAfar::Merged(merged) => return Ok(merged),
        };
        if claimed != self.stands(protected, head) {
            let why = format!("the reader says of {head} what its history does not show");
            return Err(MergeError::Read(ReadError::Reader { why }));
        }
        match claimed {
            Stands::Contained => Ok(Merged::UpToDate),
            Stands::Ahead => {
                let files = self.files(head).map_err(MergeError::Read)?;
                Ok(Merged::FastForward { files })
            }
            Stands::Apart => Ok(Merged::Unrelated),
        }
    }

    /// How a proposal stands to the protected branch.
    pub(crate) fn stands(&self, protected: &CommitId, head: &CommitId) -> Stands {
        match self.ancestry(head, protected) {
            Ancestry::Same | Ancestry::Descends => Stands::Contained,
            Ancestry::Diverged | Ancestry::Unknown => match self.ancestry(protected, head) {
                Ancestry::Same | Ancestry::Descends => Stands::Ahead,
                Ancestry::Diverged | Ancestry::Unknown => Stands::Apart,
            },
        }
    }

    /// What a merge in memory is read from.
    fn merged<'r>(&self, repository: &'r gix::Repository) -> InMemory<'r> {
        InMemory {
            repository,
            largest: self.limits.bytes,
        }
    }

    /// The plain files at these paths, wherever in the repository that is: at a commit of the protected branch, or after merging
    /// `head` into it. What is not there, or does not merge, is left out.
    ///
    /// # Errors
    /// As for [`Mirror::merge`].
    pub fn contents(
        &self,
        protected: &CommitId,
        head: Option<&CommitId>,
        paths: &BTreeSet<String>,
    ) -> Result<BTreeMap<String, Vec<u8>>, MergeError> {
        let plain = match head {
            None => protected,
            Some(head) if self.ancestry(protected, head) == Ancestry::Descends => head,
            Some(head) => {
                if let Some(reader) = &self.far {
                    let most = self.limits.bytes;
                    return reader.borrow_mut().contents(protected, head, paths, most);
                }
                let Trees::Clean {
                    repository, tree, ..
                } = self.merge_trees(protected, head)?
                else {
                    return Ok(BTreeMap::new());
                };
                return blobs(&self.merged(&repository), tree, paths).map_err(MergeError::Read);
            }
        };
        self.own_or_view(|objects| {
            let tree = objects.commit(&object_id(plain))?.tree;
            blobs(&objects, tree, paths)
        })
        .map_err(MergeError::Read)
    }

    fn merge_trees(&self, protected: &CommitId, head: &CommitId) -> Result<Trees, MergeError> {
        let failed = |source: gix::Error| {
            if source.is_resource_exhausted() {
                return MergeError::Read(ReadError::TooCostly {
                    id: head.to_string(),
                });
            }
            let (protected, head) = (protected.clone(), head.clone());
            MergeError::Merge {
                protected,
                head,
                source: source.to_string().into(),
            }
        };
        let unusable = |source: std::io::Error| MergeError::Merge {
            protected: protected.clone(),
            head: head.clone(),
            source: source.into(),
        };
        let room = decoding(self.limits.bytes);
        let options = gix::open::Options::isolated()
            .open_path_as_is(true)
            .config_overrides([format!("gitoxide.objects.allocLimit={room}")])
            .with(gix::sec::Trust::Full);
        let repository = options
            .open(self.merge_dir().map_err(unusable)?)
            .map_err(failed)?
            .to_thread_local()
            .with_object_memory();
        let (ours, theirs) = (object_id(protected), object_id(head));
        let bases = repository
            .merge_bases_many(ours, &[theirs])
            .map_err(failed)?;
        let mut bases: Vec<_> = bases.into_iter().map(gix::Id::detach).collect();
        bases.sort();
        let Some(base) = bases.first() else {
            return Ok(Trees::Unrelated);
        };
        let options = repository.tree_merge_options().map_err(failed)?;
        let mut merged = repository
            .merge_commits(ours, theirs, Default::default(), options.into())
            .map_err(failed)?
            .tree_merge;
        let how = TreatAsUnresolved::git();
        if merged.has_unresolved_conflicts(how) {
            let unresolved = merged
                .conflicts
                .iter()
                .filter(|conflict| conflict.is_unresolved(how));
            let paths = unresolved
                .flat_map(|conflict| [conflict.ours.location(), conflict.theirs.location()]);
            return Ok(Trees::Conflict {
                paths: paths.map(|path| path.escape_ascii().to_string()).collect(),
            });
        }
        let tree = merged.tree.write().map_err(failed)?.detach();
        let base = commit_id(base);
        drop(merged);
        Ok(Trees::Clean {
            repository,
            tree,
            base,
        })
    }
}

/// What came of merging two trees; a tree that is in memory alone comes with what it is read from.
#[expect(
    clippy::large_enum_variant,
    reason = "there is one of them at a time, and nearly always this one"
)]
enum Trees {
    Clean {
        repository: gix::Repository,
        tree: ObjectId,
        base: CommitId,
    },
    Conflict {
        paths: BTreeSet<String>,
    },
    Unrelated,
}

/// How a proposal stands to the protected branch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Stands {
    /// The protected branch contains it.
    Contained,
    /// It descends from the protected branch.
    Ahead,
    /// Neither.
    Apart,
}

/// What a reader says of a merge.
pub(crate) enum MergedAfar {
    /// That there is nothing to be merged, for this reason; that two stand apart says that nothing joins them.
    Stands(Stands),
    /// What came of merging the two.
    Merged(Merged),
}

/// The objects of a repository that is open for a merge, with those that exist only in memory.
struct InMemory<'r> {
    repository: &'r gix::Repository,
    largest: u64,
}

impl Source for InMemory<'_> {
    fn kind(&self) -> Kind {
        self.repository.object_hash()
    }

    fn read(&self, id: &oid, expected: objs::Kind, limit: u64) -> Result<Vec<u8>, ReadError> {
        read_merged(self.repository, id, expected, limit.min(self.largest))
    }

    fn most_bytes(&self) -> u64 {
        self.largest
    }
}

/// The plain files at these paths, of as many bytes together as may be read of a commit.
pub(crate) fn blobs(
    objects: &impl Source,
    tree: ObjectId,
    paths: &BTreeSet<String>,
) -> Result<BTreeMap<String, Vec<u8>>, ReadError> {
    let mut found = BTreeMap::new();
    let (mut total, limit) = (0, objects.most_bytes());
    for path in paths {
        if let Some(bytes) = files::blob_in(objects, tree, path)? {
            total += bytes.len() as u64;
            if total > limit {
                let what = "bytes";
                return Err(ReadError::TooMuch { what, limit });
            }
            found.insert(path.clone(), bytes);
        }
    }
    Ok(found)
}
