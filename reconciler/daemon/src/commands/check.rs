//! `muster check`

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use clap::ValueEnum;
use clap::builder::ArgPredicate;
use muster_core::diagnostic::{self, Diagnostics};
use muster_core::executor::Executor;
use muster_core::guests::file::GUESTS;
use muster_core::ink::count;
use muster_core::repo::{HOSTS, ROSTER, TIERS};
use muster_core::rooms::{self, Desired, Policy, StateRepo};
use muster_core::services::names::shown;
use muster_core::services::records::{RESPONSES, REVIEWS, SERVICES};
use muster_git::at::{self, AtError};
use muster_git::folder;

use super::{CommandError, Output, now, services};
use crate::exit;
use crate::outside::{bytes_of, refused};

/// What is checked.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// A directory that holds a state repository's files.
    #[arg(default_value = ".", conflicts_with_all = ["repo", "rev"])]
    path: PathBuf,
    /// A git repository, bare or with a work tree: what is committed there is checked, not what lies in the work tree.
    #[arg(
        long,
        value_name = "PATH",
        default_value_if("rev", ArgPredicate::IsPresent, Some("."))
    )]
    repo: Option<PathBuf>,
    /// Which commit or tree: all digits of its id, a branch, HEAD, or a full reference name.
    #[arg(
        long,
        value_name = "REVISION",
        default_value_if("repo", ArgPredicate::IsPresent, Some("HEAD"))
    )]
    rev: Option<String>,
    /// How to say it.
    #[arg(long, value_enum, default_value_t = Format::Human)]
    format: Format,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
pub(super) enum Format {
    /// With the lines themselves, for people.
    Human,
    /// For programs.
    Json,
    /// Annotations of a pull request.
    Github,
}

pub(super) fn run(args: &Args, out: &mut Output) -> Result<u8, CommandError> {
    let files = match (&args.repo, &args.rev) {
        (Some(repo), Some(rev)) => match committed(repo, rev)? {
            Ok(files) => files,
            Err(problems) => {
                out.text(&render(args.format, &problems, &BTreeMap::new()))?;
                return Ok(exit::FAILED);
            }
        },
        _ => files_below(&args.path)?,
    };
    let others = rooms::executors_of(&files);
    let others: Vec<&Executor> = others.iter().collect();
    let (problems, found) = match rooms::read_whole(&files, &others) {
        Ok((repo, warnings)) => {
            let guests = others.iter().map(|it| guests_of(&repo, it)).sum();
            let people = repo.documents.roster.people.len();
            (warnings, Some((people, guests)))
        }
        Err(problems) => (problems, None),
    };
    let shown = services::without_answers(&files);
    out.text(&render(args.format, &problems, &shown))?;
    let Some((people, guests)) = found else {
        return Ok(exit::FAILED);
    };
    if matches!(args.format, Format::Human) {
        out.line(summary(people, guests, problems.counts().values().sum()))?;
    }
    Ok(exit::OK)
}

/// How many guests are asked for of a hypervisor.
fn guests_of(repo: &StateRepo<'_>, executor: &Executor) -> usize {
    match rooms::desired(repo, &Policy::built_in(executor), now().date()) {
        Desired::Guests(desired) => desired.guests.len(),
        Desired::Accounts(_) => 0,
    }
}

/// `valid, 7 people, 3 guests`.
fn summary(people: usize, guests: usize, warnings: usize) -> String {
    let people = match people {
        0 => "nobody in the roster; an empty one removes no account".to_owned(),
        1 => "1 person".to_owned(),
        many => format!("{many} people"),
    };
    let mut line = format!("valid, {people}");
    if guests > 0 {
        line.push_str(", ");
        line.push_str(&count(guests, "guest"));
    }
    if warnings > 0 {
        line.push_str("; ");
        line.push_str(&count(warnings, "warning"));
    }
    line
}

/// Renders what is wrong; `files` are those of which lines may be shown.
pub(super) fn render(
    format: Format,
    problems: &Diagnostics,
    files: &BTreeMap<String, Vec<u8>>,
) -> String {
    match format {
        Format::Human => diagnostic::human(problems, files),
        Format::Json => diagnostic::json(problems),
        Format::Github => diagnostic::github(problems),
    }
}

/// The files of a commit or tree, or what is wrong with the paths there.
fn committed(
    repo: &Path,
    rev: &str,
) -> Result<Result<BTreeMap<String, Vec<u8>>, Diagnostics>, CommandError> {
    match at::at(repo, rev) {
        Ok(files) => Ok(Ok(bytes_of(files))),
        Err(AtError::Objects { source, revision }) => match refused(source) {
            Ok(problems) => Ok(Err(problems)),
            Err(source) => Err(CommandError::Revision(AtError::Objects {
                revision,
                source,
            })),
        },
        Err(error) => Err(CommandError::Revision(error)),
    }
}

/// The files of a state repository that lie below `dir`, as an editor left them.
pub(super) fn files_below(dir: &Path) -> Result<BTreeMap<String, Vec<u8>>, CommandError> {
    let unreadable = |path: &Path| {
        let path = path.to_owned();
        move |source| CommandError::Input { path, source }
    };
    folder::entries(dir).map_err(unreadable(dir))?;
    let mut names = vec![ROSTER.to_owned(), TIERS.to_owned()];
    for folder in [HOSTS, GUESTS, SERVICES, RESPONSES, REVIEWS] {
        // With a slash behind it, a link would be looked at where it leads.
        let below = dir.join(folder.trim_end_matches('/'));
        if fs::symlink_metadata(&below).is_ok_and(|it| it.is_symlink()) {
            return Err(unreadable(&below)(not_plain("a symbolic link", "folders")));
        }
        match folder::entries(&below) {
            Ok(entries) => {
                for entry in entries {
                    // A name that is no text is shown with what stands for the rest, and refused for it.
                    names.push(format!("{folder}{}", entry.name().to_string_lossy()));
                }
            }
            Err(error)
                if matches!(
                    error.kind(),
                    io::ErrorKind::NotFound | io::ErrorKind::NotADirectory
                ) => {}
            Err(error) => return Err(unreadable(&below)(error)),
        }
    }
    let mut files = BTreeMap::new();
    for name in names {
        let path = dir.join(&name);
        // A name below services/ can be a secret itself, and is not repeated then (LB5).
        let told = dir.join(shown(&name));
        // What a link leads to is not part of the repository, and would be shown to whoever reads the errors.
        match fs::symlink_metadata(&path).map(|it| it.file_type()) {
            Ok(kind) if kind.is_file() => {
                drop(files.insert(name, fs::read(&path).map_err(unreadable(&told))?))
            }
            Ok(kind) if kind.is_dir() => {}
            Ok(kind) => {
                let what = match kind.is_symlink() {
                    true => "a symbolic link",
                    false => "a device, a socket or a pipe",
                };
                return Err(unreadable(&told)(not_plain(what, "files")));
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(unreadable(&told)(error)),
        }
    }
    Ok(files)
}

/// Why something that is no part of a state repository is not read.
fn not_plain(what: &str, wanted: &str) -> io::Error {
    io::Error::other(format!(
        "it is {what}, and a state repository has plain {wanted} alone; put in its place what it is to say"
    ))
}
