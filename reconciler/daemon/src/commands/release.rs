//! `muster release`: what operators sign, and what this host makes of it.

mod list;
mod propose;
mod verify;

use std::path::{Path, PathBuf};
use std::sync::Arc;

use clap::Subcommand;
use muster_core::release::root::{FEW, TrustRoot, Weight};
use muster_core::release::statement::Statement;
use muster_core::release::tag::Tag;
use muster_core::release::{Code, ObjectKind, Refusal, TagHorizon, authenticate};
use muster_core::world::{Heads, RawTag, Source as _, TrustStore as _};
use muster_git::{Origin, Proposals};

use super::here::Those;
use super::signing::{SignArgs, Signer, confirm, deliver, full_tag, raw_tag};
use super::{CommandError, Common, Output, now, output};
use crate::cycle::trust_is_wrong;
use crate::executors::AssembleError;
use crate::exit;
use crate::outside::StateSource;
use crate::reader;
use crate::settings::{ExecutorSettings, Settings};
use crate::trust::TrustFile;

/// What is done with releases.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    #[command(subcommand)]
    what: What,
    #[command(flatten)]
    here: Those,
}

#[derive(Debug, Subcommand)]
enum What {
    /// Writes the statement that releases steps that wait, and with `--sign` signs it.
    Propose(propose::Args),
    /// Signs a statement that `propose` wrote elsewhere.
    Sign {
        /// The file it was written to, byte for byte; `-` for standard input, with `--yes`.
        file: PathBuf,
        #[command(flatten)]
        signing: SignArgs,
    },
    /// Signs what somebody else signed, with one's own key, for a release that takes several people.
    Cosign {
        /// The tag of the other one.
        tag: String,
        #[command(flatten)]
        signing: SignArgs,
    },
    /// Says, check by check, what this host would make of a release now.
    Verify(verify::Args),
    /// Lists releases: open, waiting for another signature, claimed, used, refused, expired, cancelled.
    List(list::Args),
}

pub(super) fn run(args: &Args, common: &Common, out: &mut Output) -> Result<u8, CommandError> {
    match &args.what {
        What::Propose(propose) => propose::run(propose, &args.here, common, out),
        What::Sign { file, signing } => {
            let bytes = if file == Path::new("-") {
                let mut bytes = Vec::new();
                std::io::Read::read_to_end(&mut std::io::stdin().lock(), &mut bytes)
                    .map_err(CommandError::Runtime)?;
                bytes
            } else {
                std::fs::read(file).map_err(|source| CommandError::Input {
                    path: file.clone(),
                    source,
                })?
            };
            let statement = Statement::parse(&bytes).map_err(|it| {
                CommandError::Refused(format!("{} is no statement: {it}", file.display()))
            })?;
            out.text(&statement.render())?;
            sign(&statement, signing, common, out)
        }
        What::Cosign { tag, signing } => {
            let (_, raw) = raw_tag(&signing.repo, &full_tag(tag))?;
            let refused = |it: Refusal| CommandError::Refused(format!("{tag} is no release: {it}"));
            let statement =
                Statement::parse(Tag::parse(&raw).map_err(refused)?.message).map_err(refused)?;
            out.text(&statement.render())?;
            sign(&statement, signing, common, out)
        }
        What::Verify(verify) => verify::run(verify, &args.here, common, out),
        What::List(list) => list::run(list, &args.here, common, out),
    }
}

/// Signs a statement that was shown, and keeps the tag only if a host could take it.
fn sign(
    statement: &Statement,
    args: &SignArgs,
    common: &Common,
    out: &mut Output,
) -> Result<u8, CommandError> {
    statement
        .check()
        .map_err(|it| CommandError::Refused(it.to_string()))?;
    if statement.not_after < now() {
        return Err(CommandError::Refused(format!(
            "it held until {}; propose it again",
            statement.not_after
        )));
    }
    let signer = Signer::find(args)?;
    confirm(
        &format!(
            "Sign {} with {}?",
            match statement.steps() {
                1 => "this step".to_owned(),
                many => format!("these {many} steps"),
            },
            signer.key.fingerprint()
        ),
        args,
        out,
    )?;
    let name = statement.tag_name(signer.key.blob());
    // Where this machine trusts somebody, a key that no host would take is told at once.
    let root = match super::plan::settings_if_any(common)? {
        Some(settings) => {
            let here = Those::default().of(&settings)?;
            root_here(&settings, &here).ok().flatten()
        }
        None => None,
    };
    signer.sign(
        &name,
        &statement.commit,
        &statement.render(),
        |ref_name, raw| match authenticate(ref_name, ObjectKind::Tag, raw, root.as_deref(), now()) {
            Err(refusal) if refusal.code != Code::Inert => Err(refusal),
            _ => Ok(()),
        },
    )?;
    deliver(&name, args)?;
    output::note(&still_takes(statement, &name, root.as_deref(), args)?);
    Ok(exit::OK)
}

/// Whether somebody else has to sign as well, as far as can be told where it was signed (F31); empty when nobody has to.
fn still_takes(
    statement: &Statement,
    name: &str,
    root: Option<&TrustRoot>,
    args: &SignArgs,
) -> Result<String, CommandError> {
    let other = format!("another one signs with: muster release cosign {name} --push");
    let beyond_doubt = Weight {
        privileged: statement.steps(),
        destructive: 0,
        admin: 0,
    };
    let at_most = Weight {
        destructive: statement.steps(),
        admin: statement.steps(),
        ..beyond_doubt
    };
    let Some(root) = root else {
        return Ok(match statement.steps() > FEW {
            true => format!(
                "It waits where releases take two people, since it names more than {FEW} steps: {other}\n"
            ),
            false => format!("Should it take two people, as what touches an admin does, {other}\n"),
        });
    };
    let signed = signatures(&args.repo, name)?;
    let people = |number: usize| match number {
        1 => "1 person has signed".to_owned(),
        many => format!("{many} people have signed"),
    };
    let (least, most) = (root.quorum(beyond_doubt), root.quorum(at_most));
    Ok(if signed < least {
        format!(
            "It waits: {}, and it takes {least}; {other}\n",
            people(signed)
        )
    } else if signed < most {
        format!(
            "{}; it takes {most} if its steps are of a kind for which `muster trust show` says so: then {other}\n",
            people(signed)
        )
    } else {
        String::new()
    })
}

/// How many tags of this statement there are in `repo`.
fn signatures(repo: &Path, name: &str) -> Result<usize, CommandError> {
    let of_statement = name.rsplit_once('-').map_or(name, |(before, _)| before);
    let listed = super::signing::read(super::signing::git(repo).args([
        "for-each-ref",
        "--format=%(refname)",
        &format!("{}-*", full_tag(of_statement)),
    ]))?;
    Ok(String::from_utf8_lossy(&listed).lines().count())
}

/// The trust root in force for these executors of this machine.
///
/// # Errors
/// Why the one that is there is not taken.
fn root_here(
    settings: &Settings,
    here: &[ExecutorSettings],
) -> Result<Option<Arc<TrustRoot>>, String> {
    let Some(root) = TrustFile::at(&settings.trust).read()? else {
        return Ok(None);
    };
    for one in here {
        let known = super::trust::facts(one).and_then(|it| it.trust);
        if let Some(wrong) = trust_is_wrong(&root, known.as_ref()) {
            return Err(format!(
                "the trust root here is not taken: {wrong}; see `muster trust verify`"
            ));
        }
    }
    Ok(Some(root))
}

/// The origin, or another repository, for one look: through a mirror of its own, so that no daemon is disturbed.
struct Look {
    _scratch: tempfile::TempDir,
    source: StateSource,
    heads: Heads,
}

impl Look {
    fn at(origin: &Origin, branch: &str, listens: &Path) -> Result<Self, CommandError> {
        let failed = |error| CommandError::from(AssembleError::Repositories(error));
        let scratch = tempfile::tempdir().map_err(CommandError::Runtime)?;
        let dir = scratch.path().join("mirror.git");
        let (way, ours) = (reader::way_of_console(origin, listens), origin.clone());
        let mut source =
            StateSource::for_one_look((&dir, None), ours, way, branch, Proposals::Ignore)
                .map_err(failed)?;
        let heads = source.heads(&TagHorizon::ALL).map_err(failed)?;
        Ok(Self {
            _scratch: scratch,
            source,
            heads,
        })
    }

    /// The tag of this full name, read once; `None` where there is none.
    fn tag(&mut self, ref_name: &str) -> Result<Option<RawTag>, CommandError> {
        let Some(id) = self.heads.tags.get(ref_name).cloned() else {
            return Ok(None);
        };
        let raw = self.source.tag(&id);
        raw.map(Some)
            .map_err(|error| CommandError::from(AssembleError::Repositories(error)))
    }
}

fn origin_of(settings: &Settings, repo: Option<&Path>) -> Result<Origin, CommandError> {
    match repo {
        Some(dir) => Ok(Origin::Local(
            std::path::absolute(dir).map_err(CommandError::Runtime)?,
        )),
        None => Ok(settings.state.url.clone().ok_or(AssembleError::NoOrigin)?),
    }
}
