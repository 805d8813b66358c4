//! What [`github::connect`](crate::github::connect) and [`forgejo::connect`](crate::forgejo::connect) have in common.

use std::sync::Arc;

use tokio::runtime::Runtime;

use crate::client::{AnyClient, ConnectError};
use crate::clock::Clock;
use crate::conversation::{Conversation, SharedConversation};
use crate::dialect::Repository;
use crate::read::Reader;
use crate::write::Writer;

/// An async runtime on one thread, which runs only while somebody waits for an answer.
pub(crate) fn runtime() -> Result<Runtime, ConnectError> {
    tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(ConnectError::Runtime)
}

/// A reader and a writer that share one conversation. `about` names the forge and the repository, for the cache.
pub(crate) fn conversation(
    runtime: Runtime,
    clock: Arc<dyn Clock>,
    repository: Repository,
    client: AnyClient,
    about: String,
) -> (Reader, Writer) {
    let conversation = Conversation::new(runtime, clock, repository, client, about);
    let conversation = SharedConversation::new(conversation);
    (Reader::new(conversation.clone()), Writer::new(conversation))
}
