//! What a login leaves outside the account databases (R34): linger, authorized keys, crontab.

use std::io;

use muster_core::accounts::action::{Direction, Trace};
use muster_core::accounts::observed::Home;
use muster_core::reading::Reading;
use nix::errno::Errno;
use nix::unistd::{Gid, Uid};

use crate::dir::{Dir, FileKind, split, with_causes};
use crate::homes::Homes;
use crate::root::{Ownership, RootDir, RootError};
use crate::saved::{PutBack, SaveError, Saved, key};

/// Where logind keeps a file for each user whose services outlive the session.
pub(crate) const LINGER: &str = "var/lib/systemd/linger";
/// Where cron keeps a file for each user: Debian, SUSE, and Red Hat and Arch. Each is looked at, whichever cron runs (F26).
pub(crate) const CRONTABS: [&str; 3] = [
    "var/spool/cron/crontabs",
    "var/spool/cron/tabs",
    "var/spool/cron",
];

/// Whose traces.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Whose<'a> {
    pub(crate) user: &'a str,
    pub(crate) uid: u32,
    pub(crate) gid: u32,
    pub(crate) home: &'a str,
}

/// Why a trace could not be set aside or put back.
#[derive(Debug, thiserror::Error)]
pub(crate) enum TraceError {
    #[error("{0}")]
    Home(String),
    #[error(
        "nothing of it is saved on this host, so it cannot be put back; the person makes it anew"
    )]
    NothingSaved,
    #[error(transparent)]
    Save(#[from] SaveError),
    #[error(transparent)]
    Root(#[from] RootError),
}

/// A place where a trace can be.
enum Place {
    /// Below the root of the host.
    System { parent: String, name: String },
    /// Below the home, which the user may change while we look.
    Home { parent: String, name: String },
}

fn places(trace: Trace, user: &str, keys: &[String]) -> Vec<Place> {
    let system = |parent: &str, name: &str| Place::System {
        parent: parent.to_owned(),
        name: name.to_owned(),
    };
    match trace {
        Trace::Linger => vec![system(LINGER, user)],
        Trace::Crontab => CRONTABS.iter().map(|dir| system(dir, user)).collect(),
        Trace::AuthorizedKeys => keys
            .iter()
            .map(|pattern| {
                let path = pattern.replace("%u", user);
                let (parent, name) = split(&path);
                if path.starts_with('/') {
                    system(parent, name)
                } else {
                    Place::Home {
                        parent: parent.to_owned(),
                        name: name.to_owned(),
                    }
                }
            })
            .collect(),
    }
}

/// Whether there is anything of a trace.
pub(crate) fn look(
    root: &Dir,
    homes: &mut Homes<'_>,
    whose: &Whose<'_>,
    trace: Trace,
    keys: &[String],
) -> Reading<bool> {
    let mut home = None;
    for place in places(trace, whose.user, keys) {
        let (dir, name) = match &place {
            Place::System { parent, name } => (absent(root.below_trusted(parent)), name),
            Place::Home { parent, name } => {
                let home = home.get_or_insert_with(|| open_home(root, homes, whose));
                let dir = match home {
                    Ok(Some(home)) => absent(home.below_on_this_mount(parent)),
                    Ok(None) => Ok(None),
                    Err(why) => return Reading::Unknown(why.clone()),
                };
                (dir, name)
            }
        };
        let seen = match dir {
            Ok(Some(dir)) => dir.see(name),
            Ok(None) => continue,
            Err(error) => return Reading::Unknown(explained(&error)),
        };
        match seen {
            // sshd, cron and logind take nothing but a file; through a link, the first two may get at one.
            Ok(Some(seen)) if matches!(seen.kind, FileKind::File | FileKind::Link) => {
                return Reading::Known(true);
            }
            Ok(_) => {}
            Err(error) => return Reading::Unknown(with_causes(&error)),
        }
    }
    Reading::Known(false)
}

fn absent(opened: Result<Dir, RootError>) -> Result<Option<Dir>, RootError> {
    match opened {
        Ok(dir) => Ok(Some(dir)),
        Err(error)
            if matches!(
                error.source.kind(),
                io::ErrorKind::NotFound | io::ErrorKind::NotADirectory
            ) =>
        {
            Ok(None)
        }
        Err(error) => Err(error),
    }
}

/// The message for an error of the kernel that a user may have provoked.
fn explained(error: &RootError) -> String {
    let path = error.path.display();
    match error.source.raw_os_error() {
        Some(code) if code == Errno::ELOOP as i32 => {
            format!(
                "{path} leads through a symbolic link, which is not followed; replace it by a directory, or remove it"
            )
        }
        Some(code) if code == Errno::EXDEV as i32 => {
            format!("{path} is on another mount than the home, which is not entered; unmount it")
        }
        _ => with_causes(error),
    }
}

fn open_home(root: &Dir, homes: &mut Homes<'_>, whose: &Whose<'_>) -> Result<Option<Dir>, String> {
    match homes.look(whose.home, Some(whose.uid)) {
        Reading::Known(Home::Directory(_)) => {}
        Reading::Known(Home::Absent) => return Ok(None),
        Reading::Known(Home::Odd(why)) => {
            return Err(format!("the home {} is not looked into: {why}", whose.home));
        }
        Reading::Unknown(why) => return Err(why),
    }
    let (parent, name) = split(whose.home);
    let opened = root
        .below_trusted(parent)
        .and_then(|parent| parent.dir(name));
    let home = opened.map_err(|error| with_causes(&error))?;
    Ok(Some(home))
}

/// What a change of traces works on.
pub(crate) struct Context<'a> {
    pub(crate) root: &'a Dir,
    pub(crate) owners: &'a RootDir,
    pub(crate) saved: &'a Saved,
    pub(crate) keys: &'a [String],
}

/// Sets a trace aside for a cut, or puts it back.
pub(crate) fn change(
    context: &Context<'_>,
    whose: &Whose<'_>,
    trace: Trace,
    direction: Direction,
    cut: u32,
) -> Result<(), TraceError> {
    let Context {
        root,
        owners,
        saved,
        keys,
    } = *context;
    let mut homes = Homes::new(root, owners);
    let mut home = None;
    let mut there = false;
    for place in places(trace, whose.user, keys) {
        let (parent, name, in_home) = match &place {
            Place::System { parent, name } => (parent, name, false),
            Place::Home { parent, name } => (parent, name, true),
        };
        // Not the user's name: a save outlives a rename.
        let what = match (trace, in_home) {
            (Trace::AuthorizedKeys, true) => format!("{parent}/{name}"),
            (Trace::AuthorizedKeys, false) => format!("/{parent}"),
            // The first place has no path in its key, as saves of earlier versions have none.
            (Trace::Crontab, _) if parent != CRONTABS[0] => format!("/{parent}"),
            (Trace::Linger | Trace::Crontab, _) => String::new(),
        };
        let key = key(trace.word(), &what);
        let holding = match direction {
            Direction::SetAside => None,
            Direction::Restore => saved.holding(whose.uid, cut, &key)?,
        };
        let opened = if in_home {
            let home = home.get_or_insert_with(|| open_home(root, &mut homes, whose));
            match home {
                Ok(Some(home)) => match home.below_on_this_mount(parent) {
                    Err(error)
                        if error.source.kind() == io::ErrorKind::NotFound
                            && holding.is_some()
                            && !parent.contains('/') =>
                    {
                        make_private(home, parent, whose, owners.ownership()).map(Some)
                    }
                    opened => absent(opened),
                },
                Ok(None) => Ok(None),
                Err(why) => return Err(TraceError::Home(why.clone())),
            }
        } else if holding.is_some() {
            root.below_made(parent).map(Some)
        } else {
            absent(root.below_trusted(parent))
        };
        let dir = match opened {
            Ok(Some(dir)) => dir,
            Ok(None) => continue,
            Err(error) => return Err(TraceError::Home(explained(&error))),
        };
        match (direction, holding) {
            (Direction::SetAside, _) => {
                // A directory of that name is another thing: cron keeps its own among the files.
                let seen = dir.see(name)?;
                if seen.is_some_and(|it| in_home || it.kind != FileKind::Directory) {
                    let shelf = saved.shelf(whose.uid, cut)?;
                    shelf.set_aside(&key, &dir, name, whose.uid, owners.ownership())?;
                }
            }
            (Direction::Restore, Some(shelf)) => {
                there |= shelf.put_back(&key, &dir, name, owners.ownership())? == PutBack::Done;
            }
            (Direction::Restore, None) => there |= dir.see(name)?.is_some(),
        }
    }
    if direction == Direction::Restore && !there {
        return Err(TraceError::NothingSaved);
    }
    Ok(())
}

/// `~/.ssh` was removed in between: it is made again as `ssh` makes it.
fn make_private(
    home: &Dir,
    name: &str,
    whose: &Whose<'_>,
    ownership: Ownership,
) -> Result<Dir, RootError> {
    let owner = match ownership {
        Ownership::Performed => Some((Uid::from_raw(whose.uid), Gid::from_raw(whose.gid))),
        Ownership::Recorded => None,
    };
    home.make_whole_dir(name, 0o700, owner)
}
