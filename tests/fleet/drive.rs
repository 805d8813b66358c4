//! The game that `tests/fleet/test` lays the networks for: who is cut off and when is random, and the same for the same seed.
//!
//!     fleet NET STAND_IN DOOR FAKETIME WORK    how all networks begin, two ports, what fakes the time, a directory with the app's private key

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitCode};

use muster_tests::hub::network::{listen, path_of};
use muster_tests::hub::people::{Clone, Draft};
use muster_tests::hub::webhooks::Listener;
use muster_tests::hub::{Hub, Parts, Person, REPOSITORY};
use muster_tests::site::{Daemon, Ran, Site, hermetic, program, wait_until};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::Value;

const HOSTS: usize = 20;
const PROPOSALS: usize = 6;
/// So many hosts are named in a line of a comment.
const NAMED: usize = 5;
const LEDGER: &str = "acme/ledger";
/// Where git listens.
const GIT: (&str, u16) = ("10.77.0.1", 9_418);
/// Where bots reach the forge, each on its own loopback, and where they hear of it.
const FORGE: u16 = 8_080;
const WEBHOOKS: u16 = 8_472;

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [net, stand_in, door, faketime, work] = &arguments[..] else {
        panic!("fleet NET STAND_IN DOOR FAKETIME WORK");
    };
    let port = |text: &str| text.parse::<u16>().expect("a port");
    let mut fleet = Fleet::new(net, port(stand_in), port(door), faketime, Path::new(work));
    let played = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| play(&mut fleet)));
    if played.is_err() {
        fleet.check("the game was broken off", false);
        for name in ["bot-1", "bot-2"] {
            let log = fs::read_to_string(fleet.work.join(name).join("log")).unwrap_or_default();
            let lines: Vec<&str> = log.lines().collect();
            println!(
                "{name}:\n{}",
                lines[lines.len().saturating_sub(30)..].join("\n")
            );
        }
    }
    println!("{} passed, {} failed", fleet.passed, fleet.failed);
    fleet.end();
    // Returned, so that what the hosts are made of goes away with them.
    ExitCode::from(u8::from(fleet.failed > 0))
}

struct Fleet {
    net: String,
    hub: Hub,
    mira: Person,
    clone: Clone,
    hosts: Vec<Site>,
    daemons: Vec<Daemon>,
    bots: BTreeMap<String, Daemon>,
    git: Child,
    cut: BTreeSet<usize>,
    faketime: String,
    work: PathBuf,
    random: u64,
    passed: usize,
    failed: usize,
}

impl Fleet {
    fn new(net: &str, stand_in: u16, door: u16, faketime: &str, work: &Path) -> Self {
        let mira = Person::named("mira");
        let hub = Hub::new(Parts {
            stand_in,
            validator: None,
            people: vec![mira.clone()],
            secret: b"it is a secret to everybody",
            dir: &work.join("code"),
        });
        hub.open_door(listen(None, door));
        for bot in ["bot1", "bot2"] {
            hub.open_door(listen(Some(&format!("{net}-{bot}")), FORGE));
        }
        hub.code().create(LEDGER);
        // Whoever is in these networks may push there, and nowhere else.
        hub.code()
            .git(LEDGER, &["config", "daemon.receivepack", "true"]);
        let git = hub.code().serve(Some(&format!("{net}-git")), GIT.0, GIT.1);
        let clone = hub.clone_of(&mira, REPOSITORY, door, &work.join("mira"));
        let seed = std::env::var("SEED").ok().and_then(|it| it.parse().ok());
        let seed = seed.unwrap_or(20_261_126);
        println!("SEED={seed}");
        let fleet = Self {
            net: net.to_owned(),
            hub,
            mira,
            clone,
            hosts: Vec::new(),
            daemons: Vec::new(),
            bots: BTreeMap::new(),
            git,
            cut: BTreeSet::new(),
            faketime: faketime.to_owned(),
            work: work.to_owned(),
            random: seed,
            passed: 0,
            failed: 0,
        };
        fleet.time_is("+0");
        fleet
    }

    fn check(&mut self, what: &str, good: bool) {
        match good {
            true => self.passed += 1,
            false => {
                self.failed += 1;
                println!("FAILED: {what}");
            }
        }
    }

    /// A number below `limit`.
    fn dice(&mut self, limit: usize) -> usize {
        self.random ^= self.random << 13;
        self.random ^= self.random >> 7;
        self.random ^= self.random << 17;
        usize::try_from(self.random >> 33).unwrap_or(0) % limit
    }

    /// How far ahead of this machine's clock everybody's clock is, from now on.
    fn time_is(&self, ahead: &str) {
        let there = self.work.join("time");
        let beside = self.work.join("time.new");
        fs::write(&beside, format!("{ahead}\n")).expect("a time");
        fs::rename(beside, there).expect("a time");
    }

    /// Somebody on each host says that its clock is right: it has moved, and nothing but that clock says that time has passed.
    fn clocks_are_right(&self) {
        for (index, site) in self.hosts.iter().enumerate() {
            let muster = |args: &[&str]| {
                let mut muster = self.within(&format!("h{}", index + 1));
                muster.arg("--config").arg(site.path("muster.toml"));
                Ran::from(muster.args(args).output().expect("muster"))
            };
            // A daemon may not have seen yet that the time is another.
            wait_until("its clock is gone by", || {
                let _ = muster(&["clock", "accept", "--reason", "twenty minutes have passed"]).ok();
                let status = muster(&["status", "--format", "json"]);
                let status: Value = serde_json::from_str(&status.out).expect("a status");
                status["clock"]["matter"].is_null()
            });
        }
    }

    /// A program in one of the networks, with that time.
    fn within(&self, place: &str) -> Command {
        let network = format!("{}-{place}", self.net);
        let mut enter = hermetic("nsenter");
        enter
            .arg(format!("--net={}", path_of(&network).display()))
            .arg("env")
            .arg(format!("LD_PRELOAD={}", self.faketime))
            .arg(format!(
                "FAKETIME_TIMESTAMP_FILE={}",
                self.work.join("time").display()
            ))
            .args([
                "FAKETIME_CACHE_DURATION=1",
                "FAKETIME_DONT_FAKE_MONOTONIC=1",
                "FAKETIME_DONT_RESET=1",
                // Files are as old as they are.
                "NO_FAKE_STAT=1",
            ])
            .arg(program());
        enter
    }

    // ── hosts ────────────────────────────────────────────────────────────────────────────────────────────────────────

    fn url(repository: &str) -> String {
        format!("git://{}:{}/{repository}.git", GIT.0, GIT.1)
    }

    fn add_hosts(&mut self) {
        let mut keys = String::new();
        for n in 1..=HOSTS {
            let site = Site::bare(&format!(
                "[fleet]\nroles = [\"agent\"]\nledger = \"{}\"\n",
                Self::url(LEDGER)
            ));
            let local = format!("url = \"{}\"", site.path("origin").display());
            site.change_settings(&local, &format!("url = \"{}\"", Self::url(REPOSITORY)));
            site.change_settings("name = \"devvm\"", &format!("name = \"h{n}\""));
            site.change_settings("poll = \"1s\"", "poll = \"5s\"");
            let mut init = self.within(&format!("h{n}"));
            init.arg("--config").arg(site.path("muster.toml"));
            let ran = Ran::from(init.args(["init", "--yes"]).output().expect("muster")).ok();
            let key = ran.out.split("ssh-ed25519 ").nth(1).expect("a key");
            let key = key.split_whitespace().next().expect("a key");
            keys.push_str(&format!("host/h{n} ssh-ed25519 {key}\n"));
            self.hosts.push(site);
        }
        fs::write(self.work.join("hosts"), keys).expect("the keys");
    }

    fn hosts_begin(&mut self) {
        for (index, site) in self.hosts.iter().enumerate() {
            let mut muster = self.within(&format!("h{}", index + 1));
            muster
                .arg("--config")
                .arg(site.path("muster.toml"))
                .arg("run");
            self.daemons.push(Daemon::start(muster, &site.path("log")));
        }
    }

    fn link(&self, host: usize, state: &str) {
        let switch = format!("{}-switch", self.net);
        let port = format!("h{host}");
        let mut ip = Command::new("ip");
        let done = ip
            .args(["-n", &switch, "link", "set", &port, state])
            .status();
        assert!(done.expect("ip").success(), "{port} {state}");
    }

    fn cut_some(&mut self, most: usize) {
        for _ in 0..=self.dice(most) {
            let host = 1 + self.dice(HOSTS);
            if self.cut.insert(host) {
                self.link(host, "down");
            }
        }
        println!("cut off: {:?}", self.cut);
    }

    fn restore_some(&mut self) {
        for host in self.cut.clone() {
            if self.dice(2) == 0 {
                self.restore(host);
            }
        }
        println!("cut off: {:?}", self.cut);
    }

    fn restore(&mut self, host: usize) {
        self.cut.remove(&host);
        self.link(host, "up");
    }

    // ── bots ─────────────────────────────────────────────────────────────────────────────────────────────────────────

    fn bot_comes(&mut self, name: &str) {
        let place = name.replace('-', "");
        let dir = self.work.join(name);
        fs::create_dir_all(&dir).expect("a directory");
        let secret = |file: &str, bytes: &[u8]| {
            let path = dir.join(file);
            fs::write(&path, bytes).expect("a secret");
            fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).expect("its mode");
            path.display().to_string()
        };
        let webhooks = secret("webhook-secret", b"it is a secret to everybody\n");
        let key = secret(
            "app.pem",
            &fs::read(self.work.join("app.pem")).expect("a key"),
        );
        let settings = format!(
            "[state]\nurl = \"{}\"\ndir = \"{}\"\n\
             [fleet]\nroles = [\"bot\"]\nledger = \"{}\"\nhosts = \"{}\"\nname = \"{name}\"\n\
             [forge]\nkind = \"github\"\nurl = \"http://127.0.0.1:{FORGE}\"\nrepository = \"{REPOSITORY}\"\n\
             app = 99\napp_key = \"{key}\"\n\
             [http]\nlisten = \"127.0.0.1:{WEBHOOKS}\"\nwebhook_secret = \"{webhooks}\"\n",
            Self::url(REPOSITORY),
            dir.join("state").display(),
            Self::url(LEDGER),
            self.work.join("hosts").display(),
        );
        let config = dir.join("muster.toml");
        fs::write(&config, settings).expect("settings");
        let mut muster = self.within(&place);
        muster.arg("--config").arg(&config).arg("run");
        let bot = Daemon::start(muster, &dir.join("log"));
        self.bots.insert(name.to_owned(), bot);
    }

    /// Who leads, as the ledger repository has it.
    fn leader(&self) -> Option<String> {
        let code = self.hub.code();
        let there = code.git(LEDGER, &["for-each-ref", "refs/muster/bot/lease"]);
        if there.is_empty() {
            return None;
        }
        let lease = code.git(LEDGER, &["show", "refs/muster/bot/lease:lease.json"]);
        let lease: Value = serde_json::from_str(&lease).ok()?;
        Some(lease["holder"].as_str()?.to_owned())
    }

    /// Kills the bot that leads, and starts it again only once another one has told something.
    fn kill_leader(&mut self) -> Option<String> {
        let name = self.leader()?;
        let mut bot = self.bots.remove(&name)?;
        bot.signal(Signal::SIGKILL);
        let _ = bot.ended();
        println!("killed {name}");
        Some(name)
    }

    // ── people ───────────────────────────────────────────────────────────────────────────────────────────────────────

    /// Proposes that somebody comes; those of different numbers merge with one another.
    fn propose(&self, which: usize) -> u64 {
        let branch = format!("p{which}");
        // A branch of its own, from what is merged by now.
        self.clone.git(&["fetch", "--quiet", "origin"]);
        let roster = self.clone.git(&["show", "origin/main:roster.yaml"]);
        let anchor = format!("  # {which}\n");
        let row = format!(
            "{anchor}  p{which}: {{authentik_user: p{which}.x, k8s_user: p{which}, tier: power-user}}\n"
        );
        let edited = format!("{}\n", roster.trim_end()).replace(&anchor, &row);
        self.clone.commit(
            &branch,
            &[("roster.yaml", &edited)],
            &format!("{branch} comes"),
        );
        self.clone.push(&branch);
        self.hub
            .propose(&self.mira, &branch, &branch, "main", Draft::No)
    }

    /// Waits until something is so of the one comment on a proposal, and pokes the bots now and then.
    #[track_caller]
    fn wait_for_comment(&self, number: u64, what: &str, good: impl Fn(&str) -> bool) -> String {
        let mut looks = 0;
        self.hub.wait_for(&format!("#{number}: {what}"), |hub| {
            looks += 1;
            if looks % 20 == 0 {
                hub.poke();
            }
            let all = hub.bots_comments(number);
            all.into_iter().map(|it| it.body).find(|it| good(it))
        })
    }

    /// How often a comment was created on it, as far as the forge knows.
    fn created(&self, number: u64) -> usize {
        let end = format!("/issues/{number}/comments");
        let heard = self.hub.heard();
        let made = heard
            .iter()
            .filter(|it| it.operation.starts_with("POST ") && it.target.ends_with(&end));
        made.filter(|it| it.status == 201).count()
    }

    fn end(&mut self) {
        for bot in self.bots.values_mut() {
            let _ = bot.stop();
        }
        self.daemons.clear();
        // Told to end, it takes along the server that it began; killed, it would leave that behind.
        let git = Pid::from_raw(self.git.id().cast_signed());
        let _ = kill(git, Signal::SIGTERM);
        let _ = self.git.wait();
    }
}

fn play(fleet: &mut Fleet) {
    let mut roster = "users:\n".to_owned();
    for n in 0..=PROPOSALS {
        roster.push_str(&format!(
            "  a{n}: {{authentik_user: a{n}.x, k8s_user: a{n}, tier: power-user}}\n  # {n}\n  # after {n}\n  #\n  #\n"
        ));
    }
    fleet
        .clone
        .commit("main", &[("roster.yaml", &roster)], "The team");
    fleet.clone.push("main");
    fleet.add_hosts();
    fleet.hosts_begin();
    wait_until("every host has told", || {
        let refs = fleet
            .hub
            .code()
            .git(LEDGER, &["for-each-ref", "refs/muster/host"]);
        refs.lines().count() == HOSTS
    });
    println!("{HOSTS} hosts have told");
    for name in ["bot-1", "bot-2"] {
        fleet.bot_comes(name);
        let network = Some(format!("{}-{}", fleet.net, name.replace('-', "")));
        fleet.hub.add_bot(Listener {
            port: WEBHOOKS,
            network,
        });
    }
    wait_until("somebody leads", || fleet.leader().is_some());

    // ── people merge while links come and go ─────────────────────────────────────────────────────────────────────────
    let mut open: Vec<u64> = Vec::new();
    let mut all = Vec::new();
    for which in 0..PROPOSALS {
        fleet.cut_some(5);
        let number = fleet.propose(which);
        all.push(number);
        let mut killed = None;
        if which == 2 {
            // The forge has the comment, and whoever sent it may not know.
            let sent = format!("/issues/{number}/comments");
            fleet.hub.wait_for("a comment is on its way", |hub| {
                let heard = hub.heard();
                let posts = |it: &muster_tests::hub::Heard| {
                    it.operation.starts_with("POST ") && it.target.ends_with(&sent)
                };
                heard.iter().any(posts).then_some(())
            });
            killed = fleet.kill_leader();
        }
        let head = fleet.hub.head(number);
        fleet.wait_for_comment(number, "a plan of its head", |it| it.contains(&head));
        fleet.hub.wait_for("a status of its head", |hub| {
            hub.poke();
            hub.status(&head).filter(|it| it["state"] != "pending")
        });
        open.push(number);
        if which > 0 {
            let merged = open.remove(0);
            fleet.hub.merge_anyway(&fleet.mira, merged);
            println!("merged #{merged}");
        }
        if which == 4 {
            killed = fleet.kill_leader();
        }
        fleet.restore_some();
        if let Some(name) = killed {
            wait_until("another one leads", || {
                fleet.leader().is_some_and(|it| it != name)
            });
            fleet.bot_comes(&name);
        }
    }

    // ── time passes, and some are not heard of ───────────────────────────────────────────────────────────────────────
    for host in [3, 11, 17] {
        if fleet.cut.insert(host) {
            fleet.link(host, "down");
        }
    }
    let silent = fleet.cut.clone();
    println!("twenty minutes later, without {silent:?}");
    fleet.time_is("+20m");
    fleet.clocks_are_right();
    let number = fleet.propose(PROPOSALS);
    all.push(number);
    open.push(number);
    // Clocks do not turn all at once: until they have, hosts are stale for a bot, or ahead of it, that are not silent.
    let names: BTreeSet<String> = silent.iter().map(|n| format!("host/h{n}")).collect();
    let stale: Vec<String> = names.iter().map(|it| format!("`{it}` (stale)")).collect();
    let (named, more) = stale.split_at(stale.len().min(NAMED));
    let mut expected = format!("Not known: {}", named.join(", "));
    if !more.is_empty() {
        expected.push_str(&format!(" and {} more", more.len()));
    }
    expected.push_str(".\n");
    fleet.wait_for_comment(number, &expected, |it| it.contains(&expected));
    let head = fleet.hub.head(number);
    // It follows the comment, and until it does the one that was there before, red as well, names other hosts.
    let said = format!("Not known on {} of {HOSTS} hosts", silent.len());
    fleet.hub.wait_for(&said, |hub| {
        hub.poke();
        let status = hub.status(&head)?;
        let told = status["description"].as_str()?.contains(&said);
        (told && status["state"] == "failure").then_some(())
    });

    // ── all links are back ───────────────────────────────────────────────────────────────────────────────────────────
    for host in silent {
        fleet.restore(host);
    }
    fleet.wait_for_comment(number, "all are known again", |it| {
        !it.contains("Not known")
    });
    for number in open {
        fleet.hub.merge_anyway(&fleet.mira, number);
    }
    let (adopted, done) = (
        format!("Adopted on {HOSTS} of {HOSTS} hosts"),
        format!("Done on all {HOSTS} hosts"),
    );
    for number in all.clone() {
        fleet.wait_for_comment(number, &done, |it| {
            it.contains(&adopted) || it.contains(&done)
        });
    }
    println!("all have adopted all");

    // ── nothing lost, nothing doubled ────────────────────────────────────────────────────────────────────────────────
    for number in all {
        let comments = fleet.hub.bots_comments(number).len();
        let created = fleet.created(number);
        fleet.check(
            &format!("#{number} has {comments} comments, and {created} were created"),
            comments == 1 && created == 1,
        );
    }
    for host in 1..=HOSTS {
        let missing: Vec<String> = (0..=PROPOSALS)
            .flat_map(|n| [format!("a{n}"), format!("p{n}")])
            .filter(|it| fleet.hosts[host - 1].uid(it).is_none())
            .collect();
        fleet.check(&format!("h{host} lacks {missing:?}"), missing.is_empty());
    }
    // The last words of the last news may still be on their way; once a look has brought none, no other may.
    let changes = |hub: &Hub| hub.heard().iter().filter(|it| it.is_a_change()).count();
    let look_again = |hub: &Hub| {
        let list = "GET /repos/{repository}/pulls";
        let looks = |hub: &Hub| hub.heard().iter().filter(|it| it.operation == list).count();
        let (seen, before) = (looks(hub), changes(hub));
        hub.poke();
        hub.wait_for("another look", |hub| (looks(hub) > seen).then_some(()));
        changes(hub) - before
    };
    fleet
        .hub
        .wait_for("all is told", |hub| (look_again(hub) == 0).then_some(()));
    let told = (0..3).map(|_| look_again(&fleet.hub)).sum::<usize>();
    fleet.check("somebody is told although nothing happened", told == 0);

    // From anywhere.
    let mut muster = fleet.within("git");
    muster.args([
        "status",
        "--fleet",
        "--format",
        "json",
        "--ledger",
        &Fleet::url(LEDGER),
    ]);
    let ran = Ran::from(muster.output().expect("muster"));
    let status: Value = serde_json::from_str(&ran.out).unwrap_or_default();
    let rows = status["executors"].as_array().cloned().unwrap_or_default();
    let tip = fleet.hub.code().tip(REPOSITORY, "main");
    let well = rows
        .iter()
        .filter(|it| it["state"] == "well" && it["adopted"] == tip.as_str())
        .count();
    fleet.check(
        &format!("{well} of {HOSTS} hosts are well: {}", ran.said()),
        well == HOSTS && rows.len() == HOSTS,
    );
    each_step_once(fleet);
}

/// No ledger tells that something was done twice, and what is pushed is what the host has.
fn each_step_once(fleet: &mut Fleet) {
    for host in 1..=HOSTS {
        let name = format!("refs/muster/host/h{host}");
        let there = fleet.hub.code().git(LEDGER, &["rev-parse", &name]);
        let mut git = hermetic("git");
        let out = git
            .arg("--git-dir")
            .arg(fleet.hosts[host - 1].path("state/ledger.git"))
            .args(["rev-parse", &name])
            .output()
            .expect("git");
        let here = String::from_utf8_lossy(&out.stdout).trim().to_owned();
        fleet.check(
            &format!("the ledger of h{host} is {here} there and {there} here"),
            here == there,
        );
        let log = fleet.hub.code().git(LEDGER, &["log", "--format=%B", &name]);
        let created: Vec<&str> = log
            .lines()
            .filter(|it| it.contains("user.create "))
            .collect();
        let different: BTreeSet<&str> = created.iter().copied().collect();
        fleet.check(
            &format!("h{host} tells twice: {created:#?}"),
            created.len() == different.len() && created.len() == 2 * (PROPOSALS + 1),
        );
    }
}
