//! Writing a batch, so that at every instant the files on disk fit together.
//!
//! passwd decides who exists, and one rename switches it. So it is enough that each account in the old passwd and each
//! in the new one finds its lines for as long as that passwd may be read:
//!
//! * Before passwd, a file is written that has new lines, or only changed ones. It still has every line that the batch
//!   removes (the [`Stage::Union`]), so the old passwd finds what it names, and the new one will.
//! * After passwd, a file is written from which lines went. Nothing in the new passwd names those.
//!
//! A file with both is written twice. For a batch that only makes accounts this is subuid, subgid, group, gshadow,
//! shadow, passwd; for one that only removes them passwd, shadow, gshadow, group, subgid, subuid.
//!
//! All new files are written and then synced one after the other before the first rename, and `passwd-` and the others
//! are made further names of the old files. What fails up to there has changed nothing.

use std::io::Write as _;
use std::os::fd::AsFd as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use nix::sys::stat::FileStat;
use rustix::fs::{XattrFlags, fgetxattr, flistxattr, fsetxattr};

use super::table::Stage;
use super::{Databases, File};
use crate::root::{Directory, RootError};
use crate::run::run;

/// What came of a commit.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Committed {
    /// The files were as they should be, and were not touched.
    Unchanged,
    /// These files were replaced, in this order; a file from which lines went and to which others came stands there
    /// twice.
    Written(Vec<File>),
}

/// Why a commit failed.
#[derive(Debug, thiserror::Error)]
pub enum CommitError {
    /// Somebody changed a file without taking the lock. Nothing was written.
    #[error(
        "{file} was changed by somebody who ignores the lock; nothing was written, the next cycle reads it anew"
    )]
    ChangedMeanwhile {
        /// The file.
        file: File,
    },
    /// The new files could not be prepared. Nothing was written.
    #[error("cannot prepare the account databases; nothing was written")]
    Prepare(#[source] RootError),
    /// Some files were replaced and others not. They fit together, and the same edits on what is there now lead on.
    #[error("cannot write {file}; already written: {}", list(written))]
    Partly {
        /// The file that was to be replaced.
        file: File,
        /// The files that were.
        written: Vec<File>,
        /// What the kernel said; `None` when somebody changed the file without taking the lock.
        source: Option<RootError>,
    },
    /// All files were replaced, but a power cut might undo that.
    #[error("the account databases were written, but not made durable")]
    NotDurable(#[source] RootError),
}

fn list(files: &[File]) -> String {
    files
        .iter()
        .map(|file| file.name())
        .collect::<Vec<_>>()
        .join(", ")
}

/// Which version of a file was read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Stamp {
    inode: (u64, u64),
    size: i64,
    modified: (i64, i64),
    changed: (i64, i64),
}

impl Stamp {
    pub(super) fn of(stat: &FileStat) -> Self {
        Self {
            inode: (stat.st_dev, stat.st_ino),
            size: stat.st_size,
            modified: (stat.st_mtime, stat.st_mtime_nsec),
            changed: (stat.st_ctime, stat.st_ctime_nsec),
        }
    }

    /// The same content, though it may have got another name.
    fn is_content_of(self, other: Self) -> bool {
        Self {
            changed: other.changed,
            ..self
        } == other
    }
}

struct Write {
    file: File,
    stage: Stage,
    bytes: Vec<u8>,
}

impl Write {
    fn temporary(&self) -> String {
        temporary(self.file, self.stage)
    }
}

fn temporary(file: File, stage: Stage) -> String {
    match stage {
        Stage::Union => format!("{}.union.muster-new", file.name()),
        Stage::Final => format!("{}.muster-new", file.name()),
    }
}

fn backup(file: File) -> (String, String) {
    (
        format!("{}-.muster-new", file.name()),
        format!("{}-", file.name()),
    )
}

/// Every name that a commit may leave behind when it is interrupted.
pub(super) fn temporaries() -> impl Iterator<Item = String> {
    File::ALL.into_iter().flat_map(|file| {
        [
            temporary(file, Stage::Union),
            temporary(file, Stage::Final),
            backup(file).0,
        ]
    })
}

/// Writes the batch; the caller holds the lock under which `databases` was read.
pub(super) fn commit(
    etc: &Directory<'_>,
    mut databases: Databases,
) -> Result<Committed, CommitError> {
    let writes = plan(&mut databases);
    if writes.is_empty() {
        return Ok(Committed::Unchanged);
    }
    let prepared = prepare(etc, &mut databases, &writes);
    if let Err(error) = prepared {
        discard(etc, &writes);
        return Err(error);
    }
    let mut written: Vec<File> = Vec::new();
    for write in &writes {
        let replaced = replace(etc, &mut databases, write);
        if let Err(error) = replaced {
            discard(etc, &writes);
            return Err(match (written.is_empty(), error) {
                (true, error) => error,
                (false, CommitError::Prepare(source)) => CommitError::Partly {
                    file: write.file,
                    written,
                    source: Some(source),
                },
                (false, _) => CommitError::Partly {
                    file: write.file,
                    written,
                    source: None,
                },
            });
        }
        written.push(write.file);
    }
    etc.sync().map_err(CommitError::NotDurable)?;
    Ok(Committed::Written(written))
}

/// What is written, in order; see the module.
fn plan(databases: &mut Databases) -> Vec<Write> {
    let mut before = Vec::new();
    let mut after = Vec::new();
    for file in File::ALL.into_iter().filter(|file| *file != File::Passwd) {
        let (added, removed) = databases.additions_and_removals(file);
        let mut write = |stage, writes: &mut Vec<Write>| {
            writes.extend(
                databases
                    .render(file, stage)
                    .map(|bytes| Write { file, stage, bytes }),
            );
        };
        match (added, removed) {
            (true, true) => {
                write(Stage::Union, &mut before);
                write(Stage::Final, &mut after);
            }
            (false, true) => write(Stage::Final, &mut after),
            (_, false) => write(Stage::Final, &mut before),
        }
    }
    let passwd = databases.render(File::Passwd, Stage::Final);
    before.extend(passwd.map(|bytes| Write {
        file: File::Passwd,
        stage: Stage::Final,
        bytes,
    }));
    before.extend(after.into_iter().rev());
    before
}

/// Everything up to the first rename: new files written, then synced; nobody else wrote; backups linked.
fn prepare(
    etc: &Directory<'_>,
    databases: &mut Databases,
    writes: &[Write],
) -> Result<(), CommitError> {
    let mut files = Vec::with_capacity(writes.len());
    for write in writes {
        files.push(make(etc, write).map_err(CommitError::Prepare)?);
    }
    for (file, write) in files.iter().zip(writes) {
        file.sync_all().map_err(|source| {
            CommitError::Prepare(RootError {
                verb: "make durable",
                path: etc.path_of(&write.temporary()),
                source,
            })
        })?;
    }
    for file in File::ALL {
        let now = etc.stat(file.name()).map_err(CommitError::Prepare)?;
        if databases.stamps.get(&file).copied().flatten() != now.as_ref().map(Stamp::of) {
            return Err(CommitError::ChangedMeanwhile { file });
        }
    }
    for write in writes {
        let name = write.file.name();
        let (new, kept) = backup(write.file);
        // A file that is written twice gets its backup once: the second time there is one of this inode.
        let link = etc
            .link(name, &new)
            .and_then(|()| etc.rename(&new, &kept))
            .and_then(|()| etc.remove(&new));
        link.map_err(CommitError::Prepare)?;
        let now = etc
            .stat(name)
            .map_err(CommitError::Prepare)?
            .as_ref()
            .map(Stamp::of);
        match (databases.stamps.get(&write.file).copied().flatten(), now) {
            // The link itself has changed the time of the last change.
            (Some(read), Some(now)) if read.is_content_of(now) => {
                databases.stamps.insert(write.file, Some(now))
            }
            _ => return Err(CommitError::ChangedMeanwhile { file: write.file }),
        };
    }
    Ok(())
}

fn make(etc: &Directory<'_>, write: &Write) -> Result<std::fs::File, RootError> {
    let name = write.temporary();
    let old = etc.open(write.file.name())?;
    let stat = etc.stat(write.file.name())?;
    let mut new = etc.create(&name)?;
    if let Some(stat) = stat {
        etc.set_owner(&new, &name, stat.st_uid, stat.st_gid)?;
        etc.set_mode(&new, &name, stat.st_mode & 0o7777)?;
    }
    copy_attributes(&old, &new).map_err(|source| RootError {
        verb: "label",
        path: etc.path_of(&name),
        source: source.into(),
    })?;
    new.write_all(&write.bytes).map_err(|source| RootError {
        verb: "write",
        path: etc.path_of(&name),
        source,
    })?;
    Ok(new)
}

fn replace(
    etc: &Directory<'_>,
    databases: &mut Databases,
    write: &Write,
) -> Result<(), CommitError> {
    let name = write.file.name();
    let stamp = || {
        Ok::<_, CommitError>(
            etc.stat(name)
                .map_err(CommitError::Prepare)?
                .as_ref()
                .map(Stamp::of),
        )
    };
    if databases.stamps.get(&write.file).copied().flatten() != stamp()? {
        return Err(CommitError::ChangedMeanwhile { file: write.file });
    }
    etc.rename(&write.temporary(), name)
        .map_err(CommitError::Prepare)?;
    databases.stamps.insert(write.file, stamp()?);
    Ok(())
}

fn discard(etc: &Directory<'_>, writes: &[Write]) {
    let names = writes
        .iter()
        .flat_map(|write| [write.temporary(), backup(write.file).0]);
    for name in names {
        if let Err(error) = etc.remove(&name) {
            tracing::warn!(path = %etc.path_of(&name).display(), %error, "A temporary file stays behind.");
        }
    }
}

/// Copies extended attributes: the security label and access control lists above all. The two that the kernel
/// computes from the content are left to it.
fn copy_attributes(old: &std::fs::File, new: &std::fs::File) -> rustix::io::Result<()> {
    let mut names = vec![0; 64 * 1024];
    let length = match flistxattr(old.as_fd(), &mut names[..]) {
        Ok(length) => length,
        Err(rustix::io::Errno::OPNOTSUPP) => 0,
        Err(errno) => return Err(errno),
    };
    let mut value = vec![0; 64 * 1024];
    for name in names[..length]
        .split(|byte| *byte == 0)
        .filter(|name| !name.is_empty())
    {
        if matches!(name, b"security.ima" | b"security.evm") {
            continue;
        }
        let length = fgetxattr(old.as_fd(), name, &mut value[..])?;
        fsetxattr(new.as_fd(), name, &value[..length], XattrFlags::empty())?;
    }
    Ok(())
}

/// Tells nscd and sssd that what they remember of accounts and groups is old. That they do not answer is logged and
/// nothing more: they forget by themselves in a few minutes.
pub fn forget_cached() {
    const LIMIT: Duration = Duration::from_secs(10);
    let tell = |program: &str, arguments: &[&str]| match run(Path::new(program), arguments, LIMIT) {
        Ok(output) if output.status.success() => {}
        Ok(output) => tracing::warn!(
            program,
            outcome = output.summary(),
            "A cache of accounts was not emptied."
        ),
        Err(error) => tracing::warn!(program, %error, "A cache of accounts was not emptied."),
    };
    let exists = |path: &str| PathBuf::from(path).exists();
    if exists("/var/run/nscd/socket") && exists("/usr/sbin/nscd") {
        tell("/usr/sbin/nscd", &["-i", "passwd"]);
        tell("/usr/sbin/nscd", &["-i", "group"]);
    }
    if exists("/usr/sbin/sss_cache") {
        tell("/usr/sbin/sss_cache", &["-UG"]);
    }
}

impl Databases {
    fn render(&mut self, file: File, stage: Stage) -> Option<Vec<u8>> {
        match file {
            File::Passwd => self.passwd.render(stage),
            File::Shadow => self.shadow.render(stage),
            File::Group => self.group.render(stage),
            File::Gshadow => self.gshadow.render(stage),
            File::Subuid => self.subuid.render(stage),
            File::Subgid => self.subgid.render(stage),
        }
    }

    fn additions_and_removals(&mut self, file: File) -> (bool, bool) {
        match file {
            File::Passwd => (self.passwd.has_additions(), self.passwd.has_removals()),
            File::Shadow => (self.shadow.has_additions(), self.shadow.has_removals()),
            File::Group => (self.group.has_additions(), self.group.has_removals()),
            File::Gshadow => (self.gshadow.has_additions(), self.gshadow.has_removals()),
            File::Subuid => (self.subuid.has_additions(), self.subuid.has_removals()),
            File::Subgid => (self.subgid.has_additions(), self.subgid.has_removals()),
        }
    }
}
