//! What is looked at right before something that cannot be taken back: shutting down, backing up and trying a backup take hours, in which
//! other hands are at work (H8, GB8).

use std::cell::RefCell;

use muster_core::guests::action::{Incarnation, Volumes};
use muster_core::guests::blocked::{Blocked, Unsaved};
use muster_core::guests::used::{self, Life};
use muster_core::time::Time;

use super::{Act, Deed, Halt, Outcome, because};
use crate::api::{self, Config, GuestApi, Place, Progress, Task};
use crate::observe::{self, volumes};

/// The guest that a release is for.
#[derive(Clone, Copy)]
pub(super) struct Shown<'a> {
    pub(super) incarnation: &'a Incarnation,
    /// Its volumes; `None` where it has another name by now, and they with it.
    pub(super) volumes: Option<&'a Volumes>,
}

/// Whether a guest that is set aside is to be protected still.
#[derive(Clone, Copy)]
pub(super) enum Protection {
    /// Nobody took it off.
    Kept,
    /// The purge itself did, right before.
    TakenOff,
}

impl<A: GuestApi> Act<'_, A> {
    /// Refuses where what was read is another guest than the one that was signed, has other volumes than those that were shown, or some
    /// that no backup of it holds.
    pub(super) fn is_as_shown(&self, shown: Shown<'_>, place: &Place, read: &Config) -> Outcome {
        self.is_meant(shown.incarnation, read)?;
        if shown.volumes.is_some_and(|it| volumes(read) != *it) {
            return because(format!(
                "{place} has other volumes now than those that were shown; look at the plan again"
            ));
        }
        match Unsaved::of(&read.unsaved) {
            Some(unsaved) => because(format!("{place} stays: {unsaved}")),
            None => Ok(()),
        }
    }

    /// Refuses where somebody used a guest since it was set aside: what was done in it is in no backup (H7).
    pub(super) fn is_unused(
        &self,
        guest: &str,
        place: &Place,
        read: &Config,
        protection: Protection,
        started: Option<Time>,
    ) -> Outcome {
        let Some(facts) = self.known.get(guest) else {
            return Ok(());
        };
        let mut seen = observe::config(read.clone(), Vec::new());
        match protection {
            Protection::Kept => {}
            Protection::TakenOff => seen.protection = true,
        }
        let life = Life { run: None, started };
        let signs = used::signs_of_use(guest, facts, &seen, life);
        if signs.is_empty() {
            return Ok(());
        }
        because(format!("{place} stays: {}", used::told(&signs)))
    }

    /// When a guest that is to be deleted was last used: where that is not to be seen, it stays.
    pub(super) async fn last_use(&self, place: &Place) -> Outcome<Option<Time>> {
        // The others may not see what is done there.
        match observe::last_use(self.everyday, place).await {
            Ok(at) => Ok(at),
            Err(why) => because(format!("{place} stays: {}", Blocked::UseUnseen(why))),
        }
    }

    /// [`Act::once`], with the guest looked at again right before each sending: what is another one by then is sent nothing. Read with
    /// the everyday credential, as the others may not see a guest that is not theirs.
    pub(super) async fn once_while(
        &self,
        deed: &Deed<'_, A>,
        is_it: impl Fn(&Config) -> Outcome,
        send: impl AsyncFn() -> api::Result<Option<Task>>,
        reached: impl AsyncFn() -> api::Result<bool>,
    ) -> Outcome<Progress> {
        let refusal: RefCell<Option<Halt>> = RefCell::new(None);
        let guarded = async || {
            let said = match self.everyday.config(deed.place).await {
                Ok(read) => is_it(&read),
                Err(error) if error.is_gone() => {
                    because(format!("{} is not there any more", deed.place))
                }
                Err(error) => return Err(error),
            };
            if let Err(halt) = said {
                *refusal.borrow_mut() = Some(halt);
                return Ok(None);
            }
            send().await
        };
        let progress = Box::pin(self.once(deed, guarded, reached)).await?;
        match refusal.into_inner() {
            Some(halt) => Err(halt),
            None => Ok(progress),
        }
    }
}
