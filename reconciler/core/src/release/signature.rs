//! SSH signatures (`SSHSIG`, version 1) and the public keys that make them.
//!
//! | key | signature |
//! |---|---|
//! | `ssh-ed25519` | ed25519 |
//! | `sk-ssh-ed25519@openssh.com` | ed25519 by a security key that says somebody touched it |
//! | `ecdsa-sha2-nistp256` | P-256 with SHA-256 |
//! | `ssh-rsa`, 3072 to 8192 bits | `rsa-sha2-256`, `rsa-sha2-512` |
//!
//! No certificates, no other curve, no DSA, no SHA-1. Read by hand out of the raw bytes, each field in its one spelling
//! and nothing left over, because a general parser is made to take what others write; the arithmetic is ring's.

use ring::signature::{
    ECDSA_P256_SHA256_FIXED, ED25519, RSA_PKCS1_2048_8192_SHA256, RSA_PKCS1_2048_8192_SHA512,
    RsaPublicKeyComponents, UnparsedPublicKey, VerificationAlgorithm,
};
use sha2::{Digest as _, Sha256, Sha512};

use super::wire::{Reader, put_string};
use super::{Code, Fingerprint, Refusal, shown};

pub(crate) const MAGIC: &[u8] = b"SSHSIG";
pub(crate) const NAMESPACE: &[u8] = b"git";

const ED25519_KEY: &[u8] = b"ssh-ed25519";
const SK_ED25519_KEY: &[u8] = b"sk-ssh-ed25519@openssh.com";
const P256_KEY: &[u8] = b"ecdsa-sha2-nistp256";
const RSA_KEY: &[u8] = b"ssh-rsa";

/// The one exponent that OpenSSH gives RSA keys.
const RSA_EXPONENT: &[u8] = &[1, 0, 1];

/// Somebody touched the security key.
const USER_PRESENT: u8 = 0x01;
/// Somebody proved to the security key who they are, by PIN or fingerprint.
const USER_VERIFIED: u8 = 0x04;
/// Says that something follows the counter, for which SSH has no place.
const MORE_DATA: u8 = 0xc0;

/// A public key, borrowed from its blob.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PublicKey<'b> {
    /// `ssh-ed25519`.
    Ed25519(&'b [u8; 32]),
    /// `sk-ssh-ed25519@openssh.com`.
    SkEd25519 {
        /// The point.
        key: &'b [u8; 32],
        /// What the security key was told it is for, usually `ssh:`.
        application: &'b [u8],
    },
    /// `ecdsa-sha2-nistp256`: the uncompressed point.
    P256(&'b [u8; 65]),
    /// `ssh-rsa`: the modulus, without leading zeros. The exponent is 65537.
    Rsa(&'b [u8]),
}

impl<'b> PublicKey<'b> {
    /// Reads the blob of a public key; the error is a sentence that says why it cannot be used.
    pub fn parse(blob: &'b [u8]) -> Result<Self, String> {
        let mut reader = Reader::new(blob);
        let kind = reader.string().ok_or("it is no SSH public key")?;
        let cut = || format!("the {} key is damaged", String::from_utf8_lossy(kind));
        let key = match kind {
            ED25519_KEY => array(reader.string())
                .and_then(|key| reader.end(Self::Ed25519(key)))
                .ok_or_else(cut)?,
            SK_ED25519_KEY => array(reader.string())
                .and_then(|key| {
                    let application = reader.string()?;
                    reader.end(Self::SkEd25519 { key, application })
                })
                .ok_or_else(cut)?,
            P256_KEY => reader
                .string()
                .filter(|curve| *curve == b"nistp256")
                .and_then(|_| array(reader.string()))
                .filter(|point: &&[u8; 65]| point[0] == 4)
                .and_then(|point| reader.end(Self::P256(point)))
                .ok_or_else(cut)?,
            RSA_KEY => {
                let exponent = reader.number().ok_or_else(cut)?;
                let modulus = reader.number().ok_or_else(cut)?;
                reader.end(()).ok_or_else(cut)?;
                let bits =
                    modulus.len() * 8 - modulus.first().map_or(0, |it| it.leading_zeros() as usize);
                if !(3072..=8192).contains(&bits) {
                    return Err(format!(
                        "an RSA key needs 3072 to 8192 bits and this one has {bits}; use an ed25519 key"
                    ));
                }
                if exponent != RSA_EXPONENT {
                    return Err(
                        "an RSA key must have the exponent 65537; use an ed25519 key".into(),
                    );
                }
                Self::Rsa(modulus)
            }
            _ if contains(kind, b"-cert-") => {
                return Err("certificates are not accepted; use the plain public key".into());
            }
            other => {
                return Err(format!(
                    "keys of type {} are not accepted; use ssh-ed25519, sk-ssh-ed25519@openssh.com, ecdsa-sha2-nistp256, or RSA from 3072 bits",
                    shown(other)
                ));
            }
        };
        Ok(key)
    }

    /// The name of its type, with which its text form begins.
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Ed25519(_) => "ssh-ed25519",
            Self::SkEd25519 { .. } => "sk-ssh-ed25519@openssh.com",
            Self::P256(_) => "ecdsa-sha2-nistp256",
            Self::Rsa(_) => "ssh-rsa",
        }
    }
}

/// A signature, taken apart.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SshSig<'b> {
    key_blob: &'b [u8],
    key: PublicKey<'b>,
    namespace: &'b [u8],
    hash: Hash,
    proof: Proof<'b>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Hash {
    Sha256,
    Sha512,
}

/// What the key's own algorithm made.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Proof<'b> {
    Ed25519(&'b [u8]),
    SkEd25519 {
        signature: &'b [u8],
        flags: u8,
        counter: u32,
    },
    /// `r` and `s`, 32 bytes each.
    P256([u8; 64]),
    Rsa {
        signature: &'b [u8],
        hash: Hash,
    },
}

impl<'b> SshSig<'b> {
    /// Reads a signature out of its armor. Refused as [`Code::Malformed`].
    pub fn parse(blob: &'b [u8]) -> Result<Self, Refusal> {
        let damaged = || Code::Malformed.because("the SSH signature is damaged; sign again");
        let mut reader = Reader::new(blob);
        let is_sshsig = reader.take(MAGIC.len()) == Some(MAGIC) && reader.u32() == Some(1);
        if !is_sshsig {
            return Err(damaged());
        }
        let key_blob = reader.string().ok_or_else(damaged)?;
        let namespace = reader.string().ok_or_else(damaged)?;
        let reserved = reader.string().ok_or_else(damaged)?;
        let hash = match reader.string() {
            Some(b"sha256") => Hash::Sha256,
            Some(b"sha512") => Hash::Sha512,
            _ => return Err(damaged()),
        };
        let signature = reader.string().ok_or_else(damaged)?;
        reader
            .end(())
            .filter(|()| reserved.is_empty())
            .ok_or_else(damaged)?;
        let key = PublicKey::parse(key_blob).map_err(|why| {
            Code::Malformed.because(format!(
                "the signature is by a key that cannot be used: {why}"
            ))
        })?;
        let proof = Proof::parse(&key, signature).ok_or_else(damaged)?;
        Ok(Self {
            key_blob,
            key,
            namespace,
            hash,
            proof,
        })
    }

    /// The public key of the signer, as they claim.
    pub fn key_blob(&self) -> &'b [u8] {
        self.key_blob
    }

    /// The fingerprint of that key.
    pub fn fingerprint(&self) -> Fingerprint {
        Fingerprint::of(self.key_blob)
    }

    /// Made for git, not for another purpose (M31). Refused as [`Code::BadSignature`].
    pub fn namespace_is_git(&self) -> Result<(), Refusal> {
        if self.namespace == NAMESPACE {
            return Ok(());
        }
        Err(Code::BadSignature.because(format!(
            "the signature was made for {} and not for `git`; sign with `git tag -s`",
            shown(self.namespace)
        )))
    }

    /// Whether this is the key's signature over `message`, made for git, with a touch where the key can tell and, when
    /// `verified` asks for it, with a PIN or fingerprint. Refused as [`Code::BadSignature`].
    pub fn verify(&self, message: &[u8], verified: UserVerification) -> Result<(), Refusal> {
        self.namespace_is_git()?;
        self.touched(verified)?;
        let signed = self.signed_data(message);
        let is_good = match (&self.key, &self.proof) {
            (PublicKey::Ed25519(key), Proof::Ed25519(signature)) => {
                is_by(&ED25519, *key, &signed, signature)
            }
            (
                PublicKey::SkEd25519 { key, application },
                Proof::SkEd25519 {
                    signature,
                    flags,
                    counter,
                },
            ) => {
                let mut assertion = Vec::with_capacity(69);
                assertion.extend_from_slice(&Sha256::digest(application));
                assertion.push(*flags);
                assertion.extend_from_slice(&counter.to_be_bytes());
                assertion.extend_from_slice(&Sha256::digest(&signed));
                is_by(&ED25519, *key, &assertion, signature)
            }
            (PublicKey::P256(point), Proof::P256(signature)) => {
                is_by(&ECDSA_P256_SHA256_FIXED, *point, &signed, signature)
            }
            (PublicKey::Rsa(modulus), Proof::Rsa { signature, hash }) => {
                let key = RsaPublicKeyComponents {
                    n: *modulus,
                    e: RSA_EXPONENT,
                };
                let parameters = match hash {
                    Hash::Sha256 => &RSA_PKCS1_2048_8192_SHA256,
                    Hash::Sha512 => &RSA_PKCS1_2048_8192_SHA512,
                };
                key.verify(parameters, &signed, signature).is_ok()
            }
            // `Proof::parse` follows the key; were that ever wrong, no pair of another kind is good.
            _ => false,
        };
        if is_good {
            Ok(())
        } else {
            Err(Code::BadSignature.because(format!(
                "the signature does not fit what is signed and the key {}; the tag was changed after it was signed, or made from another one",
                self.fingerprint()
            )))
        }
    }

    /// A security key says what its owner did (M39); other keys cannot tell.
    fn touched(&self, verified: UserVerification) -> Result<(), Refusal> {
        let Proof::SkEd25519 { flags, .. } = self.proof else {
            return match verified {
                UserVerification::NotAsked => Ok(()),
                UserVerification::Required => Err(Code::BadSignature.because(
                    "the trust root asks for a PIN with this key, which is not a security key; correct the trust root",
                )),
            };
        };
        if flags & USER_PRESENT == 0 {
            return Err(Code::BadSignature.because(
                "nobody touched the security key for this signature; make the key without no-touch-required",
            ));
        }
        if verified == UserVerification::Required && flags & USER_VERIFIED == 0 {
            return Err(Code::BadSignature.because(
                "the trust root asks for a PIN with this security key, and none was given; make the key with `-O verify-required`",
            ));
        }
        Ok(())
    }

    fn signed_data(&self, message: &[u8]) -> Vec<u8> {
        let mut out = Vec::with_capacity(128);
        out.extend_from_slice(MAGIC);
        put_string(&mut out, self.namespace);
        put_string(&mut out, b"");
        match self.hash {
            Hash::Sha256 => {
                put_string(&mut out, b"sha256");
                put_string(&mut out, &Sha256::digest(message));
            }
            Hash::Sha512 => {
                put_string(&mut out, b"sha512");
                put_string(&mut out, &Sha512::digest(message));
            }
        }
        out
    }
}

/// Whether a security key must have asked who is there, beyond a touch.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum UserVerification {
    /// A touch is enough.
    #[default]
    NotAsked,
    /// A PIN or a fingerprint too.
    Required,
}

impl<'b> Proof<'b> {
    fn parse(key: &PublicKey<'_>, signature: &'b [u8]) -> Option<Self> {
        let mut reader = Reader::new(signature);
        let kind = reader.string()?;
        let body = reader.string()?;
        match key {
            PublicKey::Ed25519(_) if kind == ED25519_KEY && body.len() == 64 => {
                reader.end(Self::Ed25519(body))
            }
            PublicKey::SkEd25519 { .. } if kind == SK_ED25519_KEY && body.len() == 64 => {
                let flags = reader.byte()?;
                let counter = reader.u32()?;
                (flags & MORE_DATA == 0).then_some(())?;
                reader.end(Self::SkEd25519 {
                    signature: body,
                    flags,
                    counter,
                })
            }
            PublicKey::P256(_) if kind == P256_KEY => {
                let mut numbers = Reader::new(body);
                let mut fixed = [0; 64];
                for half in fixed.chunks_exact_mut(32) {
                    let number = numbers.number()?;
                    let start = half.len().checked_sub(number.len())?;
                    half[start..].copy_from_slice(number);
                }
                numbers.end(())?;
                reader.end(Self::P256(fixed))
            }
            PublicKey::Rsa(modulus) if body.len() == modulus.len() => {
                let hash = match kind {
                    b"rsa-sha2-256" => Hash::Sha256,
                    b"rsa-sha2-512" => Hash::Sha512,
                    _ => return None,
                };
                reader.end(Self::Rsa {
                    signature: body,
                    hash,
                })
            }
            _ => None,
        }
    }
}

fn is_by(
    algorithm: &'static dyn VerificationAlgorithm,
    key: &[u8],
    message: &[u8],
    signature: &[u8],
) -> bool {
    UnparsedPublicKey::new(algorithm, key)
        .verify(message, signature)
        .is_ok()
}

fn array<const N: usize>(bytes: Option<&[u8]>) -> Option<&[u8; N]> {
    bytes?.try_into().ok()
}

fn contains(text: &[u8], part: &[u8]) -> bool {
    text.windows(part.len()).any(|it| it == part)
}
