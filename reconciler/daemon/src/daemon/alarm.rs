//! The timer of the loop.

use std::os::fd::OwnedFd;
use std::time::Duration;

use rustix::time::{
    Itimerspec, TimerfdClockId, TimerfdFlags, TimerfdTimerFlags, Timespec, timerfd_create,
    timerfd_settime,
};
use tokio::io::unix::AsyncFd;
use tokio::time::{Instant, sleep_until};

/// A timer that wakes the loop once.
///
/// The runtime keeps its timers in a wheel, which wakes the process three times for a wait of one second, and most of the
/// cost of an idle poll is the wake-up. A kernel timer (timerfd) wakes it once.
#[derive(Debug)]
pub struct Alarm(Option<AsyncFd<OwnedFd>>);

impl Alarm {
    /// A kernel timer, in a runtime with I/O; the runtime's own timer where the kernel gives none.
    #[allow(
        deprecated,
        reason = "its successor is unsafe, and asks that the file stays open: an OwnedFd does"
    )]
    pub fn new() -> Self {
        let flags = TimerfdFlags::NONBLOCK | TimerfdFlags::CLOEXEC;
        let timer = timerfd_create(TimerfdClockId::Monotonic, flags).ok();
        Self(timer.and_then(|timer| AsyncFd::new(timer).ok()))
    }

    /// The runtime's own timers, whose clock can be paused.
    pub fn of_runtime() -> Self {
        Self(None)
    }

    /// Returns at `deadline`, or a little later. The future may be dropped before that.
    pub async fn until(&self, deadline: Instant) {
        while let Some(timer) = &self.0 {
            let wait = deadline.saturating_duration_since(Instant::now());
            if wait.is_zero() {
                return;
            }
            // Setting it takes back what it rang before: there is nothing to read, only the readiness to clear.
            if timerfd_settime(timer, TimerfdTimerFlags::empty(), &once(wait)).is_err() {
                break;
            }
            match timer.readable().await {
                Ok(mut ready) => ready.clear_ready(),
                Err(_) => break,
            }
        }
        sleep_until(deadline).await;
    }
}

impl Default for Alarm {
    fn default() -> Self {
        Self::new()
    }
}

/// After `wait`, and not again.
fn once(wait: Duration) -> Itimerspec {
    let zero = Timespec {
        tv_sec: 0,
        tv_nsec: 0,
    };
    Itimerspec {
        it_interval: zero,
        it_value: Timespec {
            tv_sec: wait.as_secs().try_into().unwrap_or(i64::MAX),
            tv_nsec: wait.subsec_nanos().into(),
        },
    }
}
