//! What people do on the forge. None of it is judged: only the bot has to be correct.

use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::{Value, json};

use super::code::{Moved, identity, isolated};
use super::{Hub, Inner, Pull, REPOSITORY, now};
use crate::description::call;

/// Somebody with an account.
#[derive(Clone, Debug)]
pub struct Person {
    /// What they are called there.
    pub login: String,
    /// What they prove it with.
    pub token: String,
}

impl Person {
    /// Somebody whose token follows from their name, as the stand-in's seed has it.
    pub fn named(login: &str) -> Self {
        Self {
            login: login.to_owned(),
            token: format!("{login}-token"),
        }
    }

    /// Everybody pushes to what is theirs; eve is not of the team.
    pub(crate) fn pushes_to(&self, repository: &str) -> bool {
        let theirs = format!("{}/", self.login);
        repository.starts_with(&theirs) || (repository.starts_with("acme/") && self.login != "eve")
    }
}

/// Why the forge does not merge.
#[derive(Debug, PartialEq, Eq)]
pub enum NotMerged {
    /// The required check is not green: what it says.
    Check(String),
    /// Nobody has approved the head.
    Approval,
}

/// A comment, as people see it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Comment {
    /// The forge's number for it.
    pub id: u64,
    /// Who wrote it.
    pub login: String,
    /// What it says.
    pub body: String,
    /// Whether it was put out of sight.
    pub minimised: bool,
}

impl Inner {
    #[track_caller]
    pub(super) fn person_asks(
        &self,
        who: &Person,
        method: &str,
        target: &str,
        body: &Value,
    ) -> Value {
        let sent = match body {
            Value::Null => Vec::new(),
            body => body.to_string().into_bytes(),
        };
        let token = format!("Bearer {}", who.token);
        let (status, _, answer) = call(self.stand_in, method, target, &token, &[], &sent);
        let text = String::from_utf8_lossy(&answer);
        assert!(status < 300, "{method} {target} {body}: {status} {text}");
        match answer.is_empty() {
            true => Value::Null,
            false => serde_json::from_slice(&answer).expect("JSON"),
        }
    }

    /// What anybody of the team can see.
    #[track_caller]
    pub(super) fn first_person_asks(&self, method: &str, target: &str) -> Value {
        self.person_asks(&self.people[0], method, target, &Value::Null)
    }

    /// Makes the forge believe what a push left in a repository, and tells whoever listens.
    pub(super) fn after_push(&self, who: &Person, repository: &str, moved: &[Moved]) {
        for Moved {
            name,
            before,
            after,
        } in moved
        {
            let Some(after) = after else {
                continue;
            };
            let Some(branch) = name.strip_prefix("refs/heads/") else {
                let payload = json!({"ref": name, "before": before, "after": after});
                self.deliver("push", payload);
                continue;
            };
            self.teach(who, repository, repository, after);
            let followed = self.follow(repository, branch, after);
            if before.is_none() || !self.knows_branch(repository, branch) {
                let sent = json!({"ref": name, "sha": after});
                self.person_asks(who, "POST", &format!("/repos/{repository}/git/refs"), &sent);
            } else {
                let sent = json!({"sha": after, "force": true});
                let route = format!("/repos/{repository}/git/{name}");
                self.person_asks(who, "PATCH", &route, &sent);
            }
            for number in followed {
                let payload = json!({"action": "synchronize", "number": number});
                self.deliver("pull_request", payload);
            }
        }
    }

    fn knows_branch(&self, repository: &str, branch: &str) -> bool {
        let token = format!("Bearer {}", self.people[0].token);
        let route = format!("/repos/{repository}/git/ref/heads/{branch}");
        call(self.stand_in, "GET", &route, &token, &[], &[]).0 == 200
    }

    /// Open proposals follow their branch. Gives which did.
    fn follow(&self, repository: &str, branch: &str, head: &str) -> Vec<u64> {
        let mut state = self.state();
        let mut followed = Vec::new();
        for (number, pull) in &mut state.pulls {
            if pull.open && pull.from == repository && pull.branch == branch && pull.head != head {
                pull.head = head.to_owned();
                pull.updated = now();
                followed.push(*number);
            }
        }
        for number in &followed {
            self.point(*number, repository, head);
        }
        followed
    }

    /// Where git finds the head of a proposal.
    fn point(&self, number: u64, repository: &str, head: &str) {
        if repository != REPOSITORY {
            let from = self.code.path(repository).display().to_string();
            self.code
                .git(REPOSITORY, &["fetch", "--quiet", &from, head]);
            self.teach(&self.people[0], REPOSITORY, REPOSITORY, head);
        }
        let name = format!("refs/pull/{number}/head");
        self.code.git(REPOSITORY, &["update-ref", &name, head]);
    }
}

impl Hub {
    /// A clone of somebody's own, in `dir`; `repository` is where they push to.
    ///
    /// # Panics
    /// When it cannot be made.
    pub fn clone_of(&self, who: &Person, repository: &str, door: u16, dir: &Path) -> Clone {
        let url = format!(
            "http://{}:{}@127.0.0.1:{door}/{repository}.git",
            who.login, who.token
        );
        let clone = Clone {
            dir: dir.to_owned(),
            who: who.clone(),
        };
        let mut git = Command::new("git");
        let out = isolated(&mut git)
            .args(["clone", "--quiet", &url])
            .arg(dir)
            .output()
            .expect("git");
        assert!(out.status.success(), "{out:?}");
        clone
    }

    /// Proposes a branch; `head` may be `owner:branch`. Gives the number.
    ///
    /// # Panics
    /// When the forge does not take it.
    pub fn propose(&self, who: &Person, title: &str, head: &str, base: &str, draft: Draft) -> u64 {
        let inner = &self.inner;
        let (from, branch) = match head.split_once(':') {
            Some((owner, branch)) => (format!("{owner}/state"), branch),
            None => (REPOSITORY.to_owned(), head),
        };
        let tip = inner.code.tip(&from, branch);
        if from != REPOSITORY {
            let path = inner.code.path(&from).display().to_string();
            inner
                .code
                .git(REPOSITORY, &["fetch", "--quiet", &path, &tip]);
            inner.teach(&inner.people[0], REPOSITORY, REPOSITORY, &tip);
        }
        // Whoever is told of it by the stand-in, and looks at once, waits until it is complete.
        let mut state = inner.state();
        let sent =
            json!({"title": title, "head": head, "base": base, "draft": draft == Draft::Yes});
        let made = inner.person_asks(who, "POST", &format!("/repos/{REPOSITORY}/pulls"), &sent);
        let number = made["number"].as_u64().expect("a number");
        let name = format!("refs/pull/{number}/head");
        inner.code.git(REPOSITORY, &["update-ref", &name, &tip]);
        state.pulls.insert(
            number,
            Pull {
                from,
                branch: branch.to_owned(),
                head: tip,
                updated: now(),
                open: true,
                merged: None,
            },
        );
        number
    }

    /// The head of a proposal.
    ///
    /// # Panics
    /// When there is no such proposal.
    pub fn head(&self, number: u64) -> String {
        self.inner.state().pulls[&number].head.clone()
    }

    /// Changes a proposal: `state`, `base`, `draft`, `title`.
    ///
    /// # Panics
    /// When the forge does not take it.
    pub fn edit(&self, who: &Person, number: u64, changes: &Value) {
        let inner = &self.inner;
        let mut follows = None;
        {
            let mut state = inner.state();
            let pull = state.pulls.get_mut(&number).expect("a proposal");
            pull.updated = now();
            match changes["state"].as_str() {
                Some("closed") => pull.open = false,
                Some("open") => {
                    pull.open = true;
                    follows = Some((pull.from.clone(), pull.branch.clone()));
                }
                _ => {}
            }
        }
        if let Some((from, branch)) = follows {
            let tip = inner.code.tip(&from, &branch);
            let _ = inner.follow(&from, &branch, &tip);
        }
        let route = format!("/repos/{REPOSITORY}/pulls/{number}");
        inner.person_asks(who, "PATCH", &route, changes);
        // The stand-in is silent about these.
        let action = match (changes.get("base"), changes["draft"].as_bool()) {
            (Some(_), _) => "edited",
            (None, Some(true)) => "converted_to_draft",
            (None, Some(false)) => "ready_for_review",
            (None, None) => return,
        };
        inner.deliver("pull_request", json!({"action": action, "number": number}));
    }

    /// Says that it is good.
    ///
    /// # Panics
    /// When the forge does not take it.
    pub fn approve(&self, who: &Person, number: u64) {
        let route = format!("/repos/{REPOSITORY}/pulls/{number}/reviews");
        let commit = self.head(number);
        let sent = json!({"event": "APPROVE", "body": "Good.", "commit_id": commit});
        self.inner.person_asks(who, "POST", &route, &sent);
        self.inner.touch(number);
    }

    /// Merges, where the rules of the branch permit it: a green check of the head named `muster`, its status green too, and an approval of that
    /// head. Gives the commit.
    ///
    /// # Errors
    /// What is missing.
    ///
    /// # Panics
    /// When the forge does not take it.
    pub fn merge(&self, who: &Person, number: u64) -> Result<String, NotMerged> {
        let inner = &self.inner;
        let head = self.head(number);
        for said in [self.check(&head), self.status(&head)] {
            let said = said.unwrap_or(Value::Null);
            if said["conclusion"] != "success" && said["state"] != "success" {
                return Err(NotMerged::Check(said.to_string()));
            }
        }
        let route = format!("/repos/{REPOSITORY}/pulls/{number}/reviews");
        let reviews = inner.first_person_asks("GET", &route);
        let good = |it: &Value| it["state"] == "APPROVED" && it["commit_id"] == head.as_str();
        if !reviews.as_array().is_some_and(|it| it.iter().any(good)) {
            return Err(NotMerged::Approval);
        }
        Ok(self.merge_anyway(who, number))
    }

    /// Merges, as somebody does who may.
    ///
    /// # Panics
    /// When the forge does not take it.
    pub fn merge_anyway(&self, who: &Person, number: u64) -> String {
        let inner = &self.inner;
        let head = self.head(number);
        let route = format!("/repos/{REPOSITORY}/pulls/{number}");
        let base = inner.first_person_asks("GET", &route);
        let base = base["base"]["ref"].as_str().expect("a branch").to_owned();
        let tip = inner.code.tip(REPOSITORY, &base);
        let message = format!("Merge pull request #{number}");
        let commit = inner.code.merge(&tip, &head, &message);
        let name = format!("refs/heads/{base}");
        inner
            .code
            .git(REPOSITORY, &["update-ref", &name, &commit, &tip]);
        {
            let mut state = inner.state();
            let pull = state.pulls.get_mut(&number).expect("a proposal");
            (pull.open, pull.updated) = (false, now());
            pull.merged = Some((commit.clone(), now()));
        }
        let moved = Moved {
            name,
            before: Some(tip),
            after: Some(commit.clone()),
        };
        inner.after_push(who, REPOSITORY, &[moved]);
        inner.person_asks(who, "PATCH", &route, &json!({"state": "closed"}));
        commit
    }

    /// Writes a comment, and gives its number.
    ///
    /// # Panics
    /// When the forge does not take it.
    pub fn comment(&self, who: &Person, number: u64, text: &str) -> u64 {
        let route = format!("/repos/{REPOSITORY}/issues/{number}/comments");
        let made = self
            .inner
            .person_asks(who, "POST", &route, &json!({"body": text}));
        self.inner.touch(number);
        made["id"].as_u64().expect("a number")
    }

    /// Deletes a comment, whoever wrote it.
    ///
    /// # Panics
    /// When the forge does not take it.
    pub fn delete_comment(&self, who: &Person, number: u64, comment: u64) {
        let route = format!("/repos/{REPOSITORY}/issues/comments/{comment}");
        self.inner.person_asks(who, "DELETE", &route, &Value::Null);
        self.inner.touch(number);
    }

    /// Makes somebody's copy of the repository, which is public from now on.
    ///
    /// # Panics
    /// When the forge does not take it.
    pub fn fork(&self, who: &Person) -> String {
        let route = format!("/repos/{REPOSITORY}/forks");
        self.inner.person_asks(who, "POST", &route, &json!({}));
        let name = format!("{}/state", who.login);
        self.inner.code.fork(REPOSITORY, &name);
        name
    }

    /// Shows the repository to everybody.
    ///
    /// # Panics
    /// When the forge does not take it.
    pub fn publish(&self, who: &Person) {
        let route = format!("/repos/{REPOSITORY}");
        let sent = json!({"private": false, "visibility": "public"});
        self.inner.person_asks(who, "PATCH", &route, &sent);
    }

    // ── what people see ──────────────────────────────────────────────────────────────────────────────────────────────

    /// Everything that was said under a proposal.
    ///
    /// # Panics
    /// When the forge does not say.
    pub fn comments(&self, number: u64) -> Vec<Comment> {
        let route = format!("/repos/{REPOSITORY}/issues/{number}/comments?per_page=100");
        let all = self.inner.first_person_asks("GET", &route);
        let minimised = self.inner.state().minimised.clone();
        let read = |it: &Value| Comment {
            id: it["id"].as_u64().unwrap_or(0),
            login: it["user"]["login"].as_str().unwrap_or_default().to_owned(),
            body: it["body"].as_str().unwrap_or_default().to_owned(),
            minimised: minimised.contains(it["node_id"].as_str().unwrap_or_default()),
        };
        all.as_array().expect("a list").iter().map(read).collect()
    }

    /// The comments of the bot.
    pub fn bots_comments(&self, number: u64) -> Vec<Comment> {
        let mut all = self.comments(number);
        all.retain(|it| it.login.ends_with("[bot]"));
        all
    }

    /// The status of a commit, if it has one.
    pub fn status(&self, commit: &str) -> Option<Value> {
        let state = self.inner.state();
        let all = state.statuses.get(commit)?;
        all.iter()
            .rev()
            .find(|it| it["context"] == "muster")
            .cloned()
    }

    /// The check run of a commit, with its remarks.
    ///
    /// # Panics
    /// When the forge does not say.
    pub fn check(&self, commit: &str) -> Option<Value> {
        let route = format!(
            "/repos/{REPOSITORY}/commits/{commit}/check-runs?check_name=muster&per_page=100"
        );
        let all = self.inner.first_person_asks("GET", &route);
        let all = all["check_runs"].as_array().cloned().unwrap_or_default();
        let mut run = all.into_iter().max_by_key(|it| it["id"].as_u64())?;
        let route = format!(
            "/repos/{REPOSITORY}/check-runs/{}/annotations?per_page=100",
            run["id"]
        );
        // The stand-in puts them into an object, GitHub does not.
        let remarks = self.inner.first_person_asks("GET", &route);
        run["remarks"] = remarks["check_annotations"].clone();
        Some(run)
    }

    /// All issues, of whatever state, that are no proposals.
    ///
    /// # Panics
    /// When the forge does not say.
    pub fn issues(&self) -> Vec<Value> {
        let route = format!("/repos/{REPOSITORY}/issues?state=all&per_page=100");
        let all = self.inner.first_person_asks("GET", &route);
        let mut all = all.as_array().cloned().unwrap_or_default();
        all.retain(|it| it["pull_request"].is_null());
        all
    }
}

/// Whether a proposal is ready.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Draft {
    /// Not yet.
    Yes,
    /// It is.
    No,
}

/// Somebody's clone.
#[derive(Debug)]
pub struct Clone {
    /// Where it is.
    pub dir: PathBuf,
    who: Person,
}

impl Clone {
    /// What git says in it.
    ///
    /// # Panics
    /// When it fails.
    #[track_caller]
    pub fn git(&self, args: &[&str]) -> String {
        self.git_at(args, 0)
    }

    fn git_at(&self, args: &[&str], date: i64) -> String {
        let mut git = Command::new("git");
        isolated(git.arg("-C").arg(&self.dir))
            .args(args)
            .env("GIT_AUTHOR_DATE", format!("@{date} +0000"))
            .env("GIT_COMMITTER_DATE", format!("@{date} +0000"))
            .envs(identity(
                &self.who.login,
                &format!("{}@example.org", self.who.login),
            ));
        let out = git.output().expect("git");
        let said = String::from_utf8_lossy(&out.stderr);
        assert!(out.status.success(), "git {args:?}: {said}");
        String::from_utf8_lossy(&out.stdout).trim().to_owned()
    }

    /// Commits files on a branch that begins where `main` is there, or goes on with it. The date is that of the commit before and ten
    /// minutes, so that the same edits are the same commits in every run.
    ///
    /// # Panics
    /// When that does not work.
    pub fn commit(&self, branch: &str, files: &[(&str, &str)], message: &str) -> String {
        let has = |name: &str| !self.git(&["for-each-ref", name]).is_empty();
        if has(&format!("refs/heads/{branch}")) {
            self.git(&["checkout", "--quiet", branch]);
        } else if has("refs/remotes/origin/main") {
            self.git(&["fetch", "--quiet", "origin"]);
            self.git(&["checkout", "--quiet", "-b", branch, "origin/main"]);
        } else {
            self.git(&["checkout", "--quiet", "--orphan", branch]);
        }
        for (name, text) in files {
            let path = self.dir.join(name);
            std::fs::create_dir_all(path.parent().expect("a directory")).expect("a directory");
            std::fs::write(path, text).expect("a file");
        }
        self.git(&["add", "--all"]);
        let before = self.git(&[
            "for-each-ref",
            "--sort=-committerdate",
            "--count=1",
            "--format=%(committerdate:unix)",
        ]);
        // 2026-11-02, a Monday morning.
        let date = before.parse().unwrap_or(1_793_606_400_i64) + 600;
        self.git_at(&["commit", "--quiet", "-m", message], date);
        self.git(&["rev-parse", "HEAD"])
    }

    /// Pushes a branch.
    ///
    /// # Panics
    /// When that does not work.
    #[track_caller]
    pub fn push(&self, branch: &str) {
        self.git(&["push", "--quiet", "--force", "origin", branch]);
    }
}
