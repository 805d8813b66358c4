//! Makes tags as git and OpenSSH would, and as they never would.

use muster_core::commit::CommitId;
use muster_core::release::root::{Quorums, Role, TrustRoot, TrustedKey};
use muster_core::release::signature::UserVerification;
use muster_core::release::statement::{Line, Statement};
use muster_core::release::{Nonce, RepoId};
use muster_core::time::Time;
use ring::signature::{Ed25519KeyPair, KeyPair as _};
use sha2::{Digest as _, Sha256, Sha512};

pub(crate) const NOW: Time = Time(1_795_316_400);
pub(crate) const COMMIT: &str = "3d2a1f0e9c8b7a6f5e4d3c2b1a0f9e8d7c6b5a49";
const ED25519: &[u8] = b"ssh-ed25519";
const SK_ED25519: &[u8] = b"sk-ssh-ed25519@openssh.com";

/// A key, the same one for the same number.
pub(crate) struct Signer {
    pair: Ed25519KeyPair,
    /// The blob of the public key.
    pub(crate) blob: Vec<u8>,
    application: Option<&'static [u8]>,
}

pub(crate) fn ed25519(number: u8) -> Signer {
    let pair = Ed25519KeyPair::from_seed_unchecked(&[number; 32]).unwrap();
    let mut blob = string(ED25519);
    blob.extend(string(pair.public_key().as_ref()));
    Signer {
        pair,
        blob,
        application: None,
    }
}

/// A security key.
pub(crate) fn sk_ed25519(number: u8) -> Signer {
    let mut signer = ed25519(number);
    signer.blob = string(SK_ED25519);
    signer
        .blob
        .extend(string(signer.pair.public_key().as_ref()));
    signer.blob.extend(string(b"ssh:"));
    signer.application = Some(b"ssh:");
    signer
}

impl Signer {
    pub(crate) fn text(&self) -> String {
        let kind = if self.application.is_some() {
            SK_ED25519
        } else {
            ED25519
        };
        format!("{} {}", str::from_utf8(kind).unwrap(), base64(&self.blob))
    }

    pub(crate) fn trusted(&self, principal: &str, role: Role) -> TrustedKey {
        TrustedKey {
            principal: principal.to_owned(),
            role,
            key: self.text().parse().unwrap(),
            not_before: None,
            not_after: None,
            verify_required: UserVerification::NotAsked,
            comment: String::new(),
        }
    }
}

/// How a signature is made; [`Default`] is how OpenSSH makes it for git.
#[derive(Clone, Copy)]
pub(crate) struct How {
    pub(crate) magic: &'static [u8],
    pub(crate) version: u32,
    /// In the signature, and in what is signed.
    pub(crate) namespace: &'static [u8],
    pub(crate) reserved: &'static [u8],
    pub(crate) hash: &'static [u8],
    pub(crate) kind: Option<&'static [u8]>,
    pub(crate) flags: u8,
    /// Behind the raw signature; behind the signature's blob; behind everything.
    pub(crate) trailing: [&'static [u8]; 3],
}

impl Default for How {
    fn default() -> Self {
        Self {
            magic: b"SSHSIG",
            version: 1,
            namespace: b"git",
            reserved: b"",
            hash: b"sha512",
            kind: None,
            flags: 0x01,
            trailing: [b"", b"", b""],
        }
    }
}

impl How {
    /// The SSHSIG blob.
    pub(crate) fn blob(&self, signer: &Signer, message: &[u8]) -> Vec<u8> {
        let mut signed = b"SSHSIG".to_vec();
        signed.extend(string(self.namespace));
        signed.extend(string(self.reserved));
        signed.extend(string(self.hash));
        signed.extend(match self.hash {
            b"sha256" => string(&Sha256::digest(message)),
            _ => string(&Sha512::digest(message)),
        });
        let mut signature = string(self.kind.unwrap_or(if signer.application.is_some() {
            SK_ED25519
        } else {
            ED25519
        }));
        match signer.application {
            None => {
                let mut raw = signer.pair.sign(&signed).as_ref().to_vec();
                raw.extend(self.trailing[0]);
                signature.extend(string(&raw));
            }
            Some(application) => {
                let mut assertion = Sha256::digest(application).to_vec();
                assertion.push(self.flags);
                assertion.extend(7u32.to_be_bytes());
                assertion.extend(Sha256::digest(&signed));
                signature.extend(string(signer.pair.sign(&assertion).as_ref()));
                signature.push(self.flags);
                signature.extend(7u32.to_be_bytes());
            }
        }
        signature.extend(self.trailing[1]);
        let mut blob = self.magic.to_vec();
        blob.extend(self.version.to_be_bytes());
        for part in [
            &signer.blob[..],
            self.namespace,
            self.reserved,
            self.hash,
            &signature,
        ] {
            blob.extend(string(part));
        }
        blob.extend(self.trailing[2]);
        blob
    }

    /// `payload` with its signature behind it.
    pub(crate) fn sign(&self, signer: &Signer, payload: &[u8]) -> Vec<u8> {
        let mut raw = payload.to_vec();
        raw.extend(armor(&self.blob(signer, payload)).bytes());
        raw
    }
}

pub(crate) fn string(bytes: &[u8]) -> Vec<u8> {
    let mut out = u32::try_from(bytes.len()).unwrap().to_be_bytes().to_vec();
    out.extend(bytes);
    out
}

pub(crate) fn armor(blob: &[u8]) -> String {
    armor_in(blob, 70)
}

pub(crate) fn armor_in(blob: &[u8], columns: usize) -> String {
    let text = base64(blob);
    let mut out = "-----BEGIN SSH SIGNATURE-----\n".to_owned();
    for line in text.as_bytes().chunks(columns) {
        out.push_str(str::from_utf8(line).unwrap());
        out.push('\n');
    }
    out + "-----END SSH SIGNATURE-----\n"
}

/// Not the code under test: bit by bit.
pub(crate) fn base64(bytes: &[u8]) -> String {
    const ALPHABET: &[u8] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let bits: Vec<u8> = bytes
        .iter()
        .flat_map(|byte| (0..8).rev().map(move |at| byte >> at & 1))
        .collect();
    let mut out: String = bits
        .chunks(6)
        .map(|six| {
            let value = (0..6).fold(0, |sum, at| sum << 1 | six.get(at).copied().unwrap_or(0));
            char::from(ALPHABET[usize::from(value)])
        })
        .collect();
    while !out.len().is_multiple_of(4) {
        out.push('=');
    }
    out
}

pub(crate) fn tag_payload(object: &str, name: &str, message: &str) -> String {
    format!(
        "object {object}\ntype commit\ntag {name}\ntagger Emo <emo@example.org> {} +0100\n\n{message}",
        NOW.0
    )
}

pub(crate) fn statement() -> Statement {
    let line = |digit: char, words: &str| Line {
        id: digit.to_string().repeat(32).parse().unwrap(),
        words: words.to_owned(),
    };
    Statement {
        repo: RepoId([0x6f; 16]),
        commit: COMMIT.parse::<CommitId>().unwrap(),
        nonce: Nonce([0x8f; 16]),
        not_before: Time(NOW.0 - 3_600),
        not_after: NOW.plus(86_400),
        reason: "offboarding, ticket 1234".into(),
        blocks: [
            (
                "host/devvm".to_owned(),
                vec![
                    line('3', "group.join ema gid=27 group=sudo"),
                    line('5', "user.archive_delete emo home=/home/emo uid=1004"),
                ],
            ),
            (
                "host/www1.example.org".to_owned(),
                vec![line('1', "user.cut emo from=%C3%A9")],
            ),
        ]
        .into(),
    }
}

/// A release that is as it should be: its ref, and its bytes.
pub(crate) fn release(signer: &Signer, statement: &Statement, how: How) -> (String, Vec<u8>) {
    let name = statement.tag_name(&signer.blob);
    let payload = tag_payload(statement.commit.as_str(), &name, &statement.render());
    (
        format!("refs/tags/{name}"),
        how.sign(signer, payload.as_bytes()),
    )
}

/// emo (1) and ema (2) operate, ivo (3) recovers, and key 9 was dropped.
pub(crate) fn root() -> TrustRoot {
    TrustRoot {
        version: 4,
        repo: RepoId([0x6f; 16]),
        quorums: Quorums::default(),
        keys: vec![
            ed25519(1).trusted("emo", Role::Operational),
            ed25519(2).trusted("ema", Role::Operational),
            ed25519(3).trusted("ivo", Role::Recovery),
        ],
        revoked: [muster_core::release::Fingerprint::of(&ed25519(9).blob)].into(),
    }
}
