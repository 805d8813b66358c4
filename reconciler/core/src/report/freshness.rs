//! How much is known of a host that cannot be asked just now: what it last told, and when.

use std::fmt::Write as _;

use super::escape;
use crate::policy::Executor;
use crate::time::Time;

/// Why nothing is planned for a host: what it last told is no ground to guess from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unknown<'a> {
    /// It was read, and not lately enough.
    Stale {
        /// When it was read last.
        read: Time,
        /// How old that may be, in seconds, by the settings.
        limit: u32,
    },
    /// It never told anything.
    NeverSeen,
    /// What it told cannot be read.
    Unreadable(&'a str),
}

/// An executor that nothing is planned for.
#[derive(Clone, Copy, Debug)]
pub struct UnknownHost<'a> {
    /// Which.
    pub executor: &'a Executor,
    /// Why.
    pub why: Unknown<'a>,
}

/// When a host was read, if that is recent enough to plan on. A moment further ahead of `now` than `limit` seconds is
/// told by a clock that is wrong, and is no better than an old one.
///
/// # Errors
/// When it is not; what is to be said of it then.
pub fn freshness(read: Option<Time>, now: Time, limit: u32) -> Result<Time, Unknown<'static>> {
    match read {
        None => Err(Unknown::NeverSeen),
        Some(read) if now.0.abs_diff(read.0) > u64::from(limit) => {
            Err(Unknown::Stale { read, limit })
        }
        Some(read) => Ok(read),
    }
}

impl Unknown<'_> {
    /// In a word or two.
    pub(super) fn word(self) -> &'static str {
        match self {
            Self::Stale { .. } => "stale",
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
    super::phrase::count(number as usize, unit)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_too_old_or_told_by_a_wrong_clock_is_stale() {
        let now = Time(10_000);
        assert_eq!(freshness(Some(Time(9_100)), now, 900), Ok(Time(9_100)));
        assert_eq!(freshness(Some(Time(10_900)), now, 900), Ok(Time(10_900)));
        for read in [Time(9_099), Time(10_901), Time(i64::MIN), Time(i64::MAX)] {
            let stale = Err(Unknown::Stale { read, limit: 900 });
            assert_eq!(freshness(Some(read), now, 900), stale);
        }
        assert_eq!(freshness(None, now, 900), Err(Unknown::NeverSeen));
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
