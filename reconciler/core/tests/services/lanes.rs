//! Checks and lanes (A8, A9, A14, W3, W4, W6), and the rules about owners, reviewers and inventories (LB1 to LB4, LB9, LB10).

use std::collections::BTreeSet;

use muster_core::services::attributions::{Attribution, Attributions};
use muster_core::services::checks::{CHECKS, Check};
use muster_core::services::evaluate::{Cause, InventoryFault, Source, fold, rank, shrunk};
use muster_core::services::lane::Lane;
use muster_core::services::{records, say};
use muster_core::time::Time;
use proptest::prelude::*;

use crate::repo::{ANSWER, NOW, REVIEW, Repo, answer};

const DAY: i64 = 86_400;

/// A9, A14: each lane once, as an answer comes to it.
#[test]
fn a9_every_lane_is_reached() {
    let mut secret = Repo::answered();
    secret.edit("It ends TLS.", "password=hunter2hunter2");
    let mut request = Repo::answered();
    request.edit("It ends TLS.", "Please restart it tonight.");
    let mut incident = Repo::answered();
    incident.edit("incident: none", "incident: outage");
    let mut missing = Repo::answered();
    missing.edit("disable_switch: The flag edge.\n", "");
    let mut noted = Repo::answered();
    noted.review("ann", "review_only", "");
    let reached = [
        (Repo::asked(), Lane::WaitingOwnerResponse),
        (secret, Lane::QuarantineSecretOrRawPayload),
        (request, Lane::RejectExecutionRequest),
        (incident, Lane::IncidentRecoveryBackfillRequired),
        (missing, Lane::RequestSupplement),
        (Repo::answered(), Lane::ReadyForHostServiceReview),
        (noted, Lane::OwnerReviewOnlyUpdate),
        (Repo::accepted(), Lane::WaitingRuntimeGate),
    ];
    for (repo, lane) in &reached {
        assert_eq!(repo.stands().0, *lane, "{:?}", repo.assessed().0);
        assert!(repo.assessed().1.is_empty(), "{}", repo.assessed().1);
    }
    let lanes: BTreeSet<Lane> = reached.iter().map(|(_, lane)| *lane).collect();
    assert_eq!(lanes.len(), Lane::ALL.len());
}

/// A8: a row for each check, with what fails it alone.
#[test]
fn a8_each_check_fails_by_itself_and_says_what_to_write() {
    type Breaks = fn(&mut Repo);
    let rows: [(Check, Breaks); 21] = [
        (Check::OwnerIdentityPresent, |it| {
            it.attributions.files.clear()
        }),
        (Check::DecisionReasonPresent, |it| {
            it.edit("decision_reason: It ends TLS.\n", "")
        }),
        (Check::AffectedScopeMatchesSurface, |it| {
            it.edit("affected_scope: edge", "affected_scope: edges")
        }),
        (Check::RedactedRefsOnly, |it| {
            it.edit("\"ticket:OPS-1\"", "\"see the log\"")
        }),
        (Check::SecretValueAbsent, |it| {
            it.edit("The flag edge.", "token=abc123abc123")
        }),
        (Check::LiveConfigHashMetadataOnly, |it| {
            it.edit(
                "live_config_hash_ref: sha256:",
                "live_config_hash_ref: ticket:OPS-9 # sha256:",
            )
        }),
        (Check::MaintenanceWindowPresent, |it| {
            it.edit("maintenance_window: Sundays, 02:00 to 04:00 UTC\n", "")
        }),
        (Check::RestartWindowSeparateFromAction, |it| {
            it.edit("04:00 to 05:00", "02:00 to 04:00")
        }),
        (Check::RollbackOwnerPresent, |it| {
            it.edit("rollback_owner: bob\n", "")
        }),
        (Check::PostCheckPlanPresent, |it| {
            it.edit("post_check_plan: Health, route, queue and log.\n", "")
        }),
        (Check::DisableSwitchPresent, |it| {
            it.edit("The flag edge.", "pending_owner_response")
        }),
        (Check::ConfigSourceOfTruthPresent, |it| {
            it.edit("ref:wiki/sources", "it was told")
        }),
        (Check::ServiceDependencyMapPresent, |it| {
            it.edit("service_dependency_map_ref: ref:wiki/map\n", "")
        }),
        (Check::PortBindingInventoryPresent, |it| {
            it.edit("port_binding_inventory_ref: ref:wiki/ports\n", "")
        }),
        (Check::ColdStartSequencePresent, |it| {
            it.edit("cold_start_sequence_ref: ref:wiki/start\n", "")
        }),
        (Check::IncidentRecoveryEvidencePresent, |it| {
            it.edit("incident: none", "incident: restart")
        }),
        (Check::DaemonRunnerContentionReviewed, |it| {
            it.edit("daemon_runner_contention_ref: ticket:OPS-2\n", "")
        }),
        (Check::SilentRestartNotAccepted, |it| {
            it.edit(
                "incident: none",
                "incident: silent_restart\nincident_recovery_evidence_ref: ticket:OPS-3",
            );
        }),
        (Check::WriteCapableRequiresExtraReview, |it| {
            it.replace(
                "services/requests.json",
                "\"write_capable_surface\": false",
                "\"write_capable_surface\": true",
            );
            it.review("ann", "accepted", "");
        }),
        (Check::NoRuntimeRequest, |it| {
            it.edit("The flag edge.", "sudo systemctl restart edge")
        }),
        (Check::CountsTransitionSafe, |it| {
            it.review("emo", "accepted", "")
        }),
    ];
    for ((check, breaks), row) in rows.into_iter().zip(&CHECKS) {
        assert_eq!(check, row.check);
        let mut repo = Repo::answered();
        breaks(&mut repo);
        if check == Check::OwnerIdentityPresent {
            repo.files.remove(REVIEW);
        }
        let (assessed, _) = repo.assessed();
        let standing = &assessed.surfaces["edge"];
        let failed: BTreeSet<&str> = standing
            .findings
            .iter()
            .map(|it| it.check.row().id)
            .collect();
        assert_eq!(failed, BTreeSet::from([row.id]), "{:?}", standing.findings);
        for finding in &standing.findings {
            let line = say::finding(finding);
            assert!(
                line.contains(row.id)
                    && line.contains("services/re")
                    && !say::help(finding).is_empty(),
                "{line}"
            );
        }
        assert_ne!(standing.lane, Lane::WaitingRuntimeGate, "{check:?}");
    }
}

/// A14, C8: which of two lanes wins does not depend on the order in which they are found.
#[test]
fn a14_the_lane_is_a_fold_by_strict_precedence() {
    let mut ranks: Vec<usize> = Lane::ALL.iter().map(|it| rank(*it)).collect();
    ranks.sort_unstable();
    ranks.dedup();
    assert_eq!(ranks.len(), Lane::ALL.len(), "no two lanes are equal");
    let mut all = Repo::answered();
    all.edit("disable_switch: The flag edge.\n", "");
    for (edit, lane) in [
        (
            ("incident: none", "incident: outage"),
            Lane::IncidentRecoveryBackfillRequired,
        ),
        (
            ("It ends TLS.", "docker compose -f x.yml up"),
            Lane::RejectExecutionRequest,
        ),
        (
            ("Health, route, queue and log.", "AKIAIOSFODNN7EXAMPLE"),
            Lane::QuarantineSecretOrRawPayload,
        ),
    ] {
        all.edit(edit.0, edit.1);
        assert_eq!(all.stands().0, lane);
    }
    let (assessed, _) = all.assessed();
    let mut findings = assessed.surfaces["edge"].findings.clone();
    findings.reverse();
    assert_eq!(
        fold(Lane::WaitingRuntimeGate, &findings),
        Lane::QuarantineSecretOrRawPayload
    );
}

/// W3: positions, all errors at once, and no value in any of them.
#[test]
fn w3_files_are_read_strictly_and_told_without_their_values() {
    let mut repo = Repo::answered();
    repo.edit(
        "decision: keep",
        "decison: hunter2\ndecision: [hunter2]\nincident: hunter2\nvalid_until: hunter2",
    );
    repo.files
        .insert("services/responses/x y.yaml".into(), Vec::new());
    repo.files
        .insert(REVIEW.into(), b"reviewer: &hunter2 emo\n".to_vec());
    repo.replace(
        "services/requests.json",
        "\"label\"",
        "\"surface_id\": \"edge\", \"label\"",
    );
    let (_, problems) = repo.assessed();
    let told: Vec<String> = problems.iter().map(ToString::to_string).collect();
    let has = |part: &str| assert!(told.iter().any(|it| it.contains(part)), "{part}: {told:#?}");
    has(
        "services/responses/edge.yaml:3:1: error: against the rule: Only known fields are written. [unknown-field]",
    );
    has(
        "services/responses/edge.yaml:4:11: error: against the rule: A value has the type of its field. [wrong-type]",
    );
    has("services/responses/edge.yaml:5:11: error:");
    has("services/responses/edge.yaml:6:14: error:");
    has("services/responses/x y.yaml: warning: nothing reads a file of this name [file-name]");
    has("[yaml-anchor]");
    has("services/requests.json:1:");
    has("[duplicate-key]");
    assert!(!told.iter().any(|it| it.contains("hunter2")), "{told:#?}");
    for schema in [records::response_schema(), records::review_schema()] {
        let schema: serde_json::Value = serde_json::from_str(&schema).unwrap();
        assert_eq!(schema["additionalProperties"], false);
    }
}

/// LB1: a name that never was is an error with its place and the nearest name; it drops no entry.
#[test]
fn lb1_a_name_that_never_was_is_an_error_where_it_stands() {
    let mut repo = Repo::answered();
    repo.edit("rollback_owner: bob", "rollback_owner: bobb");
    let (assessed, _) = repo.assessed();
    let told: Vec<String> = assessed
        .problems
        .iter()
        .map(|it| format!("{it} {:?}", it.help))
        .collect();
    assert_eq!(
        told,
        [
            "services/responses/edge.yaml:14:17: error: rollback_owner: nobody of the roster has this name [unknown-owner] Some(\"did you mean bob?\")"
        ]
    );
    assert_eq!(assessed.surfaces["edge"].lane, Lane::RequestSupplement);
}

/// A14, W4: a record with an error is no better than one in which something is missing, and the check that fails is told by its id.
#[test]
fn a14_an_error_in_a_record_reaches_its_lane() {
    let edits = [
        (
            "incident: none",
            "incident: Outage",
            Check::IncidentRecoveryEvidencePresent,
        ),
        (
            "not_approval: true",
            "not_approval: \"false\"",
            Check::NoRuntimeRequest,
        ),
        (
            "incident: none",
            "incident: none\nincident: none",
            Check::DecisionReasonPresent,
        ),
        (
            "incident: none",
            "incident: none\nincidents: none",
            Check::DecisionReasonPresent,
        ),
        (
            "rollback_owner: bob",
            "rollback_owner: bobb",
            Check::RollbackOwnerPresent,
        ),
    ];
    for (from, to, check) in edits {
        let mut repo = Repo::answered();
        repo.edit(from, to);
        repo.review("ann", "accepted", "");
        assert_eq!(
            repo.stands(),
            (Lane::RequestSupplement, vec![check]),
            "{to}"
        );
        let (assessed, problems) = repo.assessed();
        let finding = &assessed.surfaces["edge"].findings[0];
        assert!(
            finding.at.is_some() && !say::why(finding).contains("bobb"),
            "{finding:?}"
        );
        assert_eq!(problems.errors() + assessed.problems.len(), 1, "{to}");
    }
    for more in [
        "extra_review: \"yes\"\n",
        "reason: a\nreason: b\n",
        "more: 1\n",
    ] {
        let mut repo = Repo::answered();
        repo.review("ann", "accepted", more);
        let wanted = (Lane::RequestSupplement, vec![Check::CountsTransitionSafe]);
        assert_eq!(repo.stands(), wanted, "{more}");
    }
}

/// LB2, W4: whoever leaves, is parked or is past the last day reopens what they own alone, and is no error.
#[test]
fn lb2_an_offboarding_reopens_what_was_theirs_alone() {
    let row = "  emo: {authentik_user: emo, k8s_user: emo, tier: power-user, forge_user: emo-f}\n";
    for changed in [
        String::new(),
        row.replace("tier: power-user", "tier: power-user, disabled: true"),
        row.replace("tier: power-user", "tier: power-user, parked: true"),
        row.replace("tier: power-user", "tier: power-user, expires: 2026-11-30"),
    ] {
        let mut repo = Repo::accepted();
        repo.replace("roster.yaml", row, &changed);
        repo.attributions.former.insert("emo".into());
        let (assessed, problems) = repo.assessed();
        assert!(
            problems.is_empty() && assessed.problems.is_empty(),
            "{assessed:?}"
        );
        let standing = &assessed.surfaces["edge"];
        assert_eq!(standing.lane, Lane::RequestSupplement, "{changed}");
        assert!(
            say::why(&standing.findings[0]).starts_with("owner_role_or_team: emo "),
            "{:?}",
            standing.findings
        );
    }
    // Somebody is left who owns it and who answered.
    let mut shared = Repo::answered();
    shared.put(ANSWER, &answer().replace("[emo]", "[emo, bob]"), "bob-f");
    shared.review("ann", "accepted", "");
    shared.replace("roster.yaml", row, "");
    shared.attributions.former.insert("emo".into());
    assert_eq!(shared.stands().0, Lane::WaitingRuntimeGate);
}

/// LB3, W6: one byte or one day more, and it does not hold.
#[test]
fn lb3_acceptance_falls_by_itself() {
    let last_day = Time(1_814_313_600);
    assert_eq!(last_day.date().to_string(), "2027-06-30");
    for (now, lane) in [
        (last_day, Lane::WaitingRuntimeGate),
        (last_day.plus(DAY), Lane::RequestSupplement),
    ] {
        let mut repo = Repo::accepted();
        repo.now = now;
        assert_eq!(repo.stands().0, lane);
    }
    let stale = |repo: &Repo| {
        let (assessed, _) = repo.assessed();
        let standing = &assessed.surfaces["edge"];
        assert!(
            standing.is_stale() && standing.lane == Lane::RequestSupplement,
            "{standing:?}"
        );
        assert_eq!(say::id(&standing.findings[0]), "stale");
    };
    let mut changed = Repo::accepted();
    changed
        .sources
        .insert("edge.yml".into(), Source::Sha256("0".repeat(64)));
    stale(&changed);
    changed.sources.insert("edge.yml".into(), Source::Absent);
    stale(&changed);
    // Nothing of that path was found: it is gone, whoever looked and whatever was there before.
    changed.sources.clear();
    stale(&changed);
    changed.sources.insert("edge.yml".into(), Source::Unread);
    assert_eq!(changed.stands().0, Lane::WaitingRuntimeGate);
    let mut asked_anew = Repo::accepted();
    let digest = muster_core::services::attributions::sha256(crate::repo::CONFIG.as_bytes());
    asked_anew.replace("services/requests.json", &digest, &"1".repeat(64));
    asked_anew.sources.clear();
    stale(&asked_anew);
    let mut too_long = Repo::answered();
    too_long.edit("2027-06-30", "2027-12-02");
    stale(&too_long);
    too_long.edit("2027-12-02", "2027-12-01");
    assert_eq!(too_long.stands().0, Lane::ReadyForHostServiceReview);
}

/// W3, W6: a path that git does not spell so finds no file; it is an error where it stands, and the surface stays.
#[test]
fn w6_a_source_is_a_path_as_git_spells_it() {
    let asked_about = |path: &str| {
        let mut repo = Repo::accepted();
        let key = "\"repo_source_path\": ";
        repo.replace(
            "services/requests.json",
            &format!("{key}\"edge.yml\""),
            &format!("{key}\"{path}\""),
        );
        let (assessed, problems) = repo.assessed();
        let told: Vec<String> = problems.iter().map(ToString::to_string).collect();
        (assessed.surfaces["edge"].is_stale(), told)
    };
    assert_eq!(asked_about("edge.yml"), (false, Vec::new()));
    for path in [
        "./edge.yml",
        "/edge.yml",
        "../edge.yml",
        "a/../edge.yml",
        "a//edge.yml",
        "edge.yml/",
        "",
    ] {
        let (is_stale, told) = asked_about(path);
        assert!(is_stale, "{path}");
        assert!(
            told.len() == 1
                && told[0].starts_with("services/requests.json:2:")
                && told[0].contains("error: request_drafts[0]: repo_source_path is not")
                && told[0].ends_with("[source-path]"),
            "{path}: {told:?}"
        );
    }
}

/// LB4: a surface that goes takes its answer with it.
#[test]
fn lb4_an_answer_that_nobody_asked_for_is_an_error() {
    let mut repo = Repo::accepted();
    repo.replace(
        "services/requests.json",
        "\"surface_id\": \"edge\"",
        "\"surface_id\": \"edges\"",
    );
    let (assessed, _) = repo.assessed();
    let told: Vec<String> = assessed.problems.iter().map(ToString::to_string).collect();
    assert_eq!(told.len(), 2, "{told:?}");
    assert!(told.iter().all(|it| it.contains("[no-request]")));
    assert_eq!(assessed.surfaces["edges"].lane, Lane::WaitingOwnerResponse);
}

/// LB9, W4: identity is what a forge or a tag says of the file as it is, and a change of `forge_user` reopens.
#[test]
fn lb9_identity_is_never_a_text() {
    let fails = |repo: &Repo| {
        let (lane, checks) = repo.stands();
        assert_eq!(
            (lane, checks),
            (Lane::RequestSupplement, vec![Check::OwnerIdentityPresent])
        );
    };
    let mut pushed_after = Repo::answered();
    pushed_after.replace(ANSWER, "Health, route", "Health, routes");
    fails(&pushed_after);
    let mut by_another = Repo::answered();
    by_another.put(ANSWER, &answer(), "ann-f");
    fails(&by_another);
    let mut renamed = Repo::answered();
    renamed.replace("roster.yaml", "emo-f", "emo-g");
    fails(&renamed);
    // The name in another case is the same account.
    let mut upper = Repo::answered();
    upper.put(ANSWER, &answer(), "EMO-F");
    assert_eq!(upper.stands().0, Lane::ReadyForHostServiceReview);
    let (assessed, _) = upper.assessed();
    assert!(
        assessed.surfaces["edge"].by.is_some(),
        "who stands behind it is told"
    );
}

/// LB9: whoever approved the pull request as it is stands behind it, and so does who signed a tag; each is told by what says so.
#[test]
fn lb9_a_review_at_the_forge_and_a_signed_tag_stand_for_people() {
    let told = |repo: &Repo| {
        let (assessed, _) = repo.assessed();
        let nothing = Default::default();
        let changes = say::changes(&nothing, &assessed);
        (assessed.surfaces["edge"].lane, say::change(&changes[0]))
    };
    let key = "SHA256:abc";
    for (by, words) in [
        (
            Attribution::opened("emo-f", "pull/1"),
            "by the forge account `emo-f` (pull request 1)",
        ),
        (
            Attribution::approved("emo-f", "pull/1", 77),
            "by the forge account `emo-f` (review 77 of pull request 1)",
        ),
        (
            Attribution::signed("emo", "tag/0a", key.to_owned()),
            "by the key `SHA256:abc` of `emo`",
        ),
    ] {
        // Brought by another: that alone is nobody's word.
        let mut repo = Repo::answered();
        repo.put(ANSWER, &answer(), "ann-f");
        assert_eq!(told(&repo).0, Lane::RequestSupplement);
        repo.behind(ANSWER, by);
        let (lane, line) = told(&repo);
        assert_eq!(lane, Lane::ReadyForHostServiceReview);
        assert!(line.ends_with(words), "{line}");
    }
    // Whoever approved the answer of another as a maintainer did not answer, and may review it.
    let mut approved = Repo::answered();
    approved.behind(ANSWER, Attribution::approved("ann-f", "pull/1", 5));
    approved.review("ann", "accepted", "");
    assert_eq!(approved.stands().0, Lane::WaitingRuntimeGate);
    // Who owns it and approved did answer.
    let mut both = Repo::answered();
    both.put(ANSWER, &answer().replace("[emo]", "[emo, ann]"), "emo-f");
    both.behind(ANSWER, Attribution::approved("ann-f", "pull/1", 5));
    both.review("ann", "accepted", "");
    assert_eq!(
        both.stands(),
        (
            Lane::ReadyForHostServiceReview,
            vec![Check::CountsTransitionSafe]
        )
    );
    // One person with an account and a key is one person.
    let mut alone = Repo::answered();
    alone.review("emo", "accepted", "");
    alone.attributions.files.remove(REVIEW);
    alone.behind(REVIEW, Attribution::signed("emo", "tag/0a", key.to_owned()));
    assert_eq!(alone.stands().0, Lane::ReadyForHostServiceReview);
}

/// LB9: whoever gives themselves somebody's account in the proposal that speaks for them is nobody yet.
#[test]
fn lb9_an_account_counts_once_the_roster_that_names_it_is_merged() {
    let mut repo = Repo::answered();
    repo.attributions.unsettled.insert("emo".into());
    let (assessed, _) = repo.assessed();
    let standing = &assessed.surfaces["edge"];
    assert_eq!(standing.lane, Lane::RequestSupplement);
    let why = say::why(&standing.findings[0]);
    assert!(why.contains("changes with this very proposal"), "{why}");
    // A key is not in the roster.
    repo.behind(
        ANSWER,
        Attribution::signed("emo", "tag/0a", "SHA256:abc".into()),
    );
    assert_eq!(repo.stands().0, Lane::ReadyForHostServiceReview);
}

/// LB4, LB9: what is closed or goes takes its word with it, a tag's for ever; the first format is still read.
#[test]
fn lb9_what_goes_takes_its_word_with_it() {
    let mut kept = Attributions::default();
    kept.attribute("a", b"1", Attribution::opened("emo-f", "pull/1"));
    kept.attribute("a", b"1", Attribution::opened("emo-f", "pull/1"));
    kept.attribute("a", b"1", Attribution::approved("ann-f", "pull/2", 3));
    kept.attribute("b", b"1", Attribution::signed("emo", "tag/0a", "k".into()));
    assert_eq!(kept.of("a", b"1").len(), 2);
    assert_eq!(
        Attributions::parse(kept.to_json().as_bytes())
            .unwrap()
            .files,
        kept.files
    );
    kept.withdraw("pull/2");
    assert_eq!(kept.of("a", b"1"), [Attribution::opened("emo-f", "pull/1")]);
    kept.keep_only(|path, _| path == "a", |_| false);
    assert_eq!(kept.files.keys().collect::<Vec<_>>(), ["a"]);
    assert_eq!(kept.spent, BTreeSet::from(["tag/0a".to_owned()]));
    let first = r#"{"format": 1, "files": {"a": {"00": {"by": {"forge": "emo-f"}, "on": "pull/1"}}}, "quarantined": {}, "former": ["bob"]}"#;
    let first = Attributions::parse(first.as_bytes()).unwrap();
    assert_eq!(
        first.files["a"]["00"],
        [Attribution::opened("emo-f", "pull/1")]
    );
    assert!(first.former.contains("bob"));
}

/// LB10: who reviews is another person, by identity, and not the only owner; and of this very answer.
#[test]
fn lb10_a_reviewer_is_independent() {
    let stays = |repo: &Repo| {
        let (lane, checks) = repo.stands();
        assert_eq!(
            (lane, checks),
            (
                Lane::ReadyForHostServiceReview,
                vec![Check::CountsTransitionSafe]
            ),
            "{:?}",
            repo.assessed().0
        );
    };
    let mut own = Repo::answered();
    own.review("emo", "accepted", "");
    stays(&own);
    // A review that says ann, brought by emo.
    let mut forged = Repo::accepted();
    let text = forged.text(REVIEW);
    forged.put(REVIEW, &text, "emo-f");
    stays(&forged);
    let mut unattributed = Repo::accepted();
    unattributed.attributions.files.remove(REVIEW);
    stays(&unattributed);
    // Answered again after the review.
    let mut again = Repo::accepted();
    again.edit("Health, route", "Health, routes");
    stays(&again);
    // The only owner reviews what a delegate answered.
    let mut delegated = Repo::answered();
    let delegation = "delegation: {to: bob, until: 2026-12-31, scope: edge}\n";
    delegated.put(ANSWER, &(answer() + delegation), "bob-f");
    delegated.behind(ANSWER, Attribution::approved("emo-f", "pull/1", 5));
    assert_eq!(delegated.stands().0, Lane::ReadyForHostServiceReview);
    delegated.review("emo", "accepted", "");
    stays(&delegated);
    delegated.review("ann", "accepted", "");
    assert_eq!(delegated.stands().0, Lane::WaitingRuntimeGate);
}

/// LB9, LB10: a delegation is an owner's to give, has a scope, and an end within a year.
#[test]
fn lb9_a_delegation_counts_when_an_owner_stands_behind_it() {
    let causes = |repo: &Repo| {
        let (assessed, _) = repo.assessed();
        let findings = &assessed.surfaces["edge"].findings;
        let of_identity = findings.iter().map(|it| {
            assert_eq!(it.check, Check::OwnerIdentityPresent);
            it.cause.clone()
        });
        of_identity.collect::<Vec<_>>()
    };
    let given = |delegation: &str| {
        let mut repo = Repo::asked();
        let text = answer().replace("[emo]", "[emo, ann]");
        repo.put(ANSWER, &(text + delegation), "bob-f");
        repo
    };
    let delegation = "delegation: {to: bob, until: 2026-12-31, scope: edge}\n";
    // Whom it names gives it to themselves.
    let own = given(delegation);
    assert_eq!(causes(&own), [Cause::Undelegated]);
    assert_eq!(own.stands().0, Lane::RequestSupplement);
    // emo delegated, and is away.
    let away = |repo: &mut Repo| {
        repo.behind(ANSWER, Attribution::approved("emo-f", "pull/1", 5));
        repo.replace(
            "roster.yaml",
            "forge_user: emo-f",
            "forge_user: emo-f, parked: true",
        );
    };
    let mut delegated = given(delegation);
    away(&mut delegated);
    assert_eq!(causes(&delegated), []);
    delegated.now = NOW.plus(31 * DAY);
    assert_eq!(causes(&delegated), [Cause::Delegation]);
    let mut elsewhere = given(&delegation.replace("scope: edge", "scope: other"));
    away(&mut elsewhere);
    assert_eq!(causes(&elsewhere), [Cause::Delegation]);
    for (until, is_too_long) in [
        ("2027-12-01", false),
        ("2027-12-02", true),
        ("9999-01-01", true),
    ] {
        let mut long = given(&delegation.replace("2026-12-31", until));
        away(&mut long);
        let expected: &[Cause] = if is_too_long {
            &[Cause::DelegationTooLong]
        } else {
            &[]
        };
        assert_eq!(causes(&long), expected, "{until}");
    }
}

/// A8, LB10: what can be written to takes a review that says that it looked further.
#[test]
fn a8_what_can_be_written_to_takes_an_extra_review() {
    let mut repo = Repo::answered();
    repo.replace(
        "services/requests.json",
        "\"write_capable_surface\": false",
        "\"write_capable_surface\": true",
    );
    repo.review("ann", "accepted", "extra_review: true\n");
    assert_eq!(repo.stands().0, Lane::WaitingRuntimeGate);
}

/// LB10: an inventory that is old, or has lost more than a fifth.
#[test]
fn lb10_a_stale_or_partial_inventory_is_told() {
    let mut repo = Repo::accepted();
    // Made on the evening of 2026-11-19, by UTC.
    repo.now = Time(NOW.0 + 78 * DAY);
    assert_eq!(repo.assessed().0.inventory, []);
    repo.now = repo.now.plus(DAY);
    assert_eq!(
        repo.assessed().0.inventory,
        [InventoryFault::Old { days: 91, most: 90 }]
    );
    repo.replace("services/inventory.json", "generated_at", "made");
    assert_eq!(repo.assessed().0.inventory, [InventoryFault::Undated]);
    let of = |surfaces: usize| {
        let inventory = records::Inventory {
            made: None,
            surfaces,
        };
        records::Records {
            inventory: Some(inventory),
            ..records::Records::default()
        }
    };
    assert_eq!(shrunk(&of(10), &of(8)), None);
    assert_eq!(
        shrunk(&of(10), &of(7)),
        Some(InventoryFault::Fewer { before: 10, now: 7 })
    );
}

/// W1, A13: no lane says that anything may run, and what is told says so.
#[test]
fn a13_nothing_that_is_told_is_an_authorisation() {
    let (assessed, _) = Repo::accepted().assessed();
    let told: serde_json::Value = serde_json::from_str(&say::to_json(&assessed)).unwrap();
    assert_eq!(
        (&told["runtime_gate"], &told["not_authorization"]),
        (&0.into(), &true.into())
    );
    assert!(
        say::text(&assessed).ends_with("A lane permits nothing: whoever acts does so elsewhere.\n")
    );
}

/// W8, LB4: equal arguments, equal bytes.
#[test]
fn w8_a_hundred_evaluations_give_the_same_bytes() {
    let repo = Repo::accepted();
    let first = say::to_json(&repo.assessed().0);
    for _ in 0..100 {
        assert_eq!(say::to_json(&repo.assessed().0), first);
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    /// C8, W8: a secret in any field of any answer gives quarantine, whatever else is wrong with it.
    #[test]
    fn w8_adding_a_secret_always_gives_quarantine(line in 0_usize..21, drop in 0_usize..21, seed in "[A-Z0-9]{16}") {
        let mut repo = Repo::accepted();
        let text = answer();
        let lines: Vec<String> = text
            .lines()
            .enumerate()
            .filter(|(at, _)| *at == line || *at != drop)
            .map(|(at, text)| match text.split_once(": ") {
                Some((name, _)) if at == line => format!("{name}: \"AKIA{seed}\"\n"),
                _ => format!("{text}\n"),
            })
            .collect();
        repo.put(ANSWER, &lines.concat(), "emo-f");
        prop_assert_eq!(repo.stands().0, Lane::QuarantineSecretOrRawPayload);
    }

    /// A14: nothing that is taken away from a complete answer brings it further.
    #[test]
    fn a14_leaving_something_out_never_brings_an_answer_further(drop in 0_usize..21) {
        let mut repo = Repo::accepted();
        let text = answer();
        let kept: Vec<&str> = text.split_inclusive('\n').enumerate().filter(|(at, _)| *at != drop).map(|(_, it)| it).collect();
        repo.put(ANSWER, &kept.concat(), "emo-f");
        prop_assert!(rank(repo.stands().0) <= rank(Lane::ReadyForHostServiceReview));
    }
}
