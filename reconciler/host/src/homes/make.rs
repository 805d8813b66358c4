//! Making homes: each whole before it is in its place.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::Write as _;

use nix::unistd::{Gid, Uid};

use super::skeleton::{Each, Skeleton, own};
use super::{MANY, check};
use crate::dir::{Dir, FileKind, failed, split, with_causes};
use crate::root::{Ownership, RootDir, RootError};

/// A home to be made.
#[derive(Clone, Copy, Debug)]
pub(crate) struct NewHome<'a> {
    pub(crate) home: &'a str,
    pub(crate) uid: u32,
    pub(crate) gid: u32,
}

/// Makes homes from the skeleton, each as a whole: built under a temporary name beside its place, made durable, then
/// put in place if nothing is there. Says of each, in order, why it was not made.
///
/// Guarantee: a home that is in place after a power cut has all of its skeleton, with owners and modes; when this
/// returns without a complaint, the home is in place and durable. Many homes share one flush of their file system.
pub(crate) fn create(
    root: &Dir,
    owners: &RootDir,
    skeleton: &Skeleton,
    mode: u32,
    homes: &[NewHome<'_>],
    progress: &mut dyn FnMut(usize),
) -> Vec<Result<(), String>> {
    let mut results: Vec<Result<(), String>> = vec![Ok(()); homes.len()];
    let mut by_parent: BTreeMap<&str, Vec<usize>> = BTreeMap::new();
    for (index, new) in homes.iter().enumerate() {
        match check(new.home) {
            Ok(()) => by_parent.entry(split(new.home).0).or_default().push(index),
            Err(why) => results[index] = Err(why),
        }
    }
    let mut done = 0;
    for (parent, indices) in by_parent {
        let dir = match root.below_trusted(parent) {
            Ok(dir) => dir,
            Err(error) => {
                for index in indices {
                    results[index] = Err(with_causes(&error));
                }
                continue;
            }
        };
        let each = if indices.len() < MANY {
            Each::Synced
        } else {
            Each::Together
        };
        let mut built = Vec::new();
        for index in indices {
            match build(&dir, owners, skeleton, mode, &homes[index], each) {
                Ok(Built::Waits) => built.push(index),
                Ok(Built::ThereAlready) => {}
                Err(why) => results[index] = Err(why),
            }
            done += 1;
            progress(done);
        }
        let synced = match each {
            Each::Synced => Ok(()),
            Each::Together => dir.sync_filesystem(),
        };
        let placed: Vec<usize> = built
            .iter()
            .copied()
            .filter(|index| {
                let name = split(homes[*index].home).1;
                let placed = synced
                    .as_ref()
                    .map_err(|error| with_causes(error))
                    .and_then(|()| {
                        dir.place(temporary(name), name)
                            .map_err(|error| with_causes(&error))
                    });
                if placed.is_err() {
                    let _ = dir.remove_tree(temporary(name));
                }
                results[*index] = placed;
                results[*index].is_ok()
            })
            .collect();
        if let Err(error) = dir.sync() {
            for index in placed {
                results[index] = Err(with_causes(&error));
            }
        }
    }
    results
}

enum Built {
    Waits,
    ThereAlready,
}

fn temporary(name: &str) -> String {
    format!(".muster-new.{name}")
}

fn build(
    parent: &Dir,
    owners: &RootDir,
    skeleton: &Skeleton,
    mode: u32,
    new: &NewHome<'_>,
    each: Each,
) -> Result<Built, String> {
    let NewHome { home, uid, gid } = *new;
    let name = split(home).1;
    let said = |error: RootError| with_causes(&error);
    match parent.see(name).map_err(said)? {
        Some(seen)
            if seen.kind == FileKind::Directory
                && (seen.uid == uid || owners.ownership() == Ownership::Recorded) =>
        {
            return Ok(Built::ThereAlready);
        }
        Some(seen) => {
            return Err(format!(
                "{home} is {} of uid {} already",
                seen.kind.with_article(),
                seen.uid
            ));
        }
        None => {}
    }
    let temporary = temporary(name);
    // What an interrupted cycle left under that name is ours, and was never anybody's home.
    parent.remove_tree(&temporary).map_err(said)?;
    let dir = parent.make_dir(&temporary, 0o700).map_err(said)?;
    let owner = match owners.ownership() {
        Ownership::Performed => Some((Uid::from_raw(uid), Gid::from_raw(gid))),
        Ownership::Recorded => None,
    };
    let finished = skeleton.fill(&dir, owner, each).and_then(|()| {
        own(&dir, owner).map_err(|errno| failed("change the owner of", dir.path(), errno))?;
        dir.set_mode(mode)?;
        match each {
            Each::Synced => dir.sync(),
            Each::Together => Ok(()),
        }
    });
    if let Err(error) = finished {
        let _ = parent.remove_tree(&temporary);
        return Err(with_causes(&error));
    }
    if owners.ownership() == Ownership::Recorded {
        record(owners, home, uid, gid)
            .map_err(|error| format!("the owner of {home} was not recorded: {error}"))?;
    }
    Ok(Built::Waits)
}

/// Adds a line to the record of owners; see [`Ownership::Recorded`].
fn record(owners: &RootDir, home: &str, uid: u32, gid: u32) -> std::io::Result<()> {
    use std::os::unix::fs::OpenOptionsExt as _;
    let mut file = File::options()
        .append(true)
        .create(true)
        .mode(0o600)
        .custom_flags(nix::fcntl::OFlag::O_NOFOLLOW.bits())
        .open(owners.path().join(".muster-ownership"))?;
    writeln!(file, "{uid}:{gid} {}", home.trim_start_matches('/'))
}
