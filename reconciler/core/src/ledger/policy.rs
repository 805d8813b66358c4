//! What an executor's administrator decided, as a file of the ledger: whoever plans for it from elsewhere plans with it.
//!
//! It is the executor's own word, written there by who owns its settings and signed with its key; nothing of a state repository
//! is in it (invariant 3). The executor itself never reads it back.

use super::LedgerError;
use crate::rooms::{self, Policy};

/// Its path in the ledger.
pub const FILE: &str = "policy.json";

/// The file.
pub fn to_bytes(policy: &Policy) -> Vec<u8> {
    rooms::policy_file(policy)
}

/// Reads the file.
///
/// # Errors
/// When it is of a newer format, not what was written, of an executor that cannot be, or declares benign what nobody can.
pub fn read(bytes: &[u8]) -> Result<Policy, LedgerError> {
    let executor = super::executor_of(FILE, bytes, rooms::policy_format)?;
    rooms::read_policy(&executor, bytes).map_err(|unusable| match unusable {
        rooms::Unusable::Malformed(source) => super::malformed(FILE, source),
        rooms::Unusable::NotDeclarable(verb) => LedgerError::NotDeclarable { verb },
        rooms::Unusable::NoRoom => LedgerError::Executor {
            found: executor.to_string(),
        },
    })
}
