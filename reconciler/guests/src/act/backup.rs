//! Backups: one for each run of a step, made of the guest as it stands, and looked at again before anything relies on it (H7).

use muster_core::guests::backup::{self, Spoilt};
use muster_core::guests::mark::Mark;
use muster_core::guests::observed::Stored;
use muster_core::id::StepId;
use muster_core::time::Time;

use super::check::Shown;
use super::{Act, Deed, Outcome, because};
use crate::api::{Backup, Call, Config, GuestApi, Place, Power};
use crate::observe::seconds;

impl<A: GuestApi> Act<'_, A> {
    /// What the backup of this run is known by; `more` is how often the guest ran again since the step was planned.
    pub(super) fn label(&self, step: StepId, guest: &str, more: u32) -> String {
        let again = self.known.get(guest).map_or(0, |it| it.again);
        backup::label(step, self.runs.get(&step), again + more)
    }

    /// Marks that a guest runs of which this run has a backup, or ran since that was begun: somebody started it, so that backup says nothing
    /// of it any more. `made` is when the backup was begun that was made just now; else what an earlier try left counts. Gives how often
    /// that was marked just now.
    pub(super) async fn runs_again(
        &self,
        api: &A,
        step: StepId,
        place: &Place,
        guest: &str,
        made: Option<&Backup>,
    ) -> Outcome<u32> {
        let storage = &self.settings.backup_storage;
        let begun = match (made.map(time_of), self.noted(step, guest)) {
            (Some(begun), _) => begun,
            (None, Some(noted)) => noted.begun(),
            (None, None) => {
                let label = self.label(step, guest, 0);
                match api.keep(place, storage, &label).await? {
                    Some(kept) => time_of(&kept),
                    None => return Ok(0),
                }
            }
        };
        if api.status(place).await?.power == Power::Stopped {
            // As far as it is shown: nothing is lost yet, and whoever deletes it looks again.
            let last = self.everyday.last_use(place).await?.at;
            if last.is_none_or(|it| seconds(it) <= begun) {
                return Ok(0);
            }
        }
        self.mark(step, Mark::RanAgain {})?;
        Ok(1)
    }

    /// The backup that an earlier try of this run noted.
    fn noted(&self, step: StepId, guest: &str) -> Option<&backup::Backup> {
        let facts = self.known.get(guest)?;
        facts.backup_of(step, self.runs.get(&step))
    }

    /// Whether an earlier try of this run made a backup and tried it, and it is still there as it was.
    pub(super) async fn is_tried(
        &self,
        api: &A,
        step: StepId,
        place: &Place,
        guest: &str,
    ) -> Outcome<bool> {
        let Some(noted) = self.noted(step, guest).filter(|it| it.rehearsed.is_some()) else {
            return Ok(false);
        };
        let found = self.stored(api, place, &noted.backup).await?;
        Ok(noted.spoilt(found.as_ref()).is_none())
    }

    async fn stored(&self, api: &A, place: &Place, backup: &str) -> Outcome<Option<Stored>> {
        let storage = &self.settings.backup_storage;
        match api.find_backup(place, storage, backup).await {
            Ok(found) => Ok(found.map(|it| Stored {
                bytes: it.size,
                seal: Some(it.seal()),
            })),
            Err(error) if error.is_gone() => Ok(None),
            Err(error) => Err(error.into()),
        }
    }

    /// Refuses where a backup is not what it was when muster made it, or is not there; what is wrong with it is marked, so that it is
    /// told for as long as the step waits.
    pub(super) async fn is_as_journaled(
        &self,
        api: &A,
        step: StepId,
        place: &Place,
        (guest, backup): (&str, &str),
    ) -> Outcome {
        let found = self.stored(api, place, backup).await?;
        let noted = self.known.get(guest).and_then(|it| {
            let of_name = |it: &&backup::Backup| it.backup == backup;
            it.backups.iter().rfind(of_name)
        });
        let spoilt = match (noted, &found) {
            (Some(noted), found) => noted.spoilt(found.as_ref()),
            (None, None) => Some(Spoilt::Gone),
            (None, Some(found)) => (found.bytes == 0).then_some(Spoilt::Empty),
        };
        let Some(spoilt) = spoilt else {
            return Ok(());
        };
        let why = spoilt.to_string();
        self.mark(
            step,
            Mark::Spoilt {
                backup: backup.to_owned(),
                why: why.clone(),
            },
        )?;
        because(format!(
            "the backup {backup} of {place} {why}, so {place} stays"
        ))
    }

    /// The backup of this run: made unless it is there, of the guest that was shown (H8, GB8), and brought to where it stays.
    pub(super) async fn back_up(
        &self,
        api: &A,
        step: StepId,
        place: &Place,
        shown: Shown<'_>,
        label: &str,
    ) -> Outcome<Backup> {
        let storage = &self.settings.backup_storage;
        let mut kept = api.keep(place, storage, label).await?;
        if kept.is_none() {
            let deed = Deed {
                api,
                step,
                place,
                call: Call::Backup,
                limit: self.settings.task,
            };
            let send = async || api.backup(place, storage, label).await;
            let reached = async || Ok(api.keep(place, storage, label).await?.is_some());
            // It was waited for until it stood still.
            let is_it = |read: &Config| self.is_as_shown(shown, place, read);
            let progress = Box::pin(self.once_while(&deed, is_it, send, reached)).await?;
            Self::told(progress, Call::Backup)?;
            kept = api.keep(place, storage, label).await?;
        }
        let Some(backup) = kept else {
            return because(format!("a backup of {place} was made, and is not there"));
        };
        // Of another guest it would be relied on as this one's.
        self.is_as_shown(shown, place, &api.config(place).await?)?;
        self.mark(
            step,
            Mark::BackedUp {
                backup: backup.id.clone(),
                bytes: backup.size,
                seal: Some(backup.seal()),
            },
        )?;
        Ok(backup)
    }
}

/// When a backup was begun.
fn time_of(backup: &Backup) -> Time {
    seconds(backup.at)
}
