//! Connections: how many, for how long, and over what.

use std::collections::VecDeque;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use rustls::ServerConfig;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::AbortHandle;
use tokio::time::{sleep, timeout};
use tokio_rustls::TlsAcceptor;

use super::fresh::Fresh;

/// What a connection may take.
#[derive(Clone, Copy, Debug)]
pub(super) struct Limits {
    /// How many there are at once.
    pub(super) connections: usize,
    /// Until TLS is agreed on.
    pub(super) handshake: Duration,
    /// Until the headers are there.
    pub(super) headers: Duration,
    /// Until the body is there.
    pub(super) body: Duration,
    /// From its beginning to its end.
    pub(super) whole: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            connections: 64,
            handshake: Duration::from_secs(5),
            headers: Duration::from_secs(5),
            body: Duration::from_secs(10),
            whole: Duration::from_secs(25),
        }
    }
}

/// All headers of a request together, in bytes. A forge sends two thousand.
const HEADERS: usize = 32 * 1024;

/// When the system has no more connections to give, it is asked again after this.
const REST: Duration = Duration::from_millis(100);

/// Takes connections, and answers one request on each.
pub(super) async fn forever(
    listener: TcpListener,
    tls: Option<Fresh<Arc<ServerConfig>>>,
    routes: Router,
    limits: Limits,
) -> io::Result<()> {
    let mut open: VecDeque<AbortHandle> = VecDeque::new();
    loop {
        let stream = match listener.accept().await {
            Ok((stream, _)) => stream,
            Err(error) => {
                tracing::debug!(%error, "A connection could not be taken.");
                sleep(REST).await;
                continue;
            }
        };
        if open.len() >= limits.connections {
            open.retain(|it| !it.is_finished());
        }
        // Who holds on to many connections loses the oldest; a delivery takes milliseconds.
        if open.len() >= limits.connections
            && let Some(oldest) = open.pop_front()
        {
            oldest.abort();
        }
        let tls = tls.as_ref().map(Fresh::current);
        let conversation = timeout(limits.whole, converse(stream, tls, routes.clone(), limits));
        open.push_back(tokio::spawn(conversation).abort_handle());
    }
}

async fn converse(
    stream: TcpStream,
    tls: Option<Arc<ServerConfig>>,
    routes: Router,
    limits: Limits,
) {
    match tls {
        None => answer(stream, routes, limits).await,
        Some(config) => {
            let agreed = TlsAcceptor::from(config).accept(stream);
            match timeout(limits.handshake, agreed).await {
                Ok(Ok(stream)) => answer(stream, routes, limits).await,
                Ok(Err(error)) => tracing::debug!(%error, "TLS was not agreed on."),
                Err(_) => tracing::debug!("TLS was not agreed on in time."),
            }
        }
    }
}

async fn answer(stream: impl AsyncRead + AsyncWrite + Unpin, routes: Router, limits: Limits) {
    let served = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(limits.headers)
        .max_buf_size(HEADERS)
        .keep_alive(false)
        .auto_date_header(false)
        .serve_connection(TokioIo::new(stream), TowerToHyperService::new(routes))
        .await;
    if let Err(error) = served {
        tracing::debug!(%error, "A request came to nothing.");
    }
}
