//! What the checks find in an answer (A8).

use jiff::civil::Date;

use super::one::{Notes, One};
use super::people::Known;
use super::{Cause, Gone, LONGEST, Source, Stale};
use crate::services::attributions::Attribution;
use crate::services::checks::Check;
use crate::services::lane::Lane;
use crate::services::records::{Incident, Response, Said, TextKey};
use crate::services::words::PENDING_TEXT;
use crate::services::{refs, requests};

impl One<'_, '_> {
    pub(super) fn check_response(
        &self,
        response: &Response<'_>,
        by: &[Attribution],
        notes: &mut Notes<'_>,
    ) {
        use Lane::RequestSupplement;
        use TextKey as Key;
        let text = |key: Key| response.text(key);
        let need = |check: Check, key: Key, notes: &mut Notes<'_>| {
            if text(key).is_none() {
                notes.add(check, RequestSupplement, Cause::Missing, key.name(), None);
            }
        };
        self.check_identity(response, by, notes);
        self.check_delegation(response, notes);
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
        self.check_evidence(response, notes);
        self.check_plans(response, notes);
        self.check_incident(response, notes);
        self.check_requests(response, notes);
        self.check_freshness(response, notes);
    }

    /// Evidence is referred to, never there; what runs is told by its digest.
    fn check_evidence(&self, response: &Response<'_>, notes: &mut Notes<'_>) {
        use Lane::RequestSupplement;
        use TextKey as Key;
        let text = |key: Key| response.text(key);
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
    }

    /// When and how it is worked on, and what is referred to for that.
    fn check_plans(&self, response: &Response<'_>, notes: &mut Notes<'_>) {
        use Lane::RequestSupplement;
        use TextKey as Key;
        let text = |key: Key| response.text(key);
        let need = |check: Check, key: Key, notes: &mut Notes<'_>| {
            if text(key).is_none() {
                notes.add(check, RequestSupplement, Cause::Missing, key.name(), None);
            }
        };
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
    }

    /// An answer asks for nothing, and approves nothing.
    fn check_requests(&self, response: &Response<'_>, notes: &mut Notes<'_>) {
        use Lane::RejectExecutionRequest;
        use TextKey as Key;
        let text = |key: Key| response.text(key);
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
                let at = Some(to.at);
                if !(in_time && in_scope && !active.is_empty()) {
                    notes.add(check, lane, Cause::Delegation, "delegation", at);
                } else if !self.is_delegated(response, by) {
                    notes.add(check, lane, Cause::Undelegated, "delegation", at);
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

    /// Whether an owner stands behind the file that gives a delegation: otherwise whoever it names gives it to themselves (LB9). An
    /// owner who is parked is who delegates; one who left has nothing to give.
    fn is_delegated(&self, response: &Response<'_>, by: &[Attribution]) -> bool {
        let may_give = |owner: &&Said<'_>| match self.people.known(&owner.value) {
            Known::Active | Known::Gone(Gone::Parked) => true,
            Known::Gone(Gone::Leaving | Gone::Disabled | Gone::Expired) | Known::Never => false,
        };
        let mut owners = response.owners.iter().filter(may_give);
        owners.any(|owner| by.iter().any(|it| self.people.is(it, &owner.value)))
    }

    /// A delegation ends within the time that an answer may hold (LB10).
    fn check_delegation(&self, response: &Response<'_>, notes: &mut Notes<'_>) {
        let until = response.delegation.as_ref().and_then(|it| it.until);
        if let Some(until) = until.filter(|it| self.days_until(it.value) > LONGEST) {
            notes.add(
                Check::OwnerIdentityPresent,
                Lane::RequestSupplement,
                Cause::DelegationTooLong,
                "delegation",
                Some(until.at),
            );
        }
    }

    /// How many days it is from today to a last day.
    fn days_until(&self, last: Date) -> i32 {
        last.since(self.people.today).map_or(0, |it| it.get_days())
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
                // Whoever looked found no file of this path: it was taken out, or is a link or a folder now (W6).
                Some(Source::Absent) | None => stale(Stale::Removed, name, at),
                Some(Source::Sha256(_) | Source::Unread) => {}
            },
        }
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
            Some(last) if self.days_until(last.value) > LONGEST => {
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
    pub(super) fn text(&self, key: TextKey) -> Option<&Said<'a>> {
        self.texts
            .get(&key)
            .filter(|it| !it.value.trim().is_empty() && it.value != PENDING_TEXT)
    }

    /// Every text.
    pub(super) fn fields(&self) -> Vec<&Said<'a>> {
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
