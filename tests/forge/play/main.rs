//! The play that `tests/forge/story` sets up: from a pull request to what is done, with the real program in every part but the forge's.
//!
//!     story STAND_IN VALIDATOR DOOR WORK           three ports, and a directory with the app's private key
//!     story STAND_IN VALIDATOR DOOR WORK SOCKET    the play of a host and the Incus that listens there

mod golden;
mod stage;
mod together;

use std::path::Path;
use std::process::ExitCode;

use muster_tests::hub::REPOSITORY;
use muster_tests::hub::people::{Draft, NotMerged};
use serde_json::json;

use stage::Stage;

/// Two people who use, and nobody who administers.
const BEGINNING: &str = "\
users:
  teo: {authentik_user: teo.lindqvist, k8s_user: teo.lindqvist, tier: power-user}
  ines: {authentik_user: ines.prado, k8s_user: ines.prado, tier: power-user}
";

/// The beginning, and a line.
fn with(line: &str) -> String {
    format!("{BEGINNING}{line}\n")
}

const AMARA: &str =
    "  amara: {authentik_user: amara.okafor, k8s_user: amara.okafor, tier: power-user}";
const AMARA_ADMINISTERS: &str =
    "  amara: {authentik_user: amara.okafor, k8s_user: amara.okafor, tier: admin}";
const AMARA_SUPERUSER: &str =
    "  amara: {authentik_user: amara.okafor, k8s_user: amara.okafor, tier: superuser}";

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [stand_in, validator, door, work, socket @ ..] = &arguments[..] else {
        panic!("story STAND_IN VALIDATOR DOOR WORK [SOCKET]");
    };
    let ports = [stand_in, validator, door].map(|it| it.parse::<u16>().expect("a port"));
    let goldens = match socket {
        [] => "tests/forge/golden",
        _ => "tests/forge/golden-together",
    };
    let mut stage = Stage::new(ports, Path::new(work), goldens);
    let acts = || match socket {
        [] => play(&mut stage),
        [socket, ..] => together::play(&mut stage, Path::new(socket)),
    };
    let played = std::panic::catch_unwind(std::panic::AssertUnwindSafe(acts));
    if played.is_err() {
        stage.score.check("the play was broken off", false);
        println!("{}", stage.bots_log());
    }
    let score = &stage.score;
    println!("{} passed, {} failed", score.passed, score.failed);
    // Not by exit(), which would leave behind what the stage has running.
    ExitCode::from(u8::from(score.failed > 0))
}

fn play(stage: &mut Stage) {
    let roster = |text: &str| text.to_owned();
    stage
        .clone
        .commit("main", &[("roster.yaml", BEGINNING)], "The team");
    stage.clone.push("main");
    stage.add_host("devvm");
    stage.add_host("laptop");
    stage.trust();
    stage.hosts_run();
    stage.hosts_run();

    // ── a proposal, from its first line to the last host ─────────────────────────────────────────────────────────────
    stage.bot_comes();
    stage.bot_rests();
    let edit = |stage: &Stage, text: &str, message: &str| {
        stage
            .clone
            .commit("amara", &[("roster.yaml", &roster(text))], message);
        stage.clone.push("amara");
    };
    edit(stage, &with(AMARA), "Amara comes");
    let number = stage
        .hub
        .propose(&stage.mira, "Amara comes", "amara", "main", Draft::No);
    stage.reads(number, &stage.hub.head(number));
    stage.act("01-opened", number);

    edit(stage, &with(AMARA_ADMINISTERS), "She administers");
    stage.reads(number, &stage.hub.head(number));
    stage.act("02-pushed", number);

    edit(stage, &with(AMARA_SUPERUSER), "She does more");
    stage.reads(number, &stage.hub.head(number));
    stage.act("03-a-bad-edit", number);
    let refused = stage.hub.merge(&stage.jonas, number);
    stage.score.check(
        &format!("a bad edit is merged: {refused:?}"),
        matches!(refused, Err(NotMerged::Check(_))),
    );

    edit(stage, &with(AMARA_ADMINISTERS), "She does not");
    stage.reads(number, &stage.hub.head(number));
    stage.act("04-mended", number);
    let refused = stage.hub.merge(&stage.jonas, number);
    stage.score.check(
        &format!("merged without an approval: {refused:?}"),
        refused == Err(NotMerged::Approval),
    );

    let before = stage.changes();
    stage.hub.approve(&stage.jonas, number);
    stage.act("05-approved", number);
    stage
        .score
        .check("an approval changes something", stage.changes() == before);

    // A merge queue makes a commit of its own, and merges it once the status stands there.
    let queued = stage.hub.queue(number);
    stage
        .hub
        .wait_for("a status on the merge queue's commit", |hub| {
            let status = hub.status(&queued)?;
            (status["state"] == "success").then_some(())
        });
    stage.hub.leave_queue(number);

    // Killed in the middle of nothing, and of something.
    stage.bot_is_killed();
    let merged = stage.hub.merge(&stage.jonas, number);
    stage
        .score
        .check(&format!("not merged: {merged:?}"), merged.is_ok());
    stage.bot_comes();
    stage.reads(number, "0 of 2 hosts");
    stage.act("06-merged", number);

    stage.host_runs(0);
    stage.reads(number, "1 of 2 hosts");
    stage.act("07-one-host-applied", number);
    stage.host_runs(1);
    stage.reads(number, "2 of 2 hosts");
    stage.act("08-applied", number);

    // What the comment says is what mira pastes.
    let comment = stage.hub.bots_comments(number)[0].body.clone();
    // A line that ends in a backslash goes on in the next one.
    let joined = comment.replace(" \\\n ", "");
    let commands: Vec<&str> = joined
        .lines()
        .filter(|it| it.starts_with("muster release propose"))
        .collect();
    stage.score.check(
        &format!("commands in the comment: {commands:?}"),
        commands.len() == 2,
    );
    stage.pastes(commands[0]);
    stage.host_runs(0);
    stage.reads(number, "finished");
    stage.act("09-released-on-one", number);
    stage.pastes(commands[1]);
    stage.host_runs(1);
    stage.reads(number, "nothing waits");
    stage.act("10-done", number);

    // ── nothing more happens ─────────────────────────────────────────────────────────────────────────────────────────
    let before = stage.changes();
    stage.hosts_run();
    stage.bot_rests();
    stage.bot_goes();
    stage.bot_comes();
    stage.bot_rests();
    stage.score.check(
        "somebody was told something although nothing happened",
        stage.changes() == before,
    );
    stage.score.check(
        "another comment",
        stage.hub.bots_comments(number).len() == 1,
    );

    people_interfere(stage);
    a_stranger_proposes(stage);
    stage.end();
}

/// What people do with a proposal and its comment, which the bot has to live with.
fn people_interfere(stage: &mut Stage) {
    stage.forget_comment();
    let row = "  bela: {authentik_user: bela.nagy, k8s_user: bela.nagy, tier: power-user}";
    let amara = with(AMARA_ADMINISTERS);
    stage.clone.commit(
        "bela",
        &[("roster.yaml", &format!("{amara}{row}\n"))],
        "Bela comes",
    );
    stage.clone.push("bela");
    let number = stage
        .hub
        .propose(&stage.mira, "Bela comes", "bela", "main", Draft::Yes);
    stage.reads(number, &stage.hub.head(number));
    stage.act("11-a-draft", number);
    stage
        .hub
        .edit(&stage.mira, number, &json!({"draft": false}));
    stage.act("12-ready", number);

    // Jonas writes the line that marks our comment, above words of his own.
    let ours = stage.hub.bots_comments(number)[0].clone();
    let marker = ours.body.lines().next().unwrap_or_default();
    let forged = format!("{marker}\n**Nothing is held.** Merge it.");
    let theirs = stage.hub.comment(&stage.jonas, number, &forged);
    stage.act("13-a-forged-marker", number);
    let kept = stage.hub.comments(number);
    stage.score.check(
        "what jonas wrote is as he wrote it",
        kept.iter().any(|it| it.id == theirs && it.body == forged),
    );

    // Somebody deletes our comment: there is one again.
    stage.hub.delete_comment(&stage.mira, number, ours.id);
    stage.reads(number, &stage.hub.head(number));
    stage.act("14-deleted-and-back", number);

    // Another branch is no business of ours, until it is again.
    let main = stage.hub.code().tip(REPOSITORY, "main");
    stage.clone.git(&[
        "push",
        "--quiet",
        "origin",
        &format!("{main}:refs/heads/next"),
    ]);
    stage
        .hub
        .edit(&stage.mira, number, &json!({"base": "next"}));
    stage.reads(number, "next");
    stage.act("15-retargeted", number);
    stage
        .hub
        .edit(&stage.mira, number, &json!({"base": "main"}));
    stage.reads(number, "Merging");
    stage.act("16-and-back", number);

    stage
        .hub
        .edit(&stage.mira, number, &json!({"state": "closed"}));
    stage.reads(number, "losed");
    stage.act("17-closed", number);
    stage
        .hub
        .edit(&stage.mira, number, &json!({"state": "open"}));
    stage.reads(number, "Merging");
    stage.act("18-reopened", number);

    // The branch is rewritten: another commit, from the same base.
    let amara = with(AMARA_ADMINISTERS);
    stage.clone.git(&["checkout", "--quiet", "bela"]);
    stage.clone.git(&["reset", "--quiet", "--hard", "HEAD~1"]);
    let row = "  bela: {authentik_user: bela.nagy, k8s_user: bela.nagy, tier: namespace-owner, namespaces: [team-a]}";
    stage.clone.commit(
        "bela",
        &[("roster.yaml", &format!("{amara}{row}\n"))],
        "Bela comes, and owns a namespace",
    );
    stage.clone.push("bela");
    stage.reads(number, &stage.hub.head(number));
    stage.act("19-force-pushed", number);
    stage
        .hub
        .edit(&stage.mira, number, &json!({"state": "closed"}));
    stage.reads(number, "losed");
}

/// Somebody who is not of the team proposes something, where anybody can read.
fn a_stranger_proposes(stage: &mut Stage) {
    stage.forget_comment();
    stage.hub.publish(&stage.mira);
    let fork = stage.hub.fork(&stage.eve);
    let theirs = stage
        .hub
        .clone_of(&stage.eve, &fork, stage.door, &stage.path("eve"));
    let amara = with(AMARA_ADMINISTERS);
    let row = "  eve: {authentik_user: eve, k8s_user: eve, tier: admin}";
    theirs.commit(
        "me",
        &[("roster.yaml", &format!("{amara}{row}\n"))],
        "Let me in",
    );
    theirs.push("me");
    // Who can read is asked anew by one who has just come.
    stage.bot_goes();
    stage.bot_comes();
    let number = stage
        .hub
        .propose(&stage.eve, "Let me in", "eve:me", "main", Draft::No);
    stage.reads(number, &stage.hub.head(number));
    stage.act("20-a-stranger", number);
    let comment = stage.hub.bots_comments(number)[0].body.clone();
    for observed in ["uid", "/home", "gid", "subuid", "1500"] {
        stage.score.check(
            &format!("anybody can read {observed}: {comment}"),
            !comment.contains(observed),
        );
    }
    stage.bot_goes();
}
