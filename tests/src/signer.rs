//! Signs releases, rotations and resets as git and OpenSSH would, with keys that are the same in every run.

use std::collections::BTreeMap;
use std::fs;
use std::sync::Arc;
use std::time::SystemTime;

use muster_core::commit::CommitId;
use muster_core::release::root::{Quorums, Role, TrustRoot, TrustedKey};
use muster_core::release::signature::UserVerification;
use muster_core::release::statement::{Line, Statement};
use muster_core::release::{Nonce, RepoId};
use muster_core::step::Step;
use muster_core::time::Time;
use ring::digest::{SHA512, digest};
use ring::signature::{Ed25519KeyPair, KeyPair as _};

use crate::site::Site;

const ED25519: &[u8] = b"ssh-ed25519";

/// The state repository of every story.
pub const REPO: RepoId = RepoId([0x6f; 16]);

/// Somebody with an ed25519 key.
pub struct Signer {
    pair: Ed25519KeyPair,
    /// The blob of the public key.
    pub blob: Vec<u8>,
}

impl Signer {
    /// The one whose key follows from `name`.
    pub fn named(name: &str) -> Self {
        let mut seed = [0; 32];
        seed.copy_from_slice(digest(&ring::digest::SHA256, name.as_bytes()).as_ref());
        let pair = Ed25519KeyPair::from_seed_unchecked(&seed).expect("any 32 bytes are a key");
        let mut blob = string(ED25519);
        blob.extend(string(pair.public_key().as_ref()));
        Self { pair, blob }
    }

    /// The entry of a trust root.
    pub fn trusted(&self, principal: &str, role: Role) -> TrustedKey {
        TrustedKey {
            principal: principal.to_owned(),
            role,
            key: format!("ssh-ed25519 {}", base64(&self.blob))
                .parse()
                .expect("a public key"),
            not_before: None,
            not_after: None,
            verify_required: UserVerification::NotAsked,
            comment: String::new(),
        }
    }

    /// The bytes of an annotated tag of a commit, signed.
    pub fn tag(&self, commit: &CommitId, name: &str, message: &str, at: Time) -> Vec<u8> {
        let payload = format!(
            "object {commit}\ntype commit\ntag {name}\ntagger Someone <someone@example.org> {} +0000\n\n{message}",
            at.0
        );
        let mut signed = b"SSHSIG".to_vec();
        for part in [b"git".as_slice(), b"", b"sha512"] {
            signed.extend(string(part));
        }
        signed.extend(string(digest(&SHA512, payload.as_bytes()).as_ref()));
        let mut signature = string(ED25519);
        signature.extend(string(self.pair.sign(&signed).as_ref()));
        let mut blob = b"SSHSIG".to_vec();
        blob.extend(1_u32.to_be_bytes());
        for part in [&self.blob, b"git".as_slice(), b"", b"sha512", &signature] {
            blob.extend(string(part));
        }
        let mut raw = payload.into_bytes();
        raw.extend(b"-----BEGIN SSH SIGNATURE-----\n");
        for line in base64(&blob).as_bytes().chunks(70) {
            raw.extend(line);
            raw.push(b'\n');
        }
        raw.extend(b"-----END SSH SIGNATURE-----\n");
        raw
    }

    /// A release as a tag: its name without `refs/tags/`, and its bytes.
    pub fn release(&self, statement: &Statement) -> (String, Vec<u8>) {
        let name = statement.tag_name(&self.blob);
        let raw = self.tag(
            &statement.commit,
            &name,
            &statement.render(),
            statement.not_before,
        );
        (name, raw)
    }
}

/// A statement for `devvm` that names these steps, and holds for a day.
pub fn statement(steps: &[Arc<Step>], commit: &CommitId, nonce: u8, now: Time) -> Statement {
    statement_on(&[("host/devvm", steps)], commit, nonce, now)
}

/// A statement that names these steps on each executor, and holds for a day.
pub fn statement_on(
    blocks: &[(&str, &[Arc<Step>])],
    commit: &CommitId,
    nonce: u8,
    now: Time,
) -> Statement {
    let lines = |steps: &[Arc<Step>]| {
        let mut lines: Vec<Line> = steps
            .iter()
            .map(|step| Line {
                id: step.id,
                words: step.words(),
            })
            .collect();
        lines.sort();
        lines
    };
    let blocks = blocks.iter();
    Statement {
        repo: REPO,
        commit: commit.clone(),
        nonce: Nonce([nonce; 16]),
        not_before: now,
        not_after: now.plus(86_400),
        reason: "a story".into(),
        blocks: blocks
            .map(|(executor, steps)| ((*executor).to_owned(), lines(steps)))
            .collect(),
    }
}

/// This moment.
///
/// # Panics
/// On a machine whose clock is far off.
pub fn now() -> Time {
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
    Time(i64::try_from(since.expect("after 1970").as_secs()).expect("a few more years"))
}

/// A statement of what is planned at the head of a site's branch: for each verb and person the first such step. It holds
/// for an hour.
///
/// # Panics
/// When no such step is planned.
pub fn planned(site: &Site, steps: &[(&str, &str)], nonce: u8) -> Statement {
    let head = site.git(&["rev-parse", "HEAD"]);
    let plan = site.muster(&["plan", "--commit", &head, "--format", "json"]);
    let document: serde_json::Value =
        serde_json::from_str(&plan.out).unwrap_or_else(|_| panic!("{}", plan.said()));
    let all = document["steps"].as_array().expect("steps");
    let line = |(verb, user): &(&str, &str)| {
        let step = all
            .iter()
            .find(|it| it["verb"] == *verb && it["user"] == *user)
            .unwrap_or_else(|| panic!("no {verb} of {user} is planned: {document:#}"));
        Line {
            id: step["id"].as_str().expect("an id").parse().expect("an id"),
            words: step["words"].as_str().expect("words").to_owned(),
        }
    };
    let mut lines: Vec<Line> = steps.iter().map(line).collect();
    lines.sort();
    Statement {
        repo: REPO,
        commit: head.parse().expect("a commit"),
        nonce: Nonce([nonce; 16]),
        not_before: now().plus(-60),
        not_after: now().plus(3_600),
        reason: "ticket 1234".into(),
        blocks: BTreeMap::from([("host/devvm".to_owned(), lines)]),
    }
}

/// Each of `who` signs a statement, and pushes the tag to the origin of a site.
///
/// # Panics
/// When git fails.
pub fn push(site: &Site, who: &[&str], statement: &Statement) {
    for name in who {
        let (tag, raw) = Signer::named(name).release(statement);
        let file = site.path("tag");
        fs::write(&file, raw).expect("a tag");
        let path = file.display().to_string();
        let id = site.git(&["hash-object", "-t", "tag", "-w", "--literally", &path]);
        site.git(&["update-ref", &format!("refs/tags/{tag}"), &id]);
        fs::remove_file(file).expect("a tag");
    }
}

/// A root of trust: operational keys of these people, and a recovery key of ivo.
pub fn root(version: u64, operational: &[&str]) -> TrustRoot {
    let mut keys: Vec<TrustedKey> = operational
        .iter()
        .map(|name| Signer::named(name).trusted(name, Role::Operational))
        .collect();
    keys.push(Signer::named("ivo").trusted("ivo", Role::Recovery));
    TrustRoot {
        version,
        repo: REPO,
        quorums: Quorums::default(),
        keys,
        revoked: Default::default(),
    }
}

fn string(bytes: &[u8]) -> Vec<u8> {
    let length = u32::try_from(bytes.len()).expect("a short string");
    let mut out = length.to_be_bytes().to_vec();
    out.extend(bytes);
    out
}

fn base64(bytes: &[u8]) -> String {
    const ALPHABET: &[u8] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut out = String::new();
    for three in bytes.chunks(3) {
        let number = three
            .iter()
            .chain([0, 0].iter())
            .take(3)
            .fold(0_usize, |sum, byte| sum << 8 | usize::from(*byte));
        for at in 0..4 {
            if at <= three.len() {
                out.push(char::from(ALPHABET[number >> (18 - 6 * at) & 63]));
            } else {
                out.push('=');
            }
        }
    }
    out
}
