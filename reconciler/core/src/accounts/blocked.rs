//! What stands against a step about an account, signed or not, until somebody does something about it.

use std::fmt;

use crate::time::Date;

/// What is missing, or in the way.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Blocked {
    /// The shell asked for is not on the host.
    NoShell(String),
    /// The group is another account's own, and nobody's to give (F3).
    SomebodysGroup {
        /// Which group.
        group: String,
        /// Whose.
        of: String,
    },
    /// The unit's template is not on the host.
    NoUnit(String),
    /// The account's home is another one than the one that was recorded.
    OtherHome {
        /// What the account databases say.
        found: String,
        /// What the ledger says.
        recorded: String,
    },
    /// The home is in quarantine, and something stands in its place.
    HomeTwice {
        /// Where.
        home: String,
    },
    /// The home is not where it belongs.
    HomeGone {
        /// Where it belongs.
        home: String,
    },
    /// Something other than a directory of the account's own stands there.
    HomeOdd {
        /// Where.
        home: String,
        /// What it is.
        what: String,
    },
    /// Whoever is concerned is told before it happens.
    Told {
        /// The last valid day.
        last: Date,
    },
    /// The home could not be looked at.
    HomeUnread {
        /// Where it belongs.
        home: String,
        /// Why not.
        why: String,
    },
    /// Nothing is left to put the home back from.
    NoSource {
        /// Where it belongs.
        home: String,
    },
    /// The archive is not the one that was recorded.
    OtherArchive {
        /// Its file, or nothing where it is clear which one is meant.
        name: Option<String>,
    },
    /// The archive is not in the store.
    NoArchive {
        /// Its file.
        name: String,
    },
    /// The store of archives could not be looked at.
    ArchivesUnread {
        /// Why not.
        why: String,
    },
    /// Nobody looked into the store of archives.
    ArchivesNotAsked,
}

impl fmt::Display for Blocked {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoShell(shell) => write!(f, "shell {shell} is not installed on this host"),
            Self::SomebodysGroup { group, of } => write!(
                f,
                "{group} is the own group of {of}, and not one to give to others; give another group, or allow this one in the \
                 host's settings: shared_primary_groups"
            ),
            Self::Told { last } => write!(
                f,
                "the last valid day was {last}, and until now that shut no login"
            ),
            Self::NoUnit(unit) => write!(f, "unit {unit} is not installed on this host"),
            Self::OtherHome { found, recorded } => write!(
                f,
                "the account has the home {found}, and the ledger says {recorded}; put it back with usermod --home"
            ),
            Self::HomeTwice { home } => write!(
                f,
                "the home is in quarantine, and something stands at {home}; compare the two, and move one away"
            ),
            Self::HomeGone { home } => write!(
                f,
                "the home {home} is gone; mount or put back what belongs there, or remove the account by hand"
            ),
            Self::HomeOdd { home, what } => write!(f, "the home {home}: {what}"),
            Self::HomeUnread { home, why } => {
                write!(f, "the home {home} could not be read: {why}")
            }
            Self::NoSource { home } => write!(
                f,
                "the home {home} is neither in quarantine nor was its archive recorded"
            ),
            Self::OtherArchive { name: Some(name) } => {
                write!(
                    f,
                    "the archive {name} is another than the one that was recorded"
                )
            }
            Self::OtherArchive { name: None } => {
                f.write_str("its archive is another than the one that was recorded")
            }
            Self::NoArchive { name } => write!(
                f,
                "the archive {name} is not in the store of archives; put it back there, with the .sha256 beside it"
            ),
            Self::ArchivesUnread { why } => {
                write!(f, "the store of archives could not be read: {why}")
            }
            Self::ArchivesNotAsked => f.write_str("the store of archives was not looked at"),
        }
    }
}
