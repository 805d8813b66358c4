//! `muster init`: the only command that makes state.

use muster_core::commit::CommitId;

use super::{CommandError, Common, Output, now};
use crate::exit;
use crate::state_dir::{Identity, Lock, Purpose, StateDir};

/// How the executor begins.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// The name to pin, in place of the one in the settings; they must agree afterwards.
    #[arg(long, value_name = "NAME")]
    name: Option<String>,
    /// The first commit to adopt, all digits of it.
    #[arg(long, value_name = "SHA")]
    adopt: Option<CommitId>,
    /// Do nothing, and call that a success, where an executor is already.
    #[arg(long)]
    if_needed: bool,
}

pub(super) fn run(args: &Args, common: &Common, out: &mut Output) -> Result<u8, CommandError> {
    let settings = common.settings()?;
    let state = StateDir::at(&settings.dir);
    if let Some(identity) = state.identity()? {
        if args.if_needed {
            return Ok(exit::OK);
        }
        return Err(crate::state_dir::StateError::Exists {
            dir: settings.dir,
            name: identity.name,
        }
        .into());
    }
    let host = &settings.policy.executor.host;
    if let Some(name) = args.name.as_ref().filter(|name| *name != host) {
        return Err(CommandError::Usage(format!(
            "the settings call this host {host}, not {name}; set [host] name = \"{name}\" in {} first",
            common.config.display()
        )));
    }
    let Some(url) = &settings.url else {
        return Err(CommandError::NotConfirmed(format!(
            "there is no state repository yet: set [state] url in {}",
            common.config.display()
        )));
    };
    let Some(adopt) = &args.adopt else {
        return Err(CommandError::NotConfirmed(format!(
            "nobody has said which commit of {} in {url} to begin with; look at it, then run: muster init --adopt SHA",
            settings.branch
        )));
    };
    state.make()?;
    let lock = Lock::take(&state, Purpose::Other("init"))?;
    let identity = Identity::random(host).map_err(CommandError::Random)?;
    state.create(&lock, &identity, adopt, now())?;
    out.line(format_args!(
        "host/{host} is executor {}, and begins with commit {adopt}.",
        identity.id
    ))?;
    out.line("Start it: systemctl start muster")?;
    Ok(exit::OK)
}
