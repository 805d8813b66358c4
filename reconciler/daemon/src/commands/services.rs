//! `muster services`: owner responses.

mod check;
mod report;
mod state;

use std::ffi::OsString;

use clap::Subcommand;

pub(super) use check::without_answers;

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
    /// Says what is wrong in answers and reviews, with file, line and column; fails while an answer is stale, secret or wrong.
    Check(check::CheckArgs),
    /// Says which lane each surface is in, and what keeps it there.
    Status(check::StatusArgs),
}

pub(super) fn run(args: &Args, out: &mut Output) -> Result<u8, CommandError> {
    match &args.command {
        Command::Report(args) => report::run(args, out),
        Command::Check(args) => check::check(args, out),
        Command::Status(args) => check::status(args, out),
    }
}

/// The command line, with what `services report` reads otherwise than the rest of muster (W2).
pub(super) fn as_before(args: Vec<OsString>) -> Vec<OsString> {
    match args.get(1..3) {
        Some([services, report]) if services == "services" && report == "report" => {
            report::as_before(args)
        }
        Some(_) | None => args,
    }
}
