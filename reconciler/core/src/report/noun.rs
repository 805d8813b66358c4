//! What stands for executors in a sentence.

use crate::executor::{Executor, ExecutorKind};

/// The noun for some executors: what all of them are, or `executor` where they are of several kinds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Noun {
    /// Of one of them.
    pub(super) one: &'static str,
    /// Of several.
    pub(super) many: &'static str,
}

impl Noun {
    /// The noun for `executors`; for none at all, that of hosts.
    pub(super) fn of<'a>(executors: impl IntoIterator<Item = &'a Executor>) -> Self {
        let mut kinds = executors.into_iter().map(Executor::kind);
        let first = kinds.next().unwrap_or(ExecutorKind::Host);
        let (one, many) = match kinds.all(|it| it == first) {
            true => first.nouns(),
            false => ("executor", "executors"),
        };
        Self { one, many }
    }

    /// So many of them: `1 host`, `2 hypervisors`.
    pub(super) fn counted(self, number: usize) -> String {
        let noun = if number == 1 { self.one } else { self.many };
        format!("{number} {noun}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn executors_of_several_kinds_are_called_executors() {
        let executor = |text: &str| text.parse::<Executor>().unwrap();
        let [host, guests, ca] = ["host/a", "guests/a", "ca/a"].map(executor);
        for (executors, number, expected) in [
            (vec![], 0, "0 hosts"),
            (vec![&host], 1, "1 host"),
            (vec![&host, &host], 2, "2 hosts"),
            (vec![&guests, &guests], 2, "2 hypervisors"),
            (vec![&ca, &ca], 2, "2 certificate authorities"),
            (vec![&host, &guests], 2, "2 executors"),
            (vec![&host, &guests], 1, "1 executor"),
        ] {
            assert_eq!(Noun::of(executors).counted(number), expected);
        }
    }
}
