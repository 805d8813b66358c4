//! The trust root: who may sign what on this host.
//!
//! ```toml
//! format = "muster-root/1"
//! version = 1
//! repo = "6f1c02b1d4a4f0c9b7e5a3d2c1b0a990"
//! revoked = []
//!
//! [quorum]
//! many = 2
//!
//! [[key]]
//! principal = "emo"
//! role = "operational"
//! key = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAI…"
//! not_before = "2026-01-01T00:00:00Z"
//! not_after = "2027-12-31T23:59:59Z"
//! comment = "laptop"
//! ```
//!
//! One key belongs to one principal, a person; a person may have several keys and counts once. There are no patterns, no
//! certificates and no OpenPGP. A root keeps the fingerprints of the keys it dropped, so that their holders are told.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::fmt::Write as _;
use std::ops::Range;
use std::str::FromStr;

use super::signature::{PublicKey, UserVerification};
use super::statement::may_stand_in_a_reason;
use super::{Code, Fingerprint, Refusal, RepoId, armor, digits, parse_time, shown};
use crate::diagnostic::Pos;
use crate::time::Time;

mod read;

/// How many bytes a trust root may have.
pub const MAX_BYTES: usize = 1 << 20;
/// How many keys a trust root may have.
pub const MAX_KEYS: usize = 1_000;

const FORMAT: &str = "muster-root/1";

/// More steps than this need the quorum for many.
pub const FEW: usize = 5;

/// Who may sign what.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TrustRoot {
    /// Moves by exactly one, and never back.
    pub version: u64,
    /// The state repository that releases must be about.
    pub repo: RepoId,
    /// How many people have to sign.
    pub quorums: Quorums,
    /// The keys, in the order of the file.
    pub keys: Vec<TrustedKey>,
    /// Keys that were dropped. None of them is among `keys`.
    pub revoked: BTreeSet<Fingerprint>,
}

/// What a key may sign.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Role {
    /// Releases, and planned rotations of operational keys.
    Operational,
    /// Rotations of everything, and resets; never a release.
    Recovery,
}

impl Role {
    /// The word in the file.
    pub fn word(self) -> &'static str {
        match self {
            Self::Operational => "operational",
            Self::Recovery => "recovery",
        }
    }
}

/// A key, and whose it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TrustedKey {
    /// The one person whose key it is.
    pub principal: String,
    /// What it may sign.
    pub role: Role,
    /// The public key.
    pub key: SignerKey,
    /// First moment at which it is valid; always, when absent.
    pub not_before: Option<Time>,
    /// Last moment at which it is valid; for ever, when absent.
    pub not_after: Option<Time>,
    /// Whether its owner must prove who they are to it (`verify_required`); security keys only.
    pub verify_required: UserVerification,
    /// For people; may be empty.
    pub comment: String,
}

impl TrustedKey {
    /// Refused as [`Code::KeyExpired`] outside its validity. By this host's clock, whatever date a tag carries (M23).
    pub fn valid_at(&self, now: Time) -> Result<(), Refusal> {
        let Self { principal, key, .. } = self;
        let fingerprint = key.fingerprint();
        if let Some(first) = self.not_before.filter(|it| now < *it) {
            return Err(Code::KeyExpired.because(format!(
                "the key {fingerprint} of {principal} is valid from {first} on, and it is {now}; wait, or sign with another key"
            )));
        }
        if let Some(last) = self.not_after.filter(|it| now > *it) {
            return Err(Code::KeyExpired.because(format!(
                "the key {fingerprint} of {principal} was valid until {last}, and it is {now}; sign with another key, or have this one renewed by a rotation"
            )));
        }
        Ok(())
    }
}

/// A public key of a type that can be used: `ssh-ed25519 AAAA…`.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct SignerKey {
    kind: &'static str,
    blob: Vec<u8>,
}

impl SignerKey {
    /// The decoded blob.
    pub fn blob(&self) -> &[u8] {
        &self.blob
    }

    /// Its fingerprint.
    pub fn fingerprint(&self) -> Fingerprint {
        Fingerprint::of(&self.blob)
    }

    fn is_security_key(&self) -> bool {
        self.kind.starts_with("sk-")
    }
}

/// Why a text is no key that can be used, as a sentence.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct NotAKey(String);

impl FromStr for SignerKey {
    type Err = NotAKey;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let problem = |why: String| Err(NotAKey(why));
        if text.contains("BEGIN PGP") {
            return problem("OpenPGP keys are not accepted; use an SSH key".into());
        }
        let Some((kind, encoded)) = text.split_once(' ') else {
            return problem(
                "a key is its type and its base64, as in the .pub file: `ssh-ed25519 AAAA…`".into(),
            );
        };
        if encoded.contains(' ') {
            return problem(
                "only the type and the base64 belong here; put what follows them into `comment`"
                    .into(),
            );
        }
        let Some(blob) = armor::decode(encoded.as_bytes()) else {
            return problem("the key is not base64; copy it from the .pub file again".into());
        };
        let parsed = PublicKey::parse(&blob).map_err(NotAKey)?;
        if parsed.kind() != kind {
            return problem(format!(
                "the key says that it is {}, and inside it is {}; copy it from the .pub file again",
                shown(kind.as_bytes()),
                parsed.kind()
            ));
        }
        let kind = parsed.kind();
        Ok(Self { kind, blob })
    }
}

impl fmt::Display for SignerKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.kind, armor::encode(&self.blob))
    }
}

impl fmt::Debug for SignerKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// How many people have to sign. `None` is the default, which is never more than there are people to sign; a number that
/// somebody wrote down and that can never be met is refused.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Quorums {
    /// A release with a privileged step; by default 1.
    pub privileged: Option<usize>,
    /// A release with a destructive step; by default 1.
    pub destructive: Option<usize>,
    /// A release with more than five steps that are privileged or destructive; by default 2.
    pub many: Option<usize>,
    /// A release with a step that touches an admin; by default 2.
    pub admin: Option<usize>,
    /// A planned rotation of operational keys; by default as many as any release needs, for whoever appoints signers can
    /// meet every quorum.
    pub rotation: Option<usize>,
    /// A rotation or a reset by recovery keys; by default half of those who hold one, rounded up.
    pub recovery: Option<usize>,
}

/// What a release is about, as far as it matters for how many have to sign.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Weight {
    /// Privileged steps.
    pub privileged: usize,
    /// Destructive steps.
    pub destructive: usize,
    /// Steps that touch an admin.
    pub admin: usize,
}

impl TrustRoot {
    /// Reads a trust root. Every problem is told, with its place.
    pub fn parse(text: &str) -> Result<Self, RootProblems> {
        read::root(text)
    }

    /// Whether it can be written down and read again as the same. For roots that were put together and not read.
    pub fn check(&self) -> Result<(), RootProblems> {
        match Self::parse(&self.render()) {
            Ok(same) if same == *self => Ok(()),
            Ok(_) => Err(RootProblems(vec![RootProblem {
                at: None,
                problem: "a principal or comment has characters that no trust root can hold; use plain ASCII".into(),
            }])),
            Err(problems) => Err(problems),
        }
    }

    /// The trust root as a file: what a rotation carries, byte for byte. What may not stand in one becomes `?`.
    pub fn render(&self) -> String {
        let Self {
            version,
            repo,
            quorums,
            keys,
            revoked,
        } = self;
        let mut out = format!("format = \"{FORMAT}\"\nversion = {version}\nrepo = \"{repo}\"\n");
        if revoked.is_empty() {
            out.push_str("revoked = []\n");
        } else {
            out.push_str("revoked = [\n");
            for fingerprint in revoked {
                let _ = writeln!(out, "    \"{fingerprint}\",");
            }
            out.push_str("]\n");
        }
        if *quorums != Quorums::default() {
            out.push_str("\n[quorum]\n");
            for (name, value) in quorums.named() {
                if let Some(value) = value {
                    let _ = writeln!(out, "{name} = {value}");
                }
            }
        }
        for key in keys {
            let TrustedKey {
                principal,
                role,
                key,
                not_before,
                not_after,
                verify_required,
                comment,
            } = key;
            out.push_str("\n[[key]]\n");
            let mut text = |name: &str, value: &str| {
                let tamed = |c: char| u8::try_from(c).is_ok_and(may_stand_in_a_reason);
                let value: String = value
                    .chars()
                    .map(|c| if tamed(c) { c } else { '?' })
                    .collect();
                let _ = writeln!(out, "{name} = \"{value}\"");
            };
            text("principal", principal);
            text("role", role.word());
            text("key", &key.to_string());
            if let Some(first) = not_before {
                text("not_before", &first.to_string());
            }
            if let Some(last) = not_after {
                text("not_after", &last.to_string());
            }
            if !comment.is_empty() {
                text("comment", comment);
            }
            if *verify_required == UserVerification::Required {
                out.push_str("verify_required = true\n");
            }
        }
        out
    }

    /// The keys as `gpg.ssh.allowedSignersFile` of stock git, so that people can look at a tag with it. What git makes
    /// of that is no authority: it knows no roles, and takes the tag's word for the date.
    pub fn allowed_signers(&self) -> String {
        let mut out = String::new();
        for key in &self.keys {
            let _ = write!(out, "{} namespaces=\"git\"", key.principal);
            for (option, moment) in [
                ("valid-after", key.not_before),
                ("valid-before", key.not_after),
            ] {
                if let Some((date, time)) = moment.map(digits) {
                    let _ = write!(out, ",{option}=\"{date}{time}Z\"");
                }
            }
            let _ = writeln!(out, " {} {}", key.key, key.role.word());
        }
        out
    }

    /// The key with this blob.
    pub fn key_with(&self, blob: &[u8]) -> Option<&TrustedKey> {
        self.keys.iter().find(|it| it.key.blob == blob)
    }

    /// The people who hold a key of this role, whether or not it is valid today.
    pub fn principals(&self, role: Role) -> BTreeSet<&str> {
        self.keys
            .iter()
            .filter(|it| it.role == role)
            .map(|it| it.principal.as_str())
            .collect()
    }

    /// How many people have to sign a release of this weight: at least one, and never more than there are.
    pub fn quorum(&self, weight: Weight) -> usize {
        let Weight {
            privileged,
            destructive,
            admin,
        } = weight;
        let asked = |applies: bool, value: Option<usize>, default: usize| {
            if applies { value.unwrap_or(default) } else { 1 }
        };
        let it = &self.quorums;
        [
            asked(privileged > 0, it.privileged, 1),
            asked(destructive > 0, it.destructive, 1),
            asked(privileged.saturating_add(destructive) > FEW, it.many, 2),
            asked(admin > 0, it.admin, 2),
        ]
        .into_iter()
        .fold(1, usize::max)
        .min(self.principals(Role::Operational).len())
        .max(1)
    }

    /// How many people have to sign a rotation or, with recovery keys, a reset.
    pub fn threshold(&self, role: Role) -> usize {
        let people = self.principals(role).len();
        let asked = match role {
            Role::Operational => self.quorums.rotation.unwrap_or_else(|| {
                self.quorum(Weight {
                    privileged: usize::MAX,
                    destructive: usize::MAX,
                    admin: usize::MAX,
                })
            }),
            Role::Recovery => self.quorums.recovery.unwrap_or(people.div_ceil(2)),
        };
        asked.min(people).max(1)
    }
}

impl Quorums {
    fn named(&self) -> [(&'static str, Option<usize>); 6] {
        let Self {
            privileged,
            destructive,
            many,
            admin,
            rotation,
            recovery,
        } = *self;
        [
            ("privileged", privileged),
            ("destructive", destructive),
            ("many", many),
            ("admin", admin),
            ("rotation", rotation),
            ("recovery", recovery),
        ]
    }
}

/// Everything that is wrong with a trust root, in the order of the file. Never empty.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub struct RootProblems(pub Vec<RootProblem>);

/// One thing that is wrong with a trust root.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RootProblem {
    /// Where; `None` for the file as a whole.
    pub at: Option<Pos>,
    /// What, and what to do.
    pub problem: String,
}

impl fmt::Display for RootProblem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { at, problem } = self;
        match at {
            Some(at) => write!(f, "{at}: {problem}"),
            None => f.write_str(problem),
        }
    }
}

impl fmt::Display for RootProblems {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (at, problem) in self.0.iter().enumerate() {
            if at > 0 {
                f.write_str("\n")?;
            }
            problem.fmt(f)?;
        }
        Ok(())
    }
}

/// Whether `text` can name a person: lower case, so that no two of them differ in case alone, and never a pattern (M36).
pub fn is_principal(text: &str) -> bool {
    text.len() <= 64
        && text.starts_with(|c: char| c.is_ascii_lowercase())
        && text
            .bytes()
            .all(|b| matches!(b, b'a'..=b'z' | b'0'..=b'9' | b'.' | b'_' | b'@' | b'+' | b'-'))
}

/// Rules over the whole root, beyond those of single values. `place` finds where a key of the file stands.
fn rules(root: &TrustRoot, mut problem: impl FnMut(Place, String)) {
    let mut owners: BTreeMap<&[u8], &str> = BTreeMap::new();
    for (at, key) in root.keys.iter().enumerate() {
        let fingerprint = key.key.fingerprint();
        if let Some(owner) = owners.insert(&key.key.blob, &key.principal) {
            problem(
                Place::Key(at),
                format!(
                    "the key {fingerprint} stands here twice, for {owner} and for {}; a key belongs to exactly one person in one role, so remove one of them",
                    key.principal
                ),
            );
        }
        if root.revoked.contains(&fingerprint) {
            problem(
                Place::Key(at),
                format!(
                    "the key {fingerprint} is among the revoked ones; a dropped key never comes back, so make a new one"
                ),
            );
        }
        if key
            .not_before
            .zip(key.not_after)
            .is_some_and(|(first, last)| last <= first)
        {
            problem(
                Place::Key(at),
                "not_after must be later than not_before".into(),
            );
        }
        if key.verify_required == UserVerification::Required && !key.key.is_security_key() {
            problem(
                Place::Key(at),
                "only a security key (sk-ssh-ed25519@openssh.com) can ask for a PIN; leave verify_required out".into(),
            );
        }
    }
    for (name, value) in root.quorums.named() {
        let role = match name {
            "recovery" => Role::Recovery,
            _ => Role::Operational,
        };
        let people = root.principals(role).len();
        if let Some(value) = value.filter(|it| !(1..=people).contains(it)) {
            problem(
                Place::Quorum(name),
                format!(
                    "{value} cannot be met: there are {people} {} principals; write 1 to {people}, or leave it out",
                    role.word()
                ),
            );
        }
    }
}

/// Where a rule found something.
enum Place {
    Key(usize),
    Quorum(&'static str),
}

/// Spans of what rules can point at.
#[derive(Default)]
struct Spans {
    keys: Vec<Range<usize>>,
    quorums: BTreeMap<&'static str, Range<usize>>,
}
