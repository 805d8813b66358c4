//! When the service manager hears that the loop turns, and how it is known that a cycle does.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

use super::{PATIENCE, Supervisor};

/// Far enough away to be never, where nobody wants to be told.
const NEVER: Duration = Duration::from_secs(86_400);

/// When the service manager is to hear next that the loop turns. The moment stands from one turn to the next: a loop that is
/// busy comes to it like one that is idle (F17).
#[derive(Debug)]
pub(super) struct Watchdog {
    every: Option<Duration>,
    due: Instant,
}

impl Watchdog {
    /// Begins to count now.
    pub(super) fn new(supervisor: &dyn Supervisor) -> Self {
        let every = supervisor.watchdog_every();
        Self {
            every,
            due: Instant::now() + every.unwrap_or(NEVER),
        }
    }

    /// When to feed it next.
    pub(super) fn due(&self) -> Instant {
        self.due
    }

    /// Tells `supervisor` that the loop turns, when that is due.
    pub(super) fn feed(&mut self, supervisor: &mut dyn Supervisor) {
        if self.passes() {
            supervisor.watchdog();
        }
    }

    /// Feeds it as long as the cycle that runs gives signs of life.
    pub(super) fn feed_while(&mut self, signs: &SignsOfLife, supervisor: &mut dyn Supervisor) {
        if signs.are_fresh() {
            self.feed(supervisor);
        } else {
            self.passes();
        }
    }

    /// Whether it was due, and is due again later.
    fn passes(&mut self) -> bool {
        let (Some(every), now) = (self.every, Instant::now()) else {
            return false;
        };
        let is_due = self.due <= now;
        if is_due {
            self.due = now + every;
        }
        is_due
    }
}

/// When a cycle that runs last asked whether it is to stop. It asks between batches, and as a long act gets on: an archive
/// that takes half a day asks all the time, and one that hangs does not.
#[derive(Clone, Debug)]
pub(super) struct SignsOfLife(Arc<Mutex<Instant>>);

impl SignsOfLife {
    /// It has just begun.
    pub(super) fn begin() -> Self {
        Self(Arc::new(Mutex::new(Instant::now())))
    }

    /// It asked.
    pub(super) fn give(&self) {
        *self.last() = Instant::now();
    }

    fn are_fresh(&self) -> bool {
        self.last().elapsed() < PATIENCE
    }

    fn last(&self) -> MutexGuard<'_, Instant> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests;
