//! The ordered steps from observed to desired. A plan leaves nothing to choose, and is byte-identical for equal inputs
//! (invariant 12).

use std::sync::Arc;

use crate::commit::CommitId;
use crate::facts::Facts;
use crate::id::StepId;
use crate::limits::Bounds;
use crate::price::{Price, Takes};
use crate::rooms::{self, Action, Aside, Blocked, Desired, Material, Observed, Policy};
use crate::sheet::{Drafted, Hold};
use crate::step::Step;
use crate::time::{Date, Time};

pub use crate::rooms::Note;

/// Everything that a plan depends on.
#[derive(Clone, Copy, Debug)]
pub struct Input<'a> {
    /// What the executor's administrator decided.
    pub policy: &'a Policy,
    /// The commit that is planned.
    pub commit: &'a CommitId,
    /// Today, in UTC.
    pub today: Date,
    /// What the commit asks for.
    pub desired: &'a Desired,
    /// What was read of the executor's world.
    pub observed: &'a Observed,
    /// What muster knows of its own doing.
    pub facts: &'a Facts,
}

/// The steps, and what is to be said beside them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Plan {
    commit: CommitId,
    today: Date,
    steps: Vec<Arc<PlannedStep>>,
    notes: Vec<Note>,
    aside: Aside,
}

/// A step in its place.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PlannedStep {
    /// The step.
    pub step: Arc<Step>,
    /// What it costs.
    pub price: Price,
    /// Steps that must be done before it.
    pub needs: Vec<StepId>,
    /// What stands against it, signed or not, if something does.
    pub hold: Option<Box<Hold<Blocked>>>,
    /// What it writes, where its parameters have a digest of it alone.
    pub content: Option<Arc<str>>,
}

impl PlannedStep {
    /// Whether the limits count it: not what cannot run, signed or not, where its room says so (H13).
    pub fn counts(&self) -> bool {
        match self.hold.as_deref() {
            Some(Hold::Protected(_) | Hold::SharesProtected(_) | Hold::Lacks(_)) => {
                rooms::counts_when_held(&self.step.action)
            }
            Some(Hold::Until(..)) | None => true,
        }
    }

    fn of(drafted: Drafted<Action, rooms::Incarnation, Blocked>) -> Arc<Self> {
        let Drafted {
            id,
            action,
            incarnation,
            price,
            needs,
            hold,
            content,
        } = drafted;
        Arc::new(Self {
            step: Arc::new(Step {
                id,
                action,
                incarnation,
            }),
            price,
            needs,
            hold: hold.map(Box::new),
            content,
        })
    }
}

/// Computes the steps from what was observed to what is desired. Pure and total.
pub fn plan(input: &Input<'_>) -> Plan {
    let Input {
        policy,
        commit,
        today,
        desired,
        observed,
        facts,
    } = *input;
    let rooms::Draft {
        steps,
        mut notes,
        aside,
    } = rooms::draft(
        policy,
        today,
        desired,
        observed,
        &facts.known,
        PlannedStep::of,
        |it| (it.price.turn, it.step.resource()),
    );
    notes.sort();
    Plan {
        commit: commit.clone(),
        today,
        steps,
        notes,
        aside,
    }
}

impl Plan {
    /// The commit this plan would realise.
    pub fn commit(&self) -> &CommitId {
        &self.commit
    }

    /// The day it was made for.
    pub fn today(&self) -> Date {
        self.today
    }

    /// The steps, in the order in which they run. The gate lets through the same ones, not copies of them.
    pub fn steps(&self) -> &[Arc<PlannedStep>] {
        &self.steps
    }

    /// What people should know beside the steps.
    pub fn notes(&self) -> &[Note] {
        &self.notes
    }

    /// What the plan as a whole is over, with the removals of the last 24 hours.
    pub fn bounds(&self, policy: &Policy, observed: &Observed, facts: &Facts, now: Time) -> Bounds {
        let counted = self.steps.iter().filter(|it| it.counts());
        let mut planned: Vec<(&Action, Takes)> = Vec::with_capacity(self.steps.len());
        planned.extend(counted.map(|it| (&it.step.action, it.price.takes)));
        let recent = facts.recent(now.plus(-86_400));
        rooms::bounds(
            planned.iter().copied(),
            policy,
            observed,
            &facts.known,
            &recent,
            now,
        )
    }

    /// What the act of some of its steps needs beyond them.
    pub fn material<'a>(
        &'a self,
        steps: impl Iterator<Item = &'a PlannedStep>,
        observed: &Observed,
    ) -> Material {
        let steps = steps.map(|it| (&it.step.action, it.content.as_ref()));
        rooms::material(steps, observed, &self.aside)
    }
}
