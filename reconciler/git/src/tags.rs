//! Tags of a remote origin. Anybody may push them by the ten thousand, and let each point to anything, so nothing is kept but tag
//! objects that are no larger than a release can be (F8).
//!
//! They are fetched into a scratch repository that borrows the mirror's objects. What is good is copied out of there; the rest,
//! and whatever came with it, goes with the scratch repository. A tag may be about a commit that is not here, and git takes a
//! reference to it for a broken one: so names are kept beside the mirror's references, where git does not look.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use gix::hash::ObjectId;
use gix::objs;
use muster_core::release::tag::MAX_TAG_BYTES;

use crate::bare;
use crate::fetch_error::FetchError;
use crate::heads::{FETCHED_TAGS, fetched_name};
use crate::mirror::{MIRROR_SETTINGS, Mirror};
use crate::objects::{Objects, Source};
use crate::origin::RemoteUrl;
use crate::pack;
use crate::refs;
use crate::remote;
use crate::run::{self, Limits};
use crate::sync::{Durability, ObjectWriter};

/// Where the names of what was fetched are, below the mirror.
pub(crate) const KEPT: &str = "kept-tags";

/// Which tags were given up, below the mirror: `ID NAME` in each line. It can be lost; they are then fetched once more.
const GIVEN_UP: &str = "given-up-tags";

/// The scratch repository, below the mirror.
const SCRATCH: &str = "new-tags";

/// The largest note of what was given up that is written or read, in bytes.
const LARGEST_NOTE: u64 = 4 << 20;

/// How many tags are asked for with one poll, and with one connection.
const AT_ONCE: usize = 2_000;
const TOGETHER: usize = 500;

/// How many connections a poll makes for tags that cannot be fetched together with others.
const APART: usize = 50;

/// The most bytes that tags bring with them in one connection, in the scratch repository.
const MOST_BYTES: u64 = 64 << 20;

/// The tags that were fetched and are there still.
pub(crate) fn kept(mirror: &Mirror) -> Result<BTreeMap<String, ObjectId>, FetchError> {
    let here = refs::list(&mirror.dir.join(KEPT), FETCHED_TAGS, mirror.own.kind())?.found;
    let named = here
        .into_iter()
        .map(|(name, id)| (format!("refs/tags/{}", &name[FETCHED_TAGS.len()..]), id));
    Ok(named.collect())
}

/// Fetches the tags that are wanted and new, the newest names first, and forgets those that are gone. One that cannot be
/// fetched does not keep the others from arriving, and none of them keeps a branch from arriving.
pub(crate) fn fetch(
    mirror: &mut Mirror,
    url: &RemoteUrl,
    there: &BTreeMap<String, ObjectId>,
) -> Result<Vec<String>, FetchError> {
    forget_what_older_versions_kept(mirror)?;
    recall_given_up(mirror, there);
    let known = mirror.given_up.clone();
    let unread = fetch_due(mirror, url, there);
    if mirror.given_up != known {
        note_given_up(mirror)?;
    }
    unread
}

fn fetch_due(
    mirror: &mut Mirror,
    url: &RemoteUrl,
    there: &BTreeMap<String, ObjectId>,
) -> Result<Vec<String>, FetchError> {
    let here = kept(mirror)?;
    for name in here.keys().filter(|name| !there.contains_key(*name)) {
        refs::forget(&mirror.dir.join(KEPT), &fetched_name(name)).map_err(mirror.failed())?;
    }
    let due: Vec<(String, ObjectId)> = there
        .iter()
        .rev()
        .filter(|(name, _)| name.starts_with("refs/tags/"))
        .filter(|(name, id)| here.get(*name) != Some(id) || !mirror.own.has(id))
        .filter(|(name, id)| !mirror.given_up.contains(&((*name).clone(), **id)))
        .take(AT_ONCE)
        .map(|(name, id)| (name.clone(), *id))
        .collect();
    if due.is_empty() {
        return Ok(Vec::new());
    }
    let mut unread = Vec::new();
    let mut groups: Vec<_> = due.chunks(TOGETHER).rev().map(<[_]>::to_vec).collect();
    let mut connections = due.len().div_ceil(TOGETHER) + APART;
    while let Some(mut group) = groups.pop() {
        if connections == 0 {
            break;
        }
        connections -= 1;
        let scratch = Scratch::new(mirror)?;
        match scratch.fetch(mirror, url, &group) {
            Ok(()) => unread.extend(take(mirror, &scratch, &group)?),
            Err(error) => {
                // Only what git refuses is given up; a server that does not answer is asked again.
                if remote::answers(mirror, url).is_err() {
                    return Err(error);
                }
                if let [(name, id)] = group.as_slice() {
                    unread.push(remote::reason(name, &error));
                    mirror.give_up(name.clone(), *id);
                    continue;
                }
                let half = group.split_off(group.len() / 2);
                groups.push(half);
                groups.push(group);
            }
        }
    }
    Ok(unread)
}

/// What a process before this one gave up is not fetched again, as far as it is there still.
fn recall_given_up(mirror: &mut Mirror, there: &BTreeMap<String, ObjectId>) {
    if !mirror.given_up.is_empty() {
        return;
    }
    let kind = mirror.own.kind();
    let path = mirror.dir.join(GIVEN_UP);
    let noted = refs::read_regular(&path, LARGEST_NOTE).ok().flatten();
    let noted = noted.and_then(|bytes| String::from_utf8(bytes).ok());
    for line in noted.unwrap_or_default().lines() {
        let named = line.split_once(' ').and_then(|(hex, name)| {
            let id = ObjectId::from_hex(hex.as_bytes()).ok()?;
            (id.kind() == kind && there.get(name) == Some(&id)).then(|| (name.to_owned(), id))
        });
        if let Some((name, id)) = named {
            mirror.give_up(name, id);
        }
    }
}

fn note_given_up(mirror: &Mirror) -> Result<(), FetchError> {
    let mut noted = String::new();
    for (name, id) in &mirror.given_up {
        let line = format!("{id} {name}\n");
        if (noted.len() + line.len()) as u64 <= LARGEST_NOTE {
            noted.push_str(&line);
        }
    }
    let path = mirror.dir.join(GIVEN_UP);
    let half = path.with_extension("new");
    fs::write(&half, noted)
        .and_then(|()| fs::rename(&half, &path))
        .map_err(mirror.failed())
}

/// Copies the tag objects out of the scratch repository, and gives up what is none.
fn take(
    mirror: &mut Mirror,
    scratch: &Scratch,
    group: &[(String, ObjectId)],
) -> Result<Vec<String>, FetchError> {
    let kind = mirror.own.kind();
    let largest = MAX_TAG_BYTES as u64;
    let objects =
        Objects::open_within(&scratch.0.join("objects"), kind, largest).map_err(mirror.failed())?;
    let arrived = refs::list(&scratch.0, FETCHED_TAGS, kind)?.found;
    let failed = mirror.failed();
    let mut writer = ObjectWriter::new(&mirror.own, Durability::Cache).map_err(&failed)?;
    let (mut good, mut bad) = (Vec::new(), BTreeSet::new());
    let mut unread = Vec::new();
    for (name, _) in group {
        // What arrived, not what was announced: a tag can move in between.
        let Some(id) = arrived.get(&fetched_name(name)) else {
            continue;
        };
        match objects.read(id, objs::Kind::Tag, largest) {
            Ok(bytes) => {
                writer.write(objs::Kind::Tag, &bytes).map_err(&failed)?;
                good.push((fetched_name(name), *id));
            }
            Err(error) => {
                unread.push(format!("{}: {error}", name.escape_default()));
                bad.insert((name.clone(), *id));
            }
        }
    }
    writer.finish().map_err(&failed)?;
    let names = mirror.dir.join(KEPT);
    bare_dir(&names).map_err(&failed)?;
    for (name, id) in good {
        let before = refs::read(&names, &name, kind).ok().flatten();
        refs::replace(&names, &name, before, id, Durability::Cache)?;
    }
    for (name, id) in bad {
        mirror.give_up(name, id);
    }
    Ok(unread)
}

fn bare_dir(dir: &Path) -> io::Result<()> {
    match fs::create_dir(dir) {
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists => Err(error),
        _ => Ok(()),
    }
}

/// Older versions kept tags among the references; they are fetched anew.
fn forget_what_older_versions_kept(mirror: &Mirror) -> Result<(), FetchError> {
    for name in refs::list(&mirror.dir, FETCHED_TAGS, mirror.own.kind())?
        .found
        .keys()
    {
        refs::forget(&mirror.dir, name).map_err(mirror.failed())?;
    }
    Ok(())
}

/// A repository that is removed with everything in it.
struct Scratch(PathBuf);

impl Drop for Scratch {
    fn drop(&mut self) {
        // What cannot be removed now is removed before the next one is made.
        let _ = fs::remove_dir_all(&self.0);
    }
}

impl Scratch {
    fn new(mirror: &Mirror) -> Result<Scratch, FetchError> {
        let dir = mirror.dir.join(SCRATCH);
        let make = || {
            match fs::remove_dir_all(&dir) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
                _ => {}
            }
            bare::create(&dir, mirror.own.kind(), MIRROR_SETTINGS)?;
            let mut borrowed = mirror.own.dir().as_os_str().as_encoded_bytes().to_vec();
            borrowed.push(b'\n');
            fs::write(dir.join("objects/info/alternates"), borrowed)
        };
        make().map_err(mirror.failed())?;
        Ok(Scratch(dir))
    }

    fn fetch(
        &self,
        mirror: &Mirror,
        url: &RemoteUrl,
        group: &[(String, ObjectId)],
    ) -> Result<(), FetchError> {
        let mut command =
            remote::git_in(&self.0, mirror.own.kind(), url).map_err(remote::failed(url))?;
        command.args([
            "fetch",
            "--quiet",
            "--no-write-fetch-head",
            "--no-tags",
            "--no-recurse-submodules",
            "--no-auto-maintenance",
            "--end-of-options",
            url.as_str(),
        ]);
        command.args(
            group
                .iter()
                .map(|(name, _)| format!("+{name}:{}", fetched_name(name))),
        );
        let packs = self.0.join("objects/pack");
        let limits = Limits {
            pack: MOST_BYTES,
            ..mirror.limits
        };
        run::run_watched(command, "git fetch", b"", limits, &mut || {
            pack::unfinished_bytes(&packs)
        })
        .map(drop)
        .map_err(remote::failed(url))
    }
}
