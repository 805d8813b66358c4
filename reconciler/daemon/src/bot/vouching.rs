//! What this machine knows of its own for owner responses: the key of its quarantines, and whose tags count.

use std::fs;
use std::io::{self, Write as _};
use std::path::Path;

use muster_core::release::answer::Signers;
use muster_core::services::evaluate::Freshness;

/// How owner responses are judged on this machine.
#[derive(Clone, Debug)]
pub struct Vouching {
    /// What quarantines are told by: known to this machine alone, and kept, so that the same is known again (LB7).
    pub key: [u8; 32],
    /// Whose tags count.
    pub signers: Signers,
    /// How old an inventory may be.
    pub freshness: Freshness,
}

/// Reads the key of this machine's quarantines at `path`, or makes it.
///
/// # Errors
/// When it can be neither read nor made, or is none: quarantines under a key that anybody can guess are told to nobody.
pub(super) fn key_at(path: &Path) -> io::Result<[u8; 32]> {
    match fs::read(path) {
        Ok(bytes) => {
            return bytes.try_into().map_err(|_| {
                io::Error::other(format!(
                    "{} is not 32 bytes long; remove it, and another one is made",
                    path.display()
                ))
            });
        }
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        Err(error) => return Err(error),
    }
    let mut key = [0; 32];
    getrandom::fill(&mut key).map_err(|error| io::Error::other(error.to_string()))?;
    let dir = path.parent().unwrap_or(Path::new("."));
    // For its owner alone, as temporary files are.
    let mut file = tempfile::NamedTempFile::new_in(dir)?;
    file.write_all(&key)?;
    file.as_file().sync_all()?;
    file.persist(path)?;
    fs::File::open(dir)?.sync_all()?;
    Ok(key)
}

/// The signers of the settings' file; none where there is no such file.
///
/// # Errors
/// What is wrong with it, or that it cannot be read: then nobody's tag counts.
pub(super) fn signers_at(path: &Path) -> Result<Signers, String> {
    match fs::read_to_string(path) {
        Ok(text) => {
            Signers::parse(&path.display().to_string(), &text).map_err(|error| error.to_string())
        }
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Signers::default()),
        Err(error) => Err(format!("{} cannot be read: {error}", path.display())),
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    /// LB7, C1: the key stays what it is over a restart, is for its owner alone, and is never a short one.
    #[test]
    fn lb7_the_key_of_quarantines_survives_a_restart() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("services.key");
        let first = key_at(&path).unwrap();
        assert_eq!(key_at(&path).unwrap(), first);
        assert_ne!(first, [0; 32]);
        let mode = fs::metadata(&path).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
        assert_ne!(key_at(&dir.path().join("other")).unwrap(), first);
        fs::write(&path, b"short").unwrap();
        let error = key_at(&path).unwrap_err().to_string();
        assert!(error.contains("remove it"), "{error}");
    }

    /// LB9: a file of signers that cannot be read stands for nobody.
    #[test]
    fn lb9_no_file_of_signers_is_nobody_and_a_wrong_one_is_told() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("signers");
        assert!(signers_at(&path).unwrap().is_empty());
        fs::write(&path, "emo ssh-dss AAAA\n").unwrap();
        assert!(signers_at(&path).unwrap_err().contains("signers:1: "));
    }
}
