//! What the parts of a cycle cost, in process.
//!
//! ```text
//! cargo bench --package muster-tests                 every part
//! cargo bench --package muster-tests -- plan roster  those whose names contain one of the words
//! ```
//!
//! Prints the median CPU and wall time of several runs. `tests/bench/bench` measures the whole program beside its peers.
//! Run without `--bench`, as `cargo test --all-targets` does, each part runs once on a hundred people: it works.

use std::collections::BTreeMap;
use std::error::Error;
use std::fmt::Write as _;
use std::fs;
use std::hint::black_box;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Instant;

use muster::daemon::{Cycle as _, Health, Why};
use muster::executors::{Console, OpenedExecutor, Worker, host};
use muster::journal::Journal;
use muster::settings::{self, Ambient};
use muster_core::accounts::desired;
use muster_core::accounts::observed::{self, Accounts, Person, Units};
use muster_core::accounts::policy::{self, Aggregate, PortFamily};
use muster_core::commit::CommitId;
use muster_core::executor::Executor as Name;
use muster_core::facts::Facts;
use muster_core::gate::{Approvals, judge};
use muster_core::journal::Entry;
use muster_core::ledger::Through;
use muster_core::plan::{Input, Plan, plan};
use muster_core::reading::Reading;
use muster_core::release::root::{Quorums, Role, TrustRoot, TrustedKey};
use muster_core::release::statement::{Line, Statement};
use muster_core::release::{Nonce, ObjectKind, RepoId, authenticate};
use muster_core::report::{self, Audience, CommitContext, FORGE_LIMIT, Host, Paper, Proposal};
use muster_core::rooms::{self, Desired, Observed, Policy};
use muster_core::time::{Date, Time};
use muster_core::world::{Files, Journal as _};
use muster_core::{compat, repo};
use muster_host::accounts::{Aging, Locked, NewAccount, free_ids};
use muster_host::root::{Ownership, RootDir};
use nix::sys::resource::{UsageWho, getrusage};

type Result<T> = std::result::Result<T, Box<dyn Error>>;

const NOW: Time = Time(1_795_000_000);

fn main() -> Result<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let bench = Bench {
        is_real: arguments.iter().any(|it| it == "--bench"),
        words: arguments
            .into_iter()
            .filter(|it| !it.starts_with('-'))
            .collect(),
    };
    bench.rosters()?;
    bench.plans()?;
    bench.million()?;
    bench.derivation()?;
    bench.databases()?;
    bench.journal()?;
    bench.releases()?;
    bench.cycles()
}

/// Which parts run, and how large.
struct Bench {
    is_real: bool,
    words: Vec<String>,
}

impl Bench {
    fn wants(&self, part: &str) -> bool {
        self.words.is_empty() || self.words.iter().any(|it| part.contains(it.as_str()))
    }

    fn people(&self, count: usize) -> usize {
        if self.is_real { count } else { 100 }
    }

    /// Runs `work` on what `prepare` makes, `runs` times, and prints the medians.
    fn measure<P, T>(
        &self,
        part: &str,
        runs: usize,
        mut prepare: impl FnMut() -> Result<P>,
        mut work: impl FnMut(P) -> Result<T>,
    ) -> Result<()> {
        if !self.wants(part) {
            return Ok(());
        }
        let runs = if self.is_real { runs } else { 1 };
        let (mut cpus, mut walls) = (Vec::new(), Vec::new());
        for _ in 0..runs {
            let prepared = prepare()?;
            let (began, before) = (Instant::now(), cpu_ms()?);
            let made = black_box(work(prepared)?);
            cpus.push(cpu_ms()? - before);
            walls.push(began.elapsed().as_secs_f64() * 1e3);
            drop(made);
        }
        let (cpu, wall) = (median(&mut cpus), median(&mut walls));
        println!("{part:44} {cpu:10.3} ms CPU {wall:10.3} ms wall  n={runs}");
        Ok(())
    }

    fn rosters(&self) -> Result<()> {
        for (part, count) in [
            ("roster, 10,000 people", 10_000),
            ("roster, 100,000 people", 100_000),
            ("roster, 1,000,000 people", 1_000_000),
        ] {
            if self.wants(part) {
                let files = state(&roster(self.people(count)));
                self.measure(part, 5, || Ok(()), |()| Ok(people_of(&read(&files)?).len()))?;
            }
        }
        Ok(())
    }

    fn plans(&self) -> Result<()> {
        if !self.wants("plan") {
            return Ok(());
        }
        let files = state(&roster(self.people(10_000)));
        let desired = read(&files)?;
        for (with, policy) in [("", plain()), (", instances", with_instances())] {
            let world = World::empty(&policy, &desired);
            self.measure(
                &format!("plan, 10,000 creates{with}"),
                9,
                || Ok(()),
                |()| Ok(world.plan(&policy, &desired)),
            )?;
            self.measure(
                &format!("plan, judge and render, 10,000 creates{with}"),
                9,
                || Ok(()),
                |()| {
                    let plan = world.plan(&policy, &desired);
                    let bounds = plan.bounds(&policy, &world.observed, &world.facts, NOW);
                    let verdict = judge(&plan, &bounds, &world.facts, &Approvals::none(), NOW);
                    let hosts = [Host {
                        executor: policy.executor(),
                        plan: &plan,
                        verdict: &verdict,
                        base: None,
                        read: report::ReadAt::Live,
                    }];
                    let commit = commit();
                    let about = CommitContext {
                        head: &commit,
                        protected: &commit,
                        branch: None,
                        today: NOW.date(),
                        audience: Audience::Team,
                        full: None,
                        operator: None,
                    };
                    let proposal = Proposal::Planned {
                        hosts: &hosts,
                        unknown: &[],
                        warnings: &[],
                    };
                    let comment = report::comment(&about, &proposal, FORGE_LIMIT);
                    Ok(report::text(&hosts, Paper::PLAIN).len() + comment.pages.len())
                },
            )?;
        }
        Ok(())
    }

    fn million(&self) -> Result<()> {
        let part = "million people, read and planned for 10,000";
        if !self.wants(part) {
            return Ok(());
        }
        let mut files = state(&roster(self.people(1_000_000)));
        files.insert("hosts/bench.yaml".to_owned(), b"admits: [admin]\n".to_vec());
        let policy = plain();
        let world = World::empty(&policy, &read(&files)?);
        self.measure(
            part,
            5,
            || Ok(()),
            |()| Ok(world.plan(&policy, &read(&files)?)),
        )
    }

    fn derivation(&self) -> Result<()> {
        let part = "derive, 60,000 people";
        if !self.wants(part) {
            return Ok(());
        }
        let text = roster(self.people(60_000));
        self.measure(
            part,
            5,
            || Ok(()),
            |()| {
                let people = match repo::read_roster("roster.yaml", text.as_bytes()) {
                    Ok((people, _)) => people,
                    Err(faults) => return Err(faults.to_string().into()),
                };
                let mut out = String::new();
                compat::derive(&people, b"{}", &mut out)?;
                Ok(out)
            },
        )
    }

    fn databases(&self) -> Result<()> {
        for (part, there, more) in [
            ("databases, 1,000 into none", 0, 1_000),
            ("databases, 20 into 10,000", 10_000, 20),
        ] {
            let prepare = || {
                let scratch = tempfile::tempdir()?;
                write_databases(scratch.path())?;
                if there > 0 {
                    add_accounts(scratch.path(), self.people(there))?;
                }
                Ok(scratch)
            };
            self.measure(part, 5, prepare, |scratch| {
                add_accounts(scratch.path(), more)?;
                Ok(scratch)
            })?;
        }
        Ok(())
    }

    fn journal(&self) -> Result<()> {
        let scratch = tempfile::tempdir()?;
        let genesis = Entry::Genesis {
            at: NOW,
            executor_id: "0".repeat(32),
            name: "bench".to_owned(),
            adopt: commit(),
        };
        let mut journal = Journal::create(scratch.path(), &Through::default(), &genesis)?;
        let entry = Entry::Adopted {
            at: NOW,
            commit: commit(),
        };
        self.measure(
            "journal, one entry",
            50,
            || Ok(()),
            |()| Ok(journal.append(&entry)?),
        )
    }

    /// Cycles over a scratch root whose accounts, homes, journal, ledger and state repository are real.
    /// Is somebody entitled to what this tag asks for? A hundred times each, good ones and bad.
    fn releases(&self) -> Result<()> {
        const TIMES: usize = 100;
        for (part, steps) in [("release, 1 step", 1), ("release, 8,192 steps", 8_192)] {
            let (ref_name, good, root) = release(self.people(steps))?;
            let mut forged = good.clone();
            let tagger = good.windows(4).position(|it| it == b" <e@");
            forged[tagger.ok_or("no tagger")? - 1] ^= 1;
            for (what, raw) in [("good", &good), ("forged", &forged)] {
                self.measure(
                    &format!("{part}, {what}, {TIMES} times"),
                    20,
                    || Ok(()),
                    |()| {
                        let mut taken = 0;
                        for _ in 0..TIMES {
                            let raw = black_box(raw);
                            let judged =
                                authenticate(&ref_name, ObjectKind::Tag, raw, Some(&root), NOW);
                            taken += usize::from(judged.is_ok());
                        }
                        if taken != if what == "good" { TIMES } else { 0 } {
                            return Err(format!("{taken} of {TIMES} {what} releases taken").into());
                        }
                        Ok(())
                    },
                )?;
            }
        }
        Ok(())
    }

    fn cycles(&self) -> Result<()> {
        if !self.wants("cycle") && !self.wants("tick") {
            return Ok(());
        }
        if !nix::unistd::geteuid().is_root() {
            println!("cycle, tick: passed over, since accounts of many owners are made");
            return Ok(());
        }
        let scratch = tempfile::tempdir()?;
        let config = keep(scratch.path(), self.people(10_000))?;
        let mut executor = assemble(&config)?;
        for _ in 0..2 {
            let summary = executor.run(Why::Started, &|| false);
            if summary.health != Health::Well {
                return Err(summary.line.into());
            }
        }
        self.measure(
            "cycle, 10,000 accounts, nothing to do",
            9,
            || Ok(()),
            |()| Ok(executor.run(Why::Drift, &|| false)),
        )?;
        const LOOKS: usize = 1_000;
        self.measure(
            "tick, idle (1,000 of them)",
            9,
            || Ok(()),
            |()| {
                let moved = (0..LOOKS).filter(|_| executor.has_moved()).count();
                if moved > 0 {
                    return Err("something moved".into());
                }
                Ok(moved)
            },
        )
    }
}

fn median(numbers: &mut [f64]) -> f64 {
    numbers.sort_by(f64::total_cmp);
    numbers[numbers.len() / 2]
}

fn cpu_ms() -> Result<f64> {
    let usage = getrusage(UsageWho::RUSAGE_SELF)?;
    Ok([usage.user_time(), usage.system_time()]
        .iter()
        .map(|time| time.tv_sec() as f64 * 1e3 + time.tv_usec() as f64 / 1e3)
        .sum())
}

// ── made-up people ──────────────────────────────────────────────────────────────────────────────────────────────────

/// One in a hundred is an admin, nine are power users, the rest own namespaces.
fn roster(people: usize) -> String {
    let mut out = "users:\n".to_owned();
    for index in 0..people {
        let tier = match index % 100 {
            0 => "admin",
            1..10 => "power-user",
            _ => "namespace-owner",
        };
        write!(
            out,
            "  user{index:07}:\n    authentik_user: user{index:07}@example.com\n    \
             k8s_user: user{index:07}@example.com\n    tier: {tier}\n"
        )
        .expect("a String takes everything");
        if tier == "namespace-owner" {
            writeln!(out, "    namespaces:\n      - ns-{index}")
                .expect("a String takes everything");
        }
    }
    out
}

fn state(roster: &str) -> Files {
    Files::from([("roster.yaml".to_owned(), roster.as_bytes().to_vec())])
}

fn read(files: &Files) -> Result<Desired> {
    match rooms::read_whole(files, &[]) {
        Ok((state, _)) => Ok(rooms::desired(&state, &plain(), today())),
        Err(faults) => Err(faults.to_string().into()),
    }
}

fn people_of(desired: &Desired) -> &BTreeMap<String, Box<desired::Wanted>> {
    &desired.accounts().expect("a host's").people
}

fn today() -> Date {
    NOW.date()
}

fn commit() -> CommitId {
    "a".repeat(40).parse().expect("forty hex digits")
}

fn plain() -> Policy {
    policy::Policy::for_host("bench").into()
}

fn with_instances() -> Policy {
    let policy = policy::Policy {
        units: vec!["t3-serve@.service".to_owned()],
        environment: true,
        aggregates: Aggregate::ALL.into(),
        families: vec![
            PortFamily {
                name: "t3".to_owned(),
                first: 3_773,
                last: 33_772,
            },
            PortFamily {
                name: "playwright".to_owned(),
                first: 33_773,
                last: 65_535,
            },
        ],
        ..policy::Policy::for_host("bench")
    };
    policy.into()
}

/// A host as it was read, and what is known of it.
struct World {
    observed: Observed,
    facts: Facts,
    commit: CommitId,
}

impl World {
    /// A host with groups and shells, and nobody on it.
    fn empty(policy: &Policy, desired: &Desired) -> Self {
        let policy = policy.accounts().expect("a host's");
        let people = people_of(desired);
        let mut accounts = Accounts {
            groups: ["sudo", "docker", "code-shared"]
                .into_iter()
                .zip(27..)
                .map(|(group, gid)| (group.to_owned(), gid))
                .collect(),
            shells: people.values().map(|it| it.grant.shell.clone()).collect(),
            ..Accounts::default()
        };
        // 10,000 ranges of the usual size are more than there are.
        accounts.defaults.subuids.2 = 0;
        accounts.defaults.subgids.2 = 0;
        let nobody_yet = Person {
            home: Reading::Known(muster_core::accounts::observed::Home::Absent),
            traces: None,
            kept: None,
        };
        let observed = observed::Observed {
            accounts: Reading::Known(accounts),
            people: people
                .keys()
                .map(|user| (user.clone(), nobody_yet.clone()))
                .collect(),
            environments: Reading::Known(BTreeMap::new()),
            cluster_tiers: None,
            aggregates: policy
                .aggregates
                .iter()
                .map(|file| (*file, Reading::Known(BTreeMap::new())))
                .collect(),
            units: Reading::Known(Units {
                templates: policy.units.iter().cloned().collect(),
                ..Units::default()
            }),
        };
        Self {
            observed: observed.into(),
            facts: Facts::genesis(&"0".repeat(32), Name::Host("bench".into()), commit(), NOW),
            commit: commit(),
        }
    }

    fn plan(&self, policy: &Policy, desired: &Desired) -> Plan {
        plan(&Input {
            policy,
            commit: &self.commit,
            today: today(),
            desired,
            observed: &self.observed,
            facts: &self.facts,
        })
    }
}

// ── made-up hosts ───────────────────────────────────────────────────────────────────────────────────────────────────

fn write_databases(root: &Path) -> Result<()> {
    let etc = root.join("etc");
    fs::create_dir_all(&etc)?;
    for (name, text) in [
        ("passwd", "root:x:0:0:root:/root:/bin/bash\n"),
        ("shadow", "root:*:19000:0:99999:7:::\n"),
        (
            "group",
            "root:x:0:\nsudo:x:27:\ndocker:x:900:\ncode-shared:x:901:\n",
        ),
        (
            "gshadow",
            "root:*::\nsudo:*::\ndocker:!::\ncode-shared:!::\n",
        ),
        ("subuid", ""),
        ("subgid", ""),
        ("login.defs", "SUB_UID_COUNT 0\nSUB_GID_COUNT 0\n"),
    ] {
        fs::write(etc.join(name), text)?;
    }
    Ok(())
}

fn add_accounts(root: &Path, count: usize) -> Result<()> {
    let aging = Aging {
        min: Some(0),
        max: Some(99_999),
        warn: Some(7),
        inactive: None,
        expire: None,
    };
    let root = RootDir::open(root, Ownership::Recorded)?;
    let locked = Locked::take(&root, Locked::WAIT)?;
    let mut databases = locked.read()?;
    let uids: Vec<u32> = free_ids(1_000..=60_000, databases.uids_in_use())
        .take(count)
        .collect();
    for uid in uids {
        let name = format!("user{uid}");
        let account = NewAccount {
            primary: muster_host::accounts::PrimaryGroup::Own,
            name: &name,
            uid,
            gid: uid,
            gecos: "",
            home: &format!("/home/{name}"),
            shell: "/bin/zsh",
            subuids: None,
            subgids: None,
        };
        databases.create(&account, &aging, 20_000)?;
    }
    locked.commit(databases)?;
    Ok(())
}

/// A state repository, a root and settings below `dir`, initialised; returns the settings file.
fn keep(dir: &Path, people: usize) -> Result<PathBuf> {
    fs::set_permissions(dir, fs::Permissions::from_mode(0o755))?;
    let (root, tree) = (dir.join("root"), dir.join("tree"));
    write_databases(&root)?;
    for part in ["home", "bin"] {
        fs::create_dir(root.join(part))?;
    }
    let shell = root.join("bin/zsh");
    fs::write(&shell, "#!/bin/sh\n")?;
    fs::set_permissions(&shell, fs::Permissions::from_mode(0o755))?;
    fs::create_dir(&tree)?;
    fs::write(tree.join("roster.yaml"), roster(people))?;
    for arguments in [
        &["init", "--quiet", "--initial-branch=main"][..],
        &["add", "--all"],
        &[
            "-c",
            "user.name=bench",
            "-c",
            "user.email=bench@example.com",
            "commit",
            "--quiet",
            "--message=people",
        ],
    ] {
        let status = Command::new("git")
            .arg("-C")
            .arg(&tree)
            .args(arguments)
            .status()?;
        if !status.success() {
            return Err(format!("git {}: {status}", arguments[0]).into());
        }
    }
    let config = dir.join("muster.toml");
    fs::write(
        &config,
        format!(
            "[state]\nurl = \"{}\"\ndir = \"{}\"\n[host]\nname = \"bench\"\nroot = \"{}\"\n[report]\nnotes = false\n",
            tree.display(),
            dir.join("state").display(),
            root.display()
        ),
    )?;
    fs::set_permissions(&config, fs::Permissions::from_mode(0o600))?;
    let words = [
        "muster".into(),
        "--config".into(),
        config.clone().into_os_string(),
        "init".into(),
        "--yes".into(),
    ];
    match muster::commands::main(words.into_iter()) {
        0 => Ok(config),
        code => Err(format!("muster init: exit {code}").into()),
    }
}

fn assemble(config: &Path) -> Result<Worker<muster_host::Host>> {
    let settings = settings::load(config, &Ambient::ask())?;
    let [here] = settings.executors().try_into().map_err(|_| "one host")?;
    let (opened, _lock) = OpenedExecutor::open(&here, NOW)?;
    let kept = host::keep(&settings, &opened.state, &opened.opened.replayed.facts)?;
    let console = Console::Log;
    Ok(Worker::assemble(&settings, opened, kept, console, || NOW)?)
}

/// A release of so many steps, made by git and OpenSSH: its ref, its bytes, and the root that trusts its key.
fn release(steps: usize) -> Result<(String, Vec<u8>, TrustRoot)> {
    let scratch = tempfile::tempdir()?;
    let dir = scratch.path();
    let run = |program: &str, arguments: &[&str]| -> Result<Vec<u8>> {
        let output = Command::new(program)
            .current_dir(dir)
            .env_clear()
            .env("PATH", std::env::var_os("PATH").unwrap_or_default())
            .env("HOME", dir)
            .args(arguments)
            .output()?;
        if !output.status.success() {
            return Err(String::from_utf8_lossy(&output.stderr).into_owned().into());
        }
        Ok(output.stdout)
    };
    run(
        "ssh-keygen",
        &["-q", "-t", "ed25519", "-N", "", "-f", "key"],
    )?;
    let public = fs::read_to_string(dir.join("key.pub"))?;
    let words: Vec<&str> = public.split_whitespace().take(2).collect();
    let key = TrustedKey {
        principal: "emo".into(),
        role: Role::Operational,
        key: words.join(" ").parse()?,
        not_before: None,
        not_after: None,
        verify_required: Default::default(),
        comment: String::new(),
    };
    run("git", &["init", "--quiet", "."])?;
    for (name, value) in [
        ("user.name", "Emo"),
        ("user.email", "e@example.org"),
        ("user.signingKey", "key"),
        ("gpg.format", "ssh"),
    ] {
        run("git", &["config", name, value])?;
    }
    run(
        "git",
        &["commit", "--quiet", "--allow-empty", "--message=x"],
    )?;
    let commit = String::from_utf8(run("git", &["rev-parse", "HEAD"])?)?;
    let lines: std::result::Result<Vec<Line>, _> = (0..steps)
        .map(|at| {
            Ok::<_, muster_core::id::NotAStepId>(Line {
                id: format!("{at:032x}").parse()?,
                words: format!(
                    "user.archive_delete p{at} home=/home/p{at} uid={}",
                    1_000 + at
                ),
            })
        })
        .collect();
    let statement = Statement {
        repo: RepoId([1; 16]),
        commit: commit.trim().parse()?,
        nonce: Nonce([2; 16]),
        not_before: NOW,
        not_after: NOW.plus(3_600),
        reason: "bench".into(),
        blocks: [("host/devvm".to_owned(), lines?)].into(),
    };
    fs::write(dir.join("statement"), statement.render())?;
    let name = statement.tag_name(key.key.blob());
    run("git", &["tag", "-s", "-F", "statement", &name])?;
    let raw = run("git", &["cat-file", "tag", &name])?;
    let root = TrustRoot {
        version: 1,
        repo: RepoId([1; 16]),
        quorums: Quorums::default(),
        keys: vec![key],
        revoked: Default::default(),
    };
    Ok((format!("refs/tags/{name}"), raw, root))
}
