//! The end of a guest, undo first (H7): shut down, backed up now, the backup tried, set aside; deleted much later, by another release.

use std::collections::BTreeSet;

use muster_core::guests::action::{Incarnation, Marker, Standing, Volumes, place_aside};
use muster_core::guests::mark::Mark;
use muster_core::guests::used::stance;
use muster_core::id::StepId;

use super::check::{Protection, Shown};
use super::config::Stands;
use super::make::bears;
use super::{Act, Deed, Halt, Outcome, because};
use crate::api::{Backup, Call, Changes, Config, GuestApi, Kind, Listed, Place, Power, Restore};
use crate::observe::config as seen;

/// The end of a guest that was set aside.
pub(super) struct End<'a> {
    pub(super) guest: &'a str,
    /// Where it stands.
    pub(super) found: &'a str,
    pub(super) volumes: &'a Volumes,
    /// The backup that stays.
    pub(super) backup: &'a str,
}

/// So often somebody may start a guest by hand after it was backed up, until its end is given up.
const STARTS: u32 = 3;

/// The storage that a backup of a container is to go to where nobody says another: its own. Proxmox VE would take `local` for it, which
/// holds no containers on most nodes; a virtual machine's disks and what Incus has go back to where they were.
pub(super) fn own_storage<A: GuestApi>(place: &Place, read: &Config) -> Option<String> {
    let is_asked = !A::NAME_IS_ID && place.kind == Kind::Container;
    let root = read.volumes.first().filter(|_| is_asked)?;
    Some(root.storage.clone())
}

/// How a guest stands that is set aside.
fn is_aside(read: &Config, called: &str) -> bool {
    read.name.as_deref() == Some(called) && read.protection && !read.onboot
}

impl<A: GuestApi> Act<'_, A> {
    /// Each part looks whether it is done, so that the whole may begin again at any time.
    pub(super) async fn destroy(
        &self,
        step: StepId,
        guest: &str,
        incarnation: &Incarnation,
        shown: &Volumes,
        called: &str,
    ) -> Outcome {
        let api = self.releaser()?;
        self.look_again().await?;
        let found = self.listed(guest);
        let renamed = self.listed(place_aside(guest, called));
        let (listed, was_renamed) = match (found, renamed) {
            (Some(found), _) => (found, false),
            (None, Some(renamed)) => (renamed, true),
            (None, None) => return because(format!("there is no guest {guest} any more")),
        };
        let place = listed.place.clone();
        let read = api.config(&place).await?;
        self.is_meant(incarnation, &read)?;
        if is_aside(&read, called) {
            // Somebody may have started it by hand since: what is set aside stands still.
            return self.bring_to_rest(api, step, incarnation, &place).await;
        }
        let shown = Shown {
            incarnation,
            // Under its other name its volumes have other names, too.
            volumes: (!was_renamed).then_some(shown),
        };
        self.is_as_shown(shown, &place, &read)?;
        let mut again = self.runs_again(api, step, &place, guest, None).await?;
        let mut is_tried = again == 0 && self.is_tried(api, step, &place, guest).await?;
        while !is_tried {
            if again > STARTS {
                return because(format!(
                    "{place} is started again whenever it was backed up"
                ));
            }
            self.bring_to_rest(api, step, incarnation, &place).await?;
            let label = self.label(step, guest, again);
            let backup = self.back_up(api, step, &place, shown, &label).await?;
            let storage = self.settings.scratch_storage.clone();
            let storage = storage.or_else(|| own_storage::<A>(&place, &read));
            Box::pin(self.rehearse(step, &listed, &label, &backup, storage)).await?;
            // Both take hours, in which another guest may have come under the name (H8), or somebody started this one.
            self.is_as_shown(shown, &place, &api.config(&place).await?)?;
            let more = self
                .runs_again(api, step, &place, guest, Some(&backup))
                .await?;
            again += more;
            is_tried = more == 0;
        }
        self.set_aside(api, step, guest, shown, &place, called)
            .await
    }

    async fn bring_to_rest(
        &self,
        api: &A,
        step: StepId,
        incarnation: &Incarnation,
        place: &Place,
    ) -> Outcome {
        match self.ask_to_shut_down(api, step, place).await {
            Err(Halt::Because(why)) if self.settings.force_stop => {
                // It was waited for, in which time another one may have come under the name (H8).
                self.is_meant(incarnation, &api.config(place).await?)?;
                tracing::warn!(guest = place.id, why, "stopped by force");
                self.power(api, step, place, Call::Stop).await
            }
            said => said,
        }
    }

    /// The backup as a guest of its own: without network cards, off-boot, started for a while, and gone again.
    async fn rehearse(
        &self,
        step: StepId,
        original: &Listed,
        label: &str,
        backup: &Backup,
        storage: Option<String>,
    ) -> Outcome {
        let api = self.creator()?;
        let made = Marker::of_rehearsal(label);
        let place = self.scratch_place(api, original, &made).await?;
        self.mark(
            step,
            Mark::ScratchTaken {
                scratch: place.id.clone(),
                made: made.clone(),
            },
        )?;
        let restore = Restore {
            place: place.clone(),
            backup: backup.id.clone(),
            storage,
            pool: self.settings.scratch.clone(),
            unique: true,
            replace: false,
            tags: BTreeSet::from([made.0.clone()]),
        };
        let said = Box::pin(self.try_backup(api, step, &made, &restore)).await;
        if let Err(Halt::NotKept) = said {
            return said;
        }
        // It holds a copy of somebody's data, so it goes however the trial went.
        if self.bears(&place, &made).await? {
            self.remove(api, step, &place, &made).await?;
        }
        self.mark(
            step,
            Mark::ScratchGone {
                scratch: place.id.clone(),
            },
        )?;
        said?;
        let started = self.settings.rehearse_start;
        self.mark(step, Mark::Rehearsed { started })
    }

    /// Where the trial is, or will be: under its marker where guests go by names, and under a free number elsewhere.
    async fn scratch_place(&self, api: &A, original: &Listed, made: &Marker) -> Outcome<Place> {
        let there = |it: &&Listed| it.tags.contains(&made.0) || it.place.id == made.0;
        if let Some(found) = self.listing.borrow().guests.values().find(there) {
            return Ok(found.place.clone());
        }
        let id = if A::NAME_IS_ID {
            made.0.clone()
        } else {
            api.free_id(&original.place.id).await?
        };
        // Its number is free only when somebody removed it meanwhile, and is nobody's to take: under it another one may come any time.
        if id == original.place.id {
            return because(format!("{} is not there any more", original.place));
        }
        Ok(Place {
            id,
            kind: original.place.kind,
            node: original.place.node.clone(),
            project: self.project(),
        })
    }

    async fn try_backup(&self, api: &A, step: StepId, made: &Marker, restore: &Restore) -> Outcome {
        let Restore { place, tags, .. } = restore;
        let there = async || self.bears(place, made).await;
        if !there().await? {
            let deed = Deed {
                api,
                step,
                place,
                call: Call::Restore,
                limit: self.settings.task,
            };
            // A backup holds what its guest holds: who may read any of them could overwrite any guest with it, so that is the release's.
            let release = self.releaser()?;
            let send = async || release.restore(restore).await;
            let progress = Box::pin(self.once(&deed, send, there)).await?;
            Self::told(progress, Call::Restore)?;
        }
        // Nobody must meet it on the network, and it must not start by itself.
        let bare = Changes {
            onboot: Some(false),
            protection: Some(false),
            tags: Some(tags.clone()),
            without_cards: true,
            ..Changes::default()
        };
        let stands = |read: &Config| {
            if !bears(place, read, made) {
                return Stands::Else("another guest stands there".to_owned());
            }
            let is_bare = !read.onboot && !read.protection && read.cards.is_empty();
            if is_bare && read.tags == *tags {
                Stands::Done
            } else {
                Stands::ToDo
            }
        };
        Box::pin(self.write_at(api, step, place, &bare, stands)).await?;
        if !self.settings.rehearse_start {
            return Ok(());
        }
        let failed =
            |why: String| Halt::Because(format!("the backup was tried, and does not start: {why}"));
        match self.power(api, step, place, Call::Start).await {
            Err(Halt::Because(why)) => return Err(failed(why)),
            said => said?,
        }
        let begun = tokio::time::Instant::now();
        loop {
            if api.status(place).await?.power != Power::Running {
                return Err(failed(format!("{place} started and did not stay up")));
            }
            let left = self.settings.rehearsal.saturating_sub(begun.elapsed());
            if left.is_zero() {
                return Ok(());
            }
            tokio::time::sleep(self.settings.look.min(left)).await;
        }
    }

    /// Another name, protected, off-boot. How it stood is kept first: it must never be read from what is half set aside, so each
    /// hypervisor's writes are ordered that way.
    async fn set_aside(
        &self,
        api: &A,
        step: StepId,
        guest: &str,
        shown: Shown<'_>,
        place: &Place,
        called: &str,
    ) -> Outcome {
        let read = api.config(place).await?;
        self.is_meant(shown.incarnation, &read)?;
        let name = if A::NAME_IS_ID {
            Some(guest.to_owned())
        } else {
            read.name.clone()
        };
        // Where it is set aside but for a part, how it stood is in the journal.
        if read.name.as_deref() != Some(called) || !read.protection {
            self.mark(
                step,
                Mark::SetAside {
                    standing: Standing {
                        name,
                        onboot: read.onboot,
                        protection: read.protection,
                    },
                    stance: Some(stance(guest, &seen(read.clone(), Vec::new()))),
                },
            )?;
        }
        let mut place = place.clone();
        if A::NAME_IS_ID && place.id != called {
            place = self.rename_to(api, step, &place, called).await?;
        }
        let changes = Changes {
            onboot: Some(false),
            protection: Some(true),
            // In the same write: there is no moment in which it stands half aside.
            name: (!A::NAME_IS_ID).then(|| called.to_owned()),
            ..Changes::default()
        };
        let shown = Shown {
            volumes: shown.volumes.filter(|_| !A::NAME_IS_ID),
            ..shown
        };
        let stands = |read: &Config| {
            if let Err(Halt::Because(why)) = self.is_meant(shown.incarnation, read) {
                Stands::Else(why)
            } else if is_aside(read, called) {
                Stands::Done
            } else if let Err(Halt::Because(why)) = self.is_as_shown(shown, &place, read) {
                Stands::Else(why)
            } else {
                Stands::ToDo
            }
        };
        Box::pin(self.write_at(api, step, &place, &changes, stands)).await
    }

    async fn rename_to(
        &self,
        api: &A,
        step: StepId,
        place: &Place,
        called: &str,
    ) -> Outcome<Place> {
        let there = Place {
            id: called.to_owned(),
            ..place.clone()
        };
        let deed = Deed {
            api,
            step,
            place,
            call: Call::Configure,
            limit: self.settings.task,
        };
        let send = async || api.rename(place, called).await;
        let reached = async || match api.config(&there).await {
            Ok(_) => Ok(true),
            Err(error) if error.is_gone() => Ok(false),
            Err(error) => Err(error),
        };
        let progress = Box::pin(self.once(&deed, send, reached)).await?;
        Self::told(progress, Call::Configure)?;
        Ok(there)
    }

    /// Gives back a guest that was set aside, as it stood.
    pub(super) async fn give_back(
        &self,
        step: StepId,
        guest: &str,
        incarnation: &Incarnation,
        found: &str,
        standing: &Standing,
    ) -> Outcome {
        let api = self.everyday;
        self.look_again().await?;
        let listed = match self.listed(found) {
            Some(listed) => listed,
            None => self.present(guest)?,
        };
        self.is_meant(incarnation, &api.config(&listed.place).await?)?;
        let Standing {
            name,
            onboot,
            protection,
        } = standing;
        let changes = Changes {
            onboot: Some(*onboot),
            protection: Some(*protection),
            name: name.clone().filter(|_| !A::NAME_IS_ID),
            ..Changes::default()
        };
        let stands = |read: &Config| {
            let named = A::NAME_IS_ID || name.is_none() || read.name == *name;
            if let Err(Halt::Because(why)) = self.is_meant(incarnation, read) {
                Stands::Else(why)
            } else if read.onboot == *onboot && read.protection == *protection && named {
                Stands::Done
            } else {
                Stands::ToDo
            }
        };
        Box::pin(self.write_at(api, step, &listed.place, &changes, stands)).await?;
        if A::NAME_IS_ID && listed.place.id != guest {
            self.rename_to(api, step, &listed.place, guest).await?;
        }
        Ok(())
    }

    /// Deletes what was set aside, with what was shown, while its backup is there as it was tried.
    pub(super) async fn purge(
        &self,
        step: StepId,
        incarnation: &Incarnation,
        end: &End<'_>,
    ) -> Outcome {
        let End {
            guest,
            found,
            volumes: shown,
            backup,
        } = *end;
        let api = self.releaser()?;
        self.look_again().await?;
        let Some(listed) = self.listed(found) else {
            return Ok(());
        };
        let place = listed.place;
        let read = api.config(&place).await?;
        let shown = Shown {
            incarnation,
            volumes: Some(shown),
        };
        self.is_as_shown(shown, &place, &read)?;
        let started = self.last_use(&place).await?;
        self.is_unused(guest, &place, &read, Protection::Kept, started)?;
        self.is_as_journaled(api, step, &place, (guest, backup))
            .await?;
        if api.status(&place).await?.power != Power::Stopped {
            return because(format!(
                "{place} runs, though it was set aside; look who started it"
            ));
        }
        let open_up = Changes {
            protection: Some(false),
            ..Changes::default()
        };
        let stands = |read: &Config| {
            if read.protection {
                Stands::ToDo
            } else {
                Stands::Done
            }
        };
        Box::pin(self.write_at(api, step, &place, &open_up, stands)).await?;
        let deed = Deed {
            api,
            step,
            place: &place,
            call: Call::Destroy,
            limit: self.settings.task,
        };
        let gone = async || match self.everyday.config(&place).await {
            Err(error) if error.is_gone() => Ok(true),
            Err(error) => Err(error),
            Ok(_) => Ok(false),
        };
        let send = async || api.destroy(&place).await;
        let started = self.last_use(&place).await?;
        let is_it = |read: &Config| {
            self.is_as_shown(shown, &place, read)?;
            self.is_unused(guest, &place, read, Protection::TakenOff, started)
        };
        let progress = Box::pin(self.once_while(&deed, is_it, send, gone)).await?;
        Self::told(progress, Call::Destroy)
    }
}
