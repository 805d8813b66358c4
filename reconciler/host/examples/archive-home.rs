//! Archives a directory and reads the archive back, as a removal does, and says how long each took:
//! `cargo run --release -p muster-host --example archive-home -- DIR STORE`.

use std::path::PathBuf;
use std::time::Instant;

fn main() {
    let mut args = std::env::args_os().skip(1).map(PathBuf::from);
    let (Some(dir), Some(store)) = (args.next(), args.next()) else {
        eprintln!("usage: archive-home DIR STORE");
        std::process::exit(64);
    };
    let begin = Instant::now();
    let file = muster_host::archive::write_directory(&dir, &store).expect("an archive");
    let wrote = begin.elapsed();
    let begin = Instant::now();
    let verified =
        muster_host::archive::verify(&file, &mut |_, _| {}).expect("an archive that is whole");
    println!(
        "written, read back and durable in {wrote:?}; read once more in {:?}; {} entries, {} bytes",
        begin.elapsed(),
        verified.entries,
        verified.bytes
    );
}
