//! `muster trust rotate` and `muster trust cosign`: how one trust root follows another.

use std::path::{Path, PathBuf};

use muster_core::commit::CommitId;
use muster_core::release::root::{Role, TrustRoot};
use muster_core::release::rotation;
use muster_core::release::tag::Tag;
use muster_core::release::{Code, Refusal};
use similar::TextDiff;

use super::super::signing::{
    SignArgs, Signer, confirm, deliver, full_tag, git, raw_tag, read as git_says,
};
use super::super::{CommandError, Common, Output, now, output};
use super::{check, read, trusted, until};
use crate::exit;

/// What changes.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// The new trust root as a file; its version and its revoked keys are worked out.
    #[arg(conflicts_with_all = ["add", "add_recovery", "drop", "renew"])]
    file: Option<PathBuf>,
    /// A person and a key that may sign releases from then on.
    #[arg(long, value_name = "NAME=KEYFILE", num_args = 1..)]
    add: Vec<String>,
    /// A person and a recovery key; recovery keys have to sign this.
    #[arg(long, value_name = "NAME=KEYFILE", num_args = 1..)]
    add_recovery: Vec<String>,
    /// A key, by fingerprint, or all of a person; unused releases that they signed are void at once.
    #[arg(long, value_name = "NAME|FINGERPRINT", num_args = 1..)]
    drop: Vec<String>,
    /// A key, by fingerprint, or all of a person, and until when it is valid: a date, a length such as 52w, or `always`.
    #[arg(long, value_name = "NAME|FINGERPRINT=UNTIL", num_args = 1..)]
    renew: Vec<String>,
    /// Until when keys that are added are valid.
    #[arg(long, value_name = "DATE|DURATION")]
    until: Option<String>,
    /// The trust root in force, where it is not this host's.
    #[arg(long, value_name = "FILE")]
    root: Option<PathBuf>,
    /// Sign it.
    #[arg(long)]
    sign: bool,
    #[command(flatten)]
    signing: SignArgs,
}

/// Whose rotation.
#[derive(Debug, clap::Args)]
pub(super) struct CosignArgs {
    /// The tag in which somebody signed it.
    tag: String,
    /// The trust root in force, where it is not this host's.
    #[arg(long, value_name = "FILE")]
    root: Option<PathBuf>,
    #[command(flatten)]
    signing: SignArgs,
}

pub(super) fn run(args: &Args, common: &Common, out: &mut Output) -> Result<u8, CommandError> {
    let (_, _, current) = read(args.root.as_deref(), common)?;
    let root = follow(args, &current, common)?;
    check(&root)?;
    if same(&root, &current) {
        return Err(CommandError::Usage(
            "nothing would change; say what does: --add, --drop, --renew, or a file".into(),
        ));
    }
    out.text(&root.render())?;
    out.finish()?;
    show(&current, &root);
    if !args.sign {
        if args.signing.push.is_some() || args.signing.yes || args.signing.key.is_some() {
            return Err(CommandError::Usage("say --sign as well".into()));
        }
        output::note("Nothing is signed: the same with --sign signs it.\n");
        return Ok(exit::OK);
    }
    let head = git_says(git(&args.signing.repo).args(["rev-parse", "--verify", "HEAD^{commit}"]))?;
    let head = String::from_utf8_lossy(&head).trim().to_owned();
    let head = head
        .parse()
        .map_err(|error| CommandError::Refused(format!("git's HEAD: {error}")))?;
    sign(&root, &current, &head, &args.signing, out)
}

pub(super) fn cosign(
    args: &CosignArgs,
    common: &Common,
    out: &mut Output,
) -> Result<u8, CommandError> {
    let (_, _, current) = read(args.root.as_deref(), common)?;
    let ref_name = full_tag(&args.tag);
    let (_, raw) = raw_tag(&args.signing.repo, &ref_name)?;
    let refused =
        |why: String| CommandError::Refused(format!("{} is no rotation: {why}", args.tag));
    let tag = Tag::parse(&raw).map_err(|it| refused(it.to_string()))?;
    let text = str::from_utf8(tag.message).map_err(|it| refused(it.to_string()))?;
    let root = TrustRoot::parse(text).map_err(|it| refused(it.to_string()))?;
    if root.render() != text {
        return Err(refused("it is not written as muster writes it".into()));
    }
    let commit = tag
        .object
        .parse()
        .map_err(|error| refused(format!("{error}")))?;
    out.text(text)?;
    out.finish()?;
    show(&current, &root);
    sign(&root, &current, &commit, &args.signing, out)
}

/// The root that follows.
fn follow(args: &Args, current: &TrustRoot, common: &Common) -> Result<TrustRoot, CommandError> {
    let mut root = match &args.file {
        Some(file) => read(Some(file), common)?.2,
        None => current.clone(),
    };
    for who in &args.drop {
        if !current.keys.iter().any(|it| is(it, who)) {
            return Err(CommandError::Usage(format!(
                "--drop {who}: no key in version {} is that one's; see `muster trust show`",
                current.version
            )));
        }
        root.keys.retain(|it| !is(it, who));
    }
    for renewed in &args.renew {
        let (who, text) = renewed.rsplit_once('=').ok_or_else(|| {
            CommandError::Usage(format!(
                "--renew {renewed}: write NAME=DATE, such as emo=52w"
            ))
        })?;
        let not_after = match text {
            "always" => None,
            text => until(Some(text))?,
        };
        let mut found = false;
        for key in root.keys.iter_mut().filter(|it| is(it, who)) {
            key.not_after = not_after;
            found = true;
        }
        if !found {
            return Err(CommandError::Usage(format!(
                "--renew {who}: no key in version {} is that one's; see `muster trust show`",
                current.version
            )));
        }
    }
    let not_after = until(args.until.as_deref())?;
    for spec in &args.add {
        root.keys.push(trusted(spec, Role::Operational, not_after)?);
    }
    for spec in &args.add_recovery {
        root.keys.push(trusted(spec, Role::Recovery, not_after)?);
    }
    root.version = current.version + 1;
    // What was dropped, now or before, is told to whoever signs with it.
    root.revoked.extend(&current.revoked);
    let kept = |key: &[u8]| root.keys.iter().any(|it| it.key.blob() == key);
    let dropped: Vec<_> = current
        .keys
        .iter()
        .filter(|it| !kept(it.key.blob()))
        .map(|it| it.key.fingerprint())
        .collect();
    root.revoked.extend(dropped);
    Ok(root)
}

fn is(key: &muster_core::release::root::TrustedKey, who: &str) -> bool {
    key.principal == who || key.key.fingerprint().to_string() == who
}

fn same(root: &TrustRoot, current: &TrustRoot) -> bool {
    TrustRoot {
        version: current.version,
        ..root.clone()
    } == *current
}

/// Shows what changes, on standard error.
fn show(current: &TrustRoot, root: &TrustRoot) {
    let (old, new) = (current.render(), root.render());
    let names = [current, root].map(|it| format!("version {}", it.version));
    let diff = TextDiff::from_lines(&old, &new);
    let diff = diff
        .unified_diff()
        .context_radius(2)
        .header(&names[0], &names[1])
        .to_string();
    output::note(&format!("\n{diff}\n{}\n", takes(current, root)));
}

/// How many people have to sign: of those that the old root names, and of those that the new one names (F31).
fn takes(current: &TrustRoot, root: &TrustRoot) -> String {
    let (role, why) = match planned(current, root) {
        true => (Role::Operational, ""),
        false => (Role::Recovery, ", since more changes than operational keys"),
    };
    let of = |it: &TrustRoot| {
        let people = match it.threshold(role) {
            1 => "1 person".to_owned(),
            many => format!("{many} people"),
        };
        format!("{people} of version {}", it.version)
    };
    format!(
        "It takes {} keys{why}: of {} and of {}; whoever is in both counts for both.",
        role.word(),
        of(current),
        of(root)
    )
}

fn planned(current: &TrustRoot, root: &TrustRoot) -> bool {
    let recovery = |it: &TrustRoot| -> Vec<_> {
        let keys = it.keys.iter().filter(|it| it.role == Role::Recovery);
        keys.cloned().collect()
    };
    current.repo == root.repo
        && current.quorums == root.quorums
        && recovery(current) == recovery(root)
}

fn sign(
    root: &TrustRoot,
    current: &TrustRoot,
    commit: &CommitId,
    args: &SignArgs,
    out: &mut Output,
) -> Result<u8, CommandError> {
    let signer = Signer::find(args)?;
    let text = root.render();
    let name = rotation::tag_name(text.as_bytes(), root.version, signer.key.blob());
    confirm(
        &format!(
            "Sign version {} of the trust root with {}?",
            root.version,
            signer.key.fingerprint()
        ),
        args,
        out,
    )?;
    let others = same_version(&args.repo, root.version)?;
    let mut pending = None;
    signer.sign(&name, commit, &text, |ref_name, raw| {
        let mut candidates: Vec<(&str, &[u8])> = others
            .iter()
            .filter(|(other, _)| other != ref_name)
            .map(|(name, raw)| (name.as_str(), raw.as_slice()))
            .collect();
        candidates.push((ref_name, raw));
        pending = judge(current, root, ref_name, &candidates)?;
        Ok(())
    })?;
    if let Some(why) = pending {
        output::note(&format!(
            "It is not complete yet: {why}. Another one signs with: muster trust cosign {name}\n"
        ));
    }
    deliver(&name, args)?;
    Ok(exit::OK)
}

/// Whether this signature counts; what is missing beside it, if anything.
fn judge(
    current: &TrustRoot,
    root: &TrustRoot,
    ref_name: &str,
    candidates: &[(&str, &[u8])],
) -> Result<Option<String>, Refusal> {
    let refused = match rotation::next(current, candidates, now()) {
        Ok(_) => return Ok(None),
        Err(refused) => refused,
    };
    let Some(it) = refused.0.into_iter().find(|it| it.ref_name == ref_name) else {
        return Ok(None);
    };
    let refusal = it.refusal;
    // A key that only the new root has counts once one of the old root's has signed as well.
    let is_new = refusal.code == Code::UnknownSigner
        && root.keys.iter().any(|key| {
            current.key_with(key.key.blob()).is_none()
                && refusal.why.contains(&key.key.fingerprint().to_string())
        });
    if refusal.code == Code::QuorumPending || is_new {
        return Ok(Some(refusal.why));
    }
    Err(refusal)
}

/// Tags of rotations to this version that are in `repo`.
fn same_version(repo: &Path, version: u64) -> Result<Vec<(String, Vec<u8>)>, CommandError> {
    let listed = git_says(git(repo).args([
        "for-each-ref",
        "--format=%(refname)",
        &format!("refs/tags/{}{version}-*", rotation::TAG_PREFIX),
    ]))?;
    let listed = String::from_utf8_lossy(&listed).into_owned();
    listed
        .lines()
        .map(|name| Ok((name.to_owned(), raw_tag(repo, name)?.1)))
        .collect()
}
