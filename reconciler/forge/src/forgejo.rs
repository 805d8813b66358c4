//! Forgejo and Gitea: a token, and a narrow client on the same wire.

use std::sync::Arc;

use bytes::Bytes;
use http::header::{ACCEPT, AUTHORIZATION, CONTENT_TYPE};
use http::{HeaderValue, Request, Response, StatusCode};
use muster_core::forge::ForgeError;

use crate::answers::User;
use crate::clock::Clock;
use crate::dialect::Repository;
pub use crate::github::ConnectError;
use crate::github::{executor, token};
use crate::line::{Around, Ask, Author, Line, Shared, judge, no_answer};
use crate::read::Reader;
use crate::secret::{Secret, SecretFile, Used};
use crate::wire::{Base, Limits, Wire, WireError};
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
        token: file,
        limits,
    } = settings;
    let voice = Voice {
        token: token(&file)?,
        file,
        wire: Wire::new(base.clone(), limits)?,
        used: Used::default(),
    };
    let about = format!("{base} {repository}");
    let voice = crate::line::Voice::Forgejo(Box::new(voice));
    let line = Shared::new(Line::new(executor()?, clock, repository, voice, about));
    Ok((Reader::new(line.clone()), Writer::new(line)))
}

/// Speaks to Forgejo or Gitea.
pub(crate) struct Voice {
    wire: Wire,
    file: SecretFile,
    token: Secret,
    used: Used,
}

const JSON: HeaderValue = HeaderValue::from_static("application/json");

impl Voice {
    /// Sends, and once more where the token is no longer accepted and there is a newer one: what is refused for its credentials
    /// was not done.
    pub(crate) fn speak(
        &mut self,
        around: &Around<'_>,
        ask: &Ask<'_>,
    ) -> Result<Response<Bytes>, ForgeError> {
        self.used.remember(&self.token);
        let answer = self.send(around, ask)?;
        if answer.status() == StatusCode::UNAUTHORIZED
            && let Ok(new) = token(&self.file)
            && new.expose() != self.token.expose()
        {
            self.token = new;
            self.used.remember(&self.token);
            return self.send(around, ask);
        }
        Ok(answer)
    }

    fn send(&self, around: &Around<'_>, ask: &Ask<'_>) -> Result<Response<Bytes>, ForgeError> {
        let failed = |error: WireError| no_answer(ask.what(), &error);
        let token = self.token.as_token().unwrap_or_default();
        let mut authorization = HeaderValue::from_str(&format!("token {token}"))
            .map_err(|error| failed(WireError::Request(error.into())))?;
        authorization.set_sensitive(true);
        let mut request = Request::builder()
            .method(ask.method.clone())
            .uri(ask.route)
            .header(ACCEPT, JSON)
            .header(AUTHORIZATION, authorization);
        for (name, value) in &ask.headers() {
            request = request.header(name, value);
        }
        let body = match ask.body {
            Some(body) => {
                request = request.header(CONTENT_TYPE, JSON);
                Bytes::from(body.to_string())
            }
            None => Bytes::new(),
        };
        let request = request
            .body(body)
            .map_err(|error| failed(WireError::Request(error)))?;
        around
            .runtime
            .block_on(self.wire.send(request))
            .map_err(failed)
    }

    /// The user whose token it is.
    pub(crate) fn whoami(&mut self, around: &Around<'_>) -> Result<Author, ForgeError> {
        let ask = Ask::get("/user");
        let answer = self.speak(around, &ask)?;
        judge(&ask.what(), &answer, around.clock)?;
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
                what: ask.what(),
                why: "it does not say who we are".into(),
            }),
        }
    }

    /// `text` without the token.
    pub(crate) fn hide(&self, text: String) -> String {
        self.used.hide(text)
    }
}
