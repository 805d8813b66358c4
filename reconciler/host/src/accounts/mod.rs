//! The account databases: passwd, shadow, group, gshadow, subuid and subgid of a root directory.
//!
//! They are read as lines, edited in memory, and written back in one batch under the lock of the shadow suite:
//!
//! ```no_run
//! # use muster_host::{accounts::{Locked, LoginDefs}, root::{Ownership, Root}};
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let root = Root::open("/".as_ref(), Ownership::Performed)?;
//! let locked = Locked::take(&root, Locked::WAIT)?;
//! let mut databases = locked.read()?;
//! databases.join_group("emo", "docker")?;
//! locked.commit(databases)?;
//! # Ok(())
//! # }
//! ```
//!
//! Lines that no edit touches stay byte for byte: comments, blank lines, NIS entries, lines with too few or too many
//! fields. What an edit touches is written as useradd, usermod, groupadd, groupmod, gpasswd, userdel and chage of
//! shadow 4.13 (Debian 12) would have left it, given the same ids; the tests compare with them. The differences:
//!
//! | the tools | here |
//! |---|---|
//! | rewrite the line they are asked about even when nothing in it changes, and so normalise it | a line whose fields do not change keeps its bytes |
//! | keep as backup `passwd-` a copy of the file before their own call, with mode bits beyond 0664 taken off | keep the old file itself: what was there before the batch |
//! | store the backup and then the file, each with its own fsync, one program call after the other | all new files are synced together, then renamed, then the directory is synced |
//! | edit a name that stands on a line they cannot read as if it were free | refuse, naming the line |
//! | read shadow lines of five fields, an old form | such a line is kept, and refused when it is to be edited |
//! | join `group` lines that end in a backslash, which the C library does not | such a line is refused when it is to be edited |
//! | split large groups when `MAX_MEMBERS_PER_GROUP` is set | never split |
//! | allocate ids themselves: the highest one used plus one | are given ids; [`free_ids`] gives the lowest, [`free_ranges`] what useradd would |
//! | `useradd` takes over a shadow or gshadow line that stands under the name already | the same |
//! | `useradd` refuses a group of the name | the same, save for the empty one that an interrupted batch left with that gid |
//! | `useradd` sorts subuid and subgid by range before it adds to them, comments and broken lines going to the end in reverse | the same |
//! | `usermod -p` sets the date of the last change | [`Databases::restore_login`] restores the field and leaves that date alone |
//! | `usermod -L` and `-e` do nothing, or make a line, where shadow has none | refused: run `pwconv` |
//! | `userdel` warns and goes on when a private group has members | the same: the group stays |
//! | `usermod -l` leaves group, subuid and subgid under the old name | a rename moves them, as `groupmod -n` and `usermod -v -w -V -W` would |
//!
//! A missing shadow file means that passwd holds the password fields; a missing gshadow, subuid or subgid that there
//! are no group administrators or ranges. None of them is ever made: `pwconv`, `grpconv` and an administrator do that.

mod commit;
mod edit;
mod fields;
mod free;
mod lock;
mod login_defs;
mod names;
mod saved;
mod subordinate;
mod table;

use std::borrow::Cow;
use std::cell::OnceCell;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

pub use commit::{CommitError, Committed, forget_cached};
pub use edit::{EditError, NewAccount, Removed};
pub use free::{IdRange, free_ids, free_ranges, lowest_free_uid};
pub use lock::{LockError, Locked};
pub use login_defs::{Aging, LoginDefs, LoginDefsError, UseraddDefaults};
pub use saved::{SavedLogin, SavedLoginError};

use crate::root::{Root, RootError};
use commit::Stamp;
use fields::{EXPIRE, Group as GroupLine, Gshadow, Passwd, Shadow, is_nis};
use subordinate::Ranges;
use table::{Found, LineId, Table};

/// One of the six files.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum File {
    /// Subordinate uids.
    Subuid,
    /// Subordinate gids.
    Subgid,
    /// Groups and their members.
    Group,
    /// Group passwords, administrators, and members once more.
    Gshadow,
    /// Password fields and their dates.
    Shadow,
    /// Accounts.
    Passwd,
}

impl File {
    /// All of them, in the order they are written in.
    pub const ALL: [Self; 6] = [
        Self::Subuid,
        Self::Subgid,
        Self::Group,
        Self::Gshadow,
        Self::Shadow,
        Self::Passwd,
    ];

    /// Its name inside `/etc`.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Passwd => "passwd",
            Self::Shadow => "shadow",
            Self::Group => "group",
            Self::Gshadow => "gshadow",
            Self::Subuid => "subuid",
            Self::Subgid => "subgid",
        }
    }
}

impl fmt::Display for File {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "/etc/{}", self.name())
    }
}

/// Why the databases could not be read.
#[derive(Debug, thiserror::Error)]
pub enum ReadError {
    /// The file system refused.
    #[error("cannot read the account databases")]
    Root(#[from] RootError),
    /// passwd or group is missing; without them there is nothing to stand on.
    #[error("{file} does not exist; restore it, for example from {file}-")]
    Missing {
        /// The file.
        file: File,
    },
    /// A file has a NUL byte, as after a crash of the file system.
    #[error("{file}:{line}: there is a NUL byte in the file; restore it, for example from {file}-")]
    Nul {
        /// The file.
        file: File,
        /// The line, counted from 1.
        line: usize,
    },
    /// A name, home or shell is not UTF-8, so nothing could address it.
    #[error(
        "{file}:{line}: only the comment field may hold bytes that are not UTF-8; correct the line with vipw or vigr"
    )]
    NotText {
        /// The file.
        file: File,
        /// The line, counted from 1.
        line: usize,
    },
    /// A file has more lines than there are ids.
    #[error("{file} has too many lines")]
    TooLong {
        /// The file.
        file: File,
    },
}

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

/// The six files, as they were read and as they are to be.
#[derive(Debug)]
pub struct Databases {
    passwd: Table,
    shadow: Table,
    group: Table,
    gshadow: Table,
    subuid: Ranges,
    subgid: Ranges,
    stamps: BTreeMap<File, Option<Stamp>>,
    ids: OnceCell<Ids>,
    /// Names that lost their account in this batch.
    departed: BTreeSet<String>,
}

/// Ids given out by the files as read or edited; those removed since are kept, so that a batch never gives them again.
#[derive(Debug, Default)]
struct Ids {
    uids: BTreeSet<u32>,
    gids: BTreeSet<u32>,
    /// How many accounts have a gid as their primary group, now.
    primary: BTreeMap<u32, usize>,
}

impl Databases {
    /// Reads the files of `root`. To change them, take the lock and read under it: [`Locked::read`].
    ///
    /// # Errors
    /// When a file cannot be read, or cannot be understood well enough to be edited.
    pub fn read(root: &Root) -> Result<Self, ReadError> {
        let etc = root.directory("etc")?;
        let mut stamps = BTreeMap::new();
        let mut bytes = |file: File| -> Result<Option<Vec<u8>>, ReadError> {
            let read = etc.read(file.name())?;
            stamps.insert(file, read.as_ref().map(|(_, stat)| Stamp::of(stat)));
            Ok(read.map(|(bytes, _)| bytes))
        };
        let passwd = Some(bytes(File::Passwd)?.ok_or(ReadError::Missing { file: File::Passwd })?);
        let group = Some(bytes(File::Group)?.ok_or(ReadError::Missing { file: File::Group })?);
        Ok(Self {
            passwd: Table::parse(File::Passwd, passwd)?,
            shadow: Table::parse(File::Shadow, bytes(File::Shadow)?)?,
            group: Table::parse(File::Group, group)?,
            gshadow: Table::parse(File::Gshadow, bytes(File::Gshadow)?)?,
            subuid: Ranges::parse(File::Subuid, bytes(File::Subuid)?)?,
            subgid: Ranges::parse(File::Subgid, bytes(File::Subgid)?)?,
            stamps,
            ids: OnceCell::new(),
            departed: BTreeSet::new(),
        })
    }

    /// Whether the file exists.
    #[must_use]
    pub fn has(&self, file: File) -> bool {
        match file {
            File::Passwd => self.passwd.is_present(),
            File::Shadow => self.shadow.is_present(),
            File::Group => self.group.is_present(),
            File::Gshadow => self.gshadow.is_present(),
            File::Subuid => self.subuid.is_present(),
            File::Subgid => self.subgid.is_present(),
        }
    }

    /// The local accounts, in the order of passwd.
    pub fn accounts(&self) -> impl Iterator<Item = Account<'_>> {
        self.accounts_where(|_| true)
    }

    /// How many local accounts there can be at most: one for each line.
    pub(crate) fn most_accounts(&self) -> usize {
        self.passwd.lines().size_hint().1.unwrap_or(0)
    }

    /// Those of the local accounts whose name is `wanted`, in the order of passwd; the other lines are not taken apart.
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
                let passwd = Passwd::parse(line)?;
                let line = match next {
                    Some((_, line)) => Some(line),
                    None => self
                        .shadow
                        .entry(passwd.name)
                        .map(|id| self.shadow.line(id)),
                };
                Some(self.joined(&passwd, line.and_then(Shadow::parse).as_ref()))
            })
    }

    /// The account of that name; `None` also when several lines have it, which nothing here would edit.
    #[must_use]
    pub fn account(&self, name: &str) -> Option<Account<'_>> {
        let passwd = Passwd::parse(self.passwd.line(self.passwd.entry(name)?))?;
        let shadow = self
            .shadow
            .entry(name)
            .and_then(|id| Shadow::parse(self.shadow.line(id)));
        Some(self.joined(&passwd, shadow.as_ref()))
    }

    fn joined<'a>(&'a self, passwd: &Passwd<'a>, shadow: Option<&Shadow<'a>>) -> Account<'a> {
        // A field other than `x` counts although there is a shadow file: so the C library has it.
        let password = match (passwd.password, shadow) {
            ("x", Some(shadow)) => PasswordField::of(shadow.password),
            ("x", None) => PasswordField::Missing,
            (field, _) => PasswordField::of(field),
        };
        Account {
            name: passwd.name,
            uid: passwd.uid,
            gid: passwd.gid,
            gecos: String::from_utf8_lossy(passwd.gecos),
            home: passwd.home,
            shell: passwd.shell,
            password,
            expires: shadow.and_then(|shadow| shadow.days[EXPIRE]),
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

    /// Owner and range of every line of subuid. An owner is a name or a uid in digits.
    pub fn subuids(&self) -> impl Iterator<Item = (&str, IdRange)> {
        self.subuid.ranges()
    }

    /// Owner and range of every line of subgid. An owner is a name or a uid in digits.
    pub fn subgids(&self) -> impl Iterator<Item = (&str, IdRange)> {
        self.subgid.ranges()
    }

    /// Every uid that passwd has, also on a line that cannot be read otherwise, and those that edits removed.
    #[must_use]
    pub fn uids_in_use(&self) -> &BTreeSet<u32> {
        &self.ids().uids
    }

    /// Every gid that group has or an account has as its primary one, and those that edits removed.
    #[must_use]
    pub fn gids_in_use(&self) -> &BTreeSet<u32> {
        &self.ids().gids
    }

    /// Every range of subuid, and those that edits removed.
    pub fn subuid_ranges_in_use(&self) -> impl Iterator<Item = IdRange> {
        self.subuid.ranges_ever()
    }

    /// Every range of subgid, and those that edits removed.
    pub fn subgid_ranges_in_use(&self) -> impl Iterator<Item = IdRange> {
        self.subgid.ranges_ever()
    }

    /// Lines of the four tables that are neither an entry nor a comment, blank or for NIS: file and line number. `pwck`
    /// and `grpck` would offer to delete them.
    #[must_use]
    pub fn odd_lines(&self) -> Vec<(File, usize)> {
        let tables = [
            (File::Passwd, &self.passwd),
            (File::Shadow, &self.shadow),
            (File::Group, &self.group),
            (File::Gshadow, &self.gshadow),
        ];
        tables
            .into_iter()
            .flat_map(|(file, table)| {
                table
                    .lines()
                    .filter(move |(_, line)| {
                        !line.is_empty()
                            && !is_nis(line)
                            && line[0] != b'#'
                            && !table::is_entry(file, line)
                    })
                    .filter_map(move |(id, _)| Some((file, table.number(id)?)))
            })
            .collect()
    }

    fn ids(&self) -> &Ids {
        self.ids.get_or_init(|| {
            let ids = |line| fields::apparent_ids(line);
            let (uids, _): (Vec<u32>, Vec<u32>) = self.passwd.lines_ever().filter_map(ids).unzip();
            let (_, mut primary): (Vec<u32>, Vec<u32>) = self
                .passwd
                .lines()
                .filter_map(|(_, line)| ids(line))
                .unzip();
            let groups = self.group.lines_ever().filter_map(fields::apparent_id);
            let gids = groups.chain(primary.iter().copied()).collect();
            primary.sort_unstable();
            let primary = primary
                .chunk_by(|a, b| a == b)
                .map(|same| (same[0], same.len()))
                .collect();
            Ids {
                uids: uids.into_iter().collect(),
                gids,
                primary,
            }
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::root::Ownership;

    const PASSWD: &str = "# people\n\nroot:x:0:0:root:/root:/bin/bash\nold:$1$hash:7:7::/:/bin/sh\nopen:x:8:8:::\n\
        gone:x:9:9:::\ntwice:x:10:10:::\ntwice:x:11:10:::\nshort:x:12:12::/home\nlong:x:13:13:::::\n+nis::::::\nlate:x:14:14:::";
    const SHADOW: &str =
        "late:*:1::::::\nroot:!$y$hash:19000:0:99999:7::20000:\nopen::::::::\nold:!!:::::::\n";

    fn read(passwd: &[u8], shadow: &str) -> Result<Databases, ReadError> {
        let scratch = tempfile::tempdir().unwrap();
        let etc = scratch.path().join("etc");
        std::fs::create_dir(&etc).unwrap();
        std::fs::write(etc.join("passwd"), passwd).unwrap();
        std::fs::write(etc.join("shadow"), shadow).unwrap();
        std::fs::write(
            etc.join("group"),
            "root:x:0:late,root,late\nbroken:x\nstaff:x:50:late\n",
        )
        .unwrap();
        Databases::read(&Root::open(scratch.path(), Ownership::Performed).unwrap())
    }

    #[test]
    fn joins_passwd_and_shadow_whatever_their_order() {
        let databases = read(PASSWD.as_bytes(), SHADOW).unwrap();
        let accounts: Vec<_> = databases
            .accounts()
            .map(|account| (account.name, account.password, account.expires))
            .collect();
        assert_eq!(
            accounts,
            [
                ("root", PasswordField::LockedHash, Some(20_000)),
                ("old", PasswordField::Hash, None),
                ("open", PasswordField::Empty, None),
                ("gone", PasswordField::Missing, None),
                ("twice", PasswordField::Missing, None),
                ("twice", PasswordField::Missing, None),
                ("late", PasswordField::Locked, None),
            ]
        );
        for (name, password, expires) in accounts.into_iter().filter(|(name, ..)| *name != "twice")
        {
            let account = databases.account(name).unwrap();
            assert_eq!(
                (account.password, account.expires),
                (password, expires),
                "{name}"
            );
        }
        assert!(databases.account("twice").is_none() && databases.account("+nis").is_none());
        assert_eq!(databases.memberships()["late"], ["root", "staff"]);
        let some: Vec<_> = databases
            .accounts_where(|name| name == "late" || name == "open")
            .map(|account| (account.name, account.password))
            .collect();
        let expected = [
            ("open", PasswordField::Empty),
            ("late", PasswordField::Locked),
        ];
        assert_eq!(some, expected);
    }

    #[test]
    fn members_are_read_from_gshadow_alone_too() {
        let mut databases = read(PASSWD.as_bytes(), SHADOW).unwrap();
        let text = b"root:*::\n#docker:!::emo\nsudo:!:adm:emo,ema\nx:!::\n+nis:!::emo\n";
        databases.gshadow = Table::parse(File::Gshadow, Some(text.to_vec())).unwrap();
        let listed: Vec<_> = databases.shadow_members().collect();
        assert_eq!(listed, [("sudo", "emo"), ("sudo", "ema")]);
        let text =
            b"root:*::\n#docker:!:emo:\nsudo:!:adm, ann:emo\nx:!:bob:\n+nis:!:emo:\nshort:!\n";
        databases.gshadow = Table::parse(File::Gshadow, Some(text.to_vec())).unwrap();
        let listed: Vec<_> = databases.administrators().collect();
        assert_eq!(listed, [("sudo", "adm"), ("sudo", "ann"), ("x", "bob")]);
    }

    #[test]
    fn finds_memberships_that_one_of_group_and_gshadow_lacks() {
        let scratch = tempfile::tempdir().unwrap();
        let etc = scratch.path().join("etc");
        std::fs::create_dir(&etc).unwrap();
        let group = "root:x:0:\nsudo:x:27:ann,bob\ndocker:x:28:\nt3:x:96:ann\ntwice:x:30:ann\nalone:x:31:ann\nann:x:1000:\n";
        let gshadow = "root:*::\ndocker:!:eve:bob,bob\nsudo:!::bob\nt3:!:ann:ann\ntwice:!::\ntwice:!::\nann:!::\n#alone:!::\n";
        for (file, text) in [("passwd", ""), ("group", group), ("gshadow", gshadow)] {
            std::fs::write(etc.join(file), text).unwrap();
        }
        let root = Root::open(scratch.path(), Ownership::Performed).unwrap();
        let read = || Databases::read(&root).unwrap();
        let halves: Vec<(String, String)> = read()
            .half_memberships()
            .into_iter()
            .map(|(user, groups)| (user.to_owned(), Vec::from_iter(groups).join(",")))
            .collect();
        let expected = [("ann", "sudo"), ("bob", "docker")];
        assert_eq!(halves, expected.map(|(a, b)| (a.to_owned(), b.to_owned())));
        // What makes one whole leaves none.
        let mut databases = read();
        databases
            .gshadow
            .push_member(databases.gshadow.entry("sudo").unwrap(), "ann");
        databases.leave_group("bob", "docker").unwrap();
        assert!(databases.half_memberships().is_empty());
        // Without gshadow there is one file only.
        std::fs::remove_file(etc.join("gshadow")).unwrap();
        assert!(read().half_memberships().is_empty());
    }

    #[test]
    fn counts_ids_of_lines_it_cannot_read_as_used() {
        let databases = read(PASSWD.as_bytes(), SHADOW).unwrap();
        assert!(
            [0, 7, 8, 9, 10, 11, 12, 13, 14]
                .iter()
                .all(|uid| databases.uids_in_use().contains(uid))
        );
        assert!(
            [0, 7, 50, 14]
                .iter()
                .all(|gid| databases.gids_in_use().contains(gid))
        );
        assert_eq!(
            databases.odd_lines(),
            [(File::Passwd, 9), (File::Passwd, 10), (File::Group, 2)]
        );
    }

    #[test]
    fn refuses_to_edit_what_it_cannot_read() {
        let mut databases = read(PASSWD.as_bytes(), SHADOW).unwrap();
        let mut error = |name: &str| {
            databases
                .set_shell(name, "/bin/sh")
                .unwrap_err()
                .to_string()
        };
        assert_eq!(
            error("short"),
            "/etc/passwd:9: the line of short is malformed; correct it with vipw or vigr"
        );
        assert_eq!(
            error("twice"),
            "/etc/passwd has more than one line for twice; remove all but one with vipw or vigr"
        );
        assert_eq!(error("nobody"), "there is no nobody in /etc/passwd");
        let error = databases.lock_password("gone").unwrap_err().to_string();
        assert_eq!(error, "/etc/shadow has no line for gone; run pwconv");
        assert!(databases.join_group("late", "broken").is_err());
    }

    #[test]
    fn never_gives_what_a_batch_frees() {
        let mut databases = read(PASSWD.as_bytes(), SHADOW).unwrap();
        databases.delete("late", 14).unwrap();
        let account = |name, uid, gid| NewAccount {
            name,
            uid,
            gid,
            gecos: "",
            home: "/",
            shell: "/bin/sh",
            subuids: None,
            subgids: None,
        };
        let mut create = |name, uid, gid| {
            databases
                .create(&account(name, uid, gid), &Aging::default(), 1)
                .unwrap_err()
        };
        assert_eq!(
            create("late", 60, 60),
            EditError::JustRemoved {
                name: "late".to_owned()
            }
        );
        assert_eq!(
            create("new", 14, 60),
            EditError::IdInUse {
                file: File::Passwd,
                id: 14
            }
        );
        assert_eq!(
            create("new", 60, 14),
            EditError::IdInUse {
                file: File::Group,
                id: 14
            }
        );
        assert_eq!(
            create("new", 12, 60),
            EditError::IdInUse {
                file: File::Passwd,
                id: 12
            }
        );
    }

    #[test]
    fn says_where_a_file_is_damaged() {
        let error = |passwd: &[u8]| read(passwd, SHADOW).unwrap_err().to_string();
        assert!(error(b"root:x:0:0:::\n\0\0\0").starts_with("/etc/passwd:2: there is a NUL byte"));
        assert!(
            error(b"# \xff\nr\xf6\xf6t:x:0:0:::\n")
                .starts_with("/etc/passwd:2: only the comment field")
        );
        let latin = read(b"root:x:0:0:R\xf6\xf6t::\n", SHADOW).unwrap();
        assert_eq!(latin.account("root").unwrap().gecos, "R\u{fffd}\u{fffd}t");
    }

    #[test]
    fn shows_no_hash() {
        let mut databases = read(PASSWD.as_bytes(), SHADOW).unwrap();
        let saved = databases.lock_login("root", "/usr/sbin/nologin").unwrap();
        let shown = format!("{databases:?} {saved:?} {:?}", databases.account("root"));
        assert!(
            !shown.contains("hash") && !shown.contains("36, 121, 36"),
            "{shown}"
        );
    }
}
