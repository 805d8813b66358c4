//! The one HTTP server: the forge pokes it, and somebody asks whether it lives.
//!
//! **Invariant:** whoever is not known learns nothing but a status: no answer has a body, a version or a name in it, and refusals
//! are all the same. Whoever is known, by a signature over the bytes as they came, can have a look made a little earlier.
//!
//! A request is held against time and size from its first byte on: handshake, headers and body have their time each, and where too
//! many connections are open, the oldest of them goes. There is no HTTP/2.

mod fresh;
mod serve;

use std::collections::BTreeMap;
use std::io;
use std::net::{SocketAddr, TcpListener};
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use axum::Router;
use axum::body::Body;
use axum::extract::{Request, State};
use axum::routing::{get, post};
use bytes::Bytes;
use http::StatusCode;
use http::header::CONTENT_LENGTH;
use http_body_util::{BodyExt as _, LengthLimitError, Limited};
use muster_forge::Repository;
use muster_forge::secret::SecretError;
use muster_forge::webhook::{
    Deliveries, EmptySecret, Heard, Heed, LARGEST, Poke, Refused, Repositories, Sender, WebhookKey,
    hear,
};
use rustls::ServerConfig;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};

use crate::bot::Hints;
use crate::daemon::{Knock, Pulse};
use crate::settings::{ForgeSettings, HttpSettings, TlsFiles};
use fresh::Fresh;

/// Why nobody can be served.
#[derive(Debug, thiserror::Error)]
pub enum HttpError {
    /// There is a forge, and nothing that its deliveries could be checked with.
    #[error(
        "there is no webhook secret, so that anybody could knock: set [http] webhook_secret in the settings"
    )]
    NoSecret,
    /// What deliveries are checked with.
    #[error("the webhook's secret cannot be used")]
    Secret(#[source] SecretError),
    /// The same, with nothing in it.
    #[error(transparent)]
    EmptySecret(#[from] EmptySecret),
    /// The certificate or its key.
    #[error("the certificate in {} cannot be used: {why}", path.display())]
    Certificate {
        /// The certificate's file.
        path: PathBuf,
        /// What is wrong with it or its key.
        why: String,
    },
    /// The address.
    #[error("nobody can be heard at {address}")]
    Listen {
        /// Where.
        address: SocketAddr,
        /// What the system said.
        source: io::Error,
    },
}

/// Who is told that the forge says something has moved.
#[derive(Clone, Debug, Default)]
pub struct Doors {
    /// The bot: of everything, and where to look first.
    pub bot: Option<(Knock, Hints)>,
    /// The agent: of the branch that it follows, which is named here, and of tags.
    pub agent: Option<(Knock, String)>,
    /// Where hosts push their ledgers, where that is on a forge: the bot hears of it.
    pub ledger: Option<Repository>,
}

impl Doors {
    fn pass_on(&self, poke: Poke) {
        let Self {
            bot,
            agent,
            ledger: _,
        } = self;
        if let (Some((knock, branch)), Poke::Ref(name)) = (agent, &poke)
            && (name == branch || name.starts_with("refs/tags/"))
        {
            knock.knock();
        }
        if let Some((knock, hints)) = bot {
            hints.push(poke);
            knock.knock();
        }
    }
}

/// A server that has its address, and serves nobody yet.
#[derive(Debug)]
#[must_use = "nobody is served until it runs"]
pub struct Server {
    listener: TcpListener,
    tls: Option<Fresh<Arc<ServerConfig>>>,
    routes: Router,
    limits: serve::Limits,
}

impl Server {
    /// Reads what the settings name, and takes the address. `pulses` are those of every loop of this process.
    ///
    /// # Errors
    /// When a secret, a certificate or the address cannot be used.
    pub fn prepare(
        http: &HttpSettings,
        forge: Option<&ForgeSettings>,
        doors: Doors,
        pulses: Vec<Pulse>,
    ) -> Result<Self, HttpError> {
        Self::prepare_within(serve::Limits::default(), http, forge, doors, pulses)
    }

    fn prepare_within(
        limits: serve::Limits,
        http: &HttpSettings,
        forge: Option<&ForgeSettings>,
        doors: Doors,
        pulses: Vec<Pulse>,
    ) -> Result<Self, HttpError> {
        let HttpSettings {
            listen,
            tls,
            webhook_secret,
        } = http;
        let ear = match (forge, webhook_secret) {
            (None, _) => None,
            (Some(_), None) => return Err(HttpError::NoSecret),
            (Some(forge), Some(file)) => {
                let file = file.clone();
                let paths = vec![file.path().to_owned()];
                let read = move || Ok(WebhookKey::new(&file.read().map_err(HttpError::Secret)?)?);
                Some(Ear {
                    sender: forge.place.sender(),
                    repositories: Repositories {
                        state: forge.place.repository().clone(),
                        ledger: doors.ledger.clone(),
                    },
                    key: Fresh::read(paths, read)?,
                    deliveries: Mutex::default(),
                    doors,
                    refusals: Mutex::default(),
                })
            }
        };
        let tls = tls.clone().map(|files| {
            let paths = vec![files.certificate.clone(), files.key.path().to_owned()];
            Fresh::read(paths, move || server_config(&files))
        });
        let taken = |source| HttpError::Listen {
            address: *listen,
            source,
        };
        let listener = TcpListener::bind(listen).map_err(taken)?;
        listener.set_nonblocking(true).map_err(taken)?;
        Ok(Self {
            listener,
            tls: tls.transpose()?,
            routes: routes(ear, pulses, limits.body),
            limits,
        })
    }

    /// Serves, in a runtime that has I/O and timers, for as long as that lives.
    ///
    /// # Errors
    /// When the runtime does not take the address.
    pub async fn run(self) -> io::Result<()> {
        let Self {
            listener,
            tls,
            routes,
            limits,
        } = self;
        let listener = tokio::net::TcpListener::from_std(listener)?;
        tracing::info!("HTTP is served at {} from now on.", listener.local_addr()?);
        serve::forever(listener, tls, routes, limits).await
    }
}

fn server_config(files: &TlsFiles) -> Result<Arc<ServerConfig>, HttpError> {
    let TlsFiles { certificate, key } = files;
    let wrong = |why: String| HttpError::Certificate {
        path: certificate.clone(),
        why,
    };
    let chain = CertificateDer::pem_file_iter(certificate)
        .and_then(Iterator::collect::<Result<Vec<_>, _>>)
        .map_err(|error| wrong(error.to_string()))?;
    let key = key
        .read()
        .map_err(|error| wrong(crate::cycle::chain(&error)))?;
    let key = PrivateKeyDer::from_pem_slice(key.expose())
        // Nothing of what is in there is repeated.
        .map_err(|_| wrong("there is no private key in the file of its key".into()))?;
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let mut config = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .and_then(|it| it.with_no_client_auth().with_single_cert(chain, key))
        .map_err(|error| wrong(error.to_string()))?;
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    Ok(Arc::new(config))
}

/// What listens to a forge.
struct Ear {
    sender: Sender,
    repositories: Repositories,
    key: Fresh<WebhookKey>,
    deliveries: Mutex<Deliveries>,
    doors: Doors,
    refusals: Mutex<Refusals>,
}

/// What was refused since it was last said.
#[derive(Default)]
struct Refusals {
    counts: BTreeMap<Refused, u64>,
    said: Option<Instant>,
}

/// Anybody can be refused as often as they like; it is said no more often than this.
const SAID_AT_MOST: Duration = Duration::from_secs(60);

impl Ear {
    fn listen(&self, headers: &http::HeaderMap, body: &[u8]) -> StatusCode {
        let key = self.key.current();
        match hear(self.sender, &key, &self.repositories, headers, body) {
            Heard::Poke(poke, delivery) => {
                let mut deliveries = self
                    .deliveries
                    .lock()
                    .unwrap_or_else(PoisonError::into_inner);
                match deliveries.heed(delivery) {
                    Heed::First => self.doors.pass_on(poke),
                    Heed::Again => tracing::debug!("The forge said this before."),
                }
                StatusCode::NO_CONTENT
            }
            Heard::Ignored(why) => {
                tracing::debug!(?why, "A delivery is no reason to look.");
                StatusCode::NO_CONTENT
            }
            Heard::Refused(why) => self.refuse(why),
        }
    }

    /// The same for every reason.
    fn refuse(&self, why: Refused) -> StatusCode {
        let mut refusals = self.refusals.lock().unwrap_or_else(PoisonError::into_inner);
        *refusals.counts.entry(why).or_default() += 1;
        let now = Instant::now();
        let lately = |said| now.saturating_duration_since(said) < SAID_AT_MOST;
        if !refusals.said.is_some_and(lately) {
            refusals.said = Some(now);
            let counts = std::mem::take(&mut refusals.counts);
            tracing::warn!(
                ?counts,
                "Deliveries to the webhook were refused: is its secret the one in the forge's settings?"
            );
        }
        StatusCode::FORBIDDEN
    }
}

fn routes(ear: Option<Ear>, pulses: Vec<Pulse>, body: Duration) -> Router {
    let pulses = Arc::new(pulses);
    let health = Router::new()
        .route("/healthz", get(healthz))
        .route("/readyz", get(readyz))
        .with_state(pulses);
    let Some(ear) = ear else {
        return health;
    };
    let path = match ear.sender {
        Sender::GitHub => "/webhook/github",
        Sender::Forgejo => "/webhook/forgejo",
    };
    let hears = Router::new()
        .route(path, post(delivery))
        .with_state((Arc::new(ear), body));
    health.merge(hears)
}

async fn healthz(State(pulses): State<Arc<Vec<Pulse>>>) -> StatusCode {
    let now = Instant::now();
    yes_or_no(pulses.iter().all(|it| it.turns(now)))
}

async fn readyz(State(pulses): State<Arc<Vec<Pulse>>>) -> StatusCode {
    yes_or_no(pulses.iter().all(Pulse::is_well))
}

fn yes_or_no(yes: bool) -> StatusCode {
    if yes {
        StatusCode::OK
    } else {
        StatusCode::SERVICE_UNAVAILABLE
    }
}

/// Takes the whole body in, and only then looks at anything.
async fn delivery(State((ear, time)): State<(Arc<Ear>, Duration)>, request: Request) -> StatusCode {
    let (parts, body) = request.into_parts();
    match tokio::time::timeout(time, whole(&parts.headers, body)).await {
        Ok(Taken::Whole(body)) => ear.listen(&parts.headers, &body),
        Ok(Taken::TooLarge) => ear.refuse(Refused::TooLarge),
        // Who breaks off, or is so slow, is not told what it would have come to.
        Ok(Taken::Broken) | Err(_) => StatusCode::FORBIDDEN,
    }
}

enum Taken {
    Whole(Bytes),
    TooLarge,
    Broken,
}

async fn whole(headers: &http::HeaderMap, body: Body) -> Taken {
    let announced = headers
        .get(CONTENT_LENGTH)
        .and_then(|it| it.to_str().ok()?.parse::<usize>().ok());
    if announced.is_some_and(|it| it > LARGEST) {
        return Taken::TooLarge;
    }
    match Limited::new(body, LARGEST).collect().await {
        Ok(body) => Taken::Whole(body.to_bytes()),
        Err(error) if error.is::<LengthLimitError>() => Taken::TooLarge,
        Err(_) => Taken::Broken,
    }
}

#[cfg(test)]
mod tests;
