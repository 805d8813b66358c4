//! GitHub's published description as a judge of requests: a validator knows every operation, query and field of it.
//!
//! Where it looks away, it is looked at here; and there is a wrong request for each operation that is used, so that a judge who
//! is asleep is noticed.

use std::io::{self, Read, Write};
use std::net::TcpStream;
use std::time::Duration;

use serde_json::{Value, json};

use crate::skin::Request;

/// A status, headers by lower-case name, and a body.
pub(crate) type Answer = (u16, Vec<(String, String)>, Vec<u8>);

/// What the validator makes of a request.
pub(crate) struct Judgement {
    /// What it says against it.
    pub(crate) against: Option<String>,
    /// What it answers: an example of success, to a request that is right.
    pub(crate) answer: Answer,
}

/// Shows a request to the validator that listens there.
pub(crate) fn judge(validator: u16, request: &Request) -> Judgement {
    // The description has no other type of an answer, whatever GitHub itself calls it.
    let answer = send(validator, request, "application/json");
    // What is right is answered with what success looks like.
    let said = || format!("{} {}", answer.0, String::from_utf8_lossy(&answer.2));
    let against = (answer.0 >= 400)
        .then(said)
        .or_else(|| wrong_issue(request))
        .map(|why| format!("{} {}: {why}", request.method, request.target));
    Judgement { against, answer }
}

/// Hands a request on to whoever listens there.
pub(crate) fn pass(port: u16, request: &Request) -> Answer {
    let accept = request.headers.get("accept").map_or("*/*", String::as_str);
    send(port, request, accept)
}

fn send(port: u16, request: &Request, accept: &str) -> Answer {
    let authorization = request.headers.get("authorization").map(String::as_str);
    let mut extra = vec![("accept", accept)];
    for name in ["if-none-match", "x-github-api-version", "user-agent"] {
        extra.extend(request.headers.get(name).map(|it| (name, it.as_str())));
    }
    call(
        port,
        &request.method,
        &request.target,
        authorization.unwrap_or_default(),
        &extra,
        &request.body,
    )
}

/// The validator lets every body of an issue through: what the description says of the fields that we use.
fn wrong_issue(request: &Request) -> Option<String> {
    let (_, rest) = request.path.split_once("/issues")?;
    let about_one = rest.is_empty() || rest[1..].bytes().all(|it| it.is_ascii_digit());
    if request.body.is_empty() || !about_one {
        return None;
    }
    let body: Value = serde_json::from_slice(&request.body).unwrap_or_default();
    let good = |(name, value): (&String, &Value)| match name.as_str() {
        "title" | "body" => value.is_string(),
        "state" => request.method == "PATCH" && (value == "open" || value == "closed"),
        _ => false,
    };
    let titled = request.method == "PATCH" || body["title"].is_string();
    let right = body
        .as_object()
        .is_some_and(|it| titled && it.iter().all(good));
    (!right).then(|| format!("not an issue: {body}"))
}

/// One request to this machine, in the oldest HTTP that everybody speaks.
pub(crate) fn call(
    port: u16,
    method: &str,
    target: &str,
    authorization: &str,
    extra: &[(&str, &str)],
    body: &[u8],
) -> Answer {
    try_call(port, method, target, authorization, extra, body).expect("an answer")
}

/// The same to somebody who may not be there, or may go while the request is on its way.
pub(crate) fn try_call(
    port: u16,
    method: &str,
    target: &str,
    authorization: &str,
    extra: &[(&str, &str)],
    body: &[u8],
) -> io::Result<Answer> {
    let mut stream = TcpStream::connect(("127.0.0.1", port))?;
    let patience = Duration::from_secs(60);
    stream.set_read_timeout(Some(patience))?;
    let mut head = format!(
        "{method} {target} HTTP/1.0\r\nhost: 127.0.0.1:{port}\r\nauthorization: {authorization}\r\nconnection: close\r\ncontent-length: {}\r\n",
        body.len()
    );
    if !body.is_empty() {
        head.push_str("content-type: application/json\r\n");
    }
    for (name, value) in extra {
        head.push_str(&format!("{name}: {value}\r\n"));
    }
    head.push_str("\r\n");
    stream.write_all(head.as_bytes())?;
    stream.write_all(body)?;
    let mut all = Vec::new();
    stream.read_to_end(&mut all)?;
    let end = all
        .windows(4)
        .position(|it| it == b"\r\n\r\n")
        .ok_or(io::ErrorKind::UnexpectedEof)?;
    let head = String::from_utf8_lossy(&all[..end]).into_owned();
    let mut lines = head.lines();
    let status = lines
        .next()
        .and_then(|it| it.split(' ').nth(1)?.parse().ok());
    let headers = lines
        .filter_map(|it| it.split_once(':'))
        .map(|(name, value)| (name.to_ascii_lowercase(), value.trim().to_owned()))
        .collect();
    Ok((status.expect("a status"), headers, all[end + 4..].to_vec()))
}

/// A request that the description forbids.
pub(crate) struct Bad {
    pub(crate) method: &'static str,
    pub(crate) target: String,
    pub(crate) body: Vec<u8>,
    /// As people read it.
    pub(crate) what: String,
}

/// One for each operation that the client uses.
pub(crate) fn known_bad() -> Vec<Bad> {
    let sha = "1".repeat(40);
    let in_repository = [
        ("GET", "/pulls?state=sideways".to_owned(), Value::Null),
        ("GET", "/pulls/first".into(), Value::Null),
        ("GET", "/pulls/first/files".into(), Value::Null),
        (
            "GET",
            format!("/commits/{sha}/pulls?per_page=many"),
            Value::Null,
        ),
        ("GET", "/issues/first/comments".into(), Value::Null),
        ("POST", "/issues/9999/comments".into(), json!({"text": "x"})),
        ("GET", "/issues/comments/first".into(), Value::Null),
        (
            "PATCH",
            "/issues/comments/9999".into(),
            json!({"text": "x"}),
        ),
        (
            "GET",
            format!("/commits/{sha}/statuses?per_page=many"),
            Value::Null,
        ),
        (
            "POST",
            format!("/statuses/{sha}"),
            json!({"state": "green"}),
        ),
        (
            "GET",
            format!("/commits/{sha}/check-runs?filter=newest"),
            Value::Null,
        ),
        ("POST", "/check-runs".into(), json!({"head_sha": sha})),
        (
            "PATCH",
            "/check-runs/9999".into(),
            json!({"status": "sideways"}),
        ),
        ("GET", "/issues?state=sideways".into(), Value::Null),
        ("POST", "/issues".into(), json!({"body": "x"})),
        ("PATCH", "/issues/9999".into(), json!({"state": "sideways"})),
    ];
    let app = (
        "POST",
        "/app/installations/5/access_tokens".to_owned(),
        json!({"repositories": "state"}),
    );
    in_repository
        .into_iter()
        .map(|(method, rest, body)| (method, format!("/repos/acme/state{rest}"), body))
        .chain([app])
        .map(|(method, target, body)| Bad {
            what: format!("{method} {target} {body}"),
            method,
            target,
            body: match body {
                Value::Null => Vec::new(),
                body => body.to_string().into_bytes(),
            },
        })
        .collect()
}
