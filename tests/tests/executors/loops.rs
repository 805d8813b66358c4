//! Both in one process, each on a thread of its own: whatever becomes of one, the other goes on and finishes its work.

use std::thread;
use std::time::{Duration, Instant};

use muster::daemon::loops::{self, Loops};
use muster::daemon::trouble;
use muster_core::guests::desired::Run;
use muster_core::rooms::Policy;
use muster_core::world::Files;
use muster_sim::{Fuse, Repository, Sim, SimHost, Timing};
use muster_tests::agent::{Agent, At, Mood};
use muster_tests::story;

use super::{ANN, CALM, DEVVM, EMO, PVE1, files, furnish, of_pve1, start};

/// A cycle that takes longer than this counts as stuck.
const PATIENCE: Duration = Duration::from_secs(1_800);

/// Two executors at work.
struct Both {
    host: Agent,
    guests: Agent,
    loops: Loops,
    _dir: tempfile::TempDir,
}

impl Both {
    /// At work, and through with what there is.
    fn new() -> Self {
        let dir = tempfile::tempdir().expect("a directory");
        let agent = |name: &str, policy: Policy| {
            let mut repository = Repository::default();
            repository.commit("main", files(ANN, CALM));
            let mut machine = SimHost::debian();
            machine.add_account("root", 0, "/bin/bash");
            let sim = Sim::new(repository, machine, name, start());
            sim.with(|it| furnish(&mut it.hypervisor));
            Agent::new(dir.path(), sim, policy, start())
        };
        let (host, of_host) = agent(DEVVM, story::policy());
        let (guests, of_guests) = agent(PVE1, of_pve1());
        let loops = loops::begin(vec![of_host, of_guests]).expect("two threads");
        let mut both = Self {
            host,
            guests,
            loops,
            _dir: dir,
        };
        both.until("both are well", |it| {
            it.says(DEVVM) == "no change at 000000000001"
                && it.says(PVE1) == "no change at 000000000001"
        });
        both
    }

    fn of(&self, name: &str) -> &Agent {
        match name {
            DEVVM => &self.host,
            _ => &self.guests,
        }
    }

    /// Both see another version of the state repository.
    fn commit(&self, files: &Files) {
        for agent in [&self.host, &self.guests] {
            agent
                .sim
                .with(|it| it.repository.commit("main", files.clone()));
        }
    }

    /// What stands in the status of the process under that name.
    fn says(&self, name: &str) -> String {
        let of = match name {
            DEVVM => "host/devvm: ",
            _ => "guests/pve1: ",
        };
        let line = self.loops.line();
        let (_, rest) = line.split_once(of).expect("both are in it");
        let end = rest.find("; guests/pve1: ").unwrap_or(rest.len());
        rest[..end].to_owned()
    }

    /// Whether its work is done: emo has an account, 104 stands still.
    fn is_done(&self, name: &str) -> bool {
        self.of(name).sim.with(|it| match name {
            DEVVM => {
                it.host.accounts.contains_key("emo") && it.host.homes.contains_key("/home/emo")
            }
            _ => it.hypervisor.guests["104"].run == Some(Run::Stopped),
        })
    }

    fn until(&mut self, what: &str, mut done: impl FnMut(&mut Self) -> bool) {
        let began = Instant::now();
        while !done(self) {
            let line = self.loops.line();
            assert!(
                began.elapsed() < Duration::from_secs(10),
                "in vain: {what}; {line}"
            );
            thread::sleep(Duration::from_millis(2));
        }
    }

    /// Looks at it as if so much time had passed, and hears what is the matter.
    fn look(&mut self, later: Duration, name: &str) -> Option<String> {
        self.loops.look(Instant::now() + later, start());
        trouble::read(&self.of(name).state).map(|it| it.why)
    }

    /// Both end, and one more cycle of each changes nothing.
    fn end(mut self) {
        for name in [DEVVM, PVE1] {
            self.of(name).stop();
        }
        self.until("both have ended", |it| it.loops.is_over());
        for name in [DEVVM, PVE1] {
            assert!(self.is_done(name), "{name}");
            let agent = self.of(name);
            let now = start().plus(60 * i64::try_from(agent.turns()).expect("a few turns"));
            let look = || {
                agent
                    .sim
                    .with(|it| (it.host.clone(), it.hypervisor.clone(), it.journal.clone()))
            };
            let before = look();
            let again = agent.sim.cycle(&agent.policy, now).expect("a cycle");
            assert!(again.is_quiet(), "{name}: {again:?}");
            assert!(look() == before, "{name} changed something");
        }
    }
}

/// What can be wrong with one of them.
#[derive(Clone, Copy, Debug)]
enum Wrong {
    Mood(Mood),
    Silent,
    PowerCut,
}

/// What is said of it under its name.
fn said(wrong: Wrong, name: &str) -> String {
    let noun = if name == DEVVM { "host" } else { "hypervisor" };
    match wrong {
        Wrong::Mood(Mood::Hangs(_)) => "a cycle does not come to its end".to_owned(),
        Wrong::Mood(Mood::Crashes(_)) => "it crashed; the log tells where".to_owned(),
        Wrong::Mood(Mood::Refuses(At::Observe)) => {
            format!("the {noun} could not be observed: the token was refused")
        }
        Wrong::Mood(Mood::Refuses(At::Act)) => " failed".to_owned(),
        Wrong::Mood(Mood::Well) => String::new(),
        Wrong::Silent => format!("a part of this {noun} could not be read"),
        Wrong::PowerCut => "it cannot go on; the log tells why".to_owned(),
    }
}

fn goes_wrong(wrong: Wrong, agent: &Agent) {
    match wrong {
        Wrong::Mood(mood) => agent.moods.set(mood),
        Wrong::Silent => agent
            .sim
            .with(|it| it.hypervisor.silent = Some("it is away".to_owned())),
        Wrong::PowerCut => agent.sim.with(|it| {
            let next = it.fuse.effects;
            it.fuse.blow = Some((next, Timing::Before));
        }),
    }
}

fn is_mended(agent: &Agent) {
    agent.moods.set(Mood::Well);
    agent.sim.with(|it| {
        it.hypervisor.silent = None;
        it.fuse = Fuse::default();
    });
    agent.poke();
}

/// While this is wrong with `name`, the other one goes on and does what is new; it is said what is the matter, and when that is
/// over, its work is done, too.
fn holds_up_nobody(name: &str, other: &str, wrong: Wrong) {
    let what = format!("{name}: {wrong:?}");
    let mut both = Both::new();
    goes_wrong(wrong, both.of(name));
    both.commit(&files(
        &format!("{ANN}{EMO}"),
        &CALM.replace("running", "stopped"),
    ));
    both.until(&what, |it| it.is_done(other));
    let turns = both.of(other).turns();
    both.until(&what, |it| it.of(other).turns() > turns + 3);

    let (expected, later) = (
        said(wrong, name),
        match wrong {
            Wrong::Mood(Mood::Hangs(_)) => PATIENCE,
            _ => Duration::ZERO,
        },
    );
    both.until(&format!("{what} is said"), |it| {
        // Half an hour later whoever is in the middle of a cycle seems to hang; the other one is soon through with it.
        let troubles = [name, other].map(|one| it.look(later, one));
        it.says(name).contains(&expected) && troubles[1].is_none()
    });
    assert!(!both.is_done(name), "{what}");
    assert_eq!(both.says(other), "no change at 000000000002", "{what}");
    let is_down = matches!(
        wrong,
        Wrong::Mood(Mood::Hangs(_) | Mood::Crashes(_)) | Wrong::PowerCut
    );
    let trouble = trouble::read(&both.of(name).state).map(|it| it.why);
    assert_eq!(trouble, is_down.then_some(expected), "{what}");

    is_mended(both.of(name));
    both.until(&format!("{what} is over"), |it| {
        let trouble = it.look(Duration::ZERO, name);
        it.is_done(name) && trouble.is_none() && it.says(name) == "no change at 000000000002"
    });
    both.end();
}

const WRONG: [Wrong; 7] = [
    Wrong::Mood(Mood::Hangs(At::Observe)),
    Wrong::Mood(Mood::Hangs(At::Act)),
    Wrong::Mood(Mood::Refuses(At::Observe)),
    Wrong::Mood(Mood::Refuses(At::Act)),
    Wrong::Mood(Mood::Crashes(At::Observe)),
    Wrong::Mood(Mood::Crashes(At::Act)),
    Wrong::PowerCut,
];

#[test]
fn whatever_is_wrong_with_the_hypervisor_the_host_goes_on() {
    for wrong in WRONG.into_iter().chain([Wrong::Silent]) {
        holds_up_nobody(PVE1, DEVVM, wrong);
    }
}

#[test]
fn whatever_is_wrong_with_the_host_the_hypervisor_goes_on() {
    for wrong in WRONG {
        holds_up_nobody(DEVVM, PVE1, wrong);
    }
}
