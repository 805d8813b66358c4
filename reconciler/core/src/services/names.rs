//! The names of files below `services/`, which can be secrets themselves: then no part of one is told or kept (LB5).

use super::checks::Check;
use super::evaluate::secrets_in;
use super::records::{Place, RESPONSES, REVIEWS, SERVICES, place};
use super::secrets::Found;
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

/// What is secret in a file below `services/`, by its bytes alone: whatever it is called, git keeps it (W5, LB8).
pub fn secrets_at(path: &str, bytes: &[u8]) -> Vec<Found> {
    match place(path) {
        None => Vec::new(),
        Some(Place::Response(_) | Place::Review(_)) => secrets_in(bytes),
        // Digests and texts of a tool are all that these have.
        Some(Place::Inventory | Place::Requests) => {
            secrets::tokens(&String::from_utf8_lossy(bytes))
        }
        Some(Place::Elsewhere) => {
            let text = String::from_utf8_lossy(bytes);
            let each = pieces(&text).into_iter();
            let found = each.flat_map(|(start, piece)| {
                let found = secrets_in(piece.as_bytes()).into_iter();
                found.map(move |it| Found {
                    at: start + it.at,
                    ..it
                })
            });
            let mut found: Vec<Found> = found.collect();
            let mut rest = WHOLLY.min(text.len());
            while !text.is_char_boundary(rest) {
                rest += 1;
            }
            let tokens = secrets::tokens(&text[rest..]).into_iter();
            found.extend(tokens.map(|it| Found {
                at: rest + it.at,
                ..it
            }));
            found
        }
    }
}

/// So much of a file that nobody reads is looked through in every way, in pieces of [`PIECE`] bytes; of the rest only tokens that are
/// known by how they begin are told.
const WHOLLY: usize = 1 << 20;
const PIECE: usize = 32 << 10;

/// A text in pieces that end with a line where they can, and where each begins.
fn pieces(text: &str) -> Vec<(usize, &str)> {
    let mut pieces = Vec::new();
    let mut start = 0;
    while start < text.len().min(WHOLLY) {
        let mut end = (start + PIECE).min(text.len());
        while !text.is_char_boundary(end) {
            end -= 1;
        }
        let line = text[start..end].rfind('\n').map(|it| start + it + 1);
        let end = line.filter(|_| end < text.len()).unwrap_or(end);
        pieces.push((start, &text[start..end]));
        start = end;
    }
    pieces
}

/// The same as faults of the file.
pub(super) fn faults_of_secrets(path: &str, bytes: &[u8]) -> impl Iterator<Item = Fault> {
    secrets_at(path, bytes).into_iter().map(|it| {
        let at = u32::try_from(it.at).unwrap_or_default();
        let problem = format!("something secret or unredacted is in it (rule {})", it.rule);
        Fault::error(Check::SecretValueAbsent.row().id, at, problem).help(say::ROTATE)
    })
}

/// Tells of a file below `services/` that nobody reads.
pub(crate) fn nobody_reads(bytes: &[u8], faults: &mut Faults) {
    faults.add(super::records::nobody_reads());
    for fault in faults_of_secrets(SERVICES, bytes) {
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
