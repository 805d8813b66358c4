//! Edits of groups and their members, in group and gshadow.

use super::{EditError, Primary, parsed};
use crate::accounts::fields::{Group as GroupLine, Gshadow};
use crate::accounts::names::check_name;
use crate::accounts::{Databases, File, LineId};

impl Databases {
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

    pub(super) fn add_group(&mut self, name: &str, password: &str, gid: u32) {
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
    pub(super) fn add_gshadow(&mut self, name: &str) {
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

    pub(super) fn drop_from_group(&mut self, id: LineId, name: &str) {
        if !self.group.is_member(id, name) {
            return;
        }
        let mut group = parsed::<GroupLine<'_>>(self.group.line(id));
        group.members.retain(|member| *member != name);
        let line = group.line();
        self.group.replace(id, line);
        self.group.forget_member(name, id);
    }

    pub(super) fn drop_from_gshadow(
        &mut self,
        id: LineId,
        name: &str,
        administrators: Administrators,
    ) {
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
    pub(super) fn add_in_gshadow(&mut self, id: LineId, old: &str, new: &str) {
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

/// What becomes of somebody as an administrator of a group whose members change.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Administrators {
    Stay,
    Change,
}
