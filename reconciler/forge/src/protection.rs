//! What keeps a branch from being written past a review, as far as the forge shows it to whoever may read the repository (F37).

use muster_core::forge::ForgeError;
use serde::Deserialize;

use crate::dialect::{Dialect, encode};
use crate::read::Reader;

/// How a branch is protected; `None` is what we are not shown.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Protection {
    /// Whether a merge waits for our status.
    pub waits_for_status: Option<bool>,
    /// Whether that status counts from us alone, and not from anybody who can write the repository.
    pub status_is_ours: Option<bool>,
    /// How many people have to approve.
    pub approvals: Option<u64>,
    /// Whether what is merged has to contain the branch as it is.
    pub up_to_date: Option<bool>,
    /// Whether it cannot be rewritten.
    pub keeps_history: Option<bool>,
    /// Whether we ourselves can push to it.
    pub we_can_push: Option<bool>,
    /// Whether we ourselves can merge into it.
    pub we_can_merge: Option<bool>,
}

impl Reader {
    /// How `branch`, a name without `refs/heads/`, is protected; `context` is the name of our status.
    ///
    /// # Errors
    /// When the forge did not answer, or has no such branch.
    pub fn protection(&mut self, branch: &str, context: &str) -> Result<Protection, ForgeError> {
        let mut conversation = self.conversation.lock();
        let dialect = conversation.dialect();
        let branch = encode(branch);
        let route = conversation
            .repository
            .route(&format!("/branches/{branch}"));
        let page = conversation.get(&route)?;
        let shown: Branch = conversation.read(&page)?;
        match dialect {
            Dialect::Forgejo => Ok(shown.on_forgejo(context)),
            Dialect::GitHub => {
                let route = format!("/rules/branches/{branch}?per_page=100");
                let route = conversation.repository.route(&route);
                let rules = conversation.list::<Rule>(&route, |_| false)?;
                let rules: Vec<Rule> = rules.into_iter().filter_map(Result::ok).collect();
                let app = conversation.client.app();
                Ok(on_github(&shown, &rules, context, app))
            }
        }
    }
}

/// A branch, with what either kind of forge says of its protection.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Branch {
    protected: bool,
    // GitHub's rule of the older kind, as far as it is shown.
    protection: Option<Classic>,
    // Forgejo's and Gitea's.
    required_approvals: Option<u64>,
    enable_status_check: Option<bool>,
    status_check_contexts: Option<Vec<String>>,
    user_can_push: Option<bool>,
    user_can_merge: Option<bool>,
}

#[derive(Debug, Deserialize)]
struct Classic {
    required_status_checks: Option<Checks>,
}

#[derive(Debug, Deserialize)]
struct Checks {
    #[serde(default)]
    contexts: Vec<String>,
    #[serde(default)]
    checks: Vec<Check>,
}

/// A rule of GitHub's rulesets.
#[derive(Debug, Deserialize)]
struct Rule {
    r#type: String,
    #[serde(default)]
    parameters: Parameters,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Parameters {
    required_approving_review_count: Option<u64>,
    required_status_checks: Vec<Check>,
    strict_required_status_checks_policy: Option<bool>,
}

#[derive(Debug, Deserialize)]
struct Check {
    context: String,
    // A ruleset's word for it, and the older rule's.
    #[serde(alias = "app_id")]
    integration_id: Option<i64>,
}

impl Branch {
    fn on_forgejo(&self, context: &str) -> Protection {
        let named = self.status_check_contexts.iter().flatten();
        let waits = self.enable_status_check == Some(true)
            && named.into_iter().any(|it| covers(it, context));
        Protection {
            waits_for_status: Some(self.protected && waits),
            status_is_ours: None,
            approvals: Some(self.required_approvals.unwrap_or(0)),
            up_to_date: None,
            keeps_history: Some(self.protected),
            we_can_push: self.user_can_push,
            we_can_merge: self.user_can_merge,
        }
    }
}

fn on_github(branch: &Branch, rules: &[Rule], context: &str, app: Option<u64>) -> Protection {
    let has = |kind: &str| rules.iter().any(|it| it.r#type == kind);
    let classic = branch.protection.as_ref();
    let classic = classic.and_then(|it| it.required_status_checks.as_ref());
    let required: Vec<&Check> = rules
        .iter()
        .flat_map(|it| &it.parameters.required_status_checks)
        .chain(classic.iter().flat_map(|it| &it.checks))
        .filter(|it| it.context == context)
        .collect();
    let by_name = classic.is_some_and(|it| it.contexts.iter().any(|it| it == context));
    let ours = |it: &&Check| {
        let from = it.integration_id.and_then(|it| u64::try_from(it).ok());
        app.is_some() && from == app
    };
    let approvals = rules
        .iter()
        .filter_map(|it| it.parameters.required_approving_review_count)
        .max();
    // Of a rule of the older kind no more is shown than what it waits for.
    let unless_classic = |it: bool| match (it, branch.protected && !has_any(rules)) {
        (true, _) => Some(true),
        (false, true) => None,
        (false, false) => Some(false),
    };
    Protection {
        waits_for_status: Some(!required.is_empty() || by_name),
        status_is_ours: app.map(|_| required.iter().any(ours)),
        approvals: approvals.or(match branch.protected && !has_any(rules) {
            true => None,
            false => Some(0),
        }),
        up_to_date: unless_classic(
            rules
                .iter()
                .any(|it| it.parameters.strict_required_status_checks_policy == Some(true)),
        ),
        keeps_history: unless_classic(has("non_fast_forward")),
        we_can_push: None,
        we_can_merge: None,
    }
}

fn has_any(rules: &[Rule]) -> bool {
    !rules.is_empty()
}

/// Whether a name, in which `*` stands for anything, is this one's.
fn covers(pattern: &str, name: &str) -> bool {
    match pattern.split_once('*') {
        None => pattern == name,
        Some((start, rest)) => name.strip_prefix(start).is_some_and(|left| {
            (0..=left.len())
                .filter(|at| left.is_char_boundary(*at))
                .any(|at| covers(rest, &left[at..]))
        }),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn branch(value: Value) -> Branch {
        serde_json::from_value(value).unwrap()
    }

    fn rules(value: Value) -> Vec<Rule> {
        serde_json::from_value(value).unwrap()
    }

    #[test]
    fn a_branch_that_nobody_protects_has_every_gap() {
        let bare = branch(json!({"name": "main", "protected": false}));
        let on_github = on_github(&bare, &[], "muster", Some(7));
        assert_eq!(
            on_github,
            Protection {
                waits_for_status: Some(false),
                status_is_ours: Some(false),
                approvals: Some(0),
                up_to_date: Some(false),
                keeps_history: Some(false),
                we_can_push: None,
                we_can_merge: None,
            }
        );
        let on_forgejo =
            branch(json!({"protected": false, "user_can_push": true, "user_can_merge": true}));
        assert_eq!(
            on_forgejo.on_forgejo("muster"),
            Protection {
                waits_for_status: Some(false),
                approvals: Some(0),
                keeps_history: Some(false),
                we_can_push: Some(true),
                we_can_merge: Some(true),
                ..Protection::default()
            }
        );
    }

    #[test]
    fn rulesets_and_the_older_rule_are_read() {
        let checks = |id: Value| {
            rules(json!([
                {"type": "deletion"},
                {"type": "non_fast_forward"},
                {"type": "pull_request", "parameters": {"required_approving_review_count": 2, "dismiss_stale_reviews_on_push": true}},
                {"type": "required_status_checks", "parameters": {
                    "strict_required_status_checks_policy": true,
                    "required_status_checks": [{"context": "build"}, {"context": "muster", "integration_id": id}],
                }},
            ]))
        };
        let main = branch(json!({"protected": true}));
        let whole = Protection {
            waits_for_status: Some(true),
            status_is_ours: Some(true),
            approvals: Some(2),
            up_to_date: Some(true),
            keeps_history: Some(true),
            we_can_push: None,
            we_can_merge: None,
        };
        assert_eq!(
            on_github(&main, &checks(json!(7)), "muster", Some(7)),
            whole
        );
        for other in [json!(8), json!(-1), Value::Null] {
            let shown = on_github(&main, &checks(other), "muster", Some(7));
            assert_eq!(shown.status_is_ours, Some(false));
        }
        let older = branch(
            json!({"protected": true, "protection": {"required_status_checks": {
            "contexts": ["muster"], "checks": [{"context": "muster", "app_id": 7}]}}}),
        );
        let shown = on_github(&older, &[], "muster", Some(7));
        let all = (
            shown.waits_for_status,
            shown.status_is_ours,
            shown.approvals,
            shown.keeps_history,
        );
        assert_eq!(all, (Some(true), Some(true), None, None));
    }

    #[test]
    fn a_pattern_of_forgejo_covers_our_status() {
        let main = |contexts: Value| {
            branch(
                json!({"protected": true, "enable_status_check": true, "status_check_contexts": contexts, "required_approvals": 1}),
            )
        };
        for (contexts, waits) in [
            (json!(["muster"]), true),
            (json!(["build", "mus*"]), true),
            (json!(["*"]), true),
            (json!(["*er"]), true),
            (json!(["must"]), false),
            (json!(["*x*"]), false),
            (json!([]), false),
            (Value::Null, false),
        ] {
            let shown = main(contexts.clone()).on_forgejo("muster");
            assert_eq!(shown.waits_for_status, Some(waits), "{contexts}");
            assert_eq!(shown.approvals, Some(1));
        }
    }
}
