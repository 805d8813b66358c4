//! Putting many loose objects and small packs into one pack. Nothing is removed before what replaces it is on the disk.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use gix::hash::ObjectId;

use crate::folder;
use crate::run::{self, Limits, RunError};
use crate::sync::sync_dir;

/// How many loose objects may stand before they are packed.
pub(crate) const LOOSE_LIMIT: usize = 5_000;
/// How many packs may stand before they become one.
pub(crate) const PACK_LIMIT: usize = 50;

/// Whether packing had anything to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Packed {
    /// Everything is now in one pack.
    Done,
    /// There are few loose objects and few packs.
    NotNeeded,
}

#[derive(Debug)]
pub(crate) enum PackError {
    Io(io::Error),
    Git(RunError),
}

impl From<io::Error> for PackError {
    fn from(error: io::Error) -> Self {
        PackError::Io(error)
    }
}

impl From<RunError> for PackError {
    fn from(error: RunError) -> Self {
        PackError::Git(error)
    }
}

/// What is packed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Keep {
    /// Every object that is there, whether or not anything leads to it or all it refers to is there too.
    Everything,
    /// What a reference leads to; the rest goes away once it is an hour old.
    Referenced,
}

/// Whether a pack is compressed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum PackFormat {
    /// Compressed, for what is read now and then.
    Compressed,
    /// Not compressed, and the latest version of each file whole: for what every start reads, where inflating would be a
    /// good part of the work.
    Uncompressed,
}

/// Packs the bare repository in `dir`, of which we are the only writer. What no reference leads to and stays all the same is `apart`.
pub(crate) fn pack(
    dir: &Path,
    keep: Keep,
    format: PackFormat,
    apart: &[ObjectId],
) -> Result<(), PackError> {
    let git = |arguments: &[&str], stdin: &[u8]| {
        let mut command = run::git(dir)?;
        command.args(["-c", "core.fsync=all", "-c", "pack.threads=1"]);
        if format == PackFormat::Uncompressed {
            command.args(["-c", "pack.compression=0"]);
        }
        command.args(arguments);
        run::run(
            command,
            &format!("git {}", arguments[0]),
            stdin,
            Limits::default(),
        )
    };
    let objects = dir.join("objects");
    let before = packs(&objects)?;
    let stem = objects.join("pack/pack");
    let stem = stem.to_string_lossy();
    let one = |options: &[&str], ids: &[u8]| {
        let arguments = [&["pack-objects", "-q", "--non-empty"], options, &[&stem]].concat();
        let printed = git(&arguments, ids)?;
        let names = String::from_utf8_lossy(&printed).into_owned();
        // By name: one with the same content as one that is there takes its place.
        let made = names.lines().map(|it| format!("{stem}-{it}.pack").into());
        Ok::<Vec<PathBuf>, PackError>(made.collect())
    };
    let made = match keep {
        Keep::Referenced => {
            let mut made = one(&["--all", "--delta-base-offset"], b"")?;
            if !apart.is_empty() {
                let ids: String = apart.iter().map(|id| format!("{id}\n")).collect();
                made.extend(one(&[], ids.as_bytes())?);
            }
            made
        }
        Keep::Everything => {
            let all = git(
                &[
                    "cat-file",
                    "--batch-all-objects",
                    "--batch-check=%(objectname)",
                ],
                b"",
            )?;
            one(&[], &all)?
        }
    };
    for file in made
        .iter()
        .flat_map(|pack| ["pack", "idx"].map(|extension| pack.with_extension(extension)))
    {
        fs::File::open(file)?.sync_all()?;
    }
    sync_dir(&objects.join("pack"))?;
    // A repository that nothing leads into is none to clean up.
    if !made.is_empty() {
        for pack in before.iter().filter(|pack| !made.contains(pack)) {
            remove_pack(pack)?;
        }
    }
    git(&["prune-packed", "-q"], b"")?;
    if keep == Keep::Referenced {
        git(&["prune", "--expire=1.hour.ago"], b"")?;
    }
    Ok(())
}

fn remove_pack(pack: &Path) -> io::Result<()> {
    // The index first: a pack without one is not looked at.
    for extension in ["idx", "rev", "bitmap", "pack"] {
        match fs::remove_file(pack.with_extension(extension)) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
    }
    Ok(())
}

/// The loose objects in an object directory.
pub(crate) fn count_loose(objects: &Path) -> io::Result<usize> {
    let mut count = 0;
    for entry in folder::entries(objects)? {
        if entry.name().len() == 2 {
            count += folder::entries(&entry.path)?.len();
        }
    }
    Ok(count)
}

/// The packs in an object directory.
pub(crate) fn packs(objects: &Path) -> io::Result<Vec<PathBuf>> {
    let mut packs = Vec::new();
    for entry in folder::entries(&objects.join("pack"))? {
        let path = entry.path;
        if path
            .extension()
            .is_some_and(|extension| extension == "pack")
        {
            packs.push(path);
        }
    }
    Ok(packs)
}

/// The bytes of these packs.
pub(crate) fn bytes(packs: &[PathBuf]) -> u64 {
    let sizes = packs
        .iter()
        .filter_map(|pack| fs::symlink_metadata(pack).ok());
    sizes.map(|meta| meta.len()).sum()
}

/// The bytes of the packs in this directory that git is still writing.
pub(crate) fn unfinished_bytes(packs: &Path) -> u64 {
    let unfinished = folder::entries(packs).unwrap_or_default().into_iter();
    unfinished
        .filter(|entry| entry.name().as_encoded_bytes().starts_with(b"tmp_"))
        .filter_map(|entry| fs::symlink_metadata(&entry.path).ok())
        .map(|meta| meta.len())
        .sum()
}
