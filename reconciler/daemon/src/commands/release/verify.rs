//! `muster release verify`: what this host would say now, check by check.

use std::path::PathBuf;

use muster_core::gate::Approvals;
use muster_core::release::admit::{AdmissionContext, CommitStanding, Release, admit};
use muster_core::release::claim::Progress;
use muster_core::release::root::TrustRoot;
use muster_core::release::signature::SshSig;
use muster_core::release::statement::Statement;
use muster_core::release::tag::Tag;
use muster_core::release::{Code, ObjectKind, RELEASES, Refusal, Signed, authenticate};
use muster_core::world::{Ancestry, RawTag, Source as _};

use super::super::here::{self, Those};
use super::super::signing::{full_tag, raw_tag};
use super::super::{CommandError, Common, Output, now, plan};
use super::{Look, origin_of, root_here};
use crate::cycle::chain;
use crate::exit;
use crate::settings::{ExecutorSettings, Settings};

/// Which.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// The tag.
    tag: String,
    /// The repository that has it, in place of this host's state repository.
    #[arg(long, value_name = "DIR")]
    repo: Option<PathBuf>,
}

/// One check, in the order in which they are made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Check {
    Annotated,
    Form,
    Signed,
    Name,
    Statement,
    Trusting,
    Purpose,
    Known,
    Role,
    Valid,
    Signature,
    Window,
    Repository,
    Commit,
    Executor,
    Nonce,
    Frozen,
    Steps,
    Limits,
    Quorum,
}

impl Check {
    const ALL: [Self; 20] = [
        Self::Annotated,
        Self::Form,
        Self::Signed,
        Self::Name,
        Self::Statement,
        Self::Trusting,
        Self::Purpose,
        Self::Known,
        Self::Role,
        Self::Valid,
        Self::Signature,
        Self::Window,
        Self::Repository,
        Self::Commit,
        Self::Executor,
        Self::Nonce,
        Self::Frozen,
        Self::Steps,
        Self::Limits,
        Self::Quorum,
    ];

    /// What is true when it passes.
    fn words(self) -> &'static str {
        match self {
            Self::Annotated => "it is an annotated tag",
            Self::Form => {
                "of a commit, with the four headers, a message and one signature at the end"
            }
            Self::Signed => "the signature is a whole SSH signature",
            Self::Name => "ref, name and contents agree",
            Self::Statement => "the message is a statement, about the commit that is tagged",
            Self::Trusting => "this host trusts keys",
            Self::Purpose => "it was signed for git",
            Self::Known => "the key is in the trust root, and was not dropped",
            Self::Role => "it may sign releases",
            Self::Valid => "it is valid now, by this host's clock",
            Self::Signature => "the signature is over these bytes",
            Self::Window => "its time has come and is not over, and the clock can be believed",
            Self::Repository => "it is for this state repository",
            Self::Commit => "its commit is part of the protected branch",
            Self::Executor => "it names this host",
            Self::Nonce => "it was not used",
            Self::Frozen => "this host is not frozen",
            Self::Steps => "every step is in the plan made now, with the same id and words",
            Self::Limits => "no limit and no protected name stands against it",
            Self::Quorum => "enough people signed",
        }
    }

    /// The check that ends in this refusal, once the form was found good.
    fn of(code: Code) -> Self {
        match code {
            Code::NotAnnotated => Self::Annotated,
            Code::Malformed => Self::Statement,
            Code::NameMismatch => Self::Name,
            Code::Inert => Self::Trusting,
            Code::UnknownSigner | Code::Revoked => Self::Known,
            Code::RoleDenied => Self::Role,
            Code::KeyExpired => Self::Valid,
            Code::BadSignature => Self::Signature,
            Code::NotYetValid | Code::Expired | Code::Clock => Self::Window,
            Code::WrongRepo => Self::Repository,
            Code::NotAdopted => Self::Commit,
            Code::WrongExecutor => Self::Executor,
            Code::Replay => Self::Nonce,
            Code::Frozen => Self::Frozen,
            Code::BindingMismatch => Self::Steps,
            Code::Guardrail => Self::Limits,
            Code::QuorumPending => Self::Quorum,
        }
    }
}

/// How far it got, and why no further.
struct Found {
    at: Check,
    refusal: Refusal,
}

pub(super) fn run(
    args: &Args,
    those: &Those,
    common: &Common,
    out: &mut Output,
) -> Result<u8, CommandError> {
    let ref_name = full_tag(&args.tag);
    let settings = plan::settings_if_any(common)?;
    let here = match &settings {
        Some(settings) => Some(here::only(those.of(settings)?)?),
        None => None,
    };
    let mut look = match &settings {
        Some(settings) => Some(Look::at(
            &origin_of(settings, args.repo.as_deref())?,
            &settings.state.branch,
            &settings.state.reader,
        )?),
        None => None,
    };
    let raw = match &mut look {
        Some(look) => look.tag(&ref_name)?,
        None => {
            let repo = args.repo.clone().unwrap_or_else(|| ".".into());
            let (kind, bytes) = raw_tag(&repo, &ref_name)?;
            Some(RawTag {
                kind: match kind.as_str() {
                    "tag" => ObjectKind::Tag,
                    "tree" => ObjectKind::Tree,
                    "blob" => ObjectKind::Blob,
                    _ => ObjectKind::Commit,
                },
                bytes,
            })
        }
    };
    let Some(raw) = raw else {
        return Err(CommandError::Refused(format!(
            "there is no {ref_name} to look at: it is not pushed, was deleted, or is no name of a release"
        )));
    };
    let asked = settings.as_ref().zip(here.as_ref());
    let root = asked.map(|(settings, here)| root_here(settings, std::slice::from_ref(here)));
    let (root, untaken) = match root {
        None => (None, None),
        Some(Ok(root)) => (root, None),
        Some(Err(why)) => (None, Some(why)),
    };
    let found = match authenticated(&ref_name, &raw, root.as_deref()) {
        Err(found) => Some(found),
        Ok(signed) => match (asked, &mut look, &root) {
            (Some(asked), Some(look), Some(root)) => admitted(&signed, asked, look, root)?,
            _ => None,
        },
    };
    tell(found, &raw, untaken, here.as_ref(), out)
}

/// The first half: whose signature it is.
fn authenticated(ref_name: &str, raw: &RawTag, root: Option<&TrustRoot>) -> Result<Signed, Found> {
    let at = |at| move |refusal| Found { at, refusal };
    let result = authenticate(ref_name, raw.kind, &raw.bytes, root, now());
    if raw.kind != ObjectKind::Tag {
        return result.map_err(at(Check::Annotated));
    }
    let tag = Tag::parse(&raw.bytes).map_err(at(Check::Form))?;
    let sig = SshSig::parse(&tag.armor).map_err(at(Check::Signed))?;
    result.map_err(|refusal| Found {
        at: match refusal.code {
            Code::BadSignature if sig.namespace_is_git().is_err() => Check::Purpose,
            code => Check::of(code),
        },
        refusal,
    })
}

/// The second half: whether this host would run it now; `None` when it would.
fn admitted(
    signed: &Signed,
    (settings, here): (&Settings, &ExecutorSettings),
    look: &mut Look,
    root: &TrustRoot,
) -> Result<Option<Found>, CommandError> {
    let now = now();
    // All that say the same are one release.
    let others: Vec<String> = look
        .heads
        .tags
        .keys()
        .filter(|name| name.starts_with(RELEASES) && **name != signed.ref_name)
        .cloned()
        .collect();
    let mut all = vec![signed.clone()];
    for name in others {
        if let Ok(Some(raw)) = look.tag(&name)
            && let Ok(other) = authenticate(&name, raw.kind, &raw.bytes, Some(root), now)
            && other.digest == signed.digest
        {
            all.push(other);
        }
    }
    let Some(release) = Release::group(all).pop() else {
        return Ok(None);
    };
    let Some(ground) = plan::plan_now(here, settings)? else {
        return Err(CommandError::Refused(
            "this host has no valid commit to plan by; see `muster status`".into(),
        ));
    };
    let commit = match look.source.ancestry(&signed.statement.commit, &ground.head) {
        Ok(Ancestry::Same | Ancestry::Descends) => CommitStanding::Adopted,
        Ok(Ancestry::Diverged) => CommitStanding::NotAdopted,
        Err(error) => CommitStanding::Unknown(chain(&error)),
    };
    let approvals = Approvals::of_begun(&ground.facts);
    let standing = AdmissionContext {
        root,
        policy: &ground.policy,
        facts: &ground.facts,
        observed: &ground.observed,
        plan: &ground.plan,
        approvals: &approvals,
        moment: &ground.moment,
    };
    // What was begun is brought to its end whatever is checked.
    let begun = ground.facts.claims.get(&release.nonce());
    if begun.is_some_and(|it| !it.finished && it.steps.values().all(|at| *at != Progress::Waiting))
    {
        return Ok(None);
    }
    let refused = admit(&release, &commit, &standing).err();
    Ok(refused.map(|refusal| Found {
        at: Check::of(refusal.code),
        refusal,
    }))
}

fn tell(
    found: Option<Found>,
    raw: &RawTag,
    untaken: Option<String>,
    here: Option<&ExecutorSettings>,
    out: &mut Output,
) -> Result<u8, CommandError> {
    let stops = found.as_ref().map(|it| it.at);
    for check in Check::ALL {
        if Some(check) == stops {
            break;
        }
        out.line(format_args!("ok       {}", check.words()))?;
    }
    let Some(Found { at, refusal }) = found else {
        out.line("\nThis host would run it now.")?;
        return Ok(exit::OK);
    };
    let Refusal { code, why, .. } = &refusal;
    let why = match untaken {
        Some(untaken) if *code == Code::Inert => untaken,
        _ => why.clone(),
    };
    out.line(format_args!("{code}: {}\n         {why}", at.words()))?;
    let left = Check::ALL.iter().skip_while(|it| **it != at).count() - 1;
    if left > 0 {
        out.line(format_args!("         ({left} more checks were not made)"))?;
    }
    if *code == Code::Inert {
        // Without anybody to trust, what can be said is whether the bytes are signed at all.
        if let Ok(tag) = Tag::parse(&raw.bytes)
            && let Ok(sig) = SshSig::parse(&tag.armor)
        {
            let good = sig.namespace_is_git().and_then(|()| {
                let asked = muster_core::release::signature::UserVerification::NotAsked;
                sig.verify(tag.signed, asked)
            });
            match good {
                Ok(()) => out.line(format_args!(
                    "note     the signature is one over these bytes by {}, whoever that is",
                    sig.fingerprint()
                ))?,
                Err(refusal) => out.line(format_args!("note     {refusal}"))?,
            }
            if let Ok(statement) = Statement::parse(tag.message) {
                out.line(format_args!(
                    "note     it holds from {} until {}",
                    statement.not_before, statement.not_after
                ))?;
            }
        }
    }
    let host = here.map_or("No host was asked".to_owned(), |it| {
        format!("{} would not run it now", it.executor)
    });
    out.line(format_args!("\n{host}."))?;
    Ok(exit::FAILED)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn every_check_can_be_the_one_that_fails() {
        let mut reached: BTreeSet<&str> =
            Code::ALL.iter().map(|it| Check::of(*it).words()).collect();
        // Found out by what was parsed, or by the namespace, and not by the code.
        reached.extend([Check::Form, Check::Signed, Check::Purpose].map(Check::words));
        let all: BTreeSet<&str> = Check::ALL.map(Check::words).into();
        assert_eq!(reached, all);
    }
}
