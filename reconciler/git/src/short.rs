//! What `git rev-parse --short HEAD` says in a directory, without running git.
//!
//! This is for whoever must say it as git does, with rights of their own, about a repository of their own: it is found as git finds it, and
//! `core.abbrev` counts wherever git would read it. Nothing else of muster asks here.

use std::path::Path;

use gix::open::Options;
use gix::sec::trust::Mapping;

/// As few digits as git takes by itself.
const SHORTEST: usize = 7;

/// The abbreviated id of HEAD of the repository that `directory` lies in; `None` where git would say that there is none: no repository,
/// one of somebody else, no commit yet.
pub fn short_head(directory: &Path) -> Option<String> {
    let options = Options::default().bail_if_untrusted(true);
    let map = Mapping {
        full: options.clone(),
        reduced: options,
    };
    let found = gix::ThreadSafeRepository::discover_with_environment_overrides_opts(
        directory,
        gix::discover::upwards::Options::default(),
        map,
    );
    let repository = found.ok()?.to_thread_local();
    let head = repository.head().ok()?;
    let id = head.id()?;
    // HEAD may name an object that is not there; git abbreviates it all the same.
    Some(match id.shorten() {
        Ok(prefix) => prefix.to_string(),
        Err(_) => id.to_hex_with_len(SHORTEST).to_string(),
    })
}
