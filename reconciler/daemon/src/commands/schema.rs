//! `muster schema`

use clap::ValueEnum;
use muster_core::repo::schema;

use super::{CommandError, Output};
use crate::exit;

/// Which schema.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// The kind of file.
    #[arg(value_enum)]
    kind: Kind,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum Kind {
    /// `roster.yaml`
    Roster,
    /// `tiers.yaml`
    Tiers,
    /// `hosts/<host>.yaml`
    Host,
}

pub(super) fn run(args: &Args, out: &mut Output) -> Result<u8, CommandError> {
    out.text(&match args.kind {
        Kind::Roster => schema::roster(),
        Kind::Tiers => schema::tiers(),
        Kind::Host => schema::host(),
    })?;
    Ok(exit::OK)
}
