//! `muster derive`: as the roster engine before did it, byte for byte (R13 to R20, R25).

use std::path::PathBuf;

use muster_core::compat;

use super::{CommandError, Output, roster};
use crate::exit;

/// What is derived from.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// The roster.
    #[arg(long, value_name = "FILE")]
    roster: PathBuf,
    /// A JSON map from os_user to the port they have.
    #[arg(long, value_name = "FILE")]
    ports_json: PathBuf,
}

pub(super) fn run(args: &Args, out: &mut Output) -> Result<u8, CommandError> {
    let bytes = roster::read_or_fail(&args.roster)?;
    let people = roster::parse(&args.roster, &bytes)?;
    let ports = roster::read_or_fail(&args.ports_json)?;
    let mut text = String::new();
    compat::derive(&people, &ports, &mut text).map_err(CommandError::Derive)?;
    out.text(&text)?;
    Ok(exit::OK)
}
