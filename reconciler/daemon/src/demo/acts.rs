//! The acts, in order. Each tells what it is about, does it, and looks whether it came about.

use super::play::Play;
use crate::commands::CommandError;
use crate::exit;

type Act = Result<(), CommandError>;

const PASSWD: &str = "root/etc/passwd";
const SHADOW: &str = "root/etc/shadow";
const GROUP: &str = "root/etc/group";
const LOGIN_MAP: &str = "root/etc/ttyd-user-map";
const DISPATCH: &str = "root/etc/t3-dispatch/dispatch.json";
const ADMINS: &str = "root/etc/ttyd-admins";
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
    root_waits(play)?;
    somebody_is_parked(play)?;
    somebody_leaves(play)?;
    and_comes_back(play)?;
    a_rewritten_branch_freezes(play)?;
    nothing_is_left_to_do(play)
}

fn unit(user: &str) -> String {
    format!("root/etc/systemd/system/multi-user.target.wants/t3-serve@{user}.service")
}

/// The last line of a cycle: how it went.
fn is_sum(line: &str) -> bool {
    !["done ", "held ", "frozen "]
        .iter()
        .any(|word| line.starts_with(word))
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
    play.git_silently(&["add", "."])?;
    play.git_silently(&["commit", "--quiet", "-m", "The people of devvm"])?;
    play.git_silently(&["push", "--quiet", "origin", "main"])?;
    let owners = if nix::unistd::geteuid().is_root() {
        "You are root, so files there really change their owners; no file outside that directory is touched."
    } else {
        "You are not root, so who should own a file there is written to root/.muster-ownership instead; \
         everything else is as on a real host."
    };
    play.say(&format!(
        "A team keeps its people in a git repository, and a host follows it. All of it is in {}: \
         origin.git is the state repository that people push to, checkout a clone of it, root the \
         files of a host called devvm, and muster.toml the settings of muster on that host. {owners}",
        play.stage.path.display()
    ))?;
    play.say(
        "`git` below runs in the checkout and `muster` with --config muster.toml. On a real host the daemon runs a \
         cycle as soon as it sees a push; here each is run by hand with `muster run --once`. Lines in [brackets] \
         stand for output that is left out.",
    )
}

fn a_host_joins(play: &mut Play<'_>) -> Act {
    play.act("A host joins")?;
    play.say(
        "`muster init` gives the host its identity and shows the first commit to adopt. The roster has seven people, \
         and the first cycle makes them at home. It holds what would make somebody root: that waits for a signed \
         release. birk, who has an account already and is in no row, is left alone.",
    )?;
    let birk: Vec<String> = [PASSWD, SHADOW]
        .iter()
        .map(|file| play.line_of(file, "birk:"))
        .collect::<Result<_, _>>()?;
    play.muster(&["init", "--yes"], exit::OK, &|line| !line.is_empty())?;
    let output = play.muster(&ONCE, exit::OK, &|line| {
        line.contains("amara")
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
        "admins.add mira",
    ] {
        play.held(&output, words)?;
    }
    play.expect(
        !play.stage.has(ADMINS),
        "nobody should be on the list of admins",
    )?;
    play.expect(
        play.line_of(GROUP, "sudo:")? == "sudo:x:27:birk",
        "nobody but birk should be in the group sudo",
    )?;
    let after: Vec<String> = [PASSWD, SHADOW]
        .iter()
        .map(|file| play.line_of(file, "birk:"))
        .collect::<Result<_, _>>()?;
    play.expect(birk == after, "the account of birk should be as it was")
}

fn a_branch_is_answered(play: &mut Play<'_>) -> Act {
    play.act("A branch adds somebody, and is answered with the plan")?;
    play.say("noor joins. Somebody writes a row in a branch and pushes it.")?;
    let before = play.stage.look()?;
    play.git(&["switch", "--quiet", "-c", "noor"])?;
    play.edit(TEO, &format!("{NOOR}{TEO}"))?;
    play.push("Adds noor", "noor")?;
    play.say(
        "The host plans the merge against what it finds, and answers with a git note on the commit (a forge would \
         show it as a comment). A branch changes nothing and starts nothing.",
    )?;
    play.muster(&ONCE, exit::OK, &is_sum)?;
    play.git(&["fetch", "--quiet", "origin", "refs/notes/*:refs/notes/*"])?;
    let note = play.git_showing(
        &["notes", "--ref=muster/host/devvm/plan", "show", "noor"],
        &|line| {
            line.starts_with("**Merging") || line.contains("noor") || line.starts_with("Commit")
        },
    )?;
    play.expect(
        note.starts_with("**Merging applies 8 steps"),
        "the note should announce eight steps",
    )?;
    play.expect(
        note.contains("user.create noor"),
        "the note should name the account to be made",
    )?;
    play.expect(
        before == play.stage.look()?,
        "nothing on the host should have changed",
    )
}

fn the_merge_is_applied(play: &mut Play<'_>) -> Act {
    play.act("The merge is applied")?;
    play.git(&["switch", "--quiet", "main"])?;
    play.git(&["merge", "--quiet", "--no-ff", "-m", "Merges noor", "noor"])?;
    play.git(&["push", "--quiet", "origin", "main"])?;
    play.muster(&ONCE, exit::OK, &|line| {
        line.contains("noor") || is_sum(line)
    })?;
    play.say(
        "What the note announced is there: a locked account, its group, its place in the files that other programs \
         read, an environment file, a home, and a link that starts the instance at boot.",
    )?;
    let environment = "root/etc/muster/instances/noor.env";
    play.excerpts(
        "noor",
        &[
            PASSWD,
            SHADOW,
            GROUP,
            "root/etc/subuid",
            LOGIN_MAP,
            DISPATCH,
            environment,
        ],
    )?;
    let link = unit("noor");
    play.expect(play.stage.has(&link), &format!("{link} should be there"))?;
    play.expect(
        play.stage.has("root/home/noor/.profile"),
        "noor should have a home",
    )?;
    play.expect(
        play.line_of(SHADOW, "noor:")?.starts_with("noor:!:"),
        "the password of noor should be locked",
    )?;
    play.expect(
        play.line_of(LOGIN_MAP, "noor.aziz=")? == "noor.aziz=noor",
        "noor should be on the login map",
    )?;
    play.show(&format!("root/home/noor/.profile\n{link}"), &|_| true)
}

fn a_bad_edit_is_refused(play: &mut Play<'_>) -> Act {
    play.act("A bad edit is refused, with its place")?;
    play.say(
        "Somebody mistypes a tier in a branch. The note says where, and what was meant; merged anyway, it would \
         change nothing either. `muster check` says the same before the push.",
    )?;
    let before = play.stage.look()?;
    play.git(&["switch", "--quiet", "-c", "typo"])?;
    play.edit(NOOR, &NOOR.replace("power-user", "power-usr"))?;
    let check = play.muster(&["check", "checkout"], exit::FAILED, &|_| true)?;
    play.push("Changes the tier of noor", "typo")?;
    play.muster(&ONCE, exit::OK, &is_sum)?;
    play.git(&["fetch", "--quiet", "origin", "refs/notes/*:refs/notes/*"])?;
    let note = play.git_showing(
        &["notes", "--ref=muster/host/devvm/plan", "show", "typo"],
        &|line| !line.is_empty(),
    )?;
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
    play.git(&["switch", "--quiet", "main"])?;
    play.git(&["push", "--quiet", "origin", "--delete", "typo"])?;
    Ok(())
}

fn root_waits(play: &mut Play<'_>) -> Act {
    play.act("An admin comes, and what makes them root is held")?;
    play.say(
        "sanne is to be an admin. Account and home are benign and come at once. The groups sudo and docker are as \
         good as root, and so is the list of admins: these steps are held, each with an id that a signed release \
         names.",
    )?;
    play.edit(PRODUCT, &format!("{SANNE}{PRODUCT}"))?;
    play.push("Adds sanne, who will be an admin", "main")?;
    let output = play.muster(&ONCE, exit::OK, &|line| {
        line.contains("sanne") || is_sum(line)
    })?;
    for words in [
        "group.join sanne gid=27 group=sudo",
        "group.join sanne gid=995 group=docker",
        "admins.add sanne",
    ] {
        play.held(&output, words)?;
    }
    play.excerpts("sanne", &[PASSWD])?;
    play.excerpts("sudo", &[GROUP])?;
    play.expect(
        play.line_of(GROUP, "sudo:")? == "sudo:x:27:birk",
        "sanne should not be in the group sudo",
    )?;
    play.expect(
        !play.stage.has(ADMINS),
        "sanne should not be on the list of admins",
    )
}

fn somebody_is_parked(play: &mut Play<'_>) -> Act {
    play.act("Somebody is parked")?;
    play.say(
        "amara is away for a while. Their instance stops; account, home, groups and ports stay.",
    )?;
    let passwd = play.line_of(PASSWD, "amara:")?;
    let link = unit("amara");
    play.expect(
        play.stage.has(&link),
        "the instance of amara should be enabled before",
    )?;
    let row = "    k8s_user: amara.okafor@tidewater.example\n";
    play.edit(row, &format!("{row}    parked: true\n"))?;
    play.push("Parks amara", "main")?;
    play.muster(&ONCE, exit::OK, &|line| {
        line.contains("amara") || is_sum(line)
    })?;
    play.expect(
        !play.stage.has(&link),
        "the instance of amara should be disabled",
    )?;
    play.expect(
        play.stage.has("root/home/amara/.profile"),
        "the home of amara should stay",
    )?;
    play.expect(
        play.line_of(PASSWD, "amara:")? == passwd,
        "the account of amara should stay as it was",
    )?;
    play.excerpts("amara", &[PASSWD, LOGIN_MAP])
}

fn somebody_leaves(play: &mut Play<'_>) -> Act {
    play.act("Somebody leaves: cut at once, deleted only by a release")?;
    play.say(
        "teo leaves the team, and the row goes. Everything that lets teo in is shut at once, and what was there is \
         saved for root alone. Nothing is deleted: deleting the home cannot be undone, so it is held.",
    )?;
    play.stage
        .leave_key("teo", "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIA teo@laptop\n")?;
    play.edit(TEO, "")?;
    play.push("teo leaves", "main")?;
    let output = play.muster(&ONCE, exit::OK, &|line| {
        line.contains("teo") || is_sum(line)
    })?;
    play.excerpts("teo", &[PASSWD, SHADOW])?;
    play.expect(
        play.line_of(PASSWD, "teo:")?
            .ends_with(":/usr/sbin/nologin"),
        "teo should have no shell",
    )?;
    play.expect(
        play.line_of(SHADOW, "teo:")?.ends_with(":1:"),
        "the account of teo should be expired",
    )?;
    for file in [LOGIN_MAP, DISPATCH] {
        play.expect(
            !play.text(file)?.contains("teo"),
            &format!("teo should be gone from {file}"),
        )?;
    }
    play.expect(
        !play.line_of(GROUP, "t3:")?.contains("teo"),
        "teo should be out of the group t3",
    )?;
    play.expect(!play.stage.has(KEYS), "the keys of teo should be set aside")?;
    play.expect(
        !play.stage.has(&unit("teo")),
        "the instance of teo should be disabled",
    )?;
    play.expect(
        play.stage.has("root/home/teo/.profile"),
        "the home of teo should stay",
    )?;
    let again = play.muster(&["plan"], exit::CHANGES, &|line| {
        line.contains("teo") || line.starts_with("this plan")
    })?;
    let id = play.held(&output, "user.archive_delete teo")?;
    play.expect(again.contains(&id), "the held deletion should keep its id")?;
    play.say(&format!(
        "The deletion waits under the id {id}, for as long as nobody signs it."
    ))
}

fn and_comes_back(play: &mut Play<'_>) -> Act {
    play.act("And comes back, with everything as it was")?;
    play.say(
        "It was a mistake, and the commit is reverted. A way back needs no release, since it restores what was \
         there and nothing more.",
    )?;
    play.git(&["revert", "--no-edit", "HEAD"])?;
    play.git(&["push", "--quiet", "origin", "main"])?;
    play.muster(&ONCE, exit::OK, &|line| {
        line.contains("teo") || is_sum(line)
    })?;
    play.excerpts("teo", &[PASSWD, SHADOW, LOGIN_MAP, KEYS])?;
    play.expect(
        play.line_of(PASSWD, "teo:")?.ends_with(":/bin/zsh"),
        "teo should have the shell again",
    )?;
    play.expect(
        play.line_of(SHADOW, "teo:")?.ends_with("::::::"),
        "the account of teo should not be expired",
    )?;
    play.expect(
        play.line_of(GROUP, "t3:")?.contains("teo"),
        "teo should be in the group t3 again",
    )?;
    play.expect(
        play.line_of(LOGIN_MAP, "teo.lindqvist=")?.ends_with("=teo"),
        "teo should be on the login map",
    )?;
    play.expect(
        play.stage.has(&unit("teo")),
        "the instance of teo should be enabled",
    )
}

fn a_rewritten_branch_freezes(play: &mut Play<'_>) -> Act {
    play.act("A rewritten branch freezes the host, and a person unfreezes it")?;
    play.say(
        "Somebody rewrites main by force, and noor's row is gone with the history. The host does not follow: what \
         it adopted before holds, nobody is cut, and it says so until a person has looked.",
    )?;
    play.git(&["reset", "--quiet", "--hard", "HEAD~2"])?;
    play.edit(NOOR, "")?;
    play.diff()?;
    play.git(&[
        "commit",
        "--quiet",
        "--amend",
        "-a",
        "-m",
        "A history without noor",
    ])?;
    play.git(&["push", "--quiet", "--force", "origin", "main"])?;
    let before = play.stage.look()?;
    let output = play.muster(&ONCE, exit::OK, &|line| {
        line.starts_with("frozen") || is_sum(line)
    })?;
    play.expect(
        output.contains("the protected branch was rewritten"),
        "the host should be frozen",
    )?;
    play.expect(
        before == play.stage.look()?,
        "nothing on the host should have changed",
    )?;
    play.say(
        "The team puts the row back on top of the new history. An administrator looks at it, and tells the host at \
         its console to go on from there.",
    )?;
    play.edit(TEO, &format!("{NOOR}{TEO}"))?;
    play.push("noor is back in the roster", "main")?;
    let head = play.git_silently(&["rev-parse", "HEAD"])?;
    let head = head.trim();
    play.muster(
        &[
            "adopt",
            head,
            "--reason",
            "main was rewritten; looked at with the team",
        ],
        exit::OK,
        &|_| true,
    )?;
    let output = play.muster(&ONCE, exit::OK, &is_sum)?;
    play.expect(
        !output.contains("frozen"),
        "the host should not be frozen any more",
    )?;
    let status = play.muster(&["status"], exit::OK, &|line| !line.starts_with("at work"))?;
    play.expect(
        status.contains(&format!("adopted   {head}")),
        "the new commit should be adopted",
    )?;
    play.expect(
        play.stage.has("root/home/noor/.profile"),
        "noor should still be there",
    )?;
    play.line_of(PASSWD, "noor:")?;
    Ok(())
}

fn nothing_is_left_to_do(play: &mut Play<'_>) -> Act {
    play.act("A second cycle changes nothing")?;
    play.say(
        "Another cycle on the same roster finds nothing to do: no file of the host is written, not even with what \
         it holds already, and the ledger, which is the host's audit trail, gets no entry.",
    )?;
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
    play.say("What happened, as the ledger has it, the latest first:")?;
    play.show(&after.1, &|_| true)
}
