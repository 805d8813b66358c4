//! One turn of the bot: look at forge, state repository and ledgers, and tell what is new. It takes no hint about what changed but
//! the order of its work; a second turn tells nothing.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use muster_core::commit::CommitId;
use muster_core::executor::Executor;
use muster_core::fleet::{BotStore, Fleet, Lead, LedgerHead};
use muster_core::forge::{
    Cursor, ForgeError, ForgeReader, ForgeWriter, Listing, Proposal, ProposalState, Visibility,
    Which, queued_for,
};
use muster_core::ledger::told::{Stage, Told, ToldProposal};
use muster_core::release::{RepoId, TagHorizon};
use muster_core::report::{Audience, Comment, FullReport, Operator};
use muster_core::time::Time;
use muster_core::world::{Files, Pulls};

use super::answers::{Answers, Behind};
use super::proposals::Shown;
use super::queue::Queued;
use super::record::Pasts;
use super::survey::{Moment, Survey};
use super::vouching::Vouching;
use crate::cycle::chain;

/// Where reports stand in full.
pub(super) const REPORTS: &str = "refs/muster/bot/state";

/// How long who can read the repository is taken to be so, in seconds.
const VISIBILITY_HOLDS: i64 = 3_600;

/// How long what was told of a proposal is remembered once nothing more is to come, in seconds; and how long a record waits for
/// hosts that do not come.
pub(super) const REMEMBERED: i64 = 30 * 86_400;

/// So many changes are sent before what was told is written down.
pub(super) const SAVE_EVERY: usize = 20;

/// Everything outside.
pub struct Outside<S, F, B> {
    /// The state repository.
    pub source: S,
    /// What hosts told.
    pub fleet: F,
    /// What was told.
    pub store: B,
    /// The forge, to be read.
    pub reader: Box<dyn ForgeReader>,
    /// The forge, to be told.
    pub writer: Box<dyn ForgeWriter>,
}

/// How a turn is run.
pub struct Run<'a> {
    /// The protected branch, without `refs/heads/`.
    pub protected: &'a str,
    /// The name of status and check run.
    pub context: &'a str,
    /// Where operators read the ledgers, if hosts push them: as git takes it.
    pub ledger: Option<&'a str>,
    /// How old what a host told may be, in seconds.
    pub stale: u32,
    /// Whether drift is told in an issue.
    pub drift: bool,
    /// By what comments are marked, where nothing was told yet.
    pub mark: RepoId,
    /// How owner responses are judged.
    pub vouching: &'a Vouching,
    /// This machine's clock.
    pub clock: &'a dyn Fn() -> Time,
    /// Proposals to look at first, which something happened to.
    pub first: &'a BTreeSet<u64>,
    /// Asked between proposals: whether to leave the rest to the next turn, as something new came or it is time to stop.
    pub stop: &'a dyn Fn() -> bool,
}

impl Run<'_> {
    /// How an operator releases what waits from a machine of their own.
    pub(super) fn operator<'r>(&'r self, reason: &'r str) -> Option<Operator<'r>> {
        let ledger = self.ledger?;
        Some(Operator { ledger, reason })
    }
}

/// What this process remembers. Another one does without.
#[derive(Default)]
pub struct Memory {
    /// What was told, and the files it was read from or written to; of the term in which this bot leads.
    pub(super) told: Option<(u64, Told, Files)>,
    pub(super) cursor: Option<Cursor>,
    /// Proposals that are open.
    pub(super) open: BTreeMap<u64, Proposal>,
    /// Proposals whose comment is to be looked at again, as something happened to them.
    pub(super) again: BTreeSet<u64>,
    /// From what each proposal's comment was made.
    pub(super) premises: BTreeMap<u64, Premises>,
    /// What is shown of each, word for word.
    pub(super) texts: BTreeMap<u64, Shown>,
    pub(super) survey: Survey,
    pub(super) pasts: Pasts,
    /// Whom each merge was about, of those whose record is still made.
    pub(super) abouts: BTreeMap<CommitId, BTreeSet<String>>,
    /// When it was last looked whether what was told of a proposal is still what is shown.
    pub(super) verified: BTreeMap<u64, Time>,
    pub(super) visibility: Option<(Visibility, Time)>,
    pub(super) planning_took: Duration,
    /// The head of the protected branch that was asked about: whether it is the merge of a proposal.
    pub(super) asked_about: Option<CommitId>,
    /// From what records and drift were last made.
    pub(super) recorded: Option<u64>,
    /// Where the surfaces of host services stand.
    pub(super) answers: Answers,
    /// What was told on the commits of a merge queue.
    pub(super) queue: BTreeMap<CommitId, Queued>,
}

/// What a comment is made from: as long as it stays, so does the comment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Premises {
    pub(super) head: CommitId,
    pub(super) label: String,
    pub(super) base: String,
    pub(super) protected: CommitId,
    pub(super) hosts: u64,
    pub(super) audience: Audience,
    /// Who stands behind the answers that it brings.
    pub(super) behind: Behind,
}

/// What a turn came to.
#[derive(Debug, Default)]
#[must_use = "a turn that nobody hears of cannot be acted on"]
pub struct TurnSummary {
    /// Who leads, where it is another one, and until when.
    pub other: Option<(String, Time)>,
    /// Proposals that are open.
    pub open: usize,
    /// Hosts whose ledgers are there.
    pub hosts: usize,
    /// Surfaces of host services that the protected branch asks about, and those whose answer is stale.
    pub surfaces: usize,
    /// The second of them.
    pub stale_surfaces: usize,
    /// Changes that were sent to the forge.
    pub sent: usize,
    /// What did not work and is tried again.
    pub warnings: Vec<String>,
    /// When something is due although nothing moves.
    pub due: Option<Time>,
    /// Whether there is more to do at once.
    pub unfinished: bool,
    /// Whether something was to be told and could not be.
    pub untold: bool,
}

/// Why a turn ended before its time.
#[derive(Debug, thiserror::Error)]
pub enum TurnError {
    /// The next turn may fare better.
    #[error("{what}")]
    Outside {
        /// What did not work.
        what: &'static str,
        /// Why.
        source: Box<dyn std::error::Error + Send>,
    },
    /// The forge was not read.
    #[error("the forge could not be read")]
    Forge(#[source] ForgeError),
    /// What was told before cannot be read: telling again might tell twice.
    #[error(
        "what this bot told before cannot be read; look at it, or put back an older commit of it"
    )]
    Told(#[source] muster_core::ledger::LedgerError),
}

pub(super) fn outside<E: std::error::Error + Send + 'static>(
    what: &'static str,
) -> impl FnOnce(E) -> TurnError {
    move |error| TurnError::Outside {
        what,
        source: Box::new(error),
    }
}

/// The state of one turn.
pub(super) struct Turn<'t, S, F, B> {
    pub(super) memory: &'t mut Memory,
    pub(super) outside: &'t mut Outside<S, F, B>,
    pub(super) run: &'t Run<'t>,
    pub(super) at: Moment,
    pub(super) audience: Audience,
    pub(super) protected: CommitId,
    pub(super) summary: TurnSummary,
    /// Reports to be written down in full.
    pub(super) reports: BTreeMap<String, Option<Vec<u8>>>,
    /// Heads that could not be brought here, and why.
    pub(super) missing: BTreeMap<u64, String>,
    /// Branches of a merge queue, and the proposal that each was made for.
    pub(super) queued: BTreeMap<String, (u64, CommitId)>,
    /// When the lead ends.
    pub(super) until: Time,
    pub(super) saved_at: usize,
}

/// Runs one turn.
///
/// # Errors
/// [`TurnError`] says who has to act. What was told is told; the next turn goes on from there.
pub fn turn<S: Pulls + Send, F: Fleet, B: BotStore>(
    memory: &mut Memory,
    outside_: &mut Outside<S, F, B>,
    run: &Run<'_>,
) -> Result<TurnSummary, TurnError>
where
    S::Error: Send,
{
    let now = (run.clock)();
    let lead = outside_
        .store
        .lead(now)
        .map_err(outside("nobody can tell who leads"))?;
    let (term, until) = match lead {
        Lead::Ours { term, until } => (term, until),
        Lead::Others { who, until } => {
            // Whoever leads next begins with what the last one left.
            *memory = Memory::default();
            return Ok(TurnSummary {
                other: Some((who, until)),
                due: Some(until),
                ..TurnSummary::default()
            });
        }
    };
    if memory.told.as_ref().map(|it| it.0) != Some(term) {
        *memory = Memory::default();
        let files = outside_
            .store
            .read(&Told::wants)
            .map_err(outside("what was told could not be read"))?;
        let told = Told::read(&files).map_err(TurnError::Told)?;
        let told = told.unwrap_or_else(|| Told::nothing(run.mark));
        memory.told = Some((term, told, files));
    }

    // Read.
    let mut summary = TurnSummary::default();
    let Some((seen, ledgers)) = look(memory, outside_, run, now, &mut summary)? else {
        return Ok(TurnSummary {
            warnings: vec![format!(
                "the state repository has no branch {} yet",
                run.protected
            )],
            ..TurnSummary::default()
        });
    };
    let ForgeState {
        protected,
        audience,
        missing,
        queued,
    } = seen;
    summary.hosts = ledgers.len();
    memory.survey.renew(ledgers);

    let mut turn = Turn {
        memory,
        outside: outside_,
        run,
        at: Moment {
            now,
            stale: run.stale,
        },
        audience,
        protected,
        summary,
        reports: BTreeMap::new(),
        missing,
        queued,
        until,
        saved_at: 0,
    };
    // Tell.
    let told = turn.tell_all();
    let saved = turn.save();
    let mut summary = turn.summary;
    match told {
        Ok(()) => {}
        Err(ForgeError::Pause { until, why }) => {
            summary.untold = true;
            summary.warnings.push(format!(
                "the forge wants to be left alone until {until} ({why}); the rest is told then"
            ));
            summary.due = Some(summary.due.map_or(until, |due| due.min(until)));
        }
        Err(error) => {
            summary.untold = true;
            summary.warnings.push(format!(
                "not all could be told ({}); the rest is told in the next turn",
                chain(&error)
            ));
        }
    }
    saved?;
    Ok(summary)
}

/// What was read of forge and state repository.
struct ForgeState {
    protected: CommitId,
    audience: Audience,
    /// Heads that could not be brought here, and why.
    missing: BTreeMap<u64, String>,
    queued: BTreeMap<String, (u64, CommitId)>,
}

/// Where each ledger stands, or why that does not count.
type Ledgers = BTreeMap<Executor, Result<LedgerHead, String>>;

/// Looks at forge, state repository and ledgers. Each is a conversation with somebody else, and none waits for another but the
/// heads of proposals for those who name them. `None` where there is no protected branch.
fn look<S: Pulls + Send, F: Fleet, B>(
    memory: &mut Memory,
    outside_: &mut Outside<S, F, B>,
    run: &Run<'_>,
    now: Time,
    summary: &mut TurnSummary,
) -> Result<Option<(ForgeState, Ledgers)>, TurnError>
where
    S::Error: Send,
{
    let Outside {
        source,
        fleet,
        store: _,
        reader,
        writer: _,
    } = outside_;
    std::thread::scope(|scope| {
        let ledgers = scope.spawn(|| fleet.look());
        let heads = scope.spawn(|| {
            let heads = source.heads(&TagHorizon::NONE);
            (source, heads)
        });
        let listed = list(memory, reader.as_mut(), run, summary);
        let audience = audience(memory, reader.as_mut(), now);
        let (source, heads) = joined(heads);
        let heads = heads.map_err(outside("the state repository did not answer"))?;
        let Some(protected) = heads.protected else {
            return Ok(None);
        };
        listed?;
        let missing = bring(memory, source, run, summary);
        let ledgers = joined(ledgers).map_err(outside("the ledgers could not be looked at"))?;
        let queued = heads.proposals.into_iter().filter_map(|(branch, head)| {
            let number = queued_for(&branch, run.protected)?;
            Some((branch, (number, head)))
        });
        let seen = ForgeState {
            protected,
            audience,
            missing,
            queued: queued.collect(),
        };
        Ok(Some((seen, ledgers)))
    })
}

fn joined<T>(thread: std::thread::ScopedJoinHandle<'_, T>) -> T {
    thread
        .join()
        .unwrap_or_else(|panic| std::panic::resume_unwind(panic))
}

/// Brings the heads of all proposals here, and gives the reason for each that did not come.
fn bring<S: Pulls>(
    memory: &Memory,
    source: &mut S,
    run: &Run<'_>,
    summary: &mut TurnSummary,
) -> BTreeMap<u64, String> {
    let heads: BTreeMap<u64, CommitId> = memory
        .open
        .values()
        .filter(|it| it.base == run.protected && it.state == ProposalState::Open)
        .map(|it| (it.number, it.head.clone()))
        .collect();
    let missing = match source.bring(&heads) {
        Ok(missing) => missing,
        Err(error) => {
            let why = chain(&error);
            heads.into_keys().map(|it| (it, why.clone())).collect()
        }
    };
    for (number, why) in &missing {
        summary
            .warnings
            .push(format!("#{number} could not be fetched: {why}"));
    }
    missing
}

/// Takes in what changed on the forge.
fn list(
    memory: &mut Memory,
    reader: &mut dyn ForgeReader,
    run: &Run<'_>,
    summary: &mut TurnSummary,
) -> Result<(), TurnError> {
    let Some((_, told, _)) = &memory.told else {
        return Ok(());
    };
    let since = told.all.listed;
    let mut changed = Vec::new();
    let mut take = |listing: Listing, summary: &mut TurnSummary| {
        let Listing {
            proposals,
            unread,
            cursor,
        } = listing;
        changed.extend(proposals);
        let unread = unread.into_iter();
        summary
            .warnings
            .extend(unread.map(|why| format!("a pull request could not be read: {why}")));
        cursor
    };
    let cursor = match &memory.cursor {
        Some(cursor) => {
            let listing = reader
                .proposals(Which::ChangedSince(cursor))
                .map_err(TurnError::Forge)?;
            take(listing, summary)
        }
        None => {
            let listing = reader.proposals(Which::Open).map_err(TurnError::Forge)?;
            let cursor = take(listing, summary);
            // What was closed or merged while nobody looked.
            if let Some(since) = since {
                let listing = reader
                    .proposals(Which::ChangedSince(&Cursor::at(since)))
                    .map_err(TurnError::Forge)?;
                let _ = take(listing, summary);
            }
            cursor
        }
    };
    let first = memory.cursor.is_none();
    memory.cursor = Some(cursor);
    for proposal in changed {
        let number = proposal.number;
        // After a restart, what did not change since is as it was left. Forges tell seconds, and much happens in one.
        if !first || since.is_some_and(|since| proposal.updated >= since) {
            memory.again.insert(number);
        }
        take_in(memory, proposal, run);
    }
    memory.again.extend(run.first);
    summary.open = memory.open.len();
    Ok(())
}

/// Sorts a proposal by what it has come to.
pub(super) fn take_in(memory: &mut Memory, proposal: Proposal, run: &Run<'_>) {
    let number = proposal.number;
    let now = (run.clock)();
    match &proposal.state {
        ProposalState::Open => {
            if let Some((_, told, _)) = &mut memory.told
                && let Some(told) = told.proposals.get_mut(&number)
                && told.stage == Stage::Closed
            {
                told.stage = Stage::Open;
            }
            memory.open.insert(number, proposal);
        }
        ProposalState::Closed => {
            memory.open.remove(&number);
            memory.premises.remove(&number);
            // Told below, where there is a comment of ours.
            if let Some((_, told, _)) = &mut memory.told
                && let Some(told) = told.proposals.get_mut(&number)
                && told.stage == Stage::Open
            {
                memory.open.insert(number, proposal);
            }
        }
        ProposalState::Merged { commit } => {
            memory.open.remove(&number);
            memory.premises.remove(&number);
            let Some((_, told, _)) = &mut memory.told else {
                return;
            };
            if proposal.base != run.protected {
                return;
            }
            let known = told
                .proposals
                .entry(number)
                .or_insert_with(|| ToldProposal::nothing(&proposal.head, &proposal.head, now));
            if !matches!(known.stage, Stage::Merged { .. })
                && let Some(commit) = commit
            {
                known.stage = Stage::Merged {
                    commit: commit.clone(),
                    held: BTreeSet::new(),
                    settled: false,
                };
                known.at = now;
                memory.recorded = None;
            }
        }
    }
}

/// Who can read what is told.
fn audience(memory: &mut Memory, reader: &mut dyn ForgeReader, now: Time) -> Audience {
    let known = memory
        .visibility
        .filter(|(_, at)| at.plus(VISIBILITY_HOLDS) > now);
    let visibility = known.map(|(it, _)| it).or_else(|| {
        let asked = reader.visibility().ok()?;
        memory.visibility = Some((asked, now));
        Some(asked)
    });
    match visibility {
        Some(Visibility::Private) => Audience::Team,
        // Not to know is no reason to tell.
        Some(Visibility::Public) | None => Audience::Public,
    }
}

/// A comment that holds everything, or one that points to the report that does, and that report by its path.
pub(super) fn whole_or_with_report(
    audience: Audience,
    room: usize,
    path: &str,
    render: impl Fn(Audience, Option<FullReport<'_>>, usize) -> Comment,
) -> (Comment, BTreeMap<String, Option<Vec<u8>>>) {
    let whole = render(Audience::Team, None, usize::MAX);
    let fits = whole.pages.iter().map(String::len).sum::<usize>() <= room;
    if fits && audience == Audience::Team {
        return (whole, BTreeMap::new());
    }
    let full = FullReport {
        reference: REPORTS,
        path,
    };
    let text = whole.pages.concat().into_bytes();
    (
        render(audience, Some(full), room),
        BTreeMap::from([(path.to_owned(), Some(text))]),
    )
}
