//! The daemon as a process: its lock, its signals, and what it notices in the state repository.

use std::os::unix::process::CommandExt as _;
use std::process::{Command, Stdio};

use muster::state_dir::StateDir;
use muster::suspension::{self, Decision, Request};
use muster_core::time::Time;
use muster_tests::site::{
    ANN, ANN_AND_BOB, Fault, Point, Site, differences, for_each_in_parallel, needs, wait_until,
};
use nix::sys::signal::{Signal, killpg};
use nix::unistd::Pid;

/// The exit code of whoever finds the lock taken.
const BUSY: Option<i32> = Some(75);

/// Waits for bob's account, and for the report that ends a cycle.
fn wait_for_bob(site: &Site) {
    wait_until("bob has an account", || site.uid("bob").is_some());
}

#[test]
fn one_of_many_daemons_works_and_the_others_say_who() {
    needs(&["git"]);
    let site = Site::new();
    let mut daemons: Vec<_> = (0..20).map(|_| site.daemon()).collect();
    wait_until("all but one have ended", || {
        daemons
            .iter_mut()
            .filter_map(|it| it.is_running().then_some(()))
            .count()
            == 1
    });
    let mut running = daemons
        .iter_mut()
        .position(|it| it.is_running())
        .map(|at| daemons.swap_remove(at))
        .unwrap();
    for other in &mut daemons {
        assert_eq!(other.ended(), BUSY, "{}", other.log());
    }
    let ran = site.once();
    assert_eq!(ran.code, BUSY, "{}", ran.said());
    assert!(
        ran.err.contains(&running.id().to_string()),
        "{} is not named: {}",
        running.id(),
        ran.said()
    );
    assert_eq!(running.stop(), Some(0), "{}", running.log());
    let _ = site.settles();
}

#[test]
fn a_commit_is_noticed_by_itself_and_a_poke_finds_drift() {
    needs(&["git"]);
    let site = Site::new();
    // So seldom that nothing here is found by polling.
    site.change_settings("poll = \"1s\"", "poll = \"1h\"\ndrift = \"1h\"");
    let mut daemon = site.daemon();
    wait_until("it is at work", || site.status()["at_work"].is_object());
    site.commit(ANN_AND_BOB, "ann and bob");
    wait_for_bob(&site);
    wait_until("it has told", || {
        site.git(&["for-each-ref", "refs/notes/muster"])
            .contains("outcome")
    });
    wait_until("bob is mapped", || {
        site.on_host("etc/ttyd-user-map").exists()
    });
    std::fs::remove_file(site.on_host("etc/ttyd-user-map")).unwrap();
    wait_until("the drift is repaired", || {
        daemon.signal(Signal::SIGHUP);
        site.on_host("etc/ttyd-user-map").exists()
    });
    assert_eq!(daemon.stop(), Some(0), "{}", daemon.log());
    let _ = site.settles();
}

#[test]
fn told_to_stop_at_any_moment_it_ends_well() {
    needs(&["git", "strace"]);
    let site = Site::new();
    site.commit(ANN_AND_BOB, "ann and bob");
    let undisturbed = site.copy();
    let points: Vec<Point> = undisturbed
        .points_of_a_cycle()
        .into_iter()
        .filter(|it| ["fdatasync", "fsync", "renameat", "mkdirat"].contains(&it.call))
        .collect();
    undisturbed.is_still().unwrap();
    let expected = undisturbed.host();
    let wrong = for_each_in_parallel(&points, |point| {
        let site = site.copy();
        let mut daemon = site.daemon_with(Fault::Terminate, *point);
        wait_until("it ends, or has nothing left to do", || {
            let refs = || site.git(&["for-each-ref", "--format=%(refname)", "refs/notes"]);
            !daemon.is_running() || refs().contains("outcome")
        });
        // The call was another thread's this time, and was not reached: it is told by hand.
        if daemon.stop() != Some(0) {
            return Err(format!("{point:?}: {}", daemon.log()));
        }
        let ran = site.once();
        match differences(&expected, &site.host()) {
            none if ran.is_ok() && none.is_empty() => site.is_still(),
            some => Err(format!("{point:?}: {some}\n{}", ran.said())),
        }
    });
    assert!(
        wrong.is_empty(),
        "{} of {}:\n{}",
        wrong.len(),
        points.len(),
        wrong.join("\n\n")
    );
}

#[test]
fn a_rewritten_branch_freezes_it_and_a_tag_of_the_same_name_is_nothing() {
    needs(&["git"]);
    let site = Site::new();
    let first = site.git(&["rev-parse", "HEAD"]);
    site.commit(ANN_AND_BOB, "ann and bob");
    site.git(&["tag", "main", &first]);
    site.git(&[
        "tag",
        "-f",
        "-a",
        "-m",
        "release",
        "refs/heads/main",
        &first,
    ]);
    let _ = site.settles();
    assert!(
        site.uid("bob").is_some(),
        "the branch is followed, not the tag"
    );
    site.git(&["tag", "-d", "main"]);
    site.git(&["reset", "--hard", "--quiet", &first]);
    let rewritten = site.commit(ANN, "another history");
    let ran = site.once();
    assert!(ran.said().contains("rozen"), "{}", ran.said());
    let status = site.status();
    assert!(
        status["frozen"]
            .as_str()
            .is_some_and(|why| why.contains(&rewritten)),
        "{status:#}"
    );
    let shell = || {
        site.text_on_host("etc/passwd")
            .lines()
            .find(|it| it.starts_with("bob:"))
            .unwrap()
            .to_owned()
    };
    assert!(
        shell().ends_with("/bin/zsh"),
        "bob was cut by a rewritten branch: {}",
        shell()
    );
    let still = site.changes_nothing().unwrap();
    assert_eq!(still.code, Some(1), "{}", still.said());
}

#[test]
fn a_daemon_at_work_adopts_the_commit_that_a_person_decides_for() {
    needs(&["git"]);
    let site = Site::new();
    let first = site.git(&["rev-parse", "HEAD"]);
    site.commit(ANN_AND_BOB, "ann and bob");
    let mut daemon = site.daemon();
    wait_for_bob(&site);
    let rewritten = |roster: &str, message: &str| {
        site.git(&["reset", "--hard", "--quiet", &first]);
        site.commit(roster, message)
    };
    let broken = rewritten("users: [", "nonsense");
    let other = rewritten(ANN, "another history");
    wait_until("it is frozen", || site.status()["frozen"].is_string());
    let adopt = |commit: &str| site.muster(&["adopt", commit, "--reason", "rewritten on purpose"]);
    let ran = adopt(&broken);
    assert_eq!(ran.code, Some(1), "{}", ran.said());
    assert!(ran.said().contains("is not valid"), "{}", ran.said());
    assert!(site.status()["frozen"].is_string());

    // It is the daemon that writes; whoever asks it past the console is told why not.
    let state = StateDir::at(&site.path("state"));
    let request = |commit: &str| Request {
        who: "nobody".to_owned(),
        reason: "past the console".to_owned(),
        decision: Decision::Adopt {
            commit: commit.parse().unwrap(),
        },
    };
    for commit in [&broken, &"b".repeat(40)] {
        let left = suspension::ask(&state, &request(commit), Time(1)).unwrap();
        let _ = site.muster(&["reconcile"]).ok();
        wait_until("it has answered", || !left.exists());
        let why = suspension::answer_to(&left).expect("an answer");
        assert!(why.contains("nothing can be kept by"), "{why}");
    }
    assert!(site.status()["frozen"].is_string(), "{:#}", site.status());

    let ran = adopt(&other).ok();
    assert!(
        ran.out
            .contains(&format!("host/devvm adopts {other}, in place of")),
        "{}",
        ran.said()
    );
    wait_until("bob is cut", || {
        let passwd = site.text_on_host("etc/passwd");
        let bob = passwd.lines().find(|it| it.starts_with("bob:")).unwrap();
        bob.ends_with("nologin")
    });
    let status = site.status();
    assert!(status["frozen"].is_null(), "{status:#}");
    assert_eq!(status["adopted"], other.as_str());
    assert!(daemon.is_running());
    let told = site.muster(&["history"]).ok().out;
    assert!(told.contains("rewritten on purpose"), "{told}");
    assert_eq!(daemon.stop(), Some(0), "{}", daemon.log());
    let left = std::fs::read_dir(site.path("state/requests")).unwrap();
    assert_eq!(left.count(), 0);
    site.is_still().unwrap();

    // No commit gives a host its name back.
    site.change_settings("name = \"devvm\"", "name = \"renamed\"");
    for at_work in [false, true] {
        let daemon = at_work.then(|| site.daemon());
        if at_work {
            wait_until("it is at work", || site.status()["at_work"].is_object());
        }
        let ran = adopt(&other);
        assert_eq!(ran.code, Some(1), "{}", ran.said());
        assert!(ran.said().contains("put the name back"), "{}", ran.said());
        drop(daemon);
    }
}

#[test]
fn the_origin_may_be_packed_owned_by_another_and_away() {
    needs(&["git"]);
    let site = Site::new();
    let owner = Some(1_234);
    let origin = site.path("origin");
    let give_away = || {
        let all = Command::new("chown")
            .arg("-R")
            .arg("1234:1234")
            .arg(&origin)
            .status()
            .unwrap();
        assert!(all.success(), "{owner:?}");
    };
    site.commit(ANN_AND_BOB, "ann and bob");
    site.git(&["gc", "--quiet", "--prune=now"]);
    give_away();
    let _ = site.settles();
    assert!(
        site.git(&["for-each-ref", "refs/notes/muster"])
            .contains("outcome")
    );
    let strangers = Command::new("find")
        .arg(origin.join(".git"))
        .args(["!", "-uid", "1234"])
        .output()
        .unwrap();
    assert_eq!(
        String::from_utf8_lossy(&strangers.stdout),
        "",
        "files that their owner cannot remove"
    );

    std::fs::rename(&origin, site.path("away")).unwrap();
    std::fs::remove_file(site.on_host("etc/ttyd-user-map")).unwrap();
    let ran = site.once();
    assert!(ran.said().contains("did not answer"), "{}", ran.said());
    let status = site.status();
    assert!(status["unanswered"]["since"].is_string(), "{status:#}");
    // For a moment that may be; for long it is not in order.
    let said = site.muster(&["status"]);
    assert!(
        said.is_ok() && said.out.contains("origin    has not answered since"),
        "{}",
        said.said()
    );
    let kept = site.path("state/last-cycle.json");
    let text = std::fs::read_to_string(&kept).expect("how the last cycle went");
    let mut last: serde_json::Value = serde_json::from_str(&text).expect("JSON");
    last["since"] = (last["since"].as_i64().expect("a moment") - 300).into();
    std::fs::write(&kept, last.to_string()).unwrap();
    let said = site.muster(&["status"]);
    assert!(
        !said.is_ok()
            && said
                .out
                .contains("the state repository has not answered since"),
        "{}",
        said.said()
    );
    assert!(
        site.text_on_host("etc/ttyd-user-map").contains("bob.x=bob"),
        "{}",
        ran.said()
    );
    std::fs::rename(site.path("away"), &origin).unwrap();
    let _ = site.settles();
}

#[test]
fn a_remote_origin_is_followed_over_the_network() {
    needs(&["git"]);
    let site = Site::new();
    let port = std::net::TcpListener::bind("127.0.0.1:0")
        .unwrap()
        .local_addr()
        .unwrap()
        .port();
    let mut server = Command::new("git")
        .args([
            "-c",
            "safe.directory=*",
            "daemon",
            "--export-all",
            "--reuseaddr",
            "--listen=127.0.0.1",
        ])
        .arg(format!("--port={port}"))
        .arg(format!("--base-path={}", site.path("").display()))
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .process_group(0)
        .spawn()
        .unwrap();
    wait_until("git answers", || {
        std::net::TcpStream::connect(("127.0.0.1", port)).is_ok()
    });
    let local = format!("url = \"{}\"", site.path("origin").display());
    site.change_settings(&local, &format!("url = \"git://127.0.0.1:{port}/origin\""));
    site.commit(ANN_AND_BOB, "ann and bob");
    let ran = site.once();
    // What serves runs below git: the whole group is told.
    killpg(Pid::from_raw(server.id().cast_signed()), Signal::SIGKILL).unwrap();
    let _ = server.wait();
    let is_down = || std::net::TcpStream::connect(("127.0.0.1", port)).is_err();
    wait_until("nobody answers", is_down);
    assert!(ran.is_ok() && site.uid("bob").is_some(), "{}", ran.said());
    std::fs::remove_file(site.on_host("etc/ttyd-user-map")).unwrap();
    let ran = site.once();
    assert!(
        site.on_host("etc/ttyd-user-map").exists(),
        "down is no reason to stop enforcing: {}",
        ran.said()
    );
    // Whoever runs one cycle hears that it may not be the newest commit.
    assert_eq!(ran.code, Some(1), "{}", ran.said());
    let still = site.changes_nothing().unwrap();
    assert_eq!(still.code, Some(1), "{}", still.said());
}
