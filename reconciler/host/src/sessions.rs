//! Processes: who runs some, and ending all of one person.

mod owner;

use std::collections::{BTreeMap, HashMap};
use std::io;
use std::os::fd::OwnedFd;
use std::time::{Duration, Instant};

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use rustix::process::{Pid, PidfdFlags, Signal, pidfd_open, pidfd_send_signal};
use std::os::fd::AsFd as _;

pub(crate) use owner::{Claims, Owner};

/// How long processes have to end by themselves, and again after they were killed.
const GRACE: Duration = Duration::from_secs(3);
/// How often new processes are looked for: one that forks faster than it is killed does not hold up a cycle.
const ROUNDS: usize = 20;

/// The uids (real, effective, saved) of every process.
#[derive(Debug)]
pub(crate) struct Processes {
    by_pid: HashMap<i32, Vec<u32>>,
}

impl Processes {
    /// Reads `/proc`.
    pub(crate) fn read() -> io::Result<Self> {
        let mut by_pid = HashMap::new();
        for name in crate::dir::names_in("/proc")? {
            if let Some(pid) = name.to_str().and_then(|it| it.parse().ok())
                && let Some(uids) = uids_of(pid)
            {
                by_pid.insert(pid, uids);
            }
        }
        Ok(Self { by_pid })
    }

    /// The processes of a root directory that no machine runs on.
    pub(crate) fn none() -> Self {
        Self {
            by_pid: HashMap::new(),
        }
    }

    /// How many processes belong to somebody.
    pub(crate) fn count(&self, owner: &Owner<'_>) -> usize {
        self.by_pid.values().filter(|uids| owner.owns(uids)).count()
    }

    /// What runs under ids of somebody's and is not ended with them, since the id is somebody else's, too; `None` where there
    /// is nothing of the kind.
    pub(crate) fn spared(&self, owner: &Owner<'_>) -> Option<String> {
        let mut by_uid: BTreeMap<u32, usize> = BTreeMap::new();
        for uid in self.by_pid.values().filter_map(|uids| owner.spares(uids)) {
            *by_uid.entry(uid).or_default() += 1;
        }
        let told: Vec<String> = by_uid
            .into_iter()
            .map(|(uid, count)| format!("{count} processes of uid {uid}, {}", owner.whose_is(uid)))
            .collect();
        (!told.is_empty()).then(|| {
            format!(
                "{} are not ended with theirs: look whose they are, and end by hand what is this person's",
                told.join(", and ")
            )
        })
    }

    /// Their numbers, in order.
    pub(crate) fn of(&self, owner: &Owner<'_>) -> Vec<i32> {
        let mut pids: Vec<i32> = self
            .by_pid
            .iter()
            .filter(|(_, uids)| owner.owns(uids))
            .map(|(pid, _)| *pid)
            .collect();
        pids.sort_unstable();
        pids
    }
}

/// The uids of a process; `None` when it has ended, or is only waiting to be reaped.
fn uids_of(pid: i32) -> Option<Vec<u32>> {
    // Not the owner of the directory: that is root for a process that must not be traced.
    let status = std::fs::read(format!("/proc/{pid}/status")).ok()?;
    let status = String::from_utf8_lossy(&status);
    let field = |name: &str| status.lines().find_map(|line| line.strip_prefix(name));
    if field("State:").is_some_and(|state| state.trim_start().starts_with(['Z', 'X'])) {
        return None;
    }
    let uids = field("Uid:")?.split_whitespace().take(3);
    uids.map(|uid| uid.parse().ok()).collect()
}

/// Ends every process of somebody: first asked, then killed. Bounded in time; whoever observes afterwards says
/// whether it worked.
///
/// # Errors
/// When the owner is root or this process's own user, or `/proc` cannot be read.
pub(crate) fn end(owner: &Owner<'_>) -> Result<(), String> {
    end_within(owner, GRACE)
}

fn end_within(owner: &Owner<'_>, grace: Duration) -> Result<(), String> {
    let own = nix::unistd::geteuid().as_raw();
    if owner.uid == 0 || owner.uid == own {
        return Err(format!(
            "the processes of uid {} are never ended",
            owner.uid
        ));
    }
    let read = || Processes::read().map_err(|error| format!("cannot read /proc: {error}"));
    let asked = signal_all(&read()?.of(owner), owner, Signal::TERM);
    await_end(&asked, grace);
    let deadline = Instant::now() + GRACE.max(grace);
    for _ in 0..ROUNDS {
        let left = read()?.of(owner);
        let killed = signal_all(&left, owner, Signal::KILL);
        if left.is_empty() || Instant::now() >= deadline {
            break;
        }
        await_end(&killed, deadline.saturating_duration_since(Instant::now()));
    }
    let left = read()?.count(owner);
    if left == 0 {
        Ok(())
    } else {
        Err(format!(
            "{left} processes of uid {} are still there",
            owner.uid
        ))
    }
}

fn signal_all(pids: &[i32], owner: &Owner<'_>, signal: Signal) -> Vec<OwnedFd> {
    let own = std::process::id().cast_signed();
    let mut signalled = Vec::new();
    for pid in pids.iter().copied().filter(|pid| *pid > 1 && *pid != own) {
        let Some(Ok(process)) = Pid::from_raw(pid).map(|pid| pidfd_open(pid, PidfdFlags::empty()))
        else {
            continue;
        };
        // The number may have gone to another process before it was opened; from here on it cannot.
        if uids_of(pid).is_some_and(|uids| owner.owns(&uids))
            && pidfd_send_signal(&process, signal).is_ok()
        {
            signalled.push(process);
        }
    }
    signalled
}

fn await_end(processes: &[OwnedFd], limit: Duration) {
    let deadline = Instant::now() + limit;
    for process in processes {
        loop {
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return;
            }
            let timeout = PollTimeout::try_from(left.as_millis().clamp(1, 60_000))
                .unwrap_or(PollTimeout::MAX);
            match poll(
                &mut [PollFd::new(process.as_fd(), PollFlags::POLLIN)],
                timeout,
            ) {
                Ok(0) | Err(nix::errno::Errno::EINTR) => {}
                Ok(_) | Err(_) => break,
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::process::CommandExt as _;
    use std::process::{Command, Stdio};

    #[test]
    fn root_is_never_ended_and_neither_are_we() {
        let own = nix::unistd::geteuid().as_raw();
        for uid in [0, own] {
            assert!(end(&Owner::new(&Claims::default(), "root", uid)).is_err());
        }
    }

    #[test]
    fn every_process_of_a_uid_ends_also_one_that_ignores_being_asked() {
        if !nix::unistd::geteuid().is_root() {
            return;
        }
        let uid = 3_000_000 + std::process::id();
        let start = |uid: u32, script: &str| {
            Command::new("/bin/sh")
                .args(["-c", script])
                .uid(uid)
                .stdin(Stdio::null())
                .stdout(Stdio::piped())
                .spawn()
                .unwrap()
        };
        let mut polite = start(uid, "echo up; exec sleep 600");
        let mut stubborn = start(
            uid + 1,
            "trap '' TERM; echo up; while :; do sleep 600 & wait; done",
        );
        for child in [&mut polite, &mut stubborn] {
            use std::io::Read as _;
            let mut up = [0; 3];
            child.stdout.as_mut().unwrap().read_exact(&mut up).unwrap();
        }
        let own_range = format!("amy:{}:1\n", uid + 1);
        let claims = Claims::of_text(&[("amy", uid)], &own_range);
        let owner = Owner::new(&claims, "amy", uid);
        assert!(Processes::read().unwrap().count(&owner) >= 2);
        end_within(&owner, Duration::from_millis(500)).unwrap();
        assert_eq!(Processes::read().unwrap().count(&owner), 0);
        assert!(!polite.wait().unwrap().success());
        assert!(!stubborn.wait().unwrap().success());
    }
}
