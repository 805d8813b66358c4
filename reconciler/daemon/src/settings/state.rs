//! `[state]`: the state repository, how often it and the host are looked at, and where this executor keeps its own.

use std::path::{Path, PathBuf};
use std::time::Duration;

use muster_git::Origin;

use super::executors;
use super::place::{At, Problem};
use super::section::{Check, Checks, section};
use super::values::{duration, origin, path};
use crate::reader;

section! {
    /// Where the state repository is: an absolute path on this host, or a URL of ssh, https or git. No default.
    url: String, example "ssh://git@forge.example/team/state.git";
    /// The protected branch: what is merged there is what holds.
    branch: String, default "main";
    /// How often to look for a new commit. A hook that runs `muster reconcile` saves the wait.
    poll: String, default "30s";
    /// How often to look for what somebody changed by hand on this host.
    drift: String, default "5m";
    /// Where `muster-reader.socket` listens. It reads a state repository that is elsewhere; where this file is not, a child of muster
    /// with muster's own rights and keys does.
    reader: String, default reader::LISTENS;
    /// Identity, journal, ledger, mirror, and what a cut put aside. Root only.
    dir: String, default executors::HOST_DIR;
}

/// The state repository, and what this executor keeps of its own.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StateSettings {
    /// Where the state repository is; the one setting without a default.
    pub url: Option<Origin>,
    /// The full name of the protected branch's ref.
    pub branch: String,
    /// How often to look for a new commit.
    pub poll: Duration,
    /// How often to look at the host although nothing is known to have moved.
    pub drift: Duration,
    /// Where the reader of a remote state repository listens.
    pub reader: PathBuf,
    /// Where this executor keeps identity, lock, journal, ledger and mirror.
    pub dir: PathBuf,
}

impl Given {
    /// The state directory, unchecked.
    pub(super) fn dir(&self) -> &Path {
        Path::new(&self.dir.value)
    }
}

impl Check for Given {
    type Value = StateSettings;

    fn check(&self, checks: &mut Checks<'_>) -> Option<StateSettings> {
        let problems = &mut *checks.problems;
        let url = self.url.as_ref().and_then(|it| origin(it, problems));
        let branch = full_branch(&self.branch, problems);
        let poll = duration(&self.poll, "poll", 1..=3_600, problems);
        let drift = duration(&self.drift, "drift", 10..=86_400, problems);
        let reader = path(&self.reader, problems);
        let dir = path(&self.dir, problems);
        Some(StateSettings {
            url,
            branch: branch?,
            poll: poll?,
            drift: drift?,
            reader: reader?,
            dir: dir?,
        })
    }
}

fn full_branch(branch: &At<String>, problems: &mut Vec<Problem>) -> Option<String> {
    let short = branch
        .value
        .strip_prefix("refs/heads/")
        .unwrap_or(&branch.value);
    let is_part =
        |part: &str| !part.is_empty() && !part.starts_with('.') && !part.ends_with(".lock");
    let good = !short.starts_with(['-', '@'])
        && !short.starts_with("refs/")
        && !short.ends_with('.')
        && !short.contains("..")
        && !short.contains("@{")
        && !short
            .chars()
            .any(|c| c.is_control() || " ~^:?*[\\".contains(c))
        && short.split('/').all(is_part);
    if good {
        return Some(format!("refs/heads/{short}"));
    }
    problems.push(
        Problem::new(
            branch.place.clone(),
            format!("`{}` is no name of a branch", branch.value.escape_debug()),
        )
        .help("such as \"main\"; tags and other refs cannot be followed"),
    );
    None
}
