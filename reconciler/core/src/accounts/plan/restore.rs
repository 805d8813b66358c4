//! The ways back from the archive, and the end of the grace period.

use super::{Anchor, Draft};
use crate::accounts::action::Incarnation;
use crate::accounts::action::{Action, HomeSource};
use crate::accounts::blocked::Blocked;
use crate::accounts::desired::Wanted;
use crate::accounts::facts::{ArchiveFacts, PersonFacts, Provenance};
use crate::accounts::observed::{Account, ArchiveSeen, Home, Password};
use crate::accounts::refusal::Refusal;
use crate::id::StepId;
use crate::people::Stage;
use crate::reading::Reading;
use crate::time::days_between;

impl<'a> Draft<'a, '_> {
    /// Plans for somebody who was deleted here and whose row is back: the account as it was, then its home, then what
    /// everybody gets. Groups that make root-equivalent come as steps of their own.
    pub(super) fn restore(&mut self, user: &str, wanted: &Wanted, person: &PersonFacts) {
        if let Some(why) = self.in_the_way(user, person) {
            return self.refuse(user, why);
        }
        let mut blocked = (!self.accounts.shells.contains(&wanted.grant.shell))
            .then(|| Blocked::NoShell(wanted.grant.shell.clone()));
        if person.had_home()
            && let Err(why) = self.home_source(user, person, person.entry)
        {
            blocked = Some(why);
        }
        let root_equivalent = self
            .roots
            .newcomer_would(user, person.uid, person.gid, false);
        let anchor = Anchor {
            incarnation: Incarnation::New {
                generation: person.generation,
            },
            needs: Vec::new(),
        };
        let restored = self.push_blocked(
            Action::RestoreAccount {
                user: user.to_owned(),
                uid: person.uid,
                gid: person.gid,
                home: person.home.clone(),
                shell: wanted.grant.shell.clone(),
                subuid: person.subuid,
                subgid: person.subgid,
                root_equivalent,
            },
            &anchor,
            blocked,
        );
        let anchor = Anchor {
            incarnation: Incarnation::Account {
                uid: person.uid,
                entry: restored,
            },
            needs: vec![restored],
        };
        let account = Account {
            uid: person.uid,
            gid: person.gid,
            home: person.home.clone(),
            shell: wanted.grant.shell.clone(),
            password: Password::Locked,
            expires: None,
            groups: Default::default(),
            half_groups: Default::default(),
            subuid: person.subuid,
            subgid: person.subgid,
            more: Default::default(),
            renaming_from: None,
        };
        let mut person = person.clone();
        person.home_owed = person.had_home().then_some(person.entry);
        person.aside.login = false;
        person.aside.groups.clear();
        self.converge(user, wanted, &account, Some(&person), &anchor);
        if !person.aside.is_empty() {
            self.put_back(user, &person, &anchor);
        }
    }

    fn in_the_way(&mut self, user: &str, person: &PersonFacts) -> Option<Refusal> {
        if self.accounts.by_name.contains_key(user) {
            return Some(Refusal::NameTakenSince);
        }
        if let Some(why) = self.known_elsewhere(user) {
            return Some(Refusal::CannotComeBack(Box::new(why)));
        }
        // What a path is told of is what the person left.
        let lines = self.accounts.hindrances.uids.get(&person.uid);
        let mut lines = lines.into_iter().flatten().map(String::as_str);
        let place = lines.find(|it| !it.starts_with('/')).or_else(|| {
            let known = self.accounts.foreign_uids.contains(&person.uid);
            known.then_some("a name service of this host")
        });
        if let Some(place) = place {
            return Some(Refusal::OldUidElsewhere {
                uid: person.uid,
                place: place.to_owned(),
            });
        }
        if let Some(why) =
            self.group_in_the_way(user, person.gid, person.how == Provenance::Adopted)
        {
            return Some(Refusal::CannotComeBack(Box::new(why)));
        }
        let (taken, _) = self
            .accounts
            .by_name
            .iter()
            .find(|(_, it)| it.uid == person.uid)?;
        Some(Refusal::OldUidTaken {
            uid: person.uid,
            by: taken.clone(),
        })
    }

    /// Plans to put back a home that is owed to an account that was restored; `None` when none is.
    pub(super) fn converge_owed_home(
        &mut self,
        user: &str,
        person: &PersonFacts,
        anchor: &Anchor,
    ) -> Option<StepId> {
        let of = person.home_owed?;
        let source = self.home_source(user, person, of);
        match self.input.observed.people.get(user).map(|it| &it.home) {
            // What could not be read is told where homes are.
            Some(Reading::Unknown(_) | Reading::Known(Home::Odd(_))) | None => None,
            Some(Reading::Known(Home::Directory(_))) => {
                let home = person.home.clone();
                self.refuse(user, Refusal::HomeMadeSince { home });
                None
            }
            Some(Reading::Known(Home::Absent)) => {
                let (from, blocked) = match source {
                    Ok(from) => (from, None),
                    // Without a source the step cannot be named; the account's own step says why.
                    Err(why) => {
                        if !ground_is_new(anchor) {
                            self.refuse(user, Refusal::HomeStays(why));
                        }
                        return None;
                    }
                };
                Some(self.push_home(user, person, from, anchor, blocked))
            }
        }
    }

    pub(super) fn push_home(
        &mut self,
        user: &str,
        person: &PersonFacts,
        from: HomeSource,
        anchor: &Anchor,
        blocked: Option<Blocked>,
    ) -> StepId {
        let action = Action::RestoreHome {
            user: user.to_owned(),
            home: person.home.clone(),
            from,
            of: person.home_owed.unwrap_or(person.entry),
        };
        self.push_blocked(action, anchor, blocked)
    }

    /// Where the home comes from that the account with this entry had.
    fn home_source(
        &self,
        user: &str,
        person: &PersonFacts,
        of: StepId,
    ) -> Result<HomeSource, Blocked> {
        if let Some(home_id) = self.quarantined(user) {
            return Ok(HomeSource::Quarantine {
                home_id: home_id.clone(),
            });
        }
        let name = crate::accounts::facts::archive_name(person.uid, of);
        let Some(recorded) = person.archive.as_ref().filter(|it| it.entry == of) else {
            return Err(Blocked::NoSource {
                home: person.home.clone(),
            });
        };
        match self.archive_seen(user) {
            Some(Reading::Known(Some(seen))) if seen.sha256 == recorded.sha256 => {
                Ok(HomeSource::Archive {
                    sha256: recorded.sha256.clone(),
                })
            }
            Some(Reading::Known(Some(_))) => Err(Blocked::OtherArchive { name: Some(name) }),
            Some(Reading::Known(None)) => Err(Blocked::NoArchive { name }),
            Some(Reading::Unknown(why)) => Err(Blocked::ArchivesUnread { why: why.clone() }),
            None => Err(Blocked::ArchivesNotAsked),
        }
    }

    fn archive_seen(&self, user: &str) -> Option<&'a Reading<Option<ArchiveSeen>>> {
        Some(&self.input.observed.people.get(user)?.kept.as_ref()?.archive)
    }

    /// Records new archives, and plans the removal of homes whose grace period is over.
    pub(super) fn attend_archived(&mut self) {
        let Self { input, .. } = self;
        for (user, person) in &input.known.people {
            if person.stage != Stage::Archived {
                continue;
            }
            let recorded = person
                .archive
                .as_ref()
                .filter(|it| it.entry == person.entry);
            match (recorded, self.archive_seen(user)) {
                (None, Some(Reading::Known(Some(seen)))) => self.record_archive(user, person, seen),
                (Some(recorded), Some(Reading::Known(Some(seen))))
                    if !self.input.desired.people.contains_key(user) =>
                {
                    self.purge(user, person, recorded, seen);
                }
                _ => {}
            }
        }
    }

    fn record_archive(&mut self, user: &str, person: &PersonFacts, seen: &ArchiveSeen) {
        let anchor = Anchor {
            incarnation: Incarnation::Account {
                uid: person.uid,
                entry: person.entry,
            },
            needs: Vec::new(),
        };
        let action = Action::RecordArchive {
            user: user.to_owned(),
            sha256: seen.sha256.clone(),
            bytes: seen.bytes,
        };
        self.push(action, &anchor);
    }

    /// A home goes for ever only while its archive is seen to be the one that was recorded.
    fn purge(
        &mut self,
        user: &str,
        person: &PersonFacts,
        recorded: &ArchiveFacts,
        seen: &ArchiveSeen,
    ) {
        let grace = i64::from(self.input.policy.grace_days);
        let kept = self.input.observed.people.get(user);
        // What is begun is the same step, and goes on.
        let begun = kept.and_then(|it| it.kept.as_ref()?.purging.as_ref());
        let Some(home_id) = begun.or_else(|| self.quarantined(user)) else {
            return;
        };
        if days_between(person.since.date(), self.input.today) < grace {
            return;
        }
        let same = (&seen.sha256, seen.bytes) == (&recorded.sha256, recorded.bytes);
        let blocked = (!same).then_some(Blocked::OtherArchive { name: None });
        let anchor = Anchor {
            incarnation: Incarnation::Home {
                uid: person.uid,
                entry: person.entry,
                home: Some(Box::new(home_id.clone())),
            },
            needs: Vec::new(),
        };
        let action = Action::PurgeHome {
            user: user.to_owned(),
            uid: person.uid,
            home: person.home.clone(),
            home_id: home_id.clone(),
            sha256: recorded.sha256.clone(),
        };
        self.push_blocked(action, &anchor, blocked);
    }
}

/// Whether the account is only now made, and its own step says what is missing.
fn ground_is_new(anchor: &Anchor) -> bool {
    !anchor.needs.is_empty()
}
