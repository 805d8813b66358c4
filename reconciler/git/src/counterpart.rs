//! References that a repository of ours shares with another repository: listed, fetched, and pushed atomically by
//! compare-and-swap (all of them move, each from the commit where it was last seen, or none does).

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Command;

use gix::hash::{Kind, ObjectId};
use muster_core::commit::CommitId;

use crate::carry;
use crate::fetch_error::FetchError;
use crate::layout::{Layout, RefStorage};
use crate::ledger::{Ledger, LedgerError};
use crate::local;
use crate::objects::{Objects, commit_id, object_id};
use crate::origin::{Origin, RemoteUrl};
use crate::pack;
use crate::refs;
use crate::remote::git_in;
use crate::run::{self, Limits, RunError};
use crate::sync::Durability;

/// Another repository that shares references with ours; ours has the objects.
#[derive(Debug, Clone)]
pub struct Counterpart {
    dir: PathBuf,
    origin: Origin,
    limits: Limits,
}

/// The move of one reference in the other repository; it has the same name in ours.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Move {
    /// Its full name.
    pub name: String,
    /// Where it was seen there; `None` when it was not there.
    pub from: Option<CommitId>,
    /// Where it is to be, a commit of ours.
    pub to: CommitId,
}

/// Why nothing was moved, or why that is not known.
#[derive(Debug, thiserror::Error)]
pub enum PushError {
    /// Something is elsewhere by now; nothing was moved.
    #[error("another writer moved the references first: {}", show(found))]
    Raced {
        /// What is there, of what was to be moved.
        found: BTreeMap<String, Option<CommitId>>,
    },
    /// It did not answer, or refused; nothing was moved.
    #[error("cannot push to {origin}")]
    Refused {
        /// Where.
        origin: String,
        /// What went wrong.
        source: Box<FetchError>,
    },
    /// The connection broke, and nobody answers who could say whether it was before or after.
    #[error("the connection to {origin} broke, and whether anything was moved is not known")]
    Unknown {
        /// Where.
        origin: String,
        /// What went wrong first.
        source: Box<FetchError>,
    },
}

/// Why the other repository cannot be looked into.
#[derive(Debug, thiserror::Error)]
pub enum LookError {
    /// It did not answer.
    #[error("the other repository did not answer")]
    Fetch(#[source] FetchError),
    /// The scratch directory cannot be used.
    #[error("the scratch repository for it cannot be used")]
    Own(#[source] LedgerError),
}

fn show(found: &BTreeMap<String, Option<CommitId>>) -> String {
    let one = |(name, id): (&String, &Option<CommitId>)| match id {
        Some(id) => format!("{name} is at {}", id.short()),
        None => format!("{name} is not there"),
    };
    found.iter().map(one).collect::<Vec<_>>().join(", ")
}

impl Counterpart {
    /// `origin`, as seen from the bare repository in `dir`, which only we write.
    pub fn of(dir: &Path, origin: Origin) -> Counterpart {
        Counterpart {
            dir: dir.to_owned(),
            origin,
            limits: Limits::default(),
        }
    }

    /// Sets what one conversation may use.
    #[must_use]
    pub fn with_limits(mut self, limits: Limits) -> Counterpart {
        self.limits = limits;
        self
    }

    /// Where it is.
    pub fn origin(&self) -> &Origin {
        &self.origin
    }

    /// The commits of these references in the other repository; references that do not exist there are left out.
    ///
    /// # Errors
    /// When it did not answer.
    pub fn ask(&self, names: &[&str]) -> Result<BTreeMap<String, CommitId>, FetchError> {
        let found = match &self.origin {
            Origin::Local(path) => {
                let layout = Layout::of(path).map_err(FetchError::Origin)?;
                let mut found = BTreeMap::new();
                for name in names {
                    match layout.refs {
                        RefStorage::Files if !layout.elsewhere => {
                            let id = refs::read(&layout.common, name, layout.kind)?;
                            found.extend(id.map(|id| ((*name).to_owned(), id)));
                        }
                        RefStorage::Files | RefStorage::Reftable => {
                            found.extend(local::references(&layout, name, self.limits)?.found);
                        }
                    }
                }
                found
            }
            Origin::Remote(url) => {
                let mut command = self.git(url)?;
                command
                    .args(["ls-remote", "--quiet", "--refs", "--end-of-options"])
                    .arg(url.as_str())
                    .args(names);
                let printed =
                    run::run(command, "git ls-remote", b"", self.limits).map_err(self.failed())?;
                printed
                    .split(|byte| *byte == b'\n')
                    .filter_map(|line| std::str::from_utf8(line).ok()?.split_once('\t'))
                    .filter_map(|(hex, name)| {
                        Some((name.to_owned(), ObjectId::from_hex(hex.as_bytes()).ok()?))
                    })
                    .collect()
            }
        };
        Ok(found
            .into_iter()
            // A pattern also matches the end of a longer name.
            .filter(|(name, _)| names.contains(&name.as_str()))
            .map(|(name, id)| (name, commit_id(&id)))
            .collect())
    }

    /// Fetches the references below `below` (such as `refs/muster/bot/`, with the slash) and their objects, removes those
    /// of ours that are gone there, and returns what there is now.
    ///
    /// # Errors
    /// When it did not answer, or something could not be brought here.
    pub fn bring(&self, below: &str) -> Result<BTreeMap<String, CommitId>, FetchError> {
        match &self.origin {
            Origin::Remote(url) => self.fetch(url, &format!("+{below}*:{below}*"))?,
            Origin::Local(path) => {
                let layout = Layout::of(path).map_err(FetchError::Origin)?;
                let there = local::references(&layout, below, self.limits)?.found;
                let here = refs::list(&self.dir, below, layout.kind)?.found;
                let known: Vec<_> = here
                    .values()
                    .filter(|id| there.values().any(|it| it == *id))
                    .copied()
                    .collect();
                self.bring_local(&there.values().collect::<Vec<_>>(), &known)?;
                for name in here.keys().filter(|name| !there.contains_key(*name)) {
                    refs::forget(&self.dir, name).map_err(self.unwritable())?;
                }
                for (name, id) in &there {
                    let before = here.get(name).copied();
                    if before != Some(*id) {
                        refs::replace(&self.dir, name, before, *id, Durability::Synced)?;
                    }
                }
            }
        }
        let here = refs::list(&self.dir, below, Kind::Sha1)?.found;
        Ok(here
            .into_iter()
            .map(|(name, id)| (name, commit_id(&id)))
            .collect())
    }

    /// Fetches from a server, and removes references that are gone there.
    fn fetch(&self, url: &RemoteUrl, refspec: &str) -> Result<(), FetchError> {
        let mut command = self.git(url)?;
        command.args([
            "fetch",
            "--quiet",
            "--no-write-fetch-head",
            "--no-tags",
            "--no-recurse-submodules",
            "--no-auto-maintenance",
            "--prune",
            "--end-of-options",
            url.as_str(),
            refspec,
        ]);
        let packs = self.dir.join("objects/pack");
        let mut used = || pack::unfinished_bytes(&packs);
        run::run_watched(command, "git fetch", b"", self.limits, &mut used)
            .map(drop)
            .map_err(self.failed())
    }

    /// Fetches one reference into the scratch repository `scratch` and opens it. Objects that our repository has are not
    /// fetched again, and nothing is written to our repository.
    ///
    /// # Errors
    /// When it did not answer, or cannot be read.
    pub fn look_into(&self, name: &str, scratch: &Path) -> Result<Ledger, LookError> {
        let made = Ledger::open_or_create(scratch, name).and_then(|_| {
            let mut alternate = self
                .dir
                .join("objects")
                .into_os_string()
                .into_encoded_bytes();
            alternate.push(b'\n');
            std::fs::write(scratch.join("objects/info/alternates"), alternate).map_err(|source| {
                LedgerError::Write {
                    dir: scratch.to_owned(),
                    source,
                }
            })
        });
        made.map_err(LookError::Own)?;
        let there = Counterpart {
            dir: scratch.to_owned(),
            ..self.clone()
        };
        let brought = match &self.origin {
            Origin::Remote(url) => there.fetch(url, &format!("+{name}:{name}")),
            Origin::Local(_) => there.ask(&[name]).and_then(|found| {
                let wanted: Vec<_> = found.values().map(object_id).collect();
                there.bring_local(&wanted.iter().collect::<Vec<_>>(), &[])?;
                for (name, id) in &found {
                    refs::replace(scratch, name, None, object_id(id), Durability::Cache)?;
                }
                Ok(())
            }),
        };
        brought.map_err(LookError::Fetch)?;
        Ledger::open(scratch, name).map_err(LookError::Own)
    }

    /// Carries objects here from a repository on this machine.
    fn bring_local(&self, wanted: &[&ObjectId], known: &[ObjectId]) -> Result<(), FetchError> {
        let Origin::Local(path) = &self.origin else {
            return Ok(());
        };
        let layout = Layout::of(path).map_err(FetchError::Origin)?;
        let objects = self.objects()?;
        let wanted: Vec<_> = wanted
            .iter()
            .copied()
            .filter(|id| !objects.has(id))
            .collect();
        if wanted.is_empty() {
            return Ok(());
        }
        let take = local::owners_git(&layout)?;
        let put = run::git(&self.dir).map_err(self.failed())?;
        self.carry(take, put, &wanted, known)
    }

    /// Moves these references in the other repository, all of them or none. One that has moved already counts as moved.
    ///
    /// # Errors
    /// [`PushError`] says whether anything was moved, so far as that can be known.
    pub fn push(&self, moves: &[Move]) -> Result<(), PushError> {
        let tried = match &self.origin {
            Origin::Remote(url) => self.push_remote(url, moves),
            Origin::Local(path) => self.push_local(path, moves),
        };
        let Err(source) = tried.map_err(Box::new) else {
            return Ok(());
        };
        // The answer may be lost, and git words refusals for people: only a new look tells what happened.
        let names: Vec<_> = moves.iter().map(|it| it.name.as_str()).collect();
        let origin = self.origin.to_string();
        let Ok(there) = self.ask(&names) else {
            return Err(PushError::Unknown { origin, source });
        };
        let at = |it: &Move| there.get(&it.name).cloned();
        if moves.iter().all(|it| at(it).as_ref() == Some(&it.to)) {
            return Ok(());
        }
        if moves
            .iter()
            .all(|it| at(it) == it.from || at(it).as_ref() == Some(&it.to))
        {
            return Err(PushError::Refused { origin, source });
        }
        Err(PushError::Raced {
            found: moves.iter().map(|it| (it.name.clone(), at(it))).collect(),
        })
    }

    fn push_remote(&self, url: &RemoteUrl, moves: &[Move]) -> Result<(), FetchError> {
        let mut command = self.git(url)?;
        command.args([
            "push",
            "--porcelain",
            "--quiet",
            "--atomic",
            "--no-verify",
            "--no-signed",
            "--no-follow-tags",
            "--no-force-if-includes",
            "--recurse-submodules=no",
        ]);
        for Move { name, from, .. } in moves {
            let from = from.as_ref().map_or("", CommitId::as_str);
            command.arg(format!("--force-with-lease={name}:{from}"));
        }
        command
            .args(["--end-of-options", url.as_str()])
            .args(moves.iter().map(|it| format!("{}:{}", it.to, it.name)));
        run::run(command, "git push", b"", self.limits)
            .map(drop)
            .map_err(self.failed())
    }

    /// Into a repository on this machine: as its owner, and without its hooks and configuration.
    fn push_local(&self, path: &Path, moves: &[Move]) -> Result<(), FetchError> {
        let layout = Layout::of(path).map_err(FetchError::Origin)?;
        let ids: Vec<_> = moves.iter().map(|it| object_id(&it.to)).collect();
        let objects = self.objects()?;
        let known: Vec<_> = moves
            .iter()
            .filter_map(|it| it.from.as_ref().map(object_id))
            .filter(|id| objects.has(id))
            .collect();
        let wanted: Vec<_> = ids.iter().filter(|id| !known.contains(id)).collect();
        if !wanted.is_empty() {
            let take = run::git(&self.dir).map_err(self.failed())?;
            let put = local::owners_git(&layout)?;
            self.carry(take, put, &wanted, &known)?;
        }
        let mut transaction = String::from("start\n");
        for Move { name, from, to } in moves {
            let none = "0".repeat(layout.kind.len_in_hex());
            let from = from.as_ref().map_or(none.as_str(), CommitId::as_str);
            transaction.push_str(&format!("update {name} {to} {from}\n"));
        }
        transaction.push_str("prepare\ncommit\n");
        let mut command = local::owners_git(&layout)?;
        command.args(["update-ref", "--no-deref", "--stdin"]);
        run::run(
            command,
            "git update-ref",
            transaction.as_bytes(),
            self.limits,
        )
        .map(drop)
        .map_err(self.failed())
    }

    /// Carries the objects that `wanted` leads to and `known` does not from one repository to another.
    fn carry(
        &self,
        take: Command,
        mut put: Command,
        wanted: &[&ObjectId],
        known: &[ObjectId],
    ) -> Result<(), FetchError> {
        let revisions: String = wanted
            .iter()
            .map(|id| format!("{id}\n"))
            .chain(known.iter().map(|id| format!("^{id}\n")))
            .collect();
        put.args(["-c", "core.fsync=all"]);
        carry::objects(
            take,
            put,
            &revisions,
            &self.dir.join("objects/pack"),
            self.limits,
        )
        .map_err(self.failed())
    }

    fn objects(&self) -> Result<Objects, FetchError> {
        Objects::open_plain(&self.dir.join("objects"), Kind::Sha1).map_err(self.unwritable())
    }

    fn git(&self, url: &RemoteUrl) -> Result<Command, FetchError> {
        git_in(&self.dir, Kind::Sha1, url).map_err(self.failed())
    }

    fn failed(&self) -> impl Fn(RunError) -> FetchError + use<> {
        let origin = self.origin.to_string();
        move |source| FetchError::Git {
            origin: origin.clone(),
            source,
        }
    }

    fn unwritable(&self) -> impl Fn(std::io::Error) -> FetchError + use<> {
        let dir = self.dir.clone();
        move |source| FetchError::Mirror {
            dir: dir.clone(),
            source,
        }
    }
}
