//! Crashes that change their mind: the power goes out somewhere in a cycle, and before the next one people want something else, or
//! somebody was at the machine. Whatever that is, the host comes to rest whole (F11), and journal and ledger tell what was done (F13).
//!
//! Each round is made of its number alone, and who fails says by which command it is played again.
//! `ROUNDS=100000 cargo nextest run --release -p muster-tests --test minds` plays more of them.

use std::sync::Arc;

use muster::cycle::CycleSummary;
use muster_core::accounts::verbs::Verb;
use muster_core::gate::Reason;
use muster_core::release::ObjectKind;
use muster_core::rooms::Policy;
use muster_core::step::Step;
use muster_core::time::Time;
use muster_sim::{Fuse, Repository, Sim, SimHost, SimTraces, Timing};
use muster_tests::signer::{self, Signer};
use muster_tests::story::{self, noon, roster};
use muster_tests::{of_host, oracle};

/// How many rounds there are in all, in any build: `tests/run` counts them.
const ROUNDS: u64 = 20_000;
/// From how many turning points they begin.
const TURNING_POINTS: u64 = 8;
/// Every name that anybody has in a roster.
const NAMES: [&str; 4] = ["bob", "cho", "rob", "robin"];

/// Numbers that look random and are the same each time (Vigna's splitmix64).
struct Dice(u64);

impl Dice {
    fn throw(&mut self, sides: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        usize::try_from((z ^ (z >> 31)) % sides as u64).expect("a small number")
    }
}

fn begin() -> Time {
    noon("2026-11-22".parse().expect("a date"))
}

/// As in the stories, on a host that lets renames run and keeps homes for no longer than it must.
fn policy() -> Policy {
    let mut policy = story::policy();
    let decided = of_host::decided(&mut policy);
    decided.declared_benign.insert(Verb::UserRename);
    decided.grace_days = 0;
    policy
}

/// What may be asked for of the person who is called bob at first: rows of one person, under whatever name.
const BOB: [&str; 6] = [
    "",
    "  bob: {authentik_user: b.ob, k8s_user: bob-k, tier: power-user}\n",
    "  rob: {authentik_user: b.ob, k8s_user: bob-k, tier: power-user, previously: bob}\n",
    "  robin: {authentik_user: b.ob, k8s_user: bob-k, tier: power-user, previously: bob}\n",
    "  robin: {authentik_user: b.ob, k8s_user: bob-k, tier: power-user, previously: rob}\n",
    "  bob: {authentik_user: b.ob, k8s_user: bob-k, tier: power-user, parked: true}\n",
];
const CHO: &str = "  cho: {authentik_user: c.ho, k8s_user: cho-k, tier: power-user}\n";

fn want(sim: &Sim, bob: &str, cho: bool) {
    let ann = "users:\n  ann: {authentik_user: a.nn, k8s_user: ann-k, tier: admin}\n";
    let text = format!("{ann}{bob}{}", if cho { CHO } else { "" });
    sim.with(|it| it.repository.commit("main", roster(&text)));
}

fn lived_in() -> Sim {
    let mut repository = Repository::default();
    repository.commit("main", roster("users: {}\n"));
    let sim = Sim::new(repository, SimHost::debian(), "devvm", begin());
    sim.with(|it| it.trust = Some(signer::root(1, &["opal", "olga"])));
    want(&sim, BOB[1], false);
    cycles(&sim, 2);
    sim.with(|it| {
        let left = SimTraces {
            linger: true,
            keys: Some("ssh-ed25519 bob".into()),
            crontab: Some("@daily true".into()),
            processes: 2,
        };
        it.host.traces.insert("bob".into(), left);
    });
    sim
}

fn cycles(sim: &Sim, times: usize) {
    for _ in 0..times {
        let _ = sim.cycle(&policy(), begin()).expect("a cycle");
    }
}

/// Two people sign what waits.
fn release(sim: &Sim, nonce: u8, verb: Verb) {
    let held = sim.cycle(&policy(), begin()).expect("a cycle").held;
    let waits = held
        .into_iter()
        .filter(|it| it.reason == Reason::PendingSignature && of_host::verb(&it.step) == verb);
    let steps: Vec<Arc<Step>> = waits.map(|it| it.step).collect();
    assert!(!steps.is_empty(), "nothing waits");
    let statement = signer::statement(&steps, &sim.facts().adopted, nonce, begin());
    for name in ["opal", "olga"] {
        let (name, raw) = Signer::named(name).release(&statement);
        sim.with(|it| it.repository.push_tag(&name, ObjectKind::Tag, raw));
    }
}

/// The worlds in which the next cycle has something to do that can be interrupted.
fn turning_point(name: &str) -> Sim {
    let sim = lived_in();
    let archived = |sim: &Sim| {
        want(sim, BOB[0], false);
        cycles(sim, 1);
        release(sim, 1, Verb::UserArchiveDelete);
    };
    match name {
        "onboarding" => want(&sim, BOB[1], true),
        "renaming" => want(&sim, BOB[2], false),
        "cutting" => want(&sim, BOB[0], false),
        "returning" => {
            want(&sim, BOB[0], false);
            cycles(&sim, 2);
            want(&sim, BOB[1], false);
        }
        "archiving" => archived(&sim),
        "restoring" => {
            archived(&sim);
            cycles(&sim, 2);
            want(&sim, BOB[1], false);
        }
        "purging" => {
            archived(&sim);
            cycles(&sim, 2);
            release(&sim, 2, Verb::UserPurge);
        }
        "unpacking" => {
            archived(&sim);
            cycles(&sim, 2);
            release(&sim, 2, Verb::UserPurge);
            cycles(&sim, 2);
            want(&sim, BOB[1], false);
        }
        other => panic!("no such turning point: {other}"),
    }
    sim
}

/// What happens while the power is out; whether somebody was at the machine.
fn meanwhile(sim: &Sim, dice: &mut Dice, now: &mut Time) -> bool {
    if dice.throw(4) > 0 {
        want(sim, BOB[dice.throw(BOB.len())], dice.throw(2) == 0);
    }
    match dice.throw(8) {
        0 => *now = now.plus(60),
        1 => *now = now.plus(86_400 * 40),
        2 => sim.with(|it| it.set_back = 7_200),
        _ => {}
    }
    let who = NAMES[dice.throw(NAMES.len())];
    let what = dice.throw(12);
    sim.with(|it| {
        let host = &mut it.host;
        let has_account = host.accounts.contains_key(who);
        match what {
            0 if has_account => {
                let account = host.accounts.get_mut(who).expect("just seen");
                account.shell = "/bin/dash".into();
            }
            1 if has_account => {
                let account = host.accounts.get_mut(who).expect("just seen");
                account.password = "$y$by-hand".into();
            }
            2 if has_account => {
                let (_, members) = host.groups.get_mut("t3").expect("there from the first");
                members.remove(who);
                host.half.remove("t3");
            }
            3 => drop(host.units.remove(&format!("t3-serve@{who}.service"))),
            // A disk that is full fails what one person's steps write.
            4 => drop(
                host.broken
                    .insert(who.into(), "No space left on device".into()),
            ),
            _ => return false,
        }
        true
    })
}

fn round(fresh: &Sim, effects: usize, seed: u64) -> Result<(), String> {
    let mut dice = Dice(seed);
    let sim = fresh.fork();
    let policy = policy();
    let mut now = begin();
    let mut tampered = false;
    for _ in 0..=dice.throw(2) {
        let timing = [Timing::Before, Timing::After][dice.throw(2)];
        let blow = Some((dice.throw(effects), timing));
        sim.with(|it| it.fuse = Fuse { effects: 0, blow });
        let _ = sim.cycle(&policy, now);
        sim.with(|it| {
            it.fuse = Fuse::default();
            it.set_back = 0;
        });
        tampered |= meanwhile(&sim, &mut dice, &mut now);
    }
    // With a full disk at first, then with room.
    let _ = sim.cycle(&policy, now).map_err(|error| error.to_string())?;
    sim.with(|it| {
        it.host.broken.clear();
        it.set_back = 0;
    });
    let mut last = None;
    for _ in 0..8 {
        now = now.plus(3_600);
        let cycle = sim.cycle(&policy, now).map_err(|error| error.to_string())?;
        let still = cycle.is_quiet() && !cycle.held.iter().any(|it| it.reason.code() == "retry");
        last = Some(cycle);
        if still {
            break;
        }
    }
    let last = last.expect("some cycles");
    if !last.is_quiet() {
        return Err(format!("it does not come to rest: {:?}", last.ran));
    }
    let memory = sim.boot();
    if memory.replayed.open.is_some() || !memory.facts().needs_operator.is_empty() {
        return Err(format!(
            "not brought to its end: {:?}",
            memory.facts().needs_operator
        ));
    }
    sim.with(|it| {
        oracle::released(it, &policy)?;
        oracle::whole(it, memory.facts(), &NAMES, &last.held)
            .map_err(|why| format!("{why}; held: {}", held(&last)))?;
        // What somebody set back to what it was before the step cannot be told from what never was done.
        oracle::told(it, |_| !tampered)
    })
}

fn held(cycle: &CycleSummary) -> String {
    let held = cycle.held.iter();
    let words = held.map(|it| format!("{} ({})", it.step.words(), it.reason));
    words.collect::<Vec<_>>().join(", ")
}

fn number(name: &str) -> Option<u64> {
    std::env::var(name)
        .ok()
        .map(|it| it.parse().expect("a number"))
}

fn rounds(name: &str) {
    let fresh = turning_point(name);
    let calm = fresh.fork();
    calm.with(|it| it.fuse = Fuse::default());
    let _ = calm.cycle(&policy(), begin()).expect("a cycle");
    let effects = calm.with(|it| it.fuse.effects);
    assert!(effects > 4, "{name} has {effects} effects");
    let all = match number("ROUND") {
        Some(one) => one..one + 1,
        None => 0..number("ROUNDS").unwrap_or(ROUNDS).div_ceil(TURNING_POINTS),
    };
    let again = "cargo test -p muster-tests --test minds -- --exact";
    let mut wrong = Vec::new();
    let mut ran = 0;
    for seed in all {
        ran += 1;
        if let Err(why) = round(&fresh, effects, seed) {
            wrong.push(format!("{why}\n    again: ROUND={seed} {again} {name}"));
        }
    }
    let some = wrong.len().min(12);
    assert!(
        wrong.is_empty(),
        "{} of {ran}:\n{}",
        wrong.len(),
        wrong[..some].join("\n")
    );
    println!("{ran} seeded rounds of {name}");
}

macro_rules! turning_points {
    ($($name:ident)*) => {
        $(#[test]
        fn $name() {
            rounds(stringify!($name));
        })*
    };
}

turning_points!(onboarding renaming cutting returning archiving restoring purging unpacking);
