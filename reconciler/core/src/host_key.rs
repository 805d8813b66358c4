//! The key of one host, with which it signs the commits of its ledger, and the question whether it did.
//!
//! A commit is signed as git signs it with `gpg.format=ssh`: the header `gpgsig` holds an OpenSSH signature (namespace `git`,
//! SHA-512) over the commit without that header. `git verify-commit` with a file of allowed signers takes it. What is taken
//! here is narrower: one spelling of the commit, one of the signature, and one key.

use std::fmt;

use ring::signature::{Ed25519KeyPair, KeyPair as _};
use sha2::{Digest as _, Sha512};

use crate::release::signature::{self, NAMESPACE, SshSig, UserVerification};
use crate::release::wire::put_string;
use crate::release::{Fingerprint, armor};
use crate::time::Time;

/// What stands before the 32 bytes of an ed25519 key in PKCS#8 (RFC 8410).
const PKCS8: [u8; 16] = [
    0x30, 0x2e, 0x02, 0x01, 0x00, 0x30, 0x05, 0x06, 0x03, 0x2b, 0x65, 0x70, 0x04, 0x22, 0x04, 0x20,
];

/// The header that holds a signature.
const HEADER: &[u8] = b"gpgsig ";

/// A signing key. Whoever has it is the host.
pub struct HostKey {
    pair: Ed25519KeyPair,
}

impl fmt::Debug for HostKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "HostKey({})", self.public())
    }
}

/// Bytes that hold no key.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("it is no ed25519 key in PKCS#8")]
pub struct NotAKey;

impl HostKey {
    /// The file of the key that 32 random bytes make.
    pub fn file_of(seed: &[u8; 32]) -> Vec<u8> {
        [PKCS8.as_slice(), seed].concat()
    }

    /// Reads the file of a key.
    ///
    /// # Errors
    /// When it is none.
    pub fn read(file: &[u8]) -> Result<Self, NotAKey> {
        Ed25519KeyPair::from_pkcs8_maybe_unchecked(file)
            .map(|pair| Self { pair })
            .map_err(|_| NotAKey)
    }

    /// The key that 32 random bytes make.
    pub fn from_seed(seed: &[u8; 32]) -> Self {
        Self::read(&Self::file_of(seed)).expect("BUG: any 32 bytes make a key")
    }

    /// Its public half.
    pub fn public(&self) -> PublicKey {
        let mut blob = Vec::with_capacity(51);
        put_string(&mut blob, b"ssh-ed25519");
        put_string(&mut blob, self.pair.public_key().as_ref());
        PublicKey { blob }
    }

    /// Signs the raw bytes of a commit: gives the bytes of the commit that holds the signature.
    ///
    /// What is no commit, or holds a signature already, comes back as something that [`verify_commit`] refuses.
    pub fn sign_commit(&self, commit: &[u8]) -> Vec<u8> {
        let Some(end) = end_of_headers(commit) else {
            return commit.to_vec();
        };
        let text = self.sign(commit);
        let mut signed = Vec::with_capacity(commit.len() + text.len() + 32);
        signed.extend_from_slice(&commit[..end]);
        signed.extend_from_slice(HEADER);
        for (index, line) in text.lines().enumerate() {
            if index > 0 {
                signed.push(b' ');
            }
            signed.extend_from_slice(line.as_bytes());
            signed.push(b'\n');
        }
        signed.extend_from_slice(&commit[end..]);
        signed
    }

    /// The signature over `message`, in its armor.
    fn sign(&self, message: &[u8]) -> String {
        let mut data = Vec::with_capacity(128);
        data.extend_from_slice(signature::MAGIC);
        put_string(&mut data, NAMESPACE);
        put_string(&mut data, b"");
        put_string(&mut data, b"sha512");
        put_string(&mut data, &Sha512::digest(message));
        let mut proof = Vec::with_capacity(83);
        put_string(&mut proof, b"ssh-ed25519");
        put_string(&mut proof, self.pair.sign(&data).as_ref());
        let mut blob = Vec::with_capacity(256);
        blob.extend_from_slice(signature::MAGIC);
        blob.extend_from_slice(&1_u32.to_be_bytes());
        put_string(&mut blob, self.public().blob());
        put_string(&mut blob, NAMESPACE);
        put_string(&mut blob, b"");
        put_string(&mut blob, b"sha512");
        put_string(&mut blob, &proof);
        armor::wrap(&blob)
    }
}

/// The public half of a host's key, written as OpenSSH does: `ssh-ed25519 AAAA…`.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PublicKey {
    blob: Vec<u8>,
}

/// Not the public half of a host's key.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "the key cannot be used: {0}; write `ssh-ed25519 AAAA…`, as `muster status` prints it on that host"
)]
pub struct NotAPublicKey(String);

impl PublicKey {
    /// Reads `ssh-ed25519 AAAA…`, with one space and nothing behind it.
    ///
    /// # Errors
    /// When it is a key of another type, or none.
    pub fn parse(text: &str) -> Result<Self, NotAPublicKey> {
        let refused = |why: &str| NotAPublicKey(why.to_owned());
        let (kind, base64) = text.split_once(' ').unwrap_or((text, ""));
        if kind != "ssh-ed25519" {
            return Err(NotAPublicKey(format!(
                "it is of type {} and a host has an ed25519 key",
                crate::release::shown(kind.as_bytes())
            )));
        }
        let blob = armor::decode(base64.as_bytes()).ok_or_else(|| refused("it is damaged"))?;
        match signature::PublicKey::parse(&blob) {
            Ok(signature::PublicKey::Ed25519(_)) => Ok(Self { blob }),
            Ok(_) => Err(refused("it is of another type than it says")),
            Err(why) => Err(NotAPublicKey(why)),
        }
    }

    /// The blob, as a signature names it.
    pub fn blob(&self) -> &[u8] {
        &self.blob
    }

    /// Its fingerprint.
    pub fn fingerprint(&self) -> Fingerprint {
        Fingerprint::of(&self.blob)
    }
}

impl fmt::Display for PublicKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ssh-ed25519 {}", armor::encode(&self.blob))
    }
}

impl fmt::Debug for PublicKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// Why a commit does not count as a host's.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NotSigned {
    /// It is no commit as muster writes it.
    #[error("it is no commit as muster writes it: {0}")]
    Commit(&'static str),
    /// There is no signature.
    #[error("it is not signed")]
    Unsigned,
    /// There is something in its place.
    #[error("its signature cannot be read: {0}")]
    Malformed(String),
    /// It is another key's.
    #[error("it is signed with another key, {0}")]
    OtherKey(Fingerprint),
    /// It does not fit the commit.
    #[error(
        "its signature does not fit: it was changed after it was signed, or signed for another purpose"
    )]
    Bad,
}

/// Whether the commit with these raw bytes was signed with `key`.
///
/// # Errors
/// Why it does not count as signed.
pub fn verify_commit(raw: &[u8], key: &PublicKey) -> Result<(), NotSigned> {
    let Parts { signed, armored } = take_apart(raw)?;
    let blob = unwrap(&armored)?;
    let signature =
        SshSig::parse(&blob).map_err(|refusal| NotSigned::Malformed(refusal.why.clone()))?;
    if signature.key_blob() != key.blob() {
        return Err(NotSigned::OtherKey(signature.fingerprint()));
    }
    signature
        .verify(&signed, UserVerification::NotAsked)
        .map_err(|_| NotSigned::Bad)
}

/// The key that signed the commit with these raw bytes, whoever has it; `None` when none did, or not well.
pub fn signer_of(raw: &[u8]) -> Option<PublicKey> {
    let Parts { signed, armored } = take_apart(raw).ok()?;
    let blob = unwrap(&armored).ok()?;
    let signature = SshSig::parse(&blob).ok()?;
    let key = match signature::PublicKey::parse(signature.key_blob()) {
        Ok(signature::PublicKey::Ed25519(_)) => PublicKey {
            blob: signature.key_blob().to_vec(),
        },
        _ => return None,
    };
    signature
        .verify(&signed, UserVerification::NotAsked)
        .ok()
        .map(|()| key)
}

/// When the commit with these raw bytes was made, as it says itself.
pub fn committed_at(raw: &[u8]) -> Option<Time> {
    let headers = std::str::from_utf8(&raw[..end_of_headers(raw)?]).ok()?;
    let line = headers
        .lines()
        .find_map(|it| it.strip_prefix("committer "))?;
    let (_, moment) = line.rsplit_once("> ")?;
    let (seconds, _) = moment.split_once(' ')?;
    seconds.parse().ok().map(Time)
}

struct Parts {
    /// The commit without its signature.
    signed: Vec<u8>,
    /// The signature, as it stood before it was put into a header.
    armored: Vec<u8>,
}

/// Takes a signed commit apart: `tree`, at most one `parent`, `author`, `committer`, `gpgsig`, and no other header.
fn take_apart(raw: &[u8]) -> Result<Parts, NotSigned> {
    let end = end_of_headers(raw).ok_or(NotSigned::Commit("it has no message"))?;
    let mut lines = raw[..end].split_inclusive(|byte| *byte == b'\n').peekable();
    let mut plain = 0;
    for (name, required) in [
        (&b"tree "[..], true),
        (b"parent ", false),
        (b"author ", true),
        (b"committer ", true),
    ] {
        match lines.next_if(|line| line.starts_with(name)) {
            Some(line) => plain += line.len(),
            None if required => {
                return Err(NotSigned::Commit("a header is missing or out of place"));
            }
            None => {}
        }
    }
    let mut armored = Vec::new();
    for (index, line) in lines.enumerate() {
        let body = if index == 0 {
            line.strip_prefix(HEADER)
        } else {
            line.strip_prefix(b" ")
        };
        match body {
            Some(body) => armored.extend_from_slice(body),
            None => {
                return Err(NotSigned::Commit(
                    "it has a header that does not belong there",
                ));
            }
        }
    }
    if armored.is_empty() {
        return Err(NotSigned::Unsigned);
    }
    let signed = [&raw[..plain], &raw[end..]].concat();
    Ok(Parts { signed, armored })
}

/// Where the last header ends, with its line end; the empty line before the message follows.
fn end_of_headers(commit: &[u8]) -> Option<usize> {
    commit
        .windows(2)
        .position(|it| it == b"\n\n")
        .map(|at| at + 1)
}

fn unwrap(armored: &[u8]) -> Result<Vec<u8>, NotSigned> {
    // In a tag a signature begins a line; here it is the first.
    let begin = &armor::BEGIN[1..];
    let body = armored
        .strip_prefix(begin)
        .ok_or_else(|| NotSigned::Malformed("it is no OpenSSH signature".to_owned()))?;
    armor::unwrap(body)
        .map_err(|_| NotSigned::Malformed("it is not written as OpenSSH writes it".to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    const UNSIGNED: &[u8] = b"tree 4b825dc642cb6eb9a060e54bf8d69288fbee4904\n\
        parent 0123456789012345678901234567890123456789\n\
        author muster <muster@devvm> 1795000000 +0000\n\
        committer muster <muster@devvm> 1795000000 +0000\n\
        \n\
        words\n\ngpgsig in words\n";

    fn key(seed: u8) -> HostKey {
        HostKey::from_seed(&[seed; 32])
    }

    #[test]
    fn a_signed_commit_is_that_keys_alone() {
        for commit in [
            UNSIGNED.to_vec(),
            // The first commit of a history.
            [&UNSIGNED[..46], &UNSIGNED[94..]].concat(),
        ] {
            let signed = key(1).sign_commit(&commit);
            assert_eq!(signed, key(1).sign_commit(&commit));
            assert_eq!(verify_commit(&signed, &key(1).public()), Ok(()));
            assert_eq!(signer_of(&signed), Some(key(1).public()));
            assert_eq!(
                verify_commit(&signed, &key(2).public()),
                Err(NotSigned::OtherKey(key(1).public().fingerprint()))
            );
            assert_eq!(
                verify_commit(&commit, &key(1).public()),
                Err(NotSigned::Unsigned)
            );
            assert_eq!(signer_of(&commit), None);
            assert_eq!(committed_at(&signed), Some(Time(1_795_000_000)));
        }
    }

    #[test]
    fn every_bit_counts() {
        let signed = key(1).sign_commit(UNSIGNED);
        for at in 0..signed.len() {
            for bit in [0, 3, 7] {
                let mut other = signed.clone();
                other[at] ^= 1 << bit;
                assert!(
                    verify_commit(&other, &key(1).public()).is_err(),
                    "byte {at}, bit {bit}"
                );
            }
        }
        for len in 0..signed.len() {
            assert!(verify_commit(&signed[..len], &key(1).public()).is_err());
        }
    }

    #[test]
    fn a_commit_has_one_spelling() {
        let signed = String::from_utf8(key(1).sign_commit(UNSIGNED)).unwrap();
        let header = {
            let from = signed.find("gpgsig ").unwrap();
            let to = signed.find("\n\nwords").unwrap() + 1;
            signed[from..to].to_owned()
        };
        let cases = [
            // Twice, which git would take apart as one.
            signed.replace(&header, &format!("{header}{header}")),
            signed.replace("gpgsig ", "gpgsig-sha256 "),
            signed.replace(&header, &format!("encoding latin1\n{header}")),
            signed.replace(&header, &format!("{header}more 1\n")),
            signed.replace(
                "parent 0123",
                "parent 0123456789012345678901234567890123456789\nparent 0123",
            ),
            signed.replace("author", "auther"),
            signed.replace(" -----END", "  -----END"),
        ];
        for case in cases {
            assert_ne!(case, signed);
            assert!(verify_commit(case.as_bytes(), &key(1).public()).is_err());
        }
        for nothing in [&b""[..], b"\n\n", b"tree \n\n", &[0xff; 100]] {
            assert!(verify_commit(nothing, &key(1).public()).is_err());
            assert_eq!(committed_at(nothing), None);
        }
    }

    #[test]
    fn a_key_is_read_back_and_its_secret_is_not_shown() {
        let file = HostKey::file_of(&[7; 32]);
        let key = HostKey::read(&file).unwrap();
        let text = key.public().to_string();
        assert_eq!(PublicKey::parse(&text).unwrap(), key.public());
        assert!(
            text.starts_with("ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAI"),
            "{text}"
        );
        let shown = format!("{key:?}");
        assert!(
            !shown.contains("7, 7") && !shown.contains("0707"),
            "{shown}"
        );
        assert_eq!(HostKey::read(&file[..47]).unwrap_err(), NotAKey);
        assert_eq!(HostKey::read(b"").unwrap_err(), NotAKey);
        for other in [
            "",
            "ssh-ed25519",
            "ssh-rsa AAAA",
            "ssh-ed25519 AAAA",
            &format!("{text} x"),
            &format!(" {text}"),
        ] {
            assert!(PublicKey::parse(other).is_err(), "{other}");
        }
    }
}
