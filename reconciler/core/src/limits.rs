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
