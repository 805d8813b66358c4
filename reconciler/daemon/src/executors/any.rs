//! What an executor of any kind keeps, for commands that read it once.

use muster_core::gate::Intent;
use muster_core::rooms::{Observed, Question};
use muster_core::world::{Complaints, Recorder, World};
use muster_guests::GuestsError;
use muster_host::{Host, HostError};

use super::guests::Hypervisor;

/// What any executor of this machine keeps, for whoever reads it once.
pub enum AnyWorld {
    /// A machine's accounts.
    Host(Box<Host>),
    /// A hypervisor's guests.
    Guests(Box<Hypervisor>),
}

/// Why what is kept did not answer.
#[derive(Debug, thiserror::Error)]
pub enum AnyWorldError {
    /// The machine.
    #[error(transparent)]
    Host(#[from] HostError),
    /// The hypervisor.
    #[error(transparent)]
    Guests(#[from] GuestsError),
}

impl World for AnyWorld {
    type Error = AnyWorldError;

    fn observe(&mut self, question: &Question<'_>) -> Result<Observed, AnyWorldError> {
        Ok(match self {
            Self::Host(host) => host.observe(question)?,
            Self::Guests(guests) => guests.observe(question)?,
        })
    }

    fn act(
        &mut self,
        intent: &Intent,
        recorder: &mut dyn Recorder,
    ) -> Result<Complaints, AnyWorldError> {
        Ok(match self {
            Self::Host(host) => host.act(intent, recorder)?,
            Self::Guests(guests) => guests.act(intent, recorder)?,
        })
    }
}
