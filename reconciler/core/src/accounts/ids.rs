//! Uids, subordinate ranges and ports: the lowest free one, in the order of the names (R13), and never one that
//! anybody ever had (R14, invariant 10).

use super::refusal::{UidRefused, UsedUp};
use std::collections::{BTreeMap, BTreeSet};

use crate::accounts::facts::{AccountIds, IdRange, Known, PersonFacts};
use crate::accounts::observed::{Accounts, Observed};
use crate::accounts::policy::{Aggregate, Policy, PortFamily, Ports};
use crate::accounts::render::dispatch_entry;

/// Ids that are nobody's although no file has them: systemd gives those from 60001 on to homes that it manages and to services as
/// they start (<https://systemd.io/UIDS-GIDS>); the others are `nobody`, and what stands for no id.
const OF_THE_SYSTEM: [(u32, u32); 2] = [(60_001, 65_535), (u32::MAX, u32::MAX)];
/// Below this there are no people, whatever login.defs says.
const FIRST_OF_PEOPLE: u32 = 1_000;

/// Why no account is made with a uid that a row asks for, although no account has it: what the uid is part of.
pub(crate) fn not_for_accounts(uid: u32, accounts: &Accounts, known: &Known) -> Option<UidRefused> {
    if OF_THE_SYSTEM
        .iter()
        .any(|(first, last)| (*first..=*last).contains(&uid))
    {
        return Some(UidRefused::SystemsOwn);
    }
    let within = |it: &IdRange| (u64::from(it.first)..it.end()).contains(&u64::from(uid));
    if let Some(range) = accounts.subuids.iter().find(|it| within(it)) {
        return Some(UidRefused::InSubordinateRange {
            first: range.first.into(),
            last: range.end() - 1,
        });
    }
    let people = known.people.iter();
    let mut owners = people.filter(|(_, it)| it.subuid.iter().chain(&it.more.subuids).any(within));
    owners
        .next()
        .map(|(name, _)| UidRefused::InRangeOf { name: name.clone() })
}

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
            subuids.extend(&person.more.subuids);
            subgids.extend(&person.more.subgids);
        }
        for ids in known.begun.values() {
            uids.insert(ids.uid);
            gids.insert(ids.gid);
            subuids.extend(ids.subuid);
            subgids.extend(ids.subgid);
        }
        let defaults = &accounts.defaults;
        for set in [&mut uids, &mut gids] {
            for (first, last) in OF_THE_SYSTEM {
                (first..=last).for_each(|id| set.insert(id));
            }
        }
        for (ranges, least) in [
            (&mut subuids, defaults.uids.0),
            (&mut subgids, defaults.gids.0),
        ] {
            let count = least.max(FIRST_OF_PEOPLE);
            ranges.push(IdRange { first: 0, count });
        }
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
    pub(crate) fn take(&mut self, asked: Option<u32>) -> Result<AccountIds, UsedUp> {
        let ((uid_min, uid_max), (gid_min, gid_max)) = self.bounds;
        let uid = match asked {
            Some(uid) => uid,
            None => lowest_free(&mut self.next_uid, uid_max, &self.uids, &self.subuids)
                .ok_or(UsedUp::Uids(uid_min, uid_max))?,
        };
        let gid = if self.gids.contains(uid) || self.subgids.have(uid) {
            lowest_free(&mut self.next_gid, gid_max, &self.gids, &self.subgids)
                .ok_or(UsedUp::Gids(gid_min, gid_max))?
        } else {
            uid
        };
        self.uids.insert(uid);
        self.gids.insert(gid);
        let subuid = self
            .subuids
            .take(&self.uids)
            .map_err(|()| UsedUp::SubordinateUids)?;
        let subgid = self
            .subgids
            .take(&self.gids)
            .map_err(|()| UsedUp::SubordinateGids)?;
        Ok(AccountIds {
            uid,
            gid,
            subuid,
            subgid,
        })
    }
}

/// The lowest id that nobody has and that lies in nobody's range.
fn lowest_free(cursor: &mut u32, last: u32, taken: &IdSet, ranges: &Ranges) -> Option<u32> {
    while *cursor <= last {
        let candidate = *cursor;
        if let Some(end) = ranges.end_of_cover(candidate) {
            *cursor = u32::try_from(end).ok()?;
            continue;
        }
        *cursor = candidate.checked_add(1)?;
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

    /// The highest of the ids from `first` to `last` that is in it.
    fn last_in(&self, first: u32, last: u32) -> Option<u32> {
        let blocks = self.0.range(first >> 12..=last >> 12).rev();
        let ids = blocks.flat_map(|(block, words)| {
            let words = words.iter().enumerate().rev();
            words
                .filter(|(_, word)| **word != 0)
                .flat_map(move |(at, word)| {
                    let bits = (0..64_u32).rev().filter(move |bit| word >> bit & 1 == 1);
                    bits.map(move |bit| block << 12 | (at as u32) << 6 | bit)
                })
        });
        let mut ids = ids.filter(|id| (first..=last).contains(id));
        ids.next()
    }

    fn extend<'i>(&mut self, ids: impl IntoIterator<Item = &'i u32>) {
        for id in ids {
            self.insert(*id);
        }
    }
}

/// Runs of subordinate ids, the lowest gap first: over no other run, and over nobody's id.
#[derive(Debug)]
struct Ranges {
    next: u64,
    last: u64,
    count: u32,
    /// First id and one past the last of what is taken, joined where they touch or overlap.
    taken: BTreeMap<u64, u64>,
}

impl Ranges {
    fn new((first, last, count): (u32, u32, u32), mut taken: Vec<IdRange>) -> Self {
        taken.sort_unstable();
        let mut joined: Vec<(u64, u64)> = Vec::new();
        for range in taken {
            let (first, end) = (u64::from(range.first), range.end());
            match joined.last_mut().filter(|(_, before)| first <= *before) {
                Some((_, before)) => *before = end.max(*before),
                None => joined.push((first, end)),
            }
        }
        Self {
            next: first.into(),
            last: last.into(),
            count,
            taken: joined.into_iter().collect(),
        }
    }

    /// One past the last id of the run that an id lies in, if it lies in one.
    fn end_of_cover(&self, id: u32) -> Option<u64> {
        let id = u64::from(id);
        let (_, end) = self.taken.range(..=id).next_back()?;
        Some(*end).filter(|end| id < *end)
    }

    fn have(&self, id: u32) -> bool {
        self.end_of_cover(id).is_some()
    }

    fn take(&mut self, ids: &IdSet) -> Result<Option<IdRange>, ()> {
        if self.count == 0 {
            return Ok(None);
        }
        loop {
            let end = self.next + u64::from(self.count);
            let (Ok(first), Ok(last)) = (u32::try_from(self.next), u32::try_from(end - 1)) else {
                return Err(());
            };
            if u64::from(last) > self.last {
                return Err(());
            }
            let over = self.taken.range(..end).next_back();
            if let Some((_, past)) = over.filter(|(_, past)| **past > self.next) {
                self.next = *past;
            } else if let Some(id) = ids.last_in(first, last) {
                self.next = u64::from(id) + 1;
            } else {
                self.taken.insert(self.next, end);
                self.next = end;
                let count = self.count;
                return Ok(Some(IdRange { first, count }));
            }
        }
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
    ) -> Result<Ports, UsedUp> {
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
                        .ok_or_else(|| {
                            UsedUp::Ports(family.name.clone(), family.first, family.last)
                        })?;
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
            ranges.take(&IdSet::default()),
            Ok(Some(IdRange {
                first: 165_536,
                count: 65_536
            }))
        );
        assert_eq!(
            ranges.take(&IdSet::default()),
            Ok(Some(IdRange {
                first: 231_072,
                count: 65_536
            }))
        );
        assert_eq!(
            ranges.take(&IdSet::default()),
            Ok(Some(IdRange {
                first: 300_010,
                count: 65_536
            }))
        );
        assert_eq!(ranges.take(&IdSet::default()), Err(()));
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

    /// F22.
    #[test]
    fn no_range_lies_over_an_id_and_no_id_in_a_range() {
        let mut host = Accounts::default();
        host.defaults.uids = (1_000, 2_000_000);
        host.defaults.gids = (1_000, 2_000_000);
        host.defaults.subuids = (500, 600_100_000, 50_000);
        host.defaults.subgids = (1_000, 600_100_000, 1_000);
        // From uid 1000 on a service's containers, then those of somebody whose line lies within another.
        let range = |first, count| IdRange { first, count };
        host.subuids = vec![range(1_000, 60_000), range(70_000, 10), range(1_500, 5)];
        host.foreign_uids = [66_000].into();
        let asked = [180_000].into();
        let mut ids = Ids::new(&host, &Known::new(), &asked);
        // Past the range, past what systemd gives out; with gid and ranges of its own.
        let first = ids.take(None).unwrap();
        assert_eq!((first.uid, first.gid), (65_536, 65_536));
        assert_eq!(first.subuid, Some(range(70_010, 50_000)));
        assert_eq!(first.subgid, Some(range(1_000, 1_000)));
        let second = ids.take(None).unwrap();
        assert_eq!((second.uid, second.gid), (65_537, 65_537));
        assert_eq!(second.subuid, Some(range(120_010, 50_000)));
        // Its own uid, and what rows ask for, are in nobody's range either.
        let third = ids.take(Some(180_000)).unwrap();
        assert_eq!((third.uid, third.gid), (180_000, 180_000));
        assert_eq!(third.subuid, Some(range(180_001, 50_000)));
        // A gid that lies in a range is not the account's own group.
        host.subgids = vec![range(65_536, 4)];
        let first = Ids::new(&host, &Known::new(), &asked).take(None).unwrap();
        assert_eq!((first.uid, first.gid), (65_536, 1_000));
    }

    #[test]
    fn the_last_id_of_a_part_of_a_set_is_found() {
        let mut set = IdSet::default();
        set.extend(&[5, 4_095, 4_096, 70_000, u32::MAX]);
        for (first, last, found) in [
            (0, 4, None),
            (0, 5, Some(5)),
            (6, 4_094, None),
            (6, 4_095, Some(4_095)),
            (0, 69_999, Some(4_096)),
            (4_097, 69_999, None),
            (0, u32::MAX, Some(u32::MAX)),
            (70_001, u32::MAX - 1, None),
        ] {
            assert_eq!(set.last_in(first, last), found, "{first} to {last}");
        }
    }

    #[test]
    fn no_count_means_no_ranges() {
        assert_eq!(
            Ranges::new((100_000, 600_000, 0), vec![]).take(&IdSet::default()),
            Ok(None)
        );
    }
}
