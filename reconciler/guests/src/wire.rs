//! HTTP to one hypervisor, over TLS or a Unix socket: bounded in time and size, kept alive, and exact about what was sent.
//!
//! No redirect is followed and nothing is sent twice, with one exception: a request that a kept connection handed back unsent, as
//! it had been closed at the other end, goes out on another.

use std::fmt;
use std::fs::File;
use std::io::{Read, Write};
use std::path::PathBuf;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use bytes::Bytes;
use http::header::{CONTENT_LENGTH, HOST, HeaderValue, USER_AGENT};
use http::{HeaderMap, Request, StatusCode};
use http_body_util::BodyExt;
use hyper::body::{Body as HttpBody, Frame, Incoming, SizeHint};
use hyper::client::conn::http1::{SendRequest, handshake};
use hyper::ext::ReasonPhrase;
use hyper_util::rt::TokioIo;
use rustls::pki_types::ServerName;
use tokio::net::{TcpStream, UnixStream};
use tokio_rustls::TlsConnector;

use crate::trust::{self, ClientCertificate, Trust, TrustError, client_config};

/// How long a hypervisor may take, and how much it may say.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Until there is a connection.
    pub connect: Duration,
    /// From the first byte sent to the last one received. A cluster's node gives another one 30 s.
    pub total: Duration,
    /// The largest answer, in bytes.
    pub answer: usize,
    /// Requests under way at once.
    pub parallel: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            connect: Duration::from_secs(10),
            total: Duration::from_secs(45),
            // Ten thousand guests with all that a list says of each.
            answer: 32 << 20,
            parallel: 8,
        }
    }
}

/// A connection that rested longer may be closed at the other end: Proxmox VE's web server gives up after 5 s.
const RESTS_AT_MOST: Duration = Duration::from_secs(4);

/// How much of a file is sent or written at once, in bytes.
const PIECE: usize = 256 << 10;

/// Who asks.
const AGENT: HeaderValue = HeaderValue::from_static("muster");

/// Where a hypervisor listens: `https://host:port`, or `unix:/path`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Address {
    /// A host on the network.
    Https {
        /// Its name or address.
        host: String,
        /// The port.
        port: u16,
    },
    /// A socket of this machine.
    Unix(PathBuf),
}

/// Not the address of a hypervisor.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{address}` is not the address of a hypervisor: {problem}")]
pub struct NotAnAddress {
    address: String,
    problem: &'static str,
}

impl Address {
    /// Reads an address; `port` is the one that is meant where none is said.
    ///
    /// # Errors
    /// When it is none. What stands before an `@` may be a password, and is not repeated.
    pub fn parse(text: &str, port: u16) -> Result<Self, NotAnAddress> {
        let wrong = |problem| NotAnAddress {
            address: match text.rsplit_once('@') {
                Some((_, after)) => format!("…@{}", after.escape_debug())
                    .chars()
                    .take(80)
                    .collect(),
                None => text.escape_debug().to_string().chars().take(80).collect(),
            },
            problem,
        };
        if let Some(path) = text.strip_prefix("unix:") {
            if !path.starts_with('/') {
                return Err(wrong("write a socket like unix:/var/lib/incus/unix.socket"));
            }
            return Ok(Self::Unix(path.into()));
        }
        let uri: http::Uri = text
            .parse()
            .map_err(|_| wrong("write it like https://pve1.example.org:8006"))?;
        let parts = uri.into_parts();
        if parts.scheme != Some(http::uri::Scheme::HTTPS) {
            return Err(wrong("credentials go over https alone"));
        }
        let authority = parts.authority.ok_or_else(|| wrong("it names no host"))?;
        if authority.as_str().contains('@') {
            return Err(wrong(
                "it names a user; credentials are read from files alone",
            ));
        }
        if parts.path_and_query.is_some_and(|it| it.as_str() != "/") {
            return Err(wrong(
                "it ends with the host and port; the paths below are known",
            ));
        }
        Ok(Self::Https {
            host: authority.host().trim_matches(['[', ']']).to_owned(),
            port: authority.port_u16().unwrap_or(port),
        })
    }

    fn authority(&self) -> String {
        match self {
            Self::Https { host, port } if host.contains(':') => format!("[{host}]:{port}"),
            Self::Https { host, port } => format!("{host}:{port}"),
            Self::Unix(_) => "localhost".to_owned(),
        }
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Https { .. } => write!(f, "https://{}", self.authority()),
            Self::Unix(path) => write!(f, "unix:{}", path.display()),
        }
    }
}

/// Why no wire to a hypervisor can be prepared.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// The address.
    #[error(transparent)]
    Address(#[from] NotAnAddress),
    /// The certificates.
    #[error(transparent)]
    Trust(#[from] TrustError),
    /// The credential.
    #[error("the credential cannot be used: {0}")]
    Credential(String),
}

/// Why there is no answer, by what the other end may have seen.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum WireError {
    /// Nothing of the request.
    NotSent(String),
    /// Perhaps all of it.
    Perhaps(String),
}

/// A whole answer.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: StatusCode,
    /// The words after the status, where Proxmox VE puts its errors.
    pub(crate) reason: Option<String>,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Bytes,
}

/// What is sent along.
#[derive(Debug)]
pub(crate) enum Body {
    /// Bytes, once.
    Bytes(Option<Bytes>),
    /// A file of this length, read as it goes out.
    File {
        /// The file, at its beginning.
        file: File,
        /// What is left of it, in bytes.
        left: u64,
    },
}

impl From<Vec<u8>> for Body {
    fn from(bytes: Vec<u8>) -> Self {
        Self::Bytes((!bytes.is_empty()).then(|| bytes.into()))
    }
}

impl HttpBody for Body {
    type Data = Bytes;
    type Error = std::io::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, std::io::Error>>> {
        Poll::Ready(match &mut *self {
            Self::Bytes(bytes) => bytes.take().map(|it| Ok(Frame::data(it))),
            Self::File { left: 0, .. } => None,
            Self::File { file, left } => {
                let mut piece = vec![0; PIECE.min(usize::try_from(*left).unwrap_or(PIECE))];
                Some(match file.read(&mut piece) {
                    Ok(0) => Err(std::io::ErrorKind::UnexpectedEof.into()),
                    Ok(read) => {
                        piece.truncate(read);
                        *left = left.saturating_sub(read as u64);
                        Ok(Frame::data(piece.into()))
                    }
                    Err(error) => Err(error),
                })
            }
        })
    }

    fn is_end_stream(&self) -> bool {
        match self {
            Self::Bytes(bytes) => bytes.is_none(),
            Self::File { left, .. } => *left == 0,
        }
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(match self {
            Self::Bytes(bytes) => bytes.as_ref().map_or(0, |it| it.len() as u64),
            Self::File { left, .. } => *left,
        })
    }
}

type Sender = SendRequest<Body>;

/// A way to one hypervisor. Cheap to clone; clones share their connections.
#[derive(Clone)]
pub(crate) struct Wire(Arc<Inner>);

struct Inner {
    address: Address,
    authority: HeaderValue,
    tls: Option<(TlsConnector, ServerName<'static>)>,
    limits: Limits,
    idle: Mutex<Vec<(Sender, Instant)>>,
}

impl fmt::Debug for Wire {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Wire({})", self.0.address)
    }
}

impl Wire {
    /// Prepares a way; nothing is sent yet.
    pub(crate) fn new(
        address: Address,
        trust: Option<&Trust>,
        client: Option<&ClientCertificate>,
        limits: Limits,
    ) -> Result<Self, OpenError> {
        let tls = match &address {
            Address::Unix(_) => None,
            Address::Https { host, .. } => {
                let trust = trust.ok_or_else(|| {
                    OpenError::Credential(format!(
                        "nothing says which certificate {address} is believed by; give `ca` or `fingerprint`"
                    ))
                })?;
                let name = ServerName::try_from(host.clone()).map_err(|_| NotAnAddress {
                    address: address.to_string(),
                    problem: "it is neither a host name nor an IP address",
                })?;
                let config = client_config(trust, client)?;
                Some((TlsConnector::from(Arc::new(config)), name))
            }
        };
        let authority = HeaderValue::from_str(&address.authority()).map_err(|_| NotAnAddress {
            address: address.to_string(),
            problem: "it cannot stand in a request",
        })?;
        Ok(Self(Arc::new(Inner {
            address,
            authority,
            tls,
            limits,
            idle: Mutex::new(Vec::new()),
        })))
    }

    fn kept(&self) -> Option<Sender> {
        let mut idle = self.0.idle.lock().unwrap_or_else(PoisonError::into_inner);
        while let Some((sender, since)) = idle.pop() {
            if since.elapsed() < RESTS_AT_MOST && !sender.is_closed() {
                return Some(sender);
            }
        }
        None
    }

    fn keep(&self, sender: Sender) {
        let mut idle = self.0.idle.lock().unwrap_or_else(PoisonError::into_inner);
        if !sender.is_closed() && idle.len() < self.0.limits.parallel {
            idle.push((sender, Instant::now()));
        }
    }

    async fn connect(&self) -> Result<Sender, WireError> {
        let Inner { address, tls, .. } = &*self.0;
        let connecting = async {
            match (address, tls) {
                (Address::Unix(path), _) => {
                    shake(UnixStream::connect(path).await.map_err(text)?).await
                }
                (Address::Https { host, port }, Some((connector, name))) => {
                    let tcp = TcpStream::connect((host.as_str(), *port))
                        .await
                        .map_err(text)?;
                    tcp.set_nodelay(true).map_err(text)?;
                    let tls = connector.connect(name.clone(), tcp).await;
                    shake(tls.map_err(|error| trust::in_words(&error))?).await
                }
                (Address::Https { .. }, None) => unreachable!("every https address has its TLS"),
            }
        };
        tokio::time::timeout(self.0.limits.connect, connecting)
            .await
            .unwrap_or_else(|_| {
                let seconds = self.0.limits.connect.as_secs_f64();
                Err(format!("no connection within {seconds} s"))
            })
            .map_err(|why| WireError::NotSent(format!("{address}: {why}")))
    }

    /// Hands a request to a connection, a kept one where there is one; gives back the connection with the head of the answer.
    async fn begin(
        &self,
        mut request: Request<Body>,
    ) -> Result<(Sender, http::Response<Incoming>), WireError> {
        request.headers_mut().insert(USER_AGENT, AGENT);
        request.headers_mut().insert(HOST, self.0.authority.clone());
        while let Some(mut sender) = self.kept() {
            match sender.try_send_request(request).await {
                Ok(response) => return Ok((sender, response)),
                Err(mut failed) => match failed.take_message() {
                    // Closed while it rested: the request has not left.
                    Some(unsent) => request = unsent,
                    None => return Err(WireError::Perhaps(causes(&failed.into_error()))),
                },
            }
        }
        // What a handshake needs is let go of at its end.
        let mut sender = Box::pin(self.connect()).await?;
        match sender.try_send_request(request).await {
            Ok(response) => Ok((sender, response)),
            Err(mut failed) => {
                let unsent = failed.take_message().is_some();
                let why = causes(&failed.into_error());
                Err(if unsent {
                    WireError::NotSent(why)
                } else {
                    WireError::Perhaps(why)
                })
            }
        }
    }

    /// Sends a request and takes in the whole answer, within the limits. `longer` is added to the time, for calls that wait there.
    pub(crate) async fn send(
        &self,
        request: Request<Body>,
        longer: Duration,
    ) -> Result<Answer, WireError> {
        let Limits { total, answer, .. } = self.0.limits;
        let total = total.saturating_add(longer);
        // Until there is a connection nothing has been sent, and that has a limit of its own.
        let exchange = async {
            let (sender, response) = self.begin(request).await?;
            let (parts, mut body) = response.into_parts();
            let mut whole = Vec::new();
            while let Some(frame) = body.frame().await {
                let frame = frame.map_err(|error| WireError::Perhaps(causes(&error)))?;
                if let Some(data) = frame.data_ref() {
                    if whole.len() + data.len() > answer {
                        return Err(WireError::Perhaps(format!(
                            "an answer of more than {answer} bytes"
                        )));
                    }
                    whole.extend_from_slice(data);
                }
            }
            self.keep(sender);
            Ok(finished(&parts, whole.into()))
        };
        timed(total, exchange).await
    }

    /// Sends a request whose answer is written into `file`, of at most `most` bytes; answers with the length. An answer that is no
    /// success is given back as any other.
    pub(crate) async fn fetch(
        &self,
        request: Request<Body>,
        file: &mut File,
        most: u64,
    ) -> Result<Result<u64, Answer>, WireError> {
        let (sender, response) = timed(self.0.limits.total, self.begin(request)).await?;
        let (parts, mut body) = response.into_parts();
        let success = parts.status.is_success();
        let promised = parts
            .headers
            .get(CONTENT_LENGTH)
            .and_then(|it| it.to_str().ok()?.parse::<u64>().ok());
        let (mut length, mut words) = (0_u64, Vec::new());
        // A whole file may take long; each piece of it may not.
        while let Some(frame) = timed(self.0.limits.total, async { Ok(body.frame().await) }).await?
        {
            let frame = frame.map_err(|error| WireError::Perhaps(causes(&error)))?;
            let Some(data) = frame.data_ref() else {
                continue;
            };
            length += data.len() as u64;
            if length > most {
                return Err(WireError::Perhaps(format!("more than {most} bytes")));
            }
            if success {
                file.write_all(data)
                    .map_err(|error| WireError::Perhaps(error.to_string()))?;
            } else if words.len() + data.len() <= self.0.limits.answer {
                words.extend_from_slice(data);
            }
        }
        if promised.is_some_and(|it| it != length) {
            return Err(WireError::Perhaps("the answer ended too early".to_owned()));
        }
        self.keep(sender);
        Ok(if success {
            Ok(length)
        } else {
            Err(finished(&parts, words.into()))
        })
    }
}

fn finished(parts: &http::response::Parts, body: Bytes) -> Answer {
    let reason = parts
        .extensions
        .get::<ReasonPhrase>()
        .map(|it| String::from_utf8_lossy(it.as_bytes()).into_owned());
    Answer {
        status: parts.status,
        reason,
        headers: parts.headers.clone(),
        body,
    }
}

async fn timed<T>(
    limit: Duration,
    exchange: impl Future<Output = Result<T, WireError>>,
) -> Result<T, WireError> {
    tokio::time::timeout(limit, exchange)
        .await
        .unwrap_or_else(|_| {
            let seconds = limit.as_secs_f64();
            Err(WireError::Perhaps(format!(
                "no whole answer within {seconds} s"
            )))
        })
}

async fn shake<S>(stream: S) -> Result<Sender, String>
where
    S: tokio::io::AsyncRead + tokio::io::AsyncWrite + Unpin + Send + 'static,
{
    let (sender, connection) = handshake(TokioIo::new(stream))
        .await
        .map_err(|it| causes(&it))?;
    // Ends by itself when either side has closed; what it would say of that, the request says.
    tokio::spawn(async move { drop(connection.await) });
    Ok(sender)
}

fn text(error: std::io::Error) -> String {
    causes(&error)
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
    // The manual of a library tells an operator nothing.
    if let Some(at) = text.find(": https://docs.rs/") {
        text.truncate(at);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_half_answer_is_told_without_a_librarys_manual() {
        let url = "peer closed connection: https://docs.rs/rustls/latest/rustls/manual";
        let told = causes(&std::io::Error::other(url));
        assert_eq!(told, "peer closed connection");
    }

    #[test]
    fn an_address_is_https_or_a_socket_of_this_machine() {
        let https = |text: &str| Address::parse(text, 8006).map(|it| it.to_string());
        assert_eq!(
            https("https://pve1.example.org").unwrap(),
            "https://pve1.example.org:8006"
        );
        assert_eq!(https("https://[::1]:8443/").unwrap(), "https://[::1]:8443");
        assert_eq!(
            https("unix:/run/incus/unix.socket").unwrap(),
            "unix:/run/incus/unix.socket"
        );
        for bad in [
            "",
            "pve1",
            "http://127.0.0.1:8006",
            "https://root:canary@pve1:8006",
            "https://pve1:8006/api2",
            "unix:socket",
        ] {
            let error = https(bad).unwrap_err().to_string();
            assert!(!error.contains("canary"), "{error}");
        }
    }
}
