//! Carrying objects from one repository on this machine to another, as a pack through a pipe.

use std::path::Path;
use std::process::Command;

use crate::pack;
use crate::run::{self, Limits, RunError};

/// Packs in one repository what `revisions` lead to (one id a line; `^` before an id that the other repository has), and
/// unpacks it in the other, whose packs are in `packs`. `from` and `to` are git commands on the two repositories.
pub(crate) fn objects(
    mut from: Command,
    mut to: Command,
    revisions: &str,
    packs: &Path,
    limits: Limits,
) -> Result<(), RunError> {
    from.args([
        "pack-objects",
        "--revs",
        "--stdout",
        "--quiet",
        "--delta-base-offset",
        "--thin",
    ]);
    to.args(["index-pack", "--stdin", "--fix-thin", "--strict"]);
    run::pipe(
        from,
        revisions.as_bytes(),
        to,
        "git pack-objects",
        limits,
        &mut || pack::unfinished_bytes(packs),
    )
}
