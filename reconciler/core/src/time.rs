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

/// Not a moment as people write one.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "`{}` is no moment: write a date (2026-12-01), a time (2026-12-01T08:00:00Z) or a length (45m, 8h, 3d)",
    .0.escape_debug()
)]
pub struct NotAMoment(pub String);

/// Which way a length of time is counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Counted {
    /// From now on.
    Ahead,
    /// Until now.
    Back,
}

impl Time {
    /// A moment as people write it: a date, which begins in UTC; a time with its zone; or a length of time from `now`, in
    /// `s`, `m`, `h`, `d` or `w`.
    ///
    /// # Errors
    /// When it is none of them.
    pub fn from_words(text: &str, now: Self, counted: Counted) -> Result<Self, NotAMoment> {
        let wrong = || NotAMoment(text.chars().take(80).collect());
        if let Ok(date) = text.parse::<Date>()
            && text.len() == 10
        {
            let midnight = date
                .to_zoned(jiff::tz::TimeZone::UTC)
                .map_err(|_| wrong())?;
            return Ok(Self(midnight.timestamp().as_second()));
        }
        if let Ok(moment) = text.parse::<jiff::Timestamp>() {
            return Ok(Self(moment.as_second()));
        }
        let digits = text.trim_end_matches(|c: char| c.is_ascii_lowercase());
        let unit = match &text[digits.len()..] {
            "s" => 1,
            "m" => 60,
            "h" => 3_600,
            "d" => 86_400,
            "w" => 604_800,
            _ => return Err(wrong()),
        };
        let number = Some(digits)
            .filter(|it| !it.is_empty() && it.bytes().all(|byte| byte.is_ascii_digit()))
            .and_then(|it| it.parse::<i64>().ok())
            .and_then(|it| it.checked_mul(unit))
            .ok_or_else(wrong)?;
        Ok(now.plus(match counted {
            Counted::Ahead => number,
            Counted::Back => -number,
        }))
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
    fn a_moment_is_read_as_people_write_it() {
        let now = Time(1_795_361_159);
        let read = |text| Time::from_words(text, now, Counted::Ahead);
        for (text, means) in [
            ("2026-12-01", "2026-12-01T00:00:00Z"),
            ("2026-12-01T08:30:00Z", "2026-12-01T08:30:00Z"),
            ("2026-12-01T08:30:00+02:00", "2026-12-01T06:30:00Z"),
            ("90s", "2026-11-22T15:27:29Z"),
            ("2h", "2026-11-22T17:25:59Z"),
            ("3d", "2026-11-25T15:25:59Z"),
        ] {
            assert_eq!(read(text).unwrap().to_string(), means, "{text}");
        }
        let back = Time::from_words("1w", now, Counted::Back).unwrap();
        assert_eq!(back.to_string(), "2026-11-15T15:25:59Z");
        for text in [
            "",
            "h",
            "2",
            "2 h",
            "-2h",
            "2y",
            "tomorrow",
            "2026-13-01",
            "9999999999999999w",
        ] {
            assert!(read(text).is_err(), "{text}");
        }
    }

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
