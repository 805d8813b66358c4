//! What an executor keeps between runs: `/var/lib/muster`, root's alone.
//!
//! ```text
//! executor.toml   who this is: a random id and the pinned name; written last by `muster init`
//! host.key        signs the ledger's commits; root's alone
//! lock            held by the one process that may change anything; says which one that is
//! journal/        the write-ahead log
//! ledger.git      the ledger, for this host to keep
//! state.git       a copy of the state repository; can be made again at any time
//! pushed.json     how far the ledger has arrived in the ledger repository, where there is one
//! saved/          what a cut set aside
//! clock.json      what is known of this machine's clock; can be lost
//! last-cycle.json how the last cycle went, where no journal and no ledger say it
//! trouble.json    why the daemon cannot keep this executor at all, while it keeps others
//! requests/       what people at the console ask of a daemon at work; empty but for a moment
//! archives/       archives of homes, unless the settings keep them elsewhere
//! ```
//!
//! Beside it, in `/var/lib/muster-mark`, lies what an older copy of it is known by, the mark.

mod error;
mod identity;
mod lock;
pub(crate) mod mark;

use std::fs::{self, DirBuilder, File};
use std::io::{self, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, MetadataExt as _};
use std::path::{Path, PathBuf};

use muster_core::commit::CommitId;
use muster_core::executor::{Executor, ExecutorKind};
use muster_core::facts::{Facts, Frozen};
use muster_core::journal::{Entry, Replayed};
use muster_core::ledger::Through;
use muster_core::time::Time;
use muster_core::world::Journal as _;
use nix::fcntl::{AT_FDCWD, RenameFlags, renameat2};
use serde::Deserialize;

pub use error::StateError;
pub use identity::Identity;
pub use lock::{Holder, Lock, Purpose, poke};
use mark::{Mark, Marked};

use crate::journal::{self, Journal, JournalError, Opened};

/// The format of `executor.toml` that this version writes.
const FORMAT: u32 = 1;

/// The paths of one state directory.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StateDir {
    dir: PathBuf,
}

/// What the ledger of this executor holds, and how far into the journal it reaches.
pub type LedgerFacts = (Facts, Through);

impl StateDir {
    /// The state directory at `dir`; nothing is looked at.
    pub fn at(dir: &Path) -> Self {
        Self {
            dir: dir.to_owned(),
        }
    }

    /// The directory itself.
    pub fn path(&self) -> &Path {
        &self.dir
    }

    /// The write-ahead log.
    pub fn journal(&self) -> PathBuf {
        self.dir.join("journal")
    }

    /// The ledger's repository.
    pub fn ledger(&self) -> PathBuf {
        self.dir.join("ledger.git")
    }

    /// What the bot keeps: copies of repositories, what it told, what the forge answered.
    pub fn bot(&self) -> PathBuf {
        self.dir.join("bot")
    }

    /// The copy of the state repository.
    pub fn mirror(&self) -> PathBuf {
        self.dir.join("state.git")
    }

    /// What people at the console ask of a daemon at work.
    pub fn requests(&self) -> PathBuf {
        self.dir.join("requests")
    }

    /// Which tags were refused before their signature was good.
    pub fn refused_tags(&self) -> PathBuf {
        self.dir.join("refused.json")
    }

    /// How the last cycle went.
    pub fn last_cycle(&self) -> PathBuf {
        self.dir.join("last-cycle.json")
    }

    /// Why the daemon cannot keep this executor, while it cannot.
    pub fn trouble(&self) -> PathBuf {
        self.dir.join("trouble.json")
    }

    /// What is known of this machine's clock.
    pub fn clock(&self) -> PathBuf {
        self.dir.join("clock.json")
    }

    /// What signs the ledger's commits.
    pub fn host_key(&self) -> PathBuf {
        self.dir.join("host.key")
    }

    /// How far the ledger has arrived in the ledger repository.
    pub fn pushed(&self) -> PathBuf {
        self.dir.join("pushed.json")
    }

    /// What cuts set aside.
    pub fn saved(&self) -> PathBuf {
        self.dir.join("saved")
    }

    /// Who this is.
    pub fn identity_file(&self) -> PathBuf {
        self.dir.join("executor.toml")
    }

    /// The lock.
    pub fn lock_file(&self) -> PathBuf {
        self.dir.join("lock")
    }

    /// Reads who this is; `None` before `muster init`.
    ///
    /// # Errors
    /// When the file is there and cannot be read or understood.
    pub fn identity(&self) -> Result<Option<Identity>, StateError> {
        #[derive(Deserialize)]
        struct Format {
            format: u32,
        }
        let path = self.identity_file();
        let text = match fs::read_to_string(&path) {
            Ok(text) => text,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(StateError::io("read", &path)(error)),
        };
        let malformed = |error: toml::de::Error| StateError::Identity {
            path: path.clone(),
            what: error.message().to_owned(),
        };
        let Format { format } = toml::from_str(&text).map_err(malformed)?;
        if format > FORMAT {
            return Err(StateError::Newer {
                path,
                found: format,
            });
        }
        let identity: Identity = toml::from_str(&text).map_err(malformed)?;
        let is_id = identity.id.len() == 32
            && identity
                .id
                .bytes()
                .all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'));
        if !is_id {
            return Err(StateError::Identity {
                path,
                what: "`id` is not 32 hex digits".into(),
            });
        }
        if Executor::of_pinned(&identity.name).is_none() {
            return Err(StateError::Identity {
                path,
                what: "`name` is the name of no executor that this version knows".into(),
            });
        }
        Ok(Some(identity))
    }

    /// Reads the ledger of this executor; `None` before its first commit.
    ///
    /// # Errors
    /// When there is one and it cannot be read or understood: corrupt is not absent.
    pub fn read_ledger(&self) -> Result<Option<LedgerFacts>, StateError> {
        let Some(identity) = self.identity()? else {
            return Ok(None);
        };
        let ledger = match muster_git::Ledger::open(&self.ledger(), &identity.ledger_ref()) {
            Ok(ledger) => ledger,
            Err(muster_git::LedgerError::Absent(_)) => return Ok(None),
            Err(error) => return Err(StateError::Ledger(error)),
        };
        let wanted = muster_core::ledger::is_of_facts;
        let Some(held) = ledger.load_where(wanted).map_err(StateError::Ledger)? else {
            return Ok(None);
        };
        let (mut facts, through) =
            muster_core::ledger::facts(&held.files).map_err(StateError::LedgerFacts)?;
        recall_locked(&mut facts, &ledger).map_err(StateError::Ledger)?;
        Ok(Some((facts, through)))
    }

    /// Makes the directory, for root alone, where it is missing.
    ///
    /// # Errors
    /// When it cannot be made, or somebody else could write it.
    pub fn make(&self) -> Result<(), StateError> {
        DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(&self.dir)
            .map_err(StateError::io("create", &self.dir))?;
        let meta = fs::symlink_metadata(&self.dir).map_err(StateError::io("look at", &self.dir))?;
        let exposed = |what: String| {
            Err(StateError::Exposed {
                path: self.dir.clone(),
                what,
            })
        };
        let us = nix::unistd::geteuid().as_raw();
        if !meta.is_dir() {
            return exposed("is no directory".into());
        }
        if meta.uid() != us {
            return exposed(format!("belongs to uid {}, not to uid {us}", meta.uid()));
        }
        if meta.mode() & 0o077 != 0 {
            return exposed(format!(
                "is open to others (mode {:04o})",
                meta.mode() & 0o7777
            ));
        }
        Ok(())
    }

    /// Writes a new executor: genesis record first, `executor.toml` last, so that a crash in between is begun anew.
    ///
    /// # Errors
    /// [`StateError::Exists`] when there is one; otherwise when something could not be written.
    pub fn create(
        &self,
        _lock: &Lock,
        identity: &Identity,
        adopt: &CommitId,
        at: Time,
    ) -> Result<(), StateError> {
        if let Some(Identity { name, .. }) = self.identity()? {
            return Err(StateError::Exists {
                dir: self.dir.clone(),
                name,
            });
        }
        self.clear_unfinished()?;
        let path = self.journal();
        make_private(&path)?;
        let genesis = Entry::Genesis {
            at,
            executor_id: identity.id.clone(),
            name: identity.name.clone(),
            adopt: adopt.clone(),
        };
        Journal::create(&path, &Through::default(), &genesis).map_err(StateError::Journal)?;
        // Whoever begins anew on this machine takes up no release that ran here before.
        let path = mark::path_of(&self.dir, identity);
        let found = mark::read(&path).unwrap_or_default();
        let mut mark = Mark::open(path, identity, found)?;
        mark.write(&Through::default())
            .map_err(StateError::io("write", mark.path()))?;
        self.write_identity(identity)
    }

    fn write_identity(&self, identity: &Identity) -> Result<(), StateError> {
        let path = self.identity_file();
        write_whole(&self.dir, &path, identity.text().as_bytes())
            .map_err(StateError::io("write", &path))
    }

    /// An `init` that was cut short left a journal of one genesis record, or less. More is a history, and stays.
    fn clear_unfinished(&self) -> Result<(), StateError> {
        let path = self.journal();
        if !journal::has_no_history(&path).map_err(StateError::Journal)? {
            return Err(StateError::Orphaned(self.dir.clone()));
        }
        match fs::remove_dir_all(&path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                Err(StateError::io("remove", &path)(error))
            }
            _ => Ok(()),
        }
    }

    /// Opens what there is, for the process that holds the lock. `executor` is the one in the settings.
    ///
    /// # Errors
    /// [`StateError`]; nothing was changed then.
    pub fn open(
        &self,
        _lock: &Lock,
        executor: &Executor,
        mut ledger: Option<LedgerFacts>,
        at: Time,
    ) -> Result<Opened, StateError> {
        let identity = self.identity_of(executor)?;
        let marked = self.marked(&identity)?;
        self.same_executor(&identity, "ledger", ledger.as_ref().map(|(facts, _)| facts))?;
        let path = self.journal();
        let mut opened = if journal::exists(&path).map_err(StateError::Journal)? {
            match (Journal::open_taking(&path, &mut ledger), ledger) {
                (Ok(opened), _) => opened,
                (Err(error), Some(ledger)) => match self.misfit(&error)? {
                    Some(misfit) => self.begin_beside(&misfit, ledger, at)?,
                    None => return Err(StateError::Journal(error)),
                },
                (Err(error), None) => return Err(StateError::Journal(error)),
            }
        } else {
            let ledger = ledger.ok_or_else(|| StateError::Lost {
                id: identity.id.clone(),
            })?;
            self.begin_after_loss(ledger, at)?
        };
        self.same_executor(&identity, "journal", Some(&opened.replayed.facts))?;
        self.go_on_from(marked, &identity, &mut opened, at)?;
        pin_name(&mut opened.replayed.facts, &executor.pinned());
        Ok(opened)
    }

    /// What is known now, for those who only look: no lock, no change.
    ///
    /// A daemon at work commits to the ledger and drops the journal's segments that it then contains. Whoever read the
    /// ledger before and the journal after would find something missing between the two, so they read both again.
    ///
    /// # Errors
    /// [`StateError`].
    pub fn look_now(&self, executor: &Executor) -> Result<Replayed, StateError> {
        let mut ledger = self.read_ledger()?;
        loop {
            let through = ledger.as_ref().map(|(_, through)| through.clone());
            let looked = self.look(executor, ledger);
            if matches!(&looked, Ok(it) if it.facts.frozen.is_none()) {
                return looked;
            }
            ledger = self.read_ledger()?;
            if ledger.as_ref().map(|(_, through)| through) == through.as_ref() {
                return looked;
            }
        }
    }

    /// What is known according to `ledger`, as it was read, and the journal.
    ///
    /// # Errors
    /// [`StateError`].
    pub fn look(
        &self,
        executor: &Executor,
        mut ledger: Option<LedgerFacts>,
    ) -> Result<Replayed, StateError> {
        let identity = self.identity_of(executor)?;
        // Before the journal: a daemon at work goes on with that first.
        let marked = self.marked(&identity)?;
        self.same_executor(&identity, "ledger", ledger.as_ref().map(|(facts, _)| facts))?;
        let path = self.journal();
        let (mut replayed, reached) = if journal::exists(&path).map_err(StateError::Journal)? {
            match (journal::read_to_the_end(&path, &mut ledger), ledger) {
                (Ok(read), _) => read,
                (Err(error), Some((facts, through))) => match self.misfit(&error)? {
                    Some(misfit) => (misfit.frozen(facts, Time(0)).0, through),
                    None => return Err(StateError::Journal(error)),
                },
                (Err(error), None) => return Err(StateError::Journal(error)),
            }
        } else {
            let (mut facts, through) = ledger.ok_or_else(|| StateError::Lost {
                id: identity.id.clone(),
            })?;
            facts.frozen = Some(Frozen::Lost);
            (Replayed::from_ledger(facts), through)
        };
        self.same_executor(&identity, "journal", Some(&replayed.facts))?;
        if let Some(why) = older(
            marked.as_ref(),
            &identity,
            &reached,
            replayed.facts.frozen.as_ref(),
        ) {
            replayed.facts.frozen = Some(why);
        }
        take_in(marked.as_ref(), &mut replayed.facts);
        pin_name(&mut replayed.facts, &executor.pinned());
        Ok(replayed)
    }

    /// What the mark of this executor says; one that was never finished says nothing.
    fn marked(&self, identity: &Identity) -> Result<Option<Marked>, StateError> {
        let path = mark::path_of(&self.dir, identity);
        let marked = match mark::read(&path) {
            Err(StateError::Mark { .. }) if !identity.marked => None,
            read => read?,
        };
        match marked {
            Some(Marked { executor_id, .. }) if executor_id != identity.id => {
                Err(StateError::Copied {
                    dir: self.dir.clone(),
                    mark: path,
                    ours: identity.id.clone(),
                    theirs: executor_id,
                })
            }
            marked => Ok(marked),
        }
    }

    /// Compares what was opened with the mark, freezes where it is older, and has the journal keep the mark from here on.
    fn go_on_from(
        &self,
        marked: Option<Marked>,
        identity: &Identity,
        opened: &mut Opened,
        at: Time,
    ) -> Result<(), StateError> {
        let Opened {
            journal, replayed, ..
        } = opened;
        let frozen = replayed.facts.frozen.as_ref();
        if let Some(why) = older(marked.as_ref(), identity, &journal.through(), frozen)
            && frozen != Some(&why)
        {
            let at = at.max(replayed.facts.latest);
            let entry = Entry::Frozen { at, why };
            journal.append(&entry).map_err(StateError::Journal)?;
            replayed
                .apply(&entry)
                .expect("BUG: a freeze can stand anywhere");
        }
        take_in(marked.as_ref(), &mut replayed.facts);
        let is_new = marked.is_none();
        let mut mark = Mark::open(mark::path_of(&self.dir, identity), identity, marked)?;
        if is_new {
            let mut claims: Vec<_> = replayed.facts.claims.values().collect();
            claims.sort_by_key(|it| it.at);
            claims.iter().for_each(|it| mark.add(it.nonce));
        }
        mark.write(&journal.through())
            .map_err(StateError::io("write", mark.path()))?;
        journal.keep(mark);
        if identity.marked {
            return Ok(());
        }
        let mut identity = identity.clone();
        identity.marked = true;
        self.write_identity(&identity)
    }

    /// Whether the journal cannot be used because it, or the ledger, is an older copy. Damage is something else, and so is
    /// an older ledger beside a journal that does not tell what was enforced since: there is nothing to go on from.
    fn misfit(&self, error: &JournalError) -> Result<Option<Misfit>, StateError> {
        Ok(match *error {
            JournalError::Behind {
                journal, ledger, ..
            } => Some(Misfit {
                why: Frozen::Behind { journal, ledger },
                enforced: None,
            }),
            JournalError::Gap {
                journal, ledger, ..
            } => {
                let enforced =
                    journal::latest_commit(&self.journal()).map_err(StateError::Journal)?;
                enforced.map(|enforced| Misfit {
                    why: Frozen::Gap { journal, ledger },
                    enforced: Some(enforced),
                })
            }
            _ => None,
        })
    }

    /// Goes on from the ledger, frozen, with a new journal behind it. The one that does not fit is kept beside it, for
    /// whoever wants to know what it says.
    fn begin_beside(
        &self,
        misfit: &Misfit,
        (facts, through): LedgerFacts,
        at: Time,
    ) -> Result<Opened, StateError> {
        let path = self.journal();
        let aside = (1_u32..)
            .map(|number| self.dir.join(format!("journal.old-{number}")))
            .find(|it| !it.exists())
            .expect("BUG: more directories than a file system has");
        make_private(&aside)?;
        let (_, entries) = misfit.frozen(facts.clone(), at);
        let mut begun: Option<Journal> = None;
        for entry in &entries {
            match &mut begun {
                None => {
                    begun = Some(
                        Journal::create(&aside, &through, entry).map_err(StateError::Journal)?,
                    )
                }
                Some(journal) => journal.append(entry).map_err(StateError::Journal)?,
            }
        }
        drop(begun);
        // In one step, so that there is a journal at every instant, and never one that forgot why.
        renameat2(
            AT_FDCWD,
            &aside,
            AT_FDCWD,
            &path,
            RenameFlags::RENAME_EXCHANGE,
        )
        .map_err(|errno| StateError::io("put in place", &path)(errno.into()))?;
        File::open(&self.dir)
            .and_then(|dir| dir.sync_all())
            .map_err(StateError::io("make durable", &self.dir))?;
        Journal::open(&path, Some((facts, through))).map_err(StateError::Journal)
    }

    /// An executor id without its journal: goes on from the ledger, frozen, with a journal that begins behind it.
    fn begin_after_loss(
        &self,
        (facts, through): LedgerFacts,
        at: Time,
    ) -> Result<Opened, StateError> {
        let path = self.journal();
        make_private(&path)?;
        let first = Entry::Frozen {
            at: at.max(facts.latest),
            why: Frozen::Lost,
        };
        let journal = Journal::create(&path, &through, &first).map_err(StateError::Journal)?;
        let mut replayed = Replayed::from_ledger(facts);
        replayed
            .apply(&first)
            .expect("BUG: a freeze can stand anywhere");
        Ok(Opened {
            journal,
            replayed,
            torn: 0,
        })
    }

    /// Who this is, if it is the directory of `executor`. A host that was renamed in the settings is still the host that it
    /// was, frozen until somebody decides; any other executor has several beside it, so another name is another's directory.
    fn identity_of(&self, executor: &Executor) -> Result<Identity, StateError> {
        let identity = self.identity()?.ok_or_else(|| self.without_identity())?;
        let pinned = identity.executor();
        let is_ours = match executor.kind() {
            ExecutorKind::Host => pinned.kind() == ExecutorKind::Host,
            ExecutorKind::Guests | ExecutorKind::Cluster | ExecutorKind::Ca => pinned == *executor,
        };
        if is_ours {
            return Ok(identity);
        }
        Err(StateError::Other {
            dir: self.dir.clone(),
            pinned,
            executor: executor.clone(),
        })
    }

    fn without_identity(&self) -> StateError {
        match journal::has_no_history(&self.journal()) {
            Ok(true) => StateError::NotInitialised(self.dir.clone()),
            Ok(false) => StateError::Orphaned(self.dir.clone()),
            Err(error) => StateError::Journal(error),
        }
    }

    fn same_executor(
        &self,
        identity: &Identity,
        what: &'static str,
        facts: Option<&Facts>,
    ) -> Result<(), StateError> {
        match facts {
            Some(facts) if facts.executor_id != identity.id => Err(StateError::Mixed {
                dir: self.dir.clone(),
                ours: identity.id.clone(),
                what,
                theirs: facts.executor_id.clone(),
            }),
            _ => Ok(()),
        }
    }
}

/// A journal and a ledger of which one is an older copy.
#[derive(Debug)]
struct Misfit {
    why: Frozen,
    /// What the journal says was enforced last, where the ledger is the older one: an older commit would bring back
    /// whoever left since.
    enforced: Option<CommitId>,
}

impl Misfit {
    /// What is known from here on, and the records that say so.
    fn frozen(&self, facts: Facts, at: Time) -> (Replayed, Vec<Entry>) {
        let Self { why, enforced } = self;
        let at = at.max(facts.latest);
        let adopted = enforced
            .iter()
            .filter(|commit| **commit != facts.adopted)
            .map(|commit| Entry::Adopted {
                at,
                commit: commit.clone(),
            });
        let why = why.clone();
        let entries: Vec<Entry> = adopted.chain([Entry::Frozen { at, why }]).collect();
        let mut replayed = Replayed::from_ledger(facts);
        for entry in &entries {
            replayed
                .apply(entry)
                .expect("BUG: a freeze can stand anywhere");
        }
        (replayed, entries)
    }
}

fn make_private(dir: &Path) -> Result<(), StateError> {
    DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(dir)
        .map_err(StateError::io("create", dir))
}

/// Why an executor is frozen whose journal reaches to `through`, if its mark says that this is not all. An older ledger beside a
/// newer journal tells what was enforced since, and is frozen for that already.
fn older(
    marked: Option<&Marked>,
    identity: &Identity,
    through: &Through,
    frozen: Option<&Frozen>,
) -> Option<Frozen> {
    if matches!(frozen, Some(Frozen::Gap { .. })) {
        return None;
    }
    let Some(Marked { through: mark, .. }) = marked else {
        return identity.marked.then_some(Frozen::Unmarked);
    };
    let is_older = mark.sequence > through.sequence
        || (mark.sequence == through.sequence && mark.sequence > 0 && mark.chain != through.chain);
    is_older.then_some(Frozen::Older {
        journal: through.sequence,
        mark: mark.sequence,
    })
}

/// What a mark says was taken up here, and nothing else tells, is not taken up again.
fn take_in(marked: Option<&Marked>, facts: &mut Facts) {
    let nonces = marked.into_iter().flat_map(|it| &it.nonces);
    let untold = nonces.filter(|it| !facts.claims.contains_key(*it));
    facts.spent.extend(untold.copied().collect::<Vec<_>>());
}

/// A changed name freezes for as long as it is changed: no record of it, since the settings say so at every start.
fn pin_name(facts: &mut Facts, name: &str) {
    if matches!(facts.frozen, Some(Frozen::Renamed { .. })) {
        facts.frozen = None;
    }
    let pinned = facts.executor.pinned();
    if pinned != name && facts.frozen.is_none() {
        facts.frozen = Some(Frozen::Renamed {
            pinned,
            found: name.to_owned(),
        });
    }
}

fn write_whole(dir: &Path, path: &Path, bytes: &[u8]) -> io::Result<()> {
    let mut file = tempfile::NamedTempFile::new_in(dir)?;
    file.write_all(bytes)?;
    file.as_file().sync_all()?;
    file.persist(path).map_err(|error| error.error)?;
    File::open(dir)?.sync_all()
}

/// Looks into the history of a ledger for whose password muster locked after it took the account over: as far back as it took over
/// the accounts that it keeps, and not at all where it took over none.
///
/// # Errors
/// When the history cannot be read.
pub(crate) fn recall_locked(
    facts: &mut Facts,
    ledger: &muster_git::Ledger,
) -> Result<(), muster_git::LedgerError> {
    let Some(known) = facts.known.accounts_mut() else {
        return Ok(());
    };
    let mut limit = 0;
    loop {
        let log = ledger.log(limit)?;
        let messages = log.iter().map(|it| it.message.as_str());
        if known.recall_locked(messages) || log.len() < limit {
            return Ok(());
        }
        limit = limit.saturating_mul(4).max(256);
    }
}

#[cfg(test)]
mod tests;
