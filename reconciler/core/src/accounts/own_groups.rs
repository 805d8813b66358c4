//! Groups that are somebody's own: a private group, or the primary group of an account. They are nobody's to give.

use std::collections::BTreeMap;

use super::blocked::Blocked;
use super::observed::Accounts;
use super::plan::Input;

/// Looks up whose own a group is, once for each group that somebody is to join.
#[derive(Debug, Default)]
pub(crate) struct OwnGroups {
    /// The first two that have it as their primary group: one of them is another than whoever is to join.
    primary_of: BTreeMap<String, Vec<String>>,
}

impl OwnGroups {
    /// Whether `group` is somebody's own and `user` is not that somebody. The settings can allow one by name.
    pub(crate) fn of_another(
        &mut self,
        input: &Input<'_>,
        accounts: &Accounts,
        group: &str,
        user: &str,
    ) -> Option<Blocked> {
        let of_settings = input.policy.service_group.as_deref() == Some(group);
        if of_settings || input.policy.shared_primary_groups.contains(group) {
            return None;
        }
        let is_of = |of: &str| Blocked::SomebodysGroup {
            group: group.to_owned(),
            of: of.to_owned(),
        };
        let has_private_group = accounts.by_name.contains_key(group)
            || input.desired.people.contains_key(group)
            || input.known.people.contains_key(group);
        if has_private_group && group != user {
            return Some(is_of(group));
        }
        if !self.primary_of.contains_key(group) {
            let gid = accounts.groups.get(group);
            let have_it = accounts
                .by_name
                .iter()
                .filter(|(_, it)| Some(&it.gid) == gid);
            let first = have_it.map(|(name, _)| name.clone()).take(2).collect();
            self.primary_of.insert(group.to_owned(), first);
        }
        let others = self.primary_of.get(group)?;
        others.iter().find(|it| *it != user).map(|it| is_of(it))
    }
}
