//! `muster archive`

use std::fs;
use std::path::{Path, PathBuf};

use clap::Subcommand;
use muster_host::archive::manifest::Bytes;
use muster_host::archive::{self, Line, Owners};

use super::{CommandError, Common, Output};
use muster_git::folder;

use crate::exit;

/// What is done with archives.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    #[command(subcommand)]
    what: What,
}

#[derive(Debug, Subcommand)]
enum What {
    /// Lists the archives of this host, or what one of them holds.
    List {
        /// An archive; without it, those in the store that the settings name.
        file: Option<PathBuf>,
    },
    /// Reads all of an archive, and checks every entry against its manifest and the file against the digest beside it.
    Verify {
        /// The archive.
        file: PathBuf,
    },
    /// Takes a home out of an archive, as one's own files; devices, set-id bits and links that lead out stay in it.
    Extract {
        /// The archive.
        file: PathBuf,
        /// An empty directory, made when there is none.
        into: PathBuf,
        /// Keep owners, set-id bits, links and attributes as they were; for root.
        #[arg(long)]
        same_owner: bool,
    },
}

pub(super) fn run(args: &Args, common: &Common, out: &mut Output) -> Result<u8, CommandError> {
    match &args.what {
        What::List { file: None } => list_store(common, out)?,
        What::List { file: Some(file) } => list(file, out)?,
        What::Verify { file } => verify(file, out)?,
        What::Extract {
            file,
            into,
            same_owner,
        } => {
            let owners = if *same_owner {
                Owners::Recorded
            } else {
                Owners::Mine
            };
            extract(file, into, owners, out)?;
        }
    }
    Ok(exit::OK)
}

fn failed(path: &Path) -> impl FnOnce(archive::Error) -> CommandError {
    let path = path.to_owned();
    |source| CommandError::Archive {
        path,
        source: Box::new(source),
    }
}

fn list_store(common: &Common, out: &mut Output) -> Result<(), CommandError> {
    let dir = common.settings()?.archives.dir;
    let unread = |source| CommandError::Input {
        path: dir.clone(),
        source,
    };
    let entries = match folder::entries(&dir) {
        Ok(entries) => entries,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(unread(error)),
    };
    let mut found = Vec::new();
    for entry in entries {
        let path = entry.path;
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        if name.ends_with(".tar.zst") && !name.starts_with('.') {
            found.push(path);
        }
    }
    found.sort();
    for path in found {
        // Whose it is stands at its beginning; a list does not read it all.
        match archive::subject(&path) {
            Ok(it) => out.line(format_args!(
                "{}  {}  uid {}  {}  {}",
                path.display(),
                Bytes::Text(it.user).shown(),
                it.uid,
                Bytes::Text(it.home).shown(),
                it.at
            ))?,
            Err(error) => out.line(format_args!(
                "{}  cannot be read: {}",
                path.display(),
                crate::cycle::chain(&error)
            ))?,
        }
    }
    Ok(())
}

/// That a named file can be read is looked at first: what is wrong with it otherwise is wrong with an archive.
fn readable(file: &Path) -> Result<(), CommandError> {
    match fs::File::open(file) {
        Ok(_) => Ok(()),
        Err(source) => Err(CommandError::Input {
            path: file.to_owned(),
            source,
        }),
    }
}

fn list(file: &Path, out: &mut Output) -> Result<(), CommandError> {
    readable(file)?;
    let mut told = Ok(());
    archive::list(file, &mut |line| {
        if told.is_ok() {
            told = out.line(shown(line));
        }
    })
    .map_err(failed(file))?;
    told
}

fn shown(line: &Line) -> String {
    match line {
        Line::Entry(entry) => {
            let mut text = format!(
                "{:<12} {} {}:{} {:>12} {}",
                entry.kind,
                entry.mode,
                entry.uid,
                entry.gid,
                entry.size.unwrap_or(0),
                entry.path.shown()
            );
            if let Some(link) = &entry.link {
                text.push_str(&format!(" -> {}", link.shown()));
            }
            for mark in &entry.marks {
                text.push_str(&format!("  [{}]", mark.word()));
            }
            text
        }
        Line::Outside { path, links, found } => format!(
            "{} has {links} names, and {found} of them are in here",
            path.shown()
        ),
        Line::End { entries, .. } => format!("{entries} entries"),
    }
}

fn verify(file: &Path, out: &mut Output) -> Result<(), CommandError> {
    readable(file)?;
    let verified = archive::verify(file, &mut |_, _| {}).map_err(failed(file))?;
    out.line(format_args!(
        "{}: {} entries of {} (uid {}), archived {}; every one is as the manifest says",
        file.display(),
        verified.entries,
        Bytes::Text(verified.subject.user).shown(),
        verified.subject.uid,
        verified.subject.at
    ))?;
    out.line(format_args!("sha256 {}", verified.sha256))
}

fn extract(file: &Path, into: &Path, owners: Owners, out: &mut Output) -> Result<(), CommandError> {
    readable(file)?;
    let is_made = match fs::create_dir(into) {
        Ok(()) => true,
        Err(source) if source.kind() == std::io::ErrorKind::AlreadyExists => false,
        Err(source) => {
            let path = into.to_owned();
            return Err(CommandError::Write { path, source });
        }
    };
    let extracted = archive::extract(file, into, owners).map_err(|error| {
        if is_made {
            // It goes only where nothing was taken out: what was stays for whoever looks into it.
            let _ = fs::remove_dir(into);
        }
        failed(file)(error)
    })?;
    for line in &extracted.named {
        out.line(format_args!("left out: {line}"))?;
    }
    let more = extracted.left_out - extracted.named.len() as u64;
    if more > 0 {
        out.line(format_args!("left out: {more} more"))?;
    }
    out.line(format_args!(
        "{} entries in {}",
        extracted.entries,
        into.display()
    ))
}
