//! The power goes out at every effect, before and after it, once and twice: the world must end where it would have
//! ended anyway, with everything in the journal brought to an outcome.

use std::sync::LazyLock;

use muster::cycle::CycleSummary;
use muster_core::accounts::verbs::Verb;
use muster_core::commit::CommitId;
use muster_core::journal::{Entry, StepResult};
use muster_core::release::reset::Reset;
use muster_core::release::root::Role;
use muster_core::release::{Nonce, ObjectKind, rotation};
use muster_core::rooms::Policy;
use muster_core::time::Time;
use muster_core::world::Topic;
use muster_sim::{Fuse, Repository, Sim, SimHost, SimTraces, Timing};
use muster_tests::signer::{self, Signer};
use muster_tests::story::{self, noon, roster};
use muster_tests::{of_host, oracle};

const BOTH: &str = "users:
  ann: {authentik_user: a.nn, k8s_user: ann-k, tier: admin}
  emo: {authentik_user: e.mo, k8s_user: emo-k, tier: power-user}
";
static BOTH_ADMINS: LazyLock<String> = LazyLock::new(|| BOTH.replace("power-user", "admin"));
const ANN: &str = "users:\n  ann: {authentik_user: a.nn, k8s_user: ann-k, tier: admin}\n";

fn now() -> Time {
    noon("2026-11-22".parse().expect("a date"))
}

/// As in the stories, on a host that lets renames run.
fn policy() -> Policy {
    let mut policy = story::policy();
    let decided = of_host::decided(&mut policy);
    decided.declared_benign.insert(Verb::UserRename);
    policy
}

/// Two people are here, and both are logged in.
fn lived_in() -> Sim {
    let mut repository = Repository::default();
    repository.commit("main", roster(BOTH));
    let sim = Sim::new(repository, SimHost::debian(), "devvm", now());
    let _ = sim.cycle(&policy(), now()).expect("the first cycle");
    sim.with(|it| {
        for name in ["ann", "emo"] {
            let left = SimTraces {
                linger: true,
                keys: Some(format!("ssh-ed25519 {name}")),
                crontab: Some("@daily true".into()),
                processes: 2,
            };
            it.host.traces.insert(name.into(), left);
        }
    });
    sim
}

/// The turning points of a person's life, each as a world in which the next cycle has that to do.
fn turning_points() -> Vec<(&'static str, Sim)> {
    let mut empty = Repository::default();
    empty.commit("main", roster("users: {}\n"));
    let onboarding = Sim::new(empty, SimHost::debian(), "devvm", now());
    onboarding.with(|it| it.repository.commit("main", roster(BOTH)));

    let joining = lived_in();
    joining.with(|it| it.repository.commit("main", roster(&BOTH_ADMINS)));

    let parking = lived_in();
    let parked = BOTH.replace("power-user", "power-user, parked: true");
    parking.with(|it| it.repository.commit("main", roster(&parked)));

    let cutting = lived_in();
    cutting.with(|it| it.repository.commit("main", roster(ANN)));

    let returning = cutting.fork();
    let _ = returning.cycle(&policy(), now()).expect("the cut");
    returning.with(|it| it.repository.commit("main", roster(BOTH)));

    let disabling = lived_in();
    let disabled = BOTH.replace("power-user", "power-user, disabled: true");
    disabling.with(|it| it.repository.commit("main", roster(&disabled)));

    let enabling = disabling.fork();
    let _ = enabling.cycle(&policy(), now()).expect("the login is shut");
    enabling.with(|it| it.repository.commit("main", roster(BOTH)));

    let expiring = lived_in();
    let expired = BOTH.replace("power-user", "power-user, expires: 2026-11-21");
    expiring.with(|it| it.repository.commit("main", roster(&expired)));

    // Somebody who is kept out gets another name, and somebody who was cut is back to be kept out.
    let kept_out = enabling.fork();
    let renamed = disabled.replace("emo: {", "emil: {previously: emo, ");
    kept_out.with(|it| it.repository.commit("main", roster(&renamed)));

    let back_shut = cutting.fork();
    let _ = back_shut.cycle(&policy(), now()).expect("the cut");
    back_shut.with(|it| it.repository.commit("main", roster(&disabled)));

    let proposing = lived_in();
    proposing.with(|it| it.repository.commit("withdrawn", roster(ANN)));
    let _ = proposing.cycle(&policy(), now()).expect("a proposal told");
    proposing.with(|it| {
        it.repository.delete("withdrawn");
        for (branch, text) in [
            ("admins", BOTH_ADMINS.as_str()),
            ("away", ANN),
            ("empty", "users: {}\n"),
            ("invalid", "users: {Ann: 1}\n"),
            ("parked", &BOTH.replace("admin", "admin, parked: true")),
            ("unfinished", "users:\n  ann: {\n"),
        ] {
            it.repository.commit(branch, roster(text));
        }
    });

    let renaming = lived_in();
    let renamed = BOTH.replace("emo: {", "emil: {previously: emo, ");
    renaming.with(|it| it.repository.commit("main", roster(&renamed)));

    let releasing = released(lived_in(), &["opal", "olga"], |kind| {
        kind != Verb::UserArchiveDelete
    });

    let cut = lived_in();
    cut.with(|it| it.repository.commit("main", roster(ANN)));
    let archiving = released(cut, &["opal"], |kind| kind == Verb::UserArchiveDelete);

    let restoring = archiving.fork();
    settle(&restoring);
    restoring.with(|it| it.repository.commit("main", roster(BOTH)));

    // Whoever signed the release is trusted by both roots.
    let cut = lived_in();
    cut.with(|it| it.repository.commit("main", roster(ANN)));
    let rotating = released(cut, &["olga"], |kind| kind == Verb::UserArchiveDelete);
    rotate(&rotating, &["opal", "olga"]);

    let resetting = lived_in();
    resetting.with(|it| {
        it.trust = Some(signer::root(1, &["opal"]));
        it.repository.force_push("main", roster(ANN));
    });
    let _ = resetting.cycle(&policy(), now()).expect("a freeze");
    reset(&resetting);

    vec![
        ("releasing", releasing),
        ("archiving", archiving),
        ("restoring", restoring),
        ("rotating", rotating),
        ("resetting", resetting),
        ("renaming", renaming),
        ("onboarding", onboarding),
        ("joining", joining),
        ("parking", parking),
        ("cutting", cutting),
        ("returning", returning),
        ("disabling", disabling),
        ("enabling", enabling),
        ("expiring", expiring),
        ("renaming who is kept out", kept_out),
        ("coming back to be kept out", back_shut),
        ("proposing", proposing),
    ]
}

/// One more cycle, after which these people release what it held of these kinds.
fn released(sim: Sim, who: &[&str], wanted: impl Fn(Verb) -> bool) -> Sim {
    sim.with(|it| it.trust = Some(signer::root(1, &["opal", "olga"])));
    let held = sim.cycle(&policy(), now()).expect("a cycle").held;
    let steps: Vec<_> = held
        .into_iter()
        .map(|it| it.step)
        .filter(|it| wanted(of_host::verb(it)))
        .collect();
    let statement = signer::statement(&steps, &sim.facts().adopted, 1, now());
    for name in who {
        let (name, raw) = Signer::named(name).release(&statement);
        sim.with(|it| it.repository.push_tag(&name, ObjectKind::Tag, raw));
    }
    sim
}

/// Version 2 of the trust root, in which eve signs instead of opal, signed by these people and by her.
fn rotate(sim: &Sim, who: &[&str]) {
    let mut next = signer::root(2, &["olga", "eve"]);
    let opal = Signer::named("opal").trusted("opal", Role::Operational);
    next.revoked = [opal.key.fingerprint()].into();
    let text = next.render();
    for name in who.iter().chain(&["eve"]) {
        let signer = Signer::named(name);
        let tag = rotation::tag_name(text.as_bytes(), 2, &signer.blob);
        let raw = signer.tag(&sim.facts().adopted, &tag, &text, now());
        sim.with(|it| it.repository.push_tag(&tag, ObjectKind::Tag, raw));
    }
}

/// Leave to follow main, whatever it descends from.
fn reset(sim: &Sim) {
    let reset = Reset {
        repo: signer::REPO,
        old: sim.facts().adopted,
        new: sim.with(|it| it.repository.head()).expect("main"),
        nonce: Nonce([9; 16]),
        not_before: now(),
        not_after: now().plus(86_400),
        reason: "a rewrite".into(),
    };
    let ivo = Signer::named("ivo");
    let name = reset.tag_name(&ivo.blob);
    let raw = ivo.tag(&reset.new, &name, &reset.render(), now());
    sim.with(|it| it.repository.push_tag(&name, ObjectKind::Tag, raw));
}

/// Runs cycles until one is quiet and nothing waits for its next try, as a supervisor would that starts the process
/// again.
fn settle(sim: &Sim) {
    for tries in 0..8 {
        let cycle = sim.cycle(&policy(), now().plus(tries * 240));
        let retries = |it: &CycleSummary| it.held.iter().any(|it| it.reason.code() == "retry");
        if cycle.is_ok_and(|it| it.is_quiet() && !retries(&it)) {
            return;
        }
    }
    panic!("it does not come to rest");
}

/// How the world is, apart from how often it was told so.
fn outcome(sim: &Sim) -> (SimHost, String, usize, Vec<CommitId>) {
    let facts = sim.facts();
    let held = sim
        .cycle(&policy(), now().plus(3_600))
        .expect("a quiet cycle")
        .held
        .len();
    sim.with(|it| {
        let mut host = it.host.clone();
        // A save that nothing waits for any more is not state.
        host.saved
            .retain(|_, saved| saved.login.is_some() || !saved.traces.is_empty());
        host.units.retain(|_, unit| unit.enabled || unit.active);
        let mut people: Vec<String> = facts
            .known
            .accounts()
            .people
            .iter()
            .map(|(user, person)| {
                let mut person = person.clone();
                person.since = now();
                format!("{user}: {person:?}")
            })
            .collect();
        people.push(format!(
            "{} by root {:?}, {:?}",
            facts.adopted,
            facts.trust.map(|it| it.version),
            it.trust.as_ref().map(|it| it.version)
        ));
        let plans = it.told.keys().filter(|(topic, _)| *topic == Topic::Plan);
        let planned = plans.map(|(_, head)| head.clone()).collect();
        (host, people.join("\n"), held, planned)
    })
}

/// Nothing in doubt, nothing that a person has to look at, and no step done twice.
fn assert_sound(sim: &Sim, what: &str) {
    let memory = sim.boot();
    assert_eq!(memory.replayed.open, None, "{what}: a batch in doubt");
    assert!(
        memory.facts().needs_operator.is_empty(),
        "{what}: {:?}",
        memory.facts().needs_operator
    );
    sim.with(|it| {
        oracle::released(it, &policy()).unwrap_or_else(|why| panic!("{what}: {why}"));
        let mut open: Option<Vec<String>> = None;
        let mut done = std::collections::BTreeMap::<String, usize>::new();
        for entry in &it.journal {
            match entry {
                Entry::Intended { steps, .. } => {
                    open = Some(steps.iter().map(|step| step.id.to_string()).collect())
                }
                Entry::Outcome { results, .. } => {
                    for (id, result) in open
                        .take()
                        .expect("an intent before each outcome")
                        .iter()
                        .zip(results)
                    {
                        *done.entry(id.clone()).or_default() +=
                            usize::from(*result == StepResult::Done);
                    }
                }
                _ => {}
            }
        }
        let recreated = done.iter().filter(|(_, times)| **times > 2).count();
        assert_eq!(recreated, 0, "{what}: a step was done again and again");
    });
}

fn blow_at(sim: &Sim, at: usize, timing: Timing) {
    sim.with(|it| {
        it.fuse = Fuse {
            effects: 0,
            blow: Some((at, timing)),
        }
    });
}

fn mend(sim: &Sim) {
    sim.with(|it| it.fuse = Fuse::default());
}

#[test]
fn a_crash_at_any_effect_changes_nothing_about_the_end() {
    let mut points = 0;
    for (name, fresh) in turning_points() {
        let calm = fresh.fork();
        settle(&calm);
        let expected = outcome(&calm);
        for timing in [Timing::Before, Timing::After] {
            for at in 0.. {
                let sim = fresh.fork();
                blow_at(&sim, at, timing);
                let survived = sim
                    .cycle(&policy(), now())
                    .is_ok_and(|it| it.warnings.is_empty());
                let effects = sim.with(|it| it.fuse.effects);
                mend(&sim);
                if survived && effects <= at {
                    break;
                }
                points += 1;
                let what = format!("{name}, {timing:?} effect {at}");
                settle(&sim);
                assert_sound(&sim, &what);
                assert_eq!(outcome(&sim), expected, "{what}");
            }
        }
    }
    assert!(points > 150, "effects got lost: {points}");
}

/// At this turning point, a crash during the recovery from a crash changes nothing about the end either. A test for each
/// turning point, since there are hundreds of pairs in each.
fn crash_twice(point: &str) {
    let mut pairs = 0;
    let points = turning_points().into_iter();
    for (name, fresh) in points.filter(|(name, _)| *name == point) {
        let calm = fresh.fork();
        settle(&calm);
        let expected = outcome(&calm);
        for first in 0.. {
            let crashed = fresh.fork();
            blow_at(&crashed, first, Timing::After);
            let survived = crashed
                .cycle(&policy(), now())
                .is_ok_and(|it| it.warnings.is_empty());
            let effects = crashed.with(|it| it.fuse.effects);
            mend(&crashed);
            if survived && effects <= first {
                break;
            }
            for timing in [Timing::Before, Timing::After] {
                for second in 0.. {
                    let sim = crashed.fork();
                    blow_at(&sim, second, timing);
                    let survived = sim
                        .cycle(&policy(), now())
                        .is_ok_and(|it| it.warnings.is_empty());
                    let effects = sim.with(|it| it.fuse.effects);
                    mend(&sim);
                    if survived && effects <= second {
                        break;
                    }
                    pairs += 1;
                    let what =
                        format!("{name}, after effect {first}, then {timing:?} effect {second}");
                    settle(&sim);
                    assert_sound(&sim, &what);
                    assert_eq!(outcome(&sim), expected, "{what}");
                }
            }
        }
    }
    assert!(pairs > 20, "effects got lost: {pairs}");
}

#[test]
fn crashing_twice_while_releasing() {
    crash_twice("releasing");
}

#[test]
fn crashing_twice_while_archiving() {
    crash_twice("archiving");
}

#[test]
fn crashing_twice_while_restoring() {
    crash_twice("restoring");
}

#[test]
fn crashing_twice_while_disabling() {
    crash_twice("disabling");
}

#[test]
fn crashing_twice_while_enabling() {
    crash_twice("enabling");
}

#[test]
fn crashing_twice_while_rotating() {
    crash_twice("rotating");
}

#[test]
fn crashing_twice_while_resetting() {
    crash_twice("resetting");
}

type Meanwhile = (&'static str, fn(&Sim));

/// What can happen between a crash and the next start, so that a release no longer counts.
const MEANWHILE: [Meanwhile; 5] = [
    ("the tag was deleted", |sim| {
        sim.with(|it| it.repository.delete_tags());
    }),
    ("the clock was set back", |sim| {
        sim.with(|it| it.set_back = 7_200);
    }),
    ("the key was dropped", |sim| {
        sim.with(|it| it.trust = Some(signer::root(2, &["olga"])));
    }),
    ("the origin does not answer for a while", |sim| {
        sim.with(|it| it.origin_is_down = true);
    }),
    ("the row is back", |sim| {
        sim.with(|it| it.repository.commit("main", roster(BOTH)));
    }),
];

/// A removal that was begun is brought to its end or undone, and one that was not begun never begins: no home is ever in
/// neither place, and the release is used up.
#[test]
fn a_release_that_ends_while_the_power_is_out_leaves_nothing_half() {
    let points = turning_points().into_iter();
    let (_, fresh) = points
        .clone()
        .find(|(name, _)| *name == "archiving")
        .expect("a removal");
    let mut ends = std::collections::BTreeSet::new();
    for (situation, happens) in MEANWHILE {
        for timing in [Timing::Before, Timing::After] {
            for at in 0.. {
                let sim = fresh.fork();
                blow_at(&sim, at, timing);
                let survived = sim.cycle(&policy(), now()).is_ok();
                let effects = sim.with(|it| it.fuse.effects);
                mend(&sim);
                if survived && effects <= at {
                    break;
                }
                let what = format!("{timing:?} effect {at}, then {situation}");
                happens(&sim);
                for tries in 0..4 {
                    let _ = sim.cycle(&policy(), now().plus(tries * 240));
                }
                sim.with(|it| {
                    it.set_back = 0;
                    it.origin_is_down = false;
                });
                settle(&sim);
                assert_sound(&sim, &what);
                let facts = sim.facts();
                sim.with(|it| {
                    let whole = it.host.accounts.contains_key("emo")
                        && it.host.homes.contains_key("/home/emo")
                        && it.host.quarantine.is_empty();
                    let gone = !it.host.accounts.contains_key("emo")
                        && !it.host.homes.contains_key("/home/emo")
                        && !it.host.archives.is_empty()
                        && !it.host.quarantine.is_empty();
                    assert!(whole != gone, "{what}: {:?}", it.host);
                    let open = facts.claims.values().any(|claim| !claim.finished);
                    assert!(!open, "{what}: {:?}", facts.claims);
                    ends.insert((situation, whole));
                });
            }
        }
    }
    let whole = ends.iter().filter(|(_, whole)| *whole).count();
    assert!(whole >= 3 && ends.len() - whole >= 3, "{ends:?}");
}

/// A claim of which nothing has begun, and an origin that does not answer when the power is back: what waits cannot be
/// checked again, so it neither runs nor ends, until it can be or its time is over.
#[test]
fn what_waits_of_a_claim_waits_for_the_origin_and_not_longer_than_it_holds() {
    let points = turning_points().into_iter();
    let (_, fresh) = points
        .clone()
        .find(|(name, _)| *name == "archiving")
        .expect("a removal");
    let claimed = (0..)
        .find_map(|at| {
            let sim = fresh.fork();
            blow_at(&sim, at, Timing::After);
            let survived = sim.cycle(&policy(), now()).is_ok();
            mend(&sim);
            assert!(!survived, "no crash leaves a claim with nothing begun");
            let is_waiting = sim.facts().claims.values().any(|it| it.is_waiting());
            is_waiting.then_some(sim)
        })
        .expect("a claim");
    claimed.with(|it| it.origin_is_down = true);
    for minutes in 1..4 {
        let summary = claimed
            .cycle(&policy(), now().plus(minutes * 600))
            .expect("a cycle");
        assert!(summary.ran.is_empty(), "{:?}", summary.ran);
        let facts = claimed.facts();
        assert!(facts.claims.values().all(|it| it.is_waiting()), "{facts:?}");
    }
    let ends = |what: &str, after: i64, happens: &dyn Fn(&Sim)| {
        let sim = claimed.fork();
        happens(&sim);
        let summary = sim.cycle(&policy(), now().plus(after)).expect("a cycle");
        let facts = sim.facts();
        let finished = facts.claims.values().all(|it| it.finished);
        assert!(finished && facts.claims.len() == 1, "{what}: {facts:?}");
        let removed = summary
            .ran
            .iter()
            .any(|(step, _)| of_host::verb(step) == Verb::UserArchiveDelete);
        settle(&sim);
        assert_sound(&sim, what);
        assert_eq!(
            sim.with(|it| it.host.accounts.contains_key("emo")),
            !removed,
            "{what}"
        );
        removed
    };
    let answers = |sim: &Sim| sim.with(|it| it.origin_is_down = false);
    assert!(ends("the origin answers", 3_600, &answers));
    assert!(!ends("its time is over", 3 * 86_400 + 1, &|_| {}));
    assert!(!ends(
        "its time is over, and the origin answers",
        3 * 86_400 + 1,
        &answers
    ));
    assert!(!ends(
        "the tag is gone when the origin answers",
        3_600,
        &|sim| {
            answers(sim);
            sim.with(|it| it.repository.delete_tags());
        }
    ));
}

#[test]
fn crashing_twice_while_renaming() {
    crash_twice("renaming");
}

#[test]
fn crashing_twice_while_onboarding() {
    crash_twice("onboarding");
}

#[test]
fn crashing_twice_while_joining_a_group() {
    crash_twice("joining");
}

#[test]
fn crashing_twice_while_proposing() {
    crash_twice("proposing");
}

#[test]
fn crashing_twice_while_parking() {
    crash_twice("parking");
}

#[test]
fn crashing_twice_while_cutting() {
    crash_twice("cutting");
}

#[test]
fn crashing_twice_while_returning() {
    crash_twice("returning");
}

/// The power goes out while emo joins a group, and before it is back nobody asks for that any more: of what was begun
/// nothing stays.
#[test]
fn a_membership_that_was_begun_is_taken_back_when_it_is_no_longer_asked_for() {
    let asked = lived_in();
    let calm = outcome(&asked).0;
    asked.with(|it| it.repository.commit("main", roster(&BOTH_ADMINS)));
    let mut halves = 0;
    for timing in [Timing::Before, Timing::After] {
        for at in 0.. {
            let sim = asked.fork();
            blow_at(&sim, at, timing);
            let survived = sim.cycle(&policy(), now()).is_ok();
            let effects = sim.with(|it| it.fuse.effects);
            mend(&sim);
            if survived && effects <= at {
                break;
            }
            halves += usize::from(sim.with(|it| !it.host.half.is_empty()));
            sim.with(|it| it.repository.commit("main", roster(BOTH)));
            settle(&sim);
            let host = outcome(&sim).0;
            assert_eq!(host.groups, calm.groups, "{timing:?} effect {at}");
            assert_eq!(host.half, calm.half, "{timing:?} effect {at}");
        }
    }
    assert!(halves > 0, "no crash came between group and gshadow");
}

/// Somebody edited one of the two files by hand.
#[test]
fn half_a_membership_is_made_whole_if_it_is_asked_for_and_left_alone_if_not() {
    let sim = lived_in();
    sim.with(|it| {
        let by_hand = ["code-shared", "by-hand"].map(str::to_owned);
        it.host
            .groups
            .insert("by-hand".into(), (990, ["emo".to_owned()].into()));
        let members = &mut it.host.groups.get_mut("code-shared").expect("a group").1;
        members.insert("emo".into());
        it.host.half = by_hand
            .map(|group| (group, ["emo".into(), "ann".into()].into()))
            .into();
    });
    settle(&sim);
    let halves = |group: &str| {
        let group = group.to_owned();
        sim.with(move |it| it.host.half.get(&group).cloned().unwrap_or_default())
    };
    assert!(
        !halves("code-shared").contains("ann"),
        "ann's row asks for it"
    );
    assert!(halves("code-shared").contains("emo"), "emo's does not");
    assert!(halves("by-hand").contains("emo"), "nobody's does");
    assert_sound(&sim, "halves");
}

#[test]
fn every_effect_on_the_host_has_an_intent_before_it_and_an_outcome_after_it() {
    for (name, sim) in turning_points() {
        settle(&sim);
        sim.with(|it| {
            let intended: Vec<Vec<String>> = it
                .journal
                .iter()
                .filter_map(|entry| match entry {
                    Entry::Intended { steps, .. } => {
                        Some(steps.iter().map(|step| step.id.to_string()).collect())
                    }
                    _ => None,
                })
                .collect();
            assert_eq!(intended, it.acted, "{name}");
        });
    }
}

#[test]
fn a_journal_that_cannot_be_written_lets_nothing_happen() {
    for (name, fresh) in turning_points() {
        let sim = fresh.fork();
        let before = sim.with(|it| it.host.clone());
        // The first effect of a cycle with something to do is always a record.
        blow_at(&sim, 0, Timing::Before);
        let result = sim.cycle(&policy(), now());
        let after = sim.with(|it| it.host.clone());
        assert_eq!(before, after, "{name}");
        // A proposal is only told, and a root is replaced before it is recorded.
        let told = ["proposing", "rotating"].contains(&name);
        assert!(told || result.is_err(), "{name}: {result:?}");
    }
}
