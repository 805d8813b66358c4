//! API tokens.

use std::fmt;

use zeroize::Zeroizing;

use crate::wire::OpenError;

/// An API token: `user@realm!id=secret`.
#[derive(Clone)]
pub struct Token(pub(super) Zeroizing<String>);

impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("[token]")
    }
}

impl Token {
    /// Takes a token as Proxmox VE shows it once: `user@realm!id=secret`.
    ///
    /// # Errors
    /// When it has another form; what is wrong is said without a word of it.
    pub fn parse(text: &str) -> std::result::Result<Self, OpenError> {
        let text = text.trim_end_matches(['\n', '\r']);
        let wrong = |problem: &str| {
            OpenError::Credential(format!(
                "a token is one line like `muster@pve!everyday=…`, and this one {problem}"
            ))
        };
        let (who, secret) = text
            .split_once('=')
            .ok_or_else(|| wrong("has no `=` between its name and its secret"))?;
        let (user, id) = who
            .split_once('!')
            .ok_or_else(|| wrong("has no `!` between user and token"))?;
        if !user.contains('@') {
            return Err(wrong("names no realm, as in `muster@pve`"));
        }
        let plain = |it: &str| !it.is_empty() && it.bytes().all(|b| b.is_ascii_graphic());
        if !plain(user) || !plain(id) || !plain(secret) {
            return Err(wrong("has a part that is empty or not plain ASCII"));
        }
        Ok(Self(Zeroizing::new(text.to_owned())))
    }

    /// The name of the token, without its secret: `user@realm!id`.
    pub fn name(&self) -> &str {
        self.0.split_once('=').map_or("", |(name, _)| name)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_has_a_user_a_realm_an_id_and_a_secret() {
        let token = Token::parse("muster@pve!everyday=0-canary\n").unwrap();
        assert_eq!(token.name(), "muster@pve!everyday");
        assert_eq!(format!("{token:?}"), "[token]");
        for bad in [
            "",
            "canary",
            "muster@pve=canary",
            "muster!x=canary",
            "muster@pve!x=",
            "muster@pve!x=can ary",
        ] {
            let error = Token::parse(bad).unwrap_err().to_string();
            assert!(!error.contains("canary"), "{error}");
        }
    }
}
