use std::path::PathBuf;
use std::sync::Mutex;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::time::Duration;

use tokio::sync::mpsc::unbounded_channel;

use super::*;
use crate::daemon::{CycleStatus, Health, Silent, Why};

/// Tells of each cycle, and ends it when it is told how.
struct Told {
    began: Sender<()>,
    ends: Receiver<Health>,
}

impl Cycle for Told {
    fn has_moved(&mut self) -> bool {
        false
    }
    fn run(&mut self, _: Why, _: &dyn Fn() -> bool) -> CycleStatus {
        self.began.send(()).unwrap();
        CycleStatus {
            health: self.ends.recv().unwrap(),
            line: String::new(),
            due_in: None,
        }
    }
    fn watch_paths(&self) -> Vec<PathBuf> {
        Vec::new()
    }
}

/// The other ends of a [`Told`].
struct Teller {
    began: Receiver<()>,
    end: Sender<Health>,
    events: UnboundedSender<Event>,
}

impl Teller {
    /// Waits for a cycle to begin.
    fn begins(&self) {
        self.began.recv().unwrap();
    }
}

fn member() -> (Member, Teller) {
    let (began_send, began) = channel();
    let (end, ends) = channel();
    let (send, events) = unbounded_channel();
    let member = Member {
        cycle: Box::new(Told {
            began: began_send,
            ends,
        }),
        pace: Pace {
            poll: Duration::from_secs(3_000),
            drift: Duration::from_secs(3_000),
            knocks: Duration::ZERO,
        },
        supervisor: Box::new(Silent),
        knock: Knock::default(),
        send: send.clone(),
        events,
    };
    let teller = Teller {
        began,
        end,
        events: send,
    };
    (member, teller)
}

fn never() -> Anew {
    Arc::new(|| unreachable!("it did not break"))
}

#[tokio::test]
async fn a_loop_that_hangs_does_not_delay_the_other() {
    for slow in ["bot", "agent"] {
        let ((agent, agent_teller), (bot, bot_teller)) = (member(), member());
        let story = std::thread::spawn(move || {
            let (slow, quick) = match slow {
                "bot" => (bot_teller, agent_teller),
                _ => (agent_teller, bot_teller),
            };
            slow.begins();
            quick.begins();
            quick.end.send(Health::Well).unwrap();
            // The other one is in its first cycle all the while.
            for _ in 0..3 {
                quick.events.send(Event::Poke).unwrap();
                quick.begins();
                quick.end.send(Health::Well).unwrap();
            }
            slow.end.send(Health::Well).unwrap();
            for teller in [&slow, &quick] {
                // The agent that has ended ends the other one with it, before it can be told.
                let _ = teller.events.send(Event::Stop);
            }
            // Neither channel may close before its cycle has been told.
            (slow, quick)
        });
        let ended = together(Some(agent), Some((bot, never()))).await;
        assert_eq!(ended, Ended::Stopped);
        drop(story.join().unwrap());
    }
}

#[tokio::test]
async fn when_the_agent_cannot_go_on_the_process_ends_and_the_bot_with_it() {
    let ((agent, agent_teller), (bot, bot_teller)) = (member(), member());
    let story = std::thread::spawn(move || {
        bot_teller.begins();
        bot_teller.end.send(Health::Well).unwrap();
        agent_teller.begins();
        agent_teller.end.send(Health::Broken).unwrap();
        (agent_teller, bot_teller)
    });
    let ended = together(Some(agent), Some((bot, never()))).await;
    assert_eq!(ended, Ended::Broken);
    drop(story.join().unwrap());
}

#[tokio::test(start_paused = true)]
async fn a_bot_that_cannot_go_on_begins_anew_and_the_agent_never_ends_for_it() {
    let ((agent, agent_teller), (bot, first)) = (member(), member());
    let (again, second) = member();
    let tries = Mutex::new(vec![
        Ok(again.cycle),
        Err("it is broken".to_owned()),
        Err("it is still broken".to_owned()),
    ]);
    let anew: Anew = Arc::new(move || tries.lock().unwrap().pop().unwrap());
    let story = std::thread::spawn(move || {
        agent_teller.begins();
        agent_teller.end.send(Health::Well).unwrap();
        first.begins();
        first.end.send(Health::Broken).unwrap();
        // Twice in vain, and time passes by itself meanwhile.
        second.begins();
        second.end.send(Health::Well).unwrap();
        agent_teller.events.send(Event::Poke).unwrap();
        agent_teller.begins();
        agent_teller.end.send(Health::Well).unwrap();
        for events in [&agent_teller.events, &first.events] {
            // As above: the agent ends both.
            let _ = events.send(Event::Stop);
        }
        (agent_teller, first, second)
    });
    let ended = together(Some(agent), Some((bot, anew))).await;
    assert_eq!(ended, Ended::Stopped);
    drop(story.join().unwrap());
}

#[tokio::test]
async fn a_bot_alone_is_what_the_process_is_for() {
    for (health, ended) in [
        (Health::Broken, Ended::Broken),
        (Health::Well, Ended::Stopped),
    ] {
        let (bot, teller) = member();
        let story = std::thread::spawn(move || {
            teller.begins();
            teller.end.send(health).unwrap();
            let _ = teller.events.send(Event::Stop);
            teller
        });
        assert_eq!(together(None, Some((bot, never()))).await, ended);
        drop(story.join().unwrap());
    }
}
