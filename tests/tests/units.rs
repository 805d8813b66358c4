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

/// H1: who keeps guests has no power over this machine, and speaks to the network alone.
#[test]
fn who_keeps_guests_is_exposed_no_more_than_a_bot() {
    is_exposed_no_more_than("muster-guests@.service", 15);
    is_exposed_no_more_than("muster-bot.service", 15);
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
fn who_keeps_guests_is_nobody_here_and_is_given_its_credentials() {
    let guests = settings("muster-guests@.service");
    for wanted in [
        "User=muster-guests",
        "ExecStart=/usr/bin/muster run --config /etc/muster/guests.toml --executor guests/%i",
        "LoadCredential=muster-guests-%i-token",
        "LoadCredential=muster-guests-%i-certificate",
        "LoadCredential=muster-guests-%i-create",
        "LoadCredential=muster-guests-%i-release",
        // Where an executor keeps its own, and the mark beside it.
        "StateDirectory=muster-guests/%i muster-mark/guests",
        "CapabilityBoundingSet=",
        "NoNewPrivileges=yes",
        "ProtectSystem=strict",
        "ProtectHome=yes",
        "PrivateDevices=yes",
    ] {
        assert!(guests.contains(wanted), "{wanted}: {guests:#?}");
    }
    let made = |file: &str| fs::read_to_string(unit(file)).unwrap();
    assert!(made("muster.sysusers").contains("\nu muster-guests - "));
    let tmpfiles = made("muster.tmpfile");
    // Whoever is not root must get through to the marks of their kind.
    assert!(tmpfiles.contains("d /var/lib/muster-mark  0711 root root"));
    for dir in ["/var/lib/muster-mark/guests", "/var/lib/muster-guests"] {
        let line = format!("d {dir} 0700 muster-guests muster-guests -");
        assert!(tmpfiles.lines().any(|it| it == line), "{line}");
    }
}

#[test]
fn what_an_upgrade_leaves_as_it_was_is_what_the_packaged_file_opens() {
    let opened = settings("network.conf");
    let kept = fs::read_to_string(unit("debian/preinst")).unwrap();
    for line in &opened {
        assert!(kept.lines().any(|it| it == line), "{line}");
    }
}
