//! Why a row cannot be carried out on a host, and what to do about it: typed values, and their sentences beside them.

use std::fmt;

use super::blocked::Blocked;
use crate::compat::TierDiffers;

/// Why a row cannot be carried out here until somebody acts. Refusals are ordered by what they say.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// Lines of the account databases are in the way; the host says which, and what to do.
    Lines(String),
    /// Somebody renamed the account, which is to be cut, behind muster's back.
    RenamedSince {
        /// The name that muster knows.
        user: String,
        /// The account's uid.
        uid: u32,
        /// What it is called now.
        now: String,
    },
    /// Somebody who was deleted here cannot come back, for that reason.
    CannotComeBack(Box<Refusal>),
    /// The name of somebody who was deleted here is an account again, and not by muster.
    NameTakenSince,
    /// Something other than an account has the uid of somebody who was deleted here.
    OldUidElsewhere {
        /// The uid.
        uid: u32,
        /// What has it.
        place: String,
    },
    /// Another account has the uid of somebody who was deleted here.
    OldUidTaken {
        /// The uid.
        uid: u32,
        /// The account that has it.
        by: String,
    },
    /// Where the home of somebody who was deleted is to be put back, somebody made one since.
    HomeMadeSince {
        /// Its path.
        home: String,
    },
    /// The home that is owed cannot be put back.
    HomeStays(Blocked),
    /// A home that was there is gone.
    HomeGone {
        /// Its path.
        home: String,
    },
    /// What stands where the home belongs is no directory of the account's own.
    HomeOdd {
        /// Its path.
        home: String,
        /// What stands there.
        what: String,
    },
    /// The home was there before the account (R37).
    HomeWasThere {
        /// Its path.
        home: String,
    },
    /// The cluster has another tier for the person (R10).
    OtherTier(TierDiffers),
    /// The name after a rename is another account's.
    NewNameTaken {
        /// The name so far.
        old: String,
        /// The uid of the account that has the new name.
        uid: u32,
    },
    /// Nobody can tell now which names and ids name services give out (F23).
    NameServicesSilent {
        /// Why not.
        why: String,
    },
    /// A name service knows the name (F23).
    KnownToNameService {
        /// With which uid.
        uid: u32,
    },
    /// Something else of this host knows the name; the host says what.
    NameKnown(String),
    /// Another group has the gid of the account's own group.
    GidTaken {
        /// The gid.
        gid: u32,
        /// The group.
        by: String,
    },
    /// A group of the account's name has another gid.
    GroupOfThatName {
        /// The name.
        group: String,
        /// The gid that it has.
        gid: u32,
    },
    /// The row adopts a uid, and the account has another one.
    AdoptsOtherUid {
        /// What the row says.
        asked: u32,
        /// What the account has.
        found: u32,
    },
    /// The row adopts an account that is not there.
    AdoptsNobody {
        /// What the row says.
        asked: u32,
    },
    /// There is an account of that name that muster neither created nor adopted.
    NotOurs {
        /// Its uid.
        uid: u32,
    },
    /// What newcomers need could not be read.
    NoNewcomers {
        /// Why not.
        why: String,
    },
    /// What adoptions need could not be read.
    NoAdoptions {
        /// Why not.
        why: String,
    },
    /// The uid that the row asks for cannot be had.
    AskedUid {
        /// The uid.
        uid: u32,
        /// Why not.
        why: UidRefused,
    },
    /// System accounts are never adopted.
    SystemAccount {
        /// The account's uid.
        uid: u32,
    },
    /// The uid of the account to adopt is or was somebody else's.
    AdoptedUidKnown {
        /// The uid.
        uid: u32,
        /// Whose.
        by: String,
    },
    /// The host has used up a range.
    NoRoom(UsedUp),
    /// The instance gets no port.
    NoPort(UsedUp),
    /// The home would be one that is or was another person's.
    HomeOfAnother {
        /// Its path.
        home: String,
        /// Whose.
        of: String,
    },
    /// The name belonged to somebody else who was deleted here.
    NameOfAnother,
    /// The row is back with another identity than the person who was cut.
    CutWithAnotherIdentity,
    /// The account of somebody who was cut was removed by hand.
    RemovedByHand,
    /// The account has another uid than the ledger says.
    Replaced {
        /// What the account has.
        found: u32,
        /// What the ledger says.
        recorded: u32,
    },
}

/// Why a uid that a row asks for is given to nobody.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum UidRefused {
    /// It is or was somebody else's.
    Somebodys {
        /// Whose.
        name: String,
    },
    /// A name service knows it.
    KnownToNameService,
    /// Something that is no account has it.
    Elsewhere {
        /// What.
        place: String,
    },
    /// The system gives it out by itself.
    SystemsOwn,
    /// It lies in a range of `/etc/subuid`.
    InSubordinateRange {
        /// The first uid of the range.
        first: u64,
        /// The last one.
        last: u64,
    },
    /// It is or was in a person's subordinate range.
    InRangeOf {
        /// Whose.
        name: String,
    },
    /// It is outside the range of login.defs.
    OutOfBounds {
        /// `UID_MIN`.
        first: u32,
        /// `UID_MAX`.
        last: u32,
    },
}

/// A range out of which nothing is left to give.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum UsedUp {
    /// The uids of login.defs: `UID_MIN` and `UID_MAX`.
    Uids(u32, u32),
    /// The gids of login.defs: `GID_MIN` and `GID_MAX`.
    Gids(u32, u32),
    /// The subordinate uids of login.defs.
    SubordinateUids,
    /// The subordinate gids of login.defs.
    SubordinateGids,
    /// A family of ports, by its name, its first and its last.
    Ports(String, u16, u16),
}

impl Ord for Refusal {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        self.to_string().cmp(&other.to_string())
    }
}

impl PartialOrd for Refusal {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Lines(why) | Self::NameKnown(why) => f.write_str(why),
            Self::RenamedSince { user, uid, now } => write!(
                f,
                "is to be cut, and the account with uid {uid} is called {now} by now, which muster did not do; rename it back \
                 (usermod --login {user} {now}), and it is cut"
            ),
            Self::CannotComeBack(why) => {
                write!(f, "was deleted here, and cannot come back now: {why}")
            }
            Self::NameTakenSince => f.write_str(
                "was deleted here, and an account of that name was made since by somebody else; remove that one by hand to \
                 bring this person back",
            ),
            Self::OldUidElsewhere { uid, place } => write!(
                f,
                "was deleted here with uid {uid}, which {place} has now; ids are never given twice"
            ),
            Self::OldUidTaken { uid, by } => write!(
                f,
                "was deleted here with uid {uid}, which {by} has now; ids are never given twice, so that account has to go first"
            ),
            Self::HomeMadeSince { home } => write!(
                f,
                "{home} was made by somebody else since the person was deleted; move it away, and the person's own is put back"
            ),
            Self::HomeStays(why) => write!(f, "{why}"),
            Self::HomeGone { home } => {
                write!(f, "home {home} is gone; an empty one is not put in its place")
            }
            Self::HomeOdd { home, what } => write!(f, "home {home}: {what}"),
            Self::HomeWasThere { home } => write!(
                f,
                "{home} was there before the account; it is used as it is, and not handed over"
            ),
            Self::HomeOfAnother { home, of } => write!(
                f,
                "its home would be {home}, which is or was {of}'s, who once had this name; a home is never given to another \
                 person. Choose another name, or move {of}'s home first"
            ),
            Self::OtherTier(differs) => {
                write!(f, "{differs}; left as it is until one of them is changed")
            }
            Self::NewNameTaken { old, uid } => write!(
                f,
                "cannot be the new name of {old}: an account of that name exists with uid {uid}"
            ),
            Self::NameServicesSilent { why } => {
                write!(f, "nobody gets a name or an id here now: {why}")
            }
            Self::KnownToNameService { uid } => write!(
                f,
                "a name service of this host knows that name, with uid {uid}; it is left alone"
            ),
            Self::GidTaken { gid, by } => write!(
                f,
                "the account's own group would have gid {gid}, which the group {by} has; ids are never given twice, so that \
                 group has to get another gid first"
            ),
            Self::GroupOfThatName { group, gid } => write!(
                f,
                "there is a group of that name already, with gid {gid}, and the account's own group would be a second one: rename \
                 that group (groupmod -n NEW {group}) or remove it (groupdel {group}); what its gid has access to is nobody's by then"
            ),
            Self::AdoptsOtherUid { asked, found } => write!(
                f,
                "the row adopts uid {asked}, and the account has uid {found}; put the right one in the row"
            ),
            Self::AdoptsNobody { asked } => write!(
                f,
                "the row adopts uid {asked}, and there is no account of that name here"
            ),
            Self::NotOurs { uid } => write!(
                f,
                "an account of that name exists that muster neither created nor adopted; it is left alone. To take it over, add \
                 `adopt: {{uid: {uid}}}` to the row"
            ),
            Self::NoNewcomers { why } => write!(f, "nobody gets an account here now: {why}"),
            Self::NoAdoptions { why } => {
                write!(f, "nobody's account is adopted here now: {why}")
            }
            Self::AskedUid { uid, why } => write!(f, "the row asks for uid {uid}, {why}"),
            Self::SystemAccount { uid } => write!(
                f,
                "uid {uid} is a system account's, and those are never adopted"
            ),
            Self::AdoptedUidKnown { uid, by } => write!(
                f,
                "uid {uid} is or was {by}'s here; ids are never given twice"
            ),
            Self::NoRoom(used_up) => write!(f, "no room on this host: {used_up}"),
            Self::NoPort(used_up) => {
                write!(f, "no port: {used_up}; people who have theirs keep them")
            }
            Self::NameOfAnother => f.write_str(
                "that name belonged to somebody else here, and names are never given to another; choose another name",
            ),
            Self::CutWithAnotherIdentity => f.write_str(
                "was cut here with another identity, and an account is never handed to another person by re-adding its name; \
                 choose another name, or restore authentik_user and k8s_user",
            ),
            Self::RemovedByHand => {
                f.write_str("was cut, and its account has been removed by hand")
            }
            Self::Replaced { found, recorded } => write!(
                f,
                "the account has uid {found} and the ledger says {recorded}: it was replaced behind muster's back; nothing is \
                 changed on it"
            ),
        }
    }
}

impl fmt::Display for UidRefused {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Somebodys { name } => {
                write!(f, "which is or was {name}'s; ids are never given twice")
            }
            Self::KnownToNameService => f.write_str(
                "which a name service of this host knows as somebody's; ids are never given twice",
            ),
            Self::Elsewhere { place } => {
                write!(f, "which {place} has; ids are never given twice")
            }
            Self::SystemsOwn => f.write_str("which the system gives out; ask for another one"),
            Self::InSubordinateRange { first, last } => write!(
                f,
                "which lies in the subordinate range {first} to {last} of /etc/subuid: containers of its owner would be the new \
                 account; ask for another one"
            ),
            Self::InRangeOf { name } => write!(
                f,
                "which is or was in {name}'s subordinate range; ask for another one"
            ),
            Self::OutOfBounds { first, last } => {
                write!(f, "outside UID_MIN {first} to UID_MAX {last} of login.defs")
            }
        }
    }
}

impl fmt::Display for UsedUp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Uids(first, last) => write!(
                f,
                "every uid from UID_MIN {first} to UID_MAX {last} of login.defs is taken"
            ),
            Self::Gids(first, last) => write!(
                f,
                "every gid from GID_MIN {first} to GID_MAX {last} of login.defs is taken"
            ),
            Self::SubordinateUids => {
                f.write_str("SUB_UID_MIN to SUB_UID_MAX of login.defs is used up")
            }
            Self::SubordinateGids => {
                f.write_str("SUB_GID_MIN to SUB_GID_MAX of login.defs is used up")
            }
            Self::Ports(family, first, last) => {
                write!(f, "every {family} port from {first} to {last} is taken")
            }
        }
    }
}
