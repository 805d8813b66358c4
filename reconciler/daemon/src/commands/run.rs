//! `muster run`: the daemon.

use std::hash::{BuildHasher as _, RandomState};
use std::sync::Arc;

use muster_core::world::Files;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::mpsc;

use super::{CommandError, Common, now};
use crate::daemon::{
    Alarm, Cycle, Ended, Event, Health, Pace, Summary, Surroundings, Systemd, Unwatched, Watch,
    Watcher, Why, serve,
};
use crate::executor::{AssembleError, Console, Executor};
use crate::exit;
use crate::host_key;
use crate::journal::Opened;
use crate::outside::{LedgerRepository, facts_of};
use crate::settings::Settings;
use crate::state_dir::{Lock, Purpose, StateDir, StateError};

/// How it runs.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Run one cycle, and say by the exit code how it went.
    #[arg(long)]
    once: bool,
}

/// Takes the lock, opens the state, and runs what `assemble` makes of both until told to stop.
///
/// # Errors
/// When there is no state, somebody else is at work on it, or it cannot be used.
pub fn run(args: &Args, common: &Common) -> Result<u8, CommandError> {
    run_with(args, common, |settings, state, opened, ledger| {
        let console = if args.once {
            Console::Person
        } else {
            Console::Log
        };
        let Opened {
            journal,
            replayed,
            torn: _,
        } = opened;
        let executor =
            Executor::assemble(settings, state, journal, replayed, ledger, console, now)?;
        Ok(Box::new(executor))
    })
}

/// The same with another cycle in place of the real one.
fn run_with(
    args: &Args,
    common: &Common,
    assemble: impl FnOnce(
        &Settings,
        &StateDir,
        Opened,
        (LedgerRepository, Files),
    ) -> Result<Box<dyn Cycle>, CommandError>,
) -> Result<u8, CommandError> {
    let settings = common.settings()?;
    super::start_log(&settings, common);
    let state = StateDir::at(&settings.dir);
    // Looked at first, since a lock in a directory that nobody initialised would be state.
    let Some(identity) = state.identity()? else {
        return Err(StateError::NotInitialised(settings.dir).into());
    };
    state.make()?;
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(CommandError::Runtime)?;
    let (send, events) = mpsc::unbounded_channel();
    // Before the lock says who we are: a poke that came earlier would end the process.
    runtime
        .block_on(async { listen(&send) })
        .map_err(CommandError::Runtime)?;
    let lock = Lock::take(&state, Purpose::Run)?;
    // Older versions made none.
    let key = host_key::read_or_make(&state, &lock).map_err(StateError::Key)?;
    let (ledger, files) = LedgerRepository::open(&state.ledger(), &identity.ledger_ref())
        .map_err(AssembleError::Repositories)?;
    let ledger = ledger.signing_with(Arc::new(key));
    let facts = facts_of(&files).map_err(AssembleError::Repositories)?;
    let opened = state.open(&lock, &settings.policy.executor.host, facts, now())?;
    if opened.torn > 0 {
        tracing::warn!(
            bytes = opened.torn,
            "The last record of the journal was never finished; it was dropped."
        );
    }
    let mut cycle = assemble(&settings, &state, opened, (ledger, files))?;
    if args.once {
        let Summary { health, line, .. } = cycle.run(Why::Started, &|| false);
        tracing::info!("{line}");
        // The process ends here: what is known of tens of thousands of people need not be taken apart for that.
        std::mem::forget(cycle);
        return Ok(match health {
            Health::Well => exit::OK,
            Health::Failed => exit::FAILED,
            Health::Broken => exit::STATE,
        });
    }
    let mut watch: Box<dyn Watch> = match Watcher::new(send.clone()) {
        Ok(watcher) => Box::new(watcher),
        Err(error) => {
            tracing::warn!(%error, "Nothing is watched; changes are found by polling.");
            Box::new(Unwatched)
        }
    };
    watch.follow(&cycle.watch_paths());
    let mut supervisor = Systemd::from_environment();
    let mut random = random_numbers();
    let alarm = {
        let _inside = runtime.enter();
        Alarm::new()
    };
    let around = Surroundings {
        alarm,
        events,
        supervisor: &mut supervisor,
        watch: watch.as_mut(),
        random: &mut random,
    };
    let pace = Pace {
        poll: settings.poll,
        drift: settings.drift,
    };
    let ended = runtime.block_on(serve(cycle, pace, around));
    drop(lock);
    Ok(match ended {
        Ended::Stopped => exit::OK,
        Ended::Broken => exit::STATE,
    })
}

/// Turns signals into events, for as long as the runtime lives.
fn listen(send: &mpsc::UnboundedSender<Event>) -> std::io::Result<()> {
    for (kind, event) in [
        (SignalKind::hangup(), Event::Poke),
        (SignalKind::terminate(), Event::Stop),
        (SignalKind::interrupt(), Event::Stop),
    ] {
        let mut signals = signal(kind)?;
        let send = send.clone();
        tokio::spawn(
            async move { while signals.recv().await.is_some() && send.send(event).is_ok() {} },
        );
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
mod tests {
    use std::fs;
    use std::os::unix::fs::PermissionsExt as _;
    use std::path::PathBuf;

    use muster_core::time::Time;

    use super::*;
    use crate::state_dir::Identity;

    struct Once(Health);

    impl Cycle for Once {
        fn has_moved(&mut self) -> bool {
            false
        }
        fn run(&mut self, _: Why, stop: &dyn Fn() -> bool) -> Summary {
            assert!(!stop());
            Summary {
                health: self.0,
                line: String::new(),
                due_in: None,
            }
        }
        fn watch_paths(&self) -> Vec<PathBuf> {
            Vec::new()
        }
    }

    fn once(dir: &std::path::Path, health: Health) -> Result<u8, CommandError> {
        let config = dir.join("muster.toml");
        let text = format!(
            "[state]\ndir = \"{}\"\n[host]\nname = \"devvm\"\n",
            dir.join("state").display()
        );
        fs::write(&config, text).unwrap();
        fs::set_permissions(&config, fs::Permissions::from_mode(0o600)).unwrap();
        let common = Common {
            config,
            verbose: 0,
            log_format: None,
        };
        run_with(&Args { once: true }, &common, |_, state, opened, _| {
            assert!(
                matches!(
                    Lock::take(state, Purpose::Run),
                    Err(StateError::Held { .. })
                ),
                "a cycle is made only under the lock"
            );
            assert_eq!(opened.replayed.facts.name, "devvm");
            Ok(Box::new(Once(health)))
        })
    }

    #[test]
    fn it_makes_no_state_and_says_how_the_cycle_went() {
        let dir = tempfile::tempdir().unwrap();
        let error = once(dir.path(), Health::Well).unwrap_err();
        assert_eq!(error.exit_code(), exit::CONFIG);
        assert!(!dir.path().join("state").exists());

        let state = StateDir::at(&dir.path().join("state"));
        state.make().unwrap();
        let lock = Lock::take(&state, Purpose::Other("init")).unwrap();
        let adopt = "a".repeat(40).parse().unwrap();
        state
            .create(&lock, &Identity::random("devvm").unwrap(), &adopt, Time(1))
            .unwrap();
        assert_eq!(
            once(dir.path(), Health::Well).unwrap_err().exit_code(),
            exit::BUSY
        );
        drop(lock);
        for (health, code) in [
            (Health::Well, exit::OK),
            (Health::Failed, exit::FAILED),
            (Health::Broken, exit::STATE),
        ] {
            assert_eq!(once(dir.path(), health).unwrap(), code);
        }
    }
}
