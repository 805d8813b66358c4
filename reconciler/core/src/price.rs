//! What a step costs: made once, when it is planned. Gate, limits, quorum, reports and the looks afterwards read it, and never
//! look into an action.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::limits::Bound;
use crate::turn::Turn;
use crate::verb::{Reach, VerbRow};

/// All that the house asks of an action.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use = "a step without a price cannot be judged"]
pub struct Price {
    /// When in a cycle it runs, and with what it is one act.
    pub turn: Turn,
    /// What it costs if it is wrong.
    pub class: Class,
    /// Why it is of that class, before what the settings declare.
    pub because: Because,
    /// Whether the settings declare steps of its verb benign.
    pub declared: bool,
    /// What the limits make of it.
    pub takes: Takes,
    /// What the quorum makes of it.
    pub root: RootRelation,
    /// Whether the world shows something new once it is done.
    pub shows: Shows,
    /// How closely to look afterwards.
    pub looks: Looks,
    /// What an unreadable world makes of it.
    pub doubt: Doubt,
}

impl Price {
    /// The same price with the class that the step got when it was planned. Where that class is above what the action alone
    /// gives, the step makes somebody root-equivalent on that executor.
    pub fn as_planned(&mut self, class: Class) {
        if class == Class::Privileged && self.because.class() == Class::Benign {
            self.because = Because::MakesRoot;
        }
        self.class = class;
    }
}

/// How the limits on a whole plan count a step.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Takes {
    /// It takes nothing away.
    Nothing,
    /// It is a removal: counted, and held with the others.
    Removal,
    /// It follows a removal: held with it, and not counted again.
    WithRemoval,
    /// It takes a way to become root: held only where too few would be left who can.
    Access,
}

impl Takes {
    /// Whether a bound that the plan is over holds it back.
    pub fn is_held_by(self, bound: Bound) -> bool {
        match (self, bound) {
            (Self::Removal | Self::WithRemoval, Bound::Floor | Bound::Share)
            | (Self::Access, Bound::Floor) => true,
            (Self::Nothing, Bound::Floor | Bound::Share) | (Self::Access, Bound::Share) => false,
        }
    }

    /// Whether it is counted.
    pub fn counts(self) -> bool {
        match self {
            Self::Nothing | Self::WithRemoval | Self::Access => false,
            Self::Removal => true,
        }
    }
}

/// Whether a step is about somebody who may become root, before it or after it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RootRelation {
    /// It is not.
    Apart,
    /// It is: a release of it takes the quorum for admins.
    Touches,
}

/// Whether the world shows something, once a step is done, that could not be planned on before.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Shows {
    /// Nothing but the step itself.
    Nothing,
    /// More: it is looked at once more within the cycle.
    More,
}

/// How closely to look at a resource to see how a step came out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Looks {
    /// As for every plan.
    AsEver,
    /// At what is looked at only when something is being taken away or put back.
    AtTraces,
}

/// What becomes of a step when the world cannot be read afterwards.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Doubt {
    /// It failed, and is tried again.
    TryAgain,
    /// It may be halfway: whoever let it begin let it be brought to its end.
    BringToEnd,
}

/// Why a step is of its class.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Because {
    /// It can be undone, and touches no data.
    Undoable,
    /// What it gives is something that anybody may be given here.
    Ordinary,
    /// What it gives is not among what the settings let anybody have.
    NotAllowed,
    /// It gives a power over devices or logs.
    Guarded,
    /// It makes or brings back somebody who may become root.
    MakesRoot,
    /// It brings somebody back who is no root.
    NoRoot,
    /// It hands to a row what somebody else made.
    TakesOver,
    /// It changes what an account had when it was taken over.
    AsFound,
    /// It hands an account to another identity.
    AnotherIdentity,
    /// Files would change their owner.
    ChangesOwner,
    /// It takes away what can be had back for a while.
    TakesAway,
    /// It takes away for ever.
    LosesForEver,
}

impl Because {
    /// The class that follows from it.
    pub fn class(self) -> Class {
        match self {
            Self::Undoable | Self::Ordinary | Self::NoRoot => Class::Benign,
            Self::NotAllowed
            | Self::Guarded
            | Self::MakesRoot
            | Self::TakesOver
            | Self::AsFound
            | Self::AnotherIdentity
            | Self::ChangesOwner => Class::Privileged,
            Self::TakesAway | Self::LosesForEver => Class::Destructive,
        }
    }

    /// The class of a step of a verb, where `declared` says whether the settings declare that verb benign. They can do so for
    /// privileged steps of some verbs, and never below the floor.
    pub fn class_of(self, verb: &VerbRow, declared: bool) -> Class {
        let declared = declared && verb.reach == Reach::Declarable;
        match self.class() {
            Class::Privileged if declared => Class::Benign,
            class @ (Class::Benign | Class::Privileged | Class::Destructive) => class,
        }
    }
}

/// How much harm a step can do if it is wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Class {
    /// Reversible, and touches no data.
    Benign,
    /// Makes somebody root-equivalent, or hands an account to another identity.
    Privileged,
    /// Loses data or cannot be undone.
    Destructive,
}

impl fmt::Display for Class {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Benign => "benign",
            Self::Privileged => "privileged",
            Self::Destructive => "destructive",
        })
    }
}
