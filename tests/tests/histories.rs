//! Whatever a team does to its roster over time, some things stay true.

use std::collections::{BTreeMap, BTreeSet};

use muster_core::action::Kind;
use muster_core::gate::Reason;
use muster_core::step::StepId;
use muster_core::time::Time;
use muster_sim::{Repository, Sim, SimHost};
use muster_tests::story::{noon, policy, roster};
use proptest::prelude::*;

/// How one person stands in one version of the roster.
#[derive(Clone, Copy, Debug)]
enum Row {
    Absent,
    PowerUser,
    Admin,
    Parked,
    Expired,
}

fn row() -> impl Strategy<Value = Row> {
    prop_oneof![
        2 => Just(Row::Absent),
        4 => Just(Row::PowerUser),
        2 => Just(Row::Admin),
        1 => Just(Row::Parked),
        1 => Just(Row::Expired),
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
        };
        out.push_str(&format!(
            "  {name}: {{authentik_user: {name}.x, k8s_user: {name}-k, {rest}}}\n"
        ));
    }
    out
}

fn pending(summary: &muster::cycle::Summary) -> BTreeSet<StepId> {
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
                let never = [Kind::UserArchiveDelete, Kind::UserAdopt, Kind::UserIdentity, Kind::AdminsAdd];
                prop_assert!(!never.contains(&step.action.kind()), "ran unsigned: {}", step.words());
            }
            for (name, person) in sim.facts().people {
                let owner = owners.entry(person.uid).or_insert_with(|| name.clone());
                prop_assert_eq!(&*owner, &name, "uid {} changed hands", person.uid);
                for port in person.ports.values() {
                    let owner = ports.entry(*port).or_insert_with(|| name.clone());
                    prop_assert_eq!(&*owner, &name, "port {} changed hands", port);
                }
            }
            let sudo = sim.with(|it| it.host.groups["sudo"].1.clone());
            prop_assert!(sudo.is_empty(), "root without a release: {:?}", sudo);
        }
    }
}
