//! The guests of a hypervisor: given a file, what runs there and a past, expect these steps, and these to wait.
//!
//! The comment over each test names the rows of the requirements that it is about: G1 to G27, H1 to H17, and GB1 to GB12, what users
//! of other tools complain about. Rows about signatures (G18 to G22, G27) are shown for any subject in `release.rs` beside this file, and
//! for guests from end to end in `tests/tests/executors`.

#[path = "guests/aside.rs"]
mod aside;
#[path = "guests/config.rs"]
mod config;
#[path = "guests/create.rs"]
mod create;
#[path = "guests/file.rs"]
mod file;
#[path = "guests/kept.rs"]
mod kept;
#[path = "guests/power.rs"]
mod power;
#[path = "guests/settled.rs"]
mod settled;

use std::collections::BTreeMap;
use std::sync::Arc;

use muster_core::commit::CommitId;
use muster_core::executor::Executor;
use muster_core::facts::Facts;
use muster_core::gate::{Approvals, Verdict, judge};
use muster_core::guests::action::{Action, Found, Incarnation, Marker, Volume, Volumes};
use muster_core::guests::desired::{Desired, Origin, Run, Shape};
use muster_core::guests::facts::{GuestFacts, Known};
use muster_core::guests::mark::Mark;
use muster_core::guests::observed::{
    Config, Down, Form, Guest, Observed, Sight, Stored, TaskState,
};
use muster_core::guests::policy::{Policy, Size};
use muster_core::journal::{Authority, Entry, Replayed, StepResult};
use muster_core::plan::{Input, Plan, plan};
use muster_core::price::Class;
use muster_core::reading::Reading;
use muster_core::release::Nonce;
use muster_core::release::claim::{Claim, Progress};
use muster_core::rooms;
use muster_core::step::Step;
use muster_core::time::Time;

/// 2026-11-22T00:00:00Z.
const NOW: Time = Time(1_795_305_600);

/// A day in seconds.
const DAY: i64 = 86_400;

fn pve1() -> Executor {
    Executor::Guests("pve1".into())
}

fn commit() -> CommitId {
    "1".repeat(40).parse().unwrap()
}

const ROSTER: &str = "\
users:
  ann: {authentik_user: a.nn, k8s_user: ann-k, tier: power-user}
  lea: {authentik_user: l.ea, k8s_user: lea-k, tier: power-user, disabled: true}
  leo: {authentik_user: l.eo, k8s_user: leo-k, tier: power-user, expires: 2026-11-21}
";

fn files(text: &str) -> BTreeMap<String, Vec<u8>> {
    [("roster.yaml", ROSTER), ("guests/pve1.yaml", text)]
        .map(|(path, text)| (path.to_owned(), text.as_bytes().to_vec()))
        .into()
}

fn desired_of(policy: &Policy, text: &str, now: Time) -> Desired {
    let files = files(text);
    let (repo, warnings) = rooms::read(&files, &pve1()).expect(text);
    // Who answers for a guest, a plan tells too.
    assert!(warnings.iter().all(|it| it.rule == "owner"), "{text}");
    match rooms::desired(&repo, &policy.clone().into(), now.date()) {
        rooms::Desired::Guests(desired) => desired,
        rooms::Desired::Accounts(_) => panic!("{text}"),
    }
}

fn desired(text: &str) -> Desired {
    desired_of(&Policy::new(pve1()), text, NOW)
}

/// A hypervisor, what was decided for it, and what is known of it.
struct House {
    policy: Policy,
    guests: BTreeMap<String, Sight>,
    down: BTreeMap<String, Down>,
    tasks: BTreeMap<String, TaskState>,
    backups: BTreeMap<String, Reading<Option<Stored>>>,
    starts: BTreeMap<String, Reading<Option<Time>>>,
    past: Replayed,
    now: Time,
}

impl House {
    /// One whose settings let muster do everything, with nothing on it.
    fn new() -> Self {
        let mut policy = Policy::new(pve1());
        policy.create_token = true;
        policy.release_token = true;
        policy.create.templates = ["debian-13".to_owned()].into();
        policy.create.images = ["images:debian/13".to_owned()].into();
        policy.create.clones = ["900".to_owned()].into();
        policy.create.storages = ["local-lvm".to_owned()].into();
        policy.create.networks = ["vmbr0".to_owned()].into();
        policy.create.devices = ["gpu".to_owned()].into();
        policy.create.guests = 8;
        policy.create.memory = 64 << 10;
        let genesis = Entry::Genesis {
            at: Time(0),
            executor_id: "0".repeat(32),
            name: "guests/pve1".into(),
            adopt: commit(),
        };
        Self {
            policy,
            guests: BTreeMap::new(),
            down: BTreeMap::new(),
            tasks: BTreeMap::new(),
            backups: BTreeMap::new(),
            starts: BTreeMap::new(),
            past: Replayed::begin(&genesis).unwrap(),
            now: NOW,
        }
    }

    /// The same with these guests, which somebody else made.
    fn with(guests: &[(&str, bool)]) -> Self {
        let mut house = Self::new();
        for (name, running) in guests {
            house.add(name, *running);
        }
        house
    }

    /// One more guest that somebody else made.
    fn add(&mut self, name: &str, running: bool) -> &mut Guest {
        let run = if running { Run::Running } else { Run::Stopped };
        let config = Config {
            name: Some(format!("host-{name}")),
            cores: Some(1),
            memory: Some(512),
            volumes: volumes(name),
            identity: Found {
                uuid: None,
                root: Some(format!("local-lvm:vm-{name}-disk-0")),
                nic: Some(format!("BC:24:11:00:00:{}", &name[..1].to_uppercase())),
            },
            ..Config::default()
        };
        let guest = Guest::new(Form::Container, Some(run), Reading::Known(config));
        self.guests
            .insert(name.to_owned(), Sight::Seen(Box::new(guest)));
        self.guest(name)
    }

    fn guest(&mut self, name: &str) -> &mut Guest {
        match self.guests.get_mut(name) {
            Some(Sight::Seen(guest)) => guest,
            other => panic!("{name}: {other:?}"),
        }
    }

    fn config(&mut self, name: &str) -> &mut Config {
        match &mut self.guest(name).config {
            Reading::Known(config) => config,
            Reading::Unknown(why) => panic!("{why}"),
        }
    }

    fn observed(&self) -> Observed {
        let mut observed = Observed::of(self.guests.clone());
        observed.down = self.down.clone();
        observed.tasks = self.tasks.clone();
        observed.backups = self.backups.clone();
        observed.starts = self.starts.clone();
        observed
    }

    fn facts(&self) -> &Facts {
        &self.past.facts
    }

    fn known(&self) -> &Known {
        self.facts().known.guests().expect("it keeps guests")
    }

    fn of(&self, guest: &str) -> GuestFacts {
        self.known().of(guest).cloned().unwrap_or_default()
    }

    fn plan(&self, text: &str) -> Plan {
        plan(&Input {
            policy: &self.policy.clone().into(),
            commit: &commit(),
            today: self.now.date(),
            desired: &rooms::Desired::Guests(desired_of(&self.policy, text, self.now)),
            observed: &self.observed().into(),
            facts: self.facts(),
        })
    }

    fn words(&self, text: &str) -> Vec<String> {
        let plan = self.plan(text);
        plan.steps().iter().map(|it| it.step.words()).collect()
    }

    fn notes(&self, text: &str) -> Vec<String> {
        let plan = self.plan(text);
        plan.notes().iter().map(ToString::to_string).collect()
    }

    fn judged(&self, text: &str) -> Verdict {
        let plan = self.plan(text);
        let observed = self.observed().into();
        let bounds = plan.bounds(
            &self.policy.clone().into(),
            &observed,
            self.facts(),
            self.now,
        );
        let approvals = Approvals::of_begun(self.facts());
        judge(&plan, &bounds, self.facts(), &approvals, self.now)
    }

    /// The verbs of what may run, and of what waits with the code of its reason.
    fn told(&self, text: &str) -> (Vec<String>, Vec<(String, &'static str)>) {
        let verdict = self.judged(text);
        let short = |step: &Step| format!("{} {}", step.action.spelled().word(), step.resource());
        let admitted = verdict.admitted.iter().map(|it| short(it.step()));
        let held = verdict.held.iter();
        let held = held.map(|it| (short(&it.step), it.reason.code()));
        (admitted.collect(), held.collect())
    }

    /// Why the one step that waits waits.
    fn why(&self, text: &str) -> String {
        let verdict = self.judged(text);
        let [held] = &verdict.held[..] else {
            panic!("{:?}", verdict.held)
        };
        held.reason.to_string()
    }

    /// The steps of a plan whose verb is this.
    fn steps(&self, text: &str, verb: &str) -> Vec<Arc<Step>> {
        let plan = self.plan(text);
        let steps = plan.steps().iter().map(|it| Arc::clone(&it.step));
        steps
            .filter(|it| it.action.spelled().word() == verb)
            .collect()
    }

    fn step(&self, text: &str, verb: &str) -> Arc<Step> {
        let [step] = &self.steps(text, verb)[..] else {
            panic!("{verb} is not planned once: {:?}", self.words(text))
        };
        Arc::clone(step)
    }

    /// What a journal holds of a step: an intent, marks of it, and how it came out.
    fn journal(&mut self, step: &Arc<Step>, marks: &[Mark], result: StepResult) {
        let at = self.now;
        let intended = Entry::Intended {
            at,
            steps: vec![Arc::clone(step)],
            authority: Authority::Benign { commit: commit() },
        };
        self.past.apply(&intended).unwrap();
        for mark in marks {
            let mark = mark.clone().into();
            let step = step.id;
            self.past.apply(&Entry::Marked { at, step, mark }).unwrap();
        }
        let results = vec![result];
        self.past.apply(&Entry::Outcome { at, results }).unwrap();
    }

    fn done(&mut self, step: &Arc<Step>) {
        self.journal(step, &[], StepResult::Done);
    }

    /// A guest that muster made: the journal says so, and it bears the mark.
    fn make(&mut self, name: &str, running: bool) -> Marker {
        let text = format!(
            "guests: {{{name}: {{create: {{template: debian-13, storage: local-lvm}}}}}}\n"
        );
        let step = self.step(&text, "guest.create");
        self.done(&step);
        let made = self.of(name).made.expect("made").marker;
        self.add(name, running).made = Some(made.clone());
        made
    }
}

fn volumes(name: &str) -> Volumes {
    let volume = Volume {
        size: Some(8 << 30),
        storage: "local-lvm".into(),
    };
    Volumes([(format!("local-lvm:vm-{name}-disk-0"), volume)].into())
}

fn down() -> Down {
    Down {
        since: NOW,
        why: "595: no route to host".into(),
    }
}

/// One of each.
fn every_action() -> Vec<Action> {
    let guest = || "104".to_owned();
    let made = || Marker("muster-0123456789abcdef".into());
    let tags = |tags: &[&str]| tags.iter().map(|it| (*it).to_owned()).collect();
    let shape = Shape {
        origin: Origin::Template("debian-13".into()),
        storage: "local-lvm".into(),
        network: Some("vmbr0".into()),
        unprivileged: true,
        nesting: false,
        devices: tags(&[]),
        name: Some("web".into()),
        cores: Some(2),
        memory: Some(2048),
    };
    let standing = muster_core::guests::action::Standing {
        name: Some("web".into()),
        onboot: true,
        protection: false,
    };
    vec![
        Action::RecordGuest {
            guest: guest(),
            identity: Found {
                uuid: Some("0f2a".into()),
                root: Some("local-lvm:vm-104-disk-0".into()),
                nic: Some("BC:24:11:00:00:01".into()),
            },
        },
        Action::StartGuest { guest: guest() },
        Action::ShutdownGuest { guest: guest() },
        Action::StopGuest { guest: guest() },
        Action::SetGuestCores {
            guest: guest(),
            from: Some(1),
            to: 2,
        },
        Action::SetGuestMemory {
            guest: guest(),
            from: Some(512),
            to: 2048,
        },
        Action::SetGuestDescription {
            guest: guest(),
            to: "the shop\nask ann".into(),
        },
        Action::SetGuestTags {
            guest: guest(),
            from: tags(&["old"]),
            to: tags(&["new", "shop"]),
        },
        Action::SetGuestOnboot {
            guest: guest(),
            to: true,
        },
        Action::CreateGuest {
            guest: guest(),
            made: made(),
            shape: Box::new(shape),
        },
        Action::DiscardGuest {
            guest: guest(),
            made: made(),
        },
        Action::DestroyGuest {
            guest: guest(),
            volumes: volumes("104"),
            aside: "aside-01234567-104".into(),
        },
        Action::OverwriteGuest {
            guest: guest(),
            backup: "pbs:backup/104".into(),
            made: made(),
            volumes: volumes("104"),
        },
        Action::RestoreGuest {
            guest: guest(),
            found: guest(),
            standing,
            privileged: false,
        },
        Action::PurgeGuest {
            guest: guest(),
            found: guest(),
            volumes: volumes("104"),
            backup: "pbs:backup/104".into(),
        },
        Action::NoteGuestUse {
            guest: guest(),
            how: "it was started at 2026-11-30T08:00:00Z".into(),
        },
    ]
}

/// Lets a release permit steps of a plan, and begin with them: the gate asks for no more than a claim.
fn begin(house: &mut House, steps: &[Arc<Step>]) {
    let nonce = Nonce([7; 16]);
    let claim = Claim {
        nonce,
        statement: "a".repeat(64),
        commit: commit(),
        not_after: house.now.plus(3_600),
        principals: vec!["ann@example.org".into()],
        tags: vec!["release/1".into()],
        reason: "ticket 1".into(),
        at: house.now,
        steps: steps.iter().map(|it| (it.id, Progress::Waiting)).collect(),
        finished: false,
    };
    let at = house.now;
    let claimed = Entry::Claimed {
        at,
        claim,
        statement: String::new(),
    };
    house.past.apply(&claimed).unwrap();
    let by = steps.iter().map(|it| (it.id, nonce)).collect();
    let intended = Entry::Intended {
        at,
        steps: steps.to_vec(),
        authority: Authority::Released {
            commit: commit(),
            by,
        },
    };
    house.past.apply(&intended).unwrap();
}

/// What every step of a plan costs.
fn classes(house: &House, text: &str) -> Vec<(&'static str, Class)> {
    let plan = house.plan(text);
    let steps = plan.steps().iter();
    steps
        .map(|it| (it.step.action.spelled().word(), it.price.class))
        .collect()
}

fn size(cores: u32, memory: u64) -> Size {
    Size { cores, memory }
}

fn found(house: &House, name: &str) -> Incarnation {
    match &house
        .plan(&format!("guests: {{{name}: {{destroy: true}}}}\n"))
        .steps()
        .last()
        .expect("a step")
        .step
        .incarnation
    {
        rooms::Incarnation::Guest(incarnation) => *incarnation.clone(),
        rooms::Incarnation::Account(_) => panic!("no guest"),
    }
}
