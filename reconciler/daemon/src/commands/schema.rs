//! `muster schema`

use clap::ValueEnum;
use muster_core::guests::file;
use muster_core::repo::schema;
use muster_core::services::records;

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
    /// `guests/<name>.yaml`
    Guests,
    /// `services/responses/<surface_id>.yaml`
    Response,
    /// `services/reviews/<surface_id>.yaml`
    Review,
}

pub(super) fn run(args: &Args, out: &mut Output) -> Result<u8, CommandError> {
    out.text(&match args.kind {
        Kind::Roster => schema::roster(),
        Kind::Tiers => schema::tiers(),
        Kind::Host => schema::host(),
        Kind::Guests => file::published(),
        Kind::Response => records::response_schema(),
        Kind::Review => records::review_schema(),
    })?;
    Ok(exit::OK)
}
