//! Merging a proposal in memory: what the protected branch would hold after the merge.

use std::collections::BTreeSet;

use gix::merge::tree::TreatAsUnresolved;
use muster_core::commit::CommitId;

use crate::ancestry::Ancestry;
use crate::files::{self, Files};
use crate::mirror::Mirror;
use crate::objects::{commit_id, object_id};
use crate::read_error::ReadError;

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
        match self.ancestry(head, protected) {
            Ancestry::Same | Ancestry::Descends => return Ok(Merged::UpToDate),
            Ancestry::Diverged | Ancestry::Unknown => {}
        }
        if self.ancestry(protected, head) == Ancestry::Descends {
            let files = self.files(head).map_err(MergeError::Read)?;
            return Ok(Merged::FastForward { files });
        }
        self.merge_trees(protected, head)
    }

    fn merge_trees(&self, protected: &CommitId, head: &CommitId) -> Result<Merged, MergeError> {
        let failed = |source: gix::Error| {
            let (protected, head) = (protected.clone(), head.clone());
            MergeError::Merge {
                protected,
                head,
                source: source.to_string().into(),
            }
        };
        let options = gix::open::Options::isolated()
            .open_path_as_is(true)
            .with(gix::sec::Trust::Full);
        let repository = options
            .open(self.merge_dir())
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
            return Ok(Merged::Unrelated);
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
            return Ok(Merged::Conflict {
                paths: paths.map(|path| path.escape_ascii().to_string()).collect(),
            });
        }
        let tree = merged.tree.write().map_err(failed)?.detach();
        let files = files::files_of(&repository, tree).map_err(MergeError::Read)?;
        Ok(Merged::Clean {
            files,
            base: commit_id(base),
        })
    }
}
