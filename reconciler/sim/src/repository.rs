//! A git repository, as far as a cycle can tell.

use std::collections::{BTreeMap, BTreeSet};

use muster_core::commit::{CommitId, TagId};
use muster_core::release::answer::ANSWERS;
use muster_core::release::{ObjectKind, TagHorizon};
use muster_core::world::{Ancestry, Files, Heads, Merge, RawTag};

/// Commits in memory. Ids count up, so that a story reads the same each time it is told.
#[derive(Clone, Debug, Default)]
pub struct Repository {
    commits: BTreeMap<CommitId, Commit>,
    branches: BTreeMap<String, CommitId>,
    tags: BTreeMap<String, TagId>,
    objects: BTreeMap<TagId, RawTag>,
}

#[derive(Clone, Debug)]
struct Commit {
    parents: Vec<CommitId>,
    files: Files,
}

/// The protected branch.
const MAIN: &str = "refs/heads/main";

impl Repository {
    /// Commits `files` to a branch, on top of it; a new branch begins at the protected one.
    pub fn commit(&mut self, branch: &str, files: Files) -> CommitId {
        let branch = full(branch);
        let parent = self
            .branches
            .get(&branch)
            .or_else(|| self.branches.get(MAIN))
            .cloned();
        self.add(branch, parent.into_iter().collect(), files)
    }

    /// Replaces a branch by a commit without history.
    pub fn force_push(&mut self, branch: &str, files: Files) -> CommitId {
        self.add(full(branch), Vec::new(), files)
    }

    /// Merges a branch into the protected one and deletes it.
    ///
    /// # Panics
    /// When it does not merge by itself.
    pub fn land(&mut self, branch: &str) -> CommitId {
        let (main, head) = (
            self.branches[MAIN].clone(),
            self.branches[&full(branch)].clone(),
        );
        let Merge::Clean(files) = self.merge(&main, &head) else {
            panic!("{branch} does not merge by itself")
        };
        self.branches.remove(&full(branch));
        self.add(MAIN.to_owned(), vec![main, head], files)
    }

    /// Deletes a branch.
    pub fn delete(&mut self, branch: &str) {
        self.branches.remove(&full(branch));
    }

    /// The head of the protected branch.
    pub fn head(&self) -> Option<CommitId> {
        self.branches.get(MAIN).cloned()
    }

    /// The head of a branch.
    pub fn branch(&self, branch: &str) -> Option<CommitId> {
        self.branches.get(&full(branch)).cloned()
    }

    /// The files of a commit.
    pub fn files(&self, commit: &CommitId) -> Files {
        self.commits
            .get(commit)
            .map(|it| it.files.clone())
            .unwrap_or_default()
    }

    /// Pushes a tag, in place of one of that name; `raw` is the tag object's bytes.
    pub fn push_tag(&mut self, name: &str, kind: ObjectKind, raw: Vec<u8>) -> TagId {
        let id: TagId = format!("{:08x}{:032}", self.objects.len() + 1, 7)
            .parse()
            .expect("forty hex digits");
        let object = RawTag { kind, bytes: raw };
        self.objects.insert(id.clone(), object);
        self.tags.insert(format!("refs/tags/{name}"), id.clone());
        id
    }

    /// Deletes a tag.
    pub fn delete_tag(&mut self, name: &str) {
        self.tags.remove(&format!("refs/tags/{name}"));
    }

    /// Deletes every tag.
    pub fn delete_tags(&mut self) {
        self.tags.clear();
    }

    pub(crate) fn has(&self, commit: &CommitId) -> bool {
        self.commits.contains_key(commit)
    }

    pub(crate) fn tag(&self, id: &TagId) -> Option<RawTag> {
        self.objects.get(id).cloned()
    }

    pub(crate) fn heads(&self, horizon: &TagHorizon) -> Heads {
        let mut proposals = self.branches.clone();
        Heads {
            protected: proposals.remove(MAIN),
            proposals,
            tags: self
                .tags
                .iter()
                .filter(|(name, _)| horizon.wants(name) && !name.starts_with(ANSWERS))
                .map(|(name, id)| (name.clone(), id.clone()))
                .collect(),
        }
    }

    pub(crate) fn answer_tags(&self) -> BTreeMap<String, TagId> {
        let mut tags = self.tags.clone();
        tags.retain(|name, _| name.starts_with(ANSWERS));
        tags
    }

    pub(crate) fn versions(
        &self,
        protected: &CommitId,
        head: &CommitId,
        dir: &str,
    ) -> Vec<(String, Vec<u8>)> {
        let (theirs, ours) = (self.ancestors(head), self.ancestors(protected));
        let below = |commit: &CommitId| {
            let files = self.files(commit).into_iter();
            files.filter(|(path, _)| path.strip_prefix(dir).is_some_and(|it| it.starts_with('/')))
        };
        let known: BTreeSet<_> = ours.iter().flat_map(below).collect();
        let brought: BTreeSet<_> = theirs.difference(&ours).flat_map(below).collect();
        brought.difference(&known).cloned().collect()
    }

    pub(crate) fn ancestry(&self, old: &CommitId, new: &CommitId) -> Ancestry {
        if old == new {
            Ancestry::Same
        } else if self.ancestors(new).contains(old) {
            Ancestry::Descends
        } else {
            Ancestry::Diverged
        }
    }

    pub(crate) fn merge(&self, protected: &CommitId, head: &CommitId) -> Merge {
        let (ours, theirs) = (self.ancestors(protected), self.ancestors(head));
        if ours.contains(head) {
            return Merge::Contained;
        }
        // Ids count up, so the greatest common ancestor is the newest.
        let base = ours
            .intersection(&theirs)
            .max()
            .map(|it| self.files(it))
            .unwrap_or_default();
        let (ours, theirs) = (self.files(protected), self.files(head));
        let mut merged = Files::new();
        let mut conflicts = Vec::new();
        let paths: BTreeSet<&String> = base
            .keys()
            .chain(ours.keys())
            .chain(theirs.keys())
            .collect();
        for path in paths {
            let (b, o, t) = (base.get(path), ours.get(path), theirs.get(path));
            let side = if o == t || b == t {
                o
            } else if b == o {
                t
            } else {
                conflicts.push(path.clone());
                continue;
            };
            if let Some(content) = side {
                merged.insert(path.clone(), content.clone());
            }
        }
        if conflicts.is_empty() {
            Merge::Clean(merged)
        } else {
            Merge::Conflict(conflicts)
        }
    }

    fn add(&mut self, branch: String, parents: Vec<CommitId>, files: Files) -> CommitId {
        let id: CommitId = format!("{:012x}{:028}", self.commits.len() + 1, 0)
            .parse()
            .expect("forty hex digits");
        self.commits.insert(id.clone(), Commit { parents, files });
        self.branches.insert(branch, id.clone());
        id
    }

    fn ancestors(&self, commit: &CommitId) -> BTreeSet<CommitId> {
        let mut seen = BTreeSet::new();
        let mut todo = vec![commit.clone()];
        while let Some(next) = todo.pop() {
            if let Some(found) = self.commits.get(&next)
                && seen.insert(next)
            {
                todo.extend(found.parents.iter().cloned());
            }
        }
        seen
    }
}

fn full(branch: &str) -> String {
    if branch.starts_with("refs/") {
        branch.to_owned()
    } else {
        format!("refs/heads/{branch}")
    }
}
