//! The log, on standard error.

use tracing_subscriber::filter::LevelFilter;

use crate::settings::Level;

/// Starts the log; `verbose` is how often more was asked for than the settings say. Under systemd the journal adds the
/// time by itself.
pub fn start(level: Level, verbose: u8) {
    let wanted = Level::ALL.iter().position(|it| *it == level).unwrap_or(2) + usize::from(verbose);
    let filter = match Level::ALL.get(wanted).unwrap_or(&Level::Trace) {
        Level::Error => LevelFilter::ERROR,
        Level::Warn => LevelFilter::WARN,
        Level::Info => LevelFilter::INFO,
        Level::Debug => LevelFilter::DEBUG,
        Level::Trace => LevelFilter::TRACE,
    };
    let log = tracing_subscriber::fmt()
        .compact()
        .with_max_level(filter)
        .with_target(false)
        .with_writer(std::io::stderr)
        .with_ansi(false);
    // A second start, as in a test, leaves the first one as it is.
    let _ = if std::env::var_os("JOURNAL_STREAM").is_some() {
        log.without_time().try_init()
    } else {
        log.try_init()
    };
}
