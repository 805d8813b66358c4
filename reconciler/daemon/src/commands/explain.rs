//! `muster explain`: all there is to know about one step, wherever it is found: waiting, planned, or done.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::PathBuf;

use std::sync::Arc;

use muster_core::diagnostic::visible;
use muster_core::executor::Executor;
use muster_core::id::StepId;
use muster_core::ledger::held::Waiting;
use muster_core::price::Class;
use muster_core::report::{Paper, released_by, sentence, why_class};
use muster_core::rooms::{self, Known, Policy};
use muster_core::step::Step;
use muster_core::time::Time;
use muster_core::verb::VerbRow;
use serde_json::{Value, json};

use super::here::Those;
use super::history::{Event, StepEvent};
use super::ledgers::{Shelf, Shelves};
use super::pending::{Loss, loss};
use super::status::Format;
use super::{CommandError, Common, Output, ledgers, plan};
use crate::exit;
use crate::paint::paper;

/// Which step.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// Its id, or the first digits of it: at least four, and of no other step.
    step: String,
    /// Look into this ledger, at every host it has, in place of this host's.
    #[arg(long, value_name = "PATH")]
    ledger: Option<PathBuf>,
    /// For people or for programs.
    #[arg(long, value_enum, default_value_t = Format::Human)]
    format: Format,
    #[command(flatten)]
    here: Those,
}

/// What was found of a step.
struct Found {
    executor: Executor,
    words: String,
    /// The step itself, where more than its words is kept.
    step: Option<Arc<Step>>,
    waiting: Option<(Waiting, Option<Loss>)>,
    /// Planned now, and what it needs.
    planned: Option<Vec<StepId>>,
    /// What the ledger tells of it, newest first.
    past: Vec<(Time, String, StepEvent)>,
}

pub(super) fn run(args: &Args, common: &Common, out: &mut Output) -> Result<u8, CommandError> {
    let prefix = args.step.as_str();
    let is_hex = prefix
        .bytes()
        .all(|it| matches!(it, b'0'..=b'9' | b'a'..=b'f'));
    if !is_hex || !(4..=32).contains(&prefix.len()) {
        return Err(CommandError::Usage(format!(
            "{:?} is no step: write its id, or at least four of its first digits",
            visible(prefix)
        )));
    }
    let Shelves { all, here, .. } = ledgers::open(args.ledger.as_deref(), &args.here, common)?;
    let mut found = BTreeMap::new();
    for shelf in &all {
        look_into(
            shelf,
            prefix,
            here.as_ref().map(|it| it.settings.host.root.as_path()),
            &mut found,
        )?;
    }
    if found.is_empty()
        && let Some(here) = &here
    {
        for (executor, step, needs) in plan::steps_now(here)? {
            if step.id.to_string().starts_with(prefix) {
                let one = found.entry(step.id).or_insert_with(|| Found::of(&executor));
                one.words = step.words();
                one.step = Some(step);
                one.planned = Some(needs);
            }
        }
    }
    let mut found = found.into_iter();
    let (id, only) = match (found.next(), found.next()) {
        (None, _) => {
            return Err(CommandError::NotConfirmed(format!(
                "no step {prefix} waits, is planned, or is in the history; `muster pending` and `muster history` list them"
            )));
        }
        (Some(only), None) => only,
        (Some(first), Some(second)) => {
            let mut text = format!("{prefix} is the beginning of several steps: write more of it");
            for (id, one) in [first, second].into_iter().chain(found) {
                let _ = write!(text, "\n  {id} {}", one.words);
            }
            return Err(CommandError::NotConfirmed(text));
        }
    };
    let policy = match &here {
        Some(here) => here.settings.policy_of(&only.executor),
        None => Policy::built_in(&only.executor),
    };
    match args.format {
        Format::Human => out.text(&text(id, &only, &policy, paper()))?,
        Format::Json => out.line(format_args!("{:#}", as_json(id, &only, &policy)))?,
    }
    Ok(exit::OK)
}

/// Everything that a ledger has about steps whose id begins so.
fn look_into(
    shelf: &Shelf,
    prefix: &str,
    root: Option<&std::path::Path>,
    found: &mut BTreeMap<StepId, Found>,
) -> Result<(), CommandError> {
    let is_it = |id: &StepId| id.to_string().starts_with(prefix);
    let mut at = |id: StepId, words: &str, step: Option<&Arc<Step>>| {
        let one = found
            .entry(id)
            .or_insert_with(|| Found::of(&shelf.executor));
        words.clone_into(&mut one.words);
        if let Some(step) = step {
            one.step = Some(Arc::clone(step));
        }
    };
    let held = shelf.held()?.map_or_else(Vec::new, |it| it.held);
    let held: Vec<Waiting> = held.into_iter().filter(|it| is_it(&it.step.id)).collect();
    for waiting in &held {
        at(waiting.step.id, &waiting.words, Some(&waiting.step));
    }
    let facts = shelf.facts()?;
    let record = facts.iter().flat_map(|it| &it.record);
    for done in record.filter(|it| is_it(&it.step.id)) {
        at(done.step.id, &done.step.words(), Some(&done.step));
    }
    let mut past = Vec::new();
    for entry in shelf.log(usize::MAX)? {
        let event = Event::read(&entry);
        let authority = event.authority();
        for told in event.steps.into_iter().filter(|it| is_it(&it.id)) {
            at(told.id, &told.words, None);
            past.push((event.at, authority.clone(), told));
        }
    }
    for (when, authority, told) in past {
        if let Some(one) = found.get_mut(&told.id) {
            one.past.push((when, authority, told));
        }
    }
    for waiting in held {
        if let Some(one) = found.get_mut(&waiting.step.id) {
            let loss = loss(&waiting, root);
            one.waiting = Some((waiting, loss));
        }
    }
    Ok(())
}

impl Found {
    fn of(executor: &Executor) -> Self {
        Self {
            executor: executor.clone(),
            words: String::new(),
            step: None,
            waiting: None,
            planned: None,
            past: Vec::new(),
        }
    }

    fn verb(&self) -> Option<&'static VerbRow> {
        let word = self.words.split(' ').next()?;
        rooms::verbs().find(|it| it.word == word)
    }

    /// Its class, and why.
    fn class(&self, policy: &Policy) -> Option<(Class, String)> {
        let step = self.step.as_ref()?;
        let known = Known::new(policy.executor().kind());
        let mut price = rooms::price(&step.action, policy, None, &known);
        if let Some((waiting, _)) = &self.waiting {
            price.as_planned(waiting.class);
        }
        Some((price.class, why_class(&step.action, &price)))
    }

    fn needs(&self) -> &[StepId] {
        match (&self.waiting, &self.planned) {
            (Some((waiting, _)), _) => &waiting.needs,
            (None, Some(needs)) => needs,
            (None, None) => &[],
        }
    }
}

fn text(id: StepId, found: &Found, policy: &Policy, paper: Paper) -> String {
    let mut out = String::new();
    let mut line = |name: &str, value: &str| {
        paper.wrapped(&mut out, &format!("{name:<9} "), 10, value);
    };
    line("step", &id.to_string());
    line("executor", &found.executor.to_string());
    line("words", &found.words);
    let mut class_of = Class::Benign;
    if let Some(step) = &found.step {
        line("would", &sentence(&step.action));
        line("expects", &step.incarnation.to_string());
    }
    match found.class(policy) {
        Some((class, why)) => {
            class_of = class;
            line("class", &format!("{class}: {}", visible(&why)));
        }
        None => line("class", "no longer known: only its words are kept"),
    }
    for need in found.needs() {
        line("needs", &need.to_string());
    }
    if let Some((waiting, loss)) = &found.waiting {
        let Waiting {
            reason,
            text,
            since,
            ..
        } = waiting;
        line(
            "waits",
            &format!("since {since}: {} ({reason})", visible(text)),
        );
        line("released", &format!("by {}", released_by(reason, class_of)));
        if let Some(words) = loss.as_ref().and_then(Loss::words) {
            line("destroys", &words);
        }
    }
    if found.planned.is_some() {
        line("planned", "for the next cycle: nothing of it was begun");
    }
    for (at, authority, told) in &found.past {
        let result = match &told.why {
            Some(why) => format!("{}: {why}", told.result),
            None => told.result.clone(),
        };
        line(
            if told.result == "done" {
                "done"
            } else {
                "tried"
            },
            &format!("{at}, {authority} ({result})"),
        );
    }
    if let Some(verb) = found.verb() {
        line("undone", &format!("by {}", verb.undone_by));
    }
    out
}

fn as_json(id: StepId, found: &Found, policy: &Policy) -> Value {
    let class = found.class(policy);
    let step = found.step.as_ref();
    json!({
        "format": 1,
        "id": id,
        "executor": found.executor,
        "words": found.words,
        "verb": found.verb().map(|it| it.word),
        "user": step.map(|it| it.resource()),
        "parameters": step.map(|it| muster_core::id::parameters(it.action.spelled())),
        "incarnation": step.map(|it| it.incarnation.to_string()),
        "class": class.as_ref().map(|it| it.0),
        "why_class": class.as_ref().map(|it| &it.1),
        "needs": found.needs(),
        "held": found.waiting.as_ref().map(|(it, loss)| json!({
            "reason": it.reason,
            "text": it.text,
            "since": it.since.to_string(),
            "released_by": released_by(&it.reason, it.class),
            "destroys": loss.as_ref().map(Loss::json),
        })),
        "planned": found.planned.is_some(),
        "history": found.past.iter().map(|(at, authority, told)| json!({
            "at": at.to_string(),
            "authority": authority,
            "result": told.result,
            "why": told.why,
        })).collect::<Vec<_>>(),
        "undone_by": found.verb().map(|it| it.undone_by),
    })
}
