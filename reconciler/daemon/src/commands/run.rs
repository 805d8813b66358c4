//! `muster run`: the daemon.

mod together;

use std::sync::Arc;
use std::time::Duration;

use muster_core::world::Files;
use tokio::sync::mpsc;

use super::{CommandError, Common, now};
use crate::bot::{self, Hints};
use crate::cycle::chain;
use crate::daemon::{
    Cycle, Ended, Health, Knock, Pace, Pulse, Pulsing, Silent, Summary, Systemd, Why,
};
use crate::executor::{AssembleError, Console, Executor};
use crate::exit;
use crate::host_key;
use crate::http::{Doors, Server};
use crate::journal::Opened;
use crate::outside::{LedgerRepository, facts_of};
use crate::settings::{Role, Settings};
use crate::state_dir::{Identity, Lock, Purpose, StateDir, StateError};
use together::{Anew, Member, listen, together};

/// However often the forge says that the branch has moved, a host fetches no more often than this.
const AGENT_KNOCKS: Duration = Duration::from_secs(2);

/// How often the bot looks: at the forge and the ledgers when nobody knocks, and soon after somebody did.
const BOT_PACE: Pace = Pace {
    poll: Duration::from_secs(30),
    drift: Duration::from_secs(300),
    knocks: Duration::from_millis(500),
};

/// How it runs.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Run one cycle, and say by the exit code how it went.
    #[arg(long)]
    once: bool,
}

/// What runs in each role, put together out of what there is.
struct Parts<A, B> {
    /// The agent's cycle, out of the state of its executor.
    agent: A,
    /// The bot's, out of the settings and where it is told to look first; anew when one has come to its end.
    bot: B,
}

/// Takes the lock, opens the state, and does what the roles ask until told to stop.
///
/// # Errors
/// When there is no state, somebody else is at work on it, or it cannot be used.
pub fn run(args: &Args, common: &Common) -> Result<u8, CommandError> {
    let agent = |settings: &Settings, state: &StateDir, opened, ledger| {
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
        Ok(Box::new(executor) as Box<dyn Cycle>)
    };
    let bot =
        |settings: &Settings, state: &StateDir, hints| bot::assemble(settings, state, hints, now);
    run_with(args, common, Parts { agent, bot })
}

/// The same with other cycles in place of the real ones.
fn run_with<A, B>(args: &Args, common: &Common, parts: Parts<A, B>) -> Result<u8, CommandError>
where
    A: FnOnce(
        &Settings,
        &StateDir,
        Opened,
        (LedgerRepository, Files),
    ) -> Result<Box<dyn Cycle>, CommandError>,
    B: Fn(&Settings, &StateDir, Hints) -> Result<Box<dyn Cycle>, bot::AssembleError>
        + Send
        + Sync
        + 'static,
{
    let settings = common.settings()?;
    super::start_log(&settings, common);
    let state = StateDir::at(&settings.dir);
    // Looked at first, since a lock in a directory that nobody initialised would be state. A bot has none to lose.
    let identity = if settings.roles.contains(&Role::Agent) {
        let not_there = || StateError::NotInitialised(settings.dir.clone());
        Some(state.identity()?.ok_or_else(not_there)?)
    } else {
        None
    };
    let has_bot = settings.roles.contains(&Role::Bot) && settings.forge.is_some();
    if identity.is_none() && !has_bot {
        return Err(CommandError::NothingToDo);
    }
    state.make()?;
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(CommandError::Runtime)?;
    let ((agent_send, agent_events), (bot_send, bot_events)) =
        (mpsc::unbounded_channel(), mpsc::unbounded_channel());
    // Before the lock says who we are: a poke that came earlier would end the process.
    runtime
        .block_on(async { listen(&[agent_send.clone(), bot_send.clone()]) })
        .map_err(CommandError::Runtime)?;
    let lock = Lock::take(&state, Purpose::Run)?;
    let agent = match &identity {
        Some(identity) => {
            let (opened, ledger) = open_executor(&settings, &state, &lock, identity)?;
            Some((parts.agent)(&settings, &state, opened, ledger)?)
        }
        None => None,
    };
    let hints = Hints::default();
    let make = {
        let (settings, state, hints) = (settings.clone(), state.clone(), hints.clone());
        move || (parts.bot)(&settings, &state, hints.clone())
    };
    let bot = if has_bot { Some(make()?) } else { None };
    if args.once {
        let mut worst = Health::Well;
        let mut once = |cycle: &mut dyn Cycle| {
            let Summary { health, line, .. } = cycle.run(Why::Started, &|| false);
            tracing::info!("{line}");
            worst = worst.max(health);
        };
        if let Some(mut agent) = agent {
            once(agent.as_mut());
            // The process ends here: what is known of tens of thousands of people need not be taken apart for that.
            std::mem::forget(agent);
        }
        // A bot gives back the lead where it is let go of.
        if let Some(mut bot) = bot {
            once(bot.as_mut());
        }
        return Ok(match worst {
            Health::Well => exit::OK,
            Health::Failed => exit::FAILED,
            Health::Broken => exit::STATE,
        });
    }
    let (agent_knock, bot_knock) = (Knock::default(), Knock::default());
    let (agent_pulse, bot_pulse) = (Pulse::default(), Pulse::default());
    if let Some(http) = &settings.http {
        let doors = Doors {
            agent: agent
                .is_some()
                .then(|| (agent_knock.clone(), settings.branch.clone())),
            bot: bot.is_some().then(|| (bot_knock.clone(), hints)),
        };
        let there = [
            agent.is_some().then(|| agent_pulse.clone()),
            bot.is_some().then(|| bot_pulse.clone()),
        ];
        let pulses = there.into_iter().flatten().collect();
        let server = Server::prepare(http, settings.forge.as_ref(), doors, pulses)?;
        runtime.spawn(async {
            if let Err(error) = server.run().await {
                tracing::error!(%error, "Nobody is served over HTTP.");
            }
        });
    }
    let is_alone = agent.is_none();
    let ended = runtime.block_on(together(
        agent.map(|cycle| Member {
            cycle: Box::new(Pulsing {
                cycle,
                pulse: agent_pulse,
            }),
            pace: Pace {
                poll: settings.poll,
                drift: settings.drift,
                knocks: AGENT_KNOCKS,
            },
            supervisor: Box::new(Systemd::from_environment()),
            knock: agent_knock,
            send: agent_send,
            events: agent_events,
        }),
        bot.map(|cycle| {
            let anew = {
                let pulse = bot_pulse.clone();
                move || {
                    let cycle = make().map_err(|error| chain(&error))?;
                    let pulse = pulse.clone();
                    Ok(Box::new(Pulsing { cycle, pulse }) as Box<dyn Cycle>)
                }
            };
            let pulse = bot_pulse;
            let member = Member {
                cycle: Box::new(Pulsing { cycle, pulse }),
                pace: BOT_PACE,
                supervisor: if is_alone {
                    Box::new(Systemd::from_environment())
                } else {
                    Box::new(Silent)
                },
                knock: bot_knock,
                send: bot_send,
                events: bot_events,
            };
            (member, Arc::new(anew) as Anew)
        }),
    ));
    drop(lock);
    Ok(match ended {
        Ended::Stopped => exit::OK,
        Ended::Broken => exit::STATE,
    })
}

/// What an executor keeps, for the process that holds the lock.
fn open_executor(
    settings: &Settings,
    state: &StateDir,
    lock: &Lock,
    identity: &Identity,
) -> Result<(Opened, (LedgerRepository, Files)), CommandError> {
    // Older versions made none.
    let key = host_key::read_or_make(state, lock).map_err(StateError::Key)?;
    let (ledger, files) = LedgerRepository::open(&state.ledger(), &identity.ledger_ref())
        .map_err(AssembleError::Repositories)?;
    let ledger = ledger.signing_with(Arc::new(key));
    let facts = facts_of(&files).map_err(AssembleError::Repositories)?;
    let opened = state.open(lock, settings.policy.executor.name(), facts, now())?;
    if opened.torn > 0 {
        tracing::warn!(
            bytes = opened.torn,
            "The last record of the journal was never finished; it was dropped."
        );
    }
    Ok((opened, (ledger, files)))
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::PermissionsExt as _;
    use std::path::{Path, PathBuf};

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

    const FORGE: &str = "[forge]\nkind = \"github\"\nrepository = \"team/state\"\ntoken = \"t\"\n";

    fn common(dir: &Path, more: &str) -> Common {
        let config = dir.join("muster.toml");
        let text = format!(
            "[state]\ndir = \"{}\"\n[host]\nname = \"devvm\"\n{more}",
            dir.join("state").display()
        );
        fs::write(&config, text).unwrap();
        fs::set_permissions(&config, fs::Permissions::from_mode(0o600)).unwrap();
        Common {
            config,
            verbose: 0,
            log_format: None,
        }
    }

    fn assert_locked(state: &StateDir) {
        assert!(
            matches!(
                Lock::take(state, Purpose::Run),
                Err(StateError::Held { .. })
            ),
            "a cycle is made only under the lock"
        );
    }

    /// One cycle of each role that the settings have.
    fn once(dir: &Path, more: &str, agent: Health, bot: Health) -> Result<u8, CommandError> {
        let parts = Parts {
            agent: |_: &Settings, state: &StateDir, opened: Opened, _| {
                assert_locked(state);
                assert_eq!(opened.replayed.facts.executor.name(), "devvm");
                Ok(Box::new(Once(agent)) as Box<dyn Cycle>)
            },
            bot: move |settings: &Settings, state: &StateDir, _: Hints| {
                assert_locked(state);
                assert!(settings.forge.is_some());
                Ok(Box::new(Once(bot)) as Box<dyn Cycle>)
            },
        };
        run_with(&Args { once: true }, &common(dir, more), parts)
    }

    fn initialise(state: &StateDir) -> Lock {
        state.make().unwrap();
        let lock = Lock::take(state, Purpose::Other("init")).unwrap();
        let adopt = "a".repeat(40).parse().unwrap();
        state
            .create(&lock, &Identity::random("devvm").unwrap(), &adopt, Time(1))
            .unwrap();
        lock
    }

    const CODES: [(Health, u8); 3] = [
        (Health::Well, exit::OK),
        (Health::Failed, exit::FAILED),
        (Health::Broken, exit::STATE),
    ];

    #[test]
    fn it_makes_no_state_and_says_how_the_cycle_went() {
        let dir = tempfile::tempdir().unwrap();
        let once = |health| once(dir.path(), "", health, Health::Broken);
        let error = once(Health::Well).unwrap_err();
        assert_eq!(error.exit_code(), exit::CONFIG);
        assert!(!dir.path().join("state").exists());

        let lock = initialise(&StateDir::at(&dir.path().join("state")));
        assert_eq!(once(Health::Well).unwrap_err().exit_code(), exit::BUSY);
        drop(lock);
        for (health, code) in CODES {
            assert_eq!(once(health).unwrap(), code);
        }
    }

    #[test]
    fn a_bot_alone_needs_no_executor_and_a_forge() {
        let dir = tempfile::tempdir().unwrap();
        let alone = "[fleet]\nroles = [\"bot\"]\n";
        let once = |more: &str, health| once(dir.path(), more, Health::Broken, health);
        let error = once(alone, Health::Well).unwrap_err();
        assert_eq!(error.exit_code(), exit::CONFIG);
        assert!(error.help().unwrap().contains("[forge]"));
        assert!(!dir.path().join("state").exists());

        for (health, code) in CODES {
            assert_eq!(once(&format!("{alone}{FORGE}"), health).unwrap(), code);
        }
        let mode = fs::metadata(dir.path().join("state"))
            .unwrap()
            .permissions();
        assert_eq!(mode.mode() & 0o7777, 0o700);
        assert!(
            !StateDir::at(&dir.path().join("state"))
                .identity_file()
                .exists()
        );
    }

    #[test]
    fn both_roles_run_and_the_worse_of_them_counts() {
        let dir = tempfile::tempdir().unwrap();
        drop(initialise(&StateDir::at(&dir.path().join("state"))));
        for (health, code) in CODES {
            assert_eq!(once(dir.path(), FORGE, Health::Well, health).unwrap(), code);
            assert_eq!(once(dir.path(), FORGE, health, Health::Well).unwrap(), code);
        }
        let agent = format!("[fleet]\nroles = [\"agent\"]\n{FORGE}");
        let code = once(dir.path(), &agent, Health::Well, Health::Broken).unwrap();
        assert_eq!(code, exit::OK);
    }

    /// The server is part of the daemon, so this goes past `--once`.
    fn daemon(dir: &Path, secret: &str) -> CommandError {
        let file = dir.join("webhook-secret");
        fs::write(&file, secret).unwrap();
        fs::set_permissions(&file, fs::Permissions::from_mode(0o600)).unwrap();
        let http = format!(
            "[fleet]\nroles = [\"bot\"]\n{FORGE}[http]\nlisten = \"127.0.0.1:0\"\nwebhook_secret = \"{}\"\n",
            file.display()
        );
        let parts = Parts {
            agent: |_: &Settings, _: &StateDir, _: Opened, _| unreachable!("a bot alone"),
            bot: |_: &Settings, _: &StateDir, _: Hints| {
                Ok(Box::new(Once(Health::Well)) as Box<dyn Cycle>)
            },
        };
        run_with(&Args { once: false }, &common(dir, &http), parts).unwrap_err()
    }

    #[test]
    fn with_a_forge_and_without_a_secret_for_its_webhook_it_does_not_start() {
        let dir = tempfile::tempdir().unwrap();
        let error = daemon(dir.path(), "\n");
        assert_eq!(error.exit_code(), exit::CONFIG);
        let said = chain(&error);
        assert!(
            said.contains("webhook-secret") && said.contains("it is empty"),
            "{said}"
        );
    }
}
