//! What was read on a hypervisor, as a file of its ledger: whoever plans for it from elsewhere plans with it.

use serde::{Deserialize, Serialize};

use super::observed::Observed;
use crate::executor::Executor;
use crate::reading::RecordedFacts;
use crate::time::Time;

/// The format this version writes.
pub(crate) const FORMAT: u32 = 1;

/// The file after its head.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Wire {
    #[serde(rename = "format")]
    _format: u32,
    #[serde(rename = "executor")]
    _executor: Executor,
    #[serde(default)]
    recorded: Option<Time>,
    hypervisor: Observed,
    #[serde(default)]
    facts: Option<RecordedFacts>,
}

/// What such a file says: when it was read, where it says so, what was read, and the facts that it carries, if it does.
pub(crate) type Read = (Option<Time>, Observed, Option<RecordedFacts>);

/// Reads the file.
///
/// # Errors
/// When it is not what was written.
pub(crate) fn read(bytes: &[u8]) -> Result<Read, serde_json::Error> {
    let Wire {
        _format,
        _executor,
        recorded,
        hypervisor,
        facts,
    } = serde_json::from_slice(bytes)?;
    Ok((recorded, hypervisor, facts))
}

/// Writes what was read after the head of the file.
pub(crate) fn push_observed(out: &mut Vec<u8>, observed: &Observed) {
    #[derive(Serialize)]
    struct Line<'a>(&'a Observed);
    out.extend_from_slice(b",\n\"hypervisor\":");
    serde_json::to_writer(out, &Line(observed)).expect("plain records always serialise");
}
