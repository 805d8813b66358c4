//! `muster notes-as-owner`: the child that writes notes into an origin that belongs to somebody else.

use std::io;

use super::CommandError;
use crate::exit;

pub(super) fn run() -> Result<u8, CommandError> {
    muster_git::reader::bind_this_process().map_err(CommandError::Runtime)?;
    muster_git::notes::serve_child(io::stdin().lock(), io::stdout().lock())
        .map_err(CommandError::Output)?;
    Ok(exit::OK)
}
