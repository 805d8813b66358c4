//! The root of trust on disk: one root-owned file beside the settings, in no repository (invariant 3).

use std::fs::{self, DirBuilder, File};
use std::io::{self, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, MetadataExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use muster_core::release::root::TrustRoot;
use muster_core::world::TrustStore;

use crate::settings::read_guarded;

/// The file, and what was last read there.
#[derive(Debug)]
pub struct TrustFile {
    path: PathBuf,
    read: Option<(Stamp, Arc<TrustRoot>)>,
}

/// Device, inode, size and times of the file, its owner and mode: when they stay, so does what it says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Stamp([u64; 9]);

impl Stamp {
    fn of(path: &Path) -> Option<Self> {
        let it = fs::symlink_metadata(path).ok()?;
        Some(Self([
            it.dev(),
            it.ino(),
            it.size(),
            it.mtime().cast_unsigned(),
            it.mtime_nsec().cast_unsigned(),
            it.ctime().cast_unsigned(),
            it.ctime_nsec().cast_unsigned(),
            u64::from(it.uid()),
            u64::from(it.mode()),
        ]))
    }
}

impl TrustFile {
    /// The root of trust at `path`.
    pub fn at(path: &Path) -> Self {
        Self {
            path: path.to_owned(),
            read: None,
        }
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Writes the text of a root in place of what is there; durable when this returns. The text is what is signed, and is
    /// kept byte for byte.
    ///
    /// # Errors
    /// What the system said; what was there is there still, or the new text is.
    pub fn put(&mut self, root: &TrustRoot) -> io::Result<()> {
        self.read = None;
        let dir = self.path.parent().unwrap_or(Path::new("."));
        if !dir.is_dir() {
            DirBuilder::new().mode(0o755).create(dir)?;
            if let Some(above) = dir.parent() {
                File::open(above)?.sync_all()?;
            }
        }
        let mut file = tempfile::NamedTempFile::new_in(dir)?;
        file.write_all(root.render().as_bytes())?;
        // For everybody to look at: there is nothing secret in it.
        file.as_file()
            .set_permissions(fs::Permissions::from_mode(0o644))?;
        file.as_file().sync_all()?;
        file.persist(&self.path).map_err(|error| error.error)?;
        File::open(dir)?.sync_all()
    }
}

impl TrustStore for TrustFile {
    fn read(&mut self) -> Result<Option<Arc<TrustRoot>>, String> {
        // Taken before the file is read: what is written meanwhile changes it.
        let stamp = Stamp::of(&self.path);
        if let (Some(now), Some((then, root))) = (stamp, &self.read)
            && now == *then
        {
            return Ok(Some(root.clone()));
        }
        self.read = None;
        let Some(text) = read_guarded(&self.path)? else {
            return Ok(None);
        };
        let root = TrustRoot::parse(&text)
            .map(Arc::new)
            .map_err(|problems| format!("{}: {problems}", self.path.display()))?;
        self.read = stamp.map(|stamp| (stamp, root.clone()));
        Ok(Some(root))
    }

    fn replace(&mut self, root: &TrustRoot) -> Result<(), String> {
        self.put(root)
            .map_err(|error| format!("cannot write {}: {error}", self.path.display()))
    }
}
