//! The one clock of this crate, so that tests need not wait.

use std::time::{Duration, Instant, SystemTime};

use muster_core::time::Time;

/// Tells the time, and lets it pass.
pub trait Clock: Send + Sync {
    /// The moment, as this machine believes it to be.
    fn now(&self) -> Time;

    /// A monotonic clock: the time since some instant, which never goes back when [`Clock::now`] is set.
    fn steady(&self) -> Duration;

    /// Waits.
    fn wait(&self, time: Duration);
}

/// The machine's clock.
#[derive(Clone, Copy, Debug)]
pub struct SystemClock {
    began: Instant,
}

impl Default for SystemClock {
    fn default() -> Self {
        Self {
            began: Instant::now(),
        }
    }
}

impl Clock for SystemClock {
    fn now(&self) -> Time {
        let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
        Time(since.map_or(0, |it| i64::try_from(it.as_secs()).unwrap_or(i64::MAX)))
    }

    fn steady(&self) -> Duration {
        self.began.elapsed()
    }

    fn wait(&self, time: Duration) {
        std::thread::sleep(time);
    }
}
