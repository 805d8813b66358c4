//! HTTP, and nothing of what is said by it: one host, bounded in time and size, no redirects, no retries.

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use http::header::{HOST, HeaderValue, USER_AGENT};
use http::uri::{Authority, PathAndQuery, Scheme};
use http::{Request, Response, Uri};
use http_body_util::{BodyExt, Full, LengthLimitError, Limited};
use hyper_rustls::HttpsConnector;
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::{TokioExecutor, TokioTimer};

/// How long a forge may take, and how much it may say.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Until there is a connection.
    pub connect: Duration,
    /// From the first byte sent to the last one received.
    pub total: Duration,
    /// The largest answer, in bytes.
    pub answer: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            connect: Duration::from_secs(10),
            total: Duration::from_secs(30),
            // A hundred comments of the longest kind.
            answer: 32 << 20,
        }
    }
}

/// Where a forge's API begins, such as `https://api.github.com` or `https://code.example.org/api/v1`.
#[derive(Clone, PartialEq, Eq)]
pub struct Base {
    scheme: Scheme,
    authority: Authority,
    path: String,
}

/// Not the address of an API.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{}` is not the address of a forge: {problem}", .address.escape_debug())]
pub struct NotABase {
    address: String,
    problem: &'static str,
}

impl std::str::FromStr for Base {
    type Err = NotABase;

    fn from_str(text: &str) -> Result<Self, NotABase> {
        let wrong = |problem| NotABase {
            // What stands before the host may be a password.
            address: match text.rsplit_once('@') {
                Some((_, after)) => format!("…@{}", after.chars().take(80).collect::<String>()),
                None => text.chars().take(80).collect(),
            },
            problem,
        };
        let uri: Uri = text
            .parse()
            .map_err(|_| wrong("write it like https://code.example.org/api/v1"))?;
        let parts = uri.into_parts();
        let (Some(scheme), Some(authority)) = (parts.scheme, parts.authority) else {
            return Err(wrong("write it like https://code.example.org/api/v1"));
        };
        if authority.as_str().contains('@') {
            return Err(wrong(
                "it names a user; credentials are read from files alone",
            ));
        }
        let path = parts
            .path_and_query
            .unwrap_or_else(|| PathAndQuery::from_static("/"));
        if path.query().is_some() {
            return Err(wrong("it must end with the path"));
        }
        let host = authority.host();
        let loopback = host == "localhost"
            || host
                .trim_matches(['[', ']'])
                .parse::<std::net::IpAddr>()
                .is_ok_and(|it| it.is_loopback());
        if scheme != Scheme::HTTPS && !(scheme == Scheme::HTTP && loopback) {
            return Err(wrong(
                "credentials go over https, or to this machine itself",
            ));
        }
        Ok(Self {
            scheme,
            authority,
            path: path.path().trim_end_matches('/').to_owned(),
        })
    }
}

impl Base {
    /// The path before every route, without a slash at its end.
    pub(crate) fn path(&self) -> &str {
        &self.path
    }

    /// The same host with another path.
    pub(crate) fn with_path(&self, path: &str) -> Self {
        Self {
            path: path.to_owned(),
            ..self.clone()
        }
    }

    /// The whole address of a route.
    fn join(&self, route: &str) -> Result<Uri, http::Error> {
        Uri::builder()
            .scheme(self.scheme.clone())
            .authority(self.authority.clone())
            .path_and_query(format!("{}{route}", self.path))
            .build()
    }
}

impl fmt::Display for Base {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}://{}{}", self.scheme, self.authority, self.path)
    }
}

impl fmt::Debug for Base {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
pub enum WireError {
    /// The trust that this machine has in certificates could not be read.
    #[error(
        "the certificates that this machine trusts cannot be read; Debian has them in the package ca-certificates"
    )]
    Trust(#[source] std::io::Error),
    /// It took too long.
    #[error("no whole answer within {} s", .0.as_secs_f64())]
    Timeout(Duration),
    /// It was too much.
    #[error("an answer of more than {0} bytes")]
    TooLarge(usize),
    /// No connection, or one that broke.
    #[error("{0}")]
    Broken(String),
    /// Not a request that can be sent.
    #[error("a request that cannot be sent ({0})")]
    Request(#[from] http::Error),
}

/// A way to one host. Cheap to clone.
#[derive(Clone)]
pub(crate) struct Wire {
    client: Client<HttpsConnector<HttpConnector>, Full<Bytes>>,
    base: Base,
    limits: Limits,
}

/// Forges want to know who asks.
const AGENT: HeaderValue = HeaderValue::from_static("muster");

/// An idle connection is not watched between two calls; one that rested longer than this may be closed at the other end.
const RESTS_AT_MOST: Duration = Duration::from_secs(5);

impl Wire {
    pub(crate) fn new(base: Base, limits: Limits) -> Result<Self, WireError> {
        let mut tcp = HttpConnector::new();
        tcp.enforce_http(false);
        tcp.set_nodelay(true);
        tcp.set_connect_timeout(Some(limits.connect));
        let provider = rustls_ring();
        let builder = hyper_rustls::HttpsConnectorBuilder::new();
        let builder = if base.scheme == Scheme::HTTPS {
            builder
                .with_provider_and_native_roots(provider)
                .map_err(WireError::Trust)?
        } else {
            // This machine itself: there is no TLS, and nobody's certificate to believe.
            let config = rustls::ClientConfig::builder_with_provider(Arc::new(provider))
                .with_safe_default_protocol_versions()
                .map_err(|error| WireError::Trust(std::io::Error::other(error)))?
                .with_root_certificates(rustls::RootCertStore::empty())
                .with_no_client_auth();
            builder.with_tls_config(config)
        };
        let tls = builder
            // Which of the two is used was decided when the address was read.
            .https_or_http()
            .enable_http1()
            .wrap_connector(tcp);
        let client = Client::builder(TokioExecutor::new())
            .pool_timer(TokioTimer::new())
            .pool_idle_timeout(RESTS_AT_MOST)
            .pool_max_idle_per_host(1)
            .build(tls);
        Ok(Self {
            client,
            base,
            limits,
        })
    }

    /// The same host and connections, under another path.
    pub(crate) fn with_path(&self, path: &str) -> Self {
        Self {
            base: self.base.with_path(path),
            ..self.clone()
        }
    }

    /// Sends a request whose address is a route, and takes in the whole answer.
    pub(crate) async fn send(&self, request: Request<Bytes>) -> Result<Response<Bytes>, WireError> {
        let (mut parts, body) = request.into_parts();
        let route = parts.uri.path_and_query().map_or("/", PathAndQuery::as_str);
        parts.uri = self.base.join(route)?;
        parts.headers.remove(HOST);
        parts.headers.insert(USER_AGENT, AGENT);
        let request = Request::from_parts(parts, Full::new(body));
        let Limits { total, answer, .. } = self.limits;
        let exchange = async {
            let response = self
                .client
                .request(request)
                .await
                .map_err(|error| WireError::Broken(causes(&error)))?;
            let (parts, body) = response.into_parts();
            match Limited::new(body, answer).collect().await {
                Ok(whole) => Ok(Response::from_parts(parts, whole.to_bytes())),
                Err(error) if error.is::<LengthLimitError>() => Err(WireError::TooLarge(answer)),
                Err(error) => Err(WireError::Broken(causes(error.as_ref()))),
            }
        };
        tokio::time::timeout(total, exchange)
            .await
            .unwrap_or(Err(WireError::Timeout(total)))
    }
}

/// The one cryptography of this program.
fn rustls_ring() -> rustls::crypto::CryptoProvider {
    rustls::crypto::ring::default_provider()
}

/// An error and its sources on one line; HTTP libraries say little in the first of them.
fn causes(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut next = error.source();
    while let Some(source) = next {
        let more = source.to_string();
        if !text.contains(&more) {
            text = format!("{text}: {more}");
        }
        next = source.source();
    }
    text
}

/// The wire as octocrab's transport.
#[derive(Clone)]
pub(crate) struct Transport(pub(crate) Wire);

impl tower_service::Service<Request<octocrab::OctoBody>> for Transport {
    type Response = Response<Full<Bytes>>;
    type Error = Box<dyn std::error::Error + Send + Sync>;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, Self::Error>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<octocrab::OctoBody>) -> Self::Future {
        let wire = self.0.clone();
        Box::pin(async move {
            let (parts, body) = request.into_parts();
            let body = body.collect().await?.to_bytes();
            let answer = wire.send(Request::from_parts(parts, body)).await?;
            Ok(answer.map(Full::new))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_address_of_a_forge_is_https_or_this_machine() {
        for good in [
            "https://api.github.com",
            "https://ghe.example.org/api/v3/",
            "http://127.0.0.1:3000/api/v1",
            "http://[::1]:3000/api/v1",
            "http://localhost:3000",
        ] {
            let base: Base = good.parse().unwrap();
            assert_eq!(base.to_string(), good.trim_end_matches('/'));
        }
        for bad in [
            "",
            "api.github.com",
            "ftp://example.org",
            "http://code.example.org/api/v1",
            "http://127.0.0.1.example.org",
            "https://example.org/?x=1",
            "https://user:canary@example.org/",
        ] {
            let error = bad.parse::<Base>().unwrap_err().to_string();
            assert!(!error.contains("canary"), "{error}");
        }
    }
}
