//! Real trees, with GNU tar as the second opinion. What needs root is left out, and says so, where there is none.

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::{FileExt as _, MetadataExt as _, PermissionsExt as _, symlink};
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};

use rustix::fs::{XattrFlags, lsetxattr};

use super::*;

struct Scratch {
    dir: tempfile::TempDir,
    subject: ArchivedAccount,
    seal: Option<Seal>,
}

fn scratch() -> Scratch {
    let dir = tempfile::tempdir().unwrap();
    std::fs::create_dir(dir.path().join("home")).unwrap();
    let own = nix::unistd::geteuid().as_raw();
    let subject = ArchivedAccount {
        format: 1,
        user: "emo".into(),
        uid: own,
        gid: nix::unistd::getegid().as_raw(),
        subuid: None,
        subgid: None,
        home: "/home/emo".into(),
        entry: "5".repeat(32),
        at: "2026-11-22T00:00:00Z".into(),
    };
    Scratch {
        dir,
        subject,
        seal: None,
    }
}

fn root(what: &str) -> bool {
    let root = nix::unistd::geteuid().is_root();
    if !root {
        println!("left out, as it needs root: {what}");
    }
    root
}

impl Scratch {
    fn home(&self) -> PathBuf {
        self.dir.path().join("home")
    }

    fn path(&self, name: &str) -> PathBuf {
        self.home().join(name)
    }

    fn put(&self, name: &str, content: impl AsRef<[u8]>) {
        let path = self.path(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, content).unwrap();
    }

    fn file(&self) -> PathBuf {
        self.dir.path().join("store/a.tar.zst")
    }

    fn keep_with(&self, point: Point<'_>) -> Result<StoredArchive, Error> {
        self.keep_while(point, &mut |_, _| {})
    }

    fn keep_while(&self, point: Point<'_>, progress: Progress<'_>) -> Result<StoredArchive, Error> {
        self.keep_on(Dir::sync, point, progress)
    }

    fn keep_on(
        &self,
        sync: fn(&Dir) -> Result<(), RootError>,
        point: Point<'_>,
        progress: Progress<'_>,
    ) -> Result<StoredArchive, Error> {
        let store = Store::open(&self.dir.path().join("store")).unwrap();
        let mut store = store.sealed_by(self.seal.clone());
        store.sync = sync;
        let home = Dir::open(&self.home()).unwrap().open_again().unwrap();
        let names = Names {
            users: [(self.subject.uid, "emo".to_owned())].into(),
            groups: BTreeMap::new(),
        };
        let job = Job {
            name: "a.tar.zst",
            subject: &self.subject,
            names: &names,
            room: Room::Unchecked,
        };
        store.keep(home, &job, point, progress)
    }

    fn keep(&self) -> Result<StoredArchive, Error> {
        self.keep_with(&mut |_| {})
    }

    fn left(&self) -> Vec<String> {
        let entries = std::fs::read_dir(self.dir.path().join("store")).unwrap();
        let mut names: Vec<String> = entries
            .map(|it| it.unwrap().file_name().into_string().unwrap())
            .collect();
        names.sort();
        names
    }

    fn lines(&self) -> Vec<manifest::Entry> {
        let mut lines = Vec::new();
        list(&self.file(), &mut |line| {
            if let Line::Entry(entry) = line {
                lines.push(entry.clone());
            }
        })
        .unwrap();
        lines
    }

    fn marks(&self, path: &str) -> Vec<manifest::Mark> {
        let path = format!("home/{path}");
        let lines = self.lines();
        let found = lines
            .iter()
            .find(|it| it.path == manifest::Bytes::of(path.as_bytes()));
        found
            .unwrap_or_else(|| panic!("{path} is not in the manifest"))
            .marks
            .clone()
    }
}

fn run(command: &mut Command) -> String {
    let output = command
        .env("LC_ALL", "C")
        .stdin(Stdio::null())
        .output()
        .unwrap();
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(
        output.status.success(),
        "{command:?}: {}",
        String::from_utf8_lossy(&output.stderr)
    );
    text
}

/// Everything about a tree that an archive keeps, by path.
fn portrait(top: &Path) -> BTreeMap<Vec<u8>, String> {
    let mut found = BTreeMap::new();
    let mut cursor = tree::Cursor::new(Dir::open(top).unwrap().open_again().unwrap(), b"").unwrap();
    let mut firsts: BTreeMap<u64, Vec<u8>> = BTreeMap::new();
    tree::walk(
        &mut cursor,
        tree::Files::Seen,
        |cursor, visit| -> Result<(), Error> {
            let (path, meta, more, attributes) = match visit {
                tree::Visit::Directory(meta) => (
                    cursor.path().to_vec(),
                    *meta,
                    String::new(),
                    tree::attributes_of(cursor.fd()).unwrap(),
                ),
                tree::Visit::File(name, meta, _) | tree::Visit::Entry(name, meta) => {
                    let path = top.join(OsStr::from_bytes(&cursor.path_of(name)));
                    let more = match meta.kind {
                        tree::InodeKind::Symlink => {
                            format!("{:?}", std::fs::read_link(&path).unwrap())
                        }
                        tree::InodeKind::File if meta.size < 10_000_000 => {
                            format!(
                                "{:?}",
                                muster_core::bytes::hex(&std::fs::read(&path).unwrap())
                            )
                        }
                        _ => String::new(),
                    };
                    (
                        cursor.path_of(name),
                        *meta,
                        more,
                        cursor.attributes_at(name)?,
                    )
                }
            };
            if meta.kind == tree::InodeKind::Socket {
                return Ok(());
            }
            let first = firsts
                .entry(meta.inode)
                .or_insert_with(|| path.clone())
                .clone();
            let size = if meta.kind == tree::InodeKind::File {
                meta.size
            } else {
                0
            };
            let text = format!(
                "{:?} {:o} {}:{} {size} {:?} {:?} first={first:?} {more} {attributes:?}",
                meta.kind, meta.mode, meta.uid, meta.gid, meta.modified, meta.rdev
            );
            found.insert(path, text);
            Ok(())
        },
    )
    .unwrap();
    found
}

fn odd_tree(it: &Scratch) {
    it.put("plain", "text");
    it.put("empty", "");
    it.put("dir/inner/deep.txt", vec![7; 100_000]);
    it.put("--checkpoint=1", "x");
    it.put("--checkpoint-action=exec=sh evil", "x");
    it.put("a\nb\t\u{1b}[31m", "newline");
    it.put(&"n".repeat(255), "long");
    it.put(&format!("{0}/{0}/{0}", "l".repeat(200)), "long path");
    std::fs::write(it.home().join(OsStr::from_bytes(b"caf\xe9\xff")), "latin").unwrap();
    symlink("/etc/shadow", it.path("outward")).unwrap();
    symlink("x".repeat(300), it.path("dangling")).unwrap();
    symlink(".", it.path("dir/loop")).unwrap();
    std::fs::hard_link(it.path("plain"), it.path("dir/second")).unwrap();
    std::fs::hard_link(it.path("outward"), it.path("outward-too")).unwrap();
    nix::unistd::mkfifo(
        &it.path("fifo"),
        nix::sys::stat::Mode::from_bits_truncate(0o640),
    )
    .unwrap();
    // Wider than any umask leaves it.
    std::fs::set_permissions(it.path("fifo"), std::fs::Permissions::from_mode(0o666)).unwrap();
    drop(std::os::unix::net::UnixListener::bind(it.path("socket")).unwrap());
    std::fs::set_permissions(it.path("plain"), std::fs::Permissions::from_mode(0o4755)).unwrap();
    std::fs::set_permissions(it.path("dir"), std::fs::Permissions::from_mode(0o1770)).unwrap();
    lsetxattr(
        it.path("plain"),
        "user.a=b%",
        b"\0\n binary=",
        XattrFlags::empty(),
    )
    .unwrap();
    lsetxattr(
        it.path("dir"),
        "user.note",
        b"on a directory",
        XattrFlags::empty(),
    )
    .unwrap();
    let sparse = File::create(it.path("sparse")).unwrap();
    sparse.set_len(1 << 40).unwrap();
    sparse.write_all_at(b"in the middle", 1 << 39).unwrap();
    sparse.write_all_at(b"first", 0).unwrap();
    let hollow = File::create(it.path("hollow")).unwrap();
    hollow.set_len(3_000_001).unwrap();
    let old = File::options().write(true).open(it.path("empty")).unwrap();
    old.set_modified(std::time::UNIX_EPOCH - std::time::Duration::new(100, 5))
        .unwrap();
}

fn acl(it: &Scratch) {
    run(Command::new("setfacl")
        .args(["-m", "u:12345:r-x,g:54321:rw-"])
        .arg(it.path("dir/inner/deep.txt")));
    run(Command::new("setfacl")
        .args(["-d", "-m", "u:12345:rwx"])
        .arg(it.path("dir/inner")));
}

#[test]
fn an_odd_tree_comes_back_as_it_was_by_gnu_tar_and_by_this_program() {
    let it = scratch();
    odd_tree(&it);
    acl(&it);
    let kept = it.keep().unwrap();
    assert!(
        kept.bytes < 1_000_000,
        "{} bytes for a sparse tree",
        kept.bytes
    );
    assert_eq!(std::fs::metadata(it.file()).unwrap().mode() & 0o7777, 0o600);
    assert_eq!(it.left(), ["a.tar.zst", "a.tar.zst.sha256"]);
    run(Command::new("sha256sum")
        .args(["--check", "--status", "a.tar.zst.sha256"])
        .current_dir(it.dir.path().join("store")));

    let listing = run(Command::new("tar").args(["--zstd", "-tf"]).arg(it.file()));
    let lines = it.lines();
    // Every entry but the socket, and the two files about the archive.
    assert_eq!(listing.lines().count(), lines.len() - 1 + 2, "{listing}");
    assert!(lines.iter().any(|line| line.kind == "socket"));

    let theirs = it.dir.path().join("theirs");
    std::fs::create_dir(&theirs).unwrap();
    let mut tar = Command::new("tar");
    tar.args([
        "--zstd",
        "--xattrs",
        "--xattrs-include=*",
        "--acls",
        "--numeric-owner",
        "-p",
        "-xf",
    ])
    .arg(it.file());
    run(tar.arg("-C").arg(&theirs));
    let wanted = portrait(&it.home());
    let check = |got: BTreeMap<Vec<u8>, String>| {
        for (path, wanted) in &wanted {
            assert_eq!(Some(wanted), got.get(path), "{}", tree::shown(path));
        }
        assert_eq!(wanted.len(), got.len());
    };
    check(portrait(&theirs.join("home")));

    let ours = it.dir.path().join("ours");
    std::fs::create_dir(&ours).unwrap();
    if root("taking out with the recorded owners") {
        let extracted = extract(&it.file(), &ours, Owners::Recorded).unwrap();
        assert_eq!(extracted.left_out, 0);
        check(portrait(&ours));
        assert!(matches!(
            extract(&it.file(), &ours, Owners::Mine),
            Err(Error::Extract(_))
        ));
    }
    assert!(
        std::fs::metadata(theirs.join("home/sparse"))
            .unwrap()
            .blocks()
            < 1_000
    );
}

#[test]
fn what_could_hurt_is_marked_and_not_given_back() {
    let it = scratch();
    odd_tree(&it);
    let secret = it.dir.path().join("secret");
    std::fs::write(&secret, "hash").unwrap();
    std::fs::hard_link(&secret, it.path("dir/hard")).unwrap();
    std::fs::hard_link(&secret, it.path("dir/hard-again")).unwrap();
    use manifest::Mark;
    let rooted = root("foreign owners, devices and capabilities");
    if rooted {
        nix::unistd::chown(&secret, Some(12_345.into()), Some(54_321.into())).unwrap();
        nix::sys::stat::mknod(
            &it.path("null"),
            nix::sys::stat::SFlag::S_IFCHR,
            nix::sys::stat::Mode::from_bits_truncate(0o666),
            nix::sys::stat::makedev(1, 3),
        )
        .unwrap();
        let capability = [
            1, 0, 0, 2, 0, 0x20, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0,
        ];
        lsetxattr(
            it.path("empty"),
            "security.capability",
            &capability,
            XattrFlags::empty(),
        )
        .unwrap();
    }
    it.keep().unwrap();
    assert_eq!(it.marks("plain"), [Mark::SetId, Mark::Linked]);
    if rooted {
        assert_eq!(
            it.marks("dir/hard"),
            [Mark::Foreign, Mark::ForeignGroup, Mark::Linked]
        );
        assert_eq!(it.marks("null"), [Mark::Device]);
        assert_eq!(it.marks("empty"), [Mark::Capability]);
    }
    let mut outside = Vec::new();
    list(&it.file(), &mut |line| {
        if let Line::Outside { path, links, found } = line {
            outside.push((path.shown(), *links, *found));
        }
    })
    .unwrap();
    assert_eq!(outside, [("home/dir/hard".to_owned(), 3, 2)]);

    let store = Store::open(&it.dir.path().join("store")).unwrap();
    let kept = store.kept("a.tar.zst").unwrap().unwrap();
    let back = it.dir.path().join("back");
    std::fs::create_dir(&back).unwrap();
    let into = || Dir::open(&back).unwrap().open_again().unwrap();
    let ownership = if rooted {
        Ownership::Performed
    } else {
        Ownership::Recorded
    };
    let given = store
        .give_back(
            "a.tar.zst",
            &kept.sha256,
            into(),
            &it.subject,
            ownership,
            &mut |_, _| {},
        )
        .unwrap();
    assert_eq!(
        std::fs::metadata(back.join("plain")).unwrap().mode() & 0o7777,
        0o755
    );
    assert_eq!(
        std::fs::read_link(back.join("outward")).unwrap(),
        Path::new("/etc/shadow")
    );
    if rooted {
        assert_eq!(given.left_out, 3, "{:?}", given.named);
        for name in ["null", "dir/hard", "dir/hard-again"] {
            assert!(!back.join(name).exists(), "{name}");
        }
        assert!(
            rustix::fs::lgetxattr(back.join("empty"), "security.capability", &mut [0; 64]).is_err()
        );
    }
    // Another account of that name gets nothing.
    let other = ArchivedAccount {
        entry: "6".repeat(32),
        ..it.subject.clone()
    };
    let nothing = it.dir.path().join("nothing");
    std::fs::create_dir(&nothing).unwrap();
    let into = Dir::open(&nothing).unwrap().open_again().unwrap();
    assert!(
        store
            .give_back(
                "a.tar.zst",
                &kept.sha256,
                into,
                &other,
                ownership,
                &mut |_, _| {}
            )
            .is_err()
    );

    let console = it.dir.path().join("console");
    std::fs::create_dir(&console).unwrap();
    let mine = extract(&it.file(), &console, Owners::Mine).unwrap();
    assert!(!console.join("outward").is_symlink() && console.join("dir/loop").is_symlink());
    assert!(
        mine.named.iter().any(|line| line.contains("leads out")),
        "{:?}",
        mine.named
    );
}

#[test]
fn a_damaged_archive_is_told_wherever_it_is_damaged() {
    let it = scratch();
    it.put("a/b", "content");
    it.put("c", [1; 5_000]);
    it.keep().unwrap();
    let good = std::fs::read(it.file()).unwrap();
    let bad = it.dir.path().join("bad");
    std::fs::copy(
        it.dir.path().join("store/a.tar.zst.sha256"),
        it.dir.path().join("bad.sha256"),
    )
    .unwrap();
    for at in (0..good.len()).step_by(7) {
        let mut bytes = good.clone();
        bytes[at] ^= 0x10;
        std::fs::write(&bad, bytes).unwrap();
        assert!(verify(&bad, &mut |_, _| {}).is_err(), "byte {at}");
    }
    for length in (0..good.len()).step_by(11) {
        std::fs::write(&bad, &good[..length]).unwrap();
        assert!(verify(&bad, &mut |_, _| {}).is_err(), "{length} bytes");
    }
    std::fs::write(&bad, [good.as_slice(), good.as_slice()].concat()).unwrap();
    assert!(verify(&bad, &mut |_, _| {}).is_err());
    std::fs::remove_file(it.dir.path().join("bad.sha256")).unwrap();
    // Well compressed, and untrue.
    let raw = zstd::decode_all(good.as_slice()).unwrap();
    let at = raw.windows(7).position(|it| it == b"content").unwrap();
    let mut lie = raw.clone();
    lie[at] ^= 1;
    std::fs::write(&bad, zstd::encode_all(lie.as_slice(), 1).unwrap()).unwrap();
    let error = verify(&bad, &mut |_, _| {}).unwrap_err();
    assert!(
        with_causes(&error).contains("differ from its manifest"),
        "{}",
        with_causes(&error)
    );
}

#[test]
fn a_tree_of_five_thousand_levels_is_archived_taken_out_and_removed() {
    let it = scratch();
    let mut cursor =
        tree::Cursor::new(Dir::open(&it.home()).unwrap().open_again().unwrap(), b"").unwrap();
    let name = OsStr::new("d");
    for _ in 0..5_000 {
        rustix::fs::mkdirat(cursor.fd(), name, rustix::fs::Mode::from_raw_mode(0o700)).unwrap();
        cursor.enter(name).unwrap();
    }
    drop(cursor);
    it.keep().unwrap();
    assert_eq!(it.lines().len(), 5_001);
    let listing = run(Command::new("tar").args(["--zstd", "-tf"]).arg(it.file()));
    assert_eq!(listing.lines().count(), 5_003);
    let out = it.dir.path().join("out");
    std::fs::create_dir(&out).unwrap();
    assert_eq!(
        extract(&it.file(), &out, Owners::Mine).unwrap().entries,
        5_001
    );
    let top = Dir::open(it.dir.path()).unwrap();
    for name in ["out", "home"] {
        tree::remove(&top, OsStr::new(name), &mut |_| {}).unwrap();
        assert!(top.see(name).unwrap().is_none());
    }
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
    let home = Dir::open(&it.home()).unwrap().open_again().unwrap();
    let late = write::write(
        home,
        &it.subject,
        &Names::default(),
        &file,
        &spool,
        &mut |_, _| {},
    );
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

#[test]
fn an_archive_of_many_frames_and_one_of_a_single_one_are_read_alike() {
    let it = scratch();
    let noise: Vec<u8> = (0..5_000_000_u32)
        .flat_map(|i| i.wrapping_mul(2_654_435_761).to_le_bytes())
        .collect();
    it.put("noise", &noise);
    it.put("text", "the same again and again\n".repeat(500_000));
    let kept = it.keep().unwrap();
    let many = std::fs::read(it.file()).unwrap();
    let first = zstd::zstd_safe::find_frame_compressed_size(&many).unwrap();
    assert!(first < many.len(), "one frame of {first} bytes");
    let verified = verify(&it.file(), &mut |_, _| {}).unwrap();
    assert_eq!((verified.bytes, verified.sha256), (kept.bytes, kept.sha256));
    run(Command::new("tar")
        .args(["--zstd", "--compare", "--ignore-failed-read", "-f"])
        .arg(it.file())
        .arg("-C")
        .arg(it.dir.path())
        .arg("home"));
    // As it was written before.
    let single = it.dir.path().join("single.tar.zst");
    let text = zstd::decode_all(many.as_slice()).unwrap();
    std::fs::write(&single, zstd::encode_all(text.as_slice(), 3).unwrap()).unwrap();
    let read = verify(&single, &mut |_, _| {}).unwrap();
    assert_eq!(read.fingerprint, verified.fingerprint);
    assert_eq!(read.entries, verified.entries);
}

/// The same line in another spelling is another line, however little of it is taken apart.
#[test]
fn a_line_of_the_manifest_is_compared_byte_by_byte() {
    let it = scratch();
    it.put("a", "content");
    drop(std::os::unix::net::UnixListener::bind(it.path("socket")).unwrap());
    it.keep().unwrap();
    let raw = zstd::decode_all(std::fs::read(it.file()).unwrap().as_slice()).unwrap();
    let bad = it.dir.path().join("bad");
    let swap = |from: &str, to: &str| {
        assert_eq!(from.len(), to.len());
        let mut text = raw.clone();
        let at = text
            .windows(from.len())
            .rposition(|it| it == from.as_bytes());
        let at = at.unwrap_or_else(|| panic!("{from} is not there"));
        text[at..at + from.len()].copy_from_slice(to.as_bytes());
        std::fs::write(&bad, zstd::encode_all(text.as_slice(), 1).unwrap()).unwrap();
        verify(&bad, &mut |_, _| {}).map(drop)
    };
    swap("home/a\",\"kind\"", "home/a\",\"kind\"").unwrap();
    for (from, to) in [
        ("\"home/a\",\"kind\":", "\"home/b\",\"kind\":"),
        (
            "\"kind\":\"file\",\"mode\":\"0",
            "\"kind\":\"file\",\"mode\":\"4",
        ),
        // A member that is said to be a socket, and a socket that is said to be a member.
        ("\"kind\":\"directory\"", "\"kind\":\"socket\"   "),
        ("\"kind\":\"socket\",", "\"kind\":\"socke\" ,"),
        (
            "{\"entry\":{\"path\":\"home/a\"",
            "{\"entry\":{\"path\":\"home/a\n",
        ),
    ] {
        assert!(swap(from, to).is_err(), "{from} {to}");
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
            let home = Dir::open(&it.home()).unwrap().open_again().unwrap();
            if write::write(
                home,
                &it.subject,
                &Names::default(),
                &file,
                &spool,
                &mut |_, _| {},
            )
            .is_ok()
            {
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

/// A scratch whose archives are encrypted to a new key, and where the key is.
fn sealed() -> (Scratch, PathBuf) {
    let mut it = scratch();
    it.put("notes", "a secret");
    let key = it.dir.path().join("key");
    run(Command::new("age-keygen").arg("-o").arg(&key));
    let recipient = run(Command::new("age-keygen").arg("-y").arg(&key));
    it.seal = Some(Seal {
        program: "/usr/bin/age".into(),
        recipients: vec![recipient.trim().to_owned()],
    });
    (it, key)
}

#[test]
fn an_encrypted_archive_is_opened_by_its_key_alone() {
    let (it, key) = sealed();
    let kept = it.keep().unwrap();
    assert_eq!(it.left(), ["a.tar.zst.age", "a.tar.zst.age.sha256"]);
    assert_eq!(it.keep().unwrap(), kept, "done is done");
    let shut = it.dir.path().join("store/a.tar.zst.age");
    assert_eq!(std::fs::metadata(&shut).unwrap().mode() & 0o7777, 0o600);
    let told = verify(&shut, &mut |_, _| {}).unwrap_err().to_string();
    assert!(told.contains("is encrypted"), "{told}");
    run(Command::new("age")
        .args(["--decrypt", "--identity"])
        .arg(&key)
        .arg("--output")
        .arg(it.file())
        .arg(&shut));
    let verified = verify(&it.file(), &mut |_, _| {}).unwrap();
    assert_eq!(verified.subject, it.subject);
    // Another file in its place is not taken for it.
    std::fs::remove_file(it.file()).unwrap();
    std::fs::write(&shut, "another").unwrap();
    assert!(matches!(it.keep(), Err(Error::Occupied { .. })));
}

#[test]
fn a_kill_while_an_archive_is_encrypted_leaves_nothing_readable_behind_in_the_end() {
    let mut points = Vec::new();
    sealed().0.keep_with(&mut |at| points.push(at)).unwrap();
    assert!(points.contains(&"archive: encrypted"));
    for killed in points {
        let (it, _) = sealed();
        let run = std::panic::AssertUnwindSafe(|| {
            it.keep_with(&mut |at| assert_ne!(at, killed)).map(drop)
        });
        assert!(std::panic::catch_unwind(run).is_err(), "{killed}");
        it.keep().unwrap();
        assert_eq!(
            it.left(),
            ["a.tar.zst.age", "a.tar.zst.age.sha256"],
            "{killed}"
        );
    }
}

#[test]
fn what_cannot_be_encrypted_is_not_kept() {
    let (mut it, _) = sealed();
    it.seal.as_mut().unwrap().recipients = vec!["age1nobody".into()];
    let told = it.keep().unwrap_err().to_string();
    assert!(told.contains("could not be encrypted"), "{told}");
    assert_eq!(it.left(), Vec::<String>::new());
    it.seal.as_mut().unwrap().program = "/bin/true".into();
    assert!(it.keep().is_err(), "an exit status is no evidence");
    assert_eq!(it.left(), Vec::<String>::new());
}
