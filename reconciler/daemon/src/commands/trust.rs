//! `muster trust`: who may sign releases on this host.

mod install;
mod rotate;

use std::path::{Path, PathBuf};

use clap::Subcommand;
use muster_core::accounts::render;
use muster_core::diagnostic::visible;
use muster_core::facts::Facts;
use muster_core::ink::count;
use muster_core::release::RepoId;
use muster_core::release::root::{Quorums, Role, TrustRoot, TrustedKey};
use muster_core::release::signature::UserVerification;
use muster_core::time::{Counted, Time};
use serde_json::{Value, json};

use super::here::TheOne;
use super::signing::read_key;
use super::status::Format;
use super::{CommandError, Common, Output, now, output};
use crate::cycle::trust_is_wrong;
use crate::exit;
use crate::settings::{ExecutorSettings, read_guarded};
use crate::trust::TrustFile;

/// What is done with the trust root.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    #[command(subcommand)]
    what: What,
    #[command(flatten)]
    here: TheOne,
}

#[derive(Debug, Subcommand)]
enum What {
    /// Writes the first trust root, with a new random id for the state repository.
    Init {
        /// A person and a key of theirs that may sign releases: a `.pub` file, or the key itself.
        #[arg(long, value_name = "NAME=KEYFILE", num_args = 1.., required = true)]
        operational: Vec<String>,
        /// A person and a key that signs changes of the trust root and resets, and no release; keep it off line.
        #[arg(long, value_name = "NAME=KEYFILE", num_args = 1..)]
        recovery: Vec<String>,
        /// Until when the operational keys are valid: a date, a time, or a length such as 52w.
        #[arg(long, value_name = "DATE|DURATION")]
        until: Option<String>,
    },
    /// Shows the trust root of this host, or another.
    Show {
        /// Another file.
        file: Option<PathBuf>,
        /// For people or for programs.
        #[arg(long, value_enum, default_value_t = Format::Human)]
        format: Format,
    },
    /// Says whether a trust root can be used, and whether this host would take it.
    Verify {
        /// A file; without it, the one of this host.
        file: Option<PathBuf>,
    },
    /// Writes the keys as `gpg.ssh.allowedSignersFile` of git, to look at tags with.
    Export,
    /// Writes the trust root that follows, shows the difference, and with `--sign` signs it.
    Rotate(rotate::Args),
    /// Signs the rotation in a tag with one's own key.
    Cosign(rotate::CosignArgs),
    /// Puts a trust root in force by the word of root at the console: on another host, or when the quorum is lost.
    Install(install::Args),
}

pub(super) fn run(args: &Args, common: &Common, out: &mut Output) -> Result<u8, CommandError> {
    match &args.what {
        What::Init {
            operational,
            recovery,
            until,
        } => init(
            operational,
            recovery,
            until.as_deref(),
            &args.here,
            common,
            out,
        ),
        What::Show { file, format } => {
            let (_, text, root) = read(file.as_deref(), common)?;
            match format {
                Format::Human => out.text(&shown(&root, now()))?,
                Format::Json => out.line(format_args!("{:#}", as_json(&root, &text, now())))?,
            }
            Ok(exit::OK)
        }
        What::Verify { file } => verify(file.as_deref(), &args.here, common, out),
        What::Export => {
            let (_, _, root) = read(None, common)?;
            out.text(&root.allowed_signers())?;
            Ok(exit::OK)
        }
        What::Rotate(rotate) => rotate::run(rotate, common, out),
        What::Cosign(cosign) => rotate::cosign(cosign, common, out),
        What::Install(install) => install::run(install, &args.here, common, out),
    }
}

/// The trust root in `file` or of this host: where it is, its text, and what it says.
fn read(
    file: Option<&Path>,
    common: &Common,
) -> Result<(PathBuf, String, TrustRoot), CommandError> {
    let (path, text) = match file {
        Some(file) => {
            let text = std::fs::read_to_string(file).map_err(|source| CommandError::Input {
                path: file.to_owned(),
                source,
            })?;
            (file.to_owned(), text)
        }
        None => {
            let path = common.settings()?.trust;
            let text = read_guarded(&path).map_err(CommandError::Refused)?;
            let Some(text) = text else {
                return Err(CommandError::Refused(format!(
                    "there is no trust root at {}: write the first one with `muster trust init --operational \
                     NAME=KEYFILE`",
                    path.display()
                )));
            };
            (path, text)
        }
    };
    let root = TrustRoot::parse(&text)
        .map_err(|problems| CommandError::Refused(of_file(&path, &problems.to_string())))?;
    Ok((path, text, root))
}

/// Problems as `file:line:column: problem`.
fn of_file(path: &Path, problems: &str) -> String {
    let lines = problems
        .lines()
        .map(|line| format!("{}:{line}", path.display()));
    lines.collect::<Vec<_>>().join("\n")
}

/// A `NAME=KEYFILE` as it stands in a trust root.
fn trusted(spec: &str, role: Role, not_after: Option<Time>) -> Result<TrustedKey, CommandError> {
    let wrong = |why: String| CommandError::Usage(format!("{}: {why}", visible(spec)));
    let (principal, key) = spec.split_once('=').ok_or_else(|| {
        wrong("write NAME=KEYFILE, such as emo=/home/emo/.ssh/id_ed25519.pub".into())
    })?;
    let is_literal = key.starts_with("ssh-") || key.starts_with("sk-") || key.starts_with("ecdsa-");
    let text = if is_literal {
        key.to_owned()
    } else {
        std::fs::read_to_string(key).map_err(|source| CommandError::Input {
            path: key.into(),
            source,
        })?
    };
    if text.contains("PRIVATE KEY") {
        return Err(wrong(format!(
            "that is a private key, which stays where it is; name {key}.pub"
        )));
    }
    let (key, comment) = read_key(text.trim()).map_err(wrong)?;
    Ok(TrustedKey {
        principal: principal.to_owned(),
        role,
        key,
        not_before: None,
        not_after,
        verify_required: UserVerification::NotAsked,
        comment,
    })
}

fn until(text: Option<&str>) -> Result<Option<Time>, CommandError> {
    let read = |text| Time::from_words(text, now(), Counted::Ahead);
    text.map(read)
        .transpose()
        .map_err(|error| CommandError::Usage(format!("--until: {error}")))
}

fn init(
    operational: &[String],
    recovery: &[String],
    valid: Option<&str>,
    here: &TheOne,
    common: &Common,
    out: &mut Output,
) -> Result<u8, CommandError> {
    let settings = common.settings()?;
    let path = &settings.trust;
    if path.symlink_metadata().is_ok() {
        return Err(CommandError::Refused(format!(
            "there is a trust root at {} already: change it with `muster trust rotate`",
            path.display()
        )));
    }
    let here = here.all_of(&settings)?;
    if let Some(known) = here.iter().find_map(|it| facts(it)?.trust) {
        return Err(CommandError::Refused(format!(
            "this host has followed version {} of the trust root of repository {}, and a new one would be of another: put \
             that file back, or decide at the console with `muster trust install FILE --sha256 HEX`",
            known.version, known.repo
        )));
    }
    let not_after = until(valid)?;
    let mut keys = Vec::new();
    for spec in operational {
        keys.push(trusted(spec, Role::Operational, not_after)?);
    }
    for spec in recovery {
        keys.push(trusted(spec, Role::Recovery, None)?);
    }
    let root = TrustRoot {
        version: 1,
        repo: RepoId(random()?),
        quorums: Quorums::default(),
        keys,
        revoked: Default::default(),
    };
    check(&root)?;
    TrustFile::at(path)
        .put(&root)
        .map_err(|source| CommandError::Write {
            path: path.clone(),
            source,
        })?;
    out.text(&shown(&root, now()))?;
    let digest = render::digest(&root.render());
    out.line(format_args!(
        "\nWritten to {0}; the next cycle takes it. Next:\n\
         \x20 on each other host   copy it there, then: muster trust install FILE --sha256 {digest}\n\
         \x20 as an operator       muster release propose --all --sign --push\n\
         \x20 to look at tags      muster trust export > allowed_signers; git config gpg.ssh.allowedSignersFile …",
        path.display()
    ))?;
    if root.principals(Role::Recovery).is_empty() {
        output::note(
            "warning: there is no recovery key: when operational keys are lost, only root on each host can go on\n",
        );
    }
    Ok(exit::OK)
}

/// Sixteen bytes that nobody can guess.
pub(super) fn random() -> Result<[u8; 16], CommandError> {
    let mut bytes = [0; 16];
    getrandom::fill(&mut bytes)
        .map_err(|error| CommandError::Random(std::io::Error::other(error.to_string())))?;
    Ok(bytes)
}

fn check(root: &TrustRoot) -> Result<(), CommandError> {
    root.check().map_err(|problems| {
        CommandError::Refused(format!("that would be no trust root:\n{problems}"))
    })
}

/// What an executor of this machine remembers, if it was initialised and its state can be read by this user.
pub(super) fn facts(here: &ExecutorSettings) -> Option<Facts> {
    let state = here.state();
    state.identity().ok()??;
    Some(state.look_now(&here.executor).ok()?.facts)
}

fn verify(
    file: Option<&Path>,
    here: &TheOne,
    common: &Common,
    out: &mut Output,
) -> Result<u8, CommandError> {
    let (path, text, root) = read(file, common)?;
    let mut code = exit::OK;
    out.line(format_args!(
        "ok    {} is version {} of the trust root of repository {}, with {}",
        path.display(),
        root.version,
        root.repo,
        count(root.keys.len(), "key")
    ))?;
    if root.render() == text {
        out.line(
            "ok    it is written as muster writes it, so that a rotation can be signed over it",
        )?;
    } else {
        out.line("note  it is not written as muster writes it; `muster trust install` and rotations write it anew")?;
    }
    for key in &root.keys {
        if let Err(refusal) = key.valid_at(now()) {
            out.line(format_args!("note  {refusal}"))?;
        }
    }
    // Only the file of this host is looked at every day.
    let settings = super::plan::settings_if_any(common)?;
    let here = match &settings {
        Some(settings) => here.all_of(settings)?,
        None => Vec::new(),
    };
    let known: Vec<_> = here
        .iter()
        .filter_map(|it| Some((it, facts(it)?.trust?)))
        .collect();
    if known.is_empty() {
        out.line("note  nothing is remembered here of an earlier trust root")?;
    }
    for (one, known) in known {
        // Of the only one, it need not be said whose it is.
        let who = match here.as_slice() {
            [_] => "this host".to_owned(),
            _ => one.executor.to_string(),
        };
        match trust_is_wrong(&root, Some(&known)) {
            None => out.line(format_args!(
                "ok    {who} takes it: version {} was in force",
                known.version
            ))?,
            Some(wrong) => {
                out.line(format_args!("error {who} does not take it: {wrong}"))?;
                code = exit::FAILED;
            }
        }
    }
    out.line(format_args!("sha256 {}", render::digest(&text)))?;
    Ok(code)
}

fn standing(key: &TrustedKey, now: Time) -> String {
    match (key.not_before, key.not_after) {
        (Some(first), _) if now < first => format!("from {first}"),
        (_, Some(last)) if now > last => format!("EXPIRED {last}"),
        (_, Some(last)) => format!("until {last}"),
        _ => "always".to_owned(),
    }
}

fn shown(root: &TrustRoot, now: Time) -> String {
    let mut lines = vec![
        format!("version   {}", root.version),
        format!("repo      {}", root.repo),
        format!("sha256    {}", render::digest(&root.render())),
        String::new(),
    ];
    let rows: Vec<[String; 5]> = root
        .keys
        .iter()
        .map(|key| {
            [
                key.principal.clone(),
                key.role.word().to_owned(),
                key.key.fingerprint().to_string(),
                standing(key, now),
                visible(&key.comment),
            ]
        })
        .collect();
    let head = ["principal", "role", "key", "valid", ""].map(str::to_owned);
    let width = |at: usize| {
        let all = rows.iter().chain([&head]);
        all.map(|row| row[at].chars().count()).max().unwrap_or(0)
    };
    let widths: Vec<usize> = (0..5).map(width).collect();
    for row in std::iter::once(&head).chain(&rows) {
        let cells = row.iter().zip(&widths);
        let cells: Vec<String> = cells
            .map(|(text, width)| format!("{text:<width$}"))
            .collect();
        lines.push(cells.join("  ").trim_end().to_owned());
    }
    lines.push(String::new());
    let needs: Vec<String> = quorums(root)
        .into_iter()
        .map(|(what, number)| format!("{what} {number}"))
        .collect();
    lines.push(format!("people who have to sign: {}", needs.join(", ")));
    if !root.revoked.is_empty() {
        lines.push(format!("revoked keys: {}", root.revoked.len()));
    }
    lines.join("\n") + "\n"
}

/// How many people have to sign what, with what is not written down worked out.
fn quorums(root: &TrustRoot) -> Vec<(&'static str, usize)> {
    use muster_core::release::root::Weight;
    let of = |privileged, destructive, admin| {
        root.quorum(Weight {
            privileged,
            destructive,
            admin,
        })
    };
    let mut all = vec![
        ("privileged", of(1, 0, 0)),
        ("destructive", of(0, 1, 0)),
        ("many", of(6, 0, 0)),
        ("admin", of(1, 0, 1)),
        ("rotation", root.threshold(Role::Operational)),
    ];
    if !root.principals(Role::Recovery).is_empty() {
        all.push(("recovery", root.threshold(Role::Recovery)));
    }
    all
}

fn as_json(root: &TrustRoot, text: &str, now: Time) -> Value {
    let keys = root.keys.iter().map(|key| {
        json!({
            "principal": key.principal,
            "role": key.role.word(),
            "key": key.key.to_string(),
            "fingerprint": key.key.fingerprint(),
            "not_before": key.not_before.map(|it| it.to_string()),
            "not_after": key.not_after.map(|it| it.to_string()),
            "valid": key.valid_at(now).is_ok(),
            "comment": key.comment,
        })
    });
    let quorums: serde_json::Map<String, Value> = quorums(root)
        .into_iter()
        .map(|(what, number)| (what.to_owned(), number.into()))
        .collect();
    json!({
        "format": 1,
        "version": root.version,
        "repo": root.repo,
        "sha256": render::digest(text),
        "keys": keys.collect::<Vec<_>>(),
        "quorum": quorums,
        "revoked": root.revoked,
    })
}
