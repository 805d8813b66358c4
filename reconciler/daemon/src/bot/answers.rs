//! What a comment tells of owner responses: the lane of each surface before and after, and who stands behind what was brought.
//!
//! Who that is is the forge's word (who opened the proposal, and who approved it as it is) or a signed tag's, and is kept in the store
//! beside what was told. Every commit of a proposal is looked through for secrets, not its last alone. Nothing here can act, and no
//! lane opens anything.

use std::collections::{BTreeMap, BTreeSet};

use muster_core::commit::{CommitId, TagId};
use muster_core::fleet::{BotStore, Fleet};
use muster_core::forge::{Approval, ForgeError, Proposal};
use muster_core::ledger::told::Stage;
use muster_core::release::answer::{SignedAnswers, Signers, signed_answers};
use muster_core::rooms::{self, StateRepo};
use muster_core::services::attributions::{Attribution, Attributions, Identity, sha256};
use muster_core::services::evaluate::{Assessment, Source, evaluate, shrunk};
use muster_core::services::names::tells_secret;
use muster_core::services::records::Records;
use muster_core::services::say::{self, AnswersSection};
use muster_core::time::{Date, Time};
use muster_core::world::{Files, Pulls};

use super::turn::Turn;
use crate::answers::{
    FOLDER, answers_in, counted, has_services, marks_beside, named_by, paths_of, secrets_of,
    sources, untold, with,
};
use crate::cycle::chain;

/// Where the store keeps who stands behind answers and reviews, and what was last told of each proposal.
const FILE: &str = "services.json";
const TOLD: &str = "services-told.json";

/// After so many seconds it is asked again who approves: not every forge says so by itself.
const ASKED_AGAIN: i64 = 60;

/// So many tags are read at most: anybody who may push can push any number.
const MOST_TAGS: usize = 1_000;

/// What is remembered from one turn to the next.
#[derive(Default)]
pub(super) struct Answers {
    /// What the store has; `None` until it was read.
    known: Option<Result<Known, String>>,
    base: Option<Base>,
    /// Proposals that bring answers or reviews, and who approves of them.
    about: BTreeMap<u64, Asked>,
    /// Proposals whose commits were looked through.
    judged: BTreeMap<u64, Judged>,
    /// What tags say, by name and object; `None` of one that counts for nothing.
    signed: BTreeMap<(String, TagId), Option<SignedAnswers>>,
    /// Whose keys they were held against.
    signers: Signers,
}

/// What the store has.
#[derive(Clone)]
struct Known {
    attributions: Attributions,
    told: BTreeMap<u64, AnswersSection>,
}

struct Asked {
    approvals: Vec<Approval>,
    at: Time,
}

struct Judged {
    head: CommitId,
    protected: CommitId,
    /// Why not all could be looked through.
    problem: Option<String>,
}

/// Who stands behind what a proposal brings: when that changes, so does what is told of it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Behind {
    approvals: Vec<Approval>,
    tags: BTreeMap<String, TagId>,
    /// Whose tags count.
    signers: Signers,
}

/// What the protected branch says.
struct Base {
    protected: CommitId,
    today: Date,
    tags: BTreeMap<String, TagId>,
    assessed: Assessment,
    people: BTreeSet<String>,
    /// The account of each person at the forge.
    accounts: BTreeMap<String, String>,
    /// Answers and reviews, and what surfaces are configured by, by digest.
    digests: BTreeMap<String, String>,
    counts: (usize, usize),
    /// Whether there is anything below `services/`.
    is_asked: bool,
}

impl<S: Pulls, F: Fleet, B: BotStore> Turn<'_, S, F, B> {
    /// What there is to tell of a proposal whose merge gives these files; `repo` is what they say, as far as they can be read.
    pub(super) fn answers(
        &mut self,
        proposal: &Proposal,
        files: &Files,
        repo: Option<&StateRepo<'_>>,
    ) -> Option<AnswersSection> {
        let Some(repo) = repo else {
            return untold(files);
        };
        let ground = self.ground_answers();
        // Where all of it goes, it is what was there before that is told of (LB1).
        let had_services = self
            .memory
            .answers
            .base
            .as_ref()
            .is_some_and(|it| it.is_asked);
        if !has_services(files) && !had_services {
            return None;
        }
        if let Err(why) = ground {
            self.summary
                .warnings
                .push(format!("owner responses are not told of: {why}"));
            return None;
        }
        let base = self.memory.answers.base.as_ref()?;
        let is_new = |path: &str, bytes: &[u8]| {
            let before = base.digests.get(path);
            before.is_none_or(|it| *it != sha256(bytes))
        };
        let brought: Vec<(&String, &Vec<u8>)> = answers_in(files)
            .filter(|(path, bytes)| is_new(path, bytes))
            .collect();
        let approvals = self.approvals_of(proposal.number, !brought.is_empty());
        let is_asked = |it: &str| repo.services.surfaces.contains_key(it);
        let is_told = |path: &str| !tells_secret(path, is_asked);
        let problem = self.judge(proposal, &brought, &is_told);
        // The store keeps no name that is a secret, either.
        let brought: Vec<(&String, &Vec<u8>)> = brought
            .into_iter()
            .filter(|(path, _)| is_told(path))
            .collect();
        self.attribute(proposal, &brought, &approvals);
        let (records, roster) = (&repo.services, &repo.documents.roster);
        let mut attributions = self.in_force(&on(proposal.number));
        let source = &mut self.outside.source;
        let there = source.contents(&self.protected, Some(&proposal.head), &paths_of(records));
        let base = self.memory.answers.base.as_ref()?;
        attributions.former.extend(base.people.iter().cloned());
        let people = roster.people.iter().filter(|it| {
            let (before, now) = (base.accounts.get(&*it.os_user), it.forge_user());
            now.is_some_and(|now| before.is_none_or(|it| !it.eq_ignore_ascii_case(now)))
        });
        attributions.unsettled = people.map(|it| it.os_user.to_string()).collect();
        // What could not be read is not known, and nothing is stale for that.
        let sources = match there {
            Ok(there) => sources(records, &with(there, files, records), Some(&base.digests)),
            Err(_) => {
                let paths = paths_of(records).into_iter();
                paths.map(|path| (path, Source::Unread)).collect()
            }
        };
        let freshness = self.run.vouching.freshness;
        let now = self.at.now;
        let mut after = evaluate(records, roster, &attributions, &sources, freshness, now);
        let (before_inventory, before_surfaces) = base.counts;
        after
            .inventory
            .extend(shrunk(&counted(before_inventory, before_surfaces), records));
        let mut told = say::told(&base.assessed, &after);
        let elsewhere = marks_beside(&attributions, &after);
        let more: BTreeSet<String> = problem
            .into_iter()
            .chain(elsewhere.map(say::mark))
            .collect();
        if !more.is_empty() {
            told = Some(told.unwrap_or_default().refused(more));
        }
        self.remember_told(proposal, told.as_ref());
        told
    }

    /// Who stands behind what a proposal brings, asked anew where something happened to it or it was long ago.
    pub(super) fn behind(&mut self, number: u64) -> Result<Behind, ForgeError> {
        let now = self.at.now;
        let Some(asked) = self.memory.answers.about.get(&number) else {
            return Ok(Behind::default());
        };
        let due = asked.at.plus(ASKED_AGAIN) <= now
            || asked.at != now && self.memory.again.contains(&number);
        let approvals = if due {
            let approvals = self.outside.reader.approvals(number)?;
            let asked = Asked {
                approvals: approvals.clone(),
                at: now,
            };
            self.memory.answers.about.insert(number, asked);
            approvals
        } else {
            asked.approvals.clone()
        };
        Ok(Behind {
            approvals,
            tags: self.outside.source.answer_tags(),
            signers: self.run.vouching.signers.clone(),
        })
    }

    /// What was last told of a proposal, for the record of its merge.
    pub(super) fn answers_told(&mut self, number: u64) -> Option<AnswersSection> {
        self.load_answers();
        match &self.memory.answers.known {
            Some(Ok(known)) => known.told.get(&number).cloned(),
            Some(Err(_)) | None => None,
        }
    }

    /// A proposal was closed: nobody stands behind what it brought for having brought it.
    pub(super) fn withdraw(&mut self, number: u64) {
        self.memory.answers.about.remove(&number);
        self.memory.answers.judged.remove(&number);
        self.change(|known| {
            known.attributions.withdraw(&on(number));
            known.told.remove(&number);
        });
    }

    /// Makes sure that it is known where the surfaces of the protected branch stand, and counts them.
    pub(super) fn survey_answers(&mut self) {
        if let Err(why) = self.ground_answers() {
            self.summary
                .warnings
                .push(format!("owner responses are not known: {why}"));
        }
        if let Some(base) = &self.memory.answers.base {
            let surfaces = base.assessed.surfaces.values();
            self.summary.surfaces = surfaces.len();
            self.summary.stale_surfaces = surfaces.filter(|it| it.is_stale()).count();
        }
    }

    /// Who approves of a proposal; asked for where it brings something that they could stand behind.
    fn approvals_of(&mut self, number: u64, brings: bool) -> Vec<Approval> {
        if !brings {
            self.memory.answers.about.remove(&number);
            return Vec::new();
        }
        // Asked in this very turn, where it was known already that it is about answers.
        if let Some(asked) = self.memory.answers.about.get(&number) {
            return asked.approvals.clone();
        }
        let (approvals, at) = match self.outside.reader.approvals(number) {
            Ok(approvals) => (approvals, self.at.now),
            Err(error) => {
                self.summary.warnings.push(format!(
                    "#{number}: who approves is not known ({}); it is asked again",
                    chain(&error)
                ));
                (Vec::new(), Time(0))
            }
        };
        let asked = Asked {
            approvals: approvals.clone(),
            at,
        };
        self.memory.answers.about.insert(number, asked);
        approvals
    }

    /// Looks through every commit of a proposal, and what merging it gives, for what must not be there (LB8). Says why not all of it
    /// could be looked through, if so.
    fn judge(
        &mut self,
        proposal: &Proposal,
        brought: &[(&String, &Vec<u8>)],
        is_told: &dyn Fn(&str) -> bool,
    ) -> Option<String> {
        let known = self.memory.answers.judged.get(&proposal.number);
        let known = known.filter(|it| it.head == proposal.head && it.protected == self.protected);
        let (versions, problem) = match known {
            Some(known) => (Vec::new(), known.problem.clone()),
            None => {
                let source = &mut self.outside.source;
                match source.versions(&self.protected, &proposal.head, FOLDER) {
                    Ok(Some(versions)) => (versions, None),
                    Ok(None) => (Vec::new(), Some(say::TOO_MANY_COMMITS.to_owned())),
                    Err(error) => {
                        self.summary.warnings.push(format!(
                            "the commits of #{} cannot be looked through for secrets: {}",
                            proposal.number,
                            chain(&error)
                        ));
                        (Vec::new(), Some(say::COMMITS_UNREAD.to_owned()))
                    }
                }
            }
        };
        let (number, key) = (proposal.number, &self.run.vouching.key);
        let on = on(number);
        let of_commits = versions.iter().map(|(path, bytes)| (path, bytes));
        let all = of_commits.chain(brought.iter().copied());
        let found = secrets_of(all, is_told);
        if !found.is_empty() {
            self.change(|known| {
                for (path, bytes, it) in found {
                    known.attributions.quarantine(key, path, bytes, &it, &on);
                }
            });
        }
        let judged = Judged {
            head: proposal.head.clone(),
            protected: self.protected.clone(),
            problem: problem.clone(),
        };
        self.memory.answers.judged.insert(number, judged);
        problem
    }

    /// Keeps who stands behind what a proposal brings as it is now: who opened it, and who approved this very head.
    fn attribute(
        &mut self,
        proposal: &Proposal,
        brought: &[(&String, &Vec<u8>)],
        approvals: &[Approval],
    ) {
        let on = on(proposal.number);
        // A merge queue's commit is approved by whoever approved the proposal's head.
        let open = self.memory.open.get(&proposal.number);
        let head = open.map_or(&proposal.head, |it| &it.head).clone();
        self.change(|known| {
            known.attributions.withdraw(&on);
            for (path, bytes) in brought {
                let opened = proposal
                    .author
                    .iter()
                    .map(|it| Attribution::opened(it, &on));
                let approved = approvals.iter().filter(|it| it.commit == head);
                let approved = approved.map(|it| Attribution::approved(&it.by, &on, it.review));
                for by in opened.chain(approved) {
                    known.attributions.attribute(path, bytes, by);
                }
            }
        });
    }

    /// Keeps what was told of a proposal's head, for the record of its merge.
    fn remember_told(&mut self, proposal: &Proposal, told: Option<&AnswersSection>) {
        let open = self.memory.open.get(&proposal.number);
        if open.is_none_or(|it| it.head != proposal.head) {
            return;
        }
        self.change(|known| {
            match told {
                Some(told) => known.told.insert(proposal.number, told.clone()),
                None => known.told.remove(&proposal.number),
            };
        });
    }

    /// Changes what the store has, and has it written where that is another thing than before.
    fn change(&mut self, change: impl FnOnce(&mut Known)) {
        let Some(Ok(known)) = &mut self.memory.answers.known else {
            return;
        };
        let before = known.clone();
        change(known);
        if known.attributions != before.attributions {
            let text = known.attributions.to_json().into_bytes();
            self.reports.insert(FILE.to_owned(), Some(text));
        }
        if known.told != before.told {
            let text = serde_json::to_string_pretty(&known.told).unwrap_or_default() + "\n";
            self.reports
                .insert(TOLD.to_owned(), Some(text.into_bytes()));
        }
    }

    /// Who stands behind what, as it counts for a proposal: with its own quarantines, with what tags say that are there, and without
    /// keys that are nobody's any more.
    fn in_force(&self, on: &str) -> Attributions {
        let Answers {
            known,
            signed,
            signers,
            ..
        } = &self.memory.answers;
        let Some(Ok(known)) = known else {
            return Attributions::default();
        };
        let mut attributions = known.attributions.seen_on(on);
        attributions.retain(|_, _, it| match (&it.by, &it.key) {
            (Identity::Forge(_), _) => true,
            (Identity::Key(person), Some(key)) => signers.has(person, key),
            (Identity::Key(_), None) => false,
        });
        for ((_, tag), signed) in signed {
            let on = tag_on(tag);
            let Some(signed) = signed
                .as_ref()
                .filter(|_| !attributions.spent.contains(&on))
            else {
                continue;
            };
            for (path, sha256) in &signed.files {
                let by = Attribution::signed(&signed.person, &on, signed.key.to_string());
                attributions.attribute_digest(path, sha256.clone(), by);
            }
        }
        attributions
    }

    /// Reads what the store has, once.
    fn load_answers(&mut self) {
        if self.memory.answers.known.is_some() {
            return;
        }
        let read = self.outside.store.read(&|path| matches!(path, FILE | TOLD));
        let known = read.map_err(|error| chain(&error)).and_then(|files| {
            let wrong = |file: &str, why: String| format!("{file}: {why}");
            let attributions = match files.get(FILE) {
                Some(bytes) => {
                    Attributions::parse(bytes).map_err(|error| wrong(FILE, chain(&error)))?
                }
                None => Attributions::default(),
            };
            let told = match files.get(TOLD) {
                Some(bytes) => {
                    serde_json::from_slice(bytes).map_err(|error| wrong(TOLD, error.to_string()))?
                }
                None => BTreeMap::new(),
            };
            Ok(Known { attributions, told })
        });
        self.memory.answers.known = Some(known);
    }

    /// Reads the tags that were not read yet.
    fn read_tags(&mut self) {
        let signers = &self.run.vouching.signers;
        let memory = &mut self.memory.answers;
        if memory.signers != *signers {
            memory.signers = signers.clone();
            memory.signed.clear();
            memory.base = None;
        }
        let tags = self.outside.source.answer_tags();
        let there: BTreeSet<(String, TagId)> = tags.into_iter().take(MOST_TAGS).collect();
        memory.signed.retain(|it, _| there.contains(it));
        if signers.is_empty() {
            return;
        }
        let new: Vec<(String, TagId)> = there
            .into_iter()
            .filter(|it| !memory.signed.contains_key(it))
            .collect();
        let mut rest = new.as_slice();
        while !rest.is_empty() {
            let ids: Vec<TagId> = rest.iter().map(|it| it.1.clone()).collect();
            let found = match self.outside.source.tags(&ids) {
                Ok(found) if !found.is_empty() => found,
                Ok(_) => return,
                Err(error) => {
                    let why = format!("tags of owner responses cannot be read: {}", chain(&error));
                    self.summary.warnings.push(why);
                    return;
                }
            };
            let (read, later) = rest.split_at(found.len().min(rest.len()));
            rest = later;
            for ((name, tag), raw) in read.iter().zip(found) {
                let signed = raw.map_err(|error| chain(&error)).and_then(|raw| {
                    signed_answers(name, raw.kind, &raw.bytes, signers).map_err(|it| it.to_string())
                });
                let signed = match signed {
                    Ok(signed) => Some(signed),
                    Err(why) => {
                        let why = format!("{name} stands behind nothing: {why}");
                        self.summary.warnings.push(why);
                        None
                    }
                };
                memory.signed.insert((name.clone(), tag.clone()), signed);
            }
        }
    }

    /// Makes sure that it is known where the surfaces of the protected branch stand.
    fn ground_answers(&mut self) -> Result<(), String> {
        let today = self.at.now.date();
        self.load_answers();
        if let Some(Err(why)) = &self.memory.answers.known {
            return Err(why.clone());
        }
        self.read_tags();
        let tags = self.outside.source.answer_tags();
        let is_it =
            |it: &Base| it.protected == self.protected && it.today == today && it.tags == tags;
        if self.memory.answers.base.as_ref().is_some_and(is_it) {
            return Ok(());
        }
        let files = self.outside.source.files(&self.protected);
        let files = files.map_err(|error| chain(&error))?.unwrap_or_default();
        let (repo, _) = rooms::read_as_far(&files, &[]);
        let digests: BTreeMap<String, String> = answers_in(&files)
            .map(|(path, bytes)| (path.clone(), sha256(bytes)))
            .collect();
        self.keep_of_protected(&digests);
        let base = self.base(&files, repo.as_ref(), digests)?;
        self.memory.answers.base = Some(Base { tags, ..base });
        Ok(())
    }

    /// Whoever stands behind what is there now stays, and by what tag; of the rest only what open proposals bring.
    fn keep_of_protected(&mut self, digests: &BTreeMap<String, String>) {
        let open: BTreeSet<String> = self.memory.open.keys().map(|number| on(*number)).collect();
        let in_force = self.in_force("");
        let proposals = &self.told().proposals;
        let told_of: BTreeSet<u64> = proposals
            .iter()
            .filter(|(_, it)| !matches!(it.stage, Stage::Merged { settled: true, .. }))
            .map(|(number, _)| *number)
            .chain(self.memory.open.keys().copied())
            .collect();
        let is_there = |path: &str, sha256: &str| digests.get(path).is_some_and(|it| it == sha256);
        self.change(|known| {
            for (path, of_file) in in_force.files {
                let there = of_file.into_iter().filter(|(it, _)| is_there(&path, it));
                for (sha256, by) in there
                    .flat_map(|(sha256, by)| by.into_iter().map(move |it| (sha256.clone(), it)))
                {
                    known.attributions.attribute_digest(&path, sha256, by);
                }
            }
            known
                .attributions
                .keep_only(is_there, |on| open.contains(on));
            known.told.retain(|number, _| told_of.contains(number));
        });
    }

    fn base(
        &mut self,
        files: &Files,
        repo: Option<&StateRepo<'_>>,
        mut digests: BTreeMap<String, String>,
    ) -> Result<Base, String> {
        let empty = Records::default();
        let records = repo.map_or(&empty, |it| &it.services);
        let source = &mut self.outside.source;
        let there = source.contents(&self.protected, None, &paths_of(records));
        let there = there.map_err(|error| chain(&error))?;
        let sources = sources(records, &with(there, files, records), None);
        digests.extend(sources.iter().filter_map(|(path, source)| match source {
            Source::Sha256(sha256) => Some((path.clone(), sha256.clone())),
            Source::Absent | Source::Unread => None,
        }));
        let mut base = Base {
            protected: self.protected.clone(),
            today: self.at.now.date(),
            tags: BTreeMap::new(),
            assessed: Assessment::default(),
            people: BTreeSet::new(),
            accounts: BTreeMap::new(),
            digests,
            counts: (0, 0),
            is_asked: has_services(files),
        };
        let Some(repo) = repo else { return Ok(base) };
        let mut attributions = self.in_force("");
        let roster = &repo.documents.roster;
        for person in &roster.people {
            base.people.insert(person.os_user.to_string());
            let account = person.forge_user().map(str::to_owned);
            base.accounts
                .extend(account.map(|it| (person.os_user.to_string(), it)));
        }
        // A name of the protected branch that is not in its roster was there once: the merge that took it away was told of it.
        attributions.former.extend(named_by(&repo.services));
        let (freshness, now) = (self.run.vouching.freshness, self.at.now);
        base.assessed = evaluate(records, roster, &attributions, &sources, freshness, now);
        let inventory = records.inventory.as_ref().map_or(0, |it| it.surfaces);
        base.counts = (inventory, records.surfaces.len());
        base.people.extend(attributions.former);
        Ok(base)
    }
}

/// What stands behind something that a tag says, by its object.
fn tag_on(tag: &TagId) -> String {
    format!("tag/{tag}")
}

/// What stands behind something that a proposal brought.
fn on(number: u64) -> String {
    format!("pull/{number}")
}
