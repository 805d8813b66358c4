//! The files that tell whether what an executor keeps has moved, and how many of them are looked at in each look.

use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::stamp::{self, Stamp};

/// Files, and how each was when a cycle began.
#[derive(Clone, Debug)]
pub(super) struct Stamped(Vec<(PathBuf, Stamp)>);

impl Stamped {
    pub(super) fn take(paths: &[PathBuf]) -> Self {
        let of = |path: &PathBuf| (path.clone(), stamp(path));
        Self(paths.iter().map(of).collect())
    }

    pub(super) fn still_holds(&self) -> bool {
        self.0.iter().all(|(path, taken)| stamp(path) == *taken)
    }

    /// How many there are.
    pub(super) fn parts(&self) -> usize {
        self.0.len()
    }

    /// Whether one of them, counted from 0, was left alone.
    pub(super) fn part_still_holds(&self, part: usize) -> bool {
        let (path, taken) = &self.0[part];
        stamp(path) == *taken
    }
}

fn stamp(path: &Path) -> Stamp {
    stamp::of(std::fs::symlink_metadata(path))
}

/// Within what time each file is looked at that nobody tells of: a look every second, at all of them, would cost more than
/// all else that an idle daemon does.
const ROUND: Duration = Duration::from_secs(15);

/// How many of so many files are looked at in each look.
pub(super) fn share(all: usize, every: Duration) -> usize {
    let share = (all as u128 * every.as_millis()).div_ceil(ROUND.as_millis());
    usize::try_from(share).unwrap_or(all).clamp(1, all.max(1))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_file_is_looked_at_within_a_round_and_each_time_where_looks_are_seldom() {
        let seconds = Duration::from_secs;
        for (all, every, expected) in [
            (11, 1, 1),
            (11, 2, 2),
            (30, 1, 2),
            (11, 15, 11),
            (11, 30, 11),
        ] {
            let share = share(all, seconds(every));
            assert_eq!(share, expected, "{all} files every {every} s");
            let looks = all.div_ceil(share) as u64;
            assert!(
                every >= 15 || looks * every <= 15,
                "{all} files every {every} s"
            );
        }
        assert_eq!(share(11, Duration::ZERO), 1);
    }
}
