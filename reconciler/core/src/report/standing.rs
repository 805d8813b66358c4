//! What keeps an executor from doing all that its plan says: told above the plan, for the steps below it do not say it.

use crate::facts::Facts;
use crate::time::Time;

/// A sentence for each thing that stands against the plan of an executor at a moment: that it is frozen, that it is suspended.
pub fn standing(facts: &Facts, now: Time) -> Vec<String> {
    let frozen = facts.frozen.as_ref().map(|frozen| {
        let runs = match frozen.holds_everything() {
            true => "nothing runs",
            false => "nothing but benign steps runs",
        };
        format!("FROZEN, {runs}: {}.", end(frozen))
    });
    let suspended = facts
        .suspension_at(now)
        .map(|it| format!("SUSPENDED, nothing runs: {}.", end(it)));
    frozen.into_iter().chain(suspended).collect()
}

/// Without the end of a sentence, which people write or leave out.
fn end(said: &impl ToString) -> String {
    let said = said.to_string();
    said.trim_end_matches('.').to_owned()
}
