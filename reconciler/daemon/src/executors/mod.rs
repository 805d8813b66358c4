//! One executor at work: the real outside, what is remembered, and what it says of each cycle. What it keeps is its world's
//! affair; each kind has a file here that puts its world together.

mod any;
pub mod guests;
pub mod host;
mod opened;
mod requests;
mod watched;

use std::collections::BTreeSet;
use std::io::Write as _;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use muster_core::clock::{Clock, Matter, Moment};
use muster_core::executor::Executor;
use muster_core::facts::{Frozen, Suspended};
use muster_core::fleet::alive::{self, Alive};
use muster_core::gate::Reason;
use muster_core::journal::{Entry, StepResult};
use muster_core::rooms::{Note, Policy};
use muster_core::time::Time;
use muster_core::world::{Files, Journal as _, World};
use muster_git::{Notes, Origin, Proposals, notes};
use muster_host::HostError;

use crate::clock;
use crate::console;
use crate::cycle::{self, CycleError, Memory, Outside, Run, chain};
use crate::daemon::{Cycle, CycleStatus, Health, Look, Tells, Why};
use crate::journal::{Journal, Opened};
use crate::last_cycle::{Keeper, LastCycle};
use crate::outside::{LedgerRepository, NotesSink, OutsideError, StateSource};
use crate::paint::paper;
use crate::push::{News, Pusher};
use crate::reader;
use crate::refused_tags::RefusedTags;
use crate::settings::{self, Settings};
use crate::state_dir::{Lock, StateDir};
use crate::suspension;
use crate::trust::TrustFile;
use watched::{Stamped, share};

pub use any::{AnyWorld, AnyWorldError};
pub use opened::{OpenError, OpenedExecutor};

/// How often an executor gives a sign of life, in seconds.
const ALIVE_EVERY: i64 = 300;

/// Why an executor could not be put together.
#[derive(Debug, thiserror::Error)]
pub enum AssembleError {
    /// The settings name no state repository.
    #[error("there is no state repository yet: set [state] url in the settings")]
    NoOrigin,
    /// The mirror or the ledger.
    #[error("the repositories of this executor cannot be used")]
    Repositories(#[source] OutsideError),
    /// It keeps what this version does not.
    #[error("this version of muster cannot keep {0}")]
    NotKept(Executor),
    /// The host.
    #[error("this host cannot be used")]
    Host(#[source] HostError),
    /// The hypervisor.
    #[error("this hypervisor cannot be used")]
    Guests(#[source] guests::EntranceError),
}

/// Who is told what a cycle did, beside the log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Console {
    /// Nobody: the log is enough.
    Log,
    /// Somebody who waits for it: standard output, and progress on standard error.
    Person,
}

/// The state repository, read through the mirror that the executor keeps.
pub(crate) fn open_source(
    settings: &Settings,
    state: &StateDir,
    origin: Origin,
    proposals: Proposals,
) -> Result<StateSource, OutsideError> {
    let keeps = state.path().join("reader");
    let way = reader::way(&origin, &settings.state.reader, Some(&keeps));
    let branch = &settings.state.branch;
    StateSource::open(&state.mirror(), origin, way, branch, proposals)
}

/// What one executor keeps, and by what policy.
pub struct Managed<W> {
    /// Where it is read and changed.
    pub world: W,
    /// What was decided about it, for the name that is pinned.
    pub policy: Policy,
    /// Files that show when it moves.
    pub watched: Vec<PathBuf>,
    /// A number that is another one when it moved, where no file shows that; `None` of it where it does not answer.
    pub pulse: Option<fn(&W) -> Option<u64>>,
}

/// A cycle, and the lock without which it must not run.
pub struct Locked {
    /// What runs.
    pub cycle: Box<dyn Cycle>,
    /// Nobody else changes the state directory meanwhile.
    pub lock: Lock,
}

impl Cycle for Locked {
    fn has_moved(&mut self) -> bool {
        self.cycle.has_moved()
    }

    fn prepare(&mut self) {
        self.cycle.prepare();
    }

    fn run(&mut self, why: Why, stop: &dyn Fn() -> bool) -> CycleStatus {
        self.cycle.run(why, stop)
    }

    fn watch_paths(&self) -> Vec<PathBuf> {
        self.cycle.watch_paths()
    }

    fn look(&self, tells: Tells, every: Duration) -> Option<Look> {
        self.cycle.look(tells, every)
    }
}

/// Cycles of one executor against the real outside.
pub struct Worker<W> {
    outside: Outside<StateSource, W, Journal, LedgerRepository, NotesSink>,
    memory: Memory,
    policy: Policy,
    trust: TrustFile,
    state: StateDir,
    watched: Vec<PathBuf>,
    stamped: Option<Stamped>,
    pulse: Option<fn(&W) -> Option<u64>>,
    /// As it was when the last cycle began.
    felt: Option<u64>,
    console: Console,
    now: fn() -> Time,
    /// How the last cycle went, in this process or in one before it.
    last: Option<LastCycle>,
    alive: Option<Time>,
    /// When the world was last read.
    read: Option<Time>,
    /// Brings the ledger elsewhere, where it is to be there too.
    pusher: Option<Pusher>,
    /// Whether the ledger repository was asked whether it is ahead of this executor.
    asked: bool,
    /// What was found there instead of ours, for the next cycle to hear.
    misfit: Option<Frozen>,
    /// What needs attention and was said in the last cycle.
    warned: BTreeSet<String>,
    /// Tags that were refused before their signature was good, once they were read.
    refused_tags: Option<RefusedTags>,
    /// What of the clock is written down.
    remembered: Clock,
    /// What is the matter with the clock, as it was said last.
    matter: Option<Matter>,
}

impl<W: World> Worker<W> {
    /// Puts one together out of what was opened and what it keeps. `now` is the only clock.
    ///
    /// # Errors
    /// When a part of the outside cannot be used at all.
    pub fn assemble(
        settings: &Settings,
        opened: OpenedExecutor,
        kept: Managed<W>,
        console: Console,
        now: fn() -> Time,
    ) -> Result<Self, AssembleError> {
        let OpenedExecutor {
            state,
            opened: Opened {
                journal, replayed, ..
            },
            ledger: (mut ledger, files),
        } = opened;
        let Managed {
            world,
            policy,
            watched,
            pulse,
        } = kept;
        let origin = settings.state.url.clone().ok_or(AssembleError::NoOrigin)?;
        let sink = match (settings.report.notes, &origin) {
            (settings::Notes::Leave, Origin::Local(_)) => {
                notes_sink(policy.executor(), &origin, now)
            }
            _ => None,
        };
        // Without somebody to tell, proposals need not be read.
        let proposals = if sink.is_some() {
            Proposals::Include
        } else {
            Proposals::Ignore
        };
        let source = open_source(settings, &state, origin, proposals)
            .map_err(AssembleError::Repositories)?
            .waiting_unless({
                let state = state.clone();
                Arc::new(move || suspension::is_asked(&state))
            });
        let pusher = settings.fleet.ledger.clone().map(|there| {
            Pusher::open(
                &state,
                there,
                policy.executor(),
                &replayed.facts.executor_id,
            )
        });
        if let Some(pusher) = &pusher {
            ledger.has_arrived(pusher.arrived());
        }
        let last = LastCycle::read(&state);
        let remembered = clock::remembered(&state);
        let mut memory = Memory::new(replayed, files);
        memory.clock = remembered.clone();
        Ok(Self {
            outside: Outside {
                source,
                world,
                journal,
                ledger,
                sink,
            },
            policy,
            trust: TrustFile::at(&settings.trust),
            memory,
            state,
            watched,
            stamped: None,
            pulse,
            felt: None,
            console,
            now,
            alive: None,
            last,
            read: None,
            pusher,
            asked: false,
            misfit: None,
            warned: BTreeSet::new(),
            refused_tags: None,
            remembered,
            matter: None,
        })
    }

    fn tell(&mut self, summary: &cycle::CycleSummary) {
        for warning in &summary.warnings {
            tracing::warn!("{warning}");
        }
        match self.console {
            Console::Person => {
                // Whoever stopped reading has seen enough.
                let _ = std::io::stdout().write_all(console::text(summary, paper()).as_bytes());
            }
            Console::Log => {
                for (step, result) in summary.recovered.iter().chain(&summary.ran) {
                    match result {
                        StepResult::Done => {
                            tracing::info!(step = %step.id, "Done: {}", step.words())
                        }
                        other => {
                            tracing::warn!(step = %step.id, "{}: {}", console::word(other), step.words())
                        }
                    }
                }
                // Once, not in every cycle; and again when it comes back.
                let notes = summary.notes.iter().filter(|it| it.needs_attention());
                let notes: BTreeSet<String> = notes.map(ToString::to_string).collect();
                for note in notes.difference(&self.warned) {
                    tracing::warn!("{note}");
                }
                self.warned = notes;
            }
        }
        for line in &summary.releases {
            tracing::info!("Release: {line}.");
        }
        if let Some(frozen) = &summary.frozen {
            tracing::error!("Frozen: {frozen}.");
        }
    }

    /// The pulse of what is kept, where it has one.
    fn feel(&self) -> Option<u64> {
        self.pulse.and_then(|pulse| pulse(&self.outside.world))
    }

    /// The moment to go by. What is the matter with the clock is said once.
    fn hear_clock(&mut self) -> Moment {
        let reading = clock::read(self.now);
        let moment = self.memory.hear(&reading, &mut || clock::ask(reading.wall));
        let before = self.matter.take();
        match (&before, &moment.matter) {
            (None, Some(matter)) => tracing::error!("The clock is doubted: {matter}."),
            (Some(before), Some(matter)) if !before.is_like(matter) => {
                tracing::error!("The clock is doubted: {matter}.");
            }
            (Some(_), None) => tracing::info!("The clock is believed: it is {}.", moment.now),
            (Some(_), Some(_)) | (None, None) => {}
        }
        self.matter = moment.matter;
        if self.memory.clock.tells_more_than(&self.remembered) {
            clock::remember(&self.state, &self.memory.clock);
            self.remembered = self.memory.clock.clone();
        }
        moment
    }

    /// Keeps the list of tags that nobody who may signed; written only when it changes.
    fn keep_refused_tags(&mut self, summary: &cycle::CycleSummary, now: Time) {
        let path = self.state.refused_tags();
        let before = self
            .refused_tags
            .get_or_insert_with(|| RefusedTags::read(&path));
        let after = before.after(summary, now);
        if after == *before {
            return;
        }
        match after.write(&path) {
            Ok(()) => *before = after,
            Err(error) => tracing::warn!("{} cannot be written: {error}.", path.display()),
        }
    }

    /// Hears what came of a push. Whether a cycle has to hear of it.
    fn hear_of_push(&mut self, now: Time) -> bool {
        let news = self.pusher.as_mut().and_then(|it| it.poll(now));
        self.hear(news);
        self.misfit.is_some()
    }

    /// Begins to push what is new, where nothing stands against it.
    fn start_push(&mut self, now: Time) {
        if let Some(pusher) = &mut self.pusher
            && self.misfit.is_none()
        {
            pusher.start(self.memory.facts().frozen.as_ref(), now);
        }
    }

    /// Asks the ledger repository once whether it is ahead of this executor, before anything is done here.
    fn ask_first(&mut self) {
        if std::mem::replace(&mut self.asked, true) {
            return;
        }
        if let Some(pusher) = &mut self.pusher {
            let news = pusher.ask(self.memory.facts().frozen.as_ref());
            self.outside.ledger.has_arrived(pusher.arrived());
            self.hear(news);
        }
    }

    fn hear(&mut self, news: Option<News>) {
        match news {
            None | Some(News::Failed) => {}
            Some(News::Misfit(why)) => self.misfit = Some(why),
            Some(News::Arrived) => {
                if let Some(pusher) = &self.pusher {
                    self.outside.ledger.has_arrived(pusher.arrived());
                }
                // Nothing is lost by what stays.
                match self.outside.ledger.safe() {
                    Ok(Some(through)) => {
                        if let Err(error) = self.outside.journal.release(&through) {
                            tracing::warn!("Old journal segments stay: {}.", chain(&error));
                        }
                    }
                    Ok(None) => {}
                    Err(error) => tracing::warn!("Old journal segments stay: {}.", chain(&error)),
                }
            }
        }
    }

    /// Pushes, and waits for it: this process ends with the cycle.
    fn push_now(&mut self, now: Time) {
        if let Some(pusher) = &mut self.pusher {
            pusher.start(self.memory.facts().frozen.as_ref(), now);
            let news = pusher.wait(now);
            self.hear(news);
        }
    }

    /// Freezes where another ledger is in this executor's place.
    fn take_misfit(&mut self, now: Time) -> Result<(), CycleError> {
        let Some(why) = self.misfit.take() else {
            return Ok(());
        };
        if self.memory.facts().frozen.is_some() {
            return Ok(());
        }
        let at = now.max(self.memory.facts().latest);
        let entry = Entry::Frozen { at, why };
        cycle::take_decision(&mut self.memory, &mut self.outside.journal, &entry)
    }

    /// Leaves word of how a cycle went. A part that cannot be read is told to the fleet at once.
    fn leave_word(&mut self, last: LastCycle, line: &str, now: Time) {
        let before = self.last.take();
        let unread = |it: Option<&LastCycle>| it.map_or(0, |it| it.unread.len());
        let news = unread(before.as_ref()) != last.unread.len();
        self.last = match last.clone().leave(before, &self.state) {
            Ok(last) => Some(last),
            Err(error) => {
                let path = self.state.last_cycle();
                tracing::warn!("{} cannot be written: {error}.", path.display());
                Some(last)
            }
        };
        let due = self.console == Console::Log
            // By a clock that was set back, the last one may be of later.
            && self
                .alive
                .is_none_or(|last| last > now || last.plus(ALIVE_EVERY) <= now);
        if news || due {
            self.give_sign_of_life(now, line);
        }
    }

    fn give_sign_of_life(&mut self, now: Time, line: &str) {
        let alive = Alive {
            at: now,
            read: self.read,
            ledger: self.outside.ledger.head().cloned(),
            adopted: self.memory.facts().adopted.clone(),
            version: env!("CARGO_PKG_VERSION").to_owned(),
            line: line.to_owned(),
            unread: self
                .last
                .as_ref()
                .map_or_else(Vec::new, |it| it.unread.clone()),
        };
        let files = Files::from([(alive::FILE.to_owned(), alive.to_bytes())]);
        match self
            .outside
            .ledger
            .put_alive(self.policy.executor(), &files, now)
        {
            Ok(()) => self.alive = Some(now),
            Err(error) => tracing::warn!("No sign of life could be given: {}.", chain(&error)),
        }
    }
}

fn notes_sink(executor: &Executor, origin: &Origin, now: fn() -> Time) -> Option<NotesSink> {
    let writer = match std::env::current_exe() {
        Ok(exe) => notes::Writer::Child {
            exe,
            args: vec!["notes-as-owner".into()],
        },
        Err(_) => notes::Writer::InProcess,
    };
    match Notes::open(origin, writer) {
        Ok(notes) => Some(NotesSink::new(notes, executor.clone(), now)),
        Err(error) => {
            tracing::warn!("No reports are left in the origin: {}.", chain(&error));
            None
        }
    }
}

impl<W: World + Send + 'static> Cycle for Worker<W> {
    fn has_moved(&mut self) -> bool {
        let now = (self.now)();
        let heard = self.hear_of_push(now);
        self.start_push(now);
        heard
            || self.outside.source.has_moved()
            || !self.stamped.as_ref().is_some_and(Stamped::still_holds)
            // One that does not answer is looked at again when drift is looked for.
            || self.feel().is_some_and(|it| self.felt != Some(it))
    }

    fn prepare(&mut self) {
        self.outside.source.prepare();
    }

    fn run(&mut self, why: Why, stop: &dyn Fn() -> bool) -> CycleStatus {
        tracing::debug!(?why, "A cycle begins.");
        // By this machine's clock, for those elsewhere who compare it with theirs.
        let wall = (self.now)();
        self.stamped = Some(Stamped::take(&self.watched));
        if self.console == Console::Log {
            self.felt = self.feel();
        }
        self.ask_first();
        self.hear_of_push(wall);
        let now = self.hear_clock().now;
        if let Err(error) = self.take_requests(now).and_then(|()| self.take_misfit(now)) {
            let line = chain(&error);
            tracing::error!("{line}.");
            return CycleStatus {
                health: Health::Broken,
                line,
                due_in: None,
            };
        }
        let Moment { now, matter } = match &self.matter {
            // Somebody may just have said that the clock is right.
            Some(_) => self.hear_clock(),
            None => Moment::certain(now),
        };
        // An act that gets on is alive, however long it takes.
        let gets_on = || {
            stop();
        };
        // Who asks at the console while a cycle runs is heard between two batches.
        let state = self.state.clone();
        let stop = || stop() || suspension::is_asked(&state);
        let console = self.console;
        let keeper = match console {
            Console::Log => Keeper::Daemon,
            Console::Person => Keeper::Once,
        };
        let mut bar = console::Bar::new(console == Console::Person);
        let result = cycle::cycle(
            &mut self.memory,
            &mut self.outside,
            Run {
                policy: &self.policy,
                now,
                matter,
                clock: &|| clock::read(self.now),
                trust: &mut self.trust,
                inventory: match console {
                    Console::Log => cycle::Inventory::Current,
                    Console::Person => cycle::Inventory::WithFacts,
                },
                is_last: console == Console::Person,
                stop: &stop,
                progress: &mut |phase, done, all| {
                    gets_on();
                    bar.show(phase, done, all);
                },
            },
        );
        bar.clear();
        self.outside.source.rest();
        match result {
            Ok(summary) => {
                self.tell(&summary);
                self.keep_refused_tags(&summary, now);
                let line = console::line(&summary);
                self.read = Some(wall);
                let unread = summary.notes.iter().filter(|it| it.is_unread());
                let unread = unread.map(ToString::to_string);
                let ended = LastCycle::ended(keeper, now, unread, summary.unanswered.clone());
                let amiss = summary.notes.iter().filter(|it| it.is_amiss());
                let ended = ended.with_amiss(amiss.map(ToString::to_string));
                let told = |it: &&Note| it.is_unread() || it.is_amiss();
                let others = summary.notes.iter().filter(|it| !told(it));
                let others = others.filter(|it| it.needs_attention());
                let ended = ended.with_attention(others.map(ToString::to_string));
                self.leave_word(ended, &line, wall);
                match console {
                    Console::Log => self.start_push(wall),
                    Console::Person => self.push_now(wall),
                }
                let adopted = &self.memory.facts().adopted;
                let source = &mut self.outside.source;
                source.maintain_after(!summary.is_quiet(), adopted);
                let due_in = Some(due_in(&summary, now));
                let health = match console {
                    Console::Person if !summary.is_in_order() => Health::Failed,
                    Console::Person | Console::Log => Health::Well,
                };
                CycleStatus {
                    health,
                    line,
                    due_in,
                }
            }
            Err(error) => {
                let line = chain(&error);
                tracing::error!("{line}.");
                if let CycleError::Repository { problems, .. } = &error {
                    problems
                        .iter()
                        .for_each(|problem| tracing::error!("{problem}"));
                }
                self.leave_word(LastCycle::failed(keeper, now, line.clone()), &line, wall);
                if console == Console::Log {
                    self.start_push(wall);
                }
                let health = match error {
                    CycleError::World { .. } | CycleError::Repository { .. } => Health::Failed,
                    CycleError::Records { .. } | CycleError::Order(_) => Health::Broken,
                };
                CycleStatus {
                    health,
                    line,
                    due_in: None,
                }
            }
        }
    }

    fn watch_paths(&self) -> Vec<PathBuf> {
        self.outside.source.watch_paths()
    }

    fn look(&self, tells: Tells, every: Duration) -> Option<Look> {
        // A pulse is felt here alone.
        if self.pulse.is_some() {
            return None;
        }
        // How a push goes is known only here, and a remote origin has to be asked.
        let (None, Some(signature), Some(stamped)) =
            (&self.pusher, self.outside.source.signature(), &self.stamped)
        else {
            return None;
        };
        let (signature, stamped) = (signature.clone(), stamped.clone());
        let of_world = stamped.parts();
        let told = tells == Tells::Everything;
        let all = of_world + if told { signature.parts() } else { 0 };
        let (share, mut next) = (share(all, every), None);
        Some(Box::new(move || {
            let Some(begin) = next else {
                // What moved before anybody watched was told to nobody.
                next = Some(0);
                return !signature.still_holds() || !stamped.still_holds();
            };
            next = Some((begin + share) % all);
            let mut turn = (begin..begin + share).map(|part| part % all);
            let holds = (told || signature.still_holds())
                && turn.all(|part| match part.checked_sub(of_world) {
                    None => stamped.part_still_holds(part),
                    Some(part) => signature.part_still_holds(part),
                });
            !holds
        }))
    }
}

/// When something is due although nothing moves: a step to be tried again, or the next day, when somebody may expire.
fn due_in(summary: &cycle::CycleSummary, now: Time) -> Duration {
    // A clock that is doubted is looked at again soon: a time service needs a moment after a start.
    let clock = summary.clock.map(|_| now.0 + 60);
    let midnight = (now.days() + 1) * 86_400;
    let retry = summary.held.iter().filter_map(|held| match &held.reason {
        Reason::Retry { at, .. } | Reason::Until { at, .. } => Some(at.0),
        Reason::Suspended(Suspended { until, .. }) => until.as_ref().map(|it| it.0),
        _ => None,
    });
    // What failed just now is due in a minute at the earliest.
    let failed = summary
        .ran
        .iter()
        .any(|(_, result)| matches!(result, StepResult::Failed(_) | StepResult::Unfinished(_)));
    let again = summary
        .ran
        .iter()
        .any(|(_, result)| *result == StepResult::NotBegun)
        || summary.stopped;
    let next = retry
        .chain(clock)
        .chain(summary.read_tags_in.map(|wait| now.0 + i64::from(wait)))
        .chain(failed.then_some(now.0 + 60))
        .chain(again.then_some(now.0))
        .min()
        .map_or(midnight, |at| at.min(midnight));
    Duration::from_secs(u64::try_from(next - now.0).unwrap_or(0))
}
