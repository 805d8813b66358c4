//! The settings files as bytes: only such that nobody but root, or the user muster runs as, could have written.

use std::fs::{self, File, Metadata, OpenOptions};
use std::io::{self, Read as _};
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use nix::fcntl::OFlag;

use muster_git::folder;

use super::place::{Place, Problem};

/// More than any settings file needs.
const SIZE_LIMIT: u64 = 1 << 20;

/// One file.
pub(super) struct Source {
    pub(super) name: Arc<str>,
    pub(super) text: String,
}

/// Reads `path`, then the files `*.toml` in `path` + `.d` by name.
pub(super) fn read_all(path: &Path, problems: &mut Vec<Problem>) -> Vec<Source> {
    let mut paths = vec![path.to_owned()];
    let mut dir = path.as_os_str().to_owned();
    dir.push(".d");
    paths.extend(fragments(Path::new(&dir), problems));
    let parent = match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    };
    complain_of_dir(parent, problems);
    paths
        .into_iter()
        .filter_map(|path| {
            let name: Arc<str> = path.display().to_string().into();
            match read(&path) {
                Ok(text) => Some(Source { name, text }),
                Err(unusable) => {
                    problems.push(unusable.at(&name));
                    None
                }
            }
        })
        .collect()
}

/// A file that is not used, and what would make it usable.
struct Unusable(String, String);

impl Unusable {
    fn at(self, file: &Arc<str>) -> Problem {
        Problem::new(Place::of_file(file), self.0).help(self.1)
    }
}

fn read(path: &Path) -> Result<String, Unusable> {
    let file = open_without_links(path).map_err(|error| match error.raw_os_error() {
        Some(nix::libc::ELOOP) => Unusable(
            "is a symbolic link".into(),
            "put the file itself here: a link could lead to a file that others write".into(),
        ),
        Some(nix::libc::ENOENT) => Unusable(
            "is not there".into(),
            "write one with at least `[state] url = …`, or name another with --config".into(),
        ),
        _ => Unusable(
            format!("cannot be read: {error}"),
            "run this as root, or chmod 0644 it: there are no secrets in settings".into(),
        ),
    })?;
    let meta = file.metadata().map_err(cannot_read)?;
    if !meta.is_file() {
        return Err(Unusable(
            "is no regular file".into(),
            "put a plain file here".into(),
        ));
    }
    if let Some(why) = written_by_others(&meta) {
        return Err(Unusable(
            why,
            format!("chown root {0} && chmod go-w {0}", path.display()),
        ));
    }
    let mut bytes = Vec::new();
    file.take(SIZE_LIMIT + 1)
        .read_to_end(&mut bytes)
        .map_err(cannot_read)?;
    if bytes.len() as u64 > SIZE_LIMIT {
        return Err(Unusable(
            format!("has more than {SIZE_LIMIT} bytes"),
            "settings need a few lines; is this the right file?".into(),
        ));
    }
    String::from_utf8(bytes).map_err(|error| {
        Unusable(
            format!("is not UTF-8 at byte {}", error.utf8_error().valid_up_to()),
            "save it as UTF-8".into(),
        )
    })
}

/// Reads a file that only root, or the user muster runs as, could have put there; `None` when there is none.
///
/// # Errors
/// What is wrong with the file or its directory, and what to do.
pub(crate) fn read_guarded(path: &Path) -> Result<Option<String>, String> {
    let refused = |path: &Path, Unusable(what, help): Unusable| {
        Err(format!("{} {what}; {help}", path.display()))
    };
    match fs::symlink_metadata(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        _ => {}
    }
    // Who may write one of its directories may put another file in its place.
    for dir in path.ancestors().skip(1).take(2) {
        let meta = match fs::symlink_metadata(dir) {
            Ok(meta) => meta,
            Err(error) => return refused(dir, cannot_read(error)),
        };
        if !meta.is_dir() {
            let help = "put the directory itself here".to_owned();
            return refused(dir, Unusable("is no directory".into(), help));
        }
        if let Some(why) = written_by_others(&meta) {
            let help = format!("chown root {0} && chmod go-w {0}", dir.display());
            return refused(dir, Unusable(why, help));
        }
    }
    read(path)
        .map(Some)
        .or_else(|unusable| refused(path, unusable))
}

fn cannot_read(error: io::Error) -> Unusable {
    Unusable(
        format!("cannot be read: {error}"),
        "try again; if it stays so, look at the disk".into(),
    )
}

fn open_without_links(path: &Path) -> io::Result<File> {
    // Not blocking, so that a FIFO in this place is seen and refused instead of waited for.
    OpenOptions::new()
        .read(true)
        .custom_flags((OFlag::O_NOFOLLOW | OFlag::O_NONBLOCK | OFlag::O_CLOEXEC).bits())
        .open(path)
}

fn fragments(dir: &Path, problems: &mut Vec<Problem>) -> Vec<PathBuf> {
    let listed = folder::entries(dir)
        .map(|entries| entries.into_iter().map(|it| it.path).collect::<Vec<_>>());
    match listed {
        Ok(mut paths) => {
            complain_of_dir(dir, problems);
            paths.retain(|path| path.extension().is_some_and(|it| it == "toml"));
            paths.sort();
            paths
        }
        Err(error) if error.kind() == io::ErrorKind::NotFound => Vec::new(),
        Err(error) => {
            problems.push(
                Problem::new(
                    Place::of_file(&dir.display().to_string().into()),
                    format!("cannot be read: {error}"),
                )
                .help("make it a directory that root can read, or remove it"),
            );
            Vec::new()
        }
    }
}

/// Who may write a directory may put other settings in place of ours.
fn complain_of_dir(dir: &Path, problems: &mut Vec<Problem>) {
    let Ok(meta) = fs::metadata(dir) else { return };
    let sticky = meta.mode() & 0o1000 != 0;
    if let Some(why) = written_by_others(&meta).filter(|_| !sticky) {
        let name: Arc<str> = dir.display().to_string().into();
        let help = format!("chown root {0} && chmod go-w {0}", dir.display());
        problems.push(Problem::new(Place::of_file(&name), why).help(help));
    }
}

fn written_by_others(meta: &Metadata) -> Option<String> {
    let us = nix::unistd::geteuid().as_raw();
    if meta.uid() != 0 && meta.uid() != us {
        return Some(format!(
            "belongs to uid {}, who could change it",
            meta.uid()
        ));
    }
    (meta.mode() & 0o022 != 0).then(|| {
        format!(
            "can be written by others than its owner (mode {:04o})",
            meta.mode() & 0o7777
        )
    })
}
