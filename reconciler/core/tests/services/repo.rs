//! A state repository with one surface, in words.

use std::collections::BTreeMap;

use muster_core::diagnostic::Diagnostics;
use muster_core::rooms;
use muster_core::services::attributions::{Attribution, Attributions, sha256};
use muster_core::services::checks::Check;
use muster_core::services::evaluate::{Assessment, Freshness, Source, Sources, evaluate};
use muster_core::services::lane::Lane;
use muster_core::time::Time;

/// 2026-12-01.
pub(crate) const NOW: Time = Time(1_796_083_200);
pub(crate) const CONFIG: &str = "a: 1\n";
pub(crate) const ANSWER: &str = "services/responses/edge.yaml";
pub(crate) const REVIEW: &str = "services/reviews/edge.yaml";

/// What is in the repository, and what is known beside it.
#[derive(Clone)]
pub(crate) struct Repo {
    pub(crate) files: BTreeMap<String, Vec<u8>>,
    pub(crate) attributions: Attributions,
    pub(crate) sources: Sources,
    pub(crate) now: Time,
}

impl Repo {
    /// A surface, asked about, and nothing answered.
    pub(crate) fn asked() -> Self {
        let row = |name: &str| {
            format!(
                "  {name}: {{authentik_user: {name}, k8s_user: {name}, tier: power-user, forge_user: {name}-f}}\n"
            )
        };
        let roster = format!("users:\n{}{}{}", row("emo"), row("ann"), row("bob"));
        let requests = format!(
            r#"{{"request_drafts": [{{"request_id": "r1", "surface_id": "edge", "label": "l", "expected_host_scope": [], "config_kind": "c",
"service_scope": "s", "control_tier": "t", "repo_source_path": "edge.yml", "repo_sha256": "{}", "source_line_count": 1,
"write_capable_surface": false, "requires_live_evidence": true, "required_owner_fields": []}}]}}"#,
            sha256(CONFIG.as_bytes())
        );
        let inventory = r#"{"generated_at": "2026-11-20T00:00:00+08:00", "surfaces": [{"surface_id": "edge"}]}"#;
        let files = [
            ("roster.yaml", roster.as_str()),
            ("services/requests.json", requests.as_str()),
            ("services/inventory.json", inventory),
        ];
        Self {
            files: files
                .into_iter()
                .map(|(path, text)| (path.to_owned(), text.into()))
                .collect(),
            attributions: Attributions::default(),
            sources: [(
                "edge.yml".to_owned(),
                Source::Sha256(sha256(CONFIG.as_bytes())),
            )]
            .into(),
            now: NOW,
        }
    }

    /// The same, answered in full by emo.
    pub(crate) fn answered() -> Self {
        let mut repo = Self::asked();
        repo.put(ANSWER, &answer(), "emo-f");
        repo
    }

    /// The same, and accepted by ann.
    pub(crate) fn accepted() -> Self {
        let mut repo = Self::answered();
        repo.review("ann", "accepted", "");
        repo
    }

    /// Writes a file, brought by an account of the forge.
    pub(crate) fn put(&mut self, path: &str, text: &str, account: &str) {
        self.files.insert(path.to_owned(), text.into());
        let by = Attribution::opened(account, "pull/1");
        self.attributions.files.remove(path);
        self.attributions.attribute(path, text.as_bytes(), by);
    }

    /// An account stands behind a file as it is, too.
    pub(crate) fn behind(&mut self, path: &str, by: Attribution) {
        let bytes = self.files[path].clone();
        self.attributions.attribute(path, &bytes, by);
    }

    /// Reviews the answer as it is, by that person's account.
    pub(crate) fn review(&mut self, reviewer: &str, outcome: &str, more: &str) {
        let digest = sha256(&self.files[ANSWER]);
        let text = format!(
            "reviewer: {reviewer}\nreviewer_outcome: {outcome}\nresponse_sha256: {digest}\n{more}"
        );
        self.put(REVIEW, &text, &format!("{reviewer}-f"));
    }

    /// Changes the answer; emo brings it.
    pub(crate) fn edit(&mut self, from: &str, to: &str) {
        let text = self.text(ANSWER);
        assert!(text.contains(from), "{from:?} is not in the answer");
        self.put(ANSWER, &text.replace(from, to), "emo-f");
    }

    /// Changes another file.
    pub(crate) fn replace(&mut self, path: &str, from: &str, to: &str) {
        let text = self.text(path);
        assert!(text.contains(from), "{from:?} is not in {path}");
        self.files
            .insert(path.to_owned(), text.replace(from, to).into());
    }

    pub(crate) fn text(&self, path: &str) -> String {
        String::from_utf8(self.files[path].clone()).unwrap()
    }

    /// As far as it can be read: what comes of it, and what is wrong with the files.
    pub(crate) fn assessed(&self) -> (Assessment, Diagnostics) {
        let (repo, problems) = rooms::read_as_far(&self.files, &[]);
        let repo = repo.expect("a roster");
        let roster = &repo.documents.roster;
        (
            evaluate(
                &repo.services,
                roster,
                &self.attributions,
                &self.sources,
                Freshness::default(),
                self.now,
            ),
            problems,
        )
    }

    /// The lane of the surface, and the checks that do not hold.
    pub(crate) fn stands(&self) -> (Lane, Vec<Check>) {
        let (assessed, _) = self.assessed();
        let standing = &assessed.surfaces["edge"];
        let mut checks: Vec<Check> = standing.findings.iter().map(|it| it.check).collect();
        checks.dedup();
        (standing.lane, checks)
    }
}

/// An answer in which nothing is missing.
pub(crate) fn answer() -> String {
    format!(
        "owner_role_or_team: [emo]
request_id: r1
decision: keep
decision_reason: It ends TLS.
affected_scope: edge
repo_sha256: {}
valid_until: 2027-06-30
incident: none
not_approval: true
redacted_evidence_refs: [\"ticket:OPS-1\"]
live_config_hash_ref: sha256:{}
maintenance_window: Sundays, 02:00 to 04:00 UTC
restart_window: Sundays, 04:00 to 05:00 UTC
rollback_owner: bob
post_check_plan: Health, route, queue and log.
disable_switch: The flag edge.
config_source_of_truth_ref: ref:wiki/sources
service_dependency_map_ref: ref:wiki/map
port_binding_inventory_ref: ref:wiki/ports
cold_start_sequence_ref: ref:wiki/start
daemon_runner_contention_ref: ticket:OPS-2
",
        sha256(CONFIG.as_bytes()),
        sha256(b"live")
    )
}
