//! Archives of homes: written, read back and checked, listed, and taken out again.
//!
//! An archive is a tar archive (POSIX, as GNU tar reads it) compressed with zstd:
//!
//! | member | what |
//! |---|---|
//! | `archive.json` | whose home it is ([`ArchivedAccount`]) |
//! | `home/…` | the tree, directories before what is in them, names in order |
//! | `manifest.jsonl` | a [`Line`] for each entry, with the SHA-256 of its content, and what tar cannot hold |
//!
//! Text is compressed in pieces, each a frame of its own, the manifest in frames of its own; a stream in a single frame is
//! read as well. Beside it stands its digest, as `sha256sum --check` reads it. Links are stored and never followed; sockets stand in
//! the manifest alone; files with holes stay small; a file that does not stand still makes the whole archive fail.

pub mod manifest;

mod seal;

mod behind;
mod echo;
mod pack;

mod extract;
mod read;
mod tar;
pub(crate) mod tree;
mod write;

#[cfg(test)]
mod racer;
#[cfg(test)]
mod tests;

use std::fs::File;
use std::io;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::dir::{Dir, with_causes};
use crate::root::{Ownership, RootError};
use behind::{Ending, Written};
pub use extract::{Extracted, Owners};
pub use manifest::{ArchivedAccount, Line};
pub use seal::Seal;
use tree::Census;
pub use tree::TreeError;
pub(crate) use write::Names;

const SUBJECT: &str = "archive.json";
const HOME: &str = "home";
const MANIFEST: &str = "manifest.jsonl";
/// What GNU tar uses, too.
const LEVEL: i32 = 3;
/// What an entry takes besides its content, at most, when nothing of it can be compressed: headers and a line.
const PER_ENTRY: u64 = 2_048;
/// What an archive takes at least, and what is left free beside it.
const ROOM: u64 = 1024 * 1024;
/// A digest and a file name.
const SIDECAR: u64 = 4_096;

/// Told how many bytes of content and how many entries are done.
pub type Progress<'a> = &'a mut dyn FnMut(u64, u64);

/// Why an archive could not be written, read or taken out.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The tree.
    #[error(transparent)]
    Tree(#[from] TreeError),
    /// The tree was not the same afterwards as before.
    #[error("the home changed while it was archived; end whatever writes there")]
    Moved,
    /// The archive could not be written.
    #[error("the archive could not be written")]
    Writing(#[source] io::Error),
    /// The archive could not be read, or is not what it says it is.
    #[error("the archive could not be read back")]
    Reading(#[source] io::Error),
    /// The file system has no room for it.
    #[error("the archive may take {need} bytes, and {free} are free in {}; make room, or put [archives] dir elsewhere", store.display())]
    Space {
        /// Bytes that may be needed.
        need: u64,
        /// Bytes that are free.
        free: u64,
        /// Where.
        store: PathBuf,
    },
    /// There is another archive of that name.
    #[error("{} is there already and is no archive of this home: {why}; look at it, and move it away", path.display())]
    Occupied {
        /// Where.
        path: PathBuf,
        /// In which way it differs.
        why: String,
    },
    /// A file of the store could not be handled.
    #[error("the store of archives")]
    Store(#[from] RootError),
    /// It could not be taken out.
    #[error("{0}")]
    Extract(String),
    /// It could not be encrypted.
    #[error("the archive could not be encrypted: {0}")]
    Sealing(String),
    /// It is encrypted, and whoever can open it is not here.
    #[error("{} is encrypted; `age --decrypt --identity KEY --output {} {}` opens it where the key is", .0.display(), .0.with_extension("").display(), .0.display())]
    Sealed(PathBuf),
}

impl Error {
    fn writing(error: io::Error) -> Self {
        Self::Writing(error)
    }
}

/// An archive that was read from one end to the other and agrees with itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Verified {
    /// SHA-256 of the file, in hex.
    pub sha256: String,
    /// Its size.
    pub bytes: u64,
    /// Whose home is in it.
    pub subject: ArchivedAccount,
    /// How many entries it accounts for.
    pub entries: u64,
    /// The census of the tree that was archived, in hex.
    pub fingerprint: String,
}

/// Reads all of an archive and checks every entry against the manifest, and the file against the digest beside it, where
/// there is one.
///
/// # Errors
/// When it cannot be read, or anything in it is not as the manifest says.
pub fn verify(path: &Path, progress: Progress<'_>) -> Result<Verified, Error> {
    let verified = read::read(open(path)?, &mut read::Nothing, progress)?;
    let mut beside = path.as_os_str().to_owned();
    beside.push(".sha256");
    match std::fs::read_to_string(&beside) {
        Ok(text) if text.split(' ').next() != Some(&verified.sha256) => Err(Error::Reading(
            tar::broken("another digest than the one that stands beside it"),
        )),
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(Error::Reading(error)),
        _ => Ok(verified),
    }
}

/// Hands each line of an archive's manifest to `each`, and checks the archive as [`verify`] does.
///
/// # Errors
/// As [`verify`]; lines were handed over before an error was found.
pub fn list(path: &Path, each: &mut dyn FnMut(&Line)) -> Result<Verified, Error> {
    struct Lines<'a>(&'a mut dyn FnMut(&Line));
    impl read::Sink for Lines<'_> {
        fn takes_lines(&self) -> bool {
            true
        }

        fn line(&mut self, line: &Line) -> Result<(), Error> {
            (self.0)(line);
            Ok(())
        }
    }
    read::read(open(path)?, &mut Lines(each), &mut |_, _| {})
}

/// Takes a home out of an archive, into an empty directory.
///
/// # Errors
/// When the directory is not empty, the archive is not what it says it is, or something cannot be made. What was taken
/// out before stays there.
pub fn extract(path: &Path, into: &Path, owners: Owners) -> Result<Extracted, Error> {
    let dir = Dir::open(into)?;
    if !dir.names()?.is_empty() {
        return Err(Error::Extract(format!(
            "{} is not empty; name an empty directory",
            into.display()
        )));
    }
    let fd = dir.open_again()?;
    extract::extract(
        open(path)?,
        fd,
        &extract::Rules::console(owners),
        &mut |_, _| {},
    )
    .map(|(extracted, _)| extracted)
}

/// Whose home an archive holds, by its first member alone: nothing else of it is read or checked.
///
/// # Errors
/// When it cannot be read, or is no archive of a home.
pub fn subject(path: &Path) -> Result<ArchivedAccount, Error> {
    read::subject(open(path)?)
}

fn open(path: &Path) -> Result<File, Error> {
    if path.extension().is_some_and(|it| it == seal::SUFFIX) {
        return Err(Error::Sealed(path.to_owned()));
    }
    File::open(path).map_err(Error::Reading)
}

/// Where archives are kept, for root alone.
#[derive(Debug)]
pub(crate) struct Store {
    dir: Dir,
    seal: Option<Seal>,
    /// Makes the names in it durable; tests play a disk that cannot.
    sync: fn(&Dir) -> Result<(), RootError>,
}

/// An archive in the store, as the file beside it says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct StoredArchive {
    pub(crate) sha256: String,
    pub(crate) bytes: u64,
}

/// Called at each crash point (between two effects) with its name. What a kill there leaves behind, the next run must be
/// able to finish.
pub(crate) type Point<'a> = &'a mut dyn FnMut(&'static str);

/// What a home is archived as.
pub(crate) struct Job<'a> {
    /// The file's name in the store.
    pub(crate) name: &'a str,
    pub(crate) subject: &'a ArchivedAccount,
    pub(crate) names: &'a Names,
    pub(crate) room: Room,
}

/// Whether somebody looked at how much room there is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Room {
    /// The tree was counted just now, and fits.
    Checked,
    /// It is to be counted first.
    Unchecked,
}

impl Store {
    /// Reads an archive in full, and checks it.
    pub(crate) fn verify(&self, name: &str) -> Result<Verified, Error> {
        self.read_back(name)
    }

    /// Opens the directory at `path`.
    pub(crate) fn open(path: &Path) -> Result<Self, RootError> {
        // A disk that is not mounted is not replaced by a directory of that name.
        if let Some(parent) = path.parent() {
            Dir::open(parent)?;
        }
        Ok(Self {
            dir: Dir::open_private(path)?,
            seal: None,
            sync: Dir::sync,
        })
    }

    /// The same store; new archives are encrypted, if there is somebody to encrypt them to.
    pub(crate) fn sealed_by(self, seal: Option<Seal>) -> Self {
        Self { seal, ..self }
    }

    /// The archive called `name`, if it is there and complete, as it is or encrypted.
    pub(crate) fn kept(&self, name: &str) -> Result<Option<StoredArchive>, RootError> {
        match self.kept_as(name)? {
            Some(kept) => Ok(Some(kept)),
            None => self.kept_as(&seal::name(name)),
        }
    }

    fn kept_as(&self, name: &str) -> Result<Option<StoredArchive>, RootError> {
        let Some(seen) = self
            .dir
            .see(name)?
            .filter(|it| it.kind == crate::dir::FileKind::File)
        else {
            return Ok(None);
        };
        let Some((text, _)) = self.dir.read(sidecar(name), SIDECAR)? else {
            return Ok(None);
        };
        let text = String::from_utf8_lossy(&text);
        let sha256 = text
            .split(' ')
            .next()
            .filter(|it| it.len() == 64)
            .map(str::to_owned);
        Ok(sha256.map(|sha256| StoredArchive {
            sha256,
            bytes: seen.size,
        }))
    }

    /// Whether a tree of this size fits.
    pub(crate) fn check_room(&self, census: &Census) -> Result<(), Error> {
        let found =
            rustix::fs::fstatvfs(&self.dir).map_err(|errno| Error::Writing(errno.into()))?;
        let free = found.f_bavail.saturating_mul(found.f_frsize);
        let need = census
            .entries
            .saturating_mul(PER_ENTRY)
            .saturating_add(census.allocated)
            .saturating_add(ROOM);
        if free < need {
            return Err(Error::Space {
                need,
                free,
                store: self.dir.path().to_owned(),
            });
        }
        Ok(())
    }

    /// Archives the tree at `home`, unless that was done before: the same tree under the same name.
    ///
    /// Guarantee: when this returns, the archive was read back and accounts for every entry, and file, digest and names
    /// are durable. On an error nothing of it is left under its name; after a kill, at most files named `.new.*`, which
    /// the next call removes.
    pub(crate) fn keep(
        &self,
        home: OwnedFd,
        job: &Job<'_>,
        point: Point<'_>,
        progress: Progress<'_>,
    ) -> Result<StoredArchive, Error> {
        if let Some(kept) = self.kept_as(job.name)? {
            return self.check_kept(job, &kept, &census(&home)?);
        }
        let sealed = seal::name(job.name);
        if let Some(kept) = self.kept_as(&sealed)? {
            // Only who has the key can look into it. It was read back before it was encrypted, and the home it was made of
            // has been in quarantine since.
            return self.check_sealed(&sealed, &kept);
        }
        for name in [job.name, &sealed] {
            if self.dir.see(name)?.is_some() {
                return Err(self.occupied(name, "its digest is missing".to_owned()));
            }
        }
        match job.room {
            Room::Checked => {}
            Room::Unchecked => self.check_room(&census(&home)?)?,
        }
        let temporary = format!(".new.{}", job.name);
        self.dir.remove(&temporary)?;
        point("archive: before anything");
        let file = self.dir.create(&temporary)?;
        point("archive: begun");
        let verified = self
            .fill(home, job, (&temporary, &file), point, progress)
            .and_then(|(written, verified)| {
                let same = verified.subject == *job.subject
                    && verified.entries == written.entries
                    && verified.fingerprint == muster_core::bytes::hex(&written.fingerprint);
                if same {
                    Ok(verified)
                } else {
                    Err(Error::Moved)
                }
            });
        let verified = match verified {
            Ok(verified) => verified,
            Err(error) => {
                let _ = self.dir.remove(&temporary);
                return Err(error);
            }
        };
        point("archive: read back");
        let Some(seal) = &self.seal else {
            let kept = StoredArchive {
                sha256: verified.sha256,
                bytes: verified.bytes,
            };
            self.place(job.name, &temporary, &kept, point)?;
            return Ok(kept);
        };
        let shut = format!(".new.{sealed}");
        let kept = self.dir.remove(&shut).map_err(Error::from).and_then(|_| {
            seal.encrypt(&self.dir.path_of(&temporary), &self.dir.path_of(&shut))?;
            self.settle_sealed(&shut)
        });
        // What can be read by whoever gets at the disk goes first, whether or not this worked.
        self.dir.remove(&temporary)?;
        let kept = kept.inspect_err(|_| {
            let _ = self.dir.remove(&shut);
        })?;
        point("archive: encrypted");
        self.place(&sealed, &shut, &kept, point)?;
        Ok(kept)
    }

    /// Makes an encrypted file root's alone and durable, and takes its digest.
    fn settle_sealed(&self, name: &str) -> Result<StoredArchive, Error> {
        let file = self.open_file(name)?;
        nix::sys::stat::fchmod(&file, nix::sys::stat::Mode::from_bits_truncate(0o600))
            .map_err(|errno| Error::Writing(errno.into()))?;
        file.sync_all().map_err(Error::Writing)?;
        seal::digest(file)
    }

    fn check_sealed(&self, name: &str, kept: &StoredArchive) -> Result<StoredArchive, Error> {
        let found = seal::digest(self.open_file(name)?)?;
        if found != *kept {
            return Err(self.occupied(name, "it differs from the digest beside it".to_owned()));
        }
        self.dir.sync()?;
        Ok(found)
    }

    fn open_file(&self, name: &str) -> Result<File, Error> {
        let missing = || Error::Reading(io::Error::from(io::ErrorKind::NotFound));
        self.dir
            .open_file(name)?
            .map(|(file, _)| file)
            .ok_or_else(missing)
    }

    /// Writes the archive, and reads it back while that goes on: what is read was made durable before. The end of the
    /// file, and all that a file system keeps about it, is durable when the last byte is read.
    fn fill(
        &self,
        home: OwnedFd,
        job: &Job<'_>,
        (name, file): (&str, &File),
        point: Point<'_>,
        progress: Progress<'_>,
    ) -> Result<(Census, Verified), Error> {
        let spool_name = format!(".new.{}.manifest", job.name);
        self.dir.remove(&spool_name)?;
        let spool = self.dir.create(&spool_name)?;
        self.dir.remove(&spool_name)?;
        let written = Arc::new(Written::default());
        let ending = Ending(Arc::clone(&written));
        let (call, echo) = echo::pair().map_err(Error::Writing)?;
        let again = self.open_file(name)?;
        std::thread::scope(|threads| {
            let reader = std::thread::Builder::new()
                .name("archive".to_owned())
                .spawn_scoped(threads, || read::read_behind(again, written, echo))
                .map_err(Error::Reading)?;
            let files = (file, &spool);
            let behind = (ending, call);
            let census = write::write_ahead(home, job.subject, job.names, files, behind, progress)?;
            point("archive: written");
            let verified = reader
                .join()
                .map_err(|_| Error::Reading(io::Error::other("BUG: the reader panicked")))??;
            Ok((census, verified))
        })
    }

    fn read_back(&self, name: &str) -> Result<Verified, Error> {
        read::read(self.open_file(name)?, &mut read::Nothing, &mut |_, _| {})
    }

    fn place(
        &self,
        name: &str,
        temporary: &str,
        kept: &StoredArchive,
        point: Point<'_>,
    ) -> Result<(), Error> {
        self.put_in_place(name, temporary, kept, point)
            .inspect_err(|_| {
                // A copy of a home that nothing names is only in the way, above all of a disk that is full.
                for left in [temporary, &format!(".new.{name}.sha256")] {
                    let _ = self.dir.remove(left);
                }
            })
    }

    fn put_in_place(
        &self,
        name: &str,
        temporary: &str,
        kept: &StoredArchive,
        point: Point<'_>,
    ) -> Result<(), Error> {
        use std::io::Write as _;
        let beside = format!(".new.{name}.sha256");
        self.dir.remove(&beside)?;
        let mut file = self.dir.create(&beside)?;
        writeln!(file, "{}  {name}", kept.sha256)
            .and_then(|()| file.sync_all())
            .map_err(Error::Writing)?;
        self.dir.replace(&beside, sidecar(name))?;
        point("archive: digest in place");
        self.dir.place(temporary, name)?;
        point("archive: in place");
        (self.sync)(&self.dir).inspect_err(|_| {
            // What may not last is not there: the next try archives the home as it is then, and must not find this in its way (F14).
            for left in [name, &sidecar(name)] {
                let _ = self.dir.remove(left);
            }
        })?;
        Ok(())
    }

    /// An archive that was there before is this one only if every byte of it says so.
    fn check_kept(
        &self,
        job: &Job<'_>,
        kept: &StoredArchive,
        census: &Census,
    ) -> Result<StoredArchive, Error> {
        let verified = self
            .read_back(job.name)
            .map_err(|error| self.occupied(job.name, with_causes(&error)))?;
        let differs = if verified.sha256 != kept.sha256 {
            "it differs from the digest beside it"
        } else if verified.fingerprint != muster_core::bytes::hex(&census.fingerprint) {
            "the home changed since"
        } else {
            self.dir.sync()?;
            return Ok(kept.clone());
        };
        Err(self.occupied(job.name, differs.to_owned()))
    }

    fn occupied(&self, name: &str, why: String) -> Error {
        Error::Occupied {
            path: self.dir.path_of(name),
            why,
        }
    }

    /// Gives the home in the archive `name` to one person: the tree is made in the empty directory `into`. The archive
    /// must have this digest. Returns what was left out.
    ///
    /// # Errors
    /// As [`extract`].
    pub(crate) fn give_back(
        &self,
        name: &str,
        sha256: &str,
        into: OwnedFd,
        person: &ArchivedAccount,
        ownership: Ownership,
        progress: Progress<'_>,
    ) -> Result<Extracted, Error> {
        if self.dir.see(name)?.is_none() && self.kept_as(&seal::name(name))?.is_some() {
            return Err(Error::Sealed(self.dir.path_of(seal::name(name))));
        }
        let file = self.open_file(name)?;
        let rules = extract::Rules::person(person, ownership);
        let (extracted, verified) = extract::extract(file, into, &rules, progress)?;
        if verified.sha256 != sha256 {
            return Err(Error::Extract(format!(
                "{name} is not the archive that was recorded: its digest differs"
            )));
        }
        Ok(extracted)
    }
}

fn census(home: &OwnedFd) -> Result<Census, Error> {
    let home = home.try_clone().map_err(Error::Writing)?;
    Ok(tree::census(&mut tree::Cursor::new(home, b"")?)?)
}

fn sidecar(name: &str) -> String {
    format!("{name}.sha256")
}

/// Archives the directory `dir` into `store` as the home of nobody, for measurements and tests.
///
/// # Errors
/// As the removal of an account has them.
#[doc(hidden)]
pub fn write_directory(dir: &Path, store: &Path) -> Result<PathBuf, Error> {
    let home = Dir::open(dir)?.open_again()?;
    let subject = ArchivedAccount {
        format: manifest::FORMAT,
        user: "nobody".to_owned(),
        uid: 0,
        gid: 0,
        subuid: None,
        subgid: None,
        home: dir.display().to_string(),
        entry: "0".repeat(32),
        at: String::new(),
    };
    let names = Names::default();
    let job = Job {
        name: "measured.tar.zst",
        subject: &subject,
        names: &names,
        // A removal counts a home before it moves it.
        room: Room::Checked,
    };
    Store::open(store)?.keep(home, &job, &mut |_| {}, &mut |_, _| {})?;
    Ok(store.join("measured.tar.zst"))
}
