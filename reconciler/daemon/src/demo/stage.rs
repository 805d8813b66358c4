//! The stage: an origin with the example state repository, a checkout of it, a host that is a directory, and settings.

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::fs;
use std::io;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _, chown};
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use super::DemoError;

/// The example state repository, as it is delivered.
const EXAMPLE: [(&str, &str); 6] = [
    (
        "roster.yaml",
        include_str!("../../../../state-repo-example/roster.yaml"),
    ),
    (
        "tiers.yaml",
        include_str!("../../../../state-repo-example/tiers.yaml"),
    ),
    (
        "hosts/devvm.yaml",
        include_str!("../../../../state-repo-example/hosts/devvm.yaml"),
    ),
    (
        "guests/lab.yaml",
        include_str!("../../../../state-repo-example/guests/lab.yaml"),
    ),
    (
        "services/requests.json",
        include_str!("../../../../state-repo-example/services/requests.json"),
    ),
    (
        "services/responses/tide-tables.yaml",
        include_str!("../../../../state-repo-example/services/responses/tide-tables.yaml"),
    ),
];

/// What a freshly installed machine has, as far as muster looks: path, mode, text. birk has an account that muster did not
/// make, and is the one who can become root.
const HOST: [(&str, u32, &str); 13] = [
    (
        "etc/passwd",
        0o644,
        "root:x:0:0:root:/root:/bin/bash\nbirk:x:1000:1000:Birk Stone:/home/birk:/bin/bash\n",
    ),
    (
        "etc/shadow",
        0o640,
        "root:*:20000:0:99999:7:::\nbirk:$y$j9T$demo$demo:20000:0:99999:7:::\n",
    ),
    (
        "etc/group",
        0o644,
        "root:x:0:\nsudo:x:27:birk\nbirk:x:1000:\n",
    ),
    ("etc/gshadow", 0o640, "root:*::\nsudo:!::birk\nbirk:!::\n"),
    ("etc/subuid", 0o644, "birk:100000:65536\n"),
    ("etc/subgid", 0o644, "birk:100000:65536\n"),
    (
        "etc/login.defs",
        0o644,
        "UID_MIN 1000\nUID_MAX 60000\nGID_MIN 1000\nGID_MAX 60000\nSUB_UID_MIN 100000\nSUB_UID_MAX 600100000\n\
         SUB_UID_COUNT 65536\nSUB_GID_MIN 100000\nSUB_GID_MAX 600100000\nSUB_GID_COUNT 65536\nHOME_MODE 0700\n",
    ),
    ("etc/shells", 0o644, "/bin/sh\n/bin/bash\n"),
    ("etc/skel/.profile", 0o644, "umask 022\n"),
    ("bin/bash", 0o755, ""),
    ("usr/sbin/nologin", 0o755, ""),
    ("home/birk/notes.txt", 0o600, "not for muster\n"),
    (
        "usr/lib/systemd/system/desk@.service",
        0o644,
        "[Service]\nUser=%i\nExecStart=/usr/bin/desk\n\n\
         [Install]\nWantedBy=multi-user.target\n",
    ),
];

/// Where all of it is, and how programs are run there.
pub(super) struct Stage {
    pub(super) path: PathBuf,
    pub(super) exe: PathBuf,
}

impl Stage {
    /// Makes host, settings and the directories around them; repositories come with [`Stage::make_repositories`].
    pub(super) fn at(path: &Path) -> Result<Self, DemoError> {
        let exe = std::env::current_exe().map_err(|source| DemoError::Program {
            program: "muster".into(),
            source,
        })?;
        let stage = Self {
            path: path.to_owned(),
            exe,
        };
        for (name, mode, text) in HOST {
            stage.put(&format!("root/{name}"), text)?;
            let path = stage.path.join("root").join(name);
            fs::set_permissions(&path, fs::Permissions::from_mode(mode))
                .map_err(failed("make", &path))?;
        }
        let tmp = stage.path.join("tmp");
        fs::create_dir(&tmp).map_err(failed("make", &tmp))?;
        // Root of a namespace with one user cannot give a home to its owner: better said now than by seven failed steps.
        if nix::unistd::geteuid().is_root() {
            chown(&tmp, Some(1001), Some(1001))
                .and_then(|()| chown(&tmp, Some(0), Some(0)))
                .map_err(DemoError::NoOwners)?;
        }
        stage.put("muster.toml", &stage.settings())?;
        Ok(stage)
    }

    fn settings(&self) -> String {
        // A string of JSON is one of TOML as well.
        let at = |name: &str| serde_json::json!(self.path.join(name).to_string_lossy());
        format!(
            "[state]\n\
             url = {}\n\
             dir = {}\n\
             \n\
             [host]\n\
             name = \"devvm\"\n\
             root = {}\n",
            at("origin.git"),
            at("state"),
            at("root"),
        )
    }

    /// The socket of the hypervisor that pretends.
    pub(super) fn socket(&self) -> PathBuf {
        self.path.join("incus.sock")
    }

    /// Settings of the executor that keeps its guests: a process of its own, with a state of its own.
    pub(super) fn put_guests_settings(&self) -> Result<(), DemoError> {
        let at = |path: PathBuf| serde_json::json!(path.to_string_lossy());
        let text = format!(
            "[state]\nurl = {}\n\n[[guests]]\nname = \"lab\"\nkind = \"incus\"\nurl = {}\ndir = {}\n",
            at(self.path.join("origin.git")),
            serde_json::json!(format!("unix:{}", self.socket().display())),
            at(self.path.join("state-guests/lab")),
        );
        self.put("guests.toml", &text)
    }

    /// The example's files go into the checkout.
    pub(super) fn put_example(&self) -> Result<(), DemoError> {
        for (name, text) in EXAMPLE {
            self.put(&format!("checkout/{name}"), text)?;
        }
        Ok(())
    }

    /// Writes one file, with the directories above it.
    pub(super) fn put(&self, name: &str, text: &str) -> Result<(), DemoError> {
        let path = self.path.join(name);
        let above = path.parent().unwrap_or(&self.path);
        fs::create_dir_all(above).map_err(failed("make", above))?;
        fs::write(&path, text).map_err(failed("write", &path))
    }

    /// Leaves a key in the home of `user`, as they would do themselves.
    pub(super) fn leave_key(&self, user: &str, key: &str) -> Result<(), DemoError> {
        let home = self.path.join("root/home").join(user);
        let owner = fs::metadata(&home).map_err(failed("look at", &home))?;
        let name = format!("root/home/{user}/.ssh/authorized_keys");
        self.put(&name, key)?;
        for (path, mode) in [
            (home.join(".ssh"), 0o700),
            (home.join(".ssh/authorized_keys"), 0o600),
        ] {
            fs::set_permissions(&path, fs::Permissions::from_mode(mode))
                .and_then(|()| chown(&path, Some(owner.uid()), Some(owner.gid())))
                .map_err(failed("hand over", &path))?;
        }
        Ok(())
    }

    /// Runs `program` on the stage: nothing of the caller's environment but where programs are, and of git's settings none.
    pub(super) fn run_in(
        &self,
        dir: &str,
        program: &OsStr,
        args: &[impl AsRef<OsStr>],
    ) -> Result<Output, DemoError> {
        let path =
            std::env::var_os("PATH").unwrap_or_else(|| "/usr/local/bin:/usr/bin:/bin".into());
        let mut command = Command::new(program);
        command
            .args(args)
            .current_dir(self.path.join(dir))
            .stdin(std::process::Stdio::null())
            .env_clear()
            .env("PATH", path)
            .env("LC_ALL", "C")
            // Whole lines are picked out of what it says, and folded where they are shown.
            .env("COLUMNS", "1000")
            .env("HOME", self.path.join("tmp"))
            .env("TMPDIR", self.path.join("tmp"))
            .env("GIT_CONFIG_GLOBAL", "/dev/null")
            .env("GIT_CONFIG_NOSYSTEM", "1")
            .env("GIT_TERMINAL_PROMPT", "0");
        for who in ["AUTHOR", "COMMITTER"] {
            command.env(format!("GIT_{who}_NAME"), "Mira Haas");
            command.env(format!("GIT_{who}_EMAIL"), "mira@tidewater.example");
        }
        command.output().map_err(|source| DemoError::Program {
            program: program.to_string_lossy().into_owned(),
            source,
        })
    }

    /// The text of a file; nothing where there is none.
    pub(super) fn read(&self, name: &str) -> Result<Option<String>, DemoError> {
        let path = self.path.join(name);
        match fs::read_to_string(&path) {
            Ok(text) => Ok(Some(text)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(source) => Err(failed("read", &path)(source)),
        }
    }

    /// Whether something has this name; a link counts, wherever it leads.
    pub(super) fn has(&self, name: &str) -> bool {
        fs::symlink_metadata(self.path.join(name)).is_ok()
    }

    /// Everything that can be seen of the host: kind, mode, owner, time of the last change, and content. Two are equal when
    /// nothing was written in between.
    pub(super) fn look(&self) -> Result<BTreeMap<PathBuf, FileState>, DemoError> {
        let mut seen = BTreeMap::new();
        let mut left = vec![self.path.join("root")];
        while let Some(path) = left.pop() {
            let about = fs::symlink_metadata(&path).map_err(failed("look at", &path))?;
            let content = if about.is_dir() {
                let entries = muster_git::folder::entries(&path).map_err(failed("list", &path))?;
                left.extend(entries.into_iter().map(|entry| entry.path));
                Vec::new()
            } else if about.is_file() {
                fs::read(&path).map_err(failed("read", &path))?
            } else {
                Vec::new()
            };
            let times = [about.mtime(), about.mtime_nsec()];
            let (mode, uid, gid) = (about.mode(), about.uid(), about.gid());
            seen.insert(
                path,
                FileState {
                    mode,
                    uid,
                    gid,
                    times,
                    content,
                },
            );
        }
        Ok(seen)
    }
}

/// What can be seen of one file.
#[derive(PartialEq, Eq)]
pub(super) struct FileState {
    mode: u32,
    uid: u32,
    gid: u32,
    times: [i64; 2],
    content: Vec<u8>,
}

fn failed(verb: &'static str, path: &Path) -> impl FnOnce(io::Error) -> DemoError {
    let path = path.to_owned();
    move |source| DemoError::Files { verb, path, source }
}
