//! A hypervisor in memory.

use std::collections::BTreeMap;

use muster_core::gate::Intent;
use muster_core::guests::action::{Action, Found};
use muster_core::guests::desired::Run;
use muster_core::guests::observed::{Config, Form, Guest, Observed, Sight};
use muster_core::reading::Reading;
use muster_core::rooms;
use muster_core::world::Complaints;

/// A hypervisor, and what stands on it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SimHypervisor {
    /// Its guests.
    pub guests: BTreeMap<String, Guest>,
    /// Why it does not answer, when it does not.
    pub silent: Option<String>,
    /// What it was asked to do and did, in order.
    pub did: Vec<Action>,
}

/// One effect of an act.
pub(crate) type Effect = Box<dyn FnOnce(&mut SimHypervisor) -> Complaints>;

impl SimHypervisor {
    /// Adds a guest, behind muster's back.
    pub fn add_guest(&mut self, name: &str, running: bool, made: &str) {
        let config = Config {
            identity: Found {
                uuid: Some(made.to_owned()),
                ..Found::default()
            },
            ..Config::default()
        };
        let run = if running { Run::Running } else { Run::Stopped };
        let guest = Guest::new(Form::Container, Some(run), Reading::Known(config));
        self.guests.insert(name.to_owned(), guest);
    }

    pub(crate) fn observe(&self) -> Observed {
        match &self.silent {
            Some(why) => Observed::unread(why.clone()),
            None => {
                let seen = |guest: &Guest| Sight::Seen(Box::new(guest.clone()));
                let guests = self.guests.iter();
                Observed::of(guests.map(|(name, it)| (name.clone(), seen(it))).collect())
            }
        }
    }

    /// The effects of a batch, each of which a crash can precede or follow.
    pub(crate) fn effects_of(&self, intent: &Intent) -> Vec<Effect> {
        intent
            .steps()
            .filter_map(|step| match &step.action {
                rooms::Action::Guest(action) => Some(action.clone()),
                rooms::Action::Account(_) => None,
            })
            .map(|action| -> Effect {
                Box::new(move |hypervisor| {
                    hypervisor.act(&action);
                    Complaints::new()
                })
            })
            .collect()
    }

    fn act(&mut self, action: &Action) {
        self.did.push(action.clone());
        match action {
            Action::StartGuest { guest } => self.run(guest, Run::Running),
            Action::ShutdownGuest { guest } | Action::StopGuest { guest } => {
                self.run(guest, Run::Stopped);
            }
            Action::DestroyGuest { guest, aside, .. } => {
                if let Some(it) = self.guests.get_mut(guest) {
                    it.run = Some(Run::Stopped);
                    if let Reading::Known(config) = &mut it.config {
                        config.name = Some(aside.clone());
                        config.protection = true;
                        config.onboot = false;
                    }
                }
            }
            Action::RecordGuest { .. }
            | Action::SetGuestCores { .. }
            | Action::SetGuestMemory { .. }
            | Action::SetGuestDescription { .. }
            | Action::SetGuestTags { .. }
            | Action::SetGuestOnboot { .. }
            | Action::CreateGuest { .. }
            | Action::DiscardGuest { .. }
            | Action::OverwriteGuest { .. }
            | Action::RestoreGuest { .. }
            | Action::PurgeGuest { .. } => {}
        }
    }

    fn run(&mut self, guest: &str, run: Run) {
        if let Some(it) = self.guests.get_mut(guest) {
            it.run = Some(run);
        }
    }
}
