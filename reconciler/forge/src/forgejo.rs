//! Forgejo and Gitea, as a user with a token.

use std::sync::Arc;

use crate::client::AnyClient;
pub use crate::client::ConnectError;
use crate::client::forgejo::Client;
use crate::clock::Clock;
use crate::connect::{conversation, runtime};
use crate::dialect::Repository;
use crate::read::Reader;
use crate::secret::SecretFile;
use crate::wire::{Base, Limits};
use crate::write::Writer;

/// What to speak to, and as whom.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settings {
    /// `https://HOST/api/v1`.
    pub base: Base,
    /// The state repository.
    pub repository: Repository,
    /// An access token of the bot's own user, with the scopes `read:user`, `write:repository` and `write:issue`.
    pub token: SecretFile,
    /// How long it may take.
    pub limits: Limits,
}

/// Prepares a conversation; nothing is sent yet.
///
/// # Errors
/// When the token cannot be read, or the machine's certificates cannot be.
pub fn connect(
    settings: Settings,
    clock: Arc<dyn Clock>,
) -> Result<(Reader, Writer), ConnectError> {
    let Settings {
        base,
        repository,
        token,
        limits,
    } = settings;
    let runtime = runtime()?;
    let client = Client::new(base.clone(), limits, token)?;
    let about = format!("{base} {repository}");
    let client = AnyClient::Forgejo(Box::new(client));
    Ok(conversation(runtime, clock, repository, client, about))
}
