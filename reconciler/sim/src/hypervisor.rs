//! A hypervisor in memory: what it shows, the tasks that it works at by itself, and the act of each step, with a crash point at every
//! request and at every note.

use std::collections::{BTreeMap, BTreeSet};

use muster_core::gate::Intent;
use muster_core::guests::action::{
    Action, Found, Marker, Standing, Volume, Volumes, is_vmid, place_aside,
};
use muster_core::guests::backup::{Spoilt, label};
use muster_core::guests::desired::{Run, Shape};
use muster_core::guests::facts::GuestFacts;
use muster_core::guests::mark::Mark;
use muster_core::guests::observed::{
    Config, Down, Form, Guest, NOT_ASKED, Observed, Pending, Question, Sight, Stored, TaskState,
};
use muster_core::guests::used::stance;
use muster_core::id::RunId;
use muster_core::reading::Reading;
use muster_core::rooms::{self, Material};
use muster_core::step::Step;
use muster_core::time::Time;
use muster_core::world::{Complaints, Recorder};

use crate::{Sim, SimError};

/// A hypervisor, and what stands on it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SimHypervisor {
    /// Its guests.
    pub guests: BTreeMap<String, Guest>,
    /// Guests of which it tells no more than that they are there.
    pub unknown: BTreeMap<String, Down>,
    /// Nodes that do not answer.
    pub down: BTreeMap<String, Down>,
    /// Why it does not answer, when it does not.
    pub silent: Option<String>,
    /// Why it refuses every request, when it does.
    pub refuses: Option<String>,
    /// Guests whose configurations cannot be read.
    pub unreadable: BTreeSet<String>,
    /// Guests that do not heed a shutdown.
    pub heedless: BTreeSet<String>,
    /// Whether what makes a guest breaks off halfway: it stays, locked.
    pub breaks_off: bool,
    /// Whether backups come up as guests.
    pub backups_are_broken: bool,
    /// Its backups: how the guest was.
    pub backups: BTreeMap<String, Guest>,
    /// Backups that are as large as this, and not as large as they were made.
    pub sizes: BTreeMap<String, u64>,
    /// Whether it shows backups to whoever may not make any; Proxmox VE does not.
    pub shows_backups: bool,
    /// When guests were started that stand aside, as far as it knows.
    pub started: BTreeMap<String, Time>,
    /// What it remembers of tasks.
    pub tasks: BTreeMap<String, TaskState>,
    /// What it took up and is not through with.
    pending: Vec<(String, Work)>,
    begun: u32,
    /// What it was asked for and did, in order: the effects, each of which counts.
    pub did: Vec<String>,
}

/// What a task does.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Work {
    Power(String, Run),
    BackUp {
        guest: String,
        backup: String,
    },
    Make {
        guest: String,
        made: Marker,
        shape: Box<Shape>,
    },
    BringUp {
        backup: String,
        scratch: String,
    },
    Overwrite {
        guest: String,
        backup: String,
        made: Marker,
    },
    Delete(String),
}

impl Work {
    fn guest(&self) -> &str {
        match self {
            Self::Power(guest, _)
            | Self::BackUp { guest, .. }
            | Self::Make { guest, .. }
            | Self::Overwrite { guest, .. }
            | Self::Delete(guest) => guest,
            Self::BringUp { scratch, .. } => scratch,
        }
    }

    fn told(&self) -> String {
        match self {
            Self::Power(guest, Run::Running) => format!("start {guest}"),
            Self::Power(guest, Run::Stopped) => format!("stop {guest}"),
            Self::BackUp { guest, .. } => format!("back up {guest}"),
            Self::Make { guest, .. } => format!("make {guest}"),
            Self::BringUp { backup, scratch } => format!("bring {backup} up as {scratch}"),
            Self::Overwrite { guest, backup, .. } => {
                format!("put {backup} in the place of {guest}")
            }
            Self::Delete(guest) => format!("delete {guest}"),
        }
    }
}

impl SimHypervisor {
    /// Adds a guest with one volume, behind muster's back.
    pub fn add_guest(&mut self, name: &str, running: bool, uuid: &str) {
        let config = Config {
            identity: Found {
                uuid: Some(uuid.to_owned()),
                ..Found::default()
            },
            name: Some(format!("host-{name}")),
            cores: Some(1),
            memory: Some(512),
            volumes: volumes_of(name),
            ..Config::default()
        };
        let run = if running { Run::Running } else { Run::Stopped };
        let guest = Guest::new(Form::Container, Some(run), Reading::Known(config));
        self.guests.insert(name.to_owned(), guest);
    }

    /// The configuration of a guest, to be changed behind muster's back.
    ///
    /// # Panics
    /// When there is no such guest.
    pub fn config(&mut self, name: &str) -> &mut Config {
        let guest = self.guests.get_mut(name).expect("a guest");
        match &mut guest.config {
            Reading::Known(config) => config,
            Reading::Unknown(why) => panic!("{why}"),
        }
    }

    /// What a look shows. Afterwards it goes on with what it took up: the next look shows how that ended.
    pub(crate) fn observe(&mut self, question: &Question) -> Observed {
        let observed = self.shows(question);
        self.go_on();
        observed
    }

    fn shows(&self, question: &Question) -> Observed {
        if let Some(why) = &self.silent {
            return Observed::unread(why.clone());
        }
        let mut guests = BTreeMap::new();
        for (name, guest) in &self.guests {
            let mut guest = guest.clone();
            if !question.asks_for(name) {
                guest.config = Reading::Unknown(NOT_ASKED.to_owned());
            } else if self.unreadable.contains(name) {
                guest.config = Reading::Unknown("the right VM.Audit is missing".to_owned());
            }
            guest.busy = self
                .pending
                .iter()
                .find(|(_, work)| work.guest() == name)
                .map(|(task, _)| task.clone());
            guests.insert(name.clone(), Sight::Seen(Box::new(guest)));
        }
        for (name, down) in &self.unknown {
            let (node, down) = (None, down.clone());
            guests.insert(name.clone(), Sight::Unknown { node, down });
        }
        let mut observed = Observed::of(guests);
        observed.down = self.down.clone();
        for backup in question.backups.keys() {
            let reading = match self.shows_backups {
                true => Reading::Known(self.stored(backup)),
                false => Reading::Unknown("the token lacks VM.Backup on the guest".to_owned()),
            };
            observed.backups.insert(backup.clone(), reading);
        }
        for found in &question.starts {
            let started = self.started.get(found).copied();
            observed
                .starts
                .insert(found.clone(), Reading::Known(started));
        }
        for task in question.tasks.keys() {
            let state = self.tasks.get(task).cloned().unwrap_or(TaskState::Lost);
            observed.tasks.insert(task.clone(), state);
        }
        observed
    }

    /// A backup as it lies there.
    fn stored(&self, backup: &str) -> Option<Stored> {
        self.backups.get(backup)?;
        Some(Stored {
            bytes: self.sizes.get(backup).copied().unwrap_or(BACKUP_BYTES),
            seal: None,
        })
    }

    /// Ends what it took up.
    fn go_on(&mut self) {
        for (task, work) in std::mem::take(&mut self.pending) {
            let end = self.finish(&work);
            self.tasks.insert(task, end);
        }
    }

    fn begin(&mut self, work: Work) -> Result<String, String> {
        if let Some(why) = &self.refuses {
            return Err(why.clone());
        }
        self.did.push(work.told());
        let task = format!("UPID:{}", self.begun);
        self.begun += 1;
        match &work {
            Work::Make { guest, made, shape } => {
                let mut it = Guest::new(
                    Form::Container,
                    Some(Run::Stopped),
                    Reading::Known(config_of(guest, shape)),
                );
                it.made = Some(made.clone());
                it.lock = Some("create".to_owned());
                self.guests.insert(guest.clone(), it);
            }
            Work::Power(..)
            | Work::BackUp { .. }
            | Work::BringUp { .. }
            | Work::Overwrite { .. }
            | Work::Delete(_) => {}
        }
        self.tasks.insert(task.clone(), TaskState::Running);
        self.pending.push((task.clone(), work));
        Ok(task)
    }

    fn finish(&mut self, work: &Work) -> TaskState {
        match work {
            Work::Power(guest, run) => {
                if *run == Run::Stopped && self.heedless.contains(guest) {
                    return TaskState::Failed("timeout waiting for the guest".to_owned());
                }
                match self.guests.get_mut(guest) {
                    Some(it) => it.run = Some(*run),
                    None => return TaskState::Failed("no such guest".to_owned()),
                }
            }
            Work::BackUp { guest, backup } => {
                let Some(it) = self.guests.get(guest) else {
                    return TaskState::Failed("no such guest".to_owned());
                };
                self.backups.insert(backup.clone(), it.clone());
            }
            Work::Make { guest, .. } => {
                if std::mem::take(&mut self.breaks_off) {
                    return TaskState::Failed("no space left on device".to_owned());
                }
                if let Some(it) = self.guests.get_mut(guest) {
                    it.lock = None;
                }
            }
            Work::BringUp { .. } => {
                if self.backups_are_broken {
                    return TaskState::Failed("the archive is corrupt".to_owned());
                }
            }
            Work::Overwrite {
                guest,
                backup,
                made,
            } => {
                let Some(mut it) = self.backups.get(backup).cloned() else {
                    return TaskState::Failed("no such backup".to_owned());
                };
                it.made = Some(made.clone());
                it.run = Some(Run::Stopped);
                self.guests.insert(guest.clone(), it);
            }
            Work::Delete(guest) => {
                self.guests.remove(guest);
            }
        }
        TaskState::Ended
    }
}

/// How large a backup is when it is made.
pub(crate) const BACKUP_BYTES: u64 = 1 << 20;

/// The one volume of a guest.
pub fn volumes_of(name: &str) -> Volumes {
    let volume = Volume {
        size: Some(8 << 30),
        storage: "local-lvm".to_owned(),
    };
    Volumes([(format!("local-lvm:vm-{name}-disk-0"), volume)].into())
}

fn config_of(guest: &str, shape: &Shape) -> Config {
    Config {
        name: shape.name.clone(),
        cores: shape.cores,
        memory: shape.memory,
        privileged: shape.is_privileged(),
        volumes: volumes_of(guest),
        identity: Found {
            nic: Some(format!("BC:24:11:{guest}")),
            ..Found::default()
        },
        ..Config::default()
    }
}

/// What became of a step: nothing to say, or what went wrong.
type Said = Result<(), Stop>;

/// Why an act of a step went no further.
enum Stop {
    /// The power went out.
    Crash(SimError),
    /// It was refused, or failed.
    Complaint(String),
}

impl From<SimError> for Stop {
    fn from(error: SimError) -> Self {
        Self::Crash(error)
    }
}

/// Carries out a batch, one step after the other.
pub(crate) fn carry_out(
    sim: &Sim,
    intent: &Intent,
    recorder: &mut dyn Recorder,
) -> Result<Complaints, SimError> {
    let mut complaints = Complaints::new();
    let all = intent.steps().count();
    let nothing = BTreeMap::new();
    let known = match intent.material() {
        Material::Guests(known) => known,
        Material::Files(_) | Material::Nothing => &nothing,
    };
    for (done, step) in intent.steps().enumerate() {
        let rooms::Action::Guest(action) = &step.action else {
            continue;
        };
        let facts = known.get(action.guest());
        let mut act = Act {
            sim,
            step,
            facts,
            recorder: &mut *recorder,
            run: intent.run_of(step.id),
        };
        match act.carry_out(action) {
            Ok(()) => {}
            Err(Stop::Crash(error)) => return Err(error),
            Err(Stop::Complaint(why)) => {
                complaints.insert(step.id, why);
            }
        }
        recorder.progress(done + 1, all);
    }
    Ok(complaints)
}

struct Act<'a> {
    sim: &'a Sim,
    step: &'a Step,
    facts: Option<&'a GuestFacts>,
    recorder: &'a mut dyn Recorder,
    run: Option<&'a RunId>,
}

impl Act<'_> {
    fn carry_out(&mut self, action: &Action) -> Said {
        match action {
            Action::RecordGuest { .. } | Action::NoteGuestUse { .. } => Ok(()),
            Action::StartGuest { guest } => self.power(guest, Run::Running),
            Action::ShutdownGuest { guest } => self.power(guest, Run::Stopped),
            Action::StopGuest { guest } => {
                self.sim.with(|it| it.hypervisor.heedless.remove(guest));
                self.power(guest, Run::Stopped)
            }
            Action::SetGuestCores { guest, to, .. } => {
                self.write(guest, "cores", Some(u64::from(*to)), |config| {
                    config.cores = Some(*to);
                })
            }
            Action::SetGuestMemory { guest, to, .. } => {
                self.write(guest, "memory", Some(*to), |config| {
                    config.memory = Some(*to)
                })
            }
            // A newline is added, as PVE does to a container's.
            Action::SetGuestDescription { guest, to } => {
                self.write(guest, "description", None, |config| {
                    config.description = if to.is_empty() {
                        String::new()
                    } else {
                        format!("{to}\n")
                    };
                })
            }
            Action::SetGuestTags { guest, to, .. } => {
                self.write(guest, "tags", None, |config| config.tags.clone_from(to))
            }
            Action::SetGuestOnboot { guest, to } => {
                self.write(guest, "onboot", None, |config| config.onboot = *to)
            }
            Action::CreateGuest { guest, made, shape } => self.make(guest, made, shape),
            Action::DiscardGuest { guest, made } => {
                if self.look(guest, |it| it.made.as_ref() == Some(made)) != Some(true) {
                    return complaint("it does not bear our mark");
                }
                self.task(Work::Delete(guest.clone()))
            }
            Action::DestroyGuest {
                guest,
                volumes,
                aside,
            } => {
                if self.look(place_aside(guest, aside), |it| is_aside(it, aside)) == Some(true) {
                    return Ok(());
                }
                self.destroy(guest, volumes, aside)
            }
            Action::OverwriteGuest {
                guest,
                backup,
                made,
                volumes,
            } => {
                if self.look(guest, |it| it.made.as_ref() == Some(made)) == Some(true) {
                    return Ok(());
                }
                self.is_as_journaled(backup)?;
                self.same_volumes(guest, volumes)?;
                let again = self.runs_again(guest)?;
                self.power(guest, Run::Stopped)?;
                self.back_up(guest, again)?;
                self.task(Work::Overwrite {
                    guest: guest.clone(),
                    backup: backup.clone(),
                    made: made.clone(),
                })
            }
            Action::RestoreGuest {
                guest,
                found,
                standing,
                ..
            } => self.give_back(guest, found, standing),
            Action::PurgeGuest {
                found,
                volumes,
                backup,
                ..
            } => {
                if self.look(found, |_| ()).is_none() {
                    return Ok(());
                }
                self.is_as_journaled(backup)?;
                self.same_volumes(found, volumes)?;
                self.task(Work::Delete(found.clone()))
            }
        }
    }

    fn look<T>(&self, guest: &str, look: impl FnOnce(&Guest) -> T) -> Option<T> {
        self.sim
            .with(|it| it.hypervisor.guests.get(guest).map(look))
    }

    fn mark(&mut self, mark: Mark) -> Said {
        let kept = self.recorder.mark(self.step.id, mark.into());
        kept.map_err(|_| Stop::Crash(SimError::Crash))
    }

    fn refused(&mut self, why: String) -> Said {
        self.mark(Mark::Refused { why: why.clone() })?;
        Err(Stop::Complaint(why))
    }

    /// Asks for a task, notes it, and waits for its end: three effects.
    fn task(&mut self, work: Work) -> Said {
        let asked = self.sim.effect(|it| it.hypervisor.begin(work))?;
        let task = match asked {
            Ok(task) => task,
            Err(why) => return self.refused(why),
        };
        self.mark(Mark::TaskBegun { task: task.clone() })?;
        let end = self.sim.with(|it| {
            it.hypervisor.go_on();
            it.hypervisor.tasks.get(&task).cloned()
        });
        let (how, well) = match end {
            Some(TaskState::Failed(why)) => (why, false),
            Some(TaskState::Ended) => ("OK".to_owned(), true),
            Some(TaskState::Running | TaskState::Lost) | None => ("lost".to_owned(), false),
        };
        let said = if well { Ok(()) } else { complaint(&how) };
        self.mark(Mark::TaskEnded { task, how, well })?;
        said
    }

    fn power(&mut self, guest: &str, wanted: Run) -> Said {
        if self.look(guest, |it| it.run == Some(wanted)) == Some(true) {
            return Ok(());
        }
        let said = self.task(Work::Power(guest.to_owned(), wanted));
        let heedless = self.sim.with(|it| it.hypervisor.heedless.contains(guest));
        match said {
            Err(Stop::Complaint(why)) if wanted == Run::Stopped && heedless => {
                self.mark(Mark::Unheeded {})?;
                Err(Stop::Complaint(why))
            }
            said => said,
        }
    }

    /// One synchronous write. What only a reboot puts in force waits for it in a virtual machine that runs.
    fn write(
        &mut self,
        guest: &str,
        key: &str,
        number: Option<u64>,
        change: impl FnOnce(&mut Config),
    ) -> Said {
        let done = self.sim.effect(|it| {
            let hypervisor = &mut it.hypervisor;
            if let Some(why) = &hypervisor.refuses {
                return Err(why.clone());
            }
            let Some(it) = hypervisor.guests.get_mut(guest) else {
                return Err("no such guest".to_owned());
            };
            let waits = it.kind == Form::Machine && it.run == Some(Run::Running);
            let Reading::Known(config) = &mut it.config else {
                return Err("it cannot be read".to_owned());
            };
            match number.filter(|_| waits) {
                Some(then) => {
                    let now = match key {
                        "cores" => config.cores.map(u64::from),
                        _ => config.memory,
                    };
                    let pending = Pending {
                        now: now.map(|it| it.to_string()),
                        then: Some(then.to_string()),
                    };
                    config.pending.insert(key.to_owned(), pending);
                }
                None => change(config),
            }
            hypervisor.did.push(format!("{key} {guest}"));
            Ok(())
        })?;
        match done {
            Ok(()) => Ok(()),
            Err(why) => self.refused(why),
        }
    }

    fn make(&mut self, guest: &str, made: &Marker, shape: &Shape) -> Said {
        match self.look(guest, |it| {
            it.made.as_ref() == Some(made) && it.lock.is_none()
        }) {
            Some(true) => Ok(()),
            Some(false) => complaint("a guest is there already"),
            None => self.task(Work::Make {
                guest: guest.to_owned(),
                made: made.clone(),
                shape: Box::new(shape.clone()),
            }),
        }
    }

    fn same_volumes(&self, guest: &str, volumes: &Volumes) -> Said {
        let same = self.look(guest, |it| {
            it.config.known().is_some_and(|it| it.volumes == *volumes)
        });
        match same {
            Some(true) => Ok(()),
            Some(false) => complaint("its volumes are not those of the step any more"),
            None => complaint("no such guest"),
        }
    }

    /// What the backup of this run is called, when the guest ran again so often since the step was planned.
    fn backup_name(&self, guest: &str, more: u32) -> String {
        let again = self.facts.map_or(0, |it| it.again) + more;
        format!("backup/{guest}/{}", label(self.step.id, self.run, again))
    }

    fn has_backup(&self, backup: &str) -> bool {
        self.sim
            .with(|it| it.hypervisor.backups.contains_key(backup))
    }

    /// Marks that the guest runs although this run has a backup of it.
    fn runs_again(&mut self, guest: &str) -> Result<u32, Stop> {
        let runs = self.look(guest, |it| it.run != Some(Run::Stopped)) == Some(true);
        if !runs || !self.has_backup(&self.backup_name(guest, 0)) {
            return Ok(0);
        }
        self.mark(Mark::RanAgain {})?;
        Ok(1)
    }

    /// The backup of this run, made once however often it is tried.
    fn back_up(&mut self, guest: &str, again: u32) -> Result<String, Stop> {
        let backup = self.backup_name(guest, again);
        if !self.has_backup(&backup) {
            self.task(Work::BackUp {
                guest: guest.to_owned(),
                backup: backup.clone(),
            })?;
        }
        let known = self.facts.iter().flat_map(|it| &it.backups);
        if !known.into_iter().any(|it| it.backup == backup) {
            self.mark(Mark::BackedUp {
                backup: backup.clone(),
                bytes: BACKUP_BYTES,
                seal: None,
            })?;
        }
        Ok(backup)
    }

    /// Refuses where a backup is not as it was when it was made.
    fn is_as_journaled(&mut self, backup: &str) -> Said {
        let found = self.sim.with(|it| it.hypervisor.stored(backup));
        let noted = self.facts.iter().flat_map(|it| &it.backups);
        let noted = noted.into_iter().rfind(|it| it.backup == backup);
        let spoilt = match (noted, &found) {
            (Some(noted), found) => noted.spoilt(found.as_ref()),
            (None, None) => Some(Spoilt::Gone),
            (None, Some(_)) => None,
        };
        let Some(spoilt) = spoilt else {
            return Ok(());
        };
        let why = spoilt.to_string();
        self.mark(Mark::Spoilt {
            backup: backup.to_owned(),
            why: why.clone(),
        })?;
        complaint(&format!("the backup {backup} {why}"))
    }

    fn destroy(&mut self, guest: &str, volumes: &Volumes, aside: &str) -> Said {
        let there = place_aside(guest, aside);
        let renamed = self.look(guest, |_| ()).is_none() && self.look(there, |_| ()).is_some();
        let stands = if renamed { there } else { guest };
        if !renamed {
            self.same_volumes(guest, volumes)?;
        }
        let again = self.runs_again(stands)?;
        self.power(stands, Run::Stopped)?;
        let tried = self.facts.and_then(|it| {
            let noted = it.backup_of(self.step.id, self.run)?;
            noted.rehearsed.map(|_| noted.backup.as_str())
        });
        if again > 0 || !tried.is_some_and(|it| self.has_backup(it)) {
            let backup = self.back_up(stands, again)?;
            self.rehearse(&backup)?;
        }
        self.set_aside(stands, guest, aside)
    }

    /// Brings the backup up as a guest of its own, starts it, and takes it away again.
    fn rehearse(&mut self, backup: &str) -> Said {
        let scratch = self.sim.with(|it| {
            let free = |number: &u32| !it.hypervisor.guests.contains_key(&number.to_string());
            (9000..).find(free).unwrap_or_default().to_string()
        });
        let made = Marker::of_rehearsal(backup);
        self.mark(Mark::ScratchTaken {
            scratch: scratch.clone(),
            made: made.clone(),
        })?;
        // The mark is in the very call that makes the guest.
        let (from, to) = (backup.to_owned(), scratch.clone());
        self.sim.effect(|it| {
            let hypervisor = &mut it.hypervisor;
            if let Some(copy) = hypervisor.backups.get(&from).cloned() {
                let mut copy = Guest {
                    made: Some(made),
                    run: Some(Run::Stopped),
                    ..copy
                };
                if let Reading::Known(config) = &mut copy.config {
                    config.onboot = false;
                    config.identity = Found::default();
                    config.volumes = volumes_of(&to);
                }
                hypervisor.guests.insert(to.clone(), copy);
            }
        })?;
        self.task(Work::BringUp {
            backup: backup.to_owned(),
            scratch: scratch.clone(),
        })?;
        self.power(&scratch, Run::Running)?;
        self.mark(Mark::Rehearsed { started: true })?;
        self.task(Work::Delete(scratch.clone()))?;
        self.mark(Mark::ScratchGone { scratch })
    }

    /// Two requests, the name first; `from` is where the guest stands now.
    fn set_aside(&mut self, from: &str, guest: &str, aside: &str) -> Said {
        let seen = self.look(from, |it| {
            let config = it.config.known()?;
            let standing = Standing {
                name: config.name.clone(),
                onboot: config.onboot,
                protection: config.protection,
            };
            Some((standing, stance(guest, config)))
        });
        let Some((standing, stance)) = seen.flatten() else {
            return complaint("it cannot be read");
        };
        self.mark(Mark::SetAside {
            standing,
            stance: Some(stance),
        })?;
        let to = place_aside(guest, aside);
        self.rename(from, to)?;
        self.write(to, "standing", None, |config| {
            config.name = Some(aside.to_owned());
            config.protection = true;
            config.onboot = false;
        })
    }

    fn give_back(&mut self, guest: &str, found: &str, standing: &Standing) -> Said {
        if !is_vmid(guest) && self.look(guest, |_| ()).is_some() {
            return match self.look(found, |_| ()) {
                Some(()) => complaint("another guest has its name"),
                None => Ok(()),
            };
        }
        self.move_and_write(found, guest, |config| {
            config.name.clone_from(&standing.name);
            config.onboot = standing.onboot;
            config.protection = standing.protection;
        })
    }

    /// Two requests: the settings, and the name.
    fn move_and_write(&mut self, from: &str, to: &str, change: impl FnOnce(&mut Config)) -> Said {
        self.write(from, "standing", None, change)?;
        self.rename(from, to)
    }

    fn rename(&mut self, from: &str, to: &str) -> Said {
        if from == to {
            return Ok(());
        }
        self.sim.effect(|it| {
            let hypervisor = &mut it.hypervisor;
            if let Some(guest) = hypervisor.guests.remove(from) {
                hypervisor.guests.insert(to.to_owned(), guest);
                hypervisor.did.push(format!("rename {from} to {to}"));
            }
        })?;
        Ok(())
    }
}

fn is_aside(guest: &Guest, called: &str) -> bool {
    let config = guest.config.known();
    config.is_some_and(|it| it.name.as_deref() == Some(called) && it.protection && !it.onboot)
}

fn complaint(why: &str) -> Said {
    Err(Stop::Complaint(why.to_owned()))
}
