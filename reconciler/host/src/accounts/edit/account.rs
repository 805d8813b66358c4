//! Making and removing accounts.

use super::groups::Administrators;
use super::{EditError, Primary, parsed};
use crate::accounts::fields::{Group as GroupLine, Passwd, Shadow};
use crate::accounts::names::{check_gecos, check_name, check_path};
use crate::accounts::subordinate::{Order, Ranges};
use crate::accounts::{Aging, Databases, File, Found, IdRange, LineId};

/// An account to be made. Its private group has its name.
#[derive(Debug, Clone, Copy)]
pub struct NewAccount<'a> {
    /// The login name, and the name of its private group.
    pub name: &'a str,
    /// The user id.
    pub uid: u32,
    /// The id of the private group.
    pub gid: u32,
    /// The comment.
    pub gecos: &'a str,
    /// The home directory. It is written down, not made.
    pub home: &'a str,
    /// The login shell.
    pub shell: &'a str,
    /// The range of subordinate uids.
    pub subuids: Option<IdRange>,
    /// The range of subordinate gids.
    pub subgids: Option<IdRange>,
    /// Which primary group it gets.
    pub primary: PrimaryGroup,
}

/// The primary group of an account to be made.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PrimaryGroup {
    /// One of its own, with its name, made with it.
    Own,
    /// A group of another name that has the gid; where there is none, one of its own.
    AsFound,
}

/// What became of the private group of a deleted account.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Removed {
    /// The private group went too, or there was none.
    WithGroup,
    /// A group of that name stays: it has members, another gid, or is the primary group of another account.
    GroupStays,
}

impl Databases {
    /// Makes an account with a private group and a locked password, as `useradd -U` does; `today` counts days from
    /// 1970-01-01. What an interrupted batch left of the same account is used.
    ///
    /// # Errors
    /// When a name, id or range is in use or unusable.
    pub fn create(
        &mut self,
        account: &NewAccount<'_>,
        aging: &Aging,
        today: i64,
    ) -> Result<(), EditError> {
        let NewAccount {
            name,
            uid,
            gid,
            gecos,
            home,
            shell,
            subuids,
            subgids,
            primary: _,
        } = *account;
        let group_is_left_over = self.check_account(account)?;

        if !self.shares_primary(account) {
            if !group_is_left_over {
                let password = if self.has(File::Gshadow) { "x" } else { "!" };
                self.add_group(name, password, gid);
            }
            self.add_gshadow(name);
        }
        if let Some(range) = subuids {
            self.subuid.append(name, range, Order::AsUseradd);
        }
        if let Some(range) = subgids {
            self.subgid.append(name, range, Order::AsUseradd);
        }
        let shadowed = self.has(File::Shadow);
        let password = if shadowed { "x" } else { "!" };
        let line = Passwd {
            name,
            password,
            uid,
            gid,
            gecos: gecos.as_bytes(),
            home,
            shell,
        }
        .line();
        self.passwd.append(name, line);
        if shadowed {
            let Aging {
                min,
                max,
                warn,
                inactive,
                expire,
            } = *aging;
            // A change on day 0 would ask for a new password; useradd leaves the field empty then.
            let changed = (today != 0).then_some(today);
            let line = Shadow {
                name,
                password: "!",
                days: [changed, min, max, warn, inactive, expire, None],
            }
            .line();
            match self.shadow.entry(name) {
                Some(id) => self.shadow.replace(id, line),
                None => self.shadow.append(name, line),
            }
        }
        self.note_ids(Some(uid), gid, Primary::Gained);
        Ok(())
    }

    /// Whether the account's primary group is one that is there under another name.
    fn shares_primary(&self, account: &NewAccount<'_>) -> bool {
        let of_the_gid =
            |group: super::super::Group<'_>| group.gid == account.gid && group.name != account.name;
        account.primary == PrimaryGroup::AsFound && self.groups().any(of_the_gid)
    }

    /// Whether a new account can be made as it is asked for; tells whether an interrupted batch left its private group.
    fn check_account(&self, account: &NewAccount<'_>) -> Result<bool, EditError> {
        let NewAccount {
            name,
            uid,
            gid,
            gecos,
            home,
            shell,
            subuids,
            subgids,
            primary: _,
        } = *account;
        check_name(name)?;
        check_gecos(gecos)?;
        check_path("home", home)?;
        check_path("shell", shell)?;
        self.check_new(File::Passwd, name)?;
        if self.departed.contains(name) {
            return Err(EditError::JustRemoved {
                name: name.to_owned(),
            });
        }
        if self.ids().uids.contains(&uid) {
            return Err(EditError::IdInUse {
                file: File::Passwd,
                id: uid,
            });
        }
        let group_is_left_over = self.is_left_over(name, gid);
        if !group_is_left_over && !self.shares_primary(account) {
            self.check_new(File::Group, name)?;
            self.check_gid(gid)?;
        }
        for file in [File::Shadow, File::Gshadow] {
            self.check_readable(file, name)?;
        }
        self.check_range(File::Subuid, name, subuids)?;
        self.check_range(File::Subgid, name, subgids)?;
        Ok(group_is_left_over)
    }

    /// Removes an account and whatever stands under its name, as `userdel` does: memberships, the private group if it
    /// is empty and nobody else's primary group, subordinate ranges. `gid` is the primary group that it must have. What
    /// an interrupted batch left of the account is removed too.
    ///
    /// # Errors
    /// When nothing stands under that name, or the account is another one.
    pub fn delete(&mut self, name: &str, gid: u32) -> Result<Removed, EditError> {
        let passwd = self.optional_line_of(File::Passwd, name)?;
        if let Some(id) = passwd {
            let found = parsed::<Passwd<'_>>(self.passwd.line(id)).gid;
            if found != gid {
                return Err(EditError::OtherAccount {
                    name: name.to_owned(),
                    found,
                    expected: gid,
                });
            }
        }
        let shadow = self.optional_line_of(File::Shadow, name)?;
        let group = self.optional_line_of(File::Group, name)?;
        let gshadow = self.optional_line_of(File::Gshadow, name)?;
        let nothing_left = passwd.is_none()
            && shadow.is_none()
            && group.is_none()
            && gshadow.is_none()
            && self.group.lines_naming(name).is_empty()
            && self.gshadow.lines_naming(name).is_empty()
            && self.subuid.of(name).is_empty()
            && self.subgid.of(name).is_empty();
        if nothing_left {
            return Err(EditError::NotFound {
                file: File::Passwd,
                name: name.to_owned(),
            });
        }

        let users = usize::from(passwd.is_some());
        let shared = self.ids().primary.get(&gid).copied().unwrap_or(0) > users;
        let removed = self.strip(name, gid, shared, group);
        if passwd.is_some() {
            self.passwd.remove(name);
            self.note_ids(None, gid, Primary::Lost);
        }
        self.departed.insert(name.to_owned());
        Ok(removed)
    }

    /// Removes the subordinate ranges that stand under a uid in digits (subuid(5)), which is the uid of no account any more.
    pub fn remove_ranges_of(&mut self, uid: u32) {
        let owner = uid.to_string();
        self.subuid.remove(&owner);
        self.subgid.remove(&owner);
    }

    /// Removes what an interrupted step left under a name that has no account; nothing happens where nothing is left. `gid` is
    /// that of the private group it would have had, and `beside` the account that was to get the name.
    ///
    /// # Errors
    /// When there is such an account, or a line cannot be read.
    pub fn clear_remains(
        &mut self,
        name: &str,
        gid: u32,
        beside: Option<&str>,
    ) -> Result<(), EditError> {
        check_name(name)?;
        self.check_new(File::Passwd, name)?;
        let group = self.optional_line_of(File::Group, name)?;
        self.check_readable(File::Shadow, name)?;
        self.check_readable(File::Gshadow, name)?;
        self.strip(name, gid, self.is_shared(gid, beside), group);
        self.departed.insert(name.to_owned());
        Ok(())
    }

    /// Whether a group with that gid is somebody's primary group. The account that was to be renamed has one of its own.
    fn is_shared(&self, gid: u32, beside: Option<&str>) -> bool {
        let used = self.ids().primary.get(&gid).copied().unwrap_or(0) > 0;
        used && !beside.is_some_and(|beside| self.is_group(beside, gid))
    }

    /// Takes a name out of every database but passwd; a group that is `shared`, or not the private one, stays.
    fn strip(&mut self, name: &str, gid: u32, shared: bool, group: Option<LineId>) -> Removed {
        for id in self.group.lines_naming(name) {
            self.drop_from_group(id, name);
        }
        let private =
            |group: GroupLine<'_>| group.gid == gid && group.members.is_empty() && !shared;
        let removed = match group {
            Some(id) if !private(parsed(self.group.line(id))) => Removed::GroupStays,
            _ => Removed::WithGroup,
        };
        if removed == Removed::WithGroup {
            self.group.remove(name);
            self.gshadow.remove(name);
        }
        for id in self.gshadow.lines_naming(name) {
            self.drop_from_gshadow(id, name, Administrators::Change);
        }
        self.shadow.remove(name);
        self.subuid.remove(name);
        self.subgid.remove(name);
        removed
    }

    /// Whether something of an account stands in any of the files although passwd has none of that name: what an
    /// interrupted step leaves. A group of that name that serves others is not the account's. `beside` is the account that was to
    /// get the name, where the step was a rename.
    #[must_use]
    pub fn has_remnants(&self, name: &str, gid: u32, beside: Option<&str>) -> bool {
        if !matches!(self.passwd.find(name), Found::Nothing) {
            return false;
        }
        let private = self.group.entry(name).is_some_and(|id| {
            let group = parsed::<GroupLine<'_>>(self.group.line(id));
            group.gid == gid && group.members.is_empty() && !self.is_shared(gid, beside)
        });
        private
            || self.shadow.entry(name).is_some()
            || (self.gshadow.entry(name).is_some() && self.group.entry(name).is_none())
            || !self.group.lines_naming(name).is_empty()
            || !self.gshadow.lines_naming(name).is_empty()
            || !self.subuid.of(name).is_empty()
            || !self.subgid.of(name).is_empty()
    }

    fn check_range(&self, file: File, name: &str, range: Option<IdRange>) -> Result<(), EditError> {
        let Some(range) = range else { return Ok(()) };
        let ranges: &Ranges = if file == File::Subuid {
            &self.subuid
        } else {
            &self.subgid
        };
        if !ranges.is_present() {
            return Err(EditError::NoFile {
                file,
                name: name.to_owned(),
            });
        }
        match ranges.overlapping(name, range) {
            Some((owner, theirs)) => Err(EditError::RangeInUse {
                file,
                range,
                theirs,
                owner: owner.to_owned(),
            }),
            None => Ok(()),
        }
    }

    /// Whether group has exactly the line that [`Self::create`] would write, and nobody has it as a primary group: what
    /// a batch leaves that was interrupted before passwd.
    fn is_left_over(&self, name: &str, gid: u32) -> bool {
        let unused = !self.ids().primary.contains_key(&gid);
        let line = self
            .group
            .entry(name)
            .and_then(|id| GroupLine::parse(self.group.line(id)));
        unused && line.is_some_and(|line| line.gid == gid && line.members.is_empty())
    }
}
