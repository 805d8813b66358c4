//! Telling people on a forge, in either dialect. Each call looks before it sends.

use http::Method;
use muster_core::bytes::hex;
use muster_core::commit::CommitId;
use muster_core::forge::{
    Annotation, CheckId, CheckRun, CheckState, Closed, CommentId, ForgeError, ForgeWriter, Issue,
    IssueNumber, Level, Marker, Put, Status, StatusState,
};
use ring::digest::{SHA256, digest};
use serde_json::{Value, json};

use crate::answers;
use crate::conversation::{Conversation, SharedConversation};
use crate::dialect::Dialect;
use crate::request::Author;

/// How many remarks a forge takes at once.
const ANNOTATIONS_AT_ONCE: usize = 50;

/// What our check runs are known by, with a hash of what they say.
const CHECK: &str = "muster-check/1:";

/// Tells people on a forge.
pub struct Writer {
    conversation: SharedConversation,
}

impl Writer {
    pub(crate) fn new(conversation: SharedConversation) -> Self {
        Self { conversation }
    }
}

impl ForgeWriter for Writer {
    fn put_comment(
        &mut self,
        proposal: u64,
        known: Option<CommentId>,
        marker: &Marker,
        text: &str,
    ) -> Result<Put<CommentId>, ForgeError> {
        fits(marker, text)?;
        let mut conversation = self.conversation.lock();
        let me = conversation.me()?;
        let body = marker.above(text);
        if let Some(known) = known
            && let Some(found) = known_comment(&mut conversation, &me, proposal, known)?
        {
            return settle(&mut conversation, proposal, &found, &body);
        }
        let mut ours = our_comments(&mut conversation, &me, proposal, marker)?;
        ours.sort_by_key(|it| it.id);
        let Some((kept, others)) = ours.split_first() else {
            return create(&mut conversation, proposal, &body);
        };
        let put = settle(&mut conversation, proposal, kept, &body)?;
        for other in others {
            put_out_of_sight(&mut conversation, kept.id, other);
        }
        Ok(put)
    }

    fn has_comment(
        &mut self,
        proposal: u64,
        known: CommentId,
        marker: &Marker,
    ) -> Result<bool, ForgeError> {
        let mut conversation = self.conversation.lock();
        let me = conversation.me()?;
        let found = known_comment(&mut conversation, &me, proposal, known)?;
        Ok(found.is_some_and(|it| is_ours(&it, &me, marker)))
    }

    fn set_status(&mut self, commit: &CommitId, status: &Status) -> Result<Put<()>, ForgeError> {
        let mut conversation = self.conversation.lock();
        let me = conversation.me()?;
        let state = match status.state {
            StatusState::Pending => "pending",
            StatusState::Success => "success",
            StatusState::Failure => "failure",
        };
        let route = conversation.dialect().statuses(commit.as_str());
        let route = conversation.repository.route(&route);
        let latest = conversation
            .list::<answers::CommitStatus>(&route, |_| true)?
            .into_iter()
            .filter_map(Result::ok)
            .find(|it| {
                it.context
                    .as_deref()
                    .is_some_and(|it| it.eq_ignore_ascii_case(&status.context))
            });
        let target = status.target.as_deref().unwrap_or_default();
        let says_so = latest.as_ref().is_some_and(|it| {
            me.is(it.creator.as_ref())
                && it.state.as_deref().or(it.status.as_deref()) == Some(state)
                && it.description.as_deref().unwrap_or_default() == status.summary.as_str()
                && it.target_url.as_deref().unwrap_or_default() == target
        });
        if says_so {
            return Ok(Put::Unchanged(()));
        }
        let mut body = json!({
            "state": state,
            "context": status.context,
            "description": status.summary.as_str(),
        });
        if let Some(target) = &status.target {
            body["target_url"] = json!(target);
        }
        let route = conversation
            .repository
            .route(&format!("/statuses/{commit}"));
        let _made = conversation.change(Method::POST, &route, &body)?;
        Ok(match latest {
            Some(_) => Put::Updated(()),
            None => Put::Created(()),
        })
    }

    fn put_check(
        &mut self,
        commit: &CommitId,
        check: &CheckRun,
    ) -> Result<Put<CheckId>, ForgeError> {
        let mut conversation = self.conversation.lock();
        let Some(app) = conversation.client.app() else {
            return Ok(Put::NotOffered);
        };
        let hash = hash_of(check);
        let found = our_check(&mut conversation, app, commit, &check.name)?;
        if let Some(found) = &found
            && found.external_id.as_deref() == Some(hash.as_str())
        {
            return Ok(Put::Unchanged(CheckId(found.id)));
        }
        // Remarks can be added to a run and never taken away: one that has some is followed by another of the same name.
        let reused = found.as_ref().filter(|it| {
            let remarks = it.output.as_ref().and_then(|it| it.annotations_count);
            remarks == Some(0)
                && (it.status.as_deref() != Some("completed") || check.annotations.is_empty())
        });
        let mut batches = check.annotations.chunks(ANNOTATIONS_AT_ONCE);
        let mut rest = batches.len().saturating_sub(1);
        let mut body = check_body(check, batches.next().unwrap_or_default());
        if rest == 0 {
            conclude(&mut body, check, &hash);
        } else {
            // It concludes only with the last annotation; until then it is in progress.
            body["status"] = json!("in_progress");
        }
        let runs = conversation.repository.route("/check-runs");
        let (id, put) = match reused {
            Some(run) => {
                let route = format!("{runs}/{}", run.id);
                let _updated = conversation.change(Method::PATCH, &route, &body)?;
                (run.id, Put::Updated(CheckId(run.id)))
            }
            None => {
                body["head_sha"] = json!(commit.as_str());
                let page = conversation.change(Method::POST, &runs, &body)?;
                let made: answers::Made = conversation.read(&page)?;
                (made.id, Put::Created(CheckId(made.id)))
            }
        };
        let route = format!("{runs}/{id}");
        for batch in batches {
            rest -= 1;
            let mut body = check_body(check, batch);
            if rest == 0 {
                conclude(&mut body, check, &hash);
            }
            let _updated = conversation.change(Method::PATCH, &route, &body)?;
        }
        Ok(put)
    }

    fn put_issue(
        &mut self,
        known: Option<IssueNumber>,
        marker: &Marker,
        issue: &Issue,
    ) -> Result<Put<IssueNumber>, ForgeError> {
        fits(marker, &issue.text)?;
        let mut conversation = self.conversation.lock();
        let body = marker.above(&issue.text);
        let Some(found) = our_issue(&mut conversation, known, marker)? else {
            let route = conversation.repository.route("/issues");
            let sent = json!({"title": issue.title, "body": body});
            let page = conversation.change(Method::POST, &route, &sent)?;
            let made: answers::MadeIssue = conversation.read(&page)?;
            return Ok(Put::Created(IssueNumber(made.number)));
        };
        let number = IssueNumber(found.number);
        let mut changes = serde_json::Map::new();
        if found.title.as_deref() != Some(issue.title.as_str()) {
            changes.insert("title".into(), json!(issue.title));
        }
        if !same(found.body.as_deref().unwrap_or_default(), &body) {
            changes.insert("body".into(), json!(body));
        }
        if found.state.as_deref() != Some("open") {
            changes.insert("state".into(), json!("open"));
        }
        if changes.is_empty() {
            return Ok(Put::Unchanged(number));
        }
        let route = conversation
            .repository
            .route(&format!("/issues/{}", found.number));
        let _updated = conversation.change(Method::PATCH, &route, &Value::Object(changes))?;
        Ok(Put::Updated(number))
    }

    fn close_issue(
        &mut self,
        known: Option<IssueNumber>,
        marker: &Marker,
    ) -> Result<Closed, ForgeError> {
        let mut conversation = self.conversation.lock();
        let found = our_issue(&mut conversation, known, marker)?;
        let Some(found) = found.filter(|it| it.state.as_deref() == Some("open")) else {
            return Ok(Closed::NoneOpen);
        };
        let route = conversation
            .repository
            .route(&format!("/issues/{}", found.number));
        let _updated = conversation.change(Method::PATCH, &route, &json!({"state": "closed"}))?;
        Ok(Closed::Closed(IssueNumber(found.number)))
    }
}

fn fits(marker: &Marker, text: &str) -> Result<(), ForgeError> {
    let length = text.chars().count();
    let limit = marker.room();
    if length > limit {
        return Err(ForgeError::TooLong { length, limit });
    }
    Ok(())
}

/// Whether a forge shows `body` already: it may have changed the line ends, or left out what ends the text.
fn same(shown: &str, body: &str) -> bool {
    let plain = |text: &str| text.replace("\r\n", "\n").trim_end().to_owned();
    plain(shown) == plain(body)
}

/// The comment of that number, if it is ours and under this proposal. What it says does not matter: somebody else may have written
/// over it, the marker too, and then it is put right and no second one made (F37).
fn known_comment(
    conversation: &mut Conversation,
    me: &Author,
    proposal: u64,
    known: CommentId,
) -> Result<Option<answers::Comment>, ForgeError> {
    let route = conversation
        .repository
        .route(&format!("/issues/comments/{known}"));
    let page = match conversation.get(&route) {
        // Forgejo's way to say that it is something else.
        Ok(page) if page.body.is_empty() => return Ok(None),
        Ok(page) => page,
        Err(ForgeError::NotThere { .. }) => return Ok(None),
        Err(error) => return Err(error),
    };
    let comment: answers::Comment = conversation.read(&page)?;
    let ours = me.is(comment.user.as_ref()) && comment.under() == Some(proposal);
    Ok(Some(comment).filter(|_| ours))
}

fn is_ours(comment: &answers::Comment, me: &Author, marker: &Marker) -> bool {
    me.is(comment.user.as_ref()) && marker.is_above(comment.body.as_deref().unwrap_or_default())
}

fn our_comments(
    conversation: &mut Conversation,
    me: &Author,
    proposal: u64,
    marker: &Marker,
) -> Result<Vec<answers::Comment>, ForgeError> {
    let route = conversation
        .repository
        .route(&conversation.dialect().comments(proposal));
    let mut ours = Vec::new();
    for comment in conversation.list::<answers::Comment>(&route, |_| false)? {
        // A comment that cannot be read may be ours: a duplicate would be worse than no comment.
        let comment = comment.map_err(|why| ForgeError::Garbled {
            what: format!("the comments of #{proposal}"),
            why,
        })?;
        if is_ours(&comment, me, marker) {
            ours.push(comment);
        }
    }
    Ok(ours)
}

/// Makes a comment that is there say `body`.
fn settle(
    conversation: &mut Conversation,
    proposal: u64,
    found: &answers::Comment,
    body: &str,
) -> Result<Put<CommentId>, ForgeError> {
    let id = CommentId(found.id);
    if same(found.body.as_deref().unwrap_or_default(), body) {
        return Ok(Put::Unchanged(id));
    }
    let route = conversation
        .repository
        .route(&format!("/issues/comments/{id}"));
    match conversation.change(Method::PATCH, &route, &json!({"body": body})) {
        Ok(_) => Ok(Put::Updated(id)),
        // Somebody has just deleted it.
        Err(ForgeError::NotThere { .. }) => create(conversation, proposal, body),
        Err(error) => Err(error),
    }
}

fn create(
    conversation: &mut Conversation,
    proposal: u64,
    body: &str,
) -> Result<Put<CommentId>, ForgeError> {
    let route = format!("/issues/{proposal}/comments");
    let route = conversation.repository.route(&route);
    let page = conversation.change(Method::POST, &route, &json!({"body": body}))?;
    let made: answers::Made = conversation.read(&page)?;
    Ok(Put::Created(CommentId(made.id)))
}

/// Hides a duplicate comment of ours, or marks it as out of date. A failure is only logged: the report itself was written.
fn put_out_of_sight(conversation: &mut Conversation, kept: u64, other: &answers::Comment) {
    let hidden = match conversation.dialect() {
        Dialect::GitHub if other.minimized.as_ref().is_some_and(|it| !it.is_null()) => return,
        Dialect::GitHub => minimise(conversation, other),
        Dialect::Forgejo => {
            let route = format!("/issues/comments/{}", other.id);
            let route = conversation.repository.route(&route);
            let text = format!("*Out of date: see [the other comment](#issuecomment-{kept}).*");
            conversation
                .change(Method::PATCH, &route, &json!({"body": text}))
                .map(drop)
        }
    };
    if let Err(error) = hidden {
        tracing::warn!(comment = other.id, %error, "A comment of ours that is one too many stays in sight.");
    }
}

fn minimise(conversation: &mut Conversation, comment: &answers::Comment) -> Result<(), ForgeError> {
    let query = "mutation($id: ID!) { minimizeComment(input: {subjectId: $id, classifier: OUTDATED}) { clientMutationId } }";
    let page =
        conversation.graphql(&json!({"query": query, "variables": {"id": comment.node_id}}))?;
    let answer: answers::GraphqlAnswer = conversation.read(&page)?;
    match answer.errors.unwrap_or_default().into_iter().next() {
        None => Ok(()),
        Some(first) => Err(ForgeError::Refused {
            what: page.what,
            why: muster_core::diagnostic::visible(&first.message.unwrap_or_default()),
        }),
    }
}

/// The latest run of that name on a commit, if it is ours.
fn our_check(
    conversation: &mut Conversation,
    app: u64,
    commit: &CommitId,
    name: &str,
) -> Result<Option<answers::CheckRun>, ForgeError> {
    let name_of_it = crate::dialect::encode(name);
    let route =
        format!("/commits/{commit}/check-runs?check_name={name_of_it}&filter=latest&per_page=100");
    let route = conversation.repository.route(&route);
    let page = conversation.get(&route)?;
    let runs: answers::CheckRuns = conversation.read(&page)?;
    Ok(runs
        .check_runs
        .into_iter()
        .filter(|it| it.name.as_deref() == Some(name))
        .filter(|it| match it.app.as_ref().and_then(|it| it.id) {
            Some(id) => id == app,
            None => it
                .external_id
                .as_deref()
                .is_some_and(|it| it.starts_with(CHECK)),
        })
        .max_by_key(|it| it.id))
}

/// What a run says, as one short word that GitHub keeps for us.
fn hash_of(check: &CheckRun) -> String {
    let all = check_body(check, &check.annotations);
    let all = format!("{all}{:?}", check.state);
    let hash = digest(&SHA256, all.as_bytes());
    format!("{CHECK}{}", hex(&hash.as_ref()[..16]))
}

fn check_body(check: &CheckRun, annotations: &[Annotation]) -> Value {
    let annotations: Vec<Value> = annotations.iter().map(annotation).collect();
    let mut body = json!({
        "name": check.name,
        "output": {"title": check.title, "summary": check.summary, "annotations": annotations},
    });
    if let Some(target) = &check.target {
        body["details_url"] = json!(target);
    }
    body
}

fn conclude(body: &mut Value, check: &CheckRun, hash: &str) {
    body["external_id"] = json!(hash);
    let conclusion = match check.state {
        CheckState::Running => {
            body["status"] = json!("in_progress");
            return;
        }
        CheckState::Success => "success",
        CheckState::Failure => "failure",
    };
    body["status"] = json!("completed");
    body["conclusion"] = json!(conclusion);
}

fn annotation(it: &Annotation) -> Value {
    let Annotation {
        path,
        line,
        column,
        level,
        message,
    } = it;
    let level = match level {
        Level::Notice => "notice",
        Level::Warning => "warning",
        Level::Failure => "failure",
    };
    let mut value = json!({
        "path": path,
        "start_line": line,
        "end_line": line,
        "annotation_level": level,
        "message": message,
    });
    if let Some(column) = column {
        value["start_column"] = json!(column);
        value["end_column"] = json!(column);
    }
    value
}

/// The latest issue of ours with that marker, open or not.
fn our_issue(
    conversation: &mut Conversation,
    known: Option<IssueNumber>,
    marker: &Marker,
) -> Result<Option<answers::Issue>, ForgeError> {
    let me = conversation.me()?;
    let ours = |it: &answers::Issue| {
        it.pull_request.as_ref().is_none_or(Value::is_null)
            && me.is(it.user.as_ref())
            && marker.is_above(it.body.as_deref().unwrap_or_default())
    };
    if let Some(IssueNumber(number)) = known {
        let route = conversation.repository.route(&format!("/issues/{number}"));
        match conversation.get(&route) {
            Ok(page) => {
                let issue: answers::Issue = conversation.read(&page)?;
                if ours(&issue) {
                    return Ok(Some(issue));
                }
            }
            Err(ForgeError::NotThere { .. }) => {}
            Err(error) => return Err(error),
        }
    }
    let route = conversation.dialect().issues_of(&me.login);
    let route = conversation.repository.route(&route);
    let mut latest: Option<answers::Issue> = None;
    for issue in conversation.list::<answers::Issue>(&route, |_| false)? {
        let issue = issue.map_err(|why| ForgeError::Garbled {
            what: "our issues".into(),
            why,
        })?;
        if ours(&issue) && latest.as_ref().is_none_or(|it| it.number < issue.number) {
            latest = Some(issue);
        }
    }
    Ok(latest)
}
