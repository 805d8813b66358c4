//! Where the forge says to look first.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use muster_forge::webhook::Poke;

/// More than this many different ones say no more than: look everywhere.
const AT_MOST: usize = 256;

/// What was heard since the last look: each once, and never more than a few. Looking without them finds the same, only later.
#[derive(Clone, Debug, Default)]
pub struct Hints(Arc<Mutex<BTreeSet<Poke>>>);

impl Hints {
    /// Adds one.
    pub fn push(&self, poke: Poke) {
        let mut hints = self.hints();
        hints.insert(poke);
        if hints.len() > AT_MOST {
            *hints = BTreeSet::from([Poke::Anywhere]);
        }
    }

    /// Takes all of them.
    pub fn take(&self) -> Vec<Poke> {
        std::mem::take(&mut *self.hints()).into_iter().collect()
    }

    /// Whether a pull request is among them: somebody waits for an answer.
    pub fn name_a_proposal(&self) -> bool {
        let hints = self.hints();
        hints.iter().any(|it| matches!(it, Poke::Proposal(_)))
    }

    fn hints(&self) -> MutexGuard<'_, BTreeSet<Poke>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_hint_is_kept_once_and_taken_once() {
        let hints = Hints::default();
        let main = Poke::Ref("refs/heads/main".into());
        for poke in [Poke::Proposal(7), main.clone(), Poke::Proposal(7)] {
            hints.clone().push(poke);
        }
        assert_eq!(hints.take(), [Poke::Proposal(7), main]);
        assert_eq!(hints.take(), []);
    }

    #[test]
    fn a_flood_of_hints_comes_down_to_one() {
        let hints = Hints::default();
        (1..=256).for_each(|number| hints.push(Poke::Proposal(number)));
        assert_eq!(hints.hints().len(), 256);
        hints.push(Poke::Proposal(257));
        assert_eq!(hints.take(), [Poke::Anywhere]);
    }
}
