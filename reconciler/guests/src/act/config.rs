//! Writing configurations: what was read must still stand there, and nobody else's change is overwritten (H14).

use std::collections::BTreeSet;

use muster_core::guests::normal;
use muster_core::id::StepId;

use super::{Act, Deed, Outcome, because};
use crate::api::{Call, Changes, Config, GuestApi, Place};

/// How often a write is tried when others write at the same time.
const TRIES: u32 = 5;

/// How a value stands to the change that is asked for.
pub(super) enum Stands {
    /// It is as it is to be.
    Done,
    /// It is as it was.
    ToDo,
    /// Somebody has made it something else since.
    Else(String),
}

impl<A: GuestApi> Act<'_, A> {
    pub(super) async fn cores(
        &self,
        step: StepId,
        guest: &str,
        from: Option<u32>,
        to: u32,
    ) -> Outcome {
        let changes = Changes {
            cores: Some(to),
            ..Changes::default()
        };
        let stands = |read: &Config| stands(&read.cores, &from, &Some(to), "cores");
        self.write(step, guest, &changes, stands).await
    }

    pub(super) async fn memory(
        &self,
        step: StepId,
        guest: &str,
        from: Option<u64>,
        to: u64,
    ) -> Outcome {
        let changes = Changes {
            memory: Some(to),
            ..Changes::default()
        };
        let stands = |read: &Config| stands(&read.memory, &from, &Some(to), "MiB of memory");
        self.write(step, guest, &changes, stands).await
    }

    pub(super) async fn description(&self, step: StepId, guest: &str, to: &str) -> Outcome {
        let changes = Changes {
            description: Some(to.to_owned()),
            ..Changes::default()
        };
        let stands = |read: &Config| {
            if normal::description(&read.description) == to {
                Stands::Done
            } else {
                Stands::ToDo
            }
        };
        self.write(step, guest, &changes, stands).await
    }

    pub(super) async fn tags(
        &self,
        step: StepId,
        guest: &str,
        from: &BTreeSet<String>,
        to: &BTreeSet<String>,
    ) -> Outcome {
        let changes = Changes {
            tags: Some(to.clone()),
            ..Changes::default()
        };
        let stands = |read: &Config| {
            if read.tags == *to {
                Stands::Done
            } else if read.tags == *from {
                Stands::ToDo
            } else {
                Stands::Else(format!("it has other tags now: {:?}", read.tags))
            }
        };
        self.write(step, guest, &changes, stands).await
    }

    pub(super) async fn onboot(&self, step: StepId, guest: &str, to: bool) -> Outcome {
        let changes = Changes {
            onboot: Some(to),
            ..Changes::default()
        };
        let stands = |read: &Config| {
            if read.onboot == to {
                Stands::Done
            } else {
                Stands::ToDo
            }
        };
        self.write(step, guest, &changes, stands).await
    }

    async fn write(
        &self,
        step: StepId,
        guest: &str,
        changes: &Changes,
        stands: impl Fn(&Config) -> Stands,
    ) -> Outcome {
        let place = self.present(guest)?.place;
        Box::pin(self.write_at(self.everyday, step, &place, changes, stands)).await
    }

    /// Writes a change: reads, compares our own keys, and writes with what was read; when another came between, all of it again.
    pub(super) async fn write_at(
        &self,
        api: &A,
        step: StepId,
        place: &Place,
        changes: &Changes,
        stands: impl Fn(&Config) -> Stands,
    ) -> Outcome {
        let mut moved = false;
        let mut place = place.clone();
        for _ in 0..TRIES {
            let read = match api.config(&place).await {
                Ok(read) => read,
                // On another node by now: one look, and never a creation (GB3).
                Err(error) if error.is_gone() && !moved => {
                    moved = true;
                    self.look_again().await?;
                    place = self.present(&place.id)?.place;
                    continue;
                }
                Err(error) => return Err(error.into()),
            };
            match stands(&read) {
                Stands::Done => return Ok(()),
                Stands::ToDo => {}
                Stands::Else(why) => {
                    return because(format!(
                        "somebody has changed {place} since the plan was made: {why}"
                    ));
                }
            }
            if let Some(lock) = &read.lock {
                return because(format!(
                    "{place} is locked ({lock}); it is tried again when that is over"
                ));
            }
            let deed = Deed {
                api,
                step,
                place: &place,
                call: Call::Configure,
                limit: self.settings.task,
            };
            let conflict = std::cell::Cell::new(false);
            let send = async || {
                let sent = api.set_config(&place, changes, &read).await;
                conflict.set(sent.as_ref().is_err_and(crate::Error::is_conflict));
                sent
            };
            let reached = async || Ok(matches!(stands(&api.config(&place).await?), Stands::Done));
            let written = Box::pin(self.once(&deed, send, reached)).await;
            if conflict.get() {
                continue;
            }
            return Self::told(written?, Call::Configure);
        }
        because(format!(
            "others write the configuration of {place} all the time; it is tried again"
        ))
    }
}

fn stands<T: PartialEq + std::fmt::Display>(
    now: &Option<T>,
    from: &Option<T>,
    to: &Option<T>,
    what: &str,
) -> Stands {
    if now == to {
        Stands::Done
    } else if now == from {
        Stands::ToDo
    } else {
        Stands::Else(match now {
            Some(now) => format!("it has {now} {what}"),
            None => format!("it has no bound on {what}"),
        })
    }
}
