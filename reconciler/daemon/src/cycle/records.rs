//! What is written down: entries of the journal, and commits of the ledger.

use std::cell::LazyCell;
use std::collections::{BTreeMap, BTreeSet};

use muster_core::commit::CommitId;
use muster_core::gate::Held;
use muster_core::id::StepId;
use muster_core::journal::{Entry, Untold};
use muster_core::ledger::held::{self, HeldSteps};
use muster_core::ledger::{self, inventory, policy};
use muster_core::plan::Plan;
use muster_core::rooms::Observed;
use muster_core::step::Step;
use muster_core::world::{Journal, Ledger};

use super::ground::{CycleError, CycleSummary, Inventory, LastWritten, Memory, Outside, Run};
use crate::tell;

/// How things stand at the end of a cycle.
pub(super) struct EndState {
    pub(super) observed: Observed,
    pub(super) plan: Plan,
    pub(super) held: Vec<Held>,
}

/// Records that a suspension is over, once its time is.
pub(super) fn end_suspension<S, W, J: Journal, L, R>(
    memory: &mut Memory,
    outside: &mut Outside<S, W, J, L, R>,
    run: &Run<'_>,
) -> Result<(), CycleError> {
    match &memory.facts().suspended {
        Some(over) if !over.holds_at(run.now) => {
            let entry = Entry::Resumed {
                at: run.now,
                who: "muster".to_owned(),
                reason: "the time was over".to_owned(),
            };
            record(memory, &mut outside.journal, &entry)
        }
        _ => Ok(()),
    }
}

/// Writes down what a person decided at the console of a daemon at work.
///
/// # Errors
/// [`CycleError::Records`] when the journal did not take it; nothing has changed then.
pub fn take_decision<J: Journal>(
    memory: &mut Memory,
    journal: &mut J,
    decision: &Entry,
) -> Result<(), CycleError> {
    record(memory, journal, decision)
}

/// Writes one entry, and takes it in once it is durable.
pub(super) fn record<J: Journal>(
    memory: &mut Memory,
    journal: &mut J,
    entry: &Entry,
) -> Result<(), CycleError> {
    journal.append(entry).map_err(|error| CycleError::Records {
        what: "the journal could not be written; nothing more is done until it can".to_owned(),
        source: Box::new(error),
    })?;
    memory.dirty = true;
    memory.decided.extend(tell::decision(entry));
    if let Some(touched) = &mut memory.touched {
        match entry {
            // Its steps are those of the batch that is open.
            Entry::Outcome { .. } => touch(
                touched,
                memory
                    .replayed
                    .open
                    .iter()
                    .flat_map(|it| &it.steps)
                    .map(|it| &**it),
            ),
            // Everybody's facts begin anew, or go back.
            Entry::Genesis { .. } | Entry::ClockAccepted { .. } => memory.touched = None,
            Entry::Adopted { .. }
            | Entry::Attempted { .. }
            | Entry::Frozen { .. }
            | Entry::Reset { .. }
            | Entry::Suspended { .. }
            | Entry::Resumed { .. }
            | Entry::Trusted { .. }
            | Entry::Claimed { .. }
            | Entry::Finished { .. }
            | Entry::Refused { .. }
            | Entry::Intended { .. }
            | Entry::Marked { .. } => {}
        }
    }
    memory.replayed.apply(entry).map_err(CycleError::Order)
}

/// Adds whom the outcome of `steps` can change in the facts.
pub(super) fn touch<'a>(touched: &mut BTreeSet<String>, steps: impl Iterator<Item = &'a Step>) {
    for step in steps {
        touched.extend(step.action.touched().map(str::to_owned));
    }
}

/// Commits to the ledger what the journal gained and how things stand, and lets the journal go of what it has.
pub(super) fn commit_ledger<S, W, J: Journal, L: Ledger, R>(
    memory: &mut Memory,
    outside: &mut Outside<S, W, J, L, R>,
    run: &Run<'_>,
    summary: &CycleSummary,
    standing: Option<&EndState>,
) -> Result<(), CycleError> {
    let through = outside.journal.through();
    // Whoever has just started does not know whether anything is new, and mostly nothing is.
    let learned = memory.dirty && !ledger::holds(&memory.ledger_files, memory.facts(), &through);
    let mut changes = match &memory.touched {
        _ if !learned => Changes::new(),
        Some(touched) => ledger::files_of(memory.facts(), &through, touched),
        None => ledger::changes(
            &memory.ledger_files,
            &ledger::files(memory.facts(), &through),
        ),
    };
    let when = match run.inventory {
        Inventory::WithFacts if !learned => Keep::OtherWaits,
        Inventory::WithFacts | Inventory::Current => Keep::Anything,
    };
    let kept =
        standing.and_then(|standing| keep(memory, outside, run, standing, when, &mut changes));
    if !changes.is_empty() {
        let results = &memory.replayed.untold.results;
        let message = tell::ledger_message(memory.facts(), &memory.decided, results, &summary.held);
        outside
            .ledger
            .commit(&changes, &message, run.now)
            .map_err(|error| CycleError::Records {
                what: "the ledger could not be written; what was done is in the journal".to_owned(),
                source: Box::new(error),
            })?;
        memory.decided.clear();
        memory.replayed.untold = Untold::default();
        for (path, content) in changes {
            match content {
                // The others are never compared, so that nobody has to have read them.
                _ if !ledger::is_of_facts(&path) => None,
                Some(content) => memory.ledger_files.insert(path, content),
                None => memory.ledger_files.remove(&path),
            };
        }
    }
    if kept.is_some() {
        memory.kept = kept;
    }
    if !memory.dirty {
        return Ok(());
    }
    memory.touched = Some(BTreeSet::new());
    memory.dirty = false;
    let Some(kept) = outside.ledger.keeps(&through) else {
        return Ok(());
    };
    outside
        .journal
        .release(&kept)
        .map_err(|error| CycleError::Records {
            what: "old journal segments could not be removed".to_owned(),
            source: Box::new(error),
        })
}

/// New contents of files by their path; `None` for one that is gone.
pub(super) type Changes = BTreeMap<String, Option<Vec<u8>>>;

/// When it is worth a commit to say anew how things stand.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Keep {
    /// When anything of it changed.
    Anything,
    /// When other steps wait than the ledger says: whoever is shown one has to be shown the id of now (F6).
    OtherWaits,
}

/// Adds to `changes` what was read on the host, what waits, and what its administrator decided, unless this process wrote just
/// that before.
pub(super) fn keep<S, W, J, L: Ledger, R>(
    memory: &Memory,
    outside: &mut Outside<S, W, J, L, R>,
    run: &Run<'_>,
    standing: &EndState,
    when: Keep,
    changes: &mut Changes,
) -> Option<LastWritten> {
    let EndState {
        observed,
        plan,
        held,
    } = standing;
    let policy = policy::to_bytes(run.policy);
    let adopted = &memory.facts().adopted;
    // All that was read goes into it, so it is made where it is compared or kept.
    let fingerprint = LazyCell::new(|| standing_fingerprint(observed, held, adopted, &policy));
    if let Some(written) = &memory.kept
        && written.fingerprint == *fingerprint
    {
        return None;
    }
    // Another process may have written what waits. Since when is worth no failure.
    let told = match (&memory.kept, when) {
        (Some(_), Keep::Anything) => None,
        (_, Keep::OtherWaits) | (None, Keep::Anything) => outside
            .ledger
            .read(held::FILE)
            .ok()
            .flatten()
            .and_then(|bytes| HeldSteps::recall(&bytes, run.policy.executor())),
    };
    let before = match (&memory.kept, &told) {
        (Some(kept), _) => kept.since.clone(),
        (None, Some(told)) => told.since(),
        (None, None) => BTreeMap::new(),
    };
    let waits: BTreeSet<StepId> = held.iter().map(|it| it.step.id).collect();
    let needs: BTreeMap<StepId, &[StepId]> = plan
        .steps()
        .iter()
        .filter(|it| waits.contains(&it.step.id))
        .map(|it| (it.step.id, it.needs.as_slice()))
        .collect();
    let waiting = HeldSteps::now(
        run.policy.executor(),
        &memory.facts().adopted,
        held,
        |id| needs.get(&id).map_or_else(Vec::new, |it| it.to_vec()),
        &before,
        run.now,
    );
    let unread_before = match (&memory.kept, &told) {
        (Some(kept), _) => kept.unread.as_ref(),
        (None, Some(told)) => told.unread.as_ref(),
        (None, None) => None,
    };
    let unread = plan.notes().iter().filter(|it| it.is_unread());
    let unread = unread.map(ToString::to_string);
    let waiting = waiting.without_sight_of(unread, unread_before, run.now);
    let is_told = match &told {
        Some(told) => *told == waiting,
        None => waiting.held.is_empty() && waiting.unread.is_none(),
    };
    if when == Keep::OtherWaits && is_told {
        return None;
    }
    changes.insert(held::FILE.to_owned(), Some(waiting.to_bytes()));
    let inventory = inventory::Inventory::bytes_in_ledger(run.policy.executor(), observed);
    changes.insert(inventory::FILE.to_owned(), Some(inventory));
    let fingerprint = *fingerprint;
    changes.insert(policy::FILE.to_owned(), Some(policy));
    Some(LastWritten {
        fingerprint,
        since: waiting.since(),
        unread: waiting.unread,
    })
}

/// A number that differs when what was read, what waits or what was decided does.
pub(super) fn standing_fingerprint(
    observed: &Observed,
    held: &[Held],
    adopted: &CommitId,
    policy: &[u8],
) -> u64 {
    use std::hash::{DefaultHasher, Hash as _, Hasher as _};
    let mut hasher = DefaultHasher::new();
    observed.hash(&mut hasher);
    adopted.hash(&mut hasher);
    policy.hash(&mut hasher);
    for held in held {
        held.step.id.hash(&mut hasher);
        held.reason.to_string().hash(&mut hasher);
    }
    hasher.finish()
}
