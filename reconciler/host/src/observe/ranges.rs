//! Subordinate ranges by their owner.

use std::collections::BTreeSet;

use muster_core::accounts::facts::IdRange;

use crate::accounts;

pub(crate) fn range(range: accounts::IdRange) -> IdRange {
    let narrow = |id: u64| u32::try_from(id).unwrap_or(u32::MAX);
    IdRange {
        first: narrow(range.first),
        count: narrow(range.count),
    }
}

/// The lines of subuid or subgid by their owner, and of one owner in the order of the file.
pub(super) struct ByOwner<'a> {
    lines: Vec<(&'a str, IdRange)>,
    /// How many lines belong to names before the last one that was asked for.
    passed: usize,
    /// Whether any line has a uid in place of a name; nearly nobody's has.
    has_numbers: bool,
}

impl<'a> ByOwner<'a> {
    pub(super) fn of(lines: impl Iterator<Item = (&'a str, accounts::IdRange)>) -> Self {
        let mut lines: Vec<_> = lines.map(|(owner, it)| (owner, range(it))).collect();
        lines.sort_by_key(|(owner, _)| *owner);
        let is_number = |owner: &str| owner.starts_with(|c: char| c.is_ascii_digit());
        Self {
            has_numbers: lines.iter().any(|(owner, _)| is_number(owner)),
            lines,
            passed: 0,
        }
    }

    /// The first line of an account, and the ranges of all others, also of those that have its uid in place of its name. Names
    /// are asked for in their order.
    pub(super) fn of_account(
        &mut self,
        name: &str,
        uid: u32,
    ) -> (Option<IdRange>, BTreeSet<IdRange>) {
        while self.lines.get(self.passed).is_some_and(|it| it.0 < name) {
            self.passed += 1;
        }
        let of_name = self.lines[self.passed..].iter();
        let mut of_name = of_name
            .take_while(|(owner, _)| *owner == name)
            .map(|(_, range)| *range);
        let first = of_name.next();
        let mut more: BTreeSet<IdRange> = of_name.collect();
        if self.has_numbers {
            let uid = uid.to_string();
            let begin = self.lines.partition_point(|(owner, _)| *owner < &*uid);
            let of_uid = self.lines[begin..].iter();
            more.extend(
                of_uid
                    .take_while(|(owner, _)| *owner == uid)
                    .map(|(_, range)| *range),
            );
        }
        more.retain(|it| Some(*it) != first);
        (first, more)
    }
}
