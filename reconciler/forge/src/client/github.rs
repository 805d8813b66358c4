//! GitHub's side of a conversation: an app's tokens and their renewal, and octocrab over our own wire.

use std::time::Duration;

use bytes::Bytes;
use http::header::ACCEPT;
use http::{HeaderName, HeaderValue, Method, Response, StatusCode};
use http_body_util::BodyExt;
use muster_core::forge::ForgeError;
use octocrab::{AuthState, Octocrab, OctocrabBuilder};
use serde::de::DeserializeOwned;
use serde_json::json;
use tokio::runtime::Runtime;

use super::{ConnectError, read_token};
use crate::answers::{App, Installation, InstallationToken, User, moment};
use crate::dialect::encode;
use crate::jwt::AppKey;
use crate::request::{ApiRequest, Author, Context};
use crate::secret::{RecentSecrets, Secret, SecretError, SecretFile};
use crate::status::{check_status, server_time, wire_failed};
use crate::wire::{Base, Limits, Transport, Wire, WireError};

/// Who we are on GitHub.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Identity {
    /// An app. Only an app has check runs.
    App {
        /// Its number, as its settings page shows it.
        app: u64,
        /// Which installation of it; asked of GitHub where it is not given.
        installation: Option<u64>,
        /// Its private key, as GitHub gave it out.
        key: SecretFile,
    },
    /// A user, by a token.
    Token(SecretFile),
}

/// octocrab without a client, retries, redirects or caches of its own.
fn octocrab(wire: Wire) -> Octocrab {
    let built = OctocrabBuilder::new_empty()
        .with_service(Transport(wire))
        .with_auth(AuthState::None)
        .build();
    match built {
        Ok(crab) => crab,
        Err(never) => match never {},
    }
}

/// A token is renewed this long before it expires.
const BEFORE_THE_END: Duration = Duration::from_secs(300);

/// A clock difference above this many seconds is corrected: a forge refuses the tokens of an app whose clock is wrong.
const SKEW: i64 = 20;

enum Credentials {
    Token {
        file: SecretFile,
        token: Secret,
    },
    App {
        app: u64,
        installation: Option<u64>,
        file: SecretFile,
        pem: Secret,
        key: Box<AppKey>,
        /// How far the forge's clock is ahead of ours, in seconds.
        ahead: i64,
        token: Option<(Secret, Duration)>,
    },
}

impl Credentials {
    fn read(identity: Identity) -> Result<Self, SecretError> {
        match identity {
            Identity::Token(file) => {
                let token = read_token(&file)?;
                Ok(Self::Token { file, token })
            }
            Identity::App {
                app,
                installation,
                key: file,
            } => {
                let (pem, key) = app_key(&file)?;
                Ok(Self::App {
                    app,
                    installation,
                    file,
                    pem,
                    key: Box::new(key),
                    ahead: 0,
                    token: None,
                })
            }
        }
    }
}

fn app_key(file: &SecretFile) -> Result<(Secret, AppKey), SecretError> {
    let pem = file.read()?;
    match AppKey::read(&pem) {
        Ok(key) => Ok((pem, key)),
        Err(problem) => Err(SecretError::Unusable {
            path: file.path().to_owned(),
            problem,
        }),
    }
}

/// Sends requests to GitHub, by octocrab over our own wire.
pub(crate) struct Client {
    crab: Octocrab,
    graphql: Octocrab,
    credentials: Credentials,
    /// A forge may repeat a secret in its answers, also after it has ended.
    used: RecentSecrets,
}

impl Client {
    pub(crate) fn new(
        base: Base,
        limits: Limits,
        identity: Identity,
        runtime: &Runtime,
    ) -> Result<Self, ConnectError> {
        let credentials = Credentials::read(identity)?;
        let graphql = match base.path().strip_suffix("/api/v3") {
            Some(before) => format!("{before}/api"),
            None => base.path().to_owned(),
        };
        let wire = Wire::new(base, limits)?;
        // octocrab starts a task of its own.
        let _entered = runtime.enter();
        Ok(Self {
            graphql: octocrab(wire.with_path(&graphql)),
            crab: octocrab(wire),
            credentials,
            used: RecentSecrets::default(),
        })
    }

    /// Whether we are an app: only an app has check runs.
    pub(crate) fn app(&self) -> Option<u64> {
        match self.credentials {
            Credentials::App { app, .. } => Some(app),
            Credentials::Token { .. } => None,
        }
    }

    pub(crate) fn send(
        &mut self,
        context: &Context<'_>,
        request: &ApiRequest<'_>,
    ) -> Result<Response<Bytes>, ForgeError> {
        self.with_renewal(context, request, |client| client.crab.clone())
    }

    pub(crate) fn graphql(
        &mut self,
        context: &Context<'_>,
        request: &ApiRequest<'_>,
    ) -> Result<Response<Bytes>, ForgeError> {
        let request = ApiRequest {
            method: request.method.clone(),
            route: "/graphql",
            etag: None,
            body: request.body,
        };
        self.with_renewal(context, &request, |client| client.graphql.clone())
    }

    /// Sends a request, and once more with new credentials if the forge refused ours and there are newer ones. That is
    /// safe: a request that was refused for its credentials had no effect.
    fn with_renewal(
        &mut self,
        context: &Context<'_>,
        request: &ApiRequest<'_>,
        crab: impl Fn(&Self) -> Octocrab,
    ) -> Result<Response<Bytes>, ForgeError> {
        let token = self.token(context)?;
        let answer = send(context, &crab(self), &token, request)?;
        if answer.status() != StatusCode::UNAUTHORIZED || !self.renew(&token) {
            return Ok(answer);
        }
        let token = self.token(context)?;
        send(context, &crab(self), &token, request)
    }

    /// What authenticates the next request.
    fn token(&mut self, context: &Context<'_>) -> Result<Secret, ForgeError> {
        let token = self.valid_token(context)?;
        self.used.remember(&token);
        Ok(token)
    }

    fn valid_token(&mut self, context: &Context<'_>) -> Result<Secret, ForgeError> {
        match &mut self.credentials {
            Credentials::Token { token, .. } => Ok(token.clone()),
            Credentials::App { token, .. } => {
                let now = context.clock.steady();
                if let Some((token, until)) = token
                    && now < *until
                {
                    return Ok(token.clone());
                }
                self.ask_for_a_token(context)
            }
        }
    }

    /// Whether there are newer credentials than the refused ones; they are used from now on.
    fn renew(&mut self, refused: &Secret) -> bool {
        match &mut self.credentials {
            Credentials::Token { file, token: old } => match read_token(file) {
                Ok(new) if new.expose() != refused.expose() => {
                    *old = new;
                    true
                }
                _ => false,
            },
            Credentials::App { token, .. } => {
                *token = None;
                true
            }
        }
    }

    /// A token of the installation, for this one repository.
    fn ask_for_a_token(&mut self, context: &Context<'_>) -> Result<Secret, ForgeError> {
        let known = match self.credentials {
            Credentials::App { installation, .. } => installation,
            Credentials::Token { .. } => None,
        };
        let installation = match known {
            Some(known) => known,
            None => {
                let route = context.repository.route("/installation");
                let found: Installation = self.as_app(context, &ApiRequest::get(&route))?.1;
                found.id
            }
        };
        let body = json!({"repositories": [context.repository.name()]});
        let request = ApiRequest {
            method: Method::POST,
            route: &format!("/app/installations/{installation}/access_tokens"),
            etag: None,
            body: Some(&body),
        };
        let (answer, given): (_, InstallationToken) = self.as_app(context, &request)?;
        let secret = Secret::new(given.token.into_bytes());
        if secret.as_token().is_none() {
            return Err(ForgeError::Garbled {
                what: request.what(),
                why: "the token is no word of printable characters".into(),
            });
        }
        let there = server_time(answer.headers()).unwrap_or_else(|| context.clock.now());
        let lasts = given.expires_at.as_deref().and_then(moment);
        // An hour, as long as GitHub has ever given one, where it does not say.
        let lasts = lasts.map_or(3_600, |until| until.0 - there.0);
        let lasts = Duration::from_secs(u64::try_from(lasts).unwrap_or(0));
        let until = context.clock.steady() + lasts.saturating_sub(BEFORE_THE_END);
        if let Credentials::App {
            token,
            installation: remembered,
            ..
        } = &mut self.credentials
        {
            *token = Some((secret.clone(), until));
            *remembered = Some(installation);
        }
        Ok(secret)
    }

    /// Sends a request as the app itself. After a refusal it is sent once more if a cause was found and corrected: a wrong
    /// clock, or a new key.
    fn as_app<T: DeserializeOwned>(
        &mut self,
        context: &Context<'_>,
        request: &ApiRequest<'_>,
    ) -> Result<(Response<Bytes>, T), ForgeError> {
        let jwt = self.sign(context, request)?;
        let mut answer = send(context, &self.crab, &jwt, request)?;
        if answer.status() == StatusCode::UNAUTHORIZED && self.put_right(context, &answer) {
            let jwt = self.sign(context, request)?;
            answer = send(context, &self.crab, &jwt, request)?;
        }
        check_status(&request.what(), &answer, context.clock)?;
        match serde_json::from_slice(answer.body()) {
            Ok(value) => Ok((answer, value)),
            // What is in the answer may be a token: nothing of it is repeated.
            Err(_) => Err(ForgeError::Garbled {
                what: request.what(),
                why: "it is not what an app is answered".into(),
            }),
        }
    }

    fn sign(
        &mut self,
        context: &Context<'_>,
        request: &ApiRequest<'_>,
    ) -> Result<Secret, ForgeError> {
        let Credentials::App {
            app, key, ahead, ..
        } = &self.credentials
        else {
            return Err(ForgeError::Denied {
                what: request.what(),
                why: "only an app can ask this".into(),
            });
        };
        let signed = key
            .sign(*app, context.clock.now().plus(*ahead))
            .map_err(|why| ForgeError::NoAnswer {
                what: request.what(),
                why: why.into(),
            })?;
        self.used.remember(&signed);
        Ok(signed)
    }

    /// Corrects the clock difference and reads the key again; whether either changed.
    fn put_right(&mut self, context: &Context<'_>, answer: &Response<Bytes>) -> bool {
        let Credentials::App {
            file,
            pem,
            key,
            ahead,
            ..
        } = &mut self.credentials
        else {
            return false;
        };
        let mut changed = false;
        if let Some(there) = server_time(answer.headers()) {
            let now = there.0.saturating_sub(context.clock.now().0);
            if (now - *ahead).abs() > SKEW {
                tracing::warn!(
                    seconds = now,
                    "The forge's clock is ahead of ours by this much; its own is used to sign in."
                );
                *ahead = now;
                changed = true;
            }
        }
        if let Ok((new_pem, new_key)) = app_key(file)
            && new_pem.expose() != pem.expose()
        {
            *pem = new_pem;
            **key = new_key;
            changed = true;
        }
        changed
    }

    /// An app is a user of its own, with a number; a token is of some user.
    pub(crate) fn own_user(&mut self, context: &Context<'_>) -> Result<Author, ForgeError> {
        let (route, login) = match self.credentials {
            Credentials::Token { .. } => ("/user".to_owned(), None),
            Credentials::App { .. } => {
                let app: App = self.as_app(context, &ApiRequest::get("/app"))?.1;
                let login = format!("{}[bot]", app.slug);
                (format!("/users/{}", encode(&login)), Some(login))
            }
        };
        let request = ApiRequest::get(&route);
        let answer = self.send(context, &request)?;
        match (check_status(&request.what(), &answer, context.clock), login) {
            // An app that has never said anything may have no number yet.
            (Err(ForgeError::NotThere { .. }), Some(login)) => Ok(Author { id: None, login }),
            (Err(error), _) => Err(error),
            (Ok(()), login) => {
                let user = serde_json::from_slice::<User>(answer.body()).ok();
                let id = user.as_ref().and_then(|it| it.id);
                let login = login.or_else(|| user.and_then(|it| it.login));
                match (id, login) {
                    (Some(id), Some(login)) => Ok(Author {
                        id: Some(id),
                        login,
                    }),
                    _ => Err(ForgeError::Garbled {
                        what: request.what(),
                        why: "it does not say who we are".into(),
                    }),
                }
            }
        }
    }

    /// `text` without any secret of ours.
    pub(crate) fn redact(&self, text: String) -> String {
        self.used.redact(text)
    }
}

const MEDIA: HeaderValue = HeaderValue::from_static("application/vnd.github+json");
const VERSION: (HeaderName, HeaderValue) = (
    HeaderName::from_static("x-github-api-version"),
    HeaderValue::from_static("2022-11-28"),
);

/// Sends one request with one credential.
fn send(
    context: &Context<'_>,
    crab: &Octocrab,
    bearer: &Secret,
    request: &ApiRequest<'_>,
) -> Result<Response<Bytes>, ForgeError> {
    let failed = |error: octocrab::Error| broken(request, error);
    let bearer = bearer.as_token().unwrap_or_default().to_owned();
    let crab = crab.user_access_token(bearer).map_err(failed)?;
    let mut builder = http::request::Builder::new()
        .method(request.method.clone())
        .uri(request.route)
        .header(ACCEPT, MEDIA)
        .header(VERSION.0, VERSION.1);
    for (name, value) in &request.headers() {
        builder = builder.header(name, value);
    }
    let built = crab.build_request(builder, request.body).map_err(failed)?;
    context.runtime.block_on(async {
        let (parts, body) = crab.execute(built).await.map_err(failed)?.into_parts();
        let body = body.collect().await.map_err(failed)?.to_bytes();
        Ok(Response::from_parts(parts, body))
    })
}

/// Why octocrab gave no answer: almost always our own wire's reason.
fn broken(request: &ApiRequest<'_>, error: octocrab::Error) -> ForgeError {
    let text = error.to_string();
    if let octocrab::Error::Service { source, .. } = error {
        return match source.downcast::<WireError>() {
            Ok(wire) => wire_failed(request.what(), &wire),
            Err(other) => wire_failed(request.what(), &WireError::Broken(other.to_string())),
        };
    }
    wire_failed(request.what(), &WireError::Broken(text))
}
