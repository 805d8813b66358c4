//! Stands between a client of Incus and its socket, counts what took effect, and breaks the connection where it was told to.

use std::path::{Path, PathBuf};
use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll};

use bytes::Bytes;
use http::{HeaderMap, Method, Request, Response};
use http_body_util::{BodyExt, Full};
use hyper::body::{Body, Frame, Incoming, SizeHint};
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use tokio::net::{UnixListener, UnixStream};

/// What happens to one request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// The connection breaks before anything was done.
    CutBefore,
    /// The connection breaks after it was done.
    CutAfter,
    /// Half of the answer comes, after it was done.
    HalfAnswer,
    /// An answer that is no JSON, after it was done.
    NonsenseAfter,
    /// No answer at all, and nothing was done.
    Silence,
    /// No answer at all, after it was done.
    SilenceAfter,
}

impl Fault {
    /// All of them that end by themselves.
    pub const QUICK: [Self; 4] = [
        Self::CutBefore,
        Self::CutAfter,
        Self::HalfAnswer,
        Self::NonsenseAfter,
    ];
}

#[derive(Debug, Default)]
struct State {
    requests: Vec<String>,
    effects: Vec<String>,
    fault: Option<(usize, Fault)>,
    hung: Option<std::sync::mpsc::Sender<()>>,
}

/// A running relay. Its thread lasts as long as the process.
pub struct Relay {
    socket: PathBuf,
    state: Arc<Mutex<State>>,
}

impl Relay {
    /// In the place of a number: the first request that changes something.
    pub const FIRST_CHANGE: usize = usize::MAX;

    /// Begins to listen at `socket` for what is meant for `upstream`.
    pub fn start(upstream: &Path, socket: &Path) -> Self {
        let state = Arc::new(Mutex::new(State::default()));
        let listener = std::os::unix::net::UnixListener::bind(socket).unwrap();
        listener.set_nonblocking(true).unwrap();
        let (shared, upstream) = (Arc::clone(&state), upstream.to_owned());
        std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread()
                .enable_all()
                .build()
                .unwrap();
            runtime.block_on(async move {
                let listener = UnixListener::from_std(listener).unwrap();
                loop {
                    let Ok((stream, _)) = listener.accept().await else {
                        continue;
                    };
                    let (state, upstream) = (Arc::clone(&shared), upstream.clone());
                    tokio::spawn(async move {
                        let service = service_fn(move |request| {
                            let (state, upstream) = (Arc::clone(&state), upstream.clone());
                            async move { take(request, &upstream, &state).await }
                        });
                        let connection = hyper::server::conn::http1::Builder::new()
                            .serve_connection(TokioIo::new(stream), service);
                        drop(connection.await);
                    });
                }
            });
        });
        Self {
            socket: socket.to_owned(),
            state,
        }
    }

    /// Where it listens.
    pub fn socket(&self) -> &Path {
        &self.socket
    }

    /// Begins to count anew, with a fault at the request of that number.
    pub fn arm(&self, fault: Option<(usize, Fault)>) {
        *self.state.lock().unwrap() = State {
            fault,
            ..State::default()
        };
    }

    /// The same, and tells when a request is left without an answer.
    pub fn arm_to_hang(&self, fault: (usize, Fault), tell: std::sync::mpsc::Sender<()>) {
        self.arm(Some(fault));
        self.state.lock().unwrap().hung = Some(tell);
    }

    /// No fault from now on; what was counted stays.
    pub fn disarm(&self) {
        self.state.lock().unwrap().fault = None;
    }

    /// What took effect since then.
    pub fn changes(&self) -> Vec<String> {
        self.state.lock().unwrap().effects.clone()
    }

    /// The requests since then.
    pub fn requests(&self) -> Vec<String> {
        self.state.lock().unwrap().requests.clone()
    }

    /// How many changes took effect whose method and path hold `text`.
    pub fn effects(&self, text: &str) -> usize {
        let state = self.state.lock().unwrap();
        state.effects.iter().filter(|it| it.contains(text)).count()
    }
}

#[derive(Debug)]
struct Cut;

impl std::fmt::Display for Cut {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("cut")
    }
}

impl std::error::Error for Cut {}

/// A body that may break off.
struct Half {
    bytes: Option<Bytes>,
    length: u64,
    breaks: bool,
}

impl Body for Half {
    type Data = Bytes;
    type Error = std::io::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, std::io::Error>>> {
        match self.bytes.take() {
            Some(bytes) => Poll::Ready(Some(Ok(Frame::data(bytes)))),
            None if self.breaks => Poll::Ready(Some(Err(std::io::ErrorKind::BrokenPipe.into()))),
            None => Poll::Ready(None),
        }
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.length)
    }
}

fn half(bytes: Bytes, breaks: bool) -> Half {
    let length = bytes.len() as u64;
    let sent = if breaks {
        bytes.slice(..bytes.len() / 2)
    } else {
        bytes
    };
    Half {
        bytes: Some(sent),
        length,
        breaks,
    }
}

async fn take(
    request: Request<Incoming>,
    upstream: &Path,
    state: &Mutex<State>,
) -> Result<Response<Half>, Cut> {
    let (parts, body) = request.into_parts();
    let body = body.collect().await.map_err(|_| Cut)?.to_bytes();
    let line = format!("{} {}", parts.method, parts.uri);
    let fault = {
        let mut state = state.lock().unwrap();
        state.requests.push(line.clone());
        let number = state.requests.len() - 1;
        let is_first_change = parts.method != Method::GET && state.effects.is_empty();
        state
            .fault
            .filter(|(at, _)| *at == number || (*at == Relay::FIRST_CHANGE && is_first_change))
            .map(|(_, it)| it)
    };
    match fault {
        Some(Fault::CutBefore) => return Err(Cut),
        Some(Fault::Silence) => hang(state).await,
        _ => {}
    }
    let changes = parts.method != Method::GET;
    let (status, headers, answer) = ask(parts, body, upstream).await.map_err(|_| Cut)?;
    if changes && status.is_success() {
        state.lock().unwrap().effects.push(line);
    }
    let body = match fault {
        Some(Fault::CutAfter) => return Err(Cut),
        Some(Fault::HalfAnswer) => half(answer, true),
        Some(Fault::NonsenseAfter) => half(Bytes::from_static(b"<html>"), false),
        Some(Fault::SilenceAfter) => {
            hang(state).await;
            return Err(Cut);
        }
        Some(Fault::CutBefore | Fault::Silence) | None => half(answer, false),
    };
    let mut response = Response::new(body);
    *response.status_mut() = status;
    for key in ["etag", "content-type"] {
        if let Some(value) = headers.get(key) {
            response.headers_mut().insert(key, value.clone());
        }
    }
    Ok(response)
}

/// Never comes back.
async fn hang(state: &Mutex<State>) {
    let told = state.lock().unwrap().hung.take();
    if let Some(told) = told {
        let _ = told.send(());
    }
    std::future::pending::<()>().await;
}

type Answer = (http::StatusCode, HeaderMap, Bytes);

async fn ask(
    parts: http::request::Parts,
    body: Bytes,
    upstream: &Path,
) -> Result<Answer, Box<dyn std::error::Error>> {
    let stream = UnixStream::connect(upstream).await?;
    let (mut sender, connection) =
        hyper::client::conn::http1::handshake(TokioIo::new(stream)).await?;
    tokio::spawn(async move { drop(connection.await) });
    let response = sender
        .send_request(Request::from_parts(parts, Full::new(body)))
        .await?;
    let (parts, body) = response.into_parts();
    let bytes = body.collect().await?.to_bytes();
    Ok((parts.status, parts.headers, bytes))
}
