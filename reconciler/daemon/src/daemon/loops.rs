//! The loops of several executors in one process, each on a thread of its own. One that hangs, cannot be put together or goes
//! down is told of by its name and begun anew later; none of the others waits for it.

use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use muster_core::executor::Executor;
use muster_core::time::Time;
use tokio::runtime::{Builder, Runtime};
use tokio::sync::Notify;
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender};
use tokio::task::spawn_blocking;
use tokio::time::sleep_until;

use super::trouble::{self, Trouble};
use super::{
    Alarm, Cycle, CycleStatus, Ended, Event, Knock, Look, Pace, Pulse, Pulsing, Supervisor,
    Surroundings, Tells, Unwatched, Watch, Watcher, Why, serve,
};
use crate::state_dir::StateDir;

/// After this, a loop that went down is begun anew.
pub const MENDED_AFTER: Duration = Duration::from_secs(300);

/// How often one looks whether a loop hangs, where the service manager does not want to hear more often.
const LOOK_EVERY: Duration = Duration::from_secs(60);

/// Puts a cycle together, or says why it cannot be; asked again after each failure.
pub type Begin = Arc<dyn Fn() -> Result<Box<dyn Cycle>, String> + Send + Sync>;

/// The loop of one executor, before it begins.
pub struct ExecutorLoop {
    /// Whose it is.
    pub executor: Executor,
    /// Its state directory, where it is said when it cannot be kept.
    pub state: StateDir,
    /// Puts its cycle together.
    pub begin: Begin,
    /// How often it looks.
    pub pace: Pace,
    /// Where to knock at it.
    pub knock: Knock,
    /// Where its pulse is felt.
    pub pulse: Pulse,
    /// What happens from outside: the sending end, for what is watched.
    pub send: UnboundedSender<Event>,
    /// And where it is heard.
    pub events: UnboundedReceiver<Event>,
}

/// Loops at work.
pub struct Loops {
    all: Vec<AtWork>,
    changed: Arc<Notify>,
}

/// One of them, seen from the thread that watches over all.
struct AtWork {
    executor: Executor,
    state: StateDir,
    pulse: Pulse,
    board: Arc<Board>,
    hangs: bool,
    trouble: Option<Trouble>,
}

/// What a loop says of itself.
struct Board {
    said: Mutex<Said>,
    ended: AtomicBool,
    changed: Arc<Notify>,
}

#[derive(Default)]
struct Said {
    /// Whether a first cycle is through.
    ready: bool,
    /// How the last one went.
    line: String,
    /// Why there is none.
    trouble: Option<String>,
}

impl Board {
    fn said(&self) -> MutexGuard<'_, Said> {
        self.said.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn say(&self, say: impl FnOnce(&mut Said)) {
        say(&mut self.said());
        self.changed.notify_one();
    }
}

/// Begins all of them.
///
/// # Errors
/// When the system has no threads to give.
pub fn begin(loops: Vec<ExecutorLoop>) -> io::Result<Loops> {
    let changed = Arc::new(Notify::new());
    let mut all = Vec::new();
    for one in loops {
        let board = Arc::new(Board {
            said: Mutex::default(),
            ended: AtomicBool::new(false),
            changed: Arc::clone(&changed),
        });
        all.push(AtWork {
            executor: one.executor.clone(),
            state: one.state.clone(),
            pulse: one.pulse.clone(),
            board: Arc::clone(&board),
            hangs: false,
            trouble: None,
        });
        let runtime = Builder::new_current_thread().enable_all().build()?;
        // Nobody waits for a thread: one that hangs ends with the process.
        thread::Builder::new()
            .name(one.executor.to_string())
            .spawn(move || {
                keep(one, runtime, &board);
                board.ended.store(true, Ordering::Release);
                board.changed.notify_one();
            })?;
    }
    Ok(Loops { all, changed })
}

/// Why a loop is not at work any more.
enum Down {
    /// It was told to stop.
    Stopped,
    /// It cannot go on.
    Failed(String),
}

/// Keeps one loop at work until it is told to stop.
fn keep(one: ExecutorLoop, runtime: Runtime, board: &Arc<Board>) {
    let ExecutorLoop {
        executor,
        begin,
        pace,
        knock,
        pulse,
        send,
        events,
        ..
    } = one;
    let entered = runtime.enter();
    let mut watch = watcher(&send);
    let mut supervisor = OnBoard(Arc::clone(board));
    let mut random = super::random_numbers();
    let mut around = Surroundings {
        events,
        knock,
        supervisor: &mut supervisor,
        alarm: Alarm::new(),
        watch: watch.as_mut(),
        random: &mut random,
    };
    drop(entered);
    loop {
        let life = life(&executor, &begin, &pulse, pace, &mut around);
        let down = catch_unwind(AssertUnwindSafe(|| runtime.block_on(life)));
        let why = match down {
            Ok(Down::Stopped) => break,
            Ok(Down::Failed(why)) => why,
            Err(_) => "it crashed; the log tells where".to_owned(),
        };
        pulse.fails();
        board.say(|it| it.trouble = Some(why));
        let again = tokio::time::Instant::now() + MENDED_AFTER;
        if runtime.block_on(is_stopped_before(again, &mut around.events)) {
            break;
        }
    }
    drop(around);
    runtime.shutdown_background();
}

async fn life(
    executor: &Executor,
    begin: &Begin,
    pulse: &Pulse,
    pace: Pace,
    around: &mut Surroundings<'_>,
) -> Down {
    pulse.begins();
    let begin = Arc::clone(begin);
    let name = executor.to_string();
    let begun = spawn_blocking(move || tracing::error_span!("executor", name).in_scope(|| begin()));
    let cycle = match begun.await {
        Ok(Ok(cycle)) => cycle,
        Ok(Err(why)) => return Down::Failed(why),
        Err(error) => resume_unwind(error.into_panic()),
    };
    let named = Named {
        cycle,
        name: executor.to_string(),
    };
    let pulsing = Pulsing {
        cycle: Box::new(named),
        pulse: pulse.clone(),
    };
    match serve(Box::new(pulsing), pace, around).await {
        Ended::Stopped => Down::Stopped,
        Ended::Broken => Down::Failed("it cannot go on; the log tells why".to_owned()),
    }
}

/// Waits until it is time to begin anew, or somebody asks for it; whether it was told to stop before.
pub async fn is_stopped_before(
    deadline: tokio::time::Instant,
    events: &mut UnboundedReceiver<Event>,
) -> bool {
    loop {
        tokio::select! {
            event = events.recv() => match event {
                Some(Event::Stop) | None => return true,
                Some(Event::Poke) => return false,
                Some(Event::Touched) => {}
            },
            () = sleep_until(deadline) => return false,
        }
    }
}

/// What watches directories, and sends what it sees.
pub fn watcher(send: &UnboundedSender<Event>) -> Box<dyn Watch> {
    match Watcher::new(send.clone()) {
        Ok(watcher) => Box::new(watcher),
        Err(error) => {
            tracing::warn!(%error, "Nothing is watched; changes are found by polling.");
            Box::new(Unwatched)
        }
    }
}

/// A cycle in whose log lines its executor stands.
struct Named {
    cycle: Box<dyn Cycle>,
    name: String,
}

impl Cycle for Named {
    fn has_moved(&mut self) -> bool {
        self.cycle.has_moved()
    }

    fn run(&mut self, why: Why, stop: &dyn Fn() -> bool) -> CycleStatus {
        let name = &self.name;
        tracing::error_span!("executor", name).in_scope(|| self.cycle.run(why, stop))
    }

    fn watch_paths(&self) -> Vec<PathBuf> {
        self.cycle.watch_paths()
    }

    fn look(&self, tells: Tells, every: Duration) -> Option<Look> {
        self.cycle.look(tells, every)
    }
}

/// Tells the thread that watches over all loops.
struct OnBoard(Arc<Board>);

impl Supervisor for OnBoard {
    fn ready(&mut self) {
        self.0.say(|it| it.ready = true);
    }

    fn status(&mut self, line: &str) {
        self.0.say(|it| {
            line.clone_into(&mut it.line);
            it.trouble = None;
        });
    }

    fn watchdog(&mut self) {}

    fn watchdog_every(&self) -> Option<Duration> {
        None
    }

    fn stopping(&mut self) {}
}

impl Loops {
    /// Watches over all of them until each has ended or hangs after it was told to stop. `supervisor` hears that the process
    /// is ready with the first loop that is, and that it lives for as long as any of them turns.
    pub async fn watch_over(&mut self, now: fn() -> Time, supervisor: &mut dyn Supervisor) {
        let tick = supervisor
            .watchdog_every()
            .map_or(LOOK_EVERY, |it| it.min(LOOK_EVERY));
        let (mut ready, mut told) = (false, String::new());
        while !self.is_over() {
            let next = tokio::time::Instant::now() + tick;
            tokio::select! {
                () = self.changed.notified() => {}
                () = sleep_until(next) => {}
            }
            self.look(Instant::now(), now());
            let line = self.line();
            if line != told {
                supervisor.status(&line);
                told = line;
            }
            if !ready && self.all.iter().any(|it| it.board.said().ready) {
                ready = true;
                supervisor.ready();
            }
            if self.all.iter().any(|it| !it.hangs) {
                supervisor.watchdog();
            }
        }
        supervisor.stopping();
    }

    /// Looks how each of them is at `instant`, and says of those that are not well what is the matter.
    pub fn look(&mut self, instant: Instant, now: Time) {
        for one in &mut self.all {
            one.hangs = !one.pulse.turns(instant);
            let why = match one.hangs {
                true => Some("a cycle does not come to its end".to_owned()),
                false => one.board.said().trouble.clone(),
            };
            match why {
                Some(why) if one.trouble.as_ref().is_none_or(|it| it.why != why) => {
                    tracing::error!(
                        "{} is not kept: {why}. It is begun anew as soon as that can be; the others go on.",
                        one.executor
                    );
                    let trouble = Trouble { since: now, why };
                    if let Err(error) = trouble::write(&one.state, &trouble) {
                        tracing::warn!(
                            "{} cannot be written: {error}.",
                            one.state.trouble().display()
                        );
                    }
                    one.trouble = Some(trouble);
                }
                Some(_) => {}
                None if one.trouble.take().is_some() => {
                    tracing::info!("{} is kept again.", one.executor);
                    trouble::clear(&one.state);
                }
                None => {}
            }
        }
    }

    /// Whether nothing is left to wait for.
    pub fn is_over(&self) -> bool {
        let ended = |it: &AtWork| it.board.ended.load(Ordering::Acquire);
        self.all.iter().all(|it| ended(it) || it.hangs) && self.all.iter().any(ended)
    }

    /// How they are, in one line.
    pub fn line(&self) -> String {
        let of = |it: &AtWork| match &it.trouble {
            Some(trouble) => format!("{}: {}", it.executor, trouble.why),
            None => format!("{}: {}", it.executor, it.board.said().line),
        };
        self.all.iter().map(of).collect::<Vec<_>>().join("; ")
    }
}

#[cfg(test)]
mod tests;
