//! Fetching every reference below some directories of an origin, such as the ledgers of many hosts.
//!
//! From a local origin nothing is copied: its references are read when something has moved, and its objects through the
//! mirror's view. A server is asked once in each call, whether or not something moved.

use std::collections::BTreeMap;
use std::path::Path;

use gix::objs;
use muster_core::commit::CommitId;

use crate::commits;
use crate::fetch_error::FetchError;
use crate::heads::Gathered;
use crate::local;
use crate::mirror::Mirror;
use crate::objects::{commit_id, object_id};
use crate::origin::{Origin, RemoteUrl};
use crate::pack::Keep;
use crate::read_error::ReadError;
use crate::refs;
use crate::remote::{self, Wanted};
use crate::signature::Signature;

/// Where the mirror keeps what it gathered: `refs/x` becomes `refs/muster/fetched/below/x`.
const GATHERED: &str = "refs/muster/fetched/below/";

/// The largest commit that is read of a ledger: many steps in one message.
const COMMIT_LIMIT: u64 = 64 << 20;

impl Mirror {
    /// Fetches the references below each of `dirs` (such as `refs/muster/host/`, with the slash) in `origin`.
    ///
    /// # Errors
    /// When the origin did not answer. What was gathered before stays.
    pub fn gather(&mut self, origin: &Origin, dirs: &[&str]) -> Result<Gathered, FetchError> {
        match origin {
            Origin::Local(path) => {
                if let Some((seen, signature, gathered)) = &self.gathered
                    && seen == path
                    && signature.still_holds()
                {
                    return Ok(gathered.clone());
                }
                self.gathered = None;
                let (signature, gathered) = self.gather_local(path, dirs)?;
                self.gathered = Some((path.clone(), signature, gathered.clone()));
                Ok(gathered)
            }
            Origin::Remote(url) => {
                self.view = None;
                self.gather_remote(url, dirs)
            }
        }
    }

    /// Whether there may be more to gather than was found last. Always, for a server.
    pub fn may_gather_more(&self) -> bool {
        self.gathered
            .as_ref()
            .is_none_or(|(_, signature, _)| !signature.still_holds())
    }

    fn gather_local(
        &mut self,
        path: &Path,
        dirs: &[&str],
    ) -> Result<(Signature, Gathered), FetchError> {
        let layout = self.layout_of(path)?;
        self.be_of(layout.kind)?;
        let signature = Signature::of_dirs(&layout, dirs);
        let mut found = BTreeMap::new();
        let mut unread = BTreeMap::new();
        for dir in dirs {
            let listed = local::references(&layout, dir, self.limits)?;
            found.extend(listed.found);
            let broken = |name| (name, "it holds no commit id".to_owned());
            unread.extend(listed.unread.into_iter().map(broken));
        }
        if layout.elsewhere {
            self.view = None;
            local::transfer(self, &layout, &found)?;
        } else {
            self.look_into(&layout)?;
        }
        let found = found
            .into_iter()
            .map(|(name, id)| (name, commit_id(&id)))
            .collect();
        Ok((signature, Gathered { found, unread }))
    }

    fn gather_remote(&mut self, url: &RemoteUrl, dirs: &[&str]) -> Result<Gathered, FetchError> {
        // The next packing drops liveness commits that were replaced.
        self.keep = Keep::Referenced;
        let refspecs: Vec<String> = dirs
            .iter()
            .map(|dir| format!("+{dir}*:{}*", gathered_name(dir)))
            .collect();
        let mut unread = BTreeMap::new();
        let refused = dirs.iter().any(|dir| self.refused.has_any_below(dir));
        let all = match refused {
            true => None,
            false => Some(remote::run_fetch_all(self, url, &["--prune"], &refspecs)),
        };
        match all {
            Some(Ok(())) => {}
            Some(Err(error)) if !error.is_of_what_is_fetched() => return Err(error),
            Some(Err(_)) | None => {
                let there = remote::list_below(self, url, dirs)?;
                let here = refs::list(&self.dir, GATHERED, self.own.kind())?.found;
                let is_gone =
                    |name: &&String| original_name(name).is_none_or(|it| !there.contains_key(&it));
                self.forget_all(here.keys().filter(is_gone))?;
                for dir in dirs {
                    self.refused.retain(dir, |name| there.contains_key(name));
                }
                let due = there
                    .iter()
                    .filter(|(name, id)| here.get(&gathered_name(name)) != Some(id))
                    .map(|(name, id)| Wanted::new(name, *id, &gathered_name(name)))
                    .collect();
                unread = remote::fetch_wanted(self, url, due)?;
            }
        }
        // Each sign of life takes the place of another.
        self.has_dropped()?;
        let listed = refs::list(&self.dir, GATHERED, self.own.kind())?;
        let found = listed
            .found
            .iter()
            .filter_map(|(name, id)| Some((original_name(name)?, commit_id(id))))
            .collect();
        Ok(Gathered { found, unread })
    }

    /// The raw bytes of a commit, whose hash is its id.
    ///
    /// # Errors
    /// When it is not there or cannot be read.
    pub fn commit_bytes(&self, commit: &CommitId) -> Result<Vec<u8>, ReadError> {
        let id = object_id(commit);
        self.own_or_view(|objects| objects.read(&id, objs::Kind::Commit, COMMIT_LIMIT))
    }

    /// Those files of a commit of a ledger whose path is `wanted`; the others are not even opened.
    ///
    /// # Errors
    /// When something cannot be read, or is more than a ledger can be.
    pub fn ledger_files(
        &self,
        commit: &CommitId,
        wanted: &dyn Fn(&str) -> bool,
    ) -> Result<BTreeMap<String, Vec<u8>>, ReadError> {
        let id = object_id(commit);
        self.own_or_view(|objects| commits::files_where(&objects, &id, wanted))
    }

    /// The first commit that is `wanted` by its message, from `commit` back along the first parents, of `limit` at most.
    ///
    /// # Errors
    /// When a commit on the way cannot be read.
    pub fn look_back(
        &self,
        commit: &CommitId,
        limit: usize,
        wanted: &dyn Fn(&[u8]) -> bool,
    ) -> Result<Option<CommitId>, ReadError> {
        let id = object_id(commit);
        self.own_or_view(|objects| commits::look_back(&objects, &id, limit, wanted))
    }
}

fn gathered_name(name: &str) -> String {
    format!("{GATHERED}{}", name.strip_prefix("refs/").unwrap_or(name))
}

fn original_name(kept: &str) -> Option<String> {
    kept.strip_prefix(GATHERED)
        .map(|rest| format!("refs/{rest}"))
}
