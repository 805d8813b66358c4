//! Renaming an account, in two batches.

use super::groups::Administrators;
use super::{EditError, parsed};
use crate::accounts::fields::{Group as GroupLine, Gshadow, Passwd, Shadow};
use crate::accounts::names::check_name;
use crate::accounts::subordinate::Order;
use crate::accounts::{Databases, File, LineId};

impl Databases {
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

    pub(super) fn is_group(&self, name: &str, gid: u32) -> bool {
        self.group
            .entry(name)
            .is_some_and(|id| parsed::<GroupLine<'_>>(self.group.line(id)).gid == gid)
    }

    fn private_group(&self, name: &str, gid: u32) -> Result<Option<LineId>, EditError> {
        let line = self.optional_line_of(File::Group, name)?;
        Ok(line.filter(|id| parsed::<GroupLine<'_>>(self.group.line(*id)).gid == gid))
    }
}
