//! `[files]`: files of this host that muster writes for other programs, and one that it reads.

use std::collections::BTreeMap;
use std::path::PathBuf;

use muster_core::accounts::policy::Aggregate;

use super::place::{At, Problem};
use super::section::{Check, Checks, section};
use super::values::path;

section! {
    /// Three files that other programs on this host read. No defaults: what is not named is not written.
    login_map: String, example "/etc/ttyd-user-map";
    dispatch: String, example "/etc/t3-dispatch/dispatch.json";
    admins: String, example "/etc/ttyd-admins";
    /// One that is read: the cluster's map from k8s_user to tier, as JSON. A person whose tier differs there is left as they are
    /// until it is mended; one who is not there yet is not held up. No default: tiers are not compared.
    k8s_users: String, example "/etc/muster/k8s-users.json";
}

/// Files that have rules of their own and are never rendered.
const NOT_OURS: [&str; 8] = [
    "/etc/group",
    "/etc/gshadow",
    "/etc/passwd",
    "/etc/shadow",
    "/etc/subgid",
    "/etc/subuid",
    "/etc/sudoers",
    "/etc/shells",
];

/// Where files are that other programs read or write, seen from the managed tree's root.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FilesSettings {
    /// Where each aggregate file is.
    pub aggregates: BTreeMap<Aggregate, PathBuf>,
    /// Where this host finds the cluster's map from k8s_user to tier (R10–R12).
    pub k8s_users: Option<PathBuf>,
}

impl Check for Given {
    type Value = FilesSettings;

    fn check(&self, checks: &mut Checks<'_>) -> Option<FilesSettings> {
        let texts = Aggregate::ALL.map(|it| {
            let text = match it {
                Aggregate::LoginMap => &self.login_map,
                Aggregate::Dispatch => &self.dispatch,
                Aggregate::Admins => &self.admins,
            };
            (it, text.as_ref())
        });
        let aggregates = aggregate_files(texts, checks.problems);
        checks.policy.aggregates = aggregates.keys().copied().collect();
        let k8s_users = self.k8s_users.as_ref();
        Some(FilesSettings {
            aggregates,
            k8s_users: k8s_users.and_then(|it| path(it, checks.problems)),
        })
    }
}

fn aggregate_files(
    texts: [(Aggregate, Option<&At<String>>); 3],
    problems: &mut Vec<Problem>,
) -> BTreeMap<Aggregate, PathBuf> {
    let mut files: BTreeMap<Aggregate, PathBuf> = BTreeMap::new();
    for (aggregate, text) in texts {
        let Some(text) = text else { continue };
        let Some(path) = path(text, problems) else {
            continue;
        };
        let refused = if NOT_OURS.contains(&text.value.as_str()) {
            let what = format!(
                "{} has rules of its own and is never rendered",
                path.display()
            );
            Problem::new(text.place.clone(), what).help("name a file that nobody else writes")
        } else if files.values().any(|other| *other == path) {
            let what = format!("{} is named for two files", path.display());
            Problem::new(text.place.clone(), what)
        } else {
            files.insert(aggregate, path);
            continue;
        };
        problems.push(refused);
    }
    files
}
