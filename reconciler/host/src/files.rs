//! The rendered files: an environment file for each person, and the aggregate files.

use std::collections::{BTreeMap, HashMap};
use std::fs::File;
use std::io::{self, Write as _};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use muster_core::accounts::action::Action;
use muster_core::accounts::policy::Aggregate;
use muster_core::accounts::render::{FileWrite, parse_aggregate};
use muster_core::bytes::hex;
use muster_core::id::StepId;
use muster_core::reading::Reading;
use muster_core::world::Complaints;
use nix::sys::stat::{Mode, fchmod};
use nix::unistd::{Gid, Uid, fchown};
use sha2::{Digest as _, Sha256};

use crate::dir::{Dir, FileKind, FileStat, failed, split, with_causes};
use crate::root::{Ownership, RootError};
use crate::step::Step;

/// The largest file of these that is read.
const LIMIT: u64 = 64 * 1024 * 1024;
/// From how many files on one flush of the file system is cheaper than one for each.
const MANY: usize = 16;
/// A file that changed this shortly before it was read may change again within the same tick of the kernel's clock.
const SETTLED: Duration = Duration::from_secs(2);
/// The services that read them run as other users; the environment is read by the service manager.
const AGGREGATE_MODE: u32 = 0o644;
const ENVIRONMENT_MODE: u32 = 0o640;

/// Where the environment files are: a path with `{user}` in exactly one of its components.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Pattern {
    /// The directories before that component.
    above: String,
    prefix: String,
    suffix: String,
    /// The path below that component; empty when it is the file itself.
    below: String,
}

impl Pattern {
    /// Takes a setting apart.
    pub(crate) fn parse(setting: &str) -> Result<Self, String> {
        crate::homes::check(setting)?;
        let components: Vec<&str> = setting.trim_start_matches('/').split('/').collect();
        let mut with_user = components
            .iter()
            .enumerate()
            .filter(|(_, it)| it.contains("{user}"));
        let (Some((at, component)), None) = (with_user.next(), with_user.next()) else {
            return Err("it needs `{user}` in exactly one component".to_owned());
        };
        let (prefix, suffix) = component.split_once("{user}").expect("just found");
        if suffix.contains("{user}") {
            return Err("it needs `{user}` exactly once".to_owned());
        }
        Ok(Self {
            above: components[..at].join("/"),
            prefix: prefix.to_owned(),
            suffix: suffix.to_owned(),
            below: components[at + 1..].join("/"),
        })
    }

    /// The directory of a person's file and its name.
    pub(crate) fn place(&self, user: &str) -> (String, String) {
        let Self {
            above,
            prefix,
            suffix,
            below,
        } = self;
        let component = format!("{prefix}{user}{suffix}");
        match below.rsplit_once('/') {
            _ if below.is_empty() => (above.clone(), component),
            Some((between, name)) => (format!("{above}/{component}/{between}"), name.to_owned()),
            None => (format!("{above}/{component}"), below.clone()),
        }
    }
}

/// Digests of files that were read before, so that an unchanged one costs one look and no read.
#[derive(Debug, Default)]
pub(crate) struct Digests {
    known: HashMap<String, (FileStat, String)>,
}

impl Digests {
    /// SHA-256 of the environment file of each of `users` that has one.
    pub(crate) fn read<'a>(
        &mut self,
        root: &Dir,
        pattern: &Pattern,
        users: impl Iterator<Item = &'a str>,
    ) -> Result<BTreeMap<String, String>, RootError> {
        let mut found = Vec::new();
        let mut shared: Option<Option<Dir>> = None;
        let open = |path: &str| match root.below_trusted(path) {
            Ok(dir) => Ok(Some(dir)),
            Err(error) if error.source.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error),
        };
        let mut before = HashMap::with_capacity(self.known.len());
        std::mem::swap(&mut before, &mut self.known);
        let settled = now().saturating_sub(SETTLED);
        for user in users {
            let (directory, name) = pattern.place(user);
            let own;
            let dir = if pattern.below.is_empty() {
                if shared.is_none() {
                    shared = Some(open(&directory)?);
                }
                shared.as_ref().and_then(Option::as_ref)
            } else {
                own = open(&directory)?;
                own.as_ref()
            };
            let Some(dir) = dir else { continue };
            // What was never read is opened at once: it is looked at when it is open.
            let known = before.remove(user);
            if known.is_none()
                && let Ok(Some((bytes, seen))) = dir.read(&name, LIMIT)
            {
                let digest = hex(&Sha256::digest(&bytes));
                self.note(user, seen, &digest, settled);
                found.push((user.to_owned(), digest));
                continue;
            }
            // Anything but a file counts as not there: the step that writes it then says what is in the way.
            let Some(seen) = dir.see(&name)?.filter(|it| it.kind == FileKind::File) else {
                continue;
            };
            let digest = match known.filter(|(then, _)| then.is_unchanged(&seen)) {
                Some((_, digest)) => digest,
                None => match dir.read(&name, LIMIT)? {
                    Some((bytes, _)) => hex(&Sha256::digest(&bytes)),
                    None => continue,
                },
            };
            self.note(user, seen, &digest, settled);
            found.push((user.to_owned(), digest));
        }
        Ok(found.into_iter().collect())
    }

    /// Keeps a digest for the next look, unless the file is so new that it could change again within the same clock tick.
    fn note(&mut self, user: &str, seen: FileStat, digest: &str, settled: Duration) {
        let changed = Duration::new(
            u64::try_from(seen.changed.0).unwrap_or(u64::MAX),
            seen.changed.1,
        );
        if changed < settled {
            self.known
                .insert(user.to_owned(), (seen, digest.to_owned()));
        }
    }
}

fn now() -> Duration {
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap_or_default()
}

/// The entries of an aggregate file; none when it is missing.
pub(crate) fn look(root: &Dir, file: Aggregate, path: &str) -> Reading<BTreeMap<String, String>> {
    match entries(root, file, path) {
        Ok(entries) => Reading::Known(entries),
        Err(why) => Reading::Unknown(why),
    }
}

fn entries(root: &Dir, file: Aggregate, path: &str) -> Result<BTreeMap<String, String>, String> {
    let (directory, name) = split(path);
    let read = match root.below_trusted(directory) {
        Ok(dir) => dir.read(name, LIMIT),
        Err(error) if error.source.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    };
    let Some((bytes, _)) = read.map_err(|error| with_causes(&error))? else {
        return Ok(BTreeMap::new());
    };
    let text = String::from_utf8(bytes)
        .map_err(|_| format!("{path} is not UTF-8; correct or remove it"))?;
    parse_aggregate(file, &text).map_err(|why| format!("{path}: {why}; correct it by hand"))
}

/// Where things go.
pub(crate) struct Places<'a> {
    pub(crate) root: &'a Dir,
    pub(crate) ownership: Ownership,
    pub(crate) environment: Option<&'a Pattern>,
    pub(crate) aggregates: &'a BTreeMap<Aggregate, String>,
}

/// One file on its way.
struct Pending<'a> {
    steps: Vec<StepId>,
    dir: usize,
    name: String,
    before: Option<(Aggregate, &'a str, &'a BTreeMap<String, String>)>,
}

/// Writes whole files in place of old ones. All new files are durable before the first takes its place; an aggregate
/// file that somebody else wrote in between keeps what they wrote.
pub(crate) fn write(
    places: &Places<'_>,
    steps: &[Step<'_>],
    writes: &[FileWrite],
    progress: &mut dyn FnMut(usize, usize),
) -> Complaints {
    let mut complaints = Complaints::new();
    let mut left: BTreeMap<StepId, ()> = steps.iter().map(|step| (step.id, ())).collect();
    let mut dirs: Vec<Dir> = Vec::new();
    let mut by_path: HashMap<String, usize> = HashMap::new();
    let mut pending = Vec::new();
    let mut environment_steps: HashMap<&str, StepId> = HashMap::new();
    for step in steps {
        if let Action::WriteEnvironment { user, .. } = step.action {
            environment_steps.insert(user, step.id);
        }
    }
    for (done, write) in writes.iter().enumerate() {
        progress(done, writes.len());
        let (ids, place, content, mode, before) = match write {
            FileWrite::Environment { user, content } => {
                let ids: Vec<StepId> = environment_steps
                    .get(user.as_str())
                    .copied()
                    .into_iter()
                    .collect();
                let place = crate::check_name(user)
                    .and_then(|()| {
                        places
                            .environment
                            .ok_or("no place for environment files is set here".to_owned())
                    })
                    .map(|pattern| pattern.place(user));
                (ids, place, content, ENVIRONMENT_MODE, None)
            }
            FileWrite::Aggregate {
                file,
                before,
                content,
            } => {
                let of_file = |step: &&Step<'_>| matches!(step.action, Action::Entry { file: other, .. } if other == file);
                let ids: Vec<StepId> = steps.iter().filter(of_file).map(|step| step.id).collect();
                let path = places.aggregates.get(file);
                let place = path
                    .map(|path| split(path))
                    .map(|(dir, name)| (dir.to_owned(), name.to_owned()));
                let place =
                    place.ok_or(format!("no place for the {} file is set here", file.word()));
                (
                    ids,
                    place,
                    content,
                    AGGREGATE_MODE,
                    path.map(|path| (*file, path.as_str(), before)),
                )
            }
        };
        for id in &ids {
            left.remove(id);
        }
        let prepared = place.and_then(|(directory, name)| {
            let dir = match by_path.get(&directory) {
                Some(dir) => *dir,
                None => {
                    dirs.push(open(places, &directory).map_err(|error| with_causes(&error))?);
                    by_path.insert(directory, dirs.len() - 1);
                    dirs.len() - 1
                }
            };
            let sync = writes.len() < MANY;
            prepare(&dirs[dir], &name, content, mode, places.ownership, sync)
                .map_err(|error| with_causes(&error))?;
            Ok((dir, name))
        });
        match prepared {
            Ok((dir, name)) => pending.push(Pending {
                steps: ids,
                dir,
                name,
                before,
            }),
            Err(why) => complain(&mut complaints, &ids, &why),
        }
    }
    let synced = if writes.len() < MANY {
        Ok(())
    } else {
        sync_each_filesystem(&dirs)
    };
    put_in_place(places, &dirs, pending, &synced, &mut complaints);
    for id in left.into_keys() {
        complaints.insert(
            id,
            "nothing was rendered for it; the next cycle plans it anew".to_owned(),
        );
    }
    progress(writes.len(), writes.len());
    complaints
}

/// Gives the prepared files their names, unless one was changed in between or could not be made durable.
fn put_in_place(
    places: &Places<'_>,
    dirs: &[Dir],
    pending: Vec<Pending<'_>>,
    synced: &Result<(), String>,
    complaints: &mut Complaints,
) {
    let mut replaced: BTreeMap<usize, Vec<StepId>> = BTreeMap::new();
    for Pending {
        steps,
        dir,
        name,
        before,
    } in pending
    {
        let result = synced
            .clone()
            .and_then(|()| unchanged(places.root, before))
            .and_then(|()| {
                dirs[dir]
                    .replace(temporary(&name), &name)
                    .map_err(|error| with_causes(&error))
            });
        match result {
            Ok(()) => replaced.entry(dir).or_default().extend(steps),
            Err(why) => {
                let _ = dirs[dir].remove(temporary(&name));
                complain(complaints, &steps, &why);
            }
        }
    }
    for (dir, steps) in replaced {
        if let Err(error) = dirs[dir].sync() {
            complain(complaints, &steps, &with_causes(&error));
        }
    }
}

fn complain(complaints: &mut Complaints, steps: &[StepId], why: &str) {
    complaints.extend(steps.iter().map(|id| (*id, why.to_owned())));
}

fn open(places: &Places<'_>, directory: &str) -> Result<Dir, RootError> {
    let dir = places.root.below_made(directory)?;
    let seen = dir.itself()?;
    if places.ownership == Ownership::Performed && seen.uid != 0 {
        let source = io::Error::other(format!(
            "it belongs to uid {}, and what root's services read must not",
            seen.uid
        ));
        return Err(RootError {
            verb: "write into",
            path: dir.path().to_owned(),
            source,
        });
    }
    Ok(dir)
}

/// Removes what a process left that died before it could give a new aggregate file its name.
pub(crate) fn clear_leftover(root: &Dir, path: &str) -> Result<(), RootError> {
    let (directory, name) = split(path);
    match root.below_trusted(directory) {
        Ok(dir) => {
            let seen = dir.see(temporary(name))?;
            if seen.is_some_and(|it| it.kind == FileKind::File) {
                dir.remove(temporary(name))?;
            }
            Ok(())
        }
        Err(error) if error.source.kind() == io::ErrorKind::NotFound => Ok(()),
        Err(error) => Err(error),
    }
}

fn temporary(name: &str) -> String {
    format!(".{name}.muster-new")
}

fn prepare(
    dir: &Dir,
    name: &str,
    content: &str,
    mode: u32,
    ownership: Ownership,
    sync: bool,
) -> Result<(), RootError> {
    let there = dir.see(name)?;
    if let Some(seen) = there.filter(|it| it.kind != FileKind::File) {
        let source = io::Error::other(format!("it is {}; remove it", seen.kind.with_article()));
        return Err(RootError {
            verb: "replace",
            path: dir.path_of(name),
            source,
        });
    }
    let temporary = temporary(name);
    dir.remove(&temporary)?;
    let mut file: File = dir.create(&temporary)?;
    let broken = |source| RootError {
        verb: "write",
        path: dir.path_of(&temporary),
        source,
    };
    let filled = (|| {
        file.write_all(content.as_bytes()).map_err(broken)?;
        if let Some(seen) = there.filter(|_| ownership == Ownership::Performed) {
            fchown(
                &file,
                Some(Uid::from_raw(seen.uid)),
                Some(Gid::from_raw(seen.gid)),
            )
            .map_err(|errno| failed("change the owner of", &dir.path_of(&temporary), errno))?;
        }
        let mode = Mode::from_bits_truncate(there.map_or(mode, |seen| seen.mode));
        fchmod(&file, mode)
            .map_err(|errno| failed("change the mode of", &dir.path_of(&temporary), errno))?;
        if sync {
            file.sync_all().map_err(broken)
        } else {
            Ok(())
        }
    })();
    if filled.is_err() {
        let _ = dir.remove(&temporary);
    }
    filled
}

fn sync_each_filesystem(dirs: &[Dir]) -> Result<(), String> {
    let mut synced = Vec::new();
    for dir in dirs {
        let device = dir.itself().map_err(|error| with_causes(&error))?.device;
        if !synced.contains(&device) {
            dir.sync_filesystem().map_err(|error| with_causes(&error))?;
            synced.push(device);
        }
    }
    Ok(())
}

fn unchanged(
    root: &Dir,
    before: Option<(Aggregate, &str, &BTreeMap<String, String>)>,
) -> Result<(), String> {
    let Some((file, path, before)) = before else {
        return Ok(());
    };
    if entries(root, file, path)? == *before {
        Ok(())
    } else {
        Err(format!(
            "{path} was changed by somebody else just now; the next cycle reads it anew"
        ))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pattern_names_one_file_for_each_person() {
        let place = |setting: &str| Pattern::parse(setting).unwrap().place("emo");
        let pair = |a: &str, b: &str| (a.to_owned(), b.to_owned());
        assert_eq!(place("/etc/t3/{user}.env"), pair("etc/t3", "emo.env"));
        assert_eq!(
            place("/srv/t3-{user}/conf/env"),
            pair("srv/t3-emo/conf", "env")
        );
        assert_eq!(place("/srv/{user}/env"), pair("srv/emo", "env"));
        for wrong in [
            "/etc/env",
            "{user}.env",
            "/etc/{user}/../{user}",
            "/etc/{user}{user}",
            "/a/{user}/{user}",
            "/etc/../{user}",
        ] {
            assert!(Pattern::parse(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn a_change_is_seen_although_digests_are_remembered() {
        let scratch = tempfile::tempdir().unwrap();
        let root = Dir::open(scratch.path()).unwrap();
        let pattern = Pattern::parse("/{user}.env").unwrap();
        let mut digests = Digests::default();
        let mut read = |users: &[&str]| {
            digests
                .read(&root, &pattern, users.iter().copied())
                .unwrap()
        };
        std::fs::write(scratch.path().join("emo.env"), "A=1\n").unwrap();
        let first = read(&["emo", "ema"]);
        assert_eq!(first.keys().collect::<Vec<_>>(), ["emo"]);
        for content in ["A=2\n", "A=3\n"] {
            std::fs::write(scratch.path().join("emo.env"), content).unwrap();
            assert_eq!(
                read(&["emo"])["emo"],
                muster_core::accounts::render::digest(content)
            );
        }
        std::fs::remove_file(scratch.path().join("emo.env")).unwrap();
        assert!(read(&["emo"]).is_empty());
    }
}
