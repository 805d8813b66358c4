//! Somebody who moves things in a home while it is archived and while it is removed, as fast as they can: whatever comes
//! of it, nothing outside is read, removed or changed.
//!
//! How much is moved is counted, and what is moved follows from a seed. `MUSTER_RACER_MOVES=100000` races for about a
//! minute, `MUSTER_RACER_SEED=7` in another order.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};

use rustix::fs::RenameFlags;

use super::*;

/// Moves that are made unless the environment says how many.
const MOVES: u64 = 10_000;
const SECRET: &[u8] = b"SECRET-FROM-OUTSIDE";

fn from_environment(name: &str, otherwise: u64) -> u64 {
    let set = std::env::var(name).ok();
    set.map_or(otherwise, |it| it.parse().expect("a number"))
}

/// A home with pairs to swap, and beside it what must not be touched, on one file system so that a directory can be
/// moved from one to the other.
struct Scratch {
    dir: tempfile::TempDir,
}

impl Scratch {
    fn new() -> Self {
        let it = Self {
            dir: tempfile::tempdir().unwrap(),
        };
        fs::create_dir_all(it.at("outside/inner")).unwrap();
        fs::write(it.at("outside/secret"), SECRET).unwrap();
        fs::write(it.at("outside/inner/secret"), SECRET).unwrap();
        fs::create_dir(it.at("shelf")).unwrap();
        it.renew(0);
        it
    }

    fn at(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    /// Puts a whole home in place of what is left of one. It is made where nobody moves anything, as this follows links.
    fn renew(&self, round: u32) {
        let home = self.at(&format!("fresh-{round}"));
        for place in ["", "deep/er/", "deep/er/and/deeper/"] {
            let dir = home.join(place);
            fs::create_dir_all(dir.join("directory/inner")).unwrap();
            fs::write(dir.join("directory/secret"), "mine").unwrap();
            fs::write(dir.join("directory/inner/secret"), "mine").unwrap();
            fs::write(dir.join("file"), "mine").unwrap();
            symlink(self.at("outside"), dir.join("link")).unwrap();
            symlink(self.at("outside/secret"), dir.join("file-link")).unwrap();
        }
        for i in 0..30 {
            fs::write(home.join(format!("deep/{i}")), "x").unwrap();
        }
        let place = self.at("shelf/home");
        if place.exists() {
            fs::rename(&place, self.at(&format!("left-{round}"))).unwrap();
        }
        fs::rename(home, place).unwrap();
    }

    /// Everything outside, by name and content.
    fn outside(&self) -> Vec<(PathBuf, Vec<u8>)> {
        let mut found = Vec::new();
        let mut todo = vec![self.at("outside")];
        while let Some(dir) = todo.pop() {
            for entry in fs::read_dir(dir).unwrap() {
                let path = entry.unwrap().path();
                if path.is_dir() {
                    todo.push(path.clone());
                }
                found.push((path.clone(), fs::read(&path).unwrap_or_default()));
            }
        }
        found.sort();
        found
    }

    /// Moves things until so many moves were made, or `stop` says that nobody looks any more.
    fn race(&self, moves: u64, mut seed: u64, stop: &AtomicBool) -> u64 {
        let home = self.at("shelf/home");
        let swap = |one: &Path, other: &Path| {
            let cwd = rustix::fs::CWD;
            rustix::fs::renameat_with(cwd, one, cwd, other, RenameFlags::EXCHANGE).is_ok()
        };
        let mut made = 0;
        while made < moves && !stop.load(Ordering::Relaxed) {
            // xorshift64: what comes next follows from the seed alone.
            seed ^= seed << 13;
            seed ^= seed >> 7;
            seed ^= seed << 17;
            let dir = match seed >> 8 & 3 {
                0 => home.clone(),
                1 => home.join("deep/er"),
                _ => home.join("deep/er/and/deeper"),
            };
            // Also those that cannot be made, as what is swapped is gone or elsewhere.
            made += 1;
            let _ = match seed & 7 {
                0..=2 => swap(&dir.join("directory"), &dir.join("link")),
                3 | 4 => swap(&dir.join("file"), &dir.join("file-link")),
                5 => swap(&dir.join("directory"), &dir.join("file-link")),
                // Out of the home, so that what is above it is another directory, and back.
                _ => {
                    let away = self.at(&format!("away-{made}"));
                    let moved = fs::rename(home.join("deep/er"), &away).is_ok();
                    moved && fs::rename(&away, home.join("deep/er")).is_ok()
                }
            };
            // In bursts: one that never rests lets nobody come far enough to be hurt.
            if seed & 0x1f00 == 0 {
                for _ in 0..seed >> 20 & 0x7f {
                    std::thread::yield_now();
                }
            }
        }
        made
    }
}

#[test]
fn a_racer_gets_nothing_from_outside_into_an_archive_nor_out_of_the_world() {
    let moves = from_environment("MUSTER_RACER_MOVES", MOVES);
    let seed = from_environment("MUSTER_RACER_SEED", 0x9e37_79b9).max(1);
    let scratch = Scratch::new();
    let before = scratch.outside();
    let (done, stop) = (AtomicBool::new(false), AtomicBool::new(false));
    let (mut archived, mut tries, mut removed, mut removals) = (0_u32, 0_u32, 0_u32, 0_u32);
    let subject = ArchivedAccount {
        format: manifest::FORMAT,
        user: "emo".to_owned(),
        uid: 0,
        gid: 0,
        subuid: None,
        subgid: None,
        home: "/home/emo".to_owned(),
        entry: "0".repeat(32),
        at: String::new(),
    };
    let made = std::thread::scope(|threads| {
        let racer = threads.spawn(|| {
            let made = scratch.race(moves, seed, &stop);
            done.store(true, Ordering::Relaxed);
            made
        });
        // Whoever stops here because of what was found does not leave the racer behind.
        let looked = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
            // Whoever is slow to look sees the end of the race, and a removal all the same.
            while !done.load(Ordering::Relaxed) || removals == 0 {
                let file = scratch.at("raced");
                let home = Dir::open(&scratch.at("shelf/home"));
                let home = home.and_then(|it| it.open_again()).unwrap();
                let spool = tempfile::tempfile().unwrap();
                let into = File::create(&file).unwrap();
                let wrote = write::write(
                    home,
                    &subject,
                    &Names::default(),
                    &into,
                    &spool,
                    &mut |_, _| {},
                );
                tries += 1;
                archived += u32::from(wrote.is_ok());
                // What was cut short is read as far as it goes.
                let mut text = Vec::new();
                let mut zstd =
                    zstd::stream::read::Decoder::new(File::open(&file).unwrap()).unwrap();
                let _ = io::copy(&mut zstd, &mut text);
                assert!(!text.windows(SECRET.len()).any(|it| it == SECRET));
                // And every few times all of it is removed, as at the end of a quarantine.
                if tries % 4 == 0 {
                    let shelf = Dir::open(&scratch.at("shelf")).unwrap();
                    let gone = tree::remove(&shelf, "home".as_ref(), &mut |_| {});
                    removals += 1;
                    removed += u32::from(gone.is_ok());
                    assert_eq!(scratch.outside(), before, "outside, after a removal");
                    scratch.renew(tries);
                }
            }
        }));
        stop.store(true, Ordering::Relaxed);
        let made = racer.join().unwrap();
        if let Err(found) = looked {
            std::panic::resume_unwind(found);
        }
        made
    });
    println!(
        "{made} moves: {archived} of {tries} archives were whole, {removed} of {removals} removals came to their end"
    );
    assert!(made >= moves && tries > 0 && removals > 0);
    assert_eq!(scratch.outside(), before);
}
