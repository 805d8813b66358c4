//! `muster validate`: as the roster engine before did it, with its exit codes (R10, R11, R25).

use std::path::PathBuf;

use clap::ValueEnum;
use muster_core::compat::{self, Absent};

use super::{CommandError, Output, output, roster};
use crate::exit;

/// What is compared.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// The roster.
    #[arg(long, value_name = "FILE")]
    roster: PathBuf,
    /// A JSON map from k8s_user to tier.
    #[arg(long, value_name = "FILE")]
    k8s_users_json: PathBuf,
    /// What it means when somebody is not in that map yet.
    #[arg(long, value_enum, default_value_t = WhenAbsent::Error)]
    absent: WhenAbsent,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum WhenAbsent {
    /// An error.
    Error,
    /// A warning.
    Warn,
}

pub(super) fn run(args: &Args, _: &mut Output) -> Result<u8, CommandError> {
    let bytes = roster::read_or_fail(&args.roster)?;
    let people = roster::parse(&args.roster, &bytes)?;
    let json = roster::read_or_fail(&args.k8s_users_json)?;
    let absent = match args.absent {
        WhenAbsent::Error => Absent::Error,
        WhenAbsent::Warn => Absent::Warn,
    };
    let found = compat::validate(&people, &json, absent).map_err(|source| CommandError::Json {
        path: args.k8s_users_json.clone(),
        source,
    })?;
    let lines = found.warnings.iter().map(|it| format!("WARN {it}\n"));
    let text: String = lines
        .chain(found.errors.iter().map(|it| format!("{it}\n")))
        .collect();
    output::note(&text);
    Ok(if found.errors.is_empty() {
        exit::OK
    } else {
        exit::FAILED
    })
}
