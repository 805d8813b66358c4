//! Bounds on a whole plan: how many guests stop or end at once (H13).

use super::desired::Run;
use super::observed::{Observed, Sight};
use super::policy::Policy;
use super::say;
use crate::limits::{Bound, Over};
use crate::price::Takes;

/// What a plan is over: at least so many stops and ends, and more than a share of the guests that run. `recent` counts those of the
/// last 24 hours.
pub fn limits(
    takes: impl Iterator<Item = Takes>,
    policy: &Policy,
    observed: &Observed,
    recent: usize,
) -> Vec<Over> {
    let planned = takes.filter(|it| it.counts()).count();
    let runs = |it: &&Sight| matches!(it, Sight::Seen(guest) if guest.run == Some(Run::Running));
    let running = observed.guests.known();
    let running = running.map_or(0, |it| it.values().filter(runs).count());
    let base = running + recent;
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
