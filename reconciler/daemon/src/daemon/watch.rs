//! Wakes the loop when something changes in a directory. A convenience: what it misses, the next poll finds.

use std::collections::BTreeSet;
use std::ffi::OsStr;
use std::path::{Path, PathBuf};

use nix::sys::statfs::{
    BTRFS_SUPER_MAGIC, EXT4_SUPER_MAGIC, F2FS_SUPER_MAGIC, TMPFS_MAGIC, XFS_SUPER_MAGIC, statfs,
};
use notify::{EventKind, RecommendedWatcher, RecursiveMode, Watcher as _};
use tokio::sync::mpsc;

use super::Event;

/// How much of what changes is told as it changes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Tells {
    /// All of it, as far as anybody knows.
    Everything,
    /// Perhaps not all: something cannot be watched, or others may write there from elsewhere.
    Something,
}

/// Watches directories.
pub trait Watch {
    /// Watches exactly these from now on.
    fn follow(&mut self, dirs: &[PathBuf]) -> Tells;
}

/// Watches nothing: polling finds everything, only later.
#[derive(Debug)]
pub struct Unwatched;

impl Watch for Unwatched {
    fn follow(&mut self, _: &[PathBuf]) -> Tells {
        Tells::Something
    }
}

/// Watches by inotify.
#[derive(Debug)]
pub struct Watcher {
    watcher: RecommendedWatcher,
    followed: BTreeSet<PathBuf>,
}

impl Watcher {
    /// A watcher that sends [`Event::Touched`].
    ///
    /// # Errors
    /// When the system has no more to give; polling goes on without it.
    pub fn new(events: mpsc::UnboundedSender<Event>) -> Result<Self, notify::Error> {
        let watcher =
            notify::recommended_watcher(move |seen: Result<notify::Event, notify::Error>| {
                // An error may hide an event. The loop looks for itself whether anything has moved.
                if seen.as_ref().map_or(true, matters) {
                    // Nobody listens any more when the loop has ended.
                    let _ = events.send(Event::Touched);
                }
            })?;
        Ok(Self {
            watcher,
            followed: BTreeSet::new(),
        })
    }
}

impl Watch for Watcher {
    fn follow(&mut self, dirs: &[PathBuf]) -> Tells {
        let wanted: BTreeSet<PathBuf> = dirs.iter().cloned().collect();
        for gone in self.followed.difference(&wanted) {
            // A directory that was removed took its watch with it.
            let _ = self.watcher.unwatch(gone);
        }
        let mut followed: BTreeSet<PathBuf> =
            self.followed.intersection(&wanted).cloned().collect();
        for new in wanted.difference(&self.followed) {
            match self.watcher.watch(new, RecursiveMode::NonRecursive) {
                Ok(()) => drop(followed.insert(new.clone())),
                Err(error) => {
                    tracing::debug!(dir = %new.display(), %error, "Not watched; polling finds what changes there.")
                }
            }
        }
        self.followed = followed;
        if !wanted.is_empty() && self.followed == wanted && wanted.iter().all(|it| is_local(it)) {
            Tells::Everything
        } else {
            Tells::Something
        }
    }
}

/// Whether only this machine writes there: what others write on a file system that is shared wakes nobody here.
fn is_local(dir: &Path) -> bool {
    statfs(dir).is_ok_and(|it| {
        matches!(
            it.filesystem_type(),
            EXT4_SUPER_MAGIC | XFS_SUPER_MAGIC | BTRFS_SUPER_MAGIC | F2FS_SUPER_MAGIC | TMPFS_MAGIC
        )
    })
}

/// Whether an event can mean that a branch moved.
fn matters(event: &notify::Event) -> bool {
    if event.need_rescan() {
        return true;
    }
    // Reading is an event as well, and we read.
    !matches!(event.kind, EventKind::Access(_))
        && (event.paths.is_empty() || event.paths.iter().any(|path| may_be_a_branch(path)))
}

/// A lock is only the announcement of a change; a note is our own report.
fn may_be_a_branch(path: &Path) -> bool {
    let is_lock = path.extension() == Some(OsStr::new("lock"));
    let parts: Vec<&OsStr> = path.iter().collect();
    let is_note = parts
        .windows(2)
        .any(|pair| pair[0] == "refs" && pair[1] == "notes");
    !is_lock && !is_note
}

#[cfg(test)]
mod tests {
    use notify::event::{AccessKind, CreateKind, Flag};

    use super::*;

    #[test]
    fn locks_notes_and_reading_wake_nobody() {
        let event = |kind, path: &str| notify::Event::new(kind).add_path(path.into());
        let create = EventKind::Create(CreateKind::File);
        assert!(matters(&event(create, "/srv/state.git/refs/heads/main")));
        assert!(matters(&event(create, "/srv/state.git/packed-refs")));
        assert!(!matters(&event(
            create,
            "/srv/state.git/refs/heads/main.lock"
        )));
        assert!(!matters(&event(create, "/srv/state.git/refs/notes/muster")));
        assert!(!matters(&event(
            EventKind::Access(AccessKind::Any),
            "/srv/state.git/packed-refs"
        )));
        assert!(matters(
            &event(EventKind::Access(AccessKind::Any), "/x").set_flag(Flag::Rescan)
        ));
    }

    #[tokio::test]
    async fn a_file_that_is_made_wakes_and_a_directory_no_longer_followed_does_not() {
        let (first, second) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let (send, mut events) = mpsc::unbounded_channel();
        let mut watcher = Watcher::new(send).unwrap();
        let tells = watcher.follow(&[first.path().to_owned(), first.path().join("missing")]);
        assert_eq!(tells, Tells::Something);
        std::fs::write(first.path().join("main"), "x").unwrap();
        assert_eq!(events.recv().await, Some(Event::Touched));
        let tells = watcher.follow(&[second.path().to_owned()]);
        let is_local = is_local(second.path());
        assert_eq!(tells == Tells::Everything, is_local);
        assert_eq!(watcher.follow(&[]), Tells::Something);
        watcher.follow(&[second.path().to_owned()]);
        std::fs::write(second.path().join("main"), "x").unwrap();
        assert_eq!(events.recv().await, Some(Event::Touched));
        assert_eq!(watcher.followed, BTreeSet::from([second.path().to_owned()]));
    }
}
