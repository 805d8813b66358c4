#!/usr/bin/env python3
"""What `muster services report` takes the place of, told again from its published description (A1 to A12): the same reading, the same
dictionaries built for each draft, the same `json.dumps`, and the same line at the end. `parity` holds the two side by side, and
`tests/bench/bench services` takes the time of both (W9).

The fixed words are those of the golden report, which the source itself wrote.
"""
import argparse
import json
import subprocess
import sys
from datetime import datetime, timedelta, timezone
from pathlib import Path

GOLDEN = Path(__file__).resolve().parents[2] / "reconciler/core/tests/golden/services/report.json"
WORDS = json.loads(GOLDEN.read_text(encoding="utf-8"))
SAME = WORDS["acceptance_candidates"][0]
COPIED = ("request_id", "surface_id", "label", "expected_host_scope", "config_kind", "service_scope", "control_tier", "repo_source_path",
          "repo_sha256", "source_line_count", "write_capable_surface", "requires_live_evidence")
OWN = (*COPIED, "acceptance_candidate_id", "required_owner_fields", "reviewer_checks", "outcome_lanes")
FIXED = {key: value for key, value in SAME.items() if key not in OWN}
INCIDENT = ("config_source_of_truth_ref", "service_dependency_map_ref", "port_binding_inventory_ref", "cold_start_sequence_ref",
            "incident_recovery_evidence_ref", "daemon_runner_contention_ref")
ZEROS = {key: 0 for key, value in WORDS["summary"].items() if value == 0}


def short_head(root):
    try:
        told = subprocess.run(["git", "rev-parse", "--short", "HEAD"], cwd=root, check=True, capture_output=True, text=True)
        return told.stdout.strip()
    except Exception:  # whatever it is, the source says so
        return "unknown"


def load_json(path):
    return json.loads(path.read_text(encoding="utf-8"))


def candidate(request):
    surface = request["surface_id"]
    copied = {key: request[key] for key in COPIED}
    return {
        **FIXED, **copied,
        "acceptance_candidate_id": f"host_service_owner_response_acceptance:{surface}",
        "required_owner_fields": [*request["required_owner_fields"], *INCIDENT],
        "reviewer_checks": [it["check_id"] for it in WORDS["reviewer_checks"]],
        "outcome_lanes": [it["lane_id"] for it in WORDS["outcome_lanes"]],
    }


def report(root, inventory, asked, generated_at):
    at = generated_at or datetime.now(timezone(timedelta(hours=8))).isoformat(timespec="seconds")
    drafts = asked.get("request_drafts", [])
    candidates = [candidate(it) for it in drafts]
    counts = {
        "source_owner_request_count": len(drafts),
        "acceptance_candidate_count": len(candidates),
        "write_capable_acceptance_candidate_count": len([it for it in candidates if it["write_capable_surface"]]),
        "live_evidence_required_candidate_count": len([it for it in candidates if it["requires_live_evidence"]]),
        "acceptance_field_count": len(WORDS["acceptance_fields"]),
        "required_owner_field_count": len(candidates[0]["required_owner_fields"]) if candidates else 0,
        "reviewer_check_count": len(WORDS["reviewer_checks"]),
        "outcome_lane_count": len(WORDS["outcome_lanes"]),
        "blocked_action_count": len(WORDS["blocked_actions"]),
    }
    words = ("schema_version", "status", "execution_boundaries", "acceptance_fields", "reviewer_checks", "outcome_lanes", "blocked_actions",
             "next_steps")
    return {
        **{key: WORDS[key] for key in words},
        "generated_at": at,
        "git_commit": short_head(root),
        "source_inventory_schema_version": inventory.get("schema_version"),
        "source_inventory_status": inventory.get("status"),
        "source_owner_request_schema_version": asked.get("schema_version"),
        "source_owner_request_status": asked.get("status"),
        "summary": {**ZEROS, **counts},
        "acceptance_candidates": candidates,
    }


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--root", default=".")
    parser.add_argument("--inventory-report", default="docs/security/host-service-config-inventory.snapshot.json")
    parser.add_argument("--owner-request-report", default="docs/security/host-service-owner-request-draft.snapshot.json")
    parser.add_argument("--output")
    parser.add_argument("--generated-at")
    args = parser.parse_args()
    root = Path(args.root).resolve()
    inventory = load_json(root / args.inventory_report)
    asked = load_json(root / args.owner_request_report)
    made = report(root, inventory, asked, args.generated_at)
    text = json.dumps(made, ensure_ascii=False, indent=2, sort_keys=True)
    if args.output:
        output = Path(args.output)
        output.parent.mkdir(parents=True, exist_ok=True)
        output.write_text(text + "\n", encoding="utf-8")
    else:
        print(text)
    counts = made["summary"]
    print(f"HOST_SERVICE_OWNER_RESPONSE_ACCEPTANCE_OK candidates={counts['acceptance_candidate_count']} "
          f"write_capable={counts['write_capable_acceptance_candidate_count']} checks={counts['reviewer_check_count']} "
          f"lanes={counts['outcome_lane_count']} accepted=0 runtime_gate=0", file=sys.stderr)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
