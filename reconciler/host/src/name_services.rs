//! Names and ids that other sources than the local files know: LDAP, sssd and their like through the C library, and what
//! systemd knows (userdb, homed) from itself. Which of them a host has is said in `nsswitch.conf`.

mod userdb;

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::mpsc::{Receiver, RecvTimeoutError, TryRecvError, channel};
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::unistd::{Gid, Group, Uid, User};

use crate::dir::Dir;
use userdb::Userdb;

/// Sources that know what stands in local files, and nothing else.
const LOCAL: [&str; 4] = ["files", "compat", "altfiles", "db"];
/// What systemd knows: asked without the C library, which waits for it without end.
const SYSTEMD: &str = "systemd";

/// Free ids that are asked about beyond those that are needed, for the ones that turn out to be taken otherwise.
const SLACK: usize = 16;

/// How long all of the asking may take: whoever is to get an account waits for a later cycle, and nobody else waits longer.
const PATIENCE: Duration = Duration::from_secs(20);

/// Which sources of accounts and groups there are beside the local files.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Sources {
    /// Any that the C library has to be asked for.
    others: bool,
    /// Systemd.
    systemd: bool,
}

impl Sources {
    /// As `nsswitch.conf` names them.
    pub(crate) fn of(root: &Dir) -> Self {
        let read = root
            .below_trusted("etc")
            .and_then(|etc| etc.read("nsswitch.conf", 1 << 20));
        match read {
            Ok(Some((text, _))) => Self::named(&String::from_utf8_lossy(&text)),
            Ok(None) => Self::default(),
            // What cannot be read is asked: a needless question costs little.
            Err(_) => Self {
                others: true,
                systemd: true,
            },
        }
    }

    fn named(text: &str) -> Self {
        let lines = text
            .lines()
            .map(|line| line.split('#').next().unwrap_or_default());
        let of_accounts = lines.filter_map(|line| {
            let line = line.trim_start();
            line.strip_prefix("passwd:")
                .or_else(|| line.strip_prefix("group:"))
        });
        // What stands in brackets says how to go on, and names no source.
        let words = of_accounts.flat_map(|it| {
            it.split('[')
                .map(|part| part.rsplit(']').next().unwrap_or_default())
                .flat_map(str::split_whitespace)
        });
        let mut found = Self::default();
        for source in words.filter(|it| !LOCAL.contains(it)) {
            match source {
                SYSTEMD => found.systemd = true,
                _ => found.others = true,
            }
        }
        found
    }

    /// Whether there are none.
    pub(crate) fn are_none(self) -> bool {
        self == Self::default()
    }
}

/// What is asked: names that no account has, ids that rows ask for, and how many free ids are needed.
#[derive(Clone, Debug, Default)]
pub(crate) struct Asked {
    pub(crate) names: Vec<String>,
    pub(crate) ids: BTreeSet<u32>,
    pub(crate) new: usize,
    /// First and last uid and gid that can be given out, and those of them that are taken anyway.
    pub(crate) uids: (u32, u32),
    pub(crate) gids: (u32, u32),
    pub(crate) taken_uids: BTreeSet<u32>,
    pub(crate) taken_gids: BTreeSet<u32>,
}

impl Asked {
    fn is_nothing(&self) -> bool {
        self.names.is_empty() && self.ids.is_empty() && self.new == 0
    }
}

/// What somebody else knows of it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Known {
    /// Accounts, with their uids.
    pub(crate) names: BTreeMap<String, u32>,
    /// Names that cannot be given to an account for another reason, and that reason.
    pub(crate) barred: BTreeMap<String, String>,
    pub(crate) uids: BTreeSet<u32>,
    pub(crate) gids: BTreeSet<u32>,
}

/// One who knows names and ids. Every answer may be an error: nobody tells, then, whether they are free.
trait Source {
    /// The uid of the account of that name: `Some(None)` where there is one and its uid is not told.
    fn account(&mut self, name: &str) -> Result<Option<Option<u32>>, String>;
    fn has_group(&mut self, name: &str) -> Result<bool, String>;
    fn has_uid(&mut self, uid: u32) -> Result<bool, String>;
    fn has_gid(&mut self, gid: u32) -> Result<bool, String>;
}

/// Asks, and waits for an answer no longer than it may. One thread asks; whoever keeps it waiting for ever is not given another.
#[derive(Debug, Default)]
pub(crate) struct NameServices {
    kept_waiting: Option<Receiver<Result<Known, String>>>,
}

impl NameServices {
    /// What the sources know, of a machine whose files are below `root`.
    ///
    /// # Errors
    /// When one of them does not answer, or not in time: what it would have known is not known then.
    pub(crate) fn ask(
        &mut self,
        sources: Sources,
        root: &Path,
        asked: Asked,
    ) -> Result<Known, String> {
        let root = root.to_owned();
        self.ask_within(PATIENCE, asked, move |asked, deadline| {
            ask_each(sources, root, asked, deadline)
        })
    }

    fn ask_within(
        &mut self,
        patience: Duration,
        asked: Asked,
        ask: impl FnOnce(&Asked, Instant) -> Result<Known, String> + Send + 'static,
    ) -> Result<Known, String> {
        if asked.is_nothing() {
            return Ok(Known::default());
        }
        if let Some(waiting) = &self.kept_waiting
            && waiting.try_recv() == Err(TryRecvError::Empty)
        {
            return Err(overdue("have still not answered"));
        }
        self.kept_waiting = None;
        let (answer, answered) = channel();
        let deadline = Instant::now() + patience;
        let asking = move || {
            // Nobody listens any more when it came too late.
            let _ = answer.send(ask(&asked, deadline));
        };
        std::thread::Builder::new()
            .name("name-services".to_owned())
            .spawn(asking)
            .map_err(|error| {
                format!("the name services cannot be asked: no thread for it ({error})")
            })?;
        match answered.recv_timeout(patience) {
            Ok(known) => known,
            Err(RecvTimeoutError::Timeout) => {
                self.kept_waiting = Some(answered);
                Err(overdue(&format!(
                    "did not answer within {} s",
                    patience.as_secs()
                )))
            }
            Err(RecvTimeoutError::Disconnected) => Err(overdue("could not be asked to the end")),
        }
    }
}

fn ask_each(
    sources: Sources,
    root: PathBuf,
    asked: &Asked,
    deadline: Instant,
) -> Result<Known, String> {
    let mut known = Known::default();
    if sources.systemd {
        look_up(&mut Userdb::open(&root, deadline)?, asked, &mut known)?;
    }
    if sources.others {
        look_up(&mut CLibrary, asked, &mut known)?;
    }
    Ok(known)
}

/// Asks one source for all that is asked, and for the ids that would be given out next, until enough of them are free.
fn look_up(source: &mut dyn Source, asked: &Asked, known: &mut Known) -> Result<(), String> {
    for name in &asked.names {
        match source.account(name)? {
            Some(Some(uid)) => {
                known.names.insert(name.clone(), uid);
            }
            Some(None) => {
                let why = "a name service of this host knows that name; it is left alone";
                known.barred.insert(name.clone(), why.to_owned());
            }
            None if source.has_group(name)? => {
                let why = "a name service of this host knows a group of that name, and the account's own group would be a second \
                           one; it is left alone";
                known.barred.insert(name.clone(), why.to_owned());
            }
            None => {}
        }
    }
    for id in &asked.ids {
        if source.has_uid(*id)? {
            known.uids.insert(*id);
        }
        if source.has_gid(*id)? {
            known.gids.insert(*id);
        }
    }
    if asked.new == 0 {
        return Ok(());
    }
    let free = |taken: &BTreeSet<u32>, (first, last): (u32, u32)| {
        let taken = taken.clone();
        (first..=last).filter(move |id| !taken.contains(id))
    };
    let enough = asked.new + SLACK;
    let mut found = 0;
    for uid in free(&asked.taken_uids, asked.uids) {
        let taken = known.uids.contains(&uid) || source.has_uid(uid)?;
        // The account's own group gets the same number where it can.
        if source.has_gid(uid)? {
            known.gids.insert(uid);
        }
        if taken {
            known.uids.insert(uid);
        } else {
            found += 1;
        }
        if found >= enough {
            break;
        }
    }
    found = 0;
    for gid in free(&asked.taken_gids, asked.gids) {
        if known.gids.contains(&gid) || source.has_gid(gid)? {
            known.gids.insert(gid);
        } else {
            found += 1;
        }
        if found >= enough {
            break;
        }
    }
    Ok(())
}

/// What `nsswitch.conf` names, as the C library goes through it.
struct CLibrary;

impl Source for CLibrary {
    fn account(&mut self, name: &str) -> Result<Option<Option<u32>>, String> {
        let found = User::from_name(name).map_err(|errno| silent(name, errno))?;
        Ok(found.map(|user| Some(user.uid.as_raw())))
    }

    fn has_group(&mut self, name: &str) -> Result<bool, String> {
        let found = Group::from_name(name).map_err(|errno| silent(name, errno))?;
        Ok(found.is_some())
    }

    fn has_uid(&mut self, uid: u32) -> Result<bool, String> {
        let found = User::from_uid(Uid::from_raw(uid));
        Ok(found.map_err(|it| silent(&uid.to_string(), it))?.is_some())
    }

    fn has_gid(&mut self, gid: u32) -> Result<bool, String> {
        let found = Group::from_gid(Gid::from_raw(gid));
        Ok(found.map_err(|it| silent(&gid.to_string(), it))?.is_some())
    }
}

/// That nobody answers, and what to do.
fn silent(asked: &str, errno: Errno) -> String {
    format!(
        "the name services were asked for {asked} and did not answer ({errno}): `getent passwd {asked}` asks the same. Start what \
         `passwd:` in /etc/nsswitch.conf names beside the local files, or take it out there; no account is made before, since \
         its name or its uid could be somebody's"
    )
}

fn overdue(how: &str) -> String {
    format!(
        "the name services {how}: `getent passwd` asks the same. Start what `passwd:` in /etc/nsswitch.conf names beside the local \
         files, or take it out there; no account is made before, since its name or its uid could be somebody's"
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_other_sources_are_worth_asking() {
        for (text, others, systemd) in [
            ("passwd: files systemd\n", false, true),
            (
                "passwd:\tfiles [NOTFOUND=return] systemd # sss\n",
                false,
                true,
            ),
            ("passwd: files sss\n", true, false),
            ("passwd: files\ngroup: files systemd ldap\n", true, true),
            ("  passwd: files [!UNAVAIL=return] ldap\n", true, false),
            ("shadow: files sss\npasswd: compat\n", false, false),
            ("", false, false),
        ] {
            let expected = Sources { others, systemd };
            assert_eq!(Sources::named(text), expected, "{text}");
        }
    }

    struct Made(BTreeMap<&'static str, u32>, BTreeSet<u32>);

    impl Source for Made {
        fn account(&mut self, name: &str) -> Result<Option<Option<u32>>, String> {
            Ok(self.0.get(name).map(|it| Some(*it)))
        }

        fn has_group(&mut self, name: &str) -> Result<bool, String> {
            Ok(name == "staff")
        }

        fn has_uid(&mut self, uid: u32) -> Result<bool, String> {
            Ok(self.0.values().any(|it| *it == uid))
        }

        fn has_gid(&mut self, gid: u32) -> Result<bool, String> {
            Ok(self.1.contains(&gid))
        }
    }

    fn three() -> Asked {
        Asked {
            names: ["amy", "staff", "zoe"].map(str::to_owned).into(),
            ids: [7_000, 8_000].into(),
            new: 2,
            uids: (1_000, 60_000),
            gids: (1_000, 60_000),
            taken_uids: [1_000].into(),
            taken_gids: BTreeSet::new(),
        }
    }

    #[test]
    fn names_ids_and_groups_of_others_are_found() {
        let mut source = Made(
            [("amy", 1_777), ("x", 1_001), ("y", 7_000)].into(),
            [1_002, 8_000].into(),
        );
        let mut known = Known::default();
        look_up(&mut source, &three(), &mut known).unwrap();
        assert_eq!(known.names, [("amy".to_owned(), 1_777)].into());
        assert_eq!(Vec::from_iter(known.barred.keys()), ["staff"]);
        assert_eq!(known.uids, [1_001, 7_000].into());
        assert_eq!(known.gids, [1_002, 8_000].into());
    }

    #[test]
    fn who_never_answers_is_waited_for_once_and_asked_again_when_it_has() {
        let mut services = NameServices::default();
        let (release, held) = channel::<()>();
        let short = Duration::from_millis(20);
        let never = move |_: &Asked, _| {
            let _ = held.recv();
            Ok(Known::default())
        };
        let why = services.ask_within(short, three(), never).unwrap_err();
        assert!(why.contains("did not answer within"), "{why}");
        // Not a second thread: the first one is still there.
        let second = |_: &Asked, _| -> Result<Known, String> { panic!("asked again") };
        let why = services.ask_within(short, three(), second).unwrap_err();
        assert!(why.contains("have still not answered"), "{why}");
        release.send(()).unwrap();
        // It answers in its own time; from then on they are asked again.
        let waiting = services.kept_waiting.as_ref().unwrap();
        assert_eq!(waiting.iter().count(), 1);
        let found = |_: &Asked, _| {
            Ok(Known {
                uids: [5].into(),
                ..Known::default()
            })
        };
        let known = services.ask_within(Duration::from_secs(20), three(), found);
        assert_eq!(known.unwrap().uids, [5].into());
    }
}
