//! Whom this executor trusts in a cycle, and what they signed: tags are read, rotations and resets followed.
//!
//! What cannot be authenticated costs a bounded number of reads and one line of the log.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet};
use std::hash::{DefaultHasher, Hash as _, Hasher as _};
use std::sync::Arc;

use muster_core::accounts::render;
use muster_core::commit::TagId;
use muster_core::facts::Frozen;
use muster_core::journal::Entry;
use muster_core::release::admit::{Release, admit_reset};
use muster_core::release::claim::TrustFacts;
use muster_core::release::reset::{self, SignedReset};
use muster_core::release::root::TrustRoot;
use muster_core::release::{
    self, Code, ObjectKind, RELEASES, RESETS, ROTATIONS, Refusal, Signed, authenticate, rotation,
};
use muster_core::time::Time;
use muster_core::world::{Heads, Journal, RawTag, ReportSink, Source, TrustStore};

use super::adoption::can_be_kept_by;
use super::ground::{
    CycleError, CycleSummary, Memory, Outside, Run, TagCache, Unauthenticated, chain,
};
use super::records::record;

/// How many tags that were not looked at before are read in one cycle, where all of them are needed at once. However many somebody
/// pushes, each has its turn.
const READS: usize = 1_000;

/// What reading releases that were not looked at before may cost in one cycle: their bytes, and so much more for each.
const MOST_BYTES: usize = 4 << 20;
const FOR_EACH: usize = 128;

/// How many are asked for at once.
const TOGETHER: usize = 500;

/// How many seconds other things have their turn before releases are read on that nobody read yet; and how many where nobody
/// gave an answer.
const READ_ON: u32 = 2;
const ASK_AGAIN: u32 = 60;

/// How many refusals have a line of their own in the log of one cycle.
const LINES: usize = 20;

/// What counts in this cycle.
#[derive(Debug, Default)]
pub(super) struct Trusted {
    /// Whom this host trusts, if anybody.
    pub(super) root: Option<Arc<TrustRoot>>,
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
    summary: &mut CycleSummary,
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
    summary: &mut CycleSummary,
) -> Result<Option<Arc<TrustRoot>>, CycleError> {
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
pub(crate) fn is_wrong(root: &TrustRoot, known: Option<&TrustFacts>) -> Option<String> {
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
pub(crate) fn facts_of(root: &TrustRoot) -> TrustFacts {
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
    mut root: Arc<TrustRoot>,
    summary: &mut CycleSummary,
) -> Result<Arc<TrustRoot>, CycleError> {
    loop {
        let next = format!("{ROTATIONS}{}-", root.version + 1);
        let tags = read_all(outside, heads, &next, run.now);
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
    now: Time,
) -> Vec<(String, RawTag)> {
    let mut all: Vec<_> = below(&heads.tags, prefix).collect();
    if all.len() > READS {
        // Anybody can push more than that: each has its turn.
        all.sort_by_cached_key(|(name, _)| {
            let mut hasher = DefaultHasher::new();
            (name, now).hash(&mut hasher);
            hasher.finish()
        });
        all.truncate(READS);
    }
    all.into_iter()
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
    root: &TrustRoot,
    summary: &mut CycleSummary,
) -> Result<(), CycleError> {
    // A name is not changed back by a signature: whoever holds recovery keys cannot know what this host is called.
    if !matches!(
        memory.facts().frozen,
        Some(Frozen::Rewritten { .. } | Frozen::Lost)
    ) {
        return Ok(());
    }
    let mut resets: BTreeMap<[u8; 32], Vec<SignedReset>> = BTreeMap::new();
    for (name, raw) in read_all(outside, heads, RESETS, run.now) {
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
        let valid = can_be_kept_by(&mut outside.source, run.policy, &it.new, run.now);
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
    root: &TrustRoot,
    summary: &mut CycleSummary,
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
    if !memory.seen.lost.is_empty() {
        let there: BTreeSet<&TagId> = heads.tags.values().collect();
        memory.seen.lost.retain(|id| there.contains(id));
    }
    let known: Vec<(String, TagId, RawTag)> = std::mem::take(&mut memory.seen.raw)
        .into_iter()
        .map(|(name, (id, raw))| (name, id, raw))
        .collect();
    let mut judge = Judge {
        root,
        now: run.now,
        signed: Vec::new(),
        lines: 0,
    };
    for (name, id, raw) in known {
        judge.look(&mut memory.seen, summary, &name, &id, raw);
    }
    let ours = release::key_suffixes(root);
    let mut due = in_turn(&heads.tags, &memory.seen, &ours, run.now).into_iter();
    // Many names may stand for one object, which is read once; one that is no tag says nothing more.
    let mut no_tags: BTreeMap<TagId, RawTag> = BTreeMap::new();
    let mut spent = 0;
    while spent < MOST_BYTES && due.len() > 0 {
        let mut ids: Vec<TagId> = Vec::new();
        let mut listed = BTreeSet::new();
        for (_, id) in due.as_slice().iter().take(TOGETHER) {
            let alone = memory.seen.lost.contains(*id);
            if alone && !ids.is_empty() {
                break;
            }
            if !no_tags.contains_key(*id) && listed.insert(*id) {
                ids.push((*id).clone());
            }
            if alone {
                break;
            }
        }
        let answers = if ids.is_empty() {
            Vec::new()
        } else {
            match outside.source.tags(&ids) {
                Ok(answers) => answers,
                Err(error) => {
                    tracing::warn!("Releases could not be read: {}.", chain(&error));
                    memory.seen.lost.extend(ids);
                    summary.read_tags_in = Some(ASK_AGAIN);
                    return judge.end(summary);
                }
            }
        };
        let mut answers: BTreeMap<TagId, Result<RawTag, S::Error>> =
            ids.into_iter().zip(answers).collect();
        let mut read = false;
        while let Some((name, id)) = due.as_slice().first().copied() {
            let raw = match (answers.get(id), no_tags.get(id)) {
                (Some(Ok(raw)), _) | (None, Some(raw)) => raw.clone(),
                (Some(Err(error)), _) => {
                    if judge.has_a_line() {
                        tracing::warn!(tag = %id, "A release could not be read: {}.", chain(error));
                    }
                    memory.seen.refuse(name, id, root.version);
                    due.next();
                    read = true;
                    continue;
                }
                (None, None) => break,
            };
            spent += FOR_EACH + raw.bytes.len();
            memory.seen.lost.remove(id);
            judge.look(&mut memory.seen, summary, name, id, raw);
            due.next();
            read = true;
        }
        if !read {
            break;
        }
        let others = std::mem::take(&mut answers).into_iter();
        no_tags.extend(others.filter_map(|(id, raw)| {
            let raw = raw.ok().filter(|raw| raw.kind != ObjectKind::Tag)?;
            Some((id, raw))
        }));
    }
    summary.read_tags_in = (due.len() > 0).then_some(READ_ON);
    judge.end(summary)
}

/// What comes of releases that are looked at.
struct Judge<'r> {
    root: &'r TrustRoot,
    now: Time,
    signed: Vec<Signed>,
    lines: usize,
}

impl Judge<'_> {
    fn look(
        &mut self,
        seen: &mut TagCache,
        summary: &mut CycleSummary,
        name: &str,
        id: &TagId,
        raw: RawTag,
    ) {
        match authenticate(name, raw.kind, &raw.bytes, Some(self.root), self.now) {
            Ok(it) => {
                self.signed.push(it);
                seen.raw.insert(name.to_owned(), (id.clone(), raw));
            }
            // A key's validity is a matter of time; all else stays as it is.
            Err(refusal) if refusal.code == Code::KeyExpired => {
                summary
                    .unauthenticated
                    .push(unauthenticated(name, id, refusal));
            }
            Err(refusal) => {
                if self.has_a_line() {
                    tracing::warn!(tag = %id, "A release is refused: {refusal}.");
                }
                summary
                    .unauthenticated
                    .push(unauthenticated(name, id, refusal));
                seen.refuse(name, id, self.root.version);
            }
        }
    }

    fn has_a_line(&mut self) -> bool {
        self.lines += 1;
        self.lines <= LINES
    }

    /// The releases that are good, in the order of their names, whatever the order in which they were read.
    fn end(mut self, summary: &mut CycleSummary) -> Vec<Release> {
        if self.lines > LINES {
            let more = self.lines - LINES;
            tracing::warn!("{more} more releases are refused; `muster release list` shows them.");
        }
        self.signed.sort_by(|a, b| a.ref_name.cmp(&b.ref_name));
        summary.unauthenticated.sort_by(|a, b| a.name.cmp(&b.name));
        Release::group(self.signed)
    }
}

fn unauthenticated(name: &str, id: &TagId, refusal: Refusal) -> Unauthenticated {
    Unauthenticated {
        name: name.to_owned(),
        id: id.clone(),
        refusal,
    }
}

/// The releases that nobody looked at yet, in the order in which they are read. First the ones that are named after a key of the
/// root, as every good one is; and by turns the newest by their names and any, which changes with time, so that none waits behind
/// the same others for ever, not even where each cycle is a process of its own. Last the ones that nobody gave an answer about.
fn in_turn<'h>(
    tags: &'h BTreeMap<String, TagId>,
    seen: &TagCache,
    ours: &BTreeSet<String>,
    now: Time,
) -> Vec<(&'h String, &'h TagId)> {
    let names_ours = |name: &str| name.rsplit('-').next().is_some_and(|it| ours.contains(it));
    let mut refused = in_order(&seen.refused);
    let mut good = in_order(&seen.raw);
    // What is remembered is of tags that have not moved: `gather` saw to it.
    let mut newest: Vec<_> = below(tags, RELEASES)
        .filter(|(name, _)| refused(name).is_none() && good(name).is_none())
        .collect();
    let group = |name: &str, id: &TagId| (seen.lost.contains(id), !names_ours(name));
    newest.sort_by_cached_key(|(name, id)| (group(name, id), Reverse((*name).clone())));
    let mut any = newest.clone();
    any.sort_by_cached_key(|(name, id)| {
        let mut hasher = DefaultHasher::new();
        (name, now).hash(&mut hasher);
        (group(name, id), hasher.finish())
    });
    let mut taken = BTreeSet::new();
    let by_turns = newest
        .iter()
        .zip(&any)
        .flat_map(|(one, other)| [*one, *other]);
    by_turns
        .filter(|(name, _)| taken.insert(name.as_str()))
        .collect()
}

/// From which names on tags matter: a window is 72 hours at most, and an older root is never taken.
pub fn horizon(memory: &Memory, trust: &mut dyn TrustStore, now: Time) -> release::TagHorizon {
    // A root that cannot be used is told of where it is to be used.
    let root = trust.read().ok().flatten();
    release::TagHorizon {
        signers: Some(root.map_or_else(Default::default, |it| release::key_suffixes(&it))),
        since: now.plus(-release::statement::LONGEST_WINDOW),
        version: memory.facts().trust.as_ref().map_or(0, |it| it.version),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Tags of these names, each of an object of its own.
    fn tags(names: impl Iterator<Item = String>) -> BTreeMap<String, TagId> {
        let id = |number: usize| format!("{number:040x}").parse().unwrap();
        let named = names.enumerate().map(|(at, name)| (name, id(at)));
        named.collect()
    }

    /// As many as a cycle reads of tags that are as long as a release is.
    const IN_A_CYCLE: usize = 1_000;

    /// In which cycle each tag is read, when nobody signed any; a cycle in which nothing is left ends it.
    fn read_in(tags: &BTreeMap<String, TagId>, ours: &BTreeSet<String>) -> BTreeMap<String, usize> {
        let mut seen = TagCache::default();
        let mut read = BTreeMap::new();
        for cycle in 1.. {
            let now = Time(i64::try_from(cycle).unwrap());
            let due = in_turn(tags, &seen, ours, now);
            let left = due.len().saturating_sub(IN_A_CYCLE);
            for (name, id) in due.into_iter().take(IN_A_CYCLE) {
                assert_eq!(
                    read.insert(name.clone(), cycle),
                    None,
                    "{name} is read once"
                );
                seen.refuse(name, id, 1);
            }
            if left == 0 {
                break;
            }
        }
        read
    }

    #[test]
    fn what_is_unread_is_read_on_and_the_newest_and_those_of_known_keys_come_first() {
        let ours = BTreeSet::from(["0000000a".to_owned()]);
        let name = |day: usize, number: usize, key: &str| {
            format!("{RELEASES}202611{day:02}T000000Z-{number:016x}-{key}")
        };
        let strangers = (0..6_000).map(|it| name(29, it, "0000000b"));
        let junk = (0..3_500).map(|it| name(25, it, "0000000a"));
        let (newest, oldest) = (name(28, 1, "0000000a"), name(20, 1, "0000000a"));
        let all = tags(
            strangers
                .chain(junk)
                .chain([newest.clone(), oldest.clone()]),
        );
        let read = read_in(&all, &ours);
        assert_eq!(read.len(), all.len());
        assert_eq!(read[&newest], 1);
        assert!(
            read[&oldest] <= 4,
            "those of known keys first: {}",
            read[&oldest]
        );
        assert_eq!(read.values().max(), Some(&10), "a thousand in each");
        // What somebody made to stand before all others only takes half of the turns.
        let mut first = in_turn(&all, &TagCache::default(), &ours, Time(1));
        let mut other = in_turn(&all, &TagCache::default(), &ours, Time(2));
        first.truncate(IN_A_CYCLE);
        other.truncate(IN_A_CYCLE);
        let both = first.iter().filter(|it| other.contains(it)).count();
        assert!(both < IN_A_CYCLE * 3 / 4, "each has its turn: {both}");
        // One that nobody gave an answer about waits for all others.
        let mut seen = TagCache::default();
        seen.lost.insert(all[&newest].clone());
        let due = in_turn(&all, &seen, &ours, Time(1));
        assert_eq!(due.last().unwrap().0, &newest);
    }
}
