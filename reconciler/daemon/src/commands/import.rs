//! `muster import`: rows of a roster, or of a hypervisor's file, from what exists elsewhere.

use std::fs;
use std::io::Write as _;
use std::ops::RangeInclusive;
use std::path::{Path, PathBuf};

use clap::Subcommand;
use muster_core::diagnostic::visible;
use muster_core::edit::import::{self, ImportedAccount};
use muster_core::edit::membership::{self, Report};
use muster_core::executor::{Executor, ExecutorKind};
use muster_core::guests::observed::Question as GuestsQuestion;
use muster_core::rooms::Question;
use muster_core::world::World as _;
use muster_host::accounts::{Databases, LoginDefs};
use muster_host::root::{Ownership, RootDir};

use super::here::{self, TheOne};
use super::{CommandError, Common, Output, now, output, roster};
use crate::executors::{AssembleError, guests};
use crate::exit;
use crate::settings::ExecutorSettings;

/// From where.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    #[command(subcommand)]
    from: From,
}

#[derive(Debug, Subcommand)]
enum From {
    /// From the members of one group of the identity provider: new ones get a row, rows of those who left become comments.
    Members(Members),
    /// From the accounts of this host: a first roster, on standard output, that adopts every account of a person.
    Passwd(Passwd),
    /// From the guests of a hypervisor: a first guests/NAME.yaml, on standard output, with which the plan has no step.
    Guests(Guests),
}

#[derive(Debug, clap::Args)]
struct Guests {
    /// The hypervisor, as `[[guests]] name` calls it, where there are several.
    name: Option<String>,
    #[command(flatten)]
    here: TheOne,
}

#[derive(Debug, clap::Args)]
struct Passwd {
    /// The tree whose accounts are read; another one than / for a system that is not booted.
    #[arg(long, value_name = "PATH", default_value = "/")]
    root: PathBuf,
}

#[derive(Debug, clap::Args)]
struct Members {
    /// The group, as JSON: {"name": "…", "members": ["…"]}.
    #[arg(long, value_name = "FILE")]
    json: PathBuf,
    /// The roster.
    #[arg(long, value_name = "FILE")]
    roster: PathBuf,
    /// Change the roster in place, and not only show it.
    #[arg(long)]
    write: bool,
}

pub(super) fn run(args: &Args, common: &Common, out: &mut Output) -> Result<u8, CommandError> {
    match &args.from {
        From::Guests(guests) => import_guests(guests, common, out),
        From::Members(members) => import_members(members, out),
        From::Passwd(Passwd { root }) => import_passwd(root, out),
    }
}

/// What runs there, as it stands: with the everyday token, and without state of its own (GB7).
fn import_guests(args: &Guests, common: &Common, out: &mut Output) -> Result<u8, CommandError> {
    let settings = common.settings()?;
    let here = match &args.name {
        Some(name) => {
            // Either form is what people read elsewhere.
            let name = name.strip_prefix("guests/").unwrap_or(name);
            let executor = Executor::of(ExecutorKind::Guests, name).ok_or_else(|| {
                let name = visible(name);
                CommandError::Usage(format!("`{name}` is no name of a hypervisor"))
            })?;
            TheOne::executor(executor).of(&settings)?
        }
        None => {
            let all = args.here.all_of(&settings)?;
            let keeps_guests = |it: &ExecutorSettings| it.executor.kind() == ExecutorKind::Guests;
            here::only(all.into_iter().filter(keeps_guests).collect())?
        }
    };
    let section = settings.guests_of(&here.executor)?;
    let mut world = guests::open(section, &here.state()).map_err(AssembleError::Guests)?;
    let question = Question::Guests(GuestsQuestion {
        everybody: true,
        ..GuestsQuestion::default()
    });
    let observed = world.observe(&question);
    let observed = observed.map_err(|it| AssembleError::Guests(it.into()))?;
    let node = section.policy.node.as_deref();
    let imported = muster_guests::import::import(&observed, node).map_err(CommandError::Refused)?;
    out.text(&imported.text)?;
    let warnings = imported.left_out.iter();
    output::note(
        &warnings
            .map(|it| format!("warning: left out: {it}\n"))
            .collect::<String>(),
    );
    Ok(exit::OK)
}

/// The accounts whose uids are those of people (UID_MIN to UID_MAX of login.defs), in the order of their uids.
fn import_passwd(root: &Path, out: &mut Output) -> Result<u8, CommandError> {
    let (databases, uids) = read_accounts(root).map_err(|source| CommandError::Accounts {
        root: root.to_owned(),
        source,
    })?;
    let memberships = databases.memberships();
    let mut accounts: Vec<_> = databases
        .accounts()
        .filter(|account| uids.contains(&account.uid) && account.name != "nobody")
        .map(|account| ImportedAccount {
            name: account.name.to_owned(),
            uid: account.uid,
            groups: memberships
                .get(account.name)
                .into_iter()
                .flatten()
                .map(|group| (*group).to_owned())
                .collect(),
        })
        .collect();
    accounts.sort_by(|a, b| (a.uid, &a.name).cmp(&(b.uid, &b.name)));
    out.text(&import::import_passwd(&accounts))?;
    Ok(exit::OK)
}

fn read_accounts(
    root: &Path,
) -> Result<(Databases, RangeInclusive<u32>), Box<dyn std::error::Error + Send + Sync>> {
    // Nothing is written: what would be done with owners does not matter.
    let root = RootDir::open(root, Ownership::Recorded)?;
    let (defs, _) = LoginDefs::read(&root)?;
    Ok((Databases::read(&root)?, defs.uids))
}

/// Ends with 1 when somebody has to decide something; the rest has landed all the same (R30).
fn import_members(args: &Members, out: &mut Output) -> Result<u8, CommandError> {
    let json = roster::read_or_fail(&args.json)?;
    let group = membership::read_group(&json).map_err(|source| CommandError::Group {
        path: args.json.clone(),
        source,
    })?;
    let text = fs::read_to_string(&args.roster).map_err(|source| CommandError::Input {
        path: args.roster.clone(),
        source,
    })?;
    let (changed, report) =
        membership::sync(&text, &group, now().date()).map_err(|source| CommandError::Edit {
            path: args.roster.clone(),
            source,
        })?;
    if !args.write {
        out.text(&changed)?;
    } else if changed != text {
        replace(&args.roster, &changed).map_err(|source| CommandError::Write {
            path: args.roster.clone(),
            source,
        })?;
    }
    output::note(&told(&report));
    Ok(if report.conflicts.is_empty() {
        exit::OK
    } else {
        exit::FAILED
    })
}

fn told(report: &Report) -> String {
    let Report {
        provisioned,
        commented,
        protected,
        conflicts,
    } = report;
    let mut lines: Vec<String> = Vec::new();
    lines.extend(provisioned.iter().map(|it| format!("new: {it}")));
    lines.extend(commented.iter().map(|it| format!("commented out: {it}")));
    lines.extend(
        protected
            .iter()
            .map(|it| format!("protected, an admin who is no member: {it}")),
    );
    lines.extend(
        conflicts
            .iter()
            .map(|it| format!("conflict: {}: {}", it.member, it.reason)),
    );
    lines.into_iter().map(|line| line + "\n").collect()
}

/// A new file in the place of the old one, with its mode: whoever reads sees the one or the other.
fn replace(path: &Path, text: &str) -> std::io::Result<()> {
    let real = fs::canonicalize(path)?;
    let dir = real.parent().unwrap_or(Path::new("/"));
    let mut file = tempfile::NamedTempFile::new_in(dir)?;
    file.write_all(text.as_bytes())?;
    file.as_file()
        .set_permissions(fs::metadata(&real)?.permissions())?;
    file.as_file().sync_all()?;
    file.persist(&real).map_err(|error| error.error)?;
    Ok(())
}
