//! The report of the source (A1 to A12). The golden file was written by a program made from the published page of the source.

use muster_core::compat::json::{self, Value};
use muster_core::services::report::{self, ReportError};
use muster_core::services::words::{
    ACCEPTANCE_FIELDS, BLOCKED_ACTIONS, BOUNDARIES, FLAGS, INCIDENT_FIELDS, PENDING, REFS,
};

const INVENTORY: &[u8] = include_bytes!("../golden/services/inventory.json");
const REQUESTS: &[u8] = include_bytes!("../golden/services/requests.json");
const REPORT: &str = include_str!("../golden/services/report.json");

/// How many candidates there are, and the document.
fn report_of(requests: &str) -> Result<(usize, Vec<u8>), ReportError> {
    let (inventory, requests) = (json::parse(b"{}"), json::parse(requests.as_bytes()));
    let (inventory, requests) = (inventory.unwrap(), requests.unwrap());
    let made = report::report(&inventory, &requests, "unknown", b"now")?;
    Ok((made.candidates, made.json()))
}

fn value(text: &[u8]) -> serde_json::Value {
    serde_json::from_slice(text).expect("plain JSON")
}

/// A2 to A12, W2.
#[test]
fn a2_to_a12_the_report_is_that_of_the_source_to_the_byte() {
    let (inventory, requests) = (json::parse(INVENTORY), json::parse(REQUESTS));
    let (inventory, requests) = (inventory.unwrap(), requests.unwrap());
    let made = report::report(
        &inventory,
        &requests,
        "unknown",
        b"2026-06-15T14:51:25+08:00",
    )
    .unwrap();
    let shown = String::from_utf8(made.json()).unwrap() + "\n";
    similar_asserts(&shown, REPORT);
    assert_eq!(
        report::summary_line(&made),
        "HOST_SERVICE_OWNER_RESPONSE_ACCEPTANCE_OK candidates=3 write_capable=2 checks=21 lanes=8 accepted=0 runtime_gate=0\n"
    );
}

fn similar_asserts(made: &str, golden: &str) {
    for (number, (a, b)) in made.lines().zip(golden.lines()).enumerate() {
        assert_eq!(a, b, "line {}", number + 1);
    }
    assert!(made == golden, "one of them is longer, or ends otherwise");
}

/// A4 to A7, A10, A11: how many of each there are.
#[test]
fn a4_a5_a6_a7_a10_a11_there_are_as_many_of_each_as_the_source_has() {
    let counts = [
        ACCEPTANCE_FIELDS.len(),
        INCIDENT_FIELDS.len(),
        FLAGS.len(),
        PENDING.len(),
        REFS.len(),
        BLOCKED_ACTIONS.len(),
        BOUNDARIES.len(),
    ];
    assert_eq!(counts, [34, 6, 33, 10, 8, 27, 15]);
    let made = report_of(MINIMAL).unwrap();
    let report = value(&made.1);
    let candidate = report["acceptance_candidates"][0].as_object().unwrap();
    assert_eq!(candidate.len(), 73);
    assert_eq!(
        candidate
            .values()
            .filter(|it| **it == serde_json::json!(false))
            .count(),
        33
    );
    assert_eq!(report["summary"].as_object().unwrap().len(), 42);
    let boundaries = report["execution_boundaries"].as_object().unwrap();
    let (yes, no): (Vec<_>, Vec<_>) = boundaries
        .iter()
        .partition(|(_, it)| **it == serde_json::json!(true));
    assert_eq!(
        (yes[0].0.as_str(), yes.len(), no.len()),
        ("not_authorization", 1, 15)
    );
}

const MINIMAL: &str = r#"{"request_drafts": [{"request_id": 1, "surface_id": "a", "label": 1, "expected_host_scope": 1, "config_kind": 1,
    "service_scope": 1, "control_tier": 1, "repo_source_path": 1, "repo_sha256": 1, "source_line_count": 1, "write_capable_surface": true,
    "requires_live_evidence": true, "required_owner_fields": []}]}"#;

/// A2.
#[test]
fn a2_absent_and_empty_lists_are_no_candidates() {
    for requests in [
        "{}",
        r#"{"request_drafts": []}"#,
        r#"{"request_drafts": ""}"#,
        r#"{"request_drafts": {}}"#,
    ] {
        assert_eq!(report_of(requests).unwrap().0, 0, "{requests}");
    }
    for requests in [
        "[]",
        "null",
        r#"{"request_drafts": null}"#,
        r#"{"request_drafts": 0}"#,
        r#"{"request_drafts": "a"}"#,
        r#"{"request_drafts": [null]}"#,
        r#"{"request_drafts": [[]]}"#,
    ] {
        report_of(requests).expect_err(requests);
    }
}

/// A3, W2: the draft and the key.
#[test]
fn a3_a_missing_key_is_told_with_its_draft() {
    let keys = [
        "request_id",
        "surface_id",
        "label",
        "expected_host_scope",
        "config_kind",
        "service_scope",
        "control_tier",
        "repo_source_path",
        "repo_sha256",
        "source_line_count",
        "write_capable_surface",
        "requires_live_evidence",
        "required_owner_fields",
    ];
    for key in keys {
        let without = MINIMAL.replace(&format!("{key:?}"), "\"another\"");
        let error = report_of(&without).expect_err(key);
        let Value::Map(_) = json::parse(without.as_bytes()).unwrap() else {
            panic!("an object")
        };
        assert!(
            matches!(&error, ReportError::MissingKey { key: told, .. } if *told == key),
            "{error}"
        );
        assert!(error.to_string().contains("request_drafts[0]"), "{error}");
    }
    let without = MINIMAL.replace("\"label\"", "\"another\"");
    assert_eq!(
        report_of(&without).unwrap_err().to_string(),
        "request_drafts[0] (surface_id a) has no \"label\""
    );
}

/// W9: a report of many candidates comes in parts, and is what it is as a whole; none of them cuts a character.
#[test]
fn w9_a_large_report_comes_in_parts() {
    let draft = MINIMAL
        .split_once('[')
        .unwrap()
        .1
        .strip_suffix("]}")
        .unwrap();
    let drafts = vec![draft.replace("\"a\"", "\"\u{5bc6}\u{78bc}\""); 200];
    let requests = format!("{{\"request_drafts\": [{}]}}", drafts.join(","));
    let (inventory, requests) = (json::parse(b"{}"), json::parse(requests.as_bytes()));
    let (inventory, requests) = (inventory.unwrap(), requests.unwrap());
    let made = report::report(&inventory, &requests, "unknown", b"now").unwrap();
    let mut parts = Vec::new();
    let keep = |part: &[u8]| -> Result<(), ()> {
        parts.push(String::from_utf8(part.to_vec()).expect("whole characters"));
        Ok(())
    };
    made.write(keep).unwrap();
    assert!(parts.len() > 5, "{}", parts.len());
    assert!(parts.iter().all(|it| it.len() < 300_000));
    let whole = value(&made.json());
    assert!(whole == value(parts.concat().as_bytes()));
    assert_eq!(
        whole["acceptance_candidates"].as_array().unwrap().len(),
        200
    );
    assert!(!made.has_half_a_pair());
    for (value, is_half) in [
        ("\"\\ud800\"", true),
        ("[1, {\"k\": [\"\\udfff x\"]}]", true),
        ("{\"\\ud800\": 1}", true),
        ("\"\\ud83d\\ude00\"", false),
        ("[null, 1.5, true, {\"k\": \"\\n\"}]", false),
    ] {
        let half = MINIMAL.replace("\"a\"", value);
        let half = json::parse(half.as_bytes()).unwrap();
        let made = report::report(&inventory, &half, "unknown", b"now").unwrap();
        assert_eq!(made.has_half_a_pair(), is_half, "{value}");
        let is_told = json::lone_surrogate(&made.json()).is_some();
        assert!(is_half || !is_told, "{value}");
    }
    // A sink that is full is told of at once.
    assert_eq!(made.write(|_| Err("full")), Err("full"));
}

/// LB4: nothing but the surface decides an id, and equal inputs give equal bytes.
#[test]
fn lb4_a_hundred_runs_give_the_same_bytes() {
    let first = report_of(MINIMAL).unwrap().1;
    for _ in 0..100 {
        assert!(report_of(MINIMAL).unwrap().1 == first);
    }
    let report = value(&first);
    assert_eq!(
        report["acceptance_candidates"][0]["acceptance_candidate_id"],
        "host_service_owner_response_acceptance:a"
    );
}
