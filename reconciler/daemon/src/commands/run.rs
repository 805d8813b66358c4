//! `muster run`: the daemon.

mod together;

use std::sync::Arc;
use std::time::Duration;

use muster_core::executor::ExecutorKind;
use muster_forge::Repository;
use tokio::runtime::Runtime;

use super::here::Those;
use super::{CommandError, Common, now};
use crate::bot::{self, Hints};
use crate::cycle::chain;
use crate::daemon::loops::{self, Begin as Anew, ExecutorLoop};
use crate::daemon::{
    Cycle, CycleStatus, Ears, Ended, Health, Knock, Pace, Pulse, Pulsing, Silent, Supervisor,
    Systemd, Why, ears, trouble,
};
use crate::executors::{AssembleError, Console, Locked, OpenedExecutor, Worker, guests, host};
use crate::exit;
use crate::http::{Doors, Server};
use crate::settings::{ExecutorSettings, Place, Problem, Role, Settings, SettingsError};
use crate::state_dir::{Lock, Purpose, StateDir, StateError};
use together::{Member, for_ever, listen, together};

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
    #[command(flatten)]
    here: Those,
}

/// What runs in each role, put together out of what there is.
struct Parts<A, B> {
    /// An agent's cycle, out of the opened state of its executor; anew where one of several has gone down.
    agent: A,
    /// The bot's, out of the settings and where it is told to look first; anew when one has come to its end.
    bot: B,
}

/// Takes the locks, opens the states, and does what the roles ask until told to stop.
///
/// # Errors
/// When there is no state, somebody else is at work on it, or it cannot be used; of several executors, each is told of and
/// the others are kept.
pub fn run(args: &Args, common: &Common) -> Result<u8, CommandError> {
    let console = if args.once {
        Console::Person
    } else {
        Console::Log
    };
    let agent =
        move |settings: &Settings, here: &ExecutorSettings, opened: OpenedExecutor| match here
            .executor
            .kind()
        {
            ExecutorKind::Host => {
                let kept = host::keep(settings, &opened.state, &opened.opened.replayed.facts)?;
                let worker = Worker::assemble(settings, opened, kept, console, now)?;
                Ok(Box::new(worker) as Box<dyn Cycle>)
            }
            ExecutorKind::Guests => {
                let section = settings.guests_of(&here.executor)?;
                let facts = &opened.opened.replayed.facts;
                let kept = guests::keep(settings, section, &opened.state, facts)?;
                let worker = Worker::assemble(settings, opened, kept, console, now)?;
                Ok(Box::new(worker) as Box<dyn Cycle>)
            }
            ExecutorKind::Cluster | ExecutorKind::Ca => {
                Err(AssembleError::NotKept(here.executor.clone()).into())
            }
        };
    let bot =
        |settings: &Settings, state: &StateDir, hints| bot::assemble(settings, state, hints, now);
    run_with(args, common, Parts { agent, bot })
}

/// The bot of this process, before it turns: its first cycle, and how to make another.
struct Bot {
    cycle: Box<dyn Cycle>,
    make: Arc<dyn Fn() -> Result<Box<dyn Cycle>, bot::AssembleError> + Send + Sync>,
    hints: Hints,
    ears: Ears,
}

impl Bot {
    /// The loop that it becomes, and what begins it anew.
    fn member(self, knock: Knock, pulse: Pulse, supervisor: Box<dyn Supervisor>) -> (Member, Anew) {
        let Self {
            cycle, make, ears, ..
        } = self;
        let anew = {
            let pulse = pulse.clone();
            move || {
                let cycle = make().map_err(|error| chain(&error))?;
                let pulse = pulse.clone();
                Ok(Box::new(Pulsing { cycle, pulse }) as Box<dyn Cycle>)
            }
        };
        let (send, events) = ears;
        let member = Member {
            cycle: Box::new(Pulsing { cycle, pulse }),
            pace: BOT_PACE,
            supervisor,
            knock,
            send,
            events,
        };
        (member, Arc::new(anew) as Anew)
    }
}

/// The same with other cycles in place of the real ones.
fn run_with<A, B>(args: &Args, common: &Common, parts: Parts<A, B>) -> Result<u8, CommandError>
where
    A: Fn(&Settings, &ExecutorSettings, OpenedExecutor) -> Result<Box<dyn Cycle>, CommandError>
        + Send
        + Sync
        + 'static,
    B: Fn(&Settings, &StateDir, Hints) -> Result<Box<dyn Cycle>, bot::AssembleError>
        + Send
        + Sync
        + 'static,
{
    let settings = common.settings()?;
    super::start_log(&settings, common);
    let executors = match args.here.named() {
        [] => {
            refuse_to_forget_the_host(&settings, common)?;
            settings.executors()
        }
        _ => args.here.of(&settings)?,
    };
    // Looked at first, since a lock in a directory that nobody initialised would be state. A bot has none to lose.
    if let [here] = executors.as_slice()
        && StateDir::at(&here.dir).identity()?.is_none()
    {
        return Err(StateError::NotInitialised(here.dir.clone()).into());
    }
    // Whoever names executors means them alone.
    let has_bot = settings.fleet.roles.contains(&Role::Bot)
        && settings.forge.is_some()
        && args.here.named().is_empty();
    if executors.is_empty() && !has_bot {
        return Err(CommandError::NothingToDo);
    }
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(CommandError::Runtime)?;
    let bot_ears = ears();
    let ears: Vec<Ears> = executors.iter().map(|_| ears()).collect();
    let senders: Vec<_> = ears
        .iter()
        .chain([&bot_ears])
        .map(|it| it.0.clone())
        .collect();
    // Before a lock says who we are: a poke that came earlier would end the process.
    runtime
        .block_on(async { listen(&senders) })
        .map_err(CommandError::Runtime)?;
    let state = StateDir::at(&settings.state.dir);
    let is_shared = executors.iter().any(|it| it.dir == settings.state.dir);
    let _lock = match has_bot && !is_shared {
        true => {
            state.make()?;
            Some(Lock::take(&state, Purpose::Run)?)
        }
        false => None,
    };
    let agents = {
        let settings = settings.clone();
        let agent = parts.agent;
        Agents {
            begin: Arc::new(move |here| {
                let (opened, lock) = OpenedExecutor::open(here, now())?;
                let cycle = agent(&settings, here, opened)?;
                Ok(Locked { cycle, lock })
            }),
            first: None,
        }
    };
    let agents = agents.assembled_if_alone(&executors)?;
    let bot = match has_bot {
        true => Some(bot_of(&settings, state, parts.bot, bot_ears)?),
        false => None,
    };
    if args.once {
        return Ok(once(agents, &executors, bot));
    }
    at_work(&settings, agents, executors, ears, bot, &runtime)
}

/// A machine that was a host goes on to be one: the first `[[guests]]` in its settings must not silently end that.
fn refuse_to_forget_the_host(settings: &Settings, common: &Common) -> Result<(), CommandError> {
    let is_agent = settings.fleet.roles.contains(&Role::Agent);
    if settings.keeps_host || !is_agent {
        return Ok(());
    }
    // Where that may not be looked at, somebody else keeps it.
    let Ok(Some(identity)) = StateDir::at(&settings.state.dir).identity() else {
        return Ok(());
    };
    let host = identity.executor();
    if host.kind() != ExecutorKind::Host {
        return Ok(());
    }
    let problem = Problem {
        place: Place {
            file: common.config.display().to_string().into(),
            at: None,
        },
        problem: format!(
            "there is a [[guests]] and no [host] name, and {} is what keeps {host}",
            settings.state.dir.display()
        ),
        help: Some(format!(
            "set [host] name = \"{}\" to keep both, or `muster run --executor` to keep one of them",
            host.name()
        )),
    };
    let problems = vec![problem];
    Err(CommandError::Settings(SettingsError { problems }))
}

fn bot_of<B>(
    settings: &Settings,
    state: StateDir,
    assemble: B,
    ears: Ears,
) -> Result<Bot, CommandError>
where
    B: Fn(&Settings, &StateDir, Hints) -> Result<Box<dyn Cycle>, bot::AssembleError>
        + Send
        + Sync
        + 'static,
{
    let hints = Hints::default();
    let make = {
        let (settings, hints) = (settings.clone(), hints.clone());
        Arc::new(move || assemble(&settings, &state, hints.clone()))
    };
    Ok(Bot {
        cycle: make()?,
        make,
        hints,
        ears,
    })
}

type OpenAndBegin = dyn Fn(&ExecutorSettings) -> Result<Locked, CommandError> + Send + Sync;

/// The agents of this process.
struct Agents {
    /// Opens an executor's state and puts its cycle together.
    begin: Arc<OpenAndBegin>,
    /// Of the only one, already put together.
    first: Option<Locked>,
}

impl Agents {
    /// An executor that is the only one is put together at once: without it there is nothing to do.
    fn assembled_if_alone(mut self, executors: &[ExecutorSettings]) -> Result<Self, CommandError> {
        if let [here] = executors {
            self.first = Some((self.begin)(here)?);
            trouble::clear(&StateDir::at(&here.dir));
        }
        Ok(self)
    }
}

/// One cycle of each, and how the worst of them went.
fn once(agents: Agents, executors: &[ExecutorSettings], bot: Option<Bot>) -> u8 {
    let mut worst = Health::Well;
    let mut once = |cycle: &mut dyn Cycle| {
        let CycleStatus { health, line, .. } = cycle.run(Why::Started, &|| false);
        tracing::info!("{line}");
        worst = worst.max(health);
        if cycle.left_something() {
            worst = worst.max(Health::Failed);
        }
    };
    let mut broken = false;
    let begun: Vec<Locked> = match agents.first {
        Some(only) => vec![only],
        None => executors
            .iter()
            .filter_map(|here| match (agents.begin)(here) {
                Ok(cycle) => Some(cycle),
                Err(error) => {
                    tracing::error!("{} is not kept: {}.", here.executor, chain(&error));
                    broken = true;
                    None
                }
            })
            .collect(),
    };
    for Locked { mut cycle, lock } in begun {
        once(cycle.as_mut());
        // The process ends here: what is known of tens of thousands of people need not be taken apart for that.
        std::mem::forget(cycle);
        drop(lock);
    }
    // A bot gives back the lead where it is let go of.
    if let Some(mut bot) = bot {
        once(bot.cycle.as_mut());
    }
    if broken {
        worst = Health::Broken;
    }
    match worst {
        Health::Well => exit::OK,
        Health::Failed => exit::FAILED,
        Health::Broken => exit::STATE,
    }
}

/// Runs all loops until told to stop.
fn at_work(
    settings: &Settings,
    agents: Agents,
    executors: Vec<ExecutorSettings>,
    ears: Vec<Ears>,
    bot: Option<Bot>,
    runtime: &Runtime,
) -> Result<u8, CommandError> {
    let inside = |_: &ExecutorSettings| (Knock::default(), Pulse::default());
    let rhythms: Vec<(Knock, Pulse)> = executors.iter().map(inside).collect();
    let (bot_knock, bot_pulse) = (Knock::default(), Pulse::default());
    if let Some(http) = &settings.http {
        let door = match rhythms.as_slice() {
            [] => None,
            [(knock, _)] => Some(knock.clone()),
            several => {
                let (door, knocks) = (Knock::default(), several.iter().map(|it| it.0.clone()));
                runtime.spawn(door.clone().pass_on(knocks.collect()));
                Some(door)
            }
        };
        let doors = Doors {
            agent: door.map(|knock| (knock, settings.state.branch.clone())),
            bot: bot.as_ref().map(|it| (bot_knock.clone(), it.hints.clone())),
            ledger: (settings.fleet.ledger.as_ref())
                .and_then(|it| Repository::at_end_of(&it.to_string())),
        };
        let mut pulses: Vec<Pulse> = rhythms.iter().map(|it| it.1.clone()).collect();
        pulses.extend(bot.is_some().then(|| bot_pulse.clone()));
        let server = Server::prepare(http, settings.forge.as_ref(), doors, pulses)?;
        runtime.spawn(async {
            if let Err(error) = server.run().await {
                tracing::error!(%error, "Nobody is served over HTTP.");
            }
        });
    }
    let with_bot = |bot: Bot, supervisor| bot.member(bot_knock, bot_pulse, supervisor);
    let each = executors.into_iter().zip(ears).zip(rhythms);
    if let (None, true) = (&agents.first, each.len() > 0) {
        let begin = |here: ExecutorSettings| {
            let begin = Arc::clone(&agents.begin);
            let begin = move || match begin(&here) {
                Ok(locked) => Ok(Box::new(locked) as Box<dyn Cycle>),
                Err(error) => Err(chain(&error)),
            };
            Arc::new(begin) as Anew
        };
        let loops = each.map(|((here, (send, events)), (knock, pulse))| ExecutorLoop {
            executor: here.executor.clone(),
            state: StateDir::at(&here.dir),
            pace: pace_of(&here),
            begin: begin(here),
            knock,
            pulse,
            send,
            events,
        });
        let mut loops = loops::begin(loops.collect()).map_err(CommandError::Runtime)?;
        let bot = bot.map(|it| with_bot(it, Box::new(Silent)));
        runtime.block_on(several(&mut loops, bot, &mut Systemd::from_environment()));
        return Ok(exit::OK);
    }
    let only = each.zip(agents.first).next();
    let agent = only.map(
        |(((here, (send, events)), (knock, pulse)), locked)| Member {
            cycle: Box::new(Pulsing {
                cycle: Box::new(locked),
                pulse,
            }),
            pace: pace_of(&here),
            supervisor: Box::new(Systemd::from_environment()),
            knock,
            send,
            events,
        },
    );
    let supervisor: Box<dyn Supervisor> = match agent {
        Some(_) => Box::new(Silent),
        None => Box::new(Systemd::from_environment()),
    };
    let bot = bot.map(|it| with_bot(it, supervisor));
    Ok(match runtime.block_on(together(agent, bot)) {
        Ended::Stopped => exit::OK,
        Ended::Broken => exit::STATE,
    })
}

/// The loops of several executors, and the bot's beside them, until all are told to stop.
async fn several(
    loops: &mut loops::Loops,
    bot: Option<(Member, Anew)>,
    supervisor: &mut dyn Supervisor,
) {
    let bot = async {
        if let Some((member, anew)) = bot {
            for_ever(member, anew).await;
        }
    };
    tokio::join!(loops.watch_over(now, supervisor), bot);
}

fn pace_of(here: &ExecutorSettings) -> Pace {
    Pace {
        poll: here.poll,
        drift: here.drift,
        knocks: AGENT_KNOCKS,
    }
}

#[cfg(test)]
mod tests;
