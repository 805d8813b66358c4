//! What must happen for each attack on the gate of releases, and each situation it can be in: one table over the
//! simulated host, with the number of each case (M), and the decisions about tags (3.3).
//!
//! `core/tests/release.rs` has the cases that are over once a signature has been read: M3, M21–M23, M26–M33, M37–M39, M45,
//! M54, M60 and M62 are decided there, from raw bytes; M36 when a trust root is read. What needs a machine is proven on one
//! (see `ELSEWHERE`). A case can have rows here besides.

mod rows;
mod world;

use std::collections::BTreeSet;

use muster_core::release::Code;
use muster_tests::{of_host, oracle};

use rows::{Came, DECISIONS, ROWS, Row};
use world::World;

/// The cases that no row here decides, and the test that does.
const ELSEWHERE: &[(u8, &str)] = &[
    (
        3,
        "core/tests/release.rs, every_attack_is_refused_with_its_word",
    ),
    (
        21,
        "core/tests/release.rs, every_attack_is_refused_with_its_word; tests/release_keys.rs",
    ),
    (
        22,
        "core/tests/release.rs, every_attack_is_refused_with_its_word; tests/release_keys.rs",
    ),
    (
        23,
        "core/tests/release.rs, a_key_is_valid_from_its_first_to_its_last_second; tests/release_keys.rs",
    ),
    (
        26,
        "core/tests/release.rs, every_attack_is_refused_with_its_word; tests/release_keys.rs",
    ),
    (
        27,
        "core/tests/release.rs, every_attack_is_refused_with_its_word; tests/release_keys.rs",
    ),
    (
        28,
        "core/tests/release.rs, every_attack_is_refused_with_its_word; tests/release_keys.rs",
    ),
    (29, "core/tests/release.rs, a_lightweight_tag_is_no_release"),
    (
        30,
        "core/tests/release.rs, without_a_key_to_trust_nothing_is_good",
    ),
    (
        31,
        "core/tests/release.rs, every_attack_is_refused_with_its_word",
    ),
    (
        32,
        "core/tests/release.rs, every_attack_is_refused_with_its_word",
    ),
    (
        33,
        "core/tests/release.rs, every_attack_is_refused_with_its_word; tests/release_keys.rs",
    ),
    (
        36,
        "core/src/release/root.rs: a principal is a name, never a pattern",
    ),
    (
        37,
        "core/tests/release.rs, every_attack_is_refused_with_its_word",
    ),
    (
        38,
        "core/tests/release.rs, every_attack_is_refused_with_its_word",
    ),
    (
        39,
        "core/tests/release.rs, a_security_key_counts_once_it_was_touched",
    ),
    (
        45,
        "core/tests/release.rs, every_attack_is_refused_with_its_word",
    ),
    (
        54,
        "core/tests/release.rs, every_attack_is_refused_with_its_word; core/tests/report",
    ),
    (
        62,
        "core/tests/release.rs, every_attack_is_refused_with_its_word; tests/removals.rs, stale and fresh tags",
    ),
];

fn judge(row: &Row) -> Result<(), String> {
    let mut world = World::new();
    let summary = (row.happens)(&mut world);
    let facts = world.sim.facts();
    let codes: Vec<Code> = facts.refused.iter().map(|it| it.code).collect();
    let strangers: Vec<Code> = summary
        .unauthenticated
        .iter()
        .map(|it| it.refusal.code)
        .collect();
    let removal = |it: &&muster_core::gate::Held| {
        of_host::verb(&it.step).word() == "user.archive_delete" && it.step.resource() == "emo"
    };
    let waits = summary.held.iter().find(removal).map(|it| it.reason.code());
    let came = match row.came {
        Came::Refused(code) => codes.contains(&code),
        Came::Stranger(code) => {
            strangers.contains(&code) && codes.is_empty() && facts.claims.is_empty()
        }
        Came::Waits(why) => waits == Some(why) && codes.is_empty() && facts.claims.is_empty(),
        Came::Runs(times) => {
            codes.is_empty()
                && facts.claims.len() == times
                && facts.claims.values().all(|it| it.finished)
        }
    };
    if !came {
        return Err(format!(
            "refused {codes:?}, strangers {strangers:?}, the removal waits {waits:?}, claims {:?}, warnings {:?}, ran {:?}",
            facts.claims, summary.warnings, summary.ran
        ));
    }
    world.sim.with(|it| {
        oracle::released(it, &world.policy)?;
        let acted = oracle::acted(it, &world.policy);
        let short: Vec<String> = acted
            .iter()
            .map(|words| words.split(' ').take(2).collect::<Vec<_>>().join(" "))
            .collect();
        let mut sorted = short.clone();
        sorted.sort();
        if sorted != row.acted {
            return Err(format!("acted on {acted:?}"));
        }
        Ok(())
    })
}

fn all_of(rows: &[Row]) {
    let wrong: Vec<String> = rows
        .iter()
        .filter_map(|row| {
            let why = judge(row).err()?;
            Some(format!("M{} ({}): {why}", row.number, row.situation))
        })
        .collect();
    assert!(wrong.is_empty(), "{}", wrong.join("\n\n"));
}

#[test]
fn every_attack_and_every_situation_comes_out_as_it_must() {
    all_of(ROWS);
}

#[test]
fn every_decision_about_a_tag_is_as_the_table_has_it() {
    all_of(DECISIONS);
}

#[test]
fn no_case_is_left_out() {
    let here: BTreeSet<u8> = ROWS.iter().map(|it| it.number).collect();
    let there: BTreeSet<u8> = ELSEWHERE.iter().map(|(number, _)| *number).collect();
    let all: BTreeSet<u8> = (1..=63).collect();
    assert_eq!(&here | &there, all);
    let twice: Vec<_> = here.intersection(&there).collect();
    assert!(twice.is_empty(), "{twice:?}");
}
