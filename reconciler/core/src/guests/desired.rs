//! What the state repository asks of a hypervisor: `guests/<name>.yaml` (H3, H4). How it is read stands in [`super::file`].

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use serde::{Deserialize, Serialize};

use super::action::{Marker, joined, yes_or_no};
use crate::diagnostic::{Fault, Faults};
use crate::id::Parameter;
use crate::repo::Documents;
use crate::time::Date;

/// What a hypervisor is asked to keep, by guest.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Desired {
    /// The guests that the file names, by vmid or instance name. Whatever it does not name is left alone (G5).
    pub guests: BTreeMap<String, Wanted>,
    /// Owners of guests who are not to be counted on, and why: to be told.
    pub owners: BTreeMap<String, Owner>,
}

impl Desired {
    /// Finds out who of the owners is not to be counted on, by the roster, as of `today` (H3).
    pub(crate) fn look_up_owners(&mut self, documents: &Documents<'_>, today: Date) {
        let mores = self.guests.values().filter_map(|it| it.more.as_ref());
        let owners: BTreeSet<&String> = mores.filter_map(|it| it.owner.as_ref()).collect();
        let told = owners.into_iter().filter_map(|owner| {
            let why = Owner::standing(documents, owner, Some(today))?;
            Some((owner.clone(), why))
        });
        self.owners = told.collect();
    }

    /// Warns of owners who are not to be counted on, each where the file names them (H3). Which day it is, nobody says here: whose last
    /// day is over is told by the plan.
    pub(crate) fn warn_of_owners(&self, documents: &Documents<'_>, faults: &mut Faults) {
        for (guest, wanted) in &self.guests {
            let Some(more) = &wanted.more else { continue };
            let Some(owner) = &more.owner else { continue };
            let Some(why) = Owner::standing(documents, owner, None) else {
                continue;
            };
            let text = format!("guest {guest}: owner: {owner} {why}");
            let fault = Fault::warning("owner", more.owner_at.0, text);
            faults.add(fault.help("put somebody else into the row"));
        }
    }
}

impl Owner {
    /// Why somebody is not to be counted on, by the roster and, where it is said, as of `today`.
    fn standing(documents: &Documents<'_>, owner: &str, today: Option<Date>) -> Option<Self> {
        let Some(person) = documents.roster.get(owner) else {
            return Some(Self::Unknown);
        };
        let is_over = today.zip(person.expires());
        let is_over = is_over.is_some_and(|(today, last)| last < today);
        (person.disabled() || is_over).then_some(Self::Leaving)
    }
}

impl fmt::Display for Owner {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Unknown => "is nobody in the roster",
            Self::Leaving => "is leaving: disabled in the roster, or past the last day",
        })
    }
}

/// Why somebody is not to be counted on as the owner of a guest (H3).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Owner {
    /// The roster has no such person.
    Unknown,
    /// The roster disables them, or their last day is over.
    Leaving,
}

/// One guest, as it is to be. What is not said is left as it is (G2).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Wanted {
    /// What it is called: given when muster makes it, told afterwards where it differs.
    pub name: Option<Box<str>>,
    /// Whether it is to run; `None` leaves its power alone (G1).
    pub run: Option<Run>,
    /// Whether its end is asked for. Absence from the file never is that.
    pub destroy: bool,
    /// Whether the hypervisor is to start it when it starts itself.
    pub onboot: Option<bool>,
    /// How many cores it is to have.
    pub cores: Option<u32>,
    /// How much memory it is to have, in MiB, rounded up by [`super::normal::mebibytes`] (G7).
    pub memory: Option<u64>,
    /// Where its row begins in the file.
    pub at: Spot,
    /// What few rows say.
    pub more: Option<Box<More>>,
}

/// A place in the file, in bytes from its beginning: for what is told of it. What is asked for is the same wherever it stands.
#[derive(Clone, Copy, Debug, Default)]
pub struct Spot(pub u32);

impl PartialEq for Spot {
    fn eq(&self, _: &Self) -> bool {
        true
    }
}

impl Eq for Spot {}

/// What is said of few guests.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct More {
    /// How large its disks are together, in bytes: told where it differs, never changed (G3).
    pub disk: Option<u64>,
    /// Its description, as [`super::normal::description`] leaves it. An empty one is managed, too (G2).
    pub description: Option<String>,
    /// Its tags: all that it is to have, each once.
    pub tags: Option<Box<[String]>>,
    /// The person who answers for it, by os_user.
    pub owner: Option<String>,
    /// Where the file names that person.
    pub owner_at: Spot,
    /// How to make it, where it is not there (H4).
    pub create: Option<Box<Create>>,
    /// What to put in its place (H4).
    pub overwrite: Option<Overwrite>,
}

/// How to make a guest that is not there (H4). Each of these names something that settings list, and nothing else.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Create {
    /// Out of what.
    pub origin: Origin,
    /// Where its root volume is to lie.
    pub storage: String,
    /// The network of its first card; none without.
    pub network: Option<String>,
    /// Whether root in it is nobody on the hypervisor. What is not so is privileged.
    pub unprivileged: bool,
    /// Whether it may run containers of its own: privileged.
    pub nesting: bool,
    /// Devices and mounts, by the words that settings give them: privileged.
    pub devices: BTreeSet<String>,
}

/// Out of what a guest is made.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum Origin {
    /// A template of containers.
    Template(String),
    /// An image.
    Image(String),
    /// Another guest, or a template that is one.
    Clone(String),
}

impl Origin {
    /// Its kind, as the file calls it.
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Template(_) => "template",
            Self::Image(_) => "image",
            Self::Clone(_) => "clone",
        }
    }

    /// Its name.
    pub fn name(&self) -> &str {
        match self {
            Self::Template(name) | Self::Image(name) | Self::Clone(name) => name,
        }
    }
}

/// What is to be put in the place of a guest.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Overwrite {
    /// The backup, as the hypervisor calls it.
    pub backup: String,
}

/// Whether a guest runs (G1).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Run {
    /// It runs.
    Running,
    /// It stands still.
    Stopped,
}

impl Run {
    /// What a hypervisor's word for it means: any other word than these two says nothing (G1).
    pub fn of_status(status: &str) -> Option<Self> {
        match status {
            "running" => Some(Self::Running),
            "stopped" => Some(Self::Stopped),
            _ => None,
        }
    }
}

/// All that is chosen about a guest that is made: what a step of it carries.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Shape {
    /// Out of what.
    pub origin: Origin,
    /// Where its root volume is to lie.
    pub storage: String,
    /// The network of its first card.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub network: Option<String>,
    /// Whether root in it is nobody on the hypervisor.
    pub unprivileged: bool,
    /// Whether it may run containers of its own.
    pub nesting: bool,
    /// Devices and mounts, by the words that settings give them.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub devices: BTreeSet<String>,
    /// What it is called.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// Its cores.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cores: Option<u32>,
    /// Its memory, in MiB.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub memory: Option<u64>,
}

impl Shape {
    /// Whether it would have power over the hypervisor (H4).
    pub fn is_privileged(&self) -> bool {
        !self.unprivileged || self.nesting || !self.devices.is_empty()
    }

    /// What is signed of it, sorted by name, with the marker among it.
    pub(super) fn parameters(
        &self,
        made: &Marker,
        put: &mut dyn FnMut(&'static str, Parameter<'_>),
    ) {
        let Self {
            origin,
            storage,
            network,
            unprivileged,
            nesting,
            devices,
            name,
            cores,
            memory,
        } = self;
        let clone = |it: &Origin| matches!(it, Origin::Clone(_));
        if clone(origin) {
            put("clone", Parameter::Text(origin.name()));
        }
        if let Some(cores) = cores {
            put("cores", Parameter::Number(u64::from(*cores)));
        }
        if !devices.is_empty() {
            put("devices", Parameter::Text(&joined(devices)));
        }
        if matches!(origin, Origin::Image(_)) {
            put("image", Parameter::Text(origin.name()));
        }
        put("made", Parameter::Text(&made.0));
        if let Some(memory) = memory {
            put("memory", Parameter::Number(*memory));
        }
        if let Some(name) = name {
            put("name", Parameter::Text(name));
        }
        put("nesting", Parameter::Text(yes_or_no(*nesting)));
        if let Some(network) = network {
            put("network", Parameter::Text(network));
        }
        put("storage", Parameter::Text(storage));
        if matches!(origin, Origin::Template(_)) {
            put("template", Parameter::Text(origin.name()));
        }
        put("unprivileged", Parameter::Text(yes_or_no(*unprivileged)));
    }
}
