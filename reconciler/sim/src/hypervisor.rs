//! A hypervisor in memory.

use std::collections::BTreeMap;

use muster_core::gate::Intent;
use muster_core::guests::action::{Action, Marker};
use muster_core::guests::observed::{Guest, Observed};
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
        let guest = Guest {
            running,
            made: Marker(made.to_owned()),
        };
        self.guests.insert(name.to_owned(), guest);
    }

    pub(crate) fn observe(&self) -> Observed {
        Observed {
            guests: match &self.silent {
                Some(why) => Reading::Unknown(why.clone()),
                None => Reading::Known(self.guests.clone()),
            },
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
            Action::StartGuest { guest } => self.run(guest, true),
            Action::ShutdownGuest { guest } => self.run(guest, false),
            Action::DestroyGuest { guest, made } => {
                if self.guests.get(guest).is_some_and(|it| it.made == *made) {
                    self.guests.remove(guest);
                }
            }
        }
    }

    fn run(&mut self, guest: &str, running: bool) {
        if let Some(it) = self.guests.get_mut(guest) {
            it.running = running;
        }
    }
}
