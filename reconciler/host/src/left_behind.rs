//! Uids and gids that nobody has and that something of a former account still has: a home, mail, a crontab. Whoever gets such an id
//! gets that, too (F24).

mod listed;

use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::ffi::{OsStr, OsString};

pub(crate) use listed::Listed;

use crate::dir::{Dir, FileKind};
use crate::homes::{self, Stray};
use crate::root::{Ownership, RootDir};
use crate::traces::CRONTABS;

/// Where mail is kept, a file or a directory for each account.
const MAIL: [&str; 2] = ["var/mail", "var/spool/mail"];

/// What former accounts left.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct LeftBehind {
    /// The paths of each uid that no account has.
    pub(crate) uids: BTreeMap<u32, BTreeSet<String>>,
    /// The gids that anything of it has, whether there is such a group or not.
    pub(crate) gids: BTreeSet<u32>,
}

impl LeftBehind {
    fn note(&mut self, path: String, (uid, gid): (u32, u32), has_account: impl Fn(u32) -> bool) {
        self.gids.insert(gid);
        if uid != 0 && !has_account(uid) {
            self.uids.entry(uid).or_default().insert(path);
        }
    }
}

/// By uid, the paths that have it, of everything that stands where accounts keep things and belongs to no uid that
/// `has_account`.
/// `homes` are the directories that homes stand in, and `known` the homes of accounts: those are looked at otherwise, but for
/// `unseen` ones, and those that are not of whose they are are `strays`. What cannot be listed is nobody's here.
pub(crate) fn look<'a, K: Iterator<Item = &'a str>, U: Iterator<Item = &'a str>>(
    dir: &Dir,
    root: &RootDir,
    listed: &mut Listed,
    homes: &BTreeSet<&str>,
    (known, unseen): (impl Fn() -> K, impl Fn() -> U),
    strays: &[Stray],
    has_account: impl Fn(u32) -> bool,
) -> LeftBehind {
    let recorded = (root.ownership() == Ownership::Recorded).then(|| homes::recorded(dir));
    let places = homes
        .iter()
        .map(|it| it.trim_matches('/'))
        .chain(MAIL)
        .chain(CRONTABS);
    let mut found = LeftBehind::default();
    // Some are one directory under two names.
    let mut looked_at = BTreeSet::new();
    for place in places {
        let Ok(parent) = dir.below_trusted(place) else {
            continue;
        };
        let Ok(itself) = parent.itself() else {
            continue;
        };
        let is_new = looked_at.insert((itself.device, itself.inode));
        if !is_new || !homes::lists_everything(&parent) {
            continue;
        }
        let inside = |home: &'a str| {
            home.strip_prefix('/')?
                .strip_prefix(place)?
                .strip_prefix('/')
        };
        let names: Vec<&OsStr> = known().filter_map(inside).map(OsStr::new).collect();
        let list = || {
            let here: HashSet<&OsStr> = names.iter().copied().collect();
            parent.names_where(|name| !here.contains(name))
        };
        let others = listed.others(place, &itself, &names, list);
        let unseen = unseen().filter_map(inside).map(OsString::from);
        for name in others.unwrap_or_default().into_iter().chain(unseen) {
            let path = format!("/{place}/{}", name.to_string_lossy());
            let Ok(Some(seen)) = parent.see(&name) else {
                continue;
            };
            if seen.kind == FileKind::Link {
                continue;
            }
            let ids = match &recorded {
                Some(owners) => owners.get(&path.as_bytes()[1..]).copied(),
                None => Some((seen.uid, seen.gid)),
            };
            let Some((uid, gid)) = ids else { continue };
            found.note(path, (uid, gid), &has_account);
        }
    }
    for Stray { path, uid, gid } in strays {
        found.note(path.clone(), (*uid, *gid), &has_account);
    }
    listed.keep();
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_former_account_left_keeps_its_uid() {
        let scratch = tempfile::tempdir().unwrap();
        let put = |path: &str| {
            let path = scratch.path().join(path);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, "").unwrap();
        };
        for path in [
            "home/zed/diary",
            "home/amy/thesis",
            "srv/people/old/x",
            "var/mail/bob",
            "var/spool/cron/tabs/cid",
            "var/spool/cron/dee",
            "home/note",
            "home/fay/x",
        ] {
            put(path);
        }
        std::os::unix::fs::symlink("mail", scratch.path().join("var/spool/mail")).unwrap();
        put(".muster-ownership");
        let owners = "1001:1001 home/zed\n1002:1002 home/amy\n1003:1003 srv/people/old\n1004:8 var/mail/bob\n\
                      1005:1005 var/spool/cron/tabs/cid\n1006:0 var/spool/cron/dee\n0:0 home/note\n1009:1009 home/fay\n";
        std::fs::write(scratch.path().join(".muster-ownership"), owners).unwrap();
        let dir = Dir::open(scratch.path()).unwrap();
        let root = RootDir::open(scratch.path(), Ownership::Recorded).unwrap();
        let homes = ["/home", "/srv/people/", "/nowhere"].into();
        // Amy's is an account's, and dee's uid somebody else's.
        let known = || ["/home/amy", "/home/fay"].into_iter();
        let mut listed = Listed::default();
        let stray = |path: &str, uid, gid| Stray {
            path: path.to_owned(),
            uid,
            gid,
        };
        let strays = [
            stray("/home/bea", 1_007, 1_008),
            stray("/home/ann", 1_002, 0),
        ];
        let unseen = || ["/home/fay", "/home/amy/inside", "/else/gus"].into_iter();
        let found = look(
            &dir,
            &root,
            &mut listed,
            &homes,
            (known, unseen),
            &strays,
            |uid| [1_002, 1_006].contains(&uid),
        );
        let gids: Vec<u32> = found.gids.into_iter().collect();
        assert_eq!(gids, [0, 8, 1_001, 1_003, 1_005, 1_008, 1_009]);
        let told: Vec<(u32, &str)> = found
            .uids
            .iter()
            .flat_map(|(uid, paths)| paths.iter().map(|it| (*uid, it.as_str())))
            .collect();
        assert_eq!(
            told,
            [
                (1_001, "/home/zed"),
                (1_003, "/srv/people/old"),
                (1_004, "/var/mail/bob"),
                (1_005, "/var/spool/cron/tabs/cid"),
                (1_007, "/home/bea"),
                (1_009, "/home/fay"),
            ]
        );
    }
}
