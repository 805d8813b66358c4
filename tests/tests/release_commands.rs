//! From a trust root to a released step and back, with the commands that people type: the real program, git and OpenSSH.

use std::fs;

use muster_tests::operator::{ANN, ANN_AND_BEN, NOBODY, Place, says, signed_as};
use muster_tests::site::{Ran, Site, needs, program};

#[test]
fn a_release_is_proposed_signed_pushed_used_once_and_told() {
    needs(&["git", "ssh-keygen"]);
    let place = Place::new();
    let site = &place.site;
    let emo = place.operator("emo");
    says(&site.muster(&["trust", "show"]), 1, "muster trust init");
    let _ = site
        .muster(&["trust", "init", "--operational", &emo.spec("emo")])
        .ok();
    says(
        &site.muster(&["trust", "init", "--operational", &emo.spec("emo")]),
        1,
        "already",
    );
    let shown = place.json(&["trust", "show", "--format", "json"]);
    assert_eq!(shown["version"], 1);
    assert_eq!(shown["keys"][0]["principal"], "emo");
    assert_eq!(shown["keys"][0]["comment"], "emo at home");
    says(
        &site.muster(&["trust", "verify"]),
        0,
        shown["sha256"].as_str().unwrap(),
    );
    says(
        &site.muster(&["trust", "export"]),
        0,
        "emo namespaces=\"git\" ssh-ed25519 ",
    );

    site.commit(ANN, "ann administers");
    let _ = site.settles();
    let held = place.held();
    assert!(!held.is_empty(), "nothing waits");
    says(&site.muster(&["release", "propose"]), 64, "--all");
    says(
        &site.muster(&["release", "propose", "ffffffffff"]),
        1,
        "no step",
    );
    // What is proposed is a statement, and nothing else, on standard output.
    let proposed = site
        .muster(&["release", "propose", &held[0][..12], "--valid", "2h"])
        .ok();
    assert!(
        proposed.out.starts_with("muster-release/1\nrepo "),
        "{}",
        proposed.out
    );
    assert!(proposed.out.ends_with("\nend\n"), "{}", proposed.out);
    says(
        &site.muster(&["release", "propose", "--all", "--valid", "73h"]),
        64,
        "72h",
    );

    let tag = emo.releases_all();
    let open = place.the("open");
    assert_eq!(open["tag"], tag.as_str());
    assert_eq!(open["principals"][0], "emo");
    says(
        &site.muster(&["release", "verify", &tag]),
        0,
        "would run it now",
    );
    says(&site.once(), 0, "done");
    assert!(place.held().is_empty());
    assert!(
        site.text_on_host("etc/group")
            .contains("sudo:x:27:keeper,ann")
    );
    place.is_still();
    let used = place.the("used");
    assert_eq!(used["done"], used["steps"]);
    let replay = site.muster(&["release", "verify", &tag]);
    says(&replay, 1, "replay");
    assert!(
        replay
            .out
            .contains("ok       the signature is over these bytes"),
        "{}",
        replay.out
    );
    says(&site.muster(&["history"]), 0, "signed by emo");
    assert_eq!(site.status()["trust"]["version"], 1);

    // Elsewhere, with the ledger alone and a key that no host of this machine trusts.
    site.commit(ANN_AND_BEN, "ben administers too");
    let _ = site.settles();
    let mut elsewhere = emo.command(program());
    elsewhere.args([
        "--config",
        "/nowhere/muster.toml",
        "release",
        "propose",
        "--all",
        "--ledger",
    ]);
    elsewhere.arg(site.path("state/ledger.git"));
    says(
        &Ran::from(elsewhere.output().expect("muster")),
        0,
        "on host/devvm\ndo ",
    );
    place.is_still();
}

#[test]
fn a_statement_is_signed_by_two_and_a_stranger_cannot() {
    needs(&["git", "ssh-keygen"]);
    let place = Place::new();
    let site = &place.site;
    let (emo, ivo, eve) = (
        place.operator("emo"),
        place.operator("ivo"),
        place.operator("eve"),
    );
    let _ = site
        .muster(&[
            "trust",
            "init",
            "--operational",
            &emo.spec("emo"),
            &ivo.spec("ivo"),
        ])
        .ok();
    site.commit(ANN, "ann administers");
    let _ = site.settles();
    eve.git(&["pull", "--quiet"]);
    says(
        &eve.muster(&["release", "propose", "--all", "--sign"], &[]),
        1,
        "unknown_signer",
    );
    assert_eq!(
        eve.git(&["tag", "--list"]),
        "",
        "a tag that no host takes was kept"
    );

    // Whoever makes an admin takes two people, when there are two.
    emo.git(&["pull", "--quiet"]);
    let signed = emo
        .muster(&["release", "propose", "--all", "--sign"], &["--push"])
        .ok();
    let tag = signed_as(&signed);
    assert!(
        signed
            .err
            .contains(&format!("muster release cosign {tag} --push")),
        "{}",
        signed.said()
    );
    says(
        &site.muster(&["release", "verify", &tag]),
        1,
        "quorum_pending",
    );
    let _ = site.settles();
    assert_eq!(place.the("waiting")["code"], "quorum_pending");
    let status = site.muster(&["status"]).ok().out;
    let flowing = status.split_whitespace().collect::<Vec<_>>().join(" ");
    assert!(
        flowing.contains(&format!("release {tag} waits: 1 of 2 people signed (emo)")),
        "{status}"
    );
    ivo.git(&["fetch", "--quiet", "--tags"]);
    let cosigned = ivo.muster(&["release", "cosign", &tag], &["--push"]).ok();
    assert!(
        cosigned.out.starts_with("muster-release/1\n"),
        "{}",
        cosigned.out
    );
    let other = signed_as(&cosigned);
    assert_ne!(other, tag);
    for tag in [&tag, &other] {
        says(
            &site.muster(&["release", "verify", tag]),
            0,
            "would run it now",
        );
    }
    says(&site.once(), 0, "done");
    place.is_still();
    let used = place.the("used");
    assert_eq!(
        used["principals"].as_array().map(Vec::len),
        Some(2),
        "{used:#}"
    );
    let told = site.git(&["notes", "--ref=muster/host/devvm/refusal", "show", "main"]);
    assert!(!told.contains("quorum_pending"), "{told}");
}

/// The digest of a trust root that lies in a file, as `muster trust verify` says it.
fn digest_of(site: &Site, file: &str) -> String {
    // Also of one that this host does not take, which is what the exit code is about.
    let verified = site.muster(&["trust", "verify", file]);
    let digest = verified
        .out
        .lines()
        .find_map(|it| it.strip_prefix("sha256 "));
    digest.expect("a digest").to_owned()
}

#[test]
fn a_dropped_key_voids_what_it_signed_and_was_not_used() {
    needs(&["git", "ssh-keygen"]);
    let place = Place::new();
    let site = &place.site;
    let (emo, ivo) = (place.operator("emo"), place.operator("ivo"));
    let _ = site
        .muster(&["trust", "init", "--operational", &emo.spec("emo")])
        .ok();
    site.commit(ANN, "ann administers");
    let _ = site.settles();
    let later = emo.muster(
        &[
            "release",
            "propose",
            "--all",
            "--sign",
            "--not-before",
            "1h",
        ],
        &["--push"],
    );
    let _ = emo.git(&["pull", "--quiet"]);
    assert_eq!(
        later.code,
        Some(1),
        "a commit that is not there was signed: {}",
        later.said()
    );
    let tag = signed_as(
        &emo.muster(
            &[
                "release",
                "propose",
                "--all",
                "--sign",
                "--not-before",
                "1h",
            ],
            &["--push"],
        )
        .ok(),
    );
    says(
        &site.muster(&["release", "verify", &tag]),
        1,
        "not_yet_valid",
    );

    let show = site.muster(&["trust", "rotate", "--drop", "emo"]);
    says(&show, 0, "Nothing is signed");
    let rotated = emo
        .muster(
            &[
                "trust",
                "rotate",
                "--add",
                &ivo.spec("ivo"),
                "--drop",
                "emo",
                "--sign",
            ],
            &["--push"],
        )
        .ok();
    assert!(rotated.out.contains("version = 2"), "{}", rotated.out);
    assert!(
        rotated
            .err
            .contains("of 1 person of version 1 and of 1 person of version 2"),
        "{}",
        rotated.said()
    );
    assert!(
        rotated.err.contains("not complete yet"),
        "{}",
        rotated.said()
    );
    let root = signed_as(&rotated);
    ivo.git(&["fetch", "--quiet", "--tags"]);
    let _ = ivo.muster(&["trust", "cosign", &root], &["--push"]).ok();
    says(&site.once(), 0, "version 2 of the trust root is in force");
    place.is_still();
    assert_eq!(
        place.json(&["trust", "show", "--format", "json"])["version"],
        2
    );
    says(&site.muster(&["release", "verify", &tag]), 1, "revoked");
    assert_eq!(place.the("refused")["code"], "revoked");
    assert_eq!(site.status()["refused_tags"], 1);

    // When nobody can sign any more, root at the console decides, by a digest that came another way.
    let file = site.path("other.toml");
    let text = fs::read_to_string(site.path("trust/root.toml")).expect("a trust root");
    fs::write(&file, text.replace("version = 2", "version = 7")).expect("a file");
    let older = site.path("older.toml");
    fs::write(&older, text).expect("a file");
    let (file, older) = (file.display().to_string(), older.display().to_string());
    says(
        &site.muster(&["trust", "install", &file, "--sha256", &"0".repeat(64)]),
        1,
        "nothing was changed",
    );
    let digest = digest_of(site, &file);
    let _ = site
        .muster(&["trust", "install", &file, "--sha256", &digest])
        .ok();
    assert_eq!(site.status()["trust"]["version"], 7);
    // An old root that turns up again stays out, whoever types it: the version is a high-water mark.
    let digest = digest_of(site, &older);
    says(
        &site.muster(&["trust", "install", &older, "--sha256", &digest]),
        1,
        "a version is never taken back",
    );
    assert_eq!(site.status()["trust"]["version"], 7);
    let _ = site.settles();
    let tag = ivo.releases_all();
    says(
        &site.muster(&["release", "verify", &tag]),
        0,
        "would run it now",
    );
    let _ = site.settles();
    assert!(place.held().is_empty());
}

#[test]
fn a_tag_that_was_tampered_with_is_refused_with_its_code() {
    needs(&["git", "ssh-keygen"]);
    let place = Place::new();
    let site = &place.site;
    let emo = place.operator("emo");
    let _ = site
        .muster(&["trust", "init", "--operational", &emo.spec("emo")])
        .ok();
    site.commit(ANN, "ann administers");
    let _ = site.settles();
    let tag = emo.releases_all();
    let raw = site.git(&["cat-file", "tag", &tag]);
    let name = format!("refs/tags/{tag}");
    let renamed = format!("refs/tags/{}deadbeef", &tag[..tag.len() - 8]);

    // The same object under another name.
    site.git(&["update-ref", &renamed, &name]);
    site.git(&["update-ref", "-d", &name]);
    let said = site.muster(&[
        "release",
        "verify",
        renamed.trim_start_matches("refs/tags/"),
    ]);
    says(&said, 1, "name_mismatch: ref, name and contents agree");
    site.git(&["update-ref", "-d", &renamed]);

    // One more byte behind the signature.
    fs::write(site.path("raw"), format!("{raw}\nx\n")).expect("a file");
    let file = site.path("raw").display().to_string();
    let longer = site.git(&["hash-object", "-t", "tag", "-w", "--literally", &file]);
    site.git(&["update-ref", &name, &longer]);
    says(&site.muster(&["release", "verify", &tag]), 1, "malformed: ");
    // More of them than anybody reads: that is about the tag, and not about the repository.
    fs::write(
        site.path("raw"),
        format!("{raw}\n{}\n", "x".repeat(2 << 20)),
    )
    .expect("a file");
    let longest = site.git(&["hash-object", "-t", "tag", "-w", "--literally", &file]);
    site.git(&["update-ref", &name, &longest]);
    says(
        &site.muster(&["release", "verify", &tag]),
        1,
        "the tag has more than 1064960 bytes",
    );
    // Not a tag at all.
    site.git(&["update-ref", &name, "main"]);
    says(
        &site.muster(&["release", "verify", &tag]),
        1,
        "not_annotated: ",
    );
    let _ = site.settles();
    assert!(!place.held().is_empty(), "something ran");
    says(
        &site.muster(&["release", "verify", "release/nobody"]),
        1,
        "there is no refs/tags/release/nobody",
    );

    // The tag is gone: what was never claimed never was.
    site.git(&["update-ref", "-d", &name]);
    site.commit(NOBODY, "ann has gone");
    let _ = site.once().ok();
    place.is_still();
}
