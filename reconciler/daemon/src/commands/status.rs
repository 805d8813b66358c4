//! `muster status`: how the executor stands, read without the lock and without changing anything.

use std::collections::BTreeMap;
use std::fmt::{self, Write as _};
use std::path::Path;
use std::sync::Arc;

use clap::ValueEnum;
use muster_core::clock::Moment;
use muster_core::commit::CommitId;
use muster_core::diagnostic::visible;
use muster_core::executor::Executor;
use muster_core::facts::{Attempted, Facts, Failure};
use muster_core::gate;
use muster_core::id::StepId;
use muster_core::ink::count;
use muster_core::ledger::held::{self, HeldSteps, Prospect, Waiting};
use muster_core::people::Stage;
use muster_core::price::Class;
use muster_core::release::claim::Progress;
use muster_core::release::root::TrustRoot;
use muster_core::report::{Paper, Tint, sentence_below};
use muster_core::step::Step;
use muster_core::time::Time;
use muster_core::world::TrustStore as _;
use serde_json::{Value, json};

use super::here::{self, Those};
use super::{CommandError, Common, Output, now};
use crate::clock;
use crate::cycle::chain;
use crate::daemon::trouble::{self, Trouble};
use crate::exit;
use crate::host_key;
use crate::last_cycle::{Keeper, LastCycle};
use crate::paint::paper;
use crate::push;
use crate::reader;
use crate::refused_tags::RefusedTags;
use crate::settings::{ExecutorSettings, Settings, unit_of};
use crate::state_dir::{Holder, Lock, StateDir};
use crate::trust::TrustFile;

/// How many refused releases are told one by one, the newest.
const REFUSALS: usize = 5;

/// How to say it.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// Only this person: how far they are, what waits for them, what was done last.
    #[arg(value_name = "USER", conflicts_with = "fleet")]
    user: Option<String>,
    /// For people or for programs.
    #[arg(long, value_enum, default_value_t = Format::Human)]
    format: Format,
    /// Every host that pushes its ledger, in place of this one.
    #[arg(long)]
    fleet: bool,
    /// Where the fleet's ledgers are, in place of what the settings say: a repository, or where git fetches it from.
    #[arg(long, value_name = "WHERE", requires = "fleet")]
    ledger: Option<String>,
    #[command(flatten)]
    here: Those,
}

/// For whom something is said.
#[derive(Clone, Copy, Debug, ValueEnum)]
pub(super) enum Format {
    /// For people.
    #[value(alias = "text")]
    Human,
    /// For programs.
    Json,
}

pub(super) fn run(args: &Args, common: &Common, out: &mut Output) -> Result<u8, CommandError> {
    if args.fleet {
        let named = args.ledger.as_deref();
        return super::fleet::status(named, &args.here, args.format, common, out);
    }
    let settings = common.settings()?;
    let all = args.here.of(&settings)?;
    if let (Format::Json, [_, _, ..]) = (args.format, all.as_slice()) {
        let mut code = exit::OK;
        let executors: Vec<Value> = all
            .iter()
            .map(|here| match ExecutorStatus::of(here, &settings) {
                Ok(standing) => {
                    if !standing.matters.is_empty() {
                        code = exit::FAILED;
                    }
                    standing.json()
                }
                Err(error) => {
                    code = exit::FAILED;
                    json!({ "executor": here.executor, "error": chain(&error) })
                }
            })
            .collect();
        let all = json!({ "format": 1, "executors": executors });
        out.line(format_args!("{all:#}"))?;
        return Ok(code);
    }
    let mut is_known = args.user.is_none();
    let code = here::for_each(&all, out, |here, out| {
        let standing = ExecutorStatus::of(here, &settings)?;
        match (args.format, &args.user) {
            (Format::Human, Some(user)) => is_known |= standing.tell_of(user, out)?,
            (Format::Human, None) => standing.tell(out)?,
            (Format::Json, _) => out.line(format_args!("{:#}", standing.json()))?,
        }
        Ok(match standing.matters.is_empty() {
            true => exit::OK,
            false => exit::FAILED,
        })
    })?;
    // A name that was mistyped is not somebody of whom all is well.
    Ok(match is_known || matches!(args.format, Format::Json) {
        true => code,
        false => code.max(exit::FAILED),
    })
}

/// How one executor stands.
struct ExecutorStatus {
    facts: Facts,
    moment: Moment,
    holder: Option<Holder>,
    in_doubt: usize,
    refused_tags: usize,
    trouble: Option<Trouble>,
    /// How the last cycle went.
    last: Option<LastCycle>,
    /// What waits, as the ledger says; `None` where no cycle has said it yet.
    held: Option<HeldSteps>,
    /// Whether the journal has outcomes that are not in the ledger yet, as after a kill: what waits was said before them.
    is_behind: bool,
    /// How long a step that failed waits for its next try, in seconds.
    retry_after: u32,
    /// The root of trust as it is in its file, which the next cycle takes up.
    trust: Result<Option<Arc<TrustRoot>>, String>,
    /// What is not in order, each in a sentence (O4). Empty means that all is well.
    matters: Vec<String>,
    /// Its key, or why there is none.
    key: Result<String, String>,
    pushed: Option<Pushed>,
    reads: Option<reader::ReaderStatus>,
}

/// So many seconds a state repository may be away, as when its machine is started anew, before that is not in order (F30).
const GONE_FOR_LONG: i64 = 300;

impl ExecutorStatus {
    fn of(here: &ExecutorSettings, settings: &Settings) -> Result<Self, CommandError> {
        let state = here.state();
        let replayed = state.look_now(&here.executor)?;
        let holder = Lock::holder(&state)?;
        let moment = clock::moment(&state, &replayed.facts, now);
        let in_doubt = replayed.open.map_or(0, |open| open.steps.len());
        let refused_tags = RefusedTags::read(&state.refused_tags()).there;
        let key = match host_key::read(&state) {
            Ok(Some(key)) => Ok(key.public().to_string()),
            Ok(None) => Err("none yet: it is made when muster runs".to_owned()),
            Err(error) => Err(chain(&error)),
        };
        let pushed = settings.fleet.ledger.as_ref().map(|there| Pushed {
            to: there.to_string(),
            has: push::last_seen(&state, there),
            head: head(&state, &replayed.facts.executor),
        });
        let kept = [state.mirror(), state.path().join("reader")];
        let origin = settings.state.url.as_ref();
        let reads = origin.map(|it| reader::standing(it, &settings.state.reader, &kept));
        let mut status = Self {
            reads,
            held: held(&state, &replayed.facts.executor),
            is_behind: !replayed.untold.results.is_empty(),
            retry_after: settings.policy_of(&here.executor).limits().retry_after,
            facts: replayed.facts,
            moment,
            holder,
            in_doubt,
            refused_tags,
            trouble: trouble::read(&state),
            last: LastCycle::read(&state),
            trust: TrustFile::at(&settings.trust).read(),
            matters: Vec::new(),
            key,
            pushed,
        };
        status.matters = status.look_for_matters(&state);
        Ok(status)
    }

    /// What is not in order, the worst first (F30, O4).
    fn look_for_matters(&self, state: &StateDir) -> Vec<String> {
        let facts = &self.facts;
        let mut matters = Vec::new();
        if let Some(frozen) = &facts.frozen {
            matters.push(format!("frozen: {frozen}"));
        }
        if let Some(Trouble { since, why }) = &self.trouble {
            matters.push(format!("it cannot be kept since {since}: {why}"));
        }
        if let (Some(last), None) = (&self.last, &self.holder)
            && last.by == Keeper::Daemon
            && unit_is_wanted(&facts.executor)
        {
            matters.push(format!(
                "a daemon kept it, and none is at work now: systemctl start {}",
                unit_of(&facts.executor)
            ));
        }
        let cure = "`muster explain STEP` says what it is about, and once it is looked at `muster adopt` of the same commit clears it";
        match self.needing().count() {
            0 => {}
            1 => matters.push(format!(
                "1 step stopped halfway and needs an operator: {cure}"
            )),
            many => matters.push(format!(
                "{many} steps stopped halfway and need an operator: {cure}"
            )),
        }
        if let Some(last) = &self.last {
            let since = last.since;
            if let Some(problem) = &last.problem {
                matters.push(format!("no cycle came to its end since {since}: {problem}"));
            }
            let unread = last.unread.iter();
            matters.extend(unread.map(|it| format!("since {since}: {it}")));
            matters.extend(last.amiss.iter().cloned());
        }
        if let Some((since, why)) = self.unanswered()
            && since.plus(GONE_FOR_LONG) <= self.moment.now
        {
            matters.push(format!(
                "the state repository has not answered since {since}: {why}"
            ));
        }
        if let Some(attempted) = &facts.attempted {
            let Attempted { commit, problem } = attempted;
            matters.push(format!("commit {} was refused: {problem}", commit.short()));
        }
        // Whose release is used up waits as before it was signed, and is among what waits.
        let failing = self.prospects().into_iter();
        match failing
            .filter(|(.., it)| *it == Prospect::TriedAgain)
            .count()
        {
            0 => {}
            1 => matters.push("1 step fails, and is tried again".to_owned()),
            many => matters.push(format!("{many} steps fail, and are tried again")),
        }
        let blocked = self.prospects().into_iter();
        match blocked
            .filter(|(.., it)| matches!(it, Prospect::Blocked(_)))
            .count()
        {
            0 => {}
            1 => matters.push(
                "1 step is blocked: it was refused in the same words again and again".to_owned(),
            ),
            many => matters.push(format!(
                "{many} steps are blocked: they were refused in the same words again and again"
            )),
        }
        match &self.trust {
            Err(why) => matters.push(format!(
                "no release can be verified: {why}; `muster trust show` says more"
            )),
            Ok(None) if facts.trust.is_some() => matters.push(
                "no release can be verified: the file of the root of trust is gone; `muster trust install` puts it back".to_owned(),
            ),
            Ok(_) => {}
        }
        if let Some(matter) = &self.moment.matter {
            matters.push(format!("the clock is {}", matter.in_a_word()));
        }
        if let Some(full) = nearly_full(state) {
            matters.push(full);
        }
        matters
    }

    /// One person: how far they are, what waits for them, what was done last. Whether anything is known of somebody of that name.
    fn tell_of(&self, user: &str, out: &mut Output) -> Result<bool, CommandError> {
        /// Steps that are told, the last ones.
        const LAST: usize = 5;
        let facts = &self.facts;
        let paper = paper();
        let known = &facts.known.accounts().people;
        let mut text = format!("{}\n", visible(&facts.executor.to_string()));
        let mut line = |name: &str, value: &str| {
            paper.wrapped(&mut text, &format!("{name:<9} "), 10, value);
        };
        let person = known.get(user);
        match person {
            None => line("person", &format!("{user} is not kept here")),
            Some(person) => {
                line("person", &format!("{user}: {}", word(person.stage)));
            }
        }
        let mut is_known = person.is_some();
        let about = |step: &Step| step.action.touched().any(|it| it == user);
        let held = self.held.iter().flat_map(|it| &it.held);
        for waiting in held.filter(|it| about(&it.step)) {
            let Waiting { step, text, .. } = waiting;
            let id = &step.id.to_string()[..8];
            let would = sentence_below(&step.action);
            is_known = true;
            line("waits", &format!("{would}: {text} (step {id})"));
        }
        let of_them = |id: &StepId| {
            let record = facts.record.iter();
            record
                .into_iter()
                .any(|it| it.step.id == *id && about(&it.step))
        };
        for (id, why) in facts.needs_operator.iter().filter(|(id, _)| of_them(id)) {
            line("look at", &format!("{id}: {why}"));
        }
        let done: Vec<_> = facts.record.iter().filter(|it| about(&it.step)).collect();
        for recorded in &done[done.len().saturating_sub(LAST)..] {
            line("done", &sentence_below(&recorded.step.action));
        }
        is_known |= !done.is_empty();
        match is_known {
            true => line("history", &format!("muster history --user {user}")),
            false => line(
                "known",
                "nobody of that name was ever kept here; `muster check` shows whether they are in the roster",
            ),
        }
        out.text(&text)?;
        Ok(is_known)
    }

    fn tell(&self, out: &mut Output) -> Result<(), CommandError> {
        let holder = self.holder.as_ref();
        let paper = paper();
        let mut state = String::new();
        match self.matters.as_slice() {
            [] if self.attention().is_empty() => state.push_str("state     in order\n"),
            [] => state.push_str("state     in order, but for what somebody has to look at\n"),
            matters => {
                for (i, matter) in matters.iter().enumerate() {
                    let lead = match i {
                        0 => "state     ".to_owned(),
                        _ => " ".repeat(10),
                    };
                    let text = match i {
                        0 => format!("NOT IN ORDER: {matter}"),
                        _ => matter.clone(),
                    };
                    paper.tinted(&mut state, &lead, 10, Some(Tint::Alarm), &text);
                }
            }
        }
        for (i, note) in self.attention().iter().enumerate() {
            let lead = if i == 0 { "look at   " } else { "          " };
            paper.tinted(&mut state, lead, 10, Some(Tint::Warn), note);
        }
        match self.last.as_ref().map_or(0, |it| it.attention_beside) {
            0 => {}
            beside => {
                let _ = writeln!(
                    state,
                    "          and {beside} more: `muster plan` tells all"
                );
            }
        }
        let unread = self.last.as_ref().filter(|it| !it.unread.is_empty());
        match &self.held {
            None => state.push_str("waits     no cycle has said it yet\n"),
            Some(held) if let Some(last) = unread => {
                let known = match held.held.len() {
                    0 => String::new(),
                    _ => format!("; {} beside it", classes(held)),
                };
                let since = last.since;
                let text = format!("not known: what it is about was not read since {since}{known}");
                paper.tinted(&mut state, "waits     ", 10, Some(Tint::Alarm), &text);
            }
            Some(held) if held.held.is_empty() => state.push_str("waits     nothing\n"),
            Some(held) => {
                let steps = count(held.held.len(), "step");
                let text = format!("{steps}, {}; `muster pending` shows them", classes(held));
                paper.tinted(&mut state, "waits     ", 10, Some(Tint::Warn), &text);
            }
        }
        out.text(&state)?;
        let told = text(
            &self.facts,
            &self.trust,
            &self.failed(),
            self.moment.now,
            holder,
            self.in_doubt,
        );
        out.text(&fitted(told.iter().map(String::as_str), paper))?;
        out.text(&fitted(self.around().iter().map(String::as_str), paper))?;
        // Copied from here into a file, so it is never broken.
        let (Ok(key) | Err(key)) = &self.key;
        out.line(format_args!("key       {key}"))
    }

    /// What somebody has to look at although all is done that can be: the first of it.
    fn attention(&self) -> &[String] {
        self.last.as_ref().map_or(&[], |it| &it.attention)
    }

    /// What is around it: clock, ledger repository, origin.
    fn around(&self) -> Vec<String> {
        let mut lines = Vec::new();
        if let Some(matter) = &self.moment.matter {
            lines.push(format!("clock     {matter}"));
        }
        if let Some(Trouble { since, why }) = &self.trouble {
            lines.push(format!("trouble   since {since}: {why}"));
        }
        if let Some(pushed) = &self.pushed {
            lines.push(format!("pushed    {pushed}"));
        }
        if let Some((since, why)) = self.unanswered() {
            lines.push(format!("origin    has not answered since {since}: {why}"));
        }
        if let Some(reader::ReaderStatus { says, bytes, .. }) = &self.reads {
            lines.push(format!("reads     {says}"));
            lines.push(format!("mirror    {} MiB", bytes.div_ceil(1 << 20)));
        }
        if self.refused_tags > 0 {
            lines.push(format!(
                "tags      {} that nobody who may signed; `muster release list` shows them",
                self.refused_tags
            ));
        }
        lines
    }

    /// What becomes of the steps that did not come out as meant. What was planned while something could not be read, before the last
    /// outcome, or in a cycle that came to no end, says of a step that is not in it nothing at all.
    fn prospects(&self) -> Vec<(StepId, &Failure, Prospect<'_>)> {
        let last = self.last.as_ref();
        let is_unread = last.is_some_and(|it| !it.unread.is_empty() || it.problem.is_some());
        let mut all = held::prospects(&self.facts, self.held.as_ref(), self.retry_after);
        for (_, _, prospect) in &mut all {
            if *prospect == Prospect::NotPlanned && (is_unread || self.is_behind) {
                *prospect = Prospect::TriedAgain;
            }
        }
        all
    }

    /// Steps that stopped halfway and that are still asked for; the history tells of the others, and nothing is wrong now.
    fn needing(&self) -> impl Iterator<Item = (&StepId, &String)> {
        let last = self.last.as_ref();
        let is_unread = last.is_some_and(|it| !it.unread.is_empty() || it.problem.is_some());
        let trusted = self.held.as_ref().filter(|_| !is_unread && !self.is_behind);
        let all = self.facts.needs_operator.iter();
        all.filter(move |(id, _)| trusted.is_none_or(|held| held.waits_for(**id)))
    }

    /// A line for each step that failed and that is still asked for.
    fn failed(&self) -> Vec<String> {
        let line = |(id, failure, prospect): (StepId, &Failure, Prospect<'_>)| {
            let reason = visible(&failure.reason);
            let times = match failure.times {
                1 => "once".to_owned(),
                times => format!("{times} times"),
            };
            let then = match prospect {
                Prospect::NotPlanned => return None,
                Prospect::TriedAgain => {
                    format!("next try at {}", failure.retry_at(self.retry_after))
                }
                Prospect::Waits(it)
                    if [gate::PENDING_SIGNATURE, gate::LIMIT].contains(&&*it.reason) =>
                {
                    let id = &id.to_string()[..8];
                    format!(
                        "and tried again by another release alone: `muster release propose {id}`"
                    )
                }
                Prospect::Waits(it) | Prospect::Blocked(it) => {
                    format!("and not tried again as it is: {}", visible(&it.text))
                }
            };
            Some(format!("failed    {id}: {reason} ({times}, {then})"))
        };
        let look = self.needing();
        let look = look.map(|(step, why)| format!("look at   {step}: {}", visible(why)));
        let failed = self.prospects().into_iter().filter_map(line);
        look.chain(failed).collect()
    }

    /// The same for programs; `retry_at` is of those that are tried again by themselves.
    fn failures(&self) -> Value {
        let one = |(id, failure, prospect): (StepId, &Failure, Prospect<'_>)| {
            let retry_at = failure.retry_at(self.retry_after).to_string();
            let (retry_at, waits) = match prospect {
                Prospect::NotPlanned => return None,
                Prospect::TriedAgain => (Some(retry_at), None),
                Prospect::Waits(it) | Prospect::Blocked(it) => (None, Some(&it.reason)),
            };
            let Failure { times, reason, .. } = failure;
            let told =
                json!({ "times": times, "reason": reason, "retry_at": retry_at, "waits": waits });
            Some((id.to_string(), told))
        };
        Value::Object(self.prospects().into_iter().filter_map(one).collect())
    }

    /// Since when the state repository has not answered, and why, if it did not in the last cycle.
    fn unanswered(&self) -> Option<(Time, &str)> {
        let last = self.last.as_ref()?;
        Some((last.since, last.unanswered.as_deref()?))
    }

    fn json(&self) -> Value {
        let holder = self.holder.as_ref();
        let mut all = as_json(&self.facts, self.moment.now, holder, self.in_doubt);
        all["failures"] = self.failures();
        let needing = self.needing();
        all["needs_operator"] = needing
            .map(|(step, why)| (step.to_string(), Value::from(why.as_str())))
            .collect();
        if let Some(guests) = guests(&self.facts) {
            all["guests"] = guests;
        }
        all["in_order"] = self.matters.is_empty().into();
        all["matters"] = self.matters.clone().into();
        all["attention"] = self.attention().into();
        all["attention_beside"] = self
            .last
            .as_ref()
            .map_or(0, |it| it.attention_beside)
            .into();
        all["waits"] = self.held.as_ref().map(|it| it.held.len()).into();
        all["unread"] = self
            .last
            .as_ref()
            .map_or_else(Vec::new, |it| it.unread.clone())
            .into();
        all["unanswered"] = self.unanswered().map_or(
            Value::Null,
            |(since, why)| json!({ "since": since.to_string(), "why": why }),
        );
        all["clock"] = json!({
            "now": self.moment.now.to_string(),
            "matter": self.moment.matter.map(|it| it.word()),
            "why": self.moment.matter.map(|it| it.to_string()),
        });
        all["refused_tags"] = self.refused_tags.into();
        all["key"] = self.key.clone().ok().into();
        all["pushed"] = self.pushed.as_ref().map_or(Value::Null, |it| {
            json!({
                "to": it.to,
                "has": it.has.as_ref().map(CommitId::as_str),
                "ledger": it.head.as_ref().map(CommitId::as_str),
            })
        });
        all["reads"] = self.reads.as_ref().map_or(
            Value::Null,
            |it| json!({ "who": it.who, "mirror_bytes": it.bytes }),
        );
        if let Some(Trouble { since, why }) = &self.trouble {
            all["trouble"] = json!({ "since": since.to_string(), "why": why });
        }
        all
    }
}

/// How far the ledger has arrived in the ledger repository, as this host saw it last.
struct Pushed {
    to: String,
    has: Option<CommitId>,
    head: Option<CommitId>,
}

impl fmt::Display for Pushed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { to, has, head } = self;
        match (has, head) {
            (Some(has), Some(head)) if has == head => write!(f, "{to} has all of the ledger"),
            (Some(has), _) => write!(
                f,
                "{to} has the ledger up to {}, and not what came since",
                has.short()
            ),
            (None, _) => write!(f, "{to} has nothing of the ledger yet"),
        }
    }
}

/// The newest commit of the ledger, if there is one that can be read.
fn head(state: &StateDir, executor: &Executor) -> Option<CommitId> {
    let ledger = muster_git::Ledger::open(&state.ledger(), &executor.ledger_ref()).ok()?;
    ledger.head().ok().flatten()
}

/// What waits, by the ledger; nothing where it cannot be read, which is told elsewhere.
fn held(state: &StateDir, executor: &Executor) -> Option<HeldSteps> {
    let ledger = muster_git::Ledger::open(&state.ledger(), &executor.ledger_ref()).ok()?;
    HeldSteps::read(&ledger.file(held::FILE).ok()??).ok()
}

/// `1 destructive, 2 privileged`, the worst first.
fn classes(held: &HeldSteps) -> String {
    let of = |class: Class| held.held.iter().filter(|it| it.class == class).count();
    let all = [Class::Destructive, Class::Privileged, Class::Benign].map(|it| (of(it), it));
    let some = all.iter().filter(|(number, _)| *number > 0);
    let words: Vec<String> = some
        .map(|(number, class)| format!("{number} {class}"))
        .collect();
    words.join(", ")
}

/// Whether systemd starts what keeps it here. Where there is no systemd, whoever started a daemon wants it.
pub(super) fn unit_is_wanted(executor: &Executor) -> bool {
    let exists = |path: &Path| std::fs::symlink_metadata(path).is_ok();
    let wants = Path::new("/etc/systemd/system/multi-user.target.wants");
    !exists(Path::new("/run/systemd/system"))
        || exists(&wants.join(format!("{}.service", unit_of(executor))))
}

/// That little is left where the journal is written, if so: without it nothing can be done safely.
pub(super) fn nearly_full(state: &StateDir) -> Option<String> {
    /// Bytes below which a batch may not find room for its records.
    const LITTLE: u64 = 16 << 20;
    let there = rustix::fs::statvfs(state.path()).ok()?;
    let free = there.f_bavail.saturating_mul(there.f_frsize);
    (free < LITTLE).then(|| {
        format!(
            "only {} KiB are free where {} is: make room, before records cannot be written",
            free >> 10,
            state.path().display()
        )
    })
}

/// Whom or what it knows of.
fn kept(facts: &Facts) -> String {
    if let Some(known) = facts.known.guests() {
        let made = known.guests.values();
        let made = made.filter(|it| it.made.as_ref().is_some_and(|it| it.finished));
        let aside = known.guests.values().filter(|it| it.aside.is_some());
        return format!(
            "guests    {} made here, {} set aside, {}",
            made.count(),
            aside.count(),
            count(known.open_tasks().count(), "open task")
        );
    }
    let people: Vec<String> = by_stage(facts)
        .into_iter()
        .map(|(stage, count)| format!("{count} {stage}"))
        .collect();
    match people.as_slice() {
        [] => "people    none".to_owned(),
        people => format!("people    {}", people.join(", ")),
    }
}

/// The same for programs: of each guest that something is known of, how it stands.
fn guests(facts: &Facts) -> Option<Value> {
    let known = facts.known.guests()?;
    let each = known.guests.iter().map(|(guest, it)| {
        let aside = it.aside.as_ref();
        let told = json!({
            "made": it.made.is_some(),
            "set_aside": aside.map(|it| json!({ "since": it.since.to_string(), "found": it.found })),
            "backups": it.backups.iter().map(|it| &it.backup).collect::<Vec<_>>(),
            "scratch": it.scratch.keys().collect::<Vec<_>>(),
        });
        (guest.clone(), told)
    });
    Some(Value::Object(each.collect()))
}

fn by_stage(facts: &Facts) -> BTreeMap<&'static str, usize> {
    let mut counts = BTreeMap::new();
    for person in facts.known.accounts().people.values() {
        *counts.entry(word(person.stage)).or_default() += 1;
    }
    counts
}

/// A word for how far somebody is.
fn word(stage: Stage) -> &'static str {
    match stage {
        Stage::Active => "active",
        Stage::Parked => "parked",
        Stage::Disabled => "disabled",
        Stage::Cut => "cut",
        Stage::Archived => "archived",
        Stage::Deleted => "deleted",
    }
}

fn text(
    facts: &Facts,
    trust: &Result<Option<Arc<TrustRoot>>, String>,
    failed: &[String],
    now: Time,
    holder: Option<&Holder>,
    in_doubt: usize,
) -> Vec<String> {
    let mut lines = vec![
        format!(
            "executor  {} ({})",
            visible(&facts.executor.to_string()),
            facts.executor_id
        ),
        format!("adopted   {}", facts.adopted),
    ];
    if let Some(attempted) = &facts.attempted {
        lines.push(format!(
            "attempted {}: {}",
            attempted.commit,
            visible(&attempted.problem)
        ));
    }
    if let Some(frozen) = &facts.frozen {
        lines.push(format!("frozen    {frozen}"));
    }
    if let Some(suspended) = facts.suspension_at(now) {
        lines.push(format!(
            "suspended since {}, {}",
            suspended.since,
            visible(&suspended.to_string())
        ));
    }
    lines.push(kept(facts));
    lines.push(match (trust, &facts.trust) {
        (Ok(Some(root)), taken) => {
            let (version, repo) = (root.version, &root.repo);
            let ahead = match taken {
                Some(it) if it.version == version => "",
                Some(_) | None => ", which the next cycle takes up",
            };
            format!("trust     version {version} for repository {repo}{ahead}")
        }
        (Err(why), _) => format!("trust     cannot be used: {}", visible(why)),
        (Ok(None), Some(it)) => format!(
            "trust     version {} for repository {} is remembered, and its file is gone",
            it.version, it.repo
        ),
        (Ok(None), None) => {
            "trust     nobody yet: `muster trust init`; what is not benign waits".to_owned()
        }
    });
    for claim in facts.claims.values().filter(|it| !it.finished) {
        lines.push(format!(
            "release   {} runs until {}: {} of {} steps done",
            claim.nonce,
            claim.not_after,
            claim
                .steps
                .values()
                .filter(|it| **it == Progress::Done)
                .count(),
            claim.steps.len()
        ));
    }
    for refused in facts.refused.iter().rev().take(REFUSALS) {
        let (tag, why) = (visible(&refused.tag), visible(&refused.why));
        lines.push(match refused.code.waits() {
            true => format!("release   {tag} waits: {why}"),
            false => format!("refused   {tag}: {}: {why}", refused.code),
        });
    }
    if let Some(more) = facts
        .refused
        .len()
        .checked_sub(REFUSALS)
        .filter(|it| *it > 0)
    {
        lines.push(format!("refused   {more} more; `muster release list`"));
    }
    lines.extend_from_slice(failed);
    if in_doubt > 0 {
        lines.push(format!(
            "in doubt  {in_doubt} steps: begun, and their outcome is not recorded yet"
        ));
    }
    lines.push(match holder {
        Some(holder) => format!("at work   {holder}"),
        None => format!(
            "at work   nobody: systemctl start {}",
            unit_of(&facts.executor)
        ),
    });
    lines.push(format!("latest    {}", facts.latest));
    lines
}

/// Lines of a name and what is said of it, as wide as the paper; what does not fit goes on below what is said.
fn fitted<'l>(lines: impl Iterator<Item = &'l str>, paper: Paper) -> String {
    const NAME: usize = 10;
    let mut out = String::new();
    for line in lines {
        let (name, said) = line.split_at_checked(NAME).unwrap_or(("", line));
        paper.wrapped(&mut out, name, NAME, said);
    }
    out
}

fn as_json(facts: &Facts, now: Time, holder: Option<&Holder>, in_doubt: usize) -> Value {
    json!({
        "format": 1,
        "executor": facts.executor.to_string(),
        "executor_id": facts.executor_id,
        "adopted": facts.adopted.as_str(),
        "attempted": facts.attempted.as_ref().map(|it| json!({ "commit": it.commit.as_str(), "problem": it.problem })),
        "frozen": facts.frozen.as_ref().map(ToString::to_string),
        "suspended": facts.suspension_at(now).map(|it| json!({
            "who": it.who,
            "reason": it.reason,
            "since": it.since.to_string(),
            "until": it.until.map(|until| until.to_string()),
        })),
        "people": by_stage(facts),
        "needs_operator": facts.needs_operator.iter().map(|(step, why)| (step.to_string(), why)).collect::<BTreeMap<_, _>>(),
        "in_doubt": in_doubt,
        "trust": facts.trust,
        "claims": facts.claims.values().filter(|it| !it.finished).map(|it| json!({
            "nonce": it.nonce,
            "tags": it.tags,
            "principals": it.principals,
            "not_after": it.not_after.to_string(),
            "steps": it.steps,
        })).collect::<Vec<_>>(),
        "refused": facts.refused.iter().map(|it| json!({
            "tag": it.tag,
            "nonce": it.nonce,
            "principals": it.principals,
            "code": it.code,
            "why": it.why,
        })).collect::<Vec<_>>(),
        "at_work": holder.map(|it| json!({ "pid": it.pid, "command": it.command })),
        "latest": facts.latest.to_string(),
    })
}
