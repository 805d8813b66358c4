//! Entries of the files that list everybody.

use std::collections::BTreeMap;

use super::{Anchor, Draft, WantedEntry};
use crate::accounts::action::Action;
use crate::accounts::action::Incarnation;
use crate::accounts::note::Note;
use crate::accounts::policy::Aggregate;
use crate::accounts::render;
use crate::merge_join::MergeJoin;
use crate::reading::Reading;

impl<'a> Draft<'a, '_> {
    pub(super) fn want_entry(
        &mut self,
        file: Aggregate,
        key: &str,
        user: &str,
        value: &str,
        anchor: &Anchor,
    ) {
        if !self.input.policy.aggregates.contains(&file) {
            return;
        }
        let found = self.input.observed.aggregates.get(&file);
        let now = found.and_then(Reading::known).and_then(|it| it.get(key));
        // Nearly all of them: then nothing more is to be known of it.
        let is_there = now.is_some_and(|now| now == value);
        let entry = (!is_there).then(|| WantedEntry {
            user: user.to_owned(),
            value: value.to_owned(),
            anchor: anchor.clone(),
        });
        let of_file = self.entries.entry(file).or_default();
        of_file.insert(key.to_owned(), entry);
    }

    /// Compares the entries wanted with those observed. Entries of nobody we know stay.
    pub(super) fn plan_entries(&mut self) {
        let mut entries = std::mem::take(&mut self.entries);
        let policy = self.input.policy;
        let observed = self.input.observed;
        let formerly: BTreeMap<&str, &str> = self
            .input
            .known
            .people
            .iter()
            .flat_map(|(user, it)| {
                it.formerly
                    .iter()
                    .map(move |old| (old.as_str(), user.as_str()))
            })
            .collect();
        for file in Aggregate::ALL
            .into_iter()
            .filter(|it| policy.aggregates.contains(it))
        {
            let Some(Reading::Known(found)) = observed.aggregates.get(&file) else {
                continue;
            };
            let wanted = entries.remove(&file).unwrap_or_default();
            let missing = |(key, entry)| Some((key, Option::as_ref(entry)?));
            for (key, entry) in wanted.iter().filter_map(missing) {
                let action = Action::Entry {
                    user: entry.user.clone(),
                    file,
                    key: String::clone(key),
                    from: found.get(key).cloned(),
                    to: Some(entry.value.clone()),
                };
                self.push(action, &entry.anchor);
            }
            let mut wanted = MergeJoin::new(&wanted);
            for (key, value) in found {
                if wanted.get(key).is_some() {
                    continue;
                }
                let owner = owner(file, key, value);
                // Whoever has the name now comes before whoever had it once (F6).
                let people = &self.input.known.people;
                let had_it_once = |it| formerly.get(it).copied().unwrap_or(it);
                let user = owner.as_deref().map(|it| match people.get(it) {
                    Some(_) => it,
                    None => had_it_once(it),
                });
                let known = user.and_then(|user| Some((user, people.get(user)?)));
                let Some((user, person)) = known else {
                    self.notes.push(Note::ForeignEntry {
                        file,
                        key: key.clone(),
                    });
                    continue;
                };
                let anchor = Anchor {
                    incarnation: Incarnation::Account {
                        uid: person.uid,
                        entry: person.entry,
                    },
                    needs: self.cuts.get(user).copied().into_iter().collect(),
                };
                let action = Action::Entry {
                    user: user.to_owned(),
                    file,
                    key: key.clone(),
                    from: Some(value.clone()),
                    to: None,
                };
                self.push(action, &anchor);
            }
        }
    }
}

/// The os_user that an entry belongs to.
pub(super) fn owner(file: Aggregate, key: &str, value: &str) -> Option<String> {
    match file {
        Aggregate::LoginMap => Some(value.to_owned()),
        Aggregate::Dispatch => render::dispatch_entry(value).map(|(user, _)| user),
        Aggregate::Admins => Some(key.to_owned()),
    }
}
