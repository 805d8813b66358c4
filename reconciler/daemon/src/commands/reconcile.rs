//! `muster reconcile`

use std::collections::BTreeSet;

use super::here::Those;
use super::{CommandError, Common, Output};
use crate::exit;
use crate::state_dir::poke;

/// Whose daemon.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    #[command(flatten)]
    here: Those,
}

pub(super) fn run(args: &Args, common: &Common, out: &mut Output) -> Result<u8, CommandError> {
    let settings = common.settings()?;
    let mut told = BTreeSet::new();
    for here in args.here.of(&settings)? {
        // One process may keep several; it hears of it once, or more often, which comes to the same.
        told.insert(poke(&here.state())?);
    }
    for pid in told {
        out.line(format_args!("Told process {pid} to look now."))?;
    }
    Ok(exit::OK)
}
