//! A sheet collects the steps that one room plans for one executor. It computes their ids, and takes no step without a price.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use crate::executor::Executor;
use crate::id::{Naming, Spell, StepId};
use crate::price::Price;
use crate::time::Time;
use crate::turn::Turn;

/// Why a step cannot run, signed or not, until something else changes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Hold<B> {
    /// It touches a name that no step may touch.
    Protected(String),
    /// It touches another name of an account that no step may touch.
    SharesProtected(String),
    /// Something that it needs is not there.
    Lacks(B),
    /// It is told of first, and runs from a moment on.
    Until(Time, B),
}

/// A step as a room plans it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Drafted<A, I, B> {
    /// What is signed.
    pub id: StepId,
    /// What it does.
    pub action: A,
    /// To which incarnation of the resource.
    pub incarnation: I,
    /// What it costs.
    pub price: Price,
    /// Steps that must be done before it.
    pub needs: Vec<StepId>,
    /// What stands against it, if something does.
    pub hold: Option<Hold<B>>,
    /// What it writes, where its parameters have a digest of it alone.
    pub content: Option<Arc<str>>,
}

impl<A, I, B> Drafted<A, I, B> {
    /// The same step in a sum of rooms.
    pub fn map<A2, I2, B2>(
        self,
        action: impl FnOnce(A) -> A2,
        incarnation: impl FnOnce(I) -> I2,
        blocked: impl FnOnce(B) -> B2,
    ) -> Drafted<A2, I2, B2> {
        Drafted {
            id: self.id,
            action: action(self.action),
            incarnation: incarnation(self.incarnation),
            price: self.price,
            needs: self.needs,
            hold: self.hold.map(|hold| match hold {
                Hold::Protected(name) => Hold::Protected(name),
                Hold::SharesProtected(name) => Hold::SharesProtected(name),
                Hold::Lacks(what) => Hold::Lacks(blocked(what)),
                Hold::Until(at, what) => Hold::Until(at, blocked(what)),
            }),
            content: self.content,
        }
    }
}

/// Takes the steps of one executor as they are drafted, and gives each to whoever makes a plan of them: each is some 400 bytes, and is
/// put at once where it stays: to collect those of 10,000 new accounts first took 7 MiB more (`tests/bench/bench plan`).
pub struct Sheet<'e, A, I, B> {
    naming: Naming,
    put: &'e mut dyn FnMut(Drafted<A, I, B>),
}

impl<A, I, B> fmt::Debug for Sheet<'_, A, I, B> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { naming, put: _ } = self;
        f.debug_tuple("Sheet").field(naming).finish()
    }
}

impl<'e, A: Spell, I: fmt::Display, B> Sheet<'e, A, I, B> {
    /// One for the steps of `executor`, which go to `put`.
    pub fn new(executor: &Executor, put: &'e mut dyn FnMut(Drafted<A, I, B>)) -> Self {
        let naming = Naming::on(executor);
        Self { naming, put }
    }

    /// Adds a step.
    pub fn draft(
        &mut self,
        action: A,
        incarnation: I,
        price: Price,
        needs: Vec<StepId>,
        hold: Option<Hold<B>>,
        content: Option<Arc<str>>,
    ) -> StepId {
        let id = self.naming.name(&action, &incarnation);
        (self.put)(Drafted {
            id,
            action,
            incarnation,
            price,
            needs,
            hold,
            content,
        });
        id
    }
}

/// Steps in one order for equal inputs: by turn, then by resource, as `place` tells them; the steps of one resource stay as they were
/// drafted.
#[derive(Debug)]
pub struct InOrder<S, P> {
    place: P,
    turns: BTreeMap<Turn, OfTurn<S>>,
}

#[derive(Debug)]
struct OfTurn<S> {
    steps: Vec<S>,
    /// Whether they came in the order of the resources, as they mostly do: seen while a step is at hand, and not once more when there
    /// are tens of thousands (`tests/bench/bench plan`).
    are_sorted: bool,
}

impl<S, P: Fn(&S) -> (Turn, &str)> InOrder<S, P> {
    /// None yet.
    pub fn by(place: P) -> Self {
        let turns = BTreeMap::new();
        Self { place, turns }
    }

    /// Takes one more.
    pub fn put(&mut self, step: S) {
        let Self { place, turns } = self;
        let (turn, resource) = place(&step);
        let OfTurn { steps, are_sorted } = turns.entry(turn).or_insert_with(|| OfTurn {
            steps: Vec::new(),
            are_sorted: true,
        });
        *are_sorted &= steps.last().is_none_or(|last| place(last).1 <= resource);
        steps.push(step);
    }

    /// All of them, in that order.
    pub fn into_steps(self) -> Vec<S> {
        let Self { place, turns } = self;
        let count = turns.values().map(|it| it.steps.len()).sum();
        let mut ordered = Vec::with_capacity(count);
        for mut of_turn in turns.into_values() {
            if !of_turn.are_sorted {
                of_turn.steps.sort_by(|a, b| place(a).1.cmp(place(b).1));
            }
            ordered.append(&mut of_turn.steps);
        }
        ordered
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn steps_are_in_the_order_of_their_turns_and_resources_and_otherwise_as_they_came() {
        let drafted = [
            (Turn::Start, "zed", 1),
            (Turn::Record, "bob", 2),
            (Turn::Start, "amy", 3),
            (Turn::Record, "bob", 4),
            (Turn::Start, "zed", 5),
            (Turn::Record, "cid", 6),
            (Turn::Start, "amy", 7),
            (Turn::Homes, "zed", 8),
            (Turn::Homes, "amy", 9),
        ];
        let mut steps = InOrder::by(|it: &(Turn, &'static str, u32)| (it.0, it.1));
        drafted.into_iter().for_each(|it| steps.put(it));
        let ids: Vec<u32> = steps.into_steps().iter().map(|it| it.2).collect();
        assert_eq!(ids, [2, 4, 6, 9, 8, 3, 7, 1, 5]);
    }
}
