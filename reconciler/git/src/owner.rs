//! Acting as the owner of a repository that is not muster's.
//!
//! Root that runs git in somebody's repository would give that person root: their configuration names programs. So git
//! runs as the owner there, and notes are written as the owner; `safe.directory` is never set.

use std::io;
use std::os::unix::fs::MetadataExt;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::Command;

use nix::unistd::{Uid, User, geteuid};

/// Whose a repository is: the user and group that may act in it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Owner {
    /// The user id of its directory.
    pub uid: u32,
    /// That user's own group; the directory's group when the user is in no account database.
    pub gid: u32,
}

/// Somebody else's repository, and we are not root.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error(
    "it belongs to uid {owner} and muster runs as uid {us}; run muster as root or as that user"
)]
pub struct NotOurs {
    /// The repository's owner.
    pub owner: u32,
    /// Our effective user id.
    pub us: u32,
}

impl Owner {
    /// Whose `path` is; a symbolic link is followed.
    pub fn of(path: &Path) -> io::Result<Owner> {
        let meta = path.metadata()?;
        let uid = meta.uid();
        // A directory made by root and given to a user with its group forgotten has group 0: the user must not get it.
        let gid = match User::from_uid(Uid::from_raw(uid)) {
            Ok(Some(user)) => user.gid.as_raw(),
            _ if meta.gid() == 0 => uid,
            _ => meta.gid(),
        };
        Ok(Owner { uid, gid })
    }

    /// Whether we are this user already.
    pub fn is_us(&self) -> bool {
        geteuid().as_raw() == self.uid
    }

    /// Makes `command` run as this user, in this user's group alone.
    pub(crate) fn put_on(&self, command: &mut Command) -> Result<(), NotOurs> {
        if self.is_us() {
            return Ok(());
        }
        if !geteuid().is_root() {
            return Err(NotOurs {
                owner: self.uid,
                us: geteuid().as_raw(),
            });
        }
        // Without `groups`, `uid` also clears the supplementary groups when root starts the process.
        command.uid(self.uid).gid(self.gid);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::run::{Limits, bare_environment, run};

    #[test]
    fn the_owner_gets_its_own_ids_and_no_groups_of_ours() {
        if !geteuid().is_root() {
            return; // Only root can act as somebody else.
        }
        let mut command = bare_environment("/usr/bin/id".into());
        Owner {
            uid: 54_321,
            gid: 54_321,
        }
        .put_on(&mut command)
        .unwrap();
        let out = String::from_utf8(run(command, "id", b"", Limits::default()).unwrap()).unwrap();
        assert_eq!(out.trim(), "uid=54321 gid=54321 groups=54321");
    }

    #[test]
    fn a_directory_left_in_the_group_of_root_does_not_give_that_group() {
        if !geteuid().is_root() {
            return; // Only root can give a directory away.
        }
        let dir = tempfile::tempdir().unwrap();
        std::os::unix::fs::chown(dir.path(), Some(54_321), None).unwrap();
        assert_eq!(
            Owner::of(dir.path()).unwrap(),
            Owner {
                uid: 54_321,
                gid: 54_321
            }
        );
    }
}
