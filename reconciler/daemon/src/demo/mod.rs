//! `muster demo`: the whole story of a team and a host, in a scratch directory, by the same program that runs on real hosts.
//!
//! Nothing here pretends. The origin is a git repository, every commit is made by the git of this machine, and each cycle is
//! `muster run --once` as its own process. Only the host is small: a directory with the files that a host has. What an act
//! shows is looked up afterwards and compared with what was announced; the first difference ends the demo.

mod acts;
pub mod hypervisor;
mod play;
mod stage;

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use nix::sys::signal::{SigSet, Signal};

use crate::commands::{CommandError, Output};
use crate::exit;
use play::Play;
use stage::Stage;

/// Where it plays, and what is left of it.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Leave everything as it is at the end, and say how to go on with it.
    #[arg(long)]
    keep: bool,
    /// The directory to make and play in; it must not exist yet. Default: a new one among the temporary files.
    #[arg(long, value_name = "DIR")]
    dir: Option<PathBuf>,
}

/// Why the demo ended before its end.
#[derive(Debug, thiserror::Error)]
pub enum DemoError {
    /// What was announced did not happen.
    #[error("act {act} ({title}): {what}")]
    Unexpected {
        /// Counted from 1; 0 is the setting of the stage.
        act: usize,
        /// Its heading.
        title: &'static str,
        /// What should have been, and what was there.
        what: String,
    },
    /// A file or directory of the stage.
    #[error("cannot {verb} {}", path.display())]
    Files {
        /// What was tried.
        verb: &'static str,
        /// With what.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// A program that is needed.
    #[error("cannot run {program}")]
    Program {
        /// Which.
        program: String,
        /// What the system said.
        source: io::Error,
    },
    /// A directory that was named exists.
    #[error("{} exists already, and the demo touches nothing that it did not make", .0.display())]
    Exists(PathBuf),
    /// Root that may not change owners.
    #[error("this is root, and yet files cannot be given to other users here")]
    NoOwners(#[source] io::Error),
    /// A signal asked for the end.
    #[error("interrupted")]
    Interrupted,
}

impl DemoError {
    /// What `muster` ends with.
    pub(crate) fn exit_code(&self) -> u8 {
        match self {
            Self::Unexpected { .. }
            | Self::Program { .. }
            | Self::Exists(_)
            | Self::NoOwners(_) => exit::FAILED,
            Self::Files { .. } => exit::IO,
            Self::Interrupted => exit::INTERRUPTED,
        }
    }

    /// What a person can do about it.
    pub(crate) fn help(&self) -> Option<String> {
        match self {
            Self::Unexpected { .. } => {
                Some("`muster demo --keep` leaves the directory, to look at".into())
            }
            Self::Program { program, source }
                if program == "git" && source.kind() == io::ErrorKind::NotFound =>
            {
                Some("install git".into())
            }
            Self::Exists(_) => Some("name another directory, or remove this one".into()),
            Self::NoOwners(_) => Some(
                "start it as an ordinary user, for whom owners are written down instead of changed"
                    .into(),
            ),
            Self::Program { .. } | Self::Files { .. } | Self::Interrupted => None,
        }
    }
}

/// Plays all acts.
///
/// # Errors
/// With the first act whose result is not the announced one. The stage is removed then too, unless it is to be kept.
pub fn run(args: &Args, out: &mut Output) -> Result<u8, CommandError> {
    let interrupted = listen().map_err(CommandError::Runtime)?;
    let scratch = Scratch::make(args)?;
    let stage = Stage::at(&scratch.path)?;
    let mut play = Play::new(stage, out, interrupted);
    let played = acts::all(&mut play);
    if args.keep {
        play.say_how_to_go_on()?;
    }
    drop(play);
    let removed = scratch.finish();
    played?;
    if let Some(path) = removed? {
        out.line(format_args!(
            "Everything was in {path}, and is removed again."
        ))?;
    }
    Ok(exit::OK)
}

/// Notes signals that ask for the end, instead of ending there and leaving files behind. Children get them as usual.
fn listen() -> io::Result<Arc<AtomicBool>> {
    let mut signals = SigSet::empty();
    for signal in [Signal::SIGINT, Signal::SIGTERM, Signal::SIGHUP] {
        signals.add(signal);
    }
    signals.thread_block()?;
    let interrupted = Arc::new(AtomicBool::new(false));
    let seen = Arc::clone(&interrupted);
    std::thread::spawn(move || {
        while signals.wait().is_ok() {
            seen.store(true, Ordering::SeqCst);
        }
    });
    Ok(interrupted)
}

/// The directory that holds all there is; goes when this does, unless it is to be kept.
struct Scratch {
    path: PathBuf,
    left: bool,
}

impl Scratch {
    fn make(args: &Args) -> Result<Self, DemoError> {
        let failed = |verb, path: &Path| {
            let path = path.to_owned();
            move |source| DemoError::Files { verb, path, source }
        };
        let path = match &args.dir {
            Some(dir) => {
                make_private(dir).map_err(|source| match source.kind() {
                    io::ErrorKind::AlreadyExists => DemoError::Exists(dir.clone()),
                    _ => failed("make", dir)(source),
                })?;
                dir.clone()
            }
            None => {
                let among = place(args);
                tempfile::Builder::new()
                    .prefix("muster-demo-")
                    .tempdir_in(&among)
                    .map_err(failed("make a directory in", &among))?
                    .keep()
            }
        };
        let mut scratch = Self {
            path,
            left: args.keep,
        };
        scratch.path = scratch
            .path
            .canonicalize()
            .map_err(failed("resolve", &scratch.path))?;
        Ok(scratch)
    }

    /// Removes it; gives the path of what was removed.
    fn finish(mut self) -> Result<Option<String>, DemoError> {
        if std::mem::replace(&mut self.left, true) {
            return Ok(None);
        }
        std::fs::remove_dir_all(&self.path).map_err(|source| DemoError::Files {
            verb: "remove",
            path: self.path.clone(),
            source,
        })?;
        Ok(Some(self.path.display().to_string()))
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        if !self.left {
            // On the way out with an error that matters more.
            let _ = std::fs::remove_dir_all(&self.path);
        }
    }
}

/// In memory where there is room for that: a cycle syncs what it writes, and the story is not worth waiting for a disk. What
/// is to be kept, or was sent elsewhere, is an ordinary temporary file.
fn place(args: &Args) -> PathBuf {
    let memory = Path::new("/dev/shm");
    let usable = nix::unistd::access(memory, nix::unistd::AccessFlags::W_OK).is_ok();
    if usable && !args.keep && std::env::var_os("TMPDIR").is_none() {
        memory.to_owned()
    } else {
        std::env::temp_dir()
    }
}

fn make_private(dir: &Path) -> io::Result<()> {
    use std::os::unix::fs::DirBuilderExt as _;
    std::fs::DirBuilder::new().mode(0o700).create(dir)
}
