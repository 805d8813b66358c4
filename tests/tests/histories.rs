//! Whatever a team does to its roster over time, some things stay true.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use muster_core::accounts::verbs::Verb;
use muster_core::gate::Reason;
use muster_core::id::StepId;
use muster_core::release::ObjectKind;
use muster_core::release::root::Role;
use muster_core::step::Step;
use muster_core::time::Time;
use muster_sim::{Fuse, Repository, Sim, SimHost, Timing};
use muster_tests::signer::{self, Signer};
use muster_tests::story::{noon, policy, roster};
use muster_tests::{of_host, oracle};
use proptest::prelude::*;

/// How one person stands in one version of the roster.
#[derive(Clone, Copy, Debug)]
enum Row {
    Absent,
    PowerUser,
    Admin,
    Parked,
    Expired,
    Disabled,
}

fn row() -> impl Strategy<Value = Row> {
    prop_oneof![
        2 => Just(Row::Absent),
        4 => Just(Row::PowerUser),
        2 => Just(Row::Admin),
        1 => Just(Row::Parked),
        1 => Just(Row::Expired),
        1 => Just(Row::Disabled),
    ]
}

const PEOPLE: [&str; 6] = ["ann", "bea", "cho", "dov", "emo", "fay"];

/// Versions of a roster, and who is tampered with by hand before each.
fn history() -> impl Strategy<Value = Vec<([Row; 6], Option<usize>)>> {
    let rows = [row(), row(), row(), row(), row(), row()];
    prop::collection::vec((rows, prop::option::of(0..6_usize)), 1..8)
}

fn text(rows: &[Row; 6]) -> String {
    let mut out = "users:\n".to_owned();
    for (name, row) in PEOPLE.iter().zip(rows) {
        let rest = match row {
            Row::Absent => continue,
            Row::PowerUser => "tier: power-user",
            Row::Admin => "tier: admin",
            Row::Parked => "tier: power-user, parked: true",
            Row::Expired => "tier: admin, expires: 2026-11-01",
            Row::Disabled => "tier: power-user, disabled: true",
        };
        out.push_str(&format!(
            "  {name}: {{authentik_user: {name}.x, k8s_user: {name}-k, {rest}}}\n"
        ));
    }
    out
}

fn pending(summary: &muster::cycle::CycleSummary) -> BTreeSet<StepId> {
    summary
        .held
        .iter()
        .filter(|it| it.reason == Reason::PendingSignature)
        .map(|it| it.step.id)
        .collect()
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, failure_persistence: None, ..ProptestConfig::default() })]

    /// A second cycle changes nothing; benign steps void no approval; ids and ports are nobody else's, ever; and
    /// nothing that is not benign runs.
    #[test]
    fn some_things_stay_true(history in history()) {
        let now: Time = noon("2026-11-22".parse().expect("a date"));
        let mut repository = Repository::default();
        repository.commit("main", roster("users: {}\n"));
        let sim = Sim::new(repository, SimHost::debian(), "devvm", now);
        let mut owners: BTreeMap<u32, String> = BTreeMap::new();
        let mut ports: BTreeMap<u16, String> = BTreeMap::new();
        for (rows, tampered) in history {
            if let Some(at) = tampered {
                sim.with(|it| {
                    if let Some(account) = it.host.accounts.get_mut(PEOPLE[at]) {
                        account.shell = "/bin/bash".into();
                    }
                    it.host.units.remove(&format!("t3-serve@{}.service", PEOPLE[at]));
                });
            }
            sim.with(|it| it.repository.commit("main", roster(&text(&rows))));
            let first = sim.cycle(&policy(), now).expect("a cycle");
            let second = sim.cycle(&policy(), now).expect("another");
            prop_assert!(second.is_quiet(), "a second cycle did {:?}", second.ran);
            prop_assert_eq!(pending(&first), pending(&second));
            for (step, _) in &first.ran {
                let never = [Verb::UserArchiveDelete, Verb::UserAdopt, Verb::UserIdentity, Verb::AdminsAdd];
                prop_assert!(!never.contains(&of_host::verb(step)), "ran unsigned: {}", step.words());
            }
            for (name, person) in &sim.facts().known.accounts().people {
                let owner = owners.entry(person.uid).or_insert_with(|| name.clone());
                prop_assert_eq!(&*owner, name, "uid {} changed hands", person.uid);
                for port in person.ports.values() {
                    let owner = ports.entry(*port).or_insert_with(|| name.clone());
                    prop_assert_eq!(&*owner, name, "port {} changed hands", port);
                }
            }
            for (name, row) in PEOPLE.iter().zip(rows) {
                let is_out = matches!(row, Row::Expired | Row::Disabled);
                let open = sim.with(|it| {
                    let account = it.host.accounts.get(*name);
                    let mapped = it.host.files.values().any(|text| text.contains(&format!("{name}.x")));
                    let unshut = account.is_some_and(|it| it.expires != Some(1) || !it.password.starts_with('!'));
                    unshut || mapped
                });
                let held = second.held.iter().any(|it| it.step.resource() == *name);
                prop_assert!(!is_out || !open || held, "{} gets in", name);
                // Whoever is in is in, unless something waits.
                let is_in = matches!(row, Row::PowerUser | Row::Parked);
                let shut = sim.with(|it| it.host.accounts.get(*name).is_some_and(|it| it.expires.is_some()));
                prop_assert!(!is_in || !shut || held, "{} is kept out", name);
            }
            let sudo = sim.with(|it| it.host.groups["sudo"].1.clone());
            prop_assert!(sudo.is_empty(), "root without a release: {:?}", sudo);
        }
    }
}

/// What operators do with what waits after a version of the roster.
#[derive(Clone, Copy, Debug)]
enum Release {
    /// Two people sign all of it.
    Right,
    /// One person does, who may not be enough.
    Alone,
    /// The same nonce as last time.
    Replayed,
    /// Signed, and about a commit that was never merged.
    Elsewhere,
    /// By a key that was dropped, and by one that nobody knows.
    Strangers,
    /// Signed, and deleted before anybody looked.
    Cancelled,
    /// The power goes out somewhere in the cycle that takes it up.
    Interrupted(usize),
}

fn release() -> impl Strategy<Value = Release> {
    prop_oneof![
        4 => Just(Release::Right),
        2 => Just(Release::Alone),
        2 => Just(Release::Replayed),
        1 => Just(Release::Elsewhere),
        1 => Just(Release::Strangers),
        1 => Just(Release::Cancelled),
        3 => (0..12_usize).prop_map(Release::Interrupted),
    ]
}

/// Pushes what operators signed, and says by which nonce.
fn sign(sim: &Sim, what: Release, held: Vec<Arc<Step>>, nonce: u8, now: Time) {
    let (who, nonce): (&[&str], u8) = match what {
        Release::Alone => (&["opal"], nonce),
        Release::Strangers => (&["eve", "odd"], nonce),
        Release::Replayed => (&["opal", "olga"], nonce.saturating_sub(1).max(1)),
        _ => (&["opal", "olga"], nonce),
    };
    let commit = match what {
        Release::Elsewhere => sim.with(|it| it.repository.commit("side", roster("users: {}\n"))),
        _ => sim.facts().adopted,
    };
    let statement = signer::statement(&held, &commit, nonce, now);
    for name in who {
        let (name, raw) = Signer::named(name).release(&statement);
        sim.with(|it| it.repository.push_tag(&name, ObjectKind::Tag, raw));
        if matches!(what, Release::Cancelled) {
            sim.with(|it| it.repository.delete_tag(&name));
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, failure_persistence: None, ..ProptestConfig::default() })]

    /// Whatever operators sign, and wherever the power goes out: what is not benign runs by a claim that names it, a nonce
    /// runs once, and what strangers sign or nobody merged runs nothing.
    #[test]
    fn what_is_not_benign_runs_by_a_claim_that_names_it(history in prop::collection::vec((history(), release()), 1..5)) {
        let mut now: Time = noon("2026-11-22".parse().expect("a date"));
        let mut repository = Repository::default();
        repository.commit("main", roster("users: {}\n"));
        let sim = Sim::new(repository, SimHost::debian(), "devvm", now);
        let mut root = signer::root(1, &["opal", "olga"]);
        let odd = Signer::named("odd").trusted("odd", Role::Operational);
        root.revoked = [odd.key.fingerprint()].into();
        sim.with(|it| it.trust = Some(root));
        let mut nonce = 0;
        for (versions, what) in history {
            for (rows, _) in versions {
                sim.with(|it| it.repository.commit("main", roster(&text(&rows))));
                let _ = sim.cycle(&policy(), now).expect("a cycle");
                now = now.plus(60);
            }
            let held = sim.cycle(&policy(), now).expect("a cycle").held;
            let held: Vec<Arc<Step>> = held
                .into_iter()
                .filter(|it| it.reason == Reason::PendingSignature)
                .map(|it| it.step)
                .collect();
            if held.is_empty() {
                continue;
            }
            nonce += 1;
            let before = sim.with(|it| oracle::acted(it, &policy()).len());
            sign(&sim, what, held, nonce, now);
            if let Release::Interrupted(at) = what {
                sim.with(|it| it.fuse = Fuse { effects: 0, blow: Some((at, Timing::After)) });
                let _ = sim.cycle(&policy(), now);
                sim.with(|it| it.fuse = Fuse::default());
            }
            for _ in 0..3 {
                now = now.plus(240);
                let _ = sim.cycle(&policy(), now).expect("a cycle");
            }
            let last = sim.cycle(&policy(), now).expect("a cycle");
            prop_assert!(last.is_quiet(), "one more cycle did {:?}", last.ran);
            sim.with(|it| oracle::released(it, &policy())).map_err(TestCaseError::fail)?;
            let acted = sim.with(|it| oracle::acted(it, &policy()));
            let nothing = matches!(what, Release::Elsewhere | Release::Strangers | Release::Cancelled);
            prop_assert!(!nothing || acted.len() == before, "{:?}: {:?}", what, &acted[before..]);
        }
    }
}
