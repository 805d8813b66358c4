//! Tells a story from a script: lines after `> ` are what happens, the lines below each are what came of it.
//!
//! | line | what happens |
//! |---|---|
//! | `> commit [BRANCH]` | the indented lines below become `roster.yaml` on a branch (main when not named) |
//! | `> land BRANCH` | the branch is merged into main |
//! | `> rewrite` | main is force-pushed to the indented lines |
//! | `> day YYYY-MM-DD` | the day on which what follows happens |
//! | `> by hand WHAT` | somebody changes the host behind muster's back; see `by_hand` |
//! | `> declare KIND` | the host's settings declare a kind of privileged step benign |
//! | `> trust NAME…` | the host trusts operational keys of these people, and a recovery key of ivo |
//! | `> release NAME VERB…` | NAME signs a release of what the last cycle held of these verbs (all, without) |
//! | `> cosign NAME` | NAME signs the last release too |
//! | `> delete release` | the tags of the last release are deleted |
//! | `> reset NAME` | NAME signs leave to follow main, whatever it descends from |
//! | `> set the clock back HOURS` | the machine's clock shows that many hours less, from here on |
//! | `> cycle` | a process starts, runs one cycle, and ends |
//! | `> crash N before\|after` | as `cycle`, but the power goes out at effect N |
//! | `> plan BRANCH` | what was told on the branch's head |
//! | `> outcome` | what was told on the head of main |
//! | `> host` | the accounts as they are |
//!
//! Every story ends with a cycle that changes nothing; the runner adds it.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::sync::Arc;

use muster::cycle::CycleSummary;
use muster_core::accounts::facts::IdRange;
use muster_core::accounts::policy::{self, Aggregate, PortFamily};
use muster_core::accounts::verbs::Verb;
use muster_core::journal::StepResult;
use muster_core::release::reset::Reset;
use muster_core::release::statement::Statement;
use muster_core::release::{Nonce, ObjectKind};
use muster_core::rooms::Policy;
use muster_core::step::Step;
use muster_core::time::{Date, Time};
use muster_core::verb::Reach;
use muster_core::world::{Files, Topic};
use muster_sim::{Repository, Sim, SimHost, SimTraces, Timing};

use crate::of_host::{decided, verb};
use crate::signer::{self, Signer};

/// The policy of the workstation in every story.
pub fn policy() -> Policy {
    let mut policy = policy::Policy::for_host("devvm");
    policy.service_group = Some("t3".into());
    policy.units = vec!["t3-serve@.service".into()];
    policy.families = vec![
        PortFamily {
            name: "t3".into(),
            first: 3773,
            last: 3799,
        },
        PortFamily {
            name: "playwright".into(),
            first: 8931,
            last: 8999,
        },
    ];
    policy.environment = true;
    policy.aggregates = Aggregate::ALL.into();
    policy.into()
}

/// The files of a state repository that has only a roster.
pub fn roster(text: &str) -> Files {
    Files::from([("roster.yaml".to_owned(), text.as_bytes().to_vec())])
}

/// Noon of a day.
pub fn noon(day: Date) -> Time {
    let midnight = day
        .to_zoned(jiff_utc())
        .expect("a day in range")
        .timestamp()
        .as_second();
    Time(midnight + 43_200)
}

fn jiff_utc() -> jiff::tz::TimeZone {
    jiff::tz::TimeZone::UTC
}

/// A story under way.
struct Story {
    sim: Sim,
    policy: Policy,
    now: Time,
    /// What the last cycle held.
    held: Vec<Arc<Step>>,
    released: Option<Statement>,
    releases: u8,
}

/// Runs a script and returns it with what came of each line.
pub fn tell(script: &str) -> String {
    let now = noon("2026-11-22".parse().expect("a date"));
    let mut repository = Repository::default();
    repository.commit("main", roster("users: {}\n"));
    let sim = Sim::new(repository, SimHost::debian(), "devvm", now);
    let mut story = Story {
        sim,
        policy: policy(),
        now,
        held: Vec::new(),
        released: None,
        releases: 0,
    };
    let mut out = String::new();
    let mut lines = script.lines().peekable();
    while let Some(line) = lines.next() {
        if let Some(command) = line.strip_prefix("> ") {
            writeln!(out, "{line}").expect("a String takes everything");
            let mut body = String::new();
            while let Some(below) = lines.next_if(|it| it.starts_with("    ")) {
                writeln!(body, "{}", &below[4..]).expect("a String takes everything");
                writeln!(out, "{below}").expect("a String takes everything");
            }
            out.push_str(&story.happen(command, &body));
            while lines
                .next_if(|it| !it.starts_with("> ") && !it.starts_with('#'))
                .is_some()
            {}
            out.push('\n');
        } else if line.starts_with('#') {
            writeln!(out, "{line}").expect("a String takes everything");
        }
    }
    let last = story
        .sim
        .cycle(&story.policy, story.now)
        .expect("the last cycle of a story");
    assert!(
        last.is_quiet(),
        "one more cycle changed something: {:?}",
        last.ran
    );
    out
}

impl Story {
    fn happen(&mut self, command: &str, body: &str) -> String {
        let (word, rest) = command.split_once(' ').unwrap_or((command, ""));
        match word {
            "commit" => {
                let branch = if rest.is_empty() { "main" } else { rest };
                let commit = self
                    .sim
                    .with(|it| it.repository.commit(branch, roster(body)));
                format!("{} on {branch}\n", commit.short())
            }
            "land" => format!(
                "{} on main\n",
                self.sim.with(|it| it.repository.land(rest)).short()
            ),
            "rewrite" => {
                let commit = self
                    .sim
                    .with(|it| it.repository.force_push("main", roster(body)));
                format!("{} is main now\n", commit.short())
            }
            "day" => {
                self.now = noon(rest.parse().expect("a date"));
                String::new()
            }
            "by" => {
                self.sim.with(|it| {
                    by_hand(
                        &mut it.host,
                        rest.strip_prefix("hand ").expect("by hand WHAT"),
                    )
                });
                String::new()
            }
            "declare" => {
                let kind = Verb::ALL
                    .iter()
                    .find(|kind| kind.word() == rest && kind.row().reach == Reach::Declarable);
                decided(&mut self.policy)
                    .declared_benign
                    .insert(*kind.expect("a kind that can be declared"));
                String::new()
            }
            "trust" => {
                let names: Vec<&str> = rest.split(' ').collect();
                self.sim.with(|it| {
                    let version = it.trust.as_ref().map_or(1, |root| root.version + 1);
                    it.trust = Some(signer::root(version, &names));
                });
                String::new()
            }
            "release" => {
                let mut words = rest.split(' ');
                let who = words.next().expect("release NAME VERB…");
                let verbs: Vec<&str> = words.collect();
                let steps: Vec<Arc<Step>> = self
                    .held
                    .iter()
                    .filter(|it| verbs.is_empty() || verbs.contains(&verb(it).word()))
                    .cloned()
                    .collect();
                let commit = self.sim.facts().adopted;
                self.releases += 1;
                let statement = signer::statement(&steps, &commit, self.releases, self.now);
                self.released = Some(statement);
                self.sign(who)
            }
            "cosign" => self.sign(rest),
            "reset" => self.reset(rest),
            "set" => {
                let hours = rest
                    .strip_prefix("the clock back ")
                    .and_then(|it| it.parse::<i64>().ok());
                let hours = hours.expect("set the clock back HOURS");
                self.sim.with(|it| it.set_back = hours * 3_600);
                String::new()
            }
            "delete" => {
                let statement = self.released.as_ref().expect("a release");
                self.sim.with(|it| {
                    for name in NAMES {
                        let name = statement.tag_name(&Signer::named(name).blob);
                        it.repository.delete_tag(&name);
                    }
                });
                String::new()
            }
            "cycle" => match self.sim.cycle(&self.policy, self.now) {
                Ok(summary) => {
                    self.held = summary.held.iter().map(|it| it.step.clone()).collect();
                    show(&summary)
                }
                Err(error) => format!("error: {}\n", muster::cycle::chain(&error)),
            },
            "crash" => {
                let (at, timing) = rest.split_once(' ').expect("crash N before|after");
                let timing = if timing == "before" {
                    Timing::Before
                } else {
                    Timing::After
                };
                self.sim.with(|it| {
                    it.fuse.effects = 0;
                    it.fuse.blow = Some((at.parse().expect("a number"), timing));
                });
                let result = self.sim.cycle(&self.policy, self.now);
                self.sim.with(|it| it.fuse.blow = None);
                match result {
                    Ok(summary) => show(&summary),
                    Err(error) => format!("error: {}\n", muster::cycle::chain(&error)),
                }
            }
            "plan" => {
                let told = self.sim.with(|it| {
                    let head = it.repository.branch(rest).expect("a branch");
                    it.told.get(&(Topic::Plan, head)).cloned()
                });
                quote(&told.unwrap_or_else(|| "nothing was told".to_owned()))
            }
            "outcome" => {
                let told = self.sim.with(|it| {
                    let head = it.repository.head().expect("main");
                    let topics = [Topic::Outcome, Topic::Refusal];
                    topics
                        .iter()
                        .filter_map(|topic| it.told.get(&(*topic, head.clone())).cloned())
                        .collect::<String>()
                });
                quote(&told)
            }
            "host" => self.sim.with(|it| show_host(&it.host)),
            other => panic!("no such line in a story: {other}"),
        }
    }
}

impl Story {
    /// Pushes somebody's tag of the last release.
    fn sign(&mut self, who: &str) -> String {
        let statement = self.released.as_ref().expect("a release");
        let (name, raw) = Signer::named(who).release(statement);
        self.sim
            .with(|it| it.repository.push_tag(&name, ObjectKind::Tag, raw));
        let steps = statement.steps();
        format!("{name}: {steps} steps, signed by {who}\n")
    }
}

impl Story {
    /// Pushes a reset from the adopted commit to the head of main.
    fn reset(&mut self, who: &str) -> String {
        self.releases += 1;
        let reset = Reset {
            repo: signer::REPO,
            old: self.sim.facts().adopted,
            new: self.sim.with(|it| it.repository.head()).expect("main"),
            nonce: Nonce([self.releases; 16]),
            not_before: self.now,
            not_after: self.now.plus(86_400),
            reason: "a story".into(),
        };
        let signer = Signer::named(who);
        let name = reset.tag_name(&signer.blob);
        let raw = signer.tag(&reset.new, &name, &reset.render(), self.now);
        self.sim
            .with(|it| it.repository.push_tag(&name, ObjectKind::Tag, raw));
        format!("{name}: signed by {who}\n")
    }
}

/// Who signs in stories.
const NAMES: [&str; 4] = ["emo", "ema", "ivo", "eve"];

fn quote(text: &str) -> String {
    text.lines()
        .map(|line| format!("| {line}").trim_end().to_owned() + "\n")
        .collect()
}

/// What somebody does behind muster's back: `add NAME UID`, `join NAME GROUP`, `login NAME`, `fail NAME WHY`,
/// `mend NAME`, `remove-shell SHELL`, `chsh NAME SHELL`, `passwd NAME FIELD`, `userdel NAME`, `stop NAME`.
fn by_hand(host: &mut SimHost, what: &str) {
    let words: Vec<&str> = what.split(' ').collect();
    match words[..] {
        ["add", name, uid] => host.add_account(name, uid.parse().expect("a uid"), "/bin/bash"),
        ["join", name, group] => {
            host.groups
                .get_mut(group)
                .expect("a group")
                .1
                .insert(name.to_owned());
        }
        ["login", name] => {
            let left = SimTraces {
                linger: true,
                keys: Some("ssh-ed25519 AAAA".into()),
                crontab: Some("@daily true".into()),
                processes: 3,
            };
            host.traces.insert(name.to_owned(), left);
        }
        ["fail", name, ..] => {
            host.broken.insert(name.to_owned(), words[2..].join(" "));
        }
        ["mend", name] => {
            host.broken.remove(name);
        }
        ["remove-shell", shell] => {
            host.shells.remove(shell);
        }
        ["chsh", name, shell] => {
            host.accounts.get_mut(name).expect("an account").shell = shell.to_owned()
        }
        ["passwd", name, field] => {
            host.accounts.get_mut(name).expect("an account").password = field.to_owned()
        }
        ["userdel", name] => {
            host.accounts.remove(name);
            host.groups.values_mut().for_each(|(_, members)| {
                members.remove(name);
            });
        }
        ["stop", name] => {
            host.units.remove(&format!("t3-serve@{name}.service"));
        }
        _ => panic!("nobody knows how to do that by hand: {what}"),
    }
}

fn show(summary: &CycleSummary) -> String {
    let mut out = String::new();
    let mut line = |text: String| writeln!(out, "{text}").expect("a String takes everything");
    for (step, result) in &summary.recovered {
        line(format!("recovered: {} ({})", step.words(), word(result)));
    }
    for (step, result) in &summary.ran {
        match result {
            StepResult::Done => line(format!("did: {}", step.words())),
            other => line(format!("{}: {}", word(other), step.words())),
        }
    }
    for held in &summary.held {
        line(format!("held: {} [{}]", held.step.words(), held.reason));
    }
    for note in &summary.notes {
        line(format!("note: {note}"));
    }
    for release in &summary.releases {
        line(format!("release: {release}"));
    }
    for it in &summary.unauthenticated {
        line(format!("tag: {}: {}", it.name, it.refusal));
    }
    for warning in &summary.warnings {
        line(format!("warning: {warning}"));
    }
    if let Some(attempted) = &summary.attempted {
        line(format!(
            "not adopted: {}: {}",
            attempted.commit.short(),
            attempted.problem
        ));
    }
    if let Some(frozen) = &summary.frozen {
        line(format!("frozen: {frozen}"));
    }
    if out.is_empty() {
        out.push_str("nothing to change\n");
    }
    out
}

fn word(result: &StepResult) -> String {
    match result {
        StepResult::Done => "done".to_owned(),
        StepResult::NotBegun => "not begun".to_owned(),
        StepResult::Failed(reason) => format!("failed ({reason})"),
        StepResult::Unfinished(reason) => format!("begun ({reason})"),
        StepResult::NeedsOperator(reason) => format!("needs operator ({reason})"),
        StepResult::Overtaken(how) => format!("done, and changed since ({how})"),
    }
}

fn show_host(host: &SimHost) -> String {
    let mut out = String::new();
    let mut groups: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
    for (group, (_, members)) in &host.groups {
        for member in members {
            groups.entry(member).or_default().push(group);
        }
    }
    for (name, it) in host.accounts.iter().filter(|(_, it)| it.uid >= 1_000) {
        let range = it
            .ranges
            .0
            .map(|IdRange { first, count }| format!(" subuid={first}+{count}"))
            .unwrap_or_default();
        let expired = it.expires.map(|_| " expired").unwrap_or_default();
        let groups = groups
            .get(name.as_str())
            .map(|it| format!(" groups={}", it.join(",")))
            .unwrap_or_default();
        writeln!(
            out,
            "{name} uid={} shell={} password={}{expired}{range}{groups}",
            it.uid, it.shell, it.password
        )
        .expect("a String takes everything");
    }
    for (unit, state) in host.units.iter().filter(|(_, it)| it.enabled || it.active) {
        writeln!(
            out,
            "{unit} enabled={} active={}",
            state.enabled, state.active
        )
        .expect("a String takes everything");
    }
    for (file, text) in &host.files {
        writeln!(out, "{}:", file.word()).expect("a String takes everything");
        for line in text.lines().filter(|line| !line.starts_with('#')) {
            writeln!(out, "  {line}").expect("a String takes everything");
        }
    }
    out
}
