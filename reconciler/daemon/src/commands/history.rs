//! `muster history`: what was done, out of the ledger's own history, which nobody can rewrite unseen.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::num::NonZeroUsize;
use std::path::PathBuf;
use std::sync::Arc;

use muster_core::commit::CommitId;
use muster_core::diagnostic::visible;
use muster_core::executor::Executor;
use muster_core::id::StepId;
use muster_core::report::{Paper, Tint, sentence_below};
use muster_core::rooms;
use muster_core::step::Step;
use muster_core::time::{Counted, Time};
use muster_git::ledger::LogEntry;
use serde_json::{Value, json};

use super::here::Those;
use super::ledgers::Shelf;
use super::status::Format;
use super::{CommandError, Common, Output, ledgers, now};
use crate::exit;
use crate::paint::paper;

/// What is told of.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// At most so many, the newest; at least one.
    #[arg(short = 'n', value_name = "NUMBER", default_value = "20")]
    number: NonZeroUsize,
    /// Nothing older: a date, a time, or a length of time such as 8h or 3d.
    #[arg(long, value_name = "DATE|DURATION")]
    since: Option<String>,
    /// Only what was done for this person.
    #[arg(long, value_name = "USER")]
    user: Option<String>,
    /// Look into this ledger, at every host it has, in place of this host's.
    #[arg(long, value_name = "PATH")]
    ledger: Option<PathBuf>,
    /// For people or for programs.
    #[arg(long, value_enum, default_value_t = Format::Human)]
    format: Format,
    #[command(flatten)]
    here: Those,
}

pub(super) fn run(args: &Args, common: &Common, out: &mut Output) -> Result<u8, CommandError> {
    let since = args
        .since
        .as_deref()
        .map(|text| Time::from_words(text, now(), Counted::Back))
        .transpose()
        .map_err(|error| CommandError::Usage(format!("--since: {error}")))?;
    let shelves = ledgers::open(args.ledger.as_deref(), &args.here, common)?;
    let mut told: Vec<(&Shelf, Event)> = Vec::new();
    for shelf in &shelves.all {
        let events = newest(shelf, args, since)?;
        told.extend(events.into_iter().map(|it| (shelf, it)));
    }
    // Several hosts' in one; of one moment, in the order of the hosts.
    told.sort_by_key(|(_, event)| std::cmp::Reverse(event.at));
    told.truncate(args.number.get());
    match args.format {
        Format::Human if told.is_empty() => out.line("Nothing was done.")?,
        Format::Human => {
            for (shelf, event) in &told {
                out.text(&text(&shelf.executor, event, &kept(shelf, event), paper()))?;
            }
        }
        Format::Json => {
            let events: Vec<Value> = told
                .iter()
                .map(|(shelf, it)| as_json(&shelf.executor, it))
                .collect();
            out.line(format_args!(
                "{:#}",
                json!({ "format": 1, "events": events })
            ))?;
        }
    }
    Ok(exit::OK)
}

/// The steps of an event as the ledger had them word for word when it told of it: of those, more can be said than their words.
fn kept(shelf: &Shelf, event: &Event) -> BTreeMap<StepId, Arc<Step>> {
    if event.steps.is_empty() {
        return BTreeMap::new();
    }
    let all = shelf.steps_at(&event.ledger_commit).into_iter();
    all.map(|it| (it.id, it)).collect()
}

/// The events of one ledger that are asked for, newest first. More of the log is read until there are enough.
fn newest(shelf: &Shelf, args: &Args, since: Option<Time>) -> Result<Vec<Event>, CommandError> {
    let mut limit = args.number.get().saturating_mul(4).max(64);
    loop {
        let log = shelf.log(limit)?;
        let all = log.len() < limit;
        let late = |it: &&LogEntry| since.is_none_or(|since| it.time >= since.0);
        let over = log.iter().any(|it| !late(&it));
        let events: Vec<Event> = log
            .iter()
            .take_while(late)
            .filter_map(|it| Event::read(it).about(args.user.as_deref()))
            .take(args.number.get())
            .collect();
        if all || over || events.len() >= args.number.get() {
            return Ok(events);
        }
        limit = limit.saturating_mul(4);
    }
}

/// What one commit of the ledger tells.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Event {
    pub(super) at: Time,
    pub(super) ledger_commit: CommitId,
    /// The adopted commit.
    pub(super) commit: String,
    pub(super) decisions: Vec<String>,
    pub(super) steps: Vec<StepEvent>,
    pub(super) held: usize,
}

/// What it tells of one step.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct StepEvent {
    pub(super) id: StepId,
    pub(super) words: String,
    pub(super) result: String,
    pub(super) why: Option<String>,
}

impl StepEvent {
    pub(super) fn verb(&self) -> &str {
        self.words.split(' ').next().unwrap_or_default()
    }

    fn user(&self) -> &str {
        self.words.split(' ').nth(1).unwrap_or_default()
    }

    /// What it did, by its words alone: what its verb does and to what, and with which parameters.
    fn by_its_words(&self) -> String {
        let verb = rooms::verbs().find(|it| it.word == self.verb());
        let mut said = match verb {
            Some(verb) => format!("{} {}", verb.does, verb.one),
            None => self.verb().to_owned(),
        };
        let parameters: Vec<String> = (self.words.split(' ').skip(2))
            .map(|it| it.replacen('=', " ", 1))
            .collect();
        if !parameters.is_empty() {
            let _ = write!(said, " ({})", parameters.join(", "));
        }
        said
    }

    /// `<id> <words> (<result>: <why>)`; words have neither brackets nor more spaces than there are parameters.
    fn read(line: &str) -> Option<Self> {
        let (id, rest) = line.split_once(' ')?;
        let (words, result) = rest.split_once(" (")?;
        let result = result.strip_suffix(')')?;
        let (result, why) = match result.split_once(": ") {
            Some((result, why)) => (result, Some(why.to_owned())),
            None => (result, None),
        };
        Some(Self {
            id: id.parse().ok()?,
            words: words.to_owned(),
            result: result.to_owned(),
            why,
        })
    }
}

impl Event {
    pub(super) fn read(entry: &LogEntry) -> Self {
        let mut event = Self {
            at: Time(entry.time),
            ledger_commit: entry.commit.clone(),
            commit: String::new(),
            decisions: Vec::new(),
            steps: Vec::new(),
            held: 0,
        };
        for line in entry.message.lines() {
            if let Some(decision) = line.strip_prefix("* ") {
                event.decisions.push(decision.to_owned());
            } else if let Some(commit) = line.strip_prefix("Commit: ") {
                event.commit = commit.to_owned();
            } else if let Some(told) = StepEvent::read(line) {
                if told.result == "held" {
                    event.held += 1;
                } else {
                    event.steps.push(told);
                }
            }
        }
        event
    }

    /// The part about one person; nothing, when nothing was decided or done.
    fn about(mut self, user: Option<&str>) -> Option<Self> {
        if let Some(user) = user {
            self.steps.retain(|it| it.user() == user);
            self.decisions.clear();
        }
        (!self.steps.is_empty() || !self.decisions.is_empty()).then_some(self)
    }

    /// By what right the steps ran.
    pub(super) fn authority(&self) -> String {
        match self.commit.get(..12) {
            Some(short) => format!("asked for by commit {short}"),
            None => "not recorded".to_owned(),
        }
    }

    fn count(&self, result: impl Fn(&str) -> bool) -> usize {
        self.steps.iter().filter(|it| result(&it.result)).count()
    }
}

fn as_json(executor: &Executor, event: &Event) -> Value {
    let steps = event.steps.iter().map(|it| {
        json!({
            "id": it.id,
            "verb": it.verb(),
            "user": it.user(),
            "words": it.words,
            "result": it.result,
            "why": it.why,
        })
    });
    json!({
        "at": event.at.to_string(),
        "executor": executor,
        "ledger_commit": event.ledger_commit.as_str(),
        "commit": event.commit,
        "authority": event.authority(),
        "decisions": event.decisions,
        "done": event.count(|it| it == "done"),
        "failed": event.count(|it| it != "done"),
        "held": event.held,
        "steps": steps.collect::<Vec<_>>(),
    })
}

/// An event for people: person by person, what was done in one sentence, and what was not, with the reason.
fn text(
    executor: &Executor,
    event: &Event,
    kept: &BTreeMap<StepId, Arc<Step>>,
    paper: Paper,
) -> String {
    let mut out = String::new();
    let failed = event.count(|it| it != "done");
    let mut counts = format!("{} done", event.count(|it| it == "done"));
    if failed > 0 {
        let _ = write!(counts, ", {failed} failed");
    }
    if event.held > 0 {
        let _ = write!(counts, ", {} held", event.held);
    }
    let tint = if failed > 0 {
        Tint::Alarm
    } else {
        Tint::Strong
    };
    let when = format!("{}  ", event.at);
    let text = format!("{executor}  {counts}");
    paper.tinted(&mut out, &when, 2, Some(tint), &text);
    for decision in &event.decisions {
        paper.wrapped(&mut out, "  decided  ", 11, decision);
    }
    if !event.steps.is_empty() {
        paper.wrapped(&mut out, "  by       ", 11, &event.authority());
    }
    let said = |step: &StepEvent| match kept.get(&step.id) {
        Some(step) => sentence_below(&step.action),
        None => step.by_its_words(),
    };
    // By whose right, person by person; each in the order of what was done first.
    let mut done: Vec<(&str, Option<&str>, Vec<String>)> = Vec::new();
    for step in event.steps.iter().filter(|it| it.result == "done") {
        let (user, by) = (step.user(), step.why.as_deref());
        match done.iter_mut().find(|it| (it.0, it.1) == (user, by)) {
            Some((_, _, all)) => all.push(said(step)),
            None => done.push((user, by, vec![said(step)])),
        }
    }
    for (user, by, all) in done {
        let mut text = all.join("; ");
        if let Some(by) = by {
            let _ = write!(text, " ({by})");
        }
        let lead = format!("  done     {}  ", visible(user));
        paper.wrapped(&mut out, &lead, 11, &text);
    }
    for step in event.steps.iter().filter(|it| it.result != "done") {
        let why = step.why.as_deref().unwrap_or(&step.result);
        let id = &step.id.to_string()[..8];
        let text = format!("{}: {why} (step {id})", said(step));
        let lead = format!("  failed   {}  ", visible(step.user()));
        paper.tinted(&mut out, &lead, 11, Some(Tint::Alarm), &text);
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_commit_of_the_ledger_is_read_back() {
        let id = "0123456789abcdef0123456789abcdef";
        let message = format!(
            "aaaaaaaaaaaa: 1 done, 1 failed, 1 held\n\n* adopted {0}\n{id} user.create ann uid=1000 (done)\n\
             {id} home.create ann home=/home/ann (failed: no (more) room: none)\n\
             {id} user.archive_delete bob uid=1 (held: pending_signature)\n\nCommit: {0}\n",
            "a".repeat(40)
        );
        let entry = LogEntry {
            commit: "b".repeat(40).parse().unwrap(),
            time: 1_795_361_159,
            message,
        };
        let event = Event::read(&entry);
        assert_eq!(event.steps.len(), 2);
        assert_eq!(event.steps[1].why.as_deref(), Some("no (more) room: none"));
        assert_eq!(
            text(
                &Executor::Host("devvm".to_owned()),
                &event,
                &BTreeMap::new(),
                Paper::PLAIN
            ),
            format!(
                "2026-11-22T15:25:59Z  host/devvm  1 done, 1 failed, 1 held\n  decided  adopted {}\n  \
                 by       asked for by commit aaaaaaaaaaaa\n  done     ann  create account (uid 1000)\n  \
                 failed   ann  make home (home /home/ann): no (more) room: none (step 01234567)\n",
                "a".repeat(40)
            )
        );
        assert_eq!(event.clone().about(Some("bob")), None);
        assert_eq!(event.about(Some("ann")).unwrap().decisions.len(), 0);
    }
}
