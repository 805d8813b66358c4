//! The command line: one file for each command, and what they share.

mod adopt;
mod archive;
mod check;
mod clock;
mod decide;
mod derive;
mod doctor;
mod error;
mod explain;
mod fleet;
mod here;
mod history;
mod import;
mod init;
mod ledgers;
mod log;
mod notes;
mod output;
mod pending;
mod plan;
mod reader;
mod reconcile;
mod release;
mod restore;
mod roster;
pub mod run;
mod schema;
mod services;
mod signing;
mod status;
mod suspend;
mod trust;
mod validate;

use std::ffi::{OsStr, OsString};
use std::path::PathBuf;

use clap::error::{ContextKind, ContextValue, ErrorKind};
use clap::{CommandFactory as _, Parser, Subcommand};
use muster_core::diagnostic::visible;
use muster_core::time::Time;

pub use error::CommandError;
pub use log::start as start_log;
pub use output::Output;
pub use plan::InventoryError;

use crate::demo;
use crate::exit;
use crate::settings::{self, Ambient, LogFormat, Settings};

/// Keeps people and machines as a git repository says they should be.
#[derive(Debug, Parser)]
#[command(
    name = "muster",
    version,
    disable_help_subcommand = true,
    arg_required_else_help = false
)]
struct Cli {
    #[command(flatten)]
    common: Common,
    #[command(subcommand)]
    command: Command,
}

/// What every command takes.
#[derive(Debug, clap::Args)]
pub struct Common {
    /// The settings; `PATH.d/*.toml` is read as well.
    #[arg(long, global = true, value_name = "PATH", default_value = settings::DEFAULT_PATH)]
    pub config: PathBuf,
    /// Tell more in the log; twice for everything.
    #[arg(long, short, global = true, action = clap::ArgAction::Count)]
    pub verbose: u8,
    /// How the log is written, in place of what the settings say.
    #[arg(long, global = true, value_enum, value_name = "FORMAT")]
    pub log_format: Option<LogFormat>,
}

impl Common {
    /// Reads the settings.
    ///
    /// # Errors
    /// With everything that is wrong in them.
    pub fn settings(&self) -> Result<Settings, CommandError> {
        settings::load(&self.config, &Ambient::ask()).map_err(CommandError::Settings)
    }
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Says what is wrong in a state repository, with file, line and column.
    Check(check::Args),
    /// Writes the JSON Schema of a kind of file, for editors.
    Schema(schema::Args),
    /// Compares the roster's tiers with those of the cluster.
    #[command(infer_long_args = true)]
    Validate(validate::Args),
    /// Writes what a host must have for a roster, as JSON.
    #[command(infer_long_args = true)]
    Derive(derive::Args),
    /// Writes rows of a roster, or of a hypervisor's guests, from what exists elsewhere.
    Import(import::Args),
    /// Makes this host an executor: a random id, the pinned name, and the first commit to adopt.
    Init(init::Args),
    /// Keeps this host as the state repository says; with `--once`, for one cycle.
    Run(run::Args),
    /// Shows what a cycle would do now, or what merging a branch would do, and does nothing.
    Plan(plan::Args),
    /// Has the running daemon look now.
    Reconcile(reconcile::Args),
    /// Says how this executor stands.
    Status(status::Args),
    /// Looks at everything that a set-up needs, and says how what is wrong is put right.
    Doctor(doctor::Args),
    /// Lists what waits, and for what.
    Pending(pending::Args),
    /// Tells what was done, when, and by what right.
    History(history::Args),
    /// Tells all about one step: why it is of its class, why it waits or when it was done, how it is undone.
    Explain(explain::Args),
    /// Has this host look, plan and tell, and do nothing, for a while or until it is resumed.
    Suspend(suspend::SuspendArgs),
    /// Ends a suspension.
    Resume(suspend::ResumeArgs),
    /// Says, at the console, that this machine's clock is right.
    Clock(clock::Args),
    /// Decides, at the console, which commit counts from here on.
    Adopt(adopt::Args),
    /// Proposes, signs, verifies and lists releases of what waits.
    Release(release::Args),
    /// Looks at and changes who may sign releases on this host.
    Trust(trust::Args),
    /// Brings somebody back who was archived, or says what stands against it.
    Restore(restore::Args),
    /// Lists, verifies or takes out archives of homes.
    Archive(archive::Args),
    /// Tells what the owners of host services are asked, what they answered, and how far that is; it permits nothing.
    Services(services::Args),
    /// Plays the story of a team and a host in a scratch directory; needs git, and nothing of this machine is changed.
    Demo(demo::Args),
    /// Writes notes into an origin as its owner; muster starts this itself.
    #[command(hide = true)]
    NotesAsOwner,
    /// Pretends to be a hypervisor with a few guests; the demo starts this itself.
    #[command(hide = true)]
    PretendIncus(demo::hypervisor::Args),
    /// Reads git for a muster that asks; muster and systemd start this.
    #[command(hide = true)]
    Reader(reader::Args),
}

/// A complaint without the commands that muster starts itself, which clap lists and suggests like the others (F34).
fn only_offered(mut complaint: clap::Error) -> clap::Error {
    let cli = Cli::command();
    let hidden = |name: &String| {
        let named = cli.find_subcommand(name);
        named.is_some_and(clap::Command::is_hide_set)
    };
    for kind in [
        ContextKind::ValidSubcommand,
        ContextKind::SuggestedSubcommand,
    ] {
        if let Some(ContextValue::Strings(all)) = complaint.get(kind) {
            let offered = all.iter().filter(|it| !hidden(it)).cloned().collect();
            complaint.insert(kind, ContextValue::Strings(offered));
        }
    }
    complaint
}

/// Runs the command line `args`, and gives the exit code.
pub fn main(args: impl Iterator<Item = OsString>) -> u8 {
    let args: Vec<OsString> = args.collect();
    if let Some(code) = reader::run_alone(&args) {
        return code;
    }
    // The one cryptography of this process, whatever is linked to it.
    let _ = rustls::crypto::ring::default_provider().install_default();
    crate::reader::this_process_is_muster();
    let args = services::as_before(args);
    let Cli { common, command } = match Cli::try_parse_from(&args) {
        Ok(cli) => cli,
        Err(error) => {
            // What is complained about is shown so that it cannot act on a terminal, or look like a line of ours.
            let shown = args
                .iter()
                .map(|it| OsString::from(visible(&it.to_string_lossy())));
            let complaint = Cli::try_parse_from(shown).err();
            // Neither help nor a complaint has anybody to tell when this fails.
            let kind = error.kind();
            let _ = only_offered(complaint.unwrap_or(error)).print();
            return match kind {
                ErrorKind::DisplayHelp | ErrorKind::DisplayVersion => exit::OK,
                _ => usage_code(&args),
            };
        }
    };
    let mut out = Output::stdout();
    let is_plan = matches!(command, Command::Plan(_));
    let result = match command {
        Command::Check(args) => check::run(&args, &mut out),
        Command::Schema(args) => schema::run(&args, &mut out),
        Command::Validate(args) => validate::run(&args, &mut out),
        Command::Derive(args) => derive::run(&args, &mut out),
        Command::Import(args) => import::run(&args, &common, &mut out),
        Command::Init(args) => init::run(&args, &common, &mut out),
        Command::Run(args) => run::run(&args, &common),
        Command::Plan(args) => plan::run(&args, &common, &mut out),
        Command::Archive(args) => archive::run(&args, &common, &mut out),
        Command::Services(args) => services::run(&args, &mut out),
        Command::Demo(args) => demo::run(&args, &mut out),
        Command::NotesAsOwner => notes::run(),
        Command::PretendIncus(args) => demo::hypervisor::run(&args, &mut out),
        Command::Reader(args) => reader::run(&args),
        Command::Reconcile(args) => reconcile::run(&args, &common, &mut out),
        Command::Status(args) => status::run(&args, &common, &mut out),
        Command::Doctor(args) => doctor::run(&args, &common, &mut out),
        Command::Pending(args) => pending::run(&args, &common, &mut out),
        Command::History(args) => history::run(&args, &common, &mut out),
        Command::Explain(args) => explain::run(&args, &common, &mut out),
        Command::Suspend(args) => suspend::suspend(&args, &common, &mut out),
        Command::Resume(args) => suspend::resume(&args, &common, &mut out),
        Command::Clock(args) => clock::run(&args, &common, &mut out),
        Command::Release(args) => release::run(&args, &common, &mut out),
        Command::Restore(args) => restore::run(&args, &common, &mut out),
        Command::Trust(args) => trust::run(&args, &common, &mut out),
        Command::Adopt(args) => adopt::run(&args, &common, &mut out),
    };
    match result.and_then(|code| out.finish().map(|()| code)) {
        Ok(code) => code,
        // Whoever read our output has seen enough of it: no reason to complain.
        Err(CommandError::Output(error)) if error.kind() == std::io::ErrorKind::BrokenPipe => {
            exit::OK
        }
        Err(error) => {
            output::complain(&error, &args);
            match error {
                CommandError::Usage(_) => exit::USAGE,
                // Whoever asks whether there is something to do gets one of three answers.
                _ if is_plan => exit::FAILED,
                _ => error.exit_code(),
            }
        }
    }
}

/// `validate`, `derive` and `services report` keep the numbers of the programs they replace.
fn usage_code(args: &[OsString]) -> u8 {
    let mut takes_a_value = false;
    let mut words = args
        .iter()
        .skip(1)
        .map(|arg| OsStr::to_str(arg).unwrap_or_default())
        .filter(|arg| {
            let is_value = std::mem::replace(
                &mut takes_a_value,
                ["--config", "--log-format"].contains(arg),
            );
            !is_value && !arg.starts_with('-')
        });
    match (words.next(), words.next()) {
        (Some("validate" | "derive"), _) | (Some("services"), Some("report")) => exit::USAGE_COMPAT,
        _ => exit::USAGE,
    }
}

/// The moment, by this host's clock.
pub fn now() -> Time {
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    Time(since.map_or(0, |it| i64::try_from(it.as_secs()).unwrap_or(i64::MAX)))
}

/// A reason is for those who read the record: something, and in one line.
fn check_reason(reason: &str) -> Result<(), CommandError> {
    if reason.trim().is_empty() || reason.len() > 1_000 || reason.chars().any(char::is_control) {
        return Err(CommandError::Usage(
            "--reason takes one line of at most 1000 bytes, and not an empty one".into(),
        ));
    }
    Ok(())
}

/// Who sits at the console, for the record: the login that began the session, even behind `sudo`.
fn who() -> String {
    let uid = std::fs::read_to_string("/proc/self/loginuid")
        .ok()
        .and_then(|text| text.trim().parse::<u32>().ok())
        // All bits set: nobody logged in, such as in a unit or a container.
        .filter(|uid| *uid != u32::MAX)
        .unwrap_or_else(|| nix::unistd::getuid().as_raw());
    nix::unistd::User::from_uid(uid.into())
        .ok()
        .flatten()
        .map_or_else(|| format!("uid {uid}"), |user| user.name)
}
