#![no_main]

#[path = "../../../reconciler/core/tests/release/forge.rs"]
#[allow(dead_code)]
mod forge;

use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};

use libfuzzer_sys::fuzz_target;
use muster_core::release::statement::{Statement, tag_name};
use muster_core::release::{ObjectKind, authenticate};

// The input is what is signed; `NAME` stands for the name that follows from it. Its last byte says how it is signed.
fuzz_target!(|input: &[u8]| {
    let Some((choice, payload)) = input.split_last() else {
        return;
    };
    let Ok(payload) = str::from_utf8(payload) else {
        return;
    };
    let message = payload.split_once("\n\n").map_or("", |(_, message)| message);
    let not_before =
        Statement::parse(message.as_bytes()).map_or(forge::NOW, |statement| statement.not_before);
    let how = forge::How {
        namespace: if choice & 1 == 0 { b"git" } else { b"file" },
        hash: if choice & 2 == 0 { b"sha512" } else { b"sha256" },
        flags: choice >> 3,
        ..forge::How::default()
    };
    let signer = if choice & 4 == 0 {
        forge::ed25519(1)
    } else {
        forge::sk_ed25519(1)
    };
    let name = tag_name(message.as_bytes(), not_before, &signer.blob);
    let raw = how.sign(&signer, payload.replacen("NAME", &name, 1).as_bytes());
    let mut root = forge::root();
    root.keys[0].key = signer.text().parse().unwrap();
    let ref_name = format!("refs/tags/{name}");
    let Ok(signed) = authenticate(&ref_name, ObjectKind::Tag, &raw, Some(&root), forge::NOW) else {
        return;
    };
    assert_eq!(signed.statement.render(), message);
    let at = raw.windows(10).position(|it| it == b"-----BEGIN").unwrap();
    let scratch = tempfile::tempdir().unwrap();
    assert!(
        openssh_takes(scratch.path(), &root.allowed_signers(), &raw, at),
        "ssh-keygen refuses what muster takes"
    );
});

fn openssh_takes(dir: &Path, allowed: &str, raw: &[u8], signature_at: usize) -> bool {
    fs::write(dir.join("allowed"), allowed).unwrap();
    fs::write(dir.join("payload"), &raw[..signature_at]).unwrap();
    fs::write(dir.join("signature"), &raw[signature_at..]).unwrap();
    Command::new("ssh-keygen")
        .args(["-q", "-Y", "verify", "-n", "git", "-I", "emo", "-f", "allowed", "-s", "signature"])
        .current_dir(dir)
        .stdin(fs::File::open(dir.join("payload")).unwrap())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status()
        .unwrap()
        .success()
}
