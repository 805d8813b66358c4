//! Bounds on a whole plan: how many guests stop or end at once (H13).

use std::collections::BTreeSet;

use super::desired::Run;
use super::observed::{Observed, Sight};
use super::policy::Policy;
use super::say;
use crate::limits::{Bound, Over, Recent};
use crate::price::Takes;

/// What a plan is over: at least so many guests that stop or end, and more than a share of those that run. `planned` are the guests of its
/// steps, and `recent` those of the last 24 hours; a guest that stops several times is one.
pub fn limits<'a>(
    planned: impl Iterator<Item = (&'a str, Takes)>,
    policy: &Policy,
    observed: &Observed,
    recent: &Recent<'a>,
) -> Vec<Over> {
    let planned = planned.filter(|(_, takes)| takes.counts());
    let planned: BTreeSet<&str> = planned.map(|(guest, _)| guest).collect();
    let runs = |guest: &str| {
        observed
            .guest(guest)
            .is_some_and(|it| it.run == Some(Run::Running))
    };
    let seen = observed.guests.known().into_iter().flatten();
    let running = seen
        .filter(|(_, it)| matches!(it, Sight::Seen(guest) if guest.run == Some(Run::Running)))
        .count();
    // Those that stopped today ran this morning.
    let base = running + recent.unnamed + recent.of.iter().filter(|it| !runs(it)).count();
    let removals = recent.count_with(&planned);
    let limits = &policy.limits;
    if planned.is_empty() || removals < limits.removals || removals * 100 <= limits.share * base {
        return Vec::new();
    }
    vec![Over {
        bound: Bound::Share,
        why: say::too_many(removals, recent.count(), base, limits),
    }]
}
