//! Fetching from a remote origin with git.
//!
//! What the administrator configured for git (credential helpers, proxies, ssh) is honoured: root's and the system's
//! configuration are read. What would let a server or that configuration do more than fetch is overridden on the
//! command line.

use std::collections::BTreeMap;
use std::path::Path;
use std::process::Command;

use gix::hash::{Kind, ObjectId};
use muster_core::forge::queue_of;
use nix::unistd::{User, geteuid};

use crate::ancestry::Ancestry;
use crate::fetch_error::FetchError;
use crate::heads::{FETCHED, Heads, Proposals, fetched_name, heads_of};
use crate::mirror::Mirror;
use crate::objects::{Source, commit_id};
use crate::origin::RemoteUrl;
use crate::pack;
use crate::refs;
use crate::run::{self, RunError};
use crate::sync::Durability;
use crate::tags;

const OVERRIDES: [&str; 15] = [
    "core.hooksPath=/dev/null",
    "core.fsmonitor=false",
    "core.useReplaceRefs=false",
    "core.commitGraph=false",
    "gc.auto=0",
    "maintenance.auto=false",
    "transfer.bundleURI=false",
    "transfer.credentialsInUrl=die",
    "fetch.fsckObjects=true",
    "fetch.unpackLimit=1",
    "fetch.writeCommitGraph=false",
    "fetch.recurseSubmodules=false",
    "http.followRedirects=false",
    "http.lowSpeedLimit=100",
    "http.lowSpeedTime=60",
];

/// How many branches are fetched one by one when they cannot be fetched together.
const ONE_BY_ONE: usize = 50;

/// How many tags that cannot be fetched are remembered.
const GIVEN_UP: usize = 10_000;

/// Reads the branches at `url` and fetches what is new.
pub(crate) fn fetch(
    mirror: &mut Mirror,
    url: &RemoteUrl,
    protected: &str,
    proposals: Proposals,
) -> Result<Heads, FetchError> {
    let there = list(mirror, url, protected, proposals)?;
    if let Some(id) = there.found.values().next() {
        mirror.be_of(id.kind())?;
    }
    if let Some(tip) = there.found.get(protected) {
        fetch_protected(mirror, url, protected, tip)?;
    } else {
        refs::forget(&mirror.dir, &fetched_name(protected)).map_err(mirror.failed())?;
    }
    let mut unread = there.unread;
    if proposals != Proposals::Ignore {
        let below = match proposals {
            Proposals::Queued => queue_of(protected),
            Proposals::Include | Proposals::Ignore => "refs/heads/".to_owned(),
        };
        unread.extend(fetch_proposals(mirror, url, &below, &there.found)?);
    }
    unread.extend(tags::fetch(mirror, url, &there.found)?);
    // What arrived, not what was announced: a branch can move in between.
    let mut arrived = BTreeMap::new();
    arrived.extend(tags::kept(mirror)?);
    for (name, id) in refs::list(&mirror.dir, FETCHED, mirror.own.kind())?.found {
        let name = format!("refs/heads/{}", &name[FETCHED.len()..]);
        let is_wanted = proposals.has(&name, protected) && there.found.contains_key(&name);
        if name == protected || is_wanted {
            arrived.insert(name, id);
        }
    }
    Ok(heads_of(&arrived, protected, unread))
}

/// The branches and wanted tags that the server announces.
fn list(
    mirror: &Mirror,
    url: &RemoteUrl,
    protected: &str,
    proposals: Proposals,
) -> Result<refs::Listed, FetchError> {
    let mut command = git(mirror, url)?;
    command.args([
        "ls-remote",
        "--quiet",
        "--refs",
        "--end-of-options",
        url.as_str(),
    ]);
    match proposals {
        Proposals::Include => drop(command.arg("refs/heads/*")),
        Proposals::Queued => drop(command.args([protected, &format!("{}*", queue_of(protected))])),
        Proposals::Ignore => drop(command.arg(protected)),
    }
    if let Some(wanted) = &mirror.wanted_tags {
        command.args(wanted.below.iter().map(|dir| format!("{dir}*")));
    }
    let printed = run::run(command, "git ls-remote", b"", mirror.limits).map_err(failed(url))?;
    let is_wanted_tag = |name: &str| {
        mirror
            .wanted_tags
            .as_ref()
            .is_some_and(|wanted| wanted.has(name) && wanted.horizon.is_worth_asking(name))
    };
    let mut listed = refs::Listed::default();
    for line in printed
        .split(|byte| *byte == b'\n')
        .filter(|line| !line.is_empty())
    {
        let parsed = std::str::from_utf8(line)
            .ok()
            .and_then(|line| line.split_once('\t'));
        let id = parsed.and_then(|(hex, _)| ObjectId::from_hex(hex.as_bytes()).ok());
        match (parsed, id) {
            // A pattern also matches the end of a longer name.
            (Some((_, name)), Some(id)) if is_wanted_tag(name) && refs::is_legal(name) => {
                listed.found.insert(name.to_owned(), id);
            }
            (Some((_, name)), Some(_)) if !name.starts_with("refs/heads/") => {}
            (Some((_, name)), Some(_)) if name != protected && !proposals.has(name, protected) => {}
            (Some((_, name)), Some(id)) if refs::is_legal(name) => {
                listed.found.insert(name.to_owned(), id);
            }
            (None, _) | (_, None) if listed.found.is_empty() => {
                return Err(FetchError::Unexpected(run::printable(line)));
            }
            _ => listed.unread.push(line.escape_ascii().to_string()),
        }
    }
    Ok(listed)
}

/// Fetches the protected branch by itself, so that no proposal can keep it from arriving. A mirror in which something
/// is missing or damaged is emptied, and filled once more.
fn fetch_protected(
    mirror: &mut Mirror,
    url: &RemoteUrl,
    protected: &str,
    tip: &ObjectId,
) -> Result<(), FetchError> {
    let name = fetched_name(protected);
    let refspec = format!("+{protected}:{name}");
    let is_readable = |mirror: &Mirror, id: &ObjectId| {
        mirror
            .own
            .commit(id)
            .and_then(|commit| mirror.own.tree(&commit.tree))
            .is_ok()
    };
    if refs::read(&mirror.dir, &name, mirror.own.kind())
        .ok()
        .flatten()
        == Some(*tip)
        && is_readable(mirror, tip)
    {
        return Ok(());
    }
    let before = refs::read(&mirror.dir, &name, tip.kind()).ok().flatten();
    let fetched = run_fetch(mirror, url, &[&refspec]);
    if let Some(before) = before {
        keep_rewritten(mirror, &name, before)?;
    }
    let arrived = refs::read(&mirror.dir, &name, tip.kind()).ok().flatten();
    match fetched {
        Ok(()) if arrived.is_some_and(|id| is_readable(mirror, &id)) => Ok(()),
        Err(
            error @ FetchError::Git {
                source: RunError::NoGit | RunError::Start { .. } | RunError::TimedOut { .. },
                ..
            },
        ) => Err(error),
        first => {
            if arrived.is_none_or(|id| is_readable(mirror, &id)) {
                return first;
            }
            tracing::warn!(mirror = %mirror.dir.display(), "the mirror is damaged, it is fetched anew");
            mirror.start_over(tip.kind())?;
            run_fetch(mirror, url, &[&refspec])
        }
    }
}

/// What was enforced stays readable when the branch is rewritten, however the mirror is packed.
fn keep_rewritten(mirror: &Mirror, name: &str, before: ObjectId) -> Result<(), FetchError> {
    let Some(now) = refs::read(&mirror.dir, name, before.kind()).ok().flatten() else {
        return Ok(());
    };
    let kept = format!("refs/muster/kept/{before}");
    if mirror.ancestry(&commit_id(&before), &commit_id(&now)) == Ancestry::Diverged
        && refs::read(&mirror.dir, &kept, before.kind())?.is_none()
    {
        refs::replace(&mirror.dir, &kept, None, before, Durability::Cache)?;
    }
    Ok(())
}

/// Fetches all branches below a prefix, and removes those that are gone. One that cannot be fetched does not keep the others from
/// arriving: the reasons are given back.
fn fetch_proposals(
    mirror: &mut Mirror,
    url: &RemoteUrl,
    below: &str,
    there: &BTreeMap<String, ObjectId>,
) -> Result<Vec<String>, FetchError> {
    let kept_below = fetched_name(below);
    let here = refs::list(&mirror.dir, &kept_below, mirror.own.kind())?.found;
    let wanted: BTreeMap<_, _> = there
        .iter()
        .filter(|(name, _)| name.starts_with(below))
        .map(|(name, id)| (fetched_name(name), (name, *id)))
        .collect();
    let gone = here.keys().any(|name| !wanted.contains_key(name));
    let changed: Vec<_> = wanted
        .iter()
        .filter(|(name, (_, id))| here.get(*name) != Some(id))
        .collect();
    if !gone && changed.is_empty() {
        return Ok(Vec::new());
    }
    let all = format!("+{below}*:{kept_below}*");
    let Err(together) = run_fetch(mirror, url, &["--prune", &all]) else {
        return Ok(Vec::new());
    };
    if !together.is_refusal() {
        return Ok(vec![reason("all branches", &together)]);
    }
    let mut unread = Vec::new();
    for (kept, (name, _)) in changed.iter().take(ONE_BY_ONE) {
        if let Err(error) = run_fetch(mirror, url, &[&format!("+{name}:{kept}")]) {
            unread.push(reason(name, &error));
        }
    }
    if changed.len() > ONE_BY_ONE {
        unread.push(reason("further branches", &together));
    }
    Ok(unread)
}

impl Mirror {
    /// Remembers that git refused what this reference points to.
    pub(crate) fn give_up(&mut self, name: String, id: ObjectId) {
        if self.given_up.len() >= GIVEN_UP {
            self.given_up.clear();
        }
        self.given_up.insert((name, id));
    }
}

/// How many refspecs stand on one command line.
const TOGETHER: usize = 500;

/// Fetches each of these refspecs that can be fetched, and returns the reasons for the others by their key. A group that
/// is refused as a whole is bisected, so that a bad one costs a few connections and does not hold up the others.
///
/// # Errors
/// When the server does not answer.
pub(crate) fn fetch_each<K: Ord>(
    mirror: &mut Mirror,
    url: &RemoteUrl,
    mut due: Vec<(K, String)>,
) -> Result<BTreeMap<K, String>, FetchError> {
    let mut reasons = BTreeMap::new();
    let mut groups = Vec::new();
    while !due.is_empty() {
        let rest = due.split_off(due.len().min(TOGETHER));
        groups.push(std::mem::replace(&mut due, rest));
    }
    groups.reverse();
    while let Some(mut group) = groups.pop() {
        let refspecs: Vec<_> = group.iter().map(|(_, refspec)| refspec.clone()).collect();
        let Err(error) = run_fetch_all(mirror, url, &[], &refspecs) else {
            continue;
        };
        match &error {
            FetchError::Git {
                source: RunError::Failed { .. } | RunError::TooMuch { .. },
                ..
            } => {}
            _ => return Err(error),
        }
        // Something in the group was refused, unless the server does not answer at all.
        answers(mirror, url)?;
        if group.len() == 1 {
            reasons.extend(group.into_iter().map(|(key, _)| (key, detail(&error))));
            continue;
        }
        let half = group.split_off(group.len() / 2);
        groups.push(half);
        groups.push(group);
    }
    Ok(reasons)
}

/// What the server announces below `dirs`.
pub(crate) fn list_below(
    mirror: &Mirror,
    url: &RemoteUrl,
    dirs: &[&str],
) -> Result<BTreeMap<String, ObjectId>, FetchError> {
    let mut command = git(mirror, url)?;
    command.args([
        "ls-remote",
        "--quiet",
        "--refs",
        "--end-of-options",
        url.as_str(),
    ]);
    command.args(dirs.iter().map(|dir| format!("{dir}*")));
    let printed = run::run(command, "git ls-remote", b"", mirror.limits).map_err(failed(url))?;
    Ok(printed
        .split(|byte| *byte == b'\n')
        .filter_map(|line| std::str::from_utf8(line).ok()?.split_once('\t'))
        // A pattern also matches the end of a longer name.
        .filter(|(_, name)| dirs.iter().any(|dir| name.starts_with(dir)) && refs::is_legal(name))
        .filter_map(|(hex, name)| Some((name.to_owned(), ObjectId::from_hex(hex.as_bytes()).ok()?)))
        .collect())
}

/// Whether the server answers at all.
pub(crate) fn answers(mirror: &Mirror, url: &RemoteUrl) -> Result<(), FetchError> {
    let mut command = git(mirror, url)?;
    command.args([
        "ls-remote",
        "--quiet",
        "--end-of-options",
        url.as_str(),
        "HEAD",
    ]);
    run::run(command, "git ls-remote", b"", mirror.limits)
        .map(drop)
        .map_err(failed(url))
}

/// The cause of an error, without the name of the origin.
pub(crate) fn detail(error: &FetchError) -> String {
    match error {
        FetchError::Git { source, .. } => source.to_string(),
        other => other.to_string(),
    }
}

pub(crate) fn reason(name: &str, error: &FetchError) -> String {
    format!("{}: {}", name.escape_default(), detail(error))
}

fn run_fetch(
    mirror: &mut Mirror,
    url: &RemoteUrl,
    options_then_refspec: &[&str],
) -> Result<(), FetchError> {
    let (refspec, options) = options_then_refspec
        .split_last()
        .expect("invariant: called with a refspec");
    run_fetch_all(mirror, url, options, &[(*refspec).to_owned()])
}

pub(crate) fn run_fetch_all(
    mirror: &mut Mirror,
    url: &RemoteUrl,
    options: &[&str],
    refspecs: &[String],
) -> Result<(), FetchError> {
    let mut command = git(mirror, url)?;
    command.args([
        "fetch",
        "--quiet",
        "--no-write-fetch-head",
        "--no-tags",
        "--no-recurse-submodules",
        "--no-auto-maintenance",
    ]);
    command
        .args(options)
        .args(["--end-of-options", url.as_str()])
        .args(refspecs);
    let packs = mirror.own.dir().join("pack");
    let mut used = || pack::unfinished_bytes(&packs);
    let fetched =
        run::run_watched(command, "git fetch", b"", mirror.limits, &mut used).map_err(failed(url));
    mirror.reopen()?;
    fetched.map(drop)
}

pub(crate) fn failed(url: &RemoteUrl) -> impl Fn(RunError) -> FetchError {
    let origin = url.as_str().to_owned();
    move |source| FetchError::Git {
        origin: origin.clone(),
        source,
    }
}

/// git on the mirror, with the administrator's configuration below our overrides.
fn git(mirror: &Mirror, url: &RemoteUrl) -> Result<Command, FetchError> {
    git_in(&mirror.dir, mirror.own.kind(), url).map_err(failed(url))
}

/// git on a repository of ours that talks to `url`, with the administrator's configuration below our overrides.
pub(crate) fn git_in(dir: &Path, kind: Kind, url: &RemoteUrl) -> Result<Command, RunError> {
    let mut command = run::bare_environment(run::git_program()?);
    // Without an account, git runs without a personal configuration.
    if let Ok(Some(user)) = User::from_uid(geteuid()) {
        command.env("HOME", user.dir);
    }
    command.arg("--git-dir").arg(dir);
    for setting in OVERRIDES {
        command.args(["-c", setting]);
    }
    for protocol in ["http", "https", "ssh", "git", "file", "ext"] {
        let allowed = if protocol == url.scheme() {
            "always"
        } else {
            "never"
        };
        command
            .arg("-c")
            .arg(format!("protocol.{protocol}.allow={allowed}"));
    }
    command.args(["-c", "protocol.allow=never"]);
    if kind == Kind::Sha256 {
        command.env("GIT_DEFAULT_HASH", "sha256");
    }
    Ok(command)
}
