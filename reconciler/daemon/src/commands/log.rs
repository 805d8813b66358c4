//! The log: for people on standard error, for journald in fields of its own, or as JSON lines.

use tracing_subscriber::filter::LevelFilter;
use tracing_subscriber::layer::SubscriberExt as _;
use tracing_subscriber::util::SubscriberInitExt as _;

use super::Common;
use crate::settings::{Level, LogFormat, Settings};

/// Starts the log as settings and command line say.
pub fn start(settings: &Settings, common: &Common) {
    let format = common.log_format.or(settings.log.format);
    begin(filter(settings.log.level, common.verbose), format);
}

/// `verbose` is how often more was asked for than the settings say.
fn filter(level: Level, verbose: u8) -> LevelFilter {
    let wanted = Level::ALL.iter().position(|it| *it == level).unwrap_or(2) + usize::from(verbose);
    match Level::ALL.get(wanted).unwrap_or(&Level::Trace) {
        Level::Error => LevelFilter::ERROR,
        Level::Warn => LevelFilter::WARN,
        Level::Info => LevelFilter::INFO,
        Level::Debug => LevelFilter::DEBUG,
        Level::Trace => LevelFilter::TRACE,
    }
}

/// Without a format, a process whose standard error is the journal speaks to the journal, and any other to people.
fn begin(filter: LevelFilter, format: Option<LogFormat>) {
    let in_journal = std::env::var_os("JOURNAL_STREAM").is_some();
    let format = format.unwrap_or(if in_journal {
        LogFormat::Journald
    } else {
        LogFormat::Human
    });
    // A second start, as in a test, leaves the first one as it is.
    let _ = match format {
        LogFormat::Journald => match tracing_journald::layer() {
            Ok(journal) => {
                let journal = journal.with_syslog_identifier("muster".to_owned());
                let registry = tracing_subscriber::registry().with(filter).with(journal);
                return drop(registry.try_init());
            }
            // No socket: standard error goes to wherever somebody looks.
            Err(_) => human(filter, in_journal),
        },
        LogFormat::Human => human(filter, in_journal),
        LogFormat::Json => tracing_subscriber::fmt()
            .json()
            .flatten_event(true)
            .with_max_level(filter)
            .with_target(false)
            .with_writer(std::io::stderr)
            // It would say on standard error that standard error is full, and panic for it.
            .log_internal_errors(false)
            .try_init(),
    };
}

type Begun = Result<(), Box<dyn std::error::Error + Send + Sync>>;

/// Lines for people. Under systemd the journal adds the time by itself.
fn human(filter: LevelFilter, in_journal: bool) -> Begun {
    let log = tracing_subscriber::fmt()
        .compact()
        .with_max_level(filter)
        .with_target(false)
        .with_writer(std::io::stderr)
        .log_internal_errors(false)
        .with_ansi(false);
    if in_journal {
        log.without_time().try_init()
    } else {
        log.try_init()
    }
}
