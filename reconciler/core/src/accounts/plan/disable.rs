//! A login that is shut for as long as the row says so: the reversible lock of a cut, which takes no group and leaves no tombstone.

use super::{Anchor, Draft};
use crate::accounts::action::Action;
use crate::accounts::blocked::Blocked;
use crate::accounts::desired::{Disabled, Wanted};
use crate::accounts::facts::PersonFacts;
use crate::accounts::observed::Account;
use crate::accounts::policy::Aggregate;
use crate::people::Stage;
use crate::reading::Reading;
use crate::sheet::Hold;
use crate::time::days_between;

/// For how long it is told that a login is going to be shut which an earlier version left open, in seconds.
const NOTICE: i64 = 86_400;

impl<'a> Draft<'a, '_> {
    /// Whether the login can be shut as far as notice goes; gives it where it has to be given first.
    ///
    /// Versions before this one parked whoever expired and let them sign in. Nobody loses that overnight because a package was
    /// upgraded: whoever they parked after the last valid day is told for a while. This version parks nobody for that reason.
    pub(super) fn has_notice(
        &mut self,
        user: &str,
        because: Disabled,
        person: &PersonFacts,
        anchor: &Anchor,
    ) -> bool {
        if !is_owed_notice(because, person) || person.told.is_some() {
            return true;
        }
        let user = user.to_owned();
        self.push(Action::GiveNotice { user }, anchor);
        false
    }

    /// Whether somebody is on the list of admins.
    pub(super) fn is_listed(&self, user: &str) -> bool {
        let admins = self.input.observed.aggregates.get(&Aggregate::Admins);
        let admins = admins.and_then(Reading::known);
        admins.is_some_and(|it| it.contains_key(user))
    }

    /// Shuts the login of somebody the roster asks for: level-triggered, until it is observed shut in full. Files that list
    /// everybody have no entry of theirs, since none is wanted here.
    pub(super) fn disable(
        &mut self,
        user: &str,
        wanted: &Wanted,
        because: Disabled,
        account: Option<&Account>,
        person: Option<&PersonFacts>,
        anchor: &Anchor,
    ) {
        if let Disabled::Expired { .. } = because {
            self.expired.insert(user.to_owned());
        }
        self.converge_identity(user, wanted, person, anchor);
        if let Some(account) = account {
            self.converge_groups(user, wanted, account, person, anchor);
        }
        let mut anchor = anchor.clone();
        let mut nth = person.map_or(0, |it| it.cuts);
        if person.is_none_or(|it| it.stage != Stage::Disabled) {
            let action = Action::Disable {
                user: user.to_owned(),
                because: because.because(),
                root_equivalent: account.is_some() && self.roots.account_may(user),
            };
            let hold = person.and_then(|it| until_told(because, it));
            let disabled = self.push_whole(action, &anchor, hold, None);
            self.cuts.insert(user.to_owned(), disabled);
            anchor.needs.push(disabled);
            // The parts of what is planned here belong to the next number.
            nth += 1;
        }
        self.still_units(user, &anchor);
        let has_environment =
            |found: &mut crate::merge_join::MergeJoin<'_, String>| found.get(user).is_some();
        if wanted.grant.instance
            && self
                .found_environments
                .as_mut()
                .is_some_and(has_environment)
        {
            let ports = person.map(|it| it.ports.clone()).unwrap_or_default();
            self.converge_environment(user, wanted, person, &ports, &anchor);
        }
        if let Some(account) = account {
            self.shut_login(user, account, nth, &anchor);
        }
    }
}

/// Whether an earlier version parked somebody because their last valid day had passed.
fn is_owed_notice(because: Disabled, person: &PersonFacts) -> bool {
    match because {
        Disabled::Asked => false,
        Disabled::Expired { last } => {
            person.stage == Stage::Parked && days_between(last, person.since.date()) > 0
        }
    }
}

/// What keeps a login open for as long as notice was given.
fn until_told(because: Disabled, person: &PersonFacts) -> Option<Hold<Blocked>> {
    match because {
        Disabled::Asked => None,
        Disabled::Expired { last } => {
            let until = person.told?.plus(NOTICE);
            is_owed_notice(because, person).then_some(Hold::Until(until, Blocked::Told { last }))
        }
    }
}
