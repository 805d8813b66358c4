//! Starting and stopping. What a task says is no evidence; what the guest shows is (GB2).

use std::time::Duration;

use muster_core::guests::mark::Mark;
use muster_core::id::StepId;

use super::{Act, Deed, Halt, Outcome, because};
use crate::api::{Call, GuestApi, Listed, Place, Power, Progress};

/// What the server takes longer than it was given.
const SLACK: Duration = Duration::from_secs(30);

/// What there is to do about a guest that does not shut down.
const UNHEEDED: &str = "it is asked again; look why it does not heed that, or stop it by hand, or have muster end such a guest as if its power \
                        were cut, by `force_stop = true` in the settings";

impl<A: GuestApi> Act<'_, A> {
    pub(super) async fn start(&self, step: StepId, guest: &str) -> Outcome {
        let listed = self.present(guest)?;
        refuse_template(&listed)?;
        let api = self.everyday;
        self.power(api, step, &listed.place, Call::Start).await
    }

    pub(super) async fn shutdown(&self, step: StepId, guest: &str) -> Outcome {
        let listed = self.present(guest)?;
        let api = self.everyday;
        self.ask_to_shut_down(api, step, &listed.place).await
    }

    /// Asks a guest to shut down; that it does not is marked.
    pub(super) async fn ask_to_shut_down(&self, api: &A, step: StepId, place: &Place) -> Outcome {
        let said = self.power(api, step, place, Call::Shutdown).await;
        if let Err(Halt::NotKept) = said {
            return said;
        }
        if api.status(place).await?.power == Power::Running {
            // One that high availability looks after was only asked for.
            if api.status(place).await?.ha.is_none() {
                self.mark(step, Mark::Unheeded {})?;
            }
            let why = match said {
                Err(Halt::NotKept) => return Err(Halt::NotKept),
                Err(Halt::Because(why)) => format!("{why}; {place} runs"),
                Ok(()) => format!("{place} was asked to shut down, and runs"),
            };
            return match self.settings.force_stop {
                true => because(why),
                false => because(format!("{why}; {UNHEEDED}")),
            };
        }
        Ok(())
    }

    pub(super) async fn stop(&self, step: StepId, guest: &str) -> Outcome {
        let listed = self.present(guest)?;
        let api = self.everyday;
        self.power(api, step, &listed.place, Call::Stop).await
    }

    /// Brings a guest to run or to stand still by one call of that kind, unless it does already.
    pub(super) async fn power(&self, api: &A, step: StepId, place: &Place, call: Call) -> Outcome {
        let wanted = match call {
            Call::Start => Power::Running,
            Call::Shutdown
            | Call::Stop
            | Call::Configure
            | Call::Create
            | Call::Restore
            | Call::Backup
            | Call::Destroy
            | Call::Other => Power::Stopped,
        };
        let now = api.status(place).await?;
        if now.power == wanted {
            return Ok(());
        }
        // It may hold for long, and whoever set it lifts it.
        if let Some(lock) = &now.lock {
            return because(format!(
                "{place} is locked ({lock}); it is tried again when that is over"
            ));
        }
        let patience = self.settings.shutdown;
        let limit = match call {
            Call::Shutdown => patience + SLACK,
            _ => self.settings.task,
        };
        let deed = Deed {
            api,
            step,
            place,
            call,
            limit,
        };
        let send = async || match call {
            Call::Start => api.start(place).await,
            Call::Shutdown => api.shutdown(place, patience, false).await,
            _ => api.stop(place).await,
        };
        let reached = async || Ok(api.status(place).await?.power == wanted);
        let progress = Box::pin(self.once(&deed, send, reached)).await?;
        if now.ha.is_some() && matches!(progress, Progress::Done(_)) {
            return self.until_shown(api, place, &wanted, limit).await;
        }
        Self::told(progress, call)
    }

    /// High availability only took note; it acts when it comes to it (GB2).
    async fn until_shown(
        &self,
        api: &A,
        place: &Place,
        wanted: &Power,
        limit: Duration,
    ) -> Outcome {
        let begun = tokio::time::Instant::now();
        while api.status(place).await?.power != *wanted {
            if begun.elapsed() >= limit {
                return because(format!(
                    "the high availability manager was asked, and {place} does not show it yet"
                ));
            }
            tokio::time::sleep(self.settings.look).await;
        }
        Ok(())
    }
}

fn refuse_template(listed: &Listed) -> Outcome {
    if listed.template {
        return because(format!("{} is a template, which cannot run", listed.place));
    }
    Ok(())
}
