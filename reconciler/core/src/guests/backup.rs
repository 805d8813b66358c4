//! Backups that muster made of a guest, each bound to the run of the step that made it: whoever ends a guest again backs it up again (H7).

use std::fmt;

use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

use super::facts::GuestFacts;
use super::observed::Stored;
use super::plan::ASIDE;
use crate::bytes::hex;
use crate::id::{RunId, StepId};
use crate::time::Time;

/// How many backups are remembered of a guest.
pub const BACKUP_LIMIT: usize = 16;

/// How a seal begins that says when a backup was made, in seconds.
pub const MADE: &str = "made=";

/// A backup of a guest.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Backup {
    /// What the hypervisor calls it.
    pub backup: String,
    /// How large it is, in bytes.
    pub bytes: u64,
    /// What else tells it from another one of that name, as the hypervisor said when it was made: the moment, or a digest of it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub seal: Option<String>,
    /// When it was made.
    pub at: Time,
    /// By which step.
    pub step: StepId,
    /// In which run of that step; not known of what earlier versions made.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub run: Option<RunId>,
    /// Whether it says nothing of the guest as it is now: its run is at an end, or the guest ran after it was made.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub past: bool,
    /// Whether it was tried, and if so, whether the guest that came of it was started, too.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rehearsed: Option<bool>,
}

/// What became of a backup since it was journaled.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Spoilt {
    /// It is not there any more.
    Gone,
    /// Nothing is in it.
    Empty,
    /// It is shorter than it was.
    Shorter {
        /// How large it was, in bytes.
        was: u64,
        /// How large it is.
        is: u64,
    },
    /// Another one has its name: it is larger, or was made at another time.
    Another,
}

impl fmt::Display for Spoilt {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Gone => f.write_str("is not there any more"),
            Self::Empty => f.write_str("is empty"),
            Self::Shorter { was, is } => {
                write!(f, "has {is} bytes, and had {was} when it was made")
            }
            Self::Another => f.write_str("is another one than the one that was made and tried"),
        }
    }
}

impl Backup {
    /// When its making began, by the hypervisor's clock: what was done in the guest later is not in it. What has no such seal was in the
    /// making at the latest when it was journaled.
    pub fn begun(&self) -> Time {
        let seal = self.seal.as_deref().and_then(|it| it.strip_prefix(MADE));
        seal.and_then(|it| it.parse().ok()).map_or(self.at, Time)
    }

    /// What is wrong with it, by what is found under its name.
    pub fn spoilt(&self, found: Option<&Stored>) -> Option<Spoilt> {
        let Some(Stored { bytes, seal }) = found else {
            return Some(Spoilt::Gone);
        };
        if *bytes == 0 {
            return Some(Spoilt::Empty);
        }
        if *bytes < self.bytes {
            let (was, is) = (self.bytes, *bytes);
            return Some(Spoilt::Shorter { was, is });
        }
        // What earlier versions journaled has no seal: its size is all there is to go by.
        let other = self.seal.is_some() && self.seal != *seal;
        (other || *bytes > self.bytes).then_some(Spoilt::Another)
    }
}

/// The guest that a backup is of, by its name. Of Proxmox VE: `…/vzdump-lxc-101-…` in a storage, `…backup/ct/101/…` in a backup server; of
/// Incus: the file `NAME.LABEL.backup`, whose guest may have been set aside already, which is none.
pub fn owner(backup: &str) -> Option<&str> {
    if backup.starts_with('/') {
        let (name, label) = backup.rsplit('/').next()?.split_once('.')?;
        let ours = label.ends_with(".backup") && !name.is_empty() && !name.starts_with(ASIDE);
        return ours.then_some(name);
    }
    let name = backup.split_once(":backup/")?.1;
    let (kind, rest) = match name.strip_prefix("vzdump-") {
        Some(name) => name.split_once('-')?,
        None => name.split_once('/')?,
    };
    let known = matches!(kind, "lxc" | "qemu" | "openvz" | "ct" | "vm");
    let end = rest.find(|c: char| !c.is_ascii_digit())?;
    (known && end > 0).then(|| &rest[..end])
}

/// What the backup of a run is known by, when the guest was found running `again` times after one was made.
pub fn label(step: StepId, run: Option<&RunId>, again: u32) -> String {
    let run = run.map_or("", RunId::as_str);
    let digest = Sha256::digest(format!("muster-backup/1\0{step}\0{run}\0{again}").as_bytes());
    format!("muster-{}", hex(&digest[..10]))
}

impl GuestFacts {
    /// The backup that this run of a step made of the guest as it is now.
    pub fn backup_of(&self, step: StepId, run: Option<&RunId>) -> Option<&Backup> {
        let of_run = |it: &&Backup| it.step == step && it.run.as_ref() == run && !it.past;
        self.backups.iter().rfind(of_run)
    }

    /// The backup that stays when the guest goes: the last one that was tried.
    pub fn last_tried(&self) -> Option<&Backup> {
        self.backups.iter().rfind(|it| it.rehearsed.is_some())
    }

    /// Takes in a backup; one that its run noted before stays as it is, with whether it was tried.
    pub(super) fn take_backup(&mut self, backup: Backup) {
        let noted = self.backup_of(backup.step, backup.run.as_ref());
        let same = |it: &&Backup| {
            let of = |it: &Backup| (it.backup.clone(), it.bytes, it.seal.clone());
            of(it) == of(&backup)
        };
        if noted.is_some_and(|it| same(&it)) {
            return;
        }
        self.backups.retain(|it| it.backup != backup.backup);
        self.backups.push(backup);
        let over = self.backups.len().saturating_sub(BACKUP_LIMIT);
        self.backups.drain(..over);
    }

    /// The guest ran after what was made of it.
    pub(super) fn ran_again(&mut self) {
        self.again = self.again.saturating_add(1);
        self.backups.iter_mut().for_each(|it| it.past = true);
    }

    /// A release is at its end: what its run left behind is nothing that another one goes on with.
    pub(super) fn run_ended(&mut self, run: &RunId) {
        let of_run = |it: &&mut Backup| it.run.as_ref() == Some(run);
        let mut steps = Vec::new();
        for it in self.backups.iter_mut().filter(of_run) {
            it.past = true;
            steps.push(it.step);
        }
        let ended = self.tasks.iter_mut().filter(|it| it.end.is_some());
        ended
            .filter(|it| steps.contains(&it.step))
            .for_each(|it| it.done = true);
        self.standing.take_if(|it| it.run.as_ref() == Some(run));
    }
}
