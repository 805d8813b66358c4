//! `muster services report`: as the program before did it, byte for byte (A1 to A12).

use std::ffi::{OsStr, OsString};
use std::fs;
use std::io::{self, Write};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use muster_core::compat::json;
use muster_core::services::report::{self, Report};
use muster_core::time::Time;
use muster_git::short::short_head;

use crate::commands::{CommandError, Output, now, output};
use crate::exit;

/// What is reported on.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// Where the two reports are looked for, and whose commit is told.
    #[arg(
        long,
        value_name = "DIR",
        default_value = ".",
        allow_negative_numbers = true
    )]
    root: OsString,
    /// The inventory of surfaces, as JSON.
    #[arg(
        long,
        value_name = "FILE",
        allow_negative_numbers = true,
        default_value = "docs/security/host-service-config-inventory.snapshot.json"
    )]
    inventory_report: OsString,
    /// The owner requests, as JSON.
    #[arg(
        long,
        value_name = "FILE",
        allow_negative_numbers = true,
        default_value = "docs/security/host-service-owner-request-draft.snapshot.json"
    )]
    owner_request_report: OsString,
    /// Where the report is written, in place of standard output; directories are made.
    #[arg(long, value_name = "FILE", allow_negative_numbers = true)]
    output: Option<OsString>,
    /// When the report says that it was made; without it, now.
    #[arg(long, value_name = "TIME", allow_negative_numbers = true)]
    generated_at: Option<OsString>,
}

pub(super) fn run(args: &Args, out: &mut Output) -> Result<u8, CommandError> {
    let root = Path::new(&args.root);
    // An empty root is this directory, and an absolute path of a report stands by itself.
    let root = if root.as_os_str().is_empty() {
        Path::new(".")
    } else {
        root
    };
    let inventory = read(root.join(&args.inventory_report))?;
    let inventory = parse(&inventory)?;
    let requests = read(root.join(&args.owner_request_report))?;
    let requests = parse(&requests)?;
    let generated_at = match args.generated_at.as_deref() {
        Some(time) if !time.is_empty() => text_of(time),
        Some(_) | None => in_taipei(now()).into_bytes(),
    };
    let commit = short_head(root);
    let commit = commit.as_deref().unwrap_or("unknown");
    let report = report::report(&inventory, &requests, commit, &generated_at)
        .map_err(|error| CommandError::Refused(error.to_string()))?;
    match args.output.as_deref() {
        Some(path) if !path.is_empty() => write(&plain(path), &report)?,
        Some(_) | None => print(out, &report)?,
    }
    output::note(&report::summary_line(&report));
    Ok(exit::OK)
}

fn read(path: PathBuf) -> Result<(PathBuf, Vec<u8>), CommandError> {
    match fs::read(&path) {
        Ok(bytes) => Ok((path, bytes)),
        Err(source) => Err(CommandError::CompatInput { path, source }),
    }
}

fn parse((path, bytes): &(PathBuf, Vec<u8>)) -> Result<json::Value<'_>, CommandError> {
    json::parse(bytes)
        .map_err(|error| CommandError::Refused(format!("{}: {error}", path.display())))
}

/// An argument as Python has it: each byte that is no UTF-8 as half a surrogate pair.
fn text_of(argument: &OsStr) -> Vec<u8> {
    let mut text = Vec::new();
    for chunk in argument.as_bytes().utf8_chunks() {
        text.extend_from_slice(chunk.valid().as_bytes());
        for byte in chunk.invalid() {
            text.extend_from_slice(&[0xed, 0xb0 | byte >> 6, 0x80 | byte & 0x3f]);
        }
    }
    text
}

/// A moment by the clock of UTC+8, to the second.
fn in_taipei(moment: Time) -> String {
    let utc = moment.plus(8 * 3_600).to_string();
    format!("{}+08:00", utc.trim_end_matches('Z'))
}

/// A path without a slash at its end, and without steps that lead nowhere.
fn plain(path: &OsStr) -> PathBuf {
    Path::new(path).components().collect()
}

fn write(path: &Path, report: &Report<'_>) -> Result<(), CommandError> {
    if report.has_half_a_pair() {
        return Err(half_a_pair());
    }
    let failed = |error: io::Error| {
        CommandError::Refused(format!("cannot write {}: {error}", path.display()))
    };
    if let Some(parent) = path.parent().filter(|it| !it.as_os_str().is_empty()) {
        fs::create_dir_all(parent).map_err(failed)?;
    }
    let mut file = fs::File::create(path).map_err(failed)?;
    report.write(|part| file.write_all(part)).map_err(failed)?;
    file.write_all(b"\n").map_err(failed)
}

fn half_a_pair() -> CommandError {
    CommandError::Refused(
        "an input has half a surrogate pair (\\ud800 to \\udfff by itself), which no encoding has; write the whole character".into(),
    )
}

fn print(out: &mut Output, report: &Report<'_>) -> Result<(), CommandError> {
    if !report.has_half_a_pair() {
        report.write(|part| out.bytes(part))?;
        out.bytes(b"\n")?;
        return out.finish();
    }
    let mut escapes = None;
    let whole = report.json();
    let mut rest = &*whole;
    let mut pieces: Vec<(&[u8], Option<u8>)> = Vec::new();
    // All is looked at before anything is written.
    while let Some(at) = json::lone_surrogate(rest) {
        // Where the locale is POSIX, Python writes the halves that stand for bytes as those bytes.
        let byte = match rest.get(at..at + 3) {
            Some(&[_, high @ 0xb2..=0xb3, low]) if *escapes.get_or_insert_with(locale_is_posix) => {
                high << 6 | low & 0x3f
            }
            _ => return Err(half_a_pair()),
        };
        pieces.push((&rest[..at], Some(byte)));
        rest = &rest[at + 3..];
    }
    pieces.push((rest, Some(b'\n')));
    for (text, byte) in pieces {
        out.bytes(text)?;
        out.bytes(byte.as_slice())?;
    }
    out.finish()
}

/// Whether Python would take the locale for one that says nothing about encodings: it is one of these, or none that is installed.
fn locale_is_posix() -> bool {
    let set = ["LC_ALL", "LC_CTYPE", "LANG"]
        .into_iter()
        .filter_map(std::env::var_os)
        .find(|value| !value.is_empty());
    set.is_none_or(|value| {
        ["C", "POSIX", "C.UTF-8", "C.utf8", "UTF-8"]
            .iter()
            .any(|known| value == *known)
            || !is_installed(&value.to_string_lossy())
    })
}

/// Whether a locale is there, as `locale -a` would have it: in a folder of its own, or in the archive of them.
fn is_installed(name: &str) -> bool {
    let (language, rest) = name.split_once('.').unwrap_or((name, ""));
    let (encoding, variant) = rest.split_once('@').unwrap_or((rest, ""));
    // The C library writes UTF-8 as utf8.
    let mut plain = encoding.to_ascii_lowercase();
    plain.retain(|c| c.is_ascii_alphanumeric());
    let mut spelled = language.to_owned();
    for (sign, part) in [('.', plain.as_str()), ('@', variant)] {
        if !part.is_empty() {
            spelled.push(sign);
            spelled.push_str(part);
        }
    }
    let folder = Path::new("/usr/lib/locale");
    let is_folder = |it: &str| !it.contains('/') && folder.join(it).is_dir();
    if is_folder(name) || is_folder(&spelled) {
        return true;
    }
    let archive = fs::read(folder.join("locale-archive")).unwrap_or_default();
    let mut names = archive.split(|b| *b == 0);
    names.any(|it| it == name.as_bytes() || it == spelled.as_bytes())
}

/// The command line as the program before reads it: a value that begins with a dash and has a space in it is no option.
pub(super) fn as_before(args: Vec<OsString>) -> Vec<OsString> {
    const OPTIONS: [&str; 5] = [
        "--root",
        "--inventory-report",
        "--owner-request-report",
        "--output",
        "--generated-at",
    ];
    let is_option = |it: &str| it.len() > 2 && OPTIONS.iter().any(|known| known.starts_with(it));
    let mut args = args.into_iter().peekable();
    let mut read = Vec::new();
    while let Some(mut word) = args.next() {
        let takes = word.to_str().is_some_and(is_option);
        let is_text = |it: &OsString| {
            let text = it.to_string_lossy();
            let name = text.split('=').next().unwrap_or_default();
            text.starts_with('-') && text.contains(' ') && !is_option(name)
        };
        if takes && let Some(value) = args.next_if(is_text) {
            word.push("=");
            word.push(value);
        }
        read.push(word);
    }
    read
}
