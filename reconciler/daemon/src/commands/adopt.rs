//! `muster adopt`: the way out of a freeze, for root at the console; also while the daemon runs.

use muster_core::commit::CommitId;
use muster_core::executor::Executor;
use muster_core::facts::{Facts, Frozen};
use muster_core::journal::Entry;
use muster_core::rooms;
use muster_git::{Ancestry, Mirror, Proposals};

use super::decide::{self, Asked, Console};
use super::here::TheOne;
use super::{CommandError, Common, Output, init, now, output, who};
use crate::clock;
use crate::cycle::chain;
use crate::exit;
use crate::outside::bytes_of;
use crate::reader;
use crate::settings::{ExecutorSettings, Settings};
use crate::state_dir::StateDir;
use crate::suspension::{self, Decision, Request};

/// What is decided.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// The commit that counts from here on, all digits of it.
    commit: CommitId,
    /// Why, for those who read the record later.
    #[arg(long)]
    reason: String,
    #[command(flatten)]
    here: TheOne,
}

pub(super) fn run(args: &Args, common: &Common, out: &mut Output) -> Result<u8, CommandError> {
    let Args {
        commit,
        reason,
        here,
    } = args;
    super::check_reason(reason)?;
    let settings = common.settings()?;
    let here = here.of(&settings)?;
    let (before, newest) = match Console::open(&here, "adopt") {
        Ok(console) => {
            let facts = &console.opened.replayed.facts;
            let mirrored = Mirrored::Ours(&console.state);
            let newest = look_at(commit, facts, &settings, &mirrored, out)?;
            (decide_here(console, commit, reason)?, newest)
        }
        Err(error) if decide::is_daemon(&error) => match ask(args, &settings, &here, out)? {
            Some(decided) => decided,
            None => {
                out.line(decide::not_yet(&here.executor))?;
                return Ok(exit::OK);
            }
        },
        Err(error) => return Err(error),
    };
    out.line(format_args!(
        "{} adopts {commit}, in place of {before}.",
        here.executor
    ))?;
    if let Some(newest) = newest {
        out.line(format_args!(
            "Its next cycle goes on from there to {newest}, the newest commit of {}; what is to stay undone is reverted there.",
            settings.state.branch
        ))?;
    }
    Ok(exit::OK)
}

/// Decides about an executor at rest; gives what was adopted before. An earlier decision that nobody took in is replaced.
fn decide_here(
    mut console: Console,
    commit: &CommitId,
    reason: &str,
) -> Result<CommitId, CommandError> {
    let facts = &console.opened.replayed.facts;
    refuse_renamed(facts)?;
    let at = clock::moment(&console.state, facts, now).now;
    let before = facts.adopted.clone();
    console.write(Entry::Reset {
        at,
        commit: commit.clone(),
        who: who(),
        reason: reason.to_owned(),
        nonce: None,
    })?;
    for (path, request) in suspension::asked(&console.state) {
        if matches!(request.decision, Decision::Adopt { .. }) {
            suspension::forget(&path);
        }
    }
    Ok(before)
}

/// What was adopted before, and to which commit the next cycle goes on, if to one.
type Decided = (CommitId, Option<CommitId>);

/// Has a daemon at work decide, and waits until it has; gives nothing when that takes long.
fn ask(
    args: &Args,
    settings: &Settings,
    here: &ExecutorSettings,
    out: &mut Output,
) -> Result<Option<Decided>, CommandError> {
    let Args { commit, reason, .. } = args;
    let state = here.state();
    let facts = state.look_now(&here.executor)?.facts;
    // The daemon would say the same.
    refuse_renamed(&facts)?;
    let newest = look_at(commit, &facts, settings, &Mirrored::OfDaemon(&state), out)?;
    let request = Request {
        who: who(),
        reason: reason.clone(),
        decision: Decision::Adopt {
            commit: commit.clone(),
        },
    };
    match decide::ask(&state, &request, "adopt")? {
        Asked::Taken => Ok(Some((facts.adopted, newest))),
        Asked::Refused(why) => Err(CommandError::Refused(why)),
        Asked::NotYet => Ok(None),
        Asked::Idle(lock, _) => {
            let before = decide_here(Console::with(lock, here)?, commit, reason)?;
            Ok(Some((before, newest)))
        }
    }
}

/// No commit gives a host its name back.
fn refuse_renamed(facts: &Facts) -> Result<(), CommandError> {
    match &facts.frozen {
        Some(why @ Frozen::Renamed { .. }) => Err(CommandError::Refused(why.to_string())),
        _ => Ok(()),
    }
}

/// Whose mirror of the state repository there is.
enum Mirrored<'s> {
    /// Ours: nobody else has the lock.
    Ours(&'s StateDir),
    /// That of a daemon at work, which is not disturbed.
    OfDaemon(&'s StateDir),
}

/// Shows the commit, which must be one that a host can be kept by: a mistyped or invalid one would only freeze it again.
/// An origin that does not answer is no obstacle as long as the mirror has the commit. Gives to which commit the next cycle would
/// go on from it, if to one.
fn look_at(
    commit: &CommitId,
    facts: &Facts,
    settings: &Settings,
    mirrored: &Mirrored<'_>,
    out: &mut Output,
) -> Result<Option<CommitId>, CommandError> {
    let mut newest = None;
    let scratch = tempfile::tempdir().map_err(CommandError::Runtime)?;
    let opened = match mirrored {
        Mirrored::Ours(state) => Mirror::open_or_create(&state.mirror()),
        Mirrored::OfDaemon(_) => Mirror::for_one_look(&scratch.path().join("mirror.git")),
    };
    let mut mirror = opened.map_err(CommandError::Mirror)?;
    let branch = &settings.state.branch;
    if let Some(origin) = &settings.state.url {
        let way = reader::way_of_console(origin, &settings.state.reader);
        mirror = reader::through(mirror, origin, way).map_err(CommandError::Mirror)?;
        match mirror.fetch(origin, branch, Proposals::Ignore) {
            Ok(heads) => {
                let follows = |head| mirror.ancestry(commit, head);
                match heads.protected.as_ref().map(follows) {
                    Some(Ancestry::Same) => {}
                    Some(Ancestry::Descends) => newest = heads.protected,
                    Some(Ancestry::Diverged | Ancestry::Unknown) | None => {
                        output::note(&format!(
                            "warning: {commit} is no commit of {branch} in {origin}: this host stays frozen until it is\n"
                        ));
                    }
                }
            }
            Err(error) => {
                output::note(&format!(
                    "warning: {origin} did not answer, so this looks at what was fetched before: {}\n",
                    chain(&error)
                ));
                if let Mirrored::OfDaemon(state) = mirrored {
                    mirror =
                        Mirror::open_or_create(&state.mirror()).map_err(CommandError::Mirror)?;
                }
            }
        }
    }
    init::present(&mirror, commit, &facts.executor, out)?;
    let newest = newest.filter(|it| is_valid(&mirror, it, &facts.executor));
    if let Some(newest) = &newest {
        refuse_overrun(commit, newest, facts, &mirror, branch)?;
    }
    Ok(newest)
}

/// Whether an executor can be kept by a commit, so that it goes on to that one.
fn is_valid(mirror: &Mirror, commit: &CommitId, executor: &Executor) -> bool {
    let files = mirror.files(commit).map(bytes_of);
    files.is_ok_and(|files| rooms::read(&files, executor).is_ok())
}

/// An executor with which all is well goes on to the newest commit at once: an older one that is adopted is never planned, and
/// whoever wants to go back does it on the branch. Where something has to be decided, the same commit is a way out.
fn refuse_overrun(
    commit: &CommitId,
    newest: &CommitId,
    facts: &Facts,
    mirror: &Mirror,
    branch: &str,
) -> Result<(), CommandError> {
    let follows = matches!(
        mirror.ancestry(&facts.adopted, newest),
        Ancestry::Same | Ancestry::Descends
    );
    if facts.frozen.is_some() || !facts.needs_operator.is_empty() || !follows {
        return Ok(());
    }
    Err(CommandError::Refused(format!(
        "{} is not frozen, so its next cycle would go on from {} to {}, the newest commit of {branch}, and nothing was changed: to go \
         back, revert on {branch} by a pull request; `muster suspend --reason …` has nothing done until then",
        facts.executor,
        commit.short(),
        newest.short()
    )))
}
