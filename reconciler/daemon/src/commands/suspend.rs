//! `muster suspend` and `muster resume`: for root at the console, also while the daemon runs.

use muster_core::facts::Suspended;
use muster_core::journal::Entry;
use muster_core::time::{Counted, Time};

use super::decide::{self, Asked};
use super::here::TheOne;
use super::{CommandError, Common, Output, now, who};
use crate::clock;
use crate::exit;
use crate::settings::ExecutorSettings;
use crate::state_dir::{Holder, Identity, Lock, Purpose, StateDir, StateError};
use crate::suspension::{self, Decision, Request};

/// For how long, and why.
#[derive(Debug, clap::Args)]
pub(super) struct SuspendArgs {
    /// Why, for those who read the record later.
    #[arg(long)]
    reason: String,
    /// When it ends by itself: a date (its first moment in UTC), a time, or a length such as 8h or 3d.
    #[arg(long, value_name = "DATE|DURATION")]
    until: Option<String>,
    #[command(flatten)]
    here: TheOne,
}

/// Why.
#[derive(Debug, clap::Args)]
pub(super) struct ResumeArgs {
    /// Why, for those who read the record later.
    #[arg(long, default_value = "resumed at the console")]
    reason: String,
    #[command(flatten)]
    here: TheOne,
}

pub(super) fn suspend(
    args: &SuspendArgs,
    common: &Common,
    out: &mut Output,
) -> Result<u8, CommandError> {
    let SuspendArgs {
        reason,
        until,
        here,
    } = args;
    let settings = common.settings()?;
    let ours = here.of(&settings)?;
    // A length is counted from the moment that is gone by, whatever a clock says that is doubted.
    let now = match ours.state().look_now(&ours.executor) {
        Ok(looked) => clock::moment(&ours.state(), &looked.facts, now).now,
        Err(_) => now(),
    };
    let until = until
        .as_deref()
        .map(|text| Time::from_words(text, now, Counted::Ahead))
        .transpose()
        .map_err(|error| CommandError::Usage(format!("--until: {error}")))?;
    if let Some(until) = until.filter(|it| *it <= now) {
        return Err(CommandError::Usage(format!(
            "--until: {until} is over already"
        )));
    }
    take(reason, Decision::Suspend { until }, here, common, out)
}

pub(super) fn resume(
    args: &ResumeArgs,
    common: &Common,
    out: &mut Output,
) -> Result<u8, CommandError> {
    take(&args.reason, Decision::Resume, &args.here, common, out)
}

fn take(
    reason: &str,
    decision: Decision,
    here: &TheOne,
    common: &Common,
    out: &mut Output,
) -> Result<u8, CommandError> {
    super::check_reason(reason)?;
    let settings = common.settings()?;
    let here = here.of(&settings)?;
    let state = here.state();
    let Some(identity) = state.identity()? else {
        return Err(StateError::NotInitialised(here.dir).into());
    };
    let name = identity.executor();
    let request = Request {
        who: who(),
        reason: reason.to_owned(),
        decision,
    };
    let at = clock::moment(&state, &state.look_now(&here.executor)?.facts, now).now;
    let entry = request
        .entry(at)
        .expect("BUG: it follows from the moment alone");
    match Lock::take(&state, Purpose::Other("suspend")) {
        Ok(lock) => {
            let before = record(&here, &state, &identity, &lock, vec![entry.clone()])?;
            if before.is_none() && matches!(entry, Entry::Resumed { .. }) {
                out.line(format_args!("{name} was not suspended."))?;
                return Ok(exit::OK);
            }
        }
        Err(StateError::Held {
            holder: Holder { command, .. },
        }) if command == Purpose::Run.word() => {
            if !ask(&here, &state, &identity, &request)? {
                out.line(decide::not_yet(&name))?;
                return Ok(exit::OK);
            }
        }
        Err(error) => return Err(error.into()),
    }
    match entry {
        Entry::Suspended { .. } => out.line(format_args!(
            "{name} is {}. It goes on looking, planning and telling; `muster resume` ends it.",
            shown(&entry)
        ))?,
        _ => out.line(format_args!("{name} goes on."))?,
    }
    Ok(exit::OK)
}

fn shown(entry: &Entry) -> String {
    match entry {
        Entry::Suspended {
            at,
            who,
            reason,
            until,
        } => Suspended {
            who: who.clone(),
            reason: reason.clone(),
            since: *at,
            until: *until,
        }
        .to_string(),
        _ => String::new(),
    }
}

/// Leaves a request with the daemon, and waits until it is in the journal; false when that takes long. A daemon that ends
/// meanwhile leaves the lock to us.
fn ask(
    here: &ExecutorSettings,
    state: &StateDir,
    identity: &Identity,
    request: &Request,
) -> Result<bool, CommandError> {
    let lock = match decide::ask(state, request, "suspend")? {
        Asked::Taken => return Ok(true),
        Asked::Refused(why) => return Err(CommandError::Refused(why)),
        Asked::NotYet => return Ok(false),
        Asked::Idle(lock, _) => lock,
    };
    let waiting = suspension::asked(state);
    let at = clock::moment(state, &state.look_now(&here.executor)?.facts, now).now;
    // What follows from more than the moment is for whoever runs next.
    let taken = waiting
        .iter()
        .filter_map(|(path, it)| Some((path, it.entry(at)?)));
    let (paths, entries): (Vec<_>, Vec<_>) = taken.unzip();
    record(here, state, identity, &lock, entries)?;
    paths.into_iter().for_each(|path| suspension::forget(path));
    Ok(true)
}

/// Writes decisions into the journal, and into the ledger's history; gives what was in force before.
fn record(
    here: &ExecutorSettings,
    state: &StateDir,
    identity: &Identity,
    lock: &Lock,
    entries: Vec<Entry>,
) -> Result<Option<Suspended>, CommandError> {
    let mut opened = state.open(lock, &here.executor, state.read_ledger()?, now())?;
    let before = opened.replayed.facts.suspended.clone();
    let latest = opened.replayed.facts.latest;
    // Nothing goes on that was not suspended.
    let idle = before.is_none();
    let entries = entries
        .into_iter()
        .skip_while(|it| idle && matches!(it, Entry::Resumed { .. }))
        .map(|it| not_before(it, latest));
    decide::write(entries, &mut opened, state, identity)?;
    Ok(before)
}

fn not_before(mut entry: Entry, latest: Time) -> Entry {
    if let Entry::Suspended { at, .. } | Entry::Resumed { at, .. } = &mut entry {
        *at = (*at).max(latest);
    }
    entry
}
