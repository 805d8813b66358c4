//! Fetching the heads of pull requests into the mirror. One that cannot be fetched does not keep the others from being
//! fetched.

use std::collections::BTreeMap;
use std::path::Path;

use gix::hash::ObjectId;
use muster_core::commit::CommitId;

use crate::fetch_error::FetchError;
use crate::local;
use crate::mirror::Mirror;
use crate::objects::{Source, commit_id, object_id};
use crate::origin::{Origin, RemoteUrl};
use crate::pack::Keep;
use crate::refs;
use crate::remote::{self, Wanted};

/// Where forges keep the heads of pull requests.
const PULLS: &str = "refs/pull/";
/// Where the mirror keeps those it fetched: `refs/pull/7/head` becomes `refs/muster/fetched/pull/7`.
const FETCHED_PULLS: &str = "refs/muster/fetched/pull/";

impl Mirror {
    /// Fetches the head of each of these pull requests from `refs/pull/<number>/head`, so that it can be merged, and forgets
    /// the heads of all others. Returns the reason for each that is missing, such as a head that has moved by now.
    ///
    /// # Errors
    /// When the origin did not answer at all.
    pub fn bring(
        &mut self,
        origin: &Origin,
        heads: &BTreeMap<u64, CommitId>,
    ) -> Result<BTreeMap<u64, String>, FetchError> {
        if let Some(reader) = &self.far {
            return reader.borrow_mut().bring(heads, self.limits.bytes);
        }
        match origin {
            Origin::Local(path) => self.bring_local(path, heads),
            Origin::Remote(url) => self.bring_remote(url, heads),
        }
    }

    fn bring_local(
        &mut self,
        path: &Path,
        heads: &BTreeMap<u64, CommitId>,
    ) -> Result<BTreeMap<u64, String>, FetchError> {
        if heads.is_empty() {
            return Ok(BTreeMap::new());
        }
        let layout = self.layout_of(path)?;
        self.be_of(layout.kind)?;
        let listed = local::references(&layout, PULLS, self.limits)?.found;
        let mut reasons = BTreeMap::new();
        let mut wanted = BTreeMap::new();
        for (number, head) in heads {
            let name = head_of(*number);
            match differs(head, listed.get(&name)) {
                Some(why) => drop(reasons.insert(*number, why)),
                None => drop(wanted.insert(name, object_id(head))),
            }
        }
        if layout.elsewhere {
            // One whose objects are incomplete must not keep the others away.
            if local::transfer(self, &layout, &wanted).is_err() {
                for (name, id) in &wanted {
                    let one = BTreeMap::from([(name.clone(), *id)]);
                    if let (Err(error), Some(number)) =
                        (local::transfer(self, &layout, &one), number_of(name))
                    {
                        reasons.insert(number, remote::detail(&error));
                    }
                }
            }
        } else if wanted.values().any(|id| !self.is_here(id)) {
            // An open object database does not see packs that were added since.
            self.look_into(&layout)?;
        }
        for (number, head) in heads {
            if !reasons.contains_key(number) && !self.is_here(&object_id(head)) {
                reasons.insert(*number, "its objects cannot be read".to_owned());
            }
        }
        Ok(reasons)
    }

    fn bring_remote(
        &mut self,
        url: &RemoteUrl,
        heads: &BTreeMap<u64, CommitId>,
    ) -> Result<BTreeMap<u64, String>, FetchError> {
        // The next packing drops the objects of pull requests that are gone.
        self.keep = Keep::Referenced;
        let here = refs::list(&self.dir, FETCHED_PULLS, self.own.kind())?;
        let kept: BTreeMap<String, ObjectId> = heads
            .iter()
            .map(|(number, head)| (format!("{FETCHED_PULLS}{number}"), object_id(head)))
            .collect();
        let gone = here.found.keys().filter(|name| !kept.contains_key(*name));
        self.forget_all(gone.chain(&here.unread))?;
        if (here.found.iter()).any(|(name, id)| kept.get(name).is_some_and(|it| it != id)) {
            self.has_dropped()?;
        }
        let mut due = Vec::new();
        for (number, head) in heads {
            let (name, id) = (format!("{FETCHED_PULLS}{number}"), object_id(head));
            if here.found.get(&name) != Some(&id) || !self.is_here(&id) {
                due.push(Wanted::new(&head_of(*number), id, &name));
            }
        }
        let known = |name: &str| number_of(name).is_some_and(|it| heads.contains_key(&it));
        self.refused.retain(PULLS, known);
        let unfetched = remote::fetch_wanted(self, url, due)?;
        let mut reasons: BTreeMap<u64, String> = unfetched
            .into_iter()
            .filter_map(|(name, why)| Some((number_of(&name)?, why)))
            .collect();
        for (number, head) in heads {
            let (name, id) = (format!("{FETCHED_PULLS}{number}"), object_id(head));
            if reasons.contains_key(number) {
                continue;
            }
            let arrived = refs::read(&self.dir, &name, id.kind()).ok().flatten();
            if let Some(why) = differs(head, arrived.as_ref()) {
                reasons.insert(*number, why);
            } else if !self.is_here(&id) {
                reasons.insert(*number, "its objects cannot be read".to_owned());
            }
        }
        Ok(reasons)
    }

    /// Whether a commit and its tree can be read.
    pub(crate) fn is_here(&self, id: &ObjectId) -> bool {
        [Some(&self.own), self.view.as_ref()]
            .into_iter()
            .flatten()
            .any(|objects| {
                objects
                    .commit(id)
                    .and_then(|commit| objects.tree(&commit.tree))
                    .is_ok()
            })
    }
}

fn head_of(number: u64) -> String {
    format!("{PULLS}{number}/head")
}

fn number_of(name: &str) -> Option<u64> {
    name.strip_prefix(PULLS)?
        .strip_suffix("/head")?
        .parse()
        .ok()
}

/// The reason why `found` is not the head that was asked for; `None` when it is.
fn differs(head: &CommitId, found: Option<&ObjectId>) -> Option<String> {
    match found {
        Some(found) if *found == object_id(head) => None,
        Some(found) => Some(format!(
            "it is at {} by now, and {} was asked for",
            commit_id(found).short(),
            head.short()
        )),
        None => Some("the state repository has no such pull request".to_owned()),
    }
}
