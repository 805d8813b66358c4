//! The end of a guest, with a crash at every effect of each of its turning points: it ends as without one.

use super::*;

/// A day in seconds.
pub(super) const DAY: i64 = 86_400;

/// A hypervisor that is through with what there was long before the story.
pub(super) fn lived_in() -> Sim {
    let sim = lived_in_at(start().plus(-20 * DAY));
    believe_the_clock(&sim, start().plus(-4_000));
    sim
}

pub(super) fn lived_in_at(before: Time) -> Sim {
    let mut repository = Repository::default();
    repository.commit("main", files("users: {}\n", CALM));
    let sim = Sim::new(repository, SimHost::debian(), PVE1, before);
    sim.with(|it| {
        furnish(&mut it.hypervisor);
        it.trust = Some(signer::root(1, &["opal", "olga"]));
    });
    settle_from(&sim, before);
    sim
}

/// A clock that jumped is doubted for an hour, and no release runs meanwhile.
pub(super) fn believe_the_clock(sim: &Sim, now: Time) {
    for seconds in [0, 1_900, 3_800] {
        let _ = sim.cycle(&of_pve1(), now.plus(seconds)).expect("a cycle");
    }
}

/// The same once the file asks for something else.
pub(super) fn asked(sim: &Sim, guests: &str) -> Sim {
    let sim = sim.fork();
    sim.with(|it| it.repository.commit("main", files("users: {}\n", guests)));
    sim
}

/// A guest was set aside twenty days ago.
pub(super) fn set_aside() -> Sim {
    let before = start().plus(-20 * DAY);
    let sim = asked(&lived_in_at(before), MOVED);
    release(&sim, before);
    settle_from(&sim, before);
    believe_the_clock(&sim, start().plus(-4_000));
    sim
}

/// A guest that the hypervisor is to make.
pub(super) const MADE: &str = "guests:\n  104: {run: running}\n  300: {run: running, cores: 2, memory: 1GiB, tags: [shop], create: {template: debian-13, storage: local-lvm}}\n  web: {run: stopped}\n";

/// The turning points of guests' lives, each as a world in which the next cycle has that to do.
pub(super) fn turning_points() -> Vec<(&'static str, Sim)> {
    let with = |guests: &str| asked(&lived_in(), guests);
    let starting = with(&CALM.replace("stopped", "running"));
    let moving = with(MOVED);
    let describing = with(
        "guests:\n  104: {run: running, cores: 2, memory: 1GiB, description: \"a\\nb\\n\", tags: [shop], onboot: true}\n",
    );
    let creating = with(MADE);

    // What makes the guest breaks off: what is left is discarded, and it is made anew.
    let breaking = with(MADE);
    breaking.with(|it| it.hypervisor.breaks_off = true);

    let destroying = with(ENDS);
    release(&destroying, start());

    let overwriting = with("guests:\n  104: {run: running, overwrite: {backup: older}}\n");
    overwriting.with(|it| {
        let older = it.hypervisor.guests["web"].clone();
        it.hypervisor.backups.insert("older".to_owned(), older);
    });
    release(&overwriting, start());

    let restoring = asked(&set_aside(), "guests:\n  old: {run: running}\n");
    let purging = set_aside();
    release(&purging, start());

    // Nothing of it is adopted.
    let refused = with("guests: 7\n");

    let proposing = lived_in();
    proposing.with(|it| it.repository.commit("move", files("users: {}\n", MOVED)));
    vec![
        ("starting", starting),
        ("moving", moving),
        ("describing", describing),
        ("creating", creating),
        ("breaking", breaking),
        ("destroying", destroying),
        ("overwriting", overwriting),
        ("restoring", restoring),
        ("purging", purging),
        ("refused", refused),
        ("proposing", proposing),
    ]
}

/// One more cycle, after which what it held is released.
pub(super) fn release(sim: &Sim, now: Time) {
    let summary = sim.cycle(&of_pve1(), now).expect("a cycle");
    let steps = pending(&summary);
    assert_ne!(steps, [], "{summary:?}");
    let commit = sim.facts().adopted;
    let nonce = u8::try_from(sim.facts().claims.len() + 1).expect("few releases");
    let statement = signer::statement_on(&[(PVE1, &steps)], &commit, nonce, now);
    for name in ["opal", "olga"] {
        let (tag, raw) = Signer::named(name).release(&statement);
        sim.with(|it| it.repository.push_tag(&tag, ObjectKind::Tag, raw));
    }
}

/// Runs cycles until one is quiet and nothing waits for its next try; the one after it changes nothing.
pub(super) fn settle(sim: &Sim) {
    settle_from(sim, start());
}

pub(super) fn settle_from(sim: &Sim, now: Time) {
    for tries in 0..16 {
        let cycle = sim.cycle(&of_pve1(), now.plus(tries * 240));
        let waits = |it: &CycleSummary| {
            let codes = ["retry", "precondition"];
            it.held.iter().any(|it| codes.contains(&it.reason.code()))
        };
        if cycle.is_ok_and(|it| it.is_quiet() && !waits(&it)) {
            let before =
                sim.with(|it| (it.hypervisor.clone(), it.journal.clone(), it.ledger.clone()));
            let again = sim.cycle(&of_pve1(), now.plus(tries * 240));
            assert!(again.expect("a cycle").is_quiet());
            let after =
                sim.with(|it| (it.hypervisor.clone(), it.journal.clone(), it.ledger.clone()));
            assert!(
                before == after,
                "a cycle with nothing to do changed something"
            );
            return;
        }
    }
    let last = sim.cycle(&of_pve1(), now.plus(4_000)).map(|it| it.held);
    panic!("it does not come to rest: {last:?}");
}

/// Whether an effect may happen only once, whatever happens in between: what is about a guest of a trial, a write of the same values
/// and a try that the hypervisor broke off can happen again.
pub(super) fn is_once(effect: &str) -> bool {
    ![
        "9000",
        "9001",
        "9002",
        "standing",
        " 300",
        "cores",
        "memory",
        "tags",
        "onboot",
        "description",
    ]
    .iter()
    .any(|it| effect.contains(it))
}

/// How it ended, apart from how often it was told so.
#[derive(Debug, PartialEq)]
struct End {
    guests: BTreeMap<String, Guest>,
    backups: BTreeSet<String>,
    did: Vec<String>,
    adopted: CommitId,
    attempted: Option<CommitId>,
    held: usize,
    finished: Vec<bool>,
}

fn outcome(sim: &Sim) -> End {
    let facts = sim.facts();
    let held = sim
        .cycle(&of_pve1(), start().plus(7_200))
        .expect("a cycle")
        .held;
    let finished = facts.claims.values().map(|it| it.finished);
    sim.with(|it| {
        let mut did = it.hypervisor.did.clone();
        did.retain(|it| is_once(it));
        did.sort();
        End {
            guests: it.hypervisor.guests.clone(),
            backups: it.hypervisor.backups.keys().cloned().collect(),
            did,
            adopted: facts.adopted,
            attempted: facts.attempted.map(|it| it.commit),
            held: held.len(),
            finished: finished.collect(),
        }
    })
}

/// Nothing in doubt, nothing done twice, nothing done without an intent before it.
pub(super) fn assert_sound(sim: &Sim, what: &str) {
    let memory = sim.boot();
    assert_eq!(memory.replayed.open, None, "{what}: a batch in doubt");
    assert!(memory.facts().needs_operator.is_empty(), "{what}");
    sim.with(|it| {
        oracle::released(it, &of_pve1()).unwrap_or_else(|why| panic!("{what}: {why}"));
        let mut did = it.hypervisor.did.clone();
        did.retain(|it| is_once(it));
        let twice = (1..did.len()).find(|at| did[..*at].contains(&did[*at]));
        assert_eq!(twice.map(|at| &did[at]), None, "{what}: done twice");
        let mut open = Vec::new();
        let mut done = BTreeSet::new();
        for entry in &it.journal {
            match entry {
                Entry::Intended { steps, .. } => open.clone_from(steps),
                Entry::Outcome { results, .. } => {
                    for (step, result) in open.drain(..).zip(results) {
                        let again = *result == StepResult::Done && !done.insert(step.id);
                        assert!(!again, "{what}: {} is done twice", step.words());
                    }
                }
                _ => {}
            }
        }
    });
}

pub(super) fn blow_at(sim: &Sim, at: usize, timing: Timing) {
    sim.with(|it| {
        it.fuse = Fuse {
            effects: 0,
            blow: Some((at, timing)),
        }
    });
}

/// Each world in which the power went out in a cycle of `fresh`, and where.
pub(super) fn crashed(fresh: &Sim, timings: &[Timing]) -> Vec<(String, Sim)> {
    let mut worlds = Vec::new();
    for timing in timings.iter().copied() {
        for at in 0.. {
            let sim = fresh.fork();
            blow_at(&sim, at, timing);
            let survived = sim
                .cycle(&of_pve1(), start())
                .is_ok_and(|it| it.warnings.is_empty());
            let effects = sim.with(|it| it.fuse.effects);
            sim.with(|it| it.fuse = Fuse::default());
            if survived && effects <= at {
                break;
            }
            worlds.push((format!("{timing:?} effect {at}"), sim));
        }
    }
    worlds
}

/// However the power goes out once and once more, it ends as if it had not.
pub(super) fn ends_the_same(point: &str) {
    let points = turning_points();
    let (name, fresh) = points.iter().find(|it| it.0 == point).expect(point);
    let mut points = 0;
    let calm = fresh.fork();
    settle(&calm);
    assert_sound(&calm, name);
    let expected = outcome(&calm);
    for (first, once) in crashed(fresh, &[Timing::Before, Timing::After]) {
        points += 1;
        let sim = once.fork();
        settle(&sim);
        let what = format!("{name}, {first}");
        assert_sound(&sim, &what);
        assert_eq!(outcome(&sim), expected, "{what}");
        if first.starts_with("Before") {
            continue;
        }
        // Before an effect is after the one before it.
        for (second, sim) in crashed(&once, &[Timing::After]) {
            points += 1;
            settle(&sim);
            let what = format!("{what}, then {second}");
            assert_sound(&sim, &what);
            assert_eq!(outcome(&sim), expected, "{what}");
        }
    }
    let least = match *name {
        "refused" | "proposing" => 2,
        _ => 40,
    };
    assert!(points >= least, "effects got lost: {points}");
}

/// A crash at every effect, and at every pair of them, of each turning point (H16): one test for each, so that they run side by side.
macro_rules! a_crash_at_any_effect_changes_nothing_about_the_end_of {
    ($($point:ident)*) => {$(
        #[test]
        fn $point() {
            ends_the_same(stringify!($point));
        }
    )*
        /// Each turning point has its test.
        #[test]
        fn all_turning_points() {
            let points = turning_points();
            let names: Vec<&str> = points.iter().map(|it| it.0).collect();
            assert_eq!(names, [$(stringify!($point)),*]);
        }
    };
}

mod a_crash_at_any_effect_changes_nothing_about_the_end_of_guests {
    use super::{ends_the_same, turning_points};

    a_crash_at_any_effect_changes_nothing_about_the_end_of! {
        starting moving describing creating breaking destroying overwriting restoring purging refused proposing
    }
}

#[test]
fn a_journal_that_cannot_be_written_lets_nothing_happen_to_guests() {
    for (name, fresh) in turning_points() {
        let before = fresh.with(|it| it.hypervisor.clone());
        blow_at(&fresh, 0, Timing::Before);
        let result = fresh.cycle(&of_pve1(), start());
        assert!(name == "proposing" || result.is_err(), "{name}: {result:?}");
        assert_eq!(fresh.with(|it| it.hypervisor.clone()), before, "{name}");
    }
}
