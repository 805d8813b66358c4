//! The JSON of forges, as far as it is used. Fields are required only where nothing can be done without them; a missing
//! one is `None`, and unknown ones are ignored.

use muster_core::commit::CommitId;
use muster_core::forge::{Proposal, ProposalState};
use muster_core::time::Time;
use serde::Deserialize;

use crate::dialect::Dialect;

/// A moment as forges write them, with any offset.
pub(crate) fn moment(text: &str) -> Option<Time> {
    let timestamp = text.parse::<jiff::Timestamp>().ok()?;
    Some(Time(timestamp.as_second()))
}

#[derive(Debug, Deserialize)]
pub(crate) struct Pull {
    number: u64,
    state: Option<String>,
    draft: Option<bool>,
    merged: Option<bool>,
    merged_at: Option<String>,
    merge_commit_sha: Option<String>,
    updated_at: Option<String>,
    user: Option<User>,
    head: Side,
    base: Side,
}

#[derive(Debug, Deserialize)]
struct Side {
    sha: Option<String>,
    label: Option<String>,
    r#ref: Option<String>,
    repo: Option<Repository>,
    repo_id: Option<i64>,
}

impl Side {
    fn repository(&self) -> Option<i64> {
        let named = self.repo.as_ref().and_then(|it| it.id);
        named.or(self.repo_id).filter(|it| *it > 0)
    }
}

#[derive(Debug, Deserialize)]
pub(crate) struct Repository {
    id: Option<i64>,
    private: Option<bool>,
    internal: Option<bool>,
    visibility: Option<String>,
}

impl Repository {
    /// Only what says of itself that it is private is; what everybody on the forge may read is not.
    pub(crate) fn is_private(&self) -> bool {
        self.private == Some(true)
            && self.internal != Some(true)
            && self.visibility.as_deref().is_none_or(|it| it == "private")
    }
}

impl Pull {
    /// When anything about it changed last.
    pub(crate) fn updated(&self) -> Option<Time> {
        moment(self.updated_at.as_deref()?)
    }

    /// What it describes, or what is missing.
    pub(crate) fn proposal(self, dialect: Dialect) -> Result<Proposal, String> {
        let number = self.number;
        let missing = |what: &str| format!("#{number}: {what}");
        let head = self
            .head
            .sha
            .as_deref()
            .and_then(|it| it.parse().ok())
            .ok_or_else(|| missing("its head is no commit"))?;
        let base = self
            .base
            .r#ref
            .clone()
            .filter(|it| !it.is_empty())
            .ok_or_else(|| missing("it does not say which branch it is for"))?;
        let updated = self
            .updated()
            .ok_or_else(|| missing("it does not say when it changed"))?;
        let merged = self.merged == Some(true) || self.merged_at.is_some();
        let state = match self.state.as_deref() {
            _ if merged => ProposalState::Merged {
                commit: self
                    .merge_commit_sha
                    .as_deref()
                    .and_then(|it| it.parse::<CommitId>().ok()),
            },
            Some("open") => ProposalState::Open,
            Some("closed") => ProposalState::Closed,
            _ => return Err(missing("it is neither open nor closed")),
        };
        // Without an id on both sides, nobody knows: then it counts as a stranger's.
        let same = matches!(
            (self.head.repository(), self.base.repository()),
            (Some(head), Some(base)) if head == base
        );
        // Forgejo lets anybody who can read propose a commit without a branch, and calls that the same repository.
        let branchless = dialect == Dialect::Forgejo
            && self
                .head
                .r#ref
                .as_deref()
                .is_none_or(|it| it.starts_with("refs/"));
        let label = self.head.label.clone().filter(|it| !it.is_empty());
        Ok(Proposal {
            number,
            head,
            head_label: label.or(self.head.r#ref.clone()).unwrap_or_default(),
            base,
            draft: self.draft == Some(true),
            state,
            fork: !same || branchless,
            author: self
                .user
                .and_then(|it| it.login)
                .filter(|it| !it.is_empty()),
            updated,
        })
    }
}

#[derive(Debug, Deserialize)]
pub(crate) struct User {
    pub(crate) id: Option<i64>,
    pub(crate) login: Option<String>,
    pub(crate) r#type: Option<String>,
}

#[derive(Debug, Deserialize)]
pub(crate) struct App {
    pub(crate) slug: String,
}

#[derive(Debug, Deserialize)]
pub(crate) struct AppId {
    pub(crate) id: Option<u64>,
}

#[derive(Debug, Deserialize)]
pub(crate) struct Installation {
    pub(crate) id: u64,
}

/// A token that an installation was given. Never printed.
#[derive(Deserialize)]
pub(crate) struct InstallationToken {
    pub(crate) token: String,
    pub(crate) expires_at: Option<String>,
}

#[derive(Debug, Deserialize)]
pub(crate) struct Comment {
    pub(crate) id: u64,
    pub(crate) node_id: Option<String>,
    pub(crate) body: Option<String>,
    pub(crate) user: Option<User>,
    pub(crate) minimized: Option<serde_json::Value>,
    pub(crate) issue_url: Option<String>,
    pub(crate) pull_request_url: Option<String>,
}

impl Comment {
    /// The number of what it stands under, where it says so.
    pub(crate) fn under(&self) -> Option<u64> {
        [&self.pull_request_url, &self.issue_url]
            .into_iter()
            .flatten()
            .find(|it| !it.is_empty())
            .and_then(|it| it.rsplit('/').next()?.parse().ok())
    }
}

/// What was just made.
#[derive(Debug, Deserialize)]
pub(crate) struct Made {
    pub(crate) id: u64,
}

#[derive(Debug, Deserialize)]
pub(crate) struct MadeIssue {
    pub(crate) number: u64,
}

#[derive(Debug, Deserialize)]
pub(crate) struct CommitStatus {
    pub(crate) context: Option<String>,
    /// GitHub's name of it …
    pub(crate) state: Option<String>,
    /// … and Forgejo's, in answers alone.
    pub(crate) status: Option<String>,
    pub(crate) description: Option<String>,
    pub(crate) target_url: Option<String>,
    pub(crate) creator: Option<User>,
}

#[derive(Debug, Deserialize)]
pub(crate) struct CheckRuns {
    pub(crate) check_runs: Vec<CheckRun>,
}

#[derive(Debug, Deserialize)]
pub(crate) struct CheckRun {
    pub(crate) id: u64,
    pub(crate) name: Option<String>,
    pub(crate) status: Option<String>,
    pub(crate) external_id: Option<String>,
    pub(crate) app: Option<AppId>,
    pub(crate) output: Option<CheckOutput>,
}

#[derive(Debug, Deserialize)]
pub(crate) struct CheckOutput {
    pub(crate) annotations_count: Option<u64>,
}

#[derive(Debug, Deserialize)]
pub(crate) struct Issue {
    pub(crate) number: u64,
    pub(crate) title: Option<String>,
    pub(crate) body: Option<String>,
    pub(crate) state: Option<String>,
    pub(crate) user: Option<User>,
    pub(crate) pull_request: Option<serde_json::Value>,
}

#[derive(Debug, Deserialize)]
pub(crate) struct ChangedFile {
    pub(crate) filename: String,
    pub(crate) previous_filename: Option<String>,
}

/// What a reviewer said.
#[derive(Debug, Deserialize)]
pub(crate) struct Review {
    pub(crate) id: u64,
    pub(crate) user: Option<User>,
    state: Option<String>,
    pub(crate) commit_id: Option<String>,
    /// Forgejo leaves the state as it was.
    dismissed: Option<bool>,
}

/// What a review says of a proposal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Opinion {
    /// Yes.
    Approves,
    /// No, or not any more.
    Objects,
    /// Nothing either way.
    Nothing,
}

impl Review {
    pub(crate) fn opinion(&self) -> Opinion {
        match self.state.as_deref() {
            Some("APPROVED") if self.dismissed != Some(true) => Opinion::Approves,
            // The word of Forgejo, and that of GitHub.
            Some("APPROVED" | "REQUEST_CHANGES" | "CHANGES_REQUESTED" | "DISMISSED") => {
                Opinion::Objects
            }
            Some(_) | None => Opinion::Nothing,
        }
    }
}

/// What a forge says when it will not.
#[derive(Debug, Deserialize)]
pub(crate) struct Complaint {
    pub(crate) message: Option<String>,
    pub(crate) errors: Option<serde_json::Value>,
}

#[derive(Debug, Deserialize)]
pub(crate) struct GraphqlAnswer {
    pub(crate) errors: Option<Vec<Complaint>>,
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn read(value: serde_json::Value, dialect: Dialect) -> Result<Proposal, String> {
        let pull: Pull = serde_json::from_value(value).map_err(|error| error.to_string())?;
        pull.proposal(dialect)
    }

    #[test]
    fn a_proposal_is_read_from_the_least_that_says_what_it_is() {
        let sha = "a".repeat(40);
        let least = json!({
            "number": 7, "state": "open", "updated_at": "2026-11-22T10:00:00+01:00",
            "head": {"sha": sha}, "base": {"ref": "main"},
        });
        let proposal = read(least.clone(), Dialect::GitHub).unwrap();
        assert_eq!(proposal.updated.to_string(), "2026-11-22T09:00:00Z");
        assert!(proposal.fork, "whose it is, is not said");
        for missing in ["number", "state", "updated_at", "head", "base"] {
            let mut less = least.clone();
            less.as_object_mut().unwrap().remove(missing);
            assert!(read(less, Dialect::GitHub).is_err(), "{missing}");
        }
    }

    #[test]
    fn a_stranger_is_whoever_does_not_have_a_branch_here() {
        let sha = "a".repeat(40);
        let pull = |head: serde_json::Value| {
            json!({
                "number": 7, "state": "open", "updated_at": "2026-11-22T10:00:00Z",
                "head": head, "base": {"ref": "main", "repo": {"id": 5}, "repo_id": 5},
            })
        };
        for (head, dialect, fork) in [
            (
                json!({"sha": sha, "ref": "x", "repo": {"id": 5}}),
                Dialect::GitHub,
                false,
            ),
            (
                json!({"sha": sha, "ref": "x", "repo": {"id": 6}}),
                Dialect::GitHub,
                true,
            ),
            (
                json!({"sha": sha, "ref": "x", "repo": null}),
                Dialect::GitHub,
                true,
            ),
            (
                json!({"sha": sha, "ref": "x", "repo": null, "repo_id": -1}),
                Dialect::Forgejo,
                true,
            ),
            (
                json!({"sha": sha, "ref": "x", "repo": {"id": 5}, "repo_id": 5}),
                Dialect::Forgejo,
                false,
            ),
            (
                json!({"sha": sha, "ref": "refs/pull/7/head", "repo": {"id": 5}}),
                Dialect::Forgejo,
                true,
            ),
        ] {
            assert_eq!(
                read(pull(head.clone()), dialect).unwrap().fork,
                fork,
                "{head}"
            );
        }
    }

    #[test]
    fn only_what_says_that_it_is_private_is_private() {
        let private = |value| {
            serde_json::from_value::<Repository>(value)
                .unwrap()
                .is_private()
        };
        assert!(private(json!({"private": true})));
        assert!(private(json!({"private": true, "visibility": "private"})));
        assert!(!private(json!({})));
        assert!(!private(json!({"private": false})));
        assert!(!private(json!({"private": true, "visibility": "internal"})));
        assert!(!private(json!({"private": true, "internal": true})));
    }
}
