//! The side of the one who acts: it starts or reaches a reader, asks, and hashes what it is given.

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::ffi::OsString;
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::fs::chown;
use std::os::unix::net::UnixStream;
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::{Duration, Instant};

use gix::hash::{Kind, ObjectId, oid};
use gix::objs;
use muster_core::commit::{CommitId, TagId};

use super::branches::{self, Told};
use super::link::{Asked, IsWanted, Link, Lost, converse};
use super::message::{self, FORMAT, Parts, ReaderError};
use crate::fetch_error::FetchError;
use crate::files::{BlobId, File, Files};
use crate::heads::{Heads, Proposals};
use crate::layout;
use crate::local;
use crate::merge::{MergeError, Merged, MergedAfar, Stands};
use crate::mirror::{Mirror, TagObject};
use crate::objects::{CommitParts, Objects, SMALL, Source, object_id, parse_commit};
use crate::origin::Origin;
use crate::owner::Owner;
use crate::read_error::ReadError;
use crate::run;
use crate::signature::Signature;

/// How long a reader may take for an answer: from a repository on this machine, and where git has to fetch.
const LOCAL_ANSWER: Duration = Duration::from_secs(120);
const REMOTE_ANSWER: Duration = Duration::from_secs(900);

/// How long is waited before one that died is started again: doubled each time.
const FIRST_PAUSE: Duration = Duration::from_secs(1);
const LONGEST_PAUSE: Duration = Duration::from_secs(300);

/// Commits that are asked for at once, at first and at most: what moved is nearly always a child of what was there.
const FEW_COMMITS: usize = 2;
const MANY_COMMITS: usize = 1_000;

/// Commits that are remembered while histories are walked.
const REMEMBERED: usize = 500_000;

/// A child that holds more than this in its answer gives its memory back by ending.
const LARGE_ANSWER: u64 = 8 << 20;

/// Where a reader is found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Way {
    /// A child: this program with these arguments, in a directory that is its own. For a local origin it runs as the
    /// repository's owner. It calls [`super::Desk::serve`] with its standard input.
    Child {
        /// Its absolute path.
        program: PathBuf,
        /// The hidden subcommand.
        args: Vec<OsString>,
        /// Where it keeps what it fetches from a remote origin; a scratch directory when there is none.
        keeps: Option<PathBuf>,
    },
    /// A service that listens at this socket.
    Service(PathBuf),
}

/// The way to a reader of one origin.
pub struct Reader {
    way: Way,
    origin: Origin,
    within: Duration,
    is_wanted: Option<IsWanted>,
    link: Option<Link>,
    /// One that comes up meanwhile, and was told nothing yet.
    begun: Option<Link>,
    deaths: u32,
    not_before: Option<Instant>,
    commits: HashMap<ObjectId, CommitParts>,
    small: Small,
    watched: Vec<PathBuf>,
}

/// Small objects that were given and hashed: a tree may stand in a thousand places, and what was copied is read next.
#[derive(Default)]
struct Small {
    objects: HashMap<ObjectId, (objs::Kind, Vec<u8>)>,
    bytes: usize,
}

impl Small {
    /// The largest that is remembered, and all of them together, in bytes.
    const EACH: usize = 64 << 10;
    const ALL: usize = 8 << 20;

    fn get(&self, id: &oid, kind: objs::Kind, limit: u64) -> Option<Vec<u8>> {
        let (known, bytes) = self.objects.get(id)?;
        (*known == kind && bytes.len() as u64 <= limit).then(|| bytes.clone())
    }

    fn keep(&mut self, id: &oid, kind: objs::Kind, bytes: &[u8]) {
        if bytes.len() > Self::EACH {
            return;
        }
        if self.bytes > Self::ALL {
            *self = Small::default();
        }
        self.bytes += bytes.len() + size_of::<ObjectId>();
        self.objects.insert(id.to_owned(), (kind, bytes.to_vec()));
    }
}

impl Reader {
    /// A reader of `origin`. Nothing is started yet.
    pub fn of(origin: &Origin, way: Way) -> Reader {
        Reader {
            way,
            origin: origin.clone(),
            within: match origin {
                Origin::Local(_) => LOCAL_ANSWER,
                Origin::Remote(_) => REMOTE_ANSWER,
            },
            is_wanted: None,
            link: None,
            begun: None,
            deaths: 0,
            not_before: None,
            commits: HashMap::new(),
            small: Small::default(),
            watched: Vec::new(),
        }
    }

    /// The same, but each answer has to be there within this time.
    #[must_use]
    pub fn answering_within(self, within: Duration) -> Reader {
        Reader { within, ..self }
    }

    /// The same, but an origin that takes its time is waited for only until `is_wanted`, and has not answered yet then. It goes on
    /// meanwhile, and what it answers is there when it is asked again.
    #[must_use]
    pub fn waiting_unless(self, is_wanted: IsWanted) -> Reader {
        Reader {
            is_wanted: Some(is_wanted),
            ..self
        }
    }

    /// Asks something that is whole by itself; a reader that dies of it is started once more, and asked again.
    fn ask(&mut self, asked: &[Vec<u8>], most: u64) -> Result<Vec<Vec<u8>>, Asked> {
        match self.ask_once(asked, most, None) {
            Err(Asked::Lost(Lost::Gone(_) | Lost::Absent(_))) => self.ask_once(asked, most, None),
            answer => answer,
        }
    }

    /// The same, about what takes as long as the network does.
    fn ask_afar(&mut self, asked: &[Vec<u8>], most: u64) -> Result<Vec<Vec<u8>>, Asked> {
        let is_wanted = self.is_wanted.clone();
        let is_wanted = is_wanted.as_ref();
        // A service may have been started anew since it was last asked.
        let was_asked = self.link.is_some();
        match self.ask_once(asked, most, is_wanted) {
            Err(Asked::Lost(Lost::Gone(_) | Lost::Absent(_))) if was_asked => {
                self.ask_once(asked, most, is_wanted)
            }
            answer => answer,
        }
    }

    fn ask_once(
        &mut self,
        asked: &[Vec<u8>],
        most: u64,
        is_wanted: Option<&IsWanted>,
    ) -> Result<Vec<Vec<u8>>, Asked> {
        let mut link = match self.link.take() {
            Some(link) if link.owes.is_some() && is_wanted.is_none() => {
                self.link = Some(link);
                return Err(Asked::Lost(Lost::NotYet));
            }
            Some(link) => link,
            None => self.start(most)?,
        };
        let answer = match converse(&mut link, asked, most, self.within, is_wanted) {
            Err(Asked::Lost(Lost::NotYet)) => {
                self.link = Some(link);
                return Err(Asked::Lost(Lost::NotYet));
            }
            answer => answer?,
        };
        let size: usize = answer.iter().map(Vec::len).sum();
        if link.child.is_none() || (size as u64) < LARGE_ANSWER {
            self.link = Some(link);
        }
        Ok(answer)
    }

    /// Starts a child that will soon be asked about a local origin: it comes up while its asker waits for something else. What keeps one
    /// from being started is said when it is asked.
    pub(crate) fn begin(&mut self) {
        if let (
            Way::Child {
                program,
                args,
                keeps,
            },
            Origin::Local(_),
        ) = (&self.way, &self.origin)
            && self.link.is_none()
            && self.begun.is_none()
            && self.not_before.is_none_or(|it| it <= Instant::now())
        {
            self.begun = self.start_child(program, args, keeps.as_deref()).ok();
        }
    }

    fn start(&mut self, most: u64) -> Result<Link, Asked> {
        // One that came up in vain, or ended meanwhile, is another one's place.
        if let Some(begun) = self.begun.take()
            && let Ok(link) = self.greet(begun, most)
        {
            return Ok(link);
        }
        let link = match &self.way {
            Way::Service(socket) => {
                let stream = UnixStream::connect(socket).map_err(|error| {
                    Asked::Lost(Lost::Absent(format!(
                        "nobody listens at {}; see `systemctl status muster-reader.socket`: {error}",
                        socket.display()
                    )))
                })?;
                Link {
                    stream,
                    owes: None,
                    child: None,
                    _scratch: None,
                }
            }
            Way::Child {
                program,
                args,
                keeps,
            } => self.start_child(program, args, keeps.as_deref())?,
        };
        self.greet(link, most)
    }

    /// Tells one that was just started what it is to read.
    fn greet(&self, mut link: Link, most: u64) -> Result<Link, Asked> {
        let hello = [
            b"hello".to_vec(),
            FORMAT.to_vec(),
            self.origin.to_string().into_bytes(),
            most.to_string().into_bytes(),
        ];
        match converse(&mut link, &hello, most, self.within, None) {
            Ok(_) => Ok(link),
            // Nothing was asked of it yet that it could have died of.
            Err(Asked::Lost(Lost::Gone(why))) => Err(Asked::Lost(Lost::Absent(why))),
            Err(other) => Err(other),
        }
    }

    fn start_child(
        &self,
        program: &Path,
        args: &[OsString],
        keeps: Option<&Path>,
    ) -> Result<Link, Asked> {
        let failed = |error: io::Error| {
            Asked::Lost(Lost::Absent(format!("it could not be started: {error}")))
        };
        let owner = match &self.origin {
            Origin::Remote(_) => None,
            Origin::Local(path) => {
                let told = |error: &dyn std::error::Error| {
                    let words = ["cannot read the origin".to_owned(), error.to_string()];
                    Asked::Told(ReaderError::of(&words.map(String::into_bytes)))
                };
                let (_, common) = layout::dirs(path).map_err(|error| told(&error))?;
                Some(Owner::of(&common).map_err(|error| told(&error))?)
            }
        };
        let mut command = run::bare_environment(program.to_owned());
        // What mimalloc sets aside counts as used, and could not be given to git.
        command.args(args).env("MIMALLOC_ARENA_EAGER_COMMIT", "0");
        let scratch = match keeps {
            Some(dir) => {
                command.arg("--dir").arg(dir);
                None
            }
            None => {
                let scratch = tempfile::Builder::new()
                    .prefix("muster-reader-")
                    .tempdir_in("/tmp")
                    .map_err(failed)?;
                command.arg("--dir").arg(scratch.path());
                Some(scratch)
            }
        };
        if let Some(owner) = owner
            && !owner.is_us()
        {
            if let Some(scratch) = &scratch
                && nix::unistd::geteuid().is_root()
            {
                chown(scratch.path(), Some(owner.uid), Some(owner.gid)).map_err(failed)?;
            }
            // Somebody who is not root reads with rights of their own, as far as those go.
            if nix::unistd::geteuid().is_root() {
                command.uid(owner.uid).gid(owner.gid);
            }
        }
        let (stream, theirs) = UnixStream::pair().map_err(failed)?;
        let child = command
            .stdin(OwnedFd::from(theirs))
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .map_err(failed)?;
        Ok(Link {
            stream,
            owes: None,
            child: Some(child),
            _scratch: scratch,
        })
    }

    /// What it says of branches and tags.
    fn heads(&mut self, asked: &branches::Asked<'_>, most: u64) -> Result<Parts, FetchError> {
        if let Some(then) = self.not_before {
            let wait = then.saturating_duration_since(Instant::now());
            if !wait.is_zero() {
                let why = format!("{} times in a row", self.deaths);
                return Err(FetchError::Reader(Lost::Waiting { why, wait }));
            }
        }
        let answer = self.ask_afar(&asked.words(), most);
        match &answer {
            Err(Asked::Lost(Lost::NotYet)) => {}
            Err(Asked::Lost(_)) => {
                let pause = FIRST_PAUSE * 2_u32.saturating_pow(self.deaths.min(16));
                self.deaths = self.deaths.saturating_add(1);
                self.not_before = Some(Instant::now() + pause.min(LONGEST_PAUSE));
            }
            _ => {
                self.deaths = 0;
                self.not_before = None;
            }
        }
        Ok(answer?)
    }

    /// The directories in which something changes when a branch of a local origin moves, as it was read last.
    pub(crate) fn watched(&self) -> &[PathBuf] {
        &self.watched
    }

    fn object(
        &mut self,
        id: &oid,
        kind: objs::Kind,
        limit: u64,
        most: u64,
    ) -> Result<Vec<u8>, ReadError> {
        if let Some(known) = self.small.get(id, kind, limit) {
            return Ok(known);
        }
        let asked = [
            b"object".to_vec(),
            id.to_string().into(),
            kind.as_bytes().to_vec(),
            limit.to_string().into(),
        ];
        let mut answer = self.ask(&asked, most)?;
        let bytes = answer.pop().unwrap_or_default();
        let bytes = verified(id, kind, bytes, limit)?;
        self.small.keep(id, kind, &bytes);
        Ok(bytes)
    }

    fn commit(&mut self, id: &oid, most: u64) -> Result<CommitParts, ReadError> {
        if let Some(known) = self.commits.get(id) {
            return Ok(known.clone());
        }
        if self.commits.len() > REMEMBERED {
            self.commits.clear();
        }
        // A walk is short nearly always; where it is not, it asks for more each time.
        let more = self.commits.len().clamp(FEW_COMMITS, MANY_COMMITS);
        let asked = [
            b"commits".to_vec(),
            id.to_string().into(),
            more.to_string().into(),
        ];
        let answer = self.ask(&asked, most)?;
        for bytes in answer.into_iter().skip(1) {
            let Ok(found) = objs::compute_hash(id.kind(), objs::Kind::Commit, &bytes) else {
                continue;
            };
            if let Ok(parts) = parse_commit(&found, &bytes) {
                self.commits.insert(found, parts);
            }
        }
        let found = self.commits.get(id).cloned();
        found.ok_or_else(|| ReadError::Damaged { id: id.to_string() })
    }

    /// What the first of these tags point to, each of at most `limit` bytes: as many as the reader gives at once.
    pub(crate) fn tags(
        &mut self,
        ids: &[TagId],
        limit: u64,
        most: u64,
    ) -> Result<Vec<Result<TagObject, ReadError>>, ReadError> {
        let mut asked = vec![b"tags".to_vec(), limit.to_string().into()];
        let first = &ids[..ids.len().min(message::TAGS)];
        asked.extend(first.iter().map(|id| id.as_str().as_bytes().to_vec()));
        let answer = self.ask(&asked, most)?;
        let told = answer[1..].chunks(2).zip(first).map(|(pair, id)| {
            let [word, bytes] = pair else {
                return Err(no_read());
            };
            Ok(tag_of(id, word, bytes, limit))
        });
        told.collect()
    }

    /// What it says of merging `head` into `protected`.
    pub(crate) fn merge(
        &mut self,
        protected: &CommitId,
        head: &CommitId,
        most: u64,
    ) -> Result<MergedAfar, MergeError> {
        let asked = [
            b"merge".to_vec(),
            protected.as_str().into(),
            head.as_str().into(),
        ];
        let answer = self.ask(&asked, most)?;
        let mut answer = answer.into_iter().skip(1);
        let word = answer.next().unwrap_or_default();
        let merged = match word.as_slice() {
            b"contained" => Some(MergedAfar::Stands(Stands::Contained)),
            b"ahead" => Some(MergedAfar::Stands(Stands::Ahead)),
            b"unrelated" => Some(MergedAfar::Stands(Stands::Apart)),
            b"conflict" => Some(MergedAfar::Merged(Merged::Conflict {
                paths: answer
                    .map(|path| run::printable(&path))
                    .collect::<BTreeSet<_>>(),
            })),
            word => word
                .strip_prefix(b"clean ")
                .and_then(message::number)
                .and_then(|base| {
                    let files = files_of(&mut answer)?;
                    Some(MergedAfar::Merged(Merged::Clean { files, base }))
                }),
        };
        merged.ok_or_else(|| MergeError::Read(no_read()))
    }

    /// The plain files at these paths after merging `head` into `protected`; none when they do not merge.
    pub(crate) fn contents(
        &mut self,
        protected: &CommitId,
        head: &CommitId,
        paths: &BTreeSet<String>,
        most: u64,
    ) -> Result<BTreeMap<String, Vec<u8>>, MergeError> {
        let mut asked = vec![
            b"contents".to_vec(),
            protected.as_str().into(),
            head.as_str().into(),
        ];
        asked.extend(paths.iter().map(|path| path.clone().into_bytes()));
        let answer = self.ask(&asked, most)?;
        let pairs = answer[1..].chunks(2).map(|pair| {
            let path = message::text(pair.first()?)?;
            let path = paths.get(path)?.clone();
            Some((path, pair.get(1)?.clone()))
        });
        let contents: Option<_> = pairs.collect();
        contents.ok_or_else(|| MergeError::Read(no_read()))
    }

    /// Fetches heads of pull requests, and gives the reasons for those that are missing.
    pub(crate) fn bring(
        &mut self,
        heads: &BTreeMap<u64, CommitId>,
        most: u64,
    ) -> Result<BTreeMap<u64, String>, FetchError> {
        let mut asked = vec![b"bring".to_vec()];
        for (number, head) in heads {
            asked.push(number.to_string().into());
            asked.push(head.as_str().into());
        }
        let answer = self.ask(&asked, most)?;
        let reasons = answer[1..].chunks(2).map(|pair| {
            let number = message::number(pair.first()?)?;
            Some((number, run::printable(pair.get(1)?)))
        });
        reasons.collect::<Option<_>>().ok_or_else(no_answer)
    }

    /// Has it pack what it keeps, where that has grown. A child that keeps nothing is not started for that: to start one is a twentieth
    /// of a cycle that changes something (`tests/bench/bench converge`).
    pub(crate) fn tidy(&mut self, most: u64) -> Result<(), FetchError> {
        if self.link.is_none() && matches!(self.way, Way::Child { keeps: None, .. }) {
            return Ok(());
        }
        self.ask(&[b"tidy".to_vec()], most)?;
        Ok(())
    }

    /// Lets go of the history that was walked.
    pub(crate) fn forget_history(&mut self) {
        self.commits = HashMap::new();
    }

    /// Ends a child, which is started again when it is needed; a service has others to answer, and stays.
    pub(crate) fn rest(&mut self) {
        self.forget_history();
        self.small = Small::default();
        self.begun = None;
        // One that has not answered yet goes on.
        self.link
            .take_if(|link| link.child.is_some() && link.owes.is_none());
    }
}

/// The files of a merge: path, id and content of each. What it says of one file cannot be two things.
fn files_of(parts: &mut dyn Iterator<Item = Vec<u8>>) -> Option<Files> {
    let mut files = Files::new();
    while let Some(path) = parts.next() {
        let id = message::id(&parts.next()?)?;
        let bytes = parts.next()?;
        let path = String::from_utf8(path).ok().filter(|it| is_plain(it))?;
        let limit = bytes.len() as u64;
        let bytes = verified(&id, objs::Kind::Blob, bytes, limit).ok()?;
        let id = BlobId(id);
        files.insert(path, File { id, bytes });
    }
    Some(files)
}

fn is_plain(path: &str) -> bool {
    path.split('/')
        .all(|name| crate::files::is_plain_name(name.as_bytes()))
}

fn no_answer() -> FetchError {
    FetchError::Reader(Lost::Gone("what it said is no answer".to_owned()))
}

fn no_read() -> ReadError {
    ReadError::Reader {
        why: Lost::Gone("what it said is no answer".to_owned()).to_string(),
    }
}

/// What the reader says that a tag points to; the bytes are those of its id, or it is an error.
fn tag_of(id: &TagId, word: &[u8], bytes: &[u8], limit: u64) -> Result<TagObject, ReadError> {
    if word == b"unread" {
        return Err(message::nested_error(bytes).unwrap_or_else(no_read));
    }
    let kind = match objs::Kind::from_bytes(word).map_err(|_| no_read())? {
        objs::Kind::Tag => {
            let id = ObjectId::from_hex(id.as_str().as_bytes())
                .expect("invariant: a TagId is 40 or 64 hex digits");
            let bytes = verified(&id, objs::Kind::Tag, bytes.to_vec(), limit)?;
            return Ok(TagObject { kind: "tag", bytes });
        }
        objs::Kind::Commit => "commit",
        objs::Kind::Tree => "tree",
        objs::Kind::Blob => "blob",
    };
    let bytes = Vec::new();
    Ok(TagObject { kind, bytes })
}

/// The bytes, when they are the object that was asked for.
fn verified(id: &oid, kind: objs::Kind, bytes: Vec<u8>, limit: u64) -> Result<Vec<u8>, ReadError> {
    // With detection of SHA-1 collisions: whoever answers got it from strangers.
    let same = objs::compute_hash(id.kind(), kind, &bytes).is_ok_and(|found| *found == *id);
    if same && bytes.len() as u64 <= limit {
        Ok(bytes)
    } else {
        Err(ReadError::Damaged { id: id.to_string() })
    }
}

/// The mirror's own objects, and behind them what the reader gives.
pub(crate) struct Far<'m> {
    pub(crate) own: &'m Objects,
    pub(crate) reader: &'m RefCell<Reader>,
}

impl Source for Far<'_> {
    fn kind(&self) -> Kind {
        self.own.kind()
    }

    fn most_bytes(&self) -> u64 {
        self.own.most_bytes()
    }

    fn read(&self, id: &oid, expected: objs::Kind, limit: u64) -> Result<Vec<u8>, ReadError> {
        let most = self.most_bytes();
        if self.own.has(id)
            && let Ok(bytes) = self.own.read(id, expected, limit)
        {
            return Ok(bytes);
        }
        let limit = limit.min(most);
        self.reader.borrow_mut().object(id, expected, limit, most)
    }

    fn commit(&self, id: &oid) -> Result<CommitParts, ReadError> {
        let found = self.reader.borrow_mut().commit(id, self.most_bytes());
        match found {
            Err(ReadError::Reader { .. } | ReadError::Missing { .. } | ReadError::Store(_)) => {
                // What was adopted is here, whatever became of the origin.
                let bytes = self.own.read(id, objs::Kind::Commit, SMALL)?;
                parse_commit(id, &bytes)
            }
            found => found,
        }
    }
}

/// Asks the reader for the branches, and copies what is needed of the protected one. Where nothing moved since another process
/// asked the same, it is not asked again.
pub(crate) fn far_fetch(
    mirror: &mut Mirror,
    protected: &str,
    proposals: Proposals,
) -> Result<(Heads, Option<Signature>), FetchError> {
    let Some(reader) = &mirror.far else {
        return Err(no_answer());
    };
    let mut reader = reader.borrow_mut();
    let origin = reader.origin.clone();
    let asked = branches::Asked {
        origin: &origin,
        protected,
        proposals,
        tags: mirror.wanted_tags.as_ref(),
    };
    // Before anything is asked: what leads elsewhere from then on shows.
    let led_to = match &origin {
        Origin::Local(path) => layout::dirs(path).ok().map(|(_, common)| (path, common)),
        Origin::Remote(_) => None,
    };
    let reached = |signature: Option<Signature>| {
        let signature = signature?;
        let (path, common) = led_to.as_ref()?;
        Some(signature.reached_by(path, common))
    };
    let question = led_to
        .as_ref()
        .and_then(|(_, common)| asked.remembered(common));
    let known = match &led_to {
        Some((_, common)) if mirror.last_look.is_anothers() => {
            let about = asked.remembered_of_any(common);
            let answer = about.and_then(|about| mirror.last_look.recall_any(&about));
            answer
                .and_then(|answer| asked.told(&answer))
                .map(Told::of_the_protected_branch)
        }
        _ => {
            let answer = question.as_ref().and_then(|it| mirror.last_look.recall(it));
            answer.and_then(|answer| asked.told(&answer))
        }
    };
    let is_here = |tip: &CommitId| local::is_whole(&mirror.own, &object_id(tip));
    if let Some(told) = known
        && told.lasts()
        && told.kind == mirror.own.kind()
        && told.heads.protected.as_ref().is_some_and(is_here)
    {
        reader.watched = told.watched;
        return Ok((told.heads, reached(told.signature)));
    }
    let answer = reader.heads(&asked, mirror.limits.bytes)?;
    let mut told = asked.told(&answer).ok_or_else(no_answer)?;
    told.signature = match &origin {
        Origin::Local(_) => reached(told.signature),
        Origin::Remote(_) => None,
    };
    let lasts = told.lasts();
    reader.watched = told.watched;
    drop(reader);
    mirror.be_of(told.kind)?;
    if let Some(tip) = &told.heads.protected {
        mirror.keep_tip(protected, &object_id(tip))?;
    }
    // Not before what it tells of is here.
    if let Some(question) = question.filter(|_| lasts) {
        mirror.last_look.keep(&question, &answer);
    }
    Ok((told.heads, told.signature))
}
