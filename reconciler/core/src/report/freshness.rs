//! How much is known of a host that cannot be asked just now: what it last told, and when.

use std::fmt::Write as _;

use super::escape;
use crate::executor::Executor;
use crate::time::Time;

/// Why nothing is planned for a host: what it last told is no ground to guess from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Unknown<W> {
    /// It was read, and not lately enough.
    Stale {
        /// When it was read last.
        read: Time,
        /// How old that may be, in seconds, by the settings.
        limit: u32,
    },
    /// It was read at a time that is still to come: its clock is wrong, or the one here.
    Ahead {
        /// When it was read, by its clock.
        read: Time,
        /// How far ahead that may be, in seconds, by the settings.
        limit: u32,
    },
    /// It never told anything.
    NeverSeen,
    /// What it told cannot be read, and why.
    Unreadable(W),
}

/// An executor that nothing is planned for.
#[derive(Clone, Copy, Debug)]
pub struct UnknownHost<'a> {
    /// Which.
    pub executor: &'a Executor,
    /// Why.
    pub why: Unknown<&'a str>,
}

/// When a host was read, if that is recent enough to plan on. A moment further ahead of `now` than `limit` seconds is
/// told by a clock that is wrong, and is no better than an old one.
///
/// # Errors
/// When it is not; what is to be said of it then.
pub fn freshness<W>(read: Time, now: Time, limit: u32) -> Result<Time, Unknown<W>> {
    match now.0.abs_diff(read.0) > u64::from(limit) {
        true if read > now => Err(Unknown::Ahead { read, limit }),
        true => Err(Unknown::Stale { read, limit }),
        false => Ok(read),
    }
}

impl<W: AsRef<str>> Unknown<W> {
    /// The same, lent.
    pub fn as_str(&self) -> Unknown<&str> {
        match *self {
            Self::Stale { read, limit } => Unknown::Stale { read, limit },
            Self::Ahead { read, limit } => Unknown::Ahead { read, limit },
            Self::NeverSeen => Unknown::NeverSeen,
            Self::Unreadable(ref why) => Unknown::Unreadable(why.as_ref()),
        }
    }
}

impl Unknown<&str> {
    /// In a word or two.
    pub(super) fn word(self) -> &'static str {
        match self {
            Self::Stale { .. } => "stale",
            Self::Ahead { .. } => "clock ahead",
            Self::NeverSeen => "never seen",
            Self::Unreadable(_) => "unreadable",
        }
    }

    /// As a sentence that follows the name of the host.
    pub(super) fn tell(self, out: &mut String) {
        match self {
            Self::Stale { read, limit } => {
                let _ = write!(
                    out,
                    "last read at {read}, and the settings call it stale after {}",
                    length(limit)
                );
            }
            Self::Ahead { read, limit } => {
                let _ = write!(
                    out,
                    "read at {read} by its own clock, which is more than {} ahead of the one here: one of the two is wrong",
                    length(limit)
                );
            }
            Self::NeverSeen => out.push_str("has never told what is there"),
            Self::Unreadable(why) => {
                out.push_str("what it told cannot be read: ");
                escape::prose(out, why);
            }
        }
    }
}

/// A length of time as settings have it: `15 minutes`.
fn length(seconds: u32) -> String {
    let (number, unit) = match seconds {
        0 => (0, "second"),
        _ if seconds.is_multiple_of(86_400) => (seconds / 86_400, "day"),
        _ if seconds.is_multiple_of(3_600) => (seconds / 3_600, "hour"),
        _ if seconds.is_multiple_of(60) => (seconds / 60, "minute"),
        _ => (seconds, "second"),
    };
    crate::ink::count(number as usize, unit)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_too_old_or_told_by_a_wrong_clock_is_not_known() {
        let now = Time(10_000);
        let limit = 900;
        let seen = |read| freshness::<&str>(read, now, limit);
        for read in [Time(9_100), now, Time(10_900)] {
            assert_eq!(seen(read), Ok(read));
        }
        for read in [Time(9_099), Time(i64::MIN)] {
            assert_eq!(seen(read), Err(Unknown::Stale { read, limit }));
        }
        for read in [Time(10_901), Time(i64::MAX)] {
            assert_eq!(seen(read), Err(Unknown::Ahead { read, limit }));
        }
    }

    #[test]
    fn a_limit_reads_as_it_was_written() {
        let said: Vec<String> = [0, 1, 90, 900, 3_600, 172_800].map(length).into();
        let meant = [
            "0 seconds",
            "1 second",
            "90 seconds",
            "15 minutes",
            "1 hour",
            "2 days",
        ];
        assert_eq!(said, meant);
    }
}
