//! A plan and its verdict, joined step by step: what every text is made of.

use std::borrow::Cow;
use std::cell::OnceCell;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;

use sha2::{Digest as _, Sha256};

use super::{Host, Operator, ReadAt, escape};
use crate::bytes::places_in_order;
use crate::executor::Executor;
use crate::gate::{self, Held, Reason};
use crate::id::{StepId, percent_encode};
use crate::ledger::held::Waiting;
use crate::plan::Note;
use crate::price::{Class, Price, Takes};
use crate::rooms::{self, Resource};
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

/// One step, as it is shown.
pub(super) struct Shown<'a> {
    pub(super) step: &'a Step,
    /// The name of what it is about, at hand: a text asks for it several times, and tens of thousands of steps are elsewhere by then
    /// (`tests/bench/bench plan`).
    pub(super) name: &'a str,
    /// What it is about, where the name alone tells which.
    by_name: Option<Resource>,
    pub(super) class: Class,
    /// Whether it takes something from somebody, or destroys something.
    pub(super) takes_away: bool,
    pub(super) held: Option<&'a Reason>,
    waits_for_release: bool,
    pub(super) origin: Origin,
    /// The place in the view of the held step that this one follows.
    pub(super) after: Option<u32>,
    /// Whether it is told with what the change does: the change asks for it, or it waits together with a step that the
    /// change asks for, so that one release names both.
    pub(super) with_change: bool,
}

impl<'a> Shown<'a> {
    /// What it is about, to be counted.
    pub(super) fn counted(&self) -> (Resource, Cow<'a, str>) {
        match self.by_name {
            Some(kind) => (kind, Cow::Borrowed(self.name)),
            None => counted(self.step),
        }
    }

    /// Whether a signed release lets it run, now or after the step that it follows: what follows a step that no release helps is
    /// helped by none either.
    pub(super) fn waits_for_release(&self) -> bool {
        self.waits_for_release
    }
}

/// Whether a release helps against this reason alone.
fn is_released(reason: &Reason) -> bool {
    match Release::of(reason) {
        Release::Named | Release::Together | Release::After(_) => true,
        Release::Never => false,
    }
}

/// What a step is about, to be counted.
pub(super) fn counted(step: &Step) -> (Resource, Cow<'_, str>) {
    rooms::counted(step.id, &step.action, &step.incarnation)
}

fn takes_away(price: Price) -> bool {
    price.class == Class::Destructive || price.takes != Takes::Nothing
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
    /// How an operator elsewhere releases, if that is known.
    pub(super) operator: Option<Operator<'a>>,
    /// The places of the steps by what they are about; found where somebody asks, and then once for a whole text
    /// (`tests/bench/bench plan`).
    by_resource: OnceCell<Vec<u32>>,
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
        let shown = |step: &'a Step, price: Price, held: Option<&'a Held>| Shown {
            step,
            name: step.resource(),
            by_name: rooms::counted_by_name(&step.action),
            class: price.class,
            takes_away: takes_away(price),
            held: held.map(|held| &held.reason),
            waits_for_release: false,
            origin: match &in_base {
                None => Origin::Unknown,
                Some(base) if base.contains(&step.id) => Origin::Drift,
                Some(_) => Origin::Change,
            },
            after: None,
            with_change: true,
        };
        // Both are in the plan's order, so one walk joins them.
        let mut held = verdict.held.iter().peekable();
        let mut steps: Vec<Shown<'a>> = plan
            .steps()
            .iter()
            .map(|it| {
                let held = held.next_if(|held| held.step.id == it.step.id);
                shown(&it.step, it.price, held)
            })
            .collect();
        // Whatever the gate held is shown, even if the plan beside it is another.
        steps.extend(held.map(|held| shown(&held.step, held.price, Some(held))));
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
                ReadAt::Live => None,
                ReadAt::At(at) => Some(at),
            },
            operator: None,
            by_resource: OnceCell::new(),
        }
    }

    /// What waits on an executor, and nothing else of it; `own` says which of it is of the change that is told of.
    pub(super) fn waiting(
        executor: &'a Executor,
        held: &'a [Held],
        own: impl Fn(&Step) -> bool,
    ) -> Self {
        let shown = |held: &'a Held| Shown {
            step: &held.step,
            name: held.step.resource(),
            by_name: rooms::counted_by_name(&held.step.action),
            class: held.price.class,
            takes_away: takes_away(held.price),
            held: Some(&held.reason),
            waits_for_release: false,
            origin: match own(&held.step) {
                true => Origin::Unknown,
                false => Origin::Drift,
            },
            after: None,
            with_change: true,
        };
        let mut steps: Vec<Shown<'a>> = held.iter().map(shown).collect();
        follow(&mut steps);
        Self {
            executor,
            steps,
            unneeded: Vec::new(),
            notes: &[],
            read: None,
            operator: None,
            by_resource: OnceCell::new(),
        }
    }

    /// The steps in the order of the names of what they are about, each with its place; those about one stay in the order of the plan.
    pub(super) fn by_resource(&self) -> impl Iterator<Item = (usize, &Shown<'a>)> {
        let in_order = || {
            let count = self.steps.len();
            places_in_order(count, |at| self.steps[at as usize].name)
        };
        let places = self.by_resource.get_or_init(in_order).iter();
        places.map(|at| (*at as usize, &self.steps[*at as usize]))
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
                keep[before as usize] = true;
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
        self.by_resource = OnceCell::new();
        self.unneeded.clear();
        self.notes = &[];
    }

    /// Whether nothing would happen here, and nobody has to look.
    pub(super) fn is_calm(&self) -> bool {
        self.steps.is_empty() && self.unneeded.is_empty() && self.attention() == 0
    }

    /// The commands that release what can be released here: of what is told with the change, or of all else.
    pub(super) fn commands(&self, with_change: bool) -> Vec<Command> {
        let held = self.held().filter(|it| it.with_change == with_change);
        let held = held.filter_map(|it| Some((it.step, it.class, Release::of(it.held?))));
        commands(self.executor, self.operator, held)
    }

    /// Whether the host is so little known that no steps means nothing.
    pub(super) fn is_unread(&self) -> bool {
        self.notes.iter().any(Note::leaves_world_unknown)
    }

    pub(super) fn attention(&self) -> usize {
        self.notes.iter().filter(|it| it.needs_attention()).count()
    }
}

/// Finds for each step that waits for another one the place of that one, and what is told together.
fn follow(steps: &mut [Shown<'_>]) {
    let mut places: Option<BTreeMap<StepId, u32>> = None;
    for place in 0..steps.len() {
        steps[place].after = None;
        if let Some(Reason::Needs(before)) = steps[place].held {
            let ids = || steps.iter().zip(0..).map(|(it, place)| (it.step.id, place));
            let after = places.get_or_insert_with(|| ids().collect()).get(before);
            steps[place].after = after.copied();
        }
    }
    for place in 0..steps.len() {
        // Most run, and follow nothing.
        if steps[place].held.is_none() {
            steps[place].waits_for_release = false;
            continue;
        }
        let follows = |at: &usize| steps[*at].after.map(|it| it as usize);
        let mut chain = std::iter::successors(Some(place), follows).take(steps.len());
        steps[place].waits_for_release = chain.all(|at| steps[at].held.is_some_and(is_released));
    }
    tell_together(steps);
}

/// One release names a step, what that follows and what follows it, and all removals that a limit holds: where one of
/// them is of the change, all are told with it.
fn tell_together(steps: &mut [Shown<'_>]) {
    for shown in &mut *steps {
        shown.with_change = shown.origin != Origin::Drift;
    }
    let limited = |it: &Shown<'_>| matches!(it.held, Some(Reason::Limit(_)));
    loop {
        let before = steps.iter().filter(|it| it.with_change).count();
        for place in 0..steps.len() {
            if let Some(after) = steps[place].after.map(|it| it as usize) {
                let either = steps[place].with_change || steps[after].with_change;
                steps[place].with_change = either;
                steps[after].with_change = either;
            }
        }
        if steps.iter().any(|it| limited(it) && it.with_change) {
            steps
                .iter_mut()
                .filter(|it| limited(it))
                .for_each(|it| it.with_change = true);
        }
        if steps.iter().filter(|it| it.with_change).count() == before {
            return;
        }
    }
}

/// What is said of steps that are not held.
pub(super) const AT_ONCE: (&str, &str) = ("runs at once", "run at once");

/// How many steps run, wait for a release, and are held for another reason.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Sum {
    pub(super) runs: usize,
    pub(super) waits: usize,
    pub(super) stopped: usize,
    destructive: usize,
    privileged: usize,
    benign: usize,
}

impl Sum {
    pub(super) fn of<'v, 'a: 'v>(steps: impl IntoIterator<Item = &'v Shown<'a>>) -> Self {
        let mut sum = Self::default();
        steps.into_iter().for_each(|it| sum.add(it));
        sum
    }

    fn add(&mut self, step: &Shown<'_>) {
        if step.held.is_none() {
            self.runs += 1;
            return;
        }
        match step.waits_for_release() {
            true => self.waits += 1,
            false => self.stopped += 1,
        }
        match step.class {
            Class::Benign => self.benign += 1,
            Class::Privileged => self.privileged += 1,
            Class::Destructive => self.destructive += 1,
        }
    }

    pub(super) fn held(self) -> usize {
        self.waits + self.stopped
    }

    pub(super) fn steps(self) -> usize {
        self.runs + self.held()
    }

    /// What is held, by class, the worst first: `1 destructive, 2 privileged`.
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

    /// `15 steps run at once, 3 wait for a signed release (3 privileged), 1 is held`; `run` is what is said of one step that
    /// is not held, and of several.
    pub(super) fn outlook(self, run: (&str, &str)) -> String {
        let mut parts: Vec<String> = Vec::new();
        let mut part = |number: usize, one: &str, many: &str| {
            if number > 0 {
                let noun = match (parts.is_empty(), number) {
                    (true, 1) => " step",
                    (true, _) => " steps",
                    (false, _) => "",
                };
                let verb = if number == 1 { one } else { many };
                parts.push(format!("{number}{noun} {verb}"));
            }
        };
        part(self.runs, run.0, run.1);
        part(
            self.waits,
            "waits for a signed release",
            "wait for a signed release",
        );
        part(self.stopped, "is held", "are held");
        let mut out = parts.join(", ");
        if self.held() > 0 {
            let _ = write!(out, " ({})", self.classes());
        }
        out
    }
}

/// How many there are of everything.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Counts {
    /// Steps that the change asks for, or of which nobody knows whose doing they are.
    pub(super) change: Sum,
    /// Steps that are there without it.
    pub(super) other: Sum,
    pub(super) attention: usize,
}

impl Counts {
    pub(super) fn of(views: &[View<'_>]) -> Self {
        let (mut change, mut other) = (Sum::default(), Sum::default());
        for step in views.iter().flat_map(|it| &it.steps) {
            match step.origin {
                Origin::Drift => other.add(step),
                Origin::Change | Origin::Unknown | Origin::Found => change.add(step),
            }
        }
        Self {
            change,
            other,
            attention: views.iter().map(View::attention).sum(),
        }
    }

    /// What is there without the change: `7 steps of drift are repaired, 3 wait already`; empty if there is nothing.
    pub(super) fn already(self) -> String {
        let mut parts: Vec<String> = Vec::new();
        match self.other.runs {
            0 => {}
            1 => parts.push("1 step of drift is repaired".to_owned()),
            runs => parts.push(format!("{runs} steps of drift are repaired")),
        }
        match self.other.held() {
            0 => {}
            1 => parts.push("1 step waits already".to_owned()),
            held => parts.push(format!("{held} steps wait already")),
        }
        parts.join(", ")
    }
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
    /// What stands behind them: nothing, or a space and more.
    pub(super) end: String,
}

/// How a step that waits comes to run.
pub(super) enum Release<'a> {
    /// A release names it.
    Named,
    /// A release names it with all others that the limit holds.
    Together,
    /// It follows one of these.
    After(&'a [StepId]),
    /// No release helps: a protected name, a missing precondition, a failure, a freeze.
    Never,
}

impl<'a> Release<'a> {
    fn of(reason: &'a Reason) -> Self {
        match reason {
            Reason::PendingSignature => Self::Named,
            Reason::Limit(_) => Self::Together,
            Reason::Needs(before) => Self::After(std::slice::from_ref(before)),
            Reason::Guardrail(_)
            | Reason::Precondition(_)
            | Reason::Until { .. }
            | Reason::Retry { .. }
            | Reason::NeedsOperator(_)
            | Reason::Frozen
            | Reason::Suspended(_) => Self::Never,
        }
    }

    /// Of a step that a ledger tells of, which has the code of its reason.
    pub(super) fn of_waiting(waiting: &'a Waiting) -> Self {
        match waiting.reason.as_str() {
            gate::PENDING_SIGNATURE => Self::Named,
            gate::LIMIT => Self::Together,
            gate::NEEDS => Self::After(&waiting.needs),
            _ => Self::Never,
        }
    }
}

/// The commands that release what can be released: one for each person and class, and one for all removals that a
/// limit holds together, because a release permits exactly that set or nothing of it.
///
/// A step that only follows a held one is left out when it is benign: it runs by itself once that one has run.
pub(super) fn commands<'a>(
    executor: &Executor,
    operator: Option<Operator<'_>>,
    held: impl Iterator<Item = (&'a Step, Class, Release<'a>)>,
) -> Vec<Command> {
    let mut releasable: BTreeSet<StepId> = BTreeSet::new();
    let mut together: Vec<StepId> = Vec::new();
    let mut alone: BTreeMap<(std::cmp::Reverse<Class>, &str), Vec<StepId>> = BTreeMap::new();
    for (step, class, release) in held {
        match release {
            Release::Named => {}
            Release::After(before)
                if class != Class::Benign && before.iter().any(|it| releasable.contains(it)) => {}
            Release::Together => {
                together.push(step.id);
                continue;
            }
            Release::After(_) | Release::Never => continue,
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
    let end = operator.map_or_else(String::new, |it| {
        let Operator { ledger, reason } = it;
        let [ledger, reason] = [ledger, reason].map(shell_word);
        format!(" --ledger {ledger} --reason {reason} --sign --push")
    });
    all.map(|steps| Command {
        start: start.clone(),
        steps,
        end: end.clone(),
    })
    .collect()
}

/// `text` as one word of a shell, in characters that are seen.
fn shell_word(text: &str) -> String {
    let plain = |it: char| it.is_ascii_alphanumeric() || "-_./:=@+~%".contains(it);
    if !text.is_empty() && text.chars().all(plain) {
        return text.to_owned();
    }
    let mut shown = String::new();
    escape::visible(&mut shown, text);
    format!("'{}'", shown.replace('\'', "'\\''"))
}

impl Command {
    /// The command as lines of which all but the last end in a backslash; one line when it is short.
    pub(super) fn lines(&self) -> Vec<String> {
        // So that nothing has to be scrolled to in a comment.
        match self.end.is_empty() {
            true => self.lines_of(3, 3),
            false => self.lines_of(2, 1),
        }
    }

    /// The same with so many ids in a line, and all behind the command itself if they are at most `beside`.
    pub(super) fn lines_of(&self, in_line: usize, beside: usize) -> Vec<String> {
        if self.steps.len() <= beside {
            let mut line = self.start.clone();
            self.steps.iter().for_each(|id| {
                let _ = write!(line, " {id}");
            });
            return match self.end.is_empty() {
                true => vec![line],
                false => vec![format!("{line} \\"), format!(" {}", self.end)],
            };
        }
        let mut lines = vec![self.start.clone()];
        for ids in self.steps.chunks(in_line) {
            let mut line = " ".to_owned();
            ids.iter().for_each(|id| {
                let _ = write!(line, " {id}");
            });
            lines.push(line);
        }
        if !self.end.is_empty() {
            lines.push(format!(" {}", self.end));
        }
        let last = lines.len() - 1;
        for line in &mut lines[..last] {
            line.push_str(" \\");
        }
        lines
    }
}
