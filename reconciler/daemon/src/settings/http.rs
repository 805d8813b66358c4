//! `[http]`: the one HTTP server, where there is one.

use std::net::SocketAddr;
use std::path::PathBuf;

use muster_forge::secret::SecretFile;

use super::place::{At, Problem};
use super::section::{Check, Checks, section};
use super::values::{path, secret};

section! {
    /// Where to listen for the forge's webhooks (/webhook/github, /webhook/forgejo), /healthz and /readyz. No default: nobody listens.
    listen: String, example "127.0.0.1:8472";
    /// A certificate with those between it and its root, and its key, as PEM. No defaults: without them this is plain HTTP, for a proxy
    /// in front that speaks TLS.
    certificate: String, example "/etc/muster/tls/certificate.pem";
    key: String, example "/etc/muster/tls/key.pem";
    /// What the forge signs its webhooks with; needed where there is a [forge]. No default.
    webhook_secret: String, example "webhook-secret";
}

/// The one HTTP server.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HttpSettings {
    /// Where it listens.
    pub listen: SocketAddr,
    /// Its certificate; without one it speaks plain HTTP, and belongs behind a proxy that does not.
    pub tls: Option<TlsFiles>,
    /// What deliveries are checked with. There whenever there is a forge.
    pub webhook_secret: Option<SecretFile>,
}

/// A certificate and its key, as PEM.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TlsFiles {
    /// The certificate, and those between it and its root.
    pub certificate: PathBuf,
    /// Its private key.
    pub key: SecretFile,
}

impl Check for Given {
    type Value = Option<HttpSettings>;

    fn check(&self, checks: &mut Checks<'_>) -> Option<Option<HttpSettings>> {
        let tls = self.tls(checks);
        let webhook_secret = self.webhook_secret.as_ref();
        let webhook_secret = webhook_secret.map(|it| secret(it, checks.ambient, checks.problems));
        let Some(At { value, place }) = &self.listen else {
            let others = [&self.certificate, &self.key, &self.webhook_secret];
            let Some(other) = others.into_iter().flatten().next() else {
                return Some(None);
            };
            checks.problems.push(
                Problem::new(
                    other.place.clone(),
                    "[http] has no `listen`, so nothing is served",
                )
                .help("such as \"127.0.0.1:8472\", or leave the section out"),
            );
            return None;
        };
        if checks.inputs.forge.is_set() && webhook_secret.is_none() {
            checks.problems.push(
                Problem::new(
                    place.clone(),
                    "[http] has no `webhook_secret`, so that anybody could knock",
                )
                .help("set it to a file with a long random word, and tell the same to the forge"),
            );
        }
        let listen = value.parse();
        if listen.is_err() {
            checks.problems.push(
                Problem::new(
                    place.clone(),
                    format!("`{}` is no address to listen at", value.escape_debug()),
                )
                .help("a numeric address and a port, such as \"127.0.0.1:8472\" or \"[::]:8472\""),
            );
        }
        Some(Some(HttpSettings {
            listen: listen.ok()?,
            tls: tls?,
            webhook_secret: match webhook_secret {
                Some(secret) => Some(secret?),
                None => None,
            },
        }))
    }
}

impl Given {
    fn tls(&self, checks: &mut Checks<'_>) -> Option<Option<TlsFiles>> {
        let (what, alone) = match (&self.certificate, &self.key) {
            (None, None) => return Some(None),
            (Some(certificate), Some(key)) => {
                let certificate = path(certificate, checks.problems);
                let key = secret(key, checks.ambient, checks.problems);
                return Some(Some(TlsFiles {
                    certificate: certificate?,
                    key: key?,
                }));
            }
            (Some(alone), None) => ("a certificate is of no use without its `key`", alone),
            (None, Some(alone)) => ("a key is of no use without its `certificate`", alone),
        };
        let problem = Problem::new(alone.place.clone(), what);
        checks
            .problems
            .push(problem.help("set both, or leave both out"));
        None
    }
}
