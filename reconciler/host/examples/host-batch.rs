//! Measures a host on a scratch root: creating 1,000 people with and without homes, observing 10,000 converged ones.
//!
//! `cargo run --release -p muster-host --example host-batch`; a directory to work in can be given.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use muster_core::accounts::action::Action;
use muster_core::accounts::observed::Parts;
use muster_core::accounts::policy::{self, Aggregate, PortFamily};
use muster_core::commit::CommitId;
use muster_core::executor::Executor;
use muster_core::facts::Facts;
use muster_core::gate::{Approvals, judge};
use muster_core::journal::{Authority, Open};
use muster_core::plan::{Input, plan};
use muster_core::rooms::{self, Desired, Policy, Question};
use muster_core::step::Step;
use muster_core::time::Time;
use muster_core::turn::Turn;
use muster_core::world::{Unwatched, World as _};
use muster_host::{Host, HostSettings};

const NOW: Time = Time(1_795_305_600);

fn cpu() -> Duration {
    let used = nix::sys::resource::getrusage(nix::sys::resource::UsageWho::RUSAGE_SELF)
        .expect("a process has usage");
    let time = |it: nix::sys::time::TimeVal| {
        Duration::new(
            it.tv_sec().unsigned_abs(),
            u32::try_from(it.tv_usec()).unwrap_or(0) * 1_000,
        )
    };
    time(used.user_time()) + time(used.system_time())
}

fn measured<T>(what: &str, work: impl FnOnce() -> T) -> T {
    let (wall, before) = (Instant::now(), cpu());
    let result = work();
    println!(
        "{what:44} {:9.1} ms wall {:9.1} ms CPU",
        wall.elapsed().as_secs_f64() * 1e3,
        (cpu() - before).as_secs_f64() * 1e3
    );
    result
}

fn main() {
    let base: PathBuf = std::env::args_os()
        .nth(1)
        .map_or_else(std::env::temp_dir, PathBuf::from);
    for (people, homes) in [(1_000, true), (1_000, false), (10_000, true)] {
        let directory = base.join(format!("host-batch.{}", std::process::id()));
        onboard(&directory, people, homes);
        std::fs::remove_dir_all(&directory).expect("what was made can be removed");
    }
}

fn onboard(directory: &Path, people: usize, homes: bool) {
    let root = directory.join("root");
    let put = |path: &str, text: &str| {
        let path = root.join(path);
        std::fs::create_dir_all(path.parent().expect("a file has a directory")).expect("made");
        std::fs::write(path, text).expect("written");
    };
    put("etc/passwd", "root:x:0:0:root:/root:/bin/bash\n");
    put("etc/shadow", "root:*:20000:0:99999:7:::\n");
    put("etc/group", "root:x:0:\nt3:x:996:\n");
    put("etc/gshadow", "root:*::\nt3:!::\n");
    put("etc/subuid", "");
    put("etc/subgid", "");
    for file in [".profile", ".bashrc", ".bash_logout"] {
        put(&format!("etc/skel/{file}"), &"# line\n".repeat(100));
    }
    put("home/.keep", "");
    put("bin/zsh", "");
    std::fs::set_permissions(
        root.join("bin/zsh"),
        std::os::unix::fs::PermissionsExt::from_mode(0o755),
    )
    .expect("set");
    put(
        "usr/lib/systemd/system/t3@.service",
        "[Install]\nWantedBy=multi-user.target\n",
    );
    let mut policy = policy::Policy::for_host("devvm");
    policy.units = vec!["t3@.service".into()];
    policy.service_group = Some("t3".into());
    policy.families = vec![PortFamily {
        name: "t3".into(),
        first: 3_773,
        last: 65_000,
    }];
    policy.environment = true;
    policy.aggregates = Aggregate::ALL.into();
    let mut settings = HostSettings::new(&root, &directory.join("saved"));
    settings.units.clone_from(&policy.units);
    settings.environment = Some("/etc/muster/env/{user}.env".into());
    settings.aggregates = Aggregate::ALL
        .map(|file| (file, format!("/etc/{}", file.word())))
        .into();
    let policy = policy.into();
    let mut host = Host::open(settings).expect("a host");
    let commit: CommitId = "1".repeat(40).parse().expect("forty digits");
    let mut facts = Facts::genesis(
        &"0".repeat(32),
        Executor::Host("devvm".into()),
        commit.clone(),
        NOW,
    );
    let desired = desired(people, &policy);
    println!("{people} people{}", if homes { "" } else { ", no homes" });
    let observed = host
        .observe(&rooms::question_of_plan(&desired, &facts.known))
        .expect("observed");
    let plan = plan(&Input {
        policy: &policy,
        commit: &commit,
        today: NOW.date(),
        desired: &desired,
        observed: &observed,
        facts: &facts,
    });
    let bounds = plan.bounds(&policy, &observed, &facts, NOW);
    let (batches, _) = judge(&plan, &bounds, &facts, &Approvals::none(), NOW).into_batches();
    for batch in batches {
        let turn = batch.turn();
        if turn == Turn::Homes && !homes {
            continue;
        }
        let files = plan.material(batch.steps(), &observed);
        let intent = batch
            .intend(&commit, NOW, files, |_| Ok::<(), ()>(()))
            .expect("recorded");
        let steps: Vec<Arc<Step>> = intent.steps().cloned().collect();
        let complaints = measured(&format!("  act: {turn:?}, {} steps", steps.len()), || {
            host.act(&intent, &mut Unwatched)
        });
        assert!(complaints.expect("acted").is_empty());
        let results = steps
            .iter()
            .map(|_| muster_core::journal::StepResult::Done)
            .collect();
        facts.apply(
            &muster_core::journal::Entry::Outcome { at: NOW, results },
            Some(&Open {
                steps: steps.clone(),
                authority: Authority::Benign {
                    commit: commit.clone(),
                },
            }),
        );
        assert!(
            !steps
                .iter()
                .any(|it| matches!(it.action.account(), Some(Action::ArchiveDelete { .. })))
        );
    }
    let Question::Accounts(mut question) = rooms::question_of_plan(&desired, &facts.known) else {
        panic!("a host is asked of accounts")
    };
    let none = Parts::NONE;
    for (what, parts) in [
        ("all parts, first time", Parts::ALL),
        (
            "accounts",
            Parts {
                accounts: true,
                ..none
            },
        ),
        (
            "homes",
            Parts {
                homes: true,
                ..none
            },
        ),
        (
            "files",
            Parts {
                files: true,
                ..none
            },
        ),
        (
            "units",
            Parts {
                units: true,
                ..none
            },
        ),
    ] {
        question.parts = parts;
        let question = question.clone().into();
        measured(&format!("  observe: {what}"), || host.observe(&question)).expect("observed");
    }
    std::thread::sleep(Duration::from_secs(3));
    question.parts = Parts::ALL;
    let question = question.into();
    for _ in 0..3 {
        measured("  observe: all parts, files settled", || {
            host.observe(&question)
        })
        .expect("observed");
    }
}

fn desired(people: usize, policy: &Policy) -> Desired {
    let mut text = String::from("users:\n");
    for n in 0..people {
        writeln!(
            text,
            "  u{n}: {{authentik_user: u.{n}, k8s_user: k{n}, tier: power-user}}"
        )
        .expect("a String");
    }
    let files = BTreeMap::from([("roster.yaml".to_owned(), text.into_bytes())]);
    let (repo, _) = rooms::read_whole(&files, &[]).expect("a roster");
    rooms::desired(&repo, policy, NOW.date())
}
