//! Ids that nobody has: pure functions over sets, which keep their place so that a batch costs one walk.

use std::collections::BTreeSet;
use std::iter::Peekable;
use std::ops::RangeInclusive;

/// A range of subordinate ids.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct IdRange {
    /// The lowest id.
    pub first: u64,
    /// How many there are.
    pub count: u64,
}

/// The lowest uid (or gid) of `range` that is not in `taken`. For several, take them from one [`free_ids`].
#[must_use]
pub fn lowest_free_uid(range: RangeInclusive<u32>, taken: &BTreeSet<u32>) -> Option<u32> {
    free_ids(range, taken).next()
}

/// The ids of `range` that are not in `taken`, lowest first; all of them cost one walk over both.
pub fn free_ids(range: RangeInclusive<u32>, taken: &BTreeSet<u32>) -> impl Iterator<Item = u32> {
    // An empty range is a configured one whose ends are swapped; BTreeSet::range would panic at it.
    let bounds = if range.is_empty() {
        0..=0
    } else {
        range.clone()
    };
    let mut taken = taken.range(bounds).copied().peekable();
    range.filter(move |id| {
        while taken.next_if(|next| next < id).is_some() {}
        taken.next_if_eq(id).is_none()
    })
}

/// Free ranges of `count` subordinate ids within `min..=max`, lowest gap first, exactly the ones that useradd would
/// find if each were given out before the next is looked for. There is no alignment: a gap is used from its lowest id.
pub fn free_ranges(
    min: u64,
    max: u64,
    count: u64,
    taken: impl IntoIterator<Item = IdRange>,
) -> impl Iterator<Item = IdRange> {
    let mut taken: Vec<IdRange> = taken.into_iter().collect();
    taken.sort_unstable();
    FreeRanges {
        low: min,
        max,
        count,
        taken: taken.into_iter().peekable(),
    }
}

struct FreeRanges<I: Iterator<Item = IdRange>> {
    low: u64,
    max: u64,
    count: u64,
    taken: Peekable<I>,
}

impl<I: Iterator<Item = IdRange>> Iterator for FreeRanges<I> {
    type Item = IdRange;

    fn next(&mut self) -> Option<IdRange> {
        if self.count == 0 {
            return None;
        }
        loop {
            let ceiling = self.max.saturating_add(1);
            let high = self
                .taken
                .peek()
                .map_or(ceiling, |range| range.first.min(ceiling));
            if high > self.low && high - self.low >= self.count {
                let found = IdRange {
                    first: self.low,
                    count: self.count,
                };
                self.low += self.count;
                return Some(found);
            }
            let next = self.taken.next()?;
            self.low = self.low.max(next.first.saturating_add(next.count));
            if self.low > self.max {
                self.taken.by_ref().for_each(drop);
                return None;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn gives_the_lowest_ids_in_order() {
        let taken = BTreeSet::from([1000, 1001, 1003, 5]);
        assert_eq!(lowest_free_uid(1000..=1005, &taken), Some(1002));
        assert_eq!(
            free_ids(1000..=1005, &taken).collect::<Vec<_>>(),
            [1002, 1004, 1005]
        );
        assert_eq!(lowest_free_uid(1000..=1001, &taken), None);
        let swapped = RangeInclusive::new(9, 3);
        assert_eq!(lowest_free_uid(swapped, &taken), None);
        assert_eq!(
            lowest_free_uid(u32::MAX..=u32::MAX, &BTreeSet::new()),
            Some(u32::MAX)
        );
    }

    #[test]
    fn fills_gaps_from_below() {
        let taken = [
            IdRange {
                first: 300,
                count: 50,
            },
            IdRange {
                first: 100,
                count: 100,
            },
        ];
        let firsts: Vec<_> = free_ranges(100, 499, 50, taken)
            .map(|range| range.first)
            .collect();
        assert_eq!(firsts, [200, 250, 350, 400, 450]);
        assert_eq!(free_ranges(100, 499, 0, taken).count(), 0);
        assert_eq!(free_ranges(500, 499, 1, taken).count(), 0);
    }
}
