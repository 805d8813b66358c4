//! What a comment tells of owner responses: the lane of each surface before and after, and who stands behind what was brought.
//!
//! Who that is is the forge's word, and kept in the store beside what was told. Nothing here can act, and no lane opens anything.

use std::collections::{BTreeMap, BTreeSet};

use muster_core::commit::CommitId;
use muster_core::fleet::{BotStore, Fleet};
use muster_core::forge::Proposal;
use muster_core::report::{Section, State};
use muster_core::rooms::{self, StateRepo};
use muster_core::services::attributions::{Attributions, Identity, sha256};
use muster_core::services::evaluate::{Assessment, Source, Sources, evaluate, secrets_in, shrunk};
use muster_core::services::records::{Records, SERVICES};
use muster_core::services::say::{self, Told};
use muster_core::time::Date;
use muster_core::world::{Files, Pulls};

use super::turn::Turn;
use crate::cycle::chain;

/// Where the store keeps who stands behind answers and reviews.
const FILE: &str = "services.json";

/// What is remembered from one turn to the next.
#[derive(Default)]
pub(super) struct Answers {
    /// What the store has; `None` until it was read.
    known: Option<Result<Attributions, String>>,
    /// What quarantines are told by; of this process alone.
    key: Option<[u8; 32]>,
    base: Option<Base>,
}

/// What the protected branch says.
struct Base {
    protected: CommitId,
    today: Date,
    assessed: Assessment,
    people: BTreeSet<String>,
    /// Answers and reviews, and what surfaces are configured by, by digest.
    digests: BTreeMap<String, String>,
    counts: (usize, usize),
}

impl<S: Pulls, F: Fleet, B: BotStore> Turn<'_, S, F, B> {
    /// What there is to tell of a proposal whose merge gives these files; `repo` is what they say, as far as they can be read.
    pub(super) fn answers(
        &mut self,
        proposal: &Proposal,
        files: &Files,
        repo: Option<&StateRepo<'_>>,
    ) -> Option<Told> {
        let repo = repo.filter(|_| has_services(files))?;
        if let Err(why) = self.ground_answers() {
            self.summary
                .warnings
                .push(format!("owner responses are not told of: {why}"));
            return None;
        }
        let on = on(proposal.number);
        let memory = &mut self.memory.answers;
        let (Some(base), Some(Ok(known))) = (&memory.base, &mut memory.known) else {
            return None;
        };
        let before = known.clone();
        for (path, bytes) in answers_in(files) {
            if base
                .digests
                .get(path)
                .is_some_and(|it| *it == sha256(bytes))
            {
                continue;
            }
            if let Some(author) = &proposal.author {
                known.attribute(path, bytes, Identity::Forge(author.clone()), on.clone());
            }
            for found in secrets_in(bytes) {
                let key = memory.key.get_or_insert_with(random);
                known.quarantine(key, path, bytes, &found, &on);
            }
        }
        if *known != before {
            self.reports
                .insert(FILE.to_owned(), Some(known.to_json().into_bytes()));
        }
        let mut attributions = known.seen_on(&on);
        attributions.former.extend(base.people.iter().cloned());
        let (records, roster) = (&repo.services, &repo.documents.roster);
        let source = &mut self.outside.source;
        let there = source.contents(&self.protected, Some(&proposal.head), &paths_of(records));
        // What could not be read is not known, and nothing is stale for that.
        let sources = match there {
            Ok(there) => sources(records, &with(there, files, records), Some(&base.digests)),
            Err(_) => Sources::new(),
        };
        let mut after = evaluate(records, roster, &attributions, &sources, self.at.now);
        let (before_inventory, before_surfaces) = base.counts;
        after
            .inventory
            .extend(shrunk(&counted(before_inventory, before_surfaces), records));
        say::told(&base.assessed, &after)
    }

    /// Makes sure that it is known where the surfaces of the protected branch stand.
    fn ground_answers(&mut self) -> Result<(), String> {
        let today = self.at.now.date();
        if self.memory.answers.known.is_none() {
            let read = self.outside.store.read(&|path| path == FILE);
            let known = read.map_err(|error| chain(&error)).and_then(|files| {
                let bytes = files.get(FILE);
                bytes.map_or_else(
                    || Ok(Attributions::default()),
                    |bytes| {
                        Attributions::parse(bytes)
                            .map_err(|error| format!("{FILE}: {}", chain(&error)))
                    },
                )
            });
            self.memory.answers.known = Some(known);
        }
        let known = match &mut self.memory.answers.known {
            Some(Ok(known)) => known,
            Some(Err(why)) => return Err(why.clone()),
            None => return Ok(()),
        };
        let base = &self.memory.answers.base;
        if base
            .as_ref()
            .is_some_and(|it| it.protected == self.protected && it.today == today)
        {
            return Ok(());
        }
        let files = self.outside.source.files(&self.protected);
        let files = files.map_err(|error| chain(&error))?.unwrap_or_default();
        let (repo, _) = rooms::read_as_far(&files, &[]);
        let records = repo.as_ref().map(|it| &it.services);
        let mut digests: BTreeMap<String, String> = answers_in(&files)
            .map(|(path, bytes)| (path.clone(), sha256(bytes)))
            .collect();
        // Whoever stands behind what is there now stays; of the rest only what open proposals bring.
        let open: BTreeSet<String> = self.memory.open.keys().map(|number| on(*number)).collect();
        let before = known.clone();
        known.keep_only(
            |path, sha256| digests.get(path).is_some_and(|it| it == sha256),
            |on| open.contains(on),
        );
        if *known != before {
            self.reports
                .insert(FILE.to_owned(), Some(known.to_json().into_bytes()));
        }
        let empty = Records::default();
        let records = records.unwrap_or(&empty);
        let source = &mut self.outside.source;
        let there = source.contents(&self.protected, None, &paths_of(records));
        let there = there.map_err(|error| chain(&error))?;
        let sources = sources(records, &with(there, &files, records), None);
        digests.extend(sources.iter().filter_map(|(path, source)| match source {
            Source::Sha256(sha256) => Some((path.clone(), sha256.clone())),
            Source::Absent => None,
        }));
        let mut attributions = known.seen_on("");
        let mut people = BTreeSet::new();
        let mut assessed = Assessment::default();
        let mut counts = (0, 0);
        if let Some(repo) = &repo {
            let names = repo.documents.roster.people.iter();
            people.extend(names.map(|it| it.os_user.to_string()));
            // A name of the protected branch that is not in its roster was there once: the merge that took it away was told of it.
            attributions.former.extend(named_by(&repo.services));
            assessed = evaluate(
                &repo.services,
                &repo.documents.roster,
                &attributions,
                &sources,
                self.at.now,
            );
            let inventory = repo.services.inventory.as_ref().map_or(0, |it| it.surfaces);
            counts = (inventory, repo.services.surfaces.len());
            people.extend(attributions.former);
        }
        self.memory.answers.base = Some(Base {
            protected: self.protected.clone(),
            today,
            assessed,
            people,
            digests,
            counts,
        });
        Ok(())
    }
}

/// As a comment shows it.
pub(super) fn section(told: &Told) -> Section<'_> {
    Section {
        title: "Owner responses",
        items: &told.items,
        state: if told.is_refused {
            State::Failure
        } else {
            State::Success
        },
        line: &told.line,
        elsewhere: "muster services status",
    }
}

/// What stands behind something that a proposal brought.
fn on(number: u64) -> String {
    format!("pull/{number}")
}

fn has_services(files: &Files) -> bool {
    let mut below = files.range(SERVICES.to_owned()..);
    below
        .next()
        .is_some_and(|(path, _)| path.starts_with(SERVICES))
}

/// Answers and reviews.
fn answers_in(files: &Files) -> impl Iterator<Item = (&String, &Vec<u8>)> {
    let below = files.range(SERVICES.to_owned()..);
    below
        .take_while(|(path, _)| path.starts_with(SERVICES))
        .filter(|(path, _)| path.ends_with(".yaml"))
}

/// Together with those of them that were read already.
fn with(mut there: Files, read: &Files, records: &Records<'_>) -> Files {
    for path in paths_of(records) {
        if let Some(bytes) = read.get(&path) {
            there.insert(path, bytes.clone());
        }
    }
    there
}

/// The paths of what surfaces are configured by.
fn paths_of(records: &Records<'_>) -> BTreeSet<String> {
    let sources = records.surfaces.values().map(|it| it.source.clone());
    sources.filter(|it| !it.is_empty()).collect()
}

/// What is known of what surfaces are configured by: what is there, and what was there before.
fn sources(
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
fn counted(inventory: usize, surfaces: usize) -> Records<'static> {
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
fn named_by(records: &Records<'_>) -> BTreeSet<String> {
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

fn random() -> [u8; 32] {
    let mut key = [0; 32];
    // Without randomness a quarantine is known by a key that is none; it is kept all the same.
    let _ = getrandom::fill(&mut key);
    key
}
