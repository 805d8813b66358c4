//! The acts, in order. Each tells what it is about, does it, and looks whether it came about.

use super::DemoError;
use super::hypervisor::Pretended;
use super::play::Play;
use crate::commands::CommandError;
use crate::exit;

type Act = Result<(), CommandError>;

const PASSWD: &str = "root/etc/passwd";
const SHADOW: &str = "root/etc/shadow";
const GROUP: &str = "root/etc/group";
const KEYS: &str = "root/home/teo/.ssh/authorized_keys";
const ONCE: [&str; 2] = ["run", "--once"];

const NOOR: &str = "  noor: {authentik_user: noor.aziz, k8s_user: noor.aziz@tidewater.example, tier: power-user}\n";
const SANNE: &str = "  sanne: {authentik_user: sanne.bakker, k8s_user: sanne.bakker@tidewater.example, tier: admin}\n";
const TEO: &str = "  teo: {authentik_user: teo.lindqvist, k8s_user: teo.lindqvist@tidewater.example, tier: power-user, claude_auth: false}\n";
const PRODUCT: &str = "  # Product.";

/// Plays all of them.
pub(super) fn all(play: &mut Play<'_>) -> Act {
    prologue(play)?;
    a_host_joins(play)?;
    a_branch_is_answered(play)?;
    the_merge_is_applied(play)?;
    a_bad_edit_is_refused(play)?;
    root_waits_for_a_signature(play)?;
    somebody_leaves(play)?;
    and_comes_back(play)?;
    an_owner_answers(play)?;
    guests_follow_too(play)?;
    a_rewritten_branch_freezes(play)?;
    nothing_is_left_to_do(play)
}

/// The last line of a cycle: how it went.
fn is_sum(line: &str) -> bool {
    line.contains(" done at ") || line.starts_with("no change at ")
}

fn prologue(play: &mut Play<'_>) -> Act {
    play.git_outside(&[
        "init",
        "--quiet",
        "--bare",
        "--initial-branch=main",
        "origin.git",
    ])?;
    play.git_outside(&["init", "--quiet", "--initial-branch=main", "checkout"])?;
    play.stage.put_example()?;
    play.git_silently(&["remote", "add", "origin", "../origin.git"])?;
    play.git_silently(&["config", "gpg.format", "ssh"])?;
    play.git_silently(&["add", "."])?;
    play.git_silently(&["commit", "--quiet", "-m", "The people of devvm"])?;
    play.git_silently(&["push", "--quiet", "origin", "main"])?;
    let owners = if nix::unistd::geteuid().is_root() {
        ""
    } else {
        " You are not root, so who should own a file there is written to root/.muster-ownership instead."
    };
    play.say(&format!(
        "A team keeps its people in a git repository, and a host follows it. All of it is in {}: the repository \
         origin.git, a clone of it called checkout, and the files of a host called devvm in root. Nothing else of \
         this machine is touched.{owners} A real host runs a cycle as soon as somebody pushes; here each is run by hand, \
         and `…` stands where lines are left out.",
        play.stage.path.display()
    ))
}

fn a_host_joins(play: &mut Play<'_>) -> Act {
    play.act("A host joins")?;
    play.say(
        "The roster has seven people, and the first cycle makes their accounts. What would make somebody root is \
         held. birk, who has an account and no row, is left alone.",
    )?;
    let birk = |play: &Play<'_>| -> Result<Vec<String>, CommandError> {
        let files = [PASSWD, SHADOW].iter();
        files.map(|file| play.line_of(file, "birk:")).collect()
    };
    let before = birk(play)?;
    play.muster_silently(&["init", "--yes"], exit::OK)?;
    let output = play.muster(&ONCE, exit::OK, &|line| {
        line.contains("account amara")
            || line.starts_with("held") && line.contains(" mira ")
            || is_sum(line)
    })?;
    for user in ["amara", "ines", "jonas", "kofi", "lena", "mira", "teo"] {
        play.line_of(PASSWD, &format!("{user}:x:"))?;
        play.expect(
            play.stage.has(&format!("root/home/{user}/.profile")),
            "each person should have a home",
        )?;
    }
    for words in [
        "group.join mira gid=27 group=sudo",
        "group.join jonas gid=27 group=sudo",
    ] {
        play.held(&output, words)?;
    }
    play.expect(
        play.line_of(GROUP, "sudo:")? == "sudo:x:27:birk",
        "nobody but birk should be in the group sudo",
    )?;
    play.expect(
        before == birk(play)?,
        "the account of birk should be as it was",
    )
}

fn a_branch_is_answered(play: &mut Play<'_>) -> Act {
    play.act("A branch adds somebody, and is answered with the plan")?;
    let before = play.stage.look()?;
    play.git_silently(&["switch", "--quiet", "-c", "noor"])?;
    play.edit(TEO, &format!("{NOOR}{TEO}"))?;
    play.push("Adds noor", "noor")?;
    play.say(
        "The host plans the merge against what it finds, and answers with a note on the commit; a forge shows it as a \
         comment. A branch changes nothing and starts nothing.",
    )?;
    play.muster_silently(&ONCE, exit::OK)?;
    play.git_silently(&["fetch", "--quiet", "origin", "refs/notes/*:refs/notes/*"])?;
    let note = play.git_showing(
        &["notes", "--ref=muster/host/devvm/plan", "show", "noor"],
        &|line| {
            line.starts_with("**Merging") || line.starts_with("Not by") || line.contains("**noor**")
        },
    )?;
    play.expect(
        note.starts_with("**Merging adds `noor` on `host/devvm`: 2 steps run at once.**"),
        "the note should announce what merging does",
    )?;
    play.expect(
        before == play.stage.look()?,
        "nothing on the host should have changed",
    )
}

fn the_merge_is_applied(play: &mut Play<'_>) -> Act {
    play.act("The merge is applied")?;
    play.git_silently(&["switch", "--quiet", "main"])?;
    play.git(&["merge", "--quiet", "--no-ff", "-m", "Merges noor", "noor"])?;
    play.git_silently(&["push", "--quiet", "origin", "main"])?;
    play.muster(&ONCE, exit::OK, &|line| {
        line.contains("account noor") || is_sum(line)
    })?;
    play.excerpts("noor", &[PASSWD])?;
    play.expect(
        play.stage.has("root/home/noor/.profile"),
        "noor should have a home",
    )?;
    play.expect(
        play.line_of(SHADOW, "noor:")?.starts_with("noor:!:"),
        "the password of noor should be locked",
    )
}

fn a_bad_edit_is_refused(play: &mut Play<'_>) -> Act {
    play.act("A mistake is refused, with its place")?;
    let before = play.stage.look()?;
    play.git_silently(&["switch", "--quiet", "-c", "typo"])?;
    play.edit(NOOR, &NOOR.replace("power-user", "power-usr"))?;
    let check = play.muster(&["check", "checkout"], exit::FAILED, &|line| {
        !line.contains(" | ")
    })?;
    play.commit("Changes the tier of noor")?;
    play.git_silently(&["push", "--quiet", "origin", "typo"])?;
    play.muster_silently(&ONCE, exit::OK)?;
    play.git_silently(&["fetch", "--quiet", "origin", "refs/notes/*:refs/notes/*"])?;
    let note = play.git_silently(&["notes", "--ref=muster/host/devvm/plan", "show", "typo"])?;
    let text = play.text("checkout/roster.yaml")?;
    let place = text.lines().zip(1..).find_map(|(line, number)| {
        let column = line.find("power-usr")? + 1;
        Some(format!("roster.yaml:{number}:{column}"))
    });
    let place = place.unwrap_or_default();
    for said in [&check, &note] {
        play.expect(
            !place.is_empty() && said.contains(&place),
            &format!("{place} should be named as the place"),
        )?;
    }
    play.expect(
        note.starts_with("**Not valid"),
        "the note should refuse the branch",
    )?;
    play.expect(
        before == play.stage.look()?,
        "nothing on the host should have changed",
    )?;
    play.git_silently(&["switch", "--quiet", "main"])?;
    play.git_silently(&["push", "--quiet", "origin", "--delete", "typo"])?;
    Ok(())
}

fn root_waits_for_a_signature(play: &mut Play<'_>) -> Act {
    play.act("Root waits for a signature")?;
    play.say(
        "sanne is to be an admin. The account comes at once; the group sudo is held, until somebody whose key the host \
         trusts signs a git tag that names exactly this step.",
    )?;
    play.edit(PRODUCT, &format!("{SANNE}{PRODUCT}"))?;
    play.push("Adds sanne, who will be an admin", "main")?;
    let output = play.muster(&ONCE, exit::OK, &|line| {
        line.contains("sanne") && !line.contains("home") || is_sum(line)
    })?;
    let step = play.held(&output, "group.join sanne gid=27 group=sudo")?;
    play.expect(
        play.line_of(GROUP, "sudo:")? == "sudo:x:27:birk",
        "sanne should not be in the group sudo",
    )?;
    play.outside(
        "ssh-keygen",
        &[
            "-q", "-t", "ed25519", "-N", "", "-C", "mira", "-f", "mira.key",
        ],
    )?;
    play.muster(
        &["trust", "init", "--operational", "mira=mira.key.pub"],
        exit::OK,
        &|_| false,
    )?;
    play.muster_in_checkout(
        &[
            "release",
            "propose",
            &step,
            "--reason",
            "ticket 12",
            "--sign",
            "--yes",
            "--key",
            "../mira.key",
            "--push",
        ],
        &|line| line.starts_with("reason") || line.starts_with("do "),
    )?;
    play.muster(&ONCE, exit::OK, &|line| {
        line.starts_with("done") || is_sum(line)
    })?;
    play.excerpts("sudo", &[GROUP])?;
    play.expect(
        play.line_of(GROUP, "sudo:")? == "sudo:x:27:birk,sanne",
        "sanne should be in the group sudo",
    )
}

fn somebody_leaves(play: &mut Play<'_>) -> Act {
    play.act("Somebody leaves: cut at once, deleted only by a release")?;
    play.say(
        "teo's row goes: the way in is shut, and what was there is saved. Deleting the home waits.",
    )?;
    play.stage
        .leave_key("teo", "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIA teo@laptop\n")?;
    play.edit(TEO, "")?;
    play.push("teo leaves", "main")?;
    let output = play.muster(&ONCE, exit::OK, &|line| {
        line.contains("the login of teo")
            || line.contains("of teo (uid")
            || line.contains("user.archive_delete teo")
            || is_sum(line)
    })?;
    play.excerpts("teo", &[PASSWD])?;
    play.expect(
        play.line_of(PASSWD, "teo:")?
            .ends_with(":/usr/sbin/nologin"),
        "teo should have no shell",
    )?;
    play.expect(
        play.line_of(SHADOW, "teo:")?.ends_with(":1:"),
        "the account of teo should be expired",
    )?;
    play.expect(!play.stage.has(KEYS), "the keys of teo should be set aside")?;
    play.expect(
        play.stage.has("root/home/teo/.profile"),
        "the home of teo should stay",
    )?;
    play.held(&output, "user.archive_delete teo")?;
    Ok(())
}

fn and_comes_back(play: &mut Play<'_>) -> Act {
    play.act("And comes back, with everything as it was")?;
    play.say("The commit is reverted. A way back restores what was there and nothing more, so it needs no release.")?;
    play.git(&["revert", "--no-edit", "HEAD"])?;
    play.git_silently(&["push", "--quiet", "origin", "main"])?;
    play.muster(&ONCE, exit::OK, &|line| {
        line.contains("login of teo") || is_sum(line)
    })?;
    play.excerpts("teo", &[KEYS])?;
    play.expect(
        play.line_of(PASSWD, "teo:")?.ends_with(":/bin/bash"),
        "teo should have the shell again",
    )?;
    play.expect(
        play.line_of(SHADOW, "teo:")?.ends_with("::::::"),
        "the account of teo should not be expired",
    )
}

fn an_owner_answers(play: &mut Play<'_>) -> Act {
    const ANSWER: &str = "checkout/services/responses/tide-tables.yaml";
    const PASSWORD: &str = "hightide-4417";
    play.act("An owner answers for a service, and a password comes along")?;
    play.say(
        "Before anybody touches a service, its owner answers for it. amara does, and pastes a password: the answer is \
         quarantined, and no part of it is repeated. Whatever the lane, it permits nothing.",
    )?;
    let before = play.stage.look()?;
    let answer = play.text(ANSWER)?;
    let leaked = format!("{answer}disable_switch: password={PASSWORD}\n").replacen(
        "disable_switch: The unit is masked.\n",
        "",
        1,
    );
    play.stage.put(ANSWER, &leaked)?;
    let status = play.muster(&["services", "status", "checkout"], exit::OK, &|line| {
        line.starts_with("tide-tables:")
    })?;
    play.stage.put(ANSWER, &answer)?;
    play.expect(
        status.contains("tide-tables: quarantine_secret_or_raw_payload")
            && !status.contains(PASSWORD),
        "the answer should be quarantined, and the password not be told",
    )?;
    play.expect(
        before == play.stage.look()?,
        "nothing on the host should have changed",
    )
}

fn guests_follow_too(play: &mut Play<'_>) -> Act {
    play.act("Guests of a hypervisor follow the same repository")?;
    play.say(
        "guests/lab.yaml says what runs there; an executor of its own, without root, sees to it.",
    )?;
    let (exe, socket) = (play.stage.exe.clone(), play.stage.socket());
    let _hypervisor = Pretended::start(&exe, &socket).map_err(|source| DemoError::Program {
        program: "the hypervisor that pretends".to_owned(),
        source,
    })?;
    play.stage.put_guests_settings()?;
    let init = ["--config", "guests.toml", "init", "--yes"];
    play.muster_outside(&init)?;
    let output = play.muster_for_guests(&ONCE, &|line| {
        ["harbour-web", "shut down", "memory"]
            .iter()
            .any(|it| line.contains(it))
            || is_sum(line)
    })?;
    for step in [
        "start guest harbour-web",
        "set the memory of harbour-db from 1GiB to 2GiB",
        "shut down guest tides-2024",
    ] {
        play.expect(output.contains(step), &format!("{step} should be done"))?;
    }
    play.expect(
        !output.contains("tides-2023"),
        "a guest without a row should be left alone",
    )?;
    let again = play.muster_outside(&[&["--config", "guests.toml"], &ONCE[..]].concat())?;
    play.expect(
        again.contains("no change at"),
        "a second cycle should change nothing",
    )
}

fn a_rewritten_branch_freezes(play: &mut Play<'_>) -> Act {
    play.act("A rewritten branch freezes the host, and a person unfreezes it")?;
    play.say(
        "Somebody rewrites main by force, and noor's row is gone with the history. The host does not follow: what it \
         adopted holds, nobody is cut, and it says so until a person has looked.",
    )?;
    play.git_silently(&["reset", "--quiet", "--hard", "HEAD~2"])?;
    play.edit(NOOR, "")?;
    play.git_silently(&[
        "commit",
        "--quiet",
        "--amend",
        "-a",
        "-m",
        "A history without noor",
    ])?;
    play.git(&["push", "--quiet", "--force", "origin", "main"])?;
    let before = play.stage.look()?;
    let output = play.muster(&ONCE, exit::FAILED, &|line| line.starts_with("frozen"))?;
    play.expect(
        output.contains("the protected branch was rewritten"),
        "the host should be frozen",
    )?;
    play.expect(
        before == play.stage.look()?,
        "nothing on the host should have changed",
    )?;
    play.say("The row is put back, and an administrator tells the host to go on from there.")?;
    play.edit(TEO, &format!("{NOOR}{TEO}"))?;
    play.commit("noor is back in the roster")?;
    play.git_silently(&["push", "--quiet", "origin", "main"])?;
    let head = play.git_silently(&["rev-parse", "HEAD"])?;
    let head = head.trim();
    play.muster(
        &["adopt", head, "--reason", "looked at it with the team"],
        exit::OK,
        &|_| false,
    )?;
    play.muster_silently(&ONCE, exit::OK)?;
    let status = play.muster(&["status"], exit::OK, &|line| {
        ["state", "waits"].iter().any(|it| line.starts_with(it))
    })?;
    play.expect(
        status.contains(&format!("adopted   {head}")),
        "the new commit should be adopted",
    )?;
    play.line_of(PASSWD, "noor:")?;
    Ok(())
}

fn nothing_is_left_to_do(play: &mut Play<'_>) -> Act {
    play.act("A second cycle changes nothing")?;
    let ledger = [
        "--git-dir=state/ledger.git",
        "log",
        "--format=%h %s",
        &muster_core::executor::Executor::Host("devvm".to_owned()).ledger_ref(),
    ];
    let before = (play.stage.look()?, play.git_outside(&ledger)?);
    let output = play.muster(&ONCE, exit::OK, &is_sum)?;
    play.expect(
        output.contains("no change at"),
        "the cycle should say that nothing changed",
    )?;
    let after = (play.stage.look()?, play.git_outside(&ledger)?);
    play.expect(
        before == after,
        "host and ledger should be as before, to the last byte and timestamp",
    )?;
    play.say("What was done, and by what right, is in the host's ledger, which is git; its newest entry:")?;
    let newest: Vec<&str> = after
        .1
        .lines()
        .filter(|it| !it.contains(": 0 done"))
        .take(1)
        .collect();
    play.show(&newest.join("\n"), &|_| true)
}
