//! Guests that muster makes, and what is left of such.

use super::{Planner, Subject, not_there};
use crate::guests::action::{Action, Incarnation, Marker};
use crate::guests::blocked::Blocked;
use crate::guests::desired::{Create, Origin, Shape, Wanted};
use crate::guests::facts::{GuestFacts, Known};
use crate::guests::note::Note;
use crate::guests::observed::{Guest, Observed, Sight};
use crate::guests::policy::Size;
use crate::id::StepId;
use crate::sheet::Hold;

use super::price;

/// What the guests that muster made take up.
pub(super) struct Usage {
    guests: usize,
    memory: u64,
}

impl Usage {
    pub(super) fn of(known: &Known, observed: &Observed) -> Self {
        let mut usage = Self {
            guests: 0,
            memory: 0,
        };
        for (name, facts) in &known.guests {
            let finished = facts.made.as_ref().is_some_and(|it| it.finished);
            if let (true, Some(guest)) = (finished, observed.guest(name)) {
                usage.guests += 1;
                let config = guest.config.known();
                usage.memory += config.and_then(|it| it.memory).unwrap_or_default();
            }
        }
        usage
    }
}

impl<'a> Planner<'a, '_, '_> {
    /// Makes a guest that is not there, out of what the settings list (H4).
    pub(super) fn create(
        &mut self,
        name: &str,
        wanted: &Wanted,
        create: &Create,
        facts: Option<&GuestFacts>,
    ) {
        let unfinished = facts
            .and_then(|it| it.made.as_ref())
            .filter(|it| !it.finished);
        let made = match unfinished {
            Some(made) => made.marker.clone(),
            None => self.next_marker(name, facts),
        };
        let action = Action::CreateGuest {
            guest: name.to_owned(),
            made,
            shape: Box::new(shape(wanted, create)),
        };
        let incarnation = not_there(facts);
        let id = StepId::of(&self.input.policy.executor, &action, &incarnation);
        let hold = self.protected(name).or_else(|| {
            self.refused(id, facts)
                .or_else(|| self.no_create_token())
                .or_else(|| self.not_listed(create))
                .or_else(|| self.size(wanted.cores, wanted.memory))
                .or_else(|| self.room_for(wanted.memory))
                .map(Hold::Lacks)
        });
        if hold.is_none() {
            self.usage.guests += 1;
            self.usage.memory += wanted.memory.unwrap_or_default();
        }
        let price = price(&action, self.input.known);
        self.sheet
            .draft(action, incarnation, price, Vec::new(), hold, None);
    }

    /// What the next guest under a name is marked with.
    pub(super) fn next_marker(&self, name: &str, facts: Option<&GuestFacts>) -> Marker {
        let times = facts.map_or(0, |it| it.times);
        Marker::of_creation(&self.input.policy.executor, name, times)
    }

    fn not_listed(&self, create: &Create) -> Option<Blocked> {
        let listed = &self.input.policy.create;
        let origins = match &create.origin {
            Origin::Template(_) => &listed.templates,
            Origin::Image(_) => &listed.images,
            Origin::Clone(_) => &listed.clones,
        };
        let origin = (create.origin.kind(), create.origin.name(), origins);
        let storage = ("storage", create.storage.as_str(), &listed.storages);
        let network = create.network.iter();
        let network = network.map(|it| ("network", it.as_str(), &listed.networks));
        let devices = create.devices.iter();
        let devices = devices.map(|it| ("device", it.as_str(), &listed.devices));
        [origin, storage]
            .into_iter()
            .chain(network)
            .chain(devices)
            .find(|(_, name, list)| !list.contains(*name))
            .map(|(what, name, _)| Blocked::NotListed {
                what,
                name: name.to_owned(),
            })
    }

    /// Whether the settings list a size, where they list any.
    pub(super) fn size(&self, cores: Option<u32>, memory: Option<u64>) -> Option<Blocked> {
        let sizes = &self.input.policy.create.sizes;
        let fits = cores
            .zip(memory)
            .is_some_and(|(cores, memory)| sizes.contains(&Size { cores, memory }));
        (!sizes.is_empty() && !fits).then_some(Blocked::Size { cores, memory })
    }

    fn room_for(&self, memory: Option<u64>) -> Option<Blocked> {
        let most = self.input.policy.create.guests;
        if self.usage.guests >= most {
            return Some(Blocked::TooManyGuests { most });
        }
        self.too_much(self.usage.memory + memory.unwrap_or_default())
    }

    /// The same for one that muster made and that is to have another size.
    pub(super) fn memory_with(&self, subject: &Subject<'_>, to: Option<u64>) -> Option<Blocked> {
        let config = subject.guest.config.known();
        let now = config.and_then(|it| it.memory).unwrap_or_default();
        let to = to.filter(|to| *to > now)?;
        self.too_much(self.usage.memory - now.min(self.usage.memory) + to)
    }

    fn too_much(&self, memory: u64) -> Option<Blocked> {
        let most = self.input.policy.create.memory;
        (memory > most).then_some(Blocked::TooMuchMemory { memory, most })
    }

    /// Whether a guest is one whose creation was begun here and is not through: it is brought to its end, or discarded and made anew.
    pub(super) fn goes_on_making(
        &mut self,
        name: &'a str,
        wanted: &Wanted,
        guest: &'a Guest,
        facts: Option<&'a GuestFacts>,
    ) -> bool {
        let made = facts.and_then(|it| it.made.as_ref());
        let Some(made) = made.filter(|it| !it.finished) else {
            return false;
        };
        let is_ours = guest.made.as_ref() == Some(&made.marker);
        let bears_no_mark_yet = made.begun && guest.made.is_none();
        let create = wanted.more.as_ref().and_then(|it| it.create.as_ref());
        if !is_ours && !bears_no_mark_yet {
            // Somebody else's. The row means one that was to be made: it is no word about this one (H8).
            let means_another = create.is_some() && !wanted.destroy;
            if means_another {
                self.notes.push(Note::AnotherMade {
                    guest: name.to_owned(),
                });
            }
            return means_another;
        }
        let subject = Subject {
            name,
            guest,
            facts,
            incarnation: not_there(facts),
        };
        match create.filter(|_| !wanted.destroy) {
            Some(create) if guest.lock.is_none() => {
                let action = Action::CreateGuest {
                    guest: name.to_owned(),
                    made: made.marker.clone(),
                    shape: Box::new(shape(wanted, create)),
                };
                let hold = self.no_create_token();
                self.put(&subject, action, Vec::new(), hold);
            }
            Some(_) | None if is_ours => self.discard(&subject),
            Some(_) | None => return false,
        }
        true
    }

    /// Ends a guest that the journal says is ours and nobody's data (H6).
    pub(super) fn discard(&mut self, subject: &Subject<'_>) {
        let Some(made) = &subject.guest.made else {
            return;
        };
        let action = Action::DiscardGuest {
            guest: subject.name.to_owned(),
            made: made.clone(),
        };
        let hold = self.no_create_token().or_else(|| self.busy(subject));
        // A lock is what a creation that broke off leaves.
        let guest = Guest {
            lock: None,
            ..subject.guest.clone()
        };
        let subject = Subject {
            name: subject.name,
            guest: &guest,
            facts: subject.facts,
            incarnation: Incarnation::Guest {
                made: made.clone(),
                restored: 0,
            },
        };
        self.put(&subject, action, Vec::new(), hold);
    }

    /// What is left of trials and of creations that no row asks for any more, and guests that are set aside without a row.
    pub(super) fn leftovers(&mut self) {
        let known = self.input.known;
        for (name, facts) in &known.guests {
            for (scratch, made) in &facts.scratch {
                self.left_over(scratch, made);
            }
            if self.input.desired.guests.contains_key(name) {
                continue;
            }
            if let Some(aside) = &facts.aside {
                self.note_use_without_row(name, aside);
                self.notes.push(Note::AsideAlone {
                    guest: name.clone(),
                    found: aside.found.clone(),
                    since: aside.since.date(),
                });
            } else if let Some(made) = facts.made.as_ref().filter(|it| !it.finished) {
                self.left_over(name, &made.marker);
            }
        }
    }

    fn left_over(&mut self, name: &'a str, made: &Marker) {
        let Some(Sight::Seen(guest)) = self.guests.get(name) else {
            return;
        };
        if guest.made.as_ref() != Some(made) {
            return;
        }
        if !self.input.policy.create_token {
            self.notes.push(Note::ScratchLeft {
                guest: name.to_owned(),
            });
            return;
        }
        let facts = self.input.known.of(name);
        self.discard(&Subject {
            name,
            guest,
            facts,
            incarnation: not_there(facts),
        });
    }
}

fn shape(wanted: &Wanted, create: &Create) -> Shape {
    let Create {
        origin,
        storage,
        network,
        unprivileged,
        nesting,
        devices,
    } = create.clone();
    Shape {
        origin,
        storage,
        network,
        unprivileged,
        nesting,
        devices,
        name: wanted.name.as_deref().map(str::to_owned),
        cores: wanted.cores,
        memory: wanted.memory,
    }
}
