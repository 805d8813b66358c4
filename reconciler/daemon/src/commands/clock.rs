//! `muster clock accept`: says, at the console, that this machine's clock is right; also while the daemon runs.

use muster_core::clock::{Accepted, NotAccepted};
use muster_core::journal::Entry;

use super::decide::{self, Asked, Console};
use super::here::TheOne;
use super::{CommandError, Common, Output, now, who};
use crate::clock;
use crate::exit;
use crate::settings::ExecutorSettings;
use crate::state_dir::StateDir;
use crate::suspension::{self, Decision, Request};

/// What is decided about the clock.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, clap::Subcommand)]
enum Command {
    /// Says that the clock is right, whatever is known and whatever was recorded after it jumped; `muster status` says what is
    /// the matter.
    Accept(AcceptArgs),
}

#[derive(Debug, clap::Args)]
struct AcceptArgs {
    /// Why, for those who read the record later.
    #[arg(long)]
    reason: String,
    #[command(flatten)]
    here: TheOne,
}

pub(super) fn run(args: &Args, common: &Common, out: &mut Output) -> Result<u8, CommandError> {
    let Args {
        command: Command::Accept(AcceptArgs { reason, here }),
    } = args;
    super::check_reason(reason)?;
    let settings = common.settings()?;
    let here = here.of(&settings)?;
    let accepted = match Console::open(&here, "clock") {
        Ok(console) => decide_here(console, reason),
        Err(error) if decide::is_daemon(&error) => ask(&here, reason),
        Err(error) => return Err(error),
    };
    match accepted? {
        Told::Accepted(Accepted { at }) => out.line(format_args!(
            "{} goes by its clock, which is at {at}.",
            here.executor
        ))?,
        Told::Well(well) => out.line(format_args!("{}: {well}.", here.executor))?,
        Told::Asked => out.line(decide::not_yet(&here.executor))?,
    }
    Ok(exit::OK)
}

/// What came of it.
enum Told {
    Accepted(Accepted),
    /// Nothing was the matter.
    Well(NotAccepted),
    /// The daemon has not answered yet.
    Asked,
}

fn refused(why: NotAccepted) -> Result<Told, CommandError> {
    match why {
        NotAccepted::Well(_) => Ok(Told::Well(why)),
        NotAccepted::BeforeBuild { .. } | NotAccepted::NoJump { .. } => {
            Err(CommandError::Refused(why.to_string()))
        }
    }
}

/// Decides about an executor at rest.
fn decide_here(mut console: Console, reason: &str) -> Result<Told, CommandError> {
    let facts = &console.opened.replayed.facts;
    let (latest, reading) = (facts.latest, clock::read(now));
    let mut known = clock::remembered(&console.state);
    let look = || clock::jump_in_records(&console.state, facts, reading.wall);
    let accepted = match known.accept(latest, &reading, clock::BUILT, look) {
        Ok(accepted) => accepted,
        Err(why) => return refused(why),
    };
    console.write(Entry::ClockAccepted {
        at: accepted.at,
        who: who(),
        reason: reason.to_owned(),
        latest,
    })?;
    clock::remember(&console.state, &known);
    Ok(Told::Accepted(accepted))
}

/// Has a daemon at work decide, and waits until it has.
fn ask(here: &ExecutorSettings, reason: &str) -> Result<Told, CommandError> {
    let state: StateDir = here.state();
    let facts = state.look_now(&here.executor)?.facts;
    let reading = clock::read(now);
    // It would say the same, and only in its log.
    let look = || clock::jump_in_records(&state, &facts, reading.wall);
    let would = clock::remembered(&state).accept(facts.latest, &reading, clock::BUILT, look);
    let accepted = match would {
        Ok(accepted) => accepted,
        Err(why) => return refused(why),
    };
    let request = Request {
        who: who(),
        reason: reason.to_owned(),
        decision: Decision::AcceptClock,
    };
    match decide::ask(&state, &request, "clock")? {
        Asked::Taken => Ok(Told::Accepted(accepted)),
        Asked::Refused(why) => Err(CommandError::Refused(why)),
        Asked::NotYet => Ok(Told::Asked),
        Asked::Idle(lock, left) => {
            let told = decide_here(Console::with(lock, here)?, reason);
            suspension::forget(&left);
            told
        }
    }
}
