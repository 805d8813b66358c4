//! Who a name is, and whether what stands behind a file is that person.

use std::collections::BTreeSet;

use jiff::civil::Date;

use super::{Cause, Gone};
use crate::repo::Roster;
use crate::services::attributions::{Attribution, Identity};

pub(super) struct People<'r> {
    pub(super) roster: &'r Roster<'r>,
    pub(super) former: &'r BTreeSet<String>,
    pub(super) unsettled: &'r BTreeSet<String>,
    pub(super) today: Date,
}

pub(super) enum Known {
    Active,
    Gone(Gone),
    Never,
}

impl People<'_> {
    pub(super) fn known(&self, name: &str) -> Known {
        match self.roster.get(name) {
            None if self.former.contains(name) => Known::Gone(Gone::Leaving),
            None => Known::Never,
            Some(person) if person.parked() => Known::Gone(Gone::Parked),
            Some(person) if person.disabled() => Known::Gone(Gone::Disabled),
            Some(person) if person.expires().is_some_and(|last| last < self.today) => {
                Known::Gone(Gone::Expired)
            }
            Some(_) => Known::Active,
        }
    }

    /// Whether what stands behind something is that person. An account that the very proposal gives them is nobody's yet: it
    /// would speak for whom it names.
    pub(super) fn is(&self, by: &Attribution, name: &str) -> bool {
        match &by.by {
            Identity::Key(person) => person == name,
            Identity::Forge(_) => !self.unsettled.contains(name) && self.will_be(by, name),
        }
    }

    /// The same by the roster alone.
    pub(super) fn will_be(&self, by: &Attribution, name: &str) -> bool {
        match &by.by {
            Identity::Key(person) => person == name,
            Identity::Forge(account) => self
                .roster
                .get(name)
                .and_then(|it| it.forge_user())
                .is_some_and(|it| it.eq_ignore_ascii_case(account)),
        }
    }

    /// Why none of them counts as any of these people.
    pub(super) fn why_not<'n>(
        &self,
        by: &[Attribution],
        names: impl Iterator<Item = &'n str> + Clone,
    ) -> Cause {
        let will_be = |it: &Attribution| names.clone().any(|name| self.will_be(it, name));
        if by.is_empty() {
            Cause::Unattributed
        } else if by.iter().any(will_be) {
            Cause::Unsettled
        } else {
            Cause::OtherIdentity
        }
    }
}
