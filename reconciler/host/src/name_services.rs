//! Names and uids that other sources than the local files know (LDAP, sssd): the sources of `nsswitch.conf`.

use std::collections::{BTreeMap, BTreeSet};

use muster_core::accounts::observed::Accounts;
use nix::unistd::{Uid, User};

use crate::dir::Dir;

/// Sources of `passwd` that give out nothing that people are named after: files, and systemd's own transient users.
const LOCAL: [&str; 5] = ["files", "compat", "systemd", "altfiles", "db"];

/// Free uids that are asked about beyond those that are needed, for the ones that turn out to be taken.
const SLACK: usize = 16;

/// Whether `nsswitch.conf` names a source of accounts beside the local files.
pub(crate) fn are_in_use(root: &Dir) -> bool {
    let read = root
        .below_trusted("etc")
        .and_then(|etc| etc.read("nsswitch.conf", 1 << 20));
    match read {
        Ok(Some((text, _))) => names_others(&String::from_utf8_lossy(&text)),
        Ok(None) => false,
        // What cannot be read is asked: a needless question costs little.
        Err(_) => true,
    }
}

fn names_others(text: &str) -> bool {
    let lines = text
        .lines()
        .map(|line| line.split('#').next().unwrap_or_default());
    let sources = lines.filter_map(|line| line.trim_start().strip_prefix("passwd:"));
    sources
        .flat_map(|it| {
            it.split('[')
                .map(|part| part.rsplit(']').next().unwrap_or_default())
        })
        .any(|part| {
            part.split_whitespace()
                .any(|source| !LOCAL.contains(&source))
        })
}

/// Asks the name services for those of `names` that have no local account.
pub(crate) fn ask_names<'a>(
    names: impl Iterator<Item = &'a str>,
) -> Result<BTreeMap<String, u32>, String> {
    let mut foreign = BTreeMap::new();
    for name in names {
        match User::from_name(name) {
            Ok(Some(user)) => {
                foreign.insert(name.to_owned(), user.uid.as_raw());
            }
            Ok(None) => {}
            Err(errno) => {
                return Err(silent(name, errno));
            }
        }
    }
    Ok(foreign)
}

/// Asks the name services for the uids that would be given out next, until `new` of them are free.
pub(crate) fn ask_uids(accounts: &Accounts, new: usize) -> Result<BTreeSet<u32>, String> {
    let mut foreign = BTreeSet::new();
    if new == 0 {
        return Ok(foreign);
    }
    let taken: BTreeSet<u32> = accounts.by_name.values().map(|it| it.uid).collect();
    let (first, last) = accounts.defaults.uids;
    let mut free = 0;
    for uid in (first..=last).filter(|uid| !taken.contains(uid)) {
        match User::from_uid(Uid::from_raw(uid)) {
            Ok(Some(_)) => {
                foreign.insert(uid);
            }
            Ok(None) => free += 1,
            Err(errno) => {
                return Err(silent(&uid.to_string(), errno));
            }
        }
        if free >= new + SLACK {
            break;
        }
    }
    Ok(foreign)
}

/// That nobody answers, and what to do.
fn silent(asked: &str, errno: nix::errno::Errno) -> String {
    format!(
        "the name services were asked for {asked} and did not answer ({errno}): `getent passwd {asked}` asks the same. Start what \
         `passwd:` in /etc/nsswitch.conf names beside the local files, or take it out there; no account is made before, since \
         its name or its uid could be somebody's"
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_other_sources_are_worth_asking() {
        for (text, others) in [
            ("passwd: files systemd\n", false),
            ("passwd:\tfiles [NOTFOUND=return] systemd # sss\n", false),
            ("passwd: files sss\n", true),
            ("  passwd: files [!UNAVAIL=return] ldap\n", true),
            ("group: files sss\n", false),
            ("", false),
        ] {
            assert_eq!(names_others(text), others, "{text}");
        }
    }
}
