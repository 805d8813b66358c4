//! This machine's clocks, and what an executor remembers of them.
//!
//! What is made of them is decided in `muster_core::clock`. The file in the state directory can be lost: a clock is then held
//! against the last record alone.

use std::fs;
use std::io::{self, Write as _};

use muster_core::clock::{Clock, Jump, Moment, Reading, TimeService};
use muster_core::facts::Facts;
use muster_core::time::Time;
use muster_host::time_service;
use rustix::time::{ClockId, clock_gettime};
use serde::{Deserialize, Serialize};

use crate::cycle::chain;
use crate::journal;
use crate::state_dir::StateDir;

/// The format of the file.
const FORMAT: u32 = 1;

/// When this program was built, or what it was built from was released: no clock that is right says less.
pub const BUILT: Time = Time(built());

/// What the clocks say, of which `now` is the one that people set.
pub fn read(now: fn() -> Time) -> Reading {
    let boot = fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap_or_default();
    Reading {
        wall: now(),
        boot: boot.trim().to_owned(),
        uptime: clock_gettime(ClockId::Boottime).tv_sec,
    }
}

/// What the time service says of a clock that says `wall`.
pub fn ask(wall: Time) -> TimeService {
    time_service::ask(wall)
}

#[derive(Serialize, Deserialize)]
struct Remembered {
    format: u32,
    clock: Clock,
}

/// What is remembered of the clock; nothing, where there is no file that can be read.
pub fn remembered(state: &StateDir) -> Clock {
    let text = match fs::read(state.clock()) {
        Ok(text) => text,
        Err(error) => {
            if error.kind() != io::ErrorKind::NotFound {
                tracing::warn!("{} cannot be read: {error}.", state.clock().display());
            }
            return Clock::default();
        }
    };
    match serde_json::from_slice::<Remembered>(&text) {
        Ok(Remembered {
            format: FORMAT,
            clock,
        }) => clock,
        Ok(Remembered { .. }) => Clock::default(),
        Err(error) => {
            tracing::warn!("{} is not understood: {error}.", state.clock().display());
            Clock::default()
        }
    }
}

/// Remembers it, whole or not at all.
pub fn remember(state: &StateDir, clock: &Clock) {
    let write = || -> io::Result<()> {
        let mut file = tempfile::NamedTempFile::new_in(state.path())?;
        let remembered = Remembered {
            format: FORMAT,
            clock: clock.clone(),
        };
        file.write_all(&serde_json::to_vec(&remembered)?)?;
        file.persist(state.clock()).map_err(|error| error.error)?;
        Ok(())
    };
    if let Err(error) = write() {
        tracing::warn!("{} cannot be written: {error}.", state.clock().display());
    }
}

/// The moment for whoever looks at an executor or decides about it, beside the daemon; nothing is remembered.
pub fn moment(state: &StateDir, facts: &Facts, now: fn() -> Time) -> Moment {
    let reading = read(now);
    remembered(state).hear(facts.latest, &reading, &mut || ask(reading.wall))
}

/// The jump across `wall` that the records of an executor show: those of its ledger, and of its journal.
pub fn jump_in_records(state: &StateDir, facts: &Facts, wall: Time) -> Option<Jump> {
    let mut records = match journal::moments(&state.journal()) {
        Ok(moments) => moments,
        Err(error) => {
            tracing::debug!("The journal does not tell of a jump: {}.", chain(&error));
            Vec::new()
        }
    };
    let ledger = muster_git::Ledger::open(&state.ledger(), &facts.executor.ledger_ref());
    match ledger.and_then(|it| it.log(usize::MAX)) {
        Ok(log) => records.extend(log.iter().map(|it| Time(it.time))),
        Err(error) => tracing::debug!("The ledger does not tell of a jump: {}.", chain(&error)),
    }
    records.push(facts.latest);
    Jump::across(wall, &records)
}

/// Seconds, as `build.rs` wrote them down.
const fn built() -> i64 {
    let digits = env!("MUSTER_BUILT").as_bytes();
    let (mut seconds, mut at) = (0, 0);
    while at < digits.len() {
        assert!(digits[at].is_ascii_digit());
        seconds = seconds * 10 + (digits[at] - b'0') as i64;
        at += 1;
    }
    seconds
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_remembered_is_read_back_and_what_is_not_understood_is_nothing() {
        let dir = tempfile::tempdir().unwrap();
        let state = StateDir::at(dir.path());
        assert_eq!(remembered(&state), Clock::default());
        let mut clock = Clock::default();
        let reading = read(|| Time(1_795_361_159));
        drop(clock.hear(Time(1_795_361_100), &reading, &mut || TimeService::Silent));
        assert_ne!(clock, Clock::default());
        remember(&state, &clock);
        assert_eq!(remembered(&state), clock);
        for text in ["", "{", r#"{"format":2,"clock":{}}"#, "[]"] {
            fs::write(state.clock(), text).unwrap();
            assert_eq!(remembered(&state), Clock::default(), "{text}");
        }
    }

    #[test]
    fn this_program_was_built_before_it_runs() {
        assert!(BUILT > Time(1_795_000_000), "{BUILT}");
    }
}
