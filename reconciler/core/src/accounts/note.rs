//! What people should know about accounts that is no step.

use std::fmt;

use super::policy::Aggregate;
use super::refusal::Refusal;
use crate::compat::TierAbsent;

/// What people should know that is no step: the typed answer to "why did nothing happen?".
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Note {
    /// The row cannot be carried out here until somebody acts.
    Refused {
        /// Whose row.
        user: String,
        /// Why, and what to do.
        why: Refusal,
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
        /// What is missing.
        what: TierAbsent,
    },
    /// A group that a tier gives does not exist here.
    NoSuchGroup {
        /// The group.
        group: String,
        /// Whom it would be given to.
        users: Vec<String>,
    },
    /// Nobody gets in by the account that a row asks for, so none is made.
    NotMade {
        /// Whose rows.
        users: Vec<String>,
    },
    /// This host runs no instances, so there is nothing to stand still.
    NothingToPark {
        /// Who is parked all the same.
        user: String,
    },
    /// A membership that is neither asked for nor given by muster. It stays.
    NotFromRoster {
        /// Whose.
        user: String,
        /// Which group.
        group: String,
    },
    /// Processes that a cut leaves, since they are somebody else's, too (F21).
    Spared {
        /// Who was cut.
        user: String,
        /// Which processes, and whose they are.
        what: String,
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
pub(super) const ACCOUNT_DATABASES: &str = "the account databases";

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
                    0 => write!(f, "{user}: today is the last valid day; disabled tomorrow")?,
                    1 => write!(f, "{user}: expires tomorrow, then disabled")?,
                    _ => write!(f, "{user}: expires in {days} days, then disabled")?,
                }
                if contact.is_empty() {
                    Ok(())
                } else {
                    write!(f, "; ask {contact}")
                }
            }
            Self::ClusterPending { user, what } => {
                write!(f, "{user}: {what} (kubectl grant pending — add the entry)")
            }
            Self::NoSuchGroup { group, users } => {
                write!(
                    f,
                    "group {group} does not exist here; skipped for {}",
                    users.join(", ")
                )
            }
            Self::NotMade { users } => write!(
                f,
                "disabled, and without an account here, so none is made: {}",
                some_of(users)
            ),
            Self::NothingToPark { user } => write!(
                f,
                "{user}: this host runs no instances, so parking does nothing here; `disabled: true` shuts the login"
            ),
            Self::NotFromRoster { user, group } => {
                write!(
                    f,
                    "{user}: member of {group}, not from the roster; left as it is"
                )
            }
            Self::Spared { user, what } => write!(f, "{user}: {what}"),
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

/// Some of the names, and how many more there are.
fn some_of(names: &[String]) -> String {
    const SHOWN: usize = 5;
    let (shown, more) = names.split_at(names.len().min(SHOWN));
    match more.len() {
        0 => shown.join(", "),
        more => format!("{} and {more} more", shown.join(", ")),
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
            Self::NotMade { .. } => "not_made",
            Self::NothingToPark { .. } => "nothing_to_park",
            Self::NotFromRoster { .. } => "not_from_roster",
            Self::Spared { .. } => "spared",
            Self::ForeignEntry { .. } => "foreign_entry",
        }
    }

    /// Whether it says that nothing at all could be planned for the host.
    pub fn leaves_host_unknown(&self) -> bool {
        matches!(self, Self::Unread { part, .. } if part == ACCOUNT_DATABASES)
    }

    /// Whether it says that a part of the host could not be read.
    pub fn is_unread(&self) -> bool {
        match self {
            Self::Unread { .. } => true,
            Self::Refused { .. }
            | Self::LookedAtLater { .. }
            | Self::EmptyRoster { .. }
            | Self::Expiring { .. }
            | Self::ClusterPending { .. }
            | Self::NoSuchGroup { .. }
            | Self::NotMade { .. }
            | Self::NothingToPark { .. }
            | Self::NotFromRoster { .. }
            | Self::Spared { .. }
            | Self::ForeignEntry { .. } => false,
        }
    }

    /// Whether somebody has to act on it.
    pub fn needs_attention(&self) -> bool {
        matches!(
            self,
            Self::Refused { .. }
                | Self::Unread { .. }
                | Self::EmptyRoster { .. }
                | Self::Spared { .. }
        )
    }
}
