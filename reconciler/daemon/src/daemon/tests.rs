use std::sync::Mutex;

use super::*;

const PACE: Pace = Pace {
    poll: Duration::from_secs(30),
    drift: Duration::from_secs(300),
    knocks: Duration::from_secs(2),
};

/// A cycle that writes down when it ran, and why.
#[derive(Default)]
struct Script {
    began: Option<Instant>,
    ran: Vec<(u64, Why)>,
    looked: usize,
    moved: bool,
    health: Vec<Health>,
    due_in: Option<Duration>,
    stopped_early: bool,
    follows: Vec<PathBuf>,
    /// Whether something moves while the first cycle runs.
    moves_at_first: bool,
}

#[derive(Clone)]
struct Fake(Arc<Mutex<Script>>, Option<mpsc::UnboundedSender<Event>>);

impl Cycle for Fake {
    fn has_moved(&mut self) -> bool {
        let mut it = self.0.lock().unwrap();
        it.looked += 1;
        it.moved
    }

    fn run(&mut self, why: Why, stop: &dyn Fn() -> bool) -> CycleStatus {
        if let Some(send) = self.1.take() {
            // What a signal does in the middle of a cycle.
            send.send(Event::Stop).unwrap();
            while !stop() {
                std::thread::yield_now();
            }
            self.0.lock().unwrap().stopped_early = true;
        }
        let mut it = self.0.lock().unwrap();
        it.moved = std::mem::take(&mut it.moves_at_first);
        let at = it.began.unwrap().elapsed().as_secs();
        it.ran.push((at, why));
        let health = if it.health.is_empty() {
            Health::Well
        } else {
            it.health.remove(0)
        };
        CycleStatus {
            health,
            line: "line".into(),
            due_in: it.due_in.take(),
        }
    }

    fn watch_paths(&self) -> Vec<PathBuf> {
        self.0.lock().unwrap().follows.clone()
    }
}

#[derive(Default)]
struct Told(Vec<String>, Option<Duration>);

impl Supervisor for Told {
    fn ready(&mut self) {
        self.0.push("ready".into());
    }
    fn status(&mut self, line: &str) {
        self.0.push(line.into());
    }
    fn watchdog(&mut self) {
        self.0.push("alive".into());
    }
    fn watchdog_every(&self) -> Option<Duration> {
        self.1
    }
    fn stopping(&mut self) {
        self.0.push("stopping".into());
    }
}

struct Followed(Vec<Vec<PathBuf>>);

impl Watch for Followed {
    fn follow(&mut self, dirs: &[PathBuf]) -> Tells {
        self.0.push(dirs.to_vec());
        Tells::Everything
    }
}

/// Serves `script` while `story` happens outside; the clock jumps whenever everybody waits.
async fn play<F: Future<Output = ()>>(
    script: Script,
    watchdog: Option<Duration>,
    story: impl FnOnce(mpsc::UnboundedSender<Event>, Arc<Mutex<Script>>) -> F,
) -> (Ended, Script, Told) {
    play_at(Knock::default(), script, watchdog, story).await
}

/// The same, with a door to knock at.
async fn play_at<F: Future<Output = ()>>(
    knock: Knock,
    script: Script,
    watchdog: Option<Duration>,
    story: impl FnOnce(mpsc::UnboundedSender<Event>, Arc<Mutex<Script>>) -> F,
) -> (Ended, Script, Told) {
    let script = Arc::new(Mutex::new(Script {
        began: Some(Instant::now()),
        ..script
    }));
    let (send, events) = mpsc::unbounded_channel();
    let mut told = Told(Vec::new(), watchdog);
    let mut followed = Followed(Vec::new());
    let mut random = || 0.5;
    let mut around = Surroundings {
        alarm: Alarm::of_runtime(),
        events,
        knock,
        supervisor: &mut told,
        watch: &mut followed,
        random: &mut random,
    };
    let cycle = Box::new(Fake(Arc::clone(&script), None));
    let (ended, ()) = tokio::join!(
        serve(cycle, PACE, &mut around),
        story(send, Arc::clone(&script))
    );
    let script = std::mem::take(&mut *script.lock().unwrap());
    (ended, script, told)
}

/// Serves `cycle` with nobody around it but whoever sends events.
async fn serve_alone(
    cycle: impl Cycle,
    pace: Pace,
    events: mpsc::UnboundedReceiver<Event>,
) -> Ended {
    let (mut silent, mut unwatched, mut random) = (Silent, Unwatched, || 0.5);
    let mut around = Surroundings {
        alarm: Alarm::of_runtime(),
        events,
        knock: Knock::default(),
        supervisor: &mut silent,
        watch: &mut unwatched,
        random: &mut random,
    };
    serve(Box::new(cycle), pace, &mut around).await
}

async fn after(seconds: u64) {
    tokio::time::sleep(Duration::from_secs(seconds)).await;
}

#[tokio::test(start_paused = true)]
async fn while_nothing_moves_it_looks_often_and_runs_seldom() {
    let (ended, script, told) = play(Script::default(), None, |send, _| async move {
        after(650).await;
        send.send(Event::Stop).unwrap();
    })
    .await;
    assert_eq!(ended, Ended::Stopped);
    assert_eq!(
        script.ran,
        [(0, Why::Started), (300, Why::Drift), (600, Why::Drift)]
    );
    // Once more when the directories have just begun to be watched.
    assert_eq!(script.looked, 1 + 9 + 9 + 1);
    assert_eq!(told.0, ["line", "ready", "line", "line", "stopping"]);
}

#[tokio::test(start_paused = true)]
async fn what_moves_before_the_directories_are_watched_is_not_left_to_the_next_look() {
    let script = Script {
        moves_at_first: true,
        ..Script::default()
    };
    let (_, script, _) = play(script, None, |send, _| async move {
        after(1).await;
        send.send(Event::Stop).unwrap();
    })
    .await;
    assert_eq!(script.ran, [(0, Why::Started), (0, Why::Moved)]);
}

#[tokio::test(start_paused = true)]
async fn a_move_is_found_by_the_next_look_and_at_once_when_it_is_seen() {
    let (_, script, _) = play(Script::default(), None, |send, script| async move {
        after(40).await;
        script.lock().unwrap().moved = true;
        after(60).await;
        script.lock().unwrap().moved = true;
        for _ in 0..3 {
            send.send(Event::Touched).unwrap();
        }
        after(1).await;
        // Touched, but nothing of ours has moved.
        send.send(Event::Touched).unwrap();
        after(1).await;
        send.send(Event::Poke).unwrap();
        after(1).await;
        send.send(Event::Stop).unwrap();
    })
    .await;
    assert_eq!(
        script.ran,
        [
            (0, Why::Started),
            (60, Why::Moved),
            (100, Why::Moved),
            (102, Why::Poked)
        ]
    );
}

#[tokio::test(start_paused = true)]
async fn writing_without_end_keeps_nobody_waiting() {
    let (_, script, _) = play(Script::default(), None, |send, script| async move {
        after(5).await;
        script.lock().unwrap().moved = true;
        for _ in 0..40 {
            send.send(Event::Touched).unwrap();
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        assert_eq!(
            script.lock().unwrap().ran.len(),
            2,
            "it ran while the writing went on"
        );
        send.send(Event::Stop).unwrap();
    })
    .await;
    assert_eq!(script.ran[1].1, Why::Moved);
}

#[tokio::test(start_paused = true)]
async fn failures_make_it_wait_longer_and_a_success_ends_that() {
    let health = [vec![Health::Failed; 7], vec![Health::Well]].concat();
    let (_, script, _) = play(
        Script {
            health,
            ..Script::default()
        },
        None,
        |send, _| async move {
            after(3_010).await;
            send.send(Event::Stop).unwrap();
        },
    )
    .await;
    let gaps: Vec<u64> = script
        .ran
        .windows(2)
        .map(|pair| pair[1].0 - pair[0].0)
        .collect();
    assert_eq!(gaps[..7], [60, 120, 240, 480, 600, 600, 600]);
    assert_eq!(script.ran[7], (2_700, Why::Retry));
    assert_eq!(script.ran[8], (3_000, Why::Drift));
}

#[tokio::test(start_paused = true)]
async fn what_is_due_is_not_waited_for_longer() {
    let due_in = Some(Duration::from_secs(7));
    let (_, script, _) = play(
        Script {
            due_in,
            ..Script::default()
        },
        None,
        |send, _| async move {
            after(20).await;
            send.send(Event::Stop).unwrap();
        },
    )
    .await;
    assert_eq!(script.ran, [(0, Why::Started), (7, Why::Due)]);
}

#[tokio::test(start_paused = true)]
async fn the_watchdog_is_told_while_nothing_happens() {
    let (_, _, told) = play(
        Script::default(),
        Some(Duration::from_secs(10)),
        |send, _| async move {
            after(25).await;
            send.send(Event::Stop).unwrap();
        },
    )
    .await;
    assert_eq!(told.0.iter().filter(|it| *it == "alive").count(), 2);
}

#[tokio::test(start_paused = true)]
async fn a_broken_cycle_ends_the_process() {
    let (ended, script, _) = play(
        Script {
            health: vec![Health::Broken],
            ..Script::default()
        },
        None,
        |_send, _| async {},
    )
    .await;
    assert_eq!((ended, script.ran.len()), (Ended::Broken, 1));
}

/// A cycle that speaks to somebody by an executor of its own, which cannot be let go of on the thread of another one.
struct Speaks(tokio::runtime::Runtime);

impl Cycle for Speaks {
    fn has_moved(&mut self) -> bool {
        false
    }
    fn run(&mut self, _: Why, _: &dyn Fn() -> bool) -> CycleStatus {
        self.0.block_on(async {});
        CycleStatus {
            health: Health::Broken,
            line: String::new(),
            due_in: None,
        }
    }
    fn watch_paths(&self) -> Vec<PathBuf> {
        Vec::new()
    }
}

#[tokio::test]
async fn a_cycle_is_let_go_of_beside_the_loop() {
    let runtime = tokio::runtime::Builder::new_current_thread().build();
    let (_send, events) = mpsc::unbounded_channel();
    let cycle = Speaks(runtime.unwrap());
    assert_eq!(serve_alone(cycle, PACE, events).await, Ended::Broken);
}

#[tokio::test]
async fn a_signal_reaches_the_cycle_between_its_batches() {
    let script = Arc::new(Mutex::new(Script {
        began: Some(Instant::now()),
        ..Script::default()
    }));
    let (send, events) = mpsc::unbounded_channel();
    let cycle = Fake(Arc::clone(&script), Some(send));
    let ended = serve_alone(cycle, PACE, events).await;
    assert_eq!(ended, Ended::Stopped);
    assert!(script.lock().unwrap().stopped_early);
}

#[tokio::test(start_paused = true)]
async fn a_knock_is_answered_at_once_and_ten_thousand_are_not_answered_more_often_than_the_pace_allows()
 {
    let knock = Knock::default();
    let door = knock.clone();
    let (_, script, _) = play_at(knock, Script::default(), None, |send, _| async move {
        after(40).await;
        door.knock();
        after(10).await;
        for _ in 0..10 {
            (0..1_000).for_each(|_| door.knock());
            after(1).await;
        }
        after(5).await;
        send.send(Event::Stop).unwrap();
    })
    .await;
    let poked = [40, 50, 52, 54, 56, 58, 60].map(|at| (at, Why::Poked));
    assert_eq!(script.ran[0], (0, Why::Started));
    assert_eq!(script.ran[1..], poked);
}

#[tokio::test(start_paused = true)]
async fn a_knock_does_not_wait_for_the_next_try_and_a_failure_does_not_forget_it() {
    let knock = Knock::default();
    let door = knock.clone();
    let script = Script {
        health: vec![Health::Failed, Health::Failed, Health::Well],
        ..Script::default()
    };
    let (_, script, _) = play_at(knock, script, None, |send, _| async move {
        after(5).await;
        door.knock();
        after(1).await;
        door.knock();
        after(10).await;
        send.send(Event::Stop).unwrap();
    })
    .await;
    assert_eq!(
        script.ran,
        [(0, Why::Started), (5, Why::Poked), (7, Why::Poked)]
    );
}

#[tokio::test(start_paused = true)]
async fn what_was_knocked_before_the_first_cycle_ended_is_looked_at_after_it() {
    let knock = Knock::default();
    knock.knock();
    let (_, script, _) = play_at(knock, Script::default(), None, |send, _| async move {
        after(5).await;
        send.send(Event::Stop).unwrap();
    })
    .await;
    assert_eq!(script.ran.len(), 2);
    assert_eq!(script.ran[1].0, 2);
}

#[test]
fn waits_are_spread_and_bounded() {
    let fast = Pace {
        poll: Duration::from_secs(1),
        drift: Duration::from_secs(10),
        knocks: Duration::ZERO,
    };
    assert_eq!(PACE.wait(0, 0.0), Duration::from_secs(27));
    assert!(PACE.wait(0, 0.999) < Duration::from_secs(33));
    for failures in [10, 31, 32, 33, u32::MAX] {
        assert_eq!(fast.wait(failures, 0.5), Duration::from_secs(600));
    }
    let slow = Pace {
        poll: Duration::from_secs(3_600),
        ..fast
    };
    assert_eq!(slow.wait(0, 0.5), Duration::from_secs(3_600));
    assert_eq!(slow.wait(3, 0.5), Duration::from_secs(3_600));
}

/// A cycle that others may look for; what they find is counted.
struct Seen(Arc<Mutex<(Script, usize)>>);

impl Cycle for Seen {
    fn has_moved(&mut self) -> bool {
        true
    }
    fn run(&mut self, why: Why, _: &dyn Fn() -> bool) -> CycleStatus {
        let mut it = self.0.lock().unwrap();
        it.0.ran.push((0, why));
        let health = match it.0.ran.len() {
            1 => Health::Well,
            _ => Health::Broken,
        };
        CycleStatus {
            health,
            line: String::new(),
            due_in: None,
        }
    }
    fn watch_paths(&self) -> Vec<PathBuf> {
        Vec::new()
    }
    fn look(&self, _: Tells, _: Duration) -> Option<Look> {
        let looked = Arc::clone(&self.0);
        Some(Box::new(move || {
            let mut it = looked.lock().unwrap();
            it.1 += 1;
            it.1 == 3
        }))
    }
}

#[tokio::test]
async fn what_is_seen_from_beside_the_loop_has_it_run() {
    let script = Arc::new(Mutex::new((Script::default(), 0)));
    let (_send, events) = mpsc::unbounded_channel();
    let pace = Pace {
        poll: Duration::from_millis(1),
        ..PACE
    };
    let ended = serve_alone(Seen(Arc::clone(&script)), pace, events).await;
    assert_eq!(ended, Ended::Broken);
    let script = script.lock().unwrap();
    let why: Vec<Why> = script.0.ran.iter().map(|(_, why)| *why).collect();
    assert_eq!(why, [Why::Started, Why::Moved]);
    assert!(script.1 >= 3, "{}", script.1);
}
