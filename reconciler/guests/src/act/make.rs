//! Making guests, discarding what was not finished, and putting a backup in the place of one.

use std::collections::{BTreeMap, BTreeSet};

use muster_core::guests::action::{Incarnation, Marker, Volumes, is_vmid};
use muster_core::guests::desired::{Origin, Shape};
use muster_core::id::StepId;

use super::check::Shown;
use super::config::Stands;
use super::{Act, Deed, Halt, Outcome, because};
use crate::api::{Call, Changes, Config, Creation, GuestApi, Kind, Place, Power, Restore, Source};

/// What is put in the place of a guest.
pub(super) struct Replacement<'a> {
    pub(super) backup: &'a str,
    pub(super) made: &'a Marker,
    pub(super) volumes: &'a Volumes,
}

/// Whether what was read bears that mark, by its tags or by its name.
pub(super) fn bears(place: &Place, read: &Config, made: &Marker) -> bool {
    read.tags.contains(&made.0) || place.id == made.0
}

impl<A: GuestApi> Act<'_, A> {
    pub(super) async fn create(
        &self,
        step: StepId,
        guest: &str,
        made: &Marker,
        shape: &Shape,
    ) -> Outcome {
        let api = self.creator()?;
        self.look_again().await?;
        if let Some(found) = self.listed(guest) {
            if !found.tags.contains(&made.0) && !matches!(shape.origin, Origin::Clone(_)) {
                return because(format!(
                    "{} is there already, and was not made by this step; take `create` out of its row, or choose another number",
                    found.place
                ));
            }
        } else {
            let creation = self.creation(guest, made, shape)?;
            let deed = Deed {
                api,
                step,
                place: &creation.place,
                call: Call::Create,
                limit: self.settings.task,
            };
            let send = async || api.create(&creation).await;
            let reached = async || self.bears(&creation.place, made).await;
            let progress = Box::pin(self.once(&deed, send, reached)).await?;
            Self::told(progress, Call::Create)?;
        }
        if matches!(shape.origin, Origin::Clone(_)) {
            self.dress_clone(api, step, guest, made, shape).await?;
        }
        Ok(())
    }

    /// A copy has its original's words; the ones that were asked for are written once it is there.
    async fn dress_clone(
        &self,
        api: &A,
        step: StepId,
        guest: &str,
        made: &Marker,
        shape: &Shape,
    ) -> Outcome {
        self.look_again().await?;
        let place = self.present(guest)?.place;
        let tags = BTreeSet::from([made.0.clone()]);
        let changes = Changes {
            cores: shape.cores,
            memory: shape.memory,
            tags: Some(tags.clone()),
            onboot: Some(false),
            ..Changes::default()
        };
        let stands = |read: &Config| {
            let sized = shape.cores.is_none_or(|it| read.cores == Some(it))
                && shape.memory.is_none_or(|it| read.memory == Some(it));
            if sized && read.tags == tags && !read.onboot {
                Stands::Done
            } else {
                Stands::ToDo
            }
        };
        Box::pin(self.write_at(api, step, &place, &changes, stands)).await
    }

    fn creation(&self, guest: &str, made: &Marker, shape: &Shape) -> Outcome<Creation> {
        let Shape {
            origin,
            storage,
            network,
            unprivileged,
            nesting,
            devices: words,
            name,
            cores,
            memory,
        } = shape;
        let mut kind = Kind::Container;
        let from = match origin {
            Origin::Template(name) => Source::Template(name.clone()),
            Origin::Image(name) => {
                // Proxmox VE imports an image as the disk of a machine; a container is unpacked from a template.
                if is_vmid(guest) {
                    kind = Kind::Machine;
                }
                Source::Image(name.clone())
            }
            Origin::Clone(name) => {
                let original = self.present(name)?.place;
                kind = original.kind;
                Source::Clone(original)
            }
        };
        let mut devices = BTreeMap::new();
        for word in words {
            match self.settings.devices.get(word) {
                Some(keys) => devices.extend(keys.clone()),
                None => return because(format!("settings do not say what `{word}` stands for")),
            }
        }
        let scratch = self.settings.scratch.clone();
        Ok(Creation {
            place: Place {
                id: guest.to_owned(),
                kind,
                node: self.settings.node.clone(),
                project: self.project(),
            },
            from,
            name: name.clone(),
            storage: storage.clone(),
            disk: None,
            network: network.clone(),
            pool: scratch,
            unprivileged: *unprivileged,
            nesting: *nesting,
            devices,
            cores: *cores,
            memory: *memory,
            description: None,
            tags: BTreeSet::from([made.0.clone()]),
            onboot: false,
        })
    }

    /// The project in which guests are made; there is none on Proxmox VE.
    pub(super) fn project(&self) -> String {
        match &self.settings.scratch {
            Some(project) if A::NAME_IS_ID => project.clone(),
            Some(_) | None => String::new(),
        }
    }

    /// Whether a guest is there and bears that mark, by its tags or by its name. Asked with the everyday credential: the one that makes
    /// guests in a pool may not even ask for what is in no pool.
    pub(super) async fn bears(&self, place: &Place, made: &Marker) -> crate::api::Result<bool> {
        match self.everyday.config(place).await {
            Ok(read) => Ok(bears(place, &read, made)),
            Err(error) if error.is_gone() => Ok(false),
            Err(error) => Err(error),
        }
    }

    /// Ends a guest that holds nobody's data. What does not bear the mark is left alone (H6).
    pub(super) async fn discard(&self, step: StepId, guest: &str, made: &Marker) -> Outcome {
        let api = self.creator()?;
        self.look_again().await?;
        let Some(listed) = self.listed(guest) else {
            return Ok(());
        };
        if !self.bears(&listed.place, made).await? {
            return because(format!(
                "{} does not bear {made}, so it stays",
                listed.place
            ));
        }
        self.remove(api, step, &listed.place, made).await
    }

    /// Stops a guest of ours by force, and removes it.
    pub(super) async fn remove(
        &self,
        api: &A,
        step: StepId,
        place: &Place,
        made: &Marker,
    ) -> Outcome {
        if api.status(place).await?.power != Power::Stopped {
            self.power(api, step, place, Call::Stop).await?;
        }
        let deed = Deed {
            api,
            step,
            place,
            call: Call::Destroy,
            limit: self.settings.task,
        };
        let send = async || api.destroy(place).await;
        let reached = async || Ok(!self.bears(place, made).await?);
        let is_it = |read: &Config| match bears(place, read, made) {
            true => Ok(()),
            false => because(format!("{place} is another guest now, so it stays")),
        };
        let said = Box::pin(self.once_while(&deed, is_it, send, reached)).await;
        if let Err(Halt::NotKept) = said {
            return Err(Halt::NotKept);
        }
        // Another guest may stand there by then, which is nobody's to discard.
        if self.bears(place, made).await? {
            Self::told(said?, Call::Destroy)?;
            return because(format!("{place} was removed, and is still there"));
        }
        Ok(())
    }

    /// Backs a guest up, and puts another backup in its place.
    pub(super) async fn overwrite(
        &self,
        step: StepId,
        guest: &str,
        incarnation: &Incarnation,
        replacement: &Replacement<'_>,
    ) -> Outcome {
        let Replacement {
            backup,
            made,
            volumes: shown,
        } = replacement;
        let api = self.releaser()?;
        self.look_again().await?;
        let found = self.listed(guest);
        let place = match &found {
            Some(found) => found.place.clone(),
            // Removed by an attempt that came no further: its backup was made before.
            None if A::NAME_IS_ID => Place {
                id: guest.to_owned(),
                kind: Kind::Container,
                node: self.settings.node.clone(),
                project: String::new(),
            },
            None => return because(format!("there is no guest {guest} any more")),
        };
        let storage = &self.settings.backup_storage;
        self.is_as_journaled(api, step, &place, (guest, backup))
            .await?;
        let mut own_storage = None;
        if found.is_none() {
            let label = self.label(step, guest, 0);
            if api.keep(&place, storage, &label).await?.is_none() {
                return because(format!("there is no guest {guest} any more"));
            }
        } else {
            let read = api.config(&place).await?;
            own_storage = super::aside::own_storage::<A>(&place, &read);
            if !read.tags.contains(&made.0) {
                let shown = Shown {
                    incarnation,
                    volumes: Some(shown),
                };
                self.is_as_shown(shown, &place, &read)?;
                let again = self.runs_again(api, step, &place, guest, None).await?;
                self.ask_to_shut_down(api, step, &place).await?;
                let label = self.label(step, guest, again);
                self.back_up(api, step, &place, shown, &label).await?;
                if A::NAME_IS_ID {
                    let gone = async || match self.everyday.config(&place).await {
                        Err(error) if error.is_gone() => Ok(true),
                        Err(error) => Err(error),
                        Ok(_) => Ok(false),
                    };
                    let deed = Deed {
                        api,
                        step,
                        place: &place,
                        call: Call::Destroy,
                        limit: self.settings.task,
                    };
                    let send = async || api.destroy(&place).await;
                    let is_it = |read: &Config| self.is_as_shown(shown, &place, read);
                    let progress = Box::pin(self.once_while(&deed, is_it, send, gone)).await?;
                    Self::told(progress, Call::Destroy)?;
                }
            }
        }
        let restore = Restore {
            place,
            backup: (*backup).to_owned(),
            storage: own_storage,
            pool: None,
            unique: false,
            replace: !A::NAME_IS_ID,
            tags: BTreeSet::from([made.0.clone()]),
        };
        self.put_in_place(api, step, &restore).await
    }

    async fn put_in_place(&self, api: &A, step: StepId, restore: &Restore) -> Outcome {
        let Restore { place, tags, .. } = restore;
        let there = async || match api.config(place).await {
            Ok(read) => Ok(A::NAME_IS_ID || read.tags.is_superset(tags)),
            Err(error) if error.is_gone() => Ok(false),
            Err(error) => Err(error),
        };
        if !there().await? {
            let deed = Deed {
                api,
                step,
                place,
                call: Call::Restore,
                limit: self.settings.task,
            };
            let send = async || api.restore(restore).await;
            let progress = Box::pin(self.once(&deed, send, there)).await?;
            Self::told(progress, Call::Restore)?;
        }
        let changes = Changes {
            tags: Some(tags.clone()),
            ..Changes::default()
        };
        let stands = |read: &Config| {
            if read.tags == *tags {
                Stands::Done
            } else {
                Stands::ToDo
            }
        };
        Box::pin(self.write_at(api, step, place, &changes, stands)).await
    }
}
