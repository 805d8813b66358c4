//! What is known of guests as a file of the ledger: a line of JSON for each of which something is known. Those are few, so it is one.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use super::facts::{GuestFacts, Known};
use crate::bytes::lines_of;

/// The file.
pub(crate) const FILE: &str = "guests.jsonl";

#[derive(Serialize, Deserialize)]
struct Line {
    guest: String,
    #[serde(flatten)]
    facts: serde_json::Map<String, serde_json::Value>,
}

/// The file, or nothing when none of `only` these guests can have changed in it. `None` is a file without a line.
pub(crate) fn files(
    known: &Known,
    only: Option<&BTreeSet<String>>,
) -> BTreeMap<String, Option<Vec<u8>>> {
    if only.is_some_and(BTreeSet::is_empty) {
        return BTreeMap::new();
    }
    let mut lines = Vec::new();
    for (guest, facts) in &known.guests {
        let mut object = serde_json::Map::new();
        object.insert("guest".to_owned(), guest.clone().into());
        if let serde_json::Value::Object(rest) =
            serde_json::to_value(facts).expect("plain records always serialise")
        {
            object.extend(rest);
        }
        serde_json::to_writer(&mut lines, &object).expect("plain records always serialise");
        lines.push(b'\n');
    }
    BTreeMap::from([(FILE.to_owned(), (!lines.is_empty()).then_some(lines))])
}

/// Reads them back.
///
/// # Errors
/// The file and the line, from 1, that cannot be read, and why.
pub(crate) fn read(
    files: &BTreeMap<String, Vec<u8>>,
) -> Result<Known, (String, usize, serde_json::Error)> {
    let mut known = Known::new();
    for (index, line) in lines_of(files.get(FILE).map_or(&[], Vec::as_slice)) {
        let read = serde_json::from_slice(line).and_then(|Line { guest, facts }| {
            let facts: GuestFacts = serde_json::from_value(facts.into())?;
            Ok((guest, facts))
        });
        let (guest, facts) = read.map_err(|source| (FILE.to_owned(), index + 1, source))?;
        known.guests.insert(guest, facts);
    }
    Ok(known)
}
