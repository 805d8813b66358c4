//! One pull request about people and guests: a host and a real Incus, kept by one machine (H17).

use std::path::Path;
use std::process::Command;

use muster_core::executor::Executor;
use muster_tests::hub::people::Draft;
use muster_tests::site::wait_until;

use crate::stage::Stage;

const HOST: &str = "host/devvm";
const GUESTS: &str = "guests/lab";

const INES: &str = "  ines: {authentik_user: ines.prado, k8s_user: ines.prado, tier: power-user}\n";
const AMARA: &str =
    "  amara: {authentik_user: amara.okafor, k8s_user: amara.okafor, tier: admin}\n";

const TWO: &str = "guests:\n  old: {run: running}\n  web: {run: running}\n";
const SMALLER: &str =
    "guests:\n  old: {destroy: true}\n  web: {run: running, cores: 1, memory: 96MiB}\n";

/// Adds a person, resizes a guest and ends another by one pull request, and releases what waits of it by one tag.
pub(crate) fn play(stage: &mut Stage, socket: &Path) {
    for name in ["old", "web"] {
        incus(&["launch", "--quiet", "tiny", name]);
    }
    let team = format!("users:\n{INES}");
    let files = [("roster.yaml", &*team), ("guests/lab.yaml", TWO)];
    stage
        .clone
        .commit("main", &files, "The team and its guests");
    stage.clone.push("main");
    let settings = format!(
        "[[guests]]\nname = \"lab\"\nkind = \"incus\"\nurl = \"unix:{}\"\nscratch = \"scratch\"\n\
         rehearsal_timeout = \"1s\"\ntimeout = \"10s\"\ndir = \"{}\"\n",
        socket.display(),
        stage.path("lab/state").display(),
    );
    stage.add_machine("devvm", &settings, &[GUESTS]);
    stage.trust();
    speak_up(stage);
    stage.hosts_run();

    stage.bot_comes();
    stage.bot_rests();
    let files = [
        ("roster.yaml", &*format!("{team}{AMARA}")),
        ("guests/lab.yaml", SMALLER),
    ];
    stage
        .clone
        .commit("amara", &files, "Amara comes, and old makes room for her");
    stage.clone.push("amara");
    let title = "Amara comes, and old makes room for her";
    let number = stage
        .hub
        .propose(&stage.mira, title, "amara", "main", Draft::No);
    stage.reads(number, &stage.hub.head(number));
    stage.act("01-proposed", number);
    stands(stage, "nothing is done by a proposal", "old", "RUNNING");

    stage.hub.approve(&stage.jonas, number);
    let merged = stage.hub.merge(&stage.jonas, number);
    stage
        .score
        .check(&format!("not merged: {merged:?}"), merged.is_ok());
    runs(stage);
    stage.reads(number, "2 of 2");
    stage.act("02-merged", number);
    stands(stage, "nobody has signed yet", "old", "RUNNING");
    let memory = incus(&["config", "get", "web", "limits.memory"]);
    stage
        .score
        .check(&format!("web has {memory}"), memory.trim() == "96MiB");

    // One tag for what waits on both.
    let propose = format!(
        "muster release propose --all --ledger {} --reason 'pull request {number}' --sign --push",
        stage.ledgers().display()
    );
    let tag = stage.pastes(&propose);
    let statement = stage.clone.git(&["cat-file", "-p", &tag]);
    for line in [format!("on {HOST}"), format!("on {GUESTS}")] {
        stage.score.check(
            &format!("the tag does not say {line}: {statement}"),
            statement.lines().any(|it| it == line),
        );
    }
    runs(stage);
    stage.reads(number, "nothing waits");
    stage.act("03-released", number);
    let left = incus(&["list", "--format", "csv", "--columns", "ns"]);
    let is_aside = left
        .lines()
        .any(|it| it.starts_with("aside-") && it.ends_with("-old,STOPPED"));
    stage
        .score
        .check(&format!("old is not set aside: {left}"), is_aside);
    let groups = stage.hosts[0].text_on_host("etc/group");
    stage.score.check(
        &format!("amara does not administer: {groups}"),
        groups.contains("sudo:x:27:keeper,amara"),
    );

    // The same tag permits nothing a second time.
    let before = stage.changes();
    runs(stage);
    stage.bot_rests();
    stage.score.check(
        "somebody was told something more",
        stage.changes() == before,
    );
    let comments = stage.hub.bots_comments(number).len();
    stage
        .score
        .check(&format!("{comments} comments"), comments == 1);
    stage.bot_goes();
    stage.end();
}

/// Both executors tell the fleet which version they are, as a service does: what never said that gets a statement of its own.
fn speak_up(stage: &Stage) {
    let mut daemon = stage.hosts[0].daemon();
    wait_until("both executors gave a sign of life", || {
        let said = stage.ledger_refs();
        [HOST, GUESTS].iter().all(|name| {
            let executor: Executor = name.parse().expect("an executor");
            said.lines().any(|it| it == executor.alive_ref())
        })
    });
    let code = daemon.stop();
    assert_eq!(code, Some(0), "{}", daemon.log());
}

/// The machine looks once for both, and the bot hears of it.
fn runs(stage: &Stage) {
    // What waits is no failure, and what was held before may still be told.
    let _ = stage.hosts[0].once();
    for executor in [HOST, GUESTS] {
        stage.has_told(executor);
    }
}

fn stands(stage: &mut Stage, what: &str, guest: &str, state: &str) {
    let list = incus(&["list", "--format", "csv", "--columns", "ns"]);
    let stands = list.lines().any(|it| it == format!("{guest},{state}"));
    stage.score.check(&format!("{what}: {list}"), stands);
}

/// Incus' own command, as an administrator of it types it.
fn incus(arguments: &[&str]) -> String {
    let output = Command::new("incus")
        .args(arguments)
        .output()
        .expect("incus runs");
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "incus {arguments:?}: {said}");
    String::from_utf8(output.stdout).expect("text")
}
