//! Bounds on a whole plan: how many guests end at once.

use super::observed::Observed;
use super::policy::Policy;
use super::say;
use crate::limits::{Bound, Over};
use crate::price::Takes;

/// What a plan is over. `recent` counts the removals of the last 24 hours.
pub fn limits(
    takes: impl Iterator<Item = Takes>,
    policy: &Policy,
    observed: &Observed,
    recent: usize,
) -> Vec<Over> {
    let planned = takes.filter(|it| it.counts()).count();
    let base = observed.guests.known().map_or(0, |it| it.len()) + recent;
    let removals = planned + recent;
    let limits = &policy.limits;
    if planned == 0 || removals < limits.removals || removals * 100 <= limits.share * base {
        return Vec::new();
    }
    vec![Over {
        bound: Bound::Share,
        why: say::too_many(removals, recent, base, limits),
    }]
}
