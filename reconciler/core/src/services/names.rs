//! The names of files below `services/`, which can be secrets themselves: then no part of one is told or kept (LB5).

use super::records::{Place, RESPONSES, REVIEWS, SERVICES, place};
use super::secrets;
use crate::diagnostic::Fault;

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
