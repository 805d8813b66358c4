//! The loops of one process, each at its own pace: a forge that is slow never delays the host, nor the host the forge.

use std::io;
use std::sync::Arc;

use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender};
use tokio::task::spawn_blocking;
use tokio::time::Instant;

use crate::daemon::loops::{Begin as Anew, MENDED_AFTER, is_stopped_before, watcher};
use crate::daemon::{
    Alarm, Cycle, Ended, Event, Knock, Pace, Supervisor, Surroundings, random_numbers, serve,
};

/// One loop.
pub(super) struct Member {
    pub(super) cycle: Box<dyn Cycle>,
    pub(super) pace: Pace,
    pub(super) supervisor: Box<dyn Supervisor>,
    pub(super) knock: Knock,
    pub(super) send: UnboundedSender<Event>,
    pub(super) events: UnboundedReceiver<Event>,
}

/// Runs both loops until they are told to stop, or the one that the process is for breaks: the agent, or a bot alone.
pub(super) async fn together(agent: Option<Member>, bot: Option<(Member, Anew)>) -> Ended {
    match (agent, bot) {
        (None, None) => Ended::Stopped,
        (Some(agent), None) => alone(agent).await,
        (None, Some((bot, _))) => alone(bot).await,
        (Some(agent), Some((bot, anew))) => {
            let stop = bot.send.clone();
            let agent = async {
                let ended = alone(agent).await;
                // Nobody listens any more where it has ended already.
                let _ = stop.send(Event::Stop);
                ended
            };
            let (ended, ()) = tokio::join!(agent, for_ever(bot, anew));
            ended
        }
    }
}

async fn alone(member: Member) -> Ended {
    member
        .play(async |cycle, pace, around| serve(cycle, pace, around).await)
        .await
}

impl Member {
    /// Gives it what a loop has around it, for as long as `play` takes.
    async fn play<T>(
        self,
        play: impl AsyncFnOnce(Box<dyn Cycle>, Pace, &mut Surroundings<'_>) -> T,
    ) -> T {
        let Self {
            cycle,
            pace,
            mut supervisor,
            knock,
            send,
            events,
        } = self;
        let mut watch = watcher(&send);
        watch.follow(&cycle.watch_paths());
        let mut random = random_numbers();
        let mut around = Surroundings {
            events,
            knock,
            supervisor: supervisor.as_mut(),
            alarm: Alarm::new(),
            watch: watch.as_mut(),
            random: &mut random,
        };
        play(cycle, pace, &mut around).await
    }
}

/// Runs it until it is told to stop; one that breaks is begun anew.
pub(super) async fn for_ever(member: Member, anew: Anew) {
    member
        .play(async |cycle, pace, around| begin_anew(cycle, pace, around, &anew).await)
        .await;
}

async fn begin_anew(
    mut cycle: Box<dyn Cycle>,
    pace: Pace,
    around: &mut Surroundings<'_>,
    anew: &Anew,
) {
    loop {
        match serve(cycle, pace, around).await {
            Ended::Stopped => return,
            Ended::Broken => {}
        }
        cycle = loop {
            tracing::error!(
                "The bot cannot go on; it begins anew in {} s. The host is kept meanwhile.",
                MENDED_AFTER.as_secs()
            );
            if is_stopped_before(Instant::now() + MENDED_AFTER, &mut around.events).await {
                return;
            }
            let anew = Arc::clone(anew);
            match spawn_blocking(move || anew()).await {
                Ok(Ok(cycle)) => break cycle,
                Ok(Err(why)) => tracing::error!("{why}."),
                Err(error) => std::panic::resume_unwind(error.into_panic()),
            }
        };
    }
}

/// Turns signals into events of every loop, for as long as the runtime lives.
pub(super) fn listen(loops: &[UnboundedSender<Event>]) -> io::Result<()> {
    for (kind, event) in [
        (SignalKind::hangup(), Event::Poke),
        (SignalKind::terminate(), Event::Stop),
        (SignalKind::interrupt(), Event::Stop),
    ] {
        let mut signals = signal(kind)?;
        let loops = loops.to_vec();
        tokio::spawn(async move {
            while signals.recv().await.is_some() {
                for send in &loops {
                    // There may be no such loop in this process.
                    let _ = send.send(event);
                }
            }
        });
    }
    Ok(())
}

#[cfg(test)]
mod tests;
