//! A forge in memory, of either kind, with a thin skin of HTTP.
//!
//! It knows what a forge's description says of the few routes that are used, and nothing else: a request, a query or a field that it
//! does not know is a violation, and ends the test. So does something told that no test looked at.

use std::collections::{BTreeMap, VecDeque};
use std::path::Path;
use std::process::Command;
use std::sync::{Arc, Mutex, OnceLock};
use std::time::Duration;

use base64::Engine;
use base64::prelude::{BASE64_STANDARD, BASE64_URL_SAFE_NO_PAD};
use muster_core::time::Time;
use muster_forge::clock::Clock;
use muster_forge::secret::SecretFile;
use muster_forge::wire::Limits;
use muster_forge::{Reader, Writer, forgejo, github};
use ring::rsa::KeyPair as RsaKeyPair;
use ring::signature::{RSA_PKCS1_2048_8192_SHA256, RsaPublicKeyComponents};
use serde_json::{Value, json};

use crate::routes::carry_out;
use crate::skin::{How, Reply, Request, Server, serve};

/// Which forge.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// As an app.
    GitHubApp,
    /// As a user.
    GitHubToken,
    Forgejo,
}

pub(crate) const ALL: [Kind; 3] = [Kind::GitHubApp, Kind::GitHubToken, Kind::Forgejo];

/// Our own number there, and that of somebody else.
pub(crate) const US: i64 = 41;
pub(crate) const SOMEBODY: i64 = 7;

pub(crate) const APP: u64 = 99;
pub(crate) const INSTALLATION: u64 = 5;
pub(crate) const LASTS: i64 = 3_600;

/// Time that passes when somebody waits, or a test says so.
pub(crate) struct TestClock {
    began: Time,
    passed: Mutex<Duration>,
    /// How far this machine's idea of the time is off.
    wrong: Mutex<i64>,
}

impl Clock for TestClock {
    fn now(&self) -> Time {
        self.truth().plus(*self.wrong.lock().unwrap())
    }
    fn steady(&self) -> Duration {
        *self.passed.lock().unwrap()
    }
    fn wait(&self, time: Duration) {
        *self.passed.lock().unwrap() += time;
    }
}

impl TestClock {
    pub(crate) fn truth(&self) -> Time {
        self.began.plus(self.steady().as_secs() as i64)
    }
    pub(crate) fn go_wrong(&self, seconds: i64) {
        *self.wrong.lock().unwrap() = seconds;
    }
}

/// Something that goes wrong with the next requests to a route.
pub(crate) struct Fault {
    pub(crate) method: &'static str,
    pub(crate) route: &'static str,
    pub(crate) what: What,
    pub(crate) times: usize,
}

pub(crate) enum What {
    /// This is answered, and nothing done.
    Answer(u16, Vec<(&'static str, String)>, Value),
    /// Nothing is done, and this happens instead of an answer.
    Nothing(How),
    /// It is done, and this happens to the answer.
    Done(How),
}

#[derive(Default)]
pub(crate) struct State {
    pub(crate) private: bool,
    pub(crate) pulls: BTreeMap<u64, Value>,
    pub(crate) files: BTreeMap<u64, Vec<Value>>,
    pub(crate) reviews: BTreeMap<u64, Vec<Value>>,
    pub(crate) merged: BTreeMap<String, u64>,
    pub(crate) comments: BTreeMap<u64, Value>,
    pub(crate) statuses: Vec<(String, Value)>,
    pub(crate) checks: BTreeMap<u64, Value>,
    pub(crate) issues: BTreeMap<u64, Value>,
    pub(crate) faults: VecDeque<Fault>,
    pub(crate) down: bool,
    pub(crate) app_key: Vec<u8>,
    /// Tokens that count, and until when.
    pub(crate) tokens: BTreeMap<String, i64>,
    pub(crate) requests: Vec<Request>,
    /// How many of them were not free.
    pub(crate) counted: usize,
    pub(crate) page_size: Option<usize>,
    told: VecDeque<String>,
    pub(crate) violations: Vec<String>,
    next_id: u64,
    pub(crate) last_change: Option<Duration>,
}

pub(crate) struct Forge {
    pub(crate) kind: Kind,
    pub(crate) clock: Arc<TestClock>,
    pub(crate) state: Arc<Mutex<State>>,
    pub(crate) secret: SecretFile,
    /// Where the secret lies.
    _dir: tempfile::TempDir,
    server: Server,
}

/// A test against a forge of each kind; the ends cannot be left loose.
pub(crate) fn with_each(test: impl Fn(&Forge, &mut Reader, &mut Writer) + Sync) {
    std::thread::scope(|scope| {
        for kind in ALL {
            let test = &test;
            scope.spawn(move || with(kind, |forge, reader, writer| test(forge, reader, writer)));
        }
    });
}

pub(crate) fn with(kind: Kind, test: impl FnOnce(&Forge, &mut Reader, &mut Writer)) {
    let forge = Forge::new(kind);
    let (mut reader, mut writer) = forge.connect();
    test(&forge, &mut reader, &mut writer);
    forge.finish();
}

impl Forge {
    pub(crate) fn new(kind: Kind) -> Self {
        let clock = Arc::new(TestClock {
            began: Time(1_795_361_159),
            passed: Mutex::default(),
            wrong: Mutex::default(),
        });
        let state = Arc::new(Mutex::new(State {
            private: true,
            next_id: 1_000,
            ..State::default()
        }));
        let server = {
            let (state, clock) = (Arc::clone(&state), Arc::clone(&clock));
            serve(move |request| answer(kind, &clock, &mut state.lock().unwrap(), request))
        };
        let dir = tempfile::tempdir().unwrap();
        let secret = SecretFile::at(dir.path().join("secret"));
        let forge = Self {
            kind,
            clock,
            state,
            secret,
            _dir: dir,
            server,
        };
        forge.new_secret(0);
        forge.state.lock().unwrap().pulls.clear();
        forge
    }

    /// Gives out new credentials, and takes back the old ones.
    pub(crate) fn new_secret(&self, which: usize) {
        let mut state = self.state.lock().unwrap();
        state.tokens.clear();
        let bytes = match self.kind {
            Kind::GitHubApp => {
                state.app_key = key(which).1.clone();
                key(which).0.clone()
            }
            Kind::GitHubToken | Kind::Forgejo => {
                let token = format!("token_canary_{which}");
                state.tokens.insert(token.clone(), i64::MAX);
                token.into_bytes()
            }
        };
        write_secret(self.secret.path(), &bytes);
    }

    pub(crate) fn connect(&self) -> (Reader, Writer) {
        self.connect_for(Duration::from_secs(20))
    }

    /// A connection on which nothing may take longer.
    pub(crate) fn connect_for(&self, total: Duration) -> (Reader, Writer) {
        let clock: Arc<dyn Clock> = self.clock.clone();
        let limits = Limits {
            connect: Duration::from_secs(5),
            total,
            answer: 1 << 20,
        };
        let repository = "acme/state".parse().unwrap();
        let port = self.server.port;
        match self.kind {
            Kind::Forgejo => forgejo::connect(
                forgejo::Settings {
                    base: format!("http://127.0.0.1:{port}/api/v1").parse().unwrap(),
                    repository,
                    token: self.secret.clone(),
                    limits,
                },
                clock,
            ),
            Kind::GitHubApp | Kind::GitHubToken => github::connect(
                github::Settings {
                    base: format!("http://127.0.0.1:{port}/api/v3").parse().unwrap(),
                    repository,
                    identity: match self.kind {
                        Kind::GitHubApp => github::Identity::App {
                            app: APP,
                            installation: None,
                            key: self.secret.clone(),
                        },
                        _ => github::Identity::Token(self.secret.clone()),
                    },
                    limits,
                },
                clock,
            ),
        }
        .unwrap()
    }

    pub(crate) fn state<T>(&self, look: impl FnOnce(&mut State) -> T) -> T {
        look(&mut self.state.lock().unwrap())
    }

    /// What people were told next.
    pub(crate) fn told(&self) -> String {
        self.state(|it| it.told.pop_front())
            .unwrap_or_else(|| panic!("{:?}: nothing was told", self.kind))
    }

    /// Whether all that was told has been looked at.
    pub(crate) fn is_silent(&self) -> bool {
        self.state(|it| it.told.is_empty())
    }

    pub(crate) fn fault(&self, method: &'static str, route: &'static str, what: What) {
        self.state(|it| {
            it.faults.push_back(Fault {
                method,
                route,
                what,
                times: 1,
            })
        });
    }

    /// Somebody proposes something, or changes it.
    pub(crate) fn pull(&self, number: u64, changes: Value) {
        let now = self.clock.truth();
        self.state(|state| {
            let pull = state.pulls.entry(number).or_insert_with(|| {
                json!({
                    "number": number, "state": "open", "draft": false, "merged_at": null, "merge_commit_sha": null,
                    "head": {"sha": sha(number), "label": "acme:edit", "ref": "edit", "repo": {"id": 5}, "repo_id": 5},
                    "base": {"sha": sha(0), "ref": "main", "repo": {"id": 5}, "repo_id": 5},
                })
            });
            pull["updated_at"] = json!(now.to_string());
            merge(pull, changes);
        });
        self.clock.wait(Duration::from_secs(1));
    }

    /// Somebody says something under a proposal.
    pub(crate) fn comment(&self, under: u64, user: i64, body: &str) -> u64 {
        self.state(|state| state.add_comment(self.kind, under, user, body))
    }

    /// Checks the ends.
    pub(crate) fn finish(self) {
        let state = self.state.lock().unwrap();
        assert!(
            state.violations.is_empty(),
            "{:?}: {:#?}",
            self.kind,
            state.violations
        );
        assert!(
            state.told.is_empty(),
            "{:?}: nobody looked at {:#?}",
            self.kind,
            state.told
        );
        let unused: Vec<_> = state
            .faults
            .iter()
            .map(|it| (it.method, it.route))
            .collect();
        assert!(
            unused.is_empty(),
            "{:?}: faults that did not happen: {unused:?}",
            self.kind
        );
        for request in &state.requests {
            let shown = format!(
                "{} {} {:?} {}",
                request.method,
                request.target,
                request.query,
                String::from_utf8_lossy(&request.body)
            );
            assert!(
                !shown.contains("canary"),
                "a secret outside Authorization: {shown}"
            );
        }
    }
}

pub(crate) fn sha(n: u64) -> String {
    format!("{n:040x}")
}

fn write_secret(path: &Path, bytes: &[u8]) {
    use std::io::Write;
    use std::os::unix::fs::OpenOptionsExt;
    let mut options = std::fs::OpenOptions::new();
    let mut file = options
        .write(true)
        .create(true)
        .truncate(true)
        .mode(0o600)
        .open(path)
        .unwrap();
    file.write_all(bytes).unwrap();
}

pub(crate) fn merge(into: &mut Value, changes: Value) {
    match (into, changes) {
        (Value::Object(into), Value::Object(changes)) => {
            for (name, value) in changes {
                merge(into.entry(name).or_insert(Value::Null), value);
            }
        }
        (into, value) => *into = value,
    }
}

/// A private key as GitHub gives it out, in PEM and in DER; made once by OpenSSH.
fn key(which: usize) -> &'static (Vec<u8>, Vec<u8>) {
    static KEYS: [OnceLock<(Vec<u8>, Vec<u8>)>; 2] = [OnceLock::new(), OnceLock::new()];
    KEYS[which].get_or_init(|| {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("key");
        let made = Command::new("ssh-keygen")
            .args(["-q", "-t", "rsa", "-b", "2048", "-m", "PEM", "-N", "", "-f"])
            .arg(&path)
            .status()
            .expect("ssh-keygen");
        assert!(made.success());
        let pem = std::fs::read(&path).unwrap();
        let text = String::from_utf8(pem.clone()).unwrap();
        let armour: String = text.lines().filter(|it| !it.starts_with('-')).collect();
        (pem, BASE64_STANDARD.decode(armour).unwrap())
    })
}

impl State {
    pub(crate) fn id(&mut self) -> u64 {
        self.next_id += 1;
        self.next_id
    }

    pub(crate) fn tell(&mut self, what: String) {
        self.told.push_back(what);
    }

    pub(crate) fn add_comment(&mut self, kind: Kind, under: u64, user: i64, body: &str) -> u64 {
        let id = self.id();
        let mut comment = json!({
            "id": id, "node_id": format!("IC_{id}"), "body": body, "user": person(kind, user),
            "issue_url": format!("https://elsewhere.example/repos/acme/state/issues/{under}"),
        });
        if kind == Kind::Forgejo {
            comment["issue_url"] = json!("");
            comment["pull_request_url"] = json!(format!(
                "https://elsewhere.example/acme/state/pulls/{under}"
            ));
        }
        self.comments.insert(id, comment);
        id
    }
}

pub(crate) fn person(kind: Kind, id: i64) -> Value {
    let login = match (id, kind) {
        (US, Kind::GitHubApp) => "muster[bot]",
        (US, _) => "muster",
        _ => "mallory",
    };
    let what = if login.ends_with("[bot]") {
        "Bot"
    } else {
        "User"
    };
    json!({"id": id, "login": login, "type": what})
}

pub(crate) fn reply(status: u16, body: &Value) -> Reply {
    Reply {
        status,
        headers: vec![(
            "content-type".into(),
            "application/json; charset=utf-8".into(),
        )],
        body: match body {
            Value::Null => Vec::new(),
            body => body.to_string().into_bytes(),
        },
        how: How::Whole,
    }
}

pub(crate) fn answer(kind: Kind, clock: &TestClock, state: &mut State, request: &Request) -> Reply {
    state.requests.push(request.clone());
    let lost = |how| Reply {
        how,
        ..reply(200, &Value::Null)
    };
    if state.down {
        return lost(How::Lost);
    }
    let base = if kind == Kind::Forgejo {
        "/api/v1"
    } else {
        "/api/v3"
    };
    let date = jiff::fmt::rfc2822::DateTimePrinter::new()
        .timestamp_to_rfc9110_string(&jiff::Timestamp::from_second(clock.truth().0).unwrap())
        .unwrap();
    let graphql = kind != Kind::Forgejo && request.path == "/api/graphql";
    let Some(route) = request
        .path
        .strip_prefix(base)
        .or(graphql.then_some("/graphql"))
    else {
        state
            .violations
            .push(format!("not a route of this forge: {}", request.target));
        return reply(404, &json!({"message": "Not Found"}));
    };
    let hit = |it: &Fault| it.method == request.method && route.contains(it.route);
    let fault = state.faults.iter().position(hit).map(|at| {
        let fault = &mut state.faults[at];
        fault.times -= 1;
        match fault.times {
            0 => state.faults.remove(at).unwrap().what,
            _ => match &fault.what {
                What::Answer(status, headers, body) => {
                    What::Answer(*status, headers.clone(), body.clone())
                }
                What::Nothing(how) => What::Nothing(*how),
                What::Done(how) => What::Done(*how),
            },
        }
    });
    let mut reply = match fault {
        Some(What::Answer(status, headers, body)) => {
            let mut reply = reply(status, &body);
            let headers = headers
                .into_iter()
                .map(|(name, value)| (name.to_owned(), value));
            reply.headers.extend(headers);
            state.counted += 1;
            reply
        }
        Some(What::Nothing(how)) => lost(how),
        other => {
            let mut reply = carry_out(kind, clock, state, request, route);
            if let Some(What::Done(how)) = other {
                reply.how = how;
            }
            let etag = format!("W/\"{:x}\"", hash(&reply.body));
            if kind != Kind::Forgejo && request.method == "GET" && reply.status == 200 {
                if request.headers.get("if-none-match") == Some(&etag) {
                    reply.status = 304;
                    reply.body.clear();
                }
                reply.headers.push(("etag".into(), etag));
            }
            state.counted += usize::from(reply.status != 304);
            reply
        }
    };
    if !reply.headers.iter().any(|(name, _)| name == "date") {
        reply.headers.push(("date".into(), date));
    }
    reply
}

fn hash(bytes: &[u8]) -> u64 {
    use std::hash::{Hash, Hasher};
    let mut hasher = std::hash::DefaultHasher::new();
    bytes.hash(&mut hasher);
    hasher.finish()
}

/// Who asks: the app itself, or somebody with a token; or why not.
pub(crate) enum Asking {
    App,
    Us,
}

pub(crate) fn authenticate(
    kind: Kind,
    clock: &TestClock,
    state: &State,
    request: &Request,
) -> Result<Asking, String> {
    let now = clock.truth().0;
    let said = request
        .headers
        .get("authorization")
        .map(String::as_str)
        .unwrap_or_default();
    let scheme = if kind == Kind::Forgejo {
        "token "
    } else {
        "Bearer "
    };
    let word = said.strip_prefix(scheme).ok_or("Requires authentication")?;
    if let Some(until) = state.tokens.get(word) {
        return if now < *until {
            Ok(Asking::Us)
        } else {
            Err("Bad credentials".into())
        };
    }
    let parts: Vec<&str> = word.split('.').collect();
    let [header, claims, signature] = parts[..] else {
        return Err("Bad credentials".into());
    };
    let pair = RsaKeyPair::from_der(&state.app_key).map_err(|_| "Bad credentials")?;
    let public = RsaPublicKeyComponents::<Vec<u8>>::from(pair.public());
    let signature = BASE64_URL_SAFE_NO_PAD
        .decode(signature)
        .map_err(|_| "Bad credentials")?;
    let signed = format!("{header}.{claims}");
    public
        .verify(&RSA_PKCS1_2048_8192_SHA256, signed.as_bytes(), &signature)
        .map_err(|_| "A JSON web token could not be decoded")?;
    let claims: Value =
        serde_json::from_slice(&BASE64_URL_SAFE_NO_PAD.decode(claims).unwrap()).unwrap();
    let (issued, ends) = (
        claims["iat"].as_i64().unwrap(),
        claims["exp"].as_i64().unwrap(),
    );
    if claims["iss"].as_str() != Some("99") {
        return Err("Integration not found".into());
    }
    if issued > now || ends <= now {
        return Err("'Issued at' claim ('iat') must be an Integer representing the time that the assertion was issued".into());
    }
    if ends > now + 600 {
        return Err("'Expiration time' claim ('exp') is too far in the future".into());
    }
    Ok(Asking::App)
}
