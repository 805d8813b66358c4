//! What the steps of a change do to whom, in the words of a line on top.

use std::borrow::Cow;
use std::cmp::Ordering;
use std::collections::{BTreeMap, BTreeSet};

use super::view::{Origin, Shown, View};
use crate::rooms::{self, Resource};

/// What steps are about, in numbers: `1 person and 2 guests`.
pub(super) fn resources<'a>(
    counted: impl Iterator<Item = (Resource, Cow<'a, str>)> + Clone,
) -> String {
    let mut kinds: BTreeMap<Resource, usize> = BTreeMap::new();
    // Mostly they are in order already, and counted as they go by (`tests/bench/bench plan`).
    let mut last: Option<(Resource, Cow<'a, str>)> = None;
    let are_in_order = counted.clone().all(|it| {
        let order = last.as_ref().map_or(Ordering::Less, |last| last.cmp(&it));
        if order == Ordering::Less {
            *kinds.entry(it.0).or_default() += 1;
            last = Some(it);
        }
        order != Ordering::Greater
    });
    if !are_in_order {
        kinds.clear();
        let all: BTreeSet<(Resource, Cow<'a, str>)> = counted.collect();
        all.into_iter()
            .for_each(|(kind, _)| *kinds.entry(kind).or_default() += 1);
    }
    let kinds = kinds.into_iter();
    list(kinds.map(|(kind, number)| kind.counted(number)).collect())
}

/// Writes a name that is not ours.
pub(super) type WriteName = fn(&mut String, &str);

/// What the steps of a change do to whom, in as many words as a line on top has room for: `adds ann and asks to cut off 2 people`,
/// where what it does to those two is held. Names as for [`whom`].
pub(super) fn deed(views: &[View<'_>], write: Option<WriteName>) -> String {
    /// More kinds of change than this are no longer read in one line.
    const FEW: usize = 2;
    let by_name = changing_by_name(views);
    // Each thing that is done, whether it is held, and where in the plan it comes first; and which of them is done to whom.
    let mut kinds: Vec<(&str, bool)> = Vec::new();
    let mut first: Vec<usize> = Vec::new();
    let mut deeds: Vec<(usize, &[Changing<'_>])> = Vec::new();
    let mut taking: BTreeSet<&str> = BTreeSet::new();
    for of_one in by_name.chunk_by(|a, b| a.name == b.name) {
        // By the first step that has a word for all of it.
        let (mut word, mut held) = (None, true);
        for it in of_one.iter().map(|it| it.shown) {
            let waits = it.held.is_some();
            if word.is_none() {
                word = rooms::deed(&it.step.action);
                // What has no word for it waits where all of it waits.
                held = if word.is_some() { waits } else { held && waits };
                taking.extend(word.filter(|_| it.takes_away));
            }
        }
        let kind = place_in(&mut kinds, (word.unwrap_or("change"), held));
        first.resize(kinds.len(), usize::MAX);
        first[kind] = first[kind].min(of_one[0].place);
        deeds.push((kind, of_one));
    }
    // As they come in the plan.
    let told_in = |first: &[usize]| {
        let mut told: Vec<usize> = (0..first.len())
            .filter(|it| first[*it] < usize::MAX)
            .collect();
        told.sort_by_key(|it| first[*it]);
        told
    };
    let mut told = told_in(&first);
    if told.len() > FEW {
        // What takes something away is never one of many changes, and stands before them.
        let takes: Vec<bool> = kinds
            .iter()
            .map(|(word, _)| taking.contains(word))
            .collect();
        let held = told.iter().all(|it| takes[*it] || kinds[*it].1);
        let change = place_in(&mut kinds, ("change", held));
        first.resize(kinds.len(), usize::MAX);
        for kind in (0..takes.len()).filter(|it| !takes[*it] && *it != change) {
            let comes = std::mem::replace(&mut first[kind], usize::MAX);
            first[change] = first[change].min(comes);
        }
        let others = deeds.iter_mut().filter(|(kind, _)| !takes[*kind]);
        others.for_each(|(kind, _)| *kind = change);
        told = told_in(&first);
        told.sort_by_key(|it| !taking.contains(kinds[*it].0));
    }
    let said = told.iter().map(|kind| {
        // By name: they are counted again, and what is in order is counted fast.
        let mut those: Vec<&Shown<'_>> = Vec::with_capacity(by_name.len());
        for (_, of_one) in deeds.iter().filter(|it| it.0 == *kind) {
            those.extend(of_one.iter().map(|it| it.shown));
        }
        let whom = whom(&those, write);
        let (word, held) = kinds[*kind];
        match held {
            true => format!("asks to {word} {whom}"),
            false => {
                let (first, rest) = word.split_at(word.find(' ').unwrap_or(word.len()));
                format!("{first}s{rest} {whom}")
            }
        }
    });
    list(said.collect())
}

/// A step that a change makes.
struct Changing<'v> {
    /// What it is about.
    name: &'v str,
    /// Its place in all of the plans.
    place: usize,
    shown: &'v Shown<'v>,
}

/// The steps of a change in the order of the names of what they are about; those about one stay in the order of the plans.
fn changing_by_name<'v>(views: &'v [View<'v>]) -> Vec<Changing<'v>> {
    let count = views.iter().map(|it| it.steps.len()).sum();
    let mut by_name: Vec<Changing<'v>> = Vec::with_capacity(count);
    let mut before = 0;
    for view in views {
        let of_change = view.by_resource();
        let of_change = of_change.filter(|(_, it)| it.origin != Origin::Drift);
        by_name.extend(of_change.map(|(place, shown)| Changing {
            name: shown.name,
            place: before + place,
            shown,
        }));
        before += view.steps.len();
    }
    // That of one plan is there already; of several it is a merge.
    if views.len() > 1 {
        by_name.sort_by(|a, b| a.name.cmp(b.name));
    }
    by_name
}

/// The place of `one` among `all`, at the end where it was not among them.
fn place_in<T: PartialEq>(all: &mut Vec<T>, one: T) -> usize {
    let known = all.iter().position(|it| *it == one);
    known.unwrap_or_else(|| {
        all.push(one);
        all.len() - 1
    })
}

/// Whom steps are about: by name where they are few and `write` is told how a name is written, otherwise in numbers.
fn whom(steps: &[&Shown<'_>], write: Option<WriteName>) -> String {
    /// So many names, and so many characters of them, read faster than a number.
    const FEW: (usize, usize) = (3, 60);
    let in_numbers = || resources(steps.iter().map(|it| it.counted()));
    let Some(write) = write else {
        return in_numbers();
    };
    let mut named: BTreeSet<(Resource, &str)> = BTreeSet::new();
    for step in steps {
        named.insert((step.counted().0, step.name));
        if named.len() > FEW.0 {
            return in_numbers();
        }
    }
    if named.iter().map(|(_, it)| it.len()).sum::<usize>() > FEW.1 {
        return in_numbers();
    }
    let name = |(kind, name): (Resource, &str)| {
        let mut out = kind.before_a_name().to_owned();
        write(&mut out, name);
        out
    };
    list(named.into_iter().map(name).collect())
}

/// `a, b and c`.
fn list(parts: Vec<String>) -> String {
    match parts.as_slice() {
        [all @ .., last] if !all.is_empty() => format!("{} and {last}", all.join(", ")),
        _ => parts.concat(),
    }
}
