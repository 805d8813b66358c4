//! What is told of owner responses, whoever tells it: as a section of a comment or of a note. Without a forge nobody says who answered,
//! so a note has the lanes as they are without that.

use std::collections::{BTreeMap, BTreeSet};

use muster_core::commit::CommitId;
use muster_core::diagnostic::Diagnostics;
use muster_core::repo::ROSTER;
use muster_core::report::{ReportState, Section};
use muster_core::rooms::{self, StateRepo};
use muster_core::services::attributions::{Attributions, Mark, sha256};
use muster_core::services::evaluate::{Assessment, Freshness, Source, Sources, evaluate, shrunk};
use muster_core::services::names::{secrets_at, tells_secret};
use muster_core::services::records::{INVENTORY, REQUESTS, Records, SERVICES};
use muster_core::services::say;
use muster_core::services::secrets::{self, Found};
use muster_core::time::Time;
use muster_core::world::{self, Files, Version};

use crate::tell::Proposal;

pub(crate) use muster_core::services::say::AnswersSection;

/// By what a commit comes.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum By {
    /// Its branch is merged.
    Merge,
    /// It is adopted as it is.
    Itself,
}

/// The same, where its people could be read: of one whose roster could not be, everybody would seem to have left.
pub(crate) fn with_people<'r, 'a>(
    repo: Option<&'r StateRepo<'a>>,
    problems: &Diagnostics,
) -> Option<&'r StateRepo<'a>> {
    let is_wrong = || problems.has_error(|file| file == ROSTER);
    repo.filter(|it| !it.documents.roster.people.is_empty() || !is_wrong())
}

/// What a merge does to owner responses of which the roster cannot be read.
pub(crate) fn untold(files: &Files) -> Option<AnswersSection> {
    let untold = || AnswersSection::default().refused([say::UNTOLD.to_owned()]);
    has_services(files).then(untold)
}

/// What merging a proposal does to owner responses, by the files alone.
pub(crate) fn told<S: world::Source>(
    about: &Proposal<'_>,
    by: By,
    files: &Files,
    repo: &StateRepo<'_>,
    source: &mut S,
    now: Time,
) -> Option<AnswersSection> {
    // Where all of it goes, it is what was there before that is told of (LB1).
    let asked = BTreeSet::from([REQUESTS.to_owned(), INVENTORY.to_owned()]);
    let had_services = |source: &mut S| {
        let there = source.contents(about.protected, None, &asked);
        there.is_ok_and(|it| !it.is_empty())
    };
    if !has_services(files) && !had_services(source) {
        return None;
    }
    let before = source.files(about.protected).ok()?.ok()?;
    let (base, _) = rooms::read_as_far(&before, &[]);
    let mut attributions = Attributions::default();
    let freshness = Freshness::default();
    let mut contents = |head: Option<&CommitId>, records: &Records<'_>, read: &Files| {
        let paths = paths_of(records);
        let there = match (by, head) {
            (By::Itself, Some(head)) => source.contents(head, None, &paths),
            (By::Merge | By::Itself, head) => source.contents(about.protected, head, &paths),
        };
        there.map(|there| with(there, read, records))
    };
    let mut was = Assessment::default();
    let mut digests = BTreeMap::new();
    if let Some(base) = &base {
        let records = &base.services;
        let there = contents(None, records, &before).ok()?;
        digests.extend(there.iter().map(|(path, it)| (path.clone(), sha256(it))));
        let sources = sources(records, &there, None);
        attributions.former.extend(named_by(records));
        let roster = &base.documents.roster;
        was = evaluate(records, roster, &attributions, &sources, freshness, now);
        let people = roster.people.iter().map(|it| it.os_user.to_string());
        attributions.former.extend(people);
    }
    let records = &repo.services;
    let there = contents(Some(about.head), records, files).ok()?;
    let sources = sources(records, &there, Some(&digests));
    let roster = &repo.documents.roster;
    let problem = match source.versions(about.protected, about.head, FOLDER) {
        Ok(Some(versions)) => {
            attributions.quarantined = seen_in(&versions, records);
            None
        }
        Ok(None) => Some(say::TOO_MANY_COMMITS.to_owned()),
        Err(_) => Some(say::COMMITS_UNREAD.to_owned()),
    };
    let mut after = evaluate(records, roster, &attributions, &sources, freshness, now);
    let fewer = base.and_then(|base| shrunk(&base.services, records));
    after.inventory.extend(fewer);
    let told = say::told(&was, &after);
    let more: BTreeSet<String> = problem
        .into_iter()
        .chain(marks_beside(&attributions, &after).map(say::mark))
        .collect();
    match more.is_empty() {
        true => told,
        false => Some(told.unwrap_or_default().refused(more)),
    }
}

/// What a proposal has to be looked through for.
pub(crate) const FOLDER: &str = "services";

/// What must not be there in any of these, and in their names (LB8). A name that is a secret itself is told nowhere (LB5).
pub(crate) fn secrets_of<'v>(
    all: impl Iterator<Item = (&'v String, &'v Vec<u8>)>,
    is_told: &dyn Fn(&str) -> bool,
) -> Vec<(&'v String, &'v Vec<u8>, Found)> {
    all.flat_map(|(path, bytes)| {
        let inside = secrets_at(path, bytes);
        let name = (!is_told(path)).then(|| secrets::of_name(path));
        let both = inside.into_iter().chain(name);
        both.map(move |it| (path, bytes, it))
    })
    .collect()
}

/// The same of what stood in each commit of a proposal, as it is told where nothing is kept: it is found again each time.
pub(crate) fn seen_in(versions: &[Version], records: &Records<'_>) -> BTreeMap<String, Mark> {
    let is_told = |path: &str| !tells_secret(path, |it| records.surfaces.contains_key(it));
    let mut seen = Attributions::default();
    let all = versions.iter().map(|(path, bytes)| (path, bytes));
    for (path, bytes, found) in secrets_of(all, &is_told) {
        // The key keeps what is written down from being guessed at, and this is not.
        seen.quarantine(&[], path, bytes, &found, "");
    }
    seen.quarantined
}

/// What was found in files that are no surface's, or not any more.
pub(crate) fn marks_beside<'a>(
    attributions: &'a Attributions,
    after: &'a Assessment,
) -> impl Iterator<Item = &'a Mark> {
    let marks = attributions.quarantined.values();
    marks.filter(|it| !say::is_of_a_surface(it, after))
}

/// As a comment shows it.
pub(crate) fn section(told: &AnswersSection) -> Section<'_> {
    Section {
        title: "Owner responses",
        items: &told.items,
        state: if told.is_refused {
            ReportState::Failure
        } else {
            ReportState::Success
        },
        line: &told.line,
        elsewhere: "muster services status",
    }
}

pub(crate) fn has_services(files: &Files) -> bool {
    let mut below = files.range(SERVICES.to_owned()..);
    below
        .next()
        .is_some_and(|(path, _)| path.starts_with(SERVICES))
}

/// Answers and reviews.
pub(crate) fn answers_in(files: &Files) -> impl Iterator<Item = (&String, &Vec<u8>)> {
    let below = files.range(SERVICES.to_owned()..);
    below
        .take_while(|(path, _)| path.starts_with(SERVICES))
        .filter(|(path, _)| path.ends_with(".yaml"))
}

/// Together with those of them that were read already.
pub(crate) fn with(mut there: Files, read: &Files, records: &Records<'_>) -> Files {
    for path in paths_of(records) {
        if let Some(bytes) = read.get(&path) {
            there.insert(path, bytes.clone());
        }
    }
    there
}

/// The paths of what surfaces are configured by.
pub(crate) fn paths_of(records: &Records<'_>) -> BTreeSet<String> {
    let sources = records.surfaces.values().map(|it| it.source.clone());
    sources.filter(|it| !it.is_empty()).collect()
}

/// What is known of what surfaces are configured by: what is there, and what was there before.
pub(crate) fn sources(
    records: &Records<'_>,
    there: &Files,
    before: Option<&BTreeMap<String, String>>,
) -> Sources {
    let mut sources = Sources::new();
    for surface in records.surfaces.values() {
        let path = &surface.source;
        let was_there = before.is_some_and(|it| it.contains_key(path));
        match there.get(path) {
            Some(bytes) => drop(sources.insert(path.clone(), Source::Sha256(sha256(bytes)))),
            None if was_there => drop(sources.insert(path.clone(), Source::Absent)),
            None => {}
        }
    }
    sources
}

/// Records of so many surfaces, for a comparison of numbers.
pub(crate) fn counted(inventory: usize, surfaces: usize) -> Records<'static> {
    use muster_core::services::records::{Inventory, Surface};
    let surface = |number: usize| {
        let nothing = Surface {
            request: String::new(),
            source: String::new(),
            sha256: String::new(),
            write_capable: false,
            live_evidence: false,
            at: 0,
        };
        (number.to_string(), nothing)
    };
    Records {
        inventory: Some(Inventory {
            made: None,
            surfaces: inventory,
        }),
        surfaces: (0..surfaces).map(surface).collect(),
        ..Records::default()
    }
}

/// The names that answers and reviews have.
pub(crate) fn named_by(records: &Records<'_>) -> BTreeSet<String> {
    use muster_core::services::records::TextKey;
    let of_answer = records.responses.values().flat_map(|it| {
        let keys = [
            TextKey::RollbackOwner,
            TextKey::FollowupOwner,
            TextKey::RestartActor,
        ];
        let texts = keys.into_iter().filter_map(|key| it.texts.get(&key));
        let delegate = it.delegation.iter().flat_map(|it| &it.to);
        it.owners.iter().chain(texts).chain(delegate)
    });
    let of_review = records.reviews.values().flat_map(|it| &it.reviewer);
    let names = of_answer.chain(of_review).map(|it| it.value.to_string());
    // A name that no account can have is none.
    names
        .filter(|it| (muster_core::repo::names::OS_USER.accepts)(it))
        .collect()
}
