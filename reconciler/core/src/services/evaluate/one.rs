//! One surface: what its files say, and which lane that comes to.

use super::people::{Known, People};
use super::{Cause, Finding, Sources, SurfaceStatus, fold, rank, secrets_in};
use crate::diagnostic::{Diagnostic, Fault, Faults, places_of};
use crate::repo::names::did_you_mean;
use crate::services::attributions::{Attribution, Attributions, sha256};
use crate::services::checks::Check;
use crate::services::lane::Lane;
use crate::services::records::{
    Outcome, RESPONSES, REVIEWS, Response, Review, Said, Surface, Wrong,
};
use crate::services::secrets;

pub(super) struct One<'e, 'r> {
    pub(super) id: &'e str,
    pub(super) surface: &'e Surface,
    pub(super) people: &'e People<'r>,
    pub(super) attributions: &'e Attributions,
    pub(super) sources: &'e Sources,
}

/// What was found, by byte offset.
pub(super) struct Notes<'e> {
    path: String,
    list: Vec<(Check, Lane, Cause, &'static str, Option<u32>)>,
    faults: Faults,
    people: &'e People<'e>,
}

impl Notes<'_> {
    pub(super) fn add(
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
    pub(super) fn person(&mut self, check: Check, field: &'static str, name: &Said<'_>) -> bool {
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
                let (lane, at) = (Lane::RequestSupplement, Some(name.at));
                self.add(check, lane, Cause::Nobody, field, at);
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

    /// What is not written as it has to be, by the check of its field (A14).
    pub(super) fn wrong(&mut self, wrong: &[Wrong], of: impl Fn(&str) -> Check) {
        for Wrong { field, at } in wrong {
            let (check, lane) = (of(field), Lane::RequestSupplement);
            self.add(check, lane, Cause::Written, field, Some(*at));
        }
    }

    /// In the order of precedence, with places.
    pub(super) fn findings(self, bytes: &[u8]) -> (Vec<Finding>, Vec<Diagnostic>) {
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

/// The check that a field of an answer is about; one about none of them keeps the answer as a whole from being read.
fn check_of(field: &str) -> Check {
    match field {
        "owner_role_or_team" | "delegation" => Check::OwnerIdentityPresent,
        "redacted_evidence_refs" | "owner_response_ref" => Check::RedactedRefsOnly,
        "incident" | "incident_recovery_evidence_ref" => Check::IncidentRecoveryEvidencePresent,
        "not_approval" => Check::NoRuntimeRequest,
        "affected_scope" | "request_id" | "surface_id" => Check::AffectedScopeMatchesSurface,
        "live_config_hash_ref" => Check::LiveConfigHashMetadataOnly,
        "maintenance_window" => Check::MaintenanceWindowPresent,
        "restart_window" => Check::RestartWindowSeparateFromAction,
        "rollback_owner" | "followup_owner" => Check::RollbackOwnerPresent,
        "restart_actor" => Check::SilentRestartNotAccepted,
        "post_check_plan" => Check::PostCheckPlanPresent,
        "disable_switch" => Check::DisableSwitchPresent,
        "config_source_of_truth_ref" => Check::ConfigSourceOfTruthPresent,
        "service_dependency_map_ref" => Check::ServiceDependencyMapPresent,
        "port_binding_inventory_ref" => Check::PortBindingInventoryPresent,
        "cold_start_sequence_ref" => Check::ColdStartSequencePresent,
        "daemon_runner_contention_ref" => Check::DaemonRunnerContentionReviewed,
        "valid_until" | "repo_sha256" => Check::CountsTransitionSafe,
        _ => Check::DecisionReasonPresent,
    }
}

impl One<'_, '_> {
    pub(super) fn standing(
        &self,
        response: Option<&Response<'_>>,
        review: Option<&Review<'_>>,
    ) -> (SurfaceStatus, Vec<Diagnostic>) {
        let path = format!("{RESPONSES}{}.yaml", self.id);
        let marked = self.marked();
        let Some(response) = response else {
            let standing = SurfaceStatus {
                lane: fold(Lane::WaitingOwnerResponse, &marked),
                findings: marked,
                by: None,
            };
            return (standing, Vec::new());
        };
        let digest = sha256(response.bytes);
        let by = self.attributions.of_digest(&path, &digest);
        let mut notes = Notes {
            path,
            list: Vec::new(),
            faults: Faults::default(),
            people: self.people,
        };
        self.check_secrets(response.bytes, &response.fields(), &mut notes);
        if response.is_read {
            self.check_response(response, by, &mut notes);
            notes.wrong(&response.wrong, check_of);
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
            self.check_review(
                review,
                reviewer,
                (response, &digest),
                &answering,
                &mut notes,
            );
            notes.wrong(&review.wrong, |_| Check::CountsTransitionSafe);
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
            SurfaceStatus {
                lane,
                findings,
                by: told.cloned(),
            },
            faults,
        )
    }

    /// Those behind an answer who can give it: whose it is, and who was asked in their place.
    pub(super) fn answering<'b>(
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
    pub(super) fn marked(&self) -> Vec<Finding> {
        let marks = self.attributions.quarantined.values();
        if marks.len() == 0 {
            return Vec::new();
        }
        let own = [RESPONSES, REVIEWS].map(|folder| format!("{folder}{}.yaml", self.id));
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
    pub(super) fn check_secrets(&self, bytes: &[u8], texts: &[&Said<'_>], notes: &mut Notes<'_>) {
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
}
