//! Setting things aside and putting them back.

use super::*;
use nix::sys::stat::futimens;
use nix::sys::time::TimeSpec;
use rustix::fs::XattrFlags;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _, symlink};

struct Place {
    _scratch: tempfile::TempDir,
    home: PathBuf,
    dir: Dir,
    saved: Saved,
    shelf: Shelf,
    uid: u32,
}

fn place() -> Place {
    let scratch = tempfile::tempdir().unwrap();
    let home = scratch.path().join("home");
    std::fs::create_dir(&home).unwrap();
    let saved = Saved::open(&scratch.path().join("saved")).unwrap();
    let shelf = saved.shelf(1004, 1).unwrap();
    let uid = nix::unistd::geteuid().as_raw();
    Place {
        dir: Dir::open(&home).unwrap(),
        home,
        saved,
        shelf,
        uid,
        _scratch: scratch,
    }
}

impl Place {
    fn aside(&self) -> Result<(), SaveError> {
        self.shelf.set_aside(
            "keys-file",
            &self.dir,
            "file",
            self.uid,
            Ownership::Performed,
        )
    }

    fn back(&self) -> Result<PutBack, SaveError> {
        self.shelf
            .put_back("keys-file", &self.dir, "file", Ownership::Performed)
    }

    fn file(&self) -> PathBuf {
        self.home.join("file")
    }

    fn saves(&self) -> Vec<String> {
        self.shelf
            .dir
            .names()
            .unwrap()
            .into_iter()
            .map(|it| it.into_string().unwrap())
            .collect()
    }
}

#[test]
fn a_file_comes_back_as_it_was() {
    let it = place();
    let content: Vec<u8> = (0..3_000_000_u32).map(|n| (n % 251) as u8).collect();
    std::fs::write(it.file(), &content).unwrap();
    std::fs::set_permissions(it.file(), std::fs::Permissions::from_mode(0o640)).unwrap();
    let file = File::open(it.file()).unwrap();
    futimens(
        &file,
        &TimeSpec::new(1_000, 7),
        &TimeSpec::new(2_000, 123_456_789),
    )
    .unwrap();
    let kept = rustix::fs::fsetxattr(&file, "user.note", b"kept\0", XattrFlags::empty()).is_ok();
    it.aside().unwrap();
    assert!(!it.file().exists());
    assert_eq!(it.back().unwrap(), PutBack::Done);
    assert_eq!(std::fs::read(it.file()).unwrap(), content);
    let meta = std::fs::metadata(it.file()).unwrap();
    assert_eq!(
        (meta.mode() & 0o7777, meta.mtime(), meta.mtime_nsec()),
        (0o640, 2_000, 123_456_789)
    );
    if kept {
        assert_eq!(
            attributes(&File::open(it.file()).unwrap())["user.note"],
            hex(b"kept\0")
        );
    }
    assert_eq!(it.saves(), Vec::<String>::new());
    assert_eq!(it.back().unwrap(), PutBack::NothingSaved);
}

#[test]
fn a_link_comes_back_as_a_link_and_is_never_followed() {
    let it = place();
    std::fs::write(it.home.join("secret"), "text").unwrap();
    symlink("secret", it.file()).unwrap();
    it.aside().unwrap();
    assert_eq!(std::fs::read(it.home.join("secret")).unwrap(), b"text");
    it.back().unwrap();
    assert_eq!(std::fs::read_link(it.file()).unwrap(), Path::new("secret"));
}

#[test]
fn the_first_save_is_the_one_that_comes_back() {
    let it = place();
    for content in ["first", "second", "second", "third"] {
        std::fs::write(it.file(), content).unwrap();
        it.aside().unwrap();
    }
    assert_eq!(it.saves(), ["keys-file", "keys-file.1", "keys-file.2"]);
    it.back().unwrap();
    assert_eq!(std::fs::read(it.file()).unwrap(), b"first");
    assert_eq!(it.saves(), ["keys-file.1", "keys-file.2"]);
}

#[test]
fn what_one_cut_left_is_never_taken_for_what_another_saved() {
    let it = place();
    std::fs::write(it.file(), "old").unwrap();
    it.aside().unwrap();
    // A way back that was interrupted before it dropped the save; then another cut.
    std::fs::write(it.file(), "new").unwrap();
    let second = it.saved.shelf(1004, 2).unwrap();
    second
        .set_aside("keys-file", &it.dir, "file", it.uid, Ownership::Performed)
        .unwrap();
    let holding = it.saved.holding(1004, 2, "keys-file").unwrap().unwrap();
    holding
        .put_back("keys-file", &it.dir, "file", Ownership::Performed)
        .unwrap();
    assert_eq!(std::fs::read(it.file()).unwrap(), b"new");
    let earlier = it.saved.holding(1004, 2, "keys-file").unwrap().unwrap();
    assert_eq!(earlier.dir.path(), it.shelf.dir.path());
    assert!(it.saved.holding(1004, 2, "other").unwrap().is_none());
}

#[test]
fn a_restore_that_was_interrupted_at_its_end_is_brought_to_it() {
    let it = place();
    std::fs::write(it.file(), "keys").unwrap();
    it.aside().unwrap();
    std::fs::write(it.file(), "keys").unwrap();
    assert_eq!(it.back().unwrap(), PutBack::Done);
    assert_eq!(it.saves(), Vec::<String>::new());
}

#[test]
fn what_stands_in_the_way_is_left_alone() {
    let it = place();
    std::fs::write(it.file(), "mine").unwrap();
    it.aside().unwrap();
    symlink("/etc/passwd", it.file()).unwrap();
    assert!(matches!(it.back(), Err(SaveError::Occupied { .. })));
    assert_eq!(
        std::fs::read_link(it.file()).unwrap(),
        Path::new("/etc/passwd")
    );
    std::fs::remove_file(it.file()).unwrap();
    assert_eq!(it.back().unwrap(), PutBack::Done);
}

#[test]
fn directories_and_fifos_are_refused() {
    let it = place();
    std::fs::create_dir(it.file()).unwrap();
    assert!(matches!(it.aside(), Err(SaveError::Odd { .. })));
    std::fs::remove_dir(it.file()).unwrap();
    nix::unistd::mkfifo(&it.file(), nix::sys::stat::Mode::S_IRUSR).unwrap();
    assert!(matches!(it.aside(), Err(SaveError::Odd { .. })));
    assert!(it.file().symlink_metadata().is_ok());
}

#[test]
fn a_hard_link_to_somebody_elses_file_is_refused() {
    let it = place();
    if it.uid != 0 {
        return;
    }
    std::fs::write(it.home.join("shadow"), "secret").unwrap();
    std::fs::hard_link(it.home.join("shadow"), it.file()).unwrap();
    let refused = it
        .shelf
        .set_aside("keys-file", &it.dir, "file", 4_711, Ownership::Performed);
    assert!(matches!(refused, Err(SaveError::Odd { .. })), "{refused:?}");
    assert!(it.file().exists());
}

#[test]
fn a_damaged_save_restores_nothing() {
    let it = place();
    std::fs::write(it.file(), "content").unwrap();
    it.aside().unwrap();
    let save = it.shelf.dir.path_of("keys-file");
    let mut bytes = std::fs::read(&save).unwrap();
    let middle = bytes.len() - 70;
    bytes[middle] ^= 1;
    std::fs::write(&save, bytes).unwrap();
    assert!(matches!(it.back(), Err(SaveError::Damaged { .. })));
    assert_eq!(it.dir.names().unwrap(), Vec::<std::ffi::OsString>::new());
}

#[test]
fn saves_are_for_root_alone() {
    let it = place();
    std::fs::write(it.file(), "content").unwrap();
    it.aside().unwrap();
    assert_eq!(it.shelf.dir.itself().unwrap().mode, 0o700);
    assert_eq!(it.shelf.dir.see("keys-file").unwrap().unwrap().mode, 0o600);
}

#[test]
fn a_text_is_written_once() {
    let it = place();
    it.shelf.keep_text("login", "first").unwrap();
    it.shelf.keep_text("login", "second").unwrap();
    assert_eq!(it.shelf.text("login").unwrap().as_deref(), Some("first"));
    it.shelf.drop_save("login").unwrap();
    assert_eq!(it.shelf.text("login").unwrap(), None);
}
