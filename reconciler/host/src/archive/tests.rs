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

mod disturbed;
mod sealed;

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
