//! What the stand-in lacks, answered as GitHub's description says.

use serde_json::{Value, json};

use super::{Inner, Pull, REPOSITORY, State, now};
use crate::skin::{How, Reply, Request};

/// The one thing that is asked of GitHub's other API.
pub(super) fn wrong_query(request: &Request) -> Option<String> {
    let body: Value = serde_json::from_slice(&request.body).unwrap_or_default();
    let text = body["query"].as_str().unwrap_or_default();
    let squeezed: String = text.split_whitespace().collect();
    let right = request.method == "POST"
        && squeezed.starts_with(
            "mutation($id:ID!){minimizeComment(input:{subjectId:$id,classifier:OUTDATED})",
        )
        && body["variables"]["id"].is_string();
    (!right).then(|| format!("not a comment put out of sight: {body}"))
}

impl Inner {
    /// Answers a request of the API.
    pub(super) fn api(&self, request: &Request) -> Reply {
        let method = request.method.as_str();
        let body: Value = serde_json::from_slice(&request.body).unwrap_or_default();
        let words: Vec<&str> = request.path.split('/').skip(1).collect();
        let here = format!("repos/{REPOSITORY}");
        let rest = match &words[..] {
            ["graphql"] => return self.minimise(request, &body),
            ["app", "installations", _, "access_tokens"] => {
                return self.installation_token(request);
            }
            [repos, owner, name, rest @ ..] if [*repos, *owner, *name].join("/") == here => rest,
            _ => return self.ask_stand_in(request),
        };
        match (method, rest) {
            ("GET", ["pulls"]) => self.pulls(request),
            ("GET", ["pulls", n]) => self.about_pull(request, n),
            ("GET", ["pulls", n, "files"]) => self.files(request, n),
            ("GET", ["commits", commit, "pulls"]) => self.pulls_of(request, commit),
            ("GET", ["commits", commit, "statuses"]) => self.statuses(request, commit),
            ("POST", ["statuses", commit]) => self.set_status(request, commit, &body),
            ("GET", ["issues", "comments", _]) | ("GET", ["issues", _, "comments"]) => {
                self.comments(request)
            }
            ("POST", ["issues", n, "comments"]) => {
                let reply = self.ask_stand_in(request);
                if reply.status == 201 {
                    self.touch(n.parse().unwrap_or(0));
                }
                reply
            }
            ("PATCH", ["issues", "comments", _]) => {
                let reply = self.ask_stand_in(request);
                let comment: Value = serde_json::from_slice(&reply.body).unwrap_or_default();
                let under = comment["issue_url"].as_str().unwrap_or_default();
                self.touch(
                    under
                        .rsplit('/')
                        .next()
                        .and_then(|it| it.parse().ok())
                        .unwrap_or(0),
                );
                reply
            }
            _ => self.ask_stand_in(request),
        }
    }

    /// A proposal has changed just now.
    pub(super) fn touch(&self, number: u64) {
        if let Some(pull) = self.state().pulls.get_mut(&number) {
            pull.updated = now();
        }
    }

    /// The stand-in gives it; what may be done with it elsewhere is remembered.
    fn installation_token(&self, request: &Request) -> Reply {
        let reply = self.ask_stand_in(request);
        let body: Value = serde_json::from_slice(&reply.body).unwrap_or_default();
        if let Some(token) = body["token"].as_str() {
            self.state().installation_tokens.insert(token.to_owned());
        }
        reply
    }

    /// Whether the stand-in would let whoever asks read the repository.
    fn is_let_in(&self, request: &Request) -> Result<(), Reply> {
        let asked = Request {
            method: "GET".into(),
            target: format!("/repos/{REPOSITORY}"),
            path: format!("/repos/{REPOSITORY}"),
            query: request.query.clone(),
            headers: request.headers.clone(),
            body: Vec::new(),
        };
        match self.ask_stand_in(&asked) {
            reply if reply.status == 200 => Ok(()),
            reply => Err(reply),
        }
    }

    /// Whose token came with it.
    fn speaker(&self, request: &Request) -> Option<Value> {
        let given = request.headers.get("authorization")?;
        let token = given.split(' ').nth(1)?;
        if self.state().installation_tokens.contains(token) {
            let path = "/users/muster%5Bbot%5D";
            return Some(self.first_person_asks("GET", path));
        }
        let person = self.people.iter().find(|it| it.token == token)?;
        Some(self.first_person_asks("GET", &format!("/users/{}", person.login)))
    }

    // ── proposals ────────────────────────────────────────────────────────────────────────────────────────────────────

    fn every_pull(&self, request: &Request) -> Result<Vec<Value>, Reply> {
        let target = format!("/repos/{REPOSITORY}/pulls?state=all&per_page=100");
        let mut all = Vec::new();
        for page in 1.. {
            let asked = Request {
                target: format!("{target}&page={page}"),
                ..request.clone()
            };
            let reply = self.ask_stand_in(&asked);
            if reply.status != 200 {
                return Err(reply);
            }
            let some: Vec<Value> = serde_json::from_slice(&reply.body).unwrap_or_default();
            let more = some.len() == 100;
            all.extend(some);
            if !more {
                break;
            }
        }
        let state = self.state();
        for pull in &mut all {
            self.correct(&state, pull);
        }
        Ok(all)
    }

    /// Says of a proposal what is true.
    fn correct(&self, state: &State, pull: &mut Value) {
        let number = pull["number"].as_u64().unwrap_or(0);
        let Some(known) = state.pulls.get(&number) else {
            return;
        };
        let Pull {
            head,
            updated,
            open,
            merged,
            ..
        } = known;
        pull["head"]["sha"] = json!(head);
        pull["updated_at"] = json!(updated);
        if *open {
            let base = pull["base"]["ref"].as_str().unwrap_or_default().to_owned();
            pull["base"]["sha"] = json!(self.code.tip(REPOSITORY, &base));
        }
        pull["state"] = json!(if *open { "open" } else { "closed" });
        if let Some((commit, at)) = merged {
            pull["merged"] = json!(true);
            pull["merged_at"] = json!(at);
            pull["closed_at"] = json!(at);
            pull["merge_commit_sha"] = json!(commit);
        }
    }

    fn pulls(&self, request: &Request) -> Reply {
        let mut all = match self.every_pull(request) {
            Ok(all) => all,
            Err(reply) => return reply,
        };
        let asked = |name: &str| request.query.get(name).map(String::as_str);
        let wanted = asked("state").unwrap_or("open");
        all.retain(|it| wanted == "all" || it["state"] == wanted);
        if let Some(base) = asked("base") {
            all.retain(|it| it["base"]["ref"] == base);
        }
        let by = match asked("sort") {
            Some("updated") => "updated_at",
            _ => "created_at",
        };
        // The stand-in writes parts of seconds, and we do not.
        let key = |it: &Value| it[by].as_str().unwrap_or_default()[..19].to_owned();
        all.sort_by_key(|it| (key(it), it["number"].as_u64()));
        if asked("direction") != Some("asc") {
            all.reverse();
        }
        paged(request, all)
    }

    fn about_pull(&self, request: &Request, number: &str) -> Reply {
        let mut reply = self.ask_stand_in(request);
        if reply.status == 200 {
            let mut pull: Value = serde_json::from_slice(&reply.body).unwrap_or_default();
            let number = number.parse::<u64>().unwrap_or(0);
            pull["number"] = json!(number);
            self.correct(&self.state(), &mut pull);
            reply.body = pull.to_string().into_bytes();
        }
        reply
    }

    fn files(&self, request: &Request, number: &str) -> Reply {
        let mut reply = self.about_pull(request, number);
        if reply.status != 200 {
            return reply;
        }
        let pull: Value = serde_json::from_slice(&reply.body).unwrap_or_default();
        let side = |name: &str| pull[name]["sha"].as_str().unwrap_or_default().to_owned();
        let range = format!("{}...{}", side("base"), side("head"));
        let told = self
            .code
            .git(REPOSITORY, &["diff", "--name-status", "-M", &range]);
        let files = told.lines().map(|line| {
            let mut words = line.split('\t');
            let kind = words.next().unwrap_or_default();
            let (one, two) = (words.next(), words.next());
            let status = match kind.as_bytes().first() {
                Some(b'A') => "added",
                Some(b'D') => "removed",
                Some(b'R') => "renamed",
                _ => "modified",
            };
            let mut file = json!({"filename": two.or(one), "status": status, "sha": null});
            if two.is_some() {
                file["previous_filename"] = json!(one);
            }
            file
        });
        let paged = paged(request, files.collect());
        reply.body = paged.body;
        reply
    }

    /// Those that a commit is of, or that became it.
    fn pulls_of(&self, request: &Request, commit: &str) -> Reply {
        if let Err(reply) = self.is_let_in(request) {
            return reply;
        }
        if !self.code.has(REPOSITORY, commit) {
            return said(
                422,
                &json!({"message": format!("No commit found for SHA: {commit}")}),
            );
        }
        let mut all = match self.every_pull(request) {
            Ok(all) => all,
            Err(reply) => return reply,
        };
        all.retain(|it| it["merge_commit_sha"] == commit || it["head"]["sha"] == commit);
        paged(request, all)
    }

    // ── statuses ─────────────────────────────────────────────────────────────────────────────────────────────────────

    fn statuses(&self, request: &Request, commit: &str) -> Reply {
        if let Err(reply) = self.is_let_in(request) {
            return reply;
        }
        let all = self.state().statuses.get(commit).cloned();
        paged(request, all.unwrap_or_default().into_iter().rev().collect())
    }

    fn set_status(&self, request: &Request, commit: &str, body: &Value) -> Reply {
        if let Err(reply) = self.is_let_in(request) {
            return reply;
        }
        let Some(creator) = self.speaker(request) else {
            return said(401, &json!({"message": "Bad credentials"}));
        };
        let state = body["state"].as_str().unwrap_or_default();
        let known = ["error", "failure", "pending", "success"].contains(&state);
        let text = body["description"].as_str().unwrap_or_default();
        if !known || text.chars().count() > 140 {
            return said(422, &json!({"message": "Validation Failed"}));
        }
        if !self.code.has(REPOSITORY, commit) {
            return said(
                422,
                &json!({"message": format!("No commit found for SHA: {commit}")}),
            );
        }
        let mut all = self.state();
        all.last_id += 1;
        let (id, at) = (all.last_id, now());
        let status = json!({
            "url": format!("https://api.example.org/repos/{REPOSITORY}/statuses/{commit}"),
            "avatar_url": creator["avatar_url"], "id": id, "node_id": format!("SC_{id}"),
            "state": state, "description": body["description"], "target_url": body["target_url"],
            "context": body["context"].as_str().unwrap_or("default"),
            "created_at": at, "updated_at": at, "creator": creator,
        });
        let known = all.statuses.entry(commit.to_owned()).or_default();
        known.push(status.clone());
        said(201, &status)
    }

    // ── comments out of sight ────────────────────────────────────────────────────────────────────────────────────────

    fn comments(&self, request: &Request) -> Reply {
        let mut reply = self.ask_stand_in(request);
        if reply.status != 200 {
            return reply;
        }
        let mut body: Value = serde_json::from_slice(&reply.body).unwrap_or_default();
        let state = self.state();
        let show = |comment: &mut Value| {
            let hidden = comment["node_id"]
                .as_str()
                .is_some_and(|it| state.minimised.contains(it));
            comment["minimized"] = match hidden {
                true => json!({"reason": "outdated"}),
                false => Value::Null,
            };
        };
        match &mut body {
            Value::Array(all) => all.iter_mut().for_each(show),
            one => show(one),
        }
        reply.body = body.to_string().into_bytes();
        reply
    }

    fn minimise(&self, request: &Request, body: &Value) -> Reply {
        if let Err(reply) = self.is_let_in(request) {
            return reply;
        }
        let id = body["variables"]["id"].as_str().unwrap_or_default();
        if wrong_query(request).is_some() || !id.starts_with("IC_") && id.is_empty() {
            return said(
                200,
                &json!({"data": null, "errors": [{"message": "Could not resolve to a node"}]}),
            );
        }
        self.state().minimised.insert(id.to_owned());
        said(
            200,
            &json!({"data": {"minimizeComment": {"clientMutationId": null}}}),
        )
    }
}

fn said(status: u16, body: &Value) -> Reply {
    Reply {
        status,
        headers: vec![(
            "content-type".into(),
            "application/json; charset=utf-8".into(),
        )],
        body: body.to_string().into_bytes(),
        how: How::Whole,
    }
}

/// One page of a list.
fn paged(request: &Request, all: Vec<Value>) -> Reply {
    let asked = |name: &str| {
        request
            .query
            .get(name)
            .and_then(|it| it.parse::<usize>().ok())
    };
    let size = asked("per_page").unwrap_or(30).clamp(1, 100);
    let page = asked("page").unwrap_or(1).max(1);
    let from = (page - 1) * size;
    let items: Vec<&Value> = all.iter().skip(from).take(size).collect();
    let mut reply = said(200, &json!(items));
    if from + size < all.len() {
        let mut query = request.query.clone();
        query.insert("page".into(), (page + 1).to_string());
        let query: Vec<String> = query
            .iter()
            .map(|(name, value)| format!("{name}={value}"))
            .collect();
        let link = format!(
            "<https://api.example.org{}?{}>; rel=\"next\"",
            request.path,
            query.join("&")
        );
        reply.headers.push(("link".into(), link));
    }
    reply
}
