//! F17: fed for as long as the loop turns, and no longer.

use std::path::PathBuf;
use std::sync::mpsc::{Receiver, Sender, channel};

use tokio::sync::mpsc;

use super::*;
use crate::daemon::{
    Alarm, Cycle, CycleStatus, Event, Health, Knock, Pace, Pulse, Pulsing, Surroundings, Unwatched,
    Why, serve,
};

/// What the shipped unit asks for, halved.
const EVERY: Duration = Duration::from_secs(60);

/// A service manager that writes down when it was told.
struct Fed(Vec<Instant>);

impl Supervisor for Fed {
    fn ready(&mut self) {}
    fn status(&mut self, _: &str) {}
    fn watchdog(&mut self) {
        self.0.push(Instant::now());
    }
    fn watchdog_every(&self) -> Option<Duration> {
        Some(EVERY)
    }
    fn stopping(&mut self) {}
}

/// A cycle that does what it is told, and asks whether to stop as often as it is told to.
struct Told(Receiver<Next>, Sender<()>);

enum Next {
    Asks,
    Ends,
}

impl Cycle for Told {
    fn has_moved(&mut self) -> bool {
        true
    }
    fn run(&mut self, _: Why, stop: &dyn Fn() -> bool) -> CycleStatus {
        while let Ok(Next::Asks) = self.0.recv() {
            stop();
            self.1.send(()).unwrap();
        }
        CycleStatus {
            health: Health::Well,
            line: String::new(),
            due_in: None,
        }
    }
    fn watch_paths(&self) -> Vec<PathBuf> {
        Vec::new()
    }
}

/// A cycle that is over at once.
struct Quick;

impl Cycle for Quick {
    fn has_moved(&mut self) -> bool {
        true
    }
    fn run(&mut self, _: Why, _: &dyn Fn() -> bool) -> CycleStatus {
        CycleStatus {
            health: Health::Well,
            line: String::new(),
            due_in: None,
        }
    }
    fn watch_paths(&self) -> Vec<PathBuf> {
        Vec::new()
    }
}

/// When a service manager was told while `story` happened around a loop of `cycle`, in seconds from its beginning.
async fn fed<F: Future<Output = ()>>(
    cycle: impl Cycle,
    knock: Knock,
    story: impl FnOnce(mpsc::UnboundedSender<Event>) -> F,
) -> Vec<u64> {
    let pace = Pace {
        poll: Duration::from_secs(3_600),
        drift: Duration::from_secs(3_600),
        knocks: Duration::from_secs(2),
    };
    let (send, events) = mpsc::unbounded_channel();
    let (mut fed, mut unwatched, mut random) = (Fed(Vec::new()), Unwatched, || 0.5);
    let mut around = Surroundings {
        alarm: Alarm::of_runtime(),
        events,
        knock,
        supervisor: &mut fed,
        watch: &mut unwatched,
        random: &mut random,
    };
    let began = Instant::now();
    tokio::join!(serve(Box::new(cycle), pace, &mut around), story(send));
    let since = |at: Instant| at.duration_since(began).as_secs();
    fed.0.into_iter().map(since).collect()
}

async fn after(seconds: u64) {
    tokio::time::sleep(Duration::from_secs(seconds)).await;
}

/// Lets time pass beside a cycle that runs: a clock that is paused does not go on by itself then.
async fn pass(seconds: u64) {
    for _ in 0..seconds / 10 {
        tokio::time::advance(Duration::from_secs(10)).await;
    }
}

/// The longest time between two tellings within `seconds`.
fn longest(fed: &[u64], seconds: u64) -> u64 {
    let all = [&[0], fed, &[seconds]].concat();
    all.windows(2).map(|it| it[1] - it[0]).max().unwrap()
}

#[tokio::test(start_paused = true)]
async fn it_is_fed_however_busy_the_loop_is() {
    for every in [1, 10, 29, 59, 61] {
        for event in [Event::Poke, Event::Touched] {
            let fed = fed(Quick, Knock::default(), |send| async move {
                for _ in 0..600 / every {
                    after(every).await;
                    send.send(event).unwrap();
                }
                send.send(Event::Stop).unwrap();
            });
            let fed = fed.await;
            assert!(longest(&fed, 600) < 2 * EVERY.as_secs(), "{every}: {fed:?}");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn knocks_without_end_do_not_keep_it_hungry() {
    let (knock, door) = (Knock::default(), Knock::default());
    let doors = door.clone();
    let fed = fed(Quick, knock.clone(), |send| async move {
        let passing = doors.pass_on(vec![knock]);
        let knocking = async {
            for _ in 0..6_000 {
                door.knock();
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
        };
        tokio::select! {
            () = passing => {}
            () = knocking => {}
        }
        send.send(Event::Stop).unwrap();
    });
    let fed = fed.await;
    assert!(longest(&fed, 600) < 2 * EVERY.as_secs(), "{fed:?}");
}

#[tokio::test(start_paused = true)]
async fn an_act_that_gets_on_is_alive_and_one_that_hangs_is_not() {
    let (next, told) = channel();
    let (asked, asks) = channel();
    let pulse = Pulse::default();
    let cycle = Pulsing {
        cycle: Box::new(Told(told, asked)),
        pulse: pulse.clone(),
    };
    let ten_hours = 36_000;
    let fed = fed(cycle, Knock::default(), |send| async move {
        // For ten hours it gets on, a little each quarter of an hour, while somebody pokes.
        for _ in 0..ten_hours / 900 {
            next.send(Next::Asks).unwrap();
            // On a thread of its own, which the clock of this test does not wait for.
            while asks.try_recv().is_err() {
                tokio::task::yield_now().await;
            }
            send.send(Event::Poke).unwrap();
            pass(900).await;
        }
        // Then it hangs for an hour, and ends after all.
        pass(3_600).await;
        send.send(Event::Stop).unwrap();
        next.send(Next::Ends).unwrap();
    });
    let fed = fed.await;
    let (alive, hung): (Vec<u64>, Vec<u64>) = fed.iter().partition(|it| **it < ten_hours);
    assert!(longest(&alive, ten_hours) < 2 * EVERY.as_secs());
    let last_sign = ten_hours - 900;
    let patience = PATIENCE.as_secs();
    assert!(
        hung.iter().all(|it| *it <= last_sign + patience),
        "{hung:?}"
    );
    assert!(pulse.is_well());
}
