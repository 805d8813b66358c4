//! The ordered steps from observed to desired. A plan leaves nothing to choose, and is byte-identical for equal inputs
//! (invariant 12).

mod allocate;
mod draft;
mod own_groups;
mod question;

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use crate::action::Class;
use crate::commit::CommitId;
use crate::desired::Desired;
use crate::facts::Facts;
use crate::observed::Observed;
use crate::policy::{Aggregate, Policy};
use crate::root::{self, Root};
use crate::step::{Step, StepId};
use crate::time::Date;

pub use question::question;

/// Everything that a plan depends on.
#[derive(Clone, Copy, Debug)]
pub struct Input<'a> {
    /// What the host's administrator decided.
    pub policy: &'a Policy,
    /// The commit that is planned.
    pub commit: &'a CommitId,
    /// Today, in UTC.
    pub today: Date,
    /// What the commit asks for.
    pub desired: &'a Desired,
    /// What was read on the host.
    pub observed: &'a Observed,
    /// What muster knows of its own doing.
    pub facts: &'a Facts,
}

/// The steps, and what is to be said beside them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Plan {
    commit: CommitId,
    today: Date,
    steps: Vec<Arc<PlannedStep>>,
    notes: Vec<Note>,
    environments: BTreeMap<String, String>,
    ports: BTreeMap<String, u16>,
}

/// A step in its place.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PlannedStep {
    /// The step.
    pub step: Step,
    /// Steps that must be done before it.
    pub needs: Vec<StepId>,
    /// What is not there and has to be, if something is not.
    pub blocked: Option<String>,
    /// What it has to do with root on this host: decided here, where the host is seen.
    pub root: Root,
}

impl PlannedStep {
    /// What it costs if it is wrong, on this host: what puts root into somebody's hands is privileged, whatever it is
    /// elsewhere.
    pub fn class(&self, policy: &Policy) -> Class {
        let Self {
            step, root: about, ..
        } = self;
        let kind = step.action.kind();
        match (step.action.class(policy), about) {
            (Class::Benign, Root::Makes)
                if !(policy.declared_benign.contains(&kind) && root::may_be_declared(kind)) =>
            {
                Class::Privileged
            }
            (class, Root::Apart | Root::Touches | Root::Makes) => class,
        }
    }
}

/// What people should know that is no step: the typed answer to "why did nothing happen?".
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Note {
    /// The row cannot be carried out here until somebody acts.
    Refused {
        /// Whose row.
        user: String,
        /// Why, and what to do.
        why: String,
    },
    /// A part of the host could not be read, so nothing is planned on it.
    Unread {
        /// Which part.
        part: String,
        /// Why.
        why: String,
    },
    /// The plan is made elsewhere, from what was written down: whether these traces of a login are there is looked at on the host
    /// when it applies the plan, and each that is there is set aside too.
    LookedAtLater {
        /// Whose.
        user: String,
        /// Which traces.
        traces: Vec<&'static str>,
    },
    /// The roster is empty: nobody is cut on its account.
    EmptyRoster {
        /// How many accounts are kept.
        kept: usize,
    },
    /// A person's last valid day is near.
    Expiring {
        /// Whose.
        user: String,
        /// Days left; 0 is today.
        days: i64,
        /// Whom to ask, or nothing.
        contact: String,
    },
    /// The cluster does not know a person yet; onboarding goes on (R11).
    ClusterPending {
        /// Whose.
        user: String,
        /// What is missing, and what to do.
        what: String,
    },
    /// A group that a tier gives does not exist here.
    NoSuchGroup {
        /// The group.
        group: String,
        /// Whom it would be given to.
        users: Vec<String>,
    },
    /// A membership that is neither asked for nor given by muster. It stays.
    NotFromRoster {
        /// Whose.
        user: String,
        /// Which group.
        group: String,
    },
    /// An entry of an aggregate file that is nobody's of ours. It stays.
    ForeignEntry {
        /// Which file.
        file: Aggregate,
        /// Its key.
        key: String,
    },
}

/// The part of a host without which nothing is planned on it.
const ACCOUNT_DATABASES: &str = "the account databases";

impl fmt::Display for Note {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Refused { user, why } => write!(f, "{user}: {why}"),
            Self::Unread { part, why } => {
                write!(
                    f,
                    "{part} could not be read ({why}); nothing is planned on it"
                )
            }
            Self::LookedAtLater { user, traces } => write!(
                f,
                "{user}: {} were not written down; the host looks when it applies this, and sets aside what is there",
                traces.join(", ")
            ),
            Self::EmptyRoster { kept } => write!(
                f,
                "the roster is empty, and {kept} accounts are kept here: absence cuts nobody; remove people in rows, \
                 not by emptying the file"
            ),
            Self::Expiring {
                user,
                days,
                contact,
            } => {
                match days {
                    0 => write!(f, "{user}: today is the last valid day; parked tomorrow")?,
                    1 => write!(f, "{user}: expires tomorrow, then parked")?,
                    _ => write!(f, "{user}: expires in {days} days, then parked")?,
                }
                if contact.is_empty() {
                    Ok(())
                } else {
                    write!(f, "; ask {contact}")
                }
            }
            Self::ClusterPending { user: _, what } => f.write_str(what),
            Self::NoSuchGroup { group, users } => {
                write!(
                    f,
                    "group {group} does not exist here; skipped for {}",
                    users.join(", ")
                )
            }
            Self::NotFromRoster { user, group } => {
                write!(
                    f,
                    "{user}: member of {group}, not from the roster; left as it is"
                )
            }
            Self::ForeignEntry { file, key } => {
                write!(
                    f,
                    "{} entry {key}: not from the roster; left as it is",
                    file.word()
                )
            }
        }
    }
}

impl Note {
    /// The word for it, for programs.
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Refused { .. } => "refused",
            Self::Unread { .. } => "unread",
            Self::LookedAtLater { .. } => "looked_at_later",
            Self::EmptyRoster { .. } => "empty_roster",
            Self::Expiring { .. } => "expiring",
            Self::ClusterPending { .. } => "cluster_pending",
            Self::NoSuchGroup { .. } => "no_such_group",
            Self::NotFromRoster { .. } => "not_from_roster",
            Self::ForeignEntry { .. } => "foreign_entry",
        }
    }

    /// Whether it says that nothing at all could be planned for the host.
    pub fn leaves_host_unknown(&self) -> bool {
        matches!(self, Self::Unread { part, .. } if part == ACCOUNT_DATABASES)
    }

    /// Whether somebody has to act on it.
    pub fn needs_attention(&self) -> bool {
        matches!(
            self,
            Self::Refused { .. } | Self::Unread { .. } | Self::EmptyRoster { .. }
        )
    }
}

/// Computes the steps from what was observed to what is desired. Pure and total.
pub fn plan(input: &Input<'_>) -> Plan {
    draft::draft(input)
}

impl Plan {
    /// The commit this plan would realise.
    pub fn commit(&self) -> &CommitId {
        &self.commit
    }

    /// The day it was made for.
    pub fn today(&self) -> Date {
        self.today
    }

    /// The steps, in the order in which they run. The gate lets through the same ones, not copies of them.
    pub fn steps(&self) -> &[Arc<PlannedStep>] {
        &self.steps
    }

    /// What people should know beside the steps.
    pub fn notes(&self) -> &[Note] {
        &self.notes
    }

    /// Contents of the environment files that steps write, by person.
    pub fn environments(&self) -> &BTreeMap<String, String> {
        &self.environments
    }

    /// Each person's first port, which orders the login map (R18).
    pub fn ports(&self) -> &BTreeMap<String, u16> {
        &self.ports
    }
}
