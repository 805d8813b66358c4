//! A plan and its verdict, joined step by step: what every text is made of.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;

use sha2::{Digest as _, Sha256};

use super::{Host, Recorded};
use crate::executor::Executor;
use crate::gate::{Held, Reason};
use crate::id::{StepId, percent_encode};
use crate::ink::count;
use crate::plan::Note;
use crate::price::Class;
use crate::step::Step;
use crate::time::Time;

/// Whose doing a step is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Origin {
    /// Only the proposal asks for it.
    Change,
    /// The protected branch asks for it already.
    Drift,
    /// There is nothing to compare with.
    Unknown,
    /// Nobody proposes anything; it was found.
    Found,
}

impl Origin {
    /// All of them, in the order in which they are told.
    pub(super) const ALL: [Self; 4] = [Self::Change, Self::Drift, Self::Unknown, Self::Found];
}

/// One step, as it is shown.
pub(super) struct Shown<'a> {
    pub(super) step: &'a Step,
    pub(super) class: Class,
    pub(super) held: Option<&'a Reason>,
    pub(super) origin: Origin,
    /// The place in the view of the held step that this one follows.
    pub(super) after: Option<usize>,
}

/// One executor, as it is shown.
pub(super) struct View<'a> {
    pub(super) executor: &'a Executor,
    pub(super) steps: Vec<Shown<'a>>,
    /// Steps of the protected branch's plan that this one does without.
    pub(super) unneeded: Vec<&'a Step>,
    pub(super) notes: &'a [Note],
    /// When the host was read, if not just now.
    pub(super) read: Option<Time>,
}

impl<'a> View<'a> {
    pub(super) fn of(host: &Host<'a>) -> Self {
        let Host {
            executor,
            plan,
            verdict,
            base,
            read,
        } = *host;
        let in_base: Option<BTreeSet<StepId>> =
            base.map(|base| base.steps().iter().map(|it| it.step.id).collect());
        let shown = |step: &'a Step, class: Class, held: Option<&'a Held>| Shown {
            step,
            class,
            held: held.map(|held| &held.reason),
            origin: match &in_base {
                None => Origin::Unknown,
                Some(base) if base.contains(&step.id) => Origin::Drift,
                Some(_) => Origin::Change,
            },
            after: None,
        };
        // Both are in the plan's order, so one walk joins them.
        let mut held = verdict.held.iter().peekable();
        let mut steps: Vec<Shown<'a>> = plan
            .steps()
            .iter()
            .map(|it| {
                let held = held.next_if(|held| held.step.id == it.step.id);
                shown(&it.step, it.price.class, held)
            })
            .collect();
        // Whatever the gate held is shown, even if the plan beside it is another.
        steps.extend(held.map(|held| shown(&held.step, held.price.class, Some(held))));
        follow(&mut steps);
        let unneeded = base.map_or_else(Vec::new, |base| {
            let in_plan: BTreeSet<StepId> = steps.iter().map(|it| it.step.id).collect();
            let steps = base.steps().iter().map(|it| &*it.step);
            steps.filter(|it| !in_plan.contains(&it.id)).collect()
        });
        Self {
            executor,
            steps,
            unneeded,
            notes: plan.notes(),
            read: match read {
                Recorded::Live => None,
                Recorded::At(at) => Some(at),
            },
        }
    }

    /// What waits on an executor, and nothing else of it.
    pub(super) fn waiting(executor: &'a Executor, held: &'a [Held]) -> Self {
        let shown = |held: &'a Held| Shown {
            step: &held.step,
            class: held.price.class,
            held: Some(&held.reason),
            origin: Origin::Unknown,
            after: None,
        };
        let mut steps: Vec<Shown<'a>> = held.iter().map(shown).collect();
        follow(&mut steps);
        Self {
            executor,
            steps,
            unneeded: Vec::new(),
            notes: &[],
            read: None,
        }
    }

    pub(super) fn held(&self) -> impl Iterator<Item = &Shown<'a>> {
        self.steps.iter().filter(|it| it.held.is_some())
    }

    /// Leaves out what is not drift: what a proposal asked for was told there. What a drifted step waits for stays, and so
    /// do all removals that a limit holds together with one of them, as commands name exactly those.
    pub(super) fn keep_drift(&mut self, told: &BTreeSet<StepId>) {
        let drifted = |it: &Shown<'_>| it.origin != Origin::Change && !told.contains(&it.step.id);
        let limited = |it: &Shown<'_>| matches!(it.held, Some(Reason::Limit(_)));
        let mut keep: Vec<bool> = self.steps.iter().map(drifted).collect();
        for place in (0..keep.len()).rev() {
            if let (true, Some(before)) = (keep[place], self.steps[place].after) {
                keep[before] = true;
            }
        }
        let together = self
            .steps
            .iter()
            .zip(&keep)
            .any(|(it, keep)| *keep && limited(it));
        let mut keep = keep.into_iter();
        self.steps
            .retain(|it| keep.next().unwrap_or(true) || (together && limited(it)));
        for shown in &mut self.steps {
            shown.origin = Origin::Found;
        }
        follow(&mut self.steps);
        self.unneeded.clear();
        self.notes = &[];
    }

    /// Whether nothing would happen here, and nobody has to look.
    pub(super) fn is_calm(&self) -> bool {
        self.steps.is_empty() && self.unneeded.is_empty() && self.attention() == 0
    }

    /// The commands that release what can be released here.
    pub(super) fn commands(&self) -> Vec<Command> {
        let held = self.held();
        let held = held.filter_map(|it| Some((it.step, it.class, it.held?)));
        commands(self.executor, held)
    }

    /// Whether the host is so little known that no steps means nothing.
    pub(super) fn is_unread(&self) -> bool {
        self.notes.iter().any(Note::leaves_world_unknown)
    }

    pub(super) fn attention(&self) -> usize {
        self.notes.iter().filter(|it| it.needs_attention()).count()
    }
}

/// Finds for each step that waits for another one the place of that one.
fn follow(steps: &mut [Shown<'_>]) {
    let mut places: Option<BTreeMap<StepId, usize>> = None;
    for place in 0..steps.len() {
        steps[place].after = None;
        if let Some(Reason::Needs(before)) = steps[place].held {
            let ids = || steps.iter().enumerate().map(|(i, it)| (it.step.id, i));
            let after = places.get_or_insert_with(|| ids().collect()).get(before);
            steps[place].after = after.copied();
        }
    }
}

/// How many there are of everything.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Counts {
    pub(super) benign: usize,
    pub(super) privileged: usize,
    pub(super) destructive: usize,
    pub(super) held: usize,
    pub(super) drift: usize,
    pub(super) attention: usize,
}

impl Counts {
    pub(super) fn of(views: &[View<'_>]) -> Self {
        let mut counts = Self::default();
        for view in views {
            counts.attention += view.attention();
            for step in &view.steps {
                match step.class {
                    Class::Benign => counts.benign += 1,
                    Class::Privileged => counts.privileged += 1,
                    Class::Destructive => counts.destructive += 1,
                }
                counts.held += usize::from(step.held.is_some());
                counts.drift += usize::from(step.origin == Origin::Drift);
            }
        }
        counts
    }

    pub(super) fn steps(self) -> usize {
        self.benign + self.privileged + self.destructive
    }

    pub(super) fn runs(self) -> usize {
        self.steps() - self.held
    }

    /// `1 destructive, 2 privileged, 12 benign`; the worst first.
    pub(super) fn classes(self) -> String {
        let mut out = String::new();
        for (number, class) in [
            (self.destructive, Class::Destructive),
            (self.privileged, Class::Privileged),
            (self.benign, Class::Benign),
        ] {
            if number > 0 {
                let comma = if out.is_empty() { "" } else { ", " };
                let _ = write!(out, "{comma}{number} {class}");
            }
        }
        out
    }

    /// What happens, in a few words; `when` begins the sentence.
    pub(super) fn verdict(self, when: &str) -> String {
        match (self.runs(), self.held) {
            (0, 0) => "Nothing to change".to_owned(),
            (runs, 0) => format!("{when} applies {}", count(runs, "step")),
            (0, held) => format!("{when} applies nothing; {} held", are(held)),
            (runs, held) => format!("{when} applies {}; {} held", count(runs, "step"), are(held)),
        }
    }
}

fn are(number: usize) -> String {
    format!(
        "{} {}",
        count(number, "step"),
        if number == 1 { "is" } else { "are" }
    )
}

/// Names all that was decided: SHA-256 over executor, step ids and reasons, in the plan's order. An id is itself a hash
/// that binds the words of its step.
pub(super) fn digest(views: &[View<'_>]) -> String {
    let mut hash = Sha256::new();
    hash.update(b"muster-plan/1\0");
    let mut field = |bytes: &[u8]| {
        hash.update((bytes.len() as u64).to_be_bytes());
        hash.update(bytes);
    };
    for view in views {
        field(view.executor.to_string().as_bytes());
        field(view.steps.len().to_string().as_bytes());
        for step in &view.steps {
            field(step.step.id.as_bytes());
            match step.held {
                None => field(b""),
                Some(reason) => {
                    field(reason.code().as_bytes());
                    field(reason.to_string().as_bytes());
                }
            }
        }
    }
    crate::bytes::hex(&hash.finalize())
}

/// A command that an operator runs to propose the release of some of an executor's held steps.
pub(super) struct Command {
    /// What stands before the step ids.
    pub(super) start: String,
    pub(super) steps: Vec<StepId>,
}

/// The commands that release what can be released: one for each person and class, and one for all removals that a
/// limit holds together, because a release permits exactly that set or nothing of it.
///
/// A step that only follows a held one is left out when it is benign: it runs by itself once that one has run.
/// No release helps against a protected name, a missing precondition, a failure or a freeze.
pub(super) fn commands<'a>(
    executor: &Executor,
    held: impl Iterator<Item = (&'a Step, Class, &'a Reason)>,
) -> Vec<Command> {
    let mut releasable: BTreeSet<StepId> = BTreeSet::new();
    let mut together: Vec<StepId> = Vec::new();
    let mut alone: BTreeMap<(std::cmp::Reverse<Class>, &str), Vec<StepId>> = BTreeMap::new();
    for (step, class, reason) in held {
        match reason {
            Reason::PendingSignature => {}
            Reason::Needs(before) if class != Class::Benign && releasable.contains(before) => {}
            Reason::Limit(_) => {
                together.push(step.id);
                continue;
            }
            Reason::Needs(_)
            | Reason::Guardrail(_)
            | Reason::Precondition(_)
            | Reason::Until { .. }
            | Reason::Retry { .. }
            | Reason::NeedsOperator(_)
            | Reason::Frozen
            | Reason::Suspended(_) => continue,
        }
        releasable.insert(step.id);
        let key = (std::cmp::Reverse(class), step.resource());
        alone.entry(key).or_default().push(step.id);
    }
    // A host is called by its name alone, any other executor by its kind, too. It is one shell word, whatever it is.
    let start = format!(
        "muster release propose --host {}",
        percent_encode(&executor.pinned())
    );
    let all = alone
        .into_values()
        .chain((!together.is_empty()).then_some(together));
    all.map(|steps| Command {
        start: start.clone(),
        steps,
    })
    .collect()
}

impl Command {
    /// The command as lines of which all but the last end in a backslash; one line when it has few steps.
    pub(super) fn lines(&self) -> Vec<String> {
        const IN_LINE: usize = 3;
        if self.steps.len() <= IN_LINE {
            let mut line = self.start.clone();
            self.steps.iter().for_each(|id| {
                let _ = write!(line, " {id}");
            });
            return vec![line];
        }
        let mut lines = vec![self.start.clone()];
        for ids in self.steps.chunks(IN_LINE) {
            let mut line = " ".to_owned();
            ids.iter().for_each(|id| {
                let _ = write!(line, " {id}");
            });
            lines.push(line);
        }
        let last = lines.len() - 1;
        for line in &mut lines[..last] {
            line.push_str(" \\");
        }
        lines
    }
}
