//! The people that a host keeps as files of its ledger: 256 shards with a line of JSON for each person, so that a commit costs
//! what changed and a load opens few files.

use std::collections::{BTreeMap, BTreeSet};

use sha2::{Digest as _, Sha256};

use super::facts::PersonFacts;
use super::line;
use crate::bytes::{lines_of, places_in_order};

/// The folder of the shards.
pub const PEOPLE: &str = "people/";

/// About the shortest line of a person, in bytes: how much memory to reserve.
const SHORT_LINE: usize = 64;

/// The file that a person's line is in.
pub fn shard(user: &str) -> String {
    shard_path(shard_number(user))
}

fn shard_number(user: &str) -> u8 {
    Sha256::digest(user.as_bytes())[0]
}

fn shard_path(number: u8) -> String {
    format!("{PEOPLE}{number:02x}.jsonl")
}

/// The shards: all of them, or those of `only` these people. `None` is a shard without a line.
pub(crate) fn files(
    people: &BTreeMap<String, Box<PersonFacts>>,
    only: Option<&BTreeSet<String>>,
) -> BTreeMap<String, Option<Vec<u8>>> {
    let wanted: Option<BTreeSet<u8>> =
        only.map(|users| users.iter().map(|user| shard_number(user)).collect());
    let mut shards: BTreeMap<u8, Option<Vec<u8>>> = wanted
        .iter()
        .flatten()
        .map(|number| (*number, None))
        .collect();
    if wanted.as_ref().is_some_and(BTreeSet::is_empty) {
        return BTreeMap::new();
    }
    for (user, person) in people {
        let number = shard_number(user);
        if wanted.as_ref().is_none_or(|it| it.contains(&number)) {
            let lines = shards.entry(number).or_default().get_or_insert_default();
            line::push(lines, user, person);
        }
    }
    let path = |(number, lines)| (shard_path(number), lines);
    shards.into_iter().map(path).collect()
}

/// Reads everybody out of the files of a ledger.
///
/// # Errors
/// The file and the line, from 1, that cannot be read, and why.
pub(crate) fn read(
    files: &BTreeMap<String, Vec<u8>>,
) -> Result<BTreeMap<String, Box<PersonFacts>>, (String, usize, serde_json::Error)> {
    let shards = || files.iter().filter(|(path, _)| path.starts_with(PEOPLE));
    let mut lines = Vec::with_capacity(shards().map(|(_, it)| it.len() / SHORT_LINE).sum());
    for (path, content) in shards() {
        for (index, line) in lines_of(content) {
            lines.push((path, index, line));
        }
    }
    // What is known of a person is large, and a map is made of names in their order far faster than shard by shard: the
    // lines are sorted, and everybody is read into their place.
    let in_order = places_in_order(lines.len(), |at| line::name(lines[at as usize].2));
    let mut people = Vec::with_capacity(lines.len());
    for (path, index, line) in in_order.into_iter().map(|at| lines[at as usize]) {
        let person = line::read(line).map_err(|source| (path.clone(), index + 1, source))?;
        people.push(person);
    }
    Ok(people.into_iter().collect())
}
