//! Muster's own bare repository of the state repository.
//!
//! It is a cache: whatever is in it can be fetched again, so a damaged one is emptied and filled anew. It has one writer,
//! who holds the executor's lock; what a crash left behind is removed when it is opened.
//!
//! From a local origin only what is read is copied (the protected branch's tip, its trees and the files in the places
//! muster reads); older commits and proposals are read in the origin itself, through a *view*: an object directory whose
//! alternates are the mirror and the origin. So no configuration of the origin is ever looked at.

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet, BinaryHeap, HashMap};
use std::fs;
use std::io;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};

use gix::hash::{Kind, ObjectId};
use gix::objs;
use muster_core::commit::{CommitId, TagId};
use muster_core::release::TagHorizon;

use crate::about::About;
use crate::files::{self, BlobId, FILE_LIMIT, Files, Listing, ReadError};
use crate::gather::Gathered;
use crate::objects::{Objects, Source, commit_id, object_id};
use crate::origin::{LayoutError, Origin, Signature};
use crate::owner::NotOurs;
use crate::pack::{self, Keep, PackError, Packed, Written};
use crate::refs::RefError;
use crate::run::{Limits, RunError};
use crate::{local, remote, sync};

/// Where the mirror keeps the branches it fetched: `refs/heads/x` becomes `refs/muster/fetched/heads/x`.
pub(crate) const FETCHED: &str = "refs/muster/fetched/heads/";
const HEADS: &str = "refs/heads/";

/// Where the mirror keeps the tags it fetched: `refs/tags/x/y` becomes `refs/muster/fetched/tags/x/y`.
pub(crate) const FETCHED_TAGS: &str = "refs/muster/fetched/tags/";
const TAGS: &str = "refs/tags/";

/// Which tags are looked at: by full name, and only direct children of the named directories. Anyone may push tags by the
/// ten thousand, so what is not wanted is left out before anything of it is opened.
#[derive(Debug, Clone)]
pub struct WantedTags {
    /// Directories such as `refs/tags/release/`, with the slash.
    pub below: Vec<String>,
    /// Whether the tag of this full name can matter.
    pub wanted: fn(&TagHorizon, &str) -> bool,
    /// What it is decided by.
    pub horizon: TagHorizon,
}

impl WantedTags {
    /// Whether this reference, of a local repository or announced by a server, is one of them.
    pub(crate) fn has(&self, name: &str) -> bool {
        self.below.iter().any(|dir| {
            name.strip_prefix(dir.as_str())
                .is_some_and(|rest| !rest.is_empty() && !rest.contains('/'))
        }) && (self.wanted)(&self.horizon, name)
    }
}

/// A tag's object as it is stored, whose hash is the id that it was asked for by.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TagObject {
    /// `tag`, `commit`, `tree` or `blob`: a tag can point to anything.
    pub kind: &'static str,
    /// The raw bytes of an annotated tag; empty for any other kind.
    pub bytes: Vec<u8>,
}

/// Whether branches other than the protected one are wanted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Proposals {
    /// All branches.
    Include,
    /// The protected branch alone.
    Ignore,
}

/// Whether the protected branch's tip is copied from a local origin.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Copies {
    /// So that it stays readable when the origin is gone.
    Make,
    /// It is read in the origin.
    Omit,
}

/// What the branches of the origin point to.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Heads {
    /// The protected branch; `None` when the origin has no such branch.
    pub protected: Option<CommitId>,
    /// Every other branch by its full name (`refs/heads/x`); empty with [`Proposals::Ignore`]. A name is whatever git
    /// allows, including quotes, `$(…)` and text that runs right to left.
    pub branches: BTreeMap<String, CommitId>,
    /// The tags that were asked for, by full name, and what each points to.
    pub tags: BTreeMap<String, TagId>,
    /// Branches and tags that could not be read, each with the reason: escaped, one line.
    pub unread: Vec<String>,
}

/// How two commits stand to each other.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ancestry {
    /// They are one commit.
    Same,
    /// The new commit has the old one among its ancestors.
    Descends,
    /// The old commit is not among the new commit's ancestors.
    Diverged,
    /// A part of the new commit's history is missing, and the old one is not in the rest.
    Unknown,
}

/// Which of two commits leads to a third.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Reached {
    Old,
    New,
    Both,
}

/// Why nothing was fetched. What was fetched before stays as it is.
#[derive(Debug, thiserror::Error)]
pub enum FetchError {
    /// The local origin is not there or not readable.
    #[error("cannot read the origin")]
    Origin(#[source] LayoutError),
    /// The local origin belongs to somebody else.
    #[error("cannot act in the origin {}", origin.display())]
    NotOurs {
        /// The repository.
        origin: PathBuf,
        /// Who is who.
        source: NotOurs,
    },
    /// git did not run, or failed.
    #[error("cannot fetch from {origin}")]
    Git {
        /// The origin.
        origin: String,
        /// What went wrong.
        source: RunError,
    },
    /// The protected branch exists and cannot be read. That is not the same as a branch that does not exist.
    #[error("the protected branch {name} of the origin holds no commit id")]
    BrokenBranch {
        /// Its full name.
        name: String,
    },
    /// The references of the origin or of the mirror cannot be read or written.
    #[error("cannot read the branches: {0}")]
    Refs(String),
    /// The protected branch's commit or its files cannot be copied.
    #[error("cannot copy the commit {commit}")]
    Read {
        /// The commit.
        commit: CommitId,
        /// What is wrong with it.
        source: ReadError,
    },
    /// git printed something that is no list of references.
    #[error("git printed a list of branches that cannot be read: {0:?}")]
    Unexpected(String),
    /// The mirror cannot be written.
    #[error("cannot write the mirror in {}", dir.display())]
    Mirror {
        /// The mirror's directory.
        dir: PathBuf,
        /// What the system said.
        source: io::Error,
    },
}

impl From<RefError> for FetchError {
    fn from(error: RefError) -> Self {
        match error {
            RefError::Broken { name } => FetchError::BrokenBranch { name },
            RefError::Io { path, source } => {
                FetchError::Refs(format!("{}: {source}", path.display()))
            }
            other => FetchError::Refs(other.to_string()),
        }
    }
}

/// The mirror, open for its one writer.
pub struct Mirror {
    pub(crate) dir: PathBuf,
    pub(crate) limits: Limits,
    pub(crate) own: Objects,
    /// The mirror and a local origin together.
    pub(crate) view: Option<Objects>,
    /// What the last copy from a local origin made sure of.
    pub(crate) copied: BTreeSet<ObjectId>,
    /// Which tags are looked at; none unless asked for.
    pub(crate) wanted_tags: Option<WantedTags>,
    /// Tags of a remote origin that git refused to fetch, with what they pointed to.
    pub(crate) given_up: BTreeSet<(String, ObjectId)>,
    pub(crate) copies: Copies,
    /// What stays when the mirror is packed.
    pub(crate) keep: Keep,
    /// How often pull requests were brought from a remote origin.
    pub(crate) brought: u32,
    /// What was last gathered from a local origin, and by what it can be seen that it still holds.
    pub(crate) gathered: Option<(PathBuf, Signature, Gathered)>,
    seen: Option<Seen>,
    known: RefCell<BTreeMap<(CommitId, CommitId), Ancestry>>,
}

struct Seen {
    path: PathBuf,
    protected: String,
    proposals: Proposals,
    signature: Signature,
    heads: Heads,
}

impl Mirror {
    /// Opens the mirror in `dir`, or makes it. The caller holds the executor's lock: stale locks, temporary files and
    /// objects without content are removed, and the configuration is written as it has to be.
    pub fn open_or_create(dir: &Path) -> Result<Mirror, FetchError> {
        let failed = |source| FetchError::Mirror {
            dir: dir.to_owned(),
            source,
        };
        let kind = found_kind(dir);
        lay_out(dir, kind, MIRROR_SETTINGS).map_err(failed)?;
        let leftovers = sync::sweep(dir, sync::EmptyRefs::Remove).map_err(failed)?;
        if leftovers.empty > 0 {
            tracing::warn!(mirror = %dir.display(), empty = leftovers.empty, "the mirror was damaged, it is filled again");
            forget_refs(dir).map_err(failed)?;
        }
        let own = Objects::open_plain(&dir.join("objects"), kind).map_err(failed)?;
        let (copied, known) = (BTreeSet::new(), RefCell::default());
        Ok(Mirror {
            dir: dir.to_owned(),
            limits: Limits::default(),
            own,
            view: None,
            copied,
            wanted_tags: None,
            given_up: BTreeSet::new(),
            copies: Copies::Make,
            keep: Keep::Everything,
            brought: 0,
            gathered: None,
            seen: None,
            known,
        })
    }

    /// Opens the mirror for one look that nobody will want to repeat when the origin is gone: what a local origin has is
    /// read there, by the same isolated view as its history, and not copied.
    pub fn for_one_look(dir: &Path) -> Result<Mirror, FetchError> {
        let mut mirror = Mirror::open_or_create(dir)?;
        mirror.copies = Copies::Omit;
        Ok(mirror)
    }

    /// Sets what a fetch may use.
    pub fn with_limits(mut self, limits: Limits) -> Mirror {
        self.limits = limits;
        self
    }

    /// Looks at these tags from the next fetch on. What was found and has not moved stays found: a horizon only ever
    /// moves on.
    pub fn want_tags(&mut self, wanted: WantedTags) {
        self.wanted_tags = Some(wanted);
    }

    /// The object that a tag points to, of at most `limit` bytes; hashed again, and read once.
    pub fn tag(&self, id: &TagId, limit: u64) -> Result<TagObject, ReadError> {
        let id = ObjectId::from_hex(id.as_str().as_bytes())
            .expect("invariant: a TagId is 40 or 64 hex digits");
        self.own_or_view(|objects| {
            let kind = objects.kind_of(&id)?;
            let bytes = match kind {
                objs::Kind::Tag => objects.read(&id, kind, limit)?,
                _ => Vec::new(),
            };
            let kind = match kind {
                objs::Kind::Tag => "tag",
                objs::Kind::Commit => "commit",
                objs::Kind::Tree => "tree",
                objs::Kind::Blob => "blob",
            };
            Ok(TagObject { kind, bytes })
        })
    }

    /// Throws everything away and begins with an empty mirror.
    pub fn rebuild(&mut self) -> Result<(), FetchError> {
        self.start_over(self.own.kind())
    }

    pub(crate) fn start_over(&mut self, kind: Kind) -> Result<(), FetchError> {
        let dir = self.dir.clone();
        let failed = |source| FetchError::Mirror {
            dir: dir.clone(),
            source,
        };
        for below in ["objects", "refs", "view"] {
            match fs::remove_dir_all(dir.join(below)) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(failed(error)),
                _ => {}
            }
        }
        forget_refs(&dir).map_err(failed)?;
        lay_out(&dir, kind, MIRROR_SETTINGS).map_err(failed)?;
        self.own = Objects::open_plain(&dir.join("objects"), kind).map_err(failed)?;
        self.view = None;
        self.seen = None;
        self.gathered = None;
        self.copied.clear();
        Ok(())
    }

    /// Makes sure that the mirror holds objects of this kind.
    pub(crate) fn be_of(&mut self, kind: Kind) -> Result<(), FetchError> {
        if self.own.kind() == kind {
            Ok(())
        } else {
            self.start_over(kind)
        }
    }

    pub(crate) fn failed(&self) -> impl Fn(io::Error) -> FetchError + use<> {
        let dir = self.dir.clone();
        move |source| FetchError::Mirror {
            dir: dir.clone(),
            source,
        }
    }

    /// Reads the branches of `origin` and gets what is needed to read the protected one (a full reference name) and,
    /// with [`Proposals::Include`], to merge the others.
    ///
    /// When nothing moved in a local origin this costs a few `stat`s.
    pub fn fetch(
        &mut self,
        origin: &Origin,
        protected: &str,
        proposals: Proposals,
    ) -> Result<Heads, FetchError> {
        match origin {
            Origin::Local(path) => {
                if let Some(seen) = &self.seen
                    && (seen.path.as_path(), seen.protected.as_str(), seen.proposals)
                        == (path, protected, proposals)
                    && seen.signature.still_holds()
                {
                    return Ok(seen.heads.clone());
                }
                self.seen = None;
                let (signature, heads) = local::fetch(self, path, protected, proposals)?;
                let (path, protected) = (path.clone(), protected.to_owned());
                self.seen = Some(Seen {
                    path,
                    protected,
                    proposals,
                    signature,
                    heads: heads.clone(),
                });
                Ok(heads)
            }
            Origin::Remote(url) => {
                self.seen = None;
                self.view = None;
                remote::fetch(self, url, protected, proposals)
            }
        }
    }

    /// Puts the mirror's objects into one pack when there are more than 5,000 loose ones or more than 50 packs; tells
    /// whether it did. Everything that was fetched stays, save what pull requests left behind that are gone.
    pub fn maintain(&mut self) -> Result<Packed, FetchError> {
        self.maintain_above(pack::LOOSE_LIMIT, pack::PACK_LIMIT)
    }

    /// Like [`Mirror::maintain`], with other limits.
    pub fn maintain_above(&mut self, loose: usize, packs: usize) -> Result<Packed, FetchError> {
        let failed = self.failed();
        let few_loose = pack::count_loose(self.own.dir()).map_err(&failed)? <= loose;
        if few_loose && pack::packs(self.own.dir()).map_err(&failed)?.len() <= packs {
            return Ok(Packed::NotNeeded);
        }
        pack::pack(&self.dir, self.keep, Written::Small).map_err(|error| match error {
            PackError::Io(source) => failed(source),
            PackError::Git(source) => FetchError::Git {
                origin: self.dir.display().to_string(),
                source,
            },
        })?;
        self.reopen()?;
        Ok(Packed::Done)
    }

    /// Looks at the packs that are there now: an open object database has room for a limited number of new ones.
    pub(crate) fn reopen(&mut self) -> Result<(), FetchError> {
        self.own = Objects::open_plain(self.own.dir(), self.own.kind()).map_err(self.failed())?;
        if let Some(view) = &self.view {
            let dir = view.dir().to_owned();
            self.view = Some(self.open_view(&dir).map_err(self.failed())?);
        }
        Ok(())
    }

    /// What a mirror for one look finds is shown and never run: a file whose twin has the same SHA-1 fools nobody that
    /// acts, since hosts and servers refuse it.
    fn open_view(&self, objects: &Path) -> io::Result<Objects> {
        match self.copies {
            Copies::Omit => Objects::open_plain(objects, self.own.kind()),
            _ => Objects::open(objects, self.own.kind()),
        }
    }

    /// How `new` stands to `old`. Nothing in any repository can pretend an ancestry: each commit of the walk is hashed,
    /// and replacements, grafts and commit-graph files are not looked at.
    pub fn ancestry(&self, old: &CommitId, new: &CommitId) -> Ancestry {
        if old == new {
            return Ancestry::Same;
        }
        let key = (old.clone(), new.clone());
        if let Some(known) = self.known.borrow().get(&key) {
            return *known;
        }
        let found = self.walk(object_id(old), object_id(new));
        // What was found out of verified objects holds for ever; what is missing may arrive.
        if found != Ancestry::Unknown {
            let mut known = self.known.borrow_mut();
            if known.len() >= 1_000 {
                known.clear();
            }
            known.insert(key, found);
        }
        found
    }

    /// Walks from both commits at once, newest first, until nothing is left that only `new` leads to. What `old` leads
    /// to cannot lead to `old`, so a history that both share is not walked. Wrong times only make the walk longer.
    fn walk(&self, old: ObjectId, new: ObjectId) -> Ancestry {
        let objects = self.view.as_ref().unwrap_or(&self.own);
        let mut reached: HashMap<ObjectId, Reached> =
            HashMap::from([(old, Reached::Old), (new, Reached::New)]);
        let mut queue = BinaryHeap::new();
        // How many of the queue only `new` leads to.
        let mut undecided = BTreeSet::from([new]);
        let mut incomplete = false;
        let push = |queue: &mut BinaryHeap<_>, id: ObjectId| {
            let commit = objects.commit(&id).ok();
            let time = commit.as_ref().map_or(i64::MAX, |commit| commit.time);
            queue.push((time, id, commit.map(|commit| commit.parents)));
        };
        push(&mut queue, old);
        push(&mut queue, new);
        while let Some((_, id, parents)) = queue.pop() {
            let from = reached[&id];
            undecided.remove(&id);
            match parents {
                None if from == Reached::New => incomplete = true,
                parents => {
                    for parent in parents.into_iter().flatten() {
                        if parent == old && from == Reached::New {
                            return Ancestry::Descends;
                        }
                        let before = reached.get(&parent).copied();
                        let after =
                            before.map_or(
                                from,
                                |before| if before == from { from } else { Reached::Both },
                            );
                        if before != Some(after) {
                            reached.insert(parent, after);
                            match after {
                                Reached::New => undecided.insert(parent),
                                Reached::Old | Reached::Both => undecided.remove(&parent),
                            };
                            push(&mut queue, parent);
                        }
                    }
                }
            }
            if undecided.is_empty() {
                break;
            }
        }
        if incomplete {
            Ancestry::Unknown
        } else {
            Ancestry::Diverged
        }
    }

    /// The ids of the files of a commit in the places that muster reads: what to compare before parsing again.
    pub fn listing(&self, commit: &CommitId) -> Result<BTreeMap<String, BlobId>, ReadError> {
        let read = |objects: &Objects| {
            Listing::read(objects, objects.commit(&object_id(commit))?.tree)?.into_files()
        };
        let files = self.own_or_view(read)?;
        Ok(files
            .into_iter()
            .map(|(path, id)| (path, BlobId(id)))
            .collect())
    }

    /// The content of one file.
    pub fn blob(&self, id: &BlobId) -> Result<Vec<u8>, ReadError> {
        self.own_or_view(|objects| objects.read(&id.0, objs::Kind::Blob, FILE_LIMIT))
    }

    /// The files of a commit in the places that muster reads.
    pub fn files(&self, commit: &CommitId) -> Result<Files, ReadError> {
        self.own_or_view(|objects| {
            files::files_of(objects, objects.commit(&object_id(commit))?.tree)
        })
    }

    /// Who made a commit, when, and what it is called.
    pub fn about(&self, commit: &CommitId) -> Result<About, ReadError> {
        self.own_or_view(|objects| About::read(objects, &object_id(commit)))
    }

    /// Reads in the mirror, so that an adopted commit stays readable when the origin is gone; else in the origin.
    pub(crate) fn own_or_view<T>(
        &self,
        read: impl Fn(&Objects) -> Result<T, ReadError>,
    ) -> Result<T, ReadError> {
        match (read(&self.own), &self.view) {
            (Err(ReadError::Missing { .. } | ReadError::Damaged { .. }), Some(view)) => read(view),
            (read, _) => read,
        }
    }

    /// The repository in which proposals can be merged.
    pub(crate) fn merge_dir(&self) -> PathBuf {
        if self.view.is_some() {
            self.dir.join("view")
        } else {
            self.dir.clone()
        }
    }

    /// Lets proposals and history be read in the origin's object directory.
    pub(crate) fn look_into(&mut self, origin_objects: &Path) -> io::Result<()> {
        let dir = self.dir.join("view");
        lay_out(&dir, self.own.kind(), MIRROR_SETTINGS)?;
        let mut alternates = Vec::new();
        for path in [self.own.dir(), origin_objects] {
            alternates.extend_from_slice(path.as_os_str().as_encoded_bytes());
            alternates.push(b'\n');
        }
        let list = dir.join("objects/info/alternates");
        if fs::read(&list).ok().as_ref() != Some(&alternates) {
            fs::write(&list, alternates)?;
        }
        // Opened each time something moved: an open object database has room for a limited number of new packs.
        self.view = Some(self.open_view(&dir.join("objects"))?);
        Ok(())
    }
}

/// Splits the branches into the protected one and the others.
pub(crate) fn heads_of(
    found: &BTreeMap<String, ObjectId>,
    protected: &str,
    unread: Vec<String>,
) -> Heads {
    let mut branches = BTreeMap::new();
    let mut tags = BTreeMap::new();
    for (name, id) in found {
        if name.starts_with(TAGS) {
            tags.insert(name.clone(), tag_id(id));
        } else {
            branches.insert(name.clone(), commit_id(id));
        }
    }
    let protected = branches.remove(protected);
    Heads {
        protected,
        branches,
        tags,
        unread,
    }
}

fn tag_id(id: &ObjectId) -> TagId {
    id.to_string()
        .parse()
        .expect("invariant: an object id prints as 40 or 64 lower-case hex digits")
}

/// `refs/heads/x` or `refs/tags/x` as the mirror keeps it.
pub(crate) fn fetched_name(name: &str) -> String {
    match name.strip_prefix(TAGS) {
        Some(tag) => format!("{FETCHED_TAGS}{tag}"),
        None => format!("{FETCHED}{}", name.strip_prefix(HEADS).unwrap_or(name)),
    }
}

/// Settings of a repository that git may be run in: it runs nothing, fetches nothing by itself, and believes no
/// shortcut around the objects.
const MIRROR_SETTINGS: &str = "\
[core]
\tbare = true
\thooksPath = /dev/null
\tattributesFile = /dev/null
\texcludesFile = /dev/null
\tfsmonitor = false
\tfsync = all
\tuseReplaceRefs = false
\tcommitGraph = false
\tmultiPackIndex = false
\tlogAllRefUpdates = false
\tbigFileThreshold = 256m
[gc]
\tauto = 0
[maintenance]
\tauto = false
[protocol]
\tallow = never
[transfer]
\tbundleURI = false
\tfsckObjects = true
\tcredentialsInUrl = die
\tunpackLimit = 1
[fetch]
\tfsckObjects = true
\tunpackLimit = 1
\trecurseSubmodules = false
\twriteCommitGraph = false
[submodule]
\trecurse = false
[http]
\tfollowRedirects = false
";

/// Makes the directories and files of a bare repository that are missing, and sets its configuration.
pub(crate) fn lay_out(dir: &Path, kind: Kind, settings: &str) -> io::Result<()> {
    // The state repository and the ledger tell about people: only we may look.
    fs::DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(dir)?;
    for below in ["objects/info", "objects/pack", "refs"] {
        fs::create_dir_all(dir.join(below))?;
    }
    // A branch that never exists: HEAD is only there because git asks for it.
    sync::replace_file(&dir.join("HEAD"), b"ref: refs/heads/none\n")?;
    let format = match kind {
        Kind::Sha256 => "sha256",
        _ => "sha1",
    };
    let settings = settings.replacen("[core]\n", "[core]\n\trepositoryformatversion = 1\n", 1);
    let config = format!(
        "# Written by muster; changes are undone.\n[extensions]\n\tobjectFormat = {format}\n{settings}"
    );
    sync::replace_file(&dir.join("config"), config.as_bytes())
}

/// The kind of ids that the repository in `dir` has; SHA-1 when there is none yet.
pub(crate) fn found_kind(dir: &Path) -> Kind {
    let config = fs::read_to_string(dir.join("config")).unwrap_or_default();
    if config.contains("objectFormat = sha256\n") {
        Kind::Sha256
    } else {
        Kind::Sha1
    }
}

fn forget_refs(dir: &Path) -> io::Result<()> {
    for below in ["refs/muster", "packed-refs"] {
        let path = dir.join(below);
        let removed = if path.is_dir() {
            fs::remove_dir_all(&path)
        } else {
            fs::remove_file(&path)
        };
        match removed {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
    }
    Ok(())
}
