//! Whom this executor trusts in a cycle, and what they signed: tags are read, rotations and resets followed.
//!
//! What cannot be authenticated costs a bounded number of reads and one line of the log.

use std::collections::BTreeMap;
use std::hash::{DefaultHasher, Hash as _, Hasher as _};
use std::sync::Arc;

use muster_core::accounts::render;
use muster_core::commit::TagId;
use muster_core::facts::Frozen;
use muster_core::journal::Entry;
use muster_core::release::admit::{Release, admit_reset};
use muster_core::release::claim::TrustFacts;
use muster_core::release::reset::{self, SignedReset};
use muster_core::release::root::Root;
use muster_core::release::{
    self, Code, ObjectKind, RELEASES, RESETS, ROTATIONS, Refusal, Signed, authenticate, rotation,
};
use muster_core::time::Time;
use muster_core::world::{Heads, Journal, RawTag, ReportSink, Source};

use super::ground::{
    CycleError, Memory, Outside, Run, Summary, TagCache, Unauthenticated, chain, read_host,
};
use super::records::record;

/// How many tags that were not looked at before are read in one cycle. However many somebody pushes, each has its turn.
const READS: usize = 1_000;

/// What counts in this cycle.
#[derive(Debug, Default)]
pub(super) struct Trusted {
    /// Whom this host trusts, if anybody.
    pub(super) root: Option<Arc<Root>>,
    /// What they signed.
    pub(super) releases: Vec<Release>,
    /// Whether that is all there is.
    pub(super) tags: Tags,
}

/// What is known of the tags there are.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Tags {
    /// Nobody could be asked, or nobody is trusted to sign any.
    #[default]
    Unknown,
    /// The origin told all of them.
    Told,
}

/// Finds out whom this host trusts, follows rotations and resets, and gathers what was signed.
pub(super) fn look<S: Source, W, J: Journal, L, R: ReportSink>(
    memory: &mut Memory,
    outside: &mut Outside<S, W, J, L, R>,
    run: &mut Run<'_>,
    heads: Option<&Heads>,
    summary: &mut Summary,
) -> Result<Trusted, CycleError> {
    let Some(root) = root_in_force(memory, outside, run, summary)? else {
        return Ok(Trusted::default());
    };
    let Some(heads) = heads else {
        return Ok(Trusted {
            root: Some(root),
            ..Trusted::default()
        });
    };
    let root = rotate(memory, outside, run, heads, root, summary)?;
    leave_freeze(memory, outside, run, heads, &root, summary)?;
    let releases = gather(memory, outside, run, heads, &root, summary);
    Ok(Trusted {
        root: Some(root),
        releases,
        tags: Tags::Told,
    })
}

/// The root of trust, if it is one that may be used: never an older one, never another repository's, and never one that was
/// changed without its version.
fn root_in_force<S, W, J: Journal, L, R>(
    memory: &mut Memory,
    outside: &mut Outside<S, W, J, L, R>,
    run: &mut Run<'_>,
    summary: &mut Summary,
) -> Result<Option<Arc<Root>>, CycleError> {
    let known = memory.facts().trust.clone();
    let root = match run.trust.read() {
        Ok(Some(root)) => root,
        Ok(None) => {
            if known.is_some() {
                summary.warnings.push(
                    "the trust root is gone, so no release counts; put it back, or `muster trust install`"
                        .to_owned(),
                );
            }
            return Ok(None);
        }
        Err(why) => {
            summary.warnings.push(format!(
                "the trust root cannot be used, so no release counts: {why}"
            ));
            return Ok(None);
        }
    };
    let found = facts_of(&root);
    let wrong = is_wrong(&root, known.as_ref());
    if let Some(wrong) = wrong {
        summary.warnings.push(format!(
            "the trust root is not taken, so no release counts: {wrong}; see `muster trust show`, and decide with \
             `muster trust install`"
        ));
        return Ok(None);
    }
    if known.as_ref() != Some(&found) {
        let by = vec!["root on this host".to_owned()];
        record(
            memory,
            &mut outside.journal,
            &Entry::Trusted {
                at: run.now,
                root: found,
                by,
            },
        )?;
    }
    Ok(Some(root))
}

/// Why this root is not taken where `known` was in force, if it is not.
pub(crate) fn is_wrong(root: &Root, known: Option<&TrustFacts>) -> Option<String> {
    let (found, known) = (facts_of(root), known?);
    if found == *known {
        None
    } else if found.repo != known.repo {
        Some(format!(
            "it is for the repository {}, and this host follows {}",
            found.repo, known.repo
        ))
    } else if found.version < known.version {
        Some(format!(
            "it has version {}, and version {} was in force",
            found.version, known.version
        ))
    } else if found.version == known.version {
        Some(format!(
            "it was changed, and still calls itself version {}",
            found.version
        ))
    } else {
        None
    }
}

/// What is remembered of a root.
pub(crate) fn facts_of(root: &Root) -> TrustFacts {
    TrustFacts {
        version: root.version,
        repo: root.repo,
        digest: render::digest(&root.render()),
    }
}

/// Walks from root to root, one version at a time; each is durable before it is used (P9).
fn rotate<S: Source, W, J: Journal, L, R: ReportSink>(
    memory: &mut Memory,
    outside: &mut Outside<S, W, J, L, R>,
    run: &mut Run<'_>,
    heads: &Heads,
    mut root: Arc<Root>,
    summary: &mut Summary,
) -> Result<Arc<Root>, CycleError> {
    loop {
        let next = format!("{ROTATIONS}{}-", root.version + 1);
        let tags = read_all(outside, heads, &next);
        let candidates: Vec<_> = tags
            .iter()
            .map(|(name, raw)| (name.as_str(), raw.bytes.as_slice()))
            .collect();
        let rotation = match rotation::next(&root, &candidates, run.now) {
            Ok(Some(rotation)) => rotation,
            Ok(None) => return Ok(root),
            Err(refused) => {
                for it in refused.0 {
                    tracing::warn!(
                        "A rotation of the trust root is refused: {}: {}.",
                        it.ref_name.escape_debug(),
                        it.refusal
                    );
                    if it.refusal.authenticated {
                        summary
                            .warnings
                            .push(format!("{} is refused: {}", it.ref_name, it.refusal));
                    }
                }
                return Ok(root);
            }
        };
        let version = rotation.root.version;
        if let Err(why) = run.trust.replace(&rotation.root) {
            summary.warnings.push(format!(
                "version {version} of the trust root could not be written, so version {} stays in force: {why}",
                root.version
            ));
            return Ok(root);
        }
        let by: Vec<String> = rotation.principals.into_iter().collect();
        summary.releases.push(format!(
            "version {version} of the trust root is in force, signed by {}",
            by.join(", ")
        ));
        let entry = Entry::Trusted {
            at: run.now,
            root: facts_of(&rotation.root),
            by,
        };
        record(memory, &mut outside.journal, &entry)?;
        root = Arc::new(rotation.root);
    }
}

/// The tags whose full name begins with `prefix`, each read once; what cannot be read is no tag.
fn read_all<S: Source, W, J, L, R>(
    outside: &mut Outside<S, W, J, L, R>,
    heads: &Heads,
    prefix: &str,
) -> Vec<(String, RawTag)> {
    below(&heads.tags, prefix)
        .take(READS)
        .filter_map(|(name, id)| Some((name.clone(), outside.source.tag(id).ok()?)))
        .filter(|(_, raw)| raw.kind == ObjectKind::Tag)
        .collect()
}

/// Leaves a freeze by a recovery-signed reset that names what was adopted and what counts from here on (P8).
fn leave_freeze<S: Source, W, J: Journal, L, R>(
    memory: &mut Memory,
    outside: &mut Outside<S, W, J, L, R>,
    run: &Run<'_>,
    heads: &Heads,
    root: &Root,
    summary: &mut Summary,
) -> Result<(), CycleError> {
    // A name is not changed back by a signature: whoever holds recovery keys cannot know what this host is called.
    if !matches!(
        memory.facts().frozen,
        Some(Frozen::Rewritten { .. } | Frozen::Lost)
    ) {
        return Ok(());
    }
    let mut resets: BTreeMap<[u8; 32], Vec<SignedReset>> = BTreeMap::new();
    for (name, raw) in read_all(outside, heads, RESETS) {
        match reset::authenticate(&name, raw.kind, &raw.bytes, Some(root), run.now) {
            Ok(signed) => resets.entry(signed.digest).or_default().push(signed),
            Err(refusal) => {
                tracing::warn!("A reset is refused: {}: {refusal}.", name.escape_debug())
            }
        }
    }
    for signed in resets.values() {
        let signed: Vec<&SignedReset> = signed.iter().collect();
        let it = &signed[0].reset;
        let admitted = admit_reset(&signed, root, memory.facts(), &run.moment());
        if let Err(refusal) = admitted {
            summary
                .warnings
                .push(format!("{} is refused: {refusal}", signed[0].ref_name));
            continue;
        }
        // A commit by which nothing can be kept would only freeze the host again.
        let files = outside.source.files(&it.new).map_err(|error| chain(&error));
        let valid = files.and_then(|files| {
            files
                .and_then(|files| read_host(&files, run.policy, run.now.date()))
                .map_err(|problems| format!("it has {} errors", problems.len()))
        });
        if let Err(why) = valid {
            summary.warnings.push(format!(
                "{} is not followed: commit {} cannot be adopted: {why}",
                signed[0].ref_name,
                it.new.short()
            ));
            continue;
        }
        let who = reset::principals(signed.iter().copied());
        let entry = Entry::Reset {
            at: run.now,
            commit: it.new.clone(),
            who: who.into_iter().collect::<Vec<_>>().join(", "),
            reason: it.reason.clone(),
            nonce: Some(it.nonce),
        };
        record(memory, &mut outside.journal, &entry)?;
        summary
            .releases
            .push(format!("a signed reset puts {} in force", it.new.short()));
        return Ok(());
    }
    Ok(())
}

/// The tags whose full name begins with `prefix`.
fn below<'h>(
    tags: &'h BTreeMap<String, TagId>,
    prefix: &str,
) -> impl Iterator<Item = (&'h String, &'h TagId)> {
    tags.range(prefix.to_owned()..)
        .take_while(move |(name, _)| name.starts_with(prefix))
}

/// Looks names up in a map, in the order of the map: side by side, which is for ten thousand of them a tenth of the work of
/// ten thousand searches.
fn in_order<'m, V>(map: &'m BTreeMap<String, V>) -> impl FnMut(&str) -> Option<&'m V> {
    let mut at = map.iter().peekable();
    move |wanted| {
        while at.next_if(|(name, _)| name.as_str() < wanted).is_some() {}
        at.peek()
            .filter(|(name, _)| *name == wanted)
            .map(|(_, value)| *value)
    }
}

/// What operators signed, out of the tags that are there now.
fn gather<S: Source, W, J, L, R>(
    memory: &mut Memory,
    outside: &mut Outside<S, W, J, L, R>,
    run: &Run<'_>,
    heads: &Heads,
    root: &Root,
    summary: &mut Summary,
) -> Vec<Release> {
    let mut there = in_order(&heads.tags);
    memory
        .seen
        .raw
        .retain(|name, (id, _)| there(name) == Some(&*id));
    let mut there = in_order(&heads.tags);
    memory
        .seen
        .refused
        .retain(|name, (id, version)| *version == root.version && there(name) == Some(&*id));
    let mut signed: Vec<Signed> = Vec::new();
    for (name, id) in in_turn(&heads.tags, &memory.seen, root, run.now) {
        let refused = |memory: &mut Memory| {
            let how = (id.clone(), root.version);
            memory.seen.refused.insert(name.clone(), how);
        };
        let raw = match memory.seen.raw.remove(name) {
            Some((_, raw)) => raw,
            None => match outside.source.tag(id) {
                Ok(raw) => raw,
                Err(error) => {
                    tracing::warn!(tag = %id, "A release could not be read: {}.", chain(&error));
                    refused(memory);
                    continue;
                }
            },
        };
        match authenticate(name, raw.kind, &raw.bytes, Some(root), run.now) {
            Ok(it) => {
                signed.push(it);
                memory.seen.raw.insert(name.clone(), (id.clone(), raw));
            }
            // A key's validity is a matter of time; all else stays as it is.
            Err(refusal) if refusal.code == Code::KeyExpired => {
                summary
                    .unauthenticated
                    .push(unauthenticated(name, id, refusal));
            }
            Err(refusal) => {
                tracing::warn!(tag = %id, "A release is refused: {refusal}.");
                summary
                    .unauthenticated
                    .push(unauthenticated(name, id, refusal));
                refused(memory);
            }
        }
    }
    Release::group(signed)
}

fn unauthenticated(name: &str, id: &TagId, refusal: Refusal) -> Unauthenticated {
    Unauthenticated {
        name: name.to_owned(),
        id: id.clone(),
        refusal,
    }
}

/// The releases to look at: all that were good before, and some of those that were never read. First the ones that are
/// named after a key of the root, as every good one is; and which of them changes with time, so that none waits behind
/// the same others for ever, not even where each cycle is a process of its own.
fn in_turn<'h>(
    tags: &'h BTreeMap<String, TagId>,
    seen: &TagCache,
    root: &Root,
    now: Time,
) -> Vec<(&'h String, &'h TagId)> {
    let ours = release::key_suffixes(root);
    let names_ours = |name: &str| name.rsplit('-').next().is_some_and(|it| ours.contains(it));
    let mut refused = in_order(&seen.refused);
    let mut good = in_order(&seen.raw);
    // What is remembered is of tags that have not moved: `gather` saw to it.
    let (mut due, mut new): (Vec<_>, Vec<_>) = below(tags, RELEASES)
        .filter(|(name, _)| refused(name).is_none())
        .partition(|(name, _)| good(name).is_some());
    if new.len() > READS {
        new.sort_by_cached_key(|(name, _)| {
            let mut hasher = DefaultHasher::new();
            (name, now).hash(&mut hasher);
            (!names_ours(name), hasher.finish())
        });
        new.truncate(READS);
    }
    due.append(&mut new);
    due
}

/// From which names on tags matter: a window is 72 hours at most, and an older root is never taken.
pub(super) fn horizon(memory: &Memory, now: Time) -> release::TagHorizon {
    release::TagHorizon {
        since: now.plus(-release::statement::LONGEST_WINDOW),
        version: memory.facts().trust.as_ref().map_or(0, |it| it.version),
    }
}
