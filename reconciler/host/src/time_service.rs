//! What this machine's time service says of the clock.

use muster_core::clock::TimeService;
use muster_core::time::Time;

use crate::units::Bus;

/// By so many seconds the clock may have gone on while it was asked about.
const MEANWHILE: i64 = 5;

/// Whether a time service keeps the clock that says `wall` right. One that nobody can be asked about does not; neither does one
/// that keeps another clock than the one that was read here.
pub fn ask(wall: Time) -> TimeService {
    match Bus::connect().and_then(|bus| bus.time_service()) {
        Ok(said) => word(said, wall),
        Err(why) => {
            tracing::debug!("The time service cannot be asked about: {why}.");
            TimeService::Silent
        }
    }
}

fn word((synchronised, micros): (bool, u64), wall: Time) -> TimeService {
    let there = i64::try_from(micros / 1_000_000).unwrap_or(i64::MAX);
    if synchronised && there.abs_diff(wall.0) <= MEANWHILE.unsigned_abs() {
        TimeService::Synchronised
    } else {
        TimeService::Silent
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn its_word_counts_for_the_clock_that_it_keeps() {
        let wall = Time(1_795_361_159);
        let at = |seconds: u64| seconds * 1_000_000;
        assert_eq!(
            word((true, at(1_795_361_160)), wall),
            TimeService::Synchronised
        );
        for said in [
            (false, at(1_795_361_159)),
            (true, at(1_795_361_159 - 3_600)),
            (true, u64::MAX),
            (true, 0),
        ] {
            assert_eq!(word(said, wall), TimeService::Silent, "{said:?}");
        }
    }
}
