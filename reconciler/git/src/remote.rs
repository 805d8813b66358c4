//! Fetching from a remote origin with git.
//!
//! What the administrator configured for git (credential helpers, proxies, ssh) is honoured: root's and the system's
//! configuration are read. What would let a server or that configuration do more than fetch is overridden on the
//! command line.

use std::collections::BTreeMap;
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant, SystemTime};

use gix::hash::{Kind, ObjectId};
use muster_core::forge::queue_of;
use nix::unistd::{User, geteuid};

use crate::ancestry::Ancestry;
use crate::fetch_error::FetchError;
use crate::heads::{FETCHED, Heads, Proposals, fetched_name, heads_of};
use crate::mirror::Mirror;
use crate::objects::{Source, commit_id};
use crate::origin::RemoteUrl;
use crate::pack::{self, Keep};
use crate::refs;
use crate::refused::{Refusal, Turn};
use crate::run::{self, Limits, RunError};
use crate::sync::{self, Durability, EmptyRefs};
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

/// How long a server may take to list its references: over `git://` and ssh, a network that lets nothing through is not
/// noticed otherwise.
const LISTING: Duration = Duration::from_secs(60);

/// How many tags that cannot be fetched are remembered.
const GIVEN_UP: usize = 10_000;

/// Reads the branches at `url` and fetches what is new.
pub(crate) fn fetch(
    mirror: &mut Mirror,
    url: &RemoteUrl,
    protected: &str,
    proposals: Proposals,
) -> Result<Heads, FetchError> {
    // The next packing lets go of branches that are gone.
    mirror.keep = Keep::Referenced;
    let there = list(mirror, url, protected, proposals)?;
    if let Some(id) = there.found.values().next() {
        mirror.be_of(id.kind())?;
    }
    if let Some(tip) = there.found.get(protected) {
        fetch_what_is_in_force(mirror, url, protected, tip)?;
    } else {
        forget_protected(mirror, protected)?;
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
    let limits = Limits {
        wall: mirror.limits.wall.min(LISTING),
        ..mirror.limits
    };
    let printed = run::run(command, "git ls-remote", b"", limits).map_err(failed(url))?;
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

/// Fetches the protected branch unless it is known to be too large. Where something else stands in the way, it is asked for with
/// every poll.
fn fetch_what_is_in_force(
    mirror: &mut Mirror,
    url: &RemoteUrl,
    protected: &str,
    tip: &ObjectId,
) -> Result<(), FetchError> {
    let now = SystemTime::now();
    if let Turn::Later(why) = mirror.refused.turn(protected, tip, now) {
        let name = protected.to_owned();
        return Err(FetchError::Refused { name, why });
    }
    let fetched = fetch_protected(mirror, url, protected, tip);
    // However often: one that everybody waits for is asked for each hour.
    mirror.refused.arrived(protected);
    if let Err(error) = &fetched {
        let refusal = Refusal::of(error);
        if refusal.costly {
            mirror.refused.refuse(protected, *tip, &refusal, now);
        }
    }
    let dir = mirror.dir.clone();
    mirror.refused.note(&dir).map_err(mirror.failed())?;
    fetched
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
    match mirror.ancestry(&commit_id(&before), &commit_id(&now)) {
        Ancestry::Same | Ancestry::Descends => Ok(()),
        Ancestry::Diverged | Ancestry::Unknown => keep(mirror, before),
    }
}

/// The same when it is taken away.
fn forget_protected(mirror: &Mirror, protected: &str) -> Result<(), FetchError> {
    let name = fetched_name(protected);
    if let Some(before) = refs::read(&mirror.dir, &name, mirror.own.kind())
        .ok()
        .flatten()
    {
        keep(mirror, before)?;
    }
    refs::forget(&mirror.dir, &name).map_err(mirror.failed())
}

fn keep(mirror: &Mirror, id: ObjectId) -> Result<(), FetchError> {
    let kept = format!("refs/muster/kept/{id}");
    if refs::read(&mirror.dir, &kept, id.kind())?.is_none() {
        refs::replace(&mirror.dir, &kept, None, id, Durability::Cache)?;
    }
    Ok(())
}

/// Fetches all branches below a prefix, and forgets those that are gone. One that cannot be fetched does not keep the others from
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
    let gone = here.keys().filter(|name| !wanted.contains_key(*name));
    mirror.forget_all(gone)?;
    mirror
        .refused
        .retain(below, |name| there.contains_key(name));
    let changed: Vec<Wanted> = wanted
        .iter()
        .filter(|(kept, (_, id))| here.get(*kept) != Some(id))
        .map(|(kept, (name, id))| Wanted::new(name, *id, kept))
        .collect();
    if changed.iter().any(|it| here.contains_key(&it.kept)) {
        mirror.has_dropped()?;
    }
    // As many as there are at first are named by a pattern, as long as none of them is a doubtful one.
    if changed.len() > TOGETHER && !mirror.refused.has_any_below(below) {
        let all = format!("+{below}*:{kept_below}*");
        match run_fetch(mirror, url, &[&all]) {
            Ok(()) => return Ok(Vec::new()),
            Err(error) if error.is_of_what_is_fetched() => {}
            Err(error) => return Ok(vec![reason("all branches", &error)]),
        }
    }
    Ok(match fetch_wanted(mirror, url, changed) {
        Ok(reasons) => {
            let said = |(name, why): (String, String)| format!("{}: {why}", name.escape_default());
            reasons.into_iter().map(said).collect()
        }
        Err(error) => vec![reason("all branches", &error)],
    })
}

impl Mirror {
    /// Remembers that git refused what this tag points to.
    pub(crate) fn give_up(&mut self, name: String, id: ObjectId) {
        if self.given_up.len() >= GIVEN_UP {
            self.given_up.clear();
        }
        self.given_up.insert((name, id));
    }

    /// Forgets these references of the mirror: the next packing lets go of what only they led to.
    pub(crate) fn forget_all<'a>(
        &self,
        names: impl Iterator<Item = &'a String>,
    ) -> Result<(), FetchError> {
        let mut any = false;
        for name in names {
            refs::forget(&self.dir, name).map_err(self.failed())?;
            any = true;
        }
        if any {
            self.has_dropped()?;
        }
        Ok(())
    }
}

/// A reference that is to be fetched.
#[derive(Debug, Clone)]
pub(crate) struct Wanted {
    /// Its full name in the origin.
    name: String,
    /// What it points to there.
    id: ObjectId,
    /// By which full name the mirror keeps it.
    kept: String,
}

impl Wanted {
    pub(crate) fn new(name: &str, id: ObjectId, kept: &str) -> Wanted {
        let (name, kept) = (name.to_owned(), kept.to_owned());
        Wanted { name, id, kept }
    }
}

/// How many refspecs stand on one command line.
const TOGETHER: usize = 500;

/// What a call spends on finding out which references are refused; whatever is left is fetched by the next call.
const SEARCH: Duration = Duration::from_secs(60);
/// A refused fetch that took longer is not divided, but made one by one.
const SLOW: Duration = Duration::from_secs(10);

/// Why something is not here yet that nobody refused.
const LATER: &str =
    "not fetched yet: others that were refused took too long; it is fetched with the next poll";

/// Fetches each of these references that can be fetched, and returns the reasons for the others by name. What was refused is
/// remembered: it is left alone for a while, and apart from the others when it moves or its time has come, so that one connection
/// is enough for those.
///
/// # Errors
/// When the server does not answer.
pub(crate) fn fetch_wanted(
    mirror: &mut Mirror,
    url: &RemoteUrl,
    wanted: Vec<Wanted>,
) -> Result<BTreeMap<String, String>, FetchError> {
    let now = SystemTime::now();
    let mut reasons = BTreeMap::new();
    let (mut due, mut apart) = (Vec::new(), Vec::new());
    for it in wanted {
        match mirror.refused.turn(&it.name, &it.id, now) {
            Turn::Together => due.push(it),
            Turn::Apart => apart.push(it),
            Turn::Later(why) => drop(reasons.insert(it.name, why)),
        }
    }
    let groups = |mut all: Vec<Wanted>| {
        let mut groups = Vec::new();
        while !all.is_empty() {
            let rest = all.split_off(all.len().min(TOGETHER));
            groups.push(std::mem::replace(&mut all, rest));
        }
        groups
    };
    let groups = groups(due).into_iter().chain(groups(apart)).collect();
    let fetched = fetch_groups(mirror, url, groups, &mut reasons);
    let dir = mirror.dir.clone();
    mirror.refused.note(&dir).map_err(mirror.failed())?;
    fetched.map(|()| reasons)
}

/// A group that is refused as a whole is divided, so that a bad one costs a few connections and does not hold up the others. It is
/// gone on with until something is found out, however long that takes: so each call gets on.
fn fetch_groups(
    mirror: &mut Mirror,
    url: &RemoteUrl,
    mut groups: Vec<Vec<Wanted>>,
    reasons: &mut BTreeMap<String, String>,
) -> Result<(), FetchError> {
    groups.reverse();
    let (mut searches, mut found) = (None::<Instant>, false);
    while let Some(mut group) = groups.pop() {
        if found && searches.is_some_and(|since| since.elapsed() > SEARCH) {
            reasons.extend(group.into_iter().map(|it| (it.name, LATER.to_owned())));
            continue;
        }
        let refspec = |it: &Wanted| format!("+{}:{}", it.name, it.kept);
        let refspecs: Vec<_> = group.iter().map(refspec).collect();
        let began = Instant::now();
        let Err(error) = run_fetch_all(mirror, url, &[], &refspecs) else {
            group.iter().for_each(|it| mirror.refused.arrived(&it.name));
            found = true;
            continue;
        };
        if !error.is_of_what_is_fetched() {
            return Err(error);
        }
        // Something in the group was refused, unless the server does not answer at all.
        answers(mirror, url)?;
        searches.get_or_insert(began);
        if let [it] = group.as_slice() {
            let refusal = Refusal::of(&error);
            mirror
                .refused
                .refuse(&it.name, it.id, &refusal, SystemTime::now());
            reasons.insert(it.name.clone(), refusal.why);
            found = true;
        } else if began.elapsed() > SLOW {
            groups.extend(group.into_iter().rev().map(|it| vec![it]));
        } else {
            let half = group.split_off(group.len() / 2);
            groups.push(half);
            groups.push(group);
        }
    }
    Ok(())
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
    Refusal::of(error).why
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
    if fetched.is_err() {
        // What a git that was stopped had of a pack would be there for ever, and be counted as the next one's.
        sync::sweep(&mirror.dir, EmptyRefs::Keep).map_err(mirror.failed())?;
    }
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
