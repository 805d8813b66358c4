//! Archives a directory and reads the archive back, as a removal does, and says how long it took; with a third word also
//! how long reading it once more takes: `cargo run --release -p muster-host --example archive-home -- DIR STORE [again]`.

use std::path::PathBuf;
use std::time::Instant;

fn main() {
    let mut args = std::env::args_os().skip(1).map(PathBuf::from);
    let (Some(dir), Some(store)) = (args.next(), args.next()) else {
        eprintln!("usage: archive-home DIR STORE [again]");
        std::process::exit(64);
    };
    let begin = Instant::now();
    let file = muster_host::archive::write_directory(&dir, &store).expect("an archive");
    let wrote = begin.elapsed();
    println!("written, read back and durable in {wrote:?}");
    if args.next().is_none() {
        return;
    }
    let begin = Instant::now();
    let verified =
        muster_host::archive::verify(&file, &mut |_, _| {}).expect("an archive that is whole");
    println!(
        "read once more in {:?}; {} entries, {} bytes",
        begin.elapsed(),
        verified.entries,
        verified.bytes
    );
}
