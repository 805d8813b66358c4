//! Whom a connection trusts: a pinned certificate or a named authority, and nothing that switches either off (H1).

use std::fmt;
use std::sync::Arc;

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};
use rustls::{
    CertificateError, ClientConfig, DigitallySignedStruct, RootCertStore, SignatureScheme,
};
use sha2::{Digest, Sha256};
use zeroize::Zeroizing;

/// Why a hypervisor's certificate is believed.
#[derive(Clone, PartialEq, Eq)]
pub enum Trust {
    /// It is signed by one of these authorities, in PEM, and names the host of the address.
    Authority(Vec<u8>),
    /// It is exactly this one.
    Pinned(Fingerprint),
}

impl fmt::Debug for Trust {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Authority(_) => f.write_str("Authority"),
            Self::Pinned(fingerprint) => write!(f, "Pinned({fingerprint})"),
        }
    }
}

/// The SHA-256 of a certificate, as hypervisors show it.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Fingerprint([u8; 32]);

/// Not a fingerprint.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "`{0}` is not the fingerprint of a certificate: it has 32 bytes in hexadecimal, with colons between them or without \
     (`openssl x509 -noout -fingerprint -sha256 -in FILE` shows it)"
)]
pub struct NotAFingerprint(String);

impl std::str::FromStr for Fingerprint {
    type Err = NotAFingerprint;

    fn from_str(text: &str) -> Result<Self, NotAFingerprint> {
        let wrong = || NotAFingerprint(text.chars().take(120).collect());
        let digits: Vec<u8> = if text.contains(':') {
            let pairs: Vec<&str> = text.split(':').collect();
            if pairs.iter().any(|it| it.len() != 2) {
                return Err(wrong());
            }
            pairs.concat().into_bytes()
        } else {
            text.as_bytes().to_vec()
        };
        if digits.len() != 64 {
            return Err(wrong());
        }
        let digit = |b: u8| {
            char::from(b)
                .to_digit(16)
                .map(|it| u8::try_from(it).expect("below 16"))
        };
        let mut bytes = [0; 32];
        for (byte, pair) in bytes.iter_mut().zip(digits.chunks_exact(2)) {
            let (Some(high), Some(low)) = (digit(pair[0]), digit(pair[1])) else {
                return Err(wrong());
            };
            *byte = high << 4 | low;
        }
        Ok(Self(bytes))
    }
}

impl Fingerprint {
    /// The fingerprint of a certificate.
    pub fn of(certificate: &[u8]) -> Self {
        Self(Sha256::digest(certificate).into())
    }
}

impl fmt::Display for Fingerprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, byte) in self.0.iter().enumerate() {
            let colon = if index == 0 { "" } else { ":" };
            write!(f, "{colon}{byte:02X}")?;
        }
        Ok(())
    }
}

impl fmt::Debug for Fingerprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// The certificate that we show, and its key: both in PEM.
#[derive(Clone)]
pub struct ClientCertificate {
    /// The certificate, and whatever it is signed by.
    pub certificate: Vec<u8>,
    /// Its key.
    pub key: Zeroizing<Vec<u8>>,
}

impl fmt::Debug for ClientCertificate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("[client certificate]")
    }
}

impl ClientCertificate {
    /// The fingerprint by which a server knows us, in lower-case hexadecimal without colons.
    ///
    /// # Errors
    /// When there is no certificate in it.
    pub fn fingerprint(&self) -> Result<String, TrustError> {
        let first = certificates(&self.certificate)?.remove(0);
        Ok(Fingerprint::of(&first)
            .to_string()
            .replace(':', "")
            .to_ascii_lowercase())
    }
}

/// Why no trust can be set up.
#[derive(Debug, thiserror::Error)]
pub enum TrustError {
    /// There is no certificate in what should hold one.
    #[error("there is no certificate in it: it must be PEM, with `-----BEGIN CERTIFICATE-----`{0}")]
    NoCertificate(String),
    /// There is no key in what should hold one.
    #[error("there is no private key in it: it must be PEM, PKCS#8, PKCS#1 or SEC1")]
    NoKey,
    /// The TLS library does not take it.
    #[error("TLS cannot be set up: {0}")]
    Tls(#[from] rustls::Error),
}

fn certificates(pem: &[u8]) -> Result<Vec<CertificateDer<'static>>, TrustError> {
    let found: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(pem).collect();
    match found {
        Ok(found) if !found.is_empty() => Ok(found),
        Ok(_) => Err(TrustError::NoCertificate(String::new())),
        Err(error) => Err(TrustError::NoCertificate(format!(" ({error})"))),
    }
}

/// The TLS that connections to one hypervisor use.
pub(crate) fn client_config(
    trust: &Trust,
    client: Option<&ClientCertificate>,
) -> Result<ClientConfig, TrustError> {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let builder = ClientConfig::builder_with_provider(Arc::clone(&provider))
        .with_safe_default_protocol_versions()?;
    let builder = match trust {
        Trust::Authority(pem) => {
            let mut roots = RootCertStore::empty();
            for certificate in certificates(pem)? {
                roots.add(certificate)?;
            }
            builder.with_root_certificates(roots)
        }
        // The library's word for any check but its own; this one is stricter.
        Trust::Pinned(fingerprint) => {
            builder
                .dangerous()
                .with_custom_certificate_verifier(Arc::new(Pin {
                    fingerprint: *fingerprint,
                    provider,
                }))
        }
    };
    let Some(client) = client else {
        return Ok(builder.with_no_client_auth());
    };
    let key = PrivateKeyDer::from_pem_slice(&client.key).map_err(|_| TrustError::NoKey)?;
    Ok(builder.with_client_auth_cert(certificates(&client.certificate)?, key)?)
}

/// What went wrong while a connection became one of TLS, and what to do about it.
pub(crate) fn in_words(error: &std::io::Error) -> String {
    let tls = error.get_ref().and_then(|it| it.downcast_ref());
    let (why, cure) = match tls {
        // Our own words.
        Some(rustls::Error::General(why)) => return why.clone(),
        Some(rustls::Error::InvalidCertificate(why)) => match why {
            // An authority of the same name has another key.
            CertificateError::UnknownIssuer | CertificateError::BadSignature => (
                "its certificate is not signed by what `ca` names".to_owned(),
                "put the certificate of the authority that signed it there, or pin the server's own by `fingerprint`",
            ),
            CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. } => {
                (
                    format!("its certificate is for another name than `url` has ({why})"),
                    "write a name into `url` that the certificate has, or pin it by `fingerprint`",
                )
            }
            CertificateError::Expired | CertificateError::ExpiredContext { .. } => (
                format!("its certificate has expired ({why})"),
                "renew it there, and look at this machine's clock",
            ),
            why => (
                format!("its certificate is not to be believed ({why})"),
                "look at it there, or pin it by `fingerprint`",
            ),
        },
        Some(_) | None => return error.to_string(),
    };
    format!("{why}; {cure}")
}

/// Takes one certificate and no other; whoever shows it must prove to have its key, as ever.
#[derive(Debug)]
struct Pin {
    fingerprint: Fingerprint,
    provider: Arc<CryptoProvider>,
}

impl ServerCertVerifier for Pin {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        let shown = Fingerprint::of(end_entity);
        if shown == self.fingerprint {
            Ok(ServerCertVerified::assertion())
        } else {
            Err(rustls::Error::General(format!(
                "the server shows a certificate with the fingerprint {shown}, and {} is pinned; if it was renewed, look at it \
                 there and put its fingerprint into the settings",
                self.fingerprint
            )))
        }
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let algorithms = &self.provider.signature_verification_algorithms;
        verify_tls12_signature(message, certificate, signature, algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let algorithms = &self.provider.signature_verification_algorithms;
        verify_tls13_signature(message, certificate, signature, algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider
            .signature_verification_algorithms
            .supported_schemes()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_fingerprint_is_32_bytes_in_hexadecimal() {
        let plain = "a9".repeat(32);
        let colons = vec!["A9"; 32].join(":");
        let read: Fingerprint = plain.parse().unwrap();
        assert_eq!(read, colons.parse().unwrap());
        assert_eq!(read.to_string(), colons);
        for bad in [
            "",
            "a9",
            &"g9".repeat(32),
            &vec!["A"; 64].join(":"),
            &plain[1..],
        ] {
            assert!(bad.parse::<Fingerprint>().is_err(), "{bad}");
        }
    }
}
