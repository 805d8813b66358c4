//! What is in the account databases beside accounts, and keeps a name or an id from being given, or a line from being edited.

use std::collections::{BTreeMap, BTreeSet};

use muster_core::accounts::observed::{Account, Question};
use muster_core::merge_join::MergeJoin;

use crate::accounts::{self, Databases};

/// The uids of lines that are no account's of those told of: broken ones of passwd, all but one of a name, and those of subuid and
/// subgid that have a uid in place of a name, as whoever got that uid would get the range as well (F22).
pub(super) fn uids(
    databases: &Databases,
    by_name: &BTreeMap<String, Box<Account>>,
) -> BTreeMap<u32, BTreeSet<String>> {
    let told = sorted(by_name.values().map(|it| it.uid));
    let of_passwd = |(name, uid)| (uid, (accounts::File::Passwd, name));
    // Where each line is an account there is none beside them, and none has to be taken apart once more.
    let are_beside = by_name.len() < databases.account_lines();
    let in_passwd = are_beside.then(|| databases.claimed_uids().map(of_passwd));
    let claimed = in_passwd
        .into_iter()
        .flatten()
        .chain(owners_by_number(
            databases.subuids(),
            accounts::File::Subuid,
        ))
        .chain(owners_by_number(
            databases.subgids(),
            accounts::File::Subgid,
        ));
    let mut found: BTreeMap<u32, BTreeSet<String>> = BTreeMap::new();
    for (uid, (file, name)) in beside(sorted(claimed), &told, |(uid, _)| *uid) {
        let line = format!("a line of {name} in {file}");
        found.entry(uid).or_default().insert(line);
    }
    found
}

/// Lines that stop an edit and are no account's: of passwd, of which not even the ids can be read, and several of shadow (F25). Where
/// there is an account, several lines of shadow refuse nobody: whoever is to be shut out is shut out in each of them (F20).
pub(super) fn lines_of_nobody<'d>(
    databases: &'d Databases,
    by_name: &'d BTreeMap<String, Box<Account>>,
    listed: &[accounts::Account<'_>],
) -> impl Iterator<Item = (String, String)> {
    let unread = (listed.len() < databases.account_lines()).then(|| databases.unread_accounts());
    let unread = unread.into_iter().flatten().map(|(number, name)| {
        let file = accounts::File::Passwd;
        let why = format!("{file}:{number}: the line of {name} is malformed; correct it with vipw");
        (name, why)
    });
    let repeated = databases.repeated_in_shadow().into_iter().map(|name| {
        let file = accounts::File::Shadow;
        let why =
            format!("{file} has more than one line for {name}; remove all but one with vipw -s");
        (name, why)
    });
    let of_nobody = repeated
        .chain(unread)
        .filter(|(name, _)| !by_name.contains_key(*name));
    of_nobody.map(|(name, why)| (name.to_owned(), why))
}

/// The names that own a range of subuid or subgid and have no account: whoever got such a name would get the range as well, and what
/// belongs to ids in it (F22). What an interrupted step left is its own.
pub(super) fn names_with_ranges(
    databases: &Databases,
    by_name: &BTreeMap<String, Box<Account>>,
    question: &Question<'_>,
) -> BTreeMap<String, String> {
    /// Of more names, as where a directory's people have ranges in these files, those alone are told of that somebody asks for.
    const MANY: usize = 1_000;
    let in_file = |file| move |(owner, range): (_, accounts::IdRange)| (owner, (file, range.first));
    let subuids = databases.subuids().map(in_file(accounts::File::Subuid));
    let subgids = databases.subgids().map(in_file(accounts::File::Subgid));
    let mut accounts = MergeJoin::new(by_name);
    let mut without: Vec<_> = sorted(subuids.chain(subgids));
    without.retain(|(owner, _)| {
        let is_number = owner.bytes().all(|it| it.is_ascii_digit());
        !is_number && accounts.get(owner).is_none() && !question.remains.contains_key(owner)
    });
    if without.len() > MANY {
        without.retain(|(owner, _)| question.people.contains_key(owner));
    }
    let told = without.into_iter().map(|(owner, (file, first))| {
        let why = format!(
            "{file} has a range of {owner} already, from {first}: an account of that name would get it, and what belongs to its ids; \
             remove that line, and a range of its own comes with the account"
        );
        (owner.to_owned(), why)
    });
    told.collect()
}

/// The uids that own a range by their number, and the line that says so.
fn owners_by_number<'a>(
    lines: impl Iterator<Item = (&'a str, accounts::IdRange)>,
    file: accounts::File,
) -> impl Iterator<Item = (u32, (accounts::File, &'a str))> {
    lines.filter_map(move |(owner, _)| Some((owner.parse().ok()?, (file, owner))))
}

pub(super) fn sorted<T: Ord>(of: impl Iterator<Item = T>) -> Vec<T> {
    let mut all: Vec<T> = of.collect();
    // Mostly they are in order already: the stable sort takes what is in order as it is.
    all.sort();
    all
}

/// Those of a sorted list whose id is not in another: one walk over both.
pub(super) fn beside<T>(
    list: Vec<T>,
    known: &[u32],
    id: impl Fn(&T) -> u32,
) -> impl Iterator<Item = T> {
    let mut known = known.iter().copied().peekable();
    list.into_iter().filter(move |it| {
        let id = id(it);
        while known.next_if(|next| *next < id).is_some() {}
        known.peek() != Some(&id)
    })
}

/// Why the lines of one name are not to be edited, if they are not.
pub(super) fn why_not_edited(lines: &[accounts::Account<'_>]) -> Option<String> {
    match lines {
        [] => None,
        [only] => only.broken.map(|file| {
            let name = only.name;
            format!("the line of {name} in {file} is malformed; correct it with vipw")
        }),
        [first, ..] => Some(format!(
            "{} has more than one line for {}; remove all but one with vipw",
            accounts::File::Passwd,
            first.name
        )),
    }
}
