//! What people should know about guests that is no step.

use std::fmt;

use super::desired::Owner;
use super::observed::{NOT_ASKED, Pending};
use super::say::memory;
use super::used::told;
use crate::time::{Date, Time};

/// What people should know about guests that is no step.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Note {
    /// The hypervisor could not be read, so nothing is planned on it.
    Unread {
        /// Why.
        why: String,
    },
    /// A node does not answer: what stands on it is not known, and the others are planned as ever (GB4).
    NodeDown {
        /// Which.
        node: String,
        /// Since when.
        since: Time,
        /// Why.
        why: String,
    },
    /// Nothing is known of a guest, so there is no step for it (H2).
    Unknown {
        /// Which.
        guest: String,
        /// The node that it is on, or may be on.
        node: Option<String>,
        /// Since when.
        since: Time,
        /// Why.
        why: String,
    },
    /// A guest that the file names is not there, and the row does not say how to make it.
    Missing {
        /// Which.
        guest: String,
    },
    /// A guest's configuration could not be read: whether it runs is kept, the rest is left alone (G4).
    ConfigUnread {
        /// Which.
        guest: String,
        /// Why.
        why: String,
    },
    /// A guest's configuration is not in the inventory from which this is planned, since nothing of it was managed until now.
    NotInInventory {
        /// Which.
        guest: String,
    },
    /// A guest is on another node than the executor's (GB3). It is the same guest.
    OnNode {
        /// Which.
        guest: String,
        /// Where it is.
        node: String,
    },
    /// A guest neither runs nor stands still, so its power is left alone (G1).
    OddPower {
        /// Which.
        guest: String,
    },
    /// A change waits for a reboot, which muster never does by itself (GB6).
    PendingReboot {
        /// Of which guest.
        guest: String,
        /// The hypervisor's key.
        key: String,
        /// The value in force.
        now: Option<String>,
        /// The value that waits.
        then: Option<String>,
    },
    /// Something is otherwise than the row says, and muster only tells of it (G3).
    Differs {
        /// Of which guest.
        guest: String,
        /// What.
        what: &'static str,
        /// How it is.
        is: String,
        /// What the row says.
        asked: String,
    },
    /// The person who answers for a guest is not to be counted on (H3).
    OwnerGone {
        /// Which guest.
        guest: String,
        /// Who.
        owner: String,
        /// Why.
        why: Owner,
    },
    /// A guest is set aside and waits for the end of its time of grace (H7).
    Aside {
        /// Which.
        guest: String,
        /// Since when.
        since: Date,
        /// The first day on which its end is planned.
        until: Date,
    },
    /// A guest is set aside, and somebody used it since (H7).
    AsideUsed {
        /// Which.
        guest: String,
        /// What shows that.
        signs: Vec<String>,
    },
    /// A guest is set aside, and a use of it would not be seen (H7).
    AsideUnseen {
        /// Which.
        guest: String,
        /// Why not.
        why: String,
    },
    /// A guest is set aside, and no row asks for its end or for it any more.
    AsideAlone {
        /// Which.
        guest: String,
        /// Where it stands.
        found: String,
        /// Since when.
        since: Date,
    },
    /// A guest that was set aside is not there any more, and muster did not delete it.
    AsideGone {
        /// Which.
        guest: String,
        /// Where it stood.
        found: String,
    },
    /// What stands where a guest was set aside is another guest.
    AsideAnother {
        /// Which guest was set aside.
        guest: String,
        /// Where.
        found: String,
    },
    /// A creation was begun for a row, and another guest has its number by now: nothing is planned for it (H8).
    AnotherMade {
        /// Which.
        guest: String,
    },
    /// A guest of ours is left of a trial, and there is no token to discard it with.
    ScratchLeft {
        /// Which.
        guest: String,
    },
    /// The end of a guest is asked for, and it cannot be planned as long as its volumes cannot be read.
    VolumesUnread {
        /// Which.
        guest: String,
        /// Why.
        why: String,
    },
    /// The guest that muster itself runs in is named in the file: no step touches it (H13).
    Own {
        /// Which.
        guest: String,
    },
}

impl Note {
    /// The word for it, for programs.
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Unread { .. } => "unread",
            Self::NodeDown { .. } => "node_down",
            Self::Unknown { .. } => "unknown",
            Self::Missing { .. } => "missing",
            Self::ConfigUnread { .. } => "config_unread",
            Self::NotInInventory { .. } => "not_in_inventory",
            Self::OnNode { .. } => "on_node",
            Self::OddPower { .. } => "odd_power",
            Self::PendingReboot { .. } => "pending_reboot",
            Self::Differs { .. } => "differs",
            Self::OwnerGone { .. } => "owner_gone",
            Self::Aside { .. } => "aside",
            Self::AsideUsed { .. } => "aside_used",
            Self::AsideUnseen { .. } => "aside_unseen",
            Self::AsideAlone { .. } => "aside_alone",
            Self::AsideGone { .. } => "aside_gone",
            Self::AsideAnother { .. } => "aside_another",
            Self::AnotherMade { .. } => "another_made",
            Self::ScratchLeft { .. } => "scratch_left",
            Self::VolumesUnread { .. } => "volumes_unread",
            Self::Own { .. } => "own",
        }
    }

    /// Whether it says that a part of the world could not be read.
    pub fn is_unread(&self) -> bool {
        match self {
            Self::Unread { .. }
            | Self::NodeDown { .. }
            | Self::Unknown { .. }
            | Self::ConfigUnread { .. }
            | Self::VolumesUnread { .. } => true,
            Self::Missing { .. }
            | Self::NotInInventory { .. }
            | Self::OnNode { .. }
            | Self::OddPower { .. }
            | Self::PendingReboot { .. }
            | Self::Differs { .. }
            | Self::OwnerGone { .. }
            | Self::Aside { .. }
            | Self::AsideAlone { .. }
            | Self::AsideUsed { .. }
            | Self::AsideUnseen { .. }
            | Self::AsideGone { .. }
            | Self::AnotherMade { .. }
            | Self::AsideAnother { .. }
            | Self::ScratchLeft { .. }
            | Self::Own { .. } => false,
        }
    }

    /// Whether it says that nothing at all could be planned.
    pub fn leaves_hypervisor_unknown(&self) -> bool {
        matches!(self, Self::Unread { .. })
    }

    /// Whether somebody has to act on it.
    pub fn needs_attention(&self) -> bool {
        match self {
            Self::Unread { .. }
            | Self::NodeDown { .. }
            | Self::Unknown { .. }
            | Self::Missing { .. }
            | Self::ConfigUnread { .. }
            | Self::OwnerGone { .. }
            | Self::AsideUsed { .. }
            | Self::AsideUnseen { .. }
            | Self::AsideGone { .. }
            | Self::AnotherMade { .. }
            | Self::AsideAnother { .. }
            | Self::AsideAlone { .. }
            | Self::ScratchLeft { .. }
            | Self::VolumesUnread { .. } => true,
            Self::OnNode { .. }
            | Self::NotInInventory { .. }
            | Self::OddPower { .. }
            | Self::PendingReboot { .. }
            | Self::Differs { .. }
            | Self::Aside { .. }
            | Self::Own { .. } => false,
        }
    }

    /// Whether something is lost or wrong that no step of muster mends, so that the executor is not in order until a person looks.
    pub fn is_amiss(&self) -> bool {
        match self {
            Self::AsideUsed { .. }
            | Self::AsideGone { .. }
            | Self::AsideAnother { .. }
            | Self::AnotherMade { .. } => true,
            Self::Unread { .. }
            | Self::NodeDown { .. }
            | Self::Unknown { .. }
            | Self::Missing { .. }
            | Self::ConfigUnread { .. }
            | Self::NotInInventory { .. }
            | Self::OnNode { .. }
            | Self::OddPower { .. }
            | Self::PendingReboot { .. }
            | Self::Differs { .. }
            | Self::OwnerGone { .. }
            | Self::Aside { .. }
            | Self::AsideAlone { .. }
            | Self::AsideUnseen { .. }
            | Self::ScratchLeft { .. }
            | Self::VolumesUnread { .. }
            | Self::Own { .. } => false,
        }
    }

    /// That nothing is planned on a guest's configuration, and why: `end` where its end is asked for.
    pub(super) fn unread(guest: &str, why: &str, end: bool) -> Self {
        let guest = guest.to_owned();
        match (why == NOT_ASKED, end) {
            (true, _) => Self::NotInInventory { guest },
            (false, true) => Self::VolumesUnread {
                guest,
                why: why.to_owned(),
            },
            (false, false) => Self::ConfigUnread {
                guest,
                why: why.to_owned(),
            },
        }
    }

    /// That a key of a guest waits for a reboot.
    pub(super) fn pending(guest: &str, key: &str, pending: &Pending) -> Self {
        let shown = |value: &Option<String>| {
            let number = value.as_ref()?.parse::<u64>().ok();
            match number.filter(|_| key == "memory") {
                Some(mebibytes) => Some(memory(mebibytes)),
                None => value.clone(),
            }
        };
        Self::PendingReboot {
            guest: guest.to_owned(),
            key: key.to_owned(),
            now: shown(&pending.now),
            then: shown(&pending.then),
        }
    }
}

impl fmt::Display for Note {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let or_none = |value: &Option<String>| value.clone().unwrap_or_else(|| "none".to_owned());
        match self {
            Self::Unread { why } => write!(
                f,
                "the guests could not be read ({why}); nothing is planned on them"
            ),
            Self::NodeDown { node, since, why } => write!(
                f,
                "node {node} does not answer since {since} ({why}); nothing is planned for the guests on it"
            ),
            Self::Unknown {
                guest,
                node: Some(node),
                since,
                why,
            } => write!(
                f,
                "{guest}: unknown since {since}: it is or may be on node {node}, which does not answer ({why}); nothing is planned \
                 for it"
            ),
            Self::Unknown {
                guest,
                node: None,
                since,
                why,
            } => write!(
                f,
                "{guest}: unknown since {since} ({why}); nothing is planned for it"
            ),
            Self::Missing { guest } => write!(
                f,
                "{guest}: there is no such guest here; take the row out, or make the guest (`create` in the row says how)"
            ),
            Self::ConfigUnread { guest, why } => write!(
                f,
                "{guest}: its configuration could not be read ({why}); whether it runs is kept as the row says, the rest is left alone"
            ),
            Self::NotInInventory { guest } => write!(
                f,
                "{guest}: nothing of its configuration was managed until now, so it is not in the inventory; what the row says of it is \
                 planned there, after the merge"
            ),
            Self::OnNode { guest, node } => {
                write!(f, "{guest}: it is on node {node}, and kept there")
            }
            Self::OddPower { guest } => write!(
                f,
                "{guest}: it neither runs nor stands still, so its power is left alone"
            ),
            Self::PendingReboot {
                guest,
                key,
                now,
                then,
            } => write!(
                f,
                "{guest}: pending reboot: {key} is {}, and will be {}; muster reboots nothing by itself",
                or_none(now),
                or_none(then)
            ),
            Self::Differs {
                guest,
                what,
                is,
                asked,
            } => write!(
                f,
                "{guest}: its {what} is {is}, and the row says {asked}; muster tells of it and does not change it"
            ),
            Self::OwnerGone { guest, owner, why } => write!(
                f,
                "{guest}: its owner {owner} {why}; put somebody else into the row"
            ),
            Self::Aside {
                guest,
                since,
                until,
            } => write!(
                f,
                "{guest}: set aside since {since}; from {until} on, its end is planned, which needs a release of its own; \
                 take `destroy: true` out of the row to have it back"
            ),
            Self::AsideUsed { guest, signs } => write!(f, "{guest}: {}", told(signs)),
            Self::AsideUnseen { guest, why } => write!(
                f,
                "{guest}: a use of it since it was set aside would not be noticed: {why}"
            ),
            Self::AsideAlone {
                guest,
                found,
                since,
            } => write!(
                f,
                "{guest}: set aside as {found} since {since}, and no row names it; put the row back with `destroy: true` to have it \
                 deleted, or without to have it back"
            ),
            Self::AsideGone { guest, found } => write!(
                f,
                "{guest}: it was set aside as {found}, and is not there any more; muster did not delete it"
            ),
            Self::AsideAnother { guest, found } => write!(
                f,
                "{guest}: it was set aside as {found}, and another guest stands there; nothing is planned for either"
            ),
            Self::AnotherMade { guest } => write!(
                f,
                "{guest}: its creation was begun, and another guest has that place now; nothing is planned for that one: choose another \
                 place for the row, or take `create` out of it to have it kept as the row says"
            ),
            Self::ScratchLeft { guest } => write!(
                f,
                "{guest}: it is left of the trial of a backup, and there is no create_token to discard it with"
            ),
            Self::VolumesUnread { guest, why } => write!(
                f,
                "{guest}: its end is not planned as long as its volumes cannot be read ({why})"
            ),
            Self::Own { guest } => write!(
                f,
                "{guest}: muster itself runs in it, so no step touches it, signed or not"
            ),
        }
    }
}
