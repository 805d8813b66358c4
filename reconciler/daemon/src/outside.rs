//! The outside as it really is: git and a host behind the traits of `muster_core::world`.

use std::collections::{BTreeMap, BTreeSet};
use std::error::Error as StdError;
use std::fmt;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use muster_core::commit::{CommitId, TagId};
use muster_core::diagnostic::{Diagnostic, Diagnostics, Severity};
use muster_core::executor::Executor;
use muster_core::host_key::HostKey;
use muster_core::ledger::{self, Through};
use muster_core::release::answer::ANSWERS;
use muster_core::release::tag::MAX_TAG_BYTES;
use muster_core::release::{ObjectKind, RELEASES, RESETS, ROTATIONS, TagHorizon};
use muster_core::time::Time;
use muster_core::world::{
    Ancestry, Files, Heads, Ledger, Merge, Pulls, RawTag, ReportSink, Source, Topic, Version,
};
use muster_git::files::ReadError;
use muster_git::reader::{IsWanted, Way};
use muster_git::{
    MergeError, Merged, Mirror, Notes, Origin, Proposals, Signature, TagObject, WantedTags,
};

use crate::cycle::chain;
use crate::reader;

/// What went wrong outside, with its causes.
#[derive(Debug)]
pub struct OutsideError(Box<dyn StdError + Send + Sync>);

impl fmt::Display for OutsideError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.0, f)
    }
}

impl StdError for OutsideError {
    fn source(&self) -> Option<&(dyn StdError + 'static)> {
        self.0.source()
    }
}

impl OutsideError {
    pub(crate) fn new(error: impl StdError + Send + Sync + 'static) -> Self {
        Self(Box::new(error))
    }
}

/// The state repository: an origin, and the mirror it is read through.
pub struct StateSource {
    mirror: Mirror,
    origin: Origin,
    protected: String,
    proposals: Proposals,
    /// What was found when the branches were last read, and by what it can be seen that it still holds.
    last: Option<(Signature, Heads)>,
    /// Which branches could not be read, and why, as it was said last.
    unread: Vec<String>,
    /// When the mirror was last looked after, or this was opened.
    tidied: Instant,
    /// Tags of owner responses that were found then.
    answers: BTreeMap<String, TagId>,
}

/// How long the mirror is not looked after while nothing is done: strangers push all the same.
const UNTIDY: Duration = Duration::from_secs(3_600);

impl StateSource {
    /// Reads `origin`, whose protected branch has the full name `protected`, through the mirror in `dir`. Who reads it is found
    /// at `way`; this process, when there is none.
    ///
    /// # Errors
    /// When the mirror can be neither opened nor made.
    pub fn open(
        dir: &Path,
        origin: Origin,
        way: Option<Way>,
        protected: &str,
        proposals: Proposals,
    ) -> Result<Self, OutsideError> {
        let mirror = Mirror::open_or_create(dir).map_err(OutsideError::new)?;
        let mirror = reader::through(mirror, &origin, way).map_err(OutsideError::new)?;
        Ok(Self::through(mirror, origin, protected, proposals))
    }

    /// The same for one look: what a local origin has is read there, and not copied into `dir`; what an executor of this machine
    /// keeps in `kept`, is read there.
    ///
    /// # Errors
    /// As for [`StateSource::open`].
    pub fn for_one_look(
        (dir, kept): (&Path, Option<&Path>),
        origin: Origin,
        way: Option<Way>,
        protected: &str,
        proposals: Proposals,
    ) -> Result<Self, OutsideError> {
        let mirror = reader::for_one_look(dir, kept, &origin, way).map_err(OutsideError::new)?;
        Ok(Self::through(mirror, origin, protected, proposals))
    }

    fn through(mirror: Mirror, origin: Origin, protected: &str, proposals: Proposals) -> Self {
        Self {
            mirror,
            origin,
            protected: protected.to_owned(),
            proposals,
            last: None,
            unread: Vec::new(),
            tidied: Instant::now(),
            answers: BTreeMap::new(),
        }
    }

    /// The same, but an origin that takes its time is waited for only until `is_wanted`: whoever decides at the console does
    /// not wait for a network.
    #[must_use]
    pub fn waiting_unless(self, is_wanted: IsWanted) -> Self {
        Self {
            mirror: self.mirror.waiting_unless(is_wanted),
            ..self
        }
    }

    /// Whether the branches may have moved since they were last read. Always, for a remote origin.
    pub fn has_moved(&self) -> bool {
        self.last
            .as_ref()
            .is_none_or(|(signature, _)| !signature.still_holds())
    }

    /// By what it can be seen that nothing moved since the branches were last read; `None` for a remote origin.
    pub fn signature(&self) -> Option<&Signature> {
        self.last.as_ref().map(|(signature, _)| signature)
    }

    /// The directories in which something changes when a branch moves.
    pub fn watch_paths(&self) -> Vec<std::path::PathBuf> {
        self.mirror.watch_paths(&self.origin)
    }

    /// The origin.
    pub fn origin(&self) -> &Origin {
        &self.origin
    }

    /// Begins what takes a while to be there, where branches moved that will be read soon.
    pub fn prepare(&mut self) {
        if self.has_moved() {
            self.mirror.prepare();
        }
    }

    /// Lets go of whoever reads, until something moves: a process that nobody asks needs no memory.
    pub fn rest(&mut self) {
        self.mirror.rest();
    }

    /// After each cycle: [`StateSource::maintain`] when it did something, and now and then when it did not.
    pub fn maintain_after(&mut self, acted: bool, adopted: &CommitId) {
        if acted || self.tidied.elapsed() >= UNTIDY {
            self.maintain(Some(adopted));
        }
    }

    /// Packs the mirror when it has grown, or holds much that branches left behind. What is in force stays.
    pub fn maintain(&mut self, adopted: Option<&CommitId>) {
        self.tidied = Instant::now();
        let held = adopted.map_or(Ok(()), |adopted| self.mirror.hold(adopted));
        if let Err(error) = held.and_then(|()| self.mirror.maintain()) {
            tracing::warn!("The mirror could not be packed: {}.", chain(&error));
        }
        if let Err(error) = self.mirror.tidy_reader() {
            tracing::warn!("The reader's copy could not be packed: {}.", chain(&error));
        }
    }
}

impl Source for StateSource {
    type Error = OutsideError;

    fn heads(&mut self, horizon: &TagHorizon) -> Result<Heads, OutsideError> {
        if let Some((signature, heads)) = &self.last
            && signature.still_holds()
        {
            return Ok(heads.clone());
        }
        self.last = None;
        self.mirror.want_tags(WantedTags {
            below: match self.proposals {
                // A bot runs nothing, and looks at who stands behind owner responses.
                Proposals::Queued => vec![ANSWERS.to_owned()],
                Proposals::Include | Proposals::Ignore => {
                    [RELEASES, ROTATIONS, RESETS].map(str::to_owned).into()
                }
            },
            wanted: TagHorizon::wants,
            horizon: horizon.clone(),
        });
        let found = self
            .mirror
            .fetch(&self.origin, &self.protected, self.proposals)
            .map_err(OutsideError::new)?;
        for unread in found.unread.iter().filter(|it| !self.unread.contains(it)) {
            tracing::warn!("A branch could not be read: {unread}.");
        }
        let (answers, tags) = found
            .tags
            .into_iter()
            .partition(|(name, _)| name.starts_with(ANSWERS));
        self.answers = answers;
        self.unread = found.unread;
        let heads = Heads {
            protected: found.protected,
            proposals: found.branches,
            tags,
        };
        // Taken before the branches were read: what moved afterwards changed it.
        self.last = self
            .mirror
            .last_signature()
            .map(|signature| (signature, heads.clone()));
        Ok(heads)
    }

    fn tag(&mut self, id: &TagId) -> Result<RawTag, OutsideError> {
        raw_tag(self.mirror.tag(id, MAX_TAG_BYTES as u64))
    }

    fn tags(&mut self, ids: &[TagId]) -> Result<Vec<Result<RawTag, OutsideError>>, OutsideError> {
        let found = self.mirror.tags(ids, MAX_TAG_BYTES as u64);
        let found = found.map_err(OutsideError::new)?;
        Ok(found.into_iter().map(raw_tag).collect())
    }

    fn ancestry(&mut self, old: &CommitId, new: &CommitId) -> Result<Ancestry, OutsideError> {
        Ok(match self.mirror.ancestry(old, new) {
            muster_git::Ancestry::Same => Ancestry::Same,
            muster_git::Ancestry::Descends => Ancestry::Descends,
            muster_git::Ancestry::Diverged => Ancestry::Diverged,
            muster_git::Ancestry::Unknown => {
                return Err(OutsideError::new(std::io::Error::other(
                    "a part of its history is missing from the origin",
                )));
            }
        })
    }

    fn files(&mut self, commit: &CommitId) -> Result<Result<Files, Diagnostics>, OutsideError> {
        match self.mirror.files(commit) {
            Ok(files) => Ok(Ok(bytes_of(files))),
            // That nobody could read it says nothing of the commit: what is in force stays, and it is read again.
            Err(error @ ReadError::Reader { .. }) => Err(OutsideError::new(error)),
            Err(error) => refused(error).map(Err).map_err(OutsideError::new),
        }
    }

    fn merge(&mut self, protected: &CommitId, head: &CommitId) -> Result<Merge, OutsideError> {
        match self.mirror.merge(protected, head) {
            Ok(Merged::UpToDate) => Ok(Merge::Contained),
            Ok(Merged::FastForward { files } | Merged::Clean { files, .. }) => {
                Ok(Merge::Clean(bytes_of(files)))
            }
            Ok(Merged::Conflict { paths }) => Ok(Merge::Conflict(paths.into_iter().collect())),
            Ok(Merged::Unrelated) => Ok(Merge::Conflict(vec![
                "(the branch has no commit in common with the protected one)".to_owned(),
            ])),
            Err(MergeError::Read(error)) => refused(error)
                .map(Merge::Refused)
                .map_err(OutsideError::new),
            Err(error) => Err(OutsideError::new(error)),
        }
    }

    fn contents(
        &mut self,
        protected: &CommitId,
        head: Option<&CommitId>,
        paths: &BTreeSet<String>,
    ) -> Result<Files, OutsideError> {
        self.mirror
            .contents(protected, head, paths)
            .map_err(OutsideError::new)
    }

    fn versions(
        &mut self,
        protected: &CommitId,
        head: &CommitId,
        dir: &str,
    ) -> Result<Option<Vec<Version>>, OutsideError> {
        self.mirror
            .versions(protected, head, dir)
            .map_err(OutsideError::new)
    }
}

impl Pulls for StateSource {
    fn answer_tags(&mut self) -> BTreeMap<String, TagId> {
        self.answers.clone()
    }

    fn bring(
        &mut self,
        heads: &BTreeMap<u64, CommitId>,
    ) -> Result<BTreeMap<u64, String>, OutsideError> {
        self.mirror
            .bring(&self.origin, heads)
            .map_err(OutsideError::new)
    }
}

fn raw_tag(found: Result<TagObject, ReadError>) -> Result<RawTag, OutsideError> {
    let found = match found {
        // Too long is something about the tag, and no reason to doubt the repository: it is taken for one that is no tag (F15).
        Err(ReadError::TooLarge { .. }) => {
            return Ok(RawTag {
                kind: ObjectKind::Tag,
                bytes: vec![0; MAX_TAG_BYTES + 1],
            });
        }
        found => found.map_err(OutsideError::new)?,
    };
    Ok(RawTag {
        kind: match found.kind {
            "tag" => ObjectKind::Tag,
            "commit" => ObjectKind::Commit,
            "tree" => ObjectKind::Tree,
            _ => ObjectKind::Blob,
        },
        bytes: found.bytes,
    })
}

/// The content of each file.
pub(crate) fn bytes_of(files: muster_git::Files) -> Files {
    files
        .into_iter()
        .map(|(path, file)| (path, file.bytes))
        .collect()
}

/// Paths that hold something other than plain files are the repository's fault; all else is a failure to read.
pub(crate) fn refused(error: ReadError) -> Result<Diagnostics, ReadError> {
    let about = |file: String, problem: String| Diagnostic {
        file,
        at: None,
        severity: Severity::Error,
        rule: "plain-file",
        problem,
        help: None,
    };
    match error {
        ReadError::Paths(problems) => {
            let list = problems
                .iter()
                .map(|it| about(it.path.clone(), it.to_string()))
                .collect();
            Ok(Diagnostics::new(list, 0))
        }
        error if error.is_of_size() => Ok(Diagnostics::new(
            vec![about("roster.yaml".to_owned(), error.to_string())],
            0,
        )),
        other => Err(other),
    }
}

/// The ledger of one executor, in its own bare repository.
pub struct LedgerRepository {
    ledger: muster_git::Ledger,
    head: Option<CommitId>,
    commits: u32,
    elsewhere: Elsewhere,
}

/// Where else the ledger is to be, before the journal may forget what it contains.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Elsewhere {
    /// Nowhere.
    No,
    /// In a ledger repository, which has it as far as this commit.
    Pushed(Option<CommitId>),
}

impl LedgerRepository {
    /// Opens the ledger in `dir` at a full ref name, and reads what a start needs of it.
    ///
    /// # Errors
    /// When there is a ledger that cannot be read: corrupt is not absent.
    pub fn open(dir: &Path, reference: &str) -> Result<(Self, Files), OutsideError> {
        let repository =
            muster_git::Ledger::open_or_create(dir, reference).map_err(OutsideError::new)?;
        let state = repository
            .load_where(ledger::is_of_facts)
            .map_err(OutsideError::new)?;
        let (head, files) = state.map_or((None, Files::new()), |state| {
            (Some(state.commit), state.files)
        });
        Ok((
            Self {
                ledger: repository,
                head,
                commits: 0,
                elsewhere: Elsewhere::No,
            },
            files,
        ))
    }

    /// Looks into its history for whose password muster locked after it took the account over.
    ///
    /// # Errors
    /// When it cannot be read.
    pub fn recall_locked(&self, facts: &mut muster_core::facts::Facts) -> Result<(), OutsideError> {
        crate::state_dir::recall_locked(facts, &self.ledger).map_err(OutsideError::new)
    }

    /// Signs every commit from here on.
    #[must_use]
    pub fn signing_with(mut self, key: Arc<HostKey>) -> Self {
        self.ledger = self.ledger.signing_with(key);
        self
    }

    /// Says how far it has arrived elsewhere.
    pub fn has_arrived(&mut self, elsewhere: Elsewhere) {
        self.elsewhere = elsewhere;
    }

    /// The newest commit; `None` before the first.
    pub fn head(&self) -> Option<&CommitId> {
        self.head.as_ref()
    }

    /// How far into the journal the commits reach that have arrived wherever they are to be; `None` when none has.
    ///
    /// # Errors
    /// When what has arrived cannot be read.
    pub fn safe(&self) -> Result<Option<Through>, OutsideError> {
        let arrived = match &self.elsewhere {
            Elsewhere::No => self.head.as_ref(),
            Elsewhere::Pushed(arrived) => arrived.as_ref(),
        };
        arrived.map(|it| self.through_of(it)).transpose()
    }

    /// How far into the journal a commit reaches.
    fn through_of(&self, commit: &CommitId) -> Result<Through, OutsideError> {
        let files = self
            .ledger
            .files_at(commit, &|path| path == ledger::STATE)
            .map_err(OutsideError::new)?;
        ledger::through(&files).map_err(OutsideError::new)
    }

    /// Replaces the executor's sign of life.
    ///
    /// # Errors
    /// When it could not be written.
    pub fn put_alive(
        &mut self,
        executor: &Executor,
        files: &Files,
        at: Time,
    ) -> Result<(), OutsideError> {
        self.ledger
            .put_alive(&executor.alive_ref(), files, at.0)
            .map(drop)
            .map_err(OutsideError::new)
    }
}

/// Facts and how far into the journal they reach, out of the files of a ledger.
///
/// # Errors
/// When the files are not a ledger that this version reads.
pub fn facts_of(files: &Files) -> Result<Option<crate::state_dir::LedgerFacts>, OutsideError> {
    if files.is_empty() {
        return Ok(None);
    }
    ledger::facts(files).map(Some).map_err(OutsideError::new)
}

/// Commits after which the ledger is looked at for packing.
const PACK_EVERY: u32 = 64;

impl Ledger for LedgerRepository {
    type Error = OutsideError;

    fn commit(
        &mut self,
        changes: &BTreeMap<String, Option<Vec<u8>>>,
        message: &str,
        at: Time,
    ) -> Result<(), OutsideError> {
        let head = self
            .ledger
            .commit(self.head.as_ref(), changes, message, at.0)
            .map_err(OutsideError::new)?;
        self.head = Some(head);
        if self.commits.is_multiple_of(PACK_EVERY)
            && let Err(error) = self.ledger.maintain()
        {
            tracing::warn!("The ledger could not be packed: {}.", chain(&error));
        }
        self.commits += 1;
        Ok(())
    }

    fn read(&mut self, path: &str) -> Result<Option<Vec<u8>>, OutsideError> {
        self.ledger.file(path).map_err(OutsideError::new)
    }

    fn keeps(&mut self, through: &Through) -> Option<Through> {
        let arrived = match &self.elsewhere {
            Elsewhere::No => return Some(through.clone()),
            Elsewhere::Pushed(arrived) => arrived.as_ref()?,
        };
        if self.head.as_ref() == Some(arrived) {
            return Some(through.clone());
        }
        match self.safe() {
            Ok(through) => through,
            Err(error) => {
                tracing::warn!(
                    "What was pushed cannot be read, so the journal forgets nothing: {}.",
                    chain(&error)
                );
                None
            }
        }
    }
}

/// Reports as git notes in a local origin.
pub struct NotesSink {
    notes: Notes,
    executor: Executor,
    now: fn() -> Time,
}

impl NotesSink {
    /// Leaves notes through `notes`, dated by `now`.
    pub fn new(notes: Notes, executor: Executor, now: fn() -> Time) -> Self {
        Self {
            notes,
            executor,
            now,
        }
    }

    fn reference(&self, topic: Topic) -> String {
        format!("refs/notes/muster/{}/{}", self.executor, topic.word())
    }
}

impl ReportSink for NotesSink {
    type Error = OutsideError;

    fn told(&mut self, topic: Topic, commit: &CommitId) -> Result<Option<String>, OutsideError> {
        self.notes
            .read(&self.reference(topic), commit)
            .map_err(OutsideError::new)
    }

    fn tell(&mut self, topic: Topic, commit: &CommitId, text: &str) -> Result<(), OutsideError> {
        let reference = self.reference(topic);
        self.notes
            .write(&reference, commit, text, (self.now)().0)
            .map(drop)
            .map_err(OutsideError::new)
    }

    fn forget_plans_except(&mut self, heads: &[CommitId]) -> Result<(), OutsideError> {
        let keep: BTreeSet<CommitId> = heads.iter().cloned().collect();
        let reference = self.reference(Topic::Plan);
        self.notes
            .prune(&reference, &keep, (self.now)().0)
            .map(drop)
            .map_err(OutsideError::new)
    }
}
