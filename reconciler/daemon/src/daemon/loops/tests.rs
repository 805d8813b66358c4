use std::sync::mpsc::{Receiver, Sender, channel};

use muster_core::time::Time;
use tokio::sync::mpsc::unbounded_channel;

use super::*;
use crate::daemon::{Health, PATIENCE, Silent};
use crate::state_dir::{Identity, Lock, Purpose};

/// Tells of each cycle that begins, and then waits for its end, should that ever come.
struct Pretended {
    began: Sender<()>,
    ends: Option<Receiver<()>>,
}

impl Cycle for Pretended {
    fn has_moved(&mut self) -> bool {
        false
    }
    fn run(&mut self, _: Why, _: &dyn Fn() -> bool) -> CycleStatus {
        self.began.send(()).unwrap();
        if let Some(ends) = &self.ends {
            // It hangs until the test is over.
            let _ = ends.recv();
        }
        CycleStatus {
            health: Health::Well,
            line: "all is well".to_owned(),
            due_in: None,
        }
    }
    fn watch_paths(&self) -> Vec<PathBuf> {
        Vec::new()
    }
}

struct Stage {
    dir: tempfile::TempDir,
}

impl Stage {
    fn new() -> Self {
        Self {
            dir: tempfile::tempdir().unwrap(),
        }
    }

    fn state(&self, executor: &Executor) -> StateDir {
        let state = StateDir::at(&self.dir.path().join(executor.name()));
        if !state.identity_file().exists() {
            state.make().unwrap();
            let lock = Lock::take(&state, Purpose::Other("init")).unwrap();
            let identity = Identity::random(executor).unwrap();
            let adopt = "a".repeat(40).parse().unwrap();
            state.create(&lock, &identity, &adopt, Time(1)).unwrap();
        }
        state
    }

    fn of(&self, name: &str, begin: Begin) -> (ExecutorLoop, UnboundedSender<Event>, Pulse) {
        let executor: Executor = name.parse().unwrap();
        let (send, events) = unbounded_channel();
        let pulse = Pulse::default();
        let one = ExecutorLoop {
            state: self.state(&executor),
            executor,
            begin,
            pace: Pace {
                poll: Duration::from_secs(3_000),
                drift: Duration::from_secs(3_000),
                knocks: Duration::ZERO,
            },
            knock: Knock::default(),
            pulse: pulse.clone(),
            send: send.clone(),
            events,
        };
        (one, send, pulse)
    }

    fn trouble(&self, name: &str) -> Option<String> {
        trouble::read(&self.state(&name.parse().unwrap())).map(|it| it.why)
    }
}

/// Begins a pretended loop once; what is told of its cycles comes out of the receiver.
fn pretended(ends: Option<Receiver<()>>) -> (Begin, Receiver<()>) {
    let (began, begins) = channel();
    let first = Mutex::new(Some(Pretended { began, ends }));
    let begin = move || Ok(Box::new(first.lock().unwrap().take().unwrap()) as Box<dyn Cycle>);
    (Arc::new(begin), begins)
}

fn until(what: &str, mut done: impl FnMut() -> bool) {
    let began = Instant::now();
    while !done() {
        assert!(began.elapsed() < Duration::from_secs(60), "in vain: {what}");
        thread::sleep(Duration::from_millis(2));
    }
}

#[test]
fn one_that_hangs_holds_up_no_other_and_is_told_of() {
    let stage = Stage::new();
    let (end, ends) = channel();
    let (hanging, hangs) = pretended(Some(ends));
    let (going, goes) = pretended(None);
    let (hanging, _, _) = stage.of("guests/pve1", hanging);
    let (going, send, pulse) = stage.of("host/devvm", going);
    let mut loops = begin(vec![hanging, going]).unwrap();
    hangs.recv().unwrap();
    goes.recv().unwrap();
    for _ in 0..3 {
        // Asked in the middle of a cycle, it would run twice.
        let rests = || pulse.is_well() && pulse.turns(Instant::now() + PATIENCE);
        until("the cycle before", rests);
        send.send(Event::Poke).unwrap();
        goes.recv().unwrap();
    }
    until("the last cycle", || {
        pulse.turns(Instant::now() + PATIENCE) && loops.line().ends_with("host/devvm: all is well")
    });
    loops.look(Instant::now(), Time(7));
    assert_eq!(
        (stage.trouble("guests/pve1"), stage.trouble("host/devvm")),
        (None, None)
    );
    // Half an hour later one of them still has not come to its end.
    loops.look(Instant::now() + PATIENCE, Time(2_000));
    let why = stage.trouble("guests/pve1");
    assert_eq!(why.as_deref(), Some("a cycle does not come to its end"));
    assert_eq!(stage.trouble("host/devvm"), None);
    let line = loops.line();
    assert_eq!(
        line,
        "guests/pve1: a cycle does not come to its end; host/devvm: all is well"
    );
    // The process can end without it.
    send.send(Event::Stop).unwrap();
    until("the one that goes has ended", || {
        loops.look(Instant::now() + PATIENCE, Time(2_001));
        loops.is_over()
    });
    // And when it comes to its end after all, nothing is the matter any more.
    drop(end);
    until("it has come to its end", || {
        loops.look(Instant::now() + PATIENCE, Time(2_002));
        stage.trouble("guests/pve1").is_none()
    });
}

#[test]
fn one_that_cannot_be_begun_or_crashes_is_told_of_and_begun_anew() {
    let stage = Stage::new();
    let (good, begins) = pretended(None);
    let tries = Mutex::new(0);
    let begin_it: Begin = Arc::new(move || {
        let mut tries = tries.lock().unwrap();
        *tries += 1;
        match *tries {
            1 => Err("its settings make no sense".to_owned()),
            2 => {
                drop(tries);
                panic!("a bug")
            }
            _ => {
                drop(tries);
                good()
            }
        }
    });
    let (mended, send, pulse) = stage.of("ca/root", begin_it);
    let (other, goes) = pretended(None);
    let (other, other_send, other_pulse) = stage.of("host/devvm", other);
    let mut loops = begin(vec![mended, other]).unwrap();
    for why in [
        "its settings make no sense",
        "it crashed; the log tells where",
    ] {
        until(why, || {
            loops.look(Instant::now(), Time(5));
            stage.trouble("ca/root").as_deref() == Some(why)
        });
        assert!(!pulse.is_well());
        send.send(Event::Poke).unwrap();
    }
    begins.recv().unwrap();
    until("it is kept again", || {
        loops.look(Instant::now(), Time(6));
        stage.trouble("ca/root").is_none() && pulse.is_well()
    });
    goes.recv().unwrap();
    until("the other one is well", || other_pulse.is_well());
    for send in [send, other_send] {
        send.send(Event::Stop).unwrap();
    }
    let runtime = Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(loops.watch_over(|| Time(9), &mut Silent));
}
