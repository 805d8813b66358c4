//! `muster adopt`: the way out of a freeze, for root at the console.

use muster_core::commit::CommitId;
use muster_core::journal::Entry;
use muster_git::{Ancestry, Mirror, Proposals};

use super::decide::Console;
use super::here::TheOne;
use super::{CommandError, Common, Output, init, now, output, who};
use crate::clock;
use crate::cycle::chain;
use crate::exit;
use crate::reader;
use crate::settings::Settings;
use crate::state_dir::StateDir;

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
    let mut console = Console::open(&here, "adopt")?;
    look_at(commit, &settings, &console.state, out)?;
    let facts = &console.opened.replayed.facts;
    let at = clock::moment(&console.state, facts, now).now;
    let before = facts.adopted.clone();
    let entry = Entry::Reset {
        at,
        commit: commit.clone(),
        who: who(),
        reason: reason.clone(),
        nonce: None,
    };
    console.write(entry)?;
    out.line(format_args!(
        "{} adopts {commit}, in place of {before}.",
        here.executor
    ))?;
    Ok(exit::OK)
}

/// Shows the commit, which must be one that a host can be kept by: a mistyped or invalid one would only freeze it again.
/// An origin that does not answer is no obstacle as long as the mirror has the commit.
fn look_at(
    commit: &CommitId,
    settings: &Settings,
    state: &StateDir,
    out: &mut Output,
) -> Result<(), CommandError> {
    let mut mirror = Mirror::open_or_create(&state.mirror()).map_err(CommandError::Mirror)?;
    let branch = &settings.state.branch;
    if let Some(origin) = &settings.state.url {
        let way = reader::way_of_console(origin, &settings.state.reader);
        mirror = reader::through(mirror, origin, way).map_err(CommandError::Mirror)?;
        match mirror.fetch(origin, branch, Proposals::Ignore) {
            Ok(heads) => {
                let follows = |head| mirror.ancestry(commit, head);
                if !matches!(
                    heads.protected.as_ref().map(follows),
                    Some(Ancestry::Same | Ancestry::Descends)
                ) {
                    output::note(&format!(
                        "warning: {commit} is no commit of {branch} in {origin}: this host stays frozen until it is\n"
                    ));
                }
            }
            Err(error) => output::note(&format!(
                "warning: {origin} did not answer, so this looks at what was fetched before: {}\n",
                chain(&error)
            )),
        }
    }
    init::present(&mirror, commit, out)
}
