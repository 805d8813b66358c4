//! What an executor makes of its machine's clock (F18). Reads none: what the clocks say is given.
//!
//! The clock that people set can be wrong: a dead battery boots in 1970 or 2036, a virtual machine is resumed after a month,
//! somebody mistypes a year. So it is held against two others: the seconds since the machine booted, which nobody sets, and the
//! moment of the last record. As long as they agree, a cycle goes by the clock. What does not agree is *doubted*: told, and not
//! gone by, until it has held for [`HOLD`] or the machine's time service says that the clock is right. While it is doubted, time
//! goes on by the seconds since boot, and nothing that was signed for a window of time runs. So a clock that jumped and came
//! back leaves nothing behind.
//!
//! Records never go back in time. One that was written by a wrong clock is a floor that is too high; only a person sets it back,
//! by [`Clock::accept`]. Dates of commits and tags are what their authors like, and are never asked.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::time::Time;

/// A clock may differ by so many seconds from what the seconds since boot say: services that keep it right move it by as much.
pub const STEP: i64 = 120;

/// So many seconds may have passed while the machine was off, before its clock is doubted.
pub const OFF: i64 = 86_400;

/// So many seconds may have passed since the last record where nothing is remembered of the clock: an executor that has
/// nothing to do writes none for weeks.
pub const UNREMEMBERED: i64 = 30 * 86_400;

/// A clock that is doubted is believed after so many seconds.
pub const HOLD: i64 = 3_600;

/// So many jumps that were believed are remembered.
const JUMPS: usize = 8;

/// By how many seconds a record may be ahead of the clock that it was made by: what is recorded while a clock is doubted counts the
/// seconds since boot, and is rounded.
const ROUNDING: i64 = 2;

/// The moment as a machine tells it, in two ways.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reading {
    /// By the clock that people and time services set.
    pub wall: Time,
    /// Which boot this is: another text after each.
    pub boot: String,
    /// Seconds since then, those that the machine slept among them.
    pub uptime: i64,
}

/// What a machine's time service says of its clock.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TimeService {
    /// It keeps it right.
    Synchronised,
    /// It does not, or there is none to ask.
    Silent,
}

/// The moment that an executor goes by.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Moment {
    /// When it is: never before the last record.
    pub now: Time,
    /// What is the matter with the clock; while anything is, nothing that was signed for a window of time runs.
    pub matter: Option<Matter>,
}

impl Moment {
    /// A moment that nobody doubts.
    pub const fn certain(now: Time) -> Self {
        Self { now, matter: None }
    }

    /// The moment by a clock of which nothing but the last record is known.
    pub fn by_wall(wall: Time, latest: Time) -> Self {
        Self {
            now: wall.max(latest),
            matter: (wall.plus(STEP) < latest).then_some(Matter::Behind { wall, latest }),
        }
    }
}

/// What is the matter with a clock.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Matter {
    /// It is ahead of what is known.
    Ahead {
        /// What it says.
        wall: Time,
        /// What is gone by.
        known: Time,
        /// After how many seconds it is believed, if it goes on like that.
        left: i64,
    },
    /// It was set back, to a moment after the last record.
    Back {
        /// What it says, and what is gone by.
        wall: Time,
        /// What it would be by what is known.
        known: Time,
        /// After how many seconds it is believed, if it goes on like that.
        left: i64,
    },
    /// It is behind the last record.
    Behind {
        /// What it says.
        wall: Time,
        /// The last record.
        latest: Time,
    },
}

impl Matter {
    /// One word for programs.
    pub fn word(&self) -> &'static str {
        match self {
            Self::Ahead { .. } => "ahead",
            Self::Back { .. } => "back",
            Self::Behind { .. } => "behind",
        }
    }

    /// The same in a word or two.
    pub fn in_a_word(&self) -> &'static str {
        match self {
            Self::Ahead { .. } => "ahead of what is known",
            Self::Back { .. } => "set back",
            Self::Behind { .. } => "behind the last record",
        }
    }

    /// The same for the refusal of a release, which is told once: without what passes from minute to minute.
    pub fn in_refusal(&self) -> String {
        match self {
            Self::Ahead { wall, known, .. } | Self::Back { wall, known, .. } => format!(
                "this host's clock says {wall}, and by what is known there it is {known}; set the clock right, or say there that \
                 it is right, by `muster clock accept`"
            ),
            Self::Behind { wall, latest } => format!(
                "this host's clock says {wall}, and its journal has seen {latest}; set the clock right"
            ),
        }
    }

    /// Whether both are the same matter, however long it has lasted.
    pub fn is_like(&self, other: &Self) -> bool {
        self.word() == other.word()
    }
}

impl fmt::Display for Matter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let minutes = |seconds: i64| (seconds + 59) / 60;
        match self {
            Self::Ahead { wall, known, left } => write!(
                f,
                "the clock says {wall}, and by what is known it is {known}: releases wait, and nothing ends or expires by it, until \
                 a time service has set it, it has held for {} more minutes, or `muster clock accept --reason …` says that it is right",
                minutes(*left)
            ),
            Self::Back { wall, known, left } => write!(
                f,
                "the clock was set back to {wall}, and by what is known it is {known}: releases wait until a time service has set it, \
                 it has held for {} more minutes, or `muster clock accept --reason …` says that it is right",
                minutes(*left)
            ),
            Self::Behind { wall, latest } => write!(
                f,
                "the clock says {wall}, and the last record is of {latest}: releases wait; if the clock is wrong, set it right; if it \
                 is right, the record was written by a wrong one, and `muster clock accept --reason …` goes back"
            ),
        }
    }
}

/// What is remembered of a machine's clock, from one cycle and one process to the next.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Clock {
    /// What is known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    anchor: Option<Anchor>,
    /// What is doubted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    doubt: Option<Doubt>,
    /// Jumps that were believed, in their order.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    jumps: Vec<Jump>,
}

/// A moment that is known by the seconds since boot.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Anchor {
    boot: String,
    uptime: i64,
    time: Time,
    /// By how much the clock may be ahead of it.
    allows: i64,
}

/// A clock that does not agree, since when, and by how much.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Doubt {
    /// In seconds since boot.
    since: i64,
    /// In seconds; negative where it was set back.
    by: i64,
}

/// A jump of the clock that records were written behind.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Jump {
    /// The last record before it.
    pub from: Time,
    /// What the clock said behind it.
    pub to: Time,
}

impl Jump {
    /// The jump that `records` show across `moment`, if they show one. They need not be in order.
    pub fn across(moment: Time, records: &[Time]) -> Option<Self> {
        let about = moment.plus(ROUNDING);
        let to = records.iter().copied().filter(|it| *it > about).min()?;
        let from = records.iter().copied().filter(|it| *it <= about).max();
        let is_jump = match from {
            Some(from) => to.0.saturating_sub(from.0) >= HOLD,
            // The executor itself began behind it.
            None => to.0.saturating_sub(moment.0) >= OFF,
        };
        is_jump.then_some(Self {
            from: from.unwrap_or(Time(0)),
            to,
        })
    }
}

/// A moment that a person says is right, and by which the records go on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Accepted {
    /// The moment.
    pub at: Time,
}

/// Why a clock is not accepted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NotAccepted {
    /// Nothing is the matter with it.
    #[error("nothing is the matter with the clock: it is {0}, and that is gone by")]
    Well(Time),
    /// It is surely wrong.
    #[error(
        "the clock says {wall}, and this program was built later, at {built}: set the clock right first"
    )]
    BeforeBuild {
        /// What it says.
        wall: Time,
        /// When the program was built.
        built: Time,
    },
    /// No record behind it was written after a jump.
    #[error(
        "the clock says {wall}, and the records that go on to {latest} did not jump there: it is the clock that is wrong; set it right first"
    )]
    NoJump {
        /// What it says.
        wall: Time,
        /// The last record.
        latest: Time,
    },
}

impl Clock {
    /// Of an executor that begins now: there is nothing to hold its clock against.
    pub fn beginning(reading: &Reading) -> Self {
        let mut clock = Self::default();
        clock.believe(reading);
        clock
    }

    /// The moment to go by, out of what the clocks say and the last record, `latest`. `ask` asks the time service, and is asked
    /// only where the clock is doubted.
    #[must_use]
    pub fn hear(
        &mut self,
        latest: Time,
        reading: &Reading,
        ask: &mut dyn FnMut() -> TimeService,
    ) -> Moment {
        let Reading { wall, boot, uptime } = reading;
        let (wall, uptime) = (*wall, *uptime);
        let anchor = self.anchor_of(latest, boot, uptime);
        let known = anchor.time.plus(uptime - anchor.uptime).max(latest);
        let by = wall.0.saturating_sub(known.0);
        if (-STEP..=anchor.allows).contains(&by) {
            self.believe(reading);
            return Moment::certain(wall.max(latest));
        }
        self.anchor = Some(anchor);
        if wall.plus(STEP) < latest {
            self.doubt = None;
            let matter = Matter::Behind { wall, latest };
            return Moment {
                now: known,
                matter: Some(matter),
            };
        }
        let doubt = self
            .doubt
            .filter(|it| it.by.abs_diff(by) <= STEP.unsigned_abs() && it.since <= uptime)
            .unwrap_or(Doubt { since: uptime, by });
        let left = doubt.since.saturating_add(HOLD).saturating_sub(uptime);
        if left <= 0 || ask() == TimeService::Synchronised {
            if by > 0 {
                self.jumped(Jump {
                    from: latest,
                    to: wall,
                });
            }
            self.believe(reading);
            return Moment::certain(wall.max(latest));
        }
        self.doubt = Some(doubt);
        let (now, matter) = if by > 0 {
            (known, Matter::Ahead { wall, known, left })
        } else {
            // Nothing was recorded since, so nothing is undone by it.
            (wall.max(latest), Matter::Back { wall, known, left })
        };
        Moment {
            now,
            matter: Some(matter),
        }
    }

    /// What is known in this boot: out of an earlier one, that it is not before what was known then.
    fn anchor_of(&mut self, latest: Time, boot: &str, uptime: i64) -> Anchor {
        let (time, allows) = match self.anchor.take() {
            Some(anchor) if anchor.boot == boot && anchor.uptime <= uptime => return anchor,
            Some(anchor) if anchor.boot != boot => (anchor.time.max(latest), OFF),
            Some(_) => (latest, OFF),
            None => (latest, UNREMEMBERED),
        };
        self.doubt = None;
        Anchor {
            boot: boot.to_owned(),
            uptime,
            time,
            allows,
        }
    }

    /// Goes by the clock from here on.
    fn believe(&mut self, reading: &Reading) {
        let Reading { wall, boot, uptime } = reading;
        self.doubt = None;
        self.anchor = Some(Anchor {
            boot: boot.clone(),
            uptime: *uptime,
            time: *wall,
            allows: STEP,
        });
    }

    fn jumped(&mut self, jump: Jump) {
        if self.jumps.len() >= JUMPS {
            self.jumps.remove(0);
        }
        self.jumps.push(jump);
    }

    /// Takes the clock as right, because a person says so: forward at once, and back behind a jump, though no further than the
    /// last record before it and not before `built`, when this program was. `look` finds a jump in older records.
    ///
    /// # Errors
    /// [`NotAccepted`]; nothing has changed then.
    pub fn accept(
        &mut self,
        latest: Time,
        reading: &Reading,
        built: Time,
        look: impl FnOnce() -> Option<Jump>,
    ) -> Result<Accepted, NotAccepted> {
        let wall = reading.wall;
        let is_well = |it: &Self| {
            let mut it = it.clone();
            let heard = it.hear(latest, reading, &mut || TimeService::Silent);
            heard.matter.is_none()
        };
        if wall < built {
            return Err(NotAccepted::BeforeBuild { wall, built });
        }
        if is_well(self) {
            return Err(NotAccepted::Well(wall));
        }
        let mut at = wall;
        if wall < latest {
            let spans = |it: &&Jump| it.from <= wall.plus(ROUNDING) && wall < it.to;
            let mut known = self.jumps.iter().filter(|it| wall < it.to).peekable();
            let before = match known.peek() {
                Some(_) => known.find(spans).map(|it| it.from),
                None => look().as_ref().filter(spans).map(|it| it.from),
            };
            let Some(before) = before else {
                return Err(NotAccepted::NoJump { wall, latest });
            };
            at = wall.max(before);
            self.jumps.retain(|it| it.to <= wall);
            self.anchor = None;
        } else if self.anchor.as_ref().is_some_and(|it| it.time < wall) {
            self.jumped(Jump {
                from: latest,
                to: wall,
            });
        }
        self.believe(reading);
        Ok(Accepted { at })
    }

    /// Whether what is remembered tells a later process more than `before` did: the seconds since boot tell the rest.
    pub fn tells_more_than(&self, before: &Self) -> bool {
        let (Some(here), Some(then)) = (&self.anchor, &before.anchor) else {
            return self != before;
        };
        let passed = here.uptime.saturating_sub(then.uptime);
        let drift = here.time.0.saturating_sub(then.time.plus(passed).0);
        self.doubt != before.doubt
            || self.jumps != before.jumps
            || here.boot != then.boot
            || here.allows != then.allows
            // After the next boot only what was written here is known.
            || passed >= HOLD / 4
            || drift.abs() > STEP / 10
    }
}

#[cfg(test)]
mod tests;
