//! How two commits stand to each other, found by walking the history.

use std::collections::{BTreeSet, BinaryHeap, HashMap};

use gix::hash::ObjectId;

use crate::objects::Source;

/// The most commits that are looked at to find out how two stand to each other: more than the longest histories there are,
/// and some 200 MiB of memory.
const MOST_COMMITS: usize = 2_000_000;

/// How two commits stand to each other.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ancestry {
    /// They are one commit.
    Same,
    /// The new commit has the old one among its ancestors.
    Descends,
    /// The old commit is not among the new commit's ancestors.
    Diverged,
    /// A part of the new commit's history is missing or not looked at, and the old one is not in the rest.
    Unknown,
}

/// Which of two commits leads to a third.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Reached {
    Old,
    New,
    Both,
}

impl Ancestry {
    /// Walks the history of both commits at once, newest first, until the queue holds no commit that only `new` reaches.
    /// An ancestor of `old` cannot have `old` among its own ancestors, so history that both share is not walked. Wrong
    /// commit times only make the walk longer.
    pub(crate) fn between(objects: &impl Source, old: ObjectId, new: ObjectId) -> Ancestry {
        let mut reached: HashMap<ObjectId, Reached> =
            HashMap::from([(old, Reached::Old), (new, Reached::New)]);
        let mut queue = BinaryHeap::new();
        // How many of the queue only `new` leads to.
        let mut undecided = BTreeSet::from([new]);
        let mut incomplete = false;
        let push = |queue: &mut BinaryHeap<_>, id: ObjectId| {
            let commit = objects.commit(&id).ok();
            let time = commit.as_ref().map_or(i64::MAX, |commit| commit.time);
            queue.push((time, id, commit.map(|commit| commit.parents)));
        };
        push(&mut queue, old);
        push(&mut queue, new);
        while let Some((_, id, parents)) = queue.pop() {
            let from = reached[&id];
            undecided.remove(&id);
            match parents {
                None if from == Reached::New => incomplete = true,
                parents => {
                    for parent in parents.into_iter().flatten() {
                        if parent == old && from == Reached::New {
                            return Ancestry::Descends;
                        }
                        let before = reached.get(&parent).copied();
                        let after =
                            before.map_or(
                                from,
                                |before| if before == from { from } else { Reached::Both },
                            );
                        if before != Some(after) {
                            reached.insert(parent, after);
                            match after {
                                Reached::New => undecided.insert(parent),
                                Reached::Old | Reached::Both => undecided.remove(&parent),
                            };
                            push(&mut queue, parent);
                        }
                    }
                }
            }
            if undecided.is_empty() {
                break;
            }
            if reached.len() > MOST_COMMITS {
                return Ancestry::Unknown;
            }
        }
        if incomplete {
            Ancestry::Unknown
        } else {
            Ancestry::Diverged
        }
    }
}
