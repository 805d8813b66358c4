//! A few executors, a forge and a bot, none of which can reach another but by git: what is between them is in memory.

use std::collections::{BTreeMap, BTreeSet};

use muster::bot::{self, Outside, Run, TurnError, TurnSummary, Vouching};
use muster::cycle::{self, Inventory};
use muster_core::commit::CommitId;
use muster_core::executor::{Executor, ExecutorKind};
use muster_core::forge::ProposalState;
use muster_core::guests;
use muster_core::release::RepoId;
use muster_core::release::answer::Signers;
use muster_core::rooms::Policy;
use muster_core::services::evaluate::Freshness;
use muster_core::time::Time;
use muster_core::world::Files;
use muster_sim::{Sim, SimFleet, SimForge, SimHost, SimOrigin, SimStore};

use crate::story;

/// One executor of the town.
pub struct House {
    /// Its world, journal and ledger.
    pub sim: Sim,
    /// Its settings.
    pub policy: Policy,
    /// Its process.
    pub memory: cycle::Memory,
    /// Whether the network reaches it.
    pub linked: bool,
}

/// One bot.
pub struct Bot {
    /// What its process remembers.
    pub memory: bot::Memory,
    /// What it holds of the outside.
    pub outside: Outside<SimOrigin, SimFleet, SimStore>,
}

/// All of it.
pub struct Town {
    /// The state repository.
    pub origin: SimOrigin,
    /// Where people read.
    pub forge: SimForge,
    /// What hosts pushed.
    pub fleet: SimFleet,
    /// The executors, by the name that is pinned.
    pub houses: BTreeMap<String, House>,
    /// The bots; the first one takes turns where nobody says which.
    pub bots: Vec<Bot>,
    /// What time it is.
    pub now: Time,
    /// Whether drift is told.
    pub drift: bool,
    /// How owner responses are judged.
    pub vouching: Vouching,
}

/// How old what a host told may be, in seconds.
pub const STALE: u32 = 900;

/// What the administrator of a hypervisor decided who lets muster do all that it can.
pub fn of_hypervisor(executor: Executor) -> Policy {
    let mut policy = guests::policy::Policy::new(executor);
    // Stories stop and end much within a day.
    policy.limits.removals = 20;
    policy.create_token = true;
    policy.release_token = true;
    policy.create.templates = ["debian-13".to_owned()].into();
    policy.create.storages = ["local-lvm".to_owned()].into();
    policy.create.guests = 4;
    policy.create.memory = 16 << 10;
    policy.into()
}

impl Town {
    /// A town whose state repository holds `files`, and whose executors, by the names that are pinned, have just been
    /// initialised with them.
    pub fn new(files: Files, executors: &[&str], now: Time) -> Self {
        let origin = SimOrigin::default();
        origin.with(|it| it.commit("main", files));
        let forge = SimForge::default();
        let fleet = SimFleet::default();
        let mut town = Self {
            bots: vec![Bot::new(&origin, &fleet, &forge, SimStore::new("one"))],
            origin,
            forge,
            fleet,
            houses: BTreeMap::new(),
            now,
            drift: true,
            vouching: Vouching {
                key: [7; 32],
                signers: Signers::default(),
                freshness: Freshness::default(),
            },
        };
        for pinned in executors {
            town.build(pinned);
        }
        town.pass(0);
        town
    }

    /// One more executor: a host by its name, or the guests of a hypervisor.
    ///
    /// # Panics
    /// For an executor of another kind.
    pub fn build(&mut self, pinned: &str) {
        let executor = Executor::from_pin(pinned);
        let policy = match executor.kind() {
            ExecutorKind::Host => story::policy().binding(&executor),
            ExecutorKind::Guests => of_hypervisor(executor),
            ExecutorKind::Cluster | ExecutorKind::Ca => panic!("nothing plays {executor}"),
        };
        let mut machine = SimHost::debian();
        machine.add_account("root", 0, "/bin/bash");
        let repository = self.origin.with(|it| it.clone());
        let sim = Sim::new(repository, machine, pinned, self.now);
        let memory = sim.boot();
        let house = House {
            sim,
            policy,
            memory,
            linked: true,
        };
        self.houses.insert(pinned.to_owned(), house);
    }

    /// One more bot on the same store.
    pub fn hire(&mut self, name: &str) {
        let store = self.bots[0].outside.store.another(name);
        self.bots
            .push(Bot::new(&self.origin, &self.fleet, &self.forge, store));
    }

    /// Time passes.
    pub fn pass(&mut self, seconds: i64) {
        self.now = self.now.plus(seconds);
        let now = self.now;
        self.forge.with(|it| it.now = now);
    }

    /// Every executor runs a cycle, and pushes where it is linked.
    pub fn hosts(&mut self) {
        let repository = self.origin.with(|it| it.clone());
        for house in self.houses.values_mut() {
            if house.linked {
                house
                    .sim
                    .with(|universe| universe.repository = repository.clone());
            }
            let summary = house
                .sim
                .cycle_telling(
                    &mut house.memory,
                    &house.policy,
                    self.now,
                    Inventory::Current,
                )
                .expect("a cycle");
            assert_eq!(summary.warnings, Vec::<String>::new());
            if house.linked {
                self.fleet.push(&house.sim, &house.policy, self.now);
            }
        }
    }

    /// Pushes a branch, and opens a pull request of it or moves its head.
    pub fn propose(&mut self, number: u64, branch: &str, files: Files) -> CommitId {
        let head = self.origin.with(|it| it.commit(branch, files));
        self.head(number, branch, &head);
        head
    }

    /// The same, without the history that was there.
    pub fn force(&mut self, number: u64, branch: &str, files: Files) -> CommitId {
        let head = self.origin.with(|it| it.force_push(branch, files));
        self.head(number, branch, &head);
        head
    }

    fn head(&mut self, number: u64, branch: &str, head: &CommitId) {
        self.forge.with(|forge| {
            if forge.proposals.contains_key(&number) {
                forge.change(number, |it| it.head = head.clone());
            } else {
                forge.open(number, head, branch);
            }
        });
    }

    /// Merges a pull request.
    pub fn merge(&mut self, number: u64, branch: &str) -> CommitId {
        let commit = self.origin.with(|it| it.land(branch));
        let merged = ProposalState::Merged {
            commit: Some(commit.clone()),
        };
        self.forge
            .with(|forge| forge.change(number, |it| it.state = merged));
        commit
    }

    /// The first bot takes a turn, in which everything works.
    ///
    /// # Panics
    /// When something did not.
    pub fn turn(&mut self) {
        let summary = self.turn_of(0, &[]).expect("a turn");
        assert_eq!(summary.warnings, Vec::<String>::new());
        assert_eq!(summary.other, None);
    }

    /// A bot takes a turn, with a word on what to look at first.
    ///
    /// # Errors
    /// As the turn does.
    pub fn turn_of(&mut self, bot: usize, first: &[u64]) -> Result<TurnSummary, TurnError> {
        let now = self.now;
        let first: BTreeSet<u64> = first.iter().copied().collect();
        let run = Run {
            protected: "main",
            context: "muster",
            stale: STALE,
            ledger: None,
            drift: self.drift,
            mark: RepoId([0x6f; 16]),
            vouching: &self.vouching,
            clock: &|| now,
            first: &first,
            stop: &|| false,
        };
        let Bot { memory, outside } = &mut self.bots[bot];
        bot::turn(memory, outside, &run)
    }

    /// The first bot's process dies, and another one starts.
    pub fn restart(&mut self) {
        self.bots[0].memory = bot::Memory::default();
    }

    /// The one comment of the bot on a pull request.
    ///
    /// # Panics
    /// When there is none, or more than one.
    pub fn comment(&self, number: u64) -> String {
        self.forge
            .with(|forge| match forge.ours(number).as_slice() {
                [one] => (*one).to_owned(),
                many => panic!("{} comments on #{number}", many.len()),
            })
    }

    /// A turn in which nothing is new: nothing is sent.
    ///
    /// # Panics
    /// When something was sent or did not work.
    pub fn is_quiet(&mut self) {
        let before = self.forge.with(|it| it.changes);
        self.turn();
        assert_eq!(self.forge.with(|it| it.changes), before, "a second turn");
    }
}

impl Bot {
    fn new(origin: &SimOrigin, fleet: &SimFleet, forge: &SimForge, store: SimStore) -> Self {
        Self {
            memory: bot::Memory::default(),
            outside: Outside {
                source: origin.clone(),
                fleet: fleet.clone(),
                store,
                reader: Box::new(forge.clone()),
                writer: Box::new(forge.clone()),
            },
        }
    }
}
