//! Accounts, groups and memberships, as the databases have them.

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};

use super::fields::{self, EXPIRE, Group as GroupLine, Gshadow, Passwd, Shadow, is_nis};
use super::{Databases, File};

/// What a password field allows, without the field.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum PasswordField {
    /// Nothing: whoever knows the name is in.
    Empty,
    /// Locked, and nothing is behind the lock: `!`, `*`, `!!`, `!*`.
    Locked,
    /// Locked, with a hash that unlocking would bring back.
    LockedHash,
    /// A hash, or anything else that is not a lock.
    Hash,
    /// passwd refers to shadow, which has no line for the account.
    Missing,
}

impl PasswordField {
    fn of(field: &str) -> Self {
        if field.is_empty() {
            Self::Empty
        } else if !field.starts_with(['!', '*']) {
            Self::Hash
        } else if field.trim_start_matches(['!', '*']).is_empty() {
            Self::Locked
        } else {
            Self::LockedHash
        }
    }

    /// Whether no password lets anybody in.
    #[must_use]
    pub fn is_locked(self) -> bool {
        match self {
            Self::Locked | Self::LockedHash | Self::Missing => true,
            Self::Empty | Self::Hash => false,
        }
    }
}

/// An account, as passwd and shadow have it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Account<'a> {
    /// The login name.
    pub name: &'a str,
    /// The user id.
    pub uid: u32,
    /// The primary group's id.
    pub gid: u32,
    /// The comment; bytes that are not UTF-8 are replaced.
    pub gecos: Cow<'a, str>,
    /// The home directory.
    pub home: &'a str,
    /// The login shell; empty means `/bin/sh`.
    pub shell: &'a str,
    /// What the password field allows.
    pub password: PasswordField,
    /// The day from which nobody can log in, counted from 1970-01-01.
    pub expires: Option<i64>,
    /// The file whose line of this account cannot be read in full, if one is: what it seems to say is told all the same.
    pub broken: Option<File>,
}

/// A group, as group has it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Group<'a> {
    /// The name.
    pub name: &'a str,
    /// The group id.
    pub gid: u32,
    /// The members, in the order of the file; accounts with it as primary group need not be among them.
    pub members: Vec<&'a str>,
}

/// A home without the slashes that some tools write behind it: the same directory, and one spelling for it (F26).
fn without_slashes(home: &str) -> &str {
    match home.trim_end_matches('/') {
        "" => home,
        home => home,
    }
}

impl Databases {
    /// The local accounts whose line in passwd can be read, in the order of passwd.
    pub fn accounts(&self) -> impl Iterator<Item = Account<'_>> {
        self.accounts_where(|_| true)
            .filter(|account| account.broken != Some(File::Passwd))
    }

    /// How many local accounts there can be at most: one for each line.
    pub(crate) fn most_accounts(&self) -> usize {
        self.passwd.lines().size_hint().1.unwrap_or(0)
    }

    /// How many groups there can be at most, likewise.
    pub(crate) fn most_groups(&self) -> usize {
        self.group.lines().size_hint().1.unwrap_or(0)
    }

    /// Those of the local accounts whose name is `wanted`, in the order of passwd; the other lines are not taken apart. Lines that
    /// cannot be read in full are among them, as far as they go.
    pub fn accounts_where<'a>(
        &'a self,
        wanted: impl Fn(&str) -> bool + 'a,
    ) -> impl Iterator<Item = Account<'a>> {
        // shadow nearly always has the order of passwd, so its next line is the one; the index is for when it is not.
        let mut shadow = self
            .shadow
            .lines()
            .filter(|(_, line)| !is_nis(line))
            .peekable();
        self.passwd
            .lines()
            .filter(|(_, line)| !is_nis(line))
            .filter_map(move |(_, line)| {
                let name = fields::first(line);
                let next = shadow.next_if(|(_, line)| fields::first(line) == name);
                if !std::str::from_utf8(name).is_ok_and(&wanted) {
                    return None;
                }
                let (passwd, broken) = match Passwd::parse(line) {
                    Some(passwd) => (passwd, None),
                    None => (Passwd::apparent(line)?, Some(File::Passwd)),
                };
                let line = match next {
                    Some((_, line)) => Some(line),
                    None => self
                        .shadow
                        .named(passwd.name)
                        .map(|id| self.shadow.line(id)),
                };
                Some(self.joined(&passwd, line, broken))
            })
    }

    /// Number and name of each line of passwd of which not even the ids can be read, so that no account is told of.
    pub(crate) fn unread_accounts(&self) -> impl Iterator<Item = (usize, &str)> {
        let lines = self.passwd.lines().filter(|(_, line)| !is_nis(line));
        lines.filter_map(|(id, line)| {
            let is_told = Passwd::parse(line).is_some() || Passwd::apparent(line).is_some();
            let name = std::str::from_utf8(fields::first(line)).ok()?;
            let number = self.passwd.number(id).unwrap_or_default();
            (!is_told && !name.is_empty()).then_some((number, name))
        })
    }

    /// How many lines of passwd are somebody's.
    pub(crate) fn account_lines(&self) -> usize {
        self.passwd
            .lines()
            .filter(|(_, line)| !is_nis(line))
            .count()
    }

    /// Names that more than one line of shadow has: nothing edits either.
    pub(crate) fn repeated_in_shadow(&self) -> Vec<&str> {
        let in_shadow = || self.shadow.lines().map(|(_, line)| fields::first(line));
        let in_passwd = self.passwd.lines().map(|(_, line)| fields::first(line));
        // Nearly always it has the lines of passwd, in that order, and none twice.
        if in_shadow().eq(in_passwd) {
            return Vec::new();
        }
        let mut names: Vec<&[u8]> = in_shadow().collect();
        names.sort_unstable();
        let repeated = names.chunk_by(|a, b| a == b).filter(|it| it.len() > 1);
        let repeated = repeated.filter_map(|it| std::str::from_utf8(it[0]).ok());
        repeated.filter(|it| !it.is_empty()).collect()
    }

    /// The account of that name; `None` also when several lines have it, which nothing here would edit.
    #[must_use]
    pub fn account(&self, name: &str) -> Option<Account<'_>> {
        let passwd = Passwd::parse(self.passwd.line(self.passwd.entry(name)?))?;
        let shadow = self.shadow.named(name).map(|id| self.shadow.line(id));
        Some(self.joined(&passwd, shadow, None))
    }

    /// The account of that name as the C library finds it: by its first line, also when there are more, or none that can be
    /// read in full.
    #[must_use]
    pub fn apparent_account(&self, name: &str) -> Option<Account<'_>> {
        let line = self.passwd.line(self.passwd.named(name)?);
        let (passwd, broken) = match Passwd::parse(line) {
            Some(passwd) => (passwd, None),
            None => (Passwd::apparent(line)?, Some(File::Passwd)),
        };
        let shadow = self.shadow.named(name).map(|id| self.shadow.line(id));
        Some(self.joined(&passwd, shadow, broken))
    }

    fn joined<'a>(
        &'a self,
        passwd: &Passwd<'a>,
        shadow_line: Option<&[u8]>,
        broken: Option<File>,
    ) -> Account<'a> {
        let shadow = shadow_line.and_then(Shadow::parse);
        let apparent = match (&shadow, shadow_line) {
            (Some(shadow), _) => Some(Cow::Borrowed(shadow.password)),
            // Of a line that cannot be read, the password field is where it is in every other.
            (None, Some(line)) => {
                let field = line.split(|byte| *byte == b':').nth(1).unwrap_or_default();
                Some(String::from_utf8_lossy(field))
            }
            (None, None) => None,
        };
        let broken =
            broken.or_else(|| (shadow.is_none() && apparent.is_some()).then_some(File::Shadow));
        // A field other than `x` counts although there is a shadow file: so the C library has it.
        let password = match (passwd.password, &apparent) {
            ("x", Some(field)) => PasswordField::of(field),
            ("x", None) => PasswordField::Missing,
            (field, _) => PasswordField::of(field),
        };
        Account {
            name: passwd.name,
            uid: passwd.uid,
            gid: passwd.gid,
            gecos: String::from_utf8_lossy(passwd.gecos),
            home: without_slashes(passwd.home),
            shell: passwd.shell,
            password,
            expires: shadow.and_then(|shadow| shadow.days[EXPIRE]),
            broken,
        }
    }

    /// The local groups, in the order of group.
    pub fn groups(&self) -> impl Iterator<Item = Group<'_>> {
        self.group
            .lines()
            .filter(|(_, line)| !is_nis(line))
            .filter_map(|(_, line)| group_of(line))
    }

    /// The group of that name; `None` also when several lines have it, which nothing here would edit.
    #[must_use]
    pub fn group(&self, name: &str) -> Option<Group<'_>> {
        group_of(self.group.line(self.group.entry(name)?))
    }

    /// Those of the groups that list anybody. Most are somebody's own, with a line that ends in a colon.
    fn groups_with_members(&self) -> impl Iterator<Item = Group<'_>> {
        self.group
            .lines()
            .filter(|(_, line)| !is_nis(line) && !line.ends_with(b":"))
            .filter_map(|(_, line)| group_of(line))
            .filter(|group| !group.members.is_empty())
    }

    /// For everybody who is listed as a member of a group: the groups, in the order of the file. Primary groups are in
    /// [`Account::gid`].
    #[must_use]
    pub fn memberships(&self) -> BTreeMap<&str, Vec<&str>> {
        let mut memberships: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
        for group in self.groups_with_members() {
            for member in group.members {
                let groups = memberships.entry(member).or_default();
                if groups.last() != Some(&group.name) {
                    groups.push(group.name);
                }
            }
        }
        memberships
    }

    /// For everybody whom only one of group and gshadow lists as a member, although both have the group: those groups.
    /// Groups with several lines are left out, as nothing here would edit them.
    #[must_use]
    pub fn half_memberships(&self) -> BTreeMap<&str, BTreeSet<&str>> {
        let mut halves: BTreeMap<&str, BTreeSet<&str>> = BTreeMap::new();
        let listed: BTreeMap<&[u8], BTreeSet<&str>> = self
            .groups_with_members()
            .map(|group| (group.name.as_bytes(), group.members.into_iter().collect()))
            .collect();
        let nobody = BTreeSet::new();
        for (_, line) in self.gshadow.lines().filter(|(_, line)| !is_nis(line)) {
            // As nearly every group: somebody's own, which lists nobody here and there.
            let has_members = !line.ends_with(b":");
            if !has_members && !listed.contains_key(fields::first(line)) {
                continue;
            }
            let Some(group) = Gshadow::parse(line) else {
                continue;
            };
            let in_group = listed.get(group.name.as_bytes()).unwrap_or(&nobody);
            let in_gshadow: BTreeSet<&str> = group.members.into_iter().collect();
            let mut halved = in_group.symmetric_difference(&in_gshadow).peekable();
            if halved.peek().is_some()
                && let Some(known) = self.group(group.name)
                && self.gshadow.entry(group.name).is_some()
            {
                for member in halved {
                    halves.entry(member).or_default().insert(known.name);
                }
            }
        }
        halves
    }

    /// Group and member of each membership that gshadow lists.
    pub fn shadow_members(&self) -> impl Iterator<Item = (&str, &str)> {
        self.shadow_lists(3)
    }

    /// Group and administrator, of each group that gshadow has administrators of.
    pub fn administrators(&self) -> impl Iterator<Item = (&str, &str)> {
        self.shadow_lists(2)
    }

    /// Group and name of each entry of the list that is the field `at` of gshadow's lines, counted from 0.
    fn shadow_lists(&self, at: usize) -> impl Iterator<Item = (&str, &str)> {
        // Most groups list nobody; their lines end in two colons.
        let lines = self.gshadow.lines().map(|(_, line)| line).filter(|line| {
            !line.ends_with(b"::") && !matches!(line.first(), Some(b'#' | b'+' | b'-'))
        });
        let listed = lines.filter_map(move |line| {
            let mut fields = line.split(|byte| *byte == b':');
            Some((
                std::str::from_utf8(fields.next()?).ok()?,
                fields.nth(at - 1)?,
            ))
        });
        listed.flat_map(|(group, members)| {
            members
                .split(|byte| *byte == b',')
                .filter_map(|member| std::str::from_utf8(member).ok())
                .map(str::trim)
                .filter(|it| !it.is_empty())
                .map(move |member| (group, member))
        })
    }
}

fn group_of(line: &[u8]) -> Option<Group<'_>> {
    let GroupLine {
        name,
        gid,
        members,
        password: _,
    } = GroupLine::parse(line)?;
    Some(Group { name, gid, members })
}
