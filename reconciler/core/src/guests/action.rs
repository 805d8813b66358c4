//! One change to one guest, with every choice already made.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

use super::desired::Shape;
use super::verbs::Verb;
use crate::bytes::hex;
use crate::executor::Executor;
use crate::id::{Parameter, Spell, StepId};

/// A change to one guest of this hypervisor. Memory is in MiB everywhere (G7), sizes of volumes are in bytes.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum Action {
    /// Writes down which guest it is that somebody else made, before something is done to it that cannot be undone (H8).
    RecordGuest {
        /// The guest, by its vmid or its name there.
        guest: String,
        /// What tells it from another one under the same number.
        identity: Found,
    },
    /// Starts a guest that stands still.
    StartGuest {
        /// The guest.
        guest: String,
    },
    /// Asks a guest to shut down, and waits; never kills it (H5).
    ShutdownGuest {
        /// The guest.
        guest: String,
    },
    /// Ends a guest that was asked to shut down and did not; only where the settings say `force_stop` (H5).
    StopGuest {
        /// The guest.
        guest: String,
    },
    /// Gives a guest another number of cores.
    SetGuestCores {
        /// The guest.
        guest: String,
        /// What it has; `None` where the hypervisor sets no bound.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        from: Option<u32>,
        /// What it is to have.
        to: u32,
    },
    /// Gives a guest another amount of memory.
    SetGuestMemory {
        /// The guest.
        guest: String,
        /// What it has, in MiB; `None` where the hypervisor sets no bound.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        from: Option<u64>,
        /// What it is to have, in MiB.
        to: u64,
    },
    /// Writes a guest's description; an empty one takes it away (with `delete`, not with an empty value).
    SetGuestDescription {
        /// The guest.
        guest: String,
        /// The text, as [`super::normal::description`] leaves it.
        to: String,
    },
    /// Writes a guest's tags.
    SetGuestTags {
        /// The guest.
        guest: String,
        /// What it has.
        from: BTreeSet<String>,
        /// What it is to have, muster's own marks among them.
        to: BTreeSet<String>,
    },
    /// Says whether a guest starts with the hypervisor.
    SetGuestOnboot {
        /// The guest.
        guest: String,
        /// Whether it is to.
        to: bool,
    },
    /// Makes a guest that is not there. It stands still afterwards.
    CreateGuest {
        /// The guest.
        guest: String,
        /// What is to be written on it in the call that makes it, so that it is known again.
        made: Marker,
        /// Out of what, and how.
        shape: Box<Shape>,
    },
    /// Ends a guest that this executor made and did not finish, or took for a rehearsal: no data is lost by it (H6).
    DiscardGuest {
        /// The guest.
        guest: String,
        /// What is written on it; one on which it is not is never discarded.
        made: Marker,
    },
    /// Shuts a guest down, backs it up, tries the backup, and sets the guest aside for a while (H7). Nothing of it is deleted.
    DestroyGuest {
        /// The guest.
        guest: String,
        /// What will go in the end. The act runs only while the list is the same (GB8).
        volumes: Volumes,
        /// What the guest is called while it is set aside. Where guests go by their names, it is found under it then.
        aside: String,
    },
    /// Backs a guest up, and puts another backup in its place.
    OverwriteGuest {
        /// The guest.
        guest: String,
        /// The backup, as the hypervisor calls it.
        backup: String,
        /// What is to be written on what comes of it.
        made: Marker,
        /// What is overwritten. The act runs only while the list is the same (GB8).
        volumes: Volumes,
    },
    /// Gives back a guest that was set aside, as it was.
    RestoreGuest {
        /// The guest.
        guest: String,
        /// Where it stands now: the name that it was given, or its vmid.
        found: String,
        /// How it was before.
        standing: Standing,
        /// Whether it is root on the hypervisor.
        privileged: bool,
    },
    /// Deletes a guest that was set aside, once its time is over (H7).
    PurgeGuest {
        /// The guest.
        guest: String,
        /// Where it stands now.
        found: String,
        /// What goes with it. The act runs only while the list is the same (GB8).
        volumes: Volumes,
        /// The backup that stays.
        backup: String,
    },
    /// Writes down that somebody used a guest that is set aside: what shows it is forgotten within days, and its end is to wait (H7).
    NoteGuestUse {
        /// The guest.
        guest: String,
        /// What showed it, in words.
        how: String,
    },
}

/// What is written on a guest that muster makes, and kept with it: a tag (PVE) or a key of its configuration (Incus).
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Marker(pub String);

impl Marker {
    /// How every marker begins, and no tag of the state repository may.
    pub const PREFIX: &str = "muster-";

    /// What the creation number `times` of a guest is marked with: the same for the same creation, so that a second try knows what
    /// a first one left.
    pub fn of_creation(executor: &Executor, guest: &str, times: u32) -> Self {
        Self::hashed(&format!("create\0{executor}\0{guest}\0{times}"))
    }

    /// What a guest is marked with that is only there for the trial of a backup, which is known by `label`.
    pub fn of_rehearsal(label: &str) -> Self {
        Self::hashed(&format!("rehearse\0{label}"))
    }

    fn hashed(text: &str) -> Self {
        let digest = Sha256::digest(format!("muster-guest/1\0{text}").as_bytes());
        Self(format!("{}{}", Self::PREFIX, hex(&digest[..8])))
    }
}

impl fmt::Display for Marker {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// What tells a guest that somebody else made from a later one under its number: each alone can come again, so they count together
/// (H8). A digest of its configuration is none of them: every benign write changes it.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Found {
    /// The hypervisor's own id of it, where it gives one: `volatile.uuid` of Incus, `vmgenid` of a virtual machine of PVE.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub uuid: Option<String>,
    /// Its root volume.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub root: Option<String>,
    /// The address of its first network card.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub nic: Option<String>,
}

/// A volume of a guest.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Volume {
    /// How large it is, in bytes, where the hypervisor says so.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub size: Option<u64>,
    /// Where it lies.
    pub storage: String,
}

/// The volumes of a guest, by the ids that the hypervisor gives them.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Volumes(pub BTreeMap<String, Volume>);

/// As it is signed: `id@storage:bytes` of each, with `+` between them. No two lists are written alike.
impl fmt::Display for Volumes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let word = |text: &str| {
            text.replace('%', "%25")
                .replace('+', "%2B")
                .replace('@', "%40")
        };
        for (index, (id, Volume { size, storage })) in self.0.iter().enumerate() {
            let between = if index == 0 { "" } else { "+" };
            write!(f, "{between}{}@{}", word(id), word(storage))?;
            if let Some(bytes) = size {
                write!(f, ":{bytes}")?;
            }
        }
        Ok(())
    }
}

/// How a guest stood before it was set aside.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Standing {
    /// What it was called.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// Whether it started with the hypervisor.
    pub onboot: bool,
    /// Whether it was protected from being deleted.
    pub protection: bool,
}

/// Which guest a step is about (DESIGN.md, "Steps"; H8).
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum Incarnation {
    /// One that muster made: it bears that marker, and the journal says so.
    Guest {
        /// The marker.
        made: Marker,
        /// How often it was set aside and given back.
        #[serde(default, skip_serializing_if = "is_never")]
        restored: u32,
    },
    /// One that somebody else made.
    FoundGuest {
        /// The entry of the ledger that first saw it, or the one that would.
        entry: StepId,
        /// What it was seen to be, checked again at the moment of acting.
        identity: Found,
        /// How often it was set aside and given back.
        #[serde(default, skip_serializing_if = "is_never")]
        restored: u32,
    },
    /// None: there is no such guest, or it is not said which.
    NoGuest {
        /// How many under that name muster made before.
        times: u32,
    },
}

fn is_never(times: &u32) -> bool {
    *times == 0
}

impl Incarnation {
    /// What all steps about one guest have in common, those that made it or wrote down which it is by the step `id` apart from others.
    pub(crate) fn counted(&self, id: StepId) -> String {
        match self {
            Self::Guest { made, .. } => made.to_string(),
            Self::FoundGuest { entry, .. } => entry.to_string(),
            Self::NoGuest { .. } => id.to_string(),
        }
    }
}

impl fmt::Display for Incarnation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let restored = match self {
            Self::Guest { made, restored } => {
                write!(f, "guest made={made}")?;
                *restored
            }
            Self::FoundGuest {
                entry,
                identity,
                restored,
            } => {
                write!(f, "guest entry={entry}")?;
                let Found { uuid, root, nic } = identity;
                for (name, value) in [("uuid", uuid), ("root", root), ("nic", nic)] {
                    if let Some(value) = value {
                        write!(f, " {name}={value}")?;
                    }
                }
                *restored
            }
            Self::NoGuest { times } => return write!(f, "guest none={times}"),
        };
        match restored {
            0 => Ok(()),
            times => write!(f, " restored={times}"),
        }
    }
}

impl Incarnation {
    /// The tags of incarnations in journals and ledgers.
    pub const TAGS: &[&str] = &["guest", "found_guest", "no_guest"];
}

impl Action {
    /// The tags of actions in journals and ledgers; each tag belongs to one room.
    pub const TAGS: &[&str] = &[
        "record_guest",
        "start_guest",
        "shutdown_guest",
        "stop_guest",
        "set_guest_cores",
        "set_guest_memory",
        "set_guest_description",
        "set_guest_tags",
        "set_guest_onboot",
        "create_guest",
        "discard_guest",
        "destroy_guest",
        "overwrite_guest",
        "restore_guest",
        "purge_guest",
        "note_guest_use",
    ];

    /// The verb.
    pub fn verb(&self) -> Verb {
        match self {
            Self::RecordGuest { .. } => Verb::Record,
            Self::StartGuest { .. } => Verb::Start,
            Self::ShutdownGuest { .. } => Verb::Shutdown,
            Self::StopGuest { .. } => Verb::Stop,
            Self::SetGuestCores { .. } => Verb::Cores,
            Self::SetGuestMemory { .. } => Verb::Memory,
            Self::SetGuestDescription { .. } => Verb::Description,
            Self::SetGuestTags { .. } => Verb::Tags,
            Self::SetGuestOnboot { .. } => Verb::Onboot,
            Self::CreateGuest { .. } => Verb::Create,
            Self::DiscardGuest { .. } => Verb::Discard,
            Self::DestroyGuest { .. } => Verb::Destroy,
            Self::OverwriteGuest { .. } => Verb::Overwrite,
            Self::RestoreGuest { .. } => Verb::Restore,
            Self::PurgeGuest { .. } => Verb::Purge,
            Self::NoteGuestUse { .. } => Verb::NoteUse,
        }
    }

    /// The guest concerned: the resource of the step.
    pub fn guest(&self) -> &str {
        match self {
            Self::RecordGuest { guest, .. }
            | Self::StartGuest { guest }
            | Self::ShutdownGuest { guest }
            | Self::StopGuest { guest }
            | Self::SetGuestCores { guest, .. }
            | Self::SetGuestMemory { guest, .. }
            | Self::SetGuestDescription { guest, .. }
            | Self::SetGuestTags { guest, .. }
            | Self::SetGuestOnboot { guest, .. }
            | Self::CreateGuest { guest, .. }
            | Self::DiscardGuest { guest, .. }
            | Self::DestroyGuest { guest, .. }
            | Self::OverwriteGuest { guest, .. }
            | Self::RestoreGuest { guest, .. }
            | Self::PurgeGuest { guest, .. }
            | Self::NoteGuestUse { guest, .. } => guest,
        }
    }
}

impl Action {
    /// The volumes whose data goes with it: at once, or in the end.
    pub fn lost(&self) -> Option<&Volumes> {
        match self {
            Self::DestroyGuest { volumes, .. }
            | Self::OverwriteGuest { volumes, .. }
            | Self::PurgeGuest { volumes, .. } => Some(volumes),
            Self::RecordGuest { .. }
            | Self::StartGuest { .. }
            | Self::ShutdownGuest { .. }
            | Self::StopGuest { .. }
            | Self::SetGuestCores { .. }
            | Self::SetGuestMemory { .. }
            | Self::SetGuestDescription { .. }
            | Self::SetGuestTags { .. }
            | Self::SetGuestOnboot { .. }
            | Self::CreateGuest { .. }
            | Self::DiscardGuest { .. }
            | Self::RestoreGuest { .. }
            | Self::NoteGuestUse { .. } => None,
        }
    }
}

/// Whether a guest goes by a number there (PVE), and not by its name (Incus).
pub fn is_vmid(guest: &str) -> bool {
    guest.starts_with(|c: char| c.is_ascii_digit())
}

/// Under which word a guest is found once it is set aside: its vmid, or the name that it is given.
pub fn place_aside<'a>(guest: &'a str, aside: &'a str) -> &'a str {
    if is_vmid(guest) { guest } else { aside }
}

impl Spell for Action {
    fn word(&self) -> &'static str {
        self.verb().word()
    }

    fn resource(&self) -> &str {
        self.guest()
    }

    fn parameters(&self, put: &mut dyn FnMut(&'static str, Parameter<'_>)) {
        match self {
            Self::RecordGuest { guest: _, identity } => put_found(identity, put),
            Self::StartGuest { guest: _ }
            | Self::ShutdownGuest { guest: _ }
            | Self::StopGuest { guest: _ } => {}
            Self::SetGuestCores { guest: _, from, to } => {
                put_change(from.map(u64::from), u64::from(*to), put);
            }
            Self::SetGuestMemory { guest: _, from, to } => put_change(*from, *to, put),
            Self::SetGuestDescription { guest: _, to } => {
                put("sha256", Parameter::Text(&hex(&Sha256::digest(to))));
            }
            Self::SetGuestTags { guest: _, from, to } => {
                put("from", Parameter::Text(&joined(from)));
                put("to", Parameter::Text(&joined(to)));
            }
            Self::SetGuestOnboot { guest: _, to } => put("to", Parameter::Text(yes_or_no(*to))),
            Self::CreateGuest {
                guest: _,
                made,
                shape,
            } => shape.parameters(made, put),
            Self::DiscardGuest { guest: _, made } => put("made", Parameter::Text(&made.0)),
            Self::DestroyGuest {
                guest: _,
                volumes,
                aside,
            } => {
                put("aside", Parameter::Text(aside));
                put("volumes", Parameter::Shown(volumes));
            }
            Self::OverwriteGuest {
                guest: _,
                backup,
                made,
                volumes,
            } => {
                put("backup", Parameter::Text(backup));
                put("made", Parameter::Text(&made.0));
                put("volumes", Parameter::Shown(volumes));
            }
            Self::RestoreGuest {
                guest: _,
                found,
                standing,
                privileged,
            } => {
                let Standing {
                    name,
                    onboot,
                    protection,
                } = standing;
                put("found", Parameter::Text(found));
                if let Some(name) = name {
                    put("name", Parameter::Text(name));
                }
                put("onboot", Parameter::Text(yes_or_no(*onboot)));
                put("privileged", Parameter::Text(yes_or_no(*privileged)));
                put("protection", Parameter::Text(yes_or_no(*protection)));
            }
            Self::PurgeGuest {
                guest: _,
                found,
                volumes,
                backup,
            } => {
                put("backup", Parameter::Text(backup));
                put("found", Parameter::Text(found));
                put("volumes", Parameter::Shown(volumes));
            }
            Self::NoteGuestUse { guest: _, how } => put("how", Parameter::Text(how)),
        }
    }
}

fn put_found(identity: &Found, put: &mut dyn FnMut(&'static str, Parameter<'_>)) {
    let Found { uuid, root, nic } = identity;
    for (name, value) in [("nic", nic), ("root", root), ("uuid", uuid)] {
        if let Some(value) = value {
            put(name, Parameter::Text(value));
        }
    }
}

fn put_change(from: Option<u64>, to: u64, put: &mut dyn FnMut(&'static str, Parameter<'_>)) {
    if let Some(from) = from {
        put("from", Parameter::Number(from));
    }
    put("to", Parameter::Number(to));
}

/// How a truth is signed.
pub(super) fn yes_or_no(is: bool) -> &'static str {
    if is { "yes" } else { "no" }
}

/// Words that hold no comma, with commas between them.
pub(super) fn joined(words: &BTreeSet<String>) -> String {
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    words.join(",")
}
