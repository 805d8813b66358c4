//! Renames that were begun and not finished, as lines under both names show.

use std::collections::{BTreeMap, HashMap};

use muster_core::accounts::observed::{Account, Question};
use muster_core::merge_join::MergeJoin;

use crate::accounts::Databases;

/// For each account whose rename was begun and not finished: the name under which its private group or its
/// subordinate ranges still stand beside the new one.
pub(super) fn unfinished(databases: &Databases, groups: &[(&str, u32)]) -> HashMap<String, String> {
    let groups = groups
        .iter()
        .map(|(name, gid)| (u64::from(*gid), *name))
        .collect();
    let ranges = databases
        .subuids()
        .map(|(owner, range)| (range.first, owner))
        .collect();
    let mut found = HashMap::new();
    for names in [groups, ranges].into_iter().flat_map(sharing) {
        let (present, gone): (Vec<&str>, Vec<&str>) = names
            .into_iter()
            .partition(|name| databases.apparent_account(name).is_some());
        if let ([new], [old]) = (present.as_slice(), gone.as_slice()) {
            found.insert((*new).to_owned(), (*old).to_owned());
        }
    }
    found
}

/// The same for a rename whose second batch stopped when neither group nor ranges tell any more: somebody the ledger
/// knows has no account, lines of theirs stand in other files, and another account has their home.
pub(super) fn half_removed(
    question: &Question<'_>,
    databases: &Databases,
    accounts: &BTreeMap<String, Box<Account>>,
) -> Vec<(String, String)> {
    let mut by_name = MergeJoin::new(accounts);
    let gone = question.people.iter().filter(|(user, subject)| {
        let has_account = by_name.get(user).is_some();
        !has_account && !subject.ask_name_services && subject.kept.is_none()
    });
    let renamed = gone.filter_map(|(old, subject)| {
        let home = subject.home?;
        let (new, account) = accounts.iter().find(|(_, it)| it.home == home)?;
        let left = databases.has_remnants(old, account.gid, None);
        left.then(|| (new.clone(), (*old).to_owned()))
    });
    renamed.collect()
}

/// Names that stand for the same id.
fn sharing(mut ids: Vec<(u64, &str)>) -> Vec<Vec<&str>> {
    ids.sort_unstable();
    ids.chunk_by(|a, b| a.0 == b.0)
        .filter(|chunk| chunk.len() > 1)
        .map(|chunk| {
            chunk
                .iter()
                .map(|(_, name)| *name)
                .filter(|it| !it.starts_with(|c: char| c.is_ascii_digit()))
                .collect()
        })
        .collect()
}
