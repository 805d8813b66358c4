//! Pretends: the only other implementation of the outside, in memory, which can stop at any effect.
//!
//! Everything that survives a crash lies in [`Outside`]'s shared [`Universe`]; what a process keeps in memory is
//! lost with it. Every effect goes through one [`Fuse`], which can blow before or after it.

mod fleet;
mod forge;
mod host;
mod hypervisor;
mod repository;

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use muster::cycle::{self, CycleError, CycleSummary, Memory, Outside, Run};
use muster_core::clock::{Clock, Moment, Reading, TimeService};
use muster_core::commit::{CommitId, TagId};
use muster_core::diagnostic::Diagnostics;
use muster_core::facts::Facts;
use muster_core::gate::Intent;
use muster_core::journal::{Entry, Replayed};
use muster_core::ledger::{self, Through};
use muster_core::release::TagHorizon;
use muster_core::release::root::TrustRoot;
use muster_core::rooms::{Observed, Policy, Question};
use muster_core::time::Time;
use muster_core::world::{
    Ancestry, Complaints, Files, Heads, Journal, Ledger, Merge, RawTag, Recorder, ReportSink,
    Source, Topic, TrustStore, Version, World,
};

pub use fleet::{Pushed, SimFleet, SimOrigin, SimStore, Stored};
pub use forge::{Forge, SimComment, SimForge};
pub use host::{SimAccount, SimHost, SimTraces};
pub use hypervisor::{SimHypervisor, volumes_of};
pub use repository::Repository;

/// Whether a crash loses the effect that it interrupts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Timing {
    /// The effect did not happen.
    Before,
    /// The effect happened, and nobody was told.
    After,
}

/// Counts effects, and blows at one of them.
#[derive(Clone, Debug, Default)]
pub struct Fuse {
    /// Effects so far.
    pub effects: usize,
    /// Blow at the effect with this number, counted from 0.
    pub blow: Option<(usize, Timing)>,
}

/// Why the pretended outside did not answer.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SimError {
    /// The power went out.
    #[error("the power went out")]
    Crash,
    /// It was told not to answer.
    #[error("{0}")]
    Down(String),
}

/// Everything that survives a crash.
#[derive(Clone, Debug)]
pub struct Universe {
    /// The state repository.
    pub repository: Repository,
    /// The machine.
    pub host: SimHost,
    /// The hypervisor, for an executor that keeps guests.
    pub hypervisor: SimHypervisor,
    /// The journal, in full.
    pub journal: Vec<Entry>,
    /// The files of the ledger.
    pub ledger: Files,
    /// The messages of the ledger's commits.
    pub ledger_log: Vec<String>,
    /// What was told, by topic and commit.
    pub told: BTreeMap<(Topic, CommitId), String>,
    /// What fails, when it fails.
    pub fuse: Fuse,
    /// The root of trust, if the host has one.
    pub trust: Option<TrustRoot>,
    /// What the root of trust is from some read of it on: how many reads come before, and what it is then.
    pub trust_later: Option<(usize, Option<TrustRoot>)>,
    /// Whether the origin answers.
    pub origin_is_down: bool,
    /// Whether reports are taken.
    pub sink_is_down: bool,
    /// How many seconds the machine's clock was set back; less than none where it was set ahead.
    pub set_back: i64,
    /// How often it booted.
    pub boots: u32,
    /// Whether a time service says that the clock is right.
    pub time_service: TimeService,
    /// What is remembered of the clock.
    pub clock: Clock,
    /// Whether what is committed to the ledger arrives wherever else it is to be.
    pub ledger_arrives: bool,
    /// How many records of the journal could be let go of.
    pub released: usize,
    /// Intents acted on, in order: the ids of their steps.
    pub acted: Vec<Vec<String>>,
    /// The ids of steps that were carried out to the end, whether or not anybody was told.
    pub carried_out: Vec<String>,
}

/// A handle on a universe; clones share it.
#[derive(Clone, Debug)]
pub struct Sim(Arc<Mutex<Universe>>);

impl Sim {
    /// A universe in which `muster init` has just adopted `first`, a commit of `repository`.
    pub fn new(repository: Repository, host: SimHost, name: &str, at: Time) -> Self {
        let adopt = repository.head().expect("a repository with a commit");
        let genesis = Entry::Genesis {
            at,
            executor_id: "0".repeat(32),
            name: name.to_owned(),
            adopt,
        };
        Self(Arc::new(Mutex::new(Universe {
            repository,
            host,
            hypervisor: SimHypervisor::default(),
            journal: vec![genesis],
            ledger: Files::new(),
            ledger_log: Vec::new(),
            told: BTreeMap::new(),
            fuse: Fuse::default(),
            trust: None,
            trust_later: None,
            origin_is_down: false,
            sink_is_down: false,
            set_back: 0,
            boots: 0,
            time_service: TimeService::Silent,
            clock: Clock::default(),
            ledger_arrives: true,
            released: 0,
            acted: Vec::new(),
            carried_out: Vec::new(),
        })))
    }

    /// A copy that shares nothing with this one.
    #[must_use]
    pub fn fork(&self) -> Self {
        Self(Arc::new(Mutex::new(self.lock().clone())))
    }

    /// Looks into the universe, or changes it behind everybody's back.
    pub fn with<T>(&self, look: impl FnOnce(&mut Universe) -> T) -> T {
        look(&mut self.lock())
    }

    fn lock(&self) -> MutexGuard<'_, Universe> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What a process that starts now knows.
    pub fn boot(&self) -> Memory {
        let universe = self.lock();
        let mut entries = universe.journal.iter();
        let (mut replayed, skip) = if universe.ledger.is_empty() {
            (
                Replayed::begin(entries.next().expect("a genesis record")).expect("it comes first"),
                0,
            )
        } else {
            let (facts, through) = ledger::facts(&universe.ledger).expect("a ledger we wrote");
            (
                Replayed::from_ledger(facts),
                usize::try_from(through.sequence).expect("a short journal"),
            )
        };
        for entry in entries.skip(skip) {
            replayed.apply(entry).expect("a journal we wrote");
        }
        let mut memory = Memory::new(replayed, universe.ledger.clone());
        memory.clock = universe.clock.clone();
        memory
    }

    /// Starts a process, runs one cycle and ends the process.
    ///
    /// # Errors
    /// As the cycle does; a crash is a [`CycleError`] whose cause is [`SimError::Crash`].
    pub fn cycle(&self, policy: &Policy, now: Time) -> Result<CycleSummary, CycleError> {
        let mut memory = self.boot();
        self.cycle_with(&mut memory, policy, now)
    }

    /// Runs one cycle of a process that goes on.
    ///
    /// # Errors
    /// As [`Sim::cycle`].
    pub fn cycle_with(
        &self,
        memory: &mut Memory,
        policy: &Policy,
        now: Time,
    ) -> Result<CycleSummary, CycleError> {
        self.cycle_telling(memory, policy, now, cycle::Inventory::WithFacts)
    }

    /// The same, with a word on when the ledger is told what was read.
    ///
    /// # Errors
    /// As [`Sim::cycle`].
    pub fn cycle_telling(
        &self,
        memory: &mut Memory,
        policy: &Policy,
        now: Time,
        inventory: cycle::Inventory,
    ) -> Result<CycleSummary, CycleError> {
        let mut outside = Outside {
            source: self.clone(),
            world: self.clone(),
            journal: self.clone(),
            ledger: self.clone(),
            sink: Some(self.clone()),
        };
        let mut trust = self.clone();
        let reading = self.reading(now);
        let service = self.lock().time_service;
        let Moment { now, matter } = memory.hear(&reading, &mut || service);
        self.with(|universe| universe.clock = memory.clock.clone());
        let run = Run {
            policy,
            now,
            matter,
            clock: &|| reading.clone(),
            trust: &mut trust,
            inventory,
            is_last: false,
            stop: &|| false,
            progress: &mut |_, _, _| {},
        };
        cycle::cycle(memory, &mut outside, run)
    }

    /// What the machine's clocks say at a moment.
    pub fn reading(&self, now: Time) -> Reading {
        let universe = self.lock();
        Reading {
            wall: now.plus(-universe.set_back),
            boot: format!("boot {}", universe.boots),
            uptime: now.0,
        }
    }

    /// What a process that starts now would know.
    pub fn facts(&self) -> Facts {
        self.boot().replayed.facts
    }

    /// Lets an effect happen, unless the fuse blows.
    pub(crate) fn effect<T>(&self, effect: impl FnOnce(&mut Universe) -> T) -> Result<T, SimError> {
        let mut universe = self.lock();
        let number = universe.fuse.effects;
        universe.fuse.effects += 1;
        match universe.fuse.blow {
            Some((at, Timing::Before)) if at == number => Err(SimError::Crash),
            Some((at, Timing::After)) if at == number => {
                effect(&mut universe);
                Err(SimError::Crash)
            }
            // After the power went out nothing happens any more.
            Some((at, _)) if at < number => Err(SimError::Crash),
            _ => Ok(effect(&mut universe)),
        }
    }
}

impl Source for Sim {
    type Error = SimError;

    fn heads(&mut self, horizon: &TagHorizon) -> Result<Heads, SimError> {
        let universe = self.lock();
        if universe.origin_is_down {
            return Err(SimError::Down("no route to the origin".to_owned()));
        }
        Ok(universe.repository.heads(horizon))
    }

    fn tag(&mut self, id: &TagId) -> Result<RawTag, SimError> {
        let found = self.lock().repository.tag(id);
        found.ok_or_else(|| SimError::Down(format!("no object {id}")))
    }

    fn ancestry(&mut self, old: &CommitId, new: &CommitId) -> Result<Ancestry, SimError> {
        Ok(self.lock().repository.ancestry(old, new))
    }

    fn files(&mut self, commit: &CommitId) -> Result<Result<Files, Diagnostics>, SimError> {
        Ok(Ok(self.lock().repository.files(commit)))
    }

    fn merge(&mut self, protected: &CommitId, head: &CommitId) -> Result<Merge, SimError> {
        Ok(self.lock().repository.merge(protected, head))
    }

    fn versions(
        &mut self,
        protected: &CommitId,
        head: &CommitId,
        dir: &str,
    ) -> Result<Option<Vec<Version>>, SimError> {
        Ok(Some(self.lock().repository.versions(protected, head, dir)))
    }
}

impl TrustStore for Sim {
    fn read(&mut self) -> Result<Option<Arc<TrustRoot>>, String> {
        let mut universe = self.lock();
        universe.trust_later = match universe.trust_later.take() {
            Some((0, root)) => {
                universe.trust = root;
                None
            }
            later => later.map(|(reads, root)| (reads - 1, root)),
        };
        Ok(universe.trust.clone().map(Arc::new))
    }

    fn replace(&mut self, root: &TrustRoot) -> Result<(), String> {
        self.effect(|universe| universe.trust = Some(root.clone()))
            .map_err(|error| error.to_string())
    }
}

impl World for Sim {
    type Error = SimError;

    fn observe(&mut self, question: &Question<'_>) -> Result<Observed, SimError> {
        let mut universe = self.lock();
        Ok(match question {
            Question::Accounts(question) => universe.host.observe(question).into(),
            Question::Guests(question) => universe.hypervisor.observe(question).into(),
        })
    }

    fn act(
        &mut self,
        intent: &Intent,
        recorder: &mut dyn Recorder,
    ) -> Result<Complaints, SimError> {
        let ids = intent.steps().map(|step| step.id.to_string()).collect();
        self.with(|universe| universe.acted.push(ids));
        let mut whole: Vec<String> = intent.steps().map(|step| step.id.to_string()).collect();
        let on_host = self.lock().host.effects_of(intent);
        let all = on_host.len();
        let mut complaints = Complaints::new();
        let mut done = 0;
        for effect in on_host {
            let said = self.effect(|universe| {
                let said = effect(&mut universe.host);
                whole.retain(|id| !said.keys().any(|step| step.to_string() == *id));
                if done + 1 == all {
                    universe.carried_out.append(&mut whole);
                }
                said
            })?;
            complaints.extend(said);
            done += 1;
            recorder.progress(done, all);
        }
        complaints.extend(hypervisor::carry_out(self, intent, recorder)?);
        Ok(complaints)
    }
}

impl Journal for Sim {
    type Error = SimError;

    fn append(&mut self, entry: &Entry) -> Result<(), SimError> {
        self.effect(|universe| universe.journal.push(entry.clone()))
    }

    fn through(&self) -> Through {
        Through {
            sequence: self.lock().journal.len() as u64,
            chain: String::new(),
        }
    }

    fn release(&mut self, through: &Through) -> Result<(), SimError> {
        let released = usize::try_from(through.sequence).expect("a short journal");
        self.with(|universe| universe.released = released);
        Ok(())
    }
}

impl Ledger for Sim {
    type Error = SimError;

    fn commit(
        &mut self,
        changes: &BTreeMap<String, Option<Vec<u8>>>,
        message: &str,
        _: Time,
    ) -> Result<(), SimError> {
        self.effect(|universe| {
            for (path, content) in changes {
                match content {
                    Some(content) => universe.ledger.insert(path.clone(), content.clone()),
                    None => universe.ledger.remove(path),
                };
            }
            universe.ledger_log.push(message.to_owned());
        })
    }

    fn read(&mut self, path: &str) -> Result<Option<Vec<u8>>, SimError> {
        Ok(self.lock().ledger.get(path).cloned())
    }

    fn keeps(&mut self, through: &Through) -> Option<Through> {
        self.lock().ledger_arrives.then(|| through.clone())
    }
}

impl ReportSink for Sim {
    type Error = SimError;

    fn told(&mut self, topic: Topic, commit: &CommitId) -> Result<Option<String>, SimError> {
        Ok(self.lock().told.get(&(topic, commit.clone())).cloned())
    }

    fn tell(&mut self, topic: Topic, commit: &CommitId, text: &str) -> Result<(), SimError> {
        if self.lock().sink_is_down {
            return Err(SimError::Down("reports are not taken".to_owned()));
        }
        self.effect(|universe| {
            universe
                .told
                .insert((topic, commit.clone()), text.to_owned());
        })
    }

    fn forget_plans_except(&mut self, heads: &[CommitId]) -> Result<(), SimError> {
        let stays =
            |topic: Topic, commit: &CommitId| topic != Topic::Plan || heads.contains(commit);
        let all_stay = self.with(|it| it.told.keys().all(|(topic, it)| stays(*topic, it)));
        if all_stay {
            return Ok(());
        }
        self.effect(|universe| {
            universe
                .told
                .retain(|(topic, commit), _| stays(*topic, commit));
        })
    }
}
