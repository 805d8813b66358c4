//! Real git in a directory of the test's own: no configuration, no environment, fixed dates.
#![allow(dead_code, unreachable_pub, missing_docs)]

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use muster_core::commit::CommitId;
use muster_git::{Heads, Mirror, Origin, Proposals};

pub mod daemon;

pub const MAIN: &str = "refs/heads/main";

/// A git that can also make reftable repositories, where there is one.
pub fn newest_git() -> &'static str {
    if Path::new("/usr/local/bin/git").exists() {
        "/usr/local/bin/git"
    } else {
        "git"
    }
}

/// A scratch directory that everybody may enter, with an origin in it.
pub struct Scene {
    pub dir: tempfile::TempDir,
}

impl Scene {
    pub fn new() -> Scene {
        let dir = tempfile::tempdir().unwrap();
        fs::set_permissions(dir.path(), fs::Permissions::from_mode(0o755)).unwrap();
        Scene { dir }
    }

    /// A scene with a bare origin whose `main` holds one roster.
    pub fn with_roster() -> Scene {
        let scene = Scene::new();
        scene.git("", &["init", "-q", "--bare", "-b", "main", "origin"]);
        scene.commit("main", None, &[("roster.yaml", "emo: {}\n")]);
        scene
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    pub fn origin(&self) -> Origin {
        Origin::parse(self.path("origin").to_str().unwrap()).unwrap()
    }

    pub fn mirror(&self) -> Mirror {
        self.mirror_at("mirror")
    }

    pub fn mirror_at(&self, name: &str) -> Mirror {
        Mirror::open_or_create(&self.path(name)).unwrap()
    }

    pub fn try_git(&self, below: &str, arguments: &[&str]) -> Output {
        command(newest_git(), &self.path(below))
            .args(arguments)
            .output()
            .unwrap()
    }

    /// Runs git in a directory of the scene; it must succeed. Gives what it printed.
    pub fn git(&self, below: &str, arguments: &[&str]) -> String {
        let output = self.try_git(below, arguments);
        let stderr = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "git {arguments:?}: {stderr}");
        String::from_utf8(output.stdout)
            .unwrap()
            .trim_end()
            .to_owned()
    }

    pub fn git_with_input(&self, below: &str, arguments: &[&str], input: &[u8]) -> String {
        use std::io::Write;
        let mut child = command(newest_git(), &self.path(below))
            .args(arguments)
            .stdin(std::process::Stdio::piped())
            .stdout(std::process::Stdio::piped())
            .spawn()
            .unwrap();
        child.stdin.take().unwrap().write_all(input).unwrap();
        let output = child.wait_with_output().unwrap();
        assert!(output.status.success(), "git {arguments:?}");
        String::from_utf8(output.stdout)
            .unwrap()
            .trim_end()
            .to_owned()
    }

    pub fn blob(&self, content: &str) -> String {
        self.git_with_input(
            "origin",
            &["hash-object", "-w", "--stdin"],
            content.as_bytes(),
        )
    }

    /// Commits these files (and nothing else) on a branch of the origin, after `parent`.
    pub fn commit(
        &self,
        branch: &str,
        parent: Option<&CommitId>,
        files: &[(&str, &str)],
    ) -> CommitId {
        let entries: Vec<_> = files
            .iter()
            .map(|(path, content)| ("100644", *path, self.blob(content)))
            .collect();
        self.commit_entries(branch, parent, &entries)
    }

    /// Like `commit`, with modes and object ids.
    pub fn commit_entries(
        &self,
        branch: &str,
        parent: Option<&CommitId>,
        entries: &[(&str, &str, String)],
    ) -> CommitId {
        let index = self.path("index");
        let _ = fs::remove_file(&index);
        let mut input = String::new();
        for (mode, path, id) in entries {
            input.push_str(&format!("{mode} {id}\t{path}\n"));
        }
        let with_index = |arguments: &[&str], input: &str| {
            use std::io::Write;
            let mut command = command(newest_git(), &self.path("origin"));
            command.env("GIT_INDEX_FILE", &index).args(arguments);
            command
                .stdin(std::process::Stdio::piped())
                .stdout(std::process::Stdio::piped());
            let mut child = command.spawn().unwrap();
            child
                .stdin
                .take()
                .unwrap()
                .write_all(input.as_bytes())
                .unwrap();
            let output = child.wait_with_output().unwrap();
            assert!(output.status.success(), "git {arguments:?}");
            String::from_utf8(output.stdout).unwrap().trim().to_owned()
        };
        with_index(&["update-index", "--add", "--index-info"], &input);
        let tree = with_index(&["write-tree", "--missing-ok"], "");
        let mut arguments = vec!["commit-tree", "-m", "a change", &tree];
        if let Some(parent) = parent {
            arguments.extend(["-p", parent.as_str()]);
        }
        let commit = self.git("origin", &arguments);
        self.git(
            "origin",
            &["update-ref", &format!("refs/heads/{branch}"), &commit],
        );
        commit.parse().unwrap()
    }

    pub fn fetch(&self, mirror: &mut Mirror) -> Heads {
        mirror
            .fetch(&self.origin(), MAIN, Proposals::Include)
            .unwrap()
    }

    /// Gives a directory and everything in it to another user.
    pub fn give(&self, below: &str, uid: u32) {
        give(&self.path(below), uid);
    }
}

fn give(path: &Path, uid: u32) {
    std::os::unix::fs::lchown(path, Some(uid), Some(uid)).unwrap();
    if path.symlink_metadata().unwrap().is_dir() {
        for entry in fs::read_dir(path).unwrap() {
            give(&entry.unwrap().path(), uid);
        }
    }
}

/// A hermetic git command.
pub fn command(git: &str, dir: &Path) -> Command {
    let mut command = Command::new(git);
    command
        .current_dir(dir)
        .env_clear()
        .env("PATH", "/usr/local/bin:/usr/bin:/bin")
        .env("HOME", "/nonexistent")
        .env("GIT_CONFIG_GLOBAL", "/dev/null")
        .env("GIT_CONFIG_NOSYSTEM", "1")
        .env("GIT_AUTHOR_NAME", "a")
        .env("GIT_AUTHOR_EMAIL", "a@example.org")
        .env("GIT_COMMITTER_NAME", "a")
        .env("GIT_COMMITTER_EMAIL", "a@example.org")
        .env("GIT_AUTHOR_DATE", "2026-11-22T01:00:00Z")
        .env("GIT_COMMITTER_DATE", "2026-11-22T01:00:00Z");
    command
}

/// The files of a commit as text.
pub fn texts(files: &muster_git::Files) -> BTreeMap<&str, &str> {
    files
        .iter()
        .map(|(path, file)| (path.as_str(), std::str::from_utf8(&file.bytes).unwrap()))
        .collect()
}

pub fn is_root() -> bool {
    nix::unistd::geteuid().is_root()
}

/// The example program that plays the parts of `muster` that need a process of their own.
pub fn helper() -> PathBuf {
    let exe = std::env::current_exe().unwrap();
    exe.parent()
        .unwrap()
        .parent()
        .unwrap()
        .join("examples/git_helper")
}
