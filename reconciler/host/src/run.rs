//! Runs a program of this machine: an absolute path, arguments as they are, no shell, no environment, a bounded time.

use std::io;
use std::os::fd::AsFd as _;
use std::os::unix::process::{CommandExt as _, ExitStatusExt as _};
use std::path::{Path, PathBuf};
use std::process::{ChildStderr, ChildStdout, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use nix::fcntl::{FcntlArg, OFlag, fcntl};
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::signal::{Signal, killpg};
use nix::unistd::Pid;

/// How much of each of the two outputs is kept, in bytes; what is beyond is read and dropped.
const KEPT: usize = 64 * 1024;

/// Why a program did not run to its end.
#[derive(Debug, thiserror::Error)]
pub enum RunError {
    /// The path of a program is absolute here, so that no search path has a say.
    #[error("{} is not an absolute path, so it is not run", .0.display())]
    NotAbsolute(PathBuf),
    /// It did not start, or could not be watched.
    #[error("cannot run {}", program.display())]
    Start {
        /// The program.
        program: PathBuf,
        /// What the kernel said.
        source: io::Error,
    },
    /// It took too long, and was killed together with what it had started.
    #[error("{} did not finish within {} s and was killed", program.display(), limit.as_secs())]
    TimedOut {
        /// The program.
        program: PathBuf,
        /// The time it had.
        limit: Duration,
    },
}

/// What a program left.
#[derive(Debug)]
#[must_use = "an exit status says whether it worked"]
pub struct Output {
    /// How it ended.
    pub status: ExitStatus,
    /// The beginning of its standard output.
    pub stdout: Vec<u8>,
    /// The beginning of its standard error.
    pub stderr: Vec<u8>,
}

impl Output {
    /// How it ended and the first line it complained with, for a log.
    #[must_use]
    pub fn summary(&self) -> String {
        let said = String::from_utf8_lossy(&self.stderr);
        let said = said.lines().next().unwrap_or_default();
        match (self.status.code(), self.status.signal()) {
            (Some(code), _) => format!("exit status {code}: {said}"),
            (None, Some(signal)) => format!("killed by signal {signal}: {said}"),
            (None, None) => said.to_owned(),
        }
    }
}

/// Runs `program` with `arguments`, standard input from `/dev/null`, in `/`, with `PATH`, `LC_ALL` and `TZ` alone in
/// its environment, for at most `limit`.
///
/// # Errors
/// When the path is relative, the program does not start, or the time is up. An exit status other than 0 is none.
pub fn run(program: &Path, arguments: &[&str], limit: Duration) -> Result<Output, RunError> {
    if !program.is_absolute() {
        return Err(RunError::NotAbsolute(program.to_owned()));
    }
    let failed = |source| RunError::Start {
        program: program.to_owned(),
        source,
    };
    let deadline = Instant::now() + limit;
    let mut child = Command::new(program)
        .args(arguments)
        .env_clear()
        .envs([
            ("PATH", "/usr/sbin:/usr/bin:/sbin:/bin"),
            ("LC_ALL", "C.UTF-8"),
            ("TZ", "UTC"),
        ])
        .current_dir("/")
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .process_group(0)
        .spawn()
        .map_err(failed)?;
    let group = Pid::from_raw(i32::try_from(child.id()).expect("BUG: a process id is an i32"));
    let mut output = Output {
        status: ExitStatus::default(),
        stdout: Vec::new(),
        stderr: Vec::new(),
    };
    let watched = watch(&mut child, &mut output, deadline);
    if !matches!(watched, Ok(Watched::Ended)) {
        // The child is not reaped yet, so its id still means it. What it started may outlive it; that dies as well.
        let _ = killpg(group, Signal::SIGKILL);
    }
    output.status = child.wait().map_err(failed)?;
    match watched {
        Ok(Watched::Ended) => Ok(output),
        Ok(Watched::TimedOut) => Err(RunError::TimedOut {
            program: program.to_owned(),
            limit,
        }),
        Err(source) => Err(failed(source)),
    }
}

enum Watched {
    Ended,
    TimedOut,
}

/// Reads both outputs until the child has ended; a grandchild that keeps them open is not waited for.
fn watch(
    child: &mut std::process::Child,
    output: &mut Output,
    deadline: Instant,
) -> io::Result<Watched> {
    let pid = rustix::process::Pid::from_child(child);
    let ended = rustix::process::pidfd_open(pid, rustix::process::PidfdFlags::empty())?;
    let mut stdout: Option<ChildStdout> = child.stdout.take();
    let mut stderr: Option<ChildStderr> = child.stderr.take();
    for pipe in [
        stdout.as_ref().map(|pipe| pipe.as_fd()),
        stderr.as_ref().map(|pipe| pipe.as_fd()),
    ]
    .into_iter()
    .flatten()
    {
        fcntl(pipe, FcntlArg::F_SETFL(OFlag::O_NONBLOCK))?;
    }
    loop {
        let left = deadline.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return Ok(Watched::TimedOut);
        }
        let mut polled = vec![PollFd::new(ended.as_fd(), PollFlags::POLLIN)];
        polled.extend(
            stdout
                .as_ref()
                .map(|pipe| PollFd::new(pipe.as_fd(), PollFlags::POLLIN)),
        );
        polled.extend(
            stderr
                .as_ref()
                .map(|pipe| PollFd::new(pipe.as_fd(), PollFlags::POLLIN)),
        );
        let timeout =
            PollTimeout::try_from(left.as_millis().clamp(1, 60_000)).unwrap_or(PollTimeout::MAX);
        match poll(&mut polled, timeout) {
            Ok(_) | Err(nix::errno::Errno::EINTR) => {}
            Err(errno) => return Err(errno.into()),
        }
        let over = polled[0].any().unwrap_or(false);
        if stdout
            .as_mut()
            .is_some_and(|pipe| drain(pipe, &mut output.stdout))
        {
            stdout = None;
        }
        if stderr
            .as_mut()
            .is_some_and(|pipe| drain(pipe, &mut output.stderr))
        {
            stderr = None;
        }
        if over {
            return Ok(Watched::Ended);
        }
    }
}

/// Takes what is there now; true at the end of the pipe.
fn drain(pipe: &mut impl io::Read, kept: &mut Vec<u8>) -> bool {
    let mut buffer = [0; 8192];
    loop {
        match pipe.by_ref().read(&mut buffer) {
            Ok(0) => return true,
            Ok(read) => {
                kept.extend_from_slice(&buffer[..read.min(KEPT.saturating_sub(kept.len()))])
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return error.kind() != io::ErrorKind::WouldBlock,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LONG: Duration = Duration::from_secs(60);

    #[test]
    fn gives_status_and_both_outputs() {
        let output = run(
            Path::new("/bin/sh"),
            &["-c", "echo out; echo err >&2; exit 3"],
            LONG,
        )
        .unwrap();
        assert_eq!(
            (output.status.code(), &*output.stdout, &*output.stderr),
            (Some(3), &b"out\n"[..], &b"err\n"[..])
        );
        assert_eq!(output.summary(), "exit status 3: err");
    }

    #[test]
    fn passes_no_environment_on() {
        let output = run(Path::new("/usr/bin/env"), &[], LONG).unwrap();
        assert_eq!(
            output.stdout,
            b"PATH=/usr/sbin:/usr/bin:/sbin:/bin\nLC_ALL=C.UTF-8\nTZ=UTC\n"
                .to_vec()
                .sorted_like_env()
        );
    }

    #[test]
    fn keeps_a_bounded_part_of_a_long_output() {
        let output = run(
            Path::new("/bin/sh"),
            &["-c", "head -c 1000000 /dev/zero"],
            LONG,
        )
        .unwrap();
        assert!(output.status.success());
        assert_eq!(output.stdout.len(), KEPT);
    }

    #[test]
    fn kills_what_takes_too_long() {
        let error = run(
            Path::new("/bin/sh"),
            &["-c", "sleep 600 & wait"],
            Duration::from_millis(10),
        )
        .unwrap_err();
        assert!(matches!(error, RunError::TimedOut { .. }), "{error}");
    }

    #[test]
    fn searches_no_path() {
        assert!(matches!(
            run(Path::new("sh"), &[], LONG),
            Err(RunError::NotAbsolute(_))
        ));
        assert!(matches!(
            run(Path::new("/nowhere/sh"), &[], LONG),
            Err(RunError::Start { .. })
        ));
    }

    /// `env` prints in the order of the environment block, which is sorted by the standard library.
    trait SortedLikeEnv {
        fn sorted_like_env(self) -> Vec<u8>;
    }

    impl SortedLikeEnv for Vec<u8> {
        fn sorted_like_env(self) -> Vec<u8> {
            let text = String::from_utf8(self).unwrap();
            let mut lines: Vec<_> = text.lines().collect();
            lines.sort_unstable();
            lines
                .iter()
                .flat_map(|line| [line.as_bytes(), b"\n"].concat())
                .collect()
        }
    }
}
