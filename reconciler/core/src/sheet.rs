//! A sheet collects the steps that one room plans for one executor. It computes their ids, and takes no step without a price.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use crate::executor::Executor;
use crate::id::{Spell, StepId};
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

/// The steps of one executor, as they are drafted.
#[derive(Debug)]
pub struct Sheet<'e, A, I, B> {
    executor: &'e Executor,
    drafted: Steps<A, I, B>,
}

/// Steps as they are drafted. Each is some 400 bytes, and a list of them is grown, divided by turn and sorted: for 10,000 new accounts it
/// took 40 ms to move the steps themselves about.
pub type Steps<A, I, B> = Vec<Box<Drafted<A, I, B>>>;

impl<'e, A: Spell, I: fmt::Display, B> Sheet<'e, A, I, B> {
    /// An empty one, with capacity for `most` steps.
    pub fn new(executor: &'e Executor, most: usize) -> Self {
        Self {
            executor,
            drafted: Vec::with_capacity(most),
        }
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
        let id = StepId::of(self.executor, &action, &incarnation);
        self.drafted.push(Box::new(Drafted {
            id,
            action,
            incarnation,
            price,
            needs,
            hold,
            content,
        }));
        id
    }

    /// One order for equal inputs: by turn, then by resource; the steps of one resource stay as they were drafted. Within a
    /// turn they mostly are in the order of the resources already.
    pub fn in_order(self) -> Steps<A, I, B> {
        let mut ordered = Vec::with_capacity(self.drafted.len());
        let mut turns: BTreeMap<Turn, Steps<A, I, B>> = BTreeMap::new();
        for drafted in self.drafted {
            turns.entry(drafted.price.turn).or_default().push(drafted);
        }
        for mut of_turn in turns.into_values() {
            of_turn.sort_by(|a, b| a.action.resource().cmp(b.action.resource()));
            ordered.append(&mut of_turn);
        }
        ordered
    }
}
