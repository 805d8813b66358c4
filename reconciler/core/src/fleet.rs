//! What is known of executors that cannot be reached: what each of them last told in its ledger.
//!
//! A bot plans from it, and records out of it what became of a merge. It reads ledgers and never writes one of an executor's.

pub mod alive;
pub mod hosts;
pub mod versions;

use std::collections::{BTreeMap, BTreeSet};

use crate::commit::CommitId;
use crate::diagnostic::visible;
use crate::executor::Executor;
use crate::facts::Facts;
use crate::id::StepId;
use crate::ledger::held::{self, HeldSteps};
use crate::ledger::inventory::{self, Inventory};
use crate::ledger::{self, policy};
use crate::rooms::{Observed, Policy};
use crate::time::Time;
use crate::world::Files;
use versions::Version;

/// Where one executor's ledger stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LedgerHead {
    /// Its newest commit.
    pub ledger: CommitId,
    /// When what it holds was last seen to be so: with the commit, or with a later sign of life.
    pub read: Time,
    /// Which version of muster it runs, as its last sign of life says.
    pub version: Option<Version>,
}

/// What one executor last told, in full.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ExecutorReport {
    /// Whose it is.
    pub executor: Executor,
    /// What it knows of its own doing.
    pub facts: Facts,
    /// What its administrator decided.
    pub policy: Policy,
    /// What it read on its host.
    pub observed: Observed,
    /// What waits there; `None` until a cycle has said so.
    pub held: Option<HeldSteps>,
}

impl ExecutorReport {
    /// Whether a file of a ledger takes part in what is told.
    pub fn is_told_by(path: &str) -> bool {
        ledger::is_of_facts(path) || [held::FILE, inventory::FILE, policy::FILE].contains(&path)
    }

    /// Reads it out of the files of `executor`'s ledger.
    ///
    /// # Errors
    /// What is missing, of a newer format, not what was written, or another executor's.
    pub fn read(executor: &Executor, files: &Files) -> Result<Self, String> {
        let facts = facts_of(executor, files)?;
        let policy = match files.get(policy::FILE) {
            None => {
                return Err(format!(
                    "it has no {}; update muster on that host",
                    policy::FILE
                ));
            }
            Some(bytes) => policy::read(bytes).map_err(chain)?,
        };
        let inventory = match files.get(inventory::FILE) {
            None => {
                return Err(format!(
                    "it has no {}: no cycle has run there yet",
                    inventory::FILE
                ));
            }
            Some(bytes) => Inventory::read(bytes).map_err(chain)?,
        };
        is_its_own(policy::FILE, policy.executor(), executor)?;
        is_its_own(inventory::FILE, &inventory.executor, executor)?;
        Ok(Self {
            executor: executor.clone(),
            facts,
            policy,
            observed: inventory.observed,
            held: held_of(executor, files)?,
        })
    }
}

fn facts_of(executor: &Executor, files: &Files) -> Result<Facts, String> {
    let (facts, _) = ledger::facts(files).map_err(chain)?;
    if facts.executor != *executor {
        return Err(format!(
            "it calls itself the ledger of {}",
            visible(&facts.executor.to_string())
        ));
    }
    Ok(facts)
}

fn held_of(executor: &Executor, files: &Files) -> Result<Option<HeldSteps>, String> {
    let Some(bytes) = files.get(held::FILE) else {
        return Ok(None);
    };
    let held = HeldSteps::read(bytes).map_err(chain)?;
    if held.executor != executor.to_string() {
        return Err(format!(
            "{} calls itself that of {}",
            held::FILE,
            visible(&held.executor)
        ));
    }
    Ok(Some(held))
}

fn is_its_own(file: &str, found: &Executor, executor: &Executor) -> Result<(), String> {
    if found == executor {
        Ok(())
    } else {
        Err(format!("{file} calls itself that of {found}"))
    }
}

fn chain(error: ledger::LedgerError) -> String {
    use std::error::Error as _;
    match error.source() {
        Some(source) => format!("{error}: {source}"),
        None => error.to_string(),
    }
}

/// How things stood when an executor last told of one commit of the protected branch.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Past {
    /// What it knew of its own doing.
    pub facts: Facts,
    /// What waited.
    pub held: Option<HeldSteps>,
}

impl Past {
    /// The steps that waited.
    pub fn waiting(&self) -> BTreeSet<StepId> {
        let held = self.held.iter().flat_map(|it| &it.held);
        held.map(|it| it.step.id).collect()
    }

    /// Whether a file of a ledger takes part in it.
    pub fn is_told_by(path: &str) -> bool {
        ledger::is_of_facts(path) || path == held::FILE
    }

    /// Reads it out of the files of `executor`'s ledger, as they stood then.
    ///
    /// # Errors
    /// As for [`ExecutorReport::read`].
    pub fn read(executor: &Executor, files: &Files) -> Result<Self, String> {
        Ok(Self {
            facts: facts_of(executor, files)?,
            held: held_of(executor, files)?,
        })
    }
}

/// The ledgers of every executor that there is. Read only.
pub trait Fleet: Send {
    /// Why the ledgers could not be read.
    type Error: std::error::Error + Send + 'static;

    /// Looks at every ledger, and brings here what is new. An executor whose ledger cannot be taken at its word (it is not
    /// signed with that host's key, or does not go on from what was seen before) stands there with the reason, and stops nobody.
    ///
    /// # Errors
    /// When the ledger repository did not answer.
    fn look(&mut self) -> Result<BTreeMap<Executor, Result<LedgerHead, String>>, Self::Error>;

    /// What an executor told with a commit of its ledger: the files that [`ExecutorReport::read`] reads.
    ///
    /// # Errors
    /// What makes it unusable, in words that follow "cannot be read:".
    fn told(&self, executor: &Executor, ledger: &CommitId) -> Result<Files, String>;

    /// The last that an executor told while it enforced `commit`, looking back from `ledger`; `None` when it never did, or so
    /// long ago that it is not looked for.
    ///
    /// # Errors
    /// What makes it unusable.
    fn past(
        &self,
        executor: &Executor,
        ledger: &CommitId,
        commit: &CommitId,
    ) -> Result<Option<Past>, String>;
}

/// Whether this bot is the one that acts.
#[derive(Clone, Debug, PartialEq, Eq)]
#[must_use = "who does not lead must not act"]
pub enum Lead {
    /// It is, until then; nobody else believes so before.
    Ours {
        /// Counts up with each change of leader; what an earlier leader writes is refused.
        term: u64,
        /// Until when, by this machine's clock.
        until: Time,
    },
    /// Another one is.
    Others {
        /// Who, as it calls itself.
        who: String,
        /// Until when it said so.
        until: Time,
    },
}

/// What a bot remembers of what it told: in the ledger repository where there is one, so that replicas share it.
pub trait BotStore: Send {
    /// Why it could not be read or written.
    type Error: std::error::Error + Send + 'static;

    /// Takes the lead, or keeps it, where nobody else has it.
    ///
    /// # Errors
    /// When the store did not answer: then nobody may act.
    fn lead(&mut self, now: Time) -> Result<Lead, Self::Error>;

    /// Gives the lead back, so that another replica need not wait. Best effort.
    fn resign(&mut self, now: Time);

    /// Those files whose path is `wanted`, as the last leader left them.
    ///
    /// # Errors
    /// When there is something that cannot be read: corrupt is not absent.
    fn read(&mut self, wanted: &dyn Fn(&str) -> bool) -> Result<Files, Self::Error>;

    /// Changes files: durable, and visible to the next leader, when this returns. Refused when another one has taken the lead.
    ///
    /// # Errors
    /// When nothing was written.
    fn write(
        &mut self,
        changes: &BTreeMap<String, Option<Vec<u8>>>,
        message: &str,
        now: Time,
    ) -> Result<(), Self::Error>;
}
