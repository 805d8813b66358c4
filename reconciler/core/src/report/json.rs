//! A plan for programs. Its shape is documented for those who read it, and a field once there stays.

use serde::Serialize;
use std::collections::BTreeMap;

use super::view::{Sum, View};
use super::{Host, Problem, ReportState, Section};
use crate::commit::CommitId;
use crate::executor::Executor;
use crate::facts::Facts;
use crate::id::{self, StepId};
use crate::plan::Note;
use crate::price::Class;
use crate::time::{Date, Time};

/// The format of what [`plan`] and [`invalid_plan`] write.
const FORMAT: u32 = 1;

/// What a plan was made from, beside the plan.
#[derive(Clone, Copy, Debug)]
pub struct Basis<'a> {
    /// The commit that was planned.
    pub commit: &'a CommitId,
    /// The day it was planned for, in UTC.
    pub today: Date,
    /// When the host was read, if that was before now.
    pub recorded: ReadAt,
    /// Where the policy is from.
    pub policy: PolicyFrom,
    /// The moment of the plan.
    pub now: Time,
    /// The newest commit of the branch and what is wrong in it, where the plan is of the adopted one in its place.
    pub refused: Option<(&'a CommitId, &'a [Problem])>,
    /// What a comment on it tells beside the plan.
    pub sections: &'a [Section<'a>],
}

/// When the host was read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ReadAt {
    /// Just now.
    Live,
    /// Then, and written down.
    At(Time),
}

/// Where the policy of a plan is from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum PolicyFrom {
    /// What the host wrote into its ledger.
    Ledger,
    /// The settings of the machine that planned.
    Settings,
    /// There were none: what an empty settings file means.
    BuiltIn,
}

#[derive(Serialize)]
struct Document<'a> {
    format: u32,
    executor: String,
    commit: &'a CommitId,
    date: String,
    policy: PolicyFrom,
    inventory: InventoryAge,
    frozen: Option<String>,
    suspended: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    refused: Option<NotFollowed<'a>>,
    counts: Numbers,
    problems: Vec<Wrong<'a>>,
    steps: Vec<Line<'a>>,
    notes: Vec<JsonNote>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    sections: Vec<Beside<'a>>,
}

#[derive(Serialize)]
struct Beside<'a> {
    title: &'a str,
    good: bool,
    line: &'a str,
    items: Vec<BesideItem<'a>>,
}

#[derive(Serialize)]
struct BesideItem<'a> {
    text: &'a str,
    below: &'a [String],
}

impl<'a> From<&'a Section<'a>> for Beside<'a> {
    fn from(section: &'a Section<'a>) -> Self {
        let items = section.items.iter();
        Self {
            title: section.title,
            good: section.state == ReportState::Success,
            line: section.line,
            items: items
                .map(|(text, below)| BesideItem { text, below })
                .collect(),
        }
    }
}

#[derive(Serialize)]
struct InventoryAge {
    source: &'static str,
    recorded: String,
    age_seconds: i64,
}

#[derive(Default, Serialize)]
struct Numbers {
    steps: usize,
    admitted: usize,
    held: usize,
    benign: usize,
    privileged: usize,
    destructive: usize,
}

#[derive(Serialize)]
struct Line<'a> {
    id: StepId,
    verb: &'static str,
    user: &'a str,
    parameters: BTreeMap<&'static str, String>,
    words: String,
    class: Class,
    needs: &'a [StepId],
    verdict: &'static str,
    reason: Option<&'static str>,
    text: Option<String>,
}

#[derive(Serialize)]
struct JsonNote {
    kind: &'static str,
    attention: bool,
    text: String,
}

#[derive(Serialize)]
struct NotFollowed<'a> {
    commit: &'a CommitId,
    problems: Vec<Wrong<'a>>,
}

#[derive(Serialize)]
struct Wrong<'a> {
    place: &'a str,
    rule: &'a str,
    text: &'a str,
    help: Option<&'a str>,
}

impl From<&Note> for JsonNote {
    fn from(note: &Note) -> Self {
        Self {
            kind: note.kind(),
            attention: note.needs_attention(),
            text: note.to_string(),
        }
    }
}

/// One host's plan: every step with its verdict, and every note.
pub fn plan(basis: &Basis<'_>, host: &Host<'_>, facts: &Facts) -> String {
    let view = View::of(host);
    let sum = Sum::of(&view.steps);
    let of = |class: Class| view.steps.iter().filter(|it| it.class == class).count();
    let needs: BTreeMap<StepId, &[StepId]> = host
        .plan
        .steps()
        .iter()
        .map(|it| (it.step.id, it.needs.as_slice()))
        .collect();
    let steps = view.steps.iter().map(|it| Line {
        id: it.step.id,
        verb: it.step.action.spelled().word(),
        user: it.step.resource(),
        parameters: id::parameters(it.step.action.spelled()),
        words: it.step.words(),
        class: it.class,
        needs: needs.get(&it.step.id).copied().unwrap_or_default(),
        verdict: if it.held.is_some() {
            "held"
        } else {
            "admitted"
        },
        reason: it.held.map(|reason| reason.code()),
        text: it.held.map(ToString::to_string),
    });
    let mut document = empty(basis, view.executor);
    document.frozen = facts.frozen.as_ref().map(ToString::to_string);
    document.suspended = facts.suspension_at(basis.now).map(ToString::to_string);
    document.counts = Numbers {
        steps: sum.steps(),
        admitted: sum.runs,
        held: sum.held(),
        benign: of(Class::Benign),
        privileged: of(Class::Privileged),
        destructive: of(Class::Destructive),
    };
    document.steps = steps.collect();
    document.notes = view.notes.iter().map(JsonNote::from).collect();
    written(&document)
}

/// The same for a commit that cannot be planned, because of `problems`.
pub fn invalid_plan(basis: &Basis<'_>, executor: &Executor, problems: &[Problem]) -> String {
    let mut document = empty(basis, executor);
    document.problems = wrong(problems);
    written(&document)
}

fn wrong(problems: &[Problem]) -> Vec<Wrong<'_>> {
    let all = problems.iter().map(|it| Wrong {
        place: &it.place,
        rule: &it.rule,
        text: &it.text,
        help: it.help.as_deref(),
    });
    all.collect()
}

fn empty<'a>(basis: &Basis<'a>, executor: &Executor) -> Document<'a> {
    let (source, at) = match basis.recorded {
        ReadAt::Live => ("host", basis.now),
        ReadAt::At(at) => ("recorded", at),
    };
    Document {
        format: FORMAT,
        executor: executor.to_string(),
        commit: basis.commit,
        date: basis.today.to_string(),
        policy: basis.policy,
        inventory: InventoryAge {
            source,
            recorded: at.to_string(),
            age_seconds: basis.now.0.saturating_sub(at.0).max(0),
        },
        frozen: None,
        suspended: None,
        refused: basis.refused.map(|(commit, problems)| NotFollowed {
            commit,
            problems: wrong(problems),
        }),
        counts: Numbers::default(),
        problems: Vec::new(),
        steps: Vec::new(),
        notes: Vec::new(),
        sections: basis.sections.iter().map(Beside::from).collect(),
    }
}

fn written(document: &Document<'_>) -> String {
    let mut text = serde_json::to_string_pretty(document).expect("plain records always serialise");
    text.push('\n');
    text
}
