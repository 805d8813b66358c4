//! The bare repositories that muster itself makes: their directories and their configuration.

use std::fs;
use std::io;
use std::os::unix::fs::DirBuilderExt;
use std::path::Path;

use gix::hash::Kind;

use crate::sync;

/// What becomes of a repository.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Use {
    /// It is kept, and has to stand after a crash.
    Kept,
    /// It is thrown away after one look: nothing of it is waited for until it is on the disk.
    OneLook,
}

/// Makes the directories and files of a bare repository that are missing, and sets its configuration.
pub(crate) fn create(dir: &Path, kind: Kind, settings: &str) -> io::Result<()> {
    create_for(Use::Kept, dir, kind, settings)
}

/// The same for one of a certain use.
pub(crate) fn create_for(of: Use, dir: &Path, kind: Kind, settings: &str) -> io::Result<()> {
    let put = |name: &str, content: &[u8]| match of {
        Use::Kept => sync::replace_file(&dir.join(name), content),
        Use::OneLook => fs::write(dir.join(name), content),
    };
    // The state repository and the ledger tell about people: only we may look.
    fs::DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(dir)?;
    for below in ["objects/info", "objects/pack", "refs"] {
        fs::create_dir_all(dir.join(below))?;
    }
    // A branch that never exists: HEAD is only there because git asks for it.
    put("HEAD", b"ref: refs/heads/none\n")?;
    let format = match kind {
        Kind::Sha256 => "sha256",
        _ => "sha1",
    };
    let settings = settings.replacen("[core]\n", "[core]\n\trepositoryformatversion = 1\n", 1);
    let config = format!(
        "# Written by muster; changes are undone.\n[extensions]\n\tobjectFormat = {format}\n{settings}"
    );
    put("config", config.as_bytes())
}

/// The kind of ids that the repository in `dir` has; SHA-1 when there is none yet.
pub(crate) fn object_format(dir: &Path) -> Kind {
    let config = fs::read_to_string(dir.join("config")).unwrap_or_default();
    if config.contains("objectFormat = sha256\n") {
        Kind::Sha256
    } else {
        Kind::Sha1
    }
}

/// Removes every reference that muster keeps there.
pub(crate) fn remove_refs(dir: &Path) -> io::Result<()> {
    for below in ["refs/muster", "packed-refs"] {
        let path = dir.join(below);
        let removed = if path.is_dir() {
            fs::remove_dir_all(&path)
        } else {
            fs::remove_file(&path)
        };
        match removed {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
    }
    Ok(())
}
