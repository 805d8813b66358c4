//! Webhooks: those of the stand-in come by here, so that they are counted and reach every bot; what it never sends is made here.

use std::io::ErrorKind;
use std::sync::PoisonError;

use ring::hmac;
use serde_json::{Value, json};

use super::{Inner, REPOSITORY, network::inside};
use crate::description::try_call;
use crate::skin::{Reply, Request};

/// Who wants to hear, and what they were told.
#[derive(Default)]
pub(crate) struct Hooks {
    bots: Vec<Listener>,
    delivered: Vec<Delivery>,
    count: u64,
}

/// Where a bot hears webhooks.
#[derive(Clone, Debug)]
pub struct Listener {
    /// The port, on the loopback of its network.
    pub port: u16,
    /// The network namespace; this one where there is none.
    pub network: Option<String>,
}

/// One webhook that was sent.
#[derive(Clone, Debug)]
pub struct Delivery {
    /// Which event.
    pub event: String,
    /// What it was answered; `None` where nobody was there.
    pub status: Option<u16>,
}

impl super::Hub {
    /// From now on, webhooks go there too.
    pub fn add_bot(&self, listener: Listener) {
        self.inner.hooks().bots.push(listener);
    }

    /// From now on, none of them hears anything.
    pub fn forget_bots(&self) {
        self.inner.hooks().bots.clear();
    }

    /// Every webhook that was sent.
    pub fn delivered(&self) -> Vec<Delivery> {
        self.inner.hooks().delivered.clone()
    }

    /// Sends a webhook of a push that moved nothing.
    ///
    /// # Panics
    /// When there is no branch yet.
    pub fn poke(&self) {
        let tip = self.inner.code.tip(REPOSITORY, "main");
        let payload = json!({"ref": "refs/heads/main", "before": tip, "after": tip});
        self.inner.deliver("push", payload);
    }

    /// Sends what a forge tells of a branch that was pushed to another repository.
    ///
    /// # Panics
    /// When it has no such branch.
    pub fn tell_of_push(&self, repository: &str, branch: &str) {
        let tip = self.inner.code.tip(repository, branch);
        let name = format!("refs/heads/{branch}");
        let payload = json!({
            "ref": name,
            "after": tip,
            "repository": {"full_name": repository, "owner": {"login": "acme"}},
        });
        self.inner.deliver("push", payload);
    }

    /// Puts a proposal into the merge queue, which makes a commit of its own on a branch of its own and says so; gives the commit.
    ///
    /// # Panics
    /// When git fails.
    pub fn queue(&self, number: u64) -> String {
        let code = &self.inner.code;
        let (base, head) = (code.tip(REPOSITORY, "main"), self.head(number));
        let tree = format!("{head}^{{tree}}");
        let commit = code.git(
            REPOSITORY,
            &[
                "-c",
                "user.name=queue",
                "-c",
                "user.email=queue@example.org",
                "commit-tree",
                &tree,
                "-p",
                &base,
                "-p",
                &head,
                "-m",
                "Merge pull request",
            ],
        );
        let branch = queue_of(number, &base);
        code.git(REPOSITORY, &["update-ref", &branch, &commit]);
        let group = json!({"head_sha": commit, "head_ref": branch, "base_sha": base, "base_ref": "refs/heads/main"});
        let payload = json!({"action": "checks_requested", "merge_group": group});
        self.inner.deliver("merge_group", payload);
        commit
    }

    /// Takes a proposal out of the merge queue again.
    ///
    /// # Panics
    /// When git fails.
    pub fn leave_queue(&self, number: u64) {
        let base = self.inner.code.tip(REPOSITORY, "main");
        let branch = queue_of(number, &base);
        (self.inner.code).git(REPOSITORY, &["update-ref", "-d", &branch]);
    }
}

/// The branch of a merge queue for a proposal.
fn queue_of(number: u64, base: &str) -> String {
    format!("refs/heads/gh-readonly-queue/main/pr-{number}-{base}")
}

impl Inner {
    fn hooks(&self) -> std::sync::MutexGuard<'_, Hooks> {
        self.hooks.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Hands on what the stand-in signed, byte by byte.
    pub(super) fn pass_webhook_on(&self, request: &Request) -> Reply {
        let names = [
            "content-type",
            "x-github-event",
            "x-github-delivery",
            "x-hub-signature-256",
        ];
        let headers: Vec<(&str, &str)> = names
            .iter()
            .filter_map(|name| Some((*name, request.headers.get(*name)?.as_str())))
            .collect();
        let event = request.headers.get("x-github-event").cloned();
        self.send(&event.unwrap_or_default(), &headers, &request.body);
        super::code::plain(200, "")
    }

    /// Sends one of our own, signed as GitHub signs.
    pub(super) fn deliver(&self, event: &str, mut payload: Value) {
        if payload["repository"].is_null() {
            payload["repository"] =
                json!({"full_name": REPOSITORY, "name": "state", "owner": {"login": "acme"}});
        }
        payload["installation"] = json!({"id": 5});
        let count = {
            let mut hooks = self.hooks();
            hooks.count += 1;
            hooks.count
        };
        // No two of GitHub's are alike: they hold moments.
        payload["count"] = json!(count);
        let body = payload.to_string().into_bytes();
        let key = hmac::Key::new(hmac::HMAC_SHA256, &self.secret);
        let tag = hmac::sign(&key, &body);
        let hex: String = tag.as_ref().iter().map(|it| format!("{it:02x}")).collect();
        let headers = [
            ("content-type", "application/json".to_owned()),
            ("x-github-event", event.to_owned()),
            (
                "x-github-delivery",
                format!("00000000-0000-4000-8000-{count:012}"),
            ),
            ("x-hub-signature-256", format!("sha256={hex}")),
        ];
        let headers: Vec<(&str, &str)> = headers.iter().map(|it| (it.0, it.1.as_str())).collect();
        self.send(event, &headers, &body);
    }

    fn send(&self, event: &str, headers: &[(&str, &str)], body: &[u8]) {
        let bots = self.hooks().bots.clone();
        for Listener { port, network } in bots {
            // A bot that is not there, or is killed while it listens, hears nothing, and looks for itself when it is back.
            let answer = inside(network.as_deref(), || {
                try_call(port, "POST", "/webhook/github", "", &headers[1..], body)
            });
            let status = match answer {
                Ok((status, ..)) => Some(status),
                Err(error) => {
                    assert!(is_gone(error.kind()), "no answer to a webhook: {error}");
                    None
                }
            };
            self.hooks().delivered.push(Delivery {
                event: event.to_owned(),
                status,
            });
        }
    }
}

/// Whether this is what is seen of a server that does not run, or ends.
fn is_gone(kind: ErrorKind) -> bool {
    matches!(
        kind,
        ErrorKind::ConnectionRefused
            | ErrorKind::ConnectionReset
            | ErrorKind::BrokenPipe
            | ErrorKind::UnexpectedEof
    )
}
