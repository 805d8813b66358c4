//! Brings one account to what its row wants.

use super::{Anchor, Draft};
use crate::accounts::action::Incarnation;
use crate::accounts::action::{Action, Leave};
use crate::accounts::blocked::Blocked;
use crate::accounts::desired::Wanted;
use crate::accounts::facts::{PersonFacts, Provenance};
use crate::accounts::note::Note;
use crate::accounts::observed::{Account, Home, Password};
use crate::accounts::policy::{Aggregate, Passwords};
use crate::accounts::refusal::Refusal;
use crate::people::Identity;
use crate::people::Stage;
use crate::reading::Reading;
use crate::repo::Tier;

impl<'a> Draft<'a, '_> {
    /// Brings an account that is, or is about to be, ours to what the row wants.
    pub(super) fn converge(
        &mut self,
        user: &str,
        wanted: &Wanted,
        account: &Account,
        person: Option<&PersonFacts>,
        anchor: &Anchor,
    ) {
        self.converge_identity(user, wanted, person, anchor);
        self.converge_login(user, wanted, account, person, anchor);
        self.converge_groups(user, wanted, account, person, anchor);
        let mut anchor = anchor;
        let after_home;
        if let Some(person) = person.filter(|it| it.home_owed.is_some()) {
            if let Some(home) = self.converge_owed_home(user, person, anchor) {
                // Nothing of theirs runs before their files are back.
                let mut needs = anchor.needs.clone();
                needs.push(home);
                after_home = Anchor {
                    incarnation: anchor.incarnation.clone(),
                    needs,
                };
                anchor = &after_home;
            }
        } else {
            self.converge_home(user, account, person, anchor);
        }
        let was_parked = person.is_some_and(|it| it.stage == Stage::Parked);
        match (&wanted.parked, was_parked) {
            (Some(because), false) => {
                if !self.input.policy.runs_instances() {
                    let user = user.to_owned();
                    self.notes.push(Note::NothingToPark { user });
                }
                self.push(
                    Action::Park {
                        user: user.to_owned(),
                        because: *because,
                    },
                    anchor,
                );
            }
            (None, true) => {
                self.push(
                    Action::Unpark {
                        user: user.to_owned(),
                    },
                    anchor,
                );
            }
            (Some(_), true) | (None, false) => {}
        }
        self.converge_instance(user, wanted, person, anchor);
        // Nobody whose login is going to be shut is listed only to be taken off the list again.
        let is_listed = wanted.disabled.is_none() || self.is_listed(user);
        if wanted.tier == Tier::Admin && is_listed {
            self.want_entry(Aggregate::Admins, user, user, "", anchor);
        }
    }

    pub(super) fn converge_identity(
        &mut self,
        user: &str,
        wanted: &Wanted,
        person: Option<&PersonFacts>,
        anchor: &Anchor,
    ) {
        // An account that is only now created or adopted takes its identities with it.
        let Some(person) =
            person.filter(|_| !matches!(anchor.incarnation, Incarnation::New { .. }))
        else {
            return;
        };
        if self.by_name.get(user).is_some() {
            for (identity, from, to) in [
                (
                    Identity::AuthentikUser,
                    &person.authentik_user,
                    &wanted.authentik_user,
                ),
                (Identity::K8sUser, &person.k8s_user, &wanted.k8s_user),
            ] {
                if from != to {
                    let action = Action::ChangeIdentity {
                        user: user.to_owned(),
                        identity,
                        from: from.clone(),
                        to: to.clone(),
                    };
                    self.push(action, anchor);
                }
            }
            if let Some(uid) = wanted.uid.filter(|uid| *uid != person.uid) {
                self.push(
                    Action::ChangeUid {
                        user: user.to_owned(),
                        from: person.uid,
                        to: uid,
                    },
                    anchor,
                );
            }
        }
    }

    pub(super) fn converge_login(
        &mut self,
        user: &str,
        wanted: &Wanted,
        account: &Account,
        person: Option<&PersonFacts>,
        anchor: &Anchor,
    ) {
        if person.is_some_and(|it| it.aside.login) {
            return; // first the saved login comes back
        }
        if account.shell != wanted.grant.shell {
            let blocked = (!self.accounts.shells.contains(&wanted.grant.shell))
                .then(|| Blocked::NoShell(wanted.grant.shell.clone()));
            let action = Action::SetShell {
                user: user.to_owned(),
                from: account.shell.clone(),
                to: wanted.grant.shell.clone(),
            };
            self.push_blocked(action, anchor, blocked);
        }
        let adopted =
            self.adopting.contains(user) || person.is_some_and(|it| it.how == Provenance::Adopted);
        let keeps = adopted && self.input.policy.passwords == Passwords::Keep;
        match account.password {
            Password::Usable if keeps => {}
            Password::Usable => {
                let user = user.to_owned();
                self.push(Action::LockPassword { user }, anchor);
            }
            Password::Locked if keeps && self.input.known.locked.contains(user) => {
                let action = Action::RestorePassword {
                    user: user.to_owned(),
                    root_equivalent: self.roots.account_may(user),
                };
                self.push(action, anchor);
            }
            Password::Locked => {}
        }
    }

    pub(super) fn converge_groups(
        &mut self,
        user: &str,
        wanted: &Wanted,
        account: &Account,
        person: Option<&PersonFacts>,
        anchor: &Anchor,
    ) {
        let mut asked: Vec<&str> = wanted.grant.groups.iter().map(String::as_str).collect();
        if wanted.grant.instance {
            asked.extend(self.input.policy.service_group.as_deref());
        }
        asked.sort_unstable();
        asked.dedup();
        for group in &asked {
            // In one file of two, a membership counts for some programs and not for others: it is given again, whole.
            if account.groups.contains(*group) && !account.half_groups.contains(*group) {
                continue;
            }
            match self.accounts.groups.get(*group) {
                Some(gid) => {
                    let action = Action::JoinGroup {
                        user: user.to_owned(),
                        group: (*group).to_owned(),
                        gid: *gid,
                    };
                    let own = self
                        .own_groups
                        .of_another(self.input, self.accounts, group, user);
                    self.push_blocked(action, anchor, own);
                }
                None => self
                    .missing_groups
                    .entry((*group).to_owned())
                    .or_default()
                    .push(user.to_owned()),
            }
        }
        for group in account
            .groups
            .iter()
            .filter(|it| !asked.contains(&it.as_str()))
        {
            let is_ours = |it: &PersonFacts| {
                it.given.contains(group)
                    || (account.half_groups.contains(group) && it.joining.contains(group))
            };
            if person.is_some_and(is_ours) {
                let action = Action::LeaveGroup {
                    user: user.to_owned(),
                    group: group.clone(),
                    because: Leave::NotAsked,
                };
                self.push(action, anchor);
            } else {
                self.notes.push(Note::NotFromRoster {
                    user: user.to_owned(),
                    group: group.clone(),
                });
            }
        }
    }

    /// An empty home is made once. One that vanished later may be a file system that is not mounted.
    pub(super) fn converge_home(
        &mut self,
        user: &str,
        account: &Account,
        person: Option<&PersonFacts>,
        anchor: &Anchor,
    ) {
        let home = self.seen.get(user).map(|it| &it.home);
        let made = person.is_some_and(|it| it.home_made);
        let adopting = person.is_none() && self.by_name.get(user).is_some();
        match home {
            Some(Reading::Known(Home::Directory(_))) if person.is_some() || adopting => {}
            Some(Reading::Known(Home::Absent)) if made || adopting => {
                let home = account.home.clone();
                self.refuse(user, Refusal::HomeGone { home });
            }
            Some(Reading::Known(Home::Odd(what))) => {
                let (home, what) = (account.home.clone(), what.clone());
                self.refuse(user, Refusal::HomeOdd { home, what });
            }
            Some(Reading::Unknown(why)) => {
                self.notes.push(Note::Unread {
                    part: format!("the home of {user}"),
                    why: why.clone(),
                });
            }
            Some(Reading::Known(Home::Absent)) | None => {
                self.push(
                    Action::CreateHome {
                        user: user.to_owned(),
                        home: account.home.clone(),
                    },
                    anchor,
                );
            }
            // A directory that was there before the account keeps its content and is not touched (R37).
            Some(Reading::Known(Home::Directory(_))) => {
                let home = account.home.clone();
                self.refuse(user, Refusal::HomeWasThere { home });
            }
        }
    }
}
