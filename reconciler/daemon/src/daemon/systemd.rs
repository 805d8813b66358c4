//! Who is told how it goes.

use std::time::Duration;

use sd_notify::NotifyState;

/// The one who started the daemon and watches over it.
pub trait Supervisor {
    /// The first cycle is through.
    fn ready(&mut self);
    /// How it stands, in one line.
    fn status(&mut self, line: &str);
    /// Still alive.
    fn watchdog(&mut self);
    /// How often [`Supervisor::watchdog`] is expected, if at all.
    fn watchdog_every(&self) -> Option<Duration>;
    /// About to end.
    fn stopping(&mut self);
}

/// systemd, by the socket it names in the environment; nobody, when it names none.
#[derive(Debug)]
pub struct Systemd {
    watchdog_every: Option<Duration>,
}

impl Systemd {
    /// Looks at the environment.
    pub fn from_environment() -> Self {
        // Twice in the time it allows, so that one late turn is not the end.
        Self {
            watchdog_every: sd_notify::watchdog_enabled().map(|within| within / 2),
        }
    }

    fn notify(state: NotifyState<'_>) {
        if let Err(error) = sd_notify::notify(&[state]) {
            tracing::debug!(%error, "The service manager was not told.");
        }
    }
}

impl Supervisor for Systemd {
    fn ready(&mut self) {
        Self::notify(NotifyState::Ready);
    }

    fn status(&mut self, line: &str) {
        Self::notify(NotifyState::Status(line));
    }

    fn watchdog(&mut self) {
        Self::notify(NotifyState::Watchdog);
    }

    fn watchdog_every(&self) -> Option<Duration> {
        self.watchdog_every
    }

    fn stopping(&mut self) {
        Self::notify(NotifyState::Stopping);
    }
}

/// Nobody.
#[derive(Debug)]
pub struct Silent;

impl Supervisor for Silent {
    fn ready(&mut self) {}
    fn status(&mut self, _: &str) {}
    fn watchdog(&mut self) {}
    fn watchdog_every(&self) -> Option<Duration> {
        None
    }
    fn stopping(&mut self) {}
}
