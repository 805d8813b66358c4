//! How wide standard output is, and whether it understands colours.

use std::io::{IsTerminal as _, stdout};

use muster_core::report::Paper;

/// As standard output wants it: as wide as the terminal, coloured unless `NO_COLOR` is set or the terminal is dumb. A file or
/// a pipe is plain, and as wide as `COLUMNS` says, or 80.
pub fn paper() -> Paper {
    let set = |name: &str| std::env::var_os(name).is_some_and(|it| !it.is_empty());
    let terminal = stdout().is_terminal();
    let dumb = std::env::var_os("TERM").is_some_and(|it| it == "dumb");
    let asked = || std::env::var("COLUMNS").ok()?.parse().ok();
    let seen = || {
        let size = rustix::termios::tcgetwinsize(stdout()).ok()?;
        (size.ws_col > 0).then_some(usize::from(size.ws_col))
    };
    let width = match terminal {
        true => seen().or_else(asked),
        false => asked(),
    };
    Paper {
        width: width.unwrap_or(Paper::PLAIN.width),
        colour: terminal && !dumb && !set("NO_COLOR"),
    }
}
