//! A forge for the whole program: a stateful stand-in for GitHub, what it lacks beside it, and a judge who is shown every request.
//!
//! The stand-in (`emulate`) has people, apps, tokens, proposals, comments, check runs, issues and webhooks. Heads of proposals
//! never move there, and it has no git to fetch from; so the truth about code is a bare repository here, and this door, which
//! stands in front, answers out of it whatever is about commits. Statuses, the API that puts a comment out of sight, and
//! conditional requests are answered here too. Everything else is the stand-in's.
//!
//! What the bot sends comes in by the door: each request is judged by GitHub's published description and written down. People
//! do not come in by the door: what they do is a function ([`people`]), and what they push comes over git's own HTTP.

use std::collections::{BTreeMap, BTreeSet};
use std::net::TcpListener;
use std::path::Path;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use ring::digest::{SHA256, digest};
use serde_json::Value;

use crate::description::{Bad, judge, known_bad, pass};
use crate::skin::{How, Reply, Request, Server, serve_on};

mod answers;
mod code;
pub mod network;
pub mod people;
pub mod webhooks;

pub use code::Code;
pub use people::Person;

/// The one repository that matters.
pub const REPOSITORY: &str = "acme/state";

/// Operations in which nothing can be wrong but their path, and the one that is judged here.
const ALWAYS_RIGHT: [&str; 5] = [
    "GET /app",
    "GET /users/{login}",
    "GET /repos/{repository}",
    "GET /repos/{repository}/installation",
    "POST /graphql",
];

/// What nobody waits longer for; nothing is expected to come near it.
const PATIENCE: Duration = Duration::from_secs(180);

/// What a hub is made of.
#[derive(Debug)]
pub struct Parts<'a> {
    /// Where the stand-in listens.
    pub stand_in: u16,
    /// Where the validator listens; without one, nothing is judged.
    pub validator: Option<u16>,
    /// Who may do what.
    pub people: Vec<Person>,
    /// What webhooks are signed with.
    pub secret: &'a [u8],
    /// Where repositories are to lie.
    pub dir: &'a Path,
}

/// The forge. It serves until the process ends.
pub struct Hub {
    inner: Arc<Inner>,
}

pub(crate) struct Inner {
    stand_in: u16,
    validator: Option<u16>,
    people: Vec<Person>,
    secret: Vec<u8>,
    pub(crate) code: Code,
    state: Mutex<State>,
    /// Something came in, or somebody did something.
    moved: Condvar,
    hooks: Mutex<webhooks::Hooks>,
}

/// What the stand-in does not know.
#[derive(Default)]
pub(crate) struct State {
    pulls: BTreeMap<u64, Pull>,
    /// By commit, the oldest first.
    statuses: BTreeMap<String, Vec<Value>>,
    /// Comments that were put out of sight, by the name that GraphQL has for them.
    minimised: BTreeSet<String>,
    /// Tokens that the app was given.
    installation_tokens: BTreeSet<String>,
    heard: Vec<Heard>,
    violations: Vec<String>,
    last_id: u64,
}

/// What is known of a proposal beside what the stand-in knows.
#[derive(Clone, Debug)]
pub(crate) struct Pull {
    /// The repository that its head is in.
    from: String,
    /// The branch there.
    branch: String,
    head: String,
    /// When anything about it changed last, as text of fixed length.
    updated: String,
    open: bool,
    merged: Option<(String, String)>,
}

/// A request that came in by the door.
#[derive(Clone, Debug)]
pub struct Heard {
    /// What kind of thing it asks for, without the numbers and names in it.
    pub operation: String,
    /// The path, as it was written.
    pub target: String,
    /// What came with it.
    pub body: Value,
    /// What it was answered.
    pub status: u16,
}

impl Heard {
    /// Whether it changed something that people see.
    pub fn is_a_change(&self) -> bool {
        !self.operation.starts_with("GET ")
            && !self.operation.ends_with("/access_tokens")
            && self.status < 400
    }
}

impl Hub {
    /// A forge with one repository, whose branch holds what `fill` leaves in a directory.
    ///
    /// # Panics
    /// When the stand-in does not do as it should.
    pub fn new(parts: Parts<'_>) -> Self {
        let Parts {
            stand_in,
            validator,
            people,
            secret,
            dir,
        } = parts;
        let inner = Inner {
            stand_in,
            validator,
            people,
            secret: secret.to_vec(),
            code: Code::new(dir),
            state: Mutex::default(),
            moved: Condvar::new(),
            hooks: Mutex::default(),
        };
        inner.code.create(REPOSITORY);
        Self {
            inner: Arc::new(inner),
        }
    }

    /// Lets the bot in there. May be done more than once, with listeners of several networks.
    pub fn open_door(&self, listener: TcpListener) {
        let inner = Arc::clone(&self.inner);
        let server: Server = serve_on(listener, move |request| inner.answer(request));
        // It serves as long as this process lives.
        std::mem::forget(server);
    }

    /// The bare repositories.
    pub fn code(&self) -> &Code {
        &self.inner.code
    }

    /// Everything that came in by the door so far.
    pub fn heard(&self) -> Vec<Heard> {
        self.inner.state().heard.clone()
    }

    /// What was sent against the description, and takes note of it.
    pub fn violations(&self) -> Vec<String> {
        std::mem::take(&mut self.inner.state().violations)
    }

    /// Shows the judge one wrong request for each operation that came in, and gives those of which one was let through, or for which
    /// nobody knows a wrong one although there is something in it that could be wrong.
    pub fn never_judged(&self) -> Vec<String> {
        let mut wrong: BTreeMap<String, Request> = BTreeMap::new();
        for Bad {
            method,
            target,
            body,
            ..
        } in known_bad()
        {
            let (path, query) = target.split_once('?').unwrap_or((&target, ""));
            let request = Request {
                method: method.to_owned(),
                path: path.to_owned(),
                query: BTreeMap::from([(query.to_owned(), String::new())]),
                target: target.clone(),
                headers: BTreeMap::new(),
                body,
            };
            let name = operation(method, &path.replace("/first", "/1"));
            wrong.insert(name, request);
        }
        let used: BTreeSet<String> = self.heard().into_iter().map(|it| it.operation).collect();
        let is_let_through = |name: &String| match (wrong.get(name), self.inner.validator) {
            (Some(request), Some(validator)) => judge(validator, request).against.is_none(),
            // Its path is all that there is.
            (None, _) => !ALWAYS_RIGHT.contains(&name.as_str()),
            (Some(_), None) => true,
        };
        used.into_iter().filter(is_let_through).collect()
    }

    /// Looks again, each time that something has come in, until `look` finds what it looks for.
    ///
    /// # Panics
    /// When that takes unreasonably long; `what` was waited for.
    #[track_caller]
    pub fn wait_for<T>(&self, what: &str, mut look: impl FnMut(&Self) -> Option<T>) -> T {
        let began = Instant::now();
        let mut seen = usize::MAX;
        loop {
            let state = self.inner.state();
            // From time to time something is looked for that does not come in here.
            let news = |state: &mut State| state.heard.len() == seen;
            let waited =
                self.inner
                    .moved
                    .wait_timeout_while(state, Duration::from_millis(100), news);
            let (state, _) = waited.unwrap_or_else(PoisonError::into_inner);
            seen = state.heard.len();
            drop(state);
            if let Some(found) = look(self) {
                return found;
            }
            assert!(
                began.elapsed() < PATIENCE,
                "waited in vain: {what}\n{}",
                self.last_words()
            );
        }
    }

    /// The last that came in, for whoever wants to know why nothing else did.
    pub fn last_words(&self) -> String {
        let heard = self.heard();
        let from = heard.len().saturating_sub(30);
        let line = |it: &Heard| format!("{} {}", it.status, it.operation);
        let lines: Vec<String> = heard[from..].iter().map(line).collect();
        lines.join("\n")
    }
}

impl Inner {
    pub(crate) fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn answer(&self, request: &Request) -> Reply {
        if request.path == "/hook" {
            return self.pass_webhook_on(request);
        }
        if request.path.contains(".git/") {
            return self.git(request);
        }
        let against = match (self.validator, request.path.as_str()) {
            (None, _) => None,
            // GitHub's other API has no such description.
            (Some(_), "/graphql") => answers::wrong_query(request),
            (Some(validator), _) => judge(validator, request).against,
        };
        let mut reply = self.api(request);
        if request.method == "GET" && reply.status == 200 {
            conditional(request, &mut reply);
        }
        dated(&mut reply);
        let mut state = self.state();
        state.violations.extend(against);
        state.heard.push(Heard {
            operation: operation(&request.method, &request.path),
            target: request.target.clone(),
            body: serde_json::from_slice(&request.body).unwrap_or(Value::Null),
            status: reply.status,
        });
        drop(state);
        self.moved.notify_all();
        reply
    }

    /// Asks the stand-in.
    fn ask_stand_in(&self, request: &Request) -> Reply {
        let (status, headers, body) = pass(self.stand_in, request);
        let ours = [
            "content-length",
            "connection",
            "transfer-encoding",
            "keep-alive",
        ];
        Reply {
            status,
            headers: headers
                .into_iter()
                .filter(|(name, _)| !ours.contains(&name.as_str()))
                .collect(),
            body,
            how: How::Whole,
        }
    }
}

/// Gives an answer a name by its content, and does not repeat what whoever asks has already.
fn conditional(request: &Request, reply: &mut Reply) {
    let hash = digest(&SHA256, &reply.body);
    let hex: String = hash.as_ref().iter().map(|it| format!("{it:02x}")).collect();
    let etag = format!("W/\"{hex}\"");
    if request.headers.get("if-none-match") == Some(&etag) {
        reply.status = 304;
        reply.body.clear();
    }
    reply.headers.retain(|(name, _)| name != "etag");
    reply.headers.push(("etag".into(), etag));
}

/// Says what time it is here, as every server does: bots go by the forge's clock where it is about what the forge has.
fn dated(reply: &mut Reply) {
    if reply.headers.iter().any(|(name, _)| name == "date") {
        return;
    }
    let printer = jiff::fmt::rfc2822::DateTimePrinter::new();
    let now = printer.timestamp_to_rfc9110_string(&jiff::Timestamp::now());
    reply
        .headers
        .push(("date".into(), now.expect("a year of four digits")));
}

/// What kind of request this is.
fn operation(method: &str, path: &str) -> String {
    let mut words = Vec::new();
    let mut before = "";
    for word in path.split('/').skip(1) {
        let number = !word.is_empty() && word.bytes().all(|it| it.is_ascii_digit());
        let commit = word.len() == 40 && word.bytes().all(|it| it.is_ascii_hexdigit());
        words.push(match (before, number, commit) {
            ("users", _, _) => "{login}",
            // A commit may have nothing but digits.
            (_, _, true) => "{sha}",
            (_, true, _) => "{n}",
            _ => word,
        });
        before = word;
    }
    let path = format!("/{}", words.join("/"));
    format!("{method} {}", path.replace(REPOSITORY, "{repository}"))
}

/// Now, as forges write it.
fn now() -> String {
    jiff::Timestamp::now()
        .round(jiff::Unit::Second)
        .map(|it| it.to_string())
        .unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::operation;

    #[test]
    fn an_operation_has_no_numbers_and_names_in_it() {
        for (path, is) in [
            ("/repos/acme/state", "GET /repos/{repository}"),
            (
                "/repos/acme/state/issues/7/comments",
                "GET /repos/{repository}/issues/{n}/comments",
            ),
            ("/users/muster%5Bbot%5D", "GET /users/{login}"),
        ] {
            assert_eq!(operation("GET", path), is);
        }
    }
}
