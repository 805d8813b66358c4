//! `muster reconcile`

use super::{CommandError, Common, Output};
use crate::exit;
use crate::state_dir::{StateDir, poke};

/// Nothing to choose.
#[derive(Debug, clap::Args)]
pub(super) struct Args {}

pub(super) fn run(_: &Args, common: &Common, out: &mut Output) -> Result<u8, CommandError> {
    let settings = common.settings()?;
    let pid = poke(&StateDir::at(&settings.state.dir))?;
    out.line(format_args!("Told process {pid} to look now."))?;
    Ok(exit::OK)
}
