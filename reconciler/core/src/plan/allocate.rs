//! Uids, subordinate ranges and ports: the lowest free one, in the order of the names (R13), and never one that
//! anybody ever had (R14, invariant 10).

use std::collections::{BTreeMap, BTreeSet};

use crate::facts::{AccountIds, Facts, IdRange, PersonFacts};
use crate::observed::{Accounts, Observed};
use crate::policy::{Aggregate, Policy, PortFamily, Ports};
use crate::render::dispatch_entry;

/// Hands out ids and ranges. Cursors only move up, so a batch of N costs N.
#[derive(Debug)]
pub(super) struct Ids {
    uids: BTreeSet<u32>,
    gids: BTreeSet<u32>,
    next_uid: u32,
    next_gid: u32,
    subuids: Ranges,
    subgids: Ranges,
    bounds: ((u32, u32), (u32, u32)),
}

impl Ids {
    /// `asked` are uids that rows ask for by number; nobody else gets them.
    pub(super) fn new(accounts: &Accounts, facts: &Facts, asked: &BTreeSet<u32>) -> Self {
        let mut uids: BTreeSet<u32> = accounts.by_name.values().map(|it| it.uid).collect();
        let mut gids: BTreeSet<u32> = accounts.groups.values().copied().collect();
        uids.extend(&accounts.foreign_uids);
        uids.extend(accounts.foreign.values());
        uids.extend(asked);
        let mut subuids = accounts.subuids.clone();
        let mut subgids = accounts.subgids.clone();
        for person in facts.people.values() {
            uids.insert(person.uid);
            gids.insert(person.gid);
            subuids.extend(person.subuid);
            subgids.extend(person.subgid);
        }
        for ids in facts.begun.values() {
            uids.insert(ids.uid);
            gids.insert(ids.gid);
            subuids.extend(ids.subuid);
            subgids.extend(ids.subgid);
        }
        let defaults = &accounts.defaults;
        Self {
            uids,
            gids,
            next_uid: defaults.uids.0,
            next_gid: defaults.gids.0,
            subuids: Ranges::new(defaults.subuids, subuids),
            subgids: Ranges::new(defaults.subgids, subgids),
            bounds: (defaults.uids, defaults.gids),
        }
    }

    /// Ids for one new account; `asked` is the uid its row asks for.
    ///
    /// # Errors
    /// Says which range of login.defs is used up.
    pub(super) fn take(&mut self, asked: Option<u32>) -> Result<AccountIds, String> {
        let ((uid_min, uid_max), (gid_min, gid_max)) = self.bounds;
        let uid = match asked {
            Some(uid) => uid,
            None => lowest_free(&mut self.next_uid, uid_max, &self.uids).ok_or_else(|| {
                format!(
                    "every uid from UID_MIN {uid_min} to UID_MAX {uid_max} of login.defs is taken"
                )
            })?,
        };
        let gid = if self.gids.contains(&uid) {
            lowest_free(&mut self.next_gid, gid_max, &self.gids).ok_or_else(|| {
                format!(
                    "every gid from GID_MIN {gid_min} to GID_MAX {gid_max} of login.defs is taken"
                )
            })?
        } else {
            uid
        };
        let subuid = self
            .subuids
            .take()
            .map_err(|()| "SUB_UID_MIN to SUB_UID_MAX of login.defs is used up")?;
        let subgid = self
            .subgids
            .take()
            .map_err(|()| "SUB_GID_MIN to SUB_GID_MAX of login.defs is used up")?;
        self.uids.insert(uid);
        self.gids.insert(gid);
        Ok(AccountIds {
            uid,
            gid,
            subuid,
            subgid,
        })
    }
}

fn lowest_free(cursor: &mut u32, last: u32, taken: &BTreeSet<u32>) -> Option<u32> {
    while *cursor <= last {
        let candidate = *cursor;
        *cursor += 1;
        if !taken.contains(&candidate) {
            return Some(candidate);
        }
    }
    None
}

/// Runs of subordinate ids, the lowest gap first.
#[derive(Debug)]
struct Ranges {
    next: u64,
    last: u64,
    count: u32,
    taken: Vec<IdRange>,
    at: usize,
}

impl Ranges {
    fn new((first, last, count): (u32, u32, u32), mut taken: Vec<IdRange>) -> Self {
        taken.sort_unstable();
        taken.dedup();
        Self {
            next: first.into(),
            last: last.into(),
            count,
            taken,
            at: 0,
        }
    }

    fn take(&mut self) -> Result<Option<IdRange>, ()> {
        if self.count == 0 {
            return Ok(None);
        }
        while let Some(range) = self.taken.get(self.at) {
            if u64::from(range.first) >= self.next + u64::from(self.count) {
                break;
            }
            self.next = self.next.max(range.end());
            self.at += 1;
        }
        let first = self.next;
        self.next += u64::from(self.count);
        let fits = self.next - 1 <= self.last;
        let first = u32::try_from(first).ok().filter(|_| fits).ok_or(())?;
        Ok(Some(IdRange {
            first,
            count: self.count,
        }))
    }
}

/// Hands out ports of every family.
#[derive(Debug)]
pub(super) struct PortTable {
    families: Vec<(PortFamily, u32)>,
    used: BTreeSet<u16>,
    /// Ports that an existing `dispatch.json` gives to a login, by os_user (R13: who has one keeps it).
    found: BTreeMap<String, u16>,
}

impl PortTable {
    pub(super) fn new(policy: &Policy, facts: &Facts, observed: &Observed) -> Self {
        let mut used: BTreeSet<u16> = facts
            .people
            .values()
            .flat_map(|it| it.ports.values().copied())
            .collect();
        let mut found = BTreeMap::new();
        let mut owners: BTreeMap<u16, usize> = BTreeMap::new();
        let entries = observed
            .aggregates
            .get(&Aggregate::Dispatch)
            .and_then(|it| it.known());
        for (user, port) in entries
            .into_iter()
            .flat_map(|it| it.values())
            .filter_map(|it| dispatch_entry(it))
        {
            *owners.entry(port).or_default() += 1;
            found.insert(user, port);
        }
        // A port that two entries share is kept by neither (R14).
        found.retain(|_, port| owners[port] == 1 && !used.contains(port));
        used.extend(owners.keys());
        let families = policy
            .families
            .iter()
            .map(|it| (it.clone(), u32::from(it.first)))
            .collect();
        Self {
            families,
            used,
            found,
        }
    }

    /// The ports that `user` lacks.
    ///
    /// # Errors
    /// Says which family is used up.
    pub(super) fn complete(
        &mut self,
        user: &str,
        person: Option<&PersonFacts>,
    ) -> Result<Ports, String> {
        let mut missing = Ports::new();
        for (index, (family, next)) in self.families.iter_mut().enumerate() {
            if person.is_some_and(|it| it.ports.contains_key(&family.name)) {
                continue;
            }
            let found = self.found.get(user).filter(|_| index == 0);
            let port = match found.filter(|port| (family.first..=family.last).contains(port)) {
                Some(port) => *port,
                None => loop {
                    let candidate = u16::try_from(*next)
                        .ok()
                        .filter(|port| *port <= family.last)
                        .ok_or(format!(
                            "every {} port from {} to {} is taken",
                            family.name, family.first, family.last
                        ))?;
                    *next += 1;
                    if self.used.insert(candidate) {
                        break candidate;
                    }
                },
            };
            missing.insert(family.name.clone(), port);
        }
        Ok(missing)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_fill_the_lowest_gap_and_stop_at_the_end() {
        let taken = vec![
            IdRange {
                first: 100_000,
                count: 65_536,
            },
            IdRange {
                first: 300_000,
                count: 10,
            },
        ];
        let mut ranges = Ranges::new((100_000, 400_000, 65_536), taken);
        assert_eq!(
            ranges.take(),
            Ok(Some(IdRange {
                first: 165_536,
                count: 65_536
            }))
        );
        assert_eq!(
            ranges.take(),
            Ok(Some(IdRange {
                first: 231_072,
                count: 65_536
            }))
        );
        assert_eq!(
            ranges.take(),
            Ok(Some(IdRange {
                first: 300_010,
                count: 65_536
            }))
        );
        assert_eq!(ranges.take(), Err(()));
    }

    #[test]
    fn no_count_means_no_ranges() {
        assert_eq!(Ranges::new((100_000, 600_000, 0), vec![]).take(), Ok(None));
    }
}
