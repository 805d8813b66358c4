//! The connection with fakepve, by a ticket of its root.

use std::sync::Arc;
use std::sync::Mutex;

use bytes::Bytes;
use http::{Method, Request, StatusCode};
use http_body_util::{BodyExt, Full};
use hyper::client::conn::http1::{SendRequest, handshake};
use hyper_util::rt::TokioIo;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName};
use serde_json::Value;
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

/// fakepve, as root sees it.
pub struct Upstream {
    port: u16,
    connector: TlsConnector,
    ticket: Mutex<Option<(String, String)>>,
    idle: Mutex<Vec<SendRequest<Full<Bytes>>>>,
}

/// An answer: its status, the words behind that, and what it is.
pub struct Reply {
    pub status: StatusCode,
    pub reason: Option<String>,
    pub json: Value,
}

impl Reply {
    pub fn ok(data: Value) -> Self {
        Self {
            status: StatusCode::OK,
            reason: None,
            json: serde_json::json!({ "data": data }),
        }
    }

    pub fn error(code: u16, text: &str) -> Self {
        Self {
            status: StatusCode::from_u16(code).unwrap(),
            reason: Some(text.to_owned()),
            json: serde_json::json!({ "data": null, "message": format!("{text}\n") }),
        }
    }
}

impl Upstream {
    pub fn new(port: u16, certificate: &[u8]) -> Self {
        let mut roots = rustls::RootCertStore::empty();
        roots
            .add(CertificateDer::from_pem_slice(certificate).unwrap())
            .unwrap();
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let config = rustls::ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_root_certificates(roots)
            .with_no_client_auth();
        Self {
            port,
            connector: TlsConnector::from(Arc::new(config)),
            ticket: Mutex::new(None),
            idle: Mutex::new(Vec::new()),
        }
    }

    async fn connect(&self) -> std::io::Result<SendRequest<Full<Bytes>>> {
        let tcp = TcpStream::connect(("127.0.0.1", self.port)).await?;
        tcp.set_nodelay(true)?;
        let name = ServerName::try_from("127.0.0.1").unwrap();
        let tls = self.connector.connect(name, tcp).await?;
        let (sender, connection) = handshake(TokioIo::new(tls))
            .await
            .map_err(std::io::Error::other)?;
        tokio::spawn(async move { drop(connection.await) });
        Ok(sender)
    }

    /// Signs in; an error while it does not listen yet.
    pub async fn sign_in(&self) -> std::io::Result<()> {
        let body = b"username=root@pam&password=sesame".to_vec();
        let reply = self.raw(Method::POST, "/access/ticket", body).await?;
        let word = |key: &str| reply.json["data"][key].as_str().unwrap_or("").to_owned();
        *self.ticket.lock().unwrap() = Some((word("ticket"), word("CSRFPreventionToken")));
        Ok(())
    }

    async fn raw(&self, method: Method, path: &str, body: Vec<u8>) -> std::io::Result<Reply> {
        let mut request = Request::builder()
            .method(method.clone())
            .uri(format!("/api2/json{path}"))
            .header("host", "127.0.0.1");
        if method != Method::GET && method != Method::DELETE {
            request = request.header("content-type", "application/x-www-form-urlencoded");
        }
        if let Some((ticket, csrf)) = self.ticket.lock().unwrap().clone() {
            request = request
                .header("cookie", format!("PVEAuthCookie={ticket}"))
                .header("csrfpreventiontoken", csrf);
        }
        let mut request = request
            .body(Full::from(body))
            .map_err(std::io::Error::other)?;
        let kept = self.idle.lock().unwrap().pop();
        let mut answer = None;
        if let Some(mut sender) = kept {
            match sender.try_send_request(request).await {
                Ok(response) => {
                    answer = Some((sender, response));
                    request = Request::new(Full::default());
                }
                Err(mut failed) => match failed.take_message() {
                    Some(unsent) => request = unsent,
                    None => return Err(std::io::Error::other(failed.into_error())),
                },
            }
        }
        let (sender, response) = match answer {
            Some(it) => it,
            None => {
                let mut sender = self.connect().await?;
                let response = sender
                    .send_request(request)
                    .await
                    .map_err(std::io::Error::other)?;
                (sender, response)
            }
        };
        let (parts, body) = response.into_parts();
        let bytes = body
            .collect()
            .await
            .map_err(std::io::Error::other)?
            .to_bytes();
        self.idle.lock().unwrap().push(sender);
        let reason = parts.extensions.get::<hyper::ext::ReasonPhrase>();
        Ok(Reply {
            status: parts.status,
            reason: reason.map(|it| String::from_utf8_lossy(it.as_bytes()).into_owned()),
            json: serde_json::from_slice(&bytes).unwrap_or(Value::Null),
        })
    }

    /// Asks fakepve, as its root.
    pub async fn ask(&self, method: Method, path: &str, body: Vec<u8>) -> Reply {
        match self.raw(method, path, body).await {
            Ok(reply) => reply,
            Err(error) => Reply::error(596, &format!("the stand-in does not answer: {error}")),
        }
    }
}
