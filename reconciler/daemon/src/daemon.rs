//! The loop around the cycle: when to look, when to wait longer, when to stop.
//!
//! A cycle runs when something that it reads has moved, when somebody pokes, when a failure is due for another try, and
//! now and then all the same. Which of these it was changes nothing about what it does.

mod alarm;
mod knock;
mod lookout;
pub mod loops;
mod pulse;
mod systemd;
pub mod trouble;
mod watch;
mod watchdog;

use std::hash::{BuildHasher as _, RandomState};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use tokio::sync::mpsc;
use tokio::time::{Instant, sleep_until};

pub use alarm::Alarm;
pub use knock::Knock;
pub use lookout::Look;
use lookout::Lookout;
pub use pulse::{Pulse, Pulsing};
pub use systemd::{Silent, Supervisor, Systemd};
pub use watch::{Tells, Unwatched, Watch, Watcher};
use watchdog::{SignsOfLife, Watchdog};

/// No failure makes the daemon wait longer than this, unless it looks even more seldom anyway.
const LONGEST_WAIT: Duration = Duration::from_secs(600);

/// A ref that moves is often several writes: so long must it have been quiet …
const QUIET: Duration = Duration::from_millis(50);

/// … but nobody is kept waiting longer than this by somebody who never stops writing.
const QUIET_AT_MOST: Duration = Duration::from_millis(500);

/// A cycle that neither ends nor asks whether it is to stop for longer than this counts as stuck: the watchdog is not told
/// any more that all is well.
const PATIENCE: Duration = Duration::from_secs(1_800);

/// What runs in each turn.
pub trait Cycle: Send + 'static {
    /// Whether anything that a cycle reads may have moved since [`Cycle::run`] last began. Costs a few `stat`s; may err
    /// towards yes. Where that cannot be seen from here, as with a remote origin, it is yes.
    fn has_moved(&mut self) -> bool;

    /// Begins what a cycle needs and what takes a while to be there, as something was touched: a cycle may follow when the writing has
    /// come to rest. Waits for nothing.
    fn prepare(&mut self) {}

    /// Runs one cycle. `stop` is asked between batches: what has begun is brought to its end, nothing more is begun. Asking is
    /// a sign of life, too: whatever may take long asks as it gets on, whether it can stop there or not.
    fn run(&mut self, why: Why, stop: &dyn Fn() -> bool) -> CycleStatus;

    /// Directories in which something changes when a branch of a local origin moves; empty for a remote one.
    fn watch_paths(&self) -> Vec<PathBuf>;

    /// A look like [`Cycle::has_moved`], for somebody else to take after each `every` while nothing runs: all of it the
    /// first time, and then as much as is not told anyway. `None` where the cycle has to be asked itself.
    fn look(&self, tells: Tells, every: Duration) -> Option<Look> {
        let _ = (tells, every);
        None
    }

    /// Whether the last one that ran left something that it should have done, for whoever ran just one of them.
    fn left_something(&self) -> bool {
        false
    }
}

/// Why a cycle runs now. For the log alone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Why {
    /// The process has just started.
    Started,
    /// Something has moved.
    Moved,
    /// Somebody asked for it, or knocked.
    Poked,
    /// The last one failed.
    Retry,
    /// The last one said that something would be due.
    Due,
    /// It has not run for a while.
    Drift,
}

/// How a cycle went.
#[derive(Clone, Debug, PartialEq, Eq)]
#[must_use = "what a cycle came to decides when the next one runs"]
pub struct CycleStatus {
    /// Whether to go on as usual.
    pub health: Health,
    /// One line for the service manager's status.
    pub line: String,
    /// After how long something is to be tried again although nothing moves.
    pub due_in: Option<Duration>,
}

/// Whether to go on as usual; what is worse is greater.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Health {
    /// Yes.
    Well,
    /// The origin or the host did not answer; again later, and more and more seldom.
    Failed,
    /// This process cannot go on, such as when it does not know what is in its own journal.
    Broken,
}

/// What happens from outside.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Event {
    /// Something in a watched directory.
    Touched,
    /// SIGHUP.
    Poke,
    /// SIGTERM or SIGINT.
    Stop,
}

/// Where a loop hears what happens from outside, and where it is told.
pub type Ears = (mpsc::UnboundedSender<Event>, mpsc::UnboundedReceiver<Event>);

/// Ears of a loop that has none yet.
pub fn ears() -> Ears {
    mpsc::unbounded_channel()
}

/// How often to look.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Pace {
    /// From one look to the next.
    pub poll: Duration,
    /// From one cycle to the next, although nothing moved.
    pub drift: Duration,
    /// From one cycle to the next at least, however often somebody knocks.
    pub knocks: Duration,
}

impl Pace {
    /// How long to wait after `failures` in a row; `random` is at least 0 and less than 1.
    ///
    /// Doubled with each failure, ten minutes at most, and spread by a tenth in both directions: many hosts that were
    /// started together do not stay together.
    pub fn wait(&self, failures: u32, random: f64) -> Duration {
        let doubled = self
            .poll
            .saturating_mul(1_u32.checked_shl(failures).unwrap_or(u32::MAX));
        doubled
            .min(LONGEST_WAIT.max(self.poll))
            .mul_f64(0.9 + 0.2 * random)
    }
}

/// Why the loop ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ended {
    /// It was told to.
    Stopped,
    /// A cycle said [`Health::Broken`].
    Broken,
}

/// What the loop works with beside the cycle.
pub struct Surroundings<'s> {
    /// What happens from outside.
    pub events: mpsc::UnboundedReceiver<Event>,
    /// Where those knock who only think that something has moved.
    pub knock: Knock,
    /// Who is told how it goes.
    pub supervisor: &'s mut dyn Supervisor,
    /// What wakes the loop when it is time to look.
    pub alarm: Alarm,
    /// What watches directories.
    pub watch: &'s mut dyn Watch,
    /// Numbers of at least 0 and less than 1.
    pub random: &'s mut dyn FnMut() -> f64,
}

/// Runs cycles until told to stop, the first one at once.
pub async fn serve(cycle: Box<dyn Cycle>, pace: Pace, around: &mut Surroundings<'_>) -> Ended {
    let (cycle, ended) = turns(cycle, pace, around).await;
    // What a cycle holds may take a while to let go of, and some of it cannot be on the thread of a loop.
    if let Err(error) = tokio::task::spawn_blocking(move || drop(cycle)).await {
        std::panic::resume_unwind(error.into_panic());
    }
    ended
}

async fn turns(
    cycle: Box<dyn Cycle>,
    pace: Pace,
    around: &mut Surroundings<'_>,
) -> (Box<dyn Cycle>, Ended) {
    let mut cycle = cycle;
    let mut why = Why::Started;
    let mut failures = 0_u32;
    let mut watchdog = Watchdog::new(around.supervisor);
    loop {
        let began = Instant::now();
        let (back, summary, told_to_stop) = turn(cycle, why, pace, &mut watchdog, around).await;
        cycle = back;
        let CycleStatus {
            health,
            line,
            due_in,
        } = summary;
        around.supervisor.status(&line);
        if why == Why::Started {
            around.supervisor.ready();
        }
        match health {
            Health::Well => failures = 0,
            Health::Failed => failures = failures.saturating_add(1),
            Health::Broken => return (cycle, Ended::Broken),
        }
        if told_to_stop {
            around.supervisor.stopping();
            return (cycle, Ended::Stopped);
        }
        let tells = around.watch.follow(&cycle.watch_paths());
        // What moved during the first cycle is told by nobody: the directories are watched from here on.
        if why == Why::Started
            && health == Health::Well
            && matches!(tells, Tells::Everything)
            && cycle.has_moved()
        {
            why = Why::Moved;
            continue;
        }
        let due = due_in.map(|due_in| Instant::now() + due_in);
        let look = cycle.look(tells, pace.poll).filter(|_| failures == 0);
        // Without a thread to be had, the loop looks itself.
        let lookout = look.and_then(|look| Lookout::post(look, pace.poll).ok());
        let times = (began, due);
        let waited = wait(
            cycle.as_mut(),
            (pace, failures),
            times,
            lookout,
            &mut watchdog,
            around,
        );
        match waited.await {
            Some(next) => why = next,
            None => {
                around.supervisor.stopping();
                return (cycle, Ended::Stopped);
            }
        }
    }
}

/// One cycle, on a thread of its own: signals and the watchdog do not wait for it.
async fn turn(
    cycle: Box<dyn Cycle>,
    why: Why,
    pace: Pace,
    watchdog: &mut Watchdog,
    around: &mut Surroundings<'_>,
) -> (Box<dyn Cycle>, CycleStatus, bool) {
    let stop = Arc::new(AtomicBool::new(false));
    let flag = Arc::clone(&stop);
    let signs = SignsOfLife::begin();
    let given = signs.clone();
    let mut cycle = cycle;
    let mut running = tokio::task::spawn_blocking(move || {
        let is_told_to_stop = || {
            given.give();
            flag.load(Ordering::Relaxed)
        };
        let summary = cycle.run(why, &is_told_to_stop);
        (cycle, summary)
    });
    let began = Instant::now();
    let mut poked = false;
    let mut touched = false;
    let mut knocked = false;
    let mut open = true;
    let (mut cycle, summary) = loop {
        watchdog.feed_while(&signs, around.supervisor);
        tokio::select! {
            done = &mut running => match done {
                Ok(done) => break done,
                Err(error) => std::panic::resume_unwind(error.into_panic()),
            },
            event = around.events.recv(), if open => match event {
                Some(Event::Stop) => stop.store(true, Ordering::Relaxed),
                // What is touched meanwhile may have come after the cycle read it: looked at when it has ended.
                Some(Event::Touched) => touched = true,
                Some(Event::Poke) => poked = true,
                None => {
                    open = false;
                    stop.store(true, Ordering::Relaxed);
                }
            },
            () = around.knock.heard() => knocked = true,
            () = sleep_until(watchdog.due()) => {}
        }
    };
    // Somebody asked, wrote or knocked in the middle of a cycle: whether it had seen what they meant is not known.
    let again = if poked || touched && cycle.has_moved() {
        Some(Duration::ZERO)
    } else {
        knocked.then(|| pace.knocks.saturating_sub(began.elapsed()))
    };
    let summary = match summary {
        CycleStatus {
            health: Health::Well,
            line,
            due_in,
        } => CycleStatus {
            health: Health::Well,
            line,
            due_in: again.into_iter().chain(due_in).min(),
        },
        summary => summary,
    };
    (cycle, summary, stop.load(Ordering::Relaxed))
}

/// Waits until there is a reason for the next cycle; `None` when there will be none.
async fn wait(
    cycle: &mut dyn Cycle,
    (pace, failures): (Pace, u32),
    (began, due): (Instant, Option<Instant>),
    lookout: Option<Lookout>,
    watchdog: &mut Watchdog,
    around: &mut Surroundings<'_>,
) -> Option<Why> {
    let drift = began + pace.drift;
    let mut knocked: Option<Instant> = None;
    loop {
        let mut deadline = match lookout {
            Some(_) => drift,
            None => Instant::now() + pace.wait(failures, (around.random)()),
        };
        if failures == 0 {
            deadline = deadline.min(drift).min(due.unwrap_or(deadline));
        }
        deadline = deadline.min(knocked.unwrap_or(deadline));
        let event = loop {
            watchdog.feed(around.supervisor);
            tokio::select! {
                biased;
                event = around.events.recv() => break Some(event?),
                () = seen_by(lookout.as_ref()) => break Some(Event::Touched),
                () = around.knock.heard() => {
                    let soonest = began + pace.knocks;
                    knocked = Some(soonest);
                    deadline = deadline.min(soonest);
                }
                () = around.alarm.until(deadline.min(watchdog.due())) => {
                    if deadline <= Instant::now() {
                        break None;
                    }
                }
            }
        };
        match event {
            Some(Event::Stop) => return None,
            Some(Event::Poke) => return Some(Why::Poked),
            Some(Event::Touched) => {
                cycle.prepare();
                match settle(&mut around.events).await {
                    Settled::Quiet => {}
                    Settled::Poked => return Some(Why::Poked),
                    Settled::Stopped => return None,
                }
                if cycle.has_moved() {
                    return Some(Why::Moved);
                }
            }
            None if knocked.is_some_and(|it| it <= Instant::now()) => return Some(Why::Poked),
            None if failures > 0 => return Some(Why::Retry),
            None => {
                let now = Instant::now();
                if due.is_some_and(|due| due <= now) {
                    return Some(Why::Due);
                }
                if drift <= now {
                    return Some(Why::Drift);
                }
                if cycle.has_moved() {
                    return Some(Why::Moved);
                }
            }
        }
    }
}

/// Never returns when nobody looks.
async fn seen_by(lookout: Option<&Lookout>) {
    match lookout {
        Some(lookout) => lookout.seen().await,
        None => std::future::pending().await,
    }
}

enum Settled {
    Quiet,
    Poked,
    Stopped,
}

/// Waits until the writing has come to rest.
async fn settle(events: &mut mpsc::UnboundedReceiver<Event>) -> Settled {
    let latest = Instant::now() + QUIET_AT_MOST;
    loop {
        tokio::select! {
            event = events.recv() => match event {
                Some(Event::Touched) if Instant::now() < latest => {}
                Some(Event::Touched) => return Settled::Quiet,
                Some(Event::Poke) => return Settled::Poked,
                Some(Event::Stop) | None => return Settled::Stopped,
            },
            () = sleep_until((Instant::now() + QUIET).min(latest)) => return Settled::Quiet,
        }
    }
}

/// Good enough to keep many hosts from asking at the same moment; nothing secret comes of it.
pub(crate) fn random_numbers() -> impl FnMut() -> f64 {
    let state = RandomState::new();
    let mut count = 0_u64;
    move || {
        count += 1;
        f64::from(u32::try_from(state.hash_one(count) >> 32).unwrap_or(0))
            / (f64::from(u32::MAX) + 1.0)
    }
}

#[cfg(test)]
mod tests;
