//! Who reads git for this process: a process of its own, so that nothing that strangers pushed is decoded with the rights of the
//! one who acts.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};

use muster_git::owner::Owner;
use muster_git::reader::{Reader, Way};
use muster_git::run::Limits;
use muster_git::{FetchError, Mirror, Origin, folder};
use nix::unistd::{AccessFlags, access, geteuid};

/// Where the reader of remote origins listens, unless settings say otherwise.
pub const LISTENS: &str = "/run/muster/reader.socket";

/// Whether this process is the program `muster`, and not another that uses its library.
static IS_MUSTER: AtomicBool = AtomicBool::new(false);

/// Says that this process is the program `muster`, which can be started once more as a reader.
pub(crate) fn this_process_is_muster() {
    IS_MUSTER.store(true, Ordering::Relaxed);
}

/// Who reads `origin` for a daemon. The reader of a remote one is found at the socket `listens`; where that is not, it is a
/// child with our own rights, which keeps what it fetches in `keeps`, or nowhere. `None` where there is no program to start.
pub fn way(origin: &Origin, listens: &Path, keeps: Option<&Path>) -> Option<Way> {
    // Who may not ask the service, such as a bot that has a user, the network and keys of its own, starts a reader of its own.
    let may_ask = access(listens, AccessFlags::W_OK).is_ok();
    if matches!(origin, Origin::Remote(_)) && may_ask {
        return Some(Way::Service(listens.to_owned()));
    }
    IS_MUSTER.load(Ordering::Relaxed).then(|| Way::Child {
        // This very program, also when another version was installed in its place meanwhile; and whoever it runs as need not be
        // able to find it.
        program: "/proc/self/exe".into(),
        args: vec!["reader".into()],
        keeps: keeps
            .filter(|_| matches!(origin, Origin::Remote(_)))
            .map(Path::to_owned),
    })
}

/// Who reads `origin` for somebody at a console: whoever is not root reads with no rights but their own.
pub fn way_of_console(origin: &Origin, listens: &Path) -> Option<Way> {
    geteuid()
        .is_root()
        .then(|| way(origin, listens, None))
        .flatten()
}

/// Who reads a state repository, for whoever asks how this executor stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ReaderStatus {
    /// `owner`, `service` or `child`.
    pub who: &'static str,
    /// The same for people.
    pub says: String,
    /// The bytes of what it keeps, and of the mirror: as far as they may be looked at.
    pub bytes: u64,
}

/// Who reads `origin`, and how much is kept of it in these directories.
pub fn standing(origin: &Origin, listens: &Path, kept: &[PathBuf]) -> ReaderStatus {
    let (who, says, beside) = match origin {
        Origin::Local(path) => {
            let shown = path.display();
            let says = match Owner::of(path) {
                Ok(owner) => format!(
                    "a child that runs as the owner of {shown}, uid {}",
                    owner.uid
                ),
                Err(error) => format!("nobody: {shown}: {error}"),
            };
            ("owner", says, None)
        }
        Origin::Remote(_) if listens.symlink_metadata().is_ok() => {
            let says = "muster-reader.service, which has the network and git's keys".to_owned();
            ("service", says, Some(SERVICE_KEEPS))
        }
        Origin::Remote(_) => {
            let says = "a child with the rights, the network and the keys of muster itself; to move them to \
                        muster-reader.service, see \"Who reads git\" in /usr/share/doc/muster/README.md";
            ("child", says.to_owned(), None)
        }
    };
    let kept = kept.iter().map(PathBuf::as_path);
    let bytes = kept.chain(beside.map(Path::new)).map(size_of).sum();
    ReaderStatus { who, says, bytes }
}

/// Where muster-reader.service keeps what it fetched.
const SERVICE_KEEPS: &str = "/var/lib/muster-reader";

/// The bytes of the files below `dir`; no link is followed.
fn size_of(dir: &Path) -> u64 {
    let entries = folder::entries(dir).unwrap_or_default();
    let sizes = entries.iter().filter_map(|entry| {
        let meta = entry.path.symlink_metadata().ok()?;
        Some(if meta.is_dir() {
            size_of(&entry.path)
        } else {
            meta.len()
        })
    });
    sizes.sum()
}

/// The mirror, reading `origin` through whoever is found at `way`, and no more than fits this process's memory.
///
/// # Errors
/// When the mirror cannot be opened once more.
pub fn through(mirror: Mirror, origin: &Origin, way: Option<Way>) -> Result<Mirror, FetchError> {
    let mirror = within_memory(mirror)?;
    Ok(match way {
        Some(way) => mirror.reading_through(Reader::of(origin, way)),
        None => mirror,
    })
}

/// A mirror in `dir` for one look at `origin`. What an executor of this machine keeps in `kept` is read there, and nobody else is
/// asked for it; where this process reads itself, nothing stands between it and the origin.
///
/// # Errors
/// When it cannot be made.
pub fn for_one_look(
    dir: &Path,
    kept: Option<&Path>,
    origin: &Origin,
    way: Option<Way>,
) -> Result<Mirror, FetchError> {
    within_memory(match (kept, way) {
        (Some(kept), Some(way)) => Mirror::beside(kept, dir, Reader::of(origin, way))?,
        (None, Some(way)) => Mirror::for_one_look(dir)?.reading_through(Reader::of(origin, way)),
        (_, None) => Mirror::for_one_look(dir)?,
    })
}

/// The mirror, which reads no more than fits this process's memory.
fn within_memory(mirror: Mirror) -> Result<Mirror, FetchError> {
    mirror.with_limits(Limits {
        bytes: most_bytes(memory_limit()),
        ..Limits::default()
    })
}

/// The most that the files of a commit may have together where this much memory may be used: what is read costs at most eight
/// times its size (F7), beside its own bytes and those that it is copied from, and beside what this process needs anyway.
fn most_bytes(memory: Option<u64>) -> u64 {
    let all = Limits::default().bytes;
    memory.map_or(all, |memory| {
        (memory.saturating_sub(ANYWAY) / 10).clamp(1 << 20, all)
    })
}

/// What this process needs beside what it reads: facts and observations of a large host.
const ANYWAY: u64 = 128 << 20;

/// The memory that this process may use, by the narrowest of the control groups it is in; `None` where nothing limits it.
fn memory_limit() -> Option<u64> {
    let groups = fs::read_to_string("/proc/self/cgroup").ok()?;
    let mut narrowest = None;
    for line in groups.lines() {
        let mut parts = line.splitn(3, ':');
        let (controllers, group) = (parts.nth(1)?, parts.next()?);
        let (root, file) = match controllers {
            "" => ("/sys/fs/cgroup", "memory.max"),
            it if it.split(',').any(|it| it == "memory") => {
                ("/sys/fs/cgroup/memory", "memory.limit_in_bytes")
            }
            _ => continue,
        };
        let group = PathBuf::from(format!("{root}{group}"));
        for dir in group.ancestors().take_while(|dir| dir.starts_with(root)) {
            let limit = fs::read_to_string(dir.join(file)).ok();
            let limit = limit.and_then(|it| it.trim().parse::<u64>().ok());
            narrowest = [narrowest, limit].into_iter().flatten().min();
        }
    }
    narrowest
}

#[cfg(test)]
mod tests {
    use super::*;

    const MIB: u64 = 1 << 20;

    #[test]
    fn what_is_read_fits_the_memory_that_there_is() {
        for (memory, most) in [(1_024, 89), (2_048, 192), (65_536, 256), (64, 1), (0, 1)] {
            assert_eq!(most_bytes(Some(memory * MIB)) / MIB, most, "{memory}");
        }
        assert_eq!(most_bytes(None), 256 * MIB);
    }

    #[test]
    fn only_the_program_itself_can_be_started_as_a_reader() {
        let there = tempfile::tempdir().unwrap();
        let remote = Origin::parse("https://forge.example/team/state.git").unwrap();
        let local = Origin::parse("/srv/git/state.git").unwrap();
        assert_eq!(way(&remote, &there.path().join("none"), None), None);
        assert_eq!(way(&local, there.path(), None), None);
        let service = way(&remote, there.path(), None);
        assert_eq!(service, Some(Way::Service(there.path().to_owned())));
    }
}
