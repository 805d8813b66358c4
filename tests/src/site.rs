//! A scratch workstation, a state repository beside it, and the real `muster` working on both.
//!
//! The host is a directory that `[host] root` names, so that nothing of the machine under the tests is touched. The
//! program is the one of this build, run in an environment that holds nothing but a path.

use std::collections::BTreeMap;
use std::fs;
use std::io::Read as _;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _, chown, symlink};
use std::os::unix::process::ExitStatusExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

/// Ann administers, bob uses.
pub const ANN_AND_BOB: &str = "\
users:
  ann: {authentik_user: ann.x, k8s_user: ann, tier: admin}
  bob: {authentik_user: bob.x, k8s_user: bob, tier: power-user}
";

/// Bob has gone.
pub const ANN: &str = "\
users:
  ann: {authentik_user: ann.x, k8s_user: ann, tier: admin}
";

/// What can be taken away or broken on the way to the disk, by the name of the system call.
pub const WRITING_CALLS: [&str; 25] = [
    "chmod",
    "fallocate",
    "fchmod",
    "fchmodat",
    "fchown",
    "fchownat",
    "fdatasync",
    "fsync",
    "ftruncate",
    "link",
    "linkat",
    "mkdir",
    "mkdirat",
    "pwrite64",
    "rename",
    "renameat",
    "renameat2",
    "rmdir",
    "symlink",
    "symlinkat",
    "unlink",
    "unlinkat",
    "utimensat",
    "write",
    "writev",
];

/// No wait in these tests is longer than this; none is expected to come near it.
const PATIENCE: Duration = Duration::from_secs(180);

/// The program: what `MUSTER` names, or that of this build, which is built here when nothing else has built it yet.
///
/// # Panics
/// When it cannot be built.
pub fn program() -> &'static Path {
    static PROGRAM: OnceLock<PathBuf> = OnceLock::new();
    PROGRAM.get_or_init(|| {
        if let Some(named) = std::env::var_os("MUSTER") {
            return fs::canonicalize(named).expect("the program that MUSTER names");
        }
        let test = std::env::current_exe().expect("a path of this test");
        let profile = test.ancestors().nth(2).expect("a directory of the build");
        let program = profile.join("muster");
        let written = |path: &Path| fs::metadata(path).and_then(|it| it.modified()).ok();
        if written(&program) < written(&test) {
            let mut build = Command::new(std::env::var_os("CARGO").unwrap_or("cargo".into()));
            build.args(["build", "--quiet", "--package", "muster", "--target-dir"]);
            build.arg(profile.parent().expect("the target directory"));
            if profile.ends_with("release") {
                build.arg("--release");
            }
            build.current_dir(env!("CARGO_MANIFEST_DIR"));
            assert!(
                build.status().expect("cargo").success(),
                "muster does not build"
            );
        }
        program
    })
}

/// Fails with what to install, or with who to be, where a test cannot run.
///
/// # Panics
/// When a command is missing, or this is not root.
#[track_caller]
pub fn needs(commands: &[&str]) {
    assert!(nix::unistd::geteuid().is_root(), "this test needs root");
    let path = std::env::var_os("PATH").unwrap_or_default();
    for command in commands {
        assert!(
            std::env::split_paths(&path).any(|dir| dir.join(command).exists()),
            "this test needs {command}: apt-get install {command}"
        );
    }
}

/// Looks again and again until `done` says so.
///
/// # Panics
/// When that takes unreasonably long; `what` was waited for.
#[track_caller]
pub fn wait_until(what: &str, mut done: impl FnMut() -> bool) {
    let began = Instant::now();
    while !done() {
        assert!(began.elapsed() < PATIENCE, "waited in vain: {what}");
        std::thread::sleep(Duration::from_millis(5));
    }
}

/// Runs `task` for each of `points`, on all cores, and gives what went wrong.
pub fn for_each_in_parallel<P: Sync>(
    points: &[P],
    task: impl Fn(&P) -> Result<(), String> + Sync,
) -> Vec<String> {
    let next = AtomicUsize::new(0);
    let work = || {
        let mut wrong = Vec::new();
        while let Some(point) = points.get(next.fetch_add(1, Ordering::Relaxed)) {
            wrong.extend(task(point).err());
        }
        wrong
    };
    std::thread::scope(|scope| {
        let workers: Vec<_> = (0..std::thread::available_parallelism().map_or(2, usize::from))
            .map(|_| scope.spawn(work))
            .collect();
        workers
            .into_iter()
            .flat_map(|worker| worker.join().expect("a worker"))
            .collect()
    })
}

/// How a run ended, and what it said.
#[derive(Clone, Debug)]
#[must_use = "a run that nobody looks at proves nothing"]
pub struct Ran {
    /// Its exit code, if it got that far.
    pub code: Option<i32>,
    /// The signal that ended it.
    pub signal: Option<i32>,
    /// Standard output.
    pub out: String,
    /// Standard error.
    pub err: String,
}

impl From<Output> for Ran {
    fn from(output: Output) -> Self {
        Self {
            code: output.status.code(),
            signal: output.status.signal(),
            out: String::from_utf8_lossy(&output.stdout).into_owned(),
            err: String::from_utf8_lossy(&output.stderr).into_owned(),
        }
    }
}

impl Ran {
    /// Whether it ended well.
    pub fn is_ok(&self) -> bool {
        self.code == Some(0)
    }

    /// Everything it said.
    pub fn said(&self) -> String {
        format!(
            "exit {:?}, signal {:?}\n{}{}",
            self.code, self.signal, self.out, self.err
        )
    }

    /// Insists on a good end.
    ///
    /// # Panics
    /// When it was none.
    #[track_caller]
    pub fn ok(self) -> Self {
        assert!(self.is_ok(), "{}", self.said());
        self
    }
}

/// What happens at one system call.
#[derive(Clone, Copy, Debug)]
pub enum Fault {
    /// The process dies before it.
    Kill,
    /// The process is told to stop.
    Terminate,
    /// The kernel answers this instead of doing it.
    Error(&'static str),
}

/// The `nth` call, counted from 1, of the system call of that name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Point {
    /// Its name.
    pub call: &'static str,
    /// Which.
    pub nth: usize,
}

/// A scratch workstation with its state repository.
#[derive(Debug)]
pub struct Site {
    dir: tempfile::TempDir,
}

impl Default for Site {
    fn default() -> Self {
        Self::new()
    }
}

impl Site {
    /// A workstation with one account that is nobody's row, initialised with an empty roster.
    ///
    /// # Panics
    /// When it cannot be made.
    pub fn new() -> Self {
        let site = Self::bare("");
        site.init();
        site
    }

    /// The same, not yet initialised; `settings` are added to its own, and may begin with keys of `[limits]`.
    ///
    /// # Panics
    /// When it cannot be made.
    pub fn bare(settings: &str) -> Self {
        let site = Self { dir: scratch() };
        fs::set_permissions(site.dir.path(), fs::Permissions::from_mode(0o755)).expect("its mode");
        for (file, text, mode) in [
            (
                "etc/passwd",
                "root:x:0:0:root:/root:/bin/bash\nkeeper:x:1500:1500::/home/keeper:/bin/bash\n",
                0o644,
            ),
            (
                "etc/shadow",
                "root:*:20000:0:99999:7:::\nkeeper:$6$salt$hash:20000:0:99999:7:::\n",
                0o640,
            ),
            (
                "etc/group",
                "root:x:0:\nsudo:x:27:keeper\ndocker:x:28:\ncode-shared:x:29:\nt3:x:996:\nkeeper:x:1500:\n",
                0o644,
            ),
            (
                "etc/gshadow",
                "root:*::\nsudo:!::keeper\ndocker:!::\ncode-shared:!::\nt3:!::\nkeeper:!::\n",
                0o640,
            ),
            ("etc/subuid", "keeper:100000:65536\n", 0o644),
            ("etc/subgid", "keeper:100000:65536\n", 0o644),
            ("etc/login.defs", "HOME_MODE 0700\n", 0o644),
            ("etc/skel/.profile", "umask 022\n", 0o644),
            ("etc/skel/.config/a/b", "b\n", 0o600),
            (
                "etc/systemd/system/t3-serve@.service",
                "[Service]\nExecStart=/bin/true\n[Install]\nWantedBy=multi-user.target\n",
                0o644,
            ),
            ("bin/zsh", "", 0o755),
            ("usr/sbin/nologin", "", 0o755),
        ] {
            site.write_on_host(file, text, mode);
        }
        for dir in [
            "home",
            "var/spool/cron/crontabs",
            "var/lib/systemd/linger",
            "etc/t3-dispatch",
            "etc/muster/instances",
        ] {
            fs::create_dir_all(site.on_host(dir)).expect("a directory");
        }
        site.write_settings(settings);
        fs::create_dir(site.path("origin")).expect("a directory");
        site.git(&["init", "--quiet", "--initial-branch=main"]);
        site.commit("users: {}\n", "a first roster");
        site
    }

    /// `muster init`, taking what the branch shows.
    ///
    /// # Panics
    /// When it does not work.
    pub fn init(&self) {
        let _ = self.muster(&["init", "--yes"]).ok();
    }

    /// A workstation exactly as this one is, elsewhere.
    ///
    /// # Panics
    /// When it cannot be copied.
    pub fn copy(&self) -> Self {
        let copy = Self { dir: scratch() };
        let mut cp = Command::new("cp");
        cp.args(["-a", "--reflink=auto"])
            .arg(self.path("."))
            .arg(copy.path("."));
        assert!(cp.status().expect("cp").success());
        copy.settings_moved_from(&self.path("").display().to_string());
        copy
    }

    /// A workstation out of an archive, in whose settings `there` stands for where it is.
    ///
    /// # Panics
    /// When it cannot be unpacked.
    pub fn unpacked(archive: &Path, there: &str) -> Self {
        let site = Self { dir: scratch() };
        let mut tar = Command::new("tar");
        tar.args(["--extract", "--gzip", "--same-owner", "--numeric-owner"])
            .args(["--same-permissions", "--warning=no-timestamp"])
            .arg("--directory")
            .arg(site.path("."))
            .arg("--file")
            .arg(archive);
        assert!(tar.status().expect("tar").success());
        fs::set_permissions(site.path("."), fs::Permissions::from_mode(0o755)).expect("its mode");
        site.settings_moved_from(there);
        site
    }

    fn settings_moved_from(&self, there: &str) {
        let text = fs::read_to_string(self.path("muster.toml")).expect("settings");
        let moved = text.replace(there, &self.path("").display().to_string());
        fs::write(self.path("muster.toml"), moved).expect("settings");
    }

    fn write_settings(&self, more: &str) {
        let text = format!(
            "[state]\nurl = \"{0}origin\"\ndir = \"{0}state\"\npoll = \"1s\"\n\
             [host]\nname = \"devvm\"\nroot = \"{0}root\"\n\
             [accounts]\nservice_group = \"t3\"\ndeclared_benign = [\"group.join\", \"admins.add\"]\n\
             [instance]\nunits = [\"t3-serve@.service\"]\nenvironment = \"/etc/muster/instances/{{user}}.env\"\n\
             [files]\nlogin_map = \"/etc/ttyd-user-map\"\ndispatch = \"/etc/t3-dispatch/dispatch.json\"\nadmins = \"/etc/ttyd-admins\"\n\
             [limits]\nshare = 99\nmin_admins = 0\n{more}",
            self.path("").display()
        );
        fs::write(self.path("muster.toml"), text).expect("settings");
    }

    /// Replaces a part of the settings.
    ///
    /// # Panics
    /// When they do not have it.
    pub fn change_settings(&self, from: &str, to: &str) {
        let text = fs::read_to_string(self.path("muster.toml")).expect("settings");
        assert!(text.contains(from), "the settings have no {from}");
        fs::write(self.path("muster.toml"), text.replace(from, to)).expect("settings");
    }

    /// A path beside the workstation.
    pub fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    /// A path on the workstation, as it is seen from outside.
    pub fn on_host(&self, path: &str) -> PathBuf {
        self.dir.path().join("root").join(path)
    }

    /// Writes a file on the workstation.
    ///
    /// # Panics
    /// When that does not work.
    pub fn write_on_host(&self, path: &str, text: &str, mode: u32) {
        let path = self.on_host(path);
        fs::create_dir_all(path.parent().expect("a directory")).expect("a directory");
        fs::write(&path, text).expect("a file");
        fs::set_permissions(&path, fs::Permissions::from_mode(mode)).expect("its mode");
    }

    /// Reads a file of the workstation.
    ///
    /// # Panics
    /// When it cannot be read.
    #[track_caller]
    pub fn text_on_host(&self, path: &str) -> String {
        fs::read_to_string(self.on_host(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
    }

    /// Gives `user`, who must have an account, what a person has after a while: keys, a crontab, linger, work.
    ///
    /// # Panics
    /// When that does not work.
    pub fn live_in(&self, user: &str) {
        let id = self
            .uid(user)
            .unwrap_or_else(|| panic!("{user} has no account"));
        let home = format!("home/{user}");
        self.write_on_host(
            &format!("{home}/.ssh/authorized_keys"),
            "ssh-ed25519 AAAA them\n",
            0o600,
        );
        self.write_on_host(&format!("{home}/work/thesis"), "all of it\n", 0o644);
        self.write_on_host(
            &format!("var/spool/cron/crontabs/{user}"),
            "@daily true\n",
            0o600,
        );
        self.write_on_host(&format!("var/lib/systemd/linger/{user}"), "", 0o644);
        for path in [".ssh", ".ssh/authorized_keys", "work", "work/thesis"] {
            chown(self.on_host(&home).join(path), Some(id), Some(id)).expect("root");
        }
        chown(
            self.on_host(&format!("var/spool/cron/crontabs/{user}")),
            Some(id),
            None,
        )
        .expect("root");
    }

    /// The uid of an account.
    pub fn uid(&self, user: &str) -> Option<u32> {
        let passwd = self.text_on_host("etc/passwd");
        let line = passwd
            .lines()
            .find(|line| line.split(':').next() == Some(user))?;
        line.split(':').nth(2)?.parse().ok()
    }

    /// Runs git in the state repository.
    ///
    /// # Panics
    /// When git fails.
    #[track_caller]
    pub fn git(&self, args: &[&str]) -> String {
        let mut git = hermetic("git");
        git.args(args).current_dir(self.path("origin"));
        git.env("GIT_CONFIG_GLOBAL", "/dev/null")
            .env("GIT_CONFIG_NOSYSTEM", "1");
        git.env("GIT_CONFIG_COUNT", "1")
            .env("GIT_CONFIG_KEY_0", "safe.directory")
            .env("GIT_CONFIG_VALUE_0", "*");
        for who in ["AUTHOR", "COMMITTER"] {
            git.env(format!("GIT_{who}_NAME"), "a")
                .env(format!("GIT_{who}_EMAIL"), "a@example.org");
            git.env(format!("GIT_{who}_DATE"), "2026-11-22T00:00:00Z");
        }
        let ran = Ran::from(git.output().expect("git"));
        assert!(ran.is_ok(), "git {args:?}: {}", ran.said());
        ran.out.trim().to_owned()
    }

    /// Commits a roster, and gives the commit.
    ///
    /// # Panics
    /// When that does not work.
    pub fn commit(&self, roster: &str, message: &str) -> String {
        fs::write(self.path("origin/roster.yaml"), roster).expect("a roster");
        self.git(&["add", "--all"]);
        self.git(&["commit", "--quiet", "--allow-empty", "-m", message]);
        self.git(&["rev-parse", "HEAD"])
    }

    /// `muster` with this site's settings, not yet run.
    pub fn command(&self, args: &[&str]) -> Command {
        let mut muster = hermetic(program());
        muster
            .arg("--config")
            .arg(self.path("muster.toml"))
            .args(args)
            // What is looked for in an output stands in one line.
            .env("COLUMNS", "1000")
            .stdin(Stdio::null());
        muster
    }

    /// Runs `muster`.
    ///
    /// # Panics
    /// When it cannot be started.
    pub fn muster(&self, args: &[&str]) -> Ran {
        Ran::from(self.command(args).output().expect("muster"))
    }

    /// Runs one cycle.
    ///
    /// # Panics
    /// When it cannot be started.
    pub fn once(&self) -> Ran {
        self.muster(&["run", "--once"])
    }

    /// Runs one cycle in which something happens at one system call. A kill that came too late shows in [`Ran::signal`].
    ///
    /// # Panics
    /// When it cannot be started.
    pub fn once_with(&self, fault: Fault, at: Point) -> Ran {
        let mut strace = self.traced(&[], fault, at, &["run", "--once"]);
        Ran::from(strace.stdin(Stdio::null()).output().expect("strace"))
    }

    /// Starts the daemon, to which something happens at one system call.
    ///
    /// # Panics
    /// When it cannot be started.
    pub fn daemon_with(&self, fault: Fault, at: Point) -> Daemon {
        // The daemon is our child then, and strace is not.
        self.started(self.traced(&["-D"], fault, at, &["run"]))
    }

    fn traced(&self, how: &[&str], fault: Fault, at: Point, args: &[&str]) -> Command {
        let what = match fault {
            Fault::Kill => "signal=SIGKILL".to_owned(),
            Fault::Terminate => "signal=SIGTERM".to_owned(),
            Fault::Error(name) => format!("error={name}"),
        };
        let mut strace = hermetic("strace");
        strace
            .args(how)
            // Quicker, but strace then delivers no signal.
            .args(matches!(fault, Fault::Error(_)).then_some("--seccomp-bpf"))
            .args(["-f", "-qqq", "-o", "/dev/null", "-e"])
            .arg(format!("trace={}", at.call));
        strace
            .arg("-e")
            .arg(format!("inject={}:{what}:when={}", at.call, at.nth));
        strace
            .arg(program())
            .arg("--config")
            .arg(self.path("muster.toml"))
            .args(args);
        strace
    }

    /// Every writing system call that one cycle makes here, in no order that matters. Runs that cycle.
    ///
    /// # Panics
    /// When it does not end well.
    pub fn points_of_a_cycle(&self) -> Vec<Point> {
        let log = self.path("calls");
        let mut strace = hermetic("strace");
        strace
            .args(["-f", "--seccomp-bpf", "-qqq", "-o"])
            .arg(&log)
            .args(["-e", "signal=none", "-e"]);
        strace.arg(format!("trace=?{}", WRITING_CALLS.join(",?")));
        strace
            .arg(program())
            .arg("--config")
            .arg(self.path("muster.toml"))
            .args(["run", "--once"]);
        let _ = Ran::from(strace.output().expect("strace")).ok();
        let mut counts: BTreeMap<(&str, &str), usize> = BTreeMap::new();
        let log = fs::read_to_string(log).expect("what strace saw");
        for line in log.lines() {
            let Some((process, call)) = line.split_once(' ') else {
                continue;
            };
            let name = call.trim_start().split('(').next().unwrap_or_default();
            *counts.entry((name, process)).or_default() += 1;
        }
        let most = |call: &'static str| {
            counts
                .iter()
                .filter(move |((name, _), _)| *name == call)
                .map(|(_, n)| *n)
                .max()
        };
        WRITING_CALLS
            .into_iter()
            .flat_map(|call| (1..=most(call).unwrap_or(0)).map(move |nth| Point { call, nth }))
            .collect()
    }

    /// Starts the daemon; it is ended when what is given goes out of scope.
    ///
    /// # Panics
    /// When it cannot be started.
    pub fn daemon(&self) -> Daemon {
        self.started(self.command(&["run"]))
    }

    fn started(&self, command: Command) -> Daemon {
        Daemon::start(command, &self.path("log"))
    }

    /// What `muster status` knows.
    ///
    /// # Panics
    /// When it does not answer.
    #[track_caller]
    pub fn status(&self) -> serde_json::Value {
        let ran = self.muster(&["status", "--format", "json"]);
        let status: serde_json::Value = serde_json::from_str(&ran.out).expect("JSON");
        let in_order = status["in_order"] == true;
        assert_eq!(
            ran.code,
            Some(i32::from(!in_order)),
            "the exit code tells it: {status:#}"
        );
        status
    }

    /// The host as it is: kind, owner, mode and content of everything, by path. The day of a password's last change is
    /// left out, as a test may run over midnight.
    pub fn host(&self) -> BTreeMap<String, String> {
        let mut all = BTreeMap::new();
        picture(&self.path("root"), "", &mut all, |path, meta, content| {
            let content = if path == "/etc/shadow" {
                without_days(&content)
            } else {
                content
            };
            format!("{:o} {}:{} {content}", meta.mode(), meta.uid(), meta.gid())
        });
        all
    }

    /// Everything of host and state directory down to inode and time of change: what is written again with the same
    /// bytes shows too. Who held the lock last does not count, nor what is remembered so that it need not be looked at again.
    pub fn fingerprint(&self) -> BTreeMap<String, String> {
        let mut all = BTreeMap::new();
        for part in ["root", "state", "origin/.git/refs"] {
            picture(&self.path(part), part, &mut all, |_, meta, content| {
                format!(
                    "{:o} {}:{} inode {} at {}.{:09} {content}",
                    meta.mode(),
                    meta.uid(),
                    meta.gid(),
                    meta.ino(),
                    meta.mtime(),
                    meta.mtime_nsec()
                )
            });
        }
        let counts = |path: &str| {
            let remembered = ["state/seen", "state/state.git/seen"];
            path != "state/lock" && !remembered.iter().any(|it| path.starts_with(it))
        };
        all.retain(|path, _| counts(path));
        all
    }

    /// Whether nothing is in doubt or left to a person, and one more cycle changes nothing and says so.
    ///
    /// # Errors
    /// What is not in order.
    pub fn is_still(&self) -> Result<(), String> {
        let ran = self.muster(&["status", "--format", "json"]);
        let status: serde_json::Value = serde_json::from_str(&ran.out).map_err(|_| ran.said())?;
        if status["in_doubt"] != 0
            || status["needs_operator"]
                .as_object()
                .is_none_or(|it| !it.is_empty())
        {
            return Err(format!("not in order: {status:#}"));
        }
        match self.changes_nothing()? {
            ran if ran.is_ok() => Ok(()),
            ran => Err(format!("another cycle: {}", ran.said())),
        }
    }

    /// Runs one more cycle, which must change nothing and say so. It may complain.
    ///
    /// # Errors
    /// What it did.
    pub fn changes_nothing(&self) -> Result<Ran, String> {
        let before = self.fingerprint();
        let ran = self.once();
        if !ran.out.contains("no change") {
            return Err(format!("another cycle: {}", ran.said()));
        }
        match differences(&before, &self.fingerprint()) {
            none if none.is_empty() => Ok(ran),
            some => Err(format!("another cycle changed something: {some}")),
        }
    }

    /// Runs a cycle that must end well, and another that must change nothing.
    ///
    /// # Panics
    /// When they do not.
    #[track_caller]
    pub fn settles(&self) -> Ran {
        let ran = self.once().ok();
        if let Err(wrong) = self.is_still() {
            panic!("after {}\n{wrong}", ran.said());
        }
        ran
    }
}

/// The paths at which two pictures differ, with both sides.
pub fn differences(one: &BTreeMap<String, String>, other: &BTreeMap<String, String>) -> String {
    let mut text = String::new();
    let mut paths: Vec<_> = one.keys().chain(other.keys()).collect();
    paths.sort();
    paths.dedup();
    for path in paths {
        let (a, b) = (one.get(path), other.get(path));
        if a != b {
            let shown = |it: Option<&String>| {
                it.map_or("absent".to_owned(), |it| it.chars().take(600).collect())
            };
            text.push_str(&format!("\n{path}\n  - {}\n  + {}", shown(a), shown(b)));
        }
    }
    text
}

fn picture(
    path: &Path,
    name: &str,
    all: &mut BTreeMap<String, String>,
    show: impl Fn(&str, &fs::Metadata, String) -> String + Copy,
) {
    let Ok(meta) = fs::symlink_metadata(path) else {
        return;
    };
    let mut content = String::new();
    if meta.is_symlink() {
        content = format!(
            "-> {}",
            fs::read_link(path)
                .map(|it| it.display().to_string())
                .unwrap_or_default()
        );
    } else if meta.is_file() {
        content = String::from_utf8_lossy(&fs::read(path).unwrap_or_default()).into_owned();
    }
    all.insert(name.to_owned(), show(name, &meta, content));
    if meta.is_dir() {
        for entry in fs::read_dir(path).into_iter().flatten().flatten() {
            let below = format!("{name}/{}", entry.file_name().to_string_lossy());
            picture(&entry.path(), &below, all, show);
        }
    }
}

fn without_days(shadow: &str) -> String {
    let line = |line: &str| {
        let mut fields: Vec<&str> = line.split(':').collect();
        if fields.len() > 2 {
            fields[2] = "day";
        }
        fields.join(":")
    };
    shadow.lines().map(line).collect::<Vec<_>>().join("\n")
}

/// A directory in memory where there is one: hundreds of runs wait for no disk. What survives a power cut is not the
/// question here; a process that is killed leaves the same behind on any file system.
fn scratch() -> tempfile::TempDir {
    let memory = Path::new("/dev/shm");
    let elsewhere = std::env::var_os("TMPDIR").is_some() || !memory.is_dir();
    if elsewhere {
        tempfile::tempdir()
    } else {
        tempfile::tempdir_in(memory)
    }
    .expect("a scratch directory")
}

/// A program in an environment that holds nothing but a path.
pub fn hermetic(program: impl AsRef<std::ffi::OsStr>) -> Command {
    let mut command = Command::new(program);
    command
        .env_clear()
        .env("PATH", std::env::var_os("PATH").unwrap_or_default());
    command
}

/// A daemon at work.
#[derive(Debug)]
pub struct Daemon {
    child: Child,
    log: PathBuf,
}

impl Daemon {
    /// Starts one, which writes what it says at the end of `log`.
    ///
    /// # Panics
    /// When it cannot be started.
    pub fn start(mut command: Command, log: &Path) -> Self {
        let file = fs::File::options()
            .append(true)
            .create(true)
            .open(log)
            .expect("a log");
        let child = command
            .stdin(Stdio::null())
            .stdout(file.try_clone().expect("a log"))
            .stderr(file)
            .spawn();
        Self {
            child: child.expect("muster"),
            log: log.to_owned(),
        }
    }

    /// Its process number.
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// Sends it a signal.
    ///
    /// # Panics
    /// When it is not there any more.
    pub fn signal(&self, signal: nix::sys::signal::Signal) {
        let id = nix::unistd::Pid::from_raw(self.child.id().cast_signed());
        nix::sys::signal::kill(id, signal).expect("it runs");
    }

    /// Whether it still runs.
    pub fn is_running(&mut self) -> bool {
        matches!(self.child.try_wait(), Ok(None))
    }

    /// Everything said so far.
    pub fn log(&self) -> String {
        let mut text = String::new();
        let _ = fs::File::open(&self.log).and_then(|mut file| file.read_to_string(&mut text));
        text
    }

    /// Waits for its end, and gives its exit code.
    #[track_caller]
    pub fn ended(&mut self) -> Option<i32> {
        let mut code = None;
        wait_until("the daemon ends", || match self.child.try_wait() {
            Ok(Some(status)) => {
                code = status.code();
                true
            }
            _ => false,
        });
        code
    }

    /// Tells it to stop, and gives its exit code.
    #[track_caller]
    pub fn stop(&mut self) -> Option<i32> {
        if self.is_running() {
            self.signal(nix::sys::signal::Signal::SIGTERM);
        }
        self.ended()
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Replaces whatever is at `path` by a symbolic link.
///
/// # Panics
/// When that does not work.
pub fn replace_by_link(path: &Path, target: &str) {
    if path.is_dir() && !path.is_symlink() {
        fs::remove_dir_all(path).expect("a directory");
    } else {
        let _ = fs::remove_file(path);
    }
    symlink(target, path).expect("a link");
}
