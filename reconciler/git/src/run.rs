//! Running git: the one place where this crate starts a process.
//!
//! Every process gets an absolute program, a cleared environment, `/` as its directory, no shell, its own process group,
//! a limit on its time and on what it may print. When a limit is passed, the whole group is killed.

use std::io::{Read, Write};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::fs::MetadataExt;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::time::{Duration, Instant};

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::signal::{Signal, killpg};
use nix::sys::wait::{Id, WaitPidFlag, WaitStatus, waitid};
use nix::unistd::Pid;
use rustix::process::{PidfdFlags, pidfd_open};

use crate::read_error::TOTAL_LIMIT;

/// Where git is looked for, in this order.
const PROGRAMS: [&str; 3] = ["/usr/local/bin/git", "/usr/bin/git", "/bin/git"];

/// What a process may use before it is killed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// The time from its start to its end.
    pub wall: Duration,
    /// The bytes it may print to standard output.
    pub output: usize,
    /// The bytes that it may put into the repository it fetches into.
    pub pack: u64,
    /// The bytes of the largest object that is decoded, and of all files of one commit together.
    pub bytes: u64,
}

impl Default for Limits {
    fn default() -> Self {
        Limits {
            wall: Duration::from_secs(600),
            output: 64 << 20,
            pack: 4 << 30,
            bytes: TOTAL_LIMIT,
        }
    }
}

/// Why a process did not do what it was started for.
#[derive(Debug, thiserror::Error)]
pub enum RunError {
    /// There is no git that may be run.
    #[error(
        "git is not installed: none of /usr/local/bin/git, /usr/bin/git and /bin/git exists and is writable by root alone; install the package git"
    )]
    NoGit,
    /// It could not be started.
    #[error("cannot start {program}")]
    Start {
        /// The program's path.
        program: String,
        /// What the system said.
        source: std::io::Error,
    },
    /// It ran longer than allowed, and was killed.
    #[error("{what} took longer than {} s and was stopped", after.as_secs())]
    TimedOut {
        /// What was being done.
        what: String,
        /// The limit.
        after: Duration,
    },
    /// It wrote more than allowed, and was killed.
    #[error("{what} gave more than {limit} bytes and was stopped")]
    TooMuch {
        /// What was being done.
        what: String,
        /// The limit, in bytes.
        limit: u64,
    },
    /// It ended with another status than 0.
    #[error("{what} failed ({status}): {stderr}")]
    Failed {
        /// What was being done.
        what: String,
        /// How it ended.
        status: String,
        /// What it printed to standard error: printable, without credentials, at most 2,000 characters.
        stderr: String,
    },
    /// Its pipes broke.
    #[error("cannot talk to {what}")]
    Pipe {
        /// What was being done.
        what: String,
        /// What the system said.
        source: std::io::Error,
    },
}

/// The git that is run: absolute, and nobody but root can have put it there.
pub(crate) fn git_program() -> Result<PathBuf, RunError> {
    let root_alone = |path: &Path| {
        path.metadata()
            .is_ok_and(|meta| meta.uid() == 0 && meta.mode() & 0o022 == 0)
    };
    PROGRAMS
        .iter()
        .map(PathBuf::from)
        .find(|path| root_alone(path) && path.parent().is_some_and(root_alone))
        .ok_or(RunError::NoGit)
}

/// A git command on `git_dir`, which reads no configuration but that directory's, runs no hook, asks nobody anything,
/// and sees the objects as they are (no replacements, no lazy fetching).
pub(crate) fn git(git_dir: &Path) -> Result<Command, RunError> {
    let mut command = bare_environment(git_program()?);
    command
        .env("GIT_CONFIG_NOSYSTEM", "1")
        .env("GIT_CONFIG_GLOBAL", "/dev/null");
    command.arg("--git-dir").arg(git_dir);
    for setting in [
        "core.hooksPath=/dev/null",
        "core.fsmonitor=false",
        "core.commitGraph=false",
        "gc.auto=0",
        "maintenance.auto=false",
    ] {
        command.args(["-c", setting]);
    }
    Ok(command)
}

/// A command with nothing of our own environment.
pub(crate) fn bare_environment(program: PathBuf) -> Command {
    let mut command = Command::new(program);
    command
        .env_clear()
        .env("PATH", "/usr/local/bin:/usr/bin:/bin")
        .env("LC_ALL", "C.UTF-8")
        .env("GIT_TERMINAL_PROMPT", "0")
        .env("GIT_ASKPASS", "/bin/false")
        .env("SSH_ASKPASS", "/bin/false")
        .env("SSH_ASKPASS_REQUIRE", "force")
        .env("GIT_NO_REPLACE_OBJECTS", "1")
        .env("GIT_NO_LAZY_FETCH", "1")
        .env("GIT_OPTIONAL_LOCKS", "0")
        .current_dir("/")
        .process_group(0);
    command
}

/// Runs `command` to its end with `stdin` as its input, and gives what it printed.
pub(crate) fn run(
    command: Command,
    what: &str,
    stdin: &[u8],
    limits: Limits,
) -> Result<Vec<u8>, RunError> {
    run_watched(command, what, stdin, limits, &mut || 0)
}

/// Like [`run`], and stops the command once `used()` passes [`Limits::pack`].
pub(crate) fn run_watched(
    command: Command,
    what: &str,
    stdin: &[u8],
    limits: Limits,
    used: &mut dyn FnMut() -> u64,
) -> Result<Vec<u8>, RunError> {
    let mut running = Running::start(command, what, Input::Bytes(stdin.to_vec()), limits)?;
    running.finish(Instant::now() + limits.wall, used)
}

/// Runs `producer` with `stdin` as its input and its output as the input of `consumer`; both must succeed.
pub(crate) fn pipe(
    producer: Command,
    stdin: &[u8],
    consumer: Command,
    what: &str,
    limits: Limits,
    used: &mut dyn FnMut() -> u64,
) -> Result<(), RunError> {
    let deadline = Instant::now() + limits.wall;
    let mut first = Running::start_piped(producer, what, stdin.to_vec(), limits)?;
    let between = first
        .child
        .stdout
        .take()
        .map_or_else(Stdio::null, Stdio::from);
    let mut second = Running::start(consumer, what, Input::From(between), limits)?;
    let second_end = second.finish(deadline, used);
    let first_end = first.finish(deadline, &mut || 0);
    // When the producer fails, the consumer's complaint about a short pack is only a consequence.
    first_end?;
    second_end?;
    Ok(())
}

enum Input {
    Bytes(Vec<u8>),
    From(Stdio),
}

/// How often it is looked at what a process has used.
const LOOK: Duration = Duration::from_millis(500);
/// How often it is looked whether a process is over that has no pidfd.
const LOOK_WITHOUT_PIDFD: Duration = Duration::from_millis(10);

/// A started process. Dropping it before its end kills its group.
struct Running {
    child: Child,
    /// Its pidfd, which is readable once it is over; nothing where the kernel is older than Linux 5.3, or a sandbox gives none.
    end: Option<OwnedFd>,
    what: String,
    limits: Limits,
    stdout: Option<Receiver<Vec<u8>>>,
    stderr: Option<Receiver<Vec<u8>>>,
    ended: bool,
}

impl Running {
    fn start(command: Command, what: &str, input: Input, limits: Limits) -> Result<Self, RunError> {
        let mut running = Self::spawn(command, what, input, limits)?;
        running.stdout = running
            .child
            .stdout
            .take()
            .map(|pipe| drain(pipe, limits.output));
        Ok(running)
    }

    /// Like `start`, with the standard output left in `child` for another process.
    fn start_piped(
        command: Command,
        what: &str,
        stdin: Vec<u8>,
        limits: Limits,
    ) -> Result<Self, RunError> {
        Self::spawn(command, what, Input::Bytes(stdin), limits)
    }

    fn spawn(
        mut command: Command,
        what: &str,
        input: Input,
        limits: Limits,
    ) -> Result<Self, RunError> {
        let (stdin, bytes) = match input {
            Input::Bytes(bytes) if bytes.is_empty() => (Stdio::null(), None),
            Input::Bytes(bytes) => (Stdio::piped(), Some(bytes)),
            Input::From(stdio) => (stdio, None),
        };
        let program = command.get_program().to_string_lossy().into_owned();
        let mut child = command
            .stdin(stdin)
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .map_err(|source| RunError::Start { program, source })?;
        if let (Some(mut pipe), Some(bytes)) = (child.stdin.take(), bytes) {
            // The error of a broken pipe is dropped: the exit status says why the process did not read its input.
            std::thread::spawn(move || pipe.write_all(&bytes));
        }
        let stderr = child.stderr.take().map(|pipe| drain(pipe, 64 << 10));
        let pid = rustix::process::Pid::from_child(&child);
        let end = pidfd_open(pid, PidfdFlags::empty()).ok();
        Ok(Running {
            child,
            end,
            what: what.to_owned(),
            limits,
            stdout: None,
            stderr,
            ended: false,
        })
    }

    fn finish(
        &mut self,
        deadline: Instant,
        used: &mut dyn FnMut() -> u64,
    ) -> Result<Vec<u8>, RunError> {
        let mut measured = Instant::now();
        while !self.has_ended()? {
            let now = Instant::now();
            if now >= deadline {
                self.kill();
                return Err(RunError::TimedOut {
                    what: self.what.clone(),
                    after: self.limits.wall,
                });
            }
            if now - measured >= LOOK {
                measured = now;
                if used() > self.limits.pack {
                    self.kill();
                    return Err(RunError::TooMuch {
                        what: self.what.clone(),
                        limit: self.limits.pack,
                    });
                }
            }
            self.wait_for_its_end((deadline - now).min(LOOK))?;
        }
        // Whatever it left running in its group would keep the pipes open and outlive the limits.
        self.kill_group();
        let status = self.child.wait().map_err(|source| RunError::Pipe {
            what: self.what.clone(),
            source,
        })?;
        self.ended = true;
        let stdout = self
            .stdout
            .take()
            .map(|end| end.recv_timeout(Duration::from_secs(10)));
        let stderr = self
            .stderr
            .take()
            .and_then(|end| end.recv_timeout(Duration::from_secs(1)).ok());
        if !status.success() {
            let stderr = printable(&stderr.unwrap_or_default());
            return Err(RunError::Failed {
                what: self.what.clone(),
                status: status.to_string(),
                stderr,
            });
        }
        match stdout {
            None => Ok(Vec::new()),
            Some(Ok(bytes)) if bytes.len() <= self.limits.output => Ok(bytes),
            Some(Ok(_)) => Err(RunError::TooMuch {
                what: self.what.clone(),
                limit: self.limits.output as u64,
            }),
            Some(Err(_)) => {
                let source = std::io::Error::other("its standard output stayed open after its end");
                Err(RunError::Pipe {
                    what: self.what.clone(),
                    source,
                })
            }
        }
    }

    /// Returns when the process is over, or after so long at the latest; sooner when a signal comes.
    fn wait_for_its_end(&self, most: Duration) -> Result<(), RunError> {
        let Some(end) = &self.end else {
            std::thread::sleep(most.min(LOOK_WITHOUT_PIDFD));
            return Ok(());
        };
        let timeout = PollTimeout::try_from(most.as_millis().max(1)).unwrap_or(PollTimeout::MAX);
        match poll(&mut [PollFd::new(end.as_fd(), PollFlags::POLLIN)], timeout) {
            Ok(0) | Err(nix::errno::Errno::EINTR) => {}
            Ok(_) => {
                if !self.has_ended()? {
                    // A debugger has to let go of it first.
                    std::thread::sleep(most.min(LOOK_WITHOUT_PIDFD));
                }
            }
            Err(errno) => {
                return Err(RunError::Pipe {
                    what: self.what.clone(),
                    source: errno.into(),
                });
            }
        }
        Ok(())
    }

    /// Whether the process is over. It stays a zombie until `wait`, so that its group's number cannot become another's.
    fn has_ended(&self) -> Result<bool, RunError> {
        let flags = WaitPidFlag::WEXITED | WaitPidFlag::WNOWAIT | WaitPidFlag::WNOHANG;
        match waitid(Id::Pid(self.pid()), flags) {
            Ok(WaitStatus::StillAlive) => Ok(false),
            Ok(_) => Ok(true),
            Err(nix::errno::Errno::EINTR) => Ok(false),
            Err(errno) => Err(RunError::Pipe {
                what: self.what.clone(),
                source: errno.into(),
            }),
        }
    }

    fn pid(&self) -> Pid {
        Pid::from_raw(self.child.id() as i32)
    }

    fn kill_group(&self) {
        // Fails only when the group is already gone, which is what is wanted.
        let _ = killpg(self.pid(), Signal::SIGKILL);
    }

    fn kill(&mut self) {
        self.kill_group();
        let _ = self.child.wait();
        self.ended = true;
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        if !self.ended {
            self.kill();
        }
    }
}

/// Reads a pipe to its end on a thread of its own. What exceeds `keep` by more than one byte is read and dropped, so
/// that the process never blocks on us, and the surplus byte tells that there was too much.
fn drain(mut pipe: impl Read + Send + 'static, keep: usize) -> Receiver<Vec<u8>> {
    let (done, end) = channel();
    std::thread::spawn(move || {
        let mut kept = Vec::new();
        let read = pipe.by_ref().take(keep as u64 + 1).read_to_end(&mut kept);
        if read.is_ok() {
            let _ = std::io::copy(&mut pipe, &mut std::io::sink());
        }
        // Nobody listens any more when the process was killed.
        let _ = done.send(kept);
    });
    end
}

/// What a process printed, made fit for a message: one line, no control characters, no user part of a URL.
pub(crate) fn printable(bytes: &[u8]) -> String {
    let text = String::from_utf8_lossy(bytes);
    let lines = text
        .lines()
        .map(str::trim)
        .filter(|line| !line.is_empty())
        .map(redact_urls);
    let joined = lines.collect::<Vec<_>>().join(" / ");
    joined
        .chars()
        .map(|c| {
            if c.is_control() || is_bidi(c) {
                '\u{fffd}'
            } else {
                c
            }
        })
        .take(2_000)
        .collect()
}

fn is_bidi(c: char) -> bool {
    matches!(c, '\u{061c}' | '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

/// Replaces `scheme://anything@` by `scheme://…@`: a helper or a rewritten URL can bring a secret into a message.
fn redact_urls(line: &str) -> String {
    let mut redacted = String::with_capacity(line.len());
    let mut rest = line;
    while let Some(start) = rest.find("://") {
        let (before, after) = rest.split_at(start + 3);
        redacted.push_str(before);
        let end = after
            .find(|c: char| c == '/' || c == '\'' || c == '"' || c.is_whitespace())
            .unwrap_or(after.len());
        match after[..end].rfind('@') {
            Some(at) => {
                redacted.push('…');
                rest = &after[at..];
            }
            None => rest = after,
        }
    }
    redacted.push_str(rest);
    redacted
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sh(script: &str) -> Command {
        let mut command = bare_environment("/bin/sh".into());
        command.args(["-c", script]);
        command
    }

    #[test]
    fn a_process_that_hangs_is_killed_with_its_children() {
        let limits = Limits {
            wall: Duration::from_millis(200),
            ..Limits::default()
        };
        let error = run(sh("sleep 600 & sleep 600"), "the test", b"", limits).unwrap_err();
        assert!(matches!(error, RunError::TimedOut { .. }), "{error}");
    }

    #[test]
    fn a_process_without_a_pidfd_is_waited_for_and_has_its_limits() {
        let finish = |script, wall| {
            let limits = Limits {
                wall,
                ..Limits::default()
            };
            let input = Input::Bytes(Vec::new());
            let mut running = Running::start(sh(script), "the test", input, limits).unwrap();
            running.end = None;
            running.finish(Instant::now() + wall, &mut || 0)
        };
        let out = finish("sleep 0.03; printf ok", Duration::from_secs(600)).unwrap();
        assert_eq!(out, b"ok");
        let error = finish("sleep 600", Duration::from_millis(50)).unwrap_err();
        assert!(matches!(error, RunError::TimedOut { .. }), "{error}");
    }

    #[test]
    fn endless_output_is_refused_without_being_kept() {
        let limits = Limits {
            output: 1_000,
            ..Limits::default()
        };
        let error = run(sh("head -c 5000000 /dev/zero"), "the test", b"", limits).unwrap_err();
        assert!(
            matches!(error, RunError::TooMuch { limit: 1_000, .. }),
            "{error}"
        );
    }

    #[test]
    fn input_comes_out_and_nothing_of_our_environment_goes_in() {
        let out = run(sh("cat; env"), "the test", b"hello\n", Limits::default()).unwrap();
        let out = String::from_utf8(out).unwrap();
        assert!(out.starts_with("hello\n"), "{out}");
        assert!(!out.contains("CARGO"), "{out}");
        assert!(!out.contains("HOME="), "{out}");
    }

    #[test]
    fn a_failure_names_what_failed_and_hides_credentials() {
        let script = "echo \"fatal: unable to access 'https://bob:canary@example.org/x.git/'\" >&2; exit 128";
        let error = run(sh(script), "git fetch", b"", Limits::default())
            .unwrap_err()
            .to_string();
        assert_eq!(
            error,
            "git fetch failed (exit status: 128): fatal: unable to access 'https://…@example.org/x.git/'"
        );
    }

    #[test]
    fn a_failing_producer_is_what_is_reported() {
        let error = pipe(
            sh("echo no >&2; exit 3"),
            b"",
            sh("cat >/dev/null; exit 4"),
            "the copy",
            Limits::default(),
            &mut || 0,
        );
        assert_eq!(
            error.unwrap_err().to_string(),
            "the copy failed (exit status: 3): no"
        );
    }
}
