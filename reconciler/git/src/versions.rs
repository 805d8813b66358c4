//! What a proposal brought on its way: the contents that files had in each of its commits, not in the last one alone. Whatever stood
//! in one of them is in git for good.

use std::collections::{BTreeMap, BTreeSet, BinaryHeap};

use gix::hash::ObjectId;
use gix::objs;
use muster_core::commit::CommitId;

use crate::mirror::Mirror;
use crate::objects::{Source, object_id};
use crate::read_error::{COUNT_LIMIT, DEPTH_LIMIT, FILE_LIMIT, ReadError};

/// So many commits of a proposal are looked through at most, and so many are walked to find them.
const MOST_COMMITS: usize = 1_000;
const MOST_WALKED: usize = 100_000;

/// A path, and what stood there.
pub type Version = (String, Vec<u8>);

impl Mirror {
    /// Each content that a plain file below the directory `dir` had in a commit that `head` has and `protected` has not, and did not
    /// bring from there; once each, by path. `None` where there are more of them than are looked through.
    ///
    /// # Errors
    /// When a commit, a tree or a file cannot be read.
    pub fn versions(
        &self,
        protected: &CommitId,
        head: &CommitId,
        dir: &str,
    ) -> Result<Option<Vec<Version>>, ReadError> {
        self.own_or_view(|objects| {
            let (old, new) = (object_id(protected), object_id(head));
            versions(&objects, old, new, dir)
        })
    }
}

/// Which of the two leads to a commit.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Reached {
    Protected,
    Proposal,
    Both,
}

pub(crate) fn versions(
    objects: &impl Source,
    protected: ObjectId,
    head: ObjectId,
    dir: &str,
) -> Result<Option<Vec<Version>>, ReadError> {
    let Some((own, edge)) = own_commits(objects, protected, head)? else {
        return Ok(None);
    };
    let mut seen = Seen::default();
    for commit in edge {
        // What the proposal began with is not its own.
        seen.walk(objects, &commit, dir, &mut |_, _| Ok(()))?;
    }
    let mut found = Vec::new();
    let (mut bytes, limit) = (0, objects.most_bytes());
    for commit in own {
        seen.walk(objects, &commit, dir, &mut |path, id| {
            let content = objects.read(&id, objs::Kind::Blob, FILE_LIMIT)?;
            bytes += content.len() as u64;
            if bytes > limit {
                return Err(ReadError::TooMuch {
                    what: "bytes",
                    limit,
                });
            }
            found.push((path, content));
            Ok(())
        })?;
    }
    found.sort();
    Ok(Some(found))
}

/// The commits that only `head` has, and those that they follow; `None` where there are too many. Newest first, until no commit is
/// left that only `head` leads to, so that history that both share is not walked.
#[expect(clippy::type_complexity, reason = "two sets, used in one place")]
fn own_commits(
    objects: &impl Source,
    protected: ObjectId,
    head: ObjectId,
) -> Result<Option<(BTreeSet<ObjectId>, BTreeSet<ObjectId>)>, ReadError> {
    let mut reached = BTreeMap::from([(protected, Reached::Protected)]);
    let mut parents_of: BTreeMap<ObjectId, Vec<ObjectId>> = BTreeMap::new();
    let mut queue = BinaryHeap::from([(objects.commit(&protected)?.time, protected)]);
    if head != protected {
        reached.insert(head, Reached::Proposal);
        queue.push((objects.commit(&head)?.time, head));
    }
    let mut undecided: BTreeSet<ObjectId> = reached
        .iter()
        .filter(|(_, by)| **by == Reached::Proposal)
        .map(|(id, _)| *id)
        .collect();
    while !undecided.is_empty() {
        let Some((_, id)) = queue.pop() else { break };
        let from = reached[&id];
        undecided.remove(&id);
        let parents = match parents_of.get(&id) {
            Some(parents) => parents.clone(),
            None => objects.commit(&id)?.parents,
        };
        for parent in &parents {
            let before = reached.get(parent).copied();
            let after = match before {
                Some(before) if before != from => Reached::Both,
                Some(_) | None => from,
            };
            if before == Some(after) {
                continue;
            }
            reached.insert(*parent, after);
            match after {
                Reached::Proposal => undecided.insert(*parent),
                Reached::Protected | Reached::Both => undecided.remove(parent),
            };
            queue.push((objects.commit(parent)?.time, *parent));
        }
        parents_of.insert(id, parents);
        if reached.len() > MOST_WALKED {
            return Ok(None);
        }
    }
    let own: BTreeSet<ObjectId> = reached
        .iter()
        .filter(|(_, by)| **by == Reached::Proposal)
        .map(|(id, _)| *id)
        .collect();
    if own.len() > MOST_COMMITS {
        return Ok(None);
    }
    let parents = own.iter().filter_map(|it| parents_of.get(it)).flatten();
    let edge = parents.filter(|it| !own.contains(*it)).copied().collect();
    Ok(Some((own, edge)))
}

/// The trees and files that were looked at, each at its path: most of a commit is what it was in the one before.
#[derive(Default)]
struct Seen(BTreeSet<(String, ObjectId)>);

impl Seen {
    /// Gives every plain file of a commit below `dir` that was not seen at its path yet.
    fn walk(
        &mut self,
        objects: &impl Source,
        commit: &ObjectId,
        dir: &str,
        give: &mut dyn FnMut(String, ObjectId) -> Result<(), ReadError>,
    ) -> Result<(), ReadError> {
        let root = objects.tree(&objects.commit(commit)?.tree)?;
        let below = root
            .into_iter()
            .find(|it| it.mode == 0o040000 && it.name == dir.as_bytes());
        let mut todo: Vec<(String, ObjectId, usize)> = below
            .into_iter()
            .map(|it| (dir.to_owned(), it.id, 1))
            .collect();
        while let Some((path, tree, depth)) = todo.pop() {
            if !self.0.insert((path.clone(), tree)) {
                continue;
            }
            if self.0.len() > 2 * COUNT_LIMIT {
                return Err(ReadError::TooMuch {
                    what: "files",
                    limit: 2 * COUNT_LIMIT as u64,
                });
            }
            for entry in objects.tree(&tree)? {
                let path = format!("{path}/{}", entry.name.escape_ascii());
                match entry.mode {
                    0o040000 if depth < DEPTH_LIMIT => todo.push((path, entry.id, depth + 1)),
                    // What is executable is no less in git; links and other repositories hold no text of their own.
                    0o100644 | 0o100755 if self.0.insert((path.clone(), entry.id)) => {
                        give(path, entry.id)?;
                    }
                    _ => {}
                }
            }
        }
        Ok(())
    }
}
