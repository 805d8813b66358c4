//! Stands in front of fakepve, a stand-in for Proxmox VE that is a process of its own, and adds what that lacks: API tokens with
//! privileges, backups and what is restored from them, ways in which a real one misbehaves, and faults of the connection. It signs in
//! there by a ticket. Everything that took effect is counted.

mod behaviour;
mod meddling;
mod serve;
mod upstream;

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use serde_json::Value;

pub use meddling::Meddling;
pub use upstream::Upstream;

/// What happens to one request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// The connection breaks before anything was done.
    CutBefore,
    /// The connection breaks after it was done.
    CutAfter,
    /// Half of the answer comes, after it was done.
    HalfAnswer,
    /// 595: the other node cannot be reached; nothing was done.
    NotConnected,
    /// 596: the connection to the other node broke, after it was done.
    BrokenAfter,
    /// 500 with the words of a lock that was not had, though it was done.
    LockAfter,
    /// No answer at all, and nothing was done.
    Silence,
    /// No answer at all, after it was done.
    SilenceAfter,
    /// An answer that is no JSON, after it was done.
    NonsenseAfter,
}

impl Fault {
    /// All of them that end by themselves.
    pub const QUICK: [Self; 7] = [
        Self::CutBefore,
        Self::CutAfter,
        Self::HalfAnswer,
        Self::NotConnected,
        Self::BrokenAfter,
        Self::LockAfter,
        Self::NonsenseAfter,
    ];
}

/// What a token may do, by path.
pub type Grants = Vec<(&'static str, &'static [&'static str])>;

/// The privileges of the everyday token.
pub const EVERYDAY: &[&str] = &[
    "VM.Audit",
    "VM.PowerMgmt",
    "VM.Config.CPU",
    "VM.Config.Memory",
    "VM.Config.Options",
    // A container's name is a part of its network: one that was set aside gets it back.
    "VM.Config.Network",
];

/// What the other two have beside them.
pub const ALLOCATE: &[&str] = &[
    "VM.Audit",
    "VM.Allocate",
    "VM.Backup",
    "VM.PowerMgmt",
    "VM.Clone",
    "VM.Config.CPU",
    "VM.Config.Memory",
    "VM.Config.Options",
    "VM.Config.Network",
];

/// A guest that high availability looks after.
#[derive(Clone, Debug, Default)]
pub struct Managed {
    /// What it was asked for, and how many looks later it does it.
    pub asked: Option<(&'static str, u32)>,
}

/// A backup.
#[derive(Clone, Debug)]
pub struct Backup {
    /// Its id.
    pub volid: String,
    /// Of whom.
    pub vmid: String,
    /// What was written on it.
    pub notes: String,
    /// How large it is, in bytes.
    pub size: u64,
    /// When it was made.
    pub ctime: u64,
    /// The configuration in it.
    pub config: BTreeMap<String, Value>,
}

/// What the proxy knows and was told to do.
#[derive(Debug, Default)]
pub struct State {
    /// Tokens, as they are shown, and what they may do.
    pub tokens: BTreeMap<String, Grants>,
    /// Every request since the last look, as method and path.
    pub requests: Vec<String>,
    /// Every change that took effect, as method and path.
    pub effects: Vec<String>,
    /// The fault of the request of that number, counted from when it was set.
    pub fault: Option<(usize, Fault)>,
    /// What somebody else does there, right before a request of ours.
    pub meddling: Option<Meddling>,
    /// Who is told when a request is left without an answer.
    pub hung: Option<std::sync::mpsc::Sender<()>>,
    /// Nodes that do not answer.
    pub silent: BTreeSet<String>,
    /// Guests that high availability looks after.
    pub managed: BTreeMap<String, Managed>,
    /// Guests that do not heed a shutdown.
    pub heedless: BTreeSet<String>,
    /// How the tasks that are begun next end, whatever they do.
    pub ends: VecDeque<&'static str>,
    /// Tasks whose end is told otherwise.
    pub told: BTreeMap<String, &'static str>,
    /// Whether the node has forgotten all of its tasks.
    pub forgetful: bool,
    /// Backups.
    pub backups: Vec<Backup>,
    /// Whether there is no pool.
    pub no_pools: bool,
    /// What the clock of the node says: a little later with each task that is begun.
    pub clock: u64,
    /// When each task was begun, and by which token.
    pub begun: BTreeMap<String, (u64, String)>,
    /// Which pool a guest is in.
    pub pools: BTreeMap<String, String>,
}

impl State {
    /// Takes in that a task was begun, and by whom.
    fn begins(&mut self, upid: &str, token: &str) {
        self.clock += 10;
        let begun = (self.clock, token.to_owned());
        self.begun.insert(upid.to_owned(), begun);
    }
}

/// A running proxy with fakepve behind it. Both end with it.
pub struct Proxy {
    /// Where it listens.
    pub address: SocketAddr,
    /// Its certificate, in PEM.
    pub certificate: Vec<u8>,
    state: Arc<Mutex<State>>,
    peer: Child,
    scratch: tempfile::TempDir,
}

impl Drop for Proxy {
    fn drop(&mut self) {
        drop(self.peer.kill());
        drop(self.peer.wait());
    }
}

/// The everyday token of tests.
pub const TOKEN: &str = "muster@pve!everyday=11111111-1111-1111-1111-111111111111";
/// The one that may make guests in the pool `scratch`.
pub const CREATE_TOKEN: &str = "muster@pve!create=22222222-2222-2222-2222-222222222222";
/// The one that may delete.
pub const RELEASE_TOKEN: &str = "muster@pve!release=33333333-3333-3333-3333-333333333333";

/// An administrator's, which may do everything.
pub const ROOT_TOKEN: &str = "root@pam!all=44444444-4444-4444-4444-444444444444";

impl Proxy {
    /// Starts fakepve with `guests` (the list of its file), and this in front of it. `fakepve` is its program.
    pub fn start(fakepve: &Path, guests: &Value) -> Self {
        let scratch = tempfile::tempdir().expect("a scratch directory");
        let file = scratch.path().join("guests.json");
        std::fs::write(&file, serde_json::json!({ "guests": guests }).to_string()).unwrap();
        let (certificate, key) = certificate(scratch.path());
        let port = free_port();
        let log = std::fs::File::create(scratch.path().join("log")).unwrap();
        let peer = Command::new(fakepve)
            .arg(&file)
            .args([
                "--host",
                "127.0.0.1",
                "--time-scale",
                "0",
                "--password",
                "sesame",
            ])
            .args(["--port", &port.to_string()])
            .arg("--cert")
            .arg(&certificate)
            .arg("--key")
            .arg(&key)
            .stdin(Stdio::null())
            .stdout(log.try_clone().unwrap())
            .stderr(log)
            .spawn()
            .expect("fakepve starts");
        let state = Arc::new(Mutex::new(State {
            clock: 1_795_900_000,
            tokens: BTreeMap::from([
                (
                    TOKEN.to_owned(),
                    vec![("/vms", EVERYDAY), ("/nodes", &["Sys.Audit"])],
                ),
                (
                    CREATE_TOKEN.to_owned(),
                    vec![
                        ("/pool/scratch", ALLOCATE),
                        ("/pool/scratch", &["Pool.Audit"]),
                        ("/storage/local-lvm", &["Datastore.AllocateSpace"]),
                    ],
                ),
                (
                    RELEASE_TOKEN.to_owned(),
                    vec![
                        ("/vms", ALLOCATE),
                        ("/storage", &["Datastore.AllocateSpace"]),
                    ],
                ),
                (ROOT_TOKEN.to_owned(), vec![("/", ALLOCATE)]),
            ]),
            ..State::default()
        }));
        let pem = std::fs::read(&certificate).unwrap();
        let upstream = Upstream::new(port, &pem);
        let address = serve::begin(&certificate, &key, upstream, Arc::clone(&state), &|| {
            std::fs::read_to_string(scratch.path().join("log")).unwrap_or_default()
        });
        Self {
            address,
            certificate: pem,
            state,
            peer,
            scratch,
        }
    }

    /// What it knows; held only for a moment.
    pub fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Its address, for settings.
    pub fn url(&self) -> String {
        format!("https://{}", self.address)
    }

    /// A scratch directory that lasts as long as it does.
    pub fn scratch(&self) -> &Path {
        self.scratch.path()
    }

    /// Begins to count anew, with a fault at the request of that number.
    pub fn arm(&self, fault: Option<(usize, Fault)>) {
        let mut state = self.state();
        state.requests.clear();
        state.effects.clear();
        state.meddling = None;
        state.fault = fault;
    }

    /// How many requests there were since then.
    pub fn requests(&self) -> usize {
        self.state().requests.len()
    }

    /// How many changes took effect whose method and path hold `text`.
    pub fn effects(&self, text: &str) -> usize {
        self.state()
            .effects
            .iter()
            .filter(|it| it.contains(text))
            .count()
    }
}

/// A certificate for 127.0.0.1 and its key.
fn certificate(directory: &Path) -> (PathBuf, PathBuf) {
    let (certificate, key) = (directory.join("cert.pem"), directory.join("key.pem"));
    let status = Command::new("openssl")
        .args([
            "req",
            "-x509",
            "-newkey",
            "ec",
            "-pkeyopt",
            "ec_paramgen_curve:P-256",
            "-nodes",
        ])
        .args([
            "-days",
            "30",
            "-subj",
            "/CN=pve1",
            "-addext",
            "subjectAltName=IP:127.0.0.1",
        ])
        .args(["-addext", "basicConstraints=critical,CA:FALSE"])
        .arg("-keyout")
        .arg(&key)
        .arg("-out")
        .arg(&certificate)
        .stderr(Stdio::null())
        .status()
        .expect("openssl runs");
    assert!(status.success(), "openssl makes a certificate");
    (certificate, key)
}

/// A port that nobody listens on now.
fn free_port() -> u16 {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    listener.local_addr().unwrap().port()
}

/// How long fakepve may take until it listens.
const PATIENCE: Duration = Duration::from_secs(60);
