//! Hosts with equal plans are told of once.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use super::escape;
use super::noun::Noun;
use super::page::Block;
use super::view::{Shown, View};
use crate::executor::Executor;
use crate::gate::Reason;
use crate::rooms::{self, Verb};

/// Hosts in a heading or a line; the rest is counted, and named below.
pub(super) const HOSTS_NAMED: usize = 5;

/// Bytes of host names in one block.
const NAMES_IN_BLOCK: usize = 4_000;

/// Hosts whose plans are equal but for the host; never empty.
pub(super) struct Group<'v, 'a> {
    /// In the order of their names. Their steps stand at the same places.
    pub(super) views: Vec<&'v View<'a>>,
}

/// Folds hosts whose plans are equal; groups stand where their first host stood.
pub(super) fn fold<'v, 'a>(views: impl Iterator<Item = &'v View<'a>>) -> Vec<Group<'v, 'a>> {
    let mut groups: Vec<Group<'v, 'a>> = Vec::new();
    // Only plans of the same verbs for the same people are compared in full.
    let mut like: BTreeMap<Vec<(Verb, &'a str)>, Vec<usize>> = BTreeMap::new();
    for view in views {
        let steps = view.steps.iter().map(|it| &it.step.action);
        let key = steps
            .map(|it| (it.verb(), it.spelled().resource()))
            .collect();
        let places = like.entry(key).or_default();
        match places.iter().find(|it| alike(groups[**it].first(), view)) {
            Some(place) => groups[*place].views.push(view),
            None => {
                places.push(groups.len());
                groups.push(Group { views: vec![view] });
            }
        }
    }
    groups
}

impl<'v, 'a> Group<'v, 'a> {
    /// The one whose words are shown.
    pub(super) fn first(&self) -> &'v View<'a> {
        self.views[0]
    }

    /// The only one, if there is one.
    pub(super) fn only(&self) -> Option<&'v View<'a>> {
        match self.views.as_slice() {
            [view] => Some(view),
            _ => None,
        }
    }

    pub(super) fn executors(&self) -> impl ExactSizeIterator<Item = &'a Executor> {
        self.views.iter().map(|it| it.executor)
    }

    /// What they are called.
    pub(super) fn noun(&self) -> Noun {
        Noun::of(self.executors())
    }

    /// What stands above all that is said of them.
    pub(super) fn heading(&self) -> Block {
        let mut text = "\n### ".to_owned();
        if self.views.len() > 1 {
            let _ = write!(text, "{} alike: ", self.noun().counted(self.views.len()));
        }
        names(self.executors(), &mut text);
        text.push('\n');
        Block::host(text)
    }

    /// All their names, when the heading does not have them all.
    pub(super) fn members(&self) -> Vec<Block> {
        if self.views.len() <= HOSTS_NAMED {
            return Vec::new();
        }
        let title = format!("All {}", self.noun().counted(self.views.len()));
        folded_names(&title, self.executors())
    }
}

/// Some names, and how many more there are: `` `host/a`, `host/b` and 3 more ``.
pub(super) fn names<'a>(executors: impl ExactSizeIterator<Item = &'a Executor>, out: &mut String) {
    let more = executors.len().saturating_sub(HOSTS_NAMED);
    for (i, executor) in executors.take(HOSTS_NAMED).enumerate() {
        if i > 0 {
            out.push_str(", ");
        }
        escape::value(out, &executor.to_string());
    }
    if more > 0 {
        let _ = write!(out, " and {more} more");
    }
}

/// All names, folded away under `title`.
pub(super) fn folded_names<'a>(
    title: &str,
    executors: impl Iterator<Item = &'a Executor>,
) -> Vec<Block> {
    let lists = name_lists(executors).into_iter();
    let fold = |list: String| {
        Block::body(format!(
            "\n<details>\n<summary>{title}</summary>\n\n{list}\n\n</details>\n"
        ))
    };
    lists.map(fold).collect()
}

/// All names, in lines that are not too long for a page.
pub(super) fn name_lists<'a>(executors: impl Iterator<Item = &'a Executor>) -> Vec<String> {
    let mut lists = Vec::new();
    let mut list = String::new();
    for executor in executors {
        if list.len() > NAMES_IN_BLOCK {
            lists.push(std::mem::take(&mut list));
        }
        if !list.is_empty() {
            list.push_str(", ");
        }
        escape::executor(&mut list, executor);
    }
    lists.push(list);
    lists
}

/// Whether two hosts are to do the same, with the same said about it.
pub(super) fn alike(a: &View<'_>, b: &View<'_>) -> bool {
    a.notes == b.notes
        && a.steps.len() == b.steps.len()
        && a.unneeded.len() == b.unneeded.len()
        && a.steps.iter().zip(&b.steps).all(|(a, b)| same(a, b))
        && (a.unneeded.iter().zip(&b.unneeded))
            .all(|(a, b)| rooms::reads_alike(&a.action, &b.action))
}

fn same(a: &Shown<'_>, b: &Shown<'_>) -> bool {
    a.class == b.class
        && a.origin == b.origin
        && rooms::reads_alike(&a.step.action, &b.step.action)
        && match (a.held, b.held) {
            // Each has its own id for the step it follows.
            (Some(Reason::Needs(_)), Some(Reason::Needs(_))) => a.after == b.after,
            (a, b) => a == b,
        }
}
