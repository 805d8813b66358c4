//! Puts the bot of this process together, and runs its turns when the daemon says so.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io::Write as _;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use muster_core::commit::CommitId;
use muster_core::executor::Executor;
use muster_core::fleet::{BotStore, Fleet, LedgerHead, Past};
use muster_core::forge::{
    Approval, ForgeError, ForgeReader, ForgeWriter, Listing, Proposal, Visibility, Which,
};
use muster_core::release::RepoId;
use muster_core::release::answer::Signers;
use muster_core::services::evaluate::Freshness;
use muster_core::time::Time;
use muster_core::world::{Files, Pulls};
use muster_forge::clock::SystemClock;
use muster_forge::webhook::Poke;
use muster_forge::{Reader, Writer, forgejo, github};
use muster_git::Proposals;
use sha2::{Digest as _, Sha256};

use super::turn::{Memory, Outside, Run, TurnError, turn};
use super::vouching::{Vouching, key_at, signers_at};
use super::{Hints, TurnSummary as Turned};
use crate::bot_store::{GitStore, StoreError};
use crate::cycle::chain;
use crate::daemon::{Cycle, CycleStatus, Health, Why};
use crate::fleet::{GitFleet, OwnFleet};
use crate::outside::{OutsideError, StateSource};
use crate::reader;
use crate::settings::{DriftIssue, ForgePlace, Role, Settings};
use crate::state_dir::StateDir;

/// How long a bot leads at a time, in seconds. A look comes at least twice in it, and renews it: nobody who waits for an answer
/// waits for that, too.
const LEASE: u32 = 60;

/// So many turns in a row may be cut short for what is new; then one is brought to its end.
const CUT_SHORT: u32 = 5;

/// Why a bot could not be put together.
#[derive(Debug, thiserror::Error)]
pub enum AssembleError {
    /// The settings name no forge.
    #[error("there is no forge to speak to: set [forge] in the settings")]
    NoForge,
    /// The settings name no state repository.
    #[error("there is no state repository yet: set [state] url in the settings")]
    NoOrigin,
    /// Neither is there a host here, nor a place where hosts leave their ledgers.
    #[error(
        "no host can be planned for: set [fleet] ledger to the repository into which hosts push their ledgers"
    )]
    NoLedger,
    /// What it needs on this machine.
    #[error("the repositories of this bot cannot be used")]
    Repositories(#[source] OutsideError),
    /// What it remembers.
    #[error("what this bot told before cannot be kept")]
    Store(#[source] StoreError),
    /// What quarantines of owner responses are told by.
    #[error("the key of quarantined owner responses cannot be used")]
    Key(#[source] std::io::Error),
    /// The way to the forge.
    #[error("the forge cannot be spoken to")]
    Forge(#[source] github::ConnectError),
}

/// Puts one together out of settings. `now` is the only clock.
///
/// # Errors
/// When a part of the outside cannot be used at all.
pub fn assemble(
    settings: &Settings,
    state: &StateDir,
    hints: Hints,
    now: fn() -> Time,
) -> Result<Box<dyn Cycle>, AssembleError> {
    let forge = settings.forge.as_ref().ok_or(AssembleError::NoForge)?;
    let origin = settings.state.url.clone().ok_or(AssembleError::NoOrigin)?;
    let dir = state.bot();
    let way = reader::way(&origin, &settings.state.reader, Some(&dir.join("reader")));
    let source = StateSource::open(
        &dir.join("state.git"),
        origin,
        way,
        &settings.state.branch,
        Proposals::Queued,
    )
    .map_err(AssembleError::Repositories)?;
    let fleet = match &settings.fleet.ledger {
        Some(ledger) => {
            let fleet = GitFleet::open(&dir, ledger.clone(), &settings.fleet.hosts);
            Ledgers::Pushed(Box::new(fleet.map_err(AssembleError::Repositories)?))
        }
        None if settings.fleet.roles.contains(&Role::Agent) => {
            let here = settings.executors().into_iter();
            Ledgers::Own(OwnFleet::of_all(here.map(|it| {
                let ledger = StateDir::at(&it.dir).ledger();
                (it.executor, ledger)
            })))
        }
        None => return Err(AssembleError::NoLedger),
    };
    let store = GitStore::open(
        &dir.join("told.git"),
        settings.fleet.ledger.clone(),
        &settings.fleet.replica,
        LEASE,
    )
    .map_err(AssembleError::Store)?;
    let clock = Arc::new(SystemClock::default());
    let (reader, writer, place): (Reader, Writer, String) = match &forge.place {
        ForgePlace::GitHub(it) => {
            let (reader, writer) =
                github::connect(it.clone(), clock).map_err(AssembleError::Forge)?;
            (reader, writer, it.base.to_string())
        }
        ForgePlace::Forgejo(it) => {
            let (reader, writer) =
                forgejo::connect(it.clone(), clock).map_err(AssembleError::Forge)?;
            (reader, writer, it.base.to_string())
        }
    };
    let branch = settings.state.branch.strip_prefix("refs/heads/");
    Ok(Box::new(Bot {
        memory: Memory::default(),
        outside: Outside {
            source,
            fleet,
            store,
            reader: Box::new(Remembering::new(reader, dir.join("answers.json"))),
            writer: Box::new(writer) as Box<dyn ForgeWriter>,
        },
        hints,
        protected: branch.unwrap_or(&settings.state.branch).to_owned(),
        context: forge.context.clone(),
        stale: u32::try_from(settings.fleet.stale.as_secs()).unwrap_or(u32::MAX),
        drift: forge.drift,
        ledger: settings.fleet.ledger.as_ref().map(ToString::to_string),
        mark: mark(&format!("{place} {}", forge.place.repository())),
        vouching: Vouching {
            key: key_at(&dir.join("services.key")).map_err(AssembleError::Key)?,
            signers: Signers::default(),
            freshness: Freshness {
                days: settings.services.inventory_days.into(),
            },
        },
        signers: settings.services.signers.clone(),
        now,
        between: |outside, now| {
            let Outside {
                source,
                fleet,
                store,
                reader: _,
                writer: _,
            } = outside;
            store.renew(now);
            source.maintain(None);
            fleet.maintain();
        },
        cut_short: 0,
        untold: false,
        leader: None,
        warned: BTreeSet::new(),
    }))
}

/// By what the comments of this bot are marked: the same after a restart, and another one in another repository.
fn mark(about: &str) -> RepoId {
    let digest = Sha256::digest(format!("muster-mark/1\0{about}"));
    let mut mark = [0; 16];
    mark.copy_from_slice(&digest[..16]);
    RepoId(mark)
}

/// The bot at work.
struct Bot<S, F, B: BotStore> {
    memory: Memory,
    outside: Outside<S, F, B>,
    hints: Hints,
    protected: String,
    context: String,
    stale: u32,
    drift: DriftIssue,
    /// The ledger repository, where hosts push their ledgers.
    ledger: Option<String>,
    mark: RepoId,
    /// How owner responses are judged, but for whose tags count: that file is read in each turn.
    vouching: Vouching,
    signers: PathBuf,
    now: fn() -> Time,
    /// What is done between two turns, where nobody waits for it.
    between: fn(&mut Outside<S, F, B>, Time),
    /// Turns in a row that were cut short.
    cut_short: u32,
    /// Whether the last turn left something untold.
    untold: bool,
    /// Who led when it was last said, where it was another one.
    leader: Option<String>,
    /// What did not work in the last turn, and was said.
    warned: BTreeSet<String>,
}

impl<S, F, B> Cycle for Bot<S, F, B>
where
    S: Pulls + Send + 'static,
    S::Error: Send,
    F: Fleet + 'static,
    B: BotStore + 'static,
{
    /// What is told on a forge or pushed elsewhere cannot be seen from here.
    fn has_moved(&mut self) -> bool {
        true
    }

    fn run(&mut self, why: Why, stop: &dyn Fn() -> bool) -> CycleStatus {
        tracing::debug!(?why, "A turn of the bot begins.");
        let hints = self.hints.take();
        let first: BTreeSet<u64> = hints
            .into_iter()
            .filter_map(|it| match it {
                Poke::Proposal(number) => Some(number),
                Poke::Ref(_) | Poke::Anywhere => None,
            })
            .collect();
        let may_be_cut = self.cut_short < CUT_SHORT;
        let hints = self.hints.clone();
        let drift = match self.drift {
            DriftIssue::Open => true,
            DriftIssue::Omit => false,
        };
        let mut vouching = self.vouching.clone();
        let signers = signers_at(&self.signers);
        let wrong = signers.as_ref().err().cloned();
        vouching.signers = signers.unwrap_or_default();
        let run = Run {
            protected: &self.protected,
            context: &self.context,
            ledger: self.ledger.as_deref(),
            stale: self.stale,
            drift,
            mark: self.mark,
            vouching: &vouching,
            clock: &self.now,
            first: &first,
            stop: &|| stop() || may_be_cut && hints.name_a_proposal(),
        };
        let mut turned = turn(&mut self.memory, &mut self.outside, &run);
        if let Ok(turned) = &mut turned {
            let wrong = wrong.map(|why| format!("nobody's tag stands behind an answer: {why}"));
            turned.warnings.extend(wrong);
        }
        if stop() {
            self.outside.store.resign((self.now)());
        } else if turned.is_ok() && !self.hints.name_a_proposal() {
            (self.between)(&mut self.outside, (self.now)());
        }
        match turned {
            Ok(turned) => self.tell(&turned),
            Err(TurnError::Forge(ForgeError::Pause { until, why })) => {
                self.untold = true;
                let line = format!("the forge wants to be left alone until {until} ({why})");
                self.warn(BTreeSet::from([line.clone()]));
                CycleStatus {
                    health: Health::Well,
                    line,
                    due_in: Some(self.until(until)),
                }
            }
            Err(error) => {
                let line = chain(&error);
                tracing::error!("The bot told nothing: {line}.");
                CycleStatus {
                    health: Health::Failed,
                    line,
                    due_in: None,
                }
            }
        }
    }

    fn watch_paths(&self) -> Vec<PathBuf> {
        Vec::new()
    }

    fn left_something(&self) -> bool {
        self.untold
    }
}

impl<S, F, B: BotStore> Bot<S, F, B> {
    fn tell(&mut self, turned: &Turned) -> CycleStatus {
        let Turned {
            other,
            open,
            hosts,
            surfaces,
            stale_surfaces,
            sent,
            warnings,
            due,
            unfinished,
            untold,
        } = turned;
        self.untold = *untold;
        self.warn(warnings.iter().cloned().collect());
        self.cut_short = if *unfinished { self.cut_short + 1 } else { 0 };
        self.say_who_leads(other.as_ref().map(|(who, _)| who));
        let line = match other {
            Some((who, until)) => format!("stands by: {who} tells, until {until} at least"),
            None => format!("{open} open pull requests, {hosts} hosts, {sent} changes told"),
        };
        // Where there are none, nobody needs to read of them.
        let line = match (surfaces, stale_surfaces) {
            (0, _) => line,
            (all, 0) => format!("{line}, {all} surfaces of services"),
            (all, stale) => format!("{line}, {all} surfaces of services, {stale} of them stale"),
        };
        if *sent > 0 {
            tracing::info!(sent, "Told on the forge: {line}.");
        }
        let due_in = match due {
            _ if *unfinished => Some(Duration::ZERO),
            due => due.map(|due| self.until(due)),
        };
        CycleStatus {
            health: Health::Well,
            line,
            due_in,
        }
    }

    /// Says that another bot leads, and that it does no longer: each once.
    fn say_who_leads(&mut self, other: Option<&String>) {
        if self.leader.as_ref() == other {
            return;
        }
        match other {
            Some(who) => tracing::info!("This bot stands by: {who} tells the forge."),
            None => tracing::info!("This bot tells the forge from here on."),
        }
        self.leader = other.cloned();
    }

    /// Says what did not work: once, not in every turn, and again when it comes back.
    fn warn(&mut self, warnings: BTreeSet<String>) {
        for warning in warnings.difference(&self.warned) {
            tracing::warn!("{warning}.");
        }
        self.warned = warnings;
    }

    fn until(&self, at: Time) -> Duration {
        let left = at.0 - (self.now)().0;
        // A second more, so that it is over by then.
        Duration::from_secs(u64::try_from(left + 1).unwrap_or(0))
    }
}

impl<S, F, B: BotStore> Drop for Bot<S, F, B> {
    /// Another replica need not wait for the end of the lead.
    fn drop(&mut self) {
        self.outside.store.resign((self.now)());
    }
}

/// The ledgers of this machine alone, or those that hosts pushed.
enum Ledgers {
    Own(OwnFleet),
    Pushed(Box<GitFleet>),
}

impl Ledgers {
    fn maintain(&mut self) {
        match self {
            // It is packed by whoever writes it.
            Self::Own(_) => {}
            Self::Pushed(fleet) => fleet.maintain(),
        }
    }
}

impl Fleet for Ledgers {
    type Error = OutsideError;

    fn look(&mut self) -> Result<BTreeMap<Executor, Result<LedgerHead, String>>, OutsideError> {
        match self {
            Self::Own(fleet) => fleet.look(),
            Self::Pushed(fleet) => fleet.look(),
        }
    }

    fn told(&self, executor: &Executor, ledger: &CommitId) -> Result<Files, String> {
        match self {
            Self::Own(fleet) => fleet.told(executor, ledger),
            Self::Pushed(fleet) => fleet.told(executor, ledger),
        }
    }

    fn past(
        &self,
        executor: &Executor,
        ledger: &CommitId,
        commit: &CommitId,
    ) -> Result<Option<Past>, String> {
        match self {
            Self::Own(fleet) => fleet.past(executor, ledger, commit),
            Self::Pushed(fleet) => fleet.past(executor, ledger, commit),
        }
    }
}

/// A reader that keeps over a restart what the forge answered, so that asking again costs nothing of what it grants.
struct Remembering {
    reader: Reader,
    path: PathBuf,
}

impl Remembering {
    fn new(mut reader: Reader, path: PathBuf) -> Self {
        if let Ok(kept) = fs::read(&path) {
            reader.recall_answers(&kept);
        }
        Self { reader, path }
    }
}

impl Drop for Remembering {
    /// What cannot be kept is asked for again.
    fn drop(&mut self) {
        let Some(dir) = self.path.parent() else {
            return;
        };
        // For its owner alone: it holds what people wrote.
        if let Ok(mut file) = tempfile::NamedTempFile::new_in(dir)
            && file.write_all(&self.reader.keep_answers()).is_ok()
        {
            let _ = file.persist(&self.path);
        }
    }
}

impl ForgeReader for Remembering {
    fn proposals(&mut self, which: Which<'_>) -> Result<Listing, ForgeError> {
        self.reader.proposals(which)
    }

    fn proposal(&mut self, number: u64) -> Result<Proposal, ForgeError> {
        self.reader.proposal(number)
    }

    fn proposal_merged_as(&mut self, commit: &CommitId) -> Result<Option<Proposal>, ForgeError> {
        self.reader.proposal_merged_as(commit)
    }

    fn changed_paths(&mut self, number: u64) -> Result<Vec<String>, ForgeError> {
        self.reader.changed_paths(number)
    }

    fn approvals(&mut self, number: u64) -> Result<Vec<Approval>, ForgeError> {
        self.reader.approvals(number)
    }

    fn visibility(&mut self) -> Result<Visibility, ForgeError> {
        self.reader.visibility()
    }
}
