//! Archives that are encrypted.

use super::*;

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
