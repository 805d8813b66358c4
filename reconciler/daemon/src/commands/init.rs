//! `muster init`: the only command that makes state.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{self, IsTerminal as _};

use muster_core::clock::Clock;
use muster_core::commit::CommitId;
use muster_core::diagnostic::{self, visible};
use muster_core::executor::{Executor, ExecutorKind};
use muster_core::ink::count;
use muster_core::release::TagHorizon;
use muster_core::release::statement::LONGEST_WINDOW;
use muster_core::rooms;
use muster_core::time::Time;
use muster_core::world::Source as _;
use muster_git::{Ancestry, CommitInfo, Mirror, Origin, Proposals};

use super::here::TheOne;
use super::services::without_answers;
use super::{CommandError, Common, Output, now, output};
use crate::clock;
use crate::cycle::chain;
use crate::executors::{AssembleError, open_source};
use crate::exit;
use crate::host_key;
use crate::outside::{OutsideError, bytes_of, refused};
use crate::reader;
use crate::settings::{Settings, unit_of};
use crate::state_dir::{Identity, Lock, Purpose, StateDir, StateError};

/// How the executor begins.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// The name to pin; it must be the one in the settings.
    #[arg(long, value_name = "NAME")]
    name: Option<String>,
    /// The first commit to adopt, all digits of it: the protected branch's, or an earlier one.
    #[arg(long, value_name = "SHA")]
    adopt: Option<CommitId>,
    /// Do nothing, and call that a success, where an executor is already.
    #[arg(long)]
    if_needed: bool,
    /// Begin with what the protected branch shows now, without asking.
    #[arg(long, conflicts_with = "adopt")]
    yes: bool,
    /// Never ask, even at a terminal.
    #[arg(long)]
    non_interactive: bool,
    #[command(flatten)]
    here: TheOne,
}

pub(super) fn run(args: &Args, common: &Common, out: &mut Output) -> Result<u8, CommandError> {
    let settings = common.settings()?;
    let here = args.here.of(&settings)?;
    let state = here.state();
    if let Some(identity) = state.identity()? {
        if args.if_needed {
            return Ok(exit::OK);
        }
        return Err(StateError::Exists {
            dir: here.dir,
            name: identity.name,
        }
        .into());
    }
    let host = here.executor.name();
    let section = match here.executor.kind() {
        ExecutorKind::Host => "[host]",
        ExecutorKind::Guests => "[[guests]]",
        ExecutorKind::Cluster => "[[cluster]]",
        ExecutorKind::Ca => "[[ca]]",
    };
    if let Some(name) = args.name.as_ref().filter(|name| *name != host) {
        return Err(CommandError::Usage(format!(
            "the settings call it {host}, not {name}; set {section} name = \"{name}\" in {} first",
            common.config.display()
        )));
    }
    let Some(origin) = &settings.state.url else {
        return Err(AssembleError::NoOrigin.into());
    };
    let adopt = choose(args, &settings, origin, &here.executor, out)?;
    state.make()?;
    let lock = Lock::take(&state, Purpose::Other("init"))?;
    let identity = Identity::random(&here.executor).map_err(CommandError::Random)?;
    let key = host_key::read_or_make(&state, &lock).map_err(StateError::Key)?;
    let reading = clock::read(now);
    state.create(&lock, &identity, &adopt, reading.wall)?;
    clock::remember(&state, &Clock::beginning(&reading));
    out.line(format_args!(
        "{} is executor {}, and begins with commit {adopt}.",
        here.executor, identity.id
    ))?;
    out.line(format_args!("Its key: {}", key.public()))?;
    out.line(format_args!(
        "Start it: systemctl start {}",
        unit_of(&here.executor)
    ))?;
    // It is one now, whatever becomes of what follows.
    out.finish()?;
    if let Err(error) = keep(&settings, origin, &state, reading.wall) {
        output::note(&format!(
            "note: {adopt} is not kept on this machine yet ({}); the first cycle reads it\n",
            chain(&error)
        ));
    }
    Ok(exit::OK)
}

/// Shows a commit to the person who is to decide about it.
///
/// # Errors
/// When it cannot be read, or is not a valid state repository: what is wrong is shown, in what `executor` reads, too.
pub(super) fn present(
    mirror: &Mirror,
    commit: &CommitId,
    executor: &Executor,
    out: &mut Output,
) -> Result<(), CommandError> {
    let unreadable = |source| CommandError::Commit {
        commit: commit.clone(),
        source,
    };
    let CommitInfo {
        author,
        committed,
        subject,
    } = mirror.about(commit).map_err(unreadable)?;
    out.line(format_args!(
        "    {commit}\n    {}, {}\n    {}",
        visible(&author),
        Time(committed),
        visible(&subject)
    ))?;
    let (problems, shown) = match mirror.files(commit).map(bytes_of) {
        Ok(files) => match rooms::read_whole(&files, &[executor]) {
            Ok((state, _)) => {
                let people = state.documents.roster.people.len();
                return out.line(format_args!("    valid, {people} people\n"));
            }
            Err(problems) => (problems, without_answers(&files)),
        },
        Err(error) => (refused(error).map_err(unreadable)?, BTreeMap::new()),
    };
    out.text(&diagnostic::human(&problems, &shown))?;
    Err(CommandError::NotConfirmed(format!(
        "{commit} is not valid ({}, shown above): mend it first",
        count(problems.len(), "problem")
    )))
}

/// The commit to begin with: named, taken as it is, or confirmed by a person who has seen it.
fn choose(
    args: &Args,
    settings: &Settings,
    origin: &Origin,
    executor: &Executor,
    out: &mut Output,
) -> Result<CommitId, CommandError> {
    let branch = &settings.state.branch;
    let unreachable = |source| CommandError::Origin {
        origin: origin.to_string(),
        source,
    };
    // Not in the state directory: as long as nobody has decided, nothing is made there.
    let scratch = tempfile::tempdir().map_err(CommandError::Runtime)?;
    let mut mirror =
        Mirror::open_or_create(&scratch.path().join("state.git")).map_err(unreachable)?;
    let way = reader::way_of_console(origin, &settings.state.reader);
    mirror = reader::through(mirror, origin, way).map_err(unreachable)?;
    let heads = mirror
        .fetch(origin, branch, Proposals::Ignore)
        .map_err(unreachable)?;
    let Some(head) = heads.protected else {
        return Err(CommandError::NotConfirmed(format!(
            "{origin} has no branch {branch} yet: push a first commit"
        )));
    };
    let commit = args.adopt.clone().unwrap_or_else(|| head.clone());
    if !matches!(
        mirror.ancestry(&commit, &head),
        Ancestry::Same | Ancestry::Descends
    ) {
        return Err(CommandError::NotConfirmed(format!(
            "{commit} is no commit of {branch} in {origin}, which is at {head}"
        )));
    }
    out.line(format_args!(
        "The first commit to adopt, of {branch} in {origin}:\n"
    ))?;
    present(&mirror, &commit, executor, out)?;
    if args.adopt.is_some() || args.yes {
        return Ok(commit);
    }
    if args.non_interactive || !io::stdin().is_terminal() {
        return Err(CommandError::NotConfirmed(format!(
            "nobody is there to confirm it; when it is the right one, run: muster init --adopt {commit}"
        )));
    }
    out.text("Adopt it? [y/N] ")?;
    out.finish()?;
    let mut answer = String::new();
    io::stdin()
        .read_line(&mut answer)
        .map_err(CommandError::Runtime)?;
    if is_yes(&answer) {
        return Ok(commit);
    }
    Err(CommandError::NotConfirmed(
        "not confirmed; nothing was made".into(),
    ))
}

/// Reads the branch into the executor's own mirror, so that what it begins with is there, whatever becomes of the origin.
fn keep(
    settings: &Settings,
    origin: &Origin,
    state: &StateDir,
    now: Time,
) -> Result<(), OutsideError> {
    let mut source = open_source(settings, state, origin.clone(), Proposals::Ignore)?;
    let nothing_trusted = TagHorizon {
        signers: Some(BTreeSet::new()),
        since: now.plus(-LONGEST_WINDOW),
        version: 0,
    };
    source.heads(&nothing_trusted).map(drop)
}

/// Whether a person says so.
fn is_yes(answer: &str) -> bool {
    ["y", "yes"]
        .iter()
        .any(|it| answer.trim().eq_ignore_ascii_case(it))
}

#[cfg(test)]
mod tests {
    use super::is_yes;

    /// F33.
    #[test]
    fn y_is_yes_and_nothing_else_is() {
        assert!(["y\n", "Y", "yes\r\n", " Yes "].iter().all(|it| is_yes(it)));
        assert!(
            ["", "\n", "n", "no", "yy", "ja"]
                .iter()
                .all(|it| !is_yes(it))
        );
    }
}
