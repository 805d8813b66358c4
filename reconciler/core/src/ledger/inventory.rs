//! What was read of an executor's world, as a file: enough to plan for it from elsewhere.
//!
//! In the ledger the facts lie beside it; a file that stands alone carries them.

use std::collections::BTreeMap;

use super::{LedgerError, Through};
use crate::executor::{Executor, ExecutorKind};
use crate::facts::Facts;
use crate::reading::RecordedFacts;
use crate::rooms::{self, Observed};
use crate::time::Time;

/// Its path in the ledger.
pub const FILE: &str = "inventory.json";

/// A recorded world.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Inventory {
    /// Whose world it is.
    pub executor: Executor,
    /// When it was read, where the file says so; in a ledger, the commit does.
    pub recorded: Option<Time>,
    /// What was read.
    pub observed: Observed,
    /// What muster knows of its own doing there; in a ledger, it lies beside the inventory.
    pub facts: Option<Facts>,
}

impl Inventory {
    /// The file.
    pub fn to_bytes(&self) -> Vec<u8> {
        let Self {
            executor,
            recorded,
            observed,
            facts,
        } = self;
        let mut out = head(executor, *recorded);
        rooms::push_observed(&mut out, observed);
        if let Some(facts) = facts {
            out.extend_from_slice(b",\n\"facts\":");
            serde_json::to_writer(&mut out, &recorded_facts(facts))
                .expect("plain records always serialise");
        }
        out.extend_from_slice(b"}\n");
        out
    }

    /// The file in a ledger, which has facts and time elsewhere.
    pub fn bytes_in_ledger(executor: &Executor, observed: &Observed) -> Vec<u8> {
        let mut out = head(executor, None);
        rooms::push_observed(&mut out, observed);
        out.extend_from_slice(b"}\n");
        out
    }

    /// Reads the file.
    ///
    /// # Errors
    /// When it is of a newer format, or not what was written.
    pub fn read(bytes: &[u8]) -> Result<Self, LedgerError> {
        let executor = super::executor_of(FILE, bytes, rooms::inventory_format)?;
        let read = rooms::read_inventory(executor.kind(), bytes)
            .map_err(|source| super::malformed(FILE, source))?;
        let Some((recorded, observed, facts)) = read else {
            return Err(LedgerError::Executor {
                found: executor.to_string(),
            });
        };
        let kind = executor.kind();
        Ok(Self {
            executor,
            recorded,
            observed,
            facts: facts.map(|it| facts_of(kind, it)).transpose()?,
        })
    }
}

fn head(executor: &Executor, recorded: Option<Time>) -> Vec<u8> {
    let mut out = Vec::with_capacity(1 << 16);
    let format = rooms::inventory_format(executor.kind());
    out.extend_from_slice(
        format!("{{\"format\":{format},\n\"executor\":\"{executor}\"").as_bytes(),
    );
    if let Some(recorded) = recorded {
        out.extend_from_slice(b",\n\"recorded\":");
        serde_json::to_writer(&mut out, &recorded).expect("plain records always serialise");
    }
    out
}

fn recorded_facts(facts: &Facts) -> RecordedFacts {
    let mut files = super::files(facts, &Through::default());
    let value = |text: &[u8]| serde_json::from_slice(text).expect("BUG: what was just written");
    let state = files.remove(super::STATE).unwrap_or_default();
    let releases = files.remove(super::RELEASES).unwrap_or_default();
    let values = |file: &Vec<u8>| -> Vec<serde_json::Value> {
        let lines = file.split(|byte| *byte == b'\n');
        lines.filter(|it| !it.is_empty()).map(value).collect()
    };
    RecordedFacts {
        state: value(&state),
        people: files.values().flat_map(values).collect(),
        releases: values(&releases),
    }
}

fn facts_of(kind: ExecutorKind, recorded: RecordedFacts) -> Result<Facts, LedgerError> {
    let text = |value: &serde_json::Value| {
        let mut line = serde_json::to_vec(value).expect("what was read can be written");
        line.push(b'\n');
        line
    };
    let lines = |values: &[serde_json::Value]| values.iter().flat_map(text).collect();
    let mut files = BTreeMap::from([
        (super::STATE.to_owned(), text(&recorded.state)),
        (super::RELEASES.to_owned(), lines(&recorded.releases)),
    ]);
    if let Some(path) = rooms::file_of_lines(kind) {
        files.insert(path, lines(&recorded.people));
    }
    Ok(super::facts(&files)?.0)
}
