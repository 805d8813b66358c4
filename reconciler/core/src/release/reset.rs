//! Leave to follow a branch that was rewritten.
//!
//! A force-push freezes every executor that had adopted what is gone. Whoever holds recovery keys thaws them with a tag
//! named `reset/<not-before>-<16 hex of what>-<8 hex of who>` on the new commit:
//!
//! ```text
//! muster-reset/1
//! repo 6f1c02b1d4a4f0c9b7e5a3d2c1b0a990
//! old 3d2a1f0e9c8b7a6f5e4d3c2b1a0f9e8d7c6b5a49
//! new 0a9b8c7d6e5f4a3b2c1d0e9f8a7b6c5d4e3f2a1b
//! nonce 8f0e6c2b1d4a4f0c9b7e5a3d2c1b0a99
//! not-before 2026-11-22T01:00:00Z
//! not-after 2026-11-23T01:00:00Z
//! reason "a secret was removed from the history"
//! end
//! ```
//!
//! It permits one move, from that commit to that other one, and no step. As with a release, window, repository, nonce
//! and the commit adopted are asked of the executor, not here; so is the threshold ([`principals`] counts, and
//! [`super::root::TrustRoot::threshold`] of [`Role::Recovery`] says how many).

use std::collections::BTreeSet;
use std::fmt::Write as _;

use sha2::{Digest as _, Sha256};

use super::root::{Role, TrustRoot};
use super::statement::{Lines, may_stand_in_a_reason, plain_text};
use super::tag::Tagger;
use super::{Code, Fingerprint, Nonce, ObjectKind, Refusal, RepoId, Text, dated_name, signed_text};
use crate::commit::CommitId;
use crate::time::Time;

/// What the name of every reset begins with.
pub const TAG_PREFIX: &str = "reset/";

const FORMAT: &str = "muster-reset/1";

/// What holders of recovery keys sign.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reset {
    /// Of which state repository.
    pub repo: RepoId,
    /// The commit that an executor must have adopted for this to be about it.
    pub old: CommitId,
    /// The commit that it may adopt, though it does not descend from `old`.
    pub new: CommitId,
    /// Permits one move of each executor, for ever.
    pub nonce: Nonce,
    /// First moment at which it may be used.
    pub not_before: Time,
    /// Last moment at which it may be used; later than `not_before`.
    pub not_after: Time,
    /// Why, in the signer's words: printable ASCII without `"` and `\`.
    pub reason: String,
}

impl Reset {
    /// Reads a reset, the whole of `bytes`. Refused as [`Code::Malformed`], with the line.
    pub fn parse(bytes: &[u8]) -> Result<Self, Refusal> {
        let text = plain_text(bytes)?;
        let mut lines = Lines::new(text, "the reset")?;
        lines.exactly(FORMAT)?;
        let repo = lines.parsed("repo")?;
        let old = lines.commit("old")?;
        let new = lines.commit("new")?;
        if old == new {
            return Err(lines.wrong("old and new are the same commit"));
        }
        let nonce = lines.parsed("nonce")?;
        let (not_before, not_after) = lines.window()?;
        let reason = lines.reason()?;
        lines.exactly("end")?;
        lines.nothing_more()?;
        let reset = Self {
            repo,
            old,
            new,
            nonce,
            not_before,
            not_after,
            reason,
        };
        if reset.render() != text {
            return Err(Code::Malformed
                .because("the reset is not written as muster writes it; propose it again"));
        }
        Ok(reset)
    }

    /// The reset as it is signed. What may not stand in a reason becomes `?`.
    pub fn render(&self) -> String {
        let Self {
            repo,
            old,
            new,
            nonce,
            not_before,
            not_after,
            reason,
        } = self;
        let reason: String = reason
            .chars()
            .map(|c| {
                let fits = u8::try_from(c).is_ok_and(may_stand_in_a_reason);
                if fits { c } else { '?' }
            })
            .collect();
        let mut out = String::with_capacity(512);
        let _ = write!(
            out,
            "{FORMAT}\nrepo {repo}\nold {old}\nnew {new}\nnonce {nonce}\nnot-before {not_before}\nnot-after {not_after}\nreason \"{reason}\"\nend\n"
        );
        out
    }

    /// Whether this can be signed: written out and read again it is the same.
    pub fn check(&self) -> Result<(), Refusal> {
        if Self::parse(self.render().as_bytes())? == *self {
            Ok(())
        } else {
            Err(Code::Malformed
                .because("the reason has characters that no reset can hold; use plain ASCII"))
        }
    }

    /// The tag's name when the key with this blob signs.
    pub fn tag_name(&self, signer_key_blob: &[u8]) -> String {
        let digest = Sha256::digest(self.render()).into();
        dated_name(TAG_PREFIX, &digest, self.not_before, signer_key_blob)
    }
}

/// A reset, and who signed it.
#[derive(Clone, Debug, PartialEq, Eq)]
#[must_use = "a signed reset moves nothing until the gate has looked at it"]
pub struct SignedReset {
    /// What it says.
    pub reset: Reset,
    /// SHA-256 of its bytes. Tags with the same digest are co-signatures.
    pub digest: [u8; 32],
    /// Who signed.
    pub principal: String,
    /// With which recovery key.
    pub key: Fingerprint,
    /// The full name of the ref.
    pub ref_name: String,
    /// What the signer's git wrote down about them: to be shown, never believed.
    pub tagger: Tagger,
}

/// Who signed, each person once however many keys or tags they used.
pub fn principals<'s>(signed: impl IntoIterator<Item = &'s SignedReset>) -> BTreeSet<&'s str> {
    signed.into_iter().map(|it| it.principal.as_str()).collect()
}

/// Whether `raw`, the object to which `ref_name` points, is a reset that the holder of a recovery key signed. The same
/// checks in the same order as [`super::authenticate`]; an operational key is [`Code::RoleDenied`].
pub fn authenticate(
    ref_name: &str,
    kind: ObjectKind,
    raw: &[u8],
    root: Option<&TrustRoot>,
    now: Time,
) -> Result<SignedReset, Refusal> {
    let (reset, by) = signed_text::<Reset>(ref_name, kind, raw, root, now)?;
    Ok(SignedReset {
        reset,
        digest: by.digest,
        principal: by.principal,
        key: by.key,
        ref_name: ref_name.to_owned(),
        tagger: by.tagger,
    })
}

impl Text for Reset {
    const PREFIX: &'static str = TAG_PREFIX;
    const ROLE: Role = Role::Recovery;

    fn parse(bytes: &[u8]) -> Result<Self, Refusal> {
        Self::parse(bytes)
    }

    fn not_before(&self) -> Time {
        self.not_before
    }

    fn commit(&self) -> &CommitId {
        &self.new
    }
}
