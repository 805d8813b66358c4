//! The `muster` command.

use std::process::ExitCode;

/// Tens of thousands of people are hundreds of thousands of small things.
#[global_allocator]
static MEMORY: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    ExitCode::from(muster::commands::main(std::env::args_os()))
}
