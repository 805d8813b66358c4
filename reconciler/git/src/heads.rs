//! What the references of an origin point to, and by which names the mirror keeps them.

use std::collections::BTreeMap;

use gix::hash::ObjectId;
use muster_core::commit::{CommitId, TagId};
use muster_core::forge::queue_of;
use muster_core::release::TagHorizon;

use crate::objects::commit_id;

/// Where the mirror keeps the branches it fetched: `refs/heads/x` becomes `refs/muster/fetched/heads/x`.
pub(crate) const FETCHED: &str = "refs/muster/fetched/heads/";
const HEADS: &str = "refs/heads/";

/// Where the mirror keeps the tags it fetched: `refs/tags/x/y` becomes `refs/muster/fetched/tags/x/y`.
pub(crate) const FETCHED_TAGS: &str = "refs/muster/fetched/tags/";
const TAGS: &str = "refs/tags/";

/// Which tags are looked at: by full name, and only direct children of the named directories. Anyone may push tags by the
/// ten thousand, so what is not wanted is left out before anything of it is opened.
#[derive(Debug, Clone)]
pub struct WantedTags {
    /// Directories such as `refs/tags/release/`, with the slash.
    pub below: Vec<String>,
    /// Whether the tag of this full name can matter.
    pub wanted: fn(&TagHorizon, &str) -> bool,
    /// What it is decided by.
    pub horizon: TagHorizon,
}

impl WantedTags {
    /// Whether this reference, of a local repository or announced by a server, is one of them.
    pub(crate) fn has(&self, name: &str) -> bool {
        self.below.iter().any(|dir| {
            name.strip_prefix(dir.as_str())
                .is_some_and(|rest| !rest.is_empty() && !rest.contains('/'))
        }) && (self.wanted)(&self.horizon, name)
    }
}

/// Whether branches other than the protected one are wanted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Proposals {
    /// All branches.
    Include,
    /// Those that a merge queue made for the protected branch (F36).
    Queued,
    /// The protected branch alone.
    Ignore,
}

impl Proposals {
    /// Whether the branch of this full name is wanted beside `protected`.
    pub(crate) fn has(self, name: &str, protected: &str) -> bool {
        match self {
            Self::Include => true,
            Self::Queued => name.starts_with(&queue_of(protected)),
            Self::Ignore => false,
        }
    }
}

/// What the branches of the origin point to.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Heads {
    /// The protected branch; `None` when the origin has no such branch.
    pub protected: Option<CommitId>,
    /// Every other branch that was asked for, by its full name (`refs/heads/x`). A name is whatever git
    /// allows, including quotes, `$(…)` and text that runs right to left.
    pub branches: BTreeMap<String, CommitId>,
    /// The tags that were asked for, by full name, and what each points to.
    pub tags: BTreeMap<String, TagId>,
    /// Branches and tags that could not be read, each with the reason: escaped, one line.
    pub unread: Vec<String>,
}

/// What the references that were asked for point to.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Gathered {
    /// By full name in the origin.
    pub found: BTreeMap<String, CommitId>,
    /// Those that could not be read or fetched, each with the reason; an older value may stand in `found`.
    pub unread: BTreeMap<String, String>,
}

/// Splits the branches into the protected one and the others.
pub(crate) fn heads_of(
    found: &BTreeMap<String, ObjectId>,
    protected: &str,
    unread: Vec<String>,
) -> Heads {
    let mut branches = BTreeMap::new();
    let mut tags = BTreeMap::new();
    for (name, id) in found {
        if name.starts_with(TAGS) {
            tags.insert(name.clone(), tag_id(id));
        } else {
            branches.insert(name.clone(), commit_id(id));
        }
    }
    let protected = branches.remove(protected);
    Heads {
        protected,
        branches,
        tags,
        unread,
    }
}

fn tag_id(id: &ObjectId) -> TagId {
    id.to_string()
        .parse()
        .expect("invariant: an object id prints as 40 or 64 lower-case hex digits")
}

/// `refs/heads/x` or `refs/tags/x` as the mirror keeps it.
pub(crate) fn fetched_name(name: &str) -> String {
    match name.strip_prefix(TAGS) {
        Some(tag) => format!("{FETCHED_TAGS}{tag}"),
        None => format!("{FETCHED}{}", name.strip_prefix(HEADS).unwrap_or(name)),
    }
}
