//! The files of a state repository and of what its surfaces are configured by, for the commands about them.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Component, Path, PathBuf};

use clap::builder::ArgPredicate;
use muster_core::diagnostic::visible;
use muster_core::repo::ROSTER;
use muster_core::rooms;
use muster_core::services::attributions::{Attributions, sha256};
use muster_core::services::evaluate::{Freshness, Source, Sources};
use muster_core::services::records::Records;
use muster_core::services::secrets::scan;
use muster_core::world::Version;
use muster_git::at;

use crate::answers::FOLDER;
use crate::commands::{CommandError, check};
use crate::cycle::chain;
use crate::outside::bytes_of;

/// Which files.
#[derive(Clone, Debug, clap::Args)]
pub(super) struct Files {
    /// A directory that holds a state repository's files.
    #[arg(default_value = ".", conflicts_with_all = ["repo", "rev"])]
    path: PathBuf,
    /// A git repository, bare or with a work tree: what is committed there is looked at.
    #[arg(
        long,
        value_name = "PATH",
        default_value_if("rev", ArgPredicate::IsPresent, Some("."))
    )]
    repo: Option<PathBuf>,
    /// Which commit or tree: all digits of its id, a branch, HEAD, or a full reference name.
    #[arg(
        long,
        value_name = "REVISION",
        default_value_if("repo", ArgPredicate::IsPresent, Some("HEAD"))
    )]
    rev: Option<String>,
    /// A commit before it, in the same repository: whoever was in its roster is no mistake, every commit since then is looked through
    /// for secrets, and `status` tells lanes before and after.
    #[arg(long, value_name = "REVISION")]
    before: Option<String>,
    /// The record of who stands behind answers and reviews, as a bot keeps it.
    #[arg(long, value_name = "FILE")]
    attributions: Option<PathBuf>,
    /// How many days old the inventory may be.
    #[arg(long, value_name = "DAYS", default_value_t = Freshness::default().days)]
    inventory_days: i64,
}

/// The files of a state repository.
pub(super) type Read = BTreeMap<String, Vec<u8>>;

impl Files {
    /// The files to look at.
    pub(super) fn read(&self) -> Result<Read, CommandError> {
        match (&self.repo, &self.rev) {
            (Some(repo), Some(rev)) => committed(repo, rev),
            _ => check::files_below(&self.path),
        }
    }

    /// Where they are looked for, in words.
    pub(super) fn place(&self) -> String {
        match (&self.repo, &self.rev) {
            (Some(repo), Some(rev)) => format!("{} of {}", visible(rev), shown_path(repo)),
            _ => shown_path(&self.path),
        }
    }

    /// The files of the commit before.
    pub(super) fn read_before(&self) -> Result<Option<Read>, CommandError> {
        match (&self.repo, &self.before) {
            (Some(repo), Some(before)) => committed(repo, before).map(Some),
            (None, Some(_)) => Err(CommandError::Usage(
                "a directory has no commit before it: say --repo or --rev beside --before".into(),
            )),
            (_, None) => Ok(None),
        }
    }

    /// The same place, as it was at the commit before.
    pub(super) fn of_before(&self) -> Self {
        Self {
            rev: self.before.clone(),
            ..self.clone()
        }
    }

    /// What stood below `services/` in each commit since the one before (LB8); `None` where there are too many.
    pub(super) fn versions(&self) -> Result<Option<Vec<Version>>, CommandError> {
        match (&self.repo, &self.before, &self.rev) {
            (Some(repo), Some(before), Some(rev)) => {
                at::versions_at(repo, before, rev, FOLDER).map_err(CommandError::Revision)
            }
            _ => Ok(Some(Vec::new())),
        }
    }

    /// Who of these people was in the roster once, by the commits that led here (W4). A directory that is no repository has none.
    pub(super) fn former(&self, mut wanted: BTreeSet<String>) -> BTreeSet<String> {
        let mut former = BTreeSet::new();
        let mut see = |bytes: &[u8]| {
            let files = Read::from([(ROSTER.to_owned(), bytes.to_vec())]);
            if let (Some(repo), _) = rooms::read_as_far(&files, &[]) {
                let roster = &repo.documents.roster;
                let (found, rest) = std::mem::take(&mut wanted)
                    .into_iter()
                    .partition(|it: &String| roster.get(it).is_some());
                let found: BTreeSet<String> = found;
                former.extend(found);
                wanted = rest;
            }
            wanted.is_empty()
        };
        let (repo, rev) = match (&self.repo, &self.rev) {
            (Some(repo), Some(rev)) => (repo, rev.as_str()),
            _ => (&self.path, "HEAD"),
        };
        // Whoever cannot be found there is told as a name that never was.
        let _ = at::earlier(repo, rev, ROSTER, &mut see);
        former
    }

    /// How old the inventory may be.
    pub(super) fn freshness(&self) -> Freshness {
        Freshness {
            days: self.inventory_days,
        }
    }

    /// Who stands behind them.
    pub(super) fn attributions(&self) -> Result<Attributions, CommandError> {
        let Some(path) = &self.attributions else {
            return Ok(Attributions::default());
        };
        let bytes = fs::read(path).map_err(|source| CommandError::Input {
            path: path.clone(),
            source,
        })?;
        Attributions::parse(&bytes).map_err(|error| {
            // What serde quotes may be what nobody is to see (LB5).
            let why = chain(&error);
            let why = match scan(&why).is_empty() {
                true => visible(&why),
                false => error.to_string(),
            };
            CommandError::Refused(format!(
                "{} cannot be used: {why}; deploy/README.md, \"Owner responses\", has the format",
                shown_path(path)
            ))
        })
    }

    /// What the surfaces are configured by. A path that leads out of the repository, or to no plain file, is not followed.
    pub(super) fn sources(&self, records: &Records<'_>) -> Result<Sources, CommandError> {
        let is_plain = |path: &String| {
            let mut parts = Path::new(path).components();
            !path.is_empty() && parts.all(|it| matches!(it, Component::Normal(_)))
        };
        let surfaces = records.surfaces.values();
        let paths: BTreeSet<String> = surfaces
            .map(|it| it.source.clone())
            .filter(is_plain)
            .collect();
        let found: BTreeMap<String, Vec<u8>> = match (&self.repo, &self.rev) {
            (Some(repo), Some(rev)) => {
                at::blobs_at(repo, rev, &paths).map_err(CommandError::Revision)?
            }
            _ => paths
                .into_iter()
                .filter_map(|path| {
                    let bytes = plain_file(&self.path, Path::new(&path))?;
                    Some((path, bytes))
                })
                .collect(),
        };
        let digests = found.into_iter();
        let sources = digests
            .map(|(path, it)| (path, Source::Sha256(sha256(&it))))
            .collect();
        Ok(sources)
    }
}

fn shown_path(path: &Path) -> String {
    visible(&path.to_string_lossy())
}

fn committed(repo: &Path, rev: &str) -> Result<Read, CommandError> {
    at::at(repo, rev)
        .map(bytes_of)
        .map_err(CommandError::Revision)
}

/// A file below a directory, with no link on the way.
fn plain_file(dir: &Path, path: &Path) -> Option<Vec<u8>> {
    let mut at = dir.to_owned();
    for part in path.components() {
        at.push(part);
        if at.symlink_metadata().ok()?.is_symlink() {
            return None;
        }
    }
    at.is_file().then(|| fs::read(&at).ok()).flatten()
}
