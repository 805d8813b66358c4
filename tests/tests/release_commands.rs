//! From a trust root to a released step and back, with the commands that people type: the real program, git and OpenSSH.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use muster_tests::site::{Ran, Site, needs, program};
use serde_json::Value;

const NOBODY: &str = "users: {}\n";
/// Ann administers, which takes a signature here.
const ANN: &str = "\
users:
  ann: {authentik_user: ann.x, k8s_user: ann, tier: admin}
";
/// And so does ben.
const ANN_AND_BEN: &str = "\
users:
  ann: {authentik_user: ann.x, k8s_user: ann, tier: admin}
  ben: {authentik_user: ben.x, k8s_user: ben, tier: admin}
";

/// A workstation where nothing privileged is declared benign, and operators beside it, each with a key and a clone.
struct Place {
    site: Site,
}

impl Place {
    fn new() -> Self {
        let site = Site::bare("");
        site.change_settings(
            "declared_benign = [\"group.join\", \"admins.add\"]\n",
            "declared_benign = [\"admins.add\"]\n",
        );
        site.init();
        Self { site }
    }

    /// A person with a key and a clone of the state repository.
    fn operator(&self, name: &str) -> Operator<'_> {
        let home = self.site.path(name);
        fs::create_dir(&home).expect("a home");
        let operator = Operator {
            site: &self.site,
            home,
        };
        let key = operator.key().display().to_string();
        operator.runs(operator.command("ssh-keygen").args([
            "-q",
            "-N",
            "",
            "-C",
            &format!("{name} at home"),
            "-t",
            "ed25519",
            "-f",
            &key,
        ]));
        let origin = self.site.path("origin").display().to_string();
        operator.runs(
            operator
                .command("git")
                .args(["clone", "--quiet", &origin, "clone"]),
        );
        operator
    }

    fn json(&self, args: &[&str]) -> Value {
        let ran = self.site.muster(args).ok();
        serde_json::from_str(&ran.out).unwrap_or_else(|error| panic!("{error}: {}", ran.said()))
    }

    fn releases(&self) -> Vec<Value> {
        let listed = self.json(&["release", "list", "--format", "json"]);
        listed["releases"].as_array().expect("a list").clone()
    }

    /// The one release that stands in this state.
    #[track_caller]
    fn the(&self, state: &str) -> Value {
        let all = self.releases();
        let found: Vec<&Value> = all.iter().filter(|it| it["state"] == state).collect();
        assert_eq!(found.len(), 1, "{state}: {all:#?}");
        found[0].clone()
    }

    fn held(&self) -> Vec<String> {
        let pending = self.json(&["pending", "--format", "json"]);
        let held = pending["executors"][0]["held"].as_array().expect("steps");
        held.iter()
            .map(|it| it["id"].as_str().expect("an id").to_owned())
            .collect()
    }

    #[track_caller]
    fn is_still(&self) {
        if let Err(wrong) = self.site.is_still() {
            panic!("{wrong}");
        }
    }
}

struct Operator<'s> {
    site: &'s Site,
    home: PathBuf,
}

impl Operator<'_> {
    fn key(&self) -> PathBuf {
        self.home.join("key")
    }

    fn spec(&self, name: &str) -> String {
        format!("{name}={}.pub", self.key().display())
    }

    fn clone_dir(&self) -> String {
        self.home.join("clone").display().to_string()
    }

    fn command(&self, program: impl AsRef<Path>) -> Command {
        let mut command = Command::new(program.as_ref());
        command
            .current_dir(&self.home)
            .env_clear()
            .env("PATH", std::env::var_os("PATH").unwrap_or_default())
            .env("HOME", &self.home)
            .env("GIT_CONFIG_NOSYSTEM", "1")
            .stdin(Stdio::null());
        for who in ["AUTHOR", "COMMITTER"] {
            command
                .env(format!("GIT_{who}_NAME"), "An Operator")
                .env(format!("GIT_{who}_EMAIL"), "operator@example.org");
        }
        command
    }

    #[track_caller]
    fn runs(&self, command: &mut Command) -> String {
        Ran::from(command.output().expect("a program")).ok().out
    }

    #[track_caller]
    fn git(&self, args: &[&str]) -> String {
        let mut git = self.command("git");
        let text = self.runs(git.arg("-C").arg(self.clone_dir()).args(args));
        text.trim().to_owned()
    }

    /// `muster` as this operator types it, in the clone, with what signs.
    fn muster(&self, args: &[&str], with: &[&str]) -> Ran {
        let mut muster = self.command(program());
        muster
            .arg("--config")
            .arg(self.site.path("muster.toml"))
            .args(args)
            .args(["--yes", "--repo", &self.clone_dir(), "--key"])
            .arg(self.key())
            .args(with);
        Ran::from(muster.output().expect("muster"))
    }

    /// Proposes all that waits, signs and pushes it, and gives the name of the tag.
    #[track_caller]
    fn releases_all(&self) -> String {
        self.git(&["pull", "--quiet"]);
        let ran = self
            .muster(
                &[
                    "release", "propose", "--all", "--sign", "--reason", "a test",
                ],
                &["--push"],
            )
            .ok();
        signed_as(&ran)
    }
}

#[track_caller]
fn signed_as(ran: &Ran) -> String {
    let line = ran.err.lines().find_map(|it| it.strip_prefix("Signed as "));
    line.unwrap_or_else(|| panic!("{}", ran.said()))
        .trim_end_matches('.')
        .to_owned()
}

#[track_caller]
fn says(ran: &Ran, code: i32, words: &str) {
    assert_eq!(ran.code, Some(code), "{}", ran.said());
    assert!(ran.said().contains(words), "no {words:?}: {}", ran.said());
}

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
    let tag = emo.releases_all();
    says(
        &site.muster(&["release", "verify", &tag]),
        1,
        "quorum_pending",
    );
    let _ = site.settles();
    assert_eq!(place.the("refused")["code"], "quorum_pending");
    says(&site.muster(&["status"]), 0, "quorum_pending");
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
    let verified = site.muster(&["trust", "verify", file]).ok();
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
