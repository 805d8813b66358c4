//! Takes a home out of an archive. Nothing is followed, nothing is replaced, nothing is made outside.

use std::collections::HashSet;
use std::ffi::OsStr;
use std::fs::File;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::FileExt as _;

use rustix::fs::{
    AtFlags, FileType, Gid, Mode, OFlags, ResolveFlags, Timespec, Timestamps, Uid, XattrFlags,
    chmodat, chownat, fchmod, fchown, fsetxattr, futimens, linkat, mkdirat, mknodat, openat,
    openat2, symlinkat, utimensat,
};

use super::manifest::ArchivedAccount;
use super::read::{self, Sink};
use super::tar::{Member, Type};
use super::tree::{Cursor, shown};
use super::{Error, HOME, Progress, Verified};
use crate::root::Ownership;

/// How many of the things left out are named.
const NAMED: usize = 20;

/// Whose the files are that are taken out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Owners {
    /// Whoever runs it: nothing runs as somebody else afterwards, and links that lead out of the tree are left out.
    Mine,
    /// Those they had, set-id bits and capabilities included. For root.
    Recorded,
}

/// What came of taking a home out.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Extracted {
    /// How many entries were made.
    pub entries: u64,
    /// How many were not.
    pub left_out: u64,
    /// The first of those, and why, one line each.
    pub named: Vec<String>,
}

/// Who gets what.
pub(crate) struct Rules<'a> {
    owners: Whose<'a>,
}

enum Whose<'a> {
    Console(Owners),
    /// One person: what was never theirs stays in the archive.
    Person(&'a ArchivedAccount, Ownership),
}

impl<'a> Rules<'a> {
    pub(crate) fn console(owners: Owners) -> Self {
        Self {
            owners: Whose::Console(owners),
        }
    }

    pub(crate) fn person(person: &'a ArchivedAccount, ownership: Ownership) -> Self {
        Self {
            owners: Whose::Person(person, ownership),
        }
    }

    fn keeps_everything(&self) -> bool {
        matches!(self.owners, Whose::Console(Owners::Recorded))
    }

    fn mode(&self, member: &Member) -> u32 {
        match member.kind {
            _ if self.keeps_everything() => member.mode,
            Type::Directory => member.mode & 0o1777,
            _ => member.mode & 0o777,
        }
    }

    fn owner(&self, member: &Member) -> Option<(Uid, Gid)> {
        let (uid, gid) = match self.owners {
            Whose::Console(Owners::Recorded) => (member.uid, member.gid),
            Whose::Person(person, Ownership::Performed) => (
                if person.owns(member.uid) {
                    member.uid
                } else {
                    person.uid
                },
                if person.owns_group(member.gid) {
                    member.gid
                } else {
                    person.gid
                },
            ),
            Whose::Console(Owners::Mine) | Whose::Person(_, Ownership::Recorded) => return None,
        };
        Some((Uid::from_raw(uid), Gid::from_raw(gid)))
    }

    fn keeps_attribute(&self, name: &[u8]) -> bool {
        self.keeps_everything()
            || name.starts_with(b"user.")
            || name.starts_with(b"system.posix_acl_")
    }

    /// Why a member is not made, if it is not.
    fn left_out(&self, member: &Member) -> Option<String> {
        match (&self.owners, member.kind) {
            (_, Type::CharDevice | Type::BlockDevice) => Some("a device".to_owned()),
            (Whose::Person(person, Ownership::Performed), Type::File | Type::Link)
                if !person.owns(member.uid) =>
            {
                Some(format!("a file of uid {}", member.uid))
            }
            (Whose::Console(Owners::Mine), Type::Symlink)
                if leads_out(&member.path, &member.link) =>
            {
                Some(format!("a link that leads out, to {}", shown(&member.link)))
            }
            _ => None,
        }
    }
}

/// Whether a symbolic link points somewhere else than into the tree, judged by its text.
fn leads_out(path: &[u8], target: &[u8]) -> bool {
    if target.starts_with(b"/") {
        return true;
    }
    // `home` itself does not count: it is where the tree is put.
    let mut depth = path
        .iter()
        .filter(|byte| **byte == b'/')
        .count()
        .saturating_sub(1);
    for component in target.split(|byte| *byte == b'/') {
        match component {
            b"" | b"." => {}
            b".." => match depth.checked_sub(1) {
                Some(up) => depth = up,
                None => return true,
            },
            _ => depth += 1,
        }
    }
    false
}

/// Makes the tree of an archive in the open directory `into`, and checks the archive on the way.
pub(crate) fn extract(
    file: File,
    into: OwnedFd,
    rules: &Rules<'_>,
    progress: Progress<'_>,
) -> Result<(Extracted, Verified), Error> {
    let top = into
        .try_clone()
        .map_err(failed("open the directory", b""))?;
    let mut maker = Maker {
        rules,
        cursor: Cursor::new(into, HOME.as_bytes())?,
        top,
        open: Vec::new(),
        file: None,
        skipped: HashSet::new(),
        done: Extracted::default(),
    };
    let verified = read::read(file, &mut maker, progress)?;
    while !maker.open.is_empty() {
        maker.close_directory()?;
    }
    rustix::fs::syncfs(&maker.top).map_err(failed("make durable", b""))?;
    Ok((maker.done, verified))
}

struct Maker<'a> {
    rules: &'a Rules<'a>,
    cursor: Cursor,
    top: OwnedFd,
    /// Directories that are being filled; what they are to be in the end is set when they are full.
    open: Vec<Member>,
    file: Option<File>,
    skipped: HashSet<Vec<u8>>,
    done: Extracted,
}

fn failed<E: Into<io::Error>>(verb: &'static str, path: &[u8]) -> impl FnOnce(E) -> Error {
    move |error| Error::Extract(format!("cannot {verb} {}: {}", shown(path), error.into()))
}

impl Maker<'_> {
    fn close_directory(&mut self) -> Result<(), Error> {
        let Some(member) = self.open.pop() else {
            return Ok(());
        };
        self.finish(self.cursor.fd(), &member)?;
        if !self.open.is_empty() {
            self.cursor.leave()?;
        }
        Ok(())
    }

    /// Owner, mode, attributes and time, in the order in which none undoes another.
    fn finish(&self, fd: impl AsFd, member: &Member) -> Result<(), Error> {
        let path = &member.path;
        if let Some((uid, gid)) = self.rules.owner(member) {
            fchown(&fd, Some(uid), Some(gid)).map_err(failed("change the owner of", path))?;
        }
        fchmod(&fd, Mode::from_raw_mode(self.rules.mode(member)))
            .map_err(failed("change the mode of", path))?;
        for (name, value) in &member.attributes {
            if self.rules.keeps_attribute(name) {
                match fsetxattr(&fd, OsStr::from_bytes(name), value, XattrFlags::empty()) {
                    Ok(()) | Err(rustix::io::Errno::OPNOTSUPP) => {}
                    Err(errno) => return Err(failed("set an attribute of", path)(errno)),
                }
            }
        }
        futimens(&fd, &times(member)).map_err(failed("change the time of", path))
    }

    /// The same for what is not opened.
    fn finish_unopened(&self, member: &Member, name: &OsStr) -> Result<(), Error> {
        let dir = self.cursor.fd();
        if let Some((uid, gid)) = self.rules.owner(member) {
            chownat(dir, name, Some(uid), Some(gid), AtFlags::SYMLINK_NOFOLLOW)
                .map_err(failed("change the owner of", &member.path))?;
        }
        utimensat(dir, name, &times(member), AtFlags::SYMLINK_NOFOLLOW)
            .map_err(failed("change the time of", &member.path))
    }

    /// Goes to the directory that a member belongs in; gives its name there.
    fn go_to<'m>(&mut self, path: &'m [u8]) -> Result<&'m OsStr, Error> {
        loop {
            let here = self.open.last().map(|it| it.path.as_slice());
            let Some(here) = here else {
                return Err(Error::Extract(
                    "the archive has an entry before its directory".to_owned(),
                ));
            };
            if let Some(name) = path.strip_prefix(here).and_then(|it| it.strip_prefix(b"/"))
                && !name.contains(&b'/')
            {
                return Ok(OsStr::from_bytes(name));
            }
            self.close_directory()?;
        }
    }

    fn make(&mut self, member: &Member, name: &OsStr) -> Result<(), Error> {
        let path = &member.path;
        let dir = self.cursor.fd();
        match member.kind {
            Type::Directory => {
                mkdirat(dir, name, Mode::from_raw_mode(0o700))
                    .map_err(failed("make the directory", path))?;
                self.cursor.enter(name)?;
                self.open.push(member.clone());
            }
            Type::File => {
                let flags = OFlags::WRONLY
                    | OFlags::CREATE
                    | OFlags::EXCL
                    | OFlags::NOFOLLOW
                    | OFlags::CLOEXEC;
                let fd = openat(dir, name, flags, Mode::from_raw_mode(0o600))
                    .map_err(failed("make", path))?;
                self.file = Some(File::from(fd));
            }
            Type::Link => {
                let (parent, target) = self.find(&member.link)?;
                linkat(&parent, target, dir, name, AtFlags::empty())
                    .map_err(failed("make the link", path))?;
            }
            Type::Symlink => {
                symlinkat(OsStr::from_bytes(&member.link), dir, name)
                    .map_err(failed("make the link", path))?;
                self.finish_unopened(member, name)?;
            }
            Type::Fifo => {
                mknodat(dir, name, FileType::Fifo, Mode::from_raw_mode(0o600), 0)
                    .map_err(failed("make", path))?;
                // Not given when it is made, as the umask of a daemon takes most of it away. Nobody else gets at this
                // directory yet, so the name is still that of the pipe.
                let mode = Mode::from_raw_mode(self.rules.mode(member));
                chmodat(dir, name, mode, AtFlags::empty())
                    .map_err(failed("change the mode of", path))?;
                self.finish_unopened(member, name)?;
            }
            Type::CharDevice | Type::BlockDevice => unreachable!("BUG: devices are left out"),
        }
        self.done.entries += 1;
        Ok(())
    }

    /// The directory and the name of something that was made before.
    fn find<'m>(&self, path: &'m [u8]) -> Result<(OwnedFd, &'m OsStr), Error> {
        let inside = path.strip_prefix(b"home/").unwrap_or(path);
        let mut components: Vec<&[u8]> = inside.split(|byte| *byte == b'/').collect();
        let name = OsStr::from_bytes(components.pop().unwrap_or_default());
        let mut at = self.top.try_clone().map_err(failed("open", path))?;
        // The kernel takes no path of more than 4,096 bytes; ten names are fewer.
        for part in components.chunks(10) {
            let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
            let inside = ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS | ResolveFlags::NO_XDEV;
            at = openat2(
                &at,
                OsStr::from_bytes(&part.join(&b'/')),
                flags,
                Mode::empty(),
                inside,
            )
            .map_err(failed("open", path))?;
        }
        Ok((at, name))
    }
}

fn times(member: &Member) -> Timestamps {
    let (tv_sec, nanoseconds) = member.modified;
    let time = Timespec {
        tv_sec,
        tv_nsec: nanoseconds.into(),
    };
    Timestamps {
        last_access: time,
        last_modification: time,
    }
}

impl Sink for Maker<'_> {
    fn begin(&mut self, subject: &ArchivedAccount) -> Result<(), Error> {
        if let Whose::Person(person, _) = self.rules.owners
            && (subject.uid, subject.gid, &subject.entry) != (person.uid, person.gid, &person.entry)
        {
            return Err(Error::Extract(format!(
                "it is the home of {} (uid {}), another account",
                subject.user, subject.uid
            )));
        }
        Ok(())
    }

    fn member(&mut self, member: &Member) -> Result<(), Error> {
        if member.path == HOME.as_bytes() {
            if !self.open.is_empty() || member.kind != Type::Directory {
                return Err(Error::Extract("the archive has two homes".to_owned()));
            }
            self.open.push(member.clone());
            self.done.entries += 1;
            return Ok(());
        }
        let name = self.go_to(&member.path)?;
        let why = self.rules.left_out(member).or_else(|| {
            self.skipped
                .contains(&member.link)
                .then(|| "another name of what is left out".to_owned())
        });
        if let Some(why) = why {
            self.skipped.insert(member.path.clone());
            self.done.left_out += 1;
            if self.done.named.len() < NAMED {
                self.done
                    .named
                    .push(format!("{}: {why}", shown(&member.path)));
            }
            return Ok(());
        }
        self.make(member, name)
    }

    fn data(&mut self, offset: u64, bytes: &[u8]) -> Result<(), Error> {
        match &self.file {
            Some(file) => file
                .write_all_at(bytes, offset)
                .map_err(failed("write", self.cursor.path())),
            None => Ok(()),
        }
    }

    fn end(&mut self, member: &Member) -> Result<(), Error> {
        if let Some(file) = self.file.take() {
            if let Some(size) = member.sparse {
                file.set_len(size).map_err(failed("write", &member.path))?;
            }
            self.finish(&file, member)?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_link_leads_out_when_its_text_does() {
        for (path, target, out) in [
            ("home/a", "b", false),
            ("home/a", "../b", true),
            ("home/d/a", "../b", false),
            ("home/d/a", "../../b", true),
            ("home/d/a", "x/../../../b", true),
            ("home/a", "/etc/passwd", true),
            ("home/a", ".", false),
        ] {
            assert_eq!(
                leads_out(path.as_bytes(), target.as_bytes()),
                out,
                "{path} -> {target}"
            );
        }
    }
}
