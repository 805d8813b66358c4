//! What stands in the way of steps on a host beside its accounts, groups and ranges: nothing on nearly every one.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

/// What is in the way, and of whom. Each part is about somebody; nobody else is held up by it (F25).
///
/// In an inventory it is a key of its own that is there only where there is something to say. A version that does not know the
/// key refuses the file, as it refuses every unknown key: it would promise steps that the host does not carry out.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Hindrances {
    /// Why nobody gets an account now, if nobody does: settings of new accounts that cannot be read.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub newcomers: Option<String>,
    /// Why nobody gets a name or an id now, if nobody does: somebody who gives them out here, too, does not answer (F23).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub silent: Option<String>,
    /// Names that nobody gets, and why: somebody else knows them (F23).
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub names: BTreeMap<String, String>,
    /// Accounts whose lines in the account databases cannot be edited: what is wrong with them, by name.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub lines: BTreeMap<String, String>,
    /// Uids that no account above has and that are taken all the same, each with what has it: a line that is broken, or the second
    /// one of a name; or a home, mail or a crontab that a former account left (F24).
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub uids: BTreeMap<u32, BTreeSet<String>>,
    /// Gids that no group above has and that are taken all the same: by a line that is broken, as a primary group that is none,
    /// or by a group that a name service knows, as far as asked.
    #[serde(skip_serializing_if = "BTreeSet::is_empty")]
    pub gids: BTreeSet<u32>,
    /// People some of whose processes are not ended because they are somebody else's, too: which, and whose (F21). What runs on a
    /// host is not written down.
    #[serde(skip)]
    pub spared: BTreeMap<String, String>,
}

impl Hindrances {
    /// Whether an inventory has something to say of them.
    pub(crate) fn are_worth_writing(&self) -> bool {
        let Self {
            newcomers,
            silent,
            names,
            lines,
            uids,
            gids,
            spared: _,
        } = self;
        newcomers.is_some()
            || silent.is_some()
            || !names.is_empty()
            || !lines.is_empty()
            || !uids.is_empty()
            || !gids.is_empty()
    }
}
