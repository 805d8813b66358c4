//! How fast the bot answers: the real program beside a model of a forge, many hosts whose ledgers stand in a repository, and
//! somebody who pushes to a pull request again and again.
//!
//!     fleet [--hosts N] [--people N] [--pushes K] [--everywhere] [--quiet-for SECONDS] [--paths] [MUSTER]
//!
//! People spread over hosts as tiers have it: one in a hundred is an admin and nine are power users. Every host admits admins,
//! every tenth power users too, and the first one everybody; with `--everywhere` each host admits everybody. Each push adds one
//! person: an admin, whom every host has to be planned for, and in a second round somebody whom the first host alone admits.
//! Before each push a tenth of the hosts gave a sign of life, as it is with one in five minutes and a look in half a one.
//!
//! Both repositories are asked over git's own protocol (`git daemon`), a conversation each, or with `--paths` read as
//! directories of this machine. With `--quiet-for` one more push comes after so long a silence. It runs until it is through: ended
//! by force, it leaves bot and `git daemon` behind.

use std::collections::BTreeMap;
use std::io::{Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Condvar, Mutex};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use muster::cycle::Inventory;
use muster_core::accounts::policy::Policy;
use muster_core::accounts::verbs::Verb;
use muster_core::commit::CommitId;
use muster_core::fleet::alive::{self, Alive};
use muster_core::host_key::HostKey;
use muster_core::ledger::held::{self, HeldSteps};
use muster_core::time::Time;
use muster_core::verb::Reach;
use muster_core::world::Files;
use muster_forge::clock::Clock as _;
use muster_git::Ledger;
use muster_sim::{Repository, Sim, SimHost};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::json;

#[expect(dead_code, reason = "tests have more use for it")]
#[path = "../../reconciler/forge/tests/forge/model.rs"]
mod model;
#[path = "../../reconciler/forge/tests/forge/routes.rs"]
mod routes;
#[expect(dead_code, reason = "tests have more use for it")]
#[path = "../../reconciler/forge/tests/forge/skin.rs"]
mod skin;

use model::{Forge, Kind};
use skin::{Server, serve};

/// The pull request.
const NUMBER: u64 = 7;
/// What the forge signs its webhooks with.
const SECRET: &str = "it is a secret to everybody";
/// Nothing is asked of the forge for so long: the turn is over.
const SILENCE: Duration = Duration::from_millis(2_500);
/// Longer than anything may take.
const PATIENCE: Duration = Duration::from_secs(600);

struct Options {
    hosts: usize,
    people: usize,
    pushes: usize,
    everywhere: bool,
    paths: bool,
    quiet_for: Option<Duration>,
    muster: PathBuf,
}

fn options() -> Options {
    let mut options = Options {
        hosts: 100,
        people: 10_000,
        pushes: 9,
        everywhere: false,
        paths: false,
        quiet_for: None,
        muster: "target/release/muster".into(),
    };
    let mut arguments = std::env::args().skip(1);
    while let Some(argument) = arguments.next() {
        let mut number = || -> usize {
            let value = arguments.next().expect("a number");
            value.parse().expect("a number")
        };
        match argument.as_str() {
            "--hosts" => options.hosts = number(),
            "--people" => options.people = number(),
            "--pushes" => options.pushes = number(),
            "--quiet-for" => options.quiet_for = Some(Duration::from_secs(number() as u64)),
            "--everywhere" => options.everywhere = true,
            "--paths" => options.paths = true,
            program if !program.starts_with('-') => options.muster = program.into(),
            other => panic!("no such option: {other}"),
        }
    }
    options
}

fn main() {
    let options = options();
    let scratch = tempfile::tempdir().expect("a scratch directory");
    let mut fleet = Fleet::new(&options, scratch.path());
    let mut bot = Bot::start(&options, &fleet);
    let began = Instant::now();
    bot.watch.until(PATIENCE, |calls| is_told(calls, "POST"));
    println!(
        "\n{} hosts, {} people{}, {}",
        options.hosts,
        options.people,
        if options.everywhere { " on each" } else { "" },
        if options.paths {
            "repositories on this machine"
        } else {
            "repositories behind git://"
        }
    );
    println!(
        "  first comment {:.2} s after the start",
        began.elapsed().as_secs_f64()
    );
    bot.watch.silence();
    for tier in ["admin", "namespace-owner"] {
        let measured: Vec<Measured> = (0..options.pushes)
            .map(|_| bot.push(&mut fleet, tier))
            .collect();
        let who = match tier {
            "admin" => "one more admin, for every host",
            _ => "one more person, for one host",
        };
        report(who, &measured);
    }
    if let Some(time) = options.quiet_for {
        std::thread::sleep(time);
        let measured = [bot.push(&mut fleet, "admin")];
        report(&format!("after {} s of silence", time.as_secs()), &measured);
    }
    let looks: Vec<Measured> = (0..options.pushes).map(|_| bot.look()).collect();
    let cpu: f64 = looks.iter().map(|it| it.cpu).sum::<f64>() / looks.len() as f64;
    println!(
        "  a look that finds nothing: {:.0} ms CPU, calls: {}",
        cpu * 1e3,
        by_route(&looks[0].calls)
    );
    println!("  peak memory of the bot {} MiB", bot.peak());
    let violations = bot.forge.state(|it| std::mem::take(&mut it.violations));
    assert_eq!(violations, Vec::<String>::new());
}

/// What one push took.
struct Measured {
    /// From the answer to the webhook until the forge has the whole request that changes the comment's first page, which begins with
    /// the verdict, without the forge's part.
    comment: Duration,
    /// The same until the last page is changed. Forges want a second between two changes.
    pages: Duration,
    /// The same until the status is set.
    status: Duration,
    /// Of the bot and its children, in seconds.
    cpu: f64,
    calls: Vec<Call>,
}

fn report(title: &str, measured: &[Measured]) {
    let spread = |of: fn(&Measured) -> Duration| {
        let mut all: Vec<f64> = measured.iter().map(|it| of(it).as_secs_f64()).collect();
        all.sort_by(f64::total_cmp);
        format!(
            "{:.3} s (least {:.3}, most {:.3})",
            all[all.len() / 2],
            all[0],
            all[all.len() - 1]
        )
    };
    let cpu = measured.iter().map(|it| it.cpu).sum::<f64>() / measured.len() as f64;
    println!("  {title}, n={}", measured.len());
    println!("    comment updated after {}", spread(|it| it.comment));
    println!("    its last page after   {}", spread(|it| it.pages));
    println!("    status set after      {}", spread(|it| it.status));
    let calls: Vec<usize> = measured.iter().map(|it| it.calls.len()).collect();
    println!(
        "    {:.0} ms CPU each, {} to {} calls of the forge: {}",
        cpu * 1e3,
        calls.iter().min().expect("a push"),
        calls.iter().max().expect("a push"),
        by_route(&measured[measured.len() - 1].calls)
    );
}

fn by_route(calls: &[Call]) -> String {
    let mut routes: BTreeMap<String, usize> = BTreeMap::new();
    for call in calls {
        let parts = call.path.split('/').map(|part| {
            let is_name = part.len() > 1 && part.bytes().all(|it| it.is_ascii_hexdigit())
                || part.bytes().all(|it| it.is_ascii_digit()) && !part.is_empty();
            if is_name { "…" } else { part }
        });
        let route = format!(
            "{} {}",
            call.method,
            parts.collect::<Vec<_>>().join("/").replace("/api/v3", "")
        );
        *routes
            .entry(route.replace("/repos/acme/state", ""))
            .or_default() += 1;
    }
    let shown = routes.into_iter().map(|(route, count)| match count {
        1 => route,
        many => format!("{many} × {route}"),
    });
    shown.collect::<Vec<_>>().join(", ")
}

// ── the forge ──────────────────────────────────────────────────────────────────────────────────────────────────────────

/// A request that the forge has answered.
#[derive(Clone)]
struct Call {
    method: String,
    path: String,
    /// When it was here as a whole.
    at: Instant,
    /// How long the forge had it.
    took: Duration,
}

fn is_told(calls: &[Call], comment: &str) -> bool {
    let comment = calls
        .iter()
        .any(|it| it.method == comment && it.path.contains("/comments"));
    comment && calls.iter().any(is_status)
}

fn is_status(call: &Call) -> bool {
    call.method == "POST" && call.path.contains("/statuses/")
}

/// What the forge was asked since it was last forgotten.
#[derive(Default)]
struct Watch {
    calls: Mutex<Vec<Call>>,
    came: Condvar,
}

impl Watch {
    fn until(&self, patience: Duration, is_there: impl Fn(&[Call]) -> bool) {
        let calls = self.calls.lock().unwrap();
        let waited = self
            .came
            .wait_timeout_while(calls, patience, |calls| !is_there(calls));
        assert!(
            !waited.unwrap().1.timed_out(),
            "the bot does not answer: {}",
            by_route(&self.calls.lock().unwrap())
        );
    }

    /// Waits until the bot has nothing more to say, and gives all that it said.
    fn silence(&self) -> Vec<Call> {
        loop {
            let last = self.calls.lock().unwrap().last().map(|it| it.at);
            match last.map(|it| it.elapsed()) {
                Some(past) if past < SILENCE => std::thread::sleep(SILENCE - past),
                _ => return std::mem::take(&mut *self.calls.lock().unwrap()),
            }
        }
    }
}

/// The model behind a port of its own, on which each request is noted.
fn watched(forge: &Forge) -> (Server, Arc<Watch>) {
    let watch = Arc::new(Watch::default());
    let (state, clock) = (Arc::clone(&forge.state), Arc::clone(&forge.clock));
    let (noted, kind) = (Arc::clone(&watch), forge.kind);
    let server = serve(move |request| {
        let at = Instant::now();
        let reply = {
            let mut state = state.lock().unwrap();
            // Its time is ours.
            let behind = now().0 - clock.truth().0;
            clock.wait(Duration::from_secs(u64::try_from(behind).unwrap_or(0)));
            model::answer(kind, &clock, &mut state, request)
        };
        noted.calls.lock().unwrap().push(Call {
            method: request.method.clone(),
            path: request.path.clone(),
            at,
            took: at.elapsed(),
        });
        noted.came.notify_all();
        reply
    });
    (server, watch)
}

fn now() -> Time {
    let since = SystemTime::now().duration_since(UNIX_EPOCH);
    Time(since.expect("a time after 1970").as_secs() as i64)
}

// ── the bot ────────────────────────────────────────────────────────────────────────────────────────────────────────────

struct Bot {
    child: Child,
    port: u16,
    forge: Forge,
    watch: Arc<Watch>,
    _server: Server,
    deliveries: u64,
}

impl Drop for Bot {
    fn drop(&mut self) {
        let _ = kill(Pid::from_raw(self.child.id() as i32), Signal::SIGTERM);
        let _ = self.child.wait();
    }
}

fn free_port() -> u16 {
    let listener = TcpListener::bind(("127.0.0.1", 0)).expect("a port");
    listener.local_addr().expect("an address").port()
}

fn write_private(path: &Path, text: &str) {
    std::fs::write(path, text).expect("a file");
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o600)).expect("a file");
}

impl Bot {
    fn start(options: &Options, fleet: &Fleet) -> Self {
        let forge = Forge::new(Kind::GitHubToken);
        let (server, watch) = watched(&forge);
        let port = free_port();
        let dir = &fleet.dir;
        write_private(&dir.join("webhook-secret"), SECRET);
        let config = dir.join("muster.toml");
        let text = format!(
            "[state]\nurl = \"{state}\"\ndir = \"{dir}/bot\"\n\
             [fleet]\nroles = [\"bot\"]\nledger = \"{ledger}\"\nhosts = \"{dir}/etc/hosts\"\nstale = \"12h\"\nname = \"bench\"\n\
             [forge]\nkind = \"github\"\nurl = \"http://127.0.0.1:{forge}/api/v3\"\nrepository = \"acme/state\"\n\
             token = \"{token}\"\n\
             [http]\nlisten = \"127.0.0.1:{port}\"\nwebhook_secret = \"{dir}/webhook-secret\"\n",
            state = fleet.url("state.git"),
            ledger = fleet.url("ledger.git"),
            dir = dir.display(),
            forge = server.port,
            token = forge.secret.path().display(),
        );
        write_private(&config, &text);
        forge.pull(NUMBER, json!({"head": {"sha": fleet.head.as_str()}}));
        let log = std::fs::File::create(dir.join("log")).expect("a file");
        let child = Command::new(&options.muster)
            .arg("--config")
            .arg(&config)
            .arg("run")
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(log)
            .spawn()
            .expect("muster: cargo build --release --package muster");
        Self {
            child,
            port,
            forge,
            watch,
            _server: server,
            deliveries: 0,
        }
    }

    /// Pushes one more person, and waits until all is told.
    fn push(&mut self, fleet: &mut Fleet, tier: &str) -> Measured {
        fleet.live();
        let head = fleet.add_person(tier);
        let now = self.forge.clock.truth();
        self.forge.state(|state| {
            let pull = state.pulls.get_mut(&NUMBER).expect("a pull request");
            pull["head"]["sha"] = json!(head.as_str());
            pull["updated_at"] = json!(now.to_string());
        });
        let before = self.cpu();
        let heard = self.deliver(
            "pull_request",
            json!({"action": "synchronize", "number": NUMBER}),
        );
        self.watch.until(PATIENCE, |calls| is_told(calls, "PATCH"));
        let calls = self.watch.silence();
        let until = |place: Option<usize>| {
            let place = place.expect("it was waited for");
            let forge: Duration = calls[..place].iter().map(|it| it.took).sum();
            (calls[place].at - heard).saturating_sub(forge)
        };
        let is_comment = |it: &Call| it.method == "PATCH" && it.path.contains("/comments");
        Measured {
            comment: until(calls.iter().position(is_comment)),
            pages: until(calls.iter().rposition(is_comment)),
            // The last one: before it, a status may say that a plan is being made.
            status: until(calls.iter().rposition(is_status)),
            cpu: self.cpu() - before,
            calls,
        }
    }

    /// Says that something happened where nothing did.
    fn look(&mut self) -> Measured {
        let before = self.cpu();
        self.deliver("push", json!({"ref": "refs/heads/elsewhere"}));
        self.watch.until(PATIENCE, |calls| !calls.is_empty());
        let calls = self.watch.silence();
        Measured {
            comment: Duration::ZERO,
            pages: Duration::ZERO,
            status: Duration::ZERO,
            cpu: self.cpu() - before,
            calls,
        }
    }

    /// Delivers a webhook, and gives the moment in which the bot had answered.
    fn deliver(&mut self, event: &str, mut body: serde_json::Value) -> Instant {
        self.deliveries += 1;
        body["repository"] = json!({"full_name": "acme/state"});
        body["delivery"] = json!(self.deliveries);
        let body = body.to_string();
        let key = ring::hmac::Key::new(ring::hmac::HMAC_SHA256, SECRET.as_bytes());
        let tag = ring::hmac::sign(&key, body.as_bytes());
        let hex: String = tag.as_ref().iter().map(|it| format!("{it:02x}")).collect();
        let request = format!(
            "POST /webhook/github HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\ncontent-type: application/json\r\n\
             x-github-event: {event}\r\nx-github-delivery: {}\r\nx-hub-signature-256: sha256={hex}\r\n\
             content-length: {}\r\n\r\n{body}",
            self.deliveries,
            body.len()
        );
        let mut stream = TcpStream::connect(("127.0.0.1", self.port)).expect("the bot listens");
        stream.write_all(request.as_bytes()).expect("a request");
        let mut head = [0; 12];
        stream.read_exact(&mut head).expect("an answer");
        let heard = Instant::now();
        assert_eq!(String::from_utf8_lossy(&head), "HTTP/1.1 204");
        heard
    }

    /// Seconds on a processor so far, of the bot and of its children that have ended.
    fn cpu(&self) -> f64 {
        let text = std::fs::read_to_string(format!("/proc/{}/stat", self.child.id()))
            .expect("the bot is there");
        let (_, rest) = text.rsplit_once(") ").expect("a line of /proc/PID/stat");
        let ticks: f64 = rest
            .split(' ')
            .skip(11)
            .take(4)
            .map(|it| it.parse::<f64>().expect("a number"))
            .sum();
        ticks / 100.0
    }

    /// The most memory that the bot had, without its children, in mebibytes.
    fn peak(&self) -> u64 {
        let text = std::fs::read_to_string(format!("/proc/{}/status", self.child.id()))
            .expect("the bot is there");
        let line = text.lines().find_map(|it| it.strip_prefix("VmHWM:"));
        let number = line.and_then(|it| it.split_whitespace().next()?.parse::<u64>().ok());
        number.expect("a peak") / 1_024
    }
}

// ── the repositories ───────────────────────────────────────────────────────────────────────────────────────────────────

/// All that the bot reads with git.
struct Fleet {
    dir: PathBuf,
    hosts: usize,
    /// Where `git daemon` listens.
    port: Option<u16>,
    daemon: Option<Child>,
    main: CommitId,
    /// The pull request's.
    head: CommitId,
    roster: String,
    people: usize,
    /// Which hosts are next to give a sign of life.
    next: usize,
}

impl Drop for Fleet {
    fn drop(&mut self) {
        if let Some(daemon) = &mut self.daemon {
            // It leaves its group when it is told to end.
            let _ = kill(Pid::from_raw(daemon.id() as i32), Signal::SIGTERM);
            let _ = daemon.wait();
        }
    }
}

/// Whom a host admits.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Admits {
    Admins,
    Power,
    Everybody,
}

impl Admits {
    fn of(host: usize, everywhere: bool) -> Self {
        match host {
            _ if everywhere => Self::Everybody,
            0 => Self::Everybody,
            tenth if tenth % 10 == 0 => Self::Power,
            _ => Self::Admins,
        }
    }

    fn file(self) -> &'static str {
        match self {
            Self::Admins => "admits: [admin]\n",
            Self::Power => "admits: [admin, power-user]\n",
            Self::Everybody => "admits: [admin, power-user, namespace-owner]\n",
        }
    }
}

/// What a host is called while nobody knows which one it will be; no person's name has it.
const PROTOTYPE: &str = "prototype-host";

fn name(host: usize) -> String {
    format!("host{host:04}")
}

fn key(host: usize) -> HostKey {
    let mut seed = [7; 32];
    seed[..8].copy_from_slice(&(host as u64).to_be_bytes());
    HostKey::from_seed(&seed)
}

fn person(index: usize, tier: &str) -> String {
    let namespaces = match tier {
        "namespace-owner" => format!("    namespaces:\n      - ns-{index}\n"),
        _ => String::new(),
    };
    format!(
        "  user{index:07}:\n    authentik_user: user{index:07}@example.com\n    k8s_user: user{index:07}@example.com\n    \
         tier: {tier}\n{namespaces}"
    )
}

/// Whether the bench made that person an admin; nobody else's name is like theirs.
fn is_admin(user: &str) -> bool {
    let index = user.strip_prefix("user").and_then(|it| it.parse().ok());
    index.is_some_and(|index| tier(index) == "admin")
}

fn tier(index: usize) -> &'static str {
    match index % 100 {
        0 => "admin",
        1..10 => "power-user",
        _ => "namespace-owner",
    }
}

fn git(dir: &Path, arguments: &[&str], input: &[u8]) -> String {
    let mut child = Command::new("git")
        .arg("-C")
        .arg(dir)
        .args(arguments)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("git");
    let mut stdin = child.stdin.take().expect("a pipe");
    stdin.write_all(input).expect("git reads");
    drop(stdin);
    let output = child.wait_with_output().expect("git");
    assert!(output.status.success(), "git {arguments:?}");
    String::from_utf8(output.stdout)
        .expect("text")
        .trim()
        .to_owned()
}

fn blob(stream: &mut String, path: &str, text: &str) {
    stream.push_str(&format!(
        "M 100644 inline {path}\ndata {}\n{text}\n",
        text.len()
    ));
}

/// What a host like this one keeps once all is done: the real cycle's, on a machine in memory.
fn ledger_of(admits: Admits, roster: &str, main: &CommitId, at: Time) -> Files {
    let files = Files::from([
        ("roster.yaml".to_owned(), roster.as_bytes().to_vec()),
        (
            format!("hosts/{PROTOTYPE}.yaml"),
            admits.file().as_bytes().to_vec(),
        ),
    ]);
    let mut repository = Repository::default();
    repository.commit("main", files.clone());
    let mut policy = Policy::for_host(PROTOTYPE);
    let verbs = Verb::ALL.iter().copied();
    policy.declared_benign = verbs
        .filter(|it| it.row().reach == Reach::Declarable)
        .collect();
    let policy = policy.into();
    let sim = Sim::new(repository, SimHost::debian(), PROTOTYPE, at);
    let mut memory = sim.boot();
    let mut comes_to_rest = || {
        let mut cycle = || {
            sim.cycle_telling(&mut memory, &policy, at, Inventory::Current)
                .expect("a cycle")
        };
        let is_done = (0..5).any(|_| cycle().is_quiet());
        assert!(is_done, "{admits:?}: it does not come to rest");
    };
    comes_to_rest();
    // Privileged memberships wait for a release; here somebody has given them by hand, which comes to the same.
    sim.with(|it| {
        let admins = |user: &&String| is_admin(user);
        let admins: Vec<String> = it.host.accounts.keys().filter(admins).cloned().collect();
        for group in ["sudo", "docker"] {
            let (_, members) = it.host.groups.get_mut(group).expect("a group");
            members.extend(admins.iter().cloned());
        }
    });
    comes_to_rest();
    // Nobody's account came with the newest commit.
    let pretended = sim.with(|it| {
        it.repository.commit("main", files);
        it.repository.head().expect("it was committed")
    });
    comes_to_rest();
    let ledger = sim.with(|it| it.ledger.clone());
    let waiting = HeldSteps::read(&ledger[held::FILE]).expect("held steps");
    assert!(
        waiting.held.is_empty(),
        "{admits:?}: {:?}",
        waiting.held.first()
    );
    let renamed = ledger
        .into_iter()
        .map(|(path, bytes)| (path, replaced(&bytes, pretended.as_str(), main.as_str())));
    renamed.collect()
}

fn replaced(bytes: &[u8], from: &str, to: &str) -> Vec<u8> {
    let text = std::str::from_utf8(bytes).expect("a ledger is text");
    text.replace(from, to).into_bytes()
}

impl Fleet {
    fn new(options: &Options, scratch: &Path) -> Self {
        let dir = scratch.to_owned();
        let hosts = options.hosts;
        let roster = (0..options.people).fold("users:\n".to_owned(), |text, index| {
            text + &person(index, tier(index))
        });
        let admits = |host| Admits::of(host, options.everywhere);
        let at = now();

        let state = dir.join("state.git");
        git(
            &dir,
            &[
                "init",
                "--quiet",
                "--bare",
                "--initial-branch=main",
                "state.git",
            ],
            b"",
        );
        let mut stream = format!(
            "commit refs/heads/main\ncommitter bench <bench@example.com> {} +0000\ndata 6\npeople\n",
            at.0
        );
        blob(&mut stream, "roster.yaml", &roster);
        for host in 0..hosts {
            let path = format!("hosts/{}.yaml", name(host));
            blob(&mut stream, &path, admits(host).file());
        }
        git(&state, &["fast-import", "--quiet"], stream.as_bytes());
        let main: CommitId = git(&state, &["rev-parse", "refs/heads/main"], b"")
            .parse()
            .expect("a commit");

        // Made in memory where there is room for it: each object reaches the disk by itself, and what is wanted is one pack.
        let made = ["/dev/shm", "/tmp"]
            .iter()
            .find_map(|it| tempfile::tempdir_in(it).ok())
            .expect("a scratch directory");
        let mut prototypes: BTreeMap<Admits, Files> = BTreeMap::new();
        let mut keys = String::new();
        let repository = made.path().join("ledger.git");
        Ledger::open_or_create(&repository, &reference(0)).expect("a ledger");
        for host in 0..hosts {
            let files = prototypes
                .entry(admits(host))
                .or_insert_with(|| ledger_of(admits(host), &roster, &main, at));
            let changes = files
                .iter()
                .map(|(path, bytes)| (path.clone(), Some(replaced(bytes, PROTOTYPE, &name(host)))))
                .collect();
            let ledger = Ledger::open(&repository, &reference(host))
                .expect("a ledger")
                .signing_with(Arc::new(key(host)));
            let commit = ledger
                .commit(None, &changes, "all is as it should be", at.0)
                .expect("a commit");
            give_sign_of_life(&ledger, host, &commit, &main, at);
            keys.push_str(&format!("host/{} {}\n", name(host), key(host).public()));
        }
        // Two directories above it are looked at: whoever may write there could put another file in its place.
        std::fs::create_dir(dir.join("etc")).expect("a directory");
        std::fs::write(dir.join("etc/hosts"), keys).expect("a file");
        git(&repository, &["repack", "-a", "-d", "--quiet"], b"");
        git(&repository, &["pack-refs", "--all"], b"");
        let from = repository.to_str().expect("a path");
        git(
            &dir,
            &[
                "clone",
                "--quiet",
                "--mirror",
                "--no-local",
                from,
                "ledger.git",
            ],
            b"",
        );

        let (port, daemon) = if options.paths {
            (None, None)
        } else {
            let port = free_port();
            let daemon = Command::new("git")
                .args([
                    "daemon",
                    "--reuseaddr",
                    "--export-all",
                    "--enable=receive-pack",
                ])
                .arg(format!("--base-path={}", dir.display()))
                .args(["--listen=127.0.0.1", &format!("--port={port}")])
                .arg(&dir)
                .stdin(Stdio::null())
                .spawn()
                .expect("git daemon");
            (Some(port), Some(daemon))
        };
        let mut fleet = Self {
            dir,
            hosts,
            port,
            daemon,
            head: main.clone(),
            main,
            roster,
            people: options.people,
            next: 0,
        };
        fleet.add_person("admin");
        fleet
    }

    fn url(&self, repository: &str) -> String {
        match self.port {
            Some(port) => format!("git://127.0.0.1:{port}/{repository}"),
            None => self.dir.join(repository).display().to_string(),
        }
    }

    /// Pushes one more person to the pull request's branch.
    fn add_person(&mut self, tier: &str) -> CommitId {
        self.roster.push_str(&person(self.people, tier));
        self.people += 1;
        let mut stream = format!(
            "commit refs/heads/edit\ncommitter bench <bench@example.com> {} +0000\ndata 8\none more\nfrom {}\n",
            now().0,
            self.head
        );
        blob(&mut stream, "roster.yaml", &self.roster);
        stream.push_str(&format!(
            "reset refs/pull/{NUMBER}/head\nfrom refs/heads/edit\n\n"
        ));
        let state = self.dir.join("state.git");
        git(&state, &["fast-import", "--quiet"], stream.as_bytes());
        let head = git(&state, &["rev-parse", "refs/heads/edit"], b"");
        self.head = head.parse().expect("a commit");
        self.head.clone()
    }

    /// A tenth of the hosts say that nothing changed.
    fn live(&mut self) {
        for _ in 0..self.hosts.div_ceil(10) {
            let host = self.next;
            self.next = (host + 1) % self.hosts;
            let ledger = Ledger::open(&self.dir.join("ledger.git"), &reference(host))
                .expect("a ledger")
                .signing_with(Arc::new(key(host)));
            let head = ledger.head().expect("a ledger").expect("a commit");
            give_sign_of_life(&ledger, host, &head, &self.main, now());
        }
    }
}

fn reference(host: usize) -> String {
    format!("refs/muster/host/{}", name(host))
}

fn give_sign_of_life(ledger: &Ledger, host: usize, head: &CommitId, main: &CommitId, at: Time) {
    let alive = Alive {
        at,
        read: Some(at),
        ledger: Some(head.clone()),
        adopted: main.clone(),
        version: "0".to_owned(),
        line: "nothing to do".to_owned(),
        unread: Vec::new(),
    };
    let files = BTreeMap::from([(alive::FILE.to_owned(), alive.to_bytes())]);
    ledger
        .put_alive(
            &format!("refs/muster/alive/host/{}", name(host)),
            &files,
            at.0,
        )
        .expect("a sign of life");
}
