//! How requests are authenticated and sent: a client for each kind of forge.

use bytes::Bytes;
use http::Response;
use muster_core::forge::ForgeError;

use crate::dialect::Dialect;
use crate::request::{ApiRequest, Author, Context};
use crate::secret::{Secret, SecretError, SecretFile};
use crate::wire::WireError;

pub(crate) mod forgejo;
pub(crate) mod github;

/// Why no conversation with a forge can begin.
#[derive(Debug, thiserror::Error)]
pub enum ConnectError {
    /// The secret cannot be used.
    #[error(transparent)]
    Secret(#[from] SecretError),
    /// No connection can be prepared.
    #[error(transparent)]
    Wire(#[from] WireError),
    /// The machine gave no async runtime.
    #[error("no async runtime can be started")]
    Runtime(#[source] std::io::Error),
}

/// A token out of its file.
fn read_token(file: &SecretFile) -> Result<Secret, SecretError> {
    let token = file.read()?;
    if token.as_token().is_none() {
        return Err(SecretError::Unusable {
            path: file.path().to_owned(),
            problem: "a token is one word of printable characters",
        });
    }
    Ok(token)
}

/// The client of one forge.
pub(crate) enum AnyClient {
    GitHub(Box<github::Client>),
    Forgejo(Box<forgejo::Client>),
}

impl AnyClient {
    pub(crate) fn dialect(&self) -> Dialect {
        match self {
            Self::GitHub(_) => Dialect::GitHub,
            Self::Forgejo(_) => Dialect::Forgejo,
        }
    }

    /// Sends a request to the forge's REST API.
    pub(crate) fn send(
        &mut self,
        context: &Context<'_>,
        request: &ApiRequest<'_>,
    ) -> Result<Response<Bytes>, ForgeError> {
        match self {
            Self::GitHub(client) => client.send(context, request),
            Self::Forgejo(client) => client.send(context, request),
        }
    }

    /// Sends a request to GitHub's GraphQL API; other forges have none.
    pub(crate) fn graphql(
        &mut self,
        context: &Context<'_>,
        request: &ApiRequest<'_>,
    ) -> Result<Response<Bytes>, ForgeError> {
        match self {
            Self::GitHub(client) => client.graphql(context, request),
            Self::Forgejo(_) => Err(ForgeError::NotThere {
                what: request.what(),
            }),
        }
    }

    /// The user that the forge knows us as.
    pub(crate) fn own_user(&mut self, context: &Context<'_>) -> Result<Author, ForgeError> {
        match self {
            Self::GitHub(client) => client.own_user(context),
            Self::Forgejo(client) => client.own_user(context),
        }
    }

    /// The number of the app that we are, if we are one: only an app has check runs.
    pub(crate) fn app(&self) -> Option<u64> {
        match self {
            Self::GitHub(client) => client.app(),
            Self::Forgejo(_) => None,
        }
    }

    /// `text` without our secrets.
    pub(crate) fn redact(&self, text: String) -> String {
        match self {
            Self::GitHub(client) => client.redact(text),
            Self::Forgejo(client) => client.redact(text),
        }
    }
}
