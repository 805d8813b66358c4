//! `muster release propose`: a statement out of what waits, shown whole before anybody signs it.

use std::collections::{BTreeMap, BTreeSet};

use muster_core::commit::CommitId;
use muster_core::diagnostic::visible;
use muster_core::executor::{Executor, ExecutorKind};
use muster_core::fleet::alive::{self, Alive};
use muster_core::fleet::versions::{self, Version};
use muster_core::gate;
use muster_core::id::StepId;
use muster_core::ledger::held::{HeldSteps, Waiting};
use muster_core::release::statement::{LONGEST_WINDOW, Line, Statement};
use muster_core::release::{Nonce, RepoId};
use muster_core::time::{Counted, Time};

use super::super::here::Those;
use super::super::ledgers::{self, Shelves};
use super::super::signing::SignArgs;
use super::super::{CommandError, Common, Output, now, output, trust};
use crate::exit;

/// So many digits of a step's id have to be written, as an empty word would name every step.
const SHORTEST: usize = 4;

/// What is to be released.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// Steps that wait, by id or the first digits of it; see `muster pending`.
    #[arg(value_name = "STEP")]
    steps: Vec<String>,
    /// All steps that wait for a signature.
    #[arg(long, conflicts_with = "steps")]
    all: bool,
    /// Only of this host; may be said several times.
    #[arg(long, value_name = "HOST")]
    host: Vec<String>,
    /// Look into this ledger in place of this host's: a repository, or where git fetches it from.
    #[arg(long, value_name = "PATH|URL")]
    ledger: Option<String>,
    /// Why, for those who read the record later.
    #[arg(long, default_value = "no reason given")]
    reason: String,
    /// For how long it may be used, at most 72h.
    #[arg(long, value_name = "DURATION", default_value = "24h")]
    valid: String,
    /// From when on it may be used: a date, a time, or a length such as 8h.
    #[arg(long, value_name = "TIME")]
    not_before: Option<String>,
    /// The commit that it is about; otherwise the one whose plan waits.
    #[arg(long, value_name = "SHA")]
    commit: Option<CommitId>,
    /// Sign it, after showing it.
    #[arg(long)]
    sign: bool,
    #[command(flatten)]
    signing: SignArgs,
}

pub(super) fn run(
    args: &Args,
    those: &Those,
    common: &Common,
    out: &mut Output,
) -> Result<u8, CommandError> {
    let signs = args.signing.push.is_some() || args.signing.yes || args.signing.key.is_some();
    if signs && !args.sign {
        return Err(CommandError::Usage("say --sign as well".into()));
    }
    if args.steps.is_empty() && !args.all {
        return Err(CommandError::Usage(
            "name steps that wait, or --all; `muster pending` lists them (steps stand before --push)".into(),
        ));
    }
    let window = window(args)?;
    let shelves = ledgers::anywhere(args.ledger.as_deref(), those, common)?;
    let wanted = |executor: &Executor| {
        let is_it = |named: &String| {
            executor.to_string() == *named
                || (executor.kind() == ExecutorKind::Host && executor.name() == named)
        };
        args.host.is_empty() || args.host.iter().any(is_it)
    };
    let mut waiting: BTreeMap<Executor, HeldSteps> = BTreeMap::new();
    for shelf in shelves.all.iter().filter(|it| wanted(&it.executor)) {
        if let Some(held) = shelf.held()? {
            waiting.insert(shelf.executor.clone(), held);
        }
    }
    let chosen = choose(&waiting, args)?;
    let mut statements = Vec::new();
    for group in versions::named_together(&versions_of(&shelves, &chosen)?) {
        let of_group = chosen.iter().filter(|(it, _)| group.contains(it));
        let part = of_group
            .map(|(it, ids)| (it.clone(), ids.clone()))
            .collect();
        statements.push(statement(&shelves, &waiting, &part, window.clone(), args)?);
    }
    if let [_, _, ..] = statements.as_slice() {
        output::note(
            "note: some of these hosts run a version of muster that reads statements about hosts alone, so they have one of \
             their own\n",
        );
    }
    for statement in &statements {
        out.text(&statement.render())?;
    }
    out.finish()?;
    if !args.sign {
        output::note(
            "Nothing is signed. The same with --sign signs one like it; or keep these bytes in a file, and sign them where \
             the key is: muster release sign FILE --push\n",
        );
        return Ok(exit::OK);
    }
    for statement in &statements {
        super::sign(statement, &args.signing, common, out)?;
    }
    Ok(exit::OK)
}

/// The statement that releases what was chosen.
fn statement(
    shelves: &Shelves,
    waiting: &BTreeMap<Executor, HeldSteps>,
    chosen: &BTreeMap<Executor, BTreeSet<StepId>>,
    window: Statement,
    args: &Args,
) -> Result<Statement, CommandError> {
    let lines = |executor: &Executor, ids: &BTreeSet<StepId>| {
        let mut lines: Vec<Line> = waiting[executor]
            .held
            .iter()
            .filter(|it| ids.contains(&it.step.id))
            .map(|it| Line {
                id: it.step.id,
                words: it.words.clone(),
            })
            .collect();
        lines.sort();
        lines
    };
    let statement = Statement {
        repo: repo_of(shelves, chosen)?,
        commit: commit_of(waiting, chosen, args)?,
        nonce: Nonce(trust::random()?),
        reason: args.reason.clone(),
        blocks: chosen
            .iter()
            .map(|(executor, ids)| (executor.to_string(), lines(executor, ids)))
            .collect(),
        ..window
    };
    statement
        .check()
        .map_err(|it| CommandError::Refused(format!("this cannot be signed: {it}")))?;
    Ok(statement)
}

/// Which version of muster each of them runs, where it said so.
fn versions_of(
    shelves: &Shelves,
    chosen: &BTreeMap<Executor, BTreeSet<StepId>>,
) -> Result<BTreeMap<Executor, Option<Version>>, CommandError> {
    let mut versions = BTreeMap::new();
    for shelf in &shelves.all {
        if chosen.contains_key(&shelf.executor) {
            let alive = shelf.alive()?;
            let alive = alive.and_then(|it| Alive::read(it.get(alive::FILE)?));
            let version = alive.and_then(|it| Version::parse(&it.version));
            versions.insert(shelf.executor.clone(), version);
        }
    }
    Ok(versions)
}

/// An empty statement with the window that was asked for.
fn window(args: &Args) -> Result<Statement, CommandError> {
    let wrong = |what: &str, error: &dyn std::fmt::Display| {
        CommandError::Usage(format!("--{what}: {error}"))
    };
    let now = now();
    let not_before = match &args.not_before {
        None => now,
        Some(text) => Time::from_words(text, now, Counted::Ahead)
            .map_err(|error| wrong("not-before", &error))?,
    };
    let not_after = Time::from_words(&args.valid, not_before, Counted::Ahead)
        .map_err(|error| wrong("valid", &error))?;
    if not_after <= not_before || not_after > not_before.plus(LONGEST_WINDOW) {
        return Err(wrong(
            "valid",
            &"a release holds for some time, and at most 72h",
        ));
    }
    Ok(Statement {
        repo: RepoId([0; 16]),
        commit: "0".repeat(40).parse().expect("forty digits"),
        nonce: Nonce([0; 16]),
        not_before,
        not_after,
        reason: String::new(),
        blocks: BTreeMap::new(),
    })
}

/// Which state repository: what the trust root here says, or what the ledgers remember.
fn repo_of(
    shelves: &Shelves,
    chosen: &BTreeMap<Executor, BTreeSet<StepId>>,
) -> Result<RepoId, CommandError> {
    if let Some(here) = &shelves.here
        && let Some(root) =
            super::root_here(&here.settings, &here.executors).map_err(CommandError::Refused)?
    {
        return Ok(root.repo);
    }
    let mut known = BTreeSet::new();
    for shelf in shelves
        .all
        .iter()
        .filter(|it| chosen.contains_key(&it.executor))
    {
        known.extend(shelf.facts()?.and_then(|it| it.trust).map(|it| it.repo));
    }
    let known: Vec<RepoId> = known.into_iter().collect();
    match known.as_slice() {
        [repo] => Ok(*repo),
        [] => Err(CommandError::Refused(
            "no trust root is in force there, so no release could count: write one on the host with `muster trust init`, \
             and let a cycle run"
                .into(),
        )),
        several => Err(CommandError::Refused(format!(
            "these hosts follow {} different repositories; choose with --host",
            several.len()
        ))),
    }
}

fn commit_of(
    waiting: &BTreeMap<Executor, HeldSteps>,
    chosen: &BTreeMap<Executor, BTreeSet<StepId>>,
    args: &Args,
) -> Result<CommitId, CommandError> {
    if let Some(commit) = &args.commit {
        return Ok(commit.clone());
    }
    let commits: BTreeSet<&CommitId> = chosen.keys().map(|it| &waiting[it].commit).collect();
    match commits.iter().collect::<Vec<_>>().as_slice() {
        [commit] => Ok((**commit).clone()),
        several => Err(CommandError::Refused(format!(
            "these hosts are at {} different commits ({}); name one that all of them have adopted: --commit SHA",
            several.len(),
            several
                .iter()
                .map(|it| it.short())
                .collect::<Vec<_>>()
                .join(", ")
        ))),
    }
}

/// The steps of each executor.
fn choose(
    waiting: &BTreeMap<Executor, HeldSteps>,
    args: &Args,
) -> Result<BTreeMap<Executor, BTreeSet<StepId>>, CommandError> {
    let mut chosen: BTreeMap<Executor, BTreeSet<StepId>> = BTreeMap::new();
    if args.all {
        for (executor, held) in waiting {
            let ids = all_of(held);
            if !ids.is_empty() {
                chosen.insert(executor.clone(), ids);
            }
        }
        if chosen.is_empty() {
            return Err(CommandError::Refused(
                "nothing waits that a release could permit; see `muster pending`".into(),
            ));
        }
        return Ok(chosen);
    }
    for named in &args.steps {
        if named.len() < SHORTEST || !named.bytes().all(|it| it.is_ascii_hexdigit()) {
            return Err(CommandError::Usage(format!(
                "'{}' is no step: write at least the first {SHORTEST} digits of its id",
                visible(named)
            )));
        }
        let found: Vec<(&Executor, &Waiting)> = waiting
            .iter()
            .flat_map(|(executor, held)| held.held.iter().map(move |it| (executor, it)))
            .filter(|(_, it)| it.step.id.to_string().starts_with(named.as_str()))
            .collect();
        let (executor, step) = match found.as_slice() {
            [one] => *one,
            [] => {
                return Err(CommandError::Refused(format!(
                    "no step {} waits; see `muster pending`",
                    visible(named)
                )));
            }
            many => {
                return Err(CommandError::Usage(format!(
                    "{} steps begin with {}; write more digits",
                    many.len(),
                    visible(named)
                )));
            }
        };
        chosen
            .entry(executor.clone())
            .or_default()
            .insert(step.step.id);
    }
    for (executor, ids) in &chosen {
        fits(executor, &waiting[executor], ids)?;
    }
    Ok(chosen)
}

/// What the limit on removals holds is released as a whole or not at all.
fn is_over_the_limit(it: &Waiting) -> bool {
    it.reason == gate::LIMIT
}

/// Whether a signature is what it waits for, by itself.
fn waits_for_a_signature(it: &Waiting) -> bool {
    it.reason == gate::PENDING_SIGNATURE || is_over_the_limit(it)
}

/// All that a release could permit at once: what waits for one, and what follows that.
fn all_of(held: &HeldSteps) -> BTreeSet<StepId> {
    let mut ids: BTreeSet<StepId> = held
        .held
        .iter()
        .filter(|it| waits_for_a_signature(it))
        .map(|it| it.step.id)
        .collect();
    let all: BTreeSet<StepId> = held.held.iter().map(|it| it.step.id).collect();
    // In the order of the plan, so what is needed stands before what needs it.
    for it in held.held.iter().filter(|it| it.reason == "needs") {
        let is_benign = it.class == muster_core::price::Class::Benign;
        let follows = it
            .needs
            .iter()
            .all(|need| !all.contains(need) || ids.contains(need));
        // What is benign follows by itself, without anybody's word.
        if !is_benign && follows {
            ids.insert(it.step.id);
        }
    }
    ids
}

/// Whether these steps can be released together.
fn fits(executor: &Executor, held: &HeldSteps, ids: &BTreeSet<StepId>) -> Result<(), CommandError> {
    let by_id: BTreeMap<StepId, &Waiting> = held.held.iter().map(|it| (it.step.id, it)).collect();
    for id in ids {
        let it = by_id[id];
        if !waits_for_a_signature(it) && it.reason != "needs" {
            return Err(CommandError::Refused(format!(
                "{executor}: step {id} ({}) does not wait for a signature, and none would make it run: {}",
                it.words,
                visible(&it.text)
            )));
        }
        if let Some(need) = it.needs.iter().find(|need| {
            !ids.contains(need) && by_id.get(*need).is_some_and(|it| waits_for_a_signature(it))
        }) {
            return Err(CommandError::Refused(format!(
                "{executor}: step {id} ({}) follows step {need} ({}), which waits as well; name both",
                it.words, by_id[need].words
            )));
        }
    }
    let over: Vec<&Waiting> = held
        .held
        .iter()
        .filter(|it| is_over_the_limit(it))
        .collect();
    let named = over.iter().filter(|it| ids.contains(&it.step.id)).count();
    if named > 0 && named < over.len() {
        let missing: Vec<String> = over
            .iter()
            .filter(|it| !ids.contains(&it.step.id))
            .map(|it| format!("\n  {} {}", it.step.id, it.words))
            .collect();
        return Err(CommandError::Refused(format!(
            "{executor}: {}; they are released together or not at all, so name these as well:{}",
            visible(&over[0].text),
            missing.concat()
        )));
    }
    Ok(())
}
