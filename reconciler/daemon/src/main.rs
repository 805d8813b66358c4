//! The `muster` command.

use std::process::ExitCode;

fn main() -> ExitCode {
    ExitCode::from(muster::commands::main(std::env::args_os()))
}
