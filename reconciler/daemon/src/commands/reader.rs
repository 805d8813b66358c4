//! `muster reader`: the process that fetches and decodes what strangers pushed, for one that acts on it.

use std::ffi::OsString;
use std::io;
use std::os::fd::AsFd as _;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::PathBuf;
use std::sync::Arc;
use std::thread;

use clap::Parser as _;
use muster_git::reader::{Desk, Reads, bind_this_process};
use nix::sys::socket::{getsockopt, sockopt::PeerCredentials};
use nix::unistd::geteuid;

use super::{CommandError, output};
use crate::exit;

#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// Where it keeps what it fetches.
    #[arg(long)]
    dir: PathBuf,
    /// Standard input is a socket to listen at, and not a connection.
    #[arg(long)]
    listen: bool,
}

/// The command line of a reader by itself.
#[derive(Debug, clap::Parser)]
struct Alone {
    #[command(flatten)]
    args: Args,
}

/// Runs a reader if `args` are one's, without making ready what the other commands take: one is started by every cycle of a
/// process that has just begun, and that was a third of what its start costs (`tests/bench/bench noop`). What is wrong with the
/// arguments is left to be told with those of all commands.
pub(super) fn run_alone(args: &[OsString]) -> Option<u8> {
    let (_, args) = args.split_first().filter(|(_, rest)| {
        let word = rest.first();
        word.is_some_and(|it| it == "reader")
    })?;
    let alone = Alone::try_parse_from(args).ok()?;
    match run(&alone.args) {
        Ok(code) => Some(code),
        Err(error) => {
            output::complain(&error, args);
            Some(error.exit_code())
        }
    }
}

pub(super) fn run(args: &Args) -> Result<u8, CommandError> {
    bind_this_process().map_err(CommandError::Runtime)?;
    let stdin = io::stdin()
        .as_fd()
        .try_clone_to_owned()
        .map_err(CommandError::Runtime)?;
    if !args.listen {
        let desk = Desk::new(&args.dir, Reads::Any);
        desk.serve(UnixStream::from(stdin))
            .map_err(CommandError::Runtime)?;
        return Ok(exit::OK);
    }
    let desk = Arc::new(Desk::new(&args.dir, Reads::Remote));
    for connection in UnixListener::from(stdin).incoming() {
        let connection = connection.map_err(CommandError::Runtime)?;
        if !may_ask(&connection) {
            continue;
        }
        let desk = desk.clone();
        // One for each that asks: a console and a daemon wait for each other only while the mirror is changed.
        thread::spawn(move || {
            if let Err(error) = desk.serve(connection) {
                eprintln!("A connection broke: {error}.");
            }
        });
    }
    Ok(exit::OK)
}

/// Root, and who this process is: the answers tell what is in a state repository that may be private.
fn may_ask(connection: &UnixStream) -> bool {
    getsockopt(connection, PeerCredentials)
        .is_ok_and(|peer| peer.uid() == 0 || peer.uid() == geteuid().as_raw())
}
