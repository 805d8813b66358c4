use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;

use muster_core::accounts::sudoers::{Asked, RuleEffect};

use super::*;

fn put(root: &Path, path: &str, text: &str) {
    let path = root.join(path);
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(path, text).unwrap();
}

fn found(root: &Path) -> Sudoers {
    match read(&Dir::open(root).unwrap()) {
        Reading::Known(Some(sudoers)) => sudoers,
        other => panic!("{other:?}"),
    }
}

fn users(sudoers: &Sudoers) -> Vec<&str> {
    sudoers.mentioned.users.iter().map(String::as_str).collect()
}

#[test]
fn a_root_without_sudoers_has_none() {
    let scratch = tempfile::tempdir().unwrap();
    let none = Reading::Known(None);
    assert_eq!(read(&Dir::open(scratch.path()).unwrap()), none);
    put(scratch.path(), "etc/passwd", "");
    put(scratch.path(), "etc/sudoers.d/ops", "emo ALL=ALL\n");
    assert_eq!(read(&Dir::open(scratch.path()).unwrap()), none);
}

#[test]
fn what_is_included_stands_in_its_place_and_what_sudo_leaves_out_is_left_out() {
    let scratch = tempfile::tempdir().unwrap();
    let root = scratch.path();
    put(
        root,
        "etc/sudoers",
        "a ALL=(ALL) ALL\n@includedir /etc/sudoers.d\n@includedir /etc/none.d\n#include sudoers.local\na ALL=(ALL) NOPASSWD: ALL\n",
    );
    put(root, "etc/sudoers.d/20-ops", "c ALL=(ALL) !ALL\n");
    put(
        root,
        "etc/sudoers.d/10-ops",
        "b ALL=(ALL) ALL\nc ALL=(ALL) ALL\n",
    );
    put(root, "etc/sudoers.d/README~", "x1 ALL=(ALL) ALL\n");
    put(root, "etc/sudoers.d/ops.conf", "x2 ALL=(ALL) ALL\n");
    put(root, "etc/sudoers.d/more/ops", "x3 ALL=(ALL) ALL\n");
    put(
        root,
        "etc/sudoers.local",
        "a ALL=(ALL) !ALL\nd ALL=(ALL) ALL\n",
    );
    let sudoers = found(root);
    assert_eq!(users(&sudoers), ["a", "b", "c", "d"]);
    assert_eq!(sudoers.unread.len(), 0);
    let grants = |name: &str| {
        sudoers.grants(&Asked {
            name,
            uid: 7,
            gids: &[],
            groups: &[],
        })
    };
    assert_eq!(grants("a"), Some(RuleEffect::WithoutPassword));
    assert_eq!(grants("b"), Some(RuleEffect::WithPassword));
    assert_eq!(grants("c"), None, "the later file denies it");
    assert_eq!(grants("d"), Some(RuleEffect::WithPassword));
}

#[test]
fn links_stay_inside_the_root_and_what_cannot_be_read_is_told() {
    let scratch = tempfile::tempdir().unwrap();
    let (root, outside) = (scratch.path().join("root"), scratch.path().join("outside"));
    put(scratch.path(), "outside", "evil ALL=(ALL) ALL\n");
    put(&root, "usr/share/ops", "b ALL=(ALL) ALL\n");
    put(
        &root,
        "etc/sudoers",
        "a ALL=(ALL) ALL\n@include /etc/none\n@includedir /etc/sudoers.d\n",
    );
    fs::create_dir(root.join("etc/sudoers.d")).unwrap();
    let link = |target: &str, name: &str| symlink(target, root.join("etc/sudoers.d").join(name));
    // Absolute and climbing links are resolved inside the root.
    link("/usr/share/ops", "inside").unwrap();
    link("../../../../../../outside", "climbing").unwrap();
    link(outside.to_str().unwrap(), "absolute").unwrap();
    link("loop", "loop").unwrap();
    nix::unistd::mkfifo(
        &root.join("etc/sudoers.d/fifo"),
        nix::sys::stat::Mode::from_bits_truncate(0o600),
    )
    .unwrap();
    let sudoers = found(&root);
    assert_eq!(users(&sudoers), ["a", "b"]);
    let unread: Vec<&str> = sudoers.unread.iter().map(String::as_str).collect();
    assert_eq!(unread.len(), 5, "{unread:?}");
    for name in ["/etc/none", "climbing", "absolute", "loop", "fifo"] {
        assert!(
            unread.iter().any(|it| it.contains(name)),
            "{name} in {unread:?}"
        );
    }
}

#[test]
fn neither_size_nor_depth_nor_number_is_without_bounds() {
    let scratch = tempfile::tempdir().unwrap();
    let root = scratch.path();
    put(
        root,
        "etc/sudoers",
        "a ALL=ALL\n@include /etc/sudoers\nb ALL=ALL\n",
    );
    let sudoers = found(root);
    assert_eq!(users(&sudoers), ["a", "b"]);
    assert_eq!(sudoers.unread.len(), 1);

    put(
        root,
        "etc/sudoers",
        "a ALL=ALL\n@include /etc/big\nb ALL=ALL\n",
    );
    put(root, "etc/big", &"#".repeat((1 << 20) + 1));
    let sudoers = found(root);
    assert_eq!(users(&sudoers), ["a", "b"]);
    assert_eq!(sudoers.unread.len(), 1);

    put(root, "etc/sudoers", &"#".repeat((1 << 20) + 1));
    let read = || read(&Dir::open(root).unwrap());
    assert!(matches!(read(), Reading::Unknown(why) if why.contains("larger than")));
    fs::remove_file(root.join("etc/sudoers")).unwrap();
    fs::create_dir(root.join("etc/sudoers")).unwrap();
    assert!(matches!(read(), Reading::Unknown(_)));
}
