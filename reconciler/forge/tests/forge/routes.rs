//! The routes of a forge, as its description has them.

use std::time::Duration;

use muster_core::time::Time;
use muster_forge::clock::Clock;
use serde_json::{Value, json};

use crate::model::{
    APP, Asking, INSTALLATION, Kind, LASTS, State, TestClock, US, authenticate, merge, person,
    reply,
};
use crate::skin::{Reply, Request};

/// Does what a request asks for, where the description of the forge has it.
pub(crate) fn carry_out(
    kind: Kind,
    clock: &TestClock,
    state: &mut State,
    request: &Request,
    route: &str,
) -> Reply {
    let asking = match authenticate(kind, clock, state, request) {
        Ok(asking) => asking,
        // A forge that repeats what it was given.
        Err(why) => {
            let word = request
                .headers
                .get("authorization")
                .cloned()
                .unwrap_or_default();
            return reply(401, &json!({"message": format!("{why} ({word})")}));
        }
    };
    let body: Value = match request.body.is_empty() {
        true => Value::Null,
        false => serde_json::from_slice(&request.body).unwrap_or(Value::Null),
    };
    if !body.is_null() {
        let json =
            request.headers.get("content-type").map(String::as_str) == Some("application/json");
        if !json {
            state
                .violations
                .push(format!("{route}: a body that is no application/json"));
        }
    }
    let method = request.method.as_str();
    if method != "GET" && matches!(asking, Asking::Us) {
        let now = clock.steady();
        if state
            .last_change
            .is_some_and(|last| now < last + Duration::from_secs(1))
        {
            state.violations.push(format!(
                "{method} {route}: less than a second after the last change"
            ));
        }
        state.last_change = Some(now);
    }
    if !request.headers.contains_key("user-agent") {
        state.violations.push(format!("{route}: no User-Agent"));
    }
    let segments: Vec<&str> = route.split('/').skip(1).collect();
    let gone = || reply(404, &json!({"message": "Not Found"}));
    let github = kind != Kind::Forgejo;
    let now = clock.truth();
    let (_, parts) = match &segments[..] {
        ["repos", "acme", "state", rest @ ..] => ((), rest),
        _ => return alone(kind, state, now, method, &segments, &asking, &body),
    };
    let asked = |state: &mut State, known: &[&str]| {
        for name in request.query.keys() {
            if !known.contains(&name.as_str()) {
                state
                    .violations
                    .push(format!("{route}: an unknown query {name}"));
            }
        }
    };
    let fields = |state: &mut State, known: &[&str]| {
        for name in body.as_object().into_iter().flat_map(|it| it.keys()) {
            if !known.contains(&name.as_str()) {
                state
                    .violations
                    .push(format!("{route}: an unknown field {name}"));
            }
        }
    };
    match (method, parts) {
        ("GET", ["installation"]) if github && matches!(asking, Asking::App) => {
            reply(200, &json!({"id": INSTALLATION, "app_id": APP}))
        }
        (_, _) if matches!(asking, Asking::App) => {
            reply(401, &json!({"message": "Bad credentials"}))
        }
        ("GET", []) => {
            let visibility = if state.private { "private" } else { "public" };
            let mut it = json!({"id": 5, "private": state.private});
            if github {
                it["visibility"] = json!(visibility);
            } else {
                it["internal"] = json!(false);
            }
            reply(200, &it)
        }
        ("GET", ["pulls"]) => {
            let (known, sort): (&[&str], _) = match github {
                true => (
                    &["state", "sort", "direction", "per_page", "page"],
                    "updated",
                ),
                false => (&["state", "sort", "limit", "page"], "recentupdate"),
            };
            asked(state, known);
            if request.query.get("sort").map(String::as_str) != Some(sort) {
                state
                    .violations
                    .push("proposals that are not sorted by their change".into());
            }
            let all = request.query.get("state").is_some_and(|it| it == "all");
            let mut pulls: Vec<Value> = state
                .pulls
                .values()
                .filter(|it| all || it["state"] == "open")
                .cloned()
                .collect();
            pulls.sort_by_key(|it| {
                std::cmp::Reverse(it["updated_at"].as_str().unwrap_or_default().to_owned())
            });
            paged(state, request, pulls)
        }
        ("GET", ["pulls", n]) => match n.parse().ok().and_then(|n: u64| state.pulls.get(&n)) {
            Some(pull) => reply(200, pull),
            None => gone(),
        },
        ("GET", ["pulls", n, "files"]) => {
            let files = n
                .parse()
                .ok()
                .and_then(|n: u64| state.files.get(&n))
                .cloned();
            paged(state, request, files.unwrap_or_default())
        }
        ("GET", ["pulls", n, "reviews"]) => {
            let known: &[&str] = match github {
                true => &["per_page", "page"],
                false => &["limit", "page"],
            };
            asked(state, known);
            let reviews = n.parse().ok().and_then(|n: u64| state.reviews.get(&n));
            let reviews = reviews.cloned().unwrap_or_default();
            paged(state, request, reviews)
        }
        ("GET", ["commits", sha, "pulls"]) if github => {
            let found = state
                .merged
                .get(*sha)
                .and_then(|it| state.pulls.get(it))
                .cloned();
            reply(200, &json!(found.into_iter().collect::<Vec<_>>()))
        }
        ("GET", ["commits", sha, "pull"]) if !github => {
            match state.merged.get(*sha).and_then(|it| state.pulls.get(it)) {
                Some(pull) => reply(200, pull),
                None => gone(),
            }
        }
        ("GET", ["issues", n, "comments"]) => {
            asked(state, if github { &["per_page", "page"] } else { &[] });
            let end = format!("/{n}");
            let under = |it: &&Value| {
                ["issue_url", "pull_request_url"]
                    .iter()
                    .any(|name| it[*name].as_str().is_some_and(|it| it.ends_with(&end)))
            };
            let comments: Vec<Value> = state.comments.values().filter(under).cloned().collect();
            match github {
                true => paged(state, request, comments),
                false => reply(200, &json!(comments)),
            }
        }
        ("POST", ["issues", n, "comments"]) => {
            fields(state, &["body"]);
            let text = body["body"].as_str().unwrap_or_default().to_owned();
            let n: u64 = n.parse().unwrap();
            if text.chars().count() > 65_536 {
                return reply(
                    422,
                    &json!({"message": "Validation Failed", "errors": ["body is too long"]}),
                );
            }
            let id = state.add_comment(kind, n, US, &text);
            state.tell(format!("#{n}: new comment: {text}"));
            reply(201, &state.comments[&id])
        }
        ("GET", ["issues", "comments", id]) => {
            match id.parse().ok().and_then(|id: u64| state.comments.get(&id)) {
                Some(comment) => reply(200, comment),
                None => gone(),
            }
        }
        ("PATCH", ["issues", "comments", id]) => {
            fields(state, &["body"]);
            let id: u64 = id.parse().unwrap();
            let Some(comment) = state.comments.get_mut(&id) else {
                return gone();
            };
            if comment["user"]["id"] != US {
                return reply(403, &json!({"message": "Resource not accessible"}));
            }
            comment["body"] = body["body"].clone();
            let (text, answer) = (
                body["body"].as_str().unwrap_or_default().to_owned(),
                comment.clone(),
            );
            state.tell(format!("comment changed: {text}"));
            reply(200, &answer)
        }
        ("GET", ["commits", sha, "statuses"]) => {
            asked(
                state,
                if github {
                    &["per_page", "page"]
                } else {
                    &["sort", "limit", "page"]
                },
            );
            let of_it = |(it, _): &&(String, Value)| it == sha;
            let statuses: Vec<Value> = state
                .statuses
                .iter()
                .rev()
                .filter(of_it)
                .map(|it| it.1.clone())
                .collect();
            paged(state, request, statuses)
        }
        ("POST", ["statuses", sha]) => {
            fields(state, &["state", "context", "description", "target_url"]);
            let said = body["state"].as_str().unwrap_or_default().to_owned();
            let line = body["description"].as_str().unwrap_or_default().to_owned();
            if line.chars().count() > 140
                || !["pending", "success", "failure"].contains(&said.as_str())
            {
                return reply(422, &json!({"message": "Validation Failed"}));
            }
            let name = if github { "state" } else { "status" };
            let status = json!({
                "id": 1, name: said, "context": body["context"], "description": line,
                "target_url": body["target_url"], "creator": person(kind, US),
            });
            state.statuses.push(((*sha).to_owned(), status.clone()));
            state.tell(format!("status {said}: {line}"));
            reply(201, &status)
        }
        ("GET", ["commits", sha, "check-runs"]) if github => {
            asked(state, &["check_name", "filter", "per_page"]);
            let named = request.query.get("check_name").cloned();
            let of_it =
                |it: &&Value| it["head_sha"] == *sha && it["name"].as_str() == named.as_deref();
            let latest: Vec<Value> = state
                .checks
                .values()
                .rev()
                .filter(of_it)
                .take(1)
                .cloned()
                .collect();
            reply(
                200,
                &json!({"total_count": latest.len(), "check_runs": latest}),
            )
        }
        ("POST", ["check-runs"]) if github => {
            fields(
                state,
                &[
                    "name",
                    "head_sha",
                    "status",
                    "conclusion",
                    "external_id",
                    "details_url",
                    "output",
                ],
            );
            if kind != Kind::GitHubApp {
                return reply(
                    403,
                    &json!({"message": "You must authenticate via a GitHub App."}),
                );
            }
            let id = state.id();
            state.checks.insert(
                id,
                json!({"id": id, "app": {"id": APP}, "output": {"annotations_count": 0}}),
            );
            check(state, id, &body, 201)
        }
        ("PATCH", ["check-runs", id]) if github => {
            fields(
                state,
                &[
                    "name",
                    "status",
                    "conclusion",
                    "external_id",
                    "details_url",
                    "output",
                ],
            );
            let id: u64 = id.parse().unwrap();
            check(state, id, &body, 200)
        }
        ("GET", ["issues"]) => {
            let known: &[&str] = match github {
                true => &["state", "creator", "sort", "direction", "per_page", "page"],
                false => &["state", "type", "created_by", "limit", "page"],
            };
            asked(state, known);
            let issues: Vec<Value> = state.issues.values().rev().cloned().collect();
            paged(state, request, issues)
        }
        ("POST", ["issues"]) => {
            fields(state, &["title", "body"]);
            let number = state.id();
            let issue = json!({
                "number": number, "title": body["title"], "body": body["body"], "state": "open", "user": person(kind, US),
            });
            state.issues.insert(number, issue.clone());
            state.tell(format!(
                "new issue: {}",
                body["title"].as_str().unwrap_or_default()
            ));
            reply(201, &issue)
        }
        ("GET", ["issues", n]) => match n.parse().ok().and_then(|n: u64| state.issues.get(&n)) {
            Some(issue) => reply(200, issue),
            None => gone(),
        },
        ("PATCH", ["issues", n]) => {
            fields(state, &["title", "body", "state"]);
            let n: u64 = n.parse().unwrap();
            let Some(issue) = state.issues.get_mut(&n) else {
                return gone();
            };
            merge(issue, body.clone());
            let issue = issue.clone();
            let names: Vec<_> = body.as_object().unwrap().keys().cloned().collect();
            let said = issue["state"].as_str().unwrap_or_default().to_owned();
            state.tell(format!("issue {said}, changed: {}", names.join(" ")));
            reply(if github { 200 } else { 201 }, &issue)
        }
        _ => {
            state
                .violations
                .push(format!("not in the description: {method} {route}"));
            gone()
        }
    }
}

/// What is in no repository.
fn alone(
    kind: Kind,
    state: &mut State,
    now: Time,
    method: &str,
    segments: &[&str],
    asking: &Asking,
    body: &Value,
) -> Reply {
    let github = kind != Kind::Forgejo;
    match (method, segments, asking) {
        ("GET", ["user"], Asking::Us) if kind != Kind::GitHubApp => reply(200, &person(kind, US)),
        ("GET", ["users", "muster%5Bbot%5D"], Asking::Us) if github => {
            reply(200, &person(kind, US))
        }
        ("GET", ["app"], Asking::App) => reply(200, &json!({"id": APP, "slug": "muster"})),
        ("POST", ["app", "installations", "5", "access_tokens"], Asking::App) => {
            if *body != json!({"repositories": ["state"]}) {
                state
                    .violations
                    .push(format!("a token for more than one repository: {body}"));
            }
            let token = format!("ghs_canary_{}", state.id());
            let until = now.plus(LASTS);
            state.tokens.insert(token.clone(), until.0);
            reply(
                201,
                &json!({"token": token, "expires_at": until.to_string()}),
            )
        }
        ("POST", ["graphql"], Asking::Us) if github => {
            let id = body["variables"]["id"]
                .as_str()
                .unwrap_or_default()
                .to_owned();
            let known = body["query"]
                .as_str()
                .is_some_and(|it| it.contains("minimizeComment"));
            let comment = state
                .comments
                .values_mut()
                .find(|it| it["node_id"] == id.as_str());
            match comment.filter(|_| known) {
                Some(comment) => {
                    comment["minimized"] = json!({"reason": "outdated"});
                    state.tell(format!("{id} put out of sight"));
                    reply(
                        200,
                        &json!({"data": {"minimizeComment": {"clientMutationId": null}}}),
                    )
                }
                None => reply(
                    200,
                    &json!({"data": null, "errors": [{"message": "Could not resolve to a node"}]}),
                ),
            }
        }
        _ => {
            state.violations.push(format!(
                "not in the description: {method} {}",
                segments.join("/")
            ));
            reply(404, &json!({"message": "Not Found"}))
        }
    }
}

fn check(state: &mut State, id: u64, body: &Value, status: u16) -> Reply {
    let Some(run) = state.checks.get_mut(&id) else {
        return reply(404, &json!({"message": "Not Found"}));
    };
    let added = body["output"]["annotations"].as_array().map_or(0, Vec::len) as u64;
    if added > 50 {
        return reply(
            422,
            &json!({"message": "Invalid request. No more than 50 items are allowed"}),
        );
    }
    let count = run["output"]["annotations_count"].as_u64().unwrap_or(0) + added;
    for name in ["name", "head_sha", "status", "conclusion", "external_id"] {
        if !body[name].is_null() {
            run[name] = body[name].clone();
        }
    }
    run["output"]["annotations_count"] = json!(count);
    let run = run.clone();
    let word = run["conclusion"]
        .as_str()
        .or(run["status"].as_str())
        .unwrap_or_default();
    let said = format!(
        "check {id} {word}, {count} remarks: {}",
        body["output"]["title"].as_str().unwrap_or_default()
    );
    state.tell(said);
    reply(status, &run)
}

/// One page of a list. Its links name another host, as those of a forge behind a proxy do.
fn paged(state: &State, request: &Request, all: Vec<Value>) -> Reply {
    let asked = |name: &str| {
        request
            .query
            .get(name)
            .and_then(|it| it.parse::<usize>().ok())
    };
    let most = asked("per_page").or(asked("limit")).unwrap_or(30);
    let size = state.page_size.unwrap_or(most).min(most);
    let page = asked("page").unwrap_or(1).max(1);
    let from = (page - 1) * size;
    let items: Vec<Value> = all.iter().skip(from).take(size).cloned().collect();
    let mut reply = reply(200, &json!(items));
    if from + size < all.len() {
        let mut query = request.query.clone();
        query.insert("page".into(), (page + 1).to_string());
        let query: Vec<String> = query
            .iter()
            .map(|(name, value)| format!("{name}={value}"))
            .collect();
        let link = format!(
            "<http://localhost:1/elsewhere?{}>; rel=\"next\", <http://localhost:1/?page=9>; rel=\"last\"",
            query.join("&")
        );
        reply.headers.push(("link".into(), link));
    }
    reply
}
