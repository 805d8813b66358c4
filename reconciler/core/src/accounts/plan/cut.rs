//! The reversible half of offboarding, until it is observed done.

use super::entries::owner;
use super::{Anchor, Draft};
use crate::accounts::action::Incarnation;
use crate::accounts::action::{Action, Direction, Leave, Trace};
use crate::accounts::blocked::Blocked;
use crate::accounts::facts::{HomeId, PersonFacts};
use crate::accounts::note::Note;
use crate::accounts::observed::{Account, Home, NOT_RECORDED, Traces};
use crate::accounts::refusal::Refusal;
use crate::accounts::settle::{is_shut, trace_reading};
use crate::id::StepId;
use crate::people::Stage;
use crate::reading::Reading;

impl<'a> Draft<'a, '_> {
    /// Cuts whoever is known here and not kept: level-triggered, from the ledger, until it is observed done (R33, R34).
    /// `kept` is sorted.
    pub(super) fn cut_whoever_left(&mut self, kept: &[&str]) {
        let mut kept = kept.iter().peekable();
        let gone: Vec<(&'a String, &'a Box<PersonFacts>)> = self
            .input
            .known
            .people
            .iter()
            .filter(|(user, it)| {
                while kept.next_if(|kept| **kept < user.as_str()).is_some() {}
                kept.peek().is_none_or(|kept| **kept != user.as_str())
                    && !matches!(it.stage, Stage::Archived | Stage::Deleted)
            })
            .collect();
        let active = gone.iter().filter(|(_, it)| it.stage != Stage::Cut).count();
        if !self.input.desired.anybody && active > 0 {
            self.notes.push(Note::EmptyRoster { kept: active });
        }
        for (user, person) in gone {
            if person.stage != Stage::Cut && !self.input.desired.anybody {
                self.keep_entries_of(user, person);
            } else {
                self.cut(user, person);
            }
        }
    }

    pub(super) fn cut(&mut self, user: &str, person: &PersonFacts) {
        if let Some(other) = self.goes_by_another_name(user, person) {
            // Nothing that is done to the old name would shut it.
            let why = Refusal::RenamedSince {
                user: user.to_owned(),
                uid: person.uid,
                now: other.to_owned(),
            };
            return self.refuse(user, why);
        }
        let mut anchor = Anchor {
            incarnation: Incarnation::Account {
                uid: person.uid,
                entry: person.entry,
            },
            needs: Vec::new(),
        };
        let account = self.by_name.get(user).filter(|it| it.uid == person.uid);
        if person.stage != Stage::Cut {
            let root_equivalent = account.is_some() && self.roots.account_may(user);
            let cut = self.push(
                Action::Cut {
                    user: user.to_owned(),
                    root_equivalent,
                },
                &anchor,
            );
            self.cuts.insert(user.to_owned(), cut);
            anchor.needs.push(cut);
        }
        self.still_units(user, &anchor);
        // The parts of a cut that is planned here belong to the next one.
        let nth = if person.stage == Stage::Cut {
            person.cuts
        } else {
            person.cuts + 1
        };
        let Some(account) = account else {
            if let Some(why) = self.accounts.hindrances.lines.get(user) {
                self.refuse(user, Refusal::Lines(why.clone()));
            }
            // A removal that was interrupted between the databases is planned again, as the same step.
            if person.stage == Stage::Cut && !self.accounts.by_name.contains_key(user) {
                self.finish_removal(user, person);
            }
            return;
        };
        // The cut goes as far as it can, and whoever corrects the line sees it through.
        if let Some(why) = self.accounts.hindrances.lines.get(user) {
            self.refuse(user, Refusal::Lines(why.clone()));
        }
        if let Some(group) = self
            .input
            .policy
            .service_group
            .as_ref()
            .filter(|it| account.groups.contains(*it))
        {
            let action = Action::LeaveGroup {
                user: user.to_owned(),
                group: group.clone(),
                because: Leave::Cut,
            };
            self.push(action, &anchor);
        }
        self.shut_login(user, account, nth, &anchor);
        let (home_id, mut blocked) = self.home_to_archive(user, person);
        // An earlier version wrote down the slash that passwd may have behind it.
        if account.home != person.home && account.home != person.home.trim_end_matches('/') {
            blocked = Some(Blocked::OtherHome {
                found: account.home.clone(),
                recorded: person.home.clone(),
            });
        }
        anchor.incarnation = Incarnation::Home {
            uid: person.uid,
            entry: person.entry,
            home: home_id.clone().map(Box::new),
        };
        let action = Action::ArchiveDelete {
            user: user.to_owned(),
            uid: person.uid,
            home: account.home.clone(),
            home_id,
            gid: account.gid,
            subuid: account.subuid,
            subgid: account.subgid,
            more: account.more.clone(),
        };
        self.push_blocked(action, &anchor, blocked);
    }

    /// Shuts a login in full: what of it is still open, by what was seen. What is saved gets the number `nth`.
    pub(super) fn shut_login(&mut self, user: &str, account: &Account, nth: u32, anchor: &Anchor) {
        let mut locking = None;
        if !is_shut(account, &self.input.policy.nologin) {
            locking = Some(self.push(
                Action::LockLogin {
                    user: user.to_owned(),
                    cut: nth,
                },
                anchor,
            ));
        }
        let seen = self.input.observed.people.get(user);
        if let Some(traces) = seen.and_then(|it| it.traces.as_deref()) {
            self.set_traces_aside(user, traces, nth, locking, anchor);
        }
    }

    /// The home that a removal would archive, in its place or already in quarantine, and what stands against it.
    fn home_to_archive(
        &self,
        user: &str,
        person: &PersonFacts,
    ) -> (Option<HomeId>, Option<Blocked>) {
        let seen = self.input.observed.people.get(user);
        let quarantined = self.quarantined(user);
        match (seen.map(|it| &it.home), quarantined) {
            (Some(Reading::Known(Home::Directory(id))), None) => (Some(id.clone()), None),
            (Some(Reading::Known(Home::Absent)) | None, Some(id)) => (Some(id.clone()), None),
            (Some(Reading::Known(Home::Directory(_) | Home::Odd(_))), Some(id)) => {
                let why = Blocked::HomeTwice {
                    home: person.home.clone(),
                };
                (Some(id.clone()), Some(why))
            }
            (Some(Reading::Known(Home::Absent)), None) if person.home_made => {
                let why = Blocked::HomeGone {
                    home: person.home.clone(),
                };
                (None, Some(why))
            }
            (Some(Reading::Known(Home::Odd(what))), None) => {
                let why = Blocked::HomeOdd {
                    home: person.home.clone(),
                    what: what.clone(),
                };
                (None, Some(why))
            }
            (Some(Reading::Unknown(why)), id) => (
                id.cloned(),
                Some(Blocked::HomeUnread {
                    home: person.home.clone(),
                    why: why.clone(),
                }),
            ),
            (Some(Reading::Known(Home::Absent)) | None, None) => (None, None),
        }
    }

    /// Somebody's home in quarantine.
    pub(super) fn quarantined(&self, user: &str) -> Option<&'a HomeId> {
        let kept = self.input.observed.people.get(user)?.kept.as_deref()?;
        kept.quarantined.known()?.as_ref()
    }

    fn finish_removal(&mut self, user: &str, person: &PersonFacts) {
        let kept = self
            .input
            .observed
            .people
            .get(user)
            .and_then(|it| it.kept.as_deref());
        let remnants = kept.is_some_and(|it| it.remnants == Reading::Known(true));
        let (home_id, blocked) = self.home_to_archive(user, person);
        if self.quarantined(user).is_none() && !remnants {
            return;
        }
        let anchor = Anchor {
            incarnation: Incarnation::Home {
                uid: person.uid,
                entry: person.entry,
                home: home_id.clone().map(Box::new),
            },
            needs: Vec::new(),
        };
        let action = Action::ArchiveDelete {
            user: user.to_owned(),
            uid: person.uid,
            home: person.home.clone(),
            home_id,
            gid: person.gid,
            subuid: person.subuid,
            subgid: person.subgid,
            more: person.more.clone(),
        };
        self.push_blocked(action, &anchor, blocked);
    }

    pub(super) fn set_traces_aside(
        &mut self,
        user: &str,
        traces: &Traces,
        cut: u32,
        locking: Option<StepId>,
        anchor: &Anchor,
    ) {
        let mut later = Vec::new();
        for trace in Trace::ALL {
            match trace_reading(traces, trace) {
                Reading::Unknown(why) if why == NOT_RECORDED => later.push(trace.word()),
                Reading::Known(true) => {
                    let action = Action::Trace {
                        user: user.to_owned(),
                        trace,
                        direction: Direction::SetAside,
                        cut,
                    };
                    self.push(action, anchor);
                }
                Reading::Known(false) => {}
                Reading::Unknown(why) => {
                    let part = format!("{} of {user}", trace.word());
                    self.notes.push(Note::Unread {
                        part,
                        why: why.clone(),
                    });
                }
            }
        }
        match &traces.processes {
            Reading::Unknown(why) if why == NOT_RECORDED => later.push("sessions"),
            Reading::Known(0) => {}
            Reading::Known(_) => {
                // Ended sessions come back while the login is open.
                let mut anchor = anchor.clone();
                anchor.needs.extend(locking);
                self.push(
                    Action::EndSessions {
                        user: user.to_owned(),
                    },
                    &anchor,
                );
            }
            Reading::Unknown(why) => {
                let part = format!("processes of {user}");
                self.notes.push(Note::Unread {
                    part,
                    why: why.clone(),
                });
            }
        }
        if let Some(what) = self.accounts.hindrances.spared.get(user) {
            self.notes.push(Note::Spared {
                user: user.to_owned(),
                what: what.clone(),
            });
        }
        if !later.is_empty() {
            self.notes.push(Note::LookedAtLater {
                user: user.to_owned(),
                traces: later,
            });
        }
    }

    /// Wants the entries that somebody has today, so that an empty roster unmaps nobody.
    pub(super) fn keep_entries_of(&mut self, user: &str, person: &PersonFacts) {
        let anchor = Anchor {
            incarnation: Incarnation::Account {
                uid: person.uid,
                entry: person.entry,
            },
            needs: Vec::new(),
        };
        for (file, entries) in &self.input.observed.aggregates {
            for (key, value) in entries.known().into_iter().flatten() {
                if owner(*file, key, value).as_deref() == Some(user) {
                    self.want_entry(*file, key, user, value, &anchor);
                }
            }
        }
    }
}
