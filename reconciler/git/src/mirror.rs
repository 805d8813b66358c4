//! Muster's own bare repository of the state repository.
//!
//! It is a cache: whatever is in it can be fetched again, so a damaged one is emptied and filled anew. It has one writer,
//! who holds the executor's lock; what a crash left behind is removed when it is opened.
//!
//! From a local origin only what is read is copied (the protected branch's tip, its trees and the files in the places
//! muster reads); older commits and proposals are read in the origin itself, through a *view*: an object directory whose
//! alternates are the mirror and the origin. So no configuration of the origin is ever looked at.

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use gix::hash::{Kind, ObjectId};
use gix::objs;
use muster_core::commit::{CommitId, TagId};
use nix::unistd::geteuid;

use crate::about::CommitInfo;
use crate::ancestry::Ancestry;
use crate::bare::{self, Use};
use crate::fetch_error::FetchError;
use crate::files::{self, BlobId, Files, Listing};
use crate::fresh::{Fresh, WithFresh};
use crate::heads::{Gathered, Heads, Proposals, WantedTags};
use crate::layout::{self, Layout, LayoutError};
use crate::local;
use crate::objects::{Objects, Source, object_id};
use crate::origin::Origin;
use crate::pack::Keep;
use crate::read_error::{FILE_LIMIT, ReadError};
use crate::reader::{Far, IsWanted, LastLook, Reader};
use crate::refused::Refused;
use crate::run::Limits;
use crate::signature::Signature;
use crate::sync;
use crate::tags;

/// A tag's object as it is stored, whose hash is the id that it was asked for by.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TagObject {
    /// `tag`, `commit`, `tree` or `blob`: a tag can point to anything.
    pub kind: &'static str,
    /// The raw bytes of an annotated tag; empty for any other kind.
    pub bytes: Vec<u8>,
}

/// Whether the protected branch's tip is copied from a local origin.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Copies {
    /// So that it stays readable when the origin is gone.
    Make,
    /// It is read in the origin.
    Omit,
}

/// The mirror, open for its one writer.
pub struct Mirror {
    pub(crate) dir: PathBuf,
    pub(crate) limits: Limits,
    pub(crate) own: Objects,
    /// The mirror and a local origin together.
    pub(crate) view: Option<Objects>,
    /// Objects that the last copy from a local origin found or wrote in the mirror.
    pub(crate) copied: BTreeSet<ObjectId>,
    /// The files that the last copy wrote, until they are read.
    pub(crate) fresh: RefCell<Fresh>,
    /// Which tags are looked at; none unless asked for.
    pub(crate) wanted_tags: Option<WantedTags>,
    /// Tags of a remote origin that git refused to fetch, with what they pointed to.
    pub(crate) given_up: BTreeSet<(String, ObjectId)>,
    pub(crate) copies: Copies,
    /// What stays when the mirror is packed.
    pub(crate) keep: Keep,
    /// What git refused to fetch from a remote origin.
    pub(crate) refused: Refused,
    /// The result of the last [`Mirror::gather`] from a local origin, with the signature that says whether it is still true.
    pub(crate) gathered: Option<(PathBuf, Signature, Gathered)>,
    pub(crate) last_fetch: Option<LastFetch>,
    /// What the reader of a local origin said last.
    pub(crate) last_look: LastLook,
    /// Who reads the origin; this process, when there is none.
    pub(crate) far: Option<RefCell<Reader>>,
    /// Whether this process has no rights in a local origin but its owner's, and so may follow what leads elsewhere there.
    follows: bool,
    /// The object directory of a local origin that is read as its owner.
    borrowed: Option<PathBuf>,
    known: RefCell<BTreeMap<(CommitId, CommitId), Ancestry>>,
}

/// The result of the last fetch from a local origin, with the signature that says whether it is still true.
pub(crate) struct LastFetch {
    pub(crate) path: PathBuf,
    pub(crate) protected: String,
    pub(crate) proposals: Proposals,
    pub(crate) signature: Signature,
    pub(crate) heads: Heads,
}

impl Mirror {
    /// Opens the mirror in `dir`, or makes it. The caller holds the executor's lock: stale locks, temporary files and
    /// objects without content are removed, and the configuration is written as it has to be.
    pub fn open_or_create(dir: &Path) -> Result<Mirror, FetchError> {
        Self::open_for(Use::Kept, dir)
    }

    fn open_for(of: Use, dir: &Path) -> Result<Mirror, FetchError> {
        let failed = |source| FetchError::Mirror {
            dir: dir.to_owned(),
            source,
        };
        let kind = bare::object_format(dir);
        bare::create_for(of, dir, kind, MIRROR_SETTINGS).map_err(failed)?;
        let mut last_look = match of {
            Use::Kept => LastLook::in_mirror(dir),
            Use::OneLook => LastLook::default(),
        };
        let leftovers = sync::sweep(dir, sync::EmptyRefs::Remove).map_err(failed)?;
        if leftovers.empty > 0 {
            tracing::warn!(mirror = %dir.display(), empty = leftovers.empty, "the mirror was damaged, it is filled again");
            bare::remove_refs(dir).map_err(failed)?;
            last_look.forget();
        }
        let own = Objects::open_plain(&dir.join("objects"), kind).map_err(failed)?;
        Ok(Self::around(dir, own, last_look))
    }

    /// One in `dir` that has read nothing yet.
    fn around(dir: &Path, own: Objects, last_look: LastLook) -> Mirror {
        Mirror {
            dir: dir.to_owned(),
            limits: Limits::default(),
            own,
            view: None,
            copied: BTreeSet::new(),
            fresh: RefCell::default(),
            wanted_tags: None,
            given_up: BTreeSet::new(),
            copies: Copies::Make,
            keep: Keep::Everything,
            refused: Refused::recall(dir),
            gathered: None,
            last_fetch: None,
            last_look,
            far: None,
            follows: false,
            borrowed: None,
            known: RefCell::default(),
        }
    }

    /// Reads the origin through `reader` from here on. What is needed of the protected branch is copied here, and hashed.
    #[must_use]
    pub fn reading_through(mut self, reader: Reader) -> Mirror {
        self.far = Some(RefCell::new(reader));
        self
    }

    /// Waits for an origin that takes its time only until `is_wanted`, as [`Reader::waiting_unless`] says.
    #[must_use]
    pub fn waiting_unless(mut self, is_wanted: IsWanted) -> Mirror {
        self.far = self
            .far
            .map(|reader| RefCell::new(reader.into_inner().waiting_unless(is_wanted)));
        self
    }

    /// The mirror of a reader that runs as the owner of the local origin at `path`: nothing is copied into `dir`, which is
    /// thrown away afterwards.
    pub(crate) fn as_owner(dir: &Path, path: &Path, limits: Limits) -> Result<Mirror, FetchError> {
        let mut mirror = Mirror::for_one_look(dir)?;
        mirror.limits = limits;
        mirror.follows = true;
        let layout = mirror.layout_of(path)?;
        mirror.be_of(layout.kind)?;
        if !layout.elsewhere {
            mirror.look_into(&layout)?;
        }
        Ok(mirror)
    }

    /// Where the parts of a local origin are.
    pub(crate) fn layout_of(&self, path: &Path) -> Result<Layout, FetchError> {
        let layout = Layout::of(path).map_err(FetchError::Origin)?;
        Ok(layout.followed(self.follows))
    }

    /// By what it can be seen that nothing moved in a local origin since the last fetch.
    pub fn last_signature(&self) -> Option<Signature> {
        self.last_fetch.as_ref().map(|it| it.signature.clone())
    }

    /// The directories in which something changes when a branch of the origin moves.
    pub fn watch_paths(&self, origin: &Origin) -> Vec<PathBuf> {
        match &self.far {
            Some(reader) => reader.borrow().watched().to_vec(),
            None => origin.watch_paths(),
        }
    }

    /// Copies what is needed of the protected branch, and keeps it.
    pub(crate) fn keep_tip(&mut self, protected: &str, tip: &ObjectId) -> Result<(), FetchError> {
        if self.copies == Copies::Omit || self.copied.contains(tip) {
            return Ok(());
        }
        local::copy(self, tip)?;
        let kept = BTreeMap::from([(protected.to_owned(), *tip)]);
        local::keep_refs(self, &kept)
    }

    /// Opens the mirror for a single read: nothing is copied from a local origin, whose objects are read through the view.
    /// So what was read is not there when the origin is gone.
    pub fn for_one_look(dir: &Path) -> Result<Mirror, FetchError> {
        let mut mirror = Mirror::open_for(Use::OneLook, dir)?;
        mirror.copies = Copies::Omit;
        Ok(mirror)
    }

    /// Opens a mirror for a single read through `reader`, beside the one in `kept` that an executor keeps: whatever that has is
    /// read there, and nothing is written to it, whoever is at work on it. Where that is not ours, or not there, this is one for
    /// one look in `dir`.
    ///
    /// # Errors
    /// When one in `dir` cannot be made.
    pub fn beside(kept: &Path, dir: &Path, reader: Reader) -> Result<Mirror, FetchError> {
        // Somebody else could make us believe what stands there.
        let is_ours = |meta: fs::Metadata| meta.is_dir() && meta.uid() == geteuid().as_raw();
        let own = kept
            .symlink_metadata()
            .is_ok_and(is_ours)
            .then(|| Objects::open_plain(&kept.join("objects"), bare::object_format(kept)).ok());
        let mut mirror = match own.flatten() {
            Some(own) => Self::around(dir, own, LastLook::beside(kept)),
            None => Self::open_for(Use::OneLook, dir)?,
        };
        mirror.copies = Copies::Omit;
        Ok(mirror.reading_through(reader))
    }

    /// Sets what a fetch may use, and the largest object that is decoded.
    ///
    /// # Errors
    /// When the mirror cannot be opened once more.
    pub fn with_limits(mut self, limits: Limits) -> Result<Mirror, FetchError> {
        self.limits = limits;
        self.reopen()?;
        Ok(self)
    }

    /// Looks at these tags from the next fetch on. What was found and has not moved stays found: a horizon only ever
    /// moves on.
    pub fn want_tags(&mut self, wanted: WantedTags) {
        self.wanted_tags = Some(wanted);
    }

    /// The objects that the first of these tags point to, each of at most `limit` bytes, hashed again, and read once: as many
    /// as are given at once, and at least one of them.
    ///
    /// # Errors
    /// When there was nobody to give an answer, so that nothing is known of any of them.
    pub fn tags(
        &self,
        ids: &[TagId],
        limit: u64,
    ) -> Result<Vec<Result<TagObject, ReadError>>, ReadError> {
        match &self.far {
            Some(reader) => reader.borrow_mut().tags(ids, limit, self.limits.bytes),
            None => Ok(ids
                .first()
                .map(|id| self.tag(id, limit))
                .into_iter()
                .collect()),
        }
    }

    /// The object that a tag points to, of at most `limit` bytes; hashed again, and read once.
    ///
    /// # Errors
    /// When it cannot be read.
    pub fn tag(&self, id: &TagId, limit: u64) -> Result<TagObject, ReadError> {
        if self.far.is_some() {
            let missing = ReadError::Missing { id: id.to_string() };
            let first = self.tags(std::slice::from_ref(id), limit)?;
            return first.into_iter().next().unwrap_or(Err(missing));
        }
        let id = ObjectId::from_hex(id.as_str().as_bytes())
            .expect("invariant: a TagId is 40 or 64 hex digits");
        self.in_own_or_view(|objects| {
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
        for below in ["objects", "refs", "view", tags::KEPT] {
            match fs::remove_dir_all(dir.join(below)) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(failed(error)),
                _ => {}
            }
        }
        bare::remove_refs(&dir).map_err(failed)?;
        bare::create(&dir, kind, MIRROR_SETTINGS).map_err(failed)?;
        self.own = self.open_own(&dir.join("objects"), kind).map_err(failed)?;
        self.view = None;
        self.last_fetch = None;
        self.last_look.forget();
        self.gathered = None;
        self.copied.clear();
        self.fresh.take();
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

    /// Lets go of a reader that is needed no more for now.
    pub fn rest(&mut self) {
        self.fresh.take();
        if let Some(reader) = &self.far {
            reader.borrow_mut().rest();
        }
    }

    /// Begins what takes a while to be there, as the origin has moved and is about to be read.
    pub fn prepare(&mut self) {
        if let Some(reader) = &self.far {
            reader.borrow_mut().begin();
        }
    }

    /// Has the reader pack what it keeps, where there is one and that has grown.
    ///
    /// # Errors
    /// When it could not.
    pub fn tidy_reader(&mut self) -> Result<(), FetchError> {
        match &self.far {
            Some(reader) => reader.borrow_mut().tidy(self.limits.bytes),
            None => Ok(()),
        }
    }

    /// Looks at the packs that are there now: an open object database has room for a limited number of new ones.
    pub(crate) fn reopen(&mut self) -> Result<(), FetchError> {
        let own = self.open_own(self.own.dir(), self.own.kind());
        self.own = own.map_err(self.failed())?;
        if let Some(view) = &self.view {
            let dir = view.dir().to_owned();
            self.view = Some(self.open_view(&dir).map_err(self.failed())?);
        }
        Ok(())
    }

    fn open_own(&self, objects: &Path, kind: Kind) -> io::Result<Objects> {
        Objects::open_plain_within(objects, kind, self.limits.bytes)
    }

    /// Opens the view. A mirror for one look skips the check for SHA-1 collisions: what it reads is shown and never acted
    /// on, and hosts and servers do check.
    fn open_view(&self, objects: &Path) -> io::Result<Objects> {
        match self.copies {
            Copies::Omit => Objects::open_plain_within(objects, self.own.kind(), self.limits.bytes),
            Copies::Make => Objects::open_within(objects, self.own.kind(), self.limits.bytes),
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
        let (old_id, new_id) = (object_id(old), object_id(new));
        let found = match (&self.far, &self.view) {
            (Some(reader), _) => {
                let own = &self.own;
                let found = Ancestry::between(&Far { own, reader }, old_id, new_id);
                reader.borrow_mut().forget_history();
                found
            }
            (None, Some(view)) => Ancestry::between(view, old_id, new_id),
            (None, None) => Ancestry::between(&self.own, old_id, new_id),
        };
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

    /// The ids of the files of a commit in the places that muster reads: what to compare before parsing again.
    pub fn listing(&self, commit: &CommitId) -> Result<BTreeMap<String, BlobId>, ReadError> {
        let read = |objects: &dyn Source| {
            Listing::read(&objects, objects.commit(&object_id(commit))?.tree)?.into_files()
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
            let fresh = &self.fresh;
            let objects = WithFresh { objects, fresh };
            files::files_of(&objects, objects.commit(&object_id(commit))?.tree)
        })
    }

    /// Who made a commit, when, and what it is called.
    pub fn about(&self, commit: &CommitId) -> Result<CommitInfo, ReadError> {
        self.own_or_view(|objects| CommitInfo::read(&objects, &object_id(commit)))
    }

    /// Reads in the mirror, so that an adopted commit stays readable when the origin is gone; else in the origin.
    pub(crate) fn own_or_view<T>(
        &self,
        read: impl Fn(&dyn Source) -> Result<T, ReadError>,
    ) -> Result<T, ReadError> {
        let Some(reader) = &self.far else {
            return self.in_own_or_view(|objects| read(objects));
        };
        match read(&self.own) {
            Err(ReadError::Missing { .. } | ReadError::Damaged { .. }) => read(&Far {
                own: &self.own,
                reader,
            }),
            read => read,
        }
    }

    /// The bytes of an object for another process, which hashes what it is told. In a mirror of a local origin that is read as its
    /// owner they are not hashed here as well: of a roster of a million people that is a tenth of its plan (S8).
    pub(crate) fn object_to_tell(
        &self,
        id: &ObjectId,
        kind: objs::Kind,
        limit: u64,
    ) -> Result<Vec<u8>, ReadError> {
        match self.follows {
            true => self.in_own_or_view(|objects| objects.read_unhashed(id, kind, limit)),
            // Where it is damaged here, it is looked for in the origin.
            false => self.own_or_view(|objects| objects.read(id, kind, limit)),
        }
    }

    fn in_own_or_view<T>(
        &self,
        read: impl Fn(&Objects) -> Result<T, ReadError>,
    ) -> Result<T, ReadError> {
        // One that follows its origin has hardly anything of its own, and an object database looks hard for what it has not.
        let (first, then) = match &self.view {
            Some(view) if self.follows => (view, Some(&self.own)),
            view => (&self.own, view.as_ref()),
        };
        match (read(first), then) {
            (Err(ReadError::Missing { .. } | ReadError::Damaged { .. }), Some(then)) => read(then),
            (read, _) => read,
        }
    }

    /// The repository in which proposals can be merged.
    pub(crate) fn merge_dir(&self) -> io::Result<PathBuf> {
        if let Some(objects) = &self.borrowed {
            self.make_view(objects)?;
        }
        Ok(if self.view.is_some() {
            self.dir.join("view")
        } else {
            self.dir.clone()
        })
    }

    /// Lets proposals and history be read in the origin's object directory.
    pub(crate) fn look_into(&mut self, origin: &Layout) -> Result<(), FetchError> {
        let objects = origin.objects();
        layout::check_plain(&objects).map_err(|source| {
            let path = objects.clone();
            FetchError::Origin(LayoutError::Unreadable { path, source })
        })?;
        // Opened each time something moved: an open object database has room for a limited number of new packs.
        let view = if self.follows {
            // The rest is only made for a merge.
            self.borrowed = Some(objects.clone());
            self.open_view(&objects)
        } else {
            self.make_view(&objects)
                .and_then(|dir| self.open_view(&dir.join("objects")))
        };
        self.view = Some(view.map_err(self.failed())?);
        Ok(())
    }

    /// Makes the repository that borrows the mirror's objects and these.
    fn make_view(&self, origin_objects: &Path) -> io::Result<PathBuf> {
        let dir = self.dir.join("view");
        bare::create(&dir, self.own.kind(), MIRROR_SETTINGS)?;
        let mut alternates = Vec::new();
        for path in [self.own.dir(), origin_objects] {
            alternates.extend_from_slice(path.as_os_str().as_encoded_bytes());
            alternates.push(b'\n');
        }
        let list = dir.join("objects/info/alternates");
        if fs::read(&list).ok().as_ref() != Some(&alternates) {
            fs::write(&list, alternates)?;
        }
        Ok(dir)
    }
}

/// Settings of a repository that git may be run in: it runs nothing, fetches nothing by itself, and believes no
/// shortcut around the objects.
pub(crate) const MIRROR_SETTINGS: &str = "\
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
