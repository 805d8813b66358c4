//! Takes requests in, looks at tokens, counts, and breaks connections where it was told to.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::path::Path;
use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll};
use std::time::Instant;

use bytes::Bytes;
use http::{Method, Request, Response};
use http_body_util::BodyExt;
use hyper::body::{Body, Frame, Incoming, SizeHint};
use hyper::ext::ReasonPhrase;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio::net::TcpListener;
use tokio_rustls::TlsAcceptor;

use super::behaviour::{self, Asked};
use super::upstream::{Reply, Upstream};
use super::{Fault, PATIENCE, State};

/// An answer, or the first half of one.
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

/// Begins to listen on a thread of its own, which lasts as long as the process; returns once fakepve has let it in.
pub(super) fn begin(
    certificate: &Path,
    key: &Path,
    upstream: Upstream,
    state: Arc<Mutex<State>>,
    log: &dyn Fn() -> String,
) -> SocketAddr {
    let chain: Vec<_> = CertificateDer::pem_file_iter(certificate)
        .unwrap()
        .map(Result::unwrap)
        .collect();
    let key = PrivateKeyDer::from_pem_file(key).unwrap();
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = rustls::ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(chain, key)
        .unwrap();
    let acceptor = TlsAcceptor::from(Arc::new(config));
    let (tell, told) = std::sync::mpsc::channel();
    std::thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .unwrap();
        runtime.block_on(async move {
            let begun = Instant::now();
            while let Err(error) = upstream.sign_in().await {
                if begun.elapsed() > PATIENCE {
                    tell.send(Err(error.to_string())).unwrap();
                    return;
                }
                tokio::time::sleep(std::time::Duration::from_millis(50)).await;
            }
            upstream
                .ask(Method::POST, "/pools", b"poolid=scratch".to_vec())
                .await;
            let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
            tell.send(Ok(listener.local_addr().unwrap())).unwrap();
            let upstream = Arc::new(upstream);
            loop {
                let Ok((tcp, _)) = listener.accept().await else {
                    continue;
                };
                let (acceptor, upstream, state) =
                    (acceptor.clone(), Arc::clone(&upstream), Arc::clone(&state));
                tokio::spawn(async move {
                    drop(tcp.set_nodelay(true));
                    let Ok(tls) = acceptor.accept(tcp).await else {
                        return;
                    };
                    let service = service_fn(move |request| {
                        let (upstream, state) = (Arc::clone(&upstream), Arc::clone(&state));
                        async move { take(request, &upstream, &state).await }
                    });
                    let connection = hyper::server::conn::http1::Builder::new()
                        .serve_connection(TokioIo::new(tls), service);
                    drop(connection.await);
                });
            }
        });
    });
    match told.recv().expect("the proxy's thread") {
        Ok(address) => address,
        Err(error) => panic!("fakepve does not listen: {error}\n{}", log()),
    }
}

/// The connection breaks.
#[derive(Debug)]
struct Cut;

impl std::fmt::Display for Cut {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("cut")
    }
}

impl std::error::Error for Cut {}

async fn take(
    request: Request<Incoming>,
    upstream: &Upstream,
    state: &Mutex<State>,
) -> Result<Response<Half>, Cut> {
    let (parts, body) = request.into_parts();
    let body = body.collect().await.map_err(|_| Cut)?.to_bytes();
    let whole = parts.uri.path_and_query().map_or("", |it| it.as_str());
    let path = whole.strip_prefix("/api2/json").unwrap_or(whole);
    let token = parts
        .headers
        .get("authorization")
        .and_then(|it| it.to_str().ok()?.strip_prefix("PVEAPIToken="))
        .unwrap_or("");
    let asked = Asked::new(parts.method, path, &body, token);
    let (fault, meddling) = {
        let mut state = state.lock().unwrap();
        state.requests.push(asked.line());
        let number = state.requests.len() - 1;
        let fault = state.fault.filter(|(at, _)| *at == number);
        let meddling = state.meddling.take_if(|it| it.at == number);
        (fault.map(|(_, it)| it), meddling)
    };
    if let Some(meddling) = meddling {
        meddling.happens(upstream, state).await;
    }
    match fault {
        Some(Fault::CutBefore) => return Err(Cut),
        Some(Fault::NotConnected) => {
            return Ok(whole_answer(Reply::error(595, "No route to host")));
        }
        Some(Fault::Silence) => hang(state).await,
        _ => {}
    }
    let reply = behaviour::answer(&asked, upstream, state).await;
    let changed = asked.method != Method::GET && reply.status.is_success();
    if changed {
        state.lock().unwrap().effects.push(asked.line());
    }
    Ok(match fault {
        Some(Fault::CutAfter) => return Err(Cut),
        Some(Fault::SilenceAfter) => {
            hang(state).await;
            return Err(Cut);
        }
        Some(Fault::HalfAnswer) => {
            let bytes = Bytes::from(reply.json.to_string());
            let length = bytes.len() as u64;
            Response::new(Half {
                bytes: Some(bytes.slice(..bytes.len() / 2)),
                length,
                breaks: true,
            })
        }
        Some(Fault::BrokenAfter) => whole_answer(Reply::error(596, "Broken pipe")),
        Some(Fault::LockAfter) => whole_answer(Reply::error(
            500,
            "can't lock file '/run/lock/lxc/pve-config-101.lock' - got timeout",
        )),
        Some(Fault::NonsenseAfter) => {
            let bytes = Bytes::from_static(b"<html>502 Bad Gateway</html>");
            Response::new(Half {
                length: bytes.len() as u64,
                bytes: Some(bytes),
                breaks: false,
            })
        }
        Some(Fault::CutBefore | Fault::NotConnected | Fault::Silence) | None => whole_answer(reply),
    })
}

/// Never comes back.
async fn hang(state: &Mutex<State>) {
    let told = state.lock().unwrap().hung.take();
    if let Some(told) = told {
        let _ = told.send(());
    }
    std::future::pending::<Infallible>().await;
}

fn whole_answer(reply: Reply) -> Response<Half> {
    let bytes = Bytes::from(reply.json.to_string());
    let mut response = Response::new(Half {
        length: bytes.len() as u64,
        bytes: Some(bytes),
        breaks: false,
    });
    *response.status_mut() = reply.status;
    if let Some(reason) = reply.reason
        && let Ok(reason) = ReasonPhrase::try_from(reason.into_bytes())
    {
        response.extensions_mut().insert(reason);
    }
    response
}
