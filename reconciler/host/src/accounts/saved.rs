//! What a cut changes about logging in, kept so that a way back restores exactly that.

use std::fmt;

const HEADER: &str = "muster-saved-login/1";

/// The password fields, the day of expiry and the shell of one account. It may hold a password hash: it goes into a
/// file that only root can read, through [`SavedLogin::to_secret_text`], and nowhere else.
#[derive(Clone, PartialEq, Eq)]
pub struct SavedLogin {
    /// The field of passwd: `x` where shadow has the password.
    pub(super) passwd: String,
    /// The field of shadow, where there is a line.
    pub(super) shadow: Option<String>,
    pub(super) expires: Option<i64>,
    pub(super) shell: String,
}

/// Why a saved login could not be read back.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum SavedLoginError {
    /// Something else, or from a version that this one does not know.
    #[error(
        "this is no saved login of a version that is known here; restore it with the version that wrote it"
    )]
    Unknown,
    /// It begins like one, but a line is wrong.
    #[error(
        "line {line} of the saved login is damaged; restore the file from a backup, or set shell and expiry by hand"
    )]
    Damaged {
        /// The line, counted from 1.
        line: usize,
    },
}

impl SavedLogin {
    /// The text for the file that only root can read.
    #[must_use]
    pub fn to_secret_text(&self) -> String {
        let Self {
            passwd,
            shadow,
            expires,
            shell,
        } = self;
        let shadow = shadow
            .as_ref()
            .map(|field| format!("={field}"))
            .unwrap_or_default();
        let expires = expires.map(|day| day.to_string()).unwrap_or_default();
        format!(
            "{HEADER}\npasswd {passwd}\nshadow {shadow}\nexpires {expires}\nshell {shell}\nend\n"
        )
    }

    /// Reads what [`Self::to_secret_text`] wrote.
    ///
    /// # Errors
    /// When it is anything else.
    pub fn from_secret_text(text: &str) -> Result<Self, SavedLoginError> {
        let mut lines = text.split('\n');
        if lines.next() != Some(HEADER) {
            return Err(SavedLoginError::Unknown);
        }
        let mut number = 1;
        let mut field = |key: &str| {
            number += 1;
            let damaged = SavedLoginError::Damaged { line: number };
            let value = lines
                .next()
                .and_then(|line| line.strip_prefix(key))
                .ok_or(damaged)?;
            if value.contains([':', '\0', '\r']) {
                Err(damaged)
            } else {
                Ok((value, damaged))
            }
        };
        let (passwd, _) = field("passwd ")?;
        let (shadow, damaged) = field("shadow ")?;
        let shadow = match shadow {
            "" => None,
            field => Some(field.strip_prefix('=').ok_or(damaged)?),
        };
        let (expires, damaged) = field("expires ")?;
        let expires = if expires.is_empty() {
            None
        } else {
            Some(expires.parse().map_err(|_| damaged)?)
        };
        let (shell, _) = field("shell ")?;
        let (end, damaged) = field("end")?;
        let (after, _) = field("")?;
        if !end.is_empty() || !after.is_empty() || lines.next().is_some() {
            return Err(damaged);
        }
        Ok(Self {
            passwd: passwd.to_owned(),
            shadow: shadow.map(str::to_owned),
            expires,
            shell: shell.to_owned(),
        })
    }
}

impl fmt::Debug for SavedLogin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SavedLogin { .. }")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn saved(shadow: Option<&str>, expires: Option<i64>) -> SavedLogin {
        SavedLogin {
            passwd: "x".to_owned(),
            shadow: shadow.map(str::to_owned),
            expires,
            shell: "/bin/zsh".to_owned(),
        }
    }

    #[test]
    fn reads_back_what_it_wrote() {
        for login in [
            saved(None, None),
            saved(Some(""), Some(1)),
            saved(Some("$y$j9T$salt$hash"), Some(-7)),
        ] {
            assert_eq!(
                SavedLogin::from_secret_text(&login.to_secret_text()),
                Ok(login)
            );
        }
    }

    #[test]
    fn refuses_a_damaged_text() {
        let text = saved(Some("!"), Some(20_000)).to_secret_text();
        for cut in 0..text.len() {
            assert!(
                SavedLogin::from_secret_text(&text[..cut]).is_err(),
                "{:?}",
                &text[..cut]
            );
        }
        assert_eq!(
            SavedLogin::from_secret_text("muster-saved-login/2\n"),
            Err(SavedLoginError::Unknown)
        );
        assert!(SavedLogin::from_secret_text(&format!("{text}more\n")).is_err());
        assert!(SavedLogin::from_secret_text(&text.replace("/bin/zsh", "/bin/zsh:")).is_err());
    }

    #[test]
    fn shows_nothing_of_a_hash() {
        let shown = format!("{:?}", saved(Some("$y$j9T$salt$hash"), None));
        assert!(!shown.contains('$'), "{shown}");
    }
}
