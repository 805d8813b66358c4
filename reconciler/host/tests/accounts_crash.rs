//! A batch that is killed, or that the kernel refuses something, at each of its system calls; and the lock, against the
//! shadow tools.

use std::collections::BTreeMap;
use std::io::Read as _;
use std::os::unix::process::ExitStatusExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus, Stdio};
use std::time::Duration;

use muster_host::accounts::{File, LockError, Locked};
use muster_host::root::{Ownership, RootDir};

const FILES: [(&str, &str); 6] = [
    (
        "passwd",
        "root:x:0:0:root:/root:/bin/bash\nada:x:1000:1000::/home/ada:/bin/sh\nbob:x:1001:1001::/home/bob:/bin/sh\n",
    ),
    (
        "shadow",
        "root:*:19000::::::\nada:$6$hash:19000:0:99999:7:::\nbob:$6$hash:19000:0:99999:7:::\n",
    ),
    (
        "group",
        "root:x:0:\nsudo:x:27:ada,bob\nada:x:1000:\nbob:x:1001:\n",
    ),
    ("gshadow", "root:*::\nsudo:*::ada,bob\nada:!::\nbob:!::\n"),
    ("subuid", "ada:100000:65536\nbob:165536:65536\n"),
    ("subgid", "ada:100000:65536\nbob:165536:65536\n"),
];

/// Every call by which a batch changes something on disk.
const CALLS: [&str; 8] = [
    "openat",
    "fchmod",
    "write",
    "fsync",
    "fdatasync",
    "renameat",
    "linkat",
    "unlinkat",
];

type Files = BTreeMap<&'static str, String>;

struct Host {
    scratch: tempfile::TempDir,
}

impl Host {
    fn new() -> Self {
        let memory = Path::new("/dev/shm");
        let parent = if memory.is_dir() {
            memory.to_owned()
        } else {
            std::env::temp_dir()
        };
        let host = Self {
            scratch: tempfile::Builder::new()
                .prefix("accounts")
                .tempdir_in(parent)
                .unwrap(),
        };
        std::fs::create_dir(host.etc()).unwrap();
        host.reset();
        host
    }

    fn root(&self) -> &Path {
        self.scratch.path()
    }

    fn etc(&self) -> PathBuf {
        self.root().join("etc")
    }

    fn reset(&self) {
        for entry in std::fs::read_dir(self.etc()).unwrap() {
            std::fs::remove_file(entry.unwrap().path()).unwrap();
        }
        for (name, text) in FILES {
            std::fs::write(self.etc().join(name), text).unwrap();
        }
    }

    fn files(&self) -> Files {
        FILES
            .iter()
            .map(|(name, _)| {
                (
                    *name,
                    std::fs::read_to_string(self.etc().join(name)).unwrap(),
                )
            })
            .collect()
    }

    /// Names other than the six, their backups and the record lock.
    fn strays(&self) -> Vec<String> {
        let names = std::fs::read_dir(self.etc())
            .unwrap()
            .map(|entry| entry.unwrap().file_name().into_string().unwrap());
        let known = |name: &str| {
            FILES
                .iter()
                .any(|(file, _)| name.strip_suffix('-').unwrap_or(name) == *file)
        };
        names
            .filter(|name| !known(name) && name != ".pwd.lock")
            .collect()
    }

    fn batch(&self, edits: &[&str]) -> ExitStatus {
        Command::new(example())
            .arg(self.root())
            .args(edits)
            .status()
            .unwrap()
    }

    fn batch_with(&self, injection: &str, edits: &[&str]) -> ExitStatus {
        let strace = Path::new("/usr/bin/strace");
        assert!(strace.exists(), "strace is missing: apt-get install strace");
        let call = injection.split(':').next().unwrap();
        Command::new(strace)
            .args([
                "-f",
                "-qq",
                "-o",
                "/dev/null",
                "-e",
                &format!("trace={call}"),
                "-e",
                &format!("inject={injection}"),
            ])
            .arg(example())
            .arg(self.root())
            .args(edits)
            .stderr(Stdio::null())
            .status()
            .unwrap()
    }
}

/// Built beside the tests by `cargo test`.
fn example() -> PathBuf {
    let tests = std::env::current_exe().unwrap();
    let path = tests
        .parent()
        .and_then(Path::parent)
        .unwrap()
        .join("examples/accounts-batch");
    assert!(
        path.exists(),
        "run `cargo build -p muster-host --example accounts-batch` first"
    );
    path
}

fn lines(text: &str) -> Vec<&str> {
    text.lines().collect()
}

/// Old, new, or new with the removed lines still there.
fn assert_whole(name: &str, now: &str, old: &str, new: &str, when: &str) {
    if now == old || now == new {
        return;
    }
    let (kept, extra): (Vec<_>, Vec<_>) = now
        .lines()
        .partition(|line| new.lines().any(|other| other == *line));
    assert_eq!(
        kept,
        lines(new),
        "{name} is neither old nor new when killed at {when}"
    );
    for line in extra {
        assert!(
            old.lines().any(|other| other == line),
            "{name} has {line:?} when killed at {when}"
        );
    }
}

/// Everybody in passwd finds a shadow line and a primary group.
fn assert_consistent(files: &Files, when: &str) {
    for account in files["passwd"].lines() {
        let fields: Vec<_> = account.split(':').collect();
        let shadow = files["shadow"]
            .lines()
            .any(|line| line.split(':').next() == Some(fields[0]));
        let group = files["group"]
            .lines()
            .any(|line| line.split(':').nth(2) == Some(fields[3]));
        assert!(
            shadow && group,
            "{} lacks shadow or group when killed at {when}: {files:?}",
            fields[0]
        );
    }
}

fn survives(first: &[&str], edits: &[&str]) {
    let host = Host::new();
    let prepare = || {
        host.reset();
        assert!(first.is_empty() || host.batch(first).success());
    };
    prepare();
    let old = host.files();
    assert!(host.batch(edits).success());
    let new = host.files();
    assert_ne!(old, new);
    assert!(host.strays().is_empty(), "{:?}", host.strays());
    let mut killed = 0;
    for call in CALLS {
        for at in 1.. {
            prepare();
            let status = host.batch_with(&format!("{call}:signal=SIGKILL:when={at}"), edits);
            if status.success() {
                break;
            }
            assert_eq!(status.signal(), Some(9));
            killed += 1;
            let when = format!("{call} {at}");
            let now = host.files();
            for (name, text) in &now {
                assert_whole(name, text, &old[name], &new[name], &when);
            }
            assert_consistent(&now, &when);
            assert!(host.batch(edits).success(), "no way on after {when}");
            assert_eq!(host.files(), new, "another end after {when}");
            assert!(host.strays().is_empty(), "{:?} after {when}", host.strays());
        }
    }
    assert!(killed > 30, "killed only {killed} times");
}

#[test]
fn a_killed_batch_that_creates_is_none_or_whole() {
    survives(
        &[],
        &["create:cyd:1002", "create:dan:1003", "join:cyd:sudo"],
    );
}

#[test]
fn a_killed_batch_that_deletes_is_none_or_whole() {
    survives(&[], &["delete:bob:1001"]);
}

#[test]
fn a_killed_batch_that_creates_and_deletes_is_none_or_whole() {
    survives(
        &[],
        &[
            "create:cyd:1002",
            "delete:bob:1001",
            "lock:ada",
            "leave:ada:sudo",
        ],
    );
}

#[test]
fn a_killed_rename_is_none_or_whole() {
    survives(&[], &["rename-begin:bob:rob"]);
    survives(&["rename-begin:bob:rob"], &["rename-finish:bob:rob"]);
}

#[test]
fn what_the_kernel_refuses_leaves_nothing_half() {
    let host = Host::new();
    let edits = ["create:cyd:1002", "delete:bob:1001", "join:cyd:sudo"];
    let old = host.files();
    assert!(host.batch(&edits).success());
    let new = host.files();
    let mut refused = 0;
    for (call, errno) in [
        ("write", "ENOSPC"),
        ("fsync", "EIO"),
        ("fchmod", "EPERM"),
        ("linkat", "ENOSPC"),
        ("renameat", "EIO"),
    ] {
        for at in 1.. {
            host.reset();
            let status = host.batch_with(&format!("{call}:error={errno}:when={at}"), &edits);
            if status.success() {
                break;
            }
            // A failure to complain on standard error would come after all is done.
            assert_eq!(status.signal(), None);
            refused += 1;
            let when = format!("{call} {at}");
            let now = host.files();
            for (name, text) in &now {
                assert_whole(name, text, &old[name], &new[name], &when);
            }
            if call != "renameat" && (call, at) != ("fsync", syncs_of_files(&host, &edits) + 1) {
                assert_eq!(
                    now, old,
                    "something was written although {when} was refused"
                );
            }
            assert_consistent(&now, &when);
            assert!(host.strays().is_empty(), "{:?} after {when}", host.strays());
            assert!(host.batch(&edits).success(), "no way on after {when}");
            assert_eq!(host.files(), new, "another end after {when}");
        }
    }
    assert!(refused > 30, "refused only {refused} times");
}

/// How many files the batch syncs before the first rename; the directory comes after the last.
fn syncs_of_files(host: &Host, edits: &[&str]) -> usize {
    let other = Host::new();
    let log = host.root().join("strace.log");
    let status = Command::new("/usr/bin/strace")
        .args(["-f", "-qq", "-e", "trace=fsync", "-o"])
        .arg(&log)
        .arg(example())
        .arg(other.root())
        .args(edits)
        .status()
        .unwrap();
    assert!(status.success());
    std::fs::read_to_string(log)
        .unwrap()
        .lines()
        .filter(|line| line.contains("fsync("))
        .count()
        - 1
}

#[test]
fn a_file_that_somebody_changes_meanwhile_is_not_overwritten() {
    let host = Host::new();
    let root = RootDir::open(host.root(), Ownership::Performed).unwrap();
    let locked = Locked::take(&root, Duration::ZERO).unwrap();
    let mut databases = locked.read().unwrap();
    databases.join_group("ada", "root").unwrap();
    std::fs::write(
        host.etc().join("passwd"),
        "root:x:0:0:root:/root:/bin/bash\n",
    )
    .unwrap();
    let before = host.files();
    let error = locked.commit(databases).unwrap_err();
    assert!(
        error
            .to_string()
            .starts_with("/etc/passwd was changed by somebody"),
        "{error}"
    );
    assert_eq!(host.files(), before);
    assert!(host.strays().is_empty(), "{:?}", host.strays());
}

#[test]
fn what_is_not_edited_is_not_written() {
    use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
    let host = Host::new();
    let inode = |name: &str| std::fs::metadata(host.etc().join(name)).unwrap().ino();
    let before: Vec<_> = File::ALL.iter().map(|file| inode(file.name())).collect();
    let mode = std::fs::Permissions::from_mode(0o640);
    std::fs::set_permissions(host.etc().join("shadow"), mode).unwrap();
    assert!(host.batch(&["join:ada:sudo"]).success());
    assert_eq!(
        File::ALL
            .iter()
            .map(|file| inode(file.name()))
            .collect::<Vec<_>>(),
        before
    );
    assert!(host.batch(&["lock:ada"]).success());
    for (file, before) in File::ALL.iter().zip(&before) {
        assert_eq!(
            inode(file.name()) == *before,
            *file != File::Shadow,
            "{file}"
        );
    }
    let shadow = std::fs::metadata(host.etc().join("shadow")).unwrap();
    assert_eq!(shadow.mode() & 0o7777, 0o640);
    assert_eq!(Some(&inode("shadow-")), before.get(4));
}

#[test]
fn useradd_waits_for_our_lock() {
    let host = Host::new();
    let root = RootDir::open(host.root(), Ownership::Performed).unwrap();
    let locked = Locked::take(&root, Duration::ZERO).unwrap();
    let mut useradd = Command::new("/usr/bin/strace")
        .args([
            "-qq",
            "-e",
            "trace=fcntl",
            "-e",
            "signal=none",
            "/usr/sbin/useradd",
            "--root",
        ])
        .arg(host.root())
        .args(["-M", "cyd"])
        .stdin(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    // strace writes a call down when it begins, and this one does not end before we let go.
    let mut stderr = useradd.stderr.take().unwrap();
    let mut seen = Vec::new();
    while !String::from_utf8_lossy(&seen).contains("F_SETLKW") {
        let mut byte = [0];
        assert_eq!(
            stderr.read(&mut byte).unwrap(),
            1,
            "no lock in {:?}",
            String::from_utf8_lossy(&seen)
        );
        seen.extend(byte);
    }
    let mut databases = locked.read().unwrap();
    databases.lock_password("ada").unwrap();
    locked.commit(databases).unwrap();
    std::io::copy(&mut stderr, &mut std::io::sink()).unwrap();
    assert!(useradd.wait().unwrap().success());
    let files = host.files();
    assert!(files["passwd"].contains("\ncyd:"), "{files:?}");
    assert!(
        files["shadow"].contains("\nada:!$6$hash:"),
        "useradd lost an edit: {files:?}"
    );
}

#[test]
fn a_batch_waits_for_the_lock_of_useradd_and_takes_over_when_it_died() {
    let host = Host::new();
    let root = RootDir::open(host.root(), Ownership::Performed).unwrap();
    // Stopped where it is about to rename its first file, useradd holds every lock.
    let mut useradd = Command::new("/usr/bin/strace")
        .args([
            "-qq",
            "-e",
            "trace=rename",
            "-e",
            "inject=rename:signal=SIGSTOP:when=1",
        ])
        .args(["/usr/sbin/useradd", "--root"])
        .arg(host.root())
        .args(["-M", "cyd"])
        .stdin(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut stderr = useradd.stderr.take().unwrap();
    let mut seen = Vec::new();
    while !String::from_utf8_lossy(&seen).contains("stopped by SIGSTOP") {
        let mut byte = [0];
        assert_eq!(
            stderr.read(&mut byte).unwrap(),
            1,
            "no stop in {:?}",
            String::from_utf8_lossy(&seen)
        );
        seen.extend(byte);
    }
    let error = Locked::take(&root, Duration::ZERO).unwrap_err();
    assert!(
        error
            .to_string()
            .contains("/etc/.pwd.lock is held by process"),
        "{error}"
    );
    let LockError::Busy { pid: Some(pid), .. } = error else {
        panic!("{error}")
    };
    let holder = nix::unistd::Pid::from_raw(pid);
    nix::sys::signal::kill(holder, nix::sys::signal::Signal::SIGKILL).unwrap();
    std::io::copy(&mut stderr, &mut std::io::sink()).unwrap();
    assert!(!useradd.wait().unwrap().success());
    assert!(host.etc().join("passwd.lock").exists());
    // Until somebody has reaped it, the dead process still counts as one; so this may have to wait.
    let locked = Locked::take(&root, Locked::WAIT).unwrap();
    let mut databases = locked.read().unwrap();
    databases.join_group("ada", "root").unwrap();
    locked.commit(databases).unwrap();
    assert!(!host.etc().join("passwd.lock").exists());
    assert!(host.files()["group"].starts_with("root:x:0:ada\n"));
}
