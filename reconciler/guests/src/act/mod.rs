//! Carrying steps out: each call once, whatever happens to its connection (H11).

mod aside;
mod backup;
mod check;
mod config;
mod make;
mod power;

use std::cell::{Cell, RefCell};
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use muster_core::guests::action::{Action, Incarnation};
use muster_core::guests::facts::GuestFacts;
use muster_core::guests::mark::Mark;
use muster_core::id::{RunId, StepId};
use muster_core::world::{NotKept, Recorder};

use crate::api::{self, Call, Config, GuestApi, Listed, Listing, Place, Progress, Task};
use crate::error::{Error, bounded};
use crate::observe::identity;

/// What the administrator decided about acts.
#[derive(Clone, Debug)]
pub struct ActSettings {
    /// The node on which guests are made; empty where there is only one.
    pub node: String,
    /// How long a guest that is asked to shut down may take.
    pub shutdown: Duration,
    /// Whether one that does not is stopped by force before it is set aside (H5).
    pub force_stop: bool,
    /// How long a task may take until nobody waits for it any more; it runs on, and is asked for later.
    pub task: Duration,
    /// How many guests at once (H10).
    pub parallel: usize,
    /// The pool or project in which guests are made (H9).
    pub scratch: Option<String>,
    /// The storage of what is made out of a backup for a trial; where it was, without.
    pub scratch_storage: Option<String>,
    /// The storage of backups; Incus keeps them in a directory of ours.
    pub backup_storage: String,
    /// Whether what comes of a backup is started (H7).
    pub rehearse_start: bool,
    /// How long it must run then.
    pub rehearsal: Duration,
    /// What the words for devices and mounts stand for: keys and values of the hypervisor's configuration (H4).
    pub devices: BTreeMap<String, BTreeMap<String, String>>,
    /// Between two looks for what became of a call whose answer was lost.
    pub look: Duration,
}

impl ActSettings {
    /// The settings of a hypervisor whose section says no more than its name.
    pub fn new() -> Self {
        Self {
            node: String::new(),
            shutdown: Duration::from_secs(180),
            force_stop: false,
            task: Duration::from_secs(3600),
            parallel: 4,
            scratch: None,
            scratch_storage: None,
            backup_storage: "local".to_owned(),
            rehearse_start: true,
            rehearsal: Duration::from_secs(30),
            devices: BTreeMap::new(),
            look: Duration::from_secs(1),
        }
    }
}

impl Default for ActSettings {
    fn default() -> Self {
        Self::new()
    }
}

/// Why a step ended before its end.
#[derive(Debug)]
pub(crate) enum Halt {
    /// A mark could not be kept: nothing more is done, for any step.
    NotKept,
    /// What stands against it, for people.
    Because(String),
}

impl From<Error> for Halt {
    fn from(error: Error) -> Self {
        Self::Because(error.to_string())
    }
}

pub(crate) fn because<T>(why: impl Into<String>) -> Outcome<T> {
    Err(Halt::Because(why.into()))
}

pub(crate) type Outcome<T = ()> = Result<T, Halt>;

/// What all steps of an act share.
pub(crate) struct Act<'a, A> {
    /// With the everyday credential.
    pub(crate) everyday: &'a A,
    /// With the one that may make guests in one place.
    pub(crate) create: Option<&'a A>,
    /// With the one that may delete; there only when a step of the batch was released for that (H9).
    pub(crate) release: Option<&'a A>,
    pub(crate) settings: &'a ActSettings,
    /// The guests as they were listed when the act began.
    pub(crate) listing: RefCell<Listing>,
    pub(crate) recorder: RefCell<&'a mut dyn Recorder>,
    pub(crate) not_kept: Cell<Option<NotKept>>,
    /// What the journal knew of the guests of these steps when they were planned: what an earlier try of a run noted, whichever process
    /// that was.
    pub(crate) known: &'a BTreeMap<String, GuestFacts>,
    /// The release that each step runs by, where it needs one.
    pub(crate) runs: BTreeMap<StepId, RunId>,
}

/// How often one looks for what became of a call before it is sent again.
const LOOKS: u32 = 3;

/// How often a call is sent at most, each time after it was found that it had not arrived.
const SENDS: u32 = 3;

impl<A: GuestApi> Act<'_, A> {
    /// Carries out one step.
    pub(crate) async fn step(
        &self,
        step: StepId,
        action: &Action,
        incarnation: &Incarnation,
    ) -> Outcome {
        match action {
            // It writes down what was seen; the ledger does that.
            Action::RecordGuest { .. } | Action::NoteGuestUse { .. } => Ok(()),
            Action::StartGuest { guest } => Box::pin(self.start(step, guest)).await,
            Action::ShutdownGuest { guest } => Box::pin(self.shutdown(step, guest)).await,
            Action::StopGuest { guest } => Box::pin(self.stop(step, guest)).await,
            Action::SetGuestCores { guest, from, to } => {
                Box::pin(self.cores(step, guest, *from, *to)).await
            }
            Action::SetGuestMemory { guest, from, to } => {
                Box::pin(self.memory(step, guest, *from, *to)).await
            }
            Action::SetGuestDescription { guest, to } => {
                Box::pin(self.description(step, guest, to)).await
            }
            Action::SetGuestTags { guest, from, to } => {
                Box::pin(self.tags(step, guest, from, to)).await
            }
            Action::SetGuestOnboot { guest, to } => Box::pin(self.onboot(step, guest, *to)).await,
            Action::CreateGuest { guest, made, shape } => {
                Box::pin(self.create(step, guest, made, shape)).await
            }
            Action::DiscardGuest { guest, made } => Box::pin(self.discard(step, guest, made)).await,
            Action::DestroyGuest {
                guest,
                volumes,
                aside,
            } => Box::pin(self.destroy(step, guest, incarnation, volumes, aside)).await,
            Action::OverwriteGuest {
                guest,
                backup,
                made,
                volumes,
            } => {
                let replacement = make::Replacement {
                    backup,
                    made,
                    volumes,
                };
                Box::pin(self.overwrite(step, guest, incarnation, &replacement)).await
            }
            Action::RestoreGuest {
                guest,
                found,
                standing,
                privileged: _,
            } => Box::pin(self.give_back(step, guest, incarnation, found, standing)).await,
            Action::PurgeGuest {
                guest,
                found,
                volumes,
                backup,
            } => {
                let end = aside::End {
                    guest,
                    found,
                    volumes,
                    backup,
                };
                Box::pin(self.purge(step, incarnation, &end)).await
            }
        }
    }

    /// A guest as it was listed.
    pub(crate) fn listed(&self, guest: &str) -> Option<Listed> {
        self.listing.borrow().guests.get(guest).cloned()
    }

    /// The same, of one that must be there and on a node that answers.
    pub(crate) fn present(&self, guest: &str) -> Outcome<Listed> {
        match self.listed(guest) {
            Some(listed) if listed.power.is_some() => Ok(listed),
            Some(listed) => because(format!("nothing is known of {} just now", listed.place)),
            None => because(format!("there is no guest {guest} any more")),
        }
    }

    /// Looks at all guests anew.
    pub(crate) async fn look_again(&self) -> Outcome {
        let listing = self.everyday.list().await?;
        *self.listing.borrow_mut() = listing;
        Ok(())
    }

    /// The credential that makes guests in one place.
    pub(crate) fn creator(&self) -> Outcome<&A> {
        match self.create {
            Some(api) => Ok(api),
            None => because("there is no `create_token`, and the everyday one makes no guests"),
        }
    }

    /// The credential that deletes.
    pub(crate) fn releaser(&self) -> Outcome<&A> {
        match self.release {
            Some(api) => Ok(api),
            None => because("there is no `release_token`, and the everyday one deletes nothing"),
        }
    }

    /// Whether `read` is the guest that the step was signed for (H8).
    pub(crate) fn is_meant(&self, incarnation: &Incarnation, read: &Config) -> Outcome {
        match incarnation {
            Incarnation::Guest { made, restored: _ } if read.tags.contains(&made.0) => Ok(()),
            Incarnation::FoundGuest { identity: seen, .. } if *seen == identity(read) => Ok(()),
            Incarnation::Guest { .. } | Incarnation::FoundGuest { .. } => because(
                "another guest has that number now; look at both, and put the right one into the row",
            ),
            Incarnation::NoGuest { .. } => because("it is not said which guest is meant"),
        }
    }

    /// Makes a mark durable.
    pub(crate) fn mark(&self, step: StepId, mark: Mark) -> Outcome {
        self.go_on()?;
        let kept = self.recorder.borrow_mut().mark(step, mark.into());
        kept.map_err(|error| {
            self.not_kept.set(Some(error));
            Halt::NotKept
        })
    }

    /// Whether anything may still be done.
    fn go_on(&self) -> Outcome {
        let broken = self.not_kept.take();
        let goes_on = broken.is_none();
        self.not_kept.set(broken);
        if goes_on { Ok(()) } else { Err(Halt::NotKept) }
    }

    /// Waits for a task to end; both its beginning and its end are marked (H12).
    async fn follow(
        &self,
        api: &A,
        step: StepId,
        task: &Task,
        limit: Duration,
    ) -> Outcome<Progress> {
        self.mark(
            step,
            Mark::TaskBegun {
                task: task.0.clone(),
            },
        )?;
        let progress = api.wait(task, limit).await?;
        let (how, well) = match &progress {
            Progress::Runs => return Ok(progress),
            Progress::Done(None) => ("OK".to_owned(), true),
            Progress::Done(Some(warnings)) => (warnings.clone(), true),
            Progress::Failed(why) => (why.clone(), false),
            Progress::Unknown(why) => (why.clone(), false),
        };
        self.mark(
            step,
            Mark::TaskEnded {
                task: task.0.clone(),
                how,
                well,
            },
        )?;
        Ok(progress)
    }

    /// Sends a call, and has it take effect once (GB5). `reached` says whether the guest shows it.
    ///
    /// When nobody knows whether it arrived, the tasks of the guest and the guest are looked at before it is sent again: a task of its kind
    /// that was not there before is ours, whether it runs or has ended.
    pub(crate) async fn once(
        &self,
        deed: &Deed<'_, A>,
        send: impl AsyncFn() -> api::Result<Option<Task>>,
        reached: impl AsyncFn() -> api::Result<bool>,
    ) -> Outcome<Progress> {
        let Deed {
            api,
            step,
            place,
            call,
            limit,
        } = *deed;
        let before: BTreeSet<Task> = self
            .tasks(deed)
            .await?
            .into_iter()
            .map(|it| it.task)
            .collect();
        let mut last = None;
        for _ in 0..SENDS {
            self.go_on()?;
            let error = match send().await {
                Ok(None) => return Ok(Progress::Done(None)),
                Ok(Some(task)) => return self.follow(api, step, &task, limit).await,
                Err(error) => error,
            };
            match &error {
                Error::Refused { text, .. } => {
                    // Somebody else's write between is nobody's refusal.
                    if !error.is_conflict() {
                        self.mark(step, Mark::Refused { why: text.clone() })?;
                    }
                    return Err(error.into());
                }
                Error::Unreadable { .. } => return Err(error.into()),
                Error::NotSent { .. } => tokio::time::sleep(self.settings.look).await,
                Error::PerhapsExecuted { .. } => {
                    for look in 0..LOOKS {
                        let tasks = self.tasks(deed).await?;
                        let ours = |it: &&api::FoundTask| {
                            is_kind(it.does, call) && !before.contains(&it.task)
                        };
                        if let Some(found) = tasks.iter().find(ours) {
                            return self.follow(api, step, &found.task, limit).await;
                        }
                        if reached().await? {
                            return Ok(Progress::Done(None));
                        }
                        if look + 1 < LOOKS {
                            tokio::time::sleep(self.settings.look).await;
                        }
                    }
                }
            }
            last = Some(error);
        }
        // Answered each time, and nothing of it is to be seen: that is a no (GB12).
        if let Some(Error::PerhapsExecuted {
            why, code: Some(_), ..
        }) = &last
        {
            self.mark(step, Mark::Refused { why: why.clone() })?;
        }
        let why = last.map_or_else(String::new, |it| it.to_string());
        because(format!(
            "{why}; {place} shows nothing of it, and it was sent {SENDS} times"
        ))
    }

    /// The tasks of a guest. They are looked for a second time: without them nothing may be sent.
    async fn tasks(&self, deed: &Deed<'_, A>) -> api::Result<Vec<api::FoundTask>> {
        match deed.api.tasks(deed.place).await {
            Err(error) if error.is_unreachable() => {
                tokio::time::sleep(self.settings.look).await;
                deed.api.tasks(deed.place).await
            }
            tasks => tasks,
        }
    }

    /// What to say of a task that did not end well. Its end says nothing of the guest, which is looked at afterwards.
    pub(crate) fn told(progress: Progress, what: Call) -> Outcome {
        match progress {
            Progress::Done(_) => Ok(()),
            Progress::Runs => because(format!(
                "the {what} still runs there; it is looked at again"
            )),
            Progress::Failed(why) => because(format!("the {what} failed: {}", bounded(&why))),
            Progress::Unknown(why) => because(format!(
                "how the {what} ended is not known: {}",
                bounded(&why)
            )),
        }
    }
}

/// A call that is to take effect once.
pub(crate) struct Deed<'a, A> {
    pub(crate) api: &'a A,
    pub(crate) step: StepId,
    pub(crate) place: &'a Place,
    pub(crate) call: Call,
    pub(crate) limit: Duration,
}

/// Whether a task of one kind can be what a call of another left. Proxmox VE makes a guest out of a backup by either, and high
/// availability and Incus have one word for both ways of stopping.
fn is_kind(found: Call, call: Call) -> bool {
    let family = |call| match call {
        Call::Restore => Call::Create,
        Call::Stop => Call::Shutdown,
        Call::Start
        | Call::Shutdown
        | Call::Configure
        | Call::Create
        | Call::Backup
        | Call::Destroy
        | Call::Other => call,
    };
    family(found) == family(call)
}
