//! Which lane each surface is in, and why (W4): every check says what it finds, and the lane is a fold over that, by a strict
//! precedence (A14). Nothing is opened here.

use std::collections::BTreeMap;

use jiff::civil::Date;

use super::attributions::{Attribution, Attributions, Identity, sha256};
use super::checks::Check;
use super::lane::Lane;
use super::records::{
    Incident, Outcome, RESPONSES, REVIEWS, Records, Response, Review, Said, Surface, TextKey,
};
use super::words::PENDING_TEXT;
use super::{refs, requests, secrets};
use crate::diagnostic::{Diagnostic, Fault, Faults, Pos, places_of};
use crate::repo::Roster;
use crate::repo::names::did_you_mean;
use crate::time::Time;

/// The most days that an answer holds.
pub const LONGEST: i32 = 365;

/// What is known of the files that surfaces are configured by, by their paths.
pub type Sources = BTreeMap<String, Source>;

/// What is known of one such file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Source {
    /// It is there, with this SHA-256 of what git keeps.
    Sha256(String),
    /// It is not there.
    Absent,
}

/// What is asked of an inventory.
#[derive(Clone, Copy, Debug)]
pub struct Freshness {
    /// How many days old it may be.
    pub days: i64,
}

impl Default for Freshness {
    fn default() -> Self {
        Self { days: 90 }
    }
}

/// All surfaces, evaluated.
#[derive(Clone, Debug, Default)]
pub struct Assessment {
    /// By id.
    pub surfaces: BTreeMap<String, Standing>,
    /// What is wrong with the inventory; while there is any of it, no lane changes (LB10).
    pub inventory: Vec<InventoryFault>,
    /// What is wrong in answers and reviews themselves: a name that never was, an answer that nobody asked for.
    pub problems: Vec<Diagnostic>,
}

/// Where one surface stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Standing {
    /// Its lane.
    pub lane: Lane,
    /// What keeps it from a better one, the worst first.
    pub findings: Vec<Finding>,
    /// Who stands behind the last change of its lane, and by what (LB9).
    pub by: Option<Attribution>,
}

impl Standing {
    /// Whether an answer that was complete is not any more because time or content moved on.
    pub fn is_stale(&self) -> bool {
        self.findings.iter().any(|it| match it.cause {
            Cause::Stale(_) => true,
            Cause::Secret { .. }
            | Cause::Request
            | Cause::Incident
            | Cause::Missing
            | Cause::Form
            | Cause::Differs
            | Cause::Person { .. }
            | Cause::Unattributed
            | Cause::OtherIdentity
            | Cause::Unsettled
            | Cause::Delegation
            | Cause::Reviewer
            | Cause::OnlyOwner
            | Cause::OtherResponse
            | Cause::ExtraReview
            | Cause::AskedFor => false,
        })
    }
}

/// One reason for a lane.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    /// The check that says so.
    pub check: Check,
    /// The lane that it asks for.
    pub lane: Lane,
    /// Why.
    pub cause: Cause,
    /// The field, where one is meant.
    pub field: &'static str,
    /// The file.
    pub path: String,
    /// The place in it.
    pub at: Option<Pos>,
}

/// Why a check does not hold. No part of it was written by whoever answered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Cause {
    /// Something is there that must not be; by the name of the rule.
    Secret {
        /// The rule.
        rule: &'static str,
    },
    /// It asks for something to be run.
    Request,
    /// An incident is touched, and this is missing.
    Incident,
    /// It is not written, or still pending.
    Missing,
    /// It has not the form.
    Form,
    /// It says something else than what was asked about.
    Differs,
    /// A person of the roster, past or present, who cannot stand for it.
    Person {
        /// Who.
        name: String,
        /// Why not.
        gone: Gone,
    },
    /// No forge and no tag says who it is from.
    Unattributed,
    /// Who it is from is none of its owners.
    OtherIdentity,
    /// Whose account it is changes with the very proposal that brings it.
    Unsettled,
    /// Who answered in the place of an owner may not, or not any more.
    Delegation,
    /// The reviewer is who answered.
    Reviewer,
    /// The reviewer is the only owner.
    OnlyOwner,
    /// The review is of another answer.
    OtherResponse,
    /// It can be written to, and nobody looked further.
    ExtraReview,
    /// A reviewer asked for more.
    AskedFor,
    /// It held, and does not any more.
    Stale(Stale),
}

/// Why a person cannot stand for anything.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Gone {
    /// Not in the roster any more.
    Leaving,
    /// Parked.
    Parked,
    /// Disabled by their row.
    Disabled,
    /// Past the last valid day.
    Expired,
}

/// Why an answer does not hold any more (LB3).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stale {
    /// It is about another content than the request.
    OtherContent,
    /// The configuration is not what it was when it was asked about.
    Changed,
    /// The configuration is not there any more.
    Removed,
    /// Its last day is over.
    Over,
    /// It would hold for more than a year.
    TooLong,
}

/// What is wrong with an inventory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum InventoryFault {
    /// It does not say when it was made.
    Undated,
    /// It is too old.
    Old {
        /// How many days.
        days: i64,
        /// How many it may be.
        most: i64,
    },
    /// It has fewer surfaces than the last, by more than a fifth.
    Fewer {
        /// How many the last had.
        before: usize,
        /// How many it has.
        now: usize,
    },
}

/// Evaluates every surface. Equal arguments give equal results; `now` decides what is over.
pub fn evaluate(
    files: &Records<'_>,
    roster: &Roster<'_>,
    attributions: &Attributions,
    sources: &Sources,
    freshness: Freshness,
    now: Time,
) -> Assessment {
    let people = People {
        roster,
        former: &attributions.former,
        unsettled: &attributions.unsettled,
        today: now.date(),
    };
    let mut assessment = Assessment::default();
    for (id, surface) in &files.surfaces {
        let one = One {
            id,
            surface,
            people: &people,
            attributions,
            sources,
        };
        let (standing, faults) = one.standing(
            files.responses.get(id.as_str()),
            files.reviews.get(id.as_str()),
        );
        assessment.surfaces.insert(id.clone(), standing);
        assessment.problems.extend(faults);
    }
    let asked = |id: &str| files.surfaces.contains_key(id);
    let orphans = files
        .responses
        .iter()
        .map(|(id, it)| (RESPONSES, *id, it.bytes));
    let orphans = orphans.chain(
        files
            .reviews
            .iter()
            .map(|(id, it)| (REVIEWS, *id, it.bytes)),
    );
    for (folder, id, bytes) in orphans.filter(|(_, id, _)| !asked(id)) {
        let fault = Fault::of_file("no-request", "no request asks about this surface");
        let fault = match did_you_mean(id, files.surfaces.keys().map(String::as_str)) {
            Some(meant) => fault.help(format!("did you mean {meant}? otherwise take the file out")),
            None => fault.help("take the file out; a surface that comes back is answered anew"),
        };
        let mut faults = Faults::default();
        faults.add(fault);
        let (found, _) = faults.resolve(&format!("{folder}{id}.yaml"), bytes);
        assessment.problems.extend(found);
    }
    if let Some(inventory) = &files.inventory {
        let days = inventory.made.map(|made| now.days() - made.days());
        let most = freshness.days;
        assessment.inventory.extend(match days {
            None => Some(InventoryFault::Undated),
            Some(days) if days > most => Some(InventoryFault::Old { days, most }),
            Some(_) => None,
        });
    }
    assessment
}

/// What is wrong with an inventory beside the one before it: fewer surfaces, by more than a fifth (LB10).
pub fn shrunk(before: &Records<'_>, now: &Records<'_>) -> Option<InventoryFault> {
    let counts = |it: &Records<'_>| {
        let inventory = it.inventory.as_ref().map_or(0, |it| it.surfaces);
        [inventory, it.surfaces.len()]
    };
    let mut both = counts(before).into_iter().zip(counts(now));
    both.find(|(before, now)| *now * 5 < *before * 4)
        .map(|(before, now)| InventoryFault::Fewer { before, now })
}

/// How strongly a lane holds against others: the first of them wins (A14).
pub fn rank(lane: Lane) -> usize {
    match lane {
        Lane::QuarantineSecretOrRawPayload => 0,
        Lane::RejectExecutionRequest => 1,
        Lane::IncidentRecoveryBackfillRequired => 2,
        Lane::RequestSupplement => 3,
        Lane::WaitingOwnerResponse => 4,
        Lane::ReadyForHostServiceReview => 5,
        Lane::OwnerReviewOnlyUpdate => 6,
        Lane::WaitingRuntimeGate => 7,
    }
}

/// The lane of a surface: as far as its records lead it, and no better than any finding allows.
pub fn fold(led: Lane, findings: &[Finding]) -> Lane {
    let lanes = findings.iter().map(|it| it.lane);
    lanes.fold(led, |lane, other| {
        if rank(other) < rank(lane) {
            other
        } else {
            lane
        }
    })
}

struct People<'r> {
    roster: &'r Roster<'r>,
    former: &'r std::collections::BTreeSet<String>,
    unsettled: &'r std::collections::BTreeSet<String>,
    today: Date,
}

enum Known {
    Active,
    Gone(Gone),
    Never,
}

impl People<'_> {
    fn known(&self, name: &str) -> Known {
        match self.roster.get(name) {
            None if self.former.contains(name) => Known::Gone(Gone::Leaving),
            None => Known::Never,
            Some(person) if person.parked() => Known::Gone(Gone::Parked),
            Some(person) if person.disabled() => Known::Gone(Gone::Disabled),
            Some(person) if person.expires().is_some_and(|last| last < self.today) => {
                Known::Gone(Gone::Expired)
            }
            Some(_) => Known::Active,
        }
    }

    /// Whether what stands behind something is that person. An account that the very proposal gives them is nobody's yet: it
    /// would speak for whom it names.
    fn is(&self, by: &Attribution, name: &str) -> bool {
        match &by.by {
            Identity::Key(person) => person == name,
            Identity::Forge(_) => !self.unsettled.contains(name) && self.will_be(by, name),
        }
    }

    /// The same by the roster alone.
    fn will_be(&self, by: &Attribution, name: &str) -> bool {
        match &by.by {
            Identity::Key(person) => person == name,
            Identity::Forge(account) => self
                .roster
                .get(name)
                .and_then(|it| it.forge_user())
                .is_some_and(|it| it.eq_ignore_ascii_case(account)),
        }
    }

    /// Why none of them counts as any of these people.
    fn why_not<'n>(
        &self,
        by: &[Attribution],
        names: impl Iterator<Item = &'n str> + Clone,
    ) -> Cause {
        let will_be = |it: &Attribution| names.clone().any(|name| self.will_be(it, name));
        if by.is_empty() {
            Cause::Unattributed
        } else if by.iter().any(will_be) {
            Cause::Unsettled
        } else {
            Cause::OtherIdentity
        }
    }
}

struct One<'e, 'r> {
    id: &'e str,
    surface: &'e Surface,
    people: &'e People<'r>,
    attributions: &'e Attributions,
    sources: &'e Sources,
}

/// What was found, by byte offset.
struct Notes<'e> {
    path: String,
    list: Vec<(Check, Lane, Cause, &'static str, Option<u32>)>,
    faults: Faults,
    people: &'e People<'e>,
}

impl Notes<'_> {
    fn add(
        &mut self,
        check: Check,
        lane: Lane,
        cause: Cause,
        field: &'static str,
        at: Option<u32>,
    ) {
        self.list.push((check, lane, cause, field, at));
    }

    /// Whether a name is that of somebody who can stand for something; what else it is is told.
    fn person(&mut self, check: Check, field: &'static str, name: &Said<'_>) -> bool {
        let gone = match self.people.known(&name.value) {
            Known::Active => return true,
            Known::Gone(gone) => gone,
            Known::Never => {
                let fault = Fault::error(
                    "unknown-owner",
                    name.at,
                    format!("{field}: nobody of the roster has this name"),
                );
                let names = self.people.roster.people.iter().map(|it| &*it.os_user);
                self.faults.add(match did_you_mean(&name.value, names) {
                    Some(meant) => fault.help(format!("did you mean {meant}?")),
                    None => fault.help("write the os_user of a person of roster.yaml"),
                });
                return false;
            }
        };
        let cause = Cause::Person {
            name: name.value.to_string(),
            gone,
        };
        self.add(check, Lane::RequestSupplement, cause, field, Some(name.at));
        false
    }

    /// In the order of precedence, with places.
    fn findings(self, bytes: &[u8]) -> (Vec<Finding>, Vec<Diagnostic>) {
        let Notes {
            path,
            list,
            faults,
            people: _,
        } = self;
        let mut offsets: Vec<u32> = list.iter().filter_map(|it| it.4).collect();
        offsets.sort_unstable();
        offsets.dedup();
        let places = places_of(bytes, &offsets);
        let mut findings: Vec<Finding> = list
            .into_iter()
            .map(|(check, lane, cause, field, at)| Finding {
                check,
                lane,
                cause,
                field,
                path: path.clone(),
                at: at
                    .and_then(|at| offsets.binary_search(&at).ok())
                    .map(|it| places[it]),
            })
            .collect();
        findings.sort_by_key(|it| (rank(it.lane), it.check));
        let (diagnostics, _) = faults.resolve(&path, bytes);
        (findings, diagnostics)
    }
}

impl One<'_, '_> {
    fn standing(
        &self,
        response: Option<&Response<'_>>,
        review: Option<&Review<'_>>,
    ) -> (Standing, Vec<Diagnostic>) {
        let path = format!("{RESPONSES}{}.yaml", self.id);
        let marked = self.marked();
        let Some(response) = response else {
            let standing = Standing {
                lane: fold(Lane::WaitingOwnerResponse, &marked),
                findings: marked,
                by: None,
            };
            return (standing, Vec::new());
        };
        let by = self.attributions.of(&path, response.bytes);
        let mut notes = Notes {
            path,
            list: Vec::new(),
            faults: Faults::default(),
            people: self.people,
        };
        self.check_secrets(response.bytes, &response.fields(), &mut notes);
        if response.is_read {
            self.check_response(response, by, &mut notes);
        } else {
            notes.add(
                Check::DecisionReasonPresent,
                Lane::RequestSupplement,
                Cause::Form,
                "",
                None,
            );
        }
        let (mut findings, mut faults) = notes.findings(response.bytes);
        let mut led = Lane::ReadyForHostServiceReview;
        let answering = self.answering(response, by);
        let mut told = answering.first().copied().or(by.first());
        if let Some(review) = review {
            let path = format!("{REVIEWS}{}.yaml", self.id);
            let reviewer = self.attributions.of(&path, review.bytes);
            let mut notes = Notes {
                path,
                list: Vec::new(),
                faults: Faults::default(),
                people: self.people,
            };
            let texts: Vec<&Said<'_>> = review.reviewer.iter().chain(&review.response).collect();
            self.check_secrets(review.bytes, &texts, &mut notes);
            self.check_review(review, reviewer, response, &answering, &mut notes);
            let (of_review, more) = notes.findings(review.bytes);
            if of_review.is_empty() && more.is_empty() {
                led = match review.outcome.map(|it| it.value) {
                    Some(Outcome::Accepted) => Lane::WaitingRuntimeGate,
                    Some(Outcome::ReviewOnly | Outcome::Rejected) => Lane::OwnerReviewOnlyUpdate,
                    Some(Outcome::Supplement) | None => Lane::ReadyForHostServiceReview,
                };
                let named = review.reviewer.as_ref().and_then(|name| {
                    let mut reviewers = reviewer.iter();
                    reviewers.find(|it| self.people.is(it, &name.value))
                });
                told = named.or(told);
            }
            findings.extend(of_review);
            faults.extend(more);
        }
        // A name that never was is an error of its file, and no good for anything.
        if !faults.is_empty() && rank(led) > rank(Lane::RequestSupplement) {
            led = Lane::RequestSupplement;
        }
        // What is there now is told of with its place.
        let is_told = |mark: &Finding| {
            let told = |it: &Finding| it.check == mark.check && it.path == mark.path;
            findings.iter().any(told)
        };
        let earlier: Vec<Finding> = marked.into_iter().filter(|it| !is_told(it)).collect();
        findings.extend(earlier);
        findings.sort_by_key(|it| (rank(it.lane), it.check));
        let lane = fold(led, &findings);
        (
            Standing {
                lane,
                findings,
                by: told.cloned(),
            },
            faults,
        )
    }

    /// Those behind an answer who can give it: whose it is, and who was asked in their place.
    fn answering<'b>(
        &self,
        response: &Response<'_>,
        by: &'b [Attribution],
    ) -> Vec<&'b Attribution> {
        let delegate = response.delegation.iter().flat_map(|it| &it.to);
        let names = response.owners.iter().chain(delegate);
        by.iter()
            .filter(|it| names.clone().any(|name| self.people.is(it, &name.value)))
            .collect()
    }

    /// What was seen in an earlier version of its files, and is in git for good (LB8).
    fn marked(&self) -> Vec<Finding> {
        let own = [RESPONSES, REVIEWS].map(|folder| format!("{folder}{}.yaml", self.id));
        let marks = self.attributions.quarantined.values();
        marks
            .filter(|it| own.contains(&it.path))
            .map(|mark| Finding {
                check: Check::SecretValueAbsent,
                lane: Lane::QuarantineSecretOrRawPayload,
                cause: Cause::Secret {
                    rule: secrets::rule_named(&mark.rule),
                },
                field: "",
                path: mark.path.clone(),
                at: None,
            })
            .collect()
    }

    /// `secret_value_absent`: the file as it is, and each value as it is read.
    fn check_secrets(&self, bytes: &[u8], texts: &[&Said<'_>], notes: &mut Notes<'_>) {
        let mut add = |found: secrets::Found, at: usize| {
            let at = u32::try_from(at).ok();
            let cause = Cause::Secret { rule: found.rule };
            notes.add(
                Check::SecretValueAbsent,
                Lane::QuarantineSecretOrRawPayload,
                cause,
                "",
                at,
            );
        };
        let found = secrets_in(bytes);
        let is_clean = found.is_empty();
        for found in found {
            let at = found.at;
            add(found, at);
        }
        // Escapes and folded lines say something else than the file shows.
        if is_clean {
            for said in texts
                .iter()
                .filter(|it| matches!(it.value, std::borrow::Cow::Owned(_)))
            {
                for found in secrets::scan(&said.value) {
                    add(found, said.at as usize);
                }
            }
        }
    }

    fn check_response(&self, response: &Response<'_>, by: &[Attribution], notes: &mut Notes<'_>) {
        use Lane::{RejectExecutionRequest, RequestSupplement};
        use TextKey as Key;
        let text = |key: Key| response.text(key);
        let need = |check: Check, key: Key, notes: &mut Notes<'_>| {
            if text(key).is_none() {
                notes.add(check, RequestSupplement, Cause::Missing, key.name(), None);
            }
        };
        self.check_identity(response, by, notes);
        need(Check::DecisionReasonPresent, Key::Decision, notes);
        need(Check::DecisionReasonPresent, Key::DecisionReason, notes);
        let asked = [
            (Key::AffectedScope, self.id),
            (Key::RequestId, self.surface.request.as_str()),
        ];
        for (key, asked) in asked {
            let check = Check::AffectedScopeMatchesSurface;
            match text(key) {
                Some(said) if said.value != asked => {
                    notes.add(
                        check,
                        RequestSupplement,
                        Cause::Differs,
                        key.name(),
                        Some(said.at),
                    );
                }
                None if key == Key::AffectedScope => {
                    notes.add(check, RequestSupplement, Cause::Missing, key.name(), None);
                }
                Some(_) | None => {}
            }
        }
        for said in response
            .evidence
            .iter()
            .chain(text(Key::OwnerResponseRef))
            .filter(|it| !refs::is_ref(&it.value))
        {
            notes.add(
                Check::RedactedRefsOnly,
                RequestSupplement,
                Cause::Form,
                "redacted_evidence_refs",
                Some(said.at),
            );
        }
        if self.surface.live_evidence && response.evidence.is_empty() {
            notes.add(
                Check::RedactedRefsOnly,
                RequestSupplement,
                Cause::Missing,
                "redacted_evidence_refs",
                None,
            );
        }
        let live = text(Key::LiveConfigHashRef);
        let check = Check::LiveConfigHashMetadataOnly;
        match live {
            None if self.surface.live_evidence => notes.add(
                check,
                RequestSupplement,
                Cause::Missing,
                Key::LiveConfigHashRef.name(),
                None,
            ),
            Some(said) if !refs::is_digest(&said.value) => {
                notes.add(
                    check,
                    RequestSupplement,
                    Cause::Form,
                    Key::LiveConfigHashRef.name(),
                    Some(said.at),
                );
            }
            Some(_) | None => {}
        }
        need(
            Check::MaintenanceWindowPresent,
            Key::MaintenanceWindow,
            notes,
        );
        need(
            Check::RestartWindowSeparateFromAction,
            Key::RestartWindow,
            notes,
        );
        if let (Some(one), Some(other)) = (text(Key::MaintenanceWindow), text(Key::RestartWindow))
            && one.value == other.value
        {
            notes.add(
                Check::RestartWindowSeparateFromAction,
                RequestSupplement,
                Cause::Differs,
                Key::RestartWindow.name(),
                Some(other.at),
            );
        }
        need(Check::RollbackOwnerPresent, Key::RollbackOwner, notes);
        for key in [Key::RollbackOwner, Key::FollowupOwner] {
            if let Some(said) = text(key) {
                notes.person(Check::RollbackOwnerPresent, key.name(), said);
            }
        }
        need(Check::PostCheckPlanPresent, Key::PostCheckPlan, notes);
        need(Check::DisableSwitchPresent, Key::DisableSwitch, notes);
        for (check, key) in REFERRED {
            match text(key) {
                None => notes.add(check, RequestSupplement, Cause::Missing, key.name(), None),
                Some(said) if !refs::is_ref(&said.value) => {
                    notes.add(
                        check,
                        RequestSupplement,
                        Cause::Form,
                        key.name(),
                        Some(said.at),
                    );
                }
                Some(_) => {}
            }
        }
        self.check_incident(response, notes);
        for said in response
            .texts
            .values()
            .filter(|it| requests::asks(&it.value))
        {
            notes.add(
                Check::NoRuntimeRequest,
                RejectExecutionRequest,
                Cause::Request,
                "",
                Some(said.at),
            );
        }
        if let Some(claim) = response.not_approval.filter(|it| !it.value) {
            notes.add(
                Check::NoRuntimeRequest,
                RejectExecutionRequest,
                Cause::Request,
                "not_approval",
                Some(claim.at),
            );
        }
        if let Some(said) = text(Key::RestartActor) {
            let _ = notes.person(
                Check::SilentRestartNotAccepted,
                Key::RestartActor.name(),
                said,
            );
        }
        self.check_freshness(response, notes);
    }

    fn check_identity(&self, response: &Response<'_>, by: &[Attribution], notes: &mut Notes<'_>) {
        let check = Check::OwnerIdentityPresent;
        let field = "owner_role_or_team";
        let owners: Vec<&Said<'_>> = response
            .owners
            .iter()
            .filter(|it| it.value != PENDING_TEXT)
            .collect();
        if owners.is_empty() {
            notes.add(check, Lane::RequestSupplement, Cause::Missing, field, None);
            return;
        }
        let mut gone = Vec::new();
        let mut active: Vec<&str> = Vec::new();
        for owner in owners {
            match self.people.known(&owner.value) {
                Known::Active => active.push(&owner.value),
                Known::Gone(_) => gone.push(owner),
                Known::Never => drop(notes.person(check, field, owner)),
            }
        }
        // Somebody is left who owns it: then who left is nobody's trouble.
        if active.is_empty() {
            for owner in gone {
                notes.person(check, field, owner);
            }
        }
        let is_one_of = |it: &Attribution| active.iter().any(|name| self.people.is(it, name));
        if by.iter().any(is_one_of) {
            return;
        }
        let lane = Lane::RequestSupplement;
        let delegate = response
            .delegation
            .as_ref()
            .and_then(|it| Some((it, it.to.as_ref()?)));
        match delegate {
            Some((delegation, to)) if by.iter().any(|it| self.people.is(it, &to.value)) => {
                let in_time = delegation
                    .until
                    .is_some_and(|it| it.value >= self.people.today);
                let in_scope = delegation
                    .scope
                    .as_ref()
                    .is_some_and(|it| it.value == self.id);
                if !(in_time && in_scope && !active.is_empty()) {
                    notes.add(
                        check,
                        Lane::RequestSupplement,
                        Cause::Delegation,
                        "delegation",
                        Some(to.at),
                    );
                } else {
                    notes.person(check, "delegation", to);
                }
            }
            Some(_) | None => {
                let why = self.people.why_not(by, active.iter().copied());
                notes.add(check, lane, why, field, None);
            }
        }
    }

    fn check_incident(&self, response: &Response<'_>, notes: &mut Notes<'_>) {
        use TextKey as Key;
        let lane = Lane::IncidentRecoveryBackfillRequired;
        let told = response.incident.map(|it| it.value);
        let is_told_of = || {
            response
                .texts
                .values()
                .any(|it| requests::tells_of_incident(&it.value))
        };
        let incident = match told {
            Some(incident) => incident,
            None if is_told_of() => Incident::Outage,
            None => Incident::None,
        };
        let recovery = (
            Check::IncidentRecoveryEvidencePresent,
            Key::IncidentRecoveryEvidenceRef,
        );
        let silent = Check::SilentRestartNotAccepted;
        let needed: &[(Check, Key)] = match incident {
            Incident::None => &[],
            Incident::Outage | Incident::Restart => &[recovery],
            Incident::Port => &[
                recovery,
                (
                    Check::PortBindingInventoryPresent,
                    Key::PortBindingInventoryRef,
                ),
            ],
            Incident::ColdStart => &[
                recovery,
                (Check::ColdStartSequencePresent, Key::ColdStartSequenceRef),
            ],
            Incident::SilentRestart => &[
                recovery,
                (silent, Key::RestartActor),
                (silent, Key::DecisionReason),
                (silent, Key::ServiceDependencyMapRef),
                (silent, Key::PortBindingInventoryRef),
                (silent, Key::RollbackOwner),
                (silent, Key::PostCheckPlan),
            ],
        };
        for (check, key) in needed {
            if response.text(*key).is_none() {
                notes.add(
                    *check,
                    lane,
                    Cause::Incident,
                    key.name(),
                    response.incident.map(|it| it.at),
                );
            }
        }
        if let Some(said) = response
            .text(Key::IncidentRecoveryEvidenceRef)
            .filter(|it| !refs::is_ref(&it.value))
        {
            notes.add(
                recovery.0,
                Lane::RequestSupplement,
                Cause::Form,
                recovery.1.name(),
                Some(said.at),
            );
        }
    }

    fn check_freshness(&self, response: &Response<'_>, notes: &mut Notes<'_>) {
        let check = Check::AffectedScopeMatchesSurface;
        let lane = Lane::RequestSupplement;
        let mut stale = |why: Stale, field: &'static str, at: Option<u32>| {
            notes.add(check, lane, Cause::Stale(why), field, at)
        };
        let name = TextKey::RepoSha256.name();
        let said = response.text(TextKey::RepoSha256);
        let at = said.map(|it| it.at);
        match said {
            None => notes.add(check, lane, Cause::Missing, name, None),
            Some(said) if said.value != self.surface.sha256 => stale(Stale::OtherContent, name, at),
            Some(_) => match self.sources.get(&self.surface.source) {
                Some(Source::Sha256(now)) if *now != self.surface.sha256 => {
                    stale(Stale::Changed, name, at)
                }
                Some(Source::Absent) => stale(Stale::Removed, name, at),
                Some(Source::Sha256(_)) | None => {}
            },
        }
        let days = |last: Date| last.since(self.people.today).map_or(0, |it| it.get_days());
        match response.valid_until {
            None => notes.add(check, lane, Cause::Missing, "valid_until", None),
            Some(last) if last.value < self.people.today => {
                notes.add(
                    check,
                    lane,
                    Cause::Stale(Stale::Over),
                    "valid_until",
                    Some(last.at),
                );
            }
            Some(last) if days(last.value) > LONGEST => {
                notes.add(
                    check,
                    lane,
                    Cause::Stale(Stale::TooLong),
                    "valid_until",
                    Some(last.at),
                );
            }
            Some(_) => {}
        }
    }

    /// Whether a review counts. One that does not leaves the surface where it waits for one.
    fn check_review(
        &self,
        review: &Review<'_>,
        reviewer: &[Attribution],
        response: &Response<'_>,
        answering: &[&Attribution],
        notes: &mut Notes<'_>,
    ) {
        let check = Check::CountsTransitionSafe;
        let lane = Lane::ReadyForHostServiceReview;
        if review
            .outcome
            .is_some_and(|it| it.value == Outcome::Supplement)
        {
            notes.add(
                check,
                Lane::RequestSupplement,
                Cause::AskedFor,
                "reviewer_outcome",
                review.outcome.map(|it| it.at),
            );
        }
        let current = review
            .response
            .as_ref()
            .is_some_and(|it| it.value == sha256(response.bytes));
        if !current {
            let at = review.response.as_ref().map(|it| it.at);
            notes.add(check, lane, Cause::OtherResponse, "response_sha256", at);
        }
        let Some(name) = &review.reviewer else {
            notes.add(check, lane, Cause::Missing, "reviewer", None);
            return;
        };
        let at = Some(name.at);
        let known = self.people.known(&name.value);
        match known {
            Known::Active => {}
            Known::Never => drop(notes.person(check, "reviewer", name)),
            Known::Gone(gone) => {
                let cause = Cause::Person {
                    name: name.value.to_string(),
                    gone,
                };
                notes.add(check, lane, cause, "reviewer", at);
            }
        }
        if !reviewer.iter().any(|it| self.people.is(it, &name.value)) {
            let why = self.people.why_not(reviewer, std::iter::once(&*name.value));
            notes.add(check, lane, why, "reviewer", at);
        } else if answering.iter().any(|it| self.people.is(it, &name.value)) {
            // The same person may answer with a forge account and review with a key.
            notes.add(check, lane, Cause::Reviewer, "reviewer", at);
        }
        if let [owner] = response.owners.as_slice()
            && owner.value == name.value
        {
            notes.add(check, lane, Cause::OnlyOwner, "reviewer", at);
        }
        let accepted = review.outcome.filter(|it| it.value == Outcome::Accepted);
        if let Some(accepted) =
            accepted.filter(|_| self.surface.write_capable && !review.extra_review)
        {
            notes.add(
                Check::WriteCapableRequiresExtraReview,
                lane,
                Cause::ExtraReview,
                "extra_review",
                Some(accepted.at),
            );
        }
    }
}

/// The references that every answer has.
const REFERRED: [(Check, TextKey); 5] = [
    (
        Check::ConfigSourceOfTruthPresent,
        TextKey::ConfigSourceOfTruthRef,
    ),
    (
        Check::ServiceDependencyMapPresent,
        TextKey::ServiceDependencyMapRef,
    ),
    (
        Check::PortBindingInventoryPresent,
        TextKey::PortBindingInventoryRef,
    ),
    (
        Check::ColdStartSequencePresent,
        TextKey::ColdStartSequenceRef,
    ),
    (
        Check::DaemonRunnerContentionReviewed,
        TextKey::DaemonRunnerContentionRef,
    ),
];

impl<'a> Response<'a> {
    /// A text that is there and says something.
    fn text(&self, key: TextKey) -> Option<&Said<'a>> {
        self.texts
            .get(&key)
            .filter(|it| !it.value.trim().is_empty() && it.value != PENDING_TEXT)
    }

    /// Every text.
    fn fields(&self) -> Vec<&Said<'a>> {
        let delegated = self
            .delegation
            .iter()
            .flat_map(|it| it.to.iter().chain(&it.scope));
        self.texts
            .values()
            .chain(&self.owners)
            .chain(&self.evidence)
            .chain(delegated)
            .collect()
    }
}

/// The file without the digests of the two fields that hold bare ones; they are checked by their form.
fn without_bare_digests(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for line in text.split_inclusive('\n') {
        let bare = line.split_once(':').filter(|(name, value)| {
            matches!(*name, "repo_sha256" | "response_sha256")
                && refs::is_hex(value.trim().trim_matches(['"', '\'']), 64)
        });
        match bare {
            // As long as it was, so that places stay.
            Some(_) => out.extend(line.chars().map(|c| if c == '\n' { c } else { ' ' })),
            None => out.push_str(line),
        }
    }
    out
}

/// What must not be in an answer or a review, by its bytes alone.
pub fn secrets_in(bytes: &[u8]) -> Vec<secrets::Found> {
    secrets::scan(&without_bare_digests(&String::from_utf8_lossy(bytes)))
}
