//! Bounds on a whole plan.

use std::collections::BTreeSet;

/// Bounds on a whole plan.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Fewer removals than this are never held by number.
    pub removals: usize,
    /// Removals above this share, in percent of the accounts managed and active, are held.
    pub share: usize,
    /// Accounts that must remain able to become root.
    pub min_admins: usize,
    /// How many seconds after its first failure a step is tried again; doubled with each further one, an hour at most.
    /// With 0 every cycle tries it.
    pub retry_after: u32,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            removals: 3,
            share: 25,
            min_admins: 1,
            retry_after: 60,
        }
    }
}

/// What a whole plan is over.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Over {
    /// What holds it.
    pub bound: Bound,
    /// By how much, and what to do, as people read it.
    pub why: String,
}

/// A bound on what a plan takes away.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Bound {
    /// Something of which too little would be left: no release permits that.
    Floor,
    /// More than a share at once: a release for exactly all of it permits it.
    Share,
}

/// What a gate needs of the settings, and what the plan is over.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Bounds {
    /// What the plan is over.
    pub over: Vec<Over>,
    /// How many seconds after its first failure a step is tried again, doubled with each further one.
    pub retry_after: u32,
}

/// Who lost something in the last 24 hours: each once, however often.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Recent<'a> {
    /// By name.
    pub of: BTreeSet<&'a str>,
    /// Losses of which the journal of an earlier version says no more than when they were.
    pub unnamed: usize,
}

impl<'a> Recent<'a> {
    /// How many they are.
    pub fn count(&self) -> usize {
        self.of.len() + self.unnamed
    }

    /// How many they are with these.
    pub fn count_with(&self, planned: &BTreeSet<&'a str>) -> usize {
        self.count() + planned.difference(&self.of).count()
    }
}
