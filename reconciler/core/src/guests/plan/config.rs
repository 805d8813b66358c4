//! What of a guest's configuration the row asks otherwise.

use super::{Planner, Subject};
use crate::guests::action::{Action, Volumes};
use crate::guests::blocked::Blocked;
use crate::guests::desired::Wanted;
use crate::guests::normal;
use crate::guests::note::Note;
use crate::guests::observed::Config;
use crate::guests::say::bytes;
use crate::guests::settle::in_force;
use crate::reading::Reading;

impl Planner<'_, '_, '_> {
    /// Plans what the row says of the configuration; where that cannot be read, nothing (G4).
    pub(super) fn configure(&mut self, subject: &Subject<'_>, wanted: &Wanted) {
        let config = match &subject.guest.config {
            Reading::Known(config) => config,
            Reading::Unknown(why) => {
                if manages_config(wanted) {
                    self.notes.push(Note::unread(subject.name, why, false));
                }
                return;
            }
        };
        self.told(subject, config, wanted);
        let mut actions = sizes(subject, config, wanted);
        actions.extend(texts(subject, config, wanted));
        for action in actions {
            let hold = self.hold_of_config(subject, &action, wanted);
            self.put(subject, action, Vec::new(), hold);
        }
    }

    /// What is only told: what waits for a reboot (GB6), and what muster does not change (G3).
    fn told(&mut self, subject: &Subject<'_>, config: &Config, wanted: &Wanted) {
        for (key, pending) in &config.pending {
            if pending.now != pending.then {
                self.notes.push(Note::pending(subject.name, key, pending));
            }
        }
        let mut differs = |what: &'static str, is: String, asked: String| {
            if is != asked {
                self.notes.push(Note::Differs {
                    guest: subject.name.to_owned(),
                    what,
                    is,
                    asked,
                });
            }
        };
        if let Some(name) = wanted.name.as_deref() {
            let is = config.name.clone().unwrap_or_default();
            differs("name", is, name.to_owned());
        }
        if let Some(disk) = wanted.more.as_ref().and_then(|it| it.disk) {
            let Volumes(volumes) = &config.volumes;
            let together = volumes.values().filter_map(|it| it.size).sum();
            differs("disk", bytes(together), bytes(disk));
        }
    }

    fn hold_of_config(
        &self,
        subject: &Subject<'_>,
        action: &Action,
        wanted: &Wanted,
    ) -> Option<Blocked> {
        if subject.guest.template {
            return Some(Blocked::Template);
        }
        let ours = subject.facts.is_some_and(|it| it.made.is_some());
        match action {
            // What muster made stays within what the settings let it make (H4).
            Action::SetGuestCores { .. } if ours => self.size(wanted.cores, wanted.memory),
            Action::SetGuestMemory { .. } if ours => self
                .size(wanted.cores, wanted.memory)
                .or_else(|| self.memory_with(subject, wanted.memory)),
            Action::SetGuestCores { .. }
            | Action::SetGuestMemory { .. }
            | Action::SetGuestDescription { .. }
            | Action::SetGuestTags { .. }
            | Action::SetGuestOnboot { .. }
            | Action::RecordGuest { .. }
            | Action::StartGuest { .. }
            | Action::ShutdownGuest { .. }
            | Action::StopGuest { .. }
            | Action::CreateGuest { .. }
            | Action::DiscardGuest { .. }
            | Action::DestroyGuest { .. }
            | Action::OverwriteGuest { .. }
            | Action::RestoreGuest { .. }
            | Action::PurgeGuest { .. }
            | Action::NoteGuestUse { .. } => None,
        }
    }
}

fn manages_config(wanted: &Wanted) -> bool {
    let Wanted {
        name,
        run: _,
        destroy: _,
        onboot,
        cores,
        memory,
        at: _,
        more,
    } = wanted;
    name.is_some()
        || onboot.is_some()
        || cores.is_some()
        || memory.is_some()
        || more
            .as_ref()
            .is_some_and(|it| it.description.is_some() || it.tags.is_some() || it.disk.is_some())
}

fn sizes(subject: &Subject<'_>, config: &Config, wanted: &Wanted) -> Vec<Action> {
    let mut actions = Vec::new();
    let cores = in_force(config, "cores", config.cores.map(u64::from));
    if let Some(to) = wanted.cores.filter(|it| cores != Some(u64::from(*it))) {
        actions.push(Action::SetGuestCores {
            guest: subject.name.to_owned(),
            from: config.cores,
            to,
        });
    }
    let memory = in_force(config, "memory", config.memory);
    if let Some(to) = wanted.memory.filter(|it| memory != Some(*it)) {
        actions.push(Action::SetGuestMemory {
            guest: subject.name.to_owned(),
            from: config.memory,
            to,
        });
    }
    actions
}

fn texts(subject: &Subject<'_>, config: &Config, wanted: &Wanted) -> Vec<Action> {
    let guest = || subject.name.to_owned();
    let mut actions = Vec::new();
    let more = wanted.more.as_ref();
    if let Some(to) = more.and_then(|it| it.description.as_ref())
        && *to != normal::description(&config.description)
    {
        actions.push(Action::SetGuestDescription {
            guest: guest(),
            to: to.clone(),
        });
    }
    if let Some(tags) = more.and_then(|it| it.tags.as_ref()) {
        let mut to = normal::own_tags(&config.tags);
        to.extend(tags.iter().cloned());
        if to != config.tags {
            actions.push(Action::SetGuestTags {
                guest: guest(),
                from: config.tags.clone(),
                to,
            });
        }
    }
    if let Some(to) = wanted.onboot.filter(|it| *it != config.onboot) {
        actions.push(Action::SetGuestOnboot { guest: guest(), to });
    }
    actions
}
