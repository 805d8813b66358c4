//! Uids, subordinate ranges and ports: the lowest free one, in the order of the names (R13), and never one that
//! anybody ever had (R14, invariant 10).

use std::collections::{BTreeMap, BTreeSet};

use crate::accounts::facts::{AccountIds, IdRange, Known, PersonFacts};
use crate::accounts::observed::{Accounts, Observed};
use crate::accounts::policy::{Aggregate, Policy, PortFamily, Ports};
use crate::accounts::render::dispatch_entry;

/// Hands out ids and ranges. Cursors only move up, so a batch of N costs N.
#[derive(Debug)]
pub(crate) struct Ids {
    uids: IdSet,
    gids: IdSet,
    next_uid: u32,
    next_gid: u32,
    subuids: Ranges,
    subgids: Ranges,
    bounds: ((u32, u32), (u32, u32)),
}

impl Ids {
    /// `asked` are uids that rows ask for by number; nobody else gets them.
    pub(crate) fn new(accounts: &Accounts, known: &Known, asked: &BTreeSet<u32>) -> Self {
        let mut uids = IdSet::default();
        let mut gids = IdSet::default();
        uids.extend(accounts.by_name.values().map(|it| &it.uid));
        gids.extend(accounts.groups.values());
        uids.extend(&accounts.foreign_uids);
        uids.extend(accounts.hindrances.uids.keys());
        gids.extend(&accounts.hindrances.gids);
        uids.extend(accounts.foreign.values());
        uids.extend(asked);
        let mut subuids = accounts.subuids.clone();
        let mut subgids = accounts.subgids.clone();
        for person in known.people.values() {
            uids.insert(person.uid);
            gids.insert(person.gid);
            subuids.extend(person.subuid);
            subgids.extend(person.subgid);
        }
        for ids in known.begun.values() {
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
    pub(crate) fn take(&mut self, asked: Option<u32>) -> Result<AccountIds, String> {
        let ((uid_min, uid_max), (gid_min, gid_max)) = self.bounds;
        let uid = match asked {
            Some(uid) => uid,
            None => lowest_free(&mut self.next_uid, uid_max, &self.uids).ok_or_else(|| {
                format!(
                    "every uid from UID_MIN {uid_min} to UID_MAX {uid_max} of login.defs is taken"
                )
            })?,
        };
        let gid = if self.gids.contains(uid) {
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

fn lowest_free(cursor: &mut u32, last: u32, taken: &IdSet) -> Option<u32> {
    while *cursor <= last {
        let candidate = *cursor;
        *cursor += 1;
        if !taken.contains(candidate) {
            return Some(candidate);
        }
    }
    None
}

/// Ids that are taken. They mostly lie side by side: a bit for each, in blocks of 4,096.
#[derive(Debug, Default)]
struct IdSet(BTreeMap<u32, Box<[u64; 64]>>);

impl IdSet {
    /// The block of an id, the word in it and the bit in that.
    fn place(id: u32) -> (u32, usize, u64) {
        (id >> 12, (id >> 6 & 63) as usize, 1 << (id & 63))
    }

    fn insert(&mut self, id: u32) {
        let (block, word, bit) = Self::place(id);
        self.0.entry(block).or_insert_with(|| Box::new([0; 64]))[word] |= bit;
    }

    fn contains(&self, id: u32) -> bool {
        let (block, word, bit) = Self::place(id);
        self.0.get(&block).is_some_and(|it| it[word] & bit != 0)
    }

    fn extend<'i>(&mut self, ids: impl IntoIterator<Item = &'i u32>) {
        for id in ids {
            self.insert(*id);
        }
    }
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
#[derive(Debug, Default)]
pub(crate) struct PortTable {
    families: Vec<(PortFamily, u32)>,
    used: BTreeSet<u16>,
    /// Ports that an existing `dispatch.json` gives to a login, by os_user (R13: who has one keeps it).
    found: BTreeMap<String, u16>,
}

impl PortTable {
    pub(crate) fn new(policy: &Policy, known: &Known, observed: &Observed) -> Self {
        // Without families nobody asks for a port.
        if policy.families.is_empty() {
            return Self::default();
        }
        let mut used: BTreeSet<u16> = known
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
    pub(crate) fn complete(
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
    fn a_set_of_ids_holds_what_was_put_in_and_nothing_else() {
        let edges = [0, 1, 63, 64, 4_095, 4_096, 60_000, u32::MAX - 1, u32::MAX];
        let mut set = IdSet::default();
        let mut plain = BTreeSet::new();
        for id in edges {
            assert!(!set.contains(id), "{id}");
            set.insert(id);
            plain.insert(id);
            for near in edges
                .iter()
                .flat_map(|it| [it.saturating_sub(1), *it, it.saturating_add(1)])
            {
                assert_eq!(set.contains(near), plain.contains(&near), "{near}");
            }
        }
    }

    #[test]
    fn no_count_means_no_ranges() {
        assert_eq!(Ranges::new((100_000, 600_000, 0), vec![]).take(), Ok(None));
    }
}
