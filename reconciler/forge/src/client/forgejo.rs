//! Forgejo's and Gitea's side of a conversation: a token, and a narrow client on the same wire.

use bytes::Bytes;
use http::header::{ACCEPT, AUTHORIZATION, CONTENT_TYPE};
use http::{HeaderValue, Request, Response, StatusCode};
use muster_core::forge::ForgeError;

use super::{ConnectError, read_token};
use crate::answers::User;
use crate::request::{ApiRequest, Author, Context};
use crate::secret::{RecentSecrets, Secret, SecretFile};
use crate::status::{check_status, wire_failed};
use crate::wire::{Base, Limits, Wire, WireError};

/// Sends requests to Forgejo or Gitea.
pub(crate) struct Client {
    wire: Wire,
    file: SecretFile,
    token: Secret,
    used: RecentSecrets,
}

const JSON: HeaderValue = HeaderValue::from_static("application/json");

impl Client {
    pub(crate) fn new(base: Base, limits: Limits, file: SecretFile) -> Result<Self, ConnectError> {
        Ok(Self {
            token: read_token(&file)?,
            file,
            wire: Wire::new(base, limits)?,
            used: RecentSecrets::default(),
        })
    }

    /// Sends a request, and once more if the forge refused our token and its file holds a newer one. That is safe: a request
    /// that was refused for its credentials had no effect.
    pub(crate) fn send(
        &mut self,
        context: &Context<'_>,
        request: &ApiRequest<'_>,
    ) -> Result<Response<Bytes>, ForgeError> {
        self.used.remember(&self.token);
        let answer = self.send_once(context, request)?;
        if answer.status() == StatusCode::UNAUTHORIZED
            && let Ok(new) = read_token(&self.file)
            && new.expose() != self.token.expose()
        {
            self.token = new;
            self.used.remember(&self.token);
            return self.send_once(context, request);
        }
        Ok(answer)
    }

    fn send_once(
        &self,
        context: &Context<'_>,
        request: &ApiRequest<'_>,
    ) -> Result<Response<Bytes>, ForgeError> {
        let failed = |error: WireError| wire_failed(request.what(), &error);
        let token = self.token.as_token().unwrap_or_default();
        let mut authorization = HeaderValue::from_str(&format!("token {token}"))
            .map_err(|error| failed(WireError::Request(error.into())))?;
        authorization.set_sensitive(true);
        let mut builder = Request::builder()
            .method(request.method.clone())
            .uri(request.route)
            .header(ACCEPT, JSON)
            .header(AUTHORIZATION, authorization);
        for (name, value) in &request.headers() {
            builder = builder.header(name, value);
        }
        let body = match request.body {
            Some(body) => {
                builder = builder.header(CONTENT_TYPE, JSON);
                Bytes::from(body.to_string())
            }
            None => Bytes::new(),
        };
        let built = builder
            .body(body)
            .map_err(|error| failed(WireError::Request(error)))?;
        context
            .runtime
            .block_on(self.wire.send(built))
            .map_err(failed)
    }

    /// The user whose token it is.
    pub(crate) fn own_user(&mut self, context: &Context<'_>) -> Result<Author, ForgeError> {
        let request = ApiRequest::get("/user");
        let answer = self.send(context, &request)?;
        check_status(&request.what(), &answer, context.clock)?;
        match serde_json::from_slice::<User>(answer.body()) {
            Ok(User {
                id: Some(id),
                login: Some(login),
                ..
            }) => Ok(Author {
                id: Some(id),
                login,
            }),
            _ => Err(ForgeError::Garbled {
                what: request.what(),
                why: "it does not say who we are".into(),
            }),
        }
    }

    /// `text` without the token.
    pub(crate) fn redact(&self, text: String) -> String {
        self.used.redact(text)
    }
}
