//! What was read on a hypervisor, just now.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use super::action::{Found, Marker, Volumes};
use super::desired::Run;
use crate::reading::Reading;
use crate::time::Time;

/// What a hypervisor is asked: always for the list of all its guests, which is one request (or three, with nodes and HA), for the
/// configurations of some, and for what became of tasks.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Question {
    /// Whether to read the configuration of every guest: where anything but power is managed, whoever plans from the inventory needs all
    /// of them (H15).
    pub everybody: bool,
    /// Whose configurations to read in any case; of others only what the list says is looked at.
    pub configs: BTreeSet<String>,
    /// Tasks to ask for once, without waiting (H12, G25), and the guest that each is about.
    pub tasks: BTreeMap<String, String>,
    /// Backups that a step relies on, and where the guest of each stands.
    pub backups: BTreeMap<String, String>,
    /// Where guests stand that are set aside: somebody may have started one, and stopped it again (H7).
    pub starts: BTreeSet<String>,
    /// Guests that the file or the journal knows: where the list lacks one of them, it is looked at whether it would be shown (GB9).
    pub expected: BTreeSet<String>,
}

/// Why a configuration is unknown that the question did not ask for ([`Question::asks_for`]).
pub const NOT_ASKED: &str = "not asked for";

impl Question {
    /// Whether the configuration of a guest is asked for.
    pub fn asks_for(&self, guest: &str) -> bool {
        self.everybody || self.configs.contains(guest)
    }

    /// Asks what `other` asks, too.
    pub fn widen(&mut self, other: Self) {
        let Self {
            everybody,
            configs,
            tasks,
            backups,
            starts,
            expected,
        } = other;
        self.expected.extend(expected);
        self.everybody |= everybody;
        self.configs.extend(configs);
        self.tasks.extend(tasks);
        self.backups.extend(backups);
        self.starts.extend(starts);
    }

    /// Asks about those of `names` alone, and about the tasks of others no more.
    pub fn narrow(&mut self, names: &BTreeSet<String>) {
        // One that is set aside has another name there.
        let goes_by_another = |it: &String| it.starts_with(super::plan::ASIDE);
        let everybody = std::mem::take(&mut self.everybody);
        self.configs
            .retain(|it| names.contains(it) || goes_by_another(it));
        self.expected
            .retain(|it| names.contains(it) || goes_by_another(it));
        self.starts
            .retain(|it| names.contains(it) || goes_by_another(it));
        if everybody {
            self.configs.extend(names.iter().cloned());
        }
        self.tasks.retain(|_, guest| names.contains(guest));
        self.backups
            .retain(|_, guest| names.contains(guest) || goes_by_another(guest));
    }
}

/// A whole hypervisor.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Observed {
    /// Its guests, by vmid (PVE, all nodes of a cluster) or name (Incus). Never concluded from a list that may be old: what is not in
    /// it, while every node answers, is not there.
    pub guests: Reading<BTreeMap<String, Sight>>,
    /// The nodes that do not answer: what stands on them is not known, and a guest that is nowhere else may be there (H2, GB4).
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub down: BTreeMap<String, Down>,
    /// What became of the tasks that were asked for.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub tasks: BTreeMap<String, TaskState>,
    /// What is found of the backups that were asked for; `None` is one that is not there. A credential that may not see a guest's backups
    /// knows of none.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub backups: BTreeMap<String, Reading<Option<Stored>>>,
    /// When guests that are set aside were last started, or given other data, by the hypervisor's clock; `None` where it knows of no such
    /// moment. Unknown where it would not show what others did.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub starts: BTreeMap<String, Reading<Option<Time>>>,
}

/// A backup as it is found.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Stored {
    /// How large it is, in bytes.
    pub bytes: u64,
    /// What else tells it from another one of that name ([`super::mark::Mark::BackedUp`]).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub seal: Option<String>,
}

/// Since when something does not answer, and why.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Down {
    /// Since when; the same as long as it does not answer.
    pub since: Time,
    /// Why.
    pub why: String,
}

/// What is seen of one guest.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum Sight {
    /// It was read.
    Seen(Box<Guest>),
    /// It is there, and nothing else is known of it: no step for it (H2).
    Unknown {
        /// The node that it was on last.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        node: Option<String>,
        /// Since when, and why.
        down: Down,
    },
}

/// One guest.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Guest {
    /// What it is.
    pub kind: Form,
    /// The node that it is on, where there are several. A guest on another node is the same guest (GB3).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub node: Option<String>,
    /// Whether it runs; `None` where the hypervisor has another word for it (G1). Trusted even where the configuration cannot be
    /// read (G4).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub run: Option<Run>,
    /// The marker of ours that it bears, if it bears one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub made: Option<Marker>,
    /// What it was locked for (`backup`, `migrate`, `create`…), while it is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub lock: Option<String>,
    /// What the high availability manager makes of it, if it looks after it (GB2).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ha: Option<Ha>,
    /// Whether it is a template, which can neither run nor be changed.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub template: bool,
    /// The pool (PVE) or project (Incus) that it is in.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pool: Option<String>,
    /// A task of this guest that runs right now, whoever began it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub busy: Option<String>,
    /// Its configuration, as far as it was asked for and could be read (G4): the values in force, not those that wait for a reboot.
    pub config: Reading<Config>,
}

/// What a guest is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Form {
    /// A container.
    Container,
    /// A virtual machine.
    Machine,
}

/// What the high availability manager makes of a guest.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Ha {
    /// Its word for how things stand: `started`, `migrate`, `fence`…
    pub state: String,
    /// Whether it was asked to have the guest run.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub asked: Option<Run>,
}

/// A guest's configuration.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// What the hypervisor has as the state of its file; every write changes it, so it says nothing of who the guest is. Kept out of
    /// ledgers.
    #[serde(skip)]
    pub digest: Option<String>,
    /// What the hypervisor calls its place in time, which is another one once the guest was given the data of a snapshot:
    /// `volatile.uuid.generation` of Incus. Kept out of ledgers.
    #[serde(skip)]
    pub generation: Option<String>,
    /// What it is called.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// Its cores; `None` is all of the hypervisor's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cores: Option<u32>,
    /// Its memory, in MiB; `None` is all of the hypervisor's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub memory: Option<u64>,
    /// Its description, as it was read; compared by [`super::normal::description`].
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub description: String,
    /// Its tags, muster's own marks among them.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub tags: BTreeSet<String>,
    /// Whether it starts with the hypervisor.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub onboot: bool,
    /// Whether it is protected from being deleted.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub protection: bool,
    /// Whether root in it is root on the hypervisor, it may nest, or has devices or mounts of it.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub privileged: bool,
    /// Its volumes.
    #[serde(default)]
    pub volumes: Volumes,
    /// Those of them that no backup of it holds, each with the key of the configuration that names it (GB8).
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub unsaved: BTreeMap<String, String>,
    /// What tells it from another one under its number, if muster did not make it (H8).
    #[serde(default)]
    pub identity: Found,
    /// What waits for a reboot, by the hypervisor's key (GB6).
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub pending: BTreeMap<String, Pending>,
}

/// A value that only a reboot puts in force. Keys that muster manages are `cores` and `memory` (in MiB), whatever the hypervisor
/// calls them.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Pending {
    /// The value in force; `None` without one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub now: Option<String>,
    /// The value that waits; `None` where the key will be gone.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub then: Option<String>,
}

/// What became of a task (G25, H12).
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum TaskState {
    /// It runs.
    Running,
    /// It ended well; warnings count as that.
    Ended,
    /// It ended with an error.
    Failed(String),
    /// Nobody knows of it any more, or how it ended: the guest's state alone decides.
    Lost,
}

impl Observed {
    /// A hypervisor on which nothing stands.
    pub fn empty() -> Self {
        Self::of(BTreeMap::new())
    }

    /// One of which every node answers.
    pub fn of(guests: BTreeMap<String, Sight>) -> Self {
        Self {
            guests: Reading::Known(guests),
            down: BTreeMap::new(),
            tasks: BTreeMap::new(),
            backups: BTreeMap::new(),
            starts: BTreeMap::new(),
        }
    }

    /// One that could not be read.
    pub fn unread(why: String) -> Self {
        Self {
            guests: Reading::Unknown(why),
            down: BTreeMap::new(),
            tasks: BTreeMap::new(),
            backups: BTreeMap::new(),
            starts: BTreeMap::new(),
        }
    }

    /// Takes in a later look at it: of guests whose configurations were not asked for again, those of before stay.
    pub(crate) fn renew(&mut self, asked: &Question, mut newer: Self) {
        if let (Reading::Known(before), Reading::Known(now)) = (&mut self.guests, &mut newer.guests)
        {
            for (name, sight) in now.iter_mut().filter(|(name, _)| !asked.asks_for(name)) {
                if let (Sight::Seen(now), Some(Sight::Seen(before))) = (sight, before.remove(name))
                    && now.made == before.made
                {
                    now.config = before.config;
                }
            }
            // Whom the list leaves out because it may not be seen is not gone by another look that did not ask about that.
            for (name, sight) in std::mem::take(before) {
                if matches!(sight, Sight::Unknown { .. }) && !asked.expected.contains(&name) {
                    now.entry(name).or_insert(sight);
                }
            }
        }
        for (backup, found) in std::mem::take(&mut self.backups) {
            newer.backups.entry(backup).or_insert(found);
        }
        for (guest, started) in std::mem::take(&mut self.starts) {
            newer.starts.entry(guest).or_insert(started);
        }
        *self = newer;
    }

    /// A guest that was read.
    pub fn guest(&self, name: &str) -> Option<&Guest> {
        match self.guests.known()?.get(name)? {
            Sight::Seen(guest) => Some(guest),
            Sight::Unknown { .. } => None,
        }
    }
}

impl Guest {
    /// A guest of which no more is known than that it is there.
    pub fn new(kind: Form, run: Option<Run>, config: Reading<Config>) -> Self {
        Self {
            kind,
            node: None,
            run,
            made: None,
            lock: None,
            ha: None,
            template: false,
            pool: None,
            busy: None,
            config,
        }
    }
}
