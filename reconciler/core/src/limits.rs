//! Bounds on a whole plan.

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
