//! The loops of one process, each at its own pace: a forge that is slow never delays the host, nor the host the forge.

use std::hash::{BuildHasher as _, RandomState};
use std::io;
use std::sync::Arc;
use std::time::Duration;

use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender};
use tokio::task::spawn_blocking;
use tokio::time::{Instant, sleep_until};

use crate::daemon::{
    Alarm, Cycle, Ended, Event, Knock, Pace, Supervisor, Surroundings, Unwatched, Watch, Watcher,
    serve,
};

/// A bot that broke is put together anew after this, while the host is kept all the same.
const MENDED_AFTER: Duration = Duration::from_secs(300);

/// One loop.
pub(super) struct Member {
    pub(super) cycle: Box<dyn Cycle>,
    pub(super) pace: Pace,
    pub(super) supervisor: Box<dyn Supervisor>,
    pub(super) knock: Knock,
    pub(super) send: UnboundedSender<Event>,
    pub(super) events: UnboundedReceiver<Event>,
}

/// Puts a cycle together once more, or says why it cannot be.
pub(super) type Anew = Arc<dyn Fn() -> Result<Box<dyn Cycle>, String> + Send + Sync>;

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
        let mut watch = watcher(&send, cycle.as_ref());
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
async fn for_ever(member: Member, anew: Anew) {
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

async fn is_stopped_before(deadline: Instant, events: &mut UnboundedReceiver<Event>) -> bool {
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

fn watcher(send: &UnboundedSender<Event>, cycle: &dyn Cycle) -> Box<dyn Watch> {
    let mut watch: Box<dyn Watch> = match Watcher::new(send.clone()) {
        Ok(watcher) => Box::new(watcher),
        Err(error) => {
            tracing::warn!(%error, "Nothing is watched; changes are found by polling.");
            Box::new(Unwatched)
        }
    };
    watch.follow(&cycle.watch_paths());
    watch
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

/// Good enough to keep many hosts from asking at the same moment; nothing secret comes of it.
fn random_numbers() -> impl FnMut() -> f64 {
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
