//! GitHub, on github.com or Enterprise, as an app or as a user.

use std::sync::Arc;

use crate::client::AnyClient;
use crate::client::github::Client;
pub use crate::client::{ConnectError, github::Identity};
use crate::clock::Clock;
use crate::connect::{conversation, runtime};
use crate::dialect::Repository;
use crate::read::Reader;
use crate::wire::{Base, Limits};
use crate::write::Writer;

/// What to speak to, and as whom.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settings {
    /// `https://api.github.com`, or `https://HOST/api/v3` of an Enterprise server.
    pub base: Base,
    /// The state repository.
    pub repository: Repository,
    /// Who we are.
    pub identity: Identity,
    /// How long it may take.
    pub limits: Limits,
}

/// Prepares a conversation; nothing is sent yet.
///
/// # Errors
/// When the secret cannot be read and used, or the machine's certificates cannot be.
pub fn connect(
    settings: Settings,
    clock: Arc<dyn Clock>,
) -> Result<(Reader, Writer), ConnectError> {
    let Settings {
        base,
        repository,
        identity,
        limits,
    } = settings;
    let runtime = runtime()?;
    let client = Client::new(base.clone(), limits, identity, &runtime)?;
    let about = format!("{base} {repository}");
    let client = AnyClient::GitHub(Box::new(client));
    Ok(conversation(runtime, clock, repository, client, about))
}
