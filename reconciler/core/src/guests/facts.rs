//! What muster knows of the guests it keeps: part of the facts. Read back from the local journal and from nothing else, so that no
//! repository, label or answer of a hypervisor can make anything benign (G13, H6).

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::action::{Action, Found, Incarnation, Marker, Standing, place_aside};
use super::backup::Backup;
use super::mark::Mark;
use crate::id::{RunId, StepId};
use crate::price::Takes;
use crate::time::Time;

/// What is known of guests beyond what the hypervisor shows.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Known {
    /// The guests of which something is known, by vmid or name.
    pub guests: BTreeMap<String, GuestFacts>,
}

/// What is known of one guest.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct GuestFacts {
    /// The guest that somebody else made, as it was first seen before something was done to it that cannot be undone (H8).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub seen: Option<Seen>,
    /// The guest that muster made.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub made: Option<Made>,
    /// How many guests under this name muster made.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub times: u32,
    /// How often this one was set aside and given back.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub restored: u32,
    /// Where it was set aside.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub aside: Option<Aside>,
    /// How it stood when an act began to set it aside, until that is done; what the first try noted counts, since a second one may
    /// see it halfway.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub standing: Option<Stood>,
    /// Backups that muster made of it, oldest first; [`super::backup::BACKUP_LIMIT`] of them.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub backups: Vec<Backup>,
    /// How often it ran again between the backup of an end and the rest of that end.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub again: u32,
    /// The backup that was not as it should be when a step relied on it last.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub spoilt: Option<SpoiltBackup>,
    /// Guests that are there for a trial of a backup of this one, by number or name: they are ours, and nobody's data.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub scratch: BTreeMap<String, Marker>,
    /// Tasks that were begun, oldest first: all open ones, and how the last [`TASK_LIMIT`] others ended.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub tasks: Vec<Task>,
    /// Since when it was asked to shut down and did not.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub unheeded: Option<Time>,
    /// What was refused last, and how often in a row in the same words (GB12).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub refusal: Option<Refusal>,
    /// The backup that was last put in its place.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub overwritten: Option<String>,
    /// A step that changes which guest stands here, or where it stands, as long as it is begun and not seen done: once the hypervisor
    /// shows it done, this very step is planned again, whatever the guest is by then, so that it comes to its end.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub underway: Option<Box<Underway>>,
}

/// A step that is begun and not seen done.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Underway {
    /// What it does.
    pub action: Action,
    /// To which guest.
    pub incarnation: Incarnation,
}

/// How many tasks that ended are remembered of a guest.
pub const TASK_LIMIT: usize = 8;

fn is_zero(number: &u32) -> bool {
    *number == 0
}

/// A guest that somebody else made.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Seen {
    /// The entry that says so.
    pub entry: StepId,
    /// What it was seen to be.
    pub identity: Found,
}

/// A guest that muster made.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Made {
    /// What is written on it.
    pub marker: Marker,
    /// Whether its creation came to its end. What is not finished can be discarded: there is nobody's data in it (G12).
    pub finished: bool,
    /// Whether the hypervisor was seen to begin with it.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub begun: bool,
}

/// How a guest stood when a step began to set it aside.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Stood {
    /// Which step.
    pub step: StepId,
    /// In which run of it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub run: Option<RunId>,
    /// How.
    pub standing: Standing,
    /// What nobody is to change on it from then on.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stance: Option<String>,
}

/// A guest that is set aside.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Aside {
    /// Since when.
    pub since: Time,
    /// Where it stands: its vmid, or the name that it was given.
    pub found: String,
    /// What it is called meanwhile.
    pub called: String,
    /// How it stood before.
    pub standing: Standing,
    /// What nobody changed on it since, unless it was used ([`super::used::stance`]).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stance: Option<String>,
    /// That somebody used it, and what showed it, once that was seen.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub used: Option<String>,
}

/// A backup that was not as it should be when a step relied on it.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SpoiltBackup {
    /// Which.
    pub backup: String,
    /// How it was.
    pub why: String,
    /// When.
    pub at: Time,
}

/// A task that the hypervisor began for a step.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Task {
    /// Its handle.
    pub task: String,
    /// For which step.
    pub step: StepId,
    /// When it was begun.
    pub at: Time,
    /// How it ended, in the hypervisor's words; `None` while that is open.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub end: Option<String>,
    /// Whether its step was seen done: it says nothing of a later try of the same step then.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub done: bool,
}

/// What was refused, and how often in a row in the same words.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Refusal {
    /// Which step.
    pub step: StepId,
    /// Why.
    pub why: String,
    /// How often.
    pub times: u32,
    /// When last.
    pub last: Time,
}

impl Refusal {
    /// After how many refusals in the same words a step is not tried again that day.
    pub const ENOUGH: u32 = 3;
}

impl Known {
    /// Nothing yet.
    pub const fn new() -> Self {
        Self {
            guests: BTreeMap::new(),
        }
    }

    /// What is known of a guest.
    pub fn of(&self, guest: &str) -> Option<&GuestFacts> {
        self.guests.get(guest)
    }

    /// Whether this journal says that what stands under `guest` with `marker` on it is ours and holds nobody's data: made here and
    /// not finished, or taken for a trial (G12, G13). The only thing that makes the end of a guest benign.
    pub fn is_expendable(&self, guest: &str, marker: &Marker) -> bool {
        let unfinished = |it: &GuestFacts| {
            it.made
                .as_ref()
                .is_some_and(|made| !made.finished && made.marker == *marker)
        };
        self.of(guest).is_some_and(unfinished) || self.is_scratch(guest, marker)
    }

    /// Whether this executor took what stands under `guest` with `marker` on it for a trial.
    pub fn is_scratch(&self, guest: &str, marker: &Marker) -> bool {
        self.guests
            .values()
            .any(|it| it.scratch.get(guest) == Some(marker))
    }

    /// Tasks of which it is not known how they ended, with the guest that each is about (H12).
    pub fn open_tasks(&self) -> impl Iterator<Item = (&Task, &str)> {
        self.guests.iter().flat_map(|(guest, it)| {
            let open = it.tasks.iter().filter(|task| task.end.is_none());
            open.map(move |task| (task, guest.as_str()))
        })
    }

    /// Takes in what an act noted of a step.
    pub(crate) fn marked(
        &mut self,
        (step, action): (StepId, &Action),
        mark: &Mark,
        run: Option<RunId>,
        at: Time,
    ) {
        let facts = self.guests.entry(action.guest().to_owned()).or_default();
        match mark {
            Mark::TaskBegun { task } => {
                if let (
                    Action::CreateGuest { made, .. },
                    None
                    | Some(Made {
                        finished: false, ..
                    }),
                ) = (action, &facts.made)
                {
                    facts.made = Some(Made {
                        marker: made.clone(),
                        finished: false,
                        begun: true,
                    });
                }
                facts.begin_task(Task {
                    task: task.clone(),
                    step,
                    at,
                    end: None,
                    done: false,
                });
            }
            Mark::TaskEnded { task, how, well: _ } => facts.end_task(task, how),
            Mark::Unheeded {} => facts.unheeded = Some(at),
            Mark::Refused { why } => facts.refuse(step, why, at),
            Mark::BackedUp {
                backup,
                bytes,
                seal,
            } => facts.take_backup(Backup {
                backup: backup.clone(),
                bytes: *bytes,
                seal: seal.clone(),
                at,
                step,
                run,
                past: false,
                rehearsed: None,
            }),
            Mark::RanAgain {} => facts.ran_again(),
            Mark::Spoilt { backup, why } => {
                facts.spoilt = Some(SpoiltBackup {
                    backup: backup.clone(),
                    why: why.clone(),
                    at,
                });
            }
            Mark::ScratchTaken { scratch, made } => {
                facts.scratch.insert(scratch.clone(), made.clone());
            }
            Mark::ScratchGone { scratch } => {
                facts.scratch.remove(scratch);
            }
            Mark::Rehearsed { started } => {
                let of_run = |it: &&mut Backup| it.step == step && it.run == run && !it.past;
                if let Some(backup) = facts.backups.iter_mut().rfind(of_run) {
                    backup.rehearsed = Some(*started);
                }
            }
            Mark::SetAside { standing, stance } => {
                let of_run = |it: &Stood| it.step == step && it.run == run;
                if !facts.standing.as_ref().is_some_and(of_run) {
                    facts.standing = Some(Stood {
                        step,
                        run,
                        standing: standing.clone(),
                        stance: stance.clone(),
                    });
                }
            }
        }
    }

    /// Takes in that a release is at its end.
    pub(crate) fn run_ended(&mut self, run: &RunId) {
        for facts in self.guests.values_mut() {
            facts.run_ended(run);
        }
    }

    /// Takes in that a step came out otherwise than done: what of it may be there is remembered.
    pub(crate) fn not_done(&mut self, action: &Action, incarnation: &Incarnation) {
        match action {
            Action::DestroyGuest { guest, .. }
            | Action::OverwriteGuest { guest, .. }
            | Action::RestoreGuest { guest, .. }
            | Action::PurgeGuest { guest, .. } => {
                let facts = self.guests.entry(guest.clone()).or_default();
                facts.underway = Some(Box::new(Underway {
                    action: action.clone(),
                    incarnation: incarnation.clone(),
                }));
            }
            Action::CreateGuest { guest, made, .. } => {
                let facts = self.guests.entry(guest.clone()).or_default();
                let begun = facts.made.as_ref().is_some_and(|it| it.begun);
                facts.made = Some(Made {
                    marker: made.clone(),
                    finished: false,
                    begun,
                });
            }
            // The hypervisor alone tells how far these have come, and the marks how far an act was.
            Action::RecordGuest { .. }
            | Action::StartGuest { .. }
            | Action::ShutdownGuest { .. }
            | Action::StopGuest { .. }
            | Action::SetGuestCores { .. }
            | Action::SetGuestMemory { .. }
            | Action::SetGuestDescription { .. }
            | Action::SetGuestTags { .. }
            | Action::SetGuestOnboot { .. }
            | Action::DiscardGuest { .. }
            | Action::NoteGuestUse { .. } => {}
        }
    }

    /// Takes in that a step is done.
    pub(crate) fn done(&mut self, id: StepId, action: &Action, at: Time) {
        let guest = action.guest().to_owned();
        let facts = self.guests.entry(guest.clone()).or_default();
        facts.settle_tasks(id);
        if facts.refusal.as_ref().is_some_and(|it| it.step == id) {
            facts.refusal = None;
        }
        if facts
            .underway
            .as_ref()
            .is_some_and(|it| it.action == *action)
        {
            facts.underway = None;
        }
        match action {
            Action::RecordGuest { guest: _, identity } => {
                facts.seen = Some(Seen {
                    entry: id,
                    identity: identity.clone(),
                });
                facts.restored = 0;
            }
            Action::StartGuest { .. } | Action::ShutdownGuest { .. } | Action::StopGuest { .. } => {
                facts.unheeded = None;
            }
            Action::CreateGuest { made, .. } => facts.is_made(made),
            Action::DiscardGuest { guest, made } => {
                if facts.made.as_ref().is_some_and(|it| it.marker == *made) {
                    facts.end();
                }
                for facts in self.guests.values_mut() {
                    if facts.scratch.get(guest) == Some(made) {
                        facts.scratch.remove(guest);
                    }
                }
            }
            Action::DestroyGuest {
                guest,
                aside,
                volumes: _,
            } => {
                facts.unheeded = None;
                let stood = facts.standing.take();
                facts.aside = Some(Aside {
                    stance: stood.as_ref().and_then(|it| it.stance.clone()),
                    since: at,
                    found: place_aside(guest, aside).to_owned(),
                    called: aside.clone(),
                    standing: stood.map(|it| it.standing).unwrap_or_default(),
                    used: None,
                });
            }
            Action::OverwriteGuest { backup, made, .. } => {
                facts.spoilt = None;
                facts.is_made(made);
                facts.overwritten = Some(backup.clone());
            }
            Action::RestoreGuest { .. } => {
                facts.aside = None;
                facts.standing = None;
                facts.restored += 1;
            }
            Action::PurgeGuest { .. } => facts.end(),
            Action::NoteGuestUse { how, .. } => {
                if let Some(aside) = &mut facts.aside {
                    aside.used = Some(how.clone());
                }
            }
            // Read back from the hypervisor each cycle.
            Action::SetGuestCores { .. }
            | Action::SetGuestMemory { .. }
            | Action::SetGuestDescription { .. }
            | Action::SetGuestTags { .. }
            | Action::SetGuestOnboot { .. } => {}
        }
        self.tidy(&guest);
    }

    /// What was recorded after `at` counts as recorded then: a period of grace that a wrong clock began begins anew.
    pub(crate) fn go_back_to(&mut self, at: Time) {
        let back = |moment: &mut Time| *moment = (*moment).min(at);
        for facts in self.guests.values_mut() {
            facts.aside.iter_mut().for_each(|it| back(&mut it.since));
            facts.backups.iter_mut().for_each(|it| back(&mut it.at));
            facts.spoilt.iter_mut().for_each(|it| back(&mut it.at));
            facts.tasks.iter_mut().for_each(|it| back(&mut it.at));
            facts.unheeded.iter_mut().for_each(back);
            facts.refusal.iter_mut().for_each(|it| back(&mut it.last));
        }
    }

    /// Keeps no line for a guest of which nothing is known.
    fn tidy(&mut self, guest: &str) {
        if self.of(guest) == Some(&GuestFacts::default()) {
            self.guests.remove(guest);
        }
    }
}

impl GuestFacts {
    /// Tasks of one guest run one after the other: what was open before another one began is over, however it ended.
    fn begin_task(&mut self, task: Task) {
        let other = |it: &&mut Task| it.end.is_none() && it.step != task.step;
        for it in self.tasks.iter_mut().filter(other) {
            it.end = Some("not seen".to_owned());
        }
        self.tasks.retain(|it| it.task != task.task);
        self.tasks.push(task);
        self.bound_tasks();
    }

    fn end_task(&mut self, task: &str, how: &str) {
        for it in self.tasks.iter_mut().filter(|it| it.task == task) {
            it.end = Some(how.to_owned());
        }
        self.bound_tasks();
    }

    /// The world shows a step done: how its tasks ended need not be asked any more.
    fn settle_tasks(&mut self, step: StepId) {
        for it in self.tasks.iter_mut().filter(|it| it.step == step) {
            it.done = true;
            it.end.get_or_insert_with(|| "seen done".to_owned());
        }
        self.bound_tasks();
    }

    fn bound_tasks(&mut self) {
        let ended = self.tasks.iter().filter(|it| it.end.is_some()).count();
        let mut over = ended.saturating_sub(TASK_LIMIT);
        self.tasks.retain(|it| {
            let goes = over > 0 && it.end.is_some();
            over -= usize::from(goes);
            !goes
        });
    }

    fn refuse(&mut self, step: StepId, why: &str, at: Time) {
        let before = self
            .refusal
            .as_ref()
            .filter(|it| it.step == step && it.why == why);
        self.refusal = Some(Refusal {
            step,
            why: why.to_owned(),
            times: before.map_or(0, |it| it.times).saturating_add(1),
            last: at,
        });
    }

    /// A guest that muster made stands here.
    fn is_made(&mut self, marker: &Marker) {
        self.made = Some(Made {
            marker: marker.clone(),
            finished: true,
            begun: true,
        });
        self.times += 1;
        self.seen = None;
        self.restored = 0;
        self.overwritten = None;
        self.unheeded = None;
    }

    /// What stood here is gone; the next one is another. Its backups stay.
    fn end(&mut self) {
        let Self {
            seen,
            made,
            times: _,
            restored,
            aside,
            standing,
            backups: _,
            again: _,
            spoilt,
            scratch: _,
            tasks: _,
            unheeded,
            refusal: _,
            overwritten,
            underway: _,
        } = self;
        (*seen, *made, *aside, *standing) = (None, None, None, None);
        (*unheeded, *overwritten, *spoilt) = (None, None, None);
        *restored = 0;
    }
}

/// How the limits count a step, when the facts are folded and when it is planned: stops count like removals (H13).
pub(crate) fn takes(action: &Action) -> Takes {
    match action {
        Action::ShutdownGuest { .. }
        | Action::StopGuest { .. }
        | Action::DestroyGuest { .. }
        | Action::OverwriteGuest { .. } => Takes::Removal,
        Action::RecordGuest { .. }
        | Action::StartGuest { .. }
        | Action::SetGuestCores { .. }
        | Action::SetGuestMemory { .. }
        | Action::SetGuestDescription { .. }
        | Action::SetGuestTags { .. }
        | Action::SetGuestOnboot { .. }
        | Action::CreateGuest { .. }
        | Action::DiscardGuest { .. }
        | Action::RestoreGuest { .. }
        | Action::NoteGuestUse { .. }
        // It stands still for days, and waits for a release of its own.
        | Action::PurgeGuest { .. } => Takes::Nothing,
    }
}
