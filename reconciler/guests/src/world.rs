//! A hypervisor as a cycle sees it: observed, and changed by admitted steps.

use std::cell::{Cell, RefCell};
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::rc::Rc;
use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use muster_core::gate::Intent;
use muster_core::guests::action::{Action, Incarnation};
use muster_core::rooms::{self, Material, Observed, Question};
use muster_core::step::Step;
use muster_core::time::Time;
use muster_core::world::{Complaints, NotKept, Recorder, World};
use tokio::runtime::Runtime;

use crate::act::{Act, ActSettings, Halt};
use crate::api::GuestApi;
use crate::doctor::{Finding, Health, ReleaseToken, Walled, examine, left_closed};
use crate::observe::{Silence, observe};
use crate::parallel;
use crate::queue::Queue;
use crate::wire::OpenError;

/// Opens a client with one credential, which is read at that moment and let go of with the client (H9).
pub type Opener<A> = Box<dyn Fn() -> Result<A, OpenError> + Send>;

/// A hypervisor's guests.
pub struct Guests<A> {
    runtime: Runtime,
    everyday: A,
    create: Option<Opener<A>>,
    release: Option<Opener<A>>,
    settings: ActSettings,
    silence: Silence,
}

impl<A> fmt::Debug for Guests<A> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Guests")
            .field("settings", &self.settings)
            .finish_non_exhaustive()
    }
}

/// Why a batch could not be begun or finished.
#[derive(Debug, thiserror::Error)]
pub enum GuestsError {
    /// The machine gave no async runtime.
    #[error("no async runtime can be started")]
    Runtime(#[source] std::io::Error),
    /// The guests could not be listed.
    #[error(transparent)]
    Hypervisor(#[from] crate::Error),
    /// A credential cannot be used.
    #[error("the `{which}` cannot be used: {source}")]
    Credential {
        /// Which.
        which: &'static str,
        /// Why not.
        source: OpenError,
    },
    /// What was begun could not be written down.
    #[error(transparent)]
    NotKept(#[from] NotKept),
    /// What is not about guests.
    #[error("that is about something other than guests")]
    Foreign,
}

impl<A: GuestApi> Guests<A> {
    /// The guests that `everyday` sees. The other two credentials are opened when a step needs them, and not before.
    ///
    /// # Errors
    /// When the machine gives no async runtime.
    pub fn new(
        everyday: A,
        create: Option<Opener<A>>,
        release: Option<Opener<A>>,
        settings: ActSettings,
    ) -> Result<Self, GuestsError> {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .map_err(GuestsError::Runtime)?;
        Ok(Self {
            runtime,
            everyday,
            create,
            release,
            settings,
            silence: Silence::new(),
        })
    }

    /// Asks something of the hypervisor with the everyday credential, and waits for the answer.
    pub fn ask<T>(&self, question: impl AsyncFnOnce(&A) -> T) -> T {
        self.runtime.block_on(question(&self.everyday))
    }

    /// A number that changes when something happened to a guest: one request, for an idle tick (H15).
    ///
    /// # Errors
    /// When the hypervisor does not answer.
    pub fn pulse(&self) -> Result<u64, crate::Error> {
        self.runtime.block_on(self.everyday.pulse())
    }

    /// Looks at what the hypervisor lets us do with the guests that the file names, call by call (GB9). The one that
    /// deletes stays closed unless `release` says otherwise; then it is asked what it may do, and let go of at once (H9).
    pub fn examine(&self, names: &BTreeSet<String>, release: ReleaseToken) -> Vec<Finding> {
        let mut findings = Vec::new();
        let mut open = |opener: &Option<Opener<A>>, which: &'static str| {
            let opened = Self::open(opener.as_ref(), which, true);
            opened.unwrap_or_else(|error| {
                findings.push(Finding {
                    part: which.to_owned(),
                    health: Health::Bad,
                    text: error.to_string(),
                    cure: Some("look at the file that settings name for it".to_owned()),
                });
                None
            })
        };
        let walled = Walled {
            create: open(&self.create, "create_token"),
            release: match release {
                ReleaseToken::Asked => open(&self.release, "release_token"),
                ReleaseToken::Closed => None,
            },
        };
        if self.release.is_some() && release == ReleaseToken::Closed {
            findings.push(left_closed());
        }
        let looking = examine(&self.everyday, &walled, &self.settings, names);
        findings.extend(self.runtime.block_on(looking));
        findings
    }

    fn open(
        opener: Option<&Opener<A>>,
        which: &'static str,
        is_needed: bool,
    ) -> Result<Option<A>, GuestsError> {
        match opener {
            Some(open) if is_needed => open()
                .map(Some)
                .map_err(|source| GuestsError::Credential { which, source }),
            Some(_) | None => Ok(None),
        }
    }
}

/// Which credential an action needs beside the everyday one.
fn walls(action: &Action) -> (bool, bool) {
    match action {
        Action::CreateGuest { .. } | Action::DiscardGuest { .. } => (true, false),
        // A trial of the backup is made where guests may be made.
        Action::DestroyGuest { .. } => (true, true),
        Action::OverwriteGuest { .. } | Action::PurgeGuest { .. } => (false, true),
        Action::RecordGuest { .. }
        | Action::NoteGuestUse { .. }
        | Action::StartGuest { .. }
        | Action::ShutdownGuest { .. }
        | Action::StopGuest { .. }
        | Action::SetGuestCores { .. }
        | Action::SetGuestMemory { .. }
        | Action::SetGuestDescription { .. }
        | Action::SetGuestTags { .. }
        | Action::SetGuestOnboot { .. }
        | Action::RestoreGuest { .. } => (false, false),
    }
}

/// A step with the parts of it that are about guests.
fn about(step: &Step) -> Option<(&Action, &Incarnation)> {
    match (&step.action, &step.incarnation) {
        (rooms::Action::Guest(action), rooms::Incarnation::Guest(incarnation)) => {
            Some((action, incarnation))
        }
        (rooms::Action::Account(_) | rooms::Action::Guest(_), _) => None,
    }
}

fn now() -> Time {
    let since = SystemTime::now().duration_since(UNIX_EPOCH);
    Time(since.map_or(0, |it| i64::try_from(it.as_secs()).unwrap_or(i64::MAX)))
}

impl<A: GuestApi> World for Guests<A> {
    type Error = GuestsError;

    fn observe(&mut self, question: &Question<'_>) -> Result<Observed, GuestsError> {
        let Question::Guests(question) = question else {
            return Err(GuestsError::Foreign);
        };
        let looking = observe(
            &self.everyday,
            question,
            &mut self.silence,
            now(),
            &self.settings,
        );
        Ok(self.runtime.block_on(looking).into())
    }

    fn act(
        &mut self,
        intent: &Intent,
        recorder: &mut dyn Recorder,
    ) -> Result<Complaints, GuestsError> {
        let steps: Vec<Arc<Step>> = intent.steps().cloned().collect();
        let mut needs = (false, false);
        for step in &steps {
            let (action, _) = about(step).ok_or(GuestsError::Foreign)?;
            let (create, release) = walls(action);
            needs = (needs.0 | create, needs.1 | release);
        }
        // An intent with such a step is the word that it was released (invariant 2); both are let go of with this act.
        let create = Self::open(self.create.as_ref(), "create_token", needs.0)?;
        let release = Self::open(self.release.as_ref(), "release_token", needs.1)?;
        let (everyday, settings) = (&self.everyday, &self.settings);
        let nothing = BTreeMap::new();
        let known = match intent.material() {
            Material::Guests(known) => known,
            Material::Files(_) | Material::Nothing => &nothing,
        };
        self.runtime.block_on(async {
            let act = Rc::new(Act {
                everyday,
                create: create.as_ref(),
                release: release.as_ref(),
                settings,
                listing: RefCell::new(everyday.list().await?),
                recorder: RefCell::new(recorder),
                not_kept: Cell::new(None),
                known,
                runs: steps
                    .iter()
                    .filter_map(|it| Some((it.id, intent.run_of(it.id)?.clone())))
                    .collect(),
            });
            let complaints = carry_out(&act, &steps, settings.parallel).await;
            match act.not_kept.take() {
                Some(error) => Err(error.into()),
                None => Ok(complaints),
            }
        })
    }
}

async fn carry_out<A: GuestApi>(
    act: &Act<'_, A>,
    steps: &[Arc<Step>],
    parallel: usize,
) -> Complaints {
    let jobs = steps.iter().filter_map(|step| {
        let (action, incarnation) = about(step)?;
        Some((action.guest().to_owned(), (step.id, action, incarnation)))
    });
    let queue = RefCell::new(Queue::new(jobs, parallel));
    let complaints = RefCell::new(Complaints::new());
    let through = Cell::new(0);
    let next = || {
        let (number, (step, action, incarnation)) = queue.borrow_mut().take()?;
        let job: parallel::Job<'_, _> = Box::pin(act.step(step, action, incarnation));
        Some(((number, step), job))
    };
    let done = |(number, step), outcome| {
        let mut queue = queue.borrow_mut();
        queue.ended(number);
        match outcome {
            Ok(()) => {}
            Err(Halt::NotKept) => queue.close(),
            Err(Halt::Because(why)) => drop(complaints.borrow_mut().insert(step, why)),
        }
        through.set(through.get() + 1);
        act.recorder
            .borrow_mut()
            .progress(through.get(), steps.len());
    };
    parallel::run(parallel, next, done).await;
    complaints.into_inner()
}
