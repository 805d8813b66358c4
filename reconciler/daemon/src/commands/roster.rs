//! A roster that is named on the command line.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use muster_core::diagnostic;
use muster_core::repo::{Roster, read_roster};

use super::{CommandError, output};

/// Reads the bytes of a file that `validate` or `derive` was given: when it cannot be read they end with 1 (R25).
pub(super) fn read_or_fail(path: &Path) -> Result<Vec<u8>, CommandError> {
    fs::read(path).map_err(|source| CommandError::CompatInput {
        path: path.to_owned(),
        source,
    })
}

/// Reads a roster; what is wrong with it is told with its lines.
pub(super) fn parse<'a>(path: &Path, bytes: &'a [u8]) -> Result<Roster<'a>, CommandError> {
    let name = path.display().to_string();
    let show = |problems: &diagnostic::Diagnostics| {
        let files = BTreeMap::from([(name.clone(), bytes.to_vec())]);
        output::note(&diagnostic::human(problems, &files));
    };
    match read_roster(&name, bytes) {
        Ok((roster, warnings)) => {
            if !warnings.is_empty() {
                show(&warnings);
            }
            Ok(roster)
        }
        Err(problems) => {
            show(&problems);
            Err(CommandError::Roster {
                path: path.to_owned(),
                source: problems,
            })
        }
    }
}
