//! The reader's side: the process that fetches and decodes what strangers pushed, and answers for it.

use std::collections::BTreeMap;
use std::io;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use gix::hash::{Kind, ObjectId};
use gix::objs;
use muster_core::commit::CommitId;
use muster_core::release::TagHorizon;
use muster_core::time::Time;
use nix::sys::resource::{Resource, setrlimit};

use super::frame::{self, Room};
use super::message::{self, FORMAT, Failure, Parts};
use crate::fetch_error::FetchError;
use crate::heads::{Proposals, WantedTags};
use crate::merge::{MergeError, Merged, Stands};
use crate::mirror::Mirror;
use crate::objects::SMALL;
use crate::origin::Origin;
use crate::read_error::TOTAL_LIMIT;
use crate::run::Limits;

/// The memory that a reader may take for what it reads, in bytes: enough for a roster of a million people, and less than the
/// unit has that it is a part of.
pub(super) const MEMORY: u64 = 768 << 20;

/// A question is a few ids, or the heads of all pull requests.
const ROOM: Room = Room {
    parts: 200_000,
    bytes: 16 << 20,
};

/// Commits that are given with one answer, and their bytes.
const COMMITS: usize = 1_000;
const COMMITS_BYTES: usize = 4 << 20;

/// Which origins a reader reads.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reads {
    /// Whatever whoever started it names.
    Any,
    /// Only what git fetches from elsewhere: its answers must not tell of this machine's files.
    Remote,
}

/// What this process reads, and where it keeps what it fetched.
pub struct Desk {
    dir: PathBuf,
    reads: Reads,
    open: Mutex<BTreeMap<String, Arc<Mutex<Mirror>>>>,
}

/// Limits what this process may use, for ever: memory, and no core file, which would hold what it read.
///
/// # Errors
/// What the system said.
pub fn bind_this_process() -> io::Result<()> {
    setrlimit(Resource::RLIMIT_CORE, 0, 0)?;
    let limit = MEMORY + data_in_use()?;
    setrlimit(Resource::RLIMIT_DATA, limit, limit)?;
    Ok(())
}

/// What this process has of its own already, in bytes; an allocator may have set aside a lot.
fn data_in_use() -> io::Result<u64> {
    let status = std::fs::read_to_string("/proc/self/status")?;
    let kib = status
        .lines()
        .find_map(|line| line.strip_prefix("VmData:")?.strip_suffix("kB"))
        .and_then(|kib| kib.trim().parse::<u64>().ok())
        .unwrap_or_default();
    Ok(kib << 10)
}

impl Desk {
    /// One that keeps what it fetches below `dir`, which only it writes.
    pub fn new(dir: &Path, reads: Reads) -> Desk {
        Desk {
            dir: dir.to_owned(),
            reads,
            open: Mutex::default(),
        }
    }

    /// Answers one connection until its other side ends it.
    ///
    /// # Errors
    /// When it breaks, or something is said that is no question.
    pub fn serve(&self, connection: UnixStream) -> io::Result<()> {
        let mut from = io::BufReader::new(connection.try_clone()?);
        let mut to = connection;
        let mut mirror = None;
        while let Some(asked) = frame::read(&mut from, ROOM)? {
            let answer = match (asked.first().map(Vec::as_slice), &mirror) {
                (Some(b"hello"), _) => self.hello(&asked).map(|(opened, answer)| {
                    mirror = Some(opened);
                    answer
                }),
                (_, Some((origin, opened))) => answer(origin, &mut held(opened), &asked),
                (_, None) => Err(Failure::words("say hello first")),
            };
            let answer = answer.unwrap_or_else(Failure::parts);
            frame::write(&mut to, &answer)?;
        }
        Ok(())
    }

    /// Opens the mirror of the origin that somebody wants to ask about.
    #[expect(clippy::type_complexity)] // An origin, its mirror that connections share, and an answer.
    fn hello(&self, asked: &[Vec<u8>]) -> Result<((Origin, Arc<Mutex<Mirror>>), Parts), Failure> {
        let [_, format, origin, most] = asked else {
            return Err(unknown());
        };
        if format != FORMAT {
            return Err(Failure::words(
                "another version of muster asks; restart muster-reader.service and muster.service",
            ));
        }
        let text = message::text(origin).ok_or_else(unknown)?;
        let origin = Origin::parse(text).map_err(|error| Failure::other(&error))?;
        if matches!((&origin, self.reads), (Origin::Local(_), Reads::Remote)) {
            return Err(Failure::words(
                "this reader reads no repository on this machine",
            ));
        }
        let most: u64 = message::number(most).ok_or_else(unknown)?;
        let limits = Limits {
            bytes: most.min(TOTAL_LIMIT),
            ..Limits::default()
        };
        let mut open = held(&self.open);
        let mirror = match open.get(text) {
            Some(opened) => opened.clone(),
            None => {
                let mirror = match &origin {
                    Origin::Local(path) => Mirror::as_owner(&self.dir, path, limits),
                    Origin::Remote(_) => Mirror::open_or_create(&self.dir.join(name_of(text)))
                        .and_then(|mirror| mirror.of_a_server().with_limits(limits)),
                };
                let opened = Arc::new(Mutex::new(mirror.map_err(failed)?));
                open.insert(text.to_owned(), opened.clone());
                opened
            }
        };
        Ok(((origin, mirror), vec![b"ok".to_vec()]))
    }
}

/// The directory for what is fetched from `origin`: a name for any text.
fn name_of(origin: &str) -> String {
    let id = objs::compute_hash(Kind::Sha1, objs::Kind::Blob, origin.as_bytes());
    let id = id.map_or_else(|_| "origin".to_owned(), |id| id.to_string());
    format!("{}.git", &id[..id.len().min(16)])
}

/// What is behind a lock. Whoever panicked with it left a repository, which is always whole.
fn held<T>(lock: &Mutex<T>) -> MutexGuard<'_, T> {
    lock.lock().unwrap_or_else(PoisonError::into_inner)
}

fn unknown() -> Failure {
    Failure::words("this is no question that this version of muster knows")
}

fn failed(error: FetchError) -> Failure {
    Failure::other(&error)
}

fn answer(origin: &Origin, mirror: &mut Mirror, asked: &[Vec<u8>]) -> Result<Parts, Failure> {
    let words: Vec<&[u8]> = asked.iter().map(Vec::as_slice).collect();
    match words.as_slice() {
        [b"heads", protected, proposals, tags @ ..] => {
            heads(origin, mirror, protected, proposals, tags)
        }
        [b"object", hex, kind, limit] => object(mirror, hex, kind, limit),
        [b"commits", hex, many] => commits(mirror, hex, many),
        [b"tags", limit, ids @ ..] => tags(mirror, limit, ids),
        [b"merge", protected, head] => merge(mirror, protected, head),
        [b"contents", protected, head, paths @ ..] => contents(mirror, protected, head, paths),
        [b"bring", heads @ ..] => bring(origin, mirror, heads),
        [b"tidy"] => mirror
            .maintain()
            .map(|_| vec![b"ok".to_vec()])
            .map_err(failed),
        _ => Err(unknown()),
    }
}

fn heads(
    origin: &Origin,
    mirror: &mut Mirror,
    protected: &[u8],
    proposals: &[u8],
    tags: &[&[u8]],
) -> Result<Parts, Failure> {
    let protected = message::text(protected).ok_or_else(unknown)?;
    let proposals = match proposals {
        b"include" => Proposals::Include,
        b"queued" => Proposals::Queued,
        b"ignore" => Proposals::Ignore,
        _ => return Err(unknown()),
    };
    if let [since, version, signers, below @ ..] = tags {
        mirror.want_tags(WantedTags {
            below: below
                .iter()
                .map(|it| message::text(it).map(str::to_owned))
                .collect::<Option<_>>()
                .ok_or_else(unknown)?,
            wanted: TagHorizon::wants,
            horizon: TagHorizon {
                since: Time(message::number(since).ok_or_else(unknown)?),
                version: message::number(version).ok_or_else(unknown)?,
                signers: message::signers_of(signers).ok_or_else(unknown)?,
            },
        });
    }
    let heads = mirror.fetch(origin, protected, proposals).map_err(failed)?;
    let signature = mirror.last_signature();
    let watched = match signature {
        Some(_) => origin.watch_paths(),
        None => Vec::new(),
    };
    let watched = watched
        .iter()
        .map(|path| path.as_os_str().as_encoded_bytes());
    Ok(vec![
        b"ok".to_vec(),
        message::word_of(mirror.own.kind()).into(),
        heads
            .protected
            .map_or_else(Vec::new, |id| id.to_string().into()),
        message::lines(heads.branches.iter()),
        message::lines(heads.tags.iter()),
        heads.unread.join("\n").into_bytes(),
        signature.map_or_else(Vec::new, |it| it.to_bytes()),
        watched.collect::<Vec<_>>().join(&b'\n'),
    ])
}

fn object(mirror: &Mirror, hex: &[u8], kind: &[u8], limit: &[u8]) -> Result<Parts, Failure> {
    let id = message::id(hex).ok_or_else(unknown)?;
    let kind = objs::Kind::from_bytes(kind).map_err(|_| unknown())?;
    let limit = message::number(limit).ok_or_else(unknown)?;
    let bytes = mirror.object_to_tell(&id, kind, limit)?;
    Ok(vec![b"ok".to_vec(), bytes])
}

/// A commit, and some that it leads to, so that a walk through the history need not ask for each.
fn commits(mirror: &Mirror, hex: &[u8], many: &[u8]) -> Result<Parts, Failure> {
    let first = message::id(hex).ok_or_else(unknown)?;
    let many: usize = message::number(many).ok_or_else(unknown)?;
    let read =
        |id: &ObjectId| mirror.own_or_view(|objects| objects.read(id, objs::Kind::Commit, SMALL));
    let bytes = read(&first)?;
    let kind = first.kind();
    let parents_of = |bytes: &[u8]| -> Vec<ObjectId> {
        objs::CommitRefIter::from_bytes(bytes, kind)
            .parent_ids()
            .collect()
    };
    let mut queue: std::collections::VecDeque<_> = parents_of(&bytes).into();
    let mut seen = std::collections::BTreeSet::from([first]);
    let mut size = bytes.len();
    let mut answer = vec![b"ok".to_vec(), bytes];
    while let Some(id) = queue.pop_front() {
        if answer.len() > many.min(COMMITS) || size > COMMITS_BYTES {
            break;
        }
        // Whoever needs one that cannot be read asks for it, and hears why.
        if seen.insert(id)
            && let Ok(bytes) = read(&id)
        {
            queue.extend(parents_of(&bytes));
            size += bytes.len();
            answer.push(bytes);
        }
    }
    Ok(answer)
}

/// What the first of these tags point to: as many as make up an answer, and at least one.
fn tags(mirror: &Mirror, limit: &[u8], ids: &[&[u8]]) -> Result<Parts, Failure> {
    let limit = message::number(limit).ok_or_else(unknown)?;
    let mut parts = vec![b"ok".to_vec()];
    let mut size = 0;
    for hex in ids.iter().take(message::TAGS) {
        let id = message::number(hex).ok_or_else(unknown)?;
        let (word, bytes) = match mirror.tag(&id, limit) {
            Ok(tag) => (tag.kind.into(), tag.bytes),
            Err(error) => (b"unread".to_vec(), message::nest_error(error)),
        };
        size += bytes.len();
        parts.extend([word, bytes]);
        if size > message::TAGS_BYTES {
            break;
        }
    }
    Ok(parts)
}

fn merge(mirror: &Mirror, protected: &[u8], head: &[u8]) -> Result<Parts, Failure> {
    let (protected, head) = (commit_id(protected)?, commit_id(head)?);
    let said = |word: &str| Ok(vec![b"ok".to_vec(), word.into()]);
    match mirror.stands(&protected, &head) {
        Stands::Contained => return said("contained"),
        // Whoever asks reads its files as those of any commit.
        Stands::Ahead => return said("ahead"),
        Stands::Apart => {}
    }
    match mirror.merge(&protected, &head)? {
        Merged::UpToDate => said("contained"),
        Merged::FastForward { .. } => said("ahead"),
        Merged::Clean { files, base } => {
            let mut parts = vec![b"ok".to_vec(), format!("clean {base}").into()];
            for (path, file) in files {
                parts.extend([path.into_bytes(), file.id.to_string().into(), file.bytes]);
            }
            Ok(parts)
        }
        Merged::Conflict { paths } => {
            let mut parts = vec![b"ok".to_vec(), b"conflict".to_vec()];
            parts.extend(paths.into_iter().map(String::into_bytes));
            Ok(parts)
        }
        Merged::Unrelated => said("unrelated"),
    }
}

fn contents(
    mirror: &Mirror,
    protected: &[u8],
    head: &[u8],
    paths: &[&[u8]],
) -> Result<Parts, Failure> {
    let paths: Option<_> = paths
        .iter()
        .map(|path| message::text(path).map(str::to_owned))
        .collect();
    let paths = paths.ok_or_else(unknown)?;
    let found = mirror.contents(&commit_id(protected)?, Some(&commit_id(head)?), &paths)?;
    let mut parts = vec![b"ok".to_vec()];
    for (path, bytes) in found {
        parts.extend([path.into_bytes(), bytes]);
    }
    Ok(parts)
}

fn commit_id(part: &[u8]) -> Result<CommitId, Failure> {
    message::number(part).ok_or_else(unknown)
}

impl From<MergeError> for Failure {
    fn from(error: MergeError) -> Self {
        match error {
            MergeError::Read(error) => Failure::Read(error),
            error @ (MergeError::Told(_) | MergeError::Merge { .. }) => Failure::other(&error),
        }
    }
}

fn bring(origin: &Origin, mirror: &mut Mirror, heads: &[&[u8]]) -> Result<Parts, Failure> {
    let pairs = heads.chunks(2).map(|pair| {
        Some((
            message::number::<u64>(pair.first()?)?,
            message::number::<CommitId>(pair.get(1)?)?,
        ))
    });
    let heads: Option<BTreeMap<_, _>> = pairs.collect();
    let reasons = mirror
        .bring(origin, &heads.ok_or_else(unknown)?)
        .map_err(failed)?;
    let mut parts = vec![b"ok".to_vec()];
    for (number, why) in reasons {
        parts.extend([number.to_string().into_bytes(), why.into_bytes()]);
    }
    Ok(parts)
}
