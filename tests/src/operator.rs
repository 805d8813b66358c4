//! Operators: people with a key and a clone of their own, who type what the README says.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use serde_json::Value;

use crate::site::{Ran, Site, program};

/// An empty roster.
pub const NOBODY: &str = "users: {}\n";
/// Ann administers, which takes a signature here.
pub const ANN: &str = "\
users:
  ann: {authentik_user: ann.x, k8s_user: ann, tier: admin}
";
/// And so does ben.
pub const ANN_AND_BEN: &str = "\
users:
  ann: {authentik_user: ann.x, k8s_user: ann, tier: admin}
  ben: {authentik_user: ben.x, k8s_user: ben, tier: admin}
";

/// A workstation where nothing privileged is declared benign, and operators beside it, each with a key and a clone.
pub struct Place {
    /// The workstation.
    pub site: Site,
}

impl Place {
    /// Initialised, with nobody on it and no trust root.
    ///
    /// # Panics
    /// When it cannot be made.
    #[expect(
        clippy::new_without_default,
        reason = "a process and a directory are no default"
    )]
    pub fn new() -> Self {
        let site = Self::bare();
        site.init();
        Self { site }
    }

    /// Two of them with one state repository, which lies beside the first: `devvm` and `laptop`.
    ///
    /// # Panics
    /// When they cannot be made.
    pub fn two() -> (Self, Self) {
        let devvm = Self::bare();
        let laptop = devvm.copy();
        let url = |site: &Site| format!("url = \"{}\"", site.path("origin").display());
        laptop.change_settings(&url(&laptop), &url(&devvm));
        laptop.change_settings("name = \"devvm\"", "name = \"laptop\"");
        devvm.init();
        laptop.init();
        (Self { site: devvm }, Self { site: laptop })
    }

    fn bare() -> Site {
        let site = Site::bare("");
        site.change_settings(
            "declared_benign = [\"group.join\", \"admins.add\"]\n",
            "declared_benign = [\"admins.add\"]\n",
        );
        site
    }

    /// A person with a key and a clone of the state repository.
    ///
    /// # Panics
    /// When they cannot be made.
    pub fn operator(&self, name: &str) -> Operator<'_> {
        let home = self.site.path(name);
        fs::create_dir(&home).expect("a home");
        let operator = Operator {
            site: &self.site,
            home,
        };
        let key = operator.key().display().to_string();
        operator.runs(operator.command("ssh-keygen").args([
            "-q",
            "-N",
            "",
            "-C",
            &format!("{name} at home"),
            "-t",
            "ed25519",
            "-f",
            &key,
        ]));
        let origin = self.site.path("origin").display().to_string();
        operator.runs(
            operator
                .command("git")
                .args(["clone", "--quiet", &origin, "clone"]),
        );
        operator
    }

    /// Somebody whom [`Self::operator`] made before.
    pub fn again(&self, name: &str) -> Operator<'_> {
        Operator {
            site: &self.site,
            home: self.site.path(name),
        }
    }

    /// What a command answers to programs.
    ///
    /// # Panics
    /// When it fails, or that is no JSON.
    #[track_caller]
    pub fn json(&self, args: &[&str]) -> Value {
        let ran = self.site.muster(args).ok();
        serde_json::from_str(&ran.out).unwrap_or_else(|error| panic!("{error}: {}", ran.said()))
    }

    /// Every release that is listed.
    ///
    /// # Panics
    /// When they cannot be.
    pub fn releases(&self) -> Vec<Value> {
        let listed = self.json(&["release", "list", "--format", "json"]);
        listed["releases"].as_array().expect("a list").clone()
    }

    /// The one release that stands in this state.
    ///
    /// # Panics
    /// When there is another number of them.
    #[track_caller]
    pub fn the(&self, state: &str) -> Value {
        let all = self.releases();
        let found: Vec<&Value> = all.iter().filter(|it| it["state"] == state).collect();
        assert_eq!(found.len(), 1, "{state}: {all:#?}");
        found[0].clone()
    }

    /// The ids of what waits.
    ///
    /// # Panics
    /// When that cannot be told.
    pub fn held(&self) -> Vec<String> {
        let pending = self.json(&["pending", "--format", "json"]);
        let held = pending["executors"][0]["held"].as_array().expect("steps");
        held.iter()
            .map(|it| it["id"].as_str().expect("an id").to_owned())
            .collect()
    }

    /// Another cycle changes nothing.
    ///
    /// # Panics
    /// When it does.
    #[track_caller]
    pub fn is_still(&self) {
        if let Err(wrong) = self.site.is_still() {
            panic!("{wrong}");
        }
    }
}

/// Somebody with a key, a clone, and a home of their own.
pub struct Operator<'s> {
    site: &'s Site,
    /// Where all of it is.
    pub home: PathBuf,
}

impl Operator<'_> {
    /// The key; the public half is beside it.
    pub fn key(&self) -> PathBuf {
        self.home.join("key")
    }

    /// As `trust init` takes it.
    pub fn spec(&self, name: &str) -> String {
        format!("{name}={}.pub", self.key().display())
    }

    /// The settings of the workstation.
    pub fn config(&self) -> String {
        self.site.path("muster.toml").display().to_string()
    }

    /// The clone of the state repository.
    pub fn clone_dir(&self) -> String {
        self.home.join("clone").display().to_string()
    }

    /// A program in their home, with an environment that holds nothing of ours.
    pub fn command(&self, program: impl AsRef<Path>) -> Command {
        let mut command = Command::new(program.as_ref());
        command
            .current_dir(&self.home)
            .env_clear()
            .env("PATH", std::env::var_os("PATH").unwrap_or_default())
            .env("HOME", &self.home)
            .env("GIT_CONFIG_NOSYSTEM", "1")
            .stdin(Stdio::null());
        for who in ["AUTHOR", "COMMITTER"] {
            command
                .env(format!("GIT_{who}_NAME"), "An Operator")
                .env(format!("GIT_{who}_EMAIL"), "operator@example.org");
        }
        command
    }

    /// What a command writes, which has to succeed.
    ///
    /// # Panics
    /// When it does not.
    #[track_caller]
    pub fn runs(&self, command: &mut Command) -> String {
        Ran::from(command.output().expect("a program")).ok().out
    }

    /// git, in the clone.
    ///
    /// # Panics
    /// When it fails.
    #[track_caller]
    pub fn git(&self, args: &[&str]) -> String {
        let mut git = self.command("git");
        let text = self.runs(git.arg("-C").arg(self.clone_dir()).args(args));
        text.trim().to_owned()
    }

    /// `muster` as this operator types it, in the clone, with what signs.
    ///
    /// # Panics
    /// When it cannot be started.
    pub fn muster(&self, args: &[&str], with: &[&str]) -> Ran {
        let mut muster = self.command(program());
        muster
            .arg("--config")
            .arg(self.site.path("muster.toml"))
            .args(args)
            .args(["--yes", "--repo", &self.clone_dir(), "--key"])
            .arg(self.key())
            .args(with);
        Ran::from(muster.output().expect("muster"))
    }

    /// Proposes all that waits, signs and pushes it, and gives the name of the tag.
    ///
    /// # Panics
    /// When that does not work.
    #[track_caller]
    pub fn releases_all(&self) -> String {
        self.git(&["pull", "--quiet"]);
        let ran = self
            .muster(
                &[
                    "release", "propose", "--all", "--sign", "--reason", "a test",
                ],
                &["--push"],
            )
            .ok();
        signed_as(&ran)
    }
}

/// The name of the tag that was signed.
///
/// # Panics
/// When none was.
#[track_caller]
pub fn signed_as(ran: &Ran) -> String {
    let line = ran.err.lines().find_map(|it| it.strip_prefix("Signed as "));
    let line = line.unwrap_or_else(|| panic!("{}", ran.said()));
    let name = line.split(' ').next().unwrap_or_default();
    name.trim_end_matches('.').to_owned()
}

/// It ended with this code, and said these words.
///
/// # Panics
/// When it did not.
#[track_caller]
pub fn says(ran: &Ran, code: i32, words: &str) {
    assert_eq!(ran.code, Some(code), "{}", ran.said());
    assert!(ran.said().contains(words), "no {words:?}: {}", ran.said());
}
