//! Dates and moments. Always given, never asked for: `core` has no clock.

use std::fmt;

use serde::{Deserialize, Serialize};

/// A calendar day in UTC.
pub type Date = jiff::civil::Date;

/// A moment: whole seconds since 1970-01-01T00:00:00Z.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Time(pub i64);

impl Time {
    /// The day this moment falls on, in UTC.
    pub fn date(self) -> Date {
        self.timestamp().to_zoned(jiff::tz::TimeZone::UTC).date()
    }

    /// Days since 1970-01-01, the unit of `shadow(5)`.
    pub fn days(self) -> i64 {
        self.0.div_euclid(86_400)
    }

    /// This moment, `seconds` later.
    pub fn plus(self, seconds: i64) -> Self {
        Self(self.0.saturating_add(seconds))
    }

    fn timestamp(self) -> jiff::Timestamp {
        // Only moments outside the years -9999..=9999 are refused; they are pinned to the nearer end.
        jiff::Timestamp::from_second(self.0).unwrap_or(if self.0 < 0 {
            jiff::Timestamp::MIN
        } else {
            jiff::Timestamp::MAX
        })
    }
}

impl fmt::Display for Time {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.timestamp(), f)
    }
}

impl fmt::Debug for Time {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// Whole days from `earlier` to `later`; negative when `later` comes first.
pub fn days_between(earlier: Date, later: Date) -> i64 {
    earlier
        .until(later)
        .map_or(0, |span| i64::from(span.get_days()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_moment_prints_in_utc_and_knows_its_day() {
        let t = Time(1_795_361_159);
        assert_eq!(t.to_string(), "2026-11-22T15:25:59Z");
        assert_eq!(t.date().to_string(), "2026-11-22");
        assert_eq!(
            days_between("2026-11-22".parse().unwrap(), "2027-01-01".parse().unwrap()),
            40
        );
    }
}
