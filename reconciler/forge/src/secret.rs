//! Tokens, private keys and webhook secrets: read from files, shown nowhere.

use std::collections::VecDeque;
use std::fmt;
use std::fs::OpenOptions;
use std::io::{self, Read};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use nix::fcntl::OFlag;
use nix::unistd::geteuid;
use zeroize::Zeroizing;

/// The largest file that is taken for a secret, in bytes.
const LARGEST: u64 = 64 * 1024;

/// Bytes that nobody is shown. Overwritten when let go of.
#[derive(Clone)]
pub struct Secret(Zeroizing<Vec<u8>>);

impl Secret {
    /// Takes bytes for a secret, without the line end that editors leave.
    pub fn new(bytes: Vec<u8>) -> Self {
        let mut bytes = Zeroizing::new(bytes);
        while bytes.last().is_some_and(|it| matches!(it, b'\n' | b'\r')) {
            bytes.pop();
        }
        Self(bytes)
    }

    /// The bytes, for whoever computes with them or sends them.
    pub fn expose(&self) -> &[u8] {
        &self.0
    }

    /// Whether there is nothing to keep.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// As the text of a header, where it can be one.
    pub(crate) fn as_token(&self) -> Option<&str> {
        std::str::from_utf8(&self.0)
            .ok()
            .filter(|it| !it.is_empty() && it.bytes().all(plain))
    }
}

/// What may stand in a token. Every forge's are plainer; a quotation mark would hide it from whoever looks for it in a text.
fn plain(byte: u8) -> bool {
    byte.is_ascii_graphic() && !matches!(byte, b'"' | b'\\')
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("[secret]")
    }
}

/// The secrets that were used last, to be redacted from every text.
#[derive(Default)]
pub(crate) struct RecentSecrets(VecDeque<Secret>);

impl RecentSecrets {
    pub(crate) fn remember(&mut self, secret: &Secret) {
        if !self.0.iter().any(|it| it.expose() == secret.expose()) {
            self.0.push_back(secret.clone());
            if self.0.len() > 8 {
                self.0.pop_front();
            }
        }
    }

    pub(crate) fn redact(&self, text: String) -> String {
        let mut text = text;
        for secret in &self.0 {
            if let Some(word) = secret.as_token()
                && text.contains(word)
            {
                text = text.replace(word, "[secret]");
            }
        }
        text
    }
}

/// Where a secret lies. It is read again when the forge no longer accepts it, so that a new one needs no restart.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SecretFile(Place);

#[derive(Clone, Debug, PartialEq, Eq)]
enum Place {
    At(PathBuf),
    /// The service manager has it, and handed nothing over to this process.
    Elsewhere(PathBuf),
}

/// Why a secret cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum SecretError {
    /// It is not there, or cannot be read.
    #[error("the secret in {} cannot be read", .path.display())]
    Read {
        /// Where it should be.
        path: PathBuf,
        /// Why not.
        source: io::Error,
    },
    /// Others may read or write it.
    #[error("the secret in {} is not safe there: {problem}", .path.display())]
    Unsafe {
        /// Where it is.
        path: PathBuf,
        /// What is wrong, and what to do.
        problem: &'static str,
    },
    /// There is nothing in it, or something else.
    #[error("the secret in {} cannot be used: {problem}", .path.display())]
    Unusable {
        /// Where it is.
        path: PathBuf,
        /// What is wrong.
        problem: &'static str,
    },
    /// A credential that the service manager has, and this process was not given.
    #[error(
        "the credential `{}` was not handed over: have the unit load it (LoadCredential=), or name a file by its absolute path",
        .0.display()
    )]
    NotHandedOver(PathBuf),
    /// Not the name of a credential.
    #[error("`{}` is not the name of a credential: use letters, digits, `-`, `_` and `.`", .0.escape_debug())]
    Name(String),
}

impl SecretFile {
    /// A file of root's, or of the user we run as.
    pub fn at(path: impl Into<PathBuf>) -> Self {
        Self(Place::At(path.into()))
    }

    /// A credential that the service manager hands over; `directory` is what `$CREDENTIALS_DIRECTORY` says. Where it says
    /// nothing, as for a person at the console, it cannot be read, and nothing else is in the way.
    ///
    /// # Errors
    /// When `name` could mean a file elsewhere.
    pub fn credential(directory: Option<&Path>, name: &str) -> Result<Self, SecretError> {
        let plain = name
            .bytes()
            .all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b'.'));
        if plain && !name.is_empty() && !name.starts_with('.') && name.len() <= 255 {
            Ok(Self(match directory {
                Some(directory) => Place::At(directory.join(name)),
                None => Place::Elsewhere(name.into()),
            }))
        } else {
            Err(SecretError::Name(name.chars().take(80).collect()))
        }
    }

    /// Where it lies; of a credential that was not handed over, its name.
    pub fn path(&self) -> &Path {
        match &self.0 {
            Place::At(path) | Place::Elsewhere(path) => path,
        }
    }

    /// Reads it. What is judged is the open file, not the name.
    ///
    /// # Errors
    /// When it is not there, or somebody else could have written it or may read it, or there is nothing in it.
    pub fn read(&self) -> Result<Secret, SecretError> {
        let path = match &self.0 {
            Place::At(path) => path,
            Place::Elsewhere(name) => return Err(SecretError::NotHandedOver(name.clone())),
        };
        let path = || path.clone();
        let not_read = |source| SecretError::Read {
            path: path(),
            source,
        };
        let not_safe = |problem| SecretError::Unsafe {
            path: path(),
            problem,
        };
        let file = OpenOptions::new()
            .read(true)
            // A pipe under that name must not make us wait.
            .custom_flags(OFlag::O_NONBLOCK.bits())
            .open(path())
            .map_err(not_read)?;
        let meta = file.metadata().map_err(not_read)?;
        if !meta.is_file() {
            return Err(not_safe("it is no regular file; put the secret into one"));
        }
        if meta.uid() != 0 && meta.uid() != geteuid().as_raw() {
            return Err(not_safe("it belongs to somebody else; chown it to root"));
        }
        if meta.mode() & 0o027 != 0 {
            return Err(not_safe(
                "others may read it, or its group may write it; chmod it to 0600",
            ));
        }
        let mut bytes = Vec::with_capacity(4_096);
        let read = file.take(LARGEST + 1).read_to_end(&mut bytes);
        let secret = Secret::new(bytes);
        let length = read.map_err(not_read)?;
        let unusable = |problem| SecretError::Unusable {
            path: path(),
            problem,
        };
        if length as u64 > LARGEST {
            return Err(unusable(
                "it is larger than 64 KiB; name the file that holds the secret alone",
            ));
        }
        if secret.is_empty() {
            return Err(unusable("it is empty; write the secret into it"));
        }
        Ok(secret)
    }
}

#[cfg(test)]
mod tests {
    use std::fs::{self, Permissions};
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    #[test]
    fn a_secret_is_read_from_a_file_that_nobody_else_can_read_or_write() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("token");
        let file = SecretFile::at(&path);
        assert!(matches!(file.read(), Err(SecretError::Read { .. })));
        fs::write(&path, "canary-1234\n").unwrap();
        for (mode, safe) in [
            (0o600, true),
            (0o400, true),
            (0o440, true),
            (0o604, false),
            (0o660, false),
            (0o602, false),
        ] {
            fs::set_permissions(&path, Permissions::from_mode(mode)).unwrap();
            match file.read() {
                Ok(secret) => assert!(safe && secret.expose() == b"canary-1234", "{mode:o}"),
                Err(error) => {
                    assert!(!safe, "{mode:o}");
                    assert!(error.to_string().contains("chmod"), "{error}");
                }
            }
        }
        fs::set_permissions(&path, Permissions::from_mode(0o600)).unwrap();
        fs::write(&path, "\n").unwrap();
        assert!(matches!(file.read(), Err(SecretError::Unusable { .. })));
        fs::write(&path, vec![b'x'; 70_000]).unwrap();
        assert!(matches!(file.read(), Err(SecretError::Unusable { .. })));
        if geteuid().is_root() {
            std::os::unix::fs::chown(&path, Some(54_321), None).unwrap();
            assert!(matches!(file.read(), Err(SecretError::Unsafe { .. })));
        }
        assert!(matches!(
            SecretFile::at(dir.path()).read(),
            Err(SecretError::Unsafe { .. } | SecretError::Read { .. })
        ));
        nix::unistd::mkfifo(
            &dir.path().join("pipe"),
            nix::sys::stat::Mode::from_bits_truncate(0o600),
        )
        .unwrap();
        let pipe = SecretFile::at(dir.path().join("pipe")).read();
        assert!(matches!(pipe, Err(SecretError::Unsafe { .. })));
    }

    #[test]
    fn a_secret_shows_itself_to_nobody() {
        let secret = Secret::new(b"canary-1234".to_vec());
        assert_eq!(format!("{secret:?} {secret:#?}"), "[secret] [secret]");
    }

    #[test]
    fn a_credential_is_a_file_in_its_directory() {
        let dir = Path::new("/run/credentials/muster.service");
        let file = SecretFile::credential(Some(dir), "app-key.pem").unwrap();
        assert_eq!(file.path(), dir.join("app-key.pem"));
        let file = SecretFile::credential(None, "app-key.pem").unwrap();
        let error = file.read().unwrap_err();
        assert!(matches!(error, SecretError::NotHandedOver(_)));
        assert!(error.to_string().contains("`app-key.pem`"), "{error}");
        for name in ["", "..", "../x", "a/b", ".hidden", "a b"] {
            assert!(SecretFile::credential(Some(dir), name).is_err(), "{name:?}");
        }
    }
}
