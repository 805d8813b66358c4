//! Edits of how somebody signs in: shell, password lock and day of expiry.

use super::{EditError, parsed};
use crate::accounts::fields::{self, EXPIRE, Passwd, Shadow};
use crate::accounts::names::check_path;
use crate::accounts::table::is_entry;
use crate::accounts::{Databases, File, LineId, SavedLogin};

impl Databases {
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

    /// Whether [`Self::lock_login`] can shut an account: it has one line in passwd, at most one in shadow, and they can be read.
    ///
    /// # Errors
    /// Says which line is in the way.
    pub fn check_login_lines(&self, name: &str) -> Result<(), EditError> {
        for (file, table) in [(File::Passwd, &self.passwd), (File::Shadow, &self.shadow)] {
            self.check_readable(file, name)?;
            if table.all_named(name).len() > 1 {
                return Err(EditError::Repeated {
                    file,
                    name: name.to_owned(),
                });
            }
        }
        Ok(())
    }

    /// What [`Self::shut_every_line`] would change of the lines that count.
    #[must_use]
    pub fn apparent_login(&self, name: &str) -> Option<SavedLogin> {
        let line = self.passwd.line(self.passwd.named(name)?);
        let passwd = Passwd::parse(line).or_else(|| Passwd::apparent(line))?;
        let shadow = self.shadow.named(name).map(|id| self.shadow.line(id));
        let field = shadow.and_then(|line| line.split(|byte| *byte == b':').nth(1));
        Some(SavedLogin {
            passwd: passwd.password.to_owned(),
            shadow: field.map(|field| String::from_utf8_lossy(field).into_owned()),
            expires: shadow
                .and_then(Shadow::parse)
                .and_then(|line| line.days[EXPIRE]),
            shell: passwd.shell.to_owned(),
        })
    }

    /// Shuts an account some lines of which cannot be edited as others are: every line of that name in passwd and shadow, as far
    /// as it can be told which field is which. A line that is too short becomes one that can be read.
    ///
    /// # Errors
    /// When the shell is no absolute path. When one line stays open, all others having been shut.
    pub fn shut_every_line(&mut self, name: &str, nologin: &str) -> Result<(), EditError> {
        check_path("shell", nologin)?;
        let mut left = None;
        for (file, count, at, value) in [(File::Passwd, 7, 6, nologin), (File::Shadow, 9, 7, "1")] {
            let table = match file {
                File::Shadow => &mut self.shadow,
                File::Passwd | File::Subuid | File::Subgid | File::Group | File::Gshadow => {
                    &mut self.passwd
                }
            };
            for id in table.all_named(name) {
                let line = table.line(id);
                let shut = fields::shut(line, count, at, value);
                if shut.as_deref().is_none_or(|line| !is_entry(file, line)) {
                    left = Some(EditError::Malformed {
                        file,
                        line: table.number(id).unwrap_or_default(),
                        name: name.to_owned(),
                    });
                }
                let text = shut.unwrap_or_else(|| fields::locked_line(table.line(id)));
                table.replace(id, text);
            }
        }
        left.map_or(Ok(()), Err)
    }

    /// Brings back what [`Self::lock_login`] changed: password field, day of expiry and shell, as they were.
    ///
    /// What somebody else set since stays as they set it: a password is changed because the old one is no longer to open anything.
    /// A lock that came on top of a new one is taken off.
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
        let now = parsed::<Passwd<'_>>(self.passwd.line(id))
            .password
            .to_owned();
        let passwd = opened(passwd, &now).to_owned();
        self.write_passwd(id, Some(&passwd), Some(shell));
        if let Some((id, field)) = shadow_line {
            let now = parsed::<Shadow<'_>>(self.shadow.line(id))
                .password
                .to_owned();
            let field = opened(field, &now).to_owned();
            self.write_shadow(id, Some(&field), Some(*expires));
        }
        Ok(())
    }

    fn shadow_line(&self, name: &str) -> Result<LineId, EditError> {
        self.optional_line_of(File::Shadow, name)?
            .ok_or_else(|| EditError::NoShadowLine {
                name: name.to_owned(),
            })
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
}

/// The password field with which a login is opened: the one that was saved, unless somebody set another one in between.
fn opened<'f>(saved: &'f str, now: &'f str) -> &'f str {
    let as_locked = now == saved || now.strip_prefix('!') == Some(saved);
    if as_locked {
        return saved;
    }
    match now.strip_prefix('!') {
        // Without anything behind the lock, taking it off would let anybody in.
        None if now.is_empty() => saved,
        Some(behind) if !behind.is_empty() && !behind.starts_with(['!', '*']) => behind,
        None | Some(_) => now,
    }
}

/// Where the password of an account stands. It may stand in both files, and then usermod changes both.
struct PasswordFields {
    passwd: LineId,
    /// The field of passwd, where it is a password.
    own: Option<String>,
    shadow: Option<(LineId, String)>,
}
