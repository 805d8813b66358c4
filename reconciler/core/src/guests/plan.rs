//! The steps from the guests observed to those desired.

mod aside;
mod config;
mod create;

use std::collections::{BTreeMap, BTreeSet};

use sha2::{Digest as _, Sha256};

use super::action::{Action, Found, Incarnation, is_vmid, place_aside};
use super::backup::owner;
use super::blocked::{Blocked, Unsaved};
use super::desired::{Desired, Run, Wanted};
use super::facts::{GuestFacts, Known, Refusal, Underway};
use super::note::Note;
use super::observed::{Config, Down, Guest, Observed, Sight, TaskState};
use super::policy::Policy;
use super::price::price;
use super::settle::settle;
use crate::bytes::hex;
use crate::id::StepId;
use crate::reading::{Reading, StepState};
use crate::sheet::{Hold, Sheet};
use crate::time::Date;

/// Everything that a plan of guests depends on.
#[derive(Clone, Copy)]
pub(crate) struct Input<'a> {
    /// What the executor's administrator decided.
    pub(crate) policy: &'a Policy,
    /// Today, in UTC.
    pub(crate) today: Date,
    /// What is asked for.
    pub(crate) desired: &'a Desired,
    /// What was read.
    pub(crate) observed: &'a Observed,
    /// What the journal says of our own doing.
    pub(crate) known: &'a Known,
}

/// Drafts the steps of one hypervisor, and says what is to be known beside them.
pub(crate) fn draft(
    input: &Input<'_>,
    sheet: &mut Sheet<'_, Action, Incarnation, Blocked>,
) -> Vec<Note> {
    let guests = match &input.observed.guests {
        Reading::Known(guests) => guests,
        Reading::Unknown(why) => return vec![Note::Unread { why: why.clone() }],
    };
    let mut planner = Planner {
        input: *input,
        guests,
        sheet,
        notes: Vec::new(),
        usage: create::Usage::of(input.known, input.observed),
    };
    for (node, Down { since, why }) in &input.observed.down {
        planner.notes.push(Note::NodeDown {
            node: node.clone(),
            since: *since,
            why: why.clone(),
        });
    }
    let ended = planner.bring_to_end();
    for (name, wanted) in &input.desired.guests {
        if !ended.contains(name.as_str()) {
            planner.row(name, wanted);
        }
    }
    planner.leftovers();
    planner.notes
}

struct Planner<'a, 's, 'e> {
    input: Input<'a>,
    guests: &'a BTreeMap<String, Sight>,
    sheet: &'s mut Sheet<'e, Action, Incarnation, Blocked>,
    notes: Vec<Note>,
    usage: create::Usage,
}

/// A guest that is there, and how a step names it.
struct Subject<'a> {
    name: &'a str,
    guest: &'a Guest,
    facts: Option<&'a GuestFacts>,
    incarnation: Incarnation,
}

impl<'a> Planner<'a, '_, '_> {
    /// Steps that were begun, not seen done, and are by now, or whose guest has its other name already: each is planned once more as
    /// it was, and nothing else of its guest, which is another one for everybody until that is told.
    fn bring_to_end(&mut self) -> BTreeSet<&'a str> {
        let Input {
            policy,
            observed,
            known,
            ..
        } = self.input;
        let mut ended = BTreeSet::new();
        for (name, facts) in &known.guests {
            let Some(Underway {
                action,
                incarnation,
            }) = facts.underway.as_deref()
            else {
                continue;
            };
            let id = StepId::of(&policy.executor, action, incarnation);
            let is_done = settle(id, action, observed, known) == StepState::Reached;
            if is_done || self.has_its_other_name(action) {
                let hold = self.protected(name);
                let price = price(action, known);
                let (action, incarnation) = (action.clone(), incarnation.clone());
                self.sheet
                    .draft(action, incarnation, price, Vec::new(), hold, None);
                ended.insert(name.as_str());
            }
        }
        ended
    }

    /// Whether a guest that goes by its name was given the other one by a step that ended before the rest of it: under the name by
    /// which its row knows it, or the journal, nobody finds it.
    fn has_its_other_name(&self, action: &Action) -> bool {
        let (from, to) = match action {
            Action::DestroyGuest { guest, aside, .. } => {
                (guest.as_str(), place_aside(guest, aside))
            }
            Action::RestoreGuest { guest, found, .. } => (found.as_str(), guest.as_str()),
            Action::RecordGuest { .. }
            | Action::StartGuest { .. }
            | Action::ShutdownGuest { .. }
            | Action::StopGuest { .. }
            | Action::SetGuestCores { .. }
            | Action::SetGuestMemory { .. }
            | Action::SetGuestDescription { .. }
            | Action::SetGuestTags { .. }
            | Action::SetGuestOnboot { .. }
            | Action::CreateGuest { .. }
            | Action::DiscardGuest { .. }
            | Action::OverwriteGuest { .. }
            | Action::PurgeGuest { .. }
            | Action::NoteGuestUse { .. } => return false,
        };
        from != to && !self.guests.contains_key(from) && self.guests.contains_key(to)
    }

    fn row(&mut self, name: &'a str, wanted: &Wanted) {
        self.owner(name, wanted);
        if self.input.policy.own.as_deref() == Some(name) {
            self.notes.push(Note::Own {
                guest: name.to_owned(),
            });
        }
        let facts = self.input.known.of(name);
        if let Some(aside) = facts.and_then(|it| it.aside.as_ref()) {
            return self.aside(name, wanted, aside);
        }
        match self.guests.get(name) {
            Some(Sight::Seen(guest)) => self.present(name, wanted, guest, facts),
            Some(Sight::Unknown { node, down }) => self.unknown(name, node.as_deref(), down),
            None => match self.input.observed.down.iter().next() {
                // It may be there: neither made anew nor taken for gone (GB3, GB4).
                Some((node, down)) => self.unknown(name, Some(node), down),
                None => self.absent(name, wanted, facts),
            },
        }
    }

    fn owner(&mut self, name: &str, wanted: &Wanted) {
        let owner = wanted.more.as_ref().and_then(|it| it.owner.as_ref());
        if let Some(owner) = owner
            && let Some(why) = self.input.desired.owners.get(owner)
        {
            self.notes.push(Note::OwnerGone {
                guest: name.to_owned(),
                owner: owner.clone(),
                why: *why,
            });
        }
    }

    fn unknown(&mut self, name: &str, node: Option<&str>, down: &Down) {
        self.notes.push(Note::Unknown {
            guest: name.to_owned(),
            node: node.map(str::to_owned),
            since: down.since,
            why: down.why.clone(),
        });
    }

    fn absent(&mut self, name: &str, wanted: &Wanted, facts: Option<&GuestFacts>) {
        // One whose end was asked for and that is gone is as the file wants it.
        if wanted.destroy {
            return;
        }
        match wanted.more.as_ref().and_then(|it| it.create.as_ref()) {
            Some(create) => self.create(name, wanted, create, facts),
            None => self.notes.push(Note::Missing {
                guest: name.to_owned(),
            }),
        }
    }

    fn present(
        &mut self,
        name: &'a str,
        wanted: &Wanted,
        guest: &'a Guest,
        facts: Option<&'a GuestFacts>,
    ) {
        if let (Some(own), Some(node)) = (&self.input.policy.node, &guest.node)
            && own != node
        {
            self.notes.push(Note::OnNode {
                guest: name.to_owned(),
                node: node.clone(),
            });
        }
        if self.goes_on_making(name, wanted, guest, facts) {
            return;
        }
        let subject = Subject {
            name,
            guest,
            facts,
            incarnation: self.incarnation(name, guest, facts),
        };
        let overwrite = wanted.more.as_ref().and_then(|it| it.overwrite.as_ref());
        let overwritten = facts.and_then(|it| it.overwritten.as_ref());
        if wanted.destroy {
            self.destroy(&subject);
        } else if let Some(overwrite) = overwrite.filter(|it| overwritten != Some(&it.backup)) {
            self.overwrite(&subject, &overwrite.backup);
        } else {
            self.power(&subject, wanted.run);
            self.configure(&subject, wanted);
        }
    }

    /// Starts or stops it where the row says so and the guest shows otherwise; nothing else ever does (GB6).
    fn power(&mut self, subject: &Subject<'_>, wanted: Option<Run>) {
        let guest = subject.name.to_owned();
        let action = match (wanted, subject.guest.run) {
            (Some(Run::Running), Some(Run::Stopped)) => Action::StartGuest { guest },
            (Some(Run::Stopped), Some(Run::Running)) => {
                let unheeded = subject.facts.is_some_and(|it| it.unheeded.is_some());
                if unheeded && self.input.policy.force_stop {
                    Action::StopGuest { guest }
                } else {
                    Action::ShutdownGuest { guest }
                }
            }
            (Some(_), None) => return self.notes.push(Note::OddPower { guest }),
            (Some(Run::Running), Some(Run::Running))
            | (Some(Run::Stopped), Some(Run::Stopped))
            | (None, _) => return,
        };
        let hold = self.hold_of_power(subject.guest);
        self.put(subject, action, Vec::new(), hold);
    }

    fn hold_of_power(&self, guest: &Guest) -> Option<Blocked> {
        if guest.template {
            return Some(Blocked::Template);
        }
        // The manager's words for a guest that it may be asked to start or stop.
        let calm = ["started", "stopped", "disabled", "ignored", "request_stop"];
        let ha = guest.ha.as_ref();
        ha.filter(|it| !calm.contains(&it.state.as_str()))
            .map(|it| Blocked::HaAtWork(it.state.clone()))
    }

    /// The end of it: at once where the journal says that it is ours and unused, else by a release and with a way back (H6, H7).
    fn destroy(&mut self, subject: &Subject<'_>) {
        if let Some(made) = &subject.guest.made
            && self.input.known.is_expendable(subject.name, made)
        {
            return self.discard(subject);
        }
        let Some(config) = self.volumes_read(subject) else {
            return;
        };
        let needs = self.record(subject, config);
        let action = Action::DestroyGuest {
            guest: subject.name.to_owned(),
            volumes: config.volumes.clone(),
            aside: aside_name(subject.name, &subject.incarnation),
        };
        // A first try may have protected it already: that is noted before it is done.
        let id = StepId::of(&self.input.policy.executor, &action, &subject.incarnation);
        let stood = subject.facts.and_then(|it| it.standing.as_ref());
        let protected = match stood.filter(|it| it.step == id) {
            Some(stood) => stood.standing.protection,
            None => config.protection,
        };
        let hold = self
            .hold_of_end(subject.guest)
            .or_else(|| protected.then_some(Blocked::Protection))
            .or_else(|| Unsaved::of(&config.unsaved).map(Blocked::Unsaved))
            .or_else(|| self.no_create_token());
        self.put(subject, action, needs, hold);
    }

    fn overwrite(&mut self, subject: &Subject<'_>, backup: &str) {
        let Some(config) = self.volumes_read(subject) else {
            return;
        };
        let needs = self.record(subject, config);
        let hold = self
            .hold_of_end(subject.guest)
            .or_else(|| config.protection.then_some(Blocked::Protection))
            .or_else(|| Unsaved::of(&config.unsaved).map(Blocked::Unsaved))
            .or_else(|| others_backup(subject.name, backup))
            .or_else(|| self.spoilt(subject, backup, None))
            .or_else(|| self.no_release_token());
        let action = Action::OverwriteGuest {
            guest: subject.name.to_owned(),
            backup: backup.to_owned(),
            made: self.next_marker(subject.name, subject.facts),
            volumes: config.volumes.clone(),
        };
        self.put(subject, action, needs, hold);
    }

    /// What will go; without it there is nothing to sign (GB8).
    fn volumes_read<'g>(&mut self, subject: &Subject<'g>) -> Option<&'g Config> {
        match &subject.guest.config {
            Reading::Known(config) => Some(config),
            Reading::Unknown(why) => {
                self.notes.push(Note::unread(subject.name, why, true));
                None
            }
        }
    }

    /// Writes down which guest it is, where somebody else made it and that is not written down yet (H8).
    fn record(&mut self, subject: &Subject<'_>, config: &Config) -> Vec<StepId> {
        match &subject.incarnation {
            Incarnation::FoundGuest { identity, .. }
                if subject
                    .facts
                    .and_then(|it| it.seen.as_ref())
                    .is_none_or(|it| it.identity != *identity) =>
            {
                let action = Action::RecordGuest {
                    guest: subject.name.to_owned(),
                    identity: config.identity.clone(),
                };
                let incarnation = not_there(subject.facts);
                let hold = self.protected(subject.name);
                let price = price(&action, self.input.known);
                vec![
                    self.sheet
                        .draft(action, incarnation, price, Vec::new(), hold, None),
                ]
            }
            Incarnation::FoundGuest { .. }
            | Incarnation::Guest { .. }
            | Incarnation::NoGuest { .. } => Vec::new(),
        }
    }

    fn hold_of_end(&self, guest: &Guest) -> Option<Blocked> {
        if guest.template {
            Some(Blocked::Template)
        } else if guest.ha.is_some() {
            Some(Blocked::HighlyAvailable)
        } else {
            None
        }
    }

    fn no_create_token(&self) -> Option<Blocked> {
        (!self.input.policy.create_token).then_some(Blocked::NoCreateToken)
    }

    fn no_release_token(&self) -> Option<Blocked> {
        (!self.input.policy.release_token).then_some(Blocked::NoReleaseToken)
    }

    fn protected(&self, name: &str) -> Option<Hold<Blocked>> {
        let policy = self.input.policy;
        (policy.protected.contains(name) || policy.own.as_deref() == Some(name))
            .then(|| Hold::Protected(name.to_owned()))
    }

    /// Drafts a step of a guest that is there, with what stands against it: a name that no step may touch first, then what `hold` says,
    /// then what the hypervisor is in the middle of.
    fn put(
        &mut self,
        subject: &Subject<'_>,
        action: Action,
        needs: Vec<StepId>,
        hold: Option<Blocked>,
    ) -> StepId {
        let id = StepId::of(&self.input.policy.executor, &action, &subject.incarnation);
        let hold = self.protected(subject.name).or_else(|| {
            self.refused(id, subject.facts)
                .or(hold)
                .or_else(|| subject.guest.lock.clone().map(Blocked::Locked))
                .or_else(|| self.busy(subject))
                .map(Hold::Lacks)
        });
        let price = price(&action, self.input.known);
        self.sheet.draft(
            action,
            subject.incarnation.clone(),
            price,
            needs,
            hold,
            None,
        )
    }

    /// A task that somebody began on the guest and that is not at its end.
    fn busy(&self, subject: &Subject<'_>) -> Option<Blocked> {
        let running = |task: &str| self.input.observed.tasks.get(task) == Some(&TaskState::Running);
        let ours = subject.facts.and_then(|it| {
            let open = it.tasks.iter().filter(|task| task.end.is_none());
            open.map(|task| &task.task).find(|task| running(task))
        });
        let task = ours.or(subject.guest.busy.as_ref())?;
        Some(Blocked::Busy(task.clone()))
    }

    /// What was refused too often in the same words is tried once a day (GB12).
    fn refused(&self, id: StepId, facts: Option<&GuestFacts>) -> Option<Blocked> {
        let refusal = facts?.refusal.as_ref().filter(|it| it.step == id)?;
        let enough = refusal.times >= Refusal::ENOUGH && refusal.last.date() >= self.input.today;
        enough.then(|| Blocked::Refused {
            times: refusal.times,
            why: refusal.why.clone(),
        })
    }

    /// Which guest it is (H8): one that the journal says muster made and that bears that mark, or one that was found.
    fn incarnation(&self, name: &str, guest: &Guest, facts: Option<&GuestFacts>) -> Incarnation {
        let made = facts.and_then(|it| it.made.as_ref());
        if let Some(made) = made.filter(|it| it.finished && guest.made.as_ref() == Some(&it.marker))
        {
            return Incarnation::Guest {
                made: made.marker.clone(),
                restored: facts.map_or(0, |it| it.restored),
            };
        }
        let identity = match &guest.config {
            Reading::Known(config) => config.identity.clone(),
            Reading::Unknown(_) => Found::default(),
        };
        let seen = facts.and_then(|it| it.seen.as_ref());
        if let Some(seen) = seen.filter(|it| it.identity == identity) {
            return Incarnation::FoundGuest {
                entry: seen.entry,
                identity,
                restored: facts.map_or(0, |it| it.restored),
            };
        }
        let record = Action::RecordGuest {
            guest: name.to_owned(),
            identity: identity.clone(),
        };
        let executor = &self.input.policy.executor;
        Incarnation::FoundGuest {
            entry: StepId::of(executor, &record, &not_there(facts)),
            identity,
            restored: 0,
        }
    }
}

/// That a backup is another guest's, by its name.
fn others_backup(name: &str, backup: &str) -> Option<Blocked> {
    let owner = owner(backup).filter(|it| *it != name)?;
    Some(Blocked::OthersBackup {
        backup: backup.to_owned(),
        owner: owner.to_owned(),
    })
}

/// No guest that the journal knows of.
fn not_there(facts: Option<&GuestFacts>) -> Incarnation {
    Incarnation::NoGuest {
        times: facts.map_or(0, |it| it.times),
    }
}

/// What a guest is called while it is set aside: a host name that no other guest is given, of at most 63 characters.
fn aside_name(guest: &str, incarnation: &Incarnation) -> String {
    let digest = Sha256::digest(format!("muster-aside/1\0{guest}\0{incarnation}").as_bytes());
    let mut name = format!("{ASIDE}{}-{guest}", hex(&digest[..4]));
    name.truncate(63);
    let end = name.trim_end_matches('-').len();
    name.truncate(end);
    debug_assert!(!is_vmid(&name), "a name begins with a letter");
    name
}

/// How the name of a guest that is set aside begins.
pub(crate) const ASIDE: &str = "aside-";
