//! `[host]`: which host this is, and where its tree begins.

use std::path::PathBuf;

use muster_core::executor::Executor;
use muster_core::repo::names::is_host_name;

use super::Ambient;
use super::place::{At, Place, Problem};
use super::section::{Check, Checks, section};
use super::values::path;

/// What a machine is called that is no host to be kept, and has no usable name.
pub(super) const NAMELESS: &str = "localhost";

section! {
    /// The name in hosts/<name>.yaml and in releases; pinned by `muster init`. Default: the host's name without its domain. Where there
    /// is a [[guests]], this machine's accounts are kept only if this name is said.
    name: String, usual "devvm";
    /// The tree that is managed; something else only for an image that is not booted.
    root: String, default "/";
}

/// Where this host's tree is. Its name is in [`muster_core::accounts::policy::Policy::executor`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HostSettings {
    /// The tree that is managed: `/`, or a system that is not booted.
    pub root: PathBuf,
}

impl Given {
    /// Whether a host is named.
    pub(super) fn is_named(&self) -> bool {
        self.name.is_some()
    }
}

impl Check for Given {
    type Value = HostSettings;

    fn check(&self, checks: &mut Checks<'_>) -> Option<HostSettings> {
        let root = path(&self.root, checks.problems);
        // Only an agent is the host it runs on.
        let host = match &self.name {
            Some(name) => given_name(name, checks.problems),
            None if checks.inputs.fleet.has_agent() && checks.inputs.keeps_host() => {
                own_name(checks.ambient).or_else(|| nameless(checks))
            }
            None => own_name(checks.ambient).or_else(|| Some(NAMELESS.to_owned())),
        };
        checks.policy.executor = Executor::Host(host?);
        Some(HostSettings { root: root? })
    }
}

const RULE: &str =
    "lower-case letters, digits and -, in labels of at most 63 characters separated by dots";

fn given_name(name: &At<String>, problems: &mut Vec<Problem>) -> Option<String> {
    if is_host_name(&name.value) {
        return Some(name.value.clone());
    }
    problems.push(
        Problem::new(
            name.place.clone(),
            format!("`{}` is no name for a host", name.value),
        )
        .help(format!("a name has {RULE}")),
    );
    None
}

/// The first label of the machine's own name, where it can be one.
fn own_name(ambient: &Ambient) -> Option<String> {
    let label = ambient.hostname.split('.').next().unwrap_or_default();
    Some(label.to_ascii_lowercase()).filter(|it| is_host_name(it))
}

fn nameless(checks: &mut Checks<'_>) -> Option<String> {
    let place = Place {
        file: "[host] name".into(),
        at: None,
    };
    let what = format!(
        "this machine's host name `{}` cannot be used",
        checks.ambient.hostname
    );
    checks
        .problems
        .push(Problem::new(place, what).help(format!("set it: {RULE}")));
    None
}
