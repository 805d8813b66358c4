//! References in git's files format, read and replaced without any configuration.
//!
//! A loose file wins over `packed-refs`. A write follows git's own protocol: `<name>.lock` made exclusively, the current
//! value compared, the lock renamed over the file. Only regular files are opened, and no symbolic link is followed.

use std::collections::BTreeMap;
use std::fs::{self, File, OpenOptions};
use std::io::{self, ErrorKind, Read, Write};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

use gix::hash::{Kind, ObjectId};
use nix::fcntl::OFlag;

use crate::folder;
use crate::sync::{Durability, sync_dir};

/// The largest `packed-refs` that is read: some 800,000 references.
const PACKED_LIMIT: u64 = 64 << 20;

#[derive(Debug, thiserror::Error)]
pub(crate) enum RefError {
    #[error("cannot use {}", path.display())]
    Io { path: PathBuf, source: io::Error },
    #[error("the reference {name} is broken: it holds no object id")]
    Broken { name: String },
    #[error(
        "the reference {name} is locked by another process; if no git runs there, remove {name}.lock"
    )]
    Locked { name: String },
    #[error("the reference {name} was changed by somebody else meanwhile")]
    Raced {
        name: String,
        found: Option<ObjectId>,
    },
}

impl RefError {
    fn io(path: &Path) -> impl FnOnce(io::Error) -> RefError {
        move |source| RefError::Io {
            path: path.to_owned(),
            source,
        }
    }
}

/// What was found below a prefix.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Listed {
    /// Each reference and its object, by full name.
    pub(crate) found: BTreeMap<String, ObjectId>,
    /// References that cannot be used: no legal name, no valid id, no regular file. Escaped names.
    pub(crate) unread: Vec<String>,
}

enum Value {
    Id(ObjectId),
    Symbolic(String),
    Broken,
}

/// Opens a regular file for reading; a symbolic link, a pipe or a device is an error, and never blocks.
pub(crate) fn open_regular(path: &Path) -> io::Result<File> {
    let flags = OFlag::O_NOFOLLOW | OFlag::O_NONBLOCK;
    let file = OpenOptions::new()
        .read(true)
        .custom_flags(flags.bits())
        .open(path)?;
    if file.metadata()?.is_file() {
        Ok(file)
    } else {
        Err(io::Error::other("not a regular file"))
    }
}

/// Reads a regular file of at most `limit` bytes; `None` when there is none.
pub(crate) fn read_regular(path: &Path, limit: u64) -> io::Result<Option<Vec<u8>>> {
    let file = match open_regular(path) {
        Ok(file) => file,
        Err(error)
            if matches!(
                error.kind(),
                ErrorKind::NotFound | ErrorKind::NotADirectory | ErrorKind::IsADirectory
            ) =>
        {
            return Ok(None);
        }
        Err(error) => return Err(error),
    };
    let mut bytes = Vec::new();
    file.take(limit + 1).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > limit {
        return Err(io::Error::other(format!("larger than {limit} bytes")));
    }
    Ok(Some(bytes))
}

/// The object that `name` points to; symbolic references are followed within `refs/`.
pub(crate) fn read(common: &Path, name: &str, kind: Kind) -> Result<Option<ObjectId>, RefError> {
    let mut at = name.to_owned();
    for _ in 0..5 {
        match read_once(common, &at, kind)? {
            None => return Ok(None),
            Some(Value::Id(id)) => return Ok(Some(id)),
            Some(Value::Symbolic(target)) => at = target,
            Some(Value::Broken) => return Err(RefError::Broken { name: at }),
        }
    }
    Err(RefError::Broken {
        name: name.to_owned(),
    })
}

/// The object that HEAD of the work tree with this git directory points to; `None` when its branch has no commit yet.
pub(crate) fn head(
    git_dir: &Path,
    common: &Path,
    kind: Kind,
) -> Result<Option<ObjectId>, RefError> {
    match read_once(git_dir, "HEAD", kind)? {
        None => Ok(None),
        Some(Value::Id(id)) => Ok(Some(id)),
        Some(Value::Symbolic(target)) => read(common, &target, kind),
        Some(Value::Broken) => Err(RefError::Broken {
            name: "HEAD".to_owned(),
        }),
    }
}

fn read_once(common: &Path, name: &str, kind: Kind) -> Result<Option<Value>, RefError> {
    let path = common.join(name);
    match read_regular(&path, 4_096) {
        Ok(Some(bytes)) => return Ok(Some(loose_value(&bytes, kind))),
        Ok(None) => {}
        Err(error) if error.raw_os_error().is_some() => {
            return Err(RefError::Io {
                path,
                source: error,
            });
        }
        Err(_) => return Ok(Some(Value::Broken)),
    }
    Ok(packed(common, kind)?
        .found
        .get(name)
        .map(|id| Value::Id(*id)))
}

fn loose_value(bytes: &[u8], kind: Kind) -> Value {
    let Ok(text) = std::str::from_utf8(bytes) else {
        return Value::Broken;
    };
    let text = text.trim_end_matches(['\n', ' ', '\r']);
    if let Some(target) = text.strip_prefix("ref:") {
        let target = target.trim_start();
        return if is_legal(target) {
            Value::Symbolic(target.to_owned())
        } else {
            Value::Broken
        };
    }
    parse_id(text, kind).map_or(Value::Broken, Value::Id)
}

fn parse_id(text: &str, kind: Kind) -> Option<ObjectId> {
    (text.len() == kind.len_in_hex())
        .then(|| ObjectId::from_hex(text.as_bytes()).ok())
        .flatten()
        .filter(|id| !id.is_null())
}

/// Whether `name` is a full reference name that git accepts.
pub(crate) fn is_legal(name: &str) -> bool {
    name.starts_with("refs/") && gix::validate::reference::name(name.into()).is_ok()
}

fn packed(common: &Path, kind: Kind) -> Result<Listed, RefError> {
    packed_where(common, kind, |_| true)
}

/// The packed references that are `wanted`. The lines of the others are not parsed.
fn packed_where(
    common: &Path,
    kind: Kind,
    wanted: impl Fn(&str) -> bool,
) -> Result<Listed, RefError> {
    let path = common.join("packed-refs");
    let bytes = read_regular(&path, PACKED_LIMIT)
        .map_err(RefError::io(&path))?
        .unwrap_or_default();
    let mut listed = Listed::default();
    for line in bytes.split(|byte| *byte == b'\n') {
        if line.is_empty() || line.starts_with(b"#") || line.starts_with(b"^") {
            continue;
        }
        let parsed = std::str::from_utf8(line).ok().and_then(|line| {
            let (hex, name) = line.split_once(' ')?;
            if !wanted(name) {
                return Some(None);
            }
            Some(Some((name, parse_id(hex, kind)?))).filter(|_| is_legal(name))
        });
        match parsed {
            Some(Some((name, id))) => {
                listed.found.insert(name.to_owned(), id);
            }
            Some(None) => {}
            None => listed.unread.push(line.escape_ascii().to_string()),
        }
    }
    Ok(listed)
}

/// Every reference below `prefix` (such as `refs/heads/`).
pub(crate) fn list(common: &Path, prefix: &str, kind: Kind) -> Result<Listed, RefError> {
    // Loose files first: one that is packed and pruned while we look is then in the packed file that is read later.
    let mut loose = Vec::new();
    let mut unread = Vec::new();
    for path in files_below(&common.join(prefix))? {
        let relative = path.strip_prefix(common).unwrap_or(&path).as_os_str();
        let escaped = || relative.as_encoded_bytes().escape_ascii().to_string();
        match relative.to_str().filter(|name| is_legal(name)) {
            None => unread.push(escaped()),
            Some(name) => match read_regular(&path, 4_096) {
                Ok(Some(bytes)) => loose.push((name.to_owned(), loose_value(&bytes, kind))),
                Ok(None) => {}
                Err(_) => unread.push(escaped()),
            },
        }
    }
    let mut listed = packed(common, kind)?;
    listed.found.retain(|name, _| name.starts_with(prefix));
    listed.unread.retain(|line| line.contains(prefix));
    let mut symbolic = Vec::new();
    for (name, value) in loose {
        match value {
            Value::Id(id) => {
                listed.found.insert(name, id);
            }
            Value::Symbolic(target) => symbolic.push((name, target)),
            Value::Broken => {
                listed.found.remove(&name);
                unread.push(name);
            }
        }
    }
    for (name, target) in symbolic {
        match listed.found.get(&target).copied() {
            Some(id) => {
                listed.found.insert(name, id);
            }
            None => unread.push(name),
        }
    }
    listed.unread.append(&mut unread);
    Ok(listed)
}

/// The references directly below `dirs` (such as `refs/tags/release/`) that are `wanted`, by full name. Others are not
/// opened. One that cannot be read is left out: nobody is promised anything by it.
pub(crate) fn list_flat(
    common: &Path,
    dirs: &[String],
    kind: Kind,
    wanted: impl Fn(&str) -> bool,
) -> Result<BTreeMap<String, ObjectId>, RefError> {
    let mut loose = BTreeMap::new();
    for dir in dirs {
        let path = common.join(dir);
        let entries = match folder::entries(&path) {
            Ok(entries) => entries,
            Err(error)
                if matches!(error.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory) =>
            {
                continue;
            }
            Err(source) => return Err(RefError::Io { path, source }),
        };
        for entry in entries {
            let Some(name) = entry.name().to_str().map(|name| format!("{dir}{name}")) else {
                continue;
            };
            if !wanted(&name) || !is_legal(&name) {
                continue;
            }
            if let Ok(Some(bytes)) = read_regular(&entry.path, 4_096)
                && let Value::Id(id) = loose_value(&bytes, kind)
            {
                loose.insert(name, id);
            }
        }
    }
    let mut found = packed_where(common, kind, wanted)?.found;
    found.append(&mut loose);
    Ok(found)
}

/// The files below `root`, without lock files; a symbolic link counts as a file (and is not followed).
fn files_below(root: &Path) -> Result<Vec<PathBuf>, RefError> {
    let mut files = Vec::new();
    let mut todo = vec![root.to_owned()];
    while let Some(dir) = todo.pop() {
        let entries = match folder::entries(&dir) {
            Ok(entries) => entries,
            Err(error) if error.kind() == ErrorKind::NotFound => continue,
            Err(source) => return Err(RefError::Io { path: dir, source }),
        };
        for entry in entries {
            match entry.is_dir() {
                Ok(true) => todo.push(entry.path),
                Ok(false) if entry.name().as_encoded_bytes().ends_with(b".lock") => {}
                Ok(false) => files.push(entry.path),
                Err(error) if error.kind() == ErrorKind::NotFound => {}
                Err(source) => {
                    return Err(RefError::Io {
                        path: entry.path,
                        source,
                    });
                }
            }
        }
    }
    Ok(files)
}

/// The directories below `root`, itself first; none when it is missing.
pub(crate) fn dirs_below(root: &Path) -> Vec<PathBuf> {
    let mut dirs = vec![root.to_owned()];
    let mut next = 0;
    while let Some(dir) = dirs.get(next).cloned() {
        next += 1;
        let entries = folder::entries(&dir).unwrap_or_default().into_iter();
        dirs.extend(
            entries
                .filter(|entry| entry.is_dir().is_ok_and(|it| it))
                .map(|entry| entry.path),
        );
    }
    dirs
}

/// Replaces `name`, which must now be `expected`, by `new`. With [`Durability::Synced`] it has reached the disk when this
/// returns: after a power loss the reference is either the old or the new.
pub(crate) fn replace(
    common: &Path,
    name: &str,
    expected: Option<ObjectId>,
    new: ObjectId,
    durability: Durability,
) -> Result<(), RefError> {
    let path = common.join(name);
    let parent = path.parent().unwrap_or(common).to_owned();
    make_dirs(common, &parent, durability)?;
    let lock = common.join(format!("{name}.lock"));
    let mut file = match OpenOptions::new().write(true).create_new(true).open(&lock) {
        Ok(file) => file,
        Err(error) if error.kind() == ErrorKind::AlreadyExists => {
            return Err(RefError::Locked {
                name: name.to_owned(),
            });
        }
        Err(source) => return Err(RefError::Io { path: lock, source }),
    };
    let written = (|| {
        let found = read(common, name, new.kind())?;
        if found != expected {
            return Err(RefError::Raced {
                name: name.to_owned(),
                found,
            });
        }
        let mode = parent.metadata().map_err(RefError::io(&parent))?.mode() & 0o666;
        writeln!(file, "{new}").map_err(RefError::io(&lock))?;
        file.set_permissions(fs::Permissions::from_mode(mode))
            .map_err(RefError::io(&lock))?;
        if durability == Durability::Synced {
            file.sync_all().map_err(RefError::io(&lock))?;
        }
        // An empty directory that a deleted reference left behind is in the way of the file; a full one is an error.
        if path.is_dir() {
            fs::remove_dir(&path).map_err(RefError::io(&path))?;
        }
        fs::rename(&lock, &path).map_err(RefError::io(&path))
    })();
    if written.is_err() {
        // Ours: made above, and not renamed. When even this fails, the next writer reports the lock.
        let _ = fs::remove_file(&lock);
    }
    written?;
    if durability == Durability::Synced {
        sync_dir(&parent).map_err(RefError::io(&parent))?;
    }
    Ok(())
}

/// Removes a loose reference of a repository that only we write, and the directories it leaves empty.
pub(crate) fn forget(common: &Path, name: &str) -> io::Result<()> {
    let path = common.join(name);
    match fs::remove_file(&path) {
        Err(error) if error.kind() != ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let parents = path
        .ancestors()
        .skip(1)
        .take_while(|dir| *dir != common.join("refs") && *dir != common);
    for dir in parents {
        if fs::remove_dir(dir).is_err() {
            break;
        }
    }
    Ok(())
}

/// Makes `dir` below `common`, each new directory with its parent's mode.
fn make_dirs(common: &Path, dir: &Path, durability: Durability) -> Result<(), RefError> {
    if dir == common || dir.is_dir() {
        return Ok(());
    }
    let parent = dir.parent().unwrap_or(common);
    make_dirs(common, parent, durability)?;
    let mode = parent.metadata().map_err(RefError::io(parent))?.mode() & 0o7777;
    match fs::DirBuilder::new().mode(mode).create(dir) {
        Ok(()) => {
            fs::set_permissions(dir, fs::Permissions::from_mode(mode)).map_err(RefError::io(dir))?
        }
        Err(error) if error.kind() == ErrorKind::AlreadyExists && dir.is_dir() => {}
        Err(source) => {
            return Err(RefError::Io {
                path: dir.to_owned(),
                source,
            });
        }
    }
    match durability {
        Durability::Synced => sync_dir(parent).map_err(RefError::io(parent)),
        Durability::Cache => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id(byte: u8) -> ObjectId {
        ObjectId::from_bytes_or_panic(&[byte; 20])
    }

    #[test]
    fn a_write_needs_the_value_it_expects() {
        let dir = tempfile::tempdir().unwrap();
        fs::create_dir(dir.path().join("refs")).unwrap();
        let name = "refs/muster/host/devvm";
        replace(dir.path(), name, None, id(1), Durability::Synced).unwrap();
        assert_eq!(read(dir.path(), name, Kind::Sha1).unwrap(), Some(id(1)));
        let raced = replace(dir.path(), name, None, id(2), Durability::Synced).unwrap_err();
        assert!(matches!(raced, RefError::Raced { found: Some(found), .. } if found == id(1)));
        replace(dir.path(), name, Some(id(1)), id(2), Durability::Synced).unwrap();
        assert_eq!(read(dir.path(), name, Kind::Sha1).unwrap(), Some(id(2)));
        assert!(!dir.path().join("refs/muster/host/devvm.lock").exists());
    }

    #[test]
    fn a_lock_of_somebody_else_is_respected() {
        let dir = tempfile::tempdir().unwrap();
        fs::create_dir(dir.path().join("refs")).unwrap();
        fs::write(dir.path().join("refs/x.lock"), "").unwrap();
        assert!(matches!(
            replace(dir.path(), "refs/x", None, id(1), Durability::Cache),
            Err(RefError::Locked { .. })
        ));
        assert!(dir.path().join("refs/x.lock").exists());
    }

    #[test]
    fn loose_wins_over_packed_and_what_is_broken_is_named() {
        let dir = tempfile::tempdir().unwrap();
        let heads = dir.path().join("refs/heads");
        fs::create_dir_all(&heads).unwrap();
        let packed = format!(
            "# pack-refs with: peeled\n{} refs/heads/a\n{} refs/heads/b\n^{}\n",
            id(1),
            id(1),
            id(9)
        );
        fs::write(dir.path().join("packed-refs"), packed).unwrap();
        fs::write(heads.join("b"), format!("{}\n", id(2))).unwrap();
        fs::write(heads.join("alias"), "ref: refs/heads/a\n").unwrap();
        fs::write(heads.join("empty"), "").unwrap();
        fs::write(heads.join("c.lock"), "").unwrap();
        std::os::unix::fs::symlink("/etc/passwd", heads.join("link")).unwrap();
        let listed = list(dir.path(), "refs/heads/", Kind::Sha1).unwrap();
        let found: Vec<_> = listed
            .found
            .iter()
            .map(|(name, id)| (name.as_str(), *id))
            .collect();
        assert_eq!(
            found,
            [
                ("refs/heads/a", id(1)),
                ("refs/heads/alias", id(1)),
                ("refs/heads/b", id(2))
            ]
        );
        let mut unread = listed.unread;
        unread.sort();
        assert_eq!(unread, ["refs/heads/empty", "refs/heads/link"]);
        assert!(matches!(
            read(dir.path(), "refs/heads/empty", Kind::Sha1),
            Err(RefError::Broken { .. })
        ));
    }
}
