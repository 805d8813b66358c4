//! What operators type besides the straight way: other keys, other machines, several hosts, a terminal, and every way in
//! which a proposal is refused.

use std::fs;
use std::io::Write as _;
use std::path::Path;
use std::process::{Child, Stdio};

use muster_tests::operator::{ANN, ANN_AND_BEN, Operator, Place, says, signed_as};
use muster_tests::site::{Ran, needs, program, wait_until};

/// Emo may sign.
fn trusts(place: &Place, emo: &Operator<'_>) {
    let init = ["trust", "init", "--operational", &emo.spec("emo")];
    let _ = place.site.muster(&init).ok();
}

/// A place where emo may sign, and ann waits to administer.
fn waiting() -> Place {
    let place = Place::new();
    trusts(&place, &place.operator("emo"));
    place.site.commit(ANN, "ann administers");
    let _ = place.site.settles();
    place
}

/// Emo of a place that [`waiting`] made.
fn emo_of(place: &Place) -> Operator<'_> {
    let emo = place.again("emo");
    emo.git(&["pull", "--quiet"]);
    emo
}

#[test]
fn releases_that_ran_out_or_were_taken_back_are_listed_as_such() {
    needs(&["git", "ssh-keygen"]);
    let place = waiting();
    let emo = emo_of(&place);
    let propose = |with: &[&str]| {
        let args = [&["release", "propose", "--all", "--sign"], with].concat();
        signed_as(&emo.muster(&args, &["--push"]).ok())
    };
    // One that was signed long ago would not be signed now, so this one has to run out.
    let short = propose(&["--valid", "2s", "--reason", "for a moment"]);
    wait_until("it runs out", || {
        place.releases().iter().all(|it| it["state"] == "expired")
    });
    let expired = place.the("expired");
    assert_eq!(expired["tag"], short.as_str());
    assert_eq!(expired["code"], "expired");
    says(
        &place.site.muster(&["release", "list"]),
        0,
        "expired  release/",
    );
    says(
        &place.site.muster(&["release", "verify", &short]),
        1,
        "expired: ",
    );
    let _ = place.site.settles();
    assert!(!place.held().is_empty(), "an expired release was used");

    // A host has seen this one, and its tag goes before it counts.
    let later = propose(&["--not-before", "1h", "--reason", "tomorrow"]);
    let _ = place.site.settles();
    assert_eq!(place.the("refused")["code"], "not_yet_valid");
    emo.git(&["push", "--quiet", "origin", &format!(":refs/tags/{later}")]);
    let _ = place.site.settles();
    let cancelled = place.the("cancelled");
    assert_eq!(cancelled["tag"], later.as_str());
    assert_eq!(cancelled["principals"][0], "emo");
    says(
        &place.site.muster(&["release", "list"]),
        0,
        "cancelled  release/",
    );
    place.is_still();
}

/// An agent of one's own, ended with this.
struct Agent {
    child: Child,
    socket: String,
}

impl Agent {
    fn with(emo: &Operator<'_>) -> Self {
        let socket = emo.home.join("agent").display().to_string();
        let mut agent = emo.command("ssh-agent");
        agent.args(["-D", "-a", &socket]).stdout(Stdio::null());
        let child = agent.spawn().expect("ssh-agent");
        wait_until("the agent listens", || Path::new(&socket).exists());
        let it = Self { child, socket };
        let key = emo.key().display().to_string();
        let mut add = emo.command("ssh-add");
        emo.runs(add.args(["-q", &key]).env("SSH_AUTH_SOCK", &it.socket));
        // From here on nothing but the agent has it.
        fs::remove_file(emo.key()).expect("a key");
        it
    }
}

impl Drop for Agent {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[test]
fn a_key_that_only_the_agent_has_signs_however_it_is_named() {
    needs(&["git", "ssh-keygen", "ssh-agent", "ssh-add"]);
    let place = waiting();
    let emo = emo_of(&place);
    let agent = Agent::with(&emo);
    let public = format!("{}.pub", emo.key().display());
    let text = fs::read_to_string(&public).expect("a public key");
    let literal: String = text.split(' ').take(2).collect::<Vec<_>>().join(" ");
    let signs = |setting: Option<&str>, with: &[&str]| {
        match setting {
            Some(setting) => emo.git(&["config", "user.signingkey", setting]),
            None => emo.git(&["config", "--unset-all", "user.signingkey"]),
        };
        let mut muster = emo.command(program());
        muster.arg("--config").arg(place.site.path("muster.toml"));
        muster.args(["release", "propose", "--all", "--sign", "--yes"]);
        muster.args(["--repo", &emo.clone_dir()]).args(with);
        muster.env("SSH_AUTH_SOCK", &agent.socket);
        Ran::from(muster.output().expect("muster"))
    };
    for setting in [format!("key::{literal}"), literal.clone(), public.clone()] {
        let tag = signed_as(&signs(Some(&setting), &[]).ok());
        let verify = ["release", "verify", &tag, "--repo", &emo.clone_dir()];
        says(&place.site.muster(&verify), 0, "would run it now");
        emo.git(&["tag", "-d", &tag]);
    }
    let named = signed_as(&signs(Some("/nowhere/key"), &["--key", &public]).ok());
    emo.git(&["tag", "-d", &named]);
    // The only one that the agent has; and with two, one has to be named.
    let tag = signed_as(&signs(None, &["--push"]).ok());
    let other = emo.home.join("other").display().to_string();
    emo.runs(
        emo.command("ssh-keygen")
            .args(["-q", "-N", "", "-f", &other]),
    );
    let mut add = emo.command("ssh-add");
    emo.runs(add.args(["-q", &other]).env("SSH_AUTH_SOCK", &agent.socket));
    emo.git(&["config", "user.signingkey", "none"]);
    says(&signs(None, &[]), 1, "the agent has 2 keys");
    says(&place.site.once(), 0, "done");
    assert_eq!(place.the("used")["tag"], tag.as_str());
    place.is_still();
}

#[test]
fn one_statement_for_two_hosts_made_on_a_third_runs_once_on_each() {
    needs(&["git", "ssh-keygen"]);
    let (devvm, laptop) = Place::two();
    let emo = devvm.operator("emo");
    trusts(&devvm, &emo);
    let root = devvm.site.path("trust/root.toml").display().to_string();
    let digest = devvm.json(&["trust", "show", "--format", "json"])["sha256"].clone();
    let digest = digest.as_str().expect("a digest");
    let _ = laptop
        .site
        .muster(&["trust", "install", &root, "--sha256", digest])
        .ok();
    devvm.site.commit(ANN, "ann administers");
    for place in [&devvm, &laptop] {
        let _ = place.site.settles();
        assert!(!place.held().is_empty());
    }
    // A fleet's ledger repository, and a clone of it, which has no ledger in itself.
    let fleet = devvm.site.path("fleet.git").display().to_string();
    emo.runs(
        emo.command("git")
            .args(["init", "--quiet", "--bare", &fleet]),
    );
    for place in [&devvm, &laptop] {
        let ledger = place.site.path("state/ledger.git").display().to_string();
        let refs = "+refs/muster/*:refs/muster/*";
        emo.runs(
            emo.command("git")
                .args(["-C", &fleet, "fetch", "--quiet", &ledger, refs]),
        );
    }
    let cloned = emo.home.join("fleet").display().to_string();
    emo.runs(
        emo.command("git")
            .args(["clone", "--quiet", &fleet, &cloned]),
    );
    emo.git(&["pull", "--quiet"]);
    // Where no settings are: this is no host.
    let elsewhere = |args: &[&str]| {
        let mut muster = emo.command(program());
        Ran::from(
            muster
                .args(["release", "propose"])
                .args(args)
                .output()
                .expect("muster"),
        )
    };
    let url = format!("file://{fleet}");
    for ledger in [&url, &fleet, &cloned] {
        let ran = elsewhere(&["--all", "--ledger", ledger]).ok();
        let (one, other) = (
            ran.out.find("on host/devvm\ndo "),
            ran.out.find("on host/laptop\ndo "),
        );
        assert!(one.is_some() && one < other, "{ran:?}");
    }
    let one = elsewhere(&["--all", "--ledger", &url, "--host", "laptop"]).ok();
    assert!(!one.out.contains("host/devvm"), "{}", one.out);
    let (key, clone) = (emo.key().display().to_string(), emo.clone_dir());
    let signed = elsewhere(&[
        "--all", "--ledger", &url, "--sign", "--yes", "--key", &key, "--repo", &clone, "--push",
    ]);
    let tag = signed_as(&signed.ok());
    for place in [&devvm, &laptop] {
        says(
            &place.site.muster(&["release", "verify", &tag]),
            0,
            "would run it now",
        );
        let ran = place.site.once();
        says(&ran, 0, "done");
        assert!(
            place
                .site
                .text_on_host("etc/group")
                .contains("sudo:x:27:keeper,ann")
        );
        assert!(place.held().is_empty());
        assert_eq!(place.the("used")["tag"], tag.as_str());
        place.is_still();
        // Once: what it did here and somebody undid by hand is a new step, or none.
        says(
            &place.site.muster(&["release", "verify", &tag]),
            1,
            "replay",
        );
    }
    // Hosts that are not equally far take a word on which commit it is about.
    let second = devvm.site.commit(ANN_AND_BEN, "ben administers too");
    for place in [&devvm, &laptop] {
        let _ = place.site.settles();
    }
    devvm.site.commit(ANN_AND_BEN, "nothing new");
    let _ = devvm.site.settles();
    for place in [&devvm, &laptop] {
        let ledger = place.site.path("state/ledger.git").display().to_string();
        let refs = "+refs/muster/*:refs/muster/*";
        emo.runs(
            emo.command("git")
                .args(["-C", &fleet, "fetch", "--quiet", &ledger, refs]),
        );
    }
    says(
        &elsewhere(&["--all", "--ledger", &fleet]),
        1,
        "at 2 different commits",
    );
    says(
        &elsewhere(&["--all", "--ledger", &fleet, "--commit", &second]),
        0,
        &format!("commit {second}\n"),
    );
}

#[test]
fn a_trust_root_is_renewed_and_rotated_by_a_file() {
    needs(&["git", "ssh-keygen"]);
    let place = Place::new();
    let (emo, ivo, vault) = (
        place.operator("emo"),
        place.operator("ivo"),
        place.operator("vault"),
    );
    let site = &place.site;
    let init = [
        "trust",
        "init",
        "--operational",
        &emo.spec("emo"),
        "--recovery",
        &vault.spec("vault"),
        "--until",
        "2h",
    ];
    let _ = site.muster(&init).ok();
    let _ = site.settles();
    let rotates = |who: &Operator<'_>, args: &[&str]| {
        let args = [&["trust", "rotate"], args, &["--sign"]].concat();
        who.muster(&args, &["--push"])
    };
    // Renewing is what an operational key may do; a later end of it is seen in force.
    let before = place.json(&["trust", "show", "--format", "json"]);
    let _ = rotates(&emo, &["--renew", "emo=52w"]).ok();
    says(&site.once(), 0, "version 2 of the trust root is in force");
    let after = place.json(&["trust", "show", "--format", "json"]);
    assert_ne!(before["keys"], after["keys"], "{after:#}");
    says(
        &site.muster(&["trust", "rotate", "--renew", "eve=52w"]),
        64,
        "no key in version 2",
    );
    says(
        &site.muster(&["trust", "rotate", "--renew", "emo"]),
        64,
        "NAME=DATE",
    );
    says(
        &site.muster(&["trust", "rotate"]),
        64,
        "nothing would change",
    );
    says(&rotates(&emo, &["--renew", "vault=52w"]), 1, "role_denied");
    let _ = rotates(&emo, &["--renew", "emo=always"]).ok();
    says(&site.once(), 0, "version 3 of the trust root is in force");

    // A file that says what is to be, with a version that is worked out; recovery keys sign what is more than keys.
    let text = fs::read_to_string(site.path("trust/root.toml")).expect("a trust root");
    let emos = fs::read_to_string(format!("{}.pub", emo.key().display())).expect("a key");
    let ivos = fs::read_to_string(format!("{}.pub", ivo.key().display())).expect("a key");
    let body = |line: &str| line.split(' ').nth(1).expect("a key").to_owned();
    let file = site.path("next.toml");
    let next = text
        .replace(&body(&emos), &body(&ivos))
        .replace("\"emo\"", "\"ivo\"");
    assert_ne!(text, next);
    fs::write(&file, &next).expect("a file");
    let file = file.display().to_string();
    let printed = site.muster(&["trust", "rotate", &file]).ok();
    assert!(printed.out.contains("version = 4"), "{}", printed.out);
    assert!(printed.err.contains("Nothing is signed"), "{}", printed.err);
    says(
        &site.muster(&["trust", "rotate", &file, "--drop", "emo"]),
        64,
        "cannot be used with",
    );
    let first = rotates(&emo, &[&file]).ok();
    assert!(first.err.contains("not complete yet"), "{}", first.said());
    let tag = signed_as(&first);
    ivo.git(&["fetch", "--quiet", "--tags"]);
    let _ = ivo.muster(&["trust", "cosign", &tag], &["--push"]).ok();
    says(&site.once(), 0, "version 4 of the trust root is in force");
    let keys = place.json(&["trust", "show", "--format", "json"])["keys"].to_string();
    assert!(
        keys.contains("\"ivo\"") && !keys.contains("\"emo\""),
        "{keys}"
    );
    place.is_still();
}

/// Runs `muster` on a terminal where somebody types `answer`, and then closes it.
fn on_a_terminal(emo: &Operator<'_>, args: &str, answer: &str) -> Ran {
    let site = emo.config();
    let line = format!("{} --config {site} {args}", program().display());
    let mut script = emo.command("script");
    script.args(["--quiet", "--return", "--command", &line, "/dev/null"]);
    script
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    let mut child = script.spawn().expect("script");
    let mut stdin = child.stdin.take().expect("a pipe");
    stdin.write_all(answer.as_bytes()).expect("an answer");
    drop(stdin);
    Ran::from(child.wait_with_output().expect("script"))
}

#[test]
fn a_person_at_a_terminal_is_asked_and_only_yes_is_yes() {
    needs(&["git", "ssh-keygen", "script"]);
    let place = waiting();
    let emo = emo_of(&place);
    let args = format!(
        "release propose --all --sign --repo {} --key {}",
        emo.clone_dir(),
        emo.key().display()
    );
    for no in ["no\n", "y\n", "YES\n", "\n", "", "yes please\n"] {
        let ran = on_a_terminal(&emo, &args, no);
        assert!(ran.out.contains("Write yes: "), "{no:?}: {}", ran.said());
        assert!(
            ran.out.contains("nothing was signed"),
            "{no:?}: {}",
            ran.said()
        );
        assert_ne!(ran.code, Some(0), "{no:?}: {}", ran.said());
        assert_eq!(emo.git(&["tag", "--list"]), "", "{no:?}");
    }
    let ran = on_a_terminal(&emo, &args, "yes\n");
    assert!(ran.out.contains("Signed as release/"), "{}", ran.said());
    assert_eq!(ran.code, Some(0), "{}", ran.said());
    // The statement stands before the question, whole.
    let asked = ran.out.find("Write yes: ").expect("a question");
    assert!(
        ran.out.find("\nend\r\n").is_some_and(|end| end < asked),
        "{}",
        ran.out
    );
    assert!(emo.git(&["tag", "--list"]).starts_with("release/"));
    // Nobody at a terminal is nobody who says yes.
    let mut muster = emo.command(program());
    muster
        .args(["--config", &emo.config()])
        .args(args.split(' '));
    says(
        &Ran::from(muster.output().expect("muster")),
        1,
        "nobody is at a terminal",
    );
}

#[test]
fn without_a_trust_root_a_release_is_inert() {
    needs(&["git", "ssh-keygen"]);
    let place = waiting();
    let emo = emo_of(&place);
    let tag = emo.releases_all();
    fs::remove_file(place.site.path("trust/root.toml")).expect("a trust root");
    let verified = place.site.muster(&["release", "verify", &tag]);
    says(&verified, 1, "inert: ");
    assert!(
        verified.out.contains("ok       it is an annotated tag"),
        "{}",
        verified.out
    );
    says(
        &place.site.muster(&["release", "list"]),
        0,
        "no trust root is in force",
    );
    let _ = place.site.once();
    assert!(
        !place.held().is_empty(),
        "a release counted that nobody vouches for"
    );
}

#[test]
fn a_proposal_that_cannot_work_says_why() {
    needs(&["git", "ssh-keygen"]);
    let place = Place::new();
    let site = &place.site;
    let propose = |args: &[&str]| site.muster(&[&["release", "propose"], args].concat());
    let ledger = site.path("state/ledger.git").display().to_string();
    // How it is asked for.
    says(&propose(&[]), 64, "--all");
    says(&propose(&["--all", "--yes"]), 64, "--sign as well");
    says(&propose(&["--all", "--push"]), 64, "--sign as well");
    says(&propose(&["abcd", "--all"]), 64, "cannot be used with");
    for valid in ["73h", "0s", "never", "-1h"] {
        says(
            &propose(&["--all", &format!("--valid={valid}")]),
            64,
            "valid",
        );
    }
    says(
        &propose(&["--all", "--not-before", "soon"]),
        64,
        "not-before",
    );
    says(&propose(&["--all", "--commit", "main"]), 64, "--commit");
    // Where it is looked for.
    says(
        &propose(&["--all", "--ledger", "/nowhere"]),
        66,
        "there is no ledger in",
    );
    let empty = site.path("origin").display().to_string();
    says(
        &propose(&["--all", "--ledger", &empty]),
        1,
        "there is no ledger in",
    );
    let url = format!("file://{}", site.path("nowhere").display());
    says(
        &propose(&["--all", "--ledger", &url]),
        1,
        "git did not do it",
    );
    let url = format!("file://{empty}");
    says(
        &propose(&["--all", "--ledger", &url]),
        1,
        &format!("there is no ledger in {url}"),
    );
    // What is there.
    says(&propose(&["--all"]), 66, "the first cycle makes it");
    let _ = site.once().ok();
    says(&propose(&["--all"]), 1, "nothing waits");
    site.commit(ANN_AND_BEN, "two admins");
    let _ = site.settles();
    says(&propose(&["--all"]), 1, "no trust root is in force");
    let (emo, ivo) = (place.operator("emo"), place.operator("ivo"));
    trusts(&place, &emo);
    let _ = site.settles();
    for step in ["", "a", "abc", "abcg", "*", "user.cut"] {
        says(&propose(&[step]), 64, "is no step");
    }
    says(&propose(&["ffffffff"]), 1, "no step ffffffff waits");
    says(&propose(&["--all", "--host", "laptop"]), 1, "nothing waits");
    says(
        &propose(&["--all", "--reason", "ну"]),
        1,
        "cannot be signed",
    );
    says(
        &propose(&["--all", "--reason", "two\nlines"]),
        1,
        "cannot be signed",
    );
    let held = place.held();
    assert!(held.len() >= 2, "{held:?}");
    for host in ["devvm", "host/devvm"] {
        let ran = propose(&["--all", "--host", host, "--ledger", &ledger]).ok();
        assert_eq!(ran.out.matches("\ndo ").count(), held.len(), "{}", ran.out);
    }
    // With what it is signed.
    let sign = ["release", "propose", "--all", "--sign"];
    site.commit(ANN_AND_BEN, "a commit that nobody has yet");
    let _ = site.settles();
    says(&emo.muster(&sign, &[]), 1, "fetch it, or name a clone");
    emo.git(&["pull", "--quiet"]);
    ivo.git(&["pull", "--quiet"]);
    says(&ivo.muster(&sign, &[]), 1, "unknown_signer");
    assert_eq!(ivo.git(&["tag", "--list"]), "");
    let ran = emo.muster(&sign, &["--push", "nowhere"]);
    says(&ran, 1, "is signed and not pushed");
    fs::remove_file(emo.key()).expect("a key");
    fs::remove_file(format!("{}.pub", emo.key().display())).expect("a key");
    says(&emo.muster(&sign, &[]), 1, "ssh-keygen");
    // A step that no signature makes run.
    fs::remove_file(site.on_host("bin/zsh")).expect("a shell");
    let cid = "  cid: {authentik_user: cid.x, k8s_user: cid, tier: power-user}\n";
    site.commit(&format!("{ANN_AND_BEN}{cid}"), "cid comes");
    let _ = site.once();
    let pending = place.json(&["pending", "--format", "json"]);
    let held = pending["executors"][0]["held"].as_array().expect("steps");
    let blocked = held.iter().find(|it| it["reason"] == "precondition");
    let blocked = blocked.unwrap_or_else(|| panic!("{pending:#}"))["id"].clone();
    says(
        &propose(&[blocked.as_str().expect("an id")]),
        1,
        "does not wait for a signature, and none would make it run",
    );
}

#[test]
fn hosts_of_different_repositories_are_not_put_into_one_statement() {
    needs(&["git", "ssh-keygen"]);
    let (devvm, laptop) = Place::two();
    let (emo, ivo) = (devvm.operator("emo"), laptop.operator("ivo"));
    trusts(&devvm, &emo);
    trusts(&laptop, &ivo);
    let fleet = devvm.site.path("fleet.git").display().to_string();
    emo.runs(
        emo.command("git")
            .args(["init", "--quiet", "--bare", &fleet]),
    );
    let propose = |with: &[&str]| {
        for place in [&devvm, &laptop] {
            let ledger = place.site.path("state/ledger.git").display().to_string();
            let refs = "+refs/muster/*:refs/muster/*";
            emo.runs(
                emo.command("git")
                    .args(["-C", &fleet, "fetch", "--quiet", &ledger, refs]),
            );
        }
        let args = ["release", "propose", "--all", "--ledger", &fleet];
        let mut muster = emo.command(program());
        Ran::from(muster.args(args).args(with).output().expect("muster"))
    };
    devvm.site.commit(ANN, "ann administers");
    let _ = devvm.site.settles();
    let _ = laptop.site.settles();
    says(
        &propose(&[]),
        1,
        "follow 2 different repositories; choose with --host",
    );
    says(&propose(&["--host", "laptop"]), 0, "on host/laptop\ndo ");
}

#[test]
fn what_the_limit_holds_is_proposed_as_a_whole() {
    needs(&["git", "ssh-keygen"]);
    let place = Place::new();
    let site = &place.site;
    let emo = place.operator("emo");
    trusts(&place, &emo);
    site.change_settings("share = 99", "share = 25");
    let row = |name: &str| {
        format!("  {name}: {{authentik_user: {name}.x, k8s_user: {name}, tier: power-user}}\n")
    };
    let roster = |names: &[&str]| {
        let rows: String = names.iter().map(|it| row(it)).collect();
        format!("users:\n{rows}")
    };
    site.commit(&roster(&["ada", "bea", "cid", "dan"]), "four people");
    let _ = site.settles();
    site.commit(&roster(&["dan"]), "three leave");
    let _ = site.settles();
    let pending = place.json(&["pending", "--format", "json"]);
    let held = pending["executors"][0]["held"]
        .as_array()
        .expect("steps")
        .clone();
    let of = |reason: &str, verb: &str| -> Vec<String> {
        let it = held
            .iter()
            .filter(|it| it["reason"] == reason && it["verb"] == verb);
        it.map(|it| it["id"].as_str().expect("an id").to_owned())
            .collect()
    };
    let cuts = of("limit", "user.cut");
    assert_eq!(cuts.len(), 3, "{pending:#}");
    says(
        &site.muster(&["release", "propose", &cuts[0]]),
        1,
        "released together or not at all, so name these as well:",
    );
    // What follows a step that waits takes both names.
    let follows = of("needs", "user.archive_delete");
    says(
        &site.muster(&["release", "propose", &follows[0]]),
        1,
        "which waits as well; name both",
    );
    says(
        &site.muster(&["explain", &cuts[0]]),
        0,
        "a release for exactly the removals of the plan",
    );
    emo.git(&["pull", "--quiet"]);
    let limit: Vec<&str> = held
        .iter()
        .filter(|it| it["reason"] == "limit")
        .map(|it| it["id"].as_str().expect("an id"))
        .collect();
    let args = [&["release", "propose", "--sign"], &limit[..]].concat();
    let _ = emo.muster(&args, &["--push"]).ok();
    says(&site.once(), 0, "done");
    let _ = site.settles();
    let status = site.muster(&["status"]).said();
    assert_eq!(place.the("used")["failed"], 0, "{status}");
    for user in ["ada", "bea", "cid"] {
        let shell = site.text_on_host("etc/passwd");
        let line = shell.lines().find(|it| it.starts_with(&format!("{user}:")));
        assert!(
            line.is_some_and(|it| it.ends_with("nologin")),
            "{user}: {line:?}\n{status}"
        );
    }
    place.is_still();
}

#[test]
fn restore_says_what_brings_somebody_back() {
    needs(&["git", "ssh-keygen"]);
    let place = Place::new();
    let site = &place.site;
    let emo = place.operator("emo");
    trusts(&place, &emo);
    site.commit(muster_tests::site::ANN_AND_BOB, "ann and bob");
    let _ = site.settles();
    site.live_in("bob");
    says(&site.muster(&["restore", "eve"]), 1, "nobody called eve");
    says(&site.muster(&["restore", "bob"]), 0, "is here");
    site.commit(muster_tests::site::ANN, "bob leaves");
    let _ = site.settles();
    says(
        &site.muster(&["restore", "bob"]),
        1,
        "Nothing brings bob back",
    );
    let _ = emo.releases_all();
    let _ = site.once().ok();
    assert_eq!(site.uid("bob"), None);
    // Which archive there is, is seen by the cycle after it.
    let _ = site.settles();
    let said = site.muster(&["restore", "bob"]);
    says(
        &said,
        1,
        "  bob: {authentik_user: bob.x, k8s_user: bob, tier: ",
    );
    site.commit(muster_tests::site::ANN_AND_BOB, "bob is back");
    let planned = site.muster(&["restore", "bob"]);
    says(&planned, 0, "planned  ");
    assert!(planned.out.contains("user.restore bob"), "{}", planned.out);
    assert!(planned.out.contains("home.restore bob"), "{}", planned.out);
    says(&planned, 0, "`muster run --once` runs them");
    assert_eq!(site.uid("bob"), None, "only a cycle does it");
    // A daemon that is at work is told.
    let mut daemon = site.daemon();
    wait_until("bob is back", || {
        let said = site.muster(&["restore", "bob"]).said();
        site.uid("bob").is_some() && said.contains("is here")
    });
    assert_eq!(daemon.stop(), Some(0), "{}", daemon.log());
    assert_eq!(
        fs::read_to_string(site.on_host("home/bob/work/thesis")).expect("a thesis"),
        "all of it\n"
    );
    place.is_still();
}
