//! How one trust root follows another.
//!
//! A rotation is a new trust root, whole, as the message of signed tags named
//! `root/<version>-<16 hex of what>-<8 hex of who>`; tags with the same message are co-signatures. The version moves by
//! exactly one. Enough people must agree under the old root, and enough under the new one, so that nobody appoints keys
//! that nobody holds:
//!
//! | signed by | may change |
//! |---|---|
//! | operational keys | operational keys, and which keys are revoked: a *planned* rotation |
//! | recovery keys | everything but the version's step, and that a dropped key never comes back |
//!
//! Nothing here reads or writes a root: whoever calls keeps the new one durably before using it, and then asks again.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use sha2::{Digest as _, Sha256};

use super::root::{Role, TrustRoot};
use super::signature::SshSig;
use super::tag::Tag;
use super::{Code, Fingerprint, Refusal, hashes, known, misnamed, names_agree, shown};
use crate::time::Time;

/// What the name of every rotation begins with.
pub const TAG_PREFIX: &str = "root/";

/// A root that follows the current one.
#[derive(Clone, Debug, PartialEq, Eq)]
#[must_use = "a rotation that is not kept did not happen"]
pub struct Rotation {
    /// The new root.
    pub root: TrustRoot,
    /// Its bytes, as they were signed: what [`TrustRoot::render`] gives.
    pub text: String,
    /// Which role signed it.
    pub role: Role,
    /// Who signed, each person once.
    pub principals: BTreeSet<String>,
    /// The keys they used, by the full name of the ref that carries each signature.
    pub signatures: BTreeMap<String, Fingerprint>,
}

/// There are candidates for the next version, and none of them may follow. Never empty.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub struct NoRotation(pub Vec<RefusedCandidate>);

/// One candidate, and why it is not taken.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RefusedCandidate {
    /// The full name of its ref.
    pub ref_name: String,
    /// Why. Authenticated when the candidate was signed by a key of the current root.
    pub refusal: Refusal,
}

impl fmt::Display for NoRotation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (at, RefusedCandidate { ref_name, refusal }) in self.0.iter().enumerate() {
            if at > 0 {
                f.write_str("\n")?;
            }
            write!(f, "{}: {refusal}", shown(ref_name.as_bytes()))?;
        }
        Ok(())
    }
}

/// The name of the tag that carries this root: `root/<version>-<16 hex of what>-<8 hex of who>`.
pub fn tag_name(text: &[u8], version: u64, signer_key_blob: &[u8]) -> String {
    let hashes = hashes(&Sha256::digest(text).into(), signer_key_blob);
    format!("{TAG_PREFIX}{version}-{hashes}")
}

/// The root that follows `current`, if enough people signed one.
///
/// `candidates` are full ref names with the raw bytes of the annotated tags that they point to. Those whose name is not
/// of the next version are passed over, so a version can be neither skipped nor gone back to (P9). `Ok(None)` means
/// that nobody asks for a rotation. One bad candidate hides no good one; two different good ones are both refused
/// ([`Code::Frozen`]), for other hosts may have seen only one of them.
pub fn next(
    current: &TrustRoot,
    candidates: &[(&str, &[u8])],
    now: Time,
) -> Result<Option<Rotation>, NoRotation> {
    let Some(version) = current.version.checked_add(1) else {
        return Ok(None);
    };
    let prefix = format!("{}{TAG_PREFIX}{version}-", super::TAGS);
    let mut refused = Vec::new();
    let mut refuse = |ref_name: &str, refusal: Refusal| {
        refused.push(RefusedCandidate {
            ref_name: ref_name.to_owned(),
            refusal,
        });
    };
    let mut drafts: BTreeMap<&[u8], Vec<Signature<'_>>> = BTreeMap::new();
    for &(ref_name, raw) in candidates {
        if !ref_name.starts_with(&prefix) {
            continue;
        }
        match Signature::read(ref_name, raw, version) {
            Ok(signature) => drafts.entry(signature.message).or_default().push(signature),
            Err(refusal) => refuse(ref_name, refusal),
        }
    }
    let mut good = Vec::new();
    for (message, signatures) in drafts {
        match judge(current, message, &signatures, now) {
            Ok(rotation) => good.push(rotation),
            Err(refusals) => {
                for (signature, refusal) in signatures.iter().zip(refusals) {
                    refuse(signature.ref_name, refusal);
                }
            }
        }
    }
    if good.len() > 1 {
        for ref_name in good.iter().flat_map(|it| it.signatures.keys()) {
            refuse(
                ref_name,
                Code::Frozen
                    .because(format!(
                        "two different roots of version {version} are fully signed; delete the tags of the wrong one"
                    ))
                    .authenticated(),
            );
        }
        good.clear();
    }
    match good.pop() {
        Some(rotation) => Ok(Some(rotation)),
        None if refused.is_empty() => Ok(None),
        None => Err(NoRotation(refused)),
    }
}

/// One tag of a rotation, whose name fits what it contains.
struct Signature<'c> {
    ref_name: &'c str,
    message: &'c [u8],
    signed: &'c [u8],
    armor: Vec<u8>,
}

impl<'c> Signature<'c> {
    fn read(ref_name: &'c str, raw: &'c [u8], version: u64) -> Result<Self, Refusal> {
        let tag = Tag::parse(raw)?;
        let sig = SshSig::parse(&tag.armor)?;
        names_agree(ref_name, &tag)?;
        if tag.name != tag_name(tag.message, version, sig.key_blob()) {
            return Err(misnamed(&tag, "what it contains"));
        }
        Ok(Self {
            ref_name,
            message: tag.message,
            signed: tag.signed,
            armor: tag.armor,
        })
    }

    /// Whose signature it is under `root`, and in which role.
    fn signer(&self, root: &TrustRoot, now: Time) -> Result<Signer, Refusal> {
        let sig = SshSig::parse(&self.armor)?;
        let key = known(&sig, Some(root))?;
        key.valid_at(now)?;
        sig.verify(self.signed, key.verify_required)?;
        Ok(Signer {
            principal: key.principal.clone(),
            role: key.role,
            key: key.key.fingerprint(),
        })
    }
}

/// Who made a signature, under one of the two roots.
struct Signer {
    principal: String,
    role: Role,
    key: Fingerprint,
}

/// Judges all signatures over one message; when it may not follow, says why of each, in the same order.
fn judge(
    current: &TrustRoot,
    message: &[u8],
    signatures: &[Signature<'_>],
    now: Time,
) -> Result<Rotation, Vec<Refusal>> {
    let old: Vec<Result<Signer, Refusal>> = signatures
        .iter()
        .map(|it| it.signer(current, now))
        .collect();
    let strangers = |old: &[Result<Signer, Refusal>], why: &Refusal| -> Vec<Refusal> {
        old.iter()
            .map(|it| match it {
                Ok(_) => why.clone().authenticated(),
                Err(refusal) => refusal.clone(),
            })
            .collect()
    };
    // Only what a key of the current root signed is worth reading.
    if old.iter().all(Result::is_err) {
        return Err(old.into_iter().filter_map(Result::err).collect());
    }
    let (root, text) = match successor(current, message) {
        Ok(it) => it,
        Err(why) => return Err(strangers(&old, &why)),
    };
    let new: Vec<Result<Signer, Refusal>> =
        signatures.iter().map(|it| it.signer(&root, now)).collect();
    let is_planned = is_planned(current, &root);
    for role in [Role::Operational, Role::Recovery] {
        if role == Role::Operational && !is_planned {
            continue;
        }
        let agree = |signers: &[Result<Signer, Refusal>], root: &TrustRoot| {
            people(signers, role).len() >= root.threshold(role)
        };
        if agree(&old, current) && agree(&new, &root) {
            let counted =
                |it: &Result<Signer, Refusal>| it.as_ref().is_ok_and(|it| it.role == role);
            let used = signatures.iter().zip(old.iter().zip(&new));
            let signatures = used
                .filter(|(_, (old, new))| counted(old) || counted(new))
                .filter_map(|(signature, (old, new))| {
                    let signer = old.as_ref().or(new.as_ref()).ok()?;
                    Some((signature.ref_name.to_owned(), signer.key))
                })
                .collect();
            let mut principals = people(&old, role);
            principals.extend(people(&new, role));
            let principals = principals.into_iter().map(str::to_owned).collect();
            return Ok(Rotation {
                root,
                text,
                role,
                principals,
                signatures,
            });
        }
    }
    let denied = Code::RoleDenied.because(
        "operational keys may change operational keys only; the repository, the quorums and the recovery keys need a rotation signed by recovery keys",
    );
    let role = if old.iter().flatten().any(|it| it.role == Role::Recovery) {
        Role::Recovery
    } else {
        Role::Operational
    };
    let pending = Code::QuorumPending.because(format!(
        "version {} of the trust root is signed by {} of {} {} principals under version {}, and by {} of {} under its own; more of them have to sign the same file",
        root.version,
        people(&old, role).len(),
        current.threshold(role),
        role.word(),
        current.version,
        people(&new, role).len(),
        root.threshold(role),
    ));
    Err(old
        .iter()
        .zip(&new)
        .map(|(old, new)| match (old, new) {
            (Ok(signer), _) if signer.role == Role::Operational && !is_planned => {
                denied.clone().authenticated()
            }
            (Ok(_), _) => pending.clone().authenticated(),
            (Err(_), Ok(_)) => pending.clone(),
            (Err(refusal), Err(_)) => refusal.clone(),
        })
        .collect())
}

/// The root in `message`, if anybody at all could make it follow.
fn successor(current: &TrustRoot, message: &[u8]) -> Result<(TrustRoot, String), Refusal> {
    let malformed = |why: String| Err(Code::Malformed.because(why));
    let Ok(text) = str::from_utf8(message) else {
        return malformed("the new trust root is not UTF-8".into());
    };
    let root = match TrustRoot::parse(text) {
        Ok(root) => root,
        Err(problems) => {
            let first = problems.0.first().map(ToString::to_string);
            let all = problems.0.len();
            return malformed(format!(
                "the new trust root has {all} problems, the first at {}; correct the file and sign it again",
                first.unwrap_or_default()
            ));
        }
    };
    if root.render() != text {
        return malformed(
            "the new trust root is not written as muster writes it; have muster write the file that is signed".into(),
        );
    }
    if current.version.checked_add(1) != Some(root.version) {
        return malformed(format!(
            "the new trust root is version {} and must be one more than {}",
            root.version, current.version
        ));
    }
    let dropped = current
        .keys
        .iter()
        .filter(|it| root.key_with(it.key.blob()).is_none())
        .map(|it| it.key.fingerprint());
    if let Some(missing) = dropped
        .chain(current.revoked.iter().copied())
        .find(|it| !root.revoked.contains(it))
    {
        return malformed(format!(
            "the new trust root neither keeps the key {missing} nor lists it as revoked; add it to `revoked`"
        ));
    }
    Ok((root, text.to_owned()))
}

/// Whether nothing changes but operational keys.
fn is_planned(current: &TrustRoot, root: &TrustRoot) -> bool {
    let recovery = |root: &TrustRoot| -> Vec<_> {
        let keys = root.keys.iter().filter(|it| it.role == Role::Recovery);
        keys.cloned().collect()
    };
    current.repo == root.repo
        && current.quorums == root.quorums
        && recovery(current) == recovery(root)
}

/// Who signed in this role, each person once (M60).
fn people(signers: &[Result<Signer, Refusal>], role: Role) -> BTreeSet<&str> {
    signers
        .iter()
        .flatten()
        .filter(|it| it.role == role)
        .map(|it| it.principal.as_str())
        .collect()
}
