//! What begun steps left behind, once something else is asked for.
//!
//! A step that was interrupted is planned again as long as somebody asks for it, and takes up what it left. When its row is gone,
//! renamed or reverted by then, the facts still say that it was begun (`Known::remains`), the host is asked what is left of it, and
//! that is planned on as anything else: an account that has its new name already is renamed to the end, and lines under a name that
//! has no account are cleared away.

use std::collections::BTreeMap;

use super::{Anchor, Draft};
use crate::accounts::action::{Action, Incarnation};
use crate::accounts::desired::Wanted;
use crate::accounts::facts::PersonFacts;
use crate::accounts::observed::Remains;
use crate::merge_join::MergeJoin;
use crate::people::Stage;

impl<'a> Draft<'a, '_> {
    /// Plans the end of each rename whose account has its new name already, whatever the roster says by now: until then the facts
    /// have it under a name that no account has. Gives the names before and after.
    pub(super) fn finish_renames(&mut self) -> BTreeMap<&'a str, &'a str> {
        let known = &self.input.known.people;
        let accounts = &self.accounts.by_name;
        let begun = known
            .iter()
            .filter(|(old, it)| !it.renaming.is_empty() && !accounts.contains_key(*old));
        let mut half = BTreeMap::new();
        for (old, person) in begun {
            let has_account = |new: &&String| {
                !known.contains_key(*new)
                    && accounts.get(*new).is_some_and(|it| it.uid == person.uid)
            };
            let Some(new) = person.renaming.iter().find(has_account) else {
                continue;
            };
            half.insert(old.as_str(), new.as_str());
            let anchor = Anchor {
                incarnation: Incarnation::Account {
                    uid: person.uid,
                    entry: person.entry,
                },
                needs: Vec::new(),
            };
            let action = Action::RenameAccount {
                from: old.clone(),
                user: new.clone(),
                uid: person.uid,
            };
            self.push(action, &anchor);
            self.keep_entries_of(old, person);
        }
        half
    }

    /// Whom a row means that has a name which somebody here had before: the same person, who was renamed, and whose row has the
    /// former name again.
    pub(super) fn renamed_since(
        &self,
        user: &str,
        wanted: &Wanted,
    ) -> Option<(&'a String, &'a PersonFacts)> {
        let Wanted {
            authentik_user,
            k8s_user,
            previously,
            uid,
            adopt,
            ..
        } = wanted;
        let former = |name: &str| self.renamed.get(name).copied();
        let now = former(user).or_else(|| former(previously.as_deref()?))?;
        let (name, person) = self.input.known.people.get_key_value(now)?;
        let is_the_same = person.authentik_user == *authentik_user
            && person.k8s_user == *k8s_user
            && uid.is_none_or(|uid| uid == person.uid);
        let is_free = adopt.is_none() && !self.input.desired.people.contains_key(name);
        (is_the_same && is_free && !is_gone(person)).then_some((name, person))
    }

    /// Clears away what is left under names that nobody asks for.
    pub(super) fn clear_remains(&mut self, half: &BTreeMap<&str, &str>) {
        let found = &self.accounts.remains;
        if found.is_empty() {
            return;
        }
        for (name, remains) in self.input.known.remains() {
            let is_asked = match remains.beside {
                None => self.input.desired.people.contains_key(name),
                Some(old) => {
                    let row = self.input.desired.people.get(name);
                    half.contains_key(old)
                        || row.is_some_and(|it| it.previously.as_deref() == Some(old))
                }
            };
            if found.contains(name) && !is_asked {
                self.clear(name, remains);
            }
        }
    }

    /// Clears away what is in the way of a new account of that name, if something of another is.
    pub(super) fn clear_the_way(&mut self, user: &str, gid: u32) -> bool {
        if !self.accounts.remains.contains(user) {
            return false;
        }
        let mut of_another = self.input.known.remains();
        let of_another =
            of_another.find(|(name, it)| *name == user && (it.gid != gid || it.beside.is_some()));
        let Some((name, remains)) = of_another else {
            return false;
        };
        if remains.beside.is_none() {
            self.clear(name, remains);
        }
        true
    }

    fn clear(&mut self, name: &str, remains: Remains<'_>) {
        let generation = self.input.known.people.get(name);
        let anchor = Anchor {
            incarnation: Incarnation::New {
                generation: generation.map_or(0, |it| it.generation),
            },
            needs: Vec::new(),
        };
        let action = Action::ClearRemains {
            user: name.to_owned(),
            gid: remains.gid,
            beside: remains.beside.map(str::to_owned),
        };
        self.push(action, &anchor);
    }

    /// The account that somebody has by now under a name that is not theirs, as after `usermod -l`.
    pub(super) fn goes_by_another_name(&self, user: &str, person: &PersonFacts) -> Option<&'a str> {
        let accounts = &self.accounts.by_name;
        if accounts.contains_key(user) {
            return None;
        }
        let mut of_the_uid = accounts.iter().filter(|(_, it)| it.uid == person.uid);
        let known = &self.input.known.people;
        of_the_uid
            .find(|(name, _)| !known.contains_key(*name))
            .map(|(name, _)| name.as_str())
    }
}

/// For each name that somebody had before: under which they are kept now.
pub(super) fn renamed(known: &BTreeMap<String, Box<PersonFacts>>) -> BTreeMap<&str, &str> {
    let mut renamed = BTreeMap::new();
    for (name, person) in known {
        for former in &person.formerly {
            renamed.insert(former.as_str(), name.as_str());
        }
    }
    // A name that somebody has now is theirs.
    let mut by_name = MergeJoin::new(known);
    renamed.retain(|former, _| by_name.get(former).is_none());
    renamed
}

/// Whether the account was removed.
fn is_gone(person: &PersonFacts) -> bool {
    match person.stage {
        Stage::Archived | Stage::Deleted => true,
        Stage::Active | Stage::Parked | Stage::Disabled | Stage::Cut => false,
    }
}
