//! Guests that are set aside: the way back, and the end of their time of grace (H7).

use super::{Planner, Subject};
use crate::guests::action::{Action, Incarnation};
use crate::guests::backup::{Backup, Spoilt};
use crate::guests::blocked::{Blocked, Unsaved};
use crate::guests::desired::Wanted;
use crate::guests::facts::{Aside, GuestFacts};
use crate::guests::note::Note;
use crate::guests::observed::{Config, Guest, Sight};
use crate::guests::price::price;
use crate::guests::used::{Life, signs_of_use};
use crate::reading::Reading;
use crate::time::{Date, days_between};

impl<'a> Planner<'a, '_, '_> {
    /// A row whose guest is set aside: `destroy: true` still asks for its end, and without it the row asks for the guest.
    pub(super) fn aside(&mut self, name: &'a str, wanted: &Wanted, aside: &'a Aside) {
        let found = aside.found.as_str();
        let guest = match self.guests.get(found) {
            Some(Sight::Seen(guest)) => guest,
            Some(Sight::Unknown { node, down }) => {
                return self.unknown(name, node.as_deref(), down);
            }
            None => {
                if let Some((node, down)) = self.input.observed.down.iter().next() {
                    return self.unknown(name, Some(node), down);
                }
                return self.notes.push(Note::AsideGone {
                    guest: name.to_owned(),
                    found: found.to_owned(),
                });
            }
        };
        let config = match &guest.config {
            Reading::Known(config) => config,
            Reading::Unknown(why) => {
                return self.notes.push(Note::unread(name, why, true));
            }
        };
        let facts = self.input.known.of(name);
        let incarnation = self.incarnation(name, guest, facts);
        if !is_the_same(&incarnation, guest, facts) {
            return self.notes.push(Note::AsideAnother {
                guest: name.to_owned(),
                found: found.to_owned(),
            });
        }
        let subject = Subject {
            name,
            guest,
            facts,
            incarnation,
        };
        if wanted.destroy {
            self.note_use(&subject, aside);
            self.purge(&subject, config, aside);
        } else {
            self.restore(&subject, config, aside);
        }
    }

    fn restore(&mut self, subject: &Subject<'_>, config: &Config, aside: &Aside) {
        let taken = aside.found != subject.name && self.guests.contains_key(subject.name);
        let action = Action::RestoreGuest {
            guest: subject.name.to_owned(),
            found: aside.found.clone(),
            standing: aside.standing.clone(),
            privileged: config.privileged,
        };
        let hold = taken.then_some(Blocked::NameTaken);
        self.put(subject, action, Vec::new(), hold);
    }

    /// Writes down that somebody ran it, as long as that is to be seen: a hypervisor forgets a start within days, and a guest that
    /// stands still again shows nothing.
    fn note_use(&mut self, subject: &Subject<'_>, aside: &Aside) {
        let sign = subject
            .facts
            .and_then(|it| self.life(subject, aside).sign(it));
        let Some(how) = sign.filter(|_| aside.used.is_none()) else {
            return;
        };
        let action = Action::NoteGuestUse {
            guest: subject.name.to_owned(),
            how,
        };
        // It touches nothing, so nothing stands against it.
        let price = price(&action, self.input.known);
        self.sheet.draft(
            action,
            subject.incarnation.clone(),
            price,
            Vec::new(),
            None,
            None,
        );
    }

    /// The same of one that no row names: its row may come back long after the hypervisor forgot.
    pub(super) fn note_use_without_row(&mut self, name: &'a str, aside: &Aside) {
        let Some(Sight::Seen(guest)) = self.guests.get(&aside.found) else {
            return;
        };
        let facts = self.input.known.of(name);
        let incarnation = self.incarnation(name, guest, facts);
        if is_the_same(&incarnation, guest, facts) {
            let subject = Subject {
                name,
                guest,
                facts,
                incarnation,
            };
            self.note_use(&subject, aside);
        }
    }

    fn life(&self, subject: &Subject<'_>, aside: &Aside) -> Life {
        let started = self.input.observed.starts.get(&aside.found);
        Life {
            run: subject.guest.run,
            started: started.and_then(|it| *it.known()?),
        }
    }

    /// Why a use of it would not be noticed, if it would not.
    fn unseen(&self, aside: &Aside) -> Option<String> {
        match self.input.observed.starts.get(&aside.found) {
            Some(Reading::Unknown(why)) => Some(why.clone()),
            Some(Reading::Known(_)) | None => None,
        }
    }

    /// Plans the end of it once its time of grace is over, and says until then when that is.
    fn purge(&mut self, subject: &Subject<'_>, config: &Config, aside: &Aside) {
        let since = aside.since.date();
        let grace = self.input.policy.grace_days;
        let life = self.life(subject, aside);
        let used = subject
            .facts
            .map_or_else(Vec::new, |it| signs_of_use(subject.name, it, config, life));
        let unseen = self.unseen(aside);
        if used.is_empty() {
            let unnoted = || {
                let why = "an earlier version set it aside and did not write down how it was configured; if somebody may have changed it, \
                           take `destroy: true` out of its row to have it back, and ask for its end again";
                aside.stance.is_none().then(|| why.to_owned())
            };
            let guest = subject.name.to_owned();
            let why = unseen.clone().or_else(unnoted);
            self.notes
                .extend(why.map(|why| Note::AsideUnseen { guest, why }));
        }
        if days_between(since, self.input.today) < i64::from(grace) {
            let guest = subject.name.to_owned();
            return self.notes.push(match used[..] {
                [] => Note::Aside {
                    guest,
                    since,
                    until: after(since, grace),
                },
                _ => Note::AsideUsed { guest, signs: used },
            });
        }
        let backup = subject.facts.and_then(GuestFacts::last_tried);
        let action = Action::PurgeGuest {
            guest: subject.name.to_owned(),
            found: aside.found.clone(),
            volumes: config.volumes.clone(),
            backup: backup.map(|it| it.backup.clone()).unwrap_or_default(),
        };
        let hold = self
            .hold_of_end(subject.guest)
            .or_else(|| Unsaved::of_aside(&config.unsaved).map(Blocked::Unsaved))
            .or_else(|| match backup {
                Some(backup) => self.spoilt(subject, &backup.backup, Some(backup)),
                None => Some(Blocked::NoBackup),
            })
            .or_else(|| (!used.is_empty()).then_some(Blocked::Used(used)))
            .or_else(|| unseen.map(Blocked::UseUnseen))
            .or_else(|| self.no_release_token());
        self.put(subject, action, Vec::new(), hold);
    }
}

impl Planner<'_, '_, '_> {
    /// What is wrong with a backup on which a step relies: by what is found, or else by what the last act found today. `journaled` is
    /// how it was when muster made it, where it did.
    pub(super) fn spoilt(
        &self,
        subject: &Subject<'_>,
        backup: &str,
        journaled: Option<&Backup>,
    ) -> Option<Blocked> {
        let blocked = |why: String| Blocked::Spoilt {
            backup: backup.to_owned(),
            why,
        };
        if let Some(Reading::Known(found)) = self.input.observed.backups.get(backup) {
            let spoilt = match (journaled, found) {
                (Some(journaled), found) => journaled.spoilt(found.as_ref()),
                (None, Some(found)) => (found.bytes == 0).then_some(Spoilt::Empty),
                (None, None) => Some(Spoilt::Gone),
            };
            return spoilt.map(|it| blocked(it.to_string()));
        }
        // Who may not see it tries once a day.
        let told = subject.facts?.spoilt.as_ref()?;
        let today = told.backup == backup && told.at.date() >= self.input.today;
        today.then(|| blocked(told.why.clone()))
    }
}

/// Whether what stands there is the guest that was set aside, by the journal's word.
fn is_the_same(incarnation: &Incarnation, guest: &Guest, facts: Option<&GuestFacts>) -> bool {
    match incarnation {
        Incarnation::Guest { .. } => true,
        Incarnation::FoundGuest { identity, .. } => {
            // A mark that went astray makes nobody else of it, and one that is ours elsewhere does.
            let seen = facts.and_then(|it| it.seen.as_ref());
            guest.made.is_none() && seen.is_some_and(|it| it.identity == *identity)
        }
        Incarnation::NoGuest { .. } => false,
    }
}

fn after(since: Date, days: u32) -> Date {
    let span = jiff::Span::new().days(i64::from(days));
    since.saturating_add(span)
}
