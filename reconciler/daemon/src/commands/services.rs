//! `muster services`: owner responses.

mod report;

use clap::Subcommand;

use super::{CommandError, Output};

/// What is asked.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Writes what owners are asked, as JSON; takes the place of host-service-owner-response-acceptance.py, byte for byte.
    #[command(infer_long_args = true, args_override_self = true)]
    Report(report::Args),
}

pub(super) fn run(args: &Args, out: &mut Output) -> Result<u8, CommandError> {
    match &args.command {
        Command::Report(args) => report::run(args, out),
    }
}
