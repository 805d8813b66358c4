//! What the units may do, by the judgement of systemd itself, where it is there to give one.

use std::collections::BTreeSet;
use std::fs;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::process::Command;

fn unit(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("../deploy")
        .join(name)
}

/// The exposure that systemd finds, in tenths, is at most this.
fn is_exposed_no_more_than(name: &str, tenths: u32) {
    let judged = Command::new("systemd-analyze")
        .args(["security", "--offline=true", "--no-pager"])
        .arg(format!("--threshold={tenths}"))
        .arg(unit(name))
        .output();
    let judged = match judged {
        Ok(judged) => judged,
        Err(error) if error.kind() == ErrorKind::NotFound => {
            eprintln!("there is no systemd-analyze here, so nobody judges {name}");
            return;
        }
        Err(error) => panic!("systemd-analyze: {error}"),
    };
    let said = String::from_utf8_lossy(&judged.stdout).into_owned();
    let why = String::from_utf8_lossy(&judged.stderr).into_owned();
    assert!(judged.status.success(), "{name}: {said}{why}");
}

#[test]
fn neither_who_is_root_nor_who_reads_for_them_is_exposed() {
    is_exposed_no_more_than("muster.service", 22);
    is_exposed_no_more_than("muster-reader.service", 22);
}

/// What a unit sets, without comments and blank lines.
fn settings(name: &str) -> BTreeSet<String> {
    let text = fs::read_to_string(unit(name)).unwrap();
    text.lines()
        .map(str::trim)
        .filter(|line| line.contains('=') && !line.starts_with('#'))
        .map(str::to_owned)
        .collect()
}

#[test]
fn who_is_root_has_no_network_and_who_has_the_network_has_nothing_else() {
    let root = settings("muster.service");
    for wanted in [
        "PrivateNetwork=yes",
        "IPAddressDeny=any",
        "RestrictAddressFamilies=AF_UNIX",
        // One that dies of what it reads takes nobody along.
        "OOMPolicy=continue",
    ] {
        assert!(root.contains(wanted), "{wanted}: {root:#?}");
    }
    let reader = settings("muster-reader.service");
    for wanted in [
        "User=muster",
        "StandardInput=socket",
        "CapabilityBoundingSet=",
        "NoNewPrivileges=yes",
        "ProtectSystem=strict",
        "ProtectHome=yes",
        "PrivateDevices=yes",
    ] {
        assert!(reader.contains(wanted), "{wanted}: {reader:#?}");
    }
    let socket = settings("muster-reader.socket");
    assert!(socket.contains("SocketMode=0600"), "{socket:#?}");
    assert!(
        socket.contains("ListenStream=/run/muster/reader.socket"),
        "{socket:#?}"
    );
}

#[test]
fn what_an_upgrade_leaves_as_it_was_is_what_the_packaged_file_opens() {
    let opened = settings("network.conf");
    let kept = fs::read_to_string(unit("debian/preinst")).unwrap();
    for line in &opened {
        assert!(kept.lines().any(|it| it == line), "{line}");
    }
}
