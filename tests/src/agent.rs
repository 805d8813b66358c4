//! Executors over simulations, as the loops of a daemon run them. Their worlds can hang, refuse and crash.

use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::time::Duration;

use muster::console;
use muster::cycle::{self, CycleError, Inventory, Memory, Outside, Run, chain};
use muster::daemon::loops::{Begin, ExecutorLoop};
use muster::daemon::{Cycle, CycleStatus, Event, Health, Knock, Pace, Pulse, Why, ears};
use muster::state_dir::{Identity, Lock, Purpose, StateDir, StateError};
use muster_core::clock::Reading;
use muster_core::executor::Executor;
use muster_core::gate::Intent;
use muster_core::rooms::{Observed, Policy, Question};
use muster_core::time::Time;
use muster_core::world::{Complaints, Recorder, World};
use muster_sim::{Sim, SimError};

/// Where in a cycle the world is asked for something.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum At {
    /// It is looked at.
    Observe,
    /// It is changed.
    Act,
}

/// How a world answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mood {
    /// As it is.
    Well,
    /// Not, for as long as it is in this mood.
    Hangs(At),
    /// With an error.
    Refuses(At),
    /// With a bug of muster's own.
    Crashes(At),
}

/// The mood of a world, which the test changes while a loop is at work on it.
#[derive(Clone)]
pub struct Moods(Arc<(Mutex<Mood>, Condvar)>);

impl Moods {
    /// From now on.
    pub fn set(&self, mood: Mood) {
        let (now, changed) = &*self.0;
        *now.lock().unwrap_or_else(PoisonError::into_inner) = mood;
        changed.notify_all();
    }

    fn answer(&self, at: At) -> Result<(), SimError> {
        let (now, changed) = &*self.0;
        let mood = now.lock().unwrap_or_else(PoisonError::into_inner);
        let mood = changed
            .wait_while(mood, |it| *it == Mood::Hangs(at))
            .unwrap_or_else(PoisonError::into_inner);
        match *mood {
            Mood::Refuses(which) if which == at => {
                Err(SimError::Down("the token was refused".to_owned()))
            }
            Mood::Crashes(which) if which == at => panic!("a bug, for the test"),
            Mood::Well | Mood::Hangs(_) | Mood::Refuses(_) | Mood::Crashes(_) => Ok(()),
        }
    }
}

/// A world with moods.
struct Moody {
    sim: Sim,
    moods: Moods,
}

impl World for Moody {
    type Error = SimError;

    fn observe(&mut self, question: &Question<'_>) -> Result<Observed, SimError> {
        self.moods.answer(At::Observe)?;
        self.sim.observe(question)
    }

    fn act(
        &mut self,
        intent: &Intent,
        recorder: &mut dyn Recorder,
    ) -> Result<Complaints, SimError> {
        self.moods.answer(At::Act)?;
        self.sim.act(intent, recorder)
    }
}

/// One process of an executor: what it remembers is gone with it.
struct Process {
    sim: Sim,
    policy: Policy,
    memory: Memory,
    outside: Outside<Sim, Moody, Sim, Sim, Sim>,
    turns: Arc<AtomicUsize>,
    first: Time,
}

impl Cycle for Process {
    fn has_moved(&mut self) -> bool {
        true
    }

    fn run(&mut self, _: Why, stop: &dyn Fn() -> bool) -> CycleStatus {
        // A minute lies between two cycles.
        let turn = self.turns.load(Ordering::SeqCst);
        let now = self
            .first
            .plus(60 * i64::try_from(turn).expect("a few turns"));
        let mut trust = self.sim.clone();
        let reading = Reading {
            wall: now,
            boot: String::new(),
            uptime: now.0,
        };
        let run = Run {
            policy: &self.policy,
            now,
            matter: None,
            clock: &|| reading.clone(),
            trust: &mut trust,
            inventory: Inventory::WithFacts,
            is_last: false,
            stop,
            progress: &mut |_, _, _| {},
        };
        let done = cycle::cycle(&mut self.memory, &mut self.outside, run);
        self.turns.fetch_add(1, Ordering::SeqCst);
        let (health, line) = match done {
            Ok(summary) => (Health::Well, console::line(&summary)),
            Err(error @ (CycleError::World { .. } | CycleError::Repository { .. })) => {
                (Health::Failed, chain(&error))
            }
            Err(error @ (CycleError::Records { .. } | CycleError::Order(_))) => {
                (Health::Broken, chain(&error))
            }
        };
        CycleStatus {
            health,
            line,
            due_in: None,
        }
    }

    fn watch_paths(&self) -> Vec<std::path::PathBuf> {
        Vec::new()
    }
}

/// What `muster init` makes: without it nothing is said of an executor.
fn initialise(state: &StateDir, executor: &Executor, now: Time) -> Result<(), StateError> {
    state.make()?;
    let lock = Lock::take(state, Purpose::Other("init"))?;
    let identity = Identity::random(executor).expect("random bytes");
    let adopt = "1".repeat(40).parse().expect("forty digits");
    state.create(&lock, &identity, &adopt, now)?;
    Ok(())
}

/// An executor at work, as the test holds it.
pub struct Agent {
    /// Its world, journal and ledger.
    pub sim: Sim,
    /// Its settings.
    pub policy: Policy,
    /// How its world answers.
    pub moods: Moods,
    /// What its process does not say itself.
    pub state: StateDir,
    turns: Arc<AtomicUsize>,
    tell: Box<dyn Fn(Event)>,
}

impl Agent {
    /// One whose loop is about to begin, with its state in a directory of its own below `dir`.
    ///
    /// # Panics
    /// When there can be no such directory.
    pub fn new(dir: &Path, sim: Sim, policy: Policy, first: Time) -> (Self, ExecutorLoop) {
        let executor = policy.executor().clone();
        let state = StateDir::at(&dir.join(executor.to_string()));
        initialise(&state, &executor, first).expect("a state directory");
        let moods = Moods(Arc::new((Mutex::new(Mood::Well), Condvar::new())));
        let turns = Arc::new(AtomicUsize::new(0));
        let begin: Begin = {
            let (sim, policy, moods, turns) = (
                sim.clone(),
                policy.clone(),
                moods.clone(),
                Arc::clone(&turns),
            );
            Arc::new(move || {
                let world = Moody {
                    sim: sim.clone(),
                    moods: moods.clone(),
                };
                Ok(Box::new(Process {
                    memory: sim.boot(),
                    outside: Outside {
                        source: sim.clone(),
                        world,
                        journal: sim.clone(),
                        ledger: sim.clone(),
                        sink: Some(sim.clone()),
                    },
                    sim: sim.clone(),
                    policy: policy.clone(),
                    turns: Arc::clone(&turns),
                    first,
                }))
            })
        };
        let (send, events) = ears();
        let at_work = ExecutorLoop {
            executor,
            state: state.clone(),
            begin,
            pace: Pace {
                poll: Duration::from_millis(5),
                drift: Duration::from_millis(500),
                knocks: Duration::ZERO,
            },
            knock: Knock::default(),
            pulse: Pulse::default(),
            send: send.clone(),
            events,
        };
        // Who has ended hears nothing any more.
        let tell = Box::new(move |event| {
            let _ = send.send(event);
        });
        let agent = Self {
            sim,
            policy,
            moods,
            state,
            turns,
            tell,
        };
        (agent, at_work)
    }

    /// How many cycles came to their end, well or not.
    pub fn turns(&self) -> usize {
        self.turns.load(Ordering::SeqCst)
    }

    /// Asks its loop for a cycle, or for another try where it went down.
    pub fn poke(&self) {
        (self.tell)(Event::Poke);
    }

    /// Tells its loop to end.
    pub fn stop(&self) {
        (self.tell)(Event::Stop);
    }
}
