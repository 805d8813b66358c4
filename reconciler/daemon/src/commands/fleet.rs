//! `muster status --fleet`: how every host stands, out of the ledgers that they push. Read only, from anywhere.
//!
//! What is said here is what the ledgers say; whose word it is, the bot checks by the hosts' keys.

use std::fmt::Write as _;

use muster_core::diagnostic::visible;
use muster_core::executor::Executor;
use muster_core::facts::Facts;
use muster_core::fleet::alive::{self, Alive};
use muster_core::id::StepId;
use muster_core::ledger::held::{self, HeldSteps};
use muster_core::report::{Paper, Tint, Unknown, freshness};
use muster_core::time::Time;
use serde_json::{Value, json};

use super::here::Those;
use super::ledgers::{self, Shelf};
use super::status::Format;
use super::{CommandError, Common, Output, now};
use crate::exit;
use crate::paint::paper;

/// What is unheard of for so long is said to be, where no settings say how long, in seconds.
const STALE: u32 = 900;

/// One host.
struct Row {
    executor: Executor,
    told: Result<Heard, String>,
}

/// What it told last.
struct Heard {
    facts: Facts,
    held: Option<HeldSteps>,
    /// How long a step that failed waits for its next try there, in seconds.
    retry_after: u32,
    alive: Option<Alive>,
    read: Time,
}

pub(super) fn status(
    named: Option<&str>,
    those: &Those,
    format: Format,
    common: &Common,
    out: &mut Output,
) -> Result<u8, CommandError> {
    let shelves = ledgers::fleet(named, those, common)?;
    let stale = shelves.stale.unwrap_or(STALE);
    let now = now();
    let rows: Vec<Row> = shelves
        .all
        .iter()
        .map(|shelf| Row {
            executor: shelf.executor.clone(),
            told: heard(shelf),
        })
        .collect();
    match format {
        Format::Human => out.text(&text(&rows, now, stale, paper()))?,
        Format::Json => {
            let rows: Vec<Value> = rows.iter().map(|it| as_json(it, now, stale)).collect();
            let all = json!({ "format": 1, "executors": rows });
            out.line(format_args!("{all:#}"))?;
        }
    }
    Ok(
        match rows.iter().all(|it| state(it, now, stale).is_well()) {
            true => exit::OK,
            false => exit::FAILED,
        },
    )
}

fn heard(shelf: &Shelf) -> Result<Heard, String> {
    let failed = |error: CommandError| crate::cycle::chain(&error);
    let facts = shelf.facts().map_err(failed)?;
    let (facts, head) = facts
        .zip(shelf.head().map_err(failed)?)
        .ok_or("its ledger is empty")?;
    let files = shelf.alive().map_err(failed)?;
    let alive = files.and_then(|it| Alive::read(it.get(alive::FILE)?));
    Ok(Heard {
        held: shelf.held().map_err(failed)?,
        retry_after: shelf.policy().map_err(failed)?.limits().retry_after,
        read: Alive::read_of(alive.as_ref(), &head.commit, Time(head.time)),
        facts,
        alive,
    })
}

/// How a host stands, the worst first.
enum State<'a> {
    Unreadable(&'a str),
    Frozen(String),
    Silent(Time),
    Ahead(Time),
    NeedsOperator(usize),
    Unread(&'a str),
    Refused(String),
    Suspended(String),
    Failing(usize),
    Well,
}

fn state(row: &Row, now: Time, stale: u32) -> State<'_> {
    let Heard {
        facts,
        read,
        held,
        retry_after,
        alive,
    } = match &row.told {
        Ok(heard) => heard,
        Err(why) => return State::Unreadable(why),
    };
    if let Some(frozen) = &facts.frozen {
        return State::Frozen(frozen.to_string());
    }
    match freshness::<&str>(*read, now, stale) {
        Ok(_) => {}
        Err(Unknown::Ahead { .. }) => return State::Ahead(*read),
        Err(_) => return State::Silent(*read),
    }
    // What nobody asks for any more, the history tells.
    let is_asked = |id: &&StepId| {
        held.as_ref()
            .is_none_or(|it| it.unread.is_some() || it.waits_for(**id))
    };
    let needing = facts.needs_operator.keys().filter(is_asked).count();
    if needing > 0 {
        return State::NeedsOperator(needing);
    }
    if let Some(first) = alive.as_ref().and_then(|it| it.unread.first()) {
        return State::Unread(first);
    }
    if let Some(attempted) = &facts.attempted {
        return State::Refused(format!(
            "{}: {}",
            attempted.commit.short(),
            attempted.problem
        ));
    }
    if let Some(suspended) = facts.suspension_at(now) {
        return State::Suspended(suspended.to_string());
    }
    let failing = held::prospects(facts, held.as_ref(), *retry_after).into_iter();
    match failing.filter(|(.., it)| it.is_failing()).count() {
        0 => State::Well,
        failing => State::Failing(failing),
    }
}

impl State<'_> {
    fn is_well(&self) -> bool {
        match self {
            Self::Well | Self::Suspended(_) => true,
            Self::Unreadable(_)
            | Self::Frozen(_)
            | Self::Silent(_)
            | Self::Ahead(_)
            | Self::NeedsOperator(_)
            | Self::Unread(_)
            | Self::Refused(_)
            | Self::Failing(_) => false,
        }
    }

    fn word(&self) -> &'static str {
        match self {
            Self::Unreadable(_) => "unreadable",
            Self::Frozen(_) => "frozen",
            Self::Silent(_) => "silent",
            Self::Ahead(_) => "clock ahead",
            Self::NeedsOperator(_) => "needs operator",
            Self::Unread(_) => "not read",
            Self::Refused(_) => "refused",
            Self::Suspended(_) => "suspended",
            Self::Failing(_) => "failing",
            Self::Well => "well",
        }
    }

    fn why(&self) -> Option<String> {
        match self {
            Self::Well => None,
            Self::Unreadable(why) | Self::Unread(why) => Some(visible(why)),
            Self::Frozen(why) | Self::Refused(why) | Self::Suspended(why) => Some(visible(why)),
            Self::Silent(read) => Some(format!("last heard of at {read}")),
            Self::Ahead(read) => Some(format!(
                "it was {read} by its clock when it told: its clock is wrong, or the one here"
            )),
            Self::NeedsOperator(1) => Some("1 step was brought to no end".to_owned()),
            Self::NeedsOperator(steps) => Some(format!("{steps} steps were brought to no end")),
            Self::Failing(1) => Some("1 step fails, and is tried again".to_owned()),
            Self::Failing(steps) => Some(format!("{steps} steps fail, and are tried again")),
        }
    }
}

fn text(rows: &[Row], now: Time, stale: u32, paper: Paper) -> String {
    let mut out = String::new();
    let width = rows
        .iter()
        .map(|it| it.executor.to_string().len())
        .max()
        .unwrap_or(0);
    let mut well = 0;
    let mut waiting = 0;
    for row in rows {
        let state = state(row, now, stale);
        let (adopted, held) = match &row.told {
            Ok(heard) => (
                heard.facts.adopted.short(),
                heard.held.as_ref().map_or(0, |it| it.held.len()),
            ),
            Err(_) => ("-", 0),
        };
        waiting += held;
        well += usize::from(state.is_well());
        let word = format!("{:<14}", state.word());
        let word = match state.is_well() {
            true => word,
            false => paper.tint(Tint::Alarm, &word),
        };
        let held = match held {
            0 => String::new(),
            held => paper.tint(Tint::Warn, &format!("  {held} held")),
        };
        let why = state.why().map_or_else(String::new, |it| format!("  {it}"));
        let _ = writeln!(
            out,
            "{:<width$}  {word}  {adopted:<12}{held}{why}",
            row.executor.to_string()
        );
    }
    let hosts = rows.len();
    let _ = writeln!(
        out,
        "{well} of {hosts} {} well, {waiting} {} held",
        if hosts == 1 { "host" } else { "hosts" },
        if waiting == 1 { "step" } else { "steps" },
    );
    out
}

fn as_json(row: &Row, now: Time, stale: u32) -> Value {
    let state = state(row, now, stale);
    let heard = row.told.as_ref().ok();
    json!({
        "executor": row.executor,
        "state": state.word(),
        "why": state.why(),
        "adopted": heard.map(|it| it.facts.adopted.as_str()),
        "attempted": heard.and_then(|it| it.facts.attempted.as_ref()).map(|it| it.commit.as_str()),
        "read": heard.map(|it| it.read.to_string()),
        "version": heard.and_then(|it| it.alive.as_ref()).map(|it| it.version.as_str()),
        "held": heard.and_then(|it| it.held.as_ref()).map(|it| it.held.len()),
        "people": heard.map(|it| it.facts.known.accounts().people.len()),
    })
}
