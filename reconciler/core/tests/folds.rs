//! Many faults of one kind hide none of another: each kind has an example with its place (F33).

use std::collections::BTreeMap;
use std::fmt::Write as _;

use muster_core::diagnostic::{ALIKE, human};
use muster_core::rooms::read_whole;

/// What people are shown of a roster.
fn shown(roster: &str) -> String {
    let files = BTreeMap::from([("roster.yaml".to_owned(), roster.as_bytes().to_vec())]);
    let found = read_whole(&files, &[]).map(|_| ()).unwrap_err();
    human(&found, &files)
}

/// So many people with something wrong in their rows, and then one of whom something else is wrong against the same rule.
fn roster(people: usize) -> String {
    let mut roster = "users:\n".to_owned();
    for i in 0..people {
        let _ = writeln!(
            roster,
            "  u{i}: {{authentik_user: u{i}, k8s_user: u{i}, tier: power-user, uid: many}}"
        );
    }
    roster.push_str(
        "  zed: {authentik_user: zed, k8s_user: zed, tier: power-user, parked: perhaps, colour: red}\n",
    );
    roster
}

#[test]
fn the_last_of_another_kind_is_shown_with_its_place() {
    // As many as find room, and more than that.
    for people in [30, 3_000] {
        let text = shown(&roster(people));
        let line = people + 2;
        for of in ["parked: ", "unknown field 'colour'"] {
            let place = format!("roster.yaml:{line}:");
            let found = text
                .lines()
                .any(|it| it.starts_with(&place) && it.contains(of));
            assert!(found, "{people} people: {of}\n{text}");
        }
        let uids = text.lines().filter(|it| it.contains(": uid: "));
        assert_eq!(uids.count(), ALIKE, "{text}");
        let more = format!("… and {} more like it", people - ALIKE);
        assert!(text.contains(&more), "{people} people: {text}");
    }
}
