//! An executor of guests as a daemon runs it, for tests: core's own plans, gate, journal and settlement around a real client. Whatever
//! needs a release gets one. A process of it can be killed at any request, and another goes on with what the journal has.

use std::collections::BTreeMap;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex};

use muster_core::commit::CommitId;
use muster_core::executor::Executor;
use muster_core::gate::{Approvals, judge};
use muster_core::guests::{self, policy::Policy};
use muster_core::id::StepId;
use muster_core::journal::{Entry, Open, Replayed, StepResult};
use muster_core::plan::{Input, Plan, plan};
use muster_core::price::Class;
use muster_core::release::Nonce;
use muster_core::release::claim::{Claim, Progress};
use muster_core::rooms::{self, Mark, Observed};
use muster_core::settle::settle;
use muster_core::time::Time;
use muster_core::world::{Complaints, NotKept, Recorder, World as _};
use muster_guests::Guests;
use muster_guests::api::GuestApi;

/// One executor, with its journal in memory.
#[derive(Clone)]
pub struct Site {
    /// What its administrator decided.
    pub policy: Policy,
    /// What its journal says; the one thing that outlives a process.
    pub journal: Arc<Mutex<Replayed>>,
    now: Arc<Mutex<Time>>,
    taken: Arc<Mutex<std::collections::BTreeSet<String>>>,
    /// Whether nobody signs anything any more.
    pub unsigned: bool,
}

/// What came of steps, in words.
pub type Results = Vec<(String, StepResult)>;

struct Keeper<'a> {
    journal: &'a Mutex<Replayed>,
    taken: &'a Mutex<std::collections::BTreeSet<String>>,
    now: Time,
}

impl Recorder for Keeper<'_> {
    fn progress(&mut self, _: usize, _: usize) {}

    fn mark(&mut self, step: StepId, mark: Mark) -> Result<(), NotKept> {
        let at = self.now;
        if let Mark::Guest(guests::mark::Mark::ScratchTaken { scratch, .. }) = &mark {
            self.taken.lock().unwrap().insert(scratch.clone());
        }
        let entry = Entry::Marked { at, step, mark };
        let kept = self.journal.lock().unwrap().apply(&entry);
        kept.map_err(|error| NotKept(error.to_string()))
    }
}

fn commit() -> CommitId {
    "1".repeat(40).parse().unwrap()
}

impl Site {
    /// An executor `guests/pve1` whose settings let it do everything that tests need.
    pub fn new(change: impl FnOnce(&mut Policy)) -> Self {
        let executor = Executor::Guests("pve1".to_owned());
        let mut policy = Policy::new(executor);
        policy.create_token = true;
        policy.release_token = true;
        policy.limits.share = 100;
        policy.create.guests = 100;
        policy.create.memory = 1 << 20;
        change(&mut policy);
        let genesis = Entry::Genesis {
            at: Time(0),
            executor_id: "0".repeat(32),
            name: "guests/pve1".to_owned(),
            adopt: commit(),
        };
        Self {
            policy,
            journal: Arc::new(Mutex::new(Replayed::begin(&genesis).unwrap())),
            now: Arc::new(Mutex::new(Time(1_795_305_600))),
            taken: Arc::default(),
            unsigned: false,
        }
    }

    fn now(&self) -> Time {
        *self.now.lock().unwrap()
    }

    /// What guests were called that were there for a trial.
    pub fn trials(&self) -> std::collections::BTreeSet<String> {
        self.taken.lock().unwrap().clone()
    }

    /// The tasks of which the journal does not know how they ended.
    pub fn open_tasks(&self) -> Vec<String> {
        match &self.journal.lock().unwrap().facts.known {
            rooms::Known::Guests(known) => known
                .open_tasks()
                .map(|(task, _)| task.task.clone())
                .collect(),
            rooms::Known::Accounts(_) | rooms::Known::Nothing => Vec::new(),
        }
    }

    /// So many days go by.
    pub fn wait_days(&self, days: i64) {
        let mut now = self.now.lock().unwrap();
        *now = now.plus(days * 86_400);
    }

    fn observe<A: GuestApi>(&self, world: &mut Guests<A>, open: &Open) -> Observed {
        let known = self.journal.lock().unwrap().facts.known.clone();
        let priced = open.steps.iter().map(|step| {
            let price = rooms::price(&step.action, &self.policy.clone().into(), None, &known);
            (&step.action, price)
        });
        let question = rooms::question_about(priced, &known, None);
        world.observe(&question).unwrap()
    }

    /// The plan of `guests/pve1.yaml`, and what it stands on.
    pub fn plan<A: GuestApi>(&self, world: &mut Guests<A>, file: &str) -> (Plan, Observed) {
        let files = BTreeMap::from([
            ("roster.yaml".to_owned(), b"users: {}\n".to_vec()),
            ("guests/pve1.yaml".to_owned(), file.as_bytes().to_vec()),
        ]);
        let policy = self.policy.clone().into();
        let (repo, _) = rooms::read(&files, &self.policy.executor).unwrap();
        let facts = self.journal.lock().unwrap().facts.clone();
        let desired = rooms::desired(&repo, &policy, self.now().date());
        let question = rooms::question_of_plan(&desired, &facts.known);
        let observed = world.observe(&question).unwrap();
        let plan = plan(&Input {
            policy: &policy,
            commit: &commit(),
            today: self.now().date(),
            desired: &desired,
            observed: &observed,
            facts: &facts,
        });
        (plan, observed)
    }

    /// All guests, with all that can be read of them.
    pub fn everything<A: GuestApi>(&self, world: &mut Guests<A>) -> Observed {
        let question = guests::observed::Question {
            everybody: true,
            ..guests::observed::Question::default()
        };
        world.observe(&rooms::Question::Guests(question)).unwrap()
    }

    /// The words of the steps that are planned, each with what stands against it.
    pub fn planned<A: GuestApi>(&self, world: &mut Guests<A>, file: &str) -> Vec<String> {
        let (plan, _) = self.plan(world, file);
        let words = plan.steps().iter().map(|it| match &it.hold {
            Some(hold) => format!("{} [{hold:?}]", it.step.words()),
            None => it.step.words(),
        });
        words.collect()
    }

    /// What is planned, and the gate's word about each of it that does not run now.
    pub fn judged<A: GuestApi>(&self, world: &mut Guests<A>, file: &str) -> Vec<String> {
        let (plan, observed) = self.plan(world, file);
        let facts = self.journal.lock().unwrap().facts.clone();
        let bounds = plan.bounds(&self.policy.clone().into(), &observed, &facts, self.now());
        let approvals = Approvals::of_begun(&facts);
        let (_, held) = judge(&plan, &bounds, &facts, &approvals, self.now()).into_batches();
        let held = held
            .iter()
            .map(|it| format!("{}: {:?}", it.step.words(), it.reason));
        let notes = plan.notes().iter().map(|it| format!("{it:?}"));
        held.chain(notes).collect()
    }

    /// All that waits now is signed and taken up, and nothing of it is done yet; nobody signs anything more.
    pub fn sign_once<A: GuestApi>(&mut self, world: &mut Guests<A>, file: &str) {
        self.unsigned = true;
        let _ = self.settles(world, file);
        let (plan, _) = self.plan(world, file);
        self.release(&plan, 252);
    }

    /// A release for every step that waits for one.
    fn release(&self, plan: &Plan, number: u8) {
        let waiting = plan
            .steps()
            .iter()
            .filter(|it| it.price.class != Class::Benign);
        let steps: BTreeMap<StepId, Progress> = waiting
            .filter(|it| it.hold.is_none())
            .map(|it| (it.step.id, Progress::Begun))
            .collect();
        let mut journal = self.journal.lock().unwrap();
        let begun = journal.facts.claims.values().flat_map(Claim::begun);
        let begun: Vec<StepId> = begun.collect();
        let steps: BTreeMap<_, _> = steps
            .into_iter()
            .filter(|(it, _)| !begun.contains(it))
            .collect();
        if steps.is_empty() {
            return;
        }
        let claim = Claim {
            nonce: Nonce([number; 16]),
            statement: "a".repeat(64),
            commit: commit(),
            not_after: self.now().plus(3_600),
            principals: vec!["ann@example.org".to_owned()],
            tags: vec!["release/1".to_owned()],
            reason: "ticket 1".to_owned(),
            at: self.now(),
            steps,
            finished: false,
        };
        let entry = Entry::Claimed {
            at: self.now(),
            claim,
            statement: String::new(),
        };
        journal.apply(&entry).unwrap();
    }

    /// Brings the batch in doubt to an outcome, by looking.
    fn recover<A: GuestApi>(&self, world: &mut Guests<A>) {
        let open = self.journal.lock().unwrap().open.clone();
        if let Some(open) = open {
            self.close(world, &open, &Complaints::new());
        }
    }

    fn close<A: GuestApi>(
        &self,
        world: &mut Guests<A>,
        open: &Open,
        complaints: &Complaints,
    ) -> Results {
        let observed = self.observe(world, open);
        let policy = self.policy.clone().into();
        let mut journal = self.journal.lock().unwrap();
        let known = &journal.facts.known;
        let results = open.steps.iter().map(|step| {
            let price = rooms::price(&step.action, &policy, None, known);
            let complaint = complaints.get(&step.id).map(String::as_str);
            settle(step, &price, &observed, &policy, known, complaint)
        });
        let results: Vec<StepResult> = results.collect();
        let told = open.steps.iter().map(|it| it.words()).zip(results.clone());
        let told = told.collect();
        let at = self.now();
        journal.apply(&Entry::Outcome { at, results }).unwrap();
        told
    }

    /// Every release that was taken up is at its end.
    pub fn end_releases(&self) {
        let mut journal = self.journal.lock().unwrap();
        let claims = journal.facts.claims.values().filter(|it| !it.finished);
        for nonce in claims.map(|it| it.nonce).collect::<Vec<_>>() {
            let (at, why) = (self.now(), None);
            journal.apply(&Entry::Finished { at, nonce, why }).unwrap();
        }
    }

    /// What the journal knows of a guest.
    pub fn known(&self, guest: &str) -> guests::facts::GuestFacts {
        match &self.journal.lock().unwrap().facts.known {
            rooms::Known::Guests(known) => known.of(guest).cloned().unwrap_or_default(),
            rooms::Known::Accounts(_) | rooms::Known::Nothing => panic!("it keeps guests"),
        }
    }

    /// One cycle, as a daemon runs it; two hours later than the last one. Says what came of each step.
    pub fn cycle<A: GuestApi>(&self, world: &mut Guests<A>, file: &str) -> Results {
        self.cycle_after(world, file, |_| {})
    }

    /// The same, with something that happens there after the plan was made and before it is carried out.
    pub fn cycle_after<A: GuestApi>(
        &self,
        world: &mut Guests<A>,
        file: &str,
        meanwhile: impl FnOnce(&Guests<A>),
    ) -> Results {
        let number = {
            let mut now = self.now.lock().unwrap();
            *now = now.plus(7_200);
            u8::try_from(now.0 / 7_200 % 251).unwrap()
        };
        self.recover(world);
        let (plan, observed) = self.plan(world, file);
        if !self.unsigned {
            self.release(&plan, number);
        }
        let facts = self.journal.lock().unwrap().facts.clone();
        let bounds = plan.bounds(&self.policy.clone().into(), &observed, &facts, self.now());
        let approvals = Approvals::of_begun(&facts);
        let (batches, _) = judge(&plan, &bounds, &facts, &approvals, self.now()).into_batches();
        meanwhile(world);
        let mut told = Results::new();
        let mut undone = std::collections::BTreeSet::new();
        for mut batch in batches {
            undone.extend(batch.without_dependents_of(&undone));
            if batch.is_empty() {
                continue;
            }
            let material = plan.material(batch.steps(), &observed);
            let intent = batch
                .intend(&commit(), self.now(), material, |entry| {
                    self.journal.lock().unwrap().apply(entry)
                })
                .unwrap();
            let mut keeper = Keeper {
                journal: &self.journal,
                taken: &self.taken,
                now: self.now(),
            };
            let complaints = match world.act(&intent, &mut keeper) {
                Ok(complaints) => complaints,
                // As a daemon does: what came of it is seen by looking.
                Err(error) => intent
                    .steps()
                    .map(|it| (it.id, error.to_string()))
                    .collect(),
            };
            let open = self.journal.lock().unwrap().open.clone().unwrap();
            let results = self.close(world, &open, &complaints);
            let failed = open.steps.iter().zip(&results);
            undone.extend(
                failed
                    .filter(|(_, it)| it.1 != StepResult::Done)
                    .map(|(it, _)| it.id),
            );
            told.extend(results);
        }
        told
    }

    /// Cycles until one does nothing; says what the steps came to.
    #[track_caller]
    pub fn settles<A: GuestApi>(&self, world: &mut Guests<A>, file: &str) -> Results {
        let mut told = Results::new();
        let mut idle = 0;
        for _ in 0..16 {
            let results = self.cycle(world, file);
            // After a recovery a step is tried again a little later, so one idle cycle is no rest yet.
            idle = if results.is_empty() { idle + 1 } else { 0 };
            if idle == 2 {
                return told;
            }
            told.extend(results);
        }
        panic!("it never comes to rest: {told:?}");
    }

    /// Runs one cycle as a process of its own, which is killed when `hung` says so: it does nothing more from that moment on.
    pub fn killed<A: GuestApi + 'static>(
        &self,
        open: impl FnOnce() -> Guests<A> + Send + 'static,
        file: &str,
        hung: &Hung,
    ) {
        let (site, file, tell) = (self.clone(), file.to_owned(), hung.tell.clone());
        std::thread::spawn(move || {
            let mut world = open();
            site.cycle(&mut world, &file);
            let _ = tell.send(());
        });
        hung.told.recv().unwrap();
    }
}

/// Told when a request hangs, or a cycle has come to its end without.
pub struct Hung {
    /// Whom to tell.
    pub tell: Sender<()>,
    told: Receiver<()>,
}

impl Hung {
    pub fn new() -> Self {
        let (tell, told) = channel();
        Self { tell, told }
    }
}
