//! The edits. Each checks everything first, so that one that fails has changed nothing; none of them does I/O.

use super::fields::{EXPIRE, Group as GroupLine, Gshadow, Passwd, Shadow};
use super::names::{check_gecos, check_name, check_path};
use super::subordinate::{Order, Ranges};
use super::{Aging, Databases, File, Found, IdRange, LineId, SavedLogin, Table};

/// Why an edit was refused. Nothing was changed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum EditError {
    /// The name could be taken for something else.
    #[error("{name:?} cannot be the name of an account or a group")]
    BadName {
        /// The name.
        name: String,
    },
    /// A field would spoil its line, or is no absolute path.
    #[error("{value:?} cannot be written as the {field} of an account")]
    BadField {
        /// Which field.
        field: &'static str,
        /// What was asked for.
        value: String,
    },
    /// There is no such entry.
    #[error("there is no {name} in {file}")]
    NotFound {
        /// Where it was looked for.
        file: File,
        /// The name.
        name: String,
    },
    /// There is such an entry already.
    #[error("{name} is in {file} already")]
    Exists {
        /// Where it was found.
        file: File,
        /// The name.
        name: String,
    },
    /// Several lines have the name.
    #[error("{file} has more than one line for {name}; remove all but one with vipw or vigr")]
    Repeated {
        /// The file.
        file: File,
        /// The name.
        name: String,
    },
    /// The line of that name cannot be read.
    #[error("{file}:{line}: the line of {name} is malformed; correct it with vipw or vigr")]
    Malformed {
        /// The file.
        file: File,
        /// The line as it was read, counted from 1.
        line: usize,
        /// The name.
        name: String,
    },
    /// An id belongs to somebody, or did until this batch.
    #[error("id {id} is in use in {file}")]
    IdInUse {
        /// passwd for a uid, group for a gid.
        file: File,
        /// The id.
        id: u32,
    },
    /// A range of subordinate ids shares one with somebody else's.
    #[error("the range {}:{} overlaps {}:{}, which {file} gives to {owner}", range.first, range.count, theirs.first, theirs.count)]
    RangeInUse {
        /// subuid or subgid.
        file: File,
        /// What was asked for.
        range: IdRange,
        /// What is there.
        theirs: IdRange,
        /// To whom it belongs.
        owner: String,
    },
    /// A range was asked for, and there is no file to write it to.
    #[error(
        "{file} does not exist, so no range can be given to {name}; create the file, empty, or set the count to 0 in /etc/login.defs"
    )]
    NoFile {
        /// subuid or subgid.
        file: File,
        /// The account.
        name: String,
    },
    /// The password cannot be locked or unlocked because shadow has no line for the account.
    #[error("{} has no line for {name}; run pwconv", File::Shadow)]
    NoShadowLine {
        /// The account.
        name: String,
    },
    /// Unlocking would leave no password at all.
    #[error(
        "nothing is behind the lock of {name}'s password, so unlocking it would let anybody in"
    )]
    NothingToUnlock {
        /// The account.
        name: String,
    },
    /// The account is not the one that was meant.
    #[error("{name} has gid {found}, not {expected}; it is another account than the one meant")]
    OtherAccount {
        /// The account.
        name: String,
        /// Its primary gid.
        found: u32,
        /// The gid that was expected.
        expected: u32,
    },
    /// The name lost its account earlier in the same batch.
    #[error("{name} was removed in this batch; it can be used again in the next one")]
    JustRemoved {
        /// The name.
        name: String,
    },
}

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
        if !group_is_left_over {
            self.check_new(File::Group, name)?;
            self.check_gid(gid)?;
        }
        for file in [File::Shadow, File::Gshadow] {
            self.check_readable(file, name)?;
        }
        self.check_range(File::Subuid, name, subuids)?;
        self.check_range(File::Subgid, name, subgids)?;

        if !group_is_left_over {
            let password = if self.has(File::Gshadow) { "x" } else { "!" };
            self.add_group(name, password, gid);
        }
        self.add_gshadow(name);
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

    /// Makes an empty group, as `groupadd -g` does.
    ///
    /// # Errors
    /// When the name or the gid is in use or unusable.
    pub fn create_group(&mut self, name: &str, gid: u32) -> Result<(), EditError> {
        check_name(name)?;
        self.check_new(File::Group, name)?;
        self.check_gid(gid)?;
        self.check_readable(File::Gshadow, name)?;
        self.add_group(name, "x", gid);
        self.add_gshadow(name);
        self.note_ids(None, gid, Primary::Same);
        Ok(())
    }

    /// Sets the login shell, as `usermod -s` does.
    ///
    /// # Errors
    /// When there is no such account, or the shell is no absolute path.
    pub fn set_shell(&mut self, name: &str, shell: &str) -> Result<(), EditError> {
        check_path("shell", shell)?;
        let id = self.line_of(File::Passwd, name)?;
        self.write_passwd(id, None, Some(shell));
        Ok(())
    }

    /// Puts `!` in front of the password field, as `usermod -L` does; one that has it stays as it is.
    ///
    /// # Errors
    /// When there is no such account, or its password is nowhere.
    pub fn lock_password(&mut self, name: &str) -> Result<(), EditError> {
        let fields = self.password_fields(name)?;
        let locked = |field: &str| (!field.starts_with('!')).then(|| format!("!{field}"));
        self.change_passwords(&fields, locked);
        Ok(())
    }

    /// Takes one `!` off the password field, as `usermod -U` does; one that has none stays as it is.
    ///
    /// # Errors
    /// When there is no such account, its password is nowhere, or nothing is behind the lock.
    pub fn unlock_password(&mut self, name: &str) -> Result<(), EditError> {
        let fields = self.password_fields(name)?;
        if fields
            .shadow
            .as_ref()
            .is_some_and(|(_, field)| field == "!")
            || fields.own.as_deref() == Some("!")
        {
            return Err(EditError::NothingToUnlock {
                name: name.to_owned(),
            });
        }
        self.change_passwords(&fields, |field| field.strip_prefix('!').map(str::to_owned));
        Ok(())
    }

    /// What [`Self::lock_login`] would change, without changing it.
    ///
    /// # Errors
    /// When there is no such account, or its password is nowhere.
    pub fn saved_login(&self, name: &str) -> Result<SavedLogin, EditError> {
        let fields = self.password_fields(name)?;
        let passwd = parsed::<Passwd<'_>>(self.passwd.line(fields.passwd));
        let expires = fields
            .shadow
            .as_ref()
            .and_then(|(id, _)| parsed::<Shadow<'_>>(self.shadow.line(*id)).days[EXPIRE]);
        Ok(SavedLogin {
            passwd: passwd.password.to_owned(),
            shadow: fields.shadow.map(|(_, field)| field),
            expires,
            shell: passwd.shell.to_owned(),
        })
    }

    /// Shuts an account: password locked, expired since 1970-01-02, `nologin` as its shell; as
    /// `usermod -L -e 1 -s …` does. Where there is no shadow file there is no day of expiry.
    ///
    /// # Errors
    /// When there is no such account, its password is nowhere, or the shell is no absolute path.
    #[must_use = "without what is returned there is no way back"]
    pub fn lock_login(&mut self, name: &str, nologin: &str) -> Result<SavedLogin, EditError> {
        check_path("shell", nologin)?;
        let saved = self.saved_login(name)?;
        self.lock_password(name)?;
        self.set_shell(name, nologin)?;
        if let Some(id) = self.shadow.entry(name) {
            self.write_shadow(id, None, Some(Some(1)));
        }
        Ok(saved)
    }

    /// Brings back what [`Self::lock_login`] changed: password field, day of expiry and shell, as they were.
    ///
    /// # Errors
    /// When there is no such account, or its shadow line is gone.
    pub fn restore_login(&mut self, name: &str, saved: &SavedLogin) -> Result<(), EditError> {
        let SavedLogin {
            passwd,
            shadow,
            expires,
            shell,
        } = saved;
        let id = self.line_of(File::Passwd, name)?;
        let shadow_line = match shadow {
            Some(field) => Some((self.shadow_line(name)?, field)),
            None => None,
        };
        self.write_passwd(id, Some(passwd), Some(shell));
        if let Some((id, field)) = shadow_line {
            self.write_shadow(id, Some(field), Some(*expires));
        }
        Ok(())
    }

    /// Makes an account a member of a group, in group and gshadow, as `usermod -a -G` does. Nothing happens where it is
    /// one already.
    ///
    /// # Errors
    /// When there is no such account or group.
    pub fn join_group(&mut self, name: &str, group: &str) -> Result<(), EditError> {
        check_name(name)?;
        self.line_of(File::Passwd, name)?;
        let id = self.line_of(File::Group, group)?;
        let shadowed = self.optional_line_of(File::Gshadow, group)?;
        if !self.group.is_member(id, name) {
            self.group.push_member(id, name);
        }
        if let Some(id) = shadowed
            && !self.gshadow.is_member(id, name)
        {
            self.gshadow.push_member(id, name);
        }
        Ok(())
    }

    /// Ends the membership of an account in a group, in group and gshadow, as `gpasswd -d` does; that it administers
    /// the group stays. Nothing happens where it is none.
    ///
    /// # Errors
    /// When there is no such group.
    pub fn leave_group(&mut self, name: &str, group: &str) -> Result<(), EditError> {
        let id = self.line_of(File::Group, group)?;
        let shadowed = self.optional_line_of(File::Gshadow, group)?;
        self.drop_from_group(id, name);
        if let Some(id) = shadowed {
            self.drop_from_gshadow(id, name, Administrators::Stay);
        }
        Ok(())
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

        for id in self.group.lines_naming(name) {
            self.drop_from_group(id, name);
        }
        let users = usize::from(passwd.is_some());
        let shared = self.ids().primary.get(&gid).copied().unwrap_or(0) > users;
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
        if passwd.is_some() {
            self.passwd.remove(name);
            self.note_ids(None, gid, Primary::Lost);
        }
        self.departed.insert(name.to_owned());
        Ok(removed)
    }

    /// Whether something of an account stands in any of the files although passwd has none of that name: what an
    /// interrupted removal leaves. A group of that name that serves others is not the account's.
    #[must_use]
    pub fn has_remnants(&self, name: &str, gid: u32) -> bool {
        if !matches!(self.passwd.find(name), Found::Nothing) {
            return false;
        }
        let private = self.group.entry(name).is_some_and(|id| {
            let group = parsed::<GroupLine<'_>>(self.group.line(id));
            let shared = self.ids().primary.get(&gid).copied().unwrap_or(0) > 0;
            group.gid == gid && group.members.is_empty() && !shared
        });
        private
            || self.shadow.entry(name).is_some()
            || (self.gshadow.entry(name).is_some() && self.group.entry(name).is_none())
            || !self.group.lines_naming(name).is_empty()
            || !self.gshadow.lines_naming(name).is_empty()
            || !self.subuid.of(name).is_empty()
            || !self.subgid.of(name).is_empty()
    }

    /// The first batch of a rename: entries of the new name beside those of the old (private group, memberships, shadow,
    /// subordinate ranges), and passwd switched. uid, gid and home stay. Where passwd is switched already, nothing
    /// happens.
    ///
    /// # Errors
    /// When there is no such account, or the new name is in use or unusable.
    pub fn rename_begin(&mut self, old: &str, new: &str) -> Result<(), EditError> {
        check_name(new)?;
        let Some(id) = self.optional_line_of(File::Passwd, old)? else {
            self.line_of(File::Passwd, new)
                .map_err(|_| EditError::NotFound {
                    file: File::Passwd,
                    name: old.to_owned(),
                })?;
            return Ok(());
        };
        self.check_new(File::Passwd, new)?;
        if self.departed.contains(new) {
            return Err(EditError::JustRemoved {
                name: new.to_owned(),
            });
        }
        let passwd = parsed::<Passwd<'_>>(self.passwd.line(id));
        let gid = passwd.gid;
        let switched = Passwd {
            name: new,
            ..passwd
        }
        .line();
        let shadow = self.optional_line_of(File::Shadow, old)?;
        self.check_readable(File::Shadow, new)?;
        self.check_readable(File::Gshadow, new)?;
        let private = self.private_group(old, gid)?;
        let private_shadow = match private {
            Some(_) => self.optional_line_of(File::Gshadow, old)?,
            None => None,
        };
        if private.is_some() && !self.is_group(new, gid) {
            self.check_new(File::Group, new)?;
        }

        for range in self.subuid.of(old) {
            self.subuid.append(new, range, Order::AsFound);
        }
        for range in self.subgid.of(old) {
            self.subgid.append(new, range, Order::AsFound);
        }
        for id in self.group.lines_naming(old) {
            if !self.group.is_member(id, new) {
                self.group.push_member(id, new);
            }
        }
        for id in self.gshadow.lines_naming(old) {
            self.add_in_gshadow(id, old, new);
        }
        if let Some(id) = private
            && !self.is_group(new, gid)
        {
            let line = GroupLine {
                name: new,
                ..parsed(self.group.line(id))
            }
            .line();
            self.group.append(new, line);
        }
        if let Some(id) = private_shadow {
            let line = Gshadow {
                name: new,
                ..parsed(self.gshadow.line(id))
            }
            .line();
            match self.gshadow.entry(new) {
                Some(id) => self.gshadow.replace(id, line),
                None => self.gshadow.append(new, line),
            }
        }
        if let Some(id) = shadow {
            let line = Shadow {
                name: new,
                ..parsed(self.shadow.line(id))
            }
            .line();
            match self.shadow.entry(new) {
                Some(id) => self.shadow.replace(id, line),
                None => self.shadow.append(new, line),
            }
        }
        self.passwd.append(new, switched);
        self.passwd.remove(old);
        self.departed.insert(old.to_owned());
        Ok(())
    }

    /// The second batch of a rename: the entries of the old name go.
    ///
    /// # Errors
    /// When passwd still has the old name, or has not got the new one.
    pub fn rename_finish(&mut self, old: &str, new: &str) -> Result<(), EditError> {
        let id = self.line_of(File::Passwd, new)?;
        self.check_new(File::Passwd, old)?;
        let gid = parsed::<Passwd<'_>>(self.passwd.line(id)).gid;
        let private = if self.is_group(new, gid) {
            self.private_group(old, gid)?
        } else {
            None
        };
        let private_shadow = self.optional_line_of(File::Gshadow, old)?;
        self.optional_line_of(File::Shadow, old)?;

        for id in self.group.lines_naming(old) {
            self.drop_from_group(id, old);
        }
        for id in self.gshadow.lines_naming(old) {
            self.drop_from_gshadow(id, old, Administrators::Change);
        }
        if private.is_some() {
            self.group.remove(old);
            if private_shadow.is_some() {
                self.gshadow.remove(old);
            }
        }
        self.shadow.remove(old);
        self.subuid.remove(old);
        self.subgid.remove(old);
        self.departed.insert(old.to_owned());
        Ok(())
    }

    fn table(&self, file: File) -> &Table {
        match file {
            File::Shadow => &self.shadow,
            File::Group => &self.group,
            File::Gshadow => &self.gshadow,
            File::Passwd | File::Subuid | File::Subgid => &self.passwd,
        }
    }

    fn optional_line_of(&self, file: File, name: &str) -> Result<Option<LineId>, EditError> {
        let table = self.table(file);
        match table.find(name) {
            Found::Nothing => Ok(None),
            Found::Entry(id) => Ok(Some(id)),
            Found::Repeated => Err(EditError::Repeated {
                file,
                name: name.to_owned(),
            }),
            Found::Odd(id) => Err(EditError::Malformed {
                file,
                line: table.number(id).unwrap_or_default(),
                name: name.to_owned(),
            }),
        }
    }

    fn line_of(&self, file: File, name: &str) -> Result<LineId, EditError> {
        self.optional_line_of(file, name)?
            .ok_or_else(|| EditError::NotFound {
                file,
                name: name.to_owned(),
            })
    }

    fn shadow_line(&self, name: &str) -> Result<LineId, EditError> {
        self.optional_line_of(File::Shadow, name)?
            .ok_or_else(|| EditError::NoShadowLine {
                name: name.to_owned(),
            })
    }

    fn check_readable(&self, file: File, name: &str) -> Result<(), EditError> {
        self.optional_line_of(file, name).map(drop)
    }

    fn check_new(&self, file: File, name: &str) -> Result<(), EditError> {
        match self.optional_line_of(file, name)? {
            Some(_) => Err(EditError::Exists {
                file,
                name: name.to_owned(),
            }),
            None if self.table(file).has_removed(name) && file == File::Group => {
                Err(EditError::JustRemoved {
                    name: name.to_owned(),
                })
            }
            None => Ok(()),
        }
    }

    fn check_gid(&self, gid: u32) -> Result<(), EditError> {
        if self.ids().gids.contains(&gid) {
            Err(EditError::IdInUse {
                file: File::Group,
                id: gid,
            })
        } else {
            Ok(())
        }
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

    fn is_group(&self, name: &str, gid: u32) -> bool {
        self.group
            .entry(name)
            .is_some_and(|id| parsed::<GroupLine<'_>>(self.group.line(id)).gid == gid)
    }

    fn private_group(&self, name: &str, gid: u32) -> Result<Option<LineId>, EditError> {
        let line = self.optional_line_of(File::Group, name)?;
        Ok(line.filter(|id| parsed::<GroupLine<'_>>(self.group.line(*id)).gid == gid))
    }

    fn add_group(&mut self, name: &str, password: &str, gid: u32) {
        self.group.append(
            name,
            GroupLine {
                name,
                password,
                gid,
                members: Vec::new(),
            }
            .line(),
        );
    }

    /// Writes the line of a new group, over one that stands under the name.
    fn add_gshadow(&mut self, name: &str) {
        if !self.has(File::Gshadow) {
            return;
        }
        let line = Gshadow {
            name,
            password: "!",
            administrators: Vec::new(),
            members: Vec::new(),
        }
        .line();
        match self.gshadow.entry(name) {
            Some(id) => self.gshadow.replace(id, line),
            None => self.gshadow.append(name, line),
        }
    }

    fn note_ids(&mut self, uid: Option<u32>, gid: u32, primary: Primary) {
        let Some(ids) = self.ids.get_mut() else {
            return;
        };
        ids.uids.extend(uid);
        ids.gids.insert(gid);
        match primary {
            Primary::Gained => *ids.primary.entry(gid).or_default() += 1,
            Primary::Lost => {
                if let Some(count) = ids.primary.get_mut(&gid) {
                    *count -= 1;
                }
            }
            Primary::Same => {}
        }
    }

    fn password_fields(&self, name: &str) -> Result<PasswordFields, EditError> {
        let passwd = self.line_of(File::Passwd, name)?;
        let field = parsed::<Passwd<'_>>(self.passwd.line(passwd)).password;
        let shadow = self.optional_line_of(File::Shadow, name)?;
        if self.has(File::Shadow) && shadow.is_none() && field == "x" {
            return Err(EditError::NoShadowLine {
                name: name.to_owned(),
            });
        }
        let own = (!self.has(File::Shadow) || field != "x").then(|| field.to_owned());
        let shadow = shadow.map(|id| {
            (
                id,
                parsed::<Shadow<'_>>(self.shadow.line(id))
                    .password
                    .to_owned(),
            )
        });
        Ok(PasswordFields {
            passwd,
            own,
            shadow,
        })
    }

    fn change_passwords(
        &mut self,
        fields: &PasswordFields,
        change: impl Fn(&str) -> Option<String>,
    ) {
        if let Some(field) = fields.own.as_deref().and_then(&change) {
            self.write_passwd(fields.passwd, Some(&field), None);
        }
        if let Some((id, field)) = &fields.shadow
            && let Some(field) = change(field)
        {
            self.write_shadow(*id, Some(&field), None);
        }
    }

    fn write_passwd(&mut self, id: LineId, password: Option<&str>, shell: Option<&str>) {
        let mut line = parsed::<Passwd<'_>>(self.passwd.line(id));
        let same = password.is_none_or(|password| password == line.password)
            && shell.is_none_or(|shell| shell == line.shell);
        if same {
            return;
        }
        line.password = password.unwrap_or(line.password);
        line.shell = shell.unwrap_or(line.shell);
        let line = line.line();
        self.passwd.replace(id, line);
    }

    fn write_shadow(&mut self, id: LineId, password: Option<&str>, expires: Option<Option<i64>>) {
        let mut line = parsed::<Shadow<'_>>(self.shadow.line(id));
        let same = password.is_none_or(|password| password == line.password)
            && expires.is_none_or(|expires| expires == line.days[EXPIRE]);
        if same {
            return;
        }
        line.password = password.unwrap_or(line.password);
        line.days[EXPIRE] = expires.unwrap_or(line.days[EXPIRE]);
        let line = line.line();
        self.shadow.replace(id, line);
    }

    fn drop_from_group(&mut self, id: LineId, name: &str) {
        if !self.group.is_member(id, name) {
            return;
        }
        let mut group = parsed::<GroupLine<'_>>(self.group.line(id));
        group.members.retain(|member| *member != name);
        let line = group.line();
        self.group.replace(id, line);
        self.group.forget_member(name, id);
    }

    fn drop_from_gshadow(&mut self, id: LineId, name: &str, administrators: Administrators) {
        let mut group = parsed::<Gshadow<'_>>(self.gshadow.line(id));
        let before = group.members.len() + group.administrators.len();
        group.members.retain(|member| *member != name);
        if administrators == Administrators::Change {
            group
                .administrators
                .retain(|administrator| *administrator != name);
        }
        if group.members.len() + group.administrators.len() == before {
            return;
        }
        let still_named = group.administrators.contains(&name);
        let line = group.line();
        self.gshadow.replace(id, line);
        if !still_named {
            self.gshadow.forget_member(name, id);
        }
    }

    /// Puts `new` beside `old`, as administrator and as member, whichever `old` is.
    fn add_in_gshadow(&mut self, id: LineId, old: &str, new: &str) {
        let mut group = parsed::<Gshadow<'_>>(self.gshadow.line(id));
        for names in [&mut group.administrators, &mut group.members] {
            if names.contains(&old) && !names.contains(&new) {
                names.push(new);
            }
        }
        let line = group.line();
        self.gshadow.replace(id, line);
        self.gshadow.note_member(new, id);
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Administrators {
    Stay,
    Change,
}

#[derive(Clone, Copy)]
enum Primary {
    Gained,
    Lost,
    Same,
}

/// Where the password of an account stands. It may stand in both files, and then usermod changes both.
struct PasswordFields {
    passwd: LineId,
    /// The field of passwd, where it is a password.
    own: Option<String>,
    shadow: Option<(LineId, String)>,
}

trait Line<'a>: Sized {
    fn parse_line(line: &'a [u8]) -> Option<Self>;
}

macro_rules! line {
    ($($type:ident),*) => {
        $(impl<'a> Line<'a> for $type<'a> {
            fn parse_line(line: &'a [u8]) -> Option<Self> {
                Self::parse(line)
            }
        })*
    };
}

line!(Passwd, Shadow, GroupLine, Gshadow);

/// A line that is known to be an entry: that is what its [`LineId`] was found as.
fn parsed<'a, L: Line<'a>>(line: &'a [u8]) -> L {
    L::parse_line(line).expect("BUG: only entries are found by name")
}
