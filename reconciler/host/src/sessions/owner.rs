//! Whose a process is: somebody's own uid and subordinate ids, as far as they are nobody else's (F21).

use std::collections::BTreeMap;

use crate::accounts::{Databases, IdRange};

/// Ids that are never a person's because of a line in subuid: those of the system, those that systemd gives to services as they
/// start (systemd.exec(5), DynamicUser), and nobody.
const NEVER_SUBORDINATE: [(u64, u64); 4] = [
    (0, 1_000),
    (61_184, 65_520),
    (65_534, 65_536),
    (u32::MAX as u64, u64::MAX),
];

/// Who has which uid on a host, and who may map which: read once for everybody who is looked at.
#[derive(Debug, Default)]
pub(crate) struct Claims {
    /// The names that each uid stands under in passwd, also on lines that cannot be read otherwise.
    accounts: BTreeMap<u32, Vec<String>>,
    /// The lines of subuid: whose, first id and one past the last.
    ranges: Vec<(String, u64, u64)>,
}

impl Claims {
    pub(crate) fn of(databases: &Databases) -> Self {
        Self::from(databases.claimed_uids(), databases.subuids())
    }

    fn from<'a>(
        uids: impl Iterator<Item = (&'a str, u32)>,
        ranges: impl Iterator<Item = (&'a str, IdRange)>,
    ) -> Self {
        let mut accounts: BTreeMap<u32, Vec<String>> = BTreeMap::new();
        for (name, uid) in uids {
            accounts.entry(uid).or_default().push(name.to_owned());
        }
        let ranges = ranges.map(|(owner, it)| {
            let end = it.first.saturating_add(it.count);
            (owner.to_owned(), it.first, end)
        });
        Self {
            accounts,
            ranges: ranges.collect(),
        }
    }

    /// As [`Self::of`] reads them, from names with their uids and the text of subuid.
    #[cfg(test)]
    pub(crate) fn of_text(uids: &[(&str, u32)], subuid: &str) -> Self {
        let ranges = subuid.lines().map(|line| {
            let mut fields = line.split(':');
            let owner = fields.next().unwrap();
            let mut number = || fields.next().unwrap().parse().unwrap();
            let (first, count) = (number(), number());
            (owner, IdRange { first, count })
        });
        Self::from(uids.iter().copied(), ranges)
    }
}

/// Somebody, as whose processes are looked for.
#[derive(Clone, Debug)]
pub(crate) struct Owner<'a> {
    pub(crate) uid: u32,
    user: &'a str,
    claims: &'a Claims,
    /// First id and one past the last of every line of subuid that is theirs, by name or by number.
    ranges: Vec<(u64, u64)>,
}

impl<'a> Owner<'a> {
    pub(crate) fn new(claims: &'a Claims, user: &'a str, uid: u32) -> Self {
        let ranges = claims
            .ranges
            .iter()
            .filter(|(owner, ..)| is_of(owner, user, uid))
            .map(|(_, first, end)| (*first, *end))
            .collect();
        Self {
            uid,
            user,
            claims,
            ranges,
        }
    }

    /// Whether the uid itself is nobody else's: who asks a service manager to end what runs under it ends all of that.
    pub(crate) fn has_uid_alone(&self) -> bool {
        self.other_account(self.uid).is_none()
    }

    /// Whether a process is theirs, by its real, effective and saved uid. One that somebody else started is not, although it
    /// may act for them; neither is one of root's that does so for a moment.
    pub(super) fn owns(&self, uids: &[u32]) -> bool {
        let started_by_another = uids.first().is_some_and(|real| {
            *real == 0 || (*real != self.uid && self.other_account(*real).is_some())
        });
        !started_by_another && uids.iter().any(|uid| self.is_theirs(*uid))
    }

    /// The id by which a process would be theirs, were it not somebody else's, too.
    pub(super) fn spares(&self, uids: &[u32]) -> Option<u32> {
        let real = *uids.first()?;
        let named = real == self.uid || self.in_ranges(real);
        (named && !self.owns(uids)).then_some(real)
    }

    /// Whose an id is that is not theirs alone.
    pub(super) fn whose_is(&self, uid: u32) -> String {
        if let Some(name) = self.other_account(uid) {
            return format!("which is {name}'s");
        }
        match self.other_range(uid) {
            Some(owner) => format!("which lies in a subordinate range of {owner}, too"),
            None => "which the system gives out".to_owned(),
        }
    }

    fn is_theirs(&self, uid: u32) -> bool {
        if uid == self.uid {
            return self.has_uid_alone();
        }
        let never = |(first, end): &(u64, u64)| (*first..*end).contains(&u64::from(uid));
        self.in_ranges(uid)
            && !NEVER_SUBORDINATE.iter().any(never)
            && self.other_account(uid).is_none()
            && self.other_range(uid).is_none()
    }

    fn in_ranges(&self, uid: u32) -> bool {
        let uid = u64::from(uid);
        self.ranges
            .iter()
            .any(|(first, end)| (*first..*end).contains(&uid))
    }

    fn other_account(&self, uid: u32) -> Option<&str> {
        let names = self.claims.accounts.get(&uid)?;
        names.iter().find(|it| *it != self.user).map(String::as_str)
    }

    fn other_range(&self, uid: u32) -> Option<&str> {
        let uid = u64::from(uid);
        let others = self.claims.ranges.iter().filter(|(owner, first, end)| {
            (*first..*end).contains(&uid) && !is_of(owner, self.user, self.uid)
        });
        others.map(|(owner, ..)| owner.as_str()).next()
    }
}

/// Whether a line of subuid is somebody's: its owner is a name, or a uid in digits (subuid(5)).
fn is_of(owner: &str, user: &str, uid: u32) -> bool {
    owner == user || owner.parse() == Ok(uid)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_is_theirs_where_it_is_nobody_elses() {
        let claims = Claims::of_text(
            &[
                ("root", 0),
                ("metrics", 975),
                ("amy", 1001),
                ("bob", 1002),
                ("vm", 300_007),
            ],
            "amy:975:1\namy:0:3\namy:100000:65536\n1001:300000:10\namy:4000000:65536\nbob:4000100:10\namy:61200:4\n",
        );
        let amy = Owner::new(&claims, "amy", 1001);
        for uid in [1001, 100_000, 165_535, 300_000, 300_009, 4_000_005] {
            assert!(amy.owns(&[uid; 3]), "{uid}");
            assert_eq!(amy.spares(&[uid; 3]), None, "{uid}");
        }
        for (uid, whose) in [
            (975, "which is metrics's"),
            (0, "which is root's"),
            (1, "which the system gives out"),
            (300_007, "which is vm's"),
            (4_000_105, "which lies in a subordinate range of bob, too"),
            (61_201, "which the system gives out"),
        ] {
            assert!(!amy.owns(&[uid; 3]), "{uid}");
            assert_eq!(amy.spares(&[uid; 3]), Some(uid));
            assert_eq!(amy.whose_is(uid), whose);
        }
        // Neither theirs nor near it.
        for uid in [1002, 165_536, 5_000_000] {
            assert!(
                !amy.owns(&[uid; 3]) && amy.spares(&[uid; 3]).is_none(),
                "{uid}"
            );
        }
    }

    #[test]
    fn a_uid_with_two_names_is_nobodys_alone() {
        let uids = [
            ("amy", 1001),
            ("deploy", 1001),
            ("amy", 1001),
            ("zed", 1002),
            ("zed", 1002),
        ];
        let claims = Claims::of_text(&uids, "amy:100000:9\n");
        let amy = Owner::new(&claims, "amy", 1001);
        assert!(!amy.has_uid_alone() && !amy.owns(&[1001; 3]));
        assert_eq!(amy.whose_is(1001), "which is deploy's");
        assert!(amy.owns(&[100_001; 3]), "what is theirs alone still ends");
        assert!(
            Owner::new(&claims, "zed", 1002).owns(&[1002; 3]),
            "two lines of one name"
        );
    }

    #[test]
    fn a_process_that_somebody_else_started_is_theirs() {
        let claims = Claims::of_text(&[("root", 0), ("amy", 1001), ("bob", 1002)], "");
        let amy = Owner::new(&claims, "amy", 1001);
        assert!(
            !amy.owns(&[0, 1001, 0]),
            "a service of root's that acts for amy"
        );
        assert!(
            !amy.owns(&[1002, 1001, 1001]),
            "bob runs a program of amy's"
        );
        assert!(amy.owns(&[1001, 0, 0]), "amy runs sudo");
    }
}
