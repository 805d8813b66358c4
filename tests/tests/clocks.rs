//! A clock that jumps by a year, forward or back, at every point of a release, a suspension, an expiry and a period of grace
//! (F18), over the simulated host.

use std::sync::Arc;

use muster::cycle::CycleSummary;
use muster_core::clock::{Accepted, Jump, TimeService};
use muster_core::journal::Entry;
use muster_core::people::Stage;
use muster_core::release::{Code, ObjectKind};
use muster_core::rooms::Policy;
use muster_core::step::Step;
use muster_core::time::Time;
use muster_sim::{Repository, Sim, SimHost};
use muster_tests::of_host;
use muster_tests::signer::{self, Signer};
use muster_tests::story::{self, noon, roster};

const HOUR: i64 = 3_600;
const DAY: i64 = 24 * HOUR;
const YEAR: i64 = 365 * DAY;

const TEAM: &str = "users:
  ann: {authentik_user: a.nn, k8s_user: ann-k, tier: admin}
  bea: {authentik_user: b.ea, k8s_user: bea-k, tier: power-user, expires: 2026-11-24}
  cho: {authentik_user: c.ho, k8s_user: cho-k, tier: power-user}
";
const LEAVER: &str = "  emo: {authentik_user: e.mo, k8s_user: emo-k, tier: power-user}\n";
const NEWCOMER: &str = "  dov: {authentik_user: d.ov, k8s_user: dov-k, tier: power-user}\n";

/// What happens before a cycle.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Act {
    Nothing,
    EmoLeaves,
    Release(&'static str, &'static str),
    Suspend(i64),
    DovComes,
}

/// Weeks of a host: the hour of each cycle, and what happens before it.
const STORY: [(i64, Act); 14] = [
    (0, Act::Nothing),
    (1, Act::EmoLeaves),
    (2, Act::Release("user.archive_delete", "emo")),
    (3, Act::Nothing),
    (4, Act::Suspend(8)),
    (5, Act::DovComes),
    (11, Act::Nothing),
    (13, Act::Nothing),
    // The 25th: bea's row has expired.
    (61, Act::Nothing),
    (62, Act::Nothing),
    (38 * 24, Act::Nothing),
    // The period of grace is over.
    (45 * 24, Act::Nothing),
    (45 * 24 + 1, Act::Release("user.purge", "emo")),
    (45 * 24 + 2, Act::Nothing),
];

struct World {
    sim: Sim,
    policy: Policy,
    begin: Time,
    now: Time,
    held: Vec<Arc<Step>>,
    nonce: u8,
    /// What the last cycle told.
    last: CycleSummary,
}

impl World {
    fn new() -> Self {
        let begin = noon("2026-11-22".parse().expect("a date"));
        let mut repository = Repository::default();
        repository.commit("main", roster(&(TEAM.to_owned() + LEAVER)));
        let sim = Sim::new(repository, SimHost::debian(), "devvm", begin);
        sim.with(|it| it.trust = Some(signer::root(1, &["opal", "olga"])));
        Self {
            sim,
            policy: story::policy(),
            begin,
            now: begin,
            held: Vec::new(),
            nonce: 0,
            last: CycleSummary::default(),
        }
    }

    fn cycle(&mut self) -> &CycleSummary {
        let summary = self.sim.cycle(&self.policy, self.now).expect("a cycle");
        self.held = summary.held.iter().map(|it| it.step.clone()).collect();
        self.last = summary;
        &self.last
    }

    fn act(&mut self, act: Act) {
        let commit = |text: &str| {
            let files = roster(&(TEAM.to_owned() + text));
            self.sim.with(|it| it.repository.commit("main", files));
        };
        match act {
            Act::Nothing => {}
            Act::EmoLeaves => commit(""),
            Act::DovComes => commit(NEWCOMER),
            Act::Release(verb, user) => self.release(verb, user),
            Act::Suspend(hours) => {
                let mut memory = self.sim.boot();
                let reading = self.sim.reading(self.now);
                let at = memory.hear(&reading, &mut || TimeService::Silent).now;
                let entry = Entry::Suspended {
                    at,
                    who: "root".into(),
                    reason: "a disk is changed".into(),
                    until: Some(at.plus(hours * HOUR)),
                };
                self.sim.with(|it| it.journal.push(entry));
            }
        }
    }

    /// Signs and pushes what releases the step of this verb and person, from now on for a day, by a clock that is right.
    fn release(&mut self, verb: &str, user: &str) {
        let wanted = |it: &&Arc<Step>| of_host::verb(it).word() == verb && it.resource() == user;
        let step = self.held.iter().find(wanted);
        let step = step.unwrap_or_else(|| panic!("{verb} {user} is not held: {:?}", self.held));
        self.nonce += 1;
        let adopted = self.sim.facts().adopted;
        let statement = signer::statement(&[Arc::clone(step)], &adopted, self.nonce, self.now);
        for who in ["opal", "olga"] {
            let (name, raw) = Signer::named(who).release(&statement);
            self.sim
                .with(|it| it.repository.push_tag(&name, ObjectKind::Tag, raw));
        }
    }

    /// The clock is wrong by so many seconds, for so many cycles of ten minutes.
    fn goes_wrong(&mut self, ahead: i64, cycles: i64) {
        self.sim.with(|it| it.set_back = -ahead);
        for _ in 0..cycles {
            self.cycle();
            assert!(self.last.clock.is_some(), "it is told");
            self.now = self.now.plus(600);
        }
        self.sim.with(|it| it.set_back = 0);
    }

    fn stage(&self, user: &str) -> Option<Stage> {
        let facts = self.sim.facts();
        facts.known.accounts().people.get(user).map(|it| it.stage)
    }

    fn exists(&self, user: &str) -> bool {
        self.sim.with(|it| it.host.accounts.contains_key(user))
    }

    /// Plays the story; before the cycle with this number, what happens is given.
    fn play(disturb: impl Fn(usize, &mut Self)) -> Self {
        let mut world = Self::new();
        for (number, (hours, act)) in STORY.into_iter().enumerate() {
            world.now = world.begin.plus(hours * HOUR);
            world.act(act);
            disturb(number, &mut world);
            world.cycle();
            let what = format!("cycle {number}, {act:?}");
            assert_eq!(world.last.clock, None, "{what}");
            assert!(world.sim.facts().latest <= world.now, "{what}");
            world.is_as_it_should_be(hours, &what);
        }
        // The last cycle changes nothing.
        world.cycle();
        assert!(world.last.is_quiet(), "{:?}", world.last);
        world
    }

    /// What is true after the cycle of an hour.
    fn is_as_it_should_be(&self, hours: i64, what: &str) {
        assert_eq!(
            self.exists("dov"),
            hours >= 13,
            "{what}: the suspension ends when its time is over"
        );
        assert_eq!(
            self.exists("emo"),
            hours < 2,
            "{what}: the release runs within its window"
        );
        let facts = self.sim.facts();
        assert_eq!(
            facts.suspended.is_some(),
            (4..13).contains(&hours),
            "{what}"
        );
        assert_eq!(self.stage("ann"), Some(Stage::Active), "{what}");
        let kept = self.sim.with(|it| it.host.quarantine.len());
        let purged = hours > 45 * 24;
        assert_eq!(
            kept,
            usize::from((2..=45 * 24).contains(&hours) && !purged),
            "{what}"
        );
        let waits = self
            .held
            .iter()
            .any(|it| of_host::verb(it).word() == "user.purge");
        assert_eq!(waits, hours == 45 * 24, "{what}: the period of grace");
    }
}

#[test]
fn a_year_ahead_or_back_for_half_an_hour_changes_nothing_that_comes_after() {
    let calm = World::play(|_, _| {});
    let host = calm.sim.with(|it| format!("{:?}", it.host));
    // Seeded: which way, how far, and how long, at each point of the story.
    let mut random = 0x5eed_u64;
    let mut next = move |below: u64| {
        random = random
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        (random >> 33) % below
    };
    for point in 1..STORY.len() {
        for sign in [1, -1] {
            let days = i64::try_from(next(20 * 365)).unwrap() + 1;
            let ahead = sign * if next(2) == 0 { YEAR } else { days * DAY };
            let cycles = i64::try_from(next(3)).unwrap() + 1;
            let world = World::play(|number, world| {
                if number == point {
                    world.goes_wrong(ahead, cycles);
                }
            });
            let what = format!("{ahead} s for {cycles} cycles before cycle {point}");
            let after = world.sim.with(|it| format!("{:?}", it.host));
            assert_eq!(after, host, "{what}");
        }
    }
}

#[test]
fn a_release_waits_for_the_clock_and_is_not_used_up() {
    for ahead in [YEAR, -YEAR, 2 * DAY, -2 * DAY, HOUR / 2] {
        let mut world = World::new();
        world.cycle();
        world.act(Act::EmoLeaves);
        world.now = world.now.plus(HOUR);
        world.cycle();
        world.act(Act::Release("user.archive_delete", "emo"));
        world.goes_wrong(ahead, 2);
        assert!(world.exists("emo"), "{ahead}");
        let codes: Vec<Code> = world.sim.facts().refused.iter().map(|it| it.code).collect();
        assert_eq!(codes, [Code::Clock], "{ahead}: refused once, with its word");
        world.cycle();
        assert!(!world.exists("emo"), "{ahead}");
        assert!(world.sim.facts().refused.is_empty(), "{ahead}");
    }
}

/// Years ahead for so long that it is believed, and then the clock is right again.
fn poisoned() -> World {
    let mut world = World::new();
    world.cycle();
    world.act(Act::EmoLeaves);
    world.now = world.now.plus(HOUR);
    world.cycle();
    let before = world.sim.facts().latest;
    world.sim.with(|it| it.set_back = -YEAR);
    for _ in 0..8 {
        world.now = world.now.plus(600);
        world.cycle();
    }
    let facts = world.sim.facts();
    assert!(
        facts.latest >= before.plus(YEAR),
        "it held, and bea was shut out by it"
    );
    world.sim.with(|it| it.set_back = 0);
    world
}

/// What `muster clock accept` does.
fn accept(world: &World) {
    let latest = world.sim.facts().latest;
    let reading = world.sim.reading(world.now);
    let accepted = world.sim.with(|it| {
        let none = || -> Option<Jump> { None };
        it.clock.accept(latest, &reading, Time(0), none)
    });
    let Accepted { at } = accepted.expect("a jump was believed");
    let entry = Entry::ClockAccepted {
        at,
        who: "root".into(),
        reason: "the battery was changed".into(),
        latest,
    };
    world.sim.with(|it| it.journal.push(entry));
}

#[test]
fn after_a_person_set_the_floor_back_all_is_by_the_right_day() {
    let mut world = poisoned();
    // Before that, time goes on from the floor and no release runs.
    let held = world.cycle().clock;
    assert_eq!(held.map(|it| it.word()), Some("behind"));
    let cho = TEAM.lines().find(|it| it.starts_with("  cho:"));
    let without_cho = TEAM.replace(&format!("{}\n", cho.expect("a row")), "");
    world
        .sim
        .with(|it| it.repository.commit("main", roster(&without_cho)));
    world.cycle();
    assert_eq!(world.stage("cho"), Some(Stage::Cut));
    let floor = world.sim.facts().latest;
    world.act(Act::Release("user.archive_delete", "emo"));
    world.now = world.now.plus(HOUR);
    world.cycle();
    assert!(world.exists("emo"));

    accept(&world);
    world.cycle();
    assert_eq!(world.last.clock, None);
    assert!(!world.exists("emo"), "the release runs");
    let facts = world.sim.facts();
    assert!(facts.latest <= world.now && facts.latest < floor);
    assert!(facts.removals.iter().all(|it| it.at <= world.now));
    assert!(
        !facts.removals.is_empty(),
        "what was removed today still counts"
    );
    let people = &facts.known.accounts().people;
    assert!(
        people.values().all(|it| it.since <= world.now),
        "grace counts from now"
    );
    assert_eq!(
        world.stage("bea"),
        Some(Stage::Active),
        "bea's row has not expired yet"
    );

    // A suspension counts from here, and the purge waits its 40 days.
    world.act(Act::Suspend(2));
    world.now = world.now.plus(HOUR);
    world.cycle();
    assert!(world.last.suspended.is_some());
    world.now = world.now.plus(HOUR);
    world.cycle();
    assert!(world.last.suspended.is_none());
    let waits = |world: &World| {
        world
            .held
            .iter()
            .any(|it| of_host::verb(it).word() == "user.purge")
    };
    world.now = world.now.plus(38 * DAY);
    world
        .sim
        .with(|it| it.time_service = TimeService::Synchronised);
    world.cycle();
    assert!(!waits(&world));
    world.now = world.now.plus(3 * DAY);
    world.cycle();
    assert!(waits(&world));
    world.cycle();
    assert!(world.last.is_quiet());
}

#[test]
fn what_failed_is_tried_again_while_the_clock_is_behind_and_after_it() {
    for accepts in [false, true] {
        let mut world = poisoned();
        // A step that fails once: its next try is due in minutes, not in a year.
        world.sim.with(|it| {
            it.host
                .broken
                .insert("dov".to_owned(), "no room".to_owned())
        });
        world.act(Act::DovComes);
        world.cycle();
        assert!(!world.sim.facts().failures.is_empty(), "{:?}", world.last);
        if accepts {
            accept(&world);
        }
        world.sim.with(|it| it.host.broken.clear());
        world.now = world.now.plus(600);
        world.cycle();
        assert!(world.exists("dov"), "{accepts}");
    }
}

mod program {
    //! The real program, with a clock that is wrong.

    use std::process::Command;

    use muster_tests::site::{ANN, ANN_AND_BOB, Ran, Site, hermetic, needs, program, wait_until};
    use serde_json::Value;

    /// Runs it with its clock so far off; the seconds since boot are what they are.
    fn at(site: &Site, offset: &str, args: &[&str]) -> Ran {
        let plain = site.command(args);
        let mut command: Command = hermetic("faketime");
        command.args(["-f", offset]).arg(program());
        command.args(plain.get_args());
        for (name, value) in plain.get_envs() {
            if let Some(value) = value {
                command.env(name, value);
            }
        }
        // Files are as old as they are.
        command.env("NO_FAKE_STAT", "1");
        Ran::from(command.output().expect("faketime"))
    }

    fn status(site: &Site) -> Value {
        let ran = site.muster(&["status", "--format", "json"]);
        serde_json::from_str(&ran.out).unwrap_or_else(|error| panic!("{error}: {}", ran.said()))
    }

    #[track_caller]
    fn says(ran: &Ran, words: &str) {
        assert!(ran.said().contains(words), "no {words:?}: {}", ran.said());
    }

    #[test]
    fn a_jump_is_told_and_not_gone_by_until_somebody_vouches_for_it_and_can_be_gone_back_over() {
        needs(&["git", "faketime"]);
        let site = Site::new();
        site.commit(ANN, "ann");
        let _ = site.settles();
        let year = |status: &Value| status["latest"].as_str().unwrap()[..4].to_owned();
        let this_year = year(&status(&site));

        // A year ahead, and back: told, and nothing is left of it. What is benign goes on meanwhile.
        for offset in ["+365d", "-365d", "+3650d"] {
            site.commit(ANN_AND_BOB, offset);
            let ran = at(&site, offset, &["run", "--once"]);
            assert_eq!(ran.code, Some(1), "{}", ran.said());
            says(&ran, "clock ");
            assert!(site.uid("bob").is_some());
            let ran = at(&site, offset, &["status"]);
            says(&ran, "muster clock accept");
            // The status of the machine whose clock is right again.
            let well = status(&site);
            assert_eq!(well["clock"]["matter"], Value::Null, "{offset}");
            assert_eq!(year(&well), this_year, "{offset}");
            let _ = site.settles();
        }
        let ran = site.muster(&["clock", "accept", "--reason", "why not"]);
        assert!(ran.is_ok(), "{}", ran.said());
        says(&ran, "nothing is the matter");

        // Somebody vouches for it, and it is recorded by.
        let accept = ["clock", "accept", "--reason", "the battery was changed"];
        let ran = at(&site, "+365d", &accept);
        assert!(ran.is_ok(), "{}", ran.said());
        site.commit(ANN, "bob has gone");
        let _ = at(&site, "+365d", &["run", "--once"]);
        let behind = status(&site);
        assert_ne!(year(&behind), this_year);
        assert_eq!(behind["clock"]["matter"], "behind");
        says(&site.muster(&["status"]), "muster clock accept");

        // No further back than the record before the jump, and not before the program was built.
        let ran = at(&site, "-1h", &accept);
        assert!(!ran.is_ok());
        let ran = at(&site, "-3650d", &accept);
        assert!(!ran.is_ok());
        says(&ran, "built");

        let ran = site.muster(&accept);
        assert!(ran.is_ok(), "{}", ran.said());
        let well = status(&site);
        assert_eq!(well["clock"]["matter"], Value::Null);
        assert_eq!(year(&well), this_year);
        says(&site.muster(&["history"]), "the battery was changed");
        let _ = site.settles();
    }

    #[test]
    fn a_daemon_at_work_takes_the_word_of_the_console() {
        needs(&["git", "faketime"]);
        let site = Site::new();
        site.commit(ANN, "ann");
        let _ = site.settles();
        let accept = ["clock", "accept", "--reason", "a test"];
        assert!(at(&site, "+365d", &accept).is_ok());
        site.commit(ANN_AND_BOB, "ann and bob");
        let _ = at(&site, "+365d", &["run", "--once"]);
        assert_eq!(status(&site)["clock"]["matter"], "behind");
        let mut daemon = site.daemon();
        wait_until("it is at work", || status(&site)["at_work"].is_object());
        let ran = site.muster(&accept);
        assert!(ran.is_ok(), "{}", ran.said());
        assert_eq!(
            status(&site)["clock"]["matter"],
            Value::Null,
            "{}",
            daemon.log()
        );
        assert_eq!(daemon.stop(), Some(0), "{}", daemon.log());
        let _ = site.settles();
    }
}
