//! The operator's own git and key: what `muster release` and `muster trust` sign with.
//!
//! muster holds no key. git signs, with whatever `ssh-keygen` can use (a file, an agent, a security key), and what came
//! of it is read back as raw bytes and judged like anybody's tag before it is kept.

use std::io::{self, IsTerminal as _, Write as _};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use muster_core::commit::CommitId;
use muster_core::release::root::SignerKey;
use muster_core::release::signature::{SshSig, UserVerification};
use muster_core::release::tag::Tag;
use muster_core::release::{Code, Refusal};

use super::{CommandError, Output, output};

/// How to sign.
#[derive(Clone, Debug, clap::Args)]
pub(super) struct SignArgs {
    /// The repository to tag in: a clone of the state repository.
    #[arg(long, value_name = "DIR", default_value = ".")]
    pub(super) repo: PathBuf,
    /// The key, or its `.pub` file where an agent has it; otherwise git's user.signingkey, or the one key of the agent.
    #[arg(long, value_name = "FILE")]
    pub(super) key: Option<PathBuf>,
    /// Sign without asking.
    #[arg(long)]
    pub(super) yes: bool,
    /// Push the tag, and nothing else, to this remote; without a name, to `origin`.
    #[arg(long, value_name = "REMOTE", num_args = 0..=1, default_missing_value = "origin")]
    pub(super) push: Option<String>,
}

/// Somebody who can sign here.
#[derive(Debug)]
pub(super) struct Signer {
    repo: PathBuf,
    /// As git takes it: a path, or `key::` and the key itself.
    setting: String,
    /// The public key.
    pub(super) key: SignerKey,
}

/// git in `repo`, with the operator's own configuration.
pub(super) fn git(repo: &Path) -> Command {
    let mut git = Command::new("git");
    git.arg("-C").arg(repo).stdin(Stdio::null());
    git
}

/// Runs a command that has to succeed, and gives what it wrote.
pub(super) fn read(command: &mut Command) -> Result<Vec<u8>, CommandError> {
    let what = command.get_program().to_string_lossy().into_owned();
    let output = command.output().map_err(|source| {
        CommandError::Refused(format!(
            "{what} could not be started: {source}; is it installed?"
        ))
    })?;
    if output.status.success() {
        return Ok(output.stdout);
    }
    let said = String::from_utf8_lossy(&output.stderr);
    Err(CommandError::Refused(format!(
        "{what} did not do it: {}",
        said.trim()
    )))
}

fn read_text(command: &mut Command) -> Result<String, CommandError> {
    let bytes = read(command)?;
    Ok(String::from_utf8_lossy(&bytes).trim().to_owned())
}

/// The raw bytes of the annotated tag that a ref of `repo` points to, and what kind of object that is.
pub(super) fn raw_tag(repo: &Path, ref_name: &str) -> Result<(String, Vec<u8>), CommandError> {
    let id = read_text(
        git(repo)
            .args(["rev-parse", "--verify", "--quiet", "--end-of-options"])
            .arg(ref_name),
    )
    .map_err(|_| {
        CommandError::Refused(format!(
            "{} has no {ref_name}; fetch it: git fetch origin '+{ref_name}:{ref_name}'",
            repo.display()
        ))
    })?;
    let kind = read_text(git(repo).args(["cat-file", "-t", &id]))?;
    let bytes = match kind.as_str() {
        "tag" => read(git(repo).args(["cat-file", "tag", &id]))?,
        _ => Vec::new(),
    };
    Ok((kind, bytes))
}

/// `refs/tags/` and the name, however it was written.
pub(super) fn full_tag(name: &str) -> String {
    match name.strip_prefix("refs/tags/") {
        Some(_) => name.to_owned(),
        None => format!("refs/tags/{name}"),
    }
}

/// The first two words of a line of a `.pub` file, of `ssh-add -L` or of git's settings, and the comment behind them.
pub(super) fn read_key(line: &str) -> Result<(SignerKey, String), String> {
    let mut words = line.split_whitespace();
    let two = [words.next().unwrap_or(""), words.next().unwrap_or("")].join(" ");
    let key = two
        .trim()
        .parse::<SignerKey>()
        .map_err(|error| error.to_string())?;
    Ok((key, words.collect::<Vec<_>>().join(" ")))
}

impl Signer {
    /// Finds the key to sign with: the one named, git's `user.signingkey`, or the only one of the agent.
    pub(super) fn find(args: &SignArgs) -> Result<Self, CommandError> {
        let found = |setting: String, key: SignerKey| Self {
            repo: args.repo.clone(),
            setting,
            key,
        };
        if let Some(file) = &args.key {
            let file = std::path::absolute(file).map_err(CommandError::Runtime)?;
            let key = public_of(&file)?;
            return Ok(found(file.display().to_string(), key));
        }
        let set = git(&args.repo)
            .args(["config", "--get", "user.signingkey"])
            .output()
            .map_err(CommandError::Runtime)?;
        let set = String::from_utf8_lossy(&set.stdout).trim().to_owned();
        if let Some(literal) = set
            .strip_prefix("key::")
            .or_else(|| Some(&*set).filter(|it| it.starts_with("ssh-") || it.starts_with("sk-")))
        {
            let (key, _) = read_key(literal).map_err(|why| {
                CommandError::Refused(format!("git's user.signingkey cannot be used: {why}"))
            })?;
            return Ok(found(format!("key::{key}"), key));
        }
        if !set.is_empty() {
            let path = read_text(git(&args.repo).args([
                "config",
                "--type=path",
                "--get",
                "user.signingkey",
            ]))?;
            let key = public_of(Path::new(&path))?;
            return Ok(found(path, key));
        }
        let listed = Command::new("ssh-add")
            .arg("-L")
            .stdin(Stdio::null())
            .output();
        let listed = listed.map(|it| it.stdout).unwrap_or_default();
        let listed = String::from_utf8_lossy(&listed);
        let keys: Vec<SignerKey> = listed
            .lines()
            .filter_map(|line| Some(read_key(line).ok()?.0))
            .collect();
        match keys.as_slice() {
            [key] => Ok(found(format!("key::{key}"), key.clone())),
            keys => Err(CommandError::Refused(format!(
                "there is no key to sign with: git's user.signingkey is not set, and the agent has {} keys; name one: \
                 --key ~/.ssh/id_ed25519.pub",
                keys.len()
            ))),
        }
    }

    /// Makes an annotated tag of `commit` whose message is exactly `message`, reads it back, and keeps it only if `judge`
    /// takes it.
    pub(super) fn sign(
        &self,
        name: &str,
        commit: &CommitId,
        message: &str,
        judge: impl FnOnce(&str, &[u8]) -> Result<(), Refusal>,
    ) -> Result<(), CommandError> {
        let Self { repo, setting, .. } = self;
        let there = git(repo)
            .args(["cat-file", "-e", &format!("{commit}^{{commit}}")])
            .stderr(Stdio::null())
            .status()
            .map_err(CommandError::Runtime)?;
        if !there.success() {
            return Err(CommandError::Refused(format!(
                "{} has no commit {commit}; fetch it, or name a clone of the state repository with --repo",
                repo.display()
            )));
        }
        let mut command = git(repo);
        command
            .args(["-c", "gpg.format=ssh", "-c"])
            .arg(format!("user.signingkey={setting}"))
            .args(["tag", "--sign", "--file=-", "--cleanup=verbatim", "--"])
            .args([name, commit.as_str()])
            .stdin(Stdio::piped())
            .stdout(Stdio::null());
        // Its standard error stays the operator's: it asks for a touch, a PIN or a passphrase.
        let mut child = command.spawn().map_err(CommandError::Runtime)?;
        if let Some(mut stdin) = child.stdin.take() {
            // When git ends early, its exit code tells.
            let _ = stdin.write_all(message.as_bytes());
        }
        if !child.wait().map_err(CommandError::Runtime)?.success() {
            return Err(CommandError::Refused(format!(
                "git did not sign {name}; what it said stands above"
            )));
        }
        let ref_name = full_tag(name);
        let (_, raw) = raw_tag(repo, &ref_name)?;
        let judged = is_exactly(&raw, message).and_then(|()| judge(&ref_name, &raw));
        if let Err(refusal) = judged {
            let gone = read(git(repo).args(["update-ref", "-d", &ref_name]));
            let gone = match gone {
                Ok(_) => "it was deleted again",
                Err(_) => "delete it: git tag -d",
            };
            return Err(CommandError::Refused(format!(
                "git made {name}, and no host would take it ({refusal}); {gone}"
            )));
        }
        Ok(())
    }
}

/// Whether the tag carries exactly these bytes, and its signature is one over them.
fn is_exactly(raw: &[u8], message: &str) -> Result<(), Refusal> {
    let tag = Tag::parse(raw)?;
    if tag.message != message.as_bytes() {
        return Err(Code::Malformed.because(
            "the message is not what was shown; a hook, an alias or a filter of this git changes messages of tags",
        ));
    }
    let sig = SshSig::parse(&tag.armor)?;
    sig.namespace_is_git()?;
    sig.verify(tag.signed, UserVerification::NotAsked)
}

/// The public half of a key file: the file itself, the one beside it, or what `ssh-keygen` says.
fn public_of(file: &Path) -> Result<SignerKey, CommandError> {
    let beside = PathBuf::from(format!("{}.pub", file.display()));
    for path in [file, &beside] {
        if let Ok(text) = std::fs::read_to_string(path)
            && let Some(Ok((key, _))) = text.lines().next().map(read_key)
        {
            return Ok(key);
        }
    }
    let text = read_text(Command::new("ssh-keygen").arg("-y").arg("-f").arg(file))?;
    read_key(&text)
        .map(|(key, _)| key)
        .map_err(|why| CommandError::Refused(format!("{} cannot be used: {why}", file.display())))
}

/// Asks the person at the terminal, unless they said yes before.
pub(super) fn confirm(
    question: &str,
    args: &SignArgs,
    out: &mut Output,
) -> Result<(), CommandError> {
    out.finish()?;
    if args.yes {
        return Ok(());
    }
    if !io::stdin().is_terminal() {
        return Err(CommandError::NotConfirmed(
            "nobody is at a terminal to confirm it; nothing was signed (--yes signs without asking)".into(),
        ));
    }
    output::note(&format!("{question} Write yes: "));
    let mut answer = String::new();
    io::stdin()
        .read_line(&mut answer)
        .map_err(CommandError::Runtime)?;
    if answer.trim() == "yes" {
        return Ok(());
    }
    Err(CommandError::NotConfirmed(
        "not confirmed; nothing was signed".into(),
    ))
}

/// Says what was signed, and pushes it where that was asked for.
pub(super) fn deliver(name: &str, args: &SignArgs) -> Result<(), CommandError> {
    let ref_name = full_tag(name);
    let Some(remote) = &args.push else {
        output::note(&format!(
            "Signed as {name}. It counts once it is pushed: git push origin {ref_name}\n"
        ));
        return Ok(());
    };
    output::note(&format!("Signed as {name}.\n"));
    let pushed = read(git(&args.repo).args([
        "push",
        "--quiet",
        "--no-follow-tags",
        "--end-of-options",
        remote,
        &format!("{ref_name}:{ref_name}"),
    ]));
    if let Err(error) = pushed {
        return Err(CommandError::Refused(format!(
            "{name} is signed and not pushed: {error}; push it: git push {remote} {ref_name}"
        )));
    }
    output::note(&format!("Pushed to {remote}.\n"));
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_is_read_with_its_comment() {
        let line = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIOMqqnkVzrm0SdG6UOoqKLsabgH5C9okWi0dh2l9GKJl emo at home\n";
        let (key, comment) = read_key(line).unwrap();
        assert!(line.starts_with(&key.to_string()));
        assert_eq!(comment, "emo at home");
        for bad in ["", "ssh-ed25519", "ssh-ed25519 AAAA", "ssh-dss AAAA x"] {
            assert!(read_key(bad).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn a_tag_has_one_full_name() {
        assert_eq!(full_tag("release/x"), "refs/tags/release/x");
        assert_eq!(full_tag("refs/tags/release/x"), "refs/tags/release/x");
    }
}
