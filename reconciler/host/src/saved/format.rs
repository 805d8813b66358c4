//! The file that a save is: one line of JSON about the thing, its content, and a digest of both.

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::fs::File;
use std::io::{self, BufRead as _, BufReader, Read, Seek as _, Write};
use std::os::fd::AsFd as _;
use std::os::unix::ffi::OsStrExt as _;
use std::path::Path;

use muster_core::bytes::hex;
use nix::fcntl::AtFlags;
use nix::sys::stat::{UtimensatFlags, futimens, utimensat};
use nix::sys::time::TimeSpec;
use nix::unistd::{Gid, Uid};
use rustix::fs::XattrFlags;
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

use super::{CHUNK, HEADER, TAIL, VERSION};
use crate::dir::{Dir, FileStat};
use crate::root::{Ownership, RootError};

/// Everything about a file but its content.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Header {
    version: u32,
    path: String,
    uid: u32,
    gid: u32,
    mode: u32,
    accessed: (i64, u32),
    modified: (i64, u32),
    /// Bytes of content that follow; `None` for a symbolic link.
    pub(super) size: Option<u64>,
    /// Where a symbolic link points, in hex.
    pub(super) target: Option<String>,
    /// Extended attributes, values in hex.
    attributes: BTreeMap<String, String>,
}

impl Header {
    pub(super) fn of(
        path: &Path,
        seen: &FileStat,
        size: Option<u64>,
        target: Option<String>,
        attributes: BTreeMap<String, String>,
    ) -> Self {
        Self {
            version: VERSION,
            path: path.to_string_lossy().into_owned(),
            uid: seen.uid,
            gid: seen.gid,
            mode: seen.mode,
            accessed: seen.accessed,
            modified: seen.modified,
            size,
            target,
            attributes,
        }
    }

    pub(super) fn write(&self, save: &mut File, content: &mut impl Read) -> io::Result<()> {
        let mut line = serde_json::to_vec(self)?;
        line.push(b'\n');
        save.write_all(&line)?;
        let mut digest = Sha256::new();
        if let Some(target) = &self.target {
            digest.update(target.as_bytes());
        }
        let copied = copy_sparse(content, save, &mut digest)?;
        if copied != self.size.unwrap_or(0) {
            return Err(io::Error::other("it became shorter while it was read"));
        }
        save.write_all(&tail_of(digest))
    }

    pub(super) fn read(reader: &mut BufReader<File>) -> Option<Self> {
        let mut line = Vec::new();
        reader
            .by_ref()
            .take(HEADER)
            .read_until(b'\n', &mut line)
            .ok()?;
        let header: Self = serde_json::from_slice(&line).ok()?;
        (header.version == VERSION && header.size.is_some() != header.target.is_some())
            .then_some(header)
    }

    /// Makes the saved thing under a temporary name; whether the save was whole.
    pub(super) fn restore(
        &self,
        reader: &mut impl Read,
        to: &Dir,
        temporary: &str,
        ownership: Ownership,
    ) -> Result<bool, RootError> {
        let path = to.path_of(temporary);
        let refused = |verb| move |errno: nix::errno::Errno| crate::dir::failed(verb, &path, errno);
        let owner = (ownership == Ownership::Performed)
            .then(|| (Some(Uid::from_raw(self.uid)), Some(Gid::from_raw(self.gid))));
        let times = (spec(self.accessed), spec(self.modified));
        let mut digest = Sha256::new();
        let (Some(size), None) = (self.size, &self.target) else {
            let Some(target) = self.target.as_deref().and_then(unhex) else {
                return Ok(false);
            };
            digest.update(hex(&target).as_bytes());
            to.link_to(OsStr::from_bytes(&target), temporary)?;
            if let Some((uid, gid)) = owner {
                nix::unistd::fchownat(to, temporary, uid, gid, AtFlags::AT_SYMLINK_NOFOLLOW)
                    .map_err(refused.clone()("change the owner of"))?;
            }
            utimensat(
                to,
                temporary,
                &times.0,
                &times.1,
                UtimensatFlags::NoFollowSymlink,
            )
            .map_err(refused("change the times of"))?;
            return Ok(rest(reader).is_some_and(|it| it == tail_of(digest)));
        };
        let mut file = to.create(temporary)?;
        let broken = |source| RootError {
            verb: "write",
            path: to.path_of(temporary),
            source,
        };
        let copied =
            copy_sparse(&mut reader.by_ref().take(size), &mut file, &mut digest).map_err(broken)?;
        if copied != size || rest(reader).is_none_or(|it| it != tail_of(digest)) {
            return Ok(false);
        }
        if let Some((uid, gid)) = owner {
            nix::unistd::fchown(&file, uid, gid).map_err(refused.clone()("change the owner of"))?;
        }
        // Nothing that ran as somebody else is made anew.
        let mode = nix::sys::stat::Mode::from_bits_truncate(self.mode & 0o1777);
        nix::sys::stat::fchmod(&file, mode).map_err(refused.clone()("change the mode of"))?;
        for (name, value) in &self.attributes {
            let Some(value) = unhex(value) else {
                return Ok(false);
            };
            rustix::fs::fsetxattr(&file, name.as_str(), &value, XattrFlags::empty()).map_err(
                |errno| RootError {
                    verb: "set an attribute of",
                    path: to.path_of(temporary),
                    source: errno.into(),
                },
            )?;
        }
        futimens(&file, &times.0, &times.1).map_err(refused("change the times of"))?;
        file.sync_all().map_err(broken)?;
        Ok(true)
    }
}

fn spec(time: (i64, u32)) -> TimeSpec {
    TimeSpec::new(time.0, i64::from(time.1))
}

pub(super) fn tail_of(digest: Sha256) -> Vec<u8> {
    let mut tail = hex(&digest.finalize()).into_bytes();
    tail.push(b'\n');
    tail
}

/// What is left to read, when that is as short as the end of a save.
fn rest(reader: &mut impl Read) -> Option<Vec<u8>> {
    let mut rest = Vec::new();
    reader.take(TAIL + 1).read_to_end(&mut rest).ok()?;
    Some(rest)
}

pub(super) fn copy(
    from: &mut impl Read,
    to: &mut impl Write,
    digest: &mut Sha256,
) -> io::Result<u64> {
    copy_with(from, digest, |chunk| to.write_all(chunk))
}

/// The same into a file, in which a run of zeros takes no room: sparse stays sparse.
fn copy_sparse(from: &mut impl Read, to: &mut File, digest: &mut Sha256) -> io::Result<u64> {
    let copied = copy_with(from, digest, |chunk| {
        if chunk.iter().all(|byte| *byte == 0) {
            to.seek_relative(i64::try_from(chunk.len()).map_err(io::Error::other)?)
        } else {
            to.write_all(chunk)
        }
    })?;
    // A hole at the end is no part of the file before this.
    let end = to.stream_position()?;
    if to.metadata()?.len() < end {
        to.set_len(end)?;
    }
    Ok(copied)
}

fn copy_with(
    from: &mut impl Read,
    digest: &mut Sha256,
    mut put: impl FnMut(&[u8]) -> io::Result<()>,
) -> io::Result<u64> {
    let mut buffer = vec![0; CHUNK];
    let mut copied = 0;
    loop {
        let read = match from.read(&mut buffer) {
            Ok(0) => return Ok(copied),
            Ok(read) => read,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            Err(error) => return Err(error),
        };
        digest.update(&buffer[..read]);
        put(&buffer[..read])?;
        copied += read as u64;
    }
}

/// The extended attributes of a file; those that cannot be read (another security module's) are not ours to keep.
pub(super) fn attributes(file: &File) -> BTreeMap<String, String> {
    let mut names = vec![0_u8; 64 * 1024];
    let length = rustix::fs::flistxattr(file.as_fd(), names.as_mut_slice()).unwrap_or(0);
    let mut found = BTreeMap::new();
    for name in names[..length]
        .split(|byte| *byte == 0)
        .filter_map(|it| std::str::from_utf8(it).ok())
    {
        let mut value = vec![0_u8; 64 * 1024];
        if !name.is_empty()
            && let Ok(length) = rustix::fs::fgetxattr(file.as_fd(), name, value.as_mut_slice())
        {
            found.insert(name.to_owned(), hex(&value[..length]));
        }
    }
    found
}

fn unhex(text: &str) -> Option<Vec<u8>> {
    let pairs = text.as_bytes().chunks(2);
    pairs
        .map(|pair| u8::from_str_radix(std::str::from_utf8(pair).ok()?, 16).ok())
        .collect()
}
