//! Drives the client through GitHub's published description, as `tests/forge/strict` sets it up: a stateful stand-in for GitHub, and a
//! validator that is shown every request before it.
//!
//!     strict STAND_IN VALIDATOR KEY EXAMPLES…        two ports, the app's private key, payloads of webhooks

use std::path::Path;
use std::sync::{Arc, Mutex};

use http::{HeaderMap, HeaderName, HeaderValue};
use muster_core::forge::{
    Annotation, CheckRun, CheckState, Closed, CommentId, ForgeReader, ForgeWriter, Issue, Level,
    Marker, Put, Status, StatusLine, StatusState, Visibility, Which,
};
use muster_forge::clock::SystemClock;
use muster_forge::github::{Identity, Settings, connect};
use muster_forge::secret::{Secret, SecretFile};
use muster_forge::webhook::{self, Heard, Ignored, Poke, Repositories, Sender};
use muster_forge::wire::Limits;
use serde_json::{Value, json};

#[path = "../tests/forge/description.rs"]
mod description;
#[expect(dead_code, reason = "a model has more use for it")]
#[path = "../tests/forge/skin.rs"]
mod skin;

use description::{call, judge, known_bad, pass};
use skin::{How, Reply, Request, serve};

/// What somebody who is no bot uses; `tests/forge/strict` seeds it.
const PERSON: &str = "Bearer person-token";

#[derive(Default)]
struct Score {
    passed: usize,
    failed: usize,
}

impl Score {
    fn check(&mut self, what: &str, good: bool) {
        match good {
            true => self.passed += 1,
            false => {
                self.failed += 1;
                println!("FAILED: {what}");
            }
        }
    }

    fn equal<T: PartialEq + std::fmt::Debug>(&mut self, what: &str, is: &T, should: &T) {
        self.check(&format!("{what}: {is:?}, not {should:?}"), is == should);
    }
}

/// What the validator says of requests.
type Violations = Arc<Mutex<Vec<String>>>;

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [stand_in, validator, key, examples @ ..] = &arguments[..] else {
        panic!("strict STAND_IN VALIDATOR KEY EXAMPLES…");
    };
    let port = |text: &str| text.parse::<u16>().expect("a port");
    let (stand_in, validator) = (port(stand_in), port(validator));
    let violations = Violations::default();
    let seen = Arc::clone(&violations);
    let server = serve(move |request| pass_on(request, stand_in, validator, &seen));
    let mut score = Score::default();
    refuses_what_is_wrong(server.port, &violations, &mut score);
    a_pull_request(
        stand_in,
        server.port,
        Path::new(key),
        &violations,
        &mut score,
    );
    for file in examples {
        payloads(Path::new(file), &mut score);
    }
    println!("{} passed, {} failed", score.passed, score.failed);
    std::process::exit(i32::from(score.failed > 0));
}

/// Hands a request to the validator, notes what it says against it, and answers as the stand-in does.
fn pass_on(request: &Request, stand_in: u16, validator: u16, violations: &Violations) -> Reply {
    let judged = judge(validator, request);
    if let Some(against) = judged.against {
        violations.lock().unwrap().push(against);
    }
    // The stand-in knows no statuses.
    let (status, headers, body) = match request.target.contains("/statuses") {
        true => judged.answer,
        false => pass(stand_in, request),
    };
    let kept = [
        "link",
        "date",
        "etag",
        "content-type",
        "retry-after",
        "location",
    ];
    Reply {
        status,
        headers: headers
            .into_iter()
            .filter(|(name, _)| kept.contains(&name.as_str()))
            .collect(),
        body,
        how: How::Whole,
    }
}

/// The validator is awake: each operation that is used is first used wrongly, and that is noticed.
fn refuses_what_is_wrong(port: u16, violations: &Violations, score: &mut Score) {
    for bad in known_bad() {
        call(port, bad.method, &bad.target, PERSON, &[], &bad.body);
        let noticed = !std::mem::take(&mut *violations.lock().unwrap()).is_empty();
        score.check(&format!("{} was let through", bad.what), noticed);
    }
}

/// Somebody edits, and the client does all that it can do about it.
fn a_pull_request(
    stand_in: u16,
    port: u16,
    key: &Path,
    violations: &Violations,
    score: &mut Score,
) {
    let person = |method: &str, target: &str, body: Value| -> Value {
        let sent = if body.is_null() {
            Vec::new()
        } else {
            body.to_string().into_bytes()
        };
        let (status, _, body) = call(
            stand_in,
            method,
            &format!("/repos/acme/state{target}"),
            PERSON,
            &[],
            &sent,
        );
        assert!(
            status < 300,
            "{method} {target}: {status} {}",
            String::from_utf8_lossy(&body)
        );
        serde_json::from_slice(&body).expect("JSON")
    };
    let main = person("GET", "/branches/main", Value::Null);
    person(
        "POST",
        "/git/refs",
        json!({"ref": "refs/heads/edit", "sha": main["commit"]["sha"]}),
    );
    // "emo: {}\n"
    person(
        "PUT",
        "/contents/roster.yaml",
        json!({"message": "Adds emo.", "content": "ZW1vOiB7fQo=", "branch": "edit"}),
    );
    let opened = person(
        "POST",
        "/pulls",
        json!({"title": "Adds emo", "head": "edit", "base": "main"}),
    );
    let number = opened["number"].as_u64().expect("a number");

    let settings = Settings {
        base: format!("http://127.0.0.1:{port}")
            .parse()
            .expect("an address"),
        repository: "acme/state".parse().expect("a repository"),
        identity: Identity::App {
            app: 99,
            installation: None,
            key: SecretFile::at(key),
        },
        limits: Limits::default(),
    };
    let (mut reader, mut writer) =
        connect(settings, Arc::new(SystemClock::default())).expect("a client");
    let open = reader.proposals(Which::Open).expect("proposals");
    score.equal("open proposals", &open.proposals.len(), &1);
    score.equal("unread proposals", &open.unread, &Vec::new());
    let proposal = reader.proposal(number).expect("a proposal");
    score.equal("the proposal", &open.proposals[0], &proposal);
    score.equal("its base", &proposal.base.as_str(), &"main");
    score.check("it is no fork", !proposal.fork);
    score.equal(
        "who sees it",
        &reader.visibility().expect("a repository"),
        &Visibility::Private,
    );
    score.check("its files", reader.changed_paths(number).is_ok());
    score.check("its reviews", reader.approvals(number).is_ok());

    let marker: Marker = "plan".parse().expect("a marker");
    let text = |n: usize| format!("# muster would …\n\n{}\n", "* **do** `this`\n".repeat(n));
    let created = writer
        .put_comment(number, None, &marker, &text(3))
        .expect("a comment");
    score.check("a comment is created", matches!(created, Put::Created(_)));
    let known = created.id();
    score.equal(
        "the same again",
        &writer.put_comment(number, known, &marker, &text(3)).ok(),
        &known.map(Put::Unchanged),
    );
    score.equal(
        "found again",
        &writer.put_comment(number, None, &marker, &text(3)).ok(),
        &known.map(Put::Unchanged),
    );
    score.equal(
        "another text",
        &writer.put_comment(number, known, &marker, &text(4)).ok(),
        &known.map(Put::Updated),
    );
    let lost = Some(CommentId(999_999));
    score.equal(
        "a number that is none",
        &writer.put_comment(number, lost, &marker, &text(4)).ok(),
        &known.map(Put::Unchanged),
    );

    for state in [
        StatusState::Pending,
        StatusState::Success,
        StatusState::Failure,
    ] {
        let status = Status {
            state,
            context: "muster".into(),
            summary: StatusLine::of("3 benign, 1 held, on 2 hosts"),
            target: Some("https://ledger.example.org/report".into()),
        };
        let set = writer.set_status(&proposal.head, &status);
        score.check(&format!("a status: {set:?}"), set.is_ok());
    }
    let check = |state, remarks: u32| CheckRun {
        name: "muster".into(),
        state,
        title: "Not valid".into(),
        summary: "See the lines.".into(),
        annotations: (1..=remarks)
            .map(|line| Annotation {
                path: "roster.yaml".into(),
                line,
                column: (line % 2 == 0).then_some(4),
                level: [Level::Notice, Level::Warning, Level::Failure][line as usize % 3],
                message: "there is no such tier".into(),
            })
            .collect(),
        target: Some("https://ledger.example.org/report".into()),
    };
    let running = writer
        .put_check(&proposal.head, &check(CheckState::Running, 0))
        .expect("a check");
    score.check("a check is created", matches!(running, Put::Created(_)));
    let failed = writer
        .put_check(&proposal.head, &check(CheckState::Failure, 60))
        .expect("a check");
    score.equal("it fails", &failed.id(), &running.id());
    let again = writer
        .put_check(&proposal.head, &check(CheckState::Failure, 60))
        .ok();
    score.equal("and says so once", &again, &failed.id().map(Put::Unchanged));
    let good = writer
        .put_check(&proposal.head, &check(CheckState::Success, 0))
        .expect("a check");
    score.check("another one is good", matches!(good, Put::Created(_)));

    let drift: Marker = "drift/host/devvm".parse().expect("a marker");
    let issue = Issue {
        title: "Drift on devvm".into(),
        text: "What is not as it should be.".into(),
    };
    let made = writer.put_issue(None, &drift, &issue).expect("an issue");
    score.check("an issue is opened", matches!(made, Put::Created(_)));
    score.equal(
        "once",
        &writer.put_issue(None, &drift, &issue).ok(),
        &made.id().map(Put::Unchanged),
    );
    score.equal(
        "and closed",
        &writer.close_issue(made.id(), &drift).ok(),
        &made.id().map(Closed::Closed),
    );
    score.equal(
        "once, too",
        &writer.close_issue(None, &drift).ok(),
        &Some(Closed::NoneOpen),
    );

    person("PUT", &format!("/pulls/{number}/merge"), json!({}));
    let changed = reader
        .proposals(Which::ChangedSince(&open.cursor))
        .expect("proposals");
    score.equal("what changed", &changed.proposals.len(), &1);
    let merged = reader.proposal_merged_as(&proposal.head);
    score.check(
        &format!("what a commit came from: {merged:?}"),
        merged.is_ok(),
    );
    let said = std::mem::take(&mut *violations.lock().unwrap());
    score.equal("requests against the description", &said, &Vec::new());
}

/// Every payload that GitHub documents is heard or ignored.
fn payloads(examples: &Path, score: &mut Score) {
    let text = std::fs::read(examples).expect("the examples");
    let events: Vec<Value> = serde_json::from_slice(&text).expect("the examples");
    let secret = b"it is a secret to everybody";
    let key = webhook::WebhookKey::new(&Secret::new(secret.to_vec())).expect("a key");
    let signing = ring::hmac::Key::new(ring::hmac::HMAC_SHA256, secret);
    let (mut poked, mut ignored) = (0, 0);
    for event in &events {
        let name = event["name"].as_str().expect("a name");
        for payload in event["examples"].as_array().expect("examples") {
            let body = payload.to_string().into_bytes();
            let repository = payload["repository"]["full_name"]
                .as_str()
                .and_then(|it| it.parse().ok());
            let known = repository.is_some();
            let state = repository.unwrap_or_else(|| "acme/state".parse().expect("a repository"));
            let repositories = Repositories {
                state,
                ledger: None,
            };
            let hear = |body: &[u8]| {
                let tag = ring::hmac::sign(&signing, body);
                let hex: String = tag.as_ref().iter().map(|it| format!("{it:02x}")).collect();
                let mut headers = HeaderMap::new();
                for (name, value) in [
                    ("content-type", "application/json"),
                    ("x-github-event", name),
                    ("x-github-delivery", "0"),
                    ("x-hub-signature-256", &format!("sha256={hex}")),
                ] {
                    let value = HeaderValue::from_str(value).expect("a value");
                    headers.insert(HeaderName::from_static(name), value);
                }
                webhook::hear(Sender::GitHub, &key, &repositories, &headers, body)
            };
            match hear(&body) {
                Heard::Poke(poke, _) => {
                    poked += 1;
                    let right = match name {
                        "pull_request" => {
                            payload["number"].as_u64().map(Poke::Proposal) == Some(poke)
                        }
                        "push" => {
                            payload["ref"].as_str().map(|it| Poke::Ref(it.to_owned())) == Some(poke)
                        }
                        _ => true,
                    };
                    score.check(&format!("{name}: not where it says"), right);
                }
                Heard::Ignored(why) => {
                    ignored += 1;
                    let matters = known && matches!(name, "pull_request" | "push");
                    score.check(
                        &format!("{name}: {why:?}"),
                        !matters && why != Ignored::Unreadable,
                    );
                }
                Heard::Refused(why) => score.check(&format!("{name}: {why:?}"), false),
            }
            // Cut anywhere, it is no payload, and no harm.
            let cut = body.len() / 3;
            score.check(
                &format!("{name}, cut"),
                matches!(hear(&body[..cut]), Heard::Ignored(_)),
            );
        }
    }
    println!("webhooks: {poked} are a reason to look, {ignored} are none");
    score.check("no payloads", poked > 0 && ignored > 0);
}
