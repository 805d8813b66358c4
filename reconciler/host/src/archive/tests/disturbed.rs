//! What happens while an archive is made: a kill, a full disk, a mount, somebody who changes the home, or races.

use super::*;

/// Writes an archive of the home, without a look at the room there is for it.
fn written(it: &Scratch, file: &File, spool: &File) -> Result<tree::Census, Error> {
    let home = Dir::open(&it.home()).unwrap().open_again().unwrap();
    write::write(
        home,
        &it.subject,
        &Names::default(),
        file,
        spool,
        &mut |_, _| {},
    )
}

#[test]
fn a_kill_at_any_point_leaves_nothing_that_the_next_try_does_not_bring_to_an_end() {
    let clean = scratch();
    clean.put("a/b", "content");
    let mut points = Vec::new();
    clean.keep_with(&mut |point| points.push(point)).unwrap();
    assert!(points.len() >= 6, "{points:?}");
    for killed in &points {
        let it = scratch();
        it.put("a/b", "content");
        let mut at = |point: &'static str| {
            if point == *killed {
                std::panic::resume_unwind(Box::new("killed"));
            }
        };
        let result =
            std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| it.keep_with(&mut at)));
        assert!(result.is_err(), "{killed}");
        let there = it.file().exists();
        assert!(
            !there || verify(&it.file(), &mut |_, _| {}).is_ok(),
            "{killed}"
        );
        let kept = it.keep().unwrap();
        assert_eq!(it.left(), ["a.tar.zst", "a.tar.zst.sha256"], "{killed}");
        assert_eq!(it.keep().unwrap(), kept);
    }
}

#[test]
fn an_archive_of_another_tree_is_not_taken_for_this_one() {
    let it = scratch();
    it.put("a", "content");
    it.keep().unwrap();
    it.put("a", "another");
    assert!(matches!(it.keep(), Err(Error::Occupied { .. })));
}

/// The home goes on living when its removal failed, and is another one when it is tried again (F14).
#[test]
fn an_archive_that_could_not_be_made_durable_is_not_in_the_way_of_the_next() {
    let it = scratch();
    it.put("a", "content");
    let broken = |dir: &Dir| {
        let errno = nix::errno::Errno::EIO;
        Err(crate::dir::failed("make durable", dir.path(), errno))
    };
    let failed = it.keep_on(broken, &mut |_| {}, &mut |_, _| {});
    assert!(failed.is_err(), "{failed:?}");
    assert_eq!(it.left(), [""; 0]);
    it.put("a", "another");
    let kept = it.keep().unwrap();
    assert_eq!(it.left(), ["a.tar.zst", "a.tar.zst.sha256"]);
    assert_eq!(it.keep().unwrap(), kept, "done is done");
}

#[test]
fn what_is_mounted_stops_the_archive() {
    if !root("mounts") {
        return;
    }
    let it = scratch();
    it.put("a", "x");
    it.put("dir/b", "x");
    let outside = it.dir.path().join("outside");
    std::fs::create_dir(&outside).unwrap();
    std::fs::write(outside.join("precious"), "x").unwrap();
    let mounted = |source: &Path, target: &Path| {
        let none: Option<&str> = None;
        nix::mount::mount(
            Some(source),
            target,
            none,
            nix::mount::MsFlags::MS_BIND,
            none,
        )
        .is_ok()
    };
    for (source, target) in [
        (outside.clone(), it.path("dir")),
        (outside.join("precious"), it.path("a")),
    ] {
        if !mounted(&source, &target) {
            println!("left out, as this root may not mount: mounts");
            return;
        }
        let error = it.keep().unwrap_err();
        assert!(
            matches!(error, Error::Tree(tree::TreeError::Mount { .. })),
            "{}",
            with_causes(&error)
        );
        let top = Dir::open(it.dir.path()).unwrap();
        let removed = tree::remove(&top, OsStr::new("home"), &mut |_| {});
        nix::mount::umount(&target).unwrap();
        assert!(removed.is_err());
        assert!(outside.join("precious").exists() && it.path("dir/b").exists());
    }
}

#[test]
fn a_full_disk_leaves_no_part_of_an_archive() {
    if !root("a file system of its own") {
        return;
    }
    let it = scratch();
    let noise: Vec<u8> = (0..3_000_000_u32)
        .flat_map(|i| i.wrapping_mul(2_654_435_761).to_le_bytes())
        .collect();
    it.put("noise", &noise);
    let store = it.dir.path().join("store");
    std::fs::create_dir(&store).unwrap();
    let tmpfs = nix::mount::mount(
        Some("tmpfs"),
        &store,
        Some("tmpfs"),
        nix::mount::MsFlags::empty(),
        Some("size=4m"),
    );
    if tmpfs.is_err() {
        println!("left out, as this root may not mount: a full disk");
        return;
    }
    let early = it.keep();
    // The same without the look at the room.
    let opened = Store::open(&store).unwrap();
    let file = opened.dir.create(".new.a").unwrap();
    let spool = opened.dir.create(".new.b").unwrap();
    let late = written(&it, &file, &spool);
    opened.dir.remove(".new.a").unwrap();
    opened.dir.remove(".new.b").unwrap();
    drop((file, spool));
    let left = it.left();
    drop(opened);
    nix::mount::umount(&store).unwrap();
    assert!(matches!(early, Err(Error::Space { .. })), "{early:?}");
    assert!(matches!(late, Err(Error::Writing(_))), "{late:?}");
    assert!(left.is_empty(), "{left:?}");
    assert_eq!(std::fs::read(it.path("noise")).unwrap().len(), noise.len());
}

#[test]
fn what_changes_after_it_was_read_is_noticed() {
    type Change = fn(&Scratch);
    let changes: [(&str, Change); 4] = [
        ("written", |it| it.put("a/file", "another length")),
        ("new", |it| it.put("a/new", "")),
        ("gone", |it| {
            std::fs::remove_file(it.path("a/file")).unwrap()
        }),
        ("swapped", |it| {
            std::fs::rename(it.path("c"), it.path("a/file")).unwrap();
        }),
    ];
    for (what, change) in changes {
        let it = scratch();
        it.put("a/file", "one");
        it.put("b/file", "one");
        it.put("c", "one");
        let mut changed = false;
        let mut progress = |_: u64, entries: u64| {
            // The home, a and what is in it: all that was read already.
            if entries == 3 && !changed {
                changed = true;
                change(&it);
            }
        };
        let error = it.keep_while(&mut |_| {}, &mut progress).unwrap_err();
        assert!(
            matches!(error, Error::Moved | Error::Tree(_)),
            "{what}: {}",
            with_causes(&error)
        );
        assert!(changed && it.left().is_empty(), "{what}: {:?}", it.left());
    }
}

/// Somebody swaps a directory and a link to the outside while the tree is archived: whatever comes of it, nothing
/// outside is read or changed.
#[test]
fn a_racer_gets_nothing_from_outside_into_an_archive() {
    let it = scratch();
    let outside = it.dir.path().join("outside");
    std::fs::create_dir(&outside).unwrap();
    std::fs::write(outside.join("inner"), "SECRET-FROM-OUTSIDE").unwrap();
    let before = portrait(&outside);
    for i in 0..50 {
        it.put(&format!("many/{i}"), "x");
    }
    it.put("flip/inner", "mine");
    symlink(&outside, it.path("link")).unwrap();
    let rounds: usize = std::env::var("MUSTER_RACER_ROUNDS")
        .ok()
        .and_then(|it| it.parse().ok())
        .unwrap_or(200);
    let stop = AtomicBool::new(false);
    let mut archived = 0;
    std::thread::scope(|threads| {
        threads.spawn(|| {
            let home = Dir::open(&it.home()).unwrap();
            while !stop.load(Ordering::Relaxed) {
                let exchange = rustix::fs::RenameFlags::EXCHANGE;
                let _ = rustix::fs::renameat_with(&home, "flip", &home, "link", exchange);
            }
        });
        for _ in 0..rounds {
            let file = File::create(it.dir.path().join("raced")).unwrap();
            let spool = tempfile::tempfile().unwrap();
            if written(&it, &file, &spool).is_ok() {
                archived += 1;
            }
            let raw = std::fs::read(it.dir.path().join("raced")).unwrap();
            // What was cut short is read as far as it goes.
            let mut text = Vec::new();
            let _ = std::io::copy(
                &mut zstd::stream::read::Decoder::new(raw.as_slice()).unwrap(),
                &mut text,
            );
            assert!(!text.windows(6).any(|it| it == b"SECRET"));
        }
        stop.store(true, Ordering::Relaxed);
    });
    println!("{archived} of {rounds} archives were whole");
    assert_eq!(portrait(&outside), before);
}
