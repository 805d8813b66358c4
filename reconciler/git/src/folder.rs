//! What stands in a directory.
//!
//! The standard library's own list panics when the directory cannot be closed, which a broken disk can bring about; so nothing in the
//! house is listed with it.

use std::ffi::OsStr;
use std::fs::{self, File};
use std::io;
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};

use rustix::fs::{Dir, FileType};

/// One name in a directory.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// The directory's path and the name.
    pub path: PathBuf,
    kind: FileType,
}

impl Entry {
    /// The name.
    pub fn name(&self) -> &OsStr {
        self.path.file_name().unwrap_or_default()
    }

    /// Whether it is a directory itself; a link to one is none.
    ///
    /// # Errors
    /// Where the file system does not say it in the list, and it cannot be looked at.
    pub fn is_dir(&self) -> io::Result<bool> {
        Ok(self.kind()? == FileType::Directory)
    }

    /// Whether it is an ordinary file itself.
    ///
    /// # Errors
    /// As for [`Entry::is_dir`].
    pub fn is_file(&self) -> io::Result<bool> {
        Ok(self.kind()? == FileType::RegularFile)
    }

    fn kind(&self) -> io::Result<FileType> {
        if self.kind != FileType::Unknown {
            return Ok(self.kind);
        }
        let kind = fs::symlink_metadata(&self.path)?.file_type();
        Ok(match (kind.is_dir(), kind.is_file()) {
            (true, _) => FileType::Directory,
            (false, true) => FileType::RegularFile,
            (false, false) => FileType::Unknown,
        })
    }
}

/// All that stands in `dir`, in no order.
///
/// # Errors
/// When it cannot be opened or read.
pub fn entries(dir: &Path) -> io::Result<Vec<Entry>> {
    let listed = Dir::new(File::open(dir)?)?;
    let mut entries = Vec::new();
    for entry in listed {
        let entry = entry?;
        let name = entry.file_name().to_bytes();
        if name != b"." && name != b".." {
            entries.push(Entry {
                path: dir.join(OsStr::from_bytes(name)),
                kind: entry.file_type(),
            });
        }
    }
    Ok(entries)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_stands_there_is_what_was_put_there() {
        let dir = tempfile::tempdir().unwrap();
        fs::create_dir(dir.path().join("dir")).unwrap();
        fs::write(dir.path().join("file"), "").unwrap();
        std::os::unix::fs::symlink("dir", dir.path().join("link")).unwrap();
        let mut found: Vec<(String, bool, bool)> = entries(dir.path())
            .unwrap()
            .iter()
            .map(|it| {
                let name = it.name().to_str().unwrap().to_owned();
                (name, it.is_dir().unwrap(), it.is_file().unwrap())
            })
            .collect();
        found.sort();
        let as_told: Vec<(&str, bool, bool)> = found
            .iter()
            .map(|(name, dir, file)| (&**name, *dir, *file))
            .collect();
        assert_eq!(
            as_told,
            [
                ("dir", true, false),
                ("file", false, true),
                ("link", false, false)
            ]
        );
        assert_eq!(
            entries(&dir.path().join("none")).unwrap_err().kind(),
            io::ErrorKind::NotFound
        );
        assert_eq!(
            entries(&dir.path().join("file")).unwrap_err().kind(),
            io::ErrorKind::NotADirectory
        );
    }
}
