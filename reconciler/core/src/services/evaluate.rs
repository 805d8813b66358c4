//! Which lane each surface is in, and why (W4): every check says what it finds, and the lane is a fold over that, by a strict
//! precedence (A14). Nothing is opened here.

use std::borrow::Cow;
use std::collections::BTreeMap;

use super::attributions::{Attribution, Attributions};
use super::checks::Check;
use super::lane::Lane;
use super::records::{RESPONSES, REVIEWS, Records, SERVICES};
use super::{names, secrets};
use crate::diagnostic::{Diagnostic, Fault, Faults, Pos};
use crate::repo::Roster;
use crate::repo::names::did_you_mean;
use crate::time::Time;

use one::One;
use people::People;

mod answer;
mod one;
mod people;
mod review;

/// The most days that an answer holds.
pub const LONGEST: i32 = 365;

/// What is known of the files that surfaces are configured by, by their paths. One that is not in it is not there.
pub type Sources = BTreeMap<String, Source>;

/// What is known of one such file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Source {
    /// It is there, with this SHA-256 of what git keeps.
    Sha256(String),
    /// It is not there.
    Absent,
    /// It could not be looked at, and nothing is stale for that.
    Unread,
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
    pub surfaces: BTreeMap<String, SurfaceStatus>,
    /// What is wrong with the inventory; while there is any of it, no lane changes (LB10).
    pub inventory: Vec<InventoryFault>,
    /// What is wrong in answers and reviews themselves: a name that never was, an answer that nobody asked for.
    pub problems: Vec<Diagnostic>,
}

/// Where one surface stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SurfaceStatus {
    /// Its lane.
    pub lane: Lane,
    /// What keeps it from a better one, the worst first.
    pub findings: Vec<Finding>,
    /// Who stands behind the last change of its lane, and by what (LB9).
    pub by: Option<Attribution>,
}

impl SurfaceStatus {
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
            | Cause::Undelegated
            | Cause::DelegationTooLong
            | Cause::Written
            | Cause::Nobody
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
    /// No owner stands behind the file that gives the delegation.
    Undelegated,
    /// A delegation would hold for more than a year.
    DelegationTooLong,
    /// It is not written as it has to be.
    Written,
    /// It names nobody who is or was in the roster.
    Nobody,
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
    /// It was made on a day that is yet to come, and would never grow old.
    Ahead {
        /// How many days.
        days: i64,
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
        for secret in names::faults_of_secrets(SERVICES, bytes) {
            faults.add(secret);
        }
        let (found, _) = faults.resolve(&format!("{folder}{id}.yaml"), bytes);
        assessment.problems.extend(found);
    }
    if let Some(inventory) = &files.inventory {
        let days = inventory.made.map(|made| now.days() - made.days());
        let most = freshness.days;
        assessment.inventory.extend(match days {
            None => Some(InventoryFault::Undated),
            Some(days) if days > most => Some(InventoryFault::Old { days, most }),
            // Clocks differ by minutes, and a day ends between them.
            Some(days) if days < -1 => Some(InventoryFault::Ahead { days: -days }),
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

/// The file without the digests of the fields that hold references: how random those are says nothing, and each is checked by its form
/// (LB6). Blanks stand in their place, so that places stay.
fn without_digests(text: &str) -> Cow<'_, str> {
    let bytes = text.as_bytes();
    let mut blanked: Option<Vec<u8>> = None;
    let mut fields = Fields::default();
    for digits in secrets::runs(bytes, &secrets::IS_HEX, DIGEST) {
        let before = digits.start.checked_sub(1).map(|it| bytes[it]);
        let stands_alone = before.is_none_or(|b| b"\n :/\"'[,@".contains(&b));
        let goes_on = |b: &u8| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'-' | b'+' | b'=');
        let is_whole = !bytes.get(digits.end).is_some_and(goes_on);
        if stands_alone && is_whole && fields.is_typed_at(bytes, digits.start) {
            blanked.get_or_insert_with(|| bytes.to_vec())[digits].fill(b' ');
        }
    }
    match blanked.map(String::from_utf8) {
        // Digits and blanks are ASCII.
        Some(Ok(blanked)) => blanked.into(),
        Some(Err(_)) | None => text.into(),
    }
}

/// How many hexadecimal digits a digest has at least.
const DIGEST: usize = 32;

/// Which lines are of a field that holds references, from the first on.
#[derive(Default)]
struct Fields {
    /// Where the last line begins that was looked at, and whether it is one.
    last: Option<(usize, bool)>,
}

impl Fields {
    /// Whether the line of a place is one. Places come in order, and no line is looked at twice.
    fn is_typed_at(&mut self, bytes: &[u8], at: usize) -> bool {
        let start_of = |at: usize| memchr::memrchr(b'\n', &bytes[..at]).map_or(0, |it| it + 1);
        let first = start_of(at);
        let mut line = first;
        let is_typed = loop {
            if let Some((last, is_typed)) = self.last.filter(|it| it.0 >= line) {
                debug_assert_eq!(last, line, "no line is passed over");
                break is_typed;
            }
            // A list goes on with its items.
            if !matches!(bytes[line], b' ' | b'-') {
                break is_typed(&bytes[line..at]);
            }
            match line.checked_sub(1) {
                Some(end) => line = start_of(end),
                None => break false,
            }
        };
        self.last = Some((first, is_typed));
        is_typed
    }
}

/// Whether a line begins with the name of a field that holds references.
fn is_typed(line: &[u8]) -> bool {
    let end = memchr::memchr2(b':', b'\n', line);
    let name = match end {
        Some(end) if line[end] == b':' => &line[..end],
        Some(_) | None => return false,
    };
    matches!(
        name,
        b"repo_sha256" | b"response_sha256" | b"redacted_evidence_refs"
    ) || name.ends_with(b"_ref")
}

/// What must not be in an answer or a review, by its bytes alone.
pub fn secrets_in(bytes: &[u8]) -> Vec<secrets::Found> {
    let text = String::from_utf8_lossy(bytes);
    secrets::scan_with(&text, without_digests)
}

#[cfg(test)]
mod tests {
    use super::without_digests;

    /// W9: each digest is left out of fields that hold references and of no other, whatever stands around it.
    #[test]
    fn lb6_digests_are_left_out_where_references_stand() {
        let hex = "0123456789abcdef".repeat(4);
        let blank = " ".repeat(64);
        for (text, is_left_out) in [
            ("repo_sha256: HEX", true),
            ("live_config_hash_ref: sha256:HEX", true),
            ("live_config_hash_ref: sha256:HEX # why", true),
            (
                "redacted_evidence_refs: [\"commit:HEX\", 'sha256:HEX']",
                true,
            ),
            (
                "redacted_evidence_refs:\n  - sha256:HEX\n- commit:HEX",
                true,
            ),
            (
                "a: b\nredacted_evidence_refs:\n  - x\n  - sha256:HEX\nb_ref: HEX",
                true,
            ),
            ("b_ref: https://git.example.org/commit/HEX", true),
            ("decision: HEX", false),
            ("HEX", false),
            ("  - HEX", false),
            ("b_ref: x\ndecision: HEX", false),
            ("b_ref: x\n\n  - HEX", false),
            ("b_ref: xHEX", false),
            ("b_ref: HEXx", false),
            ("b_ref: key=HEX", false),
            ("b_ref HEX", false),
        ] {
            let read = text.replace("HEX", &hex);
            let expected = match is_left_out {
                true => text.replace("HEX", &blank),
                false => read.clone(),
            };
            assert_eq!(without_digests(&read), expected, "{text}");
        }
    }
}
