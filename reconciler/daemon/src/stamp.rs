//! By what it is seen that nobody wrote a file.

use std::fs::Metadata;
use std::io;
use std::os::unix::fs::MetadataExt as _;

/// Inode, size, and the times of modification and change; two are equal when nothing was written in between. `None` for
/// what cannot be seen.
pub(crate) type Stamp = Option<[i64; 6]>;

/// The stamp of a file that was just looked at: whether through a link or not is the caller's to say.
pub(crate) fn of(found: io::Result<Metadata>) -> Stamp {
    let it = found.ok()?;
    Some([
        it.ino().cast_signed(),
        it.size().cast_signed(),
        it.mtime(),
        it.mtime_nsec(),
        it.ctime(),
        it.ctime_nsec(),
    ])
}
