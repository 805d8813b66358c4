//! How far the hypervisor shows a step. A task that ended well is no evidence: an HA guest is stopped when it shows that, and not when
//! somebody promised it (GB2).

use super::action::{Action, Marker, Standing, place_aside};
use super::backup::Backup;
use super::desired::Run;
use super::facts::{GuestFacts, Known};
use super::observed::{Config, Down, Guest, Observed, Sight, TaskState};
use crate::id::StepId;
use crate::reading::{Reading, StepState};

/// How far `action`, which is the step `step`, has come, by what was observed and by what its act noted on the way.
pub fn settle(step: StepId, action: &Action, observed: &Observed, known: &Known) -> StepState {
    let look = Look {
        step,
        observed,
        facts: known.of(action.guest()),
    };
    match action {
        Action::RecordGuest { guest, identity } => look.at(guest, |found| match found {
            Some(found) => with_config(found, |config| {
                StepState::when(config.identity == *identity)
            }),
            None => StepState::NotReached,
        }),
        Action::StartGuest { guest } => look.at(guest, |found| look.power(found, Run::Running)),
        Action::ShutdownGuest { guest } | Action::StopGuest { guest } => {
            look.at(guest, |found| look.power(found, Run::Stopped))
        }
        Action::SetGuestCores { guest, to, .. } => look.config(guest, |config| {
            let asked = in_force(config, "cores", config.cores.map(u64::from));
            asked == Some(u64::from(*to))
        }),
        Action::SetGuestMemory { guest, to, .. } => look.config(guest, |config| {
            in_force(config, "memory", config.memory) == Some(*to)
        }),
        Action::SetGuestDescription { guest, to } => look.config(guest, |config| {
            super::normal::description(&config.description) == *to
        }),
        Action::SetGuestTags { guest, to, .. } => look.config(guest, |config| config.tags == *to),
        Action::SetGuestOnboot { guest, to } => look.config(guest, |config| config.onboot == *to),
        Action::CreateGuest { guest, made, .. } => look.at(guest, |found| look.made(found, made)),
        Action::DiscardGuest { guest, made } => look.at(guest, |found| match found {
            Some(found) if found.made.as_ref() == Some(made) => look.begun_or_not(Some(found)),
            // What stands there now is another one.
            Some(_) | None => StepState::Reached,
        }),
        Action::DestroyGuest { guest, aside, .. } => look.set_aside(guest, aside),
        Action::OverwriteGuest { guest, made, .. } => look.at(guest, |found| match found {
            Some(found) if found.made.as_ref() == Some(made) && is_at_rest(found) => {
                StepState::Reached
            }
            Some(_) | None => look.begun_or_not(found),
        }),
        Action::RestoreGuest {
            guest,
            found,
            standing,
            ..
        } => look.restored(guest, found, standing),
        Action::PurgeGuest { found, .. } => look.purged(found),
        // What was seen stays so, whatever is seen by now.
        Action::NoteGuestUse { .. } => StepState::Reached,
    }
}

/// The value that a key has, or will have after the next reboot: a change that waits for one is made (GB6).
pub(super) fn in_force(config: &Config, key: &str, now: Option<u64>) -> Option<u64> {
    match config.pending.get(key) {
        Some(pending) => pending.then.as_ref().and_then(|it| it.parse().ok()),
        None => now,
    }
}

fn is_at_rest(guest: &Guest) -> bool {
    guest.lock.is_none() && guest.busy.is_none()
}

fn with_config(guest: &Guest, look: impl FnOnce(&Config) -> StepState) -> StepState {
    match &guest.config {
        Reading::Known(config) => look(config),
        Reading::Unknown(why) => StepState::Unknown(why.clone()),
    }
}

struct Look<'a> {
    step: StepId,
    observed: &'a Observed,
    facts: Option<&'a GuestFacts>,
}

impl Look<'_> {
    /// What a guest shows; unknown where it cannot be read, or may stand on a node that does not answer.
    fn at(&self, guest: &str, look: impl FnOnce(Option<&Guest>) -> StepState) -> StepState {
        let guests = match &self.observed.guests {
            Reading::Known(guests) => guests,
            Reading::Unknown(why) => return StepState::Unknown(why.clone()),
        };
        match guests.get(guest) {
            Some(Sight::Seen(guest)) => look(Some(guest)),
            Some(Sight::Unknown { down, .. }) => StepState::Unknown(down.why.clone()),
            None => match self.observed.down.iter().next() {
                Some((node, Down { why, .. })) => StepState::Unknown(format!(
                    "it may be on node {node}, which does not answer: {why}"
                )),
                None => look(None),
            },
        }
    }

    fn config(&self, guest: &str, reached: impl FnOnce(&Config) -> bool) -> StepState {
        self.at(guest, |found| match found {
            Some(found) => with_config(found, |config| StepState::when(reached(config))),
            None => is_gone(),
        })
    }

    fn power(&self, found: Option<&Guest>, wanted: Run) -> StepState {
        let Some(guest) = found else {
            return is_gone();
        };
        if guest.run == Some(wanted) {
            return StepState::Reached;
        }
        let asked = guest.ha.as_ref().is_some_and(|it| it.asked == Some(wanted));
        if asked {
            let why = "the high availability manager was asked, and the guest does not show it yet";
            return StepState::Halfway(why.to_owned());
        }
        match self.running_task() {
            Some(task) => StepState::Halfway(still_running(task)),
            None => StepState::NotReached,
        }
    }

    fn made(&self, found: Option<&Guest>, made: &Marker) -> StepState {
        let Some(guest) = found else {
            return match self.running_task() {
                Some(task) => StepState::Halfway(still_running(task)),
                None => StepState::NotReached,
            };
        };
        if guest.made.as_ref() != Some(made) {
            let begun = self.facts.and_then(|it| it.made.as_ref());
            return if begun.is_some_and(|it| it.begun && it.marker == *made) && guest.made.is_none()
            {
                StepState::Halfway("it is there, and bears no mark yet".to_owned())
            } else {
                another()
            };
        }
        if is_at_rest(guest) && self.running_task().is_none() {
            StepState::Reached
        } else {
            StepState::Halfway("it is being made".to_owned())
        }
    }

    fn set_aside(&self, guest: &str, aside: &str) -> StepState {
        self.at(place_aside(guest, aside), |found| match found {
            Some(found) => with_config(found, |config| {
                let is_aside = config.name.as_deref() == Some(aside)
                    && config.protection
                    && !config.onboot
                    && found.run == Some(Run::Stopped);
                if is_aside {
                    StepState::Reached
                } else {
                    self.begun_or_not(Some(found))
                }
            }),
            None => self.at(guest, |found| match found {
                Some(_) => self.begun_or_not(found),
                None => StepState::Strange(GONE.to_owned()),
            }),
        })
    }

    fn restored(&self, guest: &str, place: &str, standing: &Standing) -> StepState {
        self.at(guest, |found| match found {
            Some(found) => with_config(found, |config| {
                let named = standing.name.is_none() || config.name == standing.name;
                let stands = named
                    && config.onboot == standing.onboot
                    && config.protection == standing.protection;
                if stands {
                    StepState::Reached
                } else {
                    self.begun_or_not(Some(found))
                }
            }),
            None => self.at(place, |found| match found {
                Some(_) => self.begun_or_not(found),
                None => is_gone(),
            }),
        })
    }

    fn purged(&self, place: &str) -> StepState {
        self.at(place, |found| match found {
            None => StepState::Reached,
            Some(found) => with_config(found, |config| {
                let aside = self.facts.and_then(|it| it.aside.as_ref());
                if aside.is_some_and(|it| config.name.as_ref() != Some(&it.called)) {
                    return StepState::Strange(ANOTHER.to_owned());
                }
                self.begun_or_not(Some(found))
            }),
        })
    }

    /// Whether the act of the step got anywhere, by what it noted and by what the hypervisor is at work on.
    fn begun_or_not(&self, found: Option<&Guest>) -> StepState {
        let busy = found.and_then(|it| it.busy.as_deref());
        if let Some(task) = self.running_task().or(busy) {
            return StepState::Halfway(still_running(task));
        }
        let Some(facts) = self.facts else {
            return StepState::NotReached;
        };
        let task = facts
            .tasks
            .iter()
            .rfind(|it| it.step == self.step && !it.done);
        let of_step = |it: &&Backup| it.step == self.step && !it.past;
        let backup = facts.backups.iter().rfind(of_step);
        if facts
            .standing
            .as_ref()
            .is_some_and(|it| it.step == self.step)
        {
            StepState::Halfway("it is about to be set aside".to_owned())
        } else if let Some(backup) = backup {
            StepState::Halfway(match backup.rehearsed {
                Some(_) => format!("the backup {} is made and tried", backup.backup),
                None => format!("the backup {} is made", backup.backup),
            })
        } else if let Some(task) = task {
            StepState::Halfway(format!(
                "the hypervisor began {} ({})",
                task.task,
                task.end.as_deref().unwrap_or("its end was not seen")
            ))
        } else {
            StepState::NotReached
        }
    }

    /// A task of the step that the hypervisor still works at.
    fn running_task(&self) -> Option<&str> {
        let tasks = &self.facts?.tasks;
        let running = |task: &str| self.observed.tasks.get(task) == Some(&TaskState::Running);
        tasks
            .iter()
            .filter(|it| it.step == self.step && it.end.is_none())
            .map(|it| it.task.as_str())
            .find(|it| running(it))
    }
}

fn still_running(task: &str) -> String {
    format!("the hypervisor still works at it ({task})")
}

const GONE: &str = "the guest is gone";

const ANOTHER: &str =
    "another guest has that number now; look at both, and put the right one into the row";

/// The guest is gone: a plan tells that as long as it is so, and plans the step again when it is back.
fn is_gone() -> StepState {
    StepState::OutOfPlace(GONE.to_owned())
}

/// Another guest is in its place: a plan tells that as long as it is so, and plans the step again when the place is free.
fn another() -> StepState {
    StepState::OutOfPlace(ANOTHER.to_owned())
}
