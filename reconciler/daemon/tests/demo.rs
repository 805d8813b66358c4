//! `muster demo`: the real program plays the whole story with the real git, and leaves nothing behind.

use std::fs;
use std::io::{BufRead as _, BufReader, Read as _};
use std::path::Path;
use std::process::{Command, Stdio};

use muster::exit;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

const HEADINGS: [&str; 11] = [
    "1. A host joins",
    "2. A branch adds somebody, and is answered with the plan",
    "3. The merge is applied",
    "4. A mistake is refused, with its place",
    "5. Root waits for a signature",
    "6. Somebody leaves: cut at once, deleted only by a release",
    "7. And comes back, with everything as it was",
    "8. An owner answers for a service, and a password comes along",
    "9. Guests of a hypervisor follow the same repository",
    "10. A rewritten branch freezes the host, and a person unfreezes it",
    "11. A second cycle changes nothing",
];

fn demo(tmp: &Path) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_muster"));
    command
        .arg("demo")
        .env("TMPDIR", tmp)
        .env("HOME", "/nonexistent")
        .stdin(Stdio::null());
    command
}

fn is_empty(dir: &Path) -> bool {
    fs::read_dir(dir).unwrap().next().is_none()
}

#[test]
fn it_plays_every_act_and_leaves_nothing() {
    let tmp = tempfile::tempdir().unwrap();
    let output = demo(tmp.path()).output().unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    let complaints = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(0), "{text}\n{complaints}");
    assert_eq!(complaints, "");
    let seen: Vec<&str> = text
        .lines()
        .filter(|line| HEADINGS.contains(line))
        .collect();
    assert_eq!(seen, HEADINGS);
    let wide: Vec<&str> = text
        .lines()
        .filter(|line| line.chars().count() > 100 && line.trim().contains(' '))
        .collect();
    assert!(wide.is_empty(), "{wide:#?}");
    for shown in [
        "root/etc/passwd: noor:x:1008:1008::/home/noor:/bin/bash",
        "roster.yaml:28:82: error: user 'noor': unknown tier 'power-usr'",
        "group.join sanne gid=27 group=sudo",
        "root/etc/group: sudo:x:27:birk,sanne",
        "user.archive_delete teo home=/home/teo uid=1007",
        "tide-tables: quarantine_secret_or_raw_payload",
        "start guest harbour-web",
    ] {
        assert!(text.contains(shown), "{shown} is missing in\n{text}");
    }
    let lines = text.lines().count();
    assert!(
        lines < 150,
        "{lines} lines are more than anybody reads\n{text}"
    );
    // Words of one team's services are no use to a reader who has none of them.
    for foreign in ["ttyd", "t3-", "dispatch"] {
        assert!(!text.contains(foreign), "{foreign} is in\n{text}");
    }
    assert!(is_empty(tmp.path()));
}

#[test]
fn what_is_kept_can_be_played_with() {
    let tmp = tempfile::tempdir().unwrap();
    let dir = tmp.path().join("kept");
    let run = || {
        demo(tmp.path())
            .arg("--keep")
            .arg("--dir")
            .arg(&dir)
            .output()
            .unwrap()
    };
    let output = run();
    assert_eq!(output.status.code(), Some(0));
    let text = String::from_utf8(output.stdout).unwrap();
    assert!(text.contains("--config muster.toml status"), "{text}");
    let status = Command::new(env!("CARGO_BIN_EXE_muster"))
        .args(["--config", "muster.toml", "status"])
        .current_dir(&dir)
        .output()
        .unwrap();
    let status = String::from_utf8(status.stdout).unwrap();
    assert!(status.contains("8 active, 1 parked"), "{status}");

    let again = run();
    assert_eq!(again.status.code(), Some(i32::from(exit::FAILED)));
    assert!(String::from_utf8_lossy(&again.stderr).contains("exists already"));
    assert!(dir.join("muster.toml").exists());
}

#[test]
fn an_interruption_leaves_nothing_either() {
    let tmp = tempfile::tempdir().unwrap();
    let mut child = demo(tmp.path())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let mut stdout = BufReader::new(child.stdout.take().unwrap());
    let mut line = String::new();
    stdout.read_line(&mut line).unwrap();
    assert!(!is_empty(tmp.path()));
    kill(Pid::from_raw(child.id().cast_signed()), Signal::SIGINT).unwrap();
    stdout.read_to_string(&mut line).unwrap();
    assert!(
        !line.contains(HEADINGS[9]),
        "it went on to the end:\n{line}"
    );
    assert_eq!(
        child.wait().unwrap().code(),
        Some(i32::from(exit::INTERRUPTED))
    );
    assert!(is_empty(tmp.path()));
}
