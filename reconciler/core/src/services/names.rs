//! The names of files below `services/`, which can be secrets themselves: then no part of one is told or kept (LB5).

use super::checks::Check;
use super::evaluate::secrets_in;
use super::records::{Place, RESPONSES, REVIEWS, SERVICES, place};
use super::{say, secrets};
use crate::diagnostic::{Fault, Faults};

/// Whether the name of a file below `services/` tells a secret itself. What was asked about has a name that is known, and
/// `is_asked` says so.
pub fn tells_secret(path: &str, is_asked: impl Fn(&str) -> bool) -> bool {
    match place(path) {
        None | Some(Place::Inventory | Place::Requests) => false,
        Some(Place::Response(surface) | Place::Review(surface)) if is_asked(surface) => false,
        Some(Place::Response(_) | Place::Review(_) | Place::Elsewhere) => {
            let names = path.split('/').skip(1);
            names
                .map(|it| it.strip_suffix(".yaml").unwrap_or(it))
                .any(secrets::is_in_name)
        }
    }
}

/// A path as it may be told: a name that is a secret itself is left out, and nothing in its place says anything of it (LB5).
pub fn shown(path: &str) -> &str {
    if !tells_secret(path, |_| false) {
        return path;
    }
    [RESPONSES, REVIEWS]
        .into_iter()
        .find(|it| path.starts_with(it))
        .unwrap_or(SERVICES)
}

/// What is secret in a file below `services/` that is no surface's: nobody asks for it or reads it, and git keeps it all the same
/// (W5, LB8). A large file is no answer for that.
pub(super) fn secrets_of_nobody(bytes: &[u8]) -> impl Iterator<Item = Fault> {
    let found = secrets_in(bytes).into_iter();
    found.filter(|it| it.rule != secrets::TOO_LONG).map(|it| {
        let at = u32::try_from(it.at).unwrap_or_default();
        let problem = format!("something secret or unredacted is in it (rule {})", it.rule);
        Fault::error(Check::SecretValueAbsent.row().id, at, problem).help(say::ROTATE)
    })
}

/// Tells of a file below `services/` that nobody reads.
pub(crate) fn nobody_reads(bytes: &[u8], faults: &mut Faults) {
    faults.add(super::records::nobody_reads());
    for fault in secrets_of_nobody(bytes) {
        faults.add(fault);
    }
}

/// That the name of a file below `services/` tells a secret: the file is not read, and its name is told nowhere.
pub(crate) fn secret_name() -> Fault {
    Fault::of_file(
        "secret-in-name",
        "the name of a file in this folder tells a secret, and is not repeated here",
    )
    .help(
        "rotate it, for git keeps every name that was pushed; then call the file after its surface, responses/<surface_id>.yaml",
    )
}
