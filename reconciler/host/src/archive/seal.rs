//! Archives that only others can open: encrypted with `age` to recipients that the host's settings name.
//!
//! The program is Debian's, run by its absolute path: forty crates of cryptography and of text for people in their
//! language would otherwise run as root here. An archive is written, read back and checked before it is encrypted, and
//! what was readable is removed at once; until then it lay in the store, for root alone.

use std::fs::{self, File};
use std::io::{self, Read as _};
use std::path::{Path, PathBuf};
use std::time::Duration;

use sha2::{Digest as _, Sha256};

use super::{Error, StoredArchive};
use crate::dir::with_causes;
use crate::run;

/// What an encrypted archive's name ends in.
pub(super) const SUFFIX: &str = "age";

/// Longer than any home takes.
const LIMIT: Duration = Duration::from_secs(6 * 3_600);

/// Whom archives are encrypted to, and by what.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Seal {
    /// The absolute path of `age`.
    pub program: PathBuf,
    /// Public keys: `age1…` or those of SSH. Never empty.
    pub recipients: Vec<String>,
}

impl Seal {
    /// Encrypts the file `from` as the new file `to`.
    pub(super) fn encrypt(&self, from: &Path, to: &Path) -> Result<(), Error> {
        let (from, to) = (utf8(from)?, utf8(to)?);
        let mut arguments = vec!["--encrypt"];
        for recipient in &self.recipients {
            arguments.extend(["--recipient", recipient]);
        }
        arguments.extend(["--output", to, "--", from]);
        let output = run::run(&self.program, &arguments, LIMIT)
            .map_err(|error| Error::Sealing(with_causes(&error)))?;
        // An exit status is no evidence, but a bad one is a reason to stop.
        if !output.status.success() {
            return Err(Error::Sealing(format!(
                "{}: {}",
                self.program.display(),
                output.summary()
            )));
        }
        let size = |path: &str| {
            fs::metadata(path)
                .map(|it| it.len())
                .map_err(Error::Reading)
        };
        if size(to)? <= size(from)? {
            return Err(Error::Sealing(format!(
                "{} left a file that is too short to hold all of it",
                self.program.display()
            )));
        }
        Ok(())
    }
}

fn utf8(path: &Path) -> Result<&str, Error> {
    path.to_str()
        .ok_or_else(|| Error::Sealing(format!("{} is no UTF-8", path.display())))
}

/// The name of the archive `name` when it is encrypted.
pub(super) fn name(name: &str) -> String {
    format!("{name}.{SUFFIX}")
}

/// Size and SHA-256 of a file.
pub(super) fn digest(mut file: File) -> Result<StoredArchive, Error> {
    let mut hash = Sha256::new();
    let mut bytes = 0;
    let mut buffer = vec![0; 1 << 16];
    loop {
        match file.read(&mut buffer) {
            Ok(0) => break,
            Ok(read) => {
                hash.update(&buffer[..read]);
                bytes += read as u64;
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(Error::Reading(error)),
        }
    }
    Ok(StoredArchive {
        sha256: muster_core::bytes::hex(&hash.finalize()),
        bytes,
    })
}
