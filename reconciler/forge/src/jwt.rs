//! The JSON Web Token by which an app signs in, signed with its private key (RS256).

use base64::Engine;
use base64::prelude::{BASE64_STANDARD, BASE64_URL_SAFE_NO_PAD};
use muster_core::time::Time;
use ring::rand::SystemRandom;
use ring::signature::{RSA_PKCS1_SHA256, RsaKeyPair};
use zeroize::Zeroizing;

use crate::secret::Secret;

/// Seconds by which a token is backdated: clocks differ, and a forge refuses a token from its future.
const EARLIER: i64 = 60;

/// Seconds that a token is valid; forges accept ten minutes at most.
const LASTS: i64 = 540;

/// An app's private key.
pub(crate) struct AppKey(RsaKeyPair);

impl AppKey {
    /// Reads the PEM that a forge gives out; PKCS#1, or PKCS#8 after a conversion.
    pub(crate) fn read(pem: &Secret) -> Result<Self, &'static str> {
        let wrong = "it is no RSA private key in PEM (`-----BEGIN RSA PRIVATE KEY-----`)";
        let text = std::str::from_utf8(pem.expose()).map_err(|_| wrong)?;
        let mut lines = text.lines().map(str::trim).filter(|it| !it.is_empty());
        let kind = lines
            .next()
            .and_then(|it| it.strip_prefix("-----BEGIN "))
            .and_then(|it| it.strip_suffix("-----"))
            .ok_or(wrong)?;
        let mut armour = Zeroizing::new(String::with_capacity(text.len()));
        let mut ended = false;
        for line in lines.by_ref() {
            if line == format!("-----END {kind}-----") {
                ended = true;
                break;
            }
            armour.push_str(line);
        }
        if !ended || lines.next().is_some() {
            return Err(wrong);
        }
        let der = Zeroizing::new(
            BASE64_STANDARD
                .decode(armour.as_bytes())
                .map_err(|_| wrong)?,
        );
        let key = match kind {
            "RSA PRIVATE KEY" => RsaKeyPair::from_der(&der),
            "PRIVATE KEY" => RsaKeyPair::from_pkcs8(&der),
            _ => return Err(wrong),
        };
        key.map(Self)
            .map_err(|_| "it is no RSA key of 2048 to 4096 bits")
    }

    /// A JWT that says it is `app`, for a few minutes from `now` by the forge's clock.
    pub(crate) fn sign(&self, app: u64, now: Time) -> Result<Secret, &'static str> {
        let header = BASE64_URL_SAFE_NO_PAD.encode(r#"{"alg":"RS256","typ":"JWT"}"#);
        let issued = now.0.saturating_sub(EARLIER);
        let claims = format!(
            r#"{{"iat":{issued},"exp":{},"iss":"{app}"}}"#,
            now.0.saturating_add(LASTS)
        );
        let mut jwt = format!("{header}.{}", BASE64_URL_SAFE_NO_PAD.encode(claims));
        let mut signature = vec![0; self.0.public().modulus_len()];
        self.0
            .sign(
                &RSA_PKCS1_SHA256,
                &SystemRandom::new(),
                jwt.as_bytes(),
                &mut signature,
            )
            .map_err(|_| "the machine gave no randomness")?;
        jwt.push('.');
        jwt.push_str(&BASE64_URL_SAFE_NO_PAD.encode(signature));
        Ok(Secret::new(jwt.into_bytes()))
    }
}
