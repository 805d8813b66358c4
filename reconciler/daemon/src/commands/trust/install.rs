//! `muster trust install`: by the word of root at the console, and of nobody else.

use std::path::PathBuf;

use muster_core::accounts::render;
use muster_core::journal::Entry;

use super::super::decide::Console;
use super::super::here::TheOne;
use super::super::{CommandError, Common, Output, now, output, who};
use super::{check, read, shown};
use crate::clock;
use crate::cycle::trust_facts;
use crate::exit;
use crate::trust::TrustFile;

/// Which.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// The trust root, as it was brought here.
    file: PathBuf,
    /// Its SHA-256, brought here another way: read out, or from `muster trust show` on a host that has it.
    #[arg(long, value_name = "HEX")]
    sha256: String,
}

pub(super) fn run(
    args: &Args,
    here: &TheOne,
    common: &Common,
    out: &mut Output,
) -> Result<u8, CommandError> {
    let (_, text, root) = read(Some(&args.file), common)?;
    let digest = render::digest(&text);
    if !args.sha256.eq_ignore_ascii_case(&digest) {
        return Err(CommandError::Refused(format!(
            "{} has the digest {digest}, not the one that was named; nothing was changed",
            args.file.display()
        )));
    }
    if root.render() != text {
        return Err(CommandError::Refused(format!(
            "{} is not written as muster writes it, so its digest would not be that of what is installed; take the file \
             itself from a host that has it",
            args.file.display()
        )));
    }
    check(&root)?;
    let settings = common.settings()?;
    let here = here.of(&settings)?;
    let mut console = Console::open(&here, "trust install")?;
    super::super::start_log(&settings, common);
    let facts = &console.opened.replayed.facts;
    let found = trust_facts(&root);
    if let Some(known) = facts.trust.as_ref().filter(|it| **it != found) {
        // The version is the high-water mark that keeps a replayed old root out: nobody lowers it, not even root here.
        if root.version <= known.version {
            return Err(CommandError::Refused(format!(
                "{} is version {} for {}, and version {} for {} is in force here; a version is never taken back or given \
                 twice: take the file that is in force elsewhere, or write these keys as version {} or later",
                args.file.display(),
                root.version,
                root.repo,
                known.version,
                known.repo,
                known.version.saturating_add(1)
            )));
        }
        if known.repo != root.repo {
            output::note(&format!(
                "warning: from here on this host takes releases for repository {}, and none for {} any more\n",
                root.repo, known.repo
            ));
        }
    }
    let at = clock::moment(&console.state, facts, now).now;
    let before = facts.trust.clone();
    // Until the record is there, a root that does not follow from the last one is not taken by any cycle.
    TrustFile::at(&settings.trust)
        .put(&root)
        .map_err(|source| CommandError::Write {
            path: settings.trust.clone(),
            source,
        })?;
    if before.as_ref() != Some(&found) {
        let entry = Entry::Trusted {
            at,
            root: found,
            by: vec![format!("{} at the console", who())],
        };
        console.write(entry)?;
    }
    tracing::warn!(
        version = root.version,
        "The trust root {digest} was installed by {} at the console, in place of {}.",
        who(),
        before.map_or("none".to_owned(), |it| format!("version {}", it.version))
    );
    out.text(&shown(&root, now()))?;
    out.line(format_args!(
        "\nVersion {} is in force on {}.",
        root.version, here.executor
    ))?;
    Ok(exit::OK)
}
