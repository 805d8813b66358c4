//! Signed releases: who may permit what, and whether somebody just did.
//!
//! ```text
//! raw tag ─▶ Tag ─▶ SshSig ─▶ Statement ─▶ TrustedKey ─▶ Signed        authenticate()
//! ```
//!
//! **The promise.** [`authenticate`] returns a [`Signed`] only for bytes that the holder of one key, which the trust root
//! gives to one principal in the operational role and which is valid *now*, signed as an annotated tag of a commit, in
//! exactly one spelling: change any bit of the tag object, or its ref, and it is refused. The first failure wins, in the
//! order of [`authenticate`]. Nothing here reads a clock, a file or a repository; nothing panics, whatever the bytes.
//!
//! **What is not checked here**, because it needs facts of one executor: whether the window of the statement is open and
//! no longer than [`statement::LONGEST_WINDOW`], whether the repository is this one, whether the commit is the adopted one
//! or an ancestor of it, whether this executor is named and its steps are in the plan, limits and protected names, the
//! quorum ([`distinct_principals`] counts it), and whether the nonce is unused. A [`Signed`] permits nothing by itself.
//!
//! **Spelling.** The nonce inside the signed bytes identifies a release, never a tag's object id or name: a signer can
//! sign the same statement as often as they like (and with P-256 anybody can turn one valid signature into another).
//!
//! `git verify-tag` is not this check: it takes renamed refs, text behind the signature, keys that expired before the date
//! the signer wrote into the tag, and tags of tags. What is accepted here, `ssh-keygen -Y verify` accepts too.

pub mod admit;
pub mod answer;
pub(crate) mod armor;
pub mod claim;
mod code;
mod horizon;
pub mod reset;
pub mod root;
pub mod rotation;
pub mod signature;
pub mod statement;
pub mod tag;
pub(crate) mod wire;

use std::collections::BTreeSet;
use std::fmt;
use std::fmt::Write as _;
use std::str::FromStr;

use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

pub use code::{Code, NotACode, Refusal};
pub use horizon::{RELEASES, RESETS, ROTATIONS, TagHorizon};
use root::{Role, TrustRoot, TrustedKey};
use signature::SshSig;
use statement::Statement;
use tag::{Tag, Tagger};

use crate::bytes::hex;
use crate::commit::CommitId;
use crate::time::Time;

/// What every ref begins with that is read here.
const TAGS: &str = "refs/tags/";

/// What kind of git object a ref points to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ObjectKind {
    /// A commit: the tag is a lightweight one.
    Commit,
    /// A directory.
    Tree,
    /// A file.
    Blob,
    /// An annotated tag.
    Tag,
}

/// Sixteen bytes, written as 32 lower-case hex digits.
macro_rules! sixteen_bytes {
    ($(#[$doc:meta])* $name:ident, $error:ident, $what:literal) => {
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[serde(try_from = "String", into = "String")]
        pub struct $name(pub [u8; 16]);

        #[doc = concat!("Not ", $what, ".")]
        #[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
        #[error("{} is 32 lower-case hex digits", $what)]
        pub struct $error;

        impl FromStr for $name {
            type Err = $error;

            fn from_str(text: &str) -> Result<Self, Self::Err> {
                unhex(text).map(Self).ok_or($error)
            }
        }

        impl TryFrom<String> for $name {
            type Error = $error;

            fn try_from(text: String) -> Result<Self, Self::Error> {
                text.parse()
            }
        }

        impl From<$name> for String {
            fn from(it: $name) -> Self {
                it.to_string()
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&hex(&self.0))
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Display::fmt(self, f)
            }
        }
    };
}

sixteen_bytes!(
    /// Which state repository: made at random when the trust root was, and the same in every ledger.
    RepoId, NotARepoId, "the id of a repository"
);
sixteen_bytes!(
    /// What makes a release one of its kind: it permits one run on each executor, for ever.
    Nonce, NotANonce, "a nonce"
);

/// The SHA-256 of a public key's blob, written as OpenSSH does: `SHA256:` and base64 without padding.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Fingerprint(pub [u8; 32]);

/// Not a fingerprint.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a fingerprint is `SHA256:` and 43 characters of base64, as `ssh-keygen -l` prints it")]
pub struct NotAFingerprint;

impl Fingerprint {
    /// Of the blob of a public key.
    pub fn of(blob: &[u8]) -> Self {
        Self(Sha256::digest(blob).into())
    }
}

impl FromStr for Fingerprint {
    type Err = NotAFingerprint;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let body = text.strip_prefix("SHA256:").ok_or(NotAFingerprint)?;
        if body.len() != 43 || body.contains('=') {
            return Err(NotAFingerprint);
        }
        let bytes = armor::decode(format!("{body}=").as_bytes()).ok_or(NotAFingerprint)?;
        bytes.try_into().map(Self).map_err(|_| NotAFingerprint)
    }
}

impl TryFrom<String> for Fingerprint {
    type Error = NotAFingerprint;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        text.parse()
    }
}

impl From<Fingerprint> for String {
    fn from(it: Fingerprint) -> Self {
        it.to_string()
    }
}

impl fmt::Display for Fingerprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let text = armor::encode(&self.0);
        write!(f, "SHA256:{}", text.trim_end_matches('='))
    }
}

impl fmt::Debug for Fingerprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// A statement, and who signed it.
#[derive(Clone, Debug, PartialEq, Eq)]
#[must_use = "a signed statement permits nothing until the gate has looked at it"]
pub struct Signed {
    /// What it says.
    pub statement: Statement,
    /// SHA-256 of the statement's bytes. Tags with the same digest are co-signatures.
    pub digest: [u8; 32],
    /// Who signed: the one principal to whom the trust root gives the key.
    pub principal: String,
    /// With which key.
    pub key: Fingerprint,
    /// The full name of the ref, equal to `refs/tags/` and the name inside the tag.
    pub ref_name: String,
    /// What the signer's git wrote down about them: to be shown, never believed.
    pub tagger: Tagger,
}

/// Who signed, each person once however many keys or tags they used (M60).
pub fn distinct_principals<'s>(signed: impl IntoIterator<Item = &'s Signed>) -> BTreeSet<&'s str> {
    signed.into_iter().map(|it| it.principal.as_str()).collect()
}

/// Whether `raw`, the object to which `ref_name` points, is a release that somebody signed who may.
///
/// The first failure wins, in this order: an annotated tag ([`Code::NotAnnotated`]); within size, strict header grammar,
/// of a commit, one SSH signature at the very end ([`Code::Malformed`]); ref, tag name and hashes agree
/// ([`Code::NameMismatch`]); statement grammar, and the commit it names is the one tagged ([`Code::Malformed`]); there is
/// a key to trust at all ([`Code::Inert`]); namespace ([`Code::BadSignature`]); the key is known
/// ([`Code::UnknownSigner`], or [`Code::Revoked`]), operational ([`Code::RoleDenied`]) and valid at `now`
/// ([`Code::KeyExpired`]); user presence and the signature itself ([`Code::BadSignature`]).
///
/// `ref_name` is the full name. All refusals are unauthenticated.
pub fn authenticate(
    ref_name: &str,
    kind: ObjectKind,
    raw: &[u8],
    root: Option<&TrustRoot>,
    now: Time,
) -> Result<Signed, Refusal> {
    let (statement, by) = signed_text::<Statement>(ref_name, kind, raw, root, now)?;
    Ok(Signed {
        statement,
        digest: by.digest,
        principal: by.principal,
        key: by.key,
        ref_name: ref_name.to_owned(),
        tagger: by.tagger,
    })
}

/// What stands in a tag, by itself, as its whole message, and may be signed by keys of one role.
trait Text: Sized {
    /// What the tag's name begins with.
    const PREFIX: &'static str;
    /// Who may sign it.
    const ROLE: Role;
    /// Reads the whole of a message.
    fn parse(bytes: &[u8]) -> Result<Self, Refusal>;
    /// From when on it may be used, as the tag's name says.
    fn not_before(&self) -> Time;
    /// The commit that the tag is of.
    fn commit(&self) -> &CommitId;
}

impl Text for Statement {
    const PREFIX: &'static str = statement::TAG_PREFIX;
    const ROLE: Role = Role::Operational;

    fn parse(bytes: &[u8]) -> Result<Self, Refusal> {
        Self::parse(bytes)
    }

    fn not_before(&self) -> Time {
        self.not_before
    }

    fn commit(&self) -> &CommitId {
        &self.commit
    }
}

/// Whose signature it is.
struct By {
    digest: [u8; 32],
    principal: String,
    key: Fingerprint,
    tagger: Tagger,
}

/// The checks of [`authenticate`], in their order, for whatever is signed in this way.
fn signed_text<T: Text>(
    ref_name: &str,
    kind: ObjectKind,
    raw: &[u8],
    root: Option<&TrustRoot>,
    now: Time,
) -> Result<(T, By), Refusal> {
    annotated(kind)?;
    let tag = Tag::parse(raw)?;
    let sig = SshSig::parse(&tag.armor)?;
    let named = Named::check(T::PREFIX, ref_name, &tag, &sig)?;
    let text = T::parse(tag.message)?;
    named.since(text.not_before())?;
    named.tags(text.commit())?;
    let key = trusted(&sig, &tag, root, T::ROLE, now)?;
    let by = By {
        digest: named.digest,
        principal: key.principal.clone(),
        key: sig.fingerprint(),
        tagger: tag.tagger.clone(),
    };
    Ok((text, by))
}

/// An annotated tag, not something else that a ref can point to (M29).
fn annotated(kind: ObjectKind) -> Result<(), Refusal> {
    let what = match kind {
        ObjectKind::Tag => return Ok(()),
        ObjectKind::Commit => "a commit",
        ObjectKind::Tree => "a tree",
        ObjectKind::Blob => "a blob",
    };
    Err(Code::NotAnnotated.because(format!(
        "the ref points straight to {what}, so there is no signature; make an annotated tag with `git tag -s`"
    )))
}

/// The ref is the tag's own name (M21).
fn names_agree(ref_name: &str, tag: &Tag<'_>) -> Result<(), Refusal> {
    if ref_name.strip_prefix(TAGS) == Some(tag.name) {
        return Ok(());
    }
    Err(Code::NameMismatch.because(format!(
        "the ref {} holds a tag that calls itself {}; push it under its own name",
        shown(ref_name.as_bytes()),
        shown(tag.name.as_bytes())
    )))
}

/// A tag whose name fits its ref and what it contains.
struct Named<'t> {
    prefix: &'static str,
    tag: &'t Tag<'t>,
    signer_key_blob: &'t [u8],
    digest: [u8; 32],
}

impl<'t> Named<'t> {
    fn check(
        prefix: &'static str,
        ref_name: &str,
        tag: &'t Tag<'t>,
        sig: &SshSig<'t>,
    ) -> Result<Self, Refusal> {
        names_agree(ref_name, tag)?;
        let digest = Sha256::digest(tag.message).into();
        let signer_key_blob = sig.key_blob();
        let end = format!("-{}", hashes(&digest, signer_key_blob));
        if !(tag.name.starts_with(prefix) && tag.name.ends_with(&end)) {
            return Err(misnamed(tag, "what it contains"));
        }
        Ok(Self {
            prefix,
            tag,
            signer_key_blob,
            digest,
        })
    }

    /// The date in the name, once the message has told it.
    fn since(&self, not_before: Time) -> Result<(), Refusal> {
        if self.tag.name == dated_name(self.prefix, &self.digest, not_before, self.signer_key_blob)
        {
            return Ok(());
        }
        Err(misnamed(self.tag, "its not-before"))
    }

    /// The tag points to the commit that the message names.
    fn tags(&self, commit: &CommitId) -> Result<(), Refusal> {
        if commit.as_str() == self.tag.object {
            return Ok(());
        }
        Err(Code::Malformed.because(format!(
            "what was signed is about commit {commit}, but the tag points to {}; tag the commit that it names",
            self.tag.object
        )))
    }
}

fn misnamed(tag: &Tag<'_>, what: &str) -> Refusal {
    Code::NameMismatch.because(format!(
        "the name {} does not follow from {what}; sign again under the name that was proposed for this statement and this key",
        shown(tag.name.as_bytes())
    ))
}

/// The second half of a tag's name: 16 hex digits of what was signed, 8 of who signed.
fn hashes(digest: &[u8; 32], signer_key_blob: &[u8]) -> String {
    let key: [u8; 32] = Sha256::digest(signer_key_blob).into();
    format!("{}-{}", hex(&digest[..8]), hex(&key[..4]))
}

/// What the name of every tag ends with that a key of this root signs: 8 hex digits of each key.
pub fn key_suffixes(root: &TrustRoot) -> BTreeSet<String> {
    let suffix = |key: &TrustedKey| hex(&Sha256::digest(key.key.blob())[..4]);
    root.keys.iter().map(suffix).collect()
}

/// `<prefix><not-before>-<16 hex of what>-<8 hex of who>`.
fn dated_name(prefix: &str, digest: &[u8; 32], not_before: Time, signer_key_blob: &[u8]) -> String {
    let (date, time) = digits(not_before);
    let hashes = hashes(digest, signer_key_blob);
    format!("{prefix}{date}T{time}Z-{hashes}")
}

/// The key that made this signature, if it may act in `role` now and the signature is good.
fn trusted<'r>(
    sig: &SshSig<'_>,
    tag: &Tag<'_>,
    root: Option<&'r TrustRoot>,
    role: Role,
    now: Time,
) -> Result<&'r TrustedKey, Refusal> {
    let key = known(sig, root)?;
    if key.role != role {
        return Err(Code::RoleDenied.because(match role {
            Role::Operational => format!(
                "the key {} of {} is a recovery key, which signs rotations and resets only; sign with an operational key",
                key.key.fingerprint(),
                key.principal
            ),
            Role::Recovery => format!(
                "the key {} of {} is an operational key; this needs recovery keys",
                key.key.fingerprint(),
                key.principal
            ),
        }));
    }
    key.valid_at(now)?;
    sig.verify(tag.signed, key.verify_required)?;
    Ok(key)
}

/// The one trusted key that claims this signature, made for git.
fn known<'r>(sig: &SshSig<'_>, root: Option<&'r TrustRoot>) -> Result<&'r TrustedKey, Refusal> {
    let root = root.filter(|it| !it.keys.is_empty()).ok_or_else(|| {
        Code::Inert.because(
            "this host trusts no key yet, so no release can be accepted; write its trust root with `muster trust init`",
        )
    })?;
    sig.namespace_is_git()?;
    let fingerprint = sig.fingerprint();
    root.key_with(sig.key_blob()).ok_or_else(|| {
        let version = root.version;
        if root.revoked.contains(&fingerprint) {
            Code::Revoked.because(format!(
                "the key {fingerprint} was dropped from the trust root; sign with a key that is in version {version}"
            ))
        } else {
            Code::UnknownSigner.because(format!(
                "the key {fingerprint} is not in version {version} of the trust root; sign with one that is, or have it added by a rotation"
            ))
        }
    })
}

/// A few bytes that are not ours, as printable ASCII, whatever they are.
pub(crate) fn shown(bytes: &[u8]) -> String {
    const MOST: usize = 80;
    let mut out = String::from("`");
    for &b in bytes.iter().take(MOST) {
        match b {
            b'`' | b'\\' => {
                out.push('\\');
                out.push(char::from(b));
            }
            b' '..=b'~' => out.push(char::from(b)),
            _ => write!(out, "\\x{b:02x}").expect("a String takes everything"),
        }
    }
    out.push_str(if bytes.len() > MOST { "…`" } else { "`" });
    out
}

fn unhex(text: &str) -> Option<[u8; 16]> {
    let digit = |byte: u8| match byte {
        b'0'..=b'9' => Some(byte - b'0'),
        b'a'..=b'f' => Some(byte - b'a' + 10),
        _ => None,
    };
    let digits: &[u8; 32] = text.as_bytes().try_into().ok()?;
    let mut out = [0; 16];
    for (byte, pair) in out.iter_mut().zip(digits.chunks_exact(2)) {
        *byte = digit(pair[0])? << 4 | digit(pair[1])?;
    }
    Some(out)
}

/// A moment as it is written in what people sign: `2026-11-22T01:00:00Z`, that one spelling.
fn parse_time(text: &str) -> Option<Time> {
    let (date, time) = (text.get(..10)?, text.get(11..19)?);
    if text.len() != 20 || text.as_bytes()[10] != b'T' || text.as_bytes()[19] != b'Z' {
        return None;
    }
    let field = |part: &str| {
        part.bytes()
            .all(|b| b.is_ascii_digit())
            .then(|| part.parse::<i16>().ok())
            .flatten()
    };
    let (year, month, day) = (
        field(&date[..4])?,
        field(date.get(5..7)?)?,
        field(date.get(8..)?)?,
    );
    let (hour, minute, second) = (
        field(&time[..2])?,
        field(time.get(3..5)?)?,
        field(time.get(6..)?)?,
    );
    let small = |n: i16| i8::try_from(n).ok();
    let civil = jiff::civil::DateTime::new(
        year,
        small(month)?,
        small(day)?,
        small(hour)?,
        small(minute)?,
        small(second)?,
        0,
    )
    .ok()?;
    let zoned = civil.to_zoned(jiff::tz::TimeZone::UTC).ok()?;
    let moment = Time(zoned.timestamp().as_second());
    (moment.0 >= 0 && moment.to_string() == text).then_some(moment)
}

/// The same moment without punctuation, as in names of tags and for OpenSSH: `20261122010000` with `T` and `Z` left to
/// the caller. Moments that have no four-digit year are pinned to the nearest that has.
fn digits(moment: Time) -> (String, String) {
    let at = Time(moment.0.clamp(0, 253_402_300_799 - 86_400 * 2)).to_string();
    let keep = |part: &str| part.chars().filter(char::is_ascii_digit).collect();
    let (date, time) = at.split_at(at.find('T').unwrap_or(at.len()));
    (keep(date), keep(time))
}
